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
    /// The role of whoever has none of them; without it they have none here, and are refused.
    pub default_role: Option<Role>,
    /// What a token must say to be good here: by the path of the claim, its value, or one of its values, must be one of
    /// these.
    pub required_claims: BTreeMap<String, Vec<Value>>,
    /// The path of the claim with scopes. Without it a token may do all that the role may.
    pub scope_claim: Option<String>,
    /// What the issuer's words for scopes mean; without it they are our words.
    pub scope_map: Option<BTreeMap<String, Scopes>>,
    /// The path of the claim with the name.
    pub name_claim: String,
    /// The path of the claim with the email address.
    pub email_claim: String,
    /// Whether the issuer vouches for all addresses in its tokens, so that they count as verified where a token does
    /// not say whether they are.
    pub trusts_email: bool,
}

/// What an issuer says of somebody's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimedRole {
    /// It does not decide on it: whoever is known keeps the role that they were given here.
    Nothing,
    /// That they have none of those that mean something here.
    NoRole,
    /// Which it is.
    Role(Role),
}

/// What an outside token says of somebody. Nothing means: it does not say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outsider {
    /// `sub`.
    pub subject: String,
    /// The role.
    pub role: ClaimedRole,
    /// All that the token may be used for, if the issuer decides on it.
    pub scopes: Option<Scopes>,
    /// The name.
    pub name: Option<String>,
    /// The email address, if it is verified: somebody who may write any address into a token must not become whom
    /// others mean by it.
    pub email: Option<String>,
}

impl Mapping {
    /// The claim that a token must have and has not, or has with another value.
    pub fn lacking(&self, claims: &Claims) -> Option<&str> {
        let has = |path: &str, values: &[Value]| match at(claims, path) {
            Some(Value::Array(said)) => said.iter().any(|value| values.contains(value)),
            Some(said) => values.contains(said),
            None => false,
        };
        self.required_claims.iter().find(|(path, values)| !has(path, values)).map(|(path, _)| path.as_str())
    }

    /// Reads verified claims; nothing when `sub` is not 1 to 255 characters on one line.
    pub fn read(&self, claims: &Claims) -> Option<Outsider> {
        let line = |value: &Value| Line::<255>::parse(value.as_str()?.to_owned()).ok().map(Line::into_inner);
        Some(Outsider {
            subject: claims.get("sub").and_then(line)?,
            role: self.role_claim.as_deref().map_or(ClaimedRole::Nothing, |path| self.role(at(claims, path))),
            scopes: self.scope_claim.as_deref().map(|path| self.scopes(at(claims, path))),
            name: at(claims, &self.name_claim).and_then(line),
            email: self.email(claims),
        })
    }

    /// The highest role that is known among the words.
    fn role(&self, value: Option<&Value>) -> ClaimedRole {
        let meaning = |word: &str| match &self.role_map {
            Some(map) => map.get(word).copied(),
            None => word.parse().ok(),
        };
        list(value)
            .into_iter()
            .filter_map(meaning)
            .max()
            .or(self.default_role)
            .map_or(ClaimedRole::NoRole, ClaimedRole::Role)
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
        // It is said of the claim `email`, and of no other.
        let verified = match claims.get("email_verified").filter(|_| self.email_claim == "email") {
            Some(Value::Bool(verified)) => *verified,
            // Some issuers that are meant by this write the word.
            Some(Value::String(verified)) => self.trusts_email && verified == "true",
            None | Some(Value::Null) => self.trusts_email,
            Some(_) => false,
        };
        let email = at(claims, &self.email_claim)?.as_str()?;
        if verified { Email::parse(email.to_owned()).ok().map(Email::into_inner) } else { None }
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
            default_role: None,
            required_claims: BTreeMap::new(),
            scope_claim: None,
            scope_map: None,
            name_claim: "name".into(),
            email_claim: "email".into(),
            trusts_email: false,
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
            match outsider.role {
                ClaimedRole::Role(role) => prop_assert!(says("r", role.as_str()), "{:?}", role),
                ClaimedRole::NoRole => {}
                ClaimedRole::Nothing => prop_assert!(false, "the issuer decides"),
            }
            prop_assert!(outsider.email.is_none() || claims.get("email_verified") == Some(&Value::Bool(true)));
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
        assert_eq!(role(&ours, json!("agent")), ClaimedRole::Role(Role::Agent));
        assert_eq!(role(&ours, json!(["agent", "admin", "king"])), ClaimedRole::Role(Role::Admin));
        for none in [json!(["king", 7]), json!({ "agent": true }), json!(null), json!("")] {
            assert_eq!(role(&ours, none.clone()), ClaimedRole::NoRole, "{none}");
            let all = Mapping { default_role: Some(Role::Requester), ..ours.clone() };
            assert_eq!(role(&all, none), ClaimedRole::Role(Role::Requester));
        }
        let theirs = Mapping { role_map: Some([("helpdesk".into(), Role::Agent)].into()), ..ours };
        assert_eq!(role(&theirs, json!(["helpdesk", "admin"])), ClaimedRole::Role(Role::Agent));
        assert_eq!(role(&theirs, json!("admin")), ClaimedRole::NoRole);
        assert_eq!(role(&mapping(), json!("admin")), ClaimedRole::Nothing);
    }

    #[test]
    fn a_token_has_what_it_must_have_or_lacks_it() {
        let required = |required: Value| {
            let required = serde_json::from_value(required).expect("lists of values");
            Mapping { required_claims: required, ..mapping() }
        };
        let one = required(json!({ "repository_owner": ["acme", "acme-labs"], "ci.protected": [true] }));
        let lacking = |claims: Value| one.lacking(claims.as_object().expect("an object")).map(str::to_owned);
        assert_eq!(lacking(json!({ "repository_owner": "acme", "ci": { "protected": true } })), None);
        assert_eq!(lacking(json!({ "repository_owner": ["x", "acme-labs"], "ci.protected": true })), None);
        for owner in [
            json!("Acme"),
            json!("acme "),
            json!(""),
            json!(null),
            json!([]),
            json!({ "acme": "acme" }),
            json!([["acme"]]),
        ] {
            let claims = json!({ "repository_owner": owner, "ci.protected": true });
            assert_eq!(lacking(claims.clone()).as_deref(), Some("repository_owner"), "{claims}");
        }
        for protected in [json!("true"), json!(1), json!(false), json!(null)] {
            let claims = json!({ "repository_owner": "acme", "ci": { "protected": protected } });
            assert_eq!(lacking(claims.clone()).as_deref(), Some("ci.protected"), "{claims}");
        }
        assert!(lacking(json!({})).is_some() && mapping().lacking(&Map::new()).is_none());
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
        let trusting = Mapping { trusts_email: true, ..mapping.clone() };
        let email = |mapping: &Mapping, claims: Value| {
            let mut all = json!({ "sub": "s", "email": "Ada@Example.org" });
            all.as_object_mut().expect("an object").extend(claims.as_object().expect("an object").clone());
            read(mapping, &all).email.is_some_and(|email| email == "ada@example.org")
        };
        for (claims, verified, trusted) in [
            (json!({ "email_verified": true }), true, true),
            (json!({}), false, true),
            (json!({ "email_verified": null }), false, true),
            (json!({ "email_verified": "true" }), false, true),
            (json!({ "email_verified": false }), false, false),
            (json!({ "email_verified": "false" }), false, false),
            (json!({ "email_verified": "False" }), false, false),
            (json!({ "email_verified": "no" }), false, false),
            (json!({ "email_verified": 0 }), false, false),
            (json!({ "email_verified": 1 }), false, false),
            (json!({ "email_verified": [] }), false, false),
            (json!({ "email_verified": [true] }), false, false),
            (json!({ "email_verified": {} }), false, false),
        ] {
            assert_eq!(email(&mapping, claims.clone()), verified, "{claims}");
            assert_eq!(email(&trusting, claims.clone()), trusted, "{claims}");
        }
        // It says nothing of an address in another claim.
        let claims =
            json!({ "email": "mine@example.org", "email_verified": true, "preferred_username": "ada@example.org" });
        let other = |mapping: &Mapping| Mapping { email_claim: "preferred_username".into(), ..mapping.clone() };
        assert!(!email(&other(&mapping), claims.clone()) && email(&other(&trusting), claims));
        assert_eq!(read(&mapping, &json!({ "sub": "s", "name": "two\nlines" })).name, None);
        for bad in [json!(null), json!(""), json!(7), json!("x".repeat(256)), json!("a\u{0}b")] {
            assert_eq!(mapping.read(json!({ "sub": bad }).as_object().expect("an object")), None);
        }
    }
}
