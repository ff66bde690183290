//! Events as clients see them.

use std::collections::{BTreeSet, HashMap};

use deserr::Deserr;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::domain::{DERIVED, EventKind, NoticedPromise, TrailOrder, Visibility};
use super::store::EventRow;
use crate::http::{Cursor, ListItem};
use crate::kernel::fault::Faults;
use crate::kernel::requesters::NamesShown;
use crate::kernel::rows::Limit;
use crate::kernel::{CommentId, EventId, Instant, PolicyId, PrincipalId, Target, TeamId, TicketId};

/// Somebody or something, by id and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Named<Id> {
    /// The id.
    #[schema(value_type = String, format = "uuid", examples("019a2f4e-7c1b-7d3e-8f00-1234567890ab"))]
    pub id: Id,
    /// The name as it is now.
    #[schema(examples("Ada Lovelace"))]
    pub name: String,
}

/// A person or a service account, by id and name.
pub type NamedPrincipal = Named<PrincipalId>;
/// A team, by id and name.
pub type NamedTeam = Named<TeamId>;

impl NamedPrincipal {
    /// The same, named as others are to somebody.
    #[must_use]
    pub fn shown(self, names: NamesShown) -> Self {
        Self { id: self.id, name: names.name(self.id, self.name) }
    }
}

impl<Id> Named<Id> {
    /// Both parts, or nothing when there is no id.
    pub fn of(id: Option<Id>, name: Option<String>) -> Option<Self> {
        id.map(|id| Self { id, name: name.unwrap_or_default() })
    }
}

/// An entry of a ticket's audit trail.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Event, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-000000000001", "at": "2026-03-02T09:12:00.000000Z", "type": "ticket.updated",
    "visibility": "public", "actor": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "name": "Ada Lovelace" },
    "comment_id": null, "changes": [{ "field": "status", "before": "new", "after": "open" }], "sla": null,
}))]
pub struct EventBody {
    /// The event's id. Its order says nothing: the list is in the order of what happened.
    pub id: EventId,
    /// When it happened.
    pub at: Instant,
    /// What happened.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// Who may see it.
    pub visibility: Visibility,
    /// Who did it; null when the service did it by itself.
    #[schema(required)]
    pub actor: Option<NamedPrincipal>,
    /// The comment that it is about.
    #[schema(required)]
    pub comment_id: Option<CommentId>,
    /// Every field that changed.
    pub changes: Vec<ChangeBody>,
    /// The promise that `sla.due_soon` and `sla.breached` are about; null for others.
    #[schema(required)]
    pub sla: Option<NoticeBody>,
}

/// The promise that a notice is about.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = SlaNotice, example = json!({
    "target": "response", "due_at": "2026-03-02T10:12:00.000000Z", "target_s": 3600, "policy_id": "019a2f4e-7c1b-7d3e-8f00-00000000000d",
}))]
pub struct NoticeBody {
    /// What is promised.
    pub target: Target,
    /// When it is, or was, due.
    pub due_at: Instant,
    /// How long it may take, in seconds that count.
    #[schema(minimum = 1)]
    pub target_s: i64,
    /// The policy that promises.
    pub policy_id: PolicyId,
}

impl From<NoticedPromise> for NoticeBody {
    fn from(promise: NoticedPromise) -> Self {
        let NoticedPromise { target, due_at, target_s, policy_id } = promise;
        Self { target, due_at, target_s, policy_id }
    }
}

/// One field, before and after.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeBody {
    /// The field's name.
    #[schema(examples("status"))]
    pub field: String,
    /// Its value before; null when there was none. In a ticket's trail, a person, a team or another ticket is an object
    /// of its `id` and its `name` as it is now, with the `number` of a ticket; `name` is null when there is none any
    /// more, or the caller may not know it. In the change log it is the id.
    #[schema(value_type = Value, nullable)]
    pub before: serde_json::Value,
    /// Its value after; null when it was emptied. Else as `before`.
    #[schema(value_type = Value, nullable)]
    pub after: serde_json::Value,
}

/// What the ids in changes stand for, as far as the reader may know.
#[derive(Debug, Default)]
pub struct EventNames {
    /// The names of people and service accounts.
    pub principals: HashMap<PrincipalId, String>,
    /// The names of teams.
    pub teams: HashMap<TeamId, String>,
    /// The numbers and subjects of tickets.
    pub tickets: HashMap<TicketId, (i64, String)>,
    /// How people are named.
    pub shown: NamesShown,
}

/// Which ids changes speak of.
#[derive(Debug, Default)]
pub struct NamedIds {
    /// Those of people and service accounts.
    pub principals: BTreeSet<PrincipalId>,
    /// Those of teams.
    pub teams: BTreeSet<TeamId>,
    /// Those of tickets.
    pub tickets: BTreeSet<TicketId>,
}

/// What a field of a change is the id of.
enum NamedField {
    Principal,
    Team,
    Ticket,
}

impl NamedField {
    fn of(field: &str) -> Option<Self> {
        match field {
            "assignee_id" | "requester_id" | "agent_id" | "created_by_id" => Some(Self::Principal),
            "team_id" => Some(Self::Team),
            "follow_up_of" => Some(Self::Ticket),
            _ => None,
        }
    }
}

impl NamedIds {
    /// Those that the changes of these events speak of.
    pub fn of<'a>(rows: impl IntoIterator<Item = &'a EventRow>) -> Self {
        let mut ids = Self::default();
        let changes = rows.into_iter().flat_map(|row| row.changes.0.as_array().into_iter().flatten());
        for change in changes {
            let Some(field) = change["field"].as_str().and_then(NamedField::of) else { continue };
            for id in [&change["before"], &change["after"]].into_iter().filter_map(|id| id.as_str()) {
                match field {
                    NamedField::Principal => ids.principals.extend(id.parse::<PrincipalId>()),
                    NamedField::Team => ids.teams.extend(id.parse::<TeamId>()),
                    NamedField::Ticket => ids.tickets.extend(id.parse::<TicketId>()),
                }
            }
        }
        ids
    }
}

impl EventNames {
    fn name(&self, field: &NamedField, value: Value) -> Value {
        let Some(id) = value.as_str() else { return value };
        match field {
            NamedField::Principal => {
                let name = |id: PrincipalId| Some(self.shown.name(id, self.principals.get(&id)?.clone()));
                json!({ "id": id, "name": id.parse().ok().and_then(name) })
            }
            NamedField::Team => json!({ "id": id, "name": id.parse().ok().and_then(|id| self.teams.get(&id)) }),
            NamedField::Ticket => {
                let (number, name) = id.parse().ok().and_then(|id| self.tickets.get(&id)).cloned().unzip();
                json!({ "id": id, "number": number, "name": name })
            }
        }
    }
}

impl ChangeBody {
    fn named(self, names: &EventNames) -> Self {
        match NamedField::of(&self.field) {
            Some(field) => {
                let (before, after) = (names.name(&field, self.before), names.name(&field, self.after));
                Self { before, after, field: self.field }
            }
            None => self,
        }
    }
}

impl EventBody {
    /// The event, with `names` in place of ids.
    pub fn named(row: EventRow, names: &EventNames) -> Self {
        let event = Self::from(row);
        let actor = event.actor.map(|actor| actor.shown(names.shown));
        Self { actor, changes: event.changes.into_iter().map(|change| change.named(names)).collect(), ..event }
    }

    /// The same without what follows from other changes; nothing if nothing else is left of a change.
    pub fn without_derived(mut self) -> Option<Self> {
        let had = self.changes.len();
        self.changes.retain(|change| !DERIVED.contains(&change.field.as_str()));
        (self.kind != EventKind::TicketUpdated || had == 0 || !self.changes.is_empty()).then_some(self)
    }
}

/// Which events of a trail a list has.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TrailQuery {
    /// The order; what happened first comes first unless said.
    #[deserr(default)]
    #[param(value_type = Option<TrailOrder>, inline, default = "at")]
    pub sort: TrailOrder,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

impl From<EventRow> for EventBody {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            kind: row.kind,
            visibility: row.visibility,
            actor: Named::of(row.actor_id, row.actor_name),
            comment_id: row.comment_id,
            // Written by this room alone, in this very form.
            changes: serde_json::from_value(row.changes.0).unwrap_or_default(),
            sla: row.sla.map(|promise| promise.0.into()),
        }
    }
}

impl ListItem for EventBody {}
