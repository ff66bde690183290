//! Queries of cells, of the facts that they are made of, and of how far they are built.

use diesel::prelude::*;

use crate::db::raw::one_of;
use crate::db::schema::{cell_marks, cell_parts, cells, fact_log, tally_deltas};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send, steady};
use crate::kernel::{Instant, Problem};
use crate::tally::domain::cells::{Axis, Key, Level, Marks, Packed};
use crate::tally::domain::facts::Facts;
use crate::tally::domain::packed::FORMAT;
use crate::tally::domain::samples::{Moves, Rows};

/// The one row of marks.
const ONE: i32 = 1;
/// What it has.
const COLUMNS: (
    cell_marks::day,
    cell_marks::month,
    cell_marks::year,
    cell_marks::parts,
    cell_marks::stale,
    cell_marks::format,
) = (cell_marks::day, cell_marks::month, cell_marks::year, cell_marks::parts, cell_marks::stale, cell_marks::format);
/// How many rows of parts one statement reads or removes.
const AT_ONCE: usize = 2_000;
/// How long a slice of the log is.
const SLICE_US: i64 = 600_000_000;

/// The slice of the log that `at` is in.
pub fn slice_of(at: Instant) -> i64 {
    at.micros().div_euclid(SLICE_US)
}

type MarksRow = (Instant, Instant, Instant, i64, bool, i32);

fn read((day, month, year, last_row, is_stale, format): MarksRow) -> Result<Marks, Problem> {
    if format > FORMAT {
        return Err(Problem::unavailable("the numbers in the database are of a newer version: run that one"));
    }
    Ok(Marks { day, month, year, last_row, is_stale })
}

/// How far cells are built. Whoever reads anything packed asks this first, in the same transaction.
///
/// # Errors
/// `unavailable` when it is packed in a format that only a newer version can read, or when the database is away.
pub async fn marks(conn: &mut Conn) -> Result<Marks, Problem> {
    let row = cell_marks::table.find(ONE).select(COLUMNS);
    read(on_each!(conn, |c| row.first(c).await)?)
}

/// How far cells are built, while nobody else builds or folds.
///
/// # Errors
/// When somebody else has done so since this transaction began, which is made up for by starting again; or when the
/// database is away.
pub async fn hold(tx: &mut Conn) -> Result<Marks, Problem> {
    let row = diesel::update(cell_marks::table.find(ONE)).set(cell_marks::parts.eq(cell_marks::parts));
    read(on_each!(tx, |c| row.returning(COLUMNS).get_result(c).await)?)
}

/// Writes down how far cells are built.
///
/// # Errors
/// When the database is away.
pub async fn keep(tx: &mut Conn, marks: &Marks) -> Result<(), Problem> {
    let Marks { day, month, year, last_row, is_stale } = *marks;
    let row = (
        cell_marks::day.eq(day),
        cell_marks::month.eq(month),
        cell_marks::year.eq(year),
        cell_marks::parts.eq(last_row),
        cell_marks::stale.eq(is_stale),
    );
    send!(tx, steady(diesel::update(cell_marks::table.find(ONE)).set(row)))
}

/// Removes at most `count` cells, as many rows of parts and slices of the log; gives how many there were.
///
/// # Errors
/// When the database is away.
pub async fn clear(tx: &mut Conn, count: u16) -> Result<usize, Problem> {
    let mut gone = 0;
    for (table, key) in [("cells", "axis, level, day, key"), ("cell_parts", "id"), ("fact_log", "slice")] {
        let some = format!("DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} LIMIT {count})");
        gone += on_each!(tx, |c| diesel::sql_query(&some).execute(c).await)?;
    }
    Ok(gone)
}

/// What changes have added that is not folded yet.
///
/// # Errors
/// When the database is away.
pub async fn unfolded(conn: &mut Conn) -> Result<Facts, Problem> {
    let query =
        tally_deltas::table.filter(tally_deltas::facts.is_not_null()).select(tally_deltas::facts.assume_not_null());
    let rows: Vec<Vec<u8>> = on_each!(conn, |c| query.load(c).await)?;
    merged(rows)
}

fn merged(rows: Vec<Vec<u8>>) -> Result<Facts, Problem> {
    let mut facts = Facts::default();
    for row in rows {
        facts.merge(Facts::unpack(&row).map_err(Problem::internal)?);
    }
    Ok(facts)
}

/// The facts of a slice of the log.
///
/// # Errors
/// When the database is away.
pub async fn logged(tx: &mut Conn, slice: i64) -> Result<Facts, Problem> {
    let query = fact_log::table.find(slice).select(fact_log::facts);
    let row: Option<Vec<u8>> = on_each!(tx, |c| query.first(c).await.optional())?;
    merged(row.into_iter().collect())
}

/// The slices of the log, packed, that have all facts from `from` on and before `to`, and a few others.
///
/// # Errors
/// When the database is away.
pub async fn slices(conn: &mut Conn, from: Instant, to: Instant) -> Result<Vec<Vec<u8>>, Problem> {
    let last = slice_of(Instant::from_micros(to.micros() - 1));
    let query = fact_log::table.filter(fact_log::slice.between(slice_of(from), last)).select(fact_log::facts);
    Ok(on_each!(conn, |c| query.load(c).await)?)
}

/// Stores the facts of a slice.
///
/// # Errors
/// When the database is away.
pub async fn put_log(tx: &mut Conn, slice: i64, facts: &Facts) -> Result<(), Problem> {
    if facts.is_empty() {
        on_each!(tx, |c| diesel::delete(fact_log::table.find(slice)).execute(c).await)?;
        return Ok(());
    }
    let packed = fact_log::facts.eq(facts.pack());
    let put = diesel::insert_into(fact_log::table)
        .values((fact_log::slice.eq(slice), packed.clone()))
        .on_conflict(fact_log::slice)
        .do_update()
        .set(packed);
    send!(tx, steady(put))
}

/// A cell, if it is there.
///
/// # Errors
/// When the database is away.
pub async fn find(tx: &mut Conn, axis: Axis, level: Level, day: i64, key: &str) -> Result<Option<Packed>, Problem> {
    let query = cells::table.find((axis, level, day, key)).select((cells::figures, cells::samples));
    let row: Option<(Vec<u8>, Vec<u8>)> = on_each!(tx, |c| query.first(c).await.optional())?;
    Ok(row.map(|(figures, samples)| Packed { figures, samples }))
}

/// Stores a cell, or removes it.
///
/// # Errors
/// When the database is away.
pub async fn put(
    tx: &mut Conn,
    axis: Axis,
    level: Level,
    day: i64,
    key: &str,
    packed: Option<Packed>,
) -> Result<(), Problem> {
    let Some(Packed { figures, samples }) = packed else {
        on_each!(tx, |c| diesel::delete(cells::table.find((axis, level, day, key))).execute(c).await)?;
        return Ok(());
    };
    let place = (cells::axis.eq(axis), cells::level.eq(level), cells::day.eq(day), cells::key.eq(key.to_owned()));
    let content = (cells::figures.eq(figures), cells::samples.eq(samples));
    let put = diesel::insert_into(cells::table)
        .values((place, content.clone()))
        .on_conflict((cells::axis, cells::level, cells::day, cells::key))
        .do_update()
        .set(content);
    send!(tx, steady(put))
}

/// The keys of an axis that have a cell of this length which begins from `from` on and before `to`.
///
/// # Errors
/// When the database is away.
pub async fn keys(tx: &mut Conn, axis: Axis, level: Level, from: i64, to: i64) -> Result<Vec<String>, Problem> {
    let these = cells::axis.eq(axis).and(cells::level.eq(level)).and(cells::day.ge(from)).and(cells::day.lt(to));
    let query = cells::table.filter(these).select(cells::key).distinct();
    Ok(on_each!(tx, |c| query.load(c).await)?)
}

/// The first day, from `from` on, on which a cell of this length begins.
///
/// # Errors
/// When the database is away.
pub async fn first(tx: &mut Conn, level: Level, from: i64) -> Result<Option<i64>, Problem> {
    let mut first: Option<i64> = None;
    for axis in Axis::ALL {
        let these = cells::axis.eq(axis).and(cells::level.eq(level)).and(cells::day.ge(from));
        let query = cells::table.filter(these).order(cells::day).select(cells::day);
        let found: Option<i64> = on_each!(tx, |c| query.first(c).await.optional())?;
        first = [first, found].into_iter().flatten().min();
    }
    Ok(first)
}

/// The days and keys of some cells, with what is asked of them.
pub type Found<T> = Vec<(i64, Key, T)>;

macro_rules! these {
    ($conn:ident, $axis:ident, $keys:ident, $level:ident, $days:ident, $columns:expr) => {{
        let place = cells::axis.eq($axis).and(cells::level.eq($level)).and(one_of("cells.day", $days));
        on_each!($conn, |c| {
            let mut query = boxed(c, cells::table.filter(place).select((cells::day, cells::key, $columns)));
            if let Some(keys) = $keys {
                query = query.filter(one_of("cells.key", keys));
            }
            query.load(c).await
        })
    }};
}

/// What the cells of an axis come to that begin on these days, all or those of these keys.
///
/// # Errors
/// When the database is away.
pub async fn figures(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    level: Level,
    days: &[i64],
) -> Result<Found<Vec<u8>>, Problem> {
    let rows: Vec<(i64, String, Vec<u8>)> = these!(conn, axis, keys, level, days, cells::figures)?;
    rows.into_iter().map(|(day, key, figures)| Ok((day, parse(axis, key)?, figures))).collect()
}

/// As [`figures`], with all durations.
///
/// # Errors
/// When the database is away.
pub async fn whole(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    level: Level,
    days: &[i64],
) -> Result<Found<Packed>, Problem> {
    type Row = (i64, String, (Vec<u8>, Vec<u8>));
    let rows: Vec<Row> = these!(conn, axis, keys, level, days, (cells::figures, cells::samples))?;
    rows.into_iter()
        .map(|(day, key, (figures, samples))| Ok((day, parse(axis, key)?, Packed { figures, samples })))
        .collect()
}

fn parse(axis: Axis, key: String) -> Result<Key, Problem> {
    axis.parse(key).map_err(Problem::internal)
}

/// Parts by their rows.
///
/// # Errors
/// When the database is away.
pub async fn parts(conn: &mut Conn, rows: &[i64]) -> Result<Rows, Problem> {
    let mut found = Rows::new();
    for some in rows.chunks(AT_ONCE) {
        let query = cell_parts::table.filter(one_of("cell_parts.id", some));
        let some: Vec<(i64, Vec<u8>)> = on_each!(conn, |c| query.load(c).await)?;
        found.extend(some);
    }
    Ok(found)
}

/// Stores and removes parts.
///
/// # Errors
/// When the database is away.
pub async fn move_parts(tx: &mut Conn, moves: Moves) -> Result<(), Problem> {
    for (id, runs) in moves.put {
        let content = cell_parts::runs.eq(runs);
        let put = diesel::insert_into(cell_parts::table)
            .values((cell_parts::id.eq(id), content.clone()))
            .on_conflict(cell_parts::id)
            .do_update()
            .set(content);
        send!(tx, steady(put))?;
    }
    for some in moves.gone.chunks(AT_ONCE) {
        let these = cell_parts::table.filter(one_of("cell_parts.id", some));
        on_each!(tx, |c| diesel::delete(these).execute(c).await)?;
    }
    Ok(())
}
