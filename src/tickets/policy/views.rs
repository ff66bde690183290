//! Which saved views a caller may see, and change.

use crate::auth::domain::Principal;
use crate::auth::policy::{Administer, Permission};
use crate::kernel::{Code, FieldError, PrincipalId, Problem, TeamId};
use crate::tickets::domain::view::View;

/// The views that a caller may know of: their own, and those that are shared with a team of theirs; admins all that are
/// shared. Queries for views take one.
#[derive(Debug, Clone)]
pub struct ViewSight {
    me: PrincipalId,
    /// Nothing of whoever sees all that are shared.
    teams: Option<Vec<TeamId>>,
}

impl ViewSight {
    /// What `who` may see, who is in `teams`.
    pub fn of(who: &Principal, teams: Vec<TeamId>) -> Self {
        Self { me: who.id, teams: (!who.may::<Administer>()).then_some(teams) }
    }

    /// Whether it is within.
    pub fn sees(&self, view: &View) -> bool {
        let is_shared = |team| self.teams.as_ref().is_none_or(|teams| teams.contains(&team));
        view.owner_id == self.me || view.team_id.is_some_and(is_shared)
    }

    /// Passes if a view may be shared with `team`.
    ///
    /// # Errors
    /// `validation_failed` at `/team_id`.
    pub fn require_team(&self, team: Option<TeamId>) -> Result<(), Problem> {
        match (team, &self.teams) {
            (Some(team), Some(teams)) if !teams.contains(&team) => {
                Err(Problem::field("/team_id", "not_found", "there is no such team that you are in"))
            }
            _ => Ok(()),
        }
    }

    pub(in crate::tickets) fn me(&self) -> PrincipalId {
        self.me
    }

    pub(in crate::tickets) fn teams(&self) -> Option<&[TeamId]> {
        self.teams.as_deref()
    }
}

/// Requesters keep their views to themselves.
///
/// # Errors
/// `forbidden`, naming the field.
pub fn may_share(who: &Principal, team: Option<TeamId>) -> Result<(), Problem> {
    if team.is_none() || !who.is_requester() {
        return Ok(());
    }
    let fault = FieldError::new("/team_id", "forbidden", "is not for requesters");
    Err(Problem::new(Code::Forbidden, "A requester may not set: team_id.").with_errors(vec![fault]))
}

/// A view is changed by whose it is, and a shared one by admins.
///
/// # Errors
/// `forbidden`.
pub fn may_change_view(who: &Principal, view: &View) -> Result<(), Problem> {
    if view.owner_id == who.id || who.may::<Administer>() {
        return Ok(());
    }
    let detail = "Only its owner or an admin changes a view that is shared.";
    Err(Problem::new(Code::Forbidden, detail)
        .with("roles", Administer::ROLES.iter().map(|r| r.as_str()).collect::<Vec<_>>()))
}
