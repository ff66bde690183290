//! What the service does by itself: closing resolved tickets, forgetting what has expired, and keeping the tally. Several
//! instances may do so at once.

use std::time::Duration;

use crate::db::Db;
use crate::http::idempotency;
use crate::kernel::{Clock, Problem};
use crate::{auth, metrics, tally, tickets};

/// The longest pause between two rounds, in seconds; shorter where tickets close sooner.
const LONGEST_PAUSE_S: i64 = 30;

/// The pause between two folds of the tally, in seconds: what is not folded yet makes reading it slower.
const FOLD_PAUSE_S: u64 = 5;

/// How many changes of the tally one transaction folds.
const FOLD_AT_ONCE: u16 = 500;

/// About how many facts one transaction builds into cells.
const BUILD_AT_ONCE: usize = 5_000;

/// What a round did, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Round {
    /// Tickets that were closed.
    pub closed: usize,
    /// Answers to requests with an `Idempotency-Key` that were forgotten.
    pub answers: usize,
    /// Refresh tokens that were forgotten.
    pub logins: usize,
}

/// One round.
///
/// # Errors
/// When the database is away: the next round does what was left.
pub async fn round(db: &Db, close_after_s: i64, clock: &Clock) -> Result<Round, Problem> {
    let now = clock.now();
    let closed = tickets::service::close_resolved(db, close_after_s, now, clock).await?;
    let answers = db.write(async move |tx| idempotency::sweep(tx, now).await).await?;
    let logins = db.write(async move |tx| auth::grants::sweep(tx, now).await).await?;
    Ok(Round { closed, answers, logins })
}

/// Runs rounds until the process ends, on a thread of its own.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(db: Db, close_after_s: i64, clock: Clock) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("janitor".into()).spawn(move || {
        let pause = Duration::from_secs(close_after_s.clamp(1, LONGEST_PAUSE_S).unsigned_abs());
        let rounds = async {
            loop {
                tokio::time::sleep(pause).await;
                match round(&db, close_after_s, &clock).await {
                    Ok(Round { closed: 0, answers: 0, logins: 0 }) => {}
                    Ok(Round { closed, answers, logins }) => tracing::info!(closed, answers, logins, "tidied up"),
                    Err(problem) => tracing::warn!(cause = %problem, "the round will be made up for"),
                }
            }
        };
        runtime.block_on(async { tokio::join!(rounds, folds(&db, &clock)) });
    })?;
    Ok(())
}

/// Folds the tally until the process ends.
async fn folds(db: &Db, clock: &Clock) {
    loop {
        tokio::time::sleep(Duration::from_secs(FOLD_PAUSE_S)).await;
        let folded = async {
            let changes = tally::service::fold(db, FOLD_AT_ONCE).await?;
            let hours = tally::service::settle(db, clock.now(), FOLD_AT_ONCE).await?;
            Ok::<_, Problem>((changes, hours, metrics::service::cells::build(db, clock.now(), BUILD_AT_ONCE).await?))
        };
        match folded.await {
            Ok((0, 0, 0)) => {}
            Ok((changes, hours, facts)) => tracing::debug!(changes, hours, facts, "folded the tally"),
            Err(problem) => tracing::warn!(cause = %problem, "the fold will be made up for"),
        }
    }
}
