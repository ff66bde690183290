//! Rows that follow from tickets: those by whose tags lists find them, and those of their clocks. Held against what
//! they follow from, and put right.

use std::collections::BTreeSet;

use crate::db::{Conn, Db, Root, Roots};
use crate::kernel::{Clock, Instant, Problem};
use crate::sla::service as sla;
use crate::sla::store::clocks::{self, TicketClocks};
use crate::tickets::store;

/// How many tickets are read at once.
const AT_ONCE: i64 = 1_000;

/// How many tickets one transaction puts right.
const CORRECT_AT_ONCE: usize = 20;

/// What was found wrong with some tickets, by their numbers.
#[derive(Debug, Default)]
pub struct DerivedFaults {
    /// How many tickets were looked at.
    pub tickets: usize,
    /// The last of them.
    pub last: i64,
    /// Those that are found by other tags than they have.
    pub tags: Vec<i64>,
    /// Those whose clocks are not what the timeline and the policies make of them, or are missing.
    pub clocks: Vec<i64>,
}

/// Looks at the next tickets with numbers after `after`; at none when there are no more.
pub async fn look_at_rows(conn: &mut Conn, after: i64, now: Instant) -> Result<DerivedFaults, Problem> {
    let tickets = clocks::rows_between(conn, after, i64::MAX, AT_ONCE).await?;
    let Some(last) = tickets.last().map(|ticket| ticket.state.number) else { return Ok(DerivedFaults::default()) };
    let mut found_by = store::tags_between(conn, after, last).await?;
    let mut found = DerivedFaults { tickets: tickets.len(), last, ..DerivedFaults::default() };
    for ticket in &tickets {
        let number = ticket.state.number;
        if found_by.remove(&number).unwrap_or_default() != tags_of(ticket) {
            found.tags.push(number);
        }
        if sla::correction(conn, ticket, now).await?.is_some() {
            found.clocks.push(number);
        }
    }
    Ok(found)
}

/// Puts right what was found wrong, in short transactions, as the tickets are by then; `breathe` comes behind each.
pub async fn correct(
    db: &Db,
    found: &DerivedFaults,
    clock: &Clock,
    breathe: impl AsyncFn(std::time::Instant),
) -> Result<(), Problem> {
    let wrong: BTreeSet<i64> = found.tags.iter().chain(&found.clocks).copied().collect();
    let wrong: Vec<i64> = wrong.into_iter().collect();
    for numbers in wrong.chunks(CORRECT_AT_ONCE) {
        let (began, numbers, now) = (std::time::Instant::now(), numbers.to_vec(), clock.now());
        let roots: Roots = numbers.iter().map(|number| Root::Ticket(*number)).collect();
        db.write(roots, async move |tx| {
            for number in &numbers {
                correct_one(tx, *number, now).await?;
            }
            Ok(())
        })
        .await?;
        breathe(began).await;
    }
    Ok(())
}

async fn correct_one(tx: &mut Conn, number: i64, now: Instant) -> Result<(), Problem> {
    let Some(ticket) = clocks::rows_between(tx, number - 1, number, 1).await?.pop() else { return Ok(()) };
    let found_by = store::tags_between(tx, number - 1, number).await?.remove(&number);
    if found_by.unwrap_or_default() != tags_of(&ticket) {
        store::replace_tags(tx, number, &ticket.state.traits.tags, ticket.created_at).await?;
    }
    if let Some(right) = sla::correction(tx, &ticket, now).await? {
        sla::correct(tx, &ticket, &right, now).await?;
    }
    Ok(())
}

/// By which tags a ticket is to be found.
fn tags_of(ticket: &TicketClocks) -> BTreeSet<(String, Instant)> {
    ticket.state.traits.tags.iter().map(|tag| (tag.clone(), ticket.created_at)).collect()
}
