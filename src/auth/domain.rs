//! Who calls and what they may: roles, scopes and principals. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use uuid::Uuid;

use crate::kernel::fold;
use crate::kernel::requesters::{NamesShown, RequesterRules};
use crate::kernel::words::words;
use crate::kernel::{Code, FieldError, PrincipalId, Problem};

words! {
    /// What a person is at the counter.
    pub enum Role {
        /// Has problems, and sees only their own tickets.
        Requester = "requester",
        /// Works on tickets.
        Agent = "agent",
        /// An agent who also sets things up.
        Admin = "admin",
    }
}

words! {
    /// What a token may be used for (RFC 6749, 3.3).
    pub enum Scope {
        /// See tickets and their audit trail.
        TicketsRead = "tickets:read",
        /// Open and change tickets.
        TicketsWrite = "tickets:write",
        /// See comments.
        CommentsRead = "comments:read",
        /// Write comments.
        CommentsWrite = "comments:write",
        /// See and write internal comments.
        InternalRead = "internal:read",
        /// Pull metrics.
        MetricsRead = "metrics:read",
        /// Tell of alerts.
        AlertsWrite = "alerts:write",
        /// Set up people, teams and service accounts, and redact.
        Admin = "admin",
    }
}

/// By how many words a person is found at most.
const MOST_PERSON_WORDS: usize = 50;

/// The words by which a person of this name and address is found, folded, in the order of their bytes.
pub fn person_words(name: &str, email: Option<&str>) -> BTreeSet<String> {
    let all = [Some(name), email].into_iter().flatten().flat_map(fold::words);
    all.take(MOST_PERSON_WORDS).collect()
}

/// All refresh tokens that descend from one login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, AsExpression, FromSqlRow)]
#[diesel(sql_type = crate::kernel::sql::Guid)]
pub struct FamilyId(pub Uuid);

impl From<Uuid> for FamilyId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

crate::kernel::sql::guid!(FamilyId);

/// A set of scopes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scopes(u16);

impl Scopes {
    /// Every scope there is.
    pub fn all() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    /// Whether `scope` is one of them.
    pub fn contains(self, scope: Scope) -> bool {
        self.0 & Self::bit(scope) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `other` has all of these.
    pub fn are_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// In their declared order.
    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |s| self.contains(*s))
    }

    /// The words of `text` that are scopes; others mean nothing here and are left out.
    pub fn known_in(text: &str) -> Self {
        text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// All words of `text`, separated by spaces.
    ///
    /// # Errors
    /// A sentence when one of them is no scope.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split_ascii_whitespace()
            .map(|word| word.parse().map_err(|e: FieldError| format!("{word:?} is no scope: {e}")))
            .collect()
    }

    fn bit(scope: Scope) -> u16 {
        1 << (scope as u16)
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | Self::bit(scope)))
    }
}

impl std::fmt::Display for Scopes {
    /// Separated by spaces, as in a token (RFC 6749, 3.3).
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<_> = self.iter().map(Scope::as_str).collect();
        f.write_str(&words.join(" "))
    }
}

impl Role {
    /// What a person of this role may do at most.
    pub fn scopes(self) -> Scopes {
        use Scope::{CommentsRead, CommentsWrite, InternalRead, MetricsRead, TicketsRead, TicketsWrite};
        match self {
            Role::Requester => [TicketsRead, TicketsWrite, CommentsRead, CommentsWrite].into_iter().collect(),
            Role::Agent => [TicketsRead, TicketsWrite, CommentsRead, CommentsWrite, InternalRead, MetricsRead]
                .into_iter()
                .collect(),
            Role::Admin => Scopes::all(),
        }
    }
}

/// What kind of thing calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrincipalKind {
    /// A person, by role.
    Person(Role),
    /// A script or a monitor: it has exactly its scopes.
    ServiceAccount,
}

/// Somebody or something whose token was verified and who is active.
#[derive(Clone)]
pub struct Principal {
    /// Its id.
    pub id: PrincipalId,
    /// Its name, for answers that name it.
    pub name: String,
    /// Its email address, for people who have one.
    pub email: Option<String>,
    /// What it is.
    pub kind: PrincipalKind,
    /// What its token may be used for: never more than its role or account allows.
    pub scopes: Scopes,
    /// What requesters may set and are shown here.
    pub rules: Arc<RequesterRules>,
}

impl std::fmt::Debug for Principal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Principal").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl Principal {
    /// The role, if this is a person.
    pub fn role(&self) -> Option<Role> {
        match self.kind {
            PrincipalKind::Person(role) => Some(role),
            PrincipalKind::ServiceAccount => None,
        }
    }

    /// How others are named to them.
    pub fn names_shown(&self) -> NamesShown {
        match self.is_requester() {
            true => NamesShown::to_requester(self.id, self.rules.agent_names),
            false => NamesShown::default(),
        }
    }

    /// Whether this is an agent or an admin: somebody behind the counter.
    pub fn is_staff(&self) -> bool {
        matches!(self.kind, PrincipalKind::Person(Role::Agent | Role::Admin))
    }

    /// Whether this is a requester: somebody in front of the counter, who sees only their own.
    pub fn is_requester(&self) -> bool {
        matches!(self.kind, PrincipalKind::Person(Role::Requester))
    }

    /// Whether internal comments may be seen and written. Requesters never may, whatever their token says.
    pub fn sees_internal(&self) -> bool {
        !self.is_requester() && self.scopes.contains(Scope::InternalRead)
    }

    /// Passes when role and token allow `scope` for one of `roles`; service accounts need the scope alone.
    ///
    /// # Errors
    /// `forbidden` when the role does not allow it, `insufficient_scope` when only the token lacks it.
    pub fn require(&self, scope: Scope, roles: &[Role]) -> Result<(), Problem> {
        let words = || roles.iter().map(|role| role.as_str()).collect::<Vec<_>>();
        if self.role().is_some_and(|role| !roles.contains(&role)) {
            return Err(Problem::new(Code::Forbidden, "Your role does not allow this.").with("roles", words()));
        }
        if !self.scopes.contains(scope) {
            let detail = format!("This needs a token with the scope {scope}.");
            return Err(Problem::new(Code::InsufficientScope, detail).with("scope", scope.as_str()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn scopes_are_read_as_they_are_written(bits in 0u16..256) {
            let scopes = Scopes(bits);
            prop_assert_eq!(Scopes::parse(&scopes.to_string()), Ok(scopes));
        }
    }

    #[test]
    fn each_role_has_all_that_the_one_before_has() {
        assert!(Role::Requester.scopes().are_within(Role::Agent.scopes()));
        assert!(Role::Agent.scopes().are_within(Role::Admin.scopes()));
        assert_eq!(Role::Admin.scopes(), Scopes::all());
        assert!(Scopes::parse("tickets:read tickets:delete").is_err());
    }
}
