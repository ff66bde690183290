//! Load: requests that wrk sends over loopback.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::procs::{fail, find, output, wait_until_idle};

/// A request that may be picked.
#[derive(Debug, Clone)]
pub struct Line {
    pub method: &'static str,
    pub path: String,
    /// Whether it takes an `Idempotency-Key`, a new one each time.
    pub keyed: bool,
    /// JSON in one line; empty for none.
    pub body: String,
}

impl Line {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), keyed: false, body: String::new() }
    }
}

/// Requests of one kind, with how often one of them is picked among other kinds.
pub type Group = (f64, Vec<Line>);

/// What one run of wrk came to.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
pub struct Run {
    pub requests: u64,
    pub duration_us: u64,
    pub p50_us: f64,
    pub p99_us: f64,
    bad_status: u64,
    bad_socket: u64,
}

impl Run {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 * 1e6 / self.duration_us as f64
    }
}

/// The load generator.
pub struct Wrk {
    program: PathBuf,
    script: PathBuf,
    folder: PathBuf,
    token: String,
    runs: std::cell::Cell<u64>,
}

impl Wrk {
    /// Fails with a sentence that helps when wrk is missing.
    pub fn new(folder: &Path, token: String) -> Self {
        let program =
            find("wrk", &[]).unwrap_or_else(|| fail("wrk is missing: install the package wrk (apt-get install wrk)"));
        let script = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/size/load.lua"));
        Self { program, script, folder: folder.to_owned(), token, runs: std::cell::Cell::new(0) }
    }

    /// Writes the requests where a run finds them.
    pub fn prepare(&self, name: &str, groups: &[Group]) -> PathBuf {
        let mut text = String::new();
        for (nth, (weight, lines)) in groups.iter().enumerate() {
            for Line { method, path, keyed, body } in lines {
                text += &format!("{nth}\t{weight}\t{method}\t{path}\t{}\t{body}\n", u8::from(*keyed));
            }
        }
        let file = self.folder.join(format!("{}.requests", name.replace(|c: char| !c.is_alphanumeric(), "_")));
        std::fs::write(&file, text).expect("the requests are written");
        file
    }

    /// Sends the requests of `file` for `seconds` over this many connections. Any answer that is no success ends it
    /// all.
    pub fn run(&self, url: &str, file: &Path, connections: usize, seconds: u64) -> Run {
        let nth = self.runs.get() + 1;
        self.runs.set(nth);
        let started = skranke::kernel::Clock::system().now().micros();
        let mut command = Command::new(&self.program);
        command.args(["-t1", "--timeout", "60s"]);
        command.args([format!("-c{connections}"), format!("-d{seconds}s")]);
        command.arg("-s").arg(&self.script).arg(url).arg("--").arg(file);
        command.args([format!("bench-{started}-{nth}-"), nth.to_string(), self.token.clone()]);
        let text = output(&mut command);
        let json = text.lines().find_map(|line| line.strip_prefix("RESULT "));
        let run: Option<Run> = json.and_then(|json| serde_json::from_str(json).ok());
        let run = run.unwrap_or_else(|| fail(&format!("wrk said: {text}")));
        if run.bad_status + run.bad_socket > 0 {
            fail(&format!(
                "{} of {} answers are no success, {} connections failed: {}",
                run.bad_status,
                run.requests,
                run.bad_socket,
                file.display()
            ));
        }
        let port = url.rsplit(':').next().and_then(|port| port.parse().ok());
        port.into_iter().for_each(wait_until_idle);
        run
    }
}

/// A client for single requests.
pub struct Client {
    http: reqwest::Client,
    runtime: std::sync::Arc<tokio::runtime::Runtime>,
    token: String,
}

/// An answer to a single request.
pub struct Reply {
    pub status: u16,
    pub body: Vec<u8>,
    pub took: Duration,
}

impl Client {
    pub fn new(runtime: std::sync::Arc<tokio::runtime::Runtime>, token: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(900)).build().expect("a client");
        Self { http, runtime, token }
    }

    /// Sends a request, with this `Idempotency-Key` if it takes one.
    pub fn send(&self, url: &str, line: &Line, key: &str) -> Reply {
        let method = reqwest::Method::from_bytes(line.method.as_bytes()).expect("a method");
        let mut request = self.http.request(method, format!("{url}{}", line.path)).bearer_auth(&self.token);
        if !line.body.is_empty() {
            request = request.header("content-type", "application/json").body(line.body.clone());
        }
        if line.keyed {
            request = request.header("idempotency-key", key);
        }
        self.runtime.block_on(async {
            let began = Instant::now();
            let answer = request.send().await.unwrap_or_else(|e| fail(&format!("{}: {e}", line.path)));
            let status = answer.status().as_u16();
            let body = answer.bytes().await.unwrap_or_else(|e| fail(&format!("{}: {e}", line.path))).to_vec();
            Reply { status, body, took: began.elapsed() }
        })
    }

    /// The answer, which must be a success.
    pub fn expect(&self, url: &str, line: &Line, key: &str) -> Reply {
        let reply = self.send(url, line, key);
        if !(200..300).contains(&reply.status) {
            fail(&format!("{} {}: {} {}", line.method, line.path, reply.status, String::from_utf8_lossy(&reply.body)));
        }
        reply
    }
}

/// Answers every request with the bytes of a file: what an actix-web server without anything around it does. Runs until
/// it is ended.
pub fn serve_bytes(port: u16, file: &Path) {
    use actix_web::{App, HttpResponse, HttpServer, web};
    let bytes = web::Bytes::from(std::fs::read(file).expect("the bytes"));
    actix_web::rt::System::new().block_on(async move {
        let app = move || {
            let bytes = bytes.clone();
            App::new().default_service(web::to(move || {
                let bytes = bytes.clone();
                async move { HttpResponse::Ok().content_type("application/json").body(bytes) }
            }))
        };
        HttpServer::new(app).bind(("127.0.0.1", port)).expect("the port").run().await.expect("a server");
    });
}

/// A command of this program itself.
pub fn oneself() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
