//! Chunked bodies that are answered before they have ended. actix-http waits for the rest of one that nobody reads any more, for
//! as long as its client takes; one that is still held when it has been answered ends the connection.

use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::web::Bytes;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;

/// The body of a request, for as long as it is not answered.
pub struct Unread(#[expect(dead_code, reason = "held for as long as it lives")] Rc<RefCell<Payload>>);

/// Holds the body of a request, if it is chunked; it can be read all the same.
pub fn hold(request: &mut ServiceRequest) -> Option<Unread> {
    if !request.chunked().unwrap_or(true) {
        return None;
    }
    let held = Rc::new(RefCell::new(request.take_payload()));
    let read = held.clone();
    let payload = Box::pin(poll_fn(move |cx| read.borrow_mut().poll_next_unpin(cx)));
    request.set_payload(Payload::Stream { payload });
    Some(Unread(held))
}

impl Unread {
    /// Lets go of it when `response` is written.
    pub fn until_answered(self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        response.map_body(|_, body| BoxBody::new(Answering { body, _unread: self }))
    }
}

struct Answering {
    body: BoxBody,
    _unread: Unread,
}

impl MessageBody for Answering {
    type Error = Box<dyn Error>;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
