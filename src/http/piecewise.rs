//! Answers that come piece by piece and have an end.

use std::pin::Pin;

use actix_web::body::BoxBody;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, Responder};
use futures_util::stream::{once, unfold};
use futures_util::{Stream, StreamExt as _};
use tokio::sync::mpsc::{self, Sender};

use super::unsent::flowing_until_broken;

/// An answer whose body comes as its pieces are made. Where one cannot be made the connection breaks, so that nobody
/// takes a part for the whole.
pub struct Piecewise {
    media_type: &'static str,
    name: Option<&'static str>,
    source: Pin<Box<dyn Stream<Item = std::io::Result<Bytes>>>>,
}

/// Where the pieces of an answer go. An error breaks the connection.
pub type PieceSender = Sender<std::io::Result<Bytes>>;

impl Piecewise {
    /// What `make` sends, as `media_type`. It begins when the body is asked for, which `HEAD` never does, and waits
    /// while a piece is not taken.
    pub fn made_by<M, F>(media_type: &'static str, make: M) -> Self
    where
        M: FnOnce(PieceSender) -> F + 'static,
        F: Future<Output = ()> + 'static,
    {
        let begun = once(async move {
            let (pieces, made) = mpsc::channel(1);
            actix_web::rt::spawn(make(pieces));
            unfold(made, async |mut made| made.recv().await.map(|piece| (piece, made)))
        });
        Self { media_type, name: None, source: Box::pin(begun.flatten()) }
    }

    /// The same, to be kept as a file of this name.
    #[must_use]
    pub fn called(self, name: &'static str) -> Self {
        Self { name: Some(name), ..self }
    }
}

impl Responder for Piecewise {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        let mut response = HttpResponse::Ok();
        response
            .insert_header((header::CONTENT_TYPE, self.media_type))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::VARY, "accept"))
            // Nobody in between keeps a part until there is more of it.
            .insert_header(("x-accel-buffering", "no"));
        if let Some(name) = self.name {
            response.insert_header((header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"")));
        }
        response.body(BoxBody::new(flowing_until_broken(request, self.source)))
    }
}
