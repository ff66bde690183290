//! Queries for tickets. A ticket is found only within a [`Reach`].

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::domain::reference::TicketRef;
use super::domain::{REDACTED, Status, Ticket};
use super::policy::reach::Reach;
use crate::auth::domain::Role;
use crate::db::raw::{one_of, raw};
use crate::db::schema::{alerts, comments, principals, teams, ticket_clocks, ticket_tags, tickets, time_entries};
use crate::db::{Conn, RunQueryDsl, fault, on_each, send, steady};
use crate::kernel::sql::Json;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId, TicketId};
use crate::sla::domain::clock::Times;
use crate::sla::domain::policy::Traits;
use crate::sla::store::clocks;

diesel::alias! {
    const REQUESTERS: Alias<Requesters> = principals as requesters;
    const ASSIGNEES: Alias<Assignees> = principals as assignees;
    const CREATORS: Alias<Creators> = principals as creators;
}

/// A ticket with the names that its ids stand for.
#[derive(Debug)]
pub struct TicketRow {
    /// The ticket.
    pub ticket: Ticket,
    /// The team's name.
    pub team: Option<String>,
    /// The requester's name.
    pub requester: Option<String>,
    /// The assignee's name.
    pub assignee: Option<String>,
    /// The creator's name.
    pub created_by: String,
    /// Its times, as they were when they were written down.
    pub times: Times,
    /// How well it answers a search, in a list by relevance; else 0.
    pub relevance: i64,
}

type Joined = (Ticket, clocks::Stored, Option<String>, Option<String>, Option<String>, String);

impl TryFrom<Joined> for TicketRow {
    type Error = Problem;

    fn try_from((ticket, times, team, requester, assignee, created_by): Joined) -> Result<Self, Problem> {
        let times = times.times(ticket.reported_at, ticket.first_replied_at);
        Ok(Self { ticket, team, requester, assignee, created_by, times, relevance: 0 })
    }
}

/// Tickets with their names: one statement, however many rows.
macro_rules! with_names {
    () => {
        with_names!(@ Ticket::as_select(),)
    };
    ($stored:expr, $lacks:expr) => {
        with_names!(@ $stored, $lacks)
    };
    (@ $stored:expr, $($lacks:expr)?) => {
        tickets::table
            .inner_join(ticket_clocks::table)
            .left_join(teams::table)
            .left_join(REQUESTERS.on(tickets::requester_id.eq(REQUESTERS.field(principals::id).nullable())))
            .left_join(ASSIGNEES.on(tickets::assignee_id.eq(ASSIGNEES.field(principals::id).nullable())))
            .inner_join(CREATORS.on(tickets::created_by_id.eq(CREATORS.field(principals::id))))
            .select((
                $stored,
                clocks::Stored::as_select(),
                teams::name.nullable(),
                REQUESTERS.field(principals::name).nullable(),
                ASSIGNEES.field(principals::name).nullable(),
                CREATORS.field(principals::name),
                $($lacks)?
            ))
    };
}

mod access;
pub mod attached;
mod count;
mod criteria;
mod dialect;
mod found;
mod hits;
mod list;
mod names;
mod page;
mod pieces;
pub mod renamed;
pub mod search;
pub mod talk;
pub mod views;

pub(crate) use criteria::meets;
pub use criteria::{Choice, TicketCriteria};
pub use hits::Hits;
pub use list::{ListPlace, ListScope, by_numbers, key, list, numbered, numbers_of};
pub use names::names;
pub mod tags;
pub use count::count;

/// The ticket `which`, if it is within `reach`.
///
/// # Errors
/// `not_found`, the same for a ticket that does not exist and for one out of reach.
pub async fn find(conn: &mut Conn, reach: &Reach, which: TicketRef) -> Result<Ticket, Problem> {
    let ticket: Option<Ticket> = on_each!(conn, |c| {
        let all = tickets::table.select(Ticket::as_select());
        match which {
            TicketRef::Id(id) => all.filter(tickets::id.eq(id)).first(c).await,
            TicketRef::Number(number) => all.filter(tickets::number.eq(number)).first(c).await,
        }
        .optional()
    })?;
    within(ticket, reach, |ticket| ticket)
}

/// What the tickets of these numbers are like, as far as conditions ask. The caller has proved access to them.
pub async fn traits_of(conn: &mut Conn, numbers: &[i64]) -> Result<Vec<(i64, Traits)>, Problem> {
    let some = tickets::table.filter(one_of("tickets.number", numbers));
    Ok(on_each!(conn, |c| some.select((tickets::number, Traits::as_select())).load(c).await)?)
}

/// The ticket `which` with its names, if it is within `reach`.
///
/// # Errors
/// `not_found`, the same for a ticket that does not exist and for one out of reach.
pub async fn find_named(conn: &mut Conn, reach: &Reach, which: TicketRef) -> Result<TicketRow, Problem> {
    // Not boxed: the statement is known by its type, without writing it out each time.
    let row: Option<Joined> = on_each!(conn, |c| match which {
        TicketRef::Id(id) => with_names!().filter(tickets::id.eq(id)).first(c).await,
        TicketRef::Number(number) => with_names!().filter(tickets::number.eq(number)).first(c).await,
    }
    .optional())?;
    within(row.map(TicketRow::try_from).transpose()?, reach, |row| &row.ticket)
}

fn within<T>(found: Option<T>, reach: &Reach, ticket: impl Fn(&T) -> &Ticket) -> Result<T, Problem> {
    found
        .filter(|found| reach.only_of().is_none_or(|own| ticket(found).requester_id == Some(own)))
        .ok_or_else(Problem::not_found)
}

/// The number of the newest ticket, or 0.
pub async fn last_number(conn: &mut Conn) -> Result<i64, Problem> {
    let newest = tickets::table.order(tickets::number.desc()).select(tickets::number);
    let last = on_each!(conn, |c| newest.first(c).await.optional())?;
    Ok(last.unwrap_or(0))
}

/// At most `most` tickets with numbers after `number`, in their order.
pub async fn after(tx: &mut Conn, number: i64, most: i64) -> Result<Vec<(Ticket, Times)>, Problem> {
    let rows: Vec<(Ticket, clocks::Stored)> = on_each!(tx, |c| {
        tickets::table
            .inner_join(ticket_clocks::table)
            .filter(tickets::number.gt(number))
            .order(tickets::number)
            .limit(most)
            .select((Ticket::as_select(), clocks::Stored::as_select()))
            .load(c)
            .await
    })?;
    rows.into_iter()
        .map(|(ticket, times)| {
            let times = times.times(ticket.reported_at, ticket.first_replied_at);
            Ok((ticket, times))
        })
        .collect()
}

/// Stores a new ticket, all but its number, which the database gives; returns that number. Its clocks will have
/// followed `edit`.
///
/// # Errors
/// A transient problem when another request takes the same external id right now.
pub async fn insert(tx: &mut Conn, ticket: &Ticket, edit: i64) -> Result<i64, Problem> {
    let values = (ticket.clone(), tickets::followed_edit.eq(edit));
    let number: i64 = on_each!(tx, |c| {
        diesel::insert_into(tickets::table).values(values).returning(tickets::number).get_result(c).await
    })
    .map_err(external_id_taken)?;
    add_tags(tx, number, &ticket.tags, ticket.created_at).await?;
    Ok(number)
}

/// Stores a ticket of the past, whose number is known. Its clocks will have followed `edit`.
///
/// # Errors
/// A transient problem when the number, or the external id, is taken meanwhile.
pub async fn insert_past(tx: &mut Conn, ticket: &Ticket, edit: i64) -> Result<(), Problem> {
    let more = (tickets::number.eq(ticket.number), tickets::internal_at.eq(ticket.internal_at));
    let values = (ticket.clone(), more, tickets::followed_edit.eq(edit));
    send!(tx, diesel::insert_into(tickets::table).values(values), taken_meanwhile)?;
    add_tags(tx, ticket.number, &ticket.tags, ticket.created_at).await
}

fn taken_meanwhile(error: diesel::result::Error) -> Problem {
    match error {
        diesel::result::Error::DatabaseError(diesel::result::DatabaseErrorKind::UniqueViolation, _) => {
            Problem::transient(error)
        }
        error => error.into(),
    }
}

/// The creators of tickets that are not closed and have one of these external ids, with that.
pub async fn external_ids_in_use(tx: &mut Conn, names: &[String]) -> Result<BTreeSet<(PrincipalId, String)>, Problem> {
    let these = tickets::table
        .filter(one_of("tickets.external_id", names))
        .filter(raw::<Bool>("tickets.status <> 'closed'"))
        .select((tickets::created_by_id, tickets::external_id.assume_not_null()));
    let rows: Vec<(PrincipalId, String)> = on_each!(tx, |c| these.load(c).await)?;
    Ok(rows.into_iter().collect())
}

/// Which of these numbers are free.
pub async fn free_numbers(tx: &mut Conn, wanted: &[i64]) -> Result<BTreeSet<i64>, Problem> {
    let these = tickets::table.filter(one_of("tickets.number", wanted)).select(tickets::number);
    let taken: Vec<i64> = on_each!(tx, |c| these.load(c).await)?;
    Ok(wanted.iter().copied().filter(|number| !taken.contains(number)).collect())
}

/// So many numbers that no other ticket gets.
pub async fn next_numbers(tx: &mut Conn, count: usize) -> Result<Vec<i64>, Problem> {
    dialect::next_numbers(tx, count).await
}

/// Whether the database gives no number up to `number` any more; SQLite is told so each time.
pub async fn is_passed(conn: &mut Conn, number: i64) -> Result<bool, Problem> {
    dialect::is_passed(conn, number).await
}

/// Whether `conn` is a connection to SQLite, whose one writer gives numbers.
pub fn is_sqlite(conn: &Conn) -> bool {
    dialect::is_sqlite(conn)
}

/// Lets the database give no number up to `number` any more.
pub async fn pass_numbers(tx: &mut Conn, number: i64) -> Result<(), Problem> {
    dialect::pass_numbers(tx, number).await
}

/// Writes down that something happened to a ticket at `at` that only staff see.
pub async fn set_internal_at(tx: &mut Conn, number: i64, at: Instant) -> Result<(), Problem> {
    send!(tx, steady(diesel::update(tickets::table.find(number)).set(tickets::internal_at.eq(at))))
}

/// Stores `after` over `before`.
///
/// # Errors
/// A transient problem when another request takes the same external id right now.
pub async fn update(tx: &mut Conn, before: &Ticket, after: &Ticket) -> Result<(), Problem> {
    // SQLite looks after each index and each reference of the columns that are set, also where their values stay. Most
    // changes are talk, or a step: these set no more than they have to.
    let heard = Ticket {
        updated_at: after.updated_at,
        started_at: after.started_at,
        first_replied_at: after.first_replied_at,
        agent_comments: after.agent_comments,
        version: after.version,
        ..before.clone()
    };
    let moved = Ticket {
        status: after.status,
        resolved_at: after.resolved_at,
        closed_at: after.closed_at,
        reopen_count: after.reopen_count,
        ..heard.clone()
    };
    let this = diesel::update(tickets::table.find(after.number));
    let talk = (
        tickets::updated_at.eq(after.updated_at),
        tickets::started_at.eq(after.started_at),
        tickets::first_replied_at.eq(after.first_replied_at),
        tickets::agent_comments.eq(after.agent_comments),
        tickets::version.eq(after.version),
    );
    let standing = (
        tickets::status.eq(after.status),
        tickets::resolved_at.eq(after.resolved_at),
        tickets::closed_at.eq(after.closed_at),
        tickets::reopen_count.eq(after.reopen_count),
    );
    if heard == *after {
        send!(tx, steady(this.set(talk)))?;
    } else if moved == *after {
        send!(tx, steady(this.set((talk, standing))))?;
    } else {
        send!(tx, steady(this.set(after.clone())), external_id_taken)?;
    }
    if before.tags != after.tags {
        let old = ticket_tags::table.filter(ticket_tags::ticket_number.eq(after.number));
        send!(tx, diesel::delete(old))?;
        add_tags(tx, after.number, &after.tags, after.created_at).await?;
    }
    Ok(())
}

/// Stores that a ticket, which was created at `created_at`, is found by `tags` and by no others.
pub async fn replace_tags(tx: &mut Conn, number: i64, tags: &[String], created_at: Instant) -> Result<(), Problem> {
    let old = ticket_tags::table.filter(ticket_tags::ticket_number.eq(number));
    on_each!(tx, |c| diesel::delete(old).execute(c).await)?;
    add_tags(tx, number, tags, created_at).await
}

/// By which tags the tickets with numbers after `after` are found, up to `until`, and as created when.
pub async fn tags_between(
    conn: &mut Conn,
    after: i64,
    until: i64,
) -> Result<HashMap<i64, BTreeSet<(String, Instant)>>, Problem> {
    let within = ticket_tags::ticket_number.gt(after).and(ticket_tags::ticket_number.le(until));
    let query = ticket_tags::table.filter(within);
    let query = query.select((ticket_tags::ticket_number, ticket_tags::tag, ticket_tags::created_at));
    let rows: Vec<(i64, String, Instant)> = on_each!(conn, |c| query.load(c).await)?;
    let mut tags: HashMap<i64, BTreeSet<_>> = HashMap::new();
    for (number, tag, created_at) in rows {
        tags.entry(number).or_default().insert((tag, created_at));
    }
    Ok(tags)
}

async fn add_tags(tx: &mut Conn, number: i64, tags: &[String], created_at: Instant) -> Result<(), Problem> {
    for tag in tags {
        let values = (
            ticket_tags::tag.eq(tag.clone()),
            ticket_tags::created_at.eq(created_at),
            ticket_tags::ticket_number.eq(number),
        );
        send!(tx, diesel::insert_into(ticket_tags::table).values(values))?;
    }
    Ok(())
}

/// The smallest number behind `number` that a ticket has.
pub async fn number_behind(conn: &mut Conn, number: i64) -> Result<Option<i64>, Problem> {
    let behind = tickets::table.filter(tickets::number.gt(number)).select(diesel::dsl::min(tickets::number));
    Ok(on_each!(conn, |c| behind.first(c).await)?)
}

/// Removes the texts of all comments on `ticket`, the notes of work on it, and what its alerts say.
pub async fn redact_around(tx: &mut Conn, ticket: &Ticket, now: Instant) -> Result<(), Problem> {
    let comments = comments::table.filter(comments::ticket_id.eq(ticket.id).and(comments::redacted_at.is_null()));
    let emptied = (comments::body.eq(""), comments::redacted_at.eq(now), comments::version.eq(comments::version + 1));
    on_each!(tx, |c| diesel::update(comments).set(emptied).execute(c).await)?;
    let work = time_entries::table.filter(time_entries::ticket_number.eq(ticket.number));
    on_each!(tx, |c| diesel::update(work).set(time_entries::note.eq(None::<String>)).execute(c).await)?;
    // What has set it off tells what it was about.
    let nothing = || Json(serde_json::json!({}));
    let told = alerts::table.filter(alerts::ticket_number.eq(ticket.number));
    let told = diesel::update(told).set((
        alerts::redacted.eq(true),
        alerts::summary.eq(REDACTED),
        alerts::severity.eq(None::<String>),
        alerts::labels.eq(nothing()),
        alerts::annotations.eq(nothing()),
        alerts::links.eq(Json(serde_json::json!([]))),
    ));
    on_each!(tx, |c| told.execute(c).await)?;
    Ok(())
}

/// Two requests raced for one external id: the next attempt finds the winner.
fn external_id_taken(error: diesel::result::Error) -> Problem {
    if fault::is_duplicate(&error, "tickets_external_id_key", "tickets.created_by_id, tickets.external_id") {
        return Problem::transient(error);
    }
    error.into()
}

/// The ticket that `creator` has made with this external id and that is not closed, and where it stands.
pub async fn by_external_id(
    tx: &mut Conn,
    creator: PrincipalId,
    external_id: &str,
) -> Result<Option<(TicketId, i64, Status)>, Problem> {
    let found = on_each!(tx, |c| {
        tickets::table
            .filter(tickets::created_by_id.eq(creator).and(tickets::external_id.eq(external_id)))
            // Word for word as in its index.
            .filter(raw::<Bool>("tickets.status <> 'closed'"))
            .select((tickets::id, tickets::number, tickets::status))
            .first(c)
            .await
    });
    Ok(found.optional()?)
}

/// Somebody who can have or handle a ticket.
#[derive(Debug)]
pub struct TicketPerson {
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they still belong here.
    pub active: bool,
}

/// A person; service accounts are none.
pub async fn person(tx: &mut Conn, id: PrincipalId) -> Result<Option<TicketPerson>, Problem> {
    let columns = (principals::name, principals::role, principals::active);
    let found: Option<(String, Option<Role>, bool)> =
        on_each!(tx, |c| principals::table.find(id).select(columns).first(c).await.optional())?;
    Ok(found.and_then(|(name, role, active)| Some(TicketPerson { name, role: role?, active })))
}

/// The name of a team, if there is one.
pub async fn team_name(tx: &mut Conn, id: TeamId) -> Result<Option<String>, Problem> {
    Ok(on_each!(tx, |c| teams::table.find(id).select(teams::name).first(c).await.optional())?)
}

/// Tickets that were resolved at `before` or earlier and are still so: at most `most`, the oldest first.
pub async fn resolved_until(tx: &mut Conn, before: Instant, most: i64) -> Result<Vec<Ticket>, Problem> {
    let resolved = dialect::is_resolved(tx);
    Ok(on_each!(tx, |c| {
        tickets::table
            .filter(resolved.and(tickets::resolved_at.le(before)))
            .order(tickets::resolved_at)
            .limit(most)
            .select(Ticket::as_select())
            .load(c)
            .await
    })?)
}
