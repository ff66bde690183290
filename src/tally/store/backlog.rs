//! Queries of the tallies of tickets that are not solved. All of one answer belong into one snapshot.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{tallies, tally_deltas};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{DeltaId, Problem};
use crate::tally::domain::backlog::{Part, Unsolved, labels, series};
use crate::tally::domain::facts::{Axis, Key};
use crate::tally::domain::{Counter, Sums};

/// How many changes that are not folded are read at once.
const AT_ONCE: i64 = 1_000;

/// What is folded, read as it is asked for, and what is not folded yet along some axes.
#[derive(Debug)]
pub struct Ledger {
    rest: Sums,
}

impl Ledger {
    /// Opens it along `axes`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn open(conn: &mut Conn, axes: BTreeSet<Axis>) -> Result<Self, Problem> {
        let mut tickets = Sums::default();
        let mut after = DeltaId::from(uuid::Uuid::nil());
        loop {
            let query = tally_deltas::table
                .filter(tally_deltas::id.gt(after))
                .order(tally_deltas::id)
                .limit(AT_ONCE)
                .select((tally_deltas::id, tally_deltas::deltas));
            let rows: Vec<(DeltaId, Json)> = on_each!(conn, |c| query.load(c).await)?;
            let read = i64::try_from(rows.len()).unwrap_or(0);
            for (id, deltas) in rows {
                after = id;
                tickets.merge(Sums::from_json(deltas.0).map_err(Problem::internal)?);
            }
            if read < AT_ONCE {
                break;
            }
        }
        let mut rest = Sums::default();
        for (counter, n) in tickets.iter() {
            if let Some(ticket) = Unsolved::of(counter) {
                ticket.spread(n, axes.iter().copied(), &mut rest);
            }
        }
        Ok(Self { rest })
    }

    /// The counters of [`Part::Stand`] along `axis`, with what each comes to.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn stands(&self, conn: &mut Conn, axis: Axis) -> Result<Sums, Problem> {
        let series = series(axis, Part::Stand);
        let query =
            tallies::table.filter(tallies::series.eq(&series)).select((tallies::labels, tallies::quarter, tallies::n));
        let rows: Vec<(String, i64, i64)> = on_each!(conn, |c| query.load(c).await)?;
        let mut sums = Sums::default();
        for (labels, quarter, n) in rows {
            sums.add(Counter { series: series.clone(), labels, quarter }, n);
        }
        for (counter, n) in self.rest.of_series(&series) {
            sums.add(counter.clone(), n);
        }
        Ok(sums)
    }

    /// What the counters of [`Part::Reported`] along `axis` with each of `labels` come to, for the quarters after `after` and
    /// before `before`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn reported(
        &self,
        conn: &mut Conn,
        axis: Axis,
        labels: &[String],
        (after, before): (i64, i64),
    ) -> Result<BTreeMap<String, i64>, Problem> {
        let series = series(axis, Part::Reported);
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

    /// The quarter in which the oldest ticket at a place on `axis` was reported.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn first(&self, conn: &mut Conn, axis: Axis, key: &Key) -> Result<Option<i64>, Problem> {
        let (series, labels) = (series(axis, Part::Reported), labels(key));
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
