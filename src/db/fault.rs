//! What a database's error means to the caller.

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use tokio_postgres::error::{DbError, SqlState};

use crate::kernel::Problem;

/// What the caller hears when there is no room left.
const FULL: &str = "There is no room left for the database. Nothing was changed, and what is there can be read. \
                    Try again when there is room.";

/// What the caller hears while somebody else writes into SQLite's file.
const LOCKED: &str = "Another program holds the lock of the database file. Nothing was changed. Try again in a moment.";

/// SQLite's word for a statement that was ended before its end.
const INTERRUPTED: &str = "interrupted";

/// What the caller hears when the answer to a commit was lost.
const UNCERTAIN: &str = "The database was lost while the change was committed, so it may have been made or not. Send the \
                         request again with the same Idempotency-Key, or read what is there.";

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (kind, info) = match error {
            Error::DatabaseError(kind, info) => (kind, info),
            Error::QueryBuilderError(cause) => {
                return match cause.downcast::<PgError>() {
                    Ok(said) => (*said).problem(),
                    Err(cause) => Problem::internal(cause),
                };
            }
            error => return Problem::internal(error),
        };
        match kind {
            DatabaseErrorKind::Unknown => outage_or_fault(info),
            // Of a connection or a runtime that ends.
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => {
                Problem::unavailable(Error::DatabaseError(kind, info))
            }
            _ => Problem::internal(Error::DatabaseError(kind, info)),
        }
    }
}

/// PostgreSQL's error as diesel's, which tells what constraint was violated, for those who ask. All others pass through
/// it as they are: it has no place for their SQLSTATE.
pub(super) fn of_postgres(error: tokio_postgres::Error) -> Error {
    let kind = match error.code() {
        Some(&SqlState::UNIQUE_VIOLATION) => DatabaseErrorKind::UniqueViolation,
        Some(&SqlState::FOREIGN_KEY_VIOLATION) => DatabaseErrorKind::ForeignKeyViolation,
        Some(&SqlState::NOT_NULL_VIOLATION) => DatabaseErrorKind::NotNullViolation,
        Some(&SqlState::CHECK_VIOLATION) => DatabaseErrorKind::CheckViolation,
        _ => return Error::QueryBuilderError(Box::new(PgError(error))),
    };
    match error.as_db_error() {
        Some(said) => Error::DatabaseError(kind, Box::new(Violation(said.clone()))),
        None => Error::QueryBuilderError(Box::new(PgError(error))),
    }
}

/// Which constraint a statement would have violated.
struct Violation(DbError);

impl DatabaseErrorInformation for Violation {
    fn message(&self) -> &str {
        self.0.message()
    }

    fn details(&self) -> Option<&str> {
        self.0.detail()
    }

    fn hint(&self) -> Option<&str> {
        self.0.hint()
    }

    fn table_name(&self) -> Option<&str> {
        self.0.table()
    }

    fn column_name(&self) -> Option<&str> {
        self.0.column()
    }

    fn constraint_name(&self) -> Option<&str> {
        self.0.constraint()
    }

    fn statement_position(&self) -> Option<i32> {
        None
    }
}

/// What PostgreSQL has said, in whatever language, or why it has said nothing.
#[derive(Debug)]
pub(super) struct PgError(tokio_postgres::Error);

impl std::fmt::Display for PgError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_db_error() {
            Some(said) => write!(f, "SQLSTATE {}: {}", said.code().code(), said.message()),
            None => f.write_str(&in_words(&self.0)),
        }
    }
}

impl std::error::Error for PgError {}

impl PgError {
    /// What it means, by its SQLSTATE alone.
    fn problem(self) -> Problem {
        let Some(said) = self.0.as_db_error() else { return Problem::unavailable(self) };
        match Verdict::of(said.code(), said.routine()) {
            Verdict::Again => Problem::transient(self),
            Verdict::Late => Problem::late("").because(self),
            Verdict::Full => Problem::unavailable(self).saying(FULL),
            Verdict::Outage => Problem::unavailable(self),
            Verdict::Fault => Problem::internal(self),
        }
    }

    fn code(&self) -> Option<&SqlState> {
        self.0.code()
    }
}

/// What an error of PostgreSQL means to the caller.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Another transaction was in the way: done again, it may well succeed.
    Again,
    /// It has taken too long, or waited too long for a lock, and was ended.
    Late,
    /// There is no room left.
    Full,
    /// The server goes down, comes up, has enough to do, or does not take writes any more.
    Outage,
    /// Ours.
    Fault,
}

impl Verdict {
    fn of(code: &SqlState, routine: Option<&str>) -> Self {
        match *code {
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED => Self::Again,
            SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => Self::Late,
            SqlState::DISK_FULL => Self::Full,
            // A quota, or the largest size of a file, has no code of its own: who has met it tells (a function of the
            // server).
            SqlState::INTERNAL_ERROR if matches!(routine, Some("mdextend" | "mdzeroextend")) => Self::Full,
            SqlState::READ_ONLY_SQL_TRANSACTION
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
            | SqlState::IO_ERROR => Self::Outage,
            // Connections, resources, and what an operator does.
            _ if matches!(code.code().get(..2), Some("08" | "53" | "57")) => Self::Outage,
            _ => Self::Fault,
        }
    }
}

/// An error of PostgreSQL with what lies behind it, which it does not tell by itself.
pub(super) fn in_words(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// What PostgreSQL has said, if `problem` comes from there.
fn said(problem: &Problem) -> Option<&PgError> {
    problem.cause().and_then(|cause| cause.downcast_ref())
}

/// Whether what was asked has taken too long: nothing is wrong with the connection.
pub(super) fn is_overrun(problem: &Problem) -> bool {
    said(problem)
        .and_then(PgError::code)
        .is_some_and(|code| matches!(*code, SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE))
}

/// Whether somebody else has had a lock for longer than was to be waited for it.
pub(super) fn is_locked_out(problem: &Problem) -> bool {
    said(problem).and_then(PgError::code) == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// Whether the server takes no writes, as a standby.
pub(super) fn is_read_only(problem: &Problem) -> bool {
    said(problem).and_then(PgError::code) == Some(&SqlState::READ_ONLY_SQL_TRANSACTION)
}

/// The problem of what diesel has no kind for: SQLite's words, which are always English. They are parts of the library,
/// and diesel keeps its codes to itself.
fn outage_or_fault(info: Box<dyn DatabaseErrorInformation + Send + Sync>) -> Problem {
    if is_outage(info.message()) {
        outage(info.message().to_owned())
    } else {
        Problem::internal(Error::DatabaseError(DatabaseErrorKind::Unknown, info))
    }
}

/// The problem of a database that does not serve now, by its words.
pub(super) fn outage(message: String) -> Problem {
    let problem = Problem::unavailable(message.clone());
    if is_full(&message) {
        problem.saying(FULL)
    } else if is_locked(&message) {
        problem.saying(LOCKED)
    } else if message == INTERRUPTED {
        Problem::late("a statement was ended whose time was over")
    } else {
        problem
    }
}

/// What is wrong while another process has the lock.
pub(super) fn locked() -> Problem {
    outage("database is locked".into())
}

/// Whether SQLite says that another process has the lock.
pub(super) fn is_locked(message: &str) -> bool {
    message.contains("database is locked")
}

/// The problem of a commit whose outcome nobody told.
pub(super) fn uncertain(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Problem {
    Problem::unavailable(cause).saying(UNCERTAIN)
}

/// SQLite's words for a full disk or a file at its limit.
fn is_full(message: &str) -> bool {
    message.contains("database or disk is full")
}

/// SQLite's words for "not now": busy, full, I/O, and ended before its end.
fn is_outage(message: &str) -> bool {
    message == INTERRUPTED
        || is_full(message)
        || is_locked(message)
        || ["disk I/O error", "unable to open database file", "attempt to write a readonly database"]
            .iter()
            .any(|known| message.contains(known))
}

/// Whether `error` says that a row with the same values exists in the unique index `name`, which on SQLite has
/// no name and is known by its `columns`, written `table.column, table.column`.
pub fn is_duplicate(error: &Error, name: &str, columns: &str) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, info) => match info.constraint_name() {
            Some(constraint) => constraint == name,
            None => info.message().contains(&format!("UNIQUE constraint failed: {columns}")),
        },
        _ => false,
    }
}
