//! Where the servers are, and how a connection to one of them is made.

use std::future::poll_fn;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use diesel::ConnectionError;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit};
use tokio_postgres::config::LoadBalanceHosts;
use tokio_postgres::{AsyncMessage, CancelToken, Connection, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::url::{PATIENCE, only, parse, tls};
use crate::db::fault::in_words;
use crate::db::signal::{CHANGES_CHANNEL, ChangesPublished};
use crate::db::slow::Listener;

/// What carries the traffic of a connection.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) ended: Arc<AtomicBool>,
    pub(super) cancel: CancelToken,
    pub(super) tls: MakeRustlsConnect,
    pub(super) driver: tokio::task::AbortHandle,
    pub(super) runtime: Handle,
}

/// What the server ends by itself, in milliseconds; 0 is never.
#[derive(Clone, Copy)]
pub(super) struct ServerLimits {
    statement_ms: u128,
    lock_ms: u128,
    idle_in_transaction_ms: u128,
    /// Whether it hears what other instances say.
    listens: bool,
}

impl ServerLimits {
    /// For requests, which wait for so long.
    pub(super) fn of_requests(wait: Duration) -> Self {
        let ms = wait.as_millis();
        Self { statement_ms: ms, lock_ms: ms, idle_in_transaction_ms: ms, listens: false }
    }

    /// For lines of requests: whoever waits for a lock there keeps all later ones waiting.
    pub(super) fn of_lines(wait: Duration) -> Self {
        Self { lock_ms: 100, ..Self::of_requests(wait) }
    }

    /// For what runs by itself, and for commands.
    pub(super) const OF_JOBS: Self =
        Self { statement_ms: 600_000, lock_ms: 10_000, idle_in_transaction_ms: 60_000, listens: true };

    /// For migrations: they take what they need, and wait for each other.
    pub(super) const OF_MIGRATIONS: Self =
        Self { statement_ms: 0, lock_ms: 0, idle_in_transaction_ms: 0, listens: false };

    fn in_sql(self) -> String {
        let Self { statement_ms, lock_ms, idle_in_transaction_ms, .. } = self;
        format!(
            "SET TIME ZONE 'UTC'; SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms}; \
             SET idle_in_transaction_session_timeout = {idle_in_transaction_ms}"
        )
    }
}

/// Why a pool of others is refused.
const SHARED_SESSIONS: &str = "the database is reached through a pool that gives each transaction another session, as PgBouncer \
                               does with pool_mode = transaction or statement; Skranke keeps connections and prepared statements \
                               itself: connect to PostgreSQL directly, or through a pool with pool_mode = session";

/// The server, too, notices that this instance has vanished, and lets go of what it has locked; its own limits are
/// hours.
const LEAVES_NOTHING_BEHIND: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
                                     SET tcp_user_timeout = 15000";

/// Ends a statement that nobody waits for, since its connection has ended.
const LOOKS_WHO_IS_THERE: &str = "SET client_connection_check_interval = 1000";

/// How often two connections are looked at before each is believed to have a session of its own.
const SESSION_LOOKS: u32 = 3;

/// Where the servers are, and how they are spoken to.
#[derive(Clone)]
pub(super) struct Servers {
    /// One for each host that the URL names.
    hosts: Arc<[tokio_postgres::Config]>,
    /// Which of them has served last.
    served: Arc<AtomicUsize>,
    /// Set when it is known that each connection has a session of its own.
    has_sessions: Arc<OnceCell<()>>,
    tls: MakeRustlsConnect,
    pub(super) listener: Option<Listener>,
    /// Given when a server says that another instance has published changes.
    published: Arc<ChangesPublished>,
}

impl Servers {
    pub(super) fn new(url: &str, listener: Option<Listener>, published: Arc<ChangesPublished>) -> Result<Self, String> {
        let all = parse(url)?;
        let hosts: Arc<[_]> =
            (0..all.get_hosts().len().max(all.get_hostaddrs().len())).map(|n| only(&all, n)).collect();
        let served = match all.get_load_balance_hosts() {
            LoadBalanceHosts::Random => usize::try_from(RandomState::new().hash_one(0) >> 33).unwrap_or(0),
            _ => 0,
        };
        Ok(Self {
            hosts,
            served: Arc::new(served.into()),
            has_sessions: Arc::default(),
            tls: tls(),
            listener,
            published,
        })
    }

    /// A connection that is ready for use, with these `limits`.
    pub(super) async fn greet(
        &self,
        limits: ServerLimits,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(tokio_postgres::Client, Wire), ConnectionError> {
        let greeted = async {
            self.has_sessions.get_or_try_init(|| self.require_sessions()).await?;
            let (client, wire) = self.reach(permit).await?;
            let broken = |e: tokio_postgres::Error| ConnectionError::BadConnection(in_words(&e));
            client.batch_execute(&limits.in_sql()).await.map_err(broken)?;
            // What serves may not know all of these, and does not need to.
            let listen = format!("LISTEN {CHANGES_CHANNEL}");
            let settings = [LEAVES_NOTHING_BEHIND, LOOKS_WHO_IS_THERE].into_iter();
            // A standby says nothing.
            for settings in settings.chain(limits.listens.then_some(listen.as_str())) {
                if let Err(error) = client.batch_execute(settings).await {
                    tracing::debug!(cause = in_words(&error), "the server keeps its own limits");
                }
            }
            Ok((client, wire))
        };
        // Whoever waited for it may be gone. What listens may take all that is said, and not answer.
        let greeted = tokio::time::timeout(self.patience(), greeted).await;
        greeted.unwrap_or_else(|_| Err(ConnectionError::BadConnection("no answer in time".into())))
    }

    /// How long it takes at most to connect to one of the hosts and to get to know it.
    fn patience(&self) -> Duration {
        let each = |host: &tokio_postgres::Config| host.get_connect_timeout().copied().unwrap_or(PATIENCE);
        self.hosts.iter().map(each).sum::<Duration>() + PATIENCE
    }

    /// A connection to the host that has served last, or to the next one that does. Its `permit` goes when it has
    /// ended.
    async fn reach(
        &self,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(tokio_postgres::Client, Wire), ConnectionError> {
        let (first, mut faults) = (self.served.load(Ordering::Relaxed), Vec::new());
        for nth in (0..self.hosts.len()).map(|n| (first + n) % self.hosts.len()) {
            let Some(host) = self.hosts.get(nth) else { continue };
            let patience = host.get_connect_timeout().copied().unwrap_or(PATIENCE);
            // Its own limit is for TCP alone: what listens may still be too busy to greet.
            match tokio::time::timeout(patience, host.connect(self.tls.clone())).await {
                Ok(Ok((client, connection))) => {
                    self.served.store(nth, Ordering::Relaxed);
                    let ended = Arc::new(AtomicBool::new(false));
                    let (end, published) = (ended.clone(), self.published.clone());
                    let driver = tokio::spawn(async move {
                        let _counted = permit;
                        if let Err(error) = carry(connection, &published).await {
                            tracing::debug!(cause = %error, "a connection to PostgreSQL has ended");
                        }
                        end.store(true, Ordering::Release);
                    });
                    let (cancel, tls, runtime) = (client.cancel_token(), self.tls.clone(), Handle::current());
                    return Ok((client, Wire { ended, cancel, tls, driver: driver.abort_handle(), runtime }));
                }
                Ok(Err(error)) => faults.push(in_words(&error)),
                Err(_) => faults.push("no answer in time".into()),
            }
        }
        Err(ConnectionError::BadConnection(faults.join("; ")))
    }

    /// Refuses a pool that hands sessions around: while one connection holds the session that another has just had, the
    /// other gets a different one.
    async fn require_sessions(&self) -> Result<(), ConnectionError> {
        async fn session(client: &tokio_postgres::Client) -> Result<String, tokio_postgres::Error> {
            let said = client.simple_query("SELECT pg_backend_pid()").await?;
            let id = said.iter().find_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Ok(id.unwrap_or_default())
        }
        let look = async |one: &tokio_postgres::Client, two: &tokio_postgres::Client| {
            let before = session(one).await?;
            match two.batch_execute("BEGIN").await {
                // A pool that hands them around for each statement takes no transactions at all.
                Err(error) if error.as_db_error().is_some() => return Ok(false),
                begun => begun?,
            }
            // Where there is one session for both, it would be waited for.
            let is_own = session(two).await? != before && session(one).await? == before;
            two.batch_execute("COMMIT").await?;
            Ok::<_, tokio_postgres::Error>(is_own)
        };
        let ((one, _), (two, _)) = (self.reach(None).await?, self.reach(None).await?);
        for _ in 0..SESSION_LOOKS {
            if !look(&one, &two).await.map_err(|e| ConnectionError::BadConnection(in_words(&e)))? {
                return Err(ConnectionError::InvalidConnectionUrl(SHARED_SESSIONS.into()));
            }
        }
        Ok(())
    }
}

/// Carries the traffic of a connection until it ends, and hears what the server says of itself meanwhile.
async fn carry<S, T>(
    mut connection: Connection<S, T>,
    published: &ChangesPublished,
) -> Result<(), tokio_postgres::Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = poll_fn(|cx| connection.poll_message(cx)).await {
        if let AsyncMessage::Notification(_) = message? {
            published.0.give();
        }
    }
    Ok(())
}
