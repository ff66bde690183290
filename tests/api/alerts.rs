//! Alerts: one open ticket for each problem, whoever tells of it and how often.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Answer, Caller, Desk};

/// A source, as it is set up.
async fn source(desk: &Desk, admin: &Caller, fields: Value) -> String {
    let mut body = json!({ "name": format!("source-{}", desk.nth()) });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let made = desk.post("/v1/alert-sources").by(admin).json(&body).expect(201).await;
    made.body["name"].as_str().unwrap().to_owned()
}

fn firing(key: &str, starts_at: &str) -> Value {
    json!({ "dedupe_key": key, "state": "firing", "starts_at": starts_at, "severity": "warning", "summary": format!("{key} is down") })
}

fn resolved(key: &str, starts_at: &str) -> Value {
    json!({ "dedupe_key": key, "state": "resolved", "starts_at": starts_at })
}

async fn tell(desk: &Desk, monitor: &Caller, source: &str, body: &Value) -> Answer {
    desk.post(&format!("/v1/alerts/{source}")).by(monitor).json(body).expect(200).await
}

/// What became of the one that was told: the word, and the number of its ticket.
async fn told(desk: &Desk, monitor: &Caller, source: &str, body: &Value) -> (String, Option<i64>) {
    let answer = tell(desk, monitor, source, body).await;
    let items = answer.body["items"].as_array().unwrap();
    assert_eq!(items.len(), 1);
    (items[0]["result"].as_str().unwrap().to_owned(), items[0]["ticket"]["number"].as_i64())
}

fn word(result: &str, number: i64) -> (String, Option<i64>) {
    (result.to_owned(), Some(number))
}

/// The kinds of the events of a ticket, and its version.
async fn trail(desk: &Desk, who: &Caller, number: i64) -> (Vec<String>, i64) {
    let events = desk.all(who, &format!("/v1/tickets/{number}/events")).await;
    let kinds = events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    let ticket = desk.get(&format!("/v1/tickets/{number}")).by(who).expect(200).await;
    (kinds, ticket.body["version"].as_i64().unwrap())
}

const EIGHT: &str = "2026-03-02T08:00:00.000000Z";
const NINE: &str = "2026-03-02T08:59:00.000000Z";

on_both! {
    async fn each_case_of_the_table_has_its_end(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let monitor = desk.account("alerts:write").await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Operations" })).expect(201).await.body["id"].clone();
        let name = source(desk, &admin, json!({ "team": "Operations", "priorities": { "warning": "normal", "critical": "urgent" } })).await;
        let tell = async |body: Value| told(desk, &monitor, &name, &body).await;

        // What fires opens a ticket, whose clocks began when it broke.
        assert_eq!(tell(firing("db", EIGHT)).await, word("created", 1));
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!((&ticket["subject"], &ticket["channel"], &ticket["type"], &ticket["priority"]), (&json!("db is down"), &json!("monitoring"), &json!("incident"), &json!("normal")));
        assert_eq!((&ticket["reported_at"], &ticket["team"]["id"], &ticket["status"]), (&json!(EIGHT), &team, &json!("new")));
        assert_eq!(ticket["created_by"]["id"].as_str(), Some(monitor.id.as_str()));
        let began = trail(desk, &agent, 1).await;
        assert_eq!(began.0, ["ticket.created", "alert.fired"]);

        // Repeats make no noise: no event, no version, nothing that anybody sees but how often it came.
        let seen = desk.get("/v1/tickets/1").by(&agent).expect(200).await.bytes;
        desk.clock.pass_s(60);
        for _ in 0..3 {
            assert_eq!(tell(firing("db", EIGHT)).await, word("unchanged", 1));
        }
        assert_eq!(trail(desk, &agent, 1).await, began);
        let now: Value = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        let then: Value = serde_json::from_slice(&seen).unwrap();
        assert_eq!((&now["version"], &now["updated_at"], &now["activity_at"]), (&then["version"], &then["updated_at"], &then["activity_at"]));
        let alerts = desk.get("/v1/alerts?state=firing").by(&agent).expect(200).await.body["items"].clone();
        assert_eq!((&alerts[0]["times"], &alerts[0]["dedupe_key"], &alerts[0]["ticket"]["number"]), (&json!(4), &json!("db"), &json!(1)));

        // A severity that is higher raises the priority, and one that is lower does not lower it.
        let mut louder = firing("db", EIGHT);
        louder["severity"] = json!("critical");
        assert_eq!(tell(louder.clone()).await, word("updated", 1));
        assert_eq!(tell(louder).await, word("unchanged", 1));
        assert_eq!(tell(firing("db", EIGHT)).await, word("updated", 1));
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!(ticket["priority"], json!("urgent"));

        // Who comes too late is not heard.
        assert_eq!(tell(resolved("db", "2026-03-02T07:00:00.000000Z")).await, word("ignored", 1));
        assert_eq!(tell(firing("db", "2026-03-02T07:00:00.000000Z")).await, word("ignored", 1));

        // Over: resolved, since nobody has acted on it.
        desk.clock.pass_s(60);
        assert_eq!(tell(resolved("db", EIGHT)).await, word("resolved", 1));
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!((&ticket["status"], &ticket["first_replied_at"]), (&json!("resolved"), &Value::Null));
        assert_eq!(tell(resolved("db", EIGHT)).await, word("unchanged", 1));
        // The late twin of the first.
        assert_eq!(tell(firing("db", EIGHT)).await, word("ignored", 1));
        assert_eq!(desk.get("/v1/tickets/1").by(&agent).expect(200).await.body["status"], json!("resolved"));

        // It fires again: the ticket is back, and ends again, though it was reopened.
        assert_eq!(tell(firing("db", NINE)).await, word("reopened", 1));
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!((&ticket["status"], &ticket["reopen_count"]), (&json!("open"), &json!(1)));
        assert_eq!(tell(resolved("db", NINE)).await, word("resolved", 1));
        assert_eq!(desk.get("/v1/tickets/1").by(&agent).expect(200).await.body["status"], json!("resolved"));

        // Whoever tells of it was silent for a while, and tells of it as before: it fires still, or again.
        assert_eq!(tell(firing("db", NINE)).await, word("ignored", 1));
        desk.clock.pass_s(61);
        assert_eq!((tell(firing("db", NINE)).await, tell(resolved("db", NINE)).await), (word("reopened", 1), word("resolved", 1)));

        // Later than a day after, and once it is closed, another ticket follows it up.
        desk.clock.pass_s(86_401);
        assert_eq!(tell(firing("db", "2026-03-03T09:00:00.000000Z")).await, word("created", 2));
        let first = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        let second = desk.get("/v1/tickets/2").by(&agent).expect(200).await.body;
        assert_eq!(second["follow_up_of"], first["id"]);
        // Closed by hand while it fires: that is respected, and the end of it changes nothing.
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &second, json!({ "status": status })).await;
        }
        assert_eq!(tell(firing("db", "2026-03-03T09:00:00.000000Z")).await, word("unchanged", 2));
        assert_eq!(tell(resolved("db", "2026-03-03T09:00:00.000000Z")).await, word("resolved", 2));
        // As it was, once more, but not before it was over the last time.
        desk.clock.pass_s(61);
        assert_eq!(tell(firing("db", "2026-03-03T09:00:00.000000Z")).await, word("created", 3));
        let third = desk.get("/v1/tickets/3").by(&agent).expect(200).await.body;
        assert_eq!(third["reported_at"], desk.get("/v1/tickets/2").by(&agent).expect(200).await.body["resolved_at"]);
        assert_eq!(desk.get("/v1/tickets/3").by(&agent).expect(200).await.body["follow_up_of"], second["id"]);
        // That it was over in between was lost: the same problem goes on.
        assert_eq!(tell(firing("db", "2026-03-03T09:03:00.000000Z")).await, word("updated", 3));

        // A clock that is years ahead does not close the ears to what comes later.
        assert_eq!(tell(firing("ahead", "9999-01-01T00:00:00.000000Z")).await, word("created", 4));
        assert_eq!(tell(firing("ahead", "9999-01-01T00:00:00.000000Z")).await, word("unchanged", 4));
        let now = desk.clock.now().to_string();
        assert_eq!(tell(resolved("ahead", &now)).await, word("resolved", 4));

        // What is over and was not known to fire opens nothing, also if its beginning comes late.
        assert_eq!(tell(resolved("never", EIGHT)).await, ("ignored".to_owned(), None));
        assert_eq!(tell(firing("never", EIGHT)).await, ("ignored".to_owned(), None));
        assert_eq!(tell(firing("never", NINE)).await, word("created", 5));
        // Without an instant a repeat is a repeat, and what fires behind an end is new.
        let plain = |state: &str| json!({ "dedupe_key": "plain", "state": state, "summary": "s" });
        for (state, result) in [("firing", "created"), ("firing", "unchanged"), ("resolved", "resolved"), ("resolved", "unchanged"), ("firing", "reopened")] {
            desk.clock.pass_s(1);
            assert_eq!(tell(plain(state)).await, word(result, 6), "{state}");
        }
        desk.rows_are_right().await;
    }

    async fn a_flapping_alert_keeps_to_its_ticket(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        let at = |s: i64| desk.clock.now().plus_s(s).to_string();
        assert_eq!(told(desk, &monitor, &name, &firing("k", &at(-5))).await, word("created", 1));
        // Somebody works on it: it is theirs to resolve, and each end is a note.
        desk.patch("/v1/tickets/1").by(&agent).json(&json!({ "status": "open" })).expect(200).await;
        for round in 0..5 {
            desk.clock.pass_s(60);
            assert_eq!(told(desk, &monitor, &name, &json!({ "dedupe_key": "k", "state": "resolved" })).await, word("resolved", 1));
            desk.clock.pass_s(60);
            assert_eq!(told(desk, &monitor, &name, &firing("k", &at(0))).await, word("updated", 1), "{round}");
        }
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!((&ticket["status"], &ticket["reopen_count"]), (&json!("open"), &json!(0)));
        let comments = desk.all(&agent, "/v1/tickets/1/comments").await;
        assert_eq!(comments.len(), 5);
        assert!(comments.iter().all(|comment| comment["visibility"] == "internal" && comment["author"]["kind"] == "service_account"));
        let kinds = trail(desk, &agent, 1).await.0;
        assert_eq!(kinds.iter().filter(|kind| *kind == "alert.fired").count(), 6);
        // What the alerts say is for staff.
        let public = desk.account("tickets:read").await;
        assert!(trail(desk, &public, 1).await.0.iter().all(|kind| !kind.starts_with("alert.")));
    }

    async fn what_the_end_does_is_said_by_the_source(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let mut number = 0;
        for (on_resolve, is_worked_on, status, comments) in [
            ("resolve_untouched", false, "resolved", 0), ("resolve_untouched", true, "open", 1), ("resolve", false, "resolved", 0),
            ("resolve", true, "resolved", 0), ("note", false, "new", 1), ("note", true, "open", 1),
        ] {
            let name = source(desk, &admin, json!({ "on_resolve": on_resolve })).await;
            number += 1;
            assert_eq!(told(desk, &monitor, &name, &firing("k", EIGHT)).await, word("created", number));
            let place = format!("/v1/tickets/{number}");
            if is_worked_on {
                desk.patch(&place).by(&agent).json(&json!({ "status": "open" })).expect(200).await;
            }
            assert_eq!(told(desk, &monitor, &name, &resolved("k", EIGHT)).await, word("resolved", number));
            assert_eq!(desk.get(&place).by(&agent).expect(200).await.body["status"], json!(status), "{on_resolve} {is_worked_on}");
            assert_eq!(desk.all(&agent, &format!("{place}/comments")).await.len(), comments, "{on_resolve} {is_worked_on}");
        }
        // Of those on which nobody worked numbers tell apart that they ended by themselves: nobody was quick.
        desk.clock.pass_s(3600);
        let window = "from=2026-03-02T00:00:00Z&to=2026-03-03T00:00:00Z";
        let figures = desk.get(&format!("/v1/metrics/summary?{window}")).by(&agent).expect(200).await.body["total"].clone();
        assert_eq!(figures["tickets"]["resolved_by"], json!({ "alert": 1, "people": 2 }), "{figures}");
        assert_eq!((&figures["tickets"]["resolved"], &figures["tickets"]["first_contact"]), (&json!(3), &json!(2)));
        assert_eq!((&figures["first_contact_rate"], &figures["durations"]["resolution"]["calendar"]["count"]), (&json!(1.0), &json!(2)));
        assert_eq!(figures["durations"]["response"]["calendar"]["count"], json!(4), "three were begun, and one was solved at once by somebody");
    }

    async fn twins_that_tell_the_same_at_once_are_one(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        let other = desk.another_instance();
        for round in 0..5 {
            let bodies: Vec<Value> = (0..3).map(|n| firing(&format!("k{}-{round}", n), EIGHT)).collect();
            let path = format!("/v1/alerts/{name}");
            let twins = (0..8).map(|n| {
                let mut body = bodies.clone();
                if n % 2 == 1 {
                    body.reverse();
                }
                let url = if n % 2 == 0 { &desk.url } else { &other };
                desk.ask_at(url, reqwest::Method::POST, &path).by(&monitor).json(&json!(body)).expect(200)
            });
            let answers = futures::future::join_all(twins).await;
            let results: Vec<_> = answers.iter().flat_map(|answer| answer.body["items"].as_array().unwrap().iter().map(|item| item["result"].as_str().unwrap())).collect();
            assert_eq!(results.iter().filter(|result| **result == "created").count(), 3, "{results:?}");
            assert_eq!(results.iter().filter(|result| **result == "unchanged").count(), 21, "{results:?}");
        }
        assert_eq!(desk.all(&agent, "/v1/tickets?channel=monitoring").await.len(), 15);
    }

    async fn many_alerts_are_taken_in_and_more_are_refused(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        let all: Vec<Value> = (0..501).map(|n| firing(&format!("k{n}"), EIGHT)).collect();
        let path = format!("/v1/alerts/{name}");
        desk.post(&path).by(&monitor).json(&json!(all)).refused(413, "body_too_large").await;
        let first = tell(desk, &monitor, &name, &json!(all[..500])).await;
        let items = first.body["items"].as_array().unwrap();
        assert!(items.iter().enumerate().all(|(n, item)| item["result"] == "created" && item["dedupe_key"] == format!("k{n}")));
        let again = tell(desk, &monitor, &name, &json!(all[..500])).await;
        assert!(again.body["items"].as_array().unwrap().iter().all(|item| item["result"] == "unchanged"));
        let ends: Vec<Value> = (0..500).map(|n| resolved(&format!("k{n}"), EIGHT)).collect();
        let ends = tell(desk, &monitor, &name, &json!(ends)).await;
        assert!(ends.body["items"].as_array().unwrap().iter().all(|item| item["result"] == "resolved"));
        assert_eq!(desk.all(&agent, "/v1/alerts?state=firing").await.len(), 0);
        assert_eq!(desk.all(&agent, &format!("/v1/alerts?source={name}&limit=200")).await.len(), 500);
        let metrics = desk.account("metrics:read").await;
        let told = desk.get("/metrics").by(&metrics).expect(200).await.text();
        for line in [format!("skranke_alerts{{source=\"{name}\",state=\"firing\"}} 0"), format!("skranke_alerts{{source=\"{name}\",state=\"resolved\"}} 500"),
            format!("skranke_alerts_received_total{{source=\"{name}\",result=\"created\"}} 500"), format!("skranke_alerts_received_total{{source=\"{name}\",result=\"unchanged\"}} 500")] {
            assert!(told.lines().any(|told| told == line), "{line}\n{told}");
        }
    }

    async fn a_bad_entry_does_not_stop_the_others(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        let body = json!([firing("a", EIGHT), { "state": "firing" }, firing("b", EIGHT), 7, { "dedupe_key": "c", "state": "burning" }, { "dedupe_key": "d", "state": "firing", "nope": 1 }]);
        let answer = tell(desk, &monitor, &name, &body).await;
        let results: Vec<_> = answer.body["items"].as_array().unwrap().iter().map(|item| (item["result"].as_str().unwrap(), item["problem"]["code"].as_str())).collect();
        assert_eq!(results, [("created", None), ("ignored", Some("validation_failed")), ("created", None), ("ignored", Some("validation_failed")),
            ("ignored", Some("validation_failed")), ("ignored", Some("validation_failed"))]);
        assert_eq!(answer.body["items"][4]["problem"]["errors"][0]["pointer"], json!("/4/state"));
        assert_eq!(answer.body["items"][4]["dedupe_key"], json!("c"));
        // What is no alert at all is refused.
        let path = format!("/v1/alerts/{name}");
        for bad in [json!({}), json!([]), json!([1, 2]), json!("x"), json!({ "dedupe_key": " ", "state": "firing" })] {
            desk.post(&path).by(&monitor).json(&bad).refused(422, "validation_failed").await;
        }
        for bad in [json!({}), json!({ "alerts": [] }), json!({ "alerts": [1] }), json!([])] {
            desk.post(&format!("{path}/alertmanager")).by(&monitor).json(&bad).refused(422, "validation_failed").await;
        }
        desk.post(&path).by(&monitor).raw("application/json", "{").refused(400, "malformed_json").await;
        // Texts of any length and kind are taken, cut, and that is said.
        let labels: serde_json::Map<String, Value> = (0..100).map(|n| (format!("l{n:03}"), json!("ü".repeat(2_000)))).collect();
        let huge = json!({ "dedupe_key": "k".repeat(9_000), "state": "firing", "severity": "s".repeat(300), "summary": "x\ny\u{0}".repeat(400),
            "description": "d".repeat(200_000), "labels": labels, "links": ["https://example.org/", "https://example.org/"] });
        assert_eq!(told(desk, &monitor, &name, &huge).await, word("created", 3));
        assert_eq!(told(desk, &monitor, &name, &huge).await, word("unchanged", 3));
        let alert = desk.get("/v1/tickets/3/alerts").by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&alert["truncated"], alert["labels"].as_object().unwrap().len()), (&json!(true), 64));
        assert_eq!(alert["labels"]["l000"].as_str().unwrap().chars().count(), 1_024);
        let ticket = desk.get("/v1/tickets/3").by(&agent).expect(200).await.body;
        assert!(ticket["subject"].as_str().unwrap().chars().count() <= 255 && ticket["description"].as_str().unwrap().len() <= 65_536);
        // Redacting a ticket takes what its alerts say, too.
        desk.delete("/v1/tickets/3").by(&admin).expect(204).await;
        let alert = desk.get("/v1/tickets/3/alerts").by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&alert["labels"], &alert["summary"], &alert["severity"]), (&json!({}), &json!("Redacted"), &Value::Null));
        // And it is not told again.
        assert_eq!(told(desk, &monitor, &name, &huge).await, word("unchanged", 3));
        let mut end = huge.clone();
        end["state"] = json!("resolved");
        for again in [&end, &huge] {
            told(desk, &monitor, &name, again).await;
        }
        let alert = desk.get("/v1/tickets/3/alerts").by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&alert["labels"], &alert["summary"], &alert["severity"]), (&json!({}), &json!("Redacted"), &Value::Null));
        assert!(!json!(desk.all(&agent, "/v1/tickets/3/comments").await).to_string().contains("ddd"));
    }

    async fn alertmanager_and_grafana_are_understood(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Storage" })).expect(201).await.body["id"].clone();
        let name = source(desk, &admin, json!({ "subject_template": "[{severity}] {summary}" })).await;
        let send = |source: &str, body: &Value| desk.post(&format!("/v1/alerts/{source}/alertmanager")).by(&monitor).json(body).expect(200);
        let alert = |instance: &str, status: &str, starts: &str, fingerprint: Option<&str>| {
            let mut alert = json!({ "status": status, "labels": { "alertname": "DiskFull", "instance": instance, "severity": "critical", "team": "Storage" },
                "annotations": { "summary": format!("Disk full on {instance}"), "description": "94 %" }, "startsAt": starts,
                "endsAt": if status == "resolved" { "2026-03-02T08:30:00.5+01:00" } else { "0001-01-01T00:00:00Z" }, "generatorURL": "https://prometheus.example.org/graph" });
            if let Some(fingerprint) = fingerprint {
                alert["fingerprint"] = json!(fingerprint);
            }
            alert
        };
        let message = |alerts: Value, status: &str| json!({ "version": "4", "groupKey": "{}:{alertname=\"DiskFull\"}", "truncatedAlerts": 2, "status": status, "receiver": "skranke",
            "groupLabels": { "alertname": "DiskFull" }, "commonLabels": { "alertname": "DiskFull", "severity": "critical" }, "commonAnnotations": {},
            "externalURL": "https://alertmanager.example.org", "orgId": 1, "title": "[FIRING:2]", "state": "alerting", "message": "m", "alerts": alerts });
        let starts = "2026-03-02T08:00:00.123456789Z";
        let both = json!([alert("db-1", "firing", starts, Some("f1")), alert("db-2", "firing", starts, None)]);
        let answer = send(&name, &message(both.clone(), "firing")).await.body;
        assert_eq!((&answer["items"][0]["result"], &answer["items"][1]["result"]), (&json!("created"), &json!("created")));
        assert_eq!(answer["items"][0]["dedupe_key"], json!("f1"));
        let number = answer["items"][0]["ticket"]["number"].as_i64().unwrap();
        let ticket = desk.get(&format!("/v1/tickets/{number}")).by(&agent).expect(200).await.body;
        assert_eq!((&ticket["subject"], &ticket["priority"], &ticket["team"]["id"]), (&json!("[critical] Disk full on db-1"), &json!("urgent"), &team));
        assert_eq!(ticket["reported_at"], json!("2026-03-02T08:00:00.123456Z"));
        let told = desk.get(&format!("/v1/tickets/{number}/alerts")).by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&told["truncated_alerts"], &told["links"][0]), (&json!(2), &json!("https://prometheus.example.org/graph")));
        let again = send(&name, &message(both, "firing")).await.body;
        assert_eq!((&again["items"][0]["result"], &again["items"][1]["result"]), (&json!("unchanged"), &json!("unchanged")));
        // A group is sent again as a whole when one of its members changes.
        let mixed = json!([alert("db-1", "resolved", starts, Some("f1")), alert("db-2", "firing", starts, None)]);
        let answer = send(&name, &message(mixed, "firing")).await.body;
        assert_eq!((&answer["items"][0]["result"], &answer["items"][1]["result"]), (&json!("resolved"), &json!("unchanged")));
        let told = desk.get(&format!("/v1/tickets/{number}/alerts")).by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&told["state"], &told["ends_at"]), (&json!("resolved"), &json!("2026-03-02T07:30:00.500000Z")));

        // One ticket for a group: it counts those of its alerts that fire.
        let grouped = source(desk, &admin, json!({ "group_by": "group" })).await;
        let of_group = |alerts: Value, status: &str| send(&grouped, &message(alerts, status));
        let (one, two) = (alert("db-1", "firing", "2026-03-02T08:00:00Z", Some("f1")), alert("db-2", "firing", "2026-03-02T08:20:00Z", Some("f2")));
        let over = |instance: &str, fingerprint: &str| alert(instance, "resolved", "2026-03-02T08:00:00Z", Some(fingerprint));
        let result = |answer: &Value| (answer["items"].as_array().unwrap().len(), answer["items"][0]["result"].as_str().unwrap().to_owned());
        let quiet = |mut message: Value| { message["truncatedAlerts"] = json!(0); message };
        let first = of_group(json!([one]), "firing").await.body;
        assert_eq!(result(&first), (1, "created".into()));
        let number = first["items"][0]["ticket"]["number"].as_i64().unwrap();
        assert_eq!(result(&of_group(json!([one, two]), "firing").await.body), (1, "updated".into()));
        assert_eq!(result(&of_group(json!([one, two]), "firing").await.body), (1, "unchanged".into()));
        let told = desk.get(&format!("/v1/tickets/{number}/alerts")).by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&told["firing_count"], &told["starts_at"]), (&json!(2), &json!("2026-03-02T08:20:00.000000Z")));
        assert_eq!(desk.get(&format!("/v1/tickets/{number}")).by(&agent).expect(200).await.body["reported_at"], json!(EIGHT));
        assert_eq!(result(&of_group(json!([one, over("db-2", "f2")]), "firing").await.body), (1, "updated".into()));
        let end = quiet(message(json!([over("db-1", "f1"), over("db-2", "f2")]), "resolved"));
        assert_eq!(result(&send(&grouped, &end).await.body), (1, "resolved".into()));
        assert_eq!(desk.get(&format!("/v1/tickets/{number}")).by(&agent).expect(200).await.body["status"], json!("resolved"));
    }

    async fn a_source_is_set_up_and_heard_as_it_says(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (monitor, stranger) = (desk.account("alerts:write").await, desk.account("alerts:write").await);
        let writer = desk.account("tickets:write").await;
        let name = source(desk, &admin, json!({ "principal_id": monitor.id })).await;
        let path = format!("/v1/alerts/{name}");
        // Only its own account may send, and none without the scope.
        desk.post(&path).by(&stranger).json(&firing("k", EIGHT)).refused(404, "not_found").await;
        desk.post("/v1/alerts/nobody").by(&monitor).json(&firing("k", EIGHT)).refused(404, "not_found").await;
        desk.post(&path).by(&writer).json(&firing("k", EIGHT)).refused(403, "insufficient_scope").await;
        desk.post(&path).by(&agent).json(&firing("k", EIGHT)).refused(403, "forbidden").await;
        desk.post(&path).by(&monitor).header("if-match", "\"1\"").json(&firing("k", EIGHT)).refused(412, "version_mismatch").await;
        let list = desk.get("/v1/alert-sources").by(&admin).expect(200).await.body["items"].clone();
        let (id, place) = (list[0]["id"].as_str().unwrap().to_owned(), format!("/v1/alert-sources/{}", list[0]["id"].as_str().unwrap()));
        assert_eq!(told(desk, &monitor, &id, &firing("k", EIGHT)).await, word("created", 1));
        // Set up otherwise, it is heard otherwise.
        let read = desk.get(&place).by(&admin).expect(200).await;
        assert_eq!((read.header("etag"), &read.body["on_resolve"], &read.body["reopen_within_s"]), (Some("\"1\""), &json!("resolve_untouched"), &json!(86_400)));
        desk.patch(&place).by(&admin).header("if-match", "\"9\"").json(&json!({ "enabled": false })).refused(412, "version_mismatch").await;
        let off = desk.patch(&place).by(&admin).json(&json!({ "enabled": false })).expect(200).await;
        assert_eq!(off.body["version"], json!(2));
        assert_eq!(desk.patch(&place).by(&admin).json(&json!({ "enabled": false })).expect(200).await.body["version"], json!(2));
        assert_eq!(told(desk, &monitor, &name, &firing("quiet", EIGHT)).await, ("ignored".to_owned(), None));
        let faults = desk.patch(&place).by(&admin).json(&json!({ "team": "No such team", "principal_id": writer.id, "requester_id": id })).refused(422, "validation_failed").await;
        assert_eq!(faults.pointers(), ["/principal_id", "/requester_id", "/team"]);
        let faults = desk.patch(&place).by(&admin).json(&json!({ "priorities": { "x": "loud", "": "low" }, "reopen_within_s": -1, "group_by": "team" })).refused(422, "validation_failed").await;
        assert_eq!(faults.pointers().len(), 4, "{}", faults.text());
        desk.post("/v1/alert-sources").by(&admin).json(&json!({ "name": name })).refused(409, "conflict").await;
        desk.post("/v1/alert-sources").by(&admin).json(&json!({ "name": id })).refused(422, "validation_failed").await;
        // The report of a ticket lies no further back than that, and never to come.
        let near = source(desk, &admin, json!({ "backdate_max_s": 60 })).await;
        for (key, starts, reported) in [("old", EIGHT, "2026-03-02T08:59:00.000000Z"), ("new", "2026-03-02T09:30:00.000000Z", "2026-03-02T09:00:00.000000Z")] {
            let (_, number) = told(desk, &monitor, &near, &firing(key, starts)).await;
            assert_eq!(desk.get(&format!("/v1/tickets/{}", number.unwrap())).by(&agent).expect(200).await.body["reported_at"], json!(reported));
        }
        // Removed, it is not there, and its alerts are forgotten.
        desk.delete(&place).by(&admin).expect(204).await;
        desk.get(&place).by(&admin).refused(404, "not_found").await;
        desk.post(&path).by(&monitor).json(&firing("k", EIGHT)).refused(404, "not_found").await;
        assert_eq!(desk.get("/v1/tickets/1/alerts").by(&agent).expect(200).await.body["items"], json!([]));
        while skranke::alerts::service::forget_alerts(&desk.db, desk.clock.now(), 1).await.unwrap() > 0 {}
        assert_eq!(desk.store.count("alerts").await, 2);
    }

    async fn alerts_that_are_over_are_forgotten(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        for (key, ends) in [("over", true), ("fires", false)] {
            tell(desk, &monitor, &name, &firing(key, EIGHT)).await;
            if ends {
                tell(desk, &monitor, &name, &resolved(key, EIGHT)).await;
            }
        }
        tell(desk, &monitor, &name, &resolved("unknown", EIGHT)).await;
        let left = async |days: i64| {
            desk.clock.pass_s(days * 86_400);
            while skranke::alerts::service::forget_alerts(&desk.db, desk.clock.now(), 10).await.unwrap() > 0 {}
            desk.all(&agent, "/v1/alerts").await.len()
        };
        assert_eq!((left(1).await, left(1).await, left(87).await, left(2).await), (3, 2, 2, 1));
        let metrics = desk.account("metrics:read").await;
        let told = desk.get("/metrics").by(&metrics).expect(200).await.text();
        assert!(told.contains(&format!("skranke_alerts{{source=\"{name}\",state=\"resolved\"}} 0")), "{told}");
    }

    async fn whoever_sends_alerts_is_told_503_where_others_are_told_429(desk) {
        let (admin, monitor) = (desk.admin().await, desk.account("alerts:write").await);
        let name = source(desk, &admin, json!({})).await;
        let url = desk.instance_with(|mut settings| {
            settings.limits.per_principal = 3;
            settings
        });
        let send = || desk.ask_at(&url, reqwest::Method::POST, &format!("/v1/alerts/{name}")).by(&monitor).json(&firing("k", EIGHT));
        for _ in 0..3 {
            send().expect(200).await;
        }
        let refused = send().refused(503, "unavailable").await;
        assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
        desk.ask_at(&url, reqwest::Method::GET, "/v1/me").by(&monitor).refused(429, "rate_limited").await;
    }
}
