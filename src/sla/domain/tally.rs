//! What the times of tickets count, and what all clocks come to when somebody asks. Pure.

use std::collections::BTreeMap;

use super::clock::{Clock, ClockState, Facts, Progress, Times};
use super::policy::{Hours, Target};
use crate::kernel::{AnyId, Instant, Priority, Status};
use crate::tally::domain::backlog::{Promise, Stance, Waiting};
use crate::tally::domain::{Cell, Series, Standing, Sums, hour_of};

/// A ticket as the rules see it, and its times.
pub type Seen<'a> = (&'a Facts, &'a Times);

/// What the tallies gain and lose when a ticket that was `before`, or was not there, is `after`: its clocks, how long things
/// took, and whether it waits to be solved.
pub fn counts(before: Option<Seen<'_>>, after: Seen<'_>) -> Sums {
    let mut sums = clocks(before.map(|(_, times)| times), after.1, after.0.traits.priority);
    if let Some(was) = before.and_then(waiting) {
        sums.add(was.cell(), -1);
    }
    if let Some(is) = waiting(after) {
        sums.add(is.cell(), 1);
    }
    sums
}

/// The ticket as whoever counts what there is to do sees it; nothing once it is solved.
fn waiting((facts, times): Seen<'_>) -> Option<Waiting> {
    if matches!(facts.status, Status::Resolved | Status::Closed) {
        return None;
    }
    let mut promises = [None; 3];
    for clock in &times.clocks {
        promises[clock.target as usize] = Some(promise(clock));
    }
    let traits = &facts.traits;
    Some(Waiting {
        status: facts.status,
        priority: traits.priority,
        kind: traits.kind,
        channel: traits.channel,
        team: traits.team_id.map(|id| AnyId(id.0)),
        assignee: facts.assignee_id.map(|id| AnyId(id.0)),
        policy: times.policy_id.map(|id| AnyId(id.0)),
        tags: traits.tags.clone(),
        reported_at: facts.reported_at,
        promises,
    })
}

fn promise(clock: &Clock) -> Promise {
    let stance = match clock.progress {
        Progress::Running { .. } | Progress::Breached { .. } => Stance::Open,
        Progress::Paused => Stance::Paused,
        Progress::Met { .. } => Stance::Met,
    };
    (stance, clock.breach_at().map(Instant::micros))
}

/// Durations count for the `priority` that the ticket has now, clocks for the one that they were promised for.
fn clocks(before: Option<&Times>, after: &Times, priority: Priority) -> Sums {
    let mut sums = standing(after);
    if let Some(before) = before {
        sums.take(standing(before));
    }
    for clock in &after.clocks {
        let was = before.and_then(|before| before.clocks.iter().find(|was| was.target == clock.target));
        if clock.met_at().is_some_and(|at| was.and_then(Clock::met_at) != Some(at)) {
            sums.add(cell(Series::ClocksMet, clock.target, clock.pledge.priority), 1);
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

fn resolutions(times: &Times) -> usize {
    times.timeline.spans.iter().filter(|(status, _)| *status == Status::Resolved).count()
}

fn cell(series: Series, target: Target, priority: Priority) -> Cell {
    Cell::of(series, &[target.as_str(), priority.as_str()])
}

/// Where the clocks stand, as far as that does not depend on when one asks: each that is or will be breached counts for
/// the hour in which that is so first.
fn standing(times: &Times) -> Sums {
    let mut sums = Sums::default();
    for clock in &times.clocks {
        let standing = match clock.progress {
            Progress::Running { .. } => Some(Standing::Open),
            Progress::Paused => Some(Standing::Paused),
            Progress::Met { .. } => None,
            Progress::Breached { .. } if times.timeline.end(clock.target).is_some() => Some(Standing::EndedLate),
            Progress::Breached { .. } => Some(Standing::Open),
        };
        if let Some(standing) = standing {
            sums.add(Cell::of(Series::Clocks, &[clock.target.as_str(), standing.as_str()]), 1);
        }
        if let Some(at) = clock.breach_at() {
            sums.add(cell(Series::ClocksBreached, clock.target, clock.pledge.priority).in_hour(hour_of(at)), 1);
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
    /// What the tallies say at `now`. The hour of `now` is not over: `this_hour` are the clocks that were breached in it so
    /// far, seen in the same snapshot as the tallies.
    pub fn at(now: Instant, sums: &Sums, this_hour: &BTreeMap<(Target, Priority), i64>) -> Self {
        let hour = hour_of(now);
        let mut over: BTreeMap<(&str, Vec<String>), i64> = BTreeMap::new();
        for (cell, n) in sums.iter().filter(|(cell, _)| cell.hour < hour) {
            *over.entry((cell.series.as_str(), cell.values())).or_default() += n;
        }
        let sum = |series: Series, target: Target, value: &str| {
            over.get(&(series.as_str(), vec![target.to_string(), value.to_owned()])).copied().unwrap_or(0)
        };
        let mut board = Self { breached: BTreeMap::new(), clocks: BTreeMap::new() };
        for target in Target::ALL.iter().copied() {
            let mut all = 0;
            for priority in Priority::ALL.iter().copied() {
                let before = sum(Series::ClocksBreached, target, priority.as_str());
                let breached = before + this_hour.get(&(target, priority)).copied().unwrap_or(0);
                board.breached.insert((target, priority), breached);
                all += breached;
            }
            let written = |standing: Standing| sum(Series::Clocks, target, standing.as_str());
            let breached = all - written(Standing::EndedLate);
            board.clocks.insert((target, ClockState::Running), written(Standing::Open) - breached);
            board.clocks.insert((target, ClockState::Paused), written(Standing::Paused));
            board.clocks.insert((target, ClockState::Breached), breached);
        }
        board
    }
}

#[cfg(test)]
mod tests;
