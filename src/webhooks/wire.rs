//! Webhooks as clients write and see them.

use deserr::{Deserr, IntoValue, Value, ValueKind, ValuePointerRef};
use serde::Serialize;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{IntoParams, ToSchema};

use super::domain::{
    LogPoint, NewWebhook, Replay, Replayed, ReplayedDeliveries, Webhook, WebhookChange, WebhookDeliveryError,
    WebhookDeliveryState, WebhookDisabledReason, WebhookState, WebhookSwitch,
};
use super::service::courier::Attempted;
use super::store::WebhookRow;
use super::store::deliveries::DeliveryRow;
use crate::audit::domain::EventKind;
use crate::audit::wire::{Named, NamedPrincipal};
use crate::auth::domain::Principal;
use crate::auth::policy::Administer;
use crate::http::{Cursor, ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::rows::Limit;
use crate::kernel::secret::Secret;
use crate::kernel::text::Line;
use crate::kernel::{EventId, Instant, Patch, PrincipalId, Set, WebhookId};
use crate::sla::domain::policies::ConditionChange;
use crate::sla::wire::policies::{ConditionBody, Few, SlaConditionInput};

/// A webhook to be made.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = NewWebhook, example = json!({
    "name": "pager", "url": "https://pager.example.org/skranke", "types": ["ticket.created", "ticket.updated"],
    "condition": { "priorities": ["urgent"] }, "include_ticket": true,
}))]
pub struct NewWebhookBody {
    /// What the webhook is called; no other webhook is called so.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Line<200>,
    /// Where it leads: `https`, without user and password, at port 443 or one from 1024 on, and to nothing inside,
    /// unless `SKRANKE_EGRESS_ALLOW` opens it.
    #[schema(value_type = String, format = "uri", min_length = 1, max_length = 2048)]
    pub url: Line<2048>,
    /// In whose name it tells: it tells what this person or service account may see, as they may when it is sent. You,
    /// unless said. A service account can hand on only what it has itself.
    #[deserr(default)]
    pub principal_id: Option<PrincipalId>,
    /// Which types of events it tells of; of all, also of those to come, unless said.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<EventKind>>, max_items = 100)]
    pub types: Option<Few<EventKind>>,
    /// Of which tickets it tells, as they are when it is their turn; of all unless said.
    #[deserr(default)]
    #[schema(value_type = Option<SlaConditionInput>)]
    pub condition: Patch<SlaConditionInput>,
    /// Whether each change comes with its ticket as it is when it is sent.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, default = false, nullable = false)]
    pub include_ticket: bool,
    /// Whether it tells of events that were imported, too, of which the `origin` is `import`.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, default = false, nullable = false)]
    pub include_imported: bool,
    /// Whether it begins at once.
    #[deserr(default)]
    #[schema(value_type = Option<WebhookSwitch>, default = "active", nullable = false)]
    pub state: Set<WebhookSwitch>,
}

impl From<NewWebhookBody> for NewWebhook {
    fn from(body: NewWebhookBody) -> Self {
        let NewWebhookBody { name, url, principal_id, types, condition, include_ticket, include_imported, state } =
            body;
        Self {
            name,
            principal_id,
            url: url.into_inner(),
            types: types.map(Few::into_values).unwrap_or_default(),
            condition: condition.map(ConditionChange::from),
            include_ticket,
            include_imported,
            state: state.0.unwrap_or(WebhookSwitch::Active),
        }
    }
}

/// A JSON merge patch (RFC 7396) of a webhook: what is not mentioned stays, null empties, and each list of the
/// condition is replaced for itself.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "state": "active", "types": null }))]
pub struct WebhookPatch {
    /// What the webhook is called; no other webhook is called so.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
    pub name: Set<Line<200>>,
    /// Where it leads, also with what waits to be sent.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "uri", min_length = 1, max_length = 2048, nullable = false)]
    pub url: Set<Line<2048>>,
    /// In whose name it tells. A service account can hand on only what it has itself.
    #[deserr(default)]
    #[schema(value_type = Option<PrincipalId>, nullable = false)]
    pub principal_id: Set<PrincipalId>,
    /// Which types of events it tells of; null or none for all.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<EventKind>>, max_items = 100)]
    pub types: Patch<Few<EventKind>>,
    /// Of which tickets it tells; null for all.
    #[deserr(default)]
    #[schema(value_type = Option<SlaConditionInput>)]
    pub condition: Patch<SlaConditionInput>,
    /// Whether each change comes with its ticket.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    pub include_ticket: Set<bool>,
    /// Whether it tells of events that were imported, too.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    pub include_imported: Set<bool>,
    /// `active`: it goes on where it stopped. `paused`: it waits.
    #[deserr(default)]
    #[schema(value_type = Option<WebhookSwitch>, nullable = false)]
    pub state: Set<WebhookSwitch>,
}

impl From<WebhookPatch> for WebhookChange {
    fn from(patch: WebhookPatch) -> Self {
        let WebhookPatch { name, url, principal_id, types, condition, include_ticket, include_imported, state } = patch;
        Self {
            name: name.0,
            principal_id: principal_id.0,
            url: url.0.map(Line::into_inner),
            types: types.map(Few::into_values),
            condition: condition.map(ConditionChange::from),
            include_ticket: include_ticket.0,
            include_imported: include_imported.0,
            state: state.0,
        }
    }
}

/// A webhook: what happens is told to a URL as it happens.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-0000000000bb", "name": "pager", "url": "https://pager.example.org/skranke",
    "principal": { "id": "019a2f4e-7c1b-7d3e-8f00-5e5e5e5e5e5e", "name": "monitor-eu" }, "types": ["ticket.created", "ticket.updated"],
    "condition": { "team_ids": [], "priorities": ["urgent"], "types": [], "channels": [], "tags": [] }, "include_ticket": true, "include_imported": false,
    "state": "active", "disabled_reason": null, "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct WebhookBody {
    /// The webhook's id.
    pub id: WebhookId,
    /// What the webhook is called.
    pub name: String,
    /// Where it leads.
    pub url: String,
    /// In whose name it tells.
    pub principal: NamedPrincipal,
    /// Which types of events it tells of; none for all.
    pub types: Vec<EventKind>,
    /// Of which tickets it tells.
    pub condition: ConditionBody,
    /// Whether each change comes with its ticket.
    pub include_ticket: bool,
    /// Whether it tells of events that were imported, too.
    pub include_imported: bool,
    /// Whether it tells.
    pub state: WebhookState,
    /// Why the service has stopped it.
    #[schema(required)]
    pub disabled_reason: Option<WebhookDisabledReason>,
    /// When the webhook was made.
    pub created_at: Instant,
    /// When the webhook was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<WebhookRow> for WebhookBody {
    fn from(row: WebhookRow) -> Self {
        let WebhookRow { webhook, principal_name } = row;
        let Webhook {
            id,
            name,
            principal_id,
            url,
            filter,
            include_ticket,
            include_imported,
            state,
            disabled_reason,
            created_at,
            updated_at,
            version,
        } = webhook;
        Self {
            id,
            name,
            url,
            principal: Named { id: principal_id, name: principal_name },
            types: filter.types.unwrap_or_default(),
            condition: filter.condition.into(),
            include_ticket,
            include_imported,
            state,
            disabled_reason,
            created_at,
            updated_at,
            version,
        }
    }
}

impl Resource for WebhookBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<Administer>()
    }
}

/// A webhook with its new secret.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-0000000000bb", "name": "pager", "url": "https://pager.example.org/skranke",
    "principal": { "id": "019a2f4e-7c1b-7d3e-8f00-5e5e5e5e5e5e", "name": "monitor-eu" }, "types": [],
    "condition": { "team_ids": [], "priorities": [], "types": [], "channels": [], "tags": [] }, "include_ticket": false, "include_imported": false,
    "state": "active", "disabled_reason": null, "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
    "secret": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDb29mbGlzdGVu",
}))]
pub struct WebhookWithSecret {
    /// The webhook.
    #[serde(flatten)]
    webhook: WebhookBody,
    /// What its messages are signed with. Shown this once; keep it where secrets are kept.
    secret: String,
}

impl WebhookWithSecret {
    /// The webhook `row` with its `secret` in clear.
    pub fn new(row: WebhookRow, secret: &Secret<String>) -> Self {
        Self { webhook: row.into(), secret: secret.reveal().clone() }
    }

    /// The webhook's id.
    pub fn id(&self) -> WebhookId {
        self.webhook.id
    }
}

impl Resource for WebhookWithSecret {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.webhook.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<Administer>()
    }
}

/// Which deliveries.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeliveriesQuery {
    /// Only those that this became of.
    #[deserr(default)]
    #[param(value_type = Option<WebhookDeliveryState>, inline)]
    pub state: Option<WebhookDeliveryState>,
    /// How many items a page has at most.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

/// Something that is sent, was, or could not be. What was in it is not kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery, example = json!({
    "position": 4711, "event_id": "019a2f4e-7c1b-7d3e-8f00-000000000001", "state": "pending", "attempts": 2,
    "due_at": "2026-03-02T09:17:05.000000Z", "last_at": "2026-03-02T09:12:05.000000Z", "last_status": 500, "last_error": "status",
    "last_duration_ms": 31, "settled_at": null,
}))]
pub struct DeliveryBody {
    /// The place of the event in the change log.
    #[schema(minimum = 1)]
    pub position: i64,
    /// The id of the event, which is its `webhook-id`.
    pub event_id: EventId,
    /// What became of it.
    pub state: WebhookDeliveryState,
    /// How often it was tried, since it was queued last.
    #[schema(minimum = 0)]
    pub attempts: i32,
    /// When it is tried next; null when it is not.
    #[schema(required)]
    pub due_at: Option<Instant>,
    /// When it was tried last.
    #[schema(required)]
    pub last_at: Option<Instant>,
    /// The status of the last answer; null if there was none.
    #[schema(required)]
    pub last_status: Option<i32>,
    /// Why the last attempt has failed.
    #[schema(required)]
    pub last_error: Option<WebhookDeliveryError>,
    /// How long the last attempt took, in milliseconds.
    #[schema(required)]
    pub last_duration_ms: Option<i64>,
    /// When it was taken, or given up.
    #[schema(required)]
    pub settled_at: Option<Instant>,
}

impl From<DeliveryRow> for DeliveryBody {
    fn from(row: DeliveryRow) -> Self {
        let DeliveryRow {
            position,
            event_id,
            state,
            attempts,
            due_at,
            last_at,
            last_status,
            last_error,
            last_duration_ms,
            settled_at,
        } = row;
        let due_at = (state == WebhookDeliveryState::Pending).then_some(due_at);
        Self {
            position,
            event_id,
            state,
            attempts,
            due_at,
            last_at,
            last_status,
            last_error,
            last_duration_ms,
            settled_at,
        }
    }
}

/// How an attempt went. Nothing of the answer is told but its status.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt, example = json!({ "status": 204, "duration_ms": 31, "error": null }))]
pub struct AttemptBody {
    /// The status of the answer; null if there was none.
    #[schema(required)]
    pub status: Option<u16>,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    pub duration_ms: i64,
    /// Why it has failed; null if it was taken.
    #[schema(required)]
    pub error: Option<WebhookDeliveryError>,
}

impl From<Attempted> for AttemptBody {
    fn from(attempted: Attempted) -> Self {
        let Attempted { status, error, duration_ms, asked_for_s: _ } = attempted;
        Self { status, duration_ms, error }
    }
}

impl Deserr<Faults> for LogPoint {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        const EXPECTED: &str = "must be a position from 1 on, or an instant such as 2026-03-02T09:12:00.000000Z";
        match value.kind() {
            ValueKind::String => Instant::deserialize_from_value(value, location).map(Self::At),
            _ => {
                let position = <i64 as Deserr<Faults>>::deserialize_from_value(value, location)?;
                if position < 1 { Err(Faults::at(location, "invalid", EXPECTED)) } else { Ok(Self::Position(position)) }
            }
        }
    }
}

impl utoipa::PartialSchema for LogPoint {
    fn schema() -> utoipa::openapi::RefOr<Schema> {
        let instant = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        let position = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
        Schema::OneOf(OneOfBuilder::new().item(position).item(instant).build()).into()
    }
}
impl ToSchema for LogPoint {}

/// What is to be sent again.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = WebhookReplayRequest, example = json!({ "from": "2026-03-01T00:00:00.000000Z", "to": 4711, "only": "dead" }))]
pub struct ReplayRequest {
    /// From this position on, or from what came into the change log at this instant or later.
    pub from: LogPoint,
    /// Up to this position, or to what came into the change log before this instant; up to what the webhook has come
    /// to, unless said.
    #[deserr(default)]
    pub to: Option<LogPoint>,
    /// `dead`: what was given up. `all`: all that the webhook tells of, also what has arrived, or happened before it
    /// was made.
    #[deserr(default)]
    #[schema(value_type = Option<ReplayedDeliveries>, default = "dead", nullable = false)]
    pub only: Set<ReplayedDeliveries>,
}

impl From<ReplayRequest> for Replay {
    fn from(request: ReplayRequest) -> Self {
        let ReplayRequest { from, to, only } = request;
        Self { from, to, only: only.0.unwrap_or(ReplayedDeliveries::Dead) }
    }
}

/// What is sent again.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookReplay, example = json!({ "queued": 1000, "next_from": 3012 }))]
pub struct ReplayBody {
    /// How many are queued.
    #[schema(minimum = 0)]
    pub queued: usize,
    /// Give it as `from` to go on: one call goes through 1,000 positions, or finds 1,000 that are dead. Null when all
    /// was gone through.
    #[schema(required, minimum = 1)]
    pub next_from: Option<i64>,
}

impl From<Replayed> for ReplayBody {
    fn from(replayed: Replayed) -> Self {
        let Replayed { queued, next_from } = replayed;
        Self { queued, next_from }
    }
}

impl ListItem for WebhookBody {}
impl ListItem for DeliveryBody {}
