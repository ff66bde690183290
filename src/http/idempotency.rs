//! `Idempotency-Key`: a request that is sent twice is carried out once. The stored answer is part of the same
//! transaction as the effect, so one is never there without the other. It is sealed: an answer may show a secret.

use std::collections::BTreeSet;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use uuid::Uuid;

use super::call::Call;
use super::in_flight::{self, KeyInFlight};
use super::reply::{Answer, Reader, Reply, Resource, met_by};
use super::seal::Sealer;
use crate::db::fault::is_duplicate;
use crate::db::lock::under_lock;
use crate::db::raw::raw;
use crate::db::schema::{idempotency_keys, idempotency_subjects};
use crate::db::{Conn, Roots, RunQueryDsl, on_each, send, steady};
use crate::kernel::sql::{Guid, Json};
use crate::kernel::{AnyId, Code, Instant, PrincipalId, Problem};

/// How long an answer is kept, in seconds.
pub const KEPT_S: i64 = 24 * 3600;

/// How many answers are opened and changed when what they are about is erased.
const AMENDED_AT_MOST: i64 = 50;

/// What stands among the headers of a kept answer, and is none: the role of whom it was given to.
const ROLE: &str = "role";

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_keys, treat_none_as_default_value = false)]
struct KeyRow {
    principal_id: PrincipalId,
    key: String,
    fingerprint: String,
    status: i32,
    headers: Json,
    body: String,
    created_at: Instant,
    has_subjects: bool,
}

impl Call {
    /// Runs `work`, which creates something for `writer`, changes `roots` and tells the place of what it made, in one
    /// transaction. With an `Idempotency-Key` the answer is kept in that transaction for 24 hours, and the same request
    /// again gets it without a second effect. It is kept whole, and shown as far as the token may read with which it is
    /// asked for.
    ///
    /// # Errors
    /// What `work` gives; `idempotency_key_reused`, `idempotency_in_progress`, `conflict` when the answer can no longer
    /// be opened, `invalid_header` for a key that is not 1 to 255 printable ASCII characters, or `version_mismatch` for
    /// an `If-Match` that the caller did not judge.
    pub async fn create<T, F>(&self, writer: &T::Reader, roots: impl Into<Roots>, work: F) -> Answer
    where
        T: Resource,
        F: AsyncFn(&mut Conn) -> Result<(T, String), Problem> + Send + 'static,
    {
        self.create_for(writer, Some(roots.into()), work).await
    }

    /// As [`create`](Self::create), while no other write is at work: for the configuration that other writes rely on.
    ///
    /// # Errors
    /// As those of [`create`](Self::create).
    pub async fn create_alone<T, F>(&self, writer: &T::Reader, work: F) -> Answer
    where
        T: Resource,
        F: AsyncFn(&mut Conn) -> Result<(T, String), Problem> + Send + 'static,
    {
        self.create_for(writer, None, work).await
    }

    /// As the above: alone if no `roots` are named.
    async fn create_for<T, F>(&self, writer: &T::Reader, roots: Option<Roots>, work: F) -> Answer
    where
        T: Resource,
        F: AsyncFn(&mut Conn) -> Result<(T, String), Problem> + Send + 'static,
    {
        self.require_no_version()?;
        let create = async move |tx: &mut Conn| {
            let (made, place) = work(tx).await?;
            Reply::created(&made, place)
        };
        let reply = self.carry_out(writer, roots, create).await.map_err(|problem| met_by::<T>(writer, problem))?;
        // A new one that its maker may not see, though others of its kind, is refused before it is made.
        Ok(if T::is_open_to(writer) { reply } else { reply.bare() })
    }

    async fn carry_out<F>(&self, writer: &impl Reader, roots: Option<Roots>, work: F) -> Answer
    where
        F: AsyncFn(&mut Conn) -> Answer + Send + 'static,
    {
        // Until this call ends, not until a writer has dropped what it was given.
        let Some((kept, _entry)) = self.kept(writer)? else {
            return self.write(roots, work).await;
        };
        let once = async move |tx: &mut Conn| kept.once(tx, &kept.key, &work).await;
        self.write(roots, once).await
    }

    /// What keeps the answers to the parts of this request, each by itself, if it has an `Idempotency-Key`; and its
    /// place among the keys in work, to be held until the request ends.
    ///
    /// # Errors
    /// `idempotency_in_progress`, or `invalid_header`.
    pub fn parts(&self, writer: &impl Reader) -> Result<(KeyedParts, Option<KeyInFlight>), Problem> {
        let (kept, entry) = self.kept(writer)?.unzip();
        Ok((KeyedParts(kept.map(Arc::new)), entry))
    }

    fn kept(&self, writer: &impl Reader) -> Result<Option<(KeptAnswers, KeyInFlight)>, Problem> {
        let Some(key) = self.idempotency_key()? else { return Ok(None) };
        let (who, role) = (writer.id(), writer.role());
        let sealer = self.state().sealer.clone();
        let fingerprints = sealer.fingerprints(&[self.target().as_bytes(), b"\n", &self.bytes()].concat());
        let entry = self.state().in_flight.enter((who, key.clone()))?;
        Ok(Some((KeptAnswers { who, role, key, fingerprints, sealer, now: self.now() }, entry)))
    }

    /// The answers that are kept, for those who erase what they tell.
    pub fn answers(&self) -> Answers {
        Answers(self.state().sealer.clone())
    }

    async fn write<F>(&self, roots: Option<Roots>, work: F) -> Answer
    where
        F: AsyncFn(&mut Conn) -> Answer + Send + 'static,
    {
        match roots {
            Some(roots) => self.db().write(roots, work).await,
            None => self.db().write_alone(work).await,
        }
    }

    fn idempotency_key(&self) -> Result<Option<String>, Problem> {
        let mut keys = self.headers().get_all("idempotency-key");
        match (keys.next(), keys.next()) {
            (None, _) => Ok(None),
            (Some(key), None) => match key.to_str() {
                Ok(key) if (1..=255).contains(&key.len()) && key.bytes().all(|b| matches!(b, b' '..=b'~')) => {
                    Ok(Some(key.to_owned()))
                }
                _ => {
                    Err(Problem::new(Code::InvalidHeader, "Idempotency-Key takes 1 to 255 printable ASCII characters."))
                }
            },
            (Some(_), Some(_)) => Err(Problem::new(Code::InvalidHeader, "Send one Idempotency-Key.")),
        }
    }
}

/// What keeps the answers of one `Idempotency-Key`.
struct KeptAnswers {
    who: PrincipalId,
    role: Option<&'static str>,
    key: String,
    fingerprints: Vec<String>,
    sealer: Arc<Sealer>,
    now: Instant,
}

impl KeptAnswers {
    /// The answer that is kept as `key`, or that of `work`, which is kept in the same transaction.
    async fn once(&self, tx: &mut Conn, key: &str, work: impl AsyncFn(&mut Conn) -> Answer) -> Answer {
        if let Some(row) = claim(tx, self.who, key).await? {
            if row.created_at.plus_s(KEPT_S) > self.now {
                return replay(row, self.role, &self.fingerprints, &self.sealer);
            }
            forget(tx, self.who, key).await?;
        }
        let reply = work(tx).await?;
        let fingerprint = <[String]>::first(&self.fingerprints).cloned().unwrap_or_default();
        let row = seal(&reply, (self.who, self.role), key, fingerprint, self.now, &self.sealer)?;
        remember(tx, row, subjects(&reply, self.who)).await?;
        Ok(reply)
    }
}

/// What keeps the answers to the parts of a request, each by itself: what was done of it is not done again, and what
/// was not is gone on with.
#[derive(Clone)]
pub struct KeyedParts(Option<Arc<KeptAnswers>>);

impl KeyedParts {
    /// Takes the key for this request, whatever becomes of its parts: another one cannot have it, not even for parts
    /// that this one does not have.
    ///
    /// # Errors
    /// `idempotency_key_reused`, `idempotency_in_progress`, or `conflict`.
    pub async fn claim(&self, tx: &mut Conn) -> Result<(), Problem> {
        if let Some(kept) = &self.0 {
            let nothing = async |_: &mut Conn| Ok(Reply { status: 204, headers: Vec::new(), body: String::new() });
            kept.once(tx, &kept.key, nothing).await?;
        }
        Ok(())
    }

    /// Whether the request has an `Idempotency-Key`.
    pub const fn is_keyed(&self) -> bool {
        self.0.is_some()
    }

    /// The answer that is kept of the `nth` part, or that of `work`, in this transaction.
    ///
    /// # Errors
    /// What `work` gives; `idempotency_key_reused`, `idempotency_in_progress`, or `conflict`.
    pub async fn once(&self, tx: &mut Conn, nth: usize, work: impl AsyncFn(&mut Conn) -> Answer) -> Answer {
        match &self.0 {
            // No key has a line break.
            Some(kept) => kept.once(tx, &format!("{}\n{nth}", kept.key), work).await,
            None => work(tx).await,
        }
    }
}

/// Whose a sealed answer is.
fn owner(who: PrincipalId, key: &str) -> String {
    format!("{who} {key}")
}

/// The kept answer; to whoever had another role when it was kept without what only that one may still see.
fn replay(row: KeyRow, role: Option<&'static str>, fingerprints: &[String], sealer: &Sealer) -> Answer {
    let Some(body) = sealer.open(&owner(row.principal_id, &row.key), &row.body) else {
        let detail = "The request was carried out, but its answer can no longer be told. Read what it made.";
        return Err(Problem::new(Code::Conflict, detail));
    };
    let is_kept = |fingerprint: &String| verify_slices_are_equal(fingerprint.as_bytes(), row.fingerprint.as_bytes());
    if !fingerprints.iter().any(|fingerprint| is_kept(fingerprint).is_ok()) {
        let detail = "Use a new key for a new request; this one was used with another path or body.";
        return Err(Problem::new(Code::IdempotencyKeyReused, detail));
    }
    let status = u16::try_from(row.status).map_err(Problem::internal)?;
    let mut reply = Reply { status, headers: Vec::new(), body };
    for name in ["etag", "location"] {
        if let Some(value) = row.headers.0.get(name).and_then(|v| v.as_str()) {
            reply = reply.header(name, value.to_owned());
        }
    }
    let is_in_role = row.headers.0.get(ROLE).is_none_or(|kept| kept.as_str() == role);
    let reply = if is_in_role { reply } else { reply.bare() };
    Ok(reply.header("idempotent-replayed", "true".into()))
}

/// The answer to an earlier request with this key, if there is one. On PostgreSQL another instance may be at work on
/// it; SQLite's writer takes one request after the other.
async fn claim(tx: &mut Conn, who: PrincipalId, key: &str) -> Result<Option<KeyRow>, Problem> {
    let row: Option<QueryResult<KeyRow>> = under_lock!(tx, lock_key(who, key), |c| {
        idempotency_keys::table.find((who, key)).select(KeyRow::as_select()).first(c)
    })?;
    Ok(row.ok_or_else(in_flight::in_progress)?.optional()?)
}

/// Names the lock of a key. That two keys may have the same does no harm: one of them is told to come again.
fn lock_key(who: PrincipalId, key: &str) -> i64 {
    let hash = digest(&SHA256, format!("idempotency {who} {key}").as_bytes());
    hash.as_ref().iter().take(8).fold(0, |sum, byte| (sum << 8) | i64::from(*byte))
}

async fn forget(tx: &mut Conn, who: PrincipalId, key: &str) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::delete(idempotency_keys::table.find((who, key))).execute(c).await)?;
    Ok(())
}

fn seal(
    reply: &Reply,
    (who, role): (PrincipalId, Option<&'static str>),
    key: &str,
    fingerprint: String,
    now: Instant,
    sealer: &Sealer,
) -> Result<KeyRow, Problem> {
    let headers = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into()));
    let headers = headers.chain([(ROLE.to_owned(), role.into())]).collect();
    Ok(KeyRow {
        principal_id: who,
        key: key.to_owned(),
        fingerprint,
        status: i32::from(reply.status),
        headers: Json(serde_json::Value::Object(headers)),
        body: sealer.seal(&owner(who, key), &reply.body)?,
        created_at: now,
        has_subjects: true,
    })
}

async fn remember(tx: &mut Conn, row: KeyRow, subjects: BTreeSet<AnyId>) -> Result<(), Problem> {
    use idempotency_subjects::{key, principal_id, subject_id};
    let all =
        subjects.into_iter().map(|id| (principal_id.eq(row.principal_id), key.eq(row.key.clone()), subject_id.eq(id)));
    let all: Vec<_> = all.collect();
    // Committed by another instance since our snapshot was taken: the next attempt sees it.
    let taken = |error| match is_duplicate(&error, "idempotency_keys_pkey", "idempotency_keys.principal_id") {
        true => Problem::transient(error),
        false => Problem::from(error),
    };
    send!(tx, diesel::insert_into(idempotency_keys::table).values(row), taken)?;
    for subject in all {
        send!(tx, diesel::insert_into(idempotency_subjects::table).values(subject))?;
    }
    Ok(())
}

/// The answers that are kept, for those who erase what they tell.
#[derive(Debug, Clone)]
pub struct Answers(Arc<Sealer>);

impl Answers {
    /// Changes what kept answers say of `id`, which is erased in this very transaction: whoever repeats a request must
    /// not be told what is no more. They are found by what they are about; if they are many, all of them are withdrawn
    /// instead.
    pub async fn amend(
        &self,
        tx: &mut Conn,
        id: impl Into<Uuid>,
        change: impl Fn(&mut Said) + Send + Sync,
    ) -> Result<(), Problem> {
        let id = AnyId(id.into());
        withdraw_unknown(tx).await?;
        let rows = about(tx, id).await?;
        if i64::try_from(rows.len()).map_or(true, |count| count > AMENDED_AT_MOST) {
            return withdraw(tx, id).await;
        }
        for row in rows {
            if let Some(amended) = amended(row, &id.to_string(), &change, &self.0)? {
                replace(tx, amended).await?;
            }
        }
        Ok(())
    }
}

/// What an answer has said of one thing.
pub type Said = serde_json::Map<String, serde_json::Value>;

/// What `reply` tells of: every object in it that has an id, and what it was made below. Not the caller `who`, with
/// whom all their answers go.
fn subjects(reply: &Reply, who: PrincipalId) -> BTreeSet<AnyId> {
    let mut all = BTreeSet::new();
    if let Ok(body) = serde_json::from_str(&reply.body) {
        gather(&body, &mut all);
    }
    let places = reply.headers.iter().filter(|(name, _)| *name == "location");
    all.extend(places.flat_map(|(_, place)| place.split('/')).filter_map(|part| part.parse::<AnyId>().ok()));
    all.remove(&AnyId(who.0));
    all
}

fn gather(value: &serde_json::Value, into: &mut BTreeSet<AnyId>) {
    match value {
        serde_json::Value::Object(fields) => {
            into.extend(fields.get("id").and_then(|id| id.as_str()?.parse::<AnyId>().ok()));
            fields.values().for_each(|field| gather(field, into));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
        _ => {}
    }
}

/// The answers that are about `id`: one more than are amended, if there are so many.
async fn about(tx: &mut Conn, id: AnyId) -> Result<Vec<KeyRow>, Problem> {
    use idempotency_subjects::{key, principal_id, subject_id};
    let own = idempotency_keys::principal_id.eq(principal_id).and(idempotency_keys::key.eq(key));
    let about = idempotency_subjects::table.filter(subject_id.eq(id)).inner_join(idempotency_keys::table.on(own));
    Ok(on_each!(tx, |c| about.select(KeyRow::as_select()).limit(AMENDED_AT_MOST + 1).load(c).await)?)
}

async fn replace(tx: &mut Conn, row: KeyRow) -> Result<(), Problem> {
    let own = idempotency_keys::table.find((row.principal_id, row.key));
    send!(tx, steady(diesel::update(own).set(idempotency_keys::body.eq(row.body))))
}

/// Empties the answers that are about `id`, whatever they tell of it: the same request again is refused, not carried
/// out.
pub async fn withdraw(tx: &mut Conn, id: impl Into<Uuid>) -> Result<(), Problem> {
    let about =
        sql::<Bool>("(principal_id, key) IN (SELECT principal_id, key FROM idempotency_subjects WHERE subject_id = ")
            .bind::<Guid, _>(AnyId(id.into()))
            .sql(")");
    let all = diesel::update(idempotency_keys::table.filter(about)).set(idempotency_keys::body.eq(""));
    on_each!(tx, |c| all.execute(c).await)?;
    Ok(())
}

/// Empties the answers that an instance of an older version has kept, which did not say what they are about: there are
/// none a day after it has ended.
async fn withdraw_unknown(tx: &mut Conn) -> Result<(), Problem> {
    let old = idempotency_keys::table.filter(raw::<Bool>("NOT has_subjects"));
    let all = diesel::update(old).set((idempotency_keys::body.eq(""), idempotency_keys::has_subjects.eq(true)));
    on_each!(tx, |c| all.execute(c).await)?;
    Ok(())
}

/// The row with a changed answer, unless there is none any more.
fn amended(row: KeyRow, id: &str, change: &dyn Fn(&mut Said), sealer: &Sealer) -> Result<Option<KeyRow>, Problem> {
    let owner = owner(row.principal_id, &row.key);
    // What was made at a place below it is about it, too.
    let is_below = row.headers.0.get("location").and_then(|at| at.as_str()).is_some_and(|at| at.contains(id));
    let said = sealer.open(&owner, &row.body).and_then(|said| serde_json::from_str(&said).ok());
    let Some::<serde_json::Value>(mut said) = said else { return Ok(None) };
    change_of(&mut said, id, change);
    if let (true, Some(fields)) = (is_below, said.as_object_mut()) {
        change(fields);
    }
    let body = sealer.seal(&owner, &said.to_string())?;
    Ok(Some(KeyRow { body, ..row }))
}

/// Changes every object within `value` that has this `id`, or is on the ticket that has it.
fn change_of(value: &mut serde_json::Value, id: &str, change: &dyn Fn(&mut Said)) {
    match value {
        serde_json::Value::Object(fields) => {
            if ["id", "ticket_id"].iter().any(|name| fields.get(*name).and_then(|own| own.as_str()) == Some(id)) {
                change(fields);
            }
            fields.values_mut().for_each(|field| change_of(field, id, change));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| change_of(item, id, change)),
        _ => {}
    }
}

/// Forgets answers that are older than 24 hours.
pub async fn sweep(tx: &mut Conn, now: Instant) -> Result<usize, Problem> {
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.le(now.plus_s(-KEPT_S)));
    Ok(on_each!(tx, |c| diesel::delete(old).execute(c).await)?)
}
