//! What authentication reads and writes: principals and refresh tokens.

use diesel::prelude::*;

use super::credential::Shown;
use super::domain::{FamilyId, Role, person_words};
use crate::db::fault::is_duplicate;
use crate::db::schema::{person_words as person_index, principals, refresh_tokens, team_members, teams};
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::{Instant, PrincipalId, Problem, TeamId};

/// As much of a principal as a request needs.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = principals)]
pub struct KnownRow {
    /// Its id.
    pub id: PrincipalId,
    /// Its name.
    pub name: String,
    /// Its email address.
    pub email: Option<String>,
    /// The role of a person, nothing for a service account.
    pub role: Option<Role>,
    /// The scopes of a service account.
    pub scopes: Option<String>,
    /// Whether it may act.
    pub active: bool,
}

/// The principal `id`.
pub async fn by_id(conn: &mut Conn, id: PrincipalId) -> Result<Option<KnownRow>, Problem> {
    let row = on_each!(conn, |c| principals::table.find(id).select(KnownRow::as_select()).first(c).await);
    Ok(row.optional()?)
}

/// How many teams of a principal are told.
const MOST_TEAMS: i64 = 100;

/// The teams that `id` is in, by id and name: the first hundred, the oldest first.
pub async fn teams_of(conn: &mut Conn, id: PrincipalId) -> Result<Vec<(TeamId, String)>, Problem> {
    let own = team_members::table.inner_join(teams::table).filter(team_members::principal_id.eq(id));
    let own = own.order(teams::id).limit(MOST_TEAMS).select((teams::id, teams::name));
    Ok(on_each!(conn, |c| own.load(c).await)?)
}

/// The person whom `issuer` calls `subject`.
pub async fn by_subject(conn: &mut Conn, issuer: &str, subject: &str) -> Result<Option<KnownRow>, Problem> {
    let person = principals::table.filter(principals::issuer.eq(issuer)).filter(principals::subject.eq(subject));
    let row = on_each!(conn, |c| person.select(KnownRow::as_select()).first(c).await);
    Ok(row.optional()?)
}

/// The person with the address `email`, and the hash of their password if they have one.
pub async fn by_email(conn: &mut Conn, email: &str) -> Result<Option<(KnownRow, Option<String>)>, Problem> {
    let person = principals::table.filter(principals::email.eq(email));
    let row = on_each!(conn, |c| person.select((KnownRow::as_select(), principals::password_hash)).first(c).await);
    Ok(row.optional()?)
}

/// The service account `id`, and the fingerprint of its secret.
pub async fn account(conn: &mut Conn, id: PrincipalId) -> Result<Option<(KnownRow, Option<String>)>, Problem> {
    let account = principals::table.find(id).filter(principals::role.is_null());
    let row = on_each!(conn, |c| account.select((KnownRow::as_select(), principals::secret_hash)).first(c).await);
    Ok(row.optional()?)
}

/// Adds the person `known`, whom `issuer` calls `subject`.
///
/// # Errors
/// When the database is away; transient when another request has just made this person or taken the address.
pub async fn add_outsider(
    tx: &mut Conn,
    known: &KnownRow,
    issuer: &str,
    subject: &str,
    now: Instant,
) -> Result<(), Problem> {
    let row = (
        principals::id.eq(known.id),
        principals::kind.eq("person"),
        principals::name.eq(&known.name),
        principals::email.eq(&known.email),
        principals::role.eq(known.role),
        principals::issuer.eq(issuer),
        principals::subject.eq(subject),
        principals::active.eq(known.active),
        principals::created_at.eq(now),
        principals::updated_at.eq(now),
        principals::version.eq(1),
    );
    match on_each!(tx, |c| diesel::insert_into(principals::table).values(row).execute(c).await) {
        // Committed by another request since our snapshot was taken: the next attempt sees it.
        Err(error) if is_taken(&error) => return Err(Problem::transient(error)),
        other => other?,
    };
    put_words(tx, known.id, known.role, &known.name, known.email.as_deref()).await
}

/// Gives the person `known.id` the role, name and address of `known`. Who becomes a requester has no hourly rate.
///
/// # Errors
/// When the database is away; transient when another request has just taken the address.
pub async fn describe(tx: &mut Conn, known: &KnownRow, now: Instant) -> Result<(), Problem> {
    let no_rate = (known.role == Some(Role::Requester))
        .then(|| (principals::hourly_rate_minor.eq(None::<i64>), principals::hourly_rate_currency.eq(None::<String>)));
    let change = (
        principals::name.eq(&known.name),
        principals::email.eq(&known.email),
        principals::role.eq(known.role),
        no_rate,
        principals::updated_at.eq(now),
        principals::version.eq(principals::version + 1),
    );
    match on_each!(tx, |c| diesel::update(principals::table.find(known.id)).set(change).execute(c).await) {
        Err(error) if is_taken(&error) => return Err(Problem::transient(error)),
        other => other?,
    };
    put_words(tx, known.id, known.role, &known.name, known.email.as_deref()).await
}

/// Lets the person `id` be found by the words of this name and address, and by no others. Whoever has no role is not
/// looked for.
pub async fn put_words(
    tx: &mut Conn,
    id: PrincipalId,
    role: Option<Role>,
    name: &str,
    email: Option<&str>,
) -> Result<(), Problem> {
    forget_words(tx, id).await?;
    let Some(role) = role else { return Ok(()) };
    for word in person_words(name, email) {
        let row = (person_index::role.eq(role), person_index::word.eq(word), person_index::principal_id.eq(id));
        send!(tx, steady(diesel::insert_into(person_index::table).values(row)))?;
    }
    Ok(())
}

/// Lets the person `id` be found by nothing.
pub async fn forget_words(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    send!(tx, steady(diesel::delete(person_index::table.filter(person_index::principal_id.eq(id)))))
}

fn is_taken(error: &diesel::result::Error) -> bool {
    is_duplicate(error, "principals_subject_key", "principals.issuer, principals.subject")
        || is_duplicate(error, "principals_email_key", "principals.email")
}

/// Whether the person `id` is active and still has the password that `hash` is of. Writes the row as it is, since
/// PostgreSQL lets one of two transactions begin anew only if both write it: whoever changes the password at the same
/// time then also ends the login that this transaction begins.
///
/// # Errors
/// When the database is away; transient when the person has just been changed.
pub async fn holds_password(tx: &mut Conn, id: PrincipalId, hash: &str) -> Result<bool, Problem> {
    let person =
        principals::table.find(id).filter(principals::password_hash.eq(hash)).filter(principals::active.eq(true));
    let same = principals::active.eq(true);
    Ok(on_each!(tx, |c| diesel::update(person).set(same).execute(c).await)? == 1)
}

/// A refresh token as it is stored.
#[derive(Debug, Clone, Queryable, Selectable, Insertable)]
#[diesel(table_name = refresh_tokens)]
pub struct RefreshRow {
    /// Its fingerprint.
    pub token_hash: String,
    /// All that descend from one login.
    pub family_id: FamilyId,
    /// Whose it is.
    pub principal_id: PrincipalId,
    /// What it was narrowed to, if it was.
    pub scopes: Option<String>,
    /// When it was given.
    pub created_at: Instant,
    /// Until when it can be used.
    pub expires_at: Instant,
    /// When it was used.
    pub used_at: Option<Instant>,
    /// When its family was revoked.
    pub revoked_at: Option<Instant>,
}

/// The refresh token that was shown.
pub async fn refresh_token(conn: &mut Conn, shown: &Shown) -> Result<Option<RefreshRow>, Problem> {
    let token = refresh_tokens::table.find(shown.fingerprint());
    let row = on_each!(conn, |c| token.select(RefreshRow::as_select()).first(c).await);
    Ok(row.optional()?)
}

/// Adds a refresh token.
pub async fn add_refresh_token(tx: &mut Conn, row: &RefreshRow) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::insert_into(refresh_tokens::table).values(row).execute(c).await)?;
    Ok(())
}

/// Notes that a refresh token was used.
pub async fn use_refresh_token(tx: &mut Conn, token_hash: &str, now: Instant) -> Result<(), Problem> {
    let token = refresh_tokens::table.find(token_hash);
    on_each!(tx, |c| diesel::update(token).set(refresh_tokens::used_at.eq(now)).execute(c).await)?;
    Ok(())
}

/// Revokes all refresh tokens of one family.
pub async fn revoke_family(tx: &mut Conn, family: FamilyId, now: Instant) -> Result<(), Problem> {
    let family =
        refresh_tokens::table.filter(refresh_tokens::family_id.eq(family)).filter(refresh_tokens::revoked_at.is_null());
    on_each!(tx, |c| diesel::update(family).set(refresh_tokens::revoked_at.eq(now)).execute(c).await)?;
    Ok(())
}

/// Forgets refresh tokens that have expired.
pub async fn forget_expired(tx: &mut Conn, now: Instant) -> Result<usize, Problem> {
    let expired = refresh_tokens::table.filter(refresh_tokens::expires_at.le(now));
    Ok(on_each!(tx, |c| diesel::delete(expired).execute(c).await)?)
}
