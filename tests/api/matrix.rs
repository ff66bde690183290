//! Who may do what: every operation of the document × every kind of caller.

use serde_json::{Value, json};
use skranke::app::document;

use crate::on_both;
use crate::support::{Answer, Ask, Caller, Desk};

/// Who may do an operation.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Rule {
    /// Anybody, without a token.
    Open,
    /// Anybody with a token.
    Known,
    /// Requesters on what is theirs, agents and admins on all, service accounts with the scope.
    Own(&'static str),
    /// Likewise, with the scope or this other one.
    OwnWithEither(&'static str, &'static str),
    /// Everybody on what is their own, with the scope.
    Mine(&'static str),
    /// Whoever has sent a file, and admins; service accounts with `admin`.
    Sent,
    /// Agents and admins; service accounts with the scope.
    Staff(&'static str),
    /// As `Staff`, but requesters may see themselves and cannot tell others from none; service accounts need `admin`.
    People,
    /// Admins; service accounts with `admin`; all people on themselves.
    Self_,
    /// Admins; service accounts with `admin`.
    Admin,
    /// The same, with this scope besides.
    AdminWith(&'static str),
    /// Admins; service accounts with the scope.
    AdminOr(&'static str),
}

/// Those who read comments or tickets, and those who write them.
const READS_FILES: Rule = Rule::OwnWithEither("comments:read", "tickets:read");
const SENDS_FILES: Rule = Rule::OwnWithEither("comments:write", "tickets:write");

const RULES: &[(&str, Rule)] = &[
    ("create_file", SENDS_FILES),
    ("get_file", READS_FILES),
    ("get_file_content", READS_FILES),
    ("create_file_link", READS_FILES),
    ("list_ticket_files", READS_FILES),
    ("get_linked_file", Rule::Open),
    ("delete_file", Rule::Sent),
    ("get_jwks", Rule::Open),
    ("health_live", Rule::Open),
    ("health_ready", Rule::Open),
    ("get_openapi_document", Rule::Open),
    ("get_me", Rule::Known),
    ("list_tickets", Rule::Own("tickets:read")),
    ("create_ticket", Rule::Own("tickets:write")),
    ("get_ticket", Rule::Own("tickets:read")),
    ("update_ticket", Rule::Own("tickets:write")),
    ("write_tickets", Rule::Own("tickets:write")),
    ("export_tickets", Rule::Own("tickets:read")),
    ("create_import", Rule::Admin),
    ("redact_ticket", Rule::Admin),
    ("list_ticket_events", Rule::Own("tickets:read")),
    ("get_ticket_timeline", Rule::Own("tickets:read")),
    ("count_tickets", Rule::Own("tickets:read")),
    ("list_tags", Rule::Staff("tickets:read")),
    ("list_views", Rule::Mine("tickets:read")),
    ("create_view", Rule::Mine("tickets:write")),
    ("get_view", Rule::Mine("tickets:read")),
    ("update_view", Rule::Mine("tickets:write")),
    ("delete_view", Rule::Mine("tickets:write")),
    ("list_changes", Rule::Own("tickets:read")),
    ("list_comments", Rule::Own("comments:read")),
    ("create_comment", Rule::Own("comments:write")),
    ("get_comment", Rule::Own("comments:read")),
    ("update_comment", Rule::Own("comments:write")),
    ("redact_comment", Rule::Admin),
    ("list_time_entries", Rule::Staff("tickets:read")),
    ("create_time_entry", Rule::Staff("tickets:write")),
    ("get_time_entry", Rule::Staff("tickets:read")),
    ("delete_time_entry", Rule::Staff("tickets:write")),
    ("get_ticket_cost", Rule::Staff("tickets:read")),
    ("list_users", Rule::People),
    ("get_user", Rule::People),
    ("create_user", Rule::Admin),
    ("update_user", Rule::Self_),
    ("delete_user", Rule::Admin),
    ("list_teams", Rule::Staff("tickets:read")),
    ("get_team", Rule::Staff("tickets:read")),
    ("list_team_members", Rule::Staff("tickets:read")),
    ("create_team", Rule::Admin),
    ("update_team", Rule::Admin),
    ("delete_team", Rule::Admin),
    ("add_team_member", Rule::Admin),
    ("remove_team_member", Rule::Admin),
    ("list_calendars", Rule::Staff("tickets:read")),
    ("get_calendar", Rule::Staff("tickets:read")),
    ("list_calendar_versions", Rule::Staff("tickets:read")),
    ("create_calendar", Rule::Admin),
    ("update_calendar", Rule::Admin),
    ("delete_calendar", Rule::Admin),
    ("import_calendar_holidays", Rule::Admin),
    ("list_service_accounts", Rule::Admin),
    ("create_service_account", Rule::Admin),
    ("get_service_account", Rule::Admin),
    ("update_service_account", Rule::Admin),
    ("delete_service_account", Rule::Admin),
    ("rotate_service_account_secret", Rule::Admin),
    ("get_ticket_sla", Rule::Own("tickets:read")),
    ("list_sla_policies", Rule::Staff("tickets:read")),
    ("get_sla_policy", Rule::Staff("tickets:read")),
    ("list_sla_policy_versions", Rule::Staff("tickets:read")),
    ("create_sla_policy", Rule::Admin),
    ("update_sla_policy", Rule::Admin),
    ("delete_sla_policy", Rule::Admin),
    ("preview_sla_policy", Rule::AdminWith("tickets:read")),
    ("send_alerts", Rule::AdminOr("alerts:write")),
    ("send_alertmanager_alerts", Rule::AdminOr("alerts:write")),
    ("list_alerts", Rule::Staff("internal:read")),
    ("list_ticket_alerts", Rule::Staff("internal:read")),
    ("list_alert_sources", Rule::Admin),
    ("create_alert_source", Rule::Admin),
    ("get_alert_source", Rule::Admin),
    ("update_alert_source", Rule::Admin),
    ("delete_alert_source", Rule::Admin),
    ("stream_changes", Rule::Own("tickets:read")),
    ("stream_ticket", Rule::Own("tickets:read")),
    ("list_webhooks", Rule::Admin),
    ("create_webhook", Rule::AdminWith("tickets:read")),
    ("get_webhook", Rule::Admin),
    ("update_webhook", Rule::AdminWith("tickets:read")),
    ("delete_webhook", Rule::Admin),
    ("rotate_webhook_secret", Rule::AdminWith("tickets:read")),
    ("test_webhook", Rule::Admin),
    ("list_webhook_deliveries", Rule::Admin),
    ("replay_webhook_deliveries", Rule::Admin),
    ("scrape_metrics", Rule::Staff("metrics:read")),
    ("get_metrics_summary", Rule::Staff("metrics:read")),
    ("get_metrics_timeseries", Rule::Staff("metrics:read")),
    ("get_metrics_backlog", Rule::Staff("metrics:read")),
];

/// What a token needs to be shown what a write has written: of a person, and of a service account. Nothing of writes
/// that never show anything.
fn shown_to(operation: &str) -> Option<[&'static str; 2]> {
    Some(match operation {
        "create_comment" | "update_comment" | "create_file" => ["comments:read"; 2],
        "create_user" | "update_user" => ["tickets:read", "admin"],
        "create_service_account" | "update_service_account" | "rotate_service_account_secret" => ["admin"; 2],
        "create_ticket" | "update_ticket" | "create_time_entry" => ["tickets:read"; 2],
        "create_team" | "update_team" | "create_view" | "update_view" => ["tickets:read"; 2],
        "create_calendar" | "update_calendar" | "import_calendar_holidays" => ["tickets:read"; 2],
        "create_sla_policy" | "update_sla_policy" => ["tickets:read"; 2],
        "create_webhook" | "update_webhook" | "rotate_webhook_secret" => ["admin"; 2],
        "create_alert_source" | "update_alert_source" => ["admin"; 2],
        _ => return None,
    })
}

/// What is asked for by POST, and tells nothing that was written.
const ASKED_BY_POST: &[&str] = &[
    "count_tickets",
    "create_file_link",
    "preview_sla_policy",
    "test_webhook",
    "replay_webhook_deliveries",
    "send_alerts",
    "send_alertmanager_alerts",
    "write_tickets",
    "create_import",
];

/// Operations that have rules of their own, tested elsewhere. May only shrink.
const EXCEPTIONS: &[&str] = &["create_token"];

/// How an operation ends for a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Allowed,
    Unauthenticated,
    Forbidden,
    InsufficientScope,
    NotFound,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Anonymous,
    /// The requester whose ticket it is.
    Owner,
    /// Another requester.
    Stranger,
    Agent,
    Admin,
    /// A service account with just the scope that the operation needs.
    WithScope,
    /// One with every other scope.
    WithoutScope,
    /// An admin's token with every other scope.
    Narrowed,
    /// An admin's token with just the scope that the operation needs.
    Bare,
}

const ALL: [Who; 9] = [
    Who::Anonymous,
    Who::Owner,
    Who::Stranger,
    Who::Agent,
    Who::Admin,
    Who::WithScope,
    Who::WithoutScope,
    Who::Narrowed,
    Who::Bare,
];

const SCOPES: [&str; 8] = [
    "tickets:read",
    "tickets:write",
    "comments:read",
    "comments:write",
    "internal:read",
    "metrics:read",
    "alerts:write",
    "admin",
];

impl Rule {
    fn scope(self) -> Option<&'static str> {
        match self {
            Rule::Open | Rule::Known => None,
            Rule::Mine(scope)
            | Rule::Own(scope)
            | Rule::Staff(scope)
            | Rule::AdminWith(scope)
            | Rule::AdminOr(scope)
            | Rule::OwnWithEither(scope, _) => Some(scope),
            Rule::People | Rule::Self_ | Rule::Admin | Rule::Sent => Some("admin"),
        }
    }

    /// Another scope that does as well.
    fn other_scope(self) -> Option<&'static str> {
        if let Rule::OwnWithEither(_, other) = self { Some(other) } else { None }
    }

    fn expects(self, who: Who, operation: &str) -> End {
        // Lists and creations have nobody else's thing in their path.
        let on_a_thing = ![
            "list_tickets",
            "count_tickets",
            "list_changes",
            "stream_changes",
            "create_ticket",
            "create_file",
            "write_tickets",
            "export_tickets",
        ]
        .contains(&operation);
        match (self, who) {
            (Rule::Open, _) => End::Allowed,
            (_, Who::Anonymous) => End::Unauthenticated,
            (Rule::Known, _) => End::Allowed,
            // A person sees people by `tickets:read`.
            (Rule::People, Who::Bare) => End::InsufficientScope,
            (_, Who::WithScope | Who::Admin | Who::Bare) => End::Allowed,
            // The agent has sent it.
            (Rule::Sent, Who::Agent) => End::Allowed,
            (Rule::Sent, Who::Stranger) => End::NotFound,
            (Rule::Sent, _) => End::Forbidden,
            (_, Who::WithoutScope) => End::InsufficientScope,
            // Whoever may see tickets may see people; a person may change their own profile, but not somebody else's.
            (Rule::People, Who::Narrowed) => End::Allowed,
            (_, Who::Narrowed) => End::InsufficientScope,
            (Rule::Own(_) | Rule::OwnWithEither(..), Who::Stranger) if on_a_thing => End::NotFound,
            (Rule::Own(_) | Rule::OwnWithEither(..) | Rule::Mine(_), _) => End::Allowed,
            (Rule::Staff(_), Who::Agent) | (Rule::People, Who::Agent) => End::Allowed,
            (Rule::People, Who::Owner | Who::Stranger) if operation == "get_user" => End::NotFound,
            (Rule::Self_, Who::Owner | Who::Stranger) => End::NotFound,
            (Rule::Self_ | Rule::Admin | Rule::AdminWith(_) | Rule::AdminOr(_) | Rule::Staff(_) | Rule::People, _) => {
                End::Forbidden
            }
        }
    }
}

struct World {
    owner: Caller,
    stranger: Caller,
    agent: Caller,
    admin: Caller,
    /// Who may do no more than read tickets.
    reader: Caller,
}

/// The id of what was made, which its maker may not be shown.
fn id_of(made: &Answer) -> &str {
    made.header("location").unwrap().rsplit('/').next().unwrap()
}

/// A request for `operation` on things made for it alone, which the caller could carry out if allowed.
async fn path_and_body(
    desk: &Desk,
    world: &World,
    operation: &str,
    path: &str,
    caller: Option<&Caller>,
) -> (String, Option<Value>) {
    let mut path = path.to_owned();
    let nth = desk.nth();
    if operation == "get_metrics_timeseries" {
        path.push_str("?interval=day");
    }
    if path.contains("/files/{id}") || path.contains("{link}") {
        // The agent's, on a comment of theirs.
        let ticket = desk.ticket(&world.owner, json!({})).await;
        let sent = ask(desk, "post", "/v1/files", &Some(json!("x"))).by(&world.agent).expect(201).await;
        let file = sent.header("location").unwrap().to_owned();
        let comment = json!({ "body": "b", "visibility": "public", "file_ids": [id_of(&sent)] });
        let comments = format!("/v1/tickets/{}/comments", ticket["id"].as_str().unwrap());
        desk.post(&comments).by(&world.agent).json(&comment).expect(201).await;
        path = path.replace("/v1/files/{id}", &file);
        if path.contains("{link}") {
            let link = desk.post(&format!("{file}/link")).by(&world.agent).json(&json!({})).expect(200).await;
            path = link.body["url"].as_str().unwrap().to_owned();
        }
    } else if path.contains("/tickets/{id}") {
        let ticket = desk.ticket(&world.owner, json!({})).await;
        let ticket_path = format!("/v1/tickets/{}", ticket["id"].as_str().unwrap());
        if path.contains("{comment_id}") {
            // Its author is whoever wants to edit it, if they can be.
            let author = caller.filter(|_| operation == "update_comment").unwrap_or(&world.agent);
            let body = json!({ "body": "b", "visibility": "public" });
            let comments = format!("{ticket_path}/comments");
            let mut made = desk.post(&comments).by(author).json(&body).send().await;
            if made.status != 201 {
                made = desk.post(&comments).by(&world.agent).json(&body).expect(201).await;
            }
            path = path.replace("{comment_id}", id_of(&made));
        }
        if path.contains("{entry_id}") {
            // Made by whoever wants to delete it, if they can.
            let maker = caller.filter(|_| operation == "delete_time_entry").unwrap_or(&world.agent);
            let body = json!({ "work_s": 60, "agent_id": world.admin.id });
            let entries = format!("{ticket_path}/time-entries");
            let mut made = desk.post(&entries).by(maker).json(&body).send().await;
            if made.status != 201 {
                made = desk.post(&entries).by(&world.agent).json(&body).expect(201).await;
            }
            path = path.replace("{entry_id}", id_of(&made));
        }
        path = path.replace("/v1/tickets/{id}", &ticket_path);
    } else if path.contains("/users/{id}") {
        let user = json!({ "name": "Somebody", "email": format!("s{nth}@example.org"), "role": "requester" });
        let made = desk.post("/v1/users").by(&world.admin).json(&user).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
    } else if path.contains("/service-accounts/{id}") {
        let account = json!({ "name": format!("made {nth}"), "scopes": ["admin"] });
        let made = desk.post("/v1/service-accounts").by(&world.admin).json(&account).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
    } else if path.contains("/teams/{id}") {
        let made =
            desk.post("/v1/teams").by(&world.admin).json(&json!({ "name": format!("team {nth}") })).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
        if path.contains("{user_id}") {
            path = path.replace("{user_id}", &world.agent.id);
            if operation == "remove_team_member" {
                desk.put(&path).by(&world.admin).expect(204).await;
            }
        }
    }
    if path.contains("/views/{id}") {
        let id = format!("019a2f4e-7c1b-7d3e-8f00-{nth:012}");
        let owner = caller.map_or(&world.admin.id, |caller| &caller.id);
        let bytes = |id: &str| match desk.db.engine() {
            "sqlite" => format!("unhex('{}')", id.replace('-', "")),
            _ => format!("'{id}'"),
        };
        let at = if desk.db.engine() == "sqlite" { "0" } else { "'2026-01-01'" };
        desk.store
            .run(&format!(
                "INSERT INTO ticket_views (id, owner_id, name, filter, sort, created_at, updated_at, version) \
                 VALUES ({}, {}, 'v', '{{}}', '-created_at', {at}, {at}, 1)",
                bytes(&id),
                bytes(owner)
            ))
            .await;
        path = path.replace("{id}", &id);
    }
    let targets = json!([{ "target": "response", "target_s": 60, "hours": "calendar" }]);
    if path.contains("/sla/policies/{id}") {
        let policy =
            json!({ "name": format!("policy {nth}"), "condition": { "tags": ["none has it"] }, "targets": targets });
        let made = desk.post("/v1/sla/policies").by(&world.admin).json(&policy).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
    }
    let hours = json!({ "monday": [{ "from": "08:00", "to": "16:00" }] });
    let calendar = |name: &str| json!({ "name": format!("{name} {nth}"), "time_zone": "UTC", "working_hours": hours });
    if path.contains("/calendars/{id}") {
        let made = desk.post("/v1/sla/calendars").by(&world.admin).json(&calendar("made")).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
    }
    let webhook = |name: &str| json!({ "name": format!("{name} {nth}"), "url": "http://127.0.0.1:1024/", "principal_id": world.reader.id });
    if path.contains("/webhooks/{id}") {
        let made = desk.post("/v1/webhooks").by(&world.admin).json(&webhook("made")).expect(201).await;
        path = path.replace("{id}", made.body["id"].as_str().unwrap());
    }
    let source = |name: &str| json!({ "name": format!("{name} {nth}") });
    if path.contains("/alert-sources/{id}") || path.contains("/alerts/{source}") {
        let made = desk.post("/v1/alert-sources").by(&world.admin).json(&source("made")).expect(201).await;
        let id = made.body["id"].as_str().unwrap();
        path = path.replace("{id}", id).replace("{source}", id);
    }
    let alert = json!({ "dedupe_key": "k", "state": "firing", "summary": "s" });
    let body = match operation {
        "create_alert_source" => Some(source("new")),
        "update_alert_source" => Some(json!({ "name": format!("changed {nth}") })),
        "send_alerts" => Some(alert),
        "send_alertmanager_alerts" => Some(json!({ "alerts": [{ "fingerprint": "f", "labels": {} }] })),
        "create_file" => Some(json!("x")),
        "create_file_link" => Some(json!({})),
        "create_webhook" => Some(webhook("new")),
        "update_webhook" => Some(json!({ "name": format!("changed {nth}") })),
        "replay_webhook_deliveries" => Some(json!({ "from": 1 })),
        "create_calendar" => Some(calendar("new")),
        "update_calendar" => Some(json!({ "name": format!("changed {nth}") })),
        "import_calendar_holidays" => Some(json!("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")),
        "create_ticket" => Some(json!({ "subject": "s" })),
        "create_import" => Some(json!("{}")),
        "write_tickets" => Some(json!({ "operations": [{ "create": { "subject": "s" } }] })),
        "count_tickets" => Some(json!({ "filters": { "all": {} } })),
        "update_ticket" => Some(json!({ "subject": "changed" })),
        "create_comment" => Some(json!({ "body": "b", "visibility": "public" })),
        "update_comment" => Some(json!({ "body": "changed" })),
        "create_time_entry" => Some(json!({ "work_s": 60, "agent_id": world.agent.id })),
        "create_user" => Some(json!({ "name": "New", "email": format!("n{nth}@example.org"), "role": "requester" })),
        "update_user" => Some(json!({ "name": "Changed" })),
        "create_team" => Some(json!({ "name": format!("new team {nth}") })),
        "update_team" => Some(json!({ "description": "changed" })),
        "create_view" => Some(json!({ "name": format!("view {nth}"), "filter": { "status": "unsolved" } })),
        "update_view" => Some(json!({ "name": "changed" })),
        "create_service_account" => Some(json!({ "name": format!("new {nth}"), "scopes": ["admin"] })),
        "create_sla_policy" => Some(json!({ "name": format!("new policy {nth}"), "targets": targets })),
        "update_sla_policy" => Some(json!({ "position": 9 })),
        "preview_sla_policy" => Some(json!({ "policy": { "name": "Draft", "targets": targets },
            "from": "2026-03-01T00:00:00.000000Z", "to": "2026-03-03T00:00:00.000000Z" })),
        "update_service_account" => Some(json!({ "name": format!("changed {nth}") })),
        _ => None,
    };
    (path, body)
}

/// The request, as `path_and_body` has told it.
fn ask(desk: &Desk, method: &str, path: &str, body: &Option<Value>) -> Ask {
    let ask = desk.ask(method.to_uppercase().parse().unwrap(), path);
    match body {
        Some(Value::String(text)) if path == "/v1/files" => {
            ask.raw("text/plain", text.clone()).header("content-disposition", "attachment; filename=x")
        }
        Some(Value::String(text)) if path == "/v1/imports" => ask.raw("application/x-ndjson", text.clone()),
        Some(Value::String(text)) => ask.raw("text/calendar", text.clone()),
        Some(body) => ask.json(body),
        None => ask,
    }
}

on_both! {
    async fn every_operation_for_every_kind_of_caller(desk) {
        let document: Value = serde_json::from_str(document::CHECKED_IN).unwrap();
        let admin = desk.admin().await;
        let world = World { owner: desk.requester().await, stranger: desk.requester().await, agent: desk.agent().await, admin, reader: desk.account("tickets:read").await };
        let (mut walked, mut bare) = (0, 0);
        for (path, methods) in document["paths"].as_object().unwrap() {
            for (method, operation) in methods.as_object().unwrap() {
                let id = operation["operationId"].as_str().unwrap();
                if EXCEPTIONS.contains(&id) {
                    continue;
                }
                let rule = RULES.iter().find(|(name, _)| *name == id).unwrap_or_else(|| panic!("{id} has no rule in this test")).1;
                for who in ALL {
                    let mut scopes = SCOPES.to_vec();
                    let caller = match who {
                        Who::Anonymous => None,
                        Who::Owner => Some(world.owner.clone()),
                        Who::Stranger => Some(world.stranger.clone()),
                        Who::Agent => Some(world.agent.clone()),
                        Who::Admin => Some(world.admin.clone()),
                        _ => {
                            let needed = rule.scope().unwrap_or("metrics:read");
                            let needs_it = matches!(who, Who::WithScope | Who::Bare);
                            let has_it_anyway = |scope: &str| matches!(rule, Rule::AdminWith(_)) && scope == "admin";
                            scopes.retain(|scope| (*scope == needed) == needs_it || has_it_anyway(scope));
                            scopes.retain(|scope| rule.other_scope() != Some(scope));
                            Some(match who {
                                Who::Narrowed | Who::Bare => desk.narrowed(&world.admin, &scopes.join(" ")),
                                _ => desk.account(&scopes.join(" ")).await,
                            })
                        }
                    };
                    let (path, body) = path_and_body(desk, &world, id, path, caller.as_ref()).await;
                    let mut ask = ask(desk, method, &path, &body);
                    if let Some(caller) = &caller {
                        ask = ask.by(caller);
                    }
                    let answer = ask.send().await;
                    let end = match (answer.status.as_u16(), answer.body["code"].as_str()) {
                        (200..=299, _) => End::Allowed,
                        (401, Some("unauthenticated")) => End::Unauthenticated,
                        (403, Some("forbidden")) => End::Forbidden,
                        (403, Some("insufficient_scope")) => End::InsufficientScope,
                        (404, Some("not_found")) => End::NotFound,
                        other => panic!("{id} for {who:?}: {other:?} {}", answer.text()),
                    };
                    assert_eq!(end, rule.expects(who, id), "{id} for {who:?}: {}", answer.text());
                    match end {
                        End::Unauthenticated => assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"skranke\"")),
                        End::InsufficientScope => {
                            let challenge = answer.header("www-authenticate").unwrap();
                            assert!(challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\""), "{challenge}");
                        }
                        _ => {}
                    }
                    if end == End::Allowed && method != "get" && !ASKED_BY_POST.contains(&id) {
                        let is_account = matches!(who, Who::WithScope | Who::WithoutScope);
                        let needed = shown_to(id).map(|[person, account]| if is_account { account } else { person });
                        let may_read = needed.is_some_and(|needed| scopes.contains(&needed));
                        assert_eq!(!answer.bytes.is_empty(), may_read, "{id} for {who:?}: {}", answer.text());
                        let is_new = operation["responses"].get("201").is_some();
                        assert_eq!(answer.status, if is_new { 201 } else if may_read { 200 } else { 204 }, "{id} for {who:?}");
                        if needed.is_some() {
                            assert!(answer.header("etag").is_some_and(|tag| !tag.contains('.')), "{id} for {who:?}");
                            assert_eq!(answer.header("location").is_some(), is_new || !may_read, "{id} for {who:?}");
                            let told = answer.status.as_u16().to_string();
                            assert!(operation["responses"].get(&told).is_some(), "{id}: {told} is not in the document");
                        }
                        bare += usize::from(needed.is_some() && !may_read);
                    }
                    walked += 1;
                }
            }
        }
        assert_eq!(walked, RULES.len() * ALL.len(), "a rule for an operation that is no more");
        assert!(bare >= 20, "{bare} writes of tokens that may not read");
    }

    async fn a_replay_shows_no_more_than_the_token_may_read_with_which_it_is_asked_for(desk) {
        let document: Value = serde_json::from_str(document::CHECKED_IN).unwrap();
        let admin = desk.admin().await;
        let world = World { owner: desk.requester().await, stranger: desk.requester().await, agent: desk.agent().await, admin: admin.clone(), reader: desk.account("tickets:read").await };
        let mut replayed = 0;
        for (path, methods) in document["paths"].as_object().unwrap() {
            let Some(operation) = methods.get("post").filter(|operation| operation["responses"].get("201").is_some()) else { continue };
            let id = operation["operationId"].as_str().unwrap();
            let rule = RULES.iter().find(|(name, _)| *name == id).unwrap().1;
            let mut scopes = vec![rule.scope().unwrap()];
            if let Rule::AdminWith(_) = rule {
                scopes.push("admin");
            }
            let narrow = desk.narrowed(&admin, &scopes.join(" "));
            let may_read = scopes.contains(&shown_to(id).unwrap()[0]);
            for first_by in [&admin, &narrow] {
                let (path, body) = path_and_body(desk, &world, id, path, Some(&admin)).await;
                let key = format!("{id} {}", desk.nth());
                let send = |who: &Caller| ask(desk, "post", &path, &body).by(who).header("idempotency-key", &key).expect(201);
                let first = send(first_by).await;
                let (whole, part) = (send(&admin).await, send(&narrow).await);
                for again in [&whole, &part] {
                    assert_eq!(again.header("idempotent-replayed"), Some("true"), "{id}");
                    for header in ["etag", "location"] {
                        assert_eq!(again.header(header), first.header(header), "{id}: {header}");
                    }
                }
                assert!(whole.body["id"].is_string(), "{id}: {}", whole.text());
                assert_eq!(part.bytes.is_empty(), !may_read, "{id}: {}", part.text());
                assert_eq!(first.bytes, if first_by.token == admin.token { &whole } else { &part }.bytes, "{id}");
                replayed += 1;
            }
        }
        assert_eq!(replayed, 24, "twelve operations, two ways each");
    }

    async fn a_replay_shows_nothing_to_whoever_has_another_role_now(desk) {
        let (admin, agent, other) = (desk.admin().await, desk.agent().await, desk.requester().await);
        let send = || desk.post("/v1/tickets").by(&agent).header("idempotency-key", "k").json(&json!({ "subject": "theirs" })).expect(201);
        let first = send().await;
        let place = first.header("location").unwrap().to_owned();
        assert_eq!(send().await.body["id"], first.body["id"]);
        desk.patch(&place).by(&admin).json(&json!({ "requester_id": other.id, "subject": "about others" })).expect(200).await;
        desk.patch(&format!("/v1/users/{}", agent.id)).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
        desk.get(&place).by(&agent).refused(404, "not_found").await;
        let again = send().await;
        assert_eq!((again.header("location"), again.header("idempotent-replayed")), (Some(&*place), Some("true")));
        assert!(again.bytes.is_empty(), "{}", again.text());
        // Back in the role in which it was given, it is shown.
        desk.patch(&format!("/v1/users/{}", agent.id)).by(&admin).json(&json!({ "role": "agent" })).expect(200).await;
        assert_eq!(send().await.body["id"], first.body["id"]);
    }

    async fn a_conflict_tells_nothing_of_a_ticket_that_may_not_be_read(desk) {
        let (agent, alarm) = (desk.agent().await, desk.account("tickets:write").await);
        let blind = desk.narrowed(&agent, "tickets:write");
        let place = |ticket: &Answer| ticket.header("location").unwrap().to_owned();
        let opened = |external: &str| desk.post("/v1/tickets").by(&alarm).json(&json!({ "subject": "s", "external_id": external }));
        let (one, two) = (opened("one").expect(201).await, opened("two").expect(201).await);
        assert!(one.bytes.is_empty());
        let step = |who: &Caller| desk.patch(&place(&one)).by(who).json(&json!({ "status": "waiting_requester" })).refused(409, "illegal_transition");
        assert_eq!(step(&agent).await.body["legal"], json!(["open", "resolved"]));
        let refused = step(&blind).await;
        assert!(refused.body.get("legal").is_none() && !refused.text().contains("new") && !refused.text().contains("resolved"), "{}", refused.text());
        // Whoever has made the other one knows it; others do not find out that way.
        let again = opened("one").refused(409, "duplicate_external_id").await;
        assert_eq!(format!("/v1/tickets/{}", again.body["existing"]["id"].as_str().unwrap()), place(&one));
        let rename = |who: &Caller| desk.patch(&place(&two)).by(who).json(&json!({ "external_id": "one" })).refused(409, "duplicate_external_id");
        assert_eq!(rename(&agent).await.body["existing"]["number"], 1);
        assert_eq!(rename(&alarm).await.body["existing"]["number"], 1);
        let refused = rename(&blind).await;
        assert!(refused.body.get("existing").is_none() && !refused.text().contains(id_of(&one)), "{}", refused.text());
        // Numbers can be counted up; what stands behind them stays unseen.
        for number in [1, 2] {
            let answer = desk.patch(&format!("/v1/tickets/{number}")).by(&blind).json(&json!({})).expect(204).await;
            assert_eq!((answer.header("location"), answer.header("etag")), (Some(&*format!("/v1/tickets/{number}")), Some("\"1\"")));
            assert!(answer.bytes.is_empty() && answer.header("content-type").is_none());
        }
    }

    /// Neither right is enough for a report on tickets to those who set up policies.
    async fn a_preview_takes_both_rights(desk) {
        let admin = desk.admin().await;
        let world = World { owner: desk.requester().await, stranger: desk.requester().await, agent: desk.agent().await, admin, reader: desk.account("tickets:read").await };
        let (path, body) = path_and_body(desk, &world, "preview_sla_policy", "/v1/sla/policies/preview", None).await;
        for (scopes, status) in [("admin", 403), ("tickets:read", 403), ("admin metrics:read", 403), ("admin tickets:read", 200)] {
            for caller in [desk.narrowed(&world.admin, scopes), desk.account(scopes).await] {
                let answer = ask(desk, "post", &path, &body).by(&caller).expect(status).await;
                assert!(status == 200 || (answer.body["code"] == "insufficient_scope" && !answer.text().contains("matched")), "{scopes}");
            }
        }
    }

    /// Who may not is told so before the body is looked at.
    async fn authentication_is_judged_before_the_body(desk) {
        let requester = desk.requester().await;
        for path in ["/v1/tickets", "/v1/users", "/v1/teams", "/v1/service-accounts", "/v1/sla/calendars", "/v1/sla/policies", "/v1/sla/policies/preview", "/v1/webhooks"] {
            for body in ["{", "{\"nope\": 1}"] {
                desk.post(path).raw("application/json", body).refused(401, "unauthenticated").await;
            }
            desk.post(path).raw("text/plain", vec![b'x'; 600_000]).refused(401, "unauthenticated").await;
        }
        for path in ["/v1/users", "/v1/teams", "/v1/service-accounts", "/v1/sla/calendars", "/v1/sla/policies", "/v1/sla/policies/preview", "/v1/webhooks"] {
            desk.post(path).by(&requester).raw("application/json", "{").refused(403, "forbidden").await;
        }
    }

    async fn a_token_that_has_expired_is_told_so(desk) {
        let agent = desk.agent().await;
        let short = desk.narrowed(&agent, "tickets:read");
        desk.get("/v1/tickets").by(&short).expect(200).await;
        desk.clock.pass_s(3600);
        let refused = desk.get("/v1/tickets").by(&short).refused(401, "token_expired").await;
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"skranke\", error=\"invalid_token\""));
        desk.get("/v1/tickets").by(&agent).expect(200).await;
    }
}
