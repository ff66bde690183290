//! A page of tickets, at a cost that does not depend on how many are stored.
//!
//! The numbers of its tickets are found first, by ranges of indexes that are read in the order of the list and merged, and
//! no further than the page; what an index does not tell is checked of each ticket that is met. The rows follow for the
//! page alone. Where that could mean to meet many tickets in vain, [`find`] first looks whether one of the filters leaves
//! only a [`few`]: those are then sorted.

use std::collections::{HashMap, HashSet};

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Text};
use diesel::sqlite::Sqlite;

use super::leads::{Lead, Order, Traits, Way, along, shortcuts};
use super::{ASSIGNEES, CREATORS, REQUESTERS, Stored, TicketCriteria, TicketRow, breached_after, narrow, search};
use crate::db::raw::{one_of, raw, small};
use crate::db::schema::{principals, teams, ticket_clocks, ticket_tags, tickets};
use crate::db::{Conn, EngineConn, RunQueryDsl, boxed, on_each};
use crate::http::{Rows, page};
use crate::kernel::fields::Fields;
use crate::kernel::sql::{self, Json};
use crate::kernel::{Instant, Problem};
use crate::sla::store::clocks;
use crate::tickets::wire::{ListOptions, SlaFilter, Sort};

/// So many tickets are sorted rather than looked for along the order of the list.
fn few(order: Order) -> usize {
    match order {
        // It is gone along by one of the filters.
        Order::Created => 1_000,
        Order::Updated | Order::Priority | Order::Due => 4_000,
    }
}

diesel::alias! {
    const TICKETS: Alias<TicketsPath> = tickets as path;
}
diesel::alias! {
    const TAGS: Alias<TagsPath> = ticket_tags as path;
}
diesel::alias! {
    const CLOCKS: Alias<ClocksPath> = ticket_clocks as path;
}

/// A part of a statement that is built for one engine.
type Part<DB> = Box<dyn QueryFragment<DB> + Send>;

/// A part of a statement between two pieces of text: a condition on whatever the text speaks of.
struct Condition<DB: Backend>(&'static str, Part<DB>, &'static str);

impl<DB: Backend> Expression for Condition<DB> {
    type SqlType = Bool;
}
impl<DB: Backend, QS> AppearsOnTable<QS> for Condition<DB> {}
impl<DB: Backend, GB> ValidGrouping<GB> for Condition<DB> {
    type IsAggregate = is_aggregate::Never;
}
impl<DB: Backend> QueryId for Condition<DB> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
impl<DB: Backend> QueryFragment<DB> for Condition<DB> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.0);
        self.1.walk_ast(out.reborrow())?;
        out.push_sql(self.2);
        Ok(())
    }
}

/// A query for the `number` and `value` of tickets.
struct Range<DB> {
    query: Part<DB>,
    comes: Comes,
}

/// How a range comes from the database.
#[derive(Clone, Copy)]
enum Comes {
    /// By an index, in the order of the value.
    InOrder,
    /// The same, by an index that has this column before it, which is null in all of the range.
    BehindNull(&'static str),
    /// In no order; it is short.
    Anyhow,
}

/// The numbers of the first tickets of some ranges, which are merged in their order and read no further than needed.
struct Merged<DB> {
    ranges: Vec<Range<DB>>,
    descending: bool,
    /// How many; in the text of the statement, since PostgreSQL plans for a tenth of all rows when it is a parameter.
    limit: usize,
    /// How many of the ranges may have the same ticket.
    times: usize,
}

impl<DB: Backend> Query for Merged<DB> {
    type SqlType = BigInt;
}
impl<DB: Backend> diesel::RunQueryDsl<diesel::SqliteConnection> for Merged<DB> {}
impl<DB: Backend> QueryId for Merged<DB> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// The same, in the order of the list.
struct InOrder<DB>(Merged<DB>);

impl<DB: Backend> Query for InOrder<DB> {
    type SqlType = BigInt;
}
impl<DB: Backend> diesel::RunQueryDsl<diesel::SqliteConnection> for InOrder<DB> {}
impl<DB: Backend> QueryId for InOrder<DB> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
impl<DB: Backend> QueryFragment<DB> for InOrder<DB>
where
    Merged<DB>: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out.reborrow())?;
        let to = if self.0.descending { "DESC" } else { "ASC" };
        out.push_sql(&format!(" ORDER BY page.value {to}, page.number {to}"));
        Ok(())
    }
}

impl<DB> Merged<DB> {
    fn order(&self, comes: Comes, limit: usize) -> String {
        let to = if self.descending { "DESC" } else { "ASC" };
        match comes {
            Comes::InOrder => format!(" ORDER BY 2 {to}, 1 {to} LIMIT {limit}"),
            Comes::BehindNull(column) => format!(" ORDER BY {column} {to}, 2 {to}, 1 {to} LIMIT {limit}"),
            // Keeps PostgreSQL from walking along some order until it has met them.
            Comes::Anyhow => " OFFSET 0".into(),
        }
    }

    /// What stands before and behind the ranges: the first of them all, each once.
    fn around(&self) -> (&'static str, String) {
        let order = |limit| self.order(Comes::InOrder, limit);
        match self.times {
            1 => ("SELECT number FROM (", format!("{}) AS page", order(self.limit))),
            times => (
                "SELECT number FROM (SELECT DISTINCT number, value FROM (",
                format!("{}) AS met{}) AS page", order(self.limit * times), order(self.limit)),
            ),
        }
    }
}

/// PostgreSQL merges what is ordered: each range says its order, beginning with what is null, to be recognised as the index's.
impl QueryFragment<Pg> for Merged<Pg> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        let (before, behind) = self.around();
        out.push_sql(before);
        for (i, range) in self.ranges.iter().enumerate() {
            out.push_sql(if i == 0 { "SELECT * FROM (" } else { " UNION ALL SELECT * FROM (" });
            range.query.walk_ast(out.reborrow())?;
            out.push_sql(&self.order(range.comes, self.limit));
            out.push_sql(") AS range");
        }
        out.push_sql(&behind);
        Ok(())
    }
}

/// SQLite gives the order of the whole to each range.
impl QueryFragment<Sqlite> for Merged<Sqlite> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        let (before, behind) = self.around();
        out.push_sql(before);
        for (i, range) in self.ranges.iter().enumerate() {
            out.push_sql(if i == 0 { "" } else { " UNION ALL " });
            range.query.walk_ast(out.reborrow())?;
        }
        out.push_sql(&behind);
        Ok(())
    }
}

/// From where on, and which way, ranges are read.
#[derive(Clone, Copy)]
struct Course {
    order: Order,
    descending: bool,
    after: Option<(i64, i64)>,
}

/// A part of what is still to come on a course.
#[derive(Clone, Copy)]
enum Place {
    Anywhere,
    /// Behind a value and a number.
    Behind((i64, i64)),
    /// At this value, behind the number.
    Tied((i64, i64)),
    /// Behind all that have this value.
    Beyond(i64),
}

impl Course {
    /// What is still to come, in parts. Many tickets have the same priority, and nothing due: SQLite would go through all of
    /// them for a pair of value and number.
    fn places(self, lead: &Lead) -> Vec<Place> {
        match (self.after, self.order, lead) {
            (None, ..) => vec![Place::Anywhere],
            (Some(after), Order::Priority | Order::Due, Lead::Tickets(_) | Lead::Due) => {
                vec![Place::Tied(after), Place::Beyond(after.0)]
            }
            (Some(after), ..) => vec![Place::Behind(after)],
        }
    }
}

/// The ranges of a lead on a course. Of each ticket that is met, `$rest` is checked; `$sieve` has the bounds of the order.
macro_rules! ranges {
    ($c:ident, $lead:expr, $course:expr, $sieve:expr, $rest:expr) => {{
        let (course, sieve, rest): (Course, &TicketCriteria, &TicketCriteria) = ($course, $sieve, $rest);
        let column = match course.order {
            Order::Created => "created_at",
            Order::Updated => "updated_at",
            Order::Priority => "priority_rank",
            Order::Due => "due_at",
        };
        let mut ranges = Vec::new();
        for place in course.places($lead) {
            // From where on, as a condition. The value is bound as what it is.
            macro_rules! from {
                ($number:literal) => {{
                    let relation = if course.descending { "<" } else { ">" };
                    macro_rules! condition {
                        ($value:expr) => {
                            match place {
                                Place::Anywhere => None,
                                Place::Behind((value, number)) => Some(Box::new(
                                    raw::<Bool>(format!("(path.{column}, path.{}) {relation} (", $number))
                                        .bind($value(value))
                                        .sql(", ")
                                        .bind(number)
                                        .sql(")"),
                                ) as Part<_>),
                                Place::Tied((value, number)) => Some(Box::new(
                                    raw::<Bool>(format!("path.{column} = "))
                                        .bind($value(value))
                                        .sql(format!(" AND path.{} {relation} ", $number))
                                        .bind(number),
                                ) as Part<_>),
                                Place::Beyond(value) => Some(Box::new(
                                    raw::<Bool>(format!("path.{column} {relation} ")).bind($value(value)),
                                ) as Part<_>),
                            }
                        };
                    }
                    match course.order {
                        Order::Priority => condition!(|rank| i32::try_from(rank).unwrap_or(0)),
                        Order::Created | Order::Updated | Order::Due => condition!(Instant::from_micros),
                    }
                    .map(|part| Condition("", part, ""))
                }};
            }
            macro_rules! select {
                ($path:ident, $number:literal) => {{
                    let columns = format!("path.{} AS number, path.{column} AS value", $number);
                    boxed($c, $path.select(raw::<(BigInt, BigInt)>(columns)))
                }};
            }
            macro_rules! between {
                ($query:ident, $path:ident, $column:expr, $after:ident, $before:ident) => {{
                    if let Some(at) = sieve.$after {
                        $query = $query.filter($path.field($column).gt(at));
                    }
                    if let Some(at) = sieve.$before {
                        $query = $query.filter($path.field($column).lt(at));
                    }
                }};
            }
            macro_rules! range {
                ($query:ident, $number:literal, $comes:expr) => {{
                    let comes: Comes = $comes;
                    let (mut behind, short) = (from!($number), matches!(comes, Comes::Anyhow));
                    // What is short is not to be found by its place in the order: that says nothing where many have the same.
                    if let Some(behind) = behind.take_if(|_| !short) {
                        $query = $query.filter(behind);
                    }
                    if !rest.is_open() || behind.is_some() {
                        let met = raw::<Bool>(concat!("tickets.number = path.", $number));
                        let met = tickets::table.left_join(ticket_clocks::table).filter(met).select(raw::<Integer>("1"));
                        let mut met = narrow!(boxed($c, met), rest);
                        if let Some(behind) = behind {
                            met = met.filter(behind);
                        }
                        // Its own limits keep it from being made a join, for which there would be other ways.
                        $query = $query.filter(Condition("EXISTS (", Box::new(met), " LIMIT 1 OFFSET 0)"));
                    }
                    ranges.push(Range { query: Box::new($query), comes });
                }};
            }
            match $lead {
                Lead::Tickets(each) => {
                    for traits in each {
                        let mut query = select!(TICKETS, "number");
                        // Taken apart whole, so that none is forgotten.
                        let Traits { status, priority, kind, channel, team, assignee, requester, external_id } = traits;
                        let mut comes = if external_id.is_some() { Comes::Anyhow } else { Comes::InOrder };
                        macro_rules! has {
                            ($value:expr, $of:expr) => {
                                if let Some(value) = $value {
                                    query = query.filter(TICKETS.field($of).eq(value.clone()));
                                }
                            };
                            ($value:expr, $of:expr, $name:literal) => {
                                match $value {
                                    Some(Some(id)) => query = query.filter(TICKETS.field($of).eq(*id)),
                                    Some(None) => {
                                        query = query.filter(TICKETS.field($of).is_null());
                                        comes = Comes::BehindNull($name);
                                    }
                                    None => {}
                                }
                            };
                        }
                        has!(status, tickets::status);
                        has!(kind, tickets::kind);
                        has!(channel, tickets::channel);
                        has!(team, tickets::team_id, "path.team_id");
                        has!(assignee, tickets::assignee_id, "path.assignee_id");
                        has!(requester, tickets::requester_id, "path.requester_id");
                        if matches!((team, assignee), (Some(Some(_)), Some(None))) {
                            // The index of a team's unassigned tickets holds no others, and so not the column.
                            comes = Comes::InOrder;
                        }
                        has!(external_id, tickets::external_id);
                        match course.order {
                            Order::Priority => has!(priority.map(|it| i32::from(it.rank())), tickets::priority_rank),
                            _ => has!(priority, tickets::priority),
                        }
                        match course.order {
                            Order::Created => between!(query, TICKETS, tickets::created_at, created_after, created_before),
                            Order::Updated => between!(query, TICKETS, tickets::updated_at, updated_after, updated_before),
                            Order::Priority | Order::Due => {}
                        }
                        range!(query, "number", comes);
                    }
                }
                Lead::Tagged(tags) => {
                    for tag in tags {
                        let mut query = select!(TAGS, "ticket_number").filter(TAGS.field(ticket_tags::tag).eq(tag.clone()));
                        between!(query, TAGS, ticket_tags::created_at, created_after, created_before);
                        range!(query, "ticket_number", Comes::InOrder);
                    }
                }
                Lead::Breached => {
                    let breached = CLOCKS.field(ticket_clocks::breach_at).le(sieve.now);
                    let mut query = select!(CLOCKS, "ticket_number").filter(breached);
                    between!(query, CLOCKS, ticket_clocks::created_at, created_after, created_before);
                    range!(query, "ticket_number", Comes::InOrder);
                }
                Lead::Due => {
                    let mut query = select!(CLOCKS, "ticket_number");
                    range!(query, "ticket_number", Comes::InOrder);
                }
                Lead::Few(numbers) if course.order == Order::Due => {
                    let mut query = select!(CLOCKS, "ticket_number").filter(one_of("path.ticket_number", numbers));
                    range!(query, "ticket_number", Comes::Anyhow);
                }
                Lead::Few(numbers) => {
                    let mut query = select!(TICKETS, "number").filter(one_of("path.number", numbers));
                    range!(query, "number", Comes::Anyhow);
                }
            }
        }
        ranges
    }};
}

/// The key of a ticket in a list of this order: a value and the number, which makes it unique.
pub fn key(sort: Sort, row: &TicketRow) -> (i64, i64) {
    let ticket = &row.ticket;
    let value = match sort {
        Sort::Created | Sort::CreatedDesc => ticket.created_at.micros(),
        Sort::Updated | Sort::UpdatedDesc => ticket.updated_at.micros(),
        Sort::Priority | Sort::PriorityDesc => ticket.priority.rank().into(),
        Sort::Due | Sort::DueDesc => row.times.due_at().unwrap_or(Instant::NEVER).micros(),
        Sort::Relevance => row.relevance,
    };
    (value, ticket.number)
}

/// A ticket of a list, and whether its texts are large and were not read with it.
type Listed = (Stored, clocks::Stored, Option<String>, Option<String>, Option<String>, String, bool);

fn from_list(row: Listed) -> Result<(TicketRow, bool), Problem> {
    let (stored, times, team, requester, assignee, created_by, lacks) = row;
    Ok((TicketRow::try_from((stored, times, team, requester, assignee, created_by))?, lacks))
}

/// The same for a list: without texts that are large, of which [`with_texts`] fills in as many as a page has room for.
macro_rules! listed {
    ($conn:expr) => {{
        let fields_b = match $conn.line {
            EngineConn::Sqlite(_) => "octet_length(tickets.custom_fields)",
            EngineConn::Postgres(_) => "octet_length(CAST(tickets.custom_fields AS text))",
        };
        let (description, is_long) = small("octet_length(tickets.description)", "tickets.description", "");
        let (custom_fields, are_many) = small(fields_b, "tickets.custom_fields", "{}");
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
            raw::<sql::Document>(custom_fields),
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
        );
        (stored, raw::<Bool>(format!("({is_long} OR {are_many})")))
    }};
}

/// Fills in what was not read with `rows`, as far as a page has room for it. What has been changed since then is told as it is
/// now, under the version before: whoever changes that version is told that there is a newer one.
async fn with_texts(conn: &mut Conn, rows: Vec<(TicketRow, bool)>) -> Result<Rows<TicketRow>, Problem> {
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
    let size_b = |row: &TicketRow| page::json_b(&row.ticket.description);
    Rows::filled(rows, fill, size_b).await
}

/// A page of the tickets that `sieve` lets through, from behind the key `after`.
///
/// # Errors
/// When the database is away.
pub async fn list(
    conn: &mut Conn,
    sieve: &TicketCriteria,
    options: &ListOptions,
    after: Option<(i64, i64)>,
) -> Result<Rows<TicketRow>, Problem> {
    let sort = options.sort.unwrap_or(Sort::CreatedDesc);
    if let Some(hits) = &sieve.q {
        let (rows, reached) =
            search::list(conn, hits, &TicketCriteria { q: None, ..sieve.clone() }, options, after).await?;
        return Ok(with_texts(conn, rows).await?.up_to(reached));
    }
    let (order, descending) = Order::of(sort);
    let wanted = usize::try_from(options.limit.and_one()).unwrap_or(usize::MAX);
    let sieve = &bounded(sieve, order);
    let Way { lead, rest, .. } = find(conn, sieve, order).await?;
    let (stored, lacks) = listed!(conn);
    let rows: Vec<Listed> = on_each!(conn, |c| {
        let ranges = ranges!(c, &lead, Course { order, descending, after }, sieve, &rest);
        let page = Merged { ranges, descending, limit: round(wanted), times: lead.times() };
        with_names!(stored, lacks).filter(Condition("tickets.number IN (", Box::new(page), ")")).load(c).await
    })?;
    let mut rows = rows.into_iter().map(from_list).collect::<Result<Vec<_>, _>>()?;
    rows.sort_by_key(|(row, _)| key(sort, row));
    if descending {
        rows.reverse();
    }
    rows.truncate(wanted);
    with_texts(conn, rows).await
}

/// The sieve with what its bounds mean for the order.
fn bounded(sieve: &TicketCriteria, order: Order) -> TicketCriteria {
    match order {
        Order::Created => sieve.with_bounds_of_creation(),
        Order::Updated => sieve.with_bounds_of_change(),
        Order::Priority | Order::Due => sieve.clone(),
    }
}

/// A walk through the tickets that a sieve lets through, in the order of a list.
pub(super) struct Walk {
    sieve: TicketCriteria,
    way: Way,
    course: Course,
    has_ended: bool,
}

impl Walk {
    /// From behind the key `after` on. The sieve asks for no words.
    pub async fn open(
        conn: &mut Conn,
        sieve: &TicketCriteria,
        sort: Sort,
        after: Option<(i64, i64)>,
    ) -> Result<Self, Problem> {
        let (order, descending) = Order::of(sort);
        let sieve = bounded(sieve, order);
        let way = find(conn, &sieve, order).await?;
        Ok(Self { sieve, way, course: Course { order, descending, after }, has_ended: false })
    }

    /// The same among these tickets alone.
    pub fn among(numbers: Vec<i64>, sieve: &TicketCriteria, sort: Sort, after: Option<(i64, i64)>) -> Self {
        let (order, descending) = Order::of(sort);
        let way = Way::among(numbers, sieve);
        Self { sieve: sieve.clone(), way, course: Course { order, descending, after }, has_ended: false }
    }

    /// The numbers of the next `wanted` tickets or some more, in their order; fewer at the end.
    pub async fn next(&mut self, conn: &mut Conn, wanted: usize) -> Result<Vec<i64>, Problem> {
        let Self { sieve, way: Way { lead, rest, .. }, course, .. } = self;
        let (course, limit) = (*course, round(wanted));
        let descending = course.descending;
        let numbers: Vec<i64> = on_each!(conn, |c| {
            let ranges = ranges!(c, lead, course, sieve, rest);
            InOrder(Merged { ranges, descending, limit, times: lead.times() }).load(c).await
        })?;
        match numbers.last().filter(|_| numbers.len() >= limit) {
            Some(last) => self.course.after = place_of(conn, course.order, *last).await?,
            None => self.has_ended = true,
        }
        Ok(numbers)
    }

    /// Whether there are no more.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }
}

/// The key of a ticket in an order; nothing if there is no such ticket.
pub(super) async fn place_of(conn: &mut Conn, order: Order, number: i64) -> Result<Option<(i64, i64)>, Problem> {
    let at = tickets::table.inner_join(ticket_clocks::table).filter(tickets::number.eq(number)).select((
        tickets::created_at,
        tickets::updated_at,
        tickets::priority_rank,
        ticket_clocks::due_at,
    ));
    let at: Option<(Instant, Instant, i32, Instant)> = on_each!(conn, |c| at.first(c).await.optional())?;
    Ok(at.map(|(created_at, updated_at, rank, due_at)| match order {
        Order::Created => (created_at.micros(), number),
        Order::Updated => (updated_at.micros(), number),
        Order::Priority => (rank.into(), number),
        Order::Due => (due_at.micros(), number),
    }))
}

/// Which of these tickets a sieve lets through.
pub(super) async fn which(conn: &mut Conn, sieve: &TicketCriteria, numbers: &[i64]) -> Result<HashSet<i64>, Problem> {
    let these: Vec<i64> = on_each!(conn, |c| {
        let these = tickets::table.inner_join(ticket_clocks::table).select(tickets::number);
        let these = these.filter(one_of("tickets.number", numbers));
        narrow!(boxed(c, these), sieve).load(c).await
    })?;
    Ok(these.into_iter().collect())
}

/// The rows of these tickets, in this order, each with whether its texts are still to be read.
pub(super) async fn rows(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<(TicketRow, bool)>, Problem> {
    let (stored, lacks) = listed!(conn);
    let rows: Vec<Listed> = on_each!(conn, |c| {
        let these = boxed(c, with_names!(stored, lacks));
        these.filter(one_of("tickets.number", numbers)).load(c).await
    })?;
    let mut rows = rows.into_iter().map(from_list).collect::<Result<Vec<_>, _>>()?;
    let places: HashMap<i64, usize> = numbers.iter().enumerate().map(|(place, number)| (*number, place)).collect();
    rows.sort_by_key(|(row, _)| places.get(&row.ticket.number).copied());
    Ok(rows)
}

/// A way to the tickets in this order.
async fn find(conn: &mut Conn, sieve: &TicketCriteria, order: Order) -> Result<Way, Problem> {
    let along = along(sieve, order);
    if along.rest.is_open() {
        return Ok(along);
    }
    let most = few(order);
    let mut found = match sieve.sla {
        Some(sla) if !matches!(along.lead, Lead::Breached) => in_time(conn, sla, sieve.now, most).await?,
        _ => None,
    };
    for (lead, order) in shortcuts(sieve, order) {
        if found.is_some() || matches!(lead, Lead::Breached) {
            continue;
        }
        let numbers: Vec<i64> = on_each!(conn, |c| {
            let course = Course { order, descending: true, after: None };
            let ranges = ranges!(c, &lead, course, sieve, &TicketCriteria::open(sieve.now));
            Merged { ranges, descending: true, limit: most + 1, times: 1 }.load(c).await
        })?;
        found = (numbers.len() <= most).then_some(numbers);
    }
    Ok(match found {
        Some(numbers) => Way::among(numbers, sieve),
        None => along,
    })
}

/// The tickets that an SLA filter lets through, if they are few.
async fn in_time(conn: &mut Conn, sla: SlaFilter, now: Instant, most: usize) -> Result<Option<Vec<i64>>, Problem> {
    let numbers: Vec<i64> = on_each!(conn, |c| {
        let mut ranges = Vec::new();
        macro_rules! range {
            ($column:ident, $after:expr, $until:expr) => {{
                let value = concat!("path.ticket_number AS number, path.", stringify!($column), " AS value");
                let mut query = boxed(c, CLOCKS.select(raw::<(BigInt, BigInt)>(value)));
                query = query.filter(CLOCKS.field(ticket_clocks::$column).le($until));
                if let Some(after) = $after {
                    query = query.filter(CLOCKS.field(ticket_clocks::$column).gt(after));
                }
                ranges.push(Range { query: Box::new(query), comes: Comes::InOrder });
            }};
        }
        match sla {
            SlaFilter::Breached => range!(breach_at, None::<Instant>, now),
            SlaFilter::DueWithin(s) => {
                let until = breached_after(now.plus_s(s));
                range!(response_breach_at, Some(now), until);
                range!(first_reply_breach_at, Some(now), until);
                range!(service_breach_at, Some(now), until);
            }
        }
        Merged { ranges, descending: false, limit: most + 1, times: 1 }.load(c).await
    })?;
    Ok((numbers.len() <= most).then_some(numbers))
}

/// How many rows to ask for to have `wanted`: one of a few sizes, so that there are few statements.
pub(super) fn round(wanted: usize) -> usize {
    [11, 26, 51, 101].into_iter().find(|size| wanted <= *size).unwrap_or(wanted.max(201))
}
