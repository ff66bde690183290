//! SQLite: readers work in place, one writer thread commits for all that wait (group commit).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
use diesel::{Connection, RunQueryDsl, SqliteConnection};
use futures_util::FutureExt;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};

use super::conn::{Conn, Kept, Line};
use super::deadline::{Deadline, MORE_FOR_COMMITS};
use super::interrupt::{self, watched};
use super::queue::{Place, Queue};
use super::root::{self, Lines, Root};
use super::steady::run_words;
use super::{Listener, Load, fault};
use crate::kernel::Problem;

/// How many requests one commit may carry: bounds how long the first of them waits for the last.
const GROUP: usize = 128;

/// How long a read lock is held on a state that may be outdated: another process may write, too.
const HELD_FOR: Duration = Duration::from_secs(1);

/// The pause between a commit and bringing the log into the file: costs the less, the more often a page was changed
/// meanwhile.
const LOG_PAUSE: Duration = Duration::from_millis(250);

/// How long a statement waits for another process, in milliseconds.
const BUSY_MS: i32 = 5_000;

/// How long the writer waits for another process before it looks again who waits for the writer, in milliseconds.
const LOCKED_MS: i32 = 100;

/// How long a report may take before it counts as a long one, of which there are as many besides: so that two of them do not shut
/// out all others.
const LONG: Duration = Duration::from_secs(1);

/// How long a list may keep the thread that serves its request, and others.
const IN_PLACE: Duration = Duration::from_millis(10);

/// How many statements a reader keeps prepared, and the writer. Each takes some 15 KiB; what is asked often is far fewer.
const MOST_PREPARED: usize = 192;
const MOST_PREPARED_WRITES: usize = 512;

/// How long writers may wait, in milliseconds, for readers to be done with a log that is to be emptied.
const WIPE_WAIT_MS: i32 = 100;

/// How long to wait before trying again to empty it.
const WIPE_PAUSE: Duration = Duration::from_secs(5);

/// How many pages of 4 KiB the log has before it begins anew; at four times as many, SQLite sees to it within a commit.
const LOG_PAGES: i32 = 8_000;

/// Why a request is not carried out any more.
const WAITED_LONG: &str = "waited too long for the writer";

/// What is wrong with work that waits on the writer thread.
const WAITED: &str = "work in a write must not wait for anything but its database";

/// A request's work on the writer thread.
trait Job: Send {
    /// Whether it has a commit of its own.
    fn is_apart(&self) -> bool;
    /// Does it, or does it again after it was undone together with others.
    fn run(&mut self, conn: &mut Conn) -> Ran;
    /// Tells the request that waits: committed, or why not.
    fn answer(self: Box<Self>, fate: Result<(), &Undone>);
}

/// How it went.
enum Ran {
    /// The transaction goes on: the request has done what it wanted, or was undone by itself.
    Well,
    /// The transaction, which has nothing else in it, is to be undone.
    Undo,
    /// The engine has rolled back the whole group under us, for this reason.
    RolledBack(String),
}

/// How a write goes about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Manner {
    /// Waits however many others do, and however long.
    pub patient: bool,
    /// Is committed by itself, since it may change much. What is committed together with others needs a savepoint, and within
    /// one SQLite walks through all that has been changed so far after each statement that can fail halfway.
    pub apart: bool,
    /// Changes what others keep in memory: what it reads is kept by nobody else, since it may never be committed.
    pub alone: bool,
}

/// Why a transaction was not committed.
struct Undone {
    why: String,
    /// Whether nothing of it can be on disk.
    is_certain: bool,
    /// Whether it may be for the work of one request alone.
    is_by_one: bool,
}

impl Undone {
    /// Nothing has begun.
    fn at_begin(why: impl ToString) -> Self {
        Self { why: why.to_string(), is_certain: true, is_by_one: false }
    }

    /// What one of them did could not be done.
    fn by_work(why: impl ToString) -> Self {
        Self { why: why.to_string(), is_certain: true, is_by_one: true }
    }

    /// A disk that fails while it is told to keep something may have kept it all the same, to be found after a power cut.
    fn at_commit(why: impl ToString) -> Self {
        let why = why.to_string();
        Self { is_certain: !why.contains("disk I/O error"), why, is_by_one: false }
    }

    fn problem(&self) -> Problem {
        if self.is_certain { fault::outage(self.why.clone()) } else { fault::uncertain(self.why.clone()) }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The writer's own.
    Write,
    /// For what changes nothing.
    Read,
    /// For what has to be done for the others.
    Attend,
}

/// How many connections work.
#[derive(Default)]
struct Activity {
    reading: AtomicUsize,
    writing: AtomicUsize,
}

/// Counts for as long as it lives.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The doors to one SQLite file.
pub struct Sqlite {
    path: PathBuf,
    kept: Arc<Kept>,
    listener: Option<Listener>,
    activity: Arc<Activity>,
    readers: Mutex<Vec<Conn>>,
    /// How many snapshots may be read at once: more take more memory and are no sooner done.
    reports: Arc<Semaphore>,
    /// How many of those that take long may be read besides.
    long_reports: Arc<Semaphore>,
    /// The threads that read them, as many as both.
    reporters: Reporters,
    /// Those who wait for one.
    reports_waiting: Queue,
    jobs: mpsc::Sender<Box<dyn Job>>,
    /// Those who wait for the writer.
    writes_waiting: Queue,
    /// Those who wait for their turn before that, see [`turn`](Self::turn).
    roots: Lines,
    /// Whether another process has had the lock since the writer has asked for it.
    is_locked: Arc<AtomicBool>,
    /// The files as they were opened.
    files: Files,
}

impl Sqlite {
    /// Opens the file and starts its writer thread, which ends when this is dropped.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, listener: Option<Listener>) -> Result<Arc<Self>, Problem> {
        interrupt::install();
        let kept = Arc::<Kept>::default();
        let roots = Lines::default();
        let mut writer = connect(path, Role::Write, &kept, listener.as_ref())?.before(roots.clone());
        // It looks again itself.
        now(writer.batch(&format!("PRAGMA busy_timeout = {LOCKED_MS}")))?;
        let mut holder = Holder(connect(path, Role::Attend, &kept, None)?);
        let mut wipe = Wipe::default();
        // What a process that has died has not emptied. Where another one is at work, that one sees to what it has erased.
        wipe.now(&mut writer, 0);
        writer.erased = false;
        let files = Files::of(path);
        let log = Log::watch(path, &kept)?;
        let is_locked = Arc::new(AtomicBool::new(false));
        let locked = is_locked.clone();
        let (jobs, waiting) = mpsc::channel::<Box<dyn Job>>();
        let activity = Arc::new(Activity::default());
        let writers = activity.clone();
        thread::Builder::new()
            .name("sqlite-writer".into())
            .spawn(move || {
                loop {
                    holder.hold();
                    let first = match waiting.recv_timeout(HELD_FOR) {
                        Ok(first) => first,
                        Err(mpsc::RecvTimeoutError::Timeout) => {
                            holder.let_go();
                            wipe.when_due(&mut writer);
                            continue;
                        }
                        Err(mpsc::RecvTimeoutError::Disconnected) => return,
                    };
                    let _working = Counted::on(&writers.writing);
                    holder.let_go();
                    let mut next = Some(first);
                    while let Some(first) = next {
                        next = commit_group(&mut writer, first, &waiting, &mut wipe, &locked);
                        writer.forget_some(MOST_PREPARED_WRITES);
                        log.grown(&mut writer);
                    }
                }
            })
            .map_err(Problem::internal)?;
        let most = thread::available_parallelism().map_or(1, usize::from).max(2);
        let (reports, long_reports) = (Arc::new(Semaphore::new(most)), Arc::new(Semaphore::new(most)));
        let reporters = Reporters::new(2 * most)?;
        let (path, readers) = (path.to_owned(), Mutex::new(Vec::new()));
        let (reports_waiting, writes_waiting) = (Queue::default(), Queue::default());
        Ok(Arc::new(Self {
            path,
            kept,
            listener,
            activity,
            readers,
            reports,
            long_reports,
            reporters,
            reports_waiting,
            jobs,
            writes_waiting,
            roots,
            is_locked,
            files,
        }))
    }

    /// Whether no more writes may wait.
    pub fn is_full(&self) -> bool {
        self.writes_waiting.is_full()
    }

    /// Lets `most` wait for the writer, and as many for a report.
    pub fn resize_queues(&self, most: usize) {
        self.reports_waiting.resize(most);
        self.writes_waiting.resize(most);
        self.roots.resize(most);
    }

    /// The turn on `root` among those who would change it, to be held while one writes. The writer takes one after the other anyway;
    /// but whoever else writes stands behind one of them in this way, and not behind all.
    ///
    /// # Errors
    /// `unavailable` when too many wait, or for too long.
    pub async fn turn(&self, root: Root, deadline: Deadline) -> Result<root::Turn, Problem> {
        deadline.end(self.roots.stand(&root.into())).await?
    }

    /// How busy the connections are, the writer's among them.
    pub fn how_busy(&self) -> Load {
        let writing = self.activity.writing.load(Ordering::Relaxed);
        let free = self.readers.lock().unwrap_or_else(PoisonError::into_inner).len();
        Load {
            idle: free + 1 - writing,
            in_use: self.activity.reading.load(Ordering::Relaxed) + writing,
            max: None,
            writes_waiting: Some(self.writes_waiting.len()),
        }
    }

    /// Runs `work` in place on a connection of its own that cannot write.
    pub async fn read<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Result<T, Problem> {
        if deadline.is_past() {
            return Err(Problem::late("waited too long to read"));
        }
        let _working = Counted::on(&self.activity.reading);
        let mut conn = self.reader()?;
        let result = watched(Arc::new(move || deadline.is_past()), work(&mut conn)).await;
        self.give_back(conn);
        result
    }

    /// Runs `work` in place for as long as most lists take; gives nothing for one that takes longer, which must begin anew as a
    /// report, so that no thread stands still that has other requests to serve.
    pub async fn list_in_place<T>(
        &self,
        work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
        deadline: Deadline,
    ) -> Option<Result<T, Problem>> {
        let began = Stopwatch::now();
        let outcome = self.read(work, deadline.or_within(IN_PLACE)).await;
        (outcome.is_ok() || began.elapsed() < IN_PLACE).then_some(outcome)
    }

    /// Runs `work` on a thread for what takes long, on a connection that cannot write, in one transaction: in WAL mode
    /// it sees the state of its first query throughout, and keeps no writer waiting.
    pub async fn snapshot<T, F>(self: &Arc<Self>, work: F, deadline: Deadline) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        let turn = self.reports.clone().acquire_owned();
        let turn = self.reports_waiting.wait_for(turn, deadline).await?.map_err(Problem::internal)?;
        let ends = deadline.for_report();
        let waits = Arc::new(());
        let (waiter, sqlite) = (Arc::downgrade(&waits), self.clone());
        let (began, turn) = (Stopwatch::now(), Mutex::new((turn, false)));
        let is_over = Arc::new(move || {
            if waiter.strong_count() == 0 || ends.is_past() {
                return true;
            }
            if began.elapsed() < LONG {
                return false;
            }
            let mut turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
            let (_, is_long) = *turn;
            if is_long {
                return false;
            }
            match sqlite.long_reports.clone().try_acquire_owned() {
                // Its turn is somebody else's from now on.
                Ok(long) => *turn = (long, true),
                // Enough are long already. It has had its time if others wait for theirs.
                Err(_) => return sqlite.reports.available_permits() == 0 && sqlite.reports_waiting.len() > 0,
            }
            false
        });
        let (sqlite, span) = (self.clone(), tracing::Span::current());
        let running = self.reporters.threads.spawn_blocking(move || {
            let _request = span.entered();
            let _working = Counted::on(&sqlite.activity.reading);
            let mut conn = sqlite.reader()?;
            now(conn.batch("BEGIN DEFERRED"))?;
            let outcome = watched(is_over, work(&mut conn)).now_or_never();
            // There is nothing to undo. A connection that cannot end its transaction is dropped, and others take its place.
            now(conn.batch("ROLLBACK"))?;
            sqlite.give_back(conn);
            outcome
                .unwrap_or_else(|| Err(Problem::internal("work in a snapshot must wait for nothing but its database")))
        });
        // It ends by itself; only what does not ask is not waited for.
        let outcome = ends.later(MORE_FOR_COMMITS).end(running).await?.map_err(Problem::internal)?;
        drop(waits);
        outcome
    }

    /// Whether the files are still those that were opened.
    ///
    /// # Errors
    /// `unavailable`, with the file that is not.
    pub fn are_files_there(&self) -> Result<(), Problem> {
        self.files.are_there()
    }

    fn give_back(&self, mut conn: Conn) {
        conn.forget_some(MOST_PREPARED);
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
    }

    fn reader(&self) -> Result<Conn, Problem> {
        let free = self.readers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.map_or_else(|| connect(&self.path, Role::Read, &self.kept, self.listener.as_ref()), Ok)
    }

    /// Runs `work` on the writer thread and answers when it is on disk. Whoever is not patient does not wait behind too many
    /// others. What has not begun by `deadline` never does.
    pub async fn write<T, F>(&self, work: F, manner: Manner, deadline: Deadline) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        let (answer, mut answered) = oneshot::channel();
        let place = if manner.patient { None } else { Some(self.writes_waiting.enter()?) };
        let turn = Arc::new(Turn::default());
        let (span, taken, outcome) = (tracing::Span::current(), Some(turn.clone()), Err(Problem::late(WAITED_LONG)));
        let request = Request { work, manner, deadline, place, turn: taken, span, answer, outcome };
        self.jobs.send(Box::new(request)).map_err(|_| Problem::unavailable("the writer thread has ended"))?;
        let ended =
            |answer: Result<_, _>| answer.unwrap_or_else(|_| Err(fault::uncertain("the writer thread has ended")));
        match deadline.end(&mut answered).await {
            Ok(answer) => ended(answer),
            Err(late) if turn.take() => {
                Err(if self.is_locked.load(Ordering::Acquire) { fault::locked() } else { late })
            }
            // It has begun, and ends soon.
            Err(_) => match deadline.later(MORE_FOR_COMMITS).end(answered).await {
                Ok(answer) => ended(answer),
                Err(late) => Err(fault::uncertain(late)),
            },
        }
    }
}

/// What a request wants written.
struct Request<T, F> {
    work: F,
    manner: Manner,
    deadline: Deadline,
    /// Until it begins.
    place: Option<Place>,
    /// Likewise.
    turn: Option<Arc<Turn>>,
    span: tracing::Span,
    answer: oneshot::Sender<Result<T, Problem>>,
    outcome: Result<T, Problem>,
}

impl<T, F> Job for Request<T, F>
where
    T: Send,
    F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send,
{
    fn is_apart(&self) -> bool {
        self.manner.apart || self.manner.alone
    }

    fn run(&mut self, conn: &mut Conn) -> Ran {
        let _request = self.span.clone().entered();
        drop(self.place.take());
        // Nobody would hear of it any more, or soon enough: others who wait come first. What has begun once is done again
        // whether or not somebody waits.
        let is_given_up = self.turn.take().is_some_and(|turn| self.answer.is_closed() || !turn.take());
        if is_given_up || self.deadline.is_past() {
            self.outcome = Err(Problem::late(WAITED_LONG));
            return if self.is_apart() { Ran::Undo } else { Ran::Well };
        }
        if !self.is_apart() {
            let (outcome, rolled_back) = in_savepoint(conn, &self.work, self.deadline);
            self.outcome = outcome;
            return rolled_back.map_or(Ran::Well, Ran::RolledBack);
        }
        conn.keep_apart(self.manner.alone);
        self.outcome = attempt(conn, &self.work, self.deadline);
        conn.keep_apart(false);
        if self.outcome.is_err() { Ran::Undo } else { Ran::Well }
    }

    fn answer(self: Box<Self>, fate: Result<(), &Undone>) {
        let outcome = match fate {
            Ok(()) => self.outcome,
            Err(undone) => Err(undone.problem()),
        };
        // A caller that went away does not undo what was committed.
        drop(self.answer.send(outcome));
    }
}

/// Whether a request's work has begun or been given up: the writer and whoever waits for it take this, and only the first
/// has it.
#[derive(Default)]
struct Turn(AtomicBool);

impl Turn {
    fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Threads for what takes long. Each keeps memory of its own, so there are few; a worker's pool for blocking work would begin
/// another one whenever the last one is not quite done.
struct Reporters {
    threads: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Reporters {
    fn new(most: usize) -> Result<Self, Problem> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(most).thread_name("sqlite-report").build();
        let runtime = runtime.map_err(Problem::internal)?;
        Ok(Self { threads: runtime.handle().clone(), runtime: Some(runtime) })
    }
}

impl Drop for Reporters {
    fn drop(&mut self) {
        // To wait for the threads is not allowed where the database may be dropped.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The log beside the file (WAL): a thread brings it into the file while others go on writing. SQLite alone would do so
/// within the commit of one of them.
struct Log {
    /// Tells the thread of commits.
    commits: mpsc::SyncSender<()>,
    /// Whether it is time that the log begins anew, which it does when all of it is in the file: it takes a moment in which
    /// nobody writes.
    is_long: Arc<AtomicBool>,
}

impl Log {
    fn watch(path: &Path, kept: &Arc<Kept>) -> Result<Self, Problem> {
        let mut conn = connect(path, Role::Attend, kept, None)?;
        let (commits, told) = mpsc::sync_channel(1);
        let is_long = Arc::new(AtomicBool::new(false));
        let long = is_long.clone();
        thread::Builder::new()
            .name("sqlite-log".into())
            .spawn(move || {
                while told.recv().is_ok() {
                    thread::sleep(LOG_PAUSE);
                    let Line::Sqlite(sqlite) = &mut conn.line else { return };
                    // What fails now will be done next time, or by the writer.
                    let pages = diesel::sql_query(CHECKPOINT).get_result::<Checkpoint>(sqlite).map_or(0, |c| c.log);
                    if pages >= LOG_PAGES {
                        long.store(true, Ordering::Release);
                    }
                }
            })
            .map_err(Problem::internal)?;
        Ok(Self { commits, is_long })
    }

    /// Something was committed.
    fn grown(&self, writer: &mut Conn) {
        // The thread knows already, if it has not looked yet.
        let _ = self.commits.try_send(());
        if self.is_long.swap(false, Ordering::AcqRel) {
            // There is little left to do.
            drop(now(writer.batch(CHECKPOINT)));
        }
    }
}

const CHECKPOINT: &str = "PRAGMA wal_checkpoint(PASSIVE)";

/// What a checkpoint says of the log.
#[derive(diesel::QueryableByName)]
struct Checkpoint {
    /// 1 when somebody was in the way.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    busy: i32,
    /// How many pages it has.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    log: i32,
}

/// Holds a read lock on the newest state, so that readers, who take the same lock, find it taken by this process already
/// and need no system call for it. It is let go of while something is written: the log could not begin anew otherwise.
struct Holder(Conn);

impl Holder {
    fn hold(&mut self) {
        self.let_go();
        // If it fails, readers lock for themselves.
        drop(now(self.0.batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")));
    }

    fn let_go(&mut self) {
        // It may hold nothing.
        drop(now(self.0.batch("ROLLBACK")));
    }
}

/// Empties the log after something was erased.
#[derive(Default)]
struct Wipe {
    tried_at: Option<std::time::Instant>,
}

impl Wipe {
    /// Empties the log if there is a reason to. Who reads for long keeps it from that; then it is tried again later.
    fn when_due(&mut self, writer: &mut Conn) {
        if writer.erased && self.tried_at.is_none_or(|at| at.elapsed() >= WIPE_PAUSE) {
            self.now(writer, WIPE_WAIT_MS);
        }
    }

    /// Empties the log, unless others read for longer than `wait_ms`.
    fn now(&mut self, writer: &mut Conn, wait_ms: i32) {
        let Line::Sqlite(conn) = &mut writer.line else { return };
        drop(SimpleConnection::batch_execute(conn, &format!("PRAGMA busy_timeout = {wait_ms}")));
        let done = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Checkpoint>(conn);
        drop(SimpleConnection::batch_execute(conn, &format!("PRAGMA busy_timeout = {LOCKED_MS}")));
        writer.erased = !done.is_ok_and(|checkpoint| checkpoint.busy == 0);
        self.tried_at = writer.erased.then(std::time::Instant::now);
    }
}

/// Runs `first` and all that wait behind it in one transaction, up to the next that is to be by itself, then answers them all. If
/// it fails for the work of one of them, each is done again by itself, and that one fails alone. Gives back who comes next, if it has
/// got hold of it.
fn commit_group(
    conn: &mut Conn,
    first: Box<dyn Job>,
    waiting: &mpsc::Receiver<Box<dyn Job>>,
    wipe: &mut Wipe,
    is_locked: &AtomicBool,
) -> Option<Box<dyn Job>> {
    let owed = std::mem::take(&mut conn.erased);
    let mut behind = None;
    let next = || match waiting.try_recv() {
        Ok(job) if job.is_apart() => {
            behind = Some(job);
            None
        }
        job => job.ok(),
    };
    let together = transact(conn, first, next, is_locked);
    let groups = match together {
        (group, Err(Undone { is_by_one: true, .. })) if group.len() > 1 => {
            group.into_iter().map(|job| transact(conn, job, || None, is_locked)).collect()
        }
        together => vec![together],
    };
    if conn.erased {
        // Whoever is told that it is gone finds it gone, unless somebody reads just then.
        wipe.now(conn, WIPE_WAIT_MS);
    } else if owed {
        conn.erased = true;
        wipe.when_due(conn);
    }
    for (group, fate) in groups {
        for job in group {
            job.answer(fate.as_ref().copied());
        }
    }
    behind
}

/// Runs `first` and some of what comes `next` in one transaction, unless the first is to be by itself; gives them with what became of
/// all of them.
fn transact(
    conn: &mut Conn,
    first: Box<dyn Job>,
    mut next: impl FnMut() -> Option<Box<dyn Job>>,
    is_locked: &AtomicBool,
) -> (Vec<Box<dyn Job>>, Result<(), Undone>) {
    let mut fate = begin(conn, is_locked).map_err(Undone::at_begin);
    let apart = first.is_apart();
    let (mut group, mut done, mut undo) = (vec![first], 0, false);
    while let (Ok(()), Some(job)) = (&fate, group.get_mut(done)) {
        match job.run(conn) {
            Ran::Well => {}
            Ran::Undo => undo = true,
            Ran::RolledBack(why) => fate = Err(Undone::by_work(why)),
        }
        done += 1;
        if !apart && fate.is_ok() && done < GROUP {
            group.extend(next());
        }
    }
    let mut last = std::mem::take(&mut conn.last);
    last.sort_by_key(|(place, _)| *place);
    for (_, work) in last {
        if fate.is_ok() && !undo {
            let worked = work(conn).now_or_never().unwrap_or_else(|| Err(Problem::internal(WAITED)));
            fate = worked.map_err(Undone::by_work);
        }
    }
    if fate.is_ok() && !undo {
        fate = again(conn, "COMMIT").map_err(Undone::at_commit);
    }
    if let Err(Undone { why, .. }) = &fate {
        tracing::error!(cause = %why, requests = group.len(), "sqlite could not commit");
    }
    if fate.is_err() || undo {
        // Nothing is open any more when the engine has rolled back by itself.
        drop(now(conn.batch("ROLLBACK")));
    }
    (group, fate)
}

/// Begins a transaction that writes, as soon as no other process does.
fn begin(conn: &mut Conn, is_locked: &AtomicBool) -> diesel::QueryResult<()> {
    let asked = Stopwatch::now();
    loop {
        let begun = again(conn, "BEGIN IMMEDIATE");
        let locked = begun.as_ref().is_err_and(|error| fault::is_locked(&error.to_string()));
        is_locked.store(locked, Ordering::Release);
        if !locked || asked.elapsed() >= Duration::from_millis(BUSY_MS.unsigned_abs().into()) {
            return begun;
        }
    }
}

/// Runs `work` in the transaction that is open, until `deadline`.
fn attempt<T>(
    conn: &mut Conn,
    work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
    deadline: Deadline,
) -> Result<T, Problem> {
    let is_over = Arc::new(move || deadline.is_past());
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watched(is_over, work(conn)).now_or_never()));
    match ran {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Err(Problem::internal(WAITED)),
        Err(_) => Err(Problem::internal("work in a write panicked")),
    }
}

fn in_savepoint<T>(
    conn: &mut Conn,
    work: &impl AsyncFn(&mut Conn) -> Result<T, Problem>,
    deadline: Deadline,
) -> (Result<T, Problem>, Option<String>) {
    if let Err(error) = again(conn, "SAVEPOINT request") {
        let why = error.to_string();
        return (Err(error.into()), Some(why));
    }
    let before = conn.last.len();
    let outcome = attempt(conn, work, deadline);
    if outcome.is_err() {
        conn.last.truncate(before);
    }
    let ended = match &outcome {
        Ok(_) => again(conn, "RELEASE request"),
        Err(_) => now(conn.batch("ROLLBACK TO request; RELEASE request")),
    };
    // What the work has met is why the engine gave up, rather than that there is nothing left to undo.
    let rolled_back = ended.err().map(|error| {
        let met = outcome.as_ref().err().and_then(Problem::cause);
        met.map_or_else(|| error.to_string(), ToString::to_string)
    });
    (outcome, rolled_back)
}

/// Runs one of the statements around every request, which take no parameters.
fn again(conn: &mut Conn, sql: &'static str) -> diesel::QueryResult<()> {
    match &mut conn.line {
        Line::Sqlite(sqlite) => run_words(sql, sqlite),
        Line::Postgres(_) => Err(diesel::result::Error::BrokenTransactionManager),
    }
}

/// The result of a future that never waits: everything on SQLite is done in place.
fn now<T>(future: impl Future<Output = diesel::QueryResult<T>>) -> diesel::QueryResult<T> {
    future.now_or_never().unwrap_or(Err(diesel::result::Error::BrokenTransactionManager))
}

/// Writes the whole file anew, so that nothing is left in it but what can be read: also no copy of a row that SQLite has
/// moved from one page to another, which it does not overwrite. Others can read meanwhile, and who writes waits.
///
/// # Errors
/// When somebody else writes for too long, or there is no room for a second file.
pub fn rewrite(path: &Path) -> Result<(), Problem> {
    let Conn { line: Line::Sqlite(mut conn), .. } = connect(path, Role::Write, &Arc::default(), None)? else {
        return Ok(());
    };
    SimpleConnection::batch_execute(&mut conn, "VACUUM")?;
    let done = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Checkpoint>(&mut conn)?;
    if done.busy == 0 { Ok(()) } else { Err(Problem::unavailable("somebody reads what there was before")) }
}

fn connect(path: &Path, role: Role, kept: &Arc<Kept>, listener: Option<&Listener>) -> Result<Conn, Problem> {
    // What the system has read from the file it keeps, too; there are as many readers as threads.
    let cache_kib = match role {
        Role::Write => 6_000,
        Role::Read => 2_000,
        Role::Attend => 100,
    };
    let mut conn = SqliteConnection::establish(&path.to_string_lossy()).map_err(Problem::unavailable)?;
    SimpleConnection::batch_execute(
        &mut conn,
        // synchronous=FULL: an answered write is on disk. busy_timeout comes first, since the others may wait too.
        // secure_delete: what is deleted is overwritten with zeroes, which costs 5 % more pages of the log.
        &format!(
            "PRAGMA busy_timeout = {BUSY_MS}; PRAGMA secure_delete = ON; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;
             PRAGMA temp_store = MEMORY; PRAGMA cache_size = -{cache_kib}; PRAGMA wal_autocheckpoint = {};",
            4 * LOG_PAGES
        ),
    )?;
    if role != Role::Write {
        SimpleConnection::batch_execute(&mut conn, "PRAGMA query_only = ON")?;
    }
    let prepared = Arc::<AtomicUsize>::default();
    conn.set_instrumentation(Prepared { count: prepared.clone(), listener: listener.map(|listener| listener()) });
    let mut conn = Conn::new(Line::Sqlite(conn), kept.clone());
    conn.prepared = prepared;
    Ok(conn)
}

/// Counts the statements that a connection keeps prepared.
struct Prepared {
    count: Arc<AtomicUsize>,
    listener: Option<Box<dyn Instrumentation>>,
}

impl Instrumentation for Prepared {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        if let InstrumentationEvent::CacheQuery { .. } = event {
            self.count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(listener) = &mut self.listener {
            listener.on_connection_event(event);
        }
    }
}

/// The files of a database, as the system knows them: what is deleted or replaced while it is open is no longer theirs.
struct Files(Vec<(PathBuf, Option<Identity>)>);

/// The device and the number of a file on it.
type Identity = (u64, u64);

impl Files {
    /// As they are now.
    fn of(path: &Path) -> Self {
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let all = [path.to_owned(), beside("-wal"), beside("-shm")];
        Self(all.into_iter().map(|path| (path.clone(), identity(&path))).collect())
    }

    fn are_there(&self) -> Result<(), Problem> {
        let lost = self.0.iter().find(|(path, known)| known.is_some() && identity(path) != *known);
        lost.map_or(Ok(()), |(path, _)| {
            let path = path.display();
            let cause = format!("{path} was deleted or replaced while the database is open");
            let detail = "A file of the database was deleted or replaced while it is open. Stop the service with SIGTERM, which keeps what \
                          it has written, and start it again.";
            Err(Problem::unavailable(cause).saying(detail))
        })
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}

/// A connection to a file that is there, which cannot change it.
fn observe(path: &Path) -> Result<SqliteConnection, Problem> {
    let mut conn = SqliteConnection::establish(&uri(path)?).map_err(Problem::unavailable)?;
    diesel::connection::SimpleConnection::batch_execute(&mut conn, "PRAGMA busy_timeout = 5000")?;
    Ok(conn)
}

/// The path as SQLite's URI for a file that is opened for reading and never made.
fn uri(path: &Path) -> Result<String, Problem> {
    let path = std::path::absolute(path).map_err(Problem::unavailable)?;
    let path = path.to_str().ok_or_else(|| Problem::unavailable("the path of the database is not UTF-8"))?;
    // Behind an authority that is empty, or a path that begins with two slashes would name one.
    Ok(format!("file://{}?mode=ro", path.replace('%', "%25").replace('?', "%3f").replace('#', "%23")))
}

/// Runs `work` on a file that is there, in one transaction that cannot write.
///
/// # Errors
/// What `work` gives, or `unavailable` when the file cannot be read.
pub async fn look<T>(path: &Path, work: impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
    let mut conn = Conn::new(Line::Sqlite(observe(path)?), Arc::default());
    now(conn.batch("PRAGMA query_only = ON; BEGIN DEFERRED"))?;
    work(&mut conn).await
}

/// Copies what has been committed before now into `into`, which must be empty or missing. Others read and write meanwhile.
///
/// # Errors
/// When the file cannot be read or the copy not be written.
pub fn copy(path: &Path, into: &Path) -> Result<(), Problem> {
    let into = std::path::absolute(into).map_err(Problem::unavailable)?;
    let into = into.to_str().ok_or_else(|| Problem::unavailable("the path of the copy is not UTF-8"))?;
    let copied = diesel::sql_query("VACUUM INTO ?").bind::<diesel::sql_types::Text, _>(into);
    copied.execute(&mut observe(path)?)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Later than any of these tests ends.
    fn soon() -> Deadline {
        Deadline::within(Duration::from_secs(600))
    }

    /// On one thread: what stood still on it would keep the other from saying that it is there.
    #[tokio::test]
    async fn a_list_that_takes_long_goes_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
        let others = Arc::new(AtomicBool::new(false));
        let served = others.clone();
        let until_others_are_served = async move |conn: &mut Conn| {
            while !served.load(Ordering::Acquire) {
                let count = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 10000) SELECT count(*) FROM n";
                conn.batch(count).await?;
            }
            Ok(())
        };
        let deadline = Deadline::within(Duration::from_secs(30));
        assert!(sqlite.list_in_place(&until_others_are_served, deadline).await.is_none(), "it has had its 10 ms");
        let elsewhere = sqlite.snapshot(until_others_are_served, deadline);
        let (list, ()) = tokio::join!(elsewhere, async { others.store(true, Ordering::Release) });
        assert!(list.is_ok(), "{list:?}");
    }

    #[tokio::test]
    async fn who_cannot_be_committed_fails_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
        let made =
            sqlite.write(async |tx| Ok(tx.batch("CREATE TABLE done (number)").await?), Manner::default(), soon()).await;
        assert!(made.is_ok());
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(Some(gone));
        let wait = async move |_: &mut Conn| {
            // Only the first time: it is done again.
            if let Some(gone) = gone.lock().expect("no panic").take() {
                gone.recv().expect("a sign");
            }
            Ok(())
        };
        let first = sqlite.write(wait, Manner::default(), soon());
        let add = |number: i64, fails: bool| {
            let work = async move |tx: &mut Conn| {
                tx.batch(&format!("INSERT INTO done VALUES ({number})")).await?;
                let last: super::super::conn::LastWork = Box::new(move |tx| {
                    Box::pin(async move {
                        let sql = if fails { "INSERT INTO nowhere VALUES (1)" } else { "SELECT 1" };
                        Ok(tx.batch(sql).await?)
                    })
                });
                tx.at_last(number, last).await
            };
            sqlite.write(work, Manner::default(), soon())
        };
        let all = tokio::join!(first, add(1, false), add(2, true), add(3, false), async { go.send(()) });
        assert!(matches!(all, (Ok(()), Ok(()), Err(_), Ok(()), Ok(()))), "{all:?}");
        let read = async |conn: &mut Conn| {
            let Line::Sqlite(conn) = &mut conn.line else { return Err(Problem::internal("not SQLite")) };
            Ok(diesel::sql_query("SELECT CAST(group_concat(number) AS TEXT) AS done FROM done")
                .get_result::<Numbers>(conn)?
                .done)
        };
        assert_eq!(sqlite.read(&read, soon()).await.expect("they are there"), "1,3");
    }

    #[derive(diesel::QueryableByName)]
    struct Numbers {
        #[diesel(sql_type = diesel::sql_types::Text)]
        done: String,
    }

    /// Counts to a number that takes as long as one likes.
    const COUNT: &str =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000000) SELECT max(i) FROM n";

    #[tokio::test]
    async fn statements_end_when_their_time_is_over_or_nobody_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
        let count = async |conn: &mut Conn| Ok(conn.batch(COUNT).await?);
        let in_ms = |ms| Deadline::within(Duration::from_millis(ms));
        let late = |outcome: Result<(), Problem>| outcome.expect_err("it has no end").detail().contains("in time");
        assert!(late(sqlite.read(&count, in_ms(100)).await));
        assert!(late(sqlite.write(count, Manner::default(), in_ms(100)).await));
        // Whoever goes away leaves nothing behind, and neither do those whose time is over.
        for _ in 0..8 {
            let gone = tokio::time::timeout(Duration::from_millis(100), sqlite.snapshot(count, in_ms(600_000))).await;
            assert!(gone.is_err());
        }
        let one = async |conn: &mut Conn| Ok(conn.batch("SELECT 1").await?);
        assert!(sqlite.snapshot(one, in_ms(60_000)).await.is_ok());
        assert!(sqlite.write(one, Manner::default(), soon()).await.is_ok());
        while sqlite.activity.reading.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn what_takes_long_shuts_out_nobody() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
        let count = async |conn: &mut Conn| Ok(conn.batch(COUNT).await?);
        let most = thread::available_parallelism().map_or(1, usize::from).max(2);
        let long = (0..2 * most).map(|_| {
            let sqlite = sqlite.clone();
            tokio::spawn(async move { sqlite.snapshot(count, soon()).await })
        });
        let long: Vec<_> = long.collect();
        // They have every turn, until they turn out to be long.
        let one = async |conn: &mut Conn| Ok(conn.batch("SELECT 1").await?);
        while sqlite.reports.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        for _ in 0..4 * most {
            assert!(sqlite.snapshot(one, soon()).await.is_ok());
        }
        // Only as many as may be long are left, or more where nobody has waited.
        assert_eq!(sqlite.long_reports.available_permits(), 0);
        assert!(long.iter().filter(|long| !long.is_finished()).count() >= most);
        long.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test]
    async fn so_many_statements_are_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let hot = Arc::<AtomicUsize>::default();
        let ear = hot.clone();
        let listener: Listener = Arc::new(move || {
            let hot = ear.clone();
            Box::new(move |event: InstrumentationEvent<'_>| {
                if let InstrumentationEvent::CacheQuery { sql, .. } = event {
                    hot.fetch_add(usize::from(sql == "SELECT 'hot'"), Ordering::Relaxed);
                }
            })
        });
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), Some(listener)).expect("a file");
        let ask = async |text: String| {
            let work = async |conn: &mut Conn| {
                let Line::Sqlite(conn) = &mut conn.line else { return Err(Problem::internal("not SQLite")) };
                let text = text.clone();
                Ok(crate::db::RunQueryDsl::get_result::<_, String>(
                    diesel::select(super::super::raw::raw::<diesel::sql_types::Text>(text)),
                    conn,
                )
                .await?)
            };
            sqlite.read(&work, soon()).await.expect("an answer")
        };
        for n in 0..5_000 {
            ask(format!("'{n}'")).await;
            ask("'hot'".into()).await;
            let readers = sqlite.readers.lock().expect("no panic");
            let kept = readers.iter().map(|conn| conn.prepared.load(Ordering::Relaxed)).max();
            assert!(kept.is_some_and(|kept| kept <= MOST_PREPARED), "{kept:?}");
        }
        let hot = hot.load(Ordering::Relaxed);
        assert!((1..=5_000 / MOST_PREPARED + 2).contains(&hot), "prepared {hot} times");
    }

    #[tokio::test]
    async fn what_a_group_does_at_last_is_done_by_place() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = Sqlite::open(&folder.path().join("skranke.db"), None).expect("a file");
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let wait = async move |_: &mut Conn| {
            gone.lock().expect("no panic").recv().expect("a sign");
            Ok(())
        };
        let first = sqlite.write(wait, Manner::default(), soon());
        let done = Arc::<Mutex<Vec<i64>>>::default();
        let at_last = |place: i64| {
            let done = done.clone();
            let work = async move |tx: &mut Conn| {
                let done = done.clone();
                let last = async move {
                    done.lock().expect("no panic").push(place);
                    Ok(())
                };
                tx.at_last(place, Box::new(|_| Box::pin(last))).await
            };
            sqlite.write(work, Manner::default(), soon())
        };
        // They wait behind the first one when it is let go.
        let all = tokio::join!(first, at_last(3), at_last(1), at_last(i64::MAX), at_last(2), async { go.send(()) });
        assert!(matches!(all, (Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Ok(()))));
        assert_eq!(*done.lock().expect("no panic"), [1, 2, 3, i64::MAX]);
    }

    /// Changes `rows` rows of two tables in turn, as a write of many tickets does; tells how long that took.
    async fn change(sqlite: &Sqlite, rows: i64, manner: Manner) -> Duration {
        let begun = std::time::Instant::now();
        let work = async move |tx: &mut Conn| {
            for id in 1..=rows {
                // Twice: what the second of them touches has been touched before.
                for team in [2, 1] {
                    let sql = format!("UPDATE t SET team = {team} WHERE id IN ({id}, {id} + 1)");
                    tx.batch(&sql).await?;
                }
            }
            Ok(())
        };
        sqlite.write(work, manner, soon()).await.expect("a commit");
        begun.elapsed()
    }

    async fn filled(path: &Path, rows: i64) -> Arc<Sqlite> {
        let sqlite = Sqlite::open(path, None).expect("a file");
        let fill = async move |tx: &mut Conn| {
            tx.batch("CREATE TABLE teams (id INTEGER PRIMARY KEY); INSERT INTO teams VALUES (1), (2)").await?;
            tx.batch("CREATE TABLE t (id INTEGER PRIMARY KEY, team REFERENCES teams, body TEXT)").await?;
            let from = format!("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i <= {rows})");
            tx.batch(&format!("{from} INSERT INTO t SELECT i, 1, hex(zeroblob(1000)) FROM n")).await?;
            Ok(())
        };
        sqlite.write(fill, Manner::default(), soon()).await.expect("rows");
        sqlite
    }

    #[tokio::test]
    async fn a_write_by_itself_costs_as_much_as_it_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = filled(&folder.path().join("skranke.db"), 8_000).await;
        for manner in [
            Manner { apart: true, ..Manner::default() },
            Manner { alone: true, ..Manner::default() },
            Manner { patient: true, apart: true, alone: false },
        ] {
            let (mut few, mut many) = (Duration::MAX, Duration::MAX);
            for _ in 0..3 {
                few = few.min(change(&sqlite, 1_000, manner).await);
                many = many.min(change(&sqlite, 8_000, manner).await);
            }
            // Eight times as many; with a savepoint around them it was 50 times as long and more.
            assert!(many < few * 20, "1,000 rows take {few:?}, and 8,000 rows {many:?}");
        }
    }

    #[tokio::test]
    async fn a_write_by_itself_is_undone_by_itself() {
        let folder = tempfile::tempdir().expect("a folder");
        let sqlite = filled(&folder.path().join("skranke.db"), 10).await;
        let (go, gone) = mpsc::channel::<()>();
        let gone = Mutex::new(gone);
        let wait = async move |_: &mut Conn| {
            gone.lock().expect("no panic").recv().expect("a sign");
            Ok(())
        };
        let set = |id: i64, manner: Manner, well: bool| {
            let work = async move |tx: &mut Conn| {
                tx.batch(&format!("UPDATE t SET team = 2 WHERE id = {id}")).await?;
                if well { Ok(()) } else { Err(Problem::not_found()) }
            };
            sqlite.write(work, manner, soon())
        };
        let (grouped, apart) = (Manner::default(), Manner { apart: true, ..Manner::default() });
        // They wait behind the first one when it is let go.
        let (first, a, b, c, d, e, sign) = tokio::join!(
            sqlite.write(wait, grouped, soon()),
            set(1, grouped, true),
            set(2, apart, false),
            set(3, grouped, true),
            set(4, apart, true),
            set(5, grouped, false),
            async { go.send(()) }
        );
        assert!(first.is_ok() && a.is_ok() && c.is_ok() && d.is_ok() && sign.is_ok());
        for failed in [b, e] {
            assert_eq!(failed.expect_err("it fails").code(), crate::kernel::Code::NotFound);
        }
        #[derive(diesel::QueryableByName)]
        struct Changed {
            #[diesel(sql_type = diesel::sql_types::BigInt)]
            id: i64,
        }
        let changed = sqlite
            .read(
                &async |conn: &mut Conn| {
                    let Line::Sqlite(sqlite) = &mut conn.line else { return Ok(Vec::new()) };
                    Ok(diesel::sql_query("SELECT id FROM t WHERE team = 2 ORDER BY id").load::<Changed>(sqlite)?)
                },
                soon(),
            )
            .await
            .expect("rows");
        assert_eq!(changed.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 3, 4]);
    }
}
