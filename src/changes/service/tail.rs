//! The end of the log, which is read once for all in this process who follow it as it grows.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant as Tick;

use super::{Feed, LOOKED_AFTER, LogPlace, PAUSE};
use crate::audit::domain::EventKind;
use crate::audit::store::{log, texts_b};
use crate::changes::policy::Sightline;
use crate::changes::store::{self, ChangeCriteria, ChangeRow};
use crate::changes::wire::ChangeItem;
use crate::db::signal::ChangesPublished;
use crate::db::{Conn, Db};
use crate::kernel::{PrincipalId, Problem};

/// How many changes are kept at most; who is further behind reads the log.
const KEPT: usize = 4_096;

/// How many bytes of texts they have together at most, but for the last one.
const KEPT_B: usize = 4 << 20;

/// After how long without a look at the log what is kept is told to nobody: much may have been redacted since.
const FRESH_FOR: Duration = Duration::from_secs(5);

/// How many changes are read at once.
const BATCH: usize = 200;

/// The pause after a batch, in which more comes together.
const GATHERED_FOR: Duration = Duration::from_millis(2);

/// The pause after the log could not be read.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// The end of the log.
#[derive(Debug, Default)]
pub struct ChangeTail {
    state: Mutex<TailState>,
    news: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct TailState {
    is_read: bool,
    kept: Option<KeptChanges>,
}

/// What stands behind a place, without a gap.
#[derive(Debug)]
struct KeptChanges {
    after: LogPlace,
    changes: VecDeque<Arc<TailChange>>,
    bytes: usize,
    looked_at: Tick,
}

impl KeptChanges {
    fn behind(place: LogPlace) -> Self {
        Self { after: place, changes: VecDeque::new(), bytes: 0, looked_at: Tick::now() }
    }

    fn until(&self) -> LogPlace {
        self.changes.back().map_or(self.after, |last| last.place())
    }

    /// Which of the changes is the first behind `place`, if that is one of the places here.
    fn first_behind(&self, place: LogPlace) -> Option<usize> {
        let nth = usize::try_from(place.position().checked_sub(self.after.position())?).ok()?;
        let there = nth.checked_sub(1).map_or(Some(self.after), |nth| Some(self.changes.get(nth)?.place()));
        (there == Some(place)).then_some(nth)
    }

    fn push(&mut self, change: TailChange) {
        if change.withdraws() {
            // Those who have not taken what was before read it as it is now.
            while self.drop_first() {}
        }
        self.bytes += change.texts_b();
        self.changes.push_back(Arc::new(change));
        while self.changes.len() > 1 && (self.changes.len() > KEPT || self.bytes > KEPT_B) {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) -> bool {
        let Some(first) = self.changes.pop_front() else { return false };
        self.bytes -= first.texts_b();
        self.after = first.place();
        true
    }
}

/// What there is behind a place.
#[derive(Debug)]
pub enum Tailed {
    /// The first of these changes, one after the other; none, when it is the end.
    Told(Vec<Arc<TailChange>>),
    /// The place is beyond what was read so far.
    Ahead,
    /// Nothing was read so far.
    Unread,
    /// What is behind it is not kept.
    Unkept,
}

/// About how many bytes a change takes whose texts are short.
const FEW_B: usize = 512;

/// Whether a field of a change is who has the problem: who may see the ticket goes by it.
fn is_of_requester(change: &serde_json::Value) -> bool {
    change["field"] == "requester_id"
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

    /// Whether something is hidden from now on that could be seen before it, in it or in others.
    fn withdraws(&self) -> bool {
        let is_moved = || self.row.event.changes.0.as_array().is_some_and(|all| all.iter().any(is_of_requester));
        match self.kind() {
            EventKind::CommentRedacted | EventKind::TicketRedacted | EventKind::UserAnonymised => true,
            EventKind::TicketUpdated => is_moved(),
            _ => false,
        }
    }

    /// About how many bytes it takes.
    fn texts_b(&self) -> usize {
        FEW_B + texts_b(&self.row.event.changes.0)
    }

    /// Whether it is about `who`.
    pub fn is_about(&self, who: PrincipalId) -> bool {
        self.row.subject.1.is_some_and(|subject| subject.0 == who.0)
    }

    /// Whether it is asked for, and may be seen.
    pub fn is_for(&self, sightline: &Sightline, criteria: &ChangeCriteria) -> bool {
        self.row.is_for(sightline, criteria)
    }

    /// It as JSON, without a snapshot, for whoever has this sightline.
    pub fn json(&self, sightline: &Sightline) -> Cow<'_, [u8]> {
        let (has_position, names) = sightline.form();
        // What cannot be written would not be in the database.
        let written =
            || serde_json::to_vec(&ChangeItem::of(self.row.clone(), (has_position, names), None)).unwrap_or_default();
        match (names.is_full(), has_position) {
            (true, true) => Cow::Borrowed(self.with_position.get_or_init(written)),
            (true, false) => Cow::Borrowed(self.without_position.get_or_init(written)),
            (false, _) => Cow::Owned(written()),
        }
    }
}

impl ChangeTail {
    /// That of this database.
    pub fn of(db: &Db) -> Arc<Self> {
        db.kept()
    }

    /// Hears of what comes from now on. Whoever is the first to listen has the log read, on `db`.
    pub fn listen(self: &Arc<Self>, db: &Db) -> TailListener {
        let listener = TailListener { tail: self.clone(), news: self.news.subscribe() };
        self.keep_reading(db);
        listener
    }

    fn keep_reading(self: &Arc<Self>, db: &Db) {
        if !std::mem::replace(&mut self.state().is_read, true) {
            tokio::task::spawn_local(TailReading { tail: self.clone(), is_over: false }.go_on(db.clone()));
        }
    }

    fn state(&self) -> MutexGuard<'_, TailState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who follows the end of the log.
#[derive(Debug)]
pub struct TailListener {
    tail: Arc<ChangeTail>,
    news: watch::Receiver<()>,
}

impl TailListener {
    /// Waits until more was read, if that was not so since this was asked last.
    pub async fn news(&mut self) {
        if self.news.changed().await.is_err() {
            // It lives as long as this does.
            std::future::pending().await
        }
    }

    /// What there is behind `place`.
    pub fn behind(&self, place: LogPlace) -> Tailed {
        let state = self.tail.state();
        let Some(kept) = &state.kept else { return Tailed::Unread };
        let is_stale = kept.looked_at.elapsed() >= FRESH_FOR;
        match kept.first_behind(place) {
            // Those at the end wait with it for the database: what comes then follows without a gap.
            Some(nth) if is_stale && nth < kept.changes.len() => Tailed::Unkept,
            Some(nth) => Tailed::Told(kept.changes.range(nth..).take(BATCH).cloned().collect()),
            None if place.position() > kept.until().position() => Tailed::Ahead,
            None => Tailed::Unkept,
        }
    }

    /// Waits until something stands behind `place` that `feed` is told, or that cannot be told without a look at the
    /// log; `place` moves on over all that is for others.
    pub async fn meets(&mut self, feed: &Feed, place: &mut LogPlace) {
        loop {
            match self.behind(*place) {
                Tailed::Told(changes) if !changes.is_empty() => {
                    for change in changes {
                        if change.is_for(&feed.sightline, &feed.criteria) {
                            return;
                        }
                        *place = change.place();
                    }
                }
                Tailed::Told(_) | Tailed::Ahead => self.news().await,
                Tailed::Unread => drop(tokio::time::timeout(PAUSE, self.news()).await),
                Tailed::Unkept => return tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Whether `place` is known to be one of this history.
    pub fn knows(&self, place: LogPlace) -> bool {
        matches!(self.behind(place), Tailed::Told(_))
    }

    /// Has the log read again, on `db`, if that has ended.
    pub fn keep_reading(&self, db: &Db) {
        self.tail.keep_reading(db);
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
            *self.tail.state() = TailState::default();
        }
    }
}

impl TailReading {
    async fn go_on(mut self, db: Db) {
        let mut published = db.kept::<ChangesPublished>().0.listen();
        while !self.ends() {
            let place = self.tail.state().kept.as_ref().map(KeptChanges::until);
            match db.anew().read(async move |conn: &mut Conn| read(conn, place).await).await {
                Ok(TailRead::Begun(place)) => {
                    self.tail.state().kept = Some(KeptChanges::behind(place));
                    self.tail.news.send_replace(());
                }
                Ok(TailRead::More(changes)) => {
                    let has_more = !changes.is_empty();
                    if let Some(kept) = &mut self.tail.state().kept {
                        changes.into_iter().for_each(|change| kept.push(change));
                        kept.looked_at = Tick::now();
                    }
                    if has_more {
                        self.tail.news.send_replace(());
                        tokio::time::sleep(GATHERED_FOR).await;
                    } else {
                        drop(tokio::time::timeout(LOOKED_AFTER, published.heard()).await);
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
        let mut state = self.tail.state();
        self.is_over = self.tail.news.receiver_count() == 0;
        if self.is_over {
            *state = TailState::default();
        }
        self.is_over
    }
}

/// What a look at the log has come to.
enum TailRead {
    /// Its end, where nothing was known before, or is as it was.
    Begun(LogPlace),
    /// What is new.
    More(Vec<TailChange>),
}

/// What stands behind `place`, if that is known. One statement: it is asked for each write.
async fn read(conn: &mut Conn, place: Option<LogPlace>) -> Result<TailRead, Problem> {
    if let Some(place) = place {
        // With what stands at the place itself: after a failover the log may be another than it was. There is no gap.
        let (everything, all) = (Sightline::everything(), ChangeCriteria::default());
        let (after, until) = (place.position() - 1, place.position() + i64::try_from(BATCH).unwrap_or(i64::MAX));
        let rows = store::page(conn, &everything, &all, (after, until), BATCH + 1).await?;
        let change = |row| TailChange { row, with_position: OnceLock::new(), without_position: OnceLock::new() };
        let mut changes = rows.into_vec().into_iter().map(change).peekable();
        let is_there = match changes.next_if(|change| change.place().position() == place.position()) {
            Some(there) => there.place() == place,
            None => place.position() == 0,
        };
        if is_there {
            return Ok(TailRead::More(changes.collect()));
        }
    }
    let head = log::head(conn).await?;
    Ok(TailRead::Begun(LogPlace::behind(conn, head).await?))
}
