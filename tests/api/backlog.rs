//! The backlog: what the tallies tell is what reading every ticket comes to, at each step of a history.

use std::cell::RefCell;
use std::time::Duration;

use serde_json::{Value, json};
use skranke::db::Db;
use skranke::kernel::Instant;
use skranke::tally::service::fold;

use crate::on_both;
use crate::support::{Caller, Chance, Desk, seed};

const GROUPS: [&str; 7] = ["team", "priority", "type", "channel", "assignee", "tag", "policy"];

/// Lets the same tickets through as no filter, but is one: every ticket is read.
const ALL: &str = "status=new,open,waiting_requester,waiting_third_party";

async fn compare(desk: &Desk, monitor: &Caller, group: &str, due_within_s: i64) -> Value {
    let by = if group.is_empty() { String::new() } else { format!("&group_by={group}") };
    let path = format!("/v1/metrics/backlog?due_within_s={due_within_s}{by}");
    let told = desk.get(&path).by(monitor).expect(200).await.body;
    let read = desk.get(&format!("{path}&{ALL}")).by(monitor).expect(200).await.body;
    assert_eq!(told, read, "{path}");
    told
}

on_both! {
    async fn the_backlog_is_what_every_ticket_says_at_each_step(desk) {
        let monitor = desk.account("metrics:read").await;
        let agents = [desk.agent().await, desk.agent().await];
        let chance = RefCell::new(Chance(seed()));
        let below = |n: usize| chance.borrow_mut().below(n);
        let second = Db::open(&desk.store.url, 2, Duration::from_secs(5)).unwrap();
        let look = async || {
            // The history knows nothing of assignees, types, channels, and several tags.
            let ticket = format!("/v1/tickets/{}", 1 + below(20));
            let patch = [
                json!({ "assignee_id": agents[below(2)].id }),
                json!({ "assignee_id": null }),
                json!({ "type": (["incident", "question"][below(2)]) }),
                json!({ "channel": (["phone", "web"][below(2)]) }),
                json!({ "tags": (["a", "Øre \"a\" \\ \u{7}", "vip"][..below(4)]) }),
                json!({ "priority": "urgent", "assignee_id": agents[0].id }),
            ][below(6)].clone();
            desk.patch(&ticket).by(&agents[0]).json(&patch).send().await;
            desk.clock.pass_s([0, 1, 59, 1_800][below(4)]);
            desk.clock.pass_us([0, 1, 999_999][below(3)]);
            let due_within_s = [0, 1, 600, 3_600, 3_601, 90_000, 31_622_400][below(7)];
            compare(desk, &monitor, "", due_within_s).await;
            compare(desk, &monitor, GROUPS[below(7)], due_within_s).await;
            match below(6) {
                0 => drop(fold(&desk.db, 7).await.unwrap()),
                1 => drop(fold(&second, 500).await.unwrap()),
                2 => {
                    // Also while others fold.
                    let (folded, _) = futures::join!(fold(&second, 3), desk.write_down_breaches(5));
                    folded.unwrap();
                }
                _ => {}
            }
        };
        crate::replay::live(desk, &mut Chance(seed()), 120, &look).await;
        for pass_s in [0, 3_600, 86_400, 3 * 86_400, 40 * 86_400] {
            desk.clock.pass_s(pass_s);
            for group in GROUPS {
                let told = compare(desk, &monitor, group, 86_400).await;
                assert!(told["total"]["open"].as_i64().unwrap() > 0, "{told}");
            }
            desk.write_down_breaches(4).await;
        }
    }

    /// At the edges of ages, hours, and of what is due soon.
    async fn moments_at_the_edges_are_told_to_the_microsecond(desk) {
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("metrics:read").await);
        let targets: Vec<_> = [("response", 1_800), ("first_reply", 5_400), ("service", 9_000)].into_iter()
            .map(|(target, target_s)| json!({ "target": target, "priority": null, "target_s": target_s, "hours": "calendar" })).collect();
        desk.post("/v1/sla/policies").by(&admin).json(&json!({ "name": "P", "position": 1, "condition": {}, "targets": targets })).expect(201).await;
        let began = Instant::from_micros(desk.clock.now().micros());
        for (nth, back_s) in [0, 1, 1_799, 3_599, 3_600, 14_400, 86_400, 604_800, 2_592_000].into_iter().enumerate() {
            let ticket = desk.ticket(&agent, json!({ "reported_at": began.plus_s(-back_s) })).await;
            if nth % 2 == 1 {
                desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
            }
        }
        let mut due = 0;
        for (step, pass_us) in [0, 1, 999_999, 1_799_000_000 - 1, 1, 1, 1_800_000_000 - 1, 1, 3_600_000_000 - 2, 1, 1, 5_400_000_000, 86_400_000_000 * 3].into_iter().enumerate() {
            desk.clock.pass_us(pass_us);
            for due_within_s in [0, 1, 1_799, 1_800, 3_600, 7_200, 100_000] {
                due += compare(desk, &monitor, "priority", due_within_s).await["total"]["sla"]["due_within"].as_i64().unwrap();
            }
            if step % 3 == 2 {
                fold(&desk.db, 500).await.unwrap();
            }
        }
        assert!(due > 0);
    }

    /// Of tickets, changes and clocks there are more here than one statement reads.
    async fn what_is_read_some_at_a_time_is_read_to_its_end(desk) {
        const MANY: i64 = 2_100;
        // All but those that are made from others.
        const COLUMNS: &str = "number, id, subject, description, status, priority, type, channel, team_id, assignee_id, requester_id, created_by_id,
            external_id, follow_up_of, tags, custom_fields, created_at, updated_at, reported_at, started_at, first_replied_at, resolved_at, closed_at,
            reopen_count, agent_comments, version, followed_edit";
        let (admin, agent, monitor) = (desk.admin().await, desk.agent().await, desk.account("metrics:read").await);
        let targets: Vec<_> = [("response", 1_800), ("first_reply", 3_600)].into_iter()
            .map(|(target, target_s)| json!({ "target": target, "priority": null, "target_s": target_s, "hours": "calendar" })).collect();
        desk.post("/v1/sla/policies").by(&admin).json(&json!({ "name": "P", "position": 1, "condition": {}, "targets": targets })).expect(201).await;
        let from = desk.clock.now();
        desk.ticket(&agent, json!({ "priority": "high" })).await;
        // The same ticket again and again, each time with its clocks and what its creation has counted.
        let mut sql = format!(
            "CREATE TEMPORARY TABLE t AS SELECT {COLUMNS} FROM tickets; CREATE TEMPORARY TABLE c AS SELECT * FROM ticket_clocks;
             CREATE TEMPORARY TABLE d AS SELECT * FROM tally_deltas;"
        );
        for number in 2..=MANY {
            let id = if desk.db.engine() == "sqlite" { format!("X'{number:032x}'") } else { format!("'{number:032x}'") };
            sql += &format!(
                "UPDATE t SET number = {number}, id = {id}; INSERT INTO tickets ({COLUMNS}) SELECT * FROM t;
                 UPDATE c SET ticket_number = {number}; INSERT INTO ticket_clocks SELECT * FROM c;
                 UPDATE d SET id = {id}; INSERT INTO tally_deltas SELECT * FROM d;"
            );
        }
        desk.store.run(&sql).await;
        let read = async |path: &str| desk.get(path).by(&monitor).expect(200).await;
        let check = async |breached: usize| {
            let sla = |breached: i64| json!({ "met": 0, "breached": breached, "attainment": if breached == 0 { Value::Null } else { json!(0.0) } });
            let span = format!("from={from}&to={}&group_by=priority", desk.clock.now().plus_s(1));
            let summary = read(&format!("/v1/metrics/summary?{span}")).await.body;
            let series = read(&format!("/v1/metrics/timeseries?{span}&interval=month")).await.body["series"].clone();
            for figures in [&summary["total"], &summary["groups"][2], &series[2]["points"][0]] {
                assert_eq!(figures["tickets"]["created"], MANY, "{figures}");
                for (nth, target) in ["response", "first_reply"].into_iter().enumerate() {
                    assert_eq!(figures["sla"][target], sla(if nth < breached { MANY } else { 0 }), "{target}");
                }
            }
            assert_eq!(series[2]["points"][0]["backlog"], MANY);
            let told = compare(desk, &monitor, "priority", 3_600).await;
            let sla = &told["total"]["sla"];
            assert_eq!((&told["total"]["open"], &sla["breached"], &sla["due_within"]), (&json!(MANY), &json!(if breached > 0 { MANY } else { 0 }), &json!(if breached < 2 { MANY } else { 0 })));
            let text = read("/metrics").await.text();
            for (nth, target) in ["response", "first_reply"].into_iter().enumerate() {
                let line = format!("skranke_sla_breached_total{{target=\"{target}\",priority=\"high\"}} {}\n", if nth < breached { MANY } else { 0 });
                assert!(text.contains(&line), "{line}: {text}");
            }
        };
        check(0).await;
        desk.clock.pass_s(3_000);
        check(1).await;
        desk.clock.pass_s(5_000);
        check(2).await;
        fold(&desk.db, 500).await.unwrap();
        check(2).await;
        while desk.write_down_breaches(500).await > 0 {}
        check(2).await;
    }

    async fn what_was_reported_long_ago_is_the_oldest(desk) {
        let (agent, monitor) = (desk.agent().await, desk.account("metrics:read").await);
        let first = desk.ticket(&agent, json!({ "reported_at": "1970-01-01T00:00:00.000000Z", "tags": ["a", "b"] })).await;
        let second = desk.ticket(&agent, json!({ "reported_at": "1999-12-31T23:30:00.000000Z", "tags": ["b"] })).await;
        desk.ticket(&agent, json!({ "reported_at": "1999-12-31T23:30:01.000000Z", "tags": ["b", "c"] })).await;
        fold(&desk.db, 500).await.unwrap();
        let oldest = async || {
            let told = compare(desk, &monitor, "tag", 0).await;
            told["groups"].as_array().unwrap().iter().map(|group| group["oldest_reported_at"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(oldest().await, ["1970-01-01T00:00:00.000000Z", "1970-01-01T00:00:00.000000Z", "1999-12-31T23:30:01.000000Z"]);
        desk.patch_ticket(&agent, &first, json!({ "status": "resolved" })).await;
        assert_eq!(oldest().await, ["1999-12-31T23:30:00.000000Z", "1999-12-31T23:30:01.000000Z"]);
        desk.patch_ticket(&agent, &second, json!({ "tags": ["d"] })).await;
        assert_eq!(oldest().await, ["1999-12-31T23:30:01.000000Z", "1999-12-31T23:30:01.000000Z", "1999-12-31T23:30:00.000000Z"]);
        fold(&desk.db, 500).await.unwrap();
        desk.patch_ticket(&agent, &first, json!({ "status": "open" })).await;
        assert_eq!(oldest().await.len(), 5 - 1);
    }
}
