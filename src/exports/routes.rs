//! The endpoint of exports.

use actix_web::get;

use super::service::Export;
use super::wire::{ExportForm, ExportLine, ExportOptions};
use crate::auth::policy::{Lasting, ReadTickets};
use crate::changes;
use crate::http::accept::LINES;
use crate::http::{Call, Endpoints, Piecewise, table};
use crate::kernel::{FieldError, Problem};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketFilter;

/// Registers the endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(export_tickets);
}

/// Export tickets.
///
/// All that the filters of the list of tickets ask for and the caller may see, in the order of their numbers, as lines
/// of JSON. The first line is `{"cursor": …}`: whoever goes on from it with `GET /v1/changes`, and keeps of each ticket
/// the larger `version`, has exactly what there is. The last line is `{"end": true, "tickets": …}`: without it the
/// export is not whole, and goes on with `after` behind the last number that has come. With `Accept: text/csv` it is a
/// table for a spreadsheet, one row a ticket, without those two lines. A principal has at most 8 exports and streams at
/// a time.
#[utoipa::path(
    operation_id = "export_tickets", tag = "tickets", security(("bearer" = ["tickets:read"])), params(TicketFilter, ExportOptions),
    responses((status = 200, description = "Lines of JSON, or a table.", content(
        (ExportLine = "application/x-ndjson"), (String = "text/csv"))))
)]
#[get("/v1/exports/tickets")]
async fn export_tickets(who: Lasting<ReadTickets>, call: Call) -> Result<Piecewise, Problem> {
    let (filter, ExportOptions { include, after }): (TicketFilter, ExportOptions) = call.query_of()?;
    let form = if call.prefers_table() { ExportForm::Table } else { ExportForm::Lines };
    require_sense(&filter, include.is_some(), form)?;
    let (reach, caller) = (who.allowed().reach(), who.allowed().who().id);
    let asker = tickets::service::asker(&call.db(), caller, filter.asks_for_own_teams()).await?;
    let criteria = filter.criteria(&reach, &asker, call.now())?;
    let cursor = changes::routes::cursor_of_now(&call, caller).await?;
    let until = call.db().read(async |conn| tickets::store::last_number(conn).await).await?;
    let export = Export {
        db: call.db_to_keep(),
        clock: call.clock().clone(),
        criteria,
        parts: include.map(|parts| parts.0).unwrap_or_default(),
        form,
        after: after.map_or(0, |after| after.0),
        until,
        cursor,
        renewed_every: call.heartbeat(),
        seat: call.seat(caller)?,
        who,
    };
    let (media_type, name) = match form {
        ExportForm::Lines => (LINES, "tickets.ndjson"),
        ExportForm::Table => (table::CONTENT_TYPE, "tickets.csv"),
    };
    Ok(Piecewise::made_by(media_type, |pieces| export.write(pieces)).called(name))
}

fn require_sense(filter: &TicketFilter, includes: bool, form: ExportForm) -> Result<(), Problem> {
    let fault = |name, detail| Err(Problem::invalid_query(vec![FieldError::new(name, "invalid", detail)]));
    if filter.q.is_some() {
        return fault("q", "does not go with an export, which is no search");
    }
    if includes && form == ExportForm::Table {
        return fault("include", "does not go with a table, which has one row a ticket");
    }
    Ok(())
}
