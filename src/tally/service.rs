//! Folding: what changes have added one by one is added up.

use std::collections::BTreeMap;

use super::domain::Sums;
use super::domain::cells::{Figures, Level, sort_into_cells};
use super::domain::facts::{Axis, Fact, axes, keys_of};
use super::store;
use super::store::cells::Marks;
use crate::db::{Conn, Db, Roots};
use crate::kernel::Problem;

/// How many cells one transaction removes.
const CLEAR_AT_ONCE: u16 = 500;

/// How many counters, and how many cells, one transaction grows, about: tickets may have many labels, and others wait
/// meanwhile.
const GROW_AT_ONCE: usize = 1_000;

/// How many facts, and how many cells, are read at once where all are.
const READ_AT_ONCE: i64 = 1_000;

/// Folds all changes there are, at most `at_once` in a transaction, and builds all cells; gives the number of changes.
/// Several instances may do so at the same time: of two that take the same changes, one starts again.
///
/// # Errors
/// When the database is away, or others fold all the time; what was left is folded the next time.
pub async fn fold(db: &Db, at_once: u16) -> Result<usize, Problem> {
    let mut folded = 0;
    loop {
        let batch = fold_some(db, at_once).await?;
        folded += batch;
        if batch == 0 && !build_some(db, at_once).await? {
            return Ok(folded);
        }
    }
}

/// Folds at most `at_once` changes in one transaction: counters grow, and what happened is written down and built into
/// cells, if those have come so far. Gives how many changes there were.
///
/// # Errors
/// As those of [`fold`].
pub async fn fold_some(db: &Db, at_once: u16) -> Result<usize, Problem> {
    db.write(Roots::none(), async move |tx| {
        let marks = store::cells::hold(tx).await?;
        let (mut ids, mut sums, mut facts) = (Vec::new(), Sums::default(), Vec::new());
        for change in store::unfolded(tx, None, at_once.into()).await? {
            ids.push(change.id);
            sums.merge(change.sums()?.spread());
            facts.extend(change.facts()?);
            if sums.len() >= GROW_AT_ONCE {
                break;
            }
        }
        if ids.is_empty() {
            return Ok(0);
        }
        // Taken away first: whoever is later with the same ones fails here, before anything is counted twice.
        store::remove(tx, &ids).await?;
        store::facts::insert(tx, marks.last_fact, &facts).await?;
        let last_fact = marks.last_fact + i64::try_from(facts.len()).unwrap_or(0);
        let mut built_to = marks.built_to;
        if marks.built_to == marks.last_fact && !marks.is_stale {
            let numbered: Vec<(i64, Fact)> = (marks.last_fact + 1..).zip(facts).collect();
            built_to = build(tx, &numbered).await?.unwrap_or(last_fact);
        }
        store::cells::keep(tx, &Marks { last_fact, built_to, ..marks }).await?;
        // In the order of the counters, so that two that meet here never wait for each other in a circle.
        store::grow_all(tx, &sums).await?;
        Ok(ids.len())
    })
    .await
}

/// Adds facts, in the order of their numbers, to cells, until many have grown; gives the number of the last one.
async fn build(tx: &mut Conn, facts: &[(i64, Fact)]) -> Result<Option<i64>, Problem> {
    let (mut cells, mut last) = (BTreeMap::new(), None);
    for (number, fact) in facts {
        sort_into_cells(fact, &mut cells);
        last = Some(*number);
        if cells.len() >= GROW_AT_ONCE {
            break;
        }
    }
    store::cells::grow_all(tx, cells).await?;
    Ok(last)
}

/// Goes on with what [`begin_anew`] or a migration has begun, if it has; gives whether there may be more to do.
///
/// # Errors
/// As those of [`fold`].
pub async fn build_some(db: &Db, at_once: u16) -> Result<bool, Problem> {
    let marks = db.read(async |conn| store::cells::marks(conn).await).await?;
    if !marks.is_stale && marks.built_to == marks.last_fact {
        return Ok(false);
    }
    db.write(Roots::none(), async move |tx| {
        let marks = store::cells::hold(tx).await?;
        if marks.is_stale {
            let is_stale = store::cells::clear(tx, CLEAR_AT_ONCE).await? > 0;
            store::cells::keep(tx, &Marks { is_stale, ..marks }).await?;
            return Ok(true);
        }
        let facts = store::facts::after(tx, marks.built_to, at_once.into()).await?;
        let built_to = build(tx, &facts).await?.unwrap_or(marks.last_fact);
        store::cells::keep(tx, &Marks { built_to, ..marks }).await?;
        Ok(built_to < marks.last_fact)
    })
    .await
}

/// Lets all cells be built anew by whoever folds: until then reports read what happened one by one.
///
/// # Errors
/// When the database is away, or others fold all the time.
pub async fn begin_anew(tx: &mut Conn) -> Result<(), Problem> {
    let marks = store::cells::hold(tx).await?;
    store::cells::keep(tx, &Marks { built_to: 0, is_stale: true, ..marks }).await
}

/// The axes and lengths of cells that do not come to what happened; none while they are built anew. It reads all of
/// both, a little at a time. All of it belongs into one snapshot.
///
/// # Errors
/// When one cannot be read.
pub async fn wrong_cells(conn: &mut Conn) -> Result<Vec<(Axis, Level)>, Problem> {
    let marks = store::cells::marks(conn).await?;
    if marks.is_stale {
        return Ok(Vec::new());
    }
    let (mut happened, mut last): (BTreeMap<Axis, Figures>, i64) = (BTreeMap::new(), 0);
    loop {
        let some = store::facts::after(conn, last, READ_AT_ONCE).await?;
        let built: Vec<_> = some.into_iter().filter(|(number, _)| *number <= marks.built_to).collect();
        let Some((number, _)) = built.last() else { break };
        last = *number;
        for (_, fact) in &built {
            for axis in axes() {
                for _ in keys_of(axis, fact) {
                    happened.entry(axis).or_default().add(&fact.what, fact.n.into());
                }
            }
        }
    }
    let mut wrong = Vec::new();
    for (axis, level) in axes().flat_map(|axis| Level::ALL.iter().map(move |level| (axis, *level))) {
        let (mut sum, mut last) = (Figures::default(), (i64::MIN, None));
        loop {
            let (start, key) = &last;
            let some = store::cells::from(conn, axis, level, (*start, key.as_deref()), i64::MAX, READ_AT_ONCE).await?;
            some.iter().for_each(|(_, _, figures)| sum.merge(figures, 1));
            let Some((start, key, _)) = some.into_iter().last() else { break };
            last = (start, Some(key));
        }
        if sum != happened.get(&axis).cloned().unwrap_or_default() {
            wrong.push((axis, level));
        }
    }
    Ok(wrong)
}

/// How much of what happened is in cells, and of how much: numbers of facts.
pub async fn progress(db: &Db) -> Result<(i64, i64), Problem> {
    let marks = db.read(async |conn| store::cells::marks(conn).await).await?;
    Ok((marks.built_to, marks.last_fact))
}
