//! Answers are bounded: a page by its bytes, the answers that are on their way by what they are together, and each by
//! how quickly it is taken.

use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::iter;
use reqwest::Method;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::on_both;
use crate::start::{Place, caller, until};
use crate::support::{Caller, Desk};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

/// How many bytes a page may have, with what stands around its items.
const MOST_B: usize = (1 << 20) + 512;

/// The largest text: each of its characters is six bytes of JSON.
fn large() -> String {
    "\u{1}".repeat(65_536)
}

/// Somebody with `count` tickets whose descriptions are as large as can be.
async fn hoarder(desk: &Desk, count: usize) -> Caller {
    let requester = desk.requester().await;
    let body = json!({ "subject": "printer", "description": large() });
    let create = |_| desk.post("/v1/tickets").by(&requester).json(&body).expect(201);
    iter(0..count).map(create).buffer_unordered(8).collect::<Vec<_>>().await;
    requester
}

/// All pages of a list. None is too large, but of a single item, and none is cut where it need not be.
async fn pages(desk: &Desk, who: &Caller, path: &str) -> Vec<Vec<Value>> {
    let mut pages: Vec<Vec<Value>> = Vec::new();
    let mut target = Some(path.to_owned());
    while let Some(next) = target {
        let page = desk.get(&next).by(who).expect(200).await;
        let items = page.body["items"].as_array().unwrap().clone();
        assert!(
            page.bytes.len() <= MOST_B || items.len() == 1,
            "{next}: {} items of {} bytes",
            items.len(),
            page.bytes.len()
        );
        if let Some(before) = pages.last() {
            let written = |items: &[Value]| items.iter().map(|item| item.to_string().len()).sum::<usize>();
            assert!(
                before.len() >= 4 || written(before) + items[0].to_string().len() > MOST_B - 4_096,
                "{next}: cut too soon"
            );
        }
        let cursor = page.body["next_cursor"].as_str();
        let link = page.header("link").map(|link| link.trim_start_matches('<').split_once('>').unwrap().0.to_owned());
        assert_eq!(cursor.is_some(), link.is_some());
        assert!(cursor.is_none_or(|cursor| link.as_ref().unwrap().contains(cursor)));
        pages.push(items);
        target = link;
    }
    pages
}

/// A client that takes next to nothing, since there is no room for it.
async fn deaf(url: &str, who: &Caller, path: &str, headers: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let address: std::net::SocketAddr = url.strip_prefix("http://").unwrap().parse().unwrap();
    socket.connect(&address.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let mut stream = TcpStream::from_std(socket.into()).unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}authorization: Bearer {}\r\n\r\n", who.token);
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream
}

/// Everything that is still to come on a connection, until it ends.
async fn rest(stream: &mut TcpStream) -> usize {
    let mut all = Vec::new();
    drop(tokio::time::timeout(DEADLINE, stream.read_to_end(&mut all)).await.expect("the server ends it"));
    all.len()
}

on_both! {
    /// 200 tickets of 400 kB each were one page of 82 MB.
    async fn a_page_of_tickets_ends_by_its_bytes_too(desk) {
        let requester = hoarder(desk, 200).await;
        for query in ["limit=200", "limit=200&sort=-updated_at", "limit=200&q=printer"] {
            let pages = pages(desk, &requester, &format!("/v1/tickets?{query}")).await;
            let numbers: Vec<_> = pages.iter().flatten().map(|ticket| ticket["number"].as_i64().unwrap()).collect();
            let mut sorted = numbers.clone();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!((numbers.len(), sorted.len(), pages.len()), (200, 200, 100), "{query}");
            assert!(pages.iter().flatten().all(|ticket| ticket["description"] == large()), "{query}");
        }
    }

    /// What is small comes with what is large, in the order of the list, with all its fields.
    async fn large_and_small_tickets_stand_in_their_order(desk) {
        let agent = desk.agent().await;
        let mut made = Vec::new();
        for n in 0..60_usize {
            let fields: Value = (0..n % 9 * 10).map(|i| (format!("field_{i}"), json!("x".repeat(150)))).collect::<serde_json::Map<_, _>>().into();
            let description = "é\"\\\n\u{1}".repeat([0, 1, 341, 342, 400, 5_000, 10_900][n % 7]);
            let ticket = desk.ticket(&agent, json!({ "description": description, "custom_fields": fields, "tags": ["a", "b"] })).await;
            made.push((ticket["number"].clone(), json!(description), fields));
        }
        for query in ["sort=created_at&limit=200", "sort=created_at&limit=7", "sort=created_at&tag=a,b&limit=200"] {
            let pages = pages(desk, &agent, &format!("/v1/tickets?{query}")).await;
            let told: Vec<_> = pages.concat().into_iter().map(|t| (t["number"].clone(), t["description"].clone(), t["custom_fields"].clone())).collect();
            assert!(told == made, "{query}");
        }
    }

    async fn pages_of_comments_and_events_end_by_their_bytes_too(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        for n in 0..9 {
            let body = if n % 3 == 0 { "short".to_owned() } else { large() };
            desk.post(&format!("{path}/comments")).by(&agent).json(&json!({ "body": body, "visibility": "public" })).expect(201).await;
        }
        for n in 0..6 {
            let description = format!("{n}{}", &large()[1..]);
            desk.patch(&path).by(&agent).json(&json!({ "description": description })).expect(200).await;
        }
        let comments = pages(desk, &agent, &format!("{path}/comments?limit=200")).await;
        assert!(comments.len() > 2);
        let bodies: Vec<_> = comments.concat().iter().map(|comment| comment["body"].as_str().unwrap().len()).collect();
        assert_eq!(bodies, [5, 65_536, 65_536, 5, 65_536, 65_536, 5, 65_536, 65_536]);
        let mut events = Vec::new();
        let mut target = Some(format!("{path}/events?limit=200"));
        while let Some(next) = target {
            let page = desk.get(&next).by(&agent).expect(200).await;
            let items = page.body["items"].as_array().unwrap();
            assert!(page.bytes.len() <= MOST_B || items.len() == 1, "{} bytes", page.bytes.len());
            events.extend(items.iter().map(|event| event["id"].as_str().unwrap().to_owned()));
            target = page.body["next_cursor"].as_str().map(|cursor| format!("{path}/events?limit=200&cursor={cursor}"));
        }
        assert!(events.len() > 10 && events.is_sorted() && events.windows(2).all(|pair| pair[0] != pair[1]));
    }

    /// Who takes none of what they ask for is refused more; others are not, and when it has been ended all is as
    /// before.
    async fn unsent_answers_are_bounded_and_a_slow_reader_is_ended(desk) {
        let requester = hoarder(desk, 3).await;
        let other = desk.agent().await;
        let url = desk.instance_with(|mut settings| {
            settings.limits.unsent_b = 4 << 20;
            settings.limits.client_timeout = Duration::from_secs(5);
            settings
        });
        let mut slow = Vec::new();
        for _ in 0..8 {
            slow.push(deaf(&url, &requester, "/v1/tickets", "").await);
        }
        let list = |who| desk.ask_at(&url, Method::GET, "/v1/tickets").by(who);
        let refused = until("a refusal", async || Some(list(&requester).send().await).filter(|answer| answer.status == 503)).await;
        assert_eq!((refused.body["code"].as_str(), refused.header("retry-after")), (Some("unavailable"), Some("1")));
        // A share is a quarter: others have the rest, and may write.
        list(&other).expect(200).await;
        desk.ask_at(&url, Method::POST, "/v1/tickets").by(&other).json(&json!({ "subject": "s" })).expect(201).await;
        // A write that nobody would take the answer of is refused before it is done.
        let write = desk.ask_at(&url, Method::PATCH, "/v1/tickets/1").by(&requester).json(&json!({ "subject": "s" }));
        if write.send().await.status == 503 {
            assert_eq!(desk.get("/v1/tickets/1").by(&requester).expect(200).await.body["subject"], "printer");
        }
        // Nobody reads anything, and yet it ends: then everybody is served again.
        until("room", async || Some(list(&requester).send().await).filter(|answer| answer.status == 200)).await;
        for stream in &mut slow {
            assert!(rest(stream).await < 780_000);
        }
    }

    /// A client that always takes a little, but too little, is ended as well; one that takes its time is not.
    async fn a_reader_that_trickles_is_ended(desk) {
        let requester = hoarder(desk, 3).await;
        let url = desk.instance_with(|mut settings| {
            settings.limits.client_timeout = Duration::from_secs(2);
            settings
        });
        let take = async |pause: Duration| {
            let mut stream = deaf(&url, &requester, "/v1/tickets", "").await;
            let (begun, mut all) = (Instant::now(), 0);
            let mut some = vec![0; 8_192];
            while begun.elapsed() < DEADLINE {
                match stream.read(&mut some).await {
                    Ok(0) | Err(_) => return all,
                    Ok(count) => all += count,
                }
                // The last bytes of the answer; the connection stays.
                if some[..].windows(14).any(|end| end == b"\"next_cursor\":") {
                    return all;
                }
                tokio::time::sleep(pause).await;
            }
            panic!("it goes on for ever: {all} bytes")
        };
        let (little, all) = futures::future::join(take(Duration::from_millis(1_500)), take(Duration::from_millis(20))).await;
        assert!(all > 780_000 && little < all, "{little} of {all} bytes");
    }

    /// Coded answers are the same answers, and tell their length.
    async fn coded_answers_are_whole(desk) {
        let requester = hoarder(desk, 3).await;
        let plain = desk.get("/v1/tickets").by(&requester).header("accept-encoding", "identity").expect(200).await;
        let coded = desk.get("/v1/tickets").by(&requester).header("accept-encoding", "gzip").expect(200).await;
        assert_eq!((plain.header("content-encoding"), coded.header("content-encoding")), (None, Some("gzip")));
        assert_eq!(coded.header("content-length"), Some(coded.bytes.len().to_string().as_str()));
        let mut text = Vec::new();
        std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&coded.bytes[..]), &mut text).unwrap();
        assert!(text == plain.bytes && coded.bytes.len() < 100_000);
    }

    /// 20 clients with 10 connections each, none of which reads: 100 such readers took a process to 8 GB.
    async fn two_hundred_slow_readers_fit_into_little_memory(desk) {
        hoarder(desk, 200).await;
        // As the unit for systemd and the image run it.
        let place = Place::on(&desk.store).with("MIMALLOC_PURGE_DELAY", "10");
        let mut callers = Vec::new();
        for n in 0..21 {
            let email = format!("agent{n}@example.org");
            callers.push(caller(&place.print(&["token", "--role", "agent", "--email", &email, "--name", "Agent"]).await));
        }
        let other = callers.pop().unwrap();
        for coding in ["", "accept-encoding: br\r\n", "accept-encoding: gzip\r\n"] {
            let server = place.start().await;
            let mut slow = Vec::new();
            for n in 0..200 {
                slow.push(deaf(&server.url, &callers[n % 20], "/v1/tickets?limit=200", coding).await);
            }
            for stream in &slow {
                tokio::time::timeout(DEADLINE, stream.readable()).await.expect("an answer begins").unwrap();
            }
            // Whoever asks for little is served meanwhile.
            server.get("/v1/me").by(&other).expect(200).await;
            let peak_mib = server.peak_kib() >> 10;
            assert!(peak_mib <= 200, "{coding:?}: {peak_mib} MiB");
        }
    }

    /// A query of 63 kB gave an answer of 1.5 MB, and a body of 520 kB one of 14 MB.
    async fn faults_are_told_by_the_first_and_their_number(desk) {
        let agent = desk.agent().await;
        let query: Vec<_> = (0..11_000).map(|n| format!("{n:x}=")).collect();
        let told = |answer: &crate::support::Answer, count: usize| {
            assert!(answer.bytes.len() < 64 << 10, "{} bytes", answer.bytes.len());
            assert_eq!((answer.body["errors"].as_array().unwrap().len(), &answer.body["more_errors"]), (50, &json!(count - 50)));
            assert!(answer.body["detail"].as_str().unwrap().contains(&format!("and {} more", count - 50)));
        };
        for path in ["/v1/tickets", "/v1/me", "/v1/users", "/v1/metrics/summary"] {
            let who = if path == "/v1/users" || path.contains("metrics") { desk.admin().await } else { desk.agent().await };
            told(&desk.get(&format!("{path}?{}", query.join("&"))).by(&who).refused(400, "invalid_query").await, 11_000);
        }
        // Before anybody is known.
        let form = query.join("&");
        let form = form[..15_000].rsplit_once('&').unwrap().0.to_owned();
        let ask = desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form);
        let answer = ask.send().await;
        assert!(answer.status.is_client_error() && answer.bytes.len() < 64 << 10, "{}", answer.bytes.len());
        let unknown: serde_json::Map<_, _> = (0..40_000).map(|n| (format!("{n:x}"), json!(0))).collect();
        let mut unknown = Value::from(unknown);
        unknown["subject"] = json!("s");
        told(&desk.post("/v1/tickets").by(&agent).json(&unknown).refused(422, "validation_failed").await, 40_000);
        let nul: serde_json::Map<_, _> = (0..20_000).map(|n| (format!("{n:x}"), json!("\0"))).collect();
        let answer = desk.post("/v1/tickets").by(&agent).json(&json!({ "subject": "s", "custom_fields": nul })).refused(422, "validation_failed").await;
        // And they are too large.
        told(&answer, 20_001);
        // One of them with a place that is as long as the body may be.
        let long = json!({ "subject": "s", "é".repeat(200_000): 0 });
        let answer = desk.post("/v1/tickets").by(&agent).json(&long).refused(422, "validation_failed").await;
        assert!(answer.bytes.len() < 4 << 10 && answer.body.get("more_errors").is_none(), "{}", answer.text());
    }

    /// Nobody here speaks anything else, and the body ends where it says.
    async fn an_upgrade_is_not_followed_and_not_waited_for(desk) {
        let agent = desk.agent().await;
        let ask = async |head: &str, body: &str| {
            let mut stream = TcpStream::connect(desk.url.strip_prefix("http://").unwrap()).await.unwrap();
            let common = format!("host: x\r\nconnection: upgrade\r\nupgrade: WebSocket\r\nauthorization: Bearer {}\r\n", agent.token);
            stream.write_all(format!("{head} HTTP/1.1\r\n{common}{body}").as_bytes()).await.unwrap();
            let mut all = Vec::new();
            // Much sooner than a body that does not come would be given up.
            tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut all)).await.expect("it is answered and ended").unwrap();
            String::from_utf8(all).unwrap()
        };
        let json = "content-type: application/json\r\ncontent-length: 15\r\n\r\n{\"subject\":\"s\"}";
        let created = ask("POST /v1/tickets", json).await;
        assert!(created.starts_with("HTTP/1.1 201 Created\r\n") && created.contains("connection: close\r\n"), "{created}");
        // What follows is no part of it, and no request.
        let smuggled = format!("{json}GET /v1/tickets HTTP/1.1\r\nhost: x\r\n\r\n");
        assert_eq!(ask("POST /v1/tickets", &smuggled).await.matches("HTTP/1.1 ").count(), 1);
        let empty = ask("POST /v1/tickets", "content-type: application/json\r\n\r\n").await;
        assert!(empty.starts_with("HTTP/1.1 400 Bad Request\r\n") && empty.contains("malformed_json"), "{empty}");
        assert!(ask("GET /v1/me", "\r\n").await.starts_with("HTTP/1.1 200 OK\r\n"));
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 2);
    }
}
