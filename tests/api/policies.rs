//! SLA policies: made, ordered, changed, versioned, removed, and tried on what has been.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use skranke::db::Db;

use crate::clocks::make_calendar;
use crate::edits::copy;
use crate::on_both;
use crate::support::{Answer, Caller, Desk};

const LIST: &str = "/v1/sla/policies";
const NOBODY: &str = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";

fn target(target: &str, target_s: i64) -> Value {
    json!({ "target": target, "target_s": target_s, "hours": "calendar" })
}

/// A policy with what is needed, and `fields` over it.
fn policy(name: &str, fields: Value) -> Value {
    let mut body = json!({ "name": name, "targets": [target("response", 3600)] });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

async fn make(desk: &Desk, admin: &Caller, name: &str, fields: Value) -> Value {
    desk.post(LIST).by(admin).json(&policy(name, fields)).expect(201).await.body
}

fn path(policy: &Value) -> String {
    format!("{LIST}/{}", policy["id"].as_str().unwrap())
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// An hour a week.
fn short_week() -> Value {
    json!({ "name": "An hour a week", "time_zone": "UTC", "working_hours": { "monday": [{ "from": "09:00", "to": "10:00" }] } })
}

on_both! {
    async fn a_policy_is_made_read_changed_and_removed(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        let calendar = make_calendar(desk, &short_week()).await;
        let body = json!({ "name": "Urgent incidents", "condition": { "team_ids": [team["id"]], "priorities": ["urgent", "high", "urgent"], "tags": ["vip"] },
            "calendar_id": calendar, "targets": [{ "target": "response", "priority": "urgent", "target_s": 900, "hours": "business", "notify_before_s": 0 }, target("response", 3600)] });
        let made = desk.post(LIST).by(&admin).json(&body).expect(201).await;
        assert_eq!((made.header("location"), made.header("etag")), (Some(&*path(&made.body)), Some("\"1\"")));
        assert_eq!(made.body, json!({
            "id": made.body["id"], "name": "Urgent incidents", "position": 1, "calendar_id": calendar,
            "condition": { "team_ids": [team["id"]], "priorities": ["urgent", "high"], "types": [], "channels": [], "tags": ["vip"] },
            "targets": [
                { "target": "response", "priority": "urgent", "target_s": 900, "hours": "business", "notify_before_s": 0 },
                { "target": "response", "priority": null, "target_s": 3600, "hours": "calendar", "notify_before_s": null },
            ],
            "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "version": 1, "pending_tickets": 0,
        }));
        let path = path(&made.body);
        assert_eq!(desk.get(&path).by(&agent).expect(200).await.body, made.body);
        desk.get(&path).by(&agent).header("if-none-match", "\"1\"").expect(304).await;

        desk.clock.pass_s(60);
        let patch = |body: Value| desk.patch(&path).by(&admin).json(&body);
        for nothing in [json!({}), json!({ "name": "Urgent incidents", "condition": { "tags": ["vip"] }, "targets": made.body["targets"] })] {
            let same = patch(nothing).expect(200).await;
            assert_eq!((same.header("etag"), &same.body), (Some("\"1\""), &made.body));
        }
        desk.patch(&path).by(&admin).header("if-match", "\"2\"").json(&json!({ "position": 7 })).refused(412, "version_mismatch").await;
        // Each list of the condition for itself; the targets whole.
        let changed = patch(json!({ "position": 7, "condition": { "team_ids": null, "tags": [], "types": ["question"] }, "targets": [target("service", 60)] })).expect(200).await;
        let mut expected = made.body.clone();
        expected["position"] = json!(7);
        expected["condition"] = json!({ "team_ids": [], "priorities": ["urgent", "high"], "types": ["question"], "channels": [], "tags": [] });
        expected["targets"] = json!([{ "target": "service", "priority": null, "target_s": 60, "hours": "calendar", "notify_before_s": null }]);
        expected["updated_at"] = json!("2026-03-02T09:01:00.000000Z");
        expected["version"] = json!(2);
        assert_eq!((changed.header("etag"), &changed.body), (Some("\"2\""), &expected));
        let emptied = patch(json!({ "condition": null, "calendar_id": null })).expect(200).await.body;
        assert_eq!((&emptied["condition"]["types"], &emptied["calendar_id"], &emptied["version"]), (&json!([]), &Value::Null, &json!(3)));

        let versions = desk.all(&agent, &format!("{path}/versions?limit=2")).await;
        let told: Vec<_> = versions.iter().map(|v| (v["version"].as_i64().unwrap(), v["position"].as_i64().unwrap(), v["created_at"].as_str().unwrap())).collect();
        assert_eq!(told, [(1, 1, "2026-03-02T09:00:00.000000Z"), (2, 7, "2026-03-02T09:01:00.000000Z"), (3, 7, "2026-03-02T09:01:00.000000Z")]);
        assert_eq!((&versions[0]["targets"], &versions[0]["condition"], &versions[0]["name"]), (&made.body["targets"], &made.body["condition"], &made.body["name"]));

        desk.delete(&path).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        desk.delete(&path).by(&admin).header("if-match", "\"3\"").expect(204).await;
        for gone in [desk.get(&path), desk.delete(&path), desk.patch(&path).json(&json!({}))] {
            gone.by(&admin).refused(404, "not_found").await;
        }
        assert!(desk.all(&agent, LIST).await.is_empty());
        // Clocks name its versions, and its name is free again.
        assert_eq!(desk.all(&agent, &format!("{path}/versions")).await, versions);
        make(desk, &admin, "Urgent incidents", json!({})).await;
        for nowhere in [format!("{LIST}/{NOBODY}"), format!("{LIST}/{NOBODY}/versions"), format!("{LIST}/1")] {
            desk.get(&nowhere).by(&agent).refused(404, "not_found").await;
        }
        desk.get(&format!("{LIST}/preview")).by(&agent).refused(405, "method_not_allowed").await;
    }

    async fn policies_are_in_order_and_the_first_that_fits_holds(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        for (name, position) in [("c", json!(5)), ("a", json!(2)), ("d", json!(5)), ("e", Value::Null), ("b", json!(2))] {
            make(desk, &admin, name, json!({ "position": position, "condition": { "tags": [name] } })).await;
        }
        for limit in [1, 2, 50] {
            let all = desk.all(&agent, &format!("{LIST}?limit={limit}")).await;
            assert_eq!(names(&all), ["a", "b", "c", "d", "e"]);
            assert_eq!(all[4]["position"], 6, "behind the last");
        }
        let cursor = desk.get(&format!("{LIST}?limit=1")).by(&agent).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
        desk.get(&format!("/v1/teams?cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        desk.get(&format!("{LIST}?name=a")).by(&agent).refused(400, "invalid_query").await;
        let promised = async |tags: Value| {
            let ticket = desk.ticket(&agent, json!({ "tags": tags })).await;
            desk.get(&format!("/v1/tickets/{}/sla", ticket["number"])).by(&agent).expect(200).await.body["policy"]["name"].clone()
        };
        assert_eq!([promised(json!(["e", "d", "c"])).await, promised(json!(["b", "a"])).await, promised(json!(["x"])).await], [json!("c"), json!("a"), Value::Null]);
        // The last place can be shared.
        let last = make(desk, &admin, "f", json!({ "position": 1_000_000 })).await;
        assert_eq!((make(desk, &admin, "g", json!({})).await["position"].clone(), last["position"].clone()), (json!(1_000_000), json!(1_000_000)));
    }

    async fn every_fault_of_a_policy_is_told_with_its_place_and_changes_nothing(desk) {
        let admin = desk.admin().await;
        let calendar = make_calendar(desk, &short_week()).await;
        let business = |target_s: i64| json!([{ "target": "response", "target_s": target_s, "hours": "business" }]);
        let many: Vec<String> = (0..101).map(|nth| format!("tag {nth}")).collect();
        let kept = make(desk, &admin, "Kept", json!({})).await;
        for (fields, places) in [
            (json!({ "name": " ", "nope": 1 }), vec!["/name", "/nope"]),
            (json!({ "name": "x".repeat(201) }), vec!["/name"]),
            (json!({ "position": -1 }), vec!["/position"]),
            (json!({ "position": 1_000_001 }), vec!["/position"]),
            (json!({ "position": 99_999_999_999_999_999_999_f64 }), vec!["/position"]),
            (json!({ "position": "1" }), vec!["/position"]),
            (json!({ "condition": { "priorities": ["huge"], "team": [], "types": "question" } }), vec!["/condition/priorities/0", "/condition/team", "/condition/types"]),
            (json!({ "condition": { "tags": ["a,b", ""] } }), vec!["/condition/tags/0", "/condition/tags/1"]),
            (json!({ "condition": { "tags": many } }), vec!["/condition/tags"]),
            (json!({ "targets": [] }), vec!["/targets"]),
            (json!({ "targets": null }), vec!["/targets"]),
            (json!({ "targets": vec![target("response", 1); 16] }), vec!["/targets"]),
            (json!({ "targets": [target("response", 0), target("service", 31_536_001), target("first_reply", -1)] }), vec!["/targets/0/target_s", "/targets/1/target_s", "/targets/2/target_s"]),
            (json!({ "targets": [{ "target": "resolution", "target_s": 1.5, "hours": "some", "priority": "x" }] }), vec!["/targets/0/hours", "/targets/0/priority", "/targets/0/target", "/targets/0/target_s"]),
            (json!({ "targets": [
                { "target": "response", "target_s": 60, "hours": "calendar", "notify_before_s": 604_801 },
                { "target": "service", "target_s": 60, "hours": "calendar", "notify_before_s": -1 },
                { "target": "first_reply", "target_s": 60, "hours": "calendar", "notify_before_s": "60" },
            ] }), vec!["/targets/0/notify_before_s", "/targets/1/notify_before_s", "/targets/2/notify_before_s"]),
            // All that only the database tells, at once.
            (json!({ "condition": { "team_ids": [NOBODY] }, "calendar_id": NOBODY, "targets": [target("response", 1), target("service", 1), target("response", 2)] }),
                vec!["/calendar_id", "/condition/team_ids/0", "/targets/2"]),
            (json!({ "targets": business(60) }), vec!["/calendar_id"]),
            // An hour a week is 520 in ten years.
            (json!({ "calendar_id": calendar, "targets": business(520 * 3600 + 1) }), vec!["/targets/0/target_s"]),
        ] {
            let refused = desk.post(LIST).by(&admin).json(&policy("New", fields.clone())).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), places, "{}", refused.text());
            if fields["name"].is_null() {
                let refused = desk.patch(&path(&kept)).by(&admin).json(&fields).refused(422, "validation_failed").await;
                assert_eq!(refused.pointers(), places, "{}", refused.text());
                let draft = json!({ "policy": policy("New", fields), "from": "2026-03-01T00:00:00.000000Z", "to": "2026-03-02T00:00:00.000000Z" });
                let refused = desk.post("/v1/sla/policies/preview").by(&admin).json(&draft).refused(422, "validation_failed").await;
                assert_eq!(refused.pointers(), places.iter().map(|place| format!("/policy{place}")).collect::<Vec<_>>(), "{}", refused.text());
            }
        }
        for missing in [json!({}), json!({ "name": "New" })] {
            desk.post(LIST).by(&admin).json(&missing).refused(422, "validation_failed").await;
        }
        assert_eq!(desk.all(&admin, LIST).await, std::slice::from_ref(&kept));
        make(desk, &admin, "Just enough", json!({ "calendar_id": calendar, "targets": business(520 * 3600) })).await;
        // A calendar that is needed cannot be taken away.
        let needed = desk.all(&admin, LIST).await.remove(1);
        let refused = desk.patch(&path(&needed)).by(&admin).json(&json!({ "calendar_id": null })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/calendar_id"]);
        desk.delete(&format!("/v1/sla/calendars/{calendar}")).by(&admin).refused(409, "conflict").await;
        desk.post(LIST).by(&admin).json(&policy("Kept", json!({}))).refused(409, "conflict").await;
        desk.patch(&path(&needed)).by(&admin).json(&json!({ "name": "Kept" })).refused(409, "conflict").await;
        // A team that was removed may stay in a policy that is changed otherwise.
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Short-lived" })).expect(201).await.body;
        let of_team = make(desk, &admin, "Of a team", json!({ "condition": { "team_ids": [team["id"]] } })).await;
        desk.delete(&format!("/v1/teams/{}", team["id"].as_str().unwrap())).by(&admin).expect(204).await;
        desk.patch(&path(&of_team)).by(&admin).json(&json!({ "name": "Of no team" })).expect(200).await;
        desk.patch(&path(&kept)).by(&admin).json(&json!({ "condition": { "team_ids": [team["id"]] } })).refused(422, "validation_failed").await;
    }

    async fn there_are_at_most_a_hundred(desk) {
        let admin = desk.admin().await;
        for nth in 0..100 {
            make(desk, &admin, &format!("policy {nth}"), json!({})).await;
        }
        desk.post(LIST).by(&admin).json(&policy("one more", json!({}))).refused(409, "conflict").await;
        let all = desk.all(&admin, LIST).await;
        desk.delete(&path(&all[40])).by(&admin).expect(204).await;
        make(desk, &admin, "one more", json!({})).await;
    }

    async fn a_retry_makes_no_second_policy(desk) {
        let admin = desk.admin().await;
        let post = || desk.post(LIST).by(&admin).header("idempotency-key", "k").json(&policy("One", json!({})));
        let (one, two) = (post().expect(201).await, post().expect(201).await);
        assert_eq!((&one.bytes, two.header("idempotent-replayed")), (&two.bytes, Some("true")));
        desk.post(LIST).by(&admin).header("idempotency-key", "k").json(&policy("Two", json!({}))).refused(422, "idempotency_key_reused").await;
        assert_eq!(desk.all(&admin, LIST).await.len(), 1);
    }

    async fn a_draft_is_judged_as_if_it_had_always_held_and_changes_nothing(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let preview = async |policy: Value, from: &str, to: &str| {
            desk.post("/v1/sla/policies/preview").by(&admin).json(&json!({ "policy": policy, "from": from, "to": to })).expect(200).await.body
        };
        make(desk, &admin, "Vip", json!({ "position": 3, "condition": { "tags": ["vip"] }, "targets": [target("response", 60)] })).await;
        // Begun after 0, 10, …, 50 minutes; every third is of a vip, who has a promise of a minute.
        for nth in 0..6 {
            let fields = if nth % 3 == 0 { json!({ "tags": ["vip"] }) } else { json!({}) };
            let ticket = desk.ticket(&ada, fields).await;
            desk.clock.pass_s(600 * nth);
            desk.patch_ticket(&agent, &ticket, json!({ "status": if nth == 5 { "new" } else { "open" } })).await;
            desk.clock.pass_s(1);
        }
        let before = (desk.all(&agent, "/v1/tickets").await, desk.all(&agent, LIST).await);
        let draft = json!({ "name": "Vip", "targets": [target("response", 1200), target("service", 3600)] });
        let tally = |target: &str, [met, breached, running, paused]: [i64; 4], attainment: Value| {
            json!({ "target": target, "clocks": met + breached + running + paused, "met": met, "breached": breached,
                "running": running, "paused": paused, "attainment": attainment })
        };
        let (from, to) = ("2026-03-02T00:00:00.000000Z", "2026-03-03T00:00:00.000000Z");
        // Within 20 minutes: the tickets of 0, 10 and 20; not those of 30 and 40, nor the one that nobody has begun.
        // The work on the first began at 9:00, on the second at 9:10:01, on the third at 9:30:02, on the fourth at
        // 10:00:03, on the fifth at 10:40:04, and now it is 11:30:06. An hour of service is over for the first four.
        assert_eq!(preview(draft.clone(), from, to).await, json!({
            "tickets": 6, "matched": 6,
            "targets": [
                tally("response", [3, 3, 0, 0], json!(0.5)), tally("first_reply", [0; 4], Value::Null), tally("service", [0, 4, 1, 1], json!(0.0)),
            ],
            "actual": [
                tally("response", [1, 1, 0, 0], json!(0.5)), tally("first_reply", [0; 4], Value::Null), tally("service", [0; 4], Value::Null),
            ],
        }));
        // Behind the policy of the vips, it gets the others alone; so it does at the same place, since it is younger.
        for position in [3, 4] {
            let mut behind = draft.clone();
            behind["position"] = json!(position);
            let seen = preview(behind, from, to).await;
            assert_eq!((&seen["tickets"], &seen["matched"], &seen["targets"][0]), (&json!(6), &json!(4), &tally("response", [2, 2, 0, 0], json!(0.5))));
        }
        let mut narrow = draft.clone();
        narrow["condition"] = json!({ "tags": ["vip"] });
        assert_eq!(preview(narrow, from, to).await["matched"], 2);
        // The window has its beginning and not its end: the second was created at 9:00:01, the third at 9:10:02.
        assert_eq!(preview(draft.clone(), "2026-03-02T09:00:01.000000Z", "2026-03-02T09:10:02.000000Z").await["tickets"], 1);
        let nothing = preview(draft.clone(), "2026-02-01T00:00:00.000000Z", "2026-03-01T00:00:00.000000Z").await;
        assert_eq!((&nothing["tickets"], &nothing["matched"], &nothing["targets"][0]), (&json!(0), &json!(0), &tally("response", [0; 4], Value::Null)));
        assert_eq!((desk.all(&agent, "/v1/tickets").await, desk.all(&agent, LIST).await), before);

        let refused = async |body: Value| -> Answer { desk.post("/v1/sla/policies/preview").by(&admin).json(&body).refused(422, "validation_failed").await };
        assert_eq!(refused(json!({ "policy": draft, "from": to, "to": to })).await.pointers(), ["/to"]);
        assert_eq!(refused(json!({ "policy": draft, "from": "2026-01-01T00:00:00.000000Z", "to": "2027-01-02T00:00:00.000001Z" })).await.pointers(), ["/to"]);
        assert_eq!(refused(json!({ "policy": draft, "from": "soon" })).await.pointers(), ["/from", "/to"]);
        assert_eq!(preview(draft, "2026-01-01T00:00:00.000000Z", "2027-01-02T00:00:00.000000Z").await["tickets"], 6);
    }

    /// Tickets are written all the while that a policy is changed: none is left behind.
    async fn a_ticket_is_never_left_with_a_version_from_before(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let targets = |s: i64| json!([target("response", s), target("first_reply", s), target("service", s)]);
        let made = make(desk, &admin, "Edited", json!({ "targets": targets(100_000) })).await;
        // Another process has its own memory of what holds; on SQLite there is one.
        let other = match desk.db.engine() {
            "sqlite" => desk.url.clone(),
            _ => desk.instance_with(|mut settings| {
                settings.state.db = Db::open(&desk.store.url, 8, Duration::from_secs(30)).unwrap();
                settings
            }),
        };
        let over = Arc::new(AtomicBool::new(false));
        let writers = (0..6).map(|nth| {
            let (over, url, agent) = (over.clone(), [desk.url.as_str(), other.as_str()][nth % 2], &agent);
            async move {
                let mut written = 0;
                while !over.load(Ordering::SeqCst) {
                    let opened = desk.ask_at(url, "POST".parse().unwrap(), "/v1/tickets").by(agent).json(&json!({ "subject": "s" })).expect(201).await.body;
                    let path = format!("/v1/tickets/{}", opened["number"]);
                    for status in ["open", "waiting_requester", "resolved", "open"].iter().take(written % 5) {
                        desk.ask_at(url, "PATCH".parse().unwrap(), &path).by(agent).json(&json!({ "status": status })).expect(200).await;
                    }
                    written += 1;
                }
                written
            }
        });
        let edits = async {
            for nth in 1..=12 {
                let url = [other.as_str(), desk.url.as_str()][nth % 2];
                let body = json!({ "targets": targets(100_000 + i64::try_from(nth).unwrap()) });
                desk.ask_at(url, "PATCH".parse().unwrap(), &path(&made)).by(&admin).json(&body).expect(200).await;
            }
            over.store(true, Ordering::SeqCst);
        };
        let (written, ()) = futures::future::join(futures::future::join_all(writers), edits).await;
        // Where there were many, the last of them follow by themselves.
        while skranke::sla::service::follow_edits(&desk.db, &desk.ids).await.unwrap() > 0 {}
        let tickets = desk.all(&agent, "/v1/tickets?limit=200").await;
        assert_eq!(tickets.len(), written.iter().sum::<usize>());
        let mut running = 0;
        for ticket in &tickets {
            assert_eq!(ticket["clocks"].as_array().unwrap().len(), 3, "{ticket}");
            for clock in ticket["clocks"].as_array().unwrap().iter().filter(|clock| clock["state"] != "met") {
                assert_eq!((&clock["policy_version"], &clock["target_s"]), (&json!(13), &json!(100_012)), "{ticket}");
                running += 1;
            }
        }
        assert!(running > 20, "there was something to see: {running} of {}", tickets.len());
    }

    async fn many_previews_of_one_caller_keep_nobody_waiting(desk) {
        sixteen_previews(desk).await;
    }

    async fn a_window_of_too_many_tickets_is_refused(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        desk.ticket(&agent, json!({})).await;
        // Copies of the one there is, a second apart from each other, so that the last is the 20,001st.
        let columns = "subject, description, status, priority, type, channel, created_by_id, tags, custom_fields, updated_at, reported_at, reopen_count, version";
        let (series, id, created) = match desk.db.engine() {
            "sqlite" => ("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)", "randomblob(16)", "created_at + n * 1000000"),
            _ => ("WITH s AS (SELECT generate_series(1, 20000) AS n)", "gen_random_uuid()", "created_at + n * interval '1 second'"),
        };
        desk.store.run(&format!("{series} INSERT INTO tickets ({columns}, id, created_at) SELECT {columns}, {id}, {created} FROM tickets, s")).await;
        let preview = |to: &str| {
            let body = json!({ "policy": policy("Draft", json!({})), "from": "2026-03-02T09:00:00.000000Z", "to": to });
            desk.post("/v1/sla/policies/preview").by(&admin).json(&body)
        };
        // 20,000 seconds after 9:00 it is 14:33:20.
        let refused = preview("2026-03-02T14:33:20.000001Z").refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/to"]);
        assert!(refused.body["errors"][0]["detail"].as_str().unwrap().contains("20000 tickets"), "{}", refused.text());
        // The copies have no clocks, so that only the first is counted.
        assert_eq!(preview("2026-03-02T14:33:20.000000Z").expect(200).await.body["tickets"], 1);
    }
}

/// Sixteen trials of one caller at once: each is answered, or refused as reports are, and others are served meanwhile.
#[expect(clippy::print_stdout, reason = "the figures")]
async fn sixteen_previews(desk: &Desk) {
    let tickets = std::env::var("SKRANKE_TEST_TICKETS").map_or(1_000, |tickets| tickets.parse().unwrap());
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    let ticket = desk.ticket(&agent, json!({ "tags": ["crowd"] })).await;
    copy(&desk.store, desk.db.engine(), &ticket["number"], tickets - 1).await;
    let (from, to) = ("2026-03-02T09:00:00.000000Z", "2026-03-02T09:00:01.000000Z");
    desk.clock.pass_s(60);
    let trial = json!({ "policy": policy("Draft", json!({})), "from": from, "to": to });
    let begun = std::time::Instant::now();
    let is_over = AtomicBool::new(false);
    let previews = async {
        let previews = (0..16).map(|_| desk.post("/v1/sla/policies/preview").by(&admin).json(&trial).send());
        let answers = futures::future::join_all(previews).await;
        is_over.store(true, Ordering::SeqCst);
        answers
    };
    let others = async {
        let (mut longest, mut count) = (Duration::ZERO, 0);
        while count == 0 || !is_over.load(Ordering::SeqCst) {
            let begun = std::time::Instant::now();
            desk.read_ticket(&agent, &ticket).await;
            desk.ticket(&agent, json!({})).await;
            desk.get("/v1/tickets?limit=1").by(&agent).expect(200).await;
            desk.get("/v1/metrics/summary").by(&agent).expect(200).await;
            longest = longest.max(begun.elapsed());
            count += 1;
        }
        (longest, count)
    };
    let (answers, (longest, count)) = tokio::join!(previews, others);
    println!(
        "{}: {tickets} tickets, previews {:?} in {:?}; of {count} rounds of others the longest took {longest:?}",
        desk.db.engine(),
        answers.iter().map(|answer| answer.status.as_u16()).collect::<Vec<_>>(),
        begun.elapsed()
    );
    for answer in &answers {
        match answer.status.as_u16() {
            200 => assert_eq!(answer.body["tickets"], tickets),
            _ => assert_eq!((answer.status.as_u16(), &answer.body["code"]), (503, &json!("unavailable"))),
        }
    }
    assert!(answers.iter().filter(|answer| answer.status == 200).count() >= 2);
    // Four requests, of a debug build on a busy machine.
    assert!(longest < Duration::from_secs(4), "{longest:?}");
}
