//! What is told by itself of promises: that they are due soon, and that they are broken. 2 March 2026 is a Monday.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use skranke::app::janitor::{PROMISES_AT_ONCE, round};
use skranke::app::rebuild;
use skranke::db::Db;
use skranke::sla::service::{follow_edits, tell_promises};

use crate::on_both;
use crate::support::{Caller, Desk};

const LIST: &str = "/v1/sla/policies";

/// A target for calendar hours.
fn target(target: &str, target_s: i64) -> Value {
    json!({ "target": target, "target_s": target_s, "hours": "calendar" })
}

/// One that says how long before it is due it is due soon.
fn told_before(target_of: &str, target_s: i64, notify_before_s: i64) -> Value {
    let mut rule = target(target_of, target_s);
    rule["notify_before_s"] = json!(notify_before_s);
    rule
}

async fn policy(desk: &Desk, admin: &Caller, fields: Value) -> Value {
    let mut body = json!({ "name": format!("Policy {}", desk.nth()) });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    desk.post(LIST).by(admin).json(&body).expect(201).await.body
}

/// All notices of the feed, as `who` sees them.
async fn items(desk: &Desk, who: &Caller) -> Vec<Value> {
    desk.sequence().await;
    let (mut items, mut path) =
        (Vec::new(), "/v1/changes?limit=1000&types=sla.due_soon,sla.breached&from=start".to_owned());
    loop {
        let page = desk.get(&path).by(who).expect(200).await.body;
        let some = page["items"].as_array().unwrap();
        if some.is_empty() {
            return items;
        }
        items.extend(some.iter().cloned());
        let cursor = page["next_cursor"].as_str().unwrap();
        path = format!("/v1/changes?limit=1000&types=sla.due_soon,sla.breached&cursor={cursor}");
    }
}

fn said(item: &Value) -> String {
    let sla = &item["sla"];
    let due = sla["due_at"].as_str().unwrap().replace("2026-03-02T", "").replace(".000000Z", "Z");
    let of = [&item["type"], &sla["target"]].map(|text| text.as_str().unwrap());
    format!("{} {} {} {due}", item["ticket"]["number"], of[0], of[1])
}

/// Notices that come at one instant after another.
struct Listener<'a> {
    desk: &'a Desk,
    agent: &'a Caller,
    heard: usize,
}

impl<'a> Listener<'a> {
    fn new(desk: &'a Desk, agent: &'a Caller) -> Self {
        Self { desk, agent, heard: 0 }
    }

    /// What is told at `time`, and was not told before: the number of the ticket, what, of which target, and when that
    /// is due.
    async fn at(&mut self, time: &str) -> Vec<String> {
        if !time.is_empty() {
            self.desk.clock.go_to(&format!("2026-03-02T{time}Z"));
        }
        self.desk.tell_promises().await;
        let all = items(self.desk, self.agent).await;
        let new = all[self.heard..].iter().map(said).collect();
        self.heard = all.len();
        new
    }
}

const NOTHING: [&str; 0] = [];

on_both! {
    async fn promises_speak_once_each(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        // By itself a fifth of the time before: 120 s.
        let targets = json!([target("response", 600), told_before("first_reply", 3600, 0), told_before("service", 1800, 600)]);
        let policy = policy(desk, &admin, json!({ "targets": targets })).await;
        let ticket = desk.ticket(&ada, json!({})).await;
        let mut listener = Listener::new(desk, &agent);
        assert_eq!(listener.at("09:00:00").await, NOTHING);
        assert_eq!(listener.at("09:07:59.999999").await, NOTHING);
        desk.clock.go_to("2026-03-02T09:08:00.000000Z");
        let read = async || {
            let seen = [desk.get("/v1/tickets/1").by(&ada).expect(200).await, desk.get("/v1/tickets/1").by(&agent).expect(200).await];
            seen.map(|seen| (seen.header("etag").map(str::to_owned), seen.body))
        };
        // Nothing of the ticket changes by it, for whomever.
        let before = read().await;
        assert_eq!(listener.at("").await, ["1 sla.due_soon response 09:10:00Z"]);
        assert_eq!(listener.at("").await, NOTHING);
        assert_eq!(read().await, before);
        assert_eq!(listener.at("09:10:00").await, NOTHING, "at its very end it is kept");
        desk.clock.go_to("2026-03-02T09:10:00.000001Z");
        let before = read().await;
        assert_eq!(listener.at("").await, ["1 sla.breached response 09:10:00Z"]);
        assert_eq!(read().await, before);
        assert_eq!(listener.at("09:30:00").await, NOTHING);

        // What is said of it: the same in the feed and in the trail.
        let told = items(desk, &agent).await;
        let trail = desk.all(&agent, "/v1/tickets/1/events").await;
        assert_eq!(trail.len(), 3);
        for (item, event) in told.iter().zip(&trail[1..]) {
            for field in ["id", "type", "at", "visibility", "actor", "comment_id", "changes", "sla"] {
                assert_eq!(item[field], event[field], "{field}");
            }
            assert_eq!((&item["visibility"], &item["actor"], &item["changes"]), (&json!("internal"), &Value::Null, &json!([])));
            assert_eq!(item["ticket"], json!({ "id": ticket["id"], "number": 1, "version": 1 }));
            assert_eq!(item["sla"], json!({ "target": "response", "due_at": "2026-03-02T09:10:00.000000Z", "target_s": 600, "policy_id": policy["id"] }));
        }
        assert_eq!((&told[0]["at"], &told[1]["at"]), (&json!("2026-03-02T09:08:00.000000Z"), &json!("2026-03-02T09:10:00.000001Z")));
        assert_eq!(trail[0]["sla"], Value::Null);
        let only = desk.get("/v1/changes?from=start&types=sla.breached").by(&agent).expect(200).await.body;
        assert_eq!(only["items"].as_array().unwrap().iter().map(said).collect::<Vec<_>>(), ["1 sla.breached response 09:10:00Z"]);

        // 0 is for never; a broken promise is told all the same.
        assert_eq!(listener.at("10:00:00").await, NOTHING);
        assert_eq!(listener.at("10:00:00.000001").await, ["1 sla.breached first_reply 10:00:00Z"]);
        assert_eq!(listener.at("12:00:00").await, NOTHING);

        // Work that begins is measured from then on: another clock.
        desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
        assert_eq!(listener.at("12:20:00").await, ["1 sla.due_soon service 12:30:00Z"]);
        desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        assert_eq!(listener.at("13:00:00").await, NOTHING, "it was kept");
        desk.rows_are_right().await;
    }

    async fn who_may_not_read_internal_things_is_told_nothing(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let (deaf, hearing) = (desk.account("tickets:read comments:read").await, desk.account("tickets:read internal:read").await);
        policy(desk, &admin, json!({ "targets": [target("response", 600)] })).await;
        desk.ticket(&ada, json!({})).await;
        for time in ["09:09:00", "09:11:00"] {
            desk.clock.go_to(&format!("2026-03-02T{time}Z"));
            desk.tell_promises().await;
        }
        for (who, told) in [(&ada, 0), (&deaf, 0), (&desk.narrowed(&agent, "tickets:read"), 0), (&hearing, 2), (&agent, 2), (&admin, 2)] {
            assert_eq!(items(desk, who).await.len(), told, "{}", who.name);
            let trail = desk.all(who, "/v1/tickets/1/events").await;
            assert_eq!(trail.iter().filter(|event| event["sla"] != Value::Null).count(), told, "{}", who.name);
            let feed = desk.get("/v1/changes?from=start").by(who).expect(200).await.body;
            let of_tickets = feed["items"].as_array().unwrap().iter().filter(|item| item["ticket"] != Value::Null);
            assert_eq!(of_tickets.count(), told + 1, "{}", who.name);
        }
    }

    async fn a_promise_that_is_moved_speaks_again(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let mut urgent = target("response", 600);
        urgent["priority"] = json!("urgent");
        policy(desk, &admin, json!({ "condition": { "tags": ["response"] }, "targets": [urgent, target("response", 3600)] })).await;
        policy(desk, &admin, json!({ "targets": [told_before("service", 1800, 600)] })).await;
        let mut listener = Listener::new(desk, &agent);

        // Time that waits does not count: nothing is due meanwhile, and all is due later by as much.
        let one = desk.ticket(&ada, json!({})).await;
        let set = async |ticket: &Value, time: &str, patch: Value| {
            desk.clock.go_to(&format!("2026-03-02T{time}Z"));
            desk.patch_ticket(&agent, ticket, patch).await;
        };
        set(&one, "09:00:00", json!({ "status": "open" })).await;
        set(&one, "09:15:00", json!({ "status": "waiting_requester" })).await;
        assert_eq!(listener.at("09:25:00").await, NOTHING);
        assert_eq!(listener.at("09:40:00").await, NOTHING);
        set(&one, "09:40:00", json!({ "status": "open" })).await;
        assert_eq!(listener.at("09:44:59").await, NOTHING);
        assert_eq!(listener.at("09:45:00").await, ["1 sla.due_soon service 09:55:00Z"]);
        set(&one, "09:46:00", json!({ "status": "waiting_third_party" })).await;
        assert_eq!(listener.at("09:56:00").await, NOTHING);
        set(&one, "09:56:00", json!({ "status": "open" })).await;
        assert_eq!(listener.at("").await, ["1 sla.due_soon service 10:05:00Z"], "it is due soon at once");
        assert_eq!(listener.at("10:05:01").await, ["1 sla.breached service 10:05:00Z"]);
        set(&one, "10:06:00", json!({ "status": "resolved" })).await;
        assert_eq!(listener.at("10:30:00").await, NOTHING);

        // Another priority: another promise from the same zero. What was told of one is not told again.
        desk.clock.go_to("2026-03-02T11:00:00.000000Z");
        let two = desk.ticket(&ada, json!({ "tags": ["response"] })).await;
        set(&two, "11:01:00", json!({ "priority": "urgent" })).await;
        assert_eq!(listener.at("11:08:00").await, ["2 sla.due_soon response 11:10:00Z"]);
        set(&two, "11:08:30", json!({ "priority": "normal" })).await;
        assert_eq!(listener.at("11:09:00").await, NOTHING);
        set(&two, "11:09:30", json!({ "priority": "urgent" })).await;
        assert_eq!(listener.at("11:09:40").await, NOTHING);
        set(&two, "11:09:50", json!({ "priority": "normal" })).await;
        assert_eq!(listener.at("11:48:00").await, ["2 sla.due_soon response 12:00:00Z"]);
        // Too late already when it is made stricter.
        set(&two, "11:50:00", json!({ "priority": "urgent" })).await;
        assert_eq!(listener.at("").await, ["2 sla.breached response 11:10:00Z"]);
        set(&two, "11:51:00", json!({ "priority": "normal" })).await;
        assert_eq!(listener.at("12:30:00").await, NOTHING, "it is broken for good");
        desk.rows_are_right().await;
    }

    async fn after_a_downtime_only_what_is_broken_is_told(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        policy(desk, &admin, json!({ "targets": [target("response", 600), target("first_reply", 14_400)] })).await;
        desk.ticket(&ada, json!({})).await;
        let answered = desk.ticket(&ada, json!({})).await;
        desk.patch_ticket(&agent, &answered, json!({ "status": "resolved" })).await;
        let mut listener = Listener::new(desk, &agent);
        assert_eq!(listener.at("11:00:00").await, ["1 sla.breached response 09:10:00Z"]);
        // Who reports what is late already hears of it.
        desk.ticket(&agent, json!({ "reported_at": "2026-03-02T10:00:00.000000Z" })).await;
        assert_eq!(listener.at("").await, ["3 sla.breached response 10:10:00Z"]);
        // Whether it is written down by the way makes no difference.
        let four = desk.ticket(&ada, json!({})).await;
        desk.clock.go_to("2026-03-02T11:10:00.000001Z");
        desk.patch_ticket(&agent, &four, json!({ "status": "open" })).await;
        assert_eq!(listener.at("").await, ["4 sla.breached response 11:10:00Z"]);
        desk.ticket(&ada, json!({})).await;
        desk.clock.go_to("2026-03-02T11:20:01.000000Z");
        desk.ticket(&ada, json!({})).await;
        desk.clock.go_to("2026-03-02T11:21:00.000000Z");
        desk.write_down_breaches(10).await;
        assert_eq!(listener.at("").await, ["5 sla.breached response 11:20:00.000001Z"]);
    }

    async fn nothing_is_told_of_what_is_closed_and_nothing_is_kept_of_it(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        policy(desk, &admin, json!({ "targets": [target("response", 600), target("first_reply", 5 * 86_400)] })).await;
        let close = async |after_s: i64| round(&desk.db, after_s, &desk.ids).await.unwrap().closed;
        let mut listener = Listener::new(desk, &agent);
        let one = desk.ticket(&ada, json!({})).await;
        let two = desk.ticket(&ada, json!({})).await;
        assert_eq!(listener.at("09:09:00").await, ["1 sla.due_soon response 09:10:00Z", "2 sla.due_soon response 09:10:00Z"]);
        desk.patch_ticket(&agent, &two, json!({ "status": "resolved" })).await;
        assert_eq!(desk.store.count("sla_notices").await, 2);
        // It is resolved and closed after it was broken, and before that is told: it is told.
        desk.clock.go_to("2026-03-02T09:11:00.000000Z");
        desk.patch_ticket(&agent, &one, json!({ "status": "resolved" })).await;
        assert_eq!(close(0).await, 2);
        assert_eq!(listener.at("").await, ["1 sla.breached response 09:10:00Z"]);
        assert_eq!(desk.store.count("sla_notices").await, 0);
        // Nobody has answered, which counts as broken; but nobody can do anything about it any more.
        desk.clock.pass_s(6 * 86_400);
        assert_eq!(listener.at("").await, NOTHING);
        assert_eq!(desk.read_ticket(&agent, &one).await["clocks"][1]["state"], "breached");
        assert_eq!(desk.store.count("sla_notices").await, 0);
        let trail = desk.all(&agent, "/v1/tickets/1/events").await;
        assert_eq!(trail.iter().filter(|event| event["type"].as_str().unwrap().starts_with("sla.")).count(), 2);
        desk.rows_are_right().await;
    }

    /// A ticket first follows the edits of policies that it has not followed: they may prevent it.
    async fn an_edit_that_is_not_followed_yet_is_followed_first(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let policy = policy(desk, &admin, json!({ "condition": { "tags": ["vip"] }, "targets": [target("response", 600)] })).await;
        let crowd = desk.ticket(&ada, json!({})).await;
        crate::edits::copy(&desk.store, desk.db.engine(), &crowd["number"], 510).await;
        desk.ticket(&ada, json!({ "tags": ["vip"] })).await;
        let mut listener = Listener::new(desk, &agent);
        let edit = async |target_s: i64| {
            let patch = json!({ "targets": [target("response", target_s)] });
            let path = format!("{LIST}/{}", policy["id"].as_str().unwrap());
            let edited = desk.patch(&path).by(&admin).json(&patch).expect(200).await.body;
            assert!(edited["pending_tickets"].as_i64().unwrap() > 500);
        };
        desk.clock.go_to("2026-03-02T09:05:00.000000Z");
        edit(1200).await;
        for time in ["09:08:00", "09:11:00"] {
            assert_eq!(listener.at(time).await, NOTHING, "{time}");
        }
        while follow_edits(&desk.db, &desk.ids).await.unwrap() > 0 {}
        assert_eq!(listener.at("09:15:59").await, NOTHING);
        assert_eq!(listener.at("09:16:00").await, ["512 sla.due_soon response 09:20:00Z"]);
        // One that makes it stricter than what has passed breaks it, as of its own instant.
        edit(300).await;
        assert_eq!(listener.at("09:17:00").await, NOTHING);
        while follow_edits(&desk.db, &desk.ids).await.unwrap() > 0 {}
        assert_eq!(listener.at("").await, ["512 sla.breached response 09:05:00Z"]);
        assert_eq!(listener.at("09:40:00").await, NOTHING);
    }

    async fn an_edit_of_the_notice_alone_holds_from_then_on(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let made = policy(desk, &admin, json!({ "targets": [told_before("response", 3600, 60)] })).await;
        let path = format!("{LIST}/{}", made["id"].as_str().unwrap());
        assert_eq!(made["targets"][0]["notify_before_s"], 60);
        desk.ticket(&ada, json!({})).await;
        let mut listener = Listener::new(desk, &agent);
        assert_eq!(listener.at("09:30:00").await, NOTHING);
        let edited = desk.patch(&path).by(&admin).json(&json!({ "targets": [told_before("response", 3600, 1800)] })).expect(200).await.body;
        assert_eq!((&edited["version"], &edited["targets"][0]["notify_before_s"]), (&json!(2), &json!(1800)));
        assert_eq!(listener.at("").await, ["1 sla.due_soon response 10:00:00Z"]);
        let versions = desk.all(&agent, &format!("{path}/versions")).await;
        assert_eq!(versions.iter().map(|v| v["targets"][0]["notify_before_s"].clone()).collect::<Vec<_>>(), [json!(60), json!(1800)]);
        // It is told once of an instant, however often that is edited.
        desk.patch(&path).by(&admin).json(&json!({ "targets": [target("response", 3600)] })).expect(200).await;
        assert_eq!(listener.at("09:50:00").await, NOTHING);
    }

    /// Of business hours the notice is of the instant at which it is due, by any clock.
    async fn of_business_hours_it_is_the_instant_that_counts(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let day = json!([{ "from": "08:00", "to": "16:00" }]);
        let calendar = json!({ "name": "Office", "time_zone": "UTC", "working_hours": { "monday": day, "tuesday": day } });
        let calendar = crate::clocks::make_calendar(desk, &calendar).await;
        let mut rule = told_before("response", 8 * 3600, 1800);
        rule["hours"] = json!("business");
        policy(desk, &admin, json!({ "calendar_id": calendar, "targets": [rule] })).await;
        // From nine on Monday: until nine on Tuesday.
        desk.ticket(&ada, json!({})).await;
        let mut listener = Listener::new(desk, &agent);
        assert_eq!(listener.at("23:59:59").await, NOTHING);
        desk.clock.go_to("2026-03-03T08:30:00.000000Z");
        assert_eq!(listener.at("").await, ["1 sla.due_soon response 2026-03-03T09:00:00Z"]);
    }

    /// What is made anew is told to nobody again.
    async fn a_rebuild_tells_nothing_again(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        policy(desk, &admin, json!({ "targets": [target("response", 600), target("first_reply", 3600)] })).await;
        desk.ticket(&ada, json!({})).await;
        let mut listener = Listener::new(desk, &agent);
        assert_eq!(listener.at("09:08:00").await, ["1 sla.due_soon response 09:10:00Z"]);
        assert_eq!(listener.at("09:49:00").await, ["1 sla.breached response 09:10:00Z", "1 sla.due_soon first_reply 10:00:00Z"]);
        desk.store.run("DELETE FROM ticket_clocks").await;
        rebuild::run(&desk.db, &desk.ids).await.unwrap();
        assert_eq!(listener.at("").await, NOTHING);
        assert_eq!(listener.at("10:00:01").await, ["1 sla.breached first_reply 10:00:00Z"]);
        desk.rows_are_right().await;
    }

    /// Three instances at the same moment, and people who write meanwhile: once each.
    async fn several_instances_tell_each_thing_once(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        policy(desk, &admin, json!({ "targets": [target("response", 600), target("first_reply", 600)] })).await;
        let tickets = join_all((0..30).map(|_| desk.ticket(&ada, json!({})))).await;
        // SQLite's file has one instance; it may be asked as often.
        let instances: Vec<Db> = (0..3).map(|_| match desk.db.engine() {
            "sqlite" => desk.db.patient(),
            _ => Db::open(&desk.store.url, 4, Duration::from_secs(5)).unwrap().patient(),
        }).collect();
        for time in ["09:09:00", "09:10:00.000001"] {
            desk.clock.go_to(&format!("2026-03-02T{time}Z"));
            let told = instances.iter().map(|db| async move {
                // One that has nothing to do may still be needed: another one may have been started anew.
                for _ in 0..10 {
                    while tell_promises(db, &desk.ids, 7).await.unwrap() > 0 {}
                }
            });
            let written = tickets.iter().map(|ticket| {
                let body = json!({ "visibility": "internal", "body": "Who looks?" });
                desk.post(&format!("/v1/tickets/{}/comments", ticket["number"])).by(&agent).json(&body).expect(201)
            });
            futures::join!(join_all(told), join_all(written));
        }
        let mut times = BTreeMap::new();
        for item in items(desk, &agent).await {
            *times.entry(said(&item)).or_insert(0) += 1;
        }
        assert_eq!(times.len(), 120);
        assert!(times.values().all(|times| *times == 1), "{times:?}");
        for ticket in &tickets {
            let trail = desk.all(&agent, &format!("/v1/tickets/{}/events?limit=2", ticket["number"])).await;
            assert_eq!(trail.len(), 1 + 4 + 2, "page by page none is passed over");
        }
    }

    /// A thousand that break in the same second are told in pieces, and no write waits for all of it.
    async fn a_thousand_at_once_are_told_in_pieces(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        policy(desk, &admin, json!({ "targets": [target("response", 600)] })).await;
        let one = desk.ticket(&ada, json!({})).await;
        crate::edits::copy(&desk.store, desk.db.engine(), &one["number"], 999).await;
        desk.clock.go_to("2026-03-02T09:10:00.000001Z");
        let (db, began) = (desk.db.patient(), Instant::now());
        let told = async {
            let (mut pieces, mut longest, mut before) = (0, Duration::ZERO, 0);
            loop {
                let piece = Instant::now();
                if tell_promises(&db, &desk.ids, PROMISES_AT_ONCE).await.unwrap() == 0 {
                    return (pieces, longest);
                }
                longest = longest.max(piece.elapsed());
                pieces += 1;
                let now = desk.store.count("sla_notices WHERE told_at IS NOT NULL").await;
                assert!(now - before <= i64::from(PROMISES_AT_ONCE));
                before = now;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let written = async {
            let (mut longest, mut writes) = (Duration::ZERO, 0);
            while writes < 20 || desk.store.count("sla_notices WHERE told_at IS NOT NULL").await < 1_000 {
                let write = Instant::now();
                let number = 1 + (writes * 37) % 1_000;
                desk.patch(&format!("/v1/tickets/{number}")).by(&agent).json(&json!({ "subject": format!("{writes}") })).expect(200).await;
                longest = longest.max(write.elapsed());
                writes += 1;
            }
            (writes, longest)
        };
        let ((pieces, longest_piece), (writes, longest)) = futures::join!(told, written);
        let all = began.elapsed();
        assert!(pieces >= 1_000 / i64::from(PROMISES_AT_ONCE));
        assert!(longest < all / 2, "of {writes} writes one took {longest:?} of {all:?}, and a piece {longest_piece:?}");
        let told = items(desk, &agent).await;
        let numbers: std::collections::BTreeSet<i64> = told.iter().map(|item| item["ticket"]["number"].as_i64().unwrap()).collect();
        assert_eq!((told.len(), numbers.len()), (1_000, 1_000));
        assert!(told.iter().all(|item| item["type"] == "sla.breached"));
    }
}
