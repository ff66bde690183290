//! Two binaries in turn, each on a desk of its own that tickets came into over HTTP: so that a change can be held
//! against the version before it, whatever its schema. What counts is the processor time of a request: rates swing with
//! whatever else is at work.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::load::{Client, Line, Run, Wrk};
use super::postgres::{Cluster, Mode};
use super::procs::{Server, Settings, fail, output};
use super::{Engine, MOST, PAGED, median, signing_key};

/// How many tickets each desk has before it is measured.
const TICKETS: u64 = 100_000;
/// How many tickets have been worked on.
const WORKED_ON: u64 = 6_000;
/// How often each request is measured on each binary.
const ROUNDS: usize = 3;
/// How long, in seconds.
const EACH_S: u64 = 2;

/// A binary at work.
pub struct Desk<'a> {
    pub settings: Settings,
    pub server: Server,
    pub token: String,
    pub client: Client,
    pub wrk: Wrk,
    pub teams: Vec<String>,
    pub numbers: Numbers,
    /// Requests: a name, where they are, and over how many connections they come.
    pub scenarios: Vec<(&'static str, PathBuf, usize)>,
    cluster: Option<&'a Cluster>,
}

/// Compares the binary `other`, the version before, with the one that was built with this program.
pub fn compare(other: &Path, folder: &Path, engine: Engine) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = Arc::new(runtime.expect("a runtime"));
    let mut cluster = (engine == Engine::Postgres).then(|| Cluster::new(&folder.join("postgres"), runtime.clone()));
    if let Some(cluster) = &mut cluster {
        cluster.run(Mode::Durable);
    }
    let desks = [("before", other.to_owned()), ("now", PathBuf::from(env!("CARGO_BIN_EXE_skranke")))]
        .map(|(name, program)| Desk::filled(name, program, folder, cluster.as_ref(), runtime.clone(), TICKETS, &[]));
    println!("{}", engine.name());
    println!("{:24} {:>12} {:>12} {:>8} {:>14}", "request", "CPU before", "CPU now", "ratio", "rate, ratio");
    for nth in 0..desks[0].scenarios.len() {
        // The first ones warm up.
        for desk in &desks {
            desk.measure(nth);
        }
        let mut runs: [Vec<(Run, f64)>; 2] = Default::default();
        for round in 0..ROUNDS {
            for which in [round % 2, (round + 1) % 2] {
                runs[which].push(desks[which].measure(nth));
            }
        }
        let cpu = |which: usize| median(runs[which].iter().map(|(_, cpu_us)| *cpu_us).collect());
        let rate = |which: usize| median(runs[which].iter().map(|(run, _)| run.rate()).collect());
        println!(
            "{:24} {:>9.0} µs {:>9.0} µs {:>8.2} {:>14.2}",
            desks[0].scenarios[nth].0,
            cpu(0),
            cpu(1),
            cpu(1) / cpu(0),
            rate(1) / rate(0)
        );
    }
    let resident = |desk: &Desk<'_>| desk.server.running.memory_kib("VmRSS") as f64 / 1024.0;
    println!("resident: {:.1} MiB before, {:.1} MiB now", resident(&desks[0]), resident(&desks[1]));
}

impl<'a> Desk<'a> {
    /// Starts the binary on an empty database, of the cluster or in a file, and lets tickets come in.
    pub fn filled(
        name: &'static str,
        program: PathBuf,
        all: &Path,
        cluster: Option<&'a Cluster>,
        runtime: Arc<tokio::runtime::Runtime>,
        tickets: u64,
        more: &[(&str, &str)],
    ) -> Self {
        let folder = &all.join(format!("smoke-{name}"));
        let _ = std::fs::remove_dir_all(folder);
        std::fs::create_dir_all(folder).expect("a folder");
        let url = match cluster {
            None => format!("sqlite://{}", folder.join("skranke.db").display()),
            Some(cluster) => {
                let database = format!("smoke_{name}");
                cluster.drop_database(&database);
                cluster.execute("postgres", &format!("CREATE DATABASE {database}"));
                cluster.url(&database)
            }
        };
        let environment = [
            ("DATABASE_URL", url),
            ("SKRANKE_SIGNING_KEY_FILE", signing_key(all).to_string_lossy().into_owned()),
            ("SKRANKE_REQUESTS_PER_PRINCIPAL", "10000000".into()),
            ("SKRANKE_REQUESTS_PER_ADDRESS", "10000000".into()),
        ];
        let more = more.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let environment = environment.into_iter().chain(more).map(|(key, value)| (key.to_owned(), value)).collect();
        let settings = Settings { program, environment, log: folder.join("server.log") };
        output(settings.command().arg("migrate"));
        let server = Server::start(&settings);
        let mut token = settings.command();
        token.args(["token", "--role", "admin", "--email", "bench@example.org", "--name", "Bench", "--ttl-s", "86400"]);
        let token = output(&mut token).trim().to_owned();
        let client = Client::new(runtime, token.clone());
        let wrk = Wrk::new(folder, token.clone());
        let url = server.url();

        let post = |path: &str, body: &Value| {
            let line = Line { method: "POST", path: path.to_owned(), keyed: false, body: body.to_string() };
            let reply: Value = serde_json::from_slice(&client.expect(&url, &line, "").body).expect("JSON");
            reply["id"].as_str().unwrap_or_else(|| fail("what was made has no id")).to_owned()
        };
        let teams: Vec<String> = (0..10).map(|n| post("/v1/teams", &json!({ "name": format!("Team {n}") }))).collect();
        let creates: Vec<Line> = (0..2_000).map(|n| create(n, &teams)).collect();
        let file = wrk.prepare("create", &[(1.0, creates)]);
        let mut there = 0;
        while there < tickets {
            there += wrk.run(&url, &file, MOST, 2).requests;
        }
        // Numbers have gaps, where a write has lost against another on PostgreSQL.
        let numbers = numbers(&client, &url);
        let worked_on = WORKED_ON.min(tickets);
        for nth in (0..worked_on).map(|n| n * (tickets / worked_on)) {
            let body = json!({ "status": if nth % 5 == 0 { "open" } else { "resolved" } }).to_string();
            let line = Line { method: "PATCH", path: format!("/v1/tickets/{}", numbers.nth(nth)), keyed: false, body };
            client.expect(&url, &line, "");
        }
        println!("{name}: {there} tickets are there");

        let get = |path: String| Line::get(path);
        let some = |path: &dyn Fn(u64) -> String| (0..1_000).map(|n| get(path(n))).collect::<Vec<_>>();
        let comment = |n: u64, visibility: &str| Line {
            method: "POST",
            path: format!("/v1/tickets/{}/comments", numbers.nth(n * 7)),
            keyed: false,
            body: json!({ "visibility": visibility, "body": "The cable was loose. It prints again." }).to_string(),
        };
        let edit = |n: u64| Line {
            method: "PATCH",
            path: format!("/v1/tickets/{}", numbers.nth(n * 11)),
            keyed: false,
            body: json!({ "custom_fields": { "floor": n } }).to_string(),
        };
        let team = |n: u64| &teams[n as usize % teams.len()];
        let lines = [
            ("ticket", some(&|n| format!("/v1/tickets/{}", numbers.nth(n * 97))), MOST),
            ("page of 50", vec![get("/v1/tickets".into())], PAGED),
            ("page: status, team", some(&|n| format!("/v1/tickets?status=open&team_id={}", team(n))), PAGED),
            ("page: by priority", some(&|n| format!("/v1/tickets?sort=-priority&team_id={}", team(n))), PAGED),
            ("search", some(&|n| format!("/v1/tickets?q=printer%20word{}", n % 97)), PAGED),
            ("summary", vec![get("/v1/metrics/summary?group_by=priority".into())], PAGED),
            ("timeseries", vec![get("/v1/metrics/timeseries?interval=day".into())], PAGED),
            ("backlog", vec![get("/v1/metrics/backlog".into())], PAGED),
            ("/metrics", vec![get("/metrics".into())], PAGED),
            ("create", (0..2_000).map(|n| create(n, &teams)).collect(), MOST),
            ("comment", (0..5_000).map(|n| comment(n, "public")).collect(), MOST),
            ("internal comment", (0..5_000).map(|n| comment(n, "internal")).collect(), MOST),
            ("edit", (0..5_000).map(edit).collect(), MOST),
        ];
        let scenarios =
            lines.into_iter().map(|(name, lines, at_once)| (name, wrk.prepare(name, &[(1.0, lines)]), at_once));
        let scenarios = scenarios.collect();
        Self { settings, server, token, client, wrk, teams, numbers, scenarios, cluster }
    }

    /// The processor time so far of all that answers, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.server.running.cpu_us() + self.cluster.map_or(0.0, Cluster::cpu_us)
    }

    /// A run of a request, and the processor time of one, in microseconds.
    fn measure(&self, nth: usize) -> (Run, f64) {
        let (_, file, connections) = &self.scenarios[nth];
        let began_us = self.cpu_us();
        let run = self.wrk.run(&self.server.url(), file, *connections, EACH_S);
        (run, (self.cpu_us() - began_us) / run.requests as f64)
    }
}

/// The numbers of tickets.
pub struct Numbers(Vec<u64>);

impl Numbers {
    pub fn nth(&self, n: u64) -> u64 {
        self.0[n as usize % self.0.len()]
    }
}

/// Those of all tickets, in their order.
fn numbers(client: &Client, url: &str) -> Numbers {
    let (mut all, mut path) = (Vec::new(), "/v1/tickets?sort=created_at&limit=200".to_owned());
    loop {
        let page: Value = serde_json::from_slice(&client.expect(url, &Line::get(path), "").body).expect("JSON");
        all.extend(page["items"].as_array().into_iter().flatten().filter_map(|ticket| ticket["number"].as_u64()));
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/tickets?sort=created_at&limit=200&cursor={cursor}"),
            None => return Numbers(all),
        }
    }
}

/// A ticket that comes in: the first teams get the most.
fn create(n: u64, teams: &[String]) -> Line {
    let team = (n * n) as usize % (n as usize % teams.len() + 1);
    let priority = ["normal", "normal", "normal", "low", "high", "urgent"][n as usize % 6];
    let channel = ["web", "email", "phone"][n as usize % 3];
    let body = json!({
        "subject": format!("The printer on floor {} says word{}", n % 9, n % 97),
        "description": format!("It stands still since this morning, and number{n} blinks. I have pulled the plug, and put it in again."),
        "priority": priority,
        "channel": channel,
        "team_id": teams[team],
        "tags": [format!("floor-{}", n % 9), "printer"],
        "custom_fields": { "floor": n % 9 },
    });
    Line { method: "POST", path: "/v1/tickets".into(), keyed: true, body: body.to_string() }
}
