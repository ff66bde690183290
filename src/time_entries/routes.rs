//! The endpoints of time entries and of what they come to.

use actix_web::{delete, get, post};

use super::wire::{NewTimeEntry, TicketCostBody, TimeEntryBody};
use super::{service, store};
use crate::auth::policy::{Allowed, ReadWork, WriteWork};
use crate::db::Conn;
use crate::http::query::PageQuery;
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::kernel::{Problem, TimeEntryId};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// What a cursor of the list is bound to.
pub const LIST: &str = "time entries";

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_time_entries)
        .service(create_time_entry)
        .service(get_time_entry)
        .service(delete_time_entry)
        .service(get_ticket_cost);
}

/// List the work on a ticket.
///
/// In the order in which it was entered. For agents, admins and service accounts.
#[utoipa::path(
    operation_id = "list_time_entries", tag = "time entries", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), PageQuery),
    responses((status = 200, description = "A page of time entries.", body = Page<TimeEntryBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/time-entries")]
async fn list_time_entries(who: Allowed<ReadWork>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let query: PageQuery = call.query()?;
    let after: Option<TimeEntryId> = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let rows = call
        .db()
        .list(async move |conn: &mut Conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            store::list(conn, &ticket, after, query.limit).await
        })
        .await?;
    Page::reply(&call, query.limit, LIST, rows, |row| row.entry.id, TimeEntryBody::from)
}

/// Add work to a ticket.
///
/// The hourly rate is the one that holds now, and is kept: the agent's own, else that of the ticket's team, else that
/// of the service. Agents enter their own work or a colleague's; a service account says whose it is. Leaves no trace on
/// the ticket that its requester could see.
#[utoipa::path(
    operation_id = "create_time_entry", tag = "time entries", security(("bearer" = ["tickets:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    request_body = NewTimeEntry, extensions(("x-problems" = json!(["ticket_closed", "conflict", "version_mismatch"]))),
    responses((status = 201, description = "The time entry. Without `tickets:read`: no body.", body = TimeEntryBody, headers(
        ("ETag" = String, description = "The time entry's version."),
        ("Location" = String, description = "Where the time entry is."))))
)]
#[post("/v1/tickets/{id}/time-entries")]
async fn create_time_entry(who: Allowed<WriteWork>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let condition = call.precondition()?;
    let new: NewTimeEntry = call.body().await?;
    let (reach, act, default_rate) = (who.reach(), who.act(&call), call.default_rate());
    let root = tickets::service::root(&call.db(), &reach, which).await?;
    call.create(who.who(), root, async move |tx| {
        let (ticket, row) =
            service::add(tx, &act.in_turn(), &reach, (which, &condition), default_rate, new.clone()).await?;
        // By the ticket's id: with the ticket, what a kept answer says of the work is redacted, too.
        let place = format!("/v1/tickets/{ticket}/time-entries/{}", row.entry.id);
        let entry = TimeEntryBody::from(row);
        Ok((entry, place))
    })
    .await
}

/// Read a time entry.
#[utoipa::path(
    operation_id = "get_time_entry", tag = "time entries", security(("bearer" = ["tickets:read"])),
    description = "For agents, admins and service accounts.",
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"),
        ("entry_id" = TimeEntryId, Path, description = "The time entry's id.")),
    responses((status = 200, description = "The time entry.", body = TimeEntryBody,
        headers(("ETag" = String, description = "The time entry's version."))))
)]
#[get("/v1/tickets/{id}/time-entries/{entry_id}")]
async fn get_time_entry(who: Allowed<ReadWork>, call: Call) -> Answer {
    call.no_query()?;
    let (which, id) = place(&call)?;
    let row = call
        .db()
        .read(async |conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            store::find(conn, &ticket, id).await
        })
        .await?;
    Reply::resource(who.who(), &TimeEntryBody::from(row))
}

/// Take work off a ticket again.
///
/// For who added it, whose work it is, and admins. To mend an entry, delete it and add another one: nothing is counted
/// twice. The audit trail keeps what it was.
#[utoipa::path(
    operation_id = "delete_time_entry", tag = "time entries", security(("bearer" = ["tickets:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"),
        ("entry_id" = TimeEntryId, Path, description = "The time entry's id.")),
    extensions(("x-problems" = json!(["ticket_closed", "conflict"]))),
    responses((status = 204, description = "The time entry is gone."))
)]
#[delete("/v1/tickets/{id}/time-entries/{entry_id}")]
async fn delete_time_entry(who: Allowed<WriteWork>, call: Call) -> Answer {
    call.no_query()?;
    let place = place(&call)?;
    let condition = call.precondition()?;
    let (reach, act) = (who.reach(), who.act(&call));
    let root = tickets::service::root(&call.db(), &reach, place.0).await?;
    let delete =
        async move |tx: &mut crate::db::Conn| service::delete(tx, &act.in_turn(), &reach, place, &condition).await;
    call.db().write(root, delete).await?;
    Ok(Reply::no_content())
}

/// Read what a ticket has cost.
///
/// The sum of its time entries: one amount for each currency, and how much of the work has no hourly rate.
#[utoipa::path(
    operation_id = "get_ticket_cost", tag = "time entries", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    responses((status = 200, description = "What the ticket has cost.", body = TicketCostBody))
)]
#[get("/v1/tickets/{id}/cost")]
async fn get_ticket_cost(who: Allowed<ReadWork>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let total = call
        .db()
        .list(async move |conn: &mut Conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            store::total(conn, &ticket).await
        })
        .await?;
    Reply::ok(&TicketCostBody::from(total))
}

fn place(call: &Call) -> Result<(TicketRef, TimeEntryId), Problem> {
    Ok((call.path("id")?, call.path("entry_id")?))
}
