//! One connection of either engine, and the macro that runs a query on whichever it is.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{CacheSize, SimpleConnection};
use diesel::{Connection, SqliteConnection};
use futures_util::future::BoxFuture;

use super::postgres::channel::PgChannel;
use super::root::{Lines, Root};
use super::run::Runs;
use crate::kernel::Problem;

/// A connection of either engine. Queries reach it through [`on_each!`].
pub struct Conn {
    pub(crate) line: EngineConn,
    kept: Arc<ConnCache>,
    /// What it keeps by itself, in a transaction that may never be committed.
    own: Option<Arc<ConnCache>>,
    /// Those who wait for their turn to write, where it is a connection to write on.
    lines: Option<Lines>,
    pub(super) last: Vec<(i64, LastWork)>,
    /// What is done when it is committed.
    pub(super) committed: Vec<AfterCommit>,
    /// Whether something was erased that is still in the log beside SQLite's file.
    pub(super) erased: bool,
    /// How many statements SQLite has prepared on it that are kept.
    pub(super) prepared: Arc<AtomicUsize>,
}

/// What is done, without the database, when a transaction is committed.
pub type AfterCommit = Box<dyn FnOnce() + Send>;

/// Work that is done at the end of a transaction.
pub type LastWork = Box<dyn for<'a> FnOnce(&'a mut Conn) -> BoxFuture<'a, Result<(), Problem>> + Send>;

/// The connection itself.
pub(crate) enum EngineConn {
    /// To a PostgreSQL server.
    Postgres(PgChannel),
    /// A reader's own, or the writer's.
    Sqlite(SqliteConnection),
}

/// What has been read from one database and may be kept for as long as it is open: one value of each type.
#[derive(Default)]
pub struct ConnCache(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl ConnCache {
    pub(super) fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = kept.entry(TypeId::of::<T>()).or_insert_with(|| Arc::<T>::default());
        // The entry was made by this very line, with this type.
        Arc::clone(value).downcast().unwrap_or_default()
    }
}

impl Conn {
    pub(super) fn new(line: EngineConn, kept: Arc<ConnCache>) -> Self {
        Self {
            line,
            kept,
            own: None,
            lines: None,
            last: Vec::new(),
            committed: Vec::new(),
            erased: false,
            prepared: Arc::default(),
        }
    }

    /// The same, which knows who waits for their turn to write.
    pub(super) fn before(self, lines: Lines) -> Self {
        Self { lines: Some(lines), ..self }
    }

    /// Whether others of this process wait until this write on `root` has ended.
    pub fn is_awaited(&self, root: &Root) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.is_awaited(root))
    }

    /// Lets go of all prepared statements when there are more than `most`: diesel knows no other bound. What is asked
    /// often is soon prepared again, once for so many that were asked once.
    pub(super) fn forget_some(&mut self, most: usize) {
        if let EngineConn::Sqlite(sqlite) = &mut self.line
            && self.prepared.load(Ordering::Relaxed) > most
        {
            sqlite.set_prepared_statement_cache_size(CacheSize::Disabled);
            sqlite.set_prepared_statement_cache_size(CacheSize::Unbounded);
            self.prepared.store(0, Ordering::Relaxed);
        }
    }

    /// What is kept of this database under this type; all its connections share it, but for a transaction of
    /// [`write_alone`](super::Db::write_alone).
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.own.as_ref().unwrap_or(&self.kept).get()
    }

    /// Likewise, of what has a name that never means anything else: all connections share it, also those that may not
    /// commit.
    pub fn kept_by_name<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.kept.get()
    }

    /// From now on keeps by itself what it reads, or shares it again.
    pub(super) fn keep_apart(&mut self, apart: bool) {
        self.own = apart.then(Arc::default);
    }

    /// Does `work` within this transaction of a write, but after all else: on SQLite together with that of all who are
    /// committed together, by ascending `place`. If it fails, they all do.
    ///
    /// # Errors
    /// What `work` gives, when there is nothing to wait for.
    pub async fn at_last(&mut self, place: i64, work: LastWork) -> Result<(), Problem> {
        match self.line {
            EngineConn::Postgres(_) => work(self).await,
            EngineConn::Sqlite(_) => {
                self.last.push((place, work));
                Ok(())
            }
        }
    }

    /// Does `work` as soon as this transaction of a write is on disk, and never if it is undone. Where it is not known
    /// what has become of it, it is not done either.
    pub fn after_commit(&mut self, work: impl FnOnce() + Send + 'static) {
        self.committed.push(Box::new(work));
    }

    /// What this transaction of a write takes out of the database must not be found in its files any more. What SQLite
    /// deletes it overwrites with zeroes anyway; its log, which has what stood there before, is emptied after the
    /// commit. PostgreSQL sees to its own files.
    pub fn erase(&mut self) {
        self.erased = true;
    }

    /// Waits until all that was sent to PostgreSQL is done: the locks that a write begins with are taken.
    pub(super) async fn settled(&mut self) -> Result<(), Problem> {
        match &mut self.line {
            EngineConn::Postgres(channel) => channel.settled().await,
            EngineConn::Sqlite(_) => Ok(()),
        }
    }

    /// Runs statements that take no parameters and give no rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn batch(&mut self, sql: &str) -> diesel::QueryResult<()> {
        match &mut self.line {
            EngineConn::Postgres(channel) => channel.backend().session().batch(sql).await,
            EngineConn::Sqlite(sqlite) => SimpleConnection::batch_execute(sqlite, sql),
        }
    }
}

/// Runs one body on whichever engine `conn` is; the body is type-checked once for each, which keeps all of
/// diesel's query builder usable on both.
macro_rules! on_each {
    ($conn:expr, |$c:ident| $body:expr) => {
        match &mut $conn.line {
            $crate::db::EngineConn::Postgres(channel) => {
                let $c: &mut &$crate::db::Session = &mut channel.backend().session();
                $body
            }
            $crate::db::EngineConn::Sqlite($c) => $body,
        }
    };
}
pub(crate) use on_each;

/// Sends a statement that gives nothing back, within a write. PostgreSQL answers later: whatever comes after it finds
/// it done, and the transaction does not end well unless it did. A last argument says what its errors mean.
macro_rules! send {
    ($conn:expr, $statement:expr) => {
        $crate::db::send!($conn, $statement, $crate::kernel::Problem::from)
    };
    ($conn:expr, $statement:expr, $problem:expr) => {
        match &mut $conn.line {
            $crate::db::EngineConn::Postgres(channel) => channel.post($statement, $problem).await,
            $crate::db::EngineConn::Sqlite(sqlite) => $crate::db::run_quietly($statement, sqlite).map_err($problem),
        }
    };
}
pub(crate) use send;

/// Loads rows that nobody else changes before this transaction of a write ends: PostgreSQL locks them, SQLite has one
/// writer.
macro_rules! load_locked {
    ($conn:expr, $query:expr) => {
        match &mut $conn.line {
            $crate::db::EngineConn::Postgres(channel) => {
                $query.for_update().load(&mut channel.backend().session()).await
            }
            $crate::db::EngineConn::Sqlite(sqlite) => $query.load(sqlite).await,
        }
    };
}
pub(crate) use load_locked;

/// Loads rows likewise, without those that somebody else has locked right now: nobody is waited for.
macro_rules! load_free {
    ($conn:expr, $query:expr) => {
        match &mut $conn.line {
            $crate::db::EngineConn::Postgres(channel) => {
                $query.for_update().skip_locked().load(&mut channel.backend().session()).await
            }
            $crate::db::EngineConn::Sqlite(sqlite) => $query.load(sqlite).await,
        }
    };
}
pub(crate) use load_free;

/// Boxes `query` for the engine of `conn`, so that filters can be added one by one.
pub fn boxed<'a, C, Q>(_conn: &C, query: Q) -> Q::Output
where
    C: Runs,
    Q: diesel::query_dsl::methods::BoxedDsl<'a, C::Backend>,
{
    query.internal_into_boxed()
}
