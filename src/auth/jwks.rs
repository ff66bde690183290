//! The public keys of outside issuers: JWK sets (RFC 7517), kept, and fetched again when they are old or lack a key.
//! Only the configured place is ever asked: what a token says about where its key is (`jku`, `x5u`, `jwk`) is not read.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use serde::Deserialize;
use serde_json::Value;

use super::token::Verifier;
use crate::kernel::{Instant, Problem};

/// Larger sets are not read.
const LARGEST_B: usize = 256 * 1024;

/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// One public key, and the one algorithm that it is for.
#[derive(Clone)]
struct PublicKey {
    kid: Option<String>,
    algorithm: Algorithm,
    key: Verifier,
}

/// The usable keys of a JWK set.
#[derive(Clone, Default)]
pub struct KeySet(Vec<PublicKey>);

impl KeySet {
    /// Reads a set. Keys that are of no use here (symmetric, for encryption, of another curve) are left out.
    ///
    /// # Errors
    /// A sentence when this is no set or none of its keys can be used.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct KeySetDocument {
            keys: Vec<Value>,
        }
        let set: KeySetDocument = serde_json::from_slice(json).map_err(|_| "should be a JWK set: {\"keys\": […]}")?;
        let keys: Vec<_> = set.keys.into_iter().filter_map(usable).collect();
        if keys.is_empty() { Err("should hold a public key for RS256, ES256 or EdDSA".into()) } else { Ok(Self(keys)) }
    }

    /// The key for a token's `kid` and `alg`. Without a `kid` there must be no choice.
    fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Verifier> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == algorithm && (kid.is_none() || key.kid.as_deref() == kid))
            .map(|key| &key.key);
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key),
            _ => None,
        }
    }
}

/// The key in `jwk`, if its type, curve, purpose and algorithm agree with each other and with what is supported.
fn usable(jwk: Value) -> Option<PublicKey> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    let common = jwk.common.clone();
    let fits = common.key_algorithm.is_none_or(|alg| alg == named)
        && common.public_key_use.is_none_or(|purpose| purpose == PublicKeyUse::Signature)
        && common.key_operations.is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    let strong = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => is_strong_rsa(&decoded(&key.n)?, &decoded(&key.e)?),
        AlgorithmParameters::OctetKeyPair(key) => !is_of_small_order(&decoded(&key.x)?),
        _ => true,
    };
    let key = DecodingKey::from_jwk(&jwk).ok().filter(|_| fits && strong)?;
    Some(PublicKey { kid: common.key_id, algorithm, key: key.into() })
}

fn decoded(base64: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(base64).ok()
}

/// Whether a modulus has 2048 bits or more (RFC 7518, 3.3), and the exponent is odd and more than 1: with 1, everything
/// is its own signature.
fn is_strong_rsa(modulus: &[u8], exponent: &[u8]) -> bool {
    let significant = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    let (modulus, exponent) = (significant(modulus), significant(exponent));
    let is_long =
        modulus.len() > 256 || (modulus.len() == 256 && modulus.first().is_some_and(|first| first & 0x80 != 0));
    is_long && exponent.last().is_some_and(|last| last & 1 == 1) && exponent != [1]
}

/// Whether an Ed25519 public key is one of the few points, in all of their spellings, that signatures say nothing under
/// (RFC 8032, 8.6 has the curve's cofactor in mind): whoever publishes one lets anybody sign.
pub fn is_of_small_order(point: &[u8]) -> bool {
    const FEW: [&str; 7] = [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ];
    // The sign stands in the last bit.
    let last = point.len().saturating_sub(1);
    let unsigned = point.iter().enumerate().map(|(nth, byte)| if nth == last { byte & 0x7f } else { *byte });
    let hex: String = unsigned.map(|byte| format!("{byte:02x}")).collect();
    FEW.contains(&hex.as_str())
}

/// Where a set is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// Behind an address.
    Url(Url),
    /// In a file.
    File(PathBuf),
}

impl KeySource {
    /// The address, if keys may be fetched from there: over TLS, or from this very machine.
    ///
    /// # Errors
    /// What it should be.
    pub fn url(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "should be an https:// address without a password (http:// only on this machine)";
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let fine = match url.scheme() {
            "https" => url.has_host(),
            "http" => is_local(&url),
            _ => false,
        };
        if fine && url.username().is_empty() && url.password().is_none() { Ok(Self::Url(url)) } else { Err(EXPECTED) }
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(url) => url.fmt(f),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Whether a name may stand for this address. Behind those that are for one link alone, machines in a cloud find a
/// service that tells them their own secrets; a name that somebody else controls must not lead there. Who means such an
/// address writes it into the URL as it is.
fn is_for_names(ip: IpAddr) -> bool {
    // Amazon's, of IPv6.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match ip.to_canonical() {
        IpAddr::V4(ip) => !(ip.is_link_local() || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast()),
        IpAddr::V6(ip) => !(ip.is_unicast_link_local() || ip.is_unspecified() || ip.is_multicast() || ip == METADATA),
    }
}

/// Resolves names as the system does, without addresses that names may not stand for.
struct Resolver {
    /// Whether the name is of this very machine, and may lead nowhere else.
    local: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let local = self.local;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let fits = |ip: IpAddr| if local { ip.to_canonical().is_loopback() } else { is_for_names(ip) };
            let fine: Vec<_> = found.filter(|address| fits(address.ip())).collect();
            if fine.is_empty() {
                return Err("the name leads to no address that keys are fetched from".into());
            }
            Ok(Box::new(fine.into_iter()) as Addrs)
        })
    }
}

/// Whether an answer says that it is JSON: `application/json`, `application/jwk-set+json` (RFC 7517, 8.5.2) or alike.
fn is_json(response: &reqwest::Response) -> bool {
    let given = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = given.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type.strip_prefix("application/").is_some_and(|of| of == "json" || of.ends_with("+json"))
}

/// A key set that lives elsewhere, with the copy that we keep. Cheap to clone; all clones share the copy.
#[derive(Clone)]
pub struct Remote(Arc<RemoteState>);

struct RemoteState {
    place: KeySource,
    client: reqwest::Client,
    max_age_s: i64,
    min_interval_s: i64,
    copy: Mutex<CachedKeys>,
    /// Held by the one fetch that is under way.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Clone, Default)]
struct CachedKeys {
    keys: Option<Arc<KeySet>>,
    fetched_at: Option<Instant>,
    tried_at: Option<Instant>,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("place", &self.0.place).finish_non_exhaustive()
    }
}

impl Remote {
    /// The set at `place`; nothing is fetched yet. A copy is fetched anew when it is older than `max_age_s` or lacks a
    /// key, but no more often than every `min_interval_s`.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(place: KeySource, max_age_s: i64, min_interval_s: i64) -> Result<Self, String> {
        Self::patient(place, max_age_s, min_interval_s, PATIENCE)
    }

    fn patient(place: KeySource, max_age_s: i64, min_interval_s: i64, patience: Duration) -> Result<Self, String> {
        let local = matches!(&place, KeySource::Url(url) if is_local(url));
        let client = reqwest::Client::builder()
            .timeout(patience)
            .redirect(reqwest::redirect::Policy::none())
            .https_only(!local)
            // Whatever the environment says: who may stand between us and an issuer is nobody else's to decide.
            .no_proxy()
            .dns_resolver(Resolver { local })
            // A connection belongs to the worker that opened it: none is kept for another.
            .pool_max_idle_per_host(0)
            .user_agent(concat!("skranke/", env!("CARGO_PKG_VERSION")));
        Ok(Self(Arc::new(RemoteState {
            place,
            client: client.build().map_err(|e| format!("cannot make an HTTP client: {e}"))?,
            max_age_s,
            min_interval_s,
            copy: Mutex::default(),
            fetching: Arc::default(),
        })))
    }

    /// The key for a token's `kid` and `alg`, if there is one.
    ///
    /// # Errors
    /// `unavailable` while the set could never be fetched.
    pub async fn find(
        &self,
        kid: Option<&str>,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<Option<Verifier>, Problem> {
        let copy = self.copy();
        let find = |copy: &CachedKeys| copy.keys.as_ref().and_then(|keys| keys.find(kid, algorithm).cloned());
        match find(&copy) {
            Some(key) if !self.is_old(&copy, now) => return Ok(Some(key)),
            // Good enough while another request fetches.
            Some(key) => match Arc::clone(&self.0.fetching).try_lock_owned() {
                Ok(turn) => self.refresh(turn, now).await,
                Err(_) => return Ok(Some(key)),
            },
            None => self.refresh(Arc::clone(&self.0.fetching).lock_owned().await, now).await,
        }
        let copy = self.copy();
        match copy.keys {
            Some(_) => Ok(find(&copy)),
            None => Err(Problem::unavailable(format!("no keys from {}", self.0.place))),
        }
    }

    fn copy(&self) -> CachedKeys {
        self.0.copy.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_old(&self, copy: &CachedKeys, now: Instant) -> bool {
        copy.fetched_at.is_none_or(|at| at.plus_s(self.0.max_age_s) <= now)
    }

    /// Fetches the set, unless that was tried just now. What fails is logged; the old copy stays.
    async fn refresh(&self, turn: tokio::sync::OwnedMutexGuard<()>, now: Instant) {
        if self.copy().tried_at.is_some_and(|at| at <= now && now < at.plus_s(self.0.min_interval_s)) {
            return;
        }
        // A task of its own: whoever sends a token and hangs up must not be able to stop the others' fetch.
        let inner = Arc::clone(&self.0);
        let fetch = tokio::spawn(async move {
            let _turn = turn;
            inner.set(|copy| copy.tried_at = Some(now));
            match inner.fetch().await {
                Ok(keys) => inner.set(|copy| {
                    copy.keys = Some(Arc::new(keys));
                    copy.fetched_at = Some(now);
                }),
                Err(cause) => tracing::warn!(place = %inner.place, cause, "could not fetch an issuer's keys"),
            }
        });
        if let Err(error) = fetch.await {
            tracing::error!(cause = %error, "fetching an issuer's keys ended early");
        }
    }
}

impl RemoteState {
    fn set(&self, change: impl FnOnce(&mut CachedKeys)) {
        change(&mut self.copy.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let json = match &self.place {
            KeySource::Url(url) => self.download(url.clone()).await?,
            KeySource::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(path));
                read.await.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?
            }
        };
        KeySet::parse(&json)
    }

    async fn download(&self, url: Url) -> Result<Vec<u8>, String> {
        let mut response = self.client.get(url).send().await.map_err(|e| chain(&e))?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("answered {}", response.status()));
        }
        if !is_json(&response) {
            return Err("answered with something else than JSON".into());
        }
        if response.content_length().is_some_and(|length| length > LARGEST_B as u64) {
            return Err(format!("more than {LARGEST_B} bytes"));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| chain(&e))? {
            if body.len() + chunk.len() > LARGEST_B {
                return Err(format!("more than {LARGEST_B} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// An error with its causes, which reqwest leaves out.
fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", chain(source)),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use futures_util::FutureExt;
    use serde_json::json;

    const TYPE: &str = "Content-Type: application/json; charset=utf-8";

    /// A key set server whose answer can be changed, and which counts.
    struct Server {
        url: String,
        answer: Arc<Mutex<String>>,
        asked: Arc<AtomicUsize>,
    }

    impl Server {
        fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let url = format!("http://{}/keys", listener.local_addr().expect("an address"));
            let answer = Arc::new(Mutex::new(String::new()));
            let asked = Arc::new(AtomicUsize::new(0));
            let (says, counts) = (Arc::clone(&answer), Arc::clone(&asked));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let mut stream = stream.expect("a connection");
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).expect("a request");
                    counts.fetch_add(1, Ordering::SeqCst);
                    let answer = says.lock().expect("not poisoned").clone();
                    // Whoever is not interested any more may hang up.
                    let _ = stream.write_all(answer.as_bytes());
                }
            });
            Self { url, answer, asked }
        }

        fn says(&self, head: &str, body: &str) {
            let length = body.len();
            *self.answer.lock().expect("not poisoned") =
                format!("HTTP/1.1 {head}\r\nContent-Length: {length}\r\nConnection: close\r\n{TYPE}\r\n\r\n{body}");
        }

        fn has(&self, kids: &[&str]) {
            self.says("200 OK", &set(kids));
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }

        fn remote(&self) -> Remote {
            Remote::new(KeySource::url(&self.url).expect("local"), 3600, 30).expect("a client")
        }
    }

    fn set(kids: &[&str]) -> String {
        json!({ "keys": kids.iter().map(|kid| ed(kid)).collect::<Vec<_>>() }).to_string()
    }

    fn ed(kid: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": kid })
    }

    async fn knows(remote: &Remote, kid: &str, at_s: i64) -> bool {
        let now = Instant::from_micros(1_700_000_000_000_000).plus_s(at_s);
        remote.find(Some(kid), Algorithm::EdDSA, now).await.expect("a set").is_some()
    }

    #[tokio::test]
    async fn a_set_is_fetched_once_and_kept_until_it_is_old() {
        let server = Server::start();
        server.has(&["a"]);
        let remote = server.remote();
        assert_eq!(server.asked(), 0);
        for at_s in [0, 1, 31, 3599] {
            assert!(knows(&remote, "a", at_s).await);
        }
        assert_eq!(server.asked(), 1);
        server.has(&["b"]);
        assert!(!knows(&remote, "a", 3600).await, "a key that was withdrawn is not good for longer than max_age_s");
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn an_unknown_kid_fetches_at_a_bounded_rate() {
        let server = Server::start();
        server.has(&["a"]);
        let remote = server.remote();
        assert!(knows(&remote, "a", 0).await);
        for _ in 0..20 {
            assert!(!knows(&remote, "forged", 29).await);
        }
        assert_eq!(server.asked(), 1);
        server.has(&["a", "b"]);
        assert!(knows(&remote, "b", 30).await);
        assert_eq!(server.asked(), 2);
    }

    #[tokio::test]
    async fn the_old_set_is_served_when_a_fetch_fails() {
        let server = Server::start();
        server.has(&["a"]);
        let remote = server.remote();
        assert!(knows(&remote, "a", 0).await);
        let oversized = format!("{}{}", set(&["b"]), " ".repeat(LARGEST_B));
        let failures = [
            ("500 Oops", "no"),
            ("200 OK", "<html>"),
            ("200 OK", r#"{"keys": []}"#),
            ("302 Found\r\nLocation: /keys", ""),
            ("200 OK", oversized.as_str()),
        ];
        for (n, (head, body)) in failures.into_iter().enumerate() {
            server.says(head, body);
            let at_s = 4000 + 30 * i64::try_from(n).expect("small");
            assert!(knows(&remote, "a", at_s).await, "{head}");
            assert!(knows(&remote, "a", at_s + 29).await, "{head}");
            assert_eq!(server.asked(), 2 + n, "failures are bounded too");
        }
        server.has(&["b"]);
        assert!(knows(&remote, "b", 9000).await);
        assert!(!knows(&remote, "a", 9000).await);
    }

    #[tokio::test]
    async fn no_answer_leads_anywhere_else_or_on_for_ever() {
        let (server, other) = (Server::start(), Server::start());
        other.has(&["a"]);
        let place = &other.url;
        let [json, text] = [TYPE, "Content-Type: text/html"];
        let chunked = format!("{}\r\n", "8000\r\n".to_owned() + &" ".repeat(0x8000)).repeat(9);
        for (n, answer) in [
            format!("301 Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n{json}"),
            format!("307 Temporary Redirect\r\nLocation: {place}\r\nContent-Length: 0\r\n{json}"),
            format!("300 Choices\r\nLocation: {place}\r\nContent-Length: 0\r\n{json}"),
            format!("200 OK\r\nRefresh: 0; url={place}\r\nContent-Length: 0\r\n{json}"),
            // More than there may be, said and not said.
            format!("200 OK\r\nContent-Length: 99999999\r\n{json}"),
            format!("200 OK\r\nTransfer-Encoding: chunked\r\n{json}\r\n\r\n{chunked}0\r\n"),
            // Not what it should be, whatever it holds.
            format!("200 OK\r\nContent-Length: 99\r\n{text}\r\n\r\n{}", set(&["a"])),
            format!("200 OK\r\nX: y\r\n\r\n{}", set(&["a"])),
            format!("200 OK\r\nContent-Encoding: gzip\r\n{json}\r\n\r\n\u{1f}"),
            "200 OK\r\nX: ".to_owned() + &"y".repeat(1 << 20),
        ]
        .into_iter()
        .enumerate()
        {
            *server.answer.lock().expect("not poisoned") = format!("HTTP/1.1 {answer}\r\n\r\n");
            let now = Instant::from_micros(1_700_000_000_000_000);
            let problem = server.remote().find(Some("a"), Algorithm::EdDSA, now).await.expect_err(&answer[..20]);
            assert_eq!((problem.code(), server.asked()), (crate::kernel::Code::Unavailable, n + 1));
        }
        assert_eq!(other.asked(), 0);
        // Both media types of a set are fine.
        *server.answer.lock().expect("not poisoned") = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: Application/JWK-Set+JSON\r\nConnection: close\r\n\r\n{}",
            set(&["a"])
        );
        assert!(knows(&server.remote(), "a", 0).await);
    }

    #[tokio::test]
    async fn who_does_not_answer_is_not_waited_for() {
        let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/", silent.local_addr().expect("an address"));
        let patience = Duration::from_millis(50);
        let remote = Remote::patient(KeySource::url(&url).expect("local"), 3600, 30, patience).expect("a client");
        let now = Instant::from_micros(1_700_000_000_000_000);
        let problem = remote.find(Some("a"), Algorithm::EdDSA, now).await.expect_err("no keys");
        assert_eq!(problem.code(), crate::kernel::Code::Unavailable);
    }

    #[tokio::test]
    async fn names_lead_to_no_metadata_and_local_ones_nowhere_else() {
        for bad in [
            "169.254.169.254",
            "169.254.170.2",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_for_names(bad.parse().expect("an address")), "{bad}");
        }
        for good in ["203.0.113.7", "10.0.0.7", "192.168.1.7", "127.0.0.1", "2001:db8::7", "fd12::7", "::1"] {
            assert!(is_for_names(good.parse().expect("an address")), "{good}");
        }
        // An address is a name to the resolver, too, so that these need no server.
        let resolve = async |local: bool, name: &str| {
            let name: Name = name.parse().expect("a name");
            Resolver { local }.resolve(name).await.map(Iterator::count).unwrap_or(0)
        };
        assert!(resolve(true, "localhost").await > 0 && resolve(false, "localhost").await > 0);
        assert_eq!((resolve(false, "203.0.113.7").await, resolve(true, "203.0.113.7").await), (1, 0));
        assert_eq!(resolve(false, "169.254.169.254").await, 0);
    }

    #[tokio::test]
    async fn without_any_set_the_answer_is_to_come_back() {
        let server = Server::start();
        server.says("503 Later", "");
        let remote = server.remote();
        let now = Instant::from_micros(1_700_000_000_000_000);
        for _ in 0..3 {
            let problem = remote.find(Some("a"), Algorithm::EdDSA, now).await.expect_err("no keys");
            assert_eq!(problem.code(), crate::kernel::Code::Unavailable);
        }
        assert_eq!(server.asked(), 1);
    }

    #[tokio::test]
    async fn many_at_once_fetch_once_and_one_who_leaves_stops_nobody() {
        let server = Server::start();
        server.has(&["a"]);
        let remote = server.remote();
        let gone = knows(&remote, "a", 0).now_or_never();
        assert!(gone.is_none(), "hung up before the answer came");
        let all = futures_util::future::join_all((0..50).map(|_| knows(&remote, "a", 0))).await;
        assert!(all.into_iter().all(|known| known));
        assert_eq!(server.asked(), 1);
    }

    #[test]
    fn only_keys_that_agree_with_themselves_are_used() {
        let with = |mut key: Value, name: &str, value: Value| {
            key[name] = value;
            usable(key).is_some()
        };
        assert!(usable(ed("a")).is_some());
        assert!(with(ed("a"), "alg", json!("EdDSA")) && with(ed("a"), "use", json!("sig")));
        assert!(!with(ed("a"), "alg", json!("RS256")) && !with(ed("a"), "alg", json!("HS256")));
        assert!(!with(ed("a"), "use", json!("enc")) && !with(ed("a"), "key_ops", json!(["encrypt"])));
        assert!(!with(ed("a"), "kty", json!("EC")) && !with(ed("a"), "crv", json!("P-256")));
        let secret = json!({ "kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0" });
        assert!(usable(secret.clone()).is_none() && !with(secret, "alg", json!("HS256")));
        assert!(KeySet::parse(set(&[]).as_bytes()).is_err());
        // Keys under which anybody could sign.
        for point in [0u8, 1, 0x80] {
            let mut small = [0; 32];
            (small[0], small[31]) = (point & 1, point & 0x80);
            assert!(!with(ed("a"), "x", json!(URL_SAFE_NO_PAD.encode(small))), "{point}");
        }
        let rsa = |bytes: usize, e: &[u8]| {
            let (n, e) = (URL_SAFE_NO_PAD.encode(vec![0xff; bytes]), URL_SAFE_NO_PAD.encode(e));
            usable(json!({ "kty": "RSA", "n": n, "e": e })).is_some()
        };
        assert!(rsa(256, &[1, 0, 1]) && rsa(256, &[3]) && rsa(512, &[0, 1, 0, 1]));
        assert!(!rsa(255, &[1, 0, 1]) && !rsa(128, &[1, 0, 1]));
        assert!(!rsa(256, &[1]) && !rsa(256, &[0, 1]) && !rsa(256, &[2]) && !rsa(256, &[0]) && !rsa(256, &[]));
    }

    #[test]
    fn without_a_kid_there_must_be_no_choice() {
        let keys = |kids: &[&str]| KeySet::parse(set(kids).as_bytes()).expect("a set");
        assert!(keys(&["a"]).find(None, Algorithm::EdDSA).is_some());
        assert!(keys(&["a"]).find(None, Algorithm::RS256).is_none());
        assert!(keys(&["a", "b"]).find(None, Algorithm::EdDSA).is_none());
        assert!(keys(&["a", "b"]).find(Some("b"), Algorithm::EdDSA).is_some());
        assert!(keys(&["a", "b"]).find(Some("b"), Algorithm::HS256).is_none());
    }

    #[test]
    fn keys_come_over_tls_or_from_this_machine() {
        for good in ["https://id.example/keys", "http://localhost:8081/keys", "http://127.0.0.1/", "http://[::1]:1/"] {
            assert!(KeySource::url(good).is_ok(), "{good}");
        }
        for bad in ["", "keys", "http://id.example/", "ftp://localhost/", "file:///etc/keys", "https://a:b@id.example/"]
        {
            assert!(KeySource::url(bad).is_err(), "{bad}");
        }
    }
}
