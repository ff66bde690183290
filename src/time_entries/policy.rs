//! Who may take work off a ticket again.

use super::domain::TimeEntry;
use crate::auth::domain::{Principal, Role, Scope};
use crate::kernel::{Code, Problem};

/// Who entered it, whose work it is, and admins.
///
/// # Errors
/// `forbidden`.
pub fn may_delete(who: &Principal, entry: &TimeEntry) -> Result<(), Problem> {
    let own = [entry.created_by_id, entry.agent_id].contains(&who.id);
    if own || who.require(Scope::Admin, &[Role::Admin]).is_ok() {
        return Ok(());
    }
    let detail = "Only who added a time entry, whose work it is, or an admin may delete it.";
    Err(Problem::new(Code::Forbidden, detail).with("roles", [Role::Admin.as_str()].as_slice()))
}
