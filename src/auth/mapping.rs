//! From the claims of an outside token to a role, scopes, a name and an email address. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::domain::{Role, Scopes};
use super::token::Claims;
use crate::kernel::text::{Email, Line};

/// Where in an issuer's tokens the things stand that we want to know.
#[derive(Debug, Clone)]
pub struct Mapping {
    /// The path of the claim with the role or roles. Without it the role is set here, not by the issuer.
    pub role_claim: Option<String>,
    /// What the issuer's words for roles mean; without it they are our words.
    pub role_map: Option<BTreeMap<String, Role>>,
    /// The role of whoever has none of them.
    pub default_role: Role,
    /// The path of the claim with scopes. Without it a token may do all that the role may.
    pub scope_claim: Option<String>,
    /// What the issuer's words for scopes mean; without it they are our words.
    pub scope_map: Option<BTreeMap<String, Scopes>>,
    /// The path of the claim with the name.
    pub name_claim: String,
    /// The path of the claim with the email address.
    pub email_claim: String,
}

/// What an outside token says of somebody. Nothing means: it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outsider {
    /// `sub`.
    pub subject: String,
    /// The role, if the issuer decides on it.
    pub role: Option<Role>,
    /// All that the token may be used for, if the issuer decides on it.
    pub scopes: Option<Scopes>,
    /// The name.
    pub name: Option<String>,
    /// The email address, unless the issuer says that it is not verified.
    pub email: Option<String>,
}

impl Mapping {
    /// Reads verified claims; nothing when `sub` is not 1 to 255 characters on one line.
    pub fn read(&self, claims: &Claims) -> Option<Outsider> {
        let line = |value: &Value| Line::<255>::parse(value.as_str()?.to_owned()).ok().map(Line::into_inner);
        Some(Outsider {
            subject: claims.get("sub").and_then(line)?,
            role: self.role_claim.as_deref().map(|path| self.role(at(claims, path))),
            scopes: self.scope_claim.as_deref().map(|path| self.scopes(at(claims, path))),
            name: at(claims, &self.name_claim).and_then(line),
            email: self.email(claims),
        })
    }

    /// The highest role that is known among the words.
    fn role(&self, value: Option<&Value>) -> Role {
        let meaning = |word: &str| match &self.role_map {
            Some(map) => map.get(word).copied(),
            None => word.parse().ok(),
        };
        list(value).into_iter().filter_map(meaning).max().unwrap_or(self.default_role)
    }

    /// All scopes that are known among the words; none when the claim is missing.
    fn scopes(&self, value: Option<&Value>) -> Scopes {
        let words = list(value).into_iter().flat_map(str::split_ascii_whitespace);
        match &self.scope_map {
            Some(map) => words.filter_map(|word| map.get(word)).flat_map(|scopes| scopes.iter()).collect(),
            None => words.filter_map(|word| word.parse().ok()).collect(),
        }
    }

    fn email(&self, claims: &Claims) -> Option<String> {
        let unverified = match claims.get("email_verified") {
            Some(Value::Bool(verified)) => !verified,
            Some(Value::String(verified)) => verified == "false",
            _ => false,
        };
        let email = at(claims, &self.email_claim)?.as_str()?;
        if unverified { None } else { Email::parse(email.to_owned()).ok().map(Email::into_inner) }
    }
}

/// The value at a path such as `realm_access.roles`. A name may hold dots itself (`https://example.org/roles`).
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    claims.get(path).or_else(|| {
        path.match_indices('.').find_map(|(dot, _)| match claims.get(&path[..dot]) {
            Some(Value::Object(inner)) => at(inner, &path[dot + 1..]),
            _ => None,
        })
    })
}

/// The words of a claim that is a string or a list of strings.
fn list(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::domain::Scope;
    use proptest::prelude::*;
    use serde_json::json;

    fn mapping() -> Mapping {
        Mapping {
            role_claim: None,
            role_map: None,
            default_role: Role::Requester,
            scope_claim: None,
            scope_map: None,
            name_claim: "name".into(),
            email_claim: "email".into(),
        }
    }

    fn read(mapping: &Mapping, claims: &Value) -> Outsider {
        mapping.read(claims.as_object().expect("an object")).expect("a subject")
    }

    #[test]
    fn claims_are_found_by_path() {
        let claims = json!({
            "role": "admin", "realm_access": { "roles": ["x"] }, "https://a.example/roles": "y", "a.b": { "c.d": 1 },
        });
        let claims = claims.as_object().expect("an object");
        assert_eq!(at(claims, "role"), Some(&json!("admin")));
        assert_eq!(at(claims, "realm_access.roles"), Some(&json!(["x"])));
        assert_eq!(at(claims, "https://a.example/roles"), Some(&json!("y")));
        assert_eq!(at(claims, "a.b.c.d"), Some(&json!(1)));
        for missing in ["", ".", "role.x", "realm_access", "realm_access.", "realm_access.roles.0", "nothing"] {
            assert_ne!(at(claims, missing), Some(&json!(["x"])), "{missing}");
        }
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "(admin|agent|tickets:read|\\PC{0,8})".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::hash_map("(r|s|sub|name|email|\\PC{0,3})", inner, 0..4)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Claims come from outside: whatever they are, nobody becomes more than the words in them say.
        #[test]
        fn any_claims_are_read(claims in proptest::collection::hash_map("(r|s|sub|name|email|email_verified|\\PC{0,3})", any_json(), 0..7)) {
            let claims: Map<String, Value> = claims.into_iter().collect();
            let mapping = Mapping { role_claim: Some("r".into()), scope_claim: Some("s".into()), ..mapping() };
            let Some(outsider) = mapping.read(&claims) else {
                prop_assert!(claims.get("sub").and_then(Value::as_str).is_none_or(|sub| Line::<255>::parse(sub.to_owned()).is_err()));
                return Ok(());
            };
            let says = |claim: &str, word: &str| claims.get(claim).is_some_and(|value| value.to_string().contains(word));
            let role = outsider.role.expect("the issuer decides");
            prop_assert!(role == Role::Requester || says("r", role.as_str()), "{:?}", role);
            for scope in outsider.scopes.expect("the issuer decides").iter() {
                prop_assert!(says("s", scope.as_str()), "{:?}", scope);
            }
        }

        #[test]
        fn any_nesting_is_found(path in proptest::collection::vec("[a-z.]{1,4}", 1..5)) {
            let tree = path.iter().rev().fold(json!("here"), |inner, name| json!({ name.as_str(): inner }));
            let claims = tree.as_object().expect("an object");
            prop_assert_eq!(at(claims, &path.join(".")), Some(&json!("here")));
        }
    }

    #[test]
    fn roles_are_mapped_and_the_highest_wins() {
        let ours = Mapping { role_claim: Some("r".into()), ..mapping() };
        let role = |mapping: &Mapping, value: Value| read(mapping, &json!({ "sub": "s", "r": value })).role;
        assert_eq!(role(&ours, json!("agent")), Some(Role::Agent));
        assert_eq!(role(&ours, json!(["agent", "admin", "king"])), Some(Role::Admin));
        assert_eq!(role(&ours, json!(["king", 7])), Some(Role::Requester));
        assert_eq!(role(&ours, json!({ "agent": true })), Some(Role::Requester));
        let theirs = Mapping { role_map: Some([("helpdesk".into(), Role::Agent)].into()), ..ours };
        assert_eq!(role(&theirs, json!(["helpdesk", "admin"])), Some(Role::Agent));
        assert_eq!(role(&mapping(), json!("admin")), None);
    }

    #[test]
    fn scopes_are_mapped_and_a_missing_claim_grants_nothing() {
        let ours = Mapping { scope_claim: Some("scp".into()), ..mapping() };
        let scopes = |mapping: &Mapping, claims: Value| read(mapping, &claims).scopes.map(|s| s.to_string());
        let words = json!({ "sub": "s", "scp": "openid tickets:read metrics:read" });
        assert_eq!(scopes(&ours, words.clone()).as_deref(), Some("tickets:read metrics:read"));
        assert_eq!(scopes(&ours, json!({ "sub": "s", "scp": ["admin"] })).as_deref(), Some("admin"));
        assert_eq!(scopes(&ours, json!({ "sub": "s" })).as_deref(), Some(""));
        assert_eq!(scopes(&mapping(), words.clone()), None);
        let map = [("openid".into(), [Scope::TicketsWrite, Scope::CommentsWrite].into_iter().collect())];
        let theirs = Mapping { scope_map: Some(map.into()), ..ours };
        assert_eq!(scopes(&theirs, words).as_deref(), Some("tickets:write comments:write"));
    }

    #[test]
    fn names_and_addresses_are_taken_only_when_they_are_good() {
        let mapping = mapping();
        let email = |verified: Value| {
            read(&mapping, &json!({ "sub": "s", "email": "Ada@Example.org", "email_verified": verified })).email
        };
        assert_eq!(email(json!(true)).as_deref(), Some("ada@example.org"));
        assert_eq!(email(json!(null)).as_deref(), Some("ada@example.org"));
        assert_eq!(email(json!(false)), None);
        assert_eq!(email(json!("false")), None);
        assert_eq!(read(&mapping, &json!({ "sub": "s", "name": "two\nlines" })).name, None);
        for bad in [json!(null), json!(""), json!(7), json!("x".repeat(256)), json!("a\u{0}b")] {
            assert_eq!(mapping.read(json!({ "sub": bad }).as_object().expect("an object")), None);
        }
    }
}
