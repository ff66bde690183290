//! The three ways to a token of ours (RFC 6749): by a service account's secret, by a person's password, and by a
//! refresh token, which is good for one use.

use super::credential::{self, Shown};
use super::domain::Scopes;
use super::password::Party;
use super::service::{Authority, most};
use super::store::{self, KnownRow, RefreshRow};
use crate::db::{Conn, Db, Root, Roots};
use crate::http::limits::Attempt;
use crate::http::{Call, record};
use crate::kernel::secret::Secret;
use crate::kernel::text::Email;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem};

/// What somebody shows to get a token.
#[derive(Debug, Clone)]
pub enum Grant {
    /// The id and the secret of a service account.
    ClientCredentials {
        /// The id.
        id: String,
        /// The secret.
        secret: Secret<String>,
    },
    /// The email address and the password of a person.
    Password {
        /// The email address.
        username: String,
        /// The password.
        password: Secret<String>,
    },
    /// A refresh token.
    RefreshToken(Secret<String>),
}

const CLIENT_CREDENTIALS: &str = "client_credentials";
const PASSWORD: &str = "password";
const REFRESH_TOKEN: &str = "refresh_token";

impl Grant {
    /// Its `grant_type` (RFC 6749).
    pub fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials { .. } => CLIENT_CREDENTIALS,
            Self::Password { .. } => PASSWORD,
            Self::RefreshToken(_) => REFRESH_TOKEN,
        }
    }

    /// The account that it names, in one spelling, whether there is such an account or not.
    pub fn account(&self) -> Option<String> {
        match self {
            Self::ClientCredentials { id, .. } => {
                Some(id.parse::<PrincipalId>().map_or_else(|_| id.clone(), |known| known.to_string()))
            }
            Self::Password { username, .. } => Some(username.to_lowercase()),
            Self::RefreshToken(_) => None,
        }
    }
}

/// What they get.
#[derive(Debug, Clone)]
pub struct Granted {
    /// The access token.
    pub access_token: Secret<String>,
    /// For how many seconds it is good.
    pub expires_in_s: i64,
    /// What it may be used for.
    pub scopes: Scopes,
    /// What to get the next one with.
    pub refresh_token: Option<Secret<String>>,
}

/// The one answer for all credentials that are not good, whatever is wrong with them. `error` is RFC 6749's word.
pub fn refused(error: &'static str) -> Problem {
    const DETAIL: &str = "These credentials are not valid.";
    Problem::new(Code::Unauthenticated, DETAIL).with("error", error).with("error_description", DETAIL)
}

/// The same, of somebody by whose name they were shown; the log tells of it.
fn refused_to(grant: &'static str, claimed: Option<PrincipalId>, error: &'static str) -> Problem {
    record::refused_login(grant, claimed);
    refused(error)
}

/// A scope that is not known, or more than there is to give.
pub fn invalid_scope(detail: impl Into<String>) -> Problem {
    Problem::field("/scope", "invalid", detail)
        .with("error", "invalid_scope")
        .with("error_description", "The scope is not known, or is more than can be granted.")
}

impl Authority {
    /// A token for whoever shows a good `grant`, for no more than `wanted` if that is given.
    ///
    /// # Errors
    /// `unauthenticated` for bad credentials, `rate_limited` for too many of them, `validation_failed` for a scope that
    /// is too wide.
    pub async fn grant(&self, call: &Call, grant: Grant, wanted: Option<Scopes>) -> Result<Granted, Problem> {
        let attempt = call.attempt(grant.account().as_deref())?;
        let granted = self.judge(call, &attempt, grant, wanted).await;
        match &granted {
            Ok(_) => attempt.succeeded(),
            Err(problem) if problem.code() == Code::Unauthenticated => drop(attempt),
            Err(_) => attempt.undo(),
        }
        granted
    }

    async fn judge(
        &self,
        call: &Call,
        attempt: &Attempt<'_>,
        grant: Grant,
        wanted: Option<Scopes>,
    ) -> Result<Granted, Problem> {
        let (kind, db, now, clock) = (grant.name(), &call.db(), call.now(), call.clock());
        match grant {
            Grant::ClientCredentials { id, secret } => {
                let account = known_account(db, &id, Shown::of(attempt, &secret)).await?;
                let narrowed = narrow(most(&account), wanted)?;
                self.granted(kind, &account, narrowed, None, now, clock)
            }
            Grant::Password { username, password } => {
                let party = Party::Origin(call.origin());
                let (person, hash) = self.known_person(db, attempt, party, username, password).await?;
                let narrowed = narrow(most(&person), wanted)?;
                let refresh_token = self.log_in(db, person.id, hash, narrowed, now, clock).await?;
                self.granted(kind, &person, narrowed, Some(refresh_token), now, clock)
            }
            Grant::RefreshToken(token) => {
                let (person, narrowed, next) = self.refresh(db, Shown::of(attempt, &token), wanted, now).await?;
                self.granted(kind, &person, narrowed, Some(next), now, clock)
            }
        }
    }

    /// A token for `known`, and the line of the log that tells of it.
    fn granted(
        &self,
        kind: &'static str,
        known: &KnownRow,
        narrowed: Option<Scopes>,
        refresh_token: Option<Secret<String>>,
        now: Instant,
        clock: &Clock,
    ) -> Result<Granted, Problem> {
        let expires_in_s = self.lifetimes.access_s;
        let access_token = Secret::new(self.mint(known.id, narrowed, expires_in_s, now, clock)?);
        let scopes = narrowed.map_or(most(known), |narrowed| most(known).and(narrowed));
        record::login(kind, known.id);
        Ok(Granted { access_token, expires_in_s, scopes, refresh_token })
    }

    /// The active person with this address and password, and its hash. Takes as long when there is none.
    async fn known_person(
        &self,
        db: &Db,
        attempt: &Attempt<'_>,
        party: Party,
        username: String,
        password: Secret<String>,
    ) -> Result<(KnownRow, String), Problem> {
        let found = match Email::parse(username) {
            Ok(email) => db.read(async |conn| store::by_email(conn, email.as_str()).await).await?,
            Err(_) => None,
        };
        let (person, hash) = found.unzip();
        let hash = hash.flatten();
        let right = self.passwords.verify(attempt, party, password, hash.clone()).await?;
        let claimed = person.as_ref().map(|person| person.id);
        let known = person.filter(|person| right && person.active).zip(hash);
        known.ok_or_else(|| refused_to(PASSWORD, claimed, "invalid_grant"))
    }

    /// Begins a family of refresh tokens, unless the person's password has changed since it was verified.
    async fn log_in(
        &self,
        db: &Db,
        principal_id: PrincipalId,
        hash: String,
        narrowed: Option<Scopes>,
        now: Instant,
        clock: &Clock,
    ) -> Result<Secret<String>, Problem> {
        let token = credential::generate("skr_")?;
        let row = RefreshRow {
            token_hash: token.fingerprint,
            family_id: clock.id(now),
            principal_id,
            scopes: narrowed.map(|scopes| scopes.to_string()),
            created_at: now,
            expires_at: now.plus_s(self.lifetimes.refresh_s),
            used_at: None,
            revoked_at: None,
        };
        db.write(Root::Principal(principal_id), async move |tx| {
            if !store::holds_password(tx, row.principal_id, &hash).await? {
                return Err(refused_to(PASSWORD, Some(row.principal_id), "invalid_grant"));
            }
            store::add_refresh_token(tx, &row).await
        })
        .await?;
        Ok(token.secret)
    }

    /// Takes a refresh token and gives the next one, for as much as the first of its family was for.
    async fn refresh(
        &self,
        db: &Db,
        used: Shown,
        wanted: Option<Scopes>,
        now: Instant,
    ) -> Result<(KnownRow, Option<Scopes>, Secret<String>), Problem> {
        let next = credential::generate("skr_")?;
        let fresh = next.fingerprint;
        let expires_at = now.plus_s(self.lifetimes.refresh_s);
        let rotated = db
            .write(Roots::none(), async move |tx| {
                let (row, person) = match redeem(tx, &used, now).await? {
                    Ok(redeemed) => redeemed,
                    Err(claimed) => return Ok(Err(claimed)),
                };
                let family = row.scopes.as_deref().map(Scopes::known_in);
                let most = family.map_or(most(&person), |scopes| scopes.and(most(&person)));
                let narrowed = narrow(most, wanted)?.or(family);
                let next = RefreshRow { token_hash: fresh.clone(), created_at: now, expires_at, used_at: None, ..row };
                store::add_refresh_token(tx, &next).await?;
                Ok(Ok((person, narrowed)))
            })
            .await?;
        // What was revoked stays revoked: only now, after the commit, does it become an error.
        let (person, narrowed) = rotated.map_err(|claimed| refused_to(REFRESH_TOKEN, claimed, "invalid_grant"))?;
        Ok((person, narrowed, next.secret))
    }
}

/// A refresh token and whose it is; if it is not good, whose it was, if anybody's.
type Redeemed = Result<(RefreshRow, KnownRow), Option<PrincipalId>>;

/// Uses up a refresh token, if it is good; if it was good once, its whole family is revoked, since two
/// parties hold it and one of them has stolen it (RFC 9700, 4.14.2).
async fn redeem(tx: &mut Conn, used: &Shown, now: Instant) -> Result<Redeemed, Problem> {
    let Some(row) = store::refresh_token(tx, used).await? else { return Ok(Err(None)) };
    let person = store::by_id(tx, row.principal_id).await?.filter(|person| person.active);
    let (Some(person), None, None) = (person, row.used_at, row.revoked_at) else {
        store::revoke_family(tx, row.family_id, now).await?;
        return Ok(Err(Some(row.principal_id)));
    };
    if row.expires_at <= now {
        return Ok(Err(Some(row.principal_id)));
    }
    store::use_refresh_token(tx, &row.token_hash, now).await?;
    Ok(Ok((row, person)))
}

/// The active service account with this id and secret.
async fn known_account(db: &Db, id: &str, secret: Shown) -> Result<KnownRow, Problem> {
    let found = match id.parse() {
        Ok(id) => db.read(async |conn| store::account(conn, id).await).await?,
        Err(_) => None,
    };
    let (account, hash) = found.unzip();
    let right = secret.is(&hash.flatten().unwrap_or_default());
    let claimed = account.as_ref().map(|account| account.id);
    let known = account.filter(|account| right && account.active);
    known.ok_or_else(|| refused_to(CLIENT_CREDENTIALS, claimed, "invalid_client"))
}

/// What is wanted, if it can be given.
fn narrow(most: Scopes, wanted: Option<Scopes>) -> Result<Option<Scopes>, Problem> {
    match wanted {
        Some(wanted) if !wanted.are_within(most) => Err(invalid_scope(format!("must be within: {most}"))),
        wanted => Ok(wanted),
    }
}

/// Forgets refresh tokens that have expired; gives how many.
pub async fn sweep(tx: &mut Conn, now: Instant) -> Result<usize, Problem> {
    store::forget_expired(tx, now).await
}
