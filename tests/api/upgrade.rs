//! What a newer version makes of data that an older one has left.

use serde_json::{Value, json};
use skranke::tally::domain::backlog::{BacklogCount, axes, series};
use skranke::tally::domain::{Counter, Series};
use skranke::tally::service::fold;
use skranke::tally::store::{CounterReader, totals};

use crate::on_both;
use crate::support::{Caller, Chance, Desk, seed};

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

/// Every counter of the backlog, folded or not.
async fn backlog(desk: &Desk) -> Vec<(Counter, i64)> {
    let names: Vec<_> = axes().flat_map(|axis| BacklogCount::ALL.iter().map(move |part| series(axis, *part))).collect();
    let read = desk.db.read(async |conn| {
        let (mut kept, mut all) = (CounterReader::default(), skranke::tally::domain::Sums::default());
        while let Some(some) = kept.next(conn, 1_000).await? {
            all.merge(some.spread());
        }
        Ok(all)
    });
    let all = read.await.unwrap();
    all.iter().filter(|(counter, _)| names.contains(&counter.series)).map(|(counter, n)| (counter.clone(), n)).collect()
}

/// A history, with what it does not know of.
async fn live(desk: &Desk) {
    let agent = desk.agent().await;
    let chance = std::cell::RefCell::new(Chance(seed()));
    let below = |n: usize| chance.borrow_mut().below(n);
    let more = async || {
        let patch = [
            json!({ "assignee_id": agent.id, "type": "question" }),
            json!({ "channel": "phone", "tags": (["a", "Øre \"a\" \\ \u{7}\u{1f}\n/", "vip"][..below(4)]) }),
        ][below(2)]
        .clone();
        desk.patch(&format!("/v1/tickets/{}", 1 + below(20))).by(&agent).json(&patch).send().await;
    };
    crate::replay::live(desk, &mut Chance(seed()), 100, &more).await;
    fold(&desk.db, 500).await.unwrap();
}

on_both! {
    /// Trails from before events had numbers go on: what was there is first, in its order, page by page.
    async fn trails_of_before_go_on(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({ "subject": "0" })).await;
        let path = format!("/v1/tickets/{}", ticket["number"]);
        let change = async |n: usize| drop(desk.patch_ticket(&agent, &ticket, json!({ "subject": n.to_string() })).await);
        for n in 1..5 {
            change(n).await;
        }
        desk.store.run("UPDATE events SET number = 0").await;
        for n in 5..8 {
            change(n).await;
        }
        if desk.db.engine() == "postgres" {
            // An instance of the version before is still at work.
            let insert = "INSERT INTO events (id, ticket_id, at, actor_id, kind, visibility, comment_id, changes)
                SELECT '00000000-0000-7000-8000-000000000001', ticket_id, at, actor_id, kind, visibility, comment_id,
                       replace(changes::text, '\"7\"', '\"8\"')::jsonb
                FROM events ORDER BY number DESC LIMIT 1";
            desk.store.run(insert).await;
        } else {
            change(8).await;
        }
        let events = desk.all(&agent, &format!("{path}/events?limit=2")).await;
        let subjects = events.iter().map(|event| {
            let changes = event["changes"].as_array().unwrap();
            let change = changes.iter().find(|change| change["field"] == "subject").unwrap();
            change["after"].as_str().unwrap().parse::<usize>().unwrap()
        });
        let subjects: Vec<_> = subjects.collect();
        assert_eq!(subjects, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        // A cursor of another ticket's trail leads nowhere.
        let other = desk.ticket(&agent, json!({})).await;
        let cursor = desk.get(&format!("{path}/events?limit=2")).by(&agent).expect(200).await.body["next_cursor"].clone();
        let elsewhere = format!("/v1/tickets/{}/events?cursor={}", other["number"], cursor.as_str().unwrap());
        desk.get(&elsewhere).by(&agent).refused(400, "invalid_cursor").await;
    }

    /// Whoever fills the tables by other means has it all counted afterwards.
    async fn everything_is_counted_anew(desk) {
        live(desk).await;
        // What tickets tell as they stand, which is not what counters have seen on the way.
        let standing = async || {
            let series = [Series::Tickets, Series::Clocks, Series::ClocksBreached, Series::Reopened, Series::Resolved, Series::Created];
            let totals = desk.db.read(async |conn| totals(conn, &series).await).await.unwrap();
            assert_eq!(totals.unfolded, 0);
            let all = |of: Series| totals.sums.iter().filter(|(cell, _)| cell.series == of.as_str()).map(|(_, n)| n).sum::<i64>();
            let of_now = [Series::Tickets, Series::Clocks, Series::ClocksBreached];
            let cells: Vec<_> = totals.sums.iter().filter(|(cell, _)| of_now.iter().any(|of| cell.series == of.as_str()))
                .map(|(cell, n)| (cell.clone(), n)).collect();
            (cells, [Series::Created, Series::Resolved, Series::Reopened].map(all), backlog(desk).await)
        };
        let counted = standing().await;
        let recount = async || skranke::tickets::service::recount(&desk.db, &|_| {}).await.unwrap();
        let all = async || desk.db.read(async |conn| totals(conn, Series::ALL).await).await.unwrap();
        // What is right stays, also what tickets do not tell any more.
        let (before, _) = (all().await, recount().await);
        assert_eq!(all().await, before);
        desk.store.run("DELETE FROM tallies").await;
        let agent = desk.agent().await;
        let tickets = desk.all(&agent, "/v1/tickets").await.len();
        assert_eq!(recount().await, tickets);
        assert_eq!(standing().await, counted);
        // A second time makes no difference.
        recount().await;
        assert_eq!(standing().await, counted);
    }

    /// Tickets from before there were clocks get the times that their trail tells of.
    async fn tickets_from_before_there_were_clocks_have_their_times(desk) {
        let (ada, agent, script) = (desk.requester().await, desk.agent().await, desk.account("tickets:write tickets:read comments:write").await);
        let untouched = desk.ticket(&ada, json!({})).await;
        desk.clock.pass_s(61);
        let back_dated = desk.ticket(&script, json!({ "reported_at": "2026-03-02T08:00:00.500000Z" })).await;
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
