//! How the databases go about lists and metrics: by an index, however many tickets there are.
//!
//! Every statement that the server gives to a database of 50,000 tickets is caught and explained. The tickets are made
//! here from their numbers, so that what a list should hold is known without any query.

use serde_json::{Value, json};
use skranke::app::janitor::{self, PROMISES_AT_ONCE};
use skranke::db::DatabaseUrl;
use skranke::kernel::{Instant, Priority, Status};
use skranke::sla::service::tell_promises;
use skranke::tickets::service::move_activity_of_renamed;
use std::collections::{BTreeMap, BTreeSet};

use crate::on_both;
use crate::support::{Caller, Desk, Engine, Heard};

const TICKETS: i64 = 50_000;
const DAY_US: i64 = 86_400_000_000;

/// What is never read from one end to the other.
const LARGE: [&str; 7] = ["tickets", "ticket_clocks", "ticket_tags", "comments", "events", "time_entries", "changes"];

/// The most rows that one statement may look at: those that are few are sorted, and what is frequent is found soon. A
/// page takes 26 rows of six tables.
const LOOKED_AT: f64 = 6_000.0;

/// The same for an order that the filters know nothing of: up to 4,000 tickets are sorted, with up to three rows each.
const LOOKED_AT_TO_SORT: f64 = 12_500.0;

/// The most that a look at the feed goes through: 5,000 positions, each with its event and its ticket, and who did it.
const PASSED: f64 = 21_000.0;

/// What is known of a ticket.
struct Made {
    number: i64,
    status: Status,
    priority: Priority,
    kind: &'static str,
    channel: &'static str,
    team: Option<usize>,
    assignee: Option<usize>,
    requester: usize,
    tags: BTreeSet<usize>,
    created_at: i64,
    updated_at: i64,
    /// One in fifty is dated back.
    reported_at: i64,
    /// When a clock that runs is due.
    due_at: Option<i64>,
    breach_at: Option<i64>,
}

impl Made {
    fn resolved_at(&self) -> Option<i64> {
        matches!(self.status, Status::Resolved | Status::Closed).then_some(self.updated_at)
    }

    fn closed_at(&self) -> Option<i64> {
        (self.status == Status::Closed).then_some(self.updated_at)
    }
}

/// A number below `below` that depends on the ticket and on what it is for, and looks like chance.
fn chance(number: i64, purpose: u64, below: u64) -> usize {
    let mut x = number.unsigned_abs().wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ purpose.wrapping_mul(0xD1B5_4A32_D192_ED03);
    x = (x ^ (x >> 31)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    usize::try_from((x ^ (x >> 29)) % below).unwrap()
}

/// One of these, each as often as its share says.
fn pick<T: Copy>(shares: &[(usize, T)], number: i64, purpose: u64) -> T {
    let total: usize = shares.iter().map(|(share, _)| share).sum();
    let mut at = chance(number, purpose, total.try_into().unwrap());
    for (share, value) in shares {
        match at.checked_sub(*share) {
            Some(left) => at = left,
            None => return *value,
        }
    }
    unreachable!("the shares add up")
}

/// A low number more often than a high one.
fn skewed(number: i64, purpose: u64, below: u64) -> usize {
    let up_to = u64::try_from(chance(number, purpose + 100, below)).unwrap();
    chance(number, purpose, up_to + 1)
}

fn make(number: i64, now: i64) -> Made {
    let status = pick(
        &[
            (85, Status::Closed),
            (7, Status::Resolved),
            (2, Status::New),
            (4, Status::Open),
            (1, Status::WaitingRequester),
            (1, Status::WaitingThirdParty),
        ],
        number,
        1,
    );
    let created_at =
        now - (TICKETS - number) * 600_000_000 - i64::try_from(chance(number, 2, 1_200)).unwrap() * 1_000_000 - 1;
    let later = i64::try_from(chance(number, 3, 10 * 86_400)).unwrap() * 1_000_000;
    let runs = !matches!(status, Status::Closed | Status::Resolved) && chance(number, 4, 2) == 0;
    let due_at = runs.then(|| now - DAY_US + i64::try_from(chance(number, 5, 8 * 86_400)).unwrap() * 1_000_000);
    let late = status == Status::Closed && chance(number, 6, 50) == 0;
    Made {
        number,
        status,
        priority: pick(
            &[(60, Priority::Normal), (25, Priority::Low), (10, Priority::High), (5, Priority::Urgent)],
            number,
            7,
        ),
        kind: pick(&[(50, "incident"), (35, "service_request"), (15, "question")], number, 8),
        channel: pick(&[(50, "email"), (30, "web"), (15, "phone"), (5, "chat")], number, 9),
        team: (chance(number, 10, 10) > 0).then(|| skewed(number, 11, 20)),
        assignee: (status != Status::New).then(|| chance(number, 12, 500)),
        requester: chance(number, 13, 5_000),
        tags: (0..chance(number, 14, 5)).map(|i| skewed(number, 15 + i as u64, 200)).collect(),
        created_at,
        updated_at: (created_at + later).min(now),
        reported_at: created_at - if chance(number, 16, 50) == 0 { 2 * DAY_US } else { 0 },
        due_at,
        breach_at: due_at.map(|at| at + 1).or(late.then_some(created_at + 3_600_000_000)),
    }
}

/// The id of the `n`th agent, requester or team, or ticket.
fn id(kind: u8, n: usize) -> uuid::Uuid {
    uuid::Uuid::from_u128((u128::from(kind) << 64) + n as u128)
}
const AGENT: u8 = 1;
const REQUESTER: u8 = 2;
const TEAM: u8 = 3;
const TICKET: u8 = 4;

/// Writes values as the engine has them.
struct Pen(Engine);

impl Pen {
    fn id(&self, kind: u8, n: Option<usize>) -> String {
        match (n, self.0) {
            (None, _) => "NULL".into(),
            (Some(n), Engine::Sqlite) => format!("X'{}'", id(kind, n).simple()),
            (Some(n), Engine::Postgres) => format!("'{}'", id(kind, n)),
        }
    }

    fn at(&self, us: Option<i64>) -> String {
        match (us, self.0) {
            (None, _) => "NULL".into(),
            (Some(us), Engine::Sqlite) => us.to_string(),
            (Some(us), Engine::Postgres) => format!("'{}'", Instant::from_micros(us)),
        }
    }
}

/// Puts the tickets into an empty desk.
async fn fill(desk: &Desk, engine: Engine, made: &[Made]) {
    if engine == Engine::Postgres {
        // VACUUM calls rows visible to all when it knows that their commit is in the log, and plans build on that.
        let set =
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = on', current_database()); END $$";
        desk.store.run(set).await;
    }
    let pen = Pen(engine);
    let epoch = pen.at(Some(0));
    let mut sql = String::from("BEGIN;\n");
    let mut rows = |into: &str, rows: Vec<String>| {
        for rows in rows.chunks(500) {
            sql += &format!("INSERT INTO {into} VALUES {};\n", rows.join(","));
        }
    };
    for (kind, role, many) in [(AGENT, "agent", 500), (REQUESTER, "requester", 5_000)] {
        let person =
            |n| format!("({}, 'person', '{role} {n}', '{role}', true, {epoch}, {epoch}, 1)", pen.id(kind, Some(n)));
        rows(
            "principals (id, kind, name, role, active, created_at, updated_at, version)",
            (0..many).map(person).collect(),
        );
    }
    let team = |n| format!("({}, 'Team {n}', '', {epoch}, {epoch}, 1)", pen.id(TEAM, Some(n)));
    rows("teams (id, name, description, created_at, updated_at, version)", (0..20).map(team).collect());
    let ticket = |made: &Made| {
        let names: Vec<_> = made.tags.iter().map(|tag| format!("tag{tag}")).collect();
        format!(
            "({}, {}, 'Subject', '', '{}', '{}', '{}', '{}', {}, {}, {}, {}, 'x-{}', '{}', '{{}}', {}, {}, {}, {}, {}, 0, 1)",
            made.number,
            pen.id(TICKET, usize::try_from(made.number).ok()),
            made.status,
            made.priority,
            made.kind,
            made.channel,
            pen.id(TEAM, made.team),
            pen.id(AGENT, made.assignee),
            pen.id(REQUESTER, Some(made.requester)),
            pen.id(AGENT, Some(0)),
            made.number,
            serde_json::json!(names),
            pen.at(Some(made.created_at)),
            pen.at(Some(made.updated_at)),
            pen.at(Some(made.reported_at)),
            pen.at(made.resolved_at()),
            pen.at(made.closed_at()),
        )
    };
    rows(
        "tickets (number, id, subject, description, status, priority, type, channel, team_id, assignee_id, requester_id,
         created_by_id, external_id, tags, custom_fields, created_at, updated_at, reported_at, resolved_at, closed_at,
         reopen_count,
         version)",
        made.iter().map(ticket).collect(),
    );
    let clock = |made: &Made| {
        let (timeline, mut clocks) = (serde_json::json!([[made.status, made.created_at]]), serde_json::json!([]));
        if let Some(at) = made.due_at {
            clocks = serde_json::json!([{
                "target": "first_reply", "policy": { "id": id(0, 0), "version": 1 }, "priority": made.priority, "target_s": 60,
                "hours": "calendar", "calendar": null, "state": "running", "due_at": Instant::from_micros(at),
                "counted_us": 0, "counting_since": Instant::from_micros(made.created_at),
            }]);
        }
        let due = made.due_at.unwrap_or(Instant::NEVER.micros());
        let soon = made.due_at.map(|at| at - 12_000_000);
        let [due, breach, created, soon] =
            [Some(due), made.breach_at, Some(made.created_at), soon].map(|us| pen.at(us));
        format!("({}, '{timeline}', '{clocks}', {due}, {breach}, {breach}, {created}, {soon})", made.number)
    };
    rows(
        "ticket_clocks (ticket_number, timeline, clocks, due_at, breach_at, first_reply_breach_at, created_at, notice_at)",
        made.iter().map(clock).collect(),
    );
    let tags = made.iter().flat_map(|made| made.tags.iter().map(move |tag| (made, tag)));
    let tag =
        |(made, tag): (&Made, &usize)| format!("('tag{tag}', {}, {})", pen.at(Some(made.created_at)), made.number);
    rows("ticket_tags (tag, created_at, ticket_number)", tags.map(tag).collect());
    sql += "COMMIT;";
    desk.store.run(&sql).await;
    // SQLite goes without statistics; PostgreSQL gathers them by itself.
    if engine == Engine::Postgres {
        desk.store.run("VACUUM ANALYZE").await;
    }
}

/// A connection of its own, to explain by.
pub enum Explainer {
    Sqlite(Box<diesel::SqliteConnection>),
    Postgres(tokio_postgres::Client),
}

impl Explainer {
    pub async fn open(desk: &Desk) -> Self {
        match &desk.store.url {
            DatabaseUrl::Sqlite(path) => {
                let conn = <diesel::SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap());
                Self::Sqlite(Box::new(conn.unwrap()))
            }
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                Self::Postgres(client)
            }
        }
    }

    /// How the database goes about a statement, whatever its values are. Fails if it reads a table as a whole or sorts.
    pub async fn reads_by_index(&mut self, sql: &str) -> String {
        let plan = match self {
            Self::Sqlite(conn) => steps(conn, sql).join("\n"),
            Self::Postgres(client) => {
                // It says what it could do in a large table, where it would rather not read all of it.
                let never = "SET enable_seqscan = off; SET enable_sort = off; SET enable_incremental_sort = off";
                let prepared = format!("{never}; SET plan_cache_mode = force_generic_plan; PREPARE heard AS {sql}");
                client.batch_execute(&prepared).await.unwrap();
                let count = (1..).take_while(|n| sql.contains(&format!("${n}"))).count();
                let values = if count == 0 { String::new() } else { format!("({})", vec!["NULL"; count].join(", ")) };
                let explain = format!("EXPLAIN (COSTS OFF) EXECUTE heard{values}");
                let rows = client.simple_query(&explain).await.unwrap_or_else(|e| panic!("{e}: {sql}"));
                let lines = rows.iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                    _ => None,
                });
                let plan = lines.collect::<Vec<_>>().join("\n");
                client.batch_execute("DEALLOCATE heard").await.unwrap();
                plan
            }
        };
        for whole in ["SCAN ", "TEMP B-TREE", "AUTOMATIC", "Seq Scan", "Sort"] {
            // All of an index that holds only the few rows which are looked for.
            let is_small = |step: &str| step.ends_with("USING INDEX idempotency_keys_without_subjects");
            let read =
                plan.lines().any(|step| step.contains(whole) && !is_small(step) && !step.contains("VIRTUAL TABLE"));
            assert!(!read, "{whole}: {sql}\n{plan}");
        }
        plan
    }

    /// Fails if a statement reads a large table as a whole, or looks at more than `most` rows.
    async fn examine(&mut self, what: &str, heard: &str, mode: &str, most: f64) {
        let Some((sql, binds)) = heard.split_once(" -- binds: ") else { return };
        if !sql.starts_with("SELECT") || !LARGE.iter().any(|table| sql.contains(table)) {
            return;
        }
        match self {
            Self::Sqlite(conn) => {
                let plan = steps(conn, sql);
                let few = sql.contains("json_each") || sql.contains("`path`.`external_id` = ");
                for step in &plan {
                    let table = step.strip_prefix("SCAN ").and_then(|step| step.split(' ').next()).unwrap_or_default();
                    // What goes through an index in the order of the list ends with the page.
                    let ordered = [
                        "tickets_by_created",
                        "tickets_by_updated",
                        "tickets_by_activity",
                        "tickets_by_priority",
                        "ticket_clocks_by_created",
                        "ticket_clocks_by_due",
                    ]
                    .iter()
                    .any(|index| step.ends_with(&format!("INDEX {index}")));
                    // The head of the log is its last position.
                    let head = table == "changes" && sql.contains("ORDER BY `changes`.`position` DESC LIMIT");
                    let whole = LARGE.contains(&table) && !head || table == "path" && !ordered;
                    // What is sorted are few tickets, or those of the page.
                    let sorted = step.contains("TEMP B-TREE FOR ORDER BY") && sql.contains("LIMIT") && !few;
                    let made_up = step.contains("AUTOMATIC");
                    assert!(!whole && !sorted && !made_up, "{what}:\n{heard}\n{}", plan.join("\n"));
                }
            }
            Self::Postgres(client) => {
                client.batch_execute(&format!("SET plan_cache_mode = {mode}; PREPARE heard AS {sql}")).await.unwrap();
                let values = values(binds);
                let values = if values.is_empty() { String::new() } else { format!("({})", values.join(", ")) };
                let explain = format!("EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) EXECUTE heard{values}");
                let rows = client.simple_query(&explain).await.unwrap_or_else(|e| panic!("{e}: {explain}\n{heard}"));
                let row = rows.iter().find_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
                    _ => None,
                });
                let plan: Value = serde_json::from_str(row.unwrap()).unwrap();
                client.batch_execute("DEALLOCATE heard").await.unwrap();
                let (mut looked_at, mut whole) = (0.0, false);
                look(&plan[0]["Plan"], &mut looked_at, &mut whole);
                assert!(!whole && looked_at <= most, "{what}, {mode}: looks at {looked_at} rows\n{heard}\n{plan:#}");
            }
        }
    }
}

/// How SQLite goes about a statement. That does not depend on what is bound, which is nothing here.
fn steps(conn: &mut diesel::SqliteConnection, sql: &str) -> Vec<String> {
    use diesel::RunQueryDsl;
    #[derive(diesel::QueryableByName)]
    struct Step {
        #[diesel(sql_type = diesel::sql_types::Text)]
        detail: String,
    }
    let steps = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load::<Step>(conn).unwrap();
    steps.into_iter().map(|step| step.detail).collect()
}

/// How many rows a plan of PostgreSQL has looked at, and whether it read a large table as a whole.
fn look(plan: &Value, looked_at: &mut f64, whole: &mut bool) {
    let number = |name: &str| plan[name].as_f64().unwrap_or(0.0);
    if let Some(table) = plan["Relation Name"].as_str() {
        let removed = number("Rows Removed by Filter") + number("Rows Removed by Index Recheck");
        let rows = (number("Actual Rows") + removed) * number("Actual Loops");
        *looked_at += rows;
        // What holds next to nothing is best read so.
        *whole |= rows > 100.0 && plan["Node Type"].as_str().unwrap().ends_with("Seq Scan") && LARGE.contains(&table);
    }
    for part in plan["Plans"].as_array().into_iter().flatten() {
        look(part, looked_at, whole);
    }
}

/// The values that were bound, as they are typed for PostgreSQL.
fn values(binds: &str) -> Vec<String> {
    let token = regex::Regex::new(
        r#"Instant\((-?\d+)\)|\w+Id\(([0-9a-f-]{36})\)|"((?:[^"\\]|\\.)*)"|\[([^\[\]]*)\]|Some\((\w+)\)|([A-Z]\w*)|(-?\d+)"#,
    )
    .unwrap();
    let inner = binds.trim().strip_prefix('[').and_then(|binds| binds.strip_suffix(']')).unwrap();
    let snake = |word: &str| {
        let mut text = String::new();
        for (i, letter) in word.char_indices() {
            if i > 0 && letter.is_uppercase() {
                text.push('_');
            }
            text.extend(letter.to_lowercase());
        }
        text
    };
    let value = |found: regex::Captures<'_>| {
        if let Some(us) = found.get(1) {
            format!("'{}'", Instant::from_micros(us.as_str().parse().unwrap()))
        } else if let Some(id) = found.get(2) {
            format!("'{}'", id.as_str())
        } else if let Some(text) = found.get(3) {
            format!("'{}'", text.as_str().replace('\'', "''"))
        } else if let Some(list) = found.get(4) {
            let inner = values(&format!("[{}]", list.as_str()));
            format!("'{{{}}}'", inner.iter().map(|v| v.trim_matches('\'')).collect::<Vec<_>>().join(","))
        } else if let Some(word) = found.get(5).or(found.get(6)) {
            format!("'{}'", snake(word.as_str()))
        } else {
            found[7].to_owned()
        }
    };
    token.captures_iter(inner).map(value).collect()
}

type Passes = Box<dyn Fn(&Made) -> bool>;

fn passing(passes: impl Fn(&Made) -> bool + 'static) -> Passes {
    Box::new(passes)
}

/// Filters, and what they let through.
fn filters(now: i64) -> Vec<(String, Passes)> {
    let active = |made: &Made| !matches!(made.status, Status::Closed | Status::Resolved);
    let team = |n: usize| format!("team_id={}", id(TEAM, n));
    let agent = |n: usize| format!("assignee_id={}", id(AGENT, n));
    let week = Instant::from_micros(now - 5 * DAY_US);
    let old = Instant::from_micros(now - 343 * DAY_US);
    let (week_us, old_us) = (week.micros(), old.micros());
    let due = move |made: &Made, s: i64| made.breach_at.is_some_and(|at| at > now && at <= now + s * 1_000_000 + 1);
    let breached = move |made: &Made| made.breach_at.is_some_and(|at| at <= now);
    let tagged = |made: &Made, tag: usize| made.tags.contains(&tag);
    macro_rules! cases {
        ($($query:expr => $passes:expr),+ $(,)?) => {
            vec![$((String::from($query), passing($passes))),+]
        };
    }
    cases! {
        "" => |_| true,
        // Each filter alone.
        "status=open" => |made| made.status == Status::Open,
        "status=closed" => |made| made.status == Status::Closed,
        "priority=urgent" => |made| made.priority == Priority::Urgent,
        "type=question" => |made| made.kind == "question",
        "type=problem" => |_| false,
        "channel=chat" => |made| made.channel == "chat",
        "channel=counter" => |_| false,
        team(0) => |made| made.team == Some(0),
        team(19) => |made| made.team == Some(19),
        "team_id=none" => |made| made.team.is_none(),
        agent(7) => |made| made.assignee == Some(7),
        "assignee_id=none" => |made| made.assignee.is_none(),
        "assignee_id=me" => |_| false,
        format!("requester_id={}", id(REQUESTER, 9)) => |made| made.requester == 9,
        "requester_id=none" => |_| false,
        "tag=tag0" => move |made| tagged(made, 0),
        "tag=tag150" => move |made| tagged(made, 150),
        "tag=nothing" => |_| false,
        "external_id=x-4711" => |made| made.number == 4711,
        format!("created_after={week}") => move |made| made.created_at > week_us,
        format!("created_before={old}") => move |made| made.created_at < old_us,
        format!("updated_after={week}") => move |made| made.updated_at > week_us,
        format!("updated_before={old}") => move |made| made.updated_at < old_us,
        format!("activity_after={week}") => move |made| made.updated_at > week_us,
        format!("activity_before={old}") => move |made| made.updated_at < old_us,
        format!("reported_after={week}") => move |made| made.reported_at > week_us,
        format!("reported_before={old}") => move |made| made.reported_at < old_us,
        format!("reported_before={week}") => move |made| made.reported_at < week_us,
        format!("resolved_after={week}") => move |made| made.resolved_at().is_some_and(|at| at > week_us),
        format!("resolved_before={old}") => move |made| made.resolved_at().is_some_and(|at| at < old_us),
        format!("resolved_after={old}") => move |made| made.resolved_at().is_some_and(|at| at > old_us),
        format!("closed_after={week}") => move |made| made.closed_at().is_some_and(|at| at > week_us),
        format!("closed_before={old}") => move |made| made.closed_at().is_some_and(|at| at < old_us),
        format!("closed_after={old}&closed_before={week}") => move |made| made.closed_at().is_some_and(|at| at > old_us && at < week_us),
        "policy_id=none" => |_| true,
        format!("policy_id={}", id(0, 0)) => |_| false,
        "ids=4711,17,50001,4711" => |made| matches!(made.number, 17 | 4711),
        format!("ids={},{}&status=!closed", id(TICKET, 49_999), id(TICKET, 49_998)) => |made| matches!(made.number, 49_998 | 49_999) && made.status != Status::Closed,
        // All others.
        "status=unsolved" => active,
        "status=!unsolved" => move |made| !active(made),
        "status=!closed" => |made| made.status != Status::Closed,
        "status=!closed,!resolved" => active,
        "priority=!normal,!low" => |made| matches!(made.priority, Priority::High | Priority::Urgent),
        "type=!incident" => |made| made.kind != "incident",
        "channel=!email,!web,!phone" => |made| made.channel == "chat",
        "team_id=!none" => |made| made.team.is_some(),
        format!("team_id=!{}", id(TEAM, 0)) => |made| made.team != Some(0),
        format!("team_id=!{},!none", id(TEAM, 0)) => |made| made.team.is_some_and(|team| team != 0),
        "team_id=mine" => |_| false,
        "team_id=!mine" => |_| true,
        "assignee_id=!none" => |made| made.assignee.is_some(),
        "assignee_id=!me&status=unsolved" => active,
        format!("requester_id=!{}", id(REQUESTER, 9)) => |made| made.requester != 9,
        "tag=!tag0" => move |made| !tagged(made, 0),
        "tag=!tag0,!tag1&status=open" => move |made| made.status == Status::Open && !tagged(made, 0) && !tagged(made, 1),
        format!("policy_id=!{}", id(0, 0)) => |_| true,
        "sla=breached&status=unsolved" => move |made| active(made) && breached(made),
        "sla=breached" => breached,
        "sla=due_within:3600" => move |made| due(made, 3_600),
        "sla=due_within:864000" => move |made| due(made, 864_000),
        // Several values of one.
        "status=new,open" => |made| matches!(made.status, Status::New | Status::Open),
        "status=new,open,waiting_requester,waiting_third_party" => active,
        "priority=high,urgent" => |made| matches!(made.priority, Priority::High | Priority::Urgent),
        "channel=phone,chat" => |made| matches!(made.channel, "phone" | "chat"),
        format!("{},{}", team(3), id(TEAM, 4)) => |made| matches!(made.team, Some(3 | 4)),
        format!("{},none", team(3)) => |made| matches!(made.team, Some(3) | None),
        format!("{},none", agent(7)) => |made| matches!(made.assignee, Some(7) | None),
        "tag=tag1,tag2" => move |made| tagged(made, 1) || tagged(made, 2),
        // The same again is no other.
        "status=open,open" => |made| made.status == Status::Open,
        format!("{},none,{},none", agent(7), id(AGENT, 7)) => |made| matches!(made.assignee, Some(7) | None),
        "tag=tag3,tag3" => move |made| tagged(made, 3),
        // The likeliest pairs, and some that nothing passes.
        format!("status=open&{}", team(2)) => |made| made.status == Status::Open && made.team == Some(2),
        format!("status=new,open&{}", agent(3)) => |made| made.status == Status::Open && made.assignee == Some(3),
        "status=new&assignee_id=none" => |made| made.status == Status::New,
        format!("{}&assignee_id=none", team(0)) => |made| made.team == Some(0) && made.assignee.is_none(),
        format!("status=new&{}&assignee_id=none", team(19)) => |made| made.team == Some(19) && made.assignee.is_none(),
        format!("{},none&assignee_id=none", team(19)) => |made| matches!(made.team, Some(19) | None) && made.assignee.is_none(),
        "status=open&priority=urgent" => |made| made.status == Status::Open && made.priority == Priority::Urgent,
        "status=open&type=question" => |made| made.status == Status::Open && made.kind == "question",
        "status=open&channel=chat" => |made| made.status == Status::Open && made.channel == "chat",
        "status=open&tag=tag1" => move |made| made.status == Status::Open && tagged(made, 1),
        format!("{}&priority=urgent", team(0)) => |made| made.team == Some(0) && made.priority == Priority::Urgent,
        "status=open&sla=breached" => move |made| made.status == Status::Open && breached(made),
        format!("{}&sla=breached", team(0)) => move |made| made.team == Some(0) && breached(made),
        format!("{}&sla=due_within:86400", team(0)) => move |made| made.team == Some(0) && due(made, 86_400),
        format!("status=closed&requester_id={}", id(REQUESTER, 9)) => |made| made.status == Status::Closed && made.requester == 9,
        format!("status=open&created_after={week}") => move |made| made.status == Status::Open && made.created_at > week_us,
        format!("{}&tag=tag3", team(1)) => move |made| made.team == Some(1) && tagged(made, 3),
        "status=new&assignee_id=me" => |_| false,
        "status=open&channel=counter" => |_| false,
        "priority=low&type=problem" => |_| false,
        format!("{}&tag=nothing", team(0)) => |_| false,
        "status=closed&sla=due_within:3600" => |_| false,
    }
}

/// The numbers of tickets in the order of a sort.
fn sorted(mut made: Vec<&Made>, sort: &str) -> Vec<i64> {
    if let Some((first, then)) = sort.split_once(',') {
        let mut priorities = Priority::ALL.to_vec();
        if first.starts_with('-') {
            priorities.reverse();
        }
        let of = |priority| made.iter().copied().filter(|made| made.priority == priority).collect();
        return priorities.into_iter().flat_map(|priority| sorted(of(priority), then)).collect();
    }
    made.sort_by_key(|made| {
        let value = match sort.trim_start_matches('-') {
            "created_at" => made.created_at,
            // Nothing internal has happened.
            "updated_at" | "activity_at" => made.updated_at,
            "priority" => Priority::ALL.iter().position(|priority| *priority == made.priority).unwrap() as i64,
            _ => made.due_at.unwrap_or(Instant::NEVER.micros()),
        };
        (value, made.number)
    });
    if sort.starts_with('-') {
        made.reverse();
    }
    made.iter().map(|made| made.number).collect()
}

async fn lists(engine: Engine) {
    let mut desk = Desk::open(engine).await;
    let now = desk.clock.now().micros();
    let made: Vec<Made> = (1..=TICKETS).map(|number| make(number, now)).collect();
    fill(&desk, engine, &made).await;
    let (agent, ada) = (desk.agent().await, desk.requester().await);
    let mut explainer = Explainer::open(&desk).await;
    let (url, heard) = desk.listened();
    desk.url = url;
    let rare = [
        "created_at",
        "updated_at",
        "activity_at",
        "priority",
        "due_at",
        "-updated_at",
        "-activity_at",
        "-priority",
        "-due_at",
        "-priority,due_at",
        "priority,-created_at",
        "-priority,created_at",
        "priority,-updated_at",
    ];
    for (i, (filter, passes)) in filters(now).iter().enumerate() {
        let meant: Vec<&Made> = made.iter().filter(|made| passes(made)).collect();
        // Every sort by itself, the usual ones with each filter, and the others by turns.
        let sorts = match i {
            0 => rare.iter().chain(&["-created_at"]).copied().collect(),
            _ => vec!["-created_at", rare[i % rare.len()]],
        };
        for sort in sorts {
            let path = format!("/v1/tickets?limit=20&sort={sort}&{filter}");
            check(&desk, &agent, &path, &sorted(meant.clone(), sort), &heard, &mut explainer).await;
        }
    }
    // With what was said last on them, for who sees all of it and for who sees their own.
    for who in [&agent, &ada] {
        check(
            &desk,
            who,
            "/v1/tickets?limit=20&view=summary&sort=created_at&status=waiting_requester",
            &if who.id == ada.id {
                Vec::new()
            } else {
                sorted(made.iter().filter(|made| made.status == Status::WaitingRequester).collect(), "created_at")
            },
            &heard,
            &mut explainer,
        )
        .await;
    }
    // What somebody may see is a filter like others.
    check(&desk, &ada, "/v1/tickets?limit=20&status=open", &[], &heard, &mut explainer).await;
    reports(&desk, &agent, &heard, &mut explainer).await;
    feed(&desk, engine, [&agent, &ada], &heard, &mut explainer).await;
    rounds(&desk, &mut explainer).await;
    names(&desk, engine, &made, &mut explainer).await;
    desk.close().await;
}

/// The first two pages hold what they should, and are found by indexes.
async fn check(desk: &Desk, who: &Caller, path: &str, meant: &[i64], heard: &Heard, explainer: &mut Explainer) {
    let mut cursor = String::new();
    // Of what is unsolved, all may be gone through, with its clocks: 4,000 tickets here.
    let is_soon_found = path.contains("created_at&") && !path.contains("=unsolved");
    let most = if is_soon_found { LOOKED_AT } else { LOOKED_AT_TO_SORT };
    // The plan for any values is the one that is kept; the other one is for these.
    let modes = ["force_generic_plan", "force_custom_plan"];
    for (page, mode) in meant.chunks(20).chain(meant.is_empty().then_some([].as_slice())).zip(modes) {
        let body = explained(desk, who, &format!("{path}{cursor}"), heard, explainer, mode, most).await;
        let numbers: Vec<_> =
            body["items"].as_array().unwrap().iter().map(|item| item["number"].as_i64().unwrap()).collect();
        assert_eq!(numbers, page, "{path}{cursor}");
        cursor = body["next_cursor"].as_str().map(|next| format!("&cursor={next}")).unwrap_or_default();
    }
}

/// What is answered, after each statement for it was examined.
async fn explained(
    desk: &Desk,
    who: &Caller,
    path: &str,
    heard: &Heard,
    explainer: &mut Explainer,
    mode: &str,
    most: f64,
) -> Value {
    heard.lock().unwrap().clear();
    let body = desk.get(path).by(who).expect(200).await.body;
    let statements = std::mem::take(&mut *heard.lock().unwrap());
    assert!(!statements.is_empty(), "{path}: no statement was heard");
    for statement in statements {
        explainer.examine(path, &statement, mode, most).await;
    }
    body
}

/// Reports about a day read what happened on it.
async fn reports(desk: &Desk, who: &Caller, heard: &Heard, explainer: &mut Explainer) {
    let day = "from=2026-02-20T00:00:00.000000Z&to=2026-02-21T00:00:00.000000Z";
    for path in [
        format!("/v1/metrics/summary?{day}"),
        format!("/v1/metrics/summary?{day}&group_by=priority"),
        format!("/v1/metrics/summary?{day}&group_by=tag"),
        format!("/v1/metrics/timeseries?{day}&interval=hour"),
        format!("/v1/metrics/timeseries?{day}&interval=hour&group_by=team"),
        "/v1/metrics/backlog".into(),
        "/v1/metrics/backlog?due_within_s=86400".into(),
        "/metrics".into(),
    ] {
        explained(desk, who, &path, heard, explainer, "auto", LOOKED_AT).await;
    }
    // PostgreSQL rather reads the clocks of all 50,000 tickets than look up those of 650; among 10 million it looks
    // them up.
    if matches!(explainer, Explainer::Sqlite(_)) {
        let of_a_team = format!("/v1/metrics/backlog?team_id={}", id(TEAM, 0));
        explained(desk, who, &of_a_team, heard, explainer, "auto", LOOKED_AT).await;
    }
}

/// The feed goes by positions, through 5,000 of them at most with what they are about, whatever is asked for.
async fn feed(desk: &Desk, engine: Engine, readers: [&Caller; 2], heard: &Heard, explainer: &mut Explainer) {
    // Those of the people who ask go before it: positions begin with 1.
    let (id, waiting, settle) = match engine {
        Engine::Sqlite => ("randomblob(16)", "", ""),
        Engine::Postgres => {
            let settle = "; VACUUM ANALYZE events; VACUUM ANALYZE changes";
            ("gen_random_uuid()", "DELETE FROM change_inbox; ", settle)
        }
    };
    let sql = format!(
        "{waiting}DELETE FROM changes; DELETE FROM events; \
         INSERT INTO events (id, ticket_id, at, kind, visibility, changes, number, ticket_version) \
         SELECT {id}, id, created_at, 'ticket.created', 'public', '[]', 1, 1 FROM tickets; \
         INSERT INTO changes (position, event_id, at) SELECT row_number() OVER (ORDER BY id), id, at FROM events{settle}"
    );
    for statement in sql.split("; ") {
        desk.store.run(statement).await;
    }
    let mut filters = vec!["", "&ticket_id=47000", "&include=ticket"];
    // PostgreSQL rather reads all of 50,000 events than look up 5,000; among 10 million it looks them up.
    if engine == Engine::Sqlite {
        filters.extend(["&types=ticket.redacted", "&team_id=none"]);
    }
    for (who, filter) in readers.iter().flat_map(|who| filters.iter().map(move |filter| (who, filter))) {
        let path = format!("/v1/changes?from=start&limit=20{filter}");
        let page = explained(desk, who, &path, heard, explainer, "auto", PASSED).await;
        let path = format!("/v1/changes?limit=20&cursor={}{filter}", page["next_cursor"].as_str().unwrap());
        explained(desk, who, &path, heard, explainer, "auto", PASSED).await;
    }
    let since = "/v1/changes?since=2026-02-20T00:00:00.000000Z";
    explained(desk, readers[0], since, heard, explainer, "auto", PASSED).await;
}

/// Somebody who has another name has thousands of tickets: they are gone through a hundred at a time, each once.
async fn names(desk: &Desk, engine: Engine, made: &[Made], explainer: &mut Explainer) {
    let mut of: BTreeMap<usize, i64> = BTreeMap::new();
    made.iter().filter_map(|made| made.assignee).for_each(|agent| *of.entry(agent).or_default() += 1);
    let agent = *of.iter().max_by_key(|(_, count)| **count).unwrap().0;
    let renamed = format!(
        "UPDATE principals SET name = 'Another', updated_at = {} WHERE id = {}",
        {
            let now = desk.clock.now().micros() + 1;
            Pen(engine).at(Some(now))
        },
        Pen(engine).id(AGENT, Some(agent))
    );
    desk.store.run(&renamed).await;
    let (db, heard) = desk.listened_db();
    let (mut walk, mut looks, at_once) = (None, 0, 10);
    while move_activity_of_renamed(&db, &mut walk, at_once).await.unwrap() {
        looks += 1;
    }
    // As a requester they have none.
    assert_eq!(looks, 1 + of[&agent] / i64::from(at_once) + i64::from(of[&agent] % i64::from(at_once) > 0) + 1);
    let statements = std::mem::take(&mut *heard.lock().unwrap());
    let mut walked =
        statements.iter().filter(|statement| statement.starts_with("SELECT") && statement.contains("(tickets.status,"));
    let last = walked.next_back().expect("a look behind the first");
    // Knowing whose they are, PostgreSQL rather sorts some hundred than goes along the index.
    explainer.examine("another name", last, "force_generic_plan", f64::from(at_once)).await;
    assert_eq!(desk.store.count("tickets WHERE internal_at IS NOT NULL").await, of[&agent]);
}

/// What the service looks for by itself, every half a minute, it finds by index, too: no ticket is old enough to be
/// closed.
async fn rounds(desk: &Desk, explainer: &mut Explainer) {
    let (db, heard) = desk.listened_db();
    let a_century_s = 100 * 365 * 86_400;
    let round = janitor::round(&db, a_century_s, &desk.ids).await.unwrap();
    assert_eq!(round.closed, 0);
    let statements = std::mem::take(&mut *heard.lock().unwrap());
    assert!(statements.iter().any(|statement| statement.contains("resolved_at")), "{statements:?}");
    for statement in statements {
        explainer.examine("a round", &statement, "force_generic_plan", LOOKED_AT).await;
    }
    // What promises are due, and what is told of them, a few at a time.
    while tell_promises(&db, &desk.ids, PROMISES_AT_ONCE).await.unwrap() > 0 {}
    let statements = std::mem::take(&mut *heard.lock().unwrap());
    for column in ["notice_at", "first_reply_breach_at", "sla_notices"] {
        assert!(statements.iter().any(|statement| statement.contains(column)), "{column}");
    }
    // Each kind of statement once.
    let mut kinds = BTreeSet::new();
    for statement in statements.iter().rev() {
        if kinds.insert(statement.split(" -- binds: ").next().unwrap()) {
            explainer.examine("a notice", statement, "force_generic_plan", LOOKED_AT).await;
        }
    }
}

on_both! {
    /// The next page of any list begins at its place in an index, not at the first row.
    async fn the_next_page_is_found_by_its_place(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let post = async |path: &str, body: Value| desk.post(path).by(&admin).json(&body).expect(201).await.body["id"].as_str().unwrap().to_owned();
        let ticket = format!("/v1/tickets/{}", desk.ticket(&ada, json!({})).await["number"]);
        let mut paths = vec!["/v1/users".into(), "/v1/users?role=agent,requester".into()];
        paths.extend(["/v1/teams", "/v1/service-accounts", "/v1/sla/calendars", "/v1/sla/policies", "/v1/webhooks", "/v1/views"].map(String::from));
        let mut hook = String::new();
        for nth in 0..3 {
            let team = post("/v1/teams", json!({ "name": format!("Team {nth}") })).await;
            post("/v1/service-accounts", json!({ "name": format!("Script {nth}"), "scopes": ["tickets:read"] })).await;
            let calendar = post("/v1/sla/calendars", json!({ "name": format!("Office {nth}"), "time_zone": "Europe/Oslo", "working_hours": { "monday": [{ "from": "08:00", "to": "16:00" }] } })).await;
            let targets = json!([{ "target": "response", "target_s": 60, "hours": "calendar" }]);
            let policy = post("/v1/sla/policies", json!({ "name": format!("Policy {nth}"), "targets": targets })).await;
            let webhook = post("/v1/webhooks", json!({ "name": format!("Hook {nth}"), "url": "https://example.org/" })).await;
            desk.post(&format!("{ticket}/comments")).by(&agent).json(&json!({ "body": "b", "visibility": "public" })).expect(201).await;
            desk.post(&format!("{ticket}/time-entries")).by(&agent).json(&json!({ "work_s": 60 })).expect(201).await;
            post("/v1/views", json!({ "name": "v", "filter": {}, "team_id": if nth == 0 { json!(team) } else { Value::Null } })).await;
            if nth == 0 {
                for who in [&admin, &agent] {
                    desk.put(&format!("/v1/teams/{team}/members/{}", who.id)).by(&admin).expect(204).await;
                }
                desk.patch(&format!("/v1/sla/calendars/{calendar}")).by(&admin).json(&json!({ "time_zone": "Europe/Paris" })).expect(200).await;
                desk.patch(&format!("/v1/sla/policies/{policy}")).by(&admin).json(&json!({ "position": 7 })).expect(200).await;
                paths.push(format!("/v1/teams/{team}/members"));
                hook = format!("/v1/webhooks/{webhook}");
                paths.push(format!("/v1/sla/calendars/{calendar}/versions"));
                paths.push(format!("/v1/sla/policies/{policy}/versions"));
            }
        }
        paths.extend(["comments", "time-entries", "events"].map(|list| format!("{ticket}/{list}")));
        desk.sequence().await;
        while skranke::webhooks::service::hand_out(&desk.db.patient(), &desk.ids).await.unwrap() {}
        paths.extend(["?state=pending", ""].map(|filter| format!("{hook}/deliveries{filter}")));
        let (url, heard) = desk.listened();
        let mut explainer = Explainer::open(desk).await;
        for path in paths {
            let and = if path.contains('?') { '&' } else { '?' };
            let first = desk.get(&format!("{path}{and}limit=1")).by(&admin).expect(200).await.body;
            let next = format!("{path}{and}limit=1&cursor={}", first["next_cursor"].as_str().unwrap_or_else(|| panic!("{path} has one page")));
            heard.lock().unwrap().clear();
            desk.ask_at(&url, reqwest::Method::GET, &next).by(&admin).expect(200).await;
            let statements = std::mem::take(&mut *heard.lock().unwrap());
            // Which teams somebody is in is no page.
            let is_of_teams = |sql: &str| sql.replace(['`', '"'], "").contains("team_members INNER JOIN teams");
            let is_page = |sql: &&str| sql.contains("ORDER BY") && !is_of_teams(sql);
            let pages = statements.iter().filter_map(|heard| heard.split(" -- binds: ").next()).filter(is_page);
            let mut found = false;
            for sql in pages {
                let plan = explainer.reads_by_index(sql).await;
                found |= plan.lines().any(|step| step.contains(">?)") || step.contains("<?)") || step.contains(">(?,?)") || step.contains("Index Cond") && (step.contains(" > ") || step.contains(" < ")));
                assert!(found, "{path} goes through all that is before the page:\n{sql}\n{plan}");
            }
            assert!(found, "{path}: no page was heard of in {statements:?}");
        }
    }
}

#[tokio::test]
async fn what_is_asked_of_50_000_tickets_is_right_and_found_by_index_on_sqlite() {
    lists(Engine::Sqlite).await;
}

#[tokio::test]
async fn what_is_asked_of_50_000_tickets_is_right_and_found_by_index_on_postgres() {
    lists(Engine::Postgres).await;
}
