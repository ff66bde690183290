//! What a change of a ticket does to its times, and what has happened by it, as far as figures go. Pure.

use super::clock::{ClockState, MOST_STEPS, SlaClock, Times};
use super::tally::{TimedTicket, resolutions};
use crate::kernel::{Code, Instant, Problem, Status};
use crate::tally::domain::Sums;
use crate::tally::domain::facts::{Fact, Took, What};

/// The times of a ticket before and after a change of it.
#[derive(Debug, Clone)]
pub struct ClockChange {
    /// As they are stored; nothing of a new ticket.
    pub before: Option<Times>,
    /// As they are to be stored.
    pub after: Times,
    /// What the counters gain and lose.
    pub counts: Sums,
    /// The last edit of the configuration, if they had not followed all edits before.
    pub caught_up_with: Option<i64>,
}

/// A ticket has changed its status too often to do so once more.
#[derive(Debug, Clone, Copy)]
pub struct TooManySteps;

impl From<TooManySteps> for Problem {
    fn from(_: TooManySteps) -> Self {
        let detail =
            format!("This ticket has changed its status {MOST_STEPS} times. It can only be resolved and closed.");
        Problem::new(Code::Conflict, detail)
    }
}

/// What has happened by a change at `now` of a ticket that was `before`, or was not there, and is `after`: each thing
/// once, for good, about the ticket as it was then. Agents have answered `agent_comments` times in public. Among it is
/// what time has broken before the change.
pub fn happened(
    before: Option<TimedTicket<'_>>,
    after: TimedTicket<'_>,
    agent_comments: i32,
    now: Instant,
) -> Vec<Fact> {
    let (ticket, times) = after;
    let groups = ticket.groups(times.policy_id);
    let mut all = Vec::new();
    let mut add = |at, groups: &_, what| all.push(Fact::new(at, ticket.number, Clone::clone(groups), what));
    let was_groups = before.map(|(ticket, times)| ticket.groups(times.policy_id));
    if let (Some((was, _)), Some(was_groups)) = (before, &was_groups)
        && !was.is_solved()
        && *was_groups != groups
    {
        add(now, was_groups, What::Left);
        add(now, &groups, What::Entered);
    }

    let (timeline, measured) = (&times.timeline, &times.measured);
    let was = before.map(|(_, times)| times);
    let newly = |which: fn(&Times) -> Option<Instant>| which(times).filter(|_| was.and_then(which).is_none());
    if before.is_none() {
        add(now, &groups, What::Created);
    }
    if let Some(at) = newly(|times| times.timeline.started_at()) {
        let took = Took::between(timeline.reported_at, at, measured.response_business_s);
        add(now, &groups, What::Started(took));
    }
    if let Some(at) = newly(|times| times.timeline.first_replied_at) {
        let took = Took::between(timeline.reported_at, at, measured.first_reply_business_s);
        add(now, &groups, What::Replied(took));
    }
    if resolutions(times) > was.map_or(0, resolutions) {
        let resolved = What::Resolved {
            is_first_contact: resolutions(times) == 1 && agent_comments <= 1,
            service: Took::of(measured.service_s, measured.service_business_s),
            resolution: Took::of(measured.resolution_s, measured.resolution_business_s),
        };
        add(now, &groups, resolved);
    }
    if before.is_some_and(|(was, _)| was.status == Status::Resolved) && !ticket.is_solved() {
        add(now, &groups, What::Reopened);
    }
    for clock in &times.clocks {
        let was = was.and_then(|was| was.clocks.iter().find(|was| was.target == clock.target));
        if clock.met_at().is_some_and(|at| was.and_then(SlaClock::met_at) != Some(at)) {
            add(now, &groups, What::Met(clock.target));
        }
        if clock.state() == ClockState::Breached && was.is_none_or(|was| was.state() != ClockState::Breached) {
            let at = clock.breach_at().unwrap_or(now);
            let of_then = was_groups.as_ref().filter(|_| at < now);
            add(at, of_then.unwrap_or(&groups), What::Breached(clock.target));
        }
    }
    all
}
