//! The figures of each step of a window as clients see them.

use serde::Serialize;
use utoipa::ToSchema;

use super::figures::{FiguresBody, example_day, example_figures};
use super::groups::{KeyBody, TableRow, by, no_key};
use super::queries::StepsQuery;
use crate::http::{Table, TableWriter};
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::window::Interval;
use crate::metrics::service::ask::Ask;
use crate::metrics::service::groups::{Group, Groups};
use crate::metrics::service::reports::Step;
use crate::tally::domain::cells::Figures;
use crate::tally::domain::facts::GroupBy;

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
    /// One series of all tickets that the filters let through; with `group_by` one of each group, in the order of their
    /// names.
    #[schema(max_items = 1000)]
    pub series: Vec<SeriesBody>,
    /// Whether there are more groups than these: only the largest are here then.
    pub truncated: bool,
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell
    /// what held for them before. 100,000 may be more.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

/// The figures of each step, of all tickets or of one group.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Series)]
pub struct SeriesBody {
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
    /// How many tickets were neither resolved nor closed at the end of the step, or are now if that is to come; of a
    /// group, those that were in it then. Null in groups by `worker`.
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
        let one = |Group { keys, about }: Group<Vec<Step>>| SeriesBody {
            key: KeyBody::of(&ask.groups, keys),
            points: points(&about),
        };
        Self {
            from: ask.window.from,
            to: ask.window.to,
            interval: query.interval,
            time_zone: query.time_zone.name().to_owned(),
            group_by: by(&ask.groups),
            series: groups.items.into_iter().map(one).collect(),
            truncated: groups.truncated,
            pending_tickets,
        }
    }

    fn example() -> Self {
        let [from, to] = example_day();
        let series = SeriesBody {
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

impl Table for TimeseriesBody {
    /// Each step of each series.
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let nothing = Point { from: self.from, to: self.to, backlog: None, figures: (&Figures::default()).into() };
        table.add_columns(&TableRow { key: no_key(self.group_by.as_ref()), about: nothing })?;
        let points =
            self.series.iter().flat_map(|SeriesBody { key, points }| points.iter().map(move |about| (key, about)));
        points.into_iter().try_for_each(|(key, about)| table.add(&TableRow { key, about }))
    }
}
