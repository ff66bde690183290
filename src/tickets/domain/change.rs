//! What one act does to one ticket. Pure.

use super::Ticket;
use crate::audit::domain::{Event, EventKind, EventSubject, Visibility};
use crate::kernel::{Instant, PrincipalId};
use crate::sla::domain::change::ClockChange;
use crate::tally::domain::facts::Fact;
use crate::tally::domain::{Counter, NO_TEAM, Series, Sums};

/// What one act does to one ticket: made once, before anything is stored, and handed to all that tell of it.
#[derive(Debug)]
pub struct TicketChange {
    /// What kind of thing happens.
    pub kind: EventKind,
    /// The ticket before; nothing of a new one.
    pub before: Option<Ticket>,
    /// The ticket after.
    pub after: Ticket,
    /// What becomes of its clocks, if they or the figures ask for what changes.
    pub clocks: Option<ClockChange>,
    /// What happens by it, as far as figures go.
    pub facts: Vec<Fact>,
    /// Who acts; nobody when the service does so by itself.
    pub by: Option<PrincipalId>,
    /// When.
    pub at: Instant,
}

impl TicketChange {
    /// The opening of `ticket`, with what that does to its clocks.
    pub fn opened(ticket: Ticket, clocks: ClockChange, facts: Vec<Fact>, by: PrincipalId) -> Self {
        let (kind, at) = (EventKind::TicketCreated, ticket.created_at);
        Self { kind, before: None, after: ticket, clocks: Some(clocks), facts, by: Some(by), at }
    }

    /// The removal at `now` of all that people have written in `before`. No clock and no figure asks for that.
    pub fn redacted(before: Ticket, by: PrincipalId, now: Instant) -> Self {
        let after = before.redacted().touched(now);
        let (kind, at) = (EventKind::TicketRedacted, after.updated_at);
        Self { kind, before: Some(before), after, clocks: None, facts: Vec::new(), by: Some(by), at }
    }

    /// That something was said anew that everybody may see: the next version of the same fields.
    pub fn touched(before: Ticket, by: PrincipalId, at: Instant) -> Self {
        let after = before.clone().touched(at);
        let (kind, at) = (EventKind::TicketUpdated, after.updated_at);
        Self { kind, before: Some(before), after, clocks: None, facts: Vec::new(), by: Some(by), at }
    }

    /// What the counters gain and lose by it.
    pub fn counts(&self) -> Sums {
        let mut sums = counts(self.before.as_ref(), &self.after);
        if let Some(clocks) = &self.clocks {
            sums.merge(clocks.counts.clone());
        }
        sums
    }

    /// Its entry in the audit trail. A comment changes a ticket as everybody sees, though maybe none of its fields:
    /// that has an entry of its own.
    pub fn event(&self) -> Option<Event> {
        let changes = match self.kind {
            // What was removed is told by nobody.
            EventKind::TicketRedacted => Vec::new(),
            _ => self.after.changes_since(self.before.as_ref()),
        };
        let is_told = self.kind == EventKind::TicketRedacted || !changes.is_empty();
        is_told.then_some(Event {
            about: EventSubject::Ticket(self.after.id, self.after.version),
            at: self.at,
            actor: self.by,
            kind: self.kind,
            visibility: Visibility::Public,
            comment_id: None,
            changes,
        })
    }

    /// Whether a ticket that was there before is to be found by other words now.
    pub fn is_reworded(&self) -> bool {
        let is_reworded = |before: &Ticket, after: &Ticket| {
            (&before.subject, &before.tags, &before.description) != (&after.subject, &after.tags, &after.description)
                || (&before.external_id, before.requester_id) != (&after.external_id, after.requester_id)
        };
        self.before.as_ref().is_some_and(|before| is_reworded(before, &self.after))
    }
}

/// What the counters gain and lose, but for clocks, when a ticket that was `before`, or was not there, is `after`.
/// Nothing, if the change touches nothing that is counted.
pub fn counts(before: Option<&Ticket>, after: &Ticket) -> Sums {
    let mut sums = Sums::default();
    if let Some(before) = before {
        sums.add(standing(before), -1);
    }
    sums.add(standing(after), 1);

    let team = team(after);
    let mut happened = |series, times| sums.add(Counter::of(series, &[after.priority.as_str(), &team]), times);
    let is_resolved = after.resolved_at.is_some() && before.is_none_or(|before| before.resolved_at.is_none());
    happened(Series::Created, i64::from(before.is_none()));
    happened(Series::Resolved, i64::from(is_resolved));
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
