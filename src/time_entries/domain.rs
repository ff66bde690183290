//! Work on a ticket and what it cost. Pure.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::kernel::words::words;
use crate::kernel::{Currency, Instant, Money, PrincipalId, TimeEntryId};

/// The most work that one entry holds: a week, in seconds.
pub const MOST_WORK_S: i64 = 604_800;

/// How many seconds an hourly rate is for.
const HOUR_S: i128 = 3600;

words! {
    /// Whose hourly rate it was.
    pub enum RateOf {
        /// The agent's own.
        Agent = "agent",
        /// That of the team that the ticket was in.
        Team = "team",
        /// That of the service, from its settings.
        Default = "default",
    }
}

/// An hourly rate, whose it was, and what work at it cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// What an hour cost.
    pub hourly_rate: Money,
    /// Whose rate it was.
    pub rate_of: RateOf,
    /// What the work cost.
    pub cost: Money,
}

impl Price {
    /// The price of `work_s` seconds by the first rate there is: the agent's own, the team's, the service's.
    pub fn of(work_s: i64, agent: Option<Money>, team: Option<Money>, default: Option<Money>) -> Option<Self> {
        let rates = [(agent, RateOf::Agent), (team, RateOf::Team), (default, RateOf::Default)];
        let (hourly_rate, rate_of) = rates.into_iter().find_map(|(rate, of)| Some((rate?, of)))?;
        Some(Self { hourly_rate, rate_of, cost: cost(work_s, hourly_rate) })
    }
}

/// What `work_s` seconds cost at `hourly_rate`, rounded half up to a minor unit; saturates.
pub fn cost(work_s: i64, hourly_rate: Money) -> Money {
    let exact_times_hour = i128::from(work_s) * i128::from(hourly_rate.amount_minor);
    let amount_minor = (exact_times_hour + HOUR_S / 2).div_euclid(HOUR_S);
    Money { amount_minor: i64::try_from(amount_minor).unwrap_or(i64::MAX), ..hourly_rate }
}

/// Work on a ticket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeEntry {
    /// The id.
    pub id: TimeEntryId,
    /// The number of the ticket.
    pub ticket_number: i64,
    /// Whose work it is.
    pub agent_id: PrincipalId,
    /// Who entered it.
    pub created_by_id: PrincipalId,
    /// How long it took, in seconds.
    pub work_s: i64,
    /// What it cost, by the rate that held when it was entered; nothing when there was none.
    pub price: Option<Price>,
    /// What was done.
    pub note: Option<String>,
    /// When the work was done.
    pub worked_at: Instant,
    /// When it was entered.
    pub created_at: Instant,
    /// Always 1: entries are added and removed, never changed.
    pub version: i64,
}

impl TimeEntry {
    /// Every value of the entry by its name, for the audit trail, which keeps what is removed.
    pub fn audited(&self) -> Vec<(&'static str, Value)> {
        // Taken apart whole, so that a new field does not compile until it is decided whether it is audited.
        let Self {
            id,
            ticket_number: _,
            agent_id,
            created_by_id,
            work_s,
            price,
            note,
            worked_at,
            created_at,
            version: _,
        } = self;
        vec![
            ("time_entry_id", json!(id)),
            ("agent_id", json!(agent_id)),
            ("created_by_id", json!(created_by_id)),
            ("work_s", json!(work_s)),
            ("hourly_rate", json!(price.map(|price| price.hourly_rate))),
            ("rate_of", json!(price.map(|price| price.rate_of))),
            ("cost", json!(price.map(|price| price.cost))),
            ("note", json!(note)),
            ("worked_at", json!(worked_at)),
            ("created_at", json!(created_at)),
        ]
    }
}

/// What all work on a ticket comes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    /// All of the work, in seconds.
    pub work_s: i64,
    /// As much of it as has no rate, in seconds.
    pub unrated_work_s: i64,
    /// What the rest of it cost, by currency.
    pub costs: BTreeMap<Currency, i64>,
}

impl Total {
    /// With `work_s` more seconds, which cost `cost`.
    #[must_use]
    pub fn and(mut self, work_s: i64, cost: Option<Money>) -> Self {
        self.work_s = self.work_s.saturating_add(work_s);
        match cost {
            Some(Money { amount_minor, currency }) => {
                let sum = self.costs.entry(currency).or_default();
                *sum = sum.saturating_add(amount_minor);
            }
            None => self.unrated_work_s = self.unrated_work_s.saturating_add(work_s),
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::money::MOST_MINOR;
    use proptest::prelude::*;

    fn money(amount_minor: i64, currency: &str) -> Money {
        Money { amount_minor, currency: currency.parse().expect("a currency") }
    }

    fn eur(amount_minor: i64) -> Money {
        money(amount_minor, "EUR")
    }

    #[test]
    fn halves_are_rounded_up() {
        for (work_s, rate, expected) in [
            (3600, 9000, 9000),
            (1, 1800, 1),
            (1, 1799, 0),
            (1, 0, 0),
            (1200, 100, 33),
            (2400, 100, 67),
            (900, 9001, 2250),
            (900, 9002, 2251),
            (604_800, MOST_MINOR, 168 * MOST_MINOR),
            (604_800, i64::MAX, i64::MAX),
        ] {
            assert_eq!(cost(work_s, eur(rate)), eur(expected), "{work_s} s at {rate}");
        }
    }

    proptest! {
        #[test]
        fn the_cost_is_the_nearest_minor_unit(work_s in 1..=MOST_WORK_S, rate in 0..=MOST_MINOR) {
            let paid = i128::from(cost(work_s, eur(rate)).amount_minor) * 3600;
            let exact = i128::from(work_s) * i128::from(rate);
            // Within half a unit, and up when it is just half.
            prop_assert!(paid - exact <= 1800 && exact - paid < 1800, "{paid} for {exact}");
        }

        #[test]
        fn whole_hours_are_exact_and_more_work_never_costs_less(hours in 1i64..168, more_s in 0i64..3600, rate in 0..=MOST_MINOR) {
            let whole = cost(hours * 3600, eur(rate)).amount_minor;
            prop_assert_eq!(whole, hours * rate);
            let more = cost(hours * 3600 + more_s, eur(rate)).amount_minor;
            prop_assert!((whole..=whole + rate).contains(&more));
        }

        #[test]
        fn the_nearest_rate_holds(rates in prop::array::uniform3(prop::option::of(0i64..1000)), work_s in 1..=MOST_WORK_S) {
            let [agent, team, default] = rates.map(|rate| rate.map(eur));
            let price = Price::of(work_s, agent, team, default);
            let expected = match (agent, team, default) {
                (Some(rate), _, _) => Some((rate, RateOf::Agent)),
                (None, Some(rate), _) => Some((rate, RateOf::Team)),
                (None, None, Some(rate)) => Some((rate, RateOf::Default)),
                (None, None, None) => None,
            };
            prop_assert_eq!(price.map(|p| (p.hourly_rate, p.rate_of)), expected);
            prop_assert_eq!(price.map(|p| p.cost), expected.map(|(rate, _)| cost(work_s, rate)));
        }

        #[test]
        fn a_total_is_the_same_in_any_order(
            entries in prop::collection::vec((1..=MOST_WORK_S, prop::option::of((0..=MOST_MINOR, "EUR|NOK|USD"))), 0..20),
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(work_s, cost)| (work_s, cost.map(|(minor, currency)| money(minor, &currency)))).collect();
            let total = entries.iter().fold(Total::default(), |total, (work_s, cost)| total.and(*work_s, *cost));
            let back = entries.iter().rev().fold(Total::default(), |total, (work_s, cost)| total.and(*work_s, *cost));
            prop_assert_eq!(&total, &back);
            prop_assert_eq!(total.work_s, entries.iter().map(|(work_s, _)| work_s).sum::<i64>());
            let unrated = entries.iter().filter(|(_, cost)| cost.is_none());
            prop_assert_eq!(total.unrated_work_s, unrated.map(|(work_s, _)| work_s).sum::<i64>());
            let paid: i64 = entries.iter().filter_map(|(_, cost)| Some((*cost)?.amount_minor)).sum();
            prop_assert_eq!(total.costs.values().sum::<i64>(), paid);
        }
    }
}
