//! Time entries: at whose rate, what it comes to, whose work it is, and that requesters learn nothing of it.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::kernel::Money;

use crate::on_both;
use crate::support::{Ask, Caller, Desk, unnamed, untimed};

const NOBODY: &str = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";

fn money(amount_minor: i64, currency: &str) -> Value {
    json!({ "amount_minor": amount_minor, "currency": currency })
}

fn eur(amount_minor: i64) -> Value {
    money(amount_minor, "EUR")
}

fn list(ticket: &Value) -> String {
    format!("/v1/tickets/{}/time-entries", ticket["id"].as_str().unwrap())
}

fn place(ticket: &Value, entry: &Value) -> String {
    format!("{}/{}", list(ticket), entry["id"].as_str().unwrap())
}

async fn work(desk: &Desk, who: &Caller, ticket: &Value, body: Value) -> Value {
    desk.post(&list(ticket)).by(who).json(&body).expect(201).await.body
}

async fn cost(desk: &Desk, who: &Caller, ticket: &Value) -> Value {
    desk.get(&format!("/v1/tickets/{}/cost", ticket["id"].as_str().unwrap())).by(who).expect(200).await.body
}

async fn set_rate(desk: &Desk, admin: &Caller, path: &str, rate: Value) -> Value {
    desk.patch(path).by(admin).json(&json!({ "hourly_rate": rate })).expect(200).await.body
}

fn user(id: &str) -> String {
    format!("/v1/users/{id}")
}

async fn close(desk: &Desk, agent: &Caller, ticket: &Value) {
    for status in ["resolved", "closed"] {
        desk.patch_ticket(agent, ticket, json!({ "status": status })).await;
    }
}

/// The trail's events about work, as somebody sees them.
async fn work_events(desk: &Desk, who: &Caller, ticket: &Value) -> Vec<Value> {
    let events = unnamed(desk.all(who, &format!("/v1/tickets/{}/events", ticket["id"].as_str().unwrap())).await);
    events.into_iter().filter(|event| event["type"].as_str().unwrap().starts_with("time_entry.")).collect()
}

on_both! {
    async fn an_entry_is_made_read_and_listed(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        desk.clock.pass_s(60);
        let body = json!({ "work_s": 1500, "worked_at": "2026-03-02T09:00:30.000000Z", "note": "Put the fire out." });
        let made = desk.post("/v1/tickets/1/time-entries").by(&agent).json(&body).expect(201).await;
        let me = json!({ "id": agent.id, "name": agent.name });
        assert_eq!(made.body, json!({
            "id": made.body["id"], "agent": me, "created_by": me, "work_s": 1500, "hourly_rate": null, "rate_of": null, "cost": null,
            "note": "Put the fire out.", "worked_at": "2026-03-02T09:00:30.000000Z", "created_at": "2026-03-02T09:01:00.000000Z", "version": 1,
        }));
        assert_eq!(made.header("etag"), Some("\"1\""));
        let there = desk.get(made.header("location").unwrap()).by(&agent).expect(200).await;
        assert_eq!((&there.body, there.header("etag")), (&made.body, Some("\"1\"")));
        desk.get(&place(&ticket, &made.body)).by(&agent).header("if-none-match", "\"1\"").expect(304).await;
        for _ in 0..4 {
            let next = work(desk, &agent, &ticket, json!({ "work_s": 1 })).await;
            assert_eq!((&next["worked_at"], &next["note"]), (&json!("2026-03-02T09:01:00.000000Z"), &Value::Null));
        }
        let all = desk.all(&agent, &list(&ticket)).await;
        assert_eq!((all.len(), &all[0]), (5, &made.body));
        assert_eq!(desk.all(&agent, "/v1/tickets/1/time-entries?limit=2").await, all);
        // It is on this ticket alone.
        let other = desk.ticket(&agent, json!({})).await;
        assert!(desk.all(&agent, &list(&other)).await.is_empty());
        desk.get(&place(&other, &made.body)).by(&agent).refused(404, "not_found").await;
        desk.delete(&place(&other, &made.body)).by(&agent).refused(404, "not_found").await;
        for path in ["/v1/tickets/99/time-entries", "/v1/tickets/99/cost", "/v1/tickets/1/time-entries/1"] {
            desk.get(path).by(&agent).refused(404, "not_found").await;
        }
        desk.post("/v1/tickets/99/time-entries").by(&agent).json(&body).refused(404, "not_found").await;
        for path in ["/v1/tickets/1/time-entries?nope=1", "/v1/tickets/1/cost?limit=1"] {
            desk.get(path).by(&agent).refused(400, "invalid_query").await;
        }
    }

    async fn the_nearest_rate_holds_and_is_kept(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let default_rate = Money { amount_minor: 4000, currency: "EUR".parse().unwrap() };
        let rated = desk.instance_with(|mut settings| {
            settings.state.default_rate = Some(default_rate);
            settings
        });
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await;
        let team = (team.header("location").unwrap().to_owned(), team.body["id"].clone());
        let ticket = desk.ticket(&agent, json!({})).await;
        let hour = async |expected: (Value, Value)| {
            let ask: Ask = desk.ask_at(&rated, Method::POST, &list(&ticket)).by(&agent);
            let entry = ask.json(&json!({ "work_s": 3600 })).expect(201).await.body;
            assert_eq!((&entry["hourly_rate"], &entry["rate_of"]), (&expected.0, &expected.1));
            assert_eq!(entry["cost"], entry["hourly_rate"], "an hour costs what an hour costs");
        };
        // Nobody has said.
        let unrated = work(desk, &agent, &ticket, json!({ "work_s": 3600 })).await;
        assert_eq!((&unrated["hourly_rate"], &unrated["rate_of"], &unrated["cost"]), (&Value::Null, &Value::Null, &Value::Null));
        hour((eur(4000), json!("default"))).await;
        desk.patch_ticket(&agent, &ticket, json!({ "team_id": team.1 })).await;
        hour((eur(4000), json!("default"))).await;
        set_rate(desk, &admin, &team.0, eur(6000)).await;
        hour((eur(6000), json!("team"))).await;
        set_rate(desk, &admin, &user(&agent.id), eur(9000)).await;
        hour((eur(9000), json!("agent"))).await;
        // Nothing is a rate too.
        set_rate(desk, &admin, &user(&agent.id), eur(0)).await;
        hour((eur(0), json!("agent"))).await;
        set_rate(desk, &admin, &user(&agent.id), Value::Null).await;
        hour((eur(6000), json!("team"))).await;
        // The team of this moment, not of another one.
        desk.patch_ticket(&agent, &ticket, json!({ "team_id": null })).await;
        hour((eur(4000), json!("default"))).await;

        let before = desk.all(&agent, &list(&ticket)).await;
        let total = json!({ "work_s": 8 * 3600, "unrated_work_s": 3600, "costs": [eur(3 * 4000 + 2 * 6000 + 9000)] });
        assert_eq!(cost(desk, &admin, &ticket).await, total);
        set_rate(desk, &admin, &user(&agent.id), money(1, "NOK")).await;
        set_rate(desk, &admin, &team.0, Value::Null).await;
        desk.delete(&team.0).by(&admin).expect(204).await;
        assert_eq!(desk.all(&admin, &list(&ticket)).await, before);
        desk.delete(&user(&agent.id)).by(&admin).expect(204).await;
        let after = desk.all(&admin, &list(&ticket)).await;
        assert_eq!(after.len(), before.len());
        for (entry, before) in after.iter().zip(&before) {
            assert_eq!(entry["agent"], json!({ "id": agent.id, "name": "Anonymised" }));
            assert_eq!((&entry["hourly_rate"], &entry["cost"]), (&before["hourly_rate"], &before["cost"]));
        }
        assert_eq!(cost(desk, &admin, &ticket).await, total);
    }

    async fn a_cost_is_rounded_half_up_and_then_added(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({})).await;
        let mut sum = 0;
        for (work_s, rate, expected) in [
            (1, 1800, 1), (1, 1800, 1), (1, 1799, 0), (1200, 100, 33), (2400, 100, 67), (900, 9001, 2250), (900, 9002, 2251),
            (604_800, 100_000_000_000, 16_800_000_000_000_i64),
        ] {
            set_rate(desk, &admin, &user(&agent.id), eur(rate)).await;
            let entry = work(desk, &agent, &ticket, json!({ "work_s": work_s })).await;
            assert_eq!(entry["cost"], eur(expected), "{work_s} s at {rate}");
            sum += expected;
        }
        assert_eq!(cost(desk, &agent, &ticket).await["costs"], json!([eur(sum)]));
    }

    async fn currencies_are_added_up_apart(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (ticket, other) = (desk.ticket(&agent, json!({})).await, desk.ticket(&agent, json!({})).await);
        let empty = json!({ "work_s": 0, "unrated_work_s": 0, "costs": [] });
        assert_eq!(cost(desk, &agent, &ticket).await, empty);
        work(desk, &agent, &ticket, json!({ "work_s": 60 })).await;
        assert_eq!(cost(desk, &agent, &ticket).await, json!({ "work_s": 60, "unrated_work_s": 60, "costs": [] }));
        for (amount, currency) in [(100, "USD"), (200, "EUR"), (300, "NOK"), (400, "EUR"), (0, "AUD")] {
            set_rate(desk, &admin, &user(&agent.id), money(amount, currency)).await;
            work(desk, &agent, &ticket, json!({ "work_s": 3600 })).await;
        }
        let costs = [money(0, "AUD"), eur(600), money(300, "NOK"), money(100, "USD")];
        assert_eq!(cost(desk, &agent, &ticket).await, json!({ "work_s": 18_060, "unrated_work_s": 60, "costs": costs }));
        assert_eq!(cost(desk, &agent, &other).await, empty);
    }

    async fn a_retry_adds_nothing_and_an_edit_counts_once(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        set_rate(desk, &admin, &user(&agent.id), eur(3600)).await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let path = list(&ticket);
        let post = |work_s: i64| desk.post(&path).by(&agent).header("idempotency-key", "k").json(&json!({ "work_s": work_s }));
        let made = post(60).expect(201).await;
        // Also when the rate is another one by then.
        set_rate(desk, &admin, &user(&agent.id), eur(7200)).await;
        let again = post(60).expect(201).await;
        assert_eq!((&again.bytes, again.header("idempotent-replayed"), again.header("location")), (&made.bytes, Some("true"), made.header("location")));
        post(61).refused(422, "idempotency_key_reused").await;
        assert_eq!(cost(desk, &agent, &ticket).await, json!({ "work_s": 60, "unrated_work_s": 0, "costs": [eur(60)] }));
        assert_eq!(work_events(desk, &agent, &ticket).await.len(), 1);
        // Mended: deleted and added anew.
        desk.delete(&place(&ticket, &made.body)).by(&agent).header("if-match", "\"1\"").expect(204).await;
        work(desk, &agent, &ticket, json!({ "work_s": 30 })).await;
        let mended = json!({ "work_s": 30, "unrated_work_s": 0, "costs": [eur(60)] });
        assert_eq!(cost(desk, &agent, &ticket).await, mended);
        // The retry of what was deleted brings nothing back.
        assert_eq!(post(60).expect(201).await.bytes, made.bytes);
        assert_eq!(cost(desk, &agent, &ticket).await, mended);
        // Of many at once one adds it.
        let ask = |_| desk.post(&path).by(&agent).header("idempotency-key", "n").json(&json!({ "work_s": 5 })).send();
        for answer in join_all((0..8).map(ask)).await {
            assert!(answer.status == 201 || answer.body["code"] == "idempotency_in_progress", "{}", answer.text());
        }
        assert_eq!(desk.all(&agent, &path).await.len(), 2);
    }

    async fn every_bad_field_is_named_and_nothing_changes(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let path = list(&ticket);
        for work_s in [json!(0), json!(-1), json!(604_801), json!(u64::MAX), json!(i64::MIN), json!(1.5), json!("60"), Value::Null] {
            let refused = desk.post(&path).by(&agent).json(&json!({ "work_s": work_s })).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), ["/work_s"], "{work_s}");
        }
        let body = json!({ "agent_id": "me", "worked_at": "yesterday", "note": "x".repeat(4001), "cost": 1 });
        let refused = desk.post(&path).by(&agent).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/agent_id", "/cost", "/note", "/work_s", "/worked_at"]);
        let body = json!({ "work_s": 1, "agent_id": NOBODY, "worked_at": "2026-03-02T09:01:00.000001Z" });
        let refused = desk.post(&path).by(&agent).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/agent_id", "/worked_at"]);
        let body = json!({ "work_s": 1, "worked_at": "2026-03-02T09:01:00.000001Z" });
        assert_eq!(desk.post(&path).by(&agent).json(&body).refused(422, "validation_failed").await.pointers(), ["/worked_at"]);
        desk.post(&path).by(&agent).json(&json!({ "work_s": 1, "note": "  " })).refused(422, "validation_failed").await;
        desk.post(&path).by(&agent).raw("application/json", "{").refused(400, "malformed_json").await;
        assert!(desk.all(&agent, &path).await.is_empty() && work_events(desk, &agent, &ticket).await.is_empty());
        for fine in [
            json!({ "work_s": 1, "worked_at": "2026-03-02T09:00:00.000000Z" }),
            json!({ "work_s": 1, "worked_at": "2026-03-02T09:01:00.000000Z" }),
            json!({ "work_s": 604_800, "worked_at": "1970-01-01T00:00:00.000000Z", "note": "x".repeat(4000) }),
            json!({ "work_s": 60, "agent_id": null, "worked_at": null, "note": null }),
        ] {
            work(desk, &agent, &ticket, fine).await;
        }
        assert_eq!(cost(desk, &agent, &ticket).await["work_s"], 604_862);
        // The clocks of two machines differ: nothing is told to have been done later than now.
        assert!(desk.all(&agent, &path).await.iter().all(|entry| entry["worked_at"].as_str() <= Some("2026-03-02T09:00:00.000000Z")));
    }

    async fn it_is_the_work_of_somebody_who_works_here(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let gone = desk.agent().await;
        desk.patch(&user(&gone.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        let script = desk.account("tickets:write tickets:read").await;
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = list(&ticket);
        for (id, code) in [(&*ada.id, "invalid"), (&*gone.id, "invalid"), (&*script.id, "not_found"), (NOBODY, "not_found")] {
            for who in [&agent, &script] {
                let refused = desk.post(&path).by(who).json(&json!({ "work_s": 1, "agent_id": id })).refused(422, "validation_failed").await;
                assert_eq!((refused.pointers(), &refused.body["errors"][0]["code"]), (vec!["/agent_id"], &json!(code)));
            }
        }
        let refused = desk.post(&path).by(&script).json(&json!({ "work_s": 1 })).refused(422, "validation_failed").await;
        assert_eq!((refused.pointers(), &refused.body["errors"][0]["code"]), (vec!["/agent_id"], &json!("required")));
        for (who, id, whose) in [
            (&agent, None, &agent), (&admin, None, &admin), (&agent, Some(&admin.id), &admin), (&admin, Some(&agent.id), &agent), (&script, Some(&agent.id), &agent),
        ] {
            let entry = work(desk, who, &ticket, json!({ "work_s": 1, "agent_id": id })).await;
            assert_eq!(entry["agent"], json!({ "id": whose.id, "name": whose.name }));
            assert_eq!(entry["created_by"], json!({ "id": who.id, "name": who.name }));
        }
        assert_eq!(cost(desk, &agent, &ticket).await["work_s"], 5);
        // Their own rate, whoever enters it.
        set_rate(desk, &admin, &user(&agent.id), eur(3600)).await;
        let entry = work(desk, &script, &ticket, json!({ "work_s": 7, "agent_id": agent.id })).await;
        assert_eq!((&entry["cost"], &entry["rate_of"]), (&eur(7), &json!("agent")));
    }

    async fn a_closed_ticket_takes_no_work_and_gives_none_back(desk) {
        let (agent, admin) = (desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&agent, json!({})).await;
        let path = list(&ticket);
        let ask = || desk.post(&path).by(&agent).header("idempotency-key", "k").json(&json!({ "work_s": 60 }));
        let made = ask().expect(201).await;
        let resolved = desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
        work(desk, &agent, &resolved, json!({ "work_s": 5 })).await;
        close(desk, &agent, &ticket).await;
        let before = (desk.all(&agent, &path).await, work_events(desk, &agent, &ticket).await);
        desk.post(&path).by(&agent).json(&json!({ "work_s": 60 })).refused(409, "ticket_closed").await;
        for who in [&agent, &admin] {
            desk.delete(&place(&ticket, &made.body)).by(who).refused(409, "ticket_closed").await;
        }
        assert_eq!(ask().expect(201).await.bytes, made.bytes);
        assert_eq!((desk.all(&agent, &path).await, work_events(desk, &agent, &ticket).await), before);
        assert_eq!(cost(desk, &agent, &ticket).await["work_s"], 65);
    }

    async fn who_deletes_an_entry(desk) {
        let (admin, maker, whose, other) = (desk.admin().await, desk.agent().await, desk.agent().await, desk.agent().await);
        let script = desk.account("tickets:write tickets:read").await;
        let root = desk.account("tickets:write admin").await;
        let ticket = desk.ticket(&maker, json!({})).await;
        let new = json!({ "work_s": 60, "agent_id": whose.id });
        let narrowed = desk.narrowed(&admin, "tickets:write");
        for who in [&maker, &whose, &admin, &root] {
            let entry = work(desk, &maker, &ticket, new.clone()).await;
            for stranger in [&other, &script, &narrowed] {
                desk.delete(&place(&ticket, &entry)).by(stranger).refused(403, "forbidden").await;
            }
            desk.delete(&place(&ticket, &entry)).by(who).header("if-match", "\"2\"").refused(412, "version_mismatch").await;
            assert!(desk.delete(&place(&ticket, &entry)).by(who).header("if-match", "\"1\"").expect(204).await.bytes.is_empty());
            desk.delete(&place(&ticket, &entry)).by(who).refused(404, "not_found").await;
            desk.get(&place(&ticket, &entry)).by(&maker).refused(404, "not_found").await;
        }
        let entry = work(desk, &script, &ticket, new).await;
        desk.delete(&place(&ticket, &entry)).by(&script).expect(204).await;
        assert_eq!(cost(desk, &maker, &ticket).await["work_s"], 0);
        // One delete of many at once does it.
        let entry = work(desk, &maker, &ticket, json!({ "work_s": 1 })).await;
        let answers = join_all((0..6).map(|_| desk.delete(&place(&ticket, &entry)).by(&maker).send())).await;
        assert_eq!(answers.iter().filter(|answer| answer.status == 204).count(), 1);
        assert!(answers.iter().all(|answer| answer.status == 204 || answer.status == 404));
        let deleted = work_events(desk, &maker, &ticket).await.into_iter().filter(|event| event["type"] == "time_entry.deleted");
        assert_eq!(deleted.count(), 6);
    }

    async fn the_trail_keeps_what_was_deleted(desk) {
        let (admin, agent, whose) = (desk.admin().await, desk.agent().await, desk.agent().await);
        set_rate(desk, &admin, &user(&whose.id), eur(3600)).await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let entry = work(desk, &agent, &ticket, json!({ "work_s": 60, "agent_id": whose.id, "note": "n" })).await;
        desk.clock.pass_s(1);
        desk.delete(&place(&ticket, &entry)).by(&whose).expect(204).await;
        let values = json!({
            "time_entry_id": entry["id"], "agent_id": whose.id, "created_by_id": agent.id, "work_s": 60, "hourly_rate": eur(3600),
            "rate_of": "agent", "cost": eur(60), "note": "n", "worked_at": "2026-03-02T09:00:00.000000Z", "created_at": "2026-03-02T09:00:00.000000Z",
        });
        let events = work_events(desk, &admin, &ticket).await;
        for (event, kind, actor, side, other) in [
            (&events[0], "time_entry.added", &agent, "after", "before"), (&events[1], "time_entry.deleted", &whose, "before", "after"),
        ] {
            assert_eq!((&event["type"], &event["visibility"], &event["actor"]["id"]), (&json!(kind), &json!("internal"), &json!(actor.id)));
            let kept: serde_json::Map<_, _> = event["changes"].as_array().unwrap().iter()
                .inspect(|change| assert_eq!(change[other], Value::Null))
                .map(|change| (change["field"].as_str().unwrap().to_owned(), change[side].clone())).collect();
            assert_eq!(Value::Object(kept), values);
        }
        assert_eq!(events.len(), 2);
    }

    async fn requesters_learn_nothing_of_work(desk) {
        let (admin, ada, grace, agent) = (desk.admin().await, desk.requester().await, desk.requester().await, desk.agent().await);
        set_rate(desk, &admin, &user(&agent.id), eur(9000)).await;
        let ticket = desk.ticket(&ada, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        let seen = async |who: &Caller| {
            let mut seen = Vec::new();
            for place in ["", "/events", "/comments"] {
                let answer = desk.get(&format!("{path}{place}")).by(who).expect(200).await;
                seen.push((answer.header("etag").map(str::to_owned), untimed(&answer)));
            }
            for query in ["sort=updated_at", "updated_after=2026-03-02T09:00:00.000000Z", "sort=-created_at&limit=1"] {
                seen.push((None, untimed(&desk.get(&format!("/v1/tickets?{query}")).by(who).expect(200).await)));
            }
            seen
        };
        let before = seen(&ada).await;
        desk.clock.pass_s(60);
        let kept = work(desk, &agent, &ticket, json!({ "work_s": 60, "note": "She pressed every button." })).await;
        assert!(before == seen(&ada).await, "adding shows");
        let gone = work(desk, &agent, &ticket, json!({ "work_s": 61 })).await;
        desk.delete(&place(&ticket, &gone)).by(&agent).expect(204).await;
        assert!(before == seen(&ada).await, "deleting shows");
        desk.get(&path).by(&ada).header("if-none-match", "\"1\"").expect(304).await;
        desk.patch(&path).by(&ada).header("if-match", "\"1\"").json(&json!({ "subject": "Still burning" })).expect(200).await;
        // Whoever may not see internal events sees none of it there, whatever else they see.
        assert!(work_events(desk, &desk.account("tickets:read").await, &ticket).await.is_empty());
        assert!(work_events(desk, &desk.narrowed(&agent, "tickets:read"), &ticket).await.is_empty());
        assert_eq!(work_events(desk, &desk.account("tickets:read internal:read").await, &ticket).await.len(), 3);

        // Their own ticket, another one and one that does not exist: the same refusal, and before the body is read.
        let mut answers = Vec::new();
        for (who, root) in [(&ada, path.as_str()), (&grace, path.as_str()), (&ada, "/v1/tickets/99")] {
            let entry = format!("{root}/time-entries/{}", kept["id"].as_str().unwrap());
            let asks = [
                desk.get(&format!("{root}/time-entries")), desk.get(&format!("{root}/cost")), desk.get(&entry), desk.delete(&entry),
                desk.post(&format!("{root}/time-entries")).raw("application/json", "{"),
            ];
            for ask in asks {
                answers.push(ask.by(who).header("x-request-id", "r").refused(403, "forbidden").await.bytes);
            }
        }
        assert!(answers.iter().all(|bytes| *bytes == answers[0]));
        assert_eq!(desk.all(&agent, &list(&ticket)).await, [kept]);
    }

    async fn admins_alone_set_hourly_rates_and_requesters_have_none(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let own = user(&agent.id);
        let changed = set_rate(desk, &admin, &own, eur(9000)).await;
        assert_eq!((&changed["hourly_rate"], &changed["version"]), (&eur(9000), &json!(2)));
        assert_eq!(set_rate(desk, &admin, &own, eur(9000)).await, changed, "nothing changed");
        for rate in [eur(12_000), Value::Null] {
            desk.patch(&own).by(&agent).json(&json!({ "hourly_rate": rate })).refused(403, "forbidden").await;
        }
        assert_eq!(desk.get(&own).by(&agent).expect(200).await.body, changed);
        let made = desk.post("/v1/users").by(&admin).json(&json!({ "name": "Grace", "role": "agent", "hourly_rate": eur(7000) })).expect(201).await;
        assert_eq!(made.body["hourly_rate"], eur(7000));
        assert_eq!(set_rate(desk, &desk.account("admin").await, &own, Value::Null).await["hourly_rate"], Value::Null);
        set_rate(desk, &admin, &own, eur(1)).await;

        let new = json!({ "name": "Linus", "role": "requester", "hourly_rate": eur(1), "password": "a moth in relay 70" });
        let refused = desk.post("/v1/users").by(&admin).json(&new).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/hourly_rate", "/password"]);
        for (path, patch) in [(&user(&ada.id), json!({ "hourly_rate": eur(1) })), (&own, json!({ "role": "requester", "hourly_rate": eur(1) }))] {
            assert_eq!(desk.patch(path).by(&admin).json(&patch).refused(422, "validation_failed").await.pointers(), ["/hourly_rate"]);
        }
        set_rate(desk, &admin, &user(&ada.id), Value::Null).await;
        // Whoever works here no more leaves it behind, and does not find it again.
        let left = desk.patch(&own).by(&admin).json(&json!({ "role": "requester" })).expect(200).await.body;
        assert_eq!(left["hourly_rate"], Value::Null);
        assert_eq!(desk.get(&own).by(&agent).expect(200).await.body["hourly_rate"], Value::Null);
        let back = desk.patch(&own).by(&admin).json(&json!({ "role": "agent" })).expect(200).await.body;
        assert_eq!(back["hourly_rate"], Value::Null);

        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line", "hourly_rate": eur(5000) })).expect(201).await;
        let place = team.header("location").unwrap();
        assert_eq!(team.body["hourly_rate"], eur(5000));
        desk.patch(place).by(&agent).json(&json!({ "hourly_rate": null })).refused(403, "forbidden").await;
        assert_eq!(set_rate(desk, &admin, place, eur(5000)).await, team.body);
        assert_eq!(desk.patch(place).by(&admin).json(&json!({ "description": "d" })).expect(200).await.body["hourly_rate"], eur(5000));
        assert_eq!(set_rate(desk, &admin, place, money(1, "NOK")).await["hourly_rate"], money(1, "NOK"));
        let cleared = set_rate(desk, &admin, place, Value::Null).await;
        assert_eq!(desk.get(place).by(&agent).expect(200).await.body, cleared);
        // A merge patch of what is there leaves what it does not mention (RFC 7396), and cannot make half of what is
        // not.
        for path in [place, &*own] {
            let set = async |rate: Value| desk.patch(path).by(&admin).json(&json!({ "hourly_rate": rate })).expect(200).await.body;
            assert_eq!(set(eur(5000)).await["hourly_rate"], eur(5000));
            assert_eq!(set(json!({ "amount_minor": 6000 })).await["hourly_rate"], eur(6000));
            let moved = set(json!({ "currency": "NOK" })).await;
            assert_eq!(moved["hourly_rate"], money(6000, "NOK"));
            assert_eq!(set(json!({})).await["version"], moved["version"]);
            for (half, pointer) in [(json!({ "amount_minor": null }), "/hourly_rate/amount_minor"), (json!({ "currency": null }), "/hourly_rate/currency")] {
                let refused = desk.patch(path).by(&admin).json(&json!({ "hourly_rate": half })).refused(422, "validation_failed").await;
                assert_eq!(refused.pointers(), [pointer]);
            }
            set(Value::Null).await;
            for (half, pointer) in [(json!({ "amount_minor": 1 }), "/hourly_rate/currency"), (json!({ "currency": "NOK" }), "/hourly_rate/amount_minor")] {
                let refused = desk.patch(path).by(&admin).json(&json!({ "hourly_rate": half })).refused(422, "validation_failed").await;
                assert_eq!(refused.pointers(), [pointer]);
            }
        }
        let cleared = desk.get(place).by(&agent).expect(200).await.body;
        for (rate, pointers) in [
            (json!({}), vec!["/hourly_rate/amount_minor", "/hourly_rate/currency"]),
            (json!({ "amount_minor": -1, "currency": "Eur", "x": 1 }), vec!["/hourly_rate/amount_minor", "/hourly_rate/currency", "/hourly_rate/x"]),
            (json!({ "amount_minor": 1.5, "currency": "EURO" }), vec!["/hourly_rate/amount_minor", "/hourly_rate/currency"]),
            (eur(100_000_000_001), vec!["/hourly_rate/amount_minor"]),
            (json!(9000), vec!["/hourly_rate"]),
        ] {
            for path in [place, &*own] {
                let refused = desk.patch(path).by(&admin).json(&json!({ "hourly_rate": rate })).refused(422, "validation_failed").await;
                assert_eq!(refused.pointers(), pointers);
            }
        }
        assert_eq!(desk.get(place).by(&agent).expect(200).await.body, cleared);
    }
}
