//! PostgreSQL as it is run: several hosts, hosts that vanish, connections that break at the worst moment; and several
//! instances of the service behind one address.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use skranke::db::{DatabaseUrl, Db};

use crate::ledger::Ledger;
use crate::start::Place;
use crate::support::{Chance, Desk, Engine, Store, seed};
use crate::wire::Proxy;

/// Somewhere nobody listens.
async fn nowhere() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// A desk whose database is reached by these addresses.
async fn desk_by(store: Store, hosts: &[SocketAddr]) -> Desk {
    let (_, url) = store.elsewhere(hosts);
    let url: DatabaseUrl = url.parse().unwrap();
    Desk::open_at(store, |_| Db::open(&url, 8, Duration::from_secs(5)).unwrap(), vec![], |settings| settings).await
}

/// How long `request` took until it was refused as late, and that it says so.
async fn late(request: crate::support::Ask) -> Duration {
    let begun = std::time::Instant::now();
    let refused = request.refused(503, "unavailable").await;
    assert_eq!(refused.header("retry-after"), Some("1"));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_a_server_that_has_stopped_is_told_so_in_time() {
    let store = Store::make(Engine::Postgres).await;
    let proxy = Proxy::to(vec![store.elsewhere(&[]).0]).await;
    let (_, url) = store.elsewhere(&[proxy.address]);
    let url: DatabaseUrl = url.parse().unwrap();
    let open = |_: &DatabaseUrl| Db::open(&url, 4, Duration::from_secs(2)).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let agent = desk.agent().await;
    let ticket = desk.ticket(&agent, json!({})).await;
    let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
    let (subject, status) = (json!({ "subject": "s" }), json!({ "status": "open" }));
    // Twice: over the connections that were there, and over none.
    for _ in 0..2 {
        proxy.be_silent(true);
        let took = tokio::join!(
            late(desk.get("/health/ready")),
            late(desk.get(&path).by(&agent)),
            late(desk.get("/v1/tickets").by(&agent)),
            late(desk.post("/v1/tickets").by(&agent).json(&subject)),
            late(desk.patch(&path).by(&agent).json(&status)),
            late(desk.get("/v1/metrics/summary").by(&agent)),
        );
        let longest = [took.0, took.1, took.2, took.3, took.4].into_iter().max().unwrap();
        assert!(longest < Duration::from_secs(5), "{longest:?}");
        // A report has some seconds more.
        assert!(took.5 < Duration::from_secs(10), "{:?}", took.5);
    }
    proxy.be_silent(false);
    desk.get("/health/ready").expect(200).await;
    desk.patch(&path).by(&agent).json(&status).expect(200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_waits_for_a_lock_is_told_so_in_time_and_holds_nothing_afterwards() {
    let store = Store::make(Engine::Postgres).await;
    let open = |url: &DatabaseUrl| Db::open(url, 4, Duration::from_secs(2)).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    let (client, connection) = tokio_postgres::connect(&desk.store.url_text(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let subject = json!({ "subject": "s" });
    for _ in 0..3 {
        let took = tokio::join!(
            late(desk.get("/v1/tickets").by(&agent)),
            late(desk.post("/v1/tickets").by(&agent).json(&subject)),
        );
        assert!(took.0.max(took.1) < Duration::from_secs(5), "{took:?}");
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1, "what was late has changed nothing");
    desk.post("/v1/tickets").by(&agent).json(&subject).expect(201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_not_said_to_have_changed_nothing() {
    let store = Store::make(Engine::Postgres).await;
    let proxy = Proxy::to(vec![store.elsewhere(&[]).0]).await;
    let desk = desk_by(store, &[proxy.address]).await;
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    let ask = || desk.post("/v1/tickets").by(&agent).header("idempotency-key", "once").json(&json!({ "subject": "s" }));
    proxy.swallow_commit();
    let lost = ask().refused(503, "unavailable").await;
    assert!(lost.body["detail"].as_str().unwrap().contains("may have been made or not"), "{}", lost.text());
    assert_eq!(lost.header("retry-after"), Some("1"));
    let again = ask().expect(201).await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 2);
    // What breaks before the commit has changed nothing, and is done again on another connection.
    for _ in 0..10 {
        desk.store.end_a_connection().await;
        desk.post("/v1/tickets").by(&agent).json(&json!({ "subject": "s" })).expect(201).await;
        desk.get("/v1/metrics/summary").by(&agent).expect(200).await;
    }
    assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 12);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_hosts_the_one_that_serves_is_used() {
    let store = Store::make(Engine::Postgres).await;
    let there = store.elsewhere(&[]).0;
    let (away, proxy) = (nowhere().await, Proxy::to(vec![there]).await);
    let desk = desk_by(store, &[away, proxy.address, there]).await;
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    assert!(proxy.connections() > 0);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_vanishes_is_left_for_another() {
    let store = Store::make(Engine::Postgres).await;
    let there = store.elsewhere(&[]).0;
    let (first, second) = (Proxy::to(vec![there]).await, Proxy::to(vec![there]).await);
    // Ten seconds of silence are long for a test.
    let (_, url) = store.elsewhere(&[first.address, second.address]);
    let url: DatabaseUrl = format!("{url}?connect_timeout=1").parse().unwrap();
    let open = |_: &DatabaseUrl| Db::open(&url, 8, Duration::from_secs(5)).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let agent = desk.agent().await;
    assert_eq!((first.connections() > 0, second.connections()), (true, 0));
    first.be_silent(true);
    desk.store.refuse_connections(true).await;
    desk.store.refuse_connections(false).await;
    // Nobody greets at the first host; the second one serves.
    let begun = std::time::Instant::now();
    desk.ticket(&agent, json!({})).await;
    assert!(second.connections() > 0 && begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_is_told_when_to_give_up_an_instance() {
    let store = Store::make(Engine::Postgres).await;
    let db = Db::open(&store.url, 2, Duration::from_secs(5)).unwrap();
    const TOLD: &str = "DO $$ BEGIN ASSERT current_setting('idle_in_transaction_session_timeout') = '1min'
                AND current_setting('tcp_user_timeout') IN ('15000', '15s')
                AND current_setting('tcp_keepalives_idle') IN ('10', '10s'); END $$";
    db.read(async |conn| Ok(conn.batch(TOLD).await?)).await.unwrap();
    db.snapshot(async |conn| Ok(conn.batch(TOLD).await?)).await.unwrap();
    drop(db);
    store.drop().await;
}

#[tokio::test]
async fn an_url_names_hosts_with_a_port_each() {
    for url in [
        "postgres://u@one.example:5433,two.example,[::1]:5435/desk",
        "postgres://u:p@one.example,two.example/desk?target_session_attrs=any&connect_timeout=3&keepalives_idle=60",
        "postgres:///desk?host=/var/run/postgresql",
    ] {
        let url: DatabaseUrl = url.parse().unwrap();
        Db::open(&url, 1, Duration::from_secs(1)).unwrap();
    }
    for bad in
        ["postgres:///desk", "postgres://u@one:1,two:2,three:x/desk", "postgres://u@one/d?target_session_attrs=x"]
    {
        assert!(bad.parse::<DatabaseUrl>().is_err(), "{bad}");
    }
}

/// Two processes on one database behind a balancer that takes turns.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_behind_a_balancer_are_one_service() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let (one, two) = (place.start().await, place.start().await);
    let address = |url: &str| url.strip_prefix("http://").unwrap().parse().unwrap();
    let balancer = Proxy::to(vec![address(&one.url), address(&two.url)]).await;
    let url = format!("http://{}", balancer.address);
    let admin = place.person("admin").await;
    let ask = |method: Method, path: &str| {
        // A connection each, so that requests take turns.
        crate::support::Ask(
            reqwest::Client::new().request(method, format!("{url}{path}")).header("connection", "close"),
        )
    };

    // One key: whoever is asked knows it, and its tokens.
    let keys = [
        ask(Method::GET, "/.well-known/jwks.json").expect(200).await,
        ask(Method::GET, "/.well-known/jwks.json").expect(200).await,
    ];
    assert_eq!(keys[0].body, keys[1].body);
    let open =
        || ask(Method::POST, "/v1/tickets").by(&admin).header("idempotency-key", "k").json(&json!({ "subject": "s" }));
    let (first, again) = (open().expect(201).await, open().expect(201).await);
    assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
    // The tag that one gives the other honours.
    let tag = first.header("etag").unwrap().to_owned();
    for _ in 0..2 {
        ask(Method::GET, "/v1/tickets/1").by(&admin).header("if-none-match", &tag).expect(304).await;
    }
    let patch = |tag: &str| {
        ask(Method::PATCH, "/v1/tickets/1").by(&admin).header("if-match", tag).json(&json!({ "subject": "t" }))
    };
    patch(&tag).expect(200).await;
    patch(&tag).refused(412, "version_mismatch").await;
    // Whom one sends away the other sends away, at once.
    let account = json!({ "name": "script", "scopes": ["tickets:read"] });
    let made = ask(Method::POST, "/v1/service-accounts").by(&admin).json(&account).expect(201).await.body;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap()
    );
    let token =
        ask(Method::POST, "/v1/auth/token").raw("application/x-www-form-urlencoded", form).expect(200).await.body;
    let look = || ask(Method::GET, "/v1/tickets").token(token["access_token"].as_str().unwrap());
    look().expect(200).await;
    look().expect(200).await;
    ask(Method::DELETE, &format!("/v1/service-accounts/{}", made["id"].as_str().unwrap())).by(&admin).expect(204).await;
    look().refused(401, "unauthenticated").await;
    look().refused(401, "unauthenticated").await;
    one.stop().await;
    two.stop().await;
    store.drop().await;
}

/// Instances are replaced one after the other while clients write: what is asked of one that goes is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_are_replaced_one_by_one() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let (mut old, mut new) = (place.start().await, place.start().await);
    let ledger = Ledger::open(&old, place.person("admin").await).await;
    ledger.moved(&[&old.url, &new.url]);
    let clients = ledger.write(4, Chance(seed()).0);
    for round in 0..2 {
        ledger.grows_by(10).await;
        if round == 1 {
            // One of tomorrow has been here: what it has added, and what it says of itself, disturbs nobody.
            let tomorrow =
                "ALTER TABLE tickets ADD COLUMN of_tomorrow text; CREATE TABLE things_of_tomorrow (id bigint);
                            INSERT INTO __diesel_schema_migrations (version) VALUES ('9999')";
            store.run(tomorrow).await;
        }
        ledger.moved(&[&new.url]);
        old.stop().await;
        // A migration runs while another instance serves.
        assert_eq!(place.print(&["migrate"]).await, "The schema is up to date; migrations run: 0.\n");
        old = std::mem::replace(&mut new, place.start().await);
        ledger.moved(&[&old.url, &new.url]);
    }
    ledger.grows_by(10).await;
    ledger.finish(clients).await;
    ledger.prove(&new).await;
    old.stop().await;
    new.stop().await;
    store.drop().await;
}
