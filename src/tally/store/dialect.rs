//! What is said differently to each engine: how many counters grow at once.

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::super::domain::{Counter, Sums};
use crate::db::schema::tallies;
use crate::db::{Conn, EngineConn, RunQueryDsl, on_each, steady};
use crate::kernel::Problem;

/// Adds `n` to the folded `counter`. One that comes to 0 is removed.
///
/// # Errors
/// When somebody else changes it at the same time, which is made up for by starting again.
async fn grow(tx: &mut Conn, counter: &Counter, n: i64) -> Result<(), Problem> {
    let row = (
        tallies::series.eq(&counter.series),
        tallies::labels.eq(&counter.labels),
        tallies::quarter.eq(counter.quarter),
        tallies::n.eq(n),
    );
    let grown = diesel::insert_into(tallies::table)
        .values(row)
        .on_conflict((tallies::series, tallies::labels, tallies::quarter))
        .do_update()
        .set(tallies::n.eq(tallies::n + n))
        .returning(tallies::n);
    let now: i64 = on_each!(tx, |c| steady(grown).get_result(c).await)?;
    if now == 0 {
        let this = tallies::table.find((&counter.series, &counter.labels, counter.quarter));
        on_each!(tx, |c| diesel::delete(this).execute(c).await)?;
    }
    Ok(())
}

/// How many counters one statement grows.
const GROW_AT_ONCE: usize = 1_000;

/// As [`grow`] for each counter, in their order; PostgreSQL is spared the way there and back for each.
///
/// # Errors
/// As those of [`grow`].
pub async fn grow_all(tx: &mut Conn, sums: &Sums) -> Result<(), Problem> {
    let counters: Vec<(&Counter, i64)> = sums.iter().collect();
    for some in counters.chunks(GROW_AT_ONCE) {
        let EngineConn::Postgres(channel) = &mut tx.line else {
            for (counter, n) in some {
                grow(tx, counter, *n).await?;
            }
            continue;
        };
        let row = |(counter, n): &(&Counter, i64)| {
            (
                tallies::series.eq(counter.series.clone()),
                tallies::labels.eq(counter.labels.clone()),
                tallies::quarter.eq(counter.quarter),
                tallies::n.eq(*n),
            )
        };
        let now: Vec<(String, String, i64, i64)> = diesel::insert_into(tallies::table)
            .values(some.iter().map(row).collect::<Vec<_>>())
            .on_conflict((tallies::series, tallies::labels, tallies::quarter))
            .do_update()
            .set(tallies::n.eq(tallies::n + excluded(tallies::n)))
            .returning(tallies::all_columns)
            .get_results(&mut channel.backend().session())
            .await?;
        for (series, labels, quarter, _) in now.iter().filter(|(.., n)| *n == 0) {
            diesel::delete(tallies::table.find((series, labels, *quarter)))
                .execute(&mut channel.backend().session())
                .await?;
        }
    }
    Ok(())
}
