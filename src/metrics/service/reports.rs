//! Reports about tickets: one function each, run on one snapshot.

use std::collections::BTreeSet;

use super::ask::Ask;
use super::backlog::unsolved;
use super::figures;
use super::groups::{Group, Groups, arrange, vocabulary};
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::figures::{GroupKey, MOST_GROUPS, MOST_POINTS, Steps};
use crate::tally::domain::cells::Figures;
use crate::tally::domain::facts::AxisKey;

/// The figures of a step, and how many tickets were not solved at its end; nothing for those who work.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// What happened in it.
    pub figures: Figures,
    /// The tickets at its end.
    pub backlog: Option<i64>,
}

/// The figures of a window: of all tickets that are meant, and of their groups.
///
/// # Errors
/// `invalid_query` when there are too many groups.
pub async fn summary(conn: &mut Conn, ask: &Ask) -> Result<(Figures, Option<Groups<Figures>>), Problem> {
    let mut report = figures::report(conn, ask, vec![ask.window.from, ask.window.to], None).await?;
    let truncated = report.keep_largest(MOST_GROUPS);
    // There is one step.
    let only = |steps: Steps| steps.into_values().next().unwrap_or_default();
    let groups = report.groups.into_iter().map(|(group, steps)| (group, only(steps))).collect();
    let groups = arrange(conn, &ask.groups, groups, truncated).await?;
    Ok((only(report.total), (!ask.groups.is_empty()).then_some(groups)))
}

/// The figures of each step between `edges`: of all tickets that are meant, or of their groups.
///
/// # Errors
/// `invalid_query` when there are too many groups.
pub async fn timeseries(conn: &mut Conn, ask: &Ask, edges: &[Instant]) -> Result<Groups<Vec<Step>>, Problem> {
    let steps = edges.len().saturating_sub(1).max(1);
    let (only, truncated) = largest(conn, ask, MOST_GROUPS.min(MOST_POINTS / steps)).await?;
    // How many tickets there were is counted back from now: what happened since the window is one step more.
    let soon = ask.criteria.now.plus_s(86_400);
    let edges: Vec<Instant> = edges.iter().copied().chain((ask.window.to < soon).then_some(soon)).collect();
    let all_steps = edges.len().saturating_sub(1);
    let mut report = figures::report(conn, ask, edges, only.as_ref()).await?;
    let (now_total, now) = unsolved(conn, ask, only.as_ref()).await?;
    let told = |mut steps_of: Steps, mut unsolved: Option<i64>| {
        let mut told: Vec<Step> = Vec::new();
        for step in (0..all_steps).rev() {
            let figures = steps_of.remove(&step).unwrap_or_default();
            let before = unsolved.map(|n| n - figures.counts.unsolved);
            told.push(Step { figures, backlog: std::mem::replace(&mut unsolved, before) });
        }
        told.reverse();
        told.truncate(steps);
        told
    };
    let Some(only) = only else {
        let about = told(report.total, Some(now_total));
        return Ok(Groups { items: vec![Group { keys: Vec::new(), about }], truncated: false });
    };
    let mut about = |group: &GroupKey| {
        let unsolved = now.as_ref().map(|now| now.get(group).copied().unwrap_or(0));
        told(report.groups.remove(group).unwrap_or_default(), unsolved)
    };
    let groups = only.into_iter().map(|group| (group.clone(), about(&group))).collect();
    arrange(conn, &ask.groups, groups, truncated).await
}

/// The largest groups of a window, if it is grouped, and whether there are more. The window is read twice for it, so
/// that the steps of others are never in memory. Words of a vocabulary are always there.
async fn largest(conn: &mut Conn, ask: &Ask, most: usize) -> Result<(Option<BTreeSet<GroupKey>>, bool), Problem> {
    if ask.groups.is_empty() {
        return Ok((None, false));
    }
    let mut report = figures::report(conn, ask, vec![ask.window.from, ask.window.to], None).await?;
    let truncated = report.keep_largest(most);
    let words = if let [only] = ask.groups.as_slice() { vocabulary(*only) } else { Vec::new() };
    let words = words.into_iter().map(|word| vec![AxisKey::Word(word.to_owned())]);
    Ok((Some(report.groups.into_keys().chain(words).collect()), truncated))
}
