//! Until when somebody waits: one instant for all that is done for them, so that no part of it adds to another.

use std::time::Duration;

use tokio::time::Instant;

use crate::kernel::Problem;

/// How much longer than other requests a report or a search may take, in seconds.
pub const MORE_FOR_REPORTS_S: u64 = 5;

/// How much longer a commit that has begun is waited for: without its outcome one could only say that nobody knows.
pub(super) const MORE_FOR_COMMITS: Duration = Duration::from_secs(1);

/// The instant at which somebody no longer waits. It is of the machine's clock that only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// In `wait` from now.
    pub fn within(wait: Duration) -> Self {
        Self(Instant::now() + wait)
    }

    /// So much later.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        Self(self.0 + by)
    }

    /// This one, or the one in `wait` from now if that is earlier.
    pub(super) fn or_within(self, wait: Duration) -> Self {
        self.min(Self::within(wait))
    }

    /// When a report has to be done whose turn has to come by this.
    pub(super) fn for_report(self) -> Self {
        self.later(Duration::from_secs(MORE_FOR_REPORTS_S))
    }

    /// When half of the time that is left is over, for a first attempt that a second one may have to follow.
    #[must_use]
    pub fn half(self) -> Self {
        Self::within(self.left() / 2)
    }

    /// The time that is left.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether nobody waits any more.
    pub fn is_past(self) -> bool {
        self.0 <= Instant::now()
    }

    /// What comes of `work`, if that is in time.
    ///
    /// # Errors
    /// `unavailable`; `work` is dropped.
    pub async fn end<T>(self, work: impl Future<Output = T>) -> Result<T, Problem> {
        tokio::time::timeout_at(self.0, work).await.map_err(|_| Problem::late("the database took too long"))
    }
}
