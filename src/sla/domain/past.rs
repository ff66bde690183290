//! What has happened to a ticket, as far as figures go, and which promises about it were or will be broken. Pure.

use super::clock::{Clock, Times};
use crate::kernel::{Channel, Instant, Money, Priority, TeamId, TicketType};
use crate::tally::domain::facts::{Fact, Keys, Took, What};

/// What figures ask of a ticket besides its times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// The queue that it is in.
    pub team_id: Option<TeamId>,
    /// When it was typed in.
    pub created_at: Instant,
    /// When somebody began to work on it.
    pub started_at: Option<Instant>,
    /// When an agent first answered in public.
    pub first_replied_at: Option<Instant>,
    /// How often it came back after it was solved.
    pub reopen_count: i32,
    /// How many public comments agents have written.
    pub agent_comments: i32,
}

impl Card {
    /// The groups that the ticket is in, with these times.
    pub fn keys(&self, times: &Times) -> Keys {
        let Self { priority, kind, channel, team_id, .. } = *self;
        Keys { priority, kind, channel, team: team_id, policy: times.policy_id }
    }
}

/// Work on a ticket, as far as figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// When it was done.
    pub at: Instant,
    /// How long it took, in seconds.
    pub work_s: i64,
    /// What it cost, if there was a rate.
    pub cost: Option<Money>,
}

impl Work {
    /// The same of a ticket in these groups.
    pub fn fact(&self, keys: Keys) -> Fact {
        Fact { at: self.at, keys, what: What::Worked { work_s: self.work_s, cost: self.cost } }
    }
}

/// What has happened to a ticket: the very facts that its rows tell when they are read.
pub fn facts(card: &Card, times: &Times, work: &[Work]) -> Vec<Fact> {
    let keys = card.keys(times);
    let (reported_at, measured) = (times.timeline.reported_at, &times.measured);
    let mut facts = vec![Fact { at: card.created_at, keys, what: What::Created }];
    let mut happened = |at: Option<Instant>, what: &dyn Fn(Instant) -> What| {
        facts.extend(at.map(|at| Fact { at, keys, what: what(at) }));
    };
    happened(card.started_at, &|at| What::Started(Took::between(reported_at, at, measured.response_business_s)));
    happened(card.first_replied_at, &|at| {
        What::Replied(Took::between(reported_at, at, measured.first_reply_business_s))
    });
    happened(measured.last_resolved_at, &|_| {
        What::resolved(
            (card.reopen_count, card.agent_comments),
            (measured.service_s, measured.service_business_s),
            (measured.resolution_s, measured.resolution_business_s),
        )
    });
    for clock in &times.clocks {
        happened(clock.met_at(), &|_| What::Met(clock.target));
        happened(Clock::breach_at(clock), &|_| What::Breached(clock.target));
    }
    facts.extend(work.iter().map(|work| work.fact(keys)));
    facts
}
