//! The endpoints of tickets and of their audit trail.

mod views;

use actix_web::{delete, get, patch, post};

use super::domain::listing::ListView;
use super::domain::search::Query;
use super::policy::{ReachesTickets, may_change, may_open};
use super::store::TicketRow;
use super::wire::counts::{CountBody, CountRequest, CountedList, CountsBody, MOST_COUNTED};
use super::wire::summary::{TicketListBody, TicketSummaryBody};
use super::wire::tags::{TagBody, TagQuery};
use super::wire::{ListOptions, NewTicket, Sort, SortOrder, TicketBody, TicketFilter, TicketPatch, TicketRef};
use super::{service, store};
use crate::audit;
use crate::audit::store::TrailPage;
use crate::audit::wire::{EventBody, TrailQuery};
use crate::auth::policy::{Administer, Allowed, ReadTags, ReadTickets, WriteTickets};
use crate::db::Conn;
use crate::http::reply::met_by;
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::kernel::{FieldError, Problem};
use crate::sla::wire::explain::TicketSlaBody;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_tickets)
        .service(create_ticket)
        .service(update_ticket)
        .service(redact_ticket)
        .service(list_events)
        .service(get_ticket_sla)
        .service(count_tickets)
        .service(list_tags);
    views::routes(config);
}

/// How many tickets a page has at most that tells where something was found.
pub const MOST_HIGHLIGHTED: usize = 50;

/// List tickets.
///
/// Requesters get their own tickets, all others get all. Filters narrow: several of them must all hold. A cursor goes
/// on behind the last item of the page before, however many tickets have come in since. With `q`, a page may have fewer
/// items than `limit`, or none, and yet a `next_cursor`: what is rare among many tickets is looked for in some of them
/// at a time. For a page that shows a row of each, `view=summary` has what a row needs, with the last comment.
#[utoipa::path(
    operation_id = "list_tickets", tag = "tickets", security(("bearer" = ["tickets:read"])), params(TicketFilter, ListOptions),
    responses((status = 200, description = "A page of tickets, or with `view=summary` of their summaries.",
        body = TicketListBody,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets")]
async fn list_tickets(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let (filter, options) = asked(&call, &who).await?;
    let sort = options.sort;
    let list = list_name(sort, filter.q.as_ref());
    let after = options.cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let now = call.now();
    let reach = who.reach();
    if sort.is_internal() {
        reach.require_internal()?;
    }
    let asker = service::asker(&call.db(), who.who().id, filter.asks_for_own_teams()).await?;
    let criteria = filter.criteria(&reach, &asker, now)?;
    let (db, limit, view, may_take_longer) =
        (call.db_for_lists(who.who().id), options.limit, options.view, criteria.q.is_some());
    let read = async move |conn: &mut Conn| service::list(conn, &reach, &criteria, &options, after).await;
    let (rows, mut context) = if may_take_longer { db.snapshot(read).await? } else { db.list(read).await? };
    let place = |row: &TicketRow| store::key(sort, row);
    match view {
        ListView::Full => Page::reply(&call, limit, &list, rows, place, |row| TicketBody::of(row, &context, &reach)),
        ListView::Summary => {
            let mut talk = std::mem::take(&mut context.talk);
            let body = |row: TicketRow| {
                let talk = talk.remove(&row.ticket.number);
                TicketSummaryBody::of(row, &context, &reach, talk)
            };
            Page::reply(&call, limit, &list, rows, place, body)
        }
    }
}

/// Which list is asked for: by itself, or by a view and what is named beside it.
///
/// # Errors
/// `invalid_query` when there is no such list.
async fn asked(call: &Call, who: &Allowed<ReadTickets>) -> Result<(TicketFilter, ListOptions), Problem> {
    let (mut filter, mut options): (TicketFilter, ListOptions) = call.query_of()?;
    if let Some(id) = options.view_id {
        let view = call.db().read(async |conn| service::views::read_view(conn, who.who(), id).await).await;
        (filter, options) = call.query_over(&view.map_err(no_view)?.view.parameters())?;
    }
    if options.typing.is_some_and(|flag| flag.0) {
        filter.q = filter.q.map(Query::while_typed);
    }
    let highlights = options.highlight.is_some_and(|flag| flag.0);
    let fault = if highlights && options.limit.size() > MOST_HIGHLIGHTED {
        let detail = format!("must be at most {MOST_HIGHLIGHTED} with highlight=true");
        FieldError::new("limit", "invalid", detail).with("max", MOST_HIGHLIGHTED)
    } else if options.sort.first == Sort::Relevance && filter.q.is_none() {
        FieldError::new("sort", "invalid", "relevance is an order of what `q` finds")
    } else if options.ids.is_some() && filter.q.is_some() {
        FieldError::new("ids", "invalid", "does not go with `q`")
    } else {
        return Ok((filter, options));
    };
    Err(Problem::invalid_query(vec![fault]))
}

/// What whoever names a view hears that they do not see.
fn no_view(problem: Problem) -> Problem {
    let fault = || FieldError::new("view_id", "not_found", "is no view that you see");
    problem.unless_found(|| Problem::invalid_query(vec![fault()]))
}

/// What cursors are bound to: a place in one order is one whatever the filters, but how well a ticket fits is about one
/// search.
fn list_name(sort: SortOrder, q: Option<&Query>) -> String {
    match (sort.first, q) {
        (Sort::Relevance, Some(q)) => format!("tickets {sort} {:x}", q.fingerprint()),
        _ => format!("tickets {sort}"),
    }
}

/// Open a ticket.
///
/// A requester reports for themself. Agents and service accounts may report on somebody's behalf, by `requester_id` or
/// by `requester`, which finds or makes that person. Send an `Idempotency-Key` so that a retry never opens a second
/// ticket.
#[utoipa::path(
    operation_id = "create_ticket", tag = "tickets", security(("bearer" = ["tickets:write"])), request_body = NewTicket,
    extensions(("x-problems" = json!(["duplicate_external_id"]))),
    responses((status = 201, description = "The ticket. Without `tickets:read`: no body.", body = TicketBody,
        headers(("ETag" = String, description = "The ticket's version."), ("Location" = String, description = "Where the ticket is."))))
)]
#[post("/v1/tickets")]
async fn create_ticket(who: Allowed<WriteTickets>, call: Call) -> Answer {
    call.no_query()?;
    let new: NewTicket = call.body().await?;
    may_open(who.who(), &new)?;
    let (reach, act, words) = (who.reach(), who.act(&call), service::words(&new));
    call.create(who.who(), service::roots(&act.who, &new), async move |tx| {
        let ticket = service::open(tx, &act.in_turn(), &reach, new.clone(), words.clone()).await?;
        let place = format!("/v1/tickets/{}", ticket.id);
        Ok((ticket, place))
    })
    .await
}

/// Change a ticket.
///
/// A JSON merge patch: what is not mentioned stays, null empties, `custom_fields` are merged deeply. A patch that
/// changes nothing leaves the version as it is. An illegal step of the life-cycle is refused with the legal ones. Of
/// the `status` of their own ticket a requester sets `resolved`, `closed` once it is resolved, and `open` where it
/// waits for them or is resolved: a change of a new ticket to `open` begins the work (`started_at`), which is for those
/// who do it, and is 403 for a requester.
#[utoipa::path(
    operation_id = "update_ticket", tag = "tickets", security(("bearer" = ["tickets:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    request_body(content((TicketPatch = "application/merge-patch+json"), (TicketPatch = "application/json"))),
    extensions(("x-problems" = json!(["illegal_transition", "ticket_closed", "conflict", "duplicate_external_id"]))),
    responses(
        (status = 200, description = "The ticket as it is now.", body = TicketBody, headers(("ETag" = String, description = "The ticket's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The ticket's version."), ("Location" = String, description = "Where the ticket is."))))
)]
#[patch("/v1/tickets/{id}")]
async fn update_ticket(who: Allowed<WriteTickets>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let condition = call.precondition()?;
    let patch: TicketPatch = call.patch().await?;
    let (reach, act) = (who.reach(), who.act(&call));
    // What may not be seen is not found, whatever the patch asks for.
    let ticket = call.db().read(async |conn| store::find(conn, &reach, which).await).await?;
    may_change(who.who(), &patch)?;
    let roots = service::roots_of_change(&ticket, &patch);
    let change =
        async move |tx: &mut Conn| service::change(tx, &act.in_turn(), &reach, which, &condition, patch.clone()).await;
    let ticket = call.db().write(roots, change).await.map_err(|problem| met_by::<TicketBody>(who.who(), problem))?;
    Reply::changed(who.who(), &ticket, call.place())
}

/// Redact a ticket.
///
/// Removes what people have written for good: subject, description, custom fields and external id, the texts of its
/// comments and the notes of work, from the audit trail and from the index of words, too, and all files. The ticket
/// itself stays, with its tags and times, and so does every number. Also of a closed one. Doing it again changes
/// nothing.
#[utoipa::path(
    operation_id = "redact_ticket", tag = "tickets", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    responses((status = 204, description = "Its texts are gone."))
)]
#[delete("/v1/tickets/{id}")]
async fn redact_ticket(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let condition = call.precondition()?;
    let (reach, act, answers) = (who.reach(), who.act(&call), call.answers());
    let root = service::root(&call.db(), &reach, which).await?;
    service::redact_ahead(&call.db(), &root, reach, which, &condition).await?;
    let redact =
        async move |tx: &mut Conn| service::redact(tx, &act.in_turn(), &reach, which, &condition, &answers).await;
    call.db().lengthy().write(root, redact).await?;
    Ok(Reply::no_content())
}

/// Read a ticket's audit trail.
///
/// Every change, who made it, when, before and after; in the order in which they were made, so that each begins where
/// the one before has ended, or the other way round. Events about internal comments and about work are shown only to
/// those who may see internal comments. For a page to show, there is the timeline.
#[utoipa::path(
    operation_id = "list_ticket_events", tag = "tickets", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), TrailQuery),
    responses((status = 200, description = "A page of events.", body = Page<EventBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/events")]
async fn list_events(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let TrailQuery { sort: order, limit, cursor } = call.query()?;
    let list = format!("events {order}");
    let behind = cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let (reach, internal) = (who.reach(), who.who().sees_internal());
    let read = async move |conn: &mut Conn| {
        let ticket = store::find(conn, &reach, which).await?;
        let rows = audit::store::list(conn, ticket.id, internal, TrailPage { order, behind, limit }).await?;
        let names = service::names(conn, &reach, &rows).await?;
        Ok((rows, names))
    };
    let (rows, names) = call.db().list(read).await?;
    Page::reply(&call, limit, &list, rows, |row| row.id, |row| EventBody::named(row, &names))
}

/// Explain a ticket's clocks.
///
/// Where their time went, what each stretch of it counted for, and which version of which policy and calendar judges
/// them. The segments of a clock begin with the report and end with the clock, or now.
#[utoipa::path(
    operation_id = "get_ticket_sla", tag = "tickets", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    responses((status = 200, description = "Why its clocks stand as they do.", body = TicketSlaBody))
)]
#[get("/v1/tickets/{id}/sla")]
async fn get_ticket_sla(who: Allowed<ReadTickets>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let sla = call.db().read(async |conn| service::explain(conn, &who.reach(), which, call.now()).await).await?;
    Reply::ok(&sla)
}

/// Count tickets.
///
/// How long the lists are that one names, for badges: each by the filters of the list of tickets. A count is exact up
/// to 1,000; of more, and of a search that would cost too much, it is the least that there are. Nothing is changed.
#[utoipa::path(
    operation_id = "count_tickets", tag = "tickets", security(("bearer" = ["tickets:read"])), request_body = CountRequest,
    responses((status = 200, description = "How many there are of each.", body = CountsBody))
)]
#[post("/v1/tickets/counts")]
async fn count_tickets(who: Allowed<ReadTickets>, call: Call) -> Answer {
    call.no_query()?;
    let mut filters = Vec::new();
    for (name, list) in call.body::<CountRequest>().await?.filters.0 {
        let filter = counted(&call, &who, &name, list).await?;
        filters.push((name, filter));
    }
    let (reach, now) = (who.reach(), call.now());
    let asks_for_teams = filters.iter().any(|(_, filter)| filter.asks_for_own_teams());
    let asker = service::asker(&call.db(), who.who().id, asks_for_teams).await?;
    let each = filters.into_iter().map(|(name, filter)| Ok((name, filter.criteria(&reach, &asker, now)?)));
    let each = each.collect::<Result<Vec<_>, Problem>>()?;
    let count = async move |conn: &mut Conn| {
        let mut counts = CountsBody::default();
        for (name, criteria) in &each {
            counts.add(name, CountBody::from(store::count(conn, criteria, MOST_COUNTED).await?));
        }
        Ok(counts)
    };
    Reply::ok(&call.db_for_lists(who.who().id).snapshot(count).await?)
}

/// What the list called `name` shows, by itself or by the view that it names.
async fn counted(
    call: &Call,
    who: &Allowed<ReadTickets>,
    name: &str,
    CountedList { view_id, words }: CountedList,
) -> Result<TicketFilter, Problem> {
    let Some(id) = view_id else { return words.filter().map_err(Problem::invalid) };
    let view = call.db().read(async |conn| service::views::read_view(conn, who.who(), id).await).await;
    let place = format!("/filters/{}/view_id", name.replace('~', "~0").replace('/', "~1"));
    let no_view = || Problem::field(&place, "not_found", "there is no such view");
    let view = view.map_err(|problem| problem.unless_found(no_view))?.view;
    words.over(view.filter).filter().map_err(Problem::invalid)
}

/// List the tags that tickets have.
///
/// In the order of their characters. For agents, admins and service accounts.
#[utoipa::path(
    operation_id = "list_tags", tag = "tickets", security(("bearer" = ["tickets:read"])), params(TagQuery),
    responses((status = 200, description = "A page of tags.", body = Page<TagBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tags")]
async fn list_tags(who: Allowed<ReadTags>, call: Call) -> Answer {
    let TagQuery { q, limit, cursor } = call.query()?;
    let prefix = q.map_or_else(String::new, |prefix| prefix.0);
    let after: Option<String> = cursor.as_ref().map(|cursor| cursor.open("tags")).transpose()?;
    let list = async move |conn: &mut Conn| store::tags::list(conn, &prefix, after.as_deref(), limit.and_one()).await;
    let tags = call.db_for_lists(who.who().id).list(list).await?;
    Page::reply(&call, limit, "tags", tags, Clone::clone, |name| TagBody { name })
}
