//! Tickets that are not solved, counted so that what there is to do can be told without reading them. Pure.
//!
//! A change notes the ticket as it was and as it is: one counter of [`Series::Waiting`] each. Folding spreads such a
//! counter along every [`Axis`] and into each [`BacklogCount`]. All of it is linear: what is spread before or after it
//! is added up comes to the same.

use std::collections::HashSet;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use super::facts::{self, Axis, AxisKey, GroupBy, TicketGroups, axis_name, keys};
use super::{Counter, Series, Sums};
use crate::kernel::words::words;
use crate::kernel::{ClockState, Instant, Priority, Status};

words! {
    /// What is counted of unsolved tickets along an axis. Labels begin with the group on the axis.
    pub enum BacklogCount {
        /// Tickets by what is written down of them: a [`Stand`].
        Stand = "stand",
        /// Tickets by the quarter of an hour of their report.
        Reported = "reported",
    }
}

/// A ticket that is not solved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unsolved {
    /// Where it stands.
    pub status: Status,
    /// The groups that it is in.
    pub groups: TicketGroups,
    /// The zero of its clocks, in microseconds since 1970.
    pub reported_us: i64,
    /// How its clocks stand as they are written down: response, first reply, service.
    pub clocks: [Option<ClockState>; 3],
}

/// The labels of a counter of [`BacklogCount::Stand`]: the group on the axis, status, priority, 1 if somebody has it
/// and 0 if not, and how its clocks stand as they are written down.
pub type Stand = (Option<String>, Status, Priority, u8, Option<ClockState>, Option<ClockState>, Option<ClockState>);

/// The quarter of an hour that an instant is in: quarters since 1970. So short that few tickets have to do with one
/// that is only partly meant.
pub fn quarter_of(at: Instant) -> i64 {
    at.seconds().div_euclid(900)
}

/// The first instant of a quarter since 1970.
pub fn start_of(quarter: i64) -> Instant {
    Instant::from_micros(quarter.saturating_mul(900_000_000))
}

/// The series of `count` along `axis`.
pub fn series(axis: Axis, count: BacklogCount) -> String {
    format!("waiting_{}_{count}", axis_name(axis))
}

/// Whether tickets are spread into this series.
pub fn is_of_backlog(name: &str) -> bool {
    static ALL: LazyLock<HashSet<String>> = LazyLock::new(|| all_series().collect());
    ALL.contains(name)
}

/// The axes along which tickets are spread.
pub fn axes() -> impl Iterator<Item = Axis> {
    facts::axes().filter(|axis| *axis != Some(GroupBy::Worker))
}

/// Every series that a ticket is spread into.
fn all_series() -> impl Iterator<Item = String> {
    axes().flat_map(|axis| BacklogCount::ALL.iter().map(move |count| series(axis, *count)))
}

fn json(labels: impl Serialize) -> String {
    serde_json::to_string(&labels).unwrap_or_default()
}

/// A group as labels have it.
fn label(key: &AxisKey) -> Option<String> {
    (*key != AxisKey::None).then(|| key.to_string())
}

/// The labels of [`BacklogCount::Reported`] of a group.
pub fn labels(key: &AxisKey) -> String {
    json([label(key)])
}

impl Unsolved {
    /// The counter that says that there is such a ticket.
    pub fn counter(&self) -> Counter {
        Counter { series: Series::Waiting.as_str().to_owned(), labels: json(self), quarter: 0 }
    }

    /// The ticket that a counter speaks of, if it speaks of one.
    pub fn of(counter: &Counter) -> Option<Self> {
        (counter.series == Series::Waiting.as_str()).then(|| serde_json::from_str(&counter.labels).ok())?
    }

    /// How it stands, as one of a group.
    pub fn stand(&self, group: Option<String>) -> Stand {
        let [response, first_reply, service] = self.clocks;
        let assigned = u8::from(self.groups.assignee.is_some());
        (group, self.status, self.groups.priority, assigned, response, first_reply, service)
    }

    /// Adds `n` tickets like this to `sums`, along `axes`.
    pub fn spread(&self, n: i64, axes: impl Iterator<Item = Axis>, sums: &mut Sums) {
        let reported = quarter_of(Instant::from_micros(self.reported_us));
        for axis in axes {
            for key in keys(axis, &self.groups) {
                let mut add =
                    |count, labels, quarter| sums.add(Counter { series: series(axis, count), labels, quarter }, n);
                add(BacklogCount::Stand, json(self.stand(label(&key))), 0);
                add(BacklogCount::Reported, labels(&key), reported);
            }
        }
    }
}

impl Sums {
    /// The same with each counter that speaks of a ticket spread along all axes.
    #[must_use]
    pub fn spread(self) -> Self {
        let mut spread = Self::default();
        for (counter, n) in self.0 {
            match Unsolved::of(&counter) {
                Some(ticket) => ticket.spread(n, axes(), &mut spread),
                None => spread.add(counter, n),
            }
        }
        spread
    }

    /// The counters with these labels, by quarter.
    pub fn quarters<'a>(&'a self, series: &str, labels: &str) -> impl Iterator<Item = (i64, i64)> + 'a {
        let at = |quarter| Counter { series: series.to_owned(), labels: labels.to_owned(), quarter };
        self.0.range(at(i64::MIN)..=at(i64::MAX)).map(|(counter, n)| (counter.quarter, *n))
    }

    /// The counters of a series.
    pub fn of_series<'a>(&'a self, series: &'a str) -> impl Iterator<Item = (&'a Counter, i64)> {
        let first = Counter { series: series.to_owned(), labels: String::new(), quarter: i64::MIN };
        self.0.range(first..).map(|(counter, n)| (counter, *n)).take_while(move |(counter, _)| counter.series == series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::domain::facts::tests::any_groups;
    use proptest::prelude::*;

    fn ticket() -> impl Strategy<Value = Unsolved> {
        let state = || prop::option::of(prop::sample::select(ClockState::ALL));
        let status = prop::sample::select(Status::ALL);
        (status, any_groups(), 0i64..20_000_000_000, [state(), state(), state()])
            .prop_map(|(status, groups, reported_us, clocks)| Unsolved { status, groups, reported_us, clocks })
    }

    proptest! {
        #[test]
        fn what_is_written_of_a_ticket_is_read_back(ticket in ticket()) {
            prop_assert_eq!(Unsolved::of(&ticket.counter()), Some(ticket));
        }

        #[test]
        fn it_makes_no_difference_when_tickets_are_spread(tickets in prop::collection::vec((ticket(), -2i64..3), 0..8)) {
            let (mut later, mut at_once) = (Sums::default(), Sums::default());
            for (ticket, n) in &tickets {
                later.add(ticket.counter(), *n);
                ticket.spread(*n, axes(), &mut at_once);
            }
            prop_assert_eq!(later.spread(), at_once.clone());
            prop_assert_eq!(at_once.clone().spread(), at_once);
        }

        #[test]
        fn counters_are_found_by_series_and_labels(tickets in prop::collection::vec(ticket(), 0..8)) {
            let mut sums = Sums::default();
            tickets.iter().for_each(|ticket| ticket.spread(1, axes(), &mut sums));
            let found: i64 = all_series().map(|series| sums.of_series(&series).map(|(_, n)| n).sum::<i64>()).sum();
            prop_assert_eq!(found, sums.iter().map(|(_, n)| n).sum::<i64>());
            let all = sums.quarters(&series(None, BacklogCount::Reported), &labels(&AxisKey::None)).map(|(_, n)| n).sum::<i64>();
            prop_assert_eq!(all, i64::try_from(tickets.len()).expect("few"));
        }
    }
}
