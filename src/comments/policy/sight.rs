//! Which comments a caller may know of.

use crate::auth::domain::Principal;
use crate::kernel::requesters::NamesShown;

/// The comments that a caller may know of. Queries for comments take one.
#[derive(Debug, Clone, Copy)]
pub struct Sight {
    internal_too: bool,
    names: NamesShown,
}

impl Sight {
    /// What `who` may see.
    pub fn of(who: &Principal) -> Self {
        Self { internal_too: who.sees_internal(), names: who.names_shown() }
    }

    /// Everything, for redaction.
    pub(in crate::comments) fn of_admins() -> Self {
        Self { internal_too: true, names: NamesShown::default() }
    }

    /// How authors are named.
    pub(in crate::comments) fn names(self) -> NamesShown {
        self.names
    }

    pub(in crate::comments) fn internal_too(self) -> bool {
        self.internal_too
    }
}
