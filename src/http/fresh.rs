//! Who must see what they have written: reads of theirs do not go to a replica.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use actix_web::http::header::{CACHE_CONTROL, HeaderMap};

use crate::kernel::{Instant, PrincipalId};

/// How long after a write of theirs callers read from the primary, in seconds.
pub const OWN_WRITES_S: i64 = 10;

/// From how many callers on those are forgotten who wrote too long ago.
const MANY: usize = 1_000;

/// Who has written through this instance lately.
#[derive(Debug, Clone, Default)]
pub struct Writers(Arc<Mutex<HashMap<PrincipalId, Instant>>>);

impl Writers {
    /// Notes that `who` writes at `now`.
    pub fn note(&self, who: PrincipalId, now: Instant) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY {
            all.retain(|_, at| is_recent(*at, now));
        }
        all.insert(who, now);
    }

    /// Whether `who` has written so lately that a replica may not show it yet.
    pub fn has(&self, who: PrincipalId, now: Instant) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&who).is_some_and(|at| is_recent(*at, now))
    }
}

fn is_recent(at: Instant, now: Instant) -> bool {
    now < at.plus_s(OWN_WRITES_S)
}

/// Whether the request takes nothing that is not known to be current: `Cache-Control: no-cache` or `max-age=0` (RFC
/// 9111, 5.2.1).
pub fn is_demanded(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CACHE_CONTROL).filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|directive| directive.eq_ignore_ascii_case("no-cache") || directive.eq_ignore_ascii_case("max-age=0"))
}
