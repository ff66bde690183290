//! People, teams and service accounts, and the rules of their changes. Pure.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::audit::domain::Change;
use crate::auth::domain::{Principal, Role, Scopes, person_words};
use crate::kernel::secret::Secret;
use crate::kernel::text::{Email, Line, Prose};
use crate::kernel::{Code, FieldError, Instant, Money, MoneyPatch, Patch, PrincipalId, Problem, TeamId};
use crate::kernel::{fault, fold};

/// What a person or a service account is called.
pub type Name = Line<200>;

/// What a team is called.
pub type TeamName = Line<100>;

/// What a team is for.
pub type Description = Prose<0, 2000>;

/// The name that is left of a person who was anonymised.
pub const ANONYMISED: &str = "Anonymised";

/// A person.
#[derive(Clone, PartialEq)]
pub struct Person {
    /// Its id.
    pub id: PrincipalId,
    /// Its name.
    pub name: String,
    /// Its email address, in lower case.
    pub email: Option<String>,
    /// What it is at the counter.
    pub role: Role,
    /// Whether it may act.
    pub active: bool,
    /// The PHC string of its password here, if it has one.
    pub password_hash: Option<Secret<String>>,
    /// The outside issuer that it comes from.
    pub issuer: Option<String>,
    /// Its id there.
    pub subject: Option<String>,
    /// What an hour of its work costs. Requesters have none.
    pub hourly_rate: Option<Money>,
    /// When all that tells who it is was removed.
    pub anonymised_at: Option<Instant>,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// Personal data stays out of logs.
impl std::fmt::Debug for Person {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Person").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Person {
    /// Whether they are found by other words than `before`, or among others.
    pub fn is_found_otherwise(&self, before: &Self) -> bool {
        let by = |person: &Self| (person.name.clone(), person.email.clone(), person.role, person.anonymised_at);
        by(self) != by(before)
    }
}

/// Which people a list shows.
#[derive(Debug, Clone, Default)]
pub struct PersonFilter {
    /// With one of these roles.
    pub roles: Option<Vec<Role>>,
    /// With this address.
    pub email: Option<String>,
    /// Who may act, or who may not.
    pub active: Option<bool>,
    /// These.
    pub ids: Option<Vec<PrincipalId>>,
}

impl PersonFilter {
    /// The roles that pass.
    pub fn roles(&self) -> &[Role] {
        self.roles.as_deref().unwrap_or(Role::ALL)
    }

    /// Whether it passes `person`.
    pub fn passes(&self, person: &Person) -> bool {
        self.roles().contains(&person.role)
            && self.email.as_ref().is_none_or(|email| person.email.as_ref() == Some(email))
            && self.active.is_none_or(|active| person.active == active)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&person.id))
    }
}

/// How many words somebody looks for a person by at most.
pub const MOST_BEGINNINGS: usize = 8;

/// How many characters such a search has at most.
const LONGEST_PERSON_SEARCH: usize = 254;

/// What somebody types who looks for a person: beginnings of words of the name or the address, folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonSearch(Vec<String>);

impl std::str::FromStr for PersonSearch {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > LONGEST_PERSON_SEARCH {
            let detail = format!("must have at most {LONGEST_PERSON_SEARCH} characters");
            let fault = FieldError::of_value("too_long", detail);
            return Err(fault.with("max", LONGEST_PERSON_SEARCH).with("unit", "characters"));
        }
        let beginnings: BTreeSet<String> = fold::words(text).into_iter().collect();
        match beginnings.len() {
            0 => Err(FieldError::of_value("too_short", "must have a letter or a digit").with("min", 1)),
            1..=MOST_BEGINNINGS => Ok(Self(beginnings.into_iter().collect())),
            _ => {
                let fault = FieldError::of_value("too_many", format!("must have at most {MOST_BEGINNINGS} words"));
                Err(fault.with("max", MOST_BEGINNINGS))
            }
        }
    }
}

fault::deserr_from_str!(PersonSearch);

impl PersonSearch {
    /// Each once, at least one.
    pub fn beginnings(&self) -> &[String] {
        &self.0
    }

    /// Whether `person` has them all, and `place` is the first of the words by which they are found.
    pub fn finds(&self, person: &Person, place: &WordPlace) -> bool {
        let words = person_words(&person.name, person.email.as_deref());
        let first = |beginning: &String| words.range(beginning.clone()..).next().filter(|w| w.starts_with(beginning));
        self.0.iter().all(|beginning| first(beginning).is_some())
            && self.0.get(place.beginning).and_then(first) == Some(&place.word)
    }
}

/// An entry of the index of people: by which beginning of a search it is met, the word, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WordPlace {
    /// Which of the beginnings.
    pub beginning: usize,
    /// The word.
    pub word: String,
    /// Whose.
    pub id: PrincipalId,
}

/// A person who was found, and where.
#[derive(Debug, Clone)]
pub struct FoundPerson {
    /// By which entry.
    pub place: WordPlace,
    /// Who.
    pub person: Person,
}

/// A person to be made.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// Its name.
    pub name: Name,
    /// Its email address.
    pub email: Option<Email>,
    /// What it is at the counter.
    pub role: Role,
    /// The PHC string of its password.
    pub password_hash: Option<Secret<String>>,
    /// What an hour of its work costs.
    pub hourly_rate: Option<Money>,
}

/// What is to be changed of a person; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct PersonChange {
    /// Another name.
    pub name: Option<Name>,
    /// Another address, or none.
    pub email: Patch<Email>,
    /// Another role.
    pub role: Option<Role>,
    /// Whether it may act.
    pub active: Option<bool>,
    /// The PHC string of another password, or none.
    pub password_hash: Patch<Secret<String>>,
    /// What an hour of its work costs from now on, or nothing.
    pub hourly_rate: Patch<MoneyPatch>,
}

impl NewPerson {
    /// The person, at version 1.
    pub fn into_person(self, id: PrincipalId, now: Instant) -> Person {
        let Self { name, email, role, password_hash, hourly_rate } = self;
        Person {
            id,
            name: name.into_inner(),
            email: email.map(Email::into_inner),
            role,
            active: true,
            password_hash,
            issuer: None,
            subject: None,
            hourly_rate,
            anonymised_at: None,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

impl Person {
    /// The person after `change`, or nothing when that changes nothing.
    ///
    /// # Errors
    /// `validation_failed` when the password could not be used, since there is no address to log in with, or when a
    /// requester would get an hourly rate.
    pub fn changed(&self, change: PersonChange, now: Instant) -> Result<Option<Person>, Problem> {
        let PersonChange { name, email, role, active, password_hash, hourly_rate } = change;
        let (takes_email, sets_password) = (email == Patch::Null, matches!(password_hash, Patch::Value(_)));
        let (sets_rate, role) = (matches!(hourly_rate, Patch::Value(_)), role.unwrap_or(self.role));
        let mut faults = Vec::new();
        // Who stops working here leaves the rate behind.
        let hourly_rate = match role {
            Role::Requester => None,
            Role::Agent | Role::Admin => hourly_rate.merged(self.hourly_rate, "/hourly_rate", &mut faults),
        };
        let next = Person {
            name: name.map_or_else(|| self.name.clone(), Name::into_inner),
            email: match email {
                Patch::Absent => self.email.clone(),
                Patch::Null => None,
                Patch::Value(email) => Some(email.into_inner()),
            },
            role,
            active: active.unwrap_or(self.active),
            password_hash: password_hash.or(self.password_hash.clone()),
            hourly_rate,
            ..self.clone()
        };
        if (takes_email || sets_password) && next.password_hash.is_some() && next.email.is_none() {
            let pointer = if takes_email { "/email" } else { "/password" };
            faults.push(FieldError::new(pointer, "invalid", PASSWORD_NEEDS_EMAIL));
        }
        if sets_rate && role == Role::Requester {
            faults.push(FieldError::new("/hourly_rate", "invalid", REQUESTERS_HAVE_NO_RATE));
        }
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        Ok((next != *self).then(|| Person { updated_at: now, version: self.version + 1, ..next }))
    }

    /// The person without anything that tells who it was; its id stays, since tickets refer to it.
    pub fn anonymised(&self, now: Instant) -> Person {
        Person {
            name: ANONYMISED.to_owned(),
            email: None,
            active: false,
            password_hash: None,
            issuer: None,
            subject: None,
            hourly_rate: None,
            anonymised_at: Some(now),
            updated_at: now,
            version: self.version + 1,
            ..self.clone()
        }
    }

    /// Every field that differs from `before`, or that a person has from the beginning. What is personal is not told:
    /// it stands in one place, and is erased there.
    pub fn changes_since(&self, before: Option<&Person>) -> Vec<Change> {
        let told = |field, of: fn(&Person) -> serde_json::Value| {
            Change::of(field, before.map(of).unwrap_or_default(), of(self))
        };
        let unsaid = |field, differs: bool| differs.then(|| Change::unsaid(field));
        let rate = |person: &Person| person.hourly_rate;
        let all = [
            told("role", |person| person.role.as_str().into()),
            told("active", |person| person.active.into()),
            unsaid("name", before.is_none_or(|before| before.name != self.name)),
            unsaid("email", before.map(|before| &before.email).unwrap_or(&None) != &self.email),
            unsaid("password", before.and_then(|before| before.password_hash.as_ref()) != self.password_hash.as_ref()),
            unsaid("hourly_rate", before.and_then(rate) != rate(self)),
        ];
        all.into_iter().flatten().collect()
    }

    /// Passes for people who still are somebody.
    ///
    /// # Errors
    /// `conflict`.
    pub fn require_known(&self) -> Result<(), Problem> {
        match self.anonymised_at {
            Some(at) => {
                let detail = format!("This person was anonymised at {at} and cannot be changed any more.");
                Err(Problem::new(Code::Conflict, detail))
            }
            None => Ok(()),
        }
    }

    /// Whether this person can set things up.
    pub fn is_active_admin(&self) -> bool {
        self.active && self.role == Role::Admin
    }

    /// Whether this person can work in a team.
    pub fn is_active_staff(&self) -> bool {
        self.active && self.role != Role::Requester
    }

    /// Whether refresh tokens from `before` must not outlive the change to this.
    pub fn must_log_in_again(&self, before: &Person) -> bool {
        !self.active || self.role != before.role || self.password_hash != before.password_hash
    }
}

/// Why a password without an address is refused.
pub const PASSWORD_NEEDS_EMAIL: &str = "a password is of no use without an email address to log in with";

/// Why a requester's hourly rate is refused.
pub const REQUESTERS_HAVE_NO_RATE: &str = "a requester does not work on tickets and has no hourly rate";

/// A team: a queue of tickets and its members.
#[derive(Debug, Clone, PartialEq)]
pub struct Team {
    /// Its id.
    pub id: TeamId,
    /// Its name, which no other team has.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// What an hour of work on its tickets costs, by agents without a rate of their own.
    pub hourly_rate: Option<Money>,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// A team to be made.
#[derive(Debug, Clone)]
pub struct NewTeam {
    /// Its name.
    pub name: TeamName,
    /// What it is for.
    pub description: Option<Description>,
    /// What an hour of work on its tickets costs.
    pub hourly_rate: Option<Money>,
}

/// What is to be changed of a team; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct TeamChange {
    /// Another name.
    pub name: Option<TeamName>,
    /// Another description, or none.
    pub description: Patch<Description>,
    /// What an hour of work on its tickets costs from now on, or nothing.
    pub hourly_rate: Patch<MoneyPatch>,
}

impl NewTeam {
    /// The team, at version 1.
    pub fn into_team(self, id: TeamId, now: Instant) -> Team {
        let Self { name, description, hourly_rate } = self;
        Team {
            id,
            name: name.into_inner(),
            description: description.map(Description::into_inner).unwrap_or_default(),
            hourly_rate,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

impl Team {
    /// The team after `change`, or nothing when that changes nothing.
    ///
    /// # Errors
    /// `validation_failed` when it would get half of an hourly rate.
    pub fn changed(&self, change: TeamChange, now: Instant) -> Result<Option<Team>, Problem> {
        let TeamChange { name, description, hourly_rate } = change;
        let mut faults = Vec::new();
        let hourly_rate = hourly_rate.merged(self.hourly_rate, "/hourly_rate", &mut faults);
        if !faults.is_empty() {
            return Err(Problem::invalid(faults));
        }
        let next = Team {
            name: name.map_or_else(|| self.name.clone(), TeamName::into_inner),
            description: match description {
                Patch::Absent => self.description.clone(),
                Patch::Null => String::new(),
                Patch::Value(description) => description.into_inner(),
            },
            hourly_rate,
            ..self.clone()
        };
        Ok((next != *self).then(|| Team { updated_at: now, version: self.version + 1, ..next }))
    }
}

/// Somebody in a team.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// The person's id.
    pub id: PrincipalId,
    /// The person's name.
    pub name: String,
    /// The person's role.
    pub role: Role,
    /// Whether the person may act.
    pub active: bool,
}

/// A script or a monitor.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its id, which is its `client_id` too.
    pub id: PrincipalId,
    /// Its name, which no other active account has.
    pub name: String,
    /// What it may do: exactly this.
    pub scopes: Scopes,
    /// The fingerprint of its secret.
    pub secret_hash: Secret<String>,
    /// False once it was revoked.
    pub active: bool,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// A service account to be made.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// Its name.
    pub name: Name,
    /// What it may do.
    pub scopes: Scopes,
}

/// What is to be changed of a service account; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// Another name.
    pub name: Option<Name>,
    /// Other scopes.
    pub scopes: Option<Scopes>,
}

impl NewAccount {
    /// The account, at version 1.
    pub fn into_account(self, id: PrincipalId, secret_hash: String, now: Instant) -> Account {
        let Self { name, scopes } = self;
        Account {
            id,
            name: name.into_inner(),
            scopes,
            secret_hash: Secret::new(secret_hash),
            active: true,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

impl Account {
    /// The account after `change`, or nothing when that changes nothing.
    pub fn changed(&self, change: AccountChange, now: Instant) -> Option<Account> {
        let AccountChange { name, scopes } = change;
        let next = Account {
            name: name.map_or_else(|| self.name.clone(), Name::into_inner),
            scopes: scopes.unwrap_or(self.scopes),
            ..self.clone()
        };
        (next != *self).then(|| Account { updated_at: now, version: self.version + 1, ..next })
    }

    /// The account with another secret: the old one is refused from then on.
    pub fn with_secret(&self, secret_hash: String, now: Instant) -> Account {
        let secret_hash = Secret::new(secret_hash);
        Account { secret_hash, updated_at: now, version: self.version + 1, ..self.clone() }
    }

    /// The account, refused from then on.
    pub fn revoked(&self, now: Instant) -> Account {
        Account { active: false, updated_at: now, version: self.version + 1, ..self.clone() }
    }

    /// Passes for accounts that were not revoked.
    ///
    /// # Errors
    /// `conflict`.
    pub fn require_active(&self) -> Result<(), Problem> {
        let detail = "This service account was revoked and cannot be changed any more. Make a new one.";
        if self.active { Ok(()) } else { Err(Problem::new(Code::Conflict, detail)) }
    }
}

/// What a caller may hand on to service accounts.
#[derive(Debug, Clone, Copy)]
pub struct Gift(Scopes);

impl Gift {
    /// A person who sets things up may hand on every scope, a service account only those that it has itself.
    pub fn of(who: &Principal) -> Self {
        Self(if who.role().is_some() { Scopes::all() } else { who.scopes })
    }

    /// Passes when `scopes` has nothing that is neither in this nor in `had`.
    ///
    /// # Errors
    /// `forbidden`, which names the scopes that are too many.
    pub fn check(self, scopes: Scopes, had: Scopes) -> Result<(), Problem> {
        let beyond: Scopes = scopes.iter().filter(|s| !self.0.contains(*s) && !had.contains(*s)).collect();
        if beyond == Scopes::default() {
            return Ok(());
        }
        let detail = format!("You cannot hand on what you do not have yourself: {beyond}.");
        let scopes: Vec<_> = beyond.iter().map(|scope| scope.as_str()).collect();
        Err(Problem::new(Code::Forbidden, detail).with("scopes", scopes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::domain::{PrincipalKind, Scope};
    use proptest::prelude::*;

    const NOW: Instant = Instant::EPOCH;

    fn later() -> Instant {
        NOW.plus_s(60)
    }

    fn name(text: &str) -> Name {
        Name::parse(text.into()).expect("a name")
    }

    fn team_name(text: &str) -> TeamName {
        TeamName::parse(text.into()).expect("a name")
    }

    fn email(text: &str) -> Email {
        Email::parse(text.into()).expect("an address")
    }

    fn rate(amount_minor: i64) -> Money {
        Money { amount_minor, currency: "EUR".parse().expect("a currency") }
    }

    fn ada() -> Person {
        let password_hash = Some(Secret::new("$argon2id$old".to_owned()));
        let new = NewPerson {
            name: name("Ada"),
            email: Some(email("Ada@example.org")),
            role: Role::Admin,
            password_hash,
            hourly_rate: Some(rate(9000)),
        };
        new.into_person(uuid::Uuid::nil().into(), NOW)
    }

    fn any_change() -> impl Strategy<Value = PersonChange> {
        let words = prop_oneof![Just("Ada"), Just("Grace")].prop_map(name);
        let emails = prop_oneof![
            Just(Patch::Absent),
            Just(Patch::Value(email("ada@example.org"))),
            Just(Patch::Value(email("grace@example.org")))
        ];
        let hashes = prop_oneof![
            Just(Patch::Absent),
            Just(Patch::Null),
            Just(Patch::Value(Secret::new("$argon2id$new".to_owned())))
        ];
        let roles = proptest::option::of(proptest::sample::select(Role::ALL));
        let rates = prop_oneof![
            Just(Patch::Absent),
            Just(Patch::Null),
            Just(Patch::Value(rate(9000).into())),
            Just(Patch::Value(rate(12_000).into()))
        ];
        (proptest::option::of(words), emails, roles, proptest::option::of(any::<bool>()), hashes, rates).prop_map(
            |(name, email, role, active, password_hash, hourly_rate)| PersonChange {
                name,
                email,
                role,
                active,
                password_hash,
                // Giving a requester one is refused.
                hourly_rate: if role == Some(Role::Requester) { Patch::Absent } else { hourly_rate },
            },
        )
    }

    proptest! {
        #[test]
        fn the_version_grows_with_real_changes_alone(change in any_change()) {
            let before = ada();
            let Some(after) = before.changed(change.clone(), later()).expect("there is an address") else {
                return Ok(());
            };
            prop_assert_eq!(after.version, before.version + 1);
            prop_assert_eq!((after.created_at, after.updated_at), (NOW, later()));
            prop_assert!(after.role != Role::Requester || after.hourly_rate.is_none());
            let settled = Person { version: before.version, updated_at: NOW, ..after.clone() };
            prop_assert_ne!(settled, before);
            // The same change again changes nothing.
            prop_assert_eq!(after.changed(change, later()).expect("there is an address"), None);
        }

        #[test]
        fn whoever_may_do_less_must_log_in_again(change in any_change()) {
            let before = ada();
            if let Some(after) = before.changed(change.clone(), later()).expect("there is an address") {
                let less = !after.active || after.role != before.role || change.password_hash.is_present();
                prop_assert_eq!(after.must_log_in_again(&before), less);
            }
        }

        #[test]
        fn nobody_hands_on_what_they_lack(has in scopes(), had in scopes(), wanted in scopes()) {
            let caller = Principal {
                id: uuid::Uuid::nil().into(),
                name: "monitor".into(),
                email: None,
                kind: PrincipalKind::ServiceAccount,
                scopes: has,
                rules: Default::default(),
            };
            let fine = wanted.iter().all(|s| has.contains(s) || had.contains(s));
            prop_assert_eq!(Gift::of(&caller).check(wanted, had).is_ok(), fine);
            let admin = Principal { kind: PrincipalKind::Person(Role::Admin), ..caller };
            prop_assert!(Gift::of(&admin).check(wanted, had).is_ok());
        }
    }

    fn scopes() -> impl Strategy<Value = Scopes> {
        proptest::sample::subsequence(Scope::ALL, 0..=Scope::ALL.len()).prop_map(|all| all.into_iter().collect())
    }

    #[test]
    fn a_password_needs_an_address() {
        let change = PersonChange { email: Patch::Null, ..PersonChange::default() };
        let problem = ada().changed(change, later()).expect_err("has a password");
        assert_eq!(problem.errors()[0].pointer, "/email");
        let both = PersonChange { email: Patch::Null, password_hash: Patch::Null, ..PersonChange::default() };
        let bare = ada().changed(both, later()).expect("no password left").expect("changed");
        let password = Patch::Value(Secret::new("$argon2id$new".to_owned()));
        let change = PersonChange { password_hash: password, ..PersonChange::default() };
        let problem = bare.changed(change, later()).expect_err("has no address");
        assert_eq!(problem.errors()[0].pointer, "/password");
    }

    #[test]
    fn a_requester_gets_no_rate_and_keeps_none() {
        let change = |role, hourly_rate| PersonChange { role, hourly_rate, ..PersonChange::default() };
        let problem = ada()
            .changed(change(Some(Role::Requester), Patch::Value(rate(1).into())), later())
            .expect_err("a requester");
        assert_eq!(problem.errors()[0].pointer, "/hourly_rate");
        let left =
            ada().changed(change(Some(Role::Requester), Patch::Absent), later()).expect("fine").expect("changed");
        assert_eq!(left.hourly_rate, None);
        assert!(left.changed(change(None, Patch::Value(rate(1).into())), later()).is_err());
        let back = left
            .changed(change(Some(Role::Agent), Patch::Value(rate(1).into())), later())
            .expect("fine")
            .expect("changed");
        assert_eq!(back.hourly_rate, Some(rate(1)));
    }

    #[test]
    fn nothing_tells_who_an_anonymised_person_was() {
        let person = Person { issuer: Some("https://id.example".into()), subject: Some("42".into()), ..ada() };
        let left = person.anonymised(later());
        assert_eq!((left.id, left.name.as_str(), left.active), (person.id, ANONYMISED, false));
        assert_eq!((left.email.clone(), left.issuer.clone(), left.subject.clone()), (None, None, None));
        assert_eq!(left.hourly_rate, None);
        assert!(left.password_hash.is_none() && left.require_known().is_err() && left.must_log_in_again(&person));
        assert!(person.require_known().is_ok() && person.is_active_admin() && !left.is_active_admin());
    }

    #[test]
    fn a_team_that_stays_the_same_keeps_its_version() {
        let team = NewTeam { name: team_name("First line"), description: None, hourly_rate: None }
            .into_team(uuid::Uuid::nil().into(), NOW);
        let same =
            TeamChange { name: Some(team_name("First line")), description: Patch::Null, hourly_rate: Patch::Null };
        assert_eq!(team.changed(same, later()).expect("fine"), None);
        let other = TeamChange { name: Some(team_name("Second line")), ..TeamChange::default() };
        assert_eq!(team.changed(other, later()).expect("fine").expect("changed").version, 2);
    }
}
