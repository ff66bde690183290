//! Files in a bucket. Run by `tests/files/s3.sh`, which starts a store that speaks S3.

use std::time::SystemTime;

use serde_json::json;
use skranke::app::server::Settings;
use skranke::files::service::cabinet::Cabinet;
use skranke::files::service::{erase, probe};
use skranke::files::store::bucket::{Bucket, BucketPlan};
use skranke::files::store::bytes::ByteStore;
use skranke::files::store::draft::{self, SHARDS};
use skranke::kernel::Clock;
use skranke::kernel::secret::Secret;

use crate::support::{Ask, Caller, Desk, Engine};

/// A place of its own in the bucket of the store that the script has started.
fn plan(desk: &Desk) -> BucketPlan {
    let given = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run tests/files/s3.sh"));
    BucketPlan {
        bucket: "skranke".into(),
        prefix: format!("tests/{}", desk.url.rsplit_once(':').unwrap().1),
        endpoint: Some(given("SKRANKE_TEST_S3")),
        region: "us-east-1".into(),
        key: Some((given("SKRANKE_TEST_S3_KEY"), Secret::new(given("SKRANKE_TEST_S3_SECRET")))),
    }
}

async fn files_lie_in_a_bucket(engine: Engine) {
    let desk = Desk::open(engine).await;
    let bytes = ByteStore::Bucket(Bucket::open(&plan(&desk)).unwrap());
    let cabinet = Cabinet::new(bytes.clone());
    let at = cabinet.clone();
    let url = desk.instance_with(|settings| Settings { cabinet: at, ..settings });
    let (agent, admin) = (desk.agent().await, desk.admin().await);
    let ask = |method: &str, path: &str, who: &Caller| desk.ask_at(&url, method.parse().unwrap(), path).by(who);
    let send = |content: Vec<u8>| -> Ask {
        ask("POST", "/v1/files", &agent)
            .header("content-disposition", "attachment; filename=x")
            .raw("text/plain", content)
    };
    let lying = async || {
        let mut keys = Vec::new();
        for shard in 0..SHARDS {
            keys.extend(bytes.list(&draft::shard(shard)).await.unwrap());
        }
        keys
    };
    // Nothing, a little, and in parts.
    let contents = [vec![], b"little".to_vec(), (0..20_000_000_u32).map(|n| (n % 251) as u8).collect::<Vec<_>>()];
    let mut ids = Vec::new();
    for content in &contents {
        let made = send(content.clone()).expect(201).await;
        let path = made.header("location").unwrap().to_owned();
        let got = ask("GET", &format!("{path}/content"), &agent).expect(200).await;
        assert!(got.bytes == *content, "{} bytes came back of {}", got.bytes.len(), content.len());
        ids.push(path);
    }
    let part =
        ask("GET", &format!("{}/content", ids[2]), &agent).header("range", "bytes=9999990-10000009").expect(206).await;
    assert_eq!(part.bytes, contents[2][9_999_990..10_000_010]);
    ask("GET", &format!("{}/content", ids[1]), &agent)
        .header("range", "bytes=99-")
        .refused(416, "range_not_satisfiable")
        .await;
    // What is too large, or not what it should be, never gets there.
    let small = Cabinet::new(bytes.clone()).up_to(5_000);
    let small = desk.instance_with(|settings| Settings { cabinet: small, ..settings });
    let large = desk
        .ask_at(&small, reqwest::Method::POST, "/v1/files")
        .by(&agent)
        .header("content-disposition", "attachment; filename=x");
    large.raw("text/plain", vec![0; 6_000]).refused(413, "body_too_large").await;
    send(b"x".to_vec())
        .header("content-digest", "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:")
        .refused(400, "content_mismatch")
        .await;
    assert_eq!(lying().await.len(), 3);
    let compared = desk.db.look(async |conn| probe::compare(conn, &bytes).await).await.unwrap();
    assert_eq!((compared.files, compared.missing.len(), compared.orphans), (3, 0, 0));

    // Deleted and redacted, bytes too.
    let id = |path: &str| path.rsplit_once('/').unwrap().1.to_owned();
    let ticket = json!({ "subject": "s", "file_ids": [id(&ids[1]), id(&ids[2])] });
    let ticket =
        ask("POST", "/v1/tickets", &agent).json(&ticket).expect(201).await.body["id"].as_str().unwrap().to_owned();
    ask("DELETE", &ids[1], &agent).expect(204).await;
    erase_all(&desk, &cabinet).await;
    assert_eq!(lying().await.len(), 2);
    ask("DELETE", &format!("/v1/tickets/{ticket}"), &admin).expect(204).await;
    erase_all(&desk, &cabinet).await;
    assert_eq!(lying().await.len(), 1);
    // Lost there, it is missed here.
    let left = lying().await.remove(0);
    let now = std::time::Duration::from_micros(Clock::system().now().micros().unsigned_abs());
    assert!(left.since <= SystemTime::UNIX_EPOCH + now + std::time::Duration::from_secs(60));
    bytes.delete(&left.key).await.unwrap();
    bytes.delete(&left.key).await.unwrap();
    assert_eq!(bytes.size_b(&left.key).await.unwrap(), None);
    let compared = desk.db.look(async |conn| probe::compare(conn, &bytes).await).await.unwrap();
    assert_eq!(compared.missing.len(), 1);
    // An orphan is swept once it is old.
    let orphan = bytes.draft().await.unwrap().write(b"orphan".to_vec()).await.unwrap().finish();
    bytes.keep("7f/orphan", orphan).await.unwrap();
    let now = skranke::kernel::Clock::system().now();
    assert_eq!(erase::sweep(&desk.db, &cabinet, 0x7f, now).await.unwrap(), 0);
    assert_eq!(erase::sweep(&desk.db, &cabinet, 0x7f, now.plus_s(25 * 3600)).await.unwrap(), 1);
    assert!(lying().await.is_empty());
    desk.close().await;
}

async fn erase_all(desk: &Desk, cabinet: &Cabinet) {
    while erase::erase_some(&desk.db.patient(), cabinet).await.unwrap() {}
}

/// A store that is away is told as that, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_changes_nothing() {
    let desk = Desk::open(Engine::Sqlite).await;
    let away = BucketPlan {
        bucket: "skranke".into(),
        prefix: String::new(),
        endpoint: Some("http://127.0.0.1:1".into()),
        region: "us-east-1".into(),
        key: Some(("key".into(), Secret::new("secret".into()))),
    };
    let cabinet = Cabinet::new(ByteStore::Bucket(Bucket::open(&away).unwrap()));
    let url = desk.instance_with(|settings| Settings { cabinet, ..settings });
    let agent = desk.agent().await;
    let send = desk.ask_at(&url, reqwest::Method::POST, "/v1/files").by(&agent).raw("text/plain", "x");
    send.header("content-disposition", "attachment; filename=x").refused(503, "unavailable").await;
    assert_eq!(desk.store.count("files").await, 0);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/files/s3.sh starts what it needs"]
async fn files_lie_in_a_bucket_on_sqlite() {
    files_lie_in_a_bucket(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "tests/files/s3.sh starts what it needs"]
async fn files_lie_in_a_bucket_on_postgres() {
    files_lie_in_a_bucket(Engine::Postgres).await;
}
