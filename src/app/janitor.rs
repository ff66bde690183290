//! What the service does by itself: closing resolved tickets, forgetting what has expired, keeping the tally, telling
//! of promises, letting tickets follow edits of policies and calendars, and the names of people, indexing the tickets
//! of an older version, merging the index of words, and letting files go. Several instances may do so at once.

use std::time::{Duration, Instant as Stopwatch};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use super::jobs::{Job, Rest, run_all};
use crate::audit::store::log::ChangesWritten;
use crate::db::lease::Holder;
use crate::db::signal::{FilesWaiting, SignalListener};
use crate::db::{Db, Roots};
use crate::files::service::cabinet::Cabinet;
use crate::files::service::clamd::Clamd;
use crate::files::service::{erase, probe, scan};
use crate::files::store::draft::SHARDS;
use crate::http::idempotency;
use crate::http::jobs::Jobs;
use crate::kernel::{Clock, Problem};
use crate::{alerts, audit, auth, people, sla, tally, tickets, webhooks};

/// The longest pause between two rounds, in seconds; shorter where tickets close sooner.
const LONGEST_PAUSE_S: i64 = 30;

/// How many people one transaction lets be found.
const PEOPLE_AT_ONCE: u16 = 100;

/// How many changes of the tally one transaction folds. With 50, as long as with 500 others wait on SQLite, and it is
/// slower.
const FOLD_AT_ONCE: u16 = 500;

/// The pause between two transactions that let tickets follow edits, in which others write.
const FOLLOW_BREATH: Duration = Duration::from_millis(10);

/// How many tickets tell in one transaction that somebody has another name.
const NAMES_AT_ONCE: u16 = 100;

/// How many tickets and comments one transaction indexes that wait for it.
const INDEX_AT_ONCE: u16 = 100;

/// The pause between two of these transactions, in which others write.
const INDEX_BREATH: Duration = Duration::from_millis(10);

/// The pause between two transactions that merge the index of words: nobody waits for the end of it.
const MERGE_BREATH: Duration = Duration::from_millis(20);

/// How many deliveries of webhooks, and alerts, one transaction forgets.
const FORGOTTEN_AT_ONCE: i64 = 500;

/// The pause between two of these transactions, in which others write.
const FORGET_BREATH: Duration = Duration::from_millis(20);

/// The pause when there is nothing to index or to merge.
const WORDS_PAUSE: Duration = Duration::from_secs(30);

/// The pause between two transactions that fold or tell of promises, in which others write.
const FOLD_BREATH: Duration = Duration::from_millis(5);

/// Of how many tickets one transaction writes down what time has broken or is due soon, and how many notices one tells.
/// While it waits for one of its tickets, others wait for the rest.
pub const PROMISES_AT_ONCE: u16 = 50;

/// For how long changes are gathered at least before they get their places together.
const GATHERED_FOR: Duration = Duration::from_millis(2);

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
    let answers = db.write(Roots::none(), async move |tx| idempotency::sweep(tx, now).await).await?;
    let logins = db.write(Roots::none(), async move |tx| auth::grants::sweep(tx, now).await).await?;
    Ok(Round { closed, answers, logins })
}

/// Runs all jobs until the process ends, on a thread of its own; `me` names this instance to others, and `jobs` hears
/// how they are doing.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(
    db: Db,
    cabinet: Cabinet,
    close_after_s: i64,
    clock: Clock,
    jobs: Jobs,
    me: Holder,
) -> std::io::Result<()> {
    let db = db.patient();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("janitor".into()).spawn(move || {
        let mut work: Vec<Box<dyn Job>> = vec![
            Box::new(Tidy { close_after_s }),
            Box::new(FoldTally),
            Box::new(TellPromises),
            Box::new(FollowEdits { followed: 0 }),
            Box::new(FollowNames::default()),
            Box::new(IndexPeople),
            Box::new(IndexWords { indexed: 0 }),
            Box::new(MergeWords),
            Box::new(ForgetDeliveries),
            Box::new(ForgetAlerts),
            Box::new(EraseFiles { cabinet: cabinet.clone() }),
            Box::new(SweepFiles { cabinet: cabinet.clone(), shard: 0 }),
        ];
        if let Some(clamd) = cabinet.scanner.clone() {
            work.push(Box::new(ScanFiles { cabinet: cabinet.clone(), clamd }));
        }
        // SQLite's writer gives places itself.
        if db.is_shared() {
            work.push(Box::new(SequenceChanges::default()));
            work.push(Box::new(ProbeFiles { cabinet, me }));
        }
        runtime.block_on(run_all(work, &jobs, &db, &clock, me));
    })?;
    Ok(())
}

/// Closes resolved tickets and forgets what has expired.
struct Tidy {
    close_after_s: i64,
}

impl Job for Tidy {
    fn name(&self) -> &'static str {
        "tidy"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(self.close_after_s.clamp(1, LONGEST_PAUSE_S).unsigned_abs())
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let Round { closed, answers, logins } = round(db, self.close_after_s, clock).await?;
            if closed + answers + logins > 0 {
                tracing::info!(closed, answers, logins, "tidied up");
            }
            Ok(Rest::Nothing)
        }
        .boxed_local()
    }
}

/// Gives what was committed its place in the change log.
#[derive(Default)]
struct SequenceChanges {
    /// How long the last batch took.
    took: Duration,
}

impl Job for SequenceChanges {
    fn name(&self) -> &'static str {
        "sequence_changes"
    }

    /// For what another instance has committed and not placed itself, since it has died.
    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whoever has written does it: nobody waits for an instance that was killed. Rivals do no harm.
    fn has_lease(&self) -> bool {
        false
    }

    fn waits_for(&self, db: &Db) -> Option<SignalListener> {
        Some(ChangesWritten::of(db).0.listen())
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            // What is committed in the same moment comes into one batch, and batches take half of the time at most.
            tokio::time::sleep(GATHERED_FOR.max(self.took)).await;
            let began = Stopwatch::now();
            let rest = audit::service::sequence(db, clock).await?;
            self.took = began.elapsed();
            Ok(rest.map_or(Rest::Nothing, Rest::More))
        }
        .boxed_local()
    }
}

/// Folds the tally, and builds cells.
struct FoldTally;

impl Job for FoldTally {
    fn name(&self) -> &'static str {
        "fold_tally"
    }

    /// What is not folded yet makes reading it slower.
    fn interval(&self) -> Duration {
        Duration::from_secs(5)
    }

    fn run<'a>(&'a mut self, db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let changes = tally::service::fold_some(db, FOLD_AT_ONCE).await?;
            let has_more = tally::service::build_some(db, FOLD_AT_ONCE).await? || changes > 0;
            Ok(if has_more { Rest::More(FOLD_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Writes down what time has broken and what is due soon, and tells of it, a few tickets at a time.
struct TellPromises;

impl Job for TellPromises {
    fn name(&self) -> &'static str {
        "tell_promises"
    }

    /// Two seconds after the instant it is told.
    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    /// Whoever comes first does it: others do not wait for the lease of one that was killed. Each notice is told once.
    fn has_lease(&self) -> bool {
        false
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let tickets = sla::service::tell_promises(db, clock, PROMISES_AT_ONCE).await?;
            Ok(if tickets > 0 { Rest::More(FOLD_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Lets tickets follow edits of policies and calendars, a few at a time.
struct FollowEdits {
    /// How many since there was last nothing to do.
    followed: usize,
}

impl Job for FollowEdits {
    fn name(&self) -> &'static str {
        "follow_edits"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Of several instances, one at a time does it, in each transaction: others do not wait for the lease of one that
    /// was killed.
    fn has_lease(&self) -> bool {
        false
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let more = sla::service::follow_edits(db, clock).await?;
            self.followed += more;
            if more > 0 {
                return Ok(Rest::More(FOLLOW_BREATH));
            }
            let followed = std::mem::take(&mut self.followed);
            if followed > 0 {
                tracing::info!(followed, "tickets have followed the edits of policies and calendars");
            }
            Ok(Rest::Nothing)
        }
        .boxed_local()
    }
}

/// Lets tickets tell that a person whom they name has another name, a few at a time.
#[derive(Default)]
struct FollowNames {
    walk: Option<tickets::service::RenamedWalk>,
}

impl Job for FollowNames {
    fn name(&self) -> &'static str {
        "follow_names"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn run<'a>(&'a mut self, db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let more = tickets::service::move_activity_of_renamed(db, &mut self.walk, NAMES_AT_ONCE).await?;
            Ok(if more { Rest::More(FOLLOW_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Lets people be found who were there before they could be, a few at a time.
struct IndexPeople;

impl Job for IndexPeople {
    fn name(&self) -> &'static str {
        "index_people"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run<'a>(&'a mut self, db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let more = people::service::index_waiting_people(db, PEOPLE_AT_ONCE).await?;
            Ok(if more { Rest::More(INDEX_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Indexes what waits for it, a little at a time.
struct IndexWords {
    /// How many since there was last nothing to do.
    indexed: usize,
}

impl Job for IndexWords {
    fn name(&self) -> &'static str {
        "index_words"
    }

    fn interval(&self) -> Duration {
        WORDS_PAUSE
    }

    fn run<'a>(&'a mut self, db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let more = tickets::service::index_waiting(db, INDEX_AT_ONCE).await?;
            self.indexed += more;
            if more > 0 {
                return Ok(Rest::More(INDEX_BREATH));
            }
            if std::mem::take(&mut self.indexed) > 0 {
                tracing::info!("all tickets can be searched");
            }
            Ok(Rest::Nothing)
        }
        .boxed_local()
    }
}

/// Merges parts of the index of words on SQLite that those who wrote have left, and lets erased words go from it.
struct MergeWords;

impl Job for MergeWords {
    fn name(&self) -> &'static str {
        "merge_words"
    }

    fn interval(&self) -> Duration {
        WORDS_PAUSE
    }

    fn run<'a>(&'a mut self, db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let has_more = tickets::service::tidy_words(db).await?;
            Ok(if has_more { Rest::More(MERGE_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Forgets deliveries of webhooks that are remembered no longer.
struct ForgetDeliveries;

impl Job for ForgetDeliveries {
    fn name(&self) -> &'static str {
        "forget_deliveries"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let count = webhooks::service::forget_deliveries(db, clock.now(), FORGOTTEN_AT_ONCE).await?;
            Ok(if count > 0 { Rest::More(FORGET_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Forgets alerts that are over since long.
struct ForgetAlerts;

impl Job for ForgetAlerts {
    fn name(&self) -> &'static str {
        "forget_alerts"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let count = alerts::service::forget_alerts(db, clock.now(), FORGOTTEN_AT_ONCE).await?;
            Ok(if count > 0 { Rest::More(FORGET_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Lets files go that nobody has attached, and removes the bytes of those that are to go, as soon as they are.
struct EraseFiles {
    cabinet: Cabinet,
}

impl Job for EraseFiles {
    fn name(&self) -> &'static str {
        "erase_files"
    }

    /// For what another instance was asked to erase that has died.
    fn interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    /// What one has erased is gone for the other, too.
    fn has_lease(&self) -> bool {
        false
    }

    fn waits_for(&self, db: &Db) -> Option<SignalListener> {
        Some(db.kept::<FilesWaiting>().0.listen())
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let has_more = erase::erase_some(db, &self.cabinet).await?;
            let marked = erase::mark_unattached(db, clock.now()).await?;
            Ok(if has_more || marked > 0 { Rest::More(FORGET_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Lets files be scanned, as soon as they are there.
struct ScanFiles {
    cabinet: Cabinet,
    clamd: Clamd,
}

impl Job for ScanFiles {
    fn name(&self) -> &'static str {
        "scan_files"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn waits_for(&self, db: &Db) -> Option<SignalListener> {
        Some(db.kept::<FilesWaiting>().0.listen())
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let has_more = scan::scan_some(db, &self.cabinet, &self.clamd, clock).await?;
            Ok(if has_more { Rest::More(FORGET_BREATH) } else { Rest::Nothing })
        }
        .boxed_local()
    }
}

/// Leaves a sign of this instance in its folder of files, by which `skranke check` sees whether all have the same.
struct ProbeFiles {
    cabinet: Cabinet,
    me: Holder,
}

impl Job for ProbeFiles {
    fn name(&self) -> &'static str {
        "probe_files"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn has_lease(&self) -> bool {
        false
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            probe::leave(db, &self.cabinet, self.me.0, clock.now()).await?;
            Ok(Rest::Nothing)
        }
        .boxed_local()
    }
}

/// Sweeps bytes that no file has, one part of the store after the other: all of it in a day.
struct SweepFiles {
    cabinet: Cabinet,
    /// The part that comes next.
    shard: u16,
}

impl Job for SweepFiles {
    fn name(&self) -> &'static str {
        "sweep_files"
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(24 * 3600 / u64::from(SHARDS))
    }

    /// Each instance may have a folder of its own.
    fn has_lease(&self) -> bool {
        false
    }

    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
        async {
            let swept = erase::sweep(db, &self.cabinet, self.shard, clock.now()).await?;
            self.shard = (self.shard + 1) % SHARDS;
            if swept > 0 {
                tracing::info!(swept, "bytes that no file has were swept");
            }
            Ok(Rest::Nothing)
        }
        .boxed_local()
    }
}
