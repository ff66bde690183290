//! Facts about tickets, and the figures that they add up to. Pure; the order in which facts come makes no difference.

use std::collections::BTreeMap;

use crate::kernel::words::words;
use crate::kernel::{Currency, Instant, Priority, Status};
use crate::sla::domain::clock::ClockState;
use crate::sla::domain::policy::Target;
use crate::tally::domain::cells::{Axis, Counts, Figures, Heap, Spread};
use crate::tally::domain::facts::What;

/// How many groups an answer has at most.
pub const MOST_GROUPS: usize = 1_000;
/// How many points the series of an answer have at most, all together: each is about 1,200 bytes of JSON.
pub const MOST_POINTS: usize = 4_000;
/// Where one age of a ticket ends and the next one begins, in seconds.
pub const AGES_S: [i64; 7] = [0, 3_600, 14_400, 86_400, 259_200, 604_800, 2_592_000];

words! {
    /// What groups are made of: the ticket as it is now.
    pub enum GroupBy {
        /// The queue that it is in.
        Team = "team",
        /// How urgent it is.
        Priority = "priority",
        /// What kind of thing it is.
        Type = "type",
        /// How it was reported.
        Channel = "channel",
        /// Who works on it.
        Assignee = "assignee",
        /// Each of its tags.
        Tag = "tag",
        /// The SLA policy that it has.
        Policy = "policy",
    }
}

impl GroupBy {
    /// The axis that figures are kept by, if they are.
    pub fn axis(self) -> Option<Axis> {
        match self {
            GroupBy::Team => Some(Axis::Team),
            GroupBy::Priority => Some(Axis::Priority),
            GroupBy::Type => Some(Axis::Type),
            GroupBy::Channel => Some(Axis::Channel),
            GroupBy::Policy => Some(Axis::Policy),
            GroupBy::Assignee | GroupBy::Tag => None,
        }
    }
}

/// The mean of a sample, in seconds, rounded half up to a thousandth.
pub fn mean_s(spread: &Spread) -> Option<f64> {
    (spread.count > 0).then(|| decimal(spread.sum, spread.count.into(), 1_000))
}

/// What each currency comes to, and to how much a solved ticket, rounded half up to a minor unit.
pub fn costs(counts: &Counts) -> impl Iterator<Item = (Currency, i64, Option<i64>)> {
    counts.costs.iter().map(|(currency, cost)| {
        let minor = i64::try_from(cost.minor).unwrap_or(i64::MAX);
        let each = (counts.resolved > 0).then(|| {
            let (minor, tickets) = (i128::from(minor), i128::from(counts.resolved));
            i64::try_from((2 * minor + tickets).div_euclid(2 * tickets)).unwrap_or(i64::MAX)
        });
        (*currency, minor, each)
    })
}

/// `part / whole`, rounded half up to a millionth; nothing of nothing.
pub fn rate(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| decimal(part.into(), whole.into(), 1_000_000))
}

/// `a / b` in whole parts of 1, `scale` of them, rounded half up: the same double on every machine.
fn decimal(a: i128, b: i128, scale: i32) -> f64 {
    let parts = (2 * a * i128::from(scale) + b).div_euclid(2 * b);
    // Figures are far below 2^53, which a double holds exactly, and one division is rounded the same everywhere.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let parts = parts as f64;
    parts / f64::from(scale)
}

pub use crate::tally::domain::cells::Key;

/// The figures of each step of a window.
pub type Steps = BTreeMap<usize, Figures>;

/// Facts by step and by group.
#[derive(Debug, Clone)]
pub struct Sheet {
    edges: Vec<Instant>,
    /// Of all tickets. A step without any fact has none.
    pub total: BTreeMap<usize, Heap>,
    /// Of each group that has any fact.
    pub groups: BTreeMap<Key, BTreeMap<usize, Heap>>,
}

impl Sheet {
    /// An empty sheet of steps between `edges`, which are in order.
    pub fn new(edges: Vec<Instant>) -> Self {
        Self { edges, total: BTreeMap::new(), groups: BTreeMap::new() }
    }

    /// Takes `n` times a fact of `at` about a ticket in these groups. What is before the first edge or not before the last
    /// one is left out.
    pub fn add(&mut self, at: Instant, keys: &[Key], what: &What, n: i64) {
        let behind = self.edges.partition_point(|edge| *edge <= at);
        if behind > 0 && behind < self.edges.len() {
            self.change(behind - 1, keys, |heap| heap.add(what, n));
        }
    }

    /// Takes all facts of a step about tickets in these groups.
    pub fn merge(&mut self, step: usize, keys: &[Key], facts: &Heap) {
        self.change(step, keys, |heap| heap.merge(facts.clone()));
    }

    fn change(&mut self, step: usize, keys: &[Key], change: impl Fn(&mut Heap)) {
        change(self.total.entry(step).or_default());
        for key in keys {
            let steps = match self.groups.get_mut(key) {
                Some(steps) => steps,
                None => self.groups.entry(key.clone()).or_default(),
            };
            change(steps.entry(step).or_default());
        }
    }

    /// Takes away what is of a step of a group, or of all tickets.
    pub fn take(&mut self, key: Option<&Key>, step: usize) -> Option<Heap> {
        match key {
            Some(key) => self.groups.get_mut(key)?.remove(&step),
            None => self.total.remove(&step),
        }
    }

    /// What all of it comes to.
    pub fn told(self) -> Report {
        let mut report = Report::default();
        self.tell(&mut report);
        report
    }

    /// Tells all that is not taken away.
    pub fn tell(self, report: &mut Report) {
        fn tell(heaps: BTreeMap<usize, Heap>, steps: &mut Steps) {
            steps.extend(heaps.into_iter().map(|(step, heap)| (step, heap.told())));
        }
        tell(self.total, &mut report.total);
        for (key, heaps) in self.groups {
            tell(heaps, report.groups.entry(key).or_default());
        }
    }
}

/// Figures by step and by group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Of all tickets. A step without any fact may have none.
    pub total: Steps,
    /// Of each group that has any fact.
    pub groups: BTreeMap<Key, Steps>,
}

impl Report {
    /// Keeps the `most` largest groups that have anything to tell, by tickets opened and solved. Says whether any more had
    /// to go.
    pub fn keep_largest(&mut self, most: usize) -> bool {
        self.groups.retain(|_, steps| steps.values().any(|figures| *figures != Figures::default()));
        let size = |figures: &Figures| figures.counts.created + figures.counts.resolved;
        keep_largest(&mut self.groups, most, |steps| steps.values().map(size).sum())
    }
}

/// Keeps the `most` largest groups. Says whether any had to go.
pub fn keep_largest<T>(groups: &mut BTreeMap<Key, T>, most: usize, size: impl Fn(&T) -> i64) -> bool {
    if groups.len() <= most {
        return false;
    }
    let mut ranked: Vec<(std::cmp::Reverse<i64>, Key)> =
        groups.iter().map(|(key, group)| (std::cmp::Reverse(size(group)), key.clone())).collect();
    ranked.sort_unstable();
    for (_, key) in ranked.split_off(most) {
        groups.remove(&key);
    }
    true
}

/// A ticket that is not solved, as far as the backlog goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// The zero of its clocks.
    pub reported_at: Instant,
    /// Whether somebody works on it.
    pub assigned: bool,
    /// How its clocks stand.
    pub clocks: Vec<(Target, ClockState)>,
    /// Whether a clock that runs is due soon.
    pub due: bool,
}

/// How many clocks are in each state.
pub type States = BTreeMap<ClockState, i64>;

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
    pub clocks: [States; 3],
}

impl Backlog {
    /// Takes one more ticket, as it is at `now`.
    pub fn add(&mut self, ticket: &Waiting, now: Instant) {
        let age_s = (now.micros() - ticket.reported_at.micros()).max(0) / 1_000_000;
        self.open += 1;
        *self.by_status.entry(ticket.status).or_default() += 1;
        *self.by_priority.entry(ticket.priority).or_default() += 1;
        self.by_age[AGES_S.partition_point(|from_s| *from_s <= age_s).max(1) - 1] += 1;
        self.oldest_reported_at =
            Some(self.oldest_reported_at.map_or(ticket.reported_at, |at| at.min(ticket.reported_at)));
        self.unassigned += i64::from(!ticket.assigned);
        self.breached += i64::from(ticket.clocks.iter().any(|(_, state)| *state == ClockState::Breached));
        self.due_within += i64::from(ticket.due);
        for (target, state) in &ticket.clocks {
            *self.clocks[*target as usize].entry(*state).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Money;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_fact_is_in_its_step_and_its_groups(
            facts in prop::collection::vec((0i64..100, prop::collection::btree_set("[abc]", 0..3)), 0..50),
            cuts in prop::collection::btree_set(0i64..100, 2..8),
        ) {
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let mut sheet = Sheet::new(cuts.iter().map(|us| Instant::from_micros(*us)).collect());
            for (at, keys) in &facts {
                let keys: Vec<Key> = keys.iter().cloned().map(Key::Word).collect();
                sheet.add(Instant::from_micros(*at), &keys, &What::Created, 1);
            }
            let sheet = sheet.told();
            for (step, pair) in cuts.windows(2).enumerate() {
                let within = |at: i64| pair[0] <= at && at < pair[1];
                let count = |steps: Option<&Steps>| steps.and_then(|steps| steps.get(&step)).map_or(0, |f| f.counts.created);
                let naive = |key: Option<&str>| facts.iter().filter(|(at, keys)| within(*at) && key.is_none_or(|key| keys.contains(key))).count();
                prop_assert_eq!(count(Some(&sheet.total)), naive(None) as i64);
                for key in ["a", "b", "c"] {
                    prop_assert_eq!(count(sheet.groups.get(&Key::Word(key.into()))), naive(Some(key)) as i64);
                }
            }
            prop_assert!(sheet.total.keys().all(|step| *step < cuts.len() - 1));
        }
    }

    #[test]
    fn halves_are_rounded_up_and_nothing_has_no_rate() {
        assert_eq!(
            (rate(1, 3), rate(2, 3), rate(1, 1), rate(0, 7)),
            (Some(0.333333), Some(0.666667), Some(1.0), Some(0.0))
        );
        assert_eq!((rate(1, 2_000_000), rate(0, 0)), (Some(0.000001), None));
        let eur = |amount_minor| Some(Money { amount_minor, currency: "EUR".parse().expect("a currency") });
        let solved = What::resolved((0, 1), (None, None), (None, None));
        let two = [solved, solved, What::Worked { work_s: 1, cost: eur(5) }, What::Worked { work_s: 1, cost: None }];
        let sum = |facts: &[What]| {
            let mut heap = Heap::default();
            facts.iter().for_each(|what| heap.add(what, 1));
            heap.told()
        };
        let told = |facts: &[What]| costs(&sum(facts).counts).map(|(_, total, each)| (total, each)).collect::<Vec<_>>();
        assert_eq!((told(&two), told(&two[2..])), (vec![(5, Some(3))], vec![(5, None)]));
        assert_eq!(mean_s(&Spread::default()), None);
        assert_eq!(mean_s(&Spread { count: 2_000, sum: 1, ..Spread::default() }), Some(0.001));
    }

    #[test]
    fn the_largest_groups_are_kept() {
        let mut groups: BTreeMap<Key, i64> = (0..5).map(|i| (Key::Word(format!("{i}")), [3, 9, 3, 0, 9][i])).collect();
        assert!(!keep_largest(&mut groups, 5, |size| *size));
        assert!(keep_largest(&mut groups, 3, |size| *size));
        assert_eq!(groups.values().copied().collect::<Vec<_>>(), [3, 9, 9]);
        assert!(groups.contains_key(&Key::Word("0".into())));
    }
}
