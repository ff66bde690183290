//! Problems on the wire: `application/problem+json` (RFC 9457).

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::reply::etag;
use crate::kernel::{Code, FieldError, Problem};

/// What every answer with a status of 400 or more looks like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    /// An address that identifies the code; its fragment leads into the documentation.
    #[serde(rename = "type")]
    #[schema(examples("/docs#validation_failed"))]
    kind: String,
    /// The constant sentence of the code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened here and what to do about it, for a developer to read.
    detail: &'a str,
    /// A word of the closed table of codes: what programs should decide by.
    code: &'static str,
    /// The request's id, which leads to its log line.
    #[schema(examples("019a2f4e-7c1b-7d3e-8f00-1234567890ab"))]
    request_id: &'a str,
    /// Every bad field, or the first 50 of them.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    #[schema(required = false, max_items = 50)]
    errors: &'a [FieldError],
    /// How many bad fields there are besides these.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false, nullable = false, minimum = 1)]
    more_errors: Option<usize>,
    /// Further members, by code: `legal` with `illegal_transition` and `existing` with `duplicate_external_id`, for
    /// those who may read tickets, `retry_after_s` with `rate_limited`, `version` with `version_mismatch`, `scope` with
    /// `insufficient_scope`, and `roles` with `forbidden`.
    #[serde(flatten)]
    #[schema(ignore)]
    members: &'a serde_json::Map<String, serde_json::Value>,
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// An empty answer: `edge` fills it in, since only there the request's id is known.
    fn error_response(&self) -> HttpResponse {
        HttpResponse::new(self.status_code())
    }
}

fn body<'a>(problem: &'a Problem, request_id: &'a str) -> ProblemBody<'a> {
    let code = problem.code();
    ProblemBody {
        kind: format!("/docs#{}", code.as_str()),
        title: code.title(),
        status: code.status(),
        detail: problem.detail(),
        code: code.as_str(),
        request_id,
        errors: problem.errors(),
        more_errors: Some(problem.more_errors()).filter(|more| *more > 0),
        members: problem.members(),
    }
}

/// `problem` as a part of the answer to the request `request_id`: what has become of one of several things.
///
/// # Errors
/// When it cannot be written as JSON, which would be our fault.
pub fn as_json(problem: &Problem, request_id: &str) -> Result<Map<String, Value>, Problem> {
    match serde_json::to_value(body(problem, request_id)).map_err(Problem::internal)? {
        Value::Object(members) => Ok(members),
        _ => Err(Problem::internal("a problem is an object")),
    }
}

/// The answer for `problem` in the request `request_id`.
pub fn render(problem: &Problem, request_id: &str) -> HttpResponse {
    let code = problem.code();
    let mut response = HttpResponseBuilder::new(problem.status_code());
    response.insert_header((header::CACHE_CONTROL, "no-store"));
    if let Some(challenge) = challenge(problem) {
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    if let (Code::VersionMismatch, Some(version)) = (code, problem.members().get("version").and_then(|v| v.as_i64())) {
        response.insert_header((header::ETAG, etag(version)));
    }
    match (code, problem.members().get("retry_after_s")) {
        (Code::RateLimited, Some(wait_s)) => drop(response.insert_header((header::RETRY_AFTER, wait_s.to_string()))),
        (Code::Unavailable, Some(wait_s)) => drop(response.insert_header((header::RETRY_AFTER, wait_s.to_string()))),
        (Code::IdempotencyInProgress, _) => drop(response.insert_header((header::RETRY_AFTER, "1"))),
        (Code::Unavailable, None) => drop(response.insert_header((header::RETRY_AFTER, "1"))),
        // What is left of the request is not read (RFC 9110, 15.5.9).
        (Code::RequestTimeout, _) => drop(response.force_close()),
        _ => {}
    }
    if let (Code::RangeNotSatisfiable, Some(size_b)) = (code, problem.members().get("size_b")) {
        response.insert_header((header::CONTENT_RANGE, format!("bytes */{size_b}")));
    }
    if let Some(allow) = problem.members().get("allow").and_then(|v| v.as_str()) {
        response.insert_header((header::ALLOW, allow));
    }
    response.content_type("application/problem+json").json(body(problem, request_id))
}

/// RFC 6750, 3: what a bearer token lacks. Without a token, no error is named.
fn challenge(problem: &Problem) -> Option<HeaderValue> {
    let member = |name| problem.members().get(name).and_then(|v| v.as_str());
    let error = match problem.code() {
        Code::Unauthenticated | Code::TokenExpired => match member("error") {
            // What the token endpoint says of credentials, not of a bearer token (RFC 6749, 5.2).
            Some("invalid_client") => {
                return Some(HeaderValue::from_static("Basic realm=\"skranke\", charset=\"UTF-8\""));
            }
            Some("invalid_grant") | None => String::new(),
            Some(error) => format!(", error=\"{error}\""),
        },
        Code::InsufficientScope => {
            format!(", error=\"insufficient_scope\", scope=\"{}\"", member("scope").unwrap_or_default())
        }
        _ => return None,
    };
    HeaderValue::from_str(&format!("Bearer realm=\"skranke\"{error}")).ok()
}
