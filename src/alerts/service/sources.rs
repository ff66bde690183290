//! Setting up where alerts come from.

use crate::alerts::domain::{AlertSourceChange, AlertSourceRef, MOST_SOURCES, NewAlertSource};
use crate::alerts::store::sources::{self as store, AlertSourceRow};
use crate::auth::domain::{Role, Scope};
use crate::auth::policy::{Act, SendAlerts};
use crate::auth::service::standing;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::kernel::text::Line;
use crate::kernel::{AlertSourceId, Code, FieldError, Patch, Problem, TeamId};
use crate::people;
use crate::tickets::store as tickets;

/// Makes a source.
///
/// # Errors
/// `validation_failed`; `conflict` when another source has the name or there are too many.
pub async fn create_source(tx: &mut Conn, mut new: NewAlertSource, act: &Act) -> Result<AlertSourceRow, Problem> {
    require_name(&new.name)?;
    settle(tx, &mut new.rest).await?;
    if store::count(tx).await? >= MOST_SOURCES {
        let detail = format!("There are {MOST_SOURCES} sources of alerts, and there can be no more. Remove one first.");
        return Err(Problem::new(Code::Conflict, detail).with("max", MOST_SOURCES));
    }
    let source = new.into_source(act.id(), act.now);
    let id = source.id;
    store::insert(tx, source).await?;
    store::find(tx, id).await
}

/// Changes a source; a change that changes nothing leaves the version as it is.
///
/// # Errors
/// `not_found`, `version_mismatch`, `validation_failed`; `conflict` when another source has the name.
pub async fn change_source(
    tx: &mut Conn,
    id: AlertSourceId,
    mut change: AlertSourceChange,
    condition: &IfMatch,
    act: &Act,
) -> Result<AlertSourceRow, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.source.version)?;
    if let Some(name) = &change.name {
        require_name(name)?;
    }
    settle(tx, &mut change).await?;
    let Some(after) = before.source.changed(change, act.now) else { return Ok(before) };
    store::update(tx, after).await?;
    store::find(tx, id).await
}

/// Removes a source. Its tickets stay; its alerts go, by and by.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn delete_source(tx: &mut Conn, id: AlertSourceId, condition: &IfMatch, act: &Act) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.source.version)?;
    store::mark_deleted(tx, id, act.now).await
}

/// A name that looks like an id would be taken for one.
fn require_name(name: &Line<200>) -> Result<(), Problem> {
    match name.as_str().parse() {
        Ok(AlertSourceRef::Name(_)) => Ok(()),
        _ => Err(Problem::field("/name", "invalid", "must not look like an id")),
    }
}

/// Finds whom and what a change names, and puts the team that it calls by its name in place of that.
async fn settle(tx: &mut Conn, change: &mut AlertSourceChange) -> Result<(), Problem> {
    let mut faults = Vec::new();
    match std::mem::take(&mut change.team) {
        Patch::Absent => {}
        _ if change.team_id.is_present() => {
            faults.push(FieldError::new("/team", "invalid", "does not go with team_id"));
        }
        Patch::Null => change.team_id = Patch::Null,
        Patch::Value(name) => match people::store::teams::by_name(tx, name.as_str()).await? {
            Some(id) => change.team_id = Patch::Value(id),
            None => faults.push(FieldError::new("/team", "not_found", "there is no such team")),
        },
    }
    if let Patch::Value(team) = change.team_id
        && !is_team(tx, team).await?
    {
        faults.push(FieldError::new("/team_id", "not_found", "there is no such team"));
    }
    if let Patch::Value(sender) = change.principal_id {
        match standing(tx, sender).await? {
            Some(principal) if principal.may::<SendAlerts>() => {}
            Some(_) => {
                let detail = format!("may not send alerts: give it the scope {}", Scope::AlertsWrite);
                faults.push(FieldError::new("/principal_id", "invalid", detail));
            }
            None => faults.push(FieldError::new("/principal_id", "not_found", "there is none who is active")),
        }
    }
    if let Patch::Value(requester) = change.requester_id {
        match tickets::person(tx, requester).await? {
            Some(person) if person.active && Role::ALL.contains(&person.role) => {}
            Some(_) => faults.push(FieldError::new("/requester_id", "invalid", "must be an active person")),
            None => faults.push(FieldError::new("/requester_id", "not_found", "there is no such person")),
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

async fn is_team(tx: &mut Conn, id: TeamId) -> Result<bool, Problem> {
    Ok(tickets::team_name(tx, id).await?.is_some())
}
