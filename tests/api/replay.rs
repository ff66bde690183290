//! The trail of a ticket and the versions of what was configured tell its clocks: whoever replays them comes to what is
//! stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use skranke::kernel::{CalendarId, Instant, PolicyId};
use skranke::sla::domain::calendar::{Calendar, Definition};
use skranke::sla::domain::clock::{Occasion, Times};
use skranke::sla::domain::policy::{CalendarSet, Policy, SlaConfiguration, Traits, VersionOf};
use skranke::sla::wire::clocks::{ClockBody, DurationsBody};

use crate::on_both;
use crate::support::{Caller, Chance, Desk, seed, unnamed};

fn instant(value: &Value) -> Instant {
    value.as_str().unwrap().parse().unwrap()
}

fn parsed<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// All that was ever configured.
pub struct Configured {
    policies: BTreeMap<PolicyId, Vec<Value>>,
    calendars: BTreeMap<CalendarId, Vec<Value>>,
    pub calendar_set: CalendarSet,
}

impl Configured {
    pub async fn read(desk: &Desk, admin: &Caller) -> Self {
        let mut all =
            Self { policies: BTreeMap::new(), calendars: BTreeMap::new(), calendar_set: CalendarSet::default() };
        for policy in desk.all(admin, "/v1/sla/policies").await {
            let versions = format!("/v1/sla/policies/{}/versions", policy["id"].as_str().unwrap());
            all.policies.insert(parsed(&policy["id"]), desk.all(admin, &versions).await);
        }
        for calendar in desk.all(admin, "/v1/sla/calendars").await {
            let id = parsed(&calendar["id"]);
            let path = format!("/v1/sla/calendars/{}/versions", calendar["id"].as_str().unwrap());
            let versions = desk.all(admin, &path).await;
            for version in &versions {
                let holidays: serde_json::Map<_, _> = version["holidays"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|day| (day["date"].as_str().unwrap().to_owned(), day["name"].clone()))
                    .collect();
                let definition: Definition = parsed(&json!({
                    "time_zone": version["time_zone"], "working_hours": version["working_hours"], "holidays": holidays,
                }));
                let of = VersionOf { id, version: version["version"].as_i64().unwrap() };
                all.calendar_set.0.insert(of, Arc::new(Calendar::new(&definition).unwrap()));
            }
            all.calendars.insert(id, versions);
        }
        all
    }

    /// When anything was changed.
    fn instants(&self) -> BTreeSet<Instant> {
        self.policies
            .values()
            .chain(self.calendars.values())
            .flatten()
            .map(|version| instant(&version["created_at"]))
            .collect()
    }

    /// What held at an instant.
    fn configuration(&self, at: Instant) -> SlaConfiguration {
        let holding = |versions: &Vec<Value>| {
            versions.iter().filter(|v| instant(&v["created_at"]) <= at).max_by_key(|v| v["version"].as_i64()).cloned()
        };
        let mut configuration =
            SlaConfiguration { calendar_set: self.calendar_set.clone(), ..SlaConfiguration::default() };
        for (id, versions) in &self.policies {
            if let Some(version) = holding(versions) {
                let of = VersionOf { id: *id, version: version["version"].as_i64().unwrap() };
                configuration.policies.push(Policy { of, definition: parsed(&version) });
            }
        }
        configuration.policies.sort_by_key(|policy| (policy.definition.position, policy.of.id));
        for (id, versions) in &self.calendars {
            if let Some(version) = holding(versions) {
                configuration.calendars.insert(*id, version["version"].as_i64().unwrap());
            }
        }
        configuration
    }
}

/// What a ticket's fields say of it.
fn traits(fields: &Fields) -> Traits {
    Traits {
        team_id: parsed(&fields["team_id"]),
        priority: parsed(&fields["priority"]),
        kind: parsed(&fields["type"]),
        channel: parsed(&fields["channel"]),
        tags: parsed(&fields["tags"]),
    }
}

/// The fields of a ticket by their names, as its trail tells them.
pub type Fields = serde_json::Map<String, Value>;

/// Something that happened to a ticket: an entry of its trail, or a change of what was configured.
pub struct Step<'a> {
    /// When.
    pub at: Instant,
    /// The entry; none if it was configured.
    pub event: Option<&'a Value>,
    /// The ticket before, if it was there.
    pub before: Option<(&'a Fields, &'a Times)>,
    /// And after it.
    pub after: (&'a Fields, &'a Times),
}

/// The times of a ticket by its trail alone; `each` hears of every step.
pub fn replay(events: &[Value], configured: &Configured, mut each: impl FnMut(Step<'_>)) -> Times {
    let mut fields: Fields =
        ["team_id", "assignee_id", "first_replied_at"].map(|name| (name.to_owned(), Value::Null)).into_iter().collect();
    let mut times: Option<Times> = None;
    let mut changes: Vec<Instant> = configured.instants().into_iter().rev().collect();
    let judge = |times: &mut Times, fields: &Fields, occasion, at| {
        times.judge(&traits(fields), &configured.configuration(at), &configured.calendar_set, occasion, at);
    };
    for event in events.iter().map(Some).chain([None]) {
        while changes.last().is_some_and(|at| event.is_none_or(|event| *at <= instant(&event["at"]))) {
            let at = changes.pop().unwrap();
            if let Some(times) = times.as_mut().filter(|_| fields["status"] != "closed") {
                let was = times.clone();
                judge(times, &fields, Occasion::Configuration, at);
                each(Step { at, event: None, before: Some((&fields, &was)), after: (&fields, times) });
            }
        }
        let Some(event) = event else { continue };
        let (before, was) = (fields.clone(), times.clone());
        for change in event["changes"].as_array().unwrap() {
            fields.insert(change["field"].as_str().unwrap().into(), change["after"].clone());
        }
        let at = instant(&event["at"]);
        if before != fields {
            let same = times.is_some() && traits(&before) == traits(&fields);
            let occasion = if same { Occasion::Step } else { Occasion::Ticket };
            let times = times.get_or_insert_with(|| Times::new(instant(&fields["reported_at"])));
            times.step(parsed(&fields["status"]), at);
            times.timeline.first_replied_at = fields["first_replied_at"].as_str().map(|text| text.parse().unwrap());
            judge(times, &fields, occasion, at);
        }
        let before = was.as_ref().map(|was| (&before, was));
        each(Step { at, event: Some(event), before, after: (&fields, times.as_ref().unwrap()) });
    }
    times.unwrap()
}

/// Lives through a history in which policies and calendars change as tickets do; does `each` before every step.
pub async fn live(desk: &Desk, chance: &mut Chance, steps: usize, each: &impl AsyncFn()) -> Caller {
    let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
    let team =
        desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Printers" })).expect(201).await.body["id"].clone();
    let hours = |chance: &mut Chance| {
        let mut week = json!({ "friday": [{ "from": "22:00", "to": "02:00" }] });
        for day in ["monday", "tuesday", "wednesday", "thursday"] {
            week[day] = json!([{ "from": "08:00", "to": chance.of(&["11:30", "16:00", "17:15"]) }]);
        }
        json!({ "time_zone": chance.of(&["Europe/Oslo", "Asia/Kathmandu"]), "working_hours": week,
            "holidays": [{ "date": "2026-03-04", "name": "Day off" }] })
    };
    let mut calendar = hours(chance);
    calendar["name"] = json!("Office");
    let calendar = desk.post("/v1/sla/calendars").by(&admin).json(&calendar).expect(201).await.body["id"].clone();
    let targets = |chance: &mut Chance| {
        let rule = |chance: &mut Chance, target: &str, priority: Value| {
            json!({
                "target": target, "priority": priority, "target_s": 60 * (1 + chance.below(2_000)), "hours": chance.of(&["calendar", "business"]),
            })
        };
        let mut targets = vec![rule(chance, "response", Value::Null), rule(chance, "service", json!("urgent"))];
        if chance.below(2) == 0 {
            targets.push(rule(chance, "first_reply", Value::Null));
            targets.push(rule(chance, "service", Value::Null));
        }
        json!(targets)
    };
    let conditions =
        [json!({}), json!({ "team_ids": [team] }), json!({ "priorities": ["high", "urgent"], "tags": ["vip"] })];
    let mut policies = Vec::new();
    let mut made = 0;
    for _ in 0..steps {
        each().await;
        desk.clock.pass_s(1 + chance.below(20_000) as i64);
        let ticket = format!("/v1/tickets/{}", 1 + chance.below(usize::max(made, 1)));
        let priority = *chance.of(&["low", "normal", "high", "urgent"]);
        match chance.below(if made < 3 { 3 } else { 14 }) {
            0..=2 => {
                made += 1;
                let back_s = [0, 0, 0, 90_000][chance.below(4)];
                let reported_at = Instant::from_micros(desk.clock.now().micros()).plus_s(-back_s);
                desk.ticket(
                    &agent,
                    json!({ "priority": priority, "requester_id": ada.id, "reported_at": reported_at }),
                )
                .await;
            }
            3..=6 => {
                let status =
                    *chance.of(&["open", "open", "waiting_requester", "waiting_third_party", "resolved", "closed"]);
                desk.patch(&ticket).by(&agent).json(&json!({ "status": status })).send().await;
            }
            7 | 8 => {
                let who = if chance.below(2) == 0 { &agent } else { &ada };
                desk.post(&format!("{ticket}/comments"))
                    .by(who)
                    .json(&json!({ "body": "b", "visibility": "public" }))
                    .send()
                    .await;
            }
            9 | 10 => {
                let patches = [
                    json!({ "priority": priority }),
                    json!({ "team_id": team }),
                    json!({ "team_id": null }),
                    json!({ "tags": ["vip"] }),
                ];
                desk.patch(&ticket).by(&agent).json(chance.of(&patches)).send().await;
            }
            11 if policies.len() < 4 => {
                let policy = json!({ "name": format!("Policy {}", policies.len()), "position": 1 + chance.below(3),
                    "condition": chance.of(&conditions), "calendar_id": calendar, "targets": targets(chance) });
                policies
                    .push(desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await.body["id"].clone());
            }
            11 | 12 if !policies.is_empty() => {
                let patch = [json!({ "targets": targets(chance) }), json!({ "position": 1 + chance.below(3) })];
                let path = format!("/v1/sla/policies/{}", chance.of(&policies).as_str().unwrap());
                desk.patch(&path).by(&admin).json(chance.of(&patch)).expect(200).await;
            }
            _ => {
                let path = format!("/v1/sla/calendars/{}", calendar.as_str().unwrap());
                desk.patch(&path).by(&admin).json(&hours(chance)).expect(200).await;
            }
        }
    }
    desk.clock.pass_s(7_777);
    admin
}

on_both! {
    async fn whoever_replays_the_trail_comes_to_the_clocks(desk) {
        let mut chance = Chance(seed());
        let admin = live(desk, &mut chance, 220, &async || {}).await;
        let configured = Configured::read(desk, &admin).await;
        let now = Instant::from_micros(desk.clock.now().micros());
        let mut states = BTreeSet::new();
        for ticket in desk.all(&admin, "/v1/tickets").await {
            let trail = unnamed(desk.all(&admin, &format!("/v1/tickets/{}/events", ticket["number"])).await);
            let times = replay(&trail, &configured, |_| ());
            let clocks: Vec<_> = times.clocks.iter().map(|clock| ClockBody::of(clock, &times.timeline, &configured.calendar_set, now)).collect();
            assert_eq!(json!(clocks), ticket["clocks"], "ticket {}: {trail:#?}", ticket["number"]);
            assert_eq!(json!(DurationsBody::of(&times, now)), ticket["durations"], "ticket {}", ticket["number"]);
            states.extend(clocks.iter().map(|clock| (clock.target.as_str(), clock.state.as_str())));
        }
        assert!(!states.is_empty(), "the history shows too little: {states:?}");
    }
}
