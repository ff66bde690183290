//! The use cases of clocks: they follow what happens to tickets, and what is configured.

mod explain;
mod policies;

use uuid::Uuid;

pub use explain::explain;
pub use policies::{
    change_policy, create_policy, delete_policy, list_policies, list_policy_versions, preview_policy, read_policy,
};

use super::domain::clock::{Facts, Occasion, Times};
use super::domain::policy::Almanac;
use super::store::book::{self, Generation};
use super::store::clocks;
use crate::db::Conn;
use crate::kernel::{Clock, Instant, Problem};

/// How many tickets are read at once when all are judged anew.
const AT_ONCE: i64 = 500;

/// Starts the clocks of a new ticket.
///
/// # Errors
/// When the database is away.
pub async fn open(tx: &mut Conn, ticket: &Facts, now: Instant) -> Result<(), Problem> {
    let book = book::current(tx).await?;
    let mut times = Times::new(ticket.reported_at);
    times.judge(&ticket.traits, &book, &Almanac::default(), Occasion::Ticket, now);
    clocks::insert(tx, ticket.number, &times).await
}

/// Follows a change of a ticket at `now`, if its clocks care.
///
/// # Errors
/// When the database is away.
pub async fn follow(tx: &mut Conn, before: &Facts, after: &Facts, now: Instant) -> Result<(), Problem> {
    if before == after {
        return Ok(());
    }
    let book = book::current(tx).await?;
    let was = clocks::find(tx, before).await?;
    let almanac = book::almanac(tx, was.calendars()).await?;
    let mut times = was.clone();
    times.step(after.status, now);
    times.timeline.first_replied_at = after.first_replied_at;
    let occasion = if before.traits == after.traits { Occasion::Step } else { Occasion::Ticket };
    times.judge(&after.traits, &book, &almanac, occasion, now);
    if times == was { Ok(()) } else { clocks::update(tx, after.number, &times).await }
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
        for (ticket, was) in &batch {
            let almanac = book::almanac(tx, was.calendars()).await?;
            let mut times = was.clone();
            times.judge(&ticket.traits, &book, &almanac, Occasion::Configuration, now);
            if times != *was {
                clocks::update(tx, ticket.number, &times).await?;
                clocks::touch(tx, ticket.number, now).await?;
            }
            last = ticket.number;
        }
        if i64::try_from(batch.len()).unwrap_or(0) < AT_ONCE {
            return Ok(());
        }
    }
}
