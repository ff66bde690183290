//! Counting all over again.

use crate::db::{Conn, Db};
use crate::kernel::Problem;
use crate::sla::domain::tally as sla;
use crate::tally;
use crate::tally::domain::backlog::Waiting;
use crate::tally::domain::{Cell, Series, Sums};
use crate::tickets::store;

/// How many tickets are read at once.
const AT_ONCE: i64 = 2_000;

/// Counts anew what the tallies tell of tickets as they stand now, for whoever has filled the tables by other means than this
/// service: one transaction, while no other write is at work. What tickets do not tell any more is told as far as they
/// do: everything counts for the priority and team of now, and of several times that a ticket was resolved, the last one
/// alone says how much work it took. Gives the number of tickets.
///
/// # Errors
/// When the database is away; the tallies then stand as before.
pub async fn recount(db: &Db) -> Result<usize, Problem> {
    db.write_alone(async |tx| {
        tally::service::fold_all(tx).await?;
        tally::store::backlog::clear(tx, Series::ALL.iter().map(ToString::to_string)).await?;
        let tickets = recount_tickets(tx).await?;
        tally::store::backlog::refill(tx).await?;
        Ok(tickets)
    })
    .await
}

async fn recount_tickets(tx: &mut Conn) -> Result<usize, Problem> {
    let (mut sums, mut tickets, mut last) = (Sums::default(), 0, 0);
    loop {
        let batch = store::after(tx, last, AT_ONCE).await?;
        let read = i64::try_from(batch.len()).unwrap_or(0);
        for (ticket, times) in batch {
            let mut counted = sla::counts(None, (&ticket.facts(), &times));
            counted.merge(crate::tickets::tally::counts(None, &ticket));
            let of_now = |series| {
                let team = crate::tickets::tally::team(&ticket);
                Cell::of(series, &[ticket.priority.as_str(), &team])
            };
            // Each reopening tells of a resolution before it.
            counted.add(of_now(Series::Resolved), ticket.reopen_count.into());
            for (cell, n) in counted.iter().filter(|(cell, _)| Waiting::of(cell).is_none()) {
                sums.add(cell.clone(), n);
            }
            (tickets, last) = (tickets + 1, ticket.number);
        }
        if read < AT_ONCE {
            break;
        }
    }
    tally::store::grow_all(tx, &sums).await?;
    Ok(tickets)
}
