//! What is erased is gone: from every table, from every file, in every writing; and no number moves.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::db::DatabaseUrl;
use skranke::tickets;

use crate::issuers::{shared, trusting_by_secret};
use crate::on_both;
use crate::people::{has, kept};
use crate::plans::Explainer;
use crate::support::{Caller, Desk, Heard};

/// The ways in which a text may stand somewhere.
fn writings(text: &str) -> Vec<Vec<u8>> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<_>>();
    let escaped = text.encode_utf16().map(|unit| match u8::try_from(unit) {
        Ok(byte) if byte.is_ascii() => char::from(byte).to_string(),
        _ => format!("\\u{unit:04x}"),
    });
    let percent: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
    let mut all = vec![
        text.as_bytes().to_vec(),
        text.to_lowercase().into_bytes(),
        text.to_uppercase().into_bytes(),
        utf16(u16::to_le_bytes),
        utf16(u16::to_be_bytes),
        hex(text.as_bytes()).into_bytes(),
        hex(text.as_bytes()).to_uppercase().into_bytes(),
        escaped.collect::<String>().into_bytes(),
        percent.replace('+', "%20").into_bytes(),
        text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect::<String>().into_bytes(),
    ];
    // Base64, wherever in a group of three bytes the text begins: all characters that are the same whatever is around
    // it. With fewer, what is sealed would have them by chance.
    for before in 0..3 {
        let within = [&b"xxx"[..before], text.as_bytes(), b"xxx"].concat();
        let own = (before * 4).div_ceil(3)..(before + text.len()) * 4 / 3;
        all.push(STANDARD.encode(within).as_bytes()[own].to_vec());
    }
    all
}

/// Which of these texts are kept, and how they are written.
async fn found(desk: &Desk, texts: &[&str]) -> Vec<String> {
    let kept = kept(&desk.store).await;
    let is_there = |writing: &[u8]| kept.windows(writing.len()).any(|window| window == writing);
    let written = texts.iter().flat_map(|text| writings(text).into_iter().map(move |writing| (text, writing)));
    written
        .filter(|(_, writing)| is_there(writing))
        .map(|(text, writing)| format!("{text} as {}", String::from_utf8_lossy(&writing)))
        .collect()
}

/// Every number there is about tickets, but for those that are about the service itself.
async fn numbers(desk: &Desk, admin: &Caller, name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for group in ["", "&group_by=assignee", "&group_by=team", "&group_by=priority", "&group_by=policy"] {
        for report in ["summary?", "timeseries?interval=hour", "backlog?"] {
            let answer =
                desk.get(&format!("/v1/metrics/{report}{group}").replace("?&", "?")).by(admin).expect(200).await;
            all.push(answer.text().replace(name, "Anonymised"));
        }
    }
    let scraped = desk.get("/metrics").by(admin).expect(200).await.text();
    // That it was redacted is a change of its own.
    let others = ["skranke_http_", "skranke_db_", "skranke_changes_"];
    let of_tickets = |line: &&str| !others.iter().any(|other| line.contains(other));
    all.push(scraped.lines().filter(of_tickets).collect::<Vec<_>>().join("\n"));
    all
}

fn path_of(ticket: &Value) -> String {
    format!("/v1/tickets/{}", ticket["id"].as_str().unwrap())
}

async fn say(desk: &Desk, who: &Caller, ticket: &Value, visibility: &str, body: &str) -> String {
    let body = json!({ "body": body, "visibility": visibility });
    let ask = desk.post(&format!("{}/comments", path_of(ticket))).by(who).json(&body);
    ask.header("idempotency-key", "said").expect(201).await.body["id"].as_str().unwrap().to_owned()
}

/// So many answers more, which other requests have got.
async fn keep_answers(desk: &Desk, who: &Caller, many: usize) {
    let sql = match desk.store.url {
        DatabaseUrl::Sqlite(_) => format!(
            "BEGIN; CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {many}) SELECT i FROM n;
            INSERT INTO idempotency_keys SELECT X'{0}', 'kept' || i, '', 201, '{{}}', hex(randomblob(500)), 0, TRUE FROM n;
            INSERT INTO idempotency_subjects SELECT X'{0}', 'kept' || i, randomblob(16) FROM n; COMMIT;",
            who.id.replace('-', "")
        ),
        DatabaseUrl::Postgres(_) => format!(
            "INSERT INTO idempotency_keys SELECT '{0}', 'kept' || i, '', 201, '{{}}', repeat(md5(i::text), 32), now(), true
            FROM generate_series(1, {many}) i;
            INSERT INTO idempotency_subjects SELECT '{0}', 'kept' || i, gen_random_uuid() FROM generate_series(1, {many}) i;
            ANALYZE idempotency_keys, idempotency_subjects;",
            who.id
        ),
    };
    desk.store.run(&sql).await;
}

/// Erases a comment, a ticket, a person and a secret, of each of which a kept answer tells; gives what the databases
/// were asked for that, and how long it took.
async fn erase_each(desk: &Desk, url: &str, heard: &Heard) -> (Vec<String>, Duration) {
    let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
    let opening = json!({ "subject": "Erased", "requester_id": ada.id });
    let open = desk.post("/v1/tickets").by(&agent).header("idempotency-key", "opened").json(&opening);
    let ticket = open.expect(201).await.body;
    let comment = say(desk, &agent, &ticket, "public", "Erased").await;
    let account = json!({ "name": format!("Of {}", ada.id), "scopes": ["tickets:read"] });
    let account = desk.post("/v1/service-accounts").by(&admin).header("idempotency-key", "made").json(&account);
    let account = account.expect(201).await.body;
    let erased = [
        format!("{}/comments/{comment}", path_of(&ticket)),
        path_of(&ticket),
        format!("/v1/users/{}", ada.id),
        format!("/v1/service-accounts/{}", account["id"].as_str().unwrap()),
    ];
    heard.lock().unwrap().clear();
    let begun = Instant::now();
    for path in erased {
        desk.ask_at(url, Method::DELETE, &path).by(&admin).expect(204).await;
    }
    let took = begun.elapsed();
    (std::mem::take(&mut *heard.lock().unwrap()), took)
}

#[expect(clippy::print_stdout, reason = "the figures")]
fn tell(few: Duration, many: Duration) {
    println!("four erasures: {few:?} beside few kept answers, {many:?} beside 100,000");
}

/// Tickets whose index of words has more pages than one transaction writes anew.
async fn fill_index(desk: &Desk, agent: &Caller) {
    for nth in 0..250u32 {
        let words: Vec<_> =
            (0..300).map(|word| format!("{:08x}", (nth * 300 + word + 1u32).wrapping_mul(2_654_435_761))).collect();
        desk.ticket(agent, json!({ "description": words.join(" ") })).await;
    }
}

on_both! {
    /// However many answers are kept, the same is asked, and all of it by index.
    async fn erasing_costs_what_is_erased(desk) {
        let (url, heard) = desk.listened();
        // What is read once for each database is known after the first time.
        erase_each(desk, &url, &heard).await;
        let about_answers = |(asked, took): (Vec<String>, Duration)| {
            let asked = asked.into_iter().filter(|sql| sql.contains("idempotency_"));
            (asked.map(|sql| sql.split(" -- binds: ").next().unwrap().to_owned()).collect::<Vec<_>>(), took)
        };
        let few = about_answers(erase_each(desk, &url, &heard).await);
        let other = desk.agent().await;
        keep_answers(desk, &other, 100_000).await;
        let many = about_answers(erase_each(desk, &url, &heard).await);
        tell(few.1, many.1);
        assert!(!many.0.is_empty());
        assert_eq!(many.0, few.0);
        let mut explainer = Explainer::open(desk).await;
        for sql in many.0.iter().collect::<BTreeSet<_>>() {
            explainer.reads_by_index(sql).await;
        }
    }

    /// Work on a ticket goes with it, whichever way the ticket was named.
    async fn what_is_kept_of_work_is_redacted_with_the_ticket(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({})).await;
        let work = json!({ "work_s": 5, "note": "Kwyjibotron" });
        let comments = format!("{}/comments", path_of(&ticket));
        let comment = json!({ "body": "Kwyjibotron", "visibility": "public" });
        let say = || desk.post(&comments).by(&agent).header("idempotency-key", "said").json(&comment).expect(201);
        assert_eq!(say().await.body["redacted_at"], Value::Null);
        for (key, which) in [("number", ticket["number"].to_string()), ("id", ticket["id"].as_str().unwrap().to_owned())] {
            let path = format!("/v1/tickets/{which}/time-entries");
            let add = || desk.post(&path).by(&agent).header("idempotency-key", key).json(&work);
            assert_eq!(add().expect(201).await.body["note"], "Kwyjibotron");
        }
        desk.delete(&path_of(&ticket)).by(&admin).expect(204).await;
        for (key, which) in [("number", ticket["number"].to_string()), ("id", ticket["id"].as_str().unwrap().to_owned())] {
            let path = format!("/v1/tickets/{which}/time-entries");
            let again = desk.post(&path).by(&agent).header("idempotency-key", key).json(&work).expect(201).await;
            assert!(again.body["note"].is_null() && again.header("idempotent-replayed").is_some(), "{}", again.text());
        }
        // A replay does not say that a text is there which was taken away.
        let (again, kept) = (say().await.body, desk.all(&agent, &comments).await);
        assert_eq!((&again["id"], &again["body"], again["redacted_at"].is_string()), (&kept[0]["id"], &json!(""), true));
        assert_eq!(again["redacted_at"], kept[0]["redacted_at"]);
    }

    /// Who hangs up while it is erased leaves all of it, or nothing.
    async fn who_hangs_up_leaves_no_answer_behind(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let opening = json!({ "subject": "Kwyjibotron" });
        let open = || desk.post("/v1/tickets").by(&agent).header("idempotency-key", "opened").json(&opening);
        let ticket = open().expect(201).await.body;
        let hold = desk.store.hold().await;
        let redaction = desk.delete(&path_of(&ticket)).by(&admin).send();
        assert!(tokio::time::timeout(Duration::from_millis(300), redaction).await.is_err(), "nobody can write meanwhile");
        hold.release().await;
        // Behind it in line.
        desk.ticket(&agent, json!({})).await;
        let subject = async || desk.get(&path_of(&ticket)).by(&agent).expect(200).await.body["subject"].clone();
        let before = subject().await;
        let told = open().expect(201).await.body["subject"].clone();
        let after = subject().await;
        assert!(told == before || told == after, "{told} is told of what is {before}");
        assert!(after == before || after == "Redacted", "{after}");
    }

    /// Beyond a number of them, kept answers are not opened but withdrawn: what was carried out is not carried out
    /// again.
    async fn many_answers_about_one_ticket_are_withdrawn(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let ticket = desk.ticket(&agent, json!({})).await;
        let comments = format!("{}/comments", path_of(&ticket));
        let add = |nth: usize| {
            let body = json!({ "body": format!("Comment {nth}"), "visibility": "public" });
            desk.post(&comments).by(&agent).header("idempotency-key", &format!("nth {nth}")).json(&body)
        };
        for nth in 0..60 {
            add(nth).expect(201).await;
        }
        assert_eq!(add(7).expect(201).await.body["body"], "Comment 7");
        desk.delete(&path_of(&ticket)).by(&admin).expect(204).await;
        for nth in [0, 7, 59] {
            add(nth).refused(409, "conflict").await;
        }
        assert_eq!(desk.all(&agent, &comments).await.len(), 60);
    }

    /// An instance of an older version does not say what its answers are about.
    async fn answers_that_may_be_about_anything_are_withdrawn(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let open = |key: &str| desk.post("/v1/tickets").by(&agent).header("idempotency-key", key).json(&json!({ "subject": key }));
        open("older").expect(201).await;
        desk.store.run("DELETE FROM idempotency_subjects; UPDATE idempotency_keys SET has_subjects = FALSE").await;
        assert_eq!(open("older").expect(201).await.header("idempotent-replayed"), Some("true"));
        let newer = open("newer").expect(201).await.body;
        desk.delete(&path_of(&newer)).by(&admin).expect(204).await;
        open("older").refused(409, "conflict").await;
        assert_eq!(open("newer").expect(201).await.body["subject"], "Redacted");
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 2);
    }

    async fn no_answer_tells_a_secret_that_is_none_any_more(desk) {
        let admin = desk.admin().await;
        for nth in ["rotated", "revoked"] {
            let account = json!({ "name": nth, "scopes": ["tickets:read"] });
            let make = || desk.post("/v1/service-accounts").by(&admin).header("idempotency-key", nth).json(&account);
            let made = make().expect(201).await.body;
            assert_eq!(make().expect(201).await.body["secret"], made["secret"]);
            let path = format!("/v1/service-accounts/{}", made["id"].as_str().unwrap());
            match nth {
                "rotated" => desk.post(&format!("{path}/secret")).by(&admin).expect(200).await,
                _ => desk.delete(&path).by(&admin).expect(204).await,
            };
            make().refused(409, "conflict").await;
        }
        assert_eq!(desk.all(&admin, "/v1/service-accounts").await.len(), 2);
    }

    async fn nothing_is_left_of_who_was_anonymised_and_no_number_moves(desk) {
        const NAME: &str = "Ådne Grønnskjær-Zwölf";
        const MAIDEN: &str = "Quintessa Vlotho";
        const ADDRESS: &str = "aadne.groennskjaer@mail.example";
        const EARLIER: &str = "q.vlotho@mail.example";
        const SUBJECT: &str = "uid=77412,ou=outsiders";
        const OUTSIDER: &str = "Wilhelmina Outside";
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let rate = json!({ "amount_minor": 9000, "currency": "EUR" });
        let person = json!({ "name": MAIDEN, "email": EARLIER, "role": "agent", "password": "correct horse battery", "hourly_rate": rate });
        let welcome = || desk.post("/v1/users").by(&admin).header("idempotency-key", "welcome").json(&person);
        let id = welcome().expect(201).await.body["id"].as_str().unwrap().to_owned();
        let user = format!("/v1/users/{id}");
        desk.patch(&user).by(&admin).json(&json!({ "name": NAME, "email": ADDRESS })).expect(200).await;
        let login = format!("grant_type=password&username={ADDRESS}&password=correct+horse+battery");
        let login = desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", login).expect(200).await;
        let token = login.body["access_token"].as_str().unwrap();
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        desk.put(&format!("/v1/teams/{}/members/{id}", team["id"].as_str().unwrap())).by(&admin).expect(204).await;
        let policy = json!({ "name": "All", "targets": [{ "target": "response", "target_s": 60, "hours": "calendar" }] });
        desk.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;

        // Opens tickets and has some, works, answers, and is named in the answers that others got.
        let opened = desk.post("/v1/tickets").token(token).header("idempotency-key", ADDRESS).json(&json!({ "subject": "Mine", "assignee_id": id }));
        let mine = opened.expect(201).await.body;
        let theirs = json!({ "subject": "Theirs", "requester_id": id, "assignee_id": id, "team_id": team["id"] });
        let open = || desk.post("/v1/tickets").by(&agent).header("idempotency-key", "theirs").json(&theirs);
        let theirs = open().expect(201).await.body;
        assert_eq!(theirs["assignee"]["name"], NAME);
        desk.clock.pass_s(90);
        let her = Caller { id: id.clone(), name: NAME.into(), token: token.into() };
        say(desk, &her, &theirs, "internal", "I look into it.").await;
        desk.post(&format!("{}/time-entries", path_of(&theirs))).by(&her).json(&json!({ "work_s": 600 })).expect(201).await;
        desk.patch_ticket(&her, &mine, json!({ "status": "open" })).await;
        desk.patch_ticket(&her, &theirs, json!({ "status": "resolved" })).await;
        let url = trusting_by_secret(desk, json!({}));
        let outside = shared(desk, json!({ "sub": SUBJECT, "name": OUTSIDER, "email": "wilhelmina@mail.example" }));
        let outsider = desk.ask_at(&url, Method::GET, "/v1/me").token(&outside).expect(200).await.body["id"].as_str().unwrap().to_owned();
        desk.ask_at(&url, Method::POST, "/v1/tickets").token(&outside).json(&json!({ "subject": "Outside" })).expect(201).await;

        let texts = [NAME, MAIDEN, ADDRESS, EARLIER, SUBJECT, OUTSIDER, "wilhelmina@mail.example"];
        let before = kept(&desk.store).await;
        for text in [NAME, ADDRESS, SUBJECT, OUTSIDER] {
            assert!(has(&before, text), "{text} is where we look for it");
        }
        let told = numbers(desk, &admin, NAME).await;
        assert!(told.concat().contains("Anonymised"), "the numbers name who is assigned");

        desk.delete(&user).by(&admin).expect(204).await;
        desk.delete(&format!("/v1/users/{outsider}")).by(&admin).expect(204).await;
        assert_eq!(found(desk, &texts).await, Vec::<String>::new());
        assert_eq!(numbers(desk, &admin, NAME).await, told);
        // A repeated request gets its answer, without what is no more.
        let again = welcome().expect(201).await;
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!((&again.body["id"], &again.body["name"], &again.body["email"]), (&json!(id), &json!("Anonymised"), &Value::Null));
        let again = open().expect(201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body["assignee"]["name"]), (Some("true"), &json!("Anonymised")));
        assert_eq!((&again.body["id"], &again.body["subject"]), (&theirs["id"], &json!("Theirs")));
        for text in texts {
            assert!(!again.text().contains(text));
        }
        assert_eq!(found(desk, &texts).await, Vec::<String>::new());
    }

    async fn nothing_is_left_of_a_redacted_ticket_and_no_number_moves(desk) {
        let (admin, agent, owner) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let opening = json!({ "subject": "Kwyjibotron smokes", "description": "Smoke near Blorptangle.",
            "custom_fields": { "room": "Fnurdlesworth" }, "external_id": "ext-Gazorninplat" });
        let open = || desk.post("/v1/tickets").by(&owner).header("idempotency-key", "opened").json(&opening);
        let ticket = open().expect(201).await.body;
        let path = path_of(&ticket);
        desk.patch_ticket(&owner, &ticket, json!({ "subject": "Squanchlebop smokes", "custom_fields": { "room": null } })).await;
        desk.patch_ticket(&agent, &ticket, json!({ "tags": ["printer"] })).await;
        desk.clock.pass_s(60);
        say(desk, &owner, &ticket, "public", "Hello from Wubbalubba").await;
        let inner = say(desk, &agent, &ticket, "internal", "Mrrglefrotz again").await;
        desk.patch(&format!("{path}/comments/{inner}")).by(&agent).json(&json!({ "body": "Drizzlefnord again" })).expect(200).await;
        for (key, note) in [("first", "Plumbuswrench"), ("second", "Schleemsponge")] {
            let work = json!({ "work_s": 600, "note": note });
            desk.post(&format!("{path}/time-entries")).by(&agent).header("idempotency-key", key).json(&work).expect(201).await;
        }
        let entries = desk.all(&agent, &format!("{path}/time-entries")).await;
        desk.delete(&format!("{path}/time-entries/{}", entries[1]["id"].as_str().unwrap())).by(&agent).expect(204).await;
        for status in ["resolved", "closed"] {
            desk.patch_ticket(&agent, &ticket, json!({ "status": status })).await;
        }
        let words = ["Kwyjibotron", "Blorptangle", "Fnurdlesworth", "Gazorninplat", "Squanchlebop", "Wubbalubba", "Mrrglefrotz",
            "Drizzlefnord", "Plumbuswrench", "Schleemsponge"];
        // Of a word that follows another in the index, only the end may be written.
        let tails: Vec<&str> = words.iter().map(|word| &word[2..]).collect();
        let before = kept(&desk.store).await;
        for tail in &tails {
            assert!(has(&before, tail), "{tail} is where we look for it");
        }
        let (told, events) = (numbers(desk, &admin, "nobody").await, desk.all(&admin, &format!("{path}/events")).await);
        desk.delete(&path).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        desk.delete(&path).by(&agent).refused(403, "forbidden").await;

        for _ in 0..2 {
            desk.delete(&path).by(&admin).expect(204).await;
        }
        assert_eq!(found(desk, &tails).await, Vec::<String>::new());
        assert_eq!(numbers(desk, &admin, "nobody").await, told);
        let read = desk.get(&path).by(&owner).expect(200).await;
        assert_eq!((&read.body["subject"], &read.body["description"], &read.body["external_id"]), (&json!("Redacted"), &json!(""), &Value::Null));
        assert_eq!((&read.body["custom_fields"], &read.body["tags"], &read.body["status"]), (&json!({}), &json!(["printer"]), &json!("closed")));
        // The trail tells of one thing more, and of all others as before: when, who and which field.
        let trail = desk.all(&admin, &format!("{path}/events")).await;
        assert_eq!((trail.len(), &trail.last().unwrap()["type"]), (events.len() + 1, &json!("ticket.redacted")));
        for (now, then) in trail.iter().zip(&events) {
            let fields = |event: &Value| event["changes"].as_array().unwrap().iter().map(|change| change["field"].clone()).collect::<Vec<_>>();
            assert_eq!((&now["id"], &now["at"], &now["actor"], fields(now)), (&then["id"], &then["at"], &then["actor"], fields(then)));
        }
        for comment in desk.all(&agent, &format!("{path}/comments")).await {
            assert!(comment["body"] == "" && comment["redacted_at"].is_string() && comment["version"].as_i64().unwrap() >= 2);
        }
        assert_eq!(desk.all(&agent, &format!("{path}/time-entries")).await[0]["note"], Value::Null);
        let again = open().expect(201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body["id"], &again.body["subject"]), (Some("true"), &ticket["id"], &json!("Redacted")));
        for word in words {
            assert!(desk.all(&agent, &format!("/v1/tickets?q={word}")).await.is_empty() && !again.text().contains(word));
        }
        assert_eq!(desk.all(&agent, "/v1/tickets?q=printer").await.len(), 1, "its tags are still there");
    }

    async fn nothing_is_left_of_a_redacted_comment(desk) {
        const SECRET: &str = "Zzyzx";
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        fill_index(desk, &agent).await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let comment = format!("{}/comments/{}", path_of(&ticket), say(desk, &agent, &ticket, "public", "My password is Zzyzxwumpuskin").await);
        desk.patch(&comment).by(&agent).json(&json!({ "body": "My password was Zzyzxwumpuskin, and is Gwrxlplonk" })).expect(200).await;
        desk.ticket(&agent, json!({ "description": "after it" })).await;
        // Of a word that follows another in the index, only the end may be written.
        let texts = ["Zzyzxwumpuskin", "zxwumpuskin", "Gwrxlplonk", "wrxlplonk"];
        assert!(has(&kept(&desk.store).await, "zxwumpuskin") && has(&kept(&desk.store).await, "wrxlplonk"));
        let hits = async |word: &str| desk.all(&agent, &format!("/v1/tickets?q={word}")).await.len();
        assert_eq!((hits(SECRET).await, hits("Gwrxlplonk").await), (0, 1));

        desk.delete(&comment).by(&admin).expect(204).await;
        let mut rounds = 0;
        while tickets::service::tidy_words(&desk.db).await.unwrap() {
            rounds += 1;
        }
        let is_sqlite = matches!(desk.store.url, DatabaseUrl::Sqlite(_));
        assert_eq!(rounds > 0, is_sqlite, "{rounds}");
        assert_eq!(found(desk, &texts).await, Vec::<String>::new());
        // All else is found as before.
        assert_eq!((hits("Gwrxlplonk").await, hits("after").await, hits("9e3779b1").await), (0, 1, 1));
        let again = json!({ "body": "My password is Zzyzxwumpuskin", "visibility": "public" });
        let again = desk.post(&format!("{}/comments", path_of(&ticket))).by(&agent).header("idempotency-key", "said").json(&again).expect(201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.body["body"]), (Some("true"), &json!("")));
        let redacted_at = desk.get(&comment).by(&admin).expect(200).await.body["redacted_at"].clone();
        assert_eq!((again.body["redacted_at"].is_string(), &again.body["redacted_at"]), (true, &redacted_at));
        // A small index is written anew at once, and a large one that is in order already costs nothing.
        assert!(!tickets::service::tidy_words(&desk.db).await.unwrap());
    }

    /// Who writes meanwhile merges, too, so that it may be others who bring to an end what an erasure has begun.
    async fn nothing_is_left_when_others_merge_the_index(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        fill_index(desk, &agent).await;
        let ticket = desk.ticket(&agent, json!({})).await;
        let comment = format!("{}/comments/{}", path_of(&ticket), say(desk, &agent, &ticket, "public", "My password is Zzyzxwumpuskin").await);
        desk.ticket(&agent, json!({ "description": "after it" })).await;
        desk.delete(&comment).by(&admin).expect(204).await;
        let texts = ["Zzyzxwumpuskin", "zxwumpuskin"];
        let is_sqlite = matches!(desk.store.url, DatabaseUrl::Sqlite(_));
        assert_eq!(found(desk, &texts).await.is_empty(), !is_sqlite);
        for _ in 0..60 {
            desk.ticket(&agent, json!({ "description": "much later" })).await;
        }
        while tickets::service::tidy_words(&desk.db).await.unwrap() {}
        assert_eq!(found(desk, &texts).await, Vec::<String>::new());
    }
}

/// Also when there are so many people that SQLite moves rows from page to page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_older_version_has_left_goes_when_the_file_is_written_anew() {
    let desk = Desk::open(crate::support::Engine::Sqlite).await;
    let admin = desk.admin().await;
    let mut people = Vec::new();
    for nth in 0..200u32 {
        let mark = format!("{:08x}", (nth + 1).wrapping_mul(2_654_435_761));
        let body = json!({ "name": format!("N{mark}"), "email": format!("{mark}@mail.example"), "role": "requester" });
        let made = desk.post("/v1/users").by(&admin).json(&body).expect(201).await.body;
        people.push((format!("/v1/users/{}", made["id"].as_str().unwrap()), mark));
    }
    let left = async |of: &[(String, String)]| {
        let kept = kept(&desk.store).await;
        of.iter().filter(|(_, mark)| has(&kept, &format!("N{mark}")) || has(&kept, &format!("{mark}@"))).count()
    };
    let (stay, go) = people.split_at(100);
    for (user, _) in &go[..50] {
        desk.delete(user).by(&admin).expect(204).await;
    }
    assert_eq!(left(&go[..50]).await, 0);
    // Who does not overwrite what is deleted leaves it behind.
    let sql = "PRAGMA secure_delete = OFF; UPDATE principals SET name = 'x', email = NULL WHERE id IN
        (SELECT id FROM principals WHERE anonymised_at IS NULL ORDER BY id DESC LIMIT 50)";
    desk.store.run(sql).await;
    assert!(left(&go[50..]).await > 30);
    desk.db.rewrite().unwrap();
    assert_eq!((left(go).await, left(stay).await), (0, 100));
    // The service goes on.
    assert_eq!(desk.all(&admin, "/v1/users?limit=200").await.len(), 201);
    desk.ticket(&admin, json!({})).await;
    desk.close().await;
}
