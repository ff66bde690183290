//! Cells: what the facts of an hour, a day or a month come to, and which of them a window of time is made of. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::facts::{Axis, Fact, Took, What, axes, keys_of};
use super::sketch::Sketch;
use crate::kernel::words::words;
use crate::kernel::{Currency, Instant, Target};

const HOUR_US: i64 = 3_600_000_000;

/// The version in which cells and changes are written: a program that writes them otherwise has a higher one.
pub const FORMAT: i32 = 3;

words! {
    /// How long a cell is, by UTC.
    pub enum Level {
        /// An hour.
        Hour = "hour",
        /// A day.
        Day = "day",
        /// A calendar month.
        Month = "month",
    }
}

/// The hour that an instant is in: hours since 1970.
pub fn hour_of(at: Instant) -> i64 {
    at.micros().div_euclid(HOUR_US)
}

/// When an hour begins.
pub fn start_of(hour: i64) -> Instant {
    Instant::from_micros(hour.saturating_mul(HOUR_US))
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

fn date(hour: i64) -> Date {
    EPOCH.checked_add(jiff::Span::new().try_days(hour.div_euclid(24)).unwrap_or_default()).unwrap_or(Date::MAX)
}

fn hour(date: Date) -> i64 {
    24 * date.since(EPOCH).map_or(0, |span| i64::from(span.get_days()))
}

impl Level {
    /// The next shorter one.
    pub fn shorter(self) -> Option<Self> {
        match self {
            Level::Hour => None,
            Level::Day => Some(Level::Hour),
            Level::Month => Some(Level::Day),
        }
    }

    /// The hour in which the cell begins that `at` is in.
    pub fn floor(self, at: Instant) -> i64 {
        match self {
            Level::Hour => hour_of(at),
            Level::Day => hour_of(at).div_euclid(24) * 24,
            Level::Month => hour(date(hour_of(at)).first_of_month()),
        }
    }

    /// The hour in which the cell after that of `start` begins.
    pub fn next(self, start: i64) -> i64 {
        match self {
            Level::Hour => start + 1,
            Level::Day => start + 24,
            Level::Month => hour(date(start).last_of_month()) + 24,
        }
    }

    /// The hour nearest to `at` in which a cell begins.
    fn nearest(self, at: Instant) -> i64 {
        self.nearest_before(at, Instant::NEVER)
    }

    /// The same, where what is after `now` is no way.
    fn nearest_before(self, at: Instant, now: Instant) -> i64 {
        let before = self.floor(at);
        let after = self.next(before);
        let end = start_of(after).min(now.max(at));
        let is_late = at.micros() - start_of(before).micros() > end.micros() - at.micros();
        if is_late { after } else { before }
    }
}

/// What a window is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The cell that begins in this hour.
    Cell(Level, i64),
    /// From an instant on and until just before another one, at most half an hour later or after now: its facts are
    /// read one by one.
    Edge(Instant, Instant),
}

/// The pieces that come to all facts from `from` on and before `to`: each is added or, at -1, taken away. After `now`
/// hardly any has happened: what ends in the hour of now takes all of its cell, however much there is in it.
pub fn cover(from: Instant, to: Instant, now: Instant) -> Vec<(i64, Piece)> {
    fit(from.max(Instant::EPOCH), to, now, Some(Level::Month))
}

fn fit(from: Instant, to: Instant, now: Instant, level: Option<Level>) -> Vec<(i64, Piece)> {
    if from >= to {
        return Vec::new();
    }
    let Some(level) = level else { return vec![(1, Piece::Edge(from, to))] };
    let first = level.nearest(from);
    let behind = match level {
        Level::Hour if now.micros() - to.micros() < HOUR_US => level.nearest_before(to, now),
        _ => level.nearest(to),
    };
    if first >= behind {
        return fit(from, to, now, level.shorter());
    }
    let starts = std::iter::successors(Some(first), |start| Some(level.next(*start)));
    let mut pieces: Vec<_> =
        starts.take_while(|start| *start < behind).map(|start| (1, Piece::Cell(level, start))).collect();
    for (from, to) in [(from, start_of(first)), (start_of(behind), to)] {
        let (from, to, sign) = if from <= to { (from, to, 1) } else { (to, from, -1) };
        pieces.extend(fit(from, to, now, level.shorter()).into_iter().map(|(one, piece)| (sign * one, piece)));
    }
    pieces
}

/// A duration that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DurationKind {
    /// From the report to the beginning of work.
    Response,
    /// From the report to the first answer.
    FirstReply,
    /// The time in `open`.
    Service,
    /// From the report to the solution.
    Resolution,
}

/// How many durations there are: four, each in calendar and in business hours.
const DURATIONS: usize = 8;

/// What can be counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Times that a ticket was opened.
    pub created: i64,
    /// Times that one was solved.
    pub resolved: i64,
    /// Times that one came back.
    pub reopened: i64,
    /// Of the times that one was solved, those at first contact.
    pub first_contact: i64,
    /// By how many more tickets there are that are not solved.
    pub unsolved: i64,
    /// Promises that were kept, by target.
    pub met: [i64; 3],
    /// Promises that were broken, by target.
    pub breached: [i64; 3],
    /// Work, in seconds.
    pub work_s: i64,
    /// As much of it as has no rate, in seconds.
    pub unrated_work_s: i64,
    /// What the rest of it cost.
    pub costs: BTreeMap<Currency, Costs>,
    /// Of the times that one was solved, those by the end of its alert.
    pub by_alert: i64,
}

/// Money that work cost, in one currency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Costs {
    /// In minor units.
    pub minor: i128,
    /// How many time entries it is from: a currency without any is not there.
    pub entries: i64,
}

impl Counts {
    /// Adds `n` times what happened.
    fn add(&mut self, what: &What, n: i64) {
        match what {
            What::Created => {
                self.created += n;
                self.unsolved += n;
            }
            What::Entered => self.unsolved += n,
            What::Left => self.unsolved -= n,
            What::Started(_) | What::Replied(_) => {}
            What::Resolved { is_first_contact, .. } => {
                self.resolved += n;
                self.unsolved -= n;
                self.first_contact += n * i64::from(*is_first_contact);
            }
            What::ResolvedByAlert { .. } => {
                self.resolved += n;
                self.unsolved -= n;
                self.by_alert += n;
            }
            What::Reopened => {
                self.reopened += n;
                self.unsolved += n;
            }
            What::Met(target) => self.met[*target as usize] += n,
            What::Breached(target) => self.breached[*target as usize] += n,
            What::Worked { work_s, cost, .. } => {
                self.work_s += n * work_s;
                match cost {
                    None => self.unrated_work_s += n * work_s,
                    Some(cost) => {
                        let more = Costs { minor: i128::from(n) * i128::from(cost.amount_minor), entries: n };
                        self.grow(cost.currency, more);
                    }
                }
            }
        }
    }

    fn grow(&mut self, currency: Currency, more: Costs) {
        let cost = self.costs.entry(currency).or_default();
        cost.minor += more.minor;
        cost.entries += more.entries;
        if *cost == Costs::default() {
            self.costs.remove(&currency);
        }
    }

    /// Adds `sign` times all of `other`.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        // Taken apart whole, so that a new count does not compile until it is merged.
        let Self {
            created,
            resolved,
            reopened,
            first_contact,
            unsolved,
            met,
            breached,
            work_s,
            unrated_work_s,
            costs,
            by_alert,
        } = other;
        self.by_alert += sign * by_alert;
        self.created += sign * created;
        self.resolved += sign * resolved;
        self.reopened += sign * reopened;
        self.first_contact += sign * first_contact;
        self.unsolved += sign * unsolved;
        for target in Target::ALL.iter().map(|target| *target as usize) {
            self.met[target] += sign * met[target];
            self.breached[target] += sign * breached[target];
        }
        self.work_s += sign * work_s;
        self.unrated_work_s += sign * unrated_work_s;
        for (currency, Costs { minor, entries }) in costs {
            self.grow(*currency, Costs { minor: i128::from(sign) * minor, entries: sign * entries });
        }
    }
}

/// How long things took: by [`DurationKind`], in calendar and in business hours.
pub type Durations = [Sketch; DURATIONS];

/// What facts come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What can be counted.
    pub counts: Counts,
    /// How long things took.
    pub durations: Durations,
}

impl Figures {
    /// Adds `n` times what happened.
    pub fn add(&mut self, what: &What, n: i64) {
        self.counts.add(what, n);
        match what {
            What::Started(took) => self.took(DurationKind::Response, *took, n),
            What::Replied(took) => self.took(DurationKind::FirstReply, *took, n),
            What::Resolved { service, resolution, .. } => {
                self.took(DurationKind::Service, *service, n);
                self.took(DurationKind::Resolution, *resolution, n);
            }
            // Nobody worked on it: how long that took tells nothing of those who work.
            What::ResolvedByAlert { .. }
            | What::Created
            | What::Entered
            | What::Left
            | What::Reopened
            | What::Met(_)
            | What::Breached(_)
            | What::Worked { .. } => {}
        }
    }

    fn took(&mut self, kind: DurationKind, took: Option<Took>, n: i64) {
        if let Some(Took { calendar_s, business_s }) = took {
            self.durations[kind as usize * 2].add(calendar_s, n);
            self.durations[kind as usize * 2 + 1].add(business_s, n);
        }
    }

    /// Adds `sign` times all of `other`.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        self.counts.merge(&other.counts, sign);
        self.durations.iter_mut().zip(&other.durations).for_each(|(sketch, other)| sketch.merge(other, sign));
    }

    /// The durations of a kind, in calendar and in business hours.
    pub fn durations(&self, kind: DurationKind) -> [&Sketch; 2] {
        [&self.durations[kind as usize * 2], &self.durations[kind as usize * 2 + 1]]
    }
}

/// Which cell: its axis, its length, the hour in which it begins, and its group on that axis.
pub type CellKey = (Axis, Level, i64, String);

/// Adds a fact to all cells that it is in.
pub fn sort_into_cells(fact: &Fact, cells: &mut BTreeMap<CellKey, Figures>) {
    for axis in axes() {
        for key in keys_of(axis, fact) {
            for level in Level::ALL {
                let cell = (axis, *level, level.floor(fact.at()), key.to_string());
                cells.entry(cell).or_default().add(&fact.what, fact.n.into());
            }
        }
    }
}

#[cfg(test)]
mod tests;
