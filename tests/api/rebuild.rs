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

/// Numbers that tell of what is not, cells that lack all that they should hold, and an index that does not know of a ticket.
fn damage(engine: Engine) -> String {
    let (flag, far) = match engine {
        Engine::Sqlite => ("0", "4102444800000000"),
        Engine::Postgres => ("0", "to_timestamp(4102444800)"),
    };
    format!(
        "INSERT INTO tallies (series, labels, hour, n) VALUES
             ('tickets', '[\"open\",\"low\",\"none\"]', 0, 41), ('created', '[\"low\",\"none\"]', 0, 5), ('clocks_met', '[\"response\",\"low\"]', 0, 9000),
             ('waiting_all_stand', '[null,\"open\",\"low\",{flag},null,null,null]', 0, 3);
         UPDATE cell_marks SET day = {far}, month = {far}, year = {far};
         UPDATE tickets SET subject = 'Zebra crossing' WHERE number = 3;"
    )
}

/// How many tickets a report tells of, and how many a search finds.
async fn told(server: &Server, who: &Caller) -> (Value, usize) {
    let report = server
        .get("/v1/metrics/summary?from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z")
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
    for wrong in
        ["tickets by status", "the backlog", "the count of created", "the count of clocks_met", "run `skranke rebuild`"]
    {
        assert!(numbers.contains(wrong), "{wrong}: {numbers}");
    }

    let done = AtomicBool::new(false);
    let rebuild = async {
        // Cut short as a power cut does it, here and there.
        for stage in ["Counting", "Adding up", "Indexing"] {
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
    store.run("UPDATE cell_marks SET format = 2").await;
    let server = place.start().await;
    let newer = "the numbers in the database are of a newer version: run that one";
    server.get("/health/ready").refused(503, "unavailable").await;
    server
        .get("/v1/metrics/summary?from=2020-01-01T00:00:00Z&to=2099-01-01T00:00:00Z")
        .by(&admin)
        .refused(503, "unavailable")
        .await;
    server.open(&admin).await;
    let said = server.stop().await;
    assert!(said.out.contains(newer) || said.err.contains(newer), "{said:?}");
    for command in [&["rebuild"][..], &["check", "--deep"]] {
        let refused = place.run(command).await;
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.err.contains(newer) || refused.out.contains(newer), "{refused:?}");
    }
    store.run("UPDATE cell_marks SET format = 1; UPDATE words_marks SET format = 2").await;
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
        "{engine:?}: {} tickets written beside four rebuilds, the longest write took {longest:?}",
        one.0 + other.0
    ));
    store.drop().await;
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
