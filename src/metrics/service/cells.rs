//! Building cells from the rows of tickets, so that reports need not read those.

use crate::db::{Conn, Db, Roots};
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::window::Window;
use crate::metrics::store::facts::{self, Ask};
use crate::tally::domain::facts::Facts;
use crate::tally::{service, store};
use crate::tickets::store::TicketCriteria;

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
    let mut builder = Builder::until(now, at_once);
    while builder.step(db).await?.is_some() {}
    if builder.built > 0 {
        service::cells::lengthen(db).await?;
    }
    Ok(builder.built)
}

/// Builds cells, one transaction after the other; [`build`] is all of them.
#[derive(Debug)]
pub struct Builder {
    now: Instant,
    at_once: usize,
    stride_s: i64,
    /// How many facts there were.
    pub built: usize,
}

impl Builder {
    /// Builds what happened until shortly before `now`, about `at_once` facts in a transaction.
    pub fn until(now: Instant, at_once: usize) -> Self {
        Self { now, at_once, stride_s: 600, built: 0 }
    }

    /// One transaction. Gives from when on there is more to do, or nothing when all is done but for [making long cells of short
    /// ones](service::cells::lengthen).
    ///
    /// # Errors
    /// As those of [`build`].
    pub async fn step(&mut self, db: &Db) -> Result<Option<Instant>, Problem> {
        if service::cells::clear(db).await? {
            return Ok(Some(Instant::EPOCH));
        }
        let (now, until, stride_s) = (self.now, self.now.plus_s(-LAG_S), self.stride_s);
        let Some(first) = due(db, until).await? else { return Ok(None) };
        let count = db.write(Roots::none(), async move |tx| build_some(tx, first, until, stride_s, now).await).await?;
        self.built += count;
        let longer = if count > self.at_once { stride_s / 2 } else { 2 * stride_s };
        self.stride_s = longer.clamp(STRIDES_S.0, STRIDES_S.1);
        Ok(Some(first))
    }
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
    if to <= marks.day || marks.is_stale {
        return Ok(0);
    }
    let window = Window { from: marks.day, to };
    let ask = Ask { sieve: TicketCriteria::open(now), window, group: None };
    let mut rows = Facts::default();
    for (fact, _) in facts::at_once(tx, &ask).await? {
        rows.add(fact, 1);
    }
    let live = until <= marks.day.plus_s(IN_STEP_S);
    service::cells::build(tx, rows, marks, to, live).await
}
