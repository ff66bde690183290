//! What there is to do, told from tallies of quarters of an hour and from the tickets of those that are only partly over. Pure.

use super::figures::{AGES_S, Backlog, GroupBy, Key};
use crate::kernel::{AnyId, Instant};
use crate::sla::domain::clock::ClockState;
use crate::tally::domain::backlog::{Axis, Stance, StandCell, quarter_of};

/// The axis along which these groups lie.
pub fn axis(group: Option<GroupBy>) -> Axis {
    match group {
        None => Axis::All,
        Some(GroupBy::Team) => Axis::Team,
        Some(GroupBy::Priority) => Axis::Priority,
        Some(GroupBy::Type) => Axis::Type,
        Some(GroupBy::Channel) => Axis::Channel,
        Some(GroupBy::Assignee) => Axis::Assignee,
        Some(GroupBy::Tag) => Axis::Tag,
        Some(GroupBy::Policy) => Axis::Policy,
    }
}

/// The group of this place on `axis`.
pub fn key(axis: Axis, place: Option<String>) -> Option<Key> {
    match (axis, place) {
        (_, None) => Some(Key::None),
        (Axis::Team | Axis::Assignee | Axis::Policy, Some(id)) => id.parse().ok().map(|id| Key::Id(AnyId(id))),
        (_, Some(word)) => Some(Key::Word(word)),
    }
}

/// The place of this group on its axis.
pub fn place(key: &Key) -> Option<String> {
    match key {
        Key::Id(id) => Some(id.to_string()),
        Key::Word(word) => Some(word.clone()),
        Key::None => None,
    }
}

/// The moment of an answer: now, and until when what is due is due soon.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub now: Instant,
    /// The last instant at which a promise may begin to be broken to be due soon.
    pub until: Instant,
}

/// When each promise about a ticket is broken, if nothing happens: response, first reply, solution.
#[derive(Debug, Clone, PartialEq)]
pub struct Due(pub [Option<Instant>; 3]);

impl Moment {
    /// The moment `now` of an answer about what is due within `due_within_s` seconds.
    pub fn new(now: Instant, due_within_s: i64) -> Self {
        // A clock is broken from the microsecond after it was due.
        Self { now, until: Instant::from_micros(now.plus_s(due_within_s).micros() + 1) }
    }

    /// The quarters that are only partly over at `now` or at `until`: tickets that have to do with them are looked at.
    pub fn partly(self) -> (i64, i64) {
        (quarter_of(self.now), quarter_of(self.until))
    }

    /// From which instant on tickets are younger than each age but the first, the youngest first.
    pub fn ages(self) -> impl Iterator<Item = Instant> {
        AGES_S.iter().skip(1).map(move |s| self.now.plus_s(-s))
    }
}

impl Backlog {
    /// Takes `n` tickets that stand like this; every promise that is not kept and not paused as one that runs.
    pub fn stand(&mut self, (_, status, priority, assigned, response, first_reply, service): &StandCell, n: i64) {
        self.open += n;
        *self.by_status.entry(*status).or_default() += n;
        *self.by_priority.entry(*priority).or_default() += n;
        self.unassigned += if *assigned == 0 { n } else { 0 };
        for (states, stance) in self.clocks.iter_mut().zip([response, first_reply, service]) {
            let state = match stance {
                Some(Stance::Open) => ClockState::Running,
                Some(Stance::Paused) => ClockState::Paused,
                Some(Stance::Met) => ClockState::Met,
                None => continue,
            };
            *states.entry(state).or_default() += n;
        }
    }

    /// Sets the ages from how many tickets are `younger` than each age but the first.
    pub fn age(&mut self, younger: [i64; AGES_S.len() - 1]) {
        let mut below = 0;
        for (age, upto) in self.by_age.iter_mut().zip(younger.into_iter().chain([self.open])) {
            *age = upto - below;
            below = upto;
        }
    }

    /// Of the promises about the target of this number that run, `n` are broken.
    pub fn broken(&mut self, target: usize, n: i64) {
        if let Some(states) = self.clocks.get_mut(target).filter(|_| n != 0) {
            *states.entry(ClockState::Running).or_default() -= n;
            *states.entry(ClockState::Breached).or_default() += n;
        }
    }

    /// Takes what no tally tells of a ticket that has to do with the quarters that are partly over.
    pub fn look(&mut self, due: &Due, moment: Moment) {
        let Moment { now, until } = moment;
        let (this, last) = moment.partly();
        for (target, at) in due.0.iter().enumerate() {
            self.broken(target, i64::from(at.is_some_and(|at| quarter_of(at) == this && at <= now)));
        }
        let mut order: Vec<Instant> = due.0.iter().flatten().copied().collect();
        order.sort_unstable();
        let first = order.first().is_some_and(|at| quarter_of(*at) == this && *at <= now);
        self.breached += i64::from(first);
        // Of one ticket, at most one promise is the next one.
        let mut before: Option<Instant> = None;
        for at in order {
            let partly = quarter_of(at) == this
                || quarter_of(at) == last
                || before.is_some_and(|before| quarter_of(before) == this);
            let next = before.is_none_or(|before| before <= now) && now < at && at <= until;
            self.due_within += i64::from(partly && next);
            before = Some(at);
        }
    }
}
