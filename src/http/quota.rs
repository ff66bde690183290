//! A quota, kept for each of many keys by itself, in memory that does not grow: the generic cell rate algorithm. What
//! is used comes back evenly, so that nobody waits for the end of a window, and all of it can be used at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use quick_cache::sync::Cache;

use crate::kernel::Clock;

/// For how many keys a quota remembers what they have used; of more it forgets those that are rarely seen.
const KEYS: usize = 1 << 15;

/// How much may be had of something, and what each key has had of it.
pub struct Quota {
    name: &'static str,
    most: NonZeroU32,
    window: Duration,
    used: Used,
    limiter: governor::RateLimiter<u64, Used, Ticks, StateInformationMiddleware>,
}

/// What a key has left of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStanding {
    /// The quota's name.
    pub name: &'static str,
    /// How much can be had at once.
    pub left: u32,
    /// In how many seconds there is all of it again; if nothing is left, in how many there is some.
    pub wait_s: u64,
}

impl Quota {
    /// `most` at once, and as much again in each `window`. Nothing if there is no limit (0).
    pub fn new(name: &'static str, most: u32, window: Duration, clock: &Clock) -> Option<Self> {
        let most = NonZeroU32::new(most)?;
        let quota = governor::Quota::with_period(window / most.get())?.allow_burst(most);
        let used = Used(Arc::new(Cache::new(KEYS)));
        let limiter = governor::RateLimiter::new(quota, used.clone(), Ticks(clock.clone()));
        Some(Self { name, most, window, used, limiter })
    }

    /// Takes one for `key`.
    ///
    /// # Errors
    /// When nothing is left.
    pub fn take(&self, key: u64) -> Result<QuotaStanding, QuotaStanding> {
        match self.limiter.check_key(&key) {
            Ok(snapshot) => {
                let left = snapshot.remaining_burst_capacity();
                let wait = self.each() * self.most.get().saturating_sub(left);
                Ok(QuotaStanding { name: self.name, left, wait_s: up_to_s(wait) })
            }
            Err(refused) => {
                let wait = refused.wait_time_from(self.limiter.clock().0.ticks());
                Err(QuotaStanding { name: self.name, left: 0, wait_s: up_to_s(wait).max(1) })
            }
        }
    }

    /// Gives back one that was taken for `key`.
    pub fn give_back(&self, key: u64) {
        if let Some(cell) = self.used.0.get(&key) {
            let each = u64::try_from(self.each().as_nanos()).unwrap_or(u64::MAX);
            cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| Some(at.saturating_sub(each)))
                .unwrap_or_default();
        }
    }

    /// Gives back all that was taken for `key`.
    pub fn clear(&self, key: u64) {
        self.used.0.remove(&key);
    }

    /// Its name, how much there is at once, and in how many seconds it comes back.
    pub fn policy(&self) -> (&'static str, u32, u64) {
        (self.name, self.most.get(), self.window.as_secs())
    }

    fn each(&self) -> Duration {
        self.window / self.most.get()
    }
}

impl std::fmt::Debug for Quota {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Quota").field("name", &self.name).field("most", &self.most).finish_non_exhaustive()
    }
}

/// Whole seconds after which `wait` is over.
fn up_to_s(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// By key, when all that it has used will have come back (GCRA's theoretical arrival time), in nanoseconds.
#[derive(Clone)]
struct Used(Arc<Cache<u64, Arc<AtomicU64>>>);

impl StateStore for Used {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let cell = match self.0.get_or_insert_with(key, || Ok::<_, std::convert::Infallible>(Arc::default())) {
            Ok(cell) => cell,
            Err(never) => match never {},
        };
        let mut before = cell.load(Ordering::Relaxed);
        loop {
            let (decision, after) = decide((before > 0).then(|| before.into()))?;
            match cell.compare_exchange_weak(before, after.as_u64(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(decision),
                Err(other) => before = other,
            }
        }
    }
}

/// Time as a quota sees it.
struct Ticks(Clock);

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.ticks()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicI64;

    use proptest::prelude::*;

    use super::*;
    use crate::kernel::Instant;

    /// A clock at so many seconds, and its hand.
    fn clock() -> (Arc<AtomicI64>, Clock) {
        let us = Arc::new(AtomicI64::new(1_000_000_000));
        let shown = us.clone();
        (us, Clock::new(move || Instant::from_micros(shown.load(Ordering::SeqCst))))
    }

    fn quota(most: u32, window_s: u64, clock: &Clock) -> Quota {
        Quota::new("test", most, Duration::from_secs(window_s), clock).expect("a limit")
    }

    #[test]
    fn all_can_be_had_at_once_and_comes_back_evenly() {
        let (us, clock) = clock();
        let quota = quota(3, 60, &clock);
        let had = |left, wait_s| Ok(QuotaStanding { name: "test", left, wait_s });
        assert_eq!([quota.take(1), quota.take(1), quota.take(1)], [had(2, 20), had(1, 40), had(0, 60)]);
        let refused = |wait_s| Err(QuotaStanding { name: "test", left: 0, wait_s });
        assert_eq!(quota.take(1), refused(20));
        // Whoever is refused does not wait longer for it, and others do not wait at all.
        assert_eq!((quota.take(1), quota.take(2)), (refused(20), had(2, 20)));
        us.fetch_add(19_500_000, Ordering::SeqCst);
        assert_eq!(quota.take(1), refused(1));
        us.fetch_add(500_000, Ordering::SeqCst);
        assert_eq!(quota.take(1), had(0, 60));
        assert!(Quota::new("test", 0, Duration::from_secs(60), &clock).is_none());
    }

    #[test]
    fn what_is_given_back_can_be_had_again() {
        let (_, clock) = clock();
        let quota = quota(2, 60, &clock);
        let left = |key| quota.take(key).map(|standing| standing.left).ok();
        assert_eq!((left(1), left(1), left(1)), (Some(1), Some(0), None));
        quota.give_back(1);
        assert_eq!((left(1), left(1)), (Some(0), None));
        quota.clear(1);
        assert_eq!(left(1), Some(1));
        // Giving back what was never taken makes nobody richer.
        quota.give_back(2);
        quota.give_back(1);
        quota.give_back(1);
        assert_eq!((left(1), left(1), left(1)), (Some(1), Some(0), None));
    }

    #[test]
    fn many_keys_take_no_more_memory_than_few_and_the_busy_one_is_not_forgotten() {
        let (_, clock) = clock();
        let quota = quota(10, 60, &clock);
        for key in 0..10 * KEYS as u64 {
            quota.take(key).expect("the first of each");
            if key % 1000 == 0 {
                let _ = quota.take(u64::MAX);
            }
        }
        assert!(quota.used.0.len() <= KEYS);
        assert!(quota.take(u64::MAX).is_err());
    }

    proptest! {
        /// Within any window nobody gets more than what there is at once and what came back meanwhile; and whoever asks
        /// no faster than it comes back is never refused.
        #[test]
        fn no_more_than_was_promised(most in 1u32..50, window_s in 1u64..120, pauses_ms in prop::collection::vec(0i64..5_000, 1..200)) {
            let (us, clock) = clock();
            let quota = quota(most, window_s, &clock);
            let (begun, mut had) = (us.load(Ordering::SeqCst), 0u32);
            for pause in pauses_ms {
                us.fetch_add(pause * 1000, Ordering::SeqCst);
                had += u32::from(quota.take(7).is_ok());
                let passed_us = us.load(Ordering::SeqCst) - begun;
                let came_back = passed_us as f64 / (window_s as f64 * 1e6 / f64::from(most));
                prop_assert!(f64::from(had) <= f64::from(most) + came_back + 0.001);
            }
            us.fetch_add(i64::try_from(window_s).unwrap_or(0) * 1_000_000, Ordering::SeqCst);
            for _ in 0..10 {
                us.fetch_add(i64::try_from(window_s).unwrap_or(0) * 1_000_000 / i64::from(most) + 1, Ordering::SeqCst);
                prop_assert!(quota.take(7).is_ok());
            }
        }
    }
}
