//! Getting a token, and being known by it.

use actix_web::{get, post, web};

use super::policy::{Allowed, BeKnown};
use super::service::Authority;
use super::store;
use super::wire::{JwkSet, Me, TokenBody, TokenForm, invalid_request};
use crate::http::{Answer, Call, Endpoints, Reply};

/// The operations of this room.
pub fn routes(config: &mut impl Endpoints) {
    config.service(create_token).service(read_me).service(read_jwks);
}

/// Get a token
///
/// OAuth 2 (RFC 6749), form-encoded. Service accounts use `client_credentials`, with their id and secret in the form or
/// by HTTP Basic. People who have a password here use `password`, with their email address as `username`, and later
/// `refresh_token`: each refresh token is good for one use, and one that comes back a second time ends the whole login.
/// A failure carries the members `error` and `error_description` of RFC 6749 beside `code`. Who fails too often is
/// asked to wait (429), also with the right password.
#[utoipa::path(
    operation_id = "create_token",
    tag = "auth",
    security(()),
    request_body(
        content = TokenForm,
        content_type = "application/x-www-form-urlencoded",
        examples(
            ("password" = (summary = "A person", value = json!({
                "grant_type": "password", "username": "ada@example.org", "password": "correct horse battery staple",
            }))),
            ("refresh_token" = (summary = "The same person, later", value = json!({
                "grant_type": "refresh_token", "refresh_token": "skr_c2Vjb25kIHRva2VuIG9mIHRoaXMgZmFtaWx5IQ",
            }))),
            ("client_credentials" = (summary = "A service account", value = json!({
                "grant_type": "client_credentials",
                "client_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
                "client_secret": "sks_YSBzZWNyZXQgb2YgYSBzZXJ2aWNlIGFjY291bnQ",
                "scope": "tickets:read tickets:write",
            }))),
        ),
    ),
    responses(
        (status = 200, description = "A token.", body = TokenBody, example = json!({
            "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.e30.c2lnbmF0dXJl",
            "token_type": "Bearer",
            "expires_in": 900,
            "scope": "tickets:read tickets:write comments:read comments:write",
            "refresh_token": "skr_c2Vjb25kIHRva2VuIG9mIHRoaXMgZmFtaWx5IQ",
        })),
    ),
    extensions(("x-problems" = json!(["unauthenticated", "validation_failed", "unsupported_media_type"]))),
)]
#[post("/v1/auth/token")]
pub async fn create_token(call: Call, authority: web::Data<Authority>) -> Answer {
    call.no_query()?;
    let form: TokenForm = call.form().await.map_err(invalid_request)?;
    let (grant, scopes) = form.read(call.headers())?;
    let granted = authority.grant(&call, grant, scopes).await?;
    let reply = Reply::ok(&TokenBody::from(granted))?;
    Ok(reply.header("cache-control", "no-store".into()).header("pragma", "no-cache".into()))
}

/// See who the token speaks for
///
/// The person or service account, what this token may be used for, and in which teams the person is.
#[utoipa::path(
    operation_id = "get_me",
    tag = "auth",
    security(("bearer" = [])),
    responses(
        (status = 200, description = "Who calls.", body = Me, examples(
            ("person" = (summary = "A person", value = json!({
                "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
                "kind": "person",
                "name": "Ada Lovelace",
                "email": "ada@example.org",
                "role": "requester",
                "scopes": ["tickets:read", "tickets:write", "comments:read", "comments:write"],
                "teams": [],
            }))),
            ("service_account" = (summary = "A service account", value = json!({
                "id": "019a2f4e-7c1b-7d3e-8f00-abcdef123456",
                "kind": "service_account",
                "name": "night-watch",
                "email": null,
                "role": null,
                "scopes": ["tickets:write"],
                "teams": [],
            }))),
        )),
    ),
)]
#[get("/v1/me")]
pub async fn read_me(allowed: Allowed<BeKnown>, call: Call) -> Answer {
    call.no_query()?;
    let id = allowed.who().id;
    let teams = call.db().read(async move |conn| store::teams_of(conn, id).await).await?;
    Reply::ok(&Me::of(allowed.who(), teams))
}

/// Read the public keys
///
/// A JWK set (RFC 7517) with the keys that verify this service's own tokens. Keep it no longer than `Cache-Control`
/// says, and read it again when a token names a `kid` that is not in it.
#[utoipa::path(
    operation_id = "get_jwks",
    tag = "auth",
    security(()),
    responses(
        (status = 200, description = "The public keys.", body = JwkSet, example = json!({
            "keys": [{
                "kty": "OKP",
                "crv": "Ed25519",
                "alg": "EdDSA",
                "use": "sig",
                "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            }],
        })),
    ),
)]
#[get("/.well-known/jwks.json")]
pub async fn read_jwks(call: Call, authority: web::Data<Authority>) -> Answer {
    call.no_query()?;
    Ok(Reply::ok(&authority.keys.jwks())?.header("cache-control", "public, max-age=300".into()))
}
