//! Leases: which of several instances on one database is at a piece of work. A lease ends by itself, so that nothing
//! waits for an instance that has died.

use diesel::prelude::*;
use diesel::query_dsl::methods::FilterDsl;
use uuid::Uuid;

use super::schema::job_leases::{self, holder, name, until};
use super::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::{Guid, guid};
use crate::kernel::{Instant, Problem};

/// An instance, as others know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
#[diesel(sql_type = Guid)]
pub struct Holder(pub Uuid);

guid!(Holder);

impl From<Uuid> for Holder {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// Takes the lease `of` for `me` until `end`, unless somebody else has it at `now`; gives whether it was taken. Whoever
/// has it keeps it longer in the same way.
pub async fn take(tx: &mut Conn, of: &str, me: Holder, now: Instant, end: Instant) -> Result<bool, Problem> {
    let mine = (name.eq(of), holder.eq(me), until.eq(end));
    let taken = on_each!(tx, |c| {
        let claim = diesel::insert_into(job_leases::table).values(mine).on_conflict(name).do_update();
        let claim = claim.set((holder.eq(me), until.eq(end)));
        FilterDsl::filter(claim, until.le(now).or(holder.eq(me))).execute(c).await
    })?;
    Ok(taken > 0)
}

/// Gives up all leases of `me`, so that others need not wait for their end.
pub async fn give_up(tx: &mut Conn, me: Holder) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::delete(QueryDsl::filter(job_leases::table, holder.eq(me))).execute(c).await)?;
    Ok(())
}
