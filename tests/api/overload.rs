//! More than can be done, and clients that are slow: others are served, and nothing is lost.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::app::janitor;
use skranke::db::{DatabaseUrl, Db};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::on_both;
use crate::support::{Chance, Desk, Engine, Store};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A second instance that waits a second for its clients.
fn impatient(desk: &Desk) -> String {
    desk.instance_with(|mut settings| {
        settings.limits.client_timeout = Duration::from_secs(1);
        settings
    })
}

/// A connection, on which something has been sent.
async fn connection(url: &str, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// All that comes until the server closes the connection.
async fn to_its_end(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    // Whether it says goodbye or not.
    drop(tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("the server ends it"));
    String::from_utf8_lossy(&all).into_owned()
}

on_both! {
    /// Of many who want to write at once while nobody can, some wait, and the others are told so at once.
    async fn more_writes_than_may_wait_are_sent_away(desk) {
        let db = Db::open(&desk.store.url, 8, Duration::from_secs(60)).unwrap().with_queue(4);
        let url = desk.instance_with(|mut settings| {
            settings.state.db = db.clone();
            settings
        });
        let agent = desk.agent().await;
        let create = || desk.ask_at(&url, Method::POST, "/v1/tickets").by(&agent).json(&json!({ "subject": "s" }));
        create().expect(201).await;
        let hold = desk.store.hold().await;
        let mut answers: FuturesUnordered<_> = (0..30).map(|_| create().send()).collect();
        // On PostgreSQL each of two threads has half of the queue, in which its requests also wait while it connects;
        // up to eight more have a connection.
        let (least_that_wait, most_that_wait) = if desk.db.engine() == "sqlite" { (4, 4) } else { (2, 4 + 8) };
        for _ in 0..30 - most_that_wait {
            let refused = answers.next().await.unwrap();
            assert_eq!((refused.status.as_u16(), refused.body["code"].as_str()), (503, Some("unavailable")), "{}", refused.text());
            assert_eq!(refused.header("retry-after"), Some("1"));
        }
        // Whoever reads is served meanwhile.
        desk.ask_at(&url, Method::GET, "/v1/tickets/1").by(&agent).expect(200).await;
        // What the service does by itself waits however many others do.
        let patient = db.patient();
        let round = janitor::round(&patient, 604_800, &desk.ids);
        let released = async {
            tokio::task::yield_now().await;
            hold.release().await;
        };
        let (round, ()) = futures::future::join(round, released).await;
        assert!(round.is_ok(), "{round:?}");
        let mut created = 1;
        while let Some(answer) = answers.next().await {
            created += usize::from(answer.status == 201);
            assert!([201, 503].contains(&answer.status.as_u16()), "{}", answer.text());
        }
        // Whoever waited was served, and whoever was told that nothing was changed was told the truth.
        assert!(created > least_that_wait, "{created}");
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), created);
        // It is over at once.
        create().expect(201).await;
    }

    /// Heads and bodies that never end cost their senders their connections, and nobody else anything.
    async fn slow_clients_are_told_so_and_keep_nobody_waiting(desk) {
        let url = impatient(desk);
        let agent = desk.agent().await;
        let post = format!("POST /v1/tickets HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n", agent.token);
        let mut slow = Vec::new();
        for _ in 0..50 {
            slow.push(("head", connection(&url, "GET /v1/me HTTP/1.1\r\nhost: x\r\nx-slow: ").await));
            slow.push(("body", connection(&url, &format!("{post}content-length: 100\r\n\r\n{{\"subject\": ")).await));
            slow.push(("body", connection(&url, &format!("{post}transfer-encoding: chunked\r\n\r\n5\r\n{{\"sub\r\n")).await));
            slow.push(("form", connection(&url, "POST /v1/auth/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: 100\r\n\r\ngrant_type").await));
        }
        // What is refused before its body has ended is not waited for either.
        let mut refused = connection(&url, "POST /v1/tickets HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n").await;
        let begun = Instant::now();
        desk.ask_at(&url, Method::POST, "/v1/tickets").by(&agent).json(&json!({ "subject": "s" })).expect(201).await;
        for (what, stream) in &mut slow {
            let answer = to_its_end(stream).await;
            assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{what}: {answer:?}");
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.to_lowercase().contains("connection: close"), "{what}: {head}");
            if *what != "head" {
                let problem: Value = serde_json::from_str(body).unwrap();
                assert_eq!((&problem["code"], &problem["status"]), (&json!("request_timeout"), &json!(408)));
            }
        }
        assert!(begun.elapsed() >= Duration::from_millis(900), "they had their time");
        assert!(to_its_end(&mut refused).await.starts_with("HTTP/1.1 401 Unauthorized\r\n"));
        // A chunked body that ends leaves the connection as it was.
        let whole = format!("{post}transfer-encoding: chunked\r\n\r\nf\r\n{{\"subject\":\"s\"}}\r\n0\r\n\r\n");
        let last = whole.replace("host: x", "host: x\r\nconnection: close");
        let both = to_its_end(&mut connection(&url, &(whole + &last)).await).await;
        assert_eq!(both.matches("HTTP/1.1 201 Created\r\n").count(), 2, "{both}");
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 3);
    }

    /// Somebody who asks for much and takes none of it loses the connection, and with it what it has cost.
    async fn a_client_that_takes_no_answer_loses_its_connection(desk) {
        let url = desk.instance_with(|mut settings| {
            settings.limits.client_timeout = Duration::from_secs(1);
            settings.limits.connections_per_address = 1;
            settings
        });
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({ "description": "x ".repeat(30_000) })).await;
        let ask = format!("GET /v1/tickets/1 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", agent.token);
        // 24 MB, which no buffer of the system holds.
        let deaf = connection(&url, &ask.repeat(400)).await;
        deaf.readable().await.unwrap();
        // There is one seat, and it is taken.
        let refused = to_its_end(&mut connection(&url, "").await).await;
        assert_eq!(refused, "");
        let begun = Instant::now();
        loop {
            let mut next = connection(&url, "").await;
            // It may be closed already.
            drop(next.write_all(ask.replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes()).await);
            if to_its_end(&mut next).await.starts_with("HTTP/1.1 200 OK") {
                break;
            }
            assert!(begun.elapsed() < DEADLINE, "the connection is never ended");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        drop(deaf);
    }
}

/// One address does not get all connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_has_so_many_connections_at_once() {
    let desk = Desk::open(Engine::Sqlite).await;
    let url = desk.instance_with(|mut settings| {
        settings.limits.connections_per_address = 3;
        settings
    });
    let ask = "GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
    let mut open = Vec::new();
    for _ in 0..3 {
        let stream = connection(&url, ask).await;
        stream.readable().await.unwrap();
        open.push(stream);
    }
    assert_eq!(to_its_end(&mut connection(&url, "").await).await, "");
    // Whoever ends one may begin another.
    open.pop().unwrap().shutdown().await.unwrap();
    let begun = Instant::now();
    while !to_its_end(&mut connection(&url, &ask.replace("host: x", "host: x\r\nconnection: close")).await)
        .await
        .starts_with("HTTP/1.1 200")
    {
        assert!(begun.elapsed() < DEADLINE, "the seat is never free");
    }
    desk.close().await;
}

/// A desk on SQLite whose requests take two seconds at most.
async fn hasty_desk() -> Desk {
    let open = |url: &DatabaseUrl| Db::open(url, 8, Duration::from_secs(2)).unwrap();
    Desk::open_at(Store::make(Engine::Sqlite).await, open, vec![], |settings| settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_that_locks_the_file_is_called_by_its_name() {
    let desk = hasty_desk().await;
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    let hold = desk.store.hold().await;
    let subject = json!({ "subject": "s" });
    let create = async || {
        let begun = Instant::now();
        let refused = desk.post("/v1/tickets").by(&agent).json(&subject).refused(503, "unavailable").await;
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("Another program") && detail.contains("Nothing was changed"), "{detail}");
        assert_eq!(refused.header("retry-after"), Some("1"));
        begun.elapsed()
    };
    // The first of them is the writer's own, the others wait behind it.
    let (one, two, three) = tokio::join!(create(), create(), create());
    assert!(one.max(two).max(three) < Duration::from_secs(5));
    hold.release().await;
    desk.post("/v1/tickets").by(&agent).json(&subject).expect(201).await;
    assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 2, "what was refused has changed nothing");
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_sqlite_that_is_gone_is_noticed() {
    for lost in ["", "-wal", "-shm"] {
        let desk = hasty_desk().await;
        let DatabaseUrl::Sqlite(path) = &desk.store.url else { panic!("not SQLite") };
        desk.ticket(&desk.agent().await, json!({})).await;
        desk.get("/health/ready").expect(200).await;
        std::fs::remove_file(format!("{}{lost}", path.display())).unwrap();
        let said = desk.get("/health/ready").refused(503, "unavailable").await;
        assert!(said.body["detail"].as_str().unwrap().contains("deleted or replaced"), "{}", said.text());
        // Another one of the same name is not the one that is written to.
        std::fs::write(format!("{}{lost}", path.display()), []).unwrap();
        desk.get("/health/ready").refused(503, "unavailable").await;
        desk.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: cargo test --test api -- --ignored overload::different_queries"]
#[expect(clippy::print_stdout, reason = "the figures")]
async fn different_queries_take_no_more_memory() {
    let desk = Desk::open(Engine::Sqlite).await;
    let (agent, mut chance) = (desk.agent().await, Chance(1));
    desk.ticket(&agent, json!({})).await;
    let resident = || -> i64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let mut ask = async |count: usize| {
        for _ in 0..count / 50 {
            let paths: Vec<_> = (0..50).map(|_| different(&mut chance)).collect();
            futures::future::join_all(paths.iter().map(|path| desk.get(path).by(&agent).expect(200))).await;
        }
    };
    ask(100).await;
    let before = resident();
    ask(100_000).await;
    let more_kib = resident() - before;
    println!("100,000 different lists: {more_kib} KiB more");
    assert!(more_kib < 32 * 1024, "{more_kib} KiB");
    desk.close().await;
}

/// A list that hardly anybody has asked for: some of all filters, with one to several values each.
fn different(chance: &mut Chance) -> String {
    let mut path = format!("/v1/tickets?limit={}", 1 + chance.below(200));
    for (filter, values) in [
        ("status", &["new", "open", "waiting_requester", "waiting_third_party", "resolved", "closed"][..]),
        ("priority", &["low", "normal", "high", "urgent"]),
        ("type", &["incident", "service_request", "question", "problem"]),
        ("channel", &["api", "web", "email", "phone", "chat", "counter", "monitoring"]),
        ("tag", &["a"]),
        ("created_after", &["2026-01-01T00:00:00.000000Z"]),
        ("updated_before", &["2027-01-01T00:00:00.000000Z"]),
    ] {
        let some: Vec<_> = values.iter().copied().filter(|_| chance.below(2) == 0).collect();
        if !some.is_empty() {
            path += &format!("&{filter}={}", some.join(","));
        }
    }
    let sorts =
        ["created_at", "-created_at", "updated_at", "-updated_at", "priority", "-priority", "due_at", "-due_at"];
    path + "&sort=" + *chance.of::<&str>(&sorts)
}
