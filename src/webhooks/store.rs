//! Queries of webhooks.

pub mod deliveries;

use diesel::prelude::*;
use diesel::result::Error;
use uuid::Uuid;

use super::domain::{Webhook, WebhookDisabledReason, WebhookFilter, WebhookState};
use crate::audit::domain::EventKind;
use crate::db::fault::is_duplicate;
use crate::db::schema::{principals, webhooks};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{Code, Instant, PrincipalId, Problem, WebhookId};
use crate::sla::domain::policy::Condition;

#[derive(Queryable, Selectable)]
#[diesel(table_name = webhooks)]
struct StoredWebhook {
    id: WebhookId,
    name: String,
    principal_id: PrincipalId,
    url: String,
    types: Json<Vec<String>>,
    condition: Json<Condition>,
    include_ticket: bool,
    include_imported: bool,
    state: WebhookState,
    disabled_reason: Option<WebhookDisabledReason>,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<StoredWebhook> for Webhook {
    fn from(row: StoredWebhook) -> Self {
        let words = row.types.0;
        // A type that only a newer version knows is none of ours, and does not make it all of them.
        let known: Vec<EventKind> = words.iter().filter_map(|word| word.parse().ok()).collect();
        Self {
            id: row.id,
            name: row.name,
            principal_id: row.principal_id,
            url: row.url,
            filter: WebhookFilter { types: (!words.is_empty()).then_some(known), condition: row.condition.0 },
            include_ticket: row.include_ticket,
            include_imported: row.include_imported,
            state: row.state,
            disabled_reason: row.disabled_reason,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// A webhook as it is read, with the name of the one in whose name it tells.
#[derive(Debug, Clone)]
pub struct WebhookRow {
    /// The webhook.
    pub webhook: Webhook,
    /// The name.
    pub principal_name: String,
}

impl From<(StoredWebhook, String)> for WebhookRow {
    fn from((stored, principal_name): (StoredWebhook, String)) -> Self {
        Self { webhook: stored.into(), principal_name }
    }
}

/// The secrets of a webhook, as they are sealed.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, AsChangeset)]
#[diesel(table_name = webhooks, treat_none_as_null = true)]
pub struct SealedSecrets {
    /// What signs.
    pub secret: String,
    /// What signs as well, since it was replaced not long ago.
    pub previous_secret: Option<String>,
    /// Until when it does.
    pub previous_until: Option<Instant>,
}

/// All that can change of a webhook.
macro_rules! columns {
    ($webhook:expr) => {{
        let webhook: &Webhook = $webhook;
        let mut types: Vec<String> = webhook.filter.types.iter().flatten().map(ToString::to_string).collect();
        if types.is_empty() && webhook.filter.types.is_some() {
            // None that is known here is not all of them.
            types.push("unknown".to_owned());
        }
        (
            webhooks::name.eq(webhook.name.clone()),
            webhooks::principal_id.eq(webhook.principal_id),
            webhooks::url.eq(webhook.url.clone()),
            webhooks::types.eq(Json(types)),
            webhooks::condition.eq(Json(webhook.filter.condition.clone())),
            webhooks::include_ticket.eq(webhook.include_ticket),
            webhooks::include_imported.eq(webhook.include_imported),
            webhooks::state.eq(webhook.state),
            webhooks::disabled_reason.eq(webhook.disabled_reason),
            webhooks::updated_at.eq(webhook.updated_at),
            webhooks::version.eq(webhook.version),
        )
    }};
}

/// The webhook `id`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: WebhookId) -> Result<WebhookRow, Problem> {
    let one = webhooks::table.inner_join(principals::table).filter(webhooks::id.eq(id));
    let one = one.filter(webhooks::deleted_at.is_null());
    let row: Option<(StoredWebhook, String)> =
        on_each!(conn, |c| one.select((StoredWebhook::as_select(), principals::name)).first(c).await).optional()?;
    row.map(WebhookRow::from).ok_or_else(Problem::not_found)
}

/// At most `count` webhooks that were made after `after`, the oldest first.
pub async fn list(conn: &mut Conn, after: Option<WebhookId>, count: i64) -> Result<Vec<WebhookRow>, Problem> {
    let first = after.unwrap_or(WebhookId(Uuid::nil()));
    let some = webhooks::table.inner_join(principals::table).filter(webhooks::id.gt(first));
    let some = some.filter(webhooks::deleted_at.is_null()).order(webhooks::id).limit(count);
    let rows: Vec<(StoredWebhook, String)> =
        on_each!(conn, |c| some.select((StoredWebhook::as_select(), principals::name)).load(c).await)?;
    Ok(rows.into_iter().map(WebhookRow::from).collect())
}

/// How many webhooks there are.
pub async fn count(tx: &mut Conn) -> Result<i64, Problem> {
    let there = webhooks::table.filter(webhooks::deleted_at.is_null());
    Ok(on_each!(tx, |c| there.count().get_result(c).await)?)
}

/// Adds `webhook`, which tells what happens behind `position`.
///
/// # Errors
/// `conflict` when another webhook has the name.
pub async fn insert(tx: &mut Conn, webhook: &Webhook, secrets: &SealedSecrets, position: i64) -> Result<(), Problem> {
    let row = (
        (
            webhooks::id.eq(webhook.id),
            webhooks::created_at.eq(webhook.created_at),
            webhooks::secret.eq(&secrets.secret),
            webhooks::position.eq(position),
            webhooks::failures.eq(0),
        ),
        columns!(webhook),
    );
    let done = on_each!(tx, |c| diesel::insert_into(webhooks::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)
}

/// Stores all that can change of `webhook`. A receiver that is spoken to anew has failed at nothing yet.
///
/// # Errors
/// `conflict` when another webhook has the name.
pub async fn update(tx: &mut Conn, webhook: &Webhook, begins_anew: bool) -> Result<(), Problem> {
    let change = columns!(webhook);
    let this = diesel::update(webhooks::table.find(webhook.id));
    let done = if begins_anew {
        let anew = (
            webhooks::failures.eq(0),
            webhooks::failing_since.eq(None::<Instant>),
            webhooks::rests_until.eq(None::<Instant>),
        );
        on_each!(tx, |c| this.set((change, anew)).execute(c).await)
    } else {
        on_each!(tx, |c| this.set(change).execute(c).await)
    };
    done.map(drop).map_err(taken)
}

fn taken(error: Error) -> Problem {
    if is_duplicate(&error, "webhooks_name_key", "webhooks.name") {
        Problem::new(Code::Conflict, "A webhook with this name exists already.")
    } else {
        error.into()
    }
}

/// The secrets of the webhook `id`.
pub async fn secrets(conn: &mut Conn, id: WebhookId) -> Result<SealedSecrets, Problem> {
    let one = webhooks::table.find(id);
    Ok(on_each!(conn, |c| one.select(SealedSecrets::as_select()).first(c).await)?)
}

/// Each webhook by its id and name, with its secret as it is sealed.
pub async fn sealed(conn: &mut Conn) -> Result<Vec<(WebhookId, String, String)>, Problem> {
    let there = webhooks::table.filter(webhooks::deleted_at.is_null()).order(webhooks::id);
    Ok(on_each!(conn, |c| there.select((webhooks::id, webhooks::name, webhooks::secret)).load(c).await)?)
}

/// Gives the webhook `id` other secrets.
pub async fn set_secrets(tx: &mut Conn, id: WebhookId, secrets: &SealedSecrets) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::update(webhooks::table.find(id)).set(secrets).execute(c).await)?;
    Ok(())
}

/// Removes the webhook `id` from sight. Its secrets are gone at once.
pub async fn mark_deleted(tx: &mut Conn, id: WebhookId, now: Instant) -> Result<(), Problem> {
    let change = (
        webhooks::deleted_at.eq(now),
        webhooks::secret.eq(""),
        webhooks::previous_secret.eq(None::<String>),
        webhooks::previous_until.eq(None::<Instant>),
    );
    on_each!(tx, |c| diesel::update(webhooks::table.find(id)).set(change).execute(c).await)?;
    Ok(())
}
