//! Queries of cells, and of how far they are built.

use std::collections::{BTreeMap, HashMap};

use diesel::prelude::*;
use diesel::sql_types::Bool;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{cell_marks, cells};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send, steady};
use crate::kernel::Problem;
use crate::tally::domain::cells::{Counts, Durations, FORMAT, Figures, Level, Place};
use crate::tally::domain::facts::{Axis, Key};

/// The one row of marks.
const ONE: i32 = 1;

/// How far cells are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// The number of the last fact.
    pub last_fact: i64,
    /// The number of the last fact that is in cells.
    pub built_to: i64,
    /// Whether what is there of cells is to go before any is built.
    pub is_stale: bool,
}

type MarksRow = (i64, i64, bool, i32);

const COLUMNS: (cell_marks::last_fact, cell_marks::built_to, cell_marks::stale, cell_marks::format) =
    (cell_marks::last_fact, cell_marks::built_to, cell_marks::stale, cell_marks::format);

fn read((last_fact, built_to, is_stale, format): MarksRow) -> Result<Marks, Problem> {
    if format > FORMAT {
        return Err(Problem::unavailable("the numbers in the database are of a newer version: run that one"));
    }
    Ok(Marks { last_fact, built_to, is_stale })
}

/// How far cells are built. Whoever reads cells or what changes have added asks this first, in the same transaction.
///
/// # Errors
/// `unavailable` when they are written as only a newer version can read them, or when the database is away.
pub async fn marks(conn: &mut Conn) -> Result<Marks, Problem> {
    let row = cell_marks::table.find(ONE).select(COLUMNS);
    read(on_each!(conn, |c| row.first(c).await)?)
}

/// How far cells are built, while nobody else adds facts or cells.
///
/// # Errors
/// When somebody else has done so since this transaction began, which is made up for by starting again; or when the
/// database is away.
pub async fn hold(tx: &mut Conn) -> Result<Marks, Problem> {
    let row = diesel::update(cell_marks::table.find(ONE)).set(cell_marks::built_to.eq(cell_marks::built_to));
    read(on_each!(tx, |c| row.returning(COLUMNS).get_result(c).await)?)
}

/// Writes down how far cells are built.
///
/// # Errors
/// When the database is away.
pub async fn keep(tx: &mut Conn, marks: &Marks) -> Result<(), Problem> {
    let Marks { last_fact, built_to, is_stale } = *marks;
    let row = (cell_marks::last_fact.eq(last_fact), cell_marks::built_to.eq(built_to), cell_marks::stale.eq(is_stale));
    send!(tx, steady(diesel::update(cell_marks::table.find(ONE)).set(row)))
}

/// Removes at most `count` cells; gives how many there were.
///
/// # Errors
/// When the database is away.
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
///
/// # Errors
/// When the database is away.
pub async fn grow_all(tx: &mut Conn, more: BTreeMap<Place, Figures>) -> Result<(), Problem> {
    let mut by_start: BTreeMap<(Axis, Level, i64), Vec<(String, Figures)>> = BTreeMap::new();
    for ((axis, level, start, key), figures) in more {
        by_start.entry((axis, level, start)).or_default().push((key, figures));
    }
    for ((axis, level, start), more) in by_start {
        let keys: Vec<String> = more.iter().map(|(key, _)| key.clone()).collect();
        let there = figures(tx, axis, Some(&keys), level, &[start]).await?;
        let mut there: HashMap<String, Figures> =
            there.into_iter().map(|(_, key, figures)| (key.to_string(), figures)).collect();
        for (key, more) in more {
            let was = there.remove(&key);
            put(tx, (axis, level, start, key), was, &more).await?;
        }
    }
    Ok(())
}

async fn put(tx: &mut Conn, place: Place, was: Option<Figures>, more: &Figures) -> Result<(), Problem> {
    let (axis, level, start, key) = place;
    let mut figures = was.clone().unwrap_or_default();
    figures.merge(more, 1);
    let this = cells::table.find((axis, level, start, key.clone()));
    let counts = cells::counts.eq(pack(&figures.counts)?);
    let durations = || pack(&figures.durations).map(|durations| cells::durations.eq(durations));
    match was {
        Some(_) if figures == Figures::default() => send!(tx, steady(diesel::delete(this))),
        // They are the most of it.
        Some(was) if was.durations == figures.durations => send!(tx, steady(diesel::update(this).set(counts))),
        Some(_) => send!(tx, steady(diesel::update(this).set((counts, durations()?)))),
        None if figures == Figures::default() => Ok(()),
        None => {
            let place = (cells::axis.eq(axis), cells::level.eq(level), cells::start.eq(start), cells::key.eq(key));
            send!(tx, diesel::insert_into(cells::table).values((place, counts, durations()?)))
        }
    }
}

/// The beginnings and keys of some cells, with what is asked of them.
pub type Found<T> = Vec<(i64, Key, T)>;

macro_rules! these {
    ($conn:ident, $axis:ident, $keys:ident, $level:ident, $starts:ident, $columns:expr) => {{
        let place = cells::axis.eq($axis).and(cells::level.eq($level)).and(one_of("cells.start", $starts));
        on_each!($conn, |c| {
            let mut query = boxed(c, cells::table.filter(place).select((cells::start, cells::key, $columns)));
            if let Some(keys) = $keys {
                query = query.filter(one_of("cells.key", keys));
            }
            query.load(c).await
        })
    }};
}

/// What the cells of an axis count that begin in these hours, all or those of these keys.
///
/// # Errors
/// When the database is away.
pub async fn counts(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    level: Level,
    starts: &[i64],
) -> Result<Found<Counts>, Problem> {
    let rows: Vec<(i64, String, Vec<u8>)> = these!(conn, axis, keys, level, starts, cells::counts)?;
    rows.into_iter().map(|(start, key, counts)| Ok((start, parse(axis, key)?, unpack(&counts)?))).collect()
}

/// As [`counts`], with all durations.
///
/// # Errors
/// When the database is away.
pub async fn figures(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    level: Level,
    starts: &[i64],
) -> Result<Found<Figures>, Problem> {
    type Row = (i64, String, (Vec<u8>, Vec<u8>));
    let rows: Vec<Row> = these!(conn, axis, keys, level, starts, (cells::counts, cells::durations))?;
    rows.into_iter()
        .map(|(start, key, (counts, durations))| {
            let durations: Durations = unpack(&durations)?;
            Ok((start, parse(axis, key)?, Figures { counts: unpack(&counts)?, durations }))
        })
        .collect()
}

/// At most `count` cells of an axis and a length behind this beginning and key, in their order.
///
/// # Errors
/// When one cannot be read, or when the database is away.
pub async fn behind(
    conn: &mut Conn,
    axis: Axis,
    level: Level,
    place: Option<(i64, String)>,
    count: i64,
) -> Result<Vec<((i64, String), Figures)>, Problem> {
    let (start, key) = place.unwrap_or((i64::MIN, String::new()));
    let next = raw::<Bool>("(start, key) > (").bind(start).sql(", ").bind(key).sql(")");
    let query = cells::table
        .filter(cells::axis.eq(axis).and(cells::level.eq(level)).and(next))
        .order((cells::start, cells::key))
        .limit(count)
        .select((cells::start, cells::key, cells::counts, cells::durations));
    let rows: Vec<(i64, String, Vec<u8>, Vec<u8>)> = on_each!(conn, |c| query.load(c).await)?;
    rows.into_iter()
        .map(|(start, key, counts, durations)| {
            Ok(((start, key), Figures { counts: unpack(&counts)?, durations: unpack(&durations)? }))
        })
        .collect()
}

fn parse(axis: Axis, key: String) -> Result<Key, Problem> {
    axis.parse(key).map_err(Problem::internal)
}
