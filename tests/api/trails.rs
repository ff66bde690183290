//! The trail of a ticket is bounded, whatever is done to it, and is redacted at a cost that is bounded, too.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;

/// As many bytes of JSON as a text can have: six for each of its own.
fn large(nth: u32) -> String {
    format!("{nth} {}", "\u{1}".repeat((64 << 10) - 8))
}

on_both! {
    async fn edits_end_where_the_trail_is_full_and_nothing_else_does(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        let comments = format!("{path}/comments");
        let say = |body: &str| desk.post(&comments).by(&agent).json(&json!({ "body": body, "visibility": "public" }));
        let said = say("First").expect(201).await.body["id"].as_str().unwrap().to_owned();
        let mut edits = 0_u32;
        loop {
            let edit = desk.patch(&path).by(&agent).json(&json!({ "description": large(edits) })).send().await;
            if edit.status != 200 {
                assert_eq!((edit.status.as_u16(), &edit.body["code"]), (409, &json!("conflict")));
                break;
            }
            edits += 1;
            assert!(edits < 50, "the trail of a ticket takes everything");
        }
        assert!(edits > 15, "{edits}");
        let mut of_comment = 0_u32;
        while desk.patch(&format!("{comments}/{said}")).by(&agent).json(&json!({ "body": large(of_comment) })).send().await.status == 200 {
            of_comment += 1;
            assert!(of_comment < 5, "edits of a comment find room behind those of the ticket");
        }
        // What is refused leaves nothing, and all else goes on.
        let before = desk.read_ticket(&agent, &ticket).await;
        assert_eq!(before["description"].as_str().unwrap(), large(edits - 1));
        desk.patch(&path).by(&agent).json(&json!({ "description": large(0), "status": "resolved" })).refused(409, "conflict").await;
        assert_eq!(desk.read_ticket(&agent, &ticket).await["version"], before["version"]);
        say("Nobody's words are lost").expect(201).await;
        for status in ["waiting_requester", "open", "resolved"] {
            desk.patch(&path).by(&agent).json(&json!({ "status": status })).expect(200).await;
        }
        say("Nor these").expect(201).await;
        assert_eq!(desk.all(&agent, &comments).await.len(), 3);
        // What is small finds room for longer, but not for ever.
        let mut small = 0;
        while desk.patch(&path).by(&agent).json(&json!({ "subject": format!("Subject {small}") })).send().await.status == 200 {
            small += 1;
            assert!(small < 1_000, "small edits have no end");
        }
        desk.patch(&path).by(&agent).json(&json!({ "status": "closed" })).expect(200).await;
        desk.delete(&path).by(&admin).expect(204).await;
        assert_eq!(desk.read_ticket(&agent, &ticket).await["subject"], "Redacted");
    }

    /// What a requester does to a ticket alone leaves room for those who work on it, and a redacted ticket has room
    /// again.
    async fn a_requester_fills_no_trail(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        let comments = format!("{path}/comments");
        let said = desk.post(&comments).by(&ada).json(&json!({ "body": "Help", "visibility": "public" })).expect(201).await;
        let own = format!("{comments}/{}", said.body["id"].as_str().unwrap());
        let mut edits = 0;
        while desk.patch(&path).by(&ada).json(&json!({ "description": large(edits) })).send().await.status == 200 {
            edits += 1;
            assert!(edits < 30, "a requester has the whole trail");
        }
        desk.patch(&path).by(&ada).json(&json!({ "subject": "Anything" })).refused(409, "conflict").await;
        desk.patch(&own).by(&ada).json(&json!({ "body": "Help!" })).refused(409, "conflict").await;
        desk.patch(&path).by(&agent).json(&json!({ "assignee_id": agent.id, "priority": "urgent", "tags": ["odd"] })).expect(200).await;
        desk.patch(&path).by(&ada).json(&json!({ "status": "resolved" })).expect(200).await;
        desk.delete(&path).by(&admin).expect(204).await;
        desk.patch(&path).by(&ada).json(&json!({ "subject": "Better words" })).expect(200).await;
    }

    /// What is large in it goes in pieces, each a transaction of its own, and the rest by one statement, whatever is in
    /// it. None of it comes into the memory of the service, and a second time finds nothing.
    async fn a_trail_is_redacted_in_pieces(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({ "description": "Öl & \"wine\"", "tags": ["vip"] })).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        for nth in 0..60 {
            let small = json!({ "subject": format!("Subject {nth}"), "priority": if nth % 2 == 0 { "high" } else { "low" }, "custom_fields": { "n": nth } });
            let patch = if nth % 3 == 0 { json!({ "description": large(nth), "tags": [format!("t{nth}")] }) } else { small };
            desk.patch(&path).by(&agent).json(&patch).expect(200).await;
        }
        let before = desk.all(&admin, &format!("{path}/events")).await;
        let (url, heard) = desk.listened();
        // Of 20 descriptions of 64 Ki characters, 8 go at once.
        for statements in [3 + 1, 1] {
            heard.lock().unwrap().clear();
            desk.ask_at(&url, Method::DELETE, &path).by(&admin).expect(204).await;
            let asked = std::mem::take(&mut *heard.lock().unwrap());
            let of_trail = asked.iter().filter(|sql| sql.starts_with("UPDATE") && sql.contains("events") && sql.contains("changes")).count();
            assert_eq!(of_trail, statements, "{asked:#?}");
            let read = |sql: &&String| sql.starts_with("SELECT") && sql.split(" FROM ").next().is_some_and(|columns| columns.contains("changes"));
            assert_eq!(asked.iter().find(read), None);
            assert!(asked.iter().all(|sql| sql.len() < 64 << 10), "a statement brings a text with it");
        }
        let after = desk.all(&admin, &format!("{path}/events")).await;
        assert_eq!(after.len(), before.len() + 1);
        for (now, then) in after.iter().zip(&before) {
            let emptied: Vec<Value> = then["changes"].as_array().unwrap().iter().map(emptied).collect();
            assert_eq!(now["changes"], json!(emptied));
        }
    }

    /// Nobody waits behind the redaction of a ticket whose trail is full. `SKRANKE_TEST_EDITS=1500` with `--nocapture`
    /// tells more.
    async fn nobody_waits_for_the_redaction_of_a_full_trail(desk) {
        let edits = std::env::var("SKRANKE_TEST_EDITS").map_or(140, |edits| edits.parse().unwrap());
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let path = format!("/v1/tickets/{}", desk.ticket(&agent, json!({})).await["number"]);
        let other = format!("/v1/tickets/{}", desk.ticket(&agent, json!({})).await["number"]);
        let (began, mut taken) = (Instant::now(), 0);
        for nth in 0..edits {
            let description = format!("{nth} {}", "x".repeat((64 << 10) - 8));
            taken += u32::from(desk.patch(&path).by(&agent).json(&json!({ "description": description })).send().await.status == 200);
        }
        let (edited, done) = (began.elapsed(), AtomicBool::new(false));
        let write = async |nth: u32| {
            let began = Instant::now();
            desk.patch(&other).by(&agent).json(&json!({ "subject": format!("Subject {nth}") })).expect(200).await;
            began.elapsed()
        };
        let mut alone = Duration::ZERO;
        for nth in 0..20 {
            alone = alone.max(write(nth).await);
        }
        let redact = async {
            let began = Instant::now();
            desk.delete(&path).by(&admin).expect(204).await;
            done.store(true, Ordering::Relaxed);
            began.elapsed()
        };
        let beside = async {
            let mut longest = Duration::ZERO;
            for nth in 20.. {
                longest = longest.max(write(nth).await);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
            longest
        };
        let (redacted, longest) = futures::future::join(redact, beside).await;
        tell(&format!("{taken} of {edits} edits in {edited:?}; redacted in {redacted:?}; longest other write {alone:?} before, {longest:?} meanwhile"));
        // An edit is what was and what is, 64 KiB each, and 1 KiB.
        assert!((100..=130).contains(&taken), "{taken} edits were taken");
        assert!(longest < Duration::from_secs(2), "another write waited for {longest:?}");
    }
}

#[expect(clippy::print_stdout, reason = "figures for whoever measures")]
fn tell(figures: &str) {
    println!("{figures}");
}

fn emptied(change: &Value) -> Value {
    match change["field"].as_str().unwrap() {
        "subject" | "description" | "custom_fields" | "external_id" => {
            json!({ "field": change["field"], "before": null, "after": null })
        }
        _ => change.clone(),
    }
}
