//! Those who wait for a database: so many and no more. Whoever would wait behind them is better told at once, and what
//! is done for those who do wait is done in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::deadline::Deadline;
use crate::kernel::Problem;

/// How many wait unless told otherwise.
pub const MOST: usize = 1024;

/// Those who wait for one thing.
#[derive(Clone)]
pub struct Queue(Arc<QueueState>);

struct QueueState {
    present: AtomicUsize,
    most: AtomicUsize,
}

/// A place in a queue, for as long as this lives.
pub struct QueuePlace(Queue);

impl Default for Queue {
    /// Nobody waits.
    fn default() -> Self {
        Self(Arc::new(QueueState { present: AtomicUsize::new(0), most: AtomicUsize::new(MOST) }))
    }
}

impl Queue {
    /// Lets `most` wait.
    pub fn resize(&self, most: usize) {
        self.0.most.store(most, Ordering::Relaxed);
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.present.load(Ordering::Relaxed)
    }

    /// Whether whoever comes now is sent away.
    pub fn is_full(&self) -> bool {
        self.len() >= self.0.most.load(Ordering::Relaxed)
    }

    /// A place at the end.
    ///
    /// # Errors
    /// `unavailable` when too many wait.
    pub fn enter(&self) -> Result<QueuePlace, Problem> {
        let before = self.0.present.fetch_add(1, Ordering::Relaxed);
        let place = QueuePlace(self.clone());
        if before < self.0.most.load(Ordering::Relaxed) {
            Ok(place)
        } else {
            Err(Problem::overloaded("too many wait for the database"))
        }
    }

    /// What comes of `turn`, if that is before `deadline`.
    ///
    /// # Errors
    /// `unavailable` when too many wait, or for too long.
    pub async fn wait_for<T>(&self, turn: impl Future<Output = T>, deadline: Deadline) -> Result<T, Problem> {
        let place = self.enter()?;
        let outcome = deadline.end(turn).await;
        drop(place);
        outcome
    }
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        self.0.0.present.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_wait_for_so_long() {
        let (queue, soon) = (Queue::default(), Deadline::within(Duration::from_secs(5)));
        queue.resize(2);
        let places = (queue.enter(), queue.enter());
        assert!(places.0.is_ok() && places.1.is_ok() && queue.enter().is_err());
        assert_eq!(queue.len(), 2);
        drop(places);
        assert!(queue.wait_for(async { 7 }, soon).await.is_ok_and(|seven| seven == 7));
        assert!(queue.wait_for(std::future::pending::<()>(), soon).await.is_err());
        assert_eq!(queue.len(), 0);
    }
}
