//! The endpoints of reports about tickets.

use actix_web::get;

use crate::auth::policy::{Allowed, ReadMetrics};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Reply};
use crate::kernel::Problem;
use crate::metrics::service::ask::Ask;
use crate::metrics::service::backlog;
use crate::metrics::service::reports as service;
use crate::metrics::wire::backlog::BacklogBody;
use crate::metrics::wire::queries::{BacklogQuery, StepsQuery, WindowQuery};
use crate::metrics::wire::summary::SummaryBody;
use crate::metrics::wire::timeseries::TimeseriesBody;
use crate::sla::service::pending_tickets;
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::store::TicketCriteria;
use crate::tickets::wire::TicketFilter;

/// Registers the endpoints of reports.
pub fn routes(config: &mut impl Endpoints) {
    config.service(get_summary).service(get_timeseries).service(get_backlog);
}

/// What is asked for; all that is wrong with it at once.
fn asked(call: &Call, criteria: TicketCriteria, span: &WindowQuery) -> Result<Ask, Problem> {
    match (span.window(call.now()), span.groups()) {
        (Ok(window), Ok(groups)) => Ok(Ask { criteria, window, groups }),
        (window, groups) => {
            Err(Problem::invalid_query([window.err(), groups.err()].into_iter().flatten().collect::<Vec<_>>()))
        }
    }
}

/// Sum up a window of time.
///
/// How many tickets came and were solved, how long that took, which promises were kept, and what it cost. The window
/// takes in what happened at `from` or later and before `to`, each thing once and for good: what a window in the past
/// comes to never changes, unless a time entry in it is added or deleted. What is being
/// written while a report is read may still come into a window that ends now. It is settled when it ended longer ago
/// than a request may take (`SKRANKE_DATABASE_WAIT_S` and a second, six seconds unless set), and `pending_tickets` is
/// 0: whoever reads window by window lets them end so long ago.
///
/// Filters and groups by team, priority, type, channel, assignee, tag and policy look at tickets as they were when it
/// happened; all other filters look at them as they are now, so that what those let through may change. Work counts for
/// what its ticket was when the entry was written; `group_by=worker` tells who did it, and nothing else. A ticket with
/// several tags counts in the group of each, so that groups may come to more than the total. Groups are in the order of
/// their names, those of tickets without one last; by one thing, every priority, type and channel is there, also at
/// zero. At most 1,000 groups: the largest, by times that tickets were created and resolved, and then by work. Where
/// there are more than 20,000 to choose from, the answer is
/// 400. An empty window has zeros and nulls. All figures are of one moment, also while tickets change.
///
/// Figures by one thing are kept ready, so that they take no longer the more tickets there are: without filters, or
/// with one of `team_id`, `priority`, `type`, `channel`, `assignee_id` and `tag` and no other grouping than by the
/// same. By two things, and with several filters or others, all that happened in the window is read, which takes longer
/// the more that is, and ends with 503 where a report takes too long.
///
/// With `Accept: text/csv` the answer is a table (RFC 4180): a line of names, then one row a group, or the total alone
/// without `group_by`. Columns are called as the paths of the JSON, joined with dots: `key.team.name`,
/// `tickets.created`, `cost.costs.0.currency`. Which there are may depend on the figures; go by their names. Null is an
/// empty cell. Text that a spreadsheet would take for a formula, since it begins with `=`, `+`, `-`, `@` or a control
/// character, has `'` before it.
#[utoipa::path(
    operation_id = "get_metrics_summary", tag = "metrics", security(("bearer" = ["metrics:read"])),
    params(TicketFilter, WindowQuery),
    responses((status = 200, description = "The figures.", content(
        (SummaryBody = "application/json"),
        (String = "text/csv", example = json!("from,to,tickets.created,tickets.resolved\r\n2026-03-01T23:00:00.000000Z,2026-03-02T23:00:00.000000Z,2,1\r\n"))
    )))
)]
#[get("/v1/metrics/summary")]
async fn get_summary(who: Allowed<ReadMetrics>, call: Call) -> Answer {
    let (filter, span): (TicketFilter, WindowQuery) = call.query_of()?;
    let asker = tickets::service::asker(&call.db(), who.who().id, filter.asks_for_own_teams()).await?;
    let criteria = filter.criteria(&who.reach(), &asker, call.now())?;
    let ask = asked(&call, criteria, &span)?;
    let media_type = call.media_type();
    let report = async move |conn: &mut Conn| {
        let (total, groups) = service::summary(conn, &ask).await?;
        Reply::report(media_type, &SummaryBody::of(&ask, total, groups, pending_tickets(conn).await?))
    };
    call.db_for_lists(who.who().id).snapshot(report).await
}

/// Sum up a window of time step by step.
///
/// The figures of `GET /v1/metrics/summary` for each hour, day, week or month of the window, by local time: days begin
/// at midnight, weeks on Monday, months on the first, hours at the local clock's full hours. Where clocks are set, days
/// have 23 or 25 hours, and an hour that comes twice is two steps. The first and the last step are cut to the window. A
/// step in which nothing happened has zeros and nulls. Each step tells how many tickets were unsolved at its end. At
/// most 2,000 steps; with `group_by` at most 4,000 points, those of the largest groups. A group in which nothing
/// happened in the window has no series, also where tickets were unsolved in it, or came from other groups. Fastest are
/// steps of whole hours of UTC.
///
/// With `Accept: text/csv` the answer is a table as that of `GET /v1/metrics/summary`, of one row a step, or a group
/// and step.
#[utoipa::path(
    operation_id = "get_metrics_timeseries", tag = "metrics", security(("bearer" = ["metrics:read"])),
    params(TicketFilter, WindowQuery, StepsQuery),
    responses((status = 200, description = "The figures of each step.", content(
        (TimeseriesBody = "application/json"),
        (String = "text/csv", example = json!("from,to,tickets.created,tickets.resolved\r\n2026-03-01T23:00:00.000000Z,2026-03-02T23:00:00.000000Z,2,1\r\n"))
    )))
)]
#[get("/v1/metrics/timeseries")]
async fn get_timeseries(who: Allowed<ReadMetrics>, call: Call) -> Answer {
    let (filter, span, steps): (TicketFilter, WindowQuery, StepsQuery) = call.query_of()?;
    let asker = tickets::service::asker(&call.db(), who.who().id, filter.asks_for_own_teams()).await?;
    let criteria = filter.criteria(&who.reach(), &asker, call.now())?;
    let ask = asked(&call, criteria, &span)?;
    let edges = steps.edges(ask.window).map_err(|fault| Problem::invalid_query(vec![fault]))?;
    let media_type = call.media_type();
    let report = async move |conn: &mut Conn| {
        let series = service::timeseries(conn, &ask, &edges).await?;
        Reply::report(media_type, &TimeseriesBody::of(&ask, &steps, &edges, series, pending_tickets(conn).await?))
    };
    call.db_for_lists(who.who().id).snapshot(report).await
}

/// Count what there is to do.
///
/// Tickets that are neither resolved nor closed, as they are now: where they stand, how old they are, and which
/// promises about them are broken or due soon. `group_by=assignee` tells the load of each agent. Filters and groups are
/// those of `GET /v1/metrics/summary`, but for `worker`; of more than 1,000 groups the largest are here, and of more
/// than 20,000 none, which is 400. Without filters and by at most one thing the answer costs the same however many
/// tickets there are, but for those due within `due_within_s`; otherwise its cost grows with the unsolved tickets.
///
/// With `Accept: text/csv` the answer is a table as that of `GET /v1/metrics/summary`, of one row a group, without
/// `total.by_team`: that is what `group_by=team` tells.
#[utoipa::path(
    operation_id = "get_metrics_backlog", tag = "metrics", security(("bearer" = ["metrics:read"])),
    params(TicketFilter, BacklogQuery),
    responses((status = 200, description = "What there is to do.", content(
        (BacklogBody = "application/json"),
        (String = "text/csv", example = json!("now,open,by_status.new,by_status.open\r\n2026-03-02T23:00:00.000000Z,1,0,1\r\n"))
    )))
)]
#[get("/v1/metrics/backlog")]
async fn get_backlog(who: Allowed<ReadMetrics>, call: Call) -> Answer {
    let (filter, query): (TicketFilter, BacklogQuery) = call.query_of()?;
    let asker = tickets::service::asker(&call.db(), who.who().id, filter.asks_for_own_teams()).await?;
    let criteria = filter.criteria(&who.reach(), &asker, call.now())?;
    let groups = query.groups().map_err(|fault| Problem::invalid_query(vec![fault]))?;
    let media_type = call.media_type();
    let report = async move |conn: &mut Conn| {
        let to_do = backlog::backlog(conn, &criteria, &groups, query.due_within_s.get()).await?;
        Reply::report(media_type, &BacklogBody::of(criteria.now, &query, &groups, to_do, pending_tickets(conn).await?))
    };
    call.db_for_lists(who.who().id).snapshot(report).await
}
