//! The server: every room's endpoints behind the common layers, on a listener that is passed in.

use std::net::TcpListener;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use actix_cors::Cors;
use actix_web::dev::{Extensions, ResourceDef, Server};
use actix_web::guard::{Not, Post};
use actix_web::http::{Method, header};
use actix_web::middleware::{Condition, from_fn};
use actix_web::{App, HttpRequest, HttpServer, web};
use tokio::net::TcpStream;

use super::{docs, document, endpoints};
use crate::auth::service::Authority;
use crate::files::service::cabinet::Cabinet;
use crate::http::edge::{REQUEST_ID, edge};
use crate::http::limits::{Connections, RATE_LIMIT, RATE_LIMIT_POLICY, gate};
use crate::http::meter::Meter;
use crate::http::unsent::{SocketHandle, hold};
use crate::http::{Answer, Gate, Limits, State};
use crate::kernel::{Code, Problem};
use crate::webhooks::service::courier::Courier;

/// What the server needs to know, all of it values.
#[derive(Clone)]
pub struct Settings {
    /// What every handler works with.
    pub state: State,
    /// Who is trusted to say who somebody is.
    pub authority: Arc<Authority>,
    /// What carries the messages that callers try webhooks by.
    pub courier: Arc<Courier>,
    /// Where files are kept.
    pub cabinet: Cabinet,
    /// Origins that may call from a browser.
    pub cors_origins: Vec<String>,
    /// How much is let in.
    pub limits: Limits,
    /// Worker threads; 0 for one a core.
    pub workers: usize,
    /// How long shutting down may take, in seconds.
    pub shutdown_s: u64,
    /// Whether SIGINT and SIGTERM shut the server down.
    pub signals: bool,
}

/// A server on `listener`, ready to be awaited.
///
/// # Errors
/// When the listener cannot be used.
pub fn build(settings: Settings, listener: TcpListener) -> std::io::Result<Server> {
    let Settings { state, authority, courier, cabinet, cors_origins, limits, workers, shutdown_s, signals } = settings;
    let (authority, courier) = (web::Data::from(authority), web::Data::from(courier));
    let cabinet = web::Data::new(cabinet);
    let meter = web::Data::new(Meter::new(&document::methods()));
    let guard = web::Data::new(Gate::new(&limits, &state.clock));
    let unsent = web::Data::new(guard.unsent().clone());
    let connections = Connections::new(&limits);
    let threads = match workers {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    let state = State { db: state.db.serving(threads).map_err(std::io::Error::other)?, ..state };
    let mut server = HttpServer::new(move || {
        let state = web::Data::new(State { db: state.db.local(), ..state.clone() });
        App::new()
            .wrap(from_fn(hold))
            .wrap(from_fn(gate))
            .wrap(Condition::new(!cors_origins.is_empty(), cors(&cors_origins)))
            .wrap(from_fn(edge))
            .app_data(state)
            .app_data(authority.clone())
            .app_data(courier.clone())
            .app_data(cabinet.clone())
            .app_data(meter.clone())
            .app_data(guard.clone())
            .app_data(unsent.clone())
            // A path of its own comes before one with a parameter that would take it (OpenAPI 3.1, "Path Templating
            // Matching"): no policy is called "preview", no ticket "counts".
            .service(web::resource("/v1/sla/policies/preview").guard(Not(Post())).to(elsewhere))
            .service(web::resource("/v1/tickets/counts").guard(Not(Post())).to(elsewhere))
            .service(web::resource("/v1/tickets/bulk").guard(Not(Post())).to(elsewhere))
            .configure(endpoints::routes::<web::ServiceConfig>)
            .configure(docs::routes)
            .default_service(web::to(elsewhere))
    })
    .on_connect(move |stream, connection| {
        let Some(stream) = stream.downcast_ref::<TcpStream>() else { return };
        welcome(stream, &connections, limits.client_timeout, connection);
    })
    // The head of a first request; a connection without a request is closed sooner.
    .client_request_timeout(limits.client_timeout)
    // Who closes the connection waits for no answer: what is done for it ends.
    .h1_allow_half_closed(false)
    .workers(threads)
    .shutdown_timeout(shutdown_s);
    if limits.connections > 0 {
        server = server.max_connections(limits.connections.div_ceil(threads));
    }
    if !signals {
        server = server.disable_signals();
    }
    Ok(server.listen(listener)?.run())
}

/// How many files this process keeps for other things than connections of clients: webhooks may lead to 400 at once.
const OTHER_FILES: u64 = 768;

/// How many bytes of answers the system keeps of each connection beyond those that are on their way.
const AHEAD_B: u32 = 128 << 10;

/// A connection has its socket twice: to be written to, and to be ended (see `http::unsent`).
const FILES_EACH: u64 = 2;

/// How many connections there can be: half as many as files that the system lets this process have, once it has asked
/// for more, but for those that it needs itself. Without one to spare, nobody could even be told so.
#[must_use]
pub fn most_connections() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // What is refused stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OTHER_FILES).max(files / 2) / FILES_EACH).unwrap_or(usize::MAX)
}

/// Takes a connection, or ends it if its address has too many.
fn welcome(stream: &TcpStream, connections: &Connections, timeout: Duration, connection: &mut Extensions) {
    let socket = socket2::SockRef::from(stream);
    // What cannot be done for a connection is done for none of those that have gone away already.
    let peer = stream.peer_addr().map(|peer| peer.ip());
    match peer.ok().and_then(|peer| connections.sit_down(peer)) {
        Some(seat) => drop(connection.insert(seat)),
        None => return drop(socket.shutdown(std::net::Shutdown::Both)),
    }
    // Ends a connection whose client takes nothing of its answer.
    #[cfg(target_os = "linux")]
    drop(socket.set_tcp_user_timeout(Some(timeout)));
    // The system takes no more of an answer ahead than that, so that what is not taken shows, and fills no memory
    // there.
    #[cfg(target_os = "linux")]
    drop(socket.set_tcp_notsent_lowat(AHEAD_B));
    // The end of an answer does not wait until its beginning was acknowledged, which clients put off for some 40 ms.
    drop(socket.set_tcp_nodelay(true));
    SocketHandle::keep(stream, connection);
}

/// No origins unless configured: browsers then keep other pages' scripts away.
fn cors(origins: &[String]) -> Cors {
    let cors = Cors::default()
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allowed_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::CACHE_CONTROL,
            header::CONTENT_DISPOSITION,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_RANGE,
            header::RANGE,
            header::HeaderName::from_static("content-digest"),
            header::HeaderName::from_static("idempotency-key"),
            header::HeaderName::from_static("traceparent"),
            header::HeaderName::from_static("last-event-id"),
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::LINK,
            // A page counts down to what is due by our clock, not by that of its machine.
            header::DATE,
            header::RETRY_AFTER,
            header::WWW_AUTHENTICATE,
            RATE_LIMIT,
            RATE_LIMIT_POLICY,
            REQUEST_ID,
        ])
        .expose_headers([header::ACCEPT_RANGES, header::CONTENT_DISPOSITION, header::CONTENT_RANGE])
        .expose_headers(["idempotent-replayed", "content-digest", "skranke-file-state"])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_end_of_an_answer_waits_for_nothing() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (_client, (server, _)) = (client.expect("connected"), server.expect("accepted"));
        assert!(!server.nodelay().expect("a socket"));
        welcome(&server, &Connections::new(&Limits::default()), Duration::from_secs(1), &mut Extensions::new());
        assert!(server.nodelay().expect("a socket"));
    }
}
