//! Who may send alerts to which source.

use super::domain::AlertSource;
use crate::auth::domain::Principal;
use crate::auth::policy::{Administer, Allowed, SendAlerts};
use crate::kernel::Problem;

/// Proof that the caller may send to a source, and who they are. Queries for sources that are sent to take one.
#[derive(Debug)]
pub struct AlertSender<'a>(&'a Principal);

impl<'a> AlertSender<'a> {
    /// Whoever may send alerts.
    pub fn of(who: &'a Allowed<SendAlerts>) -> Self {
        Self(who.who())
    }

    /// `source`, if it is theirs to send to: nobody's, their own, or that of whoever administers.
    ///
    /// # Errors
    /// `not_found`, the same as for one that there is not.
    pub fn own(&self, source: AlertSource) -> Result<AlertSource, Problem> {
        let is_theirs = source.principal_id.is_none_or(|id| id == self.0.id) || self.0.may::<Administer>();
        if is_theirs { Ok(source) } else { Err(Problem::not_found()) }
    }
}
