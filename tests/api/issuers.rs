//! Tokens of outside issuers: whose keys they are signed with, what their claims mean here, and whom they make.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use actix_web::http::StatusCode;
use actix_web::{App, HttpResponse, HttpServer, web};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use skranke::auth::issuers::IssuerConfig;
use skranke::auth::keys::SigningKeys;
use skranke::auth::service::Authority;

use crate::auth::{copy_of, jwt, with};
use crate::on_both;
use crate::support::{Answer, Ask, Caller, Desk};

const NAME: &str = "https://id.example.org/realms/desk";
const SECRET: &str = "a secret of more than thirty-two bytes";

/// What an issuer signs with.
enum Signer {
    Rsa(&'static RsaKeyPair),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The one RSA key, since it takes long to make.
    fn rsa() -> Self {
        static KEY: OnceLock<RsaKeyPair> = OnceLock::new();
        Self::Rsa(KEY.get_or_init(|| RsaKeyPair::generate(KeySize::Rsa2048).unwrap()))
    }

    fn ec() -> Self {
        Self::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().unwrap())
    }

    fn alg(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
            Self::Ed(_) => "EdDSA",
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Rsa(pair) => {
                json!({ "kty": "RSA", "alg": "RS256", "use": "sig", "kid": kid, "n": text(modulus(pair)), "e": "AQAB" })
            }
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Self::Ed(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": text(pair.public_key().as_ref()) })
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ec(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Self::Ed(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    fn token(&self, kid: &str, claims: &Value) -> String {
        jwt(json!({ "typ": "JWT", "alg": self.alg(), "kid": kid }), claims, |message| self.sign(message))
    }
}

/// The modulus of a key of 2048 bits: the 256 bytes after the heads of the sequence and of its first integer.
fn modulus(pair: &RsaKeyPair) -> &[u8] {
    &pair.public_key().as_ref()[9..265]
}

fn rsa_pem(pair: &RsaKeyPair) -> String {
    let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki.as_ref()))
}

/// A token signed with a shared secret.
fn mac(secret: &[u8], header: Value, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    jwt(with(&json!({ "alg": "HS256" }), header), claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// A server with an issuer's keys, which counts how often it is asked.
struct KeyServer {
    url: String,
    answer: Arc<Mutex<(StatusCode, String)>>,
    asked: Arc<AtomicUsize>,
    handle: actix_web::dev::ServerHandle,
}

impl KeyServer {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let answer = Arc::new(Mutex::new((StatusCode::OK, String::new())));
        let asked = Arc::new(AtomicUsize::new(0));
        let (says, counts) = (answer.clone(), asked.clone());
        let app = move || {
            let (says, counts) = (says.clone(), counts.clone());
            App::new().default_service(web::to(move || {
                counts.fetch_add(1, Ordering::SeqCst);
                let (status, body) = says.lock().unwrap().clone();
                std::future::ready(HttpResponse::build(status).content_type("application/json").body(body))
            }))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).unwrap().run();
        let handle = server.handle();
        tokio::spawn(server);
        Self { url, answer, asked, handle }
    }

    fn says(&self, status: u16, body: &str) {
        *self.answer.lock().unwrap() = (StatusCode::from_u16(status).unwrap(), body.to_owned());
    }

    fn has(&self, keys: &[Value]) {
        self.says(200, &json!({ "keys": keys }).to_string());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn close(self) {
        self.handle.stop(false).await;
    }
}

/// One more instance on the desk's database, which trusts the issuers of `configs`, and whoever comes is a requester
/// unless they say something else; gives its address.
fn trusting(desk: &Desk, configs: &[Value]) -> String {
    let whole = |one: &Value| with(&json!({ "default_role": "requester" }), one.clone());
    let configs: Vec<IssuerConfig> = configs.iter().map(|one| serde_json::from_value(whole(one)).unwrap()).collect();
    let ours = &desk.authority;
    let keys = SigningKeys::new(copy_of(ours.keys.signer()), None);
    let authority = Authority::new(keys, ours.issuer.clone(), ours.audience.clone(), ours.lifetimes, &configs);
    desk.instance_with(|mut settings| {
        settings.authority = authority.unwrap().into();
        settings
    })
}

/// An instance that trusts `NAME` by a shared secret, with `changes` to how.
pub fn trusting_by_secret(desk: &Desk, changes: Value) -> String {
    trusting(desk, &[with(&json!({ "issuer": NAME, "secret": SECRET, "algorithms": ["HS256"] }), changes)])
}

/// Good claims of ada's, whose address is verified, with `changes` to them.
fn claims(desk: &Desk, changes: Value) -> Value {
    let exp = desk.clock.now().seconds() + 30 * 86_400;
    with(
        &json!({ "iss": NAME, "aud": "skranke", "sub": "ada", "exp": exp, "name": "Ada", "email_verified": true }),
        changes,
    )
}

/// A token of `NAME` by its shared secret.
pub fn shared(desk: &Desk, changes: Value) -> String {
    mac(SECRET.as_bytes(), json!({}), &claims(desk, changes))
}

fn me(desk: &Desk, url: &str, token: &str) -> Ask {
    desk.ask_at(url, Method::GET, "/v1/me").token(token)
}

fn id(answer: &Answer) -> String {
    answer.body["id"].as_str().unwrap().to_owned()
}

async fn user(desk: &Desk, admin: &Caller, id: &str) -> Value {
    desk.get(&format!("/v1/users/{id}")).by(admin).expect(200).await.body
}

async fn change(desk: &Desk, admin: &Caller, id: &str, patch: Value) {
    desk.patch(&format!("/v1/users/{id}")).by(admin).json(&patch).expect(200).await;
}

on_both! {
    async fn tokens_signed_by_rs256_es256_and_eddsa_are_good_here(desk) {
        let (admin, keys) = (desk.admin().await, KeyServer::start());
        let signers = [("r", Signer::rsa()), ("c", Signer::ec()), ("d", Signer::ed())];
        keys.has(&signers.iter().map(|(kid, signer)| signer.jwk(kid)).collect::<Vec<_>>());
        let url = trusting(desk, &[json!({ "issuer": NAME, "jwks_url": keys.url, "algorithms": ["RS256", "ES256", "EdDSA"] })]);
        assert_eq!(keys.asked(), 0, "not before there is a token");
        for (kid, signer) in &signers {
            let token = signer.token(kid, &claims(desk, json!({ "sub": kid, "email": format!("{kid}@example.org") })));
            let known = me(desk, &url, &token).expect(200).await.body;
            assert_eq!(
                known,
                json!({
                    "id": known["id"], "kind": "person", "name": "Ada", "email": format!("{kid}@example.org"), "role": "requester",
                    "scopes": ["tickets:read", "tickets:write", "comments:read", "comments:write"], "teams": [],
                })
            );
            let person = user(desk, &admin, known["id"].as_str().unwrap()).await;
            assert_eq!((&person["issuer"], &person["has_password"], &person["version"]), (&json!(NAME), &json!(false), &json!(1)));
            // They can do what people here can.
            desk.ask_at(&url, Method::POST, "/v1/tickets").token(&token).json(&json!({ "subject": "s" })).expect(201).await;
            // Whoever is not told to trust the issuer does not.
            me(desk, &desk.url, &token).refused(401, "unauthenticated").await;
        }
        assert_eq!(keys.asked(), 1);
        // Without a kid there must be no choice.
        for (_, signer) in &signers {
            let token = jwt(json!({ "alg": signer.alg() }), claims(desk, json!({})), |message| signer.sign(message));
            me(desk, &url, &token).expect(200).await;
        }
        desk.clock.pass_s(30);
        keys.has(&[signers[2].1.jwk("d"), Signer::ed().jwk("e")]);
        me(desk, &url, &Signer::ed().token("new", &claims(desk, json!({})))).refused(401, "unauthenticated").await;
        let token = jwt(json!({ "alg": "EdDSA" }), claims(desk, json!({})), |message| signers[2].1.sign(message));
        me(desk, &url, &token).refused(401, "unauthenticated").await;
        keys.close().await;
    }

    async fn a_public_key_is_never_taken_for_a_secret(desk) {
        let keys = KeyServer::start();
        let signer = Signer::rsa();
        let Signer::Rsa(pair) = &signer else { unreachable!() };
        keys.has(&[signer.jwk("r")]);
        let pem = rsa_pem(pair);
        let by_pem = "https://pem.example.org";
        let url = trusting(desk, &[json!({ "issuer": NAME, "jwks_url": keys.url }), json!({ "issuer": by_pem, "pem": pem })]);
        let spki: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let modulus = modulus(pair);
        for name in [NAME, by_pem] {
            let claims = claims(desk, json!({ "iss": name }));
            me(desk, &url, &signer.token("r", &claims)).expect(200).await;
            for secret in [
                pem.as_bytes(), pem.trim().as_bytes(), spki.as_ref(), pair.public_key().as_ref(), modulus,
                URL_SAFE_NO_PAD.encode(modulus).as_bytes(), signer.jwk("r").to_string().as_bytes(), b"",
            ] {
                me(desk, &url, &mac(secret, json!({ "kid": "r" }), &claims)).refused(401, "unauthenticated").await;
            }
            for alg in ["none", "None", "RS384", "RS512", "PS256", "HS256", "ES256", "EdDSA"] {
                let token = jwt(json!({ "alg": alg, "kid": "r" }), &claims, |message| signer.sign(message));
                me(desk, &url, &token).refused(401, "unauthenticated").await;
                let token = jwt(json!({ "alg": alg, "kid": "r" }), &claims, |_| vec![]);
                me(desk, &url, &token).refused(401, "unauthenticated").await;
            }
        }
        keys.close().await;
    }

    async fn only_the_algorithms_of_the_issuers_list_are_taken(desk) {
        let keys = KeyServer::start();
        let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
        keys.has(&[rsa.jwk("r"), ec.jwk("c"), ed.jwk("d")]);
        let config = |name: &str, algorithms: Value| json!({ "issuer": name, "jwks_url": keys.url, "algorithms": algorithms });
        let url = trusting(desk, &[config(NAME, json!(["ES256"])), config("https://b.example.org", json!(["EdDSA", "RS256"]))]);
        me(desk, &url, &rsa.token("r", &claims(desk, json!({})))).refused(401, "unauthenticated").await;
        assert_eq!(keys.asked(), 0, "no key could make it good");
        for (name, good, bad) in [
            (NAME, vec![("c", &ec)], vec![("r", &rsa), ("d", &ed)]),
            ("https://b.example.org", vec![("r", &rsa), ("d", &ed)], vec![("c", &ec)]),
        ] {
            let claims = claims(desk, json!({ "iss": name }));
            for (kid, signer) in good {
                me(desk, &url, &signer.token(kid, &claims)).expect(200).await;
            }
            for (kid, signer) in bad {
                me(desk, &url, &signer.token(kid, &claims)).refused(401, "unauthenticated").await;
            }
        }
        keys.close().await;
    }

    async fn a_shared_secret_is_good_for_hs256_alone(desk) {
        let url = trusting_by_secret(desk, json!({}));
        let claims = claims(desk, json!({}));
        let (rsa, ed) = (Signer::rsa(), Signer::ed());
        me(desk, &url, &mac(SECRET.as_bytes(), json!({ "kid": "any" }), &claims)).expect(200).await;
        me(desk, &url, &mac(&SECRET.as_bytes()[1..], json!({}), &claims)).refused(401, "unauthenticated").await;
        me(desk, &url, &mac(b"", json!({}), &claims)).refused(401, "unauthenticated").await;
        me(desk, &url, &mac(SECRET.as_bytes(), json!({ "alg": "HS384" }), &claims)).refused(401, "unauthenticated").await;
        me(desk, &url, &mac(SECRET.as_bytes(), json!({ "alg": "none" }), &claims)).refused(401, "unauthenticated").await;
        me(desk, &url, &rsa.token("r", &claims)).refused(401, "unauthenticated").await;
        me(desk, &url, &ed.token("d", &claims)).refused(401, "unauthenticated").await;
        // The secret of an issuer is not ours.
        let ours = with(&claims, json!({ "iss": "skranke" }));
        let kid = &desk.authority.keys.signer().kid;
        me(desk, &url, &mac(SECRET.as_bytes(), json!({ "kid": kid }), &ours)).refused(401, "unauthenticated").await;
    }

    async fn tokens_that_are_not_meant_for_us_make_nobody(desk) {
        let (admin, url) = (desk.admin().await, trusting_by_secret(desk, json!({})));
        let before = desk.all(&admin, "/v1/users").await.len();
        let now = desk.clock.now().seconds();
        for (what, changes, code) in [
            ("another audience", json!({ "aud": "another" }), "unauthenticated"),
            ("a list without ours", json!({ "aud": ["another", "third"] }), "unauthenticated"),
            ("no audience", json!({ "aud": null }), "unauthenticated"),
            ("another issuer", json!({ "iss": "https://evil.example.org" }), "unauthenticated"),
            ("nearly the issuer", json!({ "iss": format!("{NAME}/") }), "unauthenticated"),
            ("two issuers", json!({ "iss": [NAME, "skranke"] }), "unauthenticated"),
            ("no issuer", json!({ "iss": null }), "unauthenticated"),
            ("expired", json!({ "exp": now - 30 }), "token_expired"),
            ("expired, for others", json!({ "exp": now - 30, "aud": "another" }), "unauthenticated"),
            ("no expiry", json!({ "exp": null }), "unauthenticated"),
            ("an expiry in words", json!({ "exp": "tomorrow" }), "unauthenticated"),
            ("not yet valid", json!({ "nbf": now + 31 }), "unauthenticated"),
            ("no subject", json!({ "sub": null }), "unauthenticated"),
            ("an empty subject", json!({ "sub": "" }), "unauthenticated"),
            ("a blank subject", json!({ "sub": " " }), "unauthenticated"),
            ("a number", json!({ "sub": 7 }), "unauthenticated"),
            ("a list", json!({ "sub": ["ada"] }), "unauthenticated"),
            ("a NUL", json!({ "sub": "a\u{0}b" }), "unauthenticated"),
            ("a long one", json!({ "sub": "x".repeat(256) }), "unauthenticated"),
        ] {
            let answer = me(desk, &url, &shared(desk, changes)).send().await;
            assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (401, Some(code)), "{what}");
        }
        let text = claims(desk, json!({})).to_string().replace("\"Ada\"", "\"\\ud800\"");
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let surrogate = jwt(json!({ "alg": "HS256" }), text, |message| hmac::sign(&key, message).as_ref().to_vec());
        me(desk, &url, &surrogate).refused(401, "unauthenticated").await;
        for crit in [json!(["exp"]), json!([])] {
            let token = mac(SECRET.as_bytes(), json!({ "crit": crit }), &claims(desk, json!({})));
            me(desk, &url, &token).refused(401, "unauthenticated").await;
        }
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), before);
        // An issuer may have an audience of its own; then ours is not good enough.
        let url = trusting_by_secret(desk, json!({ "audience": "helpdesk" }));
        me(desk, &url, &shared(desk, json!({}))).refused(401, "unauthenticated").await;
        me(desk, &url, &shared(desk, json!({ "aud": ["x", "helpdesk"] }))).expect(200).await;
    }

    async fn each_issuer_speaks_for_its_own_people(desk) {
        let (one, two) = (KeyServer::start(), KeyServer::start());
        let (theirs, others) = (Signer::ed(), Signer::ed());
        one.has(&[theirs.jwk("k")]);
        two.has(&[others.jwk("k"), others.jwk("l")]);
        let other = "https://other.example.org";
        let url = trusting(desk, &[
            json!({ "issuer": NAME, "jwks_url": one.url, "algorithms": ["EdDSA"] }),
            json!({ "issuer": other, "jwks_url": two.url, "algorithms": ["EdDSA"], "default_role": "admin" }),
        ]);
        let (ada, also_ada) = (claims(desk, json!({})), claims(desk, json!({ "iss": other })));
        let first = me(desk, &url, &theirs.token("k", &ada)).expect(200).await;
        let second = me(desk, &url, &others.token("k", &also_ada)).expect(200).await;
        assert_ne!(id(&first), id(&second), "the same subject of two issuers is two people");
        assert_eq!((&first.body["role"], &second.body["role"]), (&json!("requester"), &json!("admin")));
        // The key of one is not good for the other, whatever its kid; nor is ours for theirs, nor theirs for ours.
        me(desk, &url, &others.token("k", &ada)).refused(401, "unauthenticated").await;
        me(desk, &url, &others.token("l", &ada)).refused(401, "unauthenticated").await;
        me(desk, &url, &theirs.token("k", &also_ada)).refused(401, "unauthenticated").await;
        let kid = desk.authority.keys.signer().kid.clone();
        let inside = with(&ada, json!({ "iss": "skranke", "sub": id(&second) }));
        me(desk, &url, &others.token(&kid, &inside)).refused(401, "unauthenticated").await;
        me(desk, &url, &others.token("k", &inside)).refused(401, "unauthenticated").await;
        me(desk, &url, &desk.authority.keys.sign(&also_ada).unwrap()).refused(401, "unauthenticated").await;
        one.close().await;
        two.close().await;
    }

    async fn roles_are_found_by_path_and_mapped(desk) {
        let by_path = trusting_by_secret(desk, json!({ "role_claim": "realm_access.roles" }));
        let mapped = trusting_by_secret(desk, json!({
            "role_claim": "realm_access.roles", "role_map": { "desk-agents": "agent", "desk-admins": "admin" }, "default_role": "requester",
        }));
        let by_default = trusting_by_secret(desk, json!({ "role_claim": "https://example.org/role", "default_role": "agent" }));
        for (n, (url, extra, role)) in [
            (&by_path, json!({ "realm_access": { "roles": ["offline_access", "agent"] } }), "agent"),
            (&by_path, json!({ "realm_access": { "roles": ["agent", "admin", "requester"] } }), "admin"),
            (&by_path, json!({ "realm_access": { "roles": "agent" } }), "agent"),
            (&by_path, json!({ "realm_access": { "roles": "agent admin" } }), "requester"),
            (&by_path, json!({ "realm_access": { "roles": ["Admin", "ADMIN", "root", 7, null, ["admin"]] } }), "requester"),
            (&by_path, json!({ "realm_access": { "roles": { "admin": true } } }), "requester"),
            (&by_path, json!({ "realm_access": { "roles": [] } }), "requester"),
            (&by_path, json!({ "realm_access": "admin" }), "requester"),
            (&by_path, json!({ "realm_access": ["admin"] }), "requester"),
            (&by_path, json!({ "role": "admin", "roles": ["admin"] }), "requester"),
            (&by_path, json!({ "realm_access.roles": ["agent"] }), "agent"),
            (&mapped, json!({ "realm_access": { "roles": ["desk-agents"] } }), "agent"),
            (&mapped, json!({ "realm_access": { "roles": ["desk-admins", "desk-agents"] } }), "admin"),
            (&mapped, json!({ "realm_access": { "roles": ["admin", "agent"] } }), "requester"),
            (&by_default, json!({ "https://example.org/role": "admin" }), "admin"),
            (&by_default, json!({ "https://example.org/role": "king" }), "agent"),
            (&by_default, json!({}), "agent"),
        ].into_iter().enumerate() {
            let token = shared(desk, with(&extra, json!({ "sub": format!("person {n}") })));
            assert_eq!(me(desk, url, &token).expect(200).await.body["role"], role, "{extra}");
        }
    }

    async fn scopes_are_found_by_path_mapped_and_never_more_than_the_role_has(desk) {
        let ours = trusting_by_secret(desk, json!({ "scope_claim": "scope" }));
        let listed = trusting_by_secret(desk, json!({ "scope_claim": "auth.scp", "role_claim": "role" }));
        let mapped = trusting_by_secret(desk, json!({ "scope_claim": "scp", "scope_map": { "Desk.Read": "tickets:read comments:read", "Desk.Write": "tickets:write" } }));
        for (url, extra, scopes) in [
            (&ours, json!({ "scope": "openid profile tickets:read" }), json!(["tickets:read"])),
            (&ours, json!({ "scope": "admin internal:read tickets:write" }), json!(["tickets:write"])),
            (&ours, json!({ "scope": "" }), json!([])),
            (&ours, json!({ "scope": 7 }), json!([])),
            (&ours, json!({}), json!([])),
            (&listed, json!({ "auth": { "scp": ["tickets:read", "metrics:read"] }, "role": "agent" }), json!(["tickets:read", "metrics:read"])),
            (&listed, json!({ "auth": { "scp": ["tickets:read", "metrics:read"] } }), json!(["tickets:read"])),
            (&mapped, json!({ "scp": "Desk.Read other" }), json!(["tickets:read", "comments:read"])),
            (&mapped, json!({ "scp": "Desk.Write tickets:read" }), json!(["tickets:write"])),
        ] {
            assert_eq!(me(desk, url, &shared(desk, extra.clone())).expect(200).await.body["scopes"], scopes, "{extra}");
        }
    }

    async fn many_first_requests_make_one_person(desk) {
        let admin = desk.admin().await;
        let urls = [trusting_by_secret(desk, json!({})), trusting_by_secret(desk, json!({}))];
        let before = desk.all(&admin, "/v1/users").await.len();
        let token = shared(desk, json!({ "email": "ada@example.org" }));
        let all = join_all((0..10).map(|n| me(desk, &urls[n % 2], &token).expect(200))).await;
        let ids: HashSet<_> = all.iter().map(id).collect();
        assert_eq!(ids.len(), 1);
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), before + 1);
        assert_eq!(user(desk, &admin, ids.iter().next().unwrap()).await["version"], 1);
        // Ten people at once who all claim one address: one gets it.
        let tokens: Vec<_> = (0..10).map(|n| shared(desk, json!({ "sub": format!("twin {n}"), "email": "twin@example.org" }))).collect();
        let all = join_all(tokens.iter().enumerate().map(|(n, token)| me(desk, &urls[n % 2], token).expect(200))).await;
        assert_eq!(all.iter().map(id).collect::<HashSet<_>>().len(), 10);
        assert_eq!(all.iter().filter(|one| one.body["email"] == "twin@example.org").count(), 1);
        // And one person with ten tokens that disagree stays one person.
        let tokens: Vec<_> = (0..10).map(|n| shared(desk, json!({ "name": format!("Ada {}", n % 2) }))).collect();
        let all = join_all(tokens.iter().enumerate().map(|(n, token)| me(desk, &urls[n % 2], token).expect(200))).await;
        assert_eq!(all.iter().map(id).collect::<HashSet<_>>(), ids);
    }

    async fn a_person_is_mended_when_the_issuer_says_something_else(desk) {
        let admin = desk.admin().await;
        let url = trusting_by_secret(desk, json!({ "role_claim": "role" }));
        let sees = async |changes: Value, version: i64| {
            let known = me(desk, &url, &shared(desk, changes)).expect(200).await;
            let person = user(desk, &admin, &id(&known)).await;
            assert_eq!(person["version"], version);
            for field in ["id", "name", "email", "role"] {
                assert_eq!(known.body[field], person[field]);
            }
            person
        };
        let ada = sees(json!({ "email": "Ada@Example.org", "role": "agent" }), 1).await;
        assert_eq!((&ada["name"], &ada["email"], &ada["role"]), (&json!("Ada"), &json!("ada@example.org"), &json!("agent")));
        desk.clock.pass_s(60);
        sees(json!({ "email": "ada@example.org", "role": "agent" }), 1).await;
        let promoted = sees(json!({ "email": "ada@example.org", "role": "admin", "name": "Ada L." }), 2).await;
        assert_eq!((&promoted["id"], &promoted["name"], &promoted["role"]), (&ada["id"], &json!("Ada L."), &json!("admin")));
        assert_eq!(promoted["updated_at"], "2026-03-02T09:01:00.000000Z");
        // What a token does not say, stays; what it says badly, too.
        for changes in [
            json!({ "role": "admin", "name": null }),
            json!({ "role": "admin", "name": "two\nlines" }),
            json!({ "role": "admin", "name": 7, "email": "nobody" }),
            json!({ "role": "admin", "name": "", "email": "eve@example.org", "email_verified": false }),
        ] {
            let same = sees(changes, 2).await;
            assert_eq!((&same["name"], &same["email"]), (&json!("Ada L."), &json!("ada@example.org")));
        }
        // Where the issuer says the role, what an admin sets lasts until the next request.
        let ada = ada["id"].as_str().unwrap();
        let rate = json!({ "amount_minor": 9000, "currency": "EUR" });
        change(desk, &admin, ada, json!({ "role": "agent", "hourly_rate": rate })).await;
        assert_eq!(user(desk, &admin, ada).await["hourly_rate"], rate);
        assert_eq!(sees(json!({ "role": "requester" }), 4).await["role"], "requester");
        // A requester has no hourly rate, however they became one.
        assert_eq!(user(desk, &admin, ada).await["hourly_rate"], Value::Null);
        // Where it does not, it is ours to set.
        let url = trusting_by_secret(desk, json!({}));
        change(desk, &admin, ada, json!({ "role": "agent" })).await;
        assert_eq!(me(desk, &url, &shared(desk, json!({ "role": "admin" }))).expect(200).await.body["role"], "agent");
    }

    async fn names_of_any_length_that_a_token_may_have_can_be_read_here(desk) {
        let (admin, url) = (desk.admin().await, trusting_by_secret(desk, json!({})));
        let long = "ø".repeat(255);
        let known = me(desk, &url, &shared(desk, json!({ "sub": long, "name": "x".repeat(256) }))).expect(200).await;
        assert_eq!(known.body["name"], long.as_str(), "for want of a name, the subject");
        let token = shared(desk, json!({ "sub": long, "name": long }));
        let ticket = desk.ask_at(&url, Method::POST, "/v1/tickets").token(&token).json(&json!({ "subject": "s" })).expect(201).await;
        assert_eq!(ticket.body["requester"]["name"], long.as_str());
        assert_eq!(user(desk, &admin, &id(&known)).await["name"], long.as_str());
    }

    async fn an_address_in_a_token_takes_over_nobody(desk) {
        let (admin, url) = (desk.admin().await, trusting_by_secret(desk, json!({ "role_claim": "role" })));
        let boss = json!({ "name": "Boss", "email": "boss@example.org", "role": "admin", "password": "correct horse battery" });
        let boss = id(&desk.post("/v1/users").by(&admin).json(&boss).expect(201).await);
        let before = user(desk, &admin, &boss).await;
        for (sub, email) in [("eve", json!("boss@example.org")), ("mallory", json!("BOSS@example.org")), (boss.as_str(), json!("boss@example.org")), ("boss@example.org", json!(null))] {
            let known = me(desk, &url, &shared(desk, json!({ "sub": sub, "email": email }))).expect(200).await;
            assert_ne!(id(&known), boss);
            assert_eq!((&known.body["email"], &known.body["role"]), (&Value::Null, &json!("requester")), "{sub}");
        }
        assert_eq!(user(desk, &admin, &boss).await, before);
        // Once it is free, whoever comes with it has it.
        change(desk, &admin, &boss, json!({ "email": "chief@example.org" })).await;
        let known = me(desk, &url, &shared(desk, json!({ "sub": "eve", "email": "boss@example.org" }))).expect(200).await;
        assert_eq!(known.body["email"], "boss@example.org");
        assert_eq!(user(desk, &admin, &id(&known)).await["version"], 2);
        // A password is for people of ours: nobody logs in as an outsider without one.
        let form = "grant_type=password&username=boss@example.org&password=correct+horse+battery";
        desk.post("/v1/auth/token").raw("application/x-www-form-urlencoded", form).refused(401, "unauthenticated").await;
    }

    async fn an_address_that_is_not_verified_gets_nobody_the_tickets_that_are_filed_for_it(desk) {
        let (admin, url) = (desk.admin().await, trusting_by_secret(desk, json!({})));
        let vouched = trusting_by_secret(desk, json!({ "trusts_email": true }));
        let tickets = async |url: &str, token: &str| {
            desk.ask_at(url, Method::GET, "/v1/tickets").token(token).expect(200).await.body["items"].as_array().unwrap().len()
        };
        for (n, verified) in [
            json!(null), json!(false), json!("false"), json!("False"), json!("no"), json!("true"), json!(0), json!(1), json!([]), json!([true]), json!({}),
        ].into_iter().enumerate() {
            // `with` leaves out what is null.
            let token = shared(desk, json!({ "sub": format!("eve {n}"), "email": "boss@example.org", "email_verified": verified }));
            assert_eq!(me(desk, &url, &token).expect(200).await.body["email"], Value::Null, "{verified}");
            let trusted = me(desk, &vouched, &shared(desk, json!({
                "sub": format!("ada {n}"), "email": format!("ada-{n}@example.org"), "email_verified": verified,
            }))).expect(200).await;
            let is_taken = verified.is_null() || verified == "true";
            assert_eq!(trusted.body["email"] == format!("ada-{n}@example.org"), is_taken, "{verified}");
        }
        let ticket = json!({ "subject": "mine", "requester": { "email": "boss@example.org", "name": "Boss" } });
        desk.post("/v1/tickets").by(&admin).json(&ticket).expect(201).await;
        let eve = shared(desk, json!({ "sub": "eve 0", "email": "boss@example.org", "email_verified": null }));
        assert_eq!(tickets(&url, &eve).await, 0);
        // Whoever has it verified, has it from then on: here it is free, as it is nobody's who was never here.
        let ticket = json!({ "subject": "hers", "requester": { "email": "late@example.org", "name": "Late" } });
        let late = shared(desk, json!({ "sub": "late", "email": "late@example.org" }));
        assert_eq!(me(desk, &url, &late).expect(200).await.body["email"], "late@example.org");
        desk.post("/v1/tickets").by(&admin).json(&ticket).expect(201).await;
        assert_eq!(tickets(&url, &late).await, 1);
    }

    async fn whom_the_issuer_gives_no_role_is_refused_and_made_nobody(desk) {
        let admin = desk.admin().await;
        let before = desk.all(&admin, "/v1/users").await.len();
        let said = trusting_by_secret(desk, json!({ "default_role": "none", "role_claim": "roles", "role_map": { "desk": "agent" } }));
        let unsaid = trusting_by_secret(desk, json!({ "default_role": "none" }));
        for (url, changes) in [(&said, json!({})), (&said, json!({ "roles": ["admin", "agent"] })), (&said, json!({ "roles": { "desk": true } })), (&unsaid, json!({ "roles": "desk" }))] {
            let answer = me(desk, url, &shared(desk, changes)).refused(403, "forbidden").await;
            assert_eq!(answer.header("www-authenticate"), None);
        }
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), before);
        let token = shared(desk, json!({ "roles": ["desk"] }));
        let ada = id(&me(desk, &said, &token).expect(200).await);
        // Who is known by it already keeps the role that they have here, where the issuer does not say it.
        assert_eq!(me(desk, &unsaid, &token).expect(200).await.body["role"], "agent");
        // Where it does, and takes it away, they are refused at once, and stay what they were in what they did.
        let person = user(desk, &admin, &ada).await;
        me(desk, &said, &shared(desk, json!({ "roles": ["another"] }))).refused(403, "forbidden").await;
        desk.ask_at(&said, Method::POST, "/v1/tickets").token(&shared(desk, json!({}))).json(&json!({ "subject": "s" })).refused(403, "forbidden").await;
        assert_eq!(user(desk, &admin, &ada).await, person);
        me(desk, &said, &token).expect(200).await;
        // Whoever is not active is no more told that they were somebody than anybody whose token is bad.
        change(desk, &admin, &ada, json!({ "active": false })).await;
        me(desk, &unsaid, &token).refused(401, "unauthenticated").await;
    }

    async fn a_token_without_what_it_must_say_is_refused(desk) {
        let admin = desk.admin().await;
        let before = desk.all(&admin, "/v1/users").await.len();
        let url = trusting_by_secret(desk, json!({
            "required_claims": { "repository_owner": "acme", "ci.ref": ["refs/heads/main", "refs/heads/next"] },
        }));
        for (changes, good) in [
            (json!({ "repository_owner": "acme", "ci": { "ref": "refs/heads/main" } }), true),
            (json!({ "repository_owner": ["x", "acme"], "ci.ref": "refs/heads/next" }), true),
            (json!({ "repository_owner": "acme" }), false),
            (json!({ "ci": { "ref": "refs/heads/main" } }), false),
            (json!({ "repository_owner": "evil", "ci": { "ref": "refs/heads/main" } }), false),
            (json!({ "repository_owner": "acme", "ci": { "ref": "refs/heads/evil" } }), false),
            (json!({ "repository_owner": { "acme": "acme" }, "ci": { "ref": "refs/heads/main" } }), false),
            (json!({}), false),
        ] {
            let token = shared(desk, with(&changes, json!({ "sub": changes.to_string() })));
            if good {
                me(desk, &url, &token).expect(200).await;
            } else {
                me(desk, &url, &token).refused(401, "unauthenticated").await;
            }
        }
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), before + 2);
    }

    async fn an_outsider_who_is_deactivated_is_refused_at_once(desk) {
        let admin = desk.admin().await;
        let urls = [trusting_by_secret(desk, json!({})), trusting_by_secret(desk, json!({}))];
        let token = shared(desk, json!({ "email": "ada@example.org" }));
        let ada = id(&me(desk, &urls[0], &token).expect(200).await);
        assert_eq!(id(&me(desk, &urls[1], &token).expect(200).await), ada);
        let before = desk.all(&admin, "/v1/users").await.len();
        change(desk, &admin, &ada, json!({ "active": false })).await;
        for url in &urls {
            me(desk, url, &token).refused(401, "unauthenticated").await;
            // Nor does another name help.
            me(desk, url, &shared(desk, json!({ "name": "Somebody" }))).refused(401, "unauthenticated").await;
        }
        let person = user(desk, &admin, &ada).await;
        assert_eq!((&person["name"], &person["version"]), (&json!("Ada"), &json!(2)));
        assert_eq!(desk.all(&admin, "/v1/users").await.len(), before);
        change(desk, &admin, &ada, json!({ "active": true })).await;
        assert_eq!(id(&me(desk, &urls[0], &token).expect(200).await), ada);
    }

    async fn an_outsider_who_was_anonymised_and_comes_again_is_somebody_new(desk) {
        let (admin, url) = (desk.admin().await, trusting_by_secret(desk, json!({})));
        let token = shared(desk, json!({ "email": "ada@example.org" }));
        let ada = id(&me(desk, &url, &token).expect(200).await);
        desk.ask_at(&url, Method::POST, "/v1/tickets").token(&token).json(&json!({ "subject": "s" })).expect(201).await;
        desk.delete(&format!("/v1/users/{ada}")).by(&admin).expect(204).await;
        let again = me(desk, &url, &token).expect(200).await;
        assert_ne!(id(&again), ada);
        assert_eq!(again.body["email"], "ada@example.org");
        assert_eq!(user(desk, &admin, &ada).await["name"], "Anonymised");
        assert_eq!(desk.ask_at(&url, Method::GET, "/v1/tickets").token(&token).expect(200).await.body["items"], json!([]));
    }

    async fn an_unknown_kid_has_the_keys_fetched_again_but_not_too_often(desk) {
        let keys = KeyServer::start();
        let (old, new) = (Signer::ed(), Signer::ed());
        keys.has(&[old.jwk("old")]);
        let url = trusting(desk, &[json!({ "issuer": NAME, "jwks_url": keys.url, "algorithms": ["EdDSA"] })]);
        let claims = claims(desk, json!({}));
        let (by_old, by_new) = (old.token("old", &claims), new.token("new", &claims));
        me(desk, &url, &by_old).expect(200).await;
        assert_eq!(keys.asked(), 1);
        keys.has(&[old.jwk("old"), new.jwk("new")]);
        let floods = (0..20).map(|n| new.token(&format!("forged {n}"), &claims)).collect::<Vec<_>>();
        for answer in join_all(floods.iter().map(|token| me(desk, &url, token).send())).await {
            assert_eq!(answer.status, 401);
        }
        desk.clock.pass_s(29);
        me(desk, &url, &by_new).refused(401, "unauthenticated").await;
        assert_eq!(keys.asked(), 1);
        desk.clock.pass_s(1);
        for answer in join_all((0..10).map(|_| me(desk, &url, &by_new).send())).await {
            assert_eq!(answer.status, 200);
        }
        me(desk, &url, &by_old).expect(200).await;
        assert_eq!(keys.asked(), 2);
        // A key that is withdrawn is good until the set is an hour old.
        keys.has(&[new.jwk("new")]);
        desk.clock.pass_s(3599);
        me(desk, &url, &by_old).expect(200).await;
        assert_eq!(keys.asked(), 2);
        desk.clock.pass_s(1);
        me(desk, &url, &by_old).refused(401, "unauthenticated").await;
        me(desk, &url, &by_new).expect(200).await;
        assert_eq!(keys.asked(), 3);
        // The places that a token names are never asked.
        let evil = KeyServer::start();
        let mallory = Signer::ed();
        evil.has(&[mallory.jwk("m")]);
        desk.clock.pass_s(30);
        for header in [json!({ "jku": evil.url }), json!({ "x5u": evil.url }), json!({ "x5c": [evil.url] }), json!({ "jwk": mallory.jwk("m") }), json!({ "kid": evil.url }), json!({ "iss": evil.url })] {
            let header = with(&json!({ "alg": "EdDSA", "kid": "m" }), header);
            me(desk, &url, &jwt(header, &claims, |message| mallory.sign(message))).refused(401, "unauthenticated").await;
        }
        assert_eq!((evil.asked(), keys.asked()), (0, 4));
        evil.close().await;
        keys.close().await;
    }

    async fn no_weak_signature_and_no_weak_key_lets_anybody_in(desk) {
        let keys = KeyServer::start();
        let (rsa, ec, ed) = (Signer::rsa(), Signer::ec(), Signer::ed());
        let small = |first: u8| {
            let mut point = [0; 32];
            point[0] = first;
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": format!("small {first}"), "x": URL_SAFE_NO_PAD.encode(point) })
        };
        let one = URL_SAFE_NO_PAD.encode([1]);
        keys.has(&[
            rsa.jwk("r"), ec.jwk("c"), ed.jwk("d"), small(0), small(1),
            with(&rsa.jwk("exponent"), json!({ "e": one })),
            with(&ec.jwk("off"), json!({ "x": URL_SAFE_NO_PAD.encode([1; 32]), "y": URL_SAFE_NO_PAD.encode([1; 32]) })),
        ]);
        let url = trusting(desk, &[json!({ "issuer": NAME, "jwks_url": keys.url, "algorithms": ["RS256", "ES256", "EdDSA"] })]);
        let claims = claims(desk, json!({}));
        let by = |alg: &str, kid: &str, signature: &dyn Fn(&[u8]) -> Vec<u8>| jwt(json!({ "alg": alg, "kid": kid }), &claims, signature);
        for (kid, signer) in [("r", &rsa), ("c", &ec), ("d", &ed)] {
            me(desk, &url, &signer.token(kid, &claims)).expect(200).await;
        }
        // The order of P-256, and what is not within it.
        let order: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"[2 * at..2 * at + 2], 16).unwrap()).collect();
        let halves = |message: &[u8]| {
            let signature = ec.sign(message);
            (signature[..32].to_vec(), signature[32..].to_vec())
        };
        let zero = vec![0; 32];
        let to_der = |message: &[u8]| {
            let (r, s) = halves(message);
            [&[0x30, 0x46, 0x02, 0x21, 0x00][..], &r, &[0x02, 0x21, 0x00], &s].concat()
        };
        for (what, token) in [
            ("r and s are zero", by("ES256", "c", &|_| vec![0; 64])),
            ("r is zero", by("ES256", "c", &|message| [zero.clone(), halves(message).1].concat())),
            ("s is zero", by("ES256", "c", &|message| [halves(message).0, zero.clone()].concat())),
            ("r and s are the order", by("ES256", "c", &|_| [order.clone(), order.clone()].concat())),
            ("s is the order", by("ES256", "c", &|message| [halves(message).0, order.clone()].concat())),
            ("r and s change places", by("ES256", "c", &|message| [halves(message).1, halves(message).0].concat())),
            ("in DER", by("ES256", "c", &to_der)),
            ("a byte more", by("ES256", "c", &|message| [ec.sign(message), vec![0]].concat())),
            ("a point that is not on the curve", by("ES256", "off", &|message| ec.sign(message))),
            // With such a key, this is a signature of everything.
            ("small order", by("EdDSA", "small 1", &|_| [vec![1], vec![0; 63]].concat())),
            ("small order, zero", by("EdDSA", "small 0", &|_| vec![0; 64])),
            ("small order, another R", by("EdDSA", "small 0", &|_| [vec![1], vec![0; 63]].concat())),
            ("EdDSA of zeroes", by("EdDSA", "d", &|_| vec![0; 64])),
            ("EdDSA with the identity", by("EdDSA", "d", &|_| [vec![1], vec![0; 63]].concat())),
            // With such an exponent, what should come out of the signature is the signature.
            ("an exponent of one", by("RS256", "exponent", &|message| {
                let info = [0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20];
                let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, message);
                [&[0x00, 0x01][..], &[0xff; 202], &[0x00], &info, hash.as_ref()].concat()
            })),
            ("RSA of zeroes", by("RS256", "r", &|_| vec![0; 256])),
            ("RSA of ones", by("RS256", "r", &|_| [vec![0; 255], vec![1]].concat())),
            ("RSA, a byte more", by("RS256", "r", &|message| [vec![0], rsa.sign(message)].concat())),
            ("RSA, nothing", by("RS256", "r", &|_| vec![])),
        ] {
            let refused = me(desk, &url, &token).send().await;
            assert_eq!((refused.status.as_u16(), &refused.body["code"]), (401, &json!("unauthenticated")), "{what}");
        }
        // Of each signature by ECDSA there is a second one, which says the same of the same message: it lets in nobody
        // else.
        let mirrored = by("ES256", "c", &|message| {
            let (r, s) = halves(message);
            let mut borrow = false;
            let mut other: Vec<u8> = order
                .iter()
                .zip(&s)
                .rev()
                .map(|(n, s)| {
                    let (difference, below) = n.overflowing_sub(*s);
                    let (difference, further) = difference.overflowing_sub(u8::from(borrow));
                    borrow = below || further;
                    difference
                })
                .collect();
            other.reverse();
            [r, other].concat()
        });
        let known = me(desk, &url, &ec.token("c", &claims)).expect(200).await.body;
        assert_eq!(me(desk, &url, &mirrored).expect(200).await.body, known);
        keys.close().await;
    }

    async fn a_key_is_good_for_the_issuer_alone_who_publishes_it(desk) {
        let (ours, theirs) = (KeyServer::start(), KeyServer::start());
        let other = "https://other.example.org";
        let (one, two) = (Signer::ed(), Signer::ed());
        // By the same name.
        ours.has(&[one.jwk("k")]);
        theirs.has(&[two.jwk("k")]);
        let config = |name: &str, url: &str| json!({ "issuer": name, "jwks_url": url, "algorithms": ["EdDSA"] });
        let url = trusting(desk, &[config(NAME, &ours.url), config(other, &theirs.url)]);
        let of = |iss: &str| claims(desk, json!({ "iss": iss }));
        let first = id(&me(desk, &url, &one.token("k", &of(NAME))).expect(200).await);
        // Of the same name, too, is somebody else.
        assert_ne!(id(&me(desk, &url, &two.token("k", &of(other))).expect(200).await), first);
        for (signer, iss) in [(&one, other), (&two, NAME), (&one, "skranke"), (&two, "skranke")] {
            me(desk, &url, &signer.token("k", &of(iss))).refused(401, "unauthenticated").await;
            let kid = &desk.authority.keys.signer().kid;
            me(desk, &url, &signer.token(kid, &of(iss))).refused(401, "unauthenticated").await;
        }
        // What was signed by us is no token of theirs.
        let (header, body) = (json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": desk.authority.keys.signer().kid }), of(NAME));
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(desk.authority.keys.signer().seed()).unwrap();
        me(desk, &url, &jwt(header, body, |message| pair.sign(message).as_ref().to_vec())).refused(401, "unauthenticated").await;
        ours.close().await;
        theirs.close().await;
    }

    async fn tokens_of_another_kind_are_no_access_tokens(desk) {
        let url = trusting_by_secret(desk, json!({}));
        let strict = trusting_by_secret(desk, json!({ "typ": "AT+JWT" }));
        let typed = |header: Value| mac(SECRET.as_bytes(), header, &claims(desk, json!({})));
        for typ in [json!(null), json!("JWT"), json!("jwt"), json!("at+jwt"), json!("application/at+jwt")] {
            let token = typed(json!({ "typ": typ }));
            me(desk, &url, &token).expect(200).await;
            let is_access = typ.as_str().is_some_and(|typ| typ.ends_with("at+jwt"));
            me(desk, &strict, &token).expect(if is_access { 200 } else { 401 }).await;
        }
        for typ in ["logout+jwt", "secevent+jwt", "dpop+jwt", "id_token+jwt", "oauth-authz-req+jwt", "entity-statement+jwt", "jose", "x"] {
            me(desk, &url, &typed(json!({ "typ": typ }))).refused(401, "unauthenticated").await;
        }
        for header in [json!({ "cty": "JWT" }), json!({ "zip": "DEF" }), json!({ "crit": ["exp"] }), json!({ "enc": "A128GCM" })] {
            me(desk, &url, &typed(header)).refused(401, "unauthenticated").await;
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let twice = claims(desk, json!({})).to_string().replacen('{', "{\"sub\":\"eve\",", 1);
        me(desk, &url, &jwt(json!({ "alg": "HS256" }), twice, |message| hmac::sign(&key, message).as_ref().to_vec())).refused(401, "unauthenticated").await;
        // Roles are no better said twice.
        let roles = claims(desk, json!({ "realm_access": 7 })).to_string().replace("\"realm_access\":7", "\"realm_access\":{\"roles\":[\"x\"],\"roles\":[\"admin\"]}");
        me(desk, &url, &jwt(json!({ "alg": "HS256" }), roles, |message| hmac::sign(&key, message).as_ref().to_vec())).refused(401, "unauthenticated").await;
    }

    async fn while_the_keys_cannot_be_fetched_the_old_ones_serve(desk) {
        let (admin, keys) = (desk.admin().await, KeyServer::start());
        let (old, new) = (Signer::ec(), Signer::ec());
        let url = trusting(desk, &[json!({ "issuer": NAME, "jwks_url": keys.url, "algorithms": ["ES256"] })]);
        let claims = claims(desk, json!({}));
        let (by_old, by_new) = (old.token("old", &claims), new.token("new", &claims));
        // Never fetched: nobody can say whether the token is good.
        keys.says(500, "no");
        for _ in 0..3 {
            let answer = me(desk, &url, &by_old).refused(503, "unavailable").await;
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        assert_eq!(keys.asked(), 1);
        me(desk, &url, &admin.token).expect(200).await;
        keys.has(&[old.jwk("old")]);
        me(desk, &url, &by_old).refused(503, "unavailable").await;
        desk.clock.pass_s(30);
        me(desk, &url, &by_old).expect(200).await;
        assert_eq!(keys.asked(), 2);
        for (n, (status, body)) in [(503, "later"), (200, "<html>"), (200, "{\"keys\": []}"), (302, "")].into_iter().enumerate() {
            keys.says(status, body);
            desk.clock.pass_s(3600);
            me(desk, &url, &by_old).expect(200).await;
            me(desk, &url, &by_old).expect(200).await;
            me(desk, &url, &by_new).refused(401, "unauthenticated").await;
            assert_eq!(keys.asked(), 3 + n);
        }
        keys.has(&[new.jwk("new")]);
        desk.clock.pass_s(30);
        me(desk, &url, &by_new).expect(200).await;
        me(desk, &url, &by_old).refused(401, "unauthenticated").await;
        keys.close().await;
    }
}
