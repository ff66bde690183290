//! The use cases of teams and their members.

use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::kernel::rows::Limit;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem, TeamId};
use crate::people::domain::{Member, NewTeam, Team, TeamChange};
use crate::people::store::{teams as store, users};

/// At most one page and one of the teams after `after`.
pub async fn list_teams(conn: &mut Conn, after: Option<TeamId>, limit: Limit) -> Result<Vec<Team>, Problem> {
    store::list(conn, after, limit.and_one()).await
}

/// The team `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_team(conn: &mut Conn, id: TeamId) -> Result<Team, Problem> {
    store::find(conn, id).await
}

/// Makes a team.
///
/// # Errors
/// `conflict` when another team has the name.
pub async fn create_team(tx: &mut Conn, new: NewTeam, now: Instant, clock: &Clock) -> Result<Team, Problem> {
    let team = new.into_team(clock.id(now), now);
    store::insert(tx, &team).await?;
    Ok(team)
}

/// Changes a team.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` when another team has the name.
pub async fn change_team(
    tx: &mut Conn,
    id: TeamId,
    change: TeamChange,
    condition: &IfMatch,
    now: Instant,
) -> Result<Team, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    let Some(after) = before.changed(change, now)? else { return Ok(before) };
    store::update(tx, &after).await?;
    Ok(after)
}

/// Removes a team that no ticket refers to, and its memberships.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` while tickets refer to it.
pub async fn delete_team(tx: &mut Conn, id: TeamId, condition: &IfMatch) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.version)?;
    store::delete(tx, id).await
}

/// At most one page and one of the members of the team `id` after the person `after`.
///
/// # Errors
/// `not_found`.
pub async fn list_members(
    conn: &mut Conn,
    id: TeamId,
    after: Option<PrincipalId>,
    limit: Limit,
) -> Result<Vec<Member>, Problem> {
    store::find(conn, id).await?;
    store::members(conn, id, after, limit.and_one()).await
}

/// Puts an active agent or admin into a team, who may be in it already. `condition` is about the team.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` when the person cannot work in a team.
pub async fn add_member(
    tx: &mut Conn,
    id: TeamId,
    person: PrincipalId,
    condition: &IfMatch,
    now: Instant,
) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.version)?;
    if !users::find(tx, person).await?.is_active_staff() {
        return Err(Problem::new(Code::Conflict, "Only active agents and admins can be in a team."));
    }
    store::add_member(tx, id, person, now).await
}

/// Takes a person out of a team. `condition` is about the team.
///
/// # Errors
/// `not_found`, also when the person is not in the team; `version_mismatch`.
pub async fn remove_member(tx: &mut Conn, id: TeamId, person: PrincipalId, condition: &IfMatch) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.version)?;
    if store::remove_member(tx, id, person).await? { Ok(()) } else { Err(Problem::not_found()) }
}
