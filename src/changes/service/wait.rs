//! The feed of somebody who waits for something to be in it.

use std::pin::pin;
use std::time::{Duration, Instant as Stopwatch};

use futures_util::future::{Either, select};

use super::tail::ChangeTail;
use super::{Feed, FeedPage, LogPlace, read};
use crate::db::signal::SignalListener;
use crate::db::{Conn, Db};
use crate::kernel::{Instant, Problem};

/// As [`read`], but waits up to `wait` for something to be there, or until the process is `ending`.
pub async fn wait_for(
    db: &Db,
    feed: &Feed,
    place: LogPlace,
    wait: Duration,
    mut ending: SignalListener,
    now: impl Fn() -> Instant,
) -> Result<FeedPage, Problem> {
    let began = Stopwatch::now();
    // Before the first look: nothing lies between.
    let mut tail = (!wait.is_zero()).then(|| ChangeTail::of(db).listen(db));
    let mut place = place;
    loop {
        let (feed_of_look, at) = (feed.clone(), now());
        let page = db.anew().list(async move |conn: &mut Conn| read(conn, &feed_of_look, place, at).await).await?;
        let left = wait.saturating_sub(began.elapsed());
        let Some(tail) = tail.as_mut().filter(|_| page.items.is_empty() && !left.is_zero()) else {
            return Ok(page);
        };
        place = page.place;
        // What is hidden from the reader does not wake them, and so is not told by when they are answered.
        let is_over = {
            let meets = pin!(tokio::time::timeout(left, tail.meets(feed, &mut place)));
            match select(meets, pin!(ending.heard())).await {
                Either::Left((met, _)) => met.is_err(),
                Either::Right(_) => true,
            }
        };
        if is_over {
            return Ok(FeedPage { items: Vec::new(), place });
        }
    }
}
