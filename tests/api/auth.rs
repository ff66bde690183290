//! Tokens of our own: how to get them, what they are good for, and every token that is not good.

use std::fmt::Display;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use aws_lc_rs::{digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use futures::future::{join, join_all};
use reqwest::Method;
use serde_json::{Value, json};
use skranke::auth::keys::{SigningKey, SigningKeys};
use skranke::auth::password::{Party, Password};
use skranke::auth::service::Authority;
use skranke::http::origin::Origin;

use crate::on_both;
use crate::support::{Answer, Ask, Caller, Desk};

const PASSWORD: &str = "correct horse battery";

/// A form (`application/x-www-form-urlencoded`).
fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

fn token_at(desk: &Desk, url: &str, fields: &[(&str, &str)]) -> Ask {
    desk.ask_at(url, Method::POST, "/v1/auth/token").raw("application/x-www-form-urlencoded", form(fields))
}

fn token(desk: &Desk, fields: &[(&str, &str)]) -> Ask {
    token_at(desk, &desk.url, fields)
}

fn log_in(desk: &Desk, email: &str, password: &str) -> Ask {
    token(desk, &[("grant_type", "password"), ("username", email), ("password", password)])
}

fn refresh(desk: &Desk, refresh_token: &str) -> Ask {
    token(desk, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)])
}

fn by_secret(desk: &Desk, id: &str, secret: &str) -> Ask {
    token(desk, &[("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)])
}

/// A person who logs in with `PASSWORD`; gives the id.
async fn person(desk: &Desk, admin: &Caller, email: &str, role: &str) -> String {
    let body = json!({ "name": "Ada", "email": email, "role": role, "password": PASSWORD });
    text(&desk.post("/v1/users").by(admin).json(&body).expect(201).await, "id")
}

/// A service account; gives its id and secret.
async fn account(desk: &Desk, admin: &Caller, scopes: &[&str]) -> (String, String) {
    let body = json!({ "name": "night watch", "scopes": scopes });
    let made = desk.post("/v1/service-accounts").by(admin).json(&body).expect(201).await;
    (text(&made, "id"), text(&made, "secret"))
}

fn text(answer: &Answer, name: &str) -> String {
    answer.body[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", answer.text())).to_owned()
}

async fn me(desk: &Desk, token: &str) -> Value {
    desk.get("/v1/me").token(token).expect(200).await.body
}

/// All that a caller sees of an answer, but for the date and a list that each worker writes in an order of its own.
fn seen(answer: &Answer) -> (u16, Vec<(String, String)>, String) {
    let headers = answer.headers.iter().filter(|(name, _)| *name != "date" && *name != "access-control-expose-headers");
    let mut headers: Vec<_> =
        headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    headers.sort();
    (answer.status.as_u16(), headers, answer.text())
}

/// A JWT with any header and claims, and whatever signature `sign` gives.
pub fn jwt(header: impl Display, claims: impl Display, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let encode = |part: String| URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

/// `base` with `changes`; null removes.
pub fn with(base: &Value, changes: Value) -> Value {
    let mut all = base.clone();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(all.as_object_mut().unwrap().remove(name)),
            value => all[name] = value.clone(),
        }
    }
    all
}

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

fn new_key() -> SigningKey {
    SigningKey::from_pem(SigningKey::generate_pem().unwrap().reveal()).unwrap()
}

/// Another instance's copy of a key.
pub fn copy_of(key: &SigningKey) -> SigningKey {
    SigningKey::from_pem(&pem("PRIVATE KEY", key.seed())).unwrap()
}

fn pair_of(key: &SigningKey) -> Ed25519KeyPair {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.seed()).unwrap()
}

on_both! {
    async fn a_person_logs_in_with_a_password(desk) {
        let admin = desk.admin().await;
        let id = person(desk, &admin, "ada@example.org", "agent").await;
        let granted = log_in(desk, "ADA@example.org", PASSWORD).expect(200).await;
        assert_eq!((granted.header("cache-control"), granted.header("pragma")), (Some("no-store"), Some("no-cache")));
        assert_eq!((&granted.body["token_type"], &granted.body["expires_in"]), (&json!("Bearer"), &json!(900)));
        let scopes = "tickets:read tickets:write comments:read comments:write internal:read metrics:read";
        assert_eq!(granted.body["scope"], scopes);
        assert!(text(&granted, "refresh_token").starts_with("skr_"));
        let access = text(&granted, "access_token");
        assert_eq!(
            me(desk, &access).await,
            json!({
                "id": id, "kind": "person", "name": "Ada", "email": "ada@example.org", "role": "agent",
                "scopes": scopes.split(' ').collect::<Vec<_>>(), "teams": [],
            })
        );
        // The token is good for as long as was said, to the second.
        desk.clock.pass_s(899);
        me(desk, &access).await;
        desk.clock.pass_s(1);
        let refused = desk.get("/v1/me").token(&access).refused(401, "token_expired").await;
        assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"skranke\", error=\"invalid_token\""));
    }

    async fn a_token_is_narrowed_to_what_was_asked_for(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "requester").await;
        let login = [("grant_type", "password"), ("username", "ada@example.org"), ("password", PASSWORD)];
        let wanting = |scope| token(desk, &[&login[..], &[("scope", scope)]].concat());
        // Any order, twice, and any number of spaces.
        let narrow = wanting("  tickets:write   tickets:read tickets:write ").expect(200).await;
        assert_eq!(narrow.body["scope"], "tickets:read tickets:write");
        let access = text(&narrow, "access_token");
        assert_eq!(me(desk, &access).await["scopes"], json!(["tickets:read", "tickets:write"]));
        let created = desk.post("/v1/tickets").token(&access).json(&json!({ "subject": "s" })).expect(201).await;
        let comments = format!("{}/comments", created.header("location").unwrap());
        let refused = desk.get(&comments).token(&access).refused(403, "insufficient_scope").await;
        assert_eq!(
            refused.header("www-authenticate"),
            Some("Bearer realm=\"skranke\", error=\"insufficient_scope\", scope=\"comments:read\"")
        );
        for (scope, word) in [
            ("internal:read", "invalid_scope"),
            ("tickets:read admin", "invalid_scope"),
            ("tickets:delete", "invalid_scope"),
            ("Tickets:Read", "invalid_scope"),
            ("tickets:read,tickets:write", "invalid_scope"),
            (" ", "invalid_scope"),
        ] {
            let refused = wanting(scope).refused(422, "validation_failed").await;
            assert_eq!((&refused.body["error"], refused.pointers()), (&json!(word), vec!["/scope"]), "{scope}");
        }
        // A login stays as narrow as it began, and one refresh may be narrower still.
        let refreshing = |token_: &str, scope| {
            token(desk, &[("grant_type", "refresh_token"), ("refresh_token", token_), ("scope", scope)])
        };
        let first = text(&narrow, "refresh_token");
        refreshing(&first, "comments:read").refused(422, "validation_failed").await;
        let narrower = refreshing(&first, "tickets:read").expect(200).await;
        assert_eq!(me(desk, &text(&narrower, "access_token")).await["scopes"], json!(["tickets:read"]));
        let again = refresh(desk, &text(&narrower, "refresh_token")).expect(200).await;
        assert_eq!(again.body["scope"], "tickets:read tickets:write");
    }

    async fn a_service_account_gets_a_token_by_its_secret(desk) {
        let admin = desk.admin().await;
        let (id, secret) = account(desk, &admin, &["metrics:read", "tickets:write"]).await;
        let basic = |pair: String| {
            token(desk, &[("grant_type", "client_credentials")]).header("authorization", &format!("Basic {}", STANDARD.encode(pair)))
        };
        for ask in [by_secret(desk, &id, &secret), basic(format!("{id}:{secret}"))] {
            let granted = ask.expect(200).await;
            assert_eq!((&granted.body["expires_in"], &granted.body["scope"]), (&json!(900), &json!("tickets:write metrics:read")));
            assert!(granted.body.get("refresh_token").is_none());
            assert_eq!(granted.header("cache-control"), Some("no-store"));
            assert_eq!(
                me(desk, &text(&granted, "access_token")).await,
                json!({
                    "id": id, "kind": "service_account", "name": "night watch", "email": null, "role": null,
                    "scopes": ["tickets:write", "metrics:read"], "teams": [],
                })
            );
        }
        let fewer = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret), ("scope", "metrics:read")];
        let granted = token(desk, &fewer).expect(200).await;
        assert_eq!(me(desk, &text(&granted, "access_token")).await["scopes"], json!(["metrics:read"]));
        // An account has no role: what it does not hold, nobody can ask for.
        let wider = [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret), ("scope", "tickets:read")];
        assert_eq!(token(desk, &wider).refused(422, "validation_failed").await.body["error"], "invalid_scope");

        // Whatever is wrong, the answer is one and the same.
        let ada = person(desk, &admin, "ada@example.org", "admin").await;
        let (gone, gone_secret) = {
            let body = json!({ "name": "gone", "scopes": ["tickets:read"] });
            let made = desk.post("/v1/service-accounts").by(&admin).json(&body).expect(201).await;
            (text(&made, "id"), text(&made, "secret"))
        };
        desk.delete(&format!("/v1/service-accounts/{gone}")).by(&admin).expect(204).await;
        let truncated = &secret[..secret.len() - 1];
        let mut answers = Vec::new();
        for ask in [
            by_secret(desk, &id, "sks_wrong"),
            by_secret(desk, &id, truncated),
            by_secret(desk, &id, &format!("{secret} ")),
            by_secret(desk, &gone, &gone_secret),
            by_secret(desk, &gone, &secret),
            by_secret(desk, &ada, PASSWORD),
            by_secret(desk, "019a2f4e-7c1b-7d3e-8f00-1234567890ab", &secret),
            by_secret(desk, "night watch", &secret),
            by_secret(desk, "' OR '1'='1", &secret),
            basic(format!("{id}:wrong")),
            basic(format!("{id}:")),
            basic(":".into()),
            basic("no colon".into()),
            token(desk, &[("grant_type", "client_credentials")]).header("authorization", "Basic !"),
            token(desk, &[("grant_type", "client_credentials")]).header("authorization", "Bearer x"),
            basic(format!("{id}:{secret}")).header("authorization", "Basic eDp5"),
        ] {
            answers.push(seen(&ask.header("x-request-id", "r").refused(401, "unauthenticated").await));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let headers = &answers[0].1;
        assert!(headers.contains(&("www-authenticate".into(), "Basic realm=\"skranke\", charset=\"UTF-8\"".into())), "{headers:?}");
    }

    async fn a_rotated_or_revoked_secret_is_no_longer_good(desk) {
        let admin = desk.admin().await;
        let (id, first) = account(desk, &admin, &["tickets:read"]).await;
        let access = text(&by_secret(desk, &id, &first).expect(200).await, "access_token");
        let second = text(&desk.post(&format!("/v1/service-accounts/{id}/secret")).by(&admin).expect(200).await, "secret");
        by_secret(desk, &id, &first).refused(401, "unauthenticated").await;
        by_secret(desk, &id, &second).expect(200).await;
        // Fewer scopes hold from the next request on, also for tokens that were given before.
        me(desk, &access).await;
        desk.patch(&format!("/v1/service-accounts/{id}")).by(&admin).json(&json!({ "scopes": ["metrics:read"] })).expect(200).await;
        let narrowed = desk.narrowed(&Caller { id: id.clone(), name: String::new(), token: String::new() }, "tickets:read");
        assert_eq!(me(desk, &narrowed.token).await["scopes"], json!([]));
        desk.get("/v1/tickets").token(&access).refused(403, "insufficient_scope").await;
        desk.delete(&format!("/v1/service-accounts/{id}")).by(&admin).expect(204).await;
        by_secret(desk, &id, &second).refused(401, "unauthenticated").await;
        desk.get("/v1/me").token(&access).refused(401, "unauthenticated").await;
    }

    async fn all_failed_logins_look_the_same(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "agent").await;
        let eve = person(desk, &admin, "eve@example.org", "agent").await;
        desk.patch(&format!("/v1/users/{eve}")).by(&admin).json(&json!({ "active": false })).expect(200).await;
        let bob = json!({ "name": "Bob", "email": "bob@example.org", "role": "agent" });
        desk.post("/v1/users").by(&admin).json(&bob).expect(201).await;
        let (long, longest) = ("x".repeat(300), "x".repeat(16_000));
        let mut answers = Vec::new();
        for (email, password) in [
            ("ada@example.org", "wrong horse battery"),
            ("ada@example.org", "Correct horse battery"),
            ("ada@example.org", "correct horse battery "),
            ("ada@example.org", "x"),
            ("ada@example.org", &long),
            ("ada@example.org", &longest),
            ("bob@example.org", PASSWORD),
            ("eve@example.org", PASSWORD),
            ("eve@example.org", "wrong horse battery"),
            ("nobody@example.org", PASSWORD),
            ("nobody", PASSWORD),
            ("ada@example.org' --", PASSWORD),
            (&longest, PASSWORD),
        ] {
            answers.push(seen(&log_in(desk, email, password).header("x-request-id", "r").refused(401, "unauthenticated").await));
        }
        for token in ["skr_unknown", "x", &longest] {
            answers.push(seen(&refresh(desk, token).header("x-request-id", "r").refused(401, "unauthenticated").await));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        let body: Value = serde_json::from_str(&answers[0].2).unwrap();
        assert_eq!((&body["error"], &body["error_description"]), (&json!("invalid_grant"), &json!("These credentials are not valid.")));
        assert!(answers[0].1.contains(&("www-authenticate".into(), "Bearer realm=\"skranke\"".into())));
        // Nobody whom we do not know fills the memory.
        log_in(desk, "ada@example.org", &"x".repeat(17_000)).refused(413, "body_too_large").await;
        log_in(desk, "ada@example.org", PASSWORD).expect(200).await;
    }

    /// No clock can show this reliably. But when all turns at the hashing are taken, whoever is told to come back was
    /// on the way to one: so a login with an unknown name hashes as one with a wrong password does.
    async fn every_login_hashes_a_password_whoever_it_names(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "agent").await;
        let eve = person(desk, &admin, "eve@example.org", "agent").await;
        desk.patch(&format!("/v1/users/{eve}")).by(&admin).json(&json!({ "active": false })).expect(200).await;
        let bob = json!({ "name": "Bob", "email": "bob@example.org", "role": "agent" });
        desk.post("/v1/users").by(&admin).json(&bob).expect(201).await;
        let (id, secret) = account(desk, &admin, &["tickets:read"]).await;

        // Two are at work, all others wait; when those two are done, the next ones have their turns and never use them.
        let passwords = &desk.authority.passwords;
        let some = Password::parse("a password of somebody".into()).unwrap();
        let mut waiting = Vec::new();
        let mut n = 0;
        let mut fill = |waiting: &mut Vec<_>| {
            loop {
                // Each from an address of its own, so that none makes room for another.
                n += 1;
                let party = Party::Origin(Origin::Address(std::net::Ipv4Addr::from_bits(n).into()));
                let mut one = Box::pin(passwords.hash(party, &some));
                match futures::FutureExt::now_or_never(&mut one) {
                    Some(outcome) => return assert!(outcome.is_err(), "sent away"),
                    None => waiting.push(one),
                }
            }
        };
        fill(&mut waiting);
        for at_work in waiting.drain(..2).collect::<Vec<_>>() {
            at_work.await.unwrap();
        }
        fill(&mut waiting);

        let mut answers = Vec::new();
        for (email, password) in [
            ("ada@example.org", PASSWORD),
            ("ada@example.org", "wrong horse battery"),
            ("bob@example.org", PASSWORD),
            ("eve@example.org", PASSWORD),
            ("nobody@example.org", PASSWORD),
            ("nobody", PASSWORD),
        ] {
            let refused = log_in(desk, email, password).header("x-request-id", "r").refused(503, "unavailable").await;
            assert_eq!(refused.header("retry-after"), Some("1"));
            answers.push(seen(&refused));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        // Nobody else suffers from a flood of logins.
        by_secret(desk, &id, &secret).expect(200).await;
        me(desk, &admin.token).await;
        drop(waiting);
        log_in(desk, "ada@example.org", PASSWORD).expect(200).await;
    }

    async fn forms_that_cannot_be_read_are_told_precisely(desk) {
        let path = "/v1/auth/token";
        let form_type = "application/x-www-form-urlencoded";
        for (body, word, pointers) in [
            ("", "invalid_request", vec!["/grant_type"]),
            ("grant_type=", "invalid_request", vec!["/grant_type"]),
            ("grant_type", "invalid_request", vec!["/grant_type"]),
            ("{\"grant_type\":\"password\"}", "invalid_request", vec!["/grant_type"]),
            ("grant_type=implicit", "unsupported_grant_type", vec!["/grant_type"]),
            ("grant_type=Password", "unsupported_grant_type", vec!["/grant_type"]),
            ("grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type", vec!["/grant_type"]),
            ("grant_type=password", "invalid_request", vec!["/password", "/username"]),
            ("grant_type=password&username=a&password=", "invalid_request", vec!["/password"]),
            ("grant_type=password&password=a", "invalid_request", vec!["/username"]),
            ("grant_type=refresh_token", "invalid_request", vec!["/refresh_token"]),
            ("grant_type=client_credentials", "invalid_request", vec!["/client_id", "/client_secret"]),
            ("grant_type=client_credentials&client_id=a", "invalid_request", vec!["/client_secret"]),
            ("grant_type=password&grant_type=password&username=a&password=b", "invalid_request", vec!["/grant_type"]),
            ("grant_type=password&username=a%00&password=b", "invalid_request", vec!["/username"]),
            ("grant_type=password&username=a&password=%00", "invalid_request", vec!["/password"]),
            ("grant_type=password&username=%ff&password=%ed%a0%80", "invalid_request", vec!["/password", "/username"]),
            ("grant_type=password%00", "invalid_request", vec!["/grant_type"]),
            ("grant_type=password&username=a&password=b&x%00=c", "invalid_request", vec!["/x?"]),
            ("grant_type=password&username=a&password=b&scope=fly", "invalid_scope", vec!["/scope"]),
        ] {
            let refused = desk.post(path).raw(form_type, body).refused(422, "validation_failed").await;
            assert_eq!((&refused.body["error"], refused.pointers()), (&json!(word), pointers), "{body}");
            assert!(refused.body["error_description"].is_string());
            assert_eq!(refused.header("cache-control"), Some("no-store"));
        }
        let twice = desk.post(path).raw(form_type, "grant_type=client_credentials&client_secret=s").header("authorization", "Basic YTpi");
        assert_eq!(twice.refused(422, "validation_failed").await.pointers(), ["/client_secret"]);
        for content_type in ["application/json", "multipart/form-data; boundary=x", "text/plain", "application/x-www-form-urlencoded; charset=latin1"] {
            let body = "grant_type=password&username=a&password=b";
            desk.post(path).raw(content_type, body).refused(415, "unsupported_media_type").await;
        }
        desk.post(path).refused(415, "unsupported_media_type").await;
        let large = format!("grant_type=password&username=a&password={}", "x".repeat(600_000));
        desk.post(path).raw(form_type, large).refused(413, "body_too_large").await;
        desk.post("/v1/auth/token?grant_type=password").raw(form_type, "grant_type=password").refused(400, "invalid_query").await;
        desk.get(path).refused(405, "method_not_allowed").await;
        // Parameters that are not known are ignored (RFC 6749, 3.2), and so is a header that the grant does not use.
        let unknown = [("grant_type", "password"), ("username", "a"), ("password", "b"), ("audience", "c")];
        let refused = token(desk, &unknown).header("authorization", "Basic Og==").refused(401, "unauthenticated").await;
        assert_eq!(refused.body["error"], "invalid_grant");
    }

    async fn a_refresh_token_that_comes_back_ends_the_whole_login(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "agent").await;
        let other = desk.another_instance();
        let log_in = async || text(&log_in(desk, "ada@example.org", PASSWORD).expect(200).await, "refresh_token");
        let (first, another_login) = (log_in().await, log_in().await);
        let rotated = refresh(desk, &first).expect(200).await;
        assert_eq!(rotated.header("cache-control"), Some("no-store"));
        let (second, access) = (text(&rotated, "refresh_token"), text(&rotated, "access_token"));
        assert_ne!(first, second);
        me(desk, &access).await;
        let reuse = [("grant_type", "refresh_token"), ("refresh_token", first.as_str())];
        assert_eq!(token_at(desk, &other, &reuse).refused(401, "unauthenticated").await.body["error"], "invalid_grant");
        refresh(desk, &second).refused(401, "unauthenticated").await;
        refresh(desk, &another_login).expect(200).await;
    }

    async fn of_two_who_use_one_refresh_token_at_once_at_most_one_gets_in(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "agent").await;
        let other = desk.another_instance();
        for _ in 0..5 {
            let shared = text(&log_in(desk, "ada@example.org", PASSWORD).expect(200).await, "refresh_token");
            let fields = [("grant_type", "refresh_token"), ("refresh_token", shared.as_str())];
            let answers = join_all((0..4).map(|n| token_at(desk, if n % 2 == 0 { &desk.url } else { &other }, &fields).send())).await;
            let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
            statuses.sort_unstable();
            assert_eq!(statuses, [200, 401, 401, 401]);
            let winner = answers.iter().find(|answer| answer.status == 200).unwrap();
            refresh(desk, &text(winner, "refresh_token")).refused(401, "unauthenticated").await;
        }
    }

    async fn refresh_tokens_expire_an_hour_after_their_last_use(desk) {
        let admin = desk.admin().await;
        person(desk, &admin, "ada@example.org", "agent").await;
        let granted = log_in(desk, "ada@example.org", PASSWORD).expect(200).await;
        desk.clock.pass_s(3599);
        let kept = text(&refresh(desk, &text(&granted, "refresh_token")).expect(200).await, "refresh_token");
        desk.clock.pass_s(3599);
        let kept = text(&refresh(desk, &kept).expect(200).await, "refresh_token");
        desk.clock.pass_s(3600);
        refresh(desk, &kept).refused(401, "unauthenticated").await;
    }

    async fn whoever_is_deactivated_or_changed_must_log_in_again(desk) {
        let admin = desk.admin().await;
        let ada = person(desk, &admin, "ada@example.org", "agent").await;
        let path = format!("/v1/users/{ada}");
        let log_in = async |password| {
            let granted = log_in(desk, "ada@example.org", password).expect(200).await;
            (text(&granted, "access_token"), text(&granted, "refresh_token"))
        };
        // A lower role holds at once.
        let (access, token) = log_in(PASSWORD).await;
        desk.patch(&path).by(&admin).json(&json!({ "role": "requester" })).expect(200).await;
        assert_eq!(me(desk, &access).await["scopes"], json!(["tickets:read", "tickets:write", "comments:read", "comments:write"]));
        refresh(desk, &token).refused(401, "unauthenticated").await;
        // Another password ends all logins.
        let (_, token) = log_in(PASSWORD).await;
        desk.patch(&path).by(&admin).json(&json!({ "password": "another horse battery" })).expect(200).await;
        refresh(desk, &token).refused(401, "unauthenticated").await;
        let (access, token) = log_in("another horse battery").await;
        desk.patch(&path).by(&admin).json(&json!({ "active": false })).expect(200).await;
        desk.get("/v1/me").token(&access).refused(401, "unauthenticated").await;
        refresh(desk, &token).refused(401, "unauthenticated").await;
        // Coming back is not going on: the tokens that were given are good again, the login is not.
        desk.patch(&path).by(&admin).json(&json!({ "active": true })).expect(200).await;
        refresh(desk, &token).refused(401, "unauthenticated").await;
        let (access, token) = log_in("another horse battery").await;
        desk.delete(&path).by(&admin).expect(204).await;
        desk.get("/v1/me").token(&access).refused(401, "unauthenticated").await;
        refresh(desk, &token).refused(401, "unauthenticated").await;
    }

    async fn a_login_that_races_a_new_password_does_not_survive_it(desk) {
        let admin = desk.admin().await;
        let ada = person(desk, &admin, "ada@example.org", "agent").await;
        let (path, other) = (format!("/v1/users/{ada}"), desk.another_instance());
        let passwords = ["first horse battery", "second horse battery"];
        desk.patch(&path).by(&admin).json(&json!({ "password": passwords[0] })).expect(200).await;
        for round in 0..10 {
            let fields = [("grant_type", "password"), ("username", "ada@example.org"), ("password", passwords[round % 2])];
            let change = json!({ "password": passwords[(round + 1) % 2] });
            let change = desk.patch(&path).by(&admin).json(&change).expect(200);
            let logins = (0..3).map(|_| token_at(desk, &other, &fields).send());
            let (logins, _) = join(join_all(logins), change).await;
            for login in logins {
                match login.status.as_u16() {
                    200 => drop(refresh(desk, &text(&login, "refresh_token")).refused(401, "unauthenticated").await),
                    status => assert_eq!(status, 401),
                }
            }
        }
    }

    async fn whoever_is_put_out_is_refused_by_every_instance_at_once(desk) {
        let admin = desk.admin().await;
        let other = desk.another_instance();
        let (ada, script) = (desk.agent().await, desk.account("tickets:read").await);
        let both = async |caller: &Caller, status| {
            for url in [&other, &desk.url] {
                let answer = desk.ask_at(url, Method::GET, "/v1/me").by(caller).expect(status).await;
                assert!(status == 200 || answer.body["code"] == "unauthenticated");
            }
        };
        both(&ada, 200).await;
        both(&script, 200).await;
        desk.patch(&format!("/v1/users/{}", ada.id)).by(&admin).json(&json!({ "active": false })).expect(200).await;
        both(&ada, 401).await;
        desk.delete(&format!("/v1/service-accounts/{}", script.id)).by(&admin).expect(204).await;
        both(&script, 401).await;
        // And the other way round.
        desk.ask_at(&other, Method::PATCH, &format!("/v1/users/{}", ada.id)).by(&admin).json(&json!({ "active": true })).expect(200).await;
        both(&ada, 200).await;
        desk.ask_at(&other, Method::DELETE, &format!("/v1/users/{}", ada.id)).by(&admin).expect(204).await;
        both(&ada, 401).await;
    }

    async fn keys_rotate_without_anybody_being_put_out(desk) {
        let admin = desk.admin().await;
        let id = person(desk, &admin, "ada@example.org", "agent").await;
        let login = log_in(desk, "ada@example.org", PASSWORD).expect(200).await;
        let old_token = text(&login, "access_token");
        let (old, new) = (desk.authority.keys.signer(), new_key());
        let instance = |keys: SigningKeys| {
            let authority = &desk.authority;
            let authority = Authority::new(keys, authority.issuer.clone(), authority.audience.clone(), authority.lifetimes, &[]);
            desk.instance_with(|mut settings| {
                settings.authority = authority.unwrap().into();
                settings
            })
        };
        let before = instance(SigningKeys::new(copy_of(old), Some(copy_of(&new))));
        let during = instance(SigningKeys::new(copy_of(&new), Some(copy_of(old))));
        let after = instance(SigningKeys::new(copy_of(&new), None));
        let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
        let me = async |url: &str, token: &str, status| desk.ask_at(url, Method::GET, "/v1/me").token(token).expect(status).await;

        // A login outlives the key that its access tokens were signed with.
        let fields = [("grant_type", "refresh_token"), ("refresh_token", &text(&login, "refresh_token"))];
        let new_token = text(&token_at(desk, &during, &fields).expect(200).await, "access_token");
        assert_eq!((kid(&old_token), kid(&new_token)), (old.kid.clone(), new.kid.clone()));
        for url in [&before, &during] {
            assert_eq!(me(url, &old_token, 200).await.body["id"], id.as_str());
            assert_eq!(me(url, &new_token, 200).await.body["id"], id.as_str());
        }
        assert_eq!(me(&after, &new_token, 200).await.body["id"], id.as_str());
        assert_eq!(me(&after, &old_token, 401).await.body["code"], "unauthenticated");
        assert_eq!(me(&desk.url, &new_token, 401).await.body["code"], "unauthenticated");

        for (url, kids) in [(&desk.url, vec![&old.kid]), (&before, vec![&old.kid, &new.kid]), (&during, vec![&new.kid, &old.kid]), (&after, vec![&new.kid])] {
            let set = desk.ask_at(url, Method::GET, "/.well-known/jwks.json").expect(200).await;
            assert_eq!(set.header("cache-control"), Some("public, max-age=300"));
            let keys = set.body["keys"].as_array().unwrap();
            assert_eq!(keys.iter().map(|key| key["kid"].as_str().unwrap()).collect::<Vec<_>>(), kids);
            for key in keys {
                // Nothing but the public part.
                let mut names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
                names.sort_unstable();
                assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
                assert_eq!((&key["kty"], &key["crv"], &key["alg"], &key["use"]), (&json!("OKP"), &json!("Ed25519"), &json!("EdDSA"), &json!("sig")));
                let thumbprint = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":{}}}"#, key["x"]);
                let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, thumbprint.as_bytes()));
                assert_eq!(key["kid"], thumbprint, "RFC 7638");
            }
        }
        // Anybody can verify a token with what is published.
        let set = desk.ask_at(&during, Method::GET, "/.well-known/jwks.json").expect(200).await;
        let set: jsonwebtoken::jwk::JwkSet = serde_json::from_value(set.body).unwrap();
        for token in [&old_token, &new_token] {
            let key = jsonwebtoken::DecodingKey::from_jwk(set.find(&kid(token)).unwrap()).unwrap();
            let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::EdDSA);
            rules.set_audience(&["skranke"]);
            rules.set_issuer(&["skranke"]);
            rules.validate_exp = false;
            let verified = jsonwebtoken::decode::<Value>(token, &key, &rules).unwrap();
            assert_eq!((verified.header.typ.as_deref(), &verified.claims["sub"]), (Some("at+jwt"), &json!(id)));
        }
    }

    async fn no_forged_token_gets_in(desk) {
        let (ada, admin) = (desk.agent().await, desk.admin().await);
        let key = desk.authority.keys.signer();
        let (ours, theirs) = (pair_of(key), Ed25519KeyPair::generate().unwrap());
        let by_us = |message: &[u8]| ours.sign(message).as_ref().to_vec();
        let by_them = |message: &[u8]| theirs.sign(message).as_ref().to_vec();
        let now = desk.clock.now().seconds();
        let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": key.kid });
        let claims = json!({
            "iss": "skranke", "aud": "skranke", "sub": ada.id, "iat": now, "nbf": now, "exp": now + 900,
            "jti": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
        });
        let head = |changes: Value| jwt(with(&header, changes), &claims, by_us);
        let claim = |changes: Value| jwt(&header, with(&claims, changes), by_us);
        // Claims that serde_json would not write.
        let raw = |from: &str, to: &str| {
            let (from, text) = (from.replace("NOW", &now.to_string()), claims.to_string());
            assert!(text.contains(&from), "{text}");
            jwt(&header, text.replace(&from, to), by_us)
        };
        let good = jwt(&header, &claims, by_us);
        let parts: Vec<&str> = good.split('.').collect();
        let [first, second, third] = parts[..] else { unreachable!() };

        // What is good is good: else the table below would prove nothing.
        let at_most = |n: usize| claim(json!({ "padding": "x".repeat(n) }));
        let longest = (5500..6500).rev().map(at_most).find(|token| token.len() <= 8192).unwrap();
        assert!(longest.len() > 8190);
        let elsewhere = json!({ "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert" });
        let embedded = json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(theirs.public_key().as_ref()) } });
        for (what, token) in [
            ("as it is", good.clone()),
            ("aud is a list with ours", claim(json!({ "aud": ["other", "skranke"] }))),
            ("exp is a float", claim(json!({ "exp": now as f64 + 1.5 }))),
            ("exp is far away", claim(json!({ "exp": 9_000_000_000_000_000_000i64 }))),
            ("in its last second", claim(json!({ "exp": now + 1 }))),
            ("valid in a moment", claim(json!({ "nbf": now + 30 }))),
            ("no nbf, iat, jti", claim(json!({ "nbf": null, "iat": null, "jti": null }))),
            ("its type in full", head(json!({ "typ": "application/AT+JWT" }))),
            ("issued in a moment", claim(json!({ "iat": now + 30 }))),
            ("8 KiB", longest),
            ("keys elsewhere, signed by us", head(elsewhere.clone())),
            ("a key in it, signed by us", head(embedded.clone())),
        ] {
            let answer = desk.get("/v1/me").token(&token).send().await;
            assert_eq!((answer.status.as_u16(), answer.body["id"].as_str()), (200, Some(ada.id.as_str())), "{what}");
        }
        desk.get("/v1/me").header("authorization", &format!("bearer  {good} ")).expect(200).await;

        let mac = |secret: &[u8]| {
            let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
            jwt(with(&header, json!({ "alg": "HS256" })), &claims, move |message| hmac::sign(&secret, message).as_ref().to_vec())
        };
        let public = ours.public_key();
        let spki: PublicKeyX509Der<'_> = public.as_der().unwrap();
        let x = URL_SAFE_NO_PAD.encode(public.as_ref());
        let jwk = desk.get("/.well-known/jwks.json").expect(200).await.body["keys"][0].to_string();
        let pem = pem("PUBLIC KEY", spki.as_ref());

        let mut rows: Vec<(String, Vec<String>, &str)> = Vec::new();
        let mut row = |what: &str, headers: &[&str], code| rows.push((what.into(), headers.iter().map(|h| (*h).to_owned()).collect(), code));
        let bearer = |token: &str| format!("Bearer {token}");
        let untrusted = "unauthenticated";

        row("no header", &[], untrusted);
        row("two headers", &[&bearer(&good), &bearer(&good)], untrusted);
        row("two tokens", &[&format!("Bearer {good}, Bearer {good}")], untrusted);
        row("no scheme", &[&good], untrusted);
        row("Basic", &[&format!("Basic {}", STANDARD.encode(format!("{}:{good}", ada.id)))], untrusted);
        row("another scheme", &[&format!("DPoP {good}")], untrusted);
        row("no space", &[&format!("Bearer{good}")], untrusted);
        row("a colon", &[&format!("Bearer: {good}")], untrusted);
        row("a tab", &[&format!("Bearer\t{good}")], untrusted);
        row("empty", &[""], untrusted);
        row("only a scheme", &["Bearer"], untrusted);
        row("an empty token", &["Bearer "], untrusted);
        row("quoted", &[&format!("Bearer \"{good}\"")], untrusted);

        let mut bad = |what: &str, token: &str, code| row(what, &[&bearer(token)], code);
        bad("garbage", "garbage", untrusted);
        bad("null", "null", untrusted);
        bad("dots", "..", untrusted);
        bad("many dots", &".".repeat(500), untrusted);
        bad("one segment", first, untrusted);
        bad("two segments", &format!("{first}.{second}"), untrusted);
        bad("four segments", &format!("{good}.{third}"), untrusted);
        bad("five segments", &format!("{good}.{third}.{third}"), untrusted);
        bad("a dot before", &format!(".{good}"), untrusted);
        bad("a dot after", &format!("{good}."), untrusted);
        bad("as JSON", &json!({ "protected": first, "payload": second, "signature": third }).to_string(), untrusted);
        bad("more than 8 KiB", &at_most(7000), untrusted);
        bad("much more", &format!("{good}{}", "A".repeat(60_000)), untrusted);

        for alg in ["none", "None", "NONE", "nOnE", "", " none", "null"] {
            let header = with(&header, json!({ "alg": alg }));
            bad(&format!("alg {alg:?}"), &jwt(&header, &claims, |_| vec![]), untrusted);
            bad(&format!("alg {alg:?}, signed"), &jwt(&header, &claims, by_us), untrusted);
        }
        bad("alg none without kid", &jwt(json!({ "alg": "none" }), &claims, |_| vec![]), untrusted);
        bad("alg none, no third segment", jwt(json!({ "alg": "none" }), &claims, |_| vec![]).trim_end_matches('.'), untrusted);
        for alg in [json!(null), json!(7), json!(["EdDSA"]), json!("eddsa"), json!("Ed25519"), json!("ES256"), json!("RS256"), json!("HS256"), json!("HS512"), json!("PS256")] {
            bad(&format!("alg {alg}"), &head(json!({ "alg": alg })), untrusted);
        }
        bad("two algs", &jwt(format!(r#"{{"alg":"EdDSA","alg":"none","kid":"{}"}}"#, key.kid), &claims, by_us), untrusted);

        bad("HS256 by the public key", &mac(public.as_ref()), untrusted);
        bad("HS256 by x", &mac(x.as_bytes()), untrusted);
        bad("HS256 by the JWK", &mac(jwk.as_bytes()), untrusted);
        bad("HS256 by the DER", &mac(spki.as_ref()), untrusted);
        bad("HS256 by the PEM", &mac(pem.as_bytes()), untrusted);
        bad("HS256 by the PEM, trimmed", &mac(pem.trim().as_bytes()), untrusted);
        bad("HS256 by nothing", &mac(b""), untrusted);

        bad("another key, same kid", &jwt(&header, &claims, by_them), untrusted);
        bad("another key in the token", &jwt(with(&header, embedded.clone()), &claims, by_them), untrusted);
        bad("another key elsewhere", &jwt(with(&header, elsewhere), &claims, by_them), untrusted);
        bad("another key in it, no kid", &jwt(with(&with(&header, embedded), json!({ "kid": null })), &claims, by_them), untrusted);
        for kid in [json!(null), json!(""), json!("other"), json!(7), json!([key.kid]), json!("../../../../dev/null"), json!("/etc/passwd"),
            json!("' OR '1'='1"), json!("x' UNION SELECT 'key"), json!(format!("{} ", key.kid)), json!(format!("{}\u{0}", key.kid)), json!("x".repeat(5000)), json!("https://evil.example/keys")]
        {
            bad(&format!("kid {kid}"), &head(json!({ "kid": kid })), untrusted);
        }
        for crit in [json!(["exp"]), json!([]), json!("exp"), json!(["b64"]), json!(["nothing"])] {
            bad(&format!("crit {crit}"), &head(json!({ "crit": crit })), untrusted);
        }
        bad("crit b64", &head(json!({ "crit": ["b64"], "b64": false })), untrusted);

        bad("expired", &claim(json!({ "exp": now })), "token_expired");
        bad("expired long ago", &claim(json!({ "exp": 0 })), "token_expired");
        bad("expired before all time", &claim(json!({ "exp": -1e300 })), "token_expired");
        bad("expired and for somebody else", &claim(json!({ "exp": now - 30, "aud": "other" })), untrusted);
        bad("expired and not by us", &jwt(&header, with(&claims, json!({ "exp": now - 30 })), by_them), untrusted);
        bad("expired before it is valid", &claim(json!({ "exp": now - 30, "nbf": now + 60 })), untrusted);
        bad("no exp", &claim(json!({ "exp": null })), untrusted);
        for exp in ["null", "true", "[]", "{}", "\"\"", "\"9999999999\"", "\"2999-01-01T00:00:00.000000Z\"", "1e400", "NaN", "0x7fffffff"] {
            let token = jwt(&header, claims.to_string().replace(&format!("\"exp\":{}", now + 900), &format!("\"exp\":{exp}")), by_us);
            bad(&format!("exp {exp}"), &token, untrusted);
        }
        bad("not yet valid", &claim(json!({ "nbf": now + 31 })), untrusted);
        for nbf in ["null", "\"0\"", "1e300", "[0]"] {
            bad(&format!("nbf {nbf}"), &raw("\"nbf\":NOW", &format!("\"nbf\":{nbf}")), untrusted);
        }
        for aud in [json!(null), json!(""), json!("other"), json!("Skranke"), json!("skranke "), json!(7), json!({}), json!([]), json!(["other"]), json!([["skranke"]]), json!({ "skranke": true })] {
            bad(&format!("aud {aud}"), &claim(json!({ "aud": aud })), untrusted);
        }
        for iss in [json!(null), json!(""), json!("other"), json!("Skranke"), json!("skranke/"), json!(7), json!(["skranke"]), json!(["skranke", "other"]), json!({})] {
            bad(&format!("iss {iss}"), &claim(json!({ "iss": iss })), untrusted);
        }
        for sub in [json!(null), json!(""), json!("ada"), json!("019a2f4e-7c1b-7d3e-8f00-1234567890ab"), json!(7), json!([ada.id]), json!({ "id": ada.id }), json!(format!("{}\u{0}", ada.id)), json!("' OR '1'='1"), json!("x".repeat(5000))] {
            bad(&format!("sub {sub}"), &claim(json!({ "sub": sub })), untrusted);
        }
        for scope in [json!(7), json!(["tickets:read"]), json!({}), json!(true)] {
            bad(&format!("scope {scope}"), &claim(json!({ "scope": scope })), untrusted);
        }
        bad("scope null", &raw("\"iss\":\"skranke\"", "\"iss\":\"skranke\",\"scope\":null"), untrusted);
        // Of another kind (RFC 8725, 3.11), though it was signed by us.
        for typ in [json!(null), json!(""), json!("JWT"), json!("jwt"), json!("id+jwt"), json!("logout+jwt"), json!("dpop+jwt"), json!("refresh"), json!("at+jwt "), json!("text/at+jwt"), json!(["at+jwt"]), json!(7)] {
            bad(&format!("typ {typ}"), &head(json!({ "typ": typ })), untrusted);
        }
        // What is compressed, encrypted, or holds another token.
        bad("zip", &head(json!({ "zip": "DEF" })), untrusted);
        bad("enc", &head(json!({ "enc": "A256GCM" })), untrusted);
        bad("cty", &head(json!({ "cty": "JWT" })), untrusted);
        bad("nested", &jwt(with(&header, json!({ "cty": "JWT" })), &good, by_us), untrusted);
        bad("nested, and not said", &jwt(&header, &good, by_us), untrusted);
        bad("a JWE", "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA", untrusted);
        bad("crit null", &jwt(header.to_string().replacen('{', "{\"crit\":null,", 1), &claims, by_us), untrusted);
        bad("kid null", &jwt(header.to_string().replace(&format!("\"{}\"", key.kid), "null"), &claims, by_us), untrusted);
        bad("b64 false", &head(json!({ "b64": false })), untrusted);
        // A name twice, also where it is spelled otherwise: of two readers one might take the first, one the second.
        for (what, name, value) in [("sub", "sub", json!(admin.id)), ("sub, escaped", "s\\u0075b", json!(admin.id)), ("exp", "exp", json!(now + 9)), ("aud", "aud", json!("skranke")), ("scope", "scope", json!("admin"))] {
            let claims = with(&claims, json!({ "scope": "tickets:read" })).to_string();
            let before = claims.replacen('{', &format!("{{\"{name}\":{value},"), 1);
            let behind = format!("{},\"{name}\":{value}}}", &claims[..claims.len() - 1]);
            bad(&format!("{what} twice"), &jwt(&header, before, by_us), untrusted);
            bad(&format!("{what} twice, behind"), &jwt(&header, behind, by_us), untrusted);
        }
        bad("a name twice within", &raw("\"jti\":", "\"x\":[{\"a\":1,\"a\":2}],\"jti\":"), untrusted);
        for (name, value) in [("kid", json!("other")), ("kid", json!(key.kid)), ("typ", json!("JWT")), ("alg", json!("EdDSA")), ("x", json!(1))] {
            let header = with(&header, json!({ "x": 1 })).to_string();
            bad(&format!("{name} twice in the header"), &jwt(header.replacen('{', &format!("{{\"{name}\":{value},"), 1), &claims, by_us), untrusted);
        }
        for iat in ["null", "\"0\"", "[0]", "true", "1e300", &format!("{}", now + 31)] {
            bad(&format!("iat {iat}"), &raw("\"iat\":NOW", &format!("\"iat\":{iat}")), untrusted);
        }
        bad("control characters in kid", &head(json!({ "kid": format!("{}\r\nX-Kid: y\u{7f}", key.kid) })), untrusted);
        bad("x5c", &jwt(with(&with(&header, json!({ "kid": null })), json!({ "x5c": [STANDARD.encode(spki.as_ref())] })), &claims, by_them), untrusted);

        bad("iss twice", &raw("\"iss\":\"skranke\"", "\"iss\":\"other\",\"iss\":\"skranke\""), untrusted);
        bad("not an object", &jwt(&header, "[]", by_us), untrusted);
        bad("a string", &jwt(&header, "\"skranke\"", by_us), untrusted);
        bad("no JSON", &jwt(&header, "skranke", by_us), untrusted);
        bad("nothing", &jwt(&header, "", by_us), untrusted);
        bad("deep", &jwt(&header, "[".repeat(5000), by_us), untrusted);
        bad("deep within", &raw("\"jti\":", &format!("\"x\":{}{},\"jti\":", "[".repeat(1000), "]".repeat(1000))), untrusted);
        bad("a header that is no object", &jwt("[]", &claims, by_us), untrusted);
        bad("a deep header", &jwt("[".repeat(5000), &claims, by_us), untrusted);
        let message = format!("{first}.{}", URL_SAFE_NO_PAD.encode(b"\xff\xfe"));
        bad("not UTF-8", &format!("{message}.{}", URL_SAFE_NO_PAD.encode(by_us(message.as_bytes()))), untrusted);

        let promoted = URL_SAFE_NO_PAD.encode(with(&claims, json!({ "sub": admin.id })).to_string());
        bad("another payload", &format!("{first}.{promoted}.{third}"), untrusted);
        let foreign: Vec<&str> = admin.token.split('.').collect();
        bad("another token's signature", &format!("{first}.{second}.{}", foreign[2]), untrusted);
        bad("a signature cut short", &good[..good.len() - 1], untrusted);
        bad("half a signature", &good[..good.len() - 43], untrusted);
        bad("no signature", &format!("{first}.{second}."), untrusted);
        bad("a signature of zeroes", &format!("{first}.{second}.{}", URL_SAFE_NO_PAD.encode([0; 64])), untrusted);
        bad("a longer signature", &format!("{good}AAAA"), untrusted);
        let mut flipped = by_us(format!("{first}.{second}").as_bytes());
        flipped[40] ^= 1;
        bad("one bit", &format!("{first}.{second}.{}", URL_SAFE_NO_PAD.encode(&flipped)), untrusted);
        // The last character of 64 bytes has four bits that mean nothing: they must be zero.
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let last = alphabet.find(&third[85..]).unwrap();
        bad("the same signature written otherwise", &format!("{}{}", &good[..good.len() - 1], &alphabet[last + 1..last + 2]), untrusted);
        bad("padding after the signature", &format!("{good}=="), untrusted);
        let padded = format!("{}.{}", URL_SAFE.encode(format!("{header} ")), URL_SAFE.encode(claims.to_string()));
        assert!(padded.contains('='));
        bad("padding that was signed", &format!("{padded}.{}", URL_SAFE_NO_PAD.encode(by_us(padded.as_bytes()))), untrusted);
        bad("a space in it", &format!("{first}. {second}.{third}"), untrusted);
        bad("a tab in it", &format!("{first}.{second}.\t{third}"), untrusted);
        let slashes = format!("{first}.{}", STANDARD.encode(with(&claims, json!({ "x": "???>>>~~~" })).to_string()).trim_end_matches('='));
        assert!(slashes.contains(['+', '/']));
        bad("the other base64", &format!("{slashes}.{}", URL_SAFE_NO_PAD.encode(by_us(slashes.as_bytes()))), untrusted);

        for (what, headers, code) in &rows {
            let ask = headers.iter().fold(desk.get("/v1/me"), |ask, value| ask.header("authorization", value));
            let answer = ask.send().await;
            assert_eq!((answer.status.as_u16(), answer.body["code"].as_str()), (401, Some(*code)), "{what}");
            let challenge = answer.header("www-authenticate").unwrap();
            assert!(["Bearer realm=\"skranke\"", "Bearer realm=\"skranke\", error=\"invalid_token\""].contains(&challenge), "{what}: {challenge}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        }
        // What is a credential elsewhere is no token here, and the other way round.
        person(desk, &admin, "grace@example.org", "agent").await;
        let login = log_in(desk, "grace@example.org", PASSWORD).expect(200).await;
        let (_, secret) = account(desk, &admin, &["tickets:read"]).await;
        for credential in [&text(&login, "refresh_token"), &secret, &key.kid, &ada.id, PASSWORD] {
            desk.get("/v1/me").token(credential).refused(401, "unauthenticated").await;
        }
        refresh(desk, &text(&login, "access_token")).refused(401, "unauthenticated").await;
        refresh(desk, &good).refused(401, "unauthenticated").await;
        // One answer for all that cannot be trusted: it tells nobody how close they were.
        let mut answers = Vec::new();
        for token in ["garbage", &mac(x.as_bytes()), &jwt(&header, &claims, by_them), &claim(json!({ "sub": "ada" })), &claim(json!({ "aud": "x" }))] {
            answers.push(seen(&desk.get("/v1/me").token(token).header("x-request-id", "r").expect(401).await));
        }
        answers.dedup();
        assert_eq!(answers.len(), 1);
    }

    async fn a_token_is_taken_from_its_header_alone(desk) {
        let ada = desk.agent().await;
        for name in ["access_token", "token", "authorization"] {
            desk.get(&format!("/v1/me?{name}={}", ada.token)).refused(401, "unauthenticated").await;
            desk.get("/v1/me").header("cookie", &format!("{name}={}", ada.token)).refused(401, "unauthenticated").await;
            desk.get("/v1/me").header(&format!("x-{}", name.replace('_', "-")), &ada.token).refused(401, "unauthenticated").await;
        }
        let body = form(&[("access_token", &ada.token)]);
        desk.get("/v1/me").raw("application/x-www-form-urlencoded", body.clone()).refused(401, "unauthenticated").await;
        desk.post("/v1/tickets").raw("application/x-www-form-urlencoded", body).refused(401, "unauthenticated").await;
        desk.post("/v1/tickets").json(&json!({ "subject": "s", "access_token": ada.token })).refused(401, "unauthenticated").await;
        // Who calls is judged before what they send.
        desk.post("/v1/tickets").raw("text/plain", "{").header("idempotency-key", "").refused(401, "unauthenticated").await;
        desk.get("/v1/tickets?nope=1").token("garbage").refused(401, "unauthenticated").await;
        desk.get("/v1/me?nope=1").by(&ada).refused(400, "invalid_query").await;
    }

    async fn scopes_in_a_token_only_ever_narrow(desk) {
        let (ada, pair) = (desk.requester().await, pair_of(desk.authority.keys.signer()));
        let header = json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": desk.authority.keys.signer().kid });
        let now = desk.clock.now().seconds();
        for (scope, scopes) in [
            ("", json!([])),
            ("tickets:read", json!(["tickets:read"])),
            ("admin internal:read metrics:read", json!([])),
            ("TICKETS:READ openid tickets:write", json!(["tickets:write"])),
            ("tickets:read\ttickets:write", json!(["tickets:read", "tickets:write"])),
        ] {
            let claims = json!({ "iss": "skranke", "aud": "skranke", "sub": ada.id, "exp": now + 9, "scope": scope, "role": "admin" });
            let me = me(desk, &jwt(&header, &claims, |message| pair.sign(message).as_ref().to_vec())).await;
            assert_eq!((&me["scopes"], &me["role"]), (&scopes, &json!("requester")), "{scope}");
        }
    }
}
