//! Adding up what happened in the steps of a window: from cells, and at its edges fact by fact; or all of it fact by fact, where what is asked is
//! by several things at once, or by what tickets are now.

use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Ask, GroupFilter};
use crate::db::Conn;
use crate::kernel::{FieldError, Instant, Problem};
use crate::metrics::domain::figures::{GroupKey, Report, combined};
use crate::metrics::store::facts;
use crate::sla::service::lapsed;
use crate::tally::domain::cells::{Figures, Level, Piece, cover};
use crate::tally::domain::facts::{Axis, Fact};
use crate::tally::store::cells as store;
use crate::tally::store::facts::unfolded;

/// How many cells are read at once, about: so much is in memory besides the answer.
const AT_ONCE: usize = 64;
/// How many groups may be in an answer before the largest are chosen: so much is in memory.
const MOST_READ: usize = 20_000;
/// How many facts may wait to be built into cells for those to be read.
const MOST_UNBUILT: i64 = 10_000;

/// Which cells an answer is made of.
#[derive(Debug)]
struct Plan {
    /// Of all that is meant.
    total: (Axis, Option<Vec<String>>),
    /// Of the groups.
    groups: Option<(Axis, Option<Vec<String>>)>,
}

impl Plan {
    /// The cells for what is asked, if there are some.
    fn of(ask: &Ask, then: &GroupFilter) -> Option<Self> {
        let total = then.axis()?;
        let groups = match ask.groups.as_slice() {
            [] => None,
            [group] if total.0 == Axis::All => Some((group.axis(), None)),
            // Who has one of several labels is in the groups of the others, too.
            [group] if total.0 == group.axis() && total.0 != Axis::Tag => Some(total.clone()),
            _ => return None,
        };
        Some(Self { total, groups })
    }
}

/// By their length and their beginning, the cells that steps are made of: each step, and how often.
type Cells = BTreeMap<Level, BTreeMap<i64, Vec<(usize, i64)>>>;

/// What is asked, and what has come of it so far.
struct Gathering<'a> {
    ask: &'a Ask,
    then: GroupFilter,
    only: Option<&'a BTreeSet<GroupKey>>,
    report: Report,
}

impl Gathering<'_> {
    /// The groups of a fact, if it is meant.
    fn groups(&self, fact: &Fact) -> Option<Vec<GroupKey>> {
        let meant = |group: &GroupKey| self.only.is_none_or(|only| only.contains(group));
        let groups = || combined(&self.ask.groups, |axis| axis.keys_of(fact)).into_iter().filter(meant).collect();
        self.then.passes(&fact.groups).then(groups)
    }

    fn add(&mut self, fact: &Fact) -> Result<(), Problem> {
        if let Some(groups) = self.groups(fact) {
            self.report.add(fact, &groups);
        }
        self.bounded()
    }

    fn add_to(&mut self, step: usize, fact: &Fact, sign: i64) -> Result<(), Problem> {
        if let Some(groups) = self.groups(fact) {
            self.report.add_to(step, fact, &groups, sign);
        }
        self.bounded()
    }

    fn bounded(&self) -> Result<(), Problem> {
        if self.report.size() <= MOST_READ {
            return Ok(());
        }
        let detail = format!("makes more than {MOST_READ} groups in this window: ask for less time, or add a filter");
        Err(Problem::invalid_query(vec![FieldError::new("group_by", "too_many", detail)]))
    }
}

/// The figures of each step between `edges`: of all that is meant, and of its groups, or those of them that are in `only`.
///
/// # Errors
/// `invalid_query` when there are too many groups, or when the database is away.
pub async fn report(
    conn: &mut Conn,
    ask: &Ask,
    edges: Vec<Instant>,
    only: Option<&BTreeSet<GroupKey>>,
) -> Result<Report, Problem> {
    ask.criteria.readable(conn).await?;
    let (then, now) = GroupFilter::split(&ask.criteria);
    let marks = store::marks(conn).await?;
    let are_built = !marks.is_stale && marks.last_fact - marks.built_to <= MOST_UNBUILT;
    let plan = Plan::of(ask, &then).filter(|_| are_built && now.is_open());
    let (Some(from), Some(to)) = (edges.first().copied(), edges.last().copied()) else { return Ok(Report::default()) };
    let mut gathering = Gathering { ask, then, only, report: Report::new(edges) };

    // What is not folded yet, and what time has broken, which is not written down.
    let mut loose = unfolded(conn).await?;
    loose.extend(lapsed(conn, ask.criteria.now).await?);
    for fact in facts::meant(conn, &now, loose).await? {
        gathering.add(&fact)?;
    }
    let Some(plan) = plan else {
        facts::between(conn, &now, from, to, |_, fact| gathering.add(&fact)).await?;
        return Ok(gathering.report);
    };
    for (_, fact) in crate::tally::store::facts::after(conn, marks.built_to, MOST_UNBUILT).await? {
        gathering.add(&fact)?;
    }
    let mut cells = Cells::new();
    let steps: Vec<_> = gathering.report.steps().enumerate().collect();
    for (step, (from, to)) in steps {
        for (sign, piece) in cover(from, to) {
            match piece {
                Piece::Cell(level, start) => {
                    cells.entry(level).or_default().entry(start).or_default().push((step, sign));
                }
                Piece::Edge(from, to) => {
                    let each = |number, fact: Fact| {
                        // Later ones are in no cell yet.
                        if number <= marks.built_to { gathering.add_to(step, &fact, sign) } else { Ok(()) }
                    };
                    crate::tally::store::facts::between(conn, from, to, each).await?;
                }
            }
        }
    }
    let groups_are_total = plan.groups.as_ref() == Some(&plan.total) && only.is_none();
    if !groups_are_total {
        read(conn, &plan.total, &cells, |_, step, figures, sign| {
            gathering.report.merge(step, None, figures, sign);
            Ok(())
        })
        .await?;
    }
    if let Some((axis, keys)) = plan.groups {
        let passes = |key: &String| keys.as_ref().is_none_or(|keys| keys.contains(key));
        let meant = |only: &BTreeSet<GroupKey>| only.iter().flatten().map(ToString::to_string).filter(passes).collect();
        let groups = (axis, only.map(meant).or_else(|| keys.clone()));
        read(conn, &groups, &cells, |group, step, figures, sign| {
            gathering.report.merge(step, Some(&group), figures, sign);
            if groups_are_total {
                gathering.report.merge(step, None, figures, sign);
            }
            gathering.bounded()
        })
        .await?;
    }
    Ok(gathering.report)
}

/// Tells `each` the cells of an axis, some at a time, each with its group and the steps that it is in.
async fn read(
    conn: &mut Conn,
    (axis, keys): &(Axis, Option<Vec<String>>),
    cells: &Cells,
    mut each: impl FnMut(GroupKey, usize, &Figures, i64) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let keys = if *axis == Axis::All { Some(vec![String::new()]) } else { keys.clone() };
    let at_once = keys.as_ref().map_or(2, |keys| (AT_ONCE / keys.len().max(1)).max(2));
    for (level, places) in cells {
        let starts: Vec<i64> = places.keys().copied().collect();
        for starts in starts.chunks(at_once) {
            for (start, key, figures) in store::figures(conn, *axis, keys.as_deref(), *level, starts).await? {
                for (step, sign) in places.get(&start).into_iter().flatten() {
                    each(vec![key.clone()], *step, &figures, *sign)?;
                }
            }
        }
    }
    Ok(())
}
