//! Texts that are built in: served with a tag of what is in them, so that nobody takes one twice.

use std::borrow::Cow;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::http::{Answer, Reply};

/// How much of a fingerprint tells two texts apart: 12 bytes.
const FINGERPRINT_B: usize = 12;

/// A text that is built in.
#[derive(Debug)]
pub struct FixedText {
    media_type: &'static str,
    text: Cow<'static, str>,
    fingerprint: String,
}

impl FixedText {
    /// `text`, of `media_type`.
    pub fn new(media_type: &'static str, text: impl Into<Cow<'static, str>>) -> Self {
        let text: Cow<'static, str> = text.into();
        let fingerprint = URL_SAFE_NO_PAD.encode(&digest(&SHA256, text.as_bytes()).as_ref()[..FINGERPRINT_B]);
        Self { media_type, text, fingerprint }
    }

    /// What no other text has.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The answer with it, which may be kept as `cache_control` says; 304 for whoever has it already.
    ///
    /// # Errors
    /// None: the text is UTF-8.
    pub fn reply(&self, cache_control: &str) -> Answer {
        let reply = Reply::of_type(self.media_type, self.text.as_bytes().to_vec())?;
        Ok(reply.header("etag", format!("\"{}\"", self.fingerprint)).header("cache-control", cache_control.to_owned()))
    }
}
