//! What is said differently to each engine: how it reads the JSON of the changes of an event, and how the change log is
//! written. SQLite's one writer gives positions itself. PostgreSQL's writers put what they have into an inbox, whose
//! order is that of their commits as far as one begins after another has ended, and nobody waits for anybody.

use std::sync::Arc;

use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use crate::db::raw::{Raw, raw};
use crate::db::schema::{change_inbox, changes};
use crate::db::signal::{CHANGES_CHANNEL, ChangesPublished, Signal};
use crate::db::{Conn, Db, EngineConn, RunQueryDsl, run_quietly};
use crate::kernel::sql::{JsonDocument, Moment};
use crate::kernel::{EventId, Instant, Problem};

/// How many changes are given their positions at once.
pub const SEQUENCED_AT_ONCE: i64 = 1_000;

/// Given when something was committed that has no position yet.
#[derive(Debug, Default)]
pub struct ChangesWritten(pub Signal);

impl ChangesWritten {
    /// That of this database.
    pub fn of(db: &Db) -> Arc<Self> {
        db.kept()
    }
}

/// What the numbering is locked by: it saves work, and nothing depends on it.
const NUMBERING: i64 = 0x736b_5f6e_756d_6272;

/// Adds `event` to the log, which happens `at`.
pub fn append(tx: &mut Conn, event: EventId, at: Instant) -> impl Future<Output = Result<(), Problem>> {
    let is_numbered = matches!(tx.line, EngineConn::Sqlite(_));
    let (written, published) = (tx.kept_by_name::<ChangesWritten>(), tx.kept_by_name::<ChangesPublished>());
    tx.after_commit(move || if is_numbered { published.0.give() } else { written.0.give() });
    async move {
        match &mut tx.line {
            EngineConn::Sqlite(sqlite) => {
                let last = "(SELECT last.at FROM changes AS last ORDER BY last.position DESC LIMIT 1)";
                let never_falls = raw::<Moment>("max(").bind(at).sql(format!(", coalesce({last}, 0))"));
                let row = (changes::event_id.eq(event), changes::at.eq(never_falls));
                run_quietly(diesel::insert_into(changes::table).values(row), sqlite).map_err(Problem::from)
            }
            EngineConn::Postgres(channel) => {
                let row = change_inbox::event_id.eq(event);
                channel.post(diesel::insert_into(change_inbox::table).values(row), Problem::from).await
            }
        }
    }
}

/// What became of an attempt to give positions.
#[derive(Debug, PartialEq, Eq, diesel::Queryable)]
pub struct Sequenced {
    /// How many were given.
    pub count: i64,
    /// Whether nobody else was at it.
    pub had_turn: bool,
    /// Nothing: other instances were told.
    _told: Option<String>,
}

/// Gives the first of what waits in the inbox their positions, `now`, at most [`SEQUENCED_AT_ONCE`]. On SQLite nothing
/// waits.
///
/// # Errors
/// A transient problem when another instance does so right now.
pub async fn sequence(tx: &mut Conn, now: Instant) -> Result<Sequenced, Problem> {
    match &mut tx.line {
        EngineConn::Sqlite(_) => Ok(Sequenced { count: 0, had_turn: true, _told: None }),
        EngineConn::Postgres(channel) => {
            let mut sequenced: Vec<Sequenced> = Sequence(now).load(&mut channel.backend().session()).await?;
            sequenced.pop().ok_or_else(|| Problem::internal("nothing was said of the change log"))
        }
    }
}

/// How many changes have no position yet, as far as `most`.
pub async fn unsequenced(conn: &mut Conn, most: i64) -> Result<i64, Problem> {
    match &mut conn.line {
        EngineConn::Sqlite(_) => Ok(0),
        EngineConn::Postgres(channel) => {
            let some = change_inbox::table.select(change_inbox::arrival).limit(most);
            let some: Vec<i64> = some.load(&mut channel.backend().session()).await?;
            Ok(i64::try_from(some.len()).unwrap_or(i64::MAX))
        }
    }
}

/// The events of the log that have no position and wait for none: a query for their ids.
pub fn without_place(conn: &Conn) -> String {
    let waiting = match conn.line {
        EngineConn::Sqlite(_) => "",
        EngineConn::Postgres(_) => " EXCEPT SELECT event_id FROM change_inbox",
    };
    // Those of before the log know neither.
    let logged = "ticket_version IS NOT NULL OR subject_id IS NOT NULL";
    format!("SELECT id FROM events WHERE {logged} EXCEPT SELECT event_id FROM changes{waiting}")
}

/// The statement that numbers. What is committed is taken out of the inbox and numbered at once, so that positions are
/// without a gap. If two instances meet, one of them fails by what the other has taken or numbered, and tries again.
struct Sequence(Instant);

impl Query for Sequence {
    type SqlType = (BigInt, Bool, Nullable<Text>);
}
impl QueryId for Sequence {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Sequence {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(&format!(
            "WITH mine AS MATERIALIZED (SELECT pg_try_advisory_xact_lock({NUMBERING}) AS ok), \
             taken AS (DELETE FROM change_inbox WHERE arrival IN (SELECT arrival FROM change_inbox, mine WHERE ok \
             ORDER BY arrival LIMIT {SEQUENCED_AT_ONCE}) RETURNING arrival, event_id), \
             newest AS (SELECT position, at FROM changes ORDER BY position DESC LIMIT 1), \
             head AS (SELECT coalesce(max(position), 0) AS last, greatest(max(at), "
        ));
        out.push_bind_param::<Moment, _>(&self.0)?;
        out.push_sql(&format!(
            ") AS at FROM newest), \
             put AS (INSERT INTO changes (position, event_id, at) \
             SELECT head.last + row_number() OVER (ORDER BY arrival), event_id, head.at FROM taken, head RETURNING 1) \
             SELECT (SELECT count(*) FROM put), (SELECT ok FROM mine), \
             (SELECT pg_notify('{CHANGES_CHANNEL}', '')::text FROM put LIMIT 1)",
        ));
        Ok(())
    }
}

/// The fields whose values are what somebody has written.
const TEXTS: &str = "('subject', 'description', 'custom_fields', 'external_id', 'body', 'note', 'dedupe_key')";

/// The status that an event of a ticket gave it, if it gave it another.
pub fn new_status(conn: &Conn) -> Raw<Nullable<Text>> {
    raw(match conn.line {
        EngineConn::Sqlite(_) => {
            "(SELECT value ->> 'after' FROM json_each(events.changes) WHERE value ->> 'field' = 'status')"
        }
        EngineConn::Postgres(_) => {
            "(SELECT value ->> 'after' FROM jsonb_array_elements(events.changes) AS change (value) \
             WHERE value ->> 'field' = 'status')"
        }
    })
}

/// The changes of an event without what people have written, and whether there is any of it.
pub fn without_texts(conn: &Conn) -> (Raw<JsonDocument>, Raw<Bool>) {
    let (emptied, all) = match conn.line {
        EngineConn::Sqlite(_) => (
            format!(
                "(SELECT json_group_array(json(CASE WHEN value ->> 'field' IN {TEXTS} \
                 THEN json_object('field', value ->> 'field', 'before', NULL, 'after', NULL) ELSE value END)) \
                 FROM (SELECT value FROM json_each(events.changes) ORDER BY key))"
            ),
            "json_each(events.changes)",
        ),
        EngineConn::Postgres(_) => (
            format!(
                "(SELECT coalesce(jsonb_agg(CASE WHEN value ->> 'field' IN {TEXTS} \
                 THEN value || '{{\"before\": null, \"after\": null}}' ELSE value END ORDER BY place), '[]') \
                 FROM jsonb_array_elements(events.changes) WITH ORDINALITY AS change (value, place))"
            ),
            "jsonb_array_elements(events.changes) AS change (value)",
        ),
    };
    let has_texts = format!(
        "EXISTS (SELECT 1 FROM {all} WHERE value ->> 'field' IN {TEXTS} \
         AND coalesce(value ->> 'before', value ->> 'after') IS NOT NULL)"
    );
    (raw(emptied), raw(has_texts))
}
