//! The endpoints of alerts.

mod sources;

use actix_web::{get, post};
use serde_json::Value;

use super::domain::{AlertSource, AlertSourceRef};
use super::policy::AlertSender;
use super::service::{self, ReceivedAlert};
use super::store::{self, AlertCriteria};
use super::wire::intake::{
    AlertResultBody, AlertResultsBody, AlertmanagerMessage, AlertsRequest, MOST_BODY_B, ToldAlert, entries, messages,
};
use super::wire::{AlertBody, AlertQuery};
use crate::auth::policy::{Allowed, ReadAlerts, SendAlerts};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::{FieldError, Problem};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// What a cursor of the list is bound to.
const LIST: &str = "alerts";

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config.service(send_alerts).service(send_alertmanager_alerts).service(list_alerts).service(list_ticket_alerts);
    sources::routes(config);
}

/// Tell of alerts.
///
/// One, or a list of at most 500. The first `firing` of a key opens a ticket, whose report is when it began; all
/// further ones do nothing, however often they come and from however many. `resolved` resolves the ticket if nobody
/// else has acted on it, and says so in an internal comment otherwise. What fires again brings its ticket back, or
/// opens one that follows it up once it is closed. So a script opens, repeats and ends by the same call. A text that is
/// too long is cut; an entry of several that makes no sense is ignored, with a problem of its own. Limits are answered
/// 503, since those who send alerts come again for that alone.
#[utoipa::path(
    operation_id = "send_alerts", tag = "alerts", security(("bearer" = ["alerts:write"])), request_body = AlertsRequest,
    params(("source" = String, Path, description = "The name or the id of the source.", example = "backups")),
    responses((status = 200, description = "What became of each.", body = AlertResultsBody))
)]
#[post("/v1/alerts/{source}")]
async fn send_alerts(who: Allowed<SendAlerts>, call: Call) -> Answer {
    let source = sent_to(&who, &call).await?;
    let told = entries(call.foreign_body(MOST_BODY_B).await?)?;
    receive(&who, &call, &source, told).await
}

/// Tell of alerts, as Alertmanager does.
///
/// Takes what Alertmanager (version 4 of its webhook) and Grafana send, and does with each alert what `POST
/// /v1/alerts/{source}` does: by its `fingerprint`, or, if the source groups, with all of a group by its `groupKey`.
/// Members that are not known are passed over.
#[utoipa::path(
    operation_id = "send_alertmanager_alerts", tag = "alerts", security(("bearer" = ["alerts:write"])),
    request_body = AlertmanagerMessage,
    params(("source" = String, Path, description = "The name or the id of the source.", example = "prometheus-eu")),
    responses((status = 200, description = "What became of each.", body = AlertResultsBody))
)]
#[post("/v1/alerts/{source}/alertmanager")]
async fn send_alertmanager_alerts(who: Allowed<SendAlerts>, call: Call) -> Answer {
    let source = sent_to(&who, &call).await?;
    let message: Value = call.foreign_body(MOST_BODY_B).await?;
    let told = messages(&message, source.group_by)?;
    receive(&who, &call, &source, told).await
}

/// The source that is sent to.
async fn sent_to(who: &Allowed<SendAlerts>, call: &Call) -> Result<AlertSource, Problem> {
    call.no_query()?;
    call.require_no_version()?;
    let which: AlertSourceRef = call.path("source")?;
    call.db().read(async |conn| store::sources::sent_to(conn, &AlertSender::of(who), &which).await).await
}

async fn receive(who: &Allowed<SendAlerts>, call: &Call, source: &AlertSource, told: Vec<ToldAlert>) -> Answer {
    let (mut signals, mut all) = (Vec::new(), Vec::new());
    for (key, read) in told {
        match read {
            Ok(signal) if source.enabled => {
                signals.push(signal);
                all.push((key, None));
            }
            Ok(_) => all.push((key, Some(ReceivedAlert::ignored(None)))),
            Err(problem) => all.push((key, Some(ReceivedAlert::ignored(Some(problem))))),
        }
    }
    let mut received = service::receive(&call.db(), &who.act(call), who.reach(), source, signals).await?.into_iter();
    let request_id = call.request_id();
    let items = all.into_iter().map(|(key, ignored)| {
        let received = ignored.or_else(|| received.next()).unwrap_or_else(|| ReceivedAlert::ignored(None));
        AlertResultBody::of(key, received, &request_id)
    });
    Reply::ok(&AlertResultsBody { items: items.collect::<Result<_, _>>()? })
}

/// List alerts.
///
/// Those that were first told of last, first. What is over is forgotten after 90 days.
#[utoipa::path(
    operation_id = "list_alerts", tag = "alerts", security(("bearer" = ["internal:read"])), params(AlertQuery),
    responses((status = 200, description = "A page of alerts.", body = Page<AlertBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/alerts")]
async fn list_alerts(who: Allowed<ReadAlerts>, call: Call) -> Answer {
    let AlertQuery { state, source, ticket_id, limit, cursor } = call.query()?;
    let after = cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let reach = who.reach();
    let list = async move |conn: &mut Conn| {
        let source = match &source {
            Some(which) => Some(store::sources::by_ref(conn, which).await?.ok_or_else(no_source)?.id),
            None => None,
        };
        let ticket = match ticket_id {
            Some(which) => Some(tickets::service::number(conn, &reach, which).await.map_err(no_ticket)?),
            None => None,
        };
        store::list(conn, AlertCriteria { state, source, ticket }, after, limit).await
    };
    Page::reply(&call, limit, LIST, call.db().list(list).await?, |row| row.alert.id, AlertBody::from)
}

fn no_source() -> Problem {
    Problem::invalid_query(vec![FieldError::new("source", "not_found", "is no source of alerts")])
}

fn no_ticket(problem: Problem) -> Problem {
    let fault = || FieldError::new("ticket_id", "not_found", "is no ticket");
    problem.unless_found(|| Problem::invalid_query(vec![fault()]))
}

/// List the alerts of a ticket.
///
/// Those that were first told of last, first.
#[utoipa::path(
    operation_id = "list_ticket_alerts", tag = "alerts", security(("bearer" = ["internal:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), PageQuery),
    responses((status = 200, description = "A page of alerts.", body = Page<AlertBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/alerts")]
async fn list_ticket_alerts(who: Allowed<ReadAlerts>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let PageQuery { limit, cursor } = call.query()?;
    let (list, reach) = (format!("{LIST} of a ticket"), who.reach());
    let after = cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let read = async move |conn: &mut Conn| {
        let number = tickets::service::number(conn, &reach, which).await?;
        store::list(conn, AlertCriteria { ticket: Some(number), ..AlertCriteria::default() }, after, limit).await
    };
    Page::reply(&call, limit, &list, call.db().list(read).await?, |row| row.alert.id, AlertBody::from)
}
