//! Connections to a file.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::{Connection, SqliteConnection};
use futures_util::FutureExt;

use crate::db::conn::{Conn, ConnCache, EngineConn};
use crate::db::slow::Listener;
use crate::kernel::Problem;

/// How long a statement waits for another process, in milliseconds.
pub(super) const BUSY_MS: i32 = 5_000;

/// How long the writer waits for another process before it looks again who waits for the writer, in milliseconds.
pub(super) const LOCKED_MS: i32 = 100;

/// How many pages of 4 KiB the log has before it begins anew; at four times as many, SQLite sees to it within a commit.
pub(super) const LOG_PAGES: i32 = 8_000;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ConnectionRole {
    /// The writer's own.
    Write,
    /// For what changes nothing.
    Read,
    /// For what has to be done for the others.
    Attend,
}

pub(super) fn connect(
    path: &Path,
    role: ConnectionRole,
    kept: &Arc<ConnCache>,
    listener: Option<&Listener>,
) -> Result<Conn, Problem> {
    // What the system has read from the file it keeps, too; there are as many readers as threads.
    let cache_kib = match role {
        ConnectionRole::Write => 6_000,
        ConnectionRole::Read => 2_000,
        ConnectionRole::Attend => 100,
    };
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(Problem::unavailable)?;
    SimpleConnection::batch_execute(
        &mut conn,
        // synchronous=FULL: an answered write is on disk. busy_timeout comes first, since the others may wait too.
        // secure_delete: what is deleted is overwritten with zeroes, which costs 5 % more pages of the log.
        &format!(
            "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{cache_kib}; PRAGMA wal_autocheckpoint = {};",
            4 * LOG_PAGES
        ),
    )?;
    if role != ConnectionRole::Write {
        SimpleConnection::batch_execute(&mut conn, "PRAGMA query_only = ON")?;
    }
    let prepared = Arc::<AtomicUsize>::default();
    conn.set_instrumentation(PreparedCounter {
        count: prepared.clone(),
        listener: listener.map(|listener| listener()),
    });
    let mut conn = Conn::new(EngineConn::Sqlite(conn), kept.clone());
    conn.prepared = prepared;
    Ok(conn)
}

/// Counts the statements that a connection keeps prepared.
struct PreparedCounter {
    count: Arc<AtomicUsize>,
    listener: Option<Box<dyn Instrumentation>>,
}

impl Instrumentation for PreparedCounter {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::CacheQuery { .. } = event {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(listener) = &mut self.listener {
            listener.on_connection_event(event);
        }
    }
}

/// The result of a future that never waits: everything on SQLite is done in place.
pub(super) fn now<T>(future: impl Future<Output = diesel::QueryResult<T>>) -> diesel::QueryResult<T> {
    future.now_or_never().unwrap_or(Err(diesel::result::Error::BrokenTransactionManager))
}
