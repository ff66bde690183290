//! Edits of policies and calendars where many tickets are open: each follows when it is written or when its turn comes,
//! with the same result.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skranke::db::Db;
use skranke::kernel::{CalendarId, Problem};
use skranke::sla::domain::policy::VersionOf;
use skranke::sla::service::follow_edits;
use skranke::sla::store::configuration;

use crate::clocks::make_calendar;
use crate::on_both;
use crate::start::Place;
use crate::support::{Caller, Chance, Desk, Engine, Store, seed};

const POLICIES: &str = "/v1/sla/policies";

/// More tickets than an edit judges by itself.
const MANY: usize = 510;

/// Copies the ticket of this number, with its clocks and tags.
pub async fn copy(store: &Store, engine: &str, number: &Value, times: usize) {
    let columns = "subject, description, status, priority, type, channel, created_by_id, tags, custom_fields, updated_at, reported_at, \
                   reopen_count, version, followed_edit";
    let clocks = "policy_id, timeline, clocks, due_at, breach_at, last_resolved_at, response_business_s, first_reply_business_s, service_s, \
                  service_business_s, resolution_s, resolution_business_s, response_breach_at, first_reply_breach_at, \
                  service_breach_at, created_at";
    let (series, id) = match engine {
        "sqlite" => (
            format!("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {times})"),
            "randomblob(16)",
        ),
        _ => (format!("WITH s AS (SELECT generate_series(1, {times}) AS n)"), "gen_random_uuid()"),
    };
    let of_copy = clocks.replace("created_at", "c.created_at");
    store
        .run(&format!(
            "{series} INSERT INTO tickets ({columns}, id, created_at) SELECT {columns}, {id}, created_at FROM tickets, s WHERE number = {number};
             INSERT INTO ticket_clocks (ticket_number, {clocks}) SELECT t.number, {of_copy} FROM tickets t CROSS JOIN ticket_clocks c
             WHERE c.ticket_number = {number} AND NOT EXISTS (SELECT 1 FROM ticket_clocks own WHERE own.ticket_number = t.number);
             INSERT INTO ticket_tags (tag, created_at, ticket_number) SELECT g.tag, t.created_at, t.number FROM ticket_tags g CROSS JOIN tickets t
             WHERE g.ticket_number = {number} AND t.tags = (SELECT tags FROM tickets WHERE number = {number})
               AND NOT EXISTS (SELECT 1 FROM ticket_tags own WHERE own.ticket_number = t.number)"
        ))
        .await;
}

/// Tickets that no policy is for, so many that an edit leaves all to others.
async fn crowd(desk: &Desk, agent: &Caller) {
    let one = desk.ticket(agent, json!({ "tags": ["crowd"] })).await;
    copy(&desk.store, desk.db.engine(), &one["number"], MANY).await;
}

/// Lets all tickets follow; gives how many transactions it took.
async fn follow_all(desk: &Desk) -> usize {
    let mut steps = 0;
    while follow_edits(&desk.db, &desk.ids).await.unwrap() > 0 {
        steps += 1;
    }
    steps
}

fn targets(target_s: i64) -> Value {
    let target = |target: &str| json!({ "target": target, "target_s": target_s, "hours": "calendar" });
    json!([target("response"), target("first_reply"), target("service")])
}

async fn make(desk: &Desk, admin: &Caller, name: &str, condition: Value, target_s: i64) -> Value {
    let body = json!({ "name": name, "condition": condition, "targets": targets(target_s) });
    desk.post(POLICIES).by(admin).json(&body).expect(201).await.body
}

fn path(policy: &Value) -> String {
    format!("{POLICIES}/{}", policy["id"].as_str().unwrap())
}

async fn pending(desk: &Desk, admin: &Caller, policy: &Value) -> i64 {
    desk.get(&path(policy)).by(admin).expect(200).await.body["pending_tickets"].as_i64().unwrap()
}

/// What is told of how many are pending: in the list of policies, by Prometheus, and in reports.
async fn told_pending(desk: &Desk, admin: &Caller) -> Vec<i64> {
    let listed = desk.get(POLICIES).by(admin).expect(200).await.body["items"][0]["pending_tickets"].clone();
    let mut told = vec![listed.as_i64().unwrap()];
    let scraped = desk.get("/metrics").by(admin).expect(200).await.text();
    let gauge = scraped.lines().find_map(|line| line.strip_prefix("skranke_sla_pending_tickets ")).unwrap().to_owned();
    told.push(gauge.parse().unwrap());
    for report in ["summary", "timeseries?interval=day", "backlog"] {
        let body = desk.get(&format!("/v1/metrics/{report}")).by(admin).expect(200).await.body;
        told.push(body["pending_tickets"].as_i64().unwrap());
    }
    told
}

/// Of a clock: its target, the version of its policy, its state and when it is due.
type Told = (String, i64, String, Value);

fn clocks(ticket: &Value) -> Vec<Told> {
    let clock = |clock: &Value| {
        let word = |field: &str| clock[field].as_str().unwrap().to_owned();
        (word("target"), clock["policy_version"].as_i64().unwrap(), word("state"), clock["due_at"].clone())
    };
    ticket["clocks"].as_array().unwrap().iter().map(clock).collect()
}

fn versions(ticket: &Value) -> Vec<i64> {
    clocks(ticket).into_iter().map(|(_, version, ..)| version).collect()
}

on_both! {
    /// Whatever waits says so, and whoever is written follows.
    async fn few_tickets_follow_at_once_and_many_one_by_one(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let policy = make(desk, &admin, "Everything", json!({}), 3_600).await;
        let (one, two) = (desk.ticket(&agent, json!({})).await, desk.ticket(&agent, json!({})).await);
        let edited = desk.patch(&path(&policy)).by(&admin).json(&json!({ "targets": targets(7_200) })).expect(200).await.body;
        assert_eq!((&edited["version"], &edited["pending_tickets"]), (&json!(2), &json!(0)));
        assert_eq!(versions(&desk.read_ticket(&agent, &one).await), [2, 2, 2]);

        copy(&desk.store, desk.db.engine(), &one["number"], MANY).await;
        let all = i64::try_from(MANY).unwrap() + 2;
        let (url, heard) = desk.listened();
        let body = json!({ "targets": targets(10_800) });
        let edited = desk.ask_at(&url, "PATCH".parse().unwrap(), &path(&policy)).by(&admin).json(&body).expect(200).await.body;
        assert_eq!((&edited["version"], &edited["pending_tickets"]), (&json!(3), &json!(all)));
        let statements = heard.lock().unwrap().len();
        assert!(statements < 40, "an edit costs the same however many tickets there are: {statements} statements");
        assert_eq!(told_pending(desk, &admin).await, [all; 5]);
        // It says what it is judged by, until it is written.
        let waiting = desk.read_ticket(&agent, &one).await;
        assert_eq!((versions(&waiting), &waiting["version"]), (vec![2, 2, 2], &json!(2)));
        let written = desk.patch_ticket(&agent, &one, json!({ "priority": "high" })).await;
        assert_eq!((versions(&written), &written["version"]), (vec![3, 3, 3], &json!(3)));
        assert_eq!(pending(desk, &admin, &policy).await, all - 1);
        // A new one is judged by what holds now, and one that is closed is judged no more.
        assert_eq!(versions(&desk.ticket(&agent, json!({})).await), [3, 3, 3]);
        assert_eq!(pending(desk, &admin, &policy).await, all - 1);

        let before = desk.read_ticket(&agent, &two).await;
        let steps = follow_all(desk).await;
        assert!(steps >= 5, "in short transactions: {steps}");
        assert_eq!(told_pending(desk, &admin).await, [0; 5]);
        let after = desk.read_ticket(&agent, &two).await;
        assert_eq!((versions(&after), after["version"].as_i64().unwrap()), (vec![3, 3, 3], before["version"].as_i64().unwrap() + 1));
        for ticket in desk.all(&agent, "/v1/tickets?limit=200").await {
            assert_eq!(versions(&ticket), [3, 3, 3]);
        }
        assert_eq!(follow_all(desk).await, 0);
    }

    /// What has happened since the edit does not count: it is judged as it was then.
    async fn a_ticket_is_judged_as_of_the_instant_of_the_edit(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        crowd(desk, &agent).await;
        let tagged = |tag: &str| json!({ "tags": [tag] });
        let (longer, shorter) = (make(desk, &admin, "Longer", tagged("l"), 600).await, make(desk, &admin, "Shorter", tagged("s"), 7_200).await);
        follow_all(desk).await;
        desk.clock.go_to("2026-03-02T09:00:00.000000Z");
        let mut tickets = Vec::new();
        for tag in ["l", "s", "l", "s"] {
            tickets.push(desk.ticket(&agent, json!({ "tags": [tag] })).await);
        }
        desk.clock.go_to("2026-03-02T09:05:00.000000Z");
        // Within 2 hours instead of 10 minutes, and within a minute instead of 2 hours.
        desk.patch(&path(&longer)).by(&admin).json(&json!({ "targets": targets(7_200) })).expect(200).await;
        desk.patch(&path(&shorter)).by(&admin).json(&json!({ "targets": targets(60) })).expect(200).await;
        desk.clock.go_to("2026-03-02T09:30:00.000000Z");
        let breached = async || {
            let mut numbers: Vec<_> = desk.all(&agent, "/v1/tickets?sla=breached").await.iter().map(|t| t["number"].as_i64().unwrap()).collect();
            numbers.sort_unstable();
            numbers
        };
        let numbers = |nths: [usize; 2]| nths.map(|nth| tickets[nth]["number"].as_i64().unwrap());
        // What waits says what it said.
        assert_eq!(breached().await, numbers([0, 2]));
        let response = async |nth: usize| clocks(&desk.read_ticket(&agent, &tickets[nth]).await)[0].clone();
        let was: [Told; 2] = [
            ("response".into(), 1, "breached".into(), json!("2026-03-02T09:10:00.000000Z")),
            ("response".into(), 1, "running".into(), json!("2026-03-02T11:00:00.000000Z")),
        ];
        assert_eq!([response(0).await, response(1).await], was);
        // The first two are written, the others have their turn.
        for ticket in &tickets[..2] {
            desk.patch_ticket(&agent, ticket, json!({ "assignee_id": agent.id })).await;
        }
        desk.clock.pass_s(60);
        follow_all(desk).await;
        for nth in 0..4 {
            let expected: Told = match nth % 2 {
                0 => ("response".into(), 2, "running".into(), json!("2026-03-02T11:00:00.000000Z")),
                _ => ("response".into(), 2, "breached".into(), json!("2026-03-02T09:01:00.000000Z")),
            };
            assert_eq!(response(nth).await, expected, "the one of place {nth}");
        }
        assert_eq!(breached().await, numbers([1, 3]));
        // It was broken by the edit, at 9:05, not when its turn came.
        let of_hour = |from: &str, to: &str| format!("/v1/metrics/summary?from={from}&to={to}&group_by=policy");
        let at_the_edit = desk.get(&of_hour("2026-03-02T09:05:00.000000Z", "2026-03-02T09:05:01.000000Z")).by(&agent).expect(200).await.body;
        let later = desk.get(&of_hour("2026-03-02T09:05:01.000000Z", "2026-03-02T10:00:00.000000Z")).by(&agent).expect(200).await.body;
        let count = |body: &Value| body["total"]["sla"]["response"]["breached"].as_i64();
        assert_eq!((count(&at_the_edit), count(&later)), (Some(2), Some(0)), "{at_the_edit} {later}");
    }

    /// However many edits wait, there are not more and more of them.
    async fn an_edit_is_dated_when_it_has_its_turn(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let policy = make(desk, &admin, "Fast", json!({ "tags": ["fast"] }), 60).await;
        // Another writes, and is not done.
        let hold = desk.store.hold_configuration().await;
        let change = json!({ "condition": { "tags": ["printer"] } });
        let edit = desk.patch(&path(&policy)).by(&admin).json(&change).expect(200);
        let meanwhile = async {
            crate::start::until("the edit to wait", async || {
                let scraped = desk.get("/metrics").by(&admin).expect(200).await.text();
                scraped.contains("skranke_http_requests_in_flight 2\n").then_some(())
            })
            .await;
            desk.clock.pass_s(10);
            let now = desk.clock.now();
            if desk.db.is_shared() {
                desk.ticket(&agent, json!({ "subject": "Opened while the edit waits", "tags": ["printer"] })).await;
            }
            hold.release().await;
            now
        };
        let (edited, now) = tokio::join!(edit, meanwhile);
        let at = edited.body["updated_at"].as_str().unwrap();
        assert!(at.parse::<skranke::kernel::Instant>().unwrap() >= now, "{at} is before {now}");
        // So nothing of a ticket happens before it is opened.
        let to = skranke::kernel::Instant::from_micros(now.micros() + 1);
        desk.clock.pass_s(10);
        let path = format!("/v1/metrics/timeseries?interval=day&group_by=policy&from=2026-03-01T00:00:00.000000Z&to={to}");
        let told = desk.get(&path).by(&admin).expect(200).await;
        let series = told.body["series"].as_array().unwrap();
        let points = series.iter().flat_map(|series| series["points"].as_array().unwrap());
        assert!(points.clone().all(|point| point["backlog"].as_i64().unwrap() >= 0), "{}", told.text());
    }

    async fn an_edit_is_refused_while_a_hundred_wait(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let policy = make(desk, &admin, "Everything", json!({}), 1_000_000).await;
        crowd(desk, &agent).await;
        let edit = |nth: i64| desk.patch(&path(&policy)).by(&admin).json(&json!({ "targets": targets(1_000_000 + nth) }));
        for nth in 1..=100 {
            edit(nth).expect(200).await;
        }
        edit(101).refused(503, "unavailable").await;
        assert_eq!(desk.get(&path(&policy)).by(&admin).expect(200).await.body["version"], 101);
        // A ticket follows all of them when it is written.
        let waiting = desk.all(&agent, "/v1/tickets?limit=1").await.remove(0);
        assert_eq!(versions(&waiting), [1, 1, 1]);
        assert_eq!(versions(&desk.patch_ticket(&agent, &waiting, json!({ "priority": "low" })).await), [101, 101, 101]);
        assert!(follow_all(desk).await >= MANY, "ten edits are followed at once, and ten tickets at a time");
        assert_eq!(pending(desk, &admin, &policy).await, 0);
        assert_eq!(edit(101).expect(200).await.body["version"], 102);
    }

    /// What a failed change of a calendar has read is not what the next one stores.
    async fn what_was_not_committed_is_kept_nowhere(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let calendar = make_calendar(desk, &json!({ "name": "Days", "time_zone": "UTC", "working_hours": days(&["monday"]) })).await;
        let rule = json!({ "target": "response", "target_s": 7_200, "hours": "business" });
        desk.post(POLICIES).by(&admin).json(&json!({ "name": "By the calendar", "calendar_id": calendar, "targets": [rule] })).expect(201).await;
        let ticket = desk.ticket(&agent, json!({})).await;

        // A second version is made and read, and its transaction does not end well.
        let id: CalendarId = calendar.parse().unwrap();
        let definition = match desk.db.engine() {
            "sqlite" => "replace(definition, 'monday', 'sunday')",
            _ => "CAST(replace(CAST(definition AS text), 'monday', 'sunday') AS jsonb)",
        };
        let insert = format!(
            "INSERT INTO calendar_versions (calendar_id, version, definition, created_at) SELECT calendar_id, 2, {definition}, created_at FROM calendar_versions"
        );
        let failed = desk
            .db
            .write_alone(async move |tx| {
                tx.batch(&insert).await?;
                assert_eq!(configuration::calendar_set(tx, [VersionOf { id, version: 2 }]).await?.0.len(), 1);
                Err::<(), _>(Problem::unavailable("the commit fails"))
            })
            .await;
        assert!(failed.is_err());
        let path = format!("/v1/sla/calendars/{calendar}");
        desk.patch(&path).by(&admin).json(&json!({ "working_hours": days(&["monday", "tuesday"]) })).expect(200).await;
        desk.clock.pass_s(1_800);
        let clock = &desk.read_ticket(&agent, &ticket).await["clocks"][0];
        assert_eq!((&clock["calendar_version"], &clock["elapsed_s"]), (&json!(2), &json!(1_800)), "{clock}");
    }
}

/// All day on these days.
fn days(days: &[&str]) -> Value {
    let all_day = json!([{ "from": "00:00", "to": "24:00" }]);
    Value::Object(days.iter().map(|day| ((*day).to_owned(), all_day.clone())).collect())
}

/// When tickets follow edits.
#[derive(Debug, Clone, Copy, PartialEq)]
enum When {
    /// At once.
    AtOnce,
    /// Some of them now and then.
    NowAndThen,
    /// When they are written, and the rest in the end.
    Late,
}

/// A desk on which a history happens.
struct Stage {
    desk: Desk,
    when: When,
    admin: Caller,
    agent: Caller,
    ada: Caller,
    calendar: String,
    policies: Vec<Value>,
    tickets: Vec<Value>,
}

impl Stage {
    async fn open(engine: Engine, when: When) -> Self {
        let desk = Desk::open(engine).await;
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        crowd(&desk, &agent).await;
        let calendar =
            make_calendar(&desk, &json!({ "name": "Days", "time_zone": "UTC", "working_hours": days(&["monday"]) }))
                .await;
        Self { desk, when, admin, agent, ada, calendar, policies: Vec::new(), tickets: Vec::new() }
    }

    /// Does the next thing, whatever chance says; gives how it was answered.
    async fn step(&mut self, chance: &mut Chance) -> u16 {
        const STATUSES: [&str; 5] = ["open", "waiting_requester", "waiting_third_party", "resolved", "closed"];
        let desk = &self.desk;
        desk.clock.pass_s(1 + chance.below(1_500) as i64);
        let hours = |chance: &mut Chance| *chance.of(&["calendar", "business"]);
        let rules = |chance: &mut Chance| {
            let mut rule = |target: &str| json!({ "target": target, "target_s": 60 + chance.below(9_000), "hours": hours(chance) });
            json!([rule("response"), rule("first_reply"), rule("service")])
        };
        let condition = |chance: &mut Chance| match chance.below(3) {
            0 => json!({ "priorities": ["high"] }),
            1 => json!({ "tags": ["vip"] }),
            _ => json!({ "channels": ["phone", "web"] }),
        };
        let (what, which, other) = (chance.below(20), chance.below(1 << 20), chance.below(1 << 20));
        let policy = (!self.policies.is_empty()).then(|| which % self.policies.len());
        let ticket =
            self.tickets.get(which % self.tickets.len().max(1)).map(|t| format!("/v1/tickets/{}", t["number"]));
        let asked = match (what, policy, ticket) {
            (0 | 1, ..) | (2..=5, None, _) => {
                let body = json!({ "name": format!("policy {}", desk.nth()), "position": other % 4, "calendar_id": self.calendar,
                    "condition": condition(chance), "targets": rules(chance) });
                let made = desk.post(POLICIES).by(&self.admin).json(&body).expect(201).await;
                self.policies.push(made.body);
                return self.edited().await;
            }
            (2 | 3, Some(nth), _) => {
                let body = match other % 3 {
                    0 => json!({ "targets": rules(chance) }),
                    1 => json!({ "position": chance.below(4) }),
                    _ => json!({ "condition": condition(chance) }),
                };
                desk.patch(&path(&self.policies[nth])).by(&self.admin).json(&body).expect(200).await;
                return self.edited().await;
            }
            (4, Some(nth), _) if self.policies.len() > 2 => {
                let gone = self.policies.remove(nth);
                desk.delete(&path(&gone)).by(&self.admin).expect(204).await;
                return self.edited().await;
            }
            (4 | 5, ..) => {
                let hours = if other % 2 == 0 {
                    days(&["monday"])
                } else {
                    json!({ "monday": [{ "from": "09:00", "to": "13:30" }], "tuesday": [{ "from": "07:00", "to": "19:00" }] })
                };
                let body = json!({ "working_hours": hours, "is_default": chance.below(2) == 0 });
                desk.patch(&format!("/v1/sla/calendars/{}", self.calendar))
                    .by(&self.admin)
                    .json(&body)
                    .expect(200)
                    .await;
                return self.edited().await;
            }
            (6..=9, ..) | (_, _, None) => {
                let reported = desk.clock.now().plus_s(-(chance.below(4_000) as i64));
                let body = json!({ "subject": "s", "priority": chance.of(&["low", "high", "urgent"]), "channel": chance.of(&["phone", "web", "api"]),
                    "tags": if other % 2 == 0 { json!(["vip"]) } else { json!([]) }, "reported_at": reported, "requester_id": self.ada.id });
                let made = desk.post("/v1/tickets").by(&self.agent).json(&body).expect(201).await;
                self.tickets.push(made.body);
                return 201;
            }
            (10..=14, _, Some(path)) => {
                desk.patch(&path).by(&self.agent).json(&json!({ "status": chance.of(&STATUSES) }))
            }
            (15, _, Some(path)) => {
                desk.patch(&path).by(&self.agent).json(&json!({ "priority": chance.of(&["low", "high"]) }))
            }
            (16, _, Some(path)) => desk
                .patch(&path)
                .by(&self.agent)
                .json(&json!({ "tags": if other % 2 == 0 { json!(["vip"]) } else { json!([]) } })),
            (17, _, Some(path)) => {
                let who = if other % 2 == 0 { &self.agent } else { &self.ada };
                desk.post(&format!("{path}/comments")).by(who).json(&json!({ "body": "b", "visibility": "public" }))
            }
            (18, _, Some(path)) => {
                let body = json!({ "work_s": 60 + other % 900, "worked_at": desk.clock.now() });
                desk.post(&format!("{path}/time-entries")).by(&self.agent).json(&body)
            }
            (_, _, Some(path)) => desk.patch(&path).by(&self.agent).json(&json!({ "subject": format!("s {other}") })),
        };
        let status = asked.send().await.status.as_u16();
        if self.when == When::NowAndThen && other % 4 == 0 {
            follow_edits(&desk.db, &desk.ids).await.unwrap();
        }
        // What time has broken is written down, but not of tickets for which an edit may still prevent it.
        if self.when != When::AtOnce && other % 3 == 0 {
            desk.write_down_breaches(3).await;
        }
        status
    }

    async fn edited(&self) -> u16 {
        match self.when {
            When::AtOnce => drop(follow_all(&self.desk).await),
            When::NowAndThen => drop(follow_edits(&self.desk.db, &self.desk.ids).await.unwrap()),
            When::Late => {}
        }
        200
    }

    /// All that clocks, figures and lists tell, without ids and without what each change of a ticket counts.
    async fn told(&self) -> BTreeMap<String, Value> {
        follow_all(&self.desk).await;
        let ids = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
        let plain = |text: &str| serde_json::from_str::<Value>(&ids.replace_all(text, "")).unwrap();
        let mut told = BTreeMap::new();
        for ticket in &self.tickets {
            let path = format!("/v1/tickets/{}", ticket["number"]);
            let mut ticket = plain(&self.desk.get(&path).by(&self.agent).expect(200).await.text());
            for moves in ["version", "updated_at", "activity_at"] {
                ticket.as_object_mut().unwrap().remove(moves);
            }
            told.insert(path.clone(), ticket);
            let path = format!("{path}/sla");
            told.insert(path.clone(), plain(&self.desk.get(&path).by(&self.agent).expect(200).await.text()));
        }
        for list in ["sla=breached", "sla=due_within:3600", "sort=due_at"] {
            let tickets = self.desk.all(&self.agent, &format!("/v1/tickets?limit=200&type=incident&{list}")).await;
            let numbers = tickets.iter().map(|t| t["number"].clone()).collect();
            told.insert(list.into(), Value::Array(numbers));
        }
        for report in
            ["summary?group_by=policy", "summary?group_by=tag", "timeseries?interval=hour", "backlog?group_by=policy"]
        {
            let path = format!("/v1/metrics/{report}");
            told.insert(path.clone(), plain(&self.desk.get(&path).by(&self.agent).expect(200).await.text()));
        }
        let scraped = self.desk.get("/metrics").by(&self.agent).expect(200).await.text();
        let ours = |line: &&str| {
            ["skranke_sla_", "skranke_tickets", "skranke_response", "skranke_service"]
                .iter()
                .any(|name| line.starts_with(name))
        };
        told.insert("/metrics".into(), scraped.lines().filter(ours).collect());
        told
    }
}

/// The same history at three desks, whose tickets follow edits at different times: in the end all is the same.
async fn whoever_comes_first(engine: Engine) {
    let seed = seed();
    let mut stages = Vec::new();
    for when in [When::AtOnce, When::NowAndThen, When::Late] {
        stages.push(Stage::open(engine, when).await);
    }
    let mut chances = [Chance(seed), Chance(seed), Chance(seed)];
    let mut waited = 0;
    for nth in 0..120 {
        let mut answers = Vec::new();
        for (stage, chance) in stages.iter_mut().zip(&mut chances) {
            answers.push(stage.step(chance).await);
        }
        assert!(answers.iter().all(|status| *status == answers[0]), "step {nth}: {answers:?}");
        let late = &stages[2];
        let backlog = late.desk.get("/v1/metrics/backlog").by(&late.admin).expect(200).await.body;
        waited += backlog["pending_tickets"].as_i64().unwrap();
        if nth % 10 == 0 {
            for stage in &stages {
                stage.desk.rows_are_right().await;
            }
        }
    }
    assert!(waited > 0);
    let first = stages[0].told().await;
    for stage in &stages[1..] {
        for (what, told) in stage.told().await {
            assert_eq!(told, first[&what], "{what}, {:?}", stage.when);
        }
    }
    for stage in stages {
        stage.desk.rows_are_right().await;
        stage.desk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_comes_to_the_same_on_sqlite() {
    whoever_comes_first(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_first_comes_to_the_same_on_postgres() {
    whoever_comes_first(Engine::Postgres).await;
}

/// How many tickets are open when the process is killed.
const ALL: usize = 3_000;

/// The process is killed while tickets follow, and goes on where it was.
async fn killed_halfway(engine: Engine) {
    let store = Store::make(engine).await;
    let name = if engine == Engine::Sqlite { "sqlite" } else { "postgres" };
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let mut server = place.start().await;
    let admin = place.person("admin").await;
    let body = json!({ "name": "Everything", "targets": targets(100_000) });
    let policy = server.post(POLICIES).by(&admin).json(&body).expect(201).await.body;
    let ticket = server.open(&admin).await.body;
    copy(&store, name, &ticket["number"], ALL - 1).await;
    let edit = json!({ "targets": targets(200_000) });
    let edited = server.ask("PATCH".parse().unwrap(), &path(&policy)).by(&admin).json(&edit).expect(200).await.body;
    assert_eq!(edited["pending_tickets"], ALL);
    let pending = async |server: &crate::start::Server| {
        let policy = server.get(&path(&policy)).by(&admin).expect(200).await.body;
        usize::try_from(policy["pending_tickets"].as_u64().unwrap()).unwrap()
    };
    let begun = Instant::now();
    let left = loop {
        match pending(&server).await {
            ALL => assert!(begun.elapsed() < Duration::from_secs(60), "nothing follows"),
            left => break left,
        }
    };
    server.process.kill();
    assert!(left > 0, "it was killed too late to show anything");
    let server = place.start().await;
    while pending(&server).await > 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it does not go on");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut cursor = String::new();
    let mut seen = 0;
    loop {
        let page = server.get(&format!("/v1/tickets?limit=200{cursor}")).by(&admin).expect(200).await.body;
        for ticket in page["items"].as_array().unwrap() {
            assert_eq!(versions(ticket), [2, 2, 2]);
            seen += 1;
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ALL);
    server.stop().await;
    store.is_sound();
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_killed_on_sqlite() {
    killed_halfway(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_on_where_it_was_killed_on_postgres() {
    killed_halfway(Engine::Postgres).await;
}

/// Several instances let tickets follow while others write them: nobody is refused, and every ticket follows once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_instances_do_not_get_in_each_others_way() {
    let desk = Desk::open(Engine::Postgres).await;
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    let policy = make(&desk, &admin, "Everything", json!({}), 100_000).await;
    let ticket = desk.ticket(&agent, json!({})).await;
    copy(&desk.store, "postgres", &ticket["number"], MANY).await;
    desk.patch(&path(&policy)).by(&admin).json(&json!({ "targets": targets(200_000) })).expect(200).await;
    let others = [0, 1].map(|_| Db::open(&desk.store.url, 4, Duration::from_secs(5)).unwrap());
    let follow = async |db: &Db| {
        let mut followed = 0;
        while pending(&desk, &admin, &policy).await > 0 {
            followed += follow_edits(db, &desk.ids).await.unwrap();
        }
        followed
    };
    let write = async {
        let mut written = 0;
        for ticket in desk.all(&agent, "/v1/tickets?limit=200").await.iter().step_by(9) {
            let after = desk.patch_ticket(&agent, ticket, json!({ "priority": "high" })).await;
            assert_eq!(versions(&after), [2, 2, 2]);
            written += 1;
        }
        written
    };
    let (a, b, written) = tokio::join!(follow(&others[0]), follow(&others[1]), write);
    assert!(a + b <= MANY + 1 && a + b + written > MANY, "{a} and {b} of {MANY}, with {written} written");
    for ticket in desk.all(&agent, "/v1/tickets?limit=200").await {
        assert_eq!(versions(&ticket), [2, 2, 2]);
    }
    desk.close().await;
}

/// How many tickets are open on the full desk: `SKRANKE_TEST_TICKETS` says more.
fn full() -> usize {
    std::env::var("SKRANKE_TEST_TICKETS").map_or(3_000, |tickets| tickets.parse().unwrap())
}

/// An edit where many tickets are open, and writes all the while that they follow.
#[expect(clippy::print_stdout, reason = "the figures of the long form")]
async fn nobody_waits(engine: Engine) {
    let desk = Desk::open(engine).await;
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    let policy = make(&desk, &admin, "Everything", json!({}), 100_000).await;
    let ticket = desk.ticket(&agent, json!({})).await;
    copy(&desk.store, desk.db.engine(), &ticket["number"], full()).await;
    let subjects = desk.all(&agent, "/v1/tickets?limit=200&sort=created_at").await;
    let subjects: Vec<_> = subjects.iter().take(1_000).collect();
    let (db, over) = (desk.db.patient(), std::sync::atomic::AtomicBool::new(false));
    let is_over = || over.load(std::sync::atomic::Ordering::SeqCst);
    let timed = async |nth: usize| {
        let begun = Instant::now();
        let priority = if (nth / subjects.len()).is_multiple_of(2) { "low" } else { "high" };
        desk.patch_ticket(&agent, subjects[nth % subjects.len()], json!({ "priority": priority })).await;
        begun.elapsed()
    };
    // What a write takes when nothing else goes on.
    let mut idle = Duration::ZERO;
    for nth in 0..50 {
        idle = idle.max(timed(nth).await);
    }
    let write = async {
        let (mut longest, mut nth) = (Duration::ZERO, 0);
        while !is_over() {
            longest = longest.max(timed(nth).await);
            nth += 1;
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
        (longest, nth)
    };
    let edit = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        desk.patch(&path(&policy)).by(&admin).json(&json!({ "targets": targets(200_000) })).expect(200).await;
        let edited = begun.elapsed();
        while follow_edits(&db, &desk.ids).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        over.store(true, std::sync::atomic::Ordering::SeqCst);
        (edited, begun.elapsed())
    };
    let ((longest, writes), (edited, followed)) = tokio::join!(write, edit);
    println!(
        "{engine:?}: {} tickets; the edit took {edited:?}, all followed after {followed:?}; of {writes} writes meanwhile the longest took {longest:?}, of 50 before {idle:?}",
        full()
    );
    assert_eq!(pending(&desk, &admin, &policy).await, 0);
    // Ten times what has to hold on a machine that does nothing else, with a build that is not optimised.
    assert!(edited < Duration::from_secs(5) && longest < Duration::from_millis(2_500), "{edited:?} {longest:?}");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_an_edit_on_sqlite() {
    nobody_waits(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_an_edit_on_postgres() {
    nobody_waits(Engine::Postgres).await;
}
