//! Webhooks: what happens is told to receivers of the test's own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use skranke::db::lease::Holder;
use skranke::http::seal::Sealer;
use skranke::webhooks::service::{Sender, forget_deliveries, hand_out};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::on_both;
use crate::plans::Explainer;
use crate::receiver::{Reaction, Received, Receiver};
use crate::start::{Place, until};
use crate::support::{Caller, Desk, Engine, Store, courier};

fn status(status: u16) -> Reaction {
    Reaction::Answer(status, String::new())
}

/// An instance that sends.
fn sender(desk: &Desk) -> Sender {
    sender_with(desk, desk.settings.state.sealer.clone())
}

fn sender_with(desk: &Desk, sealer: Arc<Sealer>) -> Sender {
    let me: Holder = desk.ids.id(desk.clock.now());
    Sender::new(desk.db.patient(), desk.ids.clone(), courier(true), sealer, me)
}

/// Hands out all that has happened.
async fn hand_out_all(desk: &Desk) {
    desk.sequence().await;
    while hand_out(&desk.db.patient(), &desk.ids).await.unwrap() {}
}

/// All that an instance does: hands out, and sends what is due.
async fn serve(desk: &Desk, sender: &Sender) {
    hand_out_all(desk).await;
    sender.send_all().await.unwrap();
}

/// The last position of the change log, when all that has happened has one.
async fn head(desk: &Desk) -> i64 {
    desk.sequence().await;
    desk.db.read(async |conn| skranke::audit::store::log::head(conn).await).await.unwrap()
}

/// A webhook that leads to `receiver`, with `fields` over the least that is needed; its path, and itself.
async fn hook(desk: &Desk, who: &Caller, receiver: &Receiver, fields: Value) -> (String, Value) {
    // It is told what happens from now on.
    desk.sequence().await;
    let mut body = json!({ "name": format!("hook {}", desk.nth()), "url": receiver.url });
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    let made = desk.post("/v1/webhooks").by(who).json(&body).expect(201).await;
    (made.header("location").unwrap().to_owned(), made.body)
}

async fn read(desk: &Desk, who: &Caller, path: &str) -> Value {
    desk.get(path).by(who).expect(200).await.body
}

async fn deliveries(desk: &Desk, who: &Caller, path: &str) -> Vec<Value> {
    desk.all(who, &format!("{path}/deliveries?limit=200")).await
}

/// How often each state is among the deliveries.
async fn states(desk: &Desk, who: &Caller, path: &str) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for one in deliveries(desk, who, path).await {
        *count.entry(one["state"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    count
}

async fn comment(desk: &Desk, who: &Caller, ticket: &Value, visibility: &str, text: &str) {
    let path = format!("/v1/tickets/{}/comments", ticket["number"]);
    desk.post(&path).by(who).json(&json!({ "visibility": visibility, "body": text })).expect(201).await;
}

on_both! {
    async fn a_webhook_is_set_up_changed_and_removed(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "pager", "url": "https://Example.org:443/hook?a=b" });
        let create = || desk.post("/v1/webhooks").by(&admin).header("idempotency-key", "k").json(&body).expect(201);
        let made = create().await;
        assert_eq!(made.header("etag"), Some("\"1\""));
        let secret = made.body["secret"].as_str().unwrap().to_owned();
        assert_eq!(STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap().len(), 32);
        let path = made.header("location").unwrap().to_owned();
        assert_eq!(create().await.body["secret"], secret.as_str(), "the same request again");
        let none = json!({ "team_ids": [], "priorities": [], "types": [], "channels": [], "tags": [] });
        let mut expected = json!({ "id": made.body["id"], "name": "pager", "url": "https://example.org/hook?a=b",
            "principal": { "id": admin.id, "name": admin.name }, "types": [], "condition": none, "include_ticket": false, "include_imported": false,
            "state": "active", "disabled_reason": null, "created_at": made.body["created_at"],
            "updated_at": made.body["created_at"], "version": 1 });
        assert_eq!(read(desk, &admin, &path).await, expected);
        assert_eq!(desk.all(&admin, "/v1/webhooks").await, [expected.clone()]);

        // A merge patch; one that changes nothing leaves the version.
        desk.clock.pass_s(60);
        let patch = |body: Value| desk.patch(&path).by(&admin).json(&body);
        let change = json!({ "types": ["ticket.created"], "condition": { "tags": ["vip"] }, "include_ticket": true, "state": "paused" });
        let changed = patch(change.clone()).expect(200).await;
        (expected["types"], expected["condition"]["tags"]) = (json!(["ticket.created"]), json!(["vip"]));
        (expected["include_ticket"], expected["state"], expected["version"]) = (json!(true), json!("paused"), json!(2));
        expected["updated_at"] = changed.body["updated_at"].clone();
        assert_eq!(changed.body, expected);
        assert_eq!(patch(change).expect(200).await.header("etag"), Some("\"2\""));
        patch(json!({ "name": "x" })).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        let open = patch(json!({ "types": null, "condition": null, "state": "active" })).header("if-match", "\"2\"").expect(200).await;
        assert_eq!((&open.body["types"], &open.body["condition"], &open.body["state"]), (&json!([]), &none, &json!("active")));
        desk.get(&path).by(&admin).header("if-none-match", "\"3\"").expect(304).await;

        // Another secret; no kept answer tells the old one any more.
        desk.post(&format!("{path}/secret")).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        let rotated = desk.post(&format!("{path}/secret")).by(&admin).expect(200).await;
        assert_eq!(rotated.header("etag"), Some("\"4\""));
        assert_ne!(rotated.body["secret"], secret.as_str());
        let again = desk.post("/v1/webhooks").by(&admin).header("idempotency-key", "k").json(&body);
        assert!(!again.refused(409, "conflict").await.text().contains("whsec_"));

        // A name is had once, and again when it is free.
        desk.post("/v1/webhooks").by(&admin).json(&body).refused(409, "conflict").await;
        let other = desk.post("/v1/webhooks").by(&admin).json(&json!({ "name": "other", "url": "https://example.org/" })).expect(201).await;
        let other = other.header("location").unwrap().to_owned();
        desk.patch(&other).by(&admin).json(&json!({ "name": "pager" })).refused(409, "conflict").await;
        desk.delete(&path).by(&admin).header("if-match", "\"3\"").refused(412, "version_mismatch").await;
        desk.delete(&path).by(&admin).header("if-match", "\"4\"").expect(204).await;
        for ask in [desk.get(&path), desk.delete(&path), desk.post(&format!("{path}/secret")), desk.post(&format!("{path}/test")),
            desk.get(&format!("{path}/deliveries")), desk.patch(&path).json(&json!({})), desk.post(&format!("{path}/replay")).json(&json!({ "from": 1 }))] {
            ask.by(&admin).refused(404, "not_found").await;
        }
        desk.patch(&other).by(&admin).json(&json!({ "name": "pager" })).expect(200).await;
        assert_eq!(desk.all(&admin, "/v1/webhooks").await.len(), 1);
    }

    async fn what_no_webhook_can_be(desk) {
        let admin = desk.admin().await;
        let blind = desk.account("metrics:read").await;
        let post = |body: Value| desk.post("/v1/webhooks").by(&admin).json(&body);
        let nobody = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";
        let refused = post(json!({ "name": " ", "url": 7, "types": ["ticket.creatd"], "condition": { "tags": ["a,b"] }, "state": "disabled", "secret": "x" }))
            .refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/condition/tags/0", "/name", "/secret", "/state", "/types/0", "/url"]);
        let refused = post(json!({ "name": "a", "url": "http://10.0.0.1/", "principal_id": nobody, "condition": { "team_ids": [nobody] } }))
            .refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/condition/team_ids/0", "/principal_id", "/url"]);
        let refused = post(json!({ "name": "a", "url": "https://example.org/", "principal_id": blind.id })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/principal_id"]);
        desk.delete(&format!("/v1/service-accounts/{}", blind.id)).by(&admin).expect(204).await;
        for url in ["https://user@example.org/", "https://@example.org/", "https://[::ffff:10.0.0.1]/", "https://0x0a000001/", "https://012.1/", "https://[64:ff9b::a00:1]/",
            "https://169.254.169.254./", "https://１０.0.0.1/", "https://example.org:25/", "ftp://example.org/", "https://", "nonsense", "https://a.example/#b"] {
            let refused = post(json!({ "name": "a", "url": url })).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), ["/url"], "{url}");
        }
        let (path, _) = {
            let made = post(json!({ "name": "a", "url": "https://example.org/" })).expect(201).await;
            (made.header("location").unwrap().to_owned(), made.body)
        };
        let refused = desk.patch(&path).by(&admin).json(&json!({ "url": "https://192.168.1.1/", "principal_id": nobody })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/principal_id", "/url"]);
        for null in ["name", "url", "principal_id", "state", "include_ticket"] {
            let refused = desk.patch(&path).by(&admin).json(&json!({ null: null })).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), [format!("/{null}")]);
        }
        // There is an end to them.
        for nth in 1..100 {
            post(json!({ "name": format!("hook {nth}"), "url": "https://example.org/" })).expect(201).await;
        }
        post(json!({ "name": "one more", "url": "https://example.org/" })).refused(409, "conflict").await;
        desk.delete(&path).by(&admin).expect(204).await;
        post(json!({ "name": "one more", "url": "https://example.org/" })).expect(201).await;
    }

    /// A webhook sees what its principal sees: whoever says where it leads hands that on.
    async fn nobody_hands_on_what_they_do_not_see(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let small = desk.account("admin tickets:read").await;
        let reader = desk.account("tickets:read").await;
        let make = |who: &Caller, principal: &Caller| {
            let body = json!({ "name": format!("hook {}", desk.nth()), "url": "https://example.org/", "principal_id": principal.id });
            desk.post("/v1/webhooks").by(who).json(&body)
        };
        make(&small, &agent).refused(403, "forbidden").await;
        make(&small, &admin).refused(403, "forbidden").await;
        let own = make(&small, &reader).expect(201).await.header("location").unwrap().to_owned();
        make(&small, &small).expect(201).await;
        let theirs = make(&admin, &agent).expect(201).await.header("location").unwrap().to_owned();
        for patch in [json!({ "url": "https://elsewhere.example/" }), json!({ "types": ["ticket.created"] }), json!({ "include_ticket": true })] {
            desk.patch(&theirs).by(&small).json(&patch).refused(403, "forbidden").await;
            desk.patch(&own).by(&small).json(&patch).expect(200).await;
        }
        // What waits while it is paused would go where it leads then.
        desk.patch(&theirs).by(&admin).json(&json!({ "state": "paused" })).expect(200).await;
        for patch in [json!({ "url": "https://elsewhere.example/" }), json!({ "principal_id": small.id }), json!({ "include_ticket": true }), json!({ "state": "active" })] {
            desk.patch(&theirs).by(&small).json(&patch).refused(403, "forbidden").await;
        }
        desk.patch(&own).by(&small).json(&json!({ "principal_id": agent.id })).refused(403, "forbidden").await;
        desk.post(&format!("{theirs}/secret")).by(&small).refused(403, "forbidden").await;
        desk.post(&format!("{own}/secret")).by(&small).expect(200).await;
        // Whose token reads no tickets makes none at all.
        let narrow = desk.narrowed(&admin, "admin");
        make(&narrow, &reader).refused(403, "insufficient_scope").await;
    }

    async fn what_happens_is_told_in_its_order_and_signed(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        desk.ticket(&agent, json!({ "subject": "Before" })).await;
        let base = head(desk).await;
        let (path, made) = hook(desk, &admin, &receiver, json!({ "include_ticket": true })).await;
        let ticket = desk.ticket(&agent, json!({ "subject": "The printer smokes", "description": "x".repeat(30_000) })).await;
        comment(desk, &agent, &ticket, "internal", "It is the fuser.").await;
        let other = desk.ticket(&agent, json!({ "subject": "Another" })).await;
        desk.patch_ticket(&agent, &ticket, json!({ "priority": "high" })).await;
        serve(desk, &sender).await;

        let got = receiver.take();
        let feed = read(desk, &admin, "/v1/changes?from=start&include=ticket").await;
        let feed: Vec<&Value> = feed["items"].as_array().unwrap().iter().filter(|item| item["position"].as_i64().unwrap() > base).collect();
        assert_eq!(got.len(), feed.len());
        for one in &got {
            let item = feed.iter().find(|item| item["id"] == one.id()).unwrap();
            one.is_signed_by(&[made["secret"].as_str().unwrap()]);
            assert!(one.raw.len() <= 20 << 10, "{}", one.raw.len());
            assert_eq!((one.kind(), &one.body["timestamp"]), (item["type"].as_str().unwrap(), &item["at"]));
            let data = &one.body["data"];
            for field in ["position", "id", "type", "at", "visibility", "actor", "ticket", "comment_id"] {
                assert_eq!(data[field], item[field], "{field}");
            }
            assert_eq!(data["snapshot"]["number"], item["snapshot"]["number"]);
            let is_cut = item["ticket"]["id"] == ticket["id"];
            assert_eq!(data["truncated"].as_array().unwrap().contains(&json!("/snapshot/description")), is_cut);
            for (header, value) in [("content-type", "application/json"), ("ce-specversion", "1.0"), ("ce-id", one.id()), ("ce-type", one.kind()),
                ("ce-source", "skranke"), ("ce-time", item["at"].as_str().unwrap()), ("user-agent", concat!("Skranke/", env!("CARGO_PKG_VERSION")))] {
                assert_eq!(one.header(header), value);
            }
        }
        // Of one ticket in its order; what comes later comes later.
        for ticket in [&ticket, &other] {
            let of: Vec<i64> = got.iter().filter(|one| one.body["data"]["ticket"]["id"] == ticket["id"]).map(Received::position).collect();
            assert!(of.is_sorted() && !of.is_empty());
        }
        let told = deliveries(desk, &admin, &path).await;
        assert_eq!(told.iter().map(|one| one["position"].as_i64().unwrap()).collect::<Vec<_>>(), [4, 3, 2, 1].map(|nth| base + nth));
        for one in &told {
            assert_eq!((&one["state"], &one["attempts"], &one["last_status"], &one["last_error"], &one["due_at"]),
                (&json!("delivered"), &json!(1), &json!(204), &Value::Null, &Value::Null));
            assert!(one["settled_at"].is_string() && one["last_duration_ms"].is_i64());
        }
        // Nothing is told twice.
        serve(desk, &sender).await;
        assert!(receiver.take().is_empty());
    }

    async fn only_what_is_asked_for_is_told(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({ "types": ["ticket.created", "comment.added"], "condition": { "priorities": ["urgent"], "tags": ["vip", "db"] } })).await;
        let base = head(desk).await;
        let open = |priority: &str, tags: Value| desk.ticket(&agent, json!({ "priority": priority, "tags": tags }));
        let meant = [open("urgent", json!(["db"])).await, open("urgent", json!(["a", "vip"])).await];
        open("urgent", json!(["a"])).await;
        open("high", json!(["vip"])).await;
        desk.patch_ticket(&agent, &meant[0], json!({ "subject": "Not asked for" })).await;
        comment(desk, &agent, &meant[1], "public", "Asked for.").await;
        serve(desk, &sender).await;
        let kinds: BTreeMap<i64, String> = receiver.take().iter().map(|one| (one.position(), one.kind().to_owned())).collect();
        assert_eq!(kinds, [(1, "ticket.created"), (2, "ticket.created"), (6, "comment.added")].map(|(at, kind)| (base + at, kind.to_owned())).into());
        // A paused one is told later what has happened meanwhile.
        desk.patch(&path).by(&admin).json(&json!({ "state": "paused", "types": null, "condition": null })).expect(200).await;
        let more = open("low", json!([])).await;
        serve(desk, &sender).await;
        assert!(receiver.take().is_empty());
        desk.patch(&path).by(&admin).json(&json!({ "state": "active" })).expect(200).await;
        serve(desk, &sender).await;
        let ids: Vec<Value> = receiver.take().iter().map(|one| one.body["data"]["ticket"]["id"].clone()).filter(|id| *id == more["id"]).collect();
        assert_eq!(ids.len(), 1);
    }

    /// The one in whose name it is told may see it when it is sent.
    async fn nobody_is_told_what_they_may_not_see(desk) {
        let (admin, agent, ada, bob) = (desk.admin().await, desk.agent().await, desk.requester().await, desk.requester().await);
        let reader = desk.account("tickets:read comments:read").await;
        let narrow = desk.account("tickets:read").await;
        let sender = sender(desk);
        let mut receivers = Vec::new();
        for who in [&ada, &reader, &narrow] {
            let receiver = Receiver::open().await;
            hook(desk, &admin, &receiver, json!({ "principal_id": who.id, "include_ticket": true })).await;
            receivers.push(receiver);
        }
        let ticket = desk.ticket(&ada, json!({ "subject": "Mine" })).await;
        desk.ticket(&bob, json!({ "subject": "Of Bob" })).await;
        comment(desk, &agent, &ticket, "internal", "She is a swordfish.").await;
        desk.post(&format!("/v1/tickets/{}/time-entries", ticket["number"])).by(&agent).json(&json!({ "work_s": 60 })).expect(201).await;
        comment(desk, &agent, &ticket, "public", "We are at it.").await;
        serve(desk, &sender).await;
        let kinds = |got: &[Received]| got.iter().map(|one| one.kind().to_owned()).collect::<Vec<_>>();
        let got: Vec<Vec<Received>> = receivers.iter().map(Receiver::take).collect();
        assert_eq!(kinds(&got[0]), ["ticket.created", "comment.added", "ticket.updated"]);
        assert_eq!(got[1].len(), 4);
        assert_eq!(BTreeSet::from_iter(kinds(&got[2])), BTreeSet::from(["ticket.created".to_owned(), "ticket.updated".to_owned()]));
        for one in got.iter().flatten() {
            assert!(!String::from_utf8_lossy(&one.raw).contains("swordfish") && one.body["data"]["visibility"] == "public", "{:?}", one.body);
        }
        for one in &got[0] {
            assert_eq!(one.body["data"]["position"], Value::Null);
            assert!(!String::from_utf8_lossy(&one.raw).contains("Of Bob"));
        }
        // It is judged when it is sent: queued as hers, it is somebody else's by then. What is redacted is not told.
        desk.patch_ticket(&agent, &ticket, json!({ "tags": ["waits"] })).await;
        desk.patch_ticket(&agent, &ticket, json!({ "subject": "My password is swordfish" })).await;
        hand_out_all(desk).await;
        desk.patch_ticket(&agent, &ticket, json!({ "requester_id": bob.id })).await;
        desk.delete(&format!("/v1/tickets/{}", ticket["number"])).by(&admin).expect(204).await;
        sender.send_all().await.unwrap();
        assert!(receivers[0].take().is_empty());
        let others = receivers[1].take();
        assert!(others.len() >= 2 && others.iter().all(|one| !String::from_utf8_lossy(&one.raw).contains("swordfish")));
    }

    async fn each_failure_is_told_by_a_word(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, trap, sender) = (Receiver::open().await, Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({ "types": ["ticket.created"] })).await;
        let base = head(desk).await;
        let to = |place: &str| Reaction::Answer(302, format!("location: {place}\r\n"));
        let script = [
            (status(500), "status", Some(500)), (status(404), "status", Some(404)), (Reaction::Silence, "timeout", None), (Reaction::Drip, "timeout", None),
            (Reaction::Reset, "broken", None), (to("http://169.254.169.254/latest/meta-data"), "redirect", Some(302)), (to(&trap.url), "redirect", Some(302)),
        ];
        for (nth, (reaction, error, answered)) in script.into_iter().enumerate() {
            receiver.will([reaction]);
            desk.ticket(&agent, json!({})).await;
            serve(desk, &sender).await;
            let one = &deliveries(desk, &admin, &path).await[0];
            assert_eq!((&one["position"], &one["state"], &one["attempts"]), (&json!(base + nth as i64 + 1), &json!("pending"), &json!(1)));
            assert_eq!((&one["last_error"], &one["last_status"]), (&json!(error), &json!(answered)), "{error}");
        }
        assert!(trap.got().is_empty(), "nobody is followed elsewhere");
        assert_eq!(receiver.take().len(), 7);
        // Nobody there.
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        desk.patch(&path).by(&admin).json(&json!({ "url": format!("http://{closed}/hook") })).expect(200).await;
        let try_out = || desk.post(&format!("{path}/test")).by(&admin).expect(200);
        let tried = try_out().await.body;
        assert_eq!((&tried["status"], &tried["error"]), (&Value::Null, &json!("connect")));
        desk.patch(&path).by(&admin).json(&json!({ "url": "https://nobody.invalid/" })).expect(200).await;
        let tried = try_out().await.body;
        assert!(["dns", "timeout"].contains(&tried["error"].as_str().unwrap()), "{tried}");
        // No TLS there.
        let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plain = format!("https://{}/", other.local_addr().unwrap());
        desk.patch(&path).by(&admin).json(&json!({ "url": plain })).expect(200).await;
        let answer = async {
            let (mut stream, _) = other.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400 Plain\r\n\r\n").await.unwrap();
            stream
        };
        let (tried, _stream) = tokio::join!(try_out(), answer);
        assert_eq!(tried.body["error"], "tls");
        // Gone for good.
        desk.patch(&path).by(&admin).json(&json!({ "url": receiver.url })).expect(200).await;
        receiver.will([status(410)]);
        desk.ticket(&agent, json!({})).await;
        serve(desk, &sender).await;
        let webhook = read(desk, &admin, &path).await;
        assert_eq!((&webhook["state"], &webhook["disabled_reason"]), (&json!("disabled"), &json!("gone")));
        receiver.take();
        desk.clock.pass_s(86_400);
        serve(desk, &sender).await;
        assert!(receiver.take().is_empty());
        // It is in the change log, for those who set up webhooks.
        let told = read(desk, &admin, "/v1/changes?from=start&types=webhook.disabled").await;
        assert_eq!(told["items"].as_array().unwrap().len(), 1);
        let told = &told["items"][0];
        assert_eq!((&told["subject"], &told["ticket"], &told["actor"]), (&json!({ "kind": "webhook", "id": webhook["id"] }), &Value::Null, &Value::Null));
        assert_eq!(told["changes"], json!([{ "field": "disabled_reason", "before": null, "after": "gone" }]));
        assert_eq!(read(desk, &agent, "/v1/changes?from=start&types=webhook.disabled").await["items"], json!([]));
        // Nothing is lost by it. The receiver first sees that nobody waits any more for what it has kept silent about.
        until("the receiver to be done", async || receiver.is_done().then_some(())).await;
        desk.patch(&path).by(&admin).json(&json!({ "state": "active" })).expect(200).await;
        serve(desk, &sender).await;
        assert_eq!(receiver.take().len(), 8);
        assert_eq!(states(desk, &admin, &path).await, [("delivered".to_owned(), 8)].into());
    }

    /// Three days of failures, on a clock that is moved.
    async fn what_is_never_taken_is_given_up_after_ten_attempts(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, made) = hook(desk, &admin, &receiver, json!({})).await;
        let base = head(desk).await;
        receiver.always(Some(status(503)));
        desk.ticket(&agent, json!({})).await;
        serve(desk, &sender).await;
        let pauses_s = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
        for (nth, pause_s) in pauses_s.into_iter().enumerate() {
            assert_eq!(receiver.got().len(), nth + 1);
            desk.clock.pass_us(pause_s * 800_000 - 1);
            serve(desk, &sender).await;
            assert_eq!(receiver.got().len(), nth + 1, "too soon after attempt {}", nth + 1);
            desk.clock.pass_us(pause_s * 400_000 + 1);
            serve(desk, &sender).await;
        }
        let got = receiver.take();
        assert_eq!(got.len(), 10);
        assert_eq!(got.iter().map(Received::id).collect::<BTreeSet<_>>().len(), 1, "the same id each time");
        assert_eq!(got.iter().map(|one| one.header("webhook-timestamp")).collect::<BTreeSet<_>>().len(), 10, "another time each");
        got.iter().for_each(|one| one.is_signed_by(&[made["secret"].as_str().unwrap()]));
        let dead = desk.all(&admin, &format!("{path}/deliveries?state=dead")).await;
        assert_eq!((dead.len(), &dead[0]["attempts"], &dead[0]["due_at"]), (1, &json!(10), &Value::Null));
        assert!(desk.all(&admin, &format!("{path}/deliveries?state=pending")).await.is_empty());
        assert_eq!(read(desk, &admin, &path).await["state"], "active");
        desk.clock.pass_s(86_400);
        serve(desk, &sender).await;
        assert!(receiver.take().is_empty());
        // And again, by hand.
        receiver.always(None);
        let replay = |body: Value| desk.post(&format!("{path}/replay")).by(&admin).json(&body).expect(200);
        assert_eq!(replay(json!({ "from": base + 2 })).await.body, json!({ "queued": 0, "next_from": null }));
        assert_eq!(replay(json!({ "from": base + 1 })).await.body, json!({ "queued": 1, "next_from": null }));
        serve(desk, &sender).await;
        let again = receiver.take();
        assert_eq!((again.len(), again[0].id()), (1, got[0].id()));
        assert_eq!(states(desk, &admin, &path).await, [("delivered".to_owned(), 1)].into());
    }

    async fn a_receiver_can_ask_for_more_time_but_not_for_less(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({})).await;
        let asked = |text: &str| Reaction::Answer(429, format!("retry-after: {text}\r\n"));
        let now_us = desk.clock.now().micros();
        for (text, least_s, most_s) in [("600", 600, 600), ("0", 4, 6), ("-5", 4, 6), ("999999", 3_600, 3_600), ("soon", 4, 6), ("Mon, 02 Mar 2026 09:20:00 GMT", 1_200, 1_200)] {
            receiver.will([asked(text)]);
            desk.ticket(&agent, json!({})).await;
            serve(desk, &sender).await;
            let due: skranke::kernel::Instant = deliveries(desk, &admin, &path).await[0]["due_at"].as_str().unwrap().parse().unwrap();
            let pause_us = due.micros() - now_us;
            assert!((least_s * 1_000_000..=most_s * 1_000_000).contains(&pause_us), "{text}: {pause_us}");
        }
    }

    /// Whoever is down is asked now and then, and told all when they are back.
    async fn a_receiver_that_is_down_is_probed(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({})).await;
        receiver.always(Some(status(500)));
        for _ in 0..40 {
            desk.ticket(&agent, json!({})).await;
        }
        serve(desk, &sender).await;
        let first = receiver.take().len();
        // Those that were on their way when it was found out.
        assert!((10..=20).contains(&first), "{first}");
        for pause_s in [5, 300, 1_800, 7_200, 7_200] {
            desk.clock.pass_s(pause_s - 1);
            serve(desk, &sender).await;
            let early = receiver.take().len();
            desk.clock.pass_s(1);
            serve(desk, &sender).await;
            assert!(early + receiver.take().len() <= 1, "one probe after {pause_s} s");
        }
        receiver.always(None);
        desk.clock.pass_s(7_200);
        let began = std::time::Instant::now();
        serve(desk, &sender).await;
        let count = states(desk, &admin, &path).await;
        let told = count["delivered"];
        assert!(told >= 25 && receiver.take().len() == told, "{count:?}");
        assert!(began.elapsed() >= Duration::from_millis(20) * u32::try_from(told - 2).unwrap(), "gently: {:?}", began.elapsed());
        desk.clock.pass_s(2 * 86_400);
        serve(desk, &sender).await;
        assert_eq!(states(desk, &admin, &path).await, [("delivered".to_owned(), 40)].into());
    }

    async fn nothing_for_five_days_disables_a_webhook_and_loses_nothing(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({ "types": ["ticket.created"] })).await;
        receiver.always(Some(Reaction::Reset));
        for _ in 0..15 {
            desk.ticket(&agent, json!({})).await;
        }
        serve(desk, &sender).await;
        let mut hours = 0;
        while read(desk, &admin, &path).await["state"] == "active" {
            desk.clock.pass_s(7_200);
            hours += 2;
            serve(desk, &sender).await;
            assert!(hours <= 150, "it goes on for ever");
        }
        assert!(hours >= 120, "{hours} h");
        assert_eq!(read(desk, &admin, &path).await["disabled_reason"], "failing");
        desk.ticket(&agent, json!({})).await;
        receiver.always(None);
        receiver.take();
        serve(desk, &sender).await;
        assert!(receiver.take().is_empty());
        desk.patch(&path).by(&admin).json(&json!({ "state": "active" })).expect(200).await;
        desk.clock.pass_s(2 * 86_400);
        serve(desk, &sender).await;
        let count = states(desk, &admin, &path).await;
        assert_eq!(count.values().sum::<usize>(), 16, "{count:?}");
        assert!(!count.contains_key("pending"), "{count:?}");
    }

    async fn a_webhook_ends_with_its_principal_and_with_its_key(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let reader = desk.account("tickets:read").await;
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({ "principal_id": reader.id, "types": ["ticket.created"] })).await;
        desk.ticket(&agent, json!({})).await;
        hand_out_all(desk).await;
        desk.delete(&format!("/v1/service-accounts/{}", reader.id)).by(&admin).expect(204).await;
        sender.send_all().await.unwrap();
        assert!(receiver.take().is_empty());
        let webhook = read(desk, &admin, &path).await;
        assert_eq!((&webhook["state"], &webhook["disabled_reason"]), (&json!("disabled"), &json!("principal_revoked")));
        let refused = desk.patch(&path).by(&admin).json(&json!({ "state": "active" })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/principal_id"]);
        desk.patch(&path).by(&admin).json(&json!({ "state": "active", "principal_id": admin.id })).expect(200).await;
        serve(desk, &sender).await;
        assert_eq!(receiver.take().len(), 1);
        // An instance that lacks the key waits for it for an hour.
        let other = Arc::new(Sealer::new([b"another".as_slice()]).unwrap());
        let stranger = sender_with(desk, other);
        desk.ticket(&agent, json!({})).await;
        serve(desk, &stranger).await;
        assert_eq!(deliveries(desk, &admin, &path).await[0]["last_error"], "secret_unreadable");
        assert!(receiver.take().is_empty());
        let mut passed_s = 0;
        while read(desk, &admin, &path).await["state"] == "active" {
            desk.clock.pass_s(400);
            passed_s += 400;
            serve(desk, &stranger).await;
            assert!(passed_s < 20_000);
        }
        assert!(passed_s >= 3_600, "{passed_s}");
        assert_eq!(read(desk, &admin, &path).await["disabled_reason"], "secret_unreadable");
        let tried = desk.post(&format!("{path}/test")).by(&admin).expect(200).await.body;
        assert_eq!(tried["error"], Value::Null, "who has the key can");
        receiver.take();
        // Keys rotate: what the old one has sealed the new one seals anew.
        let key = skranke::auth::keys::SigningKey::from_pem(skranke::auth::keys::SigningKey::generate_pem().unwrap().reveal()).unwrap();
        let old = desk.authority.keys.all()[0].seed();
        let both = sender_with(desk, Arc::new(Sealer::new([key.seed(), old]).unwrap()));
        desk.patch(&path).by(&admin).json(&json!({ "state": "active" })).expect(200).await;
        desk.clock.pass_s(86_400);
        serve(desk, &both).await;
        assert_eq!(receiver.take().len(), 1);
        let new = sender_with(desk, Arc::new(Sealer::new([key.seed()]).unwrap()));
        desk.ticket(&agent, json!({})).await;
        serve(desk, &new).await;
        assert_eq!(receiver.take().len(), 1);
    }

    async fn for_a_day_both_secrets_sign(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, made) = hook(desk, &admin, &receiver, json!({})).await;
        let rotate = || desk.post(&format!("{path}/secret")).by(&admin).expect(200);
        let rotated = rotate().await.body;
        let [first, second] = [&made, &rotated].map(|body| body["secret"].as_str().unwrap().to_owned());
        let next = async || {
            desk.ticket(&agent, json!({})).await;
            serve(desk, &sender).await;
            receiver.take().pop().unwrap()
        };
        next().await.is_signed_by(&[&second, &first]);
        desk.clock.pass_s(86_399);
        next().await.is_signed_by(&[&second, &first]);
        desk.post(&format!("{path}/test")).by(&admin).expect(200).await;
        let test = receiver.take().pop().unwrap();
        test.is_signed_by(&[&second, &first]);
        desk.clock.pass_s(1);
        next().await.is_signed_by(&[&second]);
        // Of two that were replaced the last one signs.
        let third = rotate().await.body["secret"].as_str().unwrap().to_owned();
        next().await.is_signed_by(&[&third, &second]);
        // Nothing of them is stored in clear.
        let row = desk.db.read(async |conn| skranke::webhooks::store::secrets(conn, made["id"].as_str().unwrap().parse().unwrap()).await).await.unwrap();
        for secret in [&second, &third] {
            assert!(!format!("{row:?}").contains(&secret[6..]));
        }
    }

    /// What was sent, and whose instance was killed before it could say so, is sent again: by the same id.
    async fn what_was_not_recorded_is_sent_again(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let receiver = Receiver::open().await;
        let (path, _) = hook(desk, &admin, &receiver, json!({})).await;
        desk.ticket(&agent, json!({})).await;
        hand_out_all(desk).await;
        let (_goes, until) = watch::channel(false);
        receiver.will([Reaction::Hold(until)]);
        let arrives = async {
            while receiver.got().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        let killed = sender(desk);
        tokio::select! {
            ended = killed.send_all() => panic!("it has ended: {ended:?}"),
            () = arrives => {}
        }
        drop(killed);
        while !receiver.state.open.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let one = &deliveries(desk, &admin, &path).await[0];
        assert_eq!((&one["state"], &one["attempts"]), (&json!("pending"), &json!(0)));
        // Other instances leave it to the one that was killed for a minute. SQLite has no others.
        let other = sender(desk);
        if desk.db.engine() == "postgres" {
            desk.clock.pass_s(59);
            serve(desk, &other).await;
            assert_eq!(receiver.got().len(), 1);
            desk.clock.pass_s(1);
        }
        serve(desk, &other).await;
        let got = receiver.take();
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].id(), got[1].id());
        assert_eq!(states(desk, &admin, &path).await, [("delivered".to_owned(), 1)].into());
    }

    async fn four_are_sent_at_once_and_no_two_of_one_ticket(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({})).await;
        let mut tickets = Vec::new();
        for _ in 0..6 {
            tickets.push(desk.ticket(&agent, json!({})).await);
        }
        for nth in 0..5 {
            for ticket in &tickets {
                desk.patch_ticket(&agent, ticket, json!({ "subject": format!("Version {nth}") })).await;
            }
        }
        hand_out_all(desk).await;
        let (goes, until) = watch::channel(false);
        receiver.will((0..4).map(|_| Reaction::Hold(until.clone())));
        let opens = async {
            while receiver.got().len() < 4 {
                tokio::task::yield_now().await;
            }
            // Whoever would send a fifth one has the time to.
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            assert_eq!(receiver.got().len(), 4);
            goes.send(true).unwrap();
        };
        let (sent, ()) = tokio::join!(sender.send_all(), opens);
        sent.unwrap();
        let got = receiver.take();
        assert_eq!((got.len(), receiver.state.peak.load(Ordering::SeqCst)), (36, 4));
        for ticket in &tickets {
            let of: Vec<i64> = got.iter().filter(|one| one.body["data"]["ticket"]["id"] == ticket["id"]).map(Received::position).collect();
            assert!(of.len() == 6 && of.is_sorted(), "{of:?}");
        }
        assert_eq!(states(desk, &admin, &path).await, [("delivered".to_owned(), 36)].into());
    }

    async fn a_webhook_is_tried_out(desk) {
        let admin = desk.admin().await;
        let receiver = Receiver::open().await;
        let (path, made) = hook(desk, &admin, &receiver, json!({ "state": "paused" })).await;
        let try_out = || desk.post(&format!("{path}/test")).by(&admin).expect(200);
        let tried = try_out().await.body;
        assert_eq!((&tried["status"], &tried["error"]), (&json!(204), &Value::Null));
        assert!(tried["duration_ms"].is_i64() && tried.as_object().unwrap().len() == 3);
        let got = receiver.take().pop().unwrap();
        got.is_signed_by(&[made["secret"].as_str().unwrap()]);
        assert_eq!((got.kind(), &got.body["data"]["webhook"]), ("webhook.test", &json!({ "id": made["id"], "name": made["name"] })));
        receiver.will([Reaction::Answer(418, "x-secret: inside\r\n".to_owned())]);
        let tried = try_out().await;
        assert_eq!((&tried.body["status"], &tried.body["error"]), (&json!(418), &json!("status")));
        assert!(!tried.text().contains("inside"));
        assert!(deliveries(desk, &admin, &path).await.is_empty());
        // Only so many wait at once.
        let (goes, until) = watch::channel(false);
        receiver.always(Some(Reaction::Hold(until)));
        let waiting = (0..8).map(|_| try_out());
        let ninth = async {
            while receiver.got().len() < 9 {
                tokio::task::yield_now().await;
            }
            desk.post(&format!("{path}/test")).by(&admin).refused(429, "rate_limited").await;
            goes.send(true).unwrap();
        };
        let (all, ()) = tokio::join!(futures::future::join_all(waiting), ninth);
        assert!(all.iter().all(|tried| tried.body["status"] == 204));
    }

    async fn what_was_sent_is_sent_again_by_range(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let base = head(desk).await;
        let mut instants = Vec::new();
        let mut more = async || {
            desk.clock.pass_s(60);
            instants.push(desk.clock.now().to_string());
            desk.ticket(&agent, json!({})).await;
            desk.sequence().await;
        };
        for _ in 0..3 {
            more().await;
        }
        let (path, _) = hook(desk, &admin, &receiver, json!({ "types": ["ticket.created"] })).await;
        for _ in 0..3 {
            more().await;
        }
        serve(desk, &sender).await;
        let positions = |got: Vec<Received>| got.iter().map(Received::position).collect::<BTreeSet<_>>();
        assert_eq!(positions(receiver.take()), [4, 5, 6].map(|nth| base + nth).into());
        let replay = |body: Value| desk.post(&format!("{path}/replay")).by(&admin).json(&body);
        for (body, expected) in [
            (json!({ "from": base + 5, "only": "all" }), vec![5, 6]), (json!({ "from": base + 4, "to": base + 5, "only": "all" }), vec![4, 5]),
            (json!({ "from": instants[4], "only": "all" }), vec![5, 6]), (json!({ "from": instants[3], "to": instants[4], "only": "all" }), vec![4]),
            // What has happened before it was made.
            (json!({ "from": 1, "to": base + 2, "only": "all" }), vec![1, 2]), (json!({ "from": base + 7, "only": "all" }), vec![]), (json!({ "from": base + 5, "to": base + 4, "only": "all" }), vec![]),
            (json!({ "from": 1, "only": "dead" }), vec![]), (json!({ "from": 1, "to": null, "only": "all" }), vec![1, 2, 3, 4, 5, 6]),
        ] {
            assert_eq!(replay(body.clone()).expect(200).await.body, json!({ "queued": expected.len(), "next_from": null }), "{body}");
            serve(desk, &sender).await;
            assert_eq!(positions(receiver.take()), expected.into_iter().map(|nth| base + nth).collect(), "{body}");
        }
        // What waits anyway is left alone.
        replay(json!({ "from": 1, "only": "all" })).expect(200).await;
        assert_eq!(replay(json!({ "from": 1, "only": "all" })).expect(200).await.body["queued"], 0);
        for (body, place) in [(json!({}), "/from"), (json!({ "from": 0 }), "/from"), (json!({ "from": "yesterday" }), "/from"), (json!({ "from": 1.5 }), "/from"),
            (json!({ "from": 1, "to": [] }), "/to"), (json!({ "from": 1, "only": "some" }), "/only"), (json!({ "from": null }), "/from"), (json!({ "from": 1, "x": 1 }), "/x")] {
            assert_eq!(replay(body.clone()).refused(422, "validation_failed").await.pointers(), [place], "{body}");
        }
        let refused = desk.get(&format!("{path}/deliveries?state=lost")).by(&admin).refused(400, "invalid_query").await;
        assert_eq!(refused.pointers(), ["state"]);
        let page = read(desk, &admin, &format!("{path}/deliveries?limit=1")).await;
        let cursor = page["next_cursor"].as_str().unwrap();
        desk.get(&format!("{path}/deliveries?state=dead&cursor={cursor}")).by(&admin).refused(400, "invalid_cursor").await;
    }

    /// One call queues a bounded part, and says where to go on.
    async fn a_replay_goes_on_where_it_ended(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let receiver = Receiver::open().await;
        let (path, _) = hook(desk, &admin, &receiver, json!({ "state": "paused" })).await;
        let base = head(desk).await;
        desk.ticket(&agent, json!({})).await;
        desk.sequence().await;
        let (first, second, last) = (base + 1, base + 2, base + 2_500);
        let (series, id, random) = match desk.db.engine() {
            "sqlite" => (format!("WITH RECURSIVE n (n) AS (VALUES ({second}) UNION ALL SELECT n + 1 FROM n WHERE n < {last})"), "webhooks.id", "randomblob(16)"),
            _ => (format!("WITH n AS (SELECT generate_series({second}, {last}) AS n)"), "webhooks.id", "gen_random_uuid()"),
        };
        desk.store.run(&format!(
            "{series} INSERT INTO changes (position, event_id, at) SELECT n, (SELECT event_id FROM changes WHERE position = {first}), (SELECT at FROM changes WHERE position = {first}) FROM n; \
             UPDATE webhooks SET position = {last}; \
             {series} INSERT INTO webhook_deliveries (webhook_id, position, event_id, state, attempts, due_at, settled_at) \
             SELECT {id}, n, {random}, 'dead', 10, webhooks.created_at, webhooks.created_at FROM n, webhooks WHERE n <= {base} + 1500"
        )).await;
        let replay = |body: Value| desk.post(&format!("{path}/replay")).by(&admin).json(&body).expect(200);
        assert_eq!(replay(json!({ "from": first })).await.body, json!({ "queued": 1_000, "next_from": base + 1_002 }));
        assert_eq!(replay(json!({ "from": base + 1_002 })).await.body, json!({ "queued": 499, "next_from": null }));
        // Those of the first 1,500 wait.
        assert_eq!(replay(json!({ "from": first, "only": "all" })).await.body, json!({ "queued": 1, "next_from": base + 1_001 }));
        assert_eq!(replay(json!({ "from": base + 1_001, "only": "all" })).await.body, json!({ "queued": 500, "next_from": base + 2_001 }));
        assert_eq!(replay(json!({ "from": base + 2_001, "only": "all" })).await.body, json!({ "queued": 500, "next_from": null }));
        assert_eq!(desk.all(&admin, &format!("{path}/deliveries?state=pending&limit=200")).await.len(), 2_500);
    }

    async fn what_has_arrived_is_forgotten_after_a_while(desk) {
        const DAY_S: i64 = 86_400;
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let (path, _) = hook(desk, &admin, &receiver, json!({})).await;
        for _ in 0..3 {
            desk.ticket(&agent, json!({})).await;
        }
        serve(desk, &sender).await;
        desk.store.run("UPDATE webhook_deliveries SET state = 'dead' WHERE position = (SELECT min(position) FROM webhook_deliveries)").await;
        let forget = async |most: i64| forget_deliveries(&desk.db.patient(), desk.clock.now(), most).await.unwrap();
        desk.clock.pass_s(30 * DAY_S - 1);
        assert_eq!(forget(10).await, 0);
        desk.clock.pass_s(1);
        assert_eq!((forget(1).await, forget(1).await, forget(1).await), (1, 1, 0));
        desk.clock.pass_s(60 * DAY_S - 1);
        assert_eq!((forget(10).await, states(desk, &admin, &path).await.len()), (0, 1));
        desk.clock.pass_s(1);
        assert_eq!((forget(10).await, forget(10).await), (1, 0));
        // With a webhook its deliveries go, and then itself.
        desk.ticket(&agent, json!({})).await;
        desk.ticket(&agent, json!({})).await;
        hand_out_all(desk).await;
        desk.delete(&path).by(&admin).expect(204).await;
        sender.send_all().await.unwrap();
        assert_eq!(receiver.take().len(), 3, "what was not sent is not sent any more");
        let mut pieces = 0;
        while forget(1).await > 0 {
            pieces += 1;
        }
        assert_eq!(pieces, 3);
        desk.store.run(match desk.db.engine() {
            "sqlite" => "CREATE TABLE none_left (n INTEGER CHECK (n = 0)); INSERT INTO none_left SELECT count(*) FROM webhooks",
            _ => "DO $$ BEGIN IF EXISTS (SELECT 1 FROM webhooks) THEN RAISE EXCEPTION 'one is left'; END IF; END $$",
        }).await;
    }

    /// What the jobs and the numbers ask of deliveries does not grow with those that there were.
    async fn deliveries_are_found_by_index(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let receiver = Receiver::open().await;
        hook(desk, &admin, &receiver, json!({})).await;
        receiver.will([status(500)]);
        desk.ticket(&agent, json!({})).await;
        desk.ticket(&agent, json!({})).await;
        desk.sequence().await;
        let (db, heard) = desk.listened_db();
        let (url, of_numbers) = desk.listened();
        while hand_out(&db.patient(), &desk.ids).await.unwrap() {}
        let me: Holder = desk.ids.id(desk.clock.now());
        let sender = Sender::new(db.patient(), desk.ids.clone(), courier(true), desk.settings.state.sealer.clone(), me);
        sender.send_all().await.unwrap();
        forget_deliveries(&db.patient(), desk.clock.now(), 10).await.unwrap();
        desk.ask_at(&url, reqwest::Method::GET, "/metrics").by(&admin).expect(200).await;
        let mut explainer = Explainer::open(desk).await;
        let all: BTreeSet<String> = heard.lock().unwrap().iter().chain(of_numbers.lock().unwrap().iter())
            .filter_map(|statement| statement.split(" -- binds: ").next().map(str::to_owned))
            // Of webhooks there are few: each is looked at whether it has something to do.
            .filter(|sql| sql.starts_with("SELECT") && sql.contains("webhook_deliveries") && !sql.contains("EXISTS"))
            .collect();
        assert!(all.len() >= 4, "{all:#?}");
        for sql in all {
            explainer.reads_by_index(&sql).await;
        }
    }

    async fn numbers_tell_how_webhooks_are(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (receiver, sender) = (Receiver::open().await, sender(desk));
        let number = async |name: &str| -> f64 {
            let text = desk.get("/metrics").by(&agent).expect(200).await.text();
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).parse().unwrap()
        };
        for (family, state) in [("webhooks", "active"), ("webhooks", "paused"), ("webhooks", "disabled"), ("webhook_deliveries", "pending"), ("webhook_deliveries", "dead")] {
            assert_eq!(number(&format!("skranke_{family}{{state=\"{state}\"}}")).await, 0.0);
        }
        hook(desk, &admin, &receiver, json!({ "name": "pager" })).await;
        let lag = async || number("skranke_webhook_lag_seconds").await;
        assert_eq!(lag().await, 0.0);
        desk.ticket(&agent, json!({})).await;
        desk.sequence().await;
        desk.clock.pass_s(7);
        assert_eq!(lag().await, 7.0, "not handed out");
        receiver.will([status(500)]);
        serve(desk, &sender).await;
        desk.clock.pass_s(3);
        assert_eq!(lag().await, 10.0, "not taken");
        assert_eq!(number("skranke_webhook_deliveries{state=\"pending\"}").await, 1.0);
        serve(desk, &sender).await;
        desk.clock.pass_s(60);
        serve(desk, &sender).await;
        assert_eq!(lag().await, 0.0);
        desk.store.run("UPDATE webhook_deliveries SET state = 'dead'; UPDATE webhooks SET state = 'disabled', disabled_reason = 'gone'").await;
        assert_eq!(number("skranke_webhook_deliveries{state=\"dead\"}").await, 1.0);
        assert_eq!(number("skranke_webhooks{state=\"disabled\"}").await, 1.0);
    }
}

/// Instances share the work: each webhook is one's at a time, and nothing is told twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_instances_share_the_work() {
    let desk = Desk::open(Engine::Postgres).await;
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    let (one, two) = (sender(&desk), sender(&desk));
    let mut receivers = Vec::new();
    for _ in 0..6 {
        let receiver = Receiver::open().await;
        hook(&desk, &admin, &receiver, json!({})).await;
        receivers.push(receiver);
    }
    let base = head(&desk).await;
    for _ in 0..30 {
        desk.ticket(&agent, json!({})).await;
    }
    desk.sequence().await;
    let work = async |sender: &Sender| {
        let mut count = 0;
        loop {
            let more = hand_out(&desk.db.patient(), &desk.ids).await.unwrap();
            let taken = sender.take_work().await.unwrap();
            let is_done = receivers.iter().all(|receiver| receiver.got().len() == 30);
            if taken.is_empty() && !more && is_done {
                return count;
            }
            // One at a time, so that there is something for the other.
            if let Some(busy) = taken.into_iter().next() {
                sender.send_for(busy).await.unwrap();
                count += 1;
            }
        }
    };
    let (first, second) = tokio::join!(work(&one), work(&two));
    assert!(first >= 1 && second >= 1, "{first} and {second}");
    for receiver in &receivers {
        let got = receiver.take();
        assert_eq!(got.len(), 30);
        assert_eq!(got.iter().map(Received::position).collect::<BTreeSet<_>>(), (base + 1..=base + 30).collect());
        assert!(receiver.state.peak.load(Ordering::SeqCst) <= 4);
    }
    desk.close().await;
}

/// A process that is told to end while a receiver still thinks about a message waits for the answer, and another one
/// does not send it again.
async fn what_is_on_its_way_is_recorded_before_the_process_ends(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true").with("SKRANKE_EGRESS_ALLOW", "127.0.0.0/8");
    let server = place.start().await;
    let (admin, receiver) = (place.person("admin").await, Receiver::open().await);
    let (answers, hold) = watch::channel(false);
    receiver.will([Reaction::Hold(hold)]);
    let body = json!({ "name": "slow", "url": receiver.url, "types": ["ticket.created"] });
    let hook = server.post("/v1/webhooks").by(&admin).json(&body).expect(201).await;
    server.open(&admin).await;
    until("the message", async || (!receiver.got().is_empty()).then_some(())).await;
    server.process.terminate();
    until("the server to listen no more", async || {
        tokio::net::TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.is_err().then_some(())
    })
    .await;
    answers.send(true).unwrap();
    assert_eq!(server.process.end().await.code, Some(0));

    let server = place.start().await;
    server.open(&admin).await;
    until("the next message", async || (receiver.got().len() > 1).then_some(())).await;
    let ids: BTreeSet<String> = receiver.got().iter().map(|message| message.id().to_owned()).collect();
    assert_eq!((ids.len(), receiver.got().len()), (2, 2));
    let path = format!("{}/deliveries", hook.header("location").unwrap());
    let states = until("both to be recorded", async || {
        let page = server.get(&path).by(&admin).expect(200).await.body;
        let states: Vec<_> = page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["state"].clone(), one["attempts"].clone()))
            .collect();
        states.iter().all(|(state, _)| state == "delivered").then_some(states)
    })
    .await;
    assert_eq!(states, [(json!("delivered"), json!(1)), (json!("delivered"), json!(1))]);
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_recorded_on_sqlite() {
    what_is_on_its_way_is_recorded_before_the_process_ends(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_on_its_way_is_recorded_on_postgres() {
    what_is_on_its_way_is_recorded_before_the_process_ends(Engine::Postgres).await;
}
