//! Saved views, and what requesters may set and are shown.

use reqwest::Method;
use serde_json::{Value, json};

use crate::on_both;
use crate::start::{Place, Server};
use crate::support::{Caller, Desk, Engine, Store};

const NOWHERE: &str = "019a2f4e-7c1b-7d3e-8f00-1234567890ab";

async fn save(desk: &Desk, who: &Caller, body: Value) -> Value {
    desk.post("/v1/views").by(who).json(&body).expect(201).await.body
}

fn place(view: &Value) -> String {
    format!("/v1/views/{}", view["id"].as_str().unwrap())
}

async fn names(desk: &Desk, who: &Caller) -> Vec<String> {
    let views = desk.all(who, "/v1/views?limit=1").await;
    views.iter().map(|view| view["name"].as_str().unwrap().to_owned()).collect()
}

on_both! {
    async fn a_view_is_a_list_under_a_name(desk) {
        let agent = desk.agent().await;
        for (subject, priority) in [("One", "low"), ("Two", "urgent"), ("Three", "urgent")] {
            desk.ticket(&agent, json!({ "subject": subject, "priority": priority, "assignee_id": "me" })).await;
        }
        let body = json!({ "name": "Mine", "filter": { "assignee_id": "me", "priority": "urgent" }, "sort": "created_at", "team_id": null });
        let made = desk.post("/v1/views").by(&agent).json(&body).expect(201).await;
        let view = made.body.clone();
        assert_eq!((&view["filter"], view["sort"].as_str(), &view["team_id"], view["version"].as_i64()), (&body["filter"], Some("created_at"), &Value::Null, Some(1)));
        assert_eq!(made.header("location"), Some(place(&view).as_str()));
        let found = async |query: &str| {
            let items = desk.all(&agent, &format!("/v1/tickets?view_id={}{query}", view["id"].as_str().unwrap())).await;
            items.iter().map(|item| item["subject"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("").await, ["Two", "Three"]);
        assert_eq!(found("&limit=1&view=summary").await, ["Two", "Three"]);
        // What is named beside it stands in place of what it says.
        assert_eq!(found("&sort=-created_at").await, ["Three", "Two"]);
        assert_eq!(found("&priority=low").await, ["One"]);
        assert_eq!(found("&q=three").await, ["Three"]);
        let counts = json!({ "filters": { "all": { "view_id": view["id"] }, "low": { "view_id": view["id"], "priority": "low" }, "none": { "status": "closed" } } });
        let counted = desk.post("/v1/tickets/counts").by(&agent).json(&counts).expect(200).await.body;
        assert_eq!(counted["counts"], json!({ "all": { "count": 2, "exact": true }, "low": { "count": 1, "exact": true }, "none": { "count": 0, "exact": true } }));

        let patched = desk.patch(&place(&view)).by(&agent).header("if-match", "\"1\"").json(&json!({ "filter": { "priority": "low" } })).expect(200).await;
        assert_eq!((patched.header("etag"), &patched.body["name"]), (Some("\"2\""), &json!("Mine")));
        assert_eq!(found("").await, ["One"]);
        let same = desk.patch(&place(&view)).by(&agent).json(&json!({ "name": "Mine" })).expect(200).await;
        assert_eq!(same.body["version"], 2);
        desk.patch(&place(&view)).by(&agent).header("if-match", "\"1\"").json(&json!({ "name": "x" })).refused(412, "version_mismatch").await;
        desk.delete(&place(&view)).by(&agent).header("if-match", "\"1\"").refused(412, "version_mismatch").await;
        desk.delete(&place(&view)).by(&agent).expect(204).await;
        desk.get(&place(&view)).by(&agent).refused(404, "not_found").await;
        let gone = desk.get(&format!("/v1/tickets?view_id={}", view["id"].as_str().unwrap())).by(&agent).refused(400, "invalid_query").await;
        assert_eq!((&gone.body["errors"][0]["pointer"], &gone.body["errors"][0]["code"]), (&json!("view_id"), &json!("not_found")));
        let gone = desk.post("/v1/tickets/counts").by(&agent).json(&json!({ "filters": { "x": { "view_id": NOWHERE } } })).refused(422, "validation_failed").await;
        assert_eq!(gone.body["errors"][0]["pointer"], "/filters/x/view_id");
        desk.post("/v1/tickets/counts").by(&agent).json(&json!({ "filters": { "x": { "status": null } } })).refused(422, "validation_failed").await;
    }

    async fn views_are_seen_by_whose_they_are_and_by_their_team(desk) {
        let (admin, agent, mate, other, ada) = (desk.admin().await, desk.agent().await, desk.agent().await, desk.agent().await, desk.requester().await);
        let team = desk.post("/v1/teams").by(&admin).json(&json!({ "name": "First line" })).expect(201).await.body;
        let team = team["id"].as_str().unwrap();
        for who in [&agent, &mate] {
            desk.put(&format!("/v1/teams/{team}/members/{}", who.id)).by(&admin).expect(204).await;
        }
        let filter = json!({ "team_id": "mine", "status": "unsolved" });
        let shared = save(desk, &agent, json!({ "name": "Ours", "filter": filter, "team_id": team })).await;
        let own = save(desk, &agent, json!({ "name": "Own", "filter": {} })).await;
        save(desk, &ada, json!({ "name": "Hers", "filter": { "status": "unsolved" } })).await;
        assert_eq!(names(desk, &agent).await, ["Ours", "Own"]);
        assert_eq!(names(desk, &mate).await, ["Ours"]);
        assert_eq!(names(desk, &admin).await, ["Ours"]);
        assert_eq!(names(desk, &ada).await, ["Hers"]);
        assert!(names(desk, &other).await.is_empty());
        for (who, view) in [(&other, &shared), (&mate, &own), (&admin, &own), (&ada, &shared)] {
            desk.get(&place(view)).by(who).refused(404, "not_found").await;
            desk.delete(&place(view)).by(who).refused(404, "not_found").await;
            desk.get(&format!("/v1/tickets?view_id={}", view["id"].as_str().unwrap())).by(who).refused(400, "invalid_query").await;
        }
        // Mates look, its owner and admins change.
        desk.get(&format!("/v1/tickets?view_id={}", shared["id"].as_str().unwrap())).by(&mate).expect(200).await;
        desk.patch(&place(&shared)).by(&mate).json(&json!({ "name": "x" })).refused(403, "forbidden").await;
        desk.patch(&place(&shared)).by(&admin).json(&json!({ "name": "All of us" })).expect(200).await;
        // It is shared with a team of one's own, and not by requesters.
        for (who, team, status) in [(&other, team, 422), (&agent, NOWHERE, 422), (&admin, NOWHERE, 422), (&ada, team, 403)] {
            let refused = desk.post("/v1/views").by(who).json(&json!({ "name": "x", "filter": {}, "team_id": team })).expect(status).await;
            assert_eq!(refused.body["errors"][0]["pointer"], "/team_id");
        }
        let ada_asks = desk.post("/v1/views").by(&ada).json(&json!({ "name": "x", "filter": {}, "sort": "activity_at" }));
        ada_asks.refused(403, "forbidden").await;
        // Whoever has left the team changes nothing of what it shares but to take it back.
        desk.delete(&format!("/v1/teams/{team}/members/{}", agent.id)).by(&admin).expect(204).await;
        desk.patch(&place(&shared)).by(&agent).json(&json!({ "name": "x" })).refused(422, "validation_failed").await;
        desk.put(&format!("/v1/teams/{team}/members/{}", agent.id)).by(&admin).expect(204).await;
        // A team that is no more leaves it to its owner, and whoever is no more leaves nothing of their own.
        desk.delete(&format!("/v1/teams/{team}")).by(&admin).expect(204).await;
        assert_eq!(names(desk, &agent).await, ["All of us", "Own"]);
        assert!(names(desk, &mate).await.is_empty());
        desk.delete(&format!("/v1/users/{}", agent.id)).by(&admin).expect(204).await;
        assert_eq!(desk.store.count("ticket_views").await, 1);
    }

    async fn bad_views_are_refused(desk) {
        let agent = desk.agent().await;
        for (body, pointer, code) in [
            (json!({ "filter": {} }), "/name", "required"),
            (json!({ "name": " ", "filter": {} }), "/name", "too_short"),
            (json!({ "name": "v" }), "/filter", "required"),
            (json!({ "name": "v", "filter": [] }), "/filter", "wrong_type"),
            (json!({ "name": "v", "filter": { "status": 1 } }), "/filter/status", "wrong_type"),
            (json!({ "name": "v", "filter": { "status": "done" } }), "/filter/status", "invalid"),
            (json!({ "name": "v", "filter": { "colour": "red" } }), "/filter/colour", "unknown_field"),
            (json!({ "name": "v", "filter": { "sort": "created_at" } }), "/filter/sort", "unknown_field"),
            (json!({ "name": "v", "filter": { "view_id": NOWHERE } }), "/filter/view_id", "unknown_field"),
            (json!({ "name": "v", "filter": { "tag": "x".repeat(9_000) } }), "/filter", "too_long"),
            (json!({ "name": "v", "filter": {}, "sort": "colour" }), "/sort", "invalid"),
            (json!({ "name": "v", "filter": {}, "sort": "relevance" }), "/sort", "invalid"),
            (json!({ "name": "v", "filter": {}, "draft": true }), "/draft", "unknown_field"),
        ] {
            let refused = desk.post("/v1/views").by(&agent).json(&body).refused(422, "validation_failed").await;
            assert_eq!((refused.body["errors"][0]["pointer"].as_str(), refused.body["errors"][0]["code"].as_str()), (Some(pointer), Some(code)), "{body}");
        }
        assert_eq!(desk.store.count("ticket_views").await, 0);
        let key = |ask: crate::support::Ask| ask.header("idempotency-key", "once").json(&json!({ "name": "v", "filter": {} }));
        let first = key(desk.post("/v1/views").by(&agent)).expect(201).await;
        assert_eq!(key(desk.post("/v1/views").by(&agent)).expect(201).await.body["id"], first.body["id"]);
        for nth in 1..100 {
            save(desk, &agent, json!({ "name": format!("v{nth}"), "filter": {} })).await;
        }
        let refused = desk.post("/v1/views").by(&agent).json(&json!({ "name": "v", "filter": {} })).refused(409, "conflict").await;
        assert_eq!(refused.body["max"], 100);
    }

    /// The answer to a comment by which its author becomes the requester tells so.
    async fn whoever_becomes_the_requester_is_told_as_such(desk) {
        let agent = desk.agent().await;
        let other = desk.requester().await;
        let ticket = desk.ticket(&agent, json!({ "requester_id": other.id })).await;
        let comments = format!("/v1/tickets/{}/comments", ticket["number"]);
        let body = json!({ "body": "Mine.", "visibility": "public", "ticket": { "requester_id": "me" } });
        let made = desk.post(&comments).by(&agent).json(&body).expect(201).await;
        assert_eq!(made.body["comment"]["author"]["kind"], "requester");
    }
}

/// A field that buys a faster promise is closed to requesters unless they may set it, and named.
async fn defaults(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let [ada, agent] = [place.person("requester").await, place.person("agent").await];
    let fields =
        json!({ "priority": "urgent", "type": "incident", "channel": "web", "team_id": NOWHERE, "tags": ["vip"] });
    for (name, value) in fields.as_object().unwrap() {
        let body = json!({ "subject": "s", name: value });
        let refused = server.post("/v1/tickets").by(&ada).json(&body).refused(403, "forbidden").await;
        assert_eq!(refused.body["errors"][0]["pointer"], format!("/{name}"));
    }
    let ticket = server.open(&ada).await.body;
    for patch in [json!({ "priority": "low" }), json!({ "tags": [] }), json!({ "team_id": null })] {
        let path = format!("/v1/tickets/{}", ticket["number"]);
        server.patch(&path).by(&ada).json(&patch).refused(403, "forbidden").await;
    }
    let both = json!({ "subject": "s", "tags": [], "priority": "low" });
    let refused = server.post("/v1/tickets").by(&ada).json(&both).refused(403, "forbidden").await;
    assert_eq!(refused.body["errors"].as_array().unwrap().len(), 2);
    assert_eq!(store.count("tickets").await, 1);
    let open = json!({ "subject": "s", "description": "d", "custom_fields": { "floor": 2 }, "external_id": "x" });
    server.post("/v1/tickets").by(&ada).json(&open).expect(201).await;
    let all = json!({ "subject": "s", "priority": "urgent", "tags": ["vip"] });
    server.post("/v1/tickets").by(&agent).json(&all).expect(201).await;
    server.stop().await;
}

#[tokio::test]
async fn requesters_set_no_more_than_they_may_on_sqlite() {
    defaults(Engine::Sqlite).await;
}

#[tokio::test]
async fn requesters_set_no_more_than_they_may_on_postgres() {
    defaults(Engine::Postgres).await;
}

async fn settings(engine: Engine) {
    let store = Store::make(engine).await;
    let place = Place::on(&store).with("SKRANKE_MIGRATE_ON_START", "true");
    let server = place.start().await;
    let [ada, agent] = [place.person("requester").await, place.person("agent").await];
    let opened = server.open(&ada).await.body["number"].to_string();
    let path = format!("/v1/tickets/{opened}");
    server.patch(&path).by(&agent).json(&json!({ "assignee_id": "me" })).expect(200).await;
    let reply = json!({ "body": "Thanks", "visibility": "public", "ticket": {} });
    let send = |server: &Server| {
        server.post(&format!("{path}/comments")).by(&ada).header("idempotency-key", "once").json(&reply).expect(201)
    };
    assert_eq!(send(&server).await.body["ticket"]["assignee"]["name"], "agent");
    let told = server.get(&path).by(&ada).expect(200).await;
    server.stop().await;
    let place = place
        .with("SKRANKE_REQUESTERS_MAY_SET", "priority, tags")
        .with("SKRANKE_AGENT_NAMES", "hidden")
        .with("SKRANKE_POLICY_NAMES", "hidden");
    let server = place.start().await;
    // An answer that was kept tells them no more, and a page that was kept is another one.
    let again = send(&server).await;
    assert_eq!((again.header("idempotent-replayed"), again.bytes.len()), (Some("true"), 0));
    let tag = told.header("etag").unwrap();
    assert_eq!(
        server.get(&path).by(&ada).header("if-none-match", tag).expect(200).await.body["assignee"]["name"],
        "Helpdesk"
    );
    let [ada, agent, admin] =
        [place.person("requester").await, place.person("agent").await, place.person("admin").await];
    let policy = json!({ "name": "Gold for the loud", "targets": [{ "target": "response", "target_s": 60, "hours": "calendar" }] });
    server.post("/v1/sla/policies").by(&admin).json(&policy).expect(201).await;
    let body = json!({ "subject": "s", "priority": "urgent", "tags": ["vip"] });
    let ticket = server.post("/v1/tickets").by(&ada).json(&body).expect(201).await.body;
    assert_eq!((&ticket["priority"], &ticket["requester"]["name"]), (&json!("urgent"), &json!("requester")));
    let path = format!("/v1/tickets/{}", ticket["number"]);
    server
        .post("/v1/tickets")
        .by(&ada)
        .json(&json!({ "subject": "s", "type": "question" }))
        .refused(403, "forbidden")
        .await;
    server.patch(&path).by(&ada).json(&json!({ "priority": "low" })).expect(200).await;
    server.patch(&path).by(&ada).json(&json!({ "channel": "web" })).refused(403, "forbidden").await;
    server.patch(&path).by(&agent).json(&json!({ "assignee_id": "me" })).expect(200).await;
    let comment = json!({ "body": "On my way", "visibility": "public" });
    server.post(&format!("{path}/comments")).by(&agent).json(&comment).expect(201).await;

    // What requesters read names neither the agent nor the policy, by no path.
    for path in [
        path.clone(),
        format!("{path}?include=requester,comments,events,sla"),
        format!("{path}/comments"),
        format!("{path}/events"),
        format!("{path}/timeline"),
        format!("{path}/sla"),
        "/v1/tickets".into(),
        "/v1/tickets?view=summary".into(),
        "/v1/changes?from=start&include=ticket".into(),
    ] {
        let seen = server.ask(Method::GET, &path).by(&ada).expect(200).await;
        let text = seen.text().replace("\"kind\":\"agent\"", "").replace("agent_", "");
        assert!(!text.contains("\"agent\"") && !text.contains("Gold"), "{path}: {text}");
        let told = server.ask(Method::GET, &path).by(&agent).expect(200).await;
        let names_somebody = !path.ends_with("/sla");
        assert!(!names_somebody || told.text().contains("\"name\":\"agent\""), "{path}: {}", told.text());
    }
    let sla = server.get(&format!("{path}/sla")).by(&ada).expect(200).await.body;
    assert_eq!((&sla["policy"]["name"], &sla["clocks"][0]["policy_name"]), (&Value::Null, &Value::Null));
    assert_eq!(server.get(&path).by(&ada).expect(200).await.body["assignee"]["name"], "Helpdesk");
    server.stop().await;
}

#[tokio::test]
async fn what_requesters_may_set_and_see_is_a_setting_on_sqlite() {
    settings(Engine::Sqlite).await;
}

#[tokio::test]
async fn what_requesters_may_set_and_see_is_a_setting_on_postgres() {
    settings(Engine::Postgres).await;
}
