//! SLA policies: which tickets get which promise. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::calendar::Calendar;
use crate::db::schema::tickets;
pub use crate::kernel::Target;
use crate::kernel::sql::Json;
use crate::kernel::words::words;
use crate::kernel::{CalendarId, Channel, Instant, PolicyId, Priority, TeamId, TicketType};

words! {
    /// Which time counts.
    pub enum Hours {
        /// All of it.
        Calendar = "calendar",
        /// Working hours, by the policy's calendar.
        Business = "business",
    }
}

/// One version of something that is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VersionOf<Id> {
    /// What.
    pub id: Id,
    /// Which version of it.
    pub version: i64,
}

/// What a ticket is, as far as policies ask.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = tickets)]
pub struct Traits {
    /// Whose queue it is in.
    pub team_id: Option<TeamId>,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// Its labels.
    #[diesel(deserialize_as = Json<Vec<String>>)]
    pub tags: Vec<String>,
}

/// Which tickets a policy is for: all that have one of the values in each list that is not empty.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Of one of these teams.
    pub team_ids: Vec<TeamId>,
    /// Of one of these priorities.
    pub priorities: Vec<Priority>,
    /// Of one of these types.
    pub types: Vec<TicketType>,
    /// Reported in one of these ways.
    pub channels: Vec<Channel>,
    /// With one of these tags.
    pub tags: Vec<String>,
}

impl Condition {
    /// Whether a ticket like this is meant.
    pub fn holds(&self, ticket: &Traits) -> bool {
        fn any<T: PartialEq>(wanted: &[T], value: Option<&T>) -> bool {
            wanted.is_empty() || value.is_some_and(|value| wanted.contains(value))
        }
        any(&self.team_ids, ticket.team_id.as_ref())
            && any(&self.priorities, Some(&ticket.priority))
            && any(&self.types, Some(&ticket.kind))
            && any(&self.channels, Some(&ticket.channel))
            && (self.tags.is_empty() || ticket.tags.iter().any(|tag| self.tags.contains(tag)))
    }
}

/// How long something may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What.
    pub target: Target,
    /// For tickets of this priority; for those of every priority that has no rule of its own, if left out.
    pub priority: Option<Priority>,
    /// How long, in seconds.
    pub target_s: i64,
    /// Of which time.
    pub hours: Hours,
    /// How long before it is due it is due soon, in seconds of any time; 0 for never, and unless said by
    /// [`notify_before_s`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_before_s: Option<i64>,
}

/// How long before something is due that may take `target_s` it is due soon, unless it is said: a fifth of that, and
/// an hour at most.
pub fn notify_before_s(target_s: i64) -> i64 {
    (target_s / 5).min(3_600)
}

/// What a policy says, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyDefinition {
    /// What it is called.
    pub name: String,
    /// Its place: the first policy whose condition holds is the ticket's.
    pub position: i32,
    /// Which tickets it is for.
    pub condition: Condition,
    /// The calendar of its business hours.
    pub calendar_id: Option<CalendarId>,
    /// What it promises.
    pub targets: Vec<Rule>,
}

/// One version of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Which.
    pub of: VersionOf<PolicyId>,
    /// What it says.
    pub definition: PolicyDefinition,
}

impl Policy {
    /// The rule for `target` on tickets of this priority, if there is one.
    pub fn rule(&self, target: Target, priority: Priority) -> Option<&Rule> {
        let rules = || self.definition.targets.iter().filter(move |rule| rule.target == target);
        rules().find(|rule| rule.priority == Some(priority)).or_else(|| rules().find(|rule| rule.priority.is_none()))
    }
}

/// A promise about one ticket: which version of what judges it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pledge {
    /// The policy that promises.
    pub policy: VersionOf<PolicyId>,
    /// The priority that the ticket had when it was promised.
    pub priority: Priority,
    /// How long it may take, in seconds.
    pub target_s: i64,
    /// Of which time.
    pub hours: Hours,
    /// The calendar of business hours; none for calendar hours.
    pub calendar: Option<VersionOf<CalendarId>>,
    /// How long before it is due it is due soon, if that is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_before_s: Option<i64>,
}

/// A way to measure time.
#[derive(Debug, Clone)]
pub enum Measure {
    /// All time counts.
    AllTime,
    /// Working hours count.
    Working(Arc<Calendar>),
}

impl Measure {
    /// The time that counts from `from` to `to`, in microseconds; none when they are the wrong way round.
    pub fn elapsed_us(&self, from: Instant, to: Instant) -> i64 {
        match self {
            Measure::AllTime => (to.micros() - from.micros()).max(0),
            Measure::Working(calendar) => calendar.working_us(from, to),
        }
    }

    /// The first instant at which `us` microseconds that count have passed since `from`; nothing when a calendar does
    /// not bring them up within its horizon.
    pub fn after(&self, from: Instant, us: i64) -> Option<Instant> {
        match self {
            Measure::AllTime => Some(Instant::from_micros(from.micros().saturating_add(us.max(0)))),
            Measure::Working(calendar) => calendar.after_working(from, us),
        }
    }
}

/// Calendars by version: what measures the clocks that a piece of work deals with.
#[derive(Debug, Clone, Default)]
pub struct CalendarSet(pub BTreeMap<VersionOf<CalendarId>, Arc<Calendar>>);

impl CalendarSet {
    /// How a promise is measured. A calendar that is not here measures all time.
    pub fn measure(&self, pledge: &Pledge) -> Measure {
        let calendar = pledge.calendar.and_then(|of| self.0.get(&of));
        calendar.map_or(Measure::AllTime, |calendar| Measure::Working(calendar.clone()))
    }
}

/// All that holds now, or held from an edit on: the policies in their order, and the calendars.
#[derive(Debug, Clone, Default)]
pub struct SlaConfiguration {
    /// The number of the edit that has made it so.
    pub edit: i64,
    /// By position, the older one first where two have the same.
    pub policies: Vec<Policy>,
    /// The version of each calendar that holds now.
    pub calendars: BTreeMap<CalendarId, i64>,
    /// The calendar for tickets whose policy has none.
    pub default_calendar: Option<CalendarId>,
    /// The calendars of these versions.
    pub calendar_set: CalendarSet,
}

impl SlaConfiguration {
    /// The policy for a ticket like this: the first whose condition holds.
    pub fn select(&self, ticket: &Traits) -> Option<&Policy> {
        self.policies.iter().find(|policy| policy.definition.condition.holds(ticket))
    }

    /// What `policy` promises for `target` on tickets of this priority.
    pub fn pledge(&self, policy: &Policy, target: Target, priority: Priority) -> Option<Pledge> {
        let rule = policy.rule(target, priority)?;
        let calendar = match rule.hours {
            Hours::Calendar => None,
            Hours::Business => policy.definition.calendar_id.and_then(|id| self.version_of(id)),
        };
        let Rule { target_s, hours, notify_before_s, .. } = *rule;
        Some(Pledge { policy: policy.of, priority, target_s, hours, calendar, notify_before_s })
    }

    /// What business time is on a ticket with this policy: by the policy's calendar, or else the default one; without
    /// any, all time is.
    pub fn business(&self, policy: Option<&Policy>) -> Measure {
        let id = policy.and_then(|policy| policy.definition.calendar_id).or(self.default_calendar);
        let calendar = id.and_then(|id| self.version_of(id)).and_then(|of| self.calendar_set.0.get(&of));
        calendar.map_or(Measure::AllTime, |calendar| Measure::Working(calendar.clone()))
    }

    fn version_of(&self, id: CalendarId) -> Option<VersionOf<CalendarId>> {
        self.calendars.get(&id).map(|version| VersionOf { id, version: *version })
    }
}
