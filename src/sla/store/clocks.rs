//! The times of tickets: one row each.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use super::notices;
use crate::db::lock::try_lock;
use crate::db::raw::{Raw, raw};
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::sql::Json;
use crate::kernel::{Instant, PolicyId, Priority, Problem, Status, TicketId};
use crate::sla::domain::change::ClockChange;
use crate::sla::domain::clock::{ClockState, Measured, SlaClock, TicketState, Timeline, Times};
use crate::sla::domain::policy::Target;

/// A row, as it is stored.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = ticket_clocks, primary_key(ticket_number), treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct Stored {
    ticket_number: i64,
    policy_id: Option<PolicyId>,
    timeline: Json<Vec<(Status, i64)>>,
    clocks: Json<Vec<SlaClock>>,
    due_at: Instant,
    breach_at: Option<Instant>,
    last_resolved_at: Option<Instant>,
    response_business_s: Option<i64>,
    first_reply_business_s: Option<i64>,
    service_s: Option<i64>,
    service_business_s: Option<i64>,
    resolution_s: Option<i64>,
    resolution_business_s: Option<i64>,
    response_breach_at: Option<Instant>,
    first_reply_breach_at: Option<Instant>,
    service_breach_at: Option<Instant>,
    promised_from: Option<Instant>,
}

impl Stored {
    /// The times of a ticket that was reported and first answered at these instants.
    pub fn times(self, reported_at: Instant, first_replied_at: Option<Instant>) -> Times {
        let spans = self.timeline.0.into_iter().map(|(status, us)| (status, Instant::from_micros(us))).collect();
        Times {
            policy_id: self.policy_id,
            timeline: Timeline { reported_at, spans, first_replied_at, promised_from: self.promised_from },
            clocks: self.clocks.0,
            measured: Measured {
                last_resolved_at: self.last_resolved_at,
                response_business_s: self.response_business_s,
                first_reply_business_s: self.first_reply_business_s,
                service_s: self.service_s,
                service_business_s: self.service_business_s,
                resolution_s: self.resolution_s,
                resolution_business_s: self.resolution_business_s,
            },
        }
    }

    fn of(ticket_number: i64, times: &Times) -> Self {
        let Times { policy_id, timeline, clocks, measured } = times;
        let spans = timeline.spans.iter().map(|(status, from)| (*status, from.micros())).collect();
        // Of those that are breached it is written down.
        let running =
            |target: Target| clocks.iter().find(|clock| clock.target == target && clock.state() == ClockState::Running);
        let breach_at = |target: Target| running(target).and_then(SlaClock::breach_at);
        Self {
            ticket_number,
            policy_id: *policy_id,
            timeline: Json(spans),
            clocks: Json(clocks.clone()),
            due_at: times.due_at().unwrap_or(Instant::NEVER),
            breach_at: clocks.iter().filter_map(SlaClock::breach_at).min(),
            last_resolved_at: measured.last_resolved_at,
            response_business_s: measured.response_business_s,
            first_reply_business_s: measured.first_reply_business_s,
            service_s: measured.service_s,
            service_business_s: measured.service_business_s,
            resolution_s: measured.resolution_s,
            resolution_business_s: measured.resolution_business_s,
            response_breach_at: breach_at(Target::Response),
            first_reply_breach_at: breach_at(Target::FirstReply),
            service_breach_at: breach_at(Target::Service),
            promised_from: timeline.promised_from,
        }
    }
}

/// Stores what a change has done to the times of a ticket at `now`.
pub async fn save(tx: &mut Conn, ticket_number: i64, change: &ClockChange, now: Instant) -> Result<(), Problem> {
    match &change.before {
        None => {
            insert(tx, ticket_number, &change.after, now).await?;
            notices::wait(tx, ticket_number, change.after.broken_since(None)).await?;
        }
        Some(before) if *before != change.after => update(tx, ticket_number, before, &change.after).await?,
        Some(_) => {}
    }
    match change.caught_up_with {
        Some(edit) => has_followed(tx, ticket_number, edit).await,
        None => Ok(()),
    }
}

/// Stores the times of a new ticket, which is created at `now`. What they have broken is told by nobody.
pub async fn insert(tx: &mut Conn, ticket_number: i64, times: &Times, now: Instant) -> Result<(), Problem> {
    let notice_at = ticket_clocks::notice_at.eq(times.notice_at(None));
    let row = (Stored::of(ticket_number, times), ticket_clocks::created_at.eq(now), notice_at);
    send!(tx, diesel::insert_into(ticket_clocks::table).values(row))
}

/// Stores the times of a ticket over what they were: `before`. What they have broken waits to be told.
pub async fn update(tx: &mut Conn, ticket_number: i64, before: &Times, times: &Times) -> Result<(), Problem> {
    // Somebody looks once more also where it was told that a clock is due soon: that is not told again.
    let row = (Stored::of(ticket_number, times), ticket_clocks::notice_at.eq(times.notice_at(None)));
    send!(tx, steady(diesel::update(ticket_clocks::table.find(ticket_number)).set(row)))?;
    if times.is_closed() && !before.is_closed() {
        notices::forget_told(tx, ticket_number).await?;
    }
    notices::wait(tx, ticket_number, times.broken_since(Some(before))).await
}

/// A ticket, the row of its times, and the number of the edit that these have followed last.
type TimesRow = (TicketState, Stored, i64);

/// Tickets as the rules see them, with their times and the number of the edit that these have followed last.
macro_rules! with_times {
    () => {
        tickets::table.inner_join(ticket_clocks::table).select((
            TicketState::as_select(),
            Stored::as_select(),
            tickets::followed_edit,
        ))
    };
}

fn read((ticket, stored, followed): TimesRow) -> (TicketState, Times, i64) {
    let times = stored.times(ticket.reported_at, ticket.first_replied_at);
    (ticket, times, followed)
}

fn read_without_edit(row: TimesRow) -> (TicketState, Times) {
    let (ticket, times, _) = read(row);
    (ticket, times)
}

/// A ticket and the row of its times, as that is stored.
#[derive(Debug)]
pub struct TicketClocks {
    /// The ticket as the rules see it.
    pub state: TicketState,
    /// The ticket's id.
    pub id: TicketId,
    /// When it was typed in.
    pub created_at: Instant,
    /// The number of the edit that it has followed last.
    pub followed: i64,
    /// The row, and when it tells that the ticket was typed in.
    row: Option<(Stored, Instant)>,
}

impl TicketClocks {
    /// The times of the ticket, if there is a row of them.
    pub fn times(&self) -> Option<Times> {
        let (stored, _) = self.row.as_ref()?;
        Some(stored.clone().times(self.state.reported_at, self.state.first_replied_at))
    }

    /// Whether the row is what is stored of `times`.
    pub fn tells(&self, times: &Times) -> bool {
        let right = Stored::of(self.state.number, times);
        self.row.as_ref().is_some_and(|(stored, created_at)| *stored == right && *created_at == self.created_at)
    }
}

/// At most `most` tickets with numbers after `after`, up to `until`, in their order, also those without a row of times.
pub async fn rows_between(conn: &mut Conn, after: i64, until: i64, most: i64) -> Result<Vec<TicketClocks>, Problem> {
    type Listed = (TicketState, TicketId, Instant, i64, Option<Stored>, Option<Instant>);
    let rows: Vec<Listed> = on_each!(conn, |c| {
        tickets::table
            .left_join(ticket_clocks::table)
            .filter(tickets::number.gt(after).and(tickets::number.le(until)))
            .order(tickets::number)
            .limit(most)
            .select((
                TicketState::as_select(),
                tickets::id,
                tickets::created_at,
                tickets::followed_edit,
                Option::<Stored>::as_select(),
                ticket_clocks::created_at.nullable(),
            ))
            .load(c)
            .await
    })?;
    let of = |(state, id, created_at, followed, stored, created): Listed| TicketClocks {
        state,
        id,
        created_at,
        followed,
        row: stored.zip(created),
    };
    Ok(rows.into_iter().map(of).collect())
}

/// Stores the times of a ticket, which was created at `created_at`, in place of whatever row of them there is.
pub async fn replace(tx: &mut Conn, ticket_number: i64, times: &Times, created_at: Instant) -> Result<(), Problem> {
    let old = ticket_clocks::table.find(ticket_number);
    on_each!(tx, |c| diesel::delete(old).execute(c).await)?;
    insert(tx, ticket_number, times, created_at).await
}

/// Tickets that are not closed, word for word as in their index.
const UNCLOSED: &str = "tickets.status <> 'closed'";

/// Tickets that no edit has still to reach.
pub(super) const FOLLOWED: &str =
    "(tickets.status = 'closed' OR tickets.followed_edit >= (SELECT edit FROM configuration WHERE id = 1))";

/// How many tickets are counted at most that have not followed an edit.
pub const MOST_COUNTED: usize = 100_000;

/// How many clocks that time has broken are read at once.
const LAPSED_AT_ONCE: i64 = 2_000;

/// At most `most` tickets that are not closed and have not followed the edit `newest`: those that are furthest behind
/// first, each with the number of the edit that it has followed last.
pub async fn behind(tx: &mut Conn, newest: i64, most: usize) -> Result<Vec<(TicketState, Times, i64)>, Problem> {
    let rows: Vec<TimesRow> = on_each!(tx, |c| {
        with_times!()
            .filter(raw::<Bool>(UNCLOSED).and(tickets::followed_edit.lt(newest)))
            .order((tickets::followed_edit, tickets::number))
            .limit(i64::try_from(most).unwrap_or(i64::MAX))
            .load(c)
            .await
    })?;
    Ok(rows.into_iter().map(read).collect())
}

/// The last edit that all tickets have followed which are not closed; nothing if all are.
pub async fn followed_by_all(tx: &mut Conn) -> Result<Option<i64>, Problem> {
    let query = tickets::table.filter(raw::<Bool>(UNCLOSED)).order((tickets::followed_edit, tickets::number));
    Ok(on_each!(tx, |c| query.select(tickets::followed_edit).first(c).await.optional())?)
}

/// Whether more than `most` tickets are not closed and have not followed the edit `newest`.
pub async fn more_behind_than(tx: &mut Conn, newest: i64, most: usize) -> Result<bool, Problem> {
    let behind = tickets::table.filter(raw::<Bool>(UNCLOSED).and(tickets::followed_edit.lt(newest)));
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let next = behind.order((tickets::followed_edit, tickets::number)).offset(most).limit(1);
    let found: Option<i64> = on_each!(tx, |c| next.select(tickets::number).first(c).await).optional()?;
    Ok(found.is_some())
}

/// How many tickets that are not closed have not followed the last edit yet, up to [`MOST_COUNTED`].
pub async fn pending(conn: &mut Conn) -> Result<i64, Problem> {
    let count = format!(
        "(SELECT count(*) FROM (SELECT 1 FROM tickets WHERE {UNCLOSED} AND followed_edit < \
         (SELECT edit FROM configuration WHERE id = 1) LIMIT {MOST_COUNTED}) AS pending)"
    );
    Ok(on_each!(conn, |c| diesel::select(raw::<BigInt>(count)).get_result(c).await)?)
}

/// Whether an edit waits to be followed, or to be forgotten since all have followed it.
pub async fn is_any_behind(conn: &mut Conn) -> Result<bool, Problem> {
    let any = format!(
        "(EXISTS (SELECT 1 FROM configuration_edits) OR EXISTS (SELECT 1 FROM tickets WHERE {UNCLOSED} AND followed_edit < \
         (SELECT edit FROM configuration WHERE id = 1)))"
    );
    Ok(on_each!(conn, |c| diesel::select(raw::<Bool>(any)).get_result(c).await)?)
}

/// Whether this transaction is the only one that lets tickets follow by itself: of several instances, one does.
pub async fn takes_turn(tx: &mut Conn) -> Result<bool, Problem> {
    try_lock(tx, TURN).await
}

/// What the turn is locked by.
const TURN: i64 = 0x736b_5f65_6469_7473;

/// The times of a ticket, and the number of the edit that they have followed last.
pub async fn find(tx: &mut Conn, ticket: &TicketState) -> Result<(Times, i64), Problem> {
    let query = ticket_clocks::table.inner_join(tickets::table).filter(ticket_clocks::ticket_number.eq(ticket.number));
    let (row, followed): (Stored, i64) =
        on_each!(tx, |c| query.select((Stored::as_select(), tickets::followed_edit)).first(c).await)?;
    Ok((row.times(ticket.reported_at, ticket.first_replied_at), followed))
}

/// Writes down that the times of a ticket have followed `edit`.
async fn has_followed(tx: &mut Conn, ticket_number: i64, edit: i64) -> Result<(), Problem> {
    send!(tx, steady(diesel::update(tickets::table.find(ticket_number)).set(tickets::followed_edit.eq(edit))))
}

/// Writes down that the times of these tickets have followed `edit`, those of `same` without a change. Everybody sees
/// the clocks of a ticket, so a change of them is one of the ticket.
pub async fn have_followed(
    tx: &mut Conn,
    changed: Vec<i64>,
    same: Vec<i64>,
    edit: i64,
    now: Instant,
) -> Result<(), Problem> {
    if !same.is_empty() {
        let tickets = tickets::table.filter(tickets::number.eq_any(same));
        on_each!(tx, |c| diesel::update(tickets).set(tickets::followed_edit.eq(edit)).execute(c).await)?;
    }
    if !changed.is_empty() {
        let tickets = tickets::table.filter(tickets::number.eq_any(changed));
        // Never back, also when an instance's clock is.
        let earlier = tickets.clone().filter(tickets::updated_at.lt(now));
        on_each!(tx, |c| diesel::update(earlier).set(tickets::updated_at.eq(now)).execute(c).await)?;
        let change = (tickets::version.eq(tickets::version + 1), tickets::followed_edit.eq(edit));
        on_each!(tx, |c| diesel::update(tickets).set(change).execute(c).await)?;
    }
    Ok(())
}

/// Whether more than `most` tickets were created from `from` on and before `to`.
pub async fn more_created_than(conn: &mut Conn, from: Instant, to: Instant, most: usize) -> Result<bool, Problem> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let within = tickets::created_at.ge(from).and(tickets::created_at.lt(to));
    let next = tickets::table.filter(within).order((tickets::created_at, tickets::number)).offset(most).limit(1);
    let found: Option<i64> = on_each!(conn, |c| next.select(tickets::number).first(c).await).optional()?;
    Ok(found.is_some())
}

/// The place of a ticket in the order of creation.
pub type CreatedKey = (Instant, i64);

/// At most `most` tickets that were created before `to`, from behind the key `after` on, in the order of their
/// creation; and the key of the last one.
pub async fn created_between(
    conn: &mut Conn,
    after: CreatedKey,
    to: Instant,
    most: i64,
) -> Result<(Vec<(TicketState, Times)>, Option<CreatedKey>), Problem> {
    let keys: Vec<CreatedKey> = on_each!(conn, |c| {
        let behind = raw::<Bool>("(created_at, number) > (").bind(after.0).sql(", ").bind(after.1).sql(")");
        tickets::table
            .filter(tickets::created_at.lt(to))
            .filter(behind)
            .order((tickets::created_at, tickets::number))
            .limit(most)
            .select((tickets::created_at, tickets::number))
            .load(c)
            .await
    })?;
    let numbers: Vec<i64> = keys.iter().map(|(_, number)| *number).collect();
    let rows: Vec<TimesRow> = on_each!(conn, |c| with_times!().filter(tickets::number.eq_any(numbers)).load(c).await)?;
    Ok((rows.into_iter().map(read_without_edit).collect(), keys.last().copied()))
}

/// Runs `$query` with the column that says from which instant on the clock of `$target` is breached.
macro_rules! by_breach {
    ($target:expr, |$breach_at:ident| $query:expr) => {
        match $target {
            Target::Response => {
                let $breach_at = ticket_clocks::response_breach_at;
                $query
            }
            Target::FirstReply => {
                let $breach_at = ticket_clocks::first_reply_breach_at;
                $query
            }
            Target::Service => {
                let $breach_at = ticket_clocks::service_breach_at;
                $query
            }
        }
    };
}

pub(crate) use by_breach;

/// What is behind an instant at which a clock of `target` is breached, and a ticket.
pub fn behind_breach(target: Target, (at, number): (Instant, i64)) -> Raw<Bool> {
    let column = match target {
        Target::Response => "response_breach_at",
        Target::FirstReply => "first_reply_breach_at",
        Target::Service => "service_breach_at",
    };
    let place = format!("(ticket_clocks.{column}, ticket_clocks.ticket_number) > (");
    raw(place).bind(at).sql(", ").bind(number).sql(")")
}

/// The clocks of `target` that time has broken until `now`, which is not written down: how many, by the priority that
/// they were promised for. They are read some at a time.
pub async fn lapsed(conn: &mut Conn, target: Target, now: Instant) -> Result<BTreeMap<Priority, i64>, Problem> {
    type LapsedRow = (Option<Instant>, i64, Json);
    let (mut counts, mut behind) = (BTreeMap::new(), (Instant::EPOCH, 0));
    loop {
        let rows: Vec<LapsedRow> = by_breach!(target, |breach_at| {
            // The first of both is for the index.
            let lapsed = breach_at.ge(behind.0).and(breach_at.le(now)).assume_not_null();
            let query = ticket_clocks::table
                .filter(lapsed.and(behind_breach(target, behind)))
                .order((breach_at, ticket_clocks::ticket_number))
                .limit(LAPSED_AT_ONCE)
                .select((breach_at, ticket_clocks::ticket_number, ticket_clocks::clocks));
            on_each!(conn, |c| query.load(c).await)
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (at, number, clocks) in rows {
            behind = (at.unwrap_or(now), number);
            let clocks: Vec<SlaClock> = serde_json::from_value(clocks.0).map_err(Problem::internal)?;
            for clock in clocks.iter().filter(|clock| clock.target == target) {
                *counts.entry(clock.pledge.priority).or_insert(0) += 1;
            }
        }
        if read < LAPSED_AT_ONCE {
            return Ok(counts);
        }
    }
}

/// At most `most` tickets whose clock of `target` time has broken until `now`, which is not written down, in the order
/// of those instants and their numbers; those behind `behind`. With `is_current`, only those that have followed all
/// edits: of others, an edit may still prevent it.
pub async fn with_lapsed(
    conn: &mut Conn,
    target: Target,
    behind: (Instant, i64),
    now: Instant,
    is_current: bool,
    most: i64,
) -> Result<Vec<(TicketState, Times)>, Problem> {
    let rows: Vec<TimesRow> = by_breach!(target, |breach_at| {
        on_each!(conn, |c| {
            // The first of both is for the index.
            let next = behind_breach(target, behind);
            let current = raw::<Bool>(if is_current { FOLLOWED } else { "TRUE" });
            with_times!()
                .filter(breach_at.ge(behind.0).and(breach_at.le(now)).assume_not_null().and(next).and(current))
                .order((breach_at, ticket_clocks::ticket_number))
                .limit(most)
                .load(c)
                .await
        })
    })?;
    Ok(rows.into_iter().map(read_without_edit).collect())
}

/// Whether time has broken a clock until `now`, which is not written down.
pub async fn is_any_lapsed(conn: &mut Conn, now: Instant) -> Result<bool, Problem> {
    for target in Target::ALL.iter().copied() {
        let found: Option<i64> = by_breach!(target, |breach_at| {
            let first = ticket_clocks::table.filter(breach_at.le(now)).order(breach_at);
            on_each!(conn, |c| first.select(ticket_clocks::ticket_number).first(c).await).optional()
        })?;
        if found.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many clocks of `target` will be breached at some moment after `from` up to `to`, if nothing happens.
pub async fn due_between(conn: &mut Conn, target: Target, from: Instant, to: Instant) -> Result<i64, Problem> {
    by_breach!(target, |breach_at| {
        let query = ticket_clocks::table.filter(breach_at.gt(from).and(breach_at.le(to))).count();
        Ok(on_each!(conn, |c| query.get_result(c).await)?)
    })
}
