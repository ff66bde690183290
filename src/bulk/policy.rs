//! Who may do which of several things. It is asked of each for itself: what the caller may not do stops none of what
//! they may.

use super::wire::{BulkOperation, BulkUpdate};
use crate::auth::policy::{Administer, Allowed, WriteComments, WriteTickets};
use crate::comments::policy::may_add;
use crate::kernel::Problem;
use crate::tickets::policy::{may_change, may_open};

/// Passes if the caller may do this.
///
/// # Errors
/// Those of doing it alone.
pub fn may_do(who: &Allowed<WriteTickets>, operation: &BulkOperation) -> Result<(), Problem> {
    match operation {
        BulkOperation::Create(new) => may_open(who.who(), new),
        BulkOperation::Update(update) => {
            let BulkUpdate { patch, comment, .. } = update.as_ref();
            if let Some(comment) = comment {
                may_add(&who.and::<WriteComments>()?, comment).map_err(|p| p.placed(|at| format!("/comment{at}")))?;
            }
            may_change(who.who(), patch).map_err(|problem| problem.placed(|place| format!("/patch{place}")))
        }
        BulkOperation::Redact(_) => who.and::<Administer>().map(drop),
    }
}
