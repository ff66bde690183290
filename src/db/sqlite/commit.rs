//! What the writer thread does: it commits together what waits together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant as Stopwatch};

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::connect::{BUSY_MS, now};
use super::log::{WIPE_WAIT_MS, Wipe};
use crate::db::conn::{Conn, EngineConn};
use crate::db::deadline::Deadline;
use crate::db::fault;
use crate::db::interrupt::watched;
use crate::db::queue::QueuePlace;
use crate::db::steady::run_words;
use crate::kernel::Problem;

/// How many requests one commit may carry: bounds how long the first of them waits for the last.
const GROUP: usize = 128;

/// Why a request is not carried out any more.
pub(super) const WAITED_LONG: &str = "waited too long for the writer";

/// What is wrong with work that waits on the writer thread.
const WAITED: &str = "work in a write must not wait for anything but its database";

/// A request's work on the writer thread.
pub(super) trait WriteJob: Send {
    /// Whether it has a commit of its own.
    fn is_apart(&self) -> bool;
    /// Does it, or does it again after it was undone together with others.
    fn run(&mut self, conn: &mut Conn) -> Ran;
    /// Tells the request that waits: committed, or why not.
    fn answer(self: Box<Self>, fate: Result<(), &Undone>);
}

/// How it went.
pub(super) enum Ran {
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
    /// Is committed by itself, since it may change much. What is committed together with others needs a savepoint, and
    /// within one SQLite walks through all that has been changed so far after each statement that can fail halfway.
    pub apart: bool,
    /// Changes what others keep in memory: what it reads is kept by nobody else, since it may never be committed.
    pub alone: bool,
}

/// Why a transaction was not committed.
pub(super) struct Undone {
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

    /// A disk that fails while it is told to keep something may have kept it all the same, to be found after a power
    /// cut.
    fn at_commit(why: impl ToString) -> Self {
        let why = why.to_string();
        Self { is_certain: !why.contains("disk I/O error"), why, is_by_one: false }
    }

    fn problem(&self) -> Problem {
        if self.is_certain { fault::outage(self.why.clone()) } else { fault::uncertain(self.why.clone()) }
    }
}

/// What a request wants written.
pub(super) struct Request<T, F> {
    pub(super) work: F,
    pub(super) manner: Manner,
    pub(super) deadline: Deadline,
    /// Until it begins.
    pub(super) place: Option<QueuePlace>,
    /// Likewise.
    pub(super) turn: Option<Arc<Claim>>,
    pub(super) span: tracing::Span,
    pub(super) answer: oneshot::Sender<Result<T, Problem>>,
    pub(super) outcome: Result<T, Problem>,
}

impl<T, F> WriteJob for Request<T, F>
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
        // Nobody would hear of it any more, or soon enough: others who wait come first. What has begun once is done
        // again whether or not somebody waits.
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

/// Whether a request's work has begun or been given up: the writer and whoever waits for it take this, and only the
/// first has it.
#[derive(Default)]
pub(super) struct Claim(AtomicBool);

impl Claim {
    pub(super) fn take(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Runs `first` and all that wait behind it in one transaction, up to the next that is to be by itself, then answers
/// them all. If it fails for the work of one of them, each is done again by itself, and that one fails alone. Gives
/// back who comes next, if it has got hold of it.
pub(super) fn commit_group(
    conn: &mut Conn,
    first: Box<dyn WriteJob>,
    waiting: &mpsc::Receiver<Box<dyn WriteJob>>,
    wipe: &mut Wipe,
    is_locked: &AtomicBool,
) -> Option<Box<dyn WriteJob>> {
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

/// Runs `first` and some of what comes `next` in one transaction, unless the first is to be by itself; gives them with
/// what became of all of them.
fn transact(
    conn: &mut Conn,
    first: Box<dyn WriteJob>,
    mut next: impl FnMut() -> Option<Box<dyn WriteJob>>,
    is_locked: &AtomicBool,
) -> (Vec<Box<dyn WriteJob>>, Result<(), Undone>) {
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
    let committed = std::mem::take(&mut conn.committed);
    if fate.is_err() || undo {
        // Nothing is open any more when the engine has rolled back by itself.
        drop(now(conn.batch("ROLLBACK")));
    } else {
        committed.into_iter().for_each(|work| work());
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
    let before = (conn.last.len(), conn.committed.len());
    let outcome = attempt(conn, work, deadline);
    if outcome.is_err() {
        conn.last.truncate(before.0);
        conn.committed.truncate(before.1);
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
        EngineConn::Sqlite(sqlite) => run_words(sql, sqlite),
        EngineConn::Postgres(_) => Err(diesel::result::Error::BrokenTransactionManager),
    }
}
