//! Lists and reports from a replica. A second database stands for it: what it shows tells where an answer comes from.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use diesel::connection::InstrumentationEvent;
use serde_json::json;
use skranke::db::{Db, Listener};

use crate::support::{Caller, Desk, Engine, Store};

/// How many tickets the list and the summary tell of.
async fn counts(desk: &Desk, who: &Caller) -> (usize, i64) {
    let list = desk.get("/v1/tickets").by(who).expect(200).await.body;
    let summary = desk.get("/v1/metrics/summary").by(who).expect(200).await.body;
    (list["items"].as_array().unwrap().len(), summary["total"]["tickets"]["created"].as_i64().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_reports_may_lag_and_nothing_else() {
    let replica = Store::make(Engine::Postgres).await;
    let url = replica.url.clone();
    let wait = Duration::from_secs(5);
    Db::open(&url, 1, wait).unwrap().migrate().await.unwrap();
    // Slow statements are told of in the log wherever they run.
    let asked = Arc::new(AtomicUsize::new(0));
    let ear = asked.clone();
    let listener: Listener = Arc::new(move || {
        let ear = ear.clone();
        Box::new(move |event: InstrumentationEvent<'_>| {
            ear.fetch_add(usize::from(matches!(event, InstrumentationEvent::StartQuery { .. })), Ordering::SeqCst);
        })
    });
    let open = |primary: &_| Db::open(primary, 8, wait).unwrap().with_replica(&url, 8, Some(listener)).unwrap();
    let desk = Desk::open_at(Store::make(Engine::Postgres).await, open, vec![], |settings| settings).await;
    let (writer, reader) = (desk.agent().await, desk.agent().await);
    desk.ticket(&writer, json!({ "subject": "There is smoke" })).await;
    // A window of time ends before now.
    desk.clock.pass_s(1);

    // The replica knows of nothing yet.
    assert_eq!(counts(&desk, &reader).await, (0, 0));
    assert!(asked.load(Ordering::SeqCst) > 0, "what the replica is asked is heard");
    let found = |who| desk.get("/v1/tickets?q=smoke").by(who).expect(200);
    assert_eq!(found(&reader).await.body["items"].as_array().unwrap().len(), 0);
    assert_eq!(desk.get("/v1/metrics/backlog").by(&reader).expect(200).await.body["total"]["open"], 0);
    // What is asked for by its name is as it is now, and so is what belongs to it.
    for path in ["/v1/tickets/1", "/v1/tickets/1/events", "/v1/tickets/1/comments", "/v1/tickets/1/sla", "/v1/me"] {
        desk.get(path).by(&reader).expect(200).await;
    }
    // Counters never fall: they are all of one database.
    let scrape = desk.get("/metrics").by(&reader).expect(200).await.text();
    assert!(scrape.contains("skranke_tickets{status=\"new\",priority=\"normal\",team=\"none\"} 1\n"), "{scrape}");

    // Who has written sees it, and after a while is content with the replica again.
    assert_eq!(counts(&desk, &writer).await, (1, 1));
    assert_eq!(found(&writer).await.body["items"].as_array().unwrap().len(), 1);
    let another = desk.another_instance();
    let elsewhere = || desk.ask_at(&another, reqwest::Method::GET, "/v1/tickets").by(&writer);
    assert_eq!(
        elsewhere().expect(200).await.body["items"].as_array().unwrap().len(),
        0,
        "another instance does not know"
    );
    desk.clock.pass_s(8);
    assert_eq!(counts(&desk, &writer).await, (1, 1));
    desk.clock.pass_s(1);
    assert_eq!(counts(&desk, &writer).await, (0, 0));
    // Whoever demands what is there now gets it.
    for directive in ["no-cache", "max-age=0", "no-store, No-Cache"] {
        let list = elsewhere().header("cache-control", directive).expect(200).await.body;
        assert_eq!(list["items"].as_array().unwrap().len(), 1, "{directive}");
    }
    assert_eq!(elsewhere().header("cache-control", "max-age=60").expect(200).await.body["items"], json!([]));

    // While the replica is away, the primary serves; when it is back, it does again.
    replica.refuse_connections(true).await;
    assert_eq!(counts(&desk, &reader).await, (1, 1));
    assert_eq!(counts(&desk, &reader).await, (1, 1));
    desk.get("/health/ready").expect(200).await;
    replica.refuse_connections(false).await;
    crate::start::until("the replica to be asked again", async || {
        (counts(&desk, &reader).await == (0, 0)).then_some(())
    })
    .await;
    // A replica that lacks what the primary has is no help.
    replica.run("DROP TABLE ticket_clocks CASCADE").await;
    assert_eq!(counts(&desk, &reader).await.0, 1);
    desk.close().await;
    replica.drop().await;
}

#[tokio::test]
async fn a_replica_is_of_postgres_alone() {
    let (sqlite, postgres) = (Store::make(Engine::Sqlite).await, Store::make(Engine::Postgres).await);
    let wait = Duration::from_secs(1);
    assert!(Db::open(&sqlite.url, 1, wait).unwrap().with_replica(&postgres.url, 1, None).is_err());
    for (url, words) in
        [(&*postgres.url_text(), "should be empty on SQLite"), ("mysql://hunter2", "should be postgres://")]
    {
        let done = crate::start::Place::on(&sqlite).with("DATABASE_REPLICA_URL", url).run(&[]).await;
        assert_eq!(done.code, Some(2));
        assert!(
            done.err.contains("DATABASE_REPLICA_URL") && done.err.contains(words) && !done.err.contains("hunter2"),
            "{}",
            done.err
        );
    }
    sqlite.drop().await;
    postgres.drop().await;
}
