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
use super::domain::past::facts as what_happened;
use super::domain::policy::{Almanac, Target};
use super::domain::tally::counts;
use super::store::book::{self, Generation};
use super::store::{clocks, past};
use crate::db::Conn;
use crate::kernel::{Clock, Code, Instant, Priority, Problem};
use crate::tally;
use crate::tally::domain::facts::Facts as TicketFacts;
use crate::tally::domain::{Sums, hour_of};

/// How many tickets are read at once when all are judged anew.
const AT_ONCE: i64 = 500;

/// The times of a ticket after a change of it.
#[derive(Debug)]
pub struct Followed {
    /// What the change counts.
    pub counted: Sums,
    /// The times before, if it was there.
    pub was: Option<Times>,
    /// The times now.
    pub times: Times,
}

/// Starts the clocks of a new ticket.
///
/// # Errors
/// When the database is away.
pub async fn open(tx: &mut Conn, ticket: &Facts, now: Instant) -> Result<Followed, Problem> {
    let book = book::current(tx).await?;
    let mut times = Times::new(ticket.reported_at);
    times.judge(&ticket.traits, &book, &Almanac::default(), Occasion::Ticket, now);
    clocks::insert(tx, ticket.number, &times, now).await?;
    Ok(Followed { counted: counts(None, (ticket, &times)), was: None, times })
}

/// Follows a change of a ticket at `now`, if its clocks care.
///
/// # Errors
/// `conflict` when it has changed its status too often, or when the database is away.
pub async fn follow(tx: &mut Conn, before: &Facts, after: &Facts, now: Instant) -> Result<Option<Followed>, Problem> {
    if before == after {
        return Ok(None);
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
    let counted = counts(Some((before, &was)), (after, &times));
    Ok(Some(Followed { counted, was: Some(was), times }))
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
        let (mut counted, mut changed) = (Sums::default(), Vec::new());
        for (ticket, was) in &batch {
            let almanac = book::almanac(tx, was.calendars()).await?;
            let mut times = was.clone();
            times.judge(&ticket.traits, &book, &almanac, Occasion::Configuration, now);
            if times != *was {
                clocks::update(tx, ticket.number, &times).await?;
                clocks::touch(tx, ticket.number, now).await?;
                counted.merge(counts(Some((ticket, was)), (ticket, &times)));
                changed.push((ticket.number, was, times));
            }
            last = ticket.number;
        }
        let facts = rejudged(tx, &changed).await?;
        tally::store::add(tx, clock.id(now), &counted, &facts).await?;
        if i64::try_from(batch.len()).unwrap_or(0) < AT_ONCE {
            return Ok(());
        }
    }
}

/// The facts that change with the times of tickets, from what they were to what they are.
async fn rejudged(tx: &mut Conn, changed: &[(i64, &Times, Times)]) -> Result<TicketFacts, Problem> {
    let cards = past::cards(tx, changed.iter().map(|(number, ..)| *number).collect()).await?;
    // Work moves with its ticket from group to group.
    let moved = changed.iter().filter(|(_, was, times)| was.policy_id != times.policy_id);
    let work = past::work(tx, moved.map(|(number, ..)| *number).collect()).await?;
    let mut facts = TicketFacts::default();
    for (number, was, times) in changed {
        let work = work.get(number).map_or(&[][..], Vec::as_slice);
        if let Some(card) = cards.get(number) {
            let (before, after) = (what_happened(card, was, work), what_happened(card, times, work));
            facts.merge(TicketFacts::changed(before, after));
        }
    }
    Ok(facts)
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
