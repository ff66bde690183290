//! Clocks follow what happens to tickets, and what is configured.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::db::{Conn, Db, Root, Roots};
use crate::kernel::{Clock, Code, Instant, Priority, Problem};
use crate::sla::domain::clock::{Facts, MOST_STEPS, Occasion, Times};
use crate::sla::domain::past::facts as what_happened;
use crate::sla::domain::policy::{CalendarSet, SlaConfiguration, Target};
use crate::sla::domain::tally::counts;
use crate::sla::store::configuration::{self, Edit, Generation};
use crate::sla::store::{clocks, past};
use crate::tally;
use crate::tally::domain::facts::Facts as TicketFacts;
use crate::tally::domain::{Sums, hour_of};

/// How many judgements the transaction of an edit may make; where there are more, it leaves them to others.
const AT_ONCE: usize = 500;

/// How many judgements one transaction makes that lets tickets follow edits by itself, while others wait.
const STEP: usize = 100;

/// The times of a ticket after a change of it.
#[derive(Debug)]
pub struct ClockChange {
    /// What the change counts.
    pub counted: Sums,
    /// The times before, if it was there.
    pub was: Option<Times>,
    /// The times now.
    pub times: Times,
}

/// Starts the clocks of a new ticket, by the `book` of now.
///
/// # Errors
/// When the database is away.
pub async fn open(
    tx: &mut Conn,
    book: &SlaConfiguration,
    ticket: &Facts,
    now: Instant,
) -> Result<ClockChange, Problem> {
    let mut times = Times::new(ticket.reported_at);
    times.judge(&ticket.traits, book, &CalendarSet::default(), Occasion::Ticket, now);
    clocks::insert(tx, ticket.number, &times, now).await?;
    Ok(ClockChange { counted: counts(None, (ticket, &times)), was: None, times })
}

/// Follows a change of a ticket at `now`, if its clocks care; before it, the edits that they have not followed yet.
///
/// # Errors
/// `conflict` when it has changed its status too often, or when the database is away.
pub async fn follow(
    tx: &mut Conn,
    before: &Facts,
    after: &Facts,
    now: Instant,
) -> Result<Option<ClockChange>, Problem> {
    if before == after {
        return Ok(None);
    }
    let book = configuration::current(tx).await?;
    let (was, followed) = clocks::find_followed(tx, before).await?;
    if before.status != after.status && !was.timeline.takes(after.status) {
        let detail =
            format!("This ticket has changed its status {MOST_STEPS} times. It can only be resolved and closed.");
        return Err(Problem::new(Code::Conflict, detail));
    }
    let mut times = was.clone();
    if followed < book.edit {
        catch_up(tx, before, &mut times, followed).await?;
        clocks::has_followed(tx, after.number, book.edit).await?;
    }
    let almanac = configuration::almanac(tx, times.calendars()).await?;
    times.step(after.status, now);
    times.timeline.first_replied_at = after.first_replied_at;
    let occasion = if before.traits == after.traits { Occasion::Step } else { Occasion::Ticket };
    times.judge(&after.traits, &book, &almanac, occasion, now);
    if times != was {
        clocks::update(tx, after.number, &times).await?;
    }
    let counted = counts(Some((before, &was)), (after, &times));
    Ok(Some(ClockChange { counted, was: Some(was), times }))
}

/// The one place that every change of policies and calendars goes through, in its transaction and while no other write is
/// at work: clocks that have not ended take what holds from `now` on. Those of few tickets do so at once. Where there are
/// many, or others wait to edit, each ticket follows when it is written next or when [`follow_edits`] comes to it, with the same
/// result.
///
/// # Errors
/// `unavailable` while too many edits wait to be followed, or when the database is away.
pub async fn configuration_changed(tx: &mut Conn, now: Instant, clock: &Clock) -> Result<(), Problem> {
    configuration::renew(tx, Generation::from(clock.id::<Uuid>(now)), now).await?;
    let newest = configuration::current(tx).await?.edit;
    let edits = usize::try_from(configuration::count_edits(tx).await?).unwrap_or(usize::MAX).max(1);
    if tx.is_awaited(&Root::Configuration) {
        // Otherwise they would wait while all tickets are judged for each of them. Some tickets follow several edits at once, by as
        // many judgements as one edit of few tickets takes, so that not more and more edits wait.
        if edits >= configuration::EDITS_AT_ONCE {
            follow_some(tx, AT_ONCE, now, clock).await?;
        }
        return Ok(());
    }
    if clocks::more_behind_than(tx, newest, AT_ONCE / edits).await? {
        return Ok(());
    }
    while follow_some(tx, STEP, now, clock).await? > 0 {}
    Ok(())
}

/// Lets a few tickets follow the edits that they have not followed, in one short transaction; gives their number, and 0 when none
/// is left or another instance does it.
///
/// # Errors
/// When the database is away: what is left is done the next time.
pub async fn follow_edits(db: &Db, clock: &Clock) -> Result<usize, Problem> {
    if !db.read(async |conn| clocks::is_any_behind(conn).await).await? {
        return Ok(0);
    }
    let clock = clock.clone();
    db.write(Roots::none(), async move |tx| {
        if clocks::takes_turn(tx).await? { follow_some(tx, STEP, clock.now(), &clock).await } else { Ok(0) }
    })
    .await
}

/// How many tickets have not followed the last edit of policies or calendars yet; from [`clocks::MOST_COUNTED`] on, at least so
/// many.
///
/// # Errors
/// When the database is away.
pub async fn pending_tickets(conn: &mut Conn) -> Result<i64, Problem> {
    clocks::pending(conn).await
}

/// Lets the tickets that are furthest behind follow some edits, by about `most` judgements, and forgets the edits that all have
/// followed. Gives how many tickets there were.
async fn follow_some(tx: &mut Conn, most: usize, now: Instant, clock: &Clock) -> Result<usize, Problem> {
    let newest = configuration::current(tx).await?.edit;
    let least = clocks::followed_by_all(tx).await?.unwrap_or(newest);
    configuration::forget_edits(tx, least).await?;
    if least >= newest {
        return Ok(0);
    }
    let edits = configuration::edits_after(tx, least).await?;
    // Where there are none, an instance that knew of no edits has judged by what held.
    let last = edits.last().map_or(newest, |edit| edit.number);
    let behind = clocks::behind(tx, last, (most / edits.len().max(1)).max(1)).await?;
    let (mut counted, mut changed, mut same) = (Sums::default(), Vec::new(), Vec::new());
    for (ticket, was, followed) in &behind {
        let mut times = was.clone();
        for edit in edits.iter().filter(|edit| edit.number > *followed) {
            follow_edit(tx, edit, ticket, &mut times).await?;
        }
        if times == *was {
            same.push(ticket.number);
        } else {
            clocks::update(tx, ticket.number, &times).await?;
            counted.merge(counts(Some((ticket, was)), (ticket, &times)));
            changed.push((ticket.number, was, times));
        }
    }
    let numbers = changed.iter().map(|(number, ..)| *number).collect();
    clocks::have_followed(tx, numbers, same, last, now).await?;
    let facts = rejudged(tx, &changed).await?;
    tally::store::add(tx, clock.id(now), &counted, &facts).await?;
    Ok(behind.len())
}

/// Judges the clocks of a ticket by all edits after the one that they have followed last, in their order.
async fn catch_up(tx: &mut Conn, ticket: &Facts, times: &mut Times, mut followed: i64) -> Result<(), Problem> {
    loop {
        let edits = configuration::edits_after(tx, followed).await?;
        for edit in &edits {
            follow_edit(tx, edit, ticket, times).await?;
            followed = edit.number;
        }
        if edits.len() < configuration::EDITS_AT_ONCE {
            return Ok(());
        }
    }
}

/// Judges the clocks of a ticket by an edit, as of its instant: whoever does so, and whenever, comes to the same.
async fn follow_edit(tx: &mut Conn, edit: &Edit, ticket: &Facts, times: &mut Times) -> Result<(), Problem> {
    let almanac = configuration::almanac(tx, times.calendars()).await?;
    times.judge(&ticket.traits, &edit.book, &almanac, Occasion::Configuration, edit.at);
    Ok(())
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
