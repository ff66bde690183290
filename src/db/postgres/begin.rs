//! How transactions begin.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::db::root::Roots;

/// How long a transaction that lost against another waits at most before it is done again for the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// How often that is doubled: the longest pause is a quarter of a second.
const DOUBLINGS: u32 = 7;

/// How long a write waits for what somebody has locked who has named other roots, or is no instance: then it gives its
/// connection to others and begins again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LockPatience {
    /// For the first time.
    First,
    /// For the first time, while others begin again: probably for what they wait for.
    BesideOthers,
    /// Again, as one of those few who may at once.
    Again,
}

impl LockPatience {
    const fn ms(self) -> u16 {
        match self {
            Self::First => 50,
            Self::BesideOthers => 5,
            Self::Again => 100,
        }
    }
}

/// Whether other writes may be at work meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// They may.
    Welcome,
    /// They wait, but not while this waits itself: whoever has what it needs for longer than a tenth of a second lets
    /// all others go first, and it starts again.
    None,
}

impl Company {
    /// Takes the lock before the snapshot is taken (`LOCK` takes none), so that whoever waited for it sees all that was
    /// written meanwhile. Reads are never kept waiting.
    fn begin(self, patience: LockPatience) -> Cow<'static, str> {
        match self {
            Company::Welcome => format!(
                "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN ROW SHARE MODE; SET LOCAL lock_timeout = {}",
                patience.ms()
            )
            .into(),
            Company::None => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = 100; LOCK TABLE configuration IN EXCLUSIVE MODE".into()
            }
        }
    }
}

/// How a transaction begins.
pub(super) struct Begin {
    pub(super) sql: Cow<'static, str>,
    /// Whether it takes locks that outlive the transaction.
    pub(super) locks: bool,
}

/// The words that begin a write on `roots`. Their locks are the session's, and are waited for before there is a
/// snapshot: whoever has waited sees all that was written meanwhile. In the middle of the transaction a waiting one
/// could only fail.
pub(super) fn begin(roots: &Roots, company: Company, patience: LockPatience) -> Begin {
    if roots.keys().is_empty() {
        return Begin { sql: company.begin(patience), locks: false };
    }
    let locks: String = roots.keys().iter().map(|key| format!("SELECT pg_advisory_lock({key}); ")).collect();
    Begin { sql: format!("BEGIN; {locks}COMMIT; {}", company.begin(patience)).into(), locks: true }
}

/// How long the `nth` pause is: by chance, so that those who have met do not meet again, and longer each time.
pub(super) fn pause(nth: u32) -> Duration {
    let most = u64::try_from((FIRST_PAUSE * (1 << nth.min(DOUBLINGS))).as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(RandomState::new().hash_one(nth) % most)
}
