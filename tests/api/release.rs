//! Databases that released versions have left, in `tests/fixtures`: the code of today opens a copy, brings it up to
//! date, tells of it what was told then, and goes on with it.
//!
//! They are made when a version is released, on both engines, by
//! `tests/run.sh --only-tests --test api -- --ignored release::make_the_fixtures`, and never changed afterwards.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use skranke::app::janitor::round;
use skranke::db::DatabaseUrl;
use skranke::tally::service::fold;

use crate::support::{Caller, Desk, Engine, Store};

const DAY_S: i64 = 24 * 3600;
const PASSWORD: &str = "correct horse battery";

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(version)
}

fn name(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "sqlite",
        Engine::Postgres => "postgres",
    }
}

fn path(root: &str, one: &Value) -> String {
    format!("{root}/{}", one["id"].as_str().unwrap())
}

/// Plays a story that leaves something of every kind. Who was in it.
async fn story(desk: &Desk) -> Map<String, Value> {
    let (admin, agent, other) = (desk.admin().await, desk.agent().await, desk.agent().await);
    let (ada, bob) = (desk.requester().await, desk.requester().await);
    let script = desk.account("tickets:read tickets:write comments:read comments:write").await;
    let post = async |who: &Caller, path: &str, body: Value| desk.post(path).by(who).json(&body).expect(201).await.body;
    let patch =
        async |who: &Caller, path: &str, body: Value| desk.patch(path).by(who).json(&body).expect(200).await.body;

    let grace = json!({ "name": "Grace Hopper", "email": "grace@example.org", "role": "agent", "password": PASSWORD,
        "hourly_rate": { "amount_minor": 9000, "currency": "EUR" } });
    post(&admin, "/v1/users", grace).await;
    let gone =
        post(&admin, "/v1/users", json!({ "name": "Gone", "email": "gone@example.org", "role": "requester" })).await;
    let team = post(
        &admin,
        "/v1/teams",
        json!({ "name": "Facilities", "description": "Doors and printers.",
        "hourly_rate": { "amount_minor": 7000, "currency": "NOK" } }),
    )
    .await;
    post(&admin, "/v1/teams", json!({ "name": "Ære" })).await;
    for member in [&agent, &other] {
        desk.put(&format!("{}/members/{}", path("/v1/teams", &team), member.id)).by(&admin).expect(204).await;
    }
    let revoked = post(&admin, "/v1/service-accounts", json!({ "name": "old", "scopes": ["tickets:read"] })).await;
    desk.delete(&path("/v1/service-accounts", &revoked)).by(&admin).expect(204).await;

    let calendar = post(&admin, "/v1/sla/calendars", json!({ "name": "Oslo", "time_zone": "Europe/Oslo", "is_default": true,
        "working_hours": { "monday": [{ "from": "08:00", "to": "16:00" }], "friday": [{ "from": "22:00", "to": "06:00" }] },
        "holidays": [{ "date": "2026-05-17", "name": "Grunnlovsdagen" }] })).await;
    patch(&admin, &path("/v1/sla/calendars", &calendar), json!({ "name": "Office in Oslo" })).await;
    let targets = json!([
        { "target": "response", "target_s": 900, "hours": "business" }, { "target": "first_reply", "target_s": 3600, "hours": "calendar" },
        { "target": "service", "target_s": 14_400, "hours": "calendar", "priority": "urgent" },
    ]);
    let policy =
        post(&admin, "/v1/sla/policies", json!({ "name": "All", "targets": targets, "calendar_id": calendar["id"] }))
            .await;
    patch(&admin, &path("/v1/sla/policies", &policy), json!({ "condition": { "types": ["incident"] } })).await;

    let say = async |who: &Caller, ticket: &Value, visibility: &str, body: &str| {
        desk.clock.pass_s(60);
        post(
            who,
            &format!("{}/comments", path("/v1/tickets", ticket)),
            json!({ "visibility": visibility, "body": body }),
        )
        .await
    };
    let to = async |ticket: &Value, statuses: &[&str]| {
        for status in statuses {
            desk.clock.pass_s(600);
            patch(&agent, &path("/v1/tickets", ticket), json!({ "status": status })).await;
        }
    };
    let open = async |who: &Caller, body: Value| {
        desk.clock.pass_s(300);
        post(who, "/v1/tickets", body).await
    };
    let closed = open(
        &ada,
        json!({ "subject": "The printer is on fire", "description": "Smoke since 9:10.", "priority": "urgent",
        "tags": ["printer", "vip"], "custom_fields": { "floor": 2, "nested": { "øl": [1, 2.5, null, "x"] } } }),
    )
    .await;
    say(&agent, &closed, "public", "Somebody is on the way.").await;
    say(&agent, &closed, "internal", "Again that printer, and its toner.").await;
    to(&closed, &["waiting_third_party", "open", "resolved"]).await;
    let reopened = open(&bob, json!({ "subject": "No coffee", "channel": "counter", "type": "service_request" })).await;
    to(&reopened, &["open", "resolved", "open"]).await;
    round(&desk.db, 7 * DAY_S, &desk.ids).await.unwrap();
    desk.clock.pass_s(8 * DAY_S);
    round(&desk.db, 7 * DAY_S, &desk.ids).await.unwrap();
    fold(&desk.db, 500).await.unwrap();

    let waiting = open(&script, json!({ "subject": "Disk full on db-3", "channel": "monitoring", "external_id": "alert-4711",
        "requester": { "email": "ada.lovelace@example.org", "name": "Ada Lovelace" }, "team_id": team["id"], "assignee_id": agent.id })).await;
    to(&waiting, &["open", "waiting_requester"]).await;
    let third = open(&ada, json!({ "subject": "Ventilation hums", "priority": "low", "type": "problem" })).await;
    to(&third, &["open", "waiting_third_party"]).await;
    let resolved = open(
        &ada,
        json!({ "subject": "The printer is on fire, again", "follow_up_of": closed["number"], "priority": "high" }),
    )
    .await;
    let redacted = say(&ada, &resolved, "public", "My password is swordfish.").await;
    let edited = say(&agent, &resolved, "public", "Do not tell us.").await;
    let comments = format!("{}/comments", path("/v1/tickets", &resolved));
    patch(&agent, &path(&comments, &edited), json!({ "body": "Do not tell anybody." })).await;
    desk.delete(&path(&comments, &redacted)).by(&admin).expect(204).await;
    let entries = format!("{}/time-entries", path("/v1/tickets", &resolved));
    post(&agent, &entries, json!({ "work_s": 1500, "note": "Put it out." })).await;
    let mistake = post(&agent, &entries, json!({ "work_s": 60 })).await;
    desk.delete(&path(&entries, &mistake)).by(&agent).expect(204).await;
    to(&resolved, &["resolved"]).await;
    let entries = format!("{}/time-entries", path("/v1/tickets", &waiting));
    post(&agent, &entries, json!({ "work_s": 3600 })).await;
    open(&agent, json!({ "subject": "Naïve question about café lights", "type": "question", "reported_at": "2026-03-03T07:00:00.000000Z", "requester_id": bob.id })).await;
    desk.delete(&path("/v1/users", &gone)).by(&admin).expect(204).await;
    let stale = json!({ "subject": "With a key" });
    desk.post("/v1/tickets").by(&bob).header("idempotency-key", "kept").json(&stale).expect(201).await;
    desk.clock.pass_s(1800);
    let who = [("admin", admin), ("agent", agent), ("requester", ada), ("service account", script)];
    who.into_iter().map(|(role, caller)| (role.to_owned(), caller.id.into())).collect()
}

/// Everything that somebody of a role is told.
async fn told(desk: &Desk, role: &str, who: &Caller) -> Map<String, Value> {
    let mut paths: Vec<String> = vec!["/v1/me".into()];
    let mut lists: Vec<String> = [
        "",
        "&q=printer",
        "&q=toner",
        "&q=cafe",
        "&status=waiting_requester,closed",
        "&sla=breached",
        "&tag=vip",
        "&external_id=alert-4711",
    ]
    .map(|filter| format!("/v1/tickets?limit=200{filter}"))
    .into();
    lists.extend(["created_at", "-updated_at", "priority", "due_at"].map(|sort| format!("/v1/tickets?sort={sort}")));
    let staff = ["admin", "agent"].contains(&role);
    let tickets = desk.all(who, "/v1/tickets").await;
    for ticket in &tickets {
        let ticket = path("/v1/tickets", ticket);
        lists.extend(["comments", "events"].map(|part| format!("{ticket}/{part}")));
        if staff {
            lists.push(format!("{ticket}/time-entries"));
            paths.push(format!("{ticket}/cost"));
            paths.push(format!("{ticket}/sla"));
        }
        paths.push(ticket);
    }
    if staff {
        let configured: Vec<String> = ["/v1/teams", "/v1/sla/calendars", "/v1/sla/policies"].map(str::to_owned).into();
        for list in configured {
            for one in desk.all(who, &list).await {
                lists.push(format!(
                    "{}/{}",
                    path(&list, &one),
                    if list == "/v1/teams" { "members" } else { "versions" }
                ));
            }
            lists.push(list);
        }
        lists.push("/v1/users".into());
        for window in [
            "from=2026-03-01T00:00:00Z",
            "from=2026-03-01T00:00:00Z&group_by=priority",
            "from=2026-03-01T00:00:00Z&group_by=team",
        ] {
            paths.push(format!("/v1/metrics/summary?{window}"));
        }
        paths.push("/v1/metrics/timeseries?from=2026-03-01T00:00:00Z&interval=day&time_zone=Europe/Oslo".into());
        paths.push("/v1/metrics/backlog?group_by=priority".into());
    }
    if role == "admin" {
        lists.push("/v1/service-accounts".into());
    }
    let mut told = Map::new();
    for path in paths {
        let answer = desk.get(&path).by(who).expect(200).await;
        told.insert(path, answer.body);
    }
    for list in lists {
        let items = desk.all(who, &list).await;
        told.insert(list, items.into());
    }
    told
}

/// Where `now` lacks something of `then`, or says otherwise. What is new in an answer is no difference.
fn differences(place: &str, then: &Value, now: &Value) -> Vec<String> {
    let ending = place.rsplit('/').next().unwrap_or_default();
    match (then, now) {
        // Groups have become objects, and may be by several things or by none.
        (Value::Null, Value::Object(now)) if ending == "key" && now.is_empty() => Vec::new(),
        (group, Value::Object(now)) if ending == "key" && now.len() == 1 => {
            differences(&format!("{place} of one thing"), group, now.values().next().unwrap())
        }
        (by, Value::Array(now)) if ending == "group_by" && now.len() == 1 => {
            differences(&format!("{place} of one thing"), by, &now[0])
        }
        // The spread of durations is told within one percent.
        (Value::Number(then), Value::Number(now))
            if ["p50_s", "p90_s", "p95_s", "p99_s", "max_s"].contains(&ending) && {
                let (then, now) = (then.as_f64().unwrap(), now.as_f64().unwrap());
                (then - now).abs() < then / 100.0
            } =>
        {
            Vec::new()
        }
        (Value::Object(then), Value::Object(now)) => {
            let missing = &Value::String("(missing)".into());
            then.iter()
                .flat_map(|(name, value)| {
                    differences(&format!("{place}/{name}"), value, now.get(name).unwrap_or(missing))
                })
                .collect()
        }
        // What a change names has become an object of id and name.
        (Value::String(then), Value::Object(now)) if ["before", "after"].contains(&ending) && now["id"] == **then => {
            Vec::new()
        }
        // There are more scopes than there were.
        (Value::Array(then), Value::Array(now)) if ending == "scopes" && then.iter().all(|one| now.contains(one)) => {
            Vec::new()
        }
        // All times have become as wide.
        (Value::String(then), Value::String(now)) if widened(then) == *now => Vec::new(),
        (Value::Array(then), Value::Array(now)) if then.len() == now.len() => then
            .iter()
            .zip(now)
            .enumerate()
            .flat_map(|(at, (then, now))| differences(&format!("{place}/{at}"), then, now))
            .collect(),
        _ if then == now => Vec::new(),
        _ => vec![format!("{place}: {then} became {now}")],
    }
}

/// The same text with six digits of a second in all times.
fn widened(text: &str) -> String {
    let time = regex::Regex::new(r"(T\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?Z").unwrap();
    let wide = |found: &regex::Captures<'_>| {
        format!("{}.{:0<6}Z", &found[1], found.get(2).map_or("", |digits| digits.as_str()))
    };
    time.replace_all(text, wide).into_owned()
}

async fn token(desk: &Desk, people: &Map<String, Value>, role: &str) -> Caller {
    let id = people[role].as_str().unwrap().to_owned();
    let token = desk.authority.mint(id.parse().unwrap(), None, DAY_S, desk.clock.now(), &desk.ids).unwrap();
    Caller { id, name: role.to_owned(), token }
}

/// Plays the story on a new database and keeps that, and what is told of it.
async fn keep(engine: Engine) {
    let desk = Desk::open(engine).await;
    let people = story(&desk).await;
    let mut answers = Map::new();
    for role in people.keys() {
        answers.insert(role.clone(), told(&desk, role, &token(&desk, &people, role).await).await.into());
    }
    let folder = folder(env!("CARGO_PKG_VERSION"));
    std::fs::create_dir_all(&folder).unwrap();
    let database = match &desk.store.url {
        DatabaseUrl::Sqlite(path) => {
            let copy = path.with_extension("copy");
            desk.store.run(&format!("VACUUM INTO '{}'", copy.display())).await;
            std::fs::read(copy).unwrap()
        }
        DatabaseUrl::Postgres(url) => {
            let dump = Command::new("pg_dump")
                .args(["--inserts", "--no-owner", "--no-privileges", url.reveal()])
                .output()
                .unwrap();
            assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
            // Lines that begin so are for psql alone.
            let text = String::from_utf8(dump.stdout).unwrap();
            text.lines()
                .filter(|line| !line.starts_with('\\'))
                .flat_map(|line| [line, "\n"])
                .collect::<String>()
                .into_bytes()
        }
    };
    let answers = json!({ "now": desk.clock.now(), "people": people, "answers": answers });
    let zipped = |file: String, bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(bytes).unwrap();
        std::fs::write(folder.join(file), gzip.finish().unwrap()).unwrap();
    };
    let ending = if engine == Engine::Sqlite { "db" } else { "sql" };
    zipped(format!("{}.{ending}.gz", name(engine)), &database);
    zipped(format!("{}.answers.json.gz", name(engine)), serde_json::to_string_pretty(&answers).unwrap().as_bytes());
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "makes the fixtures of a release"]
async fn make_the_fixtures() {
    keep(Engine::Sqlite).await;
    keep(Engine::Postgres).await;
}

/// A copy of the database that `version` has left, and what was told of it.
async fn left_by(version: &str, engine: Engine) -> (Store, Value) {
    let unzipped = |file: String| {
        let mut bytes = Vec::new();
        let zipped = std::fs::File::open(folder(version).join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        flate2::read::GzDecoder::new(zipped).read_to_end(&mut bytes).unwrap();
        bytes
    };
    let store = Store::make(engine).await;
    match &store.url {
        DatabaseUrl::Sqlite(path) => std::fs::write(path, unzipped("sqlite.db.gz".into())).unwrap(),
        DatabaseUrl::Postgres(_) => store.run(&String::from_utf8(unzipped("postgres.sql.gz".into())).unwrap()).await,
    }
    let answers = serde_json::from_slice(&unzipped(format!("{}.answers.json.gz", name(engine)))).unwrap();
    (store, answers)
}

/// Opens what every released version has left.
async fn goes_on(engine: Engine) {
    let versions =
        std::fs::read_dir(folder("")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut count = 0;
    for version in versions.filter(|version| version.starts_with(|c: char| c.is_ascii_digit())) {
        let (store, kept) = left_by(&version, engine).await;
        let desk = Desk::open_on(store, Vec::new(), |settings| settings).await;
        // Where the index of words is made anew, it is so in the background.
        while skranke::tickets::service::index_waiting(&desk.db, 100).await.unwrap() > 0 {}
        desk.clock.go_to(kept["now"].as_str().unwrap());
        let people = kept["people"].as_object().unwrap();
        let mut found = Vec::new();
        for (role, then) in kept["answers"].as_object().unwrap() {
            let who = token(&desk, people, role).await;
            let now = told(&desk, role, &who).await;
            assert!(then.as_object().unwrap().len() > 10, "{role} was told little");
            found.extend(differences(&format!("{version}, {role}"), then, &now.into()));
        }
        assert!(
            found.is_empty(),
            "{} differences, of which the first are:\n{}",
            found.len(),
            found[..found.len().min(10)].join("\n")
        );
        is_counted(&desk).await;
        carry_on(&desk, people).await;
        is_counted(&desk).await;
        desk.close().await;
        count += 1;
    }
    assert!(count > 0, "no version has left anything");
}

/// What is kept of tickets is what they tell.
async fn is_counted(desk: &Desk) {
    let found = desk.db.look(async |conn| skranke::tickets::service::compare(conn, &|_| {}).await).await.unwrap();
    assert!(found.wrong.is_empty(), "{found:?}");
    desk.rows_are_right().await;
}

/// What was left is written to: everything is told, found and counted with what was there.
async fn carry_on(desk: &Desk, people: &Map<String, Value>) {
    let (agent, ada) = (token(desk, people, "agent").await, token(desk, people, "requester").await);
    let form = format!("grant_type=password&username=grace@example.org&password={}", PASSWORD.replace(' ', "+"));
    desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form).expect(200).await;
    let created = async || {
        desk.get("/v1/metrics/summary?from=2026-03-01T00:00:00Z").by(&agent).expect(200).await.body.to_string()
    };
    let before = desk.all(&agent, "/v1/tickets?sort=created_at").await;
    let (printers, counted) = (desk.all(&agent, "/v1/tickets?q=printer").await.len(), created().await);
    desk.clock.pass_s(60);
    let fresh = desk.ticket(&ada, json!({ "subject": "Another printer", "follow_up_of": 1 })).await;
    assert!(fresh["number"].as_i64() > before.iter().filter_map(|ticket| ticket["number"].as_i64()).max());
    assert_eq!(desk.all(&agent, "/v1/tickets?q=printer").await.len(), printers + 1);
    assert_ne!(created().await, counted);
    for ticket in before {
        let comments = format!("{}/comments", path("/v1/tickets", &ticket));
        let comment = desk.post(&comments).by(&agent).json(&json!({ "visibility": "public", "body": "Still here." }));
        if ticket["status"] == "closed" {
            comment.refused(409, "ticket_closed").await;
            continue;
        }
        comment.expect(201).await;
        desk.clock.pass_s(60);
        let solved = desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved", "tags": ["kept"] })).await;
        assert!(solved["version"].as_i64() > ticket["version"].as_i64());
        desk.get(&format!("{}/sla", path("/v1/tickets", &ticket))).by(&agent).expect(200).await;
    }
    fold(&desk.db, 500).await.unwrap();
    desk.clock.pass_s(8 * DAY_S);
    round(&desk.db, 7 * DAY_S, &desk.ids).await.unwrap();
    let agent = token(desk, people, "agent").await;
    let statuses: Vec<Value> =
        desk.all(&agent, "/v1/tickets").await.into_iter().map(|ticket| ticket["status"].clone()).collect();
    assert_eq!(statuses.iter().filter(|status| *status != "closed").count(), 1, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_released_versions_left_is_read_and_written_on_sqlite() {
    goes_on(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_released_versions_left_is_read_and_written_on_postgres() {
    goes_on(Engine::Postgres).await;
}
