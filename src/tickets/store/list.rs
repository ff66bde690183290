//! A list of tickets, a page at a time.

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use serde::{Deserialize, Serialize};

use super::access::{AccessPath, Keyset, Order};
use super::criteria::{TicketCriteria, meets};
use super::dialect::{has_id, is_sqlite, page};
use super::page::{Access, ListWalk, push_meets, round};
use super::pieces::Pieces;
use super::{ASSIGNEES, CREATORS, REQUESTERS, TicketRow, found};
use crate::db::raw::{json_length, one_of, raw, small};
use crate::db::schema::{principals, teams, ticket_clocks, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::fields::Fields;
use crate::kernel::rows::{Rows, json_b, of_another_list};
use crate::kernel::sql::{Json, JsonDocument};
use crate::kernel::{Instant, Priority, Problem};
use crate::sla::store::clocks;
use crate::tickets::domain::Ticket;
use crate::tickets::domain::listing::{Sort, SortOrder};
use crate::tickets::domain::reference::TicketRef;

/// A ticket of a list, and whether its texts are large and were not read with it.
type Listed = (Ticket, clocks::Stored, Option<String>, Option<String>, Option<String>, String, bool);

fn from_list(row: Listed) -> Result<(TicketRow, bool), Problem> {
    let (stored, times, team, requester, assignee, created_by, lacks) = row;
    Ok((TicketRow::try_from((stored, times, team, requester, assignee, created_by))?, lacks))
}

/// The same for a list: without texts that are large, of which [`with_texts`] fills in as many as a page has room for.
macro_rules! listed {
    ($conn:expr) => {{
        let (description, is_long) = small("octet_length(tickets.description)", "tickets.description", "");
        let (custom_fields, are_many) =
            small(&json_length($conn, "tickets.custom_fields"), "tickets.custom_fields", "{}");
        let stored = (
            tickets::number,
            tickets::id,
            tickets::subject,
            raw::<Text>(description),
            tickets::status,
            tickets::priority,
            tickets::kind,
            tickets::channel,
            tickets::team_id,
            tickets::assignee_id,
            tickets::requester_id,
            tickets::created_by_id,
            tickets::external_id,
            tickets::follow_up_of,
            tickets::tags,
            raw::<JsonDocument>(custom_fields),
            tickets::created_at,
            tickets::updated_at,
            tickets::reported_at,
            tickets::started_at,
            tickets::first_replied_at,
            tickets::resolved_at,
            tickets::closed_at,
            tickets::reopen_count,
            tickets::agent_comments,
            tickets::version,
            tickets::internal_at,
        );
        (stored, raw::<Bool>(format!("({is_long} OR {are_many})")))
    }};
}

/// The rows of the tickets for which a condition holds, in no order, each with whether its texts are still to be read.
macro_rules! load {
    ($conn:expr, |$c:ident| $condition:expr) => {{
        let (stored, lacks) = listed!($conn);
        let rows: Vec<Listed> = on_each!($conn, |$c| {
            let condition = $condition;
            with_names!(stored, lacks).filter(condition).load($c).await
        })?;
        rows.into_iter().map(from_list).collect::<Result<Vec<_>, _>>()?
    }};
}

/// The place of a ticket in a list: its value and its number, which makes it unique; before them its priority, if it is
/// that by which the list goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ListPlace {
    /// In a list of one order.
    Single(i64, i64),
    /// In a list by priority and then by another order.
    Within(i64, (i64, i64)),
}

/// What a list is of besides what its tickets are like.
#[derive(Debug, Default)]
pub struct ListScope {
    /// Only the tickets with these numbers.
    pub among: Option<Vec<i64>>,
    /// Whether large texts are left out.
    pub is_brief: bool,
}

/// A page of at most `wanted` tickets of `scope` that meet `criteria`, from behind `after`.
///
/// # Errors
/// `invalid_cursor` for a place in a list of another kind.
pub async fn list(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    scope: &ListScope,
    sort: SortOrder,
    wanted: usize,
    after: Option<ListPlace>,
) -> Result<Rows<TicketRow>, Problem> {
    if criteria.finds_nothing() {
        return Ok(Vec::new().into());
    }
    match (sort.then, after) {
        (None, None) => list_by(conn, criteria, scope, sort.first, wanted, None).await,
        (None, Some(ListPlace::Single(value, number))) => {
            list_by(conn, criteria, scope, sort.first, wanted, Some((value, number))).await
        }
        (Some(then), None) => list_within(conn, criteria, scope, (sort.first, then), wanted, None).await,
        (Some(then), Some(ListPlace::Within(rank, place))) => {
            list_within(conn, criteria, scope, (sort.first, then), wanted, Some((rank, place))).await
        }
        _ => Err(of_another_list()),
    }
}

/// A page of a list by priority and then by another order: that of each priority, one after the other.
async fn list_within(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    scope: &ListScope,
    (first, then): (Sort, Sort),
    wanted: usize,
    after: Option<(i64, (i64, i64))>,
) -> Result<Rows<TicketRow>, Problem> {
    let mut priorities = Priority::ALL.to_vec();
    if first == Sort::PriorityDesc {
        priorities.reverse();
    }
    priorities.retain(|priority| criteria.priority.as_ref().is_none_or(|any| any.contains(priority)));
    if let Some((rank, _)) = after {
        let is_ahead = |priority: &Priority| i64::from(priority.rank()) != rank;
        priorities = priorities.into_iter().skip_while(is_ahead).collect();
    }
    let mut all: Vec<TicketRow> = Vec::new();
    for priority in priorities {
        let place = after.filter(|(rank, _)| *rank == i64::from(priority.rank())).map(|(_, place)| place);
        let criteria = TicketCriteria { priority: Some(vec![priority]), ..criteria.clone() };
        let rows = list_by(conn, &criteria, scope, then, wanted - all.len(), place).await?;
        let Rows { rows, more, reached } = rows;
        all.extend(rows);
        if more || reached.is_some() || all.len() >= wanted {
            return Ok(Rows { rows: all, more, reached });
        }
    }
    Ok(all.into())
}

/// The numbers of tickets of which one knows the ids or the numbers, as far as they exist.
pub async fn numbers_of(conn: &mut Conn, refs: &[TicketRef]) -> Result<Vec<i64>, Problem> {
    let ids: Vec<String> = refs
        .iter()
        .filter_map(|it| if let TicketRef::Id(id) = it { Some(*id) } else { None })
        .map(|id| id.to_string())
        .collect();
    let mut numbers: BTreeSet<i64> =
        refs.iter().filter_map(|it| if let TicketRef::Number(number) = it { Some(*number) } else { None }).collect();
    if !ids.is_empty() {
        let these = tickets::table.filter(has_id(conn, &ids)).select(tickets::number);
        let found: Vec<i64> = on_each!(conn, |c| these.load(c).await)?;
        numbers.extend(found);
    }
    Ok(numbers.into_iter().collect())
}

/// A page of a list of one order.
async fn list_by(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    scope: &ListScope,
    sort: Sort,
    wanted: usize,
    after: Option<(i64, i64)>,
) -> Result<Rows<TicketRow>, Problem> {
    let (order, descending) = Order::of(sort);
    let keyset = Keyset { order, descending, after };
    if let Some(hits) = &criteria.q {
        let others = TicketCriteria { q: None, ..criteria.clone() };
        let found = found::find(conn, hits, &others, sort, wanted, after).await?;
        let reached = match found.reached {
            Some(number) => rows(conn, &[number]).await?.pop().map(|(row, _)| row),
            None => None,
        };
        let mut rows = rows(conn, &found.numbers).await?;
        for (row, _) in &mut rows {
            row.relevance = found.relevance.get(&row.ticket.number).copied().unwrap_or_default();
        }
        return Ok(with_texts(conn, rows, scope.is_brief).await?.up_to(reached));
    }
    let access = match &scope.among {
        Some(numbers) => Access::Few(numbers.clone()),
        None => Access::choose(conn, criteria, order).await?,
    };
    let mut rows = match access {
        Access::Few(few) => {
            let mut numbers = ListWalk::among(few, criteria, keyset).next(conn, wanted).await?;
            numbers.truncate(wanted);
            rows(conn, &numbers).await?
        }
        // In one statement, since it is asked so often.
        Access::Along(path) => {
            let is_sqlite = is_sqlite(conn);
            let mut rows = load!(conn, |c| {
                let mut these = Pieces::<_, Bool>::new("tickets.number IN (");
                these.push(page!(c, &path, keyset, round(wanted), is_sqlite));
                these.text(")");
                these
            });
            rows.sort_by_key(|(row, _)| key_by(sort, row));
            if descending {
                rows.reverse();
            }
            rows
        }
    };
    rows.truncate(wanted);
    with_texts(conn, rows, scope.is_brief).await
}

/// The rows of these tickets, in this order, each with whether its texts are still to be read.
async fn rows(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<(TicketRow, bool)>, Problem> {
    let mut rows = load!(conn, |c| one_of("tickets.number", numbers));
    let places: HashMap<i64, usize> = numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    rows.sort_by_key(|(row, _)| places.get(&row.ticket.number).copied());
    Ok(rows)
}

/// The tickets with these numbers, in this order, as far as a page has room for their texts.
pub async fn by_numbers(conn: &mut Conn, numbers: &[i64]) -> Result<Rows<TicketRow>, Problem> {
    let rows = rows(conn, numbers).await?;
    with_texts(conn, rows, false).await
}

/// The tickets with numbers after the first of these and up to the second that meet `criteria`, in their order: at most
/// `most`, and as far as a page has room for their texts.
pub async fn numbered(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    (after, until): (i64, i64),
    most: i64,
) -> Result<Rows<TicketRow>, Problem> {
    if criteria.finds_nothing() {
        return Ok(Vec::new().into());
    }
    let numbers: Vec<i64> = on_each!(conn, |c| {
        let between = tickets::number.gt(after).and(tickets::number.le(until));
        let these = tickets::table.left_join(ticket_clocks::table).filter(between).select(tickets::number);
        let these = boxed(c, these.order(tickets::number).limit(most));
        if criteria.is_open() { these } else { these.filter(meets(c, criteria)) }.load(c).await
    })?;
    by_numbers(conn, &numbers).await
}

/// The place of a ticket in a list of this order.
pub fn key(sort: SortOrder, row: &TicketRow) -> ListPlace {
    match sort.then {
        None => {
            let (value, number) = key_by(sort.first, row);
            ListPlace::Single(value, number)
        }
        Some(then) => ListPlace::Within(row.ticket.priority.rank().into(), key_by(then, row)),
    }
}

/// The key of a ticket in a list of this order: a value and the number, which makes it unique.
fn key_by(sort: Sort, row: &TicketRow) -> (i64, i64) {
    let ticket = &row.ticket;
    let value = match sort {
        Sort::Created | Sort::CreatedDesc => ticket.created_at.micros(),
        Sort::Updated | Sort::UpdatedDesc => ticket.updated_at.micros(),
        Sort::Activity | Sort::ActivityDesc => ticket.activity_at().micros(),
        Sort::Priority | Sort::PriorityDesc => ticket.priority.rank().into(),
        Sort::Due | Sort::DueDesc => row.times.due_at().unwrap_or(Instant::NEVER).micros(),
        Sort::Relevance => row.relevance,
    };
    (value, ticket.number)
}

/// Fills in what was not read with `rows`, as far as a page has room for it. What has been changed since then is told
/// as it is now, under the version before: whoever changes that version is told that there is a newer one.
async fn with_texts(conn: &mut Conn, rows: Vec<(TicketRow, bool)>, is_brief: bool) -> Result<Rows<TicketRow>, Problem> {
    if is_brief {
        return Ok(rows.into_iter().map(|(row, _)| row).collect::<Vec<_>>().into());
    }
    let fill = async |rows: &mut [(TicketRow, bool)]| {
        let numbers: Vec<_> = rows.iter().filter(|(_, lacks)| *lacks).map(|(row, _)| row.ticket.number).collect();
        let texts: Vec<(i64, String, Json)> = on_each!(conn, |c| {
            let these =
                boxed(c, tickets::table.select((tickets::number, tickets::description, tickets::custom_fields)));
            these.filter(one_of("tickets.number", &numbers)).load(c).await
        })?;
        let mut texts: HashMap<_, _> =
            texts.into_iter().map(|(number, text, fields)| (number, (text, fields))).collect();
        for (row, _) in rows.iter_mut() {
            if let Some((description, fields)) = texts.remove(&row.ticket.number) {
                row.ticket.description = description;
                row.ticket.custom_fields = Fields::from_stored(fields.0);
            }
        }
        Ok(())
    };
    let size_b = |row: &TicketRow| json_b(&row.ticket.description);
    Rows::filled(rows, fill, size_b).await
}
