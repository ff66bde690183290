//! What the times of tickets count, and what all clocks come to when somebody asks. Pure.

use std::collections::BTreeMap;

use super::clock::{ClockState, SlaClock, TicketState, Times};
use super::policy::{Hours, Target};
use crate::kernel::{Priority, Status};
use crate::tally::domain::backlog::Unsolved;
use crate::tally::domain::{Counter, Series, Standing, Sums};

/// A ticket as the rules see it, and its times.
pub type TimedTicket<'a> = (&'a TicketState, &'a Times);

/// What the tallies gain and lose when a ticket that was `before`, or was not there, is `after`: its clocks, how long
/// things took, and whether it waits to be solved.
pub fn counts(before: Option<TimedTicket<'_>>, after: TimedTicket<'_>) -> Sums {
    let mut sums = clocks(before.map(|(_, times)| times), after.1, after.0.traits.priority);
    if let Some(was) = before.and_then(unsolved) {
        sums.add(was.counter(), -1);
    }
    if let Some(is) = unsolved(after) {
        sums.add(is.counter(), 1);
    }
    sums
}

/// The ticket as whoever counts what there is to do sees it; nothing once it is solved.
fn unsolved((facts, times): TimedTicket<'_>) -> Option<Unsolved> {
    if facts.is_solved() {
        return None;
    }
    let mut clocks = [None; 3];
    for clock in &times.clocks {
        clocks[clock.target as usize] = Some(clock.state());
    }
    let groups = facts.groups(times.policy_id);
    Some(Unsolved { status: facts.status, groups, reported_us: facts.reported_at.micros(), clocks })
}

/// Durations count for the `priority` that the ticket has now, clocks for the one that they were promised for.
fn clocks(before: Option<&Times>, after: &Times, priority: Priority) -> Sums {
    let mut sums = standing(after);
    if let Some(before) = before {
        sums.take(standing(before));
    }
    for clock in &after.clocks {
        let was = before.and_then(|before| before.clocks.iter().find(|was| was.target == clock.target));
        if clock.met_at().is_some_and(|at| was.and_then(SlaClock::met_at) != Some(at)) {
            sums.add(counter(Series::ClocksMet, clock.target, clock.pledge.priority), 1);
        }
    }

    let (timeline, measured) = (&after.timeline, &after.measured);
    let mut observe = |series, hours: Hours, seconds: Option<i64>| {
        if let Some(seconds) = seconds {
            sums.observe(series, &[priority.as_str(), hours.as_str()], seconds);
        }
    };
    let started_at =
        timeline.started_at().filter(|_| before.is_none_or(|before| before.timeline.started_at().is_none()));
    if let Some(at) = started_at {
        let waited_s = (at.micros() - timeline.reported_at.micros()).max(0) / 1_000_000;
        observe(Series::Response, Hours::Calendar, Some(waited_s));
        observe(Series::Response, Hours::Business, measured.response_business_s);
    }
    if resolutions(after) > before.map_or(0, resolutions) {
        observe(Series::Service, Hours::Calendar, measured.service_s);
        observe(Series::Service, Hours::Business, measured.service_business_s);
    }
    sums
}

/// How often a ticket was solved.
pub fn resolutions(times: &Times) -> usize {
    times.timeline.spans.iter().filter(|(status, _)| *status == Status::Resolved).count()
}

fn counter(series: Series, target: Target, priority: Priority) -> Counter {
    Counter::of(series, &[target.as_str(), priority.as_str()])
}

/// Where the clocks stand as they are written down.
fn standing(times: &Times) -> Sums {
    let mut sums = Sums::default();
    for clock in &times.clocks {
        let standing = match clock.state() {
            ClockState::Running => Some(Standing::Running),
            ClockState::Paused => Some(Standing::Paused),
            ClockState::Breached if times.timeline.end(clock.target).is_none() => Some(Standing::Breached),
            ClockState::Met | ClockState::Breached => None,
        };
        if let Some(standing) = standing {
            sums.add(Counter::of(Series::Clocks, &[clock.target.as_str(), standing.as_str()]), 1);
        }
        if clock.state() == ClockState::Breached {
            sums.add(counter(Series::ClocksBreached, clock.target, clock.pledge.priority), 1);
        }
    }
    sums
}

/// What all clocks come to at an instant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// How many clocks have been breached so far, ended since or not.
    pub breached: BTreeMap<(Target, Priority), i64>,
    /// How many clocks that have not ended stand where: `running`, `paused` or `breached`.
    pub clocks: BTreeMap<(Target, ClockState), i64>,
}

impl Board {
    /// What the tallies say, and `lapsed`: the clocks that time has broken since it was last written down, seen in the
    /// same snapshot.
    pub fn of(sums: &Sums, lapsed: &BTreeMap<(Target, Priority), i64>) -> Self {
        let mut all: BTreeMap<(&str, Vec<String>), i64> = BTreeMap::new();
        for (counter, n) in sums.iter() {
            *all.entry((counter.series.as_str(), counter.values())).or_default() += n;
        }
        let sum = |series: Series, target: Target, value: &str| {
            all.get(&(series.as_str(), vec![target.to_string(), value.to_owned()])).copied().unwrap_or(0)
        };
        let mut board = Self { breached: BTreeMap::new(), clocks: BTreeMap::new() };
        for target in Target::ALL.iter().copied() {
            let mut lapsed_of_target = 0;
            for priority in Priority::ALL.iter().copied() {
                let lapsed = lapsed.get(&(target, priority)).copied().unwrap_or(0);
                let written = sum(Series::ClocksBreached, target, priority.as_str());
                board.breached.insert((target, priority), written + lapsed);
                lapsed_of_target += lapsed;
            }
            let written = |standing: Standing| sum(Series::Clocks, target, standing.as_str());
            board.clocks.insert((target, ClockState::Running), written(Standing::Running) - lapsed_of_target);
            board.clocks.insert((target, ClockState::Paused), written(Standing::Paused));
            board.clocks.insert((target, ClockState::Breached), written(Standing::Breached) + lapsed_of_target);
        }
        board
    }
}

#[cfg(test)]
mod tests;
