//! PostgreSQL by a pure Rust client with rustls. Connections are for one thing each, see [`lanes`]: lines, on
//! which many requests read single things at once, each without waiting for the answer to the one before (pipelining); and
//! pools, whose connections are had by one at a time, to write, and for lists, searches and reports.

use std::borrow::Cow;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deadpool::managed::{Metrics, Object, Pool, RecycleError, RecycleResult};
use diesel::ConnectionError;
use diesel::pg::Pg;
use diesel::query_builder::{QueryFragment, QueryId};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode, TargetSessionAttrs};
use tokio_postgres::{CancelToken, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::Instrument;

use super::conn::{Conn, Kept, Line};
use super::deadline::{Deadline, MORE_FOR_COMMITS, MORE_FOR_REPORTS_S};
use super::fault::in_words;
use super::lanes::{self, Shares};
use super::queue::{self, Place, Queue};
use super::root::{Lines, Roots};
use super::session::Session;
use super::slow::timed;
use super::{Listener, Load, fault};
use crate::kernel::{Code, Problem};

/// How long a transaction that lost against another waits at most before it is done again for the first time.
const FIRST_PAUSE: Duration = Duration::from_millis(2);

/// How often that is doubled: the longest pause is a quarter of a second.
const DOUBLINGS: u32 = 7;

/// Whether other writes may be at work meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Company {
    /// They may.
    Welcome,
    /// They wait, but not while this waits itself: whoever has what it needs for longer than a tenth of a second lets all others
    /// go first, and it starts again.
    None,
}

impl Company {
    /// Takes the lock before the snapshot is taken (`LOCK` takes none), so that whoever waited for it sees all that was
    /// written meanwhile. Reads are never kept waiting.
    fn begin(self) -> &'static str {
        match self {
            Company::Welcome => "BEGIN ISOLATION LEVEL REPEATABLE READ; LOCK TABLE configuration IN ROW SHARE MODE",
            Company::None => {
                "BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL lock_timeout = 100; LOCK TABLE configuration IN EXCLUSIVE MODE"
            }
        }
    }
}

/// How a transaction begins.
struct Begin {
    sql: Cow<'static, str>,
    /// Whether it takes locks that outlive the transaction.
    locks: bool,
}

/// The words that begin a write on `roots`. Their locks are the session's, and are waited for before there is a snapshot:
/// whoever has waited sees all that was written meanwhile. In the middle of the transaction a waiting one could only fail.
fn begin(roots: &Roots, company: Company) -> Begin {
    if roots.keys().is_empty() {
        return Begin { sql: company.begin().into(), locks: false };
    }
    let locks: String = roots.keys().iter().map(|key| format!("SELECT pg_advisory_lock({key}); ")).collect();
    Begin { sql: format!("BEGIN; {locks}COMMIT; {}", company.begin()).into(), locks: true }
}

/// How long the `nth` pause is: by chance, so that those who have met do not meet again, and longer each time.
fn pause(nth: u32) -> Duration {
    let most = u64::try_from((FIRST_PAUSE * (1 << nth.min(DOUBLINGS))).as_micros()).unwrap_or(u64::MAX);
    Duration::from_micros(RandomState::new().hash_one(nth) % most)
}

/// One connection. Its statements are carried out in the order in which they are sent.
pub struct Backend {
    session: Session,
    /// Set when the connection is gone.
    ended: Arc<AtomicBool>,
    /// Whether somebody is in the middle of something, a transaction for one, as far as is known here.
    open: AtomicBool,
    /// How many requests have had their answers on it.
    answered: AtomicU64,
    /// What carries its traffic, and how to end what it is asked.
    wire: Wire,
}

impl Backend {
    /// A connection with these `limits` whose traffic the current runtime carries, for as long as that lives. It counts by
    /// its `permit` until it has ended.
    async fn connect(target: &Target, limits: Limits, permit: OwnedSemaphorePermit) -> Result<Self, ConnectionError> {
        let (client, wire) = target.greet(limits, Some(permit)).await?;
        let session = Session::new(client, target.listener.as_ref().map(|new| new()));
        let (ended, open, answered) = (wire.ended.clone(), AtomicBool::new(false), AtomicU64::new(0));
        Ok(Self { session, ended, open, answered, wire })
    }

    /// Ends what the server does on it, which would go on for nobody, and the connection.
    fn break_off(&self) {
        if self.is_gone() {
            return;
        }
        self.retire();
        let Wire { cancel, tls, driver, runtime, .. } = self.wire.clone();
        runtime.spawn(async move {
            // What cannot be told ends by the server's own limits.
            drop(tokio::time::timeout(PATIENCE_TO_CANCEL, cancel.cancel_query(tls)).await);
            driver.abort();
        });
    }

    /// What queries run on.
    pub fn session(&self) -> &Session {
        &self.session
    }

    fn is_gone(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Nobody uses it any more.
    fn retire(&self) {
        self.ended.store(true, Ordering::Release);
    }
}

/// What carries the traffic of a connection.
#[derive(Clone)]
struct Wire {
    ended: Arc<AtomicBool>,
    cancel: CancelToken,
    tls: MakeRustlsConnect,
    driver: tokio::task::AbortHandle,
    runtime: Handle,
}

/// What the server ends by itself, in milliseconds; 0 is never.
#[derive(Clone, Copy)]
struct Limits {
    statement_ms: u128,
    lock_ms: u128,
    idle_in_transaction_ms: u128,
}

impl Limits {
    /// For requests, which wait for so long.
    fn of_requests(wait: Duration) -> Self {
        let ms = wait.as_millis();
        Self { statement_ms: ms, lock_ms: ms, idle_in_transaction_ms: ms }
    }

    /// For lines of requests: whoever waits for a lock there keeps all later ones waiting.
    fn of_lines(wait: Duration) -> Self {
        Self { lock_ms: 100, ..Self::of_requests(wait) }
    }

    /// For what runs by itself, and for commands.
    const OF_JOBS: Self = Self { statement_ms: 600_000, lock_ms: 10_000, idle_in_transaction_ms: 60_000 };

    /// For migrations: they take what they need, and wait for each other.
    const OF_MIGRATIONS: Self = Self { statement_ms: 0, lock_ms: 0, idle_in_transaction_ms: 0 };

    fn in_sql(self) -> String {
        let Self { statement_ms, lock_ms, idle_in_transaction_ms } = self;
        format!(
            "SET TIME ZONE 'UTC'; SET statement_timeout = {statement_ms}; SET lock_timeout = {lock_ms}; \
             SET idle_in_transaction_session_timeout = {idle_in_transaction_ms}"
        )
    }
}

/// How long the server may take to hear that a statement is to be ended.
const PATIENCE_TO_CANCEL: Duration = Duration::from_secs(1);

/// A connection as one request has it.
pub struct Channel {
    backend: Arc<Backend>,
    /// Kept until the request is done with it.
    turn: Turn,
    posted: Vec<JoinHandle<Result<(), Problem>>>,
    /// Whether the session holds locks that outlive the transaction.
    locked: bool,
}

/// Whose turn on a connection it is.
enum Turn {
    /// One request's, alone; goes back to the pool when it is dropped.
    Alone(Option<Object<Maker>>),
    /// Among others.
    Shared(#[expect(dead_code, reason = "counts for as long as it lives")] Place),
}

impl Drop for Channel {
    fn drop(&mut self) {
        // Whoever was in the middle of something went away. Ending the connection undoes it.
        if let Turn::Alone(object) = &mut self.turn
            && self.backend.open.load(Ordering::Acquire)
        {
            drop(object.take().map(Object::take));
            self.backend.break_off();
        }
    }
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
    /// When it cannot be prepared, which takes an answer.
    pub async fn post<Q>(&mut self, statement: Q, problem: fn(diesel::result::Error) -> Problem) -> Result<(), Problem>
    where
        Q: QueryFragment<Pg> + QueryId,
    {
        let asked = self.backend.session.ask(&statement);
        drop(statement);
        let ready = timed(async { self.backend.session.ready(asked?).await }).await.map_err(problem)?;
        let backend = self.backend.clone();
        self.send(async move { timed(backend.session.execute(ready)).await.map(drop).map_err(problem) })
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

    fn control(&self, sql: Cow<'static, str>) -> impl Future<Output = Result<(), Problem>> + Send + 'static {
        let backend = self.backend.clone();
        async move { timed(backend.session.batch(&sql)).await.map_err(Problem::from) }
    }

    fn begin(&mut self, sql: Cow<'static, str>) -> Result<(), Problem> {
        self.backend.open.store(true, Ordering::Release);
        let begin = self.control(sql);
        self.send(begin)
    }

    /// Ends the transaction by `sql`; gives the first error of what was posted in it, and that of the end.
    async fn end(&mut self, sql: &'static str) -> (Result<(), Problem>, Result<(), Problem>) {
        let posted = std::mem::take(&mut self.posted);
        let sql = if self.locked { format!("{sql}; SELECT pg_advisory_unlock_all()").into() } else { sql.into() };
        let (posted, ended) = join(join_all(posted), self.control(sql)).await;
        // Otherwise the pool closes the connection, which lets go of all that it holds.
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
        if fault::is_read_only(&problem) {
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

/// Whether the connection is lost rather than the work refused or ended.
fn is_loss(problem: &Problem) -> bool {
    problem.code() == Code::Unavailable && !problem.is_transient() && !fault::is_overrun(problem)
}

/// Why a pool of others is refused.
const SHARED_SESSIONS: &str = "the database is reached through a pool that gives each transaction another session, as PgBouncer \
                               does with pool_mode = transaction or statement; Skranke keeps connections and prepared statements \
                               itself: connect to PostgreSQL directly, or through a pool with pool_mode = session";

/// The server, too, notices that this instance has vanished, and lets go of what it has locked; its own limits are hours.
const LEAVES_NOTHING_BEHIND: &str = "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; \
                                     SET tcp_user_timeout = 15000";

/// Ends a statement that nobody waits for, since its connection has ended.
const LOOKS_WHO_IS_THERE: &str = "SET client_connection_check_interval = 1000";

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

    /// A connection that is ready for use, with these `limits`.
    async fn greet(
        &self,
        limits: Limits,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<(tokio_postgres::Client, Wire), ConnectionError> {
        let greeted = async {
            self.has_sessions.get_or_try_init(|| self.require_sessions()).await?;
            let (client, wire) = self.reach(permit).await?;
            let broken = |e: tokio_postgres::Error| ConnectionError::BadConnection(in_words(&e));
            client.batch_execute(&limits.in_sql()).await.map_err(broken)?;
            // What serves may not know all of these, and does not need to.
            for settings in [LEAVES_NOTHING_BEHIND, LOOKS_WHO_IS_THERE] {
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

    /// A connection to the host that has served last, or to the next one that does. Its `permit` goes when it has ended.
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
                    let end = ended.clone();
                    let driver = tokio::spawn(async move {
                        let _counted = permit;
                        if let Err(error) = connection.await {
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

/// Makes the connections of one lane, of which there are never more than so many.
#[derive(Clone)]
struct Maker {
    target: Target,
    limits: Limits,
    /// One for each connection; held until it has ended.
    permits: Arc<Semaphore>,
    /// Carries their traffic.
    driver: Handle,
}

impl Maker {
    fn new(target: &Target, limits: Limits, most: usize, driver: &Handle) -> Self {
        let permits = Arc::new(Semaphore::new(most));
        Self { target: target.clone(), limits, permits, driver: driver.clone() }
    }

    async fn make(&self) -> Result<Arc<Backend>, ConnectionError> {
        let broken = |e: &dyn ToString| ConnectionError::BadConnection(e.to_string());
        let permit = self.permits.clone().acquire_owned().await.map_err(|e| broken(&e))?;
        let (target, limits) = (self.target.clone(), self.limits);
        let connecting = self.driver.spawn(async move { Backend::connect(&target, limits, permit).await });
        connecting.await.unwrap_or_else(|e| Err(broken(&e))).map(Arc::new)
    }
}

impl deadpool::managed::Manager for Maker {
    type Type = Arc<Backend>;
    type Error = ConnectionError;

    async fn create(&self) -> Result<Arc<Backend>, ConnectionError> {
        self.make().await
    }

    async fn recycle(&self, backend: &mut Arc<Backend>, _: &Metrics) -> RecycleResult<ConnectionError> {
        if backend.is_gone() { Err(RecycleError::message("it is gone")) } else { Ok(()) }
    }
}

/// Connections that are each had by one at a time.
struct Lane {
    pool: Pool<Maker>,
    /// Those who wait for one.
    waiting: Queue,
    /// How many of them may be had at once for what may take its time, so that some are left to others.
    reports: Semaphore,
    /// What begins a report. What runs by itself has no limits of requests.
    begin_report: Cow<'static, str>,
}

/// Begins a transaction that cannot write and sees one state throughout.
const BEGIN_REPORT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

impl Lane {
    fn open(
        maker: Maker,
        most: usize,
        begin_report: Cow<'static, str>,
        lanes: &Mutex<Vec<Weak<Self>>>,
    ) -> Result<Arc<Self>, String> {
        // Whoever waits for one has a deadline.
        let pool = Pool::builder(maker).max_size(most).build().map_err(|e| e.to_string())?;
        let reports = Semaphore::new(most.div_ceil(2));
        let lane = Arc::new(Self { pool, waiting: Queue::default(), reports, begin_report });
        lanes.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&lane));
        Ok(lane)
    }

    /// A connection of its own for whoever comes.
    async fn channel(&self, deadline: Deadline) -> Result<Channel, Problem> {
        let object = self.waiting.wait_for(self.pool.get(), deadline).await?;
        let object = object.map_err(|e| Problem::unavailable(e.to_string()))?;
        Ok(Channel { backend: Arc::clone(&object), turn: Turn::Alone(Some(object)), posted: Vec::new(), locked: false })
    }
}

/// A connection that many read on at once, opened by whoever reads first.
struct Track {
    maker: Maker,
    line: tokio::sync::Mutex<Option<Arc<Backend>>>,
}

impl Track {
    fn some(maker: impl Fn() -> Maker, count: usize, shared: &Shared) -> Arc<[Self]> {
        let tracks: Arc<[Self]> =
            (0..count).map(|_| Self { maker: maker(), line: tokio::sync::Mutex::default() }).collect();
        shared.tracks.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(&tracks));
        tracks
    }

    /// How many requests are on it, if it is open.
    fn open_load(&self) -> Option<usize> {
        self.line.try_lock().ok()?.as_ref().map(|backend| Arc::strong_count(backend) - 1)
    }

    /// How many requests are on it; most, while it is being opened.
    fn load(&self) -> usize {
        self.line.try_lock().map_or(usize::MAX, |line| line.as_ref().map_or(0, |b| Arc::strong_count(b) - 1))
    }

    async fn open(&self) -> Result<Arc<Backend>, Problem> {
        let mut line = self.line.lock().await;
        match &*line {
            Some(backend) if !backend.is_gone() => Ok(backend.clone()),
            _ => {
                // What is left of the last one goes first.
                *line = None;
                let backend = self.maker.make().await.map_err(|e| Problem::unavailable(e.to_string()))?;
                Ok(line.insert(backend).clone())
            }
        }
    }
}

/// What all threads share.
struct Shared {
    lanes: Mutex<Vec<Weak<Lane>>>,
    tracks: Mutex<Vec<Weak<[Track]>>>,
    target: Target,
    /// How many connections there may be.
    size: usize,
    kept: Arc<Kept>,
    /// Those who read on lines.
    reading: Queue,
    /// Those who wait for their turn on what they change.
    roots: Lines,
    /// How many may wait for a connection, on all threads together.
    most_waiting: AtomicUsize,
}

/// How many times as many may read on lines as may wait for a connection: they are answered sooner.
const READING: usize = 4;

/// How many connections each thread needs for itself, to have them for itself: to take turns on one would be to wait for
/// whoever happens to be on the same thread.
const OWN: usize = 2;

/// The doors to one PostgreSQL primary. As it is opened it has one connection, for what runs by itself and for commands.
pub struct Postgres {
    shared: Arc<Shared>,
    /// To write on.
    writes: Arc<Lane>,
    /// For lists, searches and reports.
    lists: Arc<Lane>,
    /// For single things. None, where there is one connection for all.
    points: Arc<[Track]>,
    /// Those who serve requests, if this is theirs.
    crew: Option<Arc<Crew>>,
    /// Which of them this is for, if it is for one alone.
    _seat: Option<Seat>,
}

/// The threads that serve requests, and how connections are shared out among them.
struct Crew {
    shares: Shares,
    /// How long requests wait.
    wait: Duration,
    /// Which threads have come for their part.
    seats: Mutex<Vec<bool>>,
    /// What they have in common, where there are not enough connections for each; carried by the runtime of whoever opened the
    /// database.
    writes: Option<Arc<Lane>>,
    lists: Option<Arc<Lane>>,
    points: Option<Arc<[Track]>>,
}

/// The part of one thread.
struct Seat {
    crew: Arc<Crew>,
    nth: usize,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(taken) = self.crew.seats.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.nth) {
            *taken = false;
        }
    }
}

impl Crew {
    /// A place that nobody has.
    fn sit_down(self: &Arc<Self>) -> Option<Seat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = seats.iter().position(|taken| !taken)?;
        seats[nth] = true;
        Some(Seat { crew: self.clone(), nth })
    }
}

impl Postgres {
    /// At most `size` connections to `url`; connects on first use.
    ///
    /// # Errors
    /// A sentence about what is wrong with the URL.
    pub fn open(url: &str, size: usize, listener: Option<Listener>) -> Result<Arc<Self>, String> {
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            tracks: Mutex::default(),
            target: Target::new(url, listener)?,
            size,
            kept: Arc::default(),
            reading: Queue::default(),
            roots: Lines::default(),
            most_waiting: AtomicUsize::new(queue::MOST),
        });
        let maker = Maker::new(&shared.target, Limits::OF_JOBS, 1, &Handle::current());
        let only = Lane::open(maker, 1, BEGIN_REPORT.into(), &shared.lanes)?;
        let (writes, lists) = (only.clone(), only);
        Ok(Arc::new(Self { shared, writes, lists, points: [].into(), crew: None, _seat: None }))
    }

    /// Whether no more transactions may wait.
    pub fn is_full(&self) -> bool {
        self.writes.waiting.is_full()
    }

    /// Lets `most` wait for a connection, and more read on lines.
    pub fn resize_queues(&self, most: usize) {
        self.shared.reading.resize(most.saturating_mul(READING));
        self.shared.roots.resize(most);
        self.shared.most_waiting.store(most, Ordering::Relaxed);
        self.writes.waiting.resize(most);
    }

    /// How many connections there may be, all in all.
    pub fn size(&self) -> usize {
        self.shared.size
    }

    /// The same database for so many threads that serve requests, with `shares` of connections for them. The server, too, ends
    /// what takes longer than `wait`.
    ///
    /// # Errors
    /// None that is known of.
    pub fn serving(&self, threads: usize, shares: Shares, wait: Duration) -> Result<Arc<Self>, String> {
        let (driver, common) = (Handle::current(), |count| lanes::part(count, threads, 0, OWN).is_none() && count > 0);
        let crew = Arc::new(Crew {
            shares,
            wait,
            seats: Mutex::new(vec![false; threads]),
            writes: common(shares.writes).then(|| self.lane(shares.writes, 1, wait, &driver)).transpose()?,
            lists: common(shares.lists).then(|| self.lane(shares.lists, 1, wait, &driver)).transpose()?,
            points: lanes::part(shares.points, threads, 0, 1)
                .is_none()
                .then(|| self.tracks(shares.points, wait, &driver)),
        });
        let (shared, writes, lists) = (self.shared.clone(), self.writes.clone(), self.lists.clone());
        Ok(Arc::new(Self { shared, writes, lists, points: self.points.clone(), crew: Some(crew), _seat: None }))
    }

    /// The same database with the part of one of the threads that serve requests, for that thread to call: as far as there are
    /// enough connections, no answer then goes from one thread to another.
    ///
    /// # Errors
    /// A sentence when there is no part left.
    pub fn local(&self) -> Result<Arc<Self>, String> {
        let Some(crew) = &self.crew else { return Err("nobody serves".into()) };
        let seat = crew.sit_down().ok_or("all parts are taken")?;
        let (driver, shares, threads) =
            (Handle::current(), crew.shares, crew.seats.lock().unwrap_or_else(PoisonError::into_inner).len());
        let lane = |count, common: &Option<Arc<Lane>>| match (common, lanes::part(count, threads, seat.nth, OWN)) {
            (Some(common), _) => Ok(Some(common.clone())),
            (None, Some(part)) if part > 0 => self.lane(part, threads, crew.wait, &driver).map(Some),
            _ => Ok(None),
        };
        let lists = lane(shares.lists, &crew.lists)?.ok_or("there are no connections for lists")?;
        // A replica is not written to.
        let writes = lane(shares.writes, &crew.writes)?.unwrap_or_else(|| lists.clone());
        let points = match (&crew.points, lanes::part(shares.points, threads, seat.nth, 1)) {
            (None, Some(part)) => self.tracks(part, crew.wait, &driver),
            (Some(common), _) => common.clone(),
            (None, None) => [].into(),
        };
        Ok(Arc::new(Self { shared: self.shared.clone(), writes, lists, points, crew: None, _seat: Some(seat) }))
    }

    /// A lane for requests, with the share of one of `threads` in those who may wait.
    fn lane(&self, count: usize, threads: usize, wait: Duration, driver: &Handle) -> Result<Arc<Lane>, String> {
        let shared = &self.shared;
        let maker = Maker::new(&shared.target, Limits::of_requests(wait), count, driver);
        let report_ms = (wait + Duration::from_secs(MORE_FOR_REPORTS_S)).as_millis();
        let begin_report = format!("{BEGIN_REPORT}; SET LOCAL statement_timeout = {report_ms}");
        let lane = Lane::open(maker, count, begin_report.into(), &shared.lanes)?;
        lane.waiting.resize((shared.most_waiting.load(Ordering::Relaxed) / threads).max(1));
        Ok(lane)
    }

    fn tracks(&self, count: usize, wait: Duration, driver: &Handle) -> Arc<[Track]> {
        let limits = Limits::of_lines(wait);
        Track::some(|| Maker::new(&self.shared.target, limits, 1, driver), count, &self.shared)
    }

    /// How busy the connections are.
    pub fn how_busy(&self) -> Load {
        let (mut idle, mut in_use) = (0, 0);
        for lane in self.shared.lanes.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            let status = lane.pool.status();
            idle += status.available;
            in_use += status.size.saturating_sub(status.available);
        }
        for tracks in self.shared.tracks.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade)
        {
            for load in tracks.iter().filter_map(Track::open_load) {
                let count = if load > 0 { &mut in_use } else { &mut idle };
                *count += 1;
            }
        }
        Load { idle, in_use, max: Some(self.shared.size), writes_waiting: None }
    }

    /// Runs `work` on a line, each statement for itself, together with the reads of other requests; where it would have to wait for
    /// a lock, on a connection of its own.
    pub async fn read<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        if self.points.is_empty() {
            return self.list(work, deadline).await;
        }
        match self.read_once(work, deadline).await {
            // The server has gone away since the line was used last, or says that it goes; whether it is back a new line tells.
            (Err(problem), Some(line)) if line.is_gone() || is_loss(&problem) => {
                line.retire();
                // The next one is opened when nobody has this one any more.
                drop(line);
                self.read_once(work, deadline).await.0
            }
            (Err(problem), Some(line)) if fault::is_locked_out(&problem) => {
                drop(line);
                self.list(work, deadline).await
            }
            (outcome, _) => outcome,
        }
    }

    /// Also gives the line that was read on, and may be at fault.
    async fn read_once<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> (Result<T, Problem>, Option<Arc<Backend>>) {
        let line = async {
            let place = self.shared.reading.enter()?;
            Ok((place, deadline.end(self.line()).await??))
        };
        let (place, line) = match line.await {
            Ok(found) => found,
            Err(problem) => return (Err(problem), None),
        };
        let before = line.answered.load(Ordering::Relaxed);
        let mut conn =
            self.conn(Channel { backend: line.clone(), turn: Turn::Shared(place), posted: Vec::new(), locked: false });
        let outcome = deadline.end(work(&mut conn)).await;
        match outcome {
            Ok(outcome) => {
                line.answered.fetch_add(1, Ordering::Relaxed);
                (outcome, Some(line))
            }
            Err(late) => {
                // Nobody has been answered on it since: the server has stopped, or a statement keeps all later ones waiting.
                if line.answered.load(Ordering::Relaxed) == before {
                    line.break_off();
                }
                (Err(late), None)
            }
        }
    }

    /// The line with the fewest requests on it.
    async fn line(&self) -> Result<Arc<Backend>, Problem> {
        match self.points.iter().min_by_key(|track| track.load()) {
            Some(track) => track.open().await,
            None => Err(Problem::internal("there are no lines")),
        }
    }

    /// Runs `work` on a connection of its own, each statement for itself.
    pub async fn list<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        match self.list_once(work, deadline).await {
            // As in `read`.
            (Err(problem), Some(backend)) if backend.is_gone() || is_loss(&problem) => {
                backend.retire();
                drop(backend);
                self.list_once(work, deadline).await.0
            }
            (outcome, _) => outcome,
        }
    }

    /// Also gives the connection that may be at fault.
    async fn list_once<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> (Result<T, Problem>, Option<Arc<Backend>>) {
        let channel = match self.lists.channel(deadline).await {
            Ok(channel) => channel,
            Err(problem) => return (Err(problem), None),
        };
        let backend = channel.backend.clone();
        backend.open.store(true, Ordering::Release);
        let mut conn = self.conn(channel);
        match deadline.end(work(&mut conn)).await {
            Ok(outcome) => {
                backend.open.store(false, Ordering::Release);
                (outcome, Some(backend))
            }
            Err(late) => (Err(late), None),
        }
    }

    /// Runs `work` in a transaction that cannot write and sees one state throughout. It loses against nobody. Its turn has to come by
    /// `deadline`; then it has some seconds more.
    pub async fn snapshot<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let lane = &self.lists;
        let begin = || Begin { sql: lane.begin_report.clone(), locks: false };
        let turn = lane.waiting.wait_for(lane.reports.acquire(), deadline).await?.map_err(Problem::internal)?;
        let outcome = match self.transaction(lane, work, begin(), deadline.for_report()).await {
            // The connection was lost, or a standby has taken in a change that this stood in the way of.
            Err(problem) if problem.is_transient() => {
                self.transaction(lane, work, begin(), deadline.for_report()).await
            }
            outcome => outcome,
        };
        drop(turn);
        outcome
    }

    /// Runs `work` in a transaction of isolation REPEATABLE READ, when it is its turn on all of `roots`: first in this process,
    /// before it takes a connection, and then among all of them. Whoever loses against another all the same, who has named
    /// other roots or none, starts again until `deadline`, so that `work` may
    /// read, judge and write without locking.
    pub async fn write<T>(
        &self,
        roots: &Roots,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        company: Company,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let turn = deadline.end(self.shared.roots.stand(roots)).await??;
        let mut attempt = 0;
        let outcome = loop {
            match self.transaction(&self.writes, work, begin(roots, company), deadline).await {
                Err(problem)
                    if problem.is_transient() || (company == Company::None && fault::is_locked_out(&problem)) =>
                {
                    let pause = pause(attempt);
                    if pause >= deadline.left() {
                        break Err(problem);
                    }
                    tokio::time::sleep(pause).await;
                    attempt += 1;
                }
                outcome => break outcome,
            }
        };
        drop(turn);
        outcome
    }

    async fn transaction<T>(
        &self,
        lane: &Lane,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        begin: Begin,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let mut channel = lane.channel(deadline).await?;
        channel.locked = begin.locks;
        // A connection that has ended since it was used last.
        channel
            .begin(begin.sql)
            .map_err(|problem| if is_loss(&problem) { Problem::transient(problem) } else { problem })?;
        let mut conn = self.conn(channel);
        let outcome = deadline.end(work(&mut conn)).await;
        let Line::Postgres(channel) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        let last = deadline.later(MORE_FOR_COMMITS);
        match outcome {
            Ok(Ok(value)) => match last.end(channel.commit()).await {
                Ok(ended) => ended.map(|()| value),
                // Whoever has sent it and hears nothing knows as little as who has lost the connection.
                Err(late) => Err(fault::uncertain(late)),
            },
            Ok(Err(problem)) => Err(last.end(channel.roll_back(problem)).await.unwrap_or_else(|late| late)),
            // The transaction is still open. The connection is ended, which undoes it.
            Err(late) => Err(late),
        }
    }

    /// Why this server cannot be worked with, if it has said so. One that is away may come back.
    pub async fn refusal(&self, wait: Duration) -> Option<String> {
        match tokio::time::timeout(wait, self.shared.target.greet(Limits::OF_JOBS, None)).await {
            Ok(Err(ConnectionError::InvalidConnectionUrl(why))) => Some(why),
            _ => None,
        }
    }

    /// A connection of its own, outside the pool: for migrations, which hold a lock for as long as it lives.
    ///
    /// # Errors
    /// When the server is away.
    pub async fn detached(&self) -> Result<AsyncPgConnection, Problem> {
        let connected = async {
            let (client, _) = self.shared.target.greet(Limits::OF_MIGRATIONS, None).await?;
            AsyncPgConnection::try_from(client).await
        };
        connected.await.map_err(|e| Problem::unavailable(e.to_string()))
    }

    fn conn(&self, channel: Channel) -> Conn {
        Conn::new(Line::Postgres(channel), self.shared.kept.clone()).before(self.shared.roots.clone())
    }
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
