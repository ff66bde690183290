//! Exports: all of it, once, and from where the feed goes on.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Caller, Desk};

/// The lines of an export: the cursor, the tickets, and how many the last line says there are.
async fn export(desk: &Desk, who: &Caller, query: &str) -> (String, Vec<Value>, i64) {
    let answer = desk.get(&format!("/v1/exports/tickets{query}")).by(who).expect(200).await;
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
    let mut lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap();
    assert_eq!((&end["end"], lines[0].as_object().unwrap().len()), (&json!(true), 1));
    let cursor = lines.remove(0)["cursor"].as_str().unwrap().to_owned();
    (cursor, lines, end["tickets"].as_i64().unwrap())
}

/// Follows the feed to its end, and keeps of each ticket what is newer.
async fn follow(desk: &Desk, who: &Caller, cursor: &str, tickets: &mut BTreeMap<i64, Value>) {
    let mut cursor = cursor.to_owned();
    loop {
        desk.sequence().await;
        let page =
            desk.get(&format!("/v1/changes?cursor={cursor}&include=ticket&limit=200")).by(who).expect(200).await.body;
        for item in page["items"].as_array().unwrap() {
            let snapshot = &item["snapshot"];
            let Some(number) = snapshot["number"].as_i64() else { continue };
            let is_newer =
                tickets.get(&number).is_none_or(|known| known["version"].as_i64() <= snapshot["version"].as_i64());
            if is_newer {
                tickets.insert(number, snapshot.clone());
            }
        }
        if page["items"].as_array().unwrap().is_empty() {
            return;
        }
        cursor = page["next_cursor"].as_str().unwrap().to_owned();
    }
}

on_both! {
    async fn an_export_has_everything_and_the_feed_goes_on_from_it(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        for n in 0..450 {
            desk.ticket(&agent, json!({ "subject": format!("t{n}"), "description": if n % 50 == 0 { "d".repeat(60_000) } else { "d".into() } })).await;
        }
        desk.sequence().await;
        let (cursor, lines, count) = export(desk, &admin, "").await;
        let numbers: Vec<i64> = lines.iter().map(|line| line["number"].as_i64().unwrap()).collect();
        assert_eq!((count, numbers), (450, (1..=450).collect::<Vec<_>>()));
        // A line is the ticket as it is read alone.
        assert_eq!(lines[0], desk.get("/v1/tickets/1").by(&admin).expect(200).await.body);
        // What happens meanwhile and after comes by the feed.
        for n in 1..=40 {
            desk.patch(&format!("/v1/tickets/{n}")).by(&agent).json(&json!({ "priority": "high" })).expect(200).await;
        }
        desk.ticket(&agent, json!({ "subject": "new" })).await;
        let mut known: BTreeMap<i64, Value> = lines.into_iter().map(|line| (line["number"].as_i64().unwrap(), line)).collect();
        follow(desk, &admin, &cursor, &mut known).await;
        let there = export(desk, &admin, "").await.1;
        assert_eq!(known.into_values().collect::<Vec<_>>(), there);
        // Cut short, it goes on behind the last that has come.
        let rest = export(desk, &admin, "?after=440").await.1;
        assert_eq!(rest.iter().map(|line| line["number"].as_i64().unwrap()).collect::<Vec<_>>(), (441..=451).collect::<Vec<_>>());
        // By filters, as far as those are asked for.
        let high = export(desk, &admin, "?priority=high&created_after=2026-01-01T00:00:00Z").await;
        assert_eq!((high.1.len(), high.2), (40, 40));
        assert_eq!(export(desk, &admin, "?status=closed&after=3").await.2, 0);
    }

    async fn parts_come_whole_and_only_to_those_who_may_see_them(desk) {
        let (admin, agent, ada, eve) = (desk.admin().await, desk.agent().await, desk.requester().await, desk.requester().await);
        for who in [&ada, &eve, &agent] {
            desk.ticket(who, json!({})).await;
        }
        for n in 0..260 {
            let visibility = if n % 2 == 0 { "public" } else { "internal" };
            desk.post("/v1/tickets/1/comments").by(&agent).json(&json!({ "body": format!("c{n} {}", "x".repeat(9_000)), "visibility": visibility })).expect(201).await;
        }
        desk.post("/v1/tickets/1/time-entries").by(&agent).json(&json!({ "work_s": 60 })).expect(201).await;
        let all = "?include=comments,time_entries,events,sla";
        let (_, lines, count) = export(desk, &admin, all).await;
        assert_eq!(count, 3);
        let bodies = |line: &Value| line["comments"].as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap().split(' ').next().unwrap().to_owned()).collect::<Vec<_>>();
        assert_eq!(bodies(&lines[0]), (0..260).map(|n| format!("c{n}")).collect::<Vec<_>>());
        assert_eq!((lines[0]["time_entries"].as_array().unwrap().len(), &lines[1]["comments"], &lines[2]["time_entries"]), (1, &json!([]), &json!([])));
        assert_eq!(lines[0]["events"].as_array().unwrap().len(), desk.all(&admin, "/v1/tickets/1/events").await.len());
        assert_eq!(lines[0]["sla"], desk.get("/v1/tickets/1/sla").by(&admin).expect(200).await.body);
        // A requester has their own, and what they may see of it.
        let (_, lines, count) = export(desk, &ada, all).await;
        assert_eq!((count, lines[0]["number"].as_i64(), bodies(&lines[0]).len()), (1, Some(1), 130));
        assert!(lines[0].get("time_entries").is_none());
        assert!(!serde_json::to_string(&lines).unwrap().contains("internal\""));
        // Nobody without the scope, and those with it alone see no comments.
        let (reader, other) = (desk.account("tickets:read").await, desk.account("comments:read").await);
        assert!(export(desk, &reader, all).await.1.iter().all(|line| line.get("comments").is_none()));
        desk.get("/v1/exports/tickets").by(&other).refused(403, "insufficient_scope").await;
        for bad in ["?q=printer", "?include=nothing", "?after=x", "?limit=3", "?sort=created_at", "?status=odd"] {
            desk.get(&format!("/v1/exports/tickets{bad}")).by(&admin).refused(400, "invalid_query").await;
        }
    }

    async fn a_table_is_for_spreadsheets_and_runs_nothing(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "subject": "=1+1", "description": "a \"quoted\", line\nand another", "tags": ["-x", "b"], "external_id": "@SUM(A1)", "custom_fields": { "a": 1 } })).await;
        desk.ticket(&agent, json!({ "subject": "plain", "team_id": null })).await;
        let ask = |query: &str| desk.get(&format!("/v1/exports/tickets{query}")).by(&agent).header("accept", "text/csv");
        let answer = ask("").expect(200).await;
        assert!(answer.header("content-type").unwrap().starts_with("text/csv"));
        assert_eq!(answer.header("content-disposition"), Some("attachment; filename=\"tickets.csv\""));
        let text = answer.text();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
        let rows: Vec<BTreeMap<String, String>> = reader.records().map(|row| header.iter().cloned().zip(row.unwrap().iter().map(str::to_owned)).collect()).collect();
        assert_eq!(rows.len(), 2);
        let cell = |name: &str| rows[0][name].as_str();
        assert_eq!((cell("number"), cell("subject"), cell("tags"), cell("external_id")), ("1", "'=1+1", "'-x,b", "'@SUM(A1)"));
        assert_eq!((cell("description"), cell("custom_fields"), cell("created_by.name")), ("a \"quoted\", line\nand another", "{\"a\":1}", agent.name.as_str()));
        assert_eq!((rows[1]["team.id"].as_str(), rows[1]["durations.response.calendar_s"].as_str()), ("", ""));
        ask("?include=comments").refused(400, "invalid_query").await;
        desk.get("/v1/exports/tickets").by(&agent).header("accept", "text/html").refused(406, "not_acceptable").await;
        desk.get("/v1/exports/tickets").by(&agent).header("accept", "*/*").expect(200).await;
    }

    async fn so_many_exports_at_a_time(desk) {
        let agent = desk.agent().await;
        for n in 0..300 {
            desk.ticket(&agent, json!({ "subject": format!("t{n}"), "description": "d".repeat(60_000) })).await;
        }
        // Who takes nothing keeps a seat.
        let client = reqwest::Client::new();
        let mut open = Vec::new();
        for _ in 0..8 {
            let answer = client.get(format!("{}/v1/exports/tickets", desk.url)).bearer_auth(&agent.token).send().await.unwrap();
            assert_eq!(answer.status(), 200);
            open.push(answer);
        }
        desk.get("/v1/exports/tickets").by(&agent).refused(429, "rate_limited").await;
        drop(open);
        let other = desk.agent().await;
        assert_eq!(export(desk, &other, "").await.2, 300);
    }
}
