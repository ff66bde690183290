//! A receiver of webhooks, which takes what comes, fails by a script, and verifies by a reckoning of its own.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a receiver does with a message.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Answers with this status and these lines of a head.
    Answer(u16, String),
    /// Ends the connection.
    Reset,
    /// Says nothing.
    Silence,
    /// Says a byte now and then.
    Drip,
    /// Answers 204 when it is told to.
    Hold(watch::Receiver<bool>),
}

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub headers: BTreeMap<String, String>,
    pub raw: Vec<u8>,
    pub body: Value,
}

impl Received {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    pub fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap()
    }

    pub fn position(&self) -> i64 {
        self.body["data"]["position"].as_i64().unwrap()
    }

    /// Whether each of these secrets, and no other, has signed it.
    pub fn is_signed_by(&self, secrets: &[&str]) {
        let head = format!("{}.{}.", self.id(), self.header("webhook-timestamp"));
        let signed = [head.as_bytes(), &self.raw].concat();
        let expected = secrets.iter().map(|secret| {
            let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
            format!("v1,{}", STANDARD.encode(hmac(&key, &signed)))
        });
        assert_eq!(self.header("webhook-signature"), expected.collect::<Vec<_>>().join(" "));
    }
}

/// HMAC-SHA256 as RFC 2104 writes it down.
fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let padded = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
    let inner = digest(&SHA256, &[&padded(0x36)[..], text].concat());
    digest(&SHA256, &[&padded(0x5c)[..], inner.as_ref()].concat()).as_ref().to_vec()
}

/// Somebody who is told.
pub struct Receiver {
    pub url: String,
    pub state: Arc<ReceiverState>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
pub struct ReceiverState {
    pub got: Mutex<Vec<Received>>,
    script: Mutex<VecDeque<Reaction>>,
    /// What is done when the script has ended.
    otherwise: Mutex<Option<Reaction>>,
    /// How many are being answered, how many were at once at most, and of which tickets.
    pub open: Mutex<Vec<Value>>,
    pub peak: AtomicUsize,
}

impl Receiver {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let state = Arc::<ReceiverState>::default();
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move { shared.serve(stream).await });
            }
        });
        Self { url, state, task }
    }

    pub fn got(&self) -> Vec<Received> {
        self.state.got.lock().unwrap().clone()
    }

    /// What has come since this was asked last.
    pub fn take(&self) -> Vec<Received> {
        std::mem::take(&mut self.state.got.lock().unwrap())
    }

    /// Whether it answers nothing at the moment.
    pub fn is_done(&self) -> bool {
        self.state.open.lock().unwrap().is_empty()
    }

    pub fn will(&self, script: impl IntoIterator<Item = Reaction>) {
        self.state.script.lock().unwrap().extend(script);
    }

    pub fn always(&self, reaction: Option<Reaction>) {
        *self.state.otherwise.lock().unwrap() = reaction;
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReceiverState {
    async fn serve(&self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        loop {
            let head = loop {
                if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                    break end;
                }
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            };
            let text = String::from_utf8(bytes[..head].to_vec()).unwrap();
            let mut lines = text.lines();
            assert_eq!(lines.next(), Some("POST /hook HTTP/1.1"));
            let headers: BTreeMap<String, String> = lines
                .map(|line| line.split_once(':').unwrap())
                .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
                .collect();
            let length: usize = headers["content-length"].parse().unwrap();
            while bytes.len() < head + 4 + length {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            let raw: Vec<u8> = bytes.drain(..head + 4 + length).skip(head + 4).collect();
            let body: Value = serde_json::from_slice(&raw).unwrap();
            let ticket = body["data"]["ticket"]["id"].clone();
            {
                let mut open = self.open.lock().unwrap();
                assert!(ticket.is_null() || !open.contains(&ticket), "two of one ticket at once");
                open.push(ticket.clone());
                self.peak.fetch_max(open.len(), Ordering::SeqCst);
            }
            self.got.lock().unwrap().push(Received { headers, raw, body });
            let next = self.script.lock().unwrap().pop_front();
            let reaction = next.or_else(|| self.otherwise.lock().unwrap().clone());
            let reaction = reaction.unwrap_or(Reaction::Answer(204, String::new()));
            let mut goes_on = false;
            match reaction {
                Reaction::Answer(status, lines) => {
                    let answer = format!("HTTP/1.1 {status} Said\r\n{lines}content-length: 0\r\n\r\n");
                    self.leave(&ticket);
                    goes_on = stream.write_all(answer.as_bytes()).await.is_ok();
                }
                Reaction::Reset => {
                    self.leave(&ticket);
                    socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
                }
                Reaction::Silence => {
                    // Until whoever waits has had enough.
                    drop(stream.read_u8().await);
                    self.leave(&ticket);
                }
                Reaction::Drip => {
                    drop(stream.write_all(b"HTTP/1.1 200 OK\r\nx-slow: ").await);
                    while stream.write_all(b"a").await.is_ok() {
                        tokio::time::sleep(Duration::from_millis(50)).await;
                    }
                    self.leave(&ticket);
                }
                Reaction::Hold(mut until) => {
                    let is_told = tokio::select! {
                        told = until.wait_for(|goes| *goes) => told.is_ok(),
                        // Whoever waits has gone away.
                        _ = stream.read_u8() => false,
                    };
                    self.leave(&ticket);
                    goes_on = is_told && stream.write_all(b"HTTP/1.1 204 Said\r\n\r\n").await.is_ok();
                }
            }
            if !goes_on {
                return;
            }
        }
    }

    fn leave(&self, ticket: &Value) {
        let mut open = self.open.lock().unwrap();
        let place = open.iter().position(|other| other == ticket).unwrap();
        open.swap_remove(place);
    }
}
