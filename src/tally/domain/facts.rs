//! What happened to tickets: when, and what the ticket was then. A correction takes a fact away; nothing else ever
//! changes one. Pure.

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
    /// It was solved by the end of its alert, and nobody had worked on it.
    ResolvedByAlert {
        /// The time in `open`, until then.
        service: Option<Took>,
        /// The time since the report.
        resolution: Option<Took>,
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

    /// The same of a ticket that was solved by the end of its alert, before anybody had worked on it: what looks like
    /// the beginning of work is none, and nobody was quick.
    #[must_use]
    pub fn by_alert(self) -> Self {
        let what = match self.what {
            What::Started(_) => What::Started(None),
            What::Resolved { service, resolution, .. } => What::ResolvedByAlert { service, resolution },
            other => other,
        };
        Self { what, ..self }
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
    /// By what tickets, and work on them, are told apart: by what the ticket was when something happened to it.
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
        /// Of work on it, who did it: what is no work is in no group.
        Worker = "worker",
    }
}

/// By what numbers are kept: by one thing, or by nothing, which makes a single group of all.
pub type Axis = Option<GroupBy>;

/// All axes, that of all tickets first.
pub fn axes() -> impl Iterator<Item = Axis> {
    std::iter::once(None).chain(GroupBy::ALL.iter().copied().map(Some))
}

/// What an axis is called where it is stored.
pub fn axis_name(axis: Axis) -> &'static str {
    axis.map_or("all", GroupBy::as_str)
}

/// Which group of an axis.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AxisKey {
    /// That of something with an id.
    Id(AnyId),
    /// That of a word: one of a closed vocabulary, or a tag.
    Word(String),
    /// That of tickets without; of the axis of all tickets, the only one.
    None,
}

/// The groups on an axis that a ticket is in.
pub fn keys(axis: Axis, groups: &TicketGroups) -> Vec<AxisKey> {
    let id = |id: Option<uuid::Uuid>| vec![id.map_or(AxisKey::None, |id| AxisKey::Id(AnyId(id)))];
    match axis {
        None => vec![AxisKey::None],
        Some(GroupBy::Team) => id(groups.team.map(|TeamId(id)| id)),
        Some(GroupBy::Policy) => id(groups.policy.map(|PolicyId(id)| id)),
        Some(GroupBy::Assignee) => id(groups.assignee.map(|PrincipalId(id)| id)),
        Some(GroupBy::Priority) => vec![AxisKey::Word(groups.priority.to_string())],
        Some(GroupBy::Type) => vec![AxisKey::Word(groups.kind.to_string())],
        Some(GroupBy::Channel) => vec![AxisKey::Word(groups.channel.to_string())],
        Some(GroupBy::Tag) if groups.tags.is_empty() => vec![AxisKey::None],
        Some(GroupBy::Tag) => groups.tags.iter().cloned().map(AxisKey::Word).collect(),
        Some(GroupBy::Worker) => Vec::new(),
    }
}

/// The groups on an axis that a fact is in.
pub fn keys_of(axis: Axis, fact: &Fact) -> Vec<AxisKey> {
    match (axis, &fact.what) {
        (Some(GroupBy::Worker), What::Worked { worker, .. }) => vec![AxisKey::Id(AnyId(worker.0))],
        _ => keys(axis, &fact.groups),
    }
}

/// The key on an axis that is stored so.
///
/// # Errors
/// When it is no id where one is meant.
pub fn parse_key(axis: Axis, text: String) -> Result<AxisKey, uuid::Error> {
    Ok(match axis {
        _ if text.is_empty() => AxisKey::None,
        Some(GroupBy::Team | GroupBy::Policy | GroupBy::Assignee | GroupBy::Worker) => {
            AxisKey::Id(AnyId(text.parse()?))
        }
        None | Some(GroupBy::Priority | GroupBy::Type | GroupBy::Channel | GroupBy::Tag) => AxisKey::Word(text),
    })
}

impl std::fmt::Display for AxisKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AxisKey::Id(id) => id.fmt(f),
            AxisKey::Word(word) => f.write_str(word),
            AxisKey::None => Ok(()),
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
            (took(), took()).prop_map(|(service, resolution)| What::ResolvedByAlert { service, resolution }),
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
            for axis in axes() {
                for key in keys_of(axis, &fact) {
                    prop_assert_eq!(parse_key(axis, key.to_string()), Ok(key));
                }
            }
        }
    }
}
