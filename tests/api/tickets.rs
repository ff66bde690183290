//! Tickets: opening, reading, changing, listing, and their life.

use serde_json::{Value, json};
use skranke::tickets::service::{close_resolved, move_activity_of_renamed};

use crate::on_both;
use crate::support::{Caller, Desk};

fn ids(items: &[Value]) -> Vec<i64> {
    items.iter().map(|item| item["number"].as_i64().unwrap()).collect()
}

on_both! {
    /// What the answer to a POST tells is not read back; it must be the same to the byte.
    async fn what_is_opened_is_told_as_it_is_read(desk) {
        let admin = desk.admin().await;
        let agent = desk.agent().await;
        let ada = desk.requester().await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        let hours = json!({ "name": "Office", "time_zone": "Europe/Oslo", "working_hours": { "monday": [{ "from": "08:00", "to": "16:00" }] } });
        let calendar = desk.post("/v1/sla/calendars").by(&admin).json(&hours).expect(201).await.body;
        desk.post("/v1/sla/policies").by(&admin).json(&json!({ "name": "All", "calendar_id": calendar["id"], "targets": [
            { "target": "response", "target_s": 900, "hours": "calendar" },
            { "target": "service", "target_s": 3600, "hours": "business" },
        ] })).expect(201).await;
        let known = json!({ "email": "grace@example.org", "name": "Grace" });
        for fields in [
            json!({}),
            json!({ "team_id": team["id"], "assignee_id": agent.id, "requester_id": ada.id, "reported_at": "2026-03-01T10:00:00.123456789Z" }),
            json!({ "requester": known, "custom_fields": { "long": { "b": [1.50, -0.25, 1e3], "aa": null, "a": "ü" } } }),
            json!({ "requester": { "email": "GRACE@example.org", "name": "Somebody else" }, "follow_up_of": 1 }),
        ] {
            let mut body = json!({ "subject": "s", "tags": ["b", "a"] });
            body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            let told = desk.post("/v1/tickets").by(&agent).json(&body).expect(201).await;
            let read = desk.get(told.header("location").unwrap()).by(&agent).expect(200).await;
            assert_eq!((told.text(), told.header("etag")), (read.text(), read.header("etag")));
        }
    }

    async fn a_requester_reports_and_gets_what_was_promised(desk) {
        let ada = desk.requester().await;
        let answer = desk.post("/v1/tickets").by(&ada).json(&json!({
            "subject": "The printer is on fire", "description": "Smoke.\nFlames.", "priority": "urgent", "type": "incident",
            "channel": "phone", "tags": ["printer", "fire", "printer"], "custom_fields": { "floor": 2, "gone": null },
            "external_id": "x-1",
        })).expect(201).await;
        let ticket = &answer.body;
        assert_eq!(answer.header("location"), Some(format!("/v1/tickets/{}", ticket["id"].as_str().unwrap()).as_str()));
        assert_eq!(answer.header("etag"), Some("\"1\""));
        let me = json!({ "id": ada.id, "name": ada.name });
        let mut expected = json!({
            "id": ticket["id"], "number": 1, "subject": "The printer is on fire", "description": "Smoke.\nFlames.",
            "status": "new", "priority": "urgent", "type": "incident", "channel": "phone", "requester": me, "assignee": null,
            "team": null, "created_by": me, "external_id": "x-1", "follow_up_of": null, "tags": ["printer", "fire"],
            "custom_fields": { "floor": 2 }, "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "activity_at": null,
            "reported_at": "2026-03-02T09:00:00.000000Z", "started_at": null, "first_replied_at": null, "resolved_at": null,
            "closed_at": null, "reopen_count": 0, "clocks": [], "version": 1,
            "durations": {
                "response": null, "first_reply": null, "service": null, "resolution": null,
                "in_status_s": { "new": 0, "open": 0, "waiting_requester": 0, "waiting_third_party": 0, "resolved": 0, "closed": 0 },
            },
        });
        let more = json!({ "closes_at": null, "next_due": null, "allowed_statuses": ["resolved"] });
        expected.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        assert_eq!(*ticket, expected);
        for which in [ticket["id"].as_str().unwrap(), "1"] {
            let read = desk.get(&format!("/v1/tickets/{which}")).by(&ada).expect(200).await;
            assert_eq!(read.body, *ticket);
        }
        assert_eq!(desk.ticket(&ada, json!({})).await["number"], 2);
    }

    async fn the_least_that_is_needed_is_a_subject(desk) {
        let script = desk.account("tickets:write tickets:read").await;
        let ticket = desk.ticket(&script, json!({})).await;
        assert_eq!((&ticket["priority"], &ticket["type"], &ticket["channel"]), (&json!("normal"), &json!("incident"), &json!("api")));
        assert_eq!((&ticket["requester"], &ticket["created_by"]["name"]), (&Value::Null, &json!(script.name)));
        assert_eq!((&ticket["tags"], &ticket["custom_fields"], &ticket["description"]), (&json!([]), &json!({}), &json!("")));
    }

    async fn somebody_may_report_on_somebody_elses_behalf(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        let script = desk.account("tickets:write tickets:read").await;
        let by_id = desk.ticket(&agent, json!({ "requester_id": ada.id })).await;
        assert_eq!((&by_id["requester"]["id"], &by_id["created_by"]["id"]), (&json!(ada.id), &json!(agent.id)));
        let new = desk.ticket(&script, json!({ "requester": { "email": "Grace@Example.org", "name": "Grace" } })).await;
        assert_eq!(new["requester"]["name"], "Grace");
        // The same address is the same person, whatever the case and the name.
        let again = desk.ticket(&agent, json!({ "requester": { "email": "grace@example.org", "name": "Other" } })).await;
        assert_eq!(again["requester"], new["requester"]);
        let own = desk.ticket(&agent, json!({})).await;
        assert_eq!(own["requester"]["id"], json!(agent.id));
        // The clocks of two machines differ: what is a little ahead is now.
        let ahead = desk.ticket(&agent, json!({ "reported_at": "2026-03-02T09:01:00.000000Z" })).await;
        assert_eq!((&ahead["reported_at"], &ahead["created_at"]), (&json!("2026-03-02T09:00:00.000000Z"), &json!("2026-03-02T09:00:00.000000Z")));

        let both = json!({ "subject": "s", "requester_id": ada.id, "requester": { "email": "a@b", "name": "A" } });
        assert_eq!(desk.post("/v1/tickets").by(&agent).json(&both).refused(422, "validation_failed").await.pointers(), ["/requester"]);
        for body in [
            json!({ "subject": "s", "requester_id": agent.id }),
            json!({ "subject": "s", "requester": { "email": "a@b", "name": "A" } }),
            json!({ "subject": "s", "assignee_id": agent.id }),
            json!({ "subject": "s", "reported_at": "2026-03-01T00:00:00.000000Z" }),
        ] {
            desk.post("/v1/tickets").by(&ada).json(&body).refused(403, "forbidden").await;
        }
        let for_self = desk.ticket(&ada, json!({ "requester_id": ada.id })).await;
        assert_eq!(for_self["requester"]["id"], json!(ada.id));
    }

    async fn references_that_lead_nowhere_are_all_named(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        let nobody = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";
        let body = json!({ "subject": "s", "team_id": nobody, "assignee_id": ada.id, "requester_id": nobody,
            "follow_up_of": 99, "reported_at": "2026-03-02T09:01:00.000001Z" });
        let refused = desk.post("/v1/tickets").by(&agent).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/assignee_id", "/follow_up_of", "/reported_at", "/requester_id", "/team_id"]);
        assert!(desk.all(&agent, "/v1/tickets").await.is_empty());
    }

    async fn a_report_may_be_back_dated_but_not_into_the_future(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({ "reported_at": "2026-03-01T23:59:59.123456789+01:00" })).await;
        assert_eq!(ticket["reported_at"], "2026-03-01T22:59:59.123456Z");
        assert_eq!(ticket["created_at"], "2026-03-02T09:00:00.000000Z");
    }

    async fn its_life_is_that_of_the_design(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        let refused = desk.patch(&path).by(&agent).json(&json!({ "status": "waiting_requester" })).refused(409, "illegal_transition").await;
        assert_eq!(refused.body["legal"], json!(["open", "resolved"]));

        desk.clock.pass_s(60);
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "assignee_id": agent.id })).await;
        assert_eq!((&ticket["status"], &ticket["started_at"]), (&json!("new"), &Value::Null));
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
        assert_eq!(ticket["started_at"], "2026-03-02T09:01:00.000000Z");
        for status in ["waiting_requester", "waiting_third_party", "open", "resolved"] {
            desk.clock.pass_s(60);
            assert_eq!(desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await["status"], status);
        }
        let ticket = desk.read_ticket(&agent, &ticket).await;
        assert_eq!((&ticket["resolved_at"], &ticket["started_at"]), (&json!("2026-03-02T09:05:00.000000Z"), &json!("2026-03-02T09:01:00.000000Z")));
        desk.clock.pass_s(60);
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
        assert_eq!((&ticket["resolved_at"], &ticket["reopen_count"]), (&Value::Null, &json!(1)));
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "status": "closed" })).await;
        assert_eq!(ticket["closed_at"], "2026-03-02T09:06:00.000000Z");
        desk.patch(&path).by(&agent).json(&json!({ "status": "open" })).refused(409, "ticket_closed").await;
        desk.patch(&path).by(&agent).json(&json!({ "subject": "s" })).refused(409, "ticket_closed").await;
        let comment = json!({ "body": "late", "visibility": "public" });
        desk.post(&format!("{path}/comments")).by(&agent).json(&comment).refused(409, "ticket_closed").await;

        let follow_up = desk.ticket(&agent, json!({ "follow_up_of": ticket["number"] })).await;
        assert_eq!(follow_up["follow_up_of"], ticket["id"]);

        let quick = desk.ticket(&agent, json!({})).await;
        let quick = desk.patch_ticket(&agent, &quick, json!({ "status": "resolved" })).await;
        assert_eq!(quick["started_at"], quick["resolved_at"]);
    }

    async fn a_patch_merges_and_tells_null_from_absent(desk) {
        let (agent, other) = (desk.agent().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({ "assignee_id": agent.id, "tags": ["a"], "external_id": "x",
            "custom_fields": { "a": { "b": 1, "c": 2 }, "d": 3 } })).await;
        let same = desk.patch_ticket(&agent, &ticket, json!({ "subject": "The printer is on fire", "tags": ["a"] })).await;
        assert_eq!(same, ticket, "a patch that changes nothing leaves the version");
        desk.clock.pass_s(1);
        let patched = desk.patch_ticket(&agent, &ticket, json!({ "assignee_id": other.id, "tags": ["b", "c"], "priority": "low",
            "type": "question", "custom_fields": { "a": { "b": null, "e": [1, null] }, "d": "x" } })).await;
        assert_eq!(patched["custom_fields"], json!({ "a": { "c": 2, "e": [1, null] }, "d": "x" }));
        assert_eq!((&patched["assignee"]["id"], &patched["tags"], &patched["version"]), (&json!(other.id), &json!(["b", "c"]), &json!(2)));
        assert_eq!((&patched["updated_at"], &patched["external_id"]), (&json!("2026-03-02T09:00:01.000000Z"), &json!("x")));
        let emptied = json!({ "assignee_id": null, "tags": null, "custom_fields": null, "external_id": null, "requester_id": null });
        let patched = desk.patch_ticket(&agent, &patched, emptied).await;
        assert_eq!((&patched["assignee"], &patched["tags"], &patched["custom_fields"]), (&Value::Null, &json!([]), &json!({})));
        assert_eq!((&patched["requester"], &patched["external_id"]), (&Value::Null, &Value::Null));
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        let refused = desk.patch(&path).by(&agent).json(&json!({ "subject": null, "status": null, "number": 7, "tags": [1] })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/number", "/status", "/subject", "/tags/0"]);
        // 9 KiB twice is more than 16 KiB.
        for (field, status) in [("a", 200), ("b", 422)] {
            desk.patch(&path).by(&agent).json(&json!({ "custom_fields": { field: "x".repeat(9000) } })).expect(status).await;
        }
        // What lies deeper than its trail could tell is not taken.
        for (levels, status) in [(63, 200), (64, 422)] {
            let deep = (0..levels).fold(json!(1), |inner, level| if level % 2 == 0 { json!([inner]) } else { json!({ "a": inner }) });
            let other = desk.ticket(&agent, json!({})).await;
            let path = format!("/v1/tickets/{}", other["number"]);
            let said = desk.patch(&path).by(&agent).json(&json!({ "custom_fields": { "a": deep } })).expect(status).await;
            if status == 422 {
                assert_eq!(said.body["errors"][0]["pointer"], "/custom_fields", "{}", said.text());
            }
            desk.get(&format!("{path}/events")).by(&agent).expect(200).await;
            desk.delete(&path).by(&desk.admin().await).expect(204).await;
        }
    }

    async fn a_merge_patch_has_a_media_type_of_its_own(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        for media_type in ["application/merge-patch+json", "application/json; charset=utf-8"] {
            desk.patch("/v1/tickets/1").by(&agent).raw(media_type, "{}").expect(200).await;
        }
        desk.patch("/v1/tickets/1").by(&agent).raw("text/plain", "{}").refused(415, "unsupported_media_type").await;
    }

    async fn numbers_come_back_alike_from_both_databases(desk) {
        let agent = desk.agent().await;
        let fields = r#"{"subject":"s","custom_fields":{"bb":1e16,"a":-0.0,"c":1e19,"d":1e300,"e":1.5e-7,"f":100.0,"g":18446744073709551615,"h":-9223372036854775808,"i":0.1,"å":"ø"}}"#;
        let opened = desk.post("/v1/tickets").by(&agent).raw("application/json", fields).expect(201).await;
        let shown = r#"{"a":0,"bb":10000000000000000,"c":10000000000000000000,"d":1e+300,"e":1.5e-7,"f":100,"g":18446744073709551615,"h":-9223372036854775808,"i":0.1,"å":"ø"}"#;
        assert!(opened.text().contains(&format!("\"custom_fields\":{shown}")), "{}", opened.text());
        let read = desk.get("/v1/tickets/1").by(&agent).expect(200).await;
        assert_eq!(read.text(), opened.text());
    }

    async fn an_external_id_is_unique_for_each_account(desk) {
        let (one, two) = (desk.account("tickets:write tickets:read").await, desk.account("tickets:write").await);
        let first = desk.ticket(&one, json!({ "external_id": "alert-1" })).await;
        let refused = desk.post("/v1/tickets").by(&one).json(&json!({ "subject": "s", "external_id": "alert-1" })).refused(409, "duplicate_external_id").await;
        assert_eq!(refused.body["existing"], json!({ "id": first["id"], "number": first["number"], "status": "new" }));
        desk.ticket(&two, json!({ "external_id": "alert-1" })).await;
        let second = desk.ticket(&one, json!({ "external_id": "alert-2" })).await;
        let path = format!("/v1/tickets/{}", second["number"]);
        desk.patch(&path).by(&one).json(&json!({ "external_id": "alert-1" })).refused(409, "duplicate_external_id").await;
        desk.patch(&path).by(&one).json(&json!({ "external_id": "alert-2" })).expect(200).await;

        // What is closed gives it free, and is found behind those that came later.
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&one, &first, json!({ "status": status })).await;
        }
        desk.clock.pass_s(1);
        let again = desk.ticket(&one, json!({ "external_id": "alert-1" })).await;
        let found = desk.get("/v1/tickets?external_id=alert-1").by(&one).expect(200).await;
        let numbers: Vec<_> = found.body["items"].as_array().unwrap().iter().map(|ticket| ticket["number"].clone()).collect();
        assert_eq!((&numbers[0], numbers.len()), (&again["number"], 3));
        assert_eq!(numbers[2], first["number"]);

        let asks = (0..8).map(|_| desk.post("/v1/tickets").by(&one).json(&json!({ "subject": "s", "external_id": "race" })).send());
        let statuses: Vec<_> = futures::future::join_all(asks).await.iter().map(|a| a.status.as_u16()).collect();
        assert_eq!(statuses.iter().filter(|s| **s == 201).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|s| **s == 409).count(), 7, "{statuses:?}");
    }

    async fn a_requester_sees_their_own_and_cannot_tell_others_from_none(desk) {
        let (ada, eve, agent) = (desk.requester().await, desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let comment = json!({ "body": "b", "visibility": "public" });
        let path = |id: &str| format!("/v1/tickets/{id}");
        for (real, none) in [(ticket["id"].as_str().unwrap(), "019a2f4e-7c1b-7d3e-8f00-1234567890ab"), ("1", "99")] {
            for tail in ["", "/comments", "/events"] {
                let real = desk.get(&format!("{}{tail}", path(real))).by(&eve).header("x-request-id", "r").refused(404, "not_found").await;
                let none = desk.get(&format!("{}{tail}", path(none))).by(&eve).header("x-request-id", "r").refused(404, "not_found").await;
                assert_eq!(real.bytes, none.bytes);
            }
            for patch in [json!({ "subject": "s" }), json!({ "priority": "low" }), json!({ "status": "closed" })] {
                let real = desk.patch(&path(real)).by(&eve).header("x-request-id", "r").json(&patch).refused(404, "not_found").await;
                let none = desk.patch(&path(none)).by(&eve).header("x-request-id", "r").json(&patch).refused(404, "not_found").await;
                assert_eq!(real.bytes, none.bytes);
            }
            desk.post(&format!("{}/comments", path(real))).by(&eve).json(&comment).refused(404, "not_found").await;
        }
        assert!(desk.all(&eve, "/v1/tickets").await.is_empty());
        assert!(desk.all(&eve, &format!("/v1/tickets?requester_id={}", ada.id)).await.is_empty());
        assert_eq!(desk.all(&ada, "/v1/tickets").await.len(), 1);
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
        desk.post("/v1/tickets").by(&eve).json(&json!({ "subject": "s", "follow_up_of": 1 })).refused(422, "validation_failed").await;
        assert_eq!(desk.read_ticket(&ada, &ticket).await, ticket);
    }

    async fn a_requester_mends_solves_and_reopens_and_leaves_the_sorting(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        for patch in [json!({ "external_id": "x" }), json!({ "assignee_id": agent.id }),
            json!({ "status": "waiting_requester" }), json!({ "status": "open" }), json!({ "requester_id": agent.id })] {
            desk.patch(&path).by(&ada).json(&patch).refused(403, "forbidden").await;
        }
        let refused = desk.patch(&path).by(&ada).json(&json!({ "status": "closed" })).refused(409, "illegal_transition").await;
        assert_eq!(refused.body["legal"], json!(["resolved"]), "what they may do themselves");
        assert_eq!(desk.read_ticket(&ada, &ticket).await, ticket);
        desk.patch_ticket(&ada, &ticket, json!({ "subject": "Found a fire extinguisher", "status": "resolved" })).await;
        let ticket = desk.patch_ticket(&ada, &ticket, json!({ "status": "open" })).await;
        assert_eq!((&ticket["subject"], &ticket["reopen_count"]), (&json!("Found a fire extinguisher"), &json!(1)));
        desk.patch_ticket(&agent, &ticket, json!({ "status": "waiting_requester" })).await;
        desk.patch_ticket(&ada, &ticket, json!({ "status": "open" })).await;
        let mut waiting = desk.patch_ticket(&agent, &ticket, json!({ "status": "waiting_third_party" })).await;
        waiting["activity_at"] = Value::Null;
        waiting["allowed_statuses"] = json!(["resolved"]);
        // That somebody else has delivered is not theirs to say.
        desk.patch(&path).by(&ada).json(&json!({ "status": "open" })).refused(403, "forbidden").await;
        assert_eq!(desk.read_ticket(&ada, &ticket).await, waiting);
        desk.patch_ticket(&ada, &ticket, json!({ "status": "resolved" })).await;
        let closed = desk.patch_ticket(&ada, &ticket, json!({ "status": "closed" })).await;
        assert_eq!(closed["closed_at"], closed["resolved_at"]);
        desk.patch(&path).by(&ada).json(&json!({ "status": "open" })).refused(409, "ticket_closed").await;
    }

    /// Every way by which a ticket may come to have been begun and replied to, with everybody who may try it.
    async fn work_is_begun_and_replied_to_by_those_who_do_it(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let script = desk.account("tickets:read tickets:write comments:read comments:write internal:read").await;
        let alarm = desk.account("tickets:read tickets:write").await;
        let bot = desk.account("comments:read comments:write").await;
        let narrow = desk.narrowed(&ada, "tickets:write");
        let set = |status: &str| ("", json!({ "status": status }));
        let say = |visibility: &str| ("/comments", json!({ "body": "…", "visibility": visibility }));
        let works = ("/time-entries", json!({ "work_s": 60, "agent_id": agent.id }));
        let assigns = ("", json!({ "assignee_id": agent.id, "priority": "high" }));
        let (neither, begun, both) = ((false, false), (true, false), (true, true));
        // Who does what to a new ticket of whose; the status of the answer; whether it is begun and replied to then.
        for (what, who, owner, (place, body), status, expected) in [
            ("a requester opens", &ada, &ada, set("open"), 403, neither),
            ("so with a narrower token", &narrow, &ada, set("open"), 403, neither),
            ("a requester speaks", &ada, &ada, say("public"), 201, neither),
            ("a requester speaks aside", &ada, &ada, say("internal"), 403, neither),
            ("a requester works", &ada, &ada, works.clone(), 403, neither),
            ("a requester assigns", &ada, &ada, assigns.clone(), 403, neither),
            ("a requester mends", &ada, &ada, ("", json!({ "subject": "s" })), 200, neither),
            ("an agent opens", &agent, &ada, set("open"), 200, begun),
            ("an agent speaks", &agent, &ada, say("public"), 201, both),
            ("an agent speaks aside", &agent, &ada, say("internal"), 201, neither),
            ("an agent works", &agent, &ada, works.clone(), 201, neither),
            ("an agent assigns", &agent, &ada, assigns.clone(), 200, neither),
            ("an agent opens their own", &agent, &agent, set("open"), 200, begun),
            ("an agent speaks on their own", &agent, &agent, say("public"), 201, neither),
            ("an admin opens", &admin, &ada, set("open"), 200, begun),
            ("an admin speaks", &admin, &ada, say("public"), 201, both),
            ("an admin speaks on their own", &admin, &admin, say("public"), 201, neither),
            ("an account that may opens", &alarm, &ada, set("open"), 200, begun),
            ("an account that may not opens", &bot, &ada, set("open"), 403, neither),
            ("an account that may all speaks", &script, &ada, say("public"), 201, neither),
            ("a bot speaks", &bot, &ada, say("public"), 201, neither),
            ("an account speaks aside", &script, &ada, say("internal"), 201, neither),
            ("an account works", &alarm, &ada, works.clone(), 201, neither),
            ("an account assigns", &alarm, &ada, assigns.clone(), 200, neither),
        ] {
            let ticket = desk.ticket(&admin, json!({ "requester_id": owner.id })).await;
            desk.clock.pass_s(60);
            let path = format!("/v1/tickets/{}{place}", ticket["id"].as_str().unwrap());
            let ask = if place.is_empty() { desk.patch(&path) } else { desk.post(&path) };
            let answer = ask.by(who).json(&body).send().await;
            assert_eq!(answer.status, status, "{what}: {}", answer.text());
            let ticket = desk.read_ticket(&agent, &ticket).await;
            let seen = (ticket["started_at"].is_string(), ticket["first_replied_at"].is_string());
            assert_eq!(seen, expected, "{what}");
            assert_eq!((ticket["status"] == "new", &ticket["resolved_at"]), (!expected.0, &Value::Null), "{what}");
        }
        // Resolved by whom it may be, and at once begun: nothing is left to respond to.
        for (what, who, owner, may) in [
            ("a requester", &ada, &ada, true), ("an agent", &agent, &ada, true), ("an agent, of their own", &agent, &agent, true),
            ("an admin", &admin, &ada, true), ("an account that may", &alarm, &ada, true), ("one that may not", &bot, &ada, false),
        ] {
            let ticket = desk.ticket(&admin, json!({ "requester_id": owner.id })).await;
            desk.clock.pass_s(60);
            let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
            let answer = desk.patch(&path).by(who).json(&json!({ "status": "resolved" })).send().await;
            assert_eq!(answer.status.is_success(), may, "{what}");
            let ticket = desk.read_ticket(&agent, &ticket).await;
            assert_eq!((ticket["resolved_at"].is_string(), &ticket["started_at"]), (may, &ticket["resolved_at"]), "{what}");
            assert_eq!(ticket["first_replied_at"], Value::Null, "{what}");
        }
    }

    async fn every_filter_filters(desk) {
        let (agent, other, ada) = (desk.agent().await, desk.agent().await, desk.requester().await);
        let admin = desk.admin().await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Facilities" })).expect(201).await.body["id"].as_str().unwrap().to_owned();
        let one = desk.ticket(&agent, json!({ "priority": "low", "type": "question", "channel": "web", "tags": ["a", "b"], "team_id": team })).await;
        desk.clock.pass_s(10);
        let two = desk.ticket(&agent, json!({ "priority": "urgent", "assignee_id": other.id, "tags": ["b"], "external_id": "x,1" })).await;
        desk.clock.pass_s(10);
        let three = desk.ticket(&agent, json!({ "assignee_id": agent.id, "requester_id": ada.id })).await;
        desk.clock.pass_s(10);
        desk.patch_ticket(&agent, &one, json!({ "status": "open" })).await;
        desk.clock.pass_s(10);
        let note = json!({ "visibility": "internal", "body": "Ask the janitor." });
        desk.post("/v1/tickets/2/comments").by(&agent).json(&note).expect(201).await;
        assert_eq!((one["number"].as_i64(), two["number"].as_i64(), three["number"].as_i64()), (Some(1), Some(2), Some(3)));
        let table: Vec<(String, Vec<i64>)> = vec![
            (String::new(), vec![3, 2, 1]),
            ("status=new".into(), vec![3, 2]),
            ("status=new,open".into(), vec![3, 2, 1]),
            ("priority=urgent,low".into(), vec![2, 1]),
            ("type=question".into(), vec![1]),
            ("channel=web".into(), vec![1]),
            (format!("team_id={team}"), vec![1]),
            ("team_id=none".into(), vec![3, 2]),
            (format!("team_id=none,{team}"), vec![3, 2, 1]),
            ("assignee_id=me".into(), vec![3]),
            ("assignee_id=none".into(), vec![1]),
            (format!("assignee_id=none,{}", other.id), vec![2, 1]),
            (format!("requester_id={}", ada.id), vec![3]),
            ("requester_id=me".into(), vec![2, 1]),
            ("tag=a".into(), vec![1]),
            ("tag=a,b".into(), vec![2, 1]),
            ("tag=c".into(), vec![]),
            ("external_id=x%2C1".into(), vec![2]),
            ("created_after=2026-03-02T09:00:00.000000Z".into(), vec![3, 2]),
            ("created_before=2026-03-02T09:00:20.000000Z".into(), vec![2, 1]),
            ("updated_after=2026-03-02T09:00:20.000000Z".into(), vec![1]),
            ("updated_before=2026-03-02T09:00:20.000000Z".into(), vec![2]),
            ("activity_after=2026-03-02T09:00:30.000000Z".into(), vec![2]),
            ("activity_before=2026-03-02T09:00:30.000000Z".into(), vec![3]),
            ("activity_before=2026-03-02T09:01:00.000000Z&status=new".into(), vec![3, 2]),
            ("status=new&assignee_id=me&priority=normal".into(), vec![3]),
            ("status=open&assignee_id=me".into(), vec![]),
            ("sort=created_at".into(), vec![1, 2, 3]),
            ("sort=-updated_at".into(), vec![1, 3, 2]),
            ("sort=updated_at".into(), vec![2, 3, 1]),
            ("sort=activity_at".into(), vec![3, 1, 2]),
            ("sort=-activity_at".into(), vec![2, 1, 3]),
            ("sort=-activity_at&status=new".into(), vec![2, 3]),
            ("sort=priority".into(), vec![1, 3, 2]),
            ("sort=-priority".into(), vec![2, 3, 1]),
            ("sort=priority,-created_at".into(), vec![1, 3, 2]),
            ("policy_id=none".into(), vec![3, 2, 1]),
            ("reported_after=2026-03-02T09:00:00Z".into(), vec![3, 2]),
            ("reported_before=2026-03-02T09:00:20Z".into(), vec![2, 1]),
            ("resolved_after=2026-03-02T09:00:00Z".into(), vec![]),
            ("resolved_before=2026-03-02T10:00:00Z".into(), vec![]),
            ("closed_after=2026-03-02T09:00:00Z".into(), vec![]),
            ("closed_before=2026-03-02T10:00:00Z".into(), vec![]),
            ("ids=1,3".into(), vec![3, 1]),
            ("view=full&status=!new".into(), vec![1]),
        ];
        // A new filter does not pass until it is here. These have tests of their own, and these are about pages.
        let document = desk.get("/openapi.json").expect(200).await.body;
        let parameters = document["paths"]["/v1/tickets"]["get"]["parameters"].as_array().unwrap();
        let names = parameters.iter().filter_map(|parameter| parameter["name"].as_str());
        for name in names.filter(|name| !["q", "typing", "highlight", "view_id", "sla", "limit", "cursor"].contains(name)) {
            assert!(table.iter().any(|(query, _)| query.contains(&format!("{name}="))), "{name} is not tried");
        }
        for (filter, expected) in table {
            for limit in [1, 2, 50] {
                let items = desk.all(&agent, &format!("/v1/tickets?limit={limit}&{filter}")).await;
                assert_eq!(ids(&items), expected, "{filter} by {limit}");
            }
        }
    }

    async fn what_is_internal_moves_what_staff_see_and_nothing_else(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let (narrow, wide) = (desk.account("tickets:read").await, desk.account("tickets:read internal:read").await);
        let made = desk.ticket(&ada, json!({ "subject": "The lamp flickers" })).await;
        let path = format!("/v1/tickets/{}", made["id"].as_str().unwrap());
        let comments = format!("{path}/comments");
        let read = async |who: &Caller| {
            let answer = desk.get(&path).by(who).expect(200).await;
            let (list, tag) = {
                let list = desk.get("/v1/tickets").by(who).expect(200).await;
                let tag = list.header("etag").unwrap().to_owned();
                (list, tag)
            };
            assert!(tag.starts_with("W/\"") && list.body["items"][0] == answer.body);
            desk.get("/v1/tickets").by(who).header("if-none-match", &tag).expect(304).await;
            (answer.header("etag").unwrap().to_owned(), answer.body, tag)
        };
        let look = async || {
            let mut all = Vec::new();
            for who in [&agent, &wide, &ada, &narrow] {
                all.push(read(who).await);
            }
            desk.clock.pass_s(10);
            all
        };
        let check = async |what: &str, before: Vec<(String, Value, String)>, expected: [bool; 4]| {
            let [version, updated, activity, of_all] = expected;
            for (who, (tag, body, list)) in [&agent, &wide, &ada, &narrow].into_iter().zip(before) {
                let sees = who.id == agent.id || who.id == wide.id;
                let now = read(who).await;
                assert_eq!(now.1["version"] != body["version"], version, "{what}");
                assert_eq!(now.1["updated_at"] != body["updated_at"], updated, "{what}");
                assert_eq!(now.1["activity_at"].is_string(), sees, "{what}");
                assert_eq!(now.1["activity_at"] != body["activity_at"], sees && activity, "{what}");
                assert_eq!(now.0 != tag, version || sees && activity, "{what}");
                assert_eq!(now.2 != list, of_all || sees && activity, "{what}");
                // Whatever stands behind the dot, it is the version that is written to.
                desk.patch(&path).by(&agent).header("if-match", &now.0).json(&json!({})).expect(200).await;
            }
        };
        let say = |visibility: &str| {
            let body = json!({ "visibility": visibility, "body": "It is the switch." });
            desk.post(&comments).by(&agent).json(&body).expect(201)
        };
        let (internal, public) = ([false, false, true, false], [true, true, true, true]);
        let before = look().await;
        let note = format!("{comments}/{}", say("internal").await.body["id"].as_str().unwrap());
        check("an internal comment", before, internal).await;
        let before = look().await;
        let reply = format!("{comments}/{}", say("public").await.body["id"].as_str().unwrap());
        check("a public comment", before, public).await;
        for (comment, expected) in [(&note, internal), (&reply, public)] {
            for expected in [expected, [false; 4]] {
                let before = look().await;
                desk.patch(comment).by(&agent).json(&json!({ "body": "Not the switch." })).expect(200).await;
                check("an edit of a comment", before, expected).await;
            }
            for expected in [expected, [false; 4]] {
                let before = look().await;
                desk.delete(comment).by(&admin).expect(204).await;
                check("a redaction of a comment", before, expected).await;
            }
        }
        let entries = format!("{path}/time-entries");
        let before = look().await;
        let entry = desk.post(&entries).by(&agent).json(&json!({ "work_s": 60 })).expect(201).await.body;
        check("work", before, internal).await;
        let before = look().await;
        desk.delete(&format!("{entries}/{}", entry["id"].as_str().unwrap())).by(&agent).expect(204).await;
        check("less work", before, internal).await;
        let before = look().await;
        desk.patch(&format!("/v1/users/{}", ada.id)).by(&admin).json(&json!({ "name": "Ada King" })).expect(200).await;
        let mut walk = None;
        while move_activity_of_renamed(&desk.db, &mut walk, 100).await.unwrap() {}
        check("another name", before, [false, false, true, true]).await;
        // Of somebody who asks for nothing and has one ticket to do, and of one who has none.
        desk.patch(&path).by(&agent).json(&json!({ "assignee_id": admin.id })).expect(200).await;
        for (who, expected) in [(&admin, [false, false, true, true]), (&agent, [false; 4])] {
            let before = look().await;
            desk.patch(&format!("/v1/users/{}", who.id)).by(&admin).json(&json!({ "name": "Grace" })).expect(200).await;
            let mut walk = None;
            while move_activity_of_renamed(&desk.db, &mut walk, 1).await.unwrap() {}
            check("another name", before, expected).await;
        }
        assert_eq!(desk.store.count("renamed_people").await, 0);

        for query in ["sort=activity_at", "sort=-activity_at", "activity_after=2026-03-02T09:00:00.000000Z", "activity_before=2026-03-02T09:00:00.000000Z"] {
            desk.get(&format!("/v1/tickets?{query}")).by(&ada).refused(403, "forbidden").await;
            desk.get(&format!("/v1/tickets?{query}")).by(&narrow).refused(403, "insufficient_scope").await;
            desk.get(&format!("/v1/tickets?{query}")).by(&wide).expect(200).await;
        }
    }

    async fn a_walk_neither_skips_nor_repeats_while_tickets_come_in(desk) {
        let agent = desk.agent().await;
        for i in 0..30 {
            // Several tickets at one instant, of equal priority: the number decides.
            if i % 4 == 0 {
                desk.clock.pass_s(1);
            }
            desk.ticket(&agent, json!({ "priority": (["low", "normal", "urgent"][i % 3]) })).await;
        }
        for sort in ["created_at", "-created_at", "updated_at", "-updated_at", "priority", "-priority"] {
            let there: Vec<_> = ids(&desk.all(&agent, &format!("/v1/tickets?limit=200&sort={sort}")).await);
            let mut seen = Vec::new();
            let mut cursor = String::new();
            loop {
                let page = desk.get(&format!("/v1/tickets?limit=4&sort={sort}{cursor}")).by(&agent).expect(200).await.body;
                seen.extend(ids(page["items"].as_array().unwrap()));
                desk.clock.pass_s(1);
                desk.ticket(&agent, json!({ "priority": "high" })).await;
                match page["next_cursor"].as_str() {
                    Some(next) => cursor = format!("&cursor={next}"),
                    None => break,
                }
                if seen.len() > 500 { break; }
            }
            let walked: Vec<_> = seen.iter().copied().filter(|n| there.contains(n)).collect();
            assert_eq!(walked, there, "{sort}");
            let mut once = seen.clone();
            once.sort_unstable();
            once.dedup();
            assert_eq!(once.len(), seen.len(), "{sort} repeats");
        }
    }

    async fn the_audit_trail_has_every_change(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&ada, json!({ "tags": ["a"] })).await;
        desk.clock.pass_s(5);
        desk.patch_ticket(&agent, &ticket, json!({ "status": "open", "priority": "high" })).await;
        desk.patch_ticket(&agent, &ticket, json!({ "priority": "high" })).await;
        let events = desk.all(&ada, &format!("/v1/tickets/{}/events?limit=1", ticket["number"])).await;
        assert_eq!(events.len(), 2, "a patch that changes nothing leaves no event");
        assert_eq!((&events[0]["type"], &events[0]["actor"]["id"], &events[0]["at"]), (&json!("ticket.created"), &json!(ada.id), &json!("2026-03-02T09:00:00.000000Z")));
        let first = events[0]["changes"].as_array().unwrap();
        assert!(first.contains(&json!({ "field": "subject", "before": null, "after": "The printer is on fire" })));
        assert!(first.contains(&json!({ "field": "tags", "before": null, "after": ["a"] })));
        assert_eq!(events[1]["type"], "ticket.updated");
        assert_eq!(events[1]["actor"], json!({ "id": agent.id, "name": agent.name }));
        assert_eq!(events[1]["changes"], json!([
            { "field": "status", "before": "new", "after": "open" },
            { "field": "priority", "before": "normal", "after": "high" },
            { "field": "started_at", "before": null, "after": "2026-03-02T09:00:05.000000Z" },
        ]));
    }

    async fn resolved_tickets_close_by_themselves_also_with_several_instances(desk) {
        let agent = desk.agent().await;
        let mut tickets = Vec::new();
        for _ in 0..5 {
            let ticket = desk.ticket(&agent, json!({})).await;
            tickets.push(desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await);
        }
        desk.clock.pass_s(100);
        let late = desk.ticket(&agent, json!({})).await;
        desk.patch_ticket(&agent, &late, json!({ "status": "resolved" })).await;
        assert_eq!(close_resolved(&desk.db, 101, desk.clock.now(), &desk.ids).await.unwrap(), 0);
        let rounds = (0..4).map(|_| close_resolved(&desk.db, 100, desk.clock.now(), &desk.ids));
        let closed: usize = futures::future::join_all(rounds).await.into_iter().map(Result::unwrap).sum();
        assert_eq!(closed, 5);
        for ticket in &tickets {
            let read = desk.read_ticket(&agent, ticket).await;
            assert_eq!((&read["status"], &read["closed_at"]), (&json!("closed"), &json!("2026-03-02T09:01:40.000000Z")));
            let events = desk.all(&agent, &format!("/v1/tickets/{}/events", ticket["number"])).await;
            assert_eq!(events.len(), 3, "closed once");
            assert_eq!(events[2]["actor"], Value::Null, "the service did it by itself");
        }
        assert_eq!(desk.read_ticket(&agent, &late).await["status"], "resolved");
    }
}

/// A transcript of a day at the desk, with the ids, which are random, replaced by their order of appearance.
async fn transcript(desk: &Desk) -> String {
    let (agent, ada) = (desk.agent().await, desk.requester().await);
    let mut lines = String::new();
    let mut asks = Vec::new();
    for i in 0..12 {
        asks.push(("POST", "/v1/tickets".to_owned(), json!({ "subject": format!("Søknad {i} \u{1F525}"), "priority": (["low", "high"][i % 2]),
            "custom_fields": { "zz": i, "a": [1.5, null, { "ö": "\u{7f}" }] }, "tags": [format!("t{}", i % 3)], "external_id": format!("e{i}") })));
    }
    for i in 1..=12 {
        asks.push((
            "PATCH",
            format!("/v1/tickets/{i}"),
            json!({ "status": if i % 2 == 0 { "open" } else { "resolved" } }),
        ));
        asks.push((
            "POST",
            format!("/v1/tickets/{i}/comments"),
            json!({ "body": "På vei", "visibility": if i % 3 == 0 { "internal" } else { "public" } }),
        ));
    }
    asks.push(("POST", "/v1/tickets".into(), json!({ "subject": "", "nope": 1, "priority": "huge" })));
    asks.push(("POST", "/v1/tickets".into(), json!({ "subject": "again", "external_id": "e3" })));
    for path in [
        "/v1/tickets?limit=5",
        "/v1/tickets?sort=-priority&tag=t1",
        "/v1/tickets?status=open,resolved&sort=updated_at",
        "/v1/tickets/3/comments",
        "/v1/tickets/3/events",
        "/v1/tickets/99",
        "/v1/tickets?limit=0&x=1",
    ] {
        asks.push(("GET", path.into(), Value::Null));
    }
    for (i, (method, path, body)) in asks.into_iter().enumerate() {
        desk.clock.pass_s(1);
        let who = if i % 5 == 0 { &ada } else { &agent };
        let mut ask = desk.ask(method.parse().unwrap(), &path).by(who).header("x-request-id", "r");
        if !body.is_null() {
            ask = ask.json(&body);
        }
        let answer = ask.send().await;
        // The tag of a list is of its items, and so of their ids.
        let tag = answer.header("etag").filter(|tag| !tag.starts_with("W/"));
        lines.push_str(&format!("{method} {path} {} {tag:?} {}\n", answer.status, answer.text()));
    }
    let id = regex::Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
    let mut known: Vec<String> = Vec::new();
    id.replace_all(&lines, |found: &regex::Captures<'_>| {
        let place = known.iter().position(|k| *k == found[0]).unwrap_or_else(|| {
            known.push(found[0].to_owned());
            known.len() - 1
        });
        format!("#{place}")
    })
    .into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_databases_answer_alike_to_the_byte() {
    let sqlite = Desk::open(crate::support::Engine::Sqlite).await;
    let postgres = Desk::open(crate::support::Engine::Postgres).await;
    let (one, two) = (transcript(&sqlite).await, transcript(&postgres).await);
    // Cursors hold no ids for tickets, so that they too are equal.
    for (one, two) in one.lines().zip(two.lines()) {
        assert_eq!(one, two);
    }
    assert_eq!(one.len(), two.len());
    sqlite.close().await;
    postgres.close().await;
}

on_both! {
    /// What happens to a ticket is kept with it, so there is an end to it.
    async fn a_ticket_changes_its_status_so_often_and_no_more(desk) {
        let (agent, ada) = (desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        for status in ["open", "waiting_requester"] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
        }
        // As if it had gone to and fro: the times before stay, the last status is that of now.
        let now = desk.clock.now().micros();
        let spans: Vec<_> = (0..1_001).map(|nth| json!([if nth % 2 == 0 { "waiting_requester" } else { "open" }, now])).collect();
        desk.store.run(&format!("UPDATE ticket_clocks SET timeline = '{}'", json!(spans))).await;
        for status in ["open", "waiting_third_party"] {
            let refused = desk.patch(&path).by(&agent).json(&json!({ "status": status })).refused(409, "conflict").await;
            assert!(refused.body["detail"].as_str().unwrap().contains("1000 times"), "{}", refused.text());
        }
        // All else is as before.
        desk.patch_ticket(&agent, &ticket, json!({ "priority": "high" })).await;
        let hello = json!({ "body": "Hello?", "visibility": "public" });
        desk.post(&format!("{path}/comments")).by(&ada).json(&hello).expect(201).await;
        let said = desk.read_ticket(&agent, &ticket).await;
        assert_eq!((&said["status"], &said["version"]), (&json!("waiting_requester"), &json!(5)));
        desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        desk.patch(&path).by(&agent).json(&json!({ "status": "open" })).refused(409, "conflict").await;
        desk.post(&format!("{path}/comments")).by(&ada).json(&hello).expect(201).await;
        assert_eq!(desk.read_ticket(&agent, &ticket).await["status"], "resolved");
        assert_eq!(desk.all(&ada, &format!("{path}/comments")).await.len(), 2);
        desk.patch_ticket(&agent, &ticket, json!({ "status": "closed" })).await;
    }
}
