//! Events as clients see them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::domain::{EventKind, NoticedPromise, Visibility};
use super::store::EventRow;
use crate::http::ListItem;
use crate::kernel::{CommentId, EventId, Instant, PolicyId, PrincipalId, Target, TeamId};

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

impl<Id> Named<Id> {
    /// Both parts, or nothing when there is no id.
    pub fn of(id: Option<Id>, name: Option<String>) -> Option<Self> {
        id.map(|id| Self { id, name: name.unwrap_or_default() })
    }
}

/// An entry of a ticket's audit trail.
#[derive(Debug, Serialize, ToSchema)]
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
#[derive(Debug, Serialize, ToSchema)]
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
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Change)]
pub struct ChangeBody {
    /// The field's name.
    #[schema(examples("status"))]
    pub field: String,
    /// Its value before; null when there was none.
    #[schema(value_type = Value, nullable)]
    pub before: serde_json::Value,
    /// Its value after; null when it was emptied.
    #[schema(value_type = Value, nullable)]
    pub after: serde_json::Value,
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
