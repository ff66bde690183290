//! The feed: all that happens, in one order without a gap, as far as whoever reads may see it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;
use crate::support::{Answer, Caller, Chance, Desk, Engine, Store, seed, unnamed};

/// What is there behind `cursor`, to the end, in answers of at most `limit`; and the cursor behind it.
async fn follow(desk: &Desk, who: &Caller, query: &str, limit: usize) -> (Vec<Value>, String) {
    let mut items = Vec::new();
    let mut path = format!("/v1/changes?limit={limit}&{query}");
    loop {
        let page = desk.get(&path).by(who).expect(200).await.body;
        let some = page["items"].as_array().unwrap();
        assert!(some.len() <= limit);
        let cursor = page["next_cursor"].as_str().unwrap().to_owned();
        items.extend(some.iter().cloned());
        if some.is_empty() {
            return (items, cursor);
        }
        let filter = query.split('&').filter(|part| !part.starts_with("from=") && !part.starts_with("cursor="));
        let filter = filter.map(|part| format!("&{part}")).collect::<String>();
        path = format!("/v1/changes?limit={limit}&cursor={cursor}{filter}");
    }
}

fn positions(items: &[Value]) -> Vec<i64> {
    items.iter().map(|item| item["position"].as_i64().unwrap()).collect()
}

fn kinds(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["type"].as_str().unwrap()).collect()
}

on_both! {
    async fn all_that_happens_has_a_place(desk) {
    let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
    desk.sequence().await;
    let (people, start) = follow(desk, &admin, "from=start", 10).await;
    assert_eq!(kinds(&people), ["user.created"; 3]);
    assert_eq!(people[2]["subject"], json!({ "kind": "user", "id": ada.id }));

    let ticket = desk.ticket(&ada, json!({ "subject": "The printer smokes" })).await;
    let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
    let comment = |who: &Caller, visibility: &str| {
        let body = json!({ "visibility": visibility, "body": "Look at the fuser." });
        desk.post(&format!("{path}/comments")).by(who).json(&body).expect(201)
    };
    let internal = comment(&agent, "internal").await.body;
    let public = comment(&agent, "public").await.body;
    let of = |comment: &Value| format!("{path}/comments/{}", comment["id"].as_str().unwrap());
    desk.patch(&of(&public)).by(&agent).json(&json!({ "body": "The fuser is hot." })).expect(200).await;
    desk.delete(&of(&internal)).by(&admin).expect(204).await;
    desk.post(&format!("{path}/time-entries")).by(&agent).json(&json!({ "work_s": 600 })).expect(201).await;
    desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved", "tags": ["fuser"] })).await;
    desk.delete(&path).by(&admin).expect(204).await;
    // What is refused, or changes nothing, has no place.
    desk.patch(&path).by(&ada).json(&json!({ "assignee_id": null })).refused(403, "forbidden").await;
    desk.patch_ticket(&agent, &ticket, json!({ "tags": ["fuser"] })).await;
    desk.sequence().await;

    let (all, end) = follow(desk, &admin, &format!("cursor={start}"), 4).await;
    let expected = [
        "ticket.created",
        "comment.added",
        "comment.added",
        "ticket.updated",
        "comment.edited",
        "comment.redacted",
        "time_entry.added",
        "ticket.updated",
        "ticket.redacted",
    ];
    assert_eq!(kinds(&all), expected);
    assert_eq!(positions(&all), (4..=12).collect::<Vec<_>>());
    assert_eq!(follow(desk, &admin, "from=start", 100).await.0[3..], all, "from the start");
    assert_eq!(follow(desk, &admin, &format!("cursor={end}"), 100).await.0, [] as [Value; 0]);

    // What is said of it is what the trail says, and which version came of it.
    // The trail has names, the log ids.
    let trail = unnamed(desk.all(&admin, &format!("{path}/events")).await);
    let versions = [1, 1, 2, 2, 3, 3, 3, 4, 5];
    for ((item, event), version) in all.iter().zip(&trail).zip(versions) {
        for field in ["id", "type", "at", "visibility", "actor", "comment_id"] {
            assert_eq!(item[field], event[field], "{field}");
        }
        assert_eq!(item["changes"], event["changes"]);
        assert_eq!(item["ticket"], json!({ "id": ticket["id"], "number": ticket["number"], "version": version }));
        assert_eq!((&item["snapshot"], &item["subject"], &item["origin"]), (&Value::Null, &Value::Null, &json!("live")));
    }
    assert!(!format!("{all:?}").contains("fuser is hot"), "what is redacted is gone from here, too");

    // With each its ticket as it is now.
    let now = desk.read_ticket(&admin, &ticket).await;
    for item in follow(desk, &admin, &format!("cursor={start}&include=ticket"), 100).await.0 {
        assert_eq!(item["snapshot"], now);
    }
    // The same, line by line.
    let lines =
        desk.get(&format!("/v1/changes?cursor={start}")).by(&admin).header("accept", "application/x-ndjson").expect(200).await;
    assert_eq!(lines.header("content-type"), Some("application/x-ndjson"));
    let text = lines.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[..9], all);
    assert!(lines[9]["next_cursor"].is_string() && lines.len() == 10 && text.ends_with("}\n"));

    // By what kind, by whose ticket.
    let other = desk.ticket(&agent, json!({ "subject": "Another one" })).await;
    desk.sequence().await;
    let of_kinds = follow(desk, &admin, "from=start&types=ticket.redacted,comment.added", 100).await.0;
    assert_eq!(positions(&of_kinds), [5, 6, 12]);
    for id in [ticket["id"].as_str().unwrap(), &ticket["number"].to_string()] {
        assert_eq!(follow(desk, &admin, &format!("from=start&ticket_id={id}"), 100).await.0, all);
    }
    let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Printers" })).expect(201).await.body;
    let team = team["id"].as_str().unwrap();
    desk.patch_ticket(&agent, &other, json!({ "team_id": team })).await;
    desk.sequence().await;
    assert_eq!(positions(&follow(desk, &admin, &format!("from=start&team_id={team}"), 100).await.0), [13, 14]);
    assert_eq!(follow(desk, &admin, "from=start&team_id=none", 100).await.0, all);
    assert_eq!(follow(desk, &admin, &format!("from=start&team_id=none,{team}"), 100).await.0.len(), 11);
    assert!(follow(desk, &admin, "from=start&ticket_id=4711", 100).await.0.is_empty());
    }
}

on_both! {
    async fn nobody_learns_of_what_they_may_not_see(desk) {
    let (agent, ada, bob) = (desk.agent().await, desk.requester().await, desk.requester().await);
    let narrow = desk.account("tickets:read").await;
    let ticket = desk.ticket(&ada, json!({ "subject": "Mine" })).await;
    let number = ticket["number"].to_string();
    desk.ticket(&bob, json!({ "subject": "Bob's" })).await;
    let say = |visibility: &str| {
        let body = json!({ "visibility": visibility, "body": "It is the fuser." });
        desk.post(&format!("/v1/tickets/{number}/comments")).by(&agent).json(&body).expect(201)
    };
    say("internal").await;
    let work = desk.post(&format!("/v1/tickets/{number}/time-entries")).by(&agent);
    work.json(&json!({ "work_s": 60 })).expect(201).await;
    say("public").await;
    desk.sequence().await;

    let (hers, cursor) = follow(desk, &ada, "from=start", 100).await;
    assert_eq!(kinds(&hers), ["ticket.created", "comment.added", "ticket.updated"]);
    assert!(hers.iter().all(|item| item["position"].is_null()));
    assert_eq!(follow(desk, &bob, "from=start", 100).await.0.len(), 1);
    assert!(follow(desk, &bob, &format!("from=start&ticket_id={number}"), 100).await.0.is_empty());
    assert!(follow(desk, &bob, &format!("from=start&include=ticket&ticket_id={number}"), 100).await.0.is_empty());
    // Without the right to read comments nothing is told of them.
    assert_eq!(
        kinds(&follow(desk, &narrow, "from=start", 100).await.0),
        ["ticket.created", "ticket.created", "ticket.updated"]
    );
    assert_eq!(positions(&follow(desk, &narrow, "from=start", 100).await.0), [4, 5, 9]);

    // Whether something hidden happens or not, she is told the same: a thousand answers that differ in nothing but a
    // cursor of the same length, which is another each time.
    let mut cursors = BTreeSet::from([cursor.clone()]);
    let mut looks = [BTreeSet::new(), BTreeSet::new()];
    let mut place = cursor;
    for nth in 0..1_000 {
        let is_busy = nth >= 500;
        if is_busy && nth % 10 == 0 {
            say("internal").await;
            desk.sequence().await;
        }
        let answer = desk.get(&format!("/v1/changes?cursor={place}")).by(&ada).expect(200).await;
        place = answer.body["next_cursor"].as_str().unwrap().to_owned();
        let headers = answer.headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
        let headers: BTreeSet<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        looks[usize::from(is_busy)].insert((headers, answer.text().replace(&place, &"x".repeat(place.len()))));
        assert!(cursors.insert(place.clone()));
    }
    assert_eq!(looks[0], looks[1]);
    assert_eq!(looks[0].len(), 1);

    // What she may see is judged when she reads: the ticket is somebody else's now.
    desk.patch_ticket(&agent, &ticket, json!({ "requester_id": bob.id })).await;
    desk.sequence().await;
    assert!(follow(desk, &ada, "from=start", 100).await.0.is_empty());
    assert!(follow(desk, &bob, "from=start", 100).await.0.len() > 3);
    }
}

on_both! {
    async fn what_happens_to_people_is_told_to_those_who_see_them(desk) {
    let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
    let (narrow, setup) = (desk.account("tickets:read internal:read").await, desk.account("tickets:read admin").await);
    desk.sequence().await;
    let starts = [&admin, &agent, &ada, &narrow, &setup].map(async |who| follow(desk, who, "from=start", 100).await.1);
    let starts = futures::future::join_all(starts).await;

    let bob = json!({ "name": "Bob Secret", "email": "bob@example.org", "role": "agent" });
    let bob = desk.post("/v1/users").by(&admin).json(&bob).expect(201).await.body;
    let path = format!("/v1/users/{}", bob["id"].as_str().unwrap());
    desk.patch(&path).by(&admin).json(&json!({ "name": "Robert Secret", "role": "admin" })).expect(200).await;
    desk.patch(&path).by(&admin).json(&json!({ "name": "Robert Secret" })).expect(200).await;
    desk.patch(&path).by(&admin).json(&json!({ "email": "bob@example.org", "role": "nobody" })).expect(422).await;
    desk.delete(&path).by(&admin).expect(204).await;
    desk.delete(&path).by(&admin).expect(204).await;
    let eve = json!({ "subject": "Hers", "requester": { "email": "eve@example.org", "name": "Eve Secret" } });
    desk.ticket(&agent, eve).await;
    desk.sequence().await;

    for (who, start) in [&admin, &agent, &ada, &narrow, &setup].into_iter().zip(starts) {
        let items = follow(desk, who, &format!("cursor={start}"), 100).await.0;
        let expected: &[&str] = if who.id == ada.id {
            &[]
        } else if who.id == narrow.id {
            &["ticket.created"]
        } else {
            &["user.created", "user.updated", "user.anonymised", "user.created", "ticket.created"]
        };
        assert_eq!(kinds(&items), expected);
        assert!(!format!("{items:?}").contains("Secret") && !format!("{items:?}").contains("example.org"));
        let Some(updated) = items.get(1) else { continue };
        assert_eq!(updated["subject"], json!({ "kind": "user", "id": bob["id"] }));
        assert_eq!((&updated["ticket"], &updated["actor"]["id"]), (&Value::Null, &json!(admin.id)));
        assert_eq!(
            updated["changes"],
            json!([
                { "field": "role", "before": "agent", "after": "admin" },
                { "field": "name", "before": null, "after": null },
            ])
        );
        assert_eq!((&items[2]["changes"], &items[3]["actor"]["id"]), (&json!([]), &json!(agent.id)));
    }
    }
}

on_both! {
    async fn a_cursor_is_good_for_its_owner_and_its_filter(desk) {
    let (agent, other) = (desk.agent().await, desk.agent().await);
    for _ in 0..3 {
        desk.ticket(&agent, json!({ "subject": "One of three" })).await;
    }
    desk.sequence().await;
    let page = desk.get("/v1/changes?from=start&limit=1").by(&agent).expect(200).await.body;
    let cursor = page["next_cursor"].as_str().unwrap().to_owned();
    let go_on = |more: &str| desk.get(&format!("/v1/changes?cursor={cursor}{more}"));
    // What is no part of the filter may be another.
    assert_eq!(go_on("&limit=5&wait_s=1&include=ticket").by(&agent).expect(200).await.body["items"][1]["position"], 3);
    go_on("").by(&other).refused(400, "invalid_cursor").await;
    for filter in ["&types=ticket.created", "&ticket_id=1", "&team_id=none"] {
        go_on(filter).by(&agent).refused(400, "invalid_cursor").await;
    }
    // The order of a filter is none of its meaning.
    let by = |types: &str, cursor: &str| desk.get(&format!("/v1/changes?types={types}&{cursor}"));
    let page = by("ticket.created,ticket.updated", "from=start&limit=1").by(&agent).expect(200).await.body;
    let filtered = format!("cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(
        by("ticket.updated,ticket.created", &filtered).by(&agent).expect(200).await.body["items"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let forged: String = cursor.chars().rev().collect();
    let list =
        desk.get("/v1/tickets?limit=1").by(&agent).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
    for wrong in [&cursor[1..], &cursor[..cursor.len() - 1], &forged, "A", "%20", &format!("{cursor}A"), &list] {
        desk.get(&format!("/v1/changes?cursor={wrong}")).by(&agent).refused(400, "invalid_cursor").await;
    }
    for (query, place) in [
        (format!("cursor={cursor}&from=now"), "from"),
        (format!("cursor={cursor}&since=2026-01-01T00:00:00.000000Z"), "since"),
        ("from=start&since=2026-01-01T00:00:00.000000Z".to_owned(), "since"),
        ("from=yesterday".to_owned(), "from"),
        ("types=ticket.creatd".to_owned(), "types"),
        ("types=".to_owned(), "types"),
        ("ticket_id=abc".to_owned(), "ticket_id"),
        ("team_id=abc".to_owned(), "team_id"),
        ("include=comments".to_owned(), "include"),
        ("limit=0".to_owned(), "limit"),
        ("limit=1001".to_owned(), "limit"),
        ("wait_s=31".to_owned(), "wait_s"),
        ("wait_s=-1".to_owned(), "wait_s"),
        ("since=yesterday".to_owned(), "since"),
        ("position=1".to_owned(), "position"),
        ("limit=1&limit=2".to_owned(), "limit"),
    ] {
        let refused = desk.get(&format!("/v1/changes?{query}")).by(&agent).refused(400, "invalid_query").await;
        assert_eq!(refused.pointers(), [place], "{query}");
    }
    desk.get("/v1/changes").refused(401, "unauthenticated").await;
    let metrics = desk.account("metrics:read").await;
    desk.get("/v1/changes").by(&metrics).refused(403, "insufficient_scope").await;
    desk.get("/v1/changes").by(&agent).header("accept", "text/csv").refused(406, "not_acceptable").await;
    }
}

on_both! {
    async fn one_begins_anywhere_in_time(desk) {
    let agent = desk.agent().await;
    desk.sequence().await;
    let mut instants = Vec::new();
    for _ in 0..7 {
        desk.clock.pass_s(10);
        instants.push(desk.clock.now());
        for _ in 0..3 {
            desk.ticket(&agent, json!({ "subject": "One of three at once" })).await;
        }
        desk.sequence().await;
    }
    let since = async |instant: &str| positions(&follow_since(desk, &agent, instant).await);
    for (nth, instant) in instants.iter().enumerate() {
        let first = 3 * i64::try_from(nth).unwrap() + 2;
        assert_eq!(since(&instant.to_string()).await, (first..=22).collect::<Vec<_>>());
        let before = skranke::kernel::Instant::from_micros(instant.micros() - 1).to_string();
        let after = skranke::kernel::Instant::from_micros(instant.micros() + 1).to_string();
        assert_eq!(since(&before).await, (first..=22).collect::<Vec<_>>());
        assert_eq!(since(&after).await, (first + 3..=22).collect::<Vec<_>>());
    }
    assert_eq!(since("1970-01-01T00:00:00.000000Z").await.len(), 22);
    assert!(since("2099-12-31T23:59:59.000000Z").await.is_empty());
    // With what happens from now on.
    let (none, now) = follow(desk, &agent, "from=now", 100).await;
    assert!(none.is_empty());
    desk.ticket(&agent, json!({ "subject": "Now" })).await;
    desk.sequence().await;
    assert_eq!(positions(&follow(desk, &agent, &format!("cursor={now}"), 100).await.0), [23]);
    }
}

async fn follow_since(desk: &Desk, who: &Caller, instant: &str) -> Vec<Value> {
    desk.get(&format!("/v1/changes?limit=1000&since={instant}")).by(who).expect(200).await.body["items"]
        .as_array()
        .unwrap()
        .clone()
}

on_both! {
    async fn whoever_waits_is_answered_when_something_happens(desk) {
    let (agent, ada) = (desk.agent().await, desk.requester().await);
    let ticket = desk.ticket(&ada, json!({ "subject": "Mine" })).await;
    desk.sequence().await;
    let waits = |who: &Caller| desk.get("/v1/changes?wait_s=30").by(who).expect(200);
    let work = async {
        // Nobody knows when both of them wait, but whatever comes first they are told of what comes later.
        for nth in 0.. {
            desk.patch_ticket(&agent, &ticket, json!({ "custom_fields": { "nth": nth } })).await;
            desk.sequence().await;
            tokio::task::yield_now().await;
            if nth > 2_000 {
                panic!("nobody was told");
            }
        }
    };
    let told = async { tokio::join!(waits(&agent), waits(&ada)) };
    let (his, hers): (Answer, Answer) = tokio::select! {
        told = told => told,
        () = work => unreachable!(),
    };
    assert!(his.body["items"][0]["position"].as_i64().unwrap() > 1);
    assert_eq!(hers.body["items"][0]["type"], "ticket.updated");
    // No more than eight times at once. A ninth is sent away, and seats are free again when somebody goes.
    let bob = desk.requester().await;
    let nine = (0..9).map(|_| desk.get("/v1/changes?wait_s=30").by(&bob).send());
    let (first, others) = futures::future::select_all(nine.map(Box::pin)).await.into_parts();
    assert_eq!((first.status.as_u16(), first.body["code"].as_str()), (429, Some("rate_limited")));
    drop(others);
    crate::start::until("a seat to be free again", async || {
        let answer = desk.get("/v1/changes?wait_s=1").by(&bob).send().await;
        (answer.status == 200).then_some(())
    })
    .await;
    }
}

on_both! {
    async fn whoever_waits_is_answered_when_the_process_ends(desk) {
        let agent = desk.agent().await;
        let began = std::time::Instant::now();
        let wait = desk.get("/v1/changes?wait_s=30").by(&agent).expect(200);
        let end = async {
            loop {
                desk.settings.state.ending.give();
                tokio::task::yield_now().await;
            }
        };
        let told: Answer = tokio::select! {
            told = wait => told,
            () = end => unreachable!(),
        };
        assert_eq!(told.body["items"], json!([]));
        assert!(told.body["next_cursor"].is_string() && began.elapsed().as_secs() < 30);
    }
}

trait IntoParts<T, F> {
    fn into_parts(self) -> (T, Vec<F>);
}

impl<T, F> IntoParts<T, F> for (T, usize, Vec<F>) {
    fn into_parts(self) -> (T, Vec<F>) {
        (self.0, self.2)
    }
}

on_both! {
    async fn many_write_and_nothing_is_missed(desk) {
    let another = desk.another_instance();
    let (agent, reader) = (desk.agent().await, desk.admin().await);
    let shared = desk.ticket(&agent, json!({ "subject": "Of all" })).await["number"].as_i64().unwrap();
    let (done, seed) = (AtomicBool::new(false), seed());
    let write = async |nth: u64| {
        let (mut chance, mut written) = (Chance(seed + nth), Vec::new());
        let url = if nth.is_multiple_of(2) { &desk.url } else { &another };
        for round in 0..12 {
            let send =
                |method: Method, path: &str, body: Value| desk.ask_at(url, method, path).by(&agent).json(&body).send();
            let comments = format!("/v1/tickets/{shared}/comments");
            let answer = match chance.below(5) {
                0 => send(Method::POST, "/v1/tickets", json!({ "subject": format!("{nth} {round}") })).await,
                // Refused after something was read or even written.
                1 => {
                    send(
                        Method::PATCH,
                        "/v1/tickets/1",
                        json!({ "assignee_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab" }),
                    )
                    .await
                }
                2 => {
                    send(Method::PATCH, "/v1/tickets/1", json!({ "custom_fields": { format!("w{nth}"): round } })).await
                }
                3 => send(Method::POST, &comments, json!({ "visibility": "internal", "body": "Note." })).await,
                _ => send(Method::POST, &comments, json!({ "visibility": "public", "body": "Said." })).await,
            };
            if answer.status.is_success() {
                written.push(answer.body["id"].as_str().unwrap().to_owned());
            }
        }
        written
    };
    let writers = async {
        let written = futures::future::join_all((0..8).map(write)).await;
        desk.sequence().await;
        done.store(true, Ordering::SeqCst);
        written
    };
    // Rivals give places at the same time.
    let rival = async || {
        while !done.load(Ordering::SeqCst) {
            drop(skranke::audit::service::sequence(&desk.db.patient(), &desk.ids).await);
            tokio::task::yield_now().await;
        }
    };
    let read = async {
        let (mut items, mut path) = (Vec::new(), "/v1/changes?from=start&limit=7".to_owned());
        loop {
            let ended = done.load(Ordering::SeqCst);
            let page = desk.get(&path).by(&reader).expect(200).await.body;
            let some = page["items"].as_array().unwrap().clone();
            if ended && some.is_empty() {
                return items;
            }
            items.extend(some);
            path = format!("/v1/changes?limit=7&cursor={}", page["next_cursor"].as_str().unwrap());
        }
    };
    let (written, items, (), ()) = tokio::join!(writers, read, rival(), rival());
    let count = i64::try_from(items.len()).unwrap();
    assert_eq!(positions(&items), (1..=count).collect::<Vec<_>>(), "seed {seed}");
    // Each acknowledged write is there once, and in the order of each ticket's trail.
    let mut told: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &items {
        let about = if item["type"] == "comment.added" { &item["comment_id"] } else { &item["ticket"]["id"] };
        if let (Some(about), true) = (about.as_str(), item["type"] != "ticket.updated") {
            *told.entry(about).or_default() += 1;
        }
    }
    for id in written.iter().flatten().filter(|id| told.contains_key(id.as_str())) {
        assert_eq!(told[id.as_str()], 1, "seed {seed}");
    }
    let trail = desk.all(&reader, &format!("/v1/tickets/{shared}/events")).await;
    let ids =
        |items: &[Value]| items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>();
    let of_shared: Vec<Value> = items.iter().filter(|item| item["ticket"]["number"] == shared).cloned().collect();
    assert_eq!(ids(&of_shared), ids(&trail), "seed {seed}");
    let versions: Vec<i64> = of_shared
        .iter()
        .filter(|item| item["type"] == "ticket.updated")
        .map(|item| item["ticket"]["version"].as_i64().unwrap())
        .collect();
    assert!(versions.is_sorted(), "what follows from another stands behind it: {versions:?}, seed {seed}");
    }
}

on_both! {
    async fn a_history_that_was_set_back_is_noticed(desk) {
    let agent = desk.agent().await;
    let open = async || {
        desk.ticket(&agent, json!({ "subject": "One of several" })).await;
        desk.sequence().await;
    };
    open().await;
    let (_, early) = follow(desk, &agent, "from=start", 100).await;
    for _ in 0..3 {
        open().await;
    }
    let (_, late) = follow(desk, &agent, "from=start", 100).await;
    // As after a restore of what was there before the last two.
    desk.store.run("DELETE FROM changes WHERE position > 3").await;
    let ask = |cursor: &str| desk.get(&format!("/v1/changes?cursor={cursor}")).by(&agent);
    ask(&late).refused(410, "cursor_diverged").await;
    open().await;
    open().await;
    // There is such a place again, but it is another one.
    ask(&late).refused(410, "cursor_diverged").await;
    assert_eq!(positions(ask(&early).expect(200).await.body["items"].as_array().unwrap()), [3, 4, 5]);
    }
}

#[tokio::test]
async fn what_an_older_instance_writes_has_a_place() {
    let desk = Desk::open(Engine::Postgres).await;
    let agent = desk.agent().await;
    let ticket = desk.ticket(&agent, json!({ "subject": "Old and new" })).await;
    let insert = format!(
        "INSERT INTO events (id, ticket_id, at, kind, visibility, changes, number) \
         VALUES (gen_random_uuid(), '{}', now(), 'ticket.updated', 'public', '[]', 2)",
        ticket["id"].as_str().unwrap()
    );
    desk.store.run(&insert).await;
    desk.sequence().await;
    let items = follow(&desk, &agent, "from=start", 100).await.0;
    assert_eq!(positions(&items), [1, 2, 3]);
    assert_eq!(items[2]["ticket"]["version"], 1);
    desk.close().await;
}

on_both! {
    async fn an_answer_is_bounded_in_bytes(desk) {
    let agent = desk.agent().await;
    let long = "\u{1}".repeat(64 << 10);
    for nth in 0..12 {
        desk.ticket(&agent, json!({ "subject": format!("Number {nth}"), "description": long })).await;
    }
    desk.sequence().await;
    for include in ["", "&include=ticket"] {
        let page = desk.get(&format!("/v1/changes?from=start&limit=1000{include}")).by(&agent).expect(200).await;
        let items = page.body["items"].as_array().unwrap();
        assert!(!items.is_empty() && items.len() < 12 && page.text().len() < 3 << 20, "{}", items.len());
        let query = format!("from=start{include}");
        assert_eq!(positions(&follow(desk, &agent, &query, 1_000).await.0), (1..=13).collect::<Vec<_>>());
    }
    }
}

#[tokio::test]
async fn a_seat_is_free_for_others() {
    let store = Store::make(Engine::Sqlite).await;
    let desk = Desk::open_on(store, vec![], |mut settings| {
        settings.limits.seats = 1;
        settings
    })
    .await;
    let (one, other) = (desk.agent().await, desk.agent().await);
    let both = [&one, &other].map(|who| Box::pin(desk.get("/v1/changes?wait_s=30").by(who).send()));
    let (first, _, _others) = futures::future::select_all(both).await;
    assert_eq!((first.status.as_u16(), first.body["code"].as_str()), (503, Some("unavailable")));
    assert!(first.header("retry-after").is_some());
    // Whoever does not wait needs none.
    desk.get("/v1/changes?from=start").by(&one).expect(200).await;
    desk.close().await;
}
