//! The endpoints of sources of alerts.

use actix_web::{delete, get, patch, post};

use crate::alerts::domain::{AlertSourceChange, NewAlertSource};
use crate::alerts::service::sources as service;
use crate::alerts::store::sources as store;
use crate::alerts::wire::sources::{AlertSourceBody, AlertSourcePatch, NewAlertSourceBody};
use crate::auth::policy::{Administer, Allowed};
use crate::db::{Conn, Root};
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::AlertSourceId;

/// What a cursor of the list is bound to.
const LIST: &str = "alert sources";

/// Registers the endpoints of sources.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_alert_sources)
        .service(create_alert_source)
        .service(get_alert_source)
        .service(update_alert_source)
        .service(delete_alert_source);
}

/// List sources of alerts.
///
/// Oldest first.
#[utoipa::path(
    operation_id = "list_alert_sources", tag = "alerts", security(("bearer" = ["admin"])), params(PageQuery),
    responses((status = 200, description = "A page of sources.", body = Page<AlertSourceBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/alert-sources")]
async fn list_alert_sources(_who: Allowed<Administer>, call: Call) -> Answer {
    let PageQuery { limit, cursor } = call.query()?;
    let after = cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let some = call.db().list(async move |conn: &mut Conn| store::list(conn, after, limit).await).await?;
    Page::reply(&call, limit, LIST, some, |row| row.source.id, AlertSourceBody::from)
}

/// Make a source of alerts.
///
/// A monitoring tool or a script that tells of problems, and what becomes of what it tells. Keys of one source are
/// never those of another. It sends to `POST /v1/alerts/{name}` with a token that has the scope `alerts:write`. There
/// are at most 100 sources.
#[utoipa::path(
    operation_id = "create_alert_source", tag = "alerts", security(("bearer" = ["admin"])),
    request_body = NewAlertSourceBody, extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The source.", body = AlertSourceBody, headers(
        ("ETag" = String, description = "The source's version."),
        ("Location" = String, description = "Where the source is."))))
)]
#[post("/v1/alert-sources")]
async fn create_alert_source(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let new = NewAlertSource::from(call.body::<NewAlertSourceBody>().await?);
    let act = who.act(&call);
    call.create(who.who(), Root::AlertSources, async move |tx| {
        let source = AlertSourceBody::from(service::create_source(tx, new.clone(), &act.in_turn()).await?);
        let place = format!("/v1/alert-sources/{}", source.id);
        Ok((source, place))
    })
    .await
}

/// Read a source of alerts.
#[utoipa::path(
    operation_id = "get_alert_source", tag = "alerts", security(("bearer" = ["admin"])),
    params(("id" = AlertSourceId, Path, description = "The source's id.")),
    responses((status = 200, description = "The source.", body = AlertSourceBody,
        headers(("ETag" = String, description = "The source's version."))))
)]
#[get("/v1/alert-sources/{id}")]
async fn get_alert_source(who: Allowed<Administer>, call: Call) -> Answer {
    let id: AlertSourceId = call.path("id")?;
    call.no_query()?;
    let row = call.db().read(async |conn| store::find(conn, id).await).await?;
    Reply::resource(who.who(), &AlertSourceBody::from(row))
}

/// Change a source of alerts.
///
/// A JSON merge patch: what is not mentioned stays, null empties. It holds for what is told from then on. A patch that
/// changes nothing leaves the version as it is.
#[utoipa::path(
    operation_id = "update_alert_source", tag = "alerts", security(("bearer" = ["admin"])),
    params(("id" = AlertSourceId, Path, description = "The source's id.")),
    request_body(content((AlertSourcePatch = "application/merge-patch+json"), (AlertSourcePatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 200, description = "The source as it is now.", body = AlertSourceBody,
        headers(("ETag" = String, description = "The source's version."))))
)]
#[patch("/v1/alert-sources/{id}")]
async fn update_alert_source(who: Allowed<Administer>, call: Call) -> Answer {
    let id: AlertSourceId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let change = AlertSourceChange::from(call.patch::<AlertSourcePatch>().await?);
    let write =
        async move |tx: &mut Conn| service::change_source(tx, id, change.clone(), &condition, &act.in_turn()).await;
    let roots = [Root::AlertSources, Root::AlertSource(id)];
    let source = AlertSourceBody::from(call.db().write(roots, write).await?);
    Reply::changed(who.who(), &source, format!("/v1/alert-sources/{id}"))
}

/// Remove a source of alerts.
///
/// Its tickets stay as they are, and its alerts are forgotten.
#[utoipa::path(
    operation_id = "delete_alert_source", tag = "alerts", security(("bearer" = ["admin"])),
    params(("id" = AlertSourceId, Path, description = "The source's id.")),
    responses((status = 204, description = "The source is gone."))
)]
#[delete("/v1/alert-sources/{id}")]
async fn delete_alert_source(who: Allowed<Administer>, call: Call) -> Answer {
    let id: AlertSourceId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let write = async move |tx: &mut Conn| service::delete_source(tx, id, &condition, &act.in_turn()).await;
    call.db().write([Root::AlertSources, Root::AlertSource(id)], write).await?;
    Ok(Reply::no_content())
}
