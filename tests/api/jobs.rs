//! What runs by itself, seen in `/metrics` and by `/health/ready`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::start::{Place, Server, until};
use crate::support::{Caller, Engine, Store};

/// All jobs.
const JOBS: [&str; 14] = [
    "tidy",
    "fold_tally",
    "tell_promises",
    "follow_edits",
    "follow_names",
    "index_people",
    "index_words",
    "merge_words",
    "forget_alerts",
    "forget_deliveries",
    "erase_files",
    "sweep_files",
    "hand_out_deliveries",
    "send_deliveries",
];

/// A series of `/metrics` that must be there.
async fn series(server: &Server, who: &Caller, name: &str) -> u64 {
    let answer = server.get("/metrics").by(who).expect(200).await;
    let text = answer.text();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
}

async fn runs(server: &Server, who: &Caller, job: &str, outcome: &str) -> u64 {
    series(server, who, &format!("skranke_job_runs_total{{name=\"{job}\",outcome=\"{outcome}\"}}")).await
}

async fn succeeded_at(server: &Server, who: &Caller, job: &str) -> u64 {
    series(server, who, &format!("skranke_job_last_success_timestamp_seconds{{name=\"{job}\"}}")).await
}

/// Waits until a job has ended so once more.
async fn until_it_runs(server: &Server, who: &Caller, job: &str, outcome: &str) {
    let before = runs(server, who, job, outcome).await;
    until(outcome, async || (runs(server, who, job, outcome).await > before).then_some(())).await;
}

/// A job that fails is counted and run again, and holds up no other.
async fn a_job_that_fails(engine: Engine) {
    let store = Store::make(engine).await;
    // Tidying up is then done each second.
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true").with("SKRANKE_CLOSE_AFTER_S", "1");
    let server = place.start().await;
    let agent = place.person("agent").await;
    for job in JOBS {
        assert_eq!(runs(&server, &agent, job, "failure").await, 0);
        succeeded_at(&server, &agent, job).await;
    }
    until_it_runs(&server, &agent, "tidy", "success").await;
    let first = succeeded_at(&server, &agent, "tidy").await;
    assert!(first > 1_700_000_000, "{first}");

    store.run("ALTER TABLE idempotency_keys RENAME TO idempotency_keys_away").await;
    until_it_runs(&server, &agent, "tidy", "failure").await;
    until_it_runs(&server, &agent, "fold_tally", "success").await;
    let ready = server.get("/health/ready").expect(200).await;
    assert_eq!(ready.body, json!({ "status": "ok", "late_jobs": [] }));
    store.run("ALTER TABLE idempotency_keys_away RENAME TO idempotency_keys").await;
    until_it_runs(&server, &agent, "tidy", "success").await;
    assert!(succeeded_at(&server, &agent, "tidy").await > first);
    let log = server.stop().await.err;
    assert!(log.contains("a job failed and will be run again"), "{log}");
    store.drop().await;
}

#[tokio::test]
async fn a_job_that_fails_is_run_again_on_sqlite() {
    a_job_that_fails(Engine::Sqlite).await;
}

#[tokio::test]
async fn a_job_that_fails_is_run_again_on_postgres() {
    a_job_that_fails(Engine::Postgres).await;
}

/// An instance that was killed in the middle keeps nobody from judging what is left.
#[tokio::test]
async fn tickets_follow_an_edit_though_an_instance_was_just_killed() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let mut first = place.start().await;
    let admin = place.person("admin").await;
    until_it_runs(&first, &admin, "follow_edits", "success").await;
    let number = first.open(&admin).await.body["number"].clone();
    crate::edits::copy(&store, "postgres", &number, 600).await;
    let second = place.start().await;
    until_it_runs(&first, &admin, "follow_edits", "success").await;
    first.process.kill();
    let began = Instant::now();
    let target = json!({ "target": "response", "priority": null, "target_s": 3600, "hours": "calendar" });
    let policy = json!({ "name": "P", "position": 1, "condition": {}, "targets": [target] });
    let policy = second.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await.body;
    assert_eq!(policy["pending_tickets"], 601);
    let path = format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap());
    until("all to follow", async || {
        (second.get(&path).by(&admin).expect(200).await.body["pending_tickets"] == 0).then_some(())
    })
    .await;
    // A lease would last for fifteen.
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    second.stop().await;
    store.drop().await;
}

#[tokio::test]
async fn one_of_several_instances_does_a_job_and_another_takes_over() {
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let mut first = place.start().await;
    let agent = place.person("agent").await;
    until_it_runs(&first, &agent, "fold_tally", "success").await;
    let second = place.start().await;
    // While the first is at it, the second leaves it alone.
    until_it_runs(&first, &agent, "fold_tally", "success").await;
    until_it_runs(&first, &agent, "fold_tally", "success").await;
    assert_eq!(runs(&second, &agent, "fold_tally", "success").await, 0);
    assert_eq!(second.get("/health/ready").expect(200).await.body["late_jobs"], json!([]));

    first.process.kill();
    until_it_runs(&second, &agent, "fold_tally", "success").await;
    second.stop().await;
    // Who stops in order leaves no lease behind, for which others would wait.
    let check =
        "DO $$ BEGIN IF EXISTS (SELECT 1 FROM job_leases) THEN RAISE EXCEPTION 'a lease is left'; END IF; END $$";
    store.run(check).await;
    store.drop().await;
}
