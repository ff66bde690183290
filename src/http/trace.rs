//! Traces of requests for OpenTelemetry: a span for each, by the semantic conventions for HTTP servers (1.23 and
//! later). Nothing is made, and nothing costs anything, unless a collector is named.

use std::sync::OnceLock;

use actix_web::dev::ServiceRequest;
use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};

/// Makes the spans of this process, as its log takes the lines: one for all servers in it.
static TRACER: OnceLock<SdkTracer> = OnceLock::new();

/// What sends spans, on a thread of its own.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends spans to the collector at `endpoint`, such as `http://127.0.0.1:4318`, by OTLP over HTTP in protobuf.
    /// Headers, the share of requests that is traced, and attributes of the service come from the standard `OTEL_*`
    /// variables.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub fn start(endpoint: &str) -> Result<Self, String> {
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter =
            SpanExporter::builder().with_http().with_endpoint(endpoint).build().map_err(|e| e.to_string())?;
        let resource = Resource::builder()
            .with_service_name(std::env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "skranke".into()))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder().with_resource(resource).with_batch_exporter(exporter).build();
        // Whoever was first stays; there is one server in a process.
        let _ = TRACER.set(provider.tracer("skranke"));
        Ok(Self(provider))
    }

    /// Sends what has not been sent yet, and ends. Waits for the collector, a few seconds at most.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(cause = %error, "the last traces are lost");
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(|name| name.as_str()).collect()
    }
}

/// The span of one request, if there are traces.
pub(super) struct RequestSpan(Option<Span>);

impl RequestSpan {
    /// Begins it; it continues the trace of a `traceparent` (W3C Trace Context).
    pub fn begin(request: &ServiceRequest) -> Self {
        Self(TRACER.get().map(|tracer| {
            let parent =
                TraceContextPropagator::new().extract_with_context(&Context::new(), &Headers(request.headers()));
            tracer.span_builder("request").with_kind(SpanKind::Server).start_with_context(tracer, &parent)
        }))
    }

    /// The id of its trace, for the log.
    pub fn trace_id(&self) -> Option<String> {
        self.0.as_ref().map(|span| span.span_context().trace_id().to_string())
    }

    /// Ends it. Neither path nor query are told, since callers may write anything there; the route says what was asked.
    pub fn end(self, method: &Method, route: Option<&str>, status: StatusCode, request_id: &str) {
        let Some(mut span) = self.0 else { return };
        let known =
            [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        let word = if known.contains(method) { method.as_str().to_owned() } else { "_OTHER".to_owned() };
        span.update_name(match route {
            Some(route) => format!("{word} {route}"),
            None => word.clone(),
        });
        span.set_attribute(KeyValue::new("http.request.method", word));
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        span.set_attribute(KeyValue::new("url.scheme", "http"));
        span.set_attribute(KeyValue::new("skranke.request_id", request_id.to_owned()));
        if let Some(route) = route {
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_str().to_owned()));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}
