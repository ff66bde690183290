//! Which series there are, and with which values of their labels: all of them, from the start, and never more than
//! bounded many. Pure.

use std::collections::BTreeMap;

use crate::kernel::TeamId;
use crate::sla::domain::policy::{Hours, Target};
use crate::sla::domain::tally::Board;
use crate::sla::service::Near;
use crate::tally::domain::{Label, NO_TEAM, SUM, Series, Standing, Sums, buckets};
use crate::tickets::domain::{Priority, Status};

/// How many teams have series of their own.
pub const NAMED_TEAMS: usize = 100;

/// The label of all teams that have no series of their own.
const OTHER_TEAMS: &str = "other";

/// How a family of series behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows.
    Counter,
    /// Counts observations of seconds by buckets; the last label is the bucket.
    Histogram,
}

/// A family of series.
#[derive(Debug)]
pub struct Family {
    /// How it behaves.
    pub kind: Kind,
    /// Its name, without the prefix and without what the kind appends.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// The names of its labels.
    pub labels: Vec<&'static str>,
    /// Its numbers by the values of its labels.
    pub numbers: Vec<(Vec<String>, i64)>,
}

/// The families that are the tally's own numbers: what each counts, how it behaves, its name, and what it says. One
/// more is one more line.
const COUNTED: &[(Series, Kind, &str, &str)] = &[
    (Series::Tickets, Kind::Gauge, "tickets", "Tickets by where they stand"),
    (Series::Created, Kind::Counter, "tickets_created", "Tickets that were opened"),
    (Series::Resolved, Kind::Counter, "tickets_resolved", "Times that a ticket was resolved"),
    (Series::Reopened, Kind::Counter, "tickets_reopened", "Times that a resolved ticket was reopened"),
    (Series::Response, Kind::Histogram, "response", "From the report of a ticket to the beginning of work on it"),
    (Series::Service, Kind::Histogram, "service", "Time in work, each time that a ticket was resolved"),
    (Series::ClocksMet, Kind::Counter, "sla_met", "Times that a promise of an SLA policy was kept"),
];

/// The series of the tally that an answer needs.
pub fn needed() -> Vec<Series> {
    COUNTED.iter().map(|(series, ..)| *series).chain([Series::Clocks, Series::ClocksBreached]).collect()
}

/// All families that are about tickets, in the order of the answer: the tally's own numbers, and those of clocks, which
/// change without anybody writing, by what the clocks `near` this moment say.
pub fn families(sums: &Sums, near: &Near, teams: &Teams) -> Vec<Family> {
    let counted = COUNTED.iter().map(|(series, kind, name, help)| Family {
        kind: *kind,
        name,
        help,
        labels: series.labels().iter().map(|label| label.as_str()).collect(),
        numbers: numbers(*series, sums, teams).into_iter().collect(),
    });
    let Board { breached, clocks } = Board::of(sums, &near.lapsed);
    let words = |a: &str, b: &str| vec![a.to_owned(), b.to_owned()];
    let breached = breached.into_iter().map(|((target, priority), n)| (words(target.as_str(), priority.as_str()), n));
    let clocks = clocks.into_iter().map(|((target, state), n)| (words(target.as_str(), state.as_str()), n));
    let due_soon = near.due_soon.iter().map(|(target, n)| (vec![target.to_string()], *n));
    let of_clocks = [
        Family {
            kind: Kind::Counter,
            name: "sla_breached",
            help: "Promises of SLA policies that were broken",
            labels: vec!["target", "priority"],
            numbers: breached.collect(),
        },
        Family {
            kind: Kind::Gauge,
            name: "sla_clocks",
            help: "SLA clocks of tickets that have not ended",
            labels: vec!["target", "state"],
            numbers: clocks.collect(),
        },
        Family {
            kind: Kind::Gauge,
            name: "sla_clocks_due_soon",
            help: "SLA clocks that run and are due within an hour",
            labels: vec!["target"],
            numbers: due_soon.collect(),
        },
    ];
    counted.chain(of_clocks).collect()
}

/// Teams as values of a label.
#[derive(Debug, Clone, Default)]
pub struct Teams {
    names: BTreeMap<String, String>,
    more: bool,
}

impl Teams {
    /// The `oldest` teams by id and name, one more than [`NAMED_TEAMS`] if there are more. Those up to [`NAMED_TEAMS`]
    /// have series of their own.
    pub fn new(oldest: impl IntoIterator<Item = (TeamId, String)>) -> Self {
        let mut oldest = oldest.into_iter();
        let named = oldest.by_ref().take(NAMED_TEAMS);
        let mut names: BTreeMap<_, _> = named.map(|(id, name)| (id.to_string(), name)).collect();
        names.insert(NO_TEAM.to_owned(), NO_TEAM.to_owned());
        Self { names, more: oldest.next().is_some() }
    }

    /// The label of the team with this id. A team that was removed has none while every team has its own.
    fn label(&self, id: &str) -> Option<&str> {
        self.names.get(id).map(String::as_str).or(self.more.then_some(OTHER_TEAMS))
    }

    fn labels(&self) -> Vec<String> {
        let other = self.more.then(|| OTHER_TEAMS.to_owned());
        self.names.values().cloned().chain(other).collect()
    }
}

/// Every value that `label` can have.
fn values(label: Label, teams: &Teams) -> Vec<String> {
    match label {
        Label::Status => Status::ALL.iter().map(ToString::to_string).collect(),
        Label::Priority => Priority::ALL.iter().map(ToString::to_string).collect(),
        Label::Target => Target::ALL.iter().map(ToString::to_string).collect(),
        Label::Standing => Standing::ALL.iter().map(ToString::to_string).collect(),
        Label::Hours => Hours::ALL.iter().map(ToString::to_string).collect(),
        Label::Team => teams.labels(),
        Label::Le => buckets().map(|(_, name)| name).chain([SUM.to_owned()]).collect(),
    }
}

/// The numbers of `series` by the values of its labels: all there can be, those that were never counted at 0. Teams
/// that share a label are added up.
pub fn numbers(series: Series, sums: &Sums, teams: &Teams) -> BTreeMap<Vec<String>, i64> {
    let mut sets = vec![Vec::new()];
    for label in series.labels() {
        let all = values(*label, teams);
        sets = sets
            .iter()
            .flat_map(|set| all.iter().map(move |value| [set.as_slice(), std::slice::from_ref(value)].concat()))
            .collect();
    }
    let mut numbers: BTreeMap<Vec<String>, i64> = sets.into_iter().map(|set| (set, 0)).collect();
    for (counter, n) in sums.iter().filter(|(counter, _)| counter.series == series.as_str()) {
        let labels = series.labels().iter().zip(counter.values());
        let set: Option<Vec<String>> = labels
            .map(|(label, value)| match label {
                Label::Team => teams.label(&value).map(str::to_owned),
                _ => Some(value),
            })
            .collect();
        // What is not among them is a removed team's, or of a newer version.
        if let Some(number) = set.and_then(|set| numbers.get_mut(&set)) {
            *number += n;
        }
    }
    numbers
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::domain::Counter;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn teams(count: usize) -> Teams {
        Teams::new((0..count).take(NAMED_TEAMS + 1).map(|i| (id(i), format!("team {i}"))))
    }

    fn id(i: usize) -> TeamId {
        TeamId(Uuid::from_u128(i as u128))
    }

    proptest! {
        #[test]
        fn every_ticket_of_a_team_that_exists_is_in_exactly_one_series(count in 0usize..130, tickets in prop::collection::vec((0usize..130, 1i64..9), 0..50)) {
            let mut sums = Sums::default();
            let mut all = 0;
            for (team, n) in tickets.into_iter().filter(|(team, _)| *team < count) {
                sums.add(Counter::of(Series::Created, &["low", &id(team).to_string()]), n);
                all += n;
            }
            let numbers = numbers(Series::Created, &sums, &teams(count));
            prop_assert_eq!(numbers.values().sum::<i64>(), all);
            let labels = count.min(NAMED_TEAMS) + 1 + usize::from(count > NAMED_TEAMS);
            prop_assert_eq!(numbers.len(), Priority::ALL.len() * labels);
        }
    }

    #[test]
    fn a_removed_team_takes_its_series_along() {
        let mut sums = Sums::default();
        sums.add(Counter::of(Series::Created, &["low", &id(7).to_string()]), 3);
        assert_eq!(numbers(Series::Created, &sums, &teams(7)).values().sum::<i64>(), 0);
        assert_eq!(numbers(Series::Created, &sums, &teams(8))[&vec!["low".to_owned(), "team 7".to_owned()]], 3);
    }

    #[test]
    fn a_team_may_have_a_name_that_means_something_here() {
        let mut sums = Sums::default();
        sums.add(Counter::of(Series::Created, &["low", &id(0).to_string()]), 3);
        sums.add(Counter::of(Series::Created, &["low", NO_TEAM]), 4);
        let numbers = numbers(Series::Created, &sums, &Teams::new([(id(0), NO_TEAM.to_owned())]));
        assert_eq!(numbers[&vec!["low".to_owned(), NO_TEAM.to_owned()]], 7);
    }
}
