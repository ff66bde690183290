//! The server: every room's endpoints behind the common layers, on a listener that is passed in.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{ResourceDef, Server};
use actix_web::guard::{Not, Post};
use actix_web::http::{Method, header};
use actix_web::middleware::{Compress, Condition, from_fn};
use actix_web::{App, HttpRequest, HttpServer, web};
use utoipa_swagger_ui::SwaggerUi;

use super::{document, health};
use crate::auth::service::Authority;
use crate::http::edge::{REQUEST_ID, edge};
use crate::http::meter::Meter;
use crate::http::{Answer, Endpoints, State};
use crate::kernel::{Code, Problem};

/// What the server needs to know, all of it values.
#[derive(Clone)]
pub struct Settings {
    /// What every handler works with.
    pub state: State,
    /// Who is trusted to say who somebody is.
    pub authority: Arc<Authority>,
    /// Origins that may call from a browser.
    pub cors_origins: Vec<String>,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// How long shutting down may take, in seconds.
    pub shutdown_s: u64,
    /// Whether SIGINT and SIGTERM shut the server down.
    pub signals: bool,
}

/// Every endpoint that is in the document. Whoever looks for one goes through them in this order: what is asked most comes
/// first.
pub fn routes<E: Endpoints>(config: &mut E) {
    crate::tickets::routes::routes(config);
    crate::comments::routes::routes(config);
    crate::auth::routes::routes(config);
    crate::metrics::routes::routes(config);
    crate::time_entries::routes::routes(config);
    crate::people::routes::routes(config);
    crate::sla::routes::routes(config);
    health::routes(config);
    document::routes(config);
}

/// A server on `listener`, ready to be awaited.
///
/// # Errors
/// When the listener cannot be used.
pub fn build(settings: Settings, listener: TcpListener) -> std::io::Result<Server> {
    let Settings { state, authority, cors_origins, workers, shutdown_s, signals } = settings;
    let authority = web::Data::from(authority);
    let meter = web::Data::new(Meter::new(&document::methods()));
    let threads = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    let mut server = HttpServer::new(move || {
        let state = web::Data::new(State { db: state.db.local(threads), ..state.clone() });
        App::new()
            .wrap(Compress::default())
            .wrap(Condition::new(!cors_origins.is_empty(), cors(&cors_origins)))
            .wrap(from_fn(edge))
            .app_data(state)
            .app_data(authority.clone())
            .app_data(meter.clone())
            // A path of its own comes before one with a parameter that would take it (OpenAPI 3.1, "Path Templating Matching"):
            // no policy is called "preview".
            .service(web::resource("/v1/sla/policies/preview").guard(Not(Post())).to(elsewhere))
            .configure(routes::<web::ServiceConfig>)
            .service(web::redirect("/docs", "/docs/"))
            .service(SwaggerUi::new("/docs/{_:.*}").config(document::swagger_config()))
            .default_service(web::to(elsewhere))
    })
    // A connection that was opened ahead of its first request is not answered 408 at once by a busy machine.
    .client_request_timeout(Duration::from_secs(30))
    .workers(threads)
    .shutdown_timeout(shutdown_s);
    if !signals {
        server = server.disable_signals();
    }
    Ok(server.listen(listener)?.run())
}

/// No origins unless configured: browsers then keep other pages' scripts away.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::HeaderName::from_static("idempotency-key"),
            header::HeaderName::from_static("traceparent"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::LINK,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            REQUEST_ID,
        ])
        .expose_headers(["idempotent-replayed"])
        .max_age(3600)
        .block_on_origin_mismatch(false);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// What no endpoint takes: 405 with `Allow` where another method would do, 404 elsewhere.
async fn elsewhere(request: HttpRequest) -> Answer {
    static KNOWN: OnceLock<Vec<(ResourceDef, Vec<Method>)>> = OnceLock::new();
    let known = KNOWN.get_or_init(document::methods);
    let allowed = known.iter().find(|(path, _)| path.is_match(request.path())).map(|(_, methods)| methods);
    match allowed {
        Some(methods) if !methods.contains(request.method()) => {
            let allow = methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
            Err(Problem::new(Code::MethodNotAllowed, format!("This path takes {allow}.")).with("allow", allow))
        }
        _ => Err(Problem::not_found()),
    }
}
