//! Tickets that are not solved, one by one.

use std::ops::ControlFlow;

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{
    Channel, ClockState, Instant, PolicyId, PrincipalId, Priority, Problem, Status, Target, TeamId, TicketType,
};
use crate::metrics::domain::backlog::Due;
use crate::sla::domain::clock::SlaClock;
use crate::sla::store::clocks::{behind_breach, by_breach};
use crate::tally::domain::backlog::Unsolved;
use crate::tally::domain::facts::TicketGroups;
use crate::tickets::store::{TicketCriteria, meets};

/// How many tickets are read at once.
const AT_ONCE: i64 = 2_000;

/// How many are read at first, since one of them may be enough, and how many times as many each time after that.
const AT_FIRST: i64 = 16;
const GROWS: i64 = 8;

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

/// Tells `each` the tickets that meet `criteria`, are not solved and were reported from `from` on and before `before`,
/// as they are at the instant of the criteria, some at a time: each with the first instant at which a clock that runs
/// is due; until it breaks off.
pub async fn each_unsolved(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    (from, before): (Instant, Instant),
    mut each: impl FnMut(&Unsolved, Option<Instant>) -> Result<ControlFlow<()>, Problem>,
) -> Result<(), Problem> {
    type UnsolvedRow = ((Instant, i64), Status, Json<Vec<SlaClock>>, GroupsRow);
    let (mut behind, mut most) = ((from, 0), AT_FIRST);
    loop {
        let rows: Vec<UnsolvedRow> = on_each!(conn, |c| {
            let next = raw::<Bool>("(tickets.reported_at, tickets.number) > (").bind(behind.0).sql(", ").bind(behind.1);
            let unsolved = tickets::table
                .inner_join(ticket_clocks::table)
                .filter(raw::<Bool>(UNSOLVED).and(next.sql(")")).and(tickets::reported_at.lt(before)))
                .order((tickets::reported_at, tickets::number))
                .limit(most)
                .select(((tickets::reported_at, tickets::number), tickets::status, ticket_clocks::clocks, groups!()));
            unsolved.filter(meets(c, criteria)).load(c).await
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (place, status, clocks, row) in rows {
            behind = place;
            let clocks: Vec<SlaClock> = clocks.0.into_iter().map(|clock| clock.at(criteria.now)).collect();
            let running = clocks.iter().filter(|clock| clock.state() == ClockState::Running);
            let due_at = running.filter_map(SlaClock::due_at).min();
            let mut ticket = Unsolved { status, groups: groups(row), reported_us: place.0.micros(), clocks: [None; 3] };
            for clock in clocks {
                ticket.clocks[clock.target as usize] = Some(clock.state());
            }
            if each(&ticket, due_at)?.is_break() {
                return Ok(());
            }
        }
        if read < most {
            return Ok(());
        }
        most = (most * GROWS).min(AT_ONCE);
    }
}

/// Tells `each` the unsolved tickets with a clock that runs, as far as is written down, and is breached until `until`
/// if nothing happens, some at a time, each once and with its groups.
pub async fn each_due(
    conn: &mut Conn,
    until: Instant,
    mut each: impl FnMut(&Due, &TicketGroups),
) -> Result<(), Problem> {
    type DueRow = ((i64, Option<Instant>), (Option<Instant>, Option<Instant>, Option<Instant>), GroupsRow);
    for target in Target::ALL.iter().copied() {
        let mut behind = (Instant::EPOCH, 0);
        loop {
            let rows: Vec<DueRow> = by_breach!(target, |breach_at| {
                // The first of both is for the index.
                let soon = breach_at.ge(behind.0).and(breach_at.le(until)).assume_not_null();
                let query = ticket_clocks::table
                    .inner_join(tickets::table)
                    .filter(soon.and(behind_breach(target, behind)).and(raw::<Bool>(UNSOLVED)))
                    .order((breach_at, ticket_clocks::ticket_number))
                    .limit(AT_ONCE)
                    .select((
                        (ticket_clocks::ticket_number, ticket_clocks::breach_at),
                        (
                            ticket_clocks::response_breach_at,
                            ticket_clocks::first_reply_breach_at,
                            ticket_clocks::service_breach_at,
                        ),
                        groups!(),
                    ));
                on_each!(conn, |c| query.load(c).await)
            })?;
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
