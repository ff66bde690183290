//! Service accounts as clients write and see them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::domain::Principal;
use crate::auth::domain::{Scope, Scopes};
use crate::auth::policy::Administer;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::secret::Secret;
use crate::kernel::{Instant, PrincipalId, Set};
use crate::people::domain::{Account, AccountChange, Name, NewAccount};

/// At least one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeList(Scopes);

impl Deserr<Faults> for ScopeList {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let scopes = Vec::<Scope>::deserialize_from_value(value, location)?;
        if scopes.is_empty() {
            return Err(Faults::at(location, "too_short", "must have at least one scope").with("min", 1));
        }
        Ok(Self(scopes.into_iter().collect()))
    }
}

/// A service account to be made.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "name": "monitor-eu", "scopes": ["tickets:write", "metrics:read"] }))]
pub struct NewServiceAccount {
    /// What the account is called; no other active account is called so.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Name,
    /// What the account may do: exactly this. A service account can hand on only what it has itself.
    #[schema(value_type = Vec<Scope>, min_items = 1)]
    pub scopes: ScopeList,
}

impl From<NewServiceAccount> for NewAccount {
    fn from(body: NewServiceAccount) -> Self {
        let NewServiceAccount { name, scopes } = body;
        Self { name, scopes: scopes.0 }
    }
}

/// A JSON merge patch (RFC 7396) of a service account: what is not mentioned stays.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "scopes": ["tickets:read", "tickets:write"] }))]
pub struct ServiceAccountPatch {
    /// What the account is called; no other active account is called so.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
    pub name: Set<Name>,
    /// What the account may do, from its next request on: exactly this. A service account can hand on only what it has
    /// itself.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<Scope>>, min_items = 1, nullable = false)]
    pub scopes: Set<ScopeList>,
}

impl From<ServiceAccountPatch> for AccountChange {
    fn from(patch: ServiceAccountPatch) -> Self {
        let ServiceAccountPatch { name, scopes } = patch;
        Self { name: name.0, scopes: scopes.0.map(|scopes| scopes.0) }
    }
}

/// A script or a monitor that uses this service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServiceAccount, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-5e5e5e5e5e5e", "name": "monitor-eu", "scopes": ["tickets:write", "metrics:read"],
    "active": true, "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct ServiceAccountBody {
    /// The account's id: its `client_id` for `POST /v1/auth/token`.
    pub id: PrincipalId,
    /// What the account is called.
    pub name: String,
    /// What the account may do: exactly this.
    pub scopes: Vec<Scope>,
    /// False once it was revoked.
    pub active: bool,
    /// When the account was made.
    pub created_at: Instant,
    /// When the account was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    pub version: i64,
}

impl From<Account> for ServiceAccountBody {
    fn from(account: Account) -> Self {
        Self {
            id: account.id,
            name: account.name,
            scopes: account.scopes.iter().collect(),
            active: account.active,
            created_at: account.created_at,
            updated_at: account.updated_at,
            version: account.version,
        }
    }
}

impl Resource for ServiceAccountBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<Administer>()
    }
}

impl Resource for ServiceAccountWithSecret {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.account.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<Administer>()
    }
}

/// A service account with its new secret.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-5e5e5e5e5e5e", "name": "monitor-eu", "scopes": ["tickets:write", "metrics:read"],
    "active": true, "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
    "secret": "sks_example-example-example-example-example-exa",
}))]
pub struct ServiceAccountWithSecret {
    /// The account.
    #[serde(flatten)]
    account: ServiceAccountBody,
    /// The `client_secret` for `POST /v1/auth/token`. Shown this once; keep it where secrets are kept.
    secret: String,
}

impl ServiceAccountWithSecret {
    /// The account `account` with its `secret` in clear.
    pub fn new(account: Account, secret: &Secret<String>) -> Self {
        Self { account: account.into(), secret: secret.reveal().clone() }
    }
}

impl ListItem for ServiceAccountBody {}
