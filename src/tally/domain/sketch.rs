//! Durations by how long they were, so that any number of such sketches can be added up and taken away again: a
//! histogram whose buckets are as wide as a small part of what is in them. Pure.
//!
//! After DDSketch (Masson, Rim, Lee, VLDB 2019), with the mapping that is linear between two powers of two, so that
//! buckets have whole seconds for bounds and no rounding of floating point decides anything.

use serde::{Deserialize, Serialize};

/// Up to here each second is a bucket of its own.
const EXACT_S: i64 = 128;
/// How many buckets there are from a power of two to the next one, from [`EXACT_S`] on: what is told of one is its
/// middle, so that it is less than one percent off.
const BUCKETS: i64 = 64;

/// Of how many percent the values are told that are the least which so many percent do not exceed.
pub const PERCENTS: [i64; 5] = [50, 90, 95, 99, 100];

/// How often each duration is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sketch {
    /// What they come to, in seconds; exact.
    sum_s: i64,
    /// Buckets in their order, none of them 0 times.
    buckets: Vec<(u16, i64)>,
}

/// How values are spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many there are.
    pub count: i64,
    /// What they come to, in seconds.
    pub sum_s: i64,
    /// The values of [`PERCENTS`], in seconds, less than one percent off; 0 if there are none.
    pub percentiles_s: [i64; 5],
}

/// The bucket of a duration; what is negative, as after a clock was set back, counts as none.
fn bucket(seconds: i64) -> u16 {
    let place = if seconds < EXACT_S {
        seconds.max(0)
    } else {
        let octave = i64::from(seconds.ilog2());
        EXACT_S + (octave - i64::from(EXACT_S.ilog2())) * BUCKETS + (seconds >> (octave - i64::from(BUCKETS.ilog2())))
            - BUCKETS
    };
    u16::try_from(place).unwrap_or(u16::MAX)
}

/// What is told of the durations in a bucket, in seconds.
fn told_s(bucket: u16) -> i64 {
    let place = i64::from(bucket);
    if place < EXACT_S {
        return place;
    }
    let (octave, step) = ((place - EXACT_S) / BUCKETS, (place - EXACT_S) % BUCKETS);
    let width = 1i64 << (octave + 1).min(56);
    (BUCKETS + step).saturating_mul(width).saturating_add(width / 2)
}

impl Sketch {
    /// Adds a duration `n` times.
    pub fn add(&mut self, seconds: i64, n: i64) {
        self.sum_s += n * seconds;
        let bucket = bucket(seconds);
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Err(place) => self.buckets.insert(place, (bucket, n)),
            Ok(place) => {
                self.buckets[place].1 += n;
                if self.buckets[place].1 == 0 {
                    self.buckets.remove(place);
                }
            }
        }
    }

    /// Adds all of `other`, `sign` times.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        self.sum_s += sign * other.sum_s;
        if other.buckets.is_empty() {
            return;
        }
        let mut sum = Vec::with_capacity(self.buckets.len() + other.buckets.len());
        let (mut ours, mut theirs) = (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        loop {
            let (bucket, n) = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some((a, _)), Some((b, _))) if a == b => {
                    let (our, their) = (ours.next().map_or(0, |(_, n)| *n), theirs.next().map_or(0, |(_, n)| *n));
                    (*a, our + sign * their)
                }
                (Some((a, n)), their) if their.is_none_or(|(b, _)| a < b) => {
                    ours.next();
                    (*a, *n)
                }
                (_, Some((b, n))) => {
                    theirs.next();
                    (*b, sign * n)
                }
                (Some(_), None) => break,
            };
            if n != 0 {
                sum.push((bucket, n));
            }
        }
        self.buckets = sum;
    }

    /// How they are spread: of percentiles, the value of the nearest rank.
    pub fn spread(&self) -> Spread {
        let count = self.buckets.iter().map(|(_, n)| *n).sum();
        let mut spread = Spread { count, sum_s: self.sum_s, ..Spread::default() };
        let (mut below, mut buckets) = (0, self.buckets.iter());
        let mut value_s = 0;
        for (place, percent) in PERCENTS.iter().enumerate() {
            while below * 100 < percent * count {
                let Some((bucket, n)) = buckets.next() else { break };
                below += n;
                value_s = told_s(*bucket);
            }
            spread.percentiles_s[place] = value_s;
        }
        spread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(values: &[i64]) -> Sketch {
        let mut sketch = Sketch::default();
        values.iter().for_each(|value| sketch.add(*value, 1));
        sketch
    }

    fn any_values() -> impl Strategy<Value = Vec<i64>> {
        prop::collection::vec(prop_oneof![0i64..300, 0i64..100_000, 0i64..4_000_000_000], 0..60)
    }

    proptest! {
        #[test]
        fn what_is_told_is_less_than_one_percent_off(values in any_values()) {
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let (count, told) = (sorted.len(), of(&values).spread());
            prop_assert_eq!((told.count, told.sum_s), (i64::try_from(count).expect("few"), values.iter().sum::<i64>()));
            for (percent, told_s) in PERCENTS.iter().zip(told.percentiles_s).filter(|_| count > 0) {
                let percent = usize::try_from(*percent).expect("a percent");
                let exact = sorted[(percent * count).div_ceil(100).max(1) - 1];
                prop_assert!((told_s - exact).abs() * 100 < exact || told_s == exact, "{} for {}", told_s, exact);
            }
        }

        #[test]
        fn sums_do_not_depend_on_how_they_are_made(a in any_values(), b in any_values()) {
            let (mut both, all) = (of(&a), of(&[a.clone(), b.clone()].concat()));
            both.merge(&of(&b), 1);
            prop_assert_eq!(&both, &all);
            both.merge(&of(&a), -1);
            prop_assert_eq!(&both, &of(&b));
            for value in &b {
                both.add(*value, -1);
            }
            prop_assert_eq!(both, Sketch::default());
        }

        #[test]
        fn buckets_are_in_the_order_of_what_is_in_them(a in 0i64..i64::MAX, b in 0i64..i64::MAX) {
            prop_assert_eq!(bucket(a.min(b)).cmp(&bucket(a.max(b))), bucket(a.min(b)).cmp(&bucket(a.max(b))).min(std::cmp::Ordering::Equal));
            prop_assert_eq!(bucket(told_s(bucket(a))), bucket(a));
        }
    }

    #[test]
    fn the_first_seconds_are_exact_and_the_rest_go_by_64_an_octave() {
        assert_eq!(
            [0, 1, 127, 128, 129, 130, 255, 256, 260, -5].map(bucket),
            [0, 1, 127, 128, 128, 129, 191, 192, 193, 0]
        );
        assert_eq!([127, 128, 191, 192, 193].map(told_s), [127, 129, 255, 258, 262]);
        assert_eq!(of(&[]).spread(), Spread::default());
    }
}
