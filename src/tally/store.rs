//! Queries of the tallies.

pub mod backlog;
pub mod cells;
mod dialect;
pub mod facts;

use diesel::prelude::*;
use diesel::sql_types::Bool;

pub use self::dialect::grow_all;
use super::domain::facts::Fact;
use super::domain::{Counter, Series, Sums};
use crate::db::raw::{one_of, raw};
use crate::db::schema::{rebuilds, tallies, tally_deltas};
use crate::db::{Conn, RunQueryDsl, on_each, send};
use crate::kernel::sql::Json;
use crate::kernel::{Code, DeltaId, Problem};

/// A folded counter, and what it comes to.
type CounterRow = (String, String, i64, i64);

const COUNTER: (tallies::series, tallies::labels, tallies::quarter, tallies::n) =
    (tallies::series, tallies::labels, tallies::quarter, tallies::n);

fn counter((series, labels, quarter, n): CounterRow) -> (Counter, i64) {
    (Counter { series, labels, quarter }, n)
}

/// The one row of rebuilds.
const ONE: i32 = 1;

/// The numbers at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Totals {
    /// What every counter comes to.
    pub sums: Sums,
    /// How many changes are not folded yet.
    pub unfolded: i64,
}

/// Adds what a change counts and what happened by it, if there is anything: one row that nobody else writes.
pub async fn add(tx: &mut Conn, id: DeltaId, sums: &Sums, facts: &[Fact]) -> Result<(), Problem> {
    if sums.is_empty() && facts.is_empty() {
        return Ok(());
    }
    let facts = if facts.is_empty() { None } else { Some(facts::pack(facts)?) };
    let row = (tally_deltas::id.eq(id), tally_deltas::deltas.eq(Json(sums.to_json())), tally_deltas::facts.eq(facts));
    send!(tx, diesel::insert_into(tally_deltas::table).values(row))
}

/// How many changes are read at once where all are.
const AT_ONCE: i64 = 1_000;

/// What a change has added that is not folded yet.
#[derive(Debug, Queryable)]
pub struct Unfolded {
    /// Its id: they are in the order of the acts that they are of.
    pub id: DeltaId,
    deltas: Json,
    facts: Option<Vec<u8>>,
}

impl Unfolded {
    /// What it counts.
    ///
    /// # Errors
    /// When it is written as only a newer version can read it.
    pub fn sums(&self) -> Result<Sums, Problem> {
        Sums::from_json(&self.deltas.0).map_err(Problem::internal)
    }

    /// What happened by it.
    ///
    /// # Errors
    /// As those of [`Unfolded::sums`].
    pub fn facts(&self) -> Result<Vec<Fact>, Problem> {
        self.facts.as_deref().map_or(Ok(Vec::new()), facts::unpack)
    }
}

/// At most `count` changes that are not folded yet, the oldest first; those behind `after`.
pub async fn unfolded(conn: &mut Conn, after: Option<DeltaId>, count: i64) -> Result<Vec<Unfolded>, Problem> {
    let after = after.unwrap_or(DeltaId::from(uuid::Uuid::nil()));
    let query = tally_deltas::table.filter(tally_deltas::id.gt(after)).order(tally_deltas::id).limit(count);
    Ok(on_each!(conn, |c| query.load(c).await)?)
}

/// Reads all changes that are not folded yet, some at a time. All of it belongs into one snapshot.
#[derive(Debug, Default)]
pub struct UnfoldedReader {
    after: Option<DeltaId>,
    is_done: bool,
}

impl UnfoldedReader {
    /// Some more of them, or nothing when that was all.
    pub async fn next(&mut self, conn: &mut Conn) -> Result<Option<Vec<Unfolded>>, Problem> {
        if self.is_done {
            return Ok(None);
        }
        let some = unfolded(conn, self.after, AT_ONCE).await?;
        self.is_done = i64::try_from(some.len()).unwrap_or(0) < AT_ONCE;
        self.after = some.last().map(|change| change.id);
        Ok((!some.is_empty()).then_some(some))
    }
}

/// The numbers of `series_asked` as they are now. Of these there are only as many counters as teams, statuses and the
/// like make. All of it belongs into one snapshot.
pub async fn totals(conn: &mut Conn, series_asked: &[Series]) -> Result<Totals, Problem> {
    cells::marks(conn).await?;
    let names: Vec<String> = series_asked.iter().map(|series| series.as_str().to_owned()).collect();
    let folded = tallies::table.filter(one_of("tallies.series", &names)).select(COUNTER);
    let rows: Vec<CounterRow> = on_each!(conn, |c| folded.load(c).await)?;
    let mut totals = Totals { sums: rows.into_iter().map(counter).collect(), unfolded: 0 };
    let mut changes = UnfoldedReader::default();
    while let Some(some) = changes.next(conn).await? {
        for change in some {
            totals.unfolded += 1;
            totals.sums.merge(change.sums()?.of_these(series_asked));
        }
    }
    Ok(totals)
}

/// Removes changes.
///
/// # Errors
/// When somebody else has removed one of them at the same time, which is made up for by starting again.
pub async fn remove(tx: &mut Conn, ids: &[DeltaId]) -> Result<(), Problem> {
    let these = tally_deltas::table.filter(tally_deltas::id.eq_any(ids.to_vec()));
    let gone = on_each!(tx, |c| diesel::delete(these).execute(c).await)?;
    if gone == ids.len() { Ok(()) } else { Err(Problem::transient("others have folded the same changes")) }
}

/// Reads all counters, folded or not, a little at a time. All of it belongs into one snapshot.
#[derive(Debug, Default)]
pub struct CounterReader {
    /// The last folded counter that was read.
    folded: Option<Counter>,
    /// What comes behind all that is folded.
    changes: Option<UnfoldedReader>,
}

impl CounterReader {
    /// Some more of them, of those that are folded at most `count`, or nothing when that was all.
    pub async fn next(&mut self, conn: &mut Conn, count: i64) -> Result<Option<Sums>, Problem> {
        if self.changes.is_none() {
            let first = Counter { series: String::new(), labels: String::new(), quarter: i64::MIN };
            let Counter { series, labels, quarter } = self.folded.take().unwrap_or(first);
            let behind = raw::<Bool>("(series, labels, quarter) > (").bind(series).sql(", ").bind(labels);
            let query = tallies::table
                .filter(behind.sql(", ").bind(quarter).sql(")"))
                .order((tallies::series, tallies::labels, tallies::quarter))
                .limit(count)
                .select(COUNTER);
            let rows: Vec<CounterRow> = on_each!(conn, |c| query.load(c).await)?;
            let counters: Vec<(Counter, i64)> = rows.into_iter().map(counter).collect();
            if let Some((last, _)) = counters.last() {
                self.folded = Some(last.clone());
                return Ok(Some(counters.into_iter().collect()));
            }
        }
        let Some(some) = self.changes.get_or_insert_default().next(conn).await? else { return Ok(None) };
        let mut sums = Sums::default();
        for change in some {
            sums.merge(change.sums()?);
        }
        Ok(Some(sums))
    }
}

/// How often numbers were put right.
pub async fn recounts(conn: &mut Conn) -> Result<i64, Problem> {
    let row = rebuilds::table.find(ONE).select(rebuilds::recounts);
    Ok(on_each!(conn, |c| row.first(c).await)?)
}

/// Says that numbers are put right once more, where that was done `before` times when they were counted; gives how
/// often now.
///
/// # Errors
/// `conflict` when somebody else has done so since.
pub async fn next_recount(tx: &mut Conn, before: i64) -> Result<i64, Problem> {
    let row = rebuilds::table.filter(rebuilds::id.eq(ONE).and(rebuilds::recounts.eq(before)));
    let next = diesel::update(row).set(rebuilds::recounts.eq(before + 1));
    match on_each!(tx, |c| next.execute(c).await)? {
        1 => Ok(before + 1),
        _ => Err(Problem::new(
            Code::Conflict,
            "somebody else puts the numbers right at the same time: run it once they have ended",
        )),
    }
}

/// At which stage making all anew is, or was cut short.
pub async fn stage(conn: &mut Conn) -> Result<Option<String>, Problem> {
    let row = rebuilds::table.find(ONE).select(rebuilds::stage);
    Ok(on_each!(conn, |c| row.first(c).await)?)
}

/// Writes down at which stage that is.
pub async fn set_stage(tx: &mut Conn, stage: Option<&str>) -> Result<(), Problem> {
    let row = diesel::update(rebuilds::table.find(ONE)).set(rebuilds::stage.eq(stage.map(str::to_owned)));
    on_each!(tx, |c| row.execute(c).await)?;
    Ok(())
}
