//! SQLite: readers work in place, one writer thread commits for all that wait (group commit).

mod commit;
mod connect;
mod files;
mod log;
mod whole;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant as Stopwatch};

use futures_util::FutureExt;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Semaphore, oneshot};

pub use self::commit::Manner;
use self::commit::{Claim, Request, WAITED_LONG, WriteJob, commit_group};
use self::connect::{ConnectionRole, LOCKED_MS, connect, now};
use self::files::Files;
use self::log::{ReadLock, Wipe, WriteAheadLog};
pub use self::whole::{copy, look, rewrite};
use super::conn::{Conn, ConnCache};
use super::deadline::{Deadline, MORE_FOR_COMMITS};
use super::fault;
use super::interrupt::{self, watched};
use super::load::Load;
use super::queue::Queue;
use super::root::{self, Lines, Root};
use super::slow::Listener;
use crate::kernel::Problem;

/// How long a read lock is held on a state that may be outdated: another process may write, too.
const HELD_FOR: Duration = Duration::from_secs(1);

/// How long a report may take before it counts as a long one, of which there are as many besides: so that two of them
/// do not shut out all others.
const LONG: Duration = Duration::from_secs(1);

/// How long a list may keep the thread that serves its request, and others.
const IN_PLACE: Duration = Duration::from_millis(10);

/// How many statements a reader keeps prepared, and the writer. Each takes some 15 KiB; what is asked often is far
/// fewer.
const MOST_PREPARED: usize = 192;
const MOST_PREPARED_WRITES: usize = 512;

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
    kept: Arc<ConnCache>,
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
    jobs: mpsc::Sender<Box<dyn WriteJob>>,
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
        let kept = Arc::<ConnCache>::default();
        let roots = Lines::default();
        let mut writer = connect(path, ConnectionRole::Write, &kept, listener.as_ref())?.before(roots.clone());
        // It looks again itself.
        now(writer.batch(&format!("PRAGMA busy_timeout = {LOCKED_MS}")))?;
        let mut holder = ReadLock(connect(path, ConnectionRole::Attend, &kept, None)?);
        let mut wipe = Wipe::default();
        // What a process that has died has not emptied. Where another one is at work, that one sees to what it has
        // erased.
        wipe.now(&mut writer, 0);
        writer.erased = false;
        let files = Files::of(path);
        let log = WriteAheadLog::watch(path, &kept)?;
        let is_locked = Arc::new(AtomicBool::new(false));
        let locked = is_locked.clone();
        let (jobs, waiting) = mpsc::channel::<Box<dyn WriteJob>>();
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

    /// What is kept of this database under this type.
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        self.kept.get()
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

    /// The turn on `root` among those who would change it, to be held while one writes. The writer takes one after the
    /// other anyway; but whoever else writes stands behind one of them in this way, and not behind all.
    ///
    /// # Errors
    /// `unavailable` when too many wait, or for too long.
    pub async fn turn(&self, root: Root, deadline: Deadline) -> Result<root::RootTurn, Problem> {
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

    /// Runs `work` in place for as long as most lists take; gives nothing for one that takes longer, which must begin
    /// anew as a report, so that no thread stands still that has other requests to serve.
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
            // There is nothing to undo. A connection that cannot end its transaction is dropped, and others take its
            // place.
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
        free.map_or_else(|| connect(&self.path, ConnectionRole::Read, &self.kept, self.listener.as_ref()), Ok)
    }

    /// Runs `work` on the writer thread and answers when it is on disk. Whoever is not patient does not wait behind too
    /// many others. What has not begun by `deadline` never does.
    pub async fn write<T, F>(&self, work: F, manner: Manner, deadline: Deadline) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        let (answer, mut answered) = oneshot::channel();
        let place = if manner.patient { None } else { Some(self.writes_waiting.enter()?) };
        let turn = Arc::new(Claim::default());
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

/// Threads for what takes long. Each keeps memory of its own, so there are few; a worker's pool for blocking work would
/// begin another one whenever the last one is not quite done.
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

#[cfg(test)]
mod tests;
