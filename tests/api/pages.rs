//! What a page of a frontend needs: reply and change in one write, clocks that can be shown, faults that can be said in
//! another language.

use serde_json::{Value, json};
use skranke::db::DatabaseUrl;

use crate::on_both;
use crate::support::Desk;

async fn promise(desk: &Desk, targets: Value) {
    let admin = desk.admin().await;
    let policy = json!({ "name": "Quickly", "targets": targets });
    desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;
}

on_both! {
    async fn a_reply_and_a_change_are_one_write(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        let reply = json!({ "body": "Done.", "visibility": "public", "ticket": { "status": "resolved", "assignee_id": agent.id, "tags": ["printer"] } });
        desk.clock.pass_s(60);
        let both = desk.post(&comments).by(&agent).header("if-match", "\"1\"").header("idempotency-key", "k").json(&reply).expect(201).await;
        assert_eq!((&both.body["comment"]["body"], &both.body["comment"]["author"]["kind"]), (&json!("Done."), &json!("agent")));
        let after = &both.body["ticket"];
        assert_eq!((&after["status"], &after["first_replied_at"], &after["started_at"]), (&json!("resolved"), &after["started_at"], &after["resolved_at"]));
        assert_eq!((&after["assignee"]["id"], &after["tags"]), (&json!(agent.id), &json!(["printer"])));
        let read = desk.get(&format!("/v1/tickets/{}", ticket["number"])).by(&agent).expect(200).await;
        assert_eq!((read.header("etag"), &read.body), (both.header("etag"), after));
        assert_eq!(both.header("location").unwrap(), format!("/v1/tickets/{}/comments/{}", ticket["id"].as_str().unwrap(), both.body["comment"]["id"].as_str().unwrap()));
        // The same again is the same answer, and no second comment.
        let again = desk.post(&comments).by(&agent).header("if-match", "\"1\"").header("idempotency-key", "k").json(&reply).expect(201).await;
        assert_eq!((again.bytes, again.headers.get("idempotent-replayed").unwrap().to_str().unwrap()), (both.bytes, "true"));
        assert_eq!(desk.all(&ada, &comments).await.len(), 1);
        // Everybody's trail: opened, said, begun, resolved.
        let kinds: Vec<_> = desk.all(&ada, &format!("/v1/tickets/{}/events", ticket["number"])).await.iter().map(|event| event["type"].clone()).collect();
        assert_eq!(kinds, ["ticket.created", "comment.added", "ticket.updated", "ticket.updated"]);

        // Without a change, the answer is the comment alone; `If-Match` is about the ticket all the same.
        let one = json!({ "body": "And?", "visibility": "public" });
        let stale = desk.post(&comments).by(&ada).header("if-match", "\"1\"").json(&one).refused(412, "version_mismatch").await;
        assert_eq!((&stale.body["version"], stale.header("etag")), (&after["version"], Some(format!("\"{}\"", after["version"]).as_str())));
        let current = format!("\"{}\"", after["version"]);
        let comment = desk.post(&comments).by(&ada).header("if-match", &current).json(&one).expect(201).await;
        assert_eq!((&comment.body["body"], &comment.body["author"]["kind"], comment.header("etag")), (&json!("And?"), &json!("requester"), Some("\"1\"")));
        assert_eq!(desk.read_ticket(&agent, &ticket).await["status"], "open");
    }

    async fn what_a_kept_reply_says_is_erased_with_its_ticket_or_its_comment(desk) {
        let (ada, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        for of_ticket in [true, false] {
            let ticket = desk.ticket(&ada, json!({ "subject": "My secret subject" })).await;
            let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
            let comments = format!("{path}/comments");
            let reply = json!({ "body": "My secret reply.", "visibility": "public", "ticket": { "priority": "high" } });
            let key = format!("k {of_ticket}");
            let send = async || desk.post(&comments).by(&agent).header("idempotency-key", &key).json(&reply).expect(201).await;
            let first = send().await;
            let comment = format!("{comments}/{}", first.body["comment"]["id"].as_str().unwrap());
            desk.delete(if of_ticket { &path } else { &comment }).by(&admin).expect(204).await;
            let again = send().await;
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(again.body["comment"]["body"], "", "{}", again.body);
            assert_eq!(again.text().contains("secret subject"), !of_ticket);
            assert!(!again.text().contains("secret reply"));
        }
    }

    async fn a_requester_who_says_where_the_ticket_stands_says_it_once(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        let thanks = |status: &str| json!({ "body": "Thank you.", "visibility": "public", "ticket": { "status": status } });
        let closed = desk.post(&comments).by(&ada).json(&thanks("closed")).expect(201).await;
        assert_eq!((&closed.body["ticket"]["status"], &closed.body["ticket"]["reopen_count"]), (&json!("closed"), &json!(0)));
        let other = desk.ticket(&ada, json!({})).await;
        let comments = format!("/v1/tickets/{}/comments", other["number"]);
        desk.patch_ticket(&agent, &other, json!({ "status": "open" })).await;
        desk.patch_ticket(&agent, &other, json!({ "status": "waiting_requester" })).await;
        let solved = desk.post(&comments).by(&ada).json(&thanks("resolved")).expect(201).await;
        assert_eq!((&solved.body["ticket"]["status"], &solved.body["ticket"]["reopen_count"]), (&json!("resolved"), &json!(0)));
        // What an agent's reply begins comes before what is to follow.
        let third = desk.ticket(&ada, json!({})).await;
        let asked = desk.post(&format!("/v1/tickets/{}/comments", third["number"])).by(&agent).json(&thanks("waiting_requester")).expect(201).await;
        assert_eq!(asked.body["ticket"]["status"], "waiting_requester");
    }

    async fn what_is_wrong_with_one_half_undoes_both(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let (narrow, blind) = (desk.narrowed(&agent, "comments:write comments:read tickets:read"), desk.narrowed(&agent, "comments:write tickets:write"));
        let ticket = desk.ticket(&ada, json!({})).await;
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        let with = |patch: Value| json!({ "body": "Hello.", "visibility": "public", "ticket": patch });
        let illegal = desk.post(&comments).by(&ada).json(&with(json!({ "status": "closed" }))).refused(409, "illegal_transition").await;
        assert_eq!(illegal.body["legal"], json!(["resolved"]));
        let closed = desk.post(&comments).by(&ada).json(&with(json!({ "assignee_id": null, "external_id": "x" }))).refused(403, "forbidden").await;
        assert_eq!(closed.pointers(), ["/ticket/assignee_id", "/ticket/external_id"]);
        let missing = desk.post(&comments).by(&agent).json(&with(json!({ "team_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab" }))).refused(422, "validation_failed").await;
        assert_eq!((missing.pointers(), &missing.body["detail"]), (vec!["/ticket/team_id"], &json!("Not valid: /ticket/team_id.")));
        let unknown = desk.post(&comments).by(&agent).json(&with(json!({ "state": "open", "subject": "" }))).refused(422, "validation_failed").await;
        assert_eq!(unknown.pointers(), ["/ticket/state", "/ticket/subject"]);
        let lacking = desk.post(&comments).by(&narrow).json(&with(json!({}))).refused(403, "insufficient_scope").await;
        assert_eq!(lacking.body["scope"], "tickets:write");
        assert!(desk.all(&agent, &comments).await.is_empty());
        assert_eq!(desk.read_ticket(&agent, &ticket).await["version"], 1);
        // Who may read neither is told neither.
        let unseen = desk.post(&comments).by(&blind).json(&with(json!({ "status": "open" }))).expect(201).await;
        assert_eq!((unseen.text().as_str(), unseen.header("etag")), ("", Some("\"2\"")));
        // An internal comment comes with a change that everybody sees.
        let note = json!({ "body": "Psst.", "visibility": "internal", "ticket": { "priority": "high" } });
        let noted = desk.post(&comments).by(&agent).json(&note).expect(201).await;
        assert_eq!((&noted.body["ticket"]["priority"], &noted.body["ticket"]["version"]), (&json!("high"), &json!(3)));
    }

    async fn no_write_ignores_a_condition(desk) {
        let (ada, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let work = format!("/v1/tickets/{}/time-entries", ticket["number"]);
        desk.post(&work).by(&agent).header("if-match", "\"7\"").json(&json!({ "work_s": 60 })).refused(412, "version_mismatch").await;
        desk.post(&work).by(&agent).header("if-match", "\"1\"").json(&json!({ "work_s": 60 })).expect(201).await;
        // What is yet to be made has no version.
        for (path, body) in [
            ("/v1/tickets", json!({ "subject": "S" })),
            ("/v1/users", json!({ "name": "N", "role": "requester" })),
            ("/v1/teams", json!({ "name": "T" })),
            ("/v1/service-accounts", json!({ "name": "A", "scopes": ["tickets:read"] })),
            ("/v1/webhooks", json!({ "name": "W", "url": "https://example.org/" })),
            ("/v1/sla/calendars", json!({ "name": "C", "time_zone": "UTC", "working_hours": { "monday": [{ "from": "08:00", "to": "16:00" }] } })),
            ("/v1/sla/policies", json!({ "name": "P", "targets": [{ "target": "response", "target_s": 60, "hours": "calendar" }] })),
        ] {
            desk.post(path).by(&admin).header("if-match", "\"1\"").json(&body).refused(412, "version_mismatch").await;
            desk.post(path).by(&admin).header("if-match", "*").json(&body).expect(201).await;
        }
        assert_eq!(desk.all(&admin, "/v1/teams").await.len(), 1);
    }

    async fn comments_come_newest_first_or_after_one(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        let mut ids = Vec::new();
        for nth in 0..6 {
            desk.clock.pass_s(1);
            let visibility = if nth % 3 == 2 { "internal" } else { "public" };
            let said = desk.post(&comments).by(&agent).json(&json!({ "body": nth.to_string(), "visibility": visibility })).expect(201).await;
            ids.push(said.body["id"].as_str().unwrap().to_owned());
        }
        let listed = async |who, query: &str| -> Vec<String> {
            desk.all(who, &format!("{comments}?limit=2&{query}")).await.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
        };
        let mut reversed = ids.clone();
        reversed.reverse();
        assert_eq!(listed(&agent, "").await, ids);
        assert_eq!(listed(&agent, "sort=created_at").await, ids);
        assert_eq!(listed(&agent, "sort=-created_at").await, reversed);
        assert_eq!(listed(&agent, &format!("after={}", ids[2])).await, ids[3..]);
        assert_eq!(listed(&agent, &format!("after={}&sort=-created_at", ids[2])).await, reversed[..3]);
        assert_eq!(listed(&ada, &format!("after={}", ids[1])).await, [ids[3].clone(), ids[4].clone()]);
        assert!(listed(&agent, &format!("after={}", ids[5])).await.is_empty());
        // One that is not seen is none.
        for (who, id) in [(&ada, ids[2].as_str()), (&agent, "019a2f4e-7c1b-7d3e-8f00-1234567890ab")] {
            let refused = desk.get(&format!("{comments}?after={id}")).by(who).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), ["after"]);
        }
        // A cursor is good for the order that it was made in.
        let page = desk.get(&format!("{comments}?limit=2&sort=-created_at")).by(&agent).expect(200).await;
        let cursor = page.body["next_cursor"].as_str().unwrap();
        desk.get(&format!("{comments}?cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        let script = desk.account("comments:write comments:read tickets:read").await;
        let said = desk.post(&comments).by(&script).json(&json!({ "body": "Beep.", "visibility": "public" })).expect(201).await;
        assert_eq!(said.body["author"]["kind"], "service_account");
    }

    async fn clocks_tell_when_they_ended_and_tickets_what_is_due_next(desk) {
        promise(desk, json!([
            { "target": "response", "target_s": 600, "hours": "calendar" },
            { "target": "first_reply", "target_s": 60, "hours": "calendar" },
            { "target": "service", "target_s": 3600, "hours": "calendar" },
        ])).await;
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let clock = |body: &Value, target: &str| body["clocks"].as_array().unwrap().iter().find(|clock| clock["target"] == target).unwrap().clone();
        let reply_due = "2026-03-02T09:01:00.000000Z";
        assert_eq!(ticket["next_due"], json!({ "target": "first_reply", "due_at": reply_due, "state": "running" }));
        desk.clock.pass_s(61);
        let late = desk.read_ticket(&agent, &ticket).await;
        assert_eq!(late["next_due"], json!({ "target": "first_reply", "due_at": reply_due, "state": "breached" }));
        assert_eq!((&clock(&late, "first_reply")["state"], &clock(&late, "first_reply")["ended_at"]), (&json!("breached"), &Value::Null));
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        desk.post(&comments).by(&agent).json(&json!({ "body": "At last.", "visibility": "public" })).expect(201).await;
        let replied = desk.read_ticket(&agent, &ticket).await;
        // Too late, but over; the work has begun in time.
        let now = "2026-03-02T09:01:01.000000Z";
        assert_eq!((&clock(&replied, "first_reply")["state"], &clock(&replied, "first_reply")["ended_at"]), (&json!("breached"), &json!(now)));
        assert_eq!((&clock(&replied, "response")["state"], &clock(&replied, "response")["ended_at"]), (&json!("met"), &json!(now)));
        assert_eq!(replied["next_due"], json!({ "target": "service", "due_at": "2026-03-02T10:01:01.000000Z", "state": "running" }));
        let explained = desk.get(&format!("/v1/tickets/{}/sla", ticket["number"])).by(&agent).expect(200).await.body;
        assert!(explained["clocks"].as_array().unwrap().iter().any(|clock| clock["target"] == "first_reply" && clock["ended_at"] == now));
        desk.patch_ticket(&agent, &ticket, json!({ "status": "waiting_requester" })).await;
        assert_eq!(desk.read_ticket(&agent, &ticket).await["next_due"], Value::Null);
        // One that nobody has answered is due no more once it is closed.
        let unanswered = desk.ticket(&ada, json!({})).await;
        desk.patch_ticket(&ada, &unanswered, json!({ "status": "resolved" })).await;
        assert_eq!(desk.read_ticket(&ada, &unanswered).await["next_due"]["target"], "first_reply");
        desk.patch_ticket(&ada, &unanswered, json!({ "status": "closed" })).await;
        assert_eq!(desk.read_ticket(&ada, &unanswered).await["next_due"], Value::Null);
    }

    async fn a_ticket_tells_what_can_become_of_it(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let reader = desk.narrowed(&agent, "tickets:read");
        let ticket = desk.ticket(&ada, json!({})).await;
        for (status, by_agent, by_ada) in [
            ("new", json!(["open", "resolved"]), json!(["resolved"])),
            ("open", json!(["waiting_requester", "waiting_third_party", "resolved"]), json!(["resolved"])),
            ("waiting_requester", json!(["open", "waiting_third_party", "resolved"]), json!(["open", "resolved"])),
            ("resolved", json!(["open", "closed"]), json!(["open", "closed"])),
            ("closed", json!([]), json!([])),
        ] {
            if status != "new" {
                desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
            }
            let closes_at = if status == "resolved" { json!("2026-03-09T09:00:00.000000Z") } else { Value::Null };
            for (who, allowed) in [(&agent, &by_agent), (&ada, &by_ada), (&reader, &json!([]))] {
                let read = desk.read_ticket(who, &ticket).await;
                assert_eq!((&read["allowed_statuses"], &read["closes_at"]), (allowed, &closes_at), "{status}");
            }
        }
    }

    async fn what_is_wrong_can_be_said_in_another_language(desk) {
        let (ada, admin) = (desk.requester().await, desk.admin().await);
        let fault = async |path: &str, body: Value| desk.post(path).by(&admin).json(&body).refused(422, "validation_failed").await.body["errors"][0].clone();
        for (path, body, expected) in [
            ("/v1/tickets", json!({ "subject": "x".repeat(256) }), json!({ "max": 255, "unit": "characters" })),
            ("/v1/tickets", json!({ "subject": " " }), json!({ "min": 1 })),
            ("/v1/tickets", json!({ "subject": 1 }), json!({ "expected": ["string"], "actual": "integer" })),
            ("/v1/tickets", json!({ "subject": "S", "priority": "vital" }), json!({ "values": ["low", "normal", "high", "urgent"] })),
            ("/v1/tickets", json!({ "subject": "S", "tags": (0..21).map(|n| n.to_string()).collect::<Vec<_>>() }), json!({ "max": 20 })),
            ("/v1/tickets", json!({ "subject": "S", "description": "x".repeat(65_537) }), json!({ "max": 65536, "unit": "bytes" })),
            ("/v1/tickets", json!({ "subject": "S", "custom_fields": { "a": "x".repeat(20_000) } }), json!({ "max": 16384, "unit": "bytes" })),
            ("/v1/teams", json!({ "name": "T", "colour": 1 }), json!({ "known": ["name", "description", "hourly_rate"] })),
            ("/v1/users", json!({ "name": "N", "role": "agent", "email": "n@example.org", "password": "short" }), json!({ "min": 12, "unit": "characters" })),
        ] {
            assert_eq!(fault(path, body).await["params"], expected);
        }
        // What needs no word, has none.
        let plain = fault("/v1/tickets", json!({})).await;
        assert_eq!((&plain["code"], plain.get("params")), (&json!("required"), None));
        let query = desk.get("/v1/tickets?limit=0").by(&ada).refused(400, "invalid_query").await;
        assert_eq!(query.body["errors"][0]["params"], json!({ "min": 1, "max": 200 }));
        // Whoever may not is told who may.
        let forbidden = desk.get("/v1/teams").by(&ada).refused(403, "forbidden").await;
        assert_eq!(forbidden.body["roles"], json!(["agent", "admin"]));
        let narrow = desk.narrowed(&admin, "tickets:read");
        let lacking = desk.post("/v1/teams").by(&narrow).json(&json!({ "name": "T" })).refused(403, "insufficient_scope").await;
        assert_eq!(lacking.body["scope"], "admin");
        let ticket = desk.ticket(&ada, json!({})).await;
        let closed = desk.patch(&format!("/v1/tickets/{}", ticket["number"])).by(&ada).json(&json!({ "assignee_id": "me", "external_id": null })).refused(403, "forbidden").await;
        assert_eq!((closed.pointers(), &closed.body["errors"][0]["code"]), (vec!["/assignee_id", "/external_id"], &json!("forbidden")));
        let stale = desk.patch(&format!("/v1/tickets/{}", ticket["number"])).by(&ada).header("if-match", "\"9\"").json(&json!({ "subject": "S" })).refused(412, "version_mismatch").await;
        assert_eq!((&stale.body["version"], stale.header("etag")), (&json!(1), Some("\"1\"")));
    }
}

on_both! {
    async fn badges_tell_how_many_there_are(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let admin = desk.admin().await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Printers" })).expect(201).await.body["id"].as_str().unwrap().to_owned();
        desk.put(&format!("/v1/teams/{team}/members/{}", agent.id)).by(&admin).expect(204).await;
        assert_eq!(desk.get("/v1/me").by(&agent).expect(200).await.body["teams"], json!([{ "id": team, "name": "Printers" }]));
        assert_eq!(desk.get("/v1/me").by(&ada).expect(200).await.body["teams"], json!([]));
        let mine = desk.ticket(&agent, json!({ "assignee_id": "me", "team_id": team, "tags": ["printer"] })).await;
        assert_eq!(mine["assignee"]["id"], agent.id);
        let others = desk.ticket(&ada, json!({ "subject": "Flames" })).await;
        desk.patch_ticket(&agent, &others, json!({ "assignee_id": "me", "requester_id": "me" })).await;
        desk.patch_ticket(&agent, &others, json!({ "requester_id": ada.id, "status": "resolved" })).await;
        let body = json!({ "filters": {
            "mine": { "assignee_id": "me", "status": "unsolved" }, "ours": { "team_id": "mine" }, "not ours": { "team_id": "!mine" },
            "words": { "q": "flames" }, "all": {}, "none": { "tag": "printer", "priority": "!normal" },
        } });
        let counted = desk.post("/v1/tickets/counts").by(&agent).json(&body).expect(200).await.body;
        let count = |count: i64| json!({ "count": count, "exact": true });
        assert_eq!(counted, json!({ "counts": { "mine": count(1), "ours": count(1), "not ours": count(1), "words": count(1), "all": count(2), "none": count(0) } }));
        let own = desk.post("/v1/tickets/counts").by(&ada).json(&json!({ "filters": { "all": {} } })).expect(200).await.body;
        assert_eq!(own, json!({ "counts": { "all": count(1) } }));
        // Nobody counts what they may not look for.
        desk.post("/v1/tickets/counts").by(&ada).json(&json!({ "filters": { "x": { "activity_after": "2026-03-02T09:00:00Z" } } })).refused(403, "forbidden").await;
        let refused = desk.post("/v1/tickets/counts").by(&agent).json(&json!({ "filters": { "x": { "status": "done", "sort": "created_at" } } })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/filters/x/sort", "/filters/x/status"]);
        let many: serde_json::Map<String, Value> = (0..21).map(|n| (n.to_string(), json!({}))).collect();
        desk.post("/v1/tickets/counts").by(&agent).json(&json!({ "filters": many })).refused(422, "validation_failed").await;
        desk.get("/v1/tickets/counts").by(&agent).refused(405, "method_not_allowed").await;
    }

    async fn a_count_is_exact_up_to_a_thousand(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let id = match &desk.store.url { DatabaseUrl::Sqlite(_) => "randomblob(16)", DatabaseUrl::Postgres(_) => "gen_random_uuid()" };
        let columns = "subject, description, status, priority, type, channel, created_by_id, tags, custom_fields, created_at, updated_at, reported_at, reopen_count, version";
        for (more, expected) in [(999, json!({ "count": 1000, "exact": true })), (1, json!({ "count": 1000, "exact": false }))] {
            let nth = format!("WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {more})");
            let sql = format!("INSERT INTO tickets (id, {columns}) {nth} SELECT {id}, {columns} FROM tickets, n WHERE number = {}", ticket["number"]);
            desk.store.run(&sql).await;
            for filter in [json!({}), json!({ "status": "new" })] {
                let counted = desk.post("/v1/tickets/counts").by(&agent).json(&json!({ "filters": { "all": filter } })).expect(200).await.body;
                assert_eq!(counted["counts"]["all"], expected);
            }
        }
    }

    async fn tags_that_exist_are_offered(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        for tags in [json!(["printer", "paper"]), json!(["print", "printer", "Österreich"]), json!(["vpn"])] {
            desk.ticket(&agent, json!({ "tags": tags })).await;
        }
        let names = async |query: &str| desk.all(&agent, &format!("/v1/tags?limit=2&{query}")).await.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(names("").await, ["paper", "print", "printer", "vpn", "Österreich"]);
        assert_eq!(names("q=print").await, ["print", "printer"]);
        assert_eq!(names("q=%C3%96").await, ["Österreich"]);
        assert!(names("q=printers").await.is_empty());
        desk.get("/v1/tags").by(&ada).refused(403, "forbidden").await;
        // A tag cannot be one that a filter takes for all others.
        desk.post("/v1/tickets").by(&agent).json(&json!({ "subject": "S", "tags": ["!vip"] })).refused(422, "validation_failed").await;
    }

    async fn a_filter_is_all_or_all_others(desk) {
        let agent = desk.agent().await;
        for (query, place) in [
            ("status=open,!closed", "status"), ("tag=!", "tag"), ("tag=!vip,spam", "tag"), ("status=!", "status"), ("status=!!closed", "status"),
            ("sort=created_at,priority", "sort"), ("sort=-priority,relevance", "sort"), ("ids=", "ids"), ("ids=4711,x", "ids"), ("ids=4711&q=printer", "ids"), ("policy_id=x", "policy_id"),
        ] {
            let refused = desk.get(&format!("/v1/tickets?{query}")).by(&agent).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), [place], "{query}");
        }
        let ids = vec!["7"; 201].join(",");
        desk.get(&format!("/v1/tickets?ids={ids}")).by(&agent).refused(400, "invalid_query").await;
        // What leaves nothing finds nothing.
        desk.ticket(&agent, json!({})).await;
        assert!(desk.all(&agent, "/v1/tickets?status=!unsolved,!resolved,!closed").await.is_empty());
        assert!(desk.all(&agent, "/v1/tickets?team_id=mine").await.is_empty());
        let summary = desk.get("/v1/metrics/backlog?team_id=mine").by(&agent).expect(200).await.body;
        assert_eq!(summary["total"]["open"], 0, "{summary}");
    }

    async fn reports_take_all_others_too(desk) {
        let agent = desk.agent().await;
        let low = desk.ticket(&agent, json!({ "priority": "low", "tags": ["vip"] })).await;
        desk.ticket(&agent, json!({ "priority": "high", "assignee_id": "me" })).await;
        desk.patch_ticket(&agent, &low, json!({ "status": "resolved" })).await;
        desk.clock.pass_s(60);
        for (filter, created) in [("priority=!low", 1), ("assignee_id=!me", 1), ("assignee_id=!none", 1), ("tag=!vip", 1), ("tag=!spam", 2), ("team_id=!none", 0), ("status=unsolved", 1), ("reported_after=2026-03-02T10:00:00Z", 0)] {
            let summary = desk.get(&format!("/v1/metrics/summary?{filter}")).by(&agent).expect(200).await.body;
            assert_eq!(summary["total"]["tickets"]["created"], created, "{filter}");
        }
    }
}

on_both! {
    async fn a_ticket_comes_with_what_is_about_it(desk) {
        promise(desk, json!([{ "target": "service", "target_s": 3600, "hours": "calendar" }])).await;
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        for (visibility, body) in [("public", "First."), ("internal", "Psst."), ("public", "Last.")] {
            desk.clock.pass_s(1);
            desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": body, "visibility": visibility })).expect(201).await;
        }
        desk.post(&format!("{path}/time-entries")).by(&agent).json(&json!({ "work_s": 60 })).expect(201).await;
        let everything = format!("{path}?include=requester,comments,events,time_entries,cost,sla");
        let plain = desk.get(&path).by(&agent).expect(200).await;
        let all = desk.get(&everything).by(&agent).expect(200).await;
        let read = async |path: String| desk.get(&path).by(&agent).expect(200).await.body;
        assert_eq!(all.body["comments"], read(format!("{path}/comments?sort=-created_at")).await);
        assert_eq!(all.body["events"], read(format!("{path}/events?sort=-at")).await);
        assert_eq!(all.body["time_entries"], read(format!("{path}/time-entries")).await);
        assert_eq!(all.body["cost"], read(format!("{path}/cost")).await);
        assert_eq!(all.body["sla"], read(format!("{path}/sla")).await);
        assert_eq!(all.body["requester"], read(format!("/v1/users/{}", ada.id)).await);
        // Beside that, it is the ticket.
        let mut rest = all.body.clone();
        let fields = rest.as_object_mut().unwrap();
        for part in ["comments", "events", "time_entries", "cost", "sla"] {
            fields.remove(part).unwrap();
        }
        fields["requester"] = plain.body["requester"].clone();
        assert_eq!(rest, plain.body);
        // A requester gets what is theirs to see.
        let own = desk.get(&everything).by(&ada).expect(200).await;
        let parts: Vec<_> = ["requester", "comments", "events", "time_entries", "cost", "sla"].into_iter().filter(|part| own.body.get(part).is_some()).collect();
        assert_eq!(parts, ["requester", "comments", "events", "sla"]);
        assert_eq!(own.body["comments"]["items"].as_array().unwrap().len(), 2);
        assert!(!own.text().contains("Psst."));
        let narrow = desk.narrowed(&ada, "tickets:read");
        assert_eq!(desk.get(&everything).by(&narrow).expect(200).await.body.get("comments"), None);
        // A nobody's ticket has no requester to tell of.
        let script = desk.account("tickets:write tickets:read").await;
        let bare = desk.ticket(&script, json!({})).await;
        assert_eq!(desk.get(&format!("/v1/tickets/{}?include=requester", bare["number"])).by(&agent).expect(200).await.body["requester"], Value::Null);
        desk.get(&format!("{path}?include=all")).by(&agent).refused(400, "invalid_query").await;
        let other = desk.requester().await;
        desk.get(&everything).by(&other).refused(404, "not_found").await;
    }

    async fn what_comes_with_a_ticket_changes_its_tag_and_not_its_version(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        let whole = format!("{path}?include=comments,time_entries,sla");
        let look = async |seen: &str, status| desk.get(&whole).by(&agent).header("if-none-match", seen).expect(status).await.header("etag").unwrap().to_owned();
        let first = look("\"0\"", 200).await;
        desk.clock.pass_s(5);
        assert_eq!(look(&first, 304).await, first);
        desk.post(&format!("{path}/time-entries")).by(&agent).json(&json!({ "work_s": 60 })).expect(201).await;
        let second = look(&first, 200).await;
        assert_ne!(second, first);
        // Either is good to change this version of the ticket by.
        desk.patch(&path).by(&agent).header("if-match", &first).json(&json!({ "priority": "high" })).expect(200).await;
        desk.patch(&path).by(&agent).header("if-match", &second).json(&json!({ "priority": "low" })).refused(412, "version_mismatch").await;
    }

    async fn each_part_goes_on_in_its_list(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        for nth in 0..60 {
            desk.clock.pass_s(1);
            let body = if nth == 58 { "x".repeat(60_000) } else { nth.to_string() };
            desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": body, "visibility": "public" })).expect(201).await;
        }
        let all = desk.get(&format!("{path}?include=comments,events")).by(&agent).expect(200).await.body;
        let ids = |items: &Value| items.as_array().unwrap().iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
        for (part, list) in [("comments", "comments?sort=-created_at"), ("events", "events?sort=-at")] {
            let expected: Vec<_> = desk.all(&agent, &format!("{path}/{list}&limit=200")).await.iter().map(|item| item["id"].clone()).collect();
            assert_eq!(ids(&all[part]["items"]), expected[..50], "{part}");
            let next = format!("{path}/{list}&limit=200&cursor={}", all[part]["next_cursor"].as_str().unwrap());
            assert_eq!(ids(&desk.get(&next).by(&agent).expect(200).await.body["items"]), expected[50..]);
        }
        // A part ends by bytes, too.
        for _ in 0..10 {
            desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": "\u{1}".repeat(60_000), "visibility": "public" })).expect(201).await;
        }
        let large = desk.get(&format!("{path}?include=comments")).by(&agent).expect(200).await;
        assert_eq!(large.body["comments"]["items"].as_array().unwrap().len(), 1);
        assert!(large.bytes.len() < 500_000 && large.body["comments"]["next_cursor"].is_string());
    }

    async fn a_timeline_is_the_trail_as_people_read_it(desk) {
        let (ada, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Printers" })).expect(201).await.body["id"].as_str().unwrap().to_owned();
        let before = desk.ticket(&ada, json!({ "subject": "Before" })).await;
        let ticket = desk.ticket(&ada, json!({ "follow_up_of": before["id"] })).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        desk.clock.pass_s(1);
        desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": "Hello.", "visibility": "public" })).expect(201).await;
        desk.clock.pass_s(1);
        desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": "Psst.", "visibility": "internal" })).expect(201).await;
        desk.patch_ticket(&agent, &ticket, json!({ "team_id": team, "assignee_id": "me" })).await;
        desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        let timeline = desk.all(&agent, &format!("{path}/timeline?limit=2")).await;
        let told: Vec<_> = timeline.iter().map(|item| match item["kind"].as_str().unwrap() {
            "comment" => item["comment"]["body"].as_str().unwrap().to_owned(),
            _ => item["event"]["changes"].as_array().unwrap().iter().map(|change| change["field"].as_str().unwrap()).collect::<Vec<_>>().join(" "),
        }).collect();
        assert_eq!(told, ["subject description status priority type channel requester_id follow_up_of tags custom_fields reported_at", "Hello.", "status", "Psst.", "team_id assignee_id", "status"].map(str::to_owned));
        let changes = timeline[4]["event"]["changes"].as_array().unwrap();
        assert_eq!(changes[0]["after"], json!({ "id": team, "name": "Printers" }));
        assert_eq!(changes[1], json!({ "field": "assignee_id", "before": null, "after": { "id": agent.id, "name": agent.name } }));
        let opened = timeline[0]["event"]["changes"].as_array().unwrap();
        assert_eq!(opened.iter().find(|change| change["field"] == "follow_up_of").unwrap()["after"], json!({ "id": before["id"], "number": before["number"], "name": "Before" }));
        // The trail names them likewise, and leaves nothing out.
        let events = desk.all(&agent, &format!("{path}/events")).await;
        assert_eq!(events[4]["changes"], timeline[4]["event"]["changes"]);
        assert!(events.last().unwrap()["changes"].as_array().unwrap().iter().any(|change| change["field"] == "resolved_at"));
        // The other way round it is the same.
        let mut reversed = desk.all(&agent, &format!("{path}/timeline?limit=2&sort=-at")).await;
        reversed.reverse();
        assert_eq!(reversed, timeline);
        // A requester sees neither the note nor what they may not know of another's ticket.
        desk.patch_ticket(&agent, &before, json!({ "requester_id": agent.id })).await;
        let own = desk.all(&ada, &format!("{path}/timeline")).await;
        assert_eq!(own.len(), 5);
        assert_eq!(own[0]["event"]["changes"].as_array().unwrap().iter().find(|change| change["field"] == "follow_up_of").unwrap()["after"], json!({ "id": before["id"], "number": null, "name": null }));
        // Without the right to read comments, they are events.
        let narrow = desk.narrowed(&ada, "tickets:read");
        let kinds: Vec<_> = desk.all(&narrow, &format!("{path}/timeline")).await.iter().map(|item| item["kind"].clone()).collect();
        assert_eq!(kinds, ["event"; 5]);
        desk.get(&format!("{path}/timeline?cursor=x")).by(&agent).refused(400, "invalid_cursor").await;
    }

    async fn a_timeline_of_large_comments_loses_none(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        for _ in 0..12 {
            desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": "\u{1}".repeat(60_000), "visibility": "public" })).expect(201).await;
        }
        for sort in ["at", "-at"] {
            let page = desk.get(&format!("{path}/timeline?sort={sort}")).by(&agent).expect(200).await;
            assert!(page.bytes.len() < 1_500_000 && page.body["next_cursor"].is_string());
            let all = desk.all(&agent, &format!("{path}/timeline?sort={sort}")).await;
            assert_eq!(all.iter().filter(|item| item["kind"] == "comment").count(), 12);
            assert_eq!(all.len(), 14);
        }
    }

    async fn a_row_of_a_list_has_what_it_shows(desk) {
        promise(desk, json!([{ "target": "first_reply", "target_s": 3600, "hours": "calendar" }, { "target": "service", "target_s": 7200, "hours": "calendar" }])).await;
        let (ada, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Printers" })).expect(201).await.body["id"].clone();
        for nth in 0..31 {
            let ticket = desk.ticket(&ada, json!({ "subject": "The printer on the second floor is on fire", "description": "Smoke. ".repeat(400), "tags": ["printer", "fire"], "custom_fields": { "floor": nth } })).await;
            desk.patch_ticket(&agent, &ticket, json!({ "team_id": team, "assignee_id": "me" })).await;
            let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
            desk.post(&comments).by(&agent).json(&json!({ "body": format!("{nth}: somebody\n\nis on the way. {}", "Please wait. ".repeat(20)), "visibility": "public" })).expect(201).await;
            desk.clock.pass_s(1);
            desk.post(&comments).by(&agent).json(&json!({ "body": "Psst.", "visibility": "internal" })).expect(201).await;
        }
        let page = desk.get("/v1/tickets?view=summary").by(&ada).expect(200).await;
        let rows = page.body["items"].as_array().unwrap();
        assert_eq!(rows.len(), 31);
        let each_b = page.bytes.len() / 31;
        assert!(each_b <= 800, "{each_b} bytes a row: {}", rows[0]);
        let row = &rows[0];
        for left_out in ["description", "durations", "custom_fields", "clocks"] {
            assert_eq!(row.get(left_out), None, "{left_out}");
        }
        let full = desk.get(&format!("/v1/tickets/{}", row["number"])).by(&ada).expect(200).await.body;
        for (field, value) in row.as_object().unwrap() {
            if !["last_comment", "comment_count"].contains(&field.as_str()) {
                assert_eq!(value, &full[field], "{field}");
            }
        }
        let last = &row["last_comment"];
        assert_eq!((&row["comment_count"], &last["author"]), (&json!(1), &json!({ "id": agent.id, "name": agent.name, "kind": "agent" })));
        let excerpt = last["excerpt"].as_str().unwrap();
        assert!(excerpt.starts_with("30: somebody is on the way. Please wait.") && excerpt.ends_with('…') && excerpt.chars().count() == 80, "{excerpt}");
        // Staff see the note.
        let seen = desk.get("/v1/tickets?view=summary&limit=1").by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&seen["comment_count"], &seen["last_comment"]["excerpt"]), (&json!(2), &json!("Psst.")));
        // Who reads no comments, and who has none.
        let narrow = desk.narrowed(&agent, "tickets:read");
        let unseen = desk.get("/v1/tickets?view=summary&limit=1").by(&narrow).expect(200).await.body["items"][0].clone();
        assert_eq!((&unseen["comment_count"], &unseen["last_comment"]), (&Value::Null, &Value::Null));
        desk.ticket(&ada, json!({})).await;
        let none = desk.get("/v1/tickets?view=summary&limit=1").by(&agent).expect(200).await.body["items"][0].clone();
        assert_eq!((&none["comment_count"], &none["last_comment"]), (&json!(0), &Value::Null));
        // The same rows in the same pages, by any order, as in full.
        for query in ["sort=-priority,due_at", "q=printer", "q=printer&sort=relevance", "status=unsolved"] {
            let numbers = async |view: &str| desk.all(&agent, &format!("/v1/tickets?limit=7&view={view}&{query}")).await.iter().map(|item| item["number"].clone()).collect::<Vec<_>>();
            assert_eq!(numbers("summary").await, numbers("full").await);
        }
    }
}
