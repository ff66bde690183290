//! Outside issuers: whose tokens are good here besides our own, checked at start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::domain::{Role, Scopes};
use super::jwks::{KeySet, KeySource, Remote};
use super::mapping::Mapping;
use super::token::{Verifier, kind, untrusted};
use crate::kernel::secret::Secret;
use crate::kernel::{Instant, Problem};

/// In `default_role`: whoever has no role by their token is refused.
const NO_ROLE: &str = "none";

/// A secret with fewer different bytes was not made by chance: that happens to one in ten million of 32 hexadecimal
/// digits.
const FEWEST_DIFFERENT: usize = 8;

/// One outside issuer as it is configured.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// Its exact `iss`.
    pub issuer: String,
    /// What `aud` must contain; without it, the audience of this service.
    pub audience: Option<String>,
    /// The one `typ` of its access tokens, such as `at+jwt`; without it, that, `JWT` and none.
    pub typ: Option<String>,
    /// What it signs with: RS256, ES256, EdDSA, or HS256 alone.
    #[serde(default = "rs256")]
    pub algorithms: Vec<String>,
    /// The address of its JWK set.
    pub jwks_url: Option<String>,
    /// The file of its JWK set.
    pub jwks_file: Option<PathBuf>,
    /// Its one public key, in PEM.
    pub pem: Option<String>,
    /// The file with its one public key, in PEM.
    pub pem_file: Option<PathBuf>,
    /// The secret that it shares with us, for HS256.
    #[serde(default, deserialize_with = "secret")]
    pub secret: Option<Secret<String>>,
    /// The file with the secret that it shares with us, for HS256; a line break at its end does not count.
    pub secret_file: Option<PathBuf>,
    /// How old a JWK set may become, in seconds.
    #[serde(default = "hour")]
    pub jwks_max_age_s: i64,
    /// How often a JWK set is fetched at most, in seconds.
    #[serde(default = "half_a_minute")]
    pub jwks_min_interval_s: i64,
    /// The path of the claim with the role or roles. Without it the role is set here, not by the issuer.
    pub role_claim: Option<String>,
    /// What the issuer's words for roles mean: requester, agent or admin. Without it they are these words.
    pub role_map: Option<BTreeMap<String, String>>,
    /// The role of whoever has none of them: requester, agent, admin, or none, which it is unless told.
    pub default_role: Option<String>,
    /// What a token must say to be good here: by the path of the claim, a value or a list of values of which one will
    /// do.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Value>,
    /// The path of the claim with scopes. Without it a token may do all that the role may.
    pub scope_claim: Option<String>,
    /// What the issuer's words for scopes mean: our scopes, separated by spaces. Without it they are our words.
    pub scope_map: Option<BTreeMap<String, String>>,
    /// The path of the claim with the name.
    #[serde(default = "name")]
    pub name_claim: String,
    /// The path of the claim with the email address.
    #[serde(default = "email")]
    pub email_claim: String,
    /// Whether addresses count as verified also where a token does not say whether they are.
    #[serde(default)]
    pub trusts_email: bool,
}

fn rs256() -> Vec<String> {
    vec!["RS256".into()]
}

fn hour() -> i64 {
    3600
}

fn half_a_minute() -> i64 {
    30
}

fn name() -> String {
    "name".into()
}

fn email() -> String {
    "email".into()
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret<String>>, D::Error> {
    // The error that comes with it may show the value.
    let text =
        Option::<String>::deserialize(from).map_err(|_| serde::de::Error::custom("secret should be a string"))?;
    Ok(text.map(Secret::new))
}

/// One outside issuer, checked.
#[derive(Debug)]
pub struct Issuer {
    /// Its exact `iss`.
    pub name: String,
    /// What `aud` must contain, if not the audience of this service.
    pub audience: Option<String>,
    /// The one `typ` of its access tokens, if only one will do.
    pub typ: Option<String>,
    /// What it signs with.
    pub algorithms: Vec<Algorithm>,
    /// What its claims mean here.
    pub mapping: Mapping,
    keys: Source,
}

enum Source {
    /// The one key, whatever a token's `kid` says.
    One(Verifier),
    Set(Remote),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(_) => f.write_str("One"),
            Self::Set(remote) => remote.fmt(f),
        }
    }
}

impl Issuer {
    /// The key for a token's `kid` and `alg`.
    ///
    /// # Errors
    /// `unauthenticated` when there is none; `unavailable` while the keys cannot be fetched.
    pub async fn key(&self, kid: Option<&str>, algorithm: Algorithm, now: Instant) -> Result<Verifier, Problem> {
        if !self.algorithms.contains(&algorithm) {
            return Err(untrusted("algorithm"));
        }
        match &self.keys {
            Source::One(key) => Ok(key.clone()),
            Source::Set(remote) => {
                remote.find(kid, algorithm, now).await?.ok_or_else(|| untrusted("no key for kid and alg"))
            }
        }
    }
}

impl IssuerConfig {
    /// Checks everything that can be checked without asking the issuer, and reads the files.
    ///
    /// # Errors
    /// The key that is wrong, and what it should be.
    pub fn validate(&self) -> Result<Issuer, String> {
        self.check().map_err(|(key, what)| format!("issuers: {:?}: {key} {what}", self.issuer))
    }

    fn check(&self) -> Result<Issuer, Wrong> {
        if self.issuer.trim().is_empty() {
            return Err(wrong("issuer", "should be the exact `iss` of its tokens"));
        }
        if self.audience.as_deref().is_some_and(str::is_empty) {
            return Err(wrong("audience", "should be what `aud` of its tokens contains"));
        }
        if self.typ.as_deref().is_some_and(|typ| typ.trim().is_empty()) {
            return Err(wrong("typ", "should be the `typ` of its access tokens, such as at+jwt"));
        }
        if !(60..=86_400).contains(&self.jwks_max_age_s) {
            return Err(wrong("jwks_max_age_s", "should be from 60 to 86400"));
        }
        if !(1..=3600).contains(&self.jwks_min_interval_s) {
            return Err(wrong("jwks_min_interval_s", "should be from 1 to 3600"));
        }
        let algorithms = self.algorithms()?;
        Ok(Issuer {
            name: self.issuer.clone(),
            audience: self.audience.clone(),
            typ: self.typ.as_deref().map(kind),
            keys: self.source(&algorithms)?,
            algorithms,
            mapping: self.mapping()?,
        })
    }

    fn algorithms(&self) -> Result<Vec<Algorithm>, Wrong> {
        let known = |word: &String| match word.as_str() {
            "RS256" => Some(Algorithm::RS256),
            "ES256" => Some(Algorithm::ES256),
            "EdDSA" => Some(Algorithm::EdDSA),
            "HS256" => Some(Algorithm::HS256),
            _ => None,
        };
        let all: Option<Vec<_>> = self.algorithms.iter().map(known).collect();
        match all {
            // A public key must never be taken for a secret, so the two do not live in one issuer.
            Some(all) if !all.is_empty() && (all.len() == 1 || !all.contains(&Algorithm::HS256)) => Ok(all),
            _ => Err(wrong("algorithms", "should list one or more of RS256, ES256 and EdDSA, or HS256 alone")),
        }
    }

    fn source(&self, algorithms: &[Algorithm]) -> Result<Source, Wrong> {
        let given = [
            ("jwks_url", self.jwks_url.is_some()),
            ("jwks_file", self.jwks_file.is_some()),
            ("pem", self.pem.is_some()),
            ("pem_file", self.pem_file.is_some()),
            ("secret", self.secret.is_some()),
            ("secret_file", self.secret_file.is_some()),
        ];
        let mut given = given.into_iter().filter_map(|(key, given)| given.then_some(key));
        let (Some(key), None) = (given.next(), given.next()) else {
            let what = "should have exactly one of jwks_url, jwks_file, pem, pem_file, secret and secret_file";
            return Err(wrong("the issuer", what));
        };
        if key.starts_with("secret") != (algorithms == [Algorithm::HS256]) {
            return Err(wrong(key, "does not go with algorithms: HS256 takes a secret, and all others a public key"));
        }
        if let Some(url) = &self.jwks_url {
            return self.remote(KeySource::url(url).map_err(|what| wrong(key, what))?);
        }
        if let Some(path) = &self.jwks_file {
            KeySet::parse(read(key, path)?.as_bytes()).map_err(|what| wrong(key, what))?;
            return self.remote(KeySource::File(path.clone()));
        }
        if let Some(secret) = &self.secret {
            return shared(key, secret.reveal());
        }
        if let Some(path) = &self.secret_file {
            return shared(key, read(key, path)?.trim_end_matches(['\r', '\n']));
        }
        let pem = match (&self.pem, &self.pem_file) {
            (Some(pem), _) => pem.clone(),
            (None, Some(path)) => read(key, path)?,
            (None, None) => String::new(),
        };
        public(key, &pem, algorithms)
    }

    fn remote(&self, place: KeySource) -> Result<Source, Wrong> {
        let remote = Remote::new(place, self.jwks_max_age_s, self.jwks_min_interval_s);
        remote.map(Source::Set).map_err(|what| wrong("jwks_url", what))
    }

    fn mapping(&self) -> Result<Mapping, Wrong> {
        for (key, path) in [
            ("role_claim", self.role_claim.as_deref()),
            ("scope_claim", self.scope_claim.as_deref()),
            ("name_claim", Some(self.name_claim.as_str())),
            ("email_claim", Some(self.email_claim.as_str())),
        ]
        .into_iter()
        .chain(self.required_claims.keys().map(|path| ("required_claims", Some(path.as_str()))))
        {
            if path.is_some_and(|path| path.split('.').any(str::is_empty)) {
                return Err(wrong(key, "should be the name of a claim, or a path such as realm_access.roles"));
            }
        }
        if self.role_map.is_some() && self.role_claim.is_none() {
            return Err(wrong("role_map", "should come with role_claim"));
        }
        if self.scope_map.is_some() && self.scope_claim.is_none() {
            return Err(wrong("scope_map", "should come with scope_claim"));
        }
        let role = |key, word: &str| Role::from_str(word).map_err(|fault| wrong(key, fault.detail));
        let scopes = |words: &str| Scopes::parse(words).map_err(|what| wrong("scope_map", what));
        Ok(Mapping {
            role_claim: self.role_claim.clone(),
            role_map: self.role_map.as_ref().map(|map| translate(map, |word| role("role_map", word))).transpose()?,
            default_role: match self.default_role.as_deref() {
                None | Some(NO_ROLE) => None,
                Some(word) => {
                    Some(role("default_role", word).map_err(|(key, what)| (key, format!("{what}, or none")))?)
                }
            },
            required_claims: self
                .required_claims
                .iter()
                .map(|(path, value)| Ok((path.clone(), any_of(value)?)))
                .collect::<Result<_, _>>()?,
            scope_claim: self.scope_claim.clone(),
            scope_map: self.scope_map.as_ref().map(|map| translate(map, scopes)).transpose()?,
            name_claim: self.name_claim.clone(),
            email_claim: self.email_claim.clone(),
            trusts_email: self.trusts_email,
        })
    }
}

/// The values of which a required claim must have one.
fn any_of(value: &Value) -> Result<Vec<Value>, Wrong> {
    let values = match value {
        Value::Array(values) => values.clone(),
        value => vec![value.clone()],
    };
    let are_plain = values.iter().all(|value| value.is_string() || value.is_boolean() || value.is_i64());
    if values.is_empty() || !are_plain {
        let what = "should give each claim a string, true, false, a whole number, or a list of these";
        return Err(wrong("required_claims", what));
    }
    Ok(values)
}

/// The key that is wrong, and what it should be.
type Wrong = (&'static str, String);

fn wrong(key: &'static str, what: impl Into<String>) -> Wrong {
    (key, what.into())
}

fn translate<T>(
    map: &BTreeMap<String, String>,
    meaning: impl Fn(&str) -> Result<T, Wrong>,
) -> Result<BTreeMap<String, T>, Wrong> {
    map.iter().map(|(theirs, ours)| Ok((theirs.clone(), meaning(ours)?))).collect()
}

fn read(key: &'static str, path: &Path) -> Result<String, Wrong> {
    std::fs::read_to_string(path)
        .map_err(|error| wrong(key, format!("should name a file that can be read: {}: {error}", path.display())))
}

fn shared(key: &'static str, secret: &str) -> Result<Source, Wrong> {
    if secret.len() < 32 {
        return Err(wrong(key, "should have at least 32 bytes"));
    }
    if secret.bytes().collect::<BTreeSet<_>>().len() < FEWEST_DIFFERENT {
        return Err(wrong(key, "should be made by chance: `openssl rand -hex 32`"));
    }
    Ok(Source::One(DecodingKey::from_secret(secret.as_bytes()).into()))
}

/// A public key, which must be for the one algorithm that is allowed.
fn public(key: &'static str, pem: &str, algorithms: &[Algorithm]) -> Result<Source, Wrong> {
    let labelled = ["-----BEGIN PUBLIC KEY-----", "-----BEGIN RSA PUBLIC KEY-----"];
    if !labelled.iter().any(|label| pem.trim_start().starts_with(label)) {
        return Err(wrong(key, "should be a public key in PEM: -----BEGIN PUBLIC KEY-----"));
    }
    let pem = pem.as_bytes();
    let of_p256 = |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|point| point.len() == 65 && point[0] == 4);
    let of_large_order =
        |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|point| !super::jwks::is_of_small_order(point));
    let found = match algorithms {
        [Algorithm::RS256] => DecodingKey::from_rsa_pem(pem).ok(),
        [Algorithm::ES256] => DecodingKey::from_ec_pem(pem).ok().filter(of_p256),
        [Algorithm::EdDSA] => DecodingKey::from_ed_pem(pem).ok().filter(of_large_order),
        _ => return Err(wrong("algorithms", "should be the one that the key in PEM is for")),
    };
    found
        .map(|key| Source::One(key.into()))
        .ok_or_else(|| wrong(key, format!("should be a public key for {:?}", algorithms[0])))
}

/// All outside issuers.
#[derive(Debug, Default)]
pub struct Issuers(Vec<Issuer>);

impl Issuers {
    /// Checks all of `configs`; `ours` is the name of our own issuer, which none may take.
    ///
    /// # Errors
    /// The key that is wrong, and what it should be.
    pub fn new(configs: &[IssuerConfig], ours: &str) -> Result<Self, String> {
        let mut all: Vec<Issuer> = Vec::with_capacity(configs.len());
        for config in configs {
            let issuer = config.validate()?;
            if issuer.name == ours {
                return Err(format!("issuers: {ours:?}: issuer should differ from the issuer of this service"));
            }
            if all.iter().any(|other| other.name == issuer.name) {
                return Err(format!("issuers: {:?}: issuer should be listed once", issuer.name));
            }
            all.push(issuer);
        }
        Ok(Self(all))
    }

    /// The issuer whose `iss` is `name`.
    pub fn find(&self, name: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ED_PEM: &str = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";

    /// A good issuer with `changes` to it.
    fn config(changes: Value) -> IssuerConfig {
        let mut config = json!({ "issuer": "https://id.example", "jwks_url": "https://id.example/keys" });
        for (key, value) in changes.as_object().expect("an object") {
            match value {
                Value::Null => drop(config.as_object_mut().expect("an object").remove(key)),
                value => config[key] = value.clone(),
            }
        }
        serde_json::from_value(config).expect("known keys")
    }

    #[test]
    fn good_issuers_are_taken() {
        for good in [
            json!({}),
            json!({ "algorithms": ["RS256", "ES256", "EdDSA"], "audience": "helpdesk" }),
            json!({ "jwks_url": null, "secret": "0123456789abcdef0123456789abcdef", "algorithms": ["HS256"] }),
            json!({ "jwks_url": null, "pem": ED_PEM, "algorithms": ["EdDSA"] }),
            json!({ "role_claim": "realm_access.roles", "role_map": { "desk": "agent" }, "default_role": "requester" }),
            json!({ "scope_claim": "scp", "scope_map": { "read": "tickets:read comments:read" } }),
            json!({ "default_role": "none", "required_claims": { "hd": "example.org", "ci.ref": ["a", 7], "x": true } }),
        ] {
            assert!(config(good.clone()).validate().is_ok(), "{good}");
        }
    }

    #[test]
    fn a_wrong_key_is_named() {
        let secret = "0123456789abcdef0123456789abcdef";
        for (bad, key) in [
            (json!({ "issuer": " " }), "issuer should"),
            (json!({ "audience": "" }), "audience should"),
            (json!({ "algorithms": [] }), "algorithms should"),
            (json!({ "algorithms": ["none"] }), "algorithms should"),
            (json!({ "algorithms": ["RS384"] }), "algorithms should"),
            (json!({ "algorithms": ["RS256", "HS256"] }), "algorithms should"),
            (json!({ "algorithms": ["HS256"] }), "jwks_url does not go"),
            (json!({ "jwks_url": null }), "the issuer should have exactly one"),
            (json!({ "pem": ED_PEM }), "the issuer should have exactly one"),
            (json!({ "jwks_url": "http://id.example/keys" }), "jwks_url should"),
            (json!({ "jwks_url": null, "jwks_file": "/no/such" }), "jwks_file should name a file"),
            (json!({ "jwks_url": null, "secret": secret }), "secret does not go"),
            (json!({ "jwks_url": null, "secret": "short", "algorithms": ["HS256"] }), "secret should have at least 32"),
            (json!({ "jwks_url": null, "pem": ED_PEM }), "pem should be a public key for RS256"),
            (json!({ "jwks_url": null, "pem": ED_PEM, "algorithms": ["HS256"] }), "pem does not go"),
            (json!({ "jwks_url": null, "pem": ED_PEM, "algorithms": ["EdDSA", "RS256"] }), "algorithms should"),
            (json!({ "jwks_url": null, "pem": "-----BEGIN PRIVATE KEY-----" }), "pem should be a public key in PEM"),
            (
                json!({ "jwks_url": null, "secret": "0".repeat(64), "algorithms": ["HS256"] }),
                "secret should be made by chance",
            ),
            (json!({ "typ": " " }), "typ should"),
            (json!({ "jwks_max_age_s": 1 }), "jwks_max_age_s should"),
            (json!({ "jwks_min_interval_s": 0 }), "jwks_min_interval_s should"),
            (json!({ "role_claim": "a..b" }), "role_claim should"),
            (json!({ "role_map": {} }), "role_map should"),
            (json!({ "role_claim": "r", "role_map": { "x": "king" } }), "role_map must be one of"),
            (json!({ "default_role": "king" }), "default_role must be one of"),
            (json!({ "default_role": "None" }), ", or none"),
            (json!({ "required_claims": { "a..b": "c" } }), "required_claims should be the name of a claim"),
            (json!({ "required_claims": { "a": [] } }), "required_claims should give"),
            (json!({ "required_claims": { "a": null } }), "required_claims should give"),
            (json!({ "required_claims": { "a": { "b": "c" } } }), "required_claims should give"),
            (json!({ "required_claims": { "a": ["b", ["c"]] } }), "required_claims should give"),
            (json!({ "required_claims": { "a": 1.5 } }), "required_claims should give"),
            (json!({ "scope_claim": "s", "scope_map": { "x": "fly" } }), "scope_map \"fly\" is no scope"),
        ] {
            let error = config(bad).validate().expect_err(key);
            assert!(error.starts_with("issuers: ") && error.contains(key), "{error}");
            assert!(!error.contains(secret));
        }
    }

    #[test]
    fn secrets_stay_unseen_and_unknown_keys_are_refused() {
        let secret = "0123456789abcdef0123456789abcdef";
        let config = config(json!({ "jwks_url": null, "secret": secret, "algorithms": ["HS256"] }));
        assert!(!format!("{config:?} {:?}", config.validate()).contains(secret));
        assert!(serde_json::from_value::<IssuerConfig>(json!({ "issuer": "x", "jwks": "y" })).is_err());
        assert!(toml::from_str::<IssuerConfig>("issuer = \"x\"\njwks_url = \"https://x\"").is_ok());
        let strict = "issuer = \"x\"\njwks_url = \"https://x\"\nrequired_claims = { hd = \"example.org\", ref = [\"a\", \"b\"] }";
        let mapping = toml::from_str::<IssuerConfig>(strict).expect("TOML").validate().expect("an issuer").mapping;
        assert_eq!(mapping.required_claims["ref"], ["a", "b"]);
        assert_eq!((mapping.default_role, mapping.trusts_email), (None, false));
    }

    #[test]
    fn issuers_differ_from_each_other_and_from_us() {
        let twice = [config(json!({})), config(json!({}))];
        assert!(Issuers::new(&twice, "skranke").is_err());
        assert!(Issuers::new(&twice[..1], "https://id.example").is_err());
        let one = Issuers::new(&twice[..1], "skranke").expect("fine");
        assert!(one.find("https://id.example").is_some() && one.find("https://id.example/").is_none());
    }
}
