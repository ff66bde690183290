//! Permission as a type: a handler that takes `Allowed<P>` runs only for callers who may do `P`.

use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use uuid::Uuid;

use super::domain::{Principal, PrincipalKind, Role, Scope};
use super::service::Authority;
use crate::http::limits::understood;
use crate::http::record::Administering;
use crate::http::{Call, Gate, Reader, State};
use crate::kernel::requesters::AgentNames;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem};

/// Something that callers may or may not do.
pub trait Permission: 'static {
    /// The scope that a token needs for it.
    const SCOPE: Option<Scope>;
    /// Another scope that will do as well.
    const OTHER_SCOPE: Option<Scope> = None;
    /// The scope that a service account needs for it.
    const ACCOUNT_SCOPE: Option<Scope> = Self::SCOPE;
    /// The roles of people who may do it. Service accounts need the scope alone.
    const ROLES: &'static [Role];
    /// Whether it is administration: whoever does it, or is refused, is told of in the log.
    const RECORDED: bool = false;
}

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident: $scope:expr, $roles:expr $(, or $other_scope:expr)? $(, accounts $account_scope:expr)? $(, recorded $recorded:expr)?;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Permission for $name {
            const SCOPE: Option<Scope> = $scope;
            $(const OTHER_SCOPE: Option<Scope> = $other_scope;)?
            $(const ACCOUNT_SCOPE: Option<Scope> = $account_scope;)?
            const ROLES: &'static [Role] = $roles;
            $(const RECORDED: bool = $recorded;)?
        }
    )*};
}

const EVERYBODY: &[Role] = &[Role::Requester, Role::Agent, Role::Admin];
const STAFF: &[Role] = &[Role::Agent, Role::Admin];
const ADMINS: &[Role] = &[Role::Admin];

permissions! {
    /// Have a valid token.
    BeKnown: None, EVERYBODY;
    /// See tickets: requesters their own, all others all.
    ReadTickets: Some(Scope::TicketsRead), EVERYBODY;
    /// Open and change tickets: requesters their own, all others all.
    WriteTickets: Some(Scope::TicketsWrite), EVERYBODY;
    /// See comments on tickets that one may see.
    ReadComments: Some(Scope::CommentsRead), EVERYBODY;
    /// Write comments on tickets that one may see.
    WriteComments: Some(Scope::CommentsWrite), EVERYBODY;
    /// See files, each as far as one may see what it is attached to, see `files::policy`.
    ReadFiles: Some(Scope::CommentsRead), EVERYBODY, or Some(Scope::TicketsRead);
    /// Send files, which one attaches to what one writes.
    SendFiles: Some(Scope::CommentsWrite), EVERYBODY, or Some(Scope::TicketsWrite);
    /// Delete a file: admins all, others what they have just sent, see `files::policy`.
    DeleteFiles: None, EVERYBODY, recorded true;
    /// See work on tickets and what it cost.
    ReadWork: Some(Scope::TicketsRead), STAFF;
    /// Add work to tickets, and take it off again.
    WriteWork: Some(Scope::TicketsWrite), STAFF;
    /// See people: agents and admins do, and service accounts that set people up.
    ReadPeople: Some(Scope::TicketsRead), STAFF, accounts Some(Scope::Admin);
    /// See teams and who is in them.
    ReadTeams: Some(Scope::TicketsRead), STAFF;
    /// See which tags there are.
    ReadTags: Some(Scope::TicketsRead), STAFF;
    /// Read the numbers about all tickets and about the service itself.
    ReadMetrics: Some(Scope::MetricsRead), STAFF;
    /// Tell of alerts.
    SendAlerts: Some(Scope::AlertsWrite), ADMINS;
    /// See alerts.
    ReadAlerts: Some(Scope::InternalRead), STAFF;
    /// See what is promised: calendars and SLA policies.
    ReadSla: Some(Scope::TicketsRead), STAFF;
    /// Set up people, teams, service accounts, calendars and SLA policies; redact comments.
    Administer: Some(Scope::Admin), ADMINS, recorded true;
    /// Change a person: admins everybody, all others their own profile, see `people::policy`.
    ChangePeople: None, EVERYBODY, recorded true;
}

/// Proof that the caller may do `P`, and who they are.
#[derive(Debug)]
pub struct Allowed<P> {
    who: Principal,
    permission: PhantomData<P>,
}

impl<P: Permission> Allowed<P> {
    /// The caller.
    pub fn who(&self) -> &Principal {
        &self.who
    }

    /// Proof that the caller may do `Q` as well.
    ///
    /// # Errors
    /// `insufficient_scope` or `forbidden`.
    pub fn and<Q: Permission>(&self) -> Result<Allowed<Q>, Problem> {
        self.who.clone().try_into()
    }

    /// What this caller does in this call.
    pub fn act(&self, call: &Call) -> Act {
        Act { who: self.who.clone(), now: call.now(), clock: call.clock().clone() }
    }
}

/// Who does something, when, and where new ids come from: what a use case needs to know of its caller.
#[derive(Debug, Clone)]
pub struct Act {
    /// Who.
    pub who: Principal,
    /// When: one instant for all that the act changes. Before it has its [turn](Self::in_turn), when it was asked for.
    pub now: Instant,
    /// Where new ids come from.
    pub clock: Clock,
}

impl Act {
    /// The same, dated now that it has its turn: for the inside of a transaction. However long it has waited, hardly
    /// anything that is written before it is dated later; and nothing, where it is [alone](crate::db::Db::write_alone).
    #[must_use]
    pub fn in_turn(&self) -> Self {
        Self { now: self.clock.now().max(self.now), ..self.clone() }
    }

    /// A new id.
    pub fn id<T: From<Uuid>>(&self) -> T {
        self.clock.id(self.now)
    }
}

impl<P: Permission> TryFrom<Principal> for Allowed<P> {
    type Error = Problem;

    fn try_from(who: Principal) -> Result<Self, Problem> {
        who.require_permission::<P>()?;
        Ok(Self { who, permission: PhantomData })
    }
}

impl Reader for Principal {
    fn id(&self) -> PrincipalId {
        self.id
    }

    fn role(&self) -> Option<&'static str> {
        let role = Principal::role(self)?;
        // What requesters are told is a setting: an answer that was made under another one is another one.
        Some(match (role, self.rules.agent_names, self.rules.hides_policies) {
            (Role::Requester, AgentNames::First, false) => "requester, first names",
            (Role::Requester, AgentNames::First, true) => "requester, first names, no policies",
            (Role::Requester, AgentNames::Hidden, false) => "requester, no names",
            (Role::Requester, AgentNames::Hidden, true) => "requester, no names, no policies",
            (Role::Requester, AgentNames::Full, true) => "requester, no policies",
            _ => role.as_str(),
        })
    }
}

impl Principal {
    /// Whether `P` is permitted.
    pub fn may<P: Permission>(&self) -> bool {
        self.require_permission::<P>().is_ok()
    }

    fn require_permission<P: Permission>(&self) -> Result<(), Problem> {
        let scope = match self.kind {
            PrincipalKind::Person(_) => P::SCOPE,
            PrincipalKind::ServiceAccount => P::ACCOUNT_SCOPE,
        };
        let Some(scope) = scope else { return Ok(()) };
        let other = P::OTHER_SCOPE.filter(|other| !self.scopes.contains(scope) && self.scopes.contains(*other));
        self.require(other.unwrap_or(scope), P::ROLES)
    }
}

impl<P: Permission> FromRequest for Allowed<P> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let authority = request.app_data::<web::Data<Authority>>().cloned();
        let state = request.app_data::<web::Data<State>>().cloned();
        let gate = request.app_data::<web::Data<Gate>>().cloned();
        let writes = !request.method().is_safe();
        let (token, request) = (bearer(request), request.clone());
        Box::pin(async move {
            let (Some(authority), Some(state), Some(gate)) = (authority, state, gate) else {
                return Err(Problem::internal("no authority in the app"));
            };
            let (now, deadline) = (state.clock.now(), state.deadline(&request));
            let who = authority.authenticate(&state.db.until(deadline), &token?, now, &state.clock).await?;
            gate.count_principal(&request, &who.id).map_err(|problem| understood(request.path(), problem))?;
            if P::RECORDED {
                request.extensions_mut().insert(Administering(who.id));
            }
            if writes && state.db.has_replica() {
                state.writers.note(who.id, now);
            }
            who.try_into()
        })
    }
}

/// Proof that the caller may do `P`, which can be asked for again while an answer goes on: whoever is no longer who
/// they were, or whose token has expired, is refused then.
pub struct Lasting<P> {
    now: Allowed<P>,
    authority: web::Data<Authority>,
    state: web::Data<State>,
    token: String,
}

impl<P: Permission> Lasting<P> {
    /// Proof that they may now.
    pub fn allowed(&self) -> &Allowed<P> {
        &self.now
    }

    /// Proof that they still may.
    ///
    /// # Errors
    /// Those that a new request would meet.
    pub async fn renewed(&self) -> Result<Allowed<P>, Problem> {
        let (db, clock) = (self.state.db.anew(), &self.state.clock);
        self.authority.authenticate(&db, &self.token, clock.now(), clock).await?.try_into()
    }
}

impl<P: Permission> FromRequest for Lasting<P> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let authority = request.app_data::<web::Data<Authority>>().cloned();
        let state = request.app_data::<web::Data<State>>().cloned();
        let (allowed, token) = (Allowed::from_request(request, payload), bearer(request));
        Box::pin(async move {
            let now = allowed.await?;
            let (Some(authority), Some(state)) = (authority, state) else {
                return Err(Problem::internal("no authority in the app"));
            };
            Ok(Self { now, authority, state, token: token? })
        })
    }
}

/// The token of the one `Authorization: Bearer` header (RFC 6750, 2.1); tokens in a body or a query are not taken.
fn bearer(request: &HttpRequest) -> Result<String, Problem> {
    let mut given = request.headers().get_all(header::AUTHORIZATION);
    let (Some(value), None) = (given.next(), given.next()) else {
        return Err(Problem::new(Code::Unauthenticated, "Send one header Authorization: Bearer TOKEN."));
    };
    match value.to_str().ok().and_then(|text| text.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(token.trim().to_owned())
        }
        _ => Err(Problem::new(Code::Unauthenticated, "Send Authorization: Bearer TOKEN.")),
    }
}
