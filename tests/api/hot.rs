//! Many who change one thing at once: each gets their turn, in time, and nobody else is kept waiting for it.
//!
//! A round is 200 requests at once. A run has two of them, or as many as `SKRANKE_TEST_ROUNDS` says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::db::{DatabaseUrl, Db};
use skranke::sla::service::follow_edits;

use crate::edits::copy;
use crate::on_both;
use crate::support::{Answer, Ask, Caller, Desk, Engine};

/// How many write at once.
const WRITERS: usize = 200;

/// How long a request waits at most: what a service in use has, six times over, since a build for tests is slow and
/// others run beside it.
const WAIT: Duration = Duration::from_secs(30);

fn rounds() -> usize {
    std::env::var("SKRANKE_TEST_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap())
}

/// One more instance, as another process would be: with connections, and a source of ids, of its own.
fn apart(desk: &Desk, pool_size: usize) -> String {
    desk.instance_with(|mut settings| {
        settings.state.db = Db::open(&desk.store.url, pool_size, WAIT).unwrap();
        settings.state.clock = desk.clock.clock();
        settings
    })
}

/// Asks all at once; gives the answers in the order of the requests, none of which took longer than anybody should
/// wait.
async fn at_once(asks: impl IntoIterator<Item = Ask>) -> Vec<Answer> {
    let timed = asks.into_iter().map(|ask| async move {
        let begun = Instant::now();
        let answer = ask.send().await;
        assert!(begun.elapsed() < WAIT, "somebody waited for {:?}", begun.elapsed());
        answer
    });
    join_all(timed).await
}

/// How many answers there are of each status.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status.as_u16()).or_insert(0) += 1;
    }
    counts
}

/// How many tickets are open where policies and calendars are edited.
const OPEN: usize = 450;

/// Sends all `edits` at once, and beside them creates tickets one after the other. All edits are made, and whoever
/// creates a ticket waits for few of them and not for long.
#[expect(clippy::print_stdout, reason = "the figures")]
async fn edits_beside_others(desk: &Desk, url: &str, agent: &Caller, edits: impl IntoIterator<Item = Ask>) {
    let (done, is_over, begun) = (AtomicUsize::new(0), AtomicBool::new(false), Instant::now());
    let edit = async {
        let answers = edits.into_iter().map(async |edit| {
            let answer = edit.send().await;
            done.fetch_add(1, Ordering::SeqCst);
            answer
        });
        let answers = join_all(answers).await;
        is_over.store(true, Ordering::SeqCst);
        answers
    };
    // On a connection of its own, which is there before: of 200 that are opened at once some are opened again after a
    // second.
    let client = reqwest::Client::new();
    let create = async || {
        let ask = Ask(client.post(format!("{url}/v1/tickets"))).by(agent);
        ask.json(&json!({ "subject": "s" })).expect(201).await
    };
    create().await;
    let create = async {
        let (mut longest, mut most, mut count) = (Duration::ZERO, 0, 0);
        while !is_over.load(Ordering::SeqCst) {
            let (before, begun) = (done.load(Ordering::SeqCst), Instant::now());
            create().await;
            longest = longest.max(begun.elapsed());
            most = most.max(done.load(Ordering::SeqCst) - before);
            count += 1;
        }
        (longest, most, count)
    };
    let (answers, (longest, most, count)) = tokio::join!(edit, create);
    println!(
        "{}: {:?} in {:?}; of {count} creates meanwhile the longest took {longest:?}, {most} edits",
        desk.db.engine(),
        statuses(&answers),
        begun.elapsed()
    );
    for answer in &answers {
        assert!(answer.status.is_success(), "{}", answer.text());
    }
    // Without a line for those who edit, it was all of them on SQLite. Ten times what has to hold, for a debug build on
    // a busy machine.
    assert!(count > 10 && most <= 20 && longest < Duration::from_millis(2_500), "{most} edits, {longest:?}");
}

/// Lets all tickets follow the edits.
async fn follow_all(desk: &Desk) {
    while follow_edits(&desk.db, &desk.ids).await.unwrap() > 0 {}
}

/// Changes what is at `path` in rounds, `field` to another text each time: all changes are made, and counted.
async fn all_changes_are_made(desk: &Desk, who: &Caller, path: &str, field: &str) {
    let url = apart(desk, 8);
    let before = desk.get(path).by(who).expect(200).await.body["version"].as_i64().unwrap();
    for round in 0..rounds() {
        let change = |n| desk.ask_at(&url, Method::PATCH, path).by(who).json(&json!({ field: format!("{round} {n}") }));
        let answers = at_once((0..WRITERS).map(change)).await;
        assert_eq!(statuses(&answers), [(200, WRITERS)].into(), "{path}");
    }
    let after = desk.get(path).by(who).expect(200).await.body["version"].as_i64().unwrap();
    assert_eq!(after - before, i64::try_from(rounds() * WRITERS).unwrap(), "each change is a version of {path}");
}

on_both! {
    /// Alerts, chat bridges and scripts write to the same ticket, by its number and by its id.
    async fn one_ticket(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let (number, id) = (ticket["number"].to_string(), ticket["id"].as_str().unwrap().to_owned());
        let url = apart(desk, 8);
        for round in 0..rounds() {
            let ask = |n: usize| {
                let path = format!("/v1/tickets/{}", if n.is_multiple_of(2) { &number } else { &id });
                let ask = |method, below| desk.ask_at(&url, method, &format!("{path}{below}")).by(&agent);
                match n % 5 {
                    0 => ask(Method::POST, "/comments").json(&json!({ "body": "seen", "visibility": "public" })),
                    1 => ask(Method::POST, "/comments").json(&json!({ "body": "again", "visibility": "internal" })),
                    2 => ask(Method::POST, "/time-entries").json(&json!({ "work_s": 60 })),
                    3 => ask(Method::PATCH, "").json(&json!({ "subject": format!("{round} {n}") })),
                    _ => ask(Method::PATCH, "").json(&json!({ "custom_fields": { "alert": format!("{round} {n}") } })),
                }
            };
            let answers = at_once((0..WRITERS).map(ask)).await;
            assert_eq!(statuses(&answers), [(200, WRITERS * 2 / 5), (201, WRITERS * 3 / 5)].into());
        }
        let after = desk.read_ticket(&agent, &ticket).await;
        assert_eq!(after["version"], 1 + rounds() * WRITERS * 3 / 5, "patches and public comments are versions");
        let cost = desk.get(&format!("/v1/tickets/{number}/cost")).by(&agent).expect(200).await.body;
        assert_eq!(cost["work_s"], rounds() * WRITERS / 5 * 60);
        // One for each, and one for the opening.
        let events = desk.all(&agent, &format!("/v1/tickets/{number}/events?limit=200")).await;
        assert_eq!(events.len(), rounds() * WRITERS + 1);
    }

    async fn one_team(desk) {
        let admin = desk.admin().await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Second level" })).expect(201).await.body;
        all_changes_are_made(desk, &admin, &format!("/v1/teams/{}", team["id"].as_str().unwrap()), "description").await;
    }

    async fn one_person(desk) {
        let (admin, person) = (desk.admin().await, desk.agent().await);
        all_changes_are_made(desk, &admin, &format!("/v1/users/{}", person.id), "name").await;
    }

    async fn one_service_account(desk) {
        let (admin, account) = (desk.admin().await, desk.account("tickets:read").await);
        all_changes_are_made(desk, &admin, &format!("/v1/service-accounts/{}", account.id), "name").await;
    }

    async fn one_policy(desk) {
        let admin = desk.admin().await;
        let targets = json!([{ "target": "response", "target_s": 3600, "hours": "calendar" }]);
        let policy = json!({ "name": "All", "targets": targets });
        let policy = desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await.body;
        all_changes_are_made(desk, &admin, &format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap()), "name").await;
    }

    /// Tickets are open, as many as one edit judges by itself. All edits are made, and whoever writes a ticket stands
    /// behind few of them.
    async fn one_policy_while_tickets_are_open(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let targets = |target_s: usize| json!([{ "target": "response", "target_s": target_s, "hours": "calendar" }]);
        let policy = desk.post("/v1/sla/policies").by(&admin).json(&json!({ "name": "All", "targets": targets(90_000) })).expect(201).await.body;
        let policy = format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap());
        let ticket = desk.ticket(&agent, json!({})).await;
        copy(&desk.store, desk.db.engine(), &ticket["number"], OPEN - 1).await;
        let url = apart(desk, 8);
        let edit = |n: usize| desk.ask_at(&url, Method::PATCH, &policy).by(&admin).json(&json!({ "targets": targets(100_000 + n) }));
        edits_beside_others(desk, &url, &agent, (0..WRITERS).map(edit)).await;
        assert_eq!(desk.get(&policy).by(&admin).expect(200).await.body["version"], 1 + WRITERS);
        follow_all(desk).await;
        for ticket in desk.all(&agent, "/v1/tickets?limit=200").await {
            let clock = &ticket["clocks"][0];
            assert_eq!((&clock["policy_version"], clock["target_s"].as_u64() > Some(99_999)), (&json!(1 + WRITERS), true), "{ticket}");
        }
    }

    /// The same with all kinds of edits: policies are made, changed and removed, and so are calendars.
    async fn policies_and_calendars_while_tickets_are_open(desk) {
        const EACH: usize = 20;
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let make = async |list: &str, body: Value| {
            let made = desk.post(list).by(&admin).json(&body).expect(201).await.body;
            format!("{list}/{}", made["id"].as_str().unwrap())
        };
        let hours = |n: usize| json!({ "monday": [{ "from": "08:00", "to": format!("{}:{:02}", 12 + n / 60, n % 60) }] });
        let calendar = |name: String, n| json!({ "name": name, "time_zone": "UTC", "working_hours": hours(n) });
        let first = make("/v1/sla/calendars", json!({ "name": "Days", "time_zone": "UTC", "working_hours": hours(0), "is_default": true })).await;
        let first_id = first.rsplit('/').next().unwrap();
        let targets = json!([{ "target": "response", "target_s": 90_000, "hours": "business" }]);
        let policy = |name: String| json!({ "name": name, "calendar_id": first_id, "targets": targets });
        make("/v1/sla/policies", policy("All".into())).await;
        let (mut policies, mut calendars) = (Vec::new(), Vec::new());
        for n in 0..EACH {
            policies.push(make("/v1/sla/policies", policy(format!("policy {n}"))).await);
            calendars.push(make("/v1/sla/calendars", calendar(format!("calendar {n}"), n)).await);
        }
        let ticket = desk.ticket(&agent, json!({})).await;
        copy(&desk.store, desk.db.engine(), &ticket["number"], OPEN - 1).await;
        let url = apart(desk, 8);
        let edit = |n: usize| {
            let ask = |method, path: &str| desk.ask_at(&url, method, path).by(&admin);
            match (n % 5, n / 5) {
                (0, n) => ask(Method::POST, "/v1/sla/policies").json(&policy(format!("further {n}"))),
                (1, n) => ask(Method::POST, "/v1/sla/calendars").json(&calendar(format!("further {n}"), n)),
                (2, n) => ask(Method::PATCH, &first).json(&json!({ "working_hours": hours(1 + n) })),
                (3, n) => ask(Method::DELETE, &policies[n]),
                (_, n) => ask(Method::DELETE, &calendars[n]),
            }
        };
        edits_beside_others(desk, &url, &agent, (0..5 * EACH).map(edit)).await;
        assert_eq!(desk.get(&first).by(&admin).expect(200).await.body["version"], 1 + EACH);
        assert_eq!(desk.all(&admin, "/v1/sla/policies?limit=200").await.len(), 1 + EACH);
        assert_eq!(desk.all(&admin, "/v1/sla/calendars?limit=200").await.len(), 1 + EACH);
        follow_all(desk).await;
        for ticket in desk.all(&agent, "/v1/tickets?limit=200").await {
            assert_eq!(ticket["clocks"][0]["calendar_version"], 1 + EACH, "{ticket}");
        }
    }

    /// One is first, and all others are told which ticket it is.
    async fn one_external_id(desk) {
        let script = desk.account("tickets:read tickets:write").await;
        let url = apart(desk, 8);
        for round in 0..rounds() {
            let new = json!({ "subject": "Disk full", "external_id": format!("alert {round}") });
            let create = |_| desk.ask_at(&url, Method::POST, "/v1/tickets").by(&script).json(&new);
            let answers = at_once((0..WRITERS).map(create)).await;
            assert_eq!(statuses(&answers), [(201, 1), (409, WRITERS - 1)].into());
            let made = answers.iter().find(|answer| answer.status == 201).unwrap().body["id"].clone();
            for refused in answers.iter().filter(|answer| answer.status == 409) {
                assert_eq!((&refused.body["code"], &refused.body["existing"]["id"]), (&"duplicate_external_id".into(), &made));
            }
        }
    }

    /// Whom nobody knows yet is made once, however many tickets name them.
    async fn one_requester_who_is_new(desk) {
        let (script, admin) = (desk.account("tickets:read tickets:write").await, desk.admin().await);
        let url = apart(desk, 8);
        for round in 0..rounds() {
            let email = format!("new.{round}@example.org");
            let new = json!({ "subject": "Hello", "requester": { "email": email, "name": "Somebody New" } });
            let create = |_| desk.ask_at(&url, Method::POST, "/v1/tickets").by(&script).json(&new);
            let answers = at_once((0..WRITERS).map(create)).await;
            assert_eq!(statuses(&answers), [(201, WRITERS)].into());
            assert_eq!(desk.all(&admin, &format!("/v1/users?email={email}")).await.len(), 1);
        }
    }

    /// Tickets of one requester, assignee and team come in while these are changed themselves.
    async fn one_requester_assignee_and_team(desk) {
        let (admin, agent, requester) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "Second level" })).expect(201).await.body;
        let team = team["id"].as_str().unwrap();
        let url = apart(desk, 8);
        for round in 0..rounds() {
            let ask = |n: usize| {
                let change = |path: String, field: &str| {
                    desk.ask_at(&url, Method::PATCH, &path).by(&admin).json(&json!({ field: format!("{round} {n}") }))
                };
                let new = json!({ "subject": "s", "team_id": team, "assignee_id": agent.id, "requester_id": requester.id });
                match n % 6 {
                    0 => change(format!("/v1/teams/{team}"), "description"),
                    1 => change(format!("/v1/users/{}", agent.id), "name"),
                    2 => change(format!("/v1/users/{}", requester.id), "name"),
                    _ => desk.ask_at(&url, Method::POST, "/v1/tickets").by(&agent).json(&new),
                }
            };
            let answers = at_once((0..WRITERS).map(ask)).await;
            assert!(answers.iter().all(|answer| answer.status.is_success()), "{:?}", statuses(&answers));
        }
        let made = (0..WRITERS).filter(|n| n % 6 >= 3).count() * rounds();
        let path = format!("/v1/tickets?limit=200&team_id={team}&assignee_id={}&requester_id={}", agent.id, requester.id);
        assert_eq!(desk.all(&admin, &path).await.len(), made);
    }

    /// Two processes on one database: what a ticket's trail tells is in the order of its changes, and each begins where
    /// the one before has ended.
    async fn a_trail_of_several_instances_is_in_order(desk) {
        const TICKETS: usize = 60;
        const PATCHES: usize = 8;
        let agent = desk.agent().await;
        let urls = [apart(desk, 8), apart(desk, 8)];
        let tickets = join_all((0..TICKETS).map(|_| desk.ticket(&agent, json!({ "subject": "begun" })))).await;
        let change = |(nth, ticket): (usize, &Value)| {
            let path = format!("/v1/tickets/{}", ticket["number"]);
            desk.ask_at(&urls[nth % 2], Method::PATCH, &path).by(&agent).json(&json!({ "subject": format!("change {nth}") }))
        };
        let each = tickets.iter().flat_map(|ticket| (0..PATCHES).map(move |nth| (nth, ticket)));
        let answers = at_once(each.map(change)).await;
        assert_eq!(statuses(&answers), [(200, TICKETS * PATCHES)].into());
        for ticket in &tickets {
            // In pages, so that the cursor is in that order, too.
            let events = desk.all(&agent, &format!("/v1/tickets/{}/events?limit=3", ticket["number"])).await;
            assert_eq!(events.len(), 1 + PATCHES);
            let mut subject = json!(null);
            for event in &events {
                let changes = event["changes"].as_array().unwrap();
                let change = changes.iter().find(|change| change["field"] == "subject").unwrap();
                assert_eq!(change["before"], subject, "an event begins where the one before has ended: {events:#?}");
                subject = change["after"].clone();
            }
            assert_eq!(desk.read_ticket(&agent, ticket).await["subject"], subject);
        }
    }

    /// Two processes, and one ticket that both write to.
    async fn one_ticket_of_two_instances(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let urls = [apart(desk, 4), apart(desk, 4)];
        let change = |n: usize| {
            let path = format!("/v1/tickets/{}", ticket["number"]);
            desk.ask_at(&urls[n % 2], Method::PATCH, &path).by(&agent).json(&json!({ "subject": n.to_string() }))
        };
        let answers = at_once((0..WRITERS).map(change)).await;
        assert_eq!(statuses(&answers), [(200, WRITERS)].into());
        assert_eq!(desk.read_ticket(&agent, &ticket).await["version"], 1 + WRITERS);
    }
}

/// A ticket that nobody gets on with, as somebody else's transaction is at work on it, keeps one connection of an
/// instance at most: there are others for everybody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_busy_ticket_leaves_the_pool_to_others() {
    let desk = Desk::open(Engine::Postgres).await;
    let agent = desk.agent().await;
    let busy = desk.ticket(&agent, json!({})).await;
    // Of these, four are for writes: two threads with two each.
    let url = apart(&desk, 8);
    let DatabaseUrl::Postgres(database) = &desk.store.url else { unreachable!("it is PostgreSQL's") };
    let (client, connection) = tokio_postgres::connect(database.reveal(), tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let hold = format!("BEGIN; SELECT 1 FROM tickets WHERE number = {} FOR UPDATE", busy["number"]);
    client.batch_execute(&hold).await.unwrap();
    let path = format!("/v1/tickets/{}", busy["number"]);
    let change =
        |n: usize| desk.ask_at(&url, Method::PATCH, &path).by(&agent).json(&json!({ "subject": n.to_string() }));
    let mut waiting: FuturesUnordered<_> = (0..50).map(|n| change(n).send()).collect();
    // Those who wait are all there when one of them has come to the ticket's row; nobody is served before.
    let others = async {
        for _ in 0..40 {
            desk.ask_at(&url, Method::POST, "/v1/tickets")
                .by(&agent)
                .json(&json!({ "subject": "s" }))
                .expect(201)
                .await;
        }
    };
    tokio::select! {
        () = others => {}
        first = waiting.next() => panic!("{:?}", first.map(|answer| answer.text())),
    }
    client.batch_execute("ROLLBACK").await.unwrap();
    while let Some(answer) = waiting.next().await {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    assert_eq!(desk.read_ticket(&agent, &busy).await["version"], 51);
    drop(client);
    driver.await.unwrap().unwrap();
    desk.close().await;
}
