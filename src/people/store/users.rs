//! Queries of people.

use std::collections::HashMap;

use diesel::prelude::*;

use super::PERSON;
use crate::auth::domain::Role;
use crate::db::fault::is_duplicate;
use crate::db::schema::{files, idempotency_keys, principals, refresh_tokens, team_members, ticket_views};
use crate::db::signal::FilesWaiting;
use crate::db::{Conn, RunQueryDsl, boxed, load_locked, on_each};
use crate::kernel::secret::Secret;
use crate::kernel::{Code, Currency, FileState, Instant, Money, PrincipalId, Problem};
use crate::people::domain::{Person, PersonFilter};

#[derive(Queryable, Selectable)]
#[diesel(table_name = principals)]
struct UserRow {
    id: PrincipalId,
    name: String,
    email: Option<String>,
    #[diesel(select_expression = principals::role.assume_not_null())]
    role: Role,
    active: bool,
    password_hash: Option<String>,
    issuer: Option<String>,
    subject: Option<String>,
    hourly_rate_minor: Option<i64>,
    hourly_rate_currency: Option<Currency>,
    anonymised_at: Option<Instant>,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<UserRow> for Person {
    fn from(row: UserRow) -> Self {
        Self {
            id: row.id,
            name: row.name,
            email: row.email,
            role: row.role,
            active: row.active,
            password_hash: row.password_hash.map(Secret::new),
            issuer: row.issuer,
            subject: row.subject,
            hourly_rate: Money::from_stored(row.hourly_rate_minor, row.hourly_rate_currency),
            anonymised_at: row.anonymised_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// The person `id`; a service account is none.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: PrincipalId) -> Result<Person, Problem> {
    let query = principals::table.find(id).filter(principals::kind.eq(PERSON));
    let row = on_each!(conn, |c| query.select(UserRow::as_select()).first(c).await).optional()?;
    row.map(Person::from).ok_or_else(Problem::not_found)
}

/// The person with the address `email`, which is in lower case.
pub async fn by_email(conn: &mut Conn, email: &str) -> Result<Option<Person>, Problem> {
    let query = principals::table.filter(principals::email.eq(email)).filter(principals::kind.eq(PERSON));
    let row = on_each!(conn, |c| query.select(UserRow::as_select()).first(c).await).optional()?;
    Ok(row.map(Person::from))
}

/// These people, by their ids.
pub async fn by_ids(conn: &mut Conn, ids: Vec<PrincipalId>) -> Result<HashMap<PrincipalId, Person>, Problem> {
    let these = principals::table.filter(principals::id.eq_any(ids)).filter(principals::kind.eq(PERSON));
    let rows: Vec<UserRow> = on_each!(conn, |c| these.select(UserRow::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(|row| (row.id, row.into())).collect())
}

/// At most `count` people of `filter`, the oldest first, behind `after`.
pub async fn list(
    conn: &mut Conn,
    filter: &PersonFilter,
    after: Option<PrincipalId>,
    count: i64,
) -> Result<Vec<Person>, Problem> {
    let PersonFilter { roles, email, active, ids } = filter;
    let rows: Vec<UserRow> = on_each!(conn, |c| {
        let mut query = boxed(c, principals::table.filter(principals::kind.eq(PERSON)).select(UserRow::as_select()));
        if let Some(roles) = roles {
            query = query.filter(principals::role.eq_any(roles));
        }
        if let Some(email) = email {
            query = query.filter(principals::email.eq(email));
        }
        if let Some(active) = active {
            query = query.filter(principals::active.eq(active));
        }
        if let Some(ids) = ids {
            query = query.filter(principals::id.eq_any(ids));
        }
        if let Some(after) = after {
            query = query.filter(principals::id.gt(after));
        }
        query.order(principals::id).limit(count).load(c).await
    })?;
    Ok(rows.into_iter().map(Person::from).collect())
}

/// Whether there is an active admin besides `id`. On PostgreSQL their rows are locked, so that two admins cannot
/// dismiss each other at once: the later one starts again and sees the first one's change.
pub async fn is_other_admin(tx: &mut Conn, id: PrincipalId) -> Result<bool, Problem> {
    use diesel::QueryDsl;
    let admins = principals::table
        .filter(principals::kind.eq(PERSON))
        .filter(principals::role.eq(Role::Admin))
        .filter(principals::active.eq(true))
        .order(principals::id)
        .select(principals::id);
    let all: Vec<PrincipalId> = load_locked!(tx, admins)?;
    Ok(all.iter().any(|admin| *admin != id))
}

/// Adds `person`.
///
/// # Errors
/// `conflict` when somebody has the address.
pub async fn insert(tx: &mut Conn, person: &Person) -> Result<(), Problem> {
    let row = (
        principals::id.eq(person.id),
        principals::kind.eq(PERSON),
        principals::name.eq(&person.name),
        principals::email.eq(&person.email),
        principals::role.eq(person.role),
        principals::password_hash.eq(person.password_hash.as_ref().map(Secret::reveal)),
        principals::issuer.eq(&person.issuer),
        principals::subject.eq(&person.subject),
        principals::active.eq(person.active),
        principals::hourly_rate_minor.eq(person.hourly_rate.map(|rate| rate.amount_minor)),
        principals::hourly_rate_currency.eq(person.hourly_rate.map(|rate| rate.currency)),
        principals::anonymised_at.eq(person.anonymised_at),
        principals::created_at.eq(person.created_at),
        principals::updated_at.eq(person.updated_at),
        principals::version.eq(person.version),
    );
    let done = on_each!(tx, |c| diesel::insert_into(principals::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)
}

/// Stores all that can change of `person`.
///
/// # Errors
/// `conflict` when somebody else has the address.
pub async fn update(tx: &mut Conn, person: &Person) -> Result<(), Problem> {
    let change = (
        principals::name.eq(&person.name),
        principals::email.eq(&person.email),
        principals::role.eq(person.role),
        principals::password_hash.eq(person.password_hash.as_ref().map(Secret::reveal)),
        principals::issuer.eq(&person.issuer),
        principals::subject.eq(&person.subject),
        principals::active.eq(person.active),
        principals::hourly_rate_minor.eq(person.hourly_rate.map(|rate| rate.amount_minor)),
        principals::hourly_rate_currency.eq(person.hourly_rate.map(|rate| rate.currency)),
        principals::anonymised_at.eq(person.anonymised_at),
        principals::updated_at.eq(person.updated_at),
        principals::version.eq(person.version),
    );
    let done = on_each!(tx, |c| diesel::update(principals::table.find(person.id)).set(change).execute(c).await);
    done.map(drop).map_err(taken)
}

fn taken(error: diesel::result::Error) -> Problem {
    if is_duplicate(&error, "principals_email_key", "principals.email") {
        Problem::new(Code::Conflict, "Somebody with this email address exists already.")
    } else {
        error.into()
    }
}

/// Forgets the refresh tokens of `id`: whoever has one must log in again.
pub async fn forget_refresh_tokens(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    let own = refresh_tokens::table.filter(refresh_tokens::principal_id.eq(id));
    on_each!(tx, |c| diesel::delete(own).execute(c).await)?;
    Ok(())
}

/// Forgets the answers that are kept for `id`, and the keys that they are kept under: the client's own words.
pub async fn forget_answers(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    let own = idempotency_keys::table.filter(idempotency_keys::principal_id.eq(id));
    on_each!(tx, |c| diesel::delete(own).execute(c).await)?;
    Ok(())
}

/// Lets go of the files that `id` has sent and not attached: they go by themselves.
pub async fn let_go_of_files(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    let own = files::table.filter(files::uploaded_by_id.eq(id).and(files::ticket_number.is_null()));
    let marked = (files::state.eq(FileState::Erasing), files::name.eq(""));
    on_each!(tx, |c| diesel::update(own).set(marked).execute(c).await)?;
    let waiting = tx.kept_by_name::<FilesWaiting>();
    tx.after_commit(move || waiting.0.give());
    Ok(())
}

/// Forgets the views that `id` has for themselves; what is shared stays with the team.
pub async fn forget_views(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    let own = ticket_views::table.filter(ticket_views::owner_id.eq(id).and(ticket_views::team_id.is_null()));
    on_each!(tx, |c| diesel::delete(own).execute(c).await)?;
    Ok(())
}

/// Takes `id` out of all teams.
pub async fn leave_teams(tx: &mut Conn, id: PrincipalId) -> Result<(), Problem> {
    let own = team_members::table.filter(team_members::principal_id.eq(id));
    on_each!(tx, |c| diesel::delete(own).execute(c).await)?;
    Ok(())
}
