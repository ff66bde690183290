//! Turns among callers: of what takes long, each has only so many at work or in the common line, and waits for the
//! others in a line of their own. Whoever else comes then stands behind few of them, however many they ask for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::deadline::Deadline;
use super::queue::Queue;
use crate::kernel::Problem;

/// How many searches and reports one caller has at once.
const EACH: usize = 2;

/// How many more may wait behind them.
const MOST_WAITING: usize = 128;

/// From how many callers on those are forgotten who want nothing any more.
const MANY: usize = 1_024;

/// The callers who want something now.
#[derive(Default)]
pub struct CallerTurns(Mutex<HashMap<u64, Weak<Own>>>);

/// A caller's own line.
struct Own {
    turns: Arc<Semaphore>,
    waiting: Queue,
}

/// A caller's turn, for as long as this lives.
pub struct CallerTurn {
    _own: Arc<Own>,
    _permit: OwnedSemaphorePermit,
}

impl CallerTurns {
    /// Waits until it is the turn of `caller` among all that they ask for.
    ///
    /// # Errors
    /// `unavailable` when too many of theirs wait, or one for too long.
    pub async fn take(&self, caller: u64, deadline: Deadline) -> Result<CallerTurn, Problem> {
        let own = self.own(caller);
        let turn = own.waiting.wait_for(own.turns.clone().acquire_owned(), deadline).await?;
        Ok(CallerTurn { _permit: turn.map_err(Problem::internal)?, _own: own })
    }

    fn own(&self, caller: u64) -> Arc<Own> {
        let mut callers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = callers.get(&caller).and_then(Weak::upgrade) {
            return own;
        }
        if callers.len() >= MANY {
            callers.retain(|_, own| own.strong_count() > 0);
        }
        let waiting = Queue::default();
        // Those who have their turn pass through it, too.
        waiting.resize(MOST_WAITING);
        let own = Arc::new(Own { turns: Arc::new(Semaphore::new(EACH)), waiting });
        callers.insert(caller, Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;

    use super::*;

    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn each_caller_has_so_many_turns_and_waits_for_their_own_alone() {
        let turns = CallerTurns::default();
        let first = turns.take(1, soon()).await;
        let second = turns.take(1, soon()).await;
        assert!(first.is_ok() && second.is_ok());
        let mut third = Box::pin(turns.take(1, soon()));
        assert!(third.as_mut().now_or_never().is_none(), "of one caller two are at work");
        assert!(turns.take(2, soon()).now_or_never().is_some_and(|turn| turn.is_ok()), "others have their turn");
        drop(first);
        assert!(third.await.is_ok());
        let late = turns.take(1, soon()).now_or_never();
        assert!(late.is_some_and(|turn| turn.is_ok()), "what has ended makes room");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_so_many_wait_and_who_wants_nothing_is_forgotten() {
        let turns = CallerTurns::default();
        let held = (turns.take(0, soon()).await, turns.take(0, soon()).await);
        let mut waiting: Vec<_> = (0..MOST_WAITING).map(|_| Box::pin(turns.take(0, soon()))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        assert!(turns.take(0, soon()).now_or_never().is_some_and(|turn| turn.is_err()), "one too many");
        for caller in 1..10_000 {
            assert!(turns.take(caller, soon()).await.is_ok());
        }
        assert!(turns.0.lock().expect("no panic").len() <= MANY);
        assert!(waiting.remove(0).await.is_err(), "nobody has made room in time");
        drop(held);
    }
}
