//! The endpoints of saved views.

use actix_web::{delete, get, patch, post};

use crate::auth::policy::{Allowed, ReadTickets, WriteTickets};
use crate::db::{Conn, Root};
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::ViewId;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::policy::views::may_share;
use crate::tickets::service::views as service;
use crate::tickets::store::views as store;
use crate::tickets::wire::views::{NewView, ViewBody, ViewPatch};

/// What a cursor of the list is bound to.
const LIST: &str = "views";

/// Registers the endpoints of saved views.
pub fn routes(config: &mut impl Endpoints) {
    config.service(list_views).service(create_view).service(get_view).service(update_view).service(delete_view);
}

/// List views.
///
/// One's own, and those that are shared with a team of one's own; admins see all that are shared. Oldest first.
#[utoipa::path(
    operation_id = "list_views", tag = "tickets", security(("bearer" = ["tickets:read"])), params(PageQuery),
    responses((status = 200, description = "A page of views.", body = Page<ViewBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/views")]
async fn list_views(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let list = async move |conn: &mut Conn| {
        let sight = service::view_sight(conn, who.who()).await?;
        store::list(conn, &sight, after, query.limit).await
    };
    Page::reply(&call, query.limit, LIST, call.db().list(list).await?, |row| row.view.id, ViewBody::from)
}

/// Save a view.
///
/// A list of tickets under a name, for oneself, or for a team that one is in. `GET /v1/tickets?view_id=` is that list,
/// and counts take it, too. Everybody has at most 100.
#[utoipa::path(
    operation_id = "create_view", tag = "tickets", security(("bearer" = ["tickets:write"])), request_body = NewView,
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The view. Without `tickets:read`: no body.", body = ViewBody, headers(
        ("ETag" = String, description = "The view's version."),
        ("Location" = String, description = "Where the view is."))))
)]
#[post("/v1/views")]
async fn create_view(who: Allowed<WriteTickets>, call: Call) -> Answer {
    call.no_query()?;
    let new: NewView = call.body().await?;
    may_share(who.who(), new.team_id)?;
    let (act, reach) = (who.act(&call), who.reach());
    call.create(who.who(), Root::Principal(who.who().id), async move |tx| {
        let view = ViewBody::from(service::create_view(tx, &act.in_turn(), &reach, new.clone()).await?);
        let place = format!("/v1/views/{}", view.id);
        Ok((view, place))
    })
    .await
}

/// Read a view.
#[utoipa::path(
    operation_id = "get_view", tag = "tickets", security(("bearer" = ["tickets:read"])),
    params(("id" = ViewId, Path, description = "The view's id.")),
    responses((status = 200, description = "The view.", body = ViewBody,
        headers(("ETag" = String, description = "The view's version."))))
)]
#[get("/v1/views/{id}")]
async fn get_view(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let id: ViewId = call.path("id")?;
    call.no_query()?;
    let row = call.db().read(async |conn| service::read_view(conn, who.who(), id).await).await?;
    Reply::resource(who.who(), &ViewBody::from(row))
}

/// Change a view.
///
/// A JSON merge patch: what is not mentioned stays, and `filter` is replaced as a whole. For whose it is; one that is
/// shared, for admins, too. A patch that changes nothing leaves the version as it is.
#[utoipa::path(
    operation_id = "update_view", tag = "tickets", security(("bearer" = ["tickets:write"])),
    params(("id" = ViewId, Path, description = "The view's id.")),
    request_body(content((ViewPatch = "application/merge-patch+json"), (ViewPatch = "application/json"))),
    responses(
        (status = 200, description = "The view as it is now.", body = ViewBody, headers(("ETag" = String, description = "The view's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The view's version."), ("Location" = String, description = "Where the view is."))))
)]
#[patch("/v1/views/{id}")]
async fn update_view(who: Allowed<WriteTickets>, call: Call) -> Answer {
    let id: ViewId = call.path("id")?;
    call.no_query()?;
    let (condition, act, reach) = (call.precondition()?, who.act(&call), who.reach());
    let patch: ViewPatch = call.patch().await?;
    may_share(who.who(), patch.team_id.value().copied())?;
    let change = async move |tx: &mut Conn| {
        service::change_view(tx, &act.in_turn(), &reach, id, &condition, patch.clone()).await
    };
    let view = ViewBody::from(call.db().write(Root::Principal(who.who().id), change).await?);
    Reply::changed(who.who(), &view, format!("/v1/views/{id}"))
}

/// Delete a view.
///
/// For whose it is; one that is shared, for admins, too. Tickets stay as they are.
#[utoipa::path(
    operation_id = "delete_view", tag = "tickets", security(("bearer" = ["tickets:write"])),
    params(("id" = ViewId, Path, description = "The view's id.")),
    responses((status = 204, description = "The view is gone."))
)]
#[delete("/v1/views/{id}")]
async fn delete_view(who: Allowed<WriteTickets>, call: Call) -> Answer {
    let id: ViewId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let delete = async move |tx: &mut Conn| service::delete_view(tx, &act.who, id, &condition).await;
    call.db().write(Root::Principal(who.who().id), delete).await?;
    Ok(Reply::no_content())
}
