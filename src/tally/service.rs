//! Folding: what changes have added one by one is added up.

pub mod cells;

use std::collections::HashMap;

use super::domain::backlog::{Axis, Part, is_of_backlog, next_from, quarter_of, series};
use super::domain::facts::Facts;
use super::domain::{Series, Sums, hour_of};
use super::store;
use crate::db::{Conn, Db, Roots};
use crate::kernel::{Instant, Problem};

/// How many hours that are past are kept apart: more than clocks of instances can be wrong.
const KEPT_H: i64 = 48;

/// Folds all changes there are, `at_once` in a transaction, and gives their number. Several instances may do so at the
/// same time: of two that take the same changes, one starts again.
///
/// # Errors
/// When the database is away, or others fold all the time; what was left is folded the next time.
pub async fn fold(db: &Db, at_once: u16) -> Result<usize, Problem> {
    let mut folded = 0;
    loop {
        let batch = db.write(Roots::none(), async move |tx| fold_some(tx, at_once).await).await?;
        folded += batch;
        if batch < usize::from(at_once) {
            return Ok(folded);
        }
    }
}

async fn fold_some(tx: &mut Conn, count: u16) -> Result<usize, Problem> {
    store::cells::marks(tx).await?;
    let (mut ids, mut sums, mut facts) = (Vec::new(), Sums::default(), Facts::default());
    for (id, one, changed) in store::unfolded(tx, count.into()).await? {
        ids.push(id);
        sums.merge(one);
        facts.merge(changed);
    }
    if ids.is_empty() {
        return Ok(0);
    }
    // Taken away first: whoever is later with the same ones fails here, before anything is counted twice.
    store::remove(tx, &ids).await?;
    cells::fold(tx, facts.settled()).await?;
    let sums = sums.spread();
    // In the order of the cells, so that two that meet here never wait for each other in a circle.
    store::grow_all(tx, &sums).await?;
    Ok(ids.len())
}

/// How the tallies are once they are settled.
#[derive(Debug)]
pub struct Settling {
    /// Series whose hours are added up, each with the first that is not.
    added_up: HashMap<String, i64>,
    /// Series whose labels are forgotten that are less than these.
    forgotten: HashMap<String, String>,
}

impl Settling {
    /// As [`settle`] leaves them at `now`.
    pub fn at(now: Instant) -> Self {
        let before = settled_before(now);
        let all =
            Axis::ALL.iter().flat_map(|axis| [Part::Late, Part::Breach].map(|part| (series(*axis, part), before)));
        let added_up = all.chain([(Series::ClocksBreached.to_string(), hour_of(now) - KEPT_H)]).collect();
        let forgotten = Axis::ALL.iter().map(|axis| (series(*axis, Part::Next), next_from(before))).collect();
        Self { added_up, forgotten }
    }

    /// The cells that there are of these. Those of series that only a newer version knows are left out.
    pub fn of(&self, sums: Sums) -> Sums {
        let mut settled = Sums::default();
        for (cell, n) in sums.iter() {
            let is_forgotten = self.forgotten.get(&cell.series).is_some_and(|from| cell.labels < *from);
            let is_past = self.added_up.get(&cell.series).is_some_and(|before| (1..*before).contains(&cell.hour));
            let is_known = is_of_backlog(&cell.series)
                || Series::ALL.iter().any(|series| *series != Series::Waiting && series.as_str() == cell.series);
            if is_known && !is_forgotten {
                let hour = if is_past { 0 } else { cell.hour };
                settled.add(cell.clone().in_hour(hour), n);
            }
        }
        settled
    }
}

/// The first quarter of the backlog that is told apart.
fn settled_before(now: Instant) -> i64 {
    quarter_of(now) - 4 * KEPT_H
}

/// Adds up the hours that are so long past at `now` that nobody tells them apart any more, `at_once` cells in a
/// transaction, so that there are not more and more of them; gives the number of cells. Several instances may do so at the
/// same time.
///
/// # Errors
/// As those of [`fold`].
pub async fn settle(db: &Db, now: Instant, at_once: u16) -> Result<usize, Problem> {
    let mut settled = settle_all(db, Series::ClocksBreached.as_str(), hour_of(now) - KEPT_H, at_once).await?;
    let before = settled_before(now);
    for axis in Axis::ALL.iter().copied() {
        for part in [Part::Late, Part::Breach] {
            settled += settle_all(db, &series(axis, part), before, at_once).await?;
        }
        settled += forget(db, axis, before, at_once).await?;
    }
    Ok(settled)
}

/// Adds up the cells of `series` before `before`.
async fn settle_all(db: &Db, series: &str, before: i64, at_once: u16) -> Result<usize, Problem> {
    let (mut settled, mut after) = (0, (String::new(), 0));
    loop {
        let (series, from) = (series.to_owned(), after.clone());
        let past = db
            .write(Roots::none(), async move |tx| {
                let past = store::past(tx, &series, before, (&from.0, from.1), at_once.into()).await?;
                let mut sums = Sums::default();
                for (cell, n) in past.iter().cloned() {
                    sums.add(cell.clone().in_hour(0), n);
                    sums.add(cell, -n);
                }
                store::grow_all(tx, &sums).await?;
                Ok(past)
            })
            .await?;
        settled += past.len();
        match past.last() {
            Some((cell, _)) if past.len() == usize::from(at_once) => after = (cell.labels.clone(), cell.hour),
            _ => return Ok(settled),
        }
    }
}

/// Lets go of further promises that were broken before `before`: nobody asks for them any more.
async fn forget(db: &Db, axis: Axis, before: i64, at_once: u16) -> Result<usize, Problem> {
    let mut forgotten = 0;
    loop {
        let batch = db
            .write(Roots::none(), async move |tx| {
                let mut sums = Sums::default();
                for (cell, n) in store::backlog::over(tx, axis, before, at_once.into()).await? {
                    sums.add(cell, -n);
                }
                store::grow_all(tx, &sums).await?;
                Ok(sums.iter().count())
            })
            .await?;
        forgotten += batch;
        if batch < usize::from(at_once) {
            return Ok(forgotten);
        }
    }
}
