//! Adding up what happened in the steps of a window: from cells, and at its edges fact by fact; or all of it fact by
//! fact, where what is asked is by several things at once, or by what tickets are now. Nothing is read without a bound.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Ask, AxisKeys, of_now, passes, simple};
use crate::db::Conn;
use crate::kernel::{Instant, Problem, Target};
use crate::metrics::domain::figures::{GroupKey, Report, bounded, combined};
use crate::metrics::store::facts;
use crate::sla::service::lapsed;
use crate::tally;
use crate::tally::domain::cells::{Figures, Level, Piece, cover};
use crate::tally::domain::facts::{Fact, GroupBy, keys_of, parse_key};
use crate::tally::store::{Unfolded, UnfoldedReader, cells as store};
use crate::tickets::store::TicketCriteria;

/// How many cells are read at once, about: so much is in memory besides the answer.
const AT_ONCE: usize = 64;
/// How many cells of any groups are read at once.
const PAGE: i64 = 500;
/// How many facts may wait to be built into cells for those to be read.
const MOST_UNBUILT: i64 = 10_000;

/// The cells that an answer is made of, if there are some: those of all that is meant, and those of the groups.
fn cells_of(ask: &Ask) -> Option<(AxisKeys, Option<AxisKeys>)> {
    let (axis, keys) = simple(&ask.criteria)?;
    let groups = match ask.groups.as_slice() {
        [] => None,
        [by] if axis.is_none() => Some((Some(*by), None)),
        // Who has one of several labels is in the groups of the others, too.
        [by] if axis == Some(*by) && *by != GroupBy::Tag => Some((axis, keys.clone())),
        _ => return None,
    };
    Some(((axis, keys), groups))
}

/// By their length and their beginning, the cells that steps are made of: each step, and how often.
type CellSteps = BTreeMap<Level, BTreeMap<i64, Vec<(usize, i64)>>>;

/// What is asked, and what has come of it so far.
struct Gathering<'a> {
    ask: &'a Ask,
    only: Option<&'a BTreeSet<GroupKey>>,
    report: Report,
}

impl Gathering<'_> {
    /// The groups of a fact, if it is meant.
    fn groups(&self, fact: &Fact) -> Option<Vec<GroupKey>> {
        let meant = |group: &GroupKey| self.only.is_none_or(|only| only.contains(group));
        let groups = || combined(&self.ask.groups, |axis| keys_of(axis, fact)).into_iter().filter(meant).collect();
        passes(&self.ask.criteria, &fact.groups).then(groups)
    }

    fn add(&mut self, fact: &Fact) -> Result<(), Problem> {
        if let Some(groups) = self.groups(fact) {
            self.report.add(fact, &groups);
        }
        bounded(&self.report.groups)
    }

    /// Takes those of some facts that are about tickets which meet `now`.
    async fn add_meant(&mut self, conn: &mut Conn, now: &TicketCriteria, some: Vec<Fact>) -> Result<(), Problem> {
        facts::meant(conn, now, some).await?.iter().try_for_each(|fact| self.add(fact))
    }

    /// Takes what is not folded yet, and what time has broken, which is not written down: some of it at a time.
    async fn add_loose(&mut self, conn: &mut Conn, now: &TicketCriteria) -> Result<(), Problem> {
        let mut changes = UnfoldedReader::default();
        while let Some(some) = changes.next(conn).await? {
            let happened = some.iter().map(Unfolded::facts).collect::<Result<Vec<_>, _>>()?;
            self.add_meant(conn, now, happened.concat()).await?;
        }
        for target in Target::ALL.iter().copied() {
            let mut next = Some((Instant::EPOCH, 0));
            while let Some(behind) = next {
                let (some, rest) = lapsed(conn, target, behind, self.ask.criteria.now).await?;
                self.add_meant(conn, now, some).await?;
                next = rest;
            }
        }
        Ok(())
    }
}

/// The figures of each step between `edges`: of all that is meant, and of its groups, or those of them that are in
/// `only`.
///
/// # Errors
/// `invalid_query` when there are too many groups.
pub async fn report(
    conn: &mut Conn,
    ask: &Ask,
    edges: Vec<Instant>,
    only: Option<&BTreeSet<GroupKey>>,
) -> Result<Report, Problem> {
    ask.criteria.readable(conn).await?;
    let now = of_now(&ask.criteria);
    let marks = store::marks(conn).await?;
    let are_built = !marks.is_stale && marks.last_fact - marks.built_to <= MOST_UNBUILT;
    let cells = cells_of(ask).filter(|_| are_built && now.is_open());
    let (Some(from), Some(to)) = (edges.first().copied(), edges.last().copied()) else { return Ok(Report::default()) };
    let mut gathering = Gathering { ask, only, report: Report::new(edges) };

    gathering.add_loose(conn, &now).await?;
    let Some((of_total, of_groups)) = cells else {
        facts::between(conn, &now, from, to, |_, fact| gathering.add(&fact)).await?;
        return Ok(gathering.report);
    };
    for (_, fact) in tally::store::facts::after(conn, marks.built_to, MOST_UNBUILT).await? {
        gathering.add(&fact)?;
    }
    let mut cells = CellSteps::new();
    let steps: Vec<_> = gathering.report.steps().enumerate().collect();
    for (step, (from, to)) in steps {
        for (sign, piece) in cover(from, to, ask.criteria.now) {
            match piece {
                Piece::Cell(level, start) => {
                    cells.entry(level).or_default().entry(start).or_default().push((step, sign));
                }
                Piece::Edge(from, to) => {
                    let each = |number, fact: Fact| {
                        // Later ones are in no cell yet.
                        if let Some(groups) = gathering.groups(&fact).filter(|_| number <= marks.built_to) {
                            gathering.report.add_to(step, &fact, &groups, sign);
                        }
                        bounded(&gathering.report.groups)
                    };
                    tally::store::facts::between(conn, from, to, each).await?;
                }
            }
        }
    }
    let report = &mut gathering.report;
    let groups_are_total = of_groups.as_ref() == Some(&of_total) && only.is_none();
    if !groups_are_total {
        let total = |_, step, figures: &Figures, sign| {
            report.merge(step, None, figures, sign);
            Ok(())
        };
        read(conn, &of_total, &cells, total).await?;
    }
    if let Some((axis, keys)) = of_groups {
        let passes = |key: &String| keys.as_ref().is_none_or(|keys| keys.contains(key));
        let meant = |only: &BTreeSet<GroupKey>| only.iter().flatten().map(ToString::to_string).filter(passes).collect();
        let groups = (axis, only.map(meant).or_else(|| keys.clone()));
        let each = |group, step, figures: &Figures, sign| {
            report.merge(step, Some(&group), figures, sign);
            if groups_are_total {
                report.merge(step, None, figures, sign);
            }
            bounded(&report.groups)
        };
        read(conn, &groups, &cells, each).await?;
    }
    Ok(gathering.report)
}

/// Tells `each` the cells of an axis, some at a time, each with its group and the steps that it is in.
async fn read(
    conn: &mut Conn,
    (axis, keys): &AxisKeys,
    cells: &CellSteps,
    mut each: impl FnMut(GroupKey, usize, &Figures, i64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let keys = if axis.is_none() { Some(vec![String::new()]) } else { keys.clone() };
    for (level, places) in cells {
        let mut tell = |some: store::Cells| {
            some.into_iter().try_for_each(|(start, key, figures)| {
                let group = vec![parse_key(*axis, key).map_err(Problem::internal)?];
                let steps = places.get(&start).into_iter().flatten();
                steps.copied().try_for_each(|(step, sign)| each(group.clone(), step, &figures, sign))
            })
        };
        let starts: Vec<i64> = places.keys().copied().collect();
        match &keys {
            Some(keys) => {
                for starts in starts.chunks((AT_ONCE / keys.len().max(1)).max(2)) {
                    tell(store::with_keys(conn, *axis, keys, *level, starts).await?)?;
                }
            }
            // There may be any number of groups, so they are read page by page from each run of cells without a gap.
            None => {
                for run in starts.chunk_by(|start, next| level.next(*start) == *next) {
                    let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
                    let mut next = Some((*first, None));
                    while let Some((start, key)) = next {
                        let some = store::from(conn, *axis, *level, (start, key.as_deref()), *last, PAGE).await?;
                        let is_full = i64::try_from(some.len()).unwrap_or(0) == PAGE;
                        next = some.last().filter(|_| is_full).map(|(start, key, _)| (*start, Some(key.clone())));
                        tell(some)?;
                    }
                }
            }
        }
    }
    Ok(())
}
