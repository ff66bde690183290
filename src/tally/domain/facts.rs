//! What happened to tickets: when, and what the ticket was then. A correction takes a fact away; nothing else ever changes one. Pure.

use serde::{Deserialize, Serialize};

use crate::kernel::words::words;
use crate::kernel::{AnyId, Channel, Instant, Money, PolicyId, PrincipalId, Priority, Target, TeamId, TicketType};

/// The groups that a ticket is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TicketGroups {
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// The queue that it is in.
    pub team: Option<TeamId>,
    /// The SLA policy that it has.
    pub policy: Option<PolicyId>,
    /// Who works on it.
    pub assignee: Option<PrincipalId>,
    /// Its labels.
    pub tags: Vec<String>,
}

/// A duration, in seconds of all hours and of business hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The whole seconds from `from` to `to`, and those in working hours.
    pub fn between(from: Instant, to: Instant, business_s: Option<i64>) -> Option<Self> {
        Self::of(Some((to.micros() - from.micros()) / 1_000_000), business_s)
    }
}

words! {
    /// The kinds of [`What`], as they are stored.
    pub enum FactKind {
        /// [`What::Created`].
        Created = "created",
        /// [`What::Entered`].
        Entered = "entered",
        /// [`What::Left`].
        Left = "left",
        /// [`What::Started`].
        Started = "started",
        /// [`What::Replied`].
        Replied = "replied",
        /// [`What::Resolved`].
        Resolved = "resolved",
        /// [`What::Reopened`].
        Reopened = "reopened",
        /// [`What::Met`].
        Met = "met",
        /// [`What::Breached`].
        Breached = "breached",
        /// [`What::Worked`].
        Worked = "worked",
    }
}

/// What happened to a ticket, as far as figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum What {
    /// It was opened.
    Created,
    /// Unsolved, it came into its groups from others.
    Entered,
    /// Unsolved, it left its groups for others.
    Left,
    /// Somebody began to work on it.
    Started(Option<Took>),
    /// An agent answered in public for the first time.
    Replied(Option<Took>),
    /// It was solved.
    Resolved {
        /// It had never come back, and had needed at most one answer.
        is_first_contact: bool,
        /// The time in `open`, until then.
        service: Option<Took>,
        /// The time since the report.
        resolution: Option<Took>,
    },
    /// It came back after that.
    Reopened,
    /// A promise was kept.
    Met(Target),
    /// A promise was broken.
    Breached(Target),
    /// Somebody worked on it.
    Worked {
        /// Who.
        worker: PrincipalId,
        /// For so many seconds.
        work_s: i64,
        /// What that cost, if there was a rate.
        cost: Option<Money>,
    },
}

/// Something that happened to a ticket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// When, in microseconds since 1970.
    at_us: i64,
    /// To which ticket.
    pub ticket: i64,
    /// The groups that it was in then.
    pub groups: TicketGroups,
    /// What.
    pub what: What,
    /// 1, or -1 for a correction that takes such a fact away.
    pub n: i8,
}

impl Fact {
    /// What happened at `at` to the ticket of this number in these groups.
    pub fn new(at: Instant, ticket: i64, groups: TicketGroups, what: What) -> Self {
        Self { at_us: at.micros(), ticket, groups, what, n: 1 }
    }

    /// The correction of this fact.
    #[must_use]
    pub fn taken_away(self) -> Self {
        Self { n: -self.n, ..self }
    }

    /// When it happened.
    pub fn at(&self) -> Instant {
        Instant::from_micros(self.at_us)
    }
}

words! {
    /// By what tickets, and work on them, are told apart.
    pub enum Axis {
        /// By nothing.
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
        /// Each of their labels.
        Tag = "tag",
        /// The SLA policy that they have.
        Policy = "policy",
        /// Of work, who did it.
        Worker = "worker",
    }
}

/// A group on an axis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// That of something with an id.
    Id(AnyId),
    /// That of a word: one of a closed vocabulary, or a tag.
    Word(String),
    /// That of tickets without; on [`Axis::All`], of all.
    None,
}

impl Axis {
    /// The groups on this axis that a ticket is in.
    pub fn keys(self, groups: &TicketGroups) -> Vec<Key> {
        let id = |id: Option<uuid::Uuid>| vec![id.map_or(Key::None, |id| Key::Id(AnyId(id)))];
        match self {
            Axis::All => vec![Key::None],
            Axis::Team => id(groups.team.map(|TeamId(id)| id)),
            Axis::Policy => id(groups.policy.map(|PolicyId(id)| id)),
            Axis::Assignee => id(groups.assignee.map(|PrincipalId(id)| id)),
            Axis::Priority => vec![Key::Word(groups.priority.to_string())],
            Axis::Type => vec![Key::Word(groups.kind.to_string())],
            Axis::Channel => vec![Key::Word(groups.channel.to_string())],
            Axis::Tag if groups.tags.is_empty() => vec![Key::None],
            Axis::Tag => groups.tags.iter().cloned().map(Key::Word).collect(),
            Axis::Worker => Vec::new(),
        }
    }

    /// The groups on this axis that a fact is in.
    pub fn keys_of(self, fact: &Fact) -> Vec<Key> {
        match (self, &fact.what) {
            (Axis::Worker, What::Worked { worker, .. }) => vec![Key::Id(AnyId(worker.0))],
            _ => self.keys(&fact.groups),
        }
    }

    /// The key that is stored so.
    ///
    /// # Errors
    /// When it is no id where one is meant.
    pub fn parse(self, text: String) -> Result<Key, uuid::Error> {
        Ok(match self {
            _ if text.is_empty() => Key::None,
            Axis::Team | Axis::Policy | Axis::Assignee | Axis::Worker => Key::Id(AnyId(text.parse()?)),
            Axis::All | Axis::Priority | Axis::Type | Axis::Channel | Axis::Tag => Key::Word(text),
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Id(id) => id.fmt(f),
            Key::Word(word) => f.write_str(word),
            Key::None => Ok(()),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    /// Groups, few enough that facts meet in them.
    pub(crate) fn any_groups() -> impl Strategy<Value = TicketGroups> {
        let id = || prop::option::of((0u128..3).prop_map(Uuid::from_u128));
        let words = (0usize..2, 0usize..2, 0usize..2);
        let tags = prop::collection::btree_set("[ab\"]{1,2}", 0..3);
        (words, [id(), id(), id()], tags).prop_map(|((priority, kind, channel), [team, policy, assignee], tags)| {
            TicketGroups {
                priority: Priority::ALL[priority],
                kind: TicketType::ALL[kind],
                channel: Channel::ALL[channel],
                team: team.map(TeamId),
                policy: policy.map(PolicyId),
                assignee: assignee.map(PrincipalId),
                tags: tags.into_iter().collect(),
            }
        })
    }

    fn any_what() -> impl Strategy<Value = What> {
        let took = || prop::option::of((0i64..3_000, 0i64..9).prop_map(|(c, b)| Took { calendar_s: c, business_s: b }));
        let target = || prop::sample::select(Target::ALL);
        let cost = prop::option::of((0i64..10_000, "EUR|NOK")).prop_map(|cost| {
            cost.map(|(amount_minor, currency)| Money { amount_minor, currency: currency.parse().expect("a currency") })
        });
        prop_oneof![
            Just(What::Created),
            Just(What::Entered),
            Just(What::Left),
            Just(What::Reopened),
            (any::<bool>(), took(), took()).prop_map(|(is_first_contact, service, resolution)| {
                What::Resolved { is_first_contact, service, resolution }
            }),
            took().prop_map(What::Started),
            took().prop_map(What::Replied),
            target().prop_map(What::Met),
            target().prop_map(What::Breached),
            (1i64..10_000, 0u128..3, cost).prop_map(|(work_s, worker, cost)| What::Worked {
                worker: PrincipalId(Uuid::from_u128(worker)),
                work_s,
                cost
            }),
        ]
    }

    /// A fact of the first `within_us` microseconds since 1970.
    pub(crate) fn any_fact(within_us: i64) -> impl Strategy<Value = Fact> {
        (0..within_us, any_groups(), any_what(), any::<bool>()).prop_map(|(us, groups, what, is_taken_away)| {
            let fact = Fact::new(Instant::from_micros(us), 1, groups, what);
            if is_taken_away { fact.taken_away() } else { fact }
        })
    }

    proptest! {
        #[test]
        fn keys_are_read_as_they_are_written(fact in any_fact(9)) {
            for axis in Axis::ALL {
                for key in axis.keys_of(&fact) {
                    prop_assert_eq!(axis.parse(key.to_string()), Ok(key));
                }
            }
        }
    }
}
