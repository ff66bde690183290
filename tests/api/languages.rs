//! PostgreSQL speaks the language that its operator has chosen: what its errors mean does not depend on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use skranke::db::{Conn, Db, Roots};
use skranke::kernel::Problem;
use tokio::sync::Barrier;

use crate::support::{Engine, Store};

/// What a problem tells its caller who has to come again.
const AGAIN: &str = "unavailable: Nothing was changed. Try again in a moment.";
const LATE: &str = "unavailable: The database did not answer in time. Nothing was changed. Try again in a moment.";
const FULL: &str = "unavailable: There is no room left for the database. Nothing was changed, and what is there can be read. \
                    Try again when there is room.";
const FAULT: &str = "internal_error: The fault is logged under the request id.";

/// A server that speaks `language`, with a database of its own.
struct Server {
    store: Store,
    db: Db,
    /// A connection of the test's own.
    client: tokio_postgres::Client,
}

impl Server {
    async fn that_speaks(language: &str) -> Self {
        let store = Store::make(Engine::Postgres).await;
        let client = connect(&store).await;
        let speak = format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET lc_messages = %L', current_database(), '{language}'); END $$"
        );
        client.batch_execute(&speak).await.expect("a server that has this language: tests/run.sh starts one");
        let client = connect(&store).await;
        let tables = "CREATE TABLE pair (id int PRIMARY KEY, n int); INSERT INTO pair VALUES (1, 0), (2, 0); \
                      CREATE TABLE taken (id int)";
        client.batch_execute(tables).await.unwrap();
        let db = Db::open(&store.url, 8, Duration::from_secs(30)).unwrap();
        db.migrate().await.unwrap();
        let db = db.serving(1).unwrap().local();
        Self { store, db, client }
    }

    /// What it says of a division by zero.
    async fn says(&self) -> String {
        let error = self.client.batch_execute("SELECT 1 / 0").await.unwrap_err();
        error.as_db_error().unwrap().message().to_owned()
    }

    /// Sends each of `statements` in a write, if it is the first try; gives what comes of it.
    async fn hears(&self, statements: &[&str]) -> String {
        let statements: Vec<_> = statements.iter().map(|&sql| sql.to_owned()).collect();
        let tries = Arc::new(AtomicUsize::new(0));
        let count = tries.clone();
        let work = async move |tx: &mut Conn| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                for sql in &statements {
                    tx.batch(sql).await?;
                }
            }
            Ok(())
        };
        told(self.db.write(Roots::none(), work).await, tries.load(Ordering::SeqCst))
    }

    /// As whoever waits too long in a transaction hears it.
    async fn hears_of_waiting(&self) -> String {
        let tries = Arc::new(AtomicUsize::new(0));
        let count = tries.clone();
        let work = async move |tx: &mut Conn| {
            if count.fetch_add(1, Ordering::SeqCst) == 0 {
                tx.batch("SET LOCAL idle_in_transaction_session_timeout = '10ms'").await?;
                loop {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    tx.batch("SELECT 1").await?;
                }
            }
            Ok(())
        };
        told(self.db.write(Roots::none(), work).await, tries.load(Ordering::SeqCst))
    }

    /// Two writes that wait for each other; gives how many tries both took, and how often each of two rows was written.
    async fn deadlock(&self) -> (usize, i32, i32) {
        let (tries, meet) = (Arc::new(AtomicUsize::new(0)), Arc::new(Barrier::new(2)));
        let write = |first: i32, second: i32| {
            let (tries, meet) = (tries.clone(), meet.clone());
            self.db.write(Roots::none(), async move |tx: &mut Conn| {
                let nth = tries.fetch_add(1, Ordering::SeqCst);
                tx.batch(&format!("UPDATE pair SET n = n + 1 WHERE id = {first}")).await?;
                if nth < 2 {
                    meet.wait().await;
                }
                Ok(tx.batch(&format!("UPDATE pair SET n = n + 1 WHERE id = {second}")).await?)
            })
        };
        let (one, other) = tokio::join!(write(1, 2), write(2, 1));
        assert_eq!((told(one, 1), told(other, 1)), ("done at try 1".into(), "done at try 1".into()));
        let rows = self.client.query("SELECT n FROM pair ORDER BY id", &[]).await.unwrap();
        (tries.load(Ordering::SeqCst), rows[0].get(0), rows[1].get(0))
    }
}

async fn connect(store: &Store) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&store.url_text(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn told(outcome: Result<(), Problem>, tries: usize) -> String {
    match outcome {
        Ok(()) => format!("done at try {tries}"),
        Err(problem) => format!("{}: {}", problem.code().as_str(), problem.detail()),
    }
}

async fn every_error_means_what_it_means_in_english(language: &str, division_by_zero: &str) {
    let server = Server::that_speaks(language).await;
    assert_eq!(server.says().await, division_by_zero);

    let mut other = connect(&server.store).await;
    let lock = other.transaction().await.unwrap();
    lock.batch_execute("LOCK TABLE taken IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for (statements, heard) in [
        // Who is locked out begins again.
        (["SET LOCAL lock_timeout = '10ms'", "SELECT FROM taken"].as_slice(), "done at try 2"),
        (&["LOCK TABLE taken IN SHARE MODE NOWAIT"], "done at try 2"),
        (&["SET LOCAL statement_timeout = '10ms'", "SELECT pg_sleep(60)"], LATE),
        (&["SELECT pg_cancel_backend(pg_backend_pid())", "SELECT pg_sleep(60)"], LATE),
        (&["SET TRANSACTION READ ONLY", "UPDATE pair SET n = 0"], AGAIN),
        (&["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_sleep(60)"], "done at try 2"),
        (&["SELECT 1 / 0"], FAULT),
    ] {
        assert_eq!(server.hears(statements).await, heard, "{statements:?}");
    }
    lock.rollback().await.unwrap();
    assert_eq!(server.hears_of_waiting().await, "done at try 2");
    let (tries, one, two) = server.deadlock().await;
    assert!(tries > 2, "nobody has met a deadlock");
    assert_eq!((one, two), (2, 2));

    // All that is open ends between two requests.
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let look = async |conn: &mut Conn| Ok(conn.batch("SELECT 1").await?);
    for _ in 0..3 {
        assert_eq!(told(server.db.read(look).await, 1), "done at try 1");
        server.client.batch_execute(end).await.unwrap();
        assert_eq!(told(server.db.read(look).await, 1), "done at try 1");
        server.client.batch_execute(end).await.unwrap();
        assert_eq!(told(server.db.list(look).await, 1), "done at try 1");
        server.client.batch_execute(end).await.unwrap();
        assert_eq!(told(server.db.snapshot(look).await, 1), "done at try 1");
    }
    server.store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_in_english() {
    every_error_means_what_it_means_in_english("C", "division by zero").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_in_german_mean_what_they_mean_in_english() {
    every_error_means_what_it_means_in_english("de_DE.UTF-8", "Division durch Null").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_known_by_its_code_whatever_it_says() {
    let server = Server::that_speaks("C").await;
    let raised = async |code: &str, words: &str| {
        let raise = format!("DO $$ BEGIN RAISE EXCEPTION '{words}' USING ERRCODE = '{code}'; END $$");
        server.hears(&[&raise]).await
    };
    for (codes, heard) in [
        (["40001", "40P01", "55P03"].as_slice(), "done at try 2"),
        (&["57014"], LATE),
        (&["53100"], FULL),
        (&["08000", "08006", "25006", "25P03", "53000", "53200", "53300", "57P01", "57P02", "57P03", "58030"], AGAIN),
        (&["22012", "42601", "XX000", "P0001"], FAULT),
    ] {
        for code in codes {
            assert_eq!(raised(code, "Auf Deutsch").await, heard, "{code}");
        }
    }
    // Words alone mean nothing.
    for words in [
        "deadlock detected",
        "canceling statement due to lock timeout",
        "terminating connection due to administrator command",
        "could not extend file: No space left on device",
        "cannot execute INSERT in a read-only transaction",
        "the database system is starting up",
        "database is locked",
    ] {
        assert_eq!(raised("P0001", words).await, FAULT, "{words}");
    }
    server.store.drop().await;
}
