//! The summary of a window as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use super::figures::{FiguresBody, example_day, example_figures};
use super::groups::{KeyBody, add_groups, by, example_team};
use crate::http::{Table, TableWriter};
use crate::kernel::{Instant, Problem};
use crate::metrics::service::ask::Ask;
use crate::metrics::service::groups::{Group, Groups};
use crate::tally::domain::cells::Figures;
use crate::tally::domain::facts::GroupBy;

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
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell
    /// what held for them before. 100,000 may be more.
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

/// A row of the table, but for its group.
#[derive(Debug, Serialize)]
struct WindowColumns<'a> {
    from: Instant,
    to: Instant,
    #[serde(flatten)]
    figures: &'a FiguresBody,
}

impl Table for SummaryBody {
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let columns = |figures| WindowColumns { from: self.from, to: self.to, figures };
        let groups =
            self.groups.as_ref().map(|groups| groups.iter().map(|group| (&group.key, columns(&group.figures))));
        add_groups(table, self.group_by.as_ref(), columns(&self.total), groups)
    }
}
