//! From a token to a principal.

use jsonwebtoken::Algorithm;
use serde_json::Value;

use super::domain::{Kind, Principal, Scopes};
use super::keys::Keys;
use super::store::{self, KnownRow};
use super::token::{self, Claims, Expected, LONGEST_B, untrusted};
use crate::db::Db;
use crate::kernel::{Clock, Instant, PrincipalId, Problem};

/// Who is trusted to say who somebody is.
#[derive(Debug)]
pub struct Authority {
    /// Our own keys.
    pub keys: Keys,
    /// `iss` of our own tokens.
    pub issuer: String,
    /// `aud` of every token that is meant for us.
    pub audience: String,
}

impl Authority {
    /// The active principal that `token` speaks for. Looked up at each request, so that somebody who was deactivated is
    /// refused at once.
    ///
    /// # Errors
    /// `unauthenticated` or `token_expired`.
    pub async fn authenticate(&self, db: &Db, token: &str, now: Instant, clock: &Clock) -> Result<Principal, Problem> {
        let _ = clock;
        if token.len() > LONGEST_B {
            return Err(untrusted("too long"));
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| untrusted("not a token"))?;
        let Some(kid) = header.kid else { return Err(untrusted("no kid")) };
        let key = self.keys.verifier(&kid).ok_or_else(|| untrusted("unknown kid"))?;
        let expected = Expected { algorithms: &[Algorithm::EdDSA], issuer: &self.issuer, audience: &self.audience };
        let claims = token::check(token, key, &expected, now)?;
        let id = claims.get("sub").and_then(Value::as_str).and_then(|sub| sub.parse::<PrincipalId>().ok());
        let Some(id) = id else { return Err(untrusted("sub")) };
        let known = db.read(async |conn| store::by_id(conn, id).await).await?;
        principal(known.ok_or_else(|| untrusted("unknown sub"))?, &claims)
    }
}

/// What the database knows, narrowed by what the token says.
fn principal(known: KnownRow, claims: &Claims) -> Result<Principal, Problem> {
    if !known.active {
        return Err(untrusted("not active"));
    }
    let (kind, most) = match known.role {
        Some(role) => (Kind::Person(role), role.scopes()),
        None => (Kind::ServiceAccount, Scopes::known_in(known.scopes.as_deref().unwrap_or_default())),
    };
    let scopes = match claims.get("scope") {
        None => most,
        Some(Value::String(scope)) => most.and(Scopes::known_in(scope)),
        Some(_) => return Err(untrusted("scope")),
    };
    Ok(Principal { id: known.id, name: known.name, email: known.email, kind, scopes })
}
