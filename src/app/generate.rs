//! Makes the OpenAPI document: from the handlers, completed with what all operations share.

mod operations;
mod problems;
mod schemas;

use actix_web::App;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_actix_web::AppExt;

use super::endpoints;
use crate::http::problem::ProblemBody;
use crate::kernel::{Code, Problem, Status};
use crate::tickets::domain::Walker;
use crate::tickets::wire::summary::TicketSummaryBody;

#[derive(OpenApi)]
#[openapi(
    info(title = "Skranke", description = "", license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")),
    components(schemas(ProblemBody<'static>, TicketSummaryBody)),
    tags(
        (name = "auth", description = "Tokens, keys, and who a token is."),
        (name = "users", description = "People: requesters, agents and admins."),
        (name = "teams", description = "Queues of tickets, and who is in them."),
        (name = "service accounts", description = "Scripts and monitors."),
        (name = "sla", description = "What is promised: calendars of working hours, and SLA policies."),
        (name = "tickets", description = "Problems and requests, and what became of them."),
        (name = "comments", description = "Messages on a ticket, public or internal."),
        (name = "files", description = "What is attached to tickets and comments."),
        (name = "time entries", description = "Work on a ticket, and what it cost."),
        (name = "metrics", description = "Numbers about all of it."),
        (name = "webhooks", description = "What happens, told to a URL as it happens."),
        (name = "operation", description = "The service itself."),
    )
)]
struct Base;

/// The OpenAPI document as JSON, as it follows from the code.
///
/// # Errors
/// When it cannot be written as JSON, or an operation names a problem that there is none of.
pub fn document() -> Result<String, Problem> {
    let (_, mut api) = App::new()
        .into_utoipa_app()
        .openapi(Base::openapi())
        .configure(|config| endpoints::routes(config))
        .split_for_parts();
    api.info.description = Some(description());
    let mut components = api.components.take().unwrap_or_default();
    components.add_security_scheme("bearer", bearer());
    for (path, item) in &mut api.paths.paths {
        operations::complete(path, item, &mut components)?;
    }
    let pages = schemas::refine(&mut components.schemas, &operations::request_bodies(&api.paths));
    api.components = Some(components);
    let mut text = api.to_pretty_json().map_err(Problem::internal)?;
    text.push('\n');
    // Generated clients should read well: TicketPage, not Page_Ticket.
    Ok(pages.iter().fold(text, |text, item| text.replace(&format!("Page_{item}\""), &format!("{item}Page\""))))
}

fn bearer() -> SecurityScheme {
    let from = "A token of `POST /v1/auth/token`, of `skranke token`, or of a configured outside issuer.";
    SecurityScheme::Http(
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").description(Some(from)).build(),
    )
}

fn description() -> String {
    let mut text = String::from(
        "A headless helpdesk: problems are reported, registered, handled and solved over this API.\n\n\
         **Conventions.** JSON in and out. Times are RFC 3339 in UTC with `Z`; durations are whole seconds in fields named \
         `*_s`. Lists have `items` and `next_cursor`, take `limit` and `cursor`, and send a `Link` to the next page. Single \
         resources send an `ETag`; writes honour `If-Match` (412), reads `If-None-Match` (304). Every POST that creates \
         takes an `Idempotency-Key`: the same request with the same key within 24 hours gets the first answer again, with \
         `Idempotent-Replayed: true`, and has no second effect. `PATCH` is a JSON merge patch (RFC 7396). Unknown fields and \
         unknown query parameters are errors. A parameter that takes several values takes them separated by commas, in one \
         parameter. `X-Request-Id` is taken or made, and returned.\n\n\
         **How current answers are.** Single resources are as they are now, always. Where the service has a replica, lists and \
         searches of tickets and the reports under `/v1/metrics` may lag behind by what the replica lags; not for a caller who \
         has written through the same instance within the last 10 seconds, and not for a request with `Cache-Control: no-cache` \
         or `max-age=0` (RFC 9111).\n\n\
         **Names.** What is read has the name of the thing: `Ticket`. What makes one is `NewTicket`, what changes one `TicketPatch`: they \
         have the fields that a caller may set, and most may be left out. Where a part of a thing is written in another shape than it \
         is read, as it has defaults, the written one is called `…Input`: `SlaTargetInput`. A list is read as a `…Page`.\n\n\
         **Life of a ticket.** Which statuses can follow which, and which of these a requester sets on their own ticket. An agent's public \
         comment on a new ticket makes it `open`, and so does the requester's on one that waits for them or is resolved. A resolved \
         ticket is closed by itself after a while; `closes_at` says when.\n\n{life_cycle}\n\
         **Errors** are `application/problem+json` (RFC 9457). Programs decide by `code`, which is one of:\n\n\
         | status | code | when |\n|---|---|---|\n",
    );
    text = text.replace("{life_cycle}", &life_cycle());
    for code in Code::ALL {
        text.push_str(&format!("| {} | `{}` | {} |\n", code.status(), code.as_str(), code.doc()));
    }
    text
}

/// The steps of a ticket's life as a table.
fn life_cycle() -> String {
    let words = |all: Vec<Status>| match all.as_slice() {
        [] => "none".to_owned(),
        all => all.iter().map(|status| format!("`{status}`")).collect::<Vec<_>>().join(", "),
    };
    let mut table = String::from("| status | can become | by its requester |\n|---|---|---|\n");
    for status in Status::ALL {
        let [any, own] = [Walker::Desk, Walker::Requester].map(|walker| words(walker.next(*status)));
        table.push_str(&format!("| `{status}` | {any} | {own} |\n"));
    }
    table
}
