//! Answers that go on: server-sent events, as browsers read them (HTML Living Standard, 9.2).

use std::pin::Pin;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, Responder};
use futures_util::{Stream, StreamExt};
use serde::Serialize;

use super::accept::EVENTS;
use super::unsent::flowing;
use crate::kernel::Problem;

/// How long a client waits before it comes again.
const RETRY: Duration = Duration::from_secs(2);

/// Some events, as they are sent.
#[derive(Debug, Default)]
pub struct Frames(Vec<u8>);

impl Frames {
    /// The first that a client hears: how long to wait before it comes again.
    pub fn opening() -> Self {
        Self(format!("retry: {}\n", RETRY.as_millis()).into_bytes())
    }

    /// That from here on it goes on at `id`, which is no event.
    #[must_use]
    pub fn at(mut self, id: &str) -> Self {
        self.field("id", id.as_bytes());
        self.0.extend_from_slice(b": keep\n\n");
        self
    }

    /// One event, whose data is JSON without line breaks; behind it the client goes on at `id`.
    pub fn event(&mut self, id: &str, kind: &str, data: &[u8]) {
        self.field("id", id.as_bytes());
        self.field("event", kind.as_bytes());
        self.field("data", data);
        self.0.push(b'\n');
    }

    /// An event that tells `data` and leaves the client where it is.
    ///
    /// # Errors
    /// When `data` cannot be written as JSON.
    pub fn say(&mut self, kind: &str, data: &impl Serialize) -> Result<(), Problem> {
        self.field("event", kind.as_bytes());
        self.field("data", &serde_json::to_vec(data).map_err(Problem::internal)?);
        self.0.push(b'\n');
        Ok(())
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn field(&mut self, name: &str, value: &[u8]) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend_from_slice(value);
        self.0.push(b'\n');
    }
}

/// An answer of server-sent events, which ends when its source does.
pub struct EventStream(Pin<Box<dyn Stream<Item = Frames>>>);

impl EventStream {
    /// The events of `source`. Each piece of it is asked for when the one before is taken.
    pub fn of(source: impl Stream<Item = Frames> + 'static) -> Self {
        Self(Box::pin(source))
    }
}

impl Responder for EventStream {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, EVENTS))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            // Nobody in between codes it, or keeps a part until there is more of it.
            .insert_header((header::CONTENT_ENCODING, "identity"))
            .insert_header(("x-accel-buffering", "no"));
        let pieces = self.0.map(|frames| Bytes::from(frames.0));
        response.body(BoxBody::new(flowing(request, Box::pin(pieces))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_the_standard_has_them() {
        let mut frames = Frames::opening().at("a");
        frames.event("b", "ticket.created", br#"{"n":1}"#);
        frames.say("end", &serde_json::json!({ "reason": "x" })).expect("JSON");
        let text = String::from_utf8(frames.0).expect("UTF-8");
        assert_eq!(
            text,
            "retry: 2000\nid: a\n: keep\n\nid: b\nevent: ticket.created\ndata: {\"n\":1}\n\n\
             event: end\ndata: {\"reason\":\"x\"}\n\n"
        );
    }
}
