//! Makes the OpenAPI document: from the handlers, completed with what all operations share.

mod operations;
mod problems;
mod schemas;

use actix_web::App;
use utoipa::OpenApi;
use utoipa::openapi::security::{
    ClientCredentials, Flow, HttpAuthScheme, HttpBuilder, OAuth2, Password, Scopes, SecurityScheme,
};
use utoipa_actix_web::AppExt;

use super::endpoints;
use crate::auth::domain::Scope;
use crate::http::problem::ProblemBody;
use crate::kernel::{Code, Problem, Status};
use crate::tickets::domain::Walker;
use crate::tickets::wire::summary::TicketSummaryBody;

/// What the document begins with. `{life_cycle}` and `{errors}` are filled in from the code.
const GUIDE: &str = include_str!("generate/guide.md");

/// Where tokens are got.
const TOKEN_PATH: &str = "/v1/auth/token";

#[derive(OpenApi)]
#[openapi(
    info(title = "Skranke API", description = "", license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT")),
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
        (name = "changes", description = "All that happens, in one order without a gap."),
        (name = "metrics", description = "Numbers about all of it."),
        (name = "alerts", description = "What monitoring tools and scripts tell of: one open ticket for each problem."),
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
    components.add_security_scheme("oauth2", oauth2());
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

/// OAuth 2 at our own token endpoint, as it takes it. Operations name `bearer` alone, since what is got is one: where
/// they name this, too, clients by openapi-generator (typescript-fetch) send a token without its scheme.
fn oauth2() -> SecurityScheme {
    let scopes = || Scope::ALL.iter().map(|scope| (scope.as_str(), scope.doc())).collect::<Scopes>();
    let password = Password::with_refresh_url(TOKEN_PATH, scopes(), TOKEN_PATH);
    let flows = [Flow::Password(password), Flow::ClientCredentials(ClientCredentials::new(TOKEN_PATH, scopes()))];
    let who = "People who have a password here, and service accounts. What is got is the token of `bearer`.";
    SecurityScheme::OAuth2(OAuth2::with_description(flows, who))
}

/// The guide, which ends with the closed table of codes: each has a heading of its own, to which the `type` of a
/// problem leads.
fn description() -> String {
    let codes = Code::ALL.iter().map(|code| format!("### {}\n\n**{}** {}\n", code.as_str(), code.status(), code.doc()));
    let codes = codes.collect::<Vec<_>>().join("\n");
    GUIDE.replace("{life_cycle}", &life_cycle()).replace("{errors}\n", &codes)
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
