//! Facts about tickets, and the figures that they add up to. Pure; the order in which facts come makes no difference.

use std::collections::BTreeMap;

use crate::kernel::{Currency, FieldError, Instant, Problem};
use crate::tally::domain::cells::{Counts, Durations, Figures};
use crate::tally::domain::facts::{Axis, AxisKey, Fact, GroupBy};
use crate::tally::domain::sketch::Spread;

/// How many groups an answer has at most.
pub const MOST_GROUPS: usize = 1_000;
/// How many groups there may be of which the largest are chosen: so many are in memory.
pub const MOST_READ: usize = 20_000;
/// How many points the series of an answer have at most, all together: each is about 1,200 bytes of JSON.
pub const MOST_POINTS: usize = 4_000;

/// A group: one key for each thing that is grouped by, in that order.
pub type GroupKey = Vec<AxisKey>;

/// The groups of a ticket, or of a fact, of which `keys` tells the keys on an axis: one for each combination.
pub fn combined(by: &[GroupBy], keys: impl Fn(Axis) -> Vec<AxisKey>) -> Vec<GroupKey> {
    if by.is_empty() {
        return Vec::new();
    }
    by.iter().fold(vec![Vec::new()], |groups, by| {
        let keys = keys(Some(*by));
        groups
            .iter()
            .flat_map(|group| keys.iter().map(move |key| [group.as_slice(), std::slice::from_ref(key)].concat()))
            .collect()
    })
}

/// Makes sure that groups are not too many to choose the largest of them.
///
/// # Errors
/// `invalid_query` when there are more than [`MOST_READ`].
pub fn bounded<T>(groups: &BTreeMap<GroupKey, T>) -> Result<(), Problem> {
    if groups.len() <= MOST_READ {
        return Ok(());
    }
    let detail = format!("makes more than {MOST_READ} groups: add a filter, or ask for less time");
    Err(Problem::invalid_query(vec![FieldError::new("group_by", "too_many", detail).with("max", MOST_READ)]))
}

/// The mean of durations, in seconds, rounded half up to a thousandth.
pub fn mean_s(spread: &Spread) -> Option<f64> {
    (spread.count > 0).then(|| decimal(spread.sum_s.into(), spread.count.into(), 1_000))
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

/// The figures of each step of a window. A step in which nothing happened may have none.
pub type Steps = BTreeMap<usize, Figures>;

/// Figures by step and by group.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    edges: Vec<Instant>,
    /// Of all that is meant.
    pub total: Steps,
    /// Of each group in which anything happened.
    pub groups: BTreeMap<GroupKey, Steps>,
}

impl Report {
    /// An empty one, of the steps between `edges`, which are in order.
    pub fn new(edges: Vec<Instant>) -> Self {
        Self { edges, ..Self::default() }
    }

    /// Its steps: from one instant on, and until just before another one.
    pub fn steps(&self) -> impl Iterator<Item = (Instant, Instant)> {
        self.edges.windows(2).map(|edge| (edge[0], edge[1]))
    }

    /// Takes a fact that is in these groups. What is before the first edge or not before the last one is left out.
    pub fn add(&mut self, fact: &Fact, groups: &[GroupKey]) {
        let behind = self.edges.partition_point(|edge| *edge <= fact.at());
        if behind > 0 && behind < self.edges.len() {
            self.add_to(behind - 1, fact, groups, 1);
        }
    }

    /// Takes a fact `sign` times for a step.
    pub fn add_to(&mut self, step: usize, fact: &Fact, groups: &[GroupKey], sign: i64) {
        let n = sign * i64::from(fact.n);
        self.total.entry(step).or_default().add(&fact.what, n);
        for group in groups {
            self.group(group, step).add(&fact.what, n);
        }
    }

    /// Takes figures of a group, or of all, `sign` times for a step.
    pub fn merge(&mut self, step: usize, group: Option<&GroupKey>, figures: &Figures, sign: i64) {
        match group {
            Some(group) => self.group(group, step).merge(figures, sign),
            None => self.total.entry(step).or_default().merge(figures, sign),
        }
    }

    fn group(&mut self, group: &GroupKey, step: usize) -> &mut Figures {
        self.groups.entry(group.clone()).or_default().entry(step).or_default()
    }

    /// Keeps the `most` largest groups in which anything happened, by times that tickets were opened and solved, and
    /// then by work. Says whether any more had to go.
    pub fn keep_largest(&mut self, most: usize) -> bool {
        let happened = |figures: &Figures| {
            let counts = Counts { unsolved: 0, ..figures.counts.clone() };
            counts != Counts::default() || figures.durations != Durations::default()
        };
        self.groups.retain(|_, steps| steps.values().any(happened));
        let size = |figures: &Figures| (figures.counts.created + figures.counts.resolved, figures.counts.work_s);
        keep_largest(&mut self.groups, most, |steps| {
            steps.values().map(size).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
        })
    }
}

/// Keeps the `most` largest groups. Says whether any had to go.
pub fn keep_largest<T, S: Ord>(groups: &mut BTreeMap<GroupKey, T>, most: usize, size: impl Fn(&T) -> S) -> bool {
    if groups.len() <= most {
        return false;
    }
    let mut ranked: Vec<(std::cmp::Reverse<S>, GroupKey)> =
        groups.iter().map(|(key, group)| (std::cmp::Reverse(size(group)), key.clone())).collect();
    ranked.sort_unstable();
    for (_, key) in ranked.split_off(most) {
        groups.remove(&key);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Money, PrincipalId};
    use crate::tally::domain::facts::tests::any_fact;
    use crate::tally::domain::facts::{What, keys_of};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_fact_is_in_its_step_and_its_groups(
            facts in prop::collection::vec(any_fact(100), 0..50),
            cuts in prop::collection::btree_set(0i64..100, 2..8),
            by in prop::sample::subsequence(GroupBy::ALL, 0..=2),
        ) {
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let mut report = Report::new(cuts.iter().map(|us| Instant::from_micros(*us)).collect());
            let groups = |fact: &Fact| combined(&by, |axis| keys_of(axis, fact));
            facts.iter().for_each(|fact| report.add(fact, &groups(fact)));
            for (step, (from, to)) in report.steps().enumerate() {
                let sum = |group: Option<&GroupKey>| {
                    let mut figures = Figures::default();
                    let within = facts.iter().filter(|fact| from <= fact.at() && fact.at() < to);
                    within.filter(|fact| group.is_none_or(|group| groups(fact).contains(group))).for_each(|fact| figures.add(&fact.what, fact.n.into()));
                    figures
                };
                prop_assert_eq!(report.total.get(&step).cloned().unwrap_or_default(), sum(None));
                for (group, steps) in &report.groups {
                    prop_assert_eq!(group.len(), by.len());
                    prop_assert_eq!(steps.get(&step).cloned().unwrap_or_default(), sum(Some(group)));
                }
            }
            prop_assert!(report.total.keys().all(|step| *step < cuts.len() - 1));
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
        let solved = What::Resolved { is_first_contact: true, service: None, resolution: None };
        let worked = |cost| What::Worked { worker: PrincipalId(uuid::Uuid::nil()), work_s: 1, cost };
        let two = [solved, solved, worked(eur(5)), worked(None)];
        let sum = |facts: &[What]| {
            let mut figures = Figures::default();
            facts.iter().for_each(|what| figures.add(what, 1));
            figures
        };
        let told = |facts: &[What]| costs(&sum(facts).counts).map(|(_, total, each)| (total, each)).collect::<Vec<_>>();
        assert_eq!((told(&two), told(&two[2..])), (vec![(5, Some(3))], vec![(5, None)]));
        assert_eq!(mean_s(&Spread::default()), None);
        assert_eq!(mean_s(&Spread { count: 2_000, sum_s: 1, ..Spread::default() }), Some(0.001));
    }

    #[test]
    fn the_largest_groups_are_kept() {
        let group = |i: usize| vec![AxisKey::Word(format!("{i}"))];
        let mut groups: BTreeMap<GroupKey, i64> = (0..5).map(|i| (group(i), [3, 9, 3, 0, 9][i])).collect();
        assert!(!keep_largest(&mut groups, 5, |size| *size));
        assert!(keep_largest(&mut groups, 3, |size| *size));
        assert_eq!(groups.values().copied().collect::<Vec<_>>(), [3, 9, 9]);
        assert!(groups.contains_key(&group(0)));
    }
}
