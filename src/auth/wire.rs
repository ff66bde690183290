//! What the token endpoint takes and gives (RFC 6749), and what a caller is told of themselves.

use actix_web::http::header::{self, HeaderMap};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use super::domain::{Principal, PrincipalKind, Role, Scope, Scopes};
use super::grants::{Grant, Granted, invalid_scope, refused};
use crate::audit::wire::{Named, NamedTeam};
use crate::kernel::fault::Faults;
use crate::kernel::secret::Secret;
use crate::kernel::words::words;
use crate::kernel::{Code, FieldError, PrincipalId, Problem, TeamId};

words! {
    /// The ways to a token.
    pub enum GrantType {
        /// For service accounts: an id and a secret.
        ClientCredentials = "client_credentials",
        /// For people who have a password here.
        Password = "password",
        /// For people, with the refresh token of the answer before.
        RefreshToken = "refresh_token",
    }
}

words! {
    /// What kind of thing a token speaks for.
    pub enum CallerKind {
        /// Somebody.
        Person = "person",
        /// A script or a monitor.
        ServiceAccount = "service_account",
    }
}

/// A request for a token. Which fields it needs depends on `grant_type`; fields that are not known here are ignored, as
/// RFC 6749 asks.
#[derive(Deserr, ToSchema)]
#[deserr(error = Faults)]
#[schema(example = json!({ "grant_type": "password", "username": "ada@example.org", "password": "correct horse battery" }))]
pub struct TokenForm {
    /// How to get the token.
    #[deserr(default)]
    #[schema(required = true, nullable = false)]
    grant_type: Option<String>,
    /// What the token is to be used for at most: scopes separated by spaces. Without it, all that can be granted.
    #[deserr(default)]
    #[schema(nullable = false, examples("tickets:read tickets:write"))]
    scope: Option<String>,
    /// With `client_credentials`, unless sent by HTTP Basic: the id of the service account.
    #[deserr(default)]
    #[schema(nullable = false, examples("019a2f4e-7c1b-7d3e-8f00-1234567890ab"))]
    client_id: Option<String>,
    /// With `client_credentials`, unless sent by HTTP Basic: its secret.
    #[deserr(default)]
    #[schema(nullable = false, format = Password)]
    client_secret: Option<String>,
    /// With `password`: the email address.
    #[deserr(default)]
    #[schema(nullable = false, examples("ada@example.org"))]
    username: Option<String>,
    /// With `password`: the password.
    #[deserr(default)]
    #[schema(nullable = false, format = Password)]
    password: Option<String>,
    /// With `refresh_token`: the one of the answer before. It is good for one use.
    #[deserr(default)]
    #[schema(nullable = false, format = Password)]
    refresh_token: Option<String>,
}

impl TokenForm {
    /// The grant and the wanted scopes. Only `client_credentials` reads the header `Authorization`.
    ///
    /// # Errors
    /// `validation_failed` with the word of RFC 6749 in `error`; `unauthenticated` for a header that is not HTTP
    /// Basic's.
    pub fn read(self, headers: &HeaderMap) -> Result<(Grant, Option<Scopes>), Problem> {
        let Some(grant_type) = filled(self.grant_type) else { return Err(missing(&["/grant_type"])) };
        let grant_type = grant_type.parse().map_err(|what: FieldError| {
            Problem::field("/grant_type", "invalid", what.detail)
                .with("error", "unsupported_grant_type")
                .with("error_description", "There is no such grant type here.")
        })?;
        let wanted = filled(self.scope).map(|scope| wanted(&scope)).transpose()?;
        let grant = match grant_type {
            GrantType::ClientCredentials => client(self.client_id, self.client_secret, headers)?,
            GrantType::Password => {
                let [username, password] = both([("/username", self.username), ("/password", self.password)])?;
                Grant::Password { username, password: Secret::new(password) }
            }
            GrantType::RefreshToken => {
                let [token] = both([("/refresh_token", self.refresh_token)])?;
                Grant::RefreshToken(Secret::new(token))
            }
        };
        Ok((grant, wanted))
    }
}

/// Names what RFC 6749 calls a form that cannot be read.
pub fn invalid_request(problem: Problem) -> Problem {
    if problem.code() != Code::ValidationFailed {
        return problem;
    }
    problem.with("error", "invalid_request").with("error_description", "The form is not complete or not valid.")
}

/// A parameter without a value counts as left out (RFC 6749, 3.2).
fn filled(value: Option<String>) -> Option<String> {
    value.filter(|text| !text.is_empty())
}

fn wanted(scope: &str) -> Result<Scopes, Problem> {
    match Scopes::parse(scope) {
        Ok(scopes) if !scopes.is_empty() => Ok(scopes),
        Ok(_) => Err(invalid_scope("must name at least one scope")),
        Err(what) => Err(invalid_scope(what)),
    }
}

fn missing(pointers: &[&str]) -> Problem {
    let faults = pointers.iter().map(|pointer| FieldError::new(*pointer, "required", "is required"));
    invalid_request(Problem::invalid(faults.collect::<Vec<_>>()))
}

/// All of `fields`, or a problem that names every one that is missing.
fn both<const N: usize>(fields: [(&str, Option<String>); N]) -> Result<[String; N], Problem> {
    let fields = fields.map(|(pointer, value)| (pointer, filled(value)));
    let absent: Vec<_> = fields.iter().filter(|(_, value)| value.is_none()).map(|(pointer, _)| *pointer).collect();
    if absent.is_empty() { Ok(fields.map(|(_, value)| value.unwrap_or_default())) } else { Err(missing(&absent)) }
}

/// A service account's id and secret: by HTTP Basic or in the body, but not both (RFC 6749, 2.3).
fn client(id: Option<String>, secret: Option<String>, headers: &HeaderMap) -> Result<Grant, Problem> {
    match basic(headers)? {
        Some(_) if filled(secret.clone()).is_some() => {
            let what = "must be left out when the secret is sent by HTTP Basic";
            Err(invalid_request(Problem::field("/client_secret", "invalid", what)))
        }
        Some(grant) => Ok(grant),
        None => {
            let [id, secret] = both([("/client_id", id), ("/client_secret", secret)])?;
            Ok(Grant::ClientCredentials { id, secret: Secret::new(secret) })
        }
    }
}

/// The credentials of HTTP Basic (RFC 7617), each form-encoded (RFC 6749, 2.3.1).
fn basic(headers: &HeaderMap) -> Result<Option<Grant>, Problem> {
    let mut given = headers.get_all(header::AUTHORIZATION);
    let value = match (given.next(), given.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => value.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let pair = value
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, base64)| STANDARD.decode(base64.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    let Some((id, secret)) = pair.as_deref().and_then(|pair| pair.split_once(':')) else {
        crate::http::record::refused_login("client_credentials", None);
        return Err(refused("invalid_client"));
    };
    Ok(Some(Grant::ClientCredentials { id: form_decoded(id), secret: Secret::new(form_decoded(secret)) }))
}

fn form_decoded(text: &str) -> String {
    let pair = format!("={}", text.replace('&', "%26"));
    form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// A token (RFC 6749, 5.1).
#[derive(Serialize, ToSchema)]
#[schema(as = Token, example = json!({
    "access_token": "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFZERTQSJ9.eyJzdWIiOiIwMTlhMmY0ZSJ9.c2lnbmF0dXJl", "token_type": "Bearer",
    "expires_in": 900, "scope": "tickets:read tickets:write comments:read comments:write",
    "refresh_token": "skr_5cYcW1xkS0m3cR0mV7bq0y1mJq3xQ7nJm2H0eX8d1aI",
}))]
pub struct TokenBody {
    /// Send it as `Authorization: Bearer TOKEN`.
    access_token: String,
    /// Always `Bearer`.
    #[schema(examples("Bearer"))]
    token_type: &'static str,
    /// For how many seconds the token is good.
    #[schema(minimum = 1, examples(900))]
    expires_in: i64,
    /// What the token may be used for: scopes separated by spaces.
    #[schema(examples("tickets:read tickets:write comments:read comments:write"))]
    scope: String,
    /// Gets the next token, once. People only.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<String>,
}

impl From<Granted> for TokenBody {
    fn from(granted: Granted) -> Self {
        Self {
            access_token: granted.access_token.reveal().clone(),
            token_type: "Bearer",
            expires_in: granted.expires_in_s,
            scope: granted.scopes.to_string(),
            refresh_token: granted.refresh_token.map(|token| token.reveal().clone()),
        }
    }
}

/// Who a token speaks for.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000a", "kind": "person", "name": "Ada Lovelace", "email": "ada@example.org",
    "role": "requester", "scopes": ["tickets:read", "tickets:write", "comments:read", "comments:write"], "teams": [],
}))]
pub struct Me {
    /// The id of the person or service account.
    id: PrincipalId,
    /// Which of the two it is.
    kind: CallerKind,
    /// The name.
    #[schema(examples("Ada Lovelace"))]
    name: String,
    /// The email address, if this is a person who has one.
    #[schema(required = true, examples("ada@example.org"))]
    email: Option<String>,
    /// The role, if this is a person.
    #[schema(required = true)]
    role: Option<Role>,
    /// What this token may be used for.
    scopes: Vec<Scope>,
    /// The teams that the person is in: the queues that `team_id=mine` means.
    #[schema(max_items = 100)]
    teams: Vec<NamedTeam>,
}

impl Me {
    /// The caller, who is in these teams.
    pub fn of(who: &Principal, teams: Vec<(TeamId, String)>) -> Self {
        Self {
            id: who.id,
            kind: match who.kind {
                PrincipalKind::Person(_) => CallerKind::Person,
                PrincipalKind::ServiceAccount => CallerKind::ServiceAccount,
            },
            name: who.name.clone(),
            email: who.email.clone(),
            role: who.role(),
            scopes: who.scopes.iter().collect(),
            teams: teams.into_iter().map(|(id, name)| Named { id, name }).collect(),
        }
    }
}

/// A JWK set (RFC 7517) with the public keys that our own tokens are signed with.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({ "keys": [{
    "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
}] }))]
pub struct JwkSet {
    /// The keys; the first one signs.
    keys: Vec<Jwk>,
}

/// A public key (RFC 8037).
#[derive(Serialize, ToSchema)]
pub struct Jwk {
    /// Always `OKP`.
    #[schema(examples("OKP"))]
    kty: String,
    /// Always `Ed25519`.
    #[schema(examples("Ed25519"))]
    crv: String,
    /// Always `EdDSA`.
    #[schema(examples("EdDSA"))]
    alg: String,
    /// Always `sig`.
    #[serde(rename = "use")]
    #[schema(examples("sig"))]
    purpose: String,
    /// The id that tokens name.
    kid: String,
    /// The key itself, in base64url.
    x: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;
    use proptest::prelude::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, HeaderValue::from_str(authorization).expect("visible"));
        headers
    }

    fn form(fields: &[(&str, &str)]) -> TokenForm {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), serde_json::json!(value))).collect();
        match deserr::deserialize::<TokenForm, _, Faults>(serde_json::Value::Object(fields)) {
            Ok(form) => form,
            Err(faults) => panic!("{faults:?}"),
        }
    }

    fn error(fields: &[(&str, &str)], headers: &HeaderMap) -> (String, Vec<String>) {
        let problem = form(fields).read(headers).expect_err("not good");
        let word = problem.members()["error"].as_str().expect("a word").to_owned();
        assert!(problem.members().contains_key("error_description"));
        (word, problem.errors().iter().map(|fault| fault.pointer.clone()).collect())
    }

    proptest! {
        #[test]
        fn basic_credentials_are_read_as_they_are_written(id in "\\PC{0,20}", secret in "\\PC{0,20}") {
            let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encode(&id), encode(&secret)));
            match basic(&headers(&format!("Basic {pair}"))) {
                Ok(Some(Grant::ClientCredentials { id: read, secret: hidden })) => {
                    prop_assert_eq!(read, id);
                    prop_assert_eq!(hidden.reveal(), &secret);
                }
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn other_headers_are_no_credentials() {
        assert!(matches!(basic(&HeaderMap::new()), Ok(None)));
        for bad in ["Basic", "Basic !", "Basic bm9jb2xvbg==", "Basic /////w==", "Bearer YTpi", "YTpi"] {
            assert_eq!(basic(&headers(bad)).expect_err(bad).code(), Code::Unauthenticated);
        }
        let mut two = headers("Basic YTpi");
        two.append(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
        assert!(basic(&two).is_err());
    }

    #[test]
    fn each_grant_says_what_it_lacks() {
        let none = HeaderMap::new();
        let pointers = |all: &[&str]| all.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>();
        for (fields, word, places) in [
            (&[][..], "invalid_request", &["/grant_type"][..]),
            (&[("grant_type", "")], "invalid_request", &["/grant_type"]),
            (&[("grant_type", "implicit")], "unsupported_grant_type", &["/grant_type"]),
            (&[("grant_type", "password")], "invalid_request", &["/username", "/password"]),
            (&[("grant_type", "password"), ("username", "a")], "invalid_request", &["/password"]),
            (&[("grant_type", "refresh_token"), ("refresh_token", "")], "invalid_request", &["/refresh_token"]),
            (&[("grant_type", "client_credentials"), ("client_id", "a")], "invalid_request", &["/client_secret"]),
            (&[("grant_type", "refresh_token"), ("scope", "fly")], "invalid_scope", &["/scope"]),
            (&[("grant_type", "refresh_token"), ("scope", " ")], "invalid_scope", &["/scope"]),
        ] {
            assert_eq!(error(fields, &none), (word.to_owned(), pointers(places)));
        }
        let twice = [("grant_type", "client_credentials"), ("client_secret", "s")];
        assert_eq!(error(&twice, &headers("Basic YTpi")), ("invalid_request".into(), pointers(&["/client_secret"])));
    }

    #[test]
    fn good_forms_are_read_and_unknown_fields_ignored() {
        let fields = [("grant_type", "password"), ("username", "a"), ("password", "b"), ("audience", "c")];
        let (grant, wanted) = form(&fields).read(&headers("Basic Og==")).expect("good");
        assert!(matches!(grant, Grant::Password { username, .. } if username == "a"));
        assert_eq!(wanted, None);
        let fields = [("grant_type", "client_credentials"), ("scope", "tickets:read tickets:write")];
        let (grant, wanted) = form(&fields).read(&headers("basic YTpi")).expect("good");
        assert!(matches!(grant, Grant::ClientCredentials { id, .. } if id == "a"));
        assert_eq!(wanted.map(|s| s.to_string()).as_deref(), Some("tickets:read tickets:write"));
    }
}
