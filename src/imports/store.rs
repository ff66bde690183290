//! Queries of what was imported.

use std::collections::HashMap;

use diesel::prelude::*;

use super::wire::ImportedKind;
use crate::auth::domain::Role;
use crate::db::raw::one_of;
use crate::db::schema::{imported, principals};
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::{PrincipalId, Problem};

/// A ticket that was imported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedTicket {
    /// Its number here.
    pub number: i64,
    /// How many entries of its past were taken.
    pub entries: i64,
    /// What stands for all that was said of it up to there.
    pub digest: String,
    /// How many entries its trail had then.
    pub trail: i64,
}

/// The tickets of `source` that are called so there, by those names.
pub async fn tickets(
    conn: &mut Conn,
    source: &str,
    names: &[String],
) -> Result<HashMap<String, ImportedTicket>, Problem> {
    let these = imported::table
        .filter(imported::source.eq(source).and(imported::kind.eq(ImportedKind::Ticket)))
        .filter(one_of("imported.external_id", names))
        .select((
            imported::external_id,
            imported::ticket_number.assume_not_null(),
            imported::entries,
            imported::digest,
            imported::trail,
        ));
    let rows: Vec<(String, i64, i64, String, i64)> = on_each!(conn, |c| these.load(c).await)?;
    let row = |(name, number, entries, digest, trail)| (name, ImportedTicket { number, entries, digest, trail });
    Ok(rows.into_iter().map(row).collect())
}

/// The person of `source` who is called so there.
pub async fn person(conn: &mut Conn, source: &str, name: &str) -> Result<Option<PrincipalId>, Problem> {
    let this = imported::table
        .filter(imported::source.eq(source).and(imported::kind.eq(ImportedKind::Person)))
        .filter(imported::external_id.eq(name))
        .select(imported::principal_id.assume_not_null());
    Ok(on_each!(conn, |c| this.first(c).await.optional())?)
}

/// Writes down that the person `id` is called `name` at `source`.
pub async fn put_person(tx: &mut Conn, source: &str, name: &str, id: PrincipalId) -> Result<(), Problem> {
    let row = (
        (imported::source.eq(source.to_owned()), imported::kind.eq(ImportedKind::Person)),
        (imported::external_id.eq(name.to_owned()), imported::principal_id.eq(Some(id))),
        (imported::entries.eq(0_i64), imported::digest.eq(""), imported::trail.eq(0_i64)),
    );
    send!(tx, diesel::insert_into(imported::table).values(row))
}

/// Writes down that a ticket is called `name` at `source`.
///
/// # Errors
/// A transient problem when somebody else imports it at the same time.
pub async fn put_ticket(tx: &mut Conn, source: &str, name: &str, ticket: &ImportedTicket) -> Result<(), Problem> {
    let row = (
        (imported::source.eq(source.to_owned()), imported::kind.eq(ImportedKind::Ticket)),
        (imported::external_id.eq(name.to_owned()), imported::ticket_number.eq(Some(ticket.number))),
        (imported::entries.eq(ticket.entries), imported::digest.eq(ticket.digest.clone())),
        imported::trail.eq(ticket.trail),
    );
    send!(tx, diesel::insert_into(imported::table).values(row), taken)
}

/// Writes down that more of its past was taken.
pub async fn move_ticket(tx: &mut Conn, source: &str, name: &str, ticket: &ImportedTicket) -> Result<(), Problem> {
    let this = imported::table.find((source.to_owned(), ImportedKind::Ticket, name.to_owned()));
    let more = (
        imported::entries.eq(ticket.entries),
        imported::digest.eq(ticket.digest.clone()),
        imported::trail.eq(ticket.trail),
    );
    send!(tx, steady(diesel::update(this).set(more)))
}

fn taken(error: diesel::result::Error) -> Problem {
    Problem::transient(error)
}

/// What these are at the counter: people by their roles, service accounts by none.
pub async fn roles(conn: &mut Conn, ids: Vec<PrincipalId>) -> Result<HashMap<PrincipalId, Option<Role>>, Problem> {
    let these = principals::table.filter(principals::id.eq_any(ids)).select((principals::id, principals::role));
    let rows: Vec<(PrincipalId, Option<Role>)> = on_each!(conn, |c| these.load(c).await)?;
    Ok(rows.into_iter().collect())
}
