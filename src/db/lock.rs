//! Locks that have a number for a name and end with the transaction of a write. SQLite needs none: it has one writer.

use diesel::QueryResult;
use futures_util::future::join;

use super::{Conn, EngineConn, RunQueryDsl, Session};
use crate::kernel::Problem;

diesel::define_sql_function! {
    /// Takes a lock until the end of the transaction, unless somebody else has it.
    fn pg_try_advisory_xact_lock(key: diesel::sql_types::BigInt) -> diesel::sql_types::Bool;
}

/// Takes the lock `key`, unless another transaction has it; gives whether it was taken.
pub async fn try_lock(tx: &mut Conn, key: i64) -> Result<bool, Problem> {
    match &mut tx.line {
        EngineConn::Sqlite(_) => Ok(true),
        EngineConn::Postgres(channel) => {
            let lock = diesel::select(pg_try_advisory_xact_lock(key));
            Ok(lock.get_result(&mut channel.backend().session()).await?)
        }
    }
}

/// Takes the lock `$key` likewise, and runs a query that only its holder may run, written once for each engine: `None`
/// when another transaction has the lock, otherwise what the query gives. PostgreSQL is asked both at once.
macro_rules! under_lock {
    ($tx:expr, $key:expr, |$c:ident| $query:expr) => {
        match &mut $tx.line {
            $crate::db::EngineConn::Sqlite($c) => Ok(Some($query.await)),
            $crate::db::EngineConn::Postgres(channel) => {
                let session = channel.backend().session();
                let $c: &mut &$crate::db::Session = &mut { session };
                $crate::db::lock::beside($key, session, $query).await
            }
        }
    };
}
pub(crate) use under_lock;

/// Takes the lock `key` beside another query; gives what that gives if the lock was taken.
pub(crate) async fn beside<T>(key: i64, session: &Session, query: impl Future<Output = T>) -> QueryResult<Option<T>> {
    let lock = diesel::select(pg_try_advisory_xact_lock(key));
    let (locked, found) = join(lock.get_result::<_, bool>(&mut { session }), query).await;
    Ok(locked?.then_some(found))
}
