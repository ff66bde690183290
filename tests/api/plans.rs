//! How the databases go about the queries of lists: by an index, however many tickets there are.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use diesel::connection::{InstrumentationEvent, set_default_instrumentation};
use serde_json::json;
use skranke::db::DatabaseUrl;

use crate::support::{Desk, Engine};

/// Whether statements are written down; other tests run meanwhile.
static LISTENING: AtomicBool = AtomicBool::new(false);
static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// A limit that no other test asks for: one more is in the statement.
const LIMIT: i64 = 173;

fn listen() {
    let listener = || -> Option<Box<dyn diesel::connection::Instrumentation>> {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event
                && LISTENING.load(Ordering::SeqCst)
            {
                HEARD.lock().unwrap().push(query.to_string());
            }
        }))
    };
    set_default_instrumentation(listener).unwrap();
}

/// The statement with its parameters in their places, as it would be typed.
fn typed(heard: &str, engine: Engine) -> String {
    let (sql, binds) = heard.split_once(" -- binds: ").unwrap();
    // SQLite's side shows `I64(5)`, PostgreSQL's `Instant(5)` and plain numbers.
    let bind = regex::Regex::new(r"(?:(Instant)|I64)\((-?\d+)\)|(-?\d+)").unwrap();
    let value = |found: regex::Captures<'_>| match (found.get(1), found.get(2), found.get(3)) {
        (Some(_), Some(us), _) => format!("(to_timestamp(0) + {} * interval '1 microsecond')", us.as_str()),
        (_, Some(number), _) | (_, _, Some(number)) => number.as_str().to_owned(),
        _ => unreachable!("one of them matched"),
    };
    let values: Vec<String> = bind.captures_iter(binds).map(value).collect();
    let place = regex::Regex::new(if engine == Engine::Sqlite { r"\?" } else { r"\$(\d+)" }).unwrap();
    assert!(place.find_iter(sql).count() >= values.len(), "{heard}");
    let mut next = values.iter();
    match engine {
        Engine::Sqlite => place.replace_all(sql, |_: &regex::Captures<'_>| next.next().unwrap().clone()).into_owned(),
        Engine::Postgres => place
            .replace_all(sql, |found: &regex::Captures<'_>| values[found[1].parse::<usize>().unwrap() - 1].clone())
            .into_owned(),
    }
}

/// The plan, a step in a line.
async fn plan(desk: &Desk, sql: &str) -> String {
    match &desk.store.url {
        DatabaseUrl::Sqlite(path) => {
            use diesel::RunQueryDsl;
            #[derive(diesel::QueryableByName)]
            struct Step {
                #[diesel(sql_type = diesel::sql_types::Text)]
                detail: String,
            }
            let mut conn = <diesel::SqliteConnection as diesel::Connection>::establish(path.to_str().unwrap()).unwrap();
            let steps: Vec<Step> = diesel::sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut conn).unwrap();
            steps.into_iter().map(|step| step.detail + "\n").collect()
        }
        DatabaseUrl::Postgres(url) => {
            let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            let rows = client.query(&format!("EXPLAIN {sql}"), &[]).await.unwrap();
            rows.iter().map(|row| row.get::<_, String>(0) + "\n").collect()
        }
    }
}

/// 20,000 tickets with clocks, a minute after each other; one in fifty has one that is due at the minute of its creation.
async fn fill(desk: &Desk) {
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    let tickets = "subject, description, status, priority, type, channel, created_by_id, tags, custom_fields, updated_at, reported_at, reopen_count, version";
    let (series, id, created, never) = match desk.db.engine() {
        "sqlite" => (
            "WITH RECURSIVE s (n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)",
            "randomblob(16)",
            "created_at + n * 60000000",
            "253402214400000000",
        ),
        _ => (
            "WITH s AS (SELECT generate_series(2, 20000) AS n)",
            "gen_random_uuid()",
            "created_at + n * interval '1 minute'",
            "'9999-12-31T00:00:00Z'::timestamptz",
        ),
    };
    let clocks = format!(
        "INSERT INTO ticket_clocks (ticket_number, timeline, clocks, due_at, breach_at, response_breach_at, service_breach_at)
         SELECT number, '[]', '[]', CASE WHEN number % 50 = 0 THEN created_at ELSE {never} END,
            CASE WHEN number % 50 = 0 THEN created_at END, CASE WHEN number % 100 = 0 THEN created_at END,
            CASE WHEN number % 100 = 50 THEN created_at END
         FROM tickets WHERE number > 1"
    );
    desk.store
        .run(&format!(
            "{series} INSERT INTO tickets ({tickets}, number, id, created_at) SELECT {tickets}, n, {id}, {created} FROM tickets, s;
             {clocks}; ANALYZE"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_by_clocks_read_an_index_and_not_all_tickets() {
    listen();
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let desk = Desk::open(engine).await;
        fill(&desk).await;
        // A week later half of those that are ever due are late.
        desk.clock.go_to("2026-03-09T09:00:00Z");
        let agent = desk.agent().await;
        for query in [
            "sla=breached",
            "sla=breached&sort=due_at",
            "sla=due_within:3600",
            "sort=due_at",
            "sort=-due_at",
            "sla=due_within:3600&sort=due_at",
        ] {
            LISTENING.store(true, Ordering::SeqCst);
            desk.get(&format!("/v1/tickets?limit={LIMIT}&{query}")).by(&agent).expect(200).await;
            LISTENING.store(false, Ordering::SeqCst);
            let heard: Vec<_> = HEARD.lock().unwrap().drain(..).collect();
            let limit = (LIMIT + 1).to_string();
            let own = heard.iter().find(|sql| sql.contains("ticket_clocks") && sql.contains(&limit)).unwrap();
            let plan = plan(&desk, &typed(own, engine)).await;
            for table in ["tickets", "ticket_clocks"] {
                let whole = match engine {
                    // A scan by an index in the order that is asked for ends with the page.
                    Engine::Sqlite => plan.lines().any(|step| {
                        step.trim() == format!("SCAN {table}")
                            || step.contains(&format!("SCAN {table} USING INDEX sqlite"))
                    }),
                    Engine::Postgres => plan.contains(&format!("Seq Scan on {table}")),
                };
                assert!(!whole, "{engine:?} {query} reads all of {table}:\n{plan}");
            }
            assert!(plan.contains("ticket_clocks_by_") || plan.contains("tickets_by_"), "{engine:?} {query}:\n{plan}");
        }
        desk.close().await;
    }
}
