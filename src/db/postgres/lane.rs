//! Connections that several requests have in turn, and such that they have together.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use deadpool::managed::Pool;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::backend::{Backend, Maker};
use super::begin::LockPatience;
use super::channel::{ChannelTurn, PgChannel};
use crate::db::deadline::Deadline;
use crate::db::queue::Queue;
use crate::kernel::Problem;

/// Connections that are each had by one at a time.
pub(super) struct Lane {
    pub(super) pool: Pool<Maker>,
    /// Those who wait for one.
    pub(super) waiting: Queue,
    /// How many of them may be had at once for what may take its time, so that some are left to others.
    pub(super) reports: Semaphore,
    /// How many who were locked out begin again.
    locked_out: AtomicUsize,
    /// How many of those may have a connection at once, so that some are left to others.
    again: Semaphore,
    /// What begins a report. What runs by itself has no limits of requests.
    pub(super) begin_report: Cow<'static, str>,
}

/// Begins a transaction that cannot write and sees one state throughout.
pub(super) const BEGIN_REPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Lane {
    pub(super) fn open(
        maker: Maker,
        most: usize,
        begin_report: Cow<'static, str>,
        lanes: &Mutex<Vec<Weak<Self>>>,
    ) -> Result<Arc<Self>, String> {
        // Whoever waits for one has a deadline.
        let pool = Pool::builder(maker).max_size(most).build().map_err(|e| e.to_string())?;
        let (reports, again) = (Semaphore::new(most.div_ceil(2)), Semaphore::new((most / 2).max(1)));
        let locked_out = AtomicUsize::default();
        let lane = Arc::new(Self { pool, waiting: Queue::default(), reports, locked_out, again, begin_report });
        lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        Ok(lane)
    }

    /// How long whoever writes for the first time waits for a lock.
    pub(super) fn first_patience(&self) -> LockPatience {
        match self.locked_out.load(Ordering::Relaxed) {
            0 => LockPatience::First,
            _ => LockPatience::BesideOthers,
        }
    }

    /// Counts somebody who was locked out and begins again, for as long as this lives.
    pub(super) fn lock_out(&self) -> LockedOut<'_> {
        self.locked_out.fetch_add(1, Ordering::Relaxed);
        LockedOut(self)
    }

    /// A connection of its own for whoever comes.
    pub(super) async fn channel(&self, deadline: Deadline) -> Result<PgChannel, Problem> {
        let object = self.waiting.wait_for(self.pool.get(), deadline).await?;
        let object = object.map_err(|e| Problem::unavailable(e.to_string()))?;
        Ok(PgChannel {
            backend: Arc::clone(&object),
            turn: ChannelTurn::Alone(Some(object)),
            posted: Vec::new(),
            locked: false,
        })
    }
}

/// Somebody who was locked out and begins again.
pub(super) struct LockedOut<'a>(&'a Lane);

impl LockedOut<'_> {
    /// Their turn to have a connection again.
    pub(super) async fn turn(&self, deadline: Deadline) -> Result<SemaphorePermit<'_>, Problem> {
        deadline.end(self.0.again.acquire()).await?.map_err(Problem::internal)
    }
}

impl Drop for LockedOut<'_> {
    fn drop(&mut self) {
        self.0.locked_out.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that many read on at once, opened by whoever reads first.
pub(super) struct Track {
    maker: Maker,
    line: tokio::sync::Mutex<Option<Arc<Backend>>>,
}

impl Track {
    pub(super) fn some(maker: impl Fn() -> Maker, count: usize, all: &Mutex<Vec<Weak<[Self]>>>) -> Arc<[Self]> {
        let tracks: Arc<[Self]> =
            (0..count).map(|_| Self { maker: maker(), line: tokio::sync::Mutex::default() }).collect();
        all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&tracks));
        tracks
    }

    /// How many requests are on it, if it is open.
    pub(super) fn open_load(&self) -> Option<usize> {
        self.line.try_lock().ok()?.as_ref().map(|backend| Arc::strong_count(backend) - 1)
    }

    /// How many requests are on it; most, while it is being opened.
    pub(super) fn load(&self) -> usize {
        self.line.try_lock().map_or(usize::MAX, |line| line.as_ref().map_or(0, |b| Arc::strong_count(b) - 1))
    }

    pub(super) async fn open(&self) -> Result<Arc<Backend>, Problem> {
        let mut line = self.line.lock().await;
        match &*line {
            Some(backend) if !backend.is_gone() => Ok(backend.clone()),
            _ => {
                // What is left of the last one goes first.
                *line = None;
                let backend = self.maker.make().await.map_err(|e| Problem::unavailable(e.to_string()))?;
                Ok(line.insert(backend).clone())
            }
        }
    }
}
