//! How fast what happens is told: to a thousand streams while somebody writes, to thousands that wait, as a page of the
//! feed, and to a webhook. On PostgreSQL somebody holds a transaction open in another database meanwhile.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::Engine;
use super::load::Line;
use super::postgres::{Cluster, Mode};
use super::procs::{fail, output};
use super::smoke::Desk;

/// How many tickets the desk has.
const TICKETS: u64 = 2_000;
/// How many streams are open while somebody writes: of each twenty, one tells everything, two one team, the rest one
/// ticket each.
const STREAMS: usize = 1_000;
/// How many streams one person may have open.
const OF_ONE: usize = 8;
/// How many are open and wait.
const IDLE: usize = 4_096;
/// How many write at once.
const WRITERS: u64 = 16;
/// Writes a second.
const WRITES_PER_S: u64 = 500;
/// For how long.
const WRITTEN_FOR: Duration = Duration::from_secs(20);

/// A version of a ticket: its number and its version.
type TicketVersion = (u64, u64);

/// Measures the binary that was built with this program.
pub fn measure(folder: &Path, engine: Engine) {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let most = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, most).expect("the limit of open files");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let mut cluster = (engine == Engine::Postgres).then(|| Cluster::new(&folder.join("postgres"), runtime.clone()));
    if let Some(cluster) = &mut cluster {
        cluster.run(Mode::Durable);
    }
    let program = Path::new(env!("CARGO_BIN_EXE_skranke")).to_owned();
    println!("{}", engine.name());
    let settings = [("SKRANKE_CONNECTIONS_PER_ADDRESS", "0"), ("SKRANKE_EGRESS_ALLOW", "127.0.0.0/8")];
    let desk = Desk::filled("live", program, folder, cluster.as_ref(), runtime.clone(), TICKETS, &settings);
    let tokens = people(&desk, IDLE / OF_ONE);
    // Somebody elsewhere in the cluster has begun something and does not end it.
    let foreign = cluster.as_ref().map(|cluster| {
        let client = cluster.client("postgres");
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_current_xact_id()";
        runtime.block_on(client.batch_execute(begin)).expect("a transaction");
        client
    });
    streams(&desk, &runtime, &tokens);
    drop(foreign);
    webhook(&desk);
    feed(&desk);
    idle(&desk, &runtime, &tokens);
}

/// The tokens of this many agents.
fn people(desk: &Desk<'_>, count: usize) -> Vec<String> {
    let token = |nth: usize| {
        let mut command = desk.settings.command();
        let email = format!("agent{nth}@example.org");
        command.args(["token", "--role", "agent", "--email", &email, "--name", "Agent", "--ttl-s", "86400"]);
        output(&mut command).trim().to_owned()
    };
    (0..count).map(token).collect()
}

/// Opens a stream; what it tells comes by `told`.
async fn open(
    url: &str,
    path: &str,
    token: &str,
    told: mpsc::UnboundedSender<(Instant, TicketVersion)>,
) -> JoinHandle<()> {
    let address = url.trim_start_matches("http://").to_owned();
    let mut connection = tokio::net::TcpStream::connect(&address).await.expect("a connection");
    let asked = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    connection.write_all(asked.as_bytes()).await.expect("a request");
    let mut lines = BufReader::with_capacity(4_096, connection).lines();
    let first = lines.next_line().await.ok().flatten().unwrap_or_default();
    assert!(first.starts_with("HTTP/1.1 200"), "{path}: {first}");
    while lines.next_line().await.expect("headers").is_some_and(|line| !line.is_empty()) {}
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            if line.starts_with("data: ")
                && let Some(version) = ticket_version(&line)
            {
                let _ = told.send((Instant::now(), version));
            }
        }
    })
}

/// Which version of which ticket a line tells of. It is not read as JSON: this program shares the machine.
fn ticket_version(line: &str) -> Option<TicketVersion> {
    let (_, ticket) = line.split_once("\"ticket\":{")?;
    let field = |name: &str| {
        let (_, rest) = ticket.split_once(name)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    Some((field("\"number\":")?, field("\"version\":")?))
}

/// Writes beside open streams, and how long after a write its line was there.
fn streams(desk: &Desk<'_>, runtime: &Arc<Runtime>, tokens: &[String]) {
    let (told, mut heard) = mpsc::unbounded_channel();
    let path = |nth: usize| match nth % 20 {
        0 => "/v1/changes/stream".to_owned(),
        1 | 2 => format!("/v1/changes/stream?team_id={}", desk.teams[nth % desk.teams.len()]),
        _ => format!("/v1/tickets/{}/stream", desk.numbers.nth(nth as u64)),
    };
    let url = desk.server.url();
    let readers: Vec<JoinHandle<()>> = runtime.block_on(async {
        let mut readers = Vec::new();
        for nth in 0..STREAMS {
            readers.push(open(&url, &path(nth), &tokens[nth / OF_ONE], told.clone()).await);
        }
        readers
    });
    drop(told);
    let written: Arc<Mutex<HashMap<TicketVersion, (Instant, Instant)>>> = Arc::default();
    let late = Arc::new(AtomicU64::new(0));
    let began_us = desk.cpu_us();
    runtime.block_on(async {
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        let pause = Duration::from_secs(1) * WRITERS as u32 / WRITES_PER_S as u32;
        let writers = (0..WRITERS).map(|writer| {
            let (http, written, late) = (http.clone(), written.clone(), late.clone());
            let (url, token) = (url.clone(), desk.token.clone());
            let own: Vec<u64> = (0..TICKETS).filter(|n| n % WRITERS == writer).map(|n| desk.numbers.nth(n)).collect();
            let teams = desk.teams.clone();
            tokio::spawn(async move {
                let began = Instant::now();
                let mut at = tokio::time::interval(pause);
                at.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                let mut nth = 0_usize;
                while began.elapsed() < WRITTEN_FOR {
                    at.tick().await;
                    nth += 1;
                    // A few tickets are talked about most of the time.
                    let number = own[(nth * nth) % (nth % own.len() + 1)];
                    let (path, body) = match nth % 4 {
                        0 => ("/v1/tickets".to_owned(), json!({ "subject": "No ink", "team_id": teams[nth % teams.len()] })),
                        1 => (format!("/v1/tickets/{number}"), json!({ "custom_fields": { "floor": nth } })),
                        _ => (
                            format!("/v1/tickets/{number}/comments"),
                            json!({ "visibility": "public", "body": "The cable was loose. It prints again." }),
                        ),
                    };
                    let method = if nth % 4 == 1 { reqwest::Method::PATCH } else { reqwest::Method::POST };
                    let sent = Instant::now();
                    let answer = http.request(method, format!("{url}{path}")).bearer_auth(&token).json(&body);
                    let answer = answer.send().await.expect("an answer");
                    assert!(answer.status().is_success(), "{path}: {}", answer.status());
                    let answered = Instant::now();
                    let body: Value = answer.json().await.expect("JSON");
                    late.fetch_add(u64::from(answered - sent > pause), Ordering::Relaxed);
                    if let (Some(number), Some(version)) = (body["number"].as_u64(), body["version"].as_u64()) {
                        written.lock().expect("no panic").insert((number, version), (sent, answered));
                    }
                }
                nth
            })
        });
        let writes = futures_util::future::join_all(writers.collect::<Vec<_>>()).await;
        let writes: usize = writes.into_iter().map(|writes| writes.expect("a writer")).sum();
        let cpu_us = desk.cpu_us() - began_us;
        let mut lines = 0;
        let mut after_ms: [Vec<f64>; 2] = Default::default();
        while let Ok(Some((at, version))) = tokio::time::timeout(Duration::from_secs(2), heard.recv()).await {
            lines += 1;
            if let Some((sent, answered)) = written.lock().expect("no panic").get(&version) {
                after_ms[0].push(at.saturating_duration_since(*sent).as_secs_f64() * 1e3);
                after_ms[1].push(at.saturating_duration_since(*answered).as_secs_f64() * 1e3);
            }
        }
        println!(
            "{STREAMS} streams: {:.0} writes/s, {:.0} lines/s, {:.0} µs of processor time a write, {} writes took longer than {pause:?}",
            writes as f64 / WRITTEN_FOR.as_secs_f64(),
            f64::from(lines) / WRITTEN_FOR.as_secs_f64(),
            cpu_us / writes as f64,
            late.load(Ordering::Relaxed),
        );
        for (from, mut all) in ["from the request", "from the answer"].into_iter().zip(after_ms) {
            all.sort_by(f64::total_cmp);
            println!("  {from} to the line: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms", share(&all, 50), share(&all, 99), share(&all, 100));
        }
    });
    readers.iter().for_each(JoinHandle::abort);
}

/// The figure that so many percent do not exceed.
fn share(sorted: &[f64], percent: usize) -> f64 {
    let last = sorted.len().checked_sub(1).unwrap_or_else(|| fail("nothing was told"));
    sorted[last * percent / 100]
}

/// What many streams take that hear nothing.
fn idle(desk: &Desk<'_>, runtime: &Arc<Runtime>, tokens: &[String]) {
    let (told, _heard) = mpsc::unbounded_channel();
    let url = desk.server.url();
    let before = desk.server.running.memory_kib("VmRSS");
    let readers: Vec<JoinHandle<()>> = runtime.block_on(async {
        let mut readers = Vec::new();
        for nth in 0..IDLE {
            readers.push(open(&url, "/v1/changes/stream", &tokens[nth / OF_ONE], told.clone()).await);
        }
        readers
    });
    let after = desk.server.running.memory_kib("VmRSS");
    println!("{IDLE} idle streams: {:.1} MiB more", after.saturating_sub(before) as f64 / 1024.0);
    let began_us = desk.cpu_us();
    std::thread::sleep(Duration::from_secs(30));
    println!("  {:.1} % of a core over two heartbeats", (desk.cpu_us() - began_us) / 30e6 * 100.0);
    readers.iter().for_each(JoinHandle::abort);
}

/// How long a page of the feed takes.
fn feed(desk: &Desk<'_>) {
    for path in ["/v1/changes?from=start&limit=1000", "/v1/changes?from=start&limit=1000&include=ticket"] {
        let reply = desk.client.expect(&desk.server.url(), &Line::get(path), "");
        let items: Value = serde_json::from_slice(&reply.body).expect("JSON");
        let count = items["items"].as_array().map_or(0, Vec::len);
        let file = desk.wrk.prepare("feed", &[(1.0, vec![Line::get(path)])]);
        let began_us = desk.cpu_us();
        let run = desk.wrk.run(&desk.server.url(), &file, 1, 5);
        println!(
            "{path}: {count} items, {} KB: p50 {:.1} ms, p99 {:.1} ms, {:.1} ms of processor time",
            reply.body.len() / 1_000,
            run.p50_us / 1e3,
            run.p99_us / 1e3,
            (desk.cpu_us() - began_us) / run.requests as f64 / 1e3,
        );
    }
}

/// How many deliveries a second a receiver gets that answers at once.
fn webhook(desk: &Desk<'_>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("a port").port();
    let (count, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, ended) = (count.clone(), ends.clone());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            if ended.load(Ordering::Relaxed) {
                return;
            }
            let counted = counted.clone();
            std::thread::spawn(move || connection.map(|connection| receive(connection, &counted)));
        }
    });
    let url = desk.server.url();
    let body = json!({ "name": "bench", "url": format!("http://127.0.0.1:{port}/hook"), "include_ticket": false });
    let line = Line { method: "POST", path: "/v1/webhooks".into(), keyed: true, body: body.to_string() };
    desk.client.expect(&url, &line, "webhook");
    let create = desk.scenarios.iter().find(|(name, ..)| *name == "create").expect("creates");
    let run = desk.wrk.run(&url, &create.1, 16, 10);
    let beside = count.load(Ordering::Relaxed);
    let (began, began_us) = (Instant::now(), desk.cpu_us());
    let (mut last, mut quiet) = (beside, Instant::now());
    while quiet.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(20));
        let now = count.load(Ordering::Relaxed);
        if now != last {
            (last, quiet) = (now, Instant::now());
        }
    }
    let (drained, took_s) = (last - beside, (quiet - began).as_secs_f64());
    println!(
        "webhook: {:.0}/s beside {:.0} creates/s; then {drained} alone at {:.0}/s, {:.0} µs of processor time each",
        beside as f64 * 1e6 / run.duration_us as f64,
        run.rate(),
        drained as f64 / took_s,
        (desk.cpu_us() - began_us) / drained as f64,
    );
    if last < run.requests {
        fail(&format!("{last} of {} were delivered", run.requests));
    }
    ends.store(true, Ordering::Relaxed);
    let _ = TcpStream::connect(("127.0.0.1", port));
}

/// Answers what comes over a connection.
fn receive(mut connection: TcpStream, count: &AtomicU64) {
    let _ = connection.set_nodelay(true);
    let (mut text, mut some) = (Vec::new(), [0; 65_536]);
    while let Ok(more @ 1..) = connection.read(&mut some) {
        text.extend_from_slice(&some[..more]);
        while let Some(head) = text.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) {
            let headers = String::from_utf8_lossy(&text[..head]).to_lowercase();
            let length = headers.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
            if text.len() < head + length {
                break;
            }
            text.drain(..head + length);
            count.fetch_add(1, Ordering::Relaxed);
            if connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                return;
            }
        }
    }
}
