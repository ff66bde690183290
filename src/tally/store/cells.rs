//! Queries of cells, and of how far they are built.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{cell_marks, cells};
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::Problem;
use crate::tally::domain::cells::{CellKey, FORMAT, Figures, Level};
use crate::tally::domain::facts::{Axis, axis_name};

/// The one row of marks.
const ONE: i32 = 1;

/// How far cells are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, AsChangeset)]
#[diesel(table_name = cell_marks)]
pub struct Marks {
    /// The number of the last fact.
    pub last_fact: i64,
    /// The number of the last fact that is in cells.
    pub built_to: i64,
    /// Whether what is there of cells is to go before any is built.
    #[diesel(column_name = stale)]
    pub is_stale: bool,
}

type MarkColumns = (cell_marks::last_fact, cell_marks::built_to, cell_marks::stale);

/// The marks, and the version of how cells and changes are written.
const MARKS: (MarkColumns, cell_marks::format) =
    ((cell_marks::last_fact, cell_marks::built_to, cell_marks::stale), cell_marks::format);

fn readable((marks, format): (Marks, i32)) -> Result<Marks, Problem> {
    if format > FORMAT {
        return Err(Problem::unavailable("the numbers in the database are of a newer version: run that one"));
    }
    Ok(marks)
}

/// How far cells are built. Whoever reads cells or what changes have added asks this first, in the same transaction.
///
/// # Errors
/// `unavailable` when they are written as only a newer version can read them.
pub async fn marks(conn: &mut Conn) -> Result<Marks, Problem> {
    let row = cell_marks::table.find(ONE).select(MARKS);
    readable(on_each!(conn, |c| row.first(c).await)?)
}

/// How far cells are built, while nobody else adds facts or cells.
///
/// # Errors
/// When somebody else has done so since this transaction began, which is made up for by starting again.
pub async fn hold(tx: &mut Conn) -> Result<Marks, Problem> {
    let row = diesel::update(cell_marks::table.find(ONE)).set(cell_marks::built_to.eq(cell_marks::built_to));
    readable(on_each!(tx, |c| row.returning(MARKS).get_result(c).await)?)
}

/// Writes down how far cells are built.
pub async fn keep(tx: &mut Conn, marks: &Marks) -> Result<(), Problem> {
    send!(tx, steady(diesel::update(cell_marks::table.find(ONE)).set(*marks)))
}

/// Removes at most `count` cells; gives how many there were.
pub async fn clear(tx: &mut Conn, count: u16) -> Result<usize, Problem> {
    let key = "axis, level, start, key";
    let some = format!("DELETE FROM cells WHERE ({key}) IN (SELECT {key} FROM cells LIMIT {count})");
    Ok(on_each!(tx, |c| diesel::sql_query(&some).execute(c).await)?)
}

fn unpack<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    postcard::from_bytes(bytes).map_err(Problem::internal)
}

fn pack(value: &impl Serialize) -> Result<Vec<u8>, Problem> {
    postcard::to_allocvec(value).map_err(Problem::internal)
}

/// Adds figures to cells. One that comes to nothing is removed.
pub async fn grow_all(tx: &mut Conn, more: BTreeMap<CellKey, Figures>) -> Result<(), Problem> {
    let mut by_start: BTreeMap<(Axis, Level, i64), Vec<(String, Figures)>> = BTreeMap::new();
    for ((axis, level, start, key), figures) in more {
        by_start.entry((axis, level, start)).or_default().push((key, figures));
    }
    for ((axis, level, start), more) in by_start {
        let keys: Vec<String> = more.iter().map(|(key, _)| key.clone()).collect();
        let there = with_keys(tx, axis, &keys, level, &[start]).await?;
        let mut there: HashMap<String, Figures> = there.into_iter().map(|(_, key, figures)| (key, figures)).collect();
        for (key, more) in more {
            let was = there.remove(&key);
            put(tx, (axis, level, start, key), was, &more).await?;
        }
    }
    Ok(())
}

async fn put(tx: &mut Conn, cell: CellKey, was: Option<Figures>, more: &Figures) -> Result<(), Problem> {
    let (axis, level, start, key) = cell;
    let mut figures = was.clone().unwrap_or_default();
    figures.merge(more, 1);
    let this = cells::table.find((axis_name(axis), level, start, key.clone()));
    let counts = cells::counts.eq(pack(&figures.counts)?);
    let durations = || pack(&figures.durations).map(|durations| cells::durations.eq(durations));
    match was {
        Some(_) if figures == Figures::default() => send!(tx, steady(diesel::delete(this))),
        // They are the most of it.
        Some(was) if was.durations == figures.durations => send!(tx, steady(diesel::update(this).set(counts))),
        Some(_) => send!(tx, steady(diesel::update(this).set((counts, durations()?)))),
        None if figures == Figures::default() => Ok(()),
        None => {
            let axis = cells::axis.eq(axis_name(axis));
            let cell = (axis, cells::level.eq(level), cells::start.eq(start), cells::key.eq(key));
            send!(tx, diesel::insert_into(cells::table).values((cell, counts, durations()?)))
        }
    }
}

/// Some cells of an axis and a length: when each begins and of which group it is, as that is stored, with its figures.
pub type Cells = Vec<(i64, String, Figures)>;

type CellRow = (i64, String, Vec<u8>, Vec<u8>);

const CELL: (cells::start, cells::key, cells::counts, cells::durations) =
    (cells::start, cells::key, cells::counts, cells::durations);

fn figures(rows: Vec<CellRow>) -> Result<Cells, Problem> {
    let cell = |(start, key, counts, durations): CellRow| {
        Ok((start, key, Figures { counts: unpack(&counts)?, durations: unpack(&durations)? }))
    };
    rows.into_iter().map(cell).collect()
}

/// The cells of an axis with these keys that begin in these hours: as many as both make at most.
///
/// # Errors
/// When one cannot be read.
pub async fn with_keys(
    conn: &mut Conn,
    axis: Axis,
    keys: &[String],
    level: Level,
    starts: &[i64],
) -> Result<Cells, Problem> {
    let these = cells::axis.eq(axis_name(axis)).and(cells::level.eq(level));
    let query =
        cells::table.filter(these.and(one_of("cells.start", starts)).and(one_of("cells.key", keys))).select(CELL);
    figures(on_each!(conn, |c| query.load(c).await)?)
}

/// At most `count` cells of an axis and a length, in the order of their beginnings and keys: from an hour on or, with a
/// key, from behind the cell of that hour and key; and until the hour `last`.
///
/// # Errors
/// As those of [`with_keys`].
pub async fn from(
    conn: &mut Conn,
    axis: Axis,
    level: Level,
    (start, key): (i64, Option<&str>),
    last: i64,
    count: i64,
) -> Result<Cells, Problem> {
    let next = match key {
        None => raw::<Bool>("start >= ").bind(start),
        Some(key) => raw("(start, key) > (").bind(start).sql(", ").bind(key.to_owned()).sql(")"),
    };
    let these = cells::axis.eq(axis_name(axis)).and(cells::level.eq(level));
    let query = cells::table
        .filter(these.and(next).and(cells::start.le(last)))
        .order((cells::start, cells::key))
        .limit(count)
        .select(CELL);
    figures(on_each!(conn, |c| query.load(c).await)?)
}
