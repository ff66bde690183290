//! What one caller asks of PostgreSQL keeps nobody waiting for what is quick, and takes neither more connections nor
//! more memory than it may.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use skranke::db::{DatabaseUrl, Db};

use crate::start::{Place, Server, until};
use crate::support::{Ask, Caller, Desk, Engine, Store};

/// A connection of the test's own.
async fn connect(store: &Store) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&store.url_text(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The URL of `store` with a name of its own for those who come by it.
fn named(store: &Store, name: &str) -> String {
    format!("{}?application_name={name}", store.url_text())
}

/// How many connections of this name there are of which `what` holds.
async fn connections(client: &tokio_postgres::Client, name: &str, what: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND {what}");
    client.query_one(&sql, &[&name]).await.unwrap().get(0)
}

/// Many clients ask for all kinds of things, none of which is refused.
async fn ask_for_everything(server: &Server, admin: &Caller) {
    let clients = (0..16).map(|nth| {
        let (url, admin) = (server.url.clone(), admin.clone());
        tokio::spawn(async move {
            let client = reqwest::Client::new();
            let get = |path: &str| Ask(client.get(format!("{url}{path}"))).by(&admin).expect(200);
            for round in 0..12 {
                match (nth + round) % 6 {
                    0 => get("/v1/tickets?sort=-priority").await,
                    1 => get("/v1/tickets?q=printer").await,
                    2 => get("/v1/metrics/summary").await,
                    3 => get("/v1/me").await,
                    4 => get("/health/ready").await,
                    _ => {
                        let ask = Ask(client.post(format!("{url}/v1/tickets"))).by(&admin);
                        ask.json(&json!({ "subject": "a printer" })).expect(201).await
                    }
                };
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_opens_no_more_connections_than_it_may() {
    for (size, workers) in [(4, 1), (4, 16), (7, 3), (16, 2), (16, 12)] {
        let store = Store::make(Engine::Postgres).await;
        let name = format!("pool_of_{size}_for_{workers}");
        let place = Place::on(&store)
            .with("DATABASE_URL", named(&store, &name))
            .with("SKRANKE_MIGRATE_ON_START", "true")
            .with("SKRANKE_DATABASE_POOL_SIZE", size.to_string())
            .with("SKRANKE_DATABASE_WAIT_S", "60")
            .with("SKRANKE_WORKERS", workers.to_string());
        let server = place.start().await;
        let admin = place.person("admin").await;
        let client = connect(&store).await;
        // The command that has made the admin is another process.
        until("the command to be gone", async || {
            (connections(&client, &name, "state = 'idle'").await <= size).then_some(())
        })
        .await;
        let (most, is_over) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicBool::new(false)));
        let watching = tokio::spawn({
            let (most, is_over, name) = (most.clone(), is_over.clone(), name.clone());
            async move {
                while !is_over.load(Ordering::SeqCst) {
                    most.fetch_max(connections(&client, &name, "true").await, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            }
        });
        ask_for_everything(&server, &admin).await;
        is_over.store(true, Ordering::SeqCst);
        watching.await.unwrap();
        let most = most.load(Ordering::SeqCst);
        // At least one to write, one for single things, and one for lists.
        assert!((3..=size).contains(&most), "{most} connections of {size} for {workers} workers");
        server.stop().await;
        store.drop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_things_and_writes_never_stand_behind_lists_and_nothing_outlives_its_deadline() {
    const WAIT: Duration = Duration::from_secs(4);
    for (size, workers) in [(4, 3), (16, 2)] {
        let store = Store::make(Engine::Postgres).await;
        let name = format!("lanes_of_{size}_for_{workers}");
        let url: DatabaseUrl = named(&store, &name).parse().unwrap();
        let open = |_: &DatabaseUrl| Db::open(&url, size, WAIT).unwrap();
        let desk = Desk::open_at(store, open, vec![], |mut settings| {
            settings.workers = workers;
            settings
        })
        .await;
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let lists = format!("/v1/tickets/{}/time-entries", ticket["number"]);
        for (table, blocked) in
            [("time_entries", [lists.as_str(), &lists]), ("tickets", ["/v1/tickets", "/v1/tickets?q=a"])]
        {
            let holder = connect(&desk.store).await;
            holder.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.unwrap();
            let waiting: Vec<_> = (0..16)
                .map(|nth| {
                    let ask = desk.get(blocked[nth % 2]).by(&agent);
                    tokio::spawn(async move {
                        let begun = Instant::now();
                        ask.refused(503, "unavailable").await;
                        begun.elapsed()
                    })
                })
                .collect();
            let watcher = connect(&desk.store).await;
            until("lists to wait for the lock", async || {
                (connections(&watcher, &name, "wait_event_type = 'Lock'").await > 0).then_some(())
            })
            .await;
            for _ in 0..4 {
                desk.get("/v1/me").by(&agent).expect(200).await;
                if table == "time_entries" {
                    desk.read_ticket(&agent, &ticket).await;
                    desk.ticket(&agent, json!({})).await;
                }
            }
            assert!(waiting.iter().all(|list| !list.is_finished()), "a list was done before what is quick");
            for list in waiting {
                // Searches have five seconds more.
                let took = list.await.unwrap();
                assert!(took < WAIT + Duration::from_secs(5 + 3), "{took:?}");
            }
            // The server does nothing for nobody, though the table is still locked.
            until("the statements to end", async || {
                (connections(&watcher, &name, "wait_event_type = 'Lock'").await == 0).then_some(())
            })
            .await;
            holder.batch_execute("ROLLBACK").await.unwrap();
            desk.get(blocked[0]).by(&agent).expect(200).await;
        }
        desk.close().await;
    }
}

/// An edit of a policy waits for a table that somebody has locked. What needs no ticket is served meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_stands_behind_an_edit_that_waits_for_a_lock() {
    const WAIT: Duration = Duration::from_secs(60);
    // What asks for nothing that is locked waits for an edit now and then, but not for what that waits for.
    const SOON: Duration = Duration::from_secs(5);
    let store = Store::make(Engine::Postgres).await;
    let url: DatabaseUrl = named(&store, "behind_an_edit").parse().unwrap();
    let open = |_: &DatabaseUrl| Db::open(&url, 16, WAIT).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    desk.patch(&format!("/v1/users/{}", agent.id))
        .by(&admin)
        .json(&json!({ "password": "a long enough one" }))
        .expect(200)
        .await;
    let me = desk.get("/v1/me").by(&agent).expect(200).await.body;
    let login = format!("grant_type=password&username={}&password=a+long+enough+one", me["email"].as_str().unwrap());
    let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First level" })).expect(201).await.body;
    let team = format!("/v1/teams/{}", team["id"].as_str().unwrap());
    let ticket = desk.ticket(&agent, json!({})).await;
    let policy = json!({ "name": "All", "targets": [{ "target": "response", "target_s": 3600, "hours": "calendar" }] });
    let policy = desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await.body;
    let policy = format!("/v1/sla/policies/{}", policy["id"].as_str().unwrap());
    let (holder, watcher) = (connect(&desk.store).await, connect(&desk.store).await);
    let number = ticket["number"].as_i64().unwrap();
    // The whole table, for which the edit itself waits, and a row, for which another write waits that the edit waits
    // for.
    for (lock, is_row) in [
        ("LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE".to_owned(), false),
        (format!("SELECT 1 FROM tickets WHERE number = {number} FOR UPDATE"), true),
    ] {
        holder.batch_execute(&format!("BEGIN; {lock}")).await.unwrap();
        let mut waiting = Vec::new();
        if is_row {
            let ask = desk.patch(&format!("/v1/tickets/{number}")).by(&agent).json(&json!({ "subject": "s" }));
            waiting.push(tokio::spawn(ask.expect(200)));
            until("the other write to wait", async || {
                (connections(&watcher, "behind_an_edit", "wait_event_type = 'Lock'").await > 0).then_some(())
            })
            .await;
        }
        let edit = |nth: usize| {
            let name = format!("{lock} {nth}");
            desk.patch(&policy).by(&admin).json(&json!({ "name": name })).expect(200)
        };
        waiting.extend((0..3).map(|nth| tokio::spawn(edit(nth))));
        until("an edit to wait", async || {
            let what = "wait_event_type = 'Lock' AND query NOT LIKE '%subject%'";
            (connections(&watcher, "behind_an_edit", what).await > 0).then_some(())
        })
        .await;
        for nth in 0..3 {
            let begun = Instant::now();
            desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", login.clone()).expect(200).await;
            desk.get("/health/ready").expect(200).await;
            desk.get("/v1/me").by(&agent).expect(200).await;
            desk.get(&team).by(&agent).expect(200).await;
            desk.patch(&team).by(&admin).json(&json!({ "description": nth.to_string() })).expect(200).await;
            assert!(begun.elapsed() < SOON, "{lock}: {:?}", begun.elapsed());
        }
        // An edit that does not judge the ticket goes on when the other write lets it.
        let stuck = if is_row { &waiting[..1] } else { &waiting[..] };
        assert!(stuck.iter().all(|one| !one.is_finished()), "{lock}: they wait all the while");
        holder.batch_execute("ROLLBACK").await.unwrap();
        for one in waiting {
            one.await.unwrap();
        }
    }
    desk.close().await;
}

/// Many writes wait for a table that somebody has locked. Whoever writes something else is served meanwhile, and in the
/// end all are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_that_are_locked_out_leave_connections_to_others() {
    const TICKETS: usize = 80;
    // Far longer than it takes them, and far shorter than they would wait.
    const SOON: Duration = Duration::from_secs(20);
    for size in [4, 8, 16] {
        let store = Store::make(Engine::Postgres).await;
        let url: DatabaseUrl = named(&store, "locked_out").parse().unwrap();
        let open = |_: &DatabaseUrl| Db::open(&url, size, Duration::from_secs(60)).unwrap();
        let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let mut tickets = Vec::new();
        for _ in 0..TICKETS {
            tickets.push(desk.ticket(&agent, json!({})).await);
        }
        let (holder, watcher) = (connect(&desk.store).await, connect(&desk.store).await);
        holder.batch_execute("BEGIN; LOCK TABLE tickets IN EXCLUSIVE MODE").await.unwrap();
        let patch = |ticket: &Value| {
            let path = format!("/v1/tickets/{}", ticket["number"]);
            desk.patch(&path).by(&agent).json(&json!({ "subject": "Later" })).expect(200)
        };
        let waiting: Vec<_> = tickets.iter().map(|ticket| tokio::spawn(patch(ticket))).collect();
        until("writes to wait", async || {
            (connections(&watcher, "locked_out", "wait_event_type = 'Lock'").await > 0).then_some(())
        })
        .await;
        for nth in 0..5 {
            let begun = Instant::now();
            let team = json!({ "name": format!("Team {size} {nth}") });
            let team = tokio::time::timeout(SOON, desk.post("/v1/teams").by(&admin).json(&team).expect(201)).await;
            let team = team.expect("a team is made meanwhile").body;
            // Not a person: of that there is an event, and PostgreSQL locks `tickets` for each, whatever it is about.
            let account = json!({ "name": format!("Script {nth}"), "scopes": ["tickets:read"] });
            let account = desk.post("/v1/service-accounts").by(&admin).json(&account).expect(201);
            tokio::time::timeout(SOON, account).await.expect("an account is made meanwhile");
            let path = format!("/v1/teams/{}", team["id"].as_str().unwrap());
            let change = desk.patch(&path).by(&admin).json(&json!({ "description": "d" })).expect(200);
            tokio::time::timeout(SOON, change).await.expect("a team is changed meanwhile");
            tell(&format!("a pool of {size}: three writes beside {TICKETS} that wait took {:?}", begun.elapsed()));
        }
        assert!(waiting.iter().all(|one| !one.is_finished()), "they wait all the while");
        holder.batch_execute("ROLLBACK").await.unwrap();
        for one in waiting {
            let ticket = one.await.unwrap().body;
            assert_eq!((&ticket["subject"], &ticket["version"]), (&json!("Later"), &json!(2)));
        }
        desk.close().await;
    }
}

#[expect(clippy::print_stdout, reason = "figures for whoever measures")]
fn tell(figures: &str) {
    println!("{figures}");
}

/// A table is locked that single things are read from. Who asks for something else is served, though it is read on the
/// same lines.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_things_do_not_stand_behind_those_that_are_locked() {
    let store = Store::make(Engine::Postgres).await;
    let url: DatabaseUrl = named(&store, "behind_a_lock").parse().unwrap();
    let open = |_: &DatabaseUrl| Db::open(&url, 16, Duration::from_secs(60)).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let agent = desk.agent().await;
    let ticket = desk.ticket(&agent, json!({})).await;
    let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
    let (holder, watcher) = (connect(&desk.store).await, connect(&desk.store).await);
    holder.batch_execute("BEGIN; LOCK TABLE tickets IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting: Vec<_> = (0..12).map(|_| tokio::spawn(desk.get(&path).by(&agent).expect(200))).collect();
    until("a read to wait for the lock", async || {
        (connections(&watcher, "behind_a_lock", "wait_event_type = 'Lock'").await > 0).then_some(())
    })
    .await;
    for _ in 0..3 {
        // Readiness waits for two seconds.
        desk.get("/health/ready").expect(200).await;
        desk.get("/v1/me").by(&agent).expect(200).await;
    }
    assert!(waiting.iter().all(|one| !one.is_finished()));
    holder.batch_execute("ROLLBACK").await.unwrap();
    for one in waiting {
        assert_eq!(one.await.unwrap().body["id"], ticket["id"]);
    }
    desk.close().await;
}

/// Trials of a policy are reports: of one caller two are at work, and lists and reports of others have their
/// connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn previews_of_one_caller_leave_connections_to_others() {
    let store = Store::make(Engine::Postgres).await;
    let url: DatabaseUrl = named(&store, "previews").parse().unwrap();
    let open = |_: &DatabaseUrl| Db::open(&url, 16, Duration::from_secs(60)).unwrap();
    let desk = Desk::open_at(store, open, vec![], |settings| settings).await;
    let (admin, agent) = (desk.admin().await, desk.agent().await);
    desk.ticket(&agent, json!({})).await;
    let (holder, watcher) = (connect(&desk.store).await, connect(&desk.store).await);
    holder.batch_execute("BEGIN; LOCK TABLE ticket_clocks IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let targets = json!([{ "target": "response", "target_s": 3600, "hours": "calendar" }]);
    let trial = json!({ "policy": { "name": "Draft", "targets": targets }, "from": "2026-03-01T00:00:00.000000Z", "to": "2026-03-03T00:00:00.000000Z" });
    let preview = || desk.post("/v1/sla/policies/preview").by(&admin).json(&trial).expect(200);
    let waiting: Vec<_> = (0..16).map(|_| tokio::spawn(preview())).collect();
    until("a preview to wait for the lock", async || {
        (connections(&watcher, "previews", "wait_event_type = 'Lock'").await > 0).then_some(())
    })
    .await;
    for _ in 0..8 {
        desk.get("/v1/users?limit=1").by(&agent).expect(200).await;
        desk.get("/v1/teams").by(&agent).expect(200).await;
    }
    assert!(connections(&watcher, "previews", "wait_event_type = 'Lock'").await <= 2);
    assert!(waiting.iter().all(|one| !one.is_finished()));
    holder.batch_execute("ROLLBACK").await.unwrap();
    for one in waiting {
        assert_eq!(one.await.unwrap().body["tickets"], 1);
    }
    desk.close().await;
}

/// A legal list of tickets for each `nth`, each another one.
fn list(nth: usize) -> String {
    const LIMITS: [usize; 5] = [10, 25, 50, 100, 200];
    const SORTS: [&str; 8] =
        ["created_at", "-created_at", "updated_at", "-updated_at", "priority", "-priority", "due_at", "-due_at"];
    const FILTERS: [&str; 12] = [
        "status=open",
        "priority=high",
        "type=incident",
        "channel=email",
        "assignee_id=me",
        "tag=vip",
        "created_after=2026-01-01T00:00:00.000000Z",
        "created_before=2027-01-01T00:00:00.000000Z",
        "updated_after=2026-01-01T00:00:00.000000Z",
        "updated_before=2027-01-01T00:00:00.000000Z",
        "sla=breached",
        "external_id=7",
    ];
    let (limit, rest) = (LIMITS[nth % 5], nth / 5);
    let (sort, chosen) = (SORTS[rest % 8], rest / 8);
    let filters = FILTERS.iter().enumerate().filter(|(place, _)| chosen >> place & 1 == 1);
    let filters: String = filters.map(|(_, filter)| format!("&{filter}")).collect();
    format!("/v1/tickets?limit={limit}&sort={sort}{filters}")
}

/// What a process holds of its own, in bytes.
fn held_b(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// Asks for so many different lists, and compares what is held after them with what is held after the first hundred.
#[expect(clippy::print_stdout, reason = "the figures")]
async fn different_lists_take_little_memory(count: usize) {
    const MOST_B: u64 = 32 << 20;
    let store = Store::make(Engine::Postgres).await;
    let place = Place::on(&store)
        .with("DATABASE_URL", named(&store, "different_lists"))
        .with("SKRANKE_MIGRATE_ON_START", "true")
        .with("SKRANKE_DATABASE_POOL_SIZE", "4")
        .with("SKRANKE_REQUESTS_PER_PRINCIPAL", "0")
        .with("SKRANKE_REQUESTS_PER_ADDRESS", "0")
        .with("SKRANKE_WORKERS", "1");
    let server = place.start().await;
    let admin = place.person("admin").await;
    let client = connect(&store).await;
    let ask = async |some: std::ops::Range<usize>| {
        for nth in some {
            server.ask(Method::GET, &list(nth)).by(&admin).expect(200).await;
        }
    };
    // Those of the process and of each of its connections.
    let held = async || {
        let sql = "SELECT pid FROM pg_stat_activity WHERE application_name = 'different_lists' ORDER BY pid";
        let pids = client.query(sql, &[]).await.unwrap();
        let backends = pids.iter().map(|row| held_b(row.get::<_, i32>(0).try_into().unwrap()));
        (held_b(server.process.id()), backends.max().unwrap())
    };
    ask(0..100).await;
    let before = held().await;
    ask(100..count).await;
    let after = held().await;
    let more = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
    println!(
        "after {count} different lists {} KiB more in the process, {} KiB in a backend",
        more.0 >> 10,
        more.1 >> 10
    );
    assert!(more.0 <= MOST_B && more.1 <= MOST_B, "{before:?} became {after:?}");
    server.stop().await;
    store.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_few_thousand_different_lists_take_little_memory() {
    different_lists_take_little_memory(2_500).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it with --ignored"]
async fn a_hundred_thousand_different_lists_take_little_memory() {
    different_lists_take_little_memory(100_000).await;
}
