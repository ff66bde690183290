//! Who may see and write which comments.

pub mod sight;

pub use self::sight::Sight;
use super::wire::NewComment;
use crate::audit::domain::Visibility;
use crate::auth::domain::{Principal, Role, Scope};
use crate::auth::policy::{Allowed, WriteComments, WriteTickets};
use crate::kernel::{Code, FieldError, Problem};
use crate::tickets::policy::may_change;

/// Internal comments are written by those who may read them, and a ticket is changed with a comment by those who may
/// change it. One without a text has files.
///
/// # Errors
/// `validation_failed` for one that says nothing;
/// `forbidden` for requesters, with the fields that they may not set; `insufficient_scope` for tokens without
/// `internal:read`, or `tickets:write`.
pub fn may_add(who: &Allowed<WriteComments>, new: &NewComment) -> Result<(), Problem> {
    may_write(who.who(), new.visibility)?;
    if new.file_ids.0.is_empty() && new.body.as_str().trim().is_empty() {
        let fault = FieldError::new("/body", "too_short", "must not be blank without files").with("min", 1);
        return Err(Problem::invalid(vec![fault]));
    }
    match &new.ticket {
        Some(patch) => may_change(who.and::<WriteTickets>()?.who(), patch).map_err(within_ticket),
        None => Ok(()),
    }
}

/// What is wrong with the change of a ticket that came with a comment, at its place.
pub(super) fn within_ticket(problem: Problem) -> Problem {
    problem.placed(|place| format!("/ticket{place}"))
}

fn may_write(who: &Principal, visibility: Visibility) -> Result<(), Problem> {
    match visibility {
        Visibility::Public => Ok(()),
        Visibility::Internal if who.is_requester() => {
            let roles = [Role::Agent.as_str(), Role::Admin.as_str()];
            Err(Problem::new(Code::Forbidden, "A requester writes public comments only.")
                .with("roles", roles.as_slice()))
        }
        Visibility::Internal => who.require(Scope::InternalRead, &[Role::Agent, Role::Admin]),
    }
}
