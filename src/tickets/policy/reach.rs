//! Which tickets a caller may reach.

use crate::auth::domain::{Principal, Scope};
use crate::auth::policy::{
    Administer, Allowed, DeleteFiles, ReadAlerts, ReadComments, ReadFiles, ReadMetrics, ReadTickets, ReadWork,
    SendAlerts, WriteComments, WriteTickets, WriteWork,
};
use crate::kernel::requesters::NamesShown;
use crate::kernel::{Code, PrincipalId, Problem};
use crate::tickets::domain::Walker;
use crate::tickets::domain::search::Part;

/// The tickets that a caller may know of. Queries for tickets take one, and only a permission gives one: nobody reads a
/// ticket without having passed the check.
#[derive(Debug, Clone, Copy)]
pub struct Reach {
    only_of: Option<PrincipalId>,
    searched: Option<Part>,
    sees_internal: bool,
    walker: Option<Walker>,
    names: NamesShown,
    hides_policies: bool,
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
        let walker = if who.is_requester() { Walker::Requester } else { Walker::Desk };
        Self {
            only_of: who.is_requester().then_some(who.id),
            searched,
            sees_internal: who.sees_internal(),
            walker: who.may::<WriteTickets>().then_some(walker),
            names: who.names_shown(),
            hides_policies: who.is_requester() && who.rules.hides_policies,
        }
    }

    /// The requester whose tickets alone may be seen; nobody when all may.
    pub(crate) fn only_of(&self) -> Option<PrincipalId> {
        self.only_of
    }

    /// Whether the caller may know that something internal happened.
    pub(crate) fn sees_internal(&self) -> bool {
        self.sees_internal
    }

    /// How people are named to the caller.
    pub(crate) fn names(&self) -> NamesShown {
        self.names
    }

    /// Whether the caller is not told what policies are called.
    pub(in crate::tickets) fn hides_policies(&self) -> bool {
        self.hides_policies
    }

    /// Whether the caller may see comments.
    pub(crate) fn reads_comments(&self) -> bool {
        matches!(self.searched, Some(Part::Comments | Part::Internal))
    }

    /// As whom the caller takes steps in a ticket's life; nobody if they take none.
    pub(in crate::tickets) fn walker(&self) -> Option<Walker> {
        self.walker
    }

    /// Passes for those who may know that something internal happened.
    ///
    /// # Errors
    /// `forbidden` for requesters, `insufficient_scope` for all others.
    pub(in crate::tickets) fn require_internal(&self) -> Result<(), Problem> {
        if self.sees_internal {
            return Ok(());
        }
        if self.only_of.is_some() {
            let detail = "When anything internal happened is for staff. Use updated_at.";
            return Err(Problem::new(Code::Forbidden, detail).with("roles", ["agent", "admin"].as_slice()));
        }
        let scope = Scope::InternalRead;
        let detail = format!("To go by activity_at takes a token with the scope {scope}. Without it, use updated_at.");
        Err(Problem::new(Code::InsufficientScope, detail).with("scope", scope.as_str()))
    }

    /// How far a search looks into tickets: never at what its hits would tell the caller more of than they may read.
    ///
    /// # Errors
    /// `insufficient_scope` when the token reads no tickets: one that is for metrics alone, say.
    pub(in crate::tickets) fn searched(&self) -> Result<Part, Problem> {
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
reaches_tickets!(ReadFiles, DeleteFiles, ReadAlerts, SendAlerts);
