//! A request as a handler sees it. Reading is explicit and in order, so that authentication is judged before the body.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use deserr::{Deserr, ValuePointerRef};
use futures_util::StreamExt;
use futures_util::future::{Ready, ready};
use serde_json::Value;

use super::accept::{LINES, MediaType, Wanted};
use super::edge::RequestId;
use super::fresh;
use super::jobs::Jobs;
use super::limits::{Attempt, Gate};
use super::origin::Origin;
use super::query::Parts;
use super::seal::Sealer;
use super::seats::Seat;
use super::state::State;
use super::unsent;
use crate::db::signal::SignalListener;
use crate::db::{Db, Deadline, Lagging};
use crate::kernel::fault::{Faults, pointer};
use crate::kernel::json::{Unique, find_large_wholes};
use crate::kernel::rows::of_another_list;
use crate::kernel::{Clock, Code, FieldError, Instant, Money, PrincipalId, Problem};

/// The largest form, in bytes: whoever sends it is not known yet.
const FORM_LIMIT_B: usize = 16 << 10;

/// For so much of a body room is made before it comes, in bytes.
const MOST_AHEAD_B: usize = 64 << 10;

/// One request.
pub struct Call {
    request: HttpRequest,
    payload: RefCell<Payload>,
    state: web::Data<State>,
    gate: web::Data<Gate>,
    now: Instant,
    deadline: Cell<Deadline>,
    body: RefCell<Vec<u8>>,
    /// Whether it judges `If-Match` by the version of something.
    judges: Cell<bool>,
}

impl FromRequest for Call {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let state = request.app_data::<web::Data<State>>().cloned();
        let gate = request.app_data::<web::Data<Gate>>().cloned();
        let (Some(state), Some(gate)) = (state, gate) else {
            return ready(Err(Problem::internal("no state in the app")));
        };
        let now = state.clock.now();
        let deadline = Cell::new(state.deadline(request));
        let payload = RefCell::new(payload.take());
        let (request, body, judges) = (request.clone(), RefCell::default(), Cell::default());
        ready(Ok(Self { request, payload, state, gate, now, deadline, body, judges }))
    }
}

impl Call {
    /// The instant of this call: one for all that it does.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The database, for as long as this call may take.
    pub fn db(&self) -> Db {
        self.state.db.until(self.deadline.get()).asked_by(unsent::caller(&self.request))
    }

    /// The database, for what goes on after this call: whoever holds it says [anew](Db::anew) how long each piece may
    /// take.
    pub fn db_to_keep(&self) -> Db {
        self.state.db.clone().asked_by(unsent::caller(&self.request))
    }

    /// Counts this request as so many more of `who`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn count_more(&self, who: PrincipalId, more: usize) -> Result<(), Problem> {
        self.gate.count_more(&who, more)
    }

    /// A seat among those who wait for something to happen, for as long as it is held.
    ///
    /// # Errors
    /// `rate_limited` when `who` has too many, `unavailable` when all are taken.
    pub fn seat(&self, who: PrincipalId) -> Result<Seat, Problem> {
        self.gate.seats().take(who)
    }

    /// How many wait for something to happen on this instance right now.
    pub fn streams(&self) -> usize {
        self.gate.seats().taken()
    }

    /// How much time is between two heartbeats of what goes on.
    pub fn heartbeat(&self) -> Duration {
        self.gate.heartbeat()
    }

    /// Hears when the process is told to end.
    pub fn ending(&self) -> SignalListener {
        self.state.ending.listen()
    }

    /// What seals and opens cursors that tell nothing.
    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.state.sealer
    }

    /// The database for lists and numbers, which may come from a replica, unless the caller has written through this
    /// instance lately or demands what is there now.
    pub fn db_for_lists(&self, who: PrincipalId) -> Lagging {
        let db = self.db();
        let must_be_current = || fresh::is_demanded(self.headers()) || self.state.writers.has(who, self.now);
        if !db.has_replica() || must_be_current() { db.current() } else { db.lagging() }
    }

    /// The source of ids.
    pub fn clock(&self) -> &Clock {
        &self.state.clock
    }

    /// What an hour of work costs where neither agent nor team says so.
    pub fn default_rate(&self) -> Option<Money> {
        self.state.default_rate
    }

    /// What runs by itself in this process.
    pub fn jobs(&self) -> &Jobs {
        &self.state.jobs
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The id of the request.
    pub fn request_id(&self) -> String {
        self.request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default()
    }

    /// The request's headers.
    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The id of the last event that the client has of a stream (HTML Living Standard, 9.2.4).
    ///
    /// # Errors
    /// `invalid_cursor` when it is no text.
    pub fn last_event_id(&self) -> Result<Option<String>, Problem> {
        let given = self.headers().get("last-event-id").map(|id| id.to_str().map_err(|_| of_another_list()));
        Ok(given.transpose()?.filter(|id| !id.is_empty()).map(str::to_owned))
    }

    /// In which form a report is wanted.
    pub fn media_type(&self) -> MediaType {
        MediaType::of(self.headers())
    }

    /// Whether a list is wanted as lines of JSON.
    pub fn prefers_lines(&self) -> bool {
        Wanted::by(self.headers()).prefers_lines()
    }

    /// Whether a table is wanted rather than lines of JSON.
    pub fn prefers_table(&self) -> bool {
        let wanted = Wanted::by(self.headers());
        wanted.quality("text/csv") > wanted.quality(LINES).max(wanted.quality("application/json"))
    }

    /// Where it comes from.
    pub fn origin(&self) -> Origin {
        self.gate.origin(self.request.peer_addr().map(|peer| peer.ip()), self.headers())
    }

    /// Begins an attempt to prove a secret, that of `account`, if it names one: an address, or an id.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn attempt(&self, account: Option<&str>) -> Result<Attempt<'_>, Problem> {
        self.gate.attempt(self.origin(), account)
    }

    /// Method, path and query: what, together with the body, makes two requests the same.
    pub(super) fn target(&self) -> String {
        format!("{} {}", self.request.method(), self.request.uri())
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        self.body.borrow().clone()
    }

    /// Whether `If-None-Match` names the entity tag `tag`.
    pub fn has(&self, tag: &str) -> bool {
        super::reply::none_match(&self.request, tag)
    }

    /// Takes the body away, to be read elsewhere.
    pub(super) fn take_payload(&self) -> Payload {
        self.payload.replace(Payload::None)
    }

    /// How long a client may do nothing.
    pub(super) fn patience(&self) -> Duration {
        self.gate.client_timeout()
    }

    /// Lets so much time not count, which was the client's.
    pub(super) fn make_up_for(&self, elapsed: Duration) {
        self.deadline.set(self.deadline.get().later(elapsed));
    }

    /// What stands for a body that was read elsewhere: whether a request is the same as another is told by it.
    pub fn stand_for_body(&self, with: Vec<u8>) {
        *self.body.borrow_mut() = with;
    }

    /// The path and query of this request without its `cursor`, ready for another one.
    pub(super) fn next_target(&self, cursor: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(self.request.query_string().as_bytes()) {
            if name != "cursor" {
                query.append_pair(&name, &value);
            }
        }
        query.append_pair("cursor", cursor);
        format!("{}?{}", self.request.path(), query.finish())
    }

    /// The path of this request: where what it is about is, in the caller's own words.
    pub fn place(&self) -> String {
        self.request.path().to_owned()
    }

    /// A part of the path.
    ///
    /// # Errors
    /// `not_found`, since nothing can be at a path that makes no sense.
    pub fn path<T: FromStr>(&self, name: &str) -> Result<T, Problem> {
        self.request.match_info().get(name).and_then(|text| text.parse().ok()).ok_or_else(Problem::not_found)
    }

    /// The query parameters.
    ///
    /// # Errors
    /// `invalid_query` with every parameter that is unknown, given twice or has a value that it cannot take.
    pub fn query<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        let (fields, mut faults) = pairs(self.request.query_string().as_bytes());
        match deserr::deserialize::<T, _, Faults>(Value::Object(fields)) {
            Ok(query) if faults.is_empty() => Ok(query),
            Ok(_) => Err(Problem::invalid_query(faults)),
            Err(more) => {
                faults.append(more);
                Err(Problem::invalid_query(faults))
            }
        }
    }

    /// The query parameters, where several types make them up.
    ///
    /// # Errors
    /// As [`Call::query`].
    pub fn query_of<T: Parts>(&self) -> Result<T, Problem> {
        let (fields, mut faults) = pairs(self.request.query_string().as_bytes());
        match T::read(fields) {
            Ok(query) if faults.is_empty() => Ok(query),
            Ok(_) => Err(Problem::invalid_query(faults)),
            Err(more) => {
                faults.append(more);
                Err(Problem::invalid_query(faults))
            }
        }
    }

    /// The query parameters likewise, with those of `others` that are not among them.
    ///
    /// # Errors
    /// As [`Call::query`].
    pub fn query_over<T: Parts>(&self, others: &BTreeMap<String, String>) -> Result<T, Problem> {
        let (mut fields, _) = pairs(self.request.query_string().as_bytes());
        for (name, value) in others {
            fields.entry(name).or_insert_with(|| Value::String(value.clone()));
        }
        T::read(fields).map_err(Problem::invalid_query)
    }

    /// Refuses any query parameter, for operations that have none.
    ///
    /// # Errors
    /// `invalid_query`.
    pub fn no_query(&self) -> Result<(), Problem> {
        let (fields, mut faults) = pairs(self.request.query_string().as_bytes());
        for name in fields.keys() {
            faults.add(|| FieldError::new(name, "unknown_field", "is not known here"));
        }
        if faults.is_empty() { Ok(()) } else { Err(Problem::invalid_query(faults)) }
    }

    /// The JSON body.
    ///
    /// # Errors
    /// `unsupported_media_type`, `body_too_large`, `malformed_json`, or `validation_failed` with all bad fields.
    pub async fn body<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        self.require_media_type(&["application/json"])?;
        self.json().await
    }

    /// The JSON body, of at most `limit_b` bytes where that is more than others may have.
    ///
    /// # Errors
    /// As [`Call::body`].
    pub async fn body_up_to<T: Deserr<Faults>>(&self, limit_b: usize) -> Result<T, Problem> {
        self.require_media_type(&["application/json"])?;
        self.read(limit_b.max(self.state.body_limit_b)).await?;
        self.parsed()
    }

    /// The JSON in the body, of at most `limit_b` bytes, of whatever form: for those who have a form of their own. What
    /// no database stores (U+0000) is left out of its texts.
    ///
    /// # Errors
    /// `unsupported_media_type`, `body_too_large` or `malformed_json`.
    pub async fn foreign_body(&self, limit_b: usize) -> Result<Value, Problem> {
        self.require_media_type(&["application/json"])?;
        self.read(limit_b).await?;
        let mut value = serde_json::from_slice(&self.body.borrow())
            .map_err(|error| Problem::new(Code::MalformedJson, format!("{error}.")))?;
        leave_out_nul(&mut value);
        Ok(value)
    }

    /// The JSON merge patch (RFC 7396) in the body.
    ///
    /// # Errors
    /// As [`Call::body`].
    pub async fn patch<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        self.require_media_type(&["application/merge-patch+json", "application/json"])?;
        self.json().await
    }

    /// Passes for a body of lines of JSON that says of itself to have at most `limit_b` bytes, if it says so.
    ///
    /// # Errors
    /// `unsupported_media_type` or `body_too_large`.
    pub fn require_lines(&self, limit_b: u64) -> Result<(), Problem> {
        self.require_media_type(&[LINES, "application/ndjson", "application/jsonl"])?;
        if self.announced_b().is_some_and(|length| length > limit_b) {
            let detail = format!("The body may have at most {limit_b} bytes. Send the rest in another request.");
            return Err(Problem::new(Code::BodyTooLarge, detail));
        }
        Ok(())
    }

    /// The form in the body (`application/x-www-form-urlencoded`), as OAuth 2 wants it (RFC 6749, appendix B).
    ///
    /// # Errors
    /// As [`Call::body`], but never `malformed_json`.
    pub async fn form<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        self.require_media_type(&["application/x-www-form-urlencoded"])?;
        self.read(FORM_LIMIT_B.min(self.state.body_limit_b)).await?;
        let (fields, faults) = pairs(&self.body.borrow());
        let mut faults = faults.placed(|place| format!("/{place}"));
        match deserr::deserialize::<T, _, Faults>(Value::Object(fields)) {
            Ok(form) if faults.is_empty() => Ok(form),
            Ok(_) => Err(Problem::invalid(faults)),
            Err(more) => {
                faults.append(more);
                Err(Problem::invalid(faults))
            }
        }
    }

    /// The text in the body, of the one media type that is taken.
    ///
    /// # Errors
    /// `unsupported_media_type`, `body_too_large`, or `validation_failed` when it is not UTF-8.
    pub async fn text(&self, media_type: &str) -> Result<String, Problem> {
        self.require_media_type(&[media_type])?;
        self.read(self.state.body_limit_b).await?;
        let text = String::from_utf8(self.bytes()).ok().filter(|text| !text.contains('\0'));
        text.ok_or_else(|| Problem::field("", "invalid", "must be UTF-8 without U+0000"))
    }

    /// Judges `If-Match` (RFC 9110, 13.1.1) against the version that a resource has now.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub fn require_version(&self, version: i64) -> Result<(), Problem> {
        self.precondition()?.check(version)
    }

    /// The `If-Match` of this call, to be judged where the version is known.
    ///
    /// # Errors
    /// `invalid_header` when it is not a list of entity tags.
    pub fn precondition(&self) -> Result<IfMatch, Problem> {
        self.judges.set(true);
        let mut tags = Vec::new();
        for value in self.headers().get_all(header::IF_MATCH) {
            let text = value.to_str().unwrap_or_default().trim();
            if text == "*" {
                return Ok(IfMatch(None));
            }
            tags.extend(entity_tags(text).ok_or_else(|| {
                let detail = "If-Match takes the ETag of the resource, with its quotes, for example \"3\".";
                Problem::new(Code::InvalidHeader, detail)
            })?);
        }
        Ok(IfMatch((!tags.is_empty()).then_some(tags)))
    }

    /// Passes unless there is a condition which this call judges by nothing: what is yet to be made has no version.
    ///
    /// # Errors
    /// `version_mismatch`, or those of [`precondition`](Self::precondition).
    pub fn require_no_version(&self) -> Result<(), Problem> {
        match self.judges.get() || self.precondition()?.0.is_none() {
            true => Ok(()),
            false => {
                let detail = "What this makes has no version yet. Send the request without If-Match.";
                Err(Problem::new(Code::VersionMismatch, detail))
            }
        }
    }

    fn require_media_type(&self, accepted: &[&str]) -> Result<(), Problem> {
        let refuse = |detail: String| Err(Problem::new(Code::UnsupportedMediaType, detail));
        let given = self.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let mut parts = given.split(';').map(|part| part.trim().to_ascii_lowercase());
        let media_type = parts.next().unwrap_or_default();
        if !accepted.contains(&media_type.as_str()) {
            return refuse(format!("Send Content-Type: {}.", accepted.join(" or ")));
        }
        if parts.any(|p| p.strip_prefix("charset=").is_some_and(|c| c.trim_matches('"') != "utf-8")) {
            return refuse("Send the body in UTF-8.".into());
        }
        match self.headers().get(header::CONTENT_ENCODING) {
            Some(coding) if coding != "identity" => refuse("Send the body without Content-Encoding.".into()),
            _ => Ok(()),
        }
    }

    async fn json<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        self.read(self.state.body_limit_b).await?;
        self.parsed()
    }

    fn parsed<T: Deserr<Faults>>(&self) -> Result<T, Problem> {
        let Unique(value) = serde_json::from_slice(&self.body.borrow()).map_err(|error| {
            // serde_json's sentence names what it expected, the line and the column, and quotes nothing of the body but
            // the name of a member that comes twice.
            Problem::new(Code::MalformedJson, format!("{error}."))
        })?;
        let mut faults = Faults::default();
        find_large_wholes(&self.body.borrow(), &mut faults);
        find_nul(&value, ValuePointerRef::Origin, &mut faults);
        match deserr::deserialize::<T, _, Faults>(value) {
            Ok(body) if faults.is_empty() => Ok(body),
            Ok(_) => Err(Problem::invalid(faults)),
            Err(more) => {
                let mut faults = faults.elsewhere_than(&more);
                faults.append(more);
                Err(Problem::invalid(faults))
            }
        }
    }

    /// Reads the body, of at most `limit` bytes, for as long as a client may take to send it.
    async fn read(&self, limit: usize) -> Result<(), Problem> {
        let too_large = || Problem::new(Code::BodyTooLarge, format!("The body may have at most {limit} bytes."));
        let announced = self.headers().get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let mut payload = self.payload.replace(Payload::None);
        // What is announced has not come yet.
        let mut body = Vec::with_capacity(announced.unwrap_or(1024).min(MOST_AHEAD_B));
        let arriving = async {
            while let Some(chunk) = payload.next().await {
                let chunk =
                    chunk.map_err(|_| Problem::new(Code::MalformedJson, "The body ended before it was complete."))?;
                if body.len() + chunk.len() > limit {
                    return Err(too_large());
                }
                body.extend_from_slice(&chunk);
            }
            Ok(())
        };
        let (wait, begun) = (self.gate.client_timeout(), Stopwatch::now());
        tokio::time::timeout(wait, arriving).await.unwrap_or_else(|_| {
            let detail = format!("The body did not arrive within {} s.", wait.as_secs());
            Err(Problem::new(Code::RequestTimeout, detail))
        })?;
        *self.body.borrow_mut() = body;
        // How long it took was up to the client.
        self.deadline.set(self.deadline.get().later(begun.elapsed()));
        Ok(())
    }
}

/// The condition of an `If-Match` header, if there is one.
#[derive(Debug, Clone)]
pub struct IfMatch(Option<Vec<String>>);

impl IfMatch {
    /// No condition.
    pub fn any() -> Self {
        Self(None)
    }

    /// That a resource is at this version.
    pub fn of_version(version: i64) -> Self {
        Self(Some(vec![super::reply::etag(version)]))
    }

    /// The condition that a list of entity tags makes, or `*`, which is none; nothing if it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        if text.trim() == "*" { Some(Self::any()) } else { entity_tags(text.trim()).map(|tags| Self(Some(tags))) }
    }

    /// Passes when there is no condition or one of its tags is a strong tag of `version`; what stands behind a dot in
    /// it is not about what was written.
    ///
    /// # Errors
    /// `version_mismatch`.
    pub fn check(&self, version: i64) -> Result<(), Problem> {
        match &self.0 {
            Some(tags) if !tags.iter().any(|tag| is_of(tag, version)) => {
                let detail = format!("The resource is at version {version} now. Read it again and repeat the change.");
                Err(Problem::new(Code::VersionMismatch, detail).with("version", version))
            }
            _ => Ok(()),
        }
    }
}

fn is_of(tag: &str, version: i64) -> bool {
    let (version_part, moved) = tag.trim_end_matches('"').split_once('.').unwrap_or((tag.trim_end_matches('"'), "0"));
    !moved.is_empty()
        && moved.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && format!("{version_part}\"") == super::reply::etag(version)
}

/// The tags of a list of entity tags (RFC 9110, 8.8.3), each with its quotes; nothing if it is none.
fn entity_tags(text: &str) -> Option<Vec<String>> {
    let mut tags = Vec::new();
    let mut rest = text;
    loop {
        let weak = if rest.starts_with("W/") { 2 } else { 0 };
        let opaque = rest[weak..].strip_prefix('"')?;
        let end = weak + 1 + opaque.find('"')? + 1;
        tags.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
        if rest.is_empty() {
            return Some(tags);
        }
        rest = rest.strip_prefix(',')?.trim_start();
    }
}

/// The name-value pairs of a query or a form, and what is wrong with them already.
fn pairs(text: &[u8]) -> (serde_json::Map<String, Value>, Faults) {
    let mut fields = serde_json::Map::new();
    let mut faults = Faults::default();
    for (name, value) in form_urlencoded::parse(text) {
        // Invalid UTF-8 is decoded to U+FFFD, which nobody means to send.
        if value.contains(['\0', '\u{fffd}']) || name.contains(['\0', '\u{fffd}']) {
            let place = || name.replace(['\0', '\u{fffd}'], "?");
            faults.add(|| FieldError::new(place(), "invalid", "must be UTF-8 without U+0000"));
        } else if fields.insert(name.to_string(), Value::String(value.into_owned())).is_some() {
            faults.add(|| FieldError::new(name, "invalid", "is given twice; separate several values by commas"));
        }
    }
    (fields, faults)
}

/// NUL is legal in JSON, but PostgreSQL stores it in no text: refuse it everywhere, keys included.
fn find_nul(value: &Value, place: ValuePointerRef<'_>, faults: &mut Faults) {
    const DETAIL: &str = "must not contain the character U+0000";
    match value {
        Value::String(text) if text.contains('\0') => faults.add(|| FieldError::new(pointer(place), "invalid", DETAIL)),
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                find_nul(item, place.push_index(index), faults);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                if name.contains('\0') {
                    faults.add(|| FieldError::new(pointer(place), "invalid", DETAIL));
                }
                find_nul(item, place.push_key(name), faults);
            }
        }
        _ => {}
    }
}

/// Takes NUL out of all texts and names.
fn leave_out_nul(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| c != '\0'),
        Value::Array(items) => items.iter_mut().for_each(leave_out_nul),
        Value::Object(fields) => {
            if fields.keys().any(|name| name.contains('\0')) {
                *fields =
                    std::mem::take(fields).into_iter().map(|(name, value)| (name.replace('\0', ""), value)).collect();
            }
            fields.values_mut().for_each(leave_out_nul);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_list_of_entity_tags_or_none(text in r#"[W/"*, 0-9.a\PC]{0,30}"#, version in 0..i64::MAX) {
            let Some(tags) = entity_tags(&text) else { return Ok(()) };
            prop_assert_eq!(entity_tags(&tags.join(", ")), Some(tags.clone()));
            // A condition passes for the versions alone that its strong tags name.
            let named = tags.iter().any(|tag| tag[1..].split(['.', '"']).next() == Some(&version.to_string()));
            if IfMatch(Some(tags)).check(version).is_ok() {
                prop_assert!(named);
            }
        }

        #[test]
        fn the_tag_of_a_version_is_of_no_other(version in 0..i64::MAX, lapsed in 0..i64::MAX, other in 0..i64::MAX) {
            for tag in [super::super::reply::etag(version), format!("\"{version}.{lapsed}\"")] {
                let list = entity_tags(&format!("\"x\",  {tag}"));
                prop_assert_eq!(IfMatch(list.clone()).check(version).is_ok(), true);
                prop_assert_eq!(IfMatch(list).check(other).is_ok(), other == version);
            }
        }

        #[test]
        fn any_query_is_pairs_or_faults(bytes: Vec<u8>, text in "[a-c=&%0-9+;\\[\\]\\PC]{0,60}") {
            for given in [bytes, text.into_bytes()] {
                let (fields, faults) = pairs(&given);
                let parts = given.split(|b| *b == b'&').filter(|part| !part.is_empty()).count();
                prop_assert_eq!(fields.len() + faults.told().len() + faults.more(), parts);
            }
        }
    }

    #[test]
    fn entity_tags_are_read_as_rfc_9110_writes_them() {
        let read = |text| entity_tags(text).map(|tags| tags.join("|"));
        assert_eq!(read("\"3\"").as_deref(), Some("\"3\""));
        assert_eq!(read("\"a,b\" , W/\"\",\"3\"").as_deref(), Some("\"a,b\"|W/\"\"|\"3\""));
        for bad in ["", "3", "\"", "\"3", "\"3\",", "\"3\" \"4\"", "w/\"3\"", "ø\"3\""] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
