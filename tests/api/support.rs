//! A desk to test at: server, database, clock and people.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::InstrumentationEvent;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use skranke::app::server;
use skranke::auth::domain::{Role, Scopes};
use skranke::auth::issuers::IssuerConfig;
use skranke::auth::keys::{SigningKey, SigningKeys};
use skranke::auth::service::{Authority, KeptRules, Lifetimes};
use skranke::db::{DatabaseUrl, Db, Listener, Roots};
use skranke::files::service::cabinet::Cabinet;
use skranke::files::store::bytes::ByteStore;
use skranke::files::store::local::LocalFolder;
use skranke::http::State;
use skranke::http::seal::Sealer;
use skranke::kernel::requesters::{RequesterField, RequesterRules};
use skranke::kernel::text::{Email, Line};
use skranke::kernel::{Clock, Instant};
use skranke::people;
use skranke::webhooks::domain::Egress;
use skranke::webhooks::service::courier::{Courier, CourierPatience};

/// Which database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

/// Declares a test that runs on both engines, each time at a desk of its own.
#[macro_export]
macro_rules! on_both {
    ($($(#[doc = $doc:literal])* async fn $name:ident($desk:ident) $body:block)+) => {$(
        mod $name {
            #[allow(unused_imports, reason = "not every body needs what is around it")]
            use super::*;

            async fn body($desk: &$crate::support::Desk) $body

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                let desk = $crate::support::Desk::open($crate::support::Engine::Sqlite).await;
                body(&desk).await;
                desk.close().await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                let desk = $crate::support::Desk::open($crate::support::Engine::Postgres).await;
                body(&desk).await;
                desk.close().await;
            }
        }
    )+};
}

/// A clock that moves when a test says so. It starts on Monday, 2 March 2026, at 9:00 UTC.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<AtomicI64>);

impl TestClock {
    fn new() -> Self {
        let start: Instant = "2026-03-02T09:00:00.000000Z".parse().unwrap();
        Self(Arc::new(AtomicI64::new(start.micros())))
    }

    pub fn now(&self) -> Instant {
        Instant::from_micros(self.0.load(Ordering::SeqCst))
    }

    /// Lets `s` seconds pass.
    pub fn pass_s(&self, s: i64) {
        self.0.fetch_add(s * 1_000_000, Ordering::SeqCst);
    }

    /// Lets `us` microseconds pass.
    pub fn pass_us(&self, us: i64) {
        self.0.fetch_add(us, Ordering::SeqCst);
    }

    /// Lets time pass until `instant`, such as `2026-03-02T10:00:00.000000Z`.
    pub fn go_to(&self, instant: &str) {
        let instant: Instant = instant.parse().unwrap();
        assert!(instant >= self.now(), "time does not go back to {instant}");
        self.0.store(instant.micros(), Ordering::SeqCst);
    }

    pub fn clock(&self) -> Clock {
        let source = self.clone();
        Clock::new(move || source.now())
    }
}

/// A database of one test.
pub struct Store {
    pub url: DatabaseUrl,
    folder: Option<tempfile::TempDir>,
    name: String,
}

impl Store {
    pub async fn make(engine: Engine) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("skranke_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        match engine {
            Engine::Sqlite => {
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("skranke.db");
                Self { url: DatabaseUrl::Sqlite(path), folder: Some(folder), name }
            }
            Engine::Postgres => {
                admin(&format!("CREATE DATABASE {name}")).await;
                let url = format!("{}/{name}", postgres_url().rsplit_once('/').unwrap().0);
                Self { url: url.parse().unwrap(), folder: None, name }
            }
        }
    }

    /// Where PostgreSQL listens, and the URL of this database with other servers in place of that.
    pub fn elsewhere(&self, servers: &[std::net::SocketAddr]) -> (std::net::SocketAddr, String) {
        let url = self.url_text();
        let (before, rest) = url.split_once('@').unwrap();
        let (here, database) = rest.split_once('/').unwrap();
        let servers = servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        (here.parse().unwrap(), format!("{before}@{servers}/{database}"))
    }

    /// The URL as an environment variable has it.
    pub fn url_text(&self) -> String {
        match &self.url {
            DatabaseUrl::Sqlite(path) => format!("sqlite://{}", path.display()),
            DatabaseUrl::Postgres(url) => url.reveal().clone(),
        }
    }

    pub async fn drop(self) {
        match self.folder {
            Some(folder) => folder.close().unwrap(),
            None => admin(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await,
        }
    }
}

/// The server that `tests/run.sh` starts. A run without it fails: PostgreSQL is never skipped.
fn postgres_url() -> String {
    std::env::var("SKRANKE_TEST_POSTGRES")
        .expect("SKRANKE_TEST_POSTGRES is not set: run the tests by tests/run.sh, which starts PostgreSQL")
}

async fn admin(sql: &str) {
    let (client, connection) = tokio_postgres::connect(&postgres_url(), tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
    drop(client);
    driver.await.unwrap().unwrap();
}

/// What carries the messages of webhooks, to this machine, too, and waits for nobody for long.
pub fn courier(keeps_connections: bool) -> Courier {
    let egress = Arc::new(Egress::parse("127.0.0.0/8").unwrap());
    let patience = CourierPatience { connect: Duration::from_millis(500), whole: Duration::from_millis(1_500) };
    Courier::new(egress, "skranke".to_owned(), patience, keeps_connections).unwrap()
}

/// A running server with all that a test needs of it.
pub struct Desk {
    pub url: String,
    pub db: Db,
    pub clock: TestClock,
    pub ids: Clock,
    pub authority: Arc<Authority>,
    pub store: Store,
    /// Where the files of this desk lie.
    pub files: tempfile::TempDir,
    pub settings: server::Settings,
    http: reqwest::Client,
    handles: Mutex<Vec<actix_web::dev::ServerHandle>>,
    count: AtomicU64,
}

/// The statements that a database was asked.
pub type Heard = Arc<Mutex<Vec<String>>>;

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct Caller {
    pub id: String,
    pub name: String,
    pub token: String,
}

impl Desk {
    /// Writes down what time has broken of some tickets, if it has of any.
    pub async fn write_down_breaches(&self, most: u16) -> usize {
        let clock = self.ids.clone();
        skranke::sla::service::write_down_breaches(&self.db, &clock, most).await.unwrap()
    }

    /// Tells all that there is to tell of promises, as an instance does by itself.
    pub async fn tell_promises(&self) {
        let db = self.db.patient();
        while skranke::sla::service::tell_promises(&db, &self.ids, 50).await.unwrap() > 0 {}
    }

    /// Gives all that was committed its place in the change log, as an instance does by itself.
    pub async fn sequence(&self) {
        let db = self.db.patient();
        while skranke::audit::service::sequence(&db, &self.ids).await.unwrap().is_some() {}
    }

    /// The rows that follow from tickets are what these tell.
    pub async fn rows_are_right(&self) {
        let now = self.clock.now();
        let mut after = 0;
        loop {
            let look = async |conn: &mut _| skranke::tickets::service::look_at_rows(conn, after, now).await;
            let found = self.db.look(look).await.unwrap();
            assert!(found.tags.is_empty() && found.clocks.is_empty(), "{found:?}");
            if found.tickets == 0 {
                break;
            }
            after = found.last;
        }
    }

    pub async fn open(engine: Engine) -> Self {
        Self::open_with(engine, Vec::new(), |settings| settings).await
    }

    /// A desk that trusts outside issuers, or has other settings.
    pub async fn open_with(
        engine: Engine,
        issuers: Vec<IssuerConfig>,
        adapt: impl FnOnce(server::Settings) -> server::Settings,
    ) -> Self {
        Self::open_on(Store::make(engine).await, issuers, adapt).await
    }

    /// A desk on a database that may have something in it.
    pub async fn open_on(
        store: Store,
        issuers: Vec<IssuerConfig>,
        adapt: impl FnOnce(server::Settings) -> server::Settings,
    ) -> Self {
        let open = |url: &DatabaseUrl| Db::open(url, 8, Duration::from_secs(5)).unwrap();
        Self::open_at(store, open, issuers, adapt).await
    }

    /// A desk on `store`, which is opened by `open`.
    pub async fn open_at(
        store: Store,
        open: impl FnOnce(&DatabaseUrl) -> Db,
        issuers: Vec<IssuerConfig>,
        adapt: impl FnOnce(server::Settings) -> server::Settings,
    ) -> Self {
        let db = open(&store.url);
        db.migrate().await.unwrap();
        let clock = TestClock::new();
        let ids = clock.clock();
        let key = SigningKey::from_pem(SigningKey::generate_pem().unwrap().reveal()).unwrap();
        let sealer = Arc::new(Sealer::new([key.seed()]).unwrap());
        let lifetimes = Lifetimes { access_s: 900, refresh_s: 3600 };
        let authority =
            Authority::new(SigningKeys::new(key, None), "skranke".into(), "skranke".into(), lifetimes, &issuers);
        let authority = Arc::new(authority.unwrap());
        let state = State {
            db: db.clone(),
            clock: ids.clone(),
            body_limit_b: 512 * 1024,
            default_rate: None,
            in_flight: Default::default(),
            writers: Default::default(),
            jobs: Default::default(),
            ending: Default::default(),
            sealer,
        };
        let files = tempfile::tempdir().unwrap();
        let settings = adapt(server::Settings {
            state,
            authority: authority.clone(),
            courier: Arc::new(courier(false)),
            cabinet: Cabinet::new(ByteStore::Local(LocalFolder::at(files.path()))),
            cors_origins: vec![],
            limits: Default::default(),
            workers: 2,
            shutdown_s: 5,
            signals: false,
        });
        let mut desk = Self {
            url: String::new(),
            db,
            clock,
            ids,
            authority,
            store,
            files,
            settings,
            // A connection is not used again that the server is about to close, as it does after five seconds without a
            // request.
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .pool_idle_timeout(Duration::from_secs(2))
                .build()
                .unwrap(),
            handles: Mutex::default(),
            count: AtomicU64::new(0),
        };
        desk.url = desk.another_instance();
        desk
    }

    /// One more server on the same database; gives its address.
    pub fn another_instance(&self) -> String {
        self.instance_with(|settings| settings)
    }

    /// One more server on the same database, with other settings; gives its address.
    pub fn instance_with(&self, adapt: impl FnOnce(server::Settings) -> server::Settings) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        // Another process would know nothing of the requests that this one is working on.
        let mut settings = adapt(self.settings.clone());
        settings.state.in_flight = Default::default();
        settings.state.writers = Default::default();
        // Requesters may set all that they can be let set here; what they may otherwise is tested in `views`.
        let rules = RequesterRules { may_set: RequesterField::ALL.to_vec(), ..RequesterRules::default() };
        settings.state.db.kept::<KeptRules>().set(rules);
        let server = server::build(settings, listener).unwrap();
        self.handles.lock().unwrap().push(server.handle());
        tokio::spawn(server);
        url
    }

    /// One more server on the same database, whose statements are listened to; gives its address.
    pub fn listened(&self) -> (String, Heard) {
        let (db, heard) = self.listened_db();
        let url = self.instance_with(|mut settings| {
            settings.state.db = db;
            settings
        });
        (url, heard)
    }

    /// The same database once more, with what it is asked.
    pub fn listened_db(&self) -> (Db, Heard) {
        let heard = Heard::default();
        let ear = heard.clone();
        let listener: Listener = Arc::new(move || {
            let heard = ear.clone();
            Box::new(move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::StartQuery { query, .. } = event {
                    let text = query.to_string();
                    // How the file is kept is done at its own times.
                    if !text.starts_with("PRAGMA") {
                        heard.lock().unwrap().push(text);
                    }
                }
            })
        });
        let db = Db::open_with(&self.store.url, 2, Duration::from_secs(5), Some(listener)).unwrap();
        (db, heard)
    }

    pub async fn close(self) {
        let handles = self.handles.into_inner().unwrap();
        for handle in &handles {
            handle.stop(false).await;
        }
        self.store.drop().await;
    }

    /// A number that no other call at this desk gets.
    pub fn nth(&self) -> u64 {
        self.count.fetch_add(1, Ordering::SeqCst)
    }

    /// A new person with a token that is good for ten years.
    pub async fn person(&self, role: Role) -> Caller {
        let name = format!("{role} {}", self.nth());
        let email = Email::parse(format!("{}@example.org", name.replace(' ', "."))).unwrap();
        let (ids, now, named) = (self.ids.clone(), self.clock.now(), name.clone());
        let make = async move |tx: &mut skranke::db::Conn| {
            people::service::find_or_create_person(tx, &email, &named, role, now, &ids).await
        };
        let id = self.db.write(Roots::none(), make).await.unwrap();
        let token = self.authority.mint(id, None, 10 * 365 * 86_400, self.clock.now(), &self.ids).unwrap();
        Caller { id: id.to_string(), name, token }
    }

    pub async fn requester(&self) -> Caller {
        self.person(Role::Requester).await
    }

    pub async fn agent(&self) -> Caller {
        self.person(Role::Agent).await
    }

    pub async fn admin(&self) -> Caller {
        self.person(Role::Admin).await
    }

    /// A new service account with these scopes, and a token of ten years.
    pub async fn account(&self, scopes: &str) -> Caller {
        let name = format!("script {}", self.nth());
        let scopes = Scopes::parse(scopes).unwrap();
        let (ids, now, named) = (self.ids.clone(), self.clock.now(), name.clone());
        let make = async move |tx: &mut skranke::db::Conn| {
            people::service::find_or_create_account(tx, &Line::parse(named.clone()).unwrap(), scopes, now, &ids).await
        };
        let id = self.db.write(Roots::none(), make).await.unwrap();
        let token = self.authority.mint(id, None, 10 * 365 * 86_400, self.clock.now(), &self.ids).unwrap();
        Caller { id: id.to_string(), name, token }
    }

    /// The same person with a token for these scopes only.
    pub fn narrowed(&self, caller: &Caller, scopes: &str) -> Caller {
        let scopes = Scopes::parse(scopes).unwrap();
        let id = caller.id.parse().unwrap();
        let token = self.authority.mint(id, Some(scopes), 3600, self.clock.now(), &self.ids).unwrap();
        Caller { token, ..caller.clone() }
    }

    /// A ticket opened by `who` with `fields` over the least that is needed.
    pub async fn ticket(&self, who: &Caller, fields: Value) -> Value {
        let mut body = json!({ "subject": "The printer is on fire" });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        self.post("/v1/tickets").by(who).json(&body).expect(201).await.body
    }

    pub async fn patch_ticket(&self, who: &Caller, ticket: &Value, patch: Value) -> Value {
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        self.patch(&path).by(who).json(&patch).expect(200).await.body
    }

    pub async fn read_ticket(&self, who: &Caller, ticket: &Value) -> Value {
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        self.get(&path).by(who).expect(200).await.body
    }

    /// Every item of a list, over all its pages.
    pub async fn all(&self, who: &Caller, path: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let joint = if path.contains('?') { '&' } else { '?' };
            let target = cursor.as_ref().map_or(path.to_owned(), |cursor| format!("{path}{joint}cursor={cursor}"));
            let page = self.get(&target).by(who).expect(200).await;
            items.extend(page.body["items"].as_array().unwrap().iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(next) => {
                    assert!(page.header("link").unwrap().contains("rel=\"next\""));
                    cursor = Some(next.to_owned());
                }
                None => return items,
            }
        }
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask {
        self.ask_at(&self.url, method, path)
    }

    pub fn ask_at(&self, url: &str, method: Method, path: &str) -> Ask {
        Ask(self.http.request(method, format!("{url}{path}")))
    }

    pub fn get(&self, path: &str) -> Ask {
        self.ask(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Ask {
        self.ask(Method::POST, path)
    }

    pub fn put(&self, path: &str) -> Ask {
        self.ask(Method::PUT, path)
    }

    pub fn patch(&self, path: &str) -> Ask {
        self.ask(Method::PATCH, path)
    }

    pub fn delete(&self, path: &str) -> Ask {
        self.ask(Method::DELETE, path)
    }
}

/// A request in the making.
pub struct Ask(pub reqwest::RequestBuilder);

impl Ask {
    pub fn by(self, caller: &Caller) -> Self {
        self.token(&caller.token)
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn header(self, name: &str, value: &str) -> Self {
        Self(self.0.header(name, value))
    }

    pub fn json(self, body: &Value) -> Self {
        self.raw("application/json", body.to_string())
    }

    pub fn raw(self, content_type: &str, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.header("content-type", content_type).body(body))
    }

    pub async fn send(self) -> Answer {
        let mut response = self.0.send().await.unwrap();
        let status = response.status();
        let headers = response.headers().clone();
        let bytes = match headers.get("content-type") {
            // It has no end: its beginning will do.
            Some(kind) if kind == "text/event-stream" => response.chunk().await.unwrap().unwrap_or_default().to_vec(),
            _ => response.bytes().await.unwrap().to_vec(),
        };
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status, headers, bytes, body };
        assert_ne!(answer.status, 500, "nothing is a 500: {}", answer.text());
        if answer.status.as_u16() >= 400 && !answer.bytes.is_empty() {
            assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.text());
            assert_eq!(answer.body["status"], status.as_u16());
            assert_eq!(answer.body["request_id"].as_str(), answer.header("x-request-id"));
        }
        answer
    }

    /// The answer, which must have this status.
    pub async fn expect(self, status: u16) -> Answer {
        let answer = self.send().await;
        assert_eq!(answer.status, status, "{}", answer.text());
        answer
    }

    /// The problem, which must have this status and code.
    pub async fn refused(self, status: u16, code: &str) -> Answer {
        let answer = self.expect(status).await;
        assert_eq!(answer.body["code"], code, "{}", answer.text());
        answer
    }
}

/// An answer, read whole.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub bytes: Vec<u8>,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The places of the bad fields, sorted.
    pub fn pointers(&self) -> Vec<&str> {
        let mut pointers: Vec<_> =
            self.body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        pointers.sort_unstable();
        pointers
    }
}

/// Events with the ids in their changes in place of what these name, as they are in the database.
pub fn unnamed(mut events: Vec<Value>) -> Vec<Value> {
    for change in events.iter_mut().flat_map(|event| event["changes"].as_array_mut().unwrap()) {
        for side in ["before", "after"] {
            let is_named = change[side].get("name").is_some() && change["field"] != "custom_fields";
            if let Some(id) = change[side].get("id").filter(|_| is_named).cloned() {
                change[side] = id;
            }
        }
    }
    events
}

/// The bytes of an answer without the seconds that pass by themselves.
pub fn untimed(answer: &Answer) -> String {
    let seconds = regex::Regex::new(r#""in_status_s":\{[^}]*\}"#).unwrap();
    seconds.replace_all(&answer.text(), "").into_owned()
}

/// Chance, the same one for the same seed (Knuth's MMIX).
#[derive(Debug)]
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % n
    }

    pub fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// The seed of today's histories: another one each time, unless `SKRANKE_TEST_SEED` says which.
#[expect(clippy::print_stdout, reason = "shown when a test fails")]
pub fn seed() -> u64 {
    let fresh = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
    let seed = std::env::var("SKRANKE_TEST_SEED").map_or_else(|_| fresh(), |seed| seed.parse().unwrap());
    println!("repeat with SKRANKE_TEST_SEED={seed}");
    seed
}

/// A transaction of the test's own that keeps all others from writing.
pub enum Hold {
    Sqlite(diesel::SqliteConnection),
    Postgres(tokio_postgres::Client),
}

impl Hold {
    pub async fn release(self) {
        match self {
            Hold::Sqlite(mut conn) => {
                diesel::connection::SimpleConnection::batch_execute(&mut conn, "ROLLBACK").unwrap()
            }
            Hold::Postgres(client) => client.batch_execute("ROLLBACK").await.unwrap(),
        }
    }
}

/// SQLite finds nothing wrong with the file, and no reference that leads nowhere.
pub fn is_sound(path: &std::path::Path) {
    let conn = rusqlite::Connection::open(path).unwrap();
    let integrity: String = conn.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(integrity, "ok");
    let dangling: i64 = conn.query_row("SELECT count(*) FROM pragma_foreign_key_check", [], |row| row.get(0)).unwrap();
    assert_eq!(dangling, 0);
}

impl Store {
    /// Opens a transaction that keeps all others from writing tickets.
    pub async fn hold(&self) -> Hold {
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let mut conn =
                    <diesel::SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap()).unwrap();
                diesel::connection::SimpleConnection::batch_execute(&mut conn, "BEGIN IMMEDIATE").unwrap();
                Hold::Sqlite(conn)
            }
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute("BEGIN; LOCK TABLE tickets IN EXCLUSIVE MODE").await.unwrap();
                Hold::Postgres(client)
            }
        }
    }

    /// Opens a transaction that keeps the configuration from being edited, as writes do that are at work.
    pub async fn hold_configuration(&self) -> Hold {
        match &self.url {
            DatabaseUrl::Sqlite(_) => self.hold().await,
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.batch_execute("BEGIN; LOCK TABLE configuration IN ROW SHARE MODE").await.unwrap();
                Hold::Postgres(client)
            }
        }
    }

    /// Runs statements of the test's own.
    pub async fn run(&self, sql: &str) {
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let mut conn =
                    <diesel::SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap()).unwrap();
                diesel::connection::SimpleConnection::batch_execute(&mut conn, "PRAGMA busy_timeout = 5000").unwrap();
                diesel::connection::SimpleConnection::batch_execute(&mut conn, sql).unwrap();
            }
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                let driver = tokio::spawn(connection);
                client.batch_execute(sql).await.unwrap();
                drop(client);
                driver.await.unwrap().unwrap();
            }
        }
    }

    /// How many rows there are `from`.
    pub async fn count(&self, from: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {from}");
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(&sql, [], |row| row.get(0)).unwrap()
            }
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                client.query_one(&sql, &[]).await.unwrap().get(0)
            }
        }
    }

    /// What SQLite says of its file; PostgreSQL checks references itself.
    pub fn is_sound(&self) {
        if let DatabaseUrl::Sqlite(path) = &self.url {
            is_sound(path);
        }
    }

    /// Ends one connection to this PostgreSQL database, whichever.
    pub async fn end_a_connection(&self) {
        let name = &self.name;
        admin(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}' ORDER BY random() LIMIT 1"
        ))
        .await;
    }

    /// Ends all connections to this PostgreSQL database and refuses new ones, or takes them again.
    pub async fn refuse_connections(&self, refuse: bool) {
        let name = &self.name;
        admin(&format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {}", !refuse)).await;
        if refuse {
            admin(&format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")).await;
        }
    }
}

/// What a schema consists of, but for the index of words, which is each engine's own: `table.column` with its
/// constraint, indexes and foreign keys as `table(columns)`.
#[derive(Debug, Default, PartialEq)]
pub struct Shape {
    pub columns: BTreeSet<String>,
    pub indexes: BTreeSet<String>,
    pub foreign_keys: BTreeSet<String>,
}

const SQLITE_SHAPE: &str = "
    SELECT 'column', m.name || '.' || c.name || CASE WHEN c.\"notnull\" THEN ' required' ELSE '' END
    FROM sqlite_schema m, pragma_table_xinfo(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'ticket_words%'
    UNION ALL
    SELECT 'index', m.name || '(' || (SELECT group_concat(i.name, ',') FROM (SELECT name FROM pragma_index_info(l.name) ORDER BY seqno) i)
    FROM sqlite_schema m, pragma_index_list(m.name) l WHERE m.type = 'table' AND m.name NOT LIKE '\\_\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite%' AND m.name NOT LIKE 'ticket_words%'
    UNION ALL
    SELECT 'key', m.name || '(' || group_concat(f.\"from\", ',') FROM sqlite_schema m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'
    GROUP BY m.name, f.id";

const POSTGRES_SHAPE: &str = "
    SELECT 'column' AS kind, table_name || '.' || column_name || CASE WHEN is_nullable = 'NO' THEN ' required' ELSE '' END AS name
    FROM information_schema.columns WHERE table_schema = 'public' AND table_name NOT LIKE '\\_\\_%' AND table_name NOT IN ('ticket_search', 'ticket_lexemes', 'change_inbox')
    UNION ALL
    SELECT 'index', t.relname || '(' || (SELECT string_agg(a.attname, ',' ORDER BY k.place)
        FROM unnest(x.indkey) WITH ORDINALITY k(attnum, place) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum)
    FROM pg_index x JOIN pg_class t ON t.oid = x.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace
    WHERE n.nspname = 'public' AND t.relname NOT LIKE '\\_\\_%' AND t.relname NOT IN ('ticket_search', 'ticket_lexemes', 'change_inbox')
    UNION ALL
    SELECT 'key', t.relname || '(' || (SELECT string_agg(a.attname, ',' ORDER BY k.place)
        FROM unnest(c.conkey) WITH ORDINALITY k(attnum, place) JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.attnum)
    FROM pg_constraint c JOIN pg_class t ON t.oid = c.conrelid WHERE c.contype = 'f'";

impl Store {
    /// The schema as the database itself tells it.
    pub async fn shape(&self) -> Shape {
        let rows: Vec<(String, String)> = match &self.url {
            DatabaseUrl::Sqlite(path) => {
                use diesel::connection::SimpleConnection;
                use diesel::deserialize::QueryableByName;
                use diesel::sqlite::Sqlite;
                struct Pair(String, String);
                impl QueryableByName<Sqlite> for Pair {
                    fn build<'a>(row: &impl diesel::row::NamedRow<'a, Sqlite>) -> diesel::deserialize::Result<Self> {
                        use diesel::row::NamedRow;
                        use diesel::sql_types::Text;
                        Ok(Self(NamedRow::get::<Text, _>(row, "kind")?, NamedRow::get::<Text, _>(row, "name")?))
                    }
                }
                let mut conn =
                    <diesel::SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap()).unwrap();
                conn.batch_execute("SELECT 1").unwrap();
                let query = format!(
                    "SELECT kind, name FROM (SELECT '' AS kind, '' AS name WHERE false UNION ALL {SQLITE_SHAPE})"
                );
                let rows: Vec<Pair> = diesel::RunQueryDsl::load(diesel::sql_query(query), &mut conn).unwrap();
                rows.into_iter().map(|Pair(kind, name)| (kind, name)).collect()
            }
            DatabaseUrl::Postgres(url) => {
                let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(connection);
                let rows = client.query(POSTGRES_SHAPE, &[]).await.unwrap();
                rows.iter().map(|row| (row.get(0), row.get(1))).collect()
            }
        };
        let mut shape = Shape::default();
        for (kind, name) in rows {
            match kind.as_str() {
                "column" => shape.columns.insert(name),
                "index" => shape.indexes.insert(name),
                _ => shape.foreign_keys.insert(name),
            };
        }
        // SQLite's rowid is an index that it does not list.
        let rowids = [
            "tickets(number",
            "changes(position",
            "ticket_clocks(ticket_number",
            "configuration(id",
            "configuration_edits(number",
            "search_backlog(until_number",
            "words_backlog(until_number",
            "words_marks(id",
            "cell_marks(id",
            "rebuilds(id",
            "facts(id",
        ];
        for rowid in rowids {
            shape.indexes.insert(rowid.into());
        }
        shape
    }
}
