//! `/metrics`: what it says, in which form, and that it says the same whenever the tally is folded.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use skranke::app::document;
use skranke::db::Db;
use skranke::tally::domain::Series;
use skranke::tally::service::fold;
use skranke::tally::store::{Totals, totals};

use crate::on_both;
use crate::support::{Caller, Chance, Desk, seed};

const STATUSES: [&str; 6] = ["new", "open", "waiting_requester", "waiting_third_party", "resolved", "closed"];
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "urgent"];

/// A series: its name, and its labels in the order of the alphabet.
type Key = (String, BTreeMap<String, String>);

/// An answer of `/metrics`, read as strictly as it is written.
struct Scrape {
    samples: BTreeMap<Key, f64>,
    types: BTreeMap<String, String>,
}

fn key(name: &str, labels: &[(&str, &str)]) -> Key {
    (name.to_owned(), labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

impl Scrape {
    fn read(text: &str) -> Self {
        let sample = regex::Regex::new(r#"^([a-z0-9_]+)(?:\{(.*)\})? (\S+)$"#).unwrap();
        let label = regex::Regex::new(r#"(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)"#).unwrap();
        let (mut samples, mut types) = (BTreeMap::new(), BTreeMap::new());
        for line in text.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                if words.next() == Some("TYPE") {
                    let there = types.insert(words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
                    assert_eq!(there, None, "a family twice: {line}");
                }
                continue;
            }
            let parts = sample.captures(line).unwrap_or_else(|| panic!("not a sample: {line}"));
            let labels = parts.get(2).map_or("", |labels| labels.as_str());
            let read: String = label.find_iter(labels).map(|found| found.as_str()).collect();
            assert_eq!(read, labels, "not labels: {line}");
            let unescape = |text: &str| text.replace("\\\"", "\"").replace("\\\\", "\\");
            let labels = label.captures_iter(labels).map(|l| (l[1].to_owned(), unescape(&l[2]))).collect();
            let there = samples.insert((parts[1].to_owned(), labels), parts[3].parse().unwrap());
            assert_eq!(there, None, "a series twice: {line}");
        }
        Self { samples, types }
    }

    /// The value of a series that must be there.
    fn get(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        *self.samples.get(&key(name, labels)).unwrap_or_else(|| panic!("no {name} with {labels:?}"))
    }

    /// All series of this name.
    fn all(&self, name: &str) -> BTreeMap<Key, f64> {
        let named = self.samples.iter().filter(|((known, _), _)| known == name);
        named.map(|(key, value)| (key.clone(), *value)).collect()
    }

    fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().filter(|((_, labels), _)| !of_business(labels)).map(|(_, n)| n).sum()
    }

    /// What the tally says, which no scrape changes.
    fn kept(&self) -> BTreeMap<Key, f64> {
        let kept = |name: &str| name.starts_with("skranke_tickets") || name.starts_with("skranke_response_seconds");
        let all = self.samples.iter().filter(|((name, labels), _)| kept(name) && !of_business(labels));
        all.map(|(key, value)| (key.clone(), *value)).collect()
    }
}

/// Business hours have tests of their own.
fn of_business(labels: &BTreeMap<String, String>) -> bool {
    labels.get("hours").is_some_and(|hours| hours == "business")
}

async fn scrape_at(desk: &Desk, url: &str, who: &Caller) -> Scrape {
    let answer = desk.ask_at(url, reqwest::Method::GET, "/metrics").by(who).expect(200).await;
    assert_eq!(answer.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(answer.text().ends_with("\n# EOF\n"));
    Scrape::read(&answer.text())
}

async fn scrape(desk: &Desk, who: &Caller) -> Scrape {
    scrape_at(desk, &desk.url, who).await
}

async fn team(desk: &Desk, admin: &Caller, name: &str) -> Value {
    desk.post("/v1/teams").by(admin).json(&json!({ "name": name })).expect(201).await.body
}

async fn read(db: &Db) -> Totals {
    let all = db.snapshot(async |conn| totals(conn, Series::ALL).await).await.unwrap();
    // All but what a fold spreads into other cells.
    let series: Vec<_> = Series::ALL.iter().copied().filter(|series| *series != Series::Waiting).collect();
    Totals { sums: all.sums.of_these(&series), ..all }
}

/// What the tally must say, counted by hand.
#[derive(Default)]
struct Model(BTreeMap<Key, f64>);

impl Model {
    fn add(&mut self, name: &str, labels: &[(&str, &str)], n: f64) {
        *self.0.entry(key(name, labels)).or_default() += n;
    }

    fn agrees(&self, scrape: &Scrape, prefix: &str) {
        let there = scrape.kept().into_iter().filter(|((name, _), value)| name.starts_with(prefix) && *value != 0.0);
        let mine = self.0.iter().filter(|((name, _), value)| name.starts_with(prefix) && **value != 0.0);
        assert_eq!(there.collect::<BTreeMap<_, _>>(), mine.map(|(key, value)| (key.clone(), *value)).collect());
    }
}

/// The gauge of tickets, counted from the list.
async fn recount(desk: &Desk, who: &Caller) -> Model {
    let mut model = Model::default();
    for ticket in desk.all(who, "/v1/tickets?limit=200").await {
        let team = ticket["team"]["name"].as_str().unwrap_or("none");
        let labels = [
            ("status", ticket["status"].as_str().unwrap()),
            ("priority", ticket["priority"].as_str().unwrap()),
            ("team", team),
        ];
        model.add("skranke_tickets", &labels, 1.0);
    }
    model
}

on_both! {
    async fn every_series_is_there_from_the_start(desk) {
        let admin = desk.admin().await;
        for name in ["Printers", "Networks"] {
            team(desk, &admin, name).await;
        }
        let empty = scrape(desk, &admin).await;
        for team in ["Printers", "Networks", "none"] {
            for priority in PRIORITIES {
                for status in STATUSES {
                    assert_eq!(empty.get("skranke_tickets", &[("status", status), ("priority", priority), ("team", team)]), 0.0);
                }
                for name in ["created", "resolved", "reopened"] {
                    let name = format!("skranke_tickets_{name}_total");
                    assert_eq!(empty.get(&name, &[("priority", priority), ("team", team)]), 0.0);
                }
            }
        }
        assert_eq!((empty.all("skranke_tickets").len(), empty.all("skranke_tickets_created_total").len()), (6 * 4 * 3, 4 * 3));
        let bounds: Vec<String> = (4..=23).map(|e| format!("{:.1}", f64::from(1 << e))).chain(["+Inf".into()]).collect();
        for priority in PRIORITIES {
            let labels = [("priority", priority), ("hours", "calendar")];
            for bound in &bounds {
                assert_eq!(empty.get("skranke_response_seconds_bucket", &[labels[0], labels[1], ("le", bound)]), 0.0);
            }
            assert_eq!(empty.get("skranke_response_seconds_sum", &labels) + empty.get("skranke_response_seconds_count", &labels), 0.0);
        }
        for name in ["skranke_response_seconds_bucket", "skranke_service_seconds_bucket"] {
            assert_eq!(empty.all(name).len(), 4 * 2 * 21);
        }
        for (name, series) in [("skranke_sla_clocks", 9), ("skranke_sla_clocks_due_soon", 3), ("skranke_sla_met_total", 12), ("skranke_sla_breached_total", 12)] {
            assert_eq!((empty.all(name).len(), empty.sum(name)), (series, 0.0), "{name}");
        }

        let document: Value = serde_json::from_str(document::CHECKED_IN).unwrap();
        let mut operations = vec![("other".to_owned(), "other".to_owned())];
        for (path, methods) in document["paths"].as_object().unwrap() {
            operations.extend(methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone())));
        }
        assert!(operations.len() > 30);
        for (method, route) in &operations {
            let place = [("method", method.as_str()), ("route", route.as_str())];
            for class in ["2xx", "3xx", "4xx", "5xx"] {
                empty.get("skranke_http_requests_total", &[place[0], place[1], ("status", class)]);
            }
            empty.get("skranke_http_request_duration_seconds_count", &place);
            empty.get("skranke_http_request_duration_seconds_bucket", &[place[0], place[1], ("le", "0.00048828125")]);
        }
        assert_eq!(empty.all("skranke_http_requests_total").len(), operations.len() * 4);
        assert_eq!(empty.all("skranke_http_request_duration_seconds_bucket").len(), operations.len() * 16);
    }

    async fn the_numbers_are_those_of_the_tickets(desk) {
        let admin = desk.admin().await;
        let teams = [team(desk, &admin, "Printers").await, team(desk, &admin, "Networks").await];
        let other = desk.another_instance();
        let mut model = Model::default();
        for i in 0..24usize {
            let (priority, later) = (PRIORITIES[i % 4], PRIORITIES[(i / 4) % 4]);
            let team = [Some(&teams[0]), Some(&teams[1]), None][i % 3];
            let (id, name) = (team.map_or(Value::Null, |t| t["id"].clone()), team.map_or("none", |t| t["name"].as_str().unwrap()));
            // Reported elsewhere, that long ago.
            let waited = [3, 16, 17, 1000, 90_000, 9_000_000][i % 6];
            let reported_at = desk.clock.now().plus_s(-waited);
            let new = json!({ "priority": priority, "team_id": id, "reported_at": reported_at });
            let ticket = desk.ticket(&admin, new).await;
            let was = [("priority", priority), ("team", name)];
            model.add("skranke_tickets_created_total", &was, 1.0);
            if i % 5 == 0 {
                continue;
            }
            desk.patch_ticket(&admin, &ticket, json!({ "status": "open" })).await;
            let calendar = [("priority", priority), ("hours", "calendar")];
            for exponent in 4..=24 {
                let bound = if exponent == 24 { "+Inf".to_owned() } else { format!("{:.1}", f64::from(1 << exponent)) };
                let within = exponent == 24 || waited <= 1 << exponent;
                model.add("skranke_response_seconds_bucket", &[calendar[0], calendar[1], ("le", &bound)], f64::from(u8::from(within)));
            }
            model.add("skranke_response_seconds_sum", &calendar, f64::from(i32::try_from(waited).unwrap()));
            model.add("skranke_response_seconds_count", &calendar, 1.0);
            if i % 7 == 0 {
                fold(&desk.db, 3).await.unwrap();
            }

            // What happens counts for the priority and the team of that moment.
            let moved = json!({ "priority": later, "team_id": teams[0]["id"], "status": "resolved" });
            desk.patch_ticket(&admin, &ticket, moved).await;
            let now = [("priority", later), ("team", "Printers")];
            model.add("skranke_tickets_resolved_total", &now, 1.0);
            if i % 2 == 0 {
                desk.patch_ticket(&admin, &ticket, json!({ "status": "open" })).await;
                model.add("skranke_tickets_reopened_total", &now, 1.0);
                desk.patch_ticket(&admin, &ticket, json!({ "status": "resolved" })).await;
                model.add("skranke_tickets_resolved_total", &now, 1.0);
            }
            if i % 3 == 0 {
                desk.patch_ticket(&admin, &ticket, json!({ "status": "closed" })).await;
            }
        }
        let unfolded = scrape(desk, &admin).await;
        assert!(unfolded.get("skranke_tally_unfolded", &[]) > 0.0);
        for prefix in ["skranke_tickets_", "skranke_response_seconds"] {
            model.agrees(&unfolded, prefix);
        }
        let gauge = recount(desk, &admin).await;
        assert_eq!(unfolded.all("skranke_tickets").into_iter().filter(|(_, n)| *n != 0.0).collect::<BTreeMap<_, _>>(), gauge.0);
        fold(&desk.db, 500).await.unwrap();
        let folded = scrape_at(desk, &other, &admin).await;
        assert_eq!(folded.get("skranke_tally_unfolded", &[]), 0.0);
        assert_eq!(folded.kept(), unfolded.kept());

        // What a migration makes of tickets that were there before is the same; but for the team of what has happened,
        // which is the one that each ticket is in now.
        let migration = if desk.db.engine() == "sqlite" {
            include_str!("../../migrations/sqlite/0004_tallies/up.sql")
        } else {
            include_str!("../../migrations/postgres/0004_tallies/up.sql")
        };
        let refill = migration.split_once("-- What has happened before").unwrap().1.split_once('\n').unwrap().1;
        let refill = refill.replace("(series, labels, hour, n)", "(series, labels, quarter, n)");
        desk.store.run(&format!("DELETE FROM tallies; {refill}")).await;
        let refilled = scrape(desk, &admin).await;
        assert_eq!(refilled.all("skranke_tickets"), folded.all("skranke_tickets"));
        for name in ["skranke_tickets_created_total", "skranke_tickets_resolved_total", "skranke_tickets_reopened_total",
            "skranke_response_seconds_bucket", "skranke_response_seconds_sum"] {
            assert_eq!(refilled.sum(name), folded.sum(name), "{name}");
        }
        let le = |scrape: &Scrape, bound: &str| {
            PRIORITIES.iter().map(|p| scrape.get("skranke_response_seconds_bucket", &[("priority", p), ("hours", "calendar"), ("le", bound)])).sum::<f64>()
        };
        for bound in ["16.0", "32.0", "1024.0", "131072.0", "8388608.0", "+Inf"] {
            assert_eq!(le(&refilled, bound), le(&folded, bound), "{bound}");
        }
    }

    async fn a_change_that_counts_nothing_adds_nothing(desk) {
        let agent = desk.agent().await;
        let ticket = desk.ticket(&agent, json!({})).await;
        desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
        let before = read(&desk.db).await;
        assert_eq!(before.unfolded, 2);
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        desk.patch_ticket(&agent, &ticket, json!({ "subject": "Other", "custom_fields": { "a": 1 }, "status": "open" })).await;
        for visibility in ["internal", "public"] {
            let comment = json!({ "body": "b", "visibility": visibility });
            desk.post(&format!("{path}/comments")).by(&agent).json(&comment).expect(201).await;
        }
        desk.patch(&path).by(&agent).json(&json!({ "priority": "high", "status": "new" })).refused(409, "illegal_transition").await;
        desk.patch(&path).by(&agent).header("if-match", "\"1\"").json(&json!({ "priority": "high" })).refused(412, "version_mismatch").await;
        let again = json!({ "subject": "s", "external_id": "x" });
        for _ in 0..2 {
            desk.post("/v1/tickets").by(&agent).header("idempotency-key", "k").json(&again).expect(201).await;
        }
        let after = read(&desk.db).await;
        assert_eq!(after.unfolded, 3, "the one that was opened");
        assert_eq!(scrape(desk, &agent).await.sum("skranke_tickets"), 2.0);
    }

    async fn teams_are_called_as_they_are_called_now(desk) {
        let admin = desk.admin().await;
        let (printers, gone) = (team(desk, &admin, "Printers").await, team(desk, &admin, "Gone").await);
        let path = |team: &Value| format!("/v1/teams/{}", team["id"].as_str().unwrap());
        let ticket = desk.ticket(&admin, json!({ "team_id": gone["id"] })).await;
        desk.ticket(&admin, json!({ "team_id": printers["id"] })).await;
        desk.ticket(&admin, json!({})).await;

        let odd = r#"a "quoted", back\slashed {team}=1 – Ærø"#;
        desk.patch(&path(&printers)).by(&admin).json(&json!({ "name": odd })).expect(200).await;
        let renamed = scrape(desk, &admin).await;
        assert_eq!(renamed.get("skranke_tickets", &[("status", "new"), ("priority", "normal"), ("team", odd)]), 1.0);
        assert_eq!(renamed.get("skranke_tickets_created_total", &[("priority", "normal"), ("team", odd)]), 1.0);
        assert!(!renamed.samples.keys().any(|(_, labels)| labels.get("team").is_some_and(|team| team == "Printers")));

        desk.patch_ticket(&admin, &ticket, json!({ "team_id": printers["id"] })).await;
        desk.delete(&path(&gone)).by(&admin).expect(204).await;
        let removed = scrape(desk, &admin).await;
        assert_eq!(removed.get("skranke_tickets", &[("status", "new"), ("priority", "normal"), ("team", odd)]), 2.0);
        assert_eq!(removed.sum("skranke_tickets"), 3.0);
        // What it has counted goes with it: nothing else jumps.
        assert_eq!(removed.sum("skranke_tickets_created_total"), 2.0);
        assert_eq!(removed.all("skranke_tickets_created_total").len(), 4 * 2);

        // A name that means something here is added to what it means.
        desk.patch(&path(&printers)).by(&admin).json(&json!({ "name": "none" })).expect(200).await;
        assert_eq!(scrape(desk, &admin).await.get("skranke_tickets", &[("status", "new"), ("priority", "normal"), ("team", "none")]), 3.0);
    }

    async fn a_hundred_teams_have_names(desk) {
        let admin = desk.admin().await;
        let mut teams = Vec::new();
        for nth in 0..103 {
            teams.push(team(desk, &admin, &format!("Team {nth}")).await);
        }
        for nth in [0, 99, 100, 102] {
            desk.ticket(&admin, json!({ "team_id": teams[nth]["id"] })).await;
        }
        let scraped = scrape(desk, &admin).await;
        assert_eq!(scraped.all("skranke_tickets").len(), 6 * 4 * 102);
        let new = |team: &str| scraped.get("skranke_tickets", &[("status", "new"), ("priority", "normal"), ("team", team)]);
        assert_eq!([new("Team 0"), new("Team 99"), new("other"), new("none")], [1.0, 1.0, 2.0, 0.0]);
        assert_eq!(scraped.get("skranke_tickets_created_total", &[("priority", "normal"), ("team", "other")]), 2.0);
    }

    async fn it_is_given_in_the_form_that_is_wanted(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        let get = || desk.get("/metrics").by(&agent);
        let open = scrape(desk, &agent).await;
        for (family, kind) in [
            ("skranke_tickets", "gauge"), ("skranke_tickets_created", "counter"), ("skranke_http_requests", "counter"),
            ("skranke_response_seconds", "histogram"), ("skranke_build", "info"),
        ] {
            assert_eq!(open.types[family], kind);
        }
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert!(get().header("accept", prometheus).expect(200).await.header("content-type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"));

        let classic = get().header("accept", "text/plain").expect(200).await;
        assert_eq!(classic.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert!(classic.header("vary").unwrap().contains("accept"));
        assert!(!classic.text().contains("# EOF") && !classic.text().contains("# UNIT"));
        let read = Scrape::read(&classic.text());
        for (family, kind) in [
            ("skranke_tickets", "gauge"), ("skranke_tickets_created_total", "counter"), ("skranke_http_requests_total", "counter"),
            ("skranke_response_seconds", "histogram"), ("skranke_build_info", "gauge"),
        ] {
            assert_eq!(read.types[family], kind);
        }
        assert_eq!(read.kept(), open.kept());
        assert_eq!(read.samples.len(), open.samples.len());

        let head = desk.ask(reqwest::Method::HEAD, "/metrics").by(&agent).expect(200).await;
        assert!(head.bytes.is_empty());
        get().header("accept", "application/json").refused(406, "not_acceptable").await;
        desk.get("/metrics?name=x").by(&agent).refused(400, "invalid_query").await;
        desk.post("/metrics").by(&agent).refused(405, "method_not_allowed").await;
    }

    async fn the_service_counts_its_own_requests(desk) {
        let agent = desk.agent().await;
        let other = desk.another_instance();
        let before = scrape(desk, &agent).await;
        assert_eq!(before.get("skranke_http_requests_in_flight", &[]), 1.0, "the scrape itself");
        let ticket = desk.ticket(&agent, json!({})).await;
        for path in ["/v1/tickets/1", &format!("/v1/tickets/{}", ticket["id"].as_str().unwrap())] {
            desk.get(path).by(&agent).expect(200).await;
        }
        desk.ask(reqwest::Method::HEAD, "/v1/tickets/1").by(&agent).expect(200).await;
        desk.get("/v1/tickets/1").by(&agent).header("if-none-match", "\"1\"").expect(304).await;
        desk.get("/v1/tickets/99").by(&agent).expect(404).await;
        desk.get("/v1/tickets/1").expect(401).await;
        // Whatever else is asked for makes no series.
        for path in ["/", "/v1/nowhere", "/v1/tickets/1/nowhere", "/metrics/", "/%7Bid%7D", "/docs/nowhere.js"] {
            desk.get(path).by(&agent).expect(404).await;
        }
        desk.ask(reqwest::Method::from_bytes(b"BREW").unwrap(), "/v1/tickets/1").by(&agent).expect(405).await;
        desk.ask(reqwest::Method::from_bytes(b"BREW").unwrap(), "/tea").by(&agent).expect(404).await;

        let after = scrape(desk, &agent).await;
        let count = |scrape: &Scrape, method, route, status| {
            scrape.get("skranke_http_requests_total", &[("method", method), ("route", route), ("status", status)])
        };
        assert_eq!(count(&after, "POST", "/v1/tickets", "2xx"), 1.0);
        let one = ["2xx", "3xx", "4xx", "5xx"].map(|class| count(&after, "GET", "/v1/tickets/{id}", class));
        assert_eq!(one, [3.0, 1.0, 2.0, 0.0]);
        assert_eq!(after.get("skranke_http_request_duration_seconds_count", &[("method", "GET"), ("route", "/v1/tickets/{id}")]), 6.0);
        assert!(after.get("skranke_http_request_duration_seconds_sum", &[("method", "GET"), ("route", "/v1/tickets/{id}")]) > 0.0);
        assert_eq!(count(&after, "other", "other", "4xx"), 8.0);
        assert_eq!(count(&after, "GET", "/metrics", "2xx"), 1.0, "the scrape before");
        let names = |scrape: &Scrape| scrape.samples.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before));
        // Each server counts for itself, also in one process.
        assert_eq!(count(&scrape_at(desk, &other, &agent).await, "POST", "/v1/tickets", "2xx"), 0.0);
    }

    async fn it_tells_how_busy_the_database_is(desk) {
        let agent = desk.agent().await;
        let engine = desk.db.engine();
        let quiet = scrape(desk, &agent).await;
        assert_eq!(quiet.get("skranke_build_info", &[("version", env!("CARGO_PKG_VERSION")), ("engine", engine)]), 1.0);
        assert!(quiet.get("skranke_db_connections", &[("state", "idle")]) >= 1.0);
        if engine == "postgres" {
            assert_eq!(quiet.get("skranke_db_connections_max", &[]), 8.0);
        } else {
            assert_eq!(quiet.get("skranke_db_writes_waiting", &[]), 0.0);
        }
        // Somebody else keeps us from writing: what we do about it is seen.
        let hold = desk.store.hold().await;
        let stuck = || async { desk.ticket(&agent, json!({})).await };
        let watch = async {
            let begun = Instant::now();
            loop {
                let busy = scrape(desk, &agent).await;
                let waiting = busy.samples.get(&key("skranke_db_writes_waiting", &[])).copied();
                if busy.get("skranke_db_connections", &[("state", "in_use")]) >= 1.0 && waiting.is_none_or(|n| n == 2.0)
                    && busy.get("skranke_http_requests_in_flight", &[]) == 3.0 {
                    break;
                }
                assert!(begun.elapsed() < Duration::from_secs(4), "nothing is seen to wait");
            }
            hold.release().await;
        };
        futures::join!(stuck(), stuck(), watch);
        let quiet = scrape(desk, &agent).await;
        assert_eq!(quiet.samples.get(&key("skranke_db_writes_waiting", &[])).copied().unwrap_or(0.0), 0.0);
        assert_eq!(quiet.get("skranke_http_requests_in_flight", &[]), 1.0);
    }

    /// Three fold at once, in small bites, while others read and write: nothing is counted twice, and every reading is
    /// that of some moment.
    async fn a_fold_is_never_seen(desk) {
        let agent = desk.agent().await;
        for _ in 0..60 {
            desk.ticket(&agent, json!({})).await;
        }
        let still = read(&desk.db).await;
        assert_eq!(still.unfolded, 60);
        let second = Db::open(&desk.store.url, 8, Duration::from_secs(5)).unwrap();
        let folding = |db: Db, at_once| async move {
            loop {
                // One that has lost too often tries later.
                match fold(&db, at_once).await {
                    Ok(_) if read(&db).await.unfolded == 0 => return,
                    Ok(_) => {}
                    Err(problem) => assert_eq!(problem.code().as_str(), "unavailable", "{problem}"),
                }
            }
        };
        let readers = (0..2).map(|nth| {
            let (db, sums) = ([&desk.db, &second][nth].clone(), still.sums.clone());
            tokio::spawn(async move {
                let mut seen = 0;
                loop {
                    let now = read(&db).await;
                    assert_eq!(now.sums, sums);
                    seen += 1;
                    if now.unfolded == 0 {
                        return seen;
                    }
                    tokio::task::yield_now().await;
                }
            })
        });
        let readers: Vec<_> = readers.collect();
        let folders = [tokio::spawn(folding(desk.db.clone(), 1)), tokio::spawn(folding(second.clone(), 2)), tokio::spawn(folding(second.clone(), 1))];
        for folder in join_all(folders).await {
            folder.unwrap();
        }
        for reader in join_all(readers).await {
            assert!(reader.unwrap() > 0);
        }

        // While tickets come in, too.
        let (writing, folding) = (async {
            for _ in 0..30 {
                desk.ticket(&agent, json!({})).await;
            }
        }, async {
            for _ in 0..30 {
                let folded = fold(&second, 2).await;
                assert!(folded.is_ok() || folded.is_err_and(|problem| problem.code().as_str() == "unavailable"));
                let sum = scrape(desk, &agent).await.sum("skranke_tickets");
                assert!((60.0..=90.0).contains(&sum), "{sum}");
            }
        });
        futures::join!(writing, folding);
        let read = scrape(desk, &agent).await;
        assert_eq!((read.sum("skranke_tickets"), read.sum("skranke_tickets_created_total")), (90.0, 90.0));
    }

    async fn it_costs_the_same_however_many_tickets_there_are(desk) {
        let agent = desk.agent().await;
        let mut cells = Vec::new();
        for _ in 0..2 {
            for nth in 0..20usize {
                let ticket = desk.ticket(&agent, json!({ "priority": PRIORITIES[nth % 4] })).await;
                desk.clock.pass_s(5);
                desk.patch_ticket(&agent, &ticket, json!({ "status": "open" })).await;
                desk.patch_ticket(&agent, &ticket, json!({ "status": "resolved" })).await;
            }
            fold(&desk.db, 500).await.unwrap();
            let totals = read(&desk.db).await;
            assert_eq!(totals.unfolded, 0);
            cells.push(totals.sums.iter().map(|(cell, _)| cell.clone()).collect::<Vec<_>>());
        }
        assert_eq!(cells[0], cells[1]);
        // Four priorities: where they stand, opened, resolved; of both kinds of hours the bucket and the sum of
        // responses, and the bucket of service, which took no time. What has come back to 0 is gone.
        assert_eq!(cells[0].len(), 4 * (3 + 2 * 2 + 2));
    }
}

on_both! {
    /// Clocks: gauges are what a recount of the tickets comes to at every step of a history, counters never fall, and a
    /// breach shows though nothing is written.
    async fn clocks_are_counted_as_they_stand(desk) {
        let monitor = desk.account("metrics:read").await;
        let reader = desk.account("tickets:read").await;
        let mut chance = Chance(seed());
        let last = RefCell::new(BTreeMap::<Key, f64>::new());
        let look = async || {
            let seen = scrape(desk, &monitor).await;
            let mut gauges: BTreeMap<Key, f64> = BTreeMap::new();
            for target in ["response", "first_reply", "service"] {
                for state in ["running", "paused", "breached"] {
                    gauges.insert(key("skranke_sla_clocks", &[("target", target), ("state", state)]), 0.0);
                }
            }
            let mut soon = 0;
            for ticket in desk.all(&reader, "/v1/tickets?limit=200").await {
                for clock in ticket["clocks"].as_array().unwrap() {
                    let (target, state) = (clock["target"].as_str().unwrap(), clock["state"].as_str().unwrap());
                    let ended = match target {
                        "response" => ticket["started_at"].is_string(),
                        "first_reply" => ticket["first_replied_at"].is_string(),
                        _ => ticket["resolved_at"].is_string(),
                    };
                    if !ended {
                        *gauges.get_mut(&key("skranke_sla_clocks", &[("target", target), ("state", state)])).unwrap() += 1.0;
                    }
                    let left_us = clock["due_at"].as_str().map(|at| at.parse::<skranke::kernel::Instant>().unwrap().micros() - desk.clock.now().micros());
                    soon += i32::from(state == "running" && left_us.is_some_and(|left| left <= 3_600_000_000));
                }
            }
            assert_eq!(seen.all("skranke_sla_clocks"), gauges);
            assert_eq!(seen.sum("skranke_sla_clocks_due_soon"), f64::from(soon));
            let counters = |name: &str| name.ends_with("_total") || name.ends_with("_bucket") || name.ends_with("_count");
            let now: BTreeMap<_, _> = seen.samples.iter().filter(|((name, _), _)| counters(name) && !name.contains("http"))
                .map(|(key, n)| (key.clone(), *n)).collect();
            for (key, n) in last.borrow().iter() {
                assert!(now.get(key).is_some_and(|now| now >= n), "{key:?} fell from {n}");
            }
            last.replace(now);
            if desk.clock.now().micros() % 3 == 0 {
                fold(&desk.db, 7).await.unwrap();
            }
            if desk.clock.now().micros() % 5 == 0 {
                desk.write_down_breaches(3).await;
            }
        };
        crate::replay::live(desk, &mut chance, 90, &look).await;
        look().await;
        // Everything that runs becomes late by itself.
        let before = scrape(desk, &monitor).await;
        desk.clock.pass_s(300 * 86_400);
        look().await;
        let after = scrape(desk, &monitor).await;
        let running: f64 = before.all("skranke_sla_clocks").iter().filter(|((_, labels), _)| labels["state"] == "running").map(|(_, n)| n).sum();
        assert_eq!(after.sum("skranke_sla_breached_total"), before.sum("skranke_sla_breached_total") + running);
    }
}
