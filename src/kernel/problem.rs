//! The one type of error, and the closed table of its codes (RFC 9457).

use std::error::Error as StdError;
use std::fmt;

use super::fault::Faults;
use super::field_error::FieldError;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $status:literal $code:literal $title:literal;)+) => {
        /// Every code that an answer of this API can carry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// The whole table, in the order of the documentation.
            pub const ALL: &'static [Code] = &[$(Code::$variant,)+];

            /// The HTTP status (RFC 9110).
            pub const fn status(self) -> u16 {
                match self { $(Code::$variant => $status,)+ }
            }

            /// The word in the member `code`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $code,)+ }
            }

            /// The constant sentence in the member `title`.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)+ }
            }

            /// When it comes and what to do about it.
            pub const fn doc(self) -> &'static str {
                match self { $(Code::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON, or an object in it has two members of one name; `detail` names the line and column.
    MalformedJson = 400 "malformed_json" "The body is not valid JSON.";
    /// A query parameter is unknown, given twice, or has a value that it cannot take.
    InvalidQuery = 400 "invalid_query" "A query parameter is not valid.";
    /// The cursor was not made by this list in this order, or in the order of relevance not for this search. Start
    /// again without one.
    InvalidCursor = 400 "invalid_cursor" "The cursor is not valid.";
    /// A header has a value that it cannot take.
    InvalidHeader = 400 "invalid_header" "A request header is not valid.";
    /// What has come is not what `Content-Length` or `Content-Digest` says. Send it again.
    ContentMismatch = 400 "content_mismatch" "The content is not what its headers say.";
    /// No token, or one that cannot be trusted, or wrong credentials.
    Unauthenticated = 401 "unauthenticated" "Authentication is required.";
    /// The token was good but has expired. Get a new one.
    TokenExpired = 401 "token_expired" "The token has expired.";
    /// The caller's role does not allow this: `roles` names those that do, or `errors` the fields that are not for this
    /// one to set.
    Forbidden = 403 "forbidden" "This is not allowed.";
    /// The token lacks the scope that this needs; `scope` names it.
    InsufficientScope = 403 "insufficient_scope" "The token lacks a scope.";
    /// There is no such thing, or none that the caller may know of.
    NotFound = 404 "not_found" "Not found.";
    /// The path exists, but not with this method; see the header `Allow`.
    MethodNotAllowed = 405 "method_not_allowed" "The method is not allowed here.";
    /// The answer cannot be given in any media type that `Accept` allows.
    NotAcceptable = 406 "not_acceptable" "No acceptable media type.";
    /// The body did not arrive in time. Send the request again.
    RequestTimeout = 408 "request_timeout" "The request took too long to arrive.";
    /// The ticket's life-cycle has no such step; `legal` lists the ones it has.
    IllegalTransition = 409 "illegal_transition" "The status cannot change this way.";
    /// The ticket is closed for good. Open a new one with `follow_up_of`.
    TicketClosed = 409 "ticket_closed" "The ticket is closed.";
    /// The caller has made a ticket with this `external_id` before, which is not closed; `existing` names it, and tells
    /// its status.
    DuplicateExternalId = 409 "duplicate_external_id" "The external id is taken.";
    /// A request with the same `Idempotency-Key` is still running. Try again shortly.
    IdempotencyInProgress = 409 "idempotency_in_progress" "The first request is still running.";
    /// The change collides with something that exists; `detail` says with what.
    Conflict = 409 "conflict" "The change conflicts with what is there.";
    /// No scanner has looked at the file yet. Try again in a moment.
    FileNotScanned = 409 "file_not_scanned" "The file has not been scanned yet.";
    /// The scanner has found something in the file. Its bytes are gone.
    FileInfected = 410 "file_infected" "The file was infected.";
    /// The link was good, but not for ever. Ask for another one.
    LinkExpired = 410 "link_expired" "The link has expired.";
    /// The cursor is of a history that the database does not have: it was set back, by a backup or by a failover that
    /// has lost the last changes. Read all tickets again, and go on from `from=now`.
    CursorDiverged = 410 "cursor_diverged" "The history has changed behind the cursor.";
    /// The resource has changed since it was read: it is at `version` now, whose tag is in `ETag`. Read it again and
    /// repeat the change.
    VersionMismatch = 412 "version_mismatch" "The resource has another version.";
    /// The body is larger than the limit that `detail` names.
    BodyTooLarge = 413 "body_too_large" "The body is too large.";
    /// The body's media type is not one that this takes; `detail` lists those.
    UnsupportedMediaType = 415 "unsupported_media_type" "The media type is not supported.";
    /// The range begins behind the end of the file; `Content-Range` says how long that is.
    RangeNotSatisfiable = 416 "range_not_satisfiable" "The range is not in the file.";
    /// Well-formed, but fields are wrong: `errors` lists the first 50 with their places, and `more_errors` says how
    /// many there are besides.
    ValidationFailed = 422 "validation_failed" "Some fields are not valid.";
    /// The `Idempotency-Key` was used for another request within the last 24 hours. Use a new one.
    IdempotencyKeyReused = 422 "idempotency_key_reused" "The idempotency key was used for another request.";
    /// Too many requests, or too many failed logins. Try again after `Retry-After` seconds; `RateLimit` says what is
    /// left.
    RateLimited = 429 "rate_limited" "Too many requests.";
    /// Our fault; the request id leads to the cause in the log.
    Internal = 500 "internal_error" "Something went wrong on our side.";
    /// The database or the store of files is away, busy, full or asked for too much. Try again after `Retry-After`
    /// seconds; `detail` says whether anything was changed.
    Unavailable = 503 "unavailable" "The service is not available right now.";
}

/// Why a request was not carried out. Everything that can fail in this crate ends here.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: String,
    errors: Faults,
    members: serde_json::Map<String, serde_json::Value>,
    /// What those alone are told who may read what it is about: another sentence, and a member.
    for_readers: Option<(String, &'static str, serde_json::Value)>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    transient: bool,
}

impl Problem {
    /// A problem of `code`; `detail` is for the caller's developer and says what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            detail: detail.into(),
            errors: Faults::default(),
            members: serde_json::Map::new(),
            for_readers: None,
            cause: None,
            transient: false,
        }))
    }

    /// There is no such thing, or none that the caller may know of: the same answer for both.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing here that this token may see.")
    }

    /// One or more fields are wrong.
    pub fn invalid(errors: impl Into<Faults>) -> Self {
        let errors = errors.into();
        let places = errors.told().iter().map(|e| if e.pointer.is_empty() { "the body" } else { e.pointer.as_str() });
        let detail = format!("Not valid: {}{}.", places.collect::<Vec<_>>().join(", "), and_more(&errors, ", "));
        Self::new(Code::ValidationFailed, detail).with_errors(errors)
    }

    /// One or more parameters of a query are wrong.
    pub fn invalid_query(errors: impl Into<Faults>) -> Self {
        let errors = errors.into().placed(|place| place.trim_start_matches('/').to_owned());
        let sentences = errors.told().iter().map(|e| format!("{} {}", e.pointer, e.detail));
        let detail = format!("{}{}.", sentences.collect::<Vec<_>>().join("; "), and_more(&errors, "; "));
        Self::new(Code::InvalidQuery, detail).with_errors(errors)
    }

    /// One field is wrong.
    pub fn field(pointer: &str, code: &'static str, detail: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError::new(pointer, code, detail)])
    }

    /// Our fault: `cause` goes to the log, never to the caller.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Internal, "The fault is logged under the request id.").because(cause)
    }

    /// The database cannot serve right now: `cause` goes to the log.
    pub fn unavailable(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Code::Unavailable, "Nothing was changed. Try again in a moment.").because(cause)
    }

    /// Too many requests at once: nothing was done, and waiting would make it no better.
    pub fn overloaded(what: &'static str) -> Self {
        let detail = "Too many requests at once. Nothing was changed. Try again in a moment.";
        Self::new(Code::Unavailable, detail).because(what)
    }

    /// It was not done in the time that a request may take, and is not done any more.
    pub fn late(what: &'static str) -> Self {
        let detail = "The database did not answer in time. Nothing was changed. Try again in a moment.";
        Self::new(Code::Unavailable, detail).because(what)
    }

    /// More than a quota lets through; the next is let through in `wait_s` seconds.
    pub fn rate_limited(detail: impl Into<String>, wait_s: u64) -> Self {
        Self::new(Code::RateLimited, detail).with("retry_after_s", wait_s)
    }

    /// A clash of transactions that goes away when the work is done again from the start.
    pub fn transient(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let mut problem = Self::unavailable(cause);
        problem.0.transient = true;
        problem
    }

    /// With another sentence for the caller's developer.
    #[must_use]
    pub fn saying(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = detail.into();
        self
    }

    /// With the list of bad fields.
    #[must_use]
    pub fn with_errors(mut self, errors: impl Into<Faults>) -> Self {
        self.0.errors = errors.into();
        self
    }

    /// With its bad fields at other places: of a part of a body, say.
    #[must_use]
    pub fn placed(mut self, place: impl Fn(&str) -> String) -> Self {
        let errors = std::mem::take(&mut self.0.errors).placed(place);
        match self.code() {
            Code::ValidationFailed => Self::invalid(errors),
            _ => self.with_errors(errors),
        }
    }

    /// With one more member in the answer (RFC 9457, 3.2).
    #[must_use]
    pub fn with(mut self, member: &str, value: impl Into<serde_json::Value>) -> Self {
        self.0.members.insert(member.to_owned(), value.into());
        self
    }

    /// With another sentence and one more member for those who may read what the problem is about. Nobody is told them
    /// unless
    /// [`for_reader`](Self::for_reader) is asked for it.
    #[must_use]
    pub fn telling_readers(
        mut self,
        detail: impl Into<String>,
        member: &'static str,
        value: impl Into<serde_json::Value>,
    ) -> Self {
        self.0.for_readers = Some((detail.into(), member, value.into()));
        self
    }

    /// As whoever may read what the problem is about is told it.
    #[must_use]
    pub fn for_reader(mut self) -> Self {
        match self.0.for_readers.take() {
            Some((detail, member, value)) => self.saying(detail).with(member, value),
            None => self,
        }
    }

    /// With the cause for the log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The same, or `instead` of `not_found`: what a request names is a fault of that request if it is not there.
    #[must_use]
    pub fn unless_found(self, instead: impl FnOnce() -> Self) -> Self {
        if self.code() == Code::NotFound { instead() } else { self }
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The sentence for the caller's developer.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The bad fields, as many of them as are told.
    pub fn errors(&self) -> &[FieldError] {
        self.0.errors.told()
    }

    /// How many more there are.
    pub fn more_errors(&self) -> usize {
        self.0.errors.more()
    }

    /// The further members of the answer.
    pub fn members(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.0.members
    }

    /// What the log should say of it.
    pub fn cause(&self) -> Option<&(dyn StdError + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// Whether doing the same again from the start may well succeed.
    pub fn is_transient(&self) -> bool {
        self.0.transient
    }
}

/// What follows those that are told.
fn and_more(errors: &Faults, comma: &str) -> String {
    match errors.more() {
        0 => String::new(),
        more => format!("{comma}and {more} more"),
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.detail)?;
        match &self.0.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl StdError for Problem {}
