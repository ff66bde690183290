//! Which tickets a caller may reach, and which fields they may write.

use crate::auth::domain::{Principal, Scope};
use crate::auth::policy::{
    Administer, Allowed, ReadComments, ReadMetrics, ReadTickets, ReadWork, WriteComments, WriteTickets, WriteWork,
};
use crate::kernel::{Code, PrincipalId, Problem};

use super::domain::Status;
use super::domain::search::Part;
use super::wire::{NewTicket, TicketPatch};

/// The tickets that a caller may know of. Queries for tickets take one, and only a permission gives one: nobody reads a
/// ticket without having passed the check.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    only_of: Option<PrincipalId>,
    searched: Option<Part>,
}

impl Reach {
    fn of(who: &Principal) -> Self {
        let searched = if !who.scopes.contains(Scope::TicketsRead) {
            None
        } else if !who.scopes.contains(Scope::CommentsRead) {
            Some(Part::Body)
        } else if who.sees_internal() {
            Some(Part::Internal)
        } else {
            Some(Part::Comments)
        };
        Self { only_of: who.is_requester().then_some(who.id), searched }
    }

    /// The requester whose tickets alone may be seen; nobody when all may.
    pub(super) fn only_of(&self) -> Option<PrincipalId> {
        self.only_of
    }

    /// How far a search looks into tickets: never at what its hits would tell the caller more of than they may read.
    ///
    /// # Errors
    /// `insufficient_scope` when the token reads no tickets: one that is for metrics alone, say.
    pub(super) fn searched(&self) -> Result<Part, Problem> {
        self.searched.ok_or_else(|| {
            let scope = Scope::TicketsRead;
            let detail = format!("A search needs a token with the scope {scope}.");
            Problem::new(Code::InsufficientScope, detail).with("scope", scope.as_str())
        })
    }
}

/// A permission that reaches tickets.
pub trait ReachesTickets {
    /// The tickets that the caller may know of.
    fn reach(&self) -> Reach;
}

macro_rules! reaches_tickets {
    ($($permission:ty),*) => {$(
        impl ReachesTickets for Allowed<$permission> {
            fn reach(&self) -> Reach {
                Reach::of(self.who())
            }
        }
    )*};
}
reaches_tickets!(ReadTickets, WriteTickets, ReadComments, WriteComments, ReadWork, WriteWork, ReadMetrics, Administer);

/// Requesters report for themselves, and leave the sorting to those behind the counter.
///
/// # Errors
/// `forbidden`, naming the fields.
pub fn may_open(who: &Principal, new: &NewTicket) -> Result<(), Problem> {
    if !who.is_requester() {
        return Ok(());
    }
    let somebody_else = new.requester.is_some() || new.requester_id.is_some_and(|id| id != who.id);
    refuse(&[
        ("requester", somebody_else),
        ("team_id", new.team_id.is_some()),
        ("assignee_id", new.assignee_id.is_some()),
        ("reported_at", new.reported_at.is_some()),
    ])
}

/// Requesters may mend what they wrote, say that it is solved, close it, and reopen it; which steps those are, the ticket
/// knows.
///
/// # Errors
/// `forbidden`, naming the fields.
pub fn may_change(who: &Principal, patch: &TicketPatch) -> Result<(), Problem> {
    if !who.is_requester() {
        return Ok(());
    }
    let TicketPatch {
        subject: _,
        description: _,
        custom_fields: _,
        status,
        priority,
        kind,
        channel,
        team_id,
        assignee_id,
        requester_id,
        tags,
        external_id,
    } = patch;
    refuse(&[
        ("status", !matches!(status.0, None | Some(Status::Open | Status::Resolved | Status::Closed))),
        ("priority", priority.0.is_some()),
        ("type", kind.0.is_some()),
        ("channel", channel.0.is_some()),
        ("team_id", team_id.is_present()),
        ("assignee_id", assignee_id.is_present()),
        ("requester_id", requester_id.is_present()),
        ("tags", tags.is_present()),
        ("external_id", external_id.is_present()),
    ])
}

fn refuse(fields: &[(&str, bool)]) -> Result<(), Problem> {
    let refused: Vec<_> = fields.iter().filter(|(_, used)| *used).map(|(name, _)| *name).collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Problem::new(Code::Forbidden, format!("A requester may not set: {}.", refused.join(", "))))
}
