//! The OpenAPI document: generated from the handlers, completed here with what all operations share.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::dev::ResourceDef;
use actix_web::http::Method;
use actix_web::{App, get};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_actix_web::AppExt;

use super::server;
use crate::auth::domain::{Role, Scope};
use crate::http::Endpoints;
use crate::http::problem::ProblemBody;
use crate::kernel::{Code, Problem};
use crate::tickets::domain::{Channel, Priority, Status, TicketType};

/// The document as it is checked in and served. Made by `skranke openapi`.
pub const CHECKED_IN: &str = include_str!("../../openapi/skranke.v1.json");

/// Registers the document's own endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(get_document);
}

/// Read this document.
#[utoipa::path(operation_id = "get_openapi_document", tag = "operation",
    responses((status = 200, description = "The OpenAPI document.", body = Object)))]
#[get("/openapi.json")]
async fn get_document() -> actix_web::HttpResponse {
    actix_web::HttpResponse::Ok().content_type("application/json").body(CHECKED_IN)
}

/// The pages at `/docs/`.
pub fn swagger_config() -> utoipa_swagger_ui::Config<'static> {
    utoipa_swagger_ui::Config::new(["/openapi.json"])
        .validator_url("none")
        .try_it_out_enabled(true)
        .persist_authorization(true)
        .deep_linking(true)
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Skranke", description = "", license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")),
    components(schemas(ProblemBody<'static>)),
    tags(
        (name = "auth", description = "Tokens, keys, and who a token is."),
        (name = "users", description = "People: requesters, agents and admins."),
        (name = "teams", description = "Queues of tickets, and who is in them."),
        (name = "service accounts", description = "Scripts and monitors."),
        (name = "sla", description = "What is promised: calendars of working hours, and SLA policies."),
        (name = "tickets", description = "Problems and requests, and what became of them."),
        (name = "comments", description = "Messages on a ticket, public or internal."),
        (name = "time entries", description = "Work on a ticket, and what it cost."),
        (name = "metrics", description = "Numbers about all of it."),
        (name = "operation", description = "The service itself."),
    )
)]
struct Base;

/// The document, as it follows from the code.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn generate() -> Result<String, Problem> {
    let (_, mut api) = App::new()
        .into_utoipa_app()
        .openapi(Base::openapi())
        .configure(|config| server::routes(config))
        .split_for_parts();
    if let Some(components) = api.components.as_mut() {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some(
                "A token of `POST /v1/auth/token`, of `skranke token`, or of a configured outside issuer.",
            ))
            .build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    }
    let mut document = serde_json::to_value(&api).map_err(Problem::internal)?;
    document["info"]["description"] = description().into();
    if let Some(paths) = document["paths"].as_object_mut() {
        for (path, operations) in paths {
            for (method, operation) in operations.as_object_mut().into_iter().flatten() {
                complete(path, method, operation);
            }
        }
    }
    let bodies = request_bodies(&document["paths"]);
    let pages = refine_schemas(&mut document["components"]["schemas"]);
    for name in bodies {
        close(&mut document["components"]["schemas"][name]);
    }
    let mut text = serde_json::to_string_pretty(&document).map_err(Problem::internal)?;
    text.push('\n');
    // Generated clients should read well: TicketPage, not Page_Ticket.
    Ok(pages.iter().fold(text, |text, item| text.replace(&format!("Page_{item}\""), &format!("{item}Page\""))))
}

/// What the derive macros cannot say: pages refer to their items, and the members of problems are typed. Gives the items
/// that there are pages of.
fn refine_schemas(schemas: &mut Value) -> Vec<String> {
    let names = schemas.as_object().into_iter().flatten().map(|(name, _)| name);
    let pages: Vec<String> = names.filter_map(|name| name.strip_prefix("Page_").map(str::to_owned)).collect();
    for item in &pages {
        let page = &mut schemas[format!("Page_{item}")];
        page["properties"]["items"]["items"] = json!({ "$ref": format!("#/components/schemas/{item}") });
    }
    open_free_objects(schemas);
    let scope = words(Scope::ALL.iter().map(|w| w.as_str()));
    schemas["TokenForm"]["properties"]["scope"]["pattern"] = format!("^({scope}( {scope})*)?$").into();
    let problem = &mut schemas["Problem"]["properties"];
    problem["code"]["enum"] = Code::ALL.iter().map(|code| code.as_str()).collect();
    problem["legal"] = json!({
        "description": "With `illegal_transition`: the statuses that the ticket can go to.",
        "type": "array", "items": { "$ref": "#/components/schemas/Status" },
    });
    problem["existing"] = json!({
        "description": "With `duplicate_external_id`: the ticket that has it.",
        "type": "object", "required": ["id", "number"],
        "properties": { "id": { "$ref": "#/components/schemas/TicketId" }, "number": { "type": "integer", "format": "int64" } },
    });
    problem["retry_after_s"] = json!({
        "description": "With `rate_limited`: in how many seconds to try again, as `Retry-After` says.",
        "type": "integer", "format": "int64", "minimum": 1,
    });
    problem["error"] = json!({
        "description": "From the token endpoint and with 401: the word of RFC 6749, 5.2, or RFC 6750, 3.1.", "type": "string",
    });
    problem["error_description"] = json!({
        "description": "From the token endpoint: the same as `detail` (RFC 6749, 5.2).", "type": "string",
    });
    pages
}

/// The schemas of all JSON request bodies, and what they are made of.
fn request_bodies(paths: &Value) -> BTreeSet<String> {
    let operations =
        paths.as_object().into_iter().flatten().flat_map(|(_, methods)| methods.as_object().into_iter().flatten());
    let media = operations.flat_map(|(_, op)| op["requestBody"]["content"].as_object().into_iter().flatten());
    let json =
        media.filter(|(kind, _)| kind.contains("json")).filter_map(|(_, media)| media["schema"]["$ref"].as_str());
    let mut names: BTreeSet<String> = json.filter_map(|r| r.rsplit('/').next().map(str::to_owned)).collect();
    let parts = [
        "RequesterByEmail",
        "MoneyInput",
        "WorkingHoursInput",
        "ShiftInput",
        "HolidayInput",
        "SlaConditionInput",
        "SlaTargetInput",
    ];
    names.extend(parts.map(str::to_owned));
    names
}

/// Unknown fields are errors, and one line of text is one line: the schema of a request says so.
fn close(schema: &mut Value) {
    schema["additionalProperties"] = false.into();
    for (name, field) in schema.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten() {
        if name == "tags" {
            // As a line, and without the comma that separates tags in a query.
            field["items"] = json!({
                "type": "string", "minLength": 1, "maxLength": 64,
                "pattern": r"^(?=.*\S)[^,\u0000-\u001F\u007F-\u009F]+$",
            });
        }
        let is_line = field["minLength"] == 1 && field["maxLength"].as_u64().is_some_and(|most| most <= 255);
        if is_line && field.get("format").is_none() {
            // Not blank, and no control characters: kernel::text::Line.
            field["pattern"] = r"^(?=.*\S)[^\u0000-\u001F\u007F-\u009F]+$".into();
        }
    }
}

/// An object without declared fields is a free one; generated clients take it for an empty one unless told.
fn open_free_objects(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            let is_object = match members.get("type") {
                Some(Value::Array(types)) => types.iter().any(|t| t == "object"),
                Some(one) => one == "object",
                None => false,
            };
            if is_object && !members.contains_key("properties") {
                members.entry("additionalProperties").or_insert(Value::Bool(true));
            }
            members.iter_mut().filter(|(name, _)| *name != "example").for_each(|(_, member)| open_free_objects(member));
        }
        Value::Array(items) => items.iter_mut().for_each(open_free_objects),
        _ => {}
    }
}

fn description() -> String {
    let mut text = String::from(
        "A headless helpdesk: problems are reported, registered, handled and solved over this API.\n\n\
         **Conventions.** JSON in and out. Times are RFC 3339 in UTC with `Z`; durations are whole seconds in fields named \
         `*_s`. Lists have `items` and `next_cursor`, take `limit` and `cursor`, and send a `Link` to the next page. Single \
         resources send an `ETag`; writes honour `If-Match` (412), reads `If-None-Match` (304). Every POST that creates \
         takes an `Idempotency-Key`: the same request with the same key within 24 hours gets the first answer again, with \
         `Idempotent-Replayed: true`, and has no second effect. `PATCH` is a JSON merge patch (RFC 7396). Unknown fields and \
         unknown query parameters are errors. `X-Request-Id` is taken or made, and returned.\n\n\
         **How current answers are.** Single resources are as they are now, always. Where the service has a replica, lists and \
         searches of tickets and the reports under `/v1/metrics` may lag behind by what the replica lags; not for a caller who \
         has written through the same instance within the last 10 seconds, and not for a request with `Cache-Control: no-cache` \
         or `max-age=0` (RFC 9111).\n\n\
         **Errors** are `application/problem+json` (RFC 9457). Programs decide by `code`, which is one of:\n\n\
         | status | code | when |\n|---|---|---|\n",
    );
    for code in Code::ALL {
        text.push_str(&format!("| {} | `{}` | {} |\n", code.status(), code.as_str(), code.doc()));
    }
    text
}

/// Adds the headers and error answers that follow from what kind of operation it is, so that no handler repeats them.
fn complete(path: &str, method: &str, operation: &mut Value) {
    let secured = operation["security"]
        .as_array()
        .is_some_and(|s| s.iter().any(|s| !s.as_object().is_some_and(|s| s.is_empty())));
    let creates = method == "post" && operation["responses"].get("201").is_some();
    let names_version =
        |all: &Value| all.as_array().is_some_and(|all| all.iter().any(|code| code == "version_mismatch"));
    let writes = matches!(method, "patch" | "put" | "delete") || names_version(&operation["x-problems"]);
    let has_body = operation.get("requestBody").is_some();
    let in_v1 = path.starts_with("/v1/");

    let mut codes: BTreeSet<&str> = ["internal_error"].into();
    if path != "/health/live" {
        codes.insert("rate_limited");
    }
    if in_v1 {
        codes.extend(["invalid_query", "not_acceptable", "unavailable"]);
    }
    if secured {
        codes.extend(["unauthenticated", "token_expired"]);
        if operation["security"]
            .as_array()
            .is_some_and(|s| s.iter().any(|s| s["bearer"].as_array().is_some_and(|s| !s.is_empty())))
        {
            codes.extend(["forbidden", "insufficient_scope"]);
        }
    }
    if path.contains('{') {
        codes.insert("not_found");
    }
    if operation["parameters"].as_array().is_some_and(|all| all.iter().any(|p| p["name"] == "cursor")) {
        codes.insert("invalid_cursor");
    }
    if has_body {
        codes.extend(["request_timeout", "body_too_large", "unsupported_media_type", "validation_failed"]);
        if operation["requestBody"]["content"].as_object().is_some_and(|c| c.keys().any(|k| k.contains("json"))) {
            codes.insert("malformed_json");
        }
    }
    let mut headers = Vec::new();
    if creates && secured {
        codes.extend(["idempotency_in_progress", "idempotency_key_reused", "invalid_header"]);
        headers.push(("Idempotency-Key", "A key of your choice, 1 to 255 printable ASCII characters: the same request with the same key is carried out once."));
    }
    if writes && secured {
        codes.extend(["version_mismatch", "invalid_header"]);
        headers.push(("If-Match", "The `ETag` that the resource must still have."));
    }
    if operation["responses"]["200"]["headers"].get("ETag").is_some() && method == "get" {
        headers.push(("If-None-Match", "An `ETag` that is known already: 304 if the resource still has it."));
        operation["responses"]["304"] = json!({ "description": "Still the same." });
    }
    for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
        refine_parameter(parameter);
    }
    let own = operation.get("x-problems").cloned().unwrap_or_default();
    let own: Vec<&str> = own.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    codes.extend(own);
    if let Some(operation) = operation.as_object_mut() {
        operation.remove("x-problems");
    }

    for (name, description) in headers {
        let schema = header_schema(name);
        let parameter =
            json!({ "name": name, "in": "header", "description": description, "required": false, "schema": schema });
        match operation.get_mut("parameters").and_then(Value::as_array_mut) {
            Some(parameters) => parameters.push(parameter),
            None => operation["parameters"] = json!([parameter]),
        }
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code.as_str())) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        operation["responses"][status.to_string()] = answer(status, &codes);
    }
}

/// Which values a header of ours takes.
fn header_schema(name: &str) -> Value {
    match name {
        "Idempotency-Key" => {
            json!({ "type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$" })
        }
        "If-Match" => json!({
            "type": "string", "minLength": 1, "pattern": r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#, "examples": ["\"3\""],
        }),
        _ => json!({ "type": "string" }),
    }
}

/// Which values a query parameter takes, where the type behind it is more than its schema says: lists separated by commas.
fn refine_parameter(parameter: &mut Value) {
    const ID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    if parameter["in"] != "query" {
        return;
    }
    let one_of = match parameter["name"].as_str().unwrap_or_default() {
        "status" => words(Status::ALL.iter().map(|w| w.as_str())),
        "priority" => words(Priority::ALL.iter().map(|w| w.as_str())),
        "type" => words(TicketType::ALL.iter().map(|w| w.as_str())),
        "channel" => words(Channel::ALL.iter().map(|w| w.as_str())),
        "role" => words(Role::ALL.iter().map(|w| w.as_str())),
        "team_id" => format!("(none|{ID})"),
        "assignee_id" | "requester_id" => format!("(me|none|{ID})"),
        "tag" => "[^,]+".to_owned(),
        "external_id" => {
            parameter["schema"]["minLength"] = 1.into();
            return;
        }
        "sla" => "(breached|due_within:[0-9]{1,8})".to_owned(),
        "cursor" => {
            parameter["schema"]["minLength"] = 1.into();
            parameter["schema"]["pattern"] = "^[A-Za-z0-9_-]+$".into();
            return;
        }
        _ => return,
    };
    let more = if parameter["name"] == "sla" { String::new() } else { format!("(,{one_of})*") };
    parameter["schema"]["pattern"] = format!("^{one_of}{more}$").into();
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    format!("({})", words.collect::<Vec<_>>().join("|"))
}

/// The description of an error answer: its codes, and an example of the first.
fn answer(status: u16, codes: &[Code]) -> Value {
    let description: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.doc())).collect();
    let example = json!({
        "type": format!("/docs#{}", codes[0].as_str()),
        "title": codes[0].title(),
        "status": status,
        "detail": codes[0].doc(),
        "code": codes[0].as_str(),
        "request_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    });
    let mut answer = json!({
        "description": description.join("\n\n"),
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" }, "example": example } },
    });
    let header = |text: &str| json!({ "description": text, "schema": { "type": "string" } });
    match status {
        401 => answer["headers"] = json!({ "WWW-Authenticate": header("What a token needs (RFC 6750).") }),
        429 => {
            answer["headers"] = json!({
                "Retry-After": header("Seconds to wait."),
                "RateLimit": header("What is left (draft-ietf-httpapi-ratelimit-headers), such as `\"principal\";r=0;t=12`."),
                "RateLimit-Policy": header("How much there is, such as `\"principal\";q=60000;w=60`."),
            })
        }
        503 => answer["headers"] = json!({ "Retry-After": header("Seconds to wait.") }),
        _ => {}
    }
    answer
}

/// Every path of the document with its methods, for telling 405 from 404.
pub fn methods() -> Vec<(ResourceDef, Vec<Method>)> {
    #[derive(Default, Deserialize)]
    struct Document {
        paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
    }
    let document: Document = serde_json::from_str(CHECKED_IN).unwrap_or_default();
    document
        .paths
        .iter()
        .map(|(path, operations)| {
            let names = operations.keys().map(|name| name.to_ascii_uppercase());
            let mut methods: Vec<Method> = names.filter_map(|name| name.parse().ok()).collect();
            if methods.contains(&Method::GET) {
                methods.push(Method::HEAD);
            }
            (ResourceDef::new(path.as_str()), methods)
        })
        .collect()
}
