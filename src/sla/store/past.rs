//! What figures ask of tickets besides their times.

use std::collections::HashMap;

use diesel::prelude::*;

use crate::db::schema::{ticket_clocks, tickets, time_entries};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{Channel, Currency, Instant, Money, PolicyId, Priority, Problem, TeamId, TicketType};
use crate::sla::domain::past::{Card, Work};

/// The cards of tickets, by their numbers.
///
/// # Errors
/// When the database is away.
pub async fn cards(tx: &mut Conn, numbers: Vec<i64>) -> Result<HashMap<i64, Card>, Problem> {
    type Row =
        (i64, (Priority, TicketType, Channel, Option<TeamId>), (Instant, Option<Instant>, Option<Instant>, i32, i32));
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let query = tickets::table.filter(tickets::number.eq_any(numbers)).select((
        tickets::number,
        (tickets::priority, tickets::kind, tickets::channel, tickets::team_id),
        (
            tickets::created_at,
            tickets::started_at,
            tickets::first_replied_at,
            tickets::reopen_count,
            tickets::agent_comments,
        ),
    ));
    let rows: Vec<Row> = on_each!(tx, |c| query.load(c).await)?;
    let card = |(
        number,
        (priority, kind, channel, team_id),
        (created_at, started_at, first_replied_at, reopen_count, agent_comments),
    )| {
        let card = Card {
            priority,
            kind,
            channel,
            team_id,
            created_at,
            started_at,
            first_replied_at,
            reopen_count,
            agent_comments,
        };
        (number, card)
    };
    Ok(rows.into_iter().map(card).collect())
}

/// The work on tickets, by their numbers.
///
/// # Errors
/// When the database is away.
pub async fn work(tx: &mut Conn, numbers: Vec<i64>) -> Result<HashMap<i64, Vec<Work>>, Problem> {
    type Row = (i64, Instant, i32, Option<i64>, Option<Currency>);
    let mut work: HashMap<i64, Vec<Work>> = HashMap::new();
    if numbers.is_empty() {
        return Ok(work);
    }
    let query = time_entries::table.filter(time_entries::ticket_number.eq_any(numbers)).select((
        time_entries::ticket_number,
        time_entries::worked_at,
        time_entries::work_s,
        time_entries::cost_minor,
        time_entries::cost_currency,
    ));
    let rows: Vec<Row> = on_each!(tx, |c| query.load(c).await)?;
    for (number, at, work_s, minor, currency) in rows {
        let cost = Money::from_stored(minor, currency);
        work.entry(number).or_default().push(Work { at, work_s: work_s.into(), cost });
    }
    Ok(work)
}

/// The policy of a ticket, which stays in its groups until this transaction ends: work is added to it, or moves with it,
/// but never both at once.
///
/// # Errors
/// When somebody else does the other at the same time, which is made up for by starting again; or when the database is
/// away.
pub async fn hold(tx: &mut Conn, number: i64) -> Result<Option<PolicyId>, Problem> {
    let row =
        diesel::update(ticket_clocks::table.find(number)).set(ticket_clocks::policy_id.eq(ticket_clocks::policy_id));
    Ok(on_each!(tx, |c| row.returning(ticket_clocks::policy_id).get_result(c).await)?)
}
