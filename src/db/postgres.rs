//! PostgreSQL by a pure Rust client with rustls: a pool of connections for transactions, and a few lines on which many
//! requests read at once, each without waiting for the answer to the one before (pipelining).

use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant as Stopwatch};

use deadpool::managed::{Metrics, Object, Pool, RecycleError, RecycleResult};
use diesel::ConnectionError;
use diesel::pg::{Pg, PgQueryBuilder};
use diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::{AbortHandle, JoinHandle};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Instrument;

use super::conn::{Conn, Kept, Line};
use super::deadline::{Deadline, MORE_FOR_COMMITS};
use super::queue::{self, Place, Queue};
use super::slow::timed;
use super::{Listener, Load, fault};
use crate::kernel::{Code, Problem};

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

/// For how long a connection may leave a request unanswered that waits no longer, before it is given up.
const SILENT_FOR: Duration = Duration::from_secs(1);

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
    /// Carries its traffic.
    carrier: AbortHandle,
    /// Set when it has not answered somebody in time.
    abandoned: AtomicBool,
}

impl Backend {
    /// A connection whose traffic the current runtime carries, for as long as that lives.
    async fn connect(target: &Target) -> Result<Self, ConnectionError> {
        let (conn, ended, carrier) = target.greet().await?;
        let (open, abandoned) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { conn, ended, open, prepared: Mutex::default(), carrier, abandoned })
    }

    /// What queries run on.
    pub fn conn(&self) -> &AsyncPgConnection {
        &self.conn
    }

    fn is_gone(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nobody uses it any more.
    fn retire(&self) {
        self.ended.store(true, Ordering::Release);
    }

    /// What comes of `work` on this connection, if that is before `deadline`. Otherwise nobody uses the connection any more,
    /// unless it was not asked for long: it may be a server that has stopped, or a statement that keeps all later ones waiting.
    async fn answers<T>(&self, work: impl Future<Output = T>, deadline: Deadline) -> Result<T, Problem> {
        let asked = Stopwatch::now();
        let outcome = deadline.end(work).await;
        if outcome.is_err() && asked.elapsed() >= SILENT_FOR {
            self.abandoned.store(true, Ordering::Release);
            self.retire();
        }
        outcome
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // The client would wait for the answer that does not come before it closes the connection.
        if self.abandoned.load(Ordering::Acquire) {
            self.carrier.abort();
        }
    }
}

/// A connection as one request has it.
pub struct Channel {
    backend: Arc<Backend>,
    /// Kept until the request is done with it.
    turn: Turn,
    posted: Vec<JoinHandle<Result<(), Problem>>>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Whoever was in the middle of a transaction went away, or could wait no longer: what it holds is let go of at once, and not
        // when the connection is next wanted.
        if let Turn::Alone(object) = &mut self.turn
            && self.backend.open.load(Ordering::Acquire)
            && let Some(object) = object.take()
        {
            drop(Object::take(object));
            self.backend.retire();
            self.backend.carrier.abort();
        }
    }
}

/// Whose turn on a connection it is.
enum Turn {
    /// One transaction's, alone.
    Alone(Option<Object<Maker>>),
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
            let done = timed(diesel_async::RunQueryDsl::execute(statement, &mut &backend.conn)).await;
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
        self.posted.push(tokio::spawn(statement.in_current_span()));
        Ok(())
    }

    fn control(&self, sql: &'static str) -> impl Future<Output = Result<(), Problem>> + Send + 'static {
        let backend = self.backend.clone();
        async move { timed((&mut &backend.conn).batch_execute(sql)).await.map_err(Problem::from) }
    }

    fn begin(&mut self, sql: &'static str) -> Result<(), Problem> {
        self.backend.open.store(true, Ordering::Release);
        let begin = self.control(sql);
        self.send(begin)
    }

    /// Ends the transaction by `sql`; gives the first error of what was posted in it, and that of the end.
    async fn end(&mut self, sql: &'static str) -> (Result<(), Problem>, Result<(), Problem>) {
        let posted = std::mem::take(&mut self.posted);
        let (posted, ended) = join(join_all(posted), self.control(sql)).await;
        if ended.is_ok() {
            self.backend.open.store(false, Ordering::Release);
        }
        (posted.into_iter().try_for_each(|answer| answer.map_err(Problem::internal)?), ended)
    }

    async fn commit(&mut self) -> Result<(), Problem> {
        match self.end("COMMIT").await {
            (posted, Ok(())) => posted,
            // The server has said why it would not commit.
            (Err(why), Err(_)) if !is_loss(&why) => Err(why),
            // Whether it has is what its answer would have told.
            (_, Err(loss)) if is_loss(&loss) => Err(fault::uncertain(loss)),
            (_, Err(why)) => Err(why),
        }
    }

    /// Undoes what was done until it met `problem`; gives what the caller is to hear.
    async fn roll_back(&mut self, problem: Problem) -> Problem {
        let (posted, ended) = self.end("ROLLBACK").await;
        // What was posted before has failed first, and everything after it for that alone.
        let problem = posted.err().filter(|_| !self.backend.is_gone()).unwrap_or(problem);
        if problem.cause().is_some_and(|cause| cause.to_string().contains("in a read-only transaction")) {
            // It has become a standby. Another host may take writes now.
            self.backend.retire();
        }
        match ended {
            // The transaction is still open, and the pool drops the connection: the change is undone either way.
            Err(_) if is_loss(&problem) => Problem::transient(problem),
            _ => problem,
        }
    }
}

/// Whether the connection is lost rather than the work refused.
fn is_loss(problem: &Problem) -> bool {
    problem.code() == Code::Unavailable && !problem.is_transient()
}

/// Why a pool of others is refused.
const SHARED_SESSIONS: &str = "the database is reached through a pool that gives each transaction another session, as PgBouncer \
                               does with pool_mode = transaction or statement; Skranke keeps connections and prepared statements \
                               itself: connect to PostgreSQL directly, or through a pool with pool_mode = session";

/// The server, too, notices that this instance has vanished, and lets go of what it has locked; its own limits are hours.
const LEAVES_NOTHING_BEHIND: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
                                     SET tcp_user_timeout = 15000; SET idle_in_transaction_session_timeout = 60000";

/// How often two connections are looked at before each is believed to have a session of its own.
const SESSION_LOOKS: u32 = 3;

/// Where the servers are, and how they are spoken to.
#[derive(Clone)]
struct Target {
    /// One for each host that the URL names.
    hosts: Arc<[tokio_postgres::Config]>,
    /// Which of them has served last.
    served: Arc<AtomicUsize>,
    /// Set when it is known that each connection has a session of its own.
    has_sessions: Arc<OnceCell<()>>,
    tls: MakeRustlsConnect,
    listener: Option<Listener>,
}

impl Target {
    fn new(url: &str, listener: Option<Listener>) -> Result<Self, String> {
        let all = parse(url)?;
        let hosts: Arc<[_]> =
            (0..all.get_hosts().len().max(all.get_hostaddrs().len())).map(|n| only(&all, n)).collect();
        let served = match all.get_load_balance_hosts() {
            LoadBalanceHosts::Random => usize::try_from(RandomState::new().hash_one(0) >> 33).unwrap_or(0),
            _ => 0,
        };
        Ok(Self { hosts, served: Arc::new(served.into()), has_sessions: Arc::default(), tls: tls(), listener })
    }

    /// A connection that is ready for use.
    async fn greet(&self) -> Result<(AsyncPgConnection, Arc<AtomicBool>, AbortHandle), ConnectionError> {
        let greeted = async {
            self.has_sessions.get_or_try_init(|| self.require_sessions()).await?;
            let (client, ended, carrier) = self.reach().await?;
            // What serves may not know all of these, and does not need to.
            if let Err(error) = client.batch_execute(LEAVES_NOTHING_BEHIND).await {
                tracing::debug!(cause = in_words(&error), "the server keeps its own limits");
            }
            let mut conn = AsyncPgConnection::try_from(client).await?;
            if let Some(listener) = &self.listener {
                conn.set_instrumentation(listener());
            }
            Ok((conn, ended, carrier))
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

    /// A connection to the host that has served last, or to the next one that does; also tells when it is gone, and what
    /// carries its traffic.
    async fn reach(&self) -> Result<(tokio_postgres::Client, Arc<AtomicBool>, AbortHandle), ConnectionError> {
        let (first, mut faults) = (self.served.load(Ordering::Relaxed), Vec::new());
        for nth in (0..self.hosts.len()).map(|n| (first + n) % self.hosts.len()) {
            let Some(host) = self.hosts.get(nth) else { continue };
            let patience = host.get_connect_timeout().copied().unwrap_or(PATIENCE);
            // Its own limit is for TCP alone: what listens may still be too busy to greet.
            match tokio::time::timeout(patience, host.connect(self.tls.clone())).await {
                Ok(Ok((client, connection))) => {
                    self.served.store(nth, Ordering::Relaxed);
                    let ended = Arc::new(AtomicBool::new(false));
                    let end = ended.clone();
                    let carrier = tokio::spawn(async move {
                        if let Err(error) = connection.await {
                            tracing::debug!(cause = %error, "a connection to PostgreSQL has ended");
                        }
                        end.store(true, Ordering::Release);
                    });
                    return Ok((client, ended, carrier.abort_handle()));
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
        let ((one, ..), (two, ..)) = (self.reach().await?, self.reach().await?);
        for _ in 0..SESSION_LOOKS {
            if !look(&one, &two).await.map_err(|e| ConnectionError::BadConnection(in_words(&e)))? {
                return Err(ConnectionError::InvalidConnectionUrl(SHARED_SESSIONS.into()));
            }
        }
        Ok(())
    }
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
    pub fn open(url: &str, size: usize, listener: Option<Listener>) -> Result<Arc<Self>, String> {
        let target = Target::new(url, listener)?;
        let (pools, kept, reading) = (Mutex::default(), Arc::default(), Queue::default());
        let most_waiting = AtomicUsize::new(queue::MOST);
        let shared = Arc::new(Shared { pools, target, size, kept, reading, most_waiting });
        Self::with_pool(shared, 1)
    }

    /// Whether no more transactions may wait.
    pub fn is_full(&self) -> bool {
        self.waiting.is_full()
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
        // Whoever waits for one has a deadline.
        let pool = Pool::builder(maker).max_size(size).build().map_err(|e| e.to_string())?;
        shared.pools.lock().unwrap_or_else(PoisonError::into_inner).push(pool.clone());
        let reports = Semaphore::new(size.div_ceil(2));
        let waiting = Queue::default();
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
    /// A line that has not answered by `deadline` is given up.
    pub async fn read<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let place = self.shared.reading.enter()?;
        let backend = deadline.end(self.line()).await??;
        match backend.answers(work(&mut self.among_others(backend.clone(), place)), deadline).await? {
            // The server has gone away since the line was used last, or says that it goes; whether it is back a new line tells.
            Err(problem) if backend.is_gone() || is_loss(&problem) => {
                backend.retire();
                let place = self.shared.reading.enter()?;
                let backend = deadline.end(self.line()).await??;
                backend.answers(work(&mut self.among_others(backend.clone(), place)), deadline).await?
            }
            outcome => outcome,
        }
    }

    fn among_others(&self, backend: Arc<Backend>, place: Place) -> Conn {
        self.conn(Channel { backend, turn: Turn::Shared(place), posted: Vec::new() })
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
                let connected = Backend::connect(&self.shared.target).await;
                let backend = connected.map_err(|e| Problem::unavailable(e.to_string()))?;
                Ok(line.insert(Arc::new(backend)).clone())
            }
        }
    }

    /// Runs `work` in a transaction that cannot write and sees one state throughout. It loses against nobody. Its turn has to come by
    /// `deadline`; then it has some seconds more.
    pub async fn snapshot<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let turn = self.waiting.wait_for(self.reports.acquire(), deadline).await?.map_err(Problem::internal)?;
        let outcome = match self.transaction(work, BEGIN, deadline.for_report()).await {
            // The connection was lost, or a standby has taken in a change that this stood in the way of.
            Err(problem) if problem.is_transient() => self.transaction(work, BEGIN, deadline.for_report()).await,
            outcome => outcome,
        };
        drop(turn);
        outcome
    }

    /// Runs `work` in a transaction of isolation REPEATABLE READ: whoever loses against another starts again, so
    /// that `work` may read, judge and write without locking.
    pub async fn write<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        company: Company,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let mut attempt = 1;
        loop {
            match self.transaction(work, company.begin(), deadline).await {
                Err(problem) if problem.is_transient() && attempt < ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn transaction<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        begin: &'static str,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let object = self.waiting.wait_for(self.pool.get(), deadline).await?;
        let object = object.map_err(|e| Problem::unavailable(e.to_string()))?;
        let backend = Arc::clone(&object);
        let mut channel = Channel { backend: backend.clone(), turn: Turn::Alone(Some(object)), posted: Vec::new() };
        // A connection that has ended since it was used last.
        channel
            .begin(begin)
            .map_err(|problem| if is_loss(&problem) { Problem::transient(problem) } else { problem })?;
        let mut conn = self.conn(channel);
        let outcome = backend.answers(work(&mut conn), deadline).await;
        let Line::Postgres(channel) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        match outcome {
            Ok(Ok(value)) => match backend.answers(channel.commit(), deadline.later(MORE_FOR_COMMITS)).await {
                Ok(ended) => ended.map(|()| value),
                // Whoever has sent it and hears nothing knows as little as who has lost the connection.
                Err(late) => Err(fault::uncertain(late)),
            },
            Ok(Err(problem)) => {
                let undone = backend.answers(channel.roll_back(problem), deadline.later(MORE_FOR_COMMITS)).await;
                Err(undone.unwrap_or_else(|late| late))
            }
            // The transaction is still open. The pool closes the connection, which undoes it.
            Err(late) => Err(late),
        }
    }

    /// Why this server cannot be worked with, if it has said so. One that is away may come back.
    pub async fn refusal(&self, wait: Duration) -> Option<String> {
        match tokio::time::timeout(wait, Backend::connect(&self.shared.target)).await {
            Ok(Err(ConnectionError::InvalidConnectionUrl(why))) => Some(why),
            _ => None,
        }
    }

    /// A connection of its own, outside the pool: for migrations, which hold a lock for as long as it lives.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn detached(&self) -> Result<AsyncPgConnection, Problem> {
        let greeted = self.shared.target.greet().await;
        greeted.map(|(conn, ..)| conn).map_err(|e| Problem::unavailable(e.to_string()))
    }

    fn conn(&self, channel: Channel) -> Conn {
        Conn::new(Line::Postgres(channel), self.shared.kept.clone())
    }
}

/// An error with what lies behind it, which it does not tell by itself.
fn in_words(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    format!("{error}{source}")
}

/// How long a host is tried.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long each of several hosts is tried before the next one.
const PATIENCE_OF_SEVERAL: Duration = Duration::from_secs(2);

/// For how long a host may leave unanswered what was sent before it is given up (RFC 5482).
const SILENCE: Duration = Duration::from_secs(10);

/// What the client has for `keepalives_idle` when the URL says nothing.
const SYSTEM_IDLE: Duration = Duration::from_secs(2 * 60 * 60);

/// Reads the URL, which may name several hosts: the one that takes writes is used, unless `target_session_attrs` says
/// otherwise. Without `sslmode`, a server on this machine is spoken to in the clear and any other with TLS when
/// it offers it; `sslmode=require` always verifies the certificate.
pub(super) fn parse(url: &str) -> Result<tokio_postgres::Config, String> {
    let mut config: tokio_postgres::Config = url.parse().map_err(|e| in_words(&e))?;
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
    let hosts = config.get_hosts().len().max(config.get_hostaddrs().len());
    if hosts == 0 {
        return Err("a host is missing".into());
    }
    if hosts > 1 && !url.contains("target_session_attrs=") {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(if hosts > 1 { PATIENCE_OF_SEVERAL } else { PATIENCE });
    }
    // A host that vanishes says nothing: whoever waits for it has to notice. The system's own limits are hours.
    if config.get_keepalives_idle() == SYSTEM_IDLE {
        config.keepalives_idle(Duration::from_secs(5));
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(Duration::from_secs(2));
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(3);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    Ok(config)
}

/// The settings for the `nth` of the hosts alone.
fn only(all: &tokio_postgres::Config, nth: usize) -> tokio_postgres::Config {
    let mut one = tokio_postgres::Config::new();
    match all.get_hosts().get(nth) {
        Some(Host::Tcp(name)) => drop(one.host(name)),
        Some(Host::Unix(path)) => drop(one.host_path(path)),
        None => {}
    }
    if let Some(address) = all.get_hostaddrs().get(nth) {
        one.hostaddr(*address);
    }
    if let Some(port) = all.get_ports().get(nth).or_else(|| all.get_ports().first()) {
        one.port(*port);
    }
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(patience) = all.get_connect_timeout() {
        one.connect_timeout(*patience);
    }
    if let Some(silence) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*silence);
    }
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.keepalives(all.get_keepalives())
        .keepalives_idle(all.get_keepalives_idle())
        .ssl_mode(all.get_ssl_mode())
        .ssl_negotiation(all.get_ssl_negotiation())
        .target_session_attrs(all.get_target_session_attrs())
        .channel_binding(all.get_channel_binding())
        .load_balance_hosts(all.get_load_balance_hosts());
    one
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
