//! Metrics: figures are what a plain recount of the audit trail comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};
use skranke::kernel::Instant;
use skranke::{metrics, tally};

use crate::on_both;
use crate::support::{Caller, Chance, Desk, Engine, seed};

const S: i64 = 1_000_000;
const HOUR: i64 = 3_600 * S;
const DAY: i64 = 24 * HOUR;

fn us(value: &Value) -> i64 {
    value.as_str().unwrap_or_else(|| panic!("{value} is no time")).parse::<Instant>().unwrap().micros()
}

fn written(us: i64) -> String {
    Instant::from_micros(us).to_string()
}

fn at(text: &str) -> i64 {
    us(&json!(text))
}

const CALENDAR: &str = "019a2f4e-7c1b-7d3e-8f00-0000000000c1";
const POLICIES: [(&str, &str); 2] =
    [("019a2f4e-7c1b-7d3e-8f00-0000000000a1", "Pressing"), ("019a2f4e-7c1b-7d3e-8f00-0000000000a2", "Printers")];

/// Office hours from Monday to Friday in UTC as the default calendar, and two policies.
async fn promise(desk: &Desk) {
    let shift = json!([{ "from": "08:00", "to": "16:00" }]);
    let calendar = json!({ "time_zone": "UTC", "holidays": {}, "working_hours":
        { "monday": shift, "tuesday": shift, "wednesday": shift, "thursday": shift, "friday": shift } });
    let rule = |target: &str, target_s: i64, hours: &str| json!({ "target": target, "priority": null, "target_s": target_s, "hours": hours });
    let pressing = json!({ "name": "Pressing", "position": 1, "condition": { "priorities": ["high", "urgent"] }, "calendar_id": CALENDAR,
        "targets": [rule("response", 3_600, "calendar"), rule("first_reply", 7_200, "business"), rule("service", 14_400, "calendar")] });
    let printers = json!({ "name": "Printers", "position": 2, "condition": { "tags": ["printer"] }, "calendar_id": null,
        "targets": [rule("response", 14_400, "business"), rule("service", 86_400, "calendar")] });
    let sqlite = desk.db.engine() == "sqlite";
    let id = |id: &str| if sqlite { format!("X'{}'", id.replace('-', "")) } else { format!("'{id}'") };
    let now = desk.clock.now();
    let now = if sqlite { now.micros().to_string() } else { format!("'{now}'") };
    let mut sql = format!(
        "INSERT INTO calendars (id, name, is_default, definition, created_at, updated_at, version) VALUES ({0}, 'Office', TRUE, '{calendar}', {now}, {now}, 1);
         INSERT INTO calendar_versions (calendar_id, version, definition, created_at) VALUES ({0}, 1, '{calendar}', {now});",
        id(CALENDAR)
    );
    for ((policy, name), definition) in POLICIES.iter().zip([&pressing, &printers]) {
        let calendar = if definition["calendar_id"].is_null() { "NULL".into() } else { id(CALENDAR) };
        let position = &definition["position"];
        sql += &format!(
            "INSERT INTO sla_policies (id, name, position, calendar_id, definition, created_at, updated_at, version)
             VALUES ({0}, '{name}', {position}, {calendar}, '{definition}', {now}, {now}, 1);
             INSERT INTO sla_policy_versions (policy_id, version, definition, created_at) VALUES ({0}, 1, '{definition}', {now});",
            id(policy)
        );
    }
    desk.store.run(&sql).await;
}

/// Who is there.
struct World {
    monitor: Caller,
    agents: Vec<Caller>,
    teams: Vec<String>,
    began: i64,
}

/// Lives through a history of `steps` things that happen, the same for the same seed; does `each` before every one.
async fn live(desk: &Desk, seed: u64, steps: usize, each: &impl AsyncFn()) -> World {
    promise(desk).await;
    let mut chance = Chance(seed);
    let began = desk.clock.now().micros();
    let admin = desk.admin().await;
    let agents = vec![desk.agent().await, desk.agent().await, desk.agent().await];
    let requesters = [desk.requester().await, desk.requester().await];
    for (agent, rate) in agents
        .iter()
        .zip([json!({ "amount_minor": 9001, "currency": "EUR" }), json!({ "amount_minor": 77_777, "currency": "NOK" })])
    {
        desk.patch(&format!("/v1/users/{}", agent.id))
            .by(&admin)
            .json(&json!({ "hourly_rate": rate }))
            .expect(200)
            .await;
    }
    let mut teams = Vec::new();
    for name in ["Printers", "Networks"] {
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": name })).expect(201).await.body;
        teams.push(team["id"].as_str().unwrap().to_owned());
    }
    let mut made = 0;
    for _ in 0..steps {
        each().await;
        desk.clock.pass_s([0, 1, 59, 600, 3_600, 9_999, 20_000, 40_000][chance.below(8)]);
        let agent = chance.of(&agents).clone();
        let (some_team, some_agent) = (chance.of(&teams).clone(), chance.of(&agents).id.clone());
        let maybe = |chance: &mut Chance, value: &str| if chance.below(3) == 0 { Value::Null } else { json!(value) };
        let tags = |chance: &mut Chance| {
            [json!([]), json!(["printer"]), json!(["fire", "printer"]), json!(["Øre \"a\""])][chance.below(4)].clone()
        };
        let priority = *chance.of(&["low", "normal", "high", "urgent"]);
        let ticket = format!("/v1/tickets/{}", 1 + chance.below(usize::max(made, 1)));
        match chance.below(if made < 4 { 3 } else { 16 }) {
            0..=2 => {
                made += 1;
                let mut new = json!({ "subject": "s", "priority": priority, "tags": tags(&mut chance),
                    "type": chance.of(&["incident", "question"]), "channel": chance.of(&["web", "phone", "email"]) });
                let by = if chance.below(3) == 0 { chance.of(&requesters) } else { &agent };
                if by.id == agent.id {
                    new["team_id"] = maybe(&mut chance, &some_team);
                    new["assignee_id"] = maybe(&mut chance, &some_agent);
                    new["requester_id"] = json!(chance.of(&requesters).id);
                    if chance.below(2) == 0 {
                        let back_us = chance.below(5 * 86_400_000) as i64 * 1_000;
                        new["reported_at"] = json!(written(desk.clock.now().micros() - back_us));
                    }
                }
                desk.post("/v1/tickets").by(by).json(&new).expect(201).await;
            }
            3 | 4 => {
                let comment = json!({ "body": "b", "visibility": chance.of(&["public", "public", "internal"]) });
                desk.post(&format!("{ticket}/comments")).by(&agent).json(&comment).send().await;
            }
            5 => {
                let own = chance.of(&requesters);
                desk.post(&format!("{ticket}/comments"))
                    .by(own)
                    .json(&json!({ "body": "b", "visibility": "public" }))
                    .send()
                    .await;
            }
            6..=10 => {
                let status = *chance.of(&[
                    "open",
                    "open",
                    "waiting_requester",
                    "waiting_third_party",
                    "resolved",
                    "resolved",
                    "resolved",
                    "closed",
                ]);
                desk.patch(&ticket).by(&agent).json(&json!({ "status": status })).send().await;
            }
            11 | 12 => {
                let patch = [
                    json!({ "priority": priority }),
                    json!({ "team_id": maybe(&mut chance, &some_team) }),
                    json!({ "assignee_id": maybe(&mut chance, &some_agent) }),
                    json!({ "tags": tags(&mut chance) }),
                ];
                desk.patch(&ticket).by(&agent).json(chance.of(&patch)).send().await;
            }
            13 | 14 => {
                let worked_us = desk.clock.now().micros() - chance.below(200_000) as i64 * S;
                let entry = json!({ "work_s": 1 + chance.below(9_000), "worked_at": written(worked_us), "agent_id": some_agent });
                desk.post(&format!("{ticket}/time-entries")).by(&agent).json(&entry).send().await;
            }
            _ => {
                let entries = desk.all(&agent, &format!("{ticket}/time-entries")).await;
                if let Some(entry) = entries.first() {
                    desk.delete(&format!("{ticket}/time-entries/{}", entry["id"].as_str().unwrap()))
                        .by(&admin)
                        .send()
                        .await;
                }
            }
        }
    }
    World { monitor: desk.account("metrics:read").await, agents, teams, began }
}

/// What the trail of a ticket tells.
struct Told {
    body: Value,
    spans: Vec<(String, i64)>,
    first_replied: Option<i64>,
    answers: usize,
    reopenings: usize,
    /// When, how long, and what it cost.
    work: Vec<(i64, i64, Value)>,
}

impl Told {
    fn is(&self, field: &str, value: &str) -> bool {
        self.body[field] == value
    }

    fn has_tag(&self, tag: &str) -> bool {
        self.body["tags"].as_array().unwrap().iter().any(|t| t == tag)
    }

    /// The groups of a ticket as they would be written, each with what it is ordered by.
    fn keys(&self, group: &str) -> Vec<(String, Value)> {
        let named = |thing: &Value| match thing["name"].as_str() {
            Some(name) => (format!("0 {name}"), thing.clone()),
            None => ("1".into(), Value::Null),
        };
        match group {
            "team" | "assignee" => vec![named(&self.body[group])],
            "policy" => {
                let pressing = ["high", "urgent"].iter().any(|p| self.is("priority", p));
                let policy = if pressing { Some(0) } else { self.has_tag("printer").then_some(1) };
                vec![named(
                    &policy.map_or(Value::Null, |i: usize| json!({ "id": POLICIES[i].0, "name": POLICIES[i].1 })),
                )]
            }
            "tag" if self.body["tags"] == json!([]) => vec![("1".into(), Value::Null)],
            "tag" => self.body["tags"]
                .as_array()
                .unwrap()
                .iter()
                .map(|tag| (format!("0 {}", tag.as_str().unwrap()), tag.clone()))
                .collect(),
            _ => {
                let place = words(group).iter().position(|word| self.is(group, word)).unwrap();
                vec![(place.to_string(), self.body[group].clone())]
            }
        }
    }
}

fn words(group: &str) -> &'static [&'static str] {
    match group {
        "priority" => &["low", "normal", "high", "urgent"],
        "type" => &["incident", "service_request", "question", "problem"],
        "channel" => &["api", "web", "email", "phone", "chat", "counter", "monitoring"],
        _ => &[],
    }
}

/// Reads all tickets and their trails.
async fn told(desk: &Desk, world: &World) -> Vec<Told> {
    let reader = &world.agents[0];
    let mut all = Vec::new();
    for body in desk.all(reader, "/v1/tickets?limit=200").await {
        let mut told = Told { spans: vec![], first_replied: None, answers: 0, reopenings: 0, work: vec![], body };
        let mut work: BTreeMap<String, (i64, i64, Value)> = BTreeMap::new();
        let path = format!("/v1/tickets/{}/events?limit=200", told.body["id"].as_str().unwrap());
        for event in desk.all(reader, &path).await {
            let mut after: BTreeMap<&str, &Value> = BTreeMap::new();
            let mut before: BTreeMap<&str, &Value> = BTreeMap::new();
            for change in event["changes"].as_array().unwrap() {
                after.insert(change["field"].as_str().unwrap(), &change["after"]);
                before.insert(change["field"].as_str().unwrap(), &change["before"]);
            }
            match event["type"].as_str().unwrap() {
                "ticket.created" => told.spans.push(("new".into(), us(&told.body["reported_at"]))),
                "ticket.updated" => {
                    if let Some(status) = after.get("status") {
                        if before["status"] == "resolved" && *status == "open" {
                            told.reopenings += 1;
                        }
                        told.spans.push((status.as_str().unwrap().into(), us(&event["at"])));
                    }
                }
                "comment.added" if event["visibility"] == "public" => {
                    let by_agent = world.agents.iter().any(|agent| event["actor"]["id"] == agent.id);
                    if by_agent && event["actor"]["id"] != told.body["requester"]["id"] {
                        told.answers += 1;
                        told.first_replied = told.first_replied.or(Some(us(&event["at"])));
                    }
                }
                "time_entry.added" => {
                    let entry = (
                        us(after["worked_at"]),
                        after["work_s"].as_i64().unwrap(),
                        after.get("cost").map_or(Value::Null, |c| (*c).clone()),
                    );
                    work.insert(after["time_entry_id"].to_string(), entry);
                }
                "time_entry.deleted" => {
                    work.remove(&before["time_entry_id"].to_string()).unwrap();
                }
                _ => {}
            }
        }
        told.work = work.into_values().collect();
        all.push(told);
    }
    all
}

/// The working time of the calendar above, day by day.
fn office_us(from: i64, to: i64) -> i64 {
    let mut sum = 0;
    let mut day = from / DAY;
    while day * DAY < to {
        // 1970 began on a Thursday.
        if (day + 3) % 7 < 5 {
            sum += (to.min(day * DAY + 16 * HOUR) - from.max(day * DAY + 8 * HOUR)).max(0);
        }
        day += 1;
    }
    sum
}

fn spread(mut values: Vec<i64>) -> Value {
    values.sort();
    let n = values.len();
    if n == 0 {
        return json!({ "count": 0, "mean_s": null, "p50_s": null, "p90_s": null, "p95_s": null, "p99_s": null, "max_s": null });
    }
    // The least value that so many percent do not exceed.
    let nearest = |percent: usize| (1..=n).find(|rank| rank * 100 >= percent * n).map(|rank| values[rank - 1]);
    let mean = values.iter().sum::<i64>() as f64 / n as f64;
    json!({ "count": n, "mean_s": (mean * 1e3).round() / 1e3, "p50_s": nearest(50), "p90_s": nearest(90), "p95_s": nearest(95),
        "p99_s": nearest(99), "max_s": values[n - 1] })
}

fn ratio(part: i64, whole: i64) -> Value {
    if whole == 0 { Value::Null } else { json!((part as f64 / whole as f64 * 1e6).round() / 1e6) }
}

/// The figures of these tickets from `from` until before `to`, as they are to be at `now`.
fn recount<'a>(tickets: impl Iterator<Item = &'a Told>, from: i64, to: i64, now: i64) -> Value {
    let within = |at: i64| from <= at && at < to;
    let (mut created, mut resolved, mut reopened, mut first_contact) = (0, 0i64, 0, 0);
    let mut durations: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    let mut kept: BTreeMap<(String, &str), i64> = BTreeMap::new();
    let (mut work_s, mut unrated_s, mut costs) = (0, 0, BTreeMap::<String, i64>::new());
    for ticket in tickets {
        let reported = us(&ticket.body["reported_at"]);
        let mut took = |what, stretches: &[(i64, i64)]| {
            let all: i64 = stretches.iter().map(|(from, to)| to - from).sum();
            let office: i64 = stretches.iter().map(|(from, to)| office_us(*from, *to)).sum();
            durations.entry((what, "calendar")).or_default().push(all / S);
            durations.entry((what, "business")).or_default().push(office / S);
        };
        if within(us(&ticket.body["created_at"])) {
            created += 1;
        }
        if let Some((_, started)) = ticket
            .spans
            .iter()
            .find(|(status, at)| status != "new" && within(*at))
            .filter(|found| *found == &ticket.spans[1])
        {
            took("response", &[(reported, *started)]);
        }
        if let Some(at) = ticket.first_replied.filter(|at| within(*at)) {
            took("first_reply", &[(reported, at)]);
        }
        if let Some((_, solved)) =
            ticket.spans.iter().rev().find(|(status, _)| status == "resolved").filter(|(_, at)| within(*at))
        {
            resolved += 1;
            reopened += i64::from(ticket.reopenings > 0);
            first_contact += i64::from(ticket.reopenings == 0 && ticket.answers <= 1);
            took("resolution", &[(reported, *solved)]);
            let pairs = ticket.spans.iter().zip(ticket.spans.iter().skip(1));
            let open: Vec<_> = pairs
                .filter(|((status, _), (_, to))| status == "open" && to <= solved)
                .map(|((_, from), (_, to))| (*from, *to))
                .collect();
            took("service", &open);
        }
        for clock in ticket.body["clocks"].as_array().unwrap() {
            let target = clock["target"].as_str().unwrap().to_owned();
            if clock["state"] == "met" && within(us(&clock["met_at"])) {
                *kept.entry((target.clone(), "met")).or_default() += 1;
            }
            if clock["state"] == "breached" && within(us(&clock["breached_at"])) && us(&clock["breached_at"]) <= now {
                *kept.entry((target, "breached")).or_default() += 1;
            }
        }
        for (at, s, cost) in ticket.work.iter().filter(|(at, ..)| within(*at)) {
            assert!(*at <= now);
            work_s += s;
            match cost["currency"].as_str() {
                Some(currency) => {
                    *costs.entry(currency.to_owned()).or_default() += cost["amount_minor"].as_i64().unwrap()
                }
                None => unrated_s += s,
            }
        }
    }
    let by_hours = |what| {
        let of = |hours| spread(durations.get(&(what, hours)).cloned().unwrap_or_default());
        json!({ "calendar": of("calendar"), "business": of("business") })
    };
    let attained = |target: &str| {
        let count = |how| kept.get(&(target.to_owned(), how)).copied().unwrap_or(0);
        json!({ "met": count("met"), "breached": count("breached"), "attainment": ratio(count("met"), count("met") + count("breached")) })
    };
    let costs: Vec<_> = costs
        .into_iter()
        .map(|(currency, minor)| {
            let each = (resolved > 0).then(|| minor / resolved + i64::from(minor % resolved * 2 >= resolved));
            json!({ "currency": currency, "total_minor": minor, "per_resolved_ticket_minor": each })
        })
        .collect();
    json!({
        "tickets": { "created": created, "resolved": resolved, "reopened": reopened, "first_contact": first_contact },
        "reopen_rate": ratio(reopened, resolved), "first_contact_rate": ratio(first_contact, resolved),
        "durations": { "response": by_hours("response"), "first_reply": by_hours("first_reply"), "service": by_hours("service"), "resolution": by_hours("resolution") },
        "sla": { "response": attained("response"), "first_reply": attained("first_reply"), "service": attained("service") },
        "cost": { "work_s": work_s, "unrated_work_s": unrated_s, "costs": costs },
    })
}

/// What there is to do, of these tickets.
fn recount_backlog<'a>(tickets: impl Iterator<Item = &'a Told>, now: i64, due_within_s: i64) -> Value {
    let bounds = [0, 3_600, 14_400, 86_400, 259_200, 604_800, 2_592_000];
    let mut by = BTreeMap::<String, i64>::new();
    let (mut open, mut unassigned, mut breached, mut due, mut oldest) = (0, 0, 0, 0, None::<i64>);
    let mut ages = [0; 7];
    for ticket in tickets.filter(|ticket| !ticket.is("status", "resolved") && !ticket.is("status", "closed")) {
        open += 1;
        *by.entry(ticket.body["status"].to_string()).or_default() += 1;
        *by.entry(ticket.body["priority"].to_string()).or_default() += 1;
        let reported = us(&ticket.body["reported_at"]);
        oldest = Some(oldest.map_or(reported, |oldest| oldest.min(reported)));
        let age = (0..7).rev().find(|i| bounds[*i] * S <= now - reported).unwrap();
        ages[age] += 1;
        unassigned += i64::from(ticket.body["assignee"].is_null());
        let clocks = ticket.body["clocks"].as_array().unwrap();
        breached += i64::from(clocks.iter().any(|clock| clock["state"] == "breached"));
        due += i64::from(
            clocks.iter().any(|clock| clock["state"] == "running" && us(&clock["due_at"]) <= now + due_within_s * S),
        );
        for clock in clocks {
            *by.entry(format!("{} {}", clock["target"], clock["state"])).or_default() += 1;
        }
    }
    let count = |word: &str| by.get(&json!(word).to_string()).copied().unwrap_or(0);
    let states = |target: &str| {
        let count = |state: &str| by.get(&format!("{} {}", json!(target), json!(state))).copied().unwrap_or(0);
        json!({ "running": count("running"), "paused": count("paused"), "met": count("met"), "breached": count("breached") })
    };
    let ages: Vec<_> =
        (0..7).map(|i| json!({ "from_s": bounds[i], "to_s": bounds.get(i + 1), "tickets": ages[i] })).collect();
    json!({
        "open": open,
        "by_status": { "new": count("new"), "open": count("open"), "waiting_requester": count("waiting_requester"), "waiting_third_party": count("waiting_third_party") },
        "by_priority": { "low": count("low"), "normal": count("normal"), "high": count("high"), "urgent": count("urgent") },
        "by_age": ages, "oldest_reported_at": oldest.map(written), "unassigned": unassigned,
        "sla": { "breached": breached, "due_within": due, "response": states("response"), "first_reply": states("first_reply"), "service": states("service") },
    })
}

/// Every group with what `count` makes of its tickets, in the order of the answer.
fn grouped<'a>(
    group: &str,
    tickets: &[&'a Told],
    count: impl Fn(&mut dyn Iterator<Item = &'a Told>) -> Value,
) -> Vec<(Value, Value)> {
    let mut keys: BTreeMap<String, Value> =
        words(group).iter().enumerate().map(|(i, word)| (i.to_string(), json!(word))).collect();
    keys.extend(tickets.iter().flat_map(|ticket| ticket.keys(group)));
    let of = |order: &String| {
        tickets.iter().copied().filter(|ticket| ticket.keys(group).iter().any(|(o, _)| o == order)).collect::<Vec<_>>()
    };
    keys.iter().map(|(order, key)| (key.clone(), count(&mut of(order).into_iter()))).collect()
}

fn with_key((key, mut figures): (Value, Value)) -> Value {
    figures["key"] = key;
    figures
}

const GROUPS: [&str; 7] = ["team", "priority", "type", "channel", "assignee", "tag", "policy"];

/// Folds or builds something, or neither.
async fn keep(desk: &Desk, draw: &impl Fn(usize) -> usize) {
    let now = desk.clock.now();
    match draw(8) {
        0 => {
            tally::service::fold(&desk.db, [1, 3, 100][draw(3)]).await.unwrap();
        }
        1 => {
            metrics::service::cells::build(&desk.db, now, [1, 20, 5_000][draw(3)]).await.unwrap();
        }
        // As if it had not been done for a long time, or by an instance whose clock is behind.
        2 => {
            let some_time_ago = now.plus_s(-(draw(400_000) as i64));
            metrics::service::cells::build(&desk.db, some_time_ago, 100).await.unwrap();
        }
        _ => {}
    }
}

/// Asks for a report in two ways: as it is, and with a filter that lets every ticket through but that no cells are kept by.
async fn compare(desk: &Desk, monitor: &Caller, teams: &[String], began: i64, draw: &impl Fn(usize) -> usize) {
    let now = desk.clock.now().micros();
    let length = now - began + 8 * DAY;
    let some = |draw: &dyn Fn(usize) -> usize| {
        let at = began - 6 * DAY + (length / 1_000) * draw(1_000) as i64 + draw(3) as i64 - 1;
        match draw(6) {
            0 => at.div_euclid(DAY) * DAY,
            1 => at.div_euclid(HOUR) * HOUR,
            2 => began - 10 * DAY,
            3 => now + 30 * DAY,
            _ => at,
        }
    };
    let (a, b) = (some(draw), some(draw));
    let (from, to) = (a.min(b), a.max(b) + 1);
    let mut groups =
        vec!["", "&group_by=priority", "&group_by=team", "&group_by=type", "&group_by=channel", "&group_by=policy"];
    let mut filters = vec![
        "",
        "",
        "",
        "&priority=high",
        "&priority=high,low,high",
        "&team_id=none",
        "&channel=web,phone",
        "&type=question",
    ]
    .into_iter()
    .map(str::to_owned)
    .collect::<Vec<_>>();
    filters.extend(teams.iter().map(|team| format!("&team_id={team}")));
    let group = groups.swap_remove(draw(groups.len()));
    let filter = filters.swap_remove(draw(filters.len()));
    let report = match draw(5) {
        0 | 1 => "summary?".to_owned(),
        2 => "timeseries?interval=month&time_zone=UTC&".to_owned(),
        3 => format!("timeseries?interval=day&time_zone={}&", ["UTC", "Europe/Oslo", "Asia/Kathmandu"][draw(3)]),
        _ => "timeseries?interval=week&".to_owned(),
    };
    let path = format!("/v1/metrics/{report}from={}&to={}{group}{filter}", written(from), written(to));
    let cells = desk.get(&path).by(monitor).expect(200).await.body;
    let rows = desk.get(&format!("{path}&created_after=1970-01-01T00:00:00Z")).by(monitor).expect(200).await.body;
    assert_eq!(cells, rows, "{path} at {}", written(now));
}

/// The cells of a JSON value by their paths, without those that are empty.
fn cells(path: &str, value: &Value, all: &mut BTreeMap<String, String>) {
    let at = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| cells(&at(name), value, all)),
        Value::Array(items) => items.iter().enumerate().for_each(|(i, item)| cells(&at(&i.to_string()), item, all)),
        Value::Null => {}
        Value::String(text) if text.starts_with(['=', '+', '-', '@']) => {
            drop(all.insert(path.into(), format!("'{text}")))
        }
        Value::String(text) => drop(all.insert(path.into(), text.clone())),
        plain => drop(all.insert(path.into(), plain.to_string())),
    }
}

/// Asks for a report as a table: its header, and its rows by columns, without empty cells.
async fn table(desk: &Desk, by: &Caller, path: &str) -> (Vec<String>, Vec<BTreeMap<String, String>>) {
    let answer = desk.get(path).by(by).header("accept", "text/csv").expect(200).await;
    assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"));
    let mut reader = csv::Reader::from_reader(&answer.bytes[..]);
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let row = |row: csv::StringRecord| {
        header.iter().cloned().zip(row.iter().map(str::to_owned)).filter(|(_, c)| !c.is_empty()).collect()
    };
    let rows = reader.records().map(|record| row(record.unwrap())).collect();
    (header, rows)
}

/// The rows that a report comes to as a table.
fn rows_of(report: &Value) -> Vec<BTreeMap<String, String>> {
    let own = |names: &[&str]| {
        names.iter().map(|name| ((*name).to_owned(), report[*name].clone())).collect::<serde_json::Map<_, _>>()
    };
    let row = |mut row: serde_json::Map<String, Value>, figures: &Value| {
        row.extend(figures.as_object().unwrap().clone());
        row.remove("by_team");
        let mut all = BTreeMap::new();
        cells("", &Value::Object(row), &mut all);
        all
    };
    let of_window = if report["now"].is_null() { own(&["from", "to"]) } else { own(&["now"]) };
    match (report["series"].as_array(), report["groups"].as_array()) {
        (Some(series), _) => series
            .iter()
            .flat_map(|series| {
                let key = (!report["group_by"].is_null()).then(|| ("key".to_owned(), series["key"].clone()));
                let points = series["points"].as_array().unwrap().iter();
                points.map(move |point| row(key.clone().into_iter().collect(), point))
            })
            .collect(),
        (_, Some(groups)) => groups.iter().map(|group| row(of_window.clone(), group)).collect(),
        _ => vec![row(of_window, &report["total"])],
    }
}

on_both! {
    /// A table has the numbers of the JSON, one row a group and step, whoever is named whatever.
    async fn tables_hold_the_numbers_of_the_json(desk) {
        let world = live(desk, seed(), 80, &async || {}).await;
        let admin = desk.admin().await;
        let team = format!("/v1/teams/{}", world.teams[0]);
        desk.patch(&team).by(&admin).json(&json!({ "name": "=HYPERLINK(\"http://x\", \"Øre\")" })).expect(200).await;
        let span = format!("from={}&to={}", written(world.began - 6 * DAY), written(desk.clock.now().micros() + S));
        let mut formulas = 0;
        for group in GROUPS.map(|group| format!("&group_by={group}")).into_iter().chain([String::new()]) {
            for path in [format!("summary?{span}{group}"), format!("timeseries?{span}&interval=week{group}"), format!("backlog?due_within_s=60{group}"), format!("summary?{span}{group}&tag=nowhere")] {
                let path = format!("/v1/metrics/{path}");
                let (header, rows) = table(desk, &world.monitor, &path).await;
                let json = desk.get(&path).by(&world.monitor).header("accept", "application/json").expect(200).await.body;
                assert_eq!(rows, rows_of(&json), "{path}");
                formulas += rows.iter().filter(|row| row.get("key.name").is_some_and(|name| name.starts_with("'="))).count();
                // All columns are there also where there is nothing to tell, those of the group first.
                let first = if path.contains("backlog") { "now,open,by_status.new" } else { "from,to,tickets.created,tickets.resolved" };
                let last = if path.contains("backlog") { "sla.service.breached" } else { "cost.unrated_work_s" };
                let header = header.join(",");
                assert_eq!((header.starts_with("key"), header.contains(first), header.contains(last)), (!group.is_empty(), true, true), "{path}: {header}");
            }
        }
        assert!(formulas > 0, "no group has a name that is a formula");
    }

    async fn a_report_comes_in_the_form_that_is_wanted(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        desk.clock.pass_s(1);
        for path in ["/v1/metrics/summary", "/v1/metrics/timeseries?interval=month", "/v1/metrics/backlog"] {
            let get = || desk.get(path).by(&agent);
            for json in ["*/*", "application/json", "application/problem+json", "text/html, */*;q=0.1", "text/csv;q=0.5, application/json"] {
                let answer = get().header("accept", json).expect(200).await;
                assert_eq!((answer.header("content-type"), answer.body.is_object()), (Some("application/json"), true), "{json}");
                assert!(answer.header("vary").unwrap().contains("accept"));
            }
            for csv in ["text/csv", "text/*", "text/csv; header=present, application/json;q=0.9"] {
                let answer = get().header("accept", csv).expect(200).await;
                assert_eq!(answer.header("content-type"), Some("text/csv; charset=utf-8; header=present"), "{csv}");
                assert!(answer.header("vary").unwrap().contains("accept"));
                assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
                let lines: Vec<_> = answer.text().split("\r\n").map(str::to_owned).collect();
                assert_eq!((lines.len() > 2, lines.last().map(String::as_str), answer.text().matches('\n').count()), (true, Some(""), lines.len() - 1));
            }
            for neither in ["text/html", "application/xml", "text/csv;q=0, text/html", "*/*;q=0"] {
                get().header("accept", neither).refused(406, "not_acceptable").await;
            }
            let head = desk.ask(reqwest::Method::HEAD, path).by(&agent).header("accept", "text/csv").expect(200).await;
            assert_eq!((head.header("content-type"), head.bytes.len()), (Some("text/csv; charset=utf-8; header=present"), 0));
            // What goes wrong is a problem in any case.
            desk.get(&format!("{}?nope=1", path.split('?').next().unwrap())).by(&agent).header("accept", "text/csv").refused(400, "invalid_query").await;
        }
        // Nothing else is a table.
        for path in ["/v1/me", "/v1/tickets", "/v1/metrics"] {
            desk.get(path).by(&agent).header("accept", "text/csv").refused(406, "not_acceptable").await;
        }
    }

    async fn figures_are_what_a_plain_recount_of_the_trail_comes_to(desk) {
        let world = live(desk, seed(), 150, &async || {}).await;
        let told = told(desk, &world).await;
        let now = desk.clock.now().micros();
        let (began, monitor) = (world.began, &world.monitor);
        type Keep = fn(&Told) -> bool;
        let filters: [(&str, Keep); 5] = [
            ("", |_| true),
            ("&priority=high,urgent", |t| t.is("priority", "high") || t.is("priority", "urgent")),
            ("&team_id=none&status=resolved,open,closed", |t| t.body["team"].is_null() && ["resolved", "open", "closed"].iter().any(|s| t.is("status", s))),
            ("&tag=fire&channel=web,phone", |t| t.has_tag("fire") && (t.is("channel", "web") || t.is("channel", "phone"))),
            ("&sla=breached", |t| t.body["clocks"].as_array().unwrap().iter().any(|c| c["state"] == "breached")),
        ];
        let windows = [(began - 6 * DAY, now + S), (began + (now - began) / 3, now - (now - began) / 4), (now - DAY, now + 30 * DAY)];
        for (filter, keep) in filters {
            let tickets: Vec<&Told> = told.iter().filter(|ticket| keep(ticket)).collect();
            for (from, to) in windows {
                let span = format!("from={}&to={}{filter}", written(from), written(to));
                let total = recount(tickets.iter().copied(), from, to, now);
                let read = desk.get(&format!("/v1/metrics/summary?{span}")).by(monitor).expect(200).await.body;
                assert_eq!(read, json!({ "from": written(from), "to": written(to), "total": total, "group_by": null, "groups": null, "truncated": false, "pending_tickets": 0 }), "{span}");
                for group in GROUPS {
                    let read = desk.get(&format!("/v1/metrics/summary?{span}&group_by={group}")).by(monitor).expect(200).await.body;
                    assert_eq!((&read["total"], &read["group_by"]), (&total, &json!(group)), "{span}");
                    let groups = grouped(group, &tickets, |tickets| recount(tickets, from, to, now));
                    // Groups with nothing to tell are not there, but for the words of a vocabulary.
                    let nothing = recount([].into_iter(), from, to, now);
                    let groups: Vec<_> = groups.into_iter().filter(|(_, figures)| *figures != nothing || !words(group).is_empty()).map(with_key).collect();
                    assert_eq!(read["groups"], json!(groups), "{span} by {group}");
                }
            }
            for (due_within, due_within_s) in [("", 3_600), ("&due_within_s=0", 0), ("&due_within_s=31622400", 31_622_400)] {
                let total = recount_backlog(tickets.iter().copied(), now, due_within_s);
                let open: Vec<&Told> = tickets.iter().copied().filter(|t| !t.is("status", "resolved") && !t.is("status", "closed")).collect();
                for group in GROUPS {
                    let path = format!("/v1/metrics/backlog?group_by={group}{due_within}{filter}");
                    let mut read = desk.get(&path).by(monitor).expect(200).await.body;
                    let groups: Vec<_> = grouped(group, &open, |tickets| recount_backlog(tickets, now, due_within_s)).into_iter().map(with_key).collect();
                    assert_eq!(read["groups"], json!(groups), "{path}");
                    let teams: Vec<_> = grouped("team", &open, |tickets| json!({ "open": tickets.count() })).into_iter().map(with_key).collect();
                    assert_eq!(read["total"].as_object_mut().unwrap().remove("by_team"), Some(json!(teams)), "{path}");
                    assert_eq!(read["total"], total, "{path}");
                    assert_eq!((&read["now"], &read["due_within_s"]), (&json!(written(now)), &json!(due_within_s)));
                }
            }
        }
        // Enough has happened for all of this to mean something.
        let whole = recount(told.iter(), began - 6 * DAY, now + S, now);
        assert!(whole["tickets"]["created"].as_i64().unwrap() > 10 && whole["tickets"]["resolved"].as_i64().unwrap() > 3, "{whole}");
        assert!(whole["sla"]["response"]["breached"].as_i64().unwrap() > 0 && whole["cost"]["work_s"].as_i64().unwrap() > 0, "{whole}");
    }

    async fn steps_come_to_what_the_window_comes_to(desk) {
        let world = live(desk, seed(), 100, &async || {}).await;
        let told = told(desk, &world).await;
        let now = desk.clock.now().micros();
        let all: Vec<&Told> = told.iter().collect();
        for (interval, zone, from, to) in [
            ("day", "Europe/Oslo", world.began - 6 * DAY + 7 * HOUR, now + S),
            ("hour", "Asia/Kathmandu", now - 3 * DAY, now),
            ("week", "UTC", world.began - 6 * DAY, now + S),
            ("month", "Pacific/Apia", world.began - 6 * DAY, now + DAY),
        ] {
            let span = format!("from={}&to={}", written(from), written(to));
            for group in [None, Some("priority"), Some("tag"), Some("team")] {
                let by = group.map_or(String::new(), |group| format!("&group_by={group}"));
                let path = format!("/v1/metrics/timeseries?{span}&interval={interval}&time_zone={zone}{by}");
                let read = desk.get(&path).by(&world.monitor).expect(200).await.body;
                let summary = desk.get(&format!("/v1/metrics/summary?{span}{by}")).by(&world.monitor).expect(200).await.body;
                assert_eq!((&read["interval"], &read["time_zone"], &read["truncated"]), (&json!(interval), &json!(zone), &json!(false)));
                let series = read["series"].as_array().unwrap();
                let sums: Vec<&Value> = match group {
                    None => vec![&summary["total"]],
                    Some(_) => summary["groups"].as_array().unwrap().iter().collect(),
                };
                assert_eq!(series.len(), sums.len());
                for (series, sum) in series.iter().zip(sums) {
                    assert_eq!(series["key"], sum["key"]);
                    let mut end = from;
                    let of_group = |told: &&&Told| group.is_none_or(|group| told.keys(group).iter().any(|(_, key)| *key == series["key"]));
                    for point in series["points"].as_array().unwrap() {
                        assert_eq!(us(&point["from"]), end, "steps follow each other");
                        end = us(&point["to"]);
                        let mut expected = recount(all.iter().filter(of_group).copied(), us(&point["from"]), end, now);
                        expected["from"] = point["from"].clone();
                        expected["to"] = point["to"].clone();
                        assert_eq!(*point, expected, "{path}");
                    }
                    assert_eq!(end, to);
                    for count in ["/tickets/created", "/tickets/resolved", "/durations/response/business/count", "/sla/service/breached", "/cost/work_s"] {
                        let points = series["points"].as_array().unwrap().iter();
                        let added: i64 = points.map(|point| point.pointer(count).unwrap().as_i64().unwrap()).sum();
                        assert_eq!(added, sum.pointer(count).unwrap().as_i64().unwrap(), "{path} {count}");
                    }
                }
            }
        }
    }

    /// However much of a history is folded and built, and whatever changes afterwards, reports are those of its rows.
    async fn cells_say_what_rows_do(desk) {
        let chance = Mutex::new(Chance(seed() ^ 1));
        let draw = |below: usize| chance.lock().unwrap().below(below);
        let began = desk.clock.now().micros();
        let readers = (desk.account("metrics:read").await, Mutex::new(Vec::<String>::new()));
        let each = async || {
            keep(desk, &draw).await;
            if draw(12) == 0 {
                desk.clock.pass_s([3_600, 86_400, 40 * 86_400][draw(3)] + draw(100_000) as i64);
            }
            for _ in 0..usize::from(draw(8) == 0) * 3 {
                compare(desk, &readers.0, &[], began, &draw).await;
            }
        };
        let world = live(desk, seed(), 150, &each).await;
        for _ in 0..60 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        // All of it is built in the end, and nothing is left to fold.
        desk.clock.pass_s(61);
        tally::service::fold(&desk.db, 7).await.unwrap();
        metrics::service::cells::build(&desk.db, desk.clock.now(), 40).await.unwrap();
        for _ in 0..60 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        // Made anew from the rows alone, also with changes that were never folded, it is the same again, and nothing is left of before.
        let anew = async |tx: &mut skranke::db::Conn| tally::service::cells::begin_anew(tx).await;
        desk.db.write(skranke::db::Roots::none(), anew).await.unwrap();
        for _ in 0..10 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        metrics::service::cells::build(&desk.db, desk.clock.now(), 1_000).await.unwrap();
        for _ in 0..40 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        desk.store.run("DELETE FROM cells; DELETE FROM cell_parts; DELETE FROM fact_log;").await;
        let whole = format!("/v1/metrics/summary?from={}&to={}", written(began - 10 * DAY), written(desk.clock.now().micros()));
        let created = desk.get(&whole).by(&world.monitor).expect(200).await.body["total"]["tickets"]["created"].clone();
        assert_eq!(created, 0, "it is cells that are read");
        let zero = if desk.db.engine() == "sqlite" { "0" } else { "to_timestamp(0)" };
        desk.store.run(&format!("UPDATE cell_marks SET day = {zero}, month = {zero}, year = {zero};")).await;
        metrics::service::cells::build(&desk.db, desk.clock.now(), 1_000).await.unwrap();
        for _ in 0..40 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
    }

    /// As above, in a history in which policies and calendars change.
    async fn cells_follow_the_configuration(desk) {
        let chance = Mutex::new(Chance(seed() ^ 2));
        let draw = |below: usize| chance.lock().unwrap().below(below);
        let began = desk.clock.now().micros();
        let monitor = desk.account("metrics:read").await;
        let each = async || {
            keep(desk, &draw).await;
            if draw(6) == 0 {
                compare(desk, &monitor, &[], began, &draw).await;
            }
        };
        let mut history = Chance(seed());
        crate::replay::live(desk, &mut history, 150, &each).await;
        for _ in 0..60 {
            compare(desk, &monitor, &[], began, &draw).await;
        }
    }

    /// Folding, building and writing at the same time: whoever loses against another starts again.
    async fn cells_stand_many_writers(desk) {
        promise(desk).await;
        let (agent, monitor) = (desk.agent().await, desk.account("metrics:read").await);
        let began = desk.clock.now().micros();
        for _ in 0..8 {
            desk.ticket(&agent, json!({ "priority": "high" })).await;
        }
        let writer = async |number: usize| {
            let mut chance = Chance(seed() ^ number as u64);
            for _ in 0..12 {
                let ticket = format!("/v1/tickets/{}", 1 + chance.below(8));
                let patch = [json!({ "priority": "low" }), json!({ "priority": "urgent" }), json!({ "status": "open" }), json!({ "status": "resolved" }), json!({ "channel": "phone" })];
                desk.patch(&ticket).by(&agent).json(chance.of(&patch)).send().await;
                let entry = json!({ "work_s": 60 + chance.below(900) });
                desk.post(&format!("{ticket}/time-entries")).by(&agent).json(&entry).send().await;
            }
        };
        let keeper = async |number: u64| {
            let mut chance = Chance(seed() ^ number);
            for _ in 0..25 {
                desk.clock.pass_s(37);
                // It may lose against the other one too often: then it goes on the next time.
                drop(tally::service::fold(&desk.db, 5).await);
                drop(metrics::service::cells::build(&desk.db, desk.clock.now(), 10).await);
                tokio::time::sleep(std::time::Duration::from_millis(chance.below(20) as u64)).await;
            }
        };
        tokio::join!(writer(1), writer(2), writer(3), keeper(4), keeper(5));
        let draw = |below: usize| below / 2;
        compare(desk, &monitor, &[], began, &draw).await;
        let chance = Mutex::new(Chance(seed()));
        let draw = |below: usize| chance.lock().unwrap().below(below);
        for _ in 0..40 {
            compare(desk, &monitor, &[], began, &draw).await;
        }
        desk.clock.pass_s(100);
        tally::service::fold(&desk.db, 500).await.unwrap();
        metrics::service::cells::build(&desk.db, desk.clock.now(), 500).await.unwrap();
        for _ in 0..40 {
            compare(desk, &monitor, &[], began, &draw).await;
        }
    }

    /// Nothing is written when a promise is broken: it is seen by reading.
    async fn a_breach_counts_though_nothing_is_written(desk) {
        promise(desk).await;
        let (agent, monitor) = (desk.agent().await, desk.account("metrics:read").await);
        desk.ticket(&agent, json!({ "priority": "high" })).await;
        let from = written(desk.clock.now().micros());
        for (pass_s, breached, due, running) in [(0, 0, 0, 1), (3_599, 0, 1, 1), (1, 0, 1, 1), (1, 1, 0, 0), (86_400, 1, 0, 0)] {
            desk.clock.pass_s(pass_s);
            let to = written(desk.clock.now().micros() + HOUR);
            let read = desk.get(&format!("/v1/metrics/summary?from={from}&to={to}")).by(&monitor).expect(200).await.body;
            assert_eq!(read["total"]["sla"]["response"], json!({ "met": 0, "breached": breached, "attainment": if breached == 1 { json!(0.0) } else { Value::Null } }));
            let read = desk.get("/v1/metrics/backlog?due_within_s=60").by(&monitor).expect(200).await.body;
            let sla = &read["total"]["sla"];
            assert_eq!(sla["response"], json!({ "running": running, "paused": 0, "met": 0, "breached": breached }));
            if pass_s < 86_400 {
                assert_eq!((&sla["breached"], &sla["due_within"]), (&json!(breached), &json!(due)), "{pass_s}");
            }
        }
        // In the window of the instant at which it was too late, and in no other.
        let too_late = desk.all(&agent, "/v1/tickets").await[0]["clocks"][0]["breached_at"].as_str().unwrap().to_owned();
        for (from, to, breached) in [(at(&too_late), at(&too_late) + 1, 1), (at(&too_late) - HOUR, at(&too_late), 0), (at(&too_late) + 1, at(&too_late) + HOUR, 0)] {
            let path = format!("/v1/metrics/summary?from={}&to={}", written(from), written(to));
            assert_eq!(desk.get(&path).by(&monitor).expect(200).await.body["total"]["sla"]["response"]["breached"], breached);
        }
    }

    async fn an_empty_window_has_zeros_and_nulls(desk) {
        let monitor = desk.account("metrics:read").await;
        let read = desk.get("/v1/metrics/summary?group_by=priority").by(&monitor).expect(200).await.body;
        assert_eq!((&read["from"], &read["to"]), (&json!("2026-01-31T09:00:00Z"), &json!("2026-03-02T09:00:00Z")));
        let nothing = recount([].into_iter(), 0, 1, 0);
        assert_eq!(read["total"], nothing);
        assert_eq!(nothing["reopen_rate"], Value::Null);
        let groups: Vec<_> = words("priority").iter().map(|word| with_key((json!(word), nothing.clone()))).collect();
        assert_eq!(read["groups"], json!(groups));
        assert_eq!(desk.get("/v1/metrics/summary?group_by=team").by(&monitor).expect(200).await.body["groups"], json!([]));
        let read = desk.get("/v1/metrics/backlog?group_by=assignee").by(&monitor).expect(200).await.body;
        assert_eq!((&read["total"]["open"], &read["total"]["oldest_reported_at"], &read["groups"]), (&json!(0), &Value::Null, &json!([])));
        let read = desk.get("/v1/metrics/timeseries?interval=week&group_by=tag").by(&monitor).expect(200).await.body;
        assert_eq!(read["series"], json!([]));
        let read = desk.get("/v1/metrics/timeseries?interval=month").by(&monitor).expect(200).await.body;
        let point = |from: &str, to: &str| { let mut point = nothing.clone(); point["from"] = json!(from); point["to"] = json!(to); point };
        assert_eq!(read["series"], json!([{ "key": null, "points": [
            point("2026-01-31T09:00:00Z", "2026-02-01T00:00:00Z"), point("2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            point("2026-03-01T00:00:00Z", "2026-03-02T09:00:00Z"),
        ] }]));
    }

    /// How long the steps of a window are, in seconds.
    async fn steps_go_by_local_clocks(desk) {
        let monitor = desk.account("metrics:read").await;
        for (zone, from, to, interval, expected) in [
            ("Europe/Oslo", "2026-03-27T23:00:00Z", "2026-03-30T22:00:00Z", "day", vec![86_400, 82_800, 86_400]),
            ("europe/oslo", "2026-10-23T22:00:00Z", "2026-10-26T23:00:00Z", "day", vec![86_400, 90_000, 86_400]),
            ("Europe/Oslo", "2026-10-24T23:00:00Z", "2026-10-25T03:00:00Z", "hour", vec![3_600; 4]),
            ("Europe/Oslo", "2026-03-29T00:30:00Z", "2026-03-29T02:00:00Z", "hour", vec![1_800, 3_600]),
            ("Asia/Kathmandu", "2026-03-01T00:00:00Z", "2026-03-01T02:00:00Z", "hour", vec![900, 3_600, 2_700]),
            ("Asia/Kathmandu", "2026-02-28T18:15:00Z", "2026-03-02T18:15:00Z", "day", vec![86_400; 2]),
            ("Australia/Lord_Howe", "2026-04-03T13:00:00Z", "2026-04-05T13:30:00Z", "day", vec![86_400, 88_200]),
            ("Australia/Lord_Howe", "2026-10-02T13:30:00Z", "2026-10-04T13:00:00Z", "day", vec![86_400, 84_600]),
            ("Pacific/Apia", "2011-12-29T10:00:00Z", "2012-01-01T10:00:00Z", "day", vec![86_400; 3]),
            ("Pacific/Apia", "2011-12-30T08:00:00Z", "2011-12-30T12:00:00Z", "hour", vec![3_600; 4]),
            ("Pacific/Apia", "2011-12-26T10:00:00Z", "2012-01-01T10:00:00Z", "week", vec![6 * 86_400]),
        ] {
            let path = format!("/v1/metrics/timeseries?from={from}&to={to}&interval={interval}&time_zone={zone}");
            let read = desk.get(&path).by(&monitor).expect(200).await.body;
            let points = read["series"][0]["points"].as_array().unwrap();
            let lengths: Vec<_> = points.iter().map(|point| (us(&point["to"]) - us(&point["from"])) / S).collect();
            assert_eq!(lengths, expected, "{path}");
            assert_eq!((us(&points[0]["from"]), us(&points[points.len() - 1]["to"])), (at(from), at(to)));
        }
    }

    async fn a_bad_query_is_told_all_that_is_wrong(desk) {
        let agent = desk.agent().await;
        for (path, pointers) in [
            ("summary?from=yesterday&to=2026-03-01&group_by=colour&priority=hot&nope=1&limit=3&interval=day&team_id=x&team_id=y",
                vec!["from", "group_by", "interval", "limit", "nope", "priority", "team_id", "team_id", "to"]),
            ("summary?sort=created_at&cursor=x", vec!["cursor", "sort"]),
            ("summary?from=2026-03-01T00:00:00Z&to=2026-03-01T00:00:00Z", vec!["from"]),
            ("summary?from=2026-03-03T00:00:00Z", vec!["from"]),
            ("summary?team_id=me", vec!["team_id"]),
            ("timeseries", vec!["interval"]),
            ("timeseries?interval=fortnight&time_zone=Mars/Olympus&due_within_s=3", vec!["due_within_s", "interval", "time_zone"]),
            ("timeseries?interval=hour&from=2025-12-01T00:00:00Z&to=2026-03-01T00:00:00Z", vec!["interval"]),
            ("backlog?from=2026-03-01T00:00:00Z&due_within_s=-1&group_by=&sla=soon", vec!["due_within_s", "from", "group_by", "sla"]),
            ("backlog?due_within_s=31622401", vec!["due_within_s"]),
        ] {
            let refused = desk.get(&format!("/v1/metrics/{path}")).by(&agent).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), pointers, "{path}");
        }
        let hours = "/v1/metrics/timeseries?interval=hour&from=2026-01-01T00:00:00Z&to=";
        let read = desk.get(&format!("{hours}2026-03-25T08:00:00Z")).by(&agent).expect(200).await.body;
        assert_eq!(read["series"][0]["points"].as_array().unwrap().len(), 2_000);
        desk.get(&format!("{hours}2026-03-25T08:00:01Z")).by(&agent).refused(400, "invalid_query").await;
    }

    /// `me` is the caller, also where figures are filtered.
    async fn an_agent_sees_their_own_figures(desk) {
        let (one, two) = (desk.agent().await, desk.agent().await);
        for who in [&one, &one, &two] {
            desk.ticket(&two, json!({ "assignee_id": who.id })).await;
        }
        desk.clock.pass_s(1);
        for (who, count) in [(&one, 2), (&two, 1)] {
            let read = desk.get("/v1/metrics/summary?assignee_id=me&group_by=assignee").by(who).expect(200).await.body;
            assert_eq!((&read["total"]["tickets"]["created"], read["groups"].as_array().unwrap().len()), (&json!(count), 1));
            assert_eq!(read["groups"][0]["key"], json!({ "id": who.id, "name": who.name }));
            let read = desk.get("/v1/metrics/backlog?assignee_id=me").by(who).expect(200).await.body;
            assert_eq!(read["total"]["open"], count);
        }
    }

    /// Whatever is written meanwhile, a report is about one moment; and it cannot write.
    async fn a_snapshot_sees_one_state_throughout(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        let (first_read, go_on) = (std::sync::mpsc::channel::<()>(), std::sync::mpsc::channel::<()>());
        let (said, gone_on) = (first_read.0, std::sync::Mutex::new(go_on.1));
        let db = desk.db.clone();
        let report = tokio::spawn(async move {
            let db = db;
            db.snapshot(async move |conn| {
                let before = skranke::tickets::store::resolved_until(conn, Instant::NEVER, 100).await?.len();
                said.send(()).unwrap();
                gone_on.lock().unwrap().recv().unwrap();
                let after = skranke::tickets::store::resolved_until(conn, Instant::NEVER, 100).await?.len();
                assert!(conn.batch("DELETE FROM ticket_tags").await.is_err(), "a snapshot is read-only");
                Ok((before, after))
            }).await
        });
        let first_read = first_read.1;
        tokio::task::spawn_blocking(move || first_read.recv().unwrap()).await.unwrap();
        desk.patch("/v1/tickets/1").by(&agent).json(&json!({ "status": "resolved" })).expect(200).await;
        go_on.0.send(()).unwrap();
        assert_eq!(report.await.unwrap().unwrap(), (0, 0));
        // Nothing is left open: the next one sees what was written.
        let count = async |conn: &mut skranke::db::Conn| Ok(skranke::tickets::store::resolved_until(conn, Instant::NEVER, 100).await?.len());
        assert_eq!(desk.db.snapshot(count).await.unwrap(), 1);
        assert_eq!(desk.db.read(count).await.unwrap(), 1);
        desk.ticket(&agent, json!({})).await;
    }

    /// More groups than an answer holds: the largest stay.
    async fn the_largest_groups_are_told_when_there_are_too_many(desk) {
        let agent = desk.agent().await;
        for i in 0..52 {
            let tags: Vec<_> = (0..20).map(|j| format!("tag {:04}", i * 20 + j)).collect();
            desk.ticket(&agent, json!({ "tags": tags })).await;
        }
        // Twice there, so larger than all others.
        desk.ticket(&agent, json!({ "tags": ["tag 1039"] })).await;
        desk.clock.pass_s(1);
        for (path, many) in [("summary?", "groups"), ("backlog?", "groups"), ("timeseries?interval=month&", "series")] {
            let read = desk.get(&format!("/v1/metrics/{path}group_by=tag")).by(&agent).expect(200).await.body;
            let keys: Vec<_> = read[many].as_array().unwrap().iter().map(|group| group["key"].as_str().unwrap()).collect();
            assert_eq!((keys.len(), &read["truncated"], keys[999]), (1_000, &json!(true), "tag 1039"), "{path}");
            assert!(keys.is_sorted());
        }
        let hours = "/v1/metrics/timeseries?group_by=tag&interval=hour&from=2026-01-01T00:00:00Z&to=2026-03-25T08:00:00Z";
        let answer = desk.get(hours).by(&agent).expect(200).await;
        assert_eq!((answer.body["series"].as_array().unwrap().len(), &answer.body["truncated"]), (2, &json!(true)));
        assert!(answer.bytes.len() < 6 << 20, "{} bytes", answer.bytes.len());
    }
}

/// The same history gives the same bytes on both engines, but for the ids that are made of chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_engines_answer_alike_to_the_byte() {
    let seed = seed();
    let mut answers: Vec<Vec<String>> = Vec::new();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let desk = Desk::open(engine).await;
        let world = live(&desk, seed, 120, &async || {}).await;
        let now = desk.clock.now().micros();
        let span = format!("from={}&to={}", written(world.began - 6 * DAY), written(now + S));
        let mut paths = vec!["backlog".to_owned(), format!("timeseries?{span}&interval=day&time_zone=Europe/Oslo")];
        for group in GROUPS {
            paths.extend([
                format!("summary?{span}&group_by={group}"),
                format!("backlog?group_by={group}&due_within_s=86400"),
            ]);
        }
        let mut ids: BTreeSet<(String, String)> =
            world.teams.iter().enumerate().map(|(i, id)| (id.clone(), format!("team {i}"))).collect();
        ids.extend(world.agents.iter().map(|agent| (agent.id.clone(), agent.name.clone())));
        let mut texts = Vec::new();
        for path in paths {
            let mut text = desk.get(&format!("/v1/metrics/{path}")).by(&world.monitor).expect(200).await.text();
            for (id, name) in &ids {
                text = text.replace(id, name);
            }
            texts.push(text);
        }
        answers.push(texts);
        desk.close().await;
    }
    assert_eq!(answers[0], answers[1]);
}
