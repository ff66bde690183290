//! What a server counts of its own work: requests, how long they take, and how many are under way. It lives in the
//! server's state, so that several servers in one process count each for itself.

use std::collections::HashMap;
use std::time::Duration;

use actix_web::dev::ResourceDef;
use actix_web::http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The classes of status that answers have.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The method and route of every request that no operation of the document answers, so that strange requests make no
/// new series.
const OTHER: &str = "other";

/// Bounds of the histogram of durations: powers of two, 2^-11 s (0.5 ms) to 2^3 s, which are bounds of native
/// histograms of schema 0 too.
const SHORTEST_S: f64 = 1.0 / 2048.0;
const BOUNDS: u16 = 15;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    method: String,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: String,
    route: String,
    status: &'static str,
}

/// The series of one operation.
#[derive(Debug)]
struct Operation {
    method: Method,
    by_class: [Counter; CLASSES.len()],
    seconds: Histogram,
}

/// The meter of one server.
#[derive(Debug)]
pub struct Meter {
    registry: Registry,
    operations: HashMap<String, Vec<Operation>>,
    other: Operation,
    under_way: Gauge,
}

/// A request that is under way for as long as this lives, also if nobody waits for its answer any more.
#[derive(Debug)]
pub struct UnderWay(Gauge);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Meter {
    /// A meter for the operations at `paths`, all of them at zero.
    pub fn new(paths: &[(ResourceDef, Vec<Method>)]) -> Self {
        let requests = Family::<Outcome, Counter>::default();
        let histogram = || Histogram::new(exponential_buckets(SHORTEST_S, 2.0, BOUNDS));
        let durations = Family::<RouteLabels, Histogram, fn() -> Histogram>::new_with_constructor(histogram);
        let operation = |method: &Method, name: &str, route: &str| {
            let (name, route) = (name.to_owned(), route.to_owned());
            let by_class = CLASSES.map(|status| {
                requests.get_or_create_owned(&Outcome { method: name.clone(), route: route.clone(), status })
            });
            let seconds = durations.get_or_create_owned(&RouteLabels { method: name, route });
            Operation { method: method.clone(), by_class, seconds }
        };
        let mut operations: HashMap<String, Vec<Operation>> = HashMap::new();
        for (path, methods) in paths {
            let route = path.pattern().unwrap_or_default();
            // HEAD is answered, and counted, as GET.
            let methods = methods.iter().filter(|method| *method != Method::HEAD);
            operations.entry(route.to_owned()).or_default().extend(methods.map(|m| operation(m, m.as_str(), route)));
        }
        let other = operation(&Method::GET, OTHER, OTHER);

        let under_way = Gauge::default();
        let mut registry = Registry::with_prefix("skranke_http");
        registry.register("requests", "Requests that were answered, by operation and class of status", requests);
        let help = "From the head of a request to the head of its answer";
        registry.register_with_unit("request_duration", help, Unit::Seconds, durations);
        registry.register("requests_in_flight", "Requests that are being answered", under_way.clone());
        Self { registry, operations, other, under_way }
    }

    /// Counts a request as under way.
    pub fn begin(&self) -> UnderWay {
        self.under_way.inc();
        UnderWay(self.under_way.clone())
    }

    /// Counts the answer to a request that took `elapsed`. `route` is the pattern that its path has matched.
    pub fn answered(&self, method: &Method, route: Option<&str>, status: StatusCode, elapsed: Duration) {
        let method = if *method == Method::HEAD { &Method::GET } else { method };
        let known = route.and_then(|route| self.operations.get(route)).into_iter().flatten();
        let operation = known.into_iter().find(|known| known.method == *method).unwrap_or(&self.other);
        let class = usize::from(status.as_u16() / 100).saturating_sub(2).min(CLASSES.len() - 1);
        operation.by_class[class].inc();
        operation.seconds.observe(elapsed.as_secs_f64());
    }

    /// Adds what was counted to `text`, in the OpenMetrics text format.
    ///
    /// # Errors
    /// When `text` takes no more.
    pub fn write(&self, text: &mut String) -> std::fmt::Result {
        encode_registry(text, &self.registry)
    }
}
