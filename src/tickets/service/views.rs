//! The use cases of saved views.

use crate::auth;
use crate::auth::domain::Principal;
use crate::auth::policy::Act;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::kernel::{Code, Problem, TeamId, ViewId};
use crate::people;
use crate::tickets::domain::listing::{Sort, SortOrder};
use crate::tickets::domain::view::{MOST_VIEWS, View, ViewRow};
use crate::tickets::policy::Reach;
use crate::tickets::policy::views::{ViewSight, may_change_view, may_share};
use crate::tickets::store::views as store;
use crate::tickets::wire::views::{NewView, ViewPatch};

/// Which views `who` may see.
pub async fn view_sight(conn: &mut Conn, who: &Principal) -> Result<ViewSight, Problem> {
    let teams = auth::store::teams_of(conn, who.id).await?;
    Ok(ViewSight::of(who, teams.into_iter().map(|(id, _)| id).collect()))
}

/// The view `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_view(conn: &mut Conn, who: &Principal, id: ViewId) -> Result<ViewRow, Problem> {
    let sight = view_sight(conn, who).await?;
    store::find(conn, &sight, id).await
}

/// Makes a view.
///
/// # Errors
/// `validation_failed` for a team that the caller is not in, `conflict` when they have too many views.
pub async fn create_view(tx: &mut Conn, act: &Act, reach: &Reach, new: NewView) -> Result<ViewRow, Problem> {
    let NewView { name, filter, sort, team_id } = new;
    let sight = view_sight(tx, &act.who).await?;
    sight.require_team(team_id)?;
    if let Some(team) = team_id {
        require_team(tx, team).await?;
    }
    if store::count_of(tx, act.who.id).await? >= MOST_VIEWS {
        let detail = format!("You have {MOST_VIEWS} views. Delete one that you do not need.");
        return Err(Problem::new(Code::Conflict, detail).with("max", MOST_VIEWS));
    }
    let view = View {
        id: act.id(),
        owner_id: act.who.id,
        team_id,
        name: name.into_inner(),
        filter: filter.0,
        sort: sort.to_string(),
        created_at: act.now,
        updated_at: act.now,
        version: 1,
    };
    require_shown(&view, reach)?;
    store::insert(tx, view.clone()).await?;
    Ok(ViewRow { view, owner: act.who.name.clone() })
}

/// Changes a view as `patch` says; one that changes nothing leaves the version as it is.
///
/// # Errors
/// `not_found`, `version_mismatch`, `forbidden` for somebody else's, `validation_failed` for a team that the caller is
/// not in, or an order that there is not.
pub async fn change_view(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    id: ViewId,
    condition: &IfMatch,
    patch: ViewPatch,
) -> Result<ViewRow, Problem> {
    let sight = view_sight(tx, &act.who).await?;
    let ViewRow { view: before, owner } = store::find(tx, &sight, id).await?;
    condition.check(before.version)?;
    may_change_view(&act.who, &before)?;
    let after = patched(before.clone(), patch);
    if after == before {
        return Ok(ViewRow { view: before, owner });
    }
    // Also of whoever has left the team since, or is a requester now: they may take it back.
    may_share(&act.who, after.team_id)?;
    sight.require_team(after.team_id)?;
    if let Some(team) = after.team_id.filter(|_| after.team_id != before.team_id) {
        require_team(tx, team).await?;
    }
    require_shown(&after, reach)?;
    let after = View { updated_at: act.now, version: before.version + 1, ..after };
    store::update(tx, after.clone()).await?;
    Ok(ViewRow { view: after, owner })
}

fn patched(mut view: View, patch: ViewPatch) -> View {
    let ViewPatch { name, filter, sort, team_id } = patch;
    view.name = name.0.map_or(view.name, |name| name.into_inner());
    view.filter = filter.0.map_or(view.filter, |filter| filter.0);
    view.sort = sort.0.map_or(view.sort, |sort| sort.to_string());
    view.team_id = team_id.or(view.team_id);
    view
}

/// Deletes a view.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `forbidden` for somebody else's.
pub async fn delete_view(tx: &mut Conn, who: &Principal, id: ViewId, condition: &IfMatch) -> Result<(), Problem> {
    let row = read_view(tx, who, id).await?;
    condition.check(row.view.version)?;
    may_change_view(who, &row.view)?;
    store::delete(tx, id).await
}

/// Passes if there can be such a list for whoever has this reach.
fn require_shown(view: &View, reach: &Reach) -> Result<(), Problem> {
    let sort = view.sort.parse::<SortOrder>().map_err(|fault| Problem::invalid(vec![fault.at("/sort")]))?;
    if sort.first == Sort::Relevance && !view.filter.contains_key("q") {
        return Err(Problem::field("/sort", "invalid", "relevance is an order of what `q` finds"));
    }
    let goes_by_activity = view.filter.contains_key("activity_after") || view.filter.contains_key("activity_before");
    if sort.is_internal() || goes_by_activity { reach.require_internal() } else { Ok(()) }
}

async fn require_team(tx: &mut Conn, team: TeamId) -> Result<(), Problem> {
    let no_team = || Problem::field("/team_id", "not_found", "there is no such team");
    people::store::teams::find(tx, team).await.map_err(|problem| problem.unless_found(no_team)).map(drop)
}
