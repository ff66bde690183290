//! Internal comments and work leave no trace for whoever may not see them: neither in an answer, nor in what the
//! database is asked for it.

use std::collections::BTreeMap;
use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::app::document;
use skranke::tickets;

use crate::on_both;
use crate::support::{Answer, Caller, Desk, Heard};

/// Operations whose answer may differ from one request to the next without anybody doing anything. May only shrink.
const EXCEPTIONS: &[&str] = &["health_ready"];

/// A word of the subject, which the internal comments have, too, and more often.
const SHARED: &str = "printer";

/// All that a caller is told: status, every header but the date, and the body.
fn told(answer: &Answer) -> String {
    let mut text = format!("{}\n", answer.status);
    // The list of exposed headers has an order of each worker's own, and whether a connection goes on depends on
    // whether a body that nobody reads has come by then.
    let untold = ["connection", "date", "access-control-expose-headers"];
    let headers = answer.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
    let mut headers: Vec<_> = headers.filter(|(name, _)| !untold.contains(name)).collect();
    headers.sort_unstable();
    for (name, value) in headers {
        writeln!(text, "{name}: {value}").unwrap();
    }
    // A cursor of the feed is sealed anew each time: what it tells is its length.
    let sealed = Regex::new(r#""next_cursor":"([A-Za-z0-9_-]+)"\}\s*$"#).unwrap();
    let body = answer.text();
    let length = |found: &regex::Captures<'_>| format!("a cursor of {} characters", found[1].len());
    if answer.header("content-type") == Some("text/event-stream") {
        let ids = Regex::new("(?m)^id: ([A-Za-z0-9_-]+)$").unwrap();
        return text + &ids.replace(&body, length);
    }
    if answer.header("content-type") == Some("application/x-ndjson") {
        let first = Regex::new(r#"^\{"cursor":"([A-Za-z0-9_-]+)"\}"#).unwrap();
        return text + &first.replace(&body, length);
    }
    text + &if is_feed(answer) { sealed.replace(&body, length).into_owned() } else { body }
}

/// Whether it is one of the feed: other cursors tell a place in a list, and are no secret.
fn is_feed(answer: &Answer) -> bool {
    answer.body["next_cursor"].as_str().is_some_and(|cursor| !cursor.starts_with("eyJ"))
}

/// Somebody looks at an instance whose database is listened to.
struct Look<'a> {
    desk: &'a Desk,
    url: &'a str,
    heard: &'a Heard,
    who: &'a Caller,
    told: BTreeMap<String, String>,
}

impl Look<'_> {
    /// Notes what is answered, and which statements were run for it, with their parameters.
    async fn at(&mut self, method: &Method, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.heard.lock().unwrap().clear();
        let mut ask = self.desk.ask_at(self.url, method.clone(), path).by(self.who).header("x-request-id", "a-look");
        for (name, value) in headers {
            ask = ask.header(name, value);
        }
        if ![Method::GET, Method::HEAD, Method::DELETE].contains(method) {
            // Whoever may do it has their body refused: a look changes nothing.
            ask = ask.json(&json!({ "no such field": true }));
        }
        let answer = ask.send().await;
        // How far the log goes stands in what the feed asks the database for, and an export first, and in nothing that
        // they answer.
        let tells_position = |statement: &str| path.starts_with("/v1/exports") && statement.contains("position");
        let statements = match path.starts_with("/v1/changes") || path.contains("/stream") {
            true => String::new(),
            false => {
                let heard = self.heard.lock().unwrap();
                settled(&heard)
                    .into_iter()
                    .filter(|statement| !tells_position(statement))
                    .collect::<Vec<_>>()
                    .join("\n")
            }
        };
        let name = format!("{} {method} {path} {headers:?}", self.who.name);
        let before = self.told.insert(name.clone(), format!("{}\n\n{statements}", told(&answer)));
        assert!(before.is_none(), "looked at twice: {name}");
        answer
    }

    /// All that the feed tells from its start, in answers of one item.
    async fn feed(&mut self, path: &str) {
        let (mut next, mut nth) = (format!("{path}&from=start"), 0);
        loop {
            let page = self.desk.ask_at(self.url, Method::GET, &next).by(self.who).header("x-request-id", "a-look");
            let page = page.expect(200).await;
            assert!(self.told.insert(format!("{} {path} {nth}", self.who.name), told(&page)).is_none());
            if page.body["items"] == json!([]) {
                return;
            }
            (next, nth) = (format!("{path}&cursor={}", page.body["next_cursor"].as_str().unwrap()), nth + 1);
        }
    }

    /// All pages of a list.
    async fn along(&mut self, path: &str) {
        let mut next = path.to_owned();
        loop {
            let page = self.at(&Method::GET, &next, &[]).await;
            match page.body["next_cursor"].as_str() {
                // The end of the feed has one, too.
                Some(_) if page.body["items"] == json!([]) => return,
                Some(cursor) => next = format!("{path}{}cursor={cursor}", if path.contains('?') { '&' } else { '?' }),
                None => return,
            }
        }
    }
}

/// The statements without those of a list that SQLite has begun in place, and begun anew elsewhere when it took long:
/// how long is up to the machine.
fn settled(statements: &[String]) -> Vec<&str> {
    let all: Vec<&str> = statements.iter().map(String::as_str).collect();
    let Some(anew) = all.iter().position(|statement| *statement == "BEGIN DEFERRED") else { return all };
    // Who asks is known before.
    let (who, list) = (all.iter().take(1.min(anew)), all.iter().skip(anew + 1));
    who.chain(list.filter(|statement| **statement != "ROLLBACK")).copied().collect()
}

/// What the lists are asked for: every filter with values that fit and that do not, every order, and searches for words
/// that are in public texts, in internal ones, in both and in none.
fn questions(ticket: &Value, agent: &Caller) -> Vec<String> {
    let mut all = Vec::new();
    let instant = |field: &str| ticket[field].as_str().unwrap().to_owned();
    // Of the internal comments.
    let between = "2026-03-02T09:30:00.000000Z".to_owned();
    let mut filters = vec![
        ("status", vec!["new".into(), "open".into(), "resolved,closed".into()]),
        ("priority", vec!["normal".into(), "urgent".into()]),
        ("type", vec!["incident".into(), "problem".into()]),
        ("channel", vec!["api".into(), "email".into()]),
        ("team_id", vec!["none".into(), ticket["team"]["id"].as_str().unwrap().into()]),
        ("assignee_id", vec!["none".into(), "me".into(), agent.id.clone()]),
        ("requester_id", vec!["me".into(), "none".into(), agent.id.clone()]),
        ("tag", vec!["paper".into(), "internal".into()]),
        ("external_id", vec!["x".into()]),
        ("sla", vec!["breached".into(), "due_within:60".into(), "due_within:86400".into()]),
    ];
    for field in ["created", "updated"] {
        let bounds = vec![instant(&format!("{field}_at")), between.clone(), "2026-03-02T09:00:00.000001Z".into()];
        filters.push((if field == "created" { "created_after" } else { "updated_after" }, bounds.clone()));
        filters.push((if field == "created" { "created_before" } else { "updated_before" }, bounds));
    }
    for (name, values) in filters {
        all.extend(values.iter().map(|value| format!("{name}={value}")));
    }
    let orders =
        ["created_at", "-created_at", "updated_at", "-updated_at", "priority", "-priority", "due_at", "-due_at"];
    let words = [
        SHARED,
        "secretive",
        "hello",
        "smoke",
        "secret*",
        "-secretive",
        "-hello",
        "%22secretive+plan%22",
        "smoke+-secretive",
        "hello+secretive",
        "hello+-nowhere",
        "nowhere",
        "edited",
        "%22hello+hello%22",
        "workload",
    ];
    for order in orders {
        all.push(format!("sort={order}&limit=1"));
        all.push(format!("sort={order}&limit=1&q={SHARED}"));
        all.push(format!("sort={order}&updated_after={}", instant("updated_at")));
    }
    for word in words {
        all.push(format!("q={word}"));
        all.push(format!("q={word}&sort=relevance&limit=1"));
    }
    all
}

/// All that somebody can see or try, who has nothing to do with internal things.
async fn look(desk: &Desk, at: (&str, &Heard), who: &Caller, world: &World) -> BTreeMap<String, String> {
    let mut look = Look { desk, url: at.0, heard: at.1, who, told: BTreeMap::new() };
    let document: Value = serde_json::from_str(document::CHECKED_IN).unwrap();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            if EXCEPTIONS.contains(&operation["operationId"].as_str().unwrap()) {
                continue;
            }
            let method: Method = method.to_uppercase().parse().unwrap();
            // Work and what it costs are for scripts that read tickets, as are people and teams with their rates.
            let theirs = ["time-entries", "/cost", "/users", "/teams"].iter().any(|part| path.contains(part));
            if theirs && who.name.starts_with("script") {
                continue;
            }
            for path in world.places(path) {
                // Refused by its version, if by nothing before.
                look.at(&method, &path, &[("if-match", "\"77\"")]).await;
                if method == Method::GET {
                    let seen = look.at(&method, &path, &[]).await;
                    look.at(&Method::HEAD, &path, &[]).await;
                    if let Some(tag) = seen.header("etag").map(str::to_owned) {
                        let same = look.at(&method, &path, &[("if-none-match", &tag)]).await;
                        assert_eq!(same.status, 304);
                        look.at(&method, &path, &[("if-none-match", "\"1\", W/\"2\", \"4\"")]).await;
                    }
                    if seen.body["items"].is_array() {
                        look.along(&format!("{path}?limit=1")).await;
                    }
                }
            }
        }
    }
    desk.sequence().await;
    for question in ["", "&types=ticket.updated,comment.added,time_entry.added", "&include=ticket", "&team_id=none"] {
        look.feed(&format!("/v1/changes?limit=1{question}")).await;
    }
    for question in questions(&world.ticket, &world.agent) {
        look.along(&format!("/v1/tickets?{question}")).await;
        look.at(&Method::GET, &format!("/v1/metrics/summary?{}", question.replace("limit=1", "")), &[]).await;
    }
    look.told
}

struct World {
    ticket: Value,
    agent: Caller,
    /// Ids of the ticket's comments and time entries, also of those that are not there yet.
    comments: Vec<String>,
    entries: Vec<String>,
    files: Vec<String>,
}

impl World {
    /// The paths that this path of the document stands for.
    fn places(&self, path: &str) -> Vec<String> {
        let mut places = vec![path.to_owned()];
        let mut fill = |name: &str, values: &[&str]| {
            let each = |place: &String| values.iter().map(|value| place.replace(name, value)).collect::<Vec<_>>();
            if path.contains(name) {
                places = places.iter().flat_map(each).collect();
            }
        };
        let (id, number) = (self.ticket["id"].as_str().unwrap(), self.ticket["number"].to_string());
        if path.contains("/tickets/{id}") {
            fill("{id}", &[id, &number, "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "999999"]);
        } else if path.contains("/files/{id}") {
            fill("{id}", &self.files.iter().map(String::as_str).collect::<Vec<_>>());
        } else {
            fill("{id}", &[&self.agent.id, "019a2f4e-7c1b-7d3e-8f00-1234567890ab"]);
        }
        fill("{user_id}", &[&self.agent.id]);
        fill("{comment_id}", &self.comments.iter().map(String::as_str).collect::<Vec<_>>());
        fill("{entry_id}", &self.entries.iter().map(String::as_str).collect::<Vec<_>>());
        places
    }
}

fn path_of(ticket: &Value) -> String {
    format!("/v1/tickets/{}", ticket["id"].as_str().unwrap())
}

async fn comment(desk: &Desk, who: &Caller, ticket: &Value, visibility: &str, body: &str) -> String {
    let body = json!({ "body": body, "visibility": visibility });
    let made = desk.post(&format!("{}/comments", path_of(ticket))).by(who).json(&body).expect(201).await;
    made.body["id"].as_str().unwrap().to_owned()
}

/// A file that `who` sends.
async fn file(desk: &Desk, who: &Caller, name: &str) -> String {
    let ask = desk.post("/v1/files").by(who).raw("text/plain", "secretive");
    let sent = ask.header("content-disposition", &format!("attachment; filename={name}")).expect(201).await;
    sent.body["id"].as_str().unwrap().to_owned()
}

async fn promise(desk: &Desk, admin: &Caller) {
    let hours = json!({ "monday": [{ "from": "08:00", "to": "16:00" }] });
    let calendar = json!({ "name": "Office", "time_zone": "UTC", "working_hours": hours, "is_default": true });
    let calendar = desk.post("/v1/sla/calendars").by(admin).json(&calendar).expect(201).await.body;
    let target = |name: &str, hours: &str, s: i64| json!({ "target": name, "target_s": s, "hours": hours });
    let targets = json!([
        target("response", "calendar", 600),
        target("first_reply", "business", 7200),
        target("service", "calendar", 14_400)
    ]);
    desk.post("/v1/sla/policies")
        .by(admin)
        .json(&json!({ "name": "All", "targets": targets, "calendar_id": calendar["id"] }))
        .expect(201)
        .await;
}

/// Everything internal that can be done to a ticket: said, said otherwise, taken back, worked and not worked.
async fn gossip(desk: &Desk, ticket: &Value, agent: &Caller, admin: &Caller, script: &Caller) -> [Vec<String>; 3] {
    let path = path_of(ticket);
    // What is promised of it is late.
    desk.tell_promises().await;
    let mut files = Vec::new();
    for name in ["secretive.txt", "plan.txt", "hello.txt"] {
        files.push(file(desk, agent, name).await);
    }
    let plan = format!("A secretive plan. {}", format!("{SHARED} ").repeat(300));
    let plan = json!({ "body": plan, "visibility": "internal", "file_ids": files[..2] });
    let first = desk.post(&format!("{path}/comments")).by(agent).json(&plan).expect(201).await;
    let first = first.body["id"].as_str().unwrap().to_owned();
    let second = comment(desk, admin, ticket, "internal", "hello secretive hello smoke").await;
    let third = comment(desk, script, ticket, "internal", "found by the script").await;
    // One on a comment, one that was there, and one that is attached to nothing yet.
    desk.delete(&format!("/v1/files/{}", files[1])).by(agent).expect(204).await;
    let edited = json!({ "body": "edited: secretive, hello" });
    desk.patch(&format!("{path}/comments/{first}")).by(agent).json(&edited).expect(200).await;
    desk.delete(&format!("{path}/comments/{second}")).by(admin).expect(204).await;
    let work = format!("{path}/time-entries");
    let mut entries = Vec::new();
    for note in ["secretive workload", "more of it"] {
        let made = desk.post(&work).by(agent).json(&json!({ "work_s": 600, "note": note })).expect(201).await;
        entries.push(made.body["id"].as_str().unwrap().to_owned());
    }
    desk.delete(&format!("{work}/{}", entries[1])).by(agent).expect(204).await;
    [vec![first, second, third], entries, files]
}

/// An id that nothing has.
fn unmade(nth: usize) -> String {
    format!("019a2f4e-7c1b-7d3e-8f00-{nth:012}")
}

/// One of two tickets that the same things happen to, but that one is talked about.
struct Twin {
    owner: Caller,
    ticket: Value,
    talked_about: bool,
    told: Vec<String>,
}

impl Twin {
    /// The answer without what is the ticket's own: ids become their places in the order of appearance, and cursors
    /// what is in them.
    fn note(&mut self, what: &str, answer: &Answer) {
        let told = told(answer).replace(&self.owner.name, "the owner");
        let cursors = Regex::new("eyJ[A-Za-z0-9_-]+").unwrap();
        let opened =
            |found: &regex::Captures<'_>| String::from_utf8(URL_SAFE_NO_PAD.decode(&found[0]).unwrap()).unwrap();
        let told = cursors.replace_all(&told, opened);
        let number = Regex::new(&format!("(\"number\":|,){}([,}}\\]])", self.ticket["number"])).unwrap();
        let told = number.replace_all(&told, "${1}its number${2}");
        // Differs with the length of the names.
        self.told.push(format!("{what}: {}", Regex::new("content-length: .*").unwrap().replace(&told, "")));
    }

    /// What its owner was told, in all.
    fn story(&self) -> Vec<String> {
        let ids = Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap();
        let mut known = Vec::new();
        let mut place = |found: &regex::Captures<'_>| {
            let id = found[0].to_owned();
            let place = known.iter().position(|one| *one == id).unwrap_or_else(|| {
                known.push(id);
                known.len() - 1
            });
            format!("#{place}")
        };
        self.told.iter().map(|part| ids.replace_all(part, &mut place).into_owned()).collect()
    }

    /// Everything that its owner sees of it.
    async fn look(&mut self, desk: &Desk, step: usize) {
        let path = path_of(&self.ticket);
        for part in [
            "",
            "/comments",
            "/comments?limit=1",
            "/events",
            "/events?limit=2",
            "/files",
            "/sla",
            "/cost",
            "/time-entries",
        ] {
            let seen = desk.get(&format!("{path}{part}")).by(&self.owner).header("x-request-id", "a-look").send().await;
            self.note(&format!("{step} {part}"), &seen);
        }
        for query in [
            "",
            "sort=updated_at",
            "sort=-updated_at&limit=1",
            "sort=due_at&limit=1",
            "updated_after=2026-03-02T09:10:00.000000Z",
            "q=printer&sort=relevance",
            "q=secretive",
            "q=-secretive",
            "q=hello+hello",
            "status=new,open",
        ] {
            let seen =
                desk.get(&format!("/v1/tickets?{query}")).by(&self.owner).header("x-request-id", "a-look").send().await;
            self.note(&format!("{step} {query}"), &seen);
        }
    }
}

on_both! {
    /// The same tickets, before and after: every answer is the same to the byte, and so is every statement that the
    /// database is asked for it. How long the database takes for one of them is not seen here.
    async fn a_requester_is_told_the_same_before_and_after(desk) {
        let (admin, agent, stranger, owner) = (desk.admin().await, desk.agent().await, desk.requester().await, desk.requester().await);
        let script = desk.account("tickets:read comments:read comments:write internal:read").await;
        let outsider = desk.account("tickets:read tickets:write comments:read comments:write").await;
        promise(desk, &admin).await;
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        let known = file(desk, &owner, "smoke.txt").await;
        let opening = json!({ "description": "Smoke comes out.", "tags": ["paper"], "file_ids": [known] });
        let ticket = desk.ticket(&owner, opening).await;
        desk.clock.pass_s(60);
        desk.ticket(&owner, json!({ "subject": "The printer is out of paper" })).await;
        desk.ticket(&owner, json!({ "subject": "Coffee", "description": "A printer of coffee" })).await;
        desk.clock.pass_s(60);
        let public = [comment(desk, &owner, &ticket, "public", "Hello?").await, comment(desk, &agent, &ticket, "public", "Hello, we are on it.").await];
        let ticket = desk.patch_ticket(&agent, &ticket, json!({ "assignee_id": agent.id, "team_id": team["id"] })).await;

        let (url, heard) = desk.listened();
        let mut world = World {
            ticket,
            agent: agent.clone(),
            comments: public.iter().cloned().chain((0..3).map(unmade)).collect(),
            entries: (3..5).map(unmade).collect(),
            files: [known].into_iter().chain((5..8).map(unmade)).collect(),
        };
        let looks = async |world: &World| {
            // In the same minute both times.
            desk.clock.pass_s(3600);
            let mut told = BTreeMap::new();
            for who in [&owner, &stranger, &outsider] {
                // What is read once and then kept.
                desk.ask_at(&url, Method::GET, "/v1/tickets?q=printer").by(who).expect(200).await;
                told.extend(look(desk, (&url, &heard), who, world).await);
            }
            desk.clock.pass_s(-3600);
            told
        };
        let before = looks(&world).await;
        desk.clock.pass_s(1800);
        let [comments, entries, files] = gossip(desk, &world.ticket, &agent, &admin, &script).await;
        let rate = json!({ "hourly_rate": { "amount_minor": 9000, "currency": "EUR" } });
        desk.patch(&format!("/v1/users/{}", agent.id)).by(&admin).json(&rate).expect(200).await;
        desk.patch(&format!("/v1/teams/{}", team["id"].as_str().unwrap())).by(&admin).json(&rate).expect(200).await;
        desk.clock.pass_s(-1800);
        world.comments = [&public[..], &comments].concat();
        world.entries = entries;
        world.files = [&world.files[..1], &files].concat();
        let after = looks(&world).await;

        let made = world.comments[2..].iter().chain(&world.entries).chain(&world.files[1..]).enumerate();
        let unmake = |text: &str| made.clone().fold(text.to_owned(), |text, (nth, id)| text.replace(id, &unmade(nth)));
        let asked = before.values().filter(|told| told.contains("SELECT")).count();
        assert!(asked > 1_000, "{asked} looks of {} at the database", before.len());
        assert_eq!(before.len(), after.len());
        for (name, told) in after {
            let (name, told) = (unmake(&name), unmake(&told));
            assert_eq!(before.get(&name), Some(&told), "{name} tells of it");
        }
        // There was something to tell of.
        let seen = desk.all(&agent, &format!("{}/comments", path_of(&world.ticket))).await;
        assert_eq!(seen.len(), 5);
        assert_eq!(desk.all(&agent, "/v1/tickets?q=secretive").await.len(), 1);
    }

    /// Two tickets to which the same happens at the same instants, while one of them is talked about all the time:
    /// internal comments and work change nothing about what comes after them either.
    async fn a_ticket_lives_the_same_life_whatever_is_said_of_it(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let script = desk.account("tickets:read comments:read comments:write internal:read").await;
        promise(desk, &admin).await;
        let mut twins = Vec::new();
        for talked_about in [true, false] {
            let owner = desk.requester().await;
            let ticket = desk.ticket(&owner, json!({ "description": "Smoke comes out." })).await;
            twins.push(Twin { owner, ticket, talked_about, told: vec![] });
        }
        for step in 0..13 {
            for twin in &mut twins {
                let (path, owner) = (path_of(&twin.ticket), twin.owner.clone());
                let say = |who: &Caller, body: &str| {
                    let body = json!({ "body": body, "visibility": "public" });
                    desk.post(&format!("{path}/comments")).by(who).header("x-request-id", "a-step").json(&body)
                };
                let set = |who: &Caller, patch: Value| desk.patch(&path).by(who).header("x-request-id", "a-step").json(&patch);
                let answer = match step {
                    0 => say(&owner, "Hello?"),
                    1 => say(&agent, "Hello, we are on it."),
                    2 => set(&agent, json!({ "status": "waiting_requester" })),
                    // The version is what it would be anyway.
                    3 => set(&owner, json!({ "subject": "The printer burns" })).header("if-match", "\"4\""),
                    4 => say(&owner, "It still burns."),
                    5 => {
                        let first = desk.all(&owner, &format!("{path}/comments")).await[0]["id"].as_str().unwrap().to_owned();
                        desk.patch(&format!("{path}/comments/{first}")).by(&owner).header("x-request-id", "a-step").json(&json!({ "body": "Hello! Hello?" }))
                    }
                    6 => set(&agent, json!({ "status": "resolved" })),
                    7 => set(&owner, json!({ "status": "open" })),
                    8 => set(&agent, json!({ "status": "waiting_third_party" })),
                    9 => set(&agent, json!({ "status": "resolved" })),
                    10 => say(&owner, "No."),
                    11 => set(&agent, json!({ "status": "resolved" })),
                    _ => {
                        tickets::service::close_resolved(&desk.db, 60, desk.clock.now(), &desk.ids).await.unwrap();
                        say(&owner, "Too late")
                    }
                };
                let answer = answer.send().await;
                assert_eq!(answer.status.is_success(), step < 12, "{step}: {}", answer.text());
                twin.note(&format!("{step}"), &answer);
                if twin.talked_about && step < 12 {
                    gossip(desk, &twin.ticket, &agent, &admin, &script).await;
                }
            }
            desk.clock.pass_s(60);
            for twin in &mut twins {
                twin.look(desk, step).await;
            }
        }
        let tags = Regex::new(r#"W/"[A-Za-z0-9_-]{22}""#).unwrap();
        for (talked_about, not) in twins[0].story().iter().zip(&twins[1].story()) {
            // The tag of a list is of its items, and so of their ids, which are others here.
            assert_eq!(tags.replace_all(talked_about, ""), tags.replace_all(not, ""));
        }
        assert_eq!(twins[0].told.len(), twins[1].told.len());
        let comments = |twin: &Twin| format!("{}/comments", path_of(&twin.ticket));
        assert_eq!(desk.all(&agent, &comments(&twins[0])).await.len(), desk.all(&agent, &comments(&twins[1])).await.len() + 36);
    }

    /// However many internal comments there are, they take no public one's place in the index.
    async fn internal_comments_crowd_no_public_one_out_of_the_index(desk) {
        let (agent, owner) = (desk.agent().await, desk.requester().await);
        let ticket = desk.ticket(&owner, json!({})).await;
        comment(desk, &owner, &ticket, "public", "A whimsical noise").await;
        let found = async |who: &Caller, word: &str| desk.all(who, &format!("/v1/tickets?q={word}")).await.len();
        desk.clock.pass_s(60);
        for nth in 0..40 {
            comment(desk, &agent, &ticket, "internal", &format!("Note {nth}")).await;
        }
        comment(desk, &agent, &ticket, "internal", "And one more secretive note").await;
        assert_eq!((found(&owner, "whimsical").await, found(&agent, "whimsical").await), (1, 1));
        assert_eq!((found(&owner, "secretive").await, found(&agent, "secretive").await), (0, 1));
        // All of them are searched.
        assert_eq!((found(&agent, "%22note+39%22").await, found(&agent, "%22note+0%22").await), (1, 1));
        assert_eq!((found(&owner, "%22note+39%22").await, found(&owner, "%22note+0%22").await), (0, 0));
        desk.patch_ticket(&owner, &ticket, json!({ "description": "Smoke" })).await;
        assert_eq!(found(&owner, "whimsical").await, 1);
    }
}
