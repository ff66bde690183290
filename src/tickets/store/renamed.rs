//! Queries of people who have another name, and of the tickets that show it. A trigger writes down who has.

use diesel::prelude::*;

use crate::db::raw::one_of;
use crate::db::schema::{renamed_people, tickets};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{Instant, PrincipalId, Problem};

/// Somebody who has another name.
#[derive(Debug, Clone, Copy, Queryable)]
pub struct RenamedPerson {
    id: PrincipalId,
    /// Since when.
    at: Instant,
}

/// Who has waited longest for their tickets to tell that.
pub async fn first(conn: &mut Conn) -> Result<Option<RenamedPerson>, Problem> {
    let first = renamed_people::table.order(renamed_people::renamed_at).limit(1);
    let first = first.select((renamed_people::principal_id, renamed_people::renamed_at));
    Ok(on_each!(conn, |c| first.first(c).await).optional()?)
}

/// The numbers of at most `most` tickets that they are requester or assignee of, and that do not tell it yet.
pub async fn tickets_of(conn: &mut Conn, who: RenamedPerson, most: i64) -> Result<Vec<i64>, Problem> {
    let untold = tickets::table.filter(tickets::activity_at.lt(who.at)).select(tickets::number).limit(most);
    let requested = untold.filter(tickets::requester_id.eq(who.id));
    let found: Vec<i64> = on_each!(conn, |c| requested.load(c).await)?;
    if !found.is_empty() {
        return Ok(found);
    }
    let assigned = untold.filter(tickets::assignee_id.eq(who.id));
    Ok(on_each!(conn, |c| assigned.load(c).await)?)
}

/// Writes down that something happened to these tickets when `who` got another name.
pub async fn move_activity(tx: &mut Conn, who: RenamedPerson, numbers: &[i64]) -> Result<(), Problem> {
    let these = tickets::table.filter(one_of("tickets.number", numbers)).filter(tickets::activity_at.lt(who.at));
    let change = diesel::update(these).set(tickets::internal_at.eq(who.at));
    on_each!(tx, |c| change.execute(c).await)?;
    Ok(())
}

/// Forgets that `who` waits, unless they got yet another name meanwhile.
pub async fn is_done(tx: &mut Conn, who: RenamedPerson) -> Result<(), Problem> {
    let this = renamed_people::table.find(who.id).filter(renamed_people::renamed_at.eq(who.at));
    on_each!(tx, |c| diesel::delete(this).execute(c).await)?;
    Ok(())
}
