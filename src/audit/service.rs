//! What the change log does by itself.

use std::time::Duration;

use super::store::log::{self, SEQUENCED_AT_ONCE, Sequenced};
use crate::db::signal::ChangesPublished;
use crate::db::{Db, Roots};
use crate::kernel::{Clock, Problem};

/// How long to wait while another instance gives positions.
const RIVAL_PAUSE: Duration = Duration::from_millis(5);

/// Gives positions to some of what was committed and has none, and wakes those who wait for it. Gives how long to wait
/// if there is more to do.
///
/// # Errors
/// When others give positions all the time.
pub async fn sequence(db: &Db, clock: &Clock) -> Result<Option<Duration>, Problem> {
    let now = clock.now();
    let Sequenced { count, had_turn, .. } =
        db.write(Roots::none(), async move |tx| log::sequence(tx, now).await).await?;
    if count > 0 {
        db.kept::<ChangesPublished>().0.give();
    }
    if had_turn {
        return Ok((count == SEQUENCED_AT_ONCE).then_some(Duration::ZERO));
    }
    let waits = db.read(async |conn| log::unsequenced(conn, 1).await).await? > 0;
    Ok(waits.then_some(RIVAL_PAUSE))
}
