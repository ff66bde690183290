//! How many tickets meet some criteria, as far as that is soon told.

use super::access::{Keyset, Order};
use super::criteria::TicketCriteria;
use super::found;
use super::page::ListWalk;
use crate::db::Conn;
use crate::kernel::Problem;
use crate::tickets::domain::listing::Sort;

/// How many tickets meet `criteria`: exactly, up to `most`; nothing more is told of those that are more, or of which it
/// would cost too much to find all.
///
/// # Errors
/// `unavailable` when they ask for words and the index of these is of a newer version.
pub async fn count(conn: &mut Conn, criteria: &TicketCriteria, most: usize) -> Result<(usize, bool), Problem> {
    if criteria.finds_nothing() {
        return Ok((0, true));
    }
    let (found, is_all) = match &criteria.q {
        Some(hits) => {
            let others = TicketCriteria { q: None, ..criteria.clone() };
            let page = found::find(conn, hits, &others, Sort::CreatedDesc, most + 1, None).await?;
            (page.numbers.len(), page.reached.is_none())
        }
        None => {
            let newest_first = Keyset { order: Order::Created, descending: true, after: None };
            let mut walk = ListWalk::open(conn, criteria, newest_first).await?;
            (walk.next(conn, most + 1).await?.len(), true)
        }
    };
    Ok((found.min(most), is_all && found <= most))
}
