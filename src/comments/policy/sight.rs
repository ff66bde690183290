//! Which comments a caller may know of.

use crate::auth::domain::Principal;

/// The comments that a caller may know of. Queries for comments take one.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    internal_too: bool,
}

impl Sight {
    /// What `who` may see.
    pub fn of(who: &Principal) -> Self {
        Self { internal_too: who.sees_internal() }
    }

    /// Everything, for redaction.
    pub(in crate::comments) fn of_admins() -> Self {
        Self { internal_too: true }
    }

    pub(in crate::comments) fn internal_too(self) -> bool {
        self.internal_too
    }
}
