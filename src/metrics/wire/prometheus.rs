//! Numbers on the wire: the OpenMetrics text format 1.0, and the classic text format of Prometheus, 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Error, Write};

use actix_web::http::header::{HeaderMap, Quality};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::alerts::store::counts::AlertCounts;
use crate::http::accept::Wanted;
use crate::http::jobs::{JobStatus, Jobs};
use crate::http::meter::Meter;
use crate::kernel::{Code, Instant, Problem};
use crate::metrics::domain::series::{Family, Kind, families};
use crate::metrics::service::prometheus::Scrape;
use crate::metrics::store::webhooks::WebhookFigures;
use crate::tally::domain::{SUM, buckets};

/// In which form an answer is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// OpenMetrics 1.0.
    Open,
    /// The classic format 0.0.4.
    Classic,
}

impl Form {
    /// The form that `Accept` prefers; OpenMetrics if it is the same to it, or not said.
    ///
    /// # Errors
    /// `not_acceptable` when it takes neither.
    pub fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let wanted = Wanted::by(headers);
        let (open, classic) = (wanted.quality("application/openmetrics-text"), wanted.quality("text/plain"));
        if open.max(classic) == Quality::ZERO {
            let detail = "Answers are application/openmetrics-text or text/plain.";
            return Err(Problem::new(Code::NotAcceptable, detail));
        }
        Ok(if open >= classic { Self::Open } else { Self::Classic })
    }

    /// The media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Open => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All numbers, in this form.
///
/// # Errors
/// When they cannot be written, which would be our fault.
pub fn write(form: Form, meter: &Meter, jobs: &Jobs, scrape: Scrape, now: Instant) -> Result<String, Problem> {
    let mut registry = Registry::with_prefix("skranke");
    registry.register_collector(Box::new(ScrapeCollector { scrape, jobs: jobs.standings(), now }));
    let mut text = String::with_capacity(256 * 1024);
    encode_registry(&mut text, &registry)
        .and_then(|()| meter.write(&mut text))
        .and_then(|()| encode_eof(&mut text))
        .map_err(Problem::internal)?;
    Ok(match form {
        Form::Open => text,
        Form::Classic => classic(&text),
    })
}

#[derive(Debug)]
struct ScrapeCollector {
    scrape: Scrape,
    jobs: BTreeMap<&'static str, JobStatus>,
    now: Instant,
}

impl Collector for ScrapeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), Error> {
        let Scrape {
            totals,
            near,
            pending_tickets,
            changes_head,
            unsequenced,
            streams,
            alerts,
            webhooks,
            teams,
            load,
            engine,
        } = &self.scrape;
        for family in families(&totals.sums, near, teams) {
            encode_family(&mut encoder, &family)?;
        }
        let help = "Tickets that the last edit of SLA policies or calendars has not reached yet, at most 100000";
        gauge(&mut encoder, "sla_pending_tickets", help, *pending_tickets)?;
        gauge(&mut encoder, "tally_unfolded", "Changes that are not folded into the tally yet", totals.unfolded)?;
        gauge(&mut encoder, "changes_head", "The last position of the change log", *changes_head)?;
        let help = "Changes that have no position in the change log yet, at most 10000";
        gauge(&mut encoder, "changes_unsequenced", help, *unsequenced)?;
        let help = "Streams that are open, and answers that wait for something to happen";
        gauge(&mut encoder, "change_streams", help, count_of(*streams))?;
        encode_alerts(&mut encoder, alerts)?;
        encode_webhooks(&mut encoder, webhooks, self.now)?;
        let connections = [("idle", load.idle), ("in_use", load.in_use)];
        let help = "Connections of this instance to the database";
        let mut family = encoder.encode_descriptor("db_connections", help, None, MetricType::Gauge)?;
        for (state, count) in connections {
            family.encode_family(&[("state", state)])?.encode_gauge(&count_of(count))?;
        }
        if let Some(max) = load.max {
            gauge(&mut encoder, "db_connections_max", "How many connections there may be", count_of(max))?;
        }
        if let Some(waiting) = load.writes_waiting {
            gauge(&mut encoder, "db_writes_waiting", "Writes that wait for the writer", count_of(waiting))?;
        }
        encode_jobs(&mut encoder, &self.jobs)?;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION")), ("engine", engine)]);
        build.encode(encoder.encode_descriptor("build", "What runs here", None, build.metric_type())?)
    }
}

fn count_of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> Result<(), Error> {
    let gauge = ConstGauge::new(value);
    gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
}

/// How the alerts of each source stand, and how often what came of what it sent.
fn encode_alerts(encoder: &mut DescriptorEncoder<'_>, sources: &[AlertCounts]) -> Result<(), Error> {
    let mut standing = encoder.encode_descriptor("alerts", "Alerts by source and state", None, MetricType::Gauge)?;
    for AlertCounts { source, standing: counts, .. } in sources {
        for (state, count) in counts {
            let labels = [("source", source.as_str()), ("state", state.as_str())];
            standing.encode_family(&labels)?.encode_gauge(count)?;
        }
    }
    let help = "Alerts that were told of, by source and by what came of it";
    let mut received = encoder.encode_descriptor("alerts_received", help, None, MetricType::Counter)?;
    for AlertCounts { source, received: counts, .. } in sources {
        for (result, count) in counts {
            let labels = [("source", source.as_str()), ("result", result.as_str())];
            received.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&unsigned(*count), None)?;
        }
    }
    Ok(())
}

/// How webhooks are, and how old the oldest is that each still has to tell.
fn encode_webhooks(encoder: &mut DescriptorEncoder<'_>, figures: &WebhookFigures, now: Instant) -> Result<(), Error> {
    let families = [
        ("webhooks", "Webhooks by whether they tell what happens", &figures.webhooks),
        (
            "webhook_deliveries",
            "Deliveries of webhooks that wait or were given up, at most 10000 each",
            &figures.deliveries,
        ),
    ];
    for (name, help, numbers) in families {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (state, count) in numbers {
            family.encode_family(&[("state", *state)])?.encode_gauge(count)?;
        }
    }
    let help = "How long the oldest change has waited that an active webhook has not told yet";
    let lag_us = figures.waiting_since.map_or(0, |since| (now.micros() - since.micros()).max(0));
    let lag = ConstGauge::new(lag_us as f64 / 1e6);
    lag.encode(encoder.encode_descriptor("webhook_lag", help, Some(&Unit::Seconds), lag.metric_type())?)
}

/// How the jobs of this instance are doing. One that has not succeeded yet since the start is at 0, long ago. The label
/// is not `job`, which is Prometheus's own.
fn encode_jobs(encoder: &mut DescriptorEncoder<'_>, jobs: &BTreeMap<&'static str, JobStatus>) -> Result<(), Error> {
    let help = "Runs of the jobs of this instance, by what came of them";
    let mut runs = encoder.encode_descriptor("job_runs", help, None, MetricType::Counter)?;
    for (name, job) in jobs {
        for (outcome, count) in [("failure", job.failed), ("success", job.succeeded)] {
            let labels = [("name", *name), ("outcome", outcome)];
            runs.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
        }
    }
    let help = "When a job of this instance last succeeded, in seconds since 1970";
    let unit = Some(&Unit::Seconds);
    let mut last = encoder.encode_descriptor("job_last_success_timestamp", help, unit, MetricType::Gauge)?;
    for (name, job) in jobs {
        let at_s = job.last_success.map_or(0, |at| at.micros() / 1_000_000);
        last.encode_family(&[("name", *name)])?.encode_gauge(&at_s)?;
    }
    Ok(())
}

fn encode_family(encoder: &mut DescriptorEncoder<'_>, family: &Family) -> Result<(), Error> {
    let Family { kind, name, help, labels: names, numbers } = family;
    let (written, unit) = match kind {
        Kind::Gauge => (MetricType::Gauge, None),
        Kind::Counter => (MetricType::Counter, None),
        Kind::Histogram => (MetricType::Histogram, Some(&Unit::Seconds)),
    };
    let mut family = encoder.encode_descriptor(name, help, unit, written)?;
    if *kind == Kind::Histogram {
        return encode_histograms(&mut family, names, numbers);
    }
    for (values, n) in numbers {
        let labels = labels(names, values);
        let mut series = family.encode_family(&labels)?;
        match kind {
            Kind::Counter => series.encode_counter::<NoLabelSet, u64, f64>(&unsigned(*n), None)?,
            _ => series.encode_gauge(n)?,
        }
    }
    Ok(())
}

/// The last label is the bucket: all that have the others in common are one histogram.
fn encode_histograms(
    family: &mut MetricEncoder<'_>,
    names: &[&'static str],
    numbers: &[(Vec<String>, i64)],
) -> Result<(), Error> {
    let alike =
        |a: &(Vec<String>, i64), b: &(Vec<String>, i64)| a.0.split_last().map(|l| l.1) == b.0.split_last().map(|l| l.1);
    for histogram in numbers.chunk_by(alike) {
        let Some((_, values)) = histogram.first().and_then(|(values, _)| values.split_last()) else { continue };
        let of = |bucket: &str| {
            let number = histogram.iter().find(|(values, _)| values.last().is_some_and(|last| last == bucket));
            unsigned(number.map_or(0, |(_, n)| *n))
        };
        let buckets: Vec<(f64, u64)> =
            buckets().map(|(bound, name)| (bound.map_or(f64::INFINITY, |bound| bound as f64), of(&name))).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let labels = labels(names, values);
        family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(of(SUM) as f64, count, &buckets, None)?;
    }
    Ok(())
}

fn labels<'a>(names: &[&'static str], values: &'a [String]) -> Vec<(&'static str, &'a str)> {
    names.iter().copied().zip(values.iter().map(String::as_str)).collect()
}

/// Counters never fall below 0.
fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The classic form of an OpenMetrics text: families are called as their samples are, units are not told apart, and
/// nothing marks the end.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    // The help of a family stands before its type, which decides on its name.
    let mut help = None;
    for line in open.lines() {
        let mut words = line.splitn(4, ' ');
        let written = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), said) => {
                help = Some((name, said.unwrap_or_default()));
                Ok(())
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let (suffix, kind) = match kind {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" => ("", "untyped"),
                    same => ("", same),
                };
                let said = help.take().filter(|(of, _)| *of == name).map_or("", |(_, said)| said);
                writeln!(text, "# HELP {name}{suffix} {said}\n# TYPE {name}{suffix} {kind}")
            }
            (Some("#"), ..) => Ok(()),
            _ => writeln!(text, "{line}"),
        };
        // A String takes all that is written to it.
        debug_assert!(written.is_ok());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{self, HeaderValue};

    fn form(accept: &str) -> Option<Form> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_str(accept).expect("a header"));
        Form::of(&headers).ok()
    }

    #[test]
    fn the_form_is_the_one_that_is_wanted_more() {
        for open in [
            "",
            "*/*",
            "application/*",
            "application/openmetrics-text",
            "text/plain, application/openmetrics-text",
            "Application/OpenMetrics-Text; version=1.0.0",
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        ] {
            assert_eq!(form(open), Some(Form::Open), "{open}");
        }
        for classic in [
            "text/plain",
            "text/*",
            "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text;q=0, */*",
            "application/openmetrics-text;q=0.4,text/plain;q=0.5",
        ] {
            assert_eq!(form(classic), Some(Form::Classic), "{classic}");
        }
        for neither in ["application/json", "*/*;q=0", "text/plain;q=0, application/openmetrics-text;q=0, */*"] {
            assert_eq!(form(neither), None, "{neither}");
        }
    }

    #[test]
    fn the_classic_form_names_families_as_their_samples() {
        let open = "# HELP a Why.\n# TYPE a counter\na_total{x=\"# TYPE b c\"} 1\n# HELP b_seconds How long.\n# TYPE b_seconds histogram\n\
                    # UNIT b_seconds seconds\nb_seconds_sum 0.0\n# HELP c What.\n# TYPE c info\nc_info{v=\"1\"} 1\n# EOF\n";
        let expected = "# HELP a_total Why.\n# TYPE a_total counter\na_total{x=\"# TYPE b c\"} 1\n# HELP b_seconds How long.\n\
                        # TYPE b_seconds histogram\nb_seconds_sum 0.0\n# HELP c_info What.\n# TYPE c_info gauge\nc_info{v=\"1\"} 1\n";
        assert_eq!(classic(open), expected);
    }
}
