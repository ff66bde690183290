//! Building cells from the rows of tickets, so that reports need not read those.

use crate::db::{Conn, Db, Roots};
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::window::Window;
use crate::metrics::store::facts::{self, Ask};
use crate::tally::domain::facts::Facts;
use crate::tally::{service, store};
use crate::tickets::store::Sieve;

/// How long after something has happened it is built, in seconds: more than clocks of instances can be apart.
const LAG_S: i64 = 60;
/// How far building may be behind, in seconds, and still keep months and years in step: to make those anew of days takes
/// longer the more there is in them.
const IN_STEP_S: i64 = 31 * 86_400;
/// The shortest and the longest time that one transaction builds, in seconds.
const STRIDES_S: (i64, i64) = (60, 86_400);

/// Builds cells of all that happened until shortly before `now`, about `at_once` facts in a transaction, and gives the
/// number of facts. Several instances may do so at the same time. What is not built yet makes reports slower, not wrong.
///
/// # Errors
/// When the database is away, or others build all the time; what was left is built the next time.
pub async fn build(db: &Db, now: Instant, at_once: usize) -> Result<usize, Problem> {
    let until = now.plus_s(-LAG_S);
    let mut built = 0;
    let mut stride_s = 600;
    while let Some(first) = due(db, until).await? {
        let count = db.write(Roots::none(), async move |tx| build_some(tx, first, until, stride_s, now).await).await?;
        built += count;
        let longer = if count > at_once { stride_s / 2 } else { 2 * stride_s };
        stride_s = longer.clamp(STRIDES_S.0, STRIDES_S.1);
    }
    if built > 0 {
        service::cells::lengthen(db).await?;
    }
    Ok(built)
}

/// When the first thing happened that is not built, if anything has before `until`.
async fn due(db: &Db, until: Instant) -> Result<Option<Instant>, Problem> {
    db.read(async |conn| {
        let from = store::cells::marks(conn).await?.day;
        Ok(if from < until { facts::first(conn, from).await?.filter(|first| *first < until) } else { None })
    })
    .await
}

/// Builds `stride_s` seconds from `first` on. Gives how many facts there were.
async fn build_some(
    tx: &mut Conn,
    first: Instant,
    until: Instant,
    stride_s: i64,
    now: Instant,
) -> Result<usize, Problem> {
    let marks = store::cells::hold(tx).await?;
    let to = first.plus_s(stride_s).min(until);
    if to <= marks.day {
        return Ok(0);
    }
    let window = Window { from: marks.day, to };
    let ask = Ask { sieve: Sieve::open(now), window, group: None };
    let mut rows = Facts::default();
    for (fact, _) in facts::at_once(tx, &ask).await? {
        rows.add(fact, 1);
    }
    let live = until <= marks.day.plus_s(IN_STEP_S);
    service::cells::build(tx, rows, marks, to, live).await
}
