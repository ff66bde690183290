//! PostgreSQL by a pure Rust client with rustls. Connections are for one thing each, see [`lanes`]: lines, on which
//! many requests read single things at once, each without waiting for the answer to the one before (pipelining); and
//! pools, whose connections are had by one at a time, to write, and for lists, searches and reports.

mod backend;
mod begin;
pub(super) mod channel;
mod lane;
mod servers;
pub(super) mod url;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use diesel::ConnectionError;
use diesel_async::AsyncPgConnection;
use tokio::runtime::Handle;

use self::backend::{Backend, Maker};
pub use self::begin::Company;
use self::begin::{Begin, LockPatience, begin, pause};
use self::channel::{ChannelTurn, PgChannel, is_loss};
use self::lane::{BEGIN_REPORT, Lane, LockedOut, Track};
use self::servers::{ServerLimits, Servers};
use super::conn::{Conn, ConnCache, EngineConn};
use super::deadline::{Deadline, MORE_FOR_COMMITS, MORE_FOR_REPORTS_S};
use super::fault;
use super::lanes::{self, Shares};
use super::load::Load;
use super::queue::{self, Queue};
use super::root::{Lines, Roots};
use super::slow::Listener;
use crate::kernel::Problem;

/// What all threads share.
struct Shared {
    lanes: Mutex<Vec<Weak<Lane>>>,
    tracks: Mutex<Vec<Weak<[Track]>>>,
    servers: Servers,
    /// How many connections there may be.
    size: usize,
    kept: Arc<ConnCache>,
    /// Those who read on lines.
    reading: Queue,
    /// Those who wait for their turn on what they change.
    roots: Lines,
    /// How many may wait for a connection, on all threads together.
    most_waiting: AtomicUsize,
}

/// How many times as many may read on lines as may wait for a connection: they are answered sooner.
const READING: usize = 4;

/// How many connections each thread needs for itself, to have them for itself: to take turns on one would be to wait
/// for whoever happens to be on the same thread.
const OWN: usize = 2;

/// The doors to one PostgreSQL primary. As it is opened it has one connection, for what runs by itself and for
/// commands.
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
    _seat: Option<CrewSeat>,
}

/// The threads that serve requests, and how connections are shared out among them.
struct Crew {
    shares: Shares,
    /// How long requests wait.
    wait: Duration,
    /// Which threads have come for their part.
    seats: Mutex<Vec<bool>>,
    /// What they have in common, where there are not enough connections for each; carried by the runtime of whoever
    /// opened the database.
    writes: Option<Arc<Lane>>,
    lists: Option<Arc<Lane>>,
    points: Option<Arc<[Track]>>,
}

/// The part of one thread.
struct CrewSeat {
    crew: Arc<Crew>,
    nth: usize,
}

impl Drop for CrewSeat {
    fn drop(&mut self) {
        if let Some(taken) = self.crew.seats.lock().unwrap_or_else(PoisonError::into_inner).get_mut(self.nth) {
            *taken = false;
        }
    }
}

impl Crew {
    /// A place that nobody has.
    fn sit_down(self: &Arc<Self>) -> Option<CrewSeat> {
        let mut seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = seats.iter().position(|taken| !taken)?;
        seats[nth] = true;
        Some(CrewSeat { crew: self.clone(), nth })
    }
}

impl Postgres {
    /// At most `size` connections to `url`; connects on first use.
    ///
    /// # Errors
    /// A sentence about what is wrong with the URL.
    pub fn open(url: &str, size: usize, listener: Option<Listener>) -> Result<Arc<Self>, String> {
        let kept: Arc<ConnCache> = Arc::default();
        let shared = Arc::new(Shared {
            lanes: Mutex::default(),
            tracks: Mutex::default(),
            servers: Servers::new(url, listener, kept.get())?,
            size,
            kept,
            reading: Queue::default(),
            roots: Lines::default(),
            most_waiting: AtomicUsize::new(queue::MOST),
        });
        let maker = Maker::new(&shared.servers, ServerLimits::OF_JOBS, 1, &Handle::current());
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

    /// What is kept of this database under this type.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.shared.kept.get()
    }

    /// How many connections there may be, all in all.
    pub fn size(&self) -> usize {
        self.shared.size
    }

    /// The same database for so many threads that serve requests, with `shares` of connections for them. The server,
    /// too, ends what takes longer than `wait`.
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

    /// The same database with the part of one of the threads that serve requests, for that thread to call: as far as
    /// there are enough connections, no answer then goes from one thread to another.
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
        let maker = Maker::new(&shared.servers, ServerLimits::of_requests(wait), count, driver);
        let report_ms = (wait + Duration::from_secs(MORE_FOR_REPORTS_S)).as_millis();
        let begin_report = format!("{BEGIN_REPORT}; SET LOCAL statement_timeout = {report_ms}");
        let lane = Lane::open(maker, count, begin_report.into(), &shared.lanes)?;
        lane.waiting.resize((shared.most_waiting.load(Ordering::Relaxed) / threads).max(1));
        Ok(lane)
    }

    fn tracks(&self, count: usize, wait: Duration, driver: &Handle) -> Arc<[Track]> {
        let limits = ServerLimits::of_lines(wait);
        Track::some(|| Maker::new(&self.shared.servers, limits, 1, driver), count, &self.shared.tracks)
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

    /// Runs `work` on a line, each statement for itself, together with the reads of other requests; where it would have
    /// to wait for a lock, on a connection of its own.
    pub async fn read<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        if self.points.is_empty() {
            return self.list(work, deadline).await;
        }
        match self.read_once(work, deadline).await {
            // The server has gone away since the line was used last, or says that it goes; whether it is back a new
            // line tells.
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
        let mut conn = self.conn(PgChannel {
            backend: line.clone(),
            turn: ChannelTurn::Shared(place),
            posted: Vec::new(),
            locked: false,
        });
        let outcome = deadline.end(work(&mut conn)).await;
        match outcome {
            Ok(outcome) => {
                line.answered.fetch_add(1, Ordering::Relaxed);
                (outcome, Some(line))
            }
            Err(late) => {
                // Nobody has been answered on it since: the server has stopped, or a statement keeps all later ones
                // waiting.
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

    /// Runs `work` in a transaction that cannot write and sees one state throughout. It loses against nobody. Its turn
    /// has to come by `deadline`; then it has some seconds more.
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

    /// Runs `work` in a transaction of isolation REPEATABLE READ, when it is its turn on all of `roots`: first in this
    /// process, before it takes a connection, and then among all of them. Whoever loses against another all the same,
    /// who has named other roots or none, starts again until `deadline`, so that `work` may read, judge and write
    /// without locking. So does whoever meets a lock that somebody keeps, and lets others have the connection
    /// meanwhile.
    pub async fn write<T>(
        &self,
        roots: &Roots,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        company: Company,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        let turn = deadline.end(self.shared.roots.stand(roots)).await??;
        let (mut attempt, mut locked_out) = (0, None);
        let outcome = loop {
            let (again, patience) = match &locked_out {
                Some(locked_out) => (Some(LockedOut::turn(locked_out, deadline).await?), LockPatience::Again),
                None => (None, self.writes.first_patience()),
            };
            let outcome = self.transaction(&self.writes, work, begin(roots, company, patience), deadline).await;
            drop(again);
            match outcome {
                Err(problem) if problem.is_transient() || fault::is_locked_out(&problem) => {
                    // Edits of the configuration come one at a time anyway.
                    if company == Company::Welcome && locked_out.is_none() && fault::is_locked_out(&problem) {
                        locked_out = Some(self.writes.lock_out());
                    }
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
        let committed = std::mem::take(&mut conn.committed);
        let EngineConn::Postgres(channel) = &mut conn.line else { unreachable!("the pool is PostgreSQL's") };
        let last = deadline.later(MORE_FOR_COMMITS);
        match outcome {
            Ok(Ok(value)) => match last.end(channel.commit()).await {
                Ok(ended) => ended.map(|()| {
                    committed.into_iter().for_each(|work| work());
                    value
                }),
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
        match tokio::time::timeout(wait, self.shared.servers.greet(ServerLimits::OF_JOBS, None)).await {
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
            let (client, _) = self.shared.servers.greet(ServerLimits::OF_MIGRATIONS, None).await?;
            AsyncPgConnection::try_from(client).await
        };
        connected.await.map_err(|e| Problem::unavailable(e.to_string()))
    }

    fn conn(&self, channel: PgChannel) -> Conn {
        Conn::new(EngineConn::Postgres(channel), self.shared.kept.clone()).before(self.shared.roots.clone())
    }
}
