//! Which tickets somebody has to look at, since a promise about them is broken or due soon.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::clocks::{FOLLOWED, Stored};
use super::notices;
use crate::db::lock::try_lock;
use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, load_locked, on_each, send, steady};
use crate::kernel::{Instant, Problem, TicketId};
use crate::sla::domain::clock::{TicketState, Times};
use crate::sla::domain::notice::SlaNotice;

/// What there is to do at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct NoticesDue {
    /// Whether time has broken a clock, which is not written down.
    pub has_lapsed: bool,
    /// Whether a clock may be due soon.
    pub is_due_soon: bool,
    /// Whether something waits to be told.
    pub has_waiting: bool,
}

/// What there is to do at `now`: five looks at the beginning of an index. In an order, so that PostgreSQL does not read
/// a table in the hope of meeting one soon.
pub async fn due(conn: &mut Conn, now: Instant) -> Result<NoticesDue, Problem> {
    let first = |column: &str| format!("(SELECT 1 FROM ticket_clocks WHERE {column} <= ");
    let end = |column: &str| format!(" ORDER BY {column} LIMIT 1) IS NOT NULL");
    let mut lapsed = raw::<Bool>("(FALSE");
    for column in ["response_breach_at", "first_reply_breach_at", "service_breach_at"] {
        lapsed = lapsed.sql(" OR ").sql(first(column)).bind(now).sql(end(column));
    }
    let soon = raw::<Bool>("(").sql(first("notice_at")).bind(now).sql(end("notice_at")).sql(")");
    let waiting = "(SELECT 1 FROM sla_notices WHERE told_at IS NULL ORDER BY due_at LIMIT 1) IS NOT NULL";
    let due = diesel::select((lapsed.sql(")"), soon, raw::<Bool>(waiting)));
    Ok(on_each!(conn, |c| due.get_result(c).await)?)
}

/// Whether this transaction is the only one that looks for what is broken or due soon: of several instances, one does.
pub async fn takes_turn(tx: &mut Conn) -> Result<bool, Problem> {
    try_lock(tx, TURN).await
}

/// What the turn is locked by.
const TURN: i64 = 0x736b_5f6e_6f74_6963;

/// At most `most` tickets that somebody has to look at by `now`, since a clock may be due soon: those that have
/// followed all edits.
pub async fn may_be_due_soon(tx: &mut Conn, now: Instant, most: i64) -> Result<Vec<(i64, Times)>, Problem> {
    let rows: Vec<(TicketState, Stored)> = on_each!(tx, |c| {
        ticket_clocks::table
            .inner_join(tickets::table)
            .filter(ticket_clocks::notice_at.le(now).assume_not_null().and(raw::<Bool>(FOLLOWED)))
            .order((ticket_clocks::notice_at, ticket_clocks::ticket_number))
            .limit(most)
            .select((TicketState::as_select(), Stored::as_select()))
            .load(c)
            .await
    })?;
    let times = |(ticket, stored): (TicketState, Stored)| {
        (ticket.number, stored.times(ticket.reported_at, ticket.first_replied_at))
    };
    Ok(rows.into_iter().map(times).collect())
}

/// Writes down when somebody has to look at a ticket next.
pub async fn look_again(tx: &mut Conn, ticket: i64, at: Option<Instant>) -> Result<(), Problem> {
    send!(tx, steady(diesel::update(ticket_clocks::table.find(ticket)).set(ticket_clocks::notice_at.eq(at))))
}

/// A ticket of which something is told.
#[derive(Debug)]
pub struct NoticedTicket {
    /// Its number.
    pub number: i64,
    /// Its id.
    pub id: TicketId,
    /// Its version.
    pub version: i64,
    /// Its times.
    pub times: Times,
    /// Whether they have followed all edits.
    pub has_followed: bool,
    /// What waits to be told of it.
    pub waiting: Vec<SlaNotice>,
}

/// The tickets of these numbers, which nobody else writes meanwhile, with what waits to be told of them.
pub async fn noticed(tx: &mut Conn, numbers: &[i64]) -> Result<Vec<NoticedTicket>, Problem> {
    let these = tickets::table.filter(tickets::number.eq_any(numbers.to_vec())).order(tickets::number);
    let locked: Vec<(TicketState, TicketId, i64, bool)> = load_locked!(
        tx,
        these.select((TicketState::as_select(), tickets::id, tickets::version, raw::<Bool>(FOLLOWED)))
    )?;
    let of_them = ticket_clocks::table.filter(ticket_clocks::ticket_number.eq_any(numbers.to_vec()));
    let times: Vec<(i64, Stored)> =
        on_each!(tx, |c| of_them.select((ticket_clocks::ticket_number, Stored::as_select())).load(c).await)?;
    let mut times: BTreeMap<_, _> = times.into_iter().collect();
    let waiting = notices::waiting(tx, numbers).await?;
    let mut noticed = Vec::with_capacity(locked.len());
    for (state, id, version, has_followed) in locked {
        let Some(stored) = times.remove(&state.number) else { continue };
        let own = waiting.iter().filter(|(number, _)| *number == state.number);
        noticed.push(NoticedTicket {
            number: state.number,
            id,
            version,
            waiting: own.map(|(_, notice)| *notice).collect(),
            times: stored.times(state.reported_at, state.first_replied_at),
            has_followed,
        });
    }
    Ok(noticed)
}
