//! Answers, as values: they can be stored and given again.

use actix_web::body::BoxBody;
use actix_web::http::header::{self, ContentEncoding, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use serde::Serialize;

use crate::kernel::Problem;

/// Smaller bodies are not compressed: it would cost more than it saves.
const COMPRESS_FROM_B: usize = 1400;

/// The strong entity tag of a version (RFC 9110, 8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// An answer: status, headers and a JSON body.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: String,
}

impl Reply {
    /// 200 with `body` and no entity tag: lists and reports.
    ///
    /// # Errors
    /// When `body` cannot be written as JSON.
    pub fn ok(body: &impl Serialize) -> Result<Self, Problem> {
        Self::json(200, body)
    }

    /// 200 with a single resource and its entity tag.
    ///
    /// # Errors
    /// When `body` cannot be written as JSON.
    pub fn resource(body: &impl Serialize, version: i64) -> Result<Self, Problem> {
        Ok(Self::json(200, body)?.header("etag", etag(version)))
    }

    /// 201 with a new resource, its entity tag and where it is.
    ///
    /// # Errors
    /// When `body` cannot be written as JSON.
    pub fn created(body: &impl Serialize, version: i64, location: String) -> Result<Self, Problem> {
        Ok(Self::json(201, body)?.header("etag", etag(version)).header("location", location))
    }

    /// 204: done, and nothing to say.
    pub fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: String::new() }
    }

    /// With an entity tag that differs from that of its version alone: `lapsed` things have come true by time since. The
    /// version still stands before the dot, for `If-Match`.
    #[must_use]
    pub fn lapsed(mut self, lapsed: usize) -> Self {
        for (_, tag) in self.headers.iter_mut().filter(|(name, _)| *name == "etag" && lapsed > 0) {
            *tag = format!("\"{}.{lapsed}\"", tag.trim_matches('"'));
        }
        self
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn json(status: u16, body: &impl Serialize) -> Result<Self, Problem> {
        let body = serde_json::to_string(body).map_err(Problem::internal)?;
        Ok(Self { status, headers: Vec::new(), body })
    }
}

impl Responder for Reply {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let tag = self.headers.iter().find(|(name, _)| *name == "etag").map(|(_, value)| value.as_str());
        let unchanged = request.method() == Method::GET && tag.is_some_and(|tag| none_match(request, tag));
        let status = if unchanged { 304 } else { self.status };
        let mut response = HttpResponseBuilder::new(StatusCode::from_u16(status).unwrap_or(StatusCode::OK));
        // What a token may see is nobody else's to keep, unless the answer says otherwise.
        response.insert_header((header::CACHE_CONTROL, "private, no-cache"));
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.insert_header((HeaderName::from_static(name), value));
            }
        }
        if status == 304 || status == 204 {
            return response.finish();
        }
        if self.body.len() < COMPRESS_FROM_B {
            response.insert_header(ContentEncoding::Identity);
        }
        response.content_type("application/json").body(self.body)
    }
}

/// Whether `If-None-Match` names `tag` (weak comparison, RFC 9110, 13.1.2).
fn none_match(request: &HttpRequest, tag: &str) -> bool {
    request.headers().get_all(header::IF_NONE_MATCH).filter_map(|v| v.to_str().ok()).any(|value| {
        value.split(',').map(str::trim).any(|candidate| candidate == "*" || candidate.trim_start_matches("W/") == tag)
    })
}
