//! Tickets that are not solved, one by one.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{
    Channel, ClockState, Instant, PolicyId, PrincipalId, Priority, Problem, Status, Target, TeamId, TicketType,
};
use crate::metrics::domain::backlog::{Due, UnsolvedTicket};
use crate::sla::domain::clock::Clock;
use crate::tally::domain::facts::TicketGroups;
use crate::tickets::store::{TicketCriteria, narrow};

/// How many tickets are read at once.
const AT_ONCE: i64 = 2_000;

/// Word for word as in the index `tickets_unsolved`. By the status SQLite would rather go along an index that begins with it.
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

/// Goes through all tickets that meet `criteria` and that are not solved, as they are at its instant, some at a time, each with its groups.
/// What is due is due within `due_within_s` seconds of it.
///
/// # Errors
/// When the database is away.
pub async fn each_unsolved(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    due_within_s: i64,
    mut each: impl FnMut(UnsolvedTicket, &TicketGroups),
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
            let groups = groups(row);
            let clocks: Vec<Clock> = clocks.0.into_iter().map(|clock| clock.at(now)).collect();
            let runs = |clock: &&Clock| clock.state() == ClockState::Running;
            let ticket = UnsolvedTicket {
                status,
                priority: groups.priority,
                reported_at: place.0,
                assigned: groups.assignee.is_some(),
                due: clocks.iter().filter(runs).any(|clock| clock.due_at().is_some_and(|at| at <= until)),
                clocks: clocks.iter().map(|clock| (clock.target, clock.state())).collect(),
            };
            each(ticket, &groups);
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// The unsolved tickets that were reported from `from` on and before `before`: when, and their groups.
///
/// # Errors
/// When the database is away.
pub async fn reported_between(
    conn: &mut Conn,
    from: Instant,
    before: Instant,
) -> Result<Vec<(Instant, TicketGroups)>, Problem> {
    let query = tickets::table
        .inner_join(ticket_clocks::table)
        .filter(raw::<Bool>(UNSOLVED).and(tickets::reported_at.ge(from)).and(tickets::reported_at.lt(before)))
        .select((tickets::reported_at, groups!()));
    let rows: Vec<(Instant, GroupsRow)> = on_each!(conn, |c| query.load(c).await)?;
    Ok(rows.into_iter().map(|(at, row)| (at, groups(row))).collect())
}

/// The unsolved tickets with a clock that runs, as far as is written down, and is breached until `until` if nothing happens, each with its groups.
///
/// # Errors
/// When the database is away.
pub async fn due_until(conn: &mut Conn, until: Instant) -> Result<Vec<(Due, TicketGroups)>, Problem> {
    type Row = (i64, Option<Instant>, (Option<Instant>, Option<Instant>, Option<Instant>), GroupsRow);
    let mut found: BTreeMap<i64, (Due, TicketGroups)> = BTreeMap::new();
    for target in Target::ALL.iter().copied() {
        macro_rules! due {
            ($breach_at:expr) => {
                on_each!(conn, |c| {
                    ticket_clocks::table
                        .inner_join(tickets::table)
                        .filter($breach_at.le(until).and(raw::<Bool>(UNSOLVED)))
                        .select((
                            ticket_clocks::ticket_number,
                            ticket_clocks::breach_at,
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
            Target::Response => due!(ticket_clocks::response_breach_at),
            Target::FirstReply => due!(ticket_clocks::first_reply_breach_at),
            Target::Service => due!(ticket_clocks::service_breach_at),
        };
        for (number, first, (response, first_reply, service), row) in rows {
            let breach_at = [response, first_reply, service];
            // What is written down as breached came before all that still runs.
            let is_breached = first < breach_at.iter().flatten().min().copied();
            found.insert(number, (Due { breach_at, is_breached }, groups(row)));
        }
    }
    Ok(found.into_values().collect())
}
