//! That a person has another name or address is activity of all tickets that show it, and those that they are the
//! requester of are found by it. There may be many of them, so it is written down a few at a time, by what runs by
//! itself.

use super::words;
use crate::db::{Db, Root, Roots};
use crate::kernel::Problem;
use crate::tickets::store::renamed;
pub use crate::tickets::store::renamed::RenamedWalk;

/// Goes through the next tickets, at most `most`, of the requester or assignee who has waited longest since they got
/// another name or address: moves `activity_at` of those that do not tell it yet, and lets them be found by it. `walk`
/// is how far it has come, of which nothing is lost that matters: whoever begins anew finds most of them told. Gives
/// whether there may be more to do. Several instances may do it at once.
///
/// # Errors
/// When the database is away: what is left is done the next time.
pub async fn move_activity_of_renamed(db: &Db, walk: &mut Option<RenamedWalk>, most: u16) -> Result<bool, Problem> {
    let Some(who) = db.read(async |conn| renamed::first(conn).await).await? else {
        *walk = None;
        return Ok(false);
    };
    let here = walk.take().filter(|walk| walk.who == who).unwrap_or_else(|| RenamedWalk::of(who));
    let passed = db.read(async move |conn| renamed::next(conn, &here, i64::from(most)).await).await?;
    let (untold, reworded) = (here.untold(&passed), here.reworded(&passed));
    if !untold.is_empty() || !reworded.is_empty() {
        let roots: Roots = untold.iter().chain(&reworded).map(|number| Root::Ticket(*number)).collect();
        db.write(roots, async move |tx| {
            renamed::move_activity(tx, who, &untold).await?;
            for ticket in renamed::tickets(tx, &reworded).await? {
                words::index(tx, &ticket).await?;
            }
            Ok(())
        })
        .await?;
    }
    *walk = here.behind(&passed);
    if walk.is_none() {
        db.write(Roots::none(), async move |tx| {
            if renamed::is_done(tx, who).await? {
                words::erase_words(tx).await?;
            }
            Ok(())
        })
        .await?;
    }
    Ok(true)
}
