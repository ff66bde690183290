//! What runs by itself: jobs, each with a name and an interval, and a lease where several instances share the work. A
//! job that fails or panics is run again after a pause that grows, and disturbs no other.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use crate::db::lease::{self, Holder};
use crate::db::signal::SignalListener;
use crate::db::{Db, Roots};
use crate::http::jobs::{JobOutcome, Jobs};
use crate::kernel::{Clock, Instant, Problem};
use futures_util::FutureExt;
use futures_util::future::{LocalBoxFuture, join_all};

/// The shortest lease: one that is taken for a moment would be in the hands of all instances in turn.
const SHORTEST_LEASE: Duration = Duration::from_secs(15);

/// The longest pause before a job that fails is run again.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(300);

/// How long to wait before asking again for a lease that another instance has, at most.
const LEASE_PAUSE: Duration = Duration::from_secs(5);

/// What is left when a job has done a part of its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// Nothing: it is run again after its interval.
    Nothing,
    /// There is more to do: it is run again after this pause, in which others write.
    More(Duration),
}

/// Work that runs by itself. All of it may be done by several instances at once, so that a lease that ends too early,
/// while an instance stands still, does no harm.
pub trait Job {
    /// Its name in logs, in `/metrics` and for its lease; never changed.
    fn name(&self) -> &'static str;

    /// The pause after a run that has left nothing to do.
    fn interval(&self) -> Duration;

    /// Whether one instance at a time is at it, which is so by a lease. What takes turns by a lock of the database
    /// needs none, and goes on at once where an instance was killed.
    fn has_lease(&self) -> bool {
        true
    }

    /// What ends the pause before it is time, if anything does. It is also given by what runs while this does.
    fn waits_for(&self, _db: &Db) -> Option<SignalListener> {
        None
    }

    /// Does a bounded part of the work. A panic must leave `self` fit to be run again.
    fn run<'a>(&'a mut self, db: &'a Db, clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>>;
}

/// Runs all jobs until the process ends. `me` names this instance to the others.
pub async fn run_all(work: Vec<Box<dyn Job>>, jobs: &Jobs, db: &Db, clock: &Clock, me: Holder) {
    for job in &work {
        jobs.enter(job.name(), job.interval(), clock.now());
    }
    join_all(work.into_iter().map(|job| supervise(job, jobs, db, clock, me))).await;
}

/// Runs one job again and again.
async fn supervise(mut job: Box<dyn Job>, jobs: &Jobs, db: &Db, clock: &Clock, me: Holder) {
    let mut failures = 0;
    let mut pause = job.interval();
    let mut signal = job.waits_for(db);
    loop {
        // After a failure there is a pause whatever comes.
        match &mut signal {
            Some(signal) if failures == 0 => drop(tokio::time::timeout(pause, signal.heard()).await),
            _ => tokio::time::sleep(pause).await,
        }
        let outcome = match turn(job.as_mut(), db, clock, me).await {
            Ok(Some(rest)) => {
                failures = 0;
                pause = match rest {
                    Rest::Nothing => job.interval(),
                    Rest::More(breath) => breath,
                };
                JobOutcome::Succeeded
            }
            Ok(None) => {
                pause = job.interval().min(LEASE_PAUSE);
                JobOutcome::Elsewhere
            }
            Err(problem) => {
                failures += 1;
                pause = back_off(job.interval(), failures);
                let pause_s = pause.as_secs();
                tracing::warn!(job = job.name(), failures, pause_s, cause = %problem, "a job failed and will be run again");
                JobOutcome::Failed
            }
        };
        jobs.note(job.name(), outcome, clock.now());
    }
}

/// One run, if this instance has the lease.
async fn turn(job: &mut dyn Job, db: &Db, clock: &Clock, me: Holder) -> Result<Option<Rest>, Problem> {
    if db.is_shared() && job.has_lease() && !takes_lease(job, db, clock.now(), me).await? {
        return Ok(None);
    }
    let ran = AssertUnwindSafe(job.run(db, clock)).catch_unwind().await;
    ran.unwrap_or_else(|_| Err(Problem::internal("the job panicked"))).map(Some)
}

async fn takes_lease(job: &dyn Job, db: &Db, now: Instant, me: Holder) -> Result<bool, Problem> {
    let name = job.name();
    let lasts_s = job.interval().max(SHORTEST_LEASE).as_secs();
    let until = now.plus_s(i64::try_from(lasts_s).unwrap_or(i64::MAX));
    db.write(Roots::none(), async move |tx| lease::take(tx, name, me, now, until).await).await
}

/// The pause after so many failures in a row: twice as long each time.
fn back_off(interval: Duration, failures: u32) -> Duration {
    let grown = interval.max(Duration::from_secs(1)).saturating_mul(2_u32.saturating_pow(failures.min(16)));
    grown.min(LONGEST_BACK_OFF.max(interval))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;
    use crate::db::DatabaseUrl;

    /// Panics twice, fails once, and then does what it should; counts its runs.
    struct Stumbling(Rc<RefCell<u32>>);

    impl Job for Stumbling {
        fn name(&self) -> &'static str {
            "stumbling"
        }

        fn interval(&self) -> Duration {
            Duration::from_secs(10)
        }

        fn run<'a>(&'a mut self, _db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
            async move {
                *self.0.borrow_mut() += 1;
                let runs = *self.0.borrow();
                match runs {
                    1 | 2 => panic!("it stumbles"),
                    3 => Err(Problem::unavailable("it fails")),
                    _ => Ok(Rest::Nothing),
                }
            }
            .boxed_local()
        }
    }

    /// Always does what it should.
    struct AlwaysWell;

    impl Job for AlwaysWell {
        fn name(&self) -> &'static str {
            "steady"
        }

        fn interval(&self) -> Duration {
            Duration::from_secs(5)
        }

        fn run<'a>(&'a mut self, _db: &'a Db, _clock: &'a Clock) -> LocalBoxFuture<'a, Result<Rest, Problem>> {
            std::future::ready(Ok(Rest::Nothing)).boxed_local()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_that_panics_or_fails_is_run_again_and_disturbs_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = DatabaseUrl::Sqlite(folder.path().join("skranke.db"));
        let db = Db::open(&url, 4, Duration::from_secs(5)).expect("a database");
        let began = tokio::time::Instant::now();
        let clock = Clock::new(move || {
            let passed_s = i64::try_from(began.elapsed().as_secs()).expect("some seconds");
            Instant::EPOCH.plus_s(passed_s)
        });
        let (runs, jobs) = (Rc::new(RefCell::new(0)), Jobs::default());
        let work: Vec<Box<dyn Job>> = vec![Box::new(Stumbling(runs.clone())), Box::new(AlwaysWell)];
        let all = run_all(work, &jobs, &db, &clock, Holder::from(uuid::Uuid::nil()));
        // Runs at 10 s, after 20 s more, after 40 s more, and after 80 s more.
        let ended = tokio::time::timeout(Duration::from_secs(155), all).await;
        assert!(ended.is_err(), "jobs never end");
        assert_eq!(*runs.borrow(), 4);
        let standings = jobs.standings();
        let stumbling = standings["stumbling"];
        assert_eq!((stumbling.failed, stumbling.succeeded), (3, 1));
        assert_eq!(stumbling.last_success, Some(Instant::EPOCH.plus_s(150)));
        assert_eq!((standings["steady"].failed, standings["steady"].succeeded), (0, 31));
    }

    #[test]
    fn pauses_after_failures_grow_to_an_end() {
        let five = Duration::from_secs(5);
        let pauses: Vec<u64> = (1..8).map(|failures| back_off(five, failures).as_secs()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(back_off(five, u32::MAX), LONGEST_BACK_OFF);
        // What is done once an hour is not tried more often because it fails.
        assert_eq!(back_off(Duration::from_secs(3600), 1), Duration::from_secs(3600));
    }
}
