//! Policies and their preview as clients write and see them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::domain::Principal;
use crate::auth::policy::ReadSla;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::text::Line;
use crate::kernel::whole::Whole;
use crate::kernel::{CalendarId, Channel, Instant, Patch, PolicyId, Priority, Set, TeamId, TicketType};
use crate::sla::domain::policies::{
    ConditionChange, KeptPolicy, LONGEST_NOTICE_S, MOST_TARGETS, MOST_VALUES, NewPolicy, PolicyChange, PolicyName,
    PolicyVersion,
};
use crate::sla::domain::policy::{Condition, Hours, PolicyDefinition, Rule, Target};
use crate::sla::domain::preview::{Preview, Tally};

/// A place in the order.
pub type Position = Whole<0, 1_000_000>;

fn place(position: Position) -> i32 {
    i32::try_from(position.get()).unwrap_or(i32::MAX)
}

/// Values, each once, in the order given; at most 100.
#[derive(Debug, Clone, PartialEq)]
pub struct Few<T>(Vec<T>);

impl<T: Deserr<Faults> + PartialEq> Deserr<Faults> for Few<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let mut values = Vec::new();
        for value in Vec::<T>::deserialize_from_value(value, location)? {
            if !values.contains(&value) {
                values.push(value);
            }
            if values.len() > MOST_VALUES {
                let fault = Faults::at(location, "too_many", format!("must have at most {MOST_VALUES} values"));
                return Err(fault.with("max", MOST_VALUES));
            }
        }
        Ok(Self(values))
    }
}

impl<T> Few<T> {
    /// The values.
    pub fn into_values(self) -> Vec<T> {
        self.0
    }
}

/// A label of tickets.
#[derive(Debug, Clone, PartialEq)]
pub struct ConditionTag(String);

impl Deserr<Faults> for ConditionTag {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let tag = Line::<64>::deserialize_from_value(value, location)?.into_inner();
        if tag.contains(',') {
            return Err(Faults::at(location, "invalid", "must not contain a comma: no tag does"));
        }
        Ok(Self(tag))
    }
}

/// Which tickets a policy is for: all that have one of the values in each list that is not empty.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct SlaConditionInput {
    /// Of one of these teams; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<TeamId>>, max_items = 100)]
    pub team_ids: Patch<Few<TeamId>>,
    /// Of one of these priorities; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<Priority>>, max_items = 100)]
    pub priorities: Patch<Few<Priority>>,
    /// Of one of these types; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<TicketType>>, max_items = 100)]
    pub types: Patch<Few<TicketType>>,
    /// Reported in one of these ways; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<Channel>>, max_items = 100)]
    pub channels: Patch<Few<Channel>>,
    /// With one of these tags; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 100)]
    pub tags: Patch<Few<ConditionTag>>,
}

fn values<T>(patch: Patch<Few<T>>) -> Patch<Vec<T>> {
    patch.map(Few::into_values)
}

impl From<SlaConditionInput> for ConditionChange {
    fn from(input: SlaConditionInput) -> Self {
        let SlaConditionInput { team_ids, priorities, types, channels, tags } = input;
        let tags = values(tags).map(|tags| tags.into_iter().map(|ConditionTag(tag)| tag).collect());
        let (team_ids, priorities, types, channels) =
            (values(team_ids), values(priorities), values(types), values(channels));
        Self { team_ids, priorities, types, channels, tags }
    }
}

/// How long something may take.
#[derive(Debug, Clone, PartialEq, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct SlaTargetInput {
    /// What.
    pub target: Target,
    /// For tickets of this priority; null for those of every priority that has no target of its own.
    #[deserr(default)]
    pub priority: Option<Priority>,
    /// How long, in seconds that count: at most a year.
    #[schema(value_type = i64, minimum = 1, maximum = 31_536_000, example = 3600)]
    pub target_s: Whole<1, 31_536_000>,
    /// Which time counts; `business` needs a `calendar_id`.
    pub hours: Hours,
    /// From how many seconds before it is due on `sla.due_soon` tells of it: of any time, also where business hours
    /// count. 0 for never. Unless said, or with null, a fifth of `target_s`, and an hour at most.
    #[deserr(default)]
    #[schema(value_type = Option<i64>, minimum = 0, maximum = 604_800, example = 600)]
    pub notify_before_s: Option<NoticeS>,
}

/// How long before something is due it is told of, in seconds.
pub type NoticeS = Whole<0, LONGEST_NOTICE_S>;

/// What a policy promises.
#[derive(Debug, Clone, PartialEq)]
pub struct Targets(Vec<Rule>);

impl Deserr<Faults> for Targets {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let given = Vec::<SlaTargetInput>::deserialize_from_value(value, location)?;
        if given.len() > MOST_TARGETS {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_TARGETS} targets"));
            return Err(fault.with("max", MOST_TARGETS));
        }
        let rule = |SlaTargetInput { target, priority, target_s, hours, notify_before_s }| Rule {
            target,
            priority,
            target_s: target_s.get(),
            hours,
            notify_before_s: notify_before_s.map(|s| s.get()),
        };
        Ok(Self(given.into_iter().map(rule).collect()))
    }
}

/// A policy to be made.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = NewSlaPolicy, example = json!({
    "name": "Urgent incidents",
    "condition": { "priorities": ["high", "urgent"], "types": ["incident"] },
    "calendar_id": "019a2f4e-7c1b-7d3e-8f00-00000000000e",
    "targets": [
        { "target": "response", "priority": "urgent", "target_s": 900, "hours": "calendar" },
        { "target": "response", "target_s": 3600, "hours": "business" },
        { "target": "service", "target_s": 28800, "hours": "business" },
    ],
}))]
pub struct NewPolicyBody {
    /// What the policy is called; no other policy is called so.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: PolicyName,
    /// Its place: the first policy whose condition holds is the ticket's. Behind the last one unless said; of two at
    /// the same place, the older one comes first.
    #[deserr(default)]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 1_000_000)]
    pub position: Option<Position>,
    /// Which tickets it is for; all unless said.
    #[deserr(default)]
    #[schema(value_type = Option<SlaConditionInput>)]
    pub condition: Patch<SlaConditionInput>,
    /// The calendar of its business hours.
    #[deserr(default)]
    pub calendar_id: Option<CalendarId>,
    /// What it promises, each target at most once for each priority and once for all others.
    #[schema(value_type = Vec<SlaTargetInput>, min_items = 1, max_items = 15)]
    pub targets: Targets,
}

impl From<NewPolicyBody> for NewPolicy {
    fn from(body: NewPolicyBody) -> Self {
        let NewPolicyBody { name, position, condition, calendar_id, targets } = body;
        Self {
            name,
            position: position.map(place),
            condition: condition.map(ConditionChange::from),
            calendar_id,
            targets: targets.0,
        }
    }
}

/// A JSON merge patch (RFC 7396) of a policy: what is not mentioned stays, null empties, each list of the condition is
/// replaced for itself, and `targets` are replaced whole.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = SlaPolicyPatch, example = json!({ "position": 1, "condition": { "tags": ["vip"], "types": null } }))]
pub struct PolicyPatch {
    /// What the policy is called; no other policy is called so.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
    pub name: Set<PolicyName>,
    /// Its place.
    #[deserr(default)]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 1_000_000, nullable = false)]
    pub position: Set<Position>,
    /// Which tickets it is for; null for all.
    #[deserr(default)]
    #[schema(value_type = Option<SlaConditionInput>)]
    pub condition: Patch<SlaConditionInput>,
    /// The calendar of its business hours.
    #[deserr(default)]
    #[schema(value_type = Option<CalendarId>)]
    pub calendar_id: Patch<CalendarId>,
    /// What it promises, all of it.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<SlaTargetInput>>, min_items = 1, max_items = 15, nullable = false)]
    pub targets: Set<Targets>,
}

impl From<PolicyPatch> for PolicyChange {
    fn from(patch: PolicyPatch) -> Self {
        let PolicyPatch { name, position, condition, calendar_id, targets } = patch;
        Self {
            name: name.0,
            position: position.0.map(place),
            condition: condition.map(ConditionChange::from),
            calendar_id,
            targets: targets.0.map(|targets| targets.0),
        }
    }
}

/// Which tickets a policy is for: all that have one of the values in each list that is not empty.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaCondition)]
pub struct ConditionBody {
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

impl From<Condition> for ConditionBody {
    fn from(condition: Condition) -> Self {
        let Condition { team_ids, priorities, types, channels, tags } = condition;
        Self { team_ids, priorities, types, channels, tags }
    }
}

/// How long something may take.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaTarget)]
pub struct TargetBody {
    /// What.
    pub target: Target,
    /// For tickets of this priority; null for those of every priority that has no target of its own.
    #[schema(required)]
    pub priority: Option<Priority>,
    /// How long, in seconds that count.
    #[schema(minimum = 1, example = 3600)]
    pub target_s: i64,
    /// Which time counts.
    pub hours: Hours,
    /// From how many seconds before it is due on `sla.due_soon` tells of it; null for a fifth of `target_s`, and an
    /// hour at most. 0 for never.
    #[schema(required, minimum = 0, maximum = 604_800, example = 600)]
    pub notify_before_s: Option<i64>,
}

impl From<Rule> for TargetBody {
    fn from(rule: Rule) -> Self {
        let Rule { target, priority, target_s, hours, notify_before_s } = rule;
        Self { target, priority, target_s, hours, notify_before_s }
    }
}

/// An SLA policy: what is promised for which tickets.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaPolicy, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000d", "name": "Urgent incidents", "position": 1,
    "condition": { "team_ids": [], "priorities": ["high", "urgent"], "types": ["incident"], "channels": [], "tags": [] },
    "calendar_id": "019a2f4e-7c1b-7d3e-8f00-00000000000e",
    "targets": [
        { "target": "response", "priority": "urgent", "target_s": 900, "hours": "calendar", "notify_before_s": null },
    ],
    "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1, "pending_tickets": 0,
}))]
pub struct PolicyBody {
    /// The policy's id.
    pub id: PolicyId,
    /// What the policy is called.
    pub name: String,
    /// Its place: the first policy whose condition holds is the ticket's; the older one where two have the same place.
    #[schema(minimum = 0)]
    pub position: i32,
    /// Which tickets it is for.
    pub condition: ConditionBody,
    /// The calendar of its business hours.
    #[schema(required)]
    pub calendar_id: Option<CalendarId>,
    /// What it promises.
    pub targets: Vec<TargetBody>,
    /// When the policy was made.
    pub created_at: Instant,
    /// When the policy was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
    /// How many tickets the last edit of any policy or calendar has not reached yet: until it does, they are judged by
    /// what held before. 100,000 may be more. It is no part of the version.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

impl PolicyBody {
    /// A policy, while so many tickets have not followed the last edit.
    pub fn of(policy: KeptPolicy, pending_tickets: i64) -> Self {
        let KeptPolicy { id, definition, created_at, updated_at, version } = policy;
        let PolicyDefinition { name, position, condition, calendar_id, targets } = definition;
        Self {
            id,
            name,
            position,
            condition: condition.into(),
            calendar_id,
            targets: targets.into_iter().map(TargetBody::from).collect(),
            created_at,
            updated_at,
            version,
            pending_tickets,
        }
    }
}

impl Resource for PolicyBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadSla>()
    }
}

/// What a policy said for a while.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaPolicyVersion, example = json!({
    "version": 1, "created_at": "2026-03-01T09:30:00.000000Z", "name": "Urgent incidents", "position": 1,
    "condition": { "team_ids": [], "priorities": ["high", "urgent"], "types": ["incident"], "channels": [], "tags": [] },
    "calendar_id": null,
    "targets": [
        { "target": "response", "priority": "urgent", "target_s": 900, "hours": "calendar", "notify_before_s": null },
    ],
}))]
pub struct PolicyVersionBody {
    /// Which version of the policy.
    #[schema(minimum = 1)]
    pub version: i64,
    /// Since when it held.
    pub created_at: Instant,
    /// What the policy was called.
    pub name: String,
    /// Its place.
    #[schema(minimum = 0)]
    pub position: i32,
    /// Which tickets it was for.
    pub condition: ConditionBody,
    /// The calendar of its business hours.
    #[schema(required)]
    pub calendar_id: Option<CalendarId>,
    /// What it promised.
    pub targets: Vec<TargetBody>,
}

impl From<PolicyVersion> for PolicyVersionBody {
    fn from(version: PolicyVersion) -> Self {
        let PolicyVersion { version, created_at, definition } = version;
        let PolicyDefinition { name, position, condition, calendar_id, targets } = definition;
        Self {
            version,
            created_at,
            name,
            position,
            condition: condition.into(),
            calendar_id,
            targets: targets.into_iter().map(TargetBody::from).collect(),
        }
    }
}

/// A policy to be tried on the tickets of a window.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = SlaPolicyPreviewRequest, example = json!({
    "policy": { "name": "Draft", "targets": [{ "target": "response", "target_s": 1800, "hours": "calendar" }] },
    "from": "2026-02-01T00:00:00.000000Z", "to": "2026-03-01T00:00:00.000000Z",
}))]
pub struct PreviewRequest {
    /// The policy; before all others unless it says its position. Its name may be that of another one.
    #[schema(value_type = NewPolicyBody)]
    pub policy: NewPolicyBody,
    /// Tickets that were created at this instant or later.
    pub from: Instant,
    /// Tickets that were created before this instant: at most 366 days later, and at most 20,000 tickets.
    pub to: Instant,
}

/// How the clocks of one target stand.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaPreviewTarget)]
pub struct PreviewTarget {
    /// What is promised.
    pub target: Target,
    /// How many clocks there are.
    #[schema(minimum = 0)]
    pub clocks: u32,
    /// How many of them ended in time.
    #[schema(minimum = 0)]
    pub met: u32,
    /// How many of them did not.
    #[schema(minimum = 0)]
    pub breached: u32,
    /// How many of them run.
    #[schema(minimum = 0)]
    pub running: u32,
    /// How many of them are paused.
    #[schema(minimum = 0)]
    pub paused: u32,
    /// Met among those that are met or breached, from 0 to 1; null when there is none.
    #[schema(required, minimum = 0, maximum = 1, examples(0.95))]
    pub attainment: Option<f64>,
}

/// What a draft would have promised, and kept.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaPolicyPreview, example = json!({
    "tickets": 120, "matched": 80,
    "targets": [
        { "target": "response", "clocks": 80, "met": 70, "breached": 8, "running": 2, "paused": 0, "attainment": 0.8974358974358975 },
        { "target": "first_reply", "clocks": 0, "met": 0, "breached": 0, "running": 0, "paused": 0, "attainment": null },
        { "target": "service", "clocks": 0, "met": 0, "breached": 0, "running": 0, "paused": 0, "attainment": null },
    ],
    "actual": [
        { "target": "response", "clocks": 75, "met": 75, "breached": 0, "running": 0, "paused": 0, "attainment": 1.0 },
        { "target": "first_reply", "clocks": 0, "met": 0, "breached": 0, "running": 0, "paused": 0, "attainment": null },
        { "target": "service", "clocks": 0, "met": 0, "breached": 0, "running": 0, "paused": 0, "attainment": null },
    ],
}))]
pub struct PreviewBody {
    /// How many tickets were created in the window.
    #[schema(minimum = 0)]
    pub tickets: u32,
    /// How many of them, as they are now, the draft would be the policy of.
    #[schema(minimum = 0)]
    pub matched: u32,
    /// How the clocks of those would stand now, had the draft held since they were reported.
    #[schema(min_items = 3, max_items = 3)]
    pub targets: Vec<PreviewTarget>,
    /// How the clocks that those have stand now.
    #[schema(min_items = 3, max_items = 3)]
    pub actual: Vec<PreviewTarget>,
}

impl From<Preview> for PreviewBody {
    fn from(seen: Preview) -> Self {
        fn body((target, tally): (&Target, Tally)) -> PreviewTarget {
            let Tally { met, breached, running, paused } = tally;
            let (clocks, attainment) = (tally.clocks(), tally.attainment());
            PreviewTarget { target: *target, clocks, met, breached, running, paused, attainment }
        }
        let Preview { tickets, matched, promised, actual } = seen;
        let bodies = |tallies: [Tally; 3]| Target::ALL.iter().zip(tallies).map(body).collect();
        Self { tickets, matched, targets: bodies(promised), actual: bodies(actual) }
    }
}

impl ListItem for PolicyBody {}
impl ListItem for PolicyVersionBody {}
