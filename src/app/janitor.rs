//! What the service does by itself: closing resolved tickets, forgetting what has expired, keeping the tally, indexing the
//! tickets of an older version, and letting erased words go. Several instances may do so at once.

use std::time::Duration;

use crate::db::Db;
use crate::http::idempotency;
use crate::kernel::{Clock, Problem};
use crate::tally::domain::hour_of;
use crate::{auth, metrics, tally, tickets};

/// The longest pause between two rounds, in seconds; shorter where tickets close sooner.
const LONGEST_PAUSE_S: i64 = 30;

/// The pause between two folds of the tally, in seconds: what is not folded yet makes reading it slower.
const FOLD_PAUSE_S: u64 = 5;

/// How many changes of the tally one transaction folds. With 50, as long as with 500 others wait on SQLite, and it is slower.
const FOLD_AT_ONCE: u16 = 500;

/// How many tickets of an older version one transaction indexes.
const INDEX_AT_ONCE: u16 = 100;

/// The pause between two of these transactions, in which others write.
const INDEX_BREATH: Duration = Duration::from_millis(10);

/// The pause between two transactions that let erased words go from a large index: nobody waits for the end of it.
const TIDY_BREATH: Duration = Duration::from_millis(50);

/// The pause when none waits.
const INDEX_PAUSE: Duration = Duration::from_secs(30);

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
    let db = db.patient();
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
        runtime.block_on(async { tokio::join!(rounds, folds(&db, &clock), indexing(&db), forgetting(&db)) });
    })?;
    Ok(())
}

/// Indexes what waits for it, a little at a time, until the process ends.
async fn indexing(db: &Db) {
    let mut indexed = 0;
    loop {
        let pause = match tickets::service::index_waiting(db, INDEX_AT_ONCE).await {
            Ok(0) => {
                if indexed > 0 {
                    tracing::info!(indexed, "all tickets can be searched");
                }
                indexed = 0;
                INDEX_PAUSE
            }
            Ok(more) => {
                indexed += more;
                INDEX_BREATH
            }
            Err(problem) => {
                tracing::warn!(cause = %problem, "the indexing will be made up for");
                INDEX_PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Lets erased words go from a large index, until the process ends.
async fn forgetting(db: &Db) {
    loop {
        let pause = match tickets::service::tidy_words(db).await {
            Ok(true) => TIDY_BREATH,
            Ok(false) => INDEX_PAUSE,
            Err(problem) => {
                tracing::warn!(cause = %problem, "erasing words will be made up for");
                INDEX_PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Folds the tally until the process ends.
async fn folds(db: &Db, clock: &Clock) {
    let mut settled_in = None;
    loop {
        tokio::time::sleep(Duration::from_secs(FOLD_PAUSE_S)).await;
        let now = clock.now();
        let hour = Some(hour_of(now));
        let folded = async {
            let changes = tally::service::fold(db, FOLD_AT_ONCE).await?;
            // There is something to settle when another hour is past.
            let settled = if hour == settled_in { 0 } else { tally::service::settle(db, now, FOLD_AT_ONCE).await? };
            Ok::<_, Problem>((changes, settled, metrics::service::cells::build(db, now, BUILD_AT_ONCE).await?))
        };
        let folded = folded.await;
        settled_in = if folded.is_ok() { hour } else { settled_in };
        match folded {
            Ok((0, 0, 0)) => {}
            Ok((changes, hours, facts)) => tracing::debug!(changes, hours, facts, "folded the tally"),
            Err(problem) => tracing::warn!(cause = %problem, "the fold will be made up for"),
        }
    }
}
