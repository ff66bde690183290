//! The endpoints of policies.

use actix_web::{delete, get, patch, post};

use crate::auth::policy::{Administer, Allowed, ReadSla};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::PolicyId;
use crate::sla::domain::policies::{KeptPolicy, NewPolicy, PolicyChange};
use crate::sla::service;
use crate::sla::wire::policies::{
    NewPolicyBody, PolicyBody, PolicyPatch, PolicyVersionBody, PreviewBody, PreviewRequest,
};

/// What a cursor of the list is bound to.
const LIST: &str = "policies";

/// Registers the endpoints of policies.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_sla_policies)
        .service(create_sla_policy)
        .service(preview_sla_policy)
        .service(get_sla_policy)
        .service(update_sla_policy)
        .service(delete_sla_policy)
        .service(list_sla_policy_versions);
}

/// List SLA policies.
///
/// By position, the older one first where two have the same: the first one whose condition holds is a ticket's policy.
#[utoipa::path(
    operation_id = "list_sla_policies", tag = "sla", security(("bearer" = ["tickets:read"])), params(PageQuery),
    responses((status = 200, description = "A page of policies.", body = Page<PolicyBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/sla/policies")]
async fn list_sla_policies(_who: Allowed<ReadSla>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let (policies, pending) = call
        .db()
        .list(async move |conn: &mut Conn| {
            let policies = service::list_policies(conn, after, query.limit).await?;
            Ok((policies, service::pending_tickets(conn).await?))
        })
        .await?;
    let key = |one: &KeptPolicy| (one.definition.position, one.id);
    Page::reply(&call, query.limit, LIST, policies, key, |one| PolicyBody::of(one, pending))
}

/// Make an SLA policy.
///
/// It holds from this instant on, for all clocks that have not ended, each from its ticket's report on. What has ended
/// is not judged by it. Where many tickets are open they follow one by one, within minutes, each judged as of this
/// instant: `pending_tickets` tells how many are left. There are at most 100 policies.
#[utoipa::path(
    operation_id = "create_sla_policy", tag = "sla", security(("bearer" = ["admin"])), request_body = NewPolicyBody,
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The policy. Without `tickets:read`: no body.", body = PolicyBody, headers(
        ("ETag" = String, description = "The policy's version."),
        ("Location" = String, description = "Where the policy is."))))
)]
#[post("/v1/sla/policies")]
async fn create_sla_policy(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let new = NewPolicy::from(call.body::<NewPolicyBody>().await?);
    let act = who.act(&call);
    call.create_alone(who.who(), async move |tx| {
        let policy = service::create_policy(tx, new.clone(), &act.in_turn()).await?;
        let policy = PolicyBody::of(policy, service::pending_tickets(tx).await?);
        let place = format!("/v1/sla/policies/{}", policy.id);
        Ok((policy, place))
    })
    .await
}

/// Try an SLA policy on tickets of the past.
///
/// Judges a draft against the tickets that were created in a window, as if it had held since each was reported, and
/// shows beside it how the clocks that they have stand. Tickets are matched as they are now. Nothing changes. It is a
/// report on tickets: the token needs `tickets:read`, too.
#[utoipa::path(
    operation_id = "preview_sla_policy", tag = "sla", security(("bearer" = ["admin", "tickets:read"])), request_body = PreviewRequest,
    responses((status = 200, description = "What the draft would have promised, and kept.", body = PreviewBody))
)]
#[post("/v1/sla/policies/preview")]
async fn preview_sla_policy(who: Allowed<Administer>, call: Call) -> Answer {
    who.and::<ReadSla>()?;
    call.no_query()?;
    let PreviewRequest { policy, from, to } = call.body().await?;
    let seen = service::preview_policy(&call.db(), &policy.into(), from, to, call.now()).await?;
    Reply::ok(&PreviewBody::from(seen))
}

/// Read an SLA policy.
#[utoipa::path(
    operation_id = "get_sla_policy", tag = "sla", security(("bearer" = ["tickets:read"])),
    description = "For agents, admins and service accounts.",
    params(("id" = PolicyId, Path, description = "The policy's id.")),
    responses((status = 200, description = "The policy.", body = PolicyBody,
        headers(("ETag" = String, description = "The policy's version."))))
)]
#[get("/v1/sla/policies/{id}")]
async fn get_sla_policy(who: Allowed<ReadSla>, call: Call) -> Answer {
    let id: PolicyId = call.path("id")?;
    call.no_query()?;
    // To count tickets takes longer than a single thing may.
    let read = async move |conn: &mut Conn| {
        Ok(PolicyBody::of(service::read_policy(conn, id).await?, service::pending_tickets(conn).await?))
    };
    let policy = call.db().list(read).await?;
    Reply::resource(who.who(), &policy)
}

/// Change an SLA policy.
///
/// A JSON merge patch: what is not mentioned stays, null empties. Each list of `condition` is replaced for itself, and
/// `targets` are replaced whole. Clocks that have not ended take the new version as of this instant, from their
/// tickets' reports on, where many tickets are open within minutes; those that have ended keep the one that judged
/// them. A patch that changes nothing leaves the version as it is.
#[utoipa::path(
    operation_id = "update_sla_policy", tag = "sla", security(("bearer" = ["admin"])),
    params(("id" = PolicyId, Path, description = "The policy's id.")),
    request_body(content((PolicyPatch = "application/merge-patch+json"), (PolicyPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses(
        (status = 200, description = "The policy as it is now.", body = PolicyBody, headers(("ETag" = String, description = "The policy's version."))),
        (status = 204, description = "Done, for a token without `tickets:read`.", headers(
            ("ETag" = String, description = "The policy's version."), ("Location" = String, description = "Where the policy is."))))
)]
#[patch("/v1/sla/policies/{id}")]
async fn update_sla_policy(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PolicyId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    let change = PolicyChange::from(call.patch::<PolicyPatch>().await?);
    let write = async move |tx: &mut Conn| {
        let policy = service::change_policy(tx, id, change.clone(), &condition, &act.in_turn()).await?;
        Ok(PolicyBody::of(policy, service::pending_tickets(tx).await?))
    };
    let policy = call.db().write_alone(write).await?;
    Reply::changed(who.who(), &policy, format!("/v1/sla/policies/{id}"))
}

/// Remove an SLA policy.
///
/// Clocks that have not ended take the promise of the next policy whose condition holds, or are gone. Those that have
/// ended keep the version that judged them.
#[utoipa::path(
    operation_id = "delete_sla_policy", tag = "sla", security(("bearer" = ["admin"])),
    params(("id" = PolicyId, Path, description = "The policy's id.")),
    responses((status = 204, description = "The policy is gone."))
)]
#[delete("/v1/sla/policies/{id}")]
async fn delete_sla_policy(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PolicyId = call.path("id")?;
    call.no_query()?;
    let (condition, act) = (call.precondition()?, who.act(&call));
    call.db().write_alone(async move |tx| service::delete_policy(tx, id, &condition, &act.in_turn()).await).await?;
    Ok(Reply::no_content())
}

/// List the versions of an SLA policy.
///
/// Oldest first; the last one is what holds now. They stay when the policy is removed, since clocks name them.
#[utoipa::path(
    operation_id = "list_sla_policy_versions", tag = "sla", security(("bearer" = ["tickets:read"])),
    params(("id" = PolicyId, Path, description = "The policy's id."), PageQuery),
    responses((status = 200, description = "A page of versions.", body = Page<PolicyVersionBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/sla/policies/{id}/versions")]
async fn list_sla_policy_versions(_who: Allowed<ReadSla>, call: Call) -> Answer {
    let id: PolicyId = call.path("id")?;
    let query: PageQuery = call.query()?;
    let list = format!("versions of {id}");
    let after = query.cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let versions = call
        .db()
        .list(async move |conn: &mut Conn| service::list_policy_versions(conn, id, after, query.limit).await)
        .await?;
    Page::reply(&call, query.limit, &list, versions, |version| version.version, PolicyVersionBody::from)
}
