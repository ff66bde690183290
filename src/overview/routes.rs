//! The endpoints that show a ticket with what is about it.

use actix_web::get;

use super::service::{self, Looker};
use super::wire::{IncludeQuery, TicketWithBody, TimelineItemBody};
use crate::audit::store::TrailPage;
use crate::audit::wire::TrailQuery;
use crate::auth::policy::{Allowed, ReadTickets};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config.service(get_ticket).service(get_timeline);
}

/// Read a ticket.
///
/// Somebody else's ticket and one that does not exist get the same answer from a requester's token: 404. With
/// `include`, what is about it comes with it, so that a page needs one request: as far as the caller may see it, what
/// they may not is left out.
#[utoipa::path(
    operation_id = "get_ticket", tag = "tickets", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), IncludeQuery),
    responses((status = 200, description = "The ticket.", body = TicketWithBody, headers(("ETag" = String, description = "The ticket's version."))))
)]
#[get("/v1/tickets/{id}")]
async fn get_ticket(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let IncludeQuery { include } = call.query()?;
    let (reach, now) = (who.reach(), call.now());
    let Some(include) = include else {
        let ticket = call.db().read(async |conn| tickets::service::read(conn, &reach, which, now).await).await?;
        return Reply::resource(who.who(), &ticket);
    };
    let looker = Looker::of(&who);
    let read = async move |conn: &mut Conn| service::read(conn, &reach, &looker, which, &include.0, now).await;
    Reply::resource(who.who(), &call.db().snapshot(read).await?)
}

/// Read a ticket's timeline.
///
/// Its comments and its events in one list, in the order in which they were made, or the other way round: for a page to
/// show. A comment stands where it was added; what follows from other changes, such as `started_at`, is left out, so
/// that a page may have fewer items than `limit` and yet a `next_cursor`. All of it is in the audit trail.
#[utoipa::path(
    operation_id = "get_ticket_timeline", tag = "tickets", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), TrailQuery),
    responses((status = 200, description = "A page of what happened.", body = Page<TimelineItemBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/timeline")]
async fn get_timeline(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let TrailQuery { sort: order, limit, cursor } = call.query()?;
    let list = format!("timeline {order}");
    let behind = cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let (reach, looker, page) = (who.reach(), Looker::of(&who), TrailPage { order, behind, limit });
    let read = async move |conn: &mut Conn| service::timeline(conn, &reach, &looker, which, page).await;
    let rows = call.db().list(read).await?;
    Page::reply(&call, limit, &list, rows, |row| row.place, |row| row.item)
}
