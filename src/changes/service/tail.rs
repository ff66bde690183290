//! The end of the log, which is read once for all in this process who follow it as it grows.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

use super::{LOOKED_AFTER, LogPlace};
use crate::audit::domain::EventKind;
use crate::audit::store::log;
use crate::changes::policy::Sightline;
use crate::changes::store::{self, ChangeCriteria, ChangeRow};
use crate::changes::wire::ChangeItem;
use crate::db::signal::ChangesPublished;
use crate::db::{Conn, Db};
use crate::kernel::Problem;

/// How many batches are kept for those who have not taken them yet. Each has at most a megabyte; who is further behind
/// reads the log.
const BATCHES_KEPT: usize = 16;

/// How many changes a batch has at most.
const BATCH: usize = 200;

/// The pause after a batch, in which more comes together.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// The pause after the log could not be read.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// The end of the log.
#[derive(Debug)]
pub struct ChangeTail {
    batches: broadcast::Sender<Arc<ChangeBatch>>,
    is_read: Mutex<bool>,
}

impl Default for ChangeTail {
    fn default() -> Self {
        Self { batches: broadcast::Sender::new(BATCHES_KEPT), is_read: Mutex::default() }
    }
}

/// All changes between two places.
#[derive(Debug)]
pub struct ChangeBatch {
    /// Behind which position it begins.
    pub after: i64,
    /// Where it ends.
    pub until: LogPlace,
    /// The changes.
    pub changes: Vec<TailChange>,
}

/// A change that is shown to many, in the forms that it is shown in.
#[derive(Debug)]
pub struct TailChange {
    row: ChangeRow,
    with_position: OnceLock<Vec<u8>>,
    without_position: OnceLock<Vec<u8>>,
}

impl TailChange {
    /// The place behind it.
    pub fn place(&self) -> LogPlace {
        LogPlace::of(self.row.position, self.row.event.id)
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        self.row.event.kind
    }

    /// Whether it is asked for, and may be seen.
    pub fn is_for(&self, sightline: &Sightline, criteria: &ChangeCriteria) -> bool {
        self.row.is_for(sightline, criteria)
    }

    /// It as JSON, without a snapshot.
    pub fn json(&self, has_position: bool) -> &[u8] {
        let form = if has_position { &self.with_position } else { &self.without_position };
        // What cannot be written would not be in the database.
        form.get_or_init(|| {
            serde_json::to_vec(&ChangeItem::of(self.row.clone(), has_position, None)).unwrap_or_default()
        })
    }
}

impl ChangeTail {
    /// That of this database.
    pub fn of(db: &Db) -> Arc<Self> {
        db.kept()
    }

    /// Hears of what comes from now on. Whoever is the first to listen has the log read, on `db`.
    pub fn listen(self: &Arc<Self>, db: &Db) -> broadcast::Receiver<Arc<ChangeBatch>> {
        let listener = self.batches.subscribe();
        let mut is_read = self.is_read.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *is_read, true) {
            tokio::task::spawn_local(TailReading { tail: self.clone(), is_over: false }.go_on(db.clone()));
        }
        listener
    }
}

/// The reading of the log, which ends when nobody listens any more.
struct TailReading {
    tail: Arc<ChangeTail>,
    /// Whether it has said that it ends: somebody else may read by now.
    is_over: bool,
}

impl Drop for TailReading {
    fn drop(&mut self) {
        if !self.is_over {
            *self.tail.is_read.lock().unwrap_or_else(PoisonError::into_inner) = false;
        }
    }
}

impl TailReading {
    async fn go_on(mut self, db: Db) {
        let mut published = db.kept::<ChangesPublished>().0.listen();
        let mut place = None;
        while !self.ends() {
            match db.anew().read(async move |conn: &mut Conn| read(conn, place).await).await {
                Ok((next, batch)) => {
                    place = Some(next);
                    match batch {
                        Some(batch) => {
                            // Nobody may be left to hear it.
                            drop(self.tail.batches.send(Arc::new(batch)));
                            tokio::time::sleep(GATHERED_FOR).await;
                        }
                        None => drop(tokio::time::timeout(LOOKED_AFTER, published.heard()).await),
                    }
                }
                Err(problem) => {
                    tracing::warn!(cause = %problem, "the end of the change log cannot be read and is tried again");
                    tokio::time::sleep(AFTER_FAULT).await;
                }
            }
        }
    }

    /// Whether nobody listens. Whoever comes while this is asked is heard, or begins anew.
    fn ends(&mut self) -> bool {
        let mut is_read = self.tail.is_read.lock().unwrap_or_else(PoisonError::into_inner);
        *is_read = self.tail.batches.receiver_count() > 0;
        self.is_over = !*is_read;
        self.is_over
    }
}

/// What stands behind `place`, if that is known, and the place behind it.
async fn read(conn: &mut Conn, place: Option<LogPlace>) -> Result<(LogPlace, Option<ChangeBatch>), Problem> {
    let head = log::head(conn).await?;
    let place = match place {
        // After a failover the log may be another than it was: whoever is told finds that with their next heartbeat.
        Some(place) if LogPlace::behind(conn, place.position()).await? == place => place,
        _ => return Ok((LogPlace::behind(conn, head).await?, None)),
    };
    let (everything, all) = (Sightline::everything(), ChangeCriteria::default());
    let rows = store::page(conn, &everything, &all, (place.position(), head), BATCH).await?;
    let mut rows = rows.into_vec();
    rows.truncate(BATCH);
    let Some(last) = rows.last() else { return Ok((place, None)) };
    let until = LogPlace::of(last.position, last.event.id);
    let change = |row| TailChange { row, with_position: OnceLock::new(), without_position: OnceLock::new() };
    let changes = rows.into_iter().map(change).collect();
    Ok((until, Some(ChangeBatch { after: place.position(), until, changes })))
}
