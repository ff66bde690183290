//! Answers that are the bytes of a file, or a part of them, sent as they are read.

use std::pin::Pin;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Responder};
use futures_util::Stream;

use super::unsent::{Flowing, flowing_b};

/// Bytes as they are read. One that fails ends the connection, so that nobody takes a part for the whole.
pub type ByteStream = Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>;

/// The bytes of a file, a part of them, or that they are still the same.
pub struct Content {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Option<(u64, ByteStream)>,
}

impl Content {
    /// 200 with all of it.
    pub fn whole(size_b: u64, bytes: ByteStream) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: Some((size_b, bytes)) }
    }

    /// 206 with a part of so many bytes.
    pub fn part(size_b: u64, bytes: ByteStream) -> Self {
        Self { status: StatusCode::PARTIAL_CONTENT, ..Self::whole(size_b, bytes) }
    }

    /// 304.
    pub fn same() -> Self {
        Self { status: StatusCode::NOT_MODIFIED, headers: Vec::new(), body: None }
    }

    /// With one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl Responder for Content {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponseBuilder::new(self.status);
        for (name, value) in &self.headers {
            if let Ok(value) = HeaderValue::from_str(value) {
                response.insert_header((HeaderName::from_static(name), value));
            }
        }
        let Some((size_b, bytes)) = self.body else { return response.finish() };
        response.extensions_mut().insert(Flowing);
        response.body(BoxBody::new(flowing_b(request, size_b, bytes)))
    }
}
