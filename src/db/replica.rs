//! Reads that may lag: at a replica while it answers, at the primary otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lanes::Shares;
use super::{Conn, Db, Listener, postgres};
use crate::kernel::Problem;

/// How long a replica that did not answer is left alone before one request tries it again.
const REST: Duration = Duration::from_secs(2);

/// A standby of the primary, or anything else that shows the same data a little later.
#[derive(Clone)]
pub(super) struct Replica {
    postgres: Arc<postgres::Postgres>,
    absence: Arc<Absence>,
    /// Whether it has connections for those who serve requests; nobody else asks it.
    serves: bool,
}

/// Until when the replica is left alone.
struct Absence {
    begun: Instant,
    /// Milliseconds since `begun`; 0 while it answers.
    until_ms: AtomicU64,
}

impl Absence {
    fn ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether to ask it; where it was away, one request at a time finds out whether it is back.
    fn lets_ask(&self) -> bool {
        let (until, now) = (self.until_ms.load(Ordering::Relaxed), self.ms());
        until == 0 || now >= until && self.begin(until, now)
    }

    fn begin(&self, before: u64, now: u64) -> bool {
        let until = now + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX);
        self.until_ms.compare_exchange(before, until, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

impl Replica {
    pub(super) fn open(url: &str, size: usize, listener: Option<Listener>) -> Result<Self, String> {
        let absence = Absence { begun: Instant::now(), until_ms: AtomicU64::new(0) };
        let postgres = postgres::Postgres::open(url, size, listener)?;
        Ok(Self { postgres, absence: Arc::new(absence), serves: false })
    }

    /// With so many connections for so many threads.
    pub(super) fn serving(&self, threads: usize, connections: usize, wait: Duration) -> Result<Self, String> {
        let shares = Shares { writes: 0, points: 0, lists: connections, replica: 0 };
        Ok(Self { postgres: self.postgres.serving(threads, shares, wait)?, ..self.clone() })
    }

    pub(super) fn local(&self) -> Result<Self, String> {
        Ok(Self { postgres: self.postgres.local()?, serves: true, ..self.clone() })
    }

    pub(super) async fn refusal(&self, wait: Duration) -> Option<String> {
        self.postgres.refusal(wait).await
    }

    /// Whether this is an answer. If not, the primary is to be asked, and for a while at once.
    fn has_answered<T>(&self, outcome: &Result<T, Problem>) -> bool {
        let problem = outcome.as_ref().err().filter(|problem| problem.code().status() >= 500);
        match problem {
            // It takes in a change that this read stood in the way of; nothing is wrong with it.
            Some(problem) if problem.is_transient() => {}
            Some(problem) => {
                if self.absence.begin(0, self.absence.ms()) {
                    tracing::warn!(cause = %problem, "the replica is away; the primary is read instead");
                }
            }
            None => {
                if self.absence.until_ms.swap(0, Ordering::Relaxed) != 0 {
                    tracing::info!("the replica is back");
                }
            }
        }
        problem.is_none()
    }
}

/// Reads at the replica, or at the primary where there is none, it is away, or it cannot say.
pub struct Lagging {
    db: Db,
    replica: Option<Replica>,
}

impl Lagging {
    pub(super) fn new(db: Db, replica: Option<Replica>) -> Self {
        Self { db, replica: replica.filter(|replica| replica.serves && replica.absence.lets_ask()) }
    }

    /// As [`Db::list`].
    ///
    /// # Errors
    /// As those of [`Db::list`].
    pub async fn list<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        if let Some(replica) = &self.replica {
            // One that does not answer must leave time for the primary.
            let outcome = replica.postgres.list(&work, self.db.deadline().half()).await;
            if replica.has_answered(&outcome) {
                return outcome;
            }
        }
        self.db.list(work).await
    }

    /// As [`Db::snapshot`].
    ///
    /// # Errors
    /// As those of [`Db::snapshot`].
    pub async fn snapshot<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        if let Some(replica) = &self.replica {
            let _turn = self.db.turn().await?;
            let outcome = replica.postgres.snapshot(&work, self.db.deadline().half()).await;
            if replica.has_answered(&outcome) {
                return outcome;
            }
        }
        self.db.snapshot(work).await
    }
}
