//! The endpoints of the feed.

use std::rc::Rc;
use std::time::Duration;

use actix_web::get;
use aws_lc_rs::digest::{SHA256, digest};
use futures_util::future::LocalBoxFuture;

use super::policy::Sightline;
use super::service::stream::Follower;
use super::service::wait::wait_for;
use super::service::{self, Feed, FeedPage, LogPlace, Start};
use super::store::ChangeCriteria;
use super::wire::{Beginning, ChangeList, ChangedTicketQuery, KindQuery, PollQuery, StartQuery};
use crate::auth::policy::{Allowed, Lasting, ReadTickets};
use crate::http::accept::LINES;
use crate::http::{Answer, Call, Endpoints, EventStream, Reply};
use crate::kernel::rows::of_another_list;
use crate::kernel::{PrincipalId, Problem};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// How many changes are told at once by a stream that is behind.
const MOST_OF_STREAM: usize = 50;

/// Registers the endpoints.
pub fn routes(config: &mut impl Endpoints) {
    config.service(list_changes).service(stream_changes).service(stream_ticket);
}

/// Follow what happens.
///
/// All that happens, in one order without a gap: what happened after something else was done stands behind it, and
/// whoever reads from cursor to cursor misses nothing, however many write at once. Requesters are told of public events
/// of their own tickets, all others of those that their scopes let them read, as they may read them now. What was
/// redacted is redacted here, too.
///
/// Begin with `from=start`, or read all tickets and begin with `from=now` before you do; then go on with `next_cursor`,
/// which is never null and never expires. With `wait_s` the answer comes as soon as something happens. An answer may
/// have no items, and yet another cursor: of what is not asked for it goes through 5,000 changes at a time. 410
/// `cursor_diverged` tells that the database was set back behind the cursor, by a backup or a failover. With `Accept:
/// application/x-ndjson` each item is a line, and the last line is `{"next_cursor": …}`.
#[utoipa::path(
    operation_id = "list_changes", tag = "changes", security(("bearer" = ["tickets:read"])),
    params(StartQuery, KindQuery, ChangedTicketQuery, PollQuery),
    extensions(("x-problems" = json!(["invalid_cursor", "cursor_diverged"]))),
    responses((status = 200, description = "Some changes.", content(
        (ChangeList = "application/json"), (String = "application/x-ndjson"))))
)]
#[get("/v1/changes")]
async fn list_changes(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let (start, kinds, tickets, poll): (StartQuery, KindQuery, ChangedTicketQuery, PollQuery) = call.query_of()?;
    start.require_one_beginning()?;
    let criteria = kinds.criteria(&tickets);
    let owner = owner(who.who().id, &criteria);
    let start = place(&call, &start, &owner)?;
    let feed = feed(&who, criteria, &kinds, poll.limit.0.into());
    let wait = Duration::from_secs(poll.wait_s.0.into());
    let place = call.db().read(async |conn| service::begin(conn, start).await).await?;
    let _seat = if wait.is_zero() { None } else { Some(call.seat(who.who().id)?) };
    let page = wait_for(&call.db_to_keep(), &feed, place, wait, call.ending(), || call.clock().now()).await?;
    reply(&call, page, &owner)
}

/// Follow what happens, live.
///
/// The same as `GET /v1/changes`, told as it happens: server-sent events, each with its `type` as `event`, the item as
/// `data`, and the cursor behind it as `id`. Whoever comes again with `Last-Event-ID`, as browsers' `EventSource` does
/// by itself, or with `cursor`, goes on where they were: nothing is lost and nothing told twice. Every 15 seconds there
/// is a comment, and an `id` that moves on over what was not for the reader.
///
/// `reset` tells that the database was set back behind the place from which to go on, by a backup or a failover: read
/// the tickets again; the stream goes on from now. `end` tells, by `code` and `detail`, why a stream ends: its token
/// has expired or is refused, or the service shuts down. A principal has at most 8 streams and answers that wait; there
/// is no token in the address, so send the header by `fetch` or a client that can.
#[utoipa::path(
    operation_id = "stream_changes", tag = "changes", security(("bearer" = ["tickets:read"])),
    params(StartQuery, KindQuery, ChangedTicketQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event, to go on behind it.")),
    extensions(("x-problems" = json!(["invalid_cursor"]))),
    responses((status = 200, description = "Changes, as they happen.", content((String = "text/event-stream"))))
)]
#[get("/v1/changes/stream")]
async fn stream_changes(who: Lasting<ReadTickets>, call: Call) -> Result<EventStream, Problem> {
    let (start, kinds, tickets): (StartQuery, KindQuery, ChangedTicketQuery) = call.query_of()?;
    start.require_one_beginning()?;
    follow(who, &call, &start, &kinds, &tickets).await
}

/// Follow a ticket, live.
///
/// The same as `GET /v1/changes/stream` for one ticket: for a page that shows it.
#[utoipa::path(
    operation_id = "stream_ticket", tag = "changes", security(("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number."), StartQuery, KindQuery,
        ("Last-Event-ID" = Option<String>, Header, description = "The `id` of the last event, to go on behind it.")),
    extensions(("x-problems" = json!(["invalid_cursor"]))),
    responses((status = 200, description = "Changes of the ticket, as they happen.", content((String = "text/event-stream"))))
)]
#[get("/v1/tickets/{id}/stream")]
async fn stream_ticket(who: Lasting<ReadTickets>, call: Call) -> Result<EventStream, Problem> {
    let which: TicketRef = call.path("id")?;
    let (start, kinds): (StartQuery, KindQuery) = call.query_of()?;
    start.require_one_beginning()?;
    let reach = who.allowed().reach();
    let number = call.db().read(async |conn| tickets::service::number(conn, &reach, which).await).await?;
    let tickets = ChangedTicketQuery { ticket_id: Some(TicketRef::Number(number)), team_id: None };
    follow(who, &call, &start, &kinds, &tickets).await
}

/// The cursor behind all that has happened until now, for whoever follows all of it from then on.
///
/// # Errors
/// When the database is away.
pub async fn cursor_of_now(call: &Call, who: PrincipalId) -> Result<String, Problem> {
    let place = call.db().read(async |conn| service::begin(conn, Start::Head).await).await?;
    call.sealer().seal_cursor(&owner(who, &ChangeCriteria::default()), &place.to_bytes())
}

async fn follow(
    who: Lasting<ReadTickets>,
    call: &Call,
    start: &StartQuery,
    kinds: &KindQuery,
    tickets: &ChangedTicketQuery,
) -> Result<EventStream, Problem> {
    let (criteria, id) = (kinds.criteria(tickets), who.allowed().who().id);
    let owner = owner(id, &criteria);
    let start = match call.last_event_id()? {
        Some(cursor) => behind(call, &cursor, &owner)?,
        None => place(call, start, &owner)?,
    };
    let feed = feed(who.allowed(), criteria, kinds, MOST_OF_STREAM);
    let seat = call.seat(id)?;
    let who = Rc::new(who);
    let renew = Box::new(move || -> LocalBoxFuture<'static, _> {
        let who = who.clone();
        Box::pin(async move { who.renewed().await.map(|who| (Sightline::of(&who), who.reach())) })
    });
    let follower = Follower::new(call, feed, start, owner, (id, renew), seat).await?;
    Ok(EventStream::of(follower.frames()))
}

fn feed(who: &Allowed<ReadTickets>, criteria: ChangeCriteria, kinds: &KindQuery, most: usize) -> Feed {
    let (sightline, reach) = (Sightline::of(who), who.reach());
    Feed { sightline, reach, criteria, includes_ticket: kinds.includes_ticket(), most }
}

/// Whom a cursor is good for, and for which filter: with what it is sealed.
fn owner(who: PrincipalId, criteria: &ChangeCriteria) -> Vec<u8> {
    let mut teams = criteria.teams.clone();
    if let Some((teams, _)) = &mut teams {
        teams.sort_unstable();
        teams.dedup();
    }
    let mut types: Vec<&str> = criteria.kinds.iter().flatten().map(|kind| kind.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let filter = format!("{types:?} {:?} {teams:?}", criteria.ticket);
    [who.0.as_bytes(), digest(&SHA256, filter.as_bytes()).as_ref()].concat()
}

fn place(call: &Call, start: &StartQuery, owner: &[u8]) -> Result<Start, Problem> {
    Ok(match (&start.cursor, start.from, start.since) {
        (Some(cursor), ..) => behind(call, cursor.as_str(), owner)?,
        (_, Some(Beginning::Start), _) => Start::First,
        (.., Some(instant)) => Start::Since(instant),
        _ => Start::Head,
    })
}

fn behind(call: &Call, cursor: &str, owner: &[u8]) -> Result<Start, Problem> {
    let place = call.sealer().open_cursor(owner, cursor);
    place.and_then(|place| LogPlace::from_bytes(&place)).map(Start::Behind).ok_or_else(of_another_list)
}

fn reply(call: &Call, page: FeedPage, owner: &[u8]) -> Answer {
    let cursor = call.sealer().seal_cursor(owner, &page.place.to_bytes())?;
    let cursor = serde_json::to_string(&cursor).map_err(Problem::internal)?;
    let items: Vec<_> = page.items.into_iter().map(|item| item.json).collect();
    if call.prefers_lines() {
        let mut lines = items.join(&b'\n');
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        lines.extend_from_slice(format!("{{\"next_cursor\":{cursor}}}\n").as_bytes());
        return Ok(Reply::of_type(LINES, lines)?.header("vary", "accept".to_owned()));
    }
    let mut body = br#"{"items":["#.to_vec();
    body.extend_from_slice(&items.join(&b','));
    body.extend_from_slice(format!("],\"next_cursor\":{cursor}}}").as_bytes());
    Ok(Reply::of_type("application/json", body)?.header("vary", "accept".to_owned()))
}
