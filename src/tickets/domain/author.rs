//! Who speaks on a ticket, as its readers are told. Pure.

use super::Ticket;
use crate::auth::domain::Role;
use crate::kernel::PrincipalId;
use crate::kernel::words::words;

words! {
    /// What the author of a comment is on its ticket.
    pub enum AuthorKind {
        /// The person who has the problem, whatever else they are, or another one who does not work on tickets.
        Requester = "requester",
        /// Whoever works on tickets: an agent or an admin.
        Agent = "agent",
        /// A script or a monitor.
        ServiceAccount = "service_account",
    }
}

impl AuthorKind {
    /// What the principal `id` with this role is on `ticket`; service accounts have no role.
    pub fn on(ticket: &Ticket, id: PrincipalId, role: Option<Role>) -> Self {
        match role {
            None => Self::ServiceAccount,
            Some(_) if ticket.requester_id == Some(id) => Self::Requester,
            Some(Role::Requester) => Self::Requester,
            Some(Role::Agent | Role::Admin) => Self::Agent,
        }
    }
}
