//! How much is let in: requests of a principal and of an address, failed logins, and connections of an address. Each
//! instance counts for itself.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, web};
use quick_cache::sync::Cache;

use super::origin::{Origin, Proxies};
use super::quota::{Quota, QuotaStanding};
use super::seats::Seats;
use super::state::State;
use super::unsent::{self, Caller, Unsent};
use crate::kernel::{Clock, Code, Problem};

/// What is left of the quotas that a request counts for (draft-ietf-httpapi-ratelimit-headers).
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The quotas themselves.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Requests are counted by the minute.
const MINUTE: Duration = Duration::from_secs(60);

/// How many times as many logins may fail from one address, whomever they name; likewise for one account, from all
/// addresses that it is not known from. With the default that is 100, which NIST SP 800-63B, 5.2.2, allows.
const MANY: u32 = 10;

/// In how long the failed logins of one address for one account are forgotten, and those of one address.
const LOGIN_WINDOW: Duration = Duration::from_secs(600);

/// In how long those for one account are forgotten.
const ACCOUNT_WINDOW: Duration = Duration::from_secs(3600);

/// How many pairs of an account and an address are remembered that have logged in.
const KNOWN: usize = 1 << 15;

/// The settings. Where 0 is not said to mean something else, it is no limit.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Requests of one principal in a minute.
    pub per_principal: u32,
    /// Requests from one address in a minute.
    pub per_address: u32,
    /// Failed logins of one address for one account in ten minutes.
    pub failed_logins: u32,
    /// Connections at once; 0 for as many as there can be.
    pub connections: usize,
    /// Connections of one address at once.
    pub connections_per_address: usize,
    /// How long a client may take to send a request, and how long it may take nothing of an answer.
    pub client_timeout: Duration,
    /// How many bytes of answers may be made and not yet taken.
    pub unsent_b: usize,
    /// How many may wait for something to happen at once.
    pub seats: usize,
    /// How much time is between two heartbeats of a stream.
    pub heartbeat: Duration,
    /// Who is believed when they say for whom they ask.
    pub proxies: Proxies,
}

impl Default for Limits {
    /// None, but half a minute, and so many bytes of answers.
    fn default() -> Self {
        Self {
            per_principal: 0,
            per_address: 0,
            failed_logins: 0,
            connections: 0,
            connections_per_address: 0,
            client_timeout: Duration::from_secs(30),
            unsent_b: unsent::MOST_B,
            seats: 4_096,
            heartbeat: Duration::from_secs(15),
            proxies: Proxies::default(),
        }
    }
}

/// What one server counts.
#[derive(Debug)]
pub struct Gate {
    client_timeout: Duration,
    proxies: Proxies,
    principals: Option<Quota>,
    addresses: Option<Quota>,
    logins: Option<Logins>,
    policy: Option<HeaderValue>,
    unsent: Unsent,
    seats: Seats,
    heartbeat: Duration,
    /// Keyed by chance, so that nobody can look for two that fall together.
    hash: RandomState,
}

impl Gate {
    /// A gate that has let nobody in yet.
    pub fn new(limits: &Limits, clock: &Clock) -> Self {
        let principals = Quota::new("principal", limits.per_principal, MINUTE, clock);
        let addresses = Quota::new("address", limits.per_address, MINUTE, clock);
        let mut policy = String::new();
        for (name, most, window_s) in [&addresses, &principals].into_iter().flatten().map(Quota::policy) {
            let comma = if policy.is_empty() { "" } else { ", " };
            // Writing to a string cannot fail.
            let _ = write!(policy, "{comma}\"{name}\";q={most};w={window_s}");
        }
        Self {
            client_timeout: limits.client_timeout,
            proxies: limits.proxies.clone(),
            principals,
            addresses,
            logins: Logins::new(limits.failed_logins, clock),
            policy: HeaderValue::from_str(&policy).ok().filter(|policy| !policy.is_empty()),
            unsent: Unsent::new(limits.unsent_b, limits.client_timeout),
            seats: Seats::new(limits.seats),
            heartbeat: limits.heartbeat,
            hash: RandomState::new(),
        }
    }

    /// The answers that have not been taken yet, by which those are refused who do not take what they have been
    /// answered.
    pub fn unsent(&self) -> &Unsent {
        &self.unsent
    }

    /// How much time is between two heartbeats of a stream.
    pub(super) fn heartbeat(&self) -> Duration {
        self.heartbeat
    }

    /// Who waits for something to happen.
    pub fn seats(&self) -> &Seats {
        &self.seats
    }

    /// How long a client may take to send a body.
    pub fn client_timeout(&self) -> Duration {
        self.client_timeout
    }

    /// Where a request comes from.
    pub fn origin(&self, peer: Option<IpAddr>, headers: &HeaderMap) -> Origin {
        peer.map_or(Origin::Ours, |peer| self.proxies.origin(peer, headers))
    }

    /// Counts a request of `principal`.
    ///
    /// # Errors
    /// `rate_limited`, or `unavailable` when they do not take what they have been answered.
    pub fn count_principal(&self, request: &impl HttpMessage, principal: &impl Hash) -> Result<(), Problem> {
        let caller = Caller(self.hash.hash_one(principal));
        request.extensions_mut().insert(caller);
        count(self.principals.as_ref(), request, caller.0)?;
        self.unsent.admit(caller)
    }

    /// Counts so many further requests of `principal`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn count_more(&self, principal: &impl Hash, more: usize) -> Result<(), Problem> {
        let Some(quota) = &self.principals else { return Ok(()) };
        let key = self.hash.hash_one(principal);
        for _ in 0..more {
            quota.take(key).map_err(too_many)?;
        }
        Ok(())
    }

    fn count_address(&self, request: &ServiceRequest) -> Result<(), Problem> {
        match (&self.addresses, self.origin(request.peer_addr().map(|peer| peer.ip()), request.headers())) {
            (Some(_), Origin::Address(address)) => count(self.addresses.as_ref(), request, self.hash.hash_one(address)),
            _ => Ok(()),
        }
    }

    /// Headers that tell what there is, and what is left of what `request` has counted for.
    pub fn tell(&self, request: &impl HttpMessage) -> [Option<(HeaderName, HeaderValue)>; 2] {
        let Some(policy) = &self.policy else { return [None, None] };
        let mut left = String::new();
        if let Some(Standings(standings)) = request.extensions().get() {
            for QuotaStanding { name, left: remaining, wait_s } in standings.iter().flatten() {
                let comma = if left.is_empty() { "" } else { ", " };
                // Writing to a string cannot fail.
                let _ = write!(left, "{comma}\"{name}\";r={remaining};t={wait_s}");
            }
        }
        let left = HeaderValue::try_from(left).ok().filter(|left| !left.is_empty());
        [Some((RATE_LIMIT_POLICY, policy.clone())), left.map(|left| (RATE_LIMIT, left))]
    }

    /// Begins an attempt to prove a secret from `origin`, that of `account`, if it names one. It counts as failed until
    /// it is told what became of it, so that many at once are no way around.
    ///
    /// # Errors
    /// `rate_limited`: the same, whether there is such an account or not.
    pub fn attempt(&self, origin: Origin, account: Option<&str>) -> Result<Attempt<'_>, Problem> {
        let Some(logins) = &self.logins else { return Ok(Attempt { logins: None, taken: [None; 3], pair: None }) };
        let pair = account.map(|account| self.hash.hash_one((account, origin)));
        let address = match origin {
            Origin::Address(address) => Some(self.hash.hash_one(address)),
            Origin::Ours => None,
        };
        let is_known = pair.is_some_and(|pair| logins.known.get(&pair).is_some());
        let account = account.filter(|_| !is_known).map(|account| self.hash.hash_one(account));
        let mut attempt = Attempt { logins: Some(logins), taken: [None; 3], pair };
        for (place, key) in [pair, address, account].into_iter().enumerate() {
            let Some(key) = key else { continue };
            if let Err(refused) = logins.quotas[place].take(key) {
                attempt.undo();
                let detail = format!("Too many failed logins. Try again in {} s.", refused.wait_s);
                return Err(Problem::rate_limited(detail, refused.wait_s));
            }
            attempt.taken[place] = Some(key);
        }
        Ok(attempt)
    }
}

/// Where senders are that only come again after an answer of 5xx, such as Alertmanager: to them a limit is said so.
const OF_ALERTS: &str = "/v1/alerts/";

/// The problem, as a sender at `path` understands it.
pub fn understood(path: &str, problem: Problem) -> Problem {
    match problem.code() {
        Code::RateLimited if path.starts_with(OF_ALERTS) => {
            let detail = problem.detail().to_owned();
            let wait_s = problem.members().get("retry_after_s").cloned().unwrap_or_else(|| 1.into());
            Problem::overloaded("a limit was met").saying(detail).with("retry_after_s", wait_s)
        }
        _ => problem,
    }
}

/// What a request has counted for.
#[derive(Debug, Default)]
struct Standings([Option<QuotaStanding>; 2]);

fn count(quota: Option<&Quota>, request: &impl HttpMessage, key: u64) -> Result<(), Problem> {
    let Some(quota) = quota else { return Ok(()) };
    let taken = quota.take(key);
    let (Ok(standing) | Err(standing)) = taken;
    let mut extensions = request.extensions_mut();
    match extensions.get_mut::<Standings>() {
        Some(Standings([_, second])) => *second = Some(standing),
        None => drop(extensions.insert(Standings([Some(standing), None]))),
    }
    taken.map(drop).map_err(too_many)
}

fn too_many(QuotaStanding { name, wait_s, .. }: QuotaStanding) -> Problem {
    Problem::rate_limited(format!("Too many requests of this {name}. Try again in {wait_s} s."), wait_s)
}

/// Counts requests by their address, before anything else is done for them (a token that is no good costs more to find
/// out), and sends writes away while too many wait.
///
/// # Errors
/// Those of what is behind it.
pub async fn gate(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    // Whoever asks whether the process lives must not be told that it is busy.
    let is_full = || request.app_data::<web::Data<State>>().is_some_and(|state| state.db.is_full());
    let counted = match request.app_data::<web::Data<Gate>>() {
        Some(gate) if request.path() != "/health/live" => gate.count_address(&request),
        _ => Ok(()),
    };
    let counted = match counted {
        // A refusal that comes late costs nearly as much as what it refuses.
        Ok(()) if !request.method().is_safe() && is_full() => Err(Problem::overloaded("too many writes wait")),
        other => other,
    };
    match counted {
        Ok(()) => next.call(request).await.map(ServiceResponse::map_into_boxed_body),
        Err(problem) => {
            let problem = understood(request.path(), problem);
            Ok(request.error_response(problem))
        }
    }
}

/// Failed logins.
#[derive(Debug)]
struct Logins {
    /// Of one address for one account; of one address; for one account from where it is not known.
    quotas: [Quota; 3],
    /// Pairs of an account and an address that have logged in. They are not kept out by what others do: otherwise
    /// whoever knows a name could keep its owner out for good.
    known: Cache<u64, ()>,
}

impl Logins {
    fn new(failed: u32, clock: &Clock) -> Option<Self> {
        let many = failed.saturating_mul(MANY);
        let quotas = [
            Quota::new("login", failed, LOGIN_WINDOW, clock)?,
            Quota::new("login", many, LOGIN_WINDOW, clock)?,
            Quota::new("login", many, ACCOUNT_WINDOW, clock)?,
        ];
        Some(Self { quotas, known: Cache::new(KNOWN) })
    }
}

/// A secret that is being judged: whoever judges one asks for this. Dropped, it has failed.
#[derive(Debug)]
#[must_use]
pub struct Attempt<'a> {
    logins: Option<&'a Logins>,
    taken: [Option<u64>; 3],
    pair: Option<u64>,
}

impl Attempt<'_> {
    /// It was good. What failed before it is forgotten, but not whom else this address has tried.
    pub fn succeeded(self) {
        self.undo();
        if let (Some(logins), Some(pair)) = (self.logins, self.pair) {
            logins.quotas[0].clear(pair);
            logins.known.insert(pair, ());
        }
    }

    /// It was not judged.
    pub fn undo(&self) {
        for (quota, key) in self.logins.iter().flat_map(|logins| &logins.quotas).zip(self.taken) {
            if let Some(key) = key {
                quota.give_back(key);
            }
        }
    }
}

/// The connections of each address that is no proxy.
#[derive(Debug, Clone)]
pub struct Connections {
    most: usize,
    proxies: Proxies,
    open: Open,
}

/// How many are open, by address.
type Open = Arc<Mutex<HashMap<IpAddr, usize>>>;

/// A connection, for as long as this lives.
#[derive(Debug)]
pub struct ConnectionPermit(Option<(Open, IpAddr)>);

impl Connections {
    /// Nobody is connected.
    pub fn new(limits: &Limits) -> Self {
        Self { most: limits.connections_per_address, proxies: limits.proxies.clone(), open: Arc::default() }
    }

    /// A seat for one connection of `peer`, if it may have one more.
    pub fn sit_down(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        if self.most == 0 || self.proxies.trust(peer) {
            return Some(ConnectionPermit(None));
        }
        let Origin::Address(address) = Proxies::default().origin(peer, &HeaderMap::new()) else { return None };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit(Some((self.open.clone(), address))))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some((open, address)) = &self.0 else { return };
        let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(address) {
            *count -= 1;
            if *count == 0 {
                open.remove(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_address_and_forgotten_when_they_end() {
        let proxies = Proxies::parse("10.0.0.0/8").expect("a network");
        let connections = Connections::new(&Limits { connections_per_address: 2, proxies, ..Limits::default() });
        let sit = |peer: &str| connections.sit_down(peer.parse().expect("an address"));
        let (first, second) = (sit("192.0.2.1"), sit("::ffff:192.0.2.1"));
        assert!(first.is_some() && second.is_some() && sit("192.0.2.1").is_none() && sit("192.0.2.2").is_some());
        drop(first);
        assert!(sit("192.0.2.1").is_some());
        drop(second);
        assert!(connections.open.lock().expect("no panic").is_empty());
        let ours: Vec<_> = (0..5).map(|_| sit("10.1.1.1")).collect();
        assert!(ours.iter().all(Option::is_some));
    }
}
