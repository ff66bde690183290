//! What is kept of tickets is made anew, beside those who write, whenever it is cut short.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::join3;
use reqwest::Method;
use serde_json::{Value, json};

use crate::start::{Place, Server, until};
use crate::support::{Caller, Engine, Store};

/// How many tickets there are at first.
const TICKETS: usize = 150;

/// Numbers that tell of what is not, cells that lack all that they should hold, and an index that does not know of a
/// ticket.
fn damage(engine: Engine) -> String {
    let (flag, far, bytes) = match engine {
        Engine::Sqlite => ("0", "4102444800000000", "X'07'"),
        Engine::Postgres => ("0", "to_timestamp(4102444800)", "'\\x07'"),
    };
    format!(
        "INSERT INTO tallies (series, labels, quarter, n) VALUES
             ('tickets', '[\"open\",\"low\",\"none\"]', 0, 41), ('created', '[\"low\",\"none\"]', 0, 5), ('clocks_met', '[\"response\",\"low\"]', 0, 9000),
             ('waiting_all_stand', '[null,\"open\",\"low\",{flag},null,null,null]', 0, 3);
         DELETE FROM cells;
         INSERT INTO cells (axis, level, start, key, counts, durations) VALUES ('all', 'month', 0, '', {bytes}, {bytes});
         INSERT INTO ticket_tags (tag, created_at, ticket_number) SELECT 'ghost', created_at, number FROM tickets WHERE number < 60;
         UPDATE ticket_clocks SET due_at = {far}, breach_at = {far} WHERE ticket_number > 80;
         UPDATE tickets SET subject = 'Zebra crossing' WHERE number = 3;"
    )
}

/// How many tickets a report tells of, and how many a search finds.
async fn told(server: &Server, who: &Caller) -> (Value, usize) {
    let report = server
        .get("/v1/metrics/summary?from=2020-01-01T00:00:00.000000Z&to=2099-01-01T00:00:00.000000Z")
        .by(who)
        .expect(200)
        .await
        .body;
    let found = server.get("/v1/tickets?q=zebra").by(who).expect(200).await.body;
    (report["total"]["tickets"]["created"].clone(), found["items"].as_array().unwrap().len())
}

/// Writes until it is done; gives how many tickets were opened, and the longest time that one write took.
async fn write(server: &Server, who: &Caller, done: &AtomicBool) -> (usize, Duration) {
    let (mut opened, mut longest) = (0, Duration::ZERO);
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let number = server.open(who).await.body["number"].clone();
        longest = longest.max(began.elapsed());
        opened += 1;
        let (began, patch) = (Instant::now(), json!({ "status": "resolved", "tags": [format!("t{}", opened % 7)] }));
        server.ask(Method::PATCH, &format!("/v1/tickets/{number}")).by(who).json(&patch).expect(200).await;
        longest = longest.max(began.elapsed());
    }
    (opened, longest)
}

async fn is_rebuilt(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let admin = place.person("admin").await;
    for nth in 1..=TICKETS {
        server.open(&admin).await;
        if nth % 3 == 0 {
            let status = if nth % 2 == 0 { "open" } else { "resolved" };
            let patch = json!({ "status": status });
            server.ask(Method::PATCH, &format!("/v1/tickets/{nth}")).by(&admin).json(&patch).expect(200).await;
        }
    }
    assert_eq!(told(&server, &admin).await, (json!(TICKETS), 0));
    store.run(&damage(engine)).await;
    assert_ne!(told(&server, &admin).await, (json!(TICKETS), 1));
    let checked = place.run(&["check", "--deep"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    let numbers = checked.out.lines().find(|line| line.contains("numbers: ")).unwrap();
    for wrong in [
        "tickets by status",
        "the backlog",
        "the count of created",
        "the count of clocks_met",
        "those of reports",
        "run `skranke rebuild`",
    ] {
        assert!(numbers.contains(wrong), "{wrong}: {numbers}");
    }

    let done = AtomicBool::new(false);
    let rebuild = async {
        // Cut short as a power cut does it, here and there.
        for stage in ["Looking", "Counting", "Adding up", "Indexing"] {
            let mut process = place.spawn(env!("CARGO_BIN_EXE_skranke"), &["rebuild"], "");
            until("a stage", async || (process.err().contains(stage) || process.ended().is_some()).then_some(())).await;
            process.kill();
        }
        let whole = place.run(&["rebuild"]).await;
        done.store(true, Ordering::Relaxed);
        whole
    };
    let (whole, one, other) = join3(rebuild, write(&server, &admin, &done), write(&server, &admin, &done)).await;
    assert_eq!(whole.code, Some(0), "{whole:?}");
    assert!(whole.err.contains("Indexing words: all tickets can be searched."), "{whole:?}");
    assert!(!whole.err.contains('\u{1b}') && !whole.err.contains('\r'), "a bar where nobody sees it: {whole:?}");
    let longest = one.1.max(other.1);
    assert!(longest < Duration::from_secs(3), "a write waited for {longest:?}");
    let all = TICKETS + one.0 + other.0;
    assert!(all > TICKETS + 1, "nobody wrote meanwhile");
    assert_eq!(told(&server, &admin).await, (json!(all), 1));
    let checked = place.run(&["check", "--deep"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    // What is right stays so, also when nobody serves.
    server.stop().await;
    assert_eq!(place.run(&["rebuild"]).await.code, Some(0));
    let checked = place.run(&["check", "--deep"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    if engine == Engine::Sqlite {
        // All of it is derived: what cannot be read of it is made anew.
        store.run("DELETE FROM ticket_words_data WHERE id > 1000").await;
        let checked = place.run(&["check", "--deep"]).await;
        assert_eq!(checked.code, Some(1), "{checked:?}");
        assert!(checked.out.contains("run skranke rebuild"), "{checked:?}");
        let mended = place.run(&["rebuild"]).await;
        assert_eq!(mended.code, Some(0), "{mended:?}");
        assert!(mended.err.contains("could not be read"), "{mended:?}");
        assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0));
        let server = place.start().await;
        assert_eq!(told(&server, &admin).await, (json!(all), 1));
        server.stop().await;
    }
    store.run("UPDATE rebuilds SET stage = 'words'").await;
    let rest = place.run(&["rebuild"]).await;
    assert!(rest.err.starts_with("Going on where it was cut short: words.\nIndexing words."), "{rest:?}");
    // What a newer version has packed is not misread.
    store.run("UPDATE cell_marks SET format = 4").await;
    let server = place.start().await;
    let newer = "the numbers in the database are of a newer version: run that one";
    server.get("/health/ready").refused(503, "unavailable").await;
    let window = "from=2020-01-01T00:00:00.000000Z&to=2099-01-01T00:00:00.000000Z";
    for path in [
        &format!("/v1/metrics/summary?{window}"),
        &format!("/v1/metrics/summary?{window}&requester_id=me"),
        "/v1/metrics/timeseries?from=2020-01-01T00:00:00.000000Z&to=2021-01-01T00:00:00.000000Z&interval=month",
        "/v1/metrics/backlog",
        "/metrics",
    ] {
        server.get(path).by(&admin).refused(503, "unavailable").await;
    }
    server.open(&admin).await;
    let said = server.stop().await;
    assert!(said.out.contains(newer) || said.err.contains(newer), "{said:?}");
    for command in [&["rebuild"][..], &["check", "--deep"]] {
        let refused = place.run(command).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(newer) || refused.out.contains(newer), "{refused:?}");
    }
    store.run("UPDATE cell_marks SET format = 3; UPDATE words_marks SET format = 9").await;
    let server = place.start().await;
    let newer = "the search index in the database is of a newer version: run that one";
    server.get("/health/ready").refused(503, "unavailable").await;
    for path in ["/v1/tickets?q=printer", "/v1/metrics/backlog?q=printer"] {
        server.get(path).by(&admin).refused(503, "unavailable").await;
    }
    for path in ["/v1/tickets", "/v1/metrics/backlog"] {
        server.get(path).by(&admin).expect(200).await;
    }
    let said = server.stop().await;
    assert!(said.out.contains(newer) || said.err.contains(newer), "{said:?}");
    for command in [&["rebuild"][..], &["check", "--deep"]] {
        let refused = place.run(command).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(newer) || refused.out.contains(newer), "{refused:?}");
    }
    tell(&format!(
        "{engine:?}: {} tickets written beside five rebuilds, the longest write took {longest:?}",
        one.0 + other.0
    ));
    store.drop().await;
}

/// What can be told of the tickets, by what lists find them, and of their clocks what does not change while they run.
async fn shown(server: &Server, who: &Caller) -> Vec<Value> {
    let mut shown = Vec::new();
    for query in [
        "sort=due_at",
        "sort=created_at",
        "tag=red",
        "tag=blue,green",
        "tag=ghost",
        "sla=breached",
        "sla=due_within:3600&tag=red",
    ] {
        let list = server.get(&format!("/v1/tickets?limit=200&{query}")).by(who).expect(200).await.body;
        let tickets = list["items"].as_array().unwrap().iter().map(|ticket| {
            let clocks = ticket["clocks"].as_array().unwrap().iter();
            let clocks: Vec<_> = clocks
                .map(|clock| json!([clock["target"], clock["state"], clock["due_at"], clock["target_s"]]))
                .collect();
            let seconds = |name: &str| {
                ["response", "first_reply", "service", "resolution"].map(|of| ticket["durations"][of][name].clone())
            };
            json!([
                ticket["number"],
                ticket["tags"],
                ticket["resolved_at"],
                clocks,
                seconds("calendar_s"),
                seconds("business_s")
            ])
        });
        shown.push(json!([query, tickets.collect::<Vec<_>>()]));
    }
    shown
}

/// A desk with tickets in all states, whose rows are damaged behind the service, found, and put right while it serves.
async fn rows_are_put_right(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let (admin, agent) = (place.person("admin").await, place.person("agent").await);
    let shift = json!([{ "from": "08:00", "to": "16:00" }]);
    let week = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let hours: serde_json::Map<_, _> = week.iter().map(|day| ((*day).to_owned(), shift.clone())).collect();
    let calendar = json!({ "name": "Shift", "time_zone": "Europe/Oslo", "working_hours": hours });
    let calendar = server.post("/v1/sla/calendars").by(&admin).json(&calendar).expect(201).await.body;
    let rule = |target: &str, seconds: i64, hours: &str| json!({ "target": target, "priority": null, "hours": hours, "target_s": seconds });
    let targets = json!([
        rule("response", 3_600, "calendar"),
        rule("first_reply", 86_400, "business"),
        rule("service", 86_400, "calendar")
    ]);
    let policy =
        json!({ "name": "P", "position": 1, "condition": {}, "calendar_id": calendar["id"], "targets": targets });
    server.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;
    let patch = async |number: usize, patch: Value| {
        server.ask(Method::PATCH, &format!("/v1/tickets/{number}")).by(&agent).json(&patch).expect(200).await;
    };
    for number in 1..=24_usize {
        let tags = [json!([]), json!(["red"]), json!(["red", "blue"]), json!(["green"])][number % 4].clone();
        let mut ticket = json!({ "subject": "s", "tags": tags });
        if number % 2 == 0 {
            ticket["reported_at"] = json!("2026-03-02T09:00:00.000000Z");
        }
        server.post("/v1/tickets").by(&admin).json(&ticket).expect(201).await;
        let steps: &[&str] = match number % 6 {
            0 => &[],
            1 => &["open"],
            2 => &["open", "waiting_requester"],
            3 => &["open", "waiting_third_party", "open", "resolved"],
            4 => &["resolved", "open", "resolved", "closed"],
            _ => &["open", "resolved", "open"],
        };
        for (nth, step) in steps.iter().enumerate() {
            patch(number, json!({ "status": step })).await;
            if nth == 0 && number % 5 != 0 {
                let comment = json!({ "visibility": "public", "body": "On the way." });
                server.post(&format!("/v1/tickets/{number}/comments")).by(&agent).json(&comment).expect(201).await;
            }
        }
    }
    let before = shown(&server, &agent).await;
    assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0));

    let far = match engine {
        Engine::Sqlite => "4102444800000000",
        Engine::Postgres => "to_timestamp(4102444800)",
    };
    for (damage, wrong) in [
        ("DELETE FROM ticket_tags WHERE ticket_number = 2".to_owned(), "the tags of 1 ticket (2)"),
        (
            "INSERT INTO ticket_tags (tag, created_at, ticket_number) SELECT 'ghost', created_at, number FROM tickets WHERE number IN (4, 5)"
                .to_owned(),
            "the tags of 2 tickets (4, 5)",
        ),
        (format!("UPDATE ticket_tags SET created_at = {far} WHERE ticket_number IN (1, 2, 3, 5, 6, 7)"), "the tags of 6 tickets (1, 2, 3, 5, 6, …)"),
        (format!("UPDATE ticket_clocks SET due_at = {far} WHERE ticket_number = 1"), "the clocks of 1 ticket (1)"),
        ("UPDATE ticket_clocks SET breach_at = NULL WHERE ticket_number IN (2, 11)".to_owned(), "the clocks of 2 tickets (2, 11)"),
        (
            format!(
                "UPDATE ticket_clocks SET response_breach_at = {far} WHERE ticket_number = 3;
                 UPDATE ticket_clocks SET first_reply_breach_at = {far} WHERE ticket_number = 4;
                 UPDATE ticket_clocks SET service_breach_at = {far} WHERE ticket_number = 5"
            ),
            "the clocks of 3 tickets (3, 4, 5)",
        ),
        (
            format!(
                "UPDATE ticket_clocks SET service_s = service_s + 7 WHERE ticket_number = 3;
                 UPDATE ticket_clocks SET last_resolved_at = {far} WHERE ticket_number = 9;
                 UPDATE ticket_clocks SET resolution_s = NULL WHERE ticket_number = 10;
                 UPDATE ticket_clocks SET response_business_s = NULL WHERE ticket_number = 7;
                 UPDATE ticket_clocks SET created_at = {far} WHERE ticket_number = 8"
            ),
            "the clocks of 5 tickets (3, 7, 8, 9, 10)",
        ),
        (
            "UPDATE ticket_clocks SET clocks = '[]' WHERE ticket_number = 6;
             UPDATE ticket_clocks SET policy_id = NULL WHERE ticket_number = 8"
                .to_owned(),
            "the clocks of 2 tickets (6, 8)",
        ),
        ("DELETE FROM ticket_clocks WHERE ticket_number BETWEEN 12 AND 17".to_owned(), "the clocks of 6 tickets (12, 13, 14, 15, 16, …)"),
    ] {
        store.run(&damage).await;
        let found = place.run(&["check", "--deep"]).await;
        let line = found.out.lines().find(|line| line.contains("tags and clocks: ")).unwrap();
        assert_eq!(found.code, Some(1), "{damage}: {found:?}");
        assert!(line.contains(&format!("wrong are {wrong}: run `skranke rebuild`")), "{damage}: {line}");
        let mended = place.run(&["rebuild"]).await;
        assert_eq!(mended.code, Some(0), "{damage}: {mended:?}");
        let checked = place.run(&["check", "--deep"]).await;
        assert_eq!(checked.code, Some(0), "{damage}: {checked:?}");
        let after = shown(&server, &agent).await;
        assert_eq!(after, before, "{damage}");
    }
    // Everybody sees the clocks of a ticket: where they have changed, so has the ticket.
    let versions: Vec<_> =
        server.get("/v1/tickets?limit=200&sort=created_at").by(&agent).expect(200).await.body["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|ticket| ticket["version"].as_i64().unwrap())
            .collect();
    assert_eq!(versions[0], versions[18], "a row that tells the same is no change");
    assert_eq!(versions[11], versions[23] + 1, "clocks that were lost are");
    // It is a desk like any other.
    patch(12, json!({ "status": "open" })).await;
    patch(6, json!({ "status": "resolved" })).await;
    assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0));
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_follow_from_tickets_are_put_right_on_sqlite() {
    rows_are_put_right(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_follow_from_tickets_are_put_right_on_postgres() {
    rows_are_put_right(Engine::Postgres).await;
}

#[expect(clippy::print_stdout, reason = "figures for whoever measures")]
fn tell(figures: &str) {
    println!("{figures}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_made_anew_beside_those_who_write_on_sqlite() {
    is_rebuilt(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_made_anew_beside_those_who_write_on_postgres() {
    is_rebuilt(Engine::Postgres).await;
}
