//! Bodies that are answered before they have ended: chunked ones that nobody reads any more, and those that never end.
//! actix-http waits for the rest of one that nobody reads, for as long as its client takes; one that is still held when
//! it has been answered ends the connection.

use std::cell::RefCell;
use std::error::Error;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::HttpMessage;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{ConnectionType, Method, header};
use actix_web::web::Bytes;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;

/// The body of a request, for as long as it is not answered.
pub struct Unread {
    #[expect(dead_code, reason = "held for as long as it lives")]
    body: Rc<RefCell<Payload>>,
    /// Whether it has no end of its own, so that no other request can follow it.
    is_endless: bool,
}

/// Holds the body of a request, if it is chunked or endless; it can be read all the same, and an endless one ends where
/// its `Content-Length` says.
pub fn hold(request: &mut ServiceRequest) -> Option<Unread> {
    let is_chunked = request.chunked().unwrap_or(true);
    let is_endless = !is_chunked && is_endless(request);
    if !is_chunked && !is_endless {
        return None;
    }
    let length =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.trim().parse().ok());
    let held = Rc::new(RefCell::new(request.take_payload()));
    let (read, mut left) = (held.clone(), if is_endless { length.unwrap_or(0) } else { usize::MAX });
    let payload = Box::pin(poll_fn(move |cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        let next = read.borrow_mut().poll_next_unpin(cx);
        next.map_ok(|mut bytes| {
            bytes.truncate(left);
            left -= bytes.len();
            bytes
        })
    }));
    request.set_payload(Payload::Stream { payload });
    Some(Unread { body: held, is_endless })
}

/// Whether actix-http takes all that comes behind the head of `request` for its body, whatever its length is said to
/// be. Nothing here becomes anything else than HTTP: `Upgrade` is not followed, as RFC 9110, 7.8, allows.
fn is_endless(request: &ServiceRequest) -> bool {
    let mut protocols = request.headers().get_all(header::UPGRADE).filter_map(|value| value.to_str().ok());
    *request.method() == Method::CONNECT || protocols.any(|protocol| protocol.trim().eq_ignore_ascii_case("websocket"))
}

impl Unread {
    /// Lets go of it when `response` is written.
    pub fn until_answered(self, mut response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        if self.is_endless {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
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
