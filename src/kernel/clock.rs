//! Where "now" and new ids come from. They are values that are passed in, so that tests own them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use uuid::{ContextV7, Uuid};

use super::Instant;

/// The source of the present moment and of ids made from it.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Instant + Send + Sync>,
    ticks: Arc<dyn Fn() -> Duration + Send + Sync>,
    sequence: Arc<Mutex<ContextV7>>,
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        let begun = std::time::Instant::now();
        #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
        let clock = Self::new(|| jiff::Timestamp::now().into());
        Self { ticks: Arc::new(move || begun.elapsed()), ..clock }
    }

    /// A clock that shows what `now` says; tests use it to move time.
    pub fn new(now: impl Fn() -> Instant + Send + Sync + 'static) -> Self {
        let now = Arc::new(now);
        let shown = now.clone();
        let ticks = Arc::new(move || Duration::from_micros(shown().micros().max(0).unsigned_abs()));
        Self { now, ticks, sequence: Arc::new(Mutex::new(ContextV7::new())) }
    }

    /// The present moment.
    pub fn now(&self) -> Instant {
        (self.now)()
    }

    /// The time since some moment in the past. On the machine's clock it only grows, also when that is set back.
    pub fn ticks(&self) -> Duration {
        (self.ticks)()
    }

    /// A new UUIDv7 of `at`, larger than all that this clock made before within the same millisecond.
    pub fn id<T: From<Uuid>>(&self, at: Instant) -> T {
        let us = at.micros().max(0).unsigned_abs();
        let sequence = self.sequence.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let nanos = u32::try_from(us % 1_000_000 * 1_000).unwrap_or(0);
        #[expect(clippy::disallowed_methods, reason = "the one place where ids are made")]
        Uuid::new_v7(uuid::Timestamp::from_unix(&*sequence, us / 1_000_000, nanos)).into()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}
