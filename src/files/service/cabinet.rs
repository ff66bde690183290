//! What a server has for files: where their bytes lie, how large they may be, and how many come at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::http::header::{self, ContentDisposition, HeaderMap};
use uuid::Uuid;

use super::clamd::Clamd;
use crate::files::domain::head::{self, UNKNOWN_TYPE};
use crate::files::domain::{LARGEST_B, sniff};
use crate::files::store::bytes::ByteStore;
use crate::files::store::draft::{self, BytesRead};
use crate::http::Call;
use crate::http::seats::{Seat, Seats};
use crate::kernel::{Code, PrincipalId, Problem};

/// How many files one server takes at once, from all senders together.
const MOST_AT_ONCE: usize = 256;

/// How many of one sender.
pub const MOST_OF_ONE: usize = 16;

/// How many bytes are gathered before they are written.
const WRITTEN_AT_ONCE_B: usize = 256 << 10;

/// Where files are kept.
#[derive(Debug, Clone)]
pub struct Cabinet {
    /// Where their bytes lie.
    pub bytes: ByteStore,
    /// How many bytes a file has at most.
    pub largest_b: u64,
    /// What scans files, if anything does.
    pub scanner: Option<Clamd>,
    seats: Seats,
}

/// What is said of a file that is sent.
#[derive(Debug, Clone)]
pub struct FileHead {
    /// What it is called.
    pub name: String,
    /// What it is.
    pub media_type: String,
    /// Its SHA-256.
    digest: Option<Vec<u8>>,
}

/// What has come.
#[derive(Debug, Clone)]
pub struct Received {
    /// How many bytes.
    pub size_b: u64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// As what they are shown.
    pub inline_type: Option<&'static str>,
}

/// A file whose bytes are stored, and no row knows of yet.
#[derive(Debug, Clone)]
pub struct NewFile {
    /// What was said of it.
    pub head: FileHead,
    /// What has come.
    pub written: Received,
    /// Under which key.
    pub key: String,
    /// Whether a row was made for it, which may have been committed.
    has_row: Arc<AtomicBool>,
}

impl Cabinet {
    /// A cabinet whose files lie in `bytes`.
    pub fn new(bytes: ByteStore) -> Self {
        let seats = Seats::of(MOST_AT_ONCE, MOST_OF_ONE, "send files");
        Self { bytes, largest_b: LARGEST_B, scanner: None, seats }
    }

    /// The same for files of at most `largest_b` bytes.
    #[must_use]
    pub fn up_to(self, largest_b: u64) -> Self {
        Self { largest_b, ..self }
    }

    /// The same where files are scanned, if by anything.
    #[must_use]
    pub fn scanned_by(self, scanner: Option<Clamd>) -> Self {
        Self { scanner, ..self }
    }

    /// Whether files are scanned.
    pub fn scans(&self) -> bool {
        self.scanner.is_some()
    }

    /// A seat for `who`, for as long as they send a file.
    ///
    /// # Errors
    /// `rate_limited` when they send too many at once, `unavailable` when all do.
    pub fn seat(&self, who: PrincipalId) -> Result<Seat, Problem> {
        self.seats.take(who)
    }

    /// Takes the body of `call`, which `head` tells of, and stores it.
    ///
    /// # Errors
    /// What is wrong with it; `content_mismatch` when it is not what its digest says; `unavailable` when it cannot be
    /// stored.
    pub async fn receive(&self, call: &Call, head: FileHead) -> Result<NewFile, Problem> {
        let mut upload = call.upload(self.largest_b)?;
        let mut draft = self.bytes.draft().await.map_err(away)?;
        let mut gathered = Vec::new();
        while let Some(piece) = upload.next().await? {
            gathered.extend_from_slice(&piece);
            if gathered.len() >= WRITTEN_AT_ONCE_B {
                draft = draft.write(std::mem::take(&mut gathered)).await.map_err(away)?;
            }
        }
        let draft = draft.write(gathered).await.map_err(away)?.finish();
        if head.digest.as_ref().is_some_and(|digest| *digest != draft.sha256) {
            return Err(Problem::new(Code::ContentMismatch, "The SHA-256 of the body is not that of Content-Digest."));
        }
        let inline_type = sniff::inline_type(&draft.head);
        let written = Received { size_b: draft.size_b, sha256: draft.sha256.clone(), inline_type };
        let key = draft::key(call.clock().id::<Uuid>(call.now()));
        self.bytes.keep(&key, draft).await.map_err(away)?;
        Ok(NewFile { head, written, key, has_row: Arc::default() })
    }

    /// Throws the bytes of `new` away if no row was made for them: what was sent is there already, or was refused.
    /// Where nobody knows whether it was, they are swept.
    pub async fn settle(&self, new: &NewFile) {
        if !new.has_row.load(Ordering::SeqCst)
            && let Err(error) = self.bytes.delete(&new.key).await
        {
            tracing::warn!(%error, "bytes that nobody needs are left to be swept");
        }
    }

    /// So many bytes under `key`, from `first` on.
    ///
    /// # Errors
    /// `unavailable` when they cannot be read.
    pub async fn get(&self, key: &str, first: u64, count: u64) -> Result<BytesRead, Problem> {
        self.bytes.get(key, first, count).await.map_err(away)
    }
}

impl NewFile {
    /// Notes that a row is made for it.
    pub fn has_row(&self) {
        self.has_row.store(true, Ordering::SeqCst);
    }

    /// What tells it from another one.
    pub fn fingerprint(&self) -> Vec<u8> {
        [self.head.name.as_bytes(), b"\n", self.head.media_type.as_bytes(), b"\n", &self.written.sha256].concat()
    }
}

impl FileHead {
    /// What `headers` say.
    ///
    /// # Errors
    /// `invalid_header`, with what is wrong.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let refuse = |detail: String| Problem::new(Code::InvalidHeader, detail);
        let text = |value: &header::HeaderValue| String::from_utf8(value.as_bytes().to_vec()).unwrap_or_default();
        let media_type = match headers.get(header::CONTENT_TYPE) {
            Some(given) => head::media_type(&text(given)).map_err(refuse)?,
            None => UNKNOWN_TYPE.to_owned(),
        };
        let digest = match headers.get("content-digest") {
            Some(given) => head::sha256(&text(given)).map_err(refuse)?,
            None => None,
        };
        let name = headers.get(header::CONTENT_DISPOSITION).and_then(told_name);
        let name = name.ok_or_else(|| {
            refuse("Send Content-Disposition: attachment; filename*=UTF-8''NAME, percent-encoded.".into())
        })?;
        Ok(Self { name: head::name(&name).map_err(refuse)?, media_type, digest })
    }
}

/// The name in a `Content-Disposition`: as it is, or else in letters of old.
fn told_name(value: &header::HeaderValue) -> Option<String> {
    let told = ContentDisposition::from_raw(value).ok()?;
    match told.get_filename_ext() {
        // Of others it is not known how they are written (RFC 8187, 3.2.1).
        Some(exact) if !exact.charset.to_string().eq_ignore_ascii_case("utf-8") => None,
        Some(exact) => String::from_utf8(exact.value.clone()).ok(),
        None => told.get_filename().map(str::to_owned),
    }
}

/// What the caller hears when the store of files does not do what it should.
fn away(error: std::io::Error) -> Problem {
    let detail = "The store of files is away or full. Nothing was changed. Try again in a moment.";
    Problem::unavailable(error).saying(detail)
}
