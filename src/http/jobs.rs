//! How the jobs of this process are doing: when each last succeeded, and how often it failed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::kernel::Instant;

/// A job is late when it has not succeeded for so many of its intervals, and for [`SHORTEST_LATE`].
const LATE_AFTER: u32 = 10;

/// For how long a job may always be without success before it is late.
const SHORTEST_LATE: Duration = Duration::from_secs(600);

/// What is known of one job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobStatus {
    /// The pause between two of its runs.
    pub interval: Duration,
    /// When it last succeeded here.
    pub last_success: Option<Instant>,
    /// How many of its runs succeeded.
    pub succeeded: u64,
    /// How many failed or panicked.
    pub failed: u64,
    /// Since when it may be without success: its start, its last success, or when another instance was seen to be at
    /// it.
    sound_at: Instant,
}

/// What came of one run of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobOutcome {
    /// It did what there was to do.
    Succeeded,
    /// It did not, and what is left will be made up for.
    Failed,
    /// Another instance has the lease.
    Elsewhere,
}

/// The jobs of one process. Clones share what is known.
#[derive(Debug, Clone, Default)]
pub struct Jobs(Arc<Mutex<BTreeMap<&'static str, JobStatus>>>);

impl Jobs {
    /// Adds the job `name`, which starts now.
    pub fn enter(&self, name: &'static str, interval: Duration, now: Instant) {
        let fresh = JobStatus { interval, last_success: None, succeeded: 0, failed: 0, sound_at: now };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name, fresh);
    }

    /// Notes what came of a run of the job `name` that has ended now.
    pub fn note(&self, name: &str, outcome: JobOutcome, now: Instant) {
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(job) = jobs.get_mut(name) else { return };
        match outcome {
            JobOutcome::Succeeded => {
                job.succeeded += 1;
                (job.last_success, job.sound_at) = (Some(now), now);
            }
            JobOutcome::Failed => job.failed += 1,
            JobOutcome::Elsewhere => job.sound_at = now,
        }
    }

    /// All jobs by name, as they stand.
    pub fn standings(&self) -> BTreeMap<&'static str, JobStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of the jobs that have not succeeded for long.
    pub fn late(&self, now: Instant) -> Vec<&'static str> {
        let is_late = |job: &JobStatus| {
            let patience = SHORTEST_LATE.max(job.interval * LATE_AFTER);
            now > job.sound_at.plus_s(i64::try_from(patience.as_secs()).unwrap_or(i64::MAX))
        };
        self.standings().into_iter().filter(|(_, job)| is_late(job)).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_late_when_it_has_not_succeeded_for_long() {
        let at = |s| Instant::EPOCH.plus_s(s);
        let jobs = Jobs::default();
        jobs.enter("often", Duration::from_secs(5), at(0));
        jobs.enter("seldom", Duration::from_secs(90), at(0));
        assert!(jobs.late(at(600)).is_empty());
        assert_eq!(jobs.late(at(601)), ["often"]);
        assert_eq!(jobs.late(at(901)), ["often", "seldom"]);
        // A failure is no success; another instance that is at it is enough.
        jobs.note("often", JobOutcome::Failed, at(901));
        jobs.note("seldom", JobOutcome::Elsewhere, at(901));
        assert_eq!(jobs.late(at(901)), ["often"]);
        jobs.note("often", JobOutcome::Succeeded, at(902));
        assert!(jobs.late(at(1502)).is_empty());
        assert_eq!(jobs.late(at(1503)), ["often"]);
        let often = jobs.standings()["often"];
        assert_eq!((often.succeeded, often.failed, often.last_success), (1, 1, Some(at(902))));
        assert_eq!(jobs.standings()["seldom"].last_success, None);
    }
}
