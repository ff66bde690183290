//! The use cases of the feed.

pub mod stream;
mod tail;
pub mod wait;

use std::time::Duration;

use super::policy::Sightline;
use super::store::{self, ChangeCriteria};
use super::wire::ChangeItem;
use crate::audit::domain::EventKind;
use crate::audit::store::log;
use crate::db::Conn;
use crate::kernel::rows::MOST_B;
use crate::kernel::{Code, EventId, Instant, Problem};
use crate::tickets;
use crate::tickets::policy::Reach;

/// How many positions one look goes through at most: behind them it is gone on by the cursor.
const MOST_PASSED: i64 = 5_000;

/// Of how many changes the tickets are read at once.
const TICKETS_AT_ONCE: usize = 25;

/// What an answer has besides its items and the comma behind each, in bytes, with some to spare.
const FRAME_B: usize = 128;

/// How much time is at least between two looks in vain: what is hidden from the caller wakes them, too.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait at most for the word that something has come: other instances give none.
const LOOKED_AFTER: Duration = Duration::from_secs(1);

/// How many bytes of an event's id tell a place in this history from the same in another: the last ones, which are
/// random. The first ones tell the time.
const MARK_B: usize = 8;

/// A place in the log: behind a position, of this history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPlace {
    position: i64,
    mark: [u8; MARK_B],
}

impl LogPlace {
    /// The place behind `position`, at which `event` stands.
    pub fn of(position: i64, event: EventId) -> Self {
        let mut mark = [0; MARK_B];
        mark.copy_from_slice(&event.0.as_bytes()[16 - MARK_B..]);
        Self { position, mark }
    }

    /// Behind which position it is.
    pub fn position(self) -> i64 {
        self.position
    }

    /// The place behind `position`.
    pub async fn behind(conn: &mut Conn, position: i64) -> Result<Self, Problem> {
        let event = log::event_at(conn, position).await?;
        Ok(event.map_or(Self { position, mark: [0; MARK_B] }, |event| Self::of(position, event)))
    }

    /// As bytes, always as many.
    pub fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.position.to_be_bytes());
        bytes[8..].copy_from_slice(&self.mark);
        bytes
    }

    /// The place that has these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (position, mark) = bytes.split_at_checked(8)?;
        Some(Self { position: i64::from_be_bytes(position.try_into().ok()?), mark: mark.try_into().ok()? })
    }

    /// Passes if there is such a place in the log.
    ///
    /// # Errors
    /// `cursor_diverged` when the log is of another history.
    async fn require(self, conn: &mut Conn) -> Result<(), Problem> {
        if Self::behind(conn, self.position).await? == self {
            return Ok(());
        }
        let detail = "The database was set back to a time before this cursor, and has gone on otherwise. Read all tickets \
                      again, and then the changes from=now.";
        Err(Problem::new(Code::CursorDiverged, detail))
    }
}

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub enum Start {
    /// Behind a place that was told before.
    Behind(LogPlace),
    /// At the first change.
    First,
    /// With what came into the log at this instant or later.
    Since(Instant),
    /// Behind all that there is.
    Head,
}

/// What somebody follows.
#[derive(Debug, Clone)]
pub struct Feed {
    /// What they may see.
    pub sightline: Sightline,
    /// Of which tickets.
    pub reach: Reach,
    /// What they ask for.
    pub criteria: ChangeCriteria,
    /// Whether each change comes with its ticket.
    pub includes_ticket: bool,
    /// How many changes at most come at once.
    pub most: usize,
}

/// A change as it is told.
#[derive(Debug)]
pub struct FeedItem {
    /// The place behind it.
    pub place: LogPlace,
    /// What happened.
    pub kind: EventKind,
    /// The change as JSON.
    pub json: Vec<u8>,
}

/// Some changes, and the place behind them.
#[derive(Debug)]
pub struct FeedPage {
    /// The changes.
    pub items: Vec<FeedItem>,
    /// Where to go on.
    pub place: LogPlace,
}

/// The place where a feed begins.
pub async fn begin(conn: &mut Conn, start: Start) -> Result<LogPlace, Problem> {
    let position = match start {
        Start::Behind(place) => {
            place.require(conn).await?;
            return Ok(place);
        }
        Start::First => 0,
        Start::Since(instant) => log::before(conn, instant).await?,
        Start::Head => log::head(conn).await?,
    };
    LogPlace::behind(conn, position).await
}

/// The changes behind `place`, as many as an answer has room for, or as are met in what one look goes through.
pub async fn read(conn: &mut Conn, feed: &Feed, place: LogPlace, now: Instant) -> Result<FeedPage, Problem> {
    let until = log::head(conn).await?.min(place.position.saturating_add(MOST_PASSED));
    if until <= place.position {
        return Ok(FeedPage { items: Vec::new(), place });
    }
    let rows = store::page(conn, &feed.sightline, &feed.criteria, (place.position, until), feed.most).await?;
    let mut more = rows.has_more(feed.most);
    let mut rows = rows.into_vec();
    rows.truncate(feed.most);
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, place.position);
    let mut rows = rows.into_iter().peekable();
    'page: while rows.peek().is_some() {
        let some: Vec<_> = rows.by_ref().take(TICKETS_AT_ONCE).collect();
        let mut snapshots = None;
        if feed.includes_ticket {
            let numbers = some.iter().filter_map(|row| Some(row.ticket?.number)).collect();
            snapshots = Some(tickets::service::snapshots(conn, &feed.reach, numbers, now).await?);
        }
        for row in some {
            let (position, number) = (row.position, row.ticket.map(|ticket| ticket.number));
            let snapshot = number.and_then(|number| snapshots.as_ref()?.get(&number).cloned());
            let is_lacking = feed.includes_ticket && number.is_some() && snapshot.is_none();
            let (place, kind) = (LogPlace::of(position, row.event.id), row.event.kind);
            let item = ChangeItem::of(row, feed.sightline.form(), snapshot);
            let json = serde_json::to_vec(&item).map_err(Problem::internal)?;
            if !items.is_empty() && (is_lacking || bytes + json.len() + FRAME_B > MOST_B) {
                more = true;
                break 'page;
            }
            bytes += json.len() + 1;
            last = position;
            items.push(FeedItem { place, kind, json });
        }
    }
    Ok(FeedPage { items, place: LogPlace::behind(conn, if more { last } else { until }).await? })
}
