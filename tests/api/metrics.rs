//! Metrics: figures are what a plain recount of the audit trail comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use serde_json::{Value, json};
use skranke::kernel::Instant;
use skranke::sla::domain::clock::{ClockState, Times};
use skranke::sla::service::write_down_breaches;
use skranke::tally::domain::cells::Level;
use skranke::tally::domain::facts::GroupBy;
use skranke::tally::service::{begin_anew, fold};

use crate::on_both;
use crate::replay::{Configured, Fields, Step, replay};
use crate::support::{Caller, Chance, Desk, Engine, seed, unnamed};

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
    admin: Caller,
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
    World { admin, monitor: desk.account("metrics:read").await, agents, teams, began }
}

/// What the trail of a ticket tells.
struct Told {
    /// The ticket as it is now.
    body: Value,
    /// Its fields from each instant on.
    history: Vec<(i64, Value)>,
    /// All that has happened to it.
    facts: Vec<Fact>,
}

/// Something that happened to a ticket.
struct Fact {
    at: i64,
    what: What,
    /// The fields of the ticket then.
    then: Value,
}

#[derive(Clone)]
enum What {
    Created,
    /// In which stretches of time.
    Started(Vec<(i64, i64)>),
    Replied(Vec<(i64, i64)>),
    Resolved {
        first_contact: bool,
        service: Vec<(i64, i64)>,
        resolution: Vec<(i64, i64)>,
    },
    Reopened,
    Met(String),
    Breached(String),
    /// For how long, and what it cost.
    Worked(i64, Value),
}

impl Told {
    /// The fields as they were when what happened before `at` had happened; nothing if it was not there.
    fn before(&self, at: i64) -> Option<&Value> {
        self.history.iter().rev().find(|(since, _)| *since < at).map(|(_, fields)| fields)
    }

    fn is_open(&self) -> bool {
        is_open(&self.body)
    }
}

fn is_open(fields: &Value) -> bool {
    fields["status"] != "resolved" && fields["status"] != "closed"
}

fn has_tag(fields: &Value, tag: &str) -> bool {
    fields["tags"].as_array().unwrap().iter().any(|t| t == tag)
}

fn is(fields: &Value, field: &str, values: &[&str]) -> bool {
    values.iter().any(|value| fields[field] == *value)
}

/// The keys of a ticket with these fields on one axis as they are written, each with what it is ordered by.
fn keys_of(fields: &Value, group: &str) -> Vec<(String, Value)> {
    let named = |thing: &Value| match thing["name"].as_str() {
        Some(name) => (format!("0 {name}"), thing.clone()),
        None => ("1".into(), Value::Null),
    };
    match group {
        "team" | "assignee" | "policy" => vec![named(&fields[group])],
        // What is no work is nobody's.
        "worker" => fields.get(group).map(named).into_iter().collect(),
        "tag" if fields["tags"] == json!([]) => vec![("1".into(), Value::Null)],
        "tag" => {
            let tags = fields["tags"].as_array().unwrap().iter();
            tags.map(|tag| (format!("0 {}", tag.as_str().unwrap()), tag.clone())).collect()
        }
        _ => {
            let place = words(group).iter().position(|word| fields[group] == *word).unwrap();
            vec![(place.to_string(), fields[group].clone())]
        }
    }
}

/// The groups by `by`, one axis or two with a comma between, of a ticket with these fields.
fn groups_of(fields: &Value, by: &str) -> Vec<(Vec<String>, Value)> {
    let mut groups = vec![(Vec::new(), json!({}))];
    for group in by.split(',').filter(|group| !group.is_empty()) {
        let mut more = Vec::new();
        for (order, key) in &groups {
            for (place, one) in keys_of(fields, group) {
                let (mut order, mut key): (Vec<String>, Value) = (order.clone(), key.clone());
                order.push(place);
                key[group] = one;
                more.push((order, key));
            }
        }
        groups = more;
    }
    groups
}

/// Whether a ticket with these fields is in the group.
fn is_in(fields: &Value, by: &str, key: &Value) -> bool {
    groups_of(fields, by).iter().any(|(_, own)| own == key)
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
    let configured = Configured::read(desk, &world.admin).await;
    let teams = desk.all(reader, "/v1/teams").await;
    let named = |things: &[(&str, &str)], id: &Value| {
        things.iter().find(|(known, _)| id == known).map_or(Value::Null, |(id, name)| json!({ "id": id, "name": name }))
    };
    let agents: Vec<_> = world.agents.iter().map(|agent| (agent.id.as_str(), agent.name.as_str())).collect();
    let teams: Vec<_> =
        teams.iter().map(|team| (team["id"].as_str().unwrap(), team["name"].as_str().unwrap())).collect();
    let named_fields = |fields: &Fields, times: &Times| {
        let mut fields = Value::Object(fields.clone());
        fields["team"] = named(&teams, &fields["team_id"]);
        fields["assignee"] = named(&agents, &fields["assignee_id"]);
        fields["policy"] = named(&POLICIES, &json!(times.policy_id));
        fields
    };
    let now = desk.clock.now();
    let mut all = Vec::new();
    for body in desk.all(reader, "/v1/tickets?limit=200").await {
        let path = format!("/v1/tickets/{}/events?limit=200", body["id"].as_str().unwrap());
        let events = unnamed(desk.all(reader, &path).await);
        let (mut history, mut facts) = (Vec::<(i64, Value)>::new(), Vec::<Fact>::new());
        let reported = us(&body["reported_at"]);
        let (mut spans, mut answers, mut resolutions) = (vec![("new".to_owned(), reported)], 0, 0);
        let mut work: BTreeMap<String, Fact> = BTreeMap::new();
        let mut told = |step: Step<'_>| {
            let at = step.at.micros();
            let after = named_fields(step.after.0, step.after.1);
            let before = step.before.map_or_else(|| after.clone(), |(fields, times)| named_fields(fields, times));
            let mut add = |at, what, then: &Value| facts.push(Fact { at, what, then: then.clone() });
            if step.before.is_none() {
                add(at, What::Created, &after);
            }
            if let Some(event) =
                step.event.filter(|event| event["type"] == "comment.added" && event["visibility"] == "public")
            {
                let actor = &event["actor"]["id"];
                if world.agents.iter().any(|agent| *actor == agent.id) && *actor != body["requester"]["id"] {
                    answers += 1;
                    if answers == 1 {
                        add(at, What::Replied(vec![(reported, at)]), &after);
                    }
                }
            }
            if step.before.is_some() && before["status"] != after["status"] {
                let (from, to) = (before["status"].as_str().unwrap(), after["status"].as_str().unwrap());
                spans.push((to.to_owned(), at));
                if from == "new" {
                    add(at, What::Started(vec![(reported, at)]), &after);
                }
                if to == "resolved" {
                    resolutions += 1;
                    let ends = spans.iter().skip(1).map(|(_, at)| *at);
                    let service = spans
                        .iter()
                        .zip(ends)
                        .filter(|((status, _), _)| status == "open")
                        .map(|((_, from), to)| (*from, to))
                        .collect();
                    let first_contact = resolutions == 1 && answers <= 1;
                    add(at, What::Resolved { first_contact, service, resolution: vec![(reported, at)] }, &after);
                }
                if from == "resolved" && is_open(&after) {
                    add(at, What::Reopened, &after);
                }
            }
            for clock in &step.after.1.clocks {
                let was = step.before.and_then(|(_, times)| times.clocks.iter().find(|was| was.target == clock.target));
                if clock.met_at().is_some() && clock.met_at() != was.and_then(|was| was.met_at()) {
                    add(at, What::Met(clock.target.to_string()), &after);
                }
                if clock.state() == ClockState::Breached && was.is_none_or(|was| was.state() != ClockState::Breached) {
                    let breached = clock.breach_at().unwrap().micros();
                    add(
                        breached,
                        What::Breached(clock.target.to_string()),
                        if breached < at { &before } else { &after },
                    );
                }
            }
            for change in
                step.event.into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("time_entry"))
            {
                let value = |field: &str, when: &str| {
                    let changes = change["changes"].as_array().unwrap().iter();
                    changes
                        .clone()
                        .find(|change| change["field"] == field)
                        .map_or(Value::Null, |change| change[when].clone())
                };
                if change["type"] == "time_entry.deleted" {
                    work.remove(&value("time_entry_id", "before").to_string()).unwrap();
                    continue;
                }
                let mut then = after.clone();
                then["worker"] = named(&agents, &value("agent_id", "after"));
                let what = What::Worked(value("work_s", "after").as_i64().unwrap(), value("cost", "after"));
                work.insert(
                    value("time_entry_id", "after").to_string(),
                    Fact { at: us(&value("worked_at", "after")), what, then },
                );
            }
            history.push((at, after));
        };
        let times = replay(&events, &configured, &mut told);
        // What time has broken since.
        let last = history.last().unwrap().1.clone();
        for clock in &times.clocks {
            let lapsed = clock.clone().at(now);
            if clock.state() != ClockState::Breached && lapsed.state() == ClockState::Breached {
                let what = What::Breached(clock.target.to_string());
                facts.push(Fact { at: lapsed.breach_at().unwrap().micros(), what, then: last.clone() });
            }
        }
        facts.extend(work.into_values());
        assert!(facts.iter().all(|fact| fact.at <= now.micros()), "nothing happens in the future");
        all.push(Told { body, history, facts });
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

/// What is told of a duration: the middle of a bucket less than two percent wide.
fn told_s(seconds: i64) -> i64 {
    if seconds < 128 {
        return seconds;
    }
    let width = 1i64 << (seconds.ilog2() - 6);
    seconds - seconds % width + width / 2
}

fn spread(mut values: Vec<i64>) -> Value {
    values.sort();
    let n = values.len();
    if n == 0 {
        return json!({ "count": 0, "mean_s": null, "p50_s": null, "p90_s": null, "p95_s": null, "p99_s": null, "max_s": null });
    }
    // The least value that so many percent do not exceed.
    let nearest = |percent: usize| (1..=n).find(|rank| rank * 100 >= percent * n).map(|rank| told_s(values[rank - 1]));
    let mean = values.iter().sum::<i64>() as f64 / n as f64;
    json!({ "count": n, "mean_s": (mean * 1e3).round() / 1e3, "p50_s": nearest(50), "p90_s": nearest(90), "p95_s": nearest(95),
        "p99_s": nearest(99), "max_s": nearest(100) })
}

fn ratio(part: i64, whole: i64) -> Value {
    if whole == 0 { Value::Null } else { json!((part as f64 / whole as f64 * 1e6).round() / 1e6) }
}

/// The figures of what happened from `from` until before `to`.
fn recount<'a>(facts: impl IntoIterator<Item = &'a Fact>, from: i64, to: i64) -> Value {
    let (mut created, mut resolved, mut reopened, mut first_contacts) = (0, 0i64, 0, 0);
    let mut durations: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    let mut kept: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    let (mut work_s, mut unrated_s, mut costs) = (0, 0, BTreeMap::<String, i64>::new());
    let mut took = |what, stretches: &[(i64, i64)]| {
        let all: i64 = stretches.iter().map(|(from, to)| to - from).sum();
        let office: i64 = stretches.iter().map(|(from, to)| office_us(*from, *to)).sum();
        durations.entry((what, "calendar")).or_default().push(all / S);
        durations.entry((what, "business")).or_default().push(office / S);
    };
    for fact in facts.into_iter().filter(|fact| from <= fact.at && fact.at < to) {
        match &fact.what {
            What::Created => created += 1,
            What::Started(stretches) => took("response", stretches),
            What::Replied(stretches) => took("first_reply", stretches),
            What::Resolved { first_contact, service, resolution } => {
                resolved += 1;
                first_contacts += i64::from(*first_contact);
                took("service", service);
                took("resolution", resolution);
            }
            What::Reopened => reopened += 1,
            What::Met(target) => *kept.entry((target, "met")).or_default() += 1,
            What::Breached(target) => *kept.entry((target, "breached")).or_default() += 1,
            What::Worked(s, cost) => {
                work_s += s;
                match cost["currency"].as_str() {
                    Some(currency) => {
                        *costs.entry(currency.to_owned()).or_default() += cost["amount_minor"].as_i64().unwrap()
                    }
                    None => unrated_s += s,
                }
            }
        }
    }
    let by_hours = |what| {
        let of = |hours| spread(durations.get(&(what, hours)).cloned().unwrap_or_default());
        json!({ "calendar": of("calendar"), "business": of("business") })
    };
    let attained = |target: &str| {
        let count = |how| kept.get(&(target, how)).copied().unwrap_or(0);
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
        "tickets": { "created": created, "resolved": resolved, "reopened": reopened, "first_contact": first_contacts,
            "resolved_by": { "alert": 0, "people": resolved } },
        "reopen_rate": ratio(reopened, resolved), "first_contact_rate": ratio(first_contacts, resolved),
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
    for ticket in tickets.filter(|ticket| ticket.is_open()) {
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

/// Every group with what is in it, by the fields that `fields` tells of each, in the order of the answer.
fn grouped<'a, T>(by: &str, all: &[&'a T], fields: impl Fn(&'a T) -> &'a Value) -> Vec<(Value, Vec<&'a T>)> {
    let words = words(by).iter().enumerate().map(|(i, word)| (vec![i.to_string()], (json!({ by: word }), Vec::new())));
    let mut groups: BTreeMap<Vec<String>, (Value, Vec<&'a T>)> = words.collect();
    for one in all {
        for (order, key) in groups_of(fields(one), by) {
            groups.entry(order).or_insert_with(|| (key, Vec::new())).1.push(one);
        }
    }
    groups.into_values().collect()
}

/// A filter, by what a ticket was when something happened to it and by what it is now.
struct Filter {
    query: &'static str,
    then: fn(&Value) -> bool,
    now: fn(&Value) -> bool,
}

const FILTERS: [Filter; 8] = [
    Filter { query: "", then: |_| true, now: |_| true },
    Filter { query: "&priority=high,urgent", then: |then| is(then, "priority", &["high", "urgent"]), now: |_| true },
    Filter { query: "&tag=printer", then: |then| has_tag(then, "printer"), now: |_| true },
    Filter { query: "&assignee_id=none", then: |then| then["assignee"].is_null(), now: |_| true },
    Filter {
        query: "&team_id=none&status=resolved,open,closed",
        then: |then| then["team"].is_null(),
        now: |now| is(now, "status", &["resolved", "open", "closed"]),
    },
    Filter {
        query: "&tag=fire&channel=web,phone",
        then: |then| has_tag(then, "fire") && is(then, "channel", &["web", "phone"]),
        now: |_| true,
    },
    Filter {
        query: "&sla=breached",
        then: |_| true,
        now: |now| now["clocks"].as_array().unwrap().iter().any(|clock| clock["state"] == "breached"),
    },
    Filter {
        query: "&type=question&tag=fire,printer",
        then: |then| is(then, "type", &["question"]) && (has_tag(then, "fire") || has_tag(then, "printer")),
        now: |_| true,
    },
];

fn with_key((key, mut figures): (Value, Value)) -> Value {
    figures["key"] = key;
    figures
}

/// What is grouped by; the backlog is not by the last ones.
const GROUPS: [&str; 14] = [
    "team",
    "priority",
    "type",
    "channel",
    "assignee",
    "tag",
    "policy",
    "team,priority",
    "tag,assignee",
    "channel,tag",
    "policy,type",
    "worker",
    "worker,team",
    "tag,worker",
];

fn groups_of_backlog() -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().filter(|by| !by.contains("worker"))
}

/// Folds something, writes something down, begins anew, or none of it.
async fn keep(desk: &Desk, draw: &impl Fn(usize) -> usize) {
    match draw(16) {
        0..=2 => {
            fold(&desk.db, [1, 3, 100][draw(3)]).await.unwrap();
        }
        3 | 4 => {
            desk.write_down_breaches([1, 20, 500][draw(3)]).await;
        }
        5 => anew(desk).await,
        6 => fold_all(desk).await,
        _ => {}
    }
}

async fn anew(desk: &Desk) {
    let begin = async |tx: &mut skranke::db::Conn| begin_anew(tx).await;
    desk.db.write(skranke::db::Roots::none(), begin).await.unwrap();
}

async fn fold_all(desk: &Desk) {
    while fold(&desk.db, 500).await.unwrap() > 0 {}
}

/// Asks for a report in two ways: as it is, and with a filter that lets every ticket through but that no cells are
/// kept by.
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
    let mut groups = GROUPS
        .iter()
        .map(|by| format!("&group_by={by}"))
        .chain([String::new(), String::new(), String::new()])
        .collect::<Vec<_>>();
    let mut filters = vec![
        "",
        "",
        "",
        "&priority=high",
        "&priority=high,low,high",
        "&team_id=none",
        "&channel=web,phone",
        "&type=question",
        "&tag=printer",
        "&tag=printer,fire",
        "&assignee_id=none",
        "&priority=high&tag=fire",
        "&team_id=none&channel=web",
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
    let rows =
        desk.get(&format!("{path}&created_after=1970-01-01T00:00:00.000000Z")).by(monitor).expect(200).await.body;
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
                let points = series["points"].as_array().unwrap().iter();
                points.map(move |point| row([("key".to_owned(), series["key"].clone())].into_iter().collect(), point))
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
        for group in GROUPS.map(|by| format!("&group_by={by}")).into_iter().chain([String::new()]) {
            for path in [format!("summary?{span}{group}"), format!("timeseries?{span}&interval=week{group}"), format!("backlog?due_within_s=60{group}"), format!("summary?{span}{group}&tag=nowhere")] {
                if path.contains("backlog") && path.contains("worker") {
                    continue;
                }
                let path = format!("/v1/metrics/{path}");
                let (header, rows) = table(desk, &world.monitor, &path).await;
                let json = desk.get(&path).by(&world.monitor).header("accept", "application/json").expect(200).await.body;
                assert_eq!(rows, rows_of(&json), "{path}");
                formulas += rows.iter().filter(|row| row.get("key.team.name").is_some_and(|name| name.starts_with("'="))).count();
                // All columns are there also where there is nothing to tell, those of the group first.
                let first = match &path {
                    path if path.contains("backlog") => "now,open,by_status.new",
                    path if path.contains("timeseries") => "from,to,backlog,tickets.created,tickets.resolved",
                    _ => "from,to,tickets.created,tickets.resolved",
                };
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
        let chance = Mutex::new(Chance(seed() ^ 7));
        let world = live(desk, seed(), 150, &async || keep(desk, &|below| chance.lock().unwrap().below(below)).await).await;
        let told = told(desk, &world).await;
        let now = desk.clock.now().micros();
        let (began, monitor) = (world.began, &world.monitor);
        let windows = [(began - 6 * DAY, now + S), (began + (now - began) / 3, now - (now - began) / 4), (now - DAY, now + 30 * DAY)];
        for Filter { query, then, now: is_now } in FILTERS {
            let tickets: Vec<&Told> = told.iter().filter(|ticket| is_now(&ticket.body)).collect();
            let facts: Vec<&Fact> = tickets.iter().flat_map(|ticket| &ticket.facts).filter(|fact| then(&fact.then)).collect();
            for (from, to) in windows {
                let span = format!("from={}&to={}{query}", written(from), written(to));
                let total = recount(facts.iter().copied(), from, to);
                let read = desk.get(&format!("/v1/metrics/summary?{span}")).by(monitor).expect(200).await.body;
                assert_eq!(read, json!({ "from": written(from), "to": written(to), "total": total, "group_by": null, "groups": null, "truncated": false, "pending_tickets": 0 }), "{span}");
                let nothing = recount([], from, to);
                for by in GROUPS {
                    let read = desk.get(&format!("/v1/metrics/summary?{span}&group_by={by}")).by(monitor).expect(200).await.body;
                    assert_eq!((&read["total"], &read["group_by"]), (&total, &json!(by.split(',').collect::<Vec<_>>())), "{span}");
                    let groups = grouped(by, &facts, |fact| &fact.then).into_iter().map(|(key, facts)| (key, recount(facts, from, to)));
                    // Groups with nothing to tell are not there, but for the words of a vocabulary.
                    let groups: Vec<_> = groups.filter(|(_, figures)| *figures != nothing || !words(by).is_empty()).map(with_key).collect();
                    assert_eq!(read["groups"], json!(groups), "{span} by {by}");
                }
            }
            let open: Vec<&Told> = tickets.iter().copied().filter(|ticket| ticket.is_open() && then(&ticket.history.last().unwrap().1)).collect();
            for (due_within, due_within_s) in [("", 3_600), ("&due_within_s=0", 0), ("&due_within_s=31622400", 31_622_400)] {
                let total = recount_backlog(open.iter().copied(), now, due_within_s);
                for by in groups_of_backlog() {
                    let path = format!("/v1/metrics/backlog?group_by={by}{due_within}{query}");
                    let mut read = desk.get(&path).by(monitor).expect(200).await.body;
                    let groups = grouped(by, &open, |ticket| &ticket.history.last().unwrap().1).into_iter().map(|(key, tickets)| (key, recount_backlog(tickets.into_iter(), now, due_within_s)));
                    assert_eq!(read["groups"], json!(groups.map(with_key).collect::<Vec<_>>()), "{path}");
                    let teams = grouped("team", &open, |ticket| &ticket.history.last().unwrap().1).into_iter().map(|(key, tickets)| (key, json!({ "open": tickets.len() })));
                    assert_eq!(read["total"].as_object_mut().unwrap().remove("by_team"), Some(json!(teams.map(with_key).collect::<Vec<_>>())), "{path}");
                    assert_eq!(read["total"], total, "{path}");
                    assert_eq!((&read["now"], &read["due_within_s"]), (&json!(written(now)), &json!(due_within_s)));
                }
            }
        }
        // Enough has happened for all of this to mean something.
        let whole = recount(told.iter().flat_map(|ticket| &ticket.facts), began - 6 * DAY, now + S);
        assert!(whole["tickets"]["created"].as_i64().unwrap() > 10 && whole["tickets"]["resolved"].as_i64().unwrap() > 3, "{whole}");
        assert!(whole["sla"]["response"]["breached"].as_i64().unwrap() > 0 && whole["cost"]["work_s"].as_i64().unwrap() > 0, "{whole}");
        let moved = told.iter().flat_map(|ticket| &ticket.facts).filter(|fact| told.iter().all(|now| now.history.last().unwrap().1 != fact.then)).count();
        assert!(moved > 10, "nothing has changed since it happened");
    }

    async fn steps_come_to_what_the_window_comes_to(desk) {
        let world = live(desk, seed(), 100, &async || {}).await;
        let told = told(desk, &world).await;
        let now = desk.clock.now().micros();
        for (interval, zone, from, to) in [
            ("day", "Europe/Oslo", world.began - 6 * DAY + 7 * HOUR, now + S),
            ("hour", "Asia/Kathmandu", now - 3 * DAY, now),
            ("week", "UTC", world.began - 6 * DAY, now - DAY),
            ("month", "Pacific/Apia", world.began - 6 * DAY, now + DAY),
        ] {
            let span = format!("from={}&to={}", written(from), written(to));
            for (by, filter) in ["", "priority", "tag", "team", "assignee", "policy", "team,priority", "tag,assignee", "worker", "team,worker"].into_iter().zip(FILTERS.iter().cycle()) {
                let Filter { query, then, now: is_now } = filter;
                let tickets: Vec<&Told> = told.iter().filter(|ticket| is_now(&ticket.body)).collect();
                let facts: Vec<&Fact> = tickets.iter().flat_map(|ticket| &ticket.facts).filter(|fact| then(&fact.then)).collect();
                let group_by = if by.is_empty() { String::new() } else { format!("&group_by={by}") };
                let path = format!("/v1/metrics/timeseries?{span}&interval={interval}&time_zone={zone}{query}{group_by}");
                let read = desk.get(&path).by(&world.monitor).expect(200).await.body;
                let summary = desk.get(&format!("/v1/metrics/summary?{span}{query}{group_by}")).by(&world.monitor).expect(200).await.body;
                assert_eq!((&read["interval"], &read["time_zone"], &read["truncated"]), (&json!(interval), &json!(zone), &json!(false)));
                assert_eq!(read["group_by"], summary["group_by"]);
                let series = read["series"].as_array().unwrap();
                let mut whole = summary["total"].clone();
                whole["key"] = json!({});
                let whole = [whole];
                let sums = if by.is_empty() { &whole[..] } else { summary["groups"].as_array().unwrap() };
                let keys = |of: &[Value]| of.iter().map(|one| one["key"].clone()).collect::<Vec<_>>();
                assert_eq!(keys(series), keys(sums), "{path}");
                for (series, sum) in series.iter().zip(sums) {
                    let of_group: Vec<&Fact> = facts.iter().copied().filter(|fact| is_in(&fact.then, by, &series["key"])).collect();
                    let mut end = from;
                    for point in series["points"].as_array().unwrap() {
                        assert_eq!(us(&point["from"]), end, "steps follow each other");
                        end = us(&point["to"]);
                        let mut expected = recount(of_group.iter().copied(), us(&point["from"]), end);
                        expected["from"] = point["from"].clone();
                        expected["to"] = point["to"].clone();
                        let unsolved = tickets.iter().filter_map(|ticket| ticket.before(end)).filter(|then_| is_open(then_) && then(then_) && is_in(then_, by, &series["key"])).count();
                        expected["backlog"] = if by.contains("worker") { Value::Null } else { json!(unsolved) };
                        assert_eq!(*point, expected, "{path}");
                    }
                    assert_eq!(end, to);
                    for count in ["/tickets/created", "/tickets/resolved", "/tickets/reopened", "/durations/response/business/count", "/sla/service/breached", "/sla/response/met", "/cost/work_s"] {
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
        // All of it is folded in the end.
        desk.write_down_breaches(500).await;
        fold_all(desk).await;
        for _ in 0..60 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        // Made anew from the rows alone, also with changes that were never folded, it is the same again.
        anew(desk).await;
        for _ in 0..10 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        fold(&desk.db, 1).await.unwrap();
        for _ in 0..40 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        fold_all(desk).await;
        for _ in 0..40 {
            compare(desk, &world.monitor, &world.teams, began, &draw).await;
        }
        // It is cells that are read, and nothing is left of before when they are made anew.
        let whole_hours = |us: i64| written(us.div_euclid(HOUR) * HOUR);
        let whole = format!("/v1/metrics/summary?from={}&to={}", whole_hours(began - 10 * DAY), whole_hours(desk.clock.now().micros()));
        let created = async || desk.get(&whole).by(&world.monitor).expect(200).await.body["total"]["tickets"]["created"].as_i64().unwrap();
        let before = created().await;
        desk.store.run("DELETE FROM cells;").await;
        assert!(before > 10 && created().await == 0, "it is cells that are read");
        anew(desk).await;
        fold_all(desk).await;
        assert_eq!(created().await, before);
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
                drop(fold(&desk.db, 5).await);
                drop(write_down_breaches(&desk.db, &desk.ids, 10).await);
                if chance.below(10) == 0 {
                    let begin = async |tx: &mut skranke::db::Conn| begin_anew(tx).await;
                    drop(desk.db.write(skranke::db::Roots::none(), begin).await);
                }
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
        fold_all(desk).await;
        for _ in 0..40 {
            compare(desk, &monitor, &[], began, &draw).await;
        }
    }

    /// Whoever reports weekly reports the same of a week whenever they look at it.
    async fn a_past_window_never_changes(desk) {
        let chance = Mutex::new(Chance(seed() ^ 3));
        let draw = |below: usize| chance.lock().unwrap().below(below);
        let world = live(desk, seed(), 80, &async || keep(desk, &draw).await).await;
        let requester = desk.requester().await;
        desk.clock.pass_s(10);
        let (began, to) = (world.began, desk.clock.now().micros());
        let mut paths = Vec::new();
        for (from, to) in [(began - 6 * DAY, to), (began + (to - began) / 3, to - (to - began) / 3), (to.div_euclid(DAY) * DAY - 2 * DAY, to.div_euclid(DAY) * DAY)] {
            let span = format!("from={}&to={}", written(from), written(to));
            for by in GROUPS {
                paths.push(format!("summary?{span}&group_by={by}"));
                paths.push(format!("timeseries?{span}&group_by={by}&interval=day&time_zone=Europe/Oslo"));
            }
            for filter in ["&priority=high", "&team_id=none", "&tag=printer", "&assignee_id=none&channel=web", "&created_after=1970-01-01T00:00:00.000000Z"] {
                paths.push(format!("summary?{span}{filter}"));
                paths.push(format!("timeseries?{span}{filter}&interval=week"));
            }
        }
        let read = async || {
            let mut texts = Vec::new();
            for path in &paths {
                texts.push((path, desk.get(&format!("/v1/metrics/{path}")).by(&world.monitor).expect(200).await.text()));
            }
            texts
        };
        let before = read().await;
        let check = async |after: &str| {
            for ((path, was), (_, is)) in before.iter().zip(read().await) {
                assert_eq!(*was, is, "{path} after {after}");
            }
        };
        desk.clock.pass_s(100_000);
        check("some time").await;
        let numbers: Vec<i64> = desk.all(&world.agents[0], "/v1/tickets?limit=200").await.iter().map(|ticket| ticket["number"].as_i64().unwrap()).collect();
        let agent = |nth: usize| &world.agents[nth];
        for step in 0..120 {
            keep(desk, &draw).await;
            desk.clock.pass_s([0, 1, 59, 3_600, 9_999, 86_400][draw(6)]);
            let ticket = format!("/v1/tickets/{}", numbers[draw(numbers.len())]);
            let target_s = 600 * (1 + draw(100) as i64);
            let rules = json!([
                { "target": "response", "priority": null, "target_s": target_s, "hours": (["calendar", "business"][draw(2)]) },
                { "target": "service", "priority": null, "target_s": 2 * target_s, "hours": "calendar" },
            ]);
            let shift = json!([{ "from": "08:00", "to": (["12:00", "16:00", "18:00"][draw(3)]) }]);
            let policy = format!("/v1/sla/policies/{}", POLICIES[draw(2)].0);
            let patches = [
                json!({ "status": "open" }), json!({ "status": "open" }), json!({ "status": "resolved" }), json!({ "status": "resolved" }),
                json!({ "status": "waiting_requester" }), json!({ "status": "closed" }),
                json!({ "priority": (["low", "normal", "high", "urgent"][draw(4)]) }), json!({ "team_id": world.teams[draw(2)] }), json!({ "team_id": null }),
                json!({ "assignee_id": agent(draw(3)).id }), json!({ "assignee_id": null }), json!({ "tags": (["printer", "fire", "new tag"][..draw(4)]) }),
                json!({ "type": (["incident", "question", "problem"][draw(3)]) }), json!({ "channel": (["phone", "chat"][draw(2)]) }),
            ];
            match draw(20) {
                0..=11 => drop(desk.patch(&ticket).by(agent(draw(3))).json(&patches[draw(patches.len())]).send().await),
                12 | 13 => {
                    let by = [agent(0), agent(1), &requester][draw(3)];
                    desk.post(&format!("{ticket}/comments")).by(by).json(&json!({ "body": "b", "visibility": "public" })).send().await;
                }
                14 | 15 => drop(desk.post(&format!("{ticket}/time-entries")).by(agent(0)).json(&json!({ "work_s": 60, "agent_id": agent(draw(3)).id })).send().await),
                16 => drop(desk.ticket(agent(0), json!({ "reported_at": written(to - DAY), "tags": ["printer"] })).await),
                17 => drop(desk.patch(&policy).by(&world.admin).json(&json!({ "targets": rules, "calendar_id": CALENDAR })).expect(200).await),
                18 => {
                    let condition = [json!({ "tags": ["fire"] }), json!({ "priorities": ["high", "low"] }), json!({})][draw(3)].clone();
                    desk.patch(&policy).by(&world.admin).json(&json!({ "condition": condition, "calendar_id": CALENDAR })).expect(200).await;
                }
                _ => {
                    let hours = json!({ "working_hours": { "monday": shift, "tuesday": shift, "sunday": shift } });
                    desk.patch(&format!("/v1/sla/calendars/{CALENDAR}")).by(&world.admin).json(&hours).expect(200).await;
                }
            }
            if step % 30 == 29 {
                check(&format!("{step} things that happened")).await;
            }
        }
        desk.clock.pass_s(40 * 86_400);
        check("everything").await;
        while desk.write_down_breaches(7).await > 0 {}
        check("breaches were written down").await;
        fold_all(desk).await;
        check("all of it was folded").await;
        anew(desk).await;
        check("it was begun anew").await;
        fold_all(desk).await;
        check("it was made anew").await;
    }

    /// Each resolution counts when it happens, with what it took until then, and where the ticket is then.
    async fn a_ticket_that_comes_back_counts_again(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("metrics:read").await);
        let mut teams = Vec::new();
        for name in ["A", "B"] {
            teams.push(desk.post("/v1/teams").by(&admin).json(&json!({ "name": name })).expect(201).await.body["id"].clone());
        }
        desk.clock.go_to("2026-03-02T09:00:00.000000Z");
        let ticket = desk.ticket(&agent, json!({ "team_id": teams[0] })).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        let to = async |patch: Value| {
            desk.clock.pass_s(3_600);
            desk.patch(&path).by(&agent).json(&patch).expect(200).await;
        };
        to(json!({ "status": "open" })).await;
        to(json!({ "status": "resolved" })).await;
        desk.clock.go_to("2026-03-03T08:00:00.000000Z");
        to(json!({ "team_id": teams[1] })).await;
        to(json!({ "status": "open" })).await;
        to(json!({ "status": "resolved" })).await;
        to(json!({ "status": "open" })).await;
        desk.clock.go_to("2026-03-04T09:00:00.000000Z");
        to(json!({ "status": "resolved" })).await;
        desk.clock.go_to("2026-03-05T00:00:00.000000Z");
        let days = "from=2026-03-02T00:00:00.000000Z&to=2026-03-05T00:00:00.000000Z";
        let read = desk.get(&format!("/v1/metrics/timeseries?{days}&interval=day&group_by=team")).by(&monitor).expect(200).await.body;
        let tickets = |created: i64, resolved: i64, reopened: i64, first_contact: i64| {
            let by = json!({ "alert": 0, "people": resolved });
            json!({ "created": created, "resolved": resolved, "reopened": reopened, "first_contact": first_contact, "resolved_by": by })
        };
        let nothing = tickets(0, 0, 0, 0);
        let expected = [
            (0, [(tickets(1, 1, 0, 1), json!(0.0), json!(3_600.0), 0),
                (nothing.clone(), Value::Null, Value::Null, 0), (nothing.clone(), Value::Null, Value::Null, 0)]),
            (1, [(nothing, Value::Null, Value::Null, 0),
                (tickets(0, 1, 2, 0), json!(2.0), json!(7_200.0), 1),
                (tickets(0, 1, 0, 0), json!(0.0), json!(86_400.0), 0)]),
        ];
        assert_eq!(read["series"].as_array().unwrap().len(), 2);
        for (team, points) in expected {
            assert_eq!(read["series"][team]["key"]["team"]["id"], teams[team]);
            for (day, (counts, reopen_rate, service_s, backlog)) in points.into_iter().enumerate() {
                let point = &read["series"][team]["points"][day];
                let told = (&point["tickets"], &point["reopen_rate"], &point["durations"]["service"]["calendar"]["mean_s"], &point["backlog"]);
                assert_eq!(told, (&counts, &reopen_rate, &service_s, &json!(backlog)), "day {day} of {team}");
            }
        }
        let whole = desk.get(&format!("/v1/metrics/summary?{days}")).by(&monitor).expect(200).await.body["total"].clone();
        assert_eq!(whole["tickets"], tickets(1, 3, 2, 1));
        let service = &whole["durations"]["service"]["calendar"];
        assert_eq!((&service["count"], &service["mean_s"], &service["p50_s"]), (&json!(3), &json!(32_400.0), &json!(told_s(7_200))));
        assert_eq!(whole["durations"]["resolution"]["calendar"]["max_s"], told_s(49 * 3_600));
        assert_eq!(whole["durations"]["response"]["calendar"]["count"], 1);
    }

    /// What happened in a team is told also when it is no more. Nobody knows its name any more, so that is its id.
    async fn a_team_that_was_removed_is_called_by_its_id(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let mut teams = Vec::new();
        for name in ["Stays", "Goes"] {
            teams.push(desk.post("/v1/teams").by(&admin).json(&json!({ "name": name })).expect(201).await.body["id"].clone());
        }
        let ticket = desk.ticket(&agent, json!({ "team_id": teams[1] })).await;
        desk.ticket(&agent, json!({})).await;
        desk.patch_ticket(&agent, &ticket, json!({ "team_id": teams[0] })).await;
        desk.ticket(&agent, json!({ "team_id": teams[0] })).await;
        let goes = teams[1].as_str().unwrap();
        desk.delete(&format!("/v1/teams/{goes}")).by(&admin).expect(204).await;
        desk.clock.pass_s(1);
        let read = desk.get("/v1/metrics/summary?group_by=team").by(&agent).expect(200).await.body;
        let keys: Vec<_> = read["groups"].as_array().unwrap().iter().map(|group| group["key"]["team"].clone()).collect();
        assert_eq!(keys, [json!({ "id": teams[0], "name": "Stays" }), json!({ "id": goes, "name": goes }), Value::Null]);
        let (_, rows) = table(desk, &agent, "/v1/metrics/timeseries?interval=month&group_by=team,priority").await;
        assert!(rows.iter().any(|row| row["key.team.name"] == goes), "{rows:?}");
    }

    /// Work is told of whoever did it, and nothing else is.
    async fn work_is_told_of_who_did_it(desk) {
        let (admin, one, two) = (desk.admin().await, desk.agent().await, desk.agent().await);
        desk.patch(&format!("/v1/users/{}", one.id)).by(&admin).json(&json!({ "hourly_rate": { "amount_minor": 6_000, "currency": "EUR" } })).expect(200).await;
        let ticket = desk.ticket(&two, json!({ "assignee_id": two.id })).await;
        for (who, work_s) in [(&one, 600), (&one, 1_200), (&two, 60)] {
            desk.post(&format!("/v1/tickets/{}/time-entries", ticket["number"])).by(&admin).json(&json!({ "work_s": work_s, "agent_id": who.id })).expect(201).await;
        }
        // Whose ticket it is later changes nothing.
        desk.patch_ticket(&two, &ticket, json!({ "assignee_id": one.id })).await;
        desk.clock.pass_s(1);
        let read = desk.get("/v1/metrics/summary?group_by=worker,assignee").by(&one).expect(200).await.body;
        let named = |who: &Caller| json!({ "id": who.id, "name": who.name });
        let mut expected = [
            (named(&one), json!({ "work_s": 1_800, "unrated_work_s": 0, "costs": [{ "currency": "EUR", "total_minor": 3_000, "per_resolved_ticket_minor": null }] })),
            (named(&two), json!({ "work_s": 60, "unrated_work_s": 60, "costs": [] })),
        ];
        expected.sort_by_key(|(key, _)| key["name"].as_str().unwrap().to_owned());
        let told: Vec<_> = read["groups"].as_array().unwrap().iter().map(|group| (group["key"].clone(), group["cost"].clone(), group["tickets"]["created"].clone())).collect();
        let expected = expected.map(|(key, cost)| (json!({ "worker": key, "assignee": named(&two) }), cost, json!(0)));
        assert_eq!(told, expected);
        assert_eq!((&read["total"]["tickets"]["created"], &read["total"]["cost"]["work_s"]), (&json!(1), &json!(1_860)));
    }

    /// Percentiles are told of buckets: of any durations, within one percent.
    async fn percentiles_are_within_one_percent(desk) {
        let (agent, monitor) = (desk.agent().await, desk.account("metrics:read").await);
        let mut chance = Chance(seed());
        let now = desk.clock.now().micros();
        let mut exact = BTreeMap::<&str, Vec<i64>>::new();
        for _ in 0..120 {
            // From a second to a year, each octave alike.
            let seconds = (1i64 << chance.below(25)) + chance.below(1 << 20) as i64 % (1 << chance.below(25));
            let priority = *chance.of(&["low", "high"]);
            let ticket = desk.ticket(&agent, json!({ "priority": priority, "reported_at": written(now - seconds * S) })).await;
            desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
            exact.entry(priority).or_default().push(seconds);
            exact.entry("").or_default().push(seconds);
        }
        let check = async || {
            let read = desk.get(&format!("/v1/metrics/summary?group_by=priority&to={}", written(now + S))).by(&monitor).expect(200).await.body;
            for (nth, priority) in [(None, ""), (Some(0), "low"), (Some(2), "high")] {
                let told = &nth.map_or(&read["total"], |nth: usize| &read["groups"][nth])["durations"];
                let mut exact = exact[priority].clone();
                exact.sort();
                for what in ["response", "resolution"] {
                    let told = &told[what]["calendar"];
                    let mean = exact.iter().sum::<i64>() as f64 / exact.len() as f64;
                    assert_eq!((&told["count"], &told["mean_s"]), (&json!(exact.len()), &json!((mean * 1e3).round() / 1e3)));
                    for (percentile, percent) in [("p50_s", 50), ("p90_s", 90), ("p95_s", 95), ("p99_s", 99), ("max_s", 100)] {
                        let exact = exact[(percent * exact.len()).div_ceil(100) - 1];
                        let told = told[percentile].as_i64().unwrap();
                        assert!((told - exact).abs() * 100 <= exact, "{percentile} of {what}: {told} for {exact}");
                    }
                }
            }
        };
        check().await;
        fold_all(desk).await;
        check().await;
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
        assert_eq!((&read["from"], &read["to"]), (&json!("2026-01-31T09:00:00.000000Z"), &json!("2026-03-02T09:00:00.000000Z")));
        let nothing = recount([], 0, 1);
        assert_eq!(read["total"], nothing);
        assert_eq!(nothing["reopen_rate"], Value::Null);
        let groups: Vec<_> = words("priority").iter().map(|word| with_key((json!({ "priority": word }), nothing.clone()))).collect();
        assert_eq!(read["groups"], json!(groups));
        assert_eq!(desk.get("/v1/metrics/summary?group_by=team").by(&monitor).expect(200).await.body["groups"], json!([]));
        let read = desk.get("/v1/metrics/backlog?group_by=assignee").by(&monitor).expect(200).await.body;
        assert_eq!((&read["total"]["open"], &read["total"]["oldest_reported_at"], &read["groups"]), (&json!(0), &Value::Null, &json!([])));
        let read = desk.get("/v1/metrics/timeseries?interval=week&group_by=tag").by(&monitor).expect(200).await.body;
        assert_eq!(read["series"], json!([]));
        let read = desk.get("/v1/metrics/timeseries?interval=month").by(&monitor).expect(200).await.body;
        let point = |from: &str, to: &str| { let mut point = nothing.clone(); point["backlog"] = json!(0); point["from"] = json!(from); point["to"] = json!(to); point };
        assert_eq!(read["series"], json!([{ "key": {}, "points": [
            point("2026-01-31T09:00:00.000000Z", "2026-02-01T00:00:00.000000Z"), point("2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z"),
            point("2026-03-01T00:00:00.000000Z", "2026-03-02T09:00:00.000000Z"),
        ] }]));
    }

    /// How long the steps of a window are, in seconds.
    async fn steps_go_by_local_clocks(desk) {
        let monitor = desk.account("metrics:read").await;
        for (zone, from, to, interval, expected) in [
            ("Europe/Oslo", "2026-03-27T23:00:00.000000Z", "2026-03-30T22:00:00.000000Z", "day", vec![86_400, 82_800, 86_400]),
            ("europe/oslo", "2026-10-23T22:00:00.000000Z", "2026-10-26T23:00:00.000000Z", "day", vec![86_400, 90_000, 86_400]),
            ("Europe/Oslo", "2026-10-24T23:00:00.000000Z", "2026-10-25T03:00:00.000000Z", "hour", vec![3_600; 4]),
            ("Europe/Oslo", "2026-03-29T00:30:00.000000Z", "2026-03-29T02:00:00.000000Z", "hour", vec![1_800, 3_600]),
            ("Asia/Kathmandu", "2026-03-01T00:00:00.000000Z", "2026-03-01T02:00:00.000000Z", "hour", vec![900, 3_600, 2_700]),
            ("Asia/Kathmandu", "2026-02-28T18:15:00.000000Z", "2026-03-02T18:15:00.000000Z", "day", vec![86_400; 2]),
            ("Australia/Lord_Howe", "2026-04-03T13:00:00.000000Z", "2026-04-05T13:30:00.000000Z", "day", vec![86_400, 88_200]),
            ("Australia/Lord_Howe", "2026-10-02T13:30:00.000000Z", "2026-10-04T13:00:00.000000Z", "day", vec![86_400, 84_600]),
            ("Pacific/Apia", "2011-12-29T10:00:00.000000Z", "2012-01-01T10:00:00.000000Z", "day", vec![86_400; 3]),
            ("Pacific/Apia", "2011-12-30T08:00:00.000000Z", "2011-12-30T12:00:00.000000Z", "hour", vec![3_600; 4]),
            ("Pacific/Apia", "2011-12-26T10:00:00.000000Z", "2012-01-01T10:00:00.000000Z", "week", vec![6 * 86_400]),
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
            ("summary?from=2026-03-01T00:00:00.000000Z&to=2026-03-01T00:00:00.000000Z", vec!["from"]),
            ("summary?from=2026-03-03T00:00:00.000000Z", vec!["from"]),
            ("summary?team_id=me", vec!["team_id"]),
            ("timeseries", vec!["interval"]),
            ("timeseries?interval=fortnight&time_zone=Mars/Olympus&due_within_s=3", vec!["due_within_s", "interval", "time_zone"]),
            ("timeseries?interval=hour&from=2025-12-01T00:00:00.000000Z&to=2026-03-01T00:00:00.000000Z", vec!["interval"]),
            ("backlog?from=2026-03-01T00:00:00.000000Z&due_within_s=-1&group_by=&sla=soon", vec!["due_within_s", "from", "group_by", "sla"]),
            ("backlog?due_within_s=31622401", vec!["due_within_s"]),
            ("backlog?group_by=worker", vec!["group_by"]),
            ("backlog?group_by=team,worker", vec!["group_by"]),
            ("backlog?group_by=team,team", vec!["group_by"]),
            ("summary?group_by=team,team", vec!["group_by"]),
            ("summary?group_by=team,priority,tag", vec!["group_by"]),
            ("summary?group_by=team,colour", vec!["group_by"]),
            ("summary?group_by=team,", vec!["group_by"]),
            ("timeseries?interval=day&group_by=worker,worker", vec!["group_by"]),
            ("timeseries?interval=day&group_by=worker,tag,team", vec!["group_by"]),
        ] {
            let refused = desk.get(&format!("/v1/metrics/{path}")).by(&agent).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), pointers, "{path}");
        }
        let hours = "/v1/metrics/timeseries?interval=hour&from=2026-01-01T00:00:00.000000Z&to=";
        let read = desk.get(&format!("{hours}2026-03-25T08:00:00.000000Z")).by(&agent).expect(200).await.body;
        assert_eq!(read["series"][0]["points"].as_array().unwrap().len(), 2_000);
        desk.get(&format!("{hours}2026-03-25T08:00:01.000000Z")).by(&agent).refused(400, "invalid_query").await;
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
            assert_eq!(read["groups"][0]["key"], json!({ "assignee": { "id": who.id, "name": who.name } }));
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

    /// The largest groups are chosen from so many, in whatever way they are read, and from no more.
    async fn so_many_groups_are_read_and_no_more(desk) {
        let agent = desk.agent().await;
        desk.clock.go_to("2026-03-02T09:00:00.000000Z");
        desk.ticket(&agent, json!({ "tags": ["tag 1"] })).await;
        desk.clock.go_to("2026-03-02T10:00:00.000000Z");
        fold_all(desk).await;
        let is_sqlite = desk.db.engine() == "sqlite";
        let array = if is_sqlite { "json_group_array" } else { "jsonb_agg" };
        let numbers = |from: usize, to: usize| match is_sqlite {
            true => format!("WITH RECURSIVE n (value) AS (VALUES ({from}) UNION ALL SELECT value + 1 FROM n WHERE value < {to}) SELECT value FROM n"),
            false => format!("SELECT value FROM generate_series({from}, {to}) AS n (value)"),
        };
        // Groups from `from` to `to`: as cells, as counters, and as tags of the ticket and of what happened to it.
        let add = async |from: usize, to: usize| {
            let (all, new) = (numbers(1, to), numbers(from, to));
            desk.store.run(&format!(
                r#"INSERT INTO cells (axis, level, start, key, counts, durations)
                       SELECT axis, level, start, 'tag ' || value, counts, durations FROM cells, ({new}) AS new WHERE axis = 'tag' AND key = 'tag 1';
                   INSERT INTO tallies (series, labels, quarter, n)
                       SELECT series, replace(labels, '"tag 1"', '"tag ' || value || '"'), quarter, n FROM tallies, ({new}) AS new
                       WHERE series LIKE 'waiting_tag_%' AND labels LIKE '["tag 1"%';
                   UPDATE facts SET tags = (SELECT {array}('tag ' || value) FROM ({all}) AS every);
                   UPDATE tickets SET tags = (SELECT {array}('tag ' || value) FROM ({all}) AS every)"#
            )).await;
        };
        let window = "from=2026-03-02T09:00:00.000000Z&to=2026-03-02T10:00:00.000000Z";
        let paths = [
            format!("summary?{window}&group_by=tag"),
            format!("summary?{window}&group_by=tag,priority"),
            // Its edges are read fact by fact.
            "summary?from=2026-03-02T08:59:59.000000Z&to=2026-03-02T09:59:59.000000Z&group_by=tag".to_owned(),
            format!("timeseries?{window}&interval=hour&group_by=tag"),
            format!("timeseries?{window}&interval=hour&group_by=tag,team"),
            "backlog?group_by=tag".to_owned(),
            "backlog?group_by=tag,channel".to_owned(),
        ];
        add(2, 20_000).await;
        for path in &paths {
            let read = desk.get(&format!("/v1/metrics/{path}")).by(&agent).expect(200).await.body;
            let many = if path.starts_with("timeseries") { &read["series"] } else { &read["groups"] };
            assert_eq!((many.as_array().unwrap().len(), &read["truncated"]), (1_000, &json!(true)), "{path}");
        }
        add(20_001, 20_001).await;
        for path in &paths {
            let refused = desk.get(&format!("/v1/metrics/{path}")).by(&agent).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), ["group_by"], "{path}");
        }
        // Whoever asks for few of them is answered.
        for path in ["summary?tag=tag%201", "backlog?tag=tag%201", "timeseries?interval=day&tag=tag%201"] {
            desk.get(&format!("/v1/metrics/{path}")).by(&agent).expect(200).await;
        }
        let page = async |conn: &mut skranke::db::Conn| {
            skranke::tally::store::cells::from(conn, Some(GroupBy::Tag), Level::Hour, (0, None), i64::MAX, 500).await
        };
        assert_eq!(desk.db.read(page).await.unwrap().len(), 500, "no more is read at once");
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
            let keys: Vec<_> = read[many].as_array().unwrap().iter().map(|group| group["key"]["tag"].as_str().unwrap()).collect();
            assert_eq!((keys.len(), &read["truncated"], keys[999]), (1_000, &json!(true), "tag 1039"), "{path}");
            assert!(keys.is_sorted());
        }
        let hours = "/v1/metrics/timeseries?group_by=tag&interval=hour&from=2026-01-01T00:00:00.000000Z&to=2026-03-25T08:00:00.000000Z";
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
        for by in GROUPS {
            paths.push(format!("summary?{span}&group_by={by}"));
            paths.push(format!("timeseries?{span}&group_by={by}&interval=week"));
        }
        paths.extend(groups_of_backlog().map(|by| format!("backlog?group_by={by}&due_within_s=86400")));
        let mut ids: BTreeSet<(String, String)> =
            world.teams.iter().enumerate().map(|(i, id)| (id.clone(), format!("team {i}"))).collect();
        ids.extend(world.agents.iter().map(|agent| (agent.id.clone(), agent.name.clone())));
        let mut texts = Vec::new();
        for path in paths {
            for form in ["application/json", "text/csv"] {
                let ask = desk.get(&format!("/v1/metrics/{path}")).by(&world.monitor).header("accept", form);
                let mut text = ask.expect(200).await.text();
                for (id, name) in &ids {
                    text = text.replace(id, name);
                }
                texts.push(text);
            }
        }
        answers.push(texts);
        desk.close().await;
    }
    assert_eq!(answers[0], answers[1]);
}
