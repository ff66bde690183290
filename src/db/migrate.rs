//! The schema, embedded in the binary.

use std::path::Path;

use diesel::migration::MigrationSource;
use diesel::{Connection, QueryDsl, SqliteConnection};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::conn::{Conn, on_each};
use super::run::RunQueryDsl;
use super::schema::schema_migrations;

use crate::kernel::Problem;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Any constant will do, as long as all versions of Skranke use the same.
const ADVISORY_LOCK: i64 = 0x736b_7261_6e6b_6501;

/// Brings the SQLite file up to date. A lock file beside it lets several processes start at once.
///
/// # Errors
/// When a migration fails; the file then stands as after the last one that passed.
pub fn sqlite(path: &Path) -> Result<usize, Problem> {
    let lock = std::fs::File::create(path.with_extension("lock")).map_err(Problem::unavailable)?;
    lock.lock().map_err(Problem::unavailable)?;
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(Problem::unavailable)?;
    diesel::connection::SimpleConnection::batch_execute(
        &mut conn,
        "PRAGMA busy_timeout = 5000; PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL",
    )?;
    run(&mut conn, SQLITE)
}

/// Brings the PostgreSQL database up to date, under an advisory lock, so that ten instances can start at once.
///
/// # Errors
/// When a migration fails; the database then stands as after the last one that passed.
pub async fn postgres(mut conn: AsyncPgConnection) -> Result<usize, Problem> {
    conn.batch_execute(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})")).await?;
    // The lock ends with the connection.
    blocking(move || run(&mut AsyncMigrationHarness::new(conn), POSTGRES)).await
}

/// The migrations of a database, held against those of this binary. By version, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationState {
    /// Those that both have.
    pub done: Vec<String>,
    /// Those that the database lacks.
    pub missing: Vec<String>,
    /// Those of a newer binary.
    pub unknown: Vec<String>,
}

/// How the database stands.
///
/// # Errors
/// When it cannot be read, or has never been migrated.
pub async fn state(conn: &mut Conn) -> Result<MigrationState, Problem> {
    let known = match conn.line {
        super::EngineConn::Postgres(_) => versions::<diesel::pg::Pg>(POSTGRES)?,
        super::EngineConn::Sqlite(_) => versions::<diesel::sqlite::Sqlite>(SQLITE)?,
    };
    let done: Vec<String> =
        on_each!(conn, |c| schema_migrations::table.select(schema_migrations::version).load(c).await)?;
    let (missing, both) = known.iter().cloned().partition(|version| !done.contains(version));
    let unknown = done.into_iter().filter(|version| !known.contains(version)).collect();
    Ok(MigrationState { done: both, missing, unknown })
}

/// Whether the database lacks a migration that this binary knows.
///
/// # Errors
/// When it cannot be read.
pub async fn is_behind(conn: &mut Conn) -> Result<bool, Problem> {
    Ok(!state(conn).await?.missing.is_empty())
}

fn versions<DB: diesel::backend::Backend>(all: EmbeddedMigrations) -> Result<Vec<String>, Problem> {
    let migrations = MigrationSource::<DB>::migrations(&all).map_err(Problem::internal)?;
    Ok(migrations.iter().map(|m| m.name().version().to_string()).collect())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Problem> + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

fn run<DB: diesel::backend::Backend>(
    harness: &mut impl MigrationHarness<DB>,
    all: EmbeddedMigrations,
) -> Result<usize, Problem> {
    Ok(harness.run_pending_migrations(all).map_err(Problem::internal)?.len())
}
