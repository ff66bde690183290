//! Queries for time entries. An entry is found only on a ticket that was found.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};

use super::domain::{Price, RateOf, TimeEntry, Total};
use crate::db::schema::{principals, time_entries};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::rows::Limit;
use crate::kernel::sql::Json;
use crate::kernel::{Currency, Instant, Money, PrincipalId, Problem, TimeEntryId};
use crate::tally::domain::facts::TicketGroups;
use crate::tickets::domain::Ticket;

diesel::alias! {
    const AGENTS: Alias<Agents> = principals as agents;
    const CREATORS: Alias<Creators> = principals as creators;
}

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = time_entries, treat_none_as_default_value = false)]
struct StoredEntry {
    id: TimeEntryId,
    ticket_number: i64,
    agent_id: PrincipalId,
    created_by_id: PrincipalId,
    work_s: i32,
    rate_minor: Option<i64>,
    rate_currency: Option<Currency>,
    rate_of: Option<RateOf>,
    cost_minor: Option<i64>,
    cost_currency: Option<Currency>,
    note: Option<String>,
    worked_at: Instant,
    created_at: Instant,
    version: i64,
}

impl From<StoredEntry> for TimeEntry {
    fn from(row: StoredEntry) -> Self {
        let hourly_rate = Money::from_stored(row.rate_minor, row.rate_currency);
        let cost = Money::from_stored(row.cost_minor, row.cost_currency);
        Self {
            id: row.id,
            ticket_number: row.ticket_number,
            agent_id: row.agent_id,
            created_by_id: row.created_by_id,
            work_s: row.work_s.into(),
            // All of them are there, or none: the table checks it.
            price: match (hourly_rate, row.rate_of, cost) {
                (Some(hourly_rate), Some(rate_of), Some(cost)) => Some(Price { hourly_rate, rate_of, cost }),
                _ => None,
            },
            note: row.note,
            worked_at: row.worked_at,
            created_at: row.created_at,
            version: row.version,
        }
    }
}

/// A time entry with the names that its ids stand for.
#[derive(Debug)]
pub struct TimeEntryRow {
    /// The entry.
    pub entry: TimeEntry,
    /// The agent's name.
    pub agent: String,
    /// The creator's name.
    pub created_by: String,
}

type JoinedEntry = (StoredEntry, String, String);

impl From<JoinedEntry> for TimeEntryRow {
    fn from((stored, agent, created_by): JoinedEntry) -> Self {
        Self { entry: stored.into(), agent, created_by }
    }
}

/// Time entries with their names: one statement, however many rows.
macro_rules! with_names {
    () => {
        time_entries::table
            .inner_join(AGENTS.on(time_entries::agent_id.eq(AGENTS.field(principals::id))))
            .inner_join(CREATORS.on(time_entries::created_by_id.eq(CREATORS.field(principals::id))))
            .select((StoredEntry::as_select(), AGENTS.field(principals::name), CREATORS.field(principals::name)))
    };
}

/// The time entry `id` on `ticket`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, ticket: &Ticket, id: TimeEntryId) -> Result<TimeEntryRow, Problem> {
    let row: Option<JoinedEntry> = on_each!(conn, |c| {
        with_names!()
            .filter(time_entries::id.eq(id).and(time_entries::ticket_number.eq(ticket.number)))
            .first(c)
            .await
            .optional()
    })?;
    row.map(TimeEntryRow::from).ok_or_else(Problem::not_found)
}

/// A page of the time entries on `ticket`, in the order in which they were added.
pub async fn list(
    conn: &mut Conn,
    ticket: &Ticket,
    after: Option<TimeEntryId>,
    limit: Limit,
) -> Result<Vec<TimeEntryRow>, Problem> {
    let rows: Vec<JoinedEntry> = on_each!(conn, |c| {
        let mut query = boxed(c, with_names!().filter(time_entries::ticket_number.eq(ticket.number)));
        if let Some(after) = after {
            query = query.filter(time_entries::id.gt(after));
        }
        query.order(time_entries::id.asc()).limit(limit.and_one()).load(c).await
    })?;
    Ok(rows.into_iter().map(TimeEntryRow::from).collect())
}

/// What all work on `ticket` comes to.
pub async fn total(conn: &mut Conn, ticket: &Ticket) -> Result<Total, Problem> {
    // PostgreSQL adds BIGINTs up to a NUMERIC.
    let work_s = sql::<BigInt>("CAST(SUM(time_entries.work_s) AS BIGINT)");
    let cost_minor = sql::<Nullable<BigInt>>("CAST(SUM(time_entries.cost_minor) AS BIGINT)");
    let sums = time_entries::table
        .filter(time_entries::ticket_number.eq(ticket.number))
        .group_by(time_entries::cost_currency)
        .select((work_s, cost_minor, time_entries::cost_currency));
    let rows: Vec<(i64, Option<i64>, Option<Currency>)> = on_each!(conn, |c| sums.load(c).await)?;
    let add = |total: Total, (work_s, minor, currency)| total.and(work_s, Money::from_stored(minor, currency));
    Ok(rows.into_iter().fold(Total::default(), add))
}

/// Stores a new time entry on a ticket that is in these groups.
pub async fn insert(tx: &mut Conn, entry: &TimeEntry, groups: &TicketGroups) -> Result<(), Problem> {
    let row = StoredEntry {
        id: entry.id,
        ticket_number: entry.ticket_number,
        agent_id: entry.agent_id,
        created_by_id: entry.created_by_id,
        work_s: i32::try_from(entry.work_s).map_err(Problem::internal)?,
        rate_minor: entry.price.map(|price| price.hourly_rate.amount_minor),
        rate_currency: entry.price.map(|price| price.hourly_rate.currency),
        rate_of: entry.price.map(|price| price.rate_of),
        cost_minor: entry.price.map(|price| price.cost.amount_minor),
        cost_currency: entry.price.map(|price| price.cost.currency),
        note: entry.note.clone(),
        worked_at: entry.worked_at,
        created_at: entry.created_at,
        version: entry.version,
    };
    let row = (row, time_entries::ticket_groups.eq(Json(groups.clone())));
    on_each!(tx, |c| diesel::insert_into(time_entries::table).values(row).execute(c).await)?;
    Ok(())
}

/// Removes the time entry `id`; gives the groups that its ticket was in when it was written.
pub async fn delete(tx: &mut Conn, id: TimeEntryId) -> Result<TicketGroups, Problem> {
    let this = diesel::delete(time_entries::table.find(id)).returning(time_entries::ticket_groups);
    let groups: Json<TicketGroups> = on_each!(tx, |c| this.get_result(c).await)?;
    Ok(groups.0)
}
