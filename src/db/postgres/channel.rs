//! A connection as one request has it.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use deadpool::managed::Object;
use diesel::pg::Pg;
use diesel::query_builder::{QueryFragment, QueryId};
use futures_util::FutureExt;
use futures_util::future::{join, join_all};
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::backend::{Backend, Maker};
use crate::db::fault;
use crate::db::queue::QueuePlace;
use crate::db::slow::timed;
use crate::kernel::{Code, Problem};

/// A connection as one request has it.
pub struct PgChannel {
    pub(super) backend: Arc<Backend>,
    /// Kept until the request is done with it.
    pub(super) turn: ChannelTurn,
    pub(super) posted: Vec<JoinHandle<Result<(), Problem>>>,
    /// Whether the session holds locks that outlive the transaction.
    pub(super) locked: bool,
}

/// Whose turn on a connection it is.
pub(super) enum ChannelTurn {
    /// One request's, alone; goes back to the pool when it is dropped.
    Alone(Option<Object<Maker>>),
    /// Among others.
    Shared(#[expect(dead_code, reason = "counts for as long as it lives")] QueuePlace),
}

impl Drop for PgChannel {
    fn drop(&mut self) {
        // Whoever was in the middle of something went away. Ending the connection undoes it.
        if let ChannelTurn::Alone(object) = &mut self.turn
            && self.backend.open.load(Ordering::Acquire)
        {
            drop(object.take().map(Object::take));
            self.backend.break_off();
        }
    }
}

impl PgChannel {
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

    pub(super) fn begin(&mut self, sql: Cow<'static, str>) -> Result<(), Problem> {
        self.backend.open.store(true, Ordering::Release);
        let begin = self.control(sql);
        self.send(begin)
    }

    /// Waits until all that was sent is done, the beginning among it.
    pub async fn settled(&mut self) -> Result<(), Problem> {
        let posted = join_all(std::mem::take(&mut self.posted)).await;
        posted.into_iter().try_for_each(|answer| answer.map_err(Problem::internal)?)
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

    pub(super) async fn commit(&mut self) -> Result<(), Problem> {
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
    pub(super) async fn roll_back(&mut self, problem: Problem) -> Problem {
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
pub(super) fn is_loss(problem: &Problem) -> bool {
    problem.code() == Code::Unavailable && !problem.is_transient() && !fault::is_overrun(problem)
}
