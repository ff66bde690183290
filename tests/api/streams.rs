//! Streams: the feed as it grows, as server-sent events.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Ask, Caller, Chance, Desk, Engine, Store, seed};

/// One event as a browser would dispatch it.
#[derive(Debug, Clone, PartialEq)]
struct Event {
    kind: String,
    data: Value,
    id: String,
}

/// A stream that is read.
struct Reader {
    response: reqwest::Response,
    text: String,
    last_id: String,
    beats: usize,
}

impl Reader {
    async fn open(ask: Ask) -> Self {
        let response = ask.header("accept", "text/event-stream").0.send().await.unwrap();
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("content-encoding", "identity"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        Self { response, text: String::new(), last_id: String::new(), beats: 0 }
    }

    /// The next event; nothing when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                let (mut kind, mut data) = (String::new(), None);
                for line in block.lines().filter(|line| !line.is_empty()) {
                    match line.split_once(": ").expect("a field or a comment") {
                        ("id", id) => self.last_id = id.to_owned(),
                        ("event", name) => name.clone_into(&mut kind),
                        ("data", json) => data = Some(serde_json::from_str(json).unwrap()),
                        ("retry", ms) => assert_eq!(ms, "2000"),
                        ("", "keep") => self.beats += 1,
                        other => panic!("{other:?}"),
                    }
                }
                // A block without data is no event.
                let Some(data) = data else { continue };
                return Some(Event { kind, data, id: self.last_id.clone() });
            }
            let piece = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await;
            match piece.expect("a stream speaks or ends") {
                Ok(Some(piece)) => self.text.push_str(std::str::from_utf8(&piece).unwrap()),
                Ok(None) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// The next events, so many.
    async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("another event"));
        }
        events
    }

    /// Reads until there was another heartbeat, with no event before it.
    async fn beat(&mut self) {
        let before = self.beats;
        while self.beats == before {
            let piece = tokio::time::timeout(Duration::from_secs(30), self.response.chunk()).await.unwrap();
            self.text.push_str(std::str::from_utf8(&piece.unwrap().expect("it goes on")).unwrap());
            while let Some(end) = self.text.find("\n\n") {
                let block: String = self.text.drain(..end + 2).collect();
                assert!(!block.contains("data:"), "{block}");
                for line in block.lines() {
                    if let Some(id) = line.strip_prefix("id: ") {
                        id.clone_into(&mut self.last_id);
                    }
                    self.beats += usize::from(line == ": keep");
                }
            }
        }
    }
}

fn stream(desk: &Desk, who: &Caller, query: &str) -> Ask {
    desk.get(&format!("/v1/changes/stream?{query}")).by(who)
}

/// What the feed says of all that there is.
async fn feed(desk: &Desk, who: &Caller, query: &str) -> Vec<Value> {
    let page = desk.get(&format!("/v1/changes?limit=1000&from=start&{query}")).by(who).expect(200).await.body;
    page["items"].as_array().unwrap().clone()
}

on_both! {
    async fn what_happens_is_told_at_once_and_only_to_those_who_may_see_it(desk) {
    let (agent, ada, bob) = (desk.agent().await, desk.requester().await, desk.requester().await);
    let narrow = desk.account("tickets:read").await;
    let ticket = desk.ticket(&ada, json!({ "subject": "Mine" })).await;
    let number = ticket["number"].to_string();
    desk.sequence().await;

    let mut all = Reader::open(stream(desk, &agent, "")).await;
    let mut hers = Reader::open(stream(desk, &ada, "from=now")).await;
    let mut of_ticket = Reader::open(desk.get(&format!("/v1/tickets/{number}/stream")).by(&ada)).await;
    let mut by_type = Reader::open(stream(desk, &agent, "types=comment.added&include=ticket")).await;
    let mut without_comments = Reader::open(stream(desk, &narrow, &format!("ticket_id={number}"))).await;
    let team = desk.admin().await;
    let team = desk.post("/v1/teams").by(&team).json(&json!({ "name": "Printers" })).expect(201).await.body;
    let team = team["id"].as_str().unwrap().to_owned();
    let mut of_team = Reader::open(stream(desk, &agent, &format!("team_id={team}"))).await;

    let say = |who: &Caller, visibility: &str| {
        let body = json!({ "visibility": visibility, "body": "It is the fuser." });
        desk.post(&format!("/v1/tickets/{number}/comments")).by(who).json(&body).expect(201)
    };
    say(&agent, "internal").await;
    desk.ticket(&bob, json!({ "subject": "Bob's" })).await;
    desk.patch_ticket(&agent, &ticket, json!({ "team_id": team })).await;
    say(&agent, "public").await;
    desk.sequence().await;

    let kinds = |events: &[Event]| events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>();
    let told = all.take(6).await;
    let expected =
        ["user.created", "comment.added", "ticket.created", "ticket.updated", "comment.added", "ticket.updated"];
    assert_eq!(kinds(&told), expected);
    // Each is what the feed tells, in the order of the log without a gap.
    let of_feed = feed(desk, &agent, "").await;
    let data: Vec<Value> = told.iter().map(|event| event.data.clone()).collect();
    assert_eq!(data, of_feed[of_feed.len() - data.len()..]);
    let hers_told = hers.take(3).await;
    assert_eq!(kinds(&hers_told), ["ticket.updated", "comment.added", "ticket.updated"]);
    assert!(hers_told.iter().all(|event| event.data["position"].is_null()));
    assert_eq!(kinds(&of_ticket.take(3).await), kinds(&hers_told));
    assert_eq!(kinds(&without_comments.take(2).await), ["ticket.updated", "ticket.updated"]);
    // What was told before it came to the team is told again to nobody.
    assert!(kinds(&of_team.take(3).await).contains(&"ticket.updated".to_owned()));
    for event in by_type.take(2).await {
        assert_eq!(event.kind, "comment.added");
        assert_eq!(event.data["snapshot"]["id"], ticket["id"]);
    }
    // An id is a cursor of the feed, and of a stream.
    let behind_first = &told[0].id;
    let page = desk.get(&format!("/v1/changes?cursor={behind_first}")).by(&agent).expect(200).await.body;
    assert_eq!(page["items"].as_array().unwrap()[..], data[1..]);
    let mut again = Reader::open(stream(desk, &agent, &format!("cursor={behind_first}"))).await;
    assert_eq!(again.take(5).await.into_iter().map(|event| event.data).collect::<Vec<_>>(), data[1..]);
    // The header, which a browser sends of itself, goes before what the address says.
    let last = &told[4].id;
    let ask = stream(desk, &agent, &format!("cursor={behind_first}")).header("last-event-id", last);
    assert_eq!(Reader::open(ask).await.take(1).await[0].data, data[5]);
    }
}

on_both! {
    async fn whoever_is_cut_off_again_and_again_misses_nothing(desk) {
    let (agent, reader) = (desk.agent().await, desk.admin().await);
    let (seed, done) = (seed(), AtomicBool::new(false));
    let write = async {
        let mut chance = Chance(seed);
        for nth in 0..60 {
            let path = format!("/v1/tickets/{}", nth / 3 + 1);
            match chance.below(4) {
                0 if nth > 3 => {
                    let body = json!({ "visibility": "internal", "body": "Note." });
                    desk.post(&format!("{path}/comments")).by(&agent).json(&body).send().await;
                }
                1 if nth > 3 => {
                    // Refused after something was read.
                    let body = json!({ "assignee_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab" });
                    desk.patch("/v1/tickets/1").by(&agent).json(&body).expect(422).await;
                }
                _ => drop(desk.ticket(&agent, json!({ "subject": format!("Number {nth}") })).await),
            }
            desk.sequence().await;
        }
        done.store(true, Ordering::SeqCst);
    };
    let read = async {
        let (mut told, mut last) = (Vec::new(), None::<String>);
        let mut chance = Chance(seed + 1);
        // Until all is there: what is behind the end is asked of the feed.
        loop {
            let ended = done.load(Ordering::SeqCst);
            let ask = stream(desk, &reader, "from=start");
            let ask = match &last {
                Some(id) => ask.header("last-event-id", id),
                None => ask,
            };
            if ended {
                let query = last.as_ref().map_or("from=start".to_owned(), |id| format!("cursor={id}"));
                let rest = desk.get(&format!("/v1/changes?limit=1000&{query}")).by(&reader).expect(200).await.body;
                let rest = rest["items"].as_array().unwrap().len();
                let mut stream = Reader::open(ask).await;
                told.extend(stream.take(rest).await.into_iter().map(|event| event.data));
                return told;
            }
            let mut stream = Reader::open(ask).await;
            for _ in 0..=chance.below(4) {
                tokio::select! {
                    event = stream.next() => {
                        let event = event.expect("it goes on");
                        last = Some(event.id);
                        told.push(event.data);
                    }
                    () = async { while !done.load(Ordering::SeqCst) { tokio::task::yield_now().await } } => break,
                }
            }
        }
    };
    let ((), told) = tokio::join!(write, read);
    assert_eq!(told, feed(desk, &reader, "").await, "seed {seed}");
    let positions: Vec<i64> = told.iter().map(|item| item["position"].as_i64().unwrap()).collect();
    assert_eq!(positions, (1..=i64::try_from(told.len()).unwrap()).collect::<Vec<_>>(), "seed {seed}");
    }
}

on_both! {
    async fn a_stream_ends_when_its_reader_may_not_read_any_more(desk) {
    let quick = desk.instance_with(|mut settings| {
        settings.limits.heartbeat = Duration::from_millis(50);
        settings
    });
    let admin = desk.admin().await;
    let open = async |who: &Caller| Reader::open(desk.ask_at(&quick, Method::GET, "/v1/changes/stream").by(who)).await;
    let ended = async |mut reader: Reader| {
        let mut event = reader.next().await.expect("it says why");
        while event.kind == "user.updated" {
            event = reader.next().await.expect("it says why");
        }
        assert_eq!((event.kind.as_str(), reader.next().await), ("end", None));
        event.data["code"].as_str().unwrap().to_owned()
    };
    // Heartbeats go on, each with another id of the same length.
    let mut idle = open(&admin).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        idle.beat().await;
        ids.push(idle.last_id.clone());
    }
    assert_eq!(ids.iter().map(String::len).collect::<BTreeSet<_>>().len(), 1);
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3);

    let bob = desk.agent().await;
    let his = open(&bob).await;
    desk.patch(&format!("/v1/users/{}", bob.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
    assert_eq!(ended(his).await, "unauthenticated");

    let account = desk.account("tickets:read").await;
    let its = open(&account).await;
    let path = format!("/v1/service-accounts/{}", account.id);
    desk.patch(&path).by(&admin).json(&json!({ "scopes": ["metrics:read"] })).expect(200).await;
    assert_eq!(ended(its).await, "insufficient_scope");

    // An agent who becomes a requester is told of their own tickets alone.
    let eve = desk.agent().await;
    let mut hers = open(&eve).await;
    desk.sequence().await;
    desk.patch(&format!("/v1/users/{}", eve.id)).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
    desk.sequence().await;
    while hers.next().await.unwrap().data["changes"][0]["after"] != "requester" {}
    hers.beat().await;
    hers.beat().await;
    desk.ticket(&admin, json!({ "subject": "Not hers" })).await;
    desk.ticket(&admin, json!({ "subject": "Hers", "requester_id": eve.id })).await;
    desk.sequence().await;
    let event = hers.next().await.unwrap();
    assert_eq!((&event.data["position"], &event.data["ticket"]["number"]), (&Value::Null, &json!(2)));

    let short = desk.post("/v1/service-accounts").by(&admin).json(&json!({ "name": "short", "scopes": ["tickets:read"] }));
    let short = short.expect(201).await.body;
    let form = format!(
        "grant_type=client_credentials&client_id={}&client_secret={}",
        short["id"].as_str().unwrap(),
        short["secret"].as_str().unwrap()
    );
    let token = desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form).expect(200).await.body;
    let lasts_s = token["expires_in"].as_i64().unwrap();
    let token = token["access_token"].as_str().unwrap();
    let its = Reader::open(desk.ask_at(&quick, Method::GET, "/v1/changes/stream").token(token)).await;
    desk.clock.pass_s(lasts_s);
    assert_eq!(ended(its).await, "token_expired");

    let last = open(&admin).await;
    desk.settings.state.ending.give();
    assert_eq!(ended(last).await, "unavailable");
    }
}

on_both! {
    async fn what_is_told_to_all_is_not_kept_from_what_happens_next(desk) {
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    let (ada, bob) = (desk.requester().await, desk.requester().await);
    desk.sequence().await;
    // Somebody follows all the time, so that the end of the log is at hand for those who come again.
    let mut always = Reader::open(stream(desk, &admin, "")).await;
    let mut hers = Reader::open(stream(desk, &ada, "")).await;
    let mut his = Reader::open(stream(desk, &agent, "")).await;
    for reader in [&mut always, &mut hers, &mut his] {
        reader.beat().await;
    }
    let (from, from_hers) = (his.last_id.clone(), hers.last_id.clone());

    let secret = json!({ "subject": "My password is swordfish", "description": "swordfish" });
    let redacted = desk.ticket(&ada, secret.clone()).await;
    let moved = desk.ticket(&ada, json!({ "subject": "Whose is it?" })).await;
    desk.sequence().await;
    assert!(his.take(2).await[0].data.to_string().contains("swordfish"));
    hers.take(2).await;
    // Whoever comes again is told of what was redacted, and of what is somebody else's, as anybody who reads it now.
    desk.delete(&format!("/v1/tickets/{}", redacted["number"])).by(&admin).expect(204).await;
    desk.patch_ticket(&agent, &moved, json!({ "requester_id": bob.id })).await;
    desk.sequence().await;
    let again = |who: &Caller, id: &str| Reader::open(stream(desk, who, "").header("last-event-id", id));
    let events = again(&agent, &from).await.take(4).await;
    assert!(events.iter().all(|event| !event.data.to_string().contains("swordfish")), "{events:?}");
    let kinds = |events: &[Event]| events.iter().map(|event| event.kind.clone()).collect::<Vec<_>>();
    assert_eq!(kinds(&events), ["ticket.created", "ticket.created", "ticket.redacted", "ticket.updated"]);
    let events = again(&ada, &from_hers).await.take(2).await;
    assert_eq!(kinds(&events), ["ticket.created", "ticket.redacted"]);

    // An agent who becomes a requester is told nothing internal from that moment on, though no heartbeat was due.
    let ticket = desk.ticket(&bob, json!({ "subject": "Mine" })).await;
    let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
    let own = desk.ticket(&admin, json!({ "subject": "His", "requester_id": agent.id })).await;
    desk.sequence().await;
    his.take(4).await;
    desk.patch(&format!("/v1/users/{}", agent.id)).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
    let say = json!({ "visibility": "internal", "body": "Not for him." });
    desk.post(&comments).by(&admin).json(&say).expect(201).await;
    desk.post(&format!("/v1/tickets/{}/comments", own["number"])).by(&admin).json(&json!({ "body": "Yours", "visibility": "public" })).expect(201).await;
    desk.sequence().await;
    let told = his.take(2).await;
    assert_eq!(kinds(&told), ["user.updated", "comment.added"]);
    assert_eq!((&told[1].data["visibility"], &told[1].data["position"]), (&json!("public"), &Value::Null));
    }
}

on_both! {
    async fn a_history_that_was_set_back_is_told(desk) {
    let quick = desk.instance_with(|mut settings| {
        settings.limits.heartbeat = Duration::from_millis(50);
        settings
    });
    let agent = desk.agent().await;
    for _ in 0..3 {
        desk.ticket(&agent, json!({ "subject": "One of three" })).await;
        desk.sequence().await;
    }
    let ask = || desk.ask_at(&quick, Method::GET, "/v1/changes/stream?from=start").by(&agent);
    let mut running = Reader::open(ask()).await;
    let last = running.take(4).await[3].id.clone();
    desk.store.run("DELETE FROM changes WHERE position > 3").await;
    for reader in [running, Reader::open(ask().header("last-event-id", &last)).await].iter_mut() {
        let event = reader.next().await.unwrap();
        assert_eq!((event.kind.as_str(), &event.data["code"]), ("reset", &json!("cursor_diverged")));
        desk.ticket(&agent, json!({ "subject": "After it" })).await;
        desk.sequence().await;
        // It goes on with what happens now, from an id that is good.
        let event = reader.next().await.unwrap();
        assert_eq!(event.kind, "ticket.created");
        desk.get(&format!("/v1/changes?cursor={}", event.id)).by(&agent).expect(200).await;
    }
    }
}

on_both! {
    async fn bad_streams_are_refused(desk) {
    let (agent, other, ada) = (desk.agent().await, desk.agent().await, desk.requester().await);
    let ticket = desk.ticket(&agent, json!({ "subject": "His" })).await;
    desk.sequence().await;
    let cursor = desk.get("/v1/changes?from=start&limit=1").by(&agent).expect(200).await.body["next_cursor"].clone();
    let cursor = cursor.as_str().unwrap();
    for (who, query) in [(&agent, "types=ticket.created&"), (&other, ""), (&agent, "ticket_id=1&")] {
        stream(desk, who, &format!("{query}cursor={cursor}")).refused(400, "invalid_cursor").await;
        stream(desk, who, query).header("last-event-id", cursor).refused(400, "invalid_cursor").await;
    }
    stream(desk, &agent, "").header("last-event-id", &cursor[1..]).refused(400, "invalid_cursor").await;
    for (query, place) in [
        (format!("cursor={cursor}&from=now"), "from"),
        ("types=ticket.creatd".to_owned(), "types"),
        ("limit=5".to_owned(), "limit"),
        ("wait_s=5".to_owned(), "wait_s"),
        ("include=comments".to_owned(), "include"),
    ] {
        let refused = stream(desk, &agent, &query).refused(400, "invalid_query").await;
        assert_eq!(refused.pointers(), [place], "{query}");
    }
    let of_ticket = |id: &str| desk.get(&format!("/v1/tickets/{id}/stream"));
    let id = ticket["id"].as_str().unwrap();
    of_ticket(id).by(&ada).refused(404, "not_found").await;
    of_ticket("4711").by(&agent).refused(404, "not_found").await;
    of_ticket("abc").by(&agent).refused(404, "not_found").await;
    desk.get(&format!("/v1/tickets/{id}/stream?team_id=none")).by(&agent).refused(400, "invalid_query").await;
    desk.get("/v1/changes/stream").refused(401, "unauthenticated").await;
    let metrics = desk.account("metrics:read").await;
    stream(desk, &metrics, "").refused(403, "insufficient_scope").await;
    stream(desk, &agent, "").header("accept", "text/html").refused(406, "not_acceptable").await;

    // A HEAD ends, and the connection takes the next request.
    for _ in 0..20 {
        let head = desk.ask(Method::HEAD, "/v1/changes/stream").by(&other).expect(200).await;
        assert_eq!((head.header("content-type"), head.bytes.len()), (Some("text/event-stream"), 0));
    }
    // Eight at once, whatever they follow; a ninth is free again when one goes.
    let mut eight = Vec::new();
    for nth in 0..8 {
        let ask = if nth % 2 == 0 { stream(desk, &agent, "") } else { of_ticket(id).by(&agent) };
        eight.push(Reader::open(ask).await);
    }
    for ninth in [stream(desk, &agent, ""), desk.get("/v1/changes?wait_s=1").by(&agent)] {
        assert_eq!(ninth.refused(429, "rate_limited").await.header("retry-after"), Some("1"));
    }
    Reader::open(stream(desk, &other, "")).await;
    eight.pop();
    crate::start::until("a seat to be free again", async || {
        let answer = desk.get("/v1/changes?wait_s=1").by(&agent).send().await;
        (answer.status == 200).then_some(())
    })
    .await;
    }
}

#[tokio::test]
async fn there_are_no_more_streams_than_allowed() {
    let store = Store::make(Engine::Sqlite).await;
    let desk = Desk::open_on(store, vec![], |mut settings| {
        settings.limits.seats = 1;
        settings
    })
    .await;
    let (one, other) = (desk.agent().await, desk.agent().await);
    let first = Reader::open(stream(&desk, &one, "")).await;
    stream(&desk, &other, "").refused(503, "unavailable").await;
    drop(first);
    desk.close().await;
}
