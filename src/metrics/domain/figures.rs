//! Facts about tickets, and the figures that they add up to. Pure; the order in which facts come makes no difference.

use std::collections::BTreeMap;

use crate::kernel::words::words;
use crate::kernel::{AnyId, Currency, Instant, Money, Priority, Status};
use crate::sla::domain::clock::ClockState;
use crate::sla::domain::policy::Target;
use crate::time_entries::domain::Total;

/// How many groups an answer has at most.
pub const MOST_GROUPS: usize = 1_000;
/// How many points the series of an answer have at most, all together.
pub const MOST_POINTS: usize = 20_000;
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

/// Which group a ticket is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// That of something with an id.
    Id(AnyId),
    /// That of a word: one of a closed vocabulary, or a tag.
    Word(String),
    /// That of tickets without.
    None,
}

/// A duration, in seconds of all hours and of business hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// All seconds.
    pub calendar_s: i64,
    /// Those in working hours.
    pub business_s: i64,
}

impl Took {
    /// Both, or nothing.
    pub fn of(calendar_s: Option<i64>, business_s: Option<i64>) -> Option<Self> {
        Some(Self { calendar_s: calendar_s?, business_s: business_s? })
    }
}

/// Something that happened to a ticket, as far as figures go.
#[derive(Debug, Clone, PartialEq)]
pub enum Fact {
    /// It was opened.
    Created,
    /// It was solved, for the last time until now.
    Resolved {
        /// It has come back at least once.
        reopened: bool,
        /// It never has, and at most one answer was needed.
        first_contact: bool,
        /// The time in `open`.
        service: Option<Took>,
        /// The time since the report.
        resolution: Option<Took>,
    },
    /// Somebody began to work on it.
    Started(Option<Took>),
    /// An agent answered in public for the first time.
    Replied(Option<Took>),
    /// A promise was kept.
    Met(Target),
    /// A promise was broken.
    Breached(Target),
    /// Somebody worked on it.
    Worked {
        /// For so many seconds.
        work_s: i64,
        /// What that cost, if there was a rate.
        cost: Option<Money>,
    },
}

/// The values of one duration, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample(Vec<i64>);

/// What a sample says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean, in seconds, rounded half up to a thousandth.
    pub mean_s: f64,
    /// The least value that half of the values do not exceed, and so on (nearest rank): of 50, 90, 95, 99 and 100 percent.
    pub percentiles_s: [i64; 5],
}

impl Sample {
    /// Takes one more value.
    pub fn add(&mut self, value_s: i64) {
        self.0.push(value_s);
    }

    /// How many values there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// What the values say, if there are any.
    pub fn spread(&self) -> Option<Spread> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let count = sorted.len();
        let rank = |percent: usize| sorted.get((count * percent).div_ceil(100).max(1) - 1).copied();
        let sum: i128 = sorted.iter().map(|value| i128::from(*value)).sum();
        let n = i128::try_from(count).ok().filter(|n| *n > 0)?;
        Some(Spread {
            mean_s: decimal(sum, n, 1_000),
            percentiles_s: [rank(50)?, rank(90)?, rank(95)?, rank(99)?, rank(100)?],
        })
    }
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

/// A duration in both kinds of seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Duration {
    /// All seconds.
    pub calendar: Sample,
    /// Those in working hours.
    pub business: Sample,
}

impl Duration {
    fn add(&mut self, took: Option<Took>) {
        if let Some(Took { calendar_s, business_s }) = took {
            self.calendar.add(calendar_s);
            self.business.add(business_s);
        }
    }

    fn merge(&mut self, other: Self) {
        self.calendar.0.extend(other.calendar.0);
        self.business.0.extend(other.business.0);
    }
}

/// How often a promise was kept and broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kept {
    /// Kept.
    pub met: i64,
    /// Broken.
    pub breached: i64,
}

/// What facts add up to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Tickets that were opened.
    pub created: i64,
    /// Tickets that were solved.
    pub resolved: i64,
    /// Those of them that have come back.
    pub reopened: i64,
    /// Those of them that were solved at first contact.
    pub first_contact: i64,
    /// From the report to the beginning of work.
    pub response: Duration,
    /// From the report to the first answer.
    pub first_reply: Duration,
    /// The time in `open`.
    pub service: Duration,
    /// From the report to the solution.
    pub resolution: Duration,
    /// The promises, by target.
    pub kept: [Kept; 3],
    /// Work and its cost.
    pub work: Total,
}

impl Figures {
    /// Takes one more fact.
    pub fn add(&mut self, fact: &Fact) {
        match fact {
            Fact::Created => self.created += 1,
            Fact::Resolved { reopened, first_contact, service, resolution } => {
                self.resolved += 1;
                self.reopened += i64::from(*reopened);
                self.first_contact += i64::from(*first_contact);
                self.service.add(*service);
                self.resolution.add(*resolution);
            }
            Fact::Started(took) => self.response.add(*took),
            Fact::Replied(took) => self.first_reply.add(*took),
            Fact::Met(target) => self.kept[*target as usize].met += 1,
            Fact::Breached(target) => self.kept[*target as usize].breached += 1,
            Fact::Worked { work_s, cost } => self.work = std::mem::take(&mut self.work).and(*work_s, *cost),
        }
    }

    /// Takes all the facts of `other`.
    pub fn merge(&mut self, other: Self) {
        // Taken apart whole, so that a new figure does not compile until it is merged.
        let Self { created, resolved, reopened, first_contact, response, first_reply, service, resolution, kept, work } =
            other;
        self.created += created;
        self.resolved += resolved;
        self.reopened += reopened;
        self.first_contact += first_contact;
        self.response.merge(response);
        self.first_reply.merge(first_reply);
        self.service.merge(service);
        self.resolution.merge(resolution);
        for (sum, more) in self.kept.iter_mut().zip(kept) {
            sum.met += more.met;
            sum.breached += more.breached;
        }
        self.work.work_s = self.work.work_s.saturating_add(work.work_s);
        self.work.unrated_work_s = self.work.unrated_work_s.saturating_add(work.unrated_work_s);
        for (currency, minor) in work.costs {
            let sum = self.work.costs.entry(currency).or_default();
            *sum = sum.saturating_add(minor);
        }
    }

    /// How often the promise about `target` was kept and broken.
    pub fn kept(&self, target: Target) -> Kept {
        self.kept[target as usize]
    }

    /// What each currency comes to, and to how much a solved ticket, rounded half up to a minor unit.
    pub fn costs(&self) -> impl Iterator<Item = (Currency, i64, Option<i64>)> {
        self.work.costs.iter().map(|(currency, minor)| {
            let each = (self.resolved > 0).then(|| {
                let (minor, tickets) = (i128::from(*minor), i128::from(self.resolved));
                i64::try_from((2 * minor + tickets).div_euclid(2 * tickets)).unwrap_or(i64::MAX)
            });
            (*currency, *minor, each)
        })
    }
}

/// The figures of each step of a window.
pub type Steps = BTreeMap<usize, Figures>;

/// Figures by step and by group.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    edges: Vec<Instant>,
    /// Of all tickets. A step without any fact has none.
    pub total: Steps,
    /// Of each group that has any fact.
    pub groups: BTreeMap<Key, Steps>,
}

impl Sheet {
    /// An empty sheet of steps between `edges`, which are in order.
    pub fn new(edges: Vec<Instant>) -> Self {
        Self { edges, total: Steps::new(), groups: BTreeMap::new() }
    }

    /// Takes a fact of `at` about a ticket in these groups. What is before the first edge or not before the last one is
    /// left out.
    pub fn add(&mut self, at: Instant, keys: &[Key], fact: &Fact) {
        let behind = self.edges.partition_point(|edge| *edge <= at);
        if behind == 0 || behind == self.edges.len() {
            return;
        }
        let step = behind - 1;
        self.total.entry(step).or_default().add(fact);
        for key in keys {
            let steps = match self.groups.get_mut(key) {
                Some(steps) => steps,
                None => self.groups.entry(key.clone()).or_default(),
            };
            steps.entry(step).or_default().add(fact);
        }
    }

    /// Keeps the `most` largest groups, by tickets opened and solved. Says whether any had to go.
    pub fn keep_largest(&mut self, most: usize) -> bool {
        let size = |steps: &Steps| steps.values().map(|figures| figures.created + figures.resolved).sum::<i64>();
        keep_largest(&mut self.groups, most, size)
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
    use proptest::prelude::*;

    fn took() -> impl Strategy<Value = Option<Took>> {
        prop::option::of((0i64..100_000, 0i64..100_000).prop_map(|(c, b)| Took { calendar_s: c, business_s: b }))
    }

    fn fact() -> impl Strategy<Value = Fact> {
        let target = || prop::sample::select(Target::ALL);
        let cost = prop::option::of((0i64..10_000, "EUR|NOK")).prop_map(|cost| {
            cost.map(|(amount_minor, currency)| Money { amount_minor, currency: currency.parse().expect("a currency") })
        });
        prop_oneof![
            Just(Fact::Created),
            (any::<bool>(), any::<bool>(), took(), took()).prop_map(
                |(reopened, first_contact, service, resolution)| {
                    Fact::Resolved { reopened, first_contact, service, resolution }
                }
            ),
            took().prop_map(Fact::Started),
            took().prop_map(Fact::Replied),
            target().prop_map(Fact::Met),
            target().prop_map(Fact::Breached),
            (1i64..10_000, cost).prop_map(|(work_s, cost)| Fact::Worked { work_s, cost }),
        ]
    }

    fn sum<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Figures {
        let mut figures = Figures::default();
        facts.into_iter().for_each(|fact| figures.add(fact));
        figures
    }

    /// Samples are equal when they say the same.
    fn said(figures: &Figures) -> impl PartialEq + std::fmt::Debug + use<> {
        let durations = [&figures.response, &figures.first_reply, &figures.service, &figures.resolution];
        let spread = |sample: &Sample| (sample.count(), sample.spread());
        let spreads = durations.map(|d| (spread(&d.calendar), spread(&d.business)));
        let counts = (figures.created, figures.resolved, figures.reopened, figures.first_contact, figures.kept);
        (counts, spreads, figures.work.clone(), figures.costs().collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn any_split_of_the_facts_comes_to_the_same(facts in prop::collection::vec((fact(), 0usize..4), 0..60)) {
            let whole = sum(facts.iter().map(|(fact, _)| fact));
            let mut merged = Figures::default();
            for part in (0..4).rev() {
                merged.merge(sum(facts.iter().filter(|(_, of)| *of == part).map(|(fact, _)| fact)));
            }
            prop_assert_eq!(said(&whole), said(&merged));
        }

        #[test]
        fn percentiles_are_those_of_a_sorted_list(values in prop::collection::vec(0i64..1_000, 1..300)) {
            let mut sample = Sample::default();
            values.iter().for_each(|value| sample.add(*value));
            let spread = sample.spread().expect("there are values");
            for (percent, found) in [50, 90, 95, 99, 100].into_iter().zip(spread.percentiles_s) {
                // The least value of the list that is at or above so many percent of it.
                let covers = |least: i64| values.iter().filter(|value| **value <= least).count() * 100 >= percent * values.len();
                let naive = values.iter().copied().filter(|value| covers(*value)).min();
                prop_assert_eq!(Some(found), naive, "{}", percent);
            }
            let mean = values.iter().sum::<i64>() as f64 / values.len() as f64;
            prop_assert!((spread.mean_s - mean).abs() <= 0.000_5 + 1e-9, "{} for {}", spread.mean_s, mean);
        }

        #[test]
        fn every_fact_is_in_its_step_and_its_groups(
            facts in prop::collection::vec((0i64..100, prop::collection::btree_set("[abc]", 0..3)), 0..50),
            cuts in prop::collection::btree_set(0i64..100, 2..8),
        ) {
            let cuts: Vec<i64> = cuts.into_iter().collect();
            let mut sheet = Sheet::new(cuts.iter().map(|us| Instant::from_micros(*us)).collect());
            for (at, keys) in &facts {
                let keys: Vec<Key> = keys.iter().cloned().map(Key::Word).collect();
                sheet.add(Instant::from_micros(*at), &keys, &Fact::Created);
            }
            for (step, pair) in cuts.windows(2).enumerate() {
                let within = |at: i64| pair[0] <= at && at < pair[1];
                let count = |steps: Option<&Steps>| steps.and_then(|steps| steps.get(&step)).map_or(0, |f| f.created);
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
        assert_eq!((Sample::default().count(), Sample::default().spread()), (0, None));
        let eur = |amount_minor| Some(Money { amount_minor, currency: "EUR".parse().expect("a currency") });
        let solved = Fact::Resolved { reopened: false, first_contact: true, service: None, resolution: None };
        let two =
            [solved.clone(), solved, Fact::Worked { work_s: 1, cost: eur(5) }, Fact::Worked { work_s: 1, cost: None }];
        let costs: Vec<_> = sum(&two).costs().map(|(_, total, each)| (total, each)).collect();
        assert_eq!(costs, [(5, Some(3))]);
        assert_eq!(sum(&two[2..]).costs().map(|(_, total, each)| (total, each)).collect::<Vec<_>>(), [(5, None)]);
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
