//! Queries of the tallies of tickets that are not solved. All of one answer belong into one snapshot.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{tallies, tally_deltas};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{DeltaId, Problem};
use crate::tally::domain::backlog::{Axis, Part, Waiting, next_from, place, series};
use crate::tally::domain::{Cell, Sums};

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
    pub async fn open(conn: &mut Conn, axes: &[Axis]) -> Result<Self, Problem> {
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
        for (cell, n) in tickets.iter() {
            if let Some(ticket) = Waiting::of(cell) {
                ticket.spread(n, axes, &mut rest);
            }
        }
        Ok(Self { rest })
    }

    /// All cells of `part` along `axis` for the quarters after `after` and before `before`, with what each comes to.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn cells(
        &self,
        conn: &mut Conn,
        (axis, part): (Axis, Part),
        (after, before): (i64, i64),
    ) -> Result<Sums, Problem> {
        let series = series(axis, part);
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(tallies::hour.gt(after)).and(tallies::hour.lt(before)))
            .select((tallies::labels, tallies::hour, tallies::n));
        let rows: Vec<(String, i64, i64)> = on_each!(conn, |c| query.load(c).await)?;
        let mut sums = Sums::default();
        for (labels, hour, n) in rows {
            sums.add(Cell { series: series.clone(), labels, hour }, n);
        }
        for (cell, n) in self.rest.of_series(&series).filter(|(cell, _)| after < cell.hour && cell.hour < before) {
            sums.add(cell.clone(), n);
        }
        Ok(sums)
    }

    /// What the cells of `part` along `axis` with each of `labels` come to, for the quarters after `after` and before
    /// `before`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn between(
        &self,
        conn: &mut Conn,
        (axis, part): (Axis, Part),
        labels: &[String],
        (after, before): (i64, i64),
    ) -> Result<BTreeMap<String, i64>, Problem> {
        let series = series(axis, part);
        let within = tallies::hour.gt(after).and(tallies::hour.lt(before));
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(one_of("tallies.labels", labels)).and(within))
            .group_by(tallies::labels)
            .select((tallies::labels, raw::<BigInt>("CAST(sum(n) AS bigint)")));
        let rows: Vec<(String, i64)> = on_each!(conn, |c| query.load(c).await)?;
        let mut sums: BTreeMap<_, _> = rows.into_iter().collect();
        for labels in labels {
            let hours = self.rest.hours(&series, labels).filter(|(hour, _)| after < *hour && *hour < before);
            let rest: i64 = hours.map(|(_, n)| n).sum();
            if rest != 0 {
                *sums.entry(labels.clone()).or_default() += rest;
            }
        }
        Ok(sums)
    }

    /// How many further promises are broken in a quarter after `this` and before `last` while the promise before them was
    /// broken before `this`, by the place of their ticket on `axis`.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn next(
        &self,
        conn: &mut Conn,
        axis: Axis,
        this: i64,
        last: i64,
    ) -> Result<Vec<(Option<String>, i64)>, Problem> {
        let (series, from, before) = (series(axis, Part::Next), next_from(this + 1), next_from(last));
        if from >= before {
            return Ok(Vec::new());
        }
        let within = tallies::labels.ge(&from).and(tallies::labels.lt(&before)).and(tallies::hour.lt(this));
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(within))
            .group_by(tallies::labels)
            .select((tallies::labels, raw::<BigInt>("CAST(sum(n) AS bigint)")));
        let mut found: Vec<(String, i64)> = on_each!(conn, |c| query.load(c).await)?;
        let within = |cell: &Cell| from <= cell.labels && cell.labels < before && cell.hour < this;
        let rest = self.rest.of_series(&series).filter(|(cell, _)| within(cell));
        found.extend(rest.map(|(cell, n)| (cell.labels.clone(), n)));
        let place = |(labels, n): (String, i64)| {
            let (_, place): (String, Option<String>) = serde_json::from_str(&labels).map_err(Problem::internal)?;
            Ok((place, n))
        };
        found.into_iter().map(place).collect()
    }

    /// The quarter in which the oldest ticket at a place on `axis` was reported.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn first(&self, conn: &mut Conn, axis: Axis, key: Option<&str>) -> Result<Option<i64>, Problem> {
        let (series, labels) = (series(axis, Part::Reported), place(key));
        let mut hours: BTreeMap<i64, i64> = self.rest.hours(&series, &labels).collect();
        // What is not folded can take away from so many of the folded ones, and not from the next.
        let enough = i64::try_from(hours.len()).unwrap_or(i64::MAX - 1) + 1;
        let query = tallies::table
            .filter(tallies::series.eq(&series).and(tallies::labels.eq(&labels)))
            .order(tallies::hour)
            .limit(enough)
            .select((tallies::hour, tallies::n));
        let rows: Vec<(i64, i64)> = on_each!(conn, |c| query.load(c).await)?;
        for (hour, n) in rows {
            *hours.entry(hour).or_default() += n;
        }
        Ok(hours.into_iter().find(|(_, n)| *n > 0).map(|(hour, _)| hour))
    }
}

/// At most `count` cells of further promises along `axis` that are broken before this quarter, with what they come to.
///
/// # Errors
/// When the database is away.
pub async fn over(conn: &mut Conn, axis: Axis, before: i64, count: i64) -> Result<Vec<(Cell, i64)>, Problem> {
    let series = series(axis, Part::Next);
    let query = tallies::table
        .filter(tallies::series.eq(&series).and(tallies::labels.lt(next_from(before))))
        .order((tallies::labels, tallies::hour))
        .limit(count)
        .select((tallies::labels, tallies::hour, tallies::n));
    let rows: Vec<(String, i64, i64)> = on_each!(conn, |c| query.load(c).await)?;
    Ok(rows.into_iter().map(|(labels, hour, n)| (Cell { series: series.clone(), labels, hour }, n)).collect())
}
