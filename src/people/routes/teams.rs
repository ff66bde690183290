//! The endpoints of teams.

use actix_web::{delete, get, patch, post, put};

use crate::auth::policy::{Administer, Allowed, ReadTeams};
use crate::db::{Conn, Root, Roots};
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::{PrincipalId, TeamId};
use crate::people::domain::{NewTeam, TeamChange};
use crate::people::service;
use crate::people::wire::{MemberBody, NewTeamBody, TeamBody, TeamPatch};

/// What a cursor of the list is bound to.
const LIST: &str = "teams";

/// Registers the endpoints of teams.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_teams)
        .service(create_team)
        .service(get_team)
        .service(update_team)
        .service(delete_team)
        .service(list_team_members)
        .service(add_team_member)
        .service(remove_team_member);
}

/// List teams.
///
/// Oldest first.
#[utoipa::path(
    operation_id = "list_teams", tag = "teams", security(("bearer" = ["tickets:read"])), params(PageQuery),
    responses((status = 200, description = "A page of teams.", body = Page<TeamBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/teams")]
async fn list_teams(_who: Allowed<ReadTeams>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let teams =
        call.db().list(async move |conn: &mut Conn| service::list_teams(conn, after, query.limit).await).await?;
    Page::reply(&call, query.limit, LIST, teams, |team| team.id, TeamBody::from)
}

/// Make a team.
#[utoipa::path(
    operation_id = "create_team", tag = "teams", security(("bearer" = ["admin"])), request_body = NewTeamBody,
    description = "A queue of tickets. Its members are put in one by one.",
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The team. Without `tickets:read`: no body.", body = TeamBody, headers(
        ("ETag" = String, description = "The team's version."),
        ("Location" = String, description = "Where the team is."))))
)]
#[post("/v1/teams")]
async fn create_team(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let new = NewTeam::from(call.body::<NewTeamBody>().await?);
    let (now, clock) = (call.now(), call.clock().clone());
    call.create(who.who(), Roots::none(), async move |tx| {
        let team = TeamBody::from(service::create_team(tx, new.clone(), now, &clock).await?);
        let place = format!("/v1/teams/{}", team.id);
        Ok((team, place))
    })
    .await
}

/// Read a team.
#[utoipa::path(
    operation_id = "get_team", tag = "teams", security(("bearer" = ["tickets:read"])),
    description = "For agents, admins and service accounts.",
    params(("id" = TeamId, Path, description = "The team's id.")),
    responses((status = 200, description = "The team.", body = TeamBody,
        headers(("ETag" = String, description = "The team's version."))))
)]
#[get("/v1/teams/{id}")]
async fn get_team(who: Allowed<ReadTeams>, call: Call) -> Answer {
    let id: TeamId = call.path("id")?;
    call.no_query()?;
    let team = TeamBody::from(call.db().read(async |conn| service::read_team(conn, id).await).await?);
    Reply::resource(who.who(), &team)
}

/// Change a team.
///
/// A JSON merge patch: what is not mentioned stays, null empties. A patch that changes nothing leaves the version as it
/// is.
#[utoipa::path(
    operation_id = "update_team", tag = "teams", security(("bearer" = ["admin"])),
    params(("id" = TeamId, Path, description = "The team's id.")),
    request_body(content((TeamPatch = "application/merge-patch+json"), (TeamPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses(
        (status = 200, description = "The team as it is now.", body = TeamBody, headers(("ETag" = String, description = "The team's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The team's version."), ("Location" = String, description = "Where the team is."))))
)]
#[patch("/v1/teams/{id}")]
async fn update_team(who: Allowed<Administer>, call: Call) -> Answer {
    let id: TeamId = call.path("id")?;
    call.no_query()?;
    let (condition, now) = (call.precondition()?, call.now());
    let change = TeamChange::from(call.patch::<TeamPatch>().await?);
    let write = async move |tx: &mut _| service::change_team(tx, id, change.clone(), &condition, now).await;
    let team = TeamBody::from(call.db().write(Root::Team(id), write).await?);
    Reply::changed(who.who(), &team, format!("/v1/teams/{id}"))
}

/// Remove a team.
///
/// With its memberships. Refused while tickets are in it: give them to another team first.
#[utoipa::path(
    operation_id = "delete_team", tag = "teams", security(("bearer" = ["admin"])),
    params(("id" = TeamId, Path, description = "The team's id.")),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 204, description = "The team is gone."))
)]
#[delete("/v1/teams/{id}")]
async fn delete_team(_who: Allowed<Administer>, call: Call) -> Answer {
    let id: TeamId = call.path("id")?;
    call.no_query()?;
    let condition = call.precondition()?;
    call.db().write(Root::Team(id), async move |tx| service::delete_team(tx, id, &condition).await).await?;
    Ok(Reply::no_content())
}

/// List the members of a team.
///
/// The oldest person first.
#[utoipa::path(
    operation_id = "list_team_members", tag = "teams", security(("bearer" = ["tickets:read"])),
    params(("id" = TeamId, Path, description = "The team's id."), PageQuery),
    responses((status = 200, description = "A page of members.", body = Page<MemberBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/teams/{id}/members")]
async fn list_team_members(_who: Allowed<ReadTeams>, call: Call) -> Answer {
    let id: TeamId = call.path("id")?;
    let query: PageQuery = call.query()?;
    let list = format!("members of {id}");
    let after = query.cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let members =
        call.db().list(async move |conn: &mut Conn| service::list_members(conn, id, after, query.limit).await).await?;
    Page::reply(&call, query.limit, &list, members, |member| member.id, MemberBody::from)
}

/// Put a person into a team.
///
/// Only active agents and admins can be in a team. Doing it again changes nothing. `If-Match` is about the team.
#[utoipa::path(
    operation_id = "add_team_member", tag = "teams", security(("bearer" = ["admin"])),
    params(("id" = TeamId, Path, description = "The team's id."),
        ("user_id" = PrincipalId, Path, description = "The person's id.")),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 204, description = "The person is in the team."))
)]
#[put("/v1/teams/{id}/members/{user_id}")]
async fn add_team_member(_who: Allowed<Administer>, call: Call) -> Answer {
    let (id, person): (TeamId, PrincipalId) = (call.path("id")?, call.path("user_id")?);
    call.no_query()?;
    let (condition, now) = (call.precondition()?, call.now());
    // The person, too: who is in no team any more must not be put into one at the same time.
    let roots = [Root::Team(id), Root::Principal(person)];
    call.db().write(roots, async move |tx| service::add_member(tx, id, person, &condition, now).await).await?;
    Ok(Reply::no_content())
}

/// Take a person out of a team.
///
/// A person who is not in the team is not found. `If-Match` is about the team.
#[utoipa::path(
    operation_id = "remove_team_member", tag = "teams", security(("bearer" = ["admin"])),
    params(("id" = TeamId, Path, description = "The team's id."),
        ("user_id" = PrincipalId, Path, description = "The person's id.")),
    responses((status = 204, description = "The person is not in the team any more."))
)]
#[delete("/v1/teams/{id}/members/{user_id}")]
async fn remove_team_member(_who: Allowed<Administer>, call: Call) -> Answer {
    let (id, person): (TeamId, PrincipalId) = (call.path("id")?, call.path("user_id")?);
    call.no_query()?;
    let condition = call.precondition()?;
    let roots = [Root::Team(id), Root::Principal(person)];
    call.db().write(roots, async move |tx| service::remove_member(tx, id, person, &condition).await).await?;
    Ok(Reply::no_content())
}
