//! What sources send: alerts in our form, and messages of Alertmanager and of those who speak as it does.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Value as Given, ValuePointerRef};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::AlertTicketBody;
use crate::alerts::domain::signal::{AlertSignal, Cutter, LONGEST_SEVERITY, LONGEST_VALUE, kept_key, key_of_labels};
use crate::alerts::domain::{AlertGrouping, AlertOutcome, AlertState};
use crate::alerts::service::ReceivedAlert;
use crate::kernel::fault::{self, Faults};
use crate::kernel::{Code, Instant, Problem};

/// How large a message is, in bytes.
pub const MOST_BODY_B: usize = 4 << 20;

/// How many alerts a message has.
pub const MOST_ALERTS: usize = 500;

/// An alert that goes on, or is over.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = NewAlert, example = json!({
    "dedupe_key": "backup of db-3", "state": "firing", "severity": "error", "summary": "The backup of db-3 failed",
    "description": "tar: exit 2", "labels": { "host": "db-3" }, "links": ["https://ci.example.org/4711"],
}))]
pub struct AlertEntry {
    /// By what you know it: whatever has the same key is the same problem. A key of more than 512 characters is kept as
    /// its beginning and a hash.
    #[schema(min_length = 1)]
    pub dedupe_key: String,
    /// `firing` while it goes on: the first opens a ticket, all further ones do nothing. `resolved` once it is over.
    pub state: AlertState,
    /// When it began, this time: a later one is another time, an earlier one comes too late. Without it, a `firing` is
    /// a repeat of what fires.
    #[deserr(default)]
    pub starts_at: Option<Instant>,
    /// When it ended; now unless said.
    #[deserr(default)]
    pub ends_at: Option<Instant>,
    /// How bad it is, in your words: the source says which priority that is.
    #[deserr(default)]
    pub severity: Option<String>,
    /// One line that says what it is: the subject of the ticket, unless the source has a template for that. The key,
    /// unless said.
    #[deserr(default)]
    pub summary: Option<String>,
    /// All there is to say.
    #[deserr(default)]
    pub description: Option<String>,
    /// What tells it apart: texts by names.
    #[deserr(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, nullable = false)]
    pub labels: AlertLabels,
    /// Where to look: addresses.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>)]
    pub links: Option<Vec<String>>,
}

/// One alert, or a list of at most 500, as the document has it.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = AlertsRequest, example = json!({
    "dedupe_key": "backup of db-3", "state": "firing", "severity": "error", "summary": "The backup of db-3 failed",
}))]
pub enum AlertsRequest {
    /// One alert.
    #[schema(title = "one alert")]
    One(AlertEntry),
    /// Several.
    #[schema(title = "several alerts")]
    Several(AlertEntries),
}

/// At most 500 alerts.
#[allow(dead_code, reason = "for the document")]
pub struct AlertEntries(Vec<AlertEntry>);

impl PartialSchema for AlertEntries {
    fn schema() -> RefOr<Schema> {
        let each = Ref::from_schema_name(AlertEntry::name());
        ArrayBuilder::new().items(each).min_items(Some(1)).max_items(Some(MOST_ALERTS)).into()
    }
}

impl ToSchema for AlertEntries {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((AlertEntry::name().into_owned(), AlertEntry::schema()));
        AlertEntry::schemas(schemas);
    }
}

/// Texts by names. Numbers and truth values are taken as they are written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AlertLabels(BTreeMap<String, String>);

impl Deserr<Faults> for AlertLabels {
    fn deserialize_from_value<V: IntoValue>(value: Given<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        use deserr::Map as _;
        let (mut all, mut faults) = (BTreeMap::new(), Faults::default());
        for (name, value) in fault::members(value, location)?.into_iter() {
            let text = match value.into_value() {
                Given::String(text) => text,
                Given::Integer(number) => number.to_string(),
                Given::NegativeInteger(number) => number.to_string(),
                Given::Float(number) => number.to_string(),
                Given::Boolean(flag) => flag.to_string(),
                other => match fault::string(other, location.push_key(&name)) {
                    Ok(text) => text,
                    Err(more) => {
                        faults.append(more);
                        continue;
                    }
                },
            };
            all.insert(name, text);
        }
        if faults.is_empty() { Ok(Self(all)) } else { Err(faults) }
    }
}

/// What was told of one alert, or why it makes no sense; and its key, as far as it has one.
pub type ToldAlert = (Option<String>, Result<AlertSignal, Problem>);

/// The alerts of a body in our form.
///
/// # Errors
/// `validation_failed` for one that is no alert at all, `body_too_large` for too many.
pub fn entries(body: Value) -> Result<Vec<ToldAlert>, Problem> {
    let told = |value: Value, place: String| -> ToldAlert {
        let key = value.get("dedupe_key").and_then(Value::as_str).map(kept_key);
        let read = deserr::deserialize::<AlertEntry, _, Faults>(value);
        let read = read.map_err(|faults| Problem::invalid(faults.placed(|at| format!("{place}{at}"))));
        (key, read.and_then(|entry| signal(entry, &place)))
    };
    match body {
        Value::Array(all) => {
            require_few(all.len())?;
            if !all.iter().any(Value::is_object) {
                return Err(Problem::field("", "wrong_type", "must be an alert, or a list of alerts"));
            }
            Ok(all.into_iter().enumerate().map(|(nth, value)| told(value, format!("/{nth}"))).collect())
        }
        one => match told(one, String::new()) {
            (key, Ok(signal)) => Ok(vec![(key, Ok(signal))]),
            (_, Err(problem)) => Err(problem),
        },
    }
}

fn require_few(count: usize) -> Result<(), Problem> {
    if count <= MOST_ALERTS {
        return Ok(());
    }
    let detail = format!("A message may have at most {MOST_ALERTS} alerts. Send them in several.");
    Err(Problem::new(Code::BodyTooLarge, detail).with("max", MOST_ALERTS))
}

fn signal(entry: AlertEntry, place: &str) -> Result<AlertSignal, Problem> {
    let AlertEntry { dedupe_key, state, starts_at, ends_at, severity, summary, description, labels, links } = entry;
    if dedupe_key.trim().is_empty() {
        return Err(Problem::field(&format!("{place}/dedupe_key"), "too_short", "must not be blank"));
    }
    let mut cutter = Cutter::default();
    let summary = summary.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| dedupe_key.clone());
    Ok(AlertSignal {
        dedupe_key: kept_key(&dedupe_key),
        state,
        starts_at,
        began_at: starts_at,
        ends_at,
        severity: severity.map(|word| cutter.text(word, LONGEST_SEVERITY)),
        summary: cutter.text(summary, LONGEST_VALUE),
        description: description.unwrap_or_default(),
        labels: cutter.labels(labels.0),
        annotations: BTreeMap::new(),
        links: cutter.links(links.unwrap_or_default()),
        firing_count: i64::from(state == AlertState::Firing),
        is_group: false,
        truncated: cutter.has_cut,
        truncated_alerts: 0,
    })
}

/// A message of Alertmanager (version 4), or of Grafana, which says more: what is not known here is passed over.
#[derive(ToSchema)]
#[schema(as = AlertmanagerMessage, example = json!({
    "version": "4", "groupKey": "{}:{alertname=\"DiskFull\"}", "truncatedAlerts": 0, "status": "firing", "receiver": "skranke",
    "groupLabels": { "alertname": "DiskFull" }, "commonLabels": { "alertname": "DiskFull", "severity": "critical" },
    "commonAnnotations": {}, "externalURL": "https://alertmanager.example.org",
    "alerts": [{
        "status": "firing", "labels": { "alertname": "DiskFull", "instance": "db-3", "severity": "critical" },
        "annotations": { "summary": "Disk full on db-3" }, "startsAt": "2026-03-02T09:10:00.000Z", "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "https://prometheus.example.org/graph", "fingerprint": "c8b4b1ef92a1d2c3",
    }],
}))]
#[allow(dead_code, non_snake_case, reason = "the form of others, for the document")]
pub struct AlertmanagerMessage {
    /// The version of the form.
    #[schema(required = false)]
    version: String,
    /// What the group is known by.
    #[schema(required = false)]
    groupKey: String,
    /// How many alerts were left out.
    #[schema(required = false)]
    truncatedAlerts: i64,
    /// `firing` while any of its alerts does.
    #[schema(required = false)]
    status: AlertState,
    /// The labels by which they are grouped.
    #[schema(required = false)]
    groupLabels: BTreeMap<String, String>,
    /// The labels that they have in common.
    #[schema(required = false)]
    commonLabels: BTreeMap<String, String>,
    /// What all of them say.
    #[schema(required = false)]
    commonAnnotations: BTreeMap<String, String>,
    /// Where the sender is.
    #[schema(required = false)]
    externalURL: String,
    /// The alerts: at most 500.
    alerts: Vec<AlertmanagerAlert>,
}

/// An alert of Alertmanager's.
#[derive(ToSchema)]
#[allow(dead_code, non_snake_case, reason = "the form of others, for the document")]
pub struct AlertmanagerAlert {
    /// Whether it goes on.
    #[schema(required = false)]
    status: AlertState,
    /// What tells it apart.
    #[schema(required = false)]
    labels: BTreeMap<String, String>,
    /// What else it says.
    #[schema(required = false)]
    annotations: BTreeMap<String, String>,
    /// When it began.
    #[schema(required = false)]
    startsAt: String,
    /// When it ended.
    #[schema(required = false)]
    endsAt: String,
    /// What has set it off.
    #[schema(required = false)]
    generatorURL: String,
    /// A hash of its labels, by which it is known; else one is made of them.
    #[schema(required = false)]
    fingerprint: String,
}

/// A text, however it is written.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The instant that is written there, unless that is the year 1, which stands for none.
fn instant(value: Option<&Value>) -> Option<Instant> {
    value?.as_str()?.parse().ok()
}

fn texts(value: Option<&Value>) -> BTreeMap<String, String> {
    let all = value.and_then(Value::as_object);
    let all = all.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), text(value)?)));
    all.collect()
}

/// The alerts of a message of Alertmanager, one signal each or one for all of its group.
///
/// # Errors
/// `validation_failed` for one that is no such message, `body_too_large` for too many alerts.
pub fn messages(body: &Value, group_by: AlertGrouping) -> Result<Vec<ToldAlert>, Problem> {
    let alerts = body.get("alerts").and_then(Value::as_array).filter(|alerts| !alerts.is_empty());
    let Some(alerts) = alerts else {
        return Err(Problem::field("/alerts", "required", "must be a list of alerts, as Alertmanager sends it"));
    };
    require_few(alerts.len())?;
    if !alerts.iter().any(Value::is_object) {
        return Err(Problem::field("/alerts", "wrong_type", "must be a list of alerts, as Alertmanager sends it"));
    }
    let left_out = body.get("truncatedAlerts").and_then(Value::as_i64).unwrap_or(0).max(0);
    match group_by {
        AlertGrouping::Alert => {
            let each = alerts.iter().enumerate();
            Ok(each.map(|(nth, alert)| told(body, alert, left_out, &format!("/alerts/{nth}"))).collect())
        }
        AlertGrouping::Group => Ok(vec![group(body, alerts, left_out)]),
    }
}

fn told(message: &Value, alert: &Value, left_out: i64, place: &str) -> ToldAlert {
    let labels = texts(alert.get("labels"));
    let key = alert.get("fingerprint").and_then(text).filter(|key| !key.trim().is_empty());
    let key = key.or_else(|| (!labels.is_empty()).then(|| key_of_labels(&labels))).map(|key| kept_key(&key));
    let Some(dedupe_key) = key else {
        return (None, Err(Problem::field(place, "required", "has neither a fingerprint nor labels")));
    };
    let ends_at = instant(alert.get("endsAt"));
    let is_over = alert.get("status").or_else(|| message.get("status")).and_then(Value::as_str) == Some("resolved");
    let state = if is_over { AlertState::Resolved } else { AlertState::Firing };
    let starts_at = instant(alert.get("startsAt"));
    let annotations = texts(alert.get("annotations"));
    let mut cutter = Cutter::default();
    let links =
        ["generatorURL", "dashboardURL", "panelURL", "silenceURL", "imageURL"].into_iter().map(|name| alert.get(name));
    let links = links.chain([message.get("externalURL")]).flatten().filter_map(text);
    let signal = AlertSignal {
        state,
        starts_at,
        began_at: starts_at,
        ends_at: ends_at.filter(|_| is_over),
        severity: labels.get("severity").map(|word| cutter.text(word.clone(), LONGEST_SEVERITY)),
        summary: cutter.text(summary(&labels, &annotations, &dedupe_key), LONGEST_VALUE),
        description: ["description", "message"]
            .iter()
            .find_map(|name| annotations.get(*name))
            .cloned()
            .unwrap_or_default(),
        labels: cutter.labels(labels),
        annotations: cutter.labels(annotations),
        links: cutter.links(links),
        firing_count: i64::from(!is_over),
        is_group: false,
        truncated: cutter.has_cut,
        truncated_alerts: left_out,
        dedupe_key: dedupe_key.clone(),
    };
    (Some(dedupe_key), Ok(signal))
}

/// What an alert says in one line: what it says itself, or what it is called and where it is.
fn summary(labels: &BTreeMap<String, String>, annotations: &BTreeMap<String, String>, key: &str) -> String {
    let said = ["summary", "title"].iter().find_map(|name| annotations.get(*name));
    if let Some(said) = said.filter(|said| !said.trim().is_empty()) {
        return said.clone();
    }
    match (labels.get("alertname"), labels.get("instance")) {
        (Some(name), Some(instance)) => format!("{name} on {instance}"),
        (Some(name), None) => name.clone(),
        _ => format!("Alert {key}"),
    }
}

fn group(message: &Value, alerts: &[Value], left_out: i64) -> ToldAlert {
    let labels = texts(message.get("commonLabels"));
    let own = texts(message.get("groupLabels"));
    let key = message.get("groupKey").and_then(text).filter(|key| !key.trim().is_empty());
    let key = key.or_else(|| (!own.is_empty()).then(|| key_of_labels(&own))).map(|key| kept_key(&key));
    let Some(dedupe_key) = key else {
        return (None, Err(Problem::field("/groupKey", "required", "is what a group is known by")));
    };
    let is_over = |alert: &Value| alert.get("status").and_then(Value::as_str) == Some("resolved");
    let firing: Vec<&Value> = alerts.iter().filter(|alert| !is_over(alert)).collect();
    // Of those that were left out it says by its own state whether any fires.
    let fires = !firing.is_empty() || (left_out > 0 && !is_over(message));
    let instants = |name: &str| alerts.iter().filter_map(|alert| instant(alert.get(name))).collect::<Vec<_>>();
    let begun: Vec<Instant> = firing.iter().filter_map(|alert| instant(alert.get("startsAt"))).collect();
    let starts = if begun.is_empty() { instants("startsAt") } else { begun };
    let state = if fires { AlertState::Firing } else { AlertState::Resolved };
    let severity = firing.first().and_then(|alert| alert.get("labels")?.get("severity")).and_then(text);
    let annotations = texts(message.get("commonAnnotations"));
    let mut cutter = Cutter::default();
    let lines = firing.iter().take(20).map(|alert| {
        let (labels, annotations) = (texts(alert.get("labels")), texts(alert.get("annotations")));
        format!("- {}", summary(&labels, &annotations, "without a name"))
    });
    let described = annotations.get("description").cloned().into_iter().chain(lines).collect::<Vec<_>>().join("\n");
    let links = [message.get("externalURL")].into_iter().flatten().filter_map(text);
    let signal = AlertSignal {
        state,
        starts_at: starts.iter().max().copied(),
        began_at: starts.iter().min().copied(),
        ends_at: instants("endsAt").into_iter().max().filter(|_| !fires),
        severity: labels.get("severity").cloned().or(severity).map(|word| cutter.text(word, LONGEST_SEVERITY)),
        summary: cutter.text(summary(&labels, &annotations, &dedupe_key), LONGEST_VALUE),
        description: described,
        labels: cutter.labels(labels),
        annotations: cutter.labels(annotations),
        links: cutter.links(links),
        firing_count: i64::try_from(firing.len()).unwrap_or(i64::MAX),
        is_group: true,
        truncated: cutter.has_cut,
        truncated_alerts: left_out,
        dedupe_key: dedupe_key.clone(),
    };
    (Some(dedupe_key), Ok(signal))
}

/// What became of one alert.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertResult)]
pub struct AlertResultBody {
    /// By what it is known; null where that cannot be told.
    #[schema(required)]
    pub dedupe_key: Option<String>,
    /// What became of it.
    pub result: AlertOutcome,
    /// Its ticket.
    #[schema(required)]
    pub ticket: Option<AlertTicketBody>,
    /// Why it is ignored, if that is its own fault: as in an answer of 4xx.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::http::problem::ProblemBody<'static>>, nullable = false)]
    pub problem: Option<Map<String, Value>>,
}

impl AlertResultBody {
    /// What became of the alert with this key, or why nothing did; in the answer to the request `request_id`.
    pub fn of(dedupe_key: Option<String>, received: ReceivedAlert, request_id: &str) -> Result<Self, Problem> {
        let ReceivedAlert { outcome, ticket, problem } = received;
        let ticket = ticket.map(|(id, number)| AlertTicketBody { id, number });
        let problem = problem.map(|problem| crate::http::problem::as_json(&problem, request_id)).transpose()?;
        Ok(Self { dedupe_key, result: outcome, ticket, problem })
    }
}

/// What became of each alert, in the order in which they were sent.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AlertResults, example = json!({ "items": [{
    "dedupe_key": "backup of db-3", "result": "created", "ticket": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "number": 4711 },
}] }))]
pub struct AlertResultsBody {
    /// One for each.
    pub items: Vec<AlertResultBody>,
}
