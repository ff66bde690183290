//! Clocks follow what happens to tickets, and what is configured.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::db::{Conn, Db, Root, Roots};
use crate::kernel::{Clock, Instant, PolicyId, Priority, Problem};
use crate::sla::domain::change::{ClockChange, TooManySteps, happened};
use crate::sla::domain::clock::{Occasion, TicketState, Times};
use crate::sla::domain::policy::{CalendarSet, SlaConfiguration, Target};
use crate::sla::domain::tally::counts;
use crate::sla::store::configuration::{self, Edit, Generation};
use crate::sla::store::{clocks, watch};
use crate::tally;
use crate::tally::domain::Sums;
use crate::tally::domain::facts::{Fact, What};

/// How many judgements the transaction of an edit may make; where there are more, it leaves them to others.
const AT_ONCE: usize = 500;

/// How many judgements one transaction makes that lets tickets follow edits by itself, while others wait.
const STEP: usize = 100;

/// How many tickets with clocks that time has broken are read at once.
const LAPSED_AT_ONCE: i64 = 1_000;

/// The clocks of a new ticket begin, by the `configuration` of now. Nothing is stored yet.
pub fn begin(configuration: &SlaConfiguration, ticket: &TicketState, now: Instant) -> (ClockChange, Vec<Fact>) {
    let mut times = Times::new(ticket.reported_at);
    times.judge(&ticket.traits, configuration, &CalendarSet::default(), Occasion::Ticket, now);
    let (counts, facts) = (counts(None, (ticket, &times)), happened(None, (ticket, &times), 0, now));
    (ClockChange { before: None, after: times, counts, caught_up_with: None }, facts)
}

/// What the times of a ticket make of its change at `now`, and what has happened by it; before it, they catch up with
/// the edits that they have not followed yet. Nothing, if no clock and no figure asks for what has changed. Nothing is
/// stored yet. Agents have answered `agent_comments` times in public.
///
/// # Errors
/// When the database is away. A step for which there is no room is [`TooManySteps`].
pub async fn follow(
    tx: &mut Conn,
    before: &TicketState,
    after: &TicketState,
    agent_comments: i32,
    now: Instant,
) -> Result<Result<Option<(ClockChange, Vec<Fact>)>, TooManySteps>, Problem> {
    if before == after {
        return Ok(Ok(None));
    }
    let configuration = configuration::current(tx).await?;
    let (was, followed) = clocks::find(tx, before).await?;
    if before.status != after.status && !was.timeline.takes(after.status) {
        return Ok(Err(TooManySteps));
    }
    let (mut times, mut facts, is_behind) = (was.clone(), Vec::new(), followed < configuration.edit);
    if is_behind {
        facts = catch_up(tx, before, &mut times, followed).await?;
    }
    let caught_up = times.clone();
    let calendars = configuration::calendar_set(tx, times.calendars()).await?;
    times.become_of(before, after, &configuration, &calendars, now);
    facts.extend(happened(Some((before, &caught_up)), (after, &times), agent_comments, now));
    let counts = counts(Some((before, &was)), (after, &times));
    let caught_up_with = is_behind.then_some(configuration.edit);
    Ok(Ok(Some((ClockChange { before: Some(was), after: times, counts, caught_up_with }, facts))))
}

/// The one place that every change of policies and calendars goes through, in its transaction and while no other write
/// is at work: clocks that have not ended take what holds from `now` on. Those of few tickets do so at once. Where
/// there are many, or others wait to edit, each ticket follows when it is written next or when [`follow_edits`] comes
/// to it, with the same result.
///
/// # Errors
/// `unavailable` while too many edits wait to be followed.
pub async fn configuration_changed(tx: &mut Conn, now: Instant, clock: &Clock) -> Result<(), Problem> {
    configuration::renew(tx, Generation::from(clock.id::<Uuid>(now)), now).await?;
    let newest = configuration::current(tx).await?.edit;
    let edits = usize::try_from(configuration::count_edits(tx).await?).unwrap_or(usize::MAX).max(1);
    if tx.is_awaited(&Root::Configuration) {
        // Otherwise they would wait while all tickets are judged for each of them. Some tickets follow several edits at
        // once, by as many judgements as one edit of few tickets takes, so that not more and more edits wait.
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

/// Lets a few tickets follow the edits that they have not followed, in one short transaction; gives their number, and 0
/// when none is left or another instance does it.
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

/// How many tickets have not followed the last edit of policies or calendars yet; from [`clocks::MOST_COUNTED`] on, at
/// least so many.
pub async fn pending_tickets(conn: &mut Conn) -> Result<i64, Problem> {
    clocks::pending(conn).await
}

/// Lets the tickets that are furthest behind follow some edits, by about `most` judgements, and forgets the edits that
/// all have followed. Gives how many tickets there were.
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
    let (mut counted, mut facts) = (Sums::default(), Vec::new());
    let (mut changed, mut same) = (Vec::new(), Vec::new());
    for (ticket, was, followed) in &behind {
        let mut times = was.clone();
        for edit in edits.iter().filter(|edit| edit.number > *followed) {
            facts.extend(follow_edit(tx, edit, ticket, &mut times).await?);
        }
        if times == *was {
            same.push(ticket.number);
        } else {
            clocks::update(tx, ticket.number, was, &times).await?;
            counted.merge(counts(Some((ticket, was)), (ticket, &times)));
            changed.push(ticket.number);
        }
    }
    clocks::have_followed(tx, changed, same, last, now).await?;
    tally::store::add(tx, clock.id(now), &counted, &facts).await?;
    Ok(behind.len())
}

/// Judges the clocks of a ticket by all edits after the one that they have followed last, in their order; gives what
/// has happened by it.
async fn catch_up(
    tx: &mut Conn,
    ticket: &TicketState,
    times: &mut Times,
    mut followed: i64,
) -> Result<Vec<Fact>, Problem> {
    let mut facts = Vec::new();
    loop {
        let edits = configuration::edits_after(tx, followed).await?;
        for edit in &edits {
            facts.extend(follow_edit(tx, edit, ticket, times).await?);
            followed = edit.number;
        }
        if edits.len() < configuration::EDITS_AT_ONCE {
            return Ok(facts);
        }
    }
}

/// Judges the clocks of a ticket by an edit, as of its instant: whoever does so, and whenever, comes to the same. Gives
/// what has happened by it.
async fn follow_edit(
    tx: &mut Conn,
    edit: &Edit,
    ticket: &TicketState,
    times: &mut Times,
) -> Result<Vec<Fact>, Problem> {
    let calendar_set = configuration::calendar_set(tx, times.calendars()).await?;
    let was = times.clone();
    times.judge(&ticket.traits, &edit.configuration, &calendar_set, Occasion::Configuration, edit.at);
    // No edit solves a ticket, so nobody asks how many answers it needed.
    Ok(happened(Some((ticket, &was)), (ticket, times), 0, edit.at))
}

/// The policy that a ticket has now, also if its clocks have not followed the last edits yet.
pub async fn policy_of(tx: &mut Conn, ticket: &TicketState) -> Result<Option<PolicyId>, Problem> {
    Ok(configuration::current(tx).await?.select(&ticket.traits).map(|policy| policy.of.id))
}

/// Writes down what time has broken of at most about `most` tickets that have followed all edits, in one short
/// transaction; gives how many there were. It is true before, too: this makes it quick to read, and part of what has
/// happened, and lets it wait to be told. Nothing of a ticket changes by it that anybody sees.
///
/// # Errors
/// When the database is away: what is left is done the next time.
pub async fn write_down_breaches(db: &Db, clock: &Clock, most: u16) -> Result<usize, Problem> {
    let now = clock.now();
    if !db.read(async move |conn| clocks::is_any_lapsed(conn, now).await).await? {
        return Ok(0);
    }
    let clock = clock.clone();
    db.write(Roots::none(), async move |tx| {
        if !watch::takes_turn(tx).await? {
            return Ok(0);
        }
        let (mut counted, mut facts, mut written) = (Sums::default(), Vec::new(), 0);
        for target in Target::ALL.iter().copied() {
            // What was written down for another target is not found again.
            let lapsed =
                clocks::with_lapsed(tx, target, (Instant::EPOCH, 0), now, true, i64::from(most) - written).await?;
            for (ticket, was) in &lapsed {
                let (times, happened) = lapse(ticket, was, now);
                clocks::update(tx, ticket.number, was, &times).await?;
                counted.merge(counts(Some((ticket, was)), (ticket, &times)));
                facts.extend(happened);
            }
            written += i64::try_from(lapsed.len()).unwrap_or(0);
        }
        tally::store::add(tx, clock.id(now), &counted, &facts).await?;
        Ok(usize::try_from(written).unwrap_or(0))
    })
    .await
}

/// Of what time has broken until `now`, which is not written down, some of that of `target`, from behind an instant and
/// a ticket on; and behind what the rest comes, if there may be more.
pub async fn lapsed(
    conn: &mut Conn,
    target: Target,
    behind: (Instant, i64),
    now: Instant,
) -> Result<(Vec<Fact>, Option<(Instant, i64)>), Problem> {
    let some = clocks::with_lapsed(conn, target, behind, now, false, LAPSED_AT_ONCE).await?;
    let happened = some.iter().flat_map(|(ticket, was)| lapse(ticket, was, now).1);
    let facts: Vec<Fact> = happened.filter(|fact| fact.what == What::Breached(target)).collect();
    let has_more = i64::try_from(some.len()).unwrap_or(0) == LAPSED_AT_ONCE;
    let last = facts.last().map(|fact| (fact.at(), fact.ticket)).filter(|_| has_more);
    Ok((facts, last))
}

/// The times of a ticket with what time has broken until `now` written down, and what that tells.
fn lapse(ticket: &TicketState, was: &Times, now: Instant) -> (Times, Vec<Fact>) {
    let mut times = was.clone();
    times.clocks = times.clocks.into_iter().map(|clock| clock.at(now)).collect();
    let facts = happened(Some((ticket, was)), (ticket, &times), 0, now);
    (times, facts)
}

/// Clocks near the present.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Near {
    /// How many time has broken, which is not written down.
    pub lapsed: BTreeMap<(Target, Priority), i64>,
    /// How many run and are due within the next [`SOON_S`] seconds.
    pub due_soon: BTreeMap<Target, i64>,
}

/// What is soon, in seconds.
pub const SOON_S: i64 = 3600;

/// The clocks near `now`. It reads what is due within the next hour, and what has lapsed in the last seconds, however
/// many tickets there are.
pub async fn near(conn: &mut Conn, now: Instant) -> Result<Near, Problem> {
    let mut near = Near::default();
    for target in Target::ALL.iter().copied() {
        let lapsed = clocks::lapsed(conn, target, now).await?;
        near.lapsed.extend(lapsed.into_iter().map(|(priority, n)| ((target, priority), n)));
        // A clock is breached at the first instant after it was due.
        let soon = Instant::from_micros(now.plus_s(SOON_S).micros() + 1);
        near.due_soon.insert(target, clocks::due_between(conn, target, now, soon).await?);
    }
    Ok(near)
}
