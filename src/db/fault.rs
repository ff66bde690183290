//! What a database's error means to the caller.

use diesel::result::{DatabaseErrorKind, Error};

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
        let Error::DatabaseError(kind, info) = &error else {
            return Problem::internal(error);
        };
        let message = info.message();
        match kind {
            DatabaseErrorKind::SerializationFailure => Problem::transient(error),
            // `ReadOnlyTransaction`: the server does not take writes any more, another one does.
            DatabaseErrorKind::ClosedConnection
            | DatabaseErrorKind::UnableToSendCommand
            | DatabaseErrorKind::ReadOnlyTransaction => Problem::unavailable(error),
            _ if message == INTERRUPTED => Problem::late("a statement was ended whose time was over"),
            _ if message.contains("deadlock detected") => Problem::transient(error),
            _ if message.contains("canceling statement due to") => overrun(message),
            _ if is_outage(message) => outage(message.to_owned()),
            _ => Problem::internal(error),
        }
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

/// Why something was ended before it was done.
#[derive(Debug)]
struct Overrun(String);

impl std::fmt::Display for Overrun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Overrun {}

/// The problem of what has taken too long.
pub(super) fn overrun(message: &str) -> Problem {
    Problem::late("").because(Overrun(message.to_owned()))
}

/// Whether what was asked has taken too long: nothing is wrong with the connection.
pub(super) fn is_overrun(problem: &Problem) -> bool {
    problem.cause().is_some_and(|cause| cause.is::<Overrun>())
}

/// The problem of a commit whose outcome nobody told.
pub(super) fn uncertain(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Problem {
    Problem::unavailable(cause).saying(UNCERTAIN)
}

/// SQLite's and PostgreSQL's words for a full disk or a file at its limit.
fn is_full(message: &str) -> bool {
    ["database or disk is full", "No space left on device", "File too large", "Disk quota exceeded"]
        .iter()
        .any(|known| message.contains(known))
}

/// SQLite's words for "not now" (busy, full, I/O) and PostgreSQL's for an instance that goes down, comes up, or has enough
/// to do.
fn is_outage(message: &str) -> bool {
    is_full(message)
        || is_locked(message)
        || [
            "disk I/O error",
            "unable to open database file",
            "attempt to write a readonly database",
            "connection closed",
            "terminating connection",
            "the database system is",
            "too many clients",
            "remaining connection slots",
            "out of shared memory",
        ]
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
