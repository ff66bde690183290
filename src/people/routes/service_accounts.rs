//! The endpoints of service accounts.

use actix_web::{delete, get, patch, post};

use crate::auth::policy::{Administer, Allowed};
use crate::db::{Conn, Root, Roots};
use crate::http::{Answer, Call, Endpoints, Page, PageQuery, Reply};
use crate::kernel::PrincipalId;
use crate::people::domain::{AccountChange, Gift, NewAccount};
use crate::people::service;
use crate::people::wire::{NewServiceAccount, ServiceAccountBody, ServiceAccountPatch, ServiceAccountWithSecret};

/// What a cursor of the list is bound to.
const LIST: &str = "service accounts";

/// Registers the endpoints of service accounts.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_service_accounts)
        .service(create_service_account)
        .service(get_service_account)
        .service(update_service_account)
        .service(delete_service_account)
        .service(rotate_service_account_secret);
}

/// List service accounts.
///
/// Oldest first, with those that were revoked. Secrets are never shown.
#[utoipa::path(
    operation_id = "list_service_accounts", tag = "service accounts", security(("bearer" = ["admin"])),
    params(PageQuery),
    responses((status = 200, description = "A page of service accounts.", body = Page<ServiceAccountBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/service-accounts")]
async fn list_service_accounts(_who: Allowed<Administer>, call: Call) -> Answer {
    let query: PageQuery = call.query()?;
    let after = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let accounts =
        call.db().list(async move |conn: &mut Conn| service::list_accounts(conn, after, query.limit).await).await?;
    Page::reply(&call, query.limit, LIST, accounts, |account| account.id, ServiceAccountBody::from)
}

/// Make a service account.
///
/// For a script or a monitor. It has exactly its scopes; a service account that makes another one can hand on what it
/// has itself. The secret is shown this once: with the `id` as `client_id`, `POST /v1/auth/token` gives tokens for it.
#[utoipa::path(
    operation_id = "create_service_account", tag = "service accounts", security(("bearer" = ["admin"])),
    request_body = NewServiceAccount, extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 201, description = "The account and its secret.", body = ServiceAccountWithSecret, headers(
        ("ETag" = String, description = "The account's version."),
        ("Location" = String, description = "Where the account is."))))
)]
#[post("/v1/service-accounts")]
async fn create_service_account(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let new = NewAccount::from(call.body::<NewServiceAccount>().await?);
    let (gift, now, clock) = (Gift::of(who.who()), call.now(), call.clock().clone());
    call.create(who.who(), Roots::none(), async move |tx| {
        let (account, secret) = service::create_account(tx, new.clone(), gift, now, &clock).await?;
        let place = format!("/v1/service-accounts/{}", account.id);
        Ok((ServiceAccountWithSecret::new(account, &secret), place))
    })
    .await
}

/// Read a service account.
///
/// One that was revoked stays readable, with `active` false.
#[utoipa::path(
    operation_id = "get_service_account", tag = "service accounts", security(("bearer" = ["admin"])),
    params(("id" = PrincipalId, Path, description = "The account's id.")),
    responses((status = 200, description = "The account.", body = ServiceAccountBody,
        headers(("ETag" = String, description = "The account's version."))))
)]
#[get("/v1/service-accounts/{id}")]
async fn get_service_account(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PrincipalId = call.path("id")?;
    call.no_query()?;
    let account = call.db().read(async |conn| service::read_account(conn, id).await).await?;
    Reply::resource(who.who(), &ServiceAccountBody::from(account))
}

/// Change a service account.
///
/// A JSON merge patch: what is not mentioned stays. A patch that changes nothing leaves the version as it is. Other
/// scopes hold from the account's next request on, whatever its tokens say.
#[utoipa::path(
    operation_id = "update_service_account", tag = "service accounts", security(("bearer" = ["admin"])),
    params(("id" = PrincipalId, Path, description = "The account's id.")),
    request_body(content(
        (ServiceAccountPatch = "application/merge-patch+json"), (ServiceAccountPatch = "application/json"))),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 200, description = "The account as it is now.", body = ServiceAccountBody,
        headers(("ETag" = String, description = "The account's version."))))
)]
#[patch("/v1/service-accounts/{id}")]
async fn update_service_account(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PrincipalId = call.path("id")?;
    call.no_query()?;
    let (gift, condition, now) = (Gift::of(who.who()), call.precondition()?, call.now());
    let change = AccountChange::from(call.patch::<ServiceAccountPatch>().await?);
    let write = async move |tx: &mut _| service::change_account(tx, id, change.clone(), gift, &condition, now).await;
    let account = ServiceAccountBody::from(call.db().write(Root::Principal(id), write).await?);
    Reply::changed(who.who(), &account, format!("/v1/service-accounts/{id}"))
}

/// Revoke a service account.
///
/// It is refused at once, whatever tokens it has, and for good. It stays readable, since tickets refer to it; its name
/// is free again. Doing it again changes nothing.
#[utoipa::path(
    operation_id = "delete_service_account", tag = "service accounts", security(("bearer" = ["admin"])),
    params(("id" = PrincipalId, Path, description = "The account's id.")),
    responses((status = 204, description = "The account is revoked."))
)]
#[delete("/v1/service-accounts/{id}")]
async fn delete_service_account(_who: Allowed<Administer>, call: Call) -> Answer {
    let id: PrincipalId = call.path("id")?;
    call.no_query()?;
    let (condition, now) = (call.precondition()?, call.now());
    call.db()
        .write(Root::Principal(id), async move |tx| service::revoke_account(tx, id, &condition, now).await)
        .await?;
    Ok(Reply::no_content())
}

/// Give a service account another secret.
///
/// The old one is refused from now on; tokens that were got with it last until they expire. The new one is shown this
/// once. A service account can do this for accounts whose scopes it has all itself.
#[utoipa::path(
    operation_id = "rotate_service_account_secret", tag = "service accounts", security(("bearer" = ["admin"])),
    params(("id" = PrincipalId, Path, description = "The account's id.")),
    extensions(("x-problems" = json!(["conflict"]))),
    responses((status = 200, description = "The account and its new secret.", body = ServiceAccountWithSecret,
        headers(("ETag" = String, description = "The account's version."))))
)]
#[post("/v1/service-accounts/{id}/secret")]
async fn rotate_service_account_secret(who: Allowed<Administer>, call: Call) -> Answer {
    let id: PrincipalId = call.path("id")?;
    call.no_query()?;
    let (gift, condition, now) = (Gift::of(who.who()), call.precondition()?, call.now());
    let rotate = async move |tx: &mut _| service::rotate_secret(tx, id, gift, &condition, now).await;
    let (account, secret) = call.db().write(Root::Principal(id), rotate).await?;
    let account = ServiceAccountWithSecret::new(account, &secret);
    Reply::changed(who.who(), &account, format!("/v1/service-accounts/{id}"))
}
