//! The use cases of clocks: they follow what happens to tickets, and what is configured.

mod calendars;
mod explain;
mod policies;

use std::collections::BTreeMap;

use uuid::Uuid;

pub use calendars::{
    change_calendar, create_calendar, delete_calendar, import_holidays, list_calendar_versions, list_calendars,
    read_calendar,
};
pub use explain::explain;
pub use policies::{
    change_policy, create_policy, delete_policy, list_policies, list_policy_versions, preview_policy, read_policy,
};

use super::domain::clock::{Facts, MOST_STEPS, Occasion, Times};
use super::domain::policy::{Almanac, Target};
use super::domain::tally::counts;
use super::store::book::{self, Generation};
use super::store::clocks;
use crate::db::Conn;
use crate::kernel::{Clock, Code, Instant, Priority, Problem};
use crate::tally;
use crate::tally::domain::{Sums, hour_of};

/// How many tickets are read at once when all are judged anew.
const AT_ONCE: i64 = 500;

/// Starts the clocks of a new ticket; gives what that counts.
///
/// # Errors
/// When the database is away.
pub async fn open(tx: &mut Conn, ticket: &Facts, now: Instant) -> Result<Sums, Problem> {
    let book = book::current(tx).await?;
    let mut times = Times::new(ticket.reported_at);
    times.judge(&ticket.traits, &book, &Almanac::default(), Occasion::Ticket, now);
    clocks::insert(tx, ticket.number, &times).await?;
    Ok(counts(None, (ticket, &times)))
}

/// Follows a change of a ticket at `now`, if its clocks care; gives what that counts.
///
/// # Errors
/// `conflict` when it has changed its status too often, or when the database is away.
pub async fn follow(tx: &mut Conn, before: &Facts, after: &Facts, now: Instant) -> Result<Sums, Problem> {
    if before == after {
        return Ok(Sums::default());
    }
    let book = book::current(tx).await?;
    let was = clocks::find(tx, before).await?;
    if before.status != after.status && !was.timeline.takes(after.status) {
        let detail =
            format!("This ticket has changed its status {MOST_STEPS} times. It can only be resolved and closed.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let almanac = book::almanac(tx, was.calendars()).await?;
    let mut times = was.clone();
    times.step(after.status, now);
    times.timeline.first_replied_at = after.first_replied_at;
    let occasion = if before.traits == after.traits { Occasion::Step } else { Occasion::Ticket };
    times.judge(&after.traits, &book, &almanac, occasion, now);
    if times != was {
        clocks::update(tx, after.number, &times).await?;
    }
    Ok(counts(Some((before, &was)), (after, &times)))
}

/// The one place that every change of policies and calendars goes through, in its transaction and while no other write is
/// at work: clocks that have not ended take what holds now. The cost is that of reading all tickets that are not closed.
///
/// # Errors
/// When the database is away.
pub async fn configuration_changed(tx: &mut Conn, now: Instant, clock: &Clock) -> Result<(), Problem> {
    book::renew(tx, Generation::from(clock.id::<Uuid>(now))).await?;
    let book = book::current(tx).await?;
    let mut last = 0;
    loop {
        let batch = clocks::unclosed(tx, last, AT_ONCE).await?;
        let mut counted = Sums::default();
        for (ticket, was) in &batch {
            let almanac = book::almanac(tx, was.calendars()).await?;
            let mut times = was.clone();
            times.judge(&ticket.traits, &book, &almanac, Occasion::Configuration, now);
            if times != *was {
                clocks::update(tx, ticket.number, &times).await?;
                clocks::touch(tx, ticket.number, now).await?;
                counted.merge(counts(Some((ticket, was)), (ticket, &times)));
            }
            last = ticket.number;
        }
        tally::store::add(tx, clock.id(now), &counted).await?;
        if i64::try_from(batch.len()).unwrap_or(0) < AT_ONCE {
            return Ok(());
        }
    }
}

/// Clocks near the present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Near {
    /// How many have been breached in the hour that is not over.
    pub breached: BTreeMap<(Target, Priority), i64>,
    /// How many run and are due within the next [`SOON_S`] seconds.
    pub due_soon: BTreeMap<Target, i64>,
}

/// What is soon, in seconds.
pub const SOON_S: i64 = 3600;

/// The clocks near `now`. It reads what happens within two hours, however many tickets there are.
///
/// # Errors
/// When the database is away.
pub async fn near(conn: &mut Conn, now: Instant) -> Result<Near, Problem> {
    let mut near = Near::default();
    let hour = Instant::EPOCH.plus_s(hour_of(now) * 3600);
    for target in Target::ALL.iter().copied() {
        let breached = clocks::breached_between(conn, target, hour, now).await?;
        near.breached.extend(breached.into_iter().map(|(priority, n)| ((target, priority), n)));
        // A clock is breached at the first instant after it was due.
        let soon = Instant::from_micros(now.plus_s(SOON_S).micros() + 1);
        near.due_soon.insert(target, clocks::due_between(conn, target, now, soon).await?);
    }
    Ok(near)
}
