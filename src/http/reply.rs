//! Answers, as values: they can be stored and given again.

use actix_web::body::BoxBody;
use actix_web::http::header::{self, EntityTag, Header, HeaderName, HeaderValue, IfNoneMatch};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpMessage, HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use serde::Serialize;

use super::accept::MediaType;
use super::table::{self, Table, TableWriter};
use crate::kernel::{PrincipalId, Problem};

/// The strong entity tag of a version (RFC 9110, 8.8.3).
pub fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// What a handler gives.
pub type Answer = Result<Reply, Problem>;

/// Whoever reads and writes resources.
pub trait Reader {
    /// Their id.
    fn id(&self) -> PrincipalId;

    /// What a person is at the counter, and how others are named to them, on which it depends what they may read;
    /// nothing of a service account.
    fn role(&self) -> Option<&'static str>;
}

/// Something with a version and a place of its own, which not everybody may read who may write it. There is no way to
/// answer with one but for a reader: no write shows what its caller may not read.
pub trait Resource: Serialize {
    /// Who may read it, or may not.
    type Reader: Reader;

    /// Its version, of which its entity tag is made.
    fn version(&self) -> i64;

    /// What of it has become another without a new version, in digits and dots: what has come true by time, say.
    fn moved(&self) -> Option<String> {
        None
    }

    /// Whether `reader` has the right to read what is of this kind.
    fn is_open_to(reader: &Self::Reader) -> bool;

    /// Whether `reader` may read this one.
    fn is_seen_by(&self, reader: &Self::Reader) -> bool {
        Self::is_open_to(reader)
    }
}

/// The problem, as `reader` may be told it, who has met it while writing a `T`.
pub fn met_by<T: Resource>(reader: &T::Reader, problem: Problem) -> Problem {
    if T::is_open_to(reader) { problem.for_reader() } else { problem }
}

/// An answer: status, headers and a body, which is JSON unless a header says otherwise.
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

    /// 200 with a report, in the form that was asked for.
    ///
    /// # Errors
    /// When `report` cannot be written as JSON.
    pub fn report(media_type: MediaType, report: &(impl Serialize + Table)) -> Result<Self, Problem> {
        let reply = match media_type {
            MediaType::Json => Self::ok(report)?,
            MediaType::Csv => {
                let mut writer = TableWriter::default();
                report.write(&mut writer)?;
                let headers = vec![("content-type", table::CONTENT_TYPE.to_owned())];
                Self { status: 200, headers, body: writer.finish()? }
            }
        };
        Ok(reply.header("vary", "accept".to_owned()))
    }

    /// 200 with a body that is written already, as `media_type`.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn of_type(media_type: &'static str, body: Vec<u8>) -> Result<Self, Problem> {
        Ok(Self::written(body)?.header("content-type", media_type.to_owned()))
    }

    /// 200 with a body that is JSON already.
    ///
    /// # Errors
    /// When `json` is not UTF-8.
    pub(super) fn written(mut json: Vec<u8>) -> Result<Self, Problem> {
        // It is kept until it is sent.
        json.shrink_to_fit();
        let body = String::from_utf8(json).map_err(Problem::internal)?;
        Ok(Self { status: 200, headers: Vec::new(), body })
    }

    /// 200 with a single resource that was read, and its entity tag.
    ///
    /// # Errors
    /// `not_found` if `reader` may not read it; when it cannot be written as JSON.
    pub fn resource<T: Resource>(reader: &T::Reader, resource: &T) -> Result<Self, Problem> {
        if resource.is_seen_by(reader) { Self::of(200, resource) } else { Err(Problem::not_found()) }
    }

    /// The answer to a write of the resource at `place`: 200 with the resource and its entity tag; to a writer who may
    /// not read it 204, with its entity tag and its place alone.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn changed<T: Resource>(writer: &T::Reader, resource: &T, place: String) -> Result<Self, Problem> {
        let shown = Self::of(200, resource)?;
        if resource.is_seen_by(writer) { Ok(shown) } else { Ok(shown.header("location", place).bare()) }
    }

    /// 201 with a new resource, its entity tag and where it is; to a writer who may not read it without a body.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn made<T: Resource>(writer: &T::Reader, resource: &T, place: String) -> Result<Self, Problem> {
        let shown = Self::created(resource, place)?;
        Ok(if T::is_open_to(writer) { shown } else { shown.bare() })
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// What a header says.
    pub fn header_value(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }

    /// 201 with a new resource, its entity tag and where it is. [`Call::create`](super::Call::create) keeps it whole,
    /// and gives it to those who may read it.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub(super) fn created<T: Resource>(resource: &T, place: String) -> Result<Self, Problem> {
        Ok(Self::of(201, resource)?.header("location", place))
    }

    /// The same without what only a reader may see: 201 stays so, and 200 becomes 204.
    #[must_use]
    pub(super) fn bare(mut self) -> Self {
        if self.status == 200 {
            self.status = 204;
        }
        self.body.clear();
        for (_, tag) in self.headers.iter_mut().filter(|(name, _)| *name == "etag") {
            // What has come true by time is told by reading.
            if let Some((version, _)) = tag.split_once('.') {
                *tag = format!("{version}\"");
            }
        }
        self
    }

    fn of<T: Resource>(status: u16, resource: &T) -> Result<Self, Problem> {
        let tag = match resource.moved() {
            // The version still stands before the dot, for `If-Match`.
            Some(moved) => format!("\"{}.{moved}\"", resource.version()),
            None => etag(resource.version()),
        };
        Ok(Self::json(status, resource)?.header("etag", tag))
    }

    /// 204: done, and nothing to say.
    pub fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: String::new() }
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
        if status != 304 && !self.body.is_empty() {
            response.content_type("application/json");
        }
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.insert_header((HeaderName::from_static(name), value));
            }
        }
        if status == 304 || self.body.is_empty() {
            return response.finish();
        }
        response.body(self.body)
    }
}

/// Whether `If-None-Match` names `tag` (weak comparison, RFC 9110, 13.1.2).
pub(super) fn none_match(request: &impl HttpMessage, tag: &str) -> bool {
    match (IfNoneMatch::parse(request), tag.parse::<EntityTag>()) {
        (Ok(IfNoneMatch::Any), _) => true,
        (Ok(IfNoneMatch::Items(known)), Ok(tag)) => known.iter().any(|known| known.weak_eq(&tag)),
        _ => false,
    }
}
