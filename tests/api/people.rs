//! People, teams and service accounts: who may see and change whom, and what becomes of those who leave.

use std::collections::HashSet;

use futures::future::{join, join_all};
use serde_json::{Value, json};
use skranke::db::DatabaseUrl;
use skranke::people::service::index_waiting_people;

use crate::on_both;
use crate::plans::Explainer;
use crate::support::{Answer, Ask, Caller, Desk, Store};

const NOBODY: &str = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";

fn user(id: &str) -> String {
    format!("/v1/users/{id}")
}

fn account(body: &Value) -> String {
    format!("/v1/service-accounts/{}", body["id"].as_str().unwrap())
}

fn names(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn by_token(answer: &Answer) -> Caller {
    Caller { id: String::new(), name: String::new(), token: answer.body["access_token"].as_str().unwrap().into() }
}

fn token(desk: &Desk, form: &str) -> Ask {
    desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form.replace(' ', "+"))
}

fn log_in(desk: &Desk, email: &str, password: &str) -> Ask {
    token(desk, &format!("grant_type=password&username={email}&password={password}"))
}

fn log_in_again(desk: &Desk, answer: &Answer) -> Ask {
    token(desk, &format!("grant_type=refresh_token&refresh_token={}", answer.body["refresh_token"].as_str().unwrap()))
}

fn log_in_account(desk: &Desk, id: &Value, secret: &Value) -> Ask {
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    token(desk, &format!("grant_type=client_credentials&client_id={id}&client_secret={secret}"))
}

async fn make(desk: &Desk, admin: &Caller, path: &str, body: Value) -> Value {
    desk.post(path).by(admin).json(&body).expect(201).await.body
}

/// All that the database keeps, as bytes.
pub async fn kept(store: &Store) -> Vec<u8> {
    match &store.url {
        DatabaseUrl::Sqlite(path) => {
            let files = std::fs::read_dir(path.parent().unwrap()).unwrap();
            files.flat_map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
        }
        DatabaseUrl::Postgres(url) => {
            let (client, connection) = tokio_postgres::connect(url.reveal(), tokio_postgres::NoTls).await.unwrap();
            let driver = tokio::spawn(connection);
            let sql = "SELECT query_to_xml(format('SELECT * FROM %I', tablename), true, false, '')::text \
                       FROM pg_tables WHERE schemaname = 'public'";
            let tables = client.query(sql, &[]).await.unwrap();
            drop(client);
            driver.await.unwrap().unwrap();
            tables.iter().flat_map(|row| row.get::<_, String>(0).into_bytes()).collect()
        }
    }
}

pub fn has(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

on_both! {
    async fn people_are_found_as_somebody_types(desk) {
        let admin = desk.admin().await;
        let made = async |name: &str, email: &str, role: &str| {
            make(desk, &admin, "/v1/users", json!({ "name": name, "email": email, "role": role })).await["id"].as_str().unwrap().to_owned()
        };
        let grace = made("Grace Hopper", "amazing.grace@navy.example", "agent").await;
        made("Søren Kierkegård", "soren@philosophy.example", "requester").await;
        made("Hopkins, Graham", "graham@navy.example", "requester").await;
        let found = async |query: &str| {
            let items = desk.all(&admin, &format!("/v1/users?{query}")).await;
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        for (q, hits) in [
            ("gra", vec!["Grace Hopper", "Hopkins, Graham"]),
            ("GRACE", vec!["Grace Hopper"]),
            ("hop gra", vec!["Grace Hopper", "Hopkins, Graham"]),
            ("gra%20hopp", vec!["Grace Hopper"]),
            ("navy", vec!["Grace Hopper", "Hopkins, Graham"]),
            ("amazing.grace%40navy.example", vec!["Grace Hopper"]),
            ("soren%20kierkegar", vec!["Søren Kierkegård"]),
            ("S%C3%98R", vec!["Søren Kierkegård"]),
            ("race", vec![]),
        ] {
            assert_eq!(found(&format!("q={q}")).await, hits, "{q}");
            assert_eq!(found(&format!("q={q}&limit=1")).await, hits, "{q}");
        }
        assert_eq!(found("q=navy&role=requester").await, ["Hopkins, Graham"]);
        assert_eq!(found(&format!("q=navy&ids={grace}")).await, ["Grace Hopper"]);
        assert_eq!(found(&format!("ids={grace},{NOBODY}")).await, ["Grace Hopper"]);
        // As they are called now, and what they are now.
        desk.patch(&user(&grace)).by(&admin).json(&json!({ "name": "Rear Admiral", "role": "admin" })).expect(200).await;
        assert!(found("q=hopper").await.is_empty());
        assert_eq!((found("q=rear&role=admin").await.len(), found("q=rear&role=agent").await.len()), (1, 0));
        desk.patch(&user(&grace)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        assert_eq!((found("q=rear&active=true").await.len(), found("q=rear&active=false").await.len()), (0, 1));
        desk.delete(&user(&grace)).by(&admin).expect(204).await;
        assert!(found("q=rear").await.is_empty() && found("q=anonymised").await.is_empty() && found("q=amazing").await.is_empty());
        // A ticket makes people, too.
        desk.ticket(&admin, json!({ "subject": "s", "requester": { "email": "new@example.org", "name": "Newton Isaac" } })).await;
        assert_eq!(found("q=isaac%20new").await, ["Newton Isaac"]);

        for (query, pointer, code) in [
            ("q=", "q", "too_short"), ("q=%40.", "q", "too_short"), ("q=a+b+c+d+e+f+g+h+i", "q", "too_many"),
            ("ids=x", "ids", "invalid"), ("role=boss", "role", "invalid"),
        ] {
            let refused = desk.get(&format!("/v1/users?{query}")).by(&admin).refused(400, "invalid_query").await;
            assert_eq!((refused.body["errors"][0]["pointer"].as_str(), refused.body["errors"][0]["code"].as_str()), (Some(pointer), Some(code)), "{query}");
            assert!(!refused.body["errors"][0]["params"].as_object().unwrap().is_empty(), "{query}");
        }
        let first = desk.get("/v1/users?q=example&limit=1").by(&admin).expect(200).await;
        let cursor = first.body["next_cursor"].as_str().unwrap();
        desk.get(&format!("/v1/users?q=navy&limit=1&cursor={cursor}")).by(&admin).refused(400, "invalid_cursor").await;
        desk.get("/v1/users?q=a").by(&desk.requester().await).refused(403, "forbidden").await;
    }

    /// The few who work here are found at once among many customers, and no page costs more for how many there are.
    async fn people_are_found_among_many(desk) {
        let admin = desk.admin().await;
        let (series, id, at) = match desk.db.engine() {
            "sqlite" => ("WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 20000)", "unhex(printf('%032x', n))", "0"),
            _ => ("WITH s AS (SELECT generate_series(1, 20000) AS n)", "CAST(lpad(to_hex(n), 32, '0') AS uuid)", "'2026-01-01'"),
        };
        let active = if desk.db.engine() == "sqlite" { "1" } else { "true" };
        desk.store.run(&format!(
            "{series} INSERT INTO principals (id, kind, name, role, active, created_at, updated_at, version)
                SELECT {id}, 'person', 'Anna ' || n, 'requester', {active}, {at}, {at}, 1 FROM s;
             {series} INSERT INTO person_words (role, word, principal_id) SELECT 'requester', 'anna', {id} FROM s;
             {series} INSERT INTO person_words (role, word, principal_id) SELECT 'requester', CAST(n AS text), {id} FROM s"
        )).await;
        if desk.db.engine() != "sqlite" {
            desk.store.run("ANALYZE").await;
        }
        make(desk, &admin, "/v1/users", json!({ "name": "Anna Agent", "role": "agent" })).await;
        let (url, heard) = desk.listened();
        let mut explainer = Explainer::open(desk).await;
        for (query, count, whole) in [("q=anna&role=agent", 1, true), ("q=anna", 50, false), ("q=an", 50, false), ("q=anna+777", 11, true), ("q=anna+7&active=false", 0, false)] {
            heard.lock().unwrap().clear();
            let page = desk.ask_at(&url, reqwest::Method::GET, &format!("/v1/users?{query}")).by(&admin).expect(200).await;
            assert_eq!(page.body["items"].as_array().unwrap().len(), count, "{query}");
            assert_eq!(page.body["next_cursor"].is_null(), whole, "{query}");
            let statements = std::mem::take(&mut *heard.lock().unwrap());
            let looks: Vec<_> = statements.iter().filter(|sql| sql.contains("person_words") || sql.contains("IN (") || sql.contains("ANY(")).collect();
            // Three roles for each of two beginnings, then at most six chunks with the people of each.
            assert!((2..=30).contains(&looks.len()), "{query}: {}", looks.len());
            for sql in looks.iter().filter(|sql| sql.contains("person_words")) {
                explainer.reads_by_index(sql.split(" -- binds: ").next().unwrap()).await;
            }
        }
        // Each once, however often a walk begins anew.
        let walked = desk.all(&admin, "/v1/users?q=anna+7&limit=200").await;
        let names: HashSet<_> = walked.iter().map(|item| item["id"].as_str().unwrap()).collect();
        assert_eq!((walked.len(), names.len()), (1_111, 1_111));

        // Those who were there before they could be found.
        desk.store.run("DELETE FROM person_words").await;
        let nobody = if desk.db.engine() == "sqlite" { "zeroblob(16)" } else { "'00000000-0000-0000-0000-000000000000'" };
        desk.store.run(&format!("INSERT INTO person_words_backlog (id, behind_id) VALUES (1, {nobody})")).await;
        while index_waiting_people(&desk.db, 5_000).await.unwrap() {}
        assert_eq!(desk.all(&admin, "/v1/users?q=anna+777&limit=200").await.len(), 11);
        assert_eq!(desk.store.count("person_words_backlog").await, 0);
    }

    async fn people_are_listed_by_filter_and_by_page(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let script = desk.account("admin").await;
        let gone = desk.agent().await;
        desk.patch(&user(&gone.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        let all = desk.all(&agent, "/v1/users").await;
        // Oldest first, and no service account among them.
        assert_eq!(names(&all), [&*admin.name, &*agent.name, &*ada.name, &*gone.name]);
        assert_eq!(desk.all(&script, "/v1/users?limit=1").await, all);
        for (filter, found) in [
            ("role=agent,admin", vec![&admin, &agent, &gone]),
            ("role=requester", vec![&ada]),
            ("active=false", vec![&gone]),
            ("active=true&role=agent", vec![&agent]),
            ("email=Requester.2%40Example.org", vec![&ada]),
            ("email=nobody%40example.org", vec![]),
        ] {
            let items = desk.all(&agent, &format!("/v1/users?limit=1&{filter}")).await;
            assert_eq!(names(&items), found.iter().map(|who| who.name.as_str()).collect::<Vec<_>>(), "{filter}");
        }
        for bad in ["role=boss", "role=", "active=1", "email=x", "nope=1", "limit=0"] {
            desk.get(&format!("/v1/users?{bad}")).by(&agent).refused(400, "invalid_query").await;
        }
        let cursor = desk.get("/v1/users?limit=1").by(&agent).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
        desk.get(&format!("/v1/teams?cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        desk.get("/v1/users").by(&ada).refused(403, "forbidden").await;
        desk.get("/v1/users").by(&desk.account("tickets:read tickets:write").await).refused(403, "insufficient_scope").await;
    }

    async fn an_admin_makes_reads_and_changes_people(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({ "name": "Grace", "email": "Grace@Example.org", "role": "agent", "password": "a moth in relay 70" });
        let made = desk.post("/v1/users").by(&admin).header("idempotency-key", "k").json(&body).expect(201).await;
        let id = made.body["id"].as_str().unwrap();
        assert_eq!(made.body, json!({
            "id": id, "name": "Grace", "email": "grace@example.org", "role": "agent", "active": true, "issuer": null,
            "has_password": true, "hourly_rate": null, "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "version": 1,
        }));
        assert_eq!((made.header("location"), made.header("etag")), (Some(&*user(id)), Some("\"1\"")));
        let again = desk.post("/v1/users").by(&admin).header("idempotency-key", "k").json(&body).expect(201).await;
        assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&made.bytes, Some("true")));

        let path = user(id);
        assert_eq!(desk.get(&path).by(&agent).expect(200).await.body, made.body);
        desk.get(&path).by(&agent).header("if-none-match", "\"1\"").expect(304).await;
        desk.clock.pass_s(1);
        let same = desk.patch(&path).by(&admin).header("if-match", "\"1\"").json(&json!({ "name": "Grace", "active": true })).expect(200).await;
        assert_eq!((&same.body, same.header("etag")), (&made.body, Some("\"1\"")));
        let patch = json!({ "name": "Grace Hopper", "role": "admin" });
        let changed = desk.patch(&path).by(&admin).header("if-match", "\"1\"").raw("application/merge-patch+json", patch.to_string()).expect(200).await;
        assert_eq!((&changed.body["name"], &changed.body["role"], changed.header("etag")), (&json!("Grace Hopper"), &json!("admin"), Some("\"2\"")));
        assert_eq!((&changed.body["updated_at"], &changed.body["created_at"]), (&json!("2026-03-02T09:00:01.000000Z"), &made.body["created_at"]));
        desk.patch(&path).by(&admin).header("if-match", "\"1\"").json(&json!({ "name": "x" })).refused(412, "version_mismatch").await;
        desk.delete(&path).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        // A password needs an address to log in with; without either the person is still somebody.
        let refused = desk.patch(&path).by(&admin).json(&json!({ "email": null })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/email"]);
        let bare = desk.patch(&path).by(&admin).json(&json!({ "email": null, "password": null })).expect(200).await.body;
        assert_eq!((&bare["email"], &bare["has_password"], &bare["version"]), (&Value::Null, &json!(false), &json!(3)));
        desk.patch(&path).by(&admin).json(&json!({ "password": "a moth in relay 70" })).refused(422, "validation_failed").await;
        assert_eq!(desk.get(&path).by(&admin).expect(200).await.body, bare);

        for (who, code) in [(&agent, "forbidden"), (&desk.requester().await, "forbidden"), (&desk.account("tickets:write").await, "insufficient_scope")] {
            desk.post("/v1/users").by(who).json(&json!({ "name": "x", "role": "agent" })).refused(403, code).await;
            desk.delete(&path).by(who).refused(403, code).await;
        }
        desk.patch(&path).by(&agent).json(&json!({ "name": "x" })).refused(403, "forbidden").await;
        // A service account is no person.
        let script = desk.account("admin").await;
        desk.get(&user(&script.id)).by(&admin).refused(404, "not_found").await;
        desk.patch(&user(&script.id)).by(&script).json(&json!({ "name": "x" })).refused(404, "not_found").await;
        desk.delete(&user(&script.id)).by(&admin).refused(404, "not_found").await;
        make(desk, &script, "/v1/users", json!({ "name": "By a script", "role": "requester" })).await;
    }

    async fn all_bad_fields_of_a_person_are_named_at_once(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "", "email": "x", "role": "boss", "password": "hunter2", "active": true });
        let refused = desk.post("/v1/users").by(&admin).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/active", "/email", "/name", "/password", "/role"]);
        assert!(!refused.text().contains("hunter2"), "a password is not shown: {}", refused.text());
        let refused = desk.post("/v1/users").by(&admin).json(&json!({})).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/name", "/role"]);
        let lonely = json!({ "name": "Grace", "role": "agent", "password": "a moth in relay 70" });
        assert_eq!(desk.post("/v1/users").by(&admin).json(&lonely).refused(422, "validation_failed").await.pointers(), ["/password"]);
        let patch = json!({ "name": null, "email": 7, "role": null, "active": "no", "password": "x".repeat(257), "id": NOBODY, "current_password": 1 });
        let refused = desk.patch(&user(&admin.id)).by(&admin).json(&patch).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/active", "/current_password", "/email", "/id", "/name", "/password", "/role"]);
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), 1);
        assert_eq!(desk.get(&user(&admin.id)).by(&admin).expect(200).await.body["version"], 1);
    }

    async fn an_address_is_one_persons(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({ "name": "Twin", "email": "AGENT.1@example.org", "role": "requester" });
        desk.post("/v1/users").by(&admin).json(&body).refused(409, "conflict").await;
        desk.patch(&user(&admin.id)).by(&admin).json(&json!({ "email": "agent.1@example.org" })).refused(409, "conflict").await;
        // Their own address in another spelling is no change.
        let same = desk.patch(&user(&agent.id)).by(&admin).json(&json!({ "email": "Agent.1@Example.ORG" })).expect(200).await;
        assert_eq!(same.body["version"], 1);
        // Of many at once one gets it.
        let body = json!({ "name": "Grace", "email": "grace@example.org", "role": "agent" });
        let answers = join_all((0..8).map(|_| desk.post("/v1/users").by(&admin).json(&body).send())).await;
        let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    }

    async fn everybody_minds_their_own_profile(desk) {
        let admin = desk.admin().await;
        for who in [desk.requester().await, desk.agent().await] {
            let own = user(&who.id);
            let read = desk.get(&own).by(&who).expect(200).await;
            let renamed = desk.patch(&own).by(&who).header("if-match", read.header("etag").unwrap()).json(&json!({ "name": "Me" })).expect(200).await;
            assert_eq!((&renamed.body["name"], renamed.header("etag")), (&json!("Me"), Some("\"2\"")));
            for forbidden in [json!({ "role": "admin" }), json!({ "email": "me@example.org" }), json!({ "active": true }), json!({ "name": "I", "email": null })] {
                desk.patch(&own).by(&who).json(&forbidden).refused(403, "forbidden").await;
            }
            assert_eq!(desk.get(&own).by(&admin).expect(200).await.body, renamed.body);
            // Any token reads its person, one without the scope does not write, and no narrowed one sets a password.
            let narrowed = desk.narrowed(&who, "comments:read");
            desk.get(&own).by(&narrowed).expect(200).await;
            desk.patch(&own).by(&narrowed).json(&json!({ "name": "x" })).refused(403, "insufficient_scope").await;
            let narrowed = desk.narrowed(&who, "tickets:write");
            desk.patch(&own).by(&narrowed).json(&json!({ "name": "Myself" })).expect(200).await;
            desk.patch(&own).by(&narrowed).json(&json!({ "password": "a moth in relay 70" })).refused(403, "insufficient_scope").await;
        }
    }

    async fn to_requesters_other_people_are_as_unknown_as_nobody(desk) {
        let (ada, grace, admin) = (desk.requester().await, desk.requester().await, desk.admin().await);
        let script = desk.account("admin").await;
        let asks: [fn(&Desk, &str) -> Ask; 4] = [
            |desk, path| desk.get(path),
            |desk, path| desk.patch(path).json(&json!({ "name": "x" })),
            |desk, path| desk.patch(path).header("if-match", "\"9\"").json(&json!({ "role": 7 })),
            |desk, path| desk.delete(path),
        ];
        for ask in asks {
            let unknown = ask(desk, &user(NOBODY)).by(&ada).header("x-request-id", "r").send().await;
            assert!([403, 404].contains(&unknown.status.as_u16()), "{}", unknown.text());
            for id in [&grace.id, &admin.id, &script.id] {
                let other = ask(desk, &user(id)).by(&ada).header("x-request-id", "r").send().await;
                assert_eq!((other.status, &other.bytes), (unknown.status, &unknown.bytes));
                assert_eq!(other.header("etag"), None);
            }
        }
        for path in ["/v1/teams", "/v1/service-accounts"] {
            desk.get(path).by(&ada).refused(403, "forbidden").await;
        }
    }

    async fn a_password_is_changed_by_whoever_knows_it(desk) {
        let (admin, ada) = (desk.admin().await, desk.requester().await);
        let own = user(&ada.id);
        let (email, first, second) = ("requester.1@example.org", "my first password", "my second password");
        log_in(desk, email, first).refused(401, "unauthenticated").await;
        desk.patch(&own).by(&ada).json(&json!({ "password": first })).expect(200).await;
        let session = log_in(desk, email, first).expect(200).await;
        let session = log_in_again(desk, &session).expect(200).await;
        let missing = desk.patch(&own).by(&ada).json(&json!({ "password": second })).refused(422, "validation_failed").await;
        assert_eq!(missing.pointers(), ["/current_password"]);
        let wrong = json!({ "password": second, "current_password": second });
        assert_eq!(desk.patch(&own).by(&ada).json(&wrong).refused(422, "validation_failed").await.pointers(), ["/current_password"]);
        let removed = json!({ "password": null });
        assert_eq!(desk.patch(&own).by(&ada).json(&removed).refused(422, "validation_failed").await.pointers(), ["/current_password"]);
        log_in(desk, email, first).expect(200).await;

        desk.patch(&own).by(&ada).json(&json!({ "password": second, "current_password": first })).expect(200).await;
        log_in(desk, email, first).refused(401, "unauthenticated").await;
        // Whoever was logged in with the old password must log in again.
        log_in_again(desk, &session).refused(401, "unauthenticated").await;
        let session = log_in(desk, email, second).expect(200).await;
        desk.get("/v1/me").by(&by_token(&session)).expect(200).await;
        // An admin sets it without knowing it, but not the admin's own.
        desk.patch(&own).by(&admin).json(&json!({ "password": first })).expect(200).await;
        log_in_again(desk, &session).refused(401, "unauthenticated").await;
        log_in(desk, email, first).expect(200).await;
        desk.patch(&user(&admin.id)).by(&admin).json(&json!({ "password": first })).expect(200).await;
        desk.patch(&user(&admin.id)).by(&admin).json(&json!({ "password": second })).refused(422, "validation_failed").await;
        // The same password again is another hash, so of two changes from one password one wins.
        let change = |to: &str| desk.patch(&own).by(&ada).json(&json!({ "password": to, "current_password": first })).send();
        let (one, two) = join(change("a third password"), change("a fourth password")).await;
        let mut statuses = [one.status.as_u16(), two.status.as_u16()];
        statuses.sort_unstable();
        assert!(statuses == [200, 409] || statuses == [200, 422], "{} {}", one.text(), two.text());
        assert!(!has(&kept(&desk.store).await, first));
    }

    async fn who_was_anonymised_is_an_id_and_no_more(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({ "name": "Ada Lovelace", "email": "ada@example.org", "role": "agent", "password": "correct horse battery" });
        let ada = make(desk, &admin, "/v1/users", body).await;
        let id = ada["id"].as_str().unwrap();
        let team = make(desk, &admin, "/v1/teams", json!({ "name": "First line" })).await;
        let members = format!("/v1/teams/{}/members", team["id"].as_str().unwrap());
        desk.put(&format!("{members}/{id}")).by(&admin).expect(204).await;
        let session = log_in(desk, "ada@example.org", "correct horse battery").expect(200).await;
        let her = by_token(&session);
        let ticket = desk.ticket(&her, json!({ "assignee_id": id })).await;
        let path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        desk.post(&format!("{path}/comments")).by(&her).json(&json!({ "body": "Hello.", "visibility": "public" })).expect(201).await;

        for _ in 0..2 {
            assert!(desk.delete(&user(id)).by(&admin).expect(204).await.bytes.is_empty());
        }
        let left = desk.get(&user(id)).by(&admin).expect(200).await.body;
        assert_eq!((&left["name"], &left["email"], &left["active"]), (&json!("Anonymised"), &Value::Null, &json!(false)));
        assert_eq!((&left["has_password"], &left["issuer"], &left["version"]), (&json!(false), &Value::Null, &json!(2)));
        let nameless = json!({ "id": id, "name": "Anonymised" });
        let read = desk.read_ticket(&agent, &ticket).await;
        for field in ["requester", "assignee", "created_by"] {
            assert_eq!(read[field], nameless, "{field}");
        }
        for part in ["", "/comments", "/events"] {
            let text = desk.get(&format!("{path}{part}")).by(&agent).expect(200).await.text();
            assert!(text.contains("Anonymised") && !text.contains("Ada") && !text.contains("ada@"), "{text}");
        }
        assert!(desk.all(&agent, &members).await.is_empty());
        desk.get("/v1/me").by(&her).refused(401, "unauthenticated").await;
        log_in_again(desk, &session).refused(401, "unauthenticated").await;
        log_in(desk, "ada@example.org", "correct horse battery").refused(401, "unauthenticated").await;
        desk.patch(&user(id)).by(&admin).json(&json!({ "name": "Ada", "active": true })).refused(409, "conflict").await;
        desk.patch(&path).by(&agent).json(&json!({ "assignee_id": agent.id })).expect(200).await;
        assert_eq!(desk.patch(&path).by(&agent).json(&json!({ "assignee_id": id })).refused(422, "validation_failed").await.pointers(), ["/assignee_id"]);
        // The address is free: whoever comes with it is somebody else.
        let next = desk.ticket(&agent, json!({ "requester": { "email": "ada@example.org", "name": "Ada" } })).await;
        assert_ne!(next["requester"]["id"], json!(id));
    }

    async fn the_last_active_admin_stays(desk) {
        let (admin, other) = (desk.admin().await, desk.admin().await);
        let script = desk.account("admin").await;
        desk.patch(&user(&other.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        let own = user(&admin.id);
        for who in [&admin, &script] {
            desk.patch(&own).by(who).json(&json!({ "active": false })).refused(409, "conflict").await;
            desk.patch(&own).by(who).json(&json!({ "role": "agent", "name": "x" })).refused(409, "conflict").await;
            desk.delete(&own).by(who).refused(409, "conflict").await;
        }
        assert_eq!(desk.get(&own).by(&admin).expect(200).await.body["version"], 1);
        desk.patch(&user(&other.id)).by(&admin).json(&json!({ "active": true })).expect(200).await;
        desk.patch(&own).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
        // From the next request on the role holds, whatever the token was made for.
        desk.get("/v1/users").by(&admin).refused(403, "forbidden").await;
    }

    async fn of_two_admins_who_demote_each_other_one_stays(desk) {
        let mut one = desk.admin().await;
        for round in 0..10 {
            let two = desk.admin().await;
            let (at_two, at_one) = (user(&two.id), user(&one.id));
            let demote = |who: &Caller, path: &str| match round % 3 {
                0 => desk.patch(path).by(who).json(&json!({ "role": "agent" })).send(),
                1 => desk.patch(path).by(who).json(&json!({ "active": false })).send(),
                _ => desk.patch(path).by(who).json(&json!({ "role": "requester", "name": "x" })).send(),
            };
            let (by_one, by_two) = join(demote(&one, &at_two), demote(&two, &at_one)).await;
            let (won, lost) = if by_one.status == 200 { (&by_one, &by_two) } else { (&by_two, &by_one) };
            assert_eq!(won.status, 200, "{}", won.text());
            // Too late to be let in, or too late to be let through.
            assert!([401, 403, 404, 409].contains(&lost.status.as_u16()), "{}", lost.text());
            if by_one.status != 200 {
                one = two;
            }
            assert_eq!(desk.all(&one, "/v1/users?role=admin&active=true").await.len(), 1);
        }
    }

    async fn a_team_has_members_who_work(desk) {
        let (admin, agent, ada) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let made = desk.post("/v1/teams").by(&admin).header("idempotency-key", "t").json(&json!({ "name": "First line" })).expect(201).await;
        let team = made.header("location").unwrap();
        assert_eq!(made.body, json!({ "id": made.body["id"], "name": "First line", "description": "", "hourly_rate": null,
            "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "version": 1 }));
        desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).refused(409, "conflict").await;
        let second = make(desk, &admin, "/v1/teams", json!({ "name": "Second line", "description": "d" })).await;
        desk.patch(team).by(&admin).json(&json!({ "name": "Second line" })).refused(409, "conflict").await;
        let refused = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "x".repeat(101), "description": null, "members": [] })).send().await;
        assert_eq!((refused.status.as_u16(), refused.pointers().contains(&"/members")), (422, true), "{}", refused.text());
        let changed = desk.patch(team).by(&admin).header("if-match", "\"1\"").json(&json!({ "description": "x" })).expect(200).await;
        assert_eq!((changed.header("etag"), &changed.body["description"]), (Some("\"2\""), &json!("x")));
        desk.patch(team).by(&admin).header("if-match", "\"1\"").json(&json!({ "description": null })).refused(412, "version_mismatch").await;
        assert_eq!(desk.patch(team).by(&admin).json(&json!({ "description": null })).expect(200).await.body["description"], "");
        assert_eq!(names(&desk.all(&agent, "/v1/teams?limit=1").await), ["First line", "Second line"]);
        for (who, code) in [(&agent, "forbidden"), (&desk.account("tickets:read").await, "insufficient_scope")] {
            desk.get(team).by(who).expect(200).await;
            desk.patch(team).by(who).json(&json!({ "name": "x" })).refused(403, code).await;
            desk.put(&format!("{team}/members/{}", agent.id)).by(who).refused(403, code).await;
        }

        let member = |id: &str| format!("{team}/members/{id}");
        desk.put(&member(&agent.id)).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        for who in [&agent, &agent, &admin] {
            assert!(desk.put(&member(&who.id)).by(&admin).expect(204).await.bytes.is_empty());
        }
        desk.put(&member(&ada.id)).by(&admin).refused(409, "conflict").await;
        let idle = desk.agent().await;
        desk.patch(&user(&idle.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        desk.put(&member(&idle.id)).by(&admin).refused(409, "conflict").await;
        for nobody in [NOBODY, &desk.account("admin").await.id] {
            desk.put(&member(nobody)).by(&admin).refused(404, "not_found").await;
        }
        desk.put(&format!("/v1/teams/{NOBODY}/members/{}", agent.id)).by(&admin).refused(404, "not_found").await;
        let members = desk.all(&agent, &format!("{team}/members")).await;
        assert_eq!(members[1], json!({ "id": agent.id, "name": agent.name, "role": "agent", "active": true }));
        assert_eq!(desk.all(&agent, &format!("{team}/members?limit=1")).await, members);
        let cursor = desk.get(&format!("{team}/members?limit=1")).by(&agent).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
        desk.get(&format!("/v1/teams/{}/members?cursor={cursor}", second["id"].as_str().unwrap())).by(&agent).refused(400, "invalid_cursor").await;

        desk.delete(&member(&admin.id)).by(&admin).expect(204).await;
        desk.delete(&member(&admin.id)).by(&admin).refused(404, "not_found").await;
        // Whoever becomes a requester works in no team any more.
        desk.patch(&user(&agent.id)).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
        assert!(desk.all(&admin, &format!("{team}/members")).await.is_empty());
    }

    async fn a_team_is_removed_when_no_ticket_is_in_it(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let (first, second) = (make(desk, &admin, "/v1/teams", json!({ "name": "First" })).await, make(desk, &admin, "/v1/teams", json!({ "name": "Second" })).await);
        let path = format!("/v1/teams/{}", first["id"].as_str().unwrap());
        desk.put(&format!("{path}/members/{}", agent.id)).by(&admin).expect(204).await;
        let ticket = desk.ticket(&agent, json!({ "team_id": first["id"] })).await;
        desk.delete(&path).by(&agent).refused(403, "forbidden").await;
        desk.delete(&path).by(&admin).header("if-match", "\"9\"").refused(412, "version_mismatch").await;
        desk.delete(&path).by(&admin).refused(409, "conflict").await;
        // Nothing of it happened.
        assert_eq!(desk.all(&agent, &format!("{path}/members")).await.len(), 1);
        desk.patch_ticket(&agent, &ticket, json!({ "team_id": second["id"] })).await;
        desk.delete(&path).by(&admin).header("if-match", "\"1\"").expect(204).await;
        desk.delete(&path).by(&admin).refused(404, "not_found").await;
        for gone in [path.clone(), format!("{path}/members")] {
            desk.get(&gone).by(&admin).refused(404, "not_found").await;
        }
        make(desk, &admin, "/v1/teams", json!({ "name": "First" })).await;
    }

    async fn the_secret_of_an_account_is_shown_once_and_kept_nowhere(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "monitor-eu", "scopes": ["metrics:read", "tickets:read"] });
        let post = || desk.post("/v1/service-accounts").by(&admin).header("idempotency-key", "k").json(&body);
        let made = post().expect(201).await;
        let (path, secret) = (account(&made.body), made.body["secret"].as_str().unwrap());
        assert_eq!((made.header("location"), made.header("etag")), (Some(&*path), Some("\"1\"")));
        assert!(secret.starts_with("sks_") && secret.len() > 40, "{secret}");
        let mut shown = made.body.clone();
        shown.as_object_mut().unwrap().remove("secret");
        assert_eq!(shown, json!({ "id": made.body["id"], "name": "monitor-eu", "scopes": ["tickets:read", "metrics:read"], "active": true,
            "created_at": "2026-03-02T09:00:00.000000Z", "updated_at": "2026-03-02T09:00:00.000000Z", "version": 1 }));
        // A client that lost the answer gets it again,
        let again = post().expect(201).await;
        assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&made.bytes, Some("true")));
        // and yet nobody who holds the database can read it.
        let kept = kept(&desk.store).await;
        assert!(has(&kept, "monitor-eu"), "the account is where we look for its secret");
        for part in [secret, secret.strip_prefix("sks_").unwrap(), "\"secret\""] {
            assert!(!has(&kept, part), "{part} is in the database");
        }
        assert_eq!(desk.get(&path).by(&admin).expect(200).await.body, shown);
        assert!(desk.all(&admin, "/v1/service-accounts").await.contains(&shown));
        let session = log_in_account(desk, &made.body["id"], &made.body["secret"]).expect(200).await;
        assert_eq!(desk.get("/v1/me").by(&by_token(&session)).expect(200).await.body["id"], made.body["id"]);
    }

    async fn service_accounts_are_set_up_by_admins(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({ "name": "", "scopes": ["a", "b"], "secret": "mine" });
        let refused = desk.post("/v1/service-accounts").by(&admin).json(&body).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/name", "/scopes/0", "/scopes/1", "/secret"]);
        let refused = desk.post("/v1/service-accounts").by(&admin).json(&json!({ "name": "x", "scopes": [] })).refused(422, "validation_failed").await;
        assert_eq!(refused.pointers(), ["/scopes"]);
        let made = make(desk, &admin, "/v1/service-accounts", json!({ "name": "monitor", "scopes": ["metrics:read"] })).await;
        let path = account(&made);
        desk.post("/v1/service-accounts").by(&admin).json(&json!({ "name": "monitor", "scopes": ["admin"] })).refused(409, "conflict").await;
        make(desk, &admin, "/v1/service-accounts", json!({ "name": "other", "scopes": ["metrics:read"] })).await;
        desk.patch(&path).by(&admin).json(&json!({ "name": "other" })).refused(409, "conflict").await;
        let same = desk.patch(&path).by(&admin).json(&json!({ "scopes": ["metrics:read", "metrics:read"] })).expect(200).await;
        assert_eq!((same.header("etag"), same.body.get("secret")), (Some("\"1\""), None));
        desk.patch(&path).by(&admin).header("if-match", "\"7\"").json(&json!({ "name": "x" })).refused(412, "version_mismatch").await;
        desk.patch(&path).by(&admin).header("if-match", "\"1\"").json(&json!({ "name": "monitor-eu" })).expect(200).await;
        assert_eq!(names(&desk.all(&admin, "/v1/service-accounts?limit=1").await), ["monitor-eu", "other"]);
        desk.get(&user(&admin.id).replace("users", "service-accounts")).by(&admin).refused(404, "not_found").await;
        for path in [&path, "/v1/service-accounts"] {
            desk.get(path).by(&agent).refused(403, "forbidden").await;
        }
        desk.post(&format!("{path}/secret")).by(&agent).refused(403, "forbidden").await;
        desk.delete(&path).by(&agent).refused(403, "forbidden").await;
    }

    async fn another_secret_ends_the_one_before(desk) {
        let admin = desk.admin().await;
        let made = make(desk, &admin, "/v1/service-accounts", json!({ "name": "monitor", "scopes": ["metrics:read"] })).await;
        let path = account(&made);
        desk.post(&format!("{path}/secret")).by(&admin).header("if-match", "\"2\"").refused(412, "version_mismatch").await;
        let rotated = desk.post(&format!("{path}/secret")).by(&admin).header("if-match", "\"1\"").expect(200).await;
        assert_eq!((rotated.header("etag"), &rotated.body["id"]), (Some("\"2\""), &made["id"]));
        assert_ne!(rotated.body["secret"], made["secret"]);
        log_in_account(desk, &made["id"], &made["secret"]).refused(401, "unauthenticated").await;
        log_in_account(desk, &made["id"], &rotated.body["secret"]).expect(200).await;
        let kept = kept(&desk.store).await;
        assert!(has(&kept, "monitor") && !has(&kept, rotated.body["secret"].as_str().unwrap()));
    }

    async fn a_revoked_account_is_refused_at_once(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "monitor", "scopes": ["tickets:read", "admin"] });
        let made = make(desk, &admin, "/v1/service-accounts", body.clone()).await;
        let path = account(&made);
        let its = by_token(&log_in_account(desk, &made["id"], &made["secret"]).expect(200).await);
        desk.get("/v1/users").by(&its).expect(200).await;
        // Other scopes hold from the next request on.
        desk.patch(&path).by(&admin).json(&json!({ "scopes": ["tickets:read"] })).expect(200).await;
        desk.get("/v1/users").by(&its).refused(403, "insufficient_scope").await;
        desk.get("/v1/tickets").by(&its).expect(200).await;
        desk.delete(&path).by(&admin).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        for _ in 0..2 {
            desk.delete(&path).by(&admin).expect(204).await;
        }
        desk.get("/v1/tickets").by(&its).refused(401, "unauthenticated").await;
        log_in_account(desk, &made["id"], &made["secret"]).refused(401, "unauthenticated").await;
        let read = desk.get(&path).by(&admin).expect(200).await.body;
        assert_eq!((&read["active"], &read["version"]), (&json!(false), &json!(3)));
        desk.patch(&path).by(&admin).json(&json!({ "name": "x" })).refused(409, "conflict").await;
        desk.post(&format!("{path}/secret")).by(&admin).refused(409, "conflict").await;
        // Its name is free again.
        let next = make(desk, &admin, "/v1/service-accounts", body).await;
        assert_ne!(next["id"], made["id"]);
    }

    async fn an_account_hands_on_no_more_than_it_has(desk) {
        let admin = desk.admin().await;
        let script = desk.account("admin tickets:read").await;
        let list = "/v1/service-accounts";
        let refused = desk.post(list).by(&script).json(&json!({ "name": "a", "scopes": ["tickets:read", "metrics:read"] })).refused(403, "forbidden").await;
        assert!(refused.body["detail"].as_str().unwrap().contains("metrics:read"), "{}", refused.text());
        make(desk, &script, list, json!({ "name": "a", "scopes": ["tickets:read"] })).await;
        let wider = make(desk, &admin, list, json!({ "name": "b", "scopes": ["metrics:read", "tickets:write"] })).await;
        let path = account(&wider);
        // A secret is as good as all the scopes of its account.
        desk.post(&format!("{path}/secret")).by(&script).refused(403, "forbidden").await;
        desk.patch(&path).by(&script).json(&json!({ "scopes": ["metrics:read", "internal:read"] })).refused(403, "forbidden").await;
        // What is there already may stay, or go.
        let less = desk.patch(&path).by(&script).json(&json!({ "scopes": ["metrics:read", "tickets:read"] })).expect(200).await;
        assert_eq!(less.body["scopes"], json!(["tickets:read", "metrics:read"]));
        // Nor does it give itself more.
        desk.patch(&format!("{list}/{}", script.id)).by(&script).json(&json!({ "scopes": ["admin", "comments:read"] })).refused(403, "forbidden").await;
        // A narrowed token of a person without the scope sets up nothing.
        desk.post(list).by(&desk.narrowed(&admin, "tickets:read")).json(&json!({ "name": "c", "scopes": ["tickets:read"] })).refused(403, "insufficient_scope").await;
    }

    async fn whoever_is_deactivated_is_refused_at_once(desk) {
        let (admin, agent) = (desk.admin().await, desk.agent().await);
        let body = json!({ "name": "Grace", "email": "grace@example.org", "role": "agent", "password": "a moth in relay 70" });
        let grace = make(desk, &admin, "/v1/users", body).await;
        let path = user(grace["id"].as_str().unwrap());
        let session = log_in(desk, "grace@example.org", "a moth in relay 70").expect(200).await;
        let her = by_token(&session);
        desk.get("/v1/tickets").by(&her).expect(200).await;
        desk.patch(&path).by(&admin).json(&json!({ "active": false })).expect(200).await;
        for ask in [desk.get("/v1/me"), desk.get("/v1/tickets"), desk.post("/v1/tickets").json(&json!({ "subject": "s" })), desk.patch(&path).json(&json!({ "active": true }))] {
            let refused = ask.by(&her).refused(401, "unauthenticated").await;
            assert!(refused.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        // The answer is the one for a wrong password.
        let wrong = log_in(desk, "grace@example.org", "a wrong password").header("x-request-id", "r").refused(401, "unauthenticated").await;
        let right = log_in(desk, "grace@example.org", "a moth in relay 70").header("x-request-id", "r").refused(401, "unauthenticated").await;
        assert_eq!(wrong.bytes, right.bytes);
        log_in_again(desk, &session).refused(401, "unauthenticated").await;
        let requester = json!({ "subject": "s", "requester": { "email": "grace@example.org", "name": "Grace" } });
        assert_eq!(desk.post("/v1/tickets").by(&agent).json(&requester).refused(422, "validation_failed").await.pointers(), ["/requester/email"]);
        desk.patch(&path).by(&admin).json(&json!({ "active": true })).expect(200).await;
        // The login from before stays over.
        log_in_again(desk, &session).refused(401, "unauthenticated").await;
        log_in(desk, "grace@example.org", "a moth in relay 70").expect(200).await;
    }

    async fn twenty_tickets_for_one_new_address_make_one_person(desk) {
        let script = desk.account("tickets:write tickets:read").await;
        let asks = (0..20).map(|i| {
            let email = if i % 2 == 0 { "Grace@example.org" } else { "grace@Example.org" };
            let body = json!({ "subject": "s", "requester": { "email": email, "name": format!("Grace {i}") } });
            desk.post("/v1/tickets").by(&script).json(&body).expect(201)
        });
        let tickets = join_all(asks).await;
        let people: HashSet<_> = tickets.iter().map(|ticket| ticket.body["requester"].to_string()).collect();
        let numbers: HashSet<_> = tickets.iter().map(|ticket| ticket.body["number"].as_i64()).collect();
        assert_eq!((people.len(), numbers.len()), (1, 20), "{people:?}");
        assert_eq!(desk.all(&desk.agent().await, "/v1/users?email=grace%40example.org").await.len(), 1);
    }
}
