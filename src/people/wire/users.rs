//! People as clients write and see them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use crate::auth::domain::Principal;
use crate::auth::domain::Role;
use crate::auth::password::Password;
use crate::auth::policy::ReadPeople;
use crate::http::{Csv, Cursor, Flag};
use crate::http::{ListItem, Resource};
use crate::kernel::fault::{self, Faults};
use crate::kernel::rows::Limit;
use crate::kernel::secret::Secret;
use crate::kernel::text::Email;
use crate::kernel::{Instant, Money, MoneyInput, MoneyPatch, MoneyPatchInput, Patch, PrincipalId, Set};
use crate::people::domain::{Name, Person, PersonFilter, PersonSearch};

/// A person to be made.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "name": "Grace Hopper", "email": "grace@example.org", "role": "agent", "password": "a moth in relay 70" }))]
pub struct NewUser {
    /// What the person is called.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Name,
    /// The email address, which nobody else has; kept in lower case.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    pub email: Option<Email>,
    /// What the person is at the counter.
    pub role: Role,
    /// For people who log in here, by `POST /v1/auth/token`; needs an email address. Never shown again.
    #[deserr(default)]
    #[schema(value_type = Option<Password>, write_only)]
    pub password: Option<Password>,
    /// What an hour of the person's work costs; for agents and admins.
    #[deserr(default)]
    #[schema(value_type = Option<MoneyInput>)]
    pub hourly_rate: Option<Money>,
}

/// A JSON merge patch (RFC 7396) of a person: what is not mentioned stays, null empties.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "role": "admin", "email": "grace.hopper@example.org" }))]
pub struct UserPatch {
    /// What the person is called.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200, nullable = false)]
    pub name: Set<Name>,
    /// The email address, which nobody else has; kept in lower case. Admins only.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    pub email: Patch<Email>,
    /// What the person is at the counter. Admins only.
    #[deserr(default)]
    #[schema(value_type = Option<Role>, nullable = false)]
    pub role: Set<Role>,
    /// False refuses the person from now on, whatever tokens it has. Admins only.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    pub active: Set<bool>,
    /// Another password; null removes it, and the person cannot log in here any more.
    #[deserr(default)]
    #[schema(value_type = Option<Password>, write_only)]
    pub password: Patch<Password>,
    /// The password so far: needed to change your own, if you have one.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = Password, write_only, nullable = false)]
    pub current_password: Set<Claimed>,
    /// What an hour of the person's work costs from now on; null for nothing of its own. For agents and admins; whoever
    /// becomes a requester loses it. Work that was entered before keeps its cost. Admins only.
    #[deserr(default)]
    #[schema(value_type = Option<MoneyPatchInput>)]
    pub hourly_rate: Patch<MoneyPatch>,
}

/// A password as somebody claims it to be: any text.
#[derive(Debug, Clone)]
pub struct Claimed(pub Secret<String>);

impl Deserr<Faults> for Claimed {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        fault::string(value, location).map(|text| Self(Secret::new(text)))
    }
}

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "name": "Grace Hopper", "email": "grace@example.org", "role": "agent",
    "active": true, "issuer": null, "has_password": true,
    "hourly_rate": { "amount_minor": 9000, "currency": "EUR" }, "created_at": "2026-03-01T09:30:00.000000Z",
    "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct UserBody {
    /// The person's id.
    pub id: PrincipalId,
    /// What the person is called; `Anonymised` when all that tells who it was is gone.
    pub name: String,
    /// The email address, in lower case.
    #[schema(required)]
    pub email: Option<String>,
    /// What the person is at the counter.
    pub role: Role,
    /// Whether the person may use this service.
    pub active: bool,
    /// The outside issuer whose tokens the person comes with; null for people of this service.
    #[schema(required)]
    pub issuer: Option<String>,
    /// Whether the person can log in here.
    pub has_password: bool,
    /// What an hour of the person's work costs; null when that is up to the team or the service.
    #[schema(required)]
    pub hourly_rate: Option<Money>,
    /// When the person was made.
    pub created_at: Instant,
    /// When the person was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    pub version: i64,
}

impl From<Person> for UserBody {
    fn from(person: Person) -> Self {
        Self {
            id: person.id,
            name: person.name,
            email: person.email,
            role: person.role,
            active: person.active,
            issuer: person.issuer,
            has_password: person.password_hash.is_some(),
            hourly_rate: person.hourly_rate,
            created_at: person.created_at,
            updated_at: person.updated_at,
            version: person.version,
        }
    }
}

impl Resource for UserBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadPeople>()
    }

    /// Everybody may see themselves.
    fn is_seen_by(&self, reader: &Principal) -> bool {
        Self::is_open_to(reader) || (reader.role().is_some() && reader.id == self.id)
    }
}

/// How many people a list of those that one names has at most.
pub const MOST_PEOPLE_NAMED: usize = 200;

/// The filters of a list of people.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct UserQuery {
    /// One or more roles, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Role>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["agent", "admin"]))]
    pub role: Option<Csv<Role>>,
    /// What somebody types who looks for a person: each of at most 8 words begins a word of the name or of the address.
    /// Case and diacritics make no difference. The list is in the order of the words by which people are found then,
    /// and a page may have fewer items than `limit` and yet a `next_cursor`.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, max_length = 254, example = "grace hop")]
    pub q: Option<PersonSearch>,
    /// Only these people, by id, separated by commas; at most 200. Those who do not exist are left out.
    #[deserr(default)]
    #[param(value_type = Option<Vec<PrincipalId>>, min_items = 1, max_items = 200, style = Form, explode = false)]
    pub ids: Option<Csv<PrincipalId, MOST_PEOPLE_NAMED>>,
    /// Exactly this address, in any case.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = "email", max_length = 254, example = "grace@example.org")]
    pub email: Option<Email>,
    /// Only people who may use this service, or only those who may not.
    #[deserr(default)]
    #[param(value_type = Option<bool>)]
    pub active: Option<Flag>,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

impl UserQuery {
    /// The filters but for `q`.
    pub fn filter(&self) -> PersonFilter {
        PersonFilter {
            roles: self.role.as_ref().map(|any| any.0.clone()),
            email: self.email.as_ref().map(|email| email.as_str().to_owned()),
            active: self.active.map(|flag| flag.0),
            ids: self.ids.as_ref().map(|any| any.0.clone()),
        }
    }
}

impl ListItem for UserBody {}
