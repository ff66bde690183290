//! What an operator does with the binary: backups and their restoring, checks, secrets in files, and what the log
//! tells.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use prost::Message;
use serde_json::{Value, json};
use skranke::auth::keys::SigningKey;
use skranke::db::DatabaseUrl;

use crate::start::{Done, Place, Server, until};
use crate::support::{Caller, Engine, Store, untimed};

/// A place on a fresh database with its schema.
async fn place_on(store: &Store) -> Place {
    let place = Place::on(store).with("SKRANKE_MIGRATE_ON_START", "true");
    place.print(&["migrate"]).await;
    place
}

/// The path of a SQLite store.
fn path_of(store: &Store) -> PathBuf {
    match &store.url {
        DatabaseUrl::Sqlite(path) => path.clone(),
        DatabaseUrl::Postgres(_) => panic!("this store is no file"),
    }
}

/// Every file below a folder with what is in it.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect();
    found.sort();
    found
}

/// Three callers open tickets all the time while `work` goes on, and their answers are kept as they come.
async fn while_tickets_come<T>(
    server: &Server,
    agent: &Caller,
    answered: &Mutex<Vec<Value>>,
    work: impl AsyncFnOnce() -> T,
) -> T {
    let over = AtomicBool::new(false);
    let open = async || {
        while !over.load(Ordering::SeqCst) {
            let ticket = server.open(agent).await.body;
            answered.lock().unwrap().push(ticket);
        }
    };
    let work = async {
        until("the first tickets", async || (answered.lock().unwrap().len() >= 20).then_some(())).await;
        let outcome = work().await;
        over.store(true, Ordering::SeqCst);
        outcome
    };
    futures::join!(work, open(), open(), open()).0
}

/// How many writes a copy is behind.
const AHEAD: usize = 100;

/// Where a reader of the change log is who has read its first change, and where one is who has read all of `ahead`
/// more than stands in a copy.
async fn readers(server: &Server, agent: &Caller, ahead: usize) -> (String, String) {
    for _ in 0..ahead {
        server.open(agent).await;
    }
    let page = async |query: &str| server.get(&format!("/v1/changes?{query}")).by(agent).expect(200).await.body;
    let cursor = |page: &Value| page["next_cursor"].as_str().unwrap().to_owned();
    let early = cursor(&page("from=start&limit=1&types=ticket.created").await);
    let mut late = early.clone();
    until("all that was written", async || {
        let page = page(&format!("cursor={late}&limit=1000&types=ticket.created&wait_s=1")).await;
        late = cursor(&page);
        page["items"].as_array().unwrap().is_empty().then_some(())
    })
    .await;
    (early, late)
}

/// A server on a copy has every ticket of `answered` as it was, and goes on from there. A reader who was ahead of the
/// copy is told so, also when as much has happened again; who was not goes on.
async fn has_all(copy: &Place, agent: &Caller, answered: &[Value], (early, late): (String, String)) {
    let checked = copy.run(&["check", "--deep"]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    let server = copy.start().await;
    for ticket in answered {
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        let read = server.get(&path).by(agent).expect(200).await;
        for field in ["number", "subject", "created_at", "version"] {
            assert_eq!(read.body[field], ticket[field], "{}", untimed(&read));
        }
    }
    let highest = answered.iter().filter_map(|ticket| ticket["number"].as_i64()).max().unwrap();
    let poll =
        |cursor: &str| server.get(&format!("/v1/changes?limit=1000&types=ticket.created&cursor={cursor}")).by(agent);
    poll(&late).refused(410, "cursor_diverged").await;
    assert!(server.open(agent).await.body["number"].as_i64().unwrap() > highest);
    for _ in 0..AHEAD {
        server.open(agent).await;
    }
    poll(&late).refused(410, "cursor_diverged").await;
    assert!(poll(&early).expect(200).await.body["items"].as_array().unwrap().len() >= answered.len());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_has_all_that_was_answered_before_it_and_is_restored_on_sqlite() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    let server = place.start().await;
    let agent = place.person("agent").await;
    let answered = Mutex::default();
    let (before, done) = while_tickets_come(&server, &agent, &answered, async || {
        let before = answered.lock().unwrap().clone();
        (before, place.run(&["backup", "copy.db", "--with-key"]).await)
    })
    .await;
    assert_eq!(done.code, Some(0), "{done:?}");
    let (copy, key) = (place.path("copy.db"), place.path("copy.key"));
    let size_b = std::fs::metadata(&copy).unwrap().len();
    assert!(done.out.contains(&format!("Wrote copy.db: {size_b} bytes")) && done.out.contains("copy.key"), "{done:?}");
    for file in [&copy, &key] {
        assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    assert_eq!(std::fs::read(&key).unwrap(), std::fs::read(path_of(&store).with_extension("key")).unwrap());
    let parts = contents(place.path("").as_path());
    assert!(parts.iter().all(|(path, _)| path.extension().is_none_or(|e| e != "part")), "nothing is left over");

    let restored = Place::new().with("DATABASE_URL", format!("sqlite://{}", copy.display()));
    has_all(&restored, &agent, &before, readers(&server, &agent, AHEAD).await).await;
    // Where it came from goes on as before.
    assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0));
    server.stop().await;
    store.drop().await;
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_by_halves() {
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store);
    let missing = place.run(&["backup", "copy.db"]).await;
    assert!(missing.code == Some(1) && missing.err.contains("there is no database at"), "{missing:?}");
    assert!(contents(path_of(&store).parent().unwrap()).is_empty(), "a backup makes no database");

    place.person("agent").await;
    let plain = place.run(&["backup", "copy.db"]).await;
    assert_eq!(plain.code, Some(0), "{plain:?}");
    assert!(plain.out.contains("skranke.key is not in it") && !place.path("copy.key").exists(), "{plain:?}");
    let first = std::fs::read(place.path("copy.db")).unwrap();
    std::fs::write(place.path("there.key"), "mine").unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("link.db")).unwrap();
    let names = |place: &Place| {
        let files = std::fs::read_dir(place.path("")).unwrap().map(|file| file.unwrap().file_name());
        files.filter(|name| !matches!(name.to_string_lossy().rsplit('.').next(), Some("out" | "err"))).count()
    };
    let before = names(&place);
    for (arguments, named) in [
        (&["backup", "copy.db"][..], "copy.db is there already"),
        (&["backup", "there.db", "--with-key"], "there.key is there already"),
        (&["backup", "other.key", "--with-key"], "should not end in .key"),
        (&["backup", "link.db"], "link.db is there already"),
        (&["backup", "nowhere/copy.db"], "cannot write nowhere/copy.db"),
    ] {
        let done = place.run(arguments).await;
        assert_eq!((done.code, &*done.out), (Some(1), ""), "{arguments:?}: {done:?}");
        assert!(done.err.contains(named), "{arguments:?}: {done:?}");
        assert_eq!(names(&place), before, "{arguments:?}");
    }
    assert_eq!(std::fs::read(place.path("copy.db")).unwrap(), first);

    // A source that cannot be read leaves no copy, nor its key.
    let torn = place.path("torn.db");
    std::fs::write(&torn, [b"SQLite format 3\0".as_slice(), &[0xff; 8000]].concat()).unwrap();
    std::fs::copy(path_of(&store).with_extension("key"), place.path("torn.key")).unwrap();
    let of_torn = Place::new().with("DATABASE_URL", format!("sqlite://{}", torn.display()));
    let done = of_torn.run(&["backup", "copy.db", "--with-key"]).await;
    assert!(done.code == Some(1) && done.err.contains("cannot write copy.db: "), "{done:?}");
    assert!(!of_torn.path("copy.db").exists() && !of_torn.path("copy.key").exists());
    store.drop().await;
}

#[tokio::test]
async fn on_postgres_a_backup_names_the_command_that_makes_it() {
    let place = Place::new()
        .with("DATABASE_URL", "postgres://skranke:hunter2@127.0.0.1:1/skranke")
        .with("SKRANKE_SIGNING_KEY", SigningKey::generate_pem().unwrap().reveal());
    let done = place.run(&["backup", "it's.dump"]).await;
    assert_eq!((done.code, &*done.out), (Some(2), ""), "{done:?}");
    let command = r#"pg_dump --format=custom --file='it'\''s.dump' --dbname="$DATABASE_URL""#;
    assert!(done.err.contains(command) && !done.err.contains("hunter2"), "{done:?}");
}

/// Runs one of PostgreSQL's programs.
async fn postgres_program(name: &str, arguments: &[&str]) {
    let (name, arguments) = (name.to_owned(), arguments.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>());
    let run = tokio::task::spawn_blocking(move || Command::new(&name).args(arguments).output().unwrap());
    let done = run.await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dump_has_all_that_was_answered_before_it_and_is_restored_on_postgres() {
    let (store, target) = (Store::make(Engine::Postgres).await, Store::make(Engine::Postgres).await);
    let place = place_on(&store).await;
    let server = place.start().await;
    let agent = place.person("agent").await;
    let dump = place.path("skranke.dump").to_str().unwrap().to_owned();
    let answered = Mutex::default();
    let before = while_tickets_come(&server, &agent, &answered, async || {
        let before = answered.lock().unwrap().clone();
        let (file, from) = (format!("--file={dump}"), format!("--dbname={}", store.url_text()));
        postgres_program("pg_dump", &["--format=custom", &file, &from]).await;
        before
    })
    .await;
    let into = format!("--dbname={}", target.url_text());
    postgres_program("pg_restore", &["--exit-on-error", "--no-owner", &into, &dump]).await;
    let readers = readers(&server, &agent, AHEAD).await;
    // The copy of `place`, with its key, but on the other database.
    let restored = place.with("DATABASE_URL", target.url_text());
    has_all(&restored, &agent, &before, readers).await;
    server.stop().await;
    target.drop().await;
    store.drop().await;
}

/// The line of a check about `what`.
fn line<'a>(done: &'a Done, what: &str) -> &'a str {
    let found = done.out.lines().find(|line| line[8..].starts_with(&format!("{what}: ")));
    found.unwrap_or_else(|| panic!("nothing about {what}: {done:?}"))
}

/// What a check finds when something is wrong with `what`.
async fn is_found(place: &Place, what: &str, named: &str) {
    let done = place.run(&["check", "--deep"]).await;
    assert_eq!(done.code, Some(1), "{what}: {done:?}");
    assert!(line(&done, what).starts_with("failed ") && line(&done, what).contains(named), "{what}: {done:?}");
    assert!(!done.out.contains("hunter2") && !done.err.contains("hunter2"), "{done:?}");
}

/// A helpdesk with something in it, on which nothing is wrong, and then each thing in turn is.
async fn is_checked(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    if engine == Engine::Postgres {
        is_found(&place, "schema", "run `skranke migrate`").await;
    }
    let server = place.start().await;
    let agent = place.person("agent").await;
    for n in 1..=5 {
        server.open(&agent).await;
        let comment = json!({ "visibility": "public", "body": "Somebody is on the way." });
        server.post(&format!("/v1/tickets/{n}/comments")).by(&agent).json(&comment).expect(201).await;
    }
    let resolved = json!({ "status": "resolved" });
    server.ask(reqwest::Method::PATCH, "/v1/tickets/2").by(&agent).json(&resolved).expect(200).await;
    for arguments in [&["check"][..], &["check", "--deep"]] {
        // While it serves and after.
        let done = place.run(arguments).await;
        assert_eq!((done.code, &*done.err), (Some(0), ""), "{done:?}");
        assert!(done.out.lines().all(|line| line.starts_with("ok      ")), "{done:?}");
        for what in ["settings", "keys", "database", "schema", "webhooks", "integrity"] {
            line(&done, what);
        }
        assert_eq!(done.out.contains("numbers: "), arguments.len() == 2, "{done:?}");
    }
    server.stop().await;

    for (wrong, right, what, named) in [
        (
            r#"INSERT INTO tallies (series, labels, quarter, n) VALUES ('tickets', '["open","low","none"]', 0, 1)"#,
            "DELETE FROM tallies WHERE series = 'tickets' AND labels LIKE '%low%'",
            "numbers",
            "tickets by status",
        ),
        (
            r#"INSERT INTO tallies (series, labels, quarter, n)
               VALUES ('waiting_all_stand', '[null,"open","low",false,null,null,null]', 0, 3)"#,
            "DELETE FROM tallies WHERE series = 'waiting_all_stand' AND labels LIKE '%low%'",
            "numbers",
            "the backlog: run `skranke rebuild`",
        ),
        (
            "UPDATE tickets SET closed_at = created_at WHERE number = 1",
            "UPDATE tickets SET closed_at = NULL WHERE number = 1",
            "tickets",
            "contradict each other: 1",
        ),
        (
            "UPDATE events SET kind = 'lost' WHERE kind = 'ticket.created'",
            "UPDATE events SET kind = 'ticket.created' WHERE kind = 'lost'",
            "tickets",
            "begin with their opening: 5",
        ),
        (
            "UPDATE events SET kind = 'lost' WHERE kind = 'comment.added'",
            "UPDATE events SET kind = 'comment.added' WHERE kind = 'lost'",
            "tickets",
            "tell of them: 5",
        ),
        (
            "CREATE TABLE kept AS SELECT * FROM ticket_clocks WHERE ticket_number = 3;
             DELETE FROM ticket_clocks WHERE ticket_number = 3",
            "INSERT INTO ticket_clocks SELECT * FROM kept; DROP TABLE kept",
            "tags and clocks",
            "wrong are the clocks of 1 ticket (3): run `skranke rebuild`",
        ),
        (
            "UPDATE __diesel_schema_migrations SET version = '9999' WHERE version = '0001'",
            "UPDATE __diesel_schema_migrations SET version = '0001' WHERE version = '9999'",
            "schema",
            "9999 is of a newer version",
        ),
        (
            "INSERT INTO webhooks (id, name, principal_id, url, types, condition, include_ticket, secret, state, created_at, updated_at, version, position, failures)
             SELECT id, 'pager', id, 'https://example.org/', '[]', '{}', false, 'hunter2', 'paused', created_at, created_at, 1, 0, 0 FROM principals",
            "DELETE FROM webhooks",
            "webhooks",
            "the secrets of pager cannot be read: put the signing key back",
        ),
        (
            "DELETE FROM __diesel_schema_migrations WHERE version = '0001'",
            "INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('0001', CURRENT_TIMESTAMP)",
            "schema",
            "0001 is missing: run `skranke migrate`",
        ),
    ] {
        store.run(wrong).await;
        is_found(&place, what, named).await;
        store.run(right).await;
        assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0), "{right}");
    }
    if engine == Engine::Postgres {
        store.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'tickets_by_created'::regclass").await;
        is_found(&place, "integrity", "tickets_by_created is not valid: run REINDEX").await;
    } else {
        store.run("PRAGMA foreign_keys = OFF; UPDATE tickets SET assignee_id = zeroblob(16) WHERE number = 1").await;
        is_found(&place, "integrity", "tickets lacks a row of principals").await;
    }
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_nothing_wrong_or_what_is_wrong_on_sqlite() {
    is_checked(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_check_finds_nothing_wrong_or_what_is_wrong_on_postgres() {
    is_checked(Engine::Postgres).await;
}

#[tokio::test]
async fn a_check_makes_nothing_and_changes_nothing() {
    let place = Place::new();
    is_found(&place, "keys", "there is no data/skranke.key").await;
    is_found(&place, "database", "there is no data/skranke.db").await;
    assert!(!place.path("data").exists());

    // A server that was killed leaves a log beside the database that is not brought into it yet.
    let mut server = place.start().await;
    let agent = place.person("agent").await;
    server.open(&agent).await;
    server.process.kill();
    let before = contents(&place.path("data"));
    assert!(before.iter().any(|(path, text)| path.ends_with("skranke.db-wal") && !text.is_empty()));
    let done = place.run(&["check", "--deep"]).await;
    assert_eq!(done.code, Some(0), "{done:?}");
    // What several processes share in memory is a file, too, and is made anew by whoever comes first.
    let lasting = |files: Vec<(PathBuf, Vec<u8>)>| {
        files.into_iter().filter(|(path, _)| !path.ends_with("skranke.db-shm")).collect::<Vec<_>>()
    };
    assert!(lasting(contents(&place.path("data"))) == lasting(before), "a check changes nothing");

    let (database, key) = (place.path("data/skranke.db"), place.path("data/skranke.key"));
    for file in [&database, &key] {
        let what = if *file == key { "keys" } else { "database" };
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o644)).unwrap();
        is_found(&place, what, "everybody on this machine may read").await;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::write(&key, "hunter2").unwrap();
    is_found(&place, "keys", "should be an Ed25519 private key").await;
}

#[tokio::test]
async fn a_check_finds_a_file_that_is_damaged_and_a_server_that_is_away() {
    let place = Place::new();
    let server = place.start().await;
    let agent = place.person("agent").await;
    for _ in 0..50 {
        server.open(&agent).await;
    }
    server.stop().await;
    let path = place.path("data/skranke.db");
    // What is still in the log would stand in for what is damaged.
    let log = rusqlite::Connection::open(&path).unwrap();
    log.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    drop(log);
    let whole = std::fs::read(&path).unwrap();
    // The schema was there before the tickets, which stand at the end.
    let mut torn = whole.clone();
    let pages = torn.len() / 4096;
    for page in torn.chunks_mut(4096).skip(pages - 10) {
        // All of it: the middle of a page may have nothing in it.
        page.iter_mut().for_each(|byte| *byte ^= 0x55);
    }
    std::fs::write(&path, &torn).unwrap();
    is_found(&place, "integrity", "").await;
    std::fs::write(&path, b"something else".repeat(1_000)).unwrap();
    is_found(&place, "database", "database").await;
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(place.run(&["check", "--deep"]).await.code, Some(0));

    let away = Place::new()
        .with("DATABASE_URL", "postgres://skranke:hunter2@127.0.0.1:1/skranke")
        .with("SKRANKE_SIGNING_KEY", SigningKey::generate_pem().unwrap().reveal());
    is_found(&away, "database", "refused").await;
    let wrong = Place::new().with("SKRANKE_WORKERS", "many").with("SKRANKE_LISTEN", "hunter2").run(&["check"]).await;
    assert_eq!((wrong.code, wrong.out.lines().count()), (Some(1), 2), "{wrong:?}");
    assert!(wrong.out.lines().all(|line| line.starts_with("failed  settings: SKRANKE_")), "{wrong:?}");
    assert!(!wrong.out.contains("hunter2"), "{wrong:?}");
}

/// All that two servers, one of which cannot start, say while they hold secrets.
async fn tells_no_secret(engine: Engine) {
    let store = Store::make(engine).await;
    let [pem, previous] = [SigningKey::generate_pem().unwrap(), SigningKey::generate_pem().unwrap()];
    let shared = "a secret of thirty-two bytes, and more";
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true").with("SKRANKE_LOG", "trace");
    // PostgreSQL asks nobody for a password who comes from this machine, so that any one will do.
    let url = match engine {
        Engine::Sqlite => store.url_text(),
        Engine::Postgres => {
            let url = store.url_text();
            let (scheme, rest) = url.split_once("://").unwrap();
            let (user, host) = rest.split_once('@').unwrap_or(("postgres", rest));
            format!("{scheme}://{}:hunter2@{host}", user.split(':').next().unwrap())
        }
    };
    let issuers = json!([{ "issuer": "https://id.example", "algorithms": ["HS256"], "secret": shared }]).to_string();
    for (name, text) in [
        ("url", url.as_str()),
        ("signing.key", pem.reveal()),
        ("previous.key", previous.reveal()),
        ("issuers.json", &issuers),
    ] {
        std::fs::write(place.path(name), format!("{}\n", text.trim_end())).unwrap();
    }
    let place = place
        .without("DATABASE_URL")
        .without("SKRANKE_SIGNING_KEY")
        .with("DATABASE_URL_FILE", "url")
        .with("SKRANKE_SIGNING_KEY_FILE", "signing.key")
        .with("SKRANKE_PREVIOUS_SIGNING_KEY_FILE", "previous.key")
        .with("SKRANKE_ISSUERS_FILE", "issuers.json")
        .with("SKRANKE_SLOW_QUERY_MS", "1");
    let server = place.start().await;
    let admin = place.person("admin").await;
    server.open(&admin).await;
    server.get("/v1/tickets?q=fire").by(&admin).expect(200).await;
    let account = json!({ "name": "night-watch", "scopes": ["tickets:write"] });
    let account = server.post("/v1/service-accounts").by(&admin).json(&account).expect(201).await.body;
    let secret = account["secret"].as_str().unwrap().to_owned();
    let form = |secret: &str| {
        format!("grant_type=client_credentials&client_id={}&client_secret={secret}", account["id"].as_str().unwrap())
    };
    const FORM: &str = "application/x-www-form-urlencoded";
    let granted = server.post("/v1/auth/token").raw(FORM, form(&secret)).expect(200).await.body;
    let token = granted["access_token"].as_str().unwrap().to_owned();
    server.post("/v1/auth/token").raw(FORM, form("sks_guessed-wrong")).refused(401, "unauthenticated").await;
    server.get("/v1/me").token("not.a.token-at-all").refused(401, "unauthenticated").await;
    let checked = place.run(&["check", "--deep"]).await;
    let served = server.stop().await;

    let mut said = vec![served, checked];
    // Both set; none there; and something in the file that is not what it should be.
    for (key, value, named) in [
        ("DATABASE_URL", "sqlite://other.db", "DATABASE_URL and DATABASE_URL_FILE are both set"),
        ("SKRANKE_ISSUERS", "[]", "SKRANKE_ISSUERS and SKRANKE_ISSUERS_FILE are both set"),
        ("DATABASE_URL_FILE", "nowhere", "DATABASE_URL_FILE should name a file that can be read"),
        ("SKRANKE_ISSUERS_FILE", "nowhere", "SKRANKE_ISSUERS_FILE should name a file that can be read"),
        ("DATABASE_URL_FILE", "signing.key", "DATABASE_URL_FILE should be sqlite://PATH"),
        ("SKRANKE_ISSUERS_FILE", "signing.key", "SKRANKE_ISSUERS_FILE should be a JSON array"),
        ("SKRANKE_ISSUERS", r#"["hunter2 of thirty-two bytes or so"]"#, "SKRANKE_ISSUERS"),
    ] {
        let mut wrong = Place::new();
        wrong.take_settings(&place);
        let other = if named.contains("both") { None } else { Some(key.trim_end_matches("_FILE")) };
        let wrong = match other {
            Some(key) => wrong.without(key).without(&format!("{key}_FILE")),
            None => wrong,
        };
        for file in ["url", "signing.key", "previous.key", "issuers.json"] {
            std::fs::copy(place.path(file), wrong.path(file)).unwrap();
        }
        let done = wrong.with(key, value).run(&[]).await;
        assert_eq!((done.code, &*done.out), (Some(2), ""), "{key}={value}: {done:?}");
        assert!(done.err.contains(named), "{key}={value}: {done:?}");
        assert_eq!(done.err.lines().count(), 1, "{key}={value}: {done:?}");
        said.push(done);
    }
    let middle = |pem: &str| pem.lines().nth(1).unwrap()[8..40].to_owned();
    let key = middle(pem.reveal());
    let previous = middle(previous.reveal());
    for done in said {
        for hidden in
            ["hunter2", shared, &key, &previous, &secret, &token, &admin.token, "guessed-wrong", "token-at-all"]
        {
            assert!(!done.out.contains(hidden) && !done.err.contains(hidden), "{hidden} is told: {done:?}");
        }
    }
    store.drop().await;
}

#[tokio::test]
async fn secrets_come_from_files_and_are_told_to_nobody_on_sqlite() {
    tells_no_secret(Engine::Sqlite).await;
}

#[tokio::test]
async fn secrets_come_from_files_and_are_told_to_nobody_on_postgres() {
    tells_no_secret(Engine::Postgres).await;
}

/// The lines of a log in JSON that say `message`.
fn lines(done: &Done, message: &str) -> Vec<Value> {
    let all = done.err.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    all.filter(|line| line["message"] == message).collect()
}

async fn slow_is_told(engine: Engine) {
    let store = Store::make(engine).await;
    let place = place_on(&store).await;
    let agent = place.person("agent").await;
    // What makes writing a ticket slow, and nothing else.
    store
        .run(match engine {
            Engine::Sqlite => {
                "CREATE TRIGGER slow AFTER INSERT ON tickets BEGIN SELECT length(hex(randomblob(60000000))); END"
            }
            Engine::Postgres => {
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                 $$BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END$$;
                 CREATE TRIGGER slow AFTER INSERT ON tickets FOR EACH ROW EXECUTE FUNCTION slow()"
            }
        })
        .await;
    let mut place = place;
    for (least, is_told) in [("50", true), ("0", false)] {
        place = place.with("SKRANKE_SLOW_QUERY_MS", least);
        let server = place.start().await;
        let body = json!({ "subject": "hunter2 is in the subject" });
        let ask = server.post("/v1/tickets").by(&agent).header("x-request-id", "the-slow-one").json(&body);
        ask.expect(201).await;
        let done = server.stop().await;
        let slow = lines(&done, "slow query");
        let mine = slow.iter().filter(|line| line["span"]["request_id"] == "the-slow-one");
        let of_tickets = |line: &&Value| {
            let statement = line["statement"].as_str().unwrap();
            statement.contains("INSERT INTO") && statement.contains("tickets")
        };
        let told: Vec<_> = mine.filter(of_tickets).collect();
        assert_eq!(!told.is_empty(), is_told, "{done:?}");
        assert_eq!(slow.is_empty(), !is_told, "{done:?}");
        for line in told {
            assert!(line["level"] == "WARN" && line["duration_us"].as_u64().unwrap() >= 50_000, "{line}");
        }
        assert!(!done.err.contains("hunter2"), "{done:?}");
    }
    store.drop().await;
}

#[tokio::test]
async fn a_slow_statement_is_told_with_its_request_and_without_its_values_on_sqlite() {
    slow_is_told(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_slow_statement_is_told_with_its_request_and_without_its_values_on_postgres() {
    slow_is_told(Engine::Postgres).await;
}

/// Logins and acts of administration, and what the log tells of each.
async fn acts_are_told(engine: Engine) {
    const FORM: &str = "application/x-www-form-urlencoded";
    let store = Store::make(engine).await;
    let place = place_on(&store).await;
    let server = place.start().await;
    let admin = place.person("admin").await;
    let agent = place.person("agent").await;
    let me = |who: &Caller| server.get("/v1/me").by(who);
    let admin_id = me(&admin).expect(200).await.body["id"].as_str().unwrap().to_owned();
    let agent_id = me(&agent).expect(200).await.body["id"].as_str().unwrap().to_owned();

    let user = json!({ "email": "ada@example.org", "name": "Ada Lovelace", "role": "agent",
        "password": "correct horse battery staple" });
    let user =
        server.post("/v1/users").by(&admin).json(&user).expect(201).await.body["id"].as_str().unwrap().to_owned();
    let team = json!({ "name": "Second floor" });
    let team =
        server.post("/v1/teams").by(&admin).json(&team).expect(201).await.body["id"].as_str().unwrap().to_owned();
    let member = format!("/v1/teams/{team}/members/{user}");
    server.ask(reqwest::Method::PUT, &member).by(&admin).send().await;
    server.post("/v1/teams").by(&agent).json(&json!({ "name": "Mine" })).refused(403, "forbidden").await;
    server.ask(reqwest::Method::DELETE, "/v1/users/ada@example.org").by(&admin).expect(404).await;
    server.get("/v1/service-accounts").by(&admin).expect(200).await;
    server.open(&agent).await;

    let log_in = |password: &str| format!("grant_type=password&username=ada@example.org&password={password}");
    let right = log_in("correct+horse+battery+staple");
    let granted = server.post("/v1/auth/token").raw(FORM, right).expect(200).await.body;
    let refresh = format!("grant_type=refresh_token&refresh_token={}", granted["refresh_token"].as_str().unwrap());
    server.post("/v1/auth/token").raw(FORM, refresh.clone()).expect(200).await;
    for wrong in [
        log_in("hunter2"),
        refresh,
        "grant_type=password&username=nobody@example.org&password=hunter2".into(),
        format!("grant_type=client_credentials&client_id={user}&client_secret=hunter2"),
    ] {
        server.post("/v1/auth/token").raw(FORM, wrong).refused(401, "unauthenticated").await;
    }
    let done = server.stop().await;

    let told = |message, fields: [&str; 3]| -> Vec<[String; 3]> {
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines(&done, message).iter().map(|line| fields.map(|field| text(&line[field]))).collect()
    };
    let row = |a: &str, b: &str, c: &str| [a.to_owned(), b.to_owned(), c.to_owned()];
    assert_eq!(
        told("administration", ["action", "actor_id", "target_id"]),
        [
            row("POST /v1/users", &admin_id, &user),
            row("POST /v1/teams", &admin_id, &team),
            row("PUT /v1/teams/{id}/members/{user_id}", &admin_id, &format!("{team}/{user}")),
            row("POST /v1/teams", &agent_id, ""),
            row("DELETE /v1/users/{id}", &admin_id, ""),
        ],
        "{done:?}"
    );
    let status: Vec<_> = lines(&done, "administration").iter().map(|line| line["status"].as_u64().unwrap()).collect();
    assert_eq!((status[0], status[1], status[3], status[4]), (201, 201, 403, 404));
    assert_eq!(
        told("login", ["grant", "actor_id", "action"]),
        [row("password", &user, "login"), row("refresh_token", &user, "login")]
    );
    assert_eq!(
        told("login refused", ["grant", "target_id", "action"]),
        [
            row("password", &user, "login"),
            row("refresh_token", &user, "login"),
            row("password", "", "login"),
            row("client_credentials", "", "login"),
        ]
    );
    for line in ["administration", "login", "login refused"].iter().flat_map(|message| lines(&done, message)) {
        assert!(line["span"]["request_id"].is_string(), "{line}");
    }
    for hidden in ["ada@", "Lovelace", "Second floor", "hunter2", "staple"] {
        assert!(!done.err.contains(hidden), "{hidden} is told: {done:?}");
    }
    store.drop().await;
}

#[tokio::test]
async fn logins_and_administration_are_told_by_ids_on_sqlite() {
    acts_are_told(Engine::Sqlite).await;
}

#[tokio::test]
async fn logins_and_administration_are_told_by_ids_on_postgres() {
    acts_are_told(Engine::Postgres).await;
}

/// A collector: takes what OTLP over HTTP brings, and keeps it.
struct Collector {
    url: String,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    handle: actix_web::dev::ServerHandle,
}

impl Collector {
    fn open() -> Self {
        let got: Arc<Mutex<Vec<ExportTraceServiceRequest>>> = Arc::default();
        let kept = got.clone();
        let server = HttpServer::new(move || {
            let kept = kept.clone();
            let take = move |request: HttpRequest, body: web::Bytes| {
                let kept = kept.clone();
                async move {
                    assert_eq!(request.headers().get("content-type").unwrap(), "application/x-protobuf");
                    kept.lock().unwrap().push(ExportTraceServiceRequest::decode(&*body).unwrap());
                    HttpResponse::Ok().content_type("application/x-protobuf").body("")
                }
            };
            App::new().route("/v1/traces", web::post().to(take))
        })
        .workers(1)
        .disable_signals()
        .bind("127.0.0.1:0")
        .unwrap();
        let url = format!("http://{}", server.addrs()[0]);
        let server = server.run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, got, handle }
    }

    /// Every span with the attributes of its service.
    fn spans(&self) -> Vec<(Vec<KeyValue>, Span)> {
        let got = self.got.lock().unwrap();
        let of_services = got.iter().flat_map(|request| &request.resource_spans);
        let spans = of_services.flat_map(|of_one| {
            let service = of_one.resource.clone().unwrap().attributes;
            let spans = of_one.scope_spans.iter().flat_map(|scope| scope.spans.clone());
            spans.map(move |span| (service.clone(), span)).collect::<Vec<_>>()
        });
        spans.collect()
    }
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
    Some(match found {
        any_value::Value::StringValue(text) => json!(text),
        any_value::Value::IntValue(number) => json!(number),
        other => panic!("{key} is {other:?}"),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_traced_where_a_collector_is_named() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let collector = Collector::open();
    let place = Place::new().with("SKRANKE_OTLP_ENDPOINT", &*collector.url);
    let server = place.start().await;
    let agent = place.person("agent").await;
    let ticket = json!({ "subject": "hunter2" });
    let parent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let ask = server.post("/v1/tickets").by(&agent).header("traceparent", &parent).header("x-request-id", "mine");
    ask.json(&ticket).expect(201).await;
    server.get("/v1/tickets/nothing-like-it").by(&agent).expect(404).await;
    server.get("/hunter2").expect(404).await;
    let unsampled = format!("00-{}-00f067aa0ba902b7-00", TRACE.replace('4', "5"));
    server.get("/v1/me").by(&agent).header("traceparent", &unsampled).expect(200).await;
    let done = server.stop().await;

    let spans = collector.spans();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let names: Vec<_> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    assert_eq!(names, ["POST /v1/tickets", "GET /v1/tickets/{id}", "GET"], "what is not sampled is not sent");
    let (service, opened) = &spans[0];
    assert_eq!(attribute(service, "service.name"), Some(json!("skranke")));
    assert_eq!(attribute(service, "service.version"), Some(json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!((hex(&opened.trace_id).as_str(), hex(&opened.parent_span_id).as_str()), (TRACE, "00f067aa0ba902b7"));
    assert_eq!(opened.kind, SpanKind::Server as i32);
    assert!(opened.end_time_unix_nano > opened.start_time_unix_nano);
    for (key, value) in [
        ("http.request.method", json!("POST")),
        ("http.route", json!("/v1/tickets")),
        ("http.response.status_code", json!(201)),
        ("skranke.request_id", json!("mine")),
    ] {
        assert_eq!(attribute(&opened.attributes, key), Some(value), "{key}");
    }
    let fresh = &spans[1].1;
    assert!(fresh.parent_span_id.is_empty() && hex(&fresh.trace_id) != TRACE);
    assert!(done.err.contains(&hex(&fresh.trace_id)), "the log tells the trace");
    assert!(!format!("{spans:?}").contains("hunter2"), "{spans:?}");
    collector.handle.stop(false).await;

    // A collector that is away costs no request.
    let server = place.start().await;
    server.open(&agent).await;
    server.stop().await;
}
