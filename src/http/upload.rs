//! Bodies that are no JSON and may be large: they are read piece by piece, for as long as they come quickly enough.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::web::Bytes;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::call::Call;
use crate::kernel::{Code, Problem};

/// How much of a body must come in a second, on average, in bytes.
const RATE_B: u64 = 10 << 10;

/// A body that is on its way.
pub struct Upload<'a> {
    call: &'a Call,
    payload: Payload,
    most_b: u64,
    come_b: u64,
    begun: Instant,
    until: Instant,
    /// When the last piece was given on: what is done with it is not the client's time.
    given_at: Instant,
}

impl Call {
    /// The body, of at most `most_b` bytes, as it comes.
    ///
    /// # Errors
    /// `body_too_large` when it says that it has more, `unsupported_media_type` when it is coded.
    pub fn upload(&self, most_b: u64) -> Result<Upload<'_>, Problem> {
        if self.announced_b().is_some_and(|length| length > most_b) {
            return Err(too_large(most_b));
        }
        if self.headers().get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(Problem::new(Code::UnsupportedMediaType, "Send the body without Content-Encoding."));
        }
        let begun = Instant::now();
        let payload = self.take_payload();
        Ok(Upload { call: self, payload, most_b, come_b: 0, begun, until: begun + self.patience(), given_at: begun })
    }

    /// How many bytes the body has, if it says so.
    pub fn announced_b(&self) -> Option<u64> {
        self.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok())
    }
}

impl Upload<'_> {
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// `request_timeout` when it comes too slowly, `body_too_large`, or `content_mismatch` when it ends too soon.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        self.until += self.given_at.elapsed();
        let Ok(next) = tokio::time::timeout_at(self.until, self.payload.next()).await else {
            let detail = format!("The body came more slowly than {RATE_B} bytes a second.");
            return Err(Problem::new(Code::RequestTimeout, detail));
        };
        let Some(piece) = next else { return self.end() };
        let piece = piece.map_err(|_| ended_too_soon())?;
        self.come_b += piece.len() as u64;
        if self.come_b > self.most_b {
            return Err(too_large(self.most_b));
        }
        // Whoever was quick may rest, but not for longer than everybody.
        let earned = Duration::from_millis(piece.len() as u64 * 1_000 / RATE_B);
        self.given_at = Instant::now();
        self.until = (self.until + earned).min(self.given_at + self.call.patience());
        Ok(Some(piece))
    }

    fn end(&self) -> Result<Option<Bytes>, Problem> {
        // How long it took was up to the client.
        self.call.make_up_for(self.begun.elapsed());
        match self.call.announced_b() {
            Some(announced) if announced != self.come_b => Err(ended_too_soon()),
            _ => Ok(None),
        }
    }
}

fn ended_too_soon() -> Problem {
    Problem::new(Code::ContentMismatch, "The body ended before it was complete.")
}

fn too_large(most_b: u64) -> Problem {
    Problem::new(Code::BodyTooLarge, format!("The body may have at most {most_b} bytes."))
}
