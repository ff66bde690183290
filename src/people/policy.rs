//! Who may see and change a person.

use crate::auth::domain::{Principal, Role, Scope, Scopes};
use crate::kernel::{Code, PrincipalId, Problem};

/// Proof that the caller may see this person.
#[derive(Debug, Clone, Copy)]
pub struct MaySee(PrincipalId);

impl MaySee {
    /// Everybody may see themselves, agents and admins everybody, service accounts with the scope `admin` too.
    ///
    /// # Errors
    /// `not_found` for requesters, who may not know who else there is; `insufficient_scope` for all others.
    pub fn of(who: &Principal, id: PrincipalId) -> Result<Self, Problem> {
        if who.role().is_some() && who.id == id {
            return Ok(Self(id));
        }
        if who.is_requester() {
            return Err(Problem::not_found());
        }
        let scope = if who.is_staff() { Scope::TicketsRead } else { Scope::Admin };
        who.require(scope, &[Role::Agent, Role::Admin])?;
        Ok(Self(id))
    }

    /// The person.
    pub fn id(self) -> PrincipalId {
        self.0
    }
}

/// Proof that the caller may change this person, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct MayChange {
    id: PrincipalId,
    own: bool,
    everything: bool,
    /// What a token needs that may set a password, where this one has less.
    password_needs: Option<Scopes>,
}

impl MayChange {
    /// Admins may change everybody, all others their own profile: name and password.
    ///
    /// # Errors
    /// `not_found` for requesters who mean somebody else; `forbidden` or `insufficient_scope` for all others.
    pub fn of(who: &Principal, id: PrincipalId) -> Result<Self, Problem> {
        let own = who.role().is_some() && who.id == id;
        if own && !who.scopes.contains(Scope::Admin) {
            who.require(Scope::TicketsWrite, Role::ALL)?;
            let password_needs = who.role().map(Role::scopes).filter(|all| !all.are_within(who.scopes));
            return Ok(Self { id, own, everything: false, password_needs });
        }
        if who.is_requester() {
            return Err(Problem::not_found());
        }
        who.require(Scope::Admin, &[Role::Admin])?;
        Ok(Self { id, own, everything: true, password_needs: None })
    }

    /// The person.
    pub fn id(self) -> PrincipalId {
        self.id
    }

    /// Whether the caller is this person.
    pub fn is_own(self) -> bool {
        self.own
    }

    /// Passes when the caller may change more than a profile.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn require_everything(self) -> Result<(), Problem> {
        let detail = "Of yourself you may change name and password. Ask an admin for the rest.";
        if self.everything {
            return Ok(());
        }
        Err(Problem::new(Code::Forbidden, detail).with("roles", [Role::Admin.as_str()].as_slice()))
    }

    /// Passes when the caller may set a password: with it one gets tokens of all scopes of the role, so a token that
    /// was given fewer must not reach it.
    ///
    /// # Errors
    /// `insufficient_scope`.
    pub fn require_password(self) -> Result<(), Problem> {
        let Some(needs) = self.password_needs else { return Ok(()) };
        let detail = "Setting your password needs a token with all scopes of your role.";
        Err(Problem::new(Code::InsufficientScope, detail).with("scope", needs.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::domain::PrincipalKind;

    fn caller(kind: PrincipalKind, scopes: Scopes) -> Principal {
        Principal {
            id: uuid::Uuid::nil().into(),
            name: "A".into(),
            email: None,
            kind,
            scopes,
            rules: Default::default(),
        }
    }

    fn person(role: Role) -> Principal {
        caller(PrincipalKind::Person(role), role.scopes())
    }

    fn account(scope: Scope) -> Principal {
        caller(PrincipalKind::ServiceAccount, [scope].into_iter().collect())
    }

    fn own() -> PrincipalId {
        uuid::Uuid::nil().into()
    }

    fn other() -> PrincipalId {
        uuid::Uuid::max().into()
    }

    fn code<T>(outcome: Result<T, Problem>) -> Option<Code> {
        outcome.err().map(|p| p.code())
    }

    #[test]
    fn who_sees_whom() {
        for role in Role::ALL {
            assert_eq!(code(MaySee::of(&caller(PrincipalKind::Person(*role), Scopes::default()), own())), None);
        }
        assert_eq!(code(MaySee::of(&person(Role::Requester), other())), Some(Code::NotFound));
        assert_eq!(code(MaySee::of(&person(Role::Agent), other())), None);
        assert_eq!(code(MaySee::of(&person(Role::Admin), other())), None);
        assert_eq!(code(MaySee::of(&account(Scope::Admin), other())), None);
        let narrow = caller(PrincipalKind::Person(Role::Agent), Scopes::default());
        assert_eq!(code(MaySee::of(&narrow, other())), Some(Code::InsufficientScope));
        assert_eq!(code(MaySee::of(&account(Scope::TicketsRead), other())), Some(Code::InsufficientScope));
    }

    #[test]
    fn who_changes_whom() {
        for role in [Role::Requester, Role::Agent] {
            let may = MayChange::of(&person(role), own()).expect("the own profile");
            assert!(may.is_own() && may.require_password().is_ok());
            assert_eq!(code(may.require_everything()), Some(Code::Forbidden));
        }
        assert_eq!(code(MayChange::of(&person(Role::Requester), other())), Some(Code::NotFound));
        assert_eq!(code(MayChange::of(&person(Role::Agent), other())), Some(Code::Forbidden));
        assert_eq!(code(MayChange::of(&account(Scope::TicketsWrite), other())), Some(Code::InsufficientScope));
        for who in [person(Role::Admin), account(Scope::Admin)] {
            let may = MayChange::of(&who, other()).expect("admins change everybody");
            assert!(!may.is_own() && may.require_everything().is_ok() && may.require_password().is_ok());
        }
    }

    #[test]
    fn a_narrow_token_does_not_reach_the_password() {
        let narrow = caller(PrincipalKind::Person(Role::Agent), [Scope::TicketsWrite].into_iter().collect());
        let may = MayChange::of(&narrow, own()).expect("the own profile");
        assert_eq!(code(may.require_password()), Some(Code::InsufficientScope));
        let idle = caller(PrincipalKind::Person(Role::Agent), [Scope::TicketsRead].into_iter().collect());
        assert_eq!(code(MayChange::of(&idle, own())), Some(Code::InsufficientScope));
    }
}
