//! Facts about tickets: what happened, when, and to which kind of ticket. A change of a ticket takes some away and puts
//! others in their place. Pure.

use uuid::Uuid;

use super::packed::{Broken, Reader, Writer};
use crate::kernel::{AnyId, Channel, Currency, Instant, Money, PolicyId, Priority, Target, TeamId, TicketType};

/// The groups that a ticket is in: one of each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Keys {
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
}

/// A duration, in seconds of all hours and of business hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

/// Something that happened to a ticket, as far as figures go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It was opened.
    Created,
    /// Somebody began to work on it.
    Started(Option<Took>),
    /// An agent answered in public for the first time.
    Replied(Option<Took>),
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

impl What {
    /// It was solved, having come back `reopen_count` times and needed `agent_comments` answers; durations are in all seconds
    /// and in those of working hours.
    pub fn resolved(
        (reopen_count, agent_comments): (i32, i32),
        service: (Option<i64>, Option<i64>),
        resolution: (Option<i64>, Option<i64>),
    ) -> Self {
        What::Resolved {
            reopened: reopen_count > 0,
            first_contact: reopen_count == 0 && agent_comments <= 1,
            service: Took::of(service.0, service.1),
            resolution: Took::of(resolution.0, resolution.1),
        }
    }
}

/// What happened to a ticket, when, and what kind of ticket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fact {
    /// When.
    pub at: Instant,
    /// The groups of the ticket, as it is now.
    pub keys: Keys,
    /// What.
    pub what: What,
}

/// Facts, and how often each is there: negative for one that is taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts(Vec<(Fact, i64)>);

impl Facts {
    /// What a change takes away and adds.
    pub fn changed(before: impl IntoIterator<Item = Fact>, after: impl IntoIterator<Item = Fact>) -> Self {
        let mut facts = Self::default();
        before.into_iter().for_each(|fact| facts.add(fact, -1));
        after.into_iter().for_each(|fact| facts.add(fact, 1));
        facts.settled()
    }

    /// Adds `n` times a fact.
    pub fn add(&mut self, fact: Fact, n: i64) {
        self.0.push((fact, n));
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// In order, each fact once, and none that comes to nothing.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.0.sort_unstable_by_key(|(fact, _)| *fact);
        self.0.dedup_by(|(fact, n), (kept, sum)| {
            let same = fact == kept;
            if same {
                *sum += *n;
            }
            same
        });
        self.0.retain(|(_, n)| *n != 0);
        self
    }

    /// Only those of which this holds.
    #[must_use]
    pub fn only(mut self, holds: impl Fn(&Fact) -> bool) -> Self {
        self.0.retain(|(fact, _)| holds(fact));
        self
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Each with how often it is there.
    pub fn iter(&self) -> impl Iterator<Item = (&Fact, i64)> {
        self.0.iter().map(|(fact, n)| (fact, *n))
    }

    /// In few bytes.
    pub fn pack(&self) -> Vec<u8> {
        let mut known: Vec<Keys> = self.0.iter().map(|(fact, _)| fact.keys).collect();
        known.sort_unstable();
        known.dedup();
        let mut writer = Writer::default();
        writer.natural(known.len() as u64);
        for keys in &known {
            pack_keys(&mut writer, keys);
        }
        writer.natural(self.0.len() as u64);
        let mut last = 0;
        for (fact, n) in &self.0 {
            writer.whole(fact.at.micros() - last);
            last = fact.at.micros();
            writer.natural(known.partition_point(|keys| *keys < fact.keys) as u64);
            pack_what(&mut writer, &fact.what, *n);
        }
        writer.0
    }

    /// As [`Facts::pack`] wrote them.
    ///
    /// # Errors
    /// When it did not.
    pub fn unpack(bytes: &[u8]) -> Result<Self, Broken> {
        let mut facts = Self::default();
        look(bytes, |keys| Some(*keys), |keys, at, what, n| facts.add(Fact { at, keys: *keys, what: *what }, n))?;
        Ok(facts)
    }
}

/// Looks at packed facts one by one, without keeping them. Many tickets have the same keys, so `of` says but once what
/// tickets of some keys are, or that they are not meant; `each` gets that with every fact about one of them: when, what,
/// and how often.
///
/// # Errors
/// When [`Facts::pack`] did not write the bytes.
pub fn look<T>(
    bytes: &[u8],
    mut of: impl FnMut(&Keys) -> Option<T>,
    mut each: impl FnMut(&T, Instant, &What, i64),
) -> Result<(), Broken> {
    let mut reader = Reader(bytes);
    let known = (0..reader.count()?).map(|_| Ok(of(&unpack_keys(&mut reader)?))).collect::<Result<Vec<_>, _>>()?;
    let mut at: i64 = 0;
    for _ in 0..reader.count()? {
        at = at.checked_add(reader.whole()?).ok_or(Broken)?;
        let keys = known.get(reader.count()?).ok_or(Broken)?;
        let (what, n) = unpack_what(&mut reader)?;
        if let Some(of) = keys {
            each(of, Instant::from_micros(at), &what, n);
        }
    }
    Ok(())
}

/// Words are written by their place: a vocabulary may grow at its end alone.
fn word<T: Copy>(all: &[T], place: u8) -> Result<T, Broken> {
    all.get(usize::from(place)).copied().ok_or(Broken)
}

fn pack_keys(writer: &mut Writer, Keys { priority, kind, channel, team, policy }: &Keys) {
    writer.byte(*priority as u8);
    writer.byte(*kind as u8);
    writer.byte(*channel as u8);
    writer.bytes(team.as_ref().map_or(&[], |TeamId(id)| id.as_bytes()));
    writer.bytes(policy.as_ref().map_or(&[], |PolicyId(id)| id.as_bytes()));
}

fn unpack_keys(reader: &mut Reader<'_>) -> Result<Keys, Broken> {
    let priority = word(Priority::ALL, reader.byte()?)?;
    let kind = word(TicketType::ALL, reader.byte()?)?;
    let channel = word(Channel::ALL, reader.byte()?)?;
    let mut id = || match reader.bytes()? {
        [] => Ok(None),
        bytes => Uuid::from_slice(bytes).map(|id| Some(AnyId(id))).map_err(|_| Broken),
    };
    let team = id()?.map(|AnyId(id)| TeamId(id));
    let policy = id()?.map(|AnyId(id)| PolicyId(id));
    Ok(Keys { priority, kind, channel, team, policy })
}

// A byte says what follows: the kind, and bits.
const KIND: u8 = 0x0f;
const MANY: u8 = 0x10;
const A: u8 = 0x20;
const B: u8 = 0x40;

fn pack_what(writer: &mut Writer, what: &What, n: i64) {
    let (kind, bits) = match what {
        What::Created => (0, 0),
        What::Started(took) => (1, if took.is_some() { A } else { 0 }),
        What::Replied(took) => (2, if took.is_some() { A } else { 0 }),
        What::Resolved { reopened, first_contact, .. } => {
            (3, if *reopened { A } else { 0 } | if *first_contact { B } else { 0 })
        }
        What::Met(target) => (4 + *target as u8, 0),
        What::Breached(target) => (7 + *target as u8, 0),
        What::Worked { cost, .. } => (10, if cost.is_some() { A } else { 0 }),
    };
    writer.byte(kind | bits | if n == 1 { 0 } else { MANY });
    if n != 1 {
        writer.whole(n);
    }
    match what {
        What::Created | What::Met(_) | What::Breached(_) => {}
        What::Started(took) | What::Replied(took) => pack_took(writer, *took),
        What::Resolved { service, resolution, .. } => {
            writer.byte(u8::from(service.is_some()) | u8::from(resolution.is_some()) << 1);
            pack_took(writer, *service);
            pack_took(writer, *resolution);
        }
        What::Worked { work_s, cost } => {
            writer.whole(*work_s);
            if let Some(Money { amount_minor, currency }) = cost {
                writer.whole(*amount_minor);
                writer.bytes(currency.as_str().as_bytes());
            }
        }
    }
}

fn pack_took(writer: &mut Writer, took: Option<Took>) {
    if let Some(Took { calendar_s, business_s }) = took {
        writer.whole(calendar_s);
        writer.whole(business_s);
    }
}

fn unpack_what(reader: &mut Reader<'_>) -> Result<(What, i64), Broken> {
    let head = reader.byte()?;
    let n = if head & MANY == 0 { 1 } else { reader.whole()? };
    let what = match head & KIND {
        0 => What::Created,
        1 => What::Started(unpack_took(reader, head & A != 0)?),
        2 => What::Replied(unpack_took(reader, head & A != 0)?),
        3 => {
            let there = reader.byte()?;
            What::Resolved {
                reopened: head & A != 0,
                first_contact: head & B != 0,
                service: unpack_took(reader, there & 1 != 0)?,
                resolution: unpack_took(reader, there & 2 != 0)?,
            }
        }
        target @ 4..=6 => What::Met(word(Target::ALL, target - 4)?),
        target @ 7..=9 => What::Breached(word(Target::ALL, target - 7)?),
        10 => {
            let work_s = reader.whole()?;
            let cost = if head & A == 0 {
                None
            } else {
                let amount_minor = reader.whole()?;
                let letters = std::str::from_utf8(reader.bytes()?).map_err(|_| Broken)?;
                Some(Money { amount_minor, currency: letters.parse::<Currency>().map_err(|_| Broken)? })
            };
            What::Worked { work_s, cost }
        }
        _ => return Err(Broken),
    };
    Ok((what, n))
}

fn unpack_took(reader: &mut Reader<'_>, there: bool) -> Result<Option<Took>, Broken> {
    Ok(if there { Some(Took { calendar_s: reader.whole()?, business_s: reader.whole()? }) } else { None })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Keys, few enough that facts meet.
    pub(crate) fn any_keys() -> impl Strategy<Value = Keys> {
        let id = || prop::option::of((0u128..3).prop_map(Uuid::from_u128));
        let words = (0usize..2, 0usize..2, 0usize..2);
        (words, id(), id()).prop_map(|((priority, kind, channel), team, policy)| Keys {
            priority: Priority::ALL[priority],
            kind: TicketType::ALL[kind],
            channel: Channel::ALL[channel],
            team: team.map(TeamId),
            policy: policy.map(PolicyId),
        })
    }

    pub(crate) fn any_what() -> impl Strategy<Value = What> {
        let took = || prop::option::of((0i64..3_000, 0i64..9).prop_map(|(c, b)| Took { calendar_s: c, business_s: b }));
        let target = || prop::sample::select(Target::ALL);
        let cost = prop::option::of((0i64..10_000, "EUR|NOK")).prop_map(|cost| {
            cost.map(|(amount_minor, currency)| Money { amount_minor, currency: currency.parse().expect("a currency") })
        });
        prop_oneof![
            Just(What::Created),
            (any::<bool>(), any::<bool>(), took(), took()).prop_map(
                |(reopened, first_contact, service, resolution)| {
                    What::Resolved { reopened, first_contact, service, resolution }
                }
            ),
            took().prop_map(What::Started),
            took().prop_map(What::Replied),
            target().prop_map(What::Met),
            target().prop_map(What::Breached),
            (1i64..10_000, cost).prop_map(|(work_s, cost)| What::Worked { work_s, cost }),
        ]
    }

    pub(crate) fn any_fact(within_us: i64) -> impl Strategy<Value = Fact> {
        (0..within_us, any_keys(), any_what()).prop_map(|(us, keys, what)| Fact {
            at: Instant::from_micros(us),
            keys,
            what,
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(facts in prop::collection::vec((any_fact(1 << 50), -2i64..4), 0..40)) {
            let facts = Facts(facts);
            prop_assert_eq!(Facts::unpack(&facts.pack()), Ok(facts.clone()));
            let settled = facts.settled();
            prop_assert!(settled.0.is_sorted_by(|(a, _), (b, _)| a < b) && settled.iter().all(|(_, n)| n != 0));
            prop_assert_eq!(Facts::unpack(&settled.pack()), Ok(settled));
        }

        #[test]
        fn what_is_not_packed_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Facts::unpack(&bytes);
        }

        #[test]
        fn a_change_and_its_reverse_come_to_nothing(before in prop::collection::vec(any_fact(9), 0..6), after in prop::collection::vec(any_fact(9), 0..6)) {
            let mut both = Facts::changed(before.clone(), after.clone());
            both.merge(Facts::changed(after, before));
            prop_assert!(both.settled().is_empty());
        }
    }
}
