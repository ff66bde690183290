//! The endpoint of the feed.

use std::time::Duration;

use actix_web::get;
use aws_lc_rs::digest::{SHA256, digest};

use super::policy::Sightline;
use super::service::{self, Feed, FeedPage, LogPlace, Start};
use super::wire::{Beginning, ChangeList, ChangesQuery};
use crate::auth::policy::{Allowed, ReadTickets};
use crate::http::accept::LINES;
use crate::http::{Answer, Call, Endpoints, Reply};
use crate::kernel::rows::of_another_list;
use crate::kernel::{PrincipalId, Problem};
use crate::tickets::policy::ReachesTickets;

/// Registers the endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(list_changes);
}

/// Follow what happens.
///
/// All that happens to tickets, in one order without a gap: what happened after something else was done stands behind
/// it, and whoever reads from cursor to cursor misses nothing, however many write at once. Requesters are told of
/// public events of their own tickets, all others of those that their scopes let them read, as they may read them now.
/// What was redacted is redacted here, too.
///
/// Begin with `from=start`, or read all tickets and begin with `from=now` before you do; then go on with `next_cursor`,
/// which is never null and never expires. With `wait_s` the answer comes as soon as something happens. An answer may
/// have no items, and yet another cursor: of what is not asked for it goes through 5,000 changes at a time. 410
/// `cursor_diverged` tells that the database was set back behind the cursor, by a backup or a failover. With `Accept:
/// application/x-ndjson` each item is a line, and the last line is `{"next_cursor": …}`.
#[utoipa::path(
    operation_id = "list_changes", tag = "changes", security(("bearer" = ["tickets:read"])), params(ChangesQuery),
    extensions(("x-problems" = json!(["invalid_cursor", "cursor_diverged"]))),
    responses((status = 200, description = "Some changes.", content(
        (ChangeList = "application/json"), (String = "application/x-ndjson"))))
)]
#[get("/v1/changes")]
async fn list_changes(who: Allowed<ReadTickets>, call: Call) -> Answer {
    let query: ChangesQuery = call.query()?;
    query.require_one_beginning()?;
    let owner = owner(who.who().id, &query);
    let start = start(&call, &query, &owner)?;
    let feed = Feed {
        sightline: Sightline::of(&who),
        reach: who.reach(),
        criteria: query.criteria(),
        includes_ticket: query.includes_ticket(),
        most: query.limit.0.into(),
    };
    let place = call.db().read(async |conn| service::begin(conn, start).await).await?;
    let wait = Duration::from_secs(query.wait_s.0.into());
    let _seat = if wait.is_zero() { None } else { Some(call.seat(who.who().id)?) };
    let page = service::wait_for(|| call.db_anew(), &feed, place, wait, call.ending(), || call.clock().now()).await?;
    reply(&call, page, &owner)
}

/// Whom a cursor is good for, and for which filter: with what it is sealed.
fn owner(who: PrincipalId, query: &ChangesQuery) -> Vec<u8> {
    let mut types: Vec<&str> = query.types.iter().flat_map(|types| &types.0).map(|kind| kind.as_str()).collect();
    types.sort_unstable();
    types.dedup();
    let filter = format!("{types:?} {:?} {:?}", query.ticket_id, query.team_id);
    [who.0.as_bytes(), digest(&SHA256, filter.as_bytes()).as_ref()].concat()
}

fn start(call: &Call, query: &ChangesQuery, owner: &[u8]) -> Result<Start, Problem> {
    if let Some(cursor) = &query.cursor {
        let place = call.sealer().open_cursor(owner, cursor.as_str());
        return place.and_then(|place| LogPlace::from_bytes(&place)).map(Start::Behind).ok_or_else(of_another_list);
    }
    Ok(match (query.from, query.since) {
        (Some(Beginning::Start), _) => Start::First,
        (_, Some(instant)) => Start::Since(instant),
        _ => Start::Head,
    })
}

fn reply(call: &Call, page: FeedPage, owner: &[u8]) -> Answer {
    let cursor = call.sealer().seal_cursor(owner, &page.place.to_bytes())?;
    let cursor = serde_json::to_string(&cursor).map_err(Problem::internal)?;
    if call.prefers_lines() {
        let mut lines = page.items.join(&b'\n');
        if !lines.is_empty() {
            lines.push(b'\n');
        }
        lines.extend_from_slice(format!("{{\"next_cursor\":{cursor}}}\n").as_bytes());
        return Ok(Reply::of_type(LINES, lines)?.header("vary", "accept".to_owned()));
    }
    let mut body = br#"{"items":["#.to_vec();
    body.extend_from_slice(&page.items.join(&b','));
    body.extend_from_slice(format!("],\"next_cursor\":{cursor}}}").as_bytes());
    Ok(Reply::of_type("application/json", body)?.header("vary", "accept".to_owned()))
}
