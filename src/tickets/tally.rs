//! What a change of a ticket counts, but for its times, which the room `sla` counts. Pure.

use super::domain::Ticket;
use crate::kernel::Instant;
use crate::tally::domain::{Counter, NO_TEAM, Series, Sums};

/// What the tallies gain and lose when a ticket that was `before`, or was not there, is `after`. Nothing, if the change
/// touches nothing that is counted.
pub fn counts(before: Option<&Ticket>, after: &Ticket) -> Sums {
    let mut sums = Sums::default();
    if let Some(before) = before {
        sums.add(standing(before), -1);
    }
    sums.add(standing(after), 1);

    let team = team(after);
    let mut happened = |series, times| sums.add(Counter::of(series, &[after.priority.as_str(), &team]), times);
    happened(Series::Created, i64::from(before.is_none()));
    happened(Series::Resolved, i64::from(newly(before, after, |ticket| ticket.resolved_at).is_some()));
    happened(Series::Reopened, i64::from(after.reopen_count - before.map_or(0, |before| before.reopen_count)));
    sums
}

fn standing(ticket: &Ticket) -> Counter {
    Counter::of(Series::Tickets, &[ticket.status.as_str(), ticket.priority.as_str(), &team(ticket)])
}

/// The team of a ticket, as a label.
pub fn team(ticket: &Ticket) -> String {
    ticket.team_id.map_or_else(|| NO_TEAM.to_owned(), |id| id.to_string())
}

/// The instant of `which`, if it was not there before.
fn newly(before: Option<&Ticket>, after: &Ticket, which: impl Fn(&Ticket) -> Option<Instant>) -> Option<Instant> {
    which(after).filter(|_| before.and_then(&which).is_none())
}
