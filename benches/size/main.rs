//! How fast Skranke is, and whether that depends on how many tickets there are.
//!
//! `cargo bench --bench size` fills SQLite and PostgreSQL with 100 k, 1 M and 10 M made-up tickets, drives the released
//! binary over loopback with wrk, holds it against limits in the same run, and writes `benches/results/`. See `--help`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "a tool for the terminal of a developer: what goes wrong ends it with its place"
)]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "made-up figures and statistics")]

mod chance;
mod limits;
mod live;
mod load;
mod postgres;
mod procs;
mod report;
mod scenarios;
mod seed;
mod smoke;
mod sqlite;
mod world;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use skranke::db::{DatabaseUrl, Db};
use tokio::runtime::Runtime;

use chance::Rng;
use load::{Client, Line, Wrk};
use postgres::{Cluster, Mode};
use procs::{Running, Server, Settings, fail, output};
use report::{Compared, Machine, Measure, Process, Results, Seeding};
use scenarios::Scenario;
use seed::{Sink, Stamp};
use world::{Parameters, World};

/// The connections that load comes over.
const CONNECTIONS: [usize; 3] = [1, 16, 64];
/// The most of them, where the limits are.
const MOST: usize = 64;
/// Those that ask for pages where the limits are.
const PAGED: usize = 16;
/// How long the mixed load is driven at least whose p99 has a target, in seconds.
const TAIL_S: u64 = 20;
/// A database of more tickets than this is neither copied nor kept.
const LARGEST_KEPT: u64 = 2_000_000;

/// How fast Skranke is, and whether that depends on how many tickets there are.
#[derive(Debug, Parser)]
#[command(name = "size")]
struct Arguments {
    /// `report` writes the report again from the results that are there
    what: Option<String>,
    /// sqlite, postgres or both
    #[arg(long, default_value = "both")]
    engine: String,
    /// How many tickets, separated by commas
    #[arg(long, default_value = "100k,1m,10m")]
    sizes: String,
    /// Instead of all else: this other binary in turn with the one built here, on desks of 100k tickets that come in
    /// over HTTP; prints what a request costs each of them. It takes six minutes on SQLite
    #[arg(long, value_name = "BINARY")]
    smoke: Option<PathBuf>,
    /// Instead of all else: how fast streams, the feed and webhooks tell what happens
    #[arg(long)]
    live: bool,
    /// Fewer and shorter runs, for a look
    #[arg(long)]
    quick: bool,
    /// Where the databases lie; a folder on a real disk that everybody may pass through
    #[arg(long, default_value = "/var/tmp/skranke-size")]
    dir: PathBuf,
    /// Parts, separated by commas: seed, growth, limits, process, filled (searches in a desk that is filled over HTTP),
    /// or ids of requests such as ticket, list, pair, create, search (each stands for all that begin with it)
    #[arg(long, default_value = "")]
    only: String,
    /// Keep databases of more than 2 M tickets, which are otherwise dropped after use
    #[arg(long)]
    keep: bool,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The date in the report; today unless said
    #[arg(long)]
    date: Option<String>,
    /// Where results go
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results"))]
    results: PathBuf,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// The parts of a run.
const PARTS: [&str; 5] = ["seed", "growth", "limits", "process", "filled"];

impl Arguments {
    fn words(&self) -> Vec<&str> {
        self.only.split(',').map(str::trim).filter(|word| !word.is_empty()).collect()
    }

    /// Whether a part is wanted.
    fn wants(&self, part: &str) -> bool {
        let words = self.words();
        let named: Vec<_> = words.iter().filter(|word| PARTS.contains(word)).collect();
        // Requests alone mean their growth.
        words.is_empty() || if named.is_empty() { part == "growth" } else { words.contains(&part) }
    }

    /// Whether requests of this id are wanted.
    fn wants_request(&self, id: &str) -> bool {
        let mut requests = self.words().into_iter().filter(|word| !PARTS.contains(word)).peekable();
        requests.peek().is_none() || requests.any(|word| id.starts_with(word))
    }

    fn sizes(&self) -> Vec<u64> {
        let size = |text: &str| {
            let (digits, factor) = match text.trim().to_lowercase() {
                text if text.ends_with('k') => (text[..text.len() - 1].to_owned(), 1_000),
                text if text.ends_with('m') => (text[..text.len() - 1].to_owned(), 1_000_000),
                text => (text, 1),
            };
            let digits: u64 = digits.parse().unwrap_or_else(|_| fail(&format!("{text} is no size; write 100k or 1m")));
            digits * factor
        };
        let sizes: Vec<u64> = self.sizes.split(',').map(size).collect();
        if sizes.iter().any(|size| *size < 60_000) {
            fail("there is no page 1,000 below 60k tickets");
        }
        sizes
    }

    fn seconds(&self) -> u64 {
        if self.quick { 1 } else { 3 }
    }

    fn growth_rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    fn limit_rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    // The same program under other names: a server that is listened to, and one that answers from memory.
    if let Ok(file) = std::env::var(limits::RECORD) {
        return limits::recorded(&file);
    }
    if words.get(1).is_some_and(|word| word == "bytes") {
        load::serve_bytes(words[2].parse().expect("a port"), Path::new(&words[3]));
        return ExitCode::SUCCESS;
    }
    let arguments = Arguments::parse();
    match arguments.what.as_deref() {
        Some("report") => report::write(&arguments.results),
        Some(other) => fail(&format!("{other} is no command; see --help")),
        None => run(&arguments),
    }
    ExitCode::SUCCESS
}

/// One engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    fn name(self) -> &'static str {
        match self {
            Engine::Sqlite => "sqlite",
            Engine::Postgres => "postgres",
        }
    }
}

fn run(arguments: &Arguments) {
    procs::tidy_up_on_signals();
    std::fs::create_dir_all(&arguments.dir).unwrap_or_else(|e| fail(&format!("{}: {e}", arguments.dir.display())));
    let engines = match arguments.engine.as_str() {
        "sqlite" => vec![Engine::Sqlite],
        "postgres" => vec![Engine::Postgres],
        "both" => vec![Engine::Sqlite, Engine::Postgres],
        other => fail(&format!("{other} is no engine: sqlite, postgres or both")),
    };
    if let Some(other) = &arguments.smoke {
        return engines.into_iter().for_each(|engine| smoke::compare(other, &arguments.dir, engine));
    }
    if arguments.live {
        return engines.into_iter().for_each(|engine| live::measure(&arguments.dir, engine));
    }
    let sizes = arguments.sizes();
    let each_s = arguments.seconds() + 1;
    let requests = 45 * (arguments.growth_rounds() as u64 + 2) * each_s;
    let limits = 6 * arguments.limit_rounds() as u64 * 2 * each_s;
    println!(
        "About {} minutes for each engine and size, and the time to seed: about a minute for each million tickets.",
        (requests + limits) / 60 + 1
    );
    for engine in engines {
        for size in &sizes {
            Session::new(arguments, engine, *size).measure();
            report::write(&arguments.results);
        }
    }
}

/// The key that tokens are signed with, made if it is not there.
fn signing_key(folder: &Path) -> PathBuf {
    let key = folder.join("signing-key.pem");
    if !key.exists() {
        let pem = skranke::auth::keys::SigningKey::generate_pem().expect("a key");
        std::fs::write(&key, pem.reveal()).expect("a key");
    }
    key
}

/// One engine at one size.
struct Session<'a> {
    arguments: &'a Arguments,
    engine: Engine,
    size: u64,
    runtime: Arc<Runtime>,
    /// The folder of what only this run needs.
    scratch: PathBuf,
    cluster: Option<Cluster>,
}

impl<'a> Session<'a> {
    fn new(arguments: &'a Arguments, engine: Engine, size: u64) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = Arc::new(runtime.expect("a runtime"));
        let scratch = arguments.dir.join("scratch");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir_all(&scratch).expect("a folder");
        let cluster =
            (engine == Engine::Postgres).then(|| Cluster::new(&arguments.dir.join("postgres"), runtime.clone()));
        Self { arguments, engine, size, runtime, scratch, cluster }
    }

    fn cluster(&mut self) -> &mut Cluster {
        self.cluster.as_mut().expect("PostgreSQL")
    }

    /// The name of the database that is filled and stays as it is.
    fn base(&self) -> String {
        format!("base_{}", report::short(self.size))
    }

    /// The SQLite file of a name.
    fn file(&self, name: &str) -> PathBuf {
        self.arguments.dir.join(format!("{name}.db"))
    }

    fn stamp_file(&self) -> PathBuf {
        match self.engine {
            Engine::Sqlite => self.file(&self.base()).with_extension("json"),
            Engine::Postgres => self.arguments.dir.join(format!("postgres/{}.json", self.base())),
        }
    }

    fn url(&self, name: &str) -> String {
        match &self.cluster {
            None => format!("sqlite://{}", self.file(name).display()),
            Some(cluster) => cluster.url(name),
        }
    }

    fn remove(&self, name: &str) {
        match &self.cluster {
            None => sqlite::remove(&self.file(name)),
            Some(cluster) => cluster.drop_database(name),
        }
    }

    /// Whether tickets can be searched: with the words of 10 M tickets PostgreSQL would take more than 40 GB.
    fn has_words(&self) -> bool {
        self.engine == Engine::Sqlite || self.size <= LARGEST_KEPT
    }

    /// The database, filled now or before.
    fn seeded(&mut self) -> (Arc<World>, Seeding) {
        let base = self.base();
        let seed = self.arguments.seed;
        if let Some(stamp) = Stamp::usable(&self.stamp_file(), self.size, seed) {
            println!("{}: {} tickets are there already", self.engine.name(), self.size);
            return (Arc::new(World::new(stamp.parameters)), stamp.seeding);
        }
        let needed = self.size * 4_000;
        if procs::free_bytes(&self.arguments.dir) < needed {
            fail(&format!("{} has less than {} GB of free room", self.arguments.dir.display(), needed / 1_000_000_000));
        }
        let _ = std::fs::remove_file(self.stamp_file());
        let until_us = seed::until_us();
        let parameters = Parameters { size: self.size, seed, until_us, edition: world::EDITION };
        let world = Arc::new(World::new(parameters));
        let engine = self.engine.name();
        let mut seeding = match self.engine {
            Engine::Sqlite => {
                self.remove(&base);
                drop(self.open(&base));
                let mut file = sqlite::File::open(&self.file(&base));
                let mut seeding = seed::fill(&world, &mut file, engine);
                file.settle();
                drop(file);
                seeding.derive_s =
                    self.runtime.block_on(seed::derive(&self.open(&base), engine, self.size, self.has_words()));
                sqlite::checkpoint(&self.file(&base));
                seeding
            }
            Engine::Postgres => {
                self.cluster().run(Mode::Filling);
                self.remove(&base);
                self.cluster().execute("postgres", &format!("CREATE DATABASE {base}"));
                let db = self.open(&base);
                let mut filler = self.cluster().filler(&base);
                let mut seeding = seed::fill(&world, &mut filler, engine);
                filler.analyze();
                // One by one, words come into their index at a thousand tickets a second.
                let words = filler.drop_indexes_of(|table| table == "ticket_lexemes");
                seeding.derive_s = self.runtime.block_on(seed::derive(&db, engine, self.size, self.has_words()));
                let began = Instant::now();
                words.iter().for_each(|definition| filler.make_index(definition));
                seeding.indexes_s += began.elapsed().as_secs_f64();
                filler.settle();
                seeding
            }
        };
        seeding.bytes = match &self.cluster {
            None => sqlite::bytes(&self.file(&base)),
            Some(cluster) => cluster.number(&base, "SELECT pg_database_size(current_database())").unsigned_abs(),
        };
        if let Some(cluster) = &mut self.cluster {
            cluster.stop();
        }
        let stamp = Stamp { parameters, migrations: seed::migrations(), seeding: seeding.clone() };
        std::fs::write(self.stamp_file(), serde_json::to_string_pretty(&stamp).expect("JSON")).expect("a stamp");
        (world, seeding)
    }

    /// The database of a name, with the schema.
    fn open(&self, name: &str) -> Db {
        let url: DatabaseUrl = self.url(name).parse().expect("a URL");
        self.runtime.block_on(async {
            let db = Db::open(&url, 2, Duration::from_secs(5)).expect("the database opens");
            db.migrate().await.expect("the schema");
            db
        })
    }

    /// The name of the database that is measured: a copy, so that what is written in a run is in no later one. The
    /// largest is used itself: what a run adds is little beside it.
    fn measured(&mut self) -> String {
        let base = self.base();
        if let Some(cluster) = &mut self.cluster {
            cluster.run(Mode::Durable);
        }
        if self.size > LARGEST_KEPT {
            return base;
        }
        self.remove("measured");
        match &self.cluster {
            None => {
                for extension in ["db", "db-wal"] {
                    let from = self.file(&base).with_extension(extension);
                    if from.exists() {
                        std::fs::copy(from, self.file("measured").with_extension(extension)).expect("a copy");
                    }
                }
            }
            Some(cluster) => {
                cluster.execute("postgres", &format!("CREATE DATABASE measured TEMPLATE {base} STRATEGY file_copy"));
                cluster.execute("postgres", "CHECKPOINT");
            }
        }
        "measured".into()
    }

    fn settings(&self, name: &str) -> Settings {
        let mut environment = vec![
            ("DATABASE_URL".into(), self.url(name)),
            // What is resolved stays so for a year: otherwise a server would begin to close what has been resolved for
            // a week.
            ("SKRANKE_CLOSE_AFTER_S".into(), "31536000".into()),
            // One token asks for all: what it asks is counted, but never too much.
            ("SKRANKE_REQUESTS_PER_PRINCIPAL".into(), "10000000".into()),
            ("SKRANKE_REQUESTS_PER_ADDRESS".into(), "10000000".into()),
        ];
        if self.engine == Engine::Postgres {
            let key = signing_key(&self.arguments.dir).to_string_lossy().into_owned();
            environment.push(("SKRANKE_SIGNING_KEY_FILE".into(), key));
        }
        Settings {
            program: PathBuf::from(env!("CARGO_BIN_EXE_skranke")),
            environment,
            log: self.scratch.join("server.log"),
        }
    }

    /// Searches in a desk that is filled over HTTP, as desks are: made-up tickets come into the index of words in
    /// another way.
    fn filled(&mut self) {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_skranke"));
        let mut command =
            Settings { program: "tests/load/search.sh".into(), environment: Vec::new(), log: PathBuf::new() }.command();
        command.arg(self.engine.name()).arg(self.size.to_string()).arg(self.arguments.results.join(report::FILLED));
        command.current_dir(env!("CARGO_MANIFEST_DIR")).env("SKRANKE_TEST_PROGRAM", program);
        if let Some(cluster) = &mut self.cluster {
            cluster.run(Mode::Durable);
            command.env("SKRANKE_TEST_POSTGRES", cluster.url("postgres"));
        }
        // It ends with 1 when something is slower than is said, which the report says, too.
        let _ = command.status().unwrap_or_else(|e| fail(&format!("cannot run {command:?}: {e}")));
    }

    fn measure(mut self) {
        if self.arguments.wants("filled") && self.size <= LARGEST_KEPT {
            self.filled();
        }
        if !PARTS.iter().any(|part| *part != "filled" && self.arguments.wants(part)) {
            return;
        }
        let (world, seeding) = self.seeded();
        let arguments = self.arguments;
        if !["growth", "limits", "process"].iter().any(|part| arguments.wants(part)) {
            return;
        }
        let name = self.measured();
        let settings = self.settings(&name);
        let mut token = settings.command();
        token.args([
            "token",
            "--role",
            "agent",
            "--email",
            "bench@example.org",
            "--name",
            "Bench",
            "--ttl-s",
            "2592000",
        ]);
        let token = output(&mut token).trim().to_owned();
        let client = Client::new(self.runtime.clone(), token.clone());
        let wrk = Wrk::new(&self.scratch, token);
        let mut results = Results {
            engine: self.engine.name().into(),
            size: self.size,
            date: arguments.date.clone().unwrap_or_else(|| {
                skranke::kernel::Clock::system().now().to_string().split('T').next().unwrap_or_default().to_owned()
            }),
            command: command(),
            quick: arguments.quick,
            machine: self.machine(),
            seeding,
            measures: Vec::new(),
            compared: Vec::new(),
            process: None,
        };
        let bench = Bench { session: &self, world: &world, client, wrk, settings, name: name.clone() };
        if arguments.wants("growth") || arguments.wants("process") {
            let server = Server::start(&bench.settings);
            if arguments.wants("growth") {
                bench.growth(&server, &mut results);
            }
            if arguments.wants("process") {
                results.process = Some(bench.process(server));
            }
            results.clone().keep(&arguments.results);
        }
        if arguments.wants("limits") {
            bench.limits(&mut results);
            results.clone().keep(&arguments.results);
        }
        drop(bench);
        if name != self.base() || !arguments.keep {
            if name == self.base() {
                let _ = std::fs::remove_file(self.stamp_file());
            }
            self.remove(&name);
        }
    }

    fn machine(&self) -> Machine {
        let mut versions = vec![format!("Skranke {}", env!("CARGO_PKG_VERSION")), sqlite::version()];
        versions.extend(self.cluster.as_ref().map(Cluster::version));
        // Whichever engine it is: so that the results of both show one machine.
        let settings = if self.cluster.is_some() { postgres::settings() } else { Vec::new() };
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Machine::this(&self.arguments.dir, versions, settings)
    }
}

/// The command as it would be typed again.
fn command() -> String {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let rest = if words.is_empty() { String::new() } else { format!(" -- {}", words.join(" ")) };
    format!("cargo bench --bench size{rest}")
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    if values.is_empty() { 0.0 } else { values[values.len() / 2] }
}

/// A server that answers everything with the same bytes.
struct Memory {
    running: Running,
    url: String,
}

impl Memory {
    fn start(bytes: &Path) -> Self {
        let port = procs::free_port();
        let mut command = load::oneself();
        let mut running = Running::start(command.args(["bytes", &port.to_string()]).arg(bytes), "TERM");
        procs::wait_for_port(port, &mut running);
        Self { running, url: format!("http://127.0.0.1:{port}") }
    }

    /// The processor time of an answer, in microseconds.
    fn cost(&self, wrk: &Wrk, file: &Path, connections: usize, seconds: u64) -> f64 {
        let began_us = self.running.cpu_us();
        let run = wrk.run(&self.url, file, connections, seconds);
        (self.running.cpu_us() - began_us) / run.requests as f64
    }
}

/// What is held against a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Figure {
    /// The processor time of a request, in microseconds: less is better.
    CpuUs,
    /// How many there are a second: more is better.
    Rate,
}

/// What measuring needs.
struct Bench<'a> {
    session: &'a Session<'a>,
    world: &'a World,
    client: Client,
    wrk: Wrk,
    settings: Settings,
    name: String,
}

impl Bench<'_> {
    fn engine(&self) -> Engine {
        self.session.engine
    }

    /// Asks for the tickets by id before it counts: there are as many of them at each size, but of the largest the file
    /// does not fit into memory, and what is measured is the database, not the disk.
    fn warm(&self, server: &Server, scenarios: &[Scenario]) {
        const WARM_S: u64 = 30;
        let Some(tickets) = scenarios.iter().find(|scenario| scenario.id == "ticket") else { return };
        if self.session.size > LARGEST_KEPT {
            let file = self.wrk.prepare(tickets.id, &tickets.groups);
            self.wrk.run(&server.url(), &file, MOST, WARM_S);
        }
    }

    /// Every kind of request, at each number of connections.
    fn growth(&self, server: &Server, results: &mut Results) {
        let arguments = self.session.arguments;
        let mut scenarios = scenarios::all(self.world, &self.client, &server.url());
        scenarios.retain(|scenario| arguments.wants_request(scenario.id));
        scenarios.retain(|scenario| self.session.has_words() || !scenario.id.starts_with("search"));
        self.warm(server, &scenarios);
        // What writes comes last, so that all else sees the database as it was filled.
        scenarios.sort_by_key(|scenario| ["create", "comment", "mixed"].contains(&scenario.id));
        let (writing, reading): (Vec<_>, Vec<_>) =
            scenarios.into_iter().partition(|s| ["create", "comment", "mixed"].contains(&s.id));
        for group in [reading, writing] {
            let there: Vec<(Scenario, Duration)> =
                group.into_iter().filter_map(|scenario| self.probe(server, scenario)).collect();
            for connections in CONNECTIONS {
                let rounds = if connections == 1 { arguments.growth_rounds() } else { 1 };
                let mut runs: Vec<Vec<(load::Run, f64)>> = vec![Vec::new(); there.len()];
                for round in 0..rounds {
                    for ((scenario, cost), runs) in there.iter().zip(&mut runs) {
                        // A run of few answers says nothing; but the mixed load has a target.
                        if scenario.id != "mixed"
                            && cost.as_secs_f64() * connections.max(4) as f64 > arguments.seconds() as f64 / 4.0
                        {
                            continue;
                        }
                        let file = self.wrk.prepare(scenario.id, &scenario.groups);
                        if round == 0 {
                            self.wrk.run(&server.url(), &file, connections, 1);
                        }
                        // Merges of the index of words and the like come every few seconds: a short run has one or has
                        // none.
                        let is_judged = scenario.id == "mixed" && connections == MOST;
                        let seconds = arguments.seconds().max(if is_judged { TAIL_S } else { 0 });
                        runs.push(self.cost(server, || self.wrk.run(&server.url(), &file, connections, seconds)));
                    }
                }
                for ((scenario, cost), runs) in there.iter().zip(runs) {
                    let of = |figure: fn(&load::Run) -> f64| median(runs.iter().map(|(run, _)| figure(run)).collect());
                    let mut measure = Measure {
                        id: scenario.id.into(),
                        title: scenario.title.into(),
                        connections,
                        rate: of(load::Run::rate),
                        p50_us: of(|run| run.p50_us),
                        p99_us: of(|run| run.p99_us),
                        cpu_us: (!runs.is_empty()).then(|| median(runs.iter().map(|(_, cpu_us)| *cpu_us).collect())),
                        runs: runs.len(),
                        charted: scenario.charted,
                    };
                    if runs.is_empty() {
                        if connections > 1 {
                            continue;
                        }
                        self.one_by_one(server, scenario, *cost, &mut measure);
                    }
                    println!(
                        "{} {:>4}: {:28} {connections:>2} connections {:>9.0}/s  p50 {:>9.0} µs  p99 {:>9.0} µs  CPU {:>7.0} µs",
                        results.engine,
                        report::short(self.session.size),
                        measure.id,
                        measure.rate,
                        measure.p50_us,
                        measure.p99_us,
                        measure.cpu_us.unwrap_or(0.0)
                    );
                    results.measures.push(measure);
                }
            }
        }
        if let Some(mixed) = results.measures.iter().find(|m| m.id == "mixed" && m.connections == MOST) {
            results.compared.push(Compared {
                id: "mixed".into(),
                title: "mixed load, 64 connections: p99".into(),
                limit: "p50 of the same run".into(),
                ours: mixed.p99_us,
                theirs: mixed.p50_us,
                ratio: mixed.p99_us / mixed.p50_us,
                must: 5.0,
                stretch: 4.0,
                at_most: true,
                rounds: mixed.runs,
                statements: Vec::new(),
            });
        }
    }

    /// What a run comes to, and the processor time of one of its requests, of the server and of PostgreSQL, in
    /// microseconds. What the run has left behind to be done is counted, too.
    fn cost(&self, server: &Server, run: impl FnOnce() -> load::Run) -> (load::Run, f64) {
        let cpu_us = || server.running.cpu_us() + self.session.cluster.as_ref().map_or(0.0, Cluster::cpu_us);
        let began_us = cpu_us();
        let run = run();
        (run, (cpu_us() - began_us) / run.requests as f64)
    }

    /// The first requests: whether they succeed, and what one costs about.
    fn probe(&self, server: &Server, scenario: Scenario) -> Option<(Scenario, Duration)> {
        let mut rng = Rng::of(1, 1, scenario.id.len() as u64);
        let mut costs = Vec::new();
        for (_, lines) in &scenario.groups {
            for nth in 0..3 {
                let key = format!("probe-{}-{nth}-{}", scenario.id, skranke::kernel::Clock::system().now().micros());
                let line = &lines[rng.below(lines.len())];
                let reply = self.client.send(&server.url(), line, &key);
                if scenario.optional && reply.status == 400 {
                    println!("{}: this server does not have it yet ({} is 400)", scenario.title, line.path);
                    return None;
                }
                if !(200..300).contains(&reply.status) {
                    let body = String::from_utf8_lossy(&reply.body);
                    fail(&format!("{}: {} {} gives {} {body}", scenario.id, line.method, line.path, reply.status));
                }
                costs.push(reply.took.as_secs_f64());
            }
        }
        Some((scenario, Duration::from_secs_f64(median(costs))))
    }

    /// Times what takes too long for a load generator: a few requests, one after the other.
    fn one_by_one(&self, server: &Server, scenario: &Scenario, cost: Duration, measure: &mut Measure) {
        let count = (5.0 / cost.as_secs_f64()).clamp(3.0, 50.0) as usize;
        let mut rng = Rng::of(2, 2, 2);
        let lines = &scenario.groups[0].1;
        let times = (0..count).map(|_| {
            let line = &lines[rng.below(lines.len())];
            self.client.expect(&server.url(), line, "").took.as_secs_f64() * 1e6
        });
        let mut times: Vec<f64> = times.collect();
        times.sort_by(f64::total_cmp);
        measure.rate = count as f64 * 1e6 / times.iter().sum::<f64>();
        measure.p50_us = times[count / 2];
        measure.p99_us = times[count - 1];
    }

    /// Memory after load over 64 connections, and how long a start takes.
    fn process(&self, server: Server) -> Process {
        let all = scenarios::all(self.world, &self.client, &server.url());
        for scenario in all.iter().filter(|scenario| ["ticket", "mixed"].contains(&scenario.id)) {
            let file = self.wrk.prepare(scenario.id, &scenario.groups);
            self.wrk.run(&server.url(), &file, MOST, self.session.arguments.seconds());
        }
        let (resident_kib, peak_kib) = (server.running.memory_kib("VmRSS"), server.running.memory_kib("VmHWM"));
        drop(server);
        let starts = (0..10).map(|_| Server::start(&self.settings).ready.as_secs_f64() * 1e3);
        let process = Process { resident_kib, peak_kib, ready_ms: median(starts.collect()) };
        println!("{process:?}");
        process
    }

    fn limits(&self, results: &mut Results) {
        match self.engine() {
            Engine::Sqlite => self.sqlite_limits(results),
            Engine::Postgres => self.postgres_limits(results),
        }
    }

    /// The pairs of requests whose statements are taken.
    fn asked(&self) -> Vec<(&'static str, [Line; 2])> {
        let numbers = scenarios::by_number(self.world);
        let mut asked: Vec<_> = vec![("ticket", [numbers[0].clone(), numbers[1].clone()])];
        asked.extend(scenarios::pages(self.world).into_iter().map(|(id, _, line)| (id, [line.clone(), line])));
        let create = scenarios::create(self.world, &mut Rng::of(3, 3, 3));
        asked.push(("create", [create.clone(), create]));
        asked
    }

    /// On SQLite all that a request costs is the server's own: it is held against what the same answer and the same
    /// statements cost without it. Rates would tell more of the load generator, which shares the cores.
    fn sqlite_limits(&self, results: &mut Results) {
        let path = self.session.file(&self.name);
        let (scripts, pragmas) =
            limits::capture_sqlite(&self.settings, &self.session.scratch, &self.client, &self.asked());
        let seconds = self.session.arguments.seconds();
        let size = self.session.size;
        let server = Server::start(&self.settings);
        let ours = |file: &Path, connections| {
            let (_, cpu_us) = self.cost(&server, || self.wrk.run(&server.url(), file, connections, seconds));
            cpu_us
        };
        let bare = |id: &str| limits::sqlite_rate(&path, &pragmas, &scripts[id], size, 1, seconds).cpu_us;

        let by_id = scenarios::by_id(self.world);
        let memory = self.memory_with(&server, &by_id[0]);
        let file = self.wrk.prepare("by-id", &[(1.0, by_id)]);
        self.compare(
            results,
            Figure::CpuUs,
            ("ticket", "ticket by id, 64 connections", "(a) the same bytes from memory", 1.8, 1.5),
            Vec::new(),
            || ours(&file, MOST),
            || memory.cost(&self.wrk, &file, MOST, seconds),
        );
        drop(memory);

        for (id, title, line) in scenarios::pages(self.world) {
            let memory = self.memory_with(&server, &line);
            let file = self.wrk.prepare(id, &[(1.0, vec![line])]);
            self.compare(
                results,
                Figure::CpuUs,
                (id, title, "(c) bare loop, and the same bytes from memory", 1.6, 1.3),
                scripts[id].texts(),
                || ours(&file, PAGED),
                || bare(id) + memory.cost(&self.wrk, &file, PAGED, seconds),
            );
        }
        let file = self.prepare_creates();
        self.compare(
            results,
            Figure::CpuUs,
            ("create", "durable create, 64 connections", "(c) the same statements", 1.5, 1.2),
            scripts["create"].texts(),
            || ours(&file, MOST),
            || bare("create"),
        );
        self.compare(
            results,
            Figure::Rate,
            (
                "create-rate",
                "durable create, 64 connections, a second",
                "(c) the same statements, a transaction for each, one thread",
                3.0,
                5.0,
            ),
            scripts["create"].texts(),
            || self.wrk.run(&server.url(), &file, MOST, seconds).rate(),
            || limits::sqlite_rate(&path, &pragmas, &scripts["create"], size, 1, seconds).rate,
        );
    }

    /// A server that answers everything with the bytes that ours answers to `line`.
    fn memory_with(&self, server: &Server, line: &Line) -> Memory {
        let bytes = self.session.scratch.join("bytes.json");
        std::fs::write(&bytes, self.client.expect(&server.url(), line, "").body).expect("the bytes");
        Memory::start(&bytes)
    }

    fn postgres_limits(&self, results: &mut Results) {
        let cluster = self.session.cluster.as_ref().expect("PostgreSQL");
        let scripts = limits::capture_postgres(cluster, &self.settings, &self.client, &self.asked());
        let seconds = self.session.arguments.seconds();
        let server = Server::start(&self.settings);
        let folder = &self.session.scratch;
        let to = limits::Pgbench { cluster, database: &self.name, folder, size: self.session.size, seconds };
        let bare = |id: &'static str, clients| limits::postgres_rate(&to, id, &scripts[id], clients);
        let file = self.wrk.prepare("by-number", &[(1.0, scenarios::by_number(self.world))]);
        self.compare(
            results,
            Figure::Rate,
            ("ticket", "ticket by number, 64 connections", "(b) pgbench, prepared, 64 clients", 0.70, 1.0),
            scripts["ticket"].texts(),
            || self.wrk.run(&server.url(), &file, MOST, seconds).rate(),
            || bare("ticket", MOST),
        );
        for (id, title, line) in scenarios::pages(self.world) {
            let file = self.wrk.prepare(id, &[(1.0, vec![line])]);
            self.compare(
                results,
                Figure::Rate,
                (id, title, "(b) pgbench, prepared, 16 clients", 0.50, 0.65),
                scripts[id].texts(),
                || self.wrk.run(&server.url(), &file, PAGED, seconds).rate(),
                || bare(id, PAGED),
            );
        }
        let file = self.prepare_creates();
        self.compare(
            results,
            Figure::Rate,
            ("create", "create, 64 connections", "(b) pgbench, the same transaction, 64 clients", 1.0, 2.0),
            scripts["create"].texts(),
            || self.wrk.run(&server.url(), &file, MOST, seconds).rate(),
            || bare("create", MOST),
        );
    }

    fn prepare_creates(&self) -> PathBuf {
        let mut rng = Rng::of(4, 4, 4);
        let lines = (0..2_000).map(|_| scenarios::create(self.world, &mut rng)).collect();
        self.wrk.prepare("create", &[(1.0, lines)])
    }

    /// A figure of ours and that of the limit, in turn: what a request costs, or how many there are a second.
    fn compare(
        &self,
        results: &mut Results,
        figure: Figure,
        (id, title, limit, must, stretch): (&str, &str, &str, f64, f64),
        statements: Vec<String>,
        ours: impl Fn() -> f64,
        theirs: impl Fn() -> f64,
    ) {
        let began = Instant::now();
        let at_most = figure == Figure::CpuUs;
        let rounds = self.session.arguments.limit_rounds();
        // The first ones warm up.
        ours();
        theirs();
        let (ours, theirs): (Vec<f64>, Vec<f64>) = (0..rounds).map(|_| (ours(), theirs())).unzip();
        let (ours, theirs) = (median(ours), median(theirs));
        let ratio = ours / theirs;
        let reached = |wanted: f64| if at_most { ratio <= wanted } else { ratio >= wanted };
        let verdict = match (reached(must), reached(stretch)) {
            (_, true) => "met, stretch too",
            (true, false) => "met",
            (false, false) => "NOT met",
        };
        let unit = if at_most { " µs" } else { "/s" };
        println!(
            "{} {:>4}: {title}: {ours:.0}{unit} against {theirs:.0}{unit} of {limit}: {ratio:.2}, must {must}, stretch {stretch}: {verdict} ({:.0} s)",
            results.engine,
            report::short(self.session.size),
            began.elapsed().as_secs_f64()
        );
        results.compared.push(Compared {
            id: id.into(),
            title: title.into(),
            limit: limit.into(),
            ours,
            theirs,
            ratio,
            must,
            stretch,
            at_most,
            rounds,
            statements,
        });
    }
}
