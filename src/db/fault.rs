//! What a database's error means to the caller.

use diesel::result::{DatabaseErrorKind, Error};

use crate::kernel::Problem;

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let Error::DatabaseError(kind, info) = &error else {
            return Problem::internal(error);
        };
        let message = info.message();
        match kind {
            DatabaseErrorKind::SerializationFailure => Problem::transient(error),
            DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand => Problem::unavailable(error),
            _ if message.contains("deadlock detected") => Problem::transient(error),
            _ if is_outage(message) => Problem::unavailable(error),
            _ => Problem::internal(error),
        }
    }
}

/// SQLite's words for "not now" (busy, full, I/O) and PostgreSQL's for an instance that goes down or comes up.
fn is_outage(message: &str) -> bool {
    [
        "database is locked",
        "database or disk is full",
        "disk I/O error",
        "unable to open database file",
        "attempt to write a readonly database",
        "connection closed",
        "terminating connection",
        "the database system is",
        "cannot execute INSERT in a read-only transaction",
        "cannot execute UPDATE in a read-only transaction",
        "too many clients",
        "No space left on device",
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
