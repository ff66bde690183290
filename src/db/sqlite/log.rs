//! The log beside the file (WAL): brought into the file by and by, and emptied when something was erased.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use diesel::RunQueryDsl;
use diesel::connection::SimpleConnection;

use super::connect::{ConnectionRole, LOCKED_MS, LOG_PAGES, connect, now};
use crate::db::conn::{Conn, ConnCache, EngineConn};
use crate::kernel::Problem;

/// The pause between a commit and bringing the log into the file: costs the less, the more often a page was changed
/// meanwhile.
const LOG_PAUSE: Duration = Duration::from_millis(250);

/// How long writers may wait, in milliseconds, for readers to be done with a log that is to be emptied.
pub(super) const WIPE_WAIT_MS: i32 = 100;

/// How long to wait before trying again to empty it.
const WIPE_PAUSE: Duration = Duration::from_secs(5);

/// The log beside the file (WAL): a thread brings it into the file while others go on writing. SQLite alone would do so
/// within the commit of one of them.
pub(super) struct WriteAheadLog {
    /// Tells the thread of commits.
    commits: mpsc::SyncSender<()>,
    /// Whether it is time that the log begins anew, which it does when all of it is in the file: it takes a moment in
    /// which nobody writes.
    is_long: Arc<AtomicBool>,
}

impl WriteAheadLog {
    pub(super) fn watch(path: &Path, kept: &Arc<ConnCache>) -> Result<Self, Problem> {
        let mut conn = connect(path, ConnectionRole::Attend, kept, None)?;
        let (commits, told) = mpsc::sync_channel(1);
        let is_long = Arc::new(AtomicBool::new(false));
        let long = is_long.clone();
        thread::Builder::new()
            .name("sqlite-log".into())
            .spawn(move || {
                while told.recv().is_ok() {
                    thread::sleep(LOG_PAUSE);
                    let EngineConn::Sqlite(sqlite) = &mut conn.line else { return };
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
    pub(super) fn grown(&self, writer: &mut Conn) {
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
pub(super) struct Checkpoint {
    /// 1 when somebody was in the way.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    pub(super) busy: i32,
    /// How many pages it has.
    #[diesel(sql_type = diesel::sql_types::Integer)]
    log: i32,
}

/// Holds a read lock on the newest state, so that readers, who take the same lock, find it taken by this process
/// already and need no system call for it. It is let go of while something is written: the log could not begin anew
/// otherwise.
pub(super) struct ReadLock(pub(super) Conn);

impl ReadLock {
    pub(super) fn hold(&mut self) {
        self.let_go();
        // If it fails, readers lock for themselves.
        drop(now(self.0.batch("BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1")));
    }

    pub(super) fn let_go(&mut self) {
        // It may hold nothing.
        drop(now(self.0.batch("ROLLBACK")));
    }
}

/// Empties the log after something was erased.
#[derive(Default)]
pub(super) struct Wipe {
    tried_at: Option<std::time::Instant>,
}

impl Wipe {
    /// Empties the log if there is a reason to. Who reads for long keeps it from that; then it is tried again later.
    pub(super) fn when_due(&mut self, writer: &mut Conn) {
        if writer.erased && self.tried_at.is_none_or(|at| at.elapsed() >= WIPE_PAUSE) {
            self.now(writer, WIPE_WAIT_MS);
        }
    }

    /// Empties the log, unless others read for longer than `wait_ms`.
    pub(super) fn now(&mut self, writer: &mut Conn, wait_ms: i32) {
        let EngineConn::Sqlite(conn) = &mut writer.line else { return };
        drop(SimpleConnection::batch_execute(conn, &format!("PRAGMA busy_timeout = {wait_ms}")));
        let done = diesel::sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Checkpoint>(conn);
        drop(SimpleConnection::batch_execute(conn, &format!("PRAGMA busy_timeout = {LOCKED_MS}")));
        writer.erased = !done.is_ok_and(|checkpoint| checkpoint.busy == 0);
        self.tried_at = writer.erased.then(std::time::Instant::now);
    }
}
