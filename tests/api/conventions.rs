//! What every endpoint has in common: preconditions, idempotency, problems, request ids, CORS, compression, limits.

use futures::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::on_both;
use crate::support::{Desk, Engine};

on_both! {
    async fn versions_are_entity_tags(desk) {
        let agent = desk.agent().await;
        desk.ticket(&agent, json!({})).await;
        let path = "/v1/tickets/1";
        let same = desk.get(path).by(&agent).header("if-none-match", "\"1\"").expect(304).await;
        assert!(same.bytes.is_empty() && same.header("etag") == Some("\"1\""));
        for tags in ["W/\"1\"", "\"7\", \"1\"", "*"] {
            desk.get(path).by(&agent).header("if-none-match", tags).expect(304).await;
        }
        desk.get(path).by(&agent).header("if-none-match", "\"2\"").expect(200).await;
        let patch = json!({ "priority": "high" });
        let refused = desk.patch(path).by(&agent).header("if-match", "\"2\"").json(&patch).refused(412, "version_mismatch").await;
        assert!(refused.body["detail"].as_str().unwrap().contains("version 1"));
        // If-Match compares strongly (RFC 9110, 13.1.1).
        desk.patch(path).by(&agent).header("if-match", "W/\"1\"").json(&patch).refused(412, "version_mismatch").await;
        desk.patch(path).by(&agent).header("if-match", "1").json(&patch).refused(400, "invalid_header").await;
        let answer = desk.patch(path).by(&agent).header("if-match", "\"9\", \"1\"").json(&patch).expect(200).await;
        assert_eq!(answer.header("etag"), Some("\"2\""));
        desk.patch(path).by(&agent).header("if-match", "*").json(&json!({ "priority": "low" })).expect(200).await;
    }

    async fn of_two_changes_to_one_version_one_wins(desk) {
        let agent = desk.agent().await;
        for round in 1..=10 {
            desk.ticket(&agent, json!({})).await;
            let path = format!("/v1/tickets/{round}");
            let asks = (0..2).map(|i| desk.patch(&path).by(&agent).header("if-match", "\"1\"").json(&json!({ "subject": format!("s{i}") })).send());
            let mut statuses: Vec<_> = join_all(asks).await.iter().map(|a| a.status.as_u16()).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 412]);
        }
        // Without a condition both are carried out, one after the other.
        let asks = (0..8).map(|i| desk.patch("/v1/tickets/1").by(&agent).json(&json!({ "custom_fields": { format!("f{i}"): i } })).expect(200));
        join_all(asks).await;
        let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body;
        assert_eq!((ticket["version"].as_i64(), ticket["custom_fields"].as_object().unwrap().len()), (Some(10), 8));
    }

    /// Whichever part of a change cannot be stored, nothing of it is, and the same request can be sent again.
    async fn a_change_is_stored_whole_or_not_at_all(desk) {
        let agent = desk.agent().await;
        let create = |key: String| {
            let body = json!({ "subject": "s", "tags": ["a", "b"] });
            desk.post("/v1/tickets").by(&agent).header("idempotency-key", &key).json(&body)
        };
        let comment = |key: String| {
            let body = json!({ "visibility": "public", "body": "b" });
            desk.post("/v1/tickets/1/comments").by(&agent).header("idempotency-key", &format!("{key} comment")).json(&body)
        };
        let stored = || async {
            let comments = desk.all(&agent, "/v1/tickets/1/comments").await.len();
            let events = desk.all(&agent, "/v1/tickets/1/events").await.len();
            let ticket = desk.get("/v1/tickets/1").by(&agent).expect(200).await.body["version"].clone();
            (desk.all(&agent, "/v1/tickets").await.len(), comments, events, ticket)
        };
        // Statements take another way once they are prepared.
        for n in 0..3 {
            create(format!("c{n}")).expect(201).await;
            comment(format!("d{n}")).expect(201).await;
        }
        let (refuse, accept) = match desk.db.engine() {
            "sqlite" => ("CREATE TRIGGER refuse BEFORE INSERT ON TABLE BEGIN SELECT RAISE(ABORT, 'refused'); END", "DROP TRIGGER refuse"),
            _ => ("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''refused''; END';
                   CREATE TRIGGER refuse BEFORE INSERT ON TABLE FOR EACH ROW EXECUTE FUNCTION refuse()", "DROP FUNCTION refuse() CASCADE"),
        };
        for table in ["ticket_tags", "ticket_clocks", "tally_deltas", "events", "idempotency_keys"] {
            let before = stored().await;
            desk.store.run(&refuse.replace("TABLE", table)).await;
            assert_eq!(create(table.into()).0.send().await.unwrap().status(), 500, "{table}");
            if ["events", "idempotency_keys"].contains(&table) {
                assert_eq!(comment(table.into()).0.send().await.unwrap().status(), 500, "{table}");
            }
            assert_eq!(stored().await, before, "{table}");
            desk.store.run(accept).await;
            create(table.into()).expect(201).await;
            comment(table.into()).expect(201).await;
            let (tickets, comments, events, _) = stored().await;
            assert_eq!((tickets, comments, events), (before.0 + 1, before.1 + 1, before.2 + 1), "{table}");
        }
    }

    async fn a_retry_with_the_same_key_gets_the_same_answer(desk) {
        let script = desk.account("tickets:write tickets:read").await;
        let other = desk.account("tickets:write tickets:read").await;
        let body = json!({ "subject": "once" });
        let first = desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&body).expect(201).await;
        assert_eq!(first.header("idempotent-replayed"), None);
        let again = desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&body).expect(201).await;
        assert_eq!((again.header("idempotent-replayed"), &again.bytes), (Some("true"), &first.bytes));
        assert_eq!((again.header("location"), again.header("etag")), (first.header("location"), first.header("etag")));
        desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&json!({ "subject": "other" })).refused(422, "idempotency_key_reused").await;
        // Another caller's key is another key; so is one after 24 hours.
        let foreign = desk.post("/v1/tickets").by(&other).header("idempotency-key", "k").json(&body).expect(201).await;
        assert_ne!(foreign.body["id"], first.body["id"]);
        desk.clock.pass_s(24 * 3600);
        let later = desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&json!({ "subject": "other" })).expect(201).await;
        assert_eq!(later.header("idempotent-replayed"), None);
        // What was refused has no effect that a key could stand for.
        desk.post("/v1/tickets").by(&script).header("idempotency-key", "n").json(&json!({ "subject": "" })).refused(422, "validation_failed").await;
        desk.post("/v1/tickets").by(&script).header("idempotency-key", "n").json(&body).expect(201).await;
        for key in ["", "a\tkey", &"x".repeat(256)] {
            desk.post("/v1/tickets").by(&script).header("idempotency-key", key).json(&body).refused(400, "invalid_header").await;
        }
        assert_eq!(desk.all(&script, "/v1/tickets").await.len(), 4);
    }

    async fn forty_requests_with_one_key_open_one_ticket(desk) {
        let script = desk.account("tickets:write tickets:read").await;
        let asks = (0..40).map(|_| desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&json!({ "subject": "s" })).send());
        let answers = join_all(asks).await;
        let created: Vec<_> = answers.iter().filter(|a| a.status == 201).collect();
        assert!(!created.is_empty() && created.iter().all(|a| a.body["number"] == created[0].body["number"]));
        assert_eq!(created.iter().filter(|a| a.header("idempotent-replayed").is_none()).count(), 1);
        for refused in answers.iter().filter(|a| a.status != 201) {
            assert_eq!((refused.status.as_u16(), refused.body["code"].as_str()), (409, Some("idempotency_in_progress")));
        }
        assert_eq!(desk.all(&script, "/v1/tickets").await.len(), 1);
    }

    async fn while_the_first_request_runs_the_second_is_told_so(desk) {
        let script = desk.account("tickets:write tickets:read").await;
        // Nobody can write while this transaction is open.
        let hold = desk.store.hold().await;
        let ask = || desk.post("/v1/tickets").by(&script).header("idempotency-key", "k").json(&json!({ "subject": "s" })).send();
        let (one, two) = (ask(), ask());
        tokio::pin!(one, two);
        let (refused, rest) = match futures::future::select(one, two).await {
            futures::future::Either::Left((answer, rest)) | futures::future::Either::Right((answer, rest)) => (answer, rest),
        };
        assert_eq!((refused.status.as_u16(), refused.body["code"].as_str()), (409, Some("idempotency_in_progress")));
        hold.release().await;
        assert_eq!(rest.await.status, 201);
    }

    async fn the_edge_of_every_answer(desk) {
        let agent = desk.agent().await;
        let answer = desk.get("/v1/me").by(&agent).header("x-request-id", "trace/1:a_b.c-d=").expect(200).await;
        assert_eq!(answer.header("x-request-id"), Some("trace/1:a_b.c-d="));
        for insane in ["a b", "<script>", &"x".repeat(129)] {
            let answer = desk.get("/v1/me").by(&agent).header("x-request-id", insane).expect(200).await;
            assert_eq!(answer.header("x-request-id").unwrap().len(), 36);
        }
        assert_eq!((answer.header("x-content-type-options"), answer.header("cache-control")), (Some("nosniff"), Some("private, no-cache")));
        assert_eq!(answer.header("content-encoding"), None);

        let head = desk.ask(Method::HEAD, "/v1/me").by(&agent).expect(200).await;
        assert!(head.bytes.is_empty());
        assert_eq!(head.header("content-length"), desk.get("/v1/me").by(&agent).expect(200).await.header("content-length"));

        desk.get("/v1/nothing").by(&agent).refused(404, "not_found").await;
        desk.get("/").refused(404, "not_found").await;
        let refused = desk.delete("/v1/tickets").by(&agent).refused(405, "method_not_allowed").await;
        assert_eq!(refused.header("allow"), Some("GET, POST, HEAD"));
        desk.put("/v1/tickets/1").by(&agent).json(&json!({})).refused(405, "method_not_allowed").await;
        // A path of its own beside one with a parameter that would fit.
        for method in [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE] {
            let refused = desk.ask(method, "/v1/sla/policies/preview").by(&agent).expect(405).await;
            assert_eq!(refused.header("allow"), Some("POST"));
        }
        for accept in ["text/html", "application/xml, application/json;q=0"] {
            desk.get("/v1/me").by(&agent).header("accept", accept).refused(406, "not_acceptable").await;
        }
        for accept in ["", "*/*", "text/html, application/*;q=0.1", "application/json", "application/problem+json, application/json", "text/html, *; q=.2, */*; q=.2"] {
            desk.get("/v1/me").by(&agent).header("accept", accept).expect(200).await;
        }
    }

    async fn large_answers_are_compressed_small_ones_are_not(desk) {
        let agent = desk.agent().await;
        for _ in 0..10 {
            desk.ticket(&agent, json!({})).await;
        }
        for (coding, magic) in [("gzip", Some([0x1f, 0x8b])), ("br", None)] {
            let list = desk.get("/v1/tickets").by(&agent).header("accept-encoding", coding).expect(200).await;
            assert_eq!(list.header("content-encoding"), Some(coding));
            assert!(magic.is_none_or(|magic| list.bytes.starts_with(&magic)));
            let one = desk.get("/v1/tickets/1").by(&agent).header("accept-encoding", coding).expect(200).await;
            assert_eq!(one.header("content-encoding"), None);
        }
    }

    async fn bad_bodies_are_told_precisely_and_change_nothing(desk) {
        let agent = desk.agent().await;
        let post = |content_type: &str, body: &[u8]| desk.post("/v1/tickets").by(&agent).raw(content_type, body.to_vec());
        let json_type = "application/json";
        for broken in [&b"{"[..], b"", b"{\"subject\": \"s\",}", b"nonsense", b"{\"subject\": \"\\ud800\"}", b"{\"subject\": \"\xff\"}", b"{\"custom_fields\": {\"n\": 1e999}}", b"{} {}"] {
            let refused = post(json_type, broken).refused(400, "malformed_json").await;
            assert!(refused.body["detail"].as_str().unwrap().contains("line 1"), "{}", refused.text());
        }
        // Of two readers one may believe the first of two members, and the other the second.
        for (twice, named) in [
            ("{\"subject\": \"a\",\n\"subject\": \"b\"}", "two members are called \"subject\" at line 2 column 9."),
            ("{\"subject\": \"a\", \"custom_fields\": {\"x\": [{\"y\": 1, \"\\u0079\": 1}]}}", "two members are called \"y\" at line 1 "),
        ] {
            let refused = post(json_type, twice.as_bytes()).refused(400, "malformed_json").await;
            assert!(refused.body["detail"].as_str().unwrap().contains(named), "{}", refused.text());
        }
        // JSON of other programs has numbers that would come back as others.
        for (body, pointer) in [
            ("{\"subject\": \"s\", \"custom_fields\": {\"order\": [1, 18446744073709551616]}}", "/custom_fields/order/1"),
            ("{\"subject\": \"s\", \"custom_fields\": {\"order\": {\"a/b\": -9223372036854775809}}}", "/custom_fields/order/a~1b"),
            ("{\"subject\": \"s\", \"follow_up_of\": 123456789012345678901234567890}", "/follow_up_of"),
        ] {
            assert_eq!(post(json_type, body.as_bytes()).refused(422, "validation_failed").await.pointers(), [pointer], "{body}");
        }
        let deep = format!("{{\"custom_fields\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
        post(json_type, deep.as_bytes()).refused(400, "malformed_json").await;
        for (body, pointers) in [
            (json!([]), vec![""]),
            (json!("s"), vec![""]),
            (json!({}), vec!["/subject"]),
            (json!({ "subject": 7, "tags": "t", "custom_fields": [], "type": "bug", "nope": null, "description": 1.5, "requester": { "email": 1 } }),
                vec!["/custom_fields", "/description", "/nope", "/requester/email", "/requester/name", "/subject", "/tags", "/type"]),
            (json!({ "subject": "a\u{0}b" }), vec!["/subject"]),
            (json!({ "subject": "s", "description": "a\u{0}b", "custom_fields": { "a": ["\u{0}"], "b\u{0}": 1 } }),
                vec!["/custom_fields", "/custom_fields/a/0", "/description"]),
            (json!({ "subject": "a\nb" }), vec!["/subject"]),
            (json!({ "subject": "x".repeat(256) }), vec!["/subject"]),
            (json!({ "subject": "s", "description": "ø".repeat(32769) }), vec!["/description"]),
            (json!({ "subject": "s", "tags": (0..21).map(|i| i.to_string()).collect::<Vec<_>>() }), vec!["/tags"]),
            (json!({ "subject": "s", "tags": ["a,b", "", "x".repeat(65)] }), vec!["/tags/0", "/tags/1", "/tags/2"]),
            (json!({ "subject": "s", "custom_fields": { "a": "x".repeat(16384) } }), vec!["/custom_fields"]),
            (json!({ "subject": "s", "team_id": "7", "assignee_id": 7, "reported_at": "yesterday" }), vec!["/assignee_id", "/reported_at", "/team_id"]),
            (json!({ "subject": "s", "requester": { "email": "nobody", "name": " " } }), vec!["/requester/email", "/requester/name"]),
            (json!({ "subject": "s", "follow_up_of": 18446744073709551615u64 }), vec!["/follow_up_of"]),
        ] {
            let refused = post(json_type, body.to_string().as_bytes()).refused(422, "validation_failed").await;
            assert_eq!(refused.pointers(), pointers, "{body}");
        }
        for (content_type, body) in [("text/plain", "{}"), ("application/xml", "<a/>"), ("application/merge-patch+json", "{}"), ("application/json; charset=latin1", "{}")] {
            post(content_type, body.as_bytes()).refused(415, "unsupported_media_type").await;
        }
        desk.post("/v1/tickets").by(&agent).raw(json_type, "{}").header("content-encoding", "gzip").refused(415, "unsupported_media_type").await;
        let large = json!({ "subject": "s", "description": "x".repeat(600_000) }).to_string();
        post(json_type, large.as_bytes()).refused(413, "body_too_large").await;
        // Without an announced length, too.
        let chunks = futures::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 100_000])));
        desk.post("/v1/tickets").by(&agent).raw(json_type, reqwest::Body::wrap_stream(chunks)).refused(413, "body_too_large").await;
        // The longest that is allowed is allowed.
        desk.ticket(&agent, json!({ "subject": "ø".repeat(255), "description": "ø".repeat(32768) })).await;
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
    }

    async fn bad_queries_are_told_precisely(desk) {
        let agent = desk.agent().await;
        for (query, places) in [
            ("nope=1", vec!["nope"]),
            ("limit=0&status=old&sort=subject", vec!["limit", "sort", "status"]),
            ("limit=201", vec!["limit"]),
            ("limit=1e3", vec!["limit"]),
            ("limit=99999999999999999999", vec!["limit"]),
            ("status=new&status=open", vec!["status"]),
            ("status=", vec!["status"]),
            ("status=new,,open", vec!["status"]),
            ("team_id=me", vec!["team_id"]),
            ("assignee_id=you", vec!["assignee_id"]),
            ("created_after=yesterday", vec!["created_after"]),
            ("tag=%00", vec!["tag"]),
            ("tag=%ff", vec!["tag"]),
            ("external_id=", vec!["external_id"]),
        ] {
            let refused = desk.get(&format!("/v1/tickets?{query}")).by(&agent).refused(400, "invalid_query").await;
            assert_eq!(refused.pointers(), places, "{query}");
        }
        desk.get("/v1/tickets/1?expand=all").by(&agent).refused(400, "invalid_query").await;
        desk.post("/v1/tickets?dry_run=1").by(&agent).json(&json!({ "subject": "s" })).refused(400, "invalid_query").await;
        for _ in 0..3 {
            desk.ticket(&agent, json!({})).await;
        }
        let cursor = desk.get("/v1/tickets?limit=1").by(&agent).expect(200).await.body["next_cursor"].as_str().unwrap().to_owned();
        for bad in ["x", "", "AAAA", "e30", &cursor[1..], "%00"] {
            let answer = desk.get(&format!("/v1/tickets?cursor={bad}")).by(&agent).expect(400).await;
            assert!(["invalid_cursor", "invalid_query"].contains(&answer.body["code"].as_str().unwrap()));
        }
        desk.get(&format!("/v1/tickets?sort=priority&cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        desk.get(&format!("/v1/tickets/1/comments?cursor={cursor}")).by(&agent).refused(400, "invalid_cursor").await;
        desk.get(&format!("/v1/tickets?limit=1&cursor={cursor}")).by(&agent).expect(200).await;
        for id in ["0x1", "-1", "1.0", "99999999999999999999", "%00", "019A2F4E7C1B7D3E8F001234567890AB", "tickets"] {
            desk.get(&format!("/v1/tickets/{id}")).by(&agent).refused(404, "not_found").await;
        }
    }

    async fn health_tells_whether_it_can_serve(desk) {
        assert_eq!(desk.get("/health/live").expect(200).await.body, json!({ "status": "ok" }));
        assert_eq!(desk.get("/health/ready").expect(200).await.body, json!({ "status": "ok", "late_jobs": [] }));
        // A database that lacks a migration.
        desk.store.run("DELETE FROM __diesel_schema_migrations").await;
        let refused = desk.get("/health/ready").refused(503, "unavailable").await;
        assert_eq!(refused.header("retry-after"), Some("1"));
        desk.get("/health/live").expect(200).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_is_a_503_and_comes_back_by_itself() {
    let desk = Desk::open(Engine::Postgres).await;
    let agent = desk.agent().await;
    desk.ticket(&agent, json!({})).await;
    desk.store.refuse_connections(true).await;
    desk.get("/health/ready").refused(503, "unavailable").await;
    desk.get("/v1/tickets/1").by(&agent).refused(503, "unavailable").await;
    desk.post("/v1/tickets").by(&agent).json(&json!({ "subject": "s" })).refused(503, "unavailable").await;
    desk.store.refuse_connections(false).await;
    desk.get("/health/ready").expect(200).await;
    assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
    desk.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_configured_origins_alone_may_call() {
    let origin = "https://desk.example.org";
    let desk = Desk::open_with(Engine::Sqlite, vec![], |mut settings| {
        settings.cors_origins = vec![origin.into()];
        settings
    })
    .await;
    let agent = desk.agent().await;
    let preflight = |origin: &str| {
        desk.ask(Method::OPTIONS, "/v1/tickets/1")
            .header("origin", origin)
            .header("access-control-request-method", "PATCH")
            .header("access-control-request-headers", "authorization, content-type, if-match, idempotency-key")
    };
    let allowed = preflight(origin).expect(200).await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("PATCH"));
    assert_eq!(preflight("https://evil.example.org").send().await.header("access-control-allow-origin"), None);
    for path in ["/v1/me", "/v1/tickets/99"] {
        let answer = desk.get(path).by(&agent).header("origin", origin).send().await;
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{path}");
        let exposed = answer.header("access-control-expose-headers").unwrap().to_lowercase();
        for header in ["etag", "date", "link", "location", "retry-after", "x-request-id"] {
            assert!(
                exposed.split(',').any(|exposed| exposed.trim() == header),
                "{path}: {header} is not among {exposed}"
            );
        }
        assert_eq!(answer.header("timing-allow-origin"), Some(origin), "{path}");
        let answer = desk.get(path).by(&agent).header("origin", "https://evil.example.org").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), None);
        assert_eq!(answer.header("timing-allow-origin"), None);
    }
    desk.close().await;
}
