//! The process is killed at each step that a file takes: no file is ever there without its bytes, and what is left
//! over goes.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use skranke::db::{DatabaseUrl, Db};
use skranke::files::service::cabinet::Cabinet;
use skranke::files::service::{erase, probe};
use skranke::files::store::bytes::ByteStore;
use skranke::files::store::draft::SHARDS;
use skranke::files::store::local::LocalFolder;
use skranke::kernel::Clock;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::start::{Place, Server, until};
use crate::support::{Ask, Caller, Engine, Hold, Store};

/// What lies in a folder of files: whole ones, and those that are being written.
fn lying(folder: &Path) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let list = |path: &Path| -> Vec<PathBuf> {
        std::fs::read_dir(path).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    };
    let named = |name: &'static str| move |part: &PathBuf| part.ends_with(name);
    let (drafts, rest): (Vec<_>, Vec<_>) = list(folder).into_iter().partition(named("incoming"));
    let parts = rest.into_iter().filter(|part| !named("probes")(part)).collect();
    let all = |parts: Vec<PathBuf>| parts.iter().flat_map(|part| list(part)).collect();
    (all(parts), all(drafts))
}

/// Keeps everybody from writing files.
async fn hold(store: &Store) -> Hold {
    match &store.url {
        DatabaseUrl::Sqlite(_) => store.hold().await,
        DatabaseUrl::Postgres(url) => {
            let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute("BEGIN; LOCK TABLE files IN EXCLUSIVE MODE").await.unwrap();
            Hold::Postgres(client)
        }
    }
}

fn upload(server: &Server, who: &Caller, bytes: &str) -> Ask {
    let ask = server.post("/v1/files").by(who).raw("text/plain", bytes.to_owned());
    ask.header("content-disposition", "attachment; filename=x.txt")
}

/// Every file that there is has its bytes.
async fn is_whole(server: &Server, who: &Caller, ids: &[String]) {
    for id in ids {
        let answer = server.get(&format!("/v1/files/{id}/content")).by(who).expect(200).await;
        assert_eq!(answer.text(), "whole");
    }
}

async fn killed_at_each_step(engine: Engine) {
    let store = Store::make(engine).await;
    let folder = tempfile::tempdir().unwrap();
    let files = folder.path().join("files");
    let place = Place::on(&store)
        .with("SKRANKE_MIGRATE_ON_START", "true")
        .with("SKRANKE_DATABASE_WAIT_S", "60")
        .with("SKRANKE_FILES", format!("file://{}", files.display()));
    let mut server = place.start().await;
    let agent = place.person("agent").await;
    let admin = place.person("admin").await;
    let ticket = server.open(&agent).await.body["id"].as_str().unwrap().to_owned();
    let id = |body: &Value| body["id"].as_str().unwrap().to_owned();
    let kept = id(&upload(&server, &agent, "whole").expect(201).await.body);

    // In the middle of an upload.
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 9999999\r\n\
         content-disposition: attachment; filename=x\r\n\r\n",
        agent.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
    until("a draft", async || (lying(&files).1.len() == 1).then_some(())).await;
    server.process.kill();
    assert_eq!((lying(&files).0.len(), lying(&files).1.len()), (1, 1));

    // Its bytes are kept, and its row is not there yet.
    server = place.start().await;
    let held = hold(&store).await;
    let asked = tokio::spawn(upload(&server, &agent, "orphan").0.send());
    until("bytes", async || (lying(&files).0.len() == 2).then_some(())).await;
    server.process.kill();
    assert!(asked.await.unwrap().is_err());
    held.release().await;
    assert_eq!(store.count("files").await, 1);

    // It is attached, and that is not there yet.
    server = place.start().await;
    let comments = format!("/v1/tickets/{ticket}/comments");
    let body = json!({ "body": "b", "visibility": "public", "file_ids": [kept] });
    let held = hold(&store).await;
    let asked = tokio::spawn(server.post(&comments).by(&agent).json(&body).0.send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.process.kill();
    assert!(asked.await.unwrap().is_err());
    held.release().await;
    server = place.start().await;
    assert_eq!(store.count("comments").await, 0);
    is_whole(&server, &agent, std::slice::from_ref(&kept)).await;
    server.post(&comments).by(&agent).json(&body).expect(201).await;
    // Right after it was acknowledged.
    server.process.kill();
    server = place.start().await;
    let listed = server.get(&format!("/v1/tickets/{ticket}/files")).by(&agent).expect(200).await;
    assert_eq!(listed.body["items"][0]["id"], json!(kept));

    // It is to be deleted, and that is not there yet.
    let held = hold(&store).await;
    let asked = tokio::spawn(server.ask(reqwest::Method::DELETE, &format!("/v1/files/{kept}")).by(&admin).0.send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.process.kill();
    assert!(asked.await.unwrap().is_err());
    held.release().await;
    server = place.start().await;
    is_whole(&server, &agent, std::slice::from_ref(&kept)).await;
    // It is marked, and its bytes are still there, as they are when the process ends in between.
    server.process.kill();
    store.run("UPDATE files SET state = 'erasing', name = ''").await;
    assert_eq!(lying(&files).0.len(), 2);
    let held = hold(&store).await;
    server = place.start().await;
    // Its bytes are gone, and its row is still there.
    until("bytes that go", async || (lying(&files).0.len() == 1).then_some(())).await;
    server.process.kill();
    held.release().await;
    assert_eq!(store.count("files").await, 1);
    server = place.start().await;
    until("a row that goes", async || (store.count("files").await == 0).then_some(())).await;
    server.get(&format!("/v1/files/{kept}")).by(&admin).refused(404, "not_found").await;
    server.stop().await;
    store.is_sound();

    // What no row knows of is swept when it is old.
    let now = Duration::from_micros(Clock::system().now().micros().unsigned_abs());
    let old = SystemTime::UNIX_EPOCH + now - Duration::from_secs(25 * 3600);
    for path in [lying(&files).0, lying(&files).1].concat() {
        std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }
    let db = Db::open(&store.url, 4, Duration::from_secs(5)).unwrap();
    let cabinet = Cabinet::new(ByteStore::Local(LocalFolder::at(&files)));
    let mut swept = 0;
    for shard in 0..SHARDS {
        swept += erase::sweep(&db, &cabinet, shard, Clock::system().now()).await.unwrap();
    }
    assert_eq!((swept, lying(&files).0.len(), lying(&files).1.len()), (2, 0, 0));
    drop(db);
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_leaves_a_file_without_its_bytes_on_sqlite() {
    killed_at_each_step(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_leaves_a_file_without_its_bytes_on_postgres() {
    killed_at_each_step(Engine::Postgres).await;
}

/// `skranke check --deep` holds files against their bytes, and `skranke backup` says where these are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_and_backup_know_of_files() {
    let store = Store::make(Engine::Sqlite).await;
    let DatabaseUrl::Sqlite(database) = &store.url else { unreachable!() };
    let files = database.with_file_name("files");
    let place = Place::on(&store);
    let server = place.start().await;
    let agent = place.person("agent").await;
    let found = async |arguments: &[&str], what: &str| {
        let done = place.run(arguments).await;
        let line = done.out.lines().find(|line| line.contains(what)).unwrap_or_else(|| panic!("{what}: {done:?}"));
        (done.code, line.to_owned())
    };
    let (code, line) = found(&["check"], " files:").await;
    assert!(code == Some(0) && line.contains("will lie in"), "{line}");
    let sent = upload(&server, &agent, "whole").expect(201).await;
    let id = sent.body["id"].as_str().unwrap();
    let (code, line) = found(&["check", "--deep"], " bytes of files:").await;
    assert!(code == Some(0) && line.contains("all 1 have theirs") && !line.contains("no file has"), "{line}");
    let lying = lying(&files).0.remove(0);
    std::fs::write(lying.with_file_name("orphan"), "x").unwrap();
    let (code, line) = found(&["check", "--deep"], " bytes of files:").await;
    assert!(code == Some(0) && line.contains("bytes that no file has, swept after a day: 1"), "{line}");
    // Cut short, and gone.
    std::fs::write(&lying, "who").unwrap();
    let (code, line) = found(&["check", "--deep"], " bytes of files:").await;
    assert!(code == Some(1) && line.starts_with("failed") && line.contains(id), "{line}");
    std::fs::remove_file(&lying).unwrap();
    let (code, line) = found(&["check", "--deep"], " bytes of files:").await;
    assert!(code == Some(1) && line.contains(id), "{line}");
    server.get(&format!("/v1/files/{id}/content")).by(&agent).refused(503, "unavailable").await;
    let copy = place.path("copy.db");
    let out = place.print(&["backup", copy.to_str().unwrap()]).await;
    assert!(out.contains(&format!("copy the folder {}", files.display())), "{out}");
    server.stop().await;
    store.drop().await;
}

/// Instances that do not share their folder of files are told apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instances_with_folders_of_their_own_are_found_on_postgres() {
    let store = Store::make(Engine::Postgres).await;
    let db = Db::open(&store.url, 4, Duration::from_secs(5)).unwrap();
    db.migrate().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let now = Clock::system().now();
    let cabinet = |name: &str| Cabinet::new(ByteStore::Local(LocalFolder::at(folder.path().join(name))));
    let check = async |name: &str| {
        let place = Place::on(&store).with("SKRANKE_FILES", format!("file://{}/{name}", folder.path().display()));
        let done = place.run(&["check"]).await;
        done.out.lines().find(|line| line.contains(" files:")).unwrap().to_owned()
    };
    let [one, two, gone] = [1, 2, 3].map(uuid::Uuid::from_u128);
    probe::leave(&db, &cabinet("shared"), gone, now.plus_s(-601)).await.unwrap();
    for me in [one, two] {
        probe::leave(&db, &cabinet("shared"), me, now).await.unwrap();
    }
    assert!(check("shared").await.starts_with("ok"));
    // Whoever was there long ago is there no more, and neither is their sign.
    assert_eq!(std::fs::read_dir(folder.path().join("shared/probes")).unwrap().count(), 2);
    probe::leave(&db, &cabinet("own"), two, now).await.unwrap();
    let line = check("own").await;
    assert!(line.starts_with("failed") && line.contains("1 of 2 instances"), "{line}");
    drop(db);
    store.drop().await;
}
