//! Tickets that are not solved, counted so that what there is to do can be told without reading them. Pure.
//!
//! A change notes the ticket as it was and as it is: one cell of [`Series::Waiting`] each. Folding spreads such a cell along
//! every [`Axis`] and into each [`Part`]. All of it is linear: what is spread before or after it is added up comes to the same.

use std::collections::HashSet;
use std::sync::LazyLock;

use super::{Cell, Series, Sums};
use crate::kernel::words::words;
use crate::kernel::{AnyId, Channel, Instant, Priority, Status, TicketType};

words! {
    /// What tickets are told apart by.
    pub enum Axis {
        /// By nothing: all together.
        All = "all",
        /// The queue that they are in.
        Team = "team",
        /// How urgent they are.
        Priority = "priority",
        /// What kind of thing they are.
        Type = "type",
        /// How they were reported.
        Channel = "channel",
        /// Who works on them.
        Assignee = "assignee",
        /// Each of their tags.
        Tag = "tag",
        /// The SLA policy that they have.
        Policy = "policy",
    }
}

words! {
    /// What is counted along an axis. Labels begin with the place on the axis, but for [`Part::Next`].
    pub enum Part {
        /// Tickets by what does not depend on when one asks: a [`Standing`](StandCell).
        Stand = "stand",
        /// Tickets by the quarter of an hour of their report.
        Reported = "reported",
        /// Tickets by the quarter in which the first of their promises is broken, if nothing happens.
        Late = "late",
        /// Promises by what they are about and the quarter in which they are broken, if nothing happens.
        Breach = "breach",
        /// Further promises of one ticket, by the quarter in which they are broken, which is the first label, and the one in
        /// which the promise before them is.
        Next = "next",
    }
}

words! {
    /// How a promise stands, as far as that does not depend on when one asks.
    pub enum Stance {
        /// It runs, or is broken.
        Open = "open",
        /// Time does not count.
        Paused = "paused",
        /// It was kept.
        Met = "met",
    }
}

/// A promise: how it stands, and from which instant on it is broken, in microseconds since 1970, if that ever comes.
pub type Promise = (Stance, Option<i64>);

/// A ticket that is not solved.
#[derive(Debug, Clone, PartialEq)]
pub struct Waiting {
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// Whose queue it is in.
    pub team: Option<AnyId>,
    /// Who works on it.
    pub assignee: Option<AnyId>,
    /// The SLA policy that it has.
    pub policy: Option<AnyId>,
    /// Its labels.
    pub tags: Vec<String>,
    /// The zero of its clocks.
    pub reported_at: Instant,
    /// What was promised: a response, a first reply, a solution.
    pub promises: [Option<Promise>; 3],
}

/// The labels of a cell of [`Part::Stand`]: the place on the axis, status, priority, 1 if somebody has it and 0 if not, and how
/// the promises stand.
pub type StandCell = (Option<String>, Status, Priority, u8, Option<Stance>, Option<Stance>, Option<Stance>);

/// A ticket in the labels of a cell.
type Labels = (
    (Status, Priority, TicketType, Channel),
    (Option<AnyId>, Option<AnyId>, Option<AnyId>),
    Vec<String>,
    i64,
    [Option<Promise>; 3],
);

/// The quarter of an hour that an instant is in: quarters since 1970. They stand where other series have hours, and are so
/// short that few tickets have to do with those two or three that are only partly over.
pub fn quarter_of(at: Instant) -> i64 {
    at.seconds().div_euclid(900)
}

/// The first instant of a quarter since 1970.
pub fn start_of(quarter: i64) -> Instant {
    Instant::from_micros(quarter.saturating_mul(900_000_000))
}

/// The series of `part` along `axis`.
pub fn series(axis: Axis, part: Part) -> String {
    format!("waiting_{axis}_{part}")
}

/// Whether tickets are spread into this series.
pub fn is_of_backlog(name: &str) -> bool {
    static ALL: LazyLock<HashSet<String>> = LazyLock::new(|| all_series().collect());
    ALL.contains(name)
}

/// Every series that a ticket is spread into.
fn all_series() -> impl Iterator<Item = String> {
    Axis::ALL.iter().flat_map(|axis| Part::ALL.iter().map(|part| series(*axis, *part)))
}

fn json(labels: impl serde::Serialize) -> String {
    serde_json::to_string(&labels).unwrap_or_default()
}

/// The labels of [`Part::Reported`] and [`Part::Late`] at a place on an axis.
pub fn place(key: Option<&str>) -> String {
    json([key])
}

/// The labels of [`Part::Breach`] at a place on an axis, for the promise about the target of this number.
pub fn place_of(key: Option<&str>, target: usize) -> String {
    json((key, target))
}

/// What the labels of [`Part::Next`] in this quarter and later ones are not less than.
pub fn next_from(quarter: i64) -> String {
    format!("[\"{quarter:010}\"")
}

impl Waiting {
    /// The cell that says that there is such a ticket.
    pub fn cell(&self) -> Cell {
        let Self { status, priority, kind, channel, team, assignee, policy, tags, reported_at, promises } = self;
        let labels =
            ((status, priority, kind, channel), (team, assignee, policy), tags, reported_at.micros(), promises);
        Cell { series: Series::Waiting.as_str().to_owned(), labels: json(labels), hour: 0 }
    }

    /// The ticket that a cell speaks of, if it speaks of one.
    pub fn of(cell: &Cell) -> Option<Self> {
        if cell.series != Series::Waiting.as_str() {
            return None;
        }
        let (what, who, tags, reported_us, promises): Labels = serde_json::from_str(&cell.labels).ok()?;
        let ((status, priority, kind, channel), (team, assignee, policy)) = (what, who);
        let reported_at = Instant::from_micros(reported_us);
        Some(Self { status, priority, kind, channel, team, assignee, policy, tags, reported_at, promises })
    }

    /// Its places on `axis`.
    fn keys(&self, axis: Axis) -> Vec<Option<String>> {
        let id = |id: Option<AnyId>| vec![id.map(|id| id.to_string())];
        match axis {
            Axis::All => vec![None],
            Axis::Team => id(self.team),
            Axis::Assignee => id(self.assignee),
            Axis::Policy => id(self.policy),
            Axis::Priority => vec![Some(self.priority.to_string())],
            Axis::Type => vec![Some(self.kind.to_string())],
            Axis::Channel => vec![Some(self.channel.to_string())],
            Axis::Tag if self.tags.is_empty() => vec![None],
            Axis::Tag => self.tags.iter().cloned().map(Some).collect(),
        }
    }

    /// Adds `n` tickets like this to `sums`, along `axes`.
    pub fn spread(&self, n: i64, axes: &[Axis], sums: &mut Sums) {
        let quarter = |us: i64| quarter_of(Instant::from_micros(us));
        let [response, first_reply, service] = self.promises.map(|promise| promise.map(|(stance, _)| stance));
        let breaches = self.promises.map(|promise| promise.and_then(|(_, at)| at).map(quarter));
        let mut quarters: Vec<i64> = breaches.into_iter().flatten().collect();
        quarters.sort_unstable();
        for axis in axes {
            for key in self.keys(*axis) {
                let key = key.as_deref();
                let mut add = |part, labels, hour| sums.add(Cell { series: series(*axis, part), labels, hour }, n);
                let assigned = u8::from(self.assignee.is_some());
                let stand = (key, self.status, self.priority, assigned, response, first_reply, service);
                add(Part::Stand, json(stand), 0);
                add(Part::Reported, place(key), quarter_of(self.reported_at));
                if let Some(first) = quarters.first() {
                    add(Part::Late, place(key), *first);
                }
                for (target, quarter) in breaches.iter().enumerate() {
                    if let Some(quarter) = quarter {
                        add(Part::Breach, place_of(key, target), *quarter);
                    }
                }
                for pair in quarters.windows(2).filter(|pair| pair[0] < pair[1]) {
                    add(Part::Next, json((format!("{:010}", pair[1]), key)), pair[0]);
                }
            }
        }
    }
}

impl Sums {
    /// The same with each cell that speaks of a ticket spread along all axes.
    #[must_use]
    pub fn spread(self) -> Self {
        let mut spread = Self::default();
        for (cell, n) in self.0 {
            match Waiting::of(&cell) {
                Some(ticket) => ticket.spread(n, Axis::ALL, &mut spread),
                None => spread.add(cell, n),
            }
        }
        spread
    }

    /// The cells with these labels, by hour.
    pub fn hours<'a>(&'a self, series: &str, labels: &str) -> impl Iterator<Item = (i64, i64)> + 'a {
        let at = |hour| Cell { series: series.to_owned(), labels: labels.to_owned(), hour };
        self.0.range(at(i64::MIN)..=at(i64::MAX)).map(|(cell, n)| (cell.hour, *n))
    }

    /// The cells of a series.
    pub fn of_series<'a>(&'a self, series: &'a str) -> impl Iterator<Item = (&'a Cell, i64)> {
        let first = Cell { series: series.to_owned(), labels: String::new(), hour: i64::MIN };
        self.0.range(first..).map(|(cell, n)| (cell, *n)).take_while(move |(cell, _)| cell.series == series)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn ticket() -> impl Strategy<Value = Waiting> {
        let id = || prop::option::of((0u128..3).prop_map(|n| AnyId(Uuid::from_u128(n))));
        let promise = || {
            let at = prop::option::of(0i64..20_000_000_000);
            prop::option::of((prop::sample::select(Stance::ALL), at))
        };
        let what = (
            prop::sample::select(Status::ALL),
            prop::sample::select(Priority::ALL),
            prop::sample::select(TicketType::ALL),
            prop::sample::select(Channel::ALL),
        );
        let tags = prop::collection::btree_set(".{1,5}", 0..3);
        let times = (0i64..20_000_000_000, [promise(), promise(), promise()]);
        (what, [id(), id(), id()], tags, times).prop_map(
            |((status, priority, kind, channel), [team, assignee, policy], tags, (reported_us, promises))| Waiting {
                status,
                priority,
                kind,
                channel,
                team,
                assignee,
                policy,
                tags: tags.into_iter().collect(),
                reported_at: Instant::from_micros(reported_us),
                promises,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_of_a_ticket_is_read_back(ticket in ticket()) {
            prop_assert_eq!(Waiting::of(&ticket.cell()), Some(ticket));
        }

        #[test]
        fn it_makes_no_difference_when_tickets_are_spread(tickets in prop::collection::vec((ticket(), -2i64..3), 0..8)) {
            let (mut later, mut at_once) = (Sums::default(), Sums::default());
            for (ticket, n) in &tickets {
                later.add(ticket.cell(), *n);
                ticket.spread(*n, Axis::ALL, &mut at_once);
            }
            prop_assert_eq!(later.spread(), at_once.clone());
            prop_assert_eq!(at_once.clone().spread(), at_once);
        }

        #[test]
        fn cells_are_found_by_series_and_labels(tickets in prop::collection::vec(ticket(), 0..8)) {
            let mut sums = Sums::default();
            tickets.iter().for_each(|ticket| ticket.spread(1, Axis::ALL, &mut sums));
            let found: i64 = all_series().map(|series| sums.of_series(&series).map(|(_, n)| n).sum::<i64>()).sum();
            prop_assert_eq!(found, sums.iter().map(|(_, n)| n).sum::<i64>());
            let all = sums.hours(&series(Axis::All, Part::Reported), &place(None)).map(|(_, n)| n).sum::<i64>();
            prop_assert_eq!(all, i64::try_from(tickets.len()).expect("few"));
        }
    }
}
