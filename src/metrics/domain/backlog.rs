//! What there is to do: told of tickets one by one, or from counters and the few tickets that those cannot tell of.
//! Pure.

use std::collections::BTreeMap;

use crate::kernel::{ClockState, Instant, Priority, Status};
use crate::tally::domain::backlog::{Stand, Unsolved};

/// Where one age of a ticket ends and the next one begins, in seconds.
pub const AGES_S: [i64; 7] = [0, 3_600, 14_400, 86_400, 259_200, 604_800, 2_592_000];

/// The moment of an answer: now, and until when what is due is due soon.
#[derive(Debug, Clone, Copy)]
pub struct AsOf {
    /// Now.
    pub now: Instant,
    /// The last instant at which a promise may begin to be broken to be due soon.
    pub until: Instant,
}

impl AsOf {
    /// The moment `now` of an answer about what is due within `due_within_s` seconds.
    pub fn new(now: Instant, due_within_s: i64) -> Self {
        // A clock is broken from the microsecond after it was due.
        Self { now, until: Instant::from_micros(now.plus_s(due_within_s).micros() + 1) }
    }

    /// From which instant on tickets are younger than each age but the first, the youngest first.
    pub fn ages(self) -> impl Iterator<Item = Instant> {
        AGES_S.iter().skip(1).map(move |s| self.now.plus_s(-s))
    }
}

/// A ticket with clocks that time has broken, which is not written down, or that are due soon.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// From when on each of its clocks is breached that runs as far as is written down: response, first reply, service.
    pub breach_at: [Option<Instant>; 3],
    /// Whether it is written down that another one of its clocks is breached.
    pub is_breached: bool,
}

/// How many clocks are in each state.
pub type ClockStates = BTreeMap<ClockState, i64>;

/// What there is to do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Backlog {
    /// Tickets that are not solved.
    pub open: i64,
    /// Of them, by where they stand.
    pub by_status: BTreeMap<Status, i64>,
    /// By how urgent they are.
    pub by_priority: BTreeMap<Priority, i64>,
    /// By age, as [`AGES_S`] has them.
    pub by_age: [i64; AGES_S.len()],
    /// When the oldest was reported.
    pub oldest_reported_at: Option<Instant>,
    /// Those that nobody has.
    pub unassigned: i64,
    /// Those with a promise that is broken.
    pub breached: i64,
    /// Those with a promise that is due soon.
    pub due_within: i64,
    /// All promises, by target.
    pub clocks: [ClockStates; 3],
}

impl Backlog {
    /// Takes one more ticket, as it is at `now`: with a clock that runs and is due soon, or without.
    pub fn add(&mut self, ticket: &Unsolved, is_due: bool, now: Instant) {
        self.stand(&ticket.stand(None), 1);
        let age_s = (now.micros() - ticket.reported_us).max(0) / 1_000_000;
        self.by_age[AGES_S.partition_point(|from_s| *from_s <= age_s).max(1) - 1] += 1;
        let reported_at = Instant::from_micros(ticket.reported_us);
        self.oldest_reported_at = Some(self.oldest_reported_at.map_or(reported_at, |at| at.min(reported_at)));
        self.due_within += i64::from(is_due);
    }

    /// Takes `n` tickets that stand like this as far as is written down.
    pub fn stand(&mut self, (_, status, priority, assigned, response, first_reply, service): &Stand, n: i64) {
        let clocks = [response, first_reply, service];
        self.open += n;
        *self.by_status.entry(*status).or_default() += n;
        *self.by_priority.entry(*priority).or_default() += n;
        self.unassigned += if *assigned == 0 { n } else { 0 };
        self.breached += if clocks.contains(&&Some(ClockState::Breached)) { n } else { 0 };
        for (states, state) in self.clocks.iter_mut().zip(clocks) {
            if let Some(state) = state {
                *states.entry(*state).or_default() += n;
            }
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

    /// Takes what is not written down of a ticket that it has: what time has broken by now, and what is due soon.
    pub fn look(&mut self, due: &Due, AsOf { now, until }: AsOf) {
        let is_over = |at: &Option<Instant>| at.is_some_and(|at| at <= now);
        for (states, _) in self.clocks.iter_mut().zip(&due.breach_at).filter(|(_, at)| is_over(at)) {
            *states.entry(ClockState::Running).or_default() -= 1;
            *states.entry(ClockState::Breached).or_default() += 1;
        }
        self.breached += i64::from(!due.is_breached && due.breach_at.iter().any(is_over));
        let is_soon = |at: &Option<Instant>| at.is_some_and(|at| now < at && at <= until);
        self.due_within += i64::from(due.breach_at.iter().any(is_soon));
    }
}
