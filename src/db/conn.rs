//! One connection of either engine, and the macro that runs a query on whichever it is.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::SqliteConnection;
use diesel_async::AsyncPgConnection;
use diesel_async::sync_connection_wrapper::{SpawnBlocking, SyncConnectionWrapper};
use futures_util::future::{BoxFuture, FutureExt};

use crate::kernel::Problem;

/// Runs SQLite's calls in place: they are short, and handing them to another thread costs more than they do.
pub struct Inline;

impl SpawnBlocking for Inline {
    fn spawn_blocking<'a, R>(
        &mut self,
        task: impl FnOnce() -> R + Send + 'static,
    ) -> BoxFuture<'a, Result<R, Box<dyn std::error::Error + Send + Sync + 'static>>>
    where
        R: Send + 'static,
    {
        futures_util::future::ready(Ok(task())).boxed()
    }

    fn get_runtime() -> Self {
        Self
    }
}

/// SQLite behind the same async interface as PostgreSQL.
pub type SqliteAsync = SyncConnectionWrapper<SqliteConnection, Inline>;

/// What PostgreSQL's pool hands out.
pub type Pooled = diesel_async::pooled_connection::deadpool::Object<AsyncPgConnection>;

/// A connection of either engine. Queries reach it through [`on_each!`].
pub struct Conn {
    pub(crate) line: Line,
    kept: Arc<Kept>,
    pub(super) last: Vec<LastWork>,
}

/// Work that is done at the end of a transaction.
pub type LastWork = Box<dyn for<'a> FnOnce(&'a mut Conn) -> BoxFuture<'a, Result<(), Problem>> + Send>;

/// The connection itself.
pub(crate) enum Line {
    /// From the pool of the primary.
    Postgres(Box<Pooled>),
    /// A reader's own, or the writer's.
    Sqlite(SqliteAsync),
}

/// What has been read from one database and may be kept for as long as it is open: one value of each type.
#[derive(Default)]
pub struct Kept(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Kept {
    fn get<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let value = kept.entry(TypeId::of::<T>()).or_insert_with(|| Arc::<T>::default());
        // The entry was made by this very line, with this type.
        Arc::clone(value).downcast().unwrap_or_default()
    }
}

impl Conn {
    pub(super) fn new(line: Line, kept: Arc<Kept>) -> Self {
        Self { line, kept, last: Vec::new() }
    }

    /// What is kept of this database under this type; all its connections share it.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.kept.get()
    }

    /// Does `work` within this transaction of a write, but after all else: on SQLite once for all that are committed
    /// together. If it fails, they all do.
    ///
    /// # Errors
    /// What `work` gives, when there is nothing to wait for.
    pub async fn at_last(&mut self, work: LastWork) -> Result<(), Problem> {
        match self.line {
            Line::Postgres(_) => work(self).await,
            Line::Sqlite(_) => {
                self.last.push(work);
                Ok(())
            }
        }
    }

    /// Runs statements that take no parameters and give no rows.
    ///
    /// # Errors
    /// What the database says.
    pub async fn batch(&mut self, sql: &str) -> diesel::QueryResult<()> {
        use diesel_async::SimpleAsyncConnection;
        on_each!(self, |c| c.batch_execute(sql).await)
    }
}

/// Runs one body on whichever engine `conn` is; the body is type-checked once for each, which keeps all of
/// diesel's query builder usable on both.
macro_rules! on_each {
    ($conn:expr, |$c:ident| $body:expr) => {
        match &mut $conn.line {
            $crate::db::Line::Postgres(pooled) => {
                let $c: &mut diesel_async::AsyncPgConnection = &mut **pooled;
                $body
            }
            $crate::db::Line::Sqlite($c) => $body,
        }
    };
}
pub(crate) use on_each;

/// Boxes `query` for the engine of `conn`, so that filters can be added one by one.
pub fn boxed<'a, C, Q>(_conn: &C, query: Q) -> Q::Output
where
    C: diesel_async::AsyncConnectionCore,
    Q: diesel::query_dsl::methods::BoxedDsl<'a, C::Backend>,
{
    query.internal_into_boxed()
}
