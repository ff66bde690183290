//! What carries messages to their receivers: it connects to what webhooks may lead to alone, follows nobody elsewhere,
//! and tells nothing of what they answer but how it went.

use std::error::Error as StdError;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use jiff::fmt::rfc2822::DateTimeParser;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode};

use crate::kernel::{EventId, Instant};
use crate::webhooks::domain::message::{self, SigningSecret};
use crate::webhooks::domain::{Egress, WebhookDeliveryError, WebhookTarget};

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
pub struct CourierPatience {
    /// Until there is a connection.
    pub connect: Duration,
    /// In all.
    pub whole: Duration,
}

impl Default for CourierPatience {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), whole: Duration::from_secs(20) }
    }
}

/// How much of an answer is read, and thrown away, so that its connection can be used again.
const MOST_READ_B: usize = 64 << 10;

/// How many connections to one receiver are kept for a moment.
const KEPT_CONNECTIONS: usize = 4;

/// For how long.
const KEPT_FOR: Duration = Duration::from_secs(5);

/// Carries messages. A connection belongs to the thread that opened it, so each has a courier of its own.
pub struct Courier {
    egress: Arc<Egress>,
    /// What messages say where they come from.
    source: String,
    patience: CourierPatience,
    tls: Client,
    plain: Client,
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").field("egress", &self.egress).finish_non_exhaustive()
    }
}

/// A message.
#[derive(Debug)]
pub struct Message {
    /// Its id: the same at each attempt.
    pub id: EventId,
    /// Its type.
    pub kind: String,
    /// When it happened.
    pub at: Instant,
    /// What is sent.
    pub body: Vec<u8>,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempted {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it has failed, if it has.
    pub error: Option<WebhookDeliveryError>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// How long the receiver wants to be left alone, in seconds.
    pub asked_for_s: Option<i64>,
}

impl Attempted {
    /// One that has failed before anything was sent.
    pub fn failed(error: WebhookDeliveryError) -> Self {
        Self { status: None, error: Some(error), duration_ms: 0, asked_for_s: None }
    }
}

impl Courier {
    /// A courier that connects to what is public and to what `egress` opens, and calls itself `source`. With
    /// `keeps_connections`, all that it sends must be sent on one runtime.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(
        egress: Arc<Egress>,
        source: String,
        patience: CourierPatience,
        keeps_connections: bool,
    ) -> Result<Self, String> {
        let client = |is_plain: bool| {
            Client::builder()
                .connect_timeout(patience.connect)
                .redirect(reqwest::redirect::Policy::none())
                .https_only(!is_plain)
                // Whatever the environment says: what stands between would connect to where we must not.
                .no_proxy()
                .referer(false)
                .retry(reqwest::retry::never())
                .dns_resolver(EgressResolver { egress: egress.clone(), is_plain })
                .pool_max_idle_per_host(if keeps_connections { KEPT_CONNECTIONS } else { 0 })
                .pool_idle_timeout(KEPT_FOR)
                .user_agent(concat!("Skranke/", env!("CARGO_PKG_VERSION")))
                .build()
                .map_err(|e| format!("cannot make an HTTP client: {e}"))
        };
        Ok(Self { tls: client(false)?, plain: client(true)?, egress, source, patience })
    }

    /// Where webhooks may lead.
    pub fn egress(&self) -> &Egress {
        &self.egress
    }

    /// The same.
    pub fn shared_egress(&self) -> Arc<Egress> {
        self.egress.clone()
    }

    /// Sends `message` to `url`, once, signed at `now`.
    pub async fn send(&self, url: &str, secrets: &[SigningSecret], message: Message, now: Instant) -> Attempted {
        // What may be led to may have become less since.
        let Ok(target) = WebhookTarget::parse(url, &self.egress) else {
            return Attempted::failed(WebhookDeliveryError::AddressRefused);
        };
        let began = Stopwatch::now();
        let outcome = tokio::time::timeout(self.patience.whole, self.post(&target, secrets, message, now)).await;
        let duration_ms = i64::try_from(began.elapsed().as_millis()).unwrap_or(i64::MAX);
        match outcome {
            Ok(attempted) => Attempted { duration_ms, ..attempted },
            Err(_) => Attempted { duration_ms, ..Attempted::failed(WebhookDeliveryError::Timeout) },
        }
    }

    async fn post(
        &self,
        target: &WebhookTarget,
        secrets: &[SigningSecret],
        message: Message,
        now: Instant,
    ) -> Attempted {
        let Message { id, kind, at, body } = message;
        let (id, timestamp_s) = (id.to_string(), now.seconds());
        let signature = message::signatures(secrets, &id, timestamp_s, &body);
        let client = if target.is_plain() { &self.plain } else { &self.tls };
        let request = client
            .post(target.url().clone())
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp_s)
            .header("webhook-signature", signature)
            .header("ce-specversion", "1.0")
            .header("ce-id", &id)
            .header("ce-source", &self.source)
            .header("ce-type", kind)
            .header("ce-time", at.to_string())
            .body(body);
        match request.send().await {
            Ok(answer) => {
                let attempted = judge(&answer, now);
                let rest = read(answer);
                // Who has said yes need not say more: what follows may take its time, but not all of it.
                if attempted.error.is_none() {
                    drop(tokio::time::timeout(Duration::from_secs(1), rest).await);
                }
                attempted
            }
            Err(error) => Attempted::failed(cause(&error)),
        }
    }
}

/// How a receiver has answered.
fn judge(answer: &Response, now: Instant) -> Attempted {
    let status = answer.status();
    let error = match status {
        status if status.is_success() => None,
        StatusCode::GONE => Some(WebhookDeliveryError::Gone),
        status if status.is_redirection() => Some(WebhookDeliveryError::Redirect),
        _ => Some(WebhookDeliveryError::Status),
    };
    let asked_for_s = error.and_then(|_| asked_for_s(answer.headers(), now));
    Attempted { status: Some(status.as_u16()), error, duration_ms: 0, asked_for_s }
}

/// What `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date.
fn asked_for_s(headers: &HeaderMap, now: Instant) -> Option<i64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<i64>() {
        return Some(seconds);
    }
    let until = DateTimeParser::new().parse_timestamp(text).ok()?;
    until.as_second().checked_sub(now.seconds())
}

/// Reads an answer to its end, or as much of it as is read.
async fn read(mut answer: Response) {
    let mut left_b = MOST_READ_B;
    while let Ok(Some(chunk)) = answer.chunk().await {
        match left_b.checked_sub(chunk.len()) {
            Some(rest) => left_b = rest,
            None => return,
        }
    }
}

/// Why nothing was answered.
fn cause(error: &reqwest::Error) -> WebhookDeliveryError {
    let mut next: Option<&(dyn StdError + 'static)> = error.source();
    while let Some(error) = next {
        if let Some(refused) = error.downcast_ref::<Unresolved>() {
            return refused.0;
        }
        if error.is::<rustls::Error>() {
            return WebhookDeliveryError::Tls;
        }
        // An error of input and output shows what is in it by itself alone.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    if error.is_timeout() {
        WebhookDeliveryError::Timeout
    } else if error.is_connect() {
        WebhookDeliveryError::Connect
    } else {
        WebhookDeliveryError::Broken
    }
}

/// Why a name is not connected to.
#[derive(Debug, thiserror::Error)]
#[error("not connected to: {0}")]
struct Unresolved(WebhookDeliveryError);

/// Resolves names as the system does, and refuses those that have an address which may not be led to. What is judged is
/// what is connected to: nobody resolves the name again.
struct EgressResolver {
    egress: Arc<Egress>,
    is_plain: bool,
}

impl Resolve for EgressResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (egress, is_plain) = (self.egress.clone(), self.is_plain);
        Box::pin(async move {
            let found =
                tokio::net::lookup_host((name.as_str(), 0)).await.map_err(|_| Unresolved(WebhookDeliveryError::Dns))?;
            let found: Vec<SocketAddr> = found.collect();
            if found.is_empty() {
                return Err(Unresolved(WebhookDeliveryError::Dns).into());
            }
            if found.iter().any(|address| !egress.permits(address.ip(), is_plain)) {
                return Err(Unresolved(WebhookDeliveryError::AddressRefused).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn what_a_receiver_asks_for_is_seconds_or_a_date() {
        let now: Instant = "2026-03-02T09:00:00.000000Z".parse().expect("an instant");
        let asked = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_str(text).expect("a header"));
            asked_for_s(&headers, now)
        };
        assert_eq!(asked("120"), Some(120));
        assert_eq!(asked("Mon, 02 Mar 2026 09:10:00 GMT"), Some(600));
        assert_eq!(asked("Mon, 02 Mar 2026 08:50:00 GMT"), Some(-600));
        for nonsense in ["", "soon", "1.5", "99999999999999999999"] {
            assert_eq!(asked(nonsense), None, "{nonsense}");
        }
        assert_eq!(asked_for_s(&HeaderMap::new(), now), None);
    }

    /// A name that leads to this machine stands for all that leads inside.
    #[tokio::test]
    async fn a_name_is_refused_that_has_an_address_inside() {
        let resolve = async |egress: &str, is_plain: bool| {
            let egress = Arc::new(Egress::parse(egress).expect("networks"));
            let resolved = EgressResolver { egress, is_plain }.resolve("localhost".parse().expect("a name")).await;
            resolved
                .map(|found| found.count() > 0)
                .map_err(|error| error.downcast_ref::<Unresolved>().map(|refused| refused.0))
        };
        for is_plain in [true, false] {
            assert_eq!(resolve("", is_plain).await, Err(Some(WebhookDeliveryError::AddressRefused)));
            assert_eq!(resolve("10.0.0.0/8", is_plain).await, Err(Some(WebhookDeliveryError::AddressRefused)));
            assert_eq!(resolve("127.0.0.0/8,::1", is_plain).await, Ok(true));
        }
    }
}
