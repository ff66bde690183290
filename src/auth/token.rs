//! The check that every token passes, ours or an outside issuer's (RFC 8725).

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::kernel::{Code, Instant, Problem};

/// Longer tokens are not looked at.
pub const LONGEST_B: usize = 8 * 1024;

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
    /// For how long a token is still good after its `exp`, in seconds.
    pub grace_s: i64,
}

/// The one answer for every token that cannot be trusted; `why` goes to the log only.
pub fn untrusted(why: &'static str) -> Problem {
    Problem::new(Code::Unauthenticated, "The token cannot be trusted here. Get a new one.")
        .with("error", "invalid_token")
        .because(why)
}

/// Verifies signature, `iss`, `aud`, `exp` and `nbf`.
///
/// # Errors
/// `unauthenticated`, or `token_expired` when nothing but `exp` is wrong.
pub fn check(token: &str, key: &DecodingKey, expected: &Expected<'_>, now: Instant) -> Result<Claims, Problem> {
    let Some(first) = expected.algorithms.first() else { return Err(untrusted("no algorithm is allowed")) };
    let mut rules = Validation::new(*first);
    // One family at a time: a key of one family must never be read as a key of another.
    rules.algorithms = expected.algorithms.iter().copied().filter(|a| a.family() == key.family()).collect();
    rules.set_issuer(&[expected.issuer]);
    rules.set_audience(&[expected.audience]);
    rules.set_required_spec_claims(&["iss", "aud", "sub"]);
    // Judged below, against the clock that is passed in.
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
    let Some(expires_s) = numeric_date(claims.get("exp")) else { return Err(untrusted("no exp")) };
    if let Some(nbf) = claims.get("nbf") {
        match numeric_date(Some(nbf)) {
            Some(from_s) if from_s <= now.seconds() + LEEWAY_S => {}
            _ => return Err(untrusted("not yet valid")),
        }
    }
    if expires_s <= now.seconds() - expected.grace_s {
        let detail = "The token has expired. Get a new one.";
        return Err(Problem::new(Code::TokenExpired, detail).with("error", "invalid_token"));
    }
    Ok(claims)
}

/// A NumericDate (RFC 7519, 2) in whole seconds.
fn numeric_date(value: Option<&Value>) -> Option<i64> {
    let value = value?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, which is what a far date means")]
    value.as_i64().or_else(|| value.as_f64().filter(|s| s.is_finite()).map(|s| s.floor() as i64))
}
