//! Queries of the change log: one ordered list, without a gap, of all events since it began.

use diesel::prelude::*;

use super::dialect;
pub use super::dialect::{ChangesWritten, SEQUENCED_AT_ONCE, Sequenced, sequence, unsequenced, without_place};
use crate::db::schema::changes;
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{EventId, Instant, Problem};

/// Adds `event` to the log, which happens `at`, in the transaction of the change.
pub(super) async fn append(tx: &mut Conn, event: EventId, at: Instant) -> Result<(), Problem> {
    dialect::append(tx, event, at).await
}

/// The last position; 0 when there is none.
pub async fn head(conn: &mut Conn) -> Result<i64, Problem> {
    let last = changes::table.select(changes::position).order(changes::position.desc());
    let last: Option<i64> = on_each!(conn, |c| last.first(c).await.optional())?;
    Ok(last.unwrap_or(0))
}

/// The event at a position.
pub async fn event_at(conn: &mut Conn, position: i64) -> Result<Option<EventId>, Problem> {
    let event = changes::table.find(position).select(changes::event_id);
    Ok(on_each!(conn, |c| event.first(c).await.optional())?)
}

/// The last position that was given before `instant`, or 0: by bisection, since instants never fall from one position
/// to the next, and no position is left out.
pub async fn before(conn: &mut Conn, instant: Instant) -> Result<i64, Problem> {
    let (mut earlier, mut later) = (0, head(conn).await? + 1);
    while later - earlier > 1 {
        let middle = earlier + (later - earlier) / 2;
        let at = changes::table.find(middle).select(changes::at);
        let at: Instant = on_each!(conn, |c| at.first(c).await)?;
        if at < instant { earlier = middle } else { later = middle }
    }
    Ok(earlier)
}
