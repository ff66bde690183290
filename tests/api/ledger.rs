//! Clients who write over HTTP while things break, send again what was not answered, and keep a ledger of what was
//! acknowledged; and the proof that all of it is there, and nothing twice.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use crate::start::{DEADLINE, Server};
use crate::support::{Ask, Caller, Chance};

/// How long one attempt may take: a server that hangs is a server that is away.
const ATTEMPT: Duration = Duration::from_secs(20);

/// The pause before a request is sent again.
const AGAIN: Duration = Duration::from_millis(20);

/// What was acknowledged of one ticket.
#[derive(Debug, Clone)]
struct Kept {
    id: String,
    description: String,
    subject: String,
    status: &'static str,
    priority: &'static str,
    patches: i64,
    /// Body and visibility.
    comments: Vec<(String, &'static str)>,
    /// Note and seconds.
    work: Vec<(String, i64)>,
}

/// A creating request that was acknowledged.
#[derive(Debug, Clone)]
struct Sent {
    key: String,
    path: String,
    body: Value,
    id: String,
}

/// What all clients have written.
pub struct Ledger {
    pub who: Caller,
    http: reqwest::Client,
    urls: Mutex<Vec<String>>,
    turn: AtomicUsize,
    is_over: AtomicBool,
    tickets: Mutex<Vec<Kept>>,
    /// Commented by all.
    shared: Mutex<Kept>,
    sent: Mutex<Vec<Sent>>,
    acknowledged: AtomicUsize,
    /// Carried out by an attempt that got no answer.
    found_done: AtomicUsize,
    again: AtomicUsize,
    /// When a write was acknowledged last, and the longest time between two.
    last: Mutex<(Instant, Duration)>,
}

/// What a run was.
#[derive(Debug)]
#[expect(dead_code, reason = "is printed")]
pub struct Tally {
    pub acknowledged: usize,
    pub found_done: usize,
    pub sent_again: usize,
    pub tickets: usize,
    pub longest_gap_ms: u128,
}

impl Ledger {
    /// Begins with the one ticket that all comment on, and with promises to keep.
    pub async fn open(server: &Server, who: Caller) -> Arc<Self> {
        let rule =
            |target: &str| json!({ "target": target, "priority": null, "target_s": 2_592_000, "hours": "calendar" });
        let policy = json!({ "name": "All", "position": 1, "condition": {},
            "targets": [rule("response"), rule("first_reply"), rule("service")] });
        server.post("/v1/sla/policies").by(&who).json(&policy).expect(201).await;
        let shared = Kept {
            id: String::new(),
            description: "shared".into(),
            subject: "shared".into(),
            status: "new",
            priority: "low",
            patches: 0,
            comments: vec![],
            work: vec![],
        };
        let ledger = Self {
            who,
            http: reqwest::Client::builder().timeout(ATTEMPT).connect_timeout(ATTEMPT).build().unwrap(),
            urls: Mutex::new(vec![server.url.clone()]),
            turn: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            tickets: Mutex::default(),
            shared: Mutex::new(shared.clone()),
            sent: Mutex::default(),
            acknowledged: AtomicUsize::new(0),
            found_done: AtomicUsize::new(0),
            again: AtomicUsize::new(0),
            last: Mutex::new((Instant::now(), Duration::ZERO)),
        };
        let id = ledger.create("shared".into(), "/v1/tickets".into(), new_ticket(&shared)).await;
        ledger.shared.lock().unwrap().id = id;
        Arc::new(ledger)
    }

    /// The service listens elsewhere now.
    pub fn moved(&self, urls: &[&str]) {
        *self.urls.lock().unwrap() = urls.iter().map(|url| (*url).to_owned()).collect();
    }

    /// Where the service listens; if in several places, each in turn.
    pub fn url(&self) -> String {
        let urls = self.urls.lock().unwrap();
        urls[self.turn.fetch_add(1, Ordering::SeqCst) % urls.len()].clone()
    }

    /// Path and id of all that was created.
    pub fn created(&self) -> Vec<(String, String)> {
        self.sent.lock().unwrap().iter().map(|sent| (sent.path.clone(), sent.id.clone())).collect()
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more writes were acknowledged.
    pub async fn grows_by(&self, writes: usize) {
        let (begun, until) = (Instant::now(), self.acknowledged() + writes);
        while self.acknowledged() < until {
            assert!(begun.elapsed() < DEADLINE, "nothing is acknowledged any more");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Forgets how long nothing was acknowledged so far.
    pub fn begin_gap(&self) {
        *self.last.lock().unwrap() = (Instant::now(), Duration::ZERO);
    }

    /// Lets so many clients write until [`finish`](Self::finish).
    pub fn write(self: &Arc<Self>, clients: u64, seed: u64) -> Vec<tokio::task::JoinHandle<()>> {
        let client = |nth| {
            let ledger = self.clone();
            tokio::spawn(async move { ledger.client(nth, Chance(seed.wrapping_add(nth))).await })
        };
        (0..clients).map(client).collect()
    }

    /// Every client ends what it has begun.
    pub async fn finish(&self, clients: Vec<tokio::task::JoinHandle<()>>) {
        self.is_over.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
    }

    pub fn tally(&self) -> Tally {
        Tally {
            acknowledged: self.acknowledged(),
            found_done: self.found_done.load(Ordering::SeqCst),
            sent_again: self.again.load(Ordering::SeqCst),
            tickets: self.tickets.lock().unwrap().len() + 1,
            longest_gap_ms: self.last.lock().unwrap().1.as_millis(),
        }
    }

    async fn client(&self, nth: u64, mut chance: Chance) {
        let mut mine: Vec<Kept> = vec![];
        for step in 0.. {
            if self.is_over.load(Ordering::SeqCst) {
                break;
            }
            let mark = format!("client {nth} step {step}");
            let which = chance.below(mine.len().max(1));
            match chance.below(if mine.is_empty() { 1 } else { 10 }) {
                0 | 1 => {
                    let priority = *chance.of(&["low", "normal", "high", "urgent"]);
                    mine.push(self.open_ticket(mark, priority).await);
                }
                2 => {
                    let shared = self.shared.lock().unwrap().id.clone();
                    let comment = self.comment(&shared, mark, "public").await;
                    self.shared.lock().unwrap().comments.push(comment);
                }
                3..=5 => {
                    let (ticket, visibility) = (&mut mine[which], *chance.of(&["public", "internal"]));
                    ticket.comments.push(self.comment(&ticket.id, mark, visibility).await);
                    if ticket.status == "new" && visibility == "public" {
                        ticket.status = "open";
                    }
                }
                6 | 7 => {
                    let (ticket, work_s) = (&mut mine[which], 1 + chance.below(3_600) as i64);
                    let path = format!("/v1/tickets/{}/time-entries", ticket.id);
                    self.create(mark.clone(), path, json!({ "work_s": work_s, "note": mark })).await;
                    ticket.work.push((mark, work_s));
                }
                _ => {
                    let resolves = mine[which].status != "resolved" && chance.below(4) == 0;
                    self.patch(&mut mine[which], mark, resolves.then_some("resolved")).await;
                }
            }
        }
        self.tickets.lock().unwrap().extend(mine);
    }

    async fn open_ticket(&self, mark: String, priority: &'static str) -> Kept {
        let mut ticket = Kept {
            id: String::new(),
            description: mark.clone(),
            subject: mark.clone(),
            status: "new",
            priority,
            patches: 0,
            comments: vec![],
            work: vec![],
        };
        ticket.id = self.create(mark, "/v1/tickets".into(), new_ticket(&ticket)).await;
        ticket
    }

    /// Writes long comments until one is refused; gives the reason, and the one that was refused.
    pub async fn comment_until_refused(&self, mark: &str) -> (String, String) {
        let begun = Instant::now();
        for nth in 0.. {
            assert!(begun.elapsed() < DEADLINE, "nothing is refused");
            let body = format!("{mark} {nth} {}", "x".repeat(60_000));
            let (path, comment) = self.long_comment(&body);
            let heard =
                self.attempt(&Method::POST, &path, &[("idempotency-key", &body[..20])], Some(&comment)).await.unwrap();
            match heard.status {
                201 => self.comment_again(body).await,
                503 => return (heard.body["detail"].as_str().unwrap().to_owned(), body),
                _ => assert_eq!(heard.body["code"], "idempotency_in_progress"),
            }
        }
        unreachable!("counts on")
    }

    /// Sends one of these comments again, until it is written.
    pub async fn comment_again(&self, body: String) {
        let (path, comment) = self.long_comment(&body);
        self.create(body[..20].to_owned(), path, comment).await;
        self.shared.lock().unwrap().comments.push((body, "public"));
    }

    fn long_comment(&self, body: &str) -> (String, Value) {
        let path = format!("/v1/tickets/{}/comments", self.shared.lock().unwrap().id);
        (path, json!({ "body": body, "visibility": "public" }))
    }

    async fn comment(&self, id: &str, mark: String, visibility: &'static str) -> (String, &'static str) {
        let body = json!({ "body": mark, "visibility": visibility });
        self.create(mark.clone(), format!("/v1/tickets/{id}/comments"), body).await;
        (mark, visibility)
    }

    /// Creates something, however often it has to be sent; gives its id.
    async fn create(&self, key: String, path: String, body: Value) -> String {
        let (answer, _) = self.insist(Method::POST, &path, &[("idempotency-key", &key)], Some(&body)).await;
        assert_eq!(answer.status, 201, "{path}: {}", answer.body);
        if answer.is_replayed {
            self.found_done.fetch_add(1, Ordering::SeqCst);
        }
        let id = answer.body["id"].as_str().unwrap().to_owned();
        self.sent.lock().unwrap().push(Sent { key, path, body, id: id.clone() });
        self.acknowledge();
        id
    }

    /// Changes a ticket that nobody else changes. There is no key to send: what was done by an attempt without an
    /// answer is told by the version.
    async fn patch(&self, ticket: &mut Kept, subject: String, status: Option<&'static str>) {
        let path = format!("/v1/tickets/{}", ticket.id);
        let (before, _) = self.insist(Method::GET, &path, &[], None).await;
        let mut patch = json!({ "subject": subject });
        if let Some(status) = status {
            patch["status"] = json!(status);
        }
        let etag = before.etag.unwrap();
        let (answer, again) = self.insist(Method::PATCH, &path, &[("if-match", &etag)], Some(&patch)).await;
        if answer.status == 412 {
            assert!(again, "somebody else has changed it: {}", answer.body);
            let (now, _) = self.insist(Method::GET, &path, &[], None).await;
            assert_eq!(now.body["subject"], patch["subject"], "another version, but not by this");
            self.found_done.fetch_add(1, Ordering::SeqCst);
        } else {
            assert_eq!(answer.status, 200, "{}", answer.body);
        }
        (ticket.subject, ticket.patches) = (subject, ticket.patches + 1);
        ticket.status = status.unwrap_or(ticket.status);
        self.acknowledge();
    }

    fn acknowledge(&self) {
        let mut last = self.last.lock().unwrap();
        last.1 = last.1.max(last.0.elapsed());
        last.0 = Instant::now();
        self.acknowledged.fetch_add(1, Ordering::SeqCst);
    }

    /// Sends a request until it is answered by anything but "not now"; also says whether it was sent again.
    async fn insist(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> (Heard, bool) {
        let begun = Instant::now();
        let mut again = false;
        loop {
            match self.attempt(&method, path, headers, body).await {
                Ok(Heard { status: 503, body, .. }) => assert_eq!(body["code"], "unavailable"),
                Ok(Heard { status: 409, body, .. }) if body["code"] == "idempotency_in_progress" => {}
                Ok(answer) => return (answer, again),
                // Refused, cut off, or nothing came.
                Err(_) => {}
            }
            again = true;
            self.again.fetch_add(1, Ordering::SeqCst);
            assert!(begun.elapsed() < 2 * DEADLINE, "{method} {path} is not answered");
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn attempt(
        &self,
        method: &Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> reqwest::Result<Heard> {
        let request = self.http.request(method.clone(), format!("{}{path}", self.url()));
        let mut ask = Ask(request).by(&self.who);
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        if let Some(body) = body {
            ask = ask.json(body);
        }
        let response = ask.0.send().await?;
        let status = response.status().as_u16();
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let (etag, is_replayed) = (header("etag"), header("idempotent-replayed").is_some());
        assert!(status != 503 || header("retry-after").is_some());
        let bytes = response.bytes().await?;
        assert_ne!(status, 500, "nothing is a 500: {}", String::from_utf8_lossy(&bytes));
        Ok(Heard { status, etag, is_replayed, body: serde_json::from_slice(&bytes).unwrap() })
    }

    /// Asks a server that is known to be there.
    fn ask(&self, server: &Server, method: Method, path: &str) -> Ask {
        Ask(self.http.request(method, format!("{}{path}", server.url))).by(&self.who)
    }

    /// All items of a list.
    pub async fn all(&self, server: &Server, path: &str) -> Vec<Value> {
        let mut items = vec![];
        let mut target = format!("{path}?limit=200");
        loop {
            let page = self.ask(server, Method::GET, &target).expect(200).await.body;
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(cursor) => target = format!("{path}?limit=200&cursor={cursor}"),
                None => return items,
            }
        }
    }

    /// Everything that was acknowledged is there, nothing is there twice, the trail is complete, and the numbers are
    /// those of the tickets.
    pub async fn prove(&self, server: &Server) {
        let tickets = self.all(server, "/v1/tickets").await;
        self.replays(server).await;
        let after = self.all(server, "/v1/tickets").await;
        let plain = |tickets: &[Value]| -> BTreeMap<String, i64> {
            tickets.iter().map(|t| (t["id"].as_str().unwrap().into(), t["version"].as_i64().unwrap())).collect()
        };
        assert_eq!(plain(&tickets), plain(&after), "a replay changes nothing");
        let mut mine = self.tickets.lock().unwrap().clone();
        let mut shared = self.shared.lock().unwrap().clone();
        shared.status = if shared.comments.is_empty() { "new" } else { "open" };
        mine.push(shared);
        assert_eq!(tickets.len(), mine.len());
        let there: BTreeMap<&str, &Value> = tickets.iter().map(|t| (t["id"].as_str().unwrap(), t)).collect();
        let numbers: HashSet<_> = tickets.iter().map(|t| t["number"].as_i64()).collect();
        assert_eq!((there.len(), numbers.len()), (tickets.len(), tickets.len()));
        for kept in &mine {
            self.prove_ticket(server, kept, there[kept.id.as_str()]).await;
        }
        self.prove_numbers(server, &mine, &tickets).await;
    }

    async fn prove_ticket(&self, server: &Server, kept: &Kept, there: &Value) {
        for (field, value) in [
            ("subject", &*kept.subject),
            ("description", &kept.description),
            ("status", kept.status),
            ("priority", kept.priority),
        ] {
            assert_eq!(there[field], value, "{field} of {kept:?}");
        }
        let public = kept.comments.iter().filter(|(_, visibility)| *visibility == "public").count() as i64;
        assert_eq!(there["version"], 1 + kept.patches + public, "{kept:?}");
        let path = format!("/v1/tickets/{}", kept.id);
        let comments = self.all(server, &format!("{path}/comments")).await;
        let texts = |items: &[Value], name: &str| -> Vec<String> {
            let mut texts: Vec<_> = items.iter().map(|item| item[name].as_str().unwrap().to_owned()).collect();
            texts.sort();
            texts
        };
        let sorted = |texts: Vec<&String>| {
            let mut texts: Vec<String> = texts.into_iter().cloned().collect();
            texts.sort();
            texts
        };
        assert_eq!(texts(&comments, "body"), sorted(kept.comments.iter().map(|(body, _)| body).collect()));
        let work = self.all(server, &format!("{path}/time-entries")).await;
        assert_eq!(texts(&work, "note"), sorted(kept.work.iter().map(|(note, _)| note).collect()));
        let seconds = |work: i64, entry: &Value| work + entry["work_s"].as_i64().unwrap();
        assert_eq!(work.iter().fold(0, seconds), kept.work.iter().map(|(_, s)| s).sum::<i64>());

        let trail = self.all(server, &format!("{path}/events")).await;
        let of = |kind: &str| trail.iter().filter(|event| event["type"] == kind).collect::<Vec<_>>();
        assert_eq!(of("ticket.created").len(), 1);
        let about: BTreeSet<_> = of("comment.added").iter().map(|event| event["comment_id"].to_string()).collect();
        assert_eq!(about, comments.iter().map(|comment| comment["id"].to_string()).collect());
        assert_eq!((of("comment.added").len(), of("time_entry.added").len()), (comments.len(), work.len()));
        let subjects = of("ticket.updated")
            .iter()
            .filter(|event| event["changes"].as_array().unwrap().iter().any(|change| change["field"] == "subject"))
            .count() as i64;
        assert_eq!(subjects, kept.patches, "a change and its event are one: {kept:?}");
        // Each change begins where the one before ended, and the last ends at what is there.
        let mut fields: BTreeMap<String, Value> = BTreeMap::new();
        for change in trail
            .iter()
            .filter(|event| event["type"].as_str().unwrap().starts_with("ticket."))
            .flat_map(|event| event["changes"].as_array().unwrap())
        {
            let before = fields.insert(change["field"].as_str().unwrap().into(), change["after"].clone());
            assert_eq!(before.unwrap_or(Value::Null), change["before"], "{trail:#?}");
        }
        for field in ["subject", "description", "status", "priority", "first_replied_at"] {
            assert_eq!(*fields.get(field).unwrap_or(&Value::Null), there[field], "{field}: {trail:#?}");
        }
    }

    /// What was acknowledged, sent once more, gets the same answer and changes nothing.
    async fn replays(&self, server: &Server) {
        let sent = self.sent.lock().unwrap().clone();
        let ids: HashSet<_> = sent.iter().map(|sent| &sent.id).collect();
        assert_eq!(ids.len(), sent.len());
        let step = sent.len().div_ceil(300);
        for Sent { key, path, body, id } in sent.iter().step_by(step.max(1)) {
            let again =
                self.ask(server, Method::POST, path).header("idempotency-key", key).json(body).expect(201).await;
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            assert_eq!(again.body["id"].as_str(), Some(id.as_str()));
        }
    }

    async fn prove_numbers(&self, server: &Server, mine: &[Kept], tickets: &[Value]) {
        let count = |pass: &dyn Fn(&Kept) -> bool| mine.iter().filter(|kept| pass(kept)).count() as i64;
        let scrape = self.kept_series(server).await;
        for status in ["new", "open", "resolved"] {
            for priority in ["low", "normal", "high", "urgent"] {
                let series = format!(r#"skranke_tickets{{status="{status}",priority="{priority}",team="none"}}"#);
                let expected = count(&|kept| kept.status == status && kept.priority == priority);
                assert_eq!(scrape[&series], expected.to_string(), "{series}");
            }
        }
        for priority in ["low", "normal", "high", "urgent"] {
            let series = |name: &str| scrape[&format!(r#"{name}{{priority="{priority}",team="none"}}"#)].clone();
            let of = |pass: &dyn Fn(&Kept) -> bool| count(&|kept| kept.priority == priority && pass(kept)).to_string();
            assert_eq!(series("skranke_tickets_created_total"), of(&|_| true));
            assert_eq!(series("skranke_tickets_resolved_total"), of(&|kept| kept.status == "resolved"));
        }
        let total = server.get("/v1/metrics/summary").by(&self.who).expect(200).await.body["total"].clone();
        let there = |field: &str| tickets.iter().filter(|ticket| !ticket[field].is_null()).count() as i64;
        let resolved = count(&|kept| kept.status == "resolved");
        assert_eq!(
            (&total["tickets"]["created"], &total["tickets"]["resolved"]),
            (&json!(mine.len()), &json!(resolved))
        );
        assert_eq!(total["cost"]["work_s"], mine.iter().flat_map(|kept| &kept.work).map(|(_, s)| s).sum::<i64>());
        let durations = |name: &str| total["durations"][name]["calendar"]["count"].as_i64().unwrap();
        assert_eq!((durations("response"), durations("first_reply")), (there("started_at"), there("first_replied_at")));
        let backlog = server.get("/v1/metrics/backlog").by(&self.who).expect(200).await.body["total"].clone();
        assert_eq!(backlog["open"], mine.len() as i64 - resolved, "{backlog}");
    }

    /// The series of `/metrics` that tell of tickets, but for those that change as time passes.
    pub async fn kept_series(&self, server: &Server) -> BTreeMap<String, String> {
        let text = server.get("/metrics").by(&self.who).expect(200).await.text();
        let tells = ["skranke_tickets", "skranke_response", "skranke_service", "skranke_sla"];
        let told = text.lines().filter(|line| tells.iter().any(|name| line.starts_with(name)));
        told.map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.into(), value.into())).collect()
    }
}

/// An answer.
struct Heard {
    status: u16,
    etag: Option<String>,
    is_replayed: bool,
    body: Value,
}

fn new_ticket(ticket: &Kept) -> Value {
    json!({ "subject": ticket.subject, "description": ticket.description, "priority": ticket.priority,
        "requester": { "email": "ada@example.org", "name": "Ada" } })
}
