//! Queries of service accounts.

use diesel::prelude::*;

use super::SERVICE_ACCOUNT;
use crate::auth::domain::Scopes;
use crate::db::fault::is_duplicate;
use crate::db::schema::principals;
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::secret::Secret;
use crate::kernel::{Code, Instant, PrincipalId, Problem};
use crate::people::domain::Account;

#[derive(Queryable, Selectable)]
#[diesel(table_name = principals)]
struct ServiceAccountRow {
    id: PrincipalId,
    name: String,
    #[diesel(select_expression = principals::scopes.assume_not_null())]
    scopes: String,
    #[diesel(select_expression = principals::secret_hash.assume_not_null())]
    secret_hash: String,
    active: bool,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<ServiceAccountRow> for Account {
    fn from(row: ServiceAccountRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            scopes: Scopes::known_in(&row.scopes),
            secret_hash: Secret::new(row.secret_hash),
            active: row.active,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// The service account `id`; a person is none.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: PrincipalId) -> Result<Account, Problem> {
    let query = principals::table.find(id).filter(principals::kind.eq(SERVICE_ACCOUNT));
    let row = on_each!(conn, |c| query.select(ServiceAccountRow::as_select()).first(c).await).optional()?;
    row.map(Account::from).ok_or_else(Problem::not_found)
}

/// The active service account `name`.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Account>, Problem> {
    let query = principals::table
        .filter(principals::name.eq(name))
        .filter(principals::kind.eq(SERVICE_ACCOUNT))
        .filter(principals::active.eq(true));
    let row = on_each!(conn, |c| query.select(ServiceAccountRow::as_select()).first(c).await).optional()?;
    Ok(row.map(Account::from))
}

/// At most `count` service accounts that were made after `after`, the oldest first.
pub async fn list(conn: &mut Conn, after: Option<PrincipalId>, count: i64) -> Result<Vec<Account>, Problem> {
    let first = after.unwrap_or(PrincipalId(uuid::Uuid::nil()));
    let query = principals::table
        .filter(principals::kind.eq(SERVICE_ACCOUNT))
        .filter(principals::id.gt(first))
        .order(principals::id)
        .limit(count);
    let rows: Vec<ServiceAccountRow> = on_each!(conn, |c| query.select(ServiceAccountRow::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(Account::from).collect())
}

/// Adds `account`.
///
/// # Errors
/// `conflict` when another active account has the name.
pub async fn insert(tx: &mut Conn, account: &Account) -> Result<(), Problem> {
    let row = (
        principals::id.eq(account.id),
        principals::kind.eq(SERVICE_ACCOUNT),
        principals::name.eq(&account.name),
        principals::scopes.eq(account.scopes.to_string()),
        principals::secret_hash.eq(account.secret_hash.reveal()),
        principals::active.eq(account.active),
        principals::created_at.eq(account.created_at),
        principals::updated_at.eq(account.updated_at),
        principals::version.eq(account.version),
    );
    let done = on_each!(tx, |c| diesel::insert_into(principals::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)
}

/// Stores all that can change of `account`.
///
/// # Errors
/// `conflict` when another active account has the name.
pub async fn update(tx: &mut Conn, account: &Account) -> Result<(), Problem> {
    let change = (
        principals::name.eq(&account.name),
        principals::scopes.eq(account.scopes.to_string()),
        principals::secret_hash.eq(account.secret_hash.reveal()),
        principals::active.eq(account.active),
        principals::updated_at.eq(account.updated_at),
        principals::version.eq(account.version),
    );
    let done = on_each!(tx, |c| diesel::update(principals::table.find(account.id)).set(change).execute(c).await);
    done.map(drop).map_err(taken)
}

fn taken(error: diesel::result::Error) -> Problem {
    if is_duplicate(&error, "principals_account_name_key", "principals.name") {
        Problem::new(Code::Conflict, "An active service account with this name exists already.")
    } else {
        error.into()
    }
}
