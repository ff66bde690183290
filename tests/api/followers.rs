//! Readers who follow the change log while things break: by the feed, by a stream and by a webhook. In the end each of
//! them has heard all that was written, in its order, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::receiver::Receiver;
use crate::start::{DEADLINE, Server, until};
use crate::support::{Ask, Caller};

/// The pause before whoever was cut off comes again.
const AGAIN: Duration = Duration::from_millis(20);

/// How long nothing may come before a reader believes to be cut off.
const SILENCE: Duration = Duration::from_secs(20);

/// How long a webhook may take that was left by an instance which was killed: until its lease has ended, and a while.
const LEASE: Duration = Duration::from_secs(60);

/// A change: its position, its event, and what it tells.
type Heard = (i64, String, Value);

/// All who follow.
pub struct Followers {
    feed: JoinHandle<Vec<Heard>>,
    stream: JoinHandle<Vec<Heard>>,
    receiver: Receiver,
    secret: String,
    /// The last position before the webhook was made.
    before: i64,
    /// The position that ends it.
    last: Arc<AtomicI64>,
}

/// A reader who comes again where they were.
struct Reader {
    ledger: Arc<Ledger>,
    last: Arc<AtomicI64>,
    http: reqwest::Client,
    heard: Vec<Heard>,
}

impl Reader {
    fn of(ledger: &Arc<Ledger>, last: &Arc<AtomicI64>) -> Self {
        let http = reqwest::Client::builder().connect_timeout(SILENCE).read_timeout(SILENCE).build().unwrap();
        Self { ledger: ledger.clone(), last: last.clone(), http, heard: vec![] }
    }

    fn get(&self, path: &str) -> Ask {
        Ask(self.http.get(format!("{}{path}", self.ledger.url()))).by(&self.ledger.who)
    }

    fn hears(&mut self, change: Value) {
        let id = change["id"].as_str().unwrap().to_owned();
        self.heard.push((change["position"].as_i64().unwrap(), id, change));
    }

    fn is_done(&self) -> bool {
        self.heard.last().is_some_and(|(position, ..)| *position >= self.last.load(Ordering::SeqCst))
    }

    /// Reads page by page.
    async fn feed(mut self) -> Vec<Heard> {
        let mut from = "from=start".to_owned();
        while !self.is_done() {
            let page = self.get(&format!("/v1/changes?limit=100&wait_s=1&{from}")).0.send().await;
            let page = match page {
                Ok(page) if page.status() == 503 => Err(()),
                Ok(page) => {
                    assert_eq!(page.status(), 200);
                    page.json::<Value>().await.map_err(|_| ())
                }
                Err(_) => Err(()),
            };
            let Ok(page) = page else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            page["items"].as_array().unwrap().iter().for_each(|item| self.hears(item.clone()));
            from = format!("cursor={}", page["next_cursor"].as_str().unwrap());
        }
        self.heard
    }

    /// Reads as it comes, and is cut off when a process ends.
    async fn stream(mut self) -> Vec<Heard> {
        let mut id = None::<String>;
        while !self.is_done() {
            let ask = match &id {
                None => self.get("/v1/changes/stream?from=start"),
                Some(id) => self.get("/v1/changes/stream").header("last-event-id", id),
            };
            if let Ok(mut answer) = ask.0.send().await {
                assert!(matches!(answer.status().as_u16(), 200 | 503), "{}", answer.status());
                let mut text = String::new();
                while let (false, true, Ok(Some(piece))) =
                    (self.is_done(), answer.status() == 200, answer.chunk().await)
                {
                    text.push_str(std::str::from_utf8(&piece).unwrap());
                    while let Some(end) = text.find("\n\n") {
                        let event: String = text.drain(..end + 2).collect();
                        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                        let ends = ["end", "reset"].map(|kind| field("event: ") == Some(kind));
                        assert!(!ends[1], "the history is the one it was: {event}");
                        if let (Some(data), false) = (field("data: "), ends[0]) {
                            self.hears(serde_json::from_str(data).unwrap());
                        }
                        if let Some(last) = field("id: ") {
                            id = Some(last.to_owned());
                        }
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.heard
    }
}

/// The last position, when all that was committed has one.
async fn head(server: &Server, who: &Caller) -> i64 {
    until("all changes to have a place", async || {
        let text = server.get("/metrics").by(who).expect(200).await.text();
        let series = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse::<i64>();
        (series("skranke_changes_unsequenced ") == Ok(0)).then(|| series("skranke_changes_head ").unwrap())
    })
    .await
}

impl Followers {
    /// Lets them follow what is written into `ledger`.
    pub async fn attach(ledger: &Arc<Ledger>, server: &Server) -> Self {
        let (receiver, last) = (Receiver::open().await, Arc::new(AtomicI64::new(i64::MAX)));
        let before = head(server, &ledger.who).await;
        let hook = json!({ "name": "follower", "url": receiver.url });
        let hook = server.post("/v1/webhooks").by(&ledger.who).json(&hook).expect(201).await.body;
        let secret = hook["secret"].as_str().unwrap().to_owned();
        let feed = tokio::spawn(Reader::of(ledger, &last).feed());
        let stream = tokio::spawn(Reader::of(ledger, &last).stream());
        Self { feed, stream, receiver, secret, before, last }
    }

    /// All of them have heard the same, which is what was acknowledged.
    pub async fn prove(self, ledger: &Ledger, server: &Server) {
        let last = head(server, &ledger.who).await;
        self.last.store(last, Ordering::SeqCst);
        // Whoever has heard the last one already waits for another.
        let ticket =
            server.post("/v1/tickets").by(&ledger.who).json(&json!({ "subject": "The end" })).expect(201).await;
        let end = ticket.body["id"].as_str().unwrap();
        let feed = tokio::time::timeout(DEADLINE, self.feed).await.expect("the feed ends").unwrap();
        let stream = tokio::time::timeout(DEADLINE, self.stream).await.expect("the stream ends").unwrap();
        let feed: Vec<Heard> = feed.into_iter().filter(|(position, ..)| *position <= last).collect();
        let stream: Vec<Heard> = stream.into_iter().filter(|(position, ..)| *position <= last).collect();
        assert!(feed.iter().map(|(position, ..)| *position).eq(1..=last), "one after the other");
        let same = |one: &Heard, other: &Heard| (one.0, &one.1) == (other.0, &other.1);
        assert!(feed.len() == stream.len() && feed.iter().zip(&stream).all(|(one, other)| same(one, other)));

        // Each ticket's trail, in its order, and nothing besides.
        let mut trails: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (_, id, change) in &feed {
            if let Some(ticket) = change["ticket"]["id"].as_str() {
                trails.entry(ticket.to_owned()).or_default().push(id.clone());
            }
        }
        for ticket in ledger.all(server, "/v1/tickets").await {
            let ticket = ticket["id"].as_str().unwrap();
            let trail = ledger.all(server, &format!("/v1/tickets/{ticket}/events")).await;
            let trail: Vec<_> = trail.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect();
            assert!(ticket == end || trails.remove(ticket) == Some(trail), "{ticket}");
        }
        assert_eq!(trails, BTreeMap::new());
        // Each answer is there once.
        let told = |kind: &str, id: &dyn Fn(&Value) -> Value| -> Vec<String> {
            let own = feed.iter().filter(|(.., change)| change["type"] == kind);
            let mut ids: Vec<_> = own.map(|(.., change)| id(change).as_str().unwrap().to_owned()).collect();
            ids.sort();
            ids
        };
        let answered = |is_kind: &dyn Fn(&str) -> bool| -> Vec<String> {
            let mut ids: Vec<_> =
                ledger.created().into_iter().filter(|(path, _)| is_kind(path)).map(|(_, id)| id).collect();
            ids.sort();
            ids
        };
        let tickets = answered(&|path| path == "/v1/tickets");
        assert_eq!(told("ticket.created", &|change| change["ticket"]["id"].clone()), tickets);
        let comments = answered(&|path| path.ends_with("/comments"));
        assert_eq!(told("comment.added", &|change| change["comment_id"].clone()), comments);
        let work = answered(&|path| path.ends_with("/time-entries"));
        assert_eq!(feed.iter().filter(|(.., change)| change["type"] == "time_entry.added").count(), work.len());

        // The webhook has been told of each at least once, by one id.
        let all: BTreeSet<String> =
            feed.iter().filter(|(position, ..)| *position > self.before).map(|(_, id, _)| id.clone()).collect();
        let begun = std::time::Instant::now();
        loop {
            let got: BTreeSet<String> = self.receiver.got().iter().map(|message| message.id().to_owned()).collect();
            let missing = all.difference(&got).count();
            if missing == 0 {
                break;
            }
            assert!(begun.elapsed() < LEASE + DEADLINE, "{missing} of {} were not delivered", all.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let mut first = BTreeMap::new();
        for message in self.receiver.got() {
            message.is_signed_by(&[&self.secret]);
            let told = (message.kind().to_owned(), message.position());
            assert_eq!(*first.entry(message.id().to_owned()).or_insert_with(|| told.clone()), told);
        }
        let positions: BTreeMap<&str, i64> = feed.iter().map(|(position, id, _)| (&**id, *position)).collect();
        assert!(first.iter().all(|(id, (_, at))| *at > last || positions.get(&**id) == Some(at)));
    }
}
