//! That a person has another name is activity of all tickets that show it. There may be many of them, so it is written
//! down a few at a time, by what runs by itself.

use crate::db::{Db, Root, Roots};
use crate::kernel::Problem;
use crate::tickets::store::renamed;

/// Moves `activity_at` of at most `most` tickets, of the requester or assignee who has waited longest since they got
/// another name. Gives how many, and one more when all of theirs are done; 0 when nobody waits. Several instances may
/// do it at once.
///
/// # Errors
/// When the database is away: what is left is done the next time.
pub async fn move_activity_of_renamed(db: &Db, most: u16) -> Result<usize, Problem> {
    let found = db
        .read(async move |conn| {
            let Some(renamed) = renamed::first(conn).await? else { return Ok(None) };
            Ok(Some((renamed, renamed::tickets_of(conn, renamed, i64::from(most)).await?)))
        })
        .await?;
    let Some((renamed, numbers)) = found else { return Ok(0) };
    if numbers.is_empty() {
        db.write(Roots::none(), async move |tx| renamed::is_done(tx, renamed).await).await?;
        return Ok(1);
    }
    let roots: Roots = numbers.iter().map(|number| Root::Ticket(*number)).collect();
    let count = numbers.len();
    db.write(roots, async move |tx| renamed::move_activity(tx, renamed, &numbers).await).await?;
    Ok(count)
}
