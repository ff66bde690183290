//! The endpoints of calendars.

use actix_web::{delete, get, patch, post};

use crate::auth::policy::{Administer, Allowed, ReadSla};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::{CalendarId, Problem};
use crate::sla::domain::calendars::{CalendarChange, NewCalendar};
use crate::sla::domain::icalendar;
use crate::sla::service;
use crate::sla::wire::calendars::{CalendarBody, CalendarPatch, CalendarVersionBody, NewCalendarBody};

/// What a cursor of the list is bound to.
const LIST: &str = "calendars";

/// Registers the endpoints of calendars.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_calendars)
        .service(create_calendar)
        .service(get_calendar)
        .service(update_calendar)
        .service(delete_calendar)
        .service(list_calendar_versions)
        .service(import_calendar_holidays);
}

/// List calendars.
///
/// Oldest first.
#[utoipa::path(
    operation_id = "list_calendars", tag = "sla", security(("bearer" = ["tickets:read"])), params(PageQuery),
    responses((status = 200, description = "A page of calendars.", body = Page<CalendarBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/sla/calendars")]
async fn list_calendars(_who: Allowed<ReadSla>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let calendars =
        call.db().list(async move |conn: &mut Conn| service::list_calendars(conn, after, query.limit).await).await?;
    Page::reply(&call, query.limit, LIST, calendars, |calendar| calendar.id, CalendarBody::from)
}

/// Make a calendar.
///
/// Business time is what lies in the shifts of a weekday and not on a holiday, by the clocks of the zone: an hour that
/// they skip does not exist, and one that they repeat counts twice. A shift that ends earlier than it begins runs into
/// the next day; of such a shift, a holiday takes what lies on its own date. A calendar that is made the default takes
/// this from the one that was; without any default, business time is all time.
#[utoipa::path(
    operation_id = "create_calendar", tag = "sla", security(("bearer" = ["admin"])), request_body = NewCalendarBody,
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The calendar. Without `tickets:read`: no body.", body = CalendarBody, headers(
        ("ETag" = String, description = "The calendar's version."),
        ("Location" = String, description = "Where the calendar is."))))
)]
#[post("/v1/sla/calendars")]
async fn create_calendar(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let new = NewCalendar::from(call.body::<NewCalendarBody>().await?);
    let act = who.act(&call);
    call.create_alone(who.who(), async move |tx| {
        let calendar = CalendarBody::from(service::create_calendar(tx, new.clone(), &act.in_turn()).await?);
        let place = format!("/v1/sla/calendars/{}", calendar.id);
        Ok((calendar, place))
    })
    .await
}

/// Read a calendar.
#[utoipa::path(
    operation_id = "get_calendar", tag = "sla", security(("bearer" = ["tickets:read"])),
    description = "For agents, admins and service accounts.",
    params(("id" = CalendarId, Path, description = "The calendar's id.")),
    responses((status = 200, description = "The calendar.", body = CalendarBody,
        headers(("ETag" = String, description = "The calendar's version."))))
)]
#[get("/v1/sla/calendars/{id}")]
async fn get_calendar(who: Allowed<ReadSla>, call: Call) -> Answer {
    let id: CalendarId = call.path("id")?;
    call.no_query()?;
    let calendar = CalendarBody::from(call.db().read(async |conn| service::read_calendar(conn, id).await).await?);
    Reply::resource(who.who(), &calendar)
}

/// Change a calendar.
///
/// A JSON merge patch: what is not mentioned stays. `working_hours` and `holidays` are replaced whole, so a weekday
/// that is left out is free. Clocks that run take the new version as of this instant, where many tickets are open
/// within minutes (`pending_tickets` of the policies tells how many are left); those that have ended keep the one that
/// judged them. A patch that changes nothing leaves the version as it is.
#[utoipa::path(
    operation_id = "update_calendar", tag = "sla", security(("bearer" = ["admin"])),
    params(("id" = CalendarId, Path, description = "The calendar's id.")),
    request_body(content((CalendarPatch = "application/merge-patch+json"), (CalendarPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses(
        (status = 200, description = "The calendar as it is now.", body = CalendarBody, headers(("ETag" = String, description = "The calendar's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The calendar's version."), ("Location" = String, description = "Where the calendar is."))))
)]
#[patch("/v1/sla/calendars/{id}")]
async fn update_calendar(who: Allowed<Administer>, call: Call) -> Answer {
    let id: CalendarId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let change = CalendarChange::from(call.patch::<CalendarPatch>().await?);
    let write =
        async move |tx: &mut _| service::change_calendar(tx, id, change.clone(), &condition, &act.in_turn()).await;
    let calendar = CalendarBody::from(call.db().write_alone(write).await?);
    Reply::changed(who.who(), &calendar, format!("/v1/sla/calendars/{id}"))
}

/// Remove a calendar.
///
/// Refused while an SLA policy names it. The default can be removed too: until another calendar becomes it, business
/// time is all time. Clocks that have ended keep the version that judged them.
#[utoipa::path(
    operation_id = "delete_calendar", tag = "sla", security(("bearer" = ["admin"])),
    params(("id" = CalendarId, Path, description = "The calendar's id.")),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 204, description = "The calendar is gone."))
)]
#[delete("/v1/sla/calendars/{id}")]
async fn delete_calendar(who: Allowed<Administer>, call: Call) -> Answer {
    let id: CalendarId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    call.db().write_alone(async move |tx| service::delete_calendar(tx, id, &condition, &act.in_turn()).await).await?;
    Ok(Reply::no_content())
}

/// List the versions of a calendar.
///
/// Oldest first; the last one is what holds now.
#[utoipa::path(
    operation_id = "list_calendar_versions", tag = "sla", security(("bearer" = ["tickets:read"])),
    params(("id" = CalendarId, Path, description = "The calendar's id."), PageQuery),
    responses((status = 200, description = "A page of versions.", body = Page<CalendarVersionBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/sla/calendars/{id}/versions")]
async fn list_calendar_versions(_who: Allowed<ReadSla>, call: Call) -> Answer {
    let id: CalendarId = call.path("id")?;
    let query: PageQuery = call.query()?;
    let list = format!("versions of {id}");
    let after = query.cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let versions = call
        .db()
        .list(async move |conn: &mut Conn| service::list_calendar_versions(conn, id, after, query.limit).await)
        .await?;
    Page::reply(&call, query.limit, &list, versions, |version| version.version, CalendarVersionBody::from)
}

/// Import holidays.
///
/// From an iCalendar file (RFC 5545), whose all-day events become holidays, of one or several days. Yearly ones
/// (`RRULE` with `FREQ=YEARLY` and `INTERVAL`, `COUNT` or `UNTIL`) are written out from one year back to ten years
/// ahead. Cancelled events are left out, and a date that is a holiday already keeps its name, so that importing a file
/// again changes nothing. An event with a time of day, or one that recurs in another way, is refused by its place in
/// the file, such as `/events/3`, and then nothing is imported. A calendar has at most 1000 holidays.
#[utoipa::path(
    operation_id = "import_calendar_holidays", tag = "sla", security(("bearer" = ["admin"])),
    params(("id" = CalendarId, Path, description = "The calendar's id.")),
    request_body(content_type = "text/calendar", content = String, description = "An iCalendar file, in UTF-8.",
        example = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\nUID:1@example.org\r\nDTSTART;VALUE=DATE:20261225\r\nSUMMARY:Christmas Day\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"),
    extensions(("x-problems" = json!(["version_mismatch"]))),
    responses(
        (status = 200, description = "The calendar as it is now.", body = CalendarBody, headers(("ETag" = String, description = "The calendar's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The calendar's version."), ("Location" = String, description = "Where the calendar is."))))
)]
#[post("/v1/sla/calendars/{id}/holidays")]
async fn import_calendar_holidays(who: Allowed<Administer>, call: Call) -> Answer {
    let id: CalendarId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let file = call.text("text/calendar").await?;
    let holidays = icalendar::holidays(&file, act.now).map_err(Problem::invalid)?;
    let write =
        async move |tx: &mut _| service::import_holidays(tx, id, holidays.clone(), &condition, &act.in_turn()).await;
    let calendar = CalendarBody::from(call.db().write_alone(write).await?);
    Reply::changed(who.who(), &calendar, format!("/v1/sla/calendars/{id}"))
}
