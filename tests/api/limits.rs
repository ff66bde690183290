//! How much is let in: requests of a principal and of an address, and failed logins.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use skranke::db::Db;
use skranke::http::origin::Proxies;

use crate::on_both;
use crate::support::{Answer, Ask, Desk};

const PASSWORD: &str = "correct horse battery";

/// What the two headers say, and `Retry-After`.
fn told(answer: &Answer) -> [Option<&str>; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| answer.header(name))
}

fn log_in_at(desk: &Desk, url: &str, from: &str, email: &str, password: &str) -> Ask {
    let fields = [("grant_type", "password"), ("username", email), ("password", password)];
    let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let ask = desk.ask_at(url, Method::POST, "/v1/auth/token").header("x-forwarded-for", from);
    ask.raw("application/x-www-form-urlencoded", form)
}

/// Another instance that lets `failed` logins fail, behind a proxy that is trusted.
fn careful(desk: &Desk, failed: u32) -> String {
    desk.instance_with(|mut settings| {
        settings.limits.failed_logins = failed;
        settings.limits.proxies = Proxies::parse("127.0.0.1").unwrap();
        settings
    })
}

on_both! {
    async fn a_principal_gets_so_many_requests_a_minute(desk) {
        let url = desk.instance_with(|mut settings| {
            settings.limits.per_principal = 5;
            settings
        });
        let (agent, other) = (desk.agent().await, desk.agent().await);
        let me = |who| desk.ask_at(&url, Method::GET, "/v1/me").by(who);
        for (left, back_s) in [(4, 12), (3, 24), (2, 36)] {
            let answer = me(&agent).expect(200).await;
            let expected = format!("\"principal\";r={left};t={back_s}");
            assert_eq!(told(&answer), [Some("\"principal\";q=5;w=60"), Some(expected.as_str()), None]);
        }
        // Whatever they ask for counts, also what they may not do; another token of the same person is no way around.
        let admin_only = desk.ask_at(&url, Method::GET, "/v1/service-accounts");
        admin_only.by(&desk.narrowed(&agent, "tickets:read")).expect(403).await;
        desk.ask_at(&url, Method::POST, "/v1/tickets").by(&agent).json(&json!({})).refused(422, "validation_failed").await;
        let create = || desk.ask_at(&url, Method::POST, "/v1/tickets").by(&agent).json(&json!({ "subject": "s" }));
        let refused = create().refused(429, "rate_limited").await;
        let none_left = [Some("\"principal\";q=5;w=60"), Some("\"principal\";r=0;t=12"), Some("12")];
        assert_eq!(told(&refused), none_left);
        assert_eq!(refused.body["retry_after_s"], 12);
        desk.clock.pass_us(11_999_999);
        assert_eq!(told(&create().refused(429, "rate_limited").await)[2], Some("1"));
        // Others are not kept waiting, and another instance counts for itself.
        me(&other).expect(200).await;
        let elsewhere = desk.get("/v1/me").by(&agent).expect(200).await;
        assert_eq!(told(&elsewhere), [None; 3]);
        desk.clock.pass_us(1);
        create().expect(201).await;
        create().refused(429, "rate_limited").await;
        // What was refused has not been done.
        assert_eq!(desk.all(&agent, "/v1/tickets").await.len(), 1);
    }

    async fn an_address_gets_so_many_requests_a_minute_before_any_token_is_looked_at(desk) {
        let url = desk.instance_with(|mut settings| {
            settings.limits.per_address = 3;
            settings.limits.per_principal = 100;
            settings.limits.proxies = Proxies::parse("127.0.0.1, 10.0.0.0/8").unwrap();
            settings.cors_origins = vec!["https://desk.example.org".into()];
            settings
        });
        let agent = desk.agent().await;
        let from = |client: &str, path: &str| desk.ask_at(&url, Method::GET, path).header("x-forwarded-for", client);
        let first = from("192.0.2.1", "/v1/me").by(&agent).expect(200).await;
        let policy = "\"address\";q=3;w=60, \"principal\";q=100;w=60";
        assert_eq!(told(&first), [Some(policy), Some("\"address\";r=2;t=20, \"principal\";r=99;t=1"), None]);
        from("192.0.2.1", "/v1/me").token("nonsense").refused(401, "unauthenticated").await;
        let unknown = from("192.0.2.1", "/v1/nothing").refused(404, "not_found").await;
        assert_eq!(told(&unknown)[1], Some("\"address\";r=0;t=60"));
        for token in ["nonsense", &agent.token] {
            let ask = from("192.0.2.1", "/v1/me").token(token).header("origin", "https://desk.example.org");
            let refused = ask.refused(429, "rate_limited").await;
            assert_eq!(told(&refused), [Some(policy), Some("\"address\";r=0;t=20"), Some("20")]);
            // A page may know why.
            assert_eq!(refused.header("access-control-allow-origin"), Some("https://desk.example.org"));
            assert!(refused.header("access-control-expose-headers").unwrap().contains("ratelimit"));
        }
        // What a client says before its proxy does is no way around, and neither are its neighbours in IPv6.
        from("192.0.2.7, 192.0.2.1, 10.1.2.3", "/v1/me").refused(429, "rate_limited").await;
        from("192.0.2.2, 10.1.2.3", "/v1/me").by(&agent).expect(200).await;
        for last in 1..=3 {
            from(&format!("2001:db8:1:2::{last}"), "/v1/me").by(&agent).expect(200).await;
        }
        from("2001:db8:1:2:ffff::", "/v1/me").by(&agent).refused(429, "rate_limited").await;
        from("2001:db8:1:3::1", "/v1/me").by(&agent).expect(200).await;
        // Whoever asks whether it lives is told so. A proxy that speaks for itself is no client.
        for _ in 0..5 {
            from("192.0.2.1", "/health/live").expect(200).await;
            desk.ask_at(&url, Method::GET, "/v1/me").by(&agent).expect(200).await;
        }
        desk.clock.pass_s(20);
        from("192.0.2.1", "/v1/me").by(&agent).expect(200).await;
    }

    async fn what_strangers_say_of_their_address_is_not_heard(desk) {
        let url = desk.instance_with(|mut settings| {
            settings.limits.per_address = 2;
            settings
        });
        for (n, status) in [(1, 401), (2, 401), (3, 429)] {
            let ask = desk.ask_at(&url, Method::GET, "/v1/me").header("x-forwarded-for", &format!("192.0.2.{n}"));
            ask.header("forwarded", &format!("for=192.0.2.{n}")).expect(status).await;
        }
    }

    async fn logins_that_fail_too_often_have_to_wait(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "Ada", "email": "ada@example.org", "role": "agent", "password": PASSWORD });
        desk.post("/v1/users").by(&admin).json(&body).expect(201).await;
        let url = careful(desk, 2);
        // Whether there is such a person makes no difference.
        for email in ["ada@example.org", "nobody@example.org"] {
            let log_in = |password| log_in_at(desk, &url, "192.0.2.1", email, password);
            log_in("wrong").refused(401, "unauthenticated").await;
            log_in_at(desk, &url, "192.0.2.1", &email.to_uppercase(), "wrong").refused(401, "unauthenticated").await;
            for password in ["wrong", PASSWORD] {
                let refused = log_in(password).refused(429, "rate_limited").await;
                assert_eq!((refused.header("retry-after"), &refused.body["detail"]), (Some("300"), &json!("Too many failed logins. Try again in 300 s.")));
            }
        }
        // From elsewhere the same person can log in, and when the time has come, from here.
        let log_in = |from, password| log_in_at(desk, &url, from, "ada@example.org", password);
        log_in("192.0.2.2", PASSWORD).expect(200).await;
        desk.clock.pass_s(300);
        log_in("192.0.2.1", PASSWORD).expect(200).await;
        // What was good forgives what was not: two more may fail.
        for status in [401, 401, 429] {
            log_in("192.0.2.1", "wrong").expect(status).await;
        }
        // Whoever never fails never waits.
        for _ in 0..5 {
            log_in("192.0.2.3", PASSWORD).expect(200).await;
        }
        // What cannot be judged is no failure.
        for _ in 0..5 {
            let ask = desk.ask_at(&url, Method::POST, "/v1/auth/token").header("x-forwarded-for", "192.0.2.4");
            ask.raw("application/x-www-form-urlencoded", "grant_type=password&username=ada%40example.org").expect(422).await;
        }
        log_in("192.0.2.4", PASSWORD).expect(200).await;
    }

    async fn a_current_password_is_guessed_no_faster_than_at_a_login(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "Ada", "email": "Ada@example.org", "role": "agent", "password": PASSWORD });
        let ada = desk.post("/v1/users").by(&admin).json(&body).expect(201).await.body["id"].as_str().unwrap().to_owned();
        let url = careful(desk, 10);
        let log_in = |from: &str, password| log_in_at(desk, &url, from, "ada@example.org", password);
        let token = log_in("198.51.100.1", PASSWORD).expect(200).await.body["access_token"].as_str().unwrap().to_owned();
        let change = |from: &str, current: &str| {
            let patch = json!({ "password": "another horse battery", "current_password": current });
            desk.ask_at(&url, Method::PATCH, &format!("/v1/users/{ada}")).token(&token).header("x-forwarded-for", from).json(&patch)
        };
        // One of ten guesses has been a login.
        log_in("192.0.2.1", "wrong").refused(401, "unauthenticated").await;
        for _ in 2..=10 {
            change("192.0.2.1", "wrong").refused(422, "validation_failed").await;
        }
        for current in ["wrong", PASSWORD] {
            let refused = change("192.0.2.1", current).refused(429, "rate_limited").await;
            assert_eq!(refused.header("retry-after"), Some("60"));
        }
        log_in("192.0.2.1", PASSWORD).refused(429, "rate_limited").await;
        // What needs no proof is not kept out, and many at once are no way around.
        let name = json!({ "name": "Ada L." });
        desk.ask_at(&url, Method::PATCH, &format!("/v1/users/{ada}")).token(&token).header("x-forwarded-for", "192.0.2.1").json(&name).expect(200).await;
        let many = futures::future::join_all((0..40).map(|_| change("192.0.2.2", "wrong").send())).await;
        let judged = many.iter().filter(|answer| answer.status == 422).count();
        assert!(judged <= 10 && many.iter().all(|answer| [422, 429].contains(&answer.status.as_u16())), "{judged}");
        // From many addresses, a hundred guesses count for her account, and 19 to 20 have been made.
        for n in 3..=10 {
            for _ in 1..=10 {
                change(&format!("192.0.2.{n}"), "wrong").refused(422, "validation_failed").await;
            }
        }
        for n in 11..=13 {
            change(&format!("192.0.2.{n}"), "wrong").send().await;
        }
        change("192.0.2.14", PASSWORD).refused(429, "rate_limited").await;
        // From where she always is, she changes it.
        change("198.51.100.1", PASSWORD).expect(200).await;
        log_in("198.51.100.1", "another horse battery").expect(200).await;
    }

    /// All from one address, and without limits: hashing alone is shared.
    async fn one_person_with_many_connections_keeps_nobody_from_logging_in(desk) {
        let admin = desk.admin().await;
        let mut people = Vec::new();
        for name in ["eve", "ada"] {
            let body = json!({ "name": name, "email": format!("{name}@example.org"), "role": "agent", "password": PASSWORD });
            people.push(desk.post("/v1/users").by(&admin).json(&body).expect(201).await.body["id"].as_str().unwrap().to_owned());
        }
        // Hashing is slow in a build for tests, and others run beside it: requests have a minute.
        let db = Db::open(&desk.store.url, 8, Duration::from_secs(60)).unwrap();
        let url = desk.instance_with(|mut settings| {
            settings.limits.failed_logins = 0;
            settings.limits.proxies = Proxies::parse("127.0.0.1").unwrap();
            settings.state.db = db;
            settings
        });
        let log_in = |name: &str| log_in_at(desk, &url, "192.0.2.1", &format!("{name}@example.org"), PASSWORD);
        let token = log_in("eve").expect(200).await.body["access_token"].as_str().unwrap().to_owned();
        let patch = json!({ "password": "another horse battery", "current_password": "wrong" });
        let guess = async || {
            for _ in 0..3 {
                let ask = desk.ask_at(&url, Method::PATCH, &format!("/v1/users/{}", people[0])).token(&token);
                ask.header("x-forwarded-for", "192.0.2.1").json(&patch).send().await;
            }
        };
        let flood = futures::future::join_all((0..100).map(|_| guess()));
        let logins = futures::future::join_all((0..50).map(|_| log_in("ada").send()));
        let (_, logins) = futures::future::join(flood, logins).await;
        let refused = logins.iter().filter(|answer| answer.status != 200).count();
        assert_eq!(refused, 0, "of 50 logins");
    }

    async fn nobody_is_kept_out_by_those_who_know_a_name(desk) {
        let admin = desk.admin().await;
        let body = json!({ "name": "Ada", "email": "ada@example.org", "role": "agent", "password": PASSWORD });
        desk.post("/v1/users").by(&admin).json(&body).expect(201).await;
        let url = careful(desk, 1);
        let log_in = |from: &str, password| log_in_at(desk, &url, from, "ada@example.org", password);
        log_in("198.51.100.1", PASSWORD).expect(200).await;
        // From many addresses, ten in all may fail.
        for n in 1..=10 {
            log_in(&format!("192.0.2.{n}"), "wrong").refused(401, "unauthenticated").await;
        }
        let refused = log_in("192.0.2.11", PASSWORD).refused(429, "rate_limited").await;
        assert_eq!(refused.header("retry-after"), Some("360"));
        // But she herself comes in from where she always does, and others are not meant.
        log_in("198.51.100.1", PASSWORD).expect(200).await;
        log_in_at(desk, &url, "192.0.2.12", "bob@example.org", "wrong").refused(401, "unauthenticated").await;
        // Somebody new comes in after six minutes, if an attacker does not come first.
        desk.clock.pass_s(360);
        log_in("192.0.2.11", PASSWORD).expect(200).await;
        // One address cannot try name after name.
        for n in 1..=11 {
            let status = if n <= 10 { 401 } else { 429 };
            log_in_at(desk, &url, "203.0.113.1", &format!("person{n}@example.org"), "wrong").expect(status).await;
        }
        // Secrets of service accounts and refresh tokens are guessed no faster.
        let guess = |form: &str| {
            let ask = desk.ask_at(&url, Method::POST, "/v1/auth/token").header("x-forwarded-for", "203.0.113.2");
            ask.raw("application/x-www-form-urlencoded", form.to_owned())
        };
        let secret = "grant_type=client_credentials&client_id=019a2f4e-7c1b-7d3e-8f00-1234567890ab&client_secret=sks_x";
        guess(secret).expect(401).await;
        guess(secret).refused(429, "rate_limited").await;
        for n in 2..=11 {
            let status = if n <= 10 { 401 } else { 429 };
            guess(&format!("grant_type=refresh_token&refresh_token=skr_{n}")).expect(status).await;
        }
    }
}
