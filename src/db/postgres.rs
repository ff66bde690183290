//! PostgreSQL by a pure Rust client with rustls: a pool of connections for transactions, and a few lines on which many
//! requests read at once, each without waiting for the answer to the one before (pipelining).

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::{Metrics, Object, Pool, RecycleError, RecycleResult, Timeouts};
use diesel::ConnectionError;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conn::{Conn, Kept, Line};
use super::queue::{self, Place, Queue};
use super::{Listener, Load};
use crate::kernel::Problem;

/// How often a transaction that lost against another is done again before the caller hears of it.
const ATTEMPTS: u32 = 8;

/// Whether other writes may be at work meanwhile.
#[derive(Clone, Copy)]
pub enum Company {
    /// They may.
    Welcome,
    /// They wait.
    None,
}

impl Company {
    /// Takes the lock before the snapshot is taken (`LOCK` takes none), so that whoever waited for it sees all that was
    /// written meanwhile. Reads are never kept waiting.
    fn begin(self) -> &'static str {
        match self {
            Company::Welcome => "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN ROW SHARE MODE",
            Company::None => "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN EXCLUSIVE MODE",
        }
    }
}

/// How many lines each worker thread reads on.
const LINES: usize = 2;

/// One connection. Its statements are carried out in the order in which they are sent.
pub struct Backend {
    conn: AsyncPgConnection,
    /// Set when the connection is gone.
    ended: Arc<AtomicBool>,
    /// Whether a transaction is open, as far as is known here.
    open: AtomicBool,
    /// The texts of posted statements that have been prepared on this connection.
    prepared: Mutex<HashSet<String>>,
}

impl Backend {
    /// A connection whose traffic the current runtime carries, for as long as that lives.
    async fn connect(target: &Target) -> Result<Self, ConnectionError> {
        let (client, connection) = target.config.connect(target.tls.clone()).await.map_err(|e| {
            let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
            ConnectionError::BadConnection(format!("{e}{source}"))
        })?;
        let ended = Arc::new(AtomicBool::new(false));
        let end = ended.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(cause = %error, "a connection to PostgreSQL has ended");
            }
            end.store(true, Ordering::Release);
        });
        let mut conn = AsyncPgConnection::try_from(client).await?;
        if let Some(listener) = &target.listener {
            conn.set_instrumentation(listener());
        }
        Ok(Self { conn, ended, open: AtomicBool::new(false), prepared: Mutex::default() })
    }

    /// What queries run on.
    pub fn conn(&self) -> &AsyncPgConnection {
        &self.conn
    }

    fn is_gone(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }
}

/// A connection as one request has it.
pub struct Channel {
    backend: Arc<Backend>,
    /// Kept until the request is done with it.
    _turn: Turn,
    posted: Vec<JoinHandle<Result<(), Problem>>>,
}

/// Whose turn on a connection it is.
enum Turn {
    /// One transaction's, alone.
    Alone(#[expect(dead_code, reason = "goes back to the pool when it is dropped")] Object<Maker>),
    /// Among others.
    Shared(#[expect(dead_code, reason = "counts for as long as it lives")] Place),
}

impl Channel {
    /// The connection, to be shared with whatever is sent on it.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// Sends a statement and does not wait for its answer: what is sent later finds it done, and the end of the
    /// transaction waits for it. `problem` says what its errors mean.
    ///
    /// # Errors
    /// Its own, if it is not prepared yet, or never kept: preparing it takes an answer.
    pub async fn post<Q>(&mut self, statement: Q, problem: fn(diesel::result::Error) -> Problem) -> Result<(), Problem>
    where
        Q: QueryFragment<Pg> + QueryId + Send + 'static,
    {
        let mut text = PgQueryBuilder::default();
        statement.to_sql(&mut text, &Pg)?;
        let text = text.finish();
        let is_kept = statement.is_safe_to_cache_prepared(&Pg)?;
        let is_prepared =
            is_kept && self.backend.prepared.lock().unwrap_or_else(PoisonError::into_inner).contains(&text);
        let backend = self.backend.clone();
        let run = async move {
            let done = diesel_async::RunQueryDsl::execute(statement, &mut &backend.conn).await;
            done.map(drop).map_err(problem)
        };
        if is_prepared {
            return self.send(run);
        }
        run.await?;
        if is_kept {
            self.backend.prepared.lock().unwrap_or_else(PoisonError::into_inner).insert(text);
        }
        Ok(())
    }

    /// Sends what needs no preparing.
    fn send(&mut self, statement: impl Future<Output = Result<(), Problem>> + Send + 'static) -> Result<(), Problem> {
        // The first poll sends it; without a budget it never holds back.
        let mut statement = tokio::task::unconstrained(statement).boxed();
        if let Some(outcome) = (&mut statement).now_or_never() {
            return outcome;
        }
        // The answer is taken as it comes: those to later statements come behind it.
        self.posted.push(tokio::spawn(statement));
        Ok(())
    }

    fn control(&self, sql: &'static str) -> impl Future<Output = Result<(), Problem>> + Send + 'static {
        let backend = self.backend.clone();
        async move { (&mut &backend.conn).batch_execute(sql).await.map_err(Problem::from) }
    }

    fn begin(&mut self, sql: &'static str) -> Result<(), Problem> {
        self.backend.open.store(true, Ordering::Release);
        let begin = self.control(sql);
        self.send(begin)
    }

    /// Ends the transaction by `sql`; gives the first error of what was posted in it.
    async fn end(&mut self, sql: &'static str) -> Result<(), Problem> {
        let posted = std::mem::take(&mut self.posted);
        let (posted, ended) = join(join_all(posted), self.control(sql)).await;
        if ended.is_ok() {
            self.backend.open.store(false, Ordering::Release);
        }
        posted.into_iter().try_for_each(|answer| answer.map_err(Problem::internal)?).and(ended)
    }
}

/// Where the server is, and how it is spoken to.
#[derive(Clone)]
struct Target {
    config: tokio_postgres::Config,
    tls: MakeRustlsConnect,
    listener: Option<Listener>,
}

/// Makes the connections of the pool.
struct Maker {
    target: Target,
    /// Carries their traffic.
    driver: tokio::runtime::Handle,
}

impl deadpool::managed::Manager for Maker {
    type Type = Arc<Backend>;
    type Error = ConnectionError;

    async fn create(&self) -> Result<Arc<Backend>, ConnectionError> {
        let target = self.target.clone();
        let connecting = self.driver.spawn(async move { Backend::connect(&target).await });
        connecting.await.unwrap_or_else(|e| Err(ConnectionError::BadConnection(e.to_string()))).map(Arc::new)
    }

    async fn recycle(&self, backend: &mut Arc<Backend>, _: &Metrics) -> RecycleResult<ConnectionError> {
        if backend.is_gone() {
            return Err(RecycleError::message("it is gone"));
        }
        // Whoever was in the middle of a transaction went away; closing the connection undoes it.
        if backend.open.load(Ordering::Acquire) {
            return Err(RecycleError::message("a transaction is open"));
        }
        Ok(())
    }
}

/// What all threads share.
struct Shared {
    /// The pools of all threads.
    pools: Mutex<Vec<Pool<Maker>>>,
    target: Target,
    /// How many connections there are for transactions, for all threads that serve requests together.
    size: usize,
    wait: Duration,
    kept: Arc<Kept>,
    /// Those who read on lines.
    reading: Queue,
    /// How many may wait for a connection, on all threads together.
    most_waiting: AtomicUsize,
}

/// How many times as many may read on lines as may wait for a connection: they are answered sooner.
const READING: usize = 4;

/// The doors to one PostgreSQL primary.
pub struct Postgres {
    shared: Arc<Shared>,
    /// For transactions.
    pool: Pool<Maker>,
    /// Those who wait for one.
    waiting: Queue,
    /// How many of them may be read in at once for reports, so that some are left to those who write.
    reports: Semaphore,
    /// Opened by whoever reads first; their traffic is carried by that thread.
    lines: [tokio::sync::Mutex<Option<Arc<Backend>>>; LINES],
}

impl Postgres {
    /// Transactions on at most `size` connections to `url`; connects on first use.
    ///
    /// # Errors
    /// A sentence about what is wrong with the URL.
    pub fn open(url: &str, size: usize, wait: Duration, listener: Option<Listener>) -> Result<Arc<Self>, String> {
        let target = Target { config: parse(url)?, tls: tls(), listener };
        let (pools, kept, reading) = (Mutex::default(), Arc::default(), Queue::new(wait));
        let most_waiting = AtomicUsize::new(queue::MOST);
        let shared = Arc::new(Shared { pools, target, size, wait, kept, reading, most_waiting });
        Self::with_pool(shared, 1)
    }

    /// Lets `most` wait for a connection, and more read on lines.
    pub fn resize_queues(&self, most: usize) {
        self.shared.reading.resize(most.saturating_mul(READING));
        self.shared.most_waiting.store(most, Ordering::Relaxed);
        self.waiting.resize(most);
    }

    /// The same database with lines and a pool of its own, for one of so many threads that each serve requests by
    /// themselves: no answer then goes from one thread to another.
    ///
    /// # Errors
    /// None that is known of.
    pub fn local(&self, threads: usize) -> Result<Arc<Self>, String> {
        Self::with_pool(self.shared.clone(), threads)
    }

    /// Connections whose traffic the current runtime carries: the share of one of so many threads.
    fn with_pool(shared: Arc<Shared>, threads: usize) -> Result<Arc<Self>, String> {
        let size = (shared.size / threads).max(1);
        let maker = Maker { target: shared.target.clone(), driver: tokio::runtime::Handle::current() };
        let wait = Some(shared.wait);
        let pool = Pool::builder(maker)
            .max_size(size)
            .timeouts(Timeouts { wait, create: wait, recycle: None })
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|e| e.to_string())?;
        shared.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        let reports = Semaphore::new(size.div_ceil(2));
        let waiting = Queue::new(shared.wait);
        waiting.resize((shared.most_waiting.load(Ordering::Relaxed) / threads).max(1));
        Ok(Arc::new(Self { shared, pool, waiting, reports, lines: Default::default() }))
    }

    /// How busy the connections are; a line that several requests read on counts for each of them.
    pub fn how_busy(&self) -> Load {
        let pools = self.shared.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut idle, mut in_use) = (0, self.shared.reading.len());
        for status in pools.iter().map(Pool::status) {
            idle += status.available;
            in_use += status.size.saturating_sub(status.available);
        }
        // The first is that of all threads, or where some serve requests, that of the few who do not.
        let serving = if pools.len() > 1 { &pools[1..] } else { &pools[..] };
        let max = serving.iter().map(|pool| pool.status().max_size).sum();
        Load { idle, in_use, max: Some(max), writes_waiting: None }
    }

    /// Runs `work` on a line, each statement for itself, together with the reads of other requests.
    pub async fn read<T>(&self, work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        let place = self.shared.reading.enter()?;
        let backend = self.line().await?;
        match work(&mut self.among_others(backend.clone(), place)).await {
            // The server has gone away since the line was used last; whether it is back a new line tells.
            Err(_) if backend.is_gone() => {
                let place = self.shared.reading.enter()?;
                work(&mut self.among_others(self.line().await?, place)).await
            }
            outcome => outcome,
        }
    }

    fn among_others(&self, backend: Arc<Backend>, place: Place) -> Conn {
        self.conn(Channel { backend, _turn: Turn::Shared(place), posted: Vec::new() })
    }

    /// The line with the fewest requests on it.
    async fn line(&self) -> Result<Arc<Backend>, Problem> {
        let busy = |slot: &tokio::sync::Mutex<Option<Arc<Backend>>>| {
            slot.try_lock().map_or(usize::MAX, |line| line.as_ref().map_or(0, Arc::strong_count))
        };
        let Some(slot) = self.lines.iter().min_by_key(|slot| busy(slot)) else {
            return Err(Problem::internal("there are no lines"));
        };
        let mut line = slot.lock().await;
        match &*line {
            Some(backend) if !backend.is_gone() => Ok(backend.clone()),
            _ => {
                let connecting = Backend::connect(&self.shared.target);
                let backend = tokio::time::timeout(self.shared.wait, connecting).await;
                let backend =
                    backend.map_err(Problem::unavailable)?.map_err(|e| Problem::unavailable(e.to_string()))?;
                Ok(line.insert(Arc::new(backend)).clone())
            }
        }
    }

    /// Runs `work` in a transaction that cannot write and sees one state throughout. It loses against nobody.
    pub async fn snapshot<T>(&self, work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        let turn = self.waiting.wait_for(self.reports.acquire()).await?.map_err(Problem::internal)?;
        let outcome = self.transaction(work, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await;
        drop(turn);
        outcome
    }

    /// Runs `work` in a transaction of isolation REPEATABLE READ: whoever loses against another starts again, so
    /// that `work` may read, judge and write without locking.
    pub async fn write<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        company: Company,
    ) -> Result<T, Problem> {
        let mut attempt = 1;
        loop {
            match self.transaction(work, company.begin()).await {
                Err(problem) if problem.is_transient() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn transaction<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        begin: &'static str,
    ) -> Result<T, Problem> {
        let object = self.waiting.wait_for(self.pool.get()).await?;
        let object = object.map_err(|e| Problem::unavailable(e.to_string()))?;
        let backend = Arc::clone(&object);
        let mut channel = Channel { backend, _turn: Turn::Alone(object), posted: Vec::new() };
        channel.begin(begin)?;
        let mut conn = self.conn(channel);
        let outcome = work(&mut conn).await;
        let Line::Postgres(channel) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        match outcome {
            Ok(value) => channel.end("COMMIT").await.map(|()| value),
            // What was posted before has failed first, and everything after it for that alone. A rollback that fails
            // leaves the transaction open, and the pool drops the connection: the change is undone either way.
            Err(problem) => {
                Err(channel.end("ROLLBACK").await.err().filter(|_| !channel.backend.is_gone()).unwrap_or(problem))
            }
        }
    }

    /// A connection of its own, outside the pool: for migrations, which hold a lock for as long as it lives.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn detached(&self) -> Result<AsyncPgConnection, Problem> {
        let backend = Backend::connect(&self.shared.target).await;
        backend.map(|backend| backend.conn).map_err(|e| Problem::unavailable(e.to_string()))
    }

    fn conn(&self, channel: Channel) -> Conn {
        Conn::new(Line::Postgres(channel), self.shared.kept.clone())
    }
}

/// Reads the URL. Without `sslmode`, a server on this machine is spoken to in the clear and any other with TLS when
/// it offers it; `sslmode=require` always verifies the certificate.
pub(super) fn parse(url: &str) -> Result<tokio_postgres::Config, String> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|e: tokio_postgres::Error| {
        let source = std::error::Error::source(&e).map(|s| format!(": {s}")).unwrap_or_default();
        format!("{e}{source}")
    })?;
    let local = config.get_hosts().iter().all(|host| match host {
        Host::Tcp(name) => name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback()),
        Host::Unix(_) => true,
    });
    if local && !url.contains("sslmode=") {
        config.ssl_mode(SslMode::Disable);
    }
    if config.get_application_name().is_none() {
        config.application_name("skranke");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(Duration::from_secs(5));
    }
    Ok(config)
}

fn tls() -> MakeRustlsConnect {
    let mut roots = rustls::RootCertStore::empty();
    let (good, bad) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(good, bad, "root certificates");
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth());
    match config {
        Ok(config) => MakeRustlsConnect::new(config),
        Err(error) => unreachable!("the provider has the default protocol versions: {error}"),
    }
}
