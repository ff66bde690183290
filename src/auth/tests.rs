//! Authentication against a real database: who is known, who is made, and which credentials are good.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use uuid::Uuid;

use super::domain::{Kind, Principal, Role, Scopes};
use super::grants::{self, Grant, Granted};
use super::issuers::IssuerConfig;
use super::keys::{Key, Keys};
use super::password::Password;
use super::service::{Authority, Lifetimes};
use super::{credential, store};
use crate::db::schema::{principals, refresh_tokens};
use crate::db::{Db, on_each};
use crate::kernel::secret::Secret;
use crate::kernel::{Clock, Code, Instant, PrincipalId, Problem};

const OUTSIDE_SECRET: &str = "a secret of more than thirty-two bytes";
const PASSWORD: &str = "correct horse battery";

/// A service on a database of its own, and its clock.
struct Bench {
    db: Db,
    authority: Authority,
    clock: Clock,
    passed_s: Arc<AtomicI64>,
    file: std::path::PathBuf,
}

impl Drop for Bench {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut file = self.file.clone().into_os_string();
            file.push(suffix);
            // Not all of them exist.
            drop(std::fs::remove_file(file));
        }
        drop(std::fs::remove_file(self.file.with_extension("lock")));
    }
}

impl Bench {
    async fn new() -> Self {
        Self::with(json!({ "role_claim": "groups" })).await
    }

    /// With an outside issuer that has `changes` to it.
    async fn with(changes: Value) -> Self {
        let passed_s = Arc::new(AtomicI64::new(0));
        let seconds = Arc::clone(&passed_s);
        let clock = Clock::new(move || {
            Instant::from_micros(1_750_000_000_000_000).plus_s(AtomicI64::load(&seconds, Ordering::Relaxed))
        });
        let mut outside = json!({ "issuer": "https://id.example", "secret": OUTSIDE_SECRET, "algorithms": ["HS256"] });
        for (key, value) in changes.as_object().expect("an object") {
            outside[key] = value.clone();
        }
        let outside: IssuerConfig = serde_json::from_value(outside).expect("known keys");
        let key = || Key::from_pem(Key::generate_pem().expect("a key").reveal()).expect("a key");
        let keys = Keys::new(key(), None);
        let authority =
            Authority::new(keys, "https://desk.example".into(), "desk".into(), Lifetimes::default(), &[outside])
                .expect("a good issuer");
        let file = std::env::temp_dir().join(format!("skranke-auth-{}.db", Uuid::from_bytes(random())));
        let url = format!("sqlite://{}", file.display()).parse().expect("a URL");
        let db = Db::open(&url, 4, Duration::from_secs(5)).expect("opens");
        db.migrate().await.expect("migrates");
        Self { db, authority, clock, passed_s, file }
    }

    fn pass(&self, s: i64) {
        self.passed_s.fetch_add(s, Ordering::Relaxed);
    }

    fn now(&self) -> Instant {
        self.clock.now()
    }

    async fn authenticate(&self, token: &str) -> Result<Principal, Problem> {
        self.authority.authenticate(&self.db, token, self.now(), &self.clock).await
    }

    async fn grant(&self, grant: Grant) -> Result<Granted, Problem> {
        self.narrow(grant, None).await
    }

    async fn narrow(&self, grant: Grant, scopes: Option<&str>) -> Result<Granted, Problem> {
        let scopes = scopes.map(|words| Scopes::parse(words).expect("scopes"));
        self.authority.grant(&self.db, grant, scopes, self.now(), &self.clock).await
    }

    /// Makes a person who may have a password.
    async fn person(&self, email: &str, role: Role, password: Option<&str>) -> PrincipalId {
        let hash = match password {
            Some(text) => {
                let password = Password::parse(text.into()).expect("long enough");
                Some(self.authority.passwords.hash(&password).await.expect("hashes"))
            }
            None => None,
        };
        let (id, email, now) = (self.clock.id(self.now()), email.to_owned(), self.now());
        self.db
            .write(async move |tx| {
                let row = (
                    (principals::id.eq(id), principals::kind.eq("person"), principals::name.eq("Ada")),
                    (principals::email.eq(&email), principals::role.eq(role), principals::password_hash.eq(&hash)),
                    (principals::active.eq(true), principals::created_at.eq(now), principals::updated_at.eq(now)),
                    principals::version.eq(1),
                );
                on_each!(tx, |c| diesel::insert_into(principals::table).values(row).execute(c).await)?;
                Ok(id)
            })
            .await
            .expect("is made")
    }

    async fn account(&self, scopes: &'static str) -> (PrincipalId, Secret<String>) {
        let (id, now) = (self.clock.id(self.now()), self.now());
        let secret = credential::generate("sks_").expect("random");
        let hash = credential::fingerprint(secret.reveal());
        self.db
            .write(async move |tx| {
                let row = (
                    (principals::id.eq(id), principals::kind.eq("service_account"), principals::name.eq("bot")),
                    (principals::scopes.eq(scopes), principals::secret_hash.eq(&hash)),
                    (principals::active.eq(true), principals::created_at.eq(now), principals::updated_at.eq(now)),
                    principals::version.eq(1),
                );
                on_each!(tx, |c| diesel::insert_into(principals::table).values(row).execute(c).await)?;
                Ok(())
            })
            .await
            .expect("is made");
        (id, secret)
    }

    async fn deactivate(&self, id: PrincipalId) {
        self.db
            .write(async move |tx| {
                let change = principals::active.eq(false);
                on_each!(tx, |c| diesel::update(principals::table.find(id)).set(change).execute(c).await)?;
                Ok(())
            })
            .await
            .expect("is deactivated");
    }

    async fn version(&self, id: PrincipalId) -> i64 {
        let read = async |conn: &mut crate::db::Conn| {
            let row = principals::table.find(id).select(principals::version);
            Ok(on_each!(conn, |c| row.first(c).await)?)
        };
        self.db.read(read).await.expect("is there")
    }

    async fn count_people(&self) -> i64 {
        let read =
            async |conn: &mut crate::db::Conn| Ok(on_each!(conn, |c| principals::table.count().get_result(c).await)?);
        self.db.read(read).await.expect("counts")
    }
}

fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("random");
    bytes
}

/// A token of the outside issuer with `changes` to its claims.
fn outside(changes: Value) -> String {
    let mut claims =
        json!({ "iss": "https://id.example", "aud": "desk", "sub": "ada", "exp": 1_750_000_600, "name": "Ada" });
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    let key = EncodingKey::from_secret(OUTSIDE_SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

fn by_password(username: &str, password: &str) -> Grant {
    Grant::Password { username: username.into(), password: Secret::new(password.into()) }
}

fn by_secret(id: impl ToString, secret: &str) -> Grant {
    Grant::ClientCredentials { id: id.to_string(), secret: Secret::new(secret.into()) }
}

fn by_refresh(granted: &Granted) -> Grant {
    Grant::RefreshToken(granted.refresh_token.clone().expect("a refresh token"))
}

/// All that a caller sees of a problem.
fn seen(problem: &Problem) -> String {
    format!("{:?} {} {:?} {:?}", problem.code(), problem.detail(), problem.errors(), problem.members())
}

#[tokio::test]
async fn an_outsider_is_made_once_and_mended_when_the_issuer_says_so() {
    let bench = Bench::new().await;
    let token = outside(json!({ "email": "Ada@Example.org", "groups": ["agent"] }));
    let ada = bench.authenticate(&token).await.expect("is made");
    assert_eq!(
        (ada.name.as_str(), ada.email.as_deref(), ada.role()),
        ("Ada", Some("ada@example.org"), Some(Role::Agent))
    );
    assert_eq!(bench.authenticate(&token).await.expect("is known").id, ada.id);
    assert_eq!((bench.count_people().await, bench.version(ada.id).await), (1, 1));

    let promoted = outside(json!({ "groups": "admin", "name": "Ada L." }));
    let ada = bench.authenticate(&promoted).await.expect("is known");
    assert_eq!(
        (ada.name.as_str(), ada.email.as_deref(), ada.role()),
        ("Ada L.", Some("ada@example.org"), Some(Role::Admin))
    );
    bench.authenticate(&promoted).await.expect("is known");
    assert_eq!(bench.version(ada.id).await, 2);
}

#[tokio::test]
async fn many_first_requests_make_one_person() {
    let bench = Bench::new().await;
    let token = outside(json!({ "email": "ada@example.org" }));
    let all = futures_util::future::join_all((0..20).map(|_| bench.authenticate(&token))).await;
    let first = all[0].as_ref().expect("is made").id;
    assert!(all.iter().all(|who| who.as_ref().is_ok_and(|who| who.id == first)));
    assert_eq!((bench.count_people().await, bench.version(first).await), (1, 1));
}

#[tokio::test]
async fn an_address_in_a_token_takes_over_nobody() {
    let bench = Bench::new().await;
    let admin = bench.person("boss@example.org", Role::Admin, None).await;
    let taken = outside(json!({ "email": "boss@example.org" }));
    let stranger = bench.authenticate(&taken).await.expect("is made");
    assert_ne!(stranger.id, admin);
    assert_eq!((stranger.email.as_deref(), stranger.role()), (None, Some(Role::Requester)));
    bench.authenticate(&taken).await.expect("is known");
    assert_eq!(bench.version(stranger.id).await, 1, "nothing to write each time");
    let unverified = outside(json!({ "sub": "eve", "email": "eve@example.org", "email_verified": false }));
    assert_eq!(bench.authenticate(&unverified).await.expect("is made").email, None);
}

#[tokio::test]
async fn an_outsider_who_is_not_active_is_refused_and_left_alone() {
    let bench = Bench::new().await;
    let ada = bench.authenticate(&outside(json!({}))).await.expect("is made");
    bench.deactivate(ada.id).await;
    let problem = bench.authenticate(&outside(json!({ "name": "Somebody" }))).await.expect_err("not active");
    assert_eq!(problem.code(), Code::Unauthenticated);
    assert_eq!((bench.count_people().await, bench.version(ada.id).await), (1, 1));
}

#[tokio::test]
async fn without_a_role_claim_the_role_is_ours_to_set() {
    let bench = Bench::with(json!({ "default_role": "agent", "scope_claim": "scope" })).await;
    let token = outside(json!({ "role": "admin", "groups": "admin", "scope": "openid tickets:read admin" }));
    let ada = bench.authenticate(&token).await.expect("is made");
    assert_eq!((ada.role(), ada.scopes.to_string().as_str()), (Some(Role::Agent), "tickets:read"));
    let id = ada.id;
    let promote = async move |tx: &mut crate::db::Conn| {
        let change = principals::role.eq(Role::Admin);
        Ok(on_each!(tx, |c| diesel::update(principals::table.find(id)).set(change).execute(c).await)?)
    };
    bench.db.write(promote).await.expect("is promoted");
    assert_eq!(bench.authenticate(&token).await.expect("is known").role(), Some(Role::Admin));
}

#[tokio::test]
async fn outside_tokens_that_are_not_meant_for_us_are_refused() {
    let bench = Bench::new().await;
    for (bad, code) in [
        (json!({ "iss": "https://other.example" }), Code::Unauthenticated),
        (json!({ "iss": "https://desk.example" }), Code::Unauthenticated),
        (json!({ "iss": ["https://id.example"] }), Code::Unauthenticated),
        (json!({ "aud": "another" }), Code::Unauthenticated),
        (json!({ "sub": "" }), Code::Unauthenticated),
        (json!({ "sub": "x".repeat(256) }), Code::Unauthenticated),
        (json!({ "sub": "a\u{0}b" }), Code::Unauthenticated),
        (json!({ "sub": 7 }), Code::Unauthenticated),
        (json!({ "nbf": 1_750_000_100 }), Code::Unauthenticated),
        (json!({ "exp": null }), Code::Unauthenticated),
        (json!({ "exp": 1_749_999_900 }), Code::TokenExpired),
    ] {
        assert_eq!(bench.authenticate(&outside(bad.clone())).await.expect_err("bad").code(), code, "{bad}");
    }
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["exp".into()]);
    let claims = json!({ "iss": "https://id.example", "aud": "desk", "sub": "ada", "exp": 1_750_000_600 });
    let key = EncodingKey::from_secret(OUTSIDE_SECRET.as_bytes());
    let critical = jsonwebtoken::encode(&header, &claims, &key).expect("a token");
    assert!(bench.authenticate(&critical).await.is_err());
    assert_eq!(bench.count_people().await, 0);
}

#[tokio::test]
async fn our_own_tokens_are_good_until_they_expire_and_no_wider_than_they_say() {
    let bench = Bench::new().await;
    let id = bench.person("ada@example.org", Role::Agent, None).await;
    let mint = |scopes: Option<&str>| {
        let scopes = scopes.map(|words| Scopes::parse(words).expect("scopes"));
        bench.authority.mint(id, scopes, 900, bench.now(), &bench.clock).expect("a token")
    };
    let (wide, narrow) = (mint(None), mint(Some("tickets:read admin")));
    assert_eq!(bench.authenticate(&wide).await.expect("good").scopes, Role::Agent.scopes());
    assert_eq!(bench.authenticate(&narrow).await.expect("good").scopes.to_string(), "tickets:read");
    bench.pass(929);
    assert!(bench.authenticate(&wide).await.is_ok(), "within the leeway");
    bench.pass(1);
    assert_eq!(bench.authenticate(&wide).await.expect_err("too late").code(), Code::TokenExpired);
    let fresh = bench.authority.mint(id, None, 900, bench.now(), &bench.clock).expect("a token");
    bench.deactivate(id).await;
    assert_eq!(bench.authenticate(&fresh).await.expect_err("not active").code(), Code::Unauthenticated);
}

#[tokio::test]
async fn all_bad_passwords_look_the_same() {
    let bench = Bench::new().await;
    bench.person("ada@example.org", Role::Agent, Some(PASSWORD)).await;
    bench.person("bob@example.org", Role::Agent, None).await;
    let gone = bench.person("eve@example.org", Role::Agent, Some(PASSWORD)).await;
    bench.deactivate(gone).await;
    let mut all = Vec::new();
    for (username, password) in [
        ("ada@example.org", "wrong horse battery"),
        ("ada@example.org", ""),
        ("bob@example.org", PASSWORD),
        ("eve@example.org", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("nobody", PASSWORD),
    ] {
        all.push(seen(&bench.grant(by_password(username, password)).await.expect_err("bad")));
    }
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("invalid_grant"));
    let granted = bench.grant(by_password("ADA@example.org", PASSWORD)).await.expect("good");
    assert_eq!((granted.expires_in_s, granted.scopes), (900, Role::Agent.scopes()));
    assert!(bench.authenticate(granted.access_token.reveal()).await.is_ok());
}

#[tokio::test]
async fn a_service_account_gets_exactly_its_scopes_or_fewer() {
    let bench = Bench::new().await;
    let (id, secret) = bench.account("tickets:read tickets:write").await;
    let granted = bench.grant(by_secret(id, secret.reveal())).await.expect("good");
    assert!(granted.refresh_token.is_none());
    let who = bench.authenticate(granted.access_token.reveal()).await.expect("good");
    assert_eq!((who.kind, who.scopes.to_string().as_str()), (Kind::ServiceAccount, "tickets:read tickets:write"));
    let fewer = bench.narrow(by_secret(id, secret.reveal()), Some("tickets:read")).await.expect("good");
    let who = bench.authenticate(fewer.access_token.reveal()).await.expect("good");
    assert_eq!((who.scopes, fewer.scopes), (Scopes::known_in("tickets:read"), Scopes::known_in("tickets:read")));
    let wider = bench.narrow(by_secret(id, secret.reveal()), Some("tickets:read admin")).await.expect_err("too wide");
    assert_eq!((wider.code(), wider.members()["error"].as_str()), (Code::ValidationFailed, Some("invalid_scope")));

    let person = bench.person("ada@example.org", Role::Admin, Some(PASSWORD)).await;
    let mut all = Vec::new();
    for (id, secret) in
        [(id.to_string(), "sks_wrong"), (id.to_string(), ""), (person.to_string(), PASSWORD), ("x".into(), "y")]
    {
        all.push(seen(&bench.grant(by_secret(id, secret)).await.expect_err("bad")));
    }
    bench.deactivate(id).await;
    all.push(seen(&bench.grant(by_secret(id, secret.reveal())).await.expect_err("revoked")));
    all.dedup();
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("invalid_client"));
    assert!(bench.authenticate(granted.access_token.reveal()).await.is_err());
}

#[tokio::test]
async fn a_refresh_token_is_good_once_and_its_reuse_ends_the_login() {
    let bench = Bench::new().await;
    bench.person("ada@example.org", Role::Agent, Some(PASSWORD)).await;
    let first = bench.grant(by_password("ada@example.org", PASSWORD)).await.expect("good");
    let other_login = bench.grant(by_password("ada@example.org", PASSWORD)).await.expect("good");
    let second = bench.grant(by_refresh(&first)).await.expect("good once");
    let third = bench.grant(by_refresh(&second)).await.expect("good once");
    let reuse = bench.grant(by_refresh(&first)).await.expect_err("stolen");
    assert_eq!((reuse.code(), reuse.members()["error"].as_str()), (Code::Unauthenticated, Some("invalid_grant")));
    let revoked = bench.grant(by_refresh(&third)).await.expect_err("of a revoked family");
    let unknown = bench.grant(Grant::RefreshToken(Secret::new("skr_unknown".into()))).await.expect_err("unknown");
    assert_eq!(seen(&reuse), seen(&revoked));
    assert_eq!(seen(&reuse), seen(&unknown));
    assert!(bench.grant(by_refresh(&other_login)).await.is_ok());
}

#[tokio::test]
async fn of_many_who_hold_one_refresh_token_at_most_one_gets_in() {
    let bench = Bench::new().await;
    bench.person("ada@example.org", Role::Agent, Some(PASSWORD)).await;
    let login = bench.grant(by_password("ada@example.org", PASSWORD)).await.expect("good");
    let all = futures_util::future::join_all((0..10).map(|_| bench.grant(by_refresh(&login)))).await;
    let mut good = all.iter().filter_map(|granted| granted.as_ref().ok());
    let (Some(winner), None) = (good.next(), good.next()) else { panic!("one of them, not {all:?}") };
    assert!(bench.grant(by_refresh(winner)).await.is_err(), "the family is revoked");
}

#[tokio::test]
async fn refresh_tokens_expire_narrow_and_end_with_their_person() {
    let bench = Bench::new().await;
    let ada = bench.person("ada@example.org", Role::Agent, Some(PASSWORD)).await;
    let log_in = async |scopes| bench.narrow(by_password("ada@example.org", PASSWORD), scopes).await.expect("good");

    let narrow = log_in(Some("tickets:read tickets:write")).await;
    let wider = bench.narrow(by_refresh(&narrow), Some("comments:read")).await.expect_err("too wide");
    assert_eq!(wider.code(), Code::ValidationFailed);
    let narrower = bench.narrow(by_refresh(&narrow), Some("tickets:read")).await.expect("a mistake costs nothing");
    assert_eq!(narrower.scopes.to_string(), "tickets:read");
    let again = bench.grant(by_refresh(&narrower)).await.expect("good");
    assert_eq!(again.scopes.to_string(), "tickets:read tickets:write", "the login keeps its scopes");

    let (kept, left) = (log_in(None).await, log_in(None).await);
    bench.pass(30 * 24 * 3600 - 1);
    bench.grant(by_refresh(&kept)).await.expect("just in time");
    bench.pass(1);
    assert!(bench.grant(by_refresh(&left)).await.is_err(), "expired");
    let now = bench.now();
    assert!(bench.db.write(async move |tx| grants::sweep(tx, now).await).await.expect("sweeps") >= 5);
    let count = async |conn: &mut crate::db::Conn| {
        Ok(on_each!(conn, |c| refresh_tokens::table.count().get_result::<i64>(c).await)?)
    };
    assert_eq!(bench.db.read(count).await.expect("counts"), 1);

    let last = log_in(None).await;
    bench.deactivate(ada).await;
    assert!(bench.grant(by_refresh(&last)).await.is_err());
    let hash = credential::fingerprint(last.refresh_token.expect("a token").reveal());
    let row = bench.db.read(async |conn| store::refresh_token(conn, &hash).await).await.expect("reads");
    assert!(row.is_some_and(|row| row.revoked_at.is_some()), "and stays refused if they come back");
}
