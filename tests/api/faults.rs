//! Faults of real PostgreSQL servers, which the scripts in `tests/postgres` make and these tests meet. `cargo test`
//! alone leaves them out: they need servers that keep what they have answered, and a command that breaks one.
//!
//! `SKRANKE_TEST_FAULT` is that command, `SKRANKE_TEST_REPAIR` the one that mends what it broke, `SKRANKE_TEST_FAULTS`
//! how often, and `SKRANKE_TEST_REPLICA` the address of a standby.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use skranke::db::Db;
use skranke::tickets::service::recount;

use crate::followers::Followers;
use crate::ledger::Ledger;
use crate::start::{Place, until};
use crate::support::{Ask, Chance, Engine, Store, seed};

/// How many clients write at once.
const CLIENTS: u64 = 8;

/// How many writes pass before and after a fault.
const WRITES: usize = 200;

fn given(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this by a script of tests/postgres"))
}

/// Runs a command to its end; gives how long it took.
async fn run(command: String) -> Duration {
    let begun = Instant::now();
    let run = move || std::process::Command::new("sh").args(["-c", &command]).status().unwrap();
    assert!(tokio::task::spawn_blocking(run).await.unwrap().success());
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "breaks the server: run tests/postgres/failover.sh or tests/postgres/crash.sh"]
#[expect(clippy::print_stdout, reason = "the figures")]
async fn a_fault_of_the_server_while_clients_write() {
    let mut chance = Chance(seed());
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store)
        .with("SKRANKE_MIGRATE_ON_START", "true")
        .with("SKRANKE_DATABASE_POOL_SIZE", "16")
        .with("SKRANKE_EGRESS_ALLOW", "127.0.0.0/8")
        .with("SKRANKE_REQUESTS_PER_PRINCIPAL", "0");
    let server = place.start().await;
    let ledger = Ledger::open(&server, place.person("admin").await).await;
    let followers = Followers::attach(&ledger, &server).await;
    let clients = ledger.write(CLIENTS, chance.0);
    let faults = std::env::var("SKRANKE_TEST_FAULTS").map_or(1, |faults| faults.parse().unwrap());
    for nth in 1..=faults {
        ledger.grows_by(WRITES + chance.below(50)).await;
        ledger.begin_gap();
        let took = run(given("SKRANKE_TEST_FAULT")).await;
        ledger.grows_by(WRITES).await;
        let gap_ms = ledger.tally().longest_gap_ms;
        println!("Fault {nth}: the command took {} ms, nothing was written for {gap_ms} ms", took.as_millis());
    }
    ledger.finish(clients).await;
    ledger.prove(&server).await;
    followers.prove(&ledger, &server).await;
    let told = ledger.kept_series(&server).await;
    let db = Db::open(&store.url, 2, Duration::from_secs(5)).unwrap();
    store.run("DELETE FROM tallies").await;
    recount(&db, &|_| {}).await.unwrap();
    assert_eq!(ledger.kept_series(&server).await, told);
    println!("Faults: {:?}", ledger.tally());
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a standby: run tests/postgres/failover.sh"]
#[expect(clippy::print_stdout, reason = "the figures")]
async fn reads_from_a_standby_that_goes_and_comes() {
    let store = Store::make(Engine::Postgres).await;
    let (_, replica) = store.elsewhere(&[given("SKRANKE_TEST_REPLICA").parse().unwrap()]);
    // Whether anybody reads there.
    let is_read = async || {
        let Ok((client, connection)) = tokio_postgres::connect(&replica, tokio_postgres::NoTls).await else {
            return false;
        };
        tokio::spawn(connection);
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'skranke'";
        client.query_one(sql, &[]).await.is_ok_and(|row| row.get::<_, i64>(0) > 0)
    };
    let place =
        Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true").with("DATABASE_REPLICA_URL", replica.as_str());
    until("the database to reach the standby", async || {
        tokio_postgres::connect(&replica, tokio_postgres::NoTls).await.is_ok().then_some(())
    })
    .await;
    let server = place.start().await;
    let ledger = Ledger::open(&server, place.person("admin").await).await;
    let clients = ledger.write(2, seed());
    let reader = place.person("agent").await;
    let (is_over, slowest_us, reads) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let readers: Vec<_> = ["/v1/tickets", "/v1/tickets?q=client", "/v1/metrics/summary"]
        .into_iter()
        .map(|path| {
            let (url, reader) = (format!("{}{path}", server.url), reader.clone());
            let (is_over, slowest_us, reads) = (is_over.clone(), slowest_us.clone(), reads.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::new();
                while !is_over.load(Ordering::SeqCst) {
                    let begun = Instant::now();
                    Ask(client.get(&url)).by(&reader).expect(200).await;
                    slowest_us.fetch_max(u64::try_from(begun.elapsed().as_micros()).unwrap(), Ordering::SeqCst);
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    let figures = |what: &str| {
        let (slowest_ms, reads) = (slowest_us.swap(0, Ordering::SeqCst) / 1000, reads.swap(0, Ordering::SeqCst));
        println!("Replica {what}: {reads} reads, none failed, the slowest took {slowest_ms} ms");
    };
    for _ in 0..2 {
        until("reads at the standby", async || is_read().await.then_some(())).await;
        ledger.grows_by(WRITES).await;
        figures("there");
        run(given("SKRANKE_TEST_FAULT")).await;
        ledger.grows_by(WRITES).await;
        figures("away");
        run(given("SKRANKE_TEST_REPAIR")).await;
    }
    until("reads at the standby", async || is_read().await.then_some(())).await;
    is_over.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    ledger.finish(clients).await;
    server.stop().await;
    // What the ledger proves it counts in lists: those of the primary.
    let place = place.with("DATABASE_REPLICA_URL", "");
    let server = place.start().await;
    ledger.prove(&server).await;
    server.stop().await;
    store.drop().await;
}
