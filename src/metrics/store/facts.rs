//! What happened to tickets that are meant by what they are now.

use std::collections::HashSet;

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{facts, principals, sla_policies, teams, ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{AnyId, Instant, Problem};
use crate::tally::domain::facts::{Fact, GroupBy};
use crate::tally::store::facts::FactRow;
use crate::tickets::store::{TicketCriteria, meets};

/// How many facts are read at once.
const AT_ONCE: i64 = 2_000;

/// Tells `each` the facts from `from` on and before `to` about tickets that meet `criteria` now, each with its number.
pub async fn between(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    from: Instant,
    to: Instant,
    mut each: impl FnMut(i64, Fact) -> Result<(), Problem>,
) -> Result<(), Problem> {
    if criteria.is_open() {
        return crate::tally::store::facts::between(conn, from, to, each).await;
    }
    let mut behind = (from, 0);
    loop {
        let rows: Vec<(i64, FactRow)> = on_each!(conn, |c| {
            let next = raw::<Bool>("(facts.at, facts.id) > (").bind(behind.0).sql(", ").bind(behind.1).sql(")");
            let query = facts::table
                .inner_join(tickets::table.inner_join(ticket_clocks::table))
                .filter(next.and(facts::at.lt(to)))
                .order((facts::at, facts::id))
                .limit(AT_ONCE)
                .select((facts::id, FactRow::as_select()));
            query.filter(meets(c, criteria)).load(c).await
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (id, row) in rows {
            let fact = row.fact()?;
            behind = (fact.at(), id);
            each(id, fact)?;
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// Those of some facts that are about tickets which meet `criteria` now.
pub async fn meant(conn: &mut Conn, criteria: &TicketCriteria, mut some: Vec<Fact>) -> Result<Vec<Fact>, Problem> {
    if criteria.is_open() {
        return Ok(some);
    }
    let numbers: HashSet<i64> = some.iter().map(|fact| fact.ticket).collect();
    let numbers: Vec<i64> = numbers.into_iter().collect();
    let mut meant: HashSet<i64> = HashSet::new();
    for numbers in numbers.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
        let found: Vec<i64> = on_each!(conn, |c| {
            let these = tickets::table
                .inner_join(ticket_clocks::table)
                .filter(one_of("tickets.number", numbers))
                .select(tickets::number);
            these.filter(meets(c, criteria)).load(c).await
        })?;
        meant.extend(found);
    }
    some.retain(|fact| meant.contains(&fact.ticket));
    Ok(some)
}

/// The names of what groups of this kind stand for, as they are now.
pub async fn names(conn: &mut Conn, group: GroupBy, ids: Vec<AnyId>) -> Result<Vec<(AnyId, String)>, Problem> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! named {
        ($table:ident) => {
            on_each!(conn, |c| {
                $table::table.filter($table::id.eq_any(ids)).select(($table::id, $table::name)).load(c).await
            })?
        };
    }
    Ok(match group {
        GroupBy::Team => named!(teams),
        GroupBy::Assignee | GroupBy::Worker => named!(principals),
        GroupBy::Policy => named!(sla_policies),
        GroupBy::Priority | GroupBy::Type | GroupBy::Channel | GroupBy::Tag => Vec::new(),
    })
}
