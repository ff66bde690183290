//! Who may see and write which comments.

use crate::audit::domain::Visibility;
use crate::auth::domain::{Principal, Role, Scope};
use crate::kernel::{Code, Problem};

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
    pub(super) fn of_admins() -> Self {
        Self { internal_too: true }
    }

    pub(super) fn internal_too(self) -> bool {
        self.internal_too
    }
}

/// Internal comments are written by those who may read them.
///
/// # Errors
/// `forbidden` for requesters, `insufficient_scope` for tokens without `internal:read`.
pub fn may_write(who: &Principal, visibility: Visibility) -> Result<(), Problem> {
    match visibility {
        Visibility::Public => Ok(()),
        Visibility::Internal if who.is_requester() => {
            Err(Problem::new(Code::Forbidden, "A requester writes public comments only."))
        }
        Visibility::Internal => who.require(Scope::InternalRead, &[Role::Agent, Role::Admin]),
    }
}
