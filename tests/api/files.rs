//! Files: sent, attached, seen by those who see what they are attached to, got, linked to, deleted and swept.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::files::service::clamd::Clamd;
use skranke::files::service::{erase, scan};
use skranke::files::store::draft::SHARDS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::on_both;
use crate::people::{has, kept};
use crate::start::{Place, until};
use crate::support::{Answer, Ask, Caller, Desk, Engine, Store};

/// The smallest picture that there is.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0\x1f\x15\xc4\x89";

/// A request that sends a file.
fn sending(desk: &Desk, who: &Caller, name: &str, bytes: impl Into<Vec<u8>>) -> Ask {
    let name: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let ask = desk.post("/v1/files").by(who).raw("image/png", bytes.into());
    ask.header("content-disposition", &format!("attachment; filename*=UTF-8''{name}"))
}

async fn send(desk: &Desk, who: &Caller, name: &str, bytes: &[u8]) -> Value {
    sending(desk, who, name, bytes).expect(201).await.body
}

fn id(thing: &Value) -> &str {
    thing["id"].as_str().unwrap()
}

fn file_path(file: &Value) -> String {
    format!("/v1/files/{}", id(file))
}

fn ticket_path(ticket: &Value) -> String {
    format!("/v1/tickets/{}", id(ticket))
}

async fn say(desk: &Desk, who: &Caller, ticket: &Value, visibility: &str, files: &[&Value]) -> Value {
    let ids: Vec<_> = files.iter().map(|file| id(file)).collect();
    let body = json!({ "body": "See there.", "visibility": visibility, "file_ids": ids });
    desk.post(&format!("{}/comments", ticket_path(ticket))).by(who).json(&body).expect(201).await.body
}

/// A link to a file, from where it can be got without a token.
async fn link(desk: &Desk, who: &Caller, file: &Value, wanted: Value) -> String {
    let made = desk.post(&format!("{}/link", file_path(file))).by(who).json(&wanted).expect(200).await;
    made.body["url"].as_str().unwrap().to_owned()
}

/// All that lies in the folder, but for what is being written.
fn stored(desk: &Desk) -> Vec<PathBuf> {
    within(desk.files.path(), false)
}

fn within(folder: &Path, drafts: bool) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let parts = entries.map(|entry| entry.unwrap().path());
    let parts = parts.filter(|path| path.is_dir() && path.ends_with("incoming") == drafts);
    parts.flat_map(|part| std::fs::read_dir(part).unwrap().map(|entry| entry.unwrap().path())).collect()
}

/// Does what an instance does by itself: lets files go that are to go, and removes their bytes.
async fn erase_all(desk: &Desk) {
    let (db, cabinet) = (desk.db.patient(), desk.settings.cabinet.clone());
    while erase::mark_unattached(&db, desk.clock.now()).await.unwrap() > 0 {}
    while erase::erase_some(&db, &cabinet).await.unwrap() {}
}

async fn sweep_all(desk: &Desk) -> usize {
    let mut swept = 0;
    for shard in 0..SHARDS {
        swept += erase::sweep(&desk.db, &desk.settings.cabinet, shard, desk.clock.now()).await.unwrap();
    }
    swept
}

/// The content of a file, which must be safe to serve, however it is served.
fn is_safe(answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "same-site"),
        ("cache-control", "private, no-cache"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

/// The test file of all scanners, in two parts, so that no scanner takes this one for it.
const EICAR: &[u8] = concat!(r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*").as_bytes();

/// A scanner that speaks as clamd does: it finds one thing, and takes nothing that says that it is too large.
pub async fn scanner() -> Clamd {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut command = [0; 10];
                stream.read_exact(&mut command).await.unwrap();
                assert_eq!(&command, b"zINSTREAM\0");
                let mut file = Vec::new();
                loop {
                    let length = stream.read_u32().await.unwrap() as usize;
                    assert!(length <= 64 << 10);
                    if length == 0 {
                        break;
                    }
                    let mut chunk = vec![0; length];
                    stream.read_exact(&mut chunk).await.unwrap();
                    file.extend(chunk);
                }
                let answer: &[u8] = match &file[..] {
                    file if file == EICAR => b"stream: Eicar-Test FOUND\0",
                    b"TOO LARGE" => b"INSTREAM size limit exceeded. ERROR\0",
                    _ => b"stream: OK\0",
                };
                stream.write_all(answer).await.unwrap();
            });
        }
    });
    Clamd::Tcp(address.to_string())
}

/// An instance lets files be scanned by itself, as soon as they are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_has_files_scanned_by_itself() {
    let Clamd::Tcp(address) = scanner().await else { unreachable!() };
    let store = Store::make(Engine::Sqlite).await;
    let place = Place::on(&store).with("SKRANKE_SCAN", format!("clamd:tcp://{address}"));
    let server = place.start().await;
    let agent = place.person("agent").await;
    let sent = async |bytes: &[u8]| {
        let ask = server.post("/v1/files").by(&agent).raw("text/plain", bytes.to_vec());
        let sent = ask.header("content-disposition", "attachment; filename=x").expect(201).await;
        sent.header("location").unwrap().to_owned()
    };
    for (bytes, expected) in [(&b"fine"[..], "clean"), (EICAR, "infected")] {
        let path = sent(bytes).await;
        until(expected, async || {
            (server.get(&path).by(&agent).expect(200).await.body["state"] == expected).then_some(())
        })
        .await;
    }
    until("bytes that go", async || {
        let lying = within(&store_folder(&store).join("files"), false);
        (lying.len() == 1).then_some(())
    })
    .await;
    let done = server.stop().await;
    assert!(done.err.contains("Eicar-Test"), "{}", done.err);
    store.drop().await;
}

/// Where the database lies.
fn store_folder(store: &Store) -> PathBuf {
    let skranke::db::DatabaseUrl::Sqlite(path) = &store.url else { panic!("it lies in no folder") };
    path.parent().unwrap().to_owned()
}

on_both! {
    async fn a_file_is_sent_attached_seen_and_got(desk) {
        let (owner, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        let made = sending(desk, &owner, "Grüße 1.png", PNG).expect(201).await;
        assert_eq!((made.header("etag"), made.header("location")), (Some("\"1\""), Some(&*file_path(&made.body))));
        let file = made.body;
        let sha256: String = digest(&SHA256, PNG).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        for (field, value) in [
            ("name", json!("Grüße 1.png")),
            ("media_type", json!("image/png")),
            ("inline_type", json!("image/png")),
            ("size_b", json!(PNG.len())),
            ("sha256", json!(sha256)),
            ("state", json!("unscanned")),
            ("ticket_id", Value::Null),
            ("comment_id", Value::Null),
            ("attached_at", Value::Null),
            ("version", json!(1)),
        ] {
            assert_eq!(file[field], value, "{field}");
        }
        // Nobody else sees it before it is attached, admins included.
        assert_eq!(desk.get(&file_path(&file)).by(&owner).expect(200).await.body, file);
        for other in [&agent, &admin] {
            for path in ["", "/content"] {
                desk.get(&format!("{}{path}", file_path(&file))).by(other).refused(404, "not_found").await;
            }
            desk.delete(&file_path(&file)).by(other).refused(404, "not_found").await;
        }
        desk.clock.pass_s(30);
        let comment = say(desk, &owner, &ticket, "public", &[&file]).await;
        let file = desk.get(&file_path(&file)).by(&agent).expect(200).await.body;
        assert_eq!((&file["ticket_id"], &file["comment_id"], &file["version"]), (&ticket["id"], &comment["id"], &json!(2)));
        assert_eq!(file["attached_at"], comment["created_at"]);
        assert_eq!(comment["files"], json!([file]));
        let comments = format!("{}/comments", ticket_path(&ticket));
        assert_eq!(desk.all(&agent, &comments).await[0]["files"], json!([file]));
        assert_eq!(desk.get(&format!("{comments}/{}", id(&comment))).by(&agent).expect(200).await.body["files"], json!([file]));
        let edited = desk.patch(&format!("{comments}/{}", id(&comment))).by(&owner).json(&json!({ "body": "See here." })).expect(200).await;
        assert_eq!(edited.body["files"], json!([file]));
        assert_eq!(desk.all(&agent, &format!("{}/files", ticket_path(&ticket))).await, std::slice::from_ref(&file));

        let path = format!("{}/content", file_path(&file));
        let whole = desk.get(&path).by(&agent).expect(200).await;
        assert_eq!(whole.bytes, PNG);
        is_safe(&whole);
        let digest = format!("sha-256=:{}:", STANDARD.encode(aws_lc_rs::digest::digest(&SHA256, PNG)));
        let tag = format!("\"{sha256}\"");
        for (name, value) in [
            ("etag", &*tag),
            ("content-digest", &digest),
            ("content-type", "image/png"),
            ("content-length", &PNG.len().to_string()),
            ("content-disposition", "attachment; filename=\"Gr__e 1.png\"; filename*=UTF-8''Gr%C3%BC%C3%9Fe%201.png"),
            ("accept-ranges", "bytes"),
            ("skranke-file-state", "unscanned"),
        ] {
            assert_eq!(whole.header(name), Some(value), "{name}");
        }
        let head = desk.ask(Method::HEAD, &path).by(&agent).expect(200).await;
        assert!(head.bytes.is_empty() && head.header("content-length") == whole.header("content-length"));
        let same = desk.get(&path).by(&agent).header("if-none-match", &tag).expect(304).await;
        assert!(same.bytes.is_empty() && same.header("etag") == Some(&tag));
        for (range, part) in [("bytes=0-3", 0..4), ("bytes=5-", 5..PNG.len()), ("bytes=-4", PNG.len() - 4..PNG.len()), ("bytes=8-9999", 8..PNG.len())] {
            let answer = desk.get(&path).by(&agent).header("range", range).expect(206).await;
            assert_eq!(answer.bytes, PNG[part.clone()], "{range}");
            let told = format!("bytes {}-{}/{}", part.start, part.end - 1, PNG.len());
            assert_eq!(answer.header("content-range"), Some(&*told));
            is_safe(&answer);
        }
        for range in ["bytes=1-2,4-5", "bytes=9-2", "lines=1-2"] {
            assert_eq!(desk.get(&path).by(&agent).header("range", range).expect(200).await.bytes, PNG);
        }
        let beyond = desk.get(&path).by(&agent).header("range", "bytes=9999-").refused(416, "range_not_satisfiable").await;
        assert_eq!(beyond.header("content-range"), Some(&*format!("bytes */{}", PNG.len())));
        for (condition, status) in [(&*tag, 206), ("\"other\"", 200), ("Mon, 02 Mar 2026 09:00:00 GMT", 200)] {
            desk.get(&path).by(&agent).header("range", "bytes=0-3").header("if-range", condition).expect(status).await;
        }
    }

    /// A screenshot needs no words, and comes with its ticket.
    async fn files_say_enough_and_come_with_their_ticket(desk) {
        let (ada, agent) = (desk.requester().await, desk.agent().await);
        let shot = send(desk, &ada, "shot.png", PNG).await;
        let ticket = desk.ticket(&ada, json!({ "file_ids": [id(&shot)] })).await;
        let comments = format!("{}/comments", ticket_path(&ticket));
        let blank = |files: Value| json!({ "body": " ", "visibility": "public", "file_ids": files });
        let refused = desk.post(&comments).by(&ada).json(&blank(json!([]))).refused(422, "validation_failed").await;
        assert_eq!(refused.body["errors"][0]["pointer"], "/body");
        let more = send(desk, &ada, "more.png", PNG).await;
        desk.post(&comments).by(&ada).json(&blank(json!([id(&more)]))).expect(201).await;
        let hidden = send(desk, &agent, "hidden.png", PNG).await;
        say(desk, &agent, &ticket, "internal", &[&hidden]).await;
        let with = async |who: &Caller| desk.get(&format!("{}?include=files", ticket_path(&ticket))).by(who).expect(200).await;
        let names = |answer: &Answer| {
            let items = answer.body["files"]["items"].as_array().unwrap();
            items.iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        let seen = with(&ada).await;
        assert_eq!((names(&seen), names(&with(&agent).await)), (vec!["shot.png".into(), "more.png".into()], vec!["shot.png".into(), "more.png".into(), "hidden.png".into()]));
        // It is another answer without one of them.
        desk.delete(&file_path(&more)).by(&ada).expect(204).await;
        let after = with(&ada).await;
        assert_eq!(names(&after), ["shot.png"]);
        assert_ne!(seen.header("etag"), after.header("etag"));
    }

    async fn a_ticket_is_opened_with_files(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let files = [send(desk, &owner, "a.txt", b"one").await, send(desk, &owner, "b.txt", b"").await];
        let ticket = desk.ticket(&owner, json!({ "file_ids": [files[1]["id"], files[0]["id"]] })).await;
        let listed = desk.all(&agent, &format!("{}/files?limit=1", ticket_path(&ticket))).await;
        assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), [id(&files[0]), id(&files[1])]);
        assert!(listed.iter().all(|file| file["ticket_id"] == ticket["id"] && file["comment_id"].is_null()));
        assert!(desk.get(&format!("{}/content", file_path(&files[1]))).by(&agent).expect(200).await.bytes.is_empty());
        let events = desk.all(&owner, &format!("{}/events", ticket_path(&ticket))).await;
        assert_eq!(events[1]["type"], "file.attached");
        assert_eq!(events[1]["changes"], json!([{ "field": "file_ids", "before": null, "after": [files[1]["id"], files[0]["id"]] }]));
        // Each is attached once, and by whoever has sent it.
        let again = json!({ "subject": "s", "file_ids": [files[0]["id"]] });
        let refused = desk.post("/v1/tickets").by(&owner).json(&again).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/file_ids/0"]);
        let theirs = send(desk, &agent, "c.txt", b"two").await;
        let stolen = json!({ "subject": "s", "file_ids": [theirs["id"], "019a2f4e-7c1b-7d3e-8f00-1234567890ab"] });
        let refused = desk.post("/v1/tickets").by(&owner).json(&stolen).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/file_ids/0", "/file_ids/1"]);
        assert_eq!(refused.body["errors"][0]["detail"], refused.body["errors"][1]["detail"], "somebody else's is as none");
        let twice = json!({ "body": "b", "visibility": "public", "file_ids": [theirs["id"], theirs["id"]] });
        let comments = format!("{}/comments", ticket_path(&ticket));
        desk.post(&comments).by(&agent).json(&twice).refused(422, "validation_failed").await;
        // What is refused has attached nothing, and what is not there is told nobody.
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
        assert_eq!(desk.get(&file_path(&theirs)).by(&agent).expect(200).await.body["ticket_id"], Value::Null);
        // Two who attach the same file at the same time: one of them does.
        let other = desk.ticket(&agent, json!({})).await;
        let body = json!({ "body": "b", "visibility": "public", "file_ids": [theirs["id"]] });
        let both = [&ticket, &other].map(|ticket| desk.post(&format!("{}/comments", ticket_path(ticket))).by(&agent).json(&body).send());
        let mut ends: Vec<_> = join_all(both).await.iter().map(|answer| answer.status.as_u16()).collect();
        ends.sort_unstable();
        assert_eq!(ends, [201, 422]);
    }

    async fn a_link_is_good_for_one_file_and_for_a_while(desk) {
        let (owner, stranger) = (desk.requester().await, desk.requester().await);
        let picture = send(desk, &owner, "a.png", PNG).await;
        let page = send(desk, &owner, "a.html", b"<script>alert(1)</script>").await;
        let got = async |url: &str| desk.get(url).expect(200).await;
        for (file, inline, kind, media_type) in [
            (&picture, true, "inline", "image/png"),
            (&picture, false, "attachment", "image/png"),
            (&page, true, "attachment", "application/octet-stream"),
            (&page, false, "attachment", "application/octet-stream"),
        ] {
            let url = link(desk, &owner, file, json!({ "inline": inline })).await;
            // As an `<img>` asks for it.
            let answer = desk.get(&url).header("accept", "image/avif,image/webp,image/png").expect(200).await;
            assert!(answer.header("content-disposition").unwrap().starts_with(kind), "{kind}");
            assert_eq!(answer.header("content-type"), Some(media_type));
            is_safe(&answer);
            let part = desk.get(&url).header("range", "bytes=0-3").expect(206).await;
            assert_eq!(part.bytes, answer.bytes[..4]);
        }
        let url = link(desk, &owner, &picture, json!({})).await;
        assert_eq!(got(&url).await.bytes, PNG);
        desk.clock.pass_s(300);
        got(&url).await;
        desk.clock.pass_s(1);
        desk.get(&url).refused(410, "link_expired").await;
        let url = link(desk, &owner, &picture, json!({ "expires_in_s": 3600, "inline": true })).await;
        let (place, signed) = url.rsplit_once('/').unwrap();
        for nth in [0, 3, 20, 30, 40, signed.len() - 1] {
            let mut altered = signed.to_owned().into_bytes();
            altered[nth] = if altered[nth] == b'A' { b'B' } else { b'A' };
            let altered = format!("{place}/{}", String::from_utf8(altered).unwrap());
            if altered != url {
                desk.get(&altered).refused(404, "not_found").await;
            }
        }
        for bad in ["", "x", "%00", &"A".repeat(10_000)] {
            desk.get(&format!("{place}/{bad}")).refused(404, "not_found").await;
        }
        desk.get(&format!("{url}?inline=true")).refused(400, "invalid_query").await;
        // A link to another file does not become one to this.
        let other = link(desk, &owner, &page, json!({ "expires_in_s": 3600, "inline": true })).await;
        assert_ne!(got(&other).await.bytes, PNG);
        let made = format!("{}/link", file_path(&picture));
        desk.post(&made).by(&stranger).json(&json!({})).refused(404, "not_found").await;
        for bad in [json!({ "expires_in_s": 0 }), json!({ "expires_in_s": 3601 }), json!({ "inline": "yes" }), json!({ "x": 1 })] {
            desk.post(&made).by(&owner).json(&bad).refused(422, "validation_failed").await;
        }
        // It ends with the file.
        desk.delete(&file_path(&picture)).by(&owner).expect(204).await;
        desk.get(&url).refused(404, "not_found").await;
    }

    /// Where files are scanned: by staff a file can be got before, by nobody one in which something was found.
    async fn what_no_scanner_has_passed_is_kept_from_requesters(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let url = desk.instance_with(|settings| skranke::app::server::Settings { cabinet: settings.cabinet.clone().scanned_by(Some(Clamd::Unix("/nowhere".into()))), ..settings });
        let file = send(desk, &owner, "x", PNG).await;
        desk.ticket(&owner, json!({ "file_ids": [file["id"]] })).await;
        let get = |who: &Caller| desk.ask_at(&url, Method::GET, &format!("{}/content", file_path(&file))).by(who);
        let linked = |who: &Caller| desk.ask_at(&url, Method::POST, &format!("{}/link", file_path(&file))).by(who).json(&json!({}));
        get(&owner).refused(409, "file_not_scanned").await;
        for who in [&owner, &agent] {
            linked(who).refused(409, "file_not_scanned").await;
        }
        assert_eq!(get(&agent).expect(200).await.header("skranke-file-state"), Some("unscanned"));
        // A link from elsewhere does not lead around it.
        let elsewhere = link(desk, &owner, &file, json!({})).await;
        desk.ask_at(&url, Method::GET, &elsewhere).refused(409, "file_not_scanned").await;
        desk.store.run("UPDATE files SET state = 'clean'").await;
        assert_eq!(get(&owner).expect(200).await.header("skranke-file-state"), Some("clean"));
        linked(&owner).expect(200).await;
        desk.store.run("UPDATE files SET state = 'infected'").await;
        for who in [&owner, &agent] {
            get(who).refused(410, "file_infected").await;
            linked(who).refused(410, "file_infected").await;
            desk.get(&format!("{}/content", file_path(&file))).by(who).refused(410, "file_infected").await;
        }
        desk.get(&elsewhere).refused(410, "file_infected").await;
        erase_all(desk).await;
        assert!(stored(desk).is_empty());
        // That it was there stays.
        assert_eq!(desk.get(&file_path(&file)).by(&owner).expect(200).await.body["state"], "infected");
    }

    async fn a_scanner_passes_files_or_has_them_deleted_and_tells(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let clamd = scanner().await;
        let cabinet = desk.settings.cabinet.clone();
        let scan = async |clamd: &Clamd| scan::scan_some(&desk.db, &cabinet, clamd, &desk.ids).await;
        let ticket = desk.ticket(&owner, json!({})).await;
        let clean = send(desk, &owner, "clean", &vec![b'x'; 300_000]).await;
        let (bad, secret) = (send(desk, &owner, "bad", EICAR).await, send(desk, &agent, "secret", EICAR).await);
        let (loose, large) = (send(desk, &owner, "loose", EICAR).await, send(desk, &owner, "large", b"TOO LARGE").await);
        let comment = say(desk, &owner, &ticket, "public", &[&clean, &bad, &large]).await;
        say(desk, &agent, &ticket, "internal", &[&secret]).await;
        let comment = format!("{}/comments/{}", ticket_path(&ticket), id(&comment));
        let tag = async || desk.get(&comment).by(&owner).expect(200).await.header("etag").unwrap().to_owned();
        assert_eq!(tag().await, "\"1\"");
        // Away, it passes nothing.
        let away = Clamd::Tcp("127.0.0.1:1".into());
        assert!(scan(&away).await.is_err());
        let state = async |file: &Value, who: &Caller| desk.get(&file_path(file)).by(who).expect(200).await.body["state"].clone();
        assert_eq!(state(&clean, &owner).await, "unscanned");

        assert!(!scan(&clamd).await.unwrap());
        for (file, who, expected) in [
            (&clean, &owner, "clean"),
            (&bad, &owner, "infected"),
            (&secret, &agent, "infected"),
            (&loose, &owner, "infected"),
            (&large, &owner, "unscanned"),
        ] {
            assert_eq!(state(file, who).await, expected);
        }
        assert_eq!(tag().await, "\"1.2\"");
        erase_all(desk).await;
        assert_eq!(stored(desk).len(), 2);
        for who in [&owner, &agent] {
            desk.get(&format!("{}/content", file_path(&bad))).by(who).refused(410, "file_infected").await;
        }
        // What was found is told to those who see the file, and nothing of it can be attached.
        let told = async |who: &Caller| {
            let events = desk.all(who, &format!("{}/events", ticket_path(&ticket))).await;
            let infected = events.into_iter().filter(|event| event["type"] == "file.infected");
            infected.map(|event| (event["changes"][0]["before"][0].clone(), event["actor"].clone())).collect::<Vec<_>>()
        };
        assert_eq!(told(&owner).await, [(bad["id"].clone(), Value::Null)]);
        assert_eq!(told(&agent).await, [(bad["id"].clone(), Value::Null), (secret["id"].clone(), Value::Null)]);
        let body = json!({ "body": "b", "visibility": "public", "file_ids": [loose["id"]] });
        desk.post(&format!("{}/comments", ticket_path(&ticket))).by(&owner).json(&body).refused(422, "validation_failed").await;
        // What it does not take is tried again an hour later, and keeps nobody else waiting.
        let later = send(desk, &owner, "later", b"x").await;
        scan(&clamd).await.unwrap();
        assert_eq!((state(&later, &owner).await, state(&large, &owner).await), (json!("clean"), json!("unscanned")));
        desk.store.run("UPDATE files SET size_b = 0 WHERE state = 'unscanned'").await;
        scan(&clamd).await.unwrap();
        assert_eq!(state(&large, &owner).await, "unscanned");
        desk.clock.pass_s(3600);
        scan(&clamd).await.unwrap();
        assert_eq!(state(&large, &owner).await, "clean");
    }

    async fn what_is_said_of_a_file_is_read_with_care(desk) {
        let owner = desk.requester().await;
        let ask = |name: &str, value: &str| desk.post("/v1/files").by(&owner).header("content-type", "text/plain").header(name, value);
        let named = |disposition: &str| {
            let ask = desk.post("/v1/files").by(&owner).header("content-type", "text/plain");
            Ask(ask.0.header("content-disposition", disposition).body("x"))
        };
        for (disposition, name) in [
            ("attachment; filename=\"plain.txt\"", "plain.txt"),
            ("attachment; filename=plain.txt", "plain.txt"),
            ("attachment; filename=\"old.txt\"; filename*=UTF-8''n%C3%A4u.txt", "näu.txt"),
            ("inline; filename*=utf-8''%E2%80%A6", "…"),
        ] {
            assert_eq!(named(disposition).expect(201).await.body["name"], name, "{disposition}");
        }
        let long = format!("attachment; filename=\"{}\"", "x".repeat(10_000));
        for bad in [
            "",
            "attachment",
            "attachment; filename=",
            "attachment; filename=\"\"",
            "attachment; filename=\"../../etc/passwd\"",
            "attachment; filename*=UTF-8''..%2F..%2Fetc%2Fpasswd",
            "attachment; filename*=UTF-8''C%3A%5Cx.txt",
            "attachment; filename*=UTF-8''..",
            "attachment; filename*=UTF-8''a%00b",
            "attachment; filename*=UTF-8''a%0Ab",
            "attachment; filename*=UTF-8''gnp%E2%80%AE.exe",
            "attachment; filename*=UTF-8''%E2%81%A6x",
            "attachment; filename*=UTF-8''%FF",
            "attachment; filename*=EBCDIC''x",
            "attachment; filename=\"unended",
            &long,
        ] {
            named(bad).refused(400, "invalid_header").await;
        }
        desk.post("/v1/files").by(&owner).raw("text/plain", "x").refused(400, "invalid_header").await;
        let fine = "attachment; filename=x";
        for bad in ["image", "image/", "a/b/c", "a b/c", &format!("a/{}", "b".repeat(200))] {
            let ask = desk.post("/v1/files").by(&owner).raw(bad, "x").header("content-disposition", fine);
            ask.refused(400, "invalid_header").await;
        }
        let ours = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, b"x")));
        let theirs = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, b"y")));
        let sent = |digest: &str| {
            let ask = ask("content-disposition", fine).header("content-digest", digest);
            Ask(ask.0.body("x"))
        };
        sent(&ours).expect(201).await;
        sent(&format!("sha-512=:AAAA:, {ours}")).expect(201).await;
        sent(&theirs).refused(400, "content_mismatch").await;
        sent("sha-256=:AAAA:").refused(400, "invalid_header").await;
        sent("sha-256=x").refused(400, "invalid_header").await;
        Ask(ask("content-disposition", fine).header("content-encoding", "gzip").0.body("x")).refused(415, "unsupported_media_type").await;
        desk.post("/v1/files?name=x").by(&owner).header("content-disposition", fine).refused(400, "invalid_query").await;
        for bad in ["/v1/files/x", "/v1/files/x/content", "/v1/files/019a2f4e-7c1b-7d3e-8f00-1234567890ab"] {
            desk.get(bad).by(&owner).refused(404, "not_found").await;
        }
        // Nothing of what was refused has been kept.
        assert_eq!(stored(desk).len(), 6);
        assert_eq!(desk.store.count("files").await, 6);
        assert!(within(desk.files.path(), true).is_empty());
    }

    async fn a_file_has_a_limit_and_so_have_comments_tickets_and_days(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let url = desk.instance_with(|settings| skranke::app::server::Settings { cabinet: settings.cabinet.clone().up_to(5_000), ..settings });
        let at = |bytes: usize| {
            let ask = desk.ask_at(&url, Method::POST, "/v1/files").by(&owner).header("content-disposition", "attachment; filename=x");
            ask.raw("text/plain", vec![b'x'; bytes])
        };
        at(5_000).expect(201).await;
        at(5_001).refused(413, "body_too_large").await;
        // Also when it does not say how long it is.
        let pieces = futures::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 1_000])));
        let chunked = desk.ask_at(&url, Method::POST, "/v1/files").by(&owner).header("content-disposition", "attachment; filename=x");
        chunked.raw("text/plain", reqwest::Body::wrap_stream(pieces)).refused(413, "body_too_large").await;
        assert_eq!(stored(desk).len(), 1);

        let ticket = desk.ticket(&agent, json!({})).await;
        let comments = format!("{}/comments", ticket_path(&ticket));
        let mut ids = Vec::new();
        for nth in 0..21 {
            ids.push(send(desk, &agent, &format!("{nth}"), b"x").await["id"].clone());
        }
        let body = |ids: &[Value]| json!({ "body": "b", "visibility": "public", "file_ids": ids });
        desk.post(&comments).by(&agent).json(&body(&ids)).refused(422, "validation_failed").await;
        desk.post("/v1/tickets").by(&agent).json(&json!({ "subject": "s", "file_ids": ids })).refused(422, "validation_failed").await;
        let made = desk.post(&comments).by(&agent).json(&body(&ids[..20])).expect(201).await;
        assert_eq!(made.body["files"].as_array().unwrap().len(), 20);
        // As if there were 199 on the ticket: one more, and no other.
        let copies = match desk.store.url {
            skranke::db::DatabaseUrl::Sqlite(_) => "randomblob(16)",
            skranke::db::DatabaseUrl::Postgres(_) => "gen_random_uuid()",
        };
        for _ in 0..179 {
            desk.store.run(&format!(
                "INSERT INTO files SELECT {copies}, uploaded_by_id, ticket_number, NULL, name, media_type, inline_type, size_b, sha256, NULL, \
                 state, origin, created_at, attached_at, scan_at, version FROM files WHERE comment_id IS NOT NULL ORDER BY id LIMIT 1"
            )).await;
        }
        let last = send(desk, &agent, "last", b"x").await;
        let refused = desk.post(&comments).by(&agent).json(&body(&[ids[20].clone(), last["id"].clone()])).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/file_ids"]);
        desk.post(&comments).by(&agent).json(&body(&[ids[20].clone()])).expect(201).await;
        desk.post(&comments).by(&agent).json(&body(&[last["id"].clone()])).refused(422, "validation_failed").await;
        // On an internal comment there is room: from how many there are nobody learns of the others.
        say(desk, &agent, &ticket, "internal", &[&last]).await;

        // As if the requester had sent a GiB but for ten bytes today.
        desk.store.run(&format!("UPDATE files SET size_b = {} WHERE size_b = 5000", (1_i64 << 30) - 10)).await;
        sending(desk, &owner, "x", vec![b'x'; 10]).expect(201).await;
        let refused = sending(desk, &owner, "x", vec![b'x'; 1]).refused(429, "rate_limited").await;
        assert_eq!(refused.header("retry-after"), Some("3600"));
        sending(desk, &agent, "x", vec![b'x'; 10]).expect(201).await;
        desk.clock.pass_s(24 * 3600 + 1);
        sending(desk, &owner, "x", vec![b'x'; 10]).expect(201).await;
    }

    async fn a_file_that_is_sent_twice_with_one_key_is_there_once(desk) {
        let agent = desk.agent().await;
        let keyed = |name: &str, bytes: &[u8]| sending(desk, &agent, name, bytes).header("idempotency-key", "k");
        let first = keyed("a.txt", b"one").expect(201).await;
        let again = keyed("a.txt", b"one").expect(201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body), (Some("true"), &first.body));
        assert_eq!(again.header("location"), first.header("location"));
        keyed("a.txt", b"two").refused(422, "idempotency_key_reused").await;
        keyed("b.txt", b"one").refused(422, "idempotency_key_reused").await;
        assert_eq!((stored(desk).len(), desk.store.count("files").await), (1, 1));
        // Without a key they are two.
        send(desk, &agent, "a.txt", b"one").await;
        assert_eq!(stored(desk).len(), 2);
        // Of one that is deleted, what it was called is told no more.
        desk.delete(&file_path(&first.body)).by(&agent).expect(204).await;
        let again = keyed("a.txt", b"one").expect(201).await;
        assert_eq!((&again.body["id"], &again.body["name"]), (&first.body["id"], &json!("")));
    }

    async fn a_file_is_deleted_by_its_sender_for_a_while_and_by_admins_always(desk) {
        let (owner, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        let mut files = Vec::new();
        for name in ["one", "two", "three", "four"] {
            files.push(send(desk, &owner, name, name.as_bytes()).await);
        }
        let comment = say(desk, &owner, &ticket, "public", &[&files[0], &files[1], &files[2]]).await;
        let path = |nth: usize| file_path(&files[nth]);
        let before = desk.read_ticket(&owner, &ticket).await;
        desk.delete(&path(0)).by(&agent).refused(403, "forbidden").await;
        desk.delete(&path(0)).by(&owner).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        desk.clock.pass_s(15 * 60);
        desk.delete(&path(0)).by(&owner).header("if-match", "\"2\"").expect(204).await;
        desk.clock.pass_s(1);
        desk.delete(&path(1)).by(&owner).refused(403, "forbidden").await;
        desk.delete(&path(3)).by(&owner).refused(403, "forbidden").await;
        for who in [&owner, &agent, &admin] {
            desk.get(&path(0)).by(who).refused(404, "not_found").await;
            desk.get(&format!("{}/content", path(0))).by(who).refused(404, "not_found").await;
            desk.delete(&path(0)).by(who).refused(404, "not_found").await;
        }
        // It shows: in the comment, in its version, in the ticket's, and in the trail.
        let comments = format!("{}/comments/{}", ticket_path(&ticket), id(&comment));
        let shown = desk.get(&comments).by(&owner).expect(200).await;
        let names: Vec<_> = shown.body["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
        assert_eq!((names, shown.header("etag")), (vec!["two", "three"], Some("\"2\"")));
        let after = desk.read_ticket(&owner, &ticket).await;
        assert_eq!(after["version"].as_i64(), before["version"].as_i64().map(|version| version + 1));
        let events = desk.all(&owner, &format!("{}/events", ticket_path(&ticket))).await;
        let last = events.last().unwrap();
        assert_eq!((&last["type"], &last["comment_id"]), (&json!("file.deleted"), &comment["id"]));
        assert_eq!(last["changes"], json!([{ "field": "file_ids", "before": [files[0]["id"]], "after": null }]));

        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
        }
        desk.delete(&path(1)).by(&admin).expect(204).await;
        // An account that may read nothing of it, but is there to redact.
        desk.delete(&path(2)).by(&desk.account("admin").await).expect(204).await;
        desk.delete(&path(3)).by(&admin).refused(404, "not_found").await;
        assert_eq!(stored(desk).len(), 4);
        erase_all(desk).await;
        assert_eq!((stored(desk).len(), desk.store.count("files").await), (1, 1));
        desk.store.is_sound();
        // On a closed ticket its sender deletes nothing any more.
        let (second, fresh) = (desk.ticket(&agent, json!({})).await, send(desk, &agent, "x", b"x").await);
        say(desk, &agent, &second, "public", &[&fresh]).await;
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &second, json!({ "status": status })).await;
        }
        desk.delete(&file_path(&fresh)).by(&agent).refused(409, "ticket_closed").await;
    }

    async fn a_file_is_seen_by_whoever_sees_what_it_is_attached_to(desk) {
        let (owner, stranger, agent) = (desk.requester().await, desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        let theirs = desk.ticket(&owner, json!({ "file_ids": [send(desk, &owner, "of the ticket", b"x").await["id"]] })).await;
        let (public, internal) = (send(desk, &agent, "public", b"p").await, send(desk, &agent, "internal", b"i").await);
        say(desk, &agent, &ticket, "public", &[&public]).await;
        say(desk, &agent, &ticket, "internal", &[&internal]).await;
        let blind = desk.account("tickets:read comments:read").await;
        let tickets_alone = desk.account("tickets:read").await;
        let comments_alone = desk.account("comments:read").await;
        let of_ticket = desk.all(&owner, &format!("{}/files", ticket_path(&theirs))).await.remove(0);
        for (who, sees) in [
            (&owner, [true, false, true]),
            (&stranger, [false, false, false]),
            (&agent, [true, true, true]),
            (&blind, [true, false, true]),
            (&tickets_alone, [false, false, true]),
            (&comments_alone, [true, false, false]),
        ] {
            let mut answers = Vec::new();
            for (file, sees) in [&public, &internal, &of_ticket].into_iter().zip(sees) {
                for path in ["", "/content"] {
                    let path = format!("{}{path}", file_path(file));
                    let answer = desk.get(&path).by(who).header("x-request-id", "x").expect(if sees { 200 } else { 404 }).await;
                    if !sees {
                        answers.push(answer.text());
                    }
                }
                let links = desk.post(&format!("{}/link", file_path(file))).by(who).json(&json!({})).header("x-request-id", "x");
                let answer = links.expect(if sees { 200 } else { 404 }).await;
                if !sees {
                    answers.push(answer.text());
                }
            }
            // As if there were none.
            let none = desk.get("/v1/files/019a2f4e-7c1b-7d3e-8f00-1234567890ab").by(who).header("x-request-id", "x").expect(404).await;
            assert!(answers.iter().all(|answer| *answer == none.text()));
            if who.id != stranger.id {
                let listed = desk.all(who, &format!("{}/files", ticket_path(&ticket))).await;
                let expected: Vec<_> = [&public, &internal].into_iter().zip(sees).filter(|(_, sees)| *sees).map(|(file, _)| id(file)).collect();
                assert_eq!(listed.iter().map(id).collect::<Vec<_>>(), expected, "{}", who.name);
            } else {
                desk.get(&format!("{}/files", ticket_path(&ticket))).by(who).refused(404, "not_found").await;
            }
        }
        let none = desk.account("metrics:read").await;
        desk.get(&file_path(&public)).by(&none).refused(403, "insufficient_scope").await;
        sending(desk, &none, "x", b"x").refused(403, "insufficient_scope").await;
        sending(desk, &tickets_alone, "x", b"x").refused(403, "insufficient_scope").await;
        // Who may write and not read is told where it is, and no more.
        let writer = desk.account("comments:write").await;
        let made = sending(desk, &writer, "x", b"x").expect(201).await;
        let place = made.header("location").unwrap();
        assert!(made.bytes.is_empty() && place.starts_with("/v1/files/"));
        let body = json!({ "body": "b", "visibility": "public", "file_ids": [place.rsplit_once('/').unwrap().1] });
        desk.post(&format!("{}/comments", ticket_path(&ticket))).by(&writer).json(&body).expect(201).await;
        assert_eq!(desk.all(&owner, &format!("{}/files", ticket_path(&ticket))).await.len(), 2);
    }

    /// Bytes, names and rows.
    async fn what_is_erased_takes_its_files_along(desk) {
        let (owner, agent, admin) = (desk.requester().await, desk.agent().await, desk.admin().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        let keyed = |name: &str| sending(desk, &agent, name, name.as_bytes().to_vec()).header("idempotency-key", &name.len().to_string());
        let (first, second) = (keyed("Beowulf.txt").expect(201).await.body, keyed("Grendel and others.txt").expect(201).await.body);
        let body = json!({ "body": "b", "visibility": "public", "file_ids": [first["id"]] });
        let comments = format!("{}/comments", ticket_path(&ticket));
        let commented = || desk.post(&comments).by(&agent).json(&body).header("idempotency-key", "c").expect(201);
        let comment = commented().await.body;
        say(desk, &agent, &ticket, "internal", &[&second]).await;
        let of_ticket = desk.ticket(&owner, json!({ "file_ids": [send(desk, &owner, "Hrothgar.txt", b"h").await["id"]] })).await;
        desk.delete(&format!("{comments}/{}", id(&comment))).by(&admin).expect(204).await;
        desk.get(&file_path(&first)).by(&admin).refused(404, "not_found").await;
        desk.get(&file_path(&second)).by(&admin).expect(200).await;
        assert_eq!(commented().await.body["files"], json!([]));
        assert_eq!(keyed("Beowulf.txt").expect(201).await.body["name"], "");
        erase_all(desk).await;
        assert_eq!(stored(desk).len(), 2);
        for path in [ticket_path(&ticket), ticket_path(&of_ticket)] {
            desk.delete(&path).by(&admin).expect(204).await;
            // A second time there is nothing left to do.
            desk.delete(&path).by(&admin).expect(204).await;
        }
        assert!(desk.all(&admin, &format!("{}/files", ticket_path(&ticket))).await.is_empty());
        erase_all(desk).await;
        assert_eq!((stored(desk).len(), desk.store.count("files").await), (0, 0));

        // Of somebody who is anonymised, what they have not attached to anything.
        let loose = send(desk, &owner, "Wiglaf.txt", b"w").await;
        desk.delete(&format!("/v1/users/{}", owner.id)).by(&admin).expect(204).await;
        erase_all(desk).await;
        assert_eq!((stored(desk).len(), desk.store.count("files").await), (0, 0));
        desk.get(&file_path(&loose)).by(&admin).refused(404, "not_found").await;
        let kept = kept(&desk.store).await;
        for name in ["Beowulf", "Grendel", "Hrothgar", "Wiglaf"] {
            assert!(!has(&kept, name), "{name} is still there");
        }
    }

    async fn what_nobody_attaches_is_swept_and_so_are_bytes_that_no_file_has(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let (loose, kept) = (send(desk, &owner, "loose", b"1").await, send(desk, &owner, "kept", b"2").await);
        let ticket = desk.ticket(&owner, json!({ "file_ids": [kept["id"]] })).await;
        desk.clock.pass_s(24 * 3600);
        erase_all(desk).await;
        desk.get(&file_path(&loose)).by(&owner).expect(200).await;
        desk.clock.pass_s(1);
        erase_all(desk).await;
        desk.get(&file_path(&loose)).by(&owner).refused(404, "not_found").await;
        assert_eq!(stored(desk).len(), 1);
        // Bytes without a row, old ones and fresh ones, and what was never written to its end.
        let folder = desk.files.path().join("7f");
        std::fs::create_dir_all(&folder).unwrap();
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let put = |path: PathBuf, old: Option<SystemTime>| {
            std::fs::write(&path, "orphan").unwrap();
            if let Some(old) = old {
                std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            }
        };
        put(folder.join("orphan"), Some(old));
        put(folder.join("fresh"), None);
        put(desk.files.path().join("incoming/draft.part"), Some(old));
        put(desk.files.path().join("incoming/fresh.part"), None);
        // What a file has stays, however old it is.
        for path in stored(desk).into_iter().filter(|path| !path.starts_with(&folder)) {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(sweep_all(desk).await, 2);
        assert_eq!(sweep_all(desk).await, 0);
        let left = |folder: &str| std::fs::read_dir(desk.files.path().join(folder)).unwrap().count();
        assert_eq!((left("7f"), left("incoming")), (1, 1));
        assert_eq!(desk.get(&format!("{}/content", file_path(&kept))).by(&agent).expect(200).await.bytes, b"2");
        assert_eq!(desk.all(&agent, &format!("{}/files", ticket_path(&ticket))).await.len(), 1);
    }

    async fn the_feed_tells_of_files_to_those_who_may_see_them(desk) {
        let (owner, agent) = (desk.requester().await, desk.agent().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        for (name, visibility) in [("public", "public"), ("internal", "internal")] {
            let file = send(desk, &agent, name, b"x").await;
            say(desk, &agent, &ticket, visibility, &[&file]).await;
            desk.delete(&file_path(&file)).by(&agent).expect(204).await;
        }
        desk.sequence().await;
        let told = async |who: &Caller| {
            let page = desk.get("/v1/changes?from=start&types=file.attached,file.deleted,file.infected").by(who).expect(200).await;
            let items = page.body["items"].as_array().unwrap().iter();
            items.map(|item| format!("{} {}", item["type"].as_str().unwrap(), item["visibility"].as_str().unwrap())).collect::<Vec<_>>()
        };
        let public = ["file.attached public", "file.deleted public"];
        assert_eq!(told(&agent).await, [&public[..], &["file.attached internal", "file.deleted internal"]].concat());
        assert_eq!(told(&owner).await, public);
        assert!(told(&desk.requester().await).await.is_empty());
        assert!(told(&desk.account("tickets:read").await).await.is_empty());
    }

    /// Each of an upload that stalls, one that comes too slowly, and one that ends too soon leaves nothing behind.
    async fn an_upload_that_does_not_come_is_ended(desk) {
        let agent = desk.agent().await;
        let url = desk.instance_with(|mut settings| {
            settings.limits.client_timeout = Duration::from_millis(500);
            settings
        });
        let open = async |length: usize| {
            let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
            let head = format!(
                "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: {length}\r\n\
                 content-disposition: attachment; filename=x\r\n\r\n",
                agent.token
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream
        };
        let end = async |mut stream: TcpStream| {
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap_or_default();
            String::from_utf8_lossy(&answer).into_owned()
        };
        // All but the last byte, and then nothing.
        let mut stalled = open(300_000).await;
        stalled.write_all(&vec![b'x'; 299_999]).await.unwrap();
        let answer = end(stalled).await;
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"request_timeout\""), "{answer}");
        // A byte now and then.
        let slow = open(1_000).await;
        let (mut reading, mut writing) = slow.into_split();
        let drip = tokio::spawn(async move {
            while writing.write_all(b"x").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let mut answer = Vec::new();
        reading.read_to_end(&mut answer).await.unwrap_or_default();
        assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
        drip.abort();
        // Shorter than it says.
        let mut short = open(1_000).await;
        short.write_all(b"short").await.unwrap();
        short.shutdown().await.unwrap();
        let answer = end(short).await;
        assert!(answer.is_empty() || answer.contains("\"content_mismatch\""), "{answer}");
        // One that rests is no slower than one that goes on.
        let mut steady = open(60_000).await;
        for _ in 0..6 {
            steady.write_all(&vec![b'x'; 10_000]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        steady.shutdown().await.unwrap();
        assert_eq!((stored(desk).len(), desk.store.count("files").await), (1, 1));
        until("drafts that are gone", async || within(desk.files.path(), true).is_empty().then_some(())).await;
    }

    async fn nobody_sends_many_files_at_once(desk) {
        let (agent, other) = (desk.agent().await, desk.agent().await);
        let head = format!(
            "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-length: 2\r\n\
             content-disposition: attachment; filename=x\r\n\r\nx",
            agent.token
        );
        let mut open = Vec::new();
        for _ in 0..16 {
            let mut stream = TcpStream::connect(desk.url.strip_prefix("http://").unwrap()).await.unwrap();
            stream.write_all(head.as_bytes()).await.unwrap();
            open.push(stream);
        }
        until("sixteen drafts", async || (within(desk.files.path(), true).len() == 16).then_some(())).await;
        sending(desk, &agent, "x", b"xx").refused(429, "rate_limited").await;
        sending(desk, &other, "x", b"xx").expect(201).await;
        for mut stream in open {
            stream.write_all(b"x").await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            assert_eq!(&answer, b"HTTP/1.1 201");
        }
        sending(desk, &agent, "x", b"xx").expect(201).await;
    }
}
