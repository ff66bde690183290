//! What a policy would have promised, and kept, had it been there. Pure.

use super::clock::{ClockState, SlaClock, TicketState, Times};
use super::policy::{Policy, PolicyDefinition, SlaConfiguration, Target, VersionOf};
use crate::kernel::{Instant, PolicyId};

/// How many clocks stand how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Those that ended in time.
    pub met: u32,
    /// Those that did not.
    pub breached: u32,
    /// Those whose time counts.
    pub running: u32,
    /// Those whose time does not.
    pub paused: u32,
}

impl Tally {
    fn add(&mut self, state: ClockState) {
        match state {
            ClockState::Met => self.met += 1,
            ClockState::Breached => self.breached += 1,
            ClockState::Running => self.running += 1,
            ClockState::Paused => self.paused += 1,
        }
    }

    /// All of them.
    pub fn clocks(&self) -> u32 {
        self.met + self.breached + self.running + self.paused
    }

    /// Those that ended in time among those that are decided; nothing when none is.
    pub fn attainment(&self) -> Option<f64> {
        let decided = self.met + self.breached;
        (decided > 0).then(|| f64::from(self.met) / f64::from(decided))
    }
}

/// What was seen so far.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preview {
    /// How many tickets there are.
    pub tickets: u32,
    /// How many of them the draft would be the policy of.
    pub matched: u32,
    /// How their clocks would stand, in the order of [`Target::ALL`].
    pub promised: [Tally; 3],
    /// How the clocks that they have stand.
    pub actual: [Tally; 3],
}

/// A draft among the policies that there are.
#[derive(Debug, Clone)]
pub struct Trial {
    configuration: SlaConfiguration,
    draft: VersionOf<PolicyId>,
}

impl Trial {
    /// `draft` in its place in `configuration`; behind those of the same position, since it is the youngest.
    pub fn new(mut configuration: SlaConfiguration, draft: PolicyDefinition) -> Self {
        // No policy has this id, and none this version.
        let of = VersionOf { id: PolicyId(uuid::Uuid::nil()), version: 0 };
        let place = configuration.policies.partition_point(|policy| policy.definition.position <= draft.position);
        configuration.policies.insert(place, Policy { of, definition: draft });
        Self { configuration, draft: of }
    }

    /// Judges one ticket as if the draft had held since it was reported, at `now`.
    pub fn see(&self, seen: &mut Preview, ticket: &TicketState, times: &Times, now: Instant) {
        seen.tickets += 1;
        let Some(policy) = self.configuration.select(&ticket.traits).filter(|policy| policy.of == self.draft) else {
            return;
        };
        seen.matched += 1;
        for (nth, target) in Target::ALL.iter().enumerate() {
            if let Some(pledge) = self.configuration.pledge(policy, *target, ticket.traits.priority) {
                let measure = self.configuration.calendar_set.measure(&pledge);
                seen.promised[nth].add(SlaClock::judge(*target, pledge, &measure, &times.timeline).at(now).state());
            }
            if let Some(clock) = times.clocks.iter().find(|clock| clock.target == *target) {
                seen.actual[nth].add(clock.clone().at(now).state());
            }
        }
    }
}
