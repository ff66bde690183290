//! The check that every token passes, ours or an outside issuer's (RFC 8725). A signature is verified once: what
//! follows from the clock and from the database is judged at each request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use quick_cache::sync::Cache;

use serde_json::{Map, Value};

use crate::kernel::json::Unique;
use crate::kernel::{Code, Instant, Problem};

/// Longer tokens are not looked at, in bytes.
const LONGEST_B: usize = 8 * 1024;

/// How far the clock of an outside issuer may be from ours, in seconds. A token of ours is good to the second that its
/// `expires_in` promised.
pub const LEEWAY_S: i64 = 30;

/// A token's claims, verified.
pub type Claims = Map<String, Value>;

/// Who a token must come from and be for.
#[derive(Debug, Clone)]
pub struct Expected<'a> {
    /// The algorithms that this issuer signs with: never taken from the token.
    pub algorithms: &'a [Algorithm],
    /// `iss`.
    pub issuer: &'a str,
    /// `aud` must contain it.
    pub audience: &'a str,
    /// What `typ` may say; nothing, where a token need not say it.
    pub types: &'a [Option<&'a str>],
    /// For how long a token is still good after its `exp`, in seconds.
    pub grace_s: i64,
}

/// The one answer for every token that cannot be trusted; `why` goes to the log only.
pub fn untrusted(why: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, "The token cannot be trusted here. Get a new one.")
        .with("error", "invalid_token")
        .because(why)
}

/// A key that verifies. Two that were read at different times are never the same, so that what one has verified is not
/// taken for verified once it is gone.
#[derive(Clone)]
pub struct Verifier {
    serial: u64,
    key: Arc<DecodingKey>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier").field("serial", &self.serial).finish_non_exhaustive()
    }
}

impl From<DecodingKey> for Verifier {
    fn from(key: DecodingKey) -> Self {
        static READ: AtomicU64 = AtomicU64::new(0);
        Self { serial: READ.fetch_add(1, Ordering::Relaxed), key: Arc::new(key) }
    }
}

/// What chooses the key that must have signed a token. Until that is verified it is not more than a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Who says to have signed it.
    pub iss: String,
    /// With which of their keys.
    pub kid: Option<String>,
    /// By which algorithm.
    pub alg: Algorithm,
    /// What kind of token it is, in lower case and without `application/` (RFC 7515, 4.1.9).
    pub typ: Option<String>,
}

impl Head {
    /// Reads it from a token. Where a key is to be found (`jku`, `x5u`, `jwk`, `x5c`) is not read.
    ///
    /// # Errors
    /// `unauthenticated` when this is no token, or one that asks for what is not done here: extensions that must be
    /// understood, compression, encryption, a token within.
    pub fn of(token: &str) -> Result<Self, Problem> {
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(untrusted("not a token"));
        };
        let (header, claims) = (object(header)?, object(claims)?);
        if ["crit", "b64", "zip", "enc", "cty"].iter().any(|name| header.contains_key(*name)) {
            return Err(untrusted("a header that is not understood"));
        }
        let text = |of: &Claims, name: &str| match of.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(untrusted("not a token")),
        };
        let alg = text(&header, "alg")?.and_then(|alg| alg.parse().ok()).ok_or_else(|| untrusted("algorithm"))?;
        let iss = text(&claims, "iss")?.ok_or_else(|| untrusted("issuer"))?;
        Ok(Self { iss, kid: text(&header, "kid")?, alg, typ: text(&header, "typ")?.map(|typ| kind(&typ)) })
    }
}

/// A media type as `typ` shortens it.
pub fn kind(typ: &str) -> String {
    let typ = typ.to_ascii_lowercase();
    typ.strip_prefix("application/").map(str::to_owned).unwrap_or(typ)
}

/// The JSON object in a part of a token.
fn object(part: &str) -> Result<Claims, Problem> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| untrusted("not a token"))?;
    match serde_json::from_slice(&json) {
        Ok(Unique(Value::Object(fields))) => Ok(fields),
        _ => Err(untrusted("not a token")),
    }
}

/// A token whose signature was verified.
#[derive(Debug)]
pub struct Verified {
    /// What chose the key.
    pub head: Head,
    /// What it says.
    pub claims: Claims,
    by: u64,
}

/// How many verified tokens are kept.
const MOST_KEPT: usize = 4096;

/// The tokens that were verified lately, by the hash of the whole token. A bounded number: tokens of others come in
/// only by taking the place of those that are used least.
pub struct Tokens(Cache<[u8; 32], Arc<Verified>>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokens").field(&self.0.len()).finish()
    }
}

impl Default for Tokens {
    fn default() -> Self {
        Self(Cache::new(MOST_KEPT))
    }
}

/// A token as a request brings it, and whether it is known.
pub struct Given<'a> {
    tokens: &'a Tokens,
    token: &'a str,
    hash: [u8; 32],
    known: Option<Arc<Verified>>,
}

impl Tokens {
    /// Looks `token` up.
    ///
    /// # Errors
    /// `unauthenticated` when it is too long to be looked at.
    pub fn look_up<'a>(&'a self, token: &'a str) -> Result<Given<'a>, Problem> {
        if token.len() > LONGEST_B {
            return Err(untrusted("too long"));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Ok(Given { tokens: self, token, hash, known: self.0.get(&hash) })
    }
}

impl Given<'_> {
    /// What chooses the key.
    ///
    /// # Errors
    /// `unauthenticated` when this is no token.
    pub fn head(&self) -> Result<Head, Problem> {
        self.known.as_ref().map_or_else(|| Head::of(self.token), |known| Ok(known.head.clone()))
    }

    /// Verifies `typ`, signature, `iss` and `aud`, unless `key` has done so before, and judges `exp`, `nbf` and `iat`.
    ///
    /// # Errors
    /// `unauthenticated`, or `token_expired` when nothing but `exp` is wrong.
    pub fn check(
        self,
        head: Head,
        key: &Verifier,
        expected: &Expected<'_>,
        now: Instant,
    ) -> Result<Arc<Verified>, Problem> {
        if let Some(known) = self.known.filter(|known| known.by == key.serial) {
            timely(&known.claims, expected, now)?;
            return Ok(known);
        }
        if !expected.types.contains(&head.typ.as_deref()) {
            return Err(untrusted("another kind of token"));
        }
        let claims = verify(self.token, &key.key, expected)?;
        timely(&claims, expected, now)?;
        let verified = Arc::new(Verified { head, claims, by: key.serial });
        self.tokens.0.insert(self.hash, verified.clone());
        Ok(verified)
    }
}

/// Verifies signature, `iss` and `aud`.
fn verify(token: &str, key: &DecodingKey, expected: &Expected<'_>) -> Result<Claims, Problem> {
    let Some(first) = expected.algorithms.first() else { return Err(untrusted("no algorithm is allowed")) };
    let mut rules = Validation::new(*first);
    // One family at a time: a key of one family must never be read as a key of another.
    rules.algorithms = expected.algorithms.iter().copied().filter(|a| a.family() == key.family()).collect();
    rules.set_issuer(&[expected.issuer]);
    rules.set_audience(&[expected.audience]);
    rules.set_required_spec_claims(&["iss", "aud", "sub"]);
    // Judged by `timely`, against the clock that is passed in.
    rules.validate_exp = false;
    rules.validate_nbf = false;
    let claims = jsonwebtoken::decode::<Claims>(token, key, &rules)
        .map_err(|error| {
            untrusted(match error.kind() {
                ErrorKind::InvalidSignature => "signature",
                ErrorKind::InvalidAlgorithm => "algorithm",
                ErrorKind::InvalidAudience => "audience",
                ErrorKind::InvalidIssuer => "issuer",
                ErrorKind::MissingRequiredClaim(_) => "missing claim",
                _ => "not a token",
            })
        })?
        .claims;
    // `iss` may not be a list, which the library would accept.
    if claims.get("iss").and_then(Value::as_str) != Some(expected.issuer) {
        return Err(untrusted("issuer"));
    }
    Ok(claims)
}

/// Judges `exp`, `nbf` and `iat`.
fn timely(claims: &Claims, expected: &Expected<'_>, now: Instant) -> Result<(), Problem> {
    let Some(expires_s) = numeric_date(claims.get("exp")) else { return Err(untrusted("no exp")) };
    for from in ["nbf", "iat"].iter().filter_map(|name| claims.get(*name)) {
        match numeric_date(Some(from)) {
            Some(from_s) if from_s <= now.seconds() + LEEWAY_S => {}
            _ => return Err(untrusted("not yet valid")),
        }
    }
    if expires_s <= now.seconds() - expected.grace_s {
        let detail = "The token has expired. Get a new one.";
        return Err(Problem::new(Code::TokenExpired, detail).with("error", "invalid_token"));
    }
    Ok(())
}

/// A NumericDate (RFC 7519, 2) in whole seconds.
fn numeric_date(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what a far date means")]
    value.as_i64().or_else(|| value.as_f64().filter(|s| s.is_finite()).map(|s| s.floor() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;

    proptest! {
        /// A token that nobody has signed says who claims to have, or nothing.
        #[test]
        fn any_text_has_a_head_or_none(
            text in "(\\PC{0,40}|[-_A-Za-z0-9.]{0,80})",
            header in r#"\{("(alg|kid|crit|typ|jwk|jku|x5c)":("(none|EdDSA|RS256|)"|\[\]|null|1),?){0,3}\}"#,
            claims in r#"\{("(iss|exp)":("skranke"|1e999|null|\{\}),?){0,2}\}"#,
        ) {
            let made = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(&header), URL_SAFE_NO_PAD.encode(&claims));
            for token in [text, made] {
                if let Ok(head) = Head::of(&token) {
                    prop_assert!(head.iss == "skranke" && claims.contains("iss") && !header.contains(r#""alg":"none""#));
                }
            }
        }
    }
    use crate::auth::keys::{SigningKey, SigningKeys};
    use serde_json::json;

    fn keys() -> SigningKeys {
        SigningKeys::new(
            SigningKey::from_pem(SigningKey::generate_pem().expect("a key").reveal()).expect("a key"),
            None,
        )
    }

    const EXPECTED: Expected<'_> = Expected {
        algorithms: &[Algorithm::EdDSA],
        issuer: "us",
        audience: "us",
        types: &[Some("at+jwt")],
        grace_s: 0,
    };

    fn at(s: i64) -> Instant {
        Instant::EPOCH.plus_s(s)
    }

    #[test]
    fn what_was_verified_once_is_verified_by_that_key_alone_and_ends_in_time() {
        let (keys, others) = (keys(), keys());
        let (key, other) = (&keys.all()[0].kid, &others.all()[0].kid);
        let (key, other) = (keys.verifier(key).expect("it"), others.verifier(other).expect("it"));
        let token =
            keys.sign(&json!({ "iss": "us", "aud": "us", "sub": "a", "nbf": 1_000, "exp": 2_000 })).expect("a token");
        let tokens = Tokens::default();
        let check = |key: &Verifier, now| {
            let given = tokens.look_up(&token)?;
            let known = given.known.is_some();
            let head = given.head()?;
            given.check(head, key, &EXPECTED, now).map(|_| known)
        };
        let code = |outcome: Result<bool, Problem>| outcome.map_err(|problem| problem.code());
        assert_eq!(code(check(other, at(1_500))), Err(Code::Unauthenticated));
        assert_eq!(code(check(key, at(2_000))), Err(Code::TokenExpired));
        assert_eq!(code(check(key, at(1_500))), Ok(false), "nothing that was refused is known");
        assert_eq!(code(check(key, at(1_999))), Ok(true));
        assert_eq!(code(check(other, at(1_500))), Err(Code::Unauthenticated), "another key knows nothing of it");
        assert_eq!(code(check(key, at(2_000))), Err(Code::TokenExpired));
        assert_eq!(code(check(key, at(0))), Err(Code::Unauthenticated), "its time has not come");
    }

    #[test]
    fn no_more_tokens_are_kept_than_there_is_room_for() {
        let keys = keys();
        let key = keys.verifier(&keys.all()[0].kid).expect("it");
        let tokens = Tokens(Cache::new(8));
        for n in 0..100 {
            let claims = json!({ "iss": "us", "aud": "us", "sub": n.to_string(), "exp": 2_000 });
            let token = keys.sign(&claims).expect("a token");
            let given = tokens.look_up(&token).expect("short enough");
            let head = given.head().expect("a token");
            given.check(head, key, &EXPECTED, at(0)).expect("good");
        }
        assert!(tokens.0.len() <= 8, "{}", tokens.0.len());
    }
}
