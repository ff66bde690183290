//! Reads that may lag: at a replica while it answers, at the primary otherwise.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::lanes::Shares;
use super::postgres::Postgres;
use super::slow::Listener;
use crate::kernel::Problem;

/// How long a replica that did not answer is left alone before one request tries it again.
const REST: Duration = Duration::from_secs(2);

/// A standby of the primary, or anything else that shows the same data a little later.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) postgres: Arc<Postgres>,
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
        let postgres = Postgres::open(url, size, listener)?;
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

    /// Whether it may be asked.
    pub(super) fn lets_ask(&self) -> bool {
        self.serves && self.absence.lets_ask()
    }

    pub(super) async fn refusal(&self, wait: Duration) -> Option<String> {
        self.postgres.refusal(wait).await
    }

    /// Whether this is an answer. If not, the primary is to be asked, and for a while at once.
    pub(super) fn has_answered<T>(&self, outcome: &Result<T, Problem>) -> bool {
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
