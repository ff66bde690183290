//! The process is killed at any moment, and nothing that was acknowledged is lost.
//!
//! The short form runs with all tests. The long one: `SKRANKE_TEST_KILLS=100 tests/run.sh --only-tests --test api --
//! crash:: --nocapture`.

use std::time::{Duration, Instant};

use skranke::db::Db;
use skranke::tickets::service::recount;

use crate::ledger::Ledger;
use crate::start::Place;
use crate::support::{Chance, Engine, Store, seed};

/// How many clients write at once.
const CLIENTS: u64 = 8;

/// How often the process is killed: a few times, unless `SKRANKE_TEST_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var("SKRANKE_TEST_KILLS").map_or(4, |kills| kills.parse().unwrap())
}

/// Kills the process while clients write, starts another one, and again.
#[expect(clippy::print_stdout, reason = "the figures of the long form")]
async fn killed(engine: Engine) {
    let (begun, mut chance) = (Instant::now(), Chance(seed()));
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let mut server = place.start().await;
    let ledger = Ledger::open(&server, place.person("admin").await).await;
    let clients = ledger.write(CLIENTS, chance.0);
    for _ in 0..kills() {
        // Work is under way again; whatever it is at then.
        ledger.grows_by(1 + chance.below(60)).await;
        if engine == Engine::Postgres && chance.below(2) == 0 {
            store.end_a_connection().await;
            ledger.grows_by(1 + chance.below(10)).await;
        }
        tokio::time::sleep(Duration::from_micros(chance.below(30_000) as u64)).await;
        server.process.kill();
        server = place.start().await;
        ledger.moved(&[&server.url]);
    }
    ledger.grows_by(1).await;
    ledger.finish(clients).await;
    server.process.kill();
    store.is_sound();

    let server = place.start().await;
    ledger.prove(&server).await;
    let told = ledger.kept_series(&server).await;
    server.stop().await;
    // Counted all over again from the tickets.
    let db = Db::open(&store.url, 2, Duration::from_secs(5)).unwrap();
    store.run("DELETE FROM tallies").await;
    recount(&db, &|_| {}).await.unwrap();
    let server = place.start().await;
    assert_eq!(ledger.kept_series(&server).await, told);
    server.stop().await;
    println!("{engine:?}: {} kills, {:?}, {} s", kills(), ledger.tally(), begun.elapsed().as_secs());
    drop(db);
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_on_sqlite() {
    killed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_the_process_is_killed_on_postgres() {
    killed(Engine::Postgres).await;
}
