//! Reports about tickets: one function each, run on one snapshot.

use std::collections::{BTreeSet, HashMap};

use super::ask::Ask;
use super::backlog::unsolved;
use super::figures;
use super::groups::{Group, Groups, arrange, vocabulary};
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::figures::{GroupKey, Key, MOST_GROUPS, MOST_POINTS, Steps};
use crate::tally::domain::cells::Figures;

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
/// `invalid_query` when there are too many groups, or when the database is away.
pub async fn summary(conn: &mut Conn, ask: &Ask) -> Result<(Figures, Option<Groups<Figures>>), Problem> {
    let mut report = figures::report(conn, ask, vec![ask.window.from, ask.window.to], None).await?;
    let truncated = report.keep_largest(MOST_GROUPS);
    // There is one step.
    let only = |steps: Steps| steps.into_values().next().unwrap_or_default();
    let groups = report.groups.into_iter().map(|(group, steps)| (group, only(steps))).collect();
    Ok((only(report.total), arrange(conn, &ask.groups, groups, truncated, |_| Figures::default()).await?))
}

/// The figures of each step between `edges`: of all tickets that are meant, or of their groups.
///
/// # Errors
/// `invalid_query` when there are too many groups, or when the database is away.
pub async fn timeseries(conn: &mut Conn, ask: &Ask, edges: &[Instant]) -> Result<Groups<Vec<Step>>, Problem> {
    let steps = edges.len().saturating_sub(1).max(1);
    let most = MOST_GROUPS.min(MOST_POINTS / steps);
    let (only, truncated) = largest(conn, ask, most).await?;
    // How many tickets there were is counted back from now, so what happened since belongs to it.
    let soon = ask.criteria.now.plus_s(86_400);
    let edges: Vec<Instant> = edges.iter().copied().chain((ask.window.to < soon).then_some(soon)).collect();
    let mut report = figures::report(conn, ask, edges, only.as_ref()).await?;
    let in_window = |steps_of: &mut Steps| steps_of.split_off(&steps);
    let since_total = in_window(&mut report.total);
    let since: HashMap<GroupKey, Steps> =
        report.groups.iter_mut().map(|(group, steps_of)| (group.clone(), in_window(steps_of))).collect();
    report.keep_largest(most);
    let (now_total, now) = unsolved(conn, ask).await?;
    let told = |mut steps_of: Steps, since: Option<&Steps>, mut unsolved: Option<i64>| {
        let counted = |steps: &Steps| steps.values().map(|figures| figures.counts.unsolved).sum::<i64>();
        unsolved = unsolved.map(|n| n - since.map_or(0, counted));
        let mut told: Vec<Step> = (0..steps)
            .rev()
            .map(|step| {
                let figures = steps_of.remove(&step).unwrap_or_default();
                let backlog = unsolved;
                unsolved = unsolved.map(|n| n - figures.counts.unsolved);
                Step { figures, backlog }
            })
            .collect();
        told.reverse();
        told
    };
    if ask.groups.is_empty() {
        let about = told(report.total, Some(&since_total), Some(now_total));
        return Ok(Groups { items: vec![Group { keys: Vec::new(), about }], truncated: false });
    }
    let unsolved = |group: &GroupKey| now.as_ref().map(|now| now.get(group).copied().unwrap_or(0));
    let groups = report
        .groups
        .into_iter()
        .map(|(group, steps)| (group.clone(), told(steps, since.get(&group), unsolved(&group))))
        .collect();
    let nothing = |group: &GroupKey| told(Steps::new(), since.get(group), unsolved(group));
    let groups = arrange(conn, &ask.groups, groups, truncated, nothing).await?;
    Ok(groups.unwrap_or(Groups { items: Vec::new(), truncated }))
}

/// The largest groups of a window, if it is grouped, and whether there are more: so the steps of others are never in memory. Words of a vocabulary
/// are always there.
async fn largest(conn: &mut Conn, ask: &Ask, most: usize) -> Result<(Option<BTreeSet<GroupKey>>, bool), Problem> {
    if ask.groups.is_empty() {
        return Ok((None, false));
    }
    let mut report = figures::report(conn, ask, vec![ask.window.from, ask.window.to], None).await?;
    let truncated = report.keep_largest(most);
    let words = if let [only] = ask.groups.as_slice() { vocabulary(*only) } else { Vec::new() };
    let words = words.into_iter().map(|word| vec![Key::Word(word.to_owned())]);
    Ok((Some(report.groups.into_keys().chain(words).collect()), truncated))
}
