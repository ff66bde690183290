//! The doors to storage: `read`, `list`, `snapshot` and `write`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::conn::Conn;
use super::deadline::Deadline;
use super::load::Load;
use super::postgres::{Company, Postgres};
use super::replica::Replica;
use super::root::{Root, Roots};
use super::slow::Listener;
use super::sqlite::{self, Manner, Sqlite};
use super::turns::CallerTurns;
use super::url::DatabaseUrl;
use super::{lanes, migrate, turns};
use crate::kernel::Problem;

#[derive(Clone)]
enum Engine {
    Sqlite(Arc<Sqlite>),
    Postgres(Arc<Postgres>),
}

/// The database. Cheap to clone; all clones share the same connections.
#[derive(Clone)]
pub struct Db {
    engine: Engine,
    url: Arc<DatabaseUrl>,
    replica: Option<Replica>,
    /// How long a request waits.
    wait: Duration,
    patience: Patience,
    lengthy: bool,
    /// The turns among callers, and whose this is.
    turns: Arc<CallerTurns>,
    caller: Option<u64>,
}

/// How long what is asked of the database may take.
#[derive(Clone, Copy)]
enum Patience {
    /// All of it until then: for a request.
    Until(Deadline),
    /// Each piece for [`PIECE`]: for a command.
    Pieces,
    /// Likewise, and nobody sends it away, or it would never get its turn while there is much to do.
    Always,
}

/// How long one read or write of what runs by itself may take.
const PIECE: Duration = Duration::from_secs(5 * 60);

/// How long a look at the whole database may take that was asked for by hand.
const LOOK: Duration = Duration::from_secs(24 * 60 * 60);

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Db {
    /// Opens the database; PostgreSQL connects on first use with at most `pool_size` connections, of which there are
    /// [`lanes::FEWEST`] at least. A request takes `wait` at most, if it is told so by [`until`](Self::until). Must be
    /// called within a tokio runtime that lives as long as the database is used.
    ///
    /// # Errors
    /// When SQLite's file cannot be opened or PostgreSQL's URL not be understood.
    pub fn open(url: &DatabaseUrl, pool_size: usize, wait: Duration) -> Result<Self, Problem> {
        Self::open_with(url, pool_size, wait, None)
    }

    /// As [`open`](Self::open), with somebody who listens to the statements of all connections.
    ///
    /// # Errors
    /// As those of [`open`](Self::open).
    pub fn open_with(
        url: &DatabaseUrl,
        pool_size: usize,
        wait: Duration,
        listener: Option<Listener>,
    ) -> Result<Self, Problem> {
        let engine = match url {
            DatabaseUrl::Sqlite(path) => {
                make_folder(path)?;
                make_private(path)?;
                Engine::Sqlite(Sqlite::open(path, listener)?)
            }
            DatabaseUrl::Postgres(url) => {
                let opened = Postgres::open(url.reveal(), pool_size, listener);
                Engine::Postgres(opened.map_err(Problem::internal)?)
            }
        };
        Ok(Self {
            engine,
            url: Arc::new(url.clone()),
            replica: None,
            wait,
            patience: Patience::Pieces,
            lengthy: false,
            turns: Arc::default(),
            caller: None,
        })
    }

    /// How long a request takes at most.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// The same database for one request: whatever it waits for and whatever it asks ends at `deadline`, which is the
    /// same for all of it. A report has [`MORE_FOR_REPORTS_S`] more, and a commit that has begun one second.
    #[must_use]
    pub fn until(&self, deadline: Deadline) -> Self {
        Self { patience: Patience::Until(deadline), ..self.clone() }
    }

    /// The same database for a piece of work that begins now, of what goes on for longer than a request.
    #[must_use]
    pub fn anew(&self) -> Self {
        self.until(Deadline::within(self.wait))
    }

    /// The same database for what `caller` asks: of what takes long they have their turns.
    #[must_use]
    pub fn asked_by(self, caller: u64) -> Self {
        Self { caller: Some(caller), ..self }
    }

    /// The caller's turn, to be held while something that may take long is at work or waits for the database.
    async fn turn(&self) -> Result<Option<turns::CallerTurn>, Problem> {
        match self.caller {
            Some(caller) => self.turns.take(caller, self.deadline()).await.map(Some),
            None => Ok(None),
        }
    }

    /// When what begins now has to be done.
    fn deadline(&self) -> Deadline {
        match self.patience {
            Patience::Until(deadline) => deadline,
            Patience::Pieces | Patience::Always => Deadline::within(PIECE),
        }
    }

    fn is_patient(&self) -> bool {
        matches!(self.patience, Patience::Always)
    }

    /// The same database with a replica at `url`, for reads that may lag; `listener` hears what it is asked. Its
    /// connections are among the `pool_size`, of which there are [`lanes::FEWEST_WITH_REPLICA`] at least.
    ///
    /// # Errors
    /// When one of the two is not PostgreSQL, or the URL cannot be understood.
    pub fn with_replica(
        mut self,
        url: &DatabaseUrl,
        pool_size: usize,
        listener: Option<Listener>,
    ) -> Result<Self, Problem> {
        match (&self.engine, url) {
            (Engine::Postgres(_), DatabaseUrl::Postgres(url)) => {
                let opened = Replica::open(url.reveal(), pool_size, listener);
                self.replica = Some(opened.map_err(Problem::internal)?);
                Ok(self)
            }
            _ => Err(Problem::internal("replicas are PostgreSQL's")),
        }
    }

    /// What lags behind at most, but costs the primary nothing where there is a replica.
    pub fn lagging(&self) -> Lagging {
        Lagging::new(self.clone(), self.replica.clone())
    }

    /// The same reads, of what is there now.
    pub fn current(&self) -> Lagging {
        Lagging::new(self.clone(), None)
    }

    /// Whether there is a replica.
    pub fn has_replica(&self) -> bool {
        self.replica.is_some()
    }

    /// The same database, for which at most `most` requests wait in each of its queues (four times as many on the lines
    /// that PostgreSQL is read on): more are told at once that it is too busy. Holds for all clones, and is shared out
    /// among those that are [`local`](Self::local) later.
    #[must_use]
    pub fn with_queue(self, most: usize) -> Self {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.resize_queues(most),
            Engine::Postgres(postgres) => postgres.resize_queues(most),
        }
        self
    }

    /// The same database, for what runs by itself: its writes wait however many others do, or it would never get to
    /// them while there is much to do. On PostgreSQL it has connections of its own.
    #[must_use]
    pub fn patient(&self) -> Self {
        Self { patience: Patience::Always, ..self.clone() }
    }

    /// The same database, for a write that may change much: SQLite commits it by itself, and it then costs no more than
    /// what it changes.
    #[must_use]
    pub fn lengthy(&self) -> Self {
        Self { lengthy: true, ..self.clone() }
    }

    /// The same database for so many threads that serve requests, among whom PostgreSQL's connections are shared out.
    /// There is one such server in a process.
    ///
    /// # Errors
    /// None that is known of.
    pub fn serving(&self, threads: usize) -> Result<Self, Problem> {
        let Engine::Postgres(postgres) = &self.engine else { return Ok(self.clone()) };
        let shares = lanes::Shares::of(postgres.size(), threads, self.has_replica());
        let engine = Engine::Postgres(postgres.serving(threads, shares, self.wait).map_err(Problem::internal)?);
        let replica = self.replica.as_ref().map(|replica| replica.serving(threads, shares.replica, self.wait));
        Ok(Self { engine, replica: replica.transpose().map_err(Problem::internal)?, ..self.clone() })
    }

    /// The part of one of the threads that it is [`serving`](Self::serving): what it asks PostgreSQL need not go
    /// through other threads, as far as there are connections enough. Must be called on that thread.
    #[must_use]
    pub fn local(&self) -> Self {
        let Engine::Postgres(postgres) = &self.engine else { return self.clone() };
        let parts = postgres.local().and_then(|postgres| {
            let replica = self.replica.as_ref().map(Replica::local).transpose()?;
            Ok(Self { engine: Engine::Postgres(postgres), replica, ..self.clone() })
        });
        parts.unwrap_or_else(|cause| {
            tracing::warn!(cause, "a worker thread shares the connection of what runs by itself");
            self.clone()
        })
    }

    /// Why this database can never be worked with, if it is there and has shown so.
    pub async fn refusal(&self) -> Option<String> {
        match &self.engine {
            Engine::Sqlite(_) => None,
            Engine::Postgres(postgres) => match (postgres.refusal(self.wait).await, &self.replica) {
                (None, Some(replica)) => replica.refusal(self.wait).await,
                (refusal, _) => refusal,
            },
        }
    }

    /// Whether SQLite's files are still those that were opened: one that is deleted is written to all the same, and
    /// lost.
    ///
    /// # Errors
    /// `unavailable`, with the file that is not.
    pub fn are_files_there(&self) -> Result<(), Problem> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.are_files_there(),
            Engine::Postgres(_) => Ok(()),
        }
    }

    /// Which engine this is: `sqlite` or `postgres`.
    pub fn engine(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite(_) => "sqlite",
            Engine::Postgres(_) => "postgres",
        }
    }

    /// Whether other instances may be at work on it, too. SQLite's file is one process's.
    pub fn is_shared(&self) -> bool {
        matches!(self.engine, Engine::Postgres(_))
    }

    /// Whether a write would be refused now, since too many wait.
    pub fn is_full(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.is_full(),
            Engine::Postgres(postgres) => postgres.is_full(),
        }
    }

    /// What is kept of this database under this type for as long as it is open: that of
    /// [`Conn::kept_by_name`](Conn::kept_by_name).
    pub fn kept<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.kept(),
            Engine::Postgres(postgres) => postgres.kept(),
        }
    }

    /// How busy the connections are.
    pub fn load(&self) -> Load {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.how_busy(),
            Engine::Postgres(postgres) => postgres.how_busy(),
        }
    }

    /// Runs queries that change nothing, for who somebody is and for single things: they never stand behind a
    /// [`list`](Self::list) or a [`snapshot`](Self::snapshot).
    ///
    /// # Errors
    /// What `work` gives, or `unavailable` when there is no connection to be had, or no answer in time.
    pub async fn read<T>(&self, work: impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.read(&work, self.deadline()).await,
            Engine::Postgres(postgres) => postgres.read(&work, self.deadline()).await,
        }
    }

    /// Runs queries that change nothing, for a page of a list, which may take longer than a single thing; more than
    /// once if it does.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub async fn list<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => match sqlite.list_in_place(&work, self.deadline()).await {
                Some(outcome) => outcome,
                None => self.snapshot(work).await,
            },
            Engine::Postgres(postgres) => postgres.list(&work, self.deadline()).await,
        }
    }

    /// Runs queries that change nothing and all see the same state, that of the first of them: for reports. May take
    /// its time, and keeps nobody waiting.
    ///
    /// # Errors
    /// As those of [`read`](Self::read).
    pub async fn snapshot<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        let _turn = self.turn().await?;
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.snapshot(work, self.deadline()).await,
            Engine::Postgres(postgres) => postgres.snapshot(&work, self.deadline()).await,
        }
    }

    /// Runs `work` in one transaction: all of it is on disk when this gives `Ok`, and none of it otherwise. `work` may
    /// run more than once and must wait for nothing but its database.
    ///
    /// `roots` are those of all that it changes, and of what it relies on that another write may change together with
    /// what this one changes: of those who name the same, one is at work at a time, on all instances, and sees all that
    /// was committed before. The others wait, without a connection.
    ///
    /// # Errors
    /// What `work` gives, or `unavailable` when the database cannot commit.
    pub async fn write<T, F>(&self, roots: impl Into<Roots>, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        match &self.engine {
            Engine::Sqlite(sqlite) => {
                // What runs by itself changes much at once.
                let patient = self.is_patient();
                let manner = Manner { patient, apart: self.lengthy || patient, alone: false };
                sqlite.write(work, manner, self.deadline()).await
            }
            Engine::Postgres(postgres) => postgres.write(&roots.into(), &work, Company::Welcome, self.deadline()).await,
        }
    }

    /// As [`write`](Self::write) on [`Root::Configuration`], while no other write is at work: for changes of the
    /// configuration that other writes rely on. Whoever writes afterwards finds it changed, and what was written before
    /// is there to be seen. What is [kept](Conn::kept) meanwhile is forgotten with the transaction: it may never be
    /// committed.
    ///
    /// # Errors
    /// As those of [`write`](Self::write).
    pub async fn write_alone<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        match &self.engine {
            // There is one writer.
            Engine::Sqlite(sqlite) => {
                let _turn = sqlite.turn(Root::Configuration, self.deadline()).await?;
                let manner = Manner { patient: self.is_patient(), apart: true, alone: true };
                sqlite.write(work, manner, self.deadline()).await
            }
            Engine::Postgres(postgres) => {
                let work = async |tx: &mut Conn| {
                    // What is dated now is dated after all that was written before.
                    tx.settled().await?;
                    tx.keep_apart(true);
                    work(tx).await
                };
                postgres.write(&Root::Configuration.into(), &work, Company::None, self.deadline()).await
            }
        }
    }

    /// As [`look`], at the database as it is: for what reads so much that no request may wait for it.
    ///
    /// # Errors
    /// As those of [`look`].
    pub async fn look<T>(&self, work: impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
        look(&self.url, work).await
    }

    /// Brings the schema up to date; gives the number of migrations that were run.
    ///
    /// # Errors
    /// When a migration fails or the database is away.
    pub async fn migrate(&self) -> Result<usize, Problem> {
        match (&self.engine, &*self.url) {
            (Engine::Postgres(postgres), _) => migrate::postgres(postgres.detached().await?).await,
            (_, DatabaseUrl::Sqlite(path)) => migrate::sqlite(path),
            (_, DatabaseUrl::Postgres(_)) => unreachable!("the engine is chosen by the URL"),
        }
    }

    /// Writes SQLite's file anew, so that nothing is left in it of what was erased. While it does, others can read, and
    /// whoever writes waits.
    ///
    /// # Errors
    /// When somebody else writes or reads for too long, there is no room for a second file, or this is PostgreSQL,
    /// which has a command of its own for it.
    pub fn rewrite(&self) -> Result<(), Problem> {
        match &*self.url {
            DatabaseUrl::Sqlite(path) => sqlite::rewrite(path),
            DatabaseUrl::Postgres(_) => Err(Problem::unavailable("on PostgreSQL, run VACUUM (FULL) with psql")),
        }
    }

    /// Whether a migration is missing.
    pub async fn is_behind(&self) -> Result<bool, Problem> {
        self.read(async |conn| migrate::is_behind(conn).await).await
    }
}

/// Runs `work` on the database of `url` as it stands, in one transaction that cannot write: nothing is made that is
/// missing.
///
/// # Errors
/// What `work` gives, or `unavailable` when there is no such database or it cannot be read.
pub async fn look<T>(url: &DatabaseUrl, work: impl AsyncFn(&mut Conn) -> Result<T, Problem>) -> Result<T, Problem> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::look(path, work).await,
        DatabaseUrl::Postgres(url) => {
            let postgres = Postgres::open(url.reveal(), 1, None).map_err(Problem::internal)?;
            postgres.snapshot(&work, Deadline::within(LOOK)).await
        }
    }
}

/// Copies the SQLite database at `path` into `into`, an empty file: all that was committed before, and nothing by
/// halves. Others read and write meanwhile.
///
/// # Errors
/// When the database cannot be read or the copy not be written.
pub fn copy_sqlite(path: &Path, into: &Path) -> Result<(), Problem> {
    sqlite::copy(path, into)
}

fn make_folder(path: &Path) -> Result<(), Problem> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder)
            .map_err(|e| Problem::unavailable(format!("cannot make the folder {}: {e}", folder.display()))),
        _ => Ok(()),
    }
}

/// What people tell a helpdesk is for nobody else on the machine to read. SQLite gives its further files the same mode.
fn make_private(path: &Path) -> Result<(), Problem> {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|e| Problem::unavailable(format!("cannot open {}: {e}", path.display())))
}

/// Reads at the replica, or at the primary where there is none, it is away, or it cannot say.
pub struct Lagging {
    db: Db,
    replica: Option<Replica>,
}

impl Lagging {
    fn new(db: Db, replica: Option<Replica>) -> Self {
        Self { db, replica: replica.filter(Replica::lets_ask) }
    }

    /// As [`Db::list`].
    ///
    /// # Errors
    /// As those of [`Db::list`].
    pub async fn list<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        if let Some(replica) = &self.replica {
            // One that does not answer must leave time for the primary.
            let outcome = replica.postgres.list(&work, self.db.deadline().half()).await;
            if replica.has_answered(&outcome) {
                return outcome;
            }
        }
        self.db.list(work).await
    }

    /// As [`Db::snapshot`].
    ///
    /// # Errors
    /// As those of [`Db::snapshot`].
    pub async fn snapshot<T, F>(&self, work: F) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Conn) -> Result<T, Problem> + Send + 'static,
    {
        if let Some(replica) = &self.replica {
            let _turn = self.db.turn().await?;
            let outcome = replica.postgres.snapshot(&work, self.db.deadline().half()).await;
            if replica.has_answered(&outcome) {
                return outcome;
            }
        }
        self.db.snapshot(work).await
    }
}
