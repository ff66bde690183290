//! The endpoints of people.

use actix_web::{delete, get, patch, post, web};

use crate::auth::password::Party;
use crate::auth::policy::{Administer, Allowed, BeKnown, ChangePeople, ReadPeople};
use crate::auth::service::Authority;
use crate::db::{Conn, Root, Roots};
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::kernel::PrincipalId;
use crate::people::policy::{MayChange, MaySee};
use crate::people::service;
use crate::people::wire::{NewUser, UserBody, UserPatch, UserQuery};

/// What a cursor of the list is bound to.
const LIST: &str = "users";

/// Registers the endpoints of people.
pub fn routes(config: &mut impl Endpoints) {
    config.service(list_users).service(create_user).service(get_user).service(update_user).service(delete_user);
}

/// List people.
///
/// Oldest first, or by what is found. Filters narrow: several of them must all hold. For agents and admins; service
/// accounts need the scope `admin`.
#[utoipa::path(
    operation_id = "list_users", tag = "users", security(("bearer" = ["tickets:read"])), params(UserQuery),
    responses((status = 200, description = "A page of people.", body = Page<UserBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/users")]
async fn list_users(_who: Allowed<ReadPeople>, call: Call) -> Answer {
    let query: UserQuery = call.query()?;
    let (filter, limit) = (query.filter(), query.limit);
    if let Some(search) = query.q {
        let list = format!("{LIST} found by {}", search.beginnings().join(" "));
        let after = query.cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
        let find =
            async move |conn: &mut Conn| service::find_people(conn, &filter, &search, after.as_ref(), limit).await;
        let found = call.db().snapshot(find).await?;
        return Page::reply(&call, limit, &list, found, |row| row.place.clone(), |row| UserBody::from(row.person));
    }
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let list = async move |conn: &mut Conn| service::list_people(conn, &filter, after, limit).await;
    Page::reply(&call, limit, LIST, call.db().list(list).await?, |person| person.id, UserBody::from)
}

/// Make a person.
///
/// With a password the person can log in here, by the grant `password`. People of an outside issuer need not be made:
/// they are known from their first token on.
#[utoipa::path(
    operation_id = "create_user", tag = "users", security(("bearer" = ["admin"])), request_body = NewUser,
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The person. Without the right to read people: no body.", body = UserBody, headers(
        ("ETag" = String, description = "The person's version."),
        ("Location" = String, description = "Where the person is."))))
)]
#[post("/v1/users")]
async fn create_user(who: Allowed<Administer>, call: Call, authority: web::Data<Authority>) -> Answer {
    call.no_query()?;
    let party = Party::Principal(who.who().id);
    let new = service::admit(call.body::<NewUser>().await?, &authority.passwords, party).await?;
    let act = who.act(&call);
    call.create(who.who(), Roots::none(), async move |tx| {
        let user =
            UserBody::from(service::create_person(tx, new.clone(), Some(act.who.id), act.now, &act.clock).await?);
        let place = format!("/v1/users/{}", user.id);
        Ok((user, place))
    })
    .await
}

/// Read a person.
///
/// Everybody may read themselves, with any token. All others are for agents and admins, and for service accounts with
/// the scope `admin`; a requester's token gets 404 for them, as for people who do not exist.
#[utoipa::path(
    operation_id = "get_user", tag = "users", security(("bearer" = ["tickets:read"])),
    params(("id" = PrincipalId, Path, description = "The person's id.")),
    responses((status = 200, description = "The person.", body = UserBody,
        headers(("ETag" = String, description = "The person's version."))))
)]
#[get("/v1/users/{id}")]
async fn get_user(who: Allowed<BeKnown>, call: Call) -> Answer {
    let may = MaySee::of(who.who(), call.path("id")?)?;
    call.no_query()?;
    let user = UserBody::from(call.db().read(async |conn| service::read_person(conn, may).await).await?);
    Reply::resource(who.who(), &user)
}

/// Change a person.
///
/// A JSON merge patch: what is not mentioned stays, null empties. A patch that changes nothing leaves the version as it
/// is. Admins and service accounts with the scope `admin` may change everybody, all others their own `name` and
/// `password` (with the scope `tickets:write`). To set your own password, send `current_password` too if you have one;
/// to be wrong there counts as a login that fails (429 after too many). Whoever is deactivated, or gets another role or
/// password, must log in again. The last active admin stays one.
#[utoipa::path(
    operation_id = "update_user", tag = "users", security(("bearer" = ["admin"]), ("bearer" = ["tickets:write"])),
    params(("id" = PrincipalId, Path, description = "The person's id.")),
    request_body(content((UserPatch = "application/merge-patch+json"), (UserPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses(
        (status = 200, description = "The person as it is now.", body = UserBody, headers(("ETag" = String, description = "The person's version."))),
        (status = 204, description = "Done, for a token without the right to read people.", headers(
            ("ETag" = String, description = "The person's version."), ("Location" = String, description = "Where the person is."))))
)]
#[patch("/v1/users/{id}")]
async fn update_user(who: Allowed<ChangePeople>, call: Call, authority: web::Data<Authority>) -> Answer {
    let may = MayChange::of(who.who(), call.path("id")?)?;
    call.no_query()?;
    let condition = call.precondition()?;
    let patch: UserPatch = call.patch().await?;
    let party = Party::Principal(who.who().id);
    let person =
        service::change_person(&call, &authority.passwords, party, (who.who().id, may), patch, condition).await?;
    let user = UserBody::from(person);
    Reply::changed(who.who(), &user, format!("/v1/users/{}", user.id))
}

/// Anonymise a person.
///
/// All that tells who it was is removed for good: name, email address, issuer, password, tokens and memberships. The id
/// stays, since tickets refer to it, and so do all numbers. Doing it again changes nothing. The last active admin
/// stays. What people have written, in tickets and comments, is text: redact those by `DELETE` on them.
#[utoipa::path(
    operation_id = "delete_user", tag = "users", security(("bearer" = ["admin"])),
    params(("id" = PrincipalId, Path, description = "The person's id.")),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 204, description = "The person is anonymised."))
)]
#[delete("/v1/users/{id}")]
async fn delete_user(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PrincipalId = call.path("id")?;
    call.no_query()?;
    let (condition, act, answers) = (call.precondition()?, who.act(&call), call.answers());
    let anonymise = async move |tx: &mut crate::db::Conn| service::anonymise(tx, id, &condition, &act, &answers).await;
    call.db().lengthy().write(Root::Principal(id), anonymise).await?;
    Ok(Reply::no_content())
}
