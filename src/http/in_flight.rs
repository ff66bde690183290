//! The keys for `Idempotency-Key` that are being worked on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kernel::{Code, PrincipalId, Problem};

/// The keys that this instance is working on.
#[derive(Debug, Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<(PrincipalId, String)>>>);

/// A place among the keys in work, given up when the request ends however it ends.
pub struct KeyInFlight {
    all: InFlight,
    key: (PrincipalId, String),
}

impl InFlight {
    /// Enters a key, unless it is there.
    ///
    /// # Errors
    /// `idempotency_in_progress`.
    pub(super) fn enter(&self, key: (PrincipalId, String)) -> Result<KeyInFlight, Problem> {
        if self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
            Ok(KeyInFlight { all: self.clone(), key })
        } else {
            Err(in_progress())
        }
    }
}

impl Drop for KeyInFlight {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

/// What whoever repeats a request hears while the first one is worked on.
pub(super) fn in_progress() -> Problem {
    Problem::new(Code::IdempotencyInProgress, "Wait for the first request, or send this one again in a moment.")
}
