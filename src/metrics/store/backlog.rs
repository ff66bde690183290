//! Tickets that are not solved: row by row, or those of a few quarters of an hour, which is the least that the tallies tell apart.

use std::collections::BTreeMap;

use diesel::dsl::count_star;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};

use super::facts::{KeyRow, columns, keys};
use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::sql::{Guid, Json, Moment};
use crate::kernel::{AnyId, Instant, PrincipalId, Priority, Problem, Status, TeamId};
use crate::metrics::domain::backlog::Due;
use crate::metrics::domain::figures::{GroupBy, Key, Waiting};
use crate::sla::domain::clock::{Clock, ClockState};
use crate::sla::domain::policy::Target;
use crate::tickets::store::{TicketCriteria, narrow};

/// How many tickets are read at once.
const AT_ONCE: i64 = 2_000;

/// Word for word as in the index `tickets_unsolved`. By the status SQLite would rather go along an index that begins with it.
const UNSOLVED: &str = "tickets.resolved_at IS NULL";

/// A ticket that is not solved, its team, and its groups.
#[derive(Debug)]
pub struct WaitingRow {
    /// The ticket.
    pub ticket: Waiting,
    /// Whose queue it is in.
    pub team: Key,
    /// The groups that it is in.
    pub keys: Vec<Key>,
}

/// Goes through all tickets that `sieve` lets through and that are not solved, as they are at its instant, some at a time.
/// What is due is due within `due_within_s` seconds of it.
///
/// # Errors
/// When the database is away.
pub async fn each_waiting(
    conn: &mut Conn,
    sieve: &TicketCriteria,
    group: Option<GroupBy>,
    due_within_s: i64,
    mut each: impl FnMut(WaitingRow),
) -> Result<(), Problem> {
    type Row = ((Instant, i64), (Status, Priority, Option<PrincipalId>, Option<TeamId>), Json, KeyRow);
    let (id, word) = columns(group);
    let (now, until) = (sieve.now, sieve.now.plus_s(due_within_s));
    let mut behind: Option<(Instant, i64)> = None;
    loop {
        let rows: Vec<Row> = on_each!(conn, |c| {
            let unsolved = tickets::table
                .inner_join(ticket_clocks::table)
                .filter(raw::<Bool>(UNSOLVED))
                .order((tickets::reported_at, tickets::number))
                .limit(AT_ONCE)
                .select((
                    (tickets::reported_at, tickets::number),
                    (tickets::status, tickets::priority, tickets::assignee_id, tickets::team_id),
                    ticket_clocks::clocks,
                    (raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word)),
                ));
            let mut query = narrow!(boxed(c, unsolved), sieve);
            if let Some((at, number)) = behind {
                query = query.filter(
                    raw::<Bool>("(tickets.reported_at, tickets.number) > (").bind(at).sql(", ").bind(number).sql(")"),
                );
            }
            query.load(c).await
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (place, (status, priority, assignee, team), clocks, key) in rows {
            behind = Some(place);
            let clocks: Vec<Clock> = serde_json::from_value(clocks.0).map_err(Problem::internal)?;
            let clocks: Vec<Clock> = clocks.into_iter().map(|clock| clock.at(now)).collect();
            let runs = |clock: &&Clock| clock.state() == ClockState::Running;
            each(WaitingRow {
                ticket: Waiting {
                    status,
                    priority,
                    reported_at: place.0,
                    assigned: assignee.is_some(),
                    due: clocks.iter().filter(runs).any(|clock| clock.due_at().is_some_and(|at| at <= until)),
                    clocks: clocks.iter().map(|clock| (clock.target, clock.state())).collect(),
                },
                team: team.map_or(Key::None, |TeamId(id)| Key::Id(AnyId(id))),
                keys: keys(group, key)?,
            });
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// The column with the group of a ticket, where its clocks are not read anyway.
fn own_columns(group: Option<GroupBy>) -> (&'static str, &'static str) {
    match (group, columns(group)) {
        (Some(GroupBy::Policy), (_, word)) => {
            ("(SELECT policy_id FROM ticket_clocks WHERE ticket_number = tickets.number)", word)
        }
        (_, columns) => columns,
    }
}

/// The groups that a ticket is in; without groups, that of all.
fn places(group: Option<GroupBy>, key: KeyRow) -> Result<Vec<Key>, Problem> {
    if group.is_none() { Ok(vec![Key::None]) } else { keys(group, key) }
}

/// How many unsolved tickets were reported after `after` and before `before`, by group.
///
/// # Errors
/// When the database is away.
pub async fn reported_between(
    conn: &mut Conn,
    group: Option<GroupBy>,
    after: Instant,
    before: Instant,
) -> Result<BTreeMap<Key, i64>, Problem> {
    let (id, word) = own_columns(group);
    let rows: Vec<(Option<AnyId>, Option<String>, i64)> = on_each!(conn, |c| {
        tickets::table
            .filter(raw::<Bool>(UNSOLVED).and(tickets::reported_at.gt(after)).and(tickets::reported_at.lt(before)))
            .group_by((raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word)))
            .select((raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word), count_star()))
            .load(c)
            .await
    })?;
    let mut counts = BTreeMap::new();
    for (id, word, n) in rows {
        for key in places(group, (id, word))? {
            *counts.entry(key).or_default() += n;
        }
    }
    Ok(counts)
}

/// When the oldest of the unsolved tickets was reported that were reported from `from` on and before `before`, by group.
///
/// # Errors
/// When the database is away.
pub async fn oldest_between(
    conn: &mut Conn,
    group: Option<GroupBy>,
    from: Instant,
    before: Instant,
) -> Result<BTreeMap<Key, Instant>, Problem> {
    let (id, word) = own_columns(group);
    let rows: Vec<(Option<AnyId>, Option<String>, Instant)> = on_each!(conn, |c| {
        tickets::table
            .filter(raw::<Bool>(UNSOLVED).and(tickets::reported_at.ge(from)).and(tickets::reported_at.lt(before)))
            .group_by((raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word)))
            .select((raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word), raw::<Moment>("min(tickets.reported_at)")))
            .load(c)
            .await
    })?;
    let mut oldest: BTreeMap<Key, Instant> = BTreeMap::new();
    for (id, word, at) in rows {
        for key in places(group, (id, word))? {
            oldest.entry(key).and_modify(|least| *least = at.min(*least)).or_insert(at);
        }
    }
    Ok(oldest)
}

/// When the oldest unsolved ticket was reported.
///
/// # Errors
/// When the database is away.
pub async fn oldest(conn: &mut Conn) -> Result<Option<Instant>, Problem> {
    let found = on_each!(conn, |c| {
        tickets::table
            .filter(raw::<Bool>(UNSOLVED))
            .order(tickets::reported_at)
            .select(tickets::reported_at)
            .first(c)
            .await
    });
    Ok(found.optional()?)
}

/// The unsolved tickets with a promise that is broken from some instant on from `from` to `to`, both included, by number.
///
/// # Errors
/// When the database is away.
pub async fn broken_between(
    conn: &mut Conn,
    group: Option<GroupBy>,
    from: Instant,
    to: Instant,
    found: &mut BTreeMap<i64, (Due, Vec<Key>)>,
) -> Result<(), Problem> {
    let (id, word) = own_columns(group);
    for target in Target::ALL.iter().copied() {
        macro_rules! broken {
            ($breach_at:expr) => {
                on_each!(conn, |c| {
                    ticket_clocks::table
                        .inner_join(tickets::table)
                        .filter($breach_at.ge(from).and($breach_at.le(to)).and(raw::<Bool>(UNSOLVED)))
                        .select((
                            ticket_clocks::ticket_number,
                            (
                                ticket_clocks::response_breach_at,
                                ticket_clocks::first_reply_breach_at,
                                ticket_clocks::service_breach_at,
                            ),
                            (raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word)),
                        ))
                        .load(c)
                        .await
                })?
            };
        }
        type Loaded = (i64, (Option<Instant>, Option<Instant>, Option<Instant>), KeyRow);
        let rows: Vec<Loaded> = match target {
            Target::Response => broken!(ticket_clocks::response_breach_at),
            Target::FirstReply => broken!(ticket_clocks::first_reply_breach_at),
            Target::Service => broken!(ticket_clocks::service_breach_at),
        };
        for (number, (response, first_reply, service), key) in rows {
            found.insert(number, (Due([response, first_reply, service]), places(group, key)?));
        }
    }
    Ok(())
}
