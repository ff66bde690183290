//! `Idempotency-Key`: a request that is sent twice is carried out once. The stored answer is part of the same
//! transaction as the effect, so one is never there without the other. It is sealed: an answer may show a secret.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use diesel::prelude::*;
use futures_util::future::join;

use super::reply::met_by;
use super::{Answer, Call, Reader, Reply, Resource, Sealer};
use crate::db::fault::is_duplicate;
use crate::db::schema::idempotency_keys;
use crate::db::{Conn, Line, RunQueryDsl, boxed, on_each, post};
use crate::kernel::sql::Json;
use crate::kernel::{Code, Instant, PrincipalId, Problem};

/// How long an answer is kept, in seconds.
pub const KEPT_S: i64 = 24 * 3600;

/// How many answers are opened at once to see whom they are about.
const OPENED_AT_ONCE: i64 = 200;

/// The keys that this instance is working on.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<(PrincipalId, String)>>>);

/// A place among the keys in work, given up when the request ends however it ends.
struct Entry {
    all: InFlight,
    key: (PrincipalId, String),
}

impl InFlight {
    fn enter(&self, key: (PrincipalId, String)) -> Result<Entry, Problem> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            Ok(Entry { all: self.clone(), key })
        } else {
            Err(in_progress())
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

fn in_progress() -> Problem {
    Problem::new(Code::IdempotencyInProgress, "Wait for the first request, or send this one again in a moment.")
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = idempotency_keys, treat_none_as_default_value = false)]
struct Row {
    principal_id: PrincipalId,
    key: String,
    fingerprint: String,
    status: i32,
    headers: Json,
    body: String,
    created_at: Instant,
}

impl Call {
    /// Runs `work`, which creates something for `writer` and tells its place, in one transaction. With an `Idempotency-Key` the
    /// answer is kept in that transaction for 24 hours, and the same request again gets it without a second effect. It is kept
    /// whole, and shown as far as the token may read with which it is asked for.
    ///
    /// # Errors
    /// What `work` gives; `idempotency_key_reused`, `idempotency_in_progress`, `conflict` when the answer can no longer
    /// be opened, or `invalid_header` for a key that is not 1 to 255 printable ASCII characters.
    pub async fn create<T, F>(&self, writer: &T::Reader, work: F) -> Answer
    where
        T: Resource,
        F: AsyncFn(&mut Conn) -> Result<(T, String), Problem> + Send + 'static,
    {
        self.create_for(writer, work, false).await
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
        self.create_for(writer, work, true).await
    }

    async fn create_for<T, F>(&self, writer: &T::Reader, work: F, alone: bool) -> Answer
    where
        T: Resource,
        F: AsyncFn(&mut Conn) -> Result<(T, String), Problem> + Send + 'static,
    {
        let create = async move |tx: &mut Conn| {
            let (made, place) = work(tx).await?;
            Reply::created(&made, place)
        };
        let reply = self.carry_out(writer.id(), create, alone).await.map_err(|problem| met_by::<T>(writer, problem))?;
        // A new one that its maker may not see, though others of its kind, is refused before it is made.
        Ok(if T::is_open_to(writer) { reply } else { reply.bare() })
    }

    async fn carry_out<F>(&self, who: PrincipalId, work: F, alone: bool) -> Answer
    where
        F: AsyncFn(&mut Conn) -> Answer + Send + 'static,
    {
        let Some(key) = self.idempotency_key()? else {
            return self.write(work, alone).await;
        };
        let sealer = self.state().sealer.clone();
        let fingerprints = sealer.fingerprints(&[self.target().as_bytes(), b"\n", &self.bytes()].concat());
        let now = self.now();
        let _entry = self.state().in_flight.enter((who, key.clone()))?;
        let once = async move |tx: &mut Conn| {
            if let Some(row) = claim(tx, who, &key).await? {
                if row.created_at.plus_s(KEPT_S) > now {
                    return replay(row, &fingerprints, &sealer);
                }
                forget(tx, who, &key).await?;
            }
            let reply = work(tx).await?;
            let fingerprint = <[String]>::first(&fingerprints).cloned().unwrap_or_default();
            remember(tx, seal(&reply, who, &key, fingerprint, now, &sealer)?).await?;
            Ok(reply)
        };
        self.write(once, alone).await
    }

    /// Changes what kept answers say of `id`, which is erased: whoever repeats a request must not be told what is no more.
    /// Answers are sealed, so that all of them have to be opened. That keeps no write waiting.
    ///
    /// # Errors
    /// When the database is away: what is left is forgotten within 24 hours.
    pub async fn amend_answers(
        &self,
        id: impl std::fmt::Display,
        change: fn(&mut serde_json::Map<String, serde_json::Value>),
    ) -> Result<(), Problem> {
        let (id, mut last) = (id.to_string(), None);
        loop {
            let rows = self.db().read(async |conn| answers_after(conn, last.as_ref()).await).await?;
            let Some(end) = rows.last() else { return Ok(()) };
            last = Some((end.principal_id, end.key.clone()));
            let amended =
                rows.into_iter().filter_map(|row| amended(row, &id, change, &self.state().sealer).transpose());
            let amended = amended.collect::<Result<Vec<_>, _>>()?;
            if !amended.is_empty() {
                let store = async move |tx: &mut Conn| {
                    tx.erase();
                    replace_answers(tx, &amended).await
                };
                self.db().write(store).await?;
            }
        }
    }

    async fn write<F>(&self, work: F, alone: bool) -> Answer
    where
        F: AsyncFn(&mut Conn) -> Answer + Send + 'static,
    {
        if alone { self.db().write_alone(work).await } else { self.db().write(work).await }
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

/// Whose a sealed answer is.
fn owner(who: PrincipalId, key: &str) -> String {
    format!("{who} {key}")
}

fn replay(row: Row, fingerprints: &[String], sealer: &Sealer) -> Answer {
    let Some(body) = sealer.open(&owner(row.principal_id, &row.key), &row.body) else {
        let detail = "The request was carried out, but the key that sealed its answer is gone. Read what it made.";
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
    Ok(reply.header("idempotent-replayed", "true".into()))
}

diesel::define_sql_function! {
    /// Takes a lock until the end of the transaction, unless somebody else has it.
    fn pg_try_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool;
}

/// The answer to an earlier request with this key, if there is one. On PostgreSQL another instance may be at work on it;
/// SQLite's writer takes one request after the other.
async fn claim(tx: &mut Conn, who: PrincipalId, key: &str) -> Result<Option<Row>, Problem> {
    macro_rules! answer {
        ($conn:expr) => {
            idempotency_keys::table.find((who, key)).select(Row::as_select()).first($conn)
        };
    }
    let row = match &mut tx.line {
        Line::Sqlite(conn) => answer!(conn).await,
        Line::Postgres(channel) => {
            let conn = channel.backend().conn();
            let lock = diesel::select(pg_try_advisory_xact_lock(lock_key(who, key)));
            let (mut first, mut second) = (conn, conn);
            let (locked, row): (QueryResult<bool>, _) = join(lock.get_result(&mut first), answer!(&mut second)).await;
            if !locked? {
                return Err(in_progress());
            }
            row
        }
    };
    Ok(row.optional()?)
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
    who: PrincipalId,
    key: &str,
    fingerprint: String,
    now: Instant,
    sealer: &Sealer,
) -> Result<Row, Problem> {
    let headers = reply.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into())).collect();
    Ok(Row {
        principal_id: who,
        key: key.to_owned(),
        fingerprint,
        status: i32::from(reply.status),
        headers: Json(serde_json::Value::Object(headers)),
        body: sealer.seal(&owner(who, key), &reply.body)?,
        created_at: now,
    })
}

async fn remember(tx: &mut Conn, row: Row) -> Result<(), Problem> {
    // Committed by another instance since our snapshot was taken: the next attempt sees it.
    let taken = |error| match is_duplicate(&error, "idempotency_keys_pkey", "idempotency_keys.principal_id") {
        true => Problem::transient(error),
        false => Problem::from(error),
    };
    post!(tx, diesel::insert_into(idempotency_keys::table).values(row), taken)
}

/// Some of the answers that are kept, in the order of their keys, from behind `last` on.
async fn answers_after(conn: &mut Conn, last: Option<&(PrincipalId, String)>) -> Result<Vec<Row>, Problem> {
    use idempotency_keys::{key, principal_id};
    let rows = on_each!(conn, |c| {
        let mut query = boxed(c, idempotency_keys::table.select(Row::as_select()));
        if let Some((who, after)) = last {
            query = query.filter(principal_id.gt(who).or(principal_id.eq(who).and(key.gt(after))));
        }
        query.order((principal_id, key)).limit(OPENED_AT_ONCE).load(c).await
    });
    Ok(rows?)
}

/// The row with a changed answer, if it says something of `id`.
fn amended(
    row: Row,
    id: &str,
    change: fn(&mut serde_json::Map<String, serde_json::Value>),
    sealer: &Sealer,
) -> Result<Option<Row>, Problem> {
    let owner = owner(row.principal_id, &row.key);
    // What was made at a place below it is about it, too.
    let is_below = row.headers.0.get("location").and_then(|at| at.as_str()).is_some_and(|at| at.contains(id));
    let Some(said) = sealer.open(&owner, &row.body).filter(|said| is_below || said.contains(id)) else {
        return Ok(None);
    };
    let Ok(mut said): Result<serde_json::Value, _> = serde_json::from_str(&said) else { return Ok(None) };
    change_of(&mut said, id, change);
    if let (true, Some(fields)) = (is_below, said.as_object_mut()) {
        change(fields);
    }
    let body = sealer.seal(&owner, &said.to_string())?;
    Ok(Some(Row { body, ..row }))
}

/// Changes every object within `value` that has this `id`.
fn change_of(value: &mut serde_json::Value, id: &str, change: fn(&mut serde_json::Map<String, serde_json::Value>)) {
    match value {
        serde_json::Value::Object(fields) => {
            if fields.get("id").and_then(|own| own.as_str()) == Some(id) {
                change(fields);
            }
            fields.values_mut().for_each(|field| change_of(field, id, change));
        }
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| change_of(item, id, change)),
        _ => {}
    }
}

async fn replace_answers(tx: &mut Conn, rows: &[Row]) -> Result<(), Problem> {
    for row in rows {
        let own = idempotency_keys::table.find((row.principal_id, &row.key));
        on_each!(tx, |c| diesel::update(own).set(idempotency_keys::body.eq(&row.body)).execute(c).await)?;
    }
    Ok(())
}

/// Forgets answers that are older than 24 hours.
///
/// # Errors
/// When the database is away.
pub async fn sweep(tx: &mut Conn, now: Instant) -> Result<usize, Problem> {
    let old = idempotency_keys::table.filter(idempotency_keys::created_at.le(now.plus_s(-KEPT_S)));
    Ok(on_each!(tx, |c| diesel::delete(old).execute(c).await)?)
}
