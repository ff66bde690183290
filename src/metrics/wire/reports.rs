//! Reports as clients ask for them and see them. What each figure means stands here, beside it.

use std::collections::BTreeMap;

use deserr::Deserr;
use jiff::tz::TimeZone;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::audit::wire::Named;
use crate::http::query::{Csv, query_part};
use crate::http::{Table, TableWriter};
use crate::kernel::fault::{self, Faults};
use crate::kernel::{
    AnyId, Channel, Currency, FieldError, Instant, Money, PrincipalId, Priority, Problem, Status, TicketType,
};
use crate::metrics::domain::backlog::{AGES_S, Backlog, States, UnsolvedTicket};
use crate::metrics::domain::figures::{GroupBy, Key, costs, mean_s, rate};
use crate::metrics::domain::window::{Interval, Window};
use crate::metrics::service::ask::Ask;
use crate::metrics::service::backlog::ToDo;
use crate::metrics::service::groups::{Group, Groups};
use crate::metrics::service::reports::Step;
use crate::sla::domain::calendar;
use crate::sla::domain::clock::ClockState;
use crate::sla::domain::policy::Target;
use crate::tally::domain::cells::{Counts, Figures, Measure};
use crate::tally::domain::facts::{Took, What};
use crate::tally::domain::sketch::{Sketch, Spread};

/// Which window of time, and by what tickets are grouped.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// The beginning of the window; 30 days before its end unless said.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Instant>,
    /// The end of the window: the first instant that is not in it any more. Now unless said.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Instant>,
    /// By what it is grouped: by one thing or two different ones, separated by a comma. Tickets are in the groups that they were in when
    /// something happened to them.
    #[deserr(default)]
    #[param(value_type = Option<Vec<GroupBy>>, min_items = 1, max_items = 2, style = Form, explode = false, example = json!(["team", "priority"]))]
    pub group_by: Option<Csv<GroupBy>>,
}

/// By what it is grouped.
///
/// # Errors
/// The fault that it is by more than two things, or twice by the same.
fn groups(group_by: Option<&Csv<GroupBy>>) -> Result<Vec<GroupBy>, FieldError> {
    match group_by.map_or(&[][..], |by| by.0.as_slice()) {
        [one, other] if one == other => {
            Err(FieldError::new("group_by", "invalid", "must not name the same thing twice"))
        }
        by @ ([] | [_] | [_, _]) => Ok(by.to_vec()),
        _ => Err(FieldError::new("group_by", "too_many", "must name at most two things")),
    }
}

impl WindowQuery {
    /// By what it is grouped.
    ///
    /// # Errors
    /// As those of [`groups`].
    pub fn groups(&self) -> Result<Vec<GroupBy>, FieldError> {
        groups(self.group_by.as_ref())
    }

    /// The window that is meant at `now`.
    ///
    /// # Errors
    /// The fault that it ends before it begins.
    pub fn window(&self, now: Instant) -> Result<Window, FieldError> {
        Window::new(self.from, self.to, now)
    }
}

/// A time zone by its name in IANA's database; UTC unless said.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl std::str::FromStr for Zone {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        calendar::zone(text).map(Self).ok_or("must be a time zone of the IANA database such as Europe/Oslo")
    }
}

fault::deserr_from_str!(Zone);

/// Into which steps a window is cut.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StepsQuery {
    /// How long a step is, by local time.
    #[param(value_type = Interval, inline)]
    pub interval: Interval,
    /// Whose local time: a name of the IANA time zone database.
    #[deserr(default)]
    #[param(value_type = Option<String>, default = "UTC", example = "Europe/Oslo")]
    pub time_zone: Zone,
}

impl StepsQuery {
    /// The edges of the steps of `window`.
    ///
    /// # Errors
    /// The fault that there are too many.
    pub fn edges(&self, window: Window) -> Result<Vec<Instant>, FieldError> {
        window.edges(self.interval, &self.time_zone.0)
    }
}

/// How long ahead one looks, in seconds: an hour unless told, at most a leap year.
#[derive(Debug, Clone, Copy)]
pub struct Ahead(i64);

impl Ahead {
    /// In seconds.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self(3_600)
    }
}

impl std::str::FromStr for Ahead {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(s @ 0..=31_622_400) => Ok(Self(s)),
            _ => Err("must be a whole number of seconds from 0 to 31622400"),
        }
    }
}

fault::deserr_from_str!(Ahead);

/// How far ahead one looks, and by what tickets are grouped.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BacklogQuery {
    /// How many seconds ahead promises are due soon.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 0, maximum = 31622400, default = 3600)]
    pub due_within_s: Ahead,
    /// By what tickets are grouped: by one thing or two different ones, separated by a comma. Not by `worker`.
    #[deserr(default)]
    #[param(value_type = Option<Vec<GroupBy>>, min_items = 1, max_items = 2, style = Form, explode = false, example = json!(["team"]))]
    pub group_by: Option<Csv<GroupBy>>,
}

impl BacklogQuery {
    /// By what tickets are grouped.
    ///
    /// # Errors
    /// As those of [`groups`], and that nobody has worked on what is still to do.
    pub fn groups(&self) -> Result<Vec<GroupBy>, FieldError> {
        let by = groups(self.group_by.as_ref())?;
        if by.contains(&GroupBy::Worker) {
            return Err(FieldError::new("group_by", "invalid", "must not be `worker`: that groups work, not tickets"));
        }
        Ok(by)
    }
}

query_part!(WindowQuery);
query_part!(StepsQuery);
query_part!(BacklogQuery);

/// Whatever has an id and a name.
pub type NamedThing = Named<AnyId>;

/// Which group: one member for each thing that is grouped by, null for what has none of it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = GroupKey)]
pub struct KeyBody {
    /// The team.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<Option<NamedThing>>,
    /// The priority.
    #[schema(value_type = Priority, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    /// The type.
    #[schema(value_type = TicketType, required = false)]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The channel.
    #[schema(value_type = Channel, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The assignee.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<Option<NamedThing>>,
    /// The tag.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Option<String>>,
    /// The SLA policy.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Option<NamedThing>>,
    /// Who worked.
    #[schema(value_type = NamedThing, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<NamedThing>,
}

impl KeyBody {
    fn of(by: &[GroupBy], keys: Vec<(Key, Option<String>)>) -> Self {
        let mut body = Self::default();
        for (by, (key, name)) in by.iter().zip(keys) {
            let (thing, word) = match key {
                Key::Id(id) => (Some(Named { id, name: name.unwrap_or_default() }), None),
                Key::Word(word) => (None, Some(word)),
                Key::None => (None, None),
            };
            match by {
                GroupBy::Team => body.team = Some(thing),
                GroupBy::Priority => body.priority = word,
                GroupBy::Type => body.kind = word,
                GroupBy::Channel => body.channel = word,
                GroupBy::Assignee => body.assignee = Some(thing),
                GroupBy::Tag => body.tag = Some(word),
                GroupBy::Policy => body.policy = Some(thing),
                GroupBy::Worker => body.worker = thing,
            }
        }
        body
    }
}

/// By what it is grouped, as it is answered.
fn by(groups: &[GroupBy]) -> Option<Vec<GroupBy>> {
    (!groups.is_empty()).then(|| groups.to_vec())
}

/// What happened to tickets in a window of time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Figures)]
pub struct FiguresBody {
    /// How many tickets.
    pub tickets: TicketFigures,
    /// `tickets.reopened / tickets.resolved`, rounded to six digits; null when none was resolved. More than 1 when tickets came back
    /// in the window that were resolved before it.
    #[schema(required, minimum = 0.0)]
    pub reopen_rate: Option<f64>,
    /// `tickets.first_contact / tickets.resolved`, rounded to six digits; null when none was resolved.
    #[schema(required, minimum = 0.0, maximum = 1.0)]
    pub first_contact_rate: Option<f64>,
    /// How long it took.
    pub durations: DurationFigures,
    /// How often promises of SLA policies were kept.
    pub sla: SlaFigures,
    /// Work, and what it cost.
    pub cost: CostFigures,
}

/// Numbers of tickets.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketFigures {
    /// Tickets that were opened in the window, by `created_at`.
    #[schema(minimum = 0)]
    pub created: i64,
    /// Times that a ticket was resolved in the window: one that came back and was resolved again counts again.
    #[schema(minimum = 0)]
    pub resolved: i64,
    /// Times that a resolved ticket came back in the window.
    #[schema(minimum = 0)]
    pub reopened: i64,
    /// Of the times that a ticket was resolved, those of tickets that had never come back until then and had at most one public
    /// comment by an agent other than the requester.
    #[schema(minimum = 0)]
    pub first_contact: i64,
}

/// How long things took.
#[derive(Debug, Serialize, ToSchema)]
pub struct DurationFigures {
    /// From the report until somebody began to work on it: of tickets on which work began in the window.
    pub response: SpreadByHours,
    /// From the report until an agent first answered in public: of tickets first answered in the window.
    pub first_reply: SpreadByHours,
    /// The time in `open`, without all waiting and all time resolved: each time that a ticket was resolved in the window, until then.
    pub service: SpreadByHours,
    /// From the report to the resolution, minus nothing: each time that a ticket was resolved in the window.
    pub resolution: SpreadByHours,
}

/// A duration in both kinds of seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpreadByHours {
    /// All seconds.
    pub calendar: SpreadBody,
    /// Those in working hours, as they were measured when the duration ended.
    pub business: SpreadBody,
}

/// How a duration is spread. All but `count` are null when there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Spread)]
pub struct SpreadBody {
    /// How many such durations there are.
    #[schema(minimum = 0)]
    pub count: i64,
    /// The mean, in seconds, rounded to a thousandth; exact.
    #[schema(required, minimum = 0.0)]
    pub mean_s: Option<f64>,
    /// The median, in seconds: half of them took no longer. By nearest rank and within 1 % of it, as are the other percentiles and the
    /// longest; below 128 seconds exact.
    #[schema(required, minimum = 0)]
    pub p50_s: Option<i64>,
    /// 90 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p90_s: Option<i64>,
    /// 95 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p95_s: Option<i64>,
    /// 99 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p99_s: Option<i64>,
    /// The longest, in seconds, within 1 %.
    #[schema(required, minimum = 0)]
    pub max_s: Option<i64>,
}

/// How often promises were kept, by target.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlaFigures {
    /// That somebody begins to work on it in time.
    pub response: AttainmentBody,
    /// That an agent first answers in public in time.
    pub first_reply: AttainmentBody,
    /// That it is solved in time.
    pub service: AttainmentBody,
}

/// How often a promise was kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attainment)]
pub struct AttainmentBody {
    /// Times that a clock ended in time in the window: that of a ticket which came back may end again.
    #[schema(minimum = 0)]
    pub met: i64,
    /// Clocks that became breached in the window, until now: at the instant after they were due, also if nothing was written
    /// then.
    #[schema(minimum = 0)]
    pub breached: i64,
    /// `met / (met + breached)`, rounded to six digits; null when there was neither.
    #[schema(required, minimum = 0.0, maximum = 1.0)]
    pub attainment: Option<f64>,
}

/// Work, and what it cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostFigures {
    /// The work of all time entries with a `worked_at` in the window, in seconds.
    #[schema(minimum = 0)]
    pub work_s: i64,
    /// As much of it as has no hourly rate, and so no part in `costs`, in seconds.
    #[schema(minimum = 0)]
    pub unrated_work_s: i64,
    /// What the rest of it cost, by currency, in the order of their letters.
    pub costs: Vec<CostFigure>,
}

/// What work cost, in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostFigure {
    /// The currency.
    pub currency: Currency,
    /// What the work in the window cost, in minor units.
    #[schema(minimum = 0)]
    pub total_minor: i64,
    /// `total_minor / tickets.resolved`, rounded half up to a minor unit; null when none was resolved.
    #[schema(required, minimum = 0)]
    pub per_resolved_ticket_minor: Option<i64>,
}

impl From<Spread> for SpreadBody {
    fn from(spread: Spread) -> Self {
        let percentile = |place: usize| (spread.count > 0).then(|| spread.percentiles_s[place]);
        Self {
            count: spread.count,
            mean_s: mean_s(&spread),
            p50_s: percentile(0),
            p90_s: percentile(1),
            p95_s: percentile(2),
            p99_s: percentile(3),
            max_s: percentile(4),
        }
    }
}

impl From<[&Sketch; 2]> for SpreadByHours {
    fn from([calendar, business]: [&Sketch; 2]) -> Self {
        Self { calendar: calendar.spread().into(), business: business.spread().into() }
    }
}

impl AttainmentBody {
    fn of(counts: &Counts, target: Target) -> Self {
        let (met, breached) = (counts.met[target as usize], counts.breached[target as usize]);
        Self { met, breached, attainment: rate(met, met + breached) }
    }
}

impl From<&Figures> for FiguresBody {
    fn from(figures: &Figures) -> Self {
        let counts = &figures.counts;
        let costs = costs(counts).map(|(currency, total_minor, per_resolved_ticket_minor)| CostFigure {
            currency,
            total_minor,
            per_resolved_ticket_minor,
        });
        let Counts { created, resolved, reopened, first_contact, .. } = *counts;
        Self {
            tickets: TicketFigures { created, resolved, reopened, first_contact },
            reopen_rate: rate(reopened, resolved),
            first_contact_rate: rate(first_contact, resolved),
            durations: DurationFigures {
                response: figures.durations.of(Measure::Response).into(),
                first_reply: figures.durations.of(Measure::FirstReply).into(),
                service: figures.durations.of(Measure::Service).into(),
                resolution: figures.durations.of(Measure::Resolution).into(),
            },
            sla: SlaFigures {
                response: AttainmentBody::of(counts, Target::Response),
                first_reply: AttainmentBody::of(counts, Target::FirstReply),
                service: AttainmentBody::of(counts, Target::Service),
            },
            cost: CostFigures { work_s: counts.work_s, unrated_work_s: counts.unrated_work_s, costs: costs.collect() },
        }
    }
}

/// The figures of a window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsSummary, example = json!(SummaryBody::example()))]
pub struct SummaryBody {
    /// The first instant of the window.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
    /// The figures of all tickets that the filters let through, each counted once.
    pub total: FiguresBody,
    /// By what it is grouped; null when that was not asked.
    #[schema(required, max_items = 2)]
    pub group_by: Option<Vec<GroupBy>>,
    /// The figures of each group, in the order of their names; null when nothing was asked to be grouped.
    #[schema(required, max_items = 1000)]
    pub groups: Option<Vec<GroupFigures>>,
    /// Whether there are more groups than these: only the largest are here then.
    pub truncated: bool,
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell what held
    /// for them before. 100,000 may be more.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

/// The figures of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct GroupFigures {
    /// Which group.
    pub key: KeyBody,
    /// Its figures.
    #[serde(flatten)]
    pub figures: FiguresBody,
}

impl SummaryBody {
    /// The answer to `ask`.
    pub fn of(ask: &Ask, total: Figures, groups: Option<Groups<Figures>>, pending_tickets: i64) -> Self {
        let truncated = groups.as_ref().is_some_and(|groups| groups.truncated);
        let group = |Group { keys, about }: Group<Figures>| GroupFigures {
            key: KeyBody::of(&ask.groups, keys),
            figures: (&about).into(),
        };
        Self {
            from: ask.window.from,
            to: ask.window.to,
            total: (&total).into(),
            group_by: by(&ask.groups),
            groups: groups.map(|groups| groups.items.into_iter().map(group).collect()),
            truncated,
            pending_tickets,
        }
    }

    fn example() -> Self {
        let [from, to] = example_day();
        let group = GroupFigures { key: example_team(), figures: example_figures() };
        Self {
            from,
            to,
            total: example_figures(),
            group_by: Some(vec![GroupBy::Team]),
            groups: Some(vec![group]),
            truncated: false,
            pending_tickets: 0,
        }
    }
}

/// The figures of each step of a window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsTimeseries, example = json!(TimeseriesBody::example()))]
pub struct TimeseriesBody {
    /// The first instant of the window.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
    /// How long a step is.
    pub interval: Interval,
    /// Whose local time it goes by.
    #[schema(examples("Europe/Oslo"))]
    pub time_zone: String,
    /// By what it is grouped; null when that was not asked.
    #[schema(required, max_items = 2)]
    pub group_by: Option<Vec<GroupBy>>,
    /// One series of all tickets that the filters let through; with `group_by` one of each group, in the order of their names.
    #[schema(max_items = 1000)]
    pub series: Vec<Series>,
    /// Whether there are more groups than these: only the largest are here then.
    pub truncated: bool,
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell what held
    /// for them before. 100,000 may be more.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

/// The figures of each step, of all tickets or of one group.
#[derive(Debug, Serialize, ToSchema)]
pub struct Series {
    /// Which group; without members when nothing was asked to be grouped.
    pub key: KeyBody,
    /// Every step of the window, in order.
    #[schema(max_items = 2000)]
    pub points: Vec<Point>,
}

/// The figures of a step.
#[derive(Debug, Serialize, ToSchema)]
pub struct Point {
    /// The first instant of the step.
    pub from: Instant,
    /// The first instant after it.
    pub to: Instant,
    /// How many tickets were neither resolved nor closed at the end of the step, or are now if that is to come; of a group, those that were in
    /// it then. Null in groups by `worker`.
    #[schema(required, minimum = 0)]
    pub backlog: Option<i64>,
    /// Its figures.
    #[serde(flatten)]
    pub figures: FiguresBody,
}

impl TimeseriesBody {
    /// The answer to `ask` in steps between `edges`.
    pub fn of(
        ask: &Ask,
        query: &StepsQuery,
        edges: &[Instant],
        groups: Groups<Vec<Step>>,
        pending_tickets: i64,
    ) -> Self {
        let points = |steps: &[Step]| {
            let pairs = edges.iter().zip(edges.iter().skip(1)).zip(steps);
            let point = |((from, to), step): ((&Instant, &Instant), &Step)| Point {
                from: *from,
                to: *to,
                backlog: step.backlog,
                figures: (&step.figures).into(),
            };
            pairs.map(point).collect()
        };
        let one = |Group { keys, about }: Group<Vec<Step>>| Series {
            key: KeyBody::of(&ask.groups, keys),
            points: points(&about),
        };
        Self {
            from: ask.window.from,
            to: ask.window.to,
            interval: query.interval,
            time_zone: query.time_zone.0.iana_name().unwrap_or("UTC").to_owned(),
            group_by: by(&ask.groups),
            series: groups.items.into_iter().map(one).collect(),
            truncated: groups.truncated,
            pending_tickets,
        }
    }

    fn example() -> Self {
        let [from, to] = example_day();
        let series = Series {
            key: KeyBody::default(),
            points: vec![Point { from, to, backlog: Some(12), figures: example_figures() }],
        };
        let time_zone = "Europe/Oslo".to_owned();
        Self {
            from,
            to,
            interval: Interval::Day,
            time_zone,
            group_by: None,
            series: vec![series],
            truncated: false,
            pending_tickets: 0,
        }
    }
}

/// What there is to do, now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsBacklog, example = json!(BacklogBody::example()))]
pub struct BacklogBody {
    /// The instant that all of it is about.
    pub now: Instant,
    /// How many seconds ahead promises are due soon.
    #[schema(minimum = 0)]
    pub due_within_s: i64,
    /// All tickets that the filters let through, each counted once.
    pub total: BacklogTotal,
    /// By what it is grouped; null when that was not asked.
    #[schema(required, max_items = 2)]
    pub group_by: Option<Vec<GroupBy>>,
    /// Each group, in the order of their names; null when nothing was asked to be grouped.
    #[schema(required, max_items = 1000)]
    pub groups: Option<Vec<BacklogGroup>>,
    /// Whether there are more groups or teams than these: only the largest are here then.
    pub truncated: bool,
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell what held
    /// for them before. 100,000 may be more.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

/// What there is to do, altogether.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogTotal {
    /// The figures.
    #[serde(flatten)]
    pub figures: BacklogFigures,
    /// How many of the tickets are in the queue of each team, in the order of their names; last those in none.
    #[schema(max_items = 1000)]
    pub by_team: Vec<TeamBacklog>,
}

/// How many tickets a team has to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamBacklog {
    /// Which team; null in it for tickets in no queue.
    pub key: KeyBody,
    /// Tickets that are neither resolved nor closed.
    #[schema(minimum = 0)]
    pub open: i64,
}

/// What there is to do, of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogGroup {
    /// Which group.
    pub key: KeyBody,
    /// Its figures.
    #[serde(flatten)]
    pub figures: BacklogFigures,
}

/// What there is to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogFigures {
    /// Tickets that are neither resolved nor closed. All others are some of them.
    #[schema(minimum = 0)]
    pub open: i64,
    /// By where they stand.
    pub by_status: OpenByStatus,
    /// By how urgent they are.
    pub by_priority: OpenByPriority,
    /// By the time since they were reported: the youngest first.
    #[schema(min_items = 7, max_items = 7)]
    pub by_age: Vec<AgeBody>,
    /// When the oldest was reported; null when there is none.
    #[schema(required)]
    pub oldest_reported_at: Option<Instant>,
    /// Those that nobody has.
    #[schema(minimum = 0)]
    pub unassigned: i64,
    /// The promises about them.
    pub sla: BacklogSla,
}

/// Tickets by where they stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenByStatus {
    /// Nobody has begun to work on them.
    #[schema(minimum = 0)]
    pub new: i64,
    /// Being worked on.
    #[schema(minimum = 0)]
    pub open: i64,
    /// Waiting for the requester.
    #[schema(minimum = 0)]
    pub waiting_requester: i64,
    /// Waiting for somebody else.
    #[schema(minimum = 0)]
    pub waiting_third_party: i64,
}

/// Tickets by how urgent they are.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenByPriority {
    /// Can wait.
    #[schema(minimum = 0)]
    pub low: i64,
    /// The usual.
    #[schema(minimum = 0)]
    pub normal: i64,
    /// Before the usual.
    #[schema(minimum = 0)]
    pub high: i64,
    /// At once.
    #[schema(minimum = 0)]
    pub urgent: i64,
}

/// Tickets of an age.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Age)]
pub struct AgeBody {
    /// The least age, in seconds since the report.
    #[schema(minimum = 0)]
    pub from_s: i64,
    /// The least age that is too old, in seconds; null for no bound.
    #[schema(required, minimum = 0)]
    pub to_s: Option<i64>,
    /// How many tickets.
    #[schema(minimum = 0)]
    pub tickets: i64,
}

/// How the promises about tickets stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogSla {
    /// Tickets with at least one clock that is breached.
    #[schema(minimum = 0)]
    pub breached: i64,
    /// Tickets with at least one clock that runs and is due within `due_within_s` seconds.
    #[schema(minimum = 0)]
    pub due_within: i64,
    /// Clocks that promise a response.
    pub response: StatesBody,
    /// Clocks that promise a first reply.
    pub first_reply: StatesBody,
    /// Clocks that promise a solution.
    pub service: StatesBody,
}

/// How many clocks are in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockStates)]
pub struct StatesBody {
    /// Time counts.
    #[schema(minimum = 0)]
    pub running: i64,
    /// Time does not count now.
    #[schema(minimum = 0)]
    pub paused: i64,
    /// Ended in time.
    #[schema(minimum = 0)]
    pub met: i64,
    /// Did not, for good.
    #[schema(minimum = 0)]
    pub breached: i64,
}

impl From<&States> for StatesBody {
    fn from(states: &States) -> Self {
        let count = |state: ClockState| states.get(&state).copied().unwrap_or(0);
        Self {
            running: count(ClockState::Running),
            paused: count(ClockState::Paused),
            met: count(ClockState::Met),
            breached: count(ClockState::Breached),
        }
    }
}

impl From<&Backlog> for BacklogFigures {
    fn from(backlog: &Backlog) -> Self {
        let status = |status: Status| backlog.by_status.get(&status).copied().unwrap_or(0);
        let priority = |priority: Priority| backlog.by_priority.get(&priority).copied().unwrap_or(0);
        let ends = AGES_S.iter().skip(1).map(|to_s| Some(*to_s)).chain([None]);
        let ages = AGES_S.iter().zip(ends).zip(backlog.by_age);
        let clocks = |target: Target| StatesBody::from(&backlog.clocks[target as usize]);
        Self {
            open: backlog.open,
            by_status: OpenByStatus {
                new: status(Status::New),
                open: status(Status::Open),
                waiting_requester: status(Status::WaitingRequester),
                waiting_third_party: status(Status::WaitingThirdParty),
            },
            by_priority: OpenByPriority {
                low: priority(Priority::Low),
                normal: priority(Priority::Normal),
                high: priority(Priority::High),
                urgent: priority(Priority::Urgent),
            },
            by_age: ages.map(|((from_s, to_s), tickets)| AgeBody { from_s: *from_s, to_s, tickets }).collect(),
            oldest_reported_at: backlog.oldest_reported_at,
            unassigned: backlog.unassigned,
            sla: BacklogSla {
                breached: backlog.breached,
                due_within: backlog.due_within,
                response: clocks(Target::Response),
                first_reply: clocks(Target::FirstReply),
                service: clocks(Target::Service),
            },
        }
    }
}

impl BacklogBody {
    /// What there is to do at `now`.
    pub fn of(now: Instant, query: &BacklogQuery, groups_by: &[GroupBy], to_do: ToDo, pending_tickets: i64) -> Self {
        let ToDo { total, by_team, groups } = to_do;
        let truncated = by_team.truncated || groups.as_ref().is_some_and(|groups| groups.truncated);
        let team =
            |Group { keys, about }: Group<i64>| TeamBacklog { key: KeyBody::of(&[GroupBy::Team], keys), open: about };
        let group = |Group { keys, about }: Group<Backlog>| BacklogGroup {
            key: KeyBody::of(groups_by, keys),
            figures: (&about).into(),
        };
        let by_team = by_team.items.into_iter().map(team).collect();
        Self {
            now,
            due_within_s: query.due_within_s.get(),
            total: BacklogTotal { figures: (&total).into(), by_team },
            group_by: by(groups_by),
            groups: groups.map(|groups| groups.items.into_iter().map(group).collect()),
            truncated,
            pending_tickets,
        }
    }

    fn example() -> Self {
        let now = example_day()[1];
        let mut backlog = Backlog::default();
        backlog.add(
            &UnsolvedTicket {
                status: Status::Open,
                priority: Priority::High,
                reported_at: now.plus_s(-7_200),
                assigned: true,
                clocks: vec![(Target::Response, ClockState::Met), (Target::Service, ClockState::Running)],
                due: true,
            },
            now,
        );
        let by_team = vec![TeamBacklog { key: example_team(), open: 1 }];
        let total = BacklogTotal { figures: (&backlog).into(), by_team };
        Self { now, due_within_s: 3_600, total, group_by: None, groups: None, truncated: false, pending_tickets: 0 }
    }
}

/// A row of a report: the figures of a window or a step, of all tickets or of one group.
#[derive(Debug, Serialize)]
struct FiguresRow<'a, K> {
    key: K,
    from: Instant,
    to: Instant,
    #[serde(flatten)]
    backlog: Option<StepBacklog>,
    #[serde(flatten)]
    figures: &'a FiguresBody,
}

/// What a row tells of a step alone.
#[derive(Debug, Clone, Copy, Serialize)]
struct StepBacklog {
    backlog: Option<i64>,
}

/// A row of the backlog: of all tickets or of one group.
#[derive(Debug, Serialize)]
struct BacklogRow<'a, K> {
    key: K,
    now: Instant,
    #[serde(flatten)]
    figures: &'a BacklogFigures,
}

/// A key of nothing, which names the columns of keys.
fn no_key(by: Option<&Vec<GroupBy>>) -> BTreeMap<&'static str, ()> {
    by.into_iter().flatten().map(|by| (by.as_str(), ())).collect()
}

impl Table for SummaryBody {
    /// Each group, or the total if nothing was grouped.
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let &Self { from, to, .. } = self;
        let key = no_key(self.group_by.as_ref());
        let total = FiguresRow { key, from, to, backlog: None, figures: &self.total };
        let Some(groups) = &self.groups else { return table.add(&total) };
        table.add_columns(&total)?;
        groups.iter().try_for_each(|GroupFigures { key, figures }| {
            table.add(&FiguresRow { key, from, to, backlog: None, figures })
        })
    }
}

impl Table for TimeseriesBody {
    /// Each step of each series.
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let &Self { from, to, .. } = self;
        let (key, figures) = (no_key(self.group_by.as_ref()), FiguresBody::from(&Figures::default()));
        let backlog = Some(StepBacklog { backlog: None });
        table.add_columns(&FiguresRow { key, from, to, backlog, figures: &figures })?;
        for Series { key, points } in &self.series {
            for Point { from, to, backlog, figures } in points {
                let backlog = Some(StepBacklog { backlog: *backlog });
                table.add(&FiguresRow { key, from: *from, to: *to, backlog, figures })?;
            }
        }
        Ok(())
    }
}

impl Table for BacklogBody {
    /// Each group, or the total if nothing was grouped.
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let now = self.now;
        let total = BacklogRow { key: no_key(self.group_by.as_ref()), now, figures: &self.total.figures };
        let Some(groups) = &self.groups else { return table.add(&total) };
        table.add_columns(&total)?;
        groups.iter().try_for_each(|BacklogGroup { key, figures }| table.add(&BacklogRow { key, now, figures }))
    }
}

/// A Monday in Oslo.
fn example_day() -> [Instant; 2] {
    [1_772_406_000, 1_772_492_400].map(|s| Instant::EPOCH.plus_s(s))
}

fn example_team() -> KeyBody {
    let id = AnyId(Uuid::from_u128(0x019a_2f4e_7c1b_7d3e_8f00_0000_0000_000c));
    KeyBody::of(&[GroupBy::Team], vec![(Key::Id(id), Some("Facilities".to_owned()))])
}

fn example_figures() -> FiguresBody {
    let took = |calendar_s, business_s| Took::of(Some(calendar_s), Some(business_s));
    let cost = "EUR".parse().ok().map(|currency| Money { amount_minor: 3_750, currency });
    let mut figures = Figures::default();
    for what in [
        What::Created,
        What::Created,
        What::Started(took(210, 210)),
        What::Replied(took(600, 600)),
        What::Resolved { is_first_contact: true, service: took(5_400, 3_600), resolution: took(9_000, 3_810) },
        What::Met(Target::Response),
        What::Breached(Target::Service),
        What::Worked { worker: PrincipalId(Uuid::nil()), work_s: 1_500, cost },
    ] {
        figures.add(&what, 1);
    }
    (&figures).into()
}
