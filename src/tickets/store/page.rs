//! The numbers of the tickets on a page, at a cost that does not depend on how many are stored.
//!
//! Ranges of indexes are read in the order of the list and merged, no further than the page. PostgreSQL is given the
//! whole condition with each range, and may take another way by its statistics. SQLite has none: what an index does not
//! tell is checked there of each ticket that is met. Where that could mean to meet many in vain, it is first looked
//! whether one of the filters leaves only a [`few`]: those are then sorted.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer};

use super::access::{AccessPath, Keyset, Order, along, shortcuts};
use super::criteria::{TicketCriteria, meets};
use super::dialect::{is_sqlite, page};
use super::pieces::Pieces;
use crate::db::raw::{one_of, raw};
use crate::db::schema::{ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Moment;
use crate::kernel::{Instant, Problem};

/// So many tickets are sorted rather than looked for along the order of the list.
fn few(order: Order) -> usize {
    match order {
        // It is gone along by one of the filters.
        Order::Created => 1_000,
        Order::Updated | Order::Activity | Order::Priority | Order::Due => 4_000,
    }
}

/// How many rows to ask for to have `wanted`: one of a few sizes, so that there are few statements. It stands in the
/// text of the statement, since PostgreSQL plans for a tenth of all rows when it is a parameter.
pub fn round(wanted: usize) -> usize {
    [11, 26, 51, 101].into_iter().find(|size| wanted <= *size).unwrap_or(wanted.max(201))
}

/// Goes on with a condition on the ticket that has the number of what is called `path`: that it meets some criteria.
/// `OFFSET 0` has it looked up. PostgreSQL would make it a join, and read all that meet one of the criteria: the
/// 138,000 tickets with a tag among a million in 45 ms to find 50 of them that are open, which takes 1 ms, or the 8,000
/// of a team rather than the 280 that are asked about.
macro_rules! push_meets {
    ($c:ident, $pieces:ident, $number:expr, $criteria:expr) => {
        if !$criteria.is_open() {
            let this = raw::<Bool>(format!("tickets.number = path.{}", $number));
            let this = tickets::table.left_join(ticket_clocks::table).filter(this).select(raw::<Integer>("1"));
            $pieces.text(" AND EXISTS (");
            $pieces.push(this.filter(meets($c, &$criteria)));
            $pieces.text(" LIMIT 1 OFFSET 0)");
        }
    };
}

pub(super) use push_meets;

/// Where the tickets of a list are looked for.
#[derive(Debug, Clone)]
pub enum Access {
    /// Along a path.
    Along(Box<AccessPath>),
    /// Among these alone.
    Few(Vec<i64>),
}

impl Access {
    /// The cheaper of both.
    pub async fn choose(conn: &mut Conn, criteria: &TicketCriteria, order: Order) -> Result<Self, Problem> {
        let path = along(criteria, order);
        if path.rest.is_open() {
            return Ok(Self::Along(Box::new(path)));
        }
        let (most, first) = (few(order), Keyset { order: Order::Created, descending: true, after: None });
        for mut short in shortcuts(criteria, order) {
            short.rest = TicketCriteria::all(criteria.now);
            let numbers = numbers(conn, &short, first, most + 1).await?;
            if numbers.len() <= most {
                return Ok(Self::Few(numbers));
            }
        }
        Ok(Self::Along(Box::new(path)))
    }
}

async fn numbers(conn: &mut Conn, path: &AccessPath, keyset: Keyset, limit: usize) -> Result<Vec<i64>, Problem> {
    let is_sqlite = is_sqlite(conn);
    let to = if keyset.descending { "DESC" } else { "ASC" };
    Ok(on_each!(conn, |c| {
        let mut page = page!(c, path, keyset, limit, is_sqlite);
        page.text(format!(" ORDER BY value {to}, number {to}"));
        page.load(c).await
    })?)
}

/// Which of these tickets meet some criteria: their values in an order, and their numbers, sorted by both.
pub async fn keys(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    order: Order,
    numbers: &[i64],
) -> Result<Vec<(i64, i64)>, Problem> {
    let value = match order {
        Order::Created => "path.created_at",
        Order::Updated => "path.updated_at",
        Order::Activity => "path.activity_at",
        Order::Priority => "path.priority_rank",
        Order::Due => "(SELECT due_at FROM ticket_clocks WHERE ticket_number = path.number)",
    };
    macro_rules! values {
        ($type:ty) => {
            on_each!(conn, |c| {
                let select = format!("SELECT path.number, {value} FROM tickets AS path WHERE ");
                let mut these = Pieces::<_, (BigInt, $type)>::new(select);
                these.push(one_of("path.number", numbers));
                push_meets!(c, these, "number", criteria);
                these.load(c).await
            })?
        };
    }
    let mut keys: Vec<(i64, i64)> = if order == Order::Priority {
        let rows: Vec<(i64, i32)> = values!(Integer);
        rows.into_iter().map(|(number, rank)| (rank.into(), number)).collect()
    } else {
        let rows: Vec<(i64, Instant)> = values!(Moment);
        rows.into_iter().map(|(number, at)| (at.micros(), number)).collect()
    };
    keys.sort_unstable();
    Ok(keys)
}

/// A walk through the tickets that meet some criteria, in the order of a list.
pub struct ListWalk {
    criteria: TicketCriteria,
    access: Access,
    keyset: Keyset,
    has_ended: bool,
}

impl ListWalk {
    /// From `keyset` on. The criteria ask for no words.
    pub async fn open(conn: &mut Conn, criteria: &TicketCriteria, keyset: Keyset) -> Result<Self, Problem> {
        let access = Access::choose(conn, criteria, keyset.order).await?;
        Ok(Self { criteria: criteria.clone(), access, keyset, has_ended: false })
    }

    /// The same among these tickets alone.
    pub fn among(numbers: Vec<i64>, criteria: &TicketCriteria, keyset: Keyset) -> Self {
        Self { criteria: criteria.clone(), access: Access::Few(numbers), keyset, has_ended: false }
    }

    /// The numbers of the next `wanted` tickets or some more, in their order; fewer at the end.
    pub async fn next(&mut self, conn: &mut Conn, wanted: usize) -> Result<Vec<i64>, Problem> {
        let (limit, Keyset { order, descending, after }) = (round(wanted), self.keyset);
        let numbers: Vec<i64> = match &self.access {
            Access::Along(path) => {
                let numbers = numbers(conn, path, self.keyset, limit).await?;
                if let Some(last) = numbers.last().filter(|_| numbers.len() == limit) {
                    let all = TicketCriteria::all(self.criteria.now);
                    self.keyset.after = keys(conn, &all, order, &[*last]).await?.pop();
                }
                numbers
            }
            Access::Few(numbers) => {
                let mut keys = keys(conn, &self.criteria, order, numbers).await?;
                if descending {
                    keys.reverse();
                }
                keys.retain(|key| after.is_none_or(|after| if descending { *key < after } else { *key > after }));
                keys.truncate(limit);
                self.keyset.after = keys.last().copied();
                keys.into_iter().map(|(_, number)| number).collect()
            }
        };
        self.has_ended = numbers.len() < limit;
        Ok(numbers)
    }

    /// Whether there are no more.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}
