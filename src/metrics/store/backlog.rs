//! Tickets that are not solved, one by one.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{
    Channel, ClockState, Instant, PolicyId, PrincipalId, Priority, Problem, Status, Target, TeamId, TicketType,
};
use crate::metrics::domain::backlog::Due;
use crate::sla::domain::clock::Clock;
use crate::tally::domain::backlog::Unsolved;
use crate::tally::domain::facts::TicketGroups;
use crate::tickets::store::{TicketCriteria, narrow};

/// How many tickets are read at once.
const AT_ONCE: i64 = 2_000;

/// Word for word as in the index `tickets_unsolved`. By the status SQLite would rather go along an index that begins
/// with it.
const UNSOLVED: &str = "tickets.resolved_at IS NULL";

type GroupsRow =
    ((Priority, TicketType, Channel, Json<Vec<String>>), (Option<TeamId>, Option<PolicyId>, Option<PrincipalId>));

/// The groups of a ticket.
macro_rules! groups {
    () => {
        (
            (tickets::priority, tickets::kind, tickets::channel, tickets::tags),
            (tickets::team_id, ticket_clocks::policy_id, tickets::assignee_id),
        )
    };
}

fn groups(((priority, kind, channel, tags), (team, policy, assignee)): GroupsRow) -> TicketGroups {
    TicketGroups { priority, kind, channel, team, policy, assignee, tags: tags.0 }
}

/// Tells `each` all tickets that meet `criteria` and that are not solved, as they are at its instant, some at a time, and
/// whether a clock of it runs and is due within `due_within_s` seconds.
///
/// # Errors
/// When the database is away.
pub async fn each_unsolved(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    due_within_s: i64,
    mut each: impl FnMut(&Unsolved, bool) -> Result<(), Problem>,
) -> Result<(), Problem> {
    type Row = ((Instant, i64), Status, Json<Vec<Clock>>, GroupsRow);
    let (now, until) = (criteria.now, criteria.now.plus_s(due_within_s));
    let mut behind: Option<(Instant, i64)> = None;
    loop {
        let rows: Vec<Row> = on_each!(conn, |c| {
            let unsolved = tickets::table
                .inner_join(ticket_clocks::table)
                .filter(raw::<Bool>(UNSOLVED))
                .order((tickets::reported_at, tickets::number))
                .limit(AT_ONCE)
                .select(((tickets::reported_at, tickets::number), tickets::status, ticket_clocks::clocks, groups!()));
            let mut query = narrow!(boxed(c, unsolved), criteria);
            if let Some((at, number)) = behind {
                query = query.filter(
                    raw::<Bool>("(tickets.reported_at, tickets.number) > (").bind(at).sql(", ").bind(number).sql(")"),
                );
            }
            query.load(c).await
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (place, status, clocks, row) in rows {
            behind = Some(place);
            let mut states = [None; 3];
            let mut is_due = false;
            for clock in clocks.0.into_iter().map(|clock| clock.at(now)) {
                states[clock.target as usize] = Some(clock.state());
                let is_soon = clock.due_at().is_some_and(|at| at <= until);
                is_due |= clock.state() == ClockState::Running && is_soon;
            }
            let reported_us = place.0.micros();
            each(&Unsolved { status, groups: groups(row), reported_us, clocks: states }, is_due)?;
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// Tells `each` the unsolved tickets that were reported from `from` on and before `before`, some at a time: when, and
/// their groups.
///
/// # Errors
/// When the database is away.
pub async fn each_reported(
    conn: &mut Conn,
    from: Instant,
    before: Instant,
    mut each: impl FnMut(Instant, &TicketGroups),
) -> Result<(), Problem> {
    let mut behind = (from, 0);
    loop {
        let next = raw::<Bool>("(tickets.reported_at, tickets.number) > (").bind(behind.0).sql(", ").bind(behind.1);
        let query = tickets::table
            .inner_join(ticket_clocks::table)
            .filter(raw::<Bool>(UNSOLVED).and(next.sql(")")).and(tickets::reported_at.lt(before)))
            .order((tickets::reported_at, tickets::number))
            .limit(AT_ONCE)
            .select(((tickets::reported_at, tickets::number), groups!()));
        let rows: Vec<((Instant, i64), GroupsRow)> = on_each!(conn, |c| query.load(c).await)?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (place, row) in rows {
            behind = place;
            each(place.0, &groups(row));
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// Tells `each` the unsolved tickets with a clock that runs, as far as is written down, and is breached until `until`
/// if nothing happens, some at a time, each once and with its groups.
///
/// # Errors
/// When the database is away.
pub async fn each_due(
    conn: &mut Conn,
    until: Instant,
    mut each: impl FnMut(&Due, &TicketGroups),
) -> Result<(), Problem> {
    type Row = ((i64, Option<Instant>), (Option<Instant>, Option<Instant>, Option<Instant>), GroupsRow);
    for target in Target::ALL.iter().copied() {
        let mut behind = (Instant::EPOCH, 0);
        loop {
            macro_rules! due {
                ($breach_at:expr, $column:literal) => {
                    on_each!(conn, |c| {
                        let place = concat!("(ticket_clocks.", $column, ", ticket_clocks.ticket_number) > (");
                        let next = raw::<Bool>(place).bind(behind.0).sql(", ").bind(behind.1).sql(")");
                        ticket_clocks::table
                            .inner_join(tickets::table)
                            // The first of both is for the index.
                            .filter($breach_at.ge(behind.0).and($breach_at.le(until)).assume_not_null().and(next))
                            .filter(raw::<Bool>(UNSOLVED))
                            .order(($breach_at, ticket_clocks::ticket_number))
                            .limit(AT_ONCE)
                            .select((
                                (ticket_clocks::ticket_number, ticket_clocks::breach_at),
                                (
                                    ticket_clocks::response_breach_at,
                                    ticket_clocks::first_reply_breach_at,
                                    ticket_clocks::service_breach_at,
                                ),
                                groups!(),
                            ))
                            .load(c)
                            .await
                    })?
                };
            }
            let rows: Vec<Row> = match target {
                Target::Response => due!(ticket_clocks::response_breach_at, "response_breach_at"),
                Target::FirstReply => due!(ticket_clocks::first_reply_breach_at, "first_reply_breach_at"),
                Target::Service => due!(ticket_clocks::service_breach_at, "service_breach_at"),
            };
            let read = i64::try_from(rows.len()).unwrap_or(0);
            for ((number, first), (response, first_reply, service), row) in rows {
                let breach_at = [response, first_reply, service];
                behind = (breach_at[target as usize].unwrap_or(until), number);
                // It was told already if another one of its clocks that comes before is due, too.
                if breach_at.iter().take(target as usize).flatten().all(|at| *at > until) {
                    // What is written down as breached came before all that still runs.
                    let is_breached = first < breach_at.iter().flatten().min().copied();
                    each(&Due { breach_at, is_breached }, &groups(row));
                }
            }
            if read < AT_ONCE {
                break;
            }
        }
    }
    Ok(())
}
