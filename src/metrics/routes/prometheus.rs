//! The endpoint that Prometheus scrapes.

use actix_web::http::header;
use actix_web::{HttpResponse, get, web};

use crate::auth::policy::{Allowed, ReadMetrics};
use crate::http::meter::Meter;
use crate::http::{Call, Endpoints};
use crate::kernel::Problem;
use crate::metrics::service::prometheus as service;
use crate::metrics::wire::prometheus::{self as wire, Form};

/// Registers the endpoint.
pub fn routes(config: &mut impl Endpoints) {
    config.service(scrape_metrics);
}

/// Read all numbers for Prometheus.
///
/// OpenMetrics 1.0, unless `Accept` prefers `text/plain`: then the classic text format 0.0.4. Tickets are counted by
/// status, priority and team; tickets opened, resolved and reopened by priority and the team of that moment; how long
/// it took until work began, and how much work it took; and the clocks of SLA policies: kept, broken, running, paused
/// and due soon, as they are at the moment of the answer; webhooks, their deliveries that wait or were given up, and
/// how far each is behind. The rest is about this instance: requests, connections, jobs, build. Every series is there
/// from the start, at zero. The hundred oldest teams are named, further ones are `other` together, and no team is
/// `none`. Bounds of histograms are powers of two. Reading it costs the same however many tickets there are.
#[utoipa::path(
    operation_id = "scrape_metrics", tag = "metrics", security(("bearer" = ["metrics:read"])),
    extensions(("x-problems" = json!(["invalid_query", "not_acceptable", "unavailable"]))),
    responses((status = 200, description = "The numbers as they are now.", content(
        (String = "application/openmetrics-text", example = json!("# HELP skranke_tickets Tickets by where they stand\n# TYPE skranke_tickets gauge\nskranke_tickets{status=\"open\",priority=\"high\",team=\"Printers\"} 3\n# EOF\n")),
        (String = "text/plain", example = json!("# HELP skranke_tickets Tickets by where they stand\n# TYPE skranke_tickets gauge\nskranke_tickets{status=\"open\",priority=\"high\",team=\"Printers\"} 3\n"))
    )))
)]
#[get("/metrics")]
async fn scrape_metrics(
    _who: Allowed<ReadMetrics>,
    call: Call,
    meter: web::Data<Meter>,
) -> Result<HttpResponse, Problem> {
    call.no_query()?;
    let form = Form::of(call.headers())?;
    let figures = service::figures(&call.db(), call.streams(), call.now()).await?;
    let text = wire::write(form, &meter, call.jobs(), figures, call.now())?;
    let mut answer = HttpResponse::Ok();
    answer.insert_header((header::CACHE_CONTROL, "no-store")).insert_header((header::VARY, "accept"));
    Ok(answer.content_type(form.content_type()).body(text))
}
