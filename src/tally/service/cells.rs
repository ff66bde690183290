//! Keeping cells: facts are added to them as they are built and as changes are folded, and long cells are made of short
//! ones.

use crate::db::{Conn, Db, Roots};
use crate::kernel::{Instant, Problem};
use crate::tally::domain::cells::{Axis, Cell, Heap, Level, Marks, sort_into_cells, start_of};
use crate::tally::domain::facts::Facts;
use crate::tally::domain::samples::Rows;
use crate::tally::store::cells as store;

/// How many cells one transaction removes.
const CLEAR_AT_ONCE: u16 = 200;

/// Adds what changes have added and taken away, as far as cells are built: where they are not, building will see it.
///
/// # Errors
/// When somebody else builds or folds at the same time, which is made up for by starting again; or when the database is
/// away.
pub(super) async fn fold(tx: &mut Conn, facts: Facts) -> Result<(), Problem> {
    if facts.is_empty() {
        return Ok(());
    }
    // Also when nothing is added: who builds meanwhile counts on what is not folded.
    let mut marks = store::hold(tx).await?;
    add(tx, &facts, &mut marks).await?;
    store::keep(tx, &marks).await
}

/// Builds on until `until`: `facts` are all that the rows of tickets tell of what happened from where building has come
/// to until there. `live` keeps long cells in step with short ones, one fact after the other; otherwise [`lengthen`] makes
/// them of those, which is faster where much is built.
///
/// # Errors
/// As those of [`fold`].
pub async fn build(
    tx: &mut Conn,
    facts: Facts,
    mut marks: Marks,
    until: Instant,
    live: bool,
) -> Result<usize, Problem> {
    let from = marks.day;
    let count = facts.len();
    let mut built = facts;
    // What is not folded yet will be, so that it must not be here yet: also where the rows tell of nothing any more.
    let unfolded = store::unfolded(tx).await?.only(|fact| from <= fact.at && fact.at < until);
    unfolded.iter().for_each(|(fact, n)| built.add(*fact, -n));
    let built = built.settled();
    for level in [Level::Month, Level::Year] {
        if marks.until(level) == from && (live || built.is_empty()) {
            marks.set(level, until);
        }
    }
    marks.set(Level::Day, until);
    add(tx, &built, &mut marks).await?;
    store::keep(tx, &marks).await?;
    Ok(count)
}

/// Lets all cells be built anew, from the first fact on: until then reports read the rows of tickets.
///
/// # Errors
/// When the database is away, or others build or fold all the time.
pub async fn begin_anew(tx: &mut Conn) -> Result<(), Problem> {
    let marks = store::hold(tx).await?;
    let (day, month, year) = (Instant::EPOCH, Instant::EPOCH, Instant::EPOCH);
    store::keep(tx, &Marks { day, month, year, is_stale: true, ..marks }).await
}

/// Removes some of what [`begin_anew`] has left, if there is any; gives whether there is more.
///
/// # Errors
/// As those of [`begin_anew`].
pub async fn clear(db: &Db) -> Result<bool, Problem> {
    if !db.read(async |conn| store::marks(conn).await).await?.is_stale {
        return Ok(false);
    }
    db.write(Roots::none(), async |tx| {
        let marks = store::hold(tx).await?;
        let is_stale = marks.is_stale && store::clear(tx, CLEAR_AT_ONCE).await? > 0;
        store::keep(tx, &Marks { is_stale, ..marks }).await?;
        Ok(is_stale)
    })
    .await
}

/// Adds facts to the log and to all cells that are built where they belong.
async fn add(tx: &mut Conn, facts: &Facts, marks: &mut Marks) -> Result<(), Problem> {
    let facts = facts.clone().only(|fact| fact.at < marks.day);
    let mut slices: Vec<(i64, Facts)> = Vec::new();
    for (fact, n) in facts.iter() {
        let slice = store::slice_of(fact.at);
        match slices.last_mut() {
            Some((last, facts)) if *last == slice => facts.add(*fact, n),
            _ => {
                let mut facts = Facts::default();
                facts.add(*fact, n);
                slices.push((slice, facts));
            }
        }
    }
    for (slice, more) in slices {
        let mut there = store::logged(tx, slice).await?;
        there.merge(more);
        store::put_log(tx, slice, &there.settled()).await?;
    }
    for level in Level::ALL {
        for ((axis, day, key), heap) in sort_into_cells(&facts, *level, marks) {
            let key = key.to_string();
            let cell = match store::find(tx, axis, *level, day, &key).await? {
                Some(packed) => Cell::unpack(&packed).map_err(Problem::internal)?,
                None => Cell::default(),
            };
            change(tx, (axis, *level, day, &key), cell, heap, marks).await?;
        }
    }
    Ok(())
}

/// Adds a heap to a cell, and stores it.
async fn change(
    tx: &mut Conn,
    (axis, level, day, key): (Axis, Level, i64, &str),
    mut cell: Cell,
    heap: Heap,
    marks: &mut Marks,
) -> Result<(), Problem> {
    let plan = cell.plan(heap);
    let rows = store::parts(tx, &plan.rows).await?;
    let moves = cell.edit(plan, &rows, level, &mut marks.last_row).map_err(Problem::internal)?;
    store::move_parts(tx, moves).await?;
    store::put(tx, axis, level, day, key, cell.pack().map_err(Problem::internal)?).await
}

/// Makes long cells of short ones where they lag behind, one month or year in a transaction; gives how many it made.
///
/// # Errors
/// When the database is away, or others build or fold all the time; what was left is made up for the next time.
pub async fn lengthen(db: &Db) -> Result<usize, Problem> {
    let mut made = 0;
    for level in [Level::Month, Level::Year] {
        loop {
            let behind = db.read(async |conn| store::marks(conn).await).await?;
            if behind.until(level) >= behind.day {
                break;
            }
            db.write(Roots::none(), async move |tx| lengthen_one(tx, level).await).await?;
            made += 1;
        }
    }
    Ok(made)
}

async fn lengthen_one(tx: &mut Conn, level: Level) -> Result<(), Problem> {
    let mut marks = store::hold(tx).await?;
    let Some(shorter) = level.shorter().filter(|_| marks.until(level) < marks.day) else { return Ok(()) };
    let day = level.floor(marks.until(level));
    let next = level.next(day);
    for axis in Axis::ALL.iter().copied() {
        // What was there of it is made anew.
        for key in store::keys(tx, axis, level, day, day + 1).await? {
            if let Some(packed) = store::find(tx, axis, level, day, &key).await? {
                let gone = Cell::unpack(&packed).map_err(Problem::internal)?.rows();
                store::move_parts(tx, crate::tally::domain::samples::Moves { put: Vec::new(), gone }).await?;
                store::put(tx, axis, level, day, &key, None).await?;
            }
        }
        for key in store::keys(tx, axis, shorter, day, next).await? {
            let mut heap = Heap::default();
            let days: Vec<i64> = std::iter::successors(Some(day), |day| Some(shorter.next(*day)))
                .take_while(|day| *day < next)
                .collect();
            for (_, _, packed) in store::whole(tx, axis, Some(std::slice::from_ref(&key)), shorter, &days).await? {
                let cell = Cell::unpack(&packed).map_err(Problem::internal)?;
                let rows: Rows = store::parts(tx, &cell.rows()).await?;
                heap.pour(&cell, &rows).map_err(Problem::internal)?;
            }
            change(tx, (axis, level, day, &key), Cell::default(), heap, &mut marks).await?;
        }
    }
    // Where there is nothing, nothing has to be made.
    let first =
        store::first(tx, shorter, next).await?.map_or(Instant::NEVER, |day| start_of(level.floor(start_of(day))));
    marks.set(level, start_of(next).max(first).min(marks.until(shorter)));
    store::keep(tx, &marks).await
}
