//! The outermost layer: request ids, the log line of each request, `HEAD`, `Accept`, and problems on the wire.

use std::time::Instant as Stopwatch;

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, ResponseError};
use tracing::Instrument;
use uuid::Uuid;

use super::State;
use super::accept::{CHANGES, CONTENT, EVENTS, EXPORTS, IMPORTS, LINES, REPORTS, STREAM, Wanted};
use super::limits::Gate;
use super::meter::Meter;
use super::problem::render;
use super::trace::RequestSpan;
use super::{record, unread, unsent};
use crate::db::Deadline;
use crate::kernel::{Code, Problem};

/// The header that carries the request's id both ways.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request, for whoever tells it within an answer.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

/// By which a page of another origin is told how long the parts of its request took (Resource Timing, 4.5).
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// Wraps every request.
///
/// # Errors
/// None that has no answer: what fails becomes one here.
pub async fn edge(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = Stopwatch::now();
    let id = request_id(&request);
    let traced = RequestSpan::begin(&request);
    let made = traced.trace_id();
    let span = tracing::info_span!("request", request_id = %id, trace_id = made.as_deref().or(trace_id(&request)));
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let unread = unread::hold(&mut request);
    let wait = request.app_data::<actix_web::web::Data<State>>().map(|state| state.db.wait());
    if let Some(wait) = wait {
        request.extensions_mut().insert(Deadline::within(wait));
    }
    let meter = request.app_data::<actix_web::web::Data<Meter>>().cloned();
    let _under_way = meter.as_ref().map(|meter| meter.begin());
    if method == Method::HEAD {
        // Answered as GET; the connection leaves the body out.
        request.head_mut().method = Method::GET;
    }
    let outcome = match acceptable(&request) {
        Ok(()) => {
            let answered = next.call(request).instrument(span.clone()).await;
            answered.map(|response| {
                let response = response.map_into_boxed_body();
                // A body that goes on would keep the connection from its next request.
                let goes_on = method == Method::HEAD && response.response().body().size() == BodySize::Stream;
                if goes_on { response.map_body(|_, _| BoxBody::new(())) } else { unsent::send(response) }
            })
        }
        Err(problem) => Ok(request.into_response(speak(&problem.into(), &id))),
    };
    let _entered = span.enter();
    let mut response = match outcome {
        Ok(response) => match refusal(&response, &id) {
            Some(mut fresh) => {
                let (request, old) = response.into_parts();
                keep_headers(&mut fresh, old.headers());
                ServiceResponse::new(request, fresh)
            }
            None => response,
        },
        // From a layer within, not from a handler. The request is gone: whoever keeps a clone of it while it is routed
        // makes actix panic.
        Err(error) => {
            let mut answer = speak(&error, &id);
            if let Ok(value) = HeaderValue::from_str(&id) {
                answer.headers_mut().insert(REQUEST_ID, value);
            }
            if let Some(meter) = meter {
                meter.answered(&method, None, answer.status(), begun.elapsed());
            }
            traced.end(&method, None, answer.status(), &id);
            return Err(InternalError::from_response(error, answer).into());
        }
    };
    let gate = response.request().app_data::<actix_web::web::Data<Gate>>();
    let told = gate.map(|gate| gate.tell(response.request())).unwrap_or_default();
    let headers = response.headers_mut();
    for (name, value) in told.into_iter().flatten() {
        headers.insert(name, value);
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    // Whoever may read an answer may know what took its time.
    if let Some(origin) = headers.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).cloned() {
        headers.insert(TIMING_ALLOW_ORIGIN, origin);
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let (route, elapsed) = (response.request().match_pattern(), begun.elapsed());
    if let Some(meter) = meter {
        meter.answered(&method, route.as_deref(), response.status(), elapsed);
    }
    traced.end(&method, route.as_deref(), response.status(), &id);
    let made = response.headers().get(header::LOCATION);
    record::administration(response.request(), &method, response.status(), made);
    tracing::info!(
        method = %method,
        route = route.unwrap_or_default(),
        status = response.status().as_u16(),
        duration_us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        "answered"
    );
    Ok(match unread {
        Some(unread) => unread.until_answered(response),
        None => response,
    })
}

/// The problem that an answer stands for, if it is not one itself.
fn refusal(response: &ServiceResponse<BoxBody>, id: &str) -> Option<actix_web::HttpResponse> {
    response.response().error().map(|error| speak(error, id))
}

/// The answer for whatever went wrong; faults of ours are logged here, once.
fn speak(error: &Error, id: &str) -> actix_web::HttpResponse {
    let foreign;
    let problem = match error.as_error::<Problem>() {
        Some(problem) => problem,
        None => {
            foreign = translate(error.as_response_error());
            &foreign
        }
    };
    if problem.code().status() >= 500 {
        let cause = problem.cause().map(ToString::to_string).unwrap_or_default();
        tracing::error!(code = problem.code().as_str(), cause, "failed");
    }
    render(problem, id)
}

/// Errors of the framework, by their status.
fn translate(error: &dyn ResponseError) -> Problem {
    match error.status_code() {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::BodyTooLarge, "The body is too large."),
        status if status.is_client_error() => Problem::new(Code::InvalidHeader, error.to_string()),
        _ => Problem::internal(error.to_string()),
    }
}

/// CORS headers that inner layers have set on an error stay.
fn keep_headers(fresh: &mut actix_web::HttpResponse, old: &header::HeaderMap) {
    for (name, value) in old {
        if name.as_str().starts_with("access-control-") || *name == header::VARY {
            fresh.headers_mut().append(name.clone(), value.clone());
        }
    }
}

/// The client's id if it is sane: 1 to 128 of the characters that ids and trace ids are made of.
fn request_id(request: &ServiceRequest) -> String {
    let given = request.headers().get(REQUEST_ID).and_then(|v| v.to_str().ok());
    let sane = |id: &&str| {
        (1..=128).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.:/+=".contains(&b))
    };
    match (given.filter(sane), request.app_data::<actix_web::web::Data<State>>()) {
        (Some(id), _) => id.to_owned(),
        (None, Some(state)) => state.clock.id::<Uuid>(state.clock.now()).to_string(),
        (None, None) => Uuid::nil().to_string(),
    }
}

/// The trace id of a W3C `traceparent`, so that log lines join a trace that began elsewhere.
fn trace_id(request: &ServiceRequest) -> Option<&str> {
    let parent = request.headers().get("traceparent")?.to_str().ok()?;
    let id = parent.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

/// The API speaks JSON alone, but for reports, which are tables, too, and the feed, which is lines, too.
fn acceptable(request: &ServiceRequest) -> Result<(), Problem> {
    let (path, wanted) = (request.path(), Wanted::by(request.headers()));
    let besides = match path {
        CHANGES => Some(LINES),
        path if path.ends_with(STREAM) => Some(EVENTS),
        path if path.starts_with(REPORTS) => Some("text/csv"),
        path if path.starts_with(EXPORTS) && wanted.takes(&["text/csv"]) => Some("text/csv"),
        path if path.starts_with(EXPORTS) || path == IMPORTS => Some(LINES),
        _ => None,
    };
    if !path.starts_with("/v1/")
        // A file is what it is.
        || path.ends_with(CONTENT)
        || wanted.takes(&["application/json", "application/problem+json"])
        || besides.is_some_and(|besides| wanted.takes(&[besides]))
    {
        return Ok(());
    }
    let besides = besides.map_or(String::new(), |besides| format!(" or {besides}"));
    let detail = format!("Answers are application/json{besides}; send Accept: application/json.");
    Err(Problem::new(Code::NotAcceptable, detail))
}
