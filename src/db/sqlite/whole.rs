//! What is done with a file as a whole.

use std::path::Path;
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::{Connection, RunQueryDsl, SqliteConnection};

use super::connect::{ConnectionRole, connect, now};
use super::log::Checkpoint;
use crate::db::conn::{Conn, EngineConn};
use crate::kernel::Problem;

/// Writes the whole file anew, so that nothing is left in it but what can be read: also no copy of a row that SQLite
/// has moved from one page to another, which it does not overwrite. Others can read meanwhile, and who writes waits.
///
/// # Errors
/// When somebody else writes for too long, or there is no room for a second file.
pub fn rewrite(path: &Path) -> Result<(), Problem> {
    let Conn { line: EngineConn::Sqlite(mut conn), .. } = connect(path, ConnectionRole::Write, &Arc::default(), None)?
    else {
        return Ok(());
    };
    SimpleConnection::batch_execute(&mut conn, "VACUUM")?;
    let done = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Checkpoint>(&mut conn)?;
    if done.busy == 0 { Ok(()) } else { Err(Problem::unavailable("somebody reads what there was before")) }
}

/// A connection to a file that is there, which cannot change it.
fn observe(path: &Path) -> Result<SqliteConnection, Problem> {
    let mut conn = SqliteConnection::establish(&uri(path)?).map_err(Problem::unavailable)?;
    SimpleConnection::batch_execute(&mut conn, "PRAGMA busy_timeout = 5000")?;
    Ok(conn)
}

/// The path as SQLite's URI for a file that is opened for reading and never made.
fn uri(path: &Path) -> Result<String, Problem> {
    let path = std::path::absolute(path).map_err(Problem::unavailable)?;
    let path = path.to_str().ok_or_else(|| Problem::unavailable("the path of the database is not UTF-8"))?;
    // Behind an authority that is empty, or a path that begins with two slashes would name one.
    Ok(format!("file://{}?mode=ro", path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")))
}

/// Runs `work` on a file that is there, in one transaction that cannot write.
///
/// # Errors
/// What `work` gives, or `unavailable` when the file cannot be read.
pub async fn look<T>(path: &Path, work: impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
    let mut conn = Conn::new(EngineConn::Sqlite(observe(path)?), Arc::default());
    now(conn.batch("PRAGMA query_only = ON; BEGIN DEFERRED"))?;
    work(&mut conn).await
}

/// Copies what has been committed before now into `into`, which must be empty or missing. Others read and write
/// meanwhile.
///
/// # Errors
/// When the file cannot be read or the copy not be written.
pub fn copy(path: &Path, into: &Path) -> Result<(), Problem> {
    let into = std::path::absolute(into).map_err(Problem::unavailable)?;
    let into = into.to_str().ok_or_else(|| Problem::unavailable("the path of the copy is not UTF-8"))?;
    let copied = diesel::sql_query("VACUUM INTO ?").bind::<diesel::sql_types::Text, _>(into);
    copied.execute(&mut observe(path)?)?;
    Ok(())
}
