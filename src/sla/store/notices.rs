//! What is told by itself of the promises about tickets: what waits to be told, and what was told.

use diesel::prelude::*;

use crate::db::schema::sla_notices;
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::{Instant, Problem};
use crate::sla::domain::notice::{NoticeKind, SlaNotice};
use crate::sla::domain::policy::Target;

/// Lets `notices` of a ticket wait to be told, those that were not told before.
pub async fn wait(tx: &mut Conn, ticket: i64, notices: impl IntoIterator<Item = SlaNotice>) -> Result<(), Problem> {
    for SlaNotice { target, kind, due_at } in notices {
        let row = (
            sla_notices::ticket_number.eq(ticket),
            sla_notices::target.eq(target),
            sla_notices::kind.eq(kind),
            sla_notices::due_at.eq(due_at),
        );
        send!(tx, diesel::insert_into(sla_notices::table).values(row).on_conflict_do_nothing())?;
    }
    Ok(())
}

/// The tickets that the first `most` notices are about which wait to be told.
pub async fn awaited(conn: &mut Conn, most: i64) -> Result<Vec<i64>, Problem> {
    let first = sla_notices::table
        .filter(sla_notices::told_at.is_null())
        .order((sla_notices::due_at, sla_notices::ticket_number))
        .limit(most)
        .select(sla_notices::ticket_number);
    let mut numbers: Vec<i64> = on_each!(conn, |c| first.load(c).await)?;
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

/// What waits to be told of the tickets of these numbers, each with its number.
pub async fn waiting(tx: &mut Conn, numbers: &[i64]) -> Result<Vec<(i64, SlaNotice)>, Problem> {
    let waiting = sla_notices::table
        .filter(sla_notices::ticket_number.eq_any(numbers.to_vec()).and(sla_notices::told_at.is_null()))
        .order((sla_notices::ticket_number, sla_notices::due_at, sla_notices::target, sla_notices::kind))
        .select((sla_notices::ticket_number, (sla_notices::target, sla_notices::kind, sla_notices::due_at)));
    let rows: Vec<(i64, (Target, NoticeKind, Instant))> = on_each!(tx, |c| waiting.load(c).await)?;
    let notice = |(number, (target, kind, due_at))| (number, SlaNotice { target, kind, due_at });
    Ok(rows.into_iter().map(notice).collect())
}

/// Writes down that a notice of a ticket was told.
pub async fn is_told(tx: &mut Conn, ticket: i64, notice: &SlaNotice, now: Instant) -> Result<(), Problem> {
    let SlaNotice { target, kind, due_at } = *notice;
    let row = sla_notices::table.find((ticket, target, kind, due_at));
    send!(tx, steady(diesel::update(row).set(sla_notices::told_at.eq(now))))
}

/// Forgets a notice of a ticket.
pub async fn forget(tx: &mut Conn, ticket: i64, notice: &SlaNotice) -> Result<(), Problem> {
    let SlaNotice { target, kind, due_at } = *notice;
    send!(tx, diesel::delete(sla_notices::table.find((ticket, target, kind, due_at))))
}

/// Forgets what was told of a ticket, which is closed: nothing is told of it any more.
pub async fn forget_told(tx: &mut Conn, ticket: i64) -> Result<(), Problem> {
    let told = sla_notices::ticket_number.eq(ticket).and(sla_notices::told_at.is_not_null());
    send!(tx, diesel::delete(sla_notices::table.filter(told)))
}
