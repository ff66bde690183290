//! Policies as they are kept: in an order, changed by admins, each version for good. Pure.

use std::collections::BTreeSet;

use super::policy::{Condition, Hours, PolicyDefinition, Rule};
use crate::kernel::text::Line;
use crate::kernel::{CalendarId, Channel, FieldError, Instant, Patch, PolicyId, Priority, TeamId, TicketType};

/// What a policy is called.
pub type PolicyName = Line<200>;

/// How many policies there may be.
pub const MOST_POLICIES: i64 = 100;
/// The last position that a policy can take; the first is 1.
pub const LAST_POSITION: i64 = 1_000_000;
/// How many values a list of a condition may have.
pub const MOST_VALUES: usize = 100;
/// How many targets a policy may have: three, each for all priorities and for each of the four.
pub const MOST_TARGETS: usize = 15;
/// The longest that a target may be, in seconds: a year.
pub const LONGEST_S: i64 = 31_536_000;

/// The longest that something may be due soon, in seconds: a week.
pub const LONGEST_NOTICE_S: i64 = 604_800;

/// How many weeks a calendar has to bring up the time of a target: ten years.
const WEEKS: i64 = 520;

/// A policy.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptPolicy {
    /// Its id.
    pub id: PolicyId,
    /// What it says.
    pub definition: PolicyDefinition,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// What a policy said for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyVersion {
    /// Which version.
    pub version: i64,
    /// Since when it held.
    pub created_at: Instant,
    /// What the policy said.
    pub definition: PolicyDefinition,
}

/// A policy to be made.
#[derive(Debug, Clone)]
pub struct NewPolicy {
    /// Its name.
    pub name: PolicyName,
    /// Its place, if one is wanted.
    pub position: Option<i32>,
    /// Which tickets it is for.
    pub condition: Patch<ConditionChange>,
    /// The calendar of its business hours.
    pub calendar_id: Option<CalendarId>,
    /// What it promises.
    pub targets: Vec<Rule>,
}

impl NewPolicy {
    /// What this policy says, at `position` unless it wants another place.
    pub fn into_definition(self, position: i32) -> PolicyDefinition {
        let NewPolicy { name, position: wanted, condition, calendar_id, targets } = self;
        PolicyDefinition {
            name: name.into_inner(),
            position: wanted.unwrap_or(position),
            condition: Condition::default().changed(condition),
            calendar_id,
            targets,
        }
    }
}

/// What is to be changed of a policy; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct PolicyChange {
    /// Another name.
    pub name: Option<PolicyName>,
    /// Another place.
    pub position: Option<i32>,
    /// Other tickets; all, if emptied.
    pub condition: Patch<ConditionChange>,
    /// Another calendar, or none.
    pub calendar_id: Patch<CalendarId>,
    /// Other promises, all of them.
    pub targets: Option<Vec<Rule>>,
}

/// What is to be changed of a condition: each list stays, is emptied, or is replaced.
#[derive(Debug, Clone, Default)]
pub struct ConditionChange {
    /// Other teams.
    pub team_ids: Patch<Vec<TeamId>>,
    /// Other priorities.
    pub priorities: Patch<Vec<Priority>>,
    /// Other types.
    pub types: Patch<Vec<TicketType>>,
    /// Other channels.
    pub channels: Patch<Vec<Channel>>,
    /// Other tags.
    pub tags: Patch<Vec<String>>,
}

impl Condition {
    /// This condition after `change`.
    #[must_use]
    pub fn changed(self, change: Patch<ConditionChange>) -> Self {
        fn list<T>(old: Vec<T>, patch: Patch<Vec<T>>) -> Vec<T> {
            patch.or(Some(old)).unwrap_or_default()
        }
        match change {
            Patch::Absent => self,
            Patch::Null => Self::default(),
            Patch::Value(ConditionChange { team_ids, priorities, types, channels, tags }) => Self {
                team_ids: list(self.team_ids, team_ids),
                priorities: list(self.priorities, priorities),
                types: list(self.types, types),
                channels: list(self.channels, channels),
                tags: list(self.tags, tags),
            },
        }
    }
}

impl KeptPolicy {
    /// This policy after `change` at `now`; nothing when that changes nothing.
    pub fn changed(&self, change: PolicyChange, now: Instant) -> Option<Self> {
        let PolicyChange { name, position, condition, calendar_id, targets } = change;
        let old = self.definition.clone();
        let definition = PolicyDefinition {
            name: name.map_or(old.name, |name| name.into_inner()),
            position: position.unwrap_or(old.position),
            condition: old.condition.changed(condition),
            calendar_id: calendar_id.or(old.calendar_id),
            targets: targets.unwrap_or(old.targets),
        };
        (definition != self.definition).then(|| Self {
            definition,
            // Never back, also when an instance's clock is.
            updated_at: self.updated_at.max(now),
            version: self.version + 1,
            ..self.clone()
        })
    }
}

/// What was found of all that a policy names.
#[derive(Debug, Clone, Default)]
pub struct FoundReferences {
    /// The working time of its calendar in a week without holidays, in seconds; nothing when there is no such calendar.
    pub weekly_s: Option<i64>,
    /// Those of its teams that there are.
    pub teams: BTreeSet<TeamId>,
}

impl PolicyDefinition {
    /// All that is wrong with it, each with its place.
    pub fn faults(&self, found: &FoundReferences) -> Vec<FieldError> {
        let mut faults = Vec::new();
        let mut fault = |place: String, code, detail: &str| faults.push(FieldError::new(place, code, detail));
        for (nth, team) in self.condition.team_ids.iter().enumerate() {
            if !found.teams.contains(team) {
                fault(format!("/condition/team_ids/{nth}"), "not_found", "there is no such team");
            }
        }
        let business = self.targets.iter().any(|rule| rule.hours == Hours::Business);
        match (self.calendar_id, found.weekly_s) {
            (Some(_), None) => fault("/calendar_id".into(), "not_found", "there is no such calendar"),
            (None, _) if business => {
                fault("/calendar_id".into(), "required", "is required by targets of business hours")
            }
            _ => {}
        }
        if self.targets.is_empty() {
            fault("/targets".into(), "too_short", "must have at least one target");
        }
        for (nth, rule) in self.targets.iter().enumerate() {
            let place = format!("/targets/{nth}");
            if self.targets[..nth].iter().any(|other| (other.target, other.priority) == (rule.target, rule.priority)) {
                fault(place.clone(), "invalid", "is a second one for the same target and priority");
            }
            let enough = |weekly_s: i64| weekly_s.saturating_mul(WEEKS) >= rule.target_s;
            if rule.hours == Hours::Business && !found.weekly_s.is_none_or(enough) {
                fault(format!("{place}/target_s"), "invalid", "the calendar has too little working time for it");
            }
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sla::domain::policy::Target;
    use uuid::Uuid;

    fn rule(target_s: i64, hours: Hours, priority: Option<Priority>) -> Rule {
        Rule { target: Target::Response, priority, target_s, hours, notify_before_s: None }
    }

    fn policy(targets: Vec<Rule>) -> KeptPolicy {
        let definition = PolicyDefinition {
            name: "p".into(),
            position: 1,
            condition: Condition { tags: vec!["a".into()], types: vec![TicketType::Question], ..Condition::default() },
            calendar_id: None,
            targets,
        };
        let id = PolicyId(Uuid::nil());
        KeptPolicy { id, definition, created_at: Instant::EPOCH, updated_at: Instant::EPOCH, version: 1 }
    }

    fn places(policy: &KeptPolicy, found: &FoundReferences) -> Vec<String> {
        policy.definition.faults(found).into_iter().map(|fault| fault.pointer).collect()
    }

    #[test]
    fn a_calendar_must_bring_up_the_time_within_ten_years() {
        let mut policy =
            policy(vec![rule(520 * 60, Hours::Business, None), rule(LONGEST_S, Hours::Calendar, Some(Priority::Low))]);
        assert_eq!(places(&policy, &FoundReferences::default()), ["/calendar_id"]);
        policy.definition.calendar_id = Some(CalendarId(Uuid::nil()));
        assert_eq!(places(&policy, &FoundReferences::default()), ["/calendar_id"]);
        // A minute a week is 520 minutes in ten years.
        for (weekly_s, expected) in [(60, vec![]), (59, vec!["/targets/0/target_s"])] {
            assert_eq!(
                places(&policy, &FoundReferences { weekly_s: Some(weekly_s), ..FoundReferences::default() }),
                expected
            );
        }
    }

    #[test]
    fn a_patch_merges_each_list_of_the_condition_and_nothing_is_no_change() {
        let policy = policy(vec![rule(1, Hours::Calendar, None)]);
        let change = |condition| PolicyChange { condition, ..PolicyChange::default() };
        let only_tags = ConditionChange { tags: Patch::Value(vec!["b".into()]), ..ConditionChange::default() };
        let changed = policy.changed(change(Patch::Value(only_tags)), Instant::from_micros(7)).expect("a change");
        assert_eq!(changed.definition.condition.tags, ["b"]);
        assert_eq!(changed.definition.condition.types, [TicketType::Question]);
        assert_eq!((changed.version, changed.updated_at), (2, Instant::from_micros(7)));
        let no_types = ConditionChange { types: Patch::Null, ..ConditionChange::default() };
        let changed = policy.changed(change(Patch::Value(no_types)), Instant::EPOCH).expect("a change");
        assert!(changed.definition.condition.types.is_empty() && changed.definition.condition.tags == ["a"]);
        let changed = policy.changed(change(Patch::Null), Instant::EPOCH).expect("a change");
        assert_eq!(changed.definition.condition, Condition::default());
        let same = ConditionChange { tags: Patch::Value(vec!["a".into()]), ..ConditionChange::default() };
        for nothing in [PolicyChange::default(), change(Patch::Value(same))] {
            assert_eq!(policy.changed(nothing, Instant::from_micros(7)), None);
        }
    }
}
