//! The binary as a newcomer runs it: a process with a clean environment in a folder of its own.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::app::config::SETTINGS;
use skranke::auth::keys::SigningKey;
use skranke::db::DatabaseUrl;

use crate::support::{Answer, Ask, Caller, Engine, Hold, Store, untimed};

/// How long anything may take on a busy machine before the test gives up.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Asks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Where processes run: a folder, and the settings that are not the defaults.
pub struct Place {
    folder: tempfile::TempDir,
    settings: Vec<(String, OsString)>,
    count: AtomicU64,
}

/// A process and what it has written; it does not outlive the test.
pub struct Process {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

/// What a process left behind.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// A process that serves.
pub struct Server {
    pub process: Process,
    pub url: String,
}

impl Place {
    /// A folder where the server would listen on any free port.
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap(), settings: vec![], count: AtomicU64::new(0) };
        place.with("SKRANKE_LISTEN", "127.0.0.1:0")
    }

    /// A place that works on `store`, with a key if there cannot be one beside the database.
    pub fn on(store: &Store) -> Self {
        let place = Self::new().with("DATABASE_URL", store.url_text()).with("SKRANKE_DATABASE_POOL_SIZE", "5");
        match store.url {
            DatabaseUrl::Sqlite(_) => place,
            DatabaseUrl::Postgres(_) => place.with("SKRANKE_SIGNING_KEY", SigningKey::generate_pem().unwrap().reveal()),
        }
    }

    pub fn with(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.settings.retain(|(other, _)| other != key);
        self.settings.push((key.into(), value.into()));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.settings.retain(|(other, _)| other != key);
        self
    }

    /// Takes over the settings of another place.
    pub fn take_settings(&mut self, other: &Self) {
        self.settings.clone_from(&other.settings);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn spawn(&self, program: impl AsRef<OsStr>, arguments: &[&str], input: &str) -> Process {
        let count = self.count.fetch_add(1, Ordering::SeqCst);
        let [out, err] = ["out", "err"].map(|stream| self.path(&format!("{count}.{stream}")));
        let mut child = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .envs(self.settings.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(&out).unwrap())
            .stderr(std::fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap_or_default();
        Process { child, out, err }
    }

    /// Runs a command to its end.
    pub async fn run(&self, arguments: &[&str]) -> Done {
        self.spawn(env!("CARGO_BIN_EXE_skranke"), arguments, "").end().await
    }

    /// What a command prints, which must end well.
    pub async fn print(&self, arguments: &[&str]) -> String {
        let done = self.run(arguments).await;
        assert_eq!(done.code, Some(0), "{done:?}");
        done.out
    }

    /// Starts a server and waits until it listens.
    pub async fn start(&self) -> Server {
        Server::of(self.spawn(env!("CARGO_BIN_EXE_skranke"), &[], "")).await
    }

    /// A token of a person who is made if missing.
    pub async fn person(&self, role: &str) -> Caller {
        let out =
            self.print(&["token", "--role", role, "--email", &format!("{role}@example.org"), "--name", role]).await;
        caller(&out)
    }
}

/// Whoever has this token, which must be all that was printed.
pub fn caller(out: &str) -> Caller {
    let jwt = regex::Regex::new(r"\A[\w-]+\.[\w-]+\.[\w-]+\n\z").unwrap();
    assert!(jwt.is_match(out), "a token and nothing else: {out:?}");
    Caller { id: String::new(), name: String::new(), token: out.trim_end().into() }
}

impl Process {
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    pub fn err(&self) -> String {
        std::fs::read_to_string(&self.err).unwrap()
    }

    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    pub async fn end(mut self) -> Done {
        let status = until("the end of the process", async || self.ended()).await;
        Done { code: status.code(), out: self.out(), err: self.err() }
    }

    pub fn terminate(&self) {
        // The shell's own `kill`: not every machine has the program.
        let sent = Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap();
        assert!(sent.success());
    }
}

impl Process {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut does (SIGKILL), and waits until it is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Whether it had ended before does not matter.
        self.child.kill().unwrap_or_default();
        self.child.wait().ok();
    }
}

impl Server {
    pub async fn of(mut process: Process) -> Self {
        let address = regex::Regex::new(r"listens on (http://\S+)\n(.*\n)*.* token .*\n").unwrap();
        let url = until("the greeting", async || {
            let greeting = process.out();
            let found = address.captures(&greeting).map(|found| found[1].to_owned());
            assert!(found.is_some() || process.ended().is_none(), "it ended: {}{}", process.out(), process.err());
            found
        })
        .await;
        Self { process, url }
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        Ask(reqwest::Client::new().request(method, format!("{}{path}", self.url)).header("connection", "close"))
    }

    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Ask {
        self.ask(Method::POST, path)
    }

    pub fn patch(&self, path: &str) -> Ask {
        self.ask(Method::PATCH, path)
    }

    /// The most memory that it has had so far, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub async fn is_ready(&self) -> bool {
        self.get("/health/ready").send().await.status == 200
    }

    pub async fn open(&self, who: &Caller) -> Answer {
        self.post("/v1/tickets").by(who).json(&json!({ "subject": "The printer is on fire" })).expect(201).await
    }

    /// Ends it as an operator does, and in order.
    pub async fn stop(self) -> Done {
        self.process.terminate();
        let done = self.process.end().await;
        assert_eq!(done.code, Some(0), "{done:?}");
        done
    }
}

fn kid(answer: &Answer) -> String {
    answer.body["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_newcomer_starts_it_makes_a_token_and_opens_a_ticket() {
    let place = Place::new();
    // As in "My Projects": what is printed can be pasted all the same.
    let program = place.path("my tools").join("skranke");
    std::fs::create_dir(program.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_skranke"), &program).unwrap();
    let server = Server::of(place.spawn(&program, &[], "")).await;
    let greeting = server.process.out();
    let lines: Vec<_> = greeting.lines().collect();
    assert!((3..=6).contains(&lines.len()) && lines.iter().all(|line| line.len() < 200), "{greeting}");
    assert!(greeting.contains("data/skranke.db") && greeting.contains(&format!("{}/docs/", server.url)), "{greeting}");
    assert!(server.is_ready().await);
    let docs = reqwest::get(format!("{}/docs/", server.url)).await.unwrap();
    assert!(docs.status() == 200 && docs.headers()["content-type"].to_str().unwrap().starts_with("text/html"));

    let command = lines.iter().find_map(|line| line.trim().strip_prefix("token")).unwrap().trim();
    let made = place.spawn("sh", &["-c", command], "").end().await;
    assert_eq!(made.code, Some(0), "{command}: {made:?}");
    let me = caller(&made.out);
    let opened = server.open(&me).await;
    let ticket = &opened.body;
    assert_eq!((&ticket["number"], &ticket["requester"]["name"]), (&json!(1), &json!("Your Name")));

    let key = place.path("data/skranke.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let pem = std::fs::read(&key).unwrap();
    let done = server.stop().await;
    assert_eq!(done.out, greeting);

    let server = place.start().await;
    assert_eq!(untimed(&server.get("/v1/tickets/1").by(&me).expect(200).await), untimed(&opened));
    assert_eq!(server.open(&me).await.body["number"], 2);
    assert_eq!(std::fs::read(&key).unwrap(), pem);
    let mut files: Vec<_> =
        std::fs::read_dir(place.path("data")).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.retain(|name| !name.to_string_lossy().starts_with("skranke.db"));
    files.sort();
    assert_eq!(files, ["skranke.key", "skranke.lock"]);
    server.stop().await;
}

/// What was begun before SIGTERM is finished after it.
async fn is_finished(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let agent = place.person("agent").await;
    let hold: Hold = store.hold().await;

    let address = server.url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let body = r#"{"subject": "begun"}"#;
    let head = format!(
        "POST /v1/tickets HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nexpect: 100-continue\r\n\r\n",
        agent.token,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    // The server has taken the request on when it asks for its body.
    let mut answer = [0; 25];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(body.as_bytes()).unwrap();
    server.process.terminate();
    until("the server to take no new requests", async || TcpStream::connect(address).err()).await;
    hold.release().await;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201 Created"), "{answer}");
    let done = server.process.end().await;
    assert_eq!(done.code, Some(0), "{done:?}");

    let server = place.start().await;
    assert_eq!(server.get("/v1/tickets/1").by(&agent).expect(200).await.body["subject"], "begun");
    server.stop().await;
    store.drop().await;
}

#[tokio::test]
async fn what_was_begun_is_finished_after_sigterm_on_sqlite() {
    is_finished(Engine::Sqlite).await;
}

#[tokio::test]
async fn what_was_begun_is_finished_after_sigterm_on_postgres() {
    is_finished(Engine::Postgres).await;
}

#[tokio::test]
async fn a_wrong_setting_is_named_and_ends_it_before_it_listens() {
    const PG: (&str, &str) = ("DATABASE_URL", "postgres://skranke:hunter2@127.0.0.1:1/skranke");
    let short = r#"[{ "issuer": "https://id.example", "algorithms": ["HS256"], "secret": "hunter2" }]"#;
    let mistyped = r#"[{ "issuer": "https://id.example", "secret": ["hunter2"] }]"#;
    for (settings, named) in [
        (vec![("SKRANKE_LISTEN", "hunter2")], vec!["SKRANKE_LISTEN should be ADDRESS:PORT"]),
        (vec![("SKRANKE_MIGRATE_ON_START", "hunter2")], vec!["SKRANKE_MIGRATE_ON_START should be true or false"]),
        (vec![("SKRANKE_SIGNING_KEY", "hunter2")], vec!["SKRANKE_SIGNING_KEY should be", "Ed25519"]),
        (vec![("SKRANKE_PREVIOUS_SIGNING_KEY", "hunter2")], vec!["SKRANKE_PREVIOUS_SIGNING_KEY should be", "Ed25519"]),
        (vec![("SKRANKE_SIGNING_KEY_FILE", "nowhere.key")], vec!["SKRANKE_SIGNING_KEY_FILE should name a file"]),
        (
            vec![("SKRANKE_SIGNING_KEY_FILE", "/proc/self/environ")],
            vec!["SKRANKE_SIGNING_KEY_FILE should be", "Ed25519"],
        ),
        (
            vec![("SKRANKE_SIGNING_KEY", "hunter2"), ("SKRANKE_SIGNING_KEY_FILE", "a.key")],
            vec!["SKRANKE_SIGNING_KEY ", "SKRANKE_SIGNING_KEY_FILE"],
        ),
        (
            vec![("SKRANKE_ISSUER", ""), ("SKRANKE_AUDIENCE", "")],
            vec!["SKRANKE_ISSUER should", "SKRANKE_AUDIENCE should"],
        ),
        (vec![("SKRANKE_ACCESS_TOKEN_TTL_S", "59")], vec!["SKRANKE_ACCESS_TOKEN_TTL_S should", "60", "86400"]),
        (vec![("SKRANKE_REFRESH_TOKEN_TTL_S", "1.5")], vec!["SKRANKE_REFRESH_TOKEN_TTL_S should"]),
        (vec![("SKRANKE_ISSUERS", "hunter2")], vec!["SKRANKE_ISSUERS should be a JSON array"]),
        (vec![("SKRANKE_ISSUERS", short)], vec!["SKRANKE_ISSUERS", "secret should have at least 32 bytes"]),
        (vec![("SKRANKE_ISSUERS", mistyped)], vec!["SKRANKE_ISSUERS"]),
        (vec![("SKRANKE_CORS_ORIGINS", "*")], vec!["SKRANKE_CORS_ORIGINS should be origins"]),
        (
            vec![("SKRANKE_CLOSE_AFTER_S", "-1"), ("SKRANKE_BODY_LIMIT_B", "0")],
            vec!["SKRANKE_CLOSE_AFTER_S should", "SKRANKE_BODY_LIMIT_B should"],
        ),
        (
            vec![("SKRANKE_DATABASE_POOL_SIZE", "3"), ("SKRANKE_DATABASE_WAIT_S", "61")],
            vec!["SKRANKE_DATABASE_POOL_SIZE should be a whole number from 4", "SKRANKE_DATABASE_WAIT_S should"],
        ),
        (
            vec![
                ("DATABASE_URL", "postgres://a@localhost/a"),
                ("DATABASE_REPLICA_URL", "postgres://a@localhost/a"),
                ("SKRANKE_DATABASE_POOL_SIZE", "4"),
            ],
            vec!["SKRANKE_DATABASE_POOL_SIZE should be a whole number from 5"],
        ),
        (
            vec![("SKRANKE_WORKERS", "many"), ("SKRANKE_SHUTDOWN_S", "")],
            vec!["SKRANKE_WORKERS should", "SKRANKE_SHUTDOWN_S should"],
        ),
        (vec![("SKRANKE_OTLP_ENDPOINT", "hunter2")], vec!["SKRANKE_OTLP_ENDPOINT should be the address"]),
        (vec![("SKRANKE_LOG", "verbose")], vec!["SKRANKE_LOG should be"]),
        (vec![("SKRANKE_LOG_FORMAT", "xml")], vec!["SKRANKE_LOG_FORMAT should be pretty, json or auto"]),
        (
            vec![("DATABASE_URL", "mysql://root:hunter2@localhost/skranke")],
            vec!["DATABASE_URL should be sqlite://PATH", "postgres://"],
        ),
        (vec![("DATABASE_URL", "sqlite://")], vec!["DATABASE_URL should be"]),
        (vec![("DATABASE_URL", "sqlite:///dev/null/skranke.db")], vec!["DATABASE_URL"]),
        (
            vec![("DATABASE_URL", "postgres://skranke:hunter2@localhost:hunter2/skranke")],
            vec!["DATABASE_URL should be"],
        ),
        (
            vec![("DATABASE_URL", "postgres://skranke:hunter2@localhost/skranke?sslmode=hunter2")],
            vec!["DATABASE_URL should be", "sslmode"],
        ),
        // Several instances share PostgreSQL, so the key must be given.
        (vec![PG], vec!["SKRANKE_SIGNING_KEY", "SKRANKE_SIGNING_KEY_FILE", "PostgreSQL"]),
        (vec![("SKRANKE_CONFIG", "nowhere.toml")], vec!["SKRANKE_CONFIG", "nowhere.toml"]),
        (
            vec![("SKRANKE_LISTEM", "hunter2"), ("SKRANKE_WORKERS", "x")],
            vec!["SKRANKE_LISTEM is no setting; the nearest is SKRANKE_LISTEN", "--help"],
        ),
        // All at once.
        (
            vec![
                ("DATABASE_URL", "mysql://"),
                ("SKRANKE_LISTEN", "x"),
                ("SKRANKE_TYPO", "1"),
                ("SKRANKE_SIGNING_KEY", "hunter2"),
                ("SKRANKE_WORKERS", "-1"),
                ("SKRANKE_LOG", "a = b ="),
            ],
            vec![
                "DATABASE_URL ",
                "SKRANKE_LISTEN ",
                "SKRANKE_TYPO ",
                "SKRANKE_SIGNING_KEY ",
                "SKRANKE_WORKERS ",
                "SKRANKE_LOG ",
            ],
        ),
    ] {
        let place = settings.iter().fold(Place::new(), |place, (key, value)| place.with(key, *value));
        let done = place.run(&[]).await;
        assert_eq!((done.code, &*done.out), (Some(2), ""), "{settings:?}: {done:?}");
        for words in named {
            assert!(done.err.contains(words), "{settings:?}: {words} is not in {}", done.err);
        }
        assert!(!done.err.contains("hunter2"), "{settings:?}: {}", done.err);
        assert!(done.err.lines().count() <= settings.len().max(2), "a line each: {}", done.err);
        assert!(!place.path("data").exists(), "{settings:?}");
    }
    let garbled = Place::new().with("SKRANKE_LISTEN", OsStr::from_bytes(b"\xff")).run(&[]).await;
    assert!(garbled.code == Some(2) && garbled.err.contains("SKRANKE_LISTEN should"), "{garbled:?}");
}

#[tokio::test]
async fn it_starts_beside_a_service_of_its_name_and_warns_of_what_is_no_setting() {
    // As in a pod beside a Service `skranke` of Kubernetes.
    let place = [
        ("SKRANKE_SERVICE_HOST", "10.96.0.17"),
        ("SKRANKE_SERVICE_PORT", "8080"),
        ("SKRANKE_SERVICE_PORT_HTTP", "8080"),
        ("SKRANKE_PORT", "tcp://10.96.0.17:8080"),
        ("SKRANKE_PORT_8080_TCP", "tcp://10.96.0.17:8080"),
        ("SKRANKE_PORT_8080_TCP_PROTO", "tcp"),
        ("SKRANKE_PORT_8080_TCP_PORT", "8080"),
        ("SKRANKE_PORT_8080_TCP_ADDR", "10.96.0.17"),
    ]
    .into_iter()
    .fold(Place::new(), |place, (key, value)| place.with(key, value));
    let server = place.start().await;
    server.get("/health/live").expect(200).await;
    assert!(!server.process.err().contains("no setting"), "{}", server.process.err());
    server.stop().await;
    let place = place.with("SKRANKE_LISTEM", "hunter2");
    let server = place.start().await;
    server.get("/health/live").expect(200).await;
    let told =
        until("the warning", async || Some(server.process.err()).filter(|err| err.contains("SKRANKE_LISTEM"))).await;
    let warning = told.lines().find(|line| line.contains("SKRANKE_LISTEM")).unwrap();
    let warning: Value = serde_json::from_str(warning).unwrap();
    assert_eq!((&warning["level"], &warning["nearest"]), (&json!("WARN"), &json!("SKRANKE_LISTEN")));
    assert!(!told.contains("hunter2") && !told.contains("SERVICE_HOST"), "{told}");
    server.stop().await;
    let checked = place.print(&["check"]).await;
    assert!(checked.contains("SKRANKE_LISTEM is no setting; the nearest is SKRANKE_LISTEN"), "{checked}");
    assert!(!checked.contains("hunter2"), "{checked}");
}

#[tokio::test]
async fn the_file_that_skranke_config_names_is_read() {
    let place = Place::new().with("SKRANKE_CONFIG", "skranke.toml");
    let write = |text: &str| std::fs::write(place.path("skranke.toml"), text).unwrap();
    write(
        "database_url = \"sqlite://elsewhere/desk.db\"\nlisten = \"127.0.0.1:1\"\nbody_limit_b = 1024\naudience = \"desk\"\nclose_after_s = 60\n",
    );
    // The environment wins: nobody may listen on port 1 here.
    let server = place.start().await;
    assert!(place.path("elsewhere/desk.db").exists() && place.path("elsewhere/desk.key").exists());
    let agent = place.person("agent").await;
    server.open(&agent).await;
    let large = json!({ "subject": "s", "description": "x".repeat(2000) });
    server.post("/v1/tickets").by(&agent).json(&large).refused(413, "body_too_large").await;
    server.stop().await;
    for (text, named) in [
        ("lisen = \"127.0.0.1:1\"\n", "lisen is no setting"),
        ("workers = \"many\"\n", "SKRANKE_WORKERS should"),
        ("workers = 1.5\n", "workers should be"),
        ("signing_key = \"hunter2\"\n", "SKRANKE_SIGNING_KEY should be"),
        ("signing_key = \"hunter2\n", "skranke.toml"),
        ("[[issuers]]\nissuer = \"https://id.example\"\nsecret = [\"hunter2\"]\n", "issuers"),
        (
            "[[issuers]]\nissuer = \"https://id.example\"\nsecret = \"hunter2\"\nalgorithms = [\"HS256\"]\n",
            "secret should have at least 32 bytes",
        ),
    ] {
        write(text);
        let done = place.run(&[]).await;
        assert_eq!((done.code, &*done.out), (Some(2), ""), "{text}: {done:?}");
        assert!(done.err.contains(named), "{text}: {}", done.err);
        assert!(!done.err.contains("hunter2"), "{text}: {}", done.err);
    }
}

#[tokio::test]
async fn it_tells_its_version_its_settings_and_its_document() {
    let place = Place::new();
    assert_eq!(place.print(&["--version"]).await, format!("skranke {}\n", env!("CARGO_PKG_VERSION")));
    let help = place.print(&["--help"]).await;
    for setting in SETTINGS {
        assert!(
            help.contains(&format!("  {}", setting.key)) && help.contains(setting.doc),
            "{} is not in --help",
            setting.key
        );
    }
    for command in ["serve", "migrate", "openapi", "token", "admin", "SKRANKE_CONFIG"] {
        assert!(help.contains(command), "{command} is not in --help");
    }
    let checked_in = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/skranke.v1.json")).unwrap();
    assert!(place.print(&["openapi"]).await == checked_in, "run: cargo run -- openapi > openapi/skranke.v1.json");
    for wrong in
        [&["nonsense"][..], &["--nonsense"], &["token"], &["token", "--role", "boss", "--email", "a@b", "--name", "A"]]
    {
        let done = place.run(wrong).await;
        assert_eq!((done.code, &*done.out), (Some(2), ""), "{wrong:?}");
        assert!(!done.err.is_empty());
    }
    assert!(!place.path("data").exists(), "none of this needs a database");
}

/// Ten servers that start on one fresh database at once.
async fn ten_start(store: Store, place: Place) {
    let servers = join_all((0..10).map(|_| place.start())).await;
    let kids: HashSet<_> = join_all(servers.iter().map(async |server| {
        until("readiness", async || server.is_ready().await.then_some(())).await;
        kid(&server.get("/.well-known/jwks.json").expect(200).await)
    }))
    .await
    .into_iter()
    .collect();
    assert_eq!(kids.len(), 1, "all have one key");
    let agent = place.person("agent").await;
    let asks = (0..3).flat_map(|_| servers.iter().map(|server| server.open(&agent)));
    let numbers: HashSet<_> =
        join_all(asks).await.iter().map(|ticket| ticket.body["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers.len(), 30);
    let seen = servers[9].get("/v1/tickets?limit=100").by(&agent).expect(200).await;
    assert_eq!(seen.body["items"].as_array().unwrap().len(), 30);
    join_all(servers.into_iter().map(Server::stop)).await;
    drop(place);
    store.drop().await;
}

#[tokio::test]
async fn ten_processes_start_at_once_on_one_sqlite_file() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    ten_start(store, place).await;
}

#[tokio::test]
async fn ten_processes_start_at_once_on_one_postgres() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let migrations = (0..10).map(|_| place.print(&["migrate"]));
    let (_, printed) = futures::future::join(ten_start_only(&place), join_all(migrations)).await;
    assert!(printed.iter().all(|line| line.starts_with("The schema is up to date; migrations run: ")), "{printed:?}");
    ten_start(store, place).await;
}

/// The same in the race with `skranke migrate`.
async fn ten_start_only(place: &Place) {
    let servers = join_all((0..10).map(|_| place.start())).await;
    join_all(
        servers.iter().map(async |server| until("readiness", async || server.is_ready().await.then_some(())).await),
    )
    .await;
    join_all(servers.into_iter().map(Server::stop)).await;
}

#[tokio::test]
async fn on_postgres_the_schema_waits_for_skranke_migrate() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store);
    let server = place.start().await;
    server.get("/health/live").expect(200).await;
    let refused = server.get("/health/ready").refused(503, "unavailable").await;
    assert!(refused.header("retry-after").is_some());
    let early = place.run(&["token", "--role", "agent", "--email", "a@example.org", "--name", "A"]).await;
    assert_eq!((early.code, &*early.out), (Some(1), ""));
    let all = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/postgres")).unwrap().count();
    let first = place.print(&["migrate"]).await;
    assert_eq!(first, format!("The schema is up to date; migrations run: {all}.\n"));
    server.get("/health/ready").expect(200).await;
    let agent = place.person("agent").await;
    server.open(&agent).await;
    assert_eq!(place.print(&["migrate"]).await, "The schema is up to date; migrations run: 0.\n");
    server.stop().await;
    store.drop().await;
}

/// Two instances on one database, as they run: nobody tells them to close anything.
async fn resolved_tickets_close_by_themselves(store: Store, place: Place) {
    let place = place.with("SKRANKE_CLOSE_AFTER_S", "1");
    let (one, two) = (place.start().await, place.start().await);
    let agent = place.person("agent").await;
    let ticket = one.open(&agent).await.body;
    let path = format!("/v1/tickets/{}", ticket["number"]);
    two.ask(Method::PATCH, &path).by(&agent).json(&json!({ "status": "resolved" })).expect(200).await;
    let closed = until("closing", async || {
        let ticket = one.get(&path).by(&agent).expect(200).await.body;
        (ticket["status"] == "closed").then_some(ticket)
    })
    .await;
    let (resolved_at, closed_at): (skranke::kernel::Instant, skranke::kernel::Instant) = (
        closed["resolved_at"].as_str().unwrap().parse().unwrap(),
        closed["closed_at"].as_str().unwrap().parse().unwrap(),
    );
    assert!(closed_at >= resolved_at.plus_s(1), "{closed}");
    let trail = two.get(&format!("{path}/events")).by(&agent).expect(200).await.body;
    let last = trail["items"].as_array().unwrap().last().unwrap();
    assert!(last["actor"].is_null() && trail["items"].as_array().unwrap().len() == 3, "closed once: {trail}");
    one.stop().await;
    two.stop().await;
    store.drop().await;
}

/// Two instances fold the tally, as they run, and say the same of the tickets.
async fn the_tally_is_folded_by_itself(store: Store, place: Place) {
    let (one, two) = (place.start().await, place.start().await);
    let agent = place.person("agent").await;
    for server in [&one, &two, &one] {
        server.open(&agent).await;
    }
    for server in [&one, &two] {
        until("the fold", async || {
            let said = server.get("/metrics").by(&agent).expect(200).await.text();
            assert!(said.contains("\nskranke_tickets{status=\"new\",priority=\"normal\",team=\"none\"} 3\n"), "{said}");
            said.contains("\nskranke_tally_unfolded 0\n").then_some(())
        })
        .await;
    }
    one.stop().await;
    two.stop().await;
    store.drop().await;
}

#[tokio::test]
async fn the_tally_is_folded_by_itself_on_sqlite() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    the_tally_is_folded_by_itself(store, place).await;
}

#[tokio::test]
async fn the_tally_is_folded_by_itself_on_postgres() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    the_tally_is_folded_by_itself(store, place).await;
}

#[tokio::test]
async fn resolved_tickets_close_by_themselves_on_sqlite() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    resolved_tickets_close_by_themselves(store, place).await;
}

#[tokio::test]
async fn resolved_tickets_close_by_themselves_on_postgres() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    resolved_tickets_close_by_themselves(store, place).await;
}

#[tokio::test]
async fn the_command_line_makes_tokens_for_people_and_scripts() {
    let place = Place::new();
    let server = place.start().await;
    let script = |scopes| ["token", "--service-account", "night watch", "--scopes", scopes];
    let watch = caller(&place.print(&script("tickets:write")).await);
    let me = server.get("/v1/me").by(&watch).expect(200).await.body;
    assert_eq!(
        (&me["kind"], &me["name"], &me["scopes"]),
        (&json!("service_account"), &json!("night watch"), &json!(["tickets:write"]))
    );
    let opened = server.open(&watch).await;
    assert!(opened.bytes.is_empty(), "it may not read: {}", opened.text());
    server.get("/v1/tickets").by(&watch).refused(403, "insufficient_scope").await;
    let again = caller(&place.print(&script("tickets:write")).await);
    assert_eq!(server.get("/v1/me").by(&again).expect(200).await.body["id"], me["id"]);

    let person = |role, more: &'static [&'static str]| {
        [&["token", "--role", role, "--email", "Ada@example.org", "--name", "Ada"], more].concat()
    };
    let ada = caller(&place.print(&person("agent", &["--scopes", "tickets:read", "--ttl-s", "60"])).await);
    let she = server.get("/v1/me").by(&ada).expect(200).await.body;
    assert_eq!(
        (&she["email"], &she["role"], &she["scopes"]),
        (&json!("ada@example.org"), &json!("agent"), &json!(["tickets:read"]))
    );
    let ticket = server.get(opened.header("location").unwrap()).by(&ada).expect(200).await.body;
    assert_eq!(ticket["created_by"]["name"], "night watch");
    for (arguments, code, words) in [
        (script("tickets:read").to_vec(), 1, "tickets:write"),
        (person("admin", &[]), 1, "role agent"),
        (person("agent", &["--scopes", "admin"]), 1, "at most"),
        (person("agent", &["--scopes", "nonsense"]), 2, "nonsense"),
        (person("agent", &["--ttl-s", "0"]), 2, "--ttl-s"),
        (person("agent", &["--service-account", "x"]), 2, "--service-account"),
        (vec!["token", "--service-account", "x"], 2, "--scopes"),
        (vec!["token", "--role", "agent", "--email", "ada", "--name", "A"], 2, "--email"),
    ] {
        let done = place.run(&arguments).await;
        assert_eq!((done.code, &*done.out), (Some(code), ""), "{arguments:?}: {done:?}");
        assert!(done.err.contains(words), "{arguments:?}: {}", done.err);
        assert!(
            code == 2 || done.err.lines().count() == 1 && done.err.starts_with("skranke: "),
            "one sentence: {}",
            done.err
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn the_first_admin_logs_in_with_a_password() {
    let place = Place::new();
    let create = ["admin", "create", "--email", "root@example.org", "--name", "Root", "--password-stdin"];
    let run = async |password: &str| place.spawn(env!("CARGO_BIN_EXE_skranke"), &create, password).end().await;
    let short = run("hunter2\n").await;
    assert_eq!((short.code, &*short.out), (Some(1), ""));
    assert!(short.err.contains("at least 12 characters") && !short.err.contains("hunter2"), "{}", short.err);
    let done = run("correct horse battery staple\n").await;
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(!format!("{done:?}").contains("correct horse"), "{done:?}");
    let again = run("another password it would be\n").await;
    assert_eq!((again.code, again.err.lines().count()), (Some(1), 1), "{again:?}");

    let server = place.start().await;
    let form = |password| format!("grant_type=password&username=root%40example.org&password={password}");
    let log_in = |password| server.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form(password));
    log_in("another+password+it+would+be").refused(401, "unauthenticated").await;
    let session = log_in("correct+horse+battery+staple").expect(200).await.body;
    let me = server.get("/v1/me").token(session["access_token"].as_str().unwrap()).expect(200).await.body;
    assert_eq!((&me["role"], &me["name"]), (&json!("admin"), &json!("Root")));
    server.stop().await;
}

#[tokio::test]
async fn each_request_is_one_line_of_json_that_tells_no_secrets() {
    let place = Place::new();
    let server = place.start().await;
    let admin = place.person("admin").await;
    let ask = |method, path: &str, id: &str| server.ask(method, path).header("x-request-id", id);
    let body = json!({ "subject": "private-subject", "description": "private-description", "requester": { "email": "private@example.org", "name": "private-name" } });
    ask(Method::POST, "/v1/tickets", "r1").by(&admin).json(&body).expect(201).await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    ask(Method::GET, "/v1/tickets/1", "r2")
        .by(&admin)
        .header("traceparent", &format!("00-{trace}-b7ad6b7169203331-01"))
        .expect(200)
        .await;
    ask(Method::GET, "/v1/users?email=private%40example.org", "r3").by(&admin).expect(200).await;
    ask(Method::GET, "/v1/tickets?external_id=private-query&nope=private-nope", "r4").by(&admin).expect(400).await;
    ask(Method::GET, "/v1/me", "r5").token("private.to.ken").expect(401).await;
    ask(Method::POST, "/v1/auth/token", "r6")
        .raw(
            "application/x-www-form-urlencoded",
            "grant_type=password&username=private%40example.org&password=private-password",
        )
        .expect(401)
        .await;
    ask(Method::GET, "/v1/nowhere/private-path", "r7").by(&admin).expect(404).await;
    ask(Method::POST, "/v1/tickets", "r8")
        .by(&admin)
        .raw("application/json", "{\"private-field\": \"private-value\"")
        .expect(400)
        .await;
    ask(Method::DELETE, "/health/live", "r9").expect(405).await;
    let log = server.stop().await.err;

    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect();
    for (id, method, route, status) in [
        ("r1", "POST", "/v1/tickets", 201),
        ("r2", "GET", "/v1/tickets/{id}", 200),
        ("r3", "GET", "/v1/users", 200),
        ("r4", "GET", "/v1/tickets", 400),
        ("r5", "GET", "/v1/me", 401),
        ("r6", "POST", "/v1/auth/token", 401),
        ("r7", "GET", "", 404),
        ("r8", "POST", "/v1/tickets", 400),
        ("r9", "DELETE", "/health/live", 405),
    ] {
        // Logins and administration have a line of their own besides.
        let of_request = |line: &&Value| line["span"]["request_id"] == id && line["action"].is_null();
        let of_request: Vec<_> = lines.iter().filter(of_request).collect();
        let [line] = of_request[..] else { panic!("not one line for {id}: {of_request:?}") };
        assert_eq!(
            (&line["method"], &line["status"], &line["level"]),
            (&json!(method), &json!(status), &json!("INFO")),
            "{line}"
        );
        // What no endpoint took has none.
        assert_eq!(line["route"], route, "{line}");
        assert!(line["duration_us"].is_u64() && line["timestamp"].is_string(), "{line}");
        assert_eq!(line["span"]["trace_id"].as_str(), (id == "r2").then_some(trace), "{line}");
    }
    for secret in ["private", &admin.token, admin.token.rsplit('.').next().unwrap(), "admin@example.org"] {
        assert!(!log.contains(secret), "{secret} is in the log: {log}");
    }
    let named = |message: &str| lines.iter().filter(|line| line["message"] == message).count();
    assert_eq!((named("ready"), named("stopped")), (1, 1), "{log}");
}

#[tokio::test]
async fn an_address_that_is_taken_is_told_in_a_sentence() {
    let place = Place::new();
    let server = place.start().await;
    let other = Place::new().with("SKRANKE_LISTEN", server.url.strip_prefix("http://").unwrap());
    let done = other.run(&["serve"]).await;
    assert_eq!((done.code, &*done.out), (Some(1), ""), "{done:?}");
    assert!(
        done.err.lines().any(|line| line.starts_with("skranke: ") && line.contains("SKRANKE_LISTEN")),
        "{}",
        done.err
    );
    let health = |place: &Place| place.spawn(env!("CARGO_BIN_EXE_skranke"), &["health"], "").end();
    assert_eq!(health(&other).await.code, Some(0));
    server.stop().await;
    assert_eq!(health(&other).await.code, Some(1));
    assert!(Path::new(&other.path("data")).exists());
}
