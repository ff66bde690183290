//! The use cases of service accounts.

use crate::auth::credential;
use crate::auth::domain::Scopes;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::http::idempotency::withdraw;
use crate::kernel::rows::Limit;
use crate::kernel::secret::Secret;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem};
use crate::people::domain::{Account, AccountChange, Gift, Name, NewAccount};
use crate::people::store::service_accounts as store;

/// What the secret of a service account begins with, so that it is known where it turns up.
const SECRET_PREFIX: &str = "sks_";

/// At most one page and one of the service accounts after `after`.
pub async fn list_accounts(conn: &mut Conn, after: Option<PrincipalId>, limit: Limit) -> Result<Vec<Account>, Problem> {
    store::list(conn, after, limit.and_one()).await
}

/// The service account `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_account(conn: &mut Conn, id: PrincipalId) -> Result<Account, Problem> {
    store::find(conn, id).await
}

/// Makes a service account; gives its secret too, which is stored nowhere in clear.
///
/// # Errors
/// `forbidden` when the caller lacks one of the scopes; `conflict` when another active account has the name.
pub async fn create_account(
    tx: &mut Conn,
    new: NewAccount,
    gift: Gift,
    now: Instant,
    clock: &Clock,
) -> Result<(Account, Secret<String>), Problem> {
    gift.check(new.scopes, Scopes::default())?;
    let made = credential::generate(SECRET_PREFIX)?;
    let account = new.into_account(clock.id(now), made.fingerprint, now);
    store::insert(tx, &account).await?;
    Ok((account, made.secret))
}

/// Changes a service account.
///
/// # Errors
/// `not_found`, `version_mismatch`; `forbidden` when the caller lacks a scope that the account does not have yet;
/// `conflict` when the account was revoked or another active account has the name.
pub async fn change_account(
    tx: &mut Conn,
    id: PrincipalId,
    change: AccountChange,
    gift: Gift,
    condition: &IfMatch,
    now: Instant,
) -> Result<Account, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    before.require_active()?;
    let Some(after) = before.changed(change, now) else { return Ok(before) };
    gift.check(after.scopes, before.scopes)?;
    store::update(tx, &after).await?;
    Ok(after)
}

/// Gives a service account another secret, which whoever gets it can do with all that the account can. No kept answer
/// tells the old one any more.
///
/// # Errors
/// `not_found`, `version_mismatch`; `forbidden` when the caller lacks one of the account's scopes; `conflict` when the
/// account was revoked.
pub async fn rotate_secret(
    tx: &mut Conn,
    id: PrincipalId,
    gift: Gift,
    condition: &IfMatch,
    now: Instant,
) -> Result<(Account, Secret<String>), Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    before.require_active()?;
    gift.check(before.scopes, Scopes::default())?;
    let made = credential::generate(SECRET_PREFIX)?;
    let after = before.with_secret(made.fingerprint, now);
    store::update(tx, &after).await?;
    withdraw(tx, id).await?;
    Ok((after, made.secret))
}

/// Revokes a service account: it is refused at once, and no kept answer tells its secret any more. A second time
/// changes nothing.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn revoke_account(tx: &mut Conn, id: PrincipalId, condition: &IfMatch, now: Instant) -> Result<(), Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    if before.active {
        store::update(tx, &before.revoked(now)).await?;
        withdraw(tx, id).await?;
    }
    Ok(())
}

/// The active service account `name`, which is made when there is none. Nobody knows the secret of one that is made
/// here until it is rotated.
///
/// # Errors
/// `conflict` when it has other scopes.
pub async fn find_or_create_account(
    tx: &mut Conn,
    name: &Name,
    scopes: Scopes,
    now: Instant,
    clock: &Clock,
) -> Result<PrincipalId, Problem> {
    match store::by_name(tx, name.as_str()).await? {
        Some(account) if account.scopes != scopes => {
            let detail =
                format!("The service account exists already, with other scopes, which are: {}.", account.scopes);
            Err(Problem::new(Code::Conflict, detail))
        }
        Some(account) => Ok(account.id),
        None => {
            let made = credential::generate(SECRET_PREFIX)?;
            let new = NewAccount { name: name.clone(), scopes };
            let account = new.into_account(clock.id(now), made.fingerprint, now);
            match store::insert(tx, &account).await {
                // Made by another instance since our snapshot was taken: the next attempt finds it.
                Err(problem) if problem.code() == Code::Conflict => Err(Problem::transient(problem)),
                other => other.map(|()| account.id),
            }
        }
    }
}
