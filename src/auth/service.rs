//! From a token to a principal, and from a principal to a token.

use std::sync::{Arc, OnceLock};

use jsonwebtoken::Algorithm;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::domain::{Principal, PrincipalKind, Role, Scopes};
use super::issuers::{Issuer, IssuerConfig, Issuers};
use super::keys::{ACCESS, SigningKeys};
use super::mapping::{ClaimedRole, Outsider};
use super::password::Passwords;
use super::store::{self, KnownRow};
use super::token::{self, Expected, Given, Head, Tokens, untrusted};
use crate::audit::domain::{Change, Event, EventKind, Visibility};
use crate::db::{Conn, Db, Root};
use crate::kernel::requesters::RequesterRules;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem};

/// How long our own tokens are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Access tokens, in seconds.
    pub access_s: i64,
    /// Refresh tokens, in seconds, from their last use.
    pub refresh_s: i64,
}

impl Default for Lifetimes {
    /// A quarter of an hour, and 30 days.
    fn default() -> Self {
        Self { access_s: 900, refresh_s: 30 * 24 * 3600 }
    }
}

/// Who is trusted to say who somebody is.
#[derive(Debug)]
pub struct Authority {
    /// Our own keys.
    pub keys: SigningKeys,
    /// `iss` of our own tokens.
    pub issuer: String,
    /// `aud` of every token that is meant for us.
    pub audience: String,
    /// How long our own tokens are good for.
    pub lifetimes: Lifetimes,
    /// Whose tokens are good here besides ours.
    pub issuers: Issuers,
    /// Where passwords are hashed and verified.
    pub passwords: Passwords,
    tokens: Tokens,
}

impl Authority {
    /// An authority that trusts its own `keys` and the issuers in `outside`.
    ///
    /// # Errors
    /// The key of an outside issuer that is wrong, and what it should be.
    pub fn new(
        keys: SigningKeys,
        issuer: String,
        audience: String,
        lifetimes: Lifetimes,
        outside: &[IssuerConfig],
    ) -> Result<Self, String> {
        let issuers = Issuers::new(outside, &issuer)?;
        Ok(Self {
            keys,
            issuer,
            audience,
            lifetimes,
            issuers,
            passwords: Passwords::default(),
            tokens: Tokens::default(),
        })
    }

    /// The active principal that `token` speaks for. Looked up at each request, so that somebody who was deactivated is
    /// refused at once.
    ///
    /// # Errors
    /// `unauthenticated` or `token_expired`; `forbidden` for whom an outside issuer gives no role; `unavailable` while
    /// its keys cannot be fetched.
    pub async fn authenticate(&self, db: &Db, token: &str, now: Instant, clock: &Clock) -> Result<Principal, Problem> {
        let given = self.tokens.look_up(token)?;
        let head = given.head()?;
        if head.iss == self.issuer {
            return self.insider(db, given, head, now).await;
        }
        let issuer = self.issuers.find(&head.iss).ok_or_else(|| untrusted("issuer"))?;
        self.outsider(db, issuer, given, head, now, clock).await
    }

    /// Whom one of our own tokens speaks for.
    async fn insider(&self, db: &Db, given: Given<'_>, head: Head, now: Instant) -> Result<Principal, Problem> {
        let kid = head.kid.as_deref().ok_or_else(|| untrusted("no kid"))?;
        let key = self.keys.verifier(kid).ok_or_else(|| untrusted("unknown kid"))?;
        let (issuer, audience) = (&self.issuer, &self.audience);
        let types = &[Some(ACCESS)];
        let expected = Expected { algorithms: &[Algorithm::EdDSA], issuer, audience, types, grace_s: 0 };
        let verified = given.check(head, key, &expected, now)?;
        let claims = &verified.claims;
        let id = claims.get("sub").and_then(Value::as_str).and_then(|sub| sub.parse::<PrincipalId>().ok());
        let Some(id) = id else { return Err(untrusted("sub")) };
        let narrowed = match claims.get("scope") {
            None => None,
            Some(Value::String(scope)) => Some(Scopes::known_in(scope)),
            Some(_) => return Err(untrusted("scope")),
        };
        let known = db.read(async |conn| store::by_id(conn, id).await).await?;
        principal(known.ok_or_else(|| untrusted("unknown sub"))?, narrowed, &db.kept())
    }

    /// Whom a token of an outside issuer speaks for.
    async fn outsider(
        &self,
        db: &Db,
        issuer: &Issuer,
        given: Given<'_>,
        head: Head,
        now: Instant,
        clock: &Clock,
    ) -> Result<Principal, Problem> {
        let key = issuer.key(head.kid.as_deref(), head.alg, now).await?;
        let audience = issuer.audience.as_deref().unwrap_or(&self.audience);
        let one = [issuer.typ.as_deref()];
        let expected = Expected {
            algorithms: &issuer.algorithms,
            issuer: &issuer.name,
            audience,
            types: if issuer.typ.is_some() { &one } else { &[None, Some("jwt"), Some(ACCESS)] },
            grace_s: token::LEEWAY_S,
        };
        let verified = given.check(head, &key, &expected, now)?;
        if issuer.mapping.lacking(&verified.claims).is_some() {
            return Err(untrusted("a required claim"));
        }
        let who = issuer.mapping.read(&verified.claims).ok_or_else(|| untrusted("sub"))?;
        if who.role == ClaimedRole::NoRole {
            return Err(no_role());
        }
        let scopes = who.scopes;
        principal(recognise(db, issuer, who, now, clock).await?, scopes, &db.kept())
    }

    /// An access token for `sub`, good for `ttl_s` seconds, for no more than `narrowed` if that is given.
    ///
    /// # Errors
    /// When the claims cannot be written as JSON.
    pub fn mint(
        &self,
        sub: PrincipalId,
        narrowed: Option<Scopes>,
        ttl_s: i64,
        now: Instant,
        clock: &Clock,
    ) -> Result<String, Problem> {
        self.keys.sign(&AccessClaims {
            iss: &self.issuer,
            aud: &self.audience,
            sub,
            iat: now.seconds(),
            nbf: now.seconds(),
            exp: now.seconds().saturating_add(ttl_s),
            jti: clock.id(now),
            scope: narrowed.map(|scopes| scopes.to_string()),
        })
    }
}

/// The claims of our own access tokens (RFC 9068, 2.2).
#[derive(Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    aud: &'a str,
    sub: PrincipalId,
    iat: i64,
    nbf: i64,
    exp: i64,
    jti: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
}

/// All that a principal may do at most.
pub(super) fn most(known: &KnownRow) -> Scopes {
    match known.role {
        Some(role) => role.scopes(),
        None => Scopes::known_in(known.scopes.as_deref().unwrap_or_default()),
    }
}

/// What requesters of this database may set and are shown.
#[derive(Debug, Default)]
pub struct KeptRules(OnceLock<Arc<RequesterRules>>);

impl KeptRules {
    /// Sets it, once, when the service starts.
    pub fn set(&self, rules: RequesterRules) {
        self.0.get_or_init(|| Arc::new(rules));
    }
}

/// What the database knows, narrowed by what the token says.
fn principal(known: KnownRow, narrowed: Option<Scopes>, rules: &KeptRules) -> Result<Principal, Problem> {
    if !known.active {
        return Err(untrusted("not active"));
    }
    let scopes = narrowed.map_or(most(&known), |narrowed| most(&known).and(narrowed));
    let kind = known.role.map_or(PrincipalKind::ServiceAccount, PrincipalKind::Person);
    let rules = rules.0.get_or_init(Arc::default).clone();
    Ok(Principal { id: known.id, name: known.name, email: known.email, kind, scopes, rules })
}

/// The principal `id`, with all that it may do at most, if it is there and active: for what is done in its name without
/// a token.
pub async fn standing(conn: &mut Conn, id: PrincipalId) -> Result<Option<Principal>, Problem> {
    let known = store::by_id(conn, id).await?;
    Ok(known.and_then(|known| principal(known, None, &conn.kept_by_name()).ok()))
}

/// The person behind a verified outside token: made on first sight, and mended when the issuer says something else
/// than it did before. Writes only if there is something to write.
async fn recognise(db: &Db, issuer: &Issuer, who: Outsider, now: Instant, clock: &Clock) -> Result<KnownRow, Problem> {
    let seen = db
        .read(async |conn| match store::by_subject(conn, &issuer.name, &who.subject).await? {
            Some(known) => Ok((known == described(conn, known.clone(), &who).await?).then_some(known)),
            None => Ok(None),
        })
        .await?;
    if let Some(known) = seen {
        return Ok(known);
    }
    let (issuer, default_role, id) = (issuer.name.clone(), issuer.mapping.default_role, clock.id(now));
    let clock = clock.clone();
    let subject = Root::Subject(issuer.clone(), who.subject.clone());
    db.write(subject, async move |tx| match store::by_subject(tx, &issuer, &who.subject).await? {
        Some(known) => {
            let described = described(tx, known.clone(), &who).await?;
            if described != known {
                store::describe(tx, &described, now).await?;
                record(tx, Some(&known), &described, now, &clock).await?;
            }
            Ok(described)
        }
        None => {
            let stranger = stranger(id, default_role, &who).ok_or_else(no_role)?;
            let known = described(tx, stranger, &who).await?;
            store::add_outsider(tx, &known, &issuer, &who.subject, now).await?;
            record(tx, None, &known, now, &clock).await?;
            Ok(known)
        }
    })
    .await
}

/// Writes down what the issuer's word has made of a person who was `before`, or was not there. What is personal is not
/// told.
async fn record(
    tx: &mut Conn,
    before: Option<&KnownRow>,
    after: &KnownRow,
    at: Instant,
    clock: &Clock,
) -> Result<(), Problem> {
    let role = |known: &KnownRow| known.role.map(Role::as_str).into();
    let unsaid = |field, differs: bool| differs.then(|| Change::unsaid(field));
    let changes = [
        Change::of("role", before.map(role).unwrap_or_default(), role(after)),
        before.is_none().then(|| Change { field: "active", before: Value::Null, after: after.active.into() }),
        unsaid("name", before.is_none_or(|before| before.name != after.name)),
        unsaid("email", before.and_then(|before| before.email.as_ref()) != after.email.as_ref()),
    ];
    let event = Event {
        about: after.id.into(),
        at,
        actor: None,
        kind: if before.is_none() { EventKind::UserCreated } else { EventKind::UserUpdated },
        visibility: Visibility::Public,
        comment_id: None,
        changes: changes.into_iter().flatten().collect(),
    };
    crate::audit::store::add(tx, event, clock).await
}

/// Somebody of whom nothing is known but that they exist and what they are, if they are anything here.
fn stranger(id: PrincipalId, default_role: Option<Role>, who: &Outsider) -> Option<KnownRow> {
    let role = match who.role {
        ClaimedRole::Role(role) => role,
        ClaimedRole::Nothing => default_role?,
        ClaimedRole::NoRole => return None,
    };
    Some(KnownRow { id, name: who.subject.clone(), email: None, role: Some(role), scopes: None, active: true })
}

/// The answer to a good token of somebody who is nothing here.
fn no_role() -> Problem {
    Problem::new(Code::Forbidden, "Whoever issued this token gives you no role here.")
}

/// `known` as the issuer describes them now. Whoever is not active stays as they are: an anonymised person must not get
/// their name back.
async fn described(conn: &mut Conn, mut known: KnownRow, who: &Outsider) -> Result<KnownRow, Problem> {
    if !known.active {
        return Ok(known);
    }
    if let ClaimedRole::Role(role) = who.role {
        known.role = Some(role);
    }
    if let Some(name) = &who.name {
        known.name.clone_from(name);
    }
    // An address that somebody else has here is left out, and the two stay two: if an address in a token were enough to
    // become the person who has it, each outside issuer could take over each account.
    if let Some(email) = &who.email
        && known.email.as_ref() != Some(email)
        && store::by_email(conn, email).await?.is_none()
    {
        known.email = Some(email.clone());
    }
    Ok(known)
}
