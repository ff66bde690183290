//! What is counted, and how counts are added up. Pure.

pub mod backlog;
pub mod cells;
pub mod facts;
pub mod sketch;

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::kernel::words::words;

words! {
    /// What is counted.
    pub enum Series {
        /// How many tickets stand where.
        Tickets = "tickets",
        /// How often a ticket was opened.
        Created = "created",
        /// How often one was resolved.
        Resolved = "resolved",
        /// How often one came back after that.
        Reopened = "reopened",
        /// How long it took until work began, in seconds; a histogram.
        Response = "response",
        /// How much work it took, each time a ticket was resolved, in seconds; a histogram.
        Service = "service",
        /// How many clocks stand where, as far as that is written down.
        Clocks = "clocks",
        /// How often a clock ended in time.
        ClocksMet = "clocks_met",
        /// How often a clock was breached, as far as that is written down.
        ClocksBreached = "clocks_breached",
        /// Tickets that are not solved, as a change has noted them: spread when they are folded, see [`backlog`].
        Waiting = "waiting",
    }
}

words! {
    /// What a count is told apart by.
    pub enum Label {
        /// The status of a ticket.
        Status = "status",
        /// The priority of a ticket.
        Priority = "priority",
        /// The team that a ticket is in, by id, or [`NO_TEAM`].
        Team = "team",
        /// What a clock measures.
        Target = "target",
        /// Where a clock stands: a [`Standing`].
        Standing = "standing",
        /// Which hours a duration is measured in.
        Hours = "hours",
        /// The bucket of a histogram: one of [`buckets`], or [`SUM`].
        Le = "le",
    }
}

words! {
    /// Where a clock stands whose end has not come, as it is written down.
    pub enum Standing {
        /// Its end has not come, and time counts.
        Running = "running",
        /// Its end has not come, and time does not count.
        Paused = "paused",
        /// Its end has not come, and it is too late.
        Breached = "breached",
    }
}

/// The team of a ticket that is in none.
pub const NO_TEAM: &str = "none";

/// The bucket of everything above the last bound.
pub const BEYOND: &str = "inf";

/// What stands in place of a bucket for the sum of all that was observed.
pub const SUM: &str = "sum";

/// The bounds of histograms of seconds are powers of two, 2^4 (16 s) to 2^23 (97 days): where native histograms of
/// schema 0 have their bounds too, so that one can be made of the other.
const EXPONENTS: std::ops::RangeInclusive<u32> = 4..=23;

impl Series {
    /// The labels, in the order in which a [`Counter`] has their values.
    pub const fn labels(self) -> &'static [Label] {
        match self {
            Series::Tickets => &[Label::Status, Label::Priority, Label::Team],
            Series::Created | Series::Resolved | Series::Reopened => &[Label::Priority, Label::Team],
            Series::Response | Series::Service => &[Label::Priority, Label::Hours, Label::Le],
            Series::Clocks => &[Label::Target, Label::Standing],
            Series::ClocksMet | Series::ClocksBreached => &[Label::Target, Label::Priority],
            // Not values of labels, but a whole ticket.
            Series::Waiting => &[],
        }
    }
}

/// Whether this version knows the series of this name, of which counters are kept.
pub fn is_known(name: &str) -> bool {
    backlog::is_of_backlog(name)
        || Series::ALL.iter().any(|series| *series != Series::Waiting && series.as_str() == name)
}

/// The buckets of a histogram in their order, each with its upper bound in seconds; the last has none.
pub fn buckets() -> impl Iterator<Item = (Option<i64>, String)> {
    let bounds = EXPONENTS.map(|exponent| 1i64 << exponent);
    bounds.map(|bound| (Some(bound), bound.to_string())).chain([(None, BEYOND.to_owned())])
}

/// The bucket that `seconds` fall into: the first whose bound they do not exceed.
fn bucket(seconds: i64) -> String {
    let fits = |(bound, name): (Option<i64>, String)| bound.is_none_or(|bound| seconds <= bound).then_some(name);
    buckets().find_map(fits).unwrap_or_else(|| BEYOND.to_owned())
}

/// One number: a series, the values of its labels, and a stretch of time. As it is stored, so that an instance can fold
/// what only a newer one understands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Counter {
    /// The word of a [`Series`].
    pub series: String,
    /// The values of its labels, as a JSON array.
    pub labels: String,
    /// Quarters of an hour since 1970, or 0 for what is counted over all time.
    pub quarter: i64,
}

impl Counter {
    /// The counter of `series` over all time with these `values` of its labels, in their order.
    pub fn of(series: Series, values: &[&str]) -> Self {
        debug_assert_eq!(series.labels().len(), values.len(), "a value for each label of {series}");
        Self { series: series.as_str().to_owned(), labels: json!(values).to_string(), quarter: 0 }
    }

    /// The values of the labels.
    pub fn values(&self) -> Vec<String> {
        serde_json::from_str(&self.labels).unwrap_or_default()
    }
}

/// Counters with what is to be added to each, never 0. The order in which sums are added up makes no difference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sums(BTreeMap<Counter, i64>);

impl Sums {
    /// Adds `n` to `counter`.
    pub fn add(&mut self, counter: Counter, n: i64) {
        let sum = self.0.get(&counter).map_or(n, |sum| sum.saturating_add(n));
        if sum == 0 {
            self.0.remove(&counter);
        } else {
            self.0.insert(counter, sum);
        }
    }

    /// Adds an observation of `seconds` to the histogram `series`, whose last label is the bucket.
    pub fn observe(&mut self, series: Series, values: &[&str], seconds: i64) {
        let with = |last: &str| Counter::of(series, &[values, &[last]].concat());
        self.add(with(&bucket(seconds)), 1);
        self.add(with(SUM), seconds);
    }

    /// Takes away all of `other`.
    pub fn take(&mut self, other: Sums) {
        other.0.into_iter().for_each(|(counter, n)| self.add(counter, -n));
    }

    /// What is counted in `series`.
    #[must_use]
    pub fn of_these(mut self, series: &[Series]) -> Self {
        self.extract(|counter| series.iter().any(|series| series.as_str() == counter.series))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Sums) {
        other.0.into_iter().for_each(|(counter, n)| self.add(counter, n));
    }

    /// Takes out the counters of which this holds.
    #[must_use]
    pub fn extract(&mut self, holds: impl Fn(&Counter) -> bool) -> Self {
        let (out, rest) = std::mem::take(&mut self.0).into_iter().partition(|(counter, _)| holds(counter));
        self.0 = rest;
        Self(out)
    }

    /// Every counter that is not 0, in a total order.
    pub fn iter(&self) -> impl Iterator<Item = (&Counter, i64)> {
        self.0.iter().map(|(counter, n)| (counter, *n))
    }

    /// How many counters there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is nothing to add.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As one row has them: `[[series, labels, quarter, n], …]`.
    pub fn to_json(&self) -> Value {
        self.0.iter().map(|(Counter { series, labels, quarter }, n)| json!([series, labels, quarter, n])).collect()
    }

    /// As [`Sums::to_json`] wrote them.
    ///
    /// # Errors
    /// When they are something else.
    pub fn from_json(value: &Value) -> Result<Self, serde_json::Error> {
        let all = Vec::<(String, String, i64, i64)>::deserialize(value)?;
        Ok(all.into_iter().map(|(series, labels, quarter, n)| (Counter { series, labels, quarter }, n)).collect())
    }
}

impl FromIterator<(Counter, i64)> for Sums {
    fn from_iter<I: IntoIterator<Item = (Counter, i64)>>(counters: I) -> Self {
        let mut sums = Self::default();
        counters.into_iter().for_each(|(counter, n)| sums.add(counter, n));
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_counter() -> impl Strategy<Value = Counter> {
        let values = prop::collection::vec(".{0,6}", 2);
        (prop::sample::select(vec![Series::Created, Series::Resolved]), values, 0i64..3).prop_map(
            |(series, values, quarter)| {
                let values: Vec<&str> = values.iter().map(String::as_str).collect();
                Counter { quarter, ..Counter::of(series, &values) }
            },
        )
    }

    /// Few counters, so that changes meet in them.
    fn any_changes() -> impl Strategy<Value = Vec<Sums>> {
        let few = prop::collection::vec(any_counter(), 1..5);
        few.prop_flat_map(|counters| {
            let one = prop::collection::vec((prop::sample::select(counters), -3i64..4), 0..4);
            let sums = one.prop_map(|adds| {
                let mut sums = Sums::default();
                adds.into_iter().for_each(|(counter, n)| sums.add(counter, n));
                sums
            });
            prop::collection::vec(sums, 0..20)
        })
    }

    proptest! {
        #[test]
        fn what_is_read_does_not_depend_on_when_it_is_folded(changes in any_changes(), folds in prop::collection::vec(0usize..8, 0..10)) {
            let mut all = Sums::default();
            changes.iter().cloned().for_each(|sums| all.merge(sums));
            let (mut folded, mut rest) = (Sums::default(), changes);
            for take in folds {
                // Taken from the front or from the back: their order makes no difference either.
                let take = take.min(rest.len());
                let batch: Vec<Sums> = if take % 2 == 0 { rest.drain(..take).collect() } else { rest.split_off(rest.len() - take) };
                let mut sum = Sums::default();
                batch.into_iter().for_each(|sums| sum.merge(sums));
                folded.merge(sum);
                let mut read = folded.clone();
                rest.iter().cloned().for_each(|sums| read.merge(sums));
                prop_assert_eq!(&read, &all);
            }
        }

        #[test]
        fn what_is_written_is_read_back(changes in any_changes()) {
            for sums in changes {
                prop_assert!(sums.iter().all(|(_, n)| n != 0));
                prop_assert_eq!(Sums::from_json(&sums.to_json()).expect("its own"), sums);
            }
        }

        #[test]
        fn different_labels_are_different_counters(a in prop::collection::vec(".{0,4}", 2), b in prop::collection::vec(".{0,4}", 2)) {
            let counter = |values: &[String]| Counter::of(Series::Created, &[values[0].as_str(), values[1].as_str()]);
            prop_assert_eq!(counter(&a).values(), a.clone());
            prop_assert_eq!(counter(&a) == counter(&b), a == b);
        }

        #[test]
        fn an_observation_is_in_the_first_bucket_that_holds_it(seconds in prop_oneof![0i64..100, 0i64..20_000_000]) {
            let name = bucket(seconds);
            let (mut below, mut found) = (-1, false);
            for (bound, bucket) in buckets() {
                if bucket == name {
                    prop_assert!(seconds > below && bound.is_none_or(|bound| seconds <= bound));
                    found = true;
                }
                below = bound.unwrap_or(i64::MAX);
            }
            prop_assert!(found);
        }
    }

    #[test]
    fn the_bounds_are_powers_of_two() {
        let names: Vec<String> = buckets().map(|(_, name)| name).collect();
        assert_eq!(
            (names[0].as_str(), names[19].as_str(), names[20].as_str(), names.len()),
            ("16", "8388608", "inf", 21)
        );
        assert_eq!([0, 16, 17, 8_388_608, 8_388_609].map(bucket), ["16", "16", "32", "8388608", "inf"]);
    }
}
