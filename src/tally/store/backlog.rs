//! Queries of the tallies of tickets that are not solved. All of one answer belong into one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use super::{UnfoldedReader, cells};
use crate::db::raw::{one_of, raw};
use crate::db::schema::tallies;
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::Problem;
use crate::tally::domain::Sums;
use crate::tally::domain::backlog::{BacklogCount, Stand, Unsolved, labels, series};
use crate::tally::domain::facts::{Axis, AxisKey};

/// How many counters are read at once.
const AT_ONCE: i64 = 2_000;

/// What is folded, read as it is asked for, and what is not folded yet along some axes.
#[derive(Debug)]
pub struct Ledger {
    rest: Sums,
}

impl Ledger {
    /// Opens it along `axes`.
    ///
    /// # Errors
    /// As those of [`cells::marks`].
    pub async fn open(conn: &mut Conn, axes: BTreeSet<Axis>) -> Result<Self, Problem> {
        cells::marks(conn).await?;
        let mut rest = Sums::default();
        let mut changes = UnfoldedReader::default();
        while let Some(some) = changes.next(conn).await? {
            let mut sums = Sums::default();
            for change in some {
                sums.merge(change.sums()?);
            }
            for (counter, n) in sums.iter() {
                if let Some(ticket) = Unsolved::of(counter) {
                    ticket.spread(n, axes.iter().copied(), &mut rest);
                }
            }
        }
        Ok(Self { rest })
    }

    /// Tells `each` how many tickets stand how along `axis`, some at a time: of the same stand several times, also
    /// below 0.
    ///
    /// # Errors
    /// Those of `each`.
    pub async fn each_stand(
        &self,
        conn: &mut Conn,
        axis: Axis,
        mut each: impl FnMut(&Stand, i64) -> Result<(), Problem>,
    ) -> Result<(), Problem> {
        let mut each = |labels: &str, n| each(&serde_json::from_str(labels).map_err(Problem::internal)?, n);
        let series = series(axis, BacklogCount::Stand);
        let mut last = String::new();
        loop {
            let query = tallies::table
                .filter(tallies::series.eq(&series).and(tallies::labels.gt(&last)))
                .order(tallies::labels)
                .limit(AT_ONCE)
                .select((tallies::labels, tallies::n));
            let rows: Vec<(String, i64)> = on_each!(conn, |c| query.load(c).await)?;
            for (labels, n) in &rows {
                each(labels, *n)?;
            }
            let Some((labels, _)) = rows.into_iter().last() else { break };
            last = labels;
        }
        self.rest.of_series(&series).try_for_each(|(counter, n)| each(&counter.labels, n))
    }

    /// How many tickets along `axis` with each of `labels` were reported in the quarters after `after` and before
    /// `before`.
    pub async fn reported(
        &self,
        conn: &mut Conn,
        axis: Axis,
        labels: &[String],
        (after, before): (i64, i64),
    ) -> Result<BTreeMap<String, i64>, Problem> {
        let series = series(axis, BacklogCount::Reported);
        let within = tallies::quarter.gt(after).and(tallies::quarter.lt(before));
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(one_of("tallies.labels", labels)).and(within))
            .group_by(tallies::labels)
            .select((tallies::labels, raw::<BigInt>("CAST(sum(n) AS bigint)")));
        let rows: Vec<(String, i64)> = on_each!(conn, |c| query.load(c).await)?;
        let mut sums: BTreeMap<_, _> = rows.into_iter().collect();
        for labels in labels {
            let quarters =
                self.rest.quarters(&series, labels).filter(|(quarter, _)| after < *quarter && *quarter < before);
            let rest: i64 = quarters.map(|(_, n)| n).sum();
            if rest != 0 {
                *sums.entry(labels.clone()).or_default() += rest;
            }
        }
        Ok(sums)
    }

    /// The quarter in which the oldest ticket of a group on `axis` was reported.
    pub async fn first(&self, conn: &mut Conn, axis: Axis, key: &AxisKey) -> Result<Option<i64>, Problem> {
        let (series, labels) = (series(axis, BacklogCount::Reported), labels(key));
        let mut quarters: BTreeMap<i64, i64> = self.rest.quarters(&series, &labels).collect();
        // What is not folded can take away from so many of the folded ones, and not from the next.
        let enough = i64::try_from(quarters.len()).unwrap_or(i64::MAX - 1) + 1;
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(tallies::labels.eq(&labels)))
            .order(tallies::quarter)
            .limit(enough)
            .select((tallies::quarter, tallies::n));
        let rows: Vec<(i64, i64)> = on_each!(conn, |c| query.load(c).await)?;
        for (quarter, n) in rows {
            *quarters.entry(quarter).or_default() += n;
        }
        Ok(quarters.into_iter().find(|(_, n)| *n > 0).map(|(quarter, _)| quarter))
    }
}
