//! Comments: public and internal, what they do to a ticket, editing and redaction.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Caller, Desk, untimed};

async fn say(desk: &Desk, who: &Caller, ticket: &Value, visibility: &str) -> Value {
    let path = format!("/v1/tickets/{}/comments", ticket["id"].as_str().unwrap());
    desk.post(&path).by(who).json(&json!({ "body": "Hello.", "visibility": visibility })).expect(201).await.body
}

fn place(comment: &Value) -> String {
    format!("/v1/tickets/{}/comments/{}", comment["ticket_id"].as_str().unwrap(), comment["id"].as_str().unwrap())
}

on_both! {
    async fn an_agents_public_comment_is_the_reply_and_starts_the_work(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let script = desk.account("comments:write tickets:read internal:read").await;
        let ticket = desk.ticket(&ada, json!({})).await;
        desk.clock.pass_s(1);
        say(desk, &script, &ticket, "public").await;
        say(desk, &ada, &ticket, "public").await;
        say(desk, &agent, &ticket, "internal").await;
        let read = desk.read_ticket(&ada, &ticket).await;
        assert_eq!((&read["status"], &read["first_replied_at"]), (&json!("new"), &Value::Null));
        desk.clock.pass_s(1);
        say(desk, &agent, &ticket, "public").await;
        desk.clock.pass_s(1);
        say(desk, &agent, &ticket, "public").await;
        let read = desk.read_ticket(&ada, &ticket).await;
        assert_eq!((&read["status"], &read["started_at"], &read["first_replied_at"]), (&json!("open"), &json!("2026-03-02T09:00:02.000000Z"), &json!("2026-03-02T09:00:02.000000Z")));
        // An agent with a problem of their own is its requester.
        let own = desk.ticket(&agent, json!({})).await;
        say(desk, &agent, &own, "public").await;
        assert_eq!(desk.read_ticket(&agent, &own).await["first_replied_at"], Value::Null);
    }

    async fn a_requesters_comment_brings_the_ticket_back(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
        for (status, after, reopened) in [("waiting_third_party", "waiting_third_party", 0), ("waiting_requester", "open", 0), ("resolved", "open", 1)] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
            say(desk, &ada, &ticket, "public").await;
            let read = desk.read_ticket(&ada, &ticket).await;
            assert_eq!((&read["status"], &read["reopen_count"]), (&json!(after), &json!(reopened)), "{status}");
        }
    }

    async fn an_internal_comment_leaves_no_trace_for_requesters(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        let before = (
            desk.get(&path).by(&ada).expect(200).await,
            desk.get(&format!("{path}/comments")).by(&ada).expect(200).await.bytes,
            desk.get(&format!("{path}/events")).by(&ada).expect(200).await.bytes,
            untimed(&desk.get("/v1/tickets?sort=updated_at").by(&ada).expect(200).await),
        );
        desk.clock.pass_s(60);
        let note = say(desk, &agent, &ticket, "internal").await;
        desk.patch(&place(&note)).by(&agent).json(&json!({ "body": "Secret." })).expect(200).await;
        let after = desk.get(&path).by(&ada).expect(200).await;
        assert_eq!((untimed(&before.0), before.0.headers.get("etag")), (untimed(&after), after.headers.get("etag")));
        assert_eq!(before.1, desk.get(&format!("{path}/comments")).by(&ada).expect(200).await.bytes);
        assert_eq!(before.2, desk.get(&format!("{path}/events")).by(&ada).expect(200).await.bytes);
        assert_eq!(before.3, untimed(&desk.get("/v1/tickets?sort=updated_at").by(&ada).expect(200).await));
        let none = format!("{path}/comments/019a2f4e-7c1b-7d3e-8f00-1234567890ab");
        let real = desk.get(&place(&note)).by(&ada).header("x-request-id", "r").refused(404, "not_found").await;
        assert_eq!(real.bytes, desk.get(&none).by(&ada).header("x-request-id", "r").refused(404, "not_found").await.bytes);
        desk.patch(&place(&note)).by(&ada).json(&json!({ "body": "x" })).refused(404, "not_found").await;
        desk.post(&format!("{path}/comments")).by(&ada).json(&json!({ "body": "x", "visibility": "internal" })).refused(403, "forbidden").await;

        // Agents see it, and service accounts with the scope; a narrowed token does not.
        assert_eq!(desk.all(&agent, &format!("{path}/comments")).await.len(), 1);
        assert_eq!(desk.all(&agent, &format!("{path}/events")).await.len(), 3);
        for (scopes, seen) in [("comments:read", 0), ("comments:read internal:read", 1)] {
            let script = desk.account(scopes).await;
            assert_eq!(desk.all(&script, &format!("{path}/comments")).await.len(), seen);
        }
        let narrowed = desk.narrowed(&agent, "comments:read comments:write tickets:read");
        assert!(desk.all(&narrowed, &format!("{path}/comments")).await.is_empty());
        desk.post(&format!("{path}/comments")).by(&narrowed).json(&json!({ "body": "x", "visibility": "internal" })).refused(403, "insufficient_scope").await;
    }

    async fn visibility_has_no_default(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        let refused = desk.post("/v1/tickets/1/comments").by(&agent).json(&json!({ "body": " \n" })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/visibility"]);
        let blank = json!({ "body": " \n", "visibility": "public" });
        let refused = desk.post("/v1/tickets/1/comments").by(&agent).json(&blank).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/body"]);
    }

    async fn only_its_author_edits_a_comment_and_the_trail_keeps_both_texts(desk) {
        let (ada, agent, other) = (desk.requester().await, desk.agent().await, desk.agent().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let comment = say(desk, &agent, &ticket, "public").await;
        desk.patch(&place(&comment)).by(&other).json(&json!({ "body": "x" })).refused(403, "forbidden").await;
        desk.patch(&place(&comment)).by(&ada).json(&json!({ "body": "x" })).refused(403, "forbidden").await;
        let same = desk.patch(&place(&comment)).by(&agent).json(&json!({ "body": "Hello." })).expect(200).await;
        assert_eq!(same.body, comment);
        desk.clock.pass_s(1);
        let edited = desk.patch(&place(&comment)).by(&agent).header("if-match", "\"1\"").json(&json!({ "body": "Hi." })).expect(200).await;
        assert_eq!((&edited.body["body"], &edited.body["edited_at"], edited.header("etag")), (&json!("Hi."), &json!("2026-03-02T09:00:01.000000Z"), Some("\"2\"")));
        desk.patch(&place(&comment)).by(&agent).header("if-match", "\"1\"").json(&json!({ "body": "Ho." })).refused(412, "version_mismatch").await;
        let read = desk.get(&place(&comment)).by(&ada).expect(200).await;
        assert_eq!(read.body, edited.body);
        let events = desk.all(&ada, "/v1/tickets/1/events").await;
        let edit = events.iter().find(|e| e["type"] == "comment.edited").unwrap();
        assert_eq!(edit["changes"], json!([{ "field": "body", "before": "Hello.", "after": "Hi." }]));
    }

    async fn redaction_removes_the_text_everywhere_even_when_closed(desk) {
        let (ada, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let comment = say(desk, &agent, &ticket, "public").await;
        desk.patch(&place(&comment)).by(&agent).json(&json!({ "body": "My password is hunter2." })).expect(200).await;
        desk.patch(&place(&comment)).by(&agent).json(&json!({ "body": "Never mind." })).expect(200).await;
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
        }
        desk.patch(&place(&comment)).by(&agent).json(&json!({ "body": "x" })).refused(409, "ticket_closed").await;
        desk.delete(&place(&comment)).by(&agent).refused(403, "forbidden").await;
        desk.delete(&place(&comment)).by(&admin).header("if-match", "\"9\"").refused(412, "version_mismatch").await;
        for _ in 0..2 {
            assert!(desk.delete(&place(&comment)).by(&admin).expect(204).await.bytes.is_empty());
        }
        let read = desk.get(&place(&comment)).by(&ada).expect(200).await.body;
        assert_eq!((&read["body"], read["redacted_at"].is_string(), &read["version"]), (&json!(""), true, &json!(4)));
        let trail = desk.get("/v1/tickets/1/events").by(&agent).expect(200).await;
        assert!(!trail.text().contains("hunter2") && !trail.text().contains("Hello"), "{}", trail.text());
        assert_eq!(trail.body["items"].as_array().unwrap().iter().filter(|e| e["type"] == "comment.redacted").count(), 1);
        let open = desk.ticket(&ada, json!({})).await;
        let comment = say(desk, &agent, &open, "public").await;
        desk.delete(&place(&comment)).by(&admin).expect(204).await;
        desk.patch(&place(&comment)).by(&agent).json(&json!({ "body": "x" })).refused(409, "conflict").await;
    }

    async fn comments_come_in_order_and_by_page(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        for i in 0..7 {
            say(desk, &agent, &ticket, if i % 2 == 0 { "public" } else { "internal" }).await;
        }
        let all = desk.all(&agent, "/v1/tickets/1/comments").await;
        assert_eq!(all.len(), 7);
        assert_eq!(desk.all(&agent, "/v1/tickets/1/comments?limit=2").await, all);
    }
}
