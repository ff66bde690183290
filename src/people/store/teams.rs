//! Queries of teams and their members.

use diesel::prelude::*;
use diesel::result::DatabaseErrorKind::ForeignKeyViolation;
use diesel::result::Error;

use crate::auth::domain::Role;
use crate::db::fault::is_duplicate;
use crate::db::schema::{principals, team_members, teams};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{Code, Currency, Instant, Money, PrincipalId, Problem, TeamId};
use crate::people::domain::{Member, Team};

#[derive(Queryable, Selectable)]
#[diesel(table_name = teams)]
struct TeamRow {
    id: TeamId,
    name: String,
    description: String,
    hourly_rate_minor: Option<i64>,
    hourly_rate_currency: Option<Currency>,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<TeamRow> for Team {
    fn from(row: TeamRow) -> Self {
        let TeamRow { id, name, description, hourly_rate_minor, hourly_rate_currency, created_at, updated_at, version } =
            row;
        let hourly_rate = Money::from_stored(hourly_rate_minor, hourly_rate_currency);
        Self { id, name, description, hourly_rate, created_at, updated_at, version }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = principals)]
struct MemberRow {
    id: PrincipalId,
    name: String,
    #[diesel(select_expression = principals::role.assume_not_null())]
    role: Role,
    active: bool,
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        let MemberRow { id, name, role, active } = row;
        Self { id, name, role, active }
    }
}

/// The team `id`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: TeamId) -> Result<Team, Problem> {
    let row = on_each!(conn, |c| teams::table.find(id).select(TeamRow::as_select()).first(c).await).optional()?;
    row.map(Team::from).ok_or_else(Problem::not_found)
}

/// The team of this name, if there is one.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<TeamId>, Problem> {
    let named = teams::table.filter(teams::name.eq(name)).select(teams::id);
    Ok(on_each!(conn, |c| named.first(c).await.optional())?)
}

/// At most `count` teams that were made after `after`, the oldest first.
pub async fn list(conn: &mut Conn, after: Option<TeamId>, count: i64) -> Result<Vec<Team>, Problem> {
    let first = after.unwrap_or(TeamId(uuid::Uuid::nil()));
    let query = teams::table.filter(teams::id.gt(first)).order(teams::id).limit(count);
    let rows: Vec<TeamRow> = on_each!(conn, |c| query.select(TeamRow::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(Team::from).collect())
}

/// Adds `team`.
///
/// # Errors
/// `conflict` when another team has the name.
pub async fn insert(tx: &mut Conn, team: &Team) -> Result<(), Problem> {
    let row = (
        teams::id.eq(team.id),
        teams::name.eq(&team.name),
        teams::description.eq(&team.description),
        teams::hourly_rate_minor.eq(team.hourly_rate.map(|rate| rate.amount_minor)),
        teams::hourly_rate_currency.eq(team.hourly_rate.map(|rate| rate.currency)),
        teams::created_at.eq(team.created_at),
        teams::updated_at.eq(team.updated_at),
        teams::version.eq(team.version),
    );
    let done = on_each!(tx, |c| diesel::insert_into(teams::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)
}

/// Stores all that can change of `team`.
///
/// # Errors
/// `conflict` when another team has the name.
pub async fn update(tx: &mut Conn, team: &Team) -> Result<(), Problem> {
    let change = (
        teams::name.eq(&team.name),
        teams::description.eq(&team.description),
        teams::hourly_rate_minor.eq(team.hourly_rate.map(|rate| rate.amount_minor)),
        teams::hourly_rate_currency.eq(team.hourly_rate.map(|rate| rate.currency)),
        teams::updated_at.eq(team.updated_at),
        teams::version.eq(team.version),
    );
    let done = on_each!(tx, |c| diesel::update(teams::table.find(team.id)).set(change).execute(c).await);
    done.map(drop).map_err(taken)
}

fn taken(error: Error) -> Problem {
    if is_duplicate(&error, "teams_name_key", "teams.name") {
        Problem::new(Code::Conflict, "A team with this name exists already.")
    } else {
        error.into()
    }
}

/// Removes the team `id` and who is in it.
///
/// # Errors
/// `conflict` while something refers to the team.
pub async fn delete(tx: &mut Conn, id: TeamId) -> Result<(), Problem> {
    let members = team_members::table.filter(team_members::team_id.eq(id));
    on_each!(tx, |c| diesel::delete(members).execute(c).await)?;
    match on_each!(tx, |c| diesel::delete(teams::table.find(id)).execute(c).await) {
        Err(Error::DatabaseError(ForeignKeyViolation, _)) => {
            Err(Problem::new(Code::Conflict, "There are tickets of this team. Give them to another team first."))
        }
        other => Ok(other.map(drop)?),
    }
}

/// At most `count` members of the team `id` after the person `after`, the oldest person first.
pub async fn members(
    conn: &mut Conn,
    id: TeamId,
    after: Option<PrincipalId>,
    count: i64,
) -> Result<Vec<Member>, Problem> {
    let first = after.unwrap_or(PrincipalId(uuid::Uuid::nil()));
    let query = team_members::table
        .inner_join(principals::table)
        .filter(team_members::team_id.eq(id))
        .filter(team_members::principal_id.gt(first))
        .filter(principals::role.ne(Role::Requester))
        .order(team_members::principal_id)
        .limit(count);
    let rows: Vec<MemberRow> = on_each!(conn, |c| query.select(MemberRow::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(Member::from).collect())
}

/// Puts a person into a team, who may be in it already.
pub async fn add_member(tx: &mut Conn, id: TeamId, person: PrincipalId, now: Instant) -> Result<(), Problem> {
    let row = (team_members::team_id.eq(id), team_members::principal_id.eq(person), team_members::created_at.eq(now));
    on_each!(tx, |c| {
        diesel::insert_into(team_members::table).values(row).on_conflict_do_nothing().execute(c).await
    })?;
    Ok(())
}

/// Takes a person out of a team; tells whether they were in it.
pub async fn remove_member(tx: &mut Conn, id: TeamId, person: PrincipalId) -> Result<bool, Problem> {
    let membership = team_members::table.find((id, person));
    Ok(on_each!(tx, |c| diesel::delete(membership).execute(c).await)? > 0)
}
