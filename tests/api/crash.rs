//! The process is killed at any moment, and nothing that was acknowledged is lost.
//!
//! The short form runs with all tests. The long one: `SKRANKE_TEST_KILLS=100 tests/run.sh --only-tests --test api --
//! crash:: --nocapture`.

use std::time::{Duration, Instant};

use skranke::db::Db;
use skranke::tickets::service::recount;

use crate::followers::Followers;
use crate::ledger::Ledger;
use crate::start::{Place, Server};
use crate::support::{Chance, Engine, Store, seed};

/// How many clients write at once.
const CLIENTS: u64 = 8;

/// How often the process is killed: a few times, unless `SKRANKE_TEST_KILLS` says otherwise.
fn kills() -> usize {
    std::env::var("SKRANKE_TEST_KILLS").map_or(4, |kills| kills.parse().unwrap())
}

/// How many processes serve at once.
const fn instances(engine: Engine) -> usize {
    match engine {
        Engine::Sqlite => 1,
        Engine::Postgres => 3,
    }
}

/// Kills a process while clients write, starts another one, and again; others follow what they write meanwhile.
#[expect(clippy::print_stdout, reason = "the figures of the long form")]
async fn killed(engine: Engine) {
    let (begun, mut chance) = (Instant::now(), Chance(seed()));
    let store = Store::make(engine).await;
    let place = Place::on(&store)
        .with("SKRANKE_MIGRATE_ON_START", "true")
        .with("SKRANKE_EGRESS_ALLOW", "127.0.0.0/8")
        .with("SKRANKE_REQUESTS_PER_PRINCIPAL", "0");
    let mut servers = vec![place.start().await];
    let ledger = Ledger::open(&servers[0], place.person("admin").await).await;
    let followers = Followers::attach(&ledger, &servers[0]).await;
    while servers.len() < instances(engine) {
        servers.push(place.start().await);
    }
    let moved = |servers: &[Server]| ledger.moved(&servers.iter().map(|server| &*server.url).collect::<Vec<_>>());
    moved(&servers);
    let clients = ledger.write(CLIENTS, chance.0);
    for _ in 0..kills() {
        // Work is under way again; whatever it is at then.
        ledger.grows_by(1 + chance.below(60)).await;
        if engine == Engine::Postgres && chance.below(2) == 0 {
            store.end_a_connection().await;
            ledger.grows_by(1 + chance.below(10)).await;
        }
        tokio::time::sleep(Duration::from_micros(chance.below(30_000) as u64)).await;
        let which = chance.below(servers.len());
        servers[which].process.kill();
        servers[which] = place.start().await;
        moved(&servers);
    }
    ledger.grows_by(1).await;
    ledger.finish(clients).await;
    servers.iter_mut().for_each(|server| server.process.kill());
    store.is_sound();

    let server = place.start().await;
    moved(std::slice::from_ref(&server));
    ledger.prove(&server).await;
    followers.prove(&ledger, &server).await;
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
