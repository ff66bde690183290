//! What a newer version makes of data that an older one has left.

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Caller, Desk};

/// The statements of a migration that fill its tables from what was there.
fn refill(desk: &Desk) -> String {
    let migration = match desk.db.engine() {
        "sqlite" => include_str!("../../migrations/sqlite/0002_clocks/up.sql"),
        _ => include_str!("../../migrations/postgres/0002_clocks/up.sql"),
    };
    let from = |start: &str| &migration[migration.find(start).unwrap()..];
    let comments = from("UPDATE tickets SET agent_comments").split_inclusive(';').next().unwrap();
    let times = from("INSERT INTO ticket_clocks");
    assert!(!comments.contains("CREATE") && !times.contains("CREATE"));
    format!("{comments} {times}")
}

async fn say(desk: &Desk, who: &Caller, ticket: &Value) {
    let path = format!("/v1/tickets/{}/comments", ticket["id"].as_str().unwrap());
    desk.post(&path).by(who).json(&json!({ "body": "Hello.", "visibility": "public" })).expect(201).await;
}

on_both! {
    /// Tickets from before there were clocks get the times that their trail tells of.
    async fn tickets_from_before_there_were_clocks_have_their_times(desk) {
        let (ada, agent, script) = (desk.requester().await, desk.agent().await, desk.account("tickets:write comments:write").await);
        let untouched = desk.ticket(&ada, json!({})).await;
        desk.clock.pass_s(61);
        let back_dated = desk.ticket(&script, json!({ "reported_at": "2026-03-02T08:00:00.5Z" })).await;
        say(desk, &script, &back_dated).await;
        desk.clock.pass_s(600);
        say(desk, &agent, &back_dated).await;
        let busy = desk.ticket(&ada, json!({})).await;
        for (pause_s, status) in [
            (100, "open"), (20, "waiting_requester"), (3_000, "waiting_third_party"), (7, "open"), (50, "resolved"), (900, "open"), (11, "resolved"),
        ] {
            desk.clock.pass_s(pause_s);
            desk.patch_ticket(&agent, &busy, json!({ "status": status })).await;
        }
        let reopened = desk.ticket(&agent, json!({})).await;
        for status in ["resolved", "open"] {
            desk.clock.pass_s(30);
            desk.patch_ticket(&agent, &reopened, json!({ "status": status })).await;
        }
        say(desk, &agent, &untouched).await;

        let seen = async || desk.get("/v1/tickets?sort=created_at").by(&agent).expect(200).await.body;
        let before = seen().await;
        let busy = desk.read_ticket(&agent, &busy).await;
        assert_eq!(busy["durations"]["service"], json!({ "calendar_s": 20 + 50 + 11, "business_s": 20 + 50 + 11 }));
        desk.store.run("DELETE FROM ticket_clocks; UPDATE tickets SET agent_comments = 0;").await;
        assert!(desk.get("/v1/tickets").by(&agent).expect(200).await.body["items"].as_array().unwrap().is_empty());
        desk.store.run(&refill(desk)).await;
        assert_eq!(seen().await, before);

        // Their lives go on from there.
        desk.clock.pass_s(10);
        let busy = desk.patch_ticket(&agent, &busy, json!({ "status": "open" })).await;
        assert_eq!((&busy["durations"]["service"], &busy["durations"]["in_status_s"]["resolved"]), (&Value::Null, &json!(900 + 60 + 10)));
    }
}
