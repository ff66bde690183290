//! What follows from the kind of an operation: the error answers and headers that no handler repeats.

use std::collections::{BTreeMap, BTreeSet};

use utoipa::openapi::path::{Operation, Parameter, ParameterBuilder, ParameterIn, PathItem};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{Components, HeaderBuilder, Paths, Ref, RefOr, Required, Response, Schema};

use super::problems;
use crate::kernel::{Code, Problem};

/// In which extension a handler names problems that do not follow from its kind. The document does not have it.
const OWN: &str = "x-problems";

/// Adds to all operations of `item` the headers that they read and the error answers that they can give.
///
/// # Errors
/// When one names a problem that there is none of.
pub(super) fn complete(path: &str, item: &mut PathItem, components: &mut Components) -> Result<(), Problem> {
    let reads = item.get.iter_mut().map(|operation| (Method::Get, operation));
    let creates = item.post.iter_mut().map(|operation| (Method::Post, operation));
    let changes = [&mut item.put, &mut item.patch, &mut item.delete].into_iter().flatten();
    let changes = changes.map(|operation| (Method::Change, operation));
    for (method, operation) in reads.chain(creates).chain(changes) {
        complete_one(path, method, operation, components)?;
    }
    Ok(())
}

/// What a method does, as far as it makes a difference here.
#[derive(Clone, Copy, PartialEq)]
enum Method {
    Get,
    Post,
    Change,
}

fn complete_one(
    path: &str,
    method: Method,
    operation: &mut Operation,
    components: &mut Components,
) -> Result<(), Problem> {
    let mut codes = own_problems(operation)?;
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter {
            join_default(parameter);
        }
    }
    if let Some(RefOr::T(page)) = operation.responses.responses.get_mut("200")
        && page.headers.contains_key("Link")
    {
        let header = answer_header(
            Type::String,
            "Weak: the same for pages whose items are the same, whatever seconds have passed.",
        );
        page.headers.insert("ETag".to_owned(), header.into());
    }
    let scopes = scopes(operation.security.as_deref().unwrap_or_default());
    let is_secured = !scopes.is_empty();
    let success = |status: &str| match operation.responses.responses.get(status) {
        Some(RefOr::T(answer)) => Some(answer),
        _ => None,
    };
    let creates = method == Method::Post && success("201").is_some();
    let writes = method == Method::Change || codes.contains(&Code::VersionMismatch);
    let has_tag = success("200").is_some_and(|answer| answer.headers.contains_key("ETag"));

    codes.push(Code::Internal);
    if path != "/health/live" {
        codes.push(Code::RateLimited);
    }
    if path == "/.well-known/jwks.json" {
        codes.push(Code::InvalidQuery);
    }
    if path.starts_with("/v1/") {
        codes.extend([Code::InvalidQuery, Code::NotAcceptable, Code::Unavailable]);
    }
    if is_secured {
        codes.extend([Code::Unauthenticated, Code::TokenExpired]);
    }
    if scopes.iter().any(|scopes| !scopes.is_empty()) {
        codes.extend([Code::Forbidden, Code::InsufficientScope]);
    }
    if path.contains('{') {
        codes.push(Code::NotFound);
    }
    if operation.parameters.iter().flatten().any(|one| matches!(one, RefOr::T(one) if one.name == "cursor")) {
        codes.push(Code::InvalidCursor);
    }
    if let Some(RefOr::T(body)) = &operation.request_body {
        codes.extend([Code::RequestTimeout, Code::BodyTooLarge, Code::UnsupportedMediaType, Code::ValidationFailed]);
        if body.content.keys().any(|kind| kind.contains("json")) {
            codes.push(Code::MalformedJson);
        }
    }
    let mut headers = Vec::new();
    if creates && is_secured {
        // What is made has no version that `If-Match` could name.
        codes.push(Code::VersionMismatch);
        codes.extend([Code::IdempotencyInProgress, Code::IdempotencyKeyReused, Code::InvalidHeader]);
        headers.push(&IDEMPOTENCY_KEY);
        if let Some(RefOr::T(made)) = operation.responses.responses.get_mut("201") {
            let header = answer_header(Type::String, "`true`, where it is the kept answer to the same request before.");
            made.headers.insert("Idempotent-Replayed".to_owned(), header.into());
        }
    }
    if writes && is_secured {
        codes.extend([Code::VersionMismatch, Code::InvalidHeader]);
        headers.push(&IF_MATCH);
    }
    if has_tag && method == Method::Get {
        headers.push(&IF_NONE_MATCH);
        let mut same = Response::new("Still the same.");
        same.headers.insert("ETag".to_owned(), answer_header(Type::String, "The version that it still has.").into());
        operation.responses.responses.insert("304".to_owned(), same.into());
    }
    for header in headers {
        operation.parameters.get_or_insert_default().push(header.shared(components));
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in Code::ALL.iter().filter(|code| codes.contains(code)) {
        by_status.entry(code.status()).or_default().push(*code);
    }
    for (status, codes) in by_status {
        operation.responses.responses.insert(status.to_string(), problems::shared(&codes, components));
    }
    Ok(())
}

/// The default of a closed vocabulary comes beside it as that of an object, which no word is: it joins the words.
fn join_default(parameter: &mut Parameter) {
    let Some(RefOr::T(Schema::AllOf(all))) = &mut parameter.schema else { return };
    let [RefOr::T(Schema::Object(words)), RefOr::T(Schema::Object(beside))] = all.items.as_mut_slice() else { return };
    words.default = beside.default.take();
    parameter.schema = Some(RefOr::T(Schema::Object(words.clone())));
}

/// A header of answers.
fn answer_header(of: Type, description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new().schema(Some(ObjectBuilder::new().schema_type(of))).description(Some(description)).build()
}

/// The problems that the handler names itself.
fn own_problems(operation: &mut Operation) -> Result<Vec<Code>, Problem> {
    let named = operation.extensions.as_mut().and_then(|extensions| extensions.remove(OWN));
    let Some(named) = named else { return Ok(Vec::new()) };
    let words = named.as_array().into_iter().flatten();
    words
        .map(|word| {
            let known = Code::ALL.iter().copied().find(|code| word == code.as_str());
            known.ok_or_else(|| Problem::internal(format!("there is no problem called {word}")))
        })
        .collect()
}

/// The scopes of each way in which a caller may be known; none for an operation that anybody may call.
fn scopes(security: &[SecurityRequirement]) -> Vec<Vec<String>> {
    // Its fields can be read by nobody, only written.
    let ways = security.iter().filter_map(|way| serde_json::to_value(way).ok());
    let ways = ways.filter_map(|way| serde_json::from_value::<BTreeMap<String, Vec<String>>>(way).ok());
    ways.filter(|way| !way.is_empty()).map(|way| way.into_values().flatten().collect()).collect()
}

/// A header that requests of many operations may have.
struct RequestHeader {
    name: &'static str,
    description: &'static str,
    /// What it must be like, and whether it must be there at all if it is named.
    pattern: Option<&'static str>,
    most: Option<usize>,
    example: &'static str,
}

const IDEMPOTENCY_KEY: RequestHeader = RequestHeader {
    name: "Idempotency-Key",
    description: "A key of your choice, 1 to 255 printable ASCII characters: the same request with the same key is carried out once.",
    pattern: Some("^[!-~]([ -~]*[!-~])?$"),
    most: Some(255),
    example: "backup-2026-03-02",
};

const IF_MATCH: RequestHeader = RequestHeader {
    name: "If-Match",
    description: "The `ETag` that the resource must still have.",
    pattern: Some(r#"^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$"#),
    most: None,
    example: "\"3\"",
};

const IF_NONE_MATCH: RequestHeader = RequestHeader {
    name: "If-None-Match",
    description: "An `ETag` that is known already: 304 if the resource still has it.",
    pattern: None,
    most: None,
    example: "\"3\"",
};

impl RequestHeader {
    /// A reference to it; it joins the `components`.
    fn shared(&self, components: &mut Components) -> RefOr<Parameter> {
        let name = self.name.replace('-', "");
        components.parameters.entry(name.clone()).or_insert_with(|| {
            let schema = ObjectBuilder::new()
                .schema_type(Type::String)
                .pattern(self.pattern)
                .min_length(self.pattern.map(|_| 1))
                .max_length(self.most)
                .examples([self.example]);
            ParameterBuilder::new()
                .name(self.name)
                .parameter_in(ParameterIn::Header)
                .required(Required::False)
                .description(Some(self.description))
                .schema(Some(schema))
                .build()
                .into()
        });
        RefOr::Ref(Ref::new(format!("#/components/parameters/{name}")))
    }
}

/// The names of the schemas of all JSON request bodies.
pub(super) fn request_bodies(paths: &Paths) -> BTreeSet<String> {
    let items = paths.paths.values();
    let operations = items.flat_map(|item| [&item.post, &item.put, &item.patch].into_iter().flatten());
    let bodies = operations.filter_map(|operation| match &operation.request_body {
        Some(RefOr::T(body)) => Some(&body.content),
        _ => None,
    });
    let json = bodies.flatten().filter(|(kind, _)| kind.contains("json")).filter_map(|(_, content)| match content {
        RefOr::T(content) => content.schema.as_ref(),
        RefOr::Ref(_) => None,
    });
    let names = json.filter_map(|schema| match schema {
        RefOr::Ref(schema) => schema.ref_location.rsplit('/').next(),
        RefOr::T(_) => None,
    });
    names.map(str::to_owned).collect()
}
