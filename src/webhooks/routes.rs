//! The endpoints of webhooks.

use actix_web::{delete, get, patch, post, web};

use super::domain::{NewWebhook, Replay, WebhookChange};
use super::service::{self, courier::Courier};
use super::wire::{
    AttemptBody, DeliveriesQuery, DeliveryBody, NewWebhookBody, ReplayBody, ReplayRequest, WebhookBody, WebhookPatch,
    WebhookWithSecret,
};
use crate::auth::policy::{Administer, Allowed, ReadTickets};
use crate::db::{Conn, Root};
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::WebhookId;

/// What a cursor of the list is bound to.
const LIST: &str = "webhooks";

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_webhooks)
        .service(create_webhook)
        .service(get_webhook)
        .service(update_webhook)
        .service(delete_webhook)
        .service(rotate_webhook_secret)
        .service(test_webhook)
        .service(list_webhook_deliveries)
        .service(replay_webhook_deliveries);
}

/// List webhooks.
///
/// Oldest first. Secrets are never shown.
#[utoipa::path(
    operation_id = "list_webhooks", tag = "webhooks", security(("bearer" = ["admin"])), params(PageQuery),
    responses((status = 200, description = "A page of webhooks.", body = Page<WebhookBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/webhooks")]
async fn list_webhooks(_who: Allowed<Administer>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let some =
        call.db().list(async move |conn: &mut Conn| service::list_webhooks(conn, after, query.limit).await).await?;
    Page::reply(&call, query.limit, LIST, some, |row| row.webhook.id, WebhookBody::from)
}

/// Make a webhook.
///
/// From now on what happens is sent to its URL as it happens, by POST, in the form of Standard Webhooks: the item of
/// `GET /v1/changes` in `data`, signed in `webhook-signature` with the secret, which is shown this once. What is not
/// taken with 2xx within 20 s is sent again with the same `webhook-id`, up to ten times in three days. It tells what
/// its principal may see when it is sent, and nothing else. A service account that makes one must itself have all
/// scopes of that principal. There are at most 100 webhooks.
#[utoipa::path(
    operation_id = "create_webhook", tag = "webhooks", security(("bearer" = ["admin", "tickets:read"])),
    request_body = NewWebhookBody, extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The webhook and its secret.", body = WebhookWithSecret, headers(
        ("ETag" = String, description = "The webhook's version."),
        ("Location" = String, description = "Where the webhook is."))))
)]
#[post("/v1/webhooks")]
async fn create_webhook(who: Allowed<Administer>, call: Call, courier: web::Data<Courier>) -> Answer {
    who.and::<ReadTickets>()?;
    call.no_query()?;
    let new = NewWebhook::from(call.body::<NewWebhookBody>().await?);
    let (act, egress, sealer) = (who.act(&call), courier.shared_egress(), call.sealer().clone());
    call.create(who.who(), Root::Webhooks, async move |tx| {
        let (row, secret) = service::create_webhook(tx, new.clone(), &act.in_turn(), &egress, &sealer).await?;
        let made = WebhookWithSecret::new(row, &secret);
        let place = format!("/v1/webhooks/{}", made.id());
        Ok((made, place))
    })
    .await
}

/// Read a webhook.
#[utoipa::path(
    operation_id = "get_webhook", tag = "webhooks", security(("bearer" = ["admin"])),
    description = "Its secret is not shown again.",
    params(("id" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "The webhook.", body = WebhookBody,
        headers(("ETag" = String, description = "The webhook's version."))))
)]
#[get("/v1/webhooks/{id}")]
async fn get_webhook(who: Allowed<Administer>, call: Call) -> Answer {
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let row = call.db().read(async |conn| service::read_webhook(conn, id).await).await?;
    Reply::resource(who.who(), &WebhookBody::from(row))
}

/// Change a webhook.
///
/// A JSON merge patch: what is not mentioned stays, null empties, and each list of `condition` is replaced for itself.
/// One that was disabled or paused goes on where it stopped when its `state` is `active` again. A patch that changes
/// nothing leaves the version as it is.
#[utoipa::path(
    operation_id = "update_webhook", tag = "webhooks", security(("bearer" = ["admin", "tickets:read"])),
    params(("id" = WebhookId, Path, description = "The webhook's id.")),
    request_body(content((WebhookPatch = "application/merge-patch+json"), (WebhookPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 200, description = "The webhook as it is now.", body = WebhookBody,
        headers(("ETag" = String, description = "The webhook's version."))))
)]
#[patch("/v1/webhooks/{id}")]
async fn update_webhook(who: Allowed<Administer>, call: Call, courier: web::Data<Courier>) -> Answer {
    who.and::<ReadTickets>()?;
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let (condition, act, egress) = (call.precondition()?, who.act(&call), courier.shared_egress());
    let change = WebhookChange::from(call.patch::<WebhookPatch>().await?);
    let write = async move |tx: &mut Conn| {
        service::change_webhook(tx, id, change.clone(), &condition, &act.in_turn(), &egress).await
    };
    let webhook = WebhookBody::from(call.db().write(Root::Webhooks, write).await?);
    Reply::changed(who.who(), &webhook, format!("/v1/webhooks/{id}"))
}

/// Remove a webhook.
///
/// What waits to be sent is not sent any more.
#[utoipa::path(
    operation_id = "delete_webhook", tag = "webhooks", security(("bearer" = ["admin"])),
    params(("id" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 204, description = "The webhook is gone."))
)]
#[delete("/v1/webhooks/{id}")]
async fn delete_webhook(who: Allowed<Administer>, call: Call) -> Answer {
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let write = async move |tx: &mut Conn| service::delete_webhook(tx, id, &condition, &act.in_turn()).await;
    call.db().write(Root::Webhooks, write).await?;
    Ok(Reply::no_content())
}

/// Give a webhook another secret.
///
/// The new secret is shown this once. For 24 hours each message has a signature by both, so that the receiver can
/// change over in that time.
#[utoipa::path(
    operation_id = "rotate_webhook_secret", tag = "webhooks", security(("bearer" = ["admin", "tickets:read"])),
    params(("id" = WebhookId, Path, description = "The webhook's id.")),
    extensions(("x-problems" = json!(["version_mismatch"]))),
    responses((status = 200, description = "The webhook and its new secret.", body = WebhookWithSecret,
        headers(("ETag" = String, description = "The webhook's version."))))
)]
#[post("/v1/webhooks/{id}/secret")]
async fn rotate_webhook_secret(who: Allowed<Administer>, call: Call) -> Answer {
    who.and::<ReadTickets>()?;
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let (condition, act, sealer) = (call.precondition()?, who.act(&call), call.sealer().clone());
    let write =
        async move |tx: &mut Conn| service::rotate_webhook_secret(tx, id, &condition, &act.in_turn(), &sealer).await;
    let (row, secret) = call.db().write(Root::Webhooks, write).await?;
    Reply::changed(who.who(), &WebhookWithSecret::new(row, &secret), format!("/v1/webhooks/{id}"))
}

/// Try a webhook.
///
/// Sends a message of the type `webhook.test`, which tells of nothing, and tells how it went; also while the webhook is
/// paused or disabled. It is not sent again.
#[utoipa::path(
    operation_id = "test_webhook", tag = "webhooks", security(("bearer" = ["admin"])),
    params(("id" = WebhookId, Path, description = "The webhook's id.")),
    responses((status = 200, description = "How it went.", body = AttemptBody))
)]
#[post("/v1/webhooks/{id}/test")]
async fn test_webhook(who: Allowed<Administer>, call: Call, courier: web::Data<Courier>) -> Answer {
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let _seat = call.seat(who.who().id)?;
    let attempted = service::try_webhook(&call.db(), id, &who.act(&call), &courier, call.sealer()).await?;
    Reply::ok(&AttemptBody::from(attempted))
}

/// List the deliveries of a webhook.
///
/// The last ones first. Those that have arrived are remembered for 30 days, those that were given up for 90.
#[utoipa::path(
    operation_id = "list_webhook_deliveries", tag = "webhooks", security(("bearer" = ["admin"])),
    params(("id" = WebhookId, Path, description = "The webhook's id."), DeliveriesQuery),
    responses((status = 200, description = "A page of deliveries.", body = Page<DeliveryBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/webhooks/{id}/deliveries")]
async fn list_webhook_deliveries(_who: Allowed<Administer>, call: Call) -> Answer {
    let id: WebhookId = call.path("id")?;
    let DeliveriesQuery { state, limit, cursor } = call.query()?;
    let list = format!("deliveries of {id} {}", state.map_or("all", |state| state.as_str()));
    let before = cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let read = async move |conn: &mut Conn| service::list_deliveries(conn, id, state, before, limit).await;
    let rows = call.db().list(read).await?;
    Page::reply(&call, limit, &list, rows, |row| row.position, DeliveryBody::from)
}

/// Send deliveries again.
///
/// What was given up, or all that the webhook tells of, from one point of the change log to another: positions, or
/// instants. A message has the `webhook-id` that it had, and is sent to where the webhook leads now. What waits to be
/// sent anyway is left alone.
#[utoipa::path(
    operation_id = "replay_webhook_deliveries", tag = "webhooks", security(("bearer" = ["admin"])),
    params(("id" = WebhookId, Path, description = "The webhook's id.")), request_body = ReplayRequest,
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 200, description = "How many are sent again.", body = ReplayBody))
)]
#[post("/v1/webhooks/{id}/replay")]
async fn replay_webhook_deliveries(_who: Allowed<Administer>, call: Call) -> Answer {
    let id: WebhookId = call.path("id")?;
    call.no_query()?;
    let replay = Replay::from(call.body::<ReplayRequest>().await?);
    let replayed = service::replay_deliveries(&call.db(), id, replay, call.now()).await?;
    Reply::ok(&ReplayBody::from(replayed))
}
