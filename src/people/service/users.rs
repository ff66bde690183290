//! The use cases of people.

use crate::audit::domain::{Event, EventKind, Visibility};
use crate::auth::domain::Role;
use crate::auth::password::{Party, Passwords};
use crate::auth::policy::Act;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::Call;
use crate::http::call::IfMatch;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::rows::{self, Limit, Rows};
use crate::kernel::secret::Secret;
use crate::kernel::text::Email;
use crate::kernel::{Clock, Code, FieldError, Instant, Patch, PrincipalId, Problem};
use crate::people::domain::{
    ANONYMISED, FoundPerson, Name, NewPerson, PASSWORD_NEEDS_EMAIL, Person, PersonChange, PersonFilter, PersonSearch,
    REQUESTERS_HAVE_NO_RATE, WordPlace,
};
use crate::people::policy::{MayChange, MaySee};
use crate::people::store::{users as store, words};
use crate::people::wire::{NewUser, UserPatch};

/// At most one page and one of the people that `filter` passes, after the person `after`.
pub async fn list_people(
    conn: &mut Conn,
    filter: &PersonFilter,
    after: Option<PrincipalId>,
    limit: Limit,
) -> Result<Vec<Person>, Problem> {
    store::list(conn, filter, after, limit.and_one()).await
}

/// How many entries of the index of words a page goes through at most.
const MOST_ENTRIES: usize = 2_000;

/// A page of the people that `filter` passes and `search` finds, in the order of the words by which they are found,
/// behind `after`. What is rare among many is looked for in some of them at a time: it may have fewer people than its
/// limit, and yet more behind.
pub async fn find_people(
    conn: &mut Conn,
    filter: &PersonFilter,
    search: &PersonSearch,
    after: Option<&WordPlace>,
    limit: Limit,
) -> Result<Rows<FoundPerson>, Problem> {
    let nth = match after {
        Some(place) => place.beginning,
        None => words::rarest(conn, filter.roles(), search).await?,
    };
    let Some(beginning) = search.beginnings().get(nth) else { return Err(rows::of_another_list()) };
    let (mut found, mut behind, mut left) = (Vec::new(), after.cloned(), MOST_ENTRIES);
    loop {
        // Most often the first entries are enough for a page.
        let most = if left == MOST_ENTRIES { limit.size() + 1 } else { left.min(MOST_ENTRIES / 4) };
        let entries = words::behind(conn, filter.roles(), (nth, beginning), behind.as_ref(), most).await?;
        let people = store::by_ids(conn, entries.iter().map(|place| place.id).collect()).await?;
        let (is_all, last) = (entries.len() < most, entries.last().cloned());
        left = left.saturating_sub(entries.len());
        let mut reached = None;
        for place in entries {
            let Some(person) = people.get(&place.id) else { continue };
            let row = FoundPerson { place, person: person.clone() };
            if search.finds(person, &row.place) && filter.passes(person) {
                found.push(row);
                reached = None;
            } else {
                reached = Some(row);
            }
        }
        if is_all || found.len() > limit.size() {
            return Ok(found.into());
        }
        if left == 0 {
            return Ok(Rows { rows: found, more: reached.is_none(), reached });
        }
        behind = last;
    }
}

/// Lets the next people that wait for it be found; gives whether there may be more.
///
/// # Errors
/// When the database is away.
pub async fn index_waiting_people(db: &Db, most: u16) -> Result<bool, Problem> {
    let Some(behind) = db.read(async |conn| words::waiting(conn).await).await? else { return Ok(false) };
    let next =
        async move |conn: &mut Conn| store::list(conn, &PersonFilter::default(), Some(behind), most.into()).await;
    let ids: Vec<PrincipalId> = db.read(next).await?.into_iter().map(|person| person.id).collect();
    let (roots, last): (Roots, _) = (ids.iter().copied().map(Root::Principal).collect(), ids.last().copied());
    db.write(roots, async move |tx| {
        // As they are called now.
        for person in store::by_ids(tx, ids.clone()).await?.values() {
            words::put(tx, person).await?;
        }
        words::set_waiting(tx, last).await
    })
    .await?;
    Ok(last.is_some())
}

/// A person whom the caller may see.
///
/// # Errors
/// `not_found`.
pub async fn read_person(conn: &mut Conn, may: MaySee) -> Result<Person, Problem> {
    store::find(conn, may.id()).await
}

/// Makes ready what a client wants to make: hashes the password, which must not happen within a transaction.
///
/// # Errors
/// `validation_failed` for a password without an email address and for a requester with an hourly rate; `unavailable`
/// when too many passwords are hashed.
pub async fn admit(new: NewUser, passwords: &Passwords, party: Party) -> Result<NewPerson, Problem> {
    let NewUser { name, email, role, password, hourly_rate } = new;
    let mut faults = Vec::new();
    if password.is_some() && email.is_none() {
        faults.push(FieldError::new("/password", "invalid", PASSWORD_NEEDS_EMAIL));
    }
    if hourly_rate.is_some() && role == Role::Requester {
        faults.push(FieldError::new("/hourly_rate", "invalid", REQUESTERS_HAVE_NO_RATE));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    let password_hash = match password {
        Some(password) => Some(Secret::new(passwords.hash(party, &password).await?)),
        None => None,
    };
    Ok(NewPerson { name, email, role, password_hash, hourly_rate })
}

/// Makes a person.
///
/// # Errors
/// `conflict` when somebody has the email address.
pub async fn create_person(
    tx: &mut Conn,
    new: NewPerson,
    by: Option<PrincipalId>,
    now: Instant,
    clock: &Clock,
) -> Result<Person, Problem> {
    let person = new.into_person(clock.id(now), now);
    store::insert(tx, &person).await?;
    words::put(tx, &person).await?;
    record(tx, None, &person, by, clock).await?;
    Ok(person)
}

/// Makes a person who was known elsewhere, maybe one who does not belong there any more.
///
/// # Errors
/// A transient problem when somebody has the email address meanwhile.
pub async fn create_known_person(tx: &mut Conn, new: NewPerson, is_active: bool, act: &Act) -> Result<Person, Problem> {
    let person = Person { active: is_active, ..new.into_person(act.id(), act.now) };
    match store::insert(tx, &person).await {
        Err(problem) if problem.code() == Code::Conflict => return Err(Problem::transient(problem)),
        other => other?,
    }
    words::put(tx, &person).await?;
    record(tx, None, &person, Some(act.who.id), &act.clock).await?;
    Ok(person)
}

/// Writes down what became of a person who was `before`, or was not there.
async fn record(
    tx: &mut Conn,
    before: Option<&Person>,
    after: &Person,
    by: Option<PrincipalId>,
    clock: &Clock,
) -> Result<(), Problem> {
    let kind = match before {
        None => EventKind::UserCreated,
        Some(before) if before.anonymised_at != after.anonymised_at => EventKind::UserAnonymised,
        Some(_) => EventKind::UserUpdated,
    };
    let event = Event {
        about: after.id.into(),
        at: after.updated_at,
        actor: by,
        kind,
        visibility: Visibility::Public,
        comment_id: None,
        changes: if kind == EventKind::UserAnonymised { Vec::new() } else { after.changes_since(before) },
    };
    crate::audit::store::add(tx, event, clock).await
}

/// Changes a person. Whoever is deactivated, or gets another role or password, must log in again.
///
/// # Errors
/// `not_found`, `version_mismatch`; `forbidden` and `insufficient_scope` for what the caller may not change;
/// `validation_failed` when the current password is missing or wrong, `rate_limited` when it was wrong too often, or a
/// requester would get an hourly rate; `conflict` when the email address is taken, the person was anonymised, or no
/// admin would be left.
pub async fn change_person(
    call: &Call,
    passwords: &Passwords,
    party: Party,
    (by, may): (PrincipalId, MayChange),
    patch: UserPatch,
    condition: IfMatch,
) -> Result<Person, Problem> {
    let (db, now, clock) = (call.db(), call.now(), call.clock().clone());
    let UserPatch { name, email, role, active, password, current_password, hourly_rate } = patch;
    if email.is_present() || role.0.is_some() || active.0.is_some() || hourly_rate.is_present() {
        may.require_everything()?;
    }
    // What the write below relies on, and what the hashing must not be spent for in vain.
    let seen = db.read(async |conn| store::find(conn, may.id()).await).await?;
    if password.is_present() {
        may.require_password()?;
        if may.is_own() {
            prove(call, passwords, party, &seen, current_password.0.map(|claimed| claimed.0)).await?;
        }
    }
    let password_hash = match password {
        Patch::Absent => Patch::Absent,
        Patch::Null => Patch::Null,
        Patch::Value(password) => Patch::Value(Secret::new(passwords.hash(party, &password).await?)),
    };
    let proven = (may.is_own() && password_hash.is_present()).then_some(seen.password_hash);
    let change = PersonChange { name: name.0, email, role: role.0, active: active.0, password_hash, hourly_rate };
    db.write(Root::Principal(may.id()), async move |tx| {
        let before = store::find(tx, may.id()).await?;
        condition.check(before.version)?;
        before.require_known()?;
        if proven.as_ref().is_some_and(|proven| *proven != before.password_hash) {
            return Err(Problem::new(Code::Conflict, "The password was changed meanwhile. Send the one it is now."));
        }
        match before.changed(change.clone(), now)? {
            Some(after) => become_of(tx, &before, after, by, &clock).await,
            None => Ok(before),
        }
    })
    .await
}

/// Passes when the caller, who is `person`, may set their own password here and knows the one so far. To be wrong
/// counts as a login that fails: otherwise a token that was found somewhere would be the way to guess the password at
/// any speed.
async fn prove(
    call: &Call,
    passwords: &Passwords,
    party: Party,
    person: &Person,
    claimed: Option<Secret<String>>,
) -> Result<(), Problem> {
    const PLACE: &str = "/current_password";
    if let Some(issuer) = &person.issuer {
        let detail = format!("You log in at {issuer}. Only an admin may change that.");
        return Err(Problem::new(Code::Forbidden, detail).with("roles", ["admin"].as_slice()));
    }
    let Some(stored) = &person.password_hash else { return Ok(()) };
    let Some(claimed) = claimed else {
        return Err(Problem::field(PLACE, "required", "is required to change your own password"));
    };
    let attempt = call.attempt(person.email.as_deref())?;
    match passwords.verify(&attempt, party, claimed, Some(stored.reveal().clone())).await {
        Ok(true) => {
            attempt.succeeded();
            Ok(())
        }
        Ok(false) => Err(Problem::field(PLACE, "invalid", "is not your password")),
        Err(problem) => {
            attempt.undo();
            Err(problem)
        }
    }
}

/// Removes all that tells who a person was. Tickets keep its id. A second time changes nothing.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` when no admin would be left.
pub async fn anonymise(
    tx: &mut Conn,
    id: PrincipalId,
    condition: &IfMatch,
    act: &Act,
    answers: &Answers,
) -> Result<(), Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    if before.anonymised_at.is_some() {
        return Ok(());
    }
    let after = before.anonymised(act.now);
    store::leave_teams(tx, id).await?;
    store::forget_answers(tx, id).await?;
    store::let_go_of_files(tx, id).await?;
    store::forget_views(tx, id).await?;
    answers.amend(tx, id, without_name).await?;
    tx.erase();
    become_of(tx, &before, after, act.who.id, &act.clock).await.map(drop)
}

/// What an answer said of a person, without all that tells who it was.
fn without_name(said: &mut Said) {
    for (field, value) in said.iter_mut() {
        match field.as_str() {
            "name" => *value = ANONYMISED.into(),
            "email" | "issuer" | "hourly_rate" => *value = serde_json::Value::Null,
            _ => {}
        }
    }
}

/// Stores what has become of `before`, and what follows from it.
async fn become_of(
    tx: &mut Conn,
    before: &Person,
    after: Person,
    by: PrincipalId,
    clock: &Clock,
) -> Result<Person, Problem> {
    if before.is_active_admin() && !after.is_active_admin() && !store::is_other_admin(tx, before.id).await? {
        let detail = "This is the last active admin. Make another person an admin first.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    store::update(tx, &after).await?;
    if after.is_found_otherwise(before) {
        words::put(tx, &after).await?;
    }
    record(tx, Some(before), &after, Some(by), clock).await?;
    if after.must_log_in_again(before) {
        store::forget_refresh_tokens(tx, after.id).await?;
    }
    if after.role == Role::Requester && before.role != Role::Requester {
        store::leave_teams(tx, after.id).await?;
    }
    Ok(after)
}

/// The person with the address `email`, who is made as `name` when unknown.
///
/// # Errors
/// `conflict` when the person has another role than `role`, or was deactivated.
pub async fn find_or_create_person(
    tx: &mut Conn,
    email: &Email,
    name: &str,
    role: Role,
    now: Instant,
    clock: &Clock,
) -> Result<PrincipalId, Problem> {
    match store::by_email(tx, email.as_str()).await? {
        Some(person) if person.role != role => {
            let detail = format!("The person with this email address exists already, with the role {}.", person.role);
            Err(Problem::new(Code::Conflict, detail))
        }
        Some(person) if !person.active => {
            Err(Problem::new(Code::Conflict, "The person with this email address was deactivated."))
        }
        Some(person) => Ok(person.id),
        None => create_by_email(tx, email, name, role, None, now, clock).await,
    }
}

/// The person with the address `email`, whatever its role; a requester called `name` is made when there is none.
///
/// # Errors
/// `validation_failed` at `/requester/email` when the person was deactivated.
pub async fn find_or_create_requester(
    tx: &mut Conn,
    email: &Email,
    name: &str,
    act: &Act,
) -> Result<PrincipalId, Problem> {
    match store::by_email(tx, email.as_str()).await? {
        Some(person) if person.active => Ok(person.id),
        Some(_) => Err(Problem::field("/requester/email", "invalid", "belongs to a person who was deactivated")),
        None => create_by_email(tx, email, name, Role::Requester, Some(act.who.id), act.now, &act.clock).await,
    }
}

async fn create_by_email(
    tx: &mut Conn,
    email: &Email,
    name: &str,
    role: Role,
    by: Option<PrincipalId>,
    now: Instant,
    clock: &Clock,
) -> Result<PrincipalId, Problem> {
    let name = Name::parse(name.to_owned()).map_err(|fault| Problem::invalid(vec![fault.at("/name")]))?;
    let new = NewPerson { name, email: Some(email.clone()), role, password_hash: None, hourly_rate: None };
    match create_person(tx, new, by, now, clock).await {
        Ok(person) => Ok(person.id),
        // Made by another instance since our snapshot was taken: the next attempt finds it.
        Err(problem) if problem.code() == Code::Conflict => Err(Problem::transient(problem)),
        Err(problem) => Err(problem),
    }
}

/// Makes an admin who logs in with a password.
///
/// # Errors
/// `conflict` when somebody has the email address.
pub async fn create_admin(
    tx: &mut Conn,
    email: Email,
    name: Name,
    password_hash: Secret<String>,
    now: Instant,
    clock: &Clock,
) -> Result<PrincipalId, Problem> {
    let password_hash = Some(password_hash);
    let new = NewPerson { name, email: Some(email), role: Role::Admin, password_hash, hourly_rate: None };
    create_person(tx, new, None, now, clock).await.map(|person| person.id)
}
