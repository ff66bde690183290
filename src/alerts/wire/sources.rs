//! Sources of alerts as clients write and see them.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::ToSchema;

use crate::alerts::domain::source::MOST_PRIORITIES;
use crate::alerts::domain::{AlertGrouping, AlertSource, AlertSourceChange, NewAlertSource, OnResolve};
use crate::alerts::store::sources::AlertSourceRow;
use crate::audit::wire::{Named, NamedPrincipal, NamedTeam};
use crate::auth::domain::Principal;
use crate::auth::policy::Administer;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::{self, Faults};
use crate::kernel::text::Line;
use crate::kernel::whole::Whole;
use crate::kernel::{AlertSourceId, Instant, Patch, PrincipalId, Priority, Set, TeamId, TicketType};

/// The longest stretch that a source may name, in seconds: a year.
const YEAR_S: i64 = 31_536_000;

/// The priority of each severity.
#[derive(Debug, Clone, PartialEq)]
pub struct SeverityPriorities(BTreeMap<String, Priority>);

impl Deserr<Faults> for SeverityPriorities {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let (mut all, mut faults) = (BTreeMap::new(), Faults::default());
        for (severity, priority) in fault::members(value, location)?.into_iter() {
            let at = location.push_key(&severity);
            if let Err(fault) = Line::<100>::parse(severity.clone()) {
                faults.append(Faults::of_value(at, fault));
                continue;
            }
            match Priority::deserialize_from_value(priority.into_value(), at) {
                Ok(priority) => drop(all.insert(severity, priority)),
                Err(more) => faults.append(more),
            }
        }
        if all.len() > MOST_PRIORITIES {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_PRIORITIES} severities"));
            return Err(fault.with("max", MOST_PRIORITIES));
        }
        if faults.is_empty() { Ok(Self(all)) } else { Err(faults) }
    }
}

macro_rules! source_fields {
    ($(#[$doc:meta])* $name:ident, $example:expr, { $($name_field:tt)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Deserr, ToSchema)]
        #[deserr(error = Faults, deny_unknown_fields)]
        #[schema(example = $example)]
        pub struct $name {
            $($name_field)*
            /// Who alone may send: a service account with the scope `alerts:write`. Unless said, whoever has that
            /// scope. Tickets are opened in the name of whoever sends.
            #[deserr(default)]
            #[schema(value_type = Option<PrincipalId>)]
            pub principal_id: Patch<PrincipalId>,
            /// The team whose queue its tickets go into, by id.
            #[deserr(default)]
            #[schema(value_type = Option<TeamId>)]
            pub team_id: Patch<TeamId>,
            /// The same, by the team's name, instead.
            #[deserr(default)]
            #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
            pub team: Patch<Line<200>>,
            /// The label of an alert that names its team, if there is a team of that name; `team` unless said.
            #[deserr(default)]
            #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
            pub team_label: Set<Line<200>>,
            /// The type of its tickets; `incident` unless said.
            #[deserr(default)]
            #[schema(value_type = Option<TicketType>, nullable = false)]
            pub ticket_type: Set<TicketType>,
            /// The priority of each severity, at most 50. Unless said: `critical` is urgent, `error` and `high` are
            /// high, `warning` is normal, `info` and `low` are low.
            #[deserr(default)]
            #[schema(value_type = Option<BTreeMap<String, Priority>>, nullable = false)]
            pub priorities: Set<SeverityPriorities>,
            /// The priority of every other severity, and of none; `normal` unless said.
            #[deserr(default)]
            #[schema(value_type = Option<Priority>, nullable = false)]
            pub priority_default: Set<Priority>,
            /// What one ticket is about: an `alert` unless said, or a `group` of Alertmanager's.
            #[deserr(default)]
            #[schema(value_type = Option<AlertGrouping>, nullable = false)]
            pub group_by: Set<AlertGrouping>,
            /// What the subject of a ticket is made of: text with `{summary}`, `{severity}`, `{dedupe_key}`,
            /// `{labels.NAME}` and `{annotations.NAME}`. The summary, unless said.
            #[deserr(default)]
            #[schema(value_type = Option<String>, min_length = 1, max_length = 500)]
            pub subject_template: Patch<Line<500>>,
            /// Who has the problems.
            #[deserr(default)]
            #[schema(value_type = Option<PrincipalId>)]
            pub requester_id: Patch<PrincipalId>,
            /// What the end of the last alert of a ticket does to it; `resolve_untouched` unless said.
            #[deserr(default)]
            #[schema(value_type = Option<OnResolve>, nullable = false)]
            pub on_resolve: Set<OnResolve>,
            /// For how many seconds after it was resolved a ticket comes back when its alert fires again: later, and
            /// once it is closed, there is a new one with `follow_up_of`. A day unless said.
            #[deserr(default)]
            #[schema(value_type = Option<i64>, minimum = 0, maximum = 31536000, nullable = false)]
            pub reopen_within_s: Set<Whole<0, YEAR_S>>,
            /// How many seconds back the report of a ticket may lie, which is when its alert began. A week unless said.
            #[deserr(default)]
            #[schema(value_type = Option<i64>, minimum = 0, maximum = 31536000, nullable = false)]
            pub backdate_max_s: Set<Whole<0, YEAR_S>>,
            /// Whether it is listened to: what it tells is ignored otherwise. True unless said.
            #[deserr(default)]
            #[schema(value_type = Option<bool>, nullable = false)]
            pub enabled: Set<bool>,
        }

        impl $name {
            fn change(self, name: Option<Line<200>>) -> AlertSourceChange {
                AlertSourceChange {
                    name,
                    principal_id: self.principal_id,
                    team_id: self.team_id,
                    team: self.team,
                    team_label: self.team_label.0,
                    ticket_type: self.ticket_type.0,
                    priorities: self.priorities.0.map(|priorities| priorities.0),
                    priority_default: self.priority_default.0,
                    group_by: self.group_by.0,
                    subject_template: self.subject_template,
                    requester_id: self.requester_id,
                    on_resolve: self.on_resolve.0,
                    reopen_within_s: self.reopen_within_s.0.map(Whole::get),
                    backdate_max_s: self.backdate_max_s.0.map(Whole::get),
                    enabled: self.enabled.0,
                }
            }
        }
    };
}

source_fields!(
    /// A source of alerts to be made.
    NewAlertSourceBody,
    json!({ "name": "prometheus-eu", "team": "Operations", "priorities": { "critical": "urgent", "warning": "normal" } }),
    {
        /// What the source is called, also in the address that it sends to; no other source is called so.
        #[schema(value_type = String, min_length = 1, max_length = 200)]
        pub name: Line<200>,
    }
);

source_fields!(
    /// A JSON merge patch (RFC 7396) of a source of alerts: what is not mentioned stays, null empties; `priorities` are
    /// replaced as a whole.
    AlertSourcePatch,
    json!({ "on_resolve": "note", "team": null }),
    {
        /// What the source is called.
        #[deserr(default)]
        #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
        pub name: Set<Line<200>>,
    }
);

impl From<NewAlertSourceBody> for NewAlertSource {
    fn from(body: NewAlertSourceBody) -> Self {
        let name = body.name.clone();
        Self { name, rest: body.change(None) }
    }
}

impl From<AlertSourcePatch> for AlertSourceChange {
    fn from(mut patch: AlertSourcePatch) -> Self {
        let name = patch.name.0.take();
        patch.change(name)
    }
}

/// A source of alerts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertSource, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-0000000000a0", "name": "prometheus-eu", "principal": null,
    "team": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000c", "name": "Operations" }, "team_label": "team", "ticket_type": "incident",
    "priorities": { "critical": "urgent", "warning": "normal" }, "priority_default": "normal", "group_by": "alert", "subject_template": null,
    "requester": null, "on_resolve": "resolve_untouched", "reopen_within_s": 86400, "backdate_max_s": 604800, "enabled": true,
    "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct AlertSourceBody {
    /// The id.
    pub id: AlertSourceId,
    /// What the source is called.
    pub name: String,
    /// Who alone may send; null for whoever may send alerts.
    #[schema(required)]
    pub principal: Option<NamedPrincipal>,
    /// The team whose queue its tickets go into, unless a label says otherwise.
    #[schema(required)]
    pub team: Option<NamedTeam>,
    /// The label that names the team.
    pub team_label: String,
    /// The type of its tickets.
    pub ticket_type: TicketType,
    /// The priority of each severity.
    pub priorities: BTreeMap<String, Priority>,
    /// That of all others.
    pub priority_default: Priority,
    /// What one ticket is about.
    pub group_by: AlertGrouping,
    /// What the subject of a ticket is made of; null for the summary.
    #[schema(required)]
    pub subject_template: Option<String>,
    /// Who has the problems.
    #[schema(required)]
    pub requester: Option<NamedPrincipal>,
    /// What the end of the last alert of a ticket does to it.
    pub on_resolve: OnResolve,
    /// For how many seconds after it was resolved a ticket comes back.
    #[schema(minimum = 0)]
    pub reopen_within_s: i64,
    /// How many seconds back the report of a ticket may lie.
    #[schema(minimum = 0)]
    pub backdate_max_s: i64,
    /// Whether it is listened to.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<AlertSourceRow> for AlertSourceBody {
    fn from(AlertSourceRow { source, principal, team, requester }: AlertSourceRow) -> Self {
        let AlertSource {
            id,
            name,
            principal_id,
            team_id,
            team_label,
            ticket_type,
            priorities,
            priority_default,
            group_by,
            subject_template,
            requester_id,
            on_resolve,
            reopen_within_s,
            backdate_max_s,
            enabled,
            created_at,
            updated_at,
            version,
        } = source;
        Self {
            id,
            name,
            principal: Named::of(principal_id, principal),
            team: Named::of(team_id, team),
            team_label,
            ticket_type,
            priorities,
            priority_default,
            group_by,
            subject_template,
            requester: Named::of(requester_id, requester),
            on_resolve,
            reopen_within_s,
            backdate_max_s,
            enabled,
            created_at,
            updated_at,
            version,
        }
    }
}

impl Resource for AlertSourceBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<Administer>()
    }
}

impl ListItem for AlertSourceBody {}
