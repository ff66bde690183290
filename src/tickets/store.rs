//! Queries for tickets. A ticket is found only within a [`Reach`].

pub mod search;

use std::collections::{BTreeSet, HashMap};

use diesel::prelude::*;
use diesel::sql_types::Bool;

use self::search::Hits;
use super::domain::{Channel, Priority, Status, Ticket, TicketType};
use super::policy::Reach;
use super::wire::{SlaFilter, Sort, TicketFilter, TicketRef};
use crate::auth::domain::Role;
use crate::db::raw::{one_of, raw};
use crate::db::schema::{comments, principals, teams, ticket_clocks, ticket_tags, tickets, time_entries};
use crate::db::{Conn, EngineConn, RunQueryDsl, boxed, fault, on_each, send, steady};
use crate::kernel::fields::Fields;
use crate::kernel::rows::{Rows, json_b};
use crate::kernel::sql::Json;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId, TicketId};
use crate::sla::domain::clock::Times;
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

/// A ticket of a list, and whether its texts are large and were not read with it.
type Listed = (Ticket, clocks::Stored, Option<String>, Option<String>, Option<String>, String, bool);

fn from_list(row: Listed) -> Result<(TicketRow, bool), Problem> {
    let (stored, times, team, requester, assignee, created_by, lacks) = row;
    Ok((TicketRow::try_from((stored, times, team, requester, assignee, created_by))?, lacks))
}

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
    let size_b = |row: &TicketRow| json_b(&row.ticket.description);
    Rows::filled(rows, fill, size_b).await
}

mod leads;
mod list;

pub use list::list;

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

/// Which tickets are meant: those within a reach that pass every filter at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketCriteria {
    pub(crate) only_of: Option<PrincipalId>,
    pub(crate) status: Option<Vec<Status>>,
    pub(crate) priority: Option<Vec<Priority>>,
    pub(crate) kind: Option<Vec<TicketType>>,
    pub(crate) channel: Option<Vec<Channel>>,
    pub(crate) team: Option<(Vec<TeamId>, bool)>,
    pub(crate) assignee: Option<(Vec<PrincipalId>, bool)>,
    pub(crate) requester: Option<(Vec<PrincipalId>, bool)>,
    pub(crate) tag: Option<Vec<String>>,
    pub(crate) external_id: Option<String>,
    pub(crate) created_after: Option<Instant>,
    pub(crate) created_before: Option<Instant>,
    pub(crate) updated_after: Option<Instant>,
    pub(crate) updated_before: Option<Instant>,
    pub(crate) sla: Option<SlaFilter>,
    pub(crate) q: Option<Hits>,
    pub(crate) now: Instant,
}

impl TicketCriteria {
    /// The tickets within `reach` that pass `filter` at `now`. `me` is the caller.
    ///
    /// # Errors
    /// `invalid_query` when a filter makes no sense; `insufficient_scope` for a search by a token that may not read what is
    /// searched.
    pub fn new(reach: &Reach, filter: &TicketFilter, me: PrincipalId, now: Instant) -> Result<Self, Problem> {
        // Taken apart whole, so that a new filter does not compile until it filters.
        let TicketFilter {
            status,
            priority,
            kind,
            channel,
            team_id,
            assignee_id,
            requester_id,
            tag,
            external_id,
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q,
        } = filter.clone();
        Ok(Self {
            only_of: reach.only_of(),
            status: status.map(|any| any.0),
            priority: priority.map(|any| any.0),
            kind: kind.map(|any| any.0),
            channel: channel.map(|any| any.0),
            team: team_id.map(|teams| split(teams.0.iter().map(|team| team.id()))),
            assignee: assignee_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            requester: requester_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            tag: tag.map(|any| any.0.into_iter().map(|tag| tag.0).collect()),
            external_id: external_id.map(|id| id.0),
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q: match q {
                Some(query) => Hits::of(query, reach.searched()?),
                None => None,
            },
            now,
        })
    }

    /// Lets every ticket through.
    pub(crate) fn open(now: Instant) -> Self {
        Self {
            only_of: None,
            status: None,
            priority: None,
            kind: None,
            channel: None,
            team: None,
            assignee: None,
            requester: None,
            tag: None,
            external_id: None,
            created_after: None,
            created_before: None,
            updated_after: None,
            updated_before: None,
            sla: None,
            q: None,
            now,
        }
    }

    /// The same, with what its bounds mean for the creation: no ticket was changed before it was created.
    pub(crate) fn with_bounds_of_creation(&self) -> Self {
        let created_before = [self.created_before, self.updated_before].into_iter().flatten().min();
        Self { created_before, ..self.clone() }
    }

    /// The same, with what its bounds mean for the last change.
    pub(crate) fn with_bounds_of_change(&self) -> Self {
        Self { updated_after: self.updated_after.max(self.created_after), ..self.clone() }
    }

    /// Whether what it asks for can be looked for; a list of tickets asks this by itself.
    ///
    /// # Errors
    /// `unavailable` when the search index is in a format that only a newer version can read, or when the database is away.
    pub async fn readable(&self, conn: &mut Conn) -> Result<(), Problem> {
        if self.q.is_some() { search::readable(conn).await } else { Ok(()) }
    }

    /// Whether it lets every ticket through.
    pub fn is_open(&self) -> bool {
        *self == Self::open(self.now)
    }
}

/// The tickets of a boxed query that a [`TicketCriteria`] lets through. The query is about `tickets` and `ticket_clocks`.
macro_rules! narrow {
    ($query:expr, $sieve:expr) => {{
        use diesel::prelude::*;
        use $crate::db::schema::{ticket_clocks, ticket_tags, tickets};
        use $crate::tickets::wire::SlaFilter;
        let mut query = $query;
        // Taken apart whole, so that a new filter does not compile until it filters.
        let $crate::tickets::store::TicketCriteria {
            only_of,
            status,
            priority,
            kind,
            channel,
            team,
            assignee,
            requester,
            tag,
            external_id,
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q,
            now,
        } = $sieve.clone();
        if let Some(own) = only_of {
            query = query.filter(tickets::requester_id.eq(own));
        }
        // A single value is compared as such: the indexes go on in order behind it.
        macro_rules! any {
            ($filter:expr, $column:expr) => {
                match $filter.as_deref() {
                    Some([one]) => query = query.filter($column.eq(*one)),
                    Some(any) => query = query.filter($column.eq_any(any.to_vec())),
                    None => {}
                }
            };
        }
        any!(status, tickets::status);
        any!(priority, tickets::priority);
        any!(kind, tickets::kind);
        any!(channel, tickets::channel);
        macro_rules! any_or_none {
            ($filter:expr, $column:expr) => {
                match $filter {
                    Some((ids, false)) => query = query.filter($column.eq_any(ids)),
                    Some((ids, true)) if ids.is_empty() => query = query.filter($column.is_null()),
                    Some((ids, true)) => {
                        query = query.filter($column.is_null().or($column.eq_any(ids).assume_not_null()))
                    }
                    None => {}
                }
            };
        }
        any_or_none!(team, tickets::team_id);
        any_or_none!(assignee, tickets::assignee_id);
        any_or_none!(requester, tickets::requester_id);
        if let Some(any) = tag {
            let own = ticket_tags::table.filter(ticket_tags::ticket_number.eq(tickets::number));
            query = query.filter(diesel::dsl::exists(own.filter(ticket_tags::tag.eq_any(any))));
        }
        if let Some(id) = external_id {
            query = query.filter(tickets::external_id.eq(id));
        }
        if let Some(at) = created_after {
            query = query.filter(tickets::created_at.gt(at));
        }
        if let Some(at) = created_before {
            query = query.filter(tickets::created_at.lt(at));
        }
        if let Some(at) = updated_after {
            query = query.filter(tickets::updated_at.gt(at));
        }
        if let Some(at) = updated_before {
            query = query.filter(tickets::updated_at.lt(at));
        }
        if let Some(hits) = q {
            query = query.filter(hits);
        }
        match sla {
            Some(SlaFilter::Breached) => query = query.filter(ticket_clocks::breach_at.le(now)),
            Some(SlaFilter::DueWithin(s)) => {
                let until = $crate::tickets::store::breached_after(now.plus_s(s));
                macro_rules! due {
                    ($breach_at:expr) => {
                        $breach_at.gt(now).and($breach_at.le(until))
                    };
                }
                query = query.filter(
                    due!(ticket_clocks::response_breach_at)
                        .or(due!(ticket_clocks::first_reply_breach_at))
                        .or(due!(ticket_clocks::service_breach_at)),
                );
            }
            None => {}
        }
        query
    }};
}
pub(crate) use narrow;

/// When a clock is breached that is due at `due_at`: the microsecond after.
pub(crate) fn breached_after(due_at: Instant) -> Instant {
    Instant::from_micros(due_at.micros() + 1)
}

/// The ids to look for, and whether `none` is one of the choices.
fn split<Id>(choices: impl Iterator<Item = Option<Id>>) -> (Vec<Id>, bool) {
    let (ids, nobody): (Vec<_>, Vec<_>) = choices.partition(Option::is_some);
    (ids.into_iter().flatten().collect(), !nobody.is_empty())
}

/// The number of the newest ticket, or 0.
///
/// # Errors
/// When the database is away.
pub async fn last_number(conn: &mut Conn) -> Result<i64, Problem> {
    let newest = tickets::table.order(tickets::number.desc()).select(tickets::number);
    let last = on_each!(conn, |c| newest.first(c).await.optional())?;
    Ok(last.unwrap_or(0))
}

/// At most `most` tickets with numbers after `number`, in their order.
///
/// # Errors
/// When the database is away.
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

/// Stores a new ticket, all but its number, which the database gives; returns that number. Its clocks will have followed `edit`.
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

/// Stores `after` over `before`.
///
/// # Errors
/// A transient problem when another request takes the same external id right now.
pub async fn update(tx: &mut Conn, before: &Ticket, after: &Ticket) -> Result<(), Problem> {
    // SQLite looks after each index and each reference of the columns that are set, also where their values stay. Most changes
    // are talk, or a step: these set no more than they have to.
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
///
/// # Errors
/// When the database is away.
pub async fn replace_tags(tx: &mut Conn, number: i64, tags: &[String], created_at: Instant) -> Result<(), Problem> {
    let old = ticket_tags::table.filter(ticket_tags::ticket_number.eq(number));
    on_each!(tx, |c| diesel::delete(old).execute(c).await)?;
    add_tags(tx, number, tags, created_at).await
}

/// By which tags the tickets with numbers after `after` are found, up to `until`, and as created when.
///
/// # Errors
/// When the database is away.
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

/// Removes the texts of all comments on `ticket`, and the notes of work on it.
///
/// # Errors
/// When the database is away.
pub async fn redact_around(tx: &mut Conn, ticket: &Ticket, now: Instant) -> Result<(), Problem> {
    let comments = comments::table.filter(comments::ticket_id.eq(ticket.id).and(comments::redacted_at.is_null()));
    let emptied = (comments::body.eq(""), comments::redacted_at.eq(now), comments::version.eq(comments::version + 1));
    on_each!(tx, |c| diesel::update(comments).set(emptied).execute(c).await)?;
    let work = time_entries::table.filter(time_entries::ticket_number.eq(ticket.number));
    on_each!(tx, |c| diesel::update(work).set(time_entries::note.eq(None::<String>)).execute(c).await)?;
    Ok(())
}

/// Two requests raced for one external id: the next attempt finds the winner.
fn external_id_taken(error: diesel::result::Error) -> Problem {
    if fault::is_duplicate(&error, "tickets_external_id_key", "tickets.created_by_id, tickets.external_id") {
        return Problem::transient(error);
    }
    error.into()
}

/// The ticket that `creator` has made with this external id.
///
/// # Errors
/// When the database is away.
pub async fn by_external_id(
    tx: &mut Conn,
    creator: PrincipalId,
    external_id: &str,
) -> Result<Option<(TicketId, i64)>, Problem> {
    let found = on_each!(tx, |c| {
        tickets::table
            .filter(tickets::created_by_id.eq(creator).and(tickets::external_id.eq(external_id)))
            .select((tickets::id, tickets::number))
            .first(c)
            .await
    });
    Ok(found.optional()?)
}

/// Somebody who can have or handle a ticket.
#[derive(Debug)]
pub struct Person {
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Whether they still belong here.
    pub active: bool,
}

/// A person; service accounts are none.
///
/// # Errors
/// When the database is away.
pub async fn person(tx: &mut Conn, id: PrincipalId) -> Result<Option<Person>, Problem> {
    let columns = (principals::name, principals::role, principals::active);
    let found: Option<(String, Option<Role>, bool)> =
        on_each!(tx, |c| principals::table.find(id).select(columns).first(c).await.optional())?;
    Ok(found.and_then(|(name, role, active)| Some(Person { name, role: role?, active })))
}

/// The name of a team, if there is one.
///
/// # Errors
/// When the database is away.
pub async fn team_name(tx: &mut Conn, id: TeamId) -> Result<Option<String>, Problem> {
    Ok(on_each!(tx, |c| teams::table.find(id).select(teams::name).first(c).await.optional())?)
}

/// Tickets that were resolved at `before` or earlier and are still so: at most `most`, the oldest first.
///
/// # Errors
/// When the database is away.
pub async fn resolved_until(tx: &mut Conn, before: Instant, most: i64) -> Result<Vec<Ticket>, Problem> {
    // Not a parameter, so that the index of those alone is known to have them. SQLite has no statistics and would sooner take
    // one by status and put all of them in order, if it did not believe that half of all tickets are meant.
    let resolved = match tx.line {
        EngineConn::Sqlite(_) => "likelihood(tickets.status = 'resolved', 0.5)",
        EngineConn::Postgres(_) => "tickets.status = 'resolved'",
    };
    Ok(on_each!(tx, |c| {
        tickets::table
            .filter(raw::<Bool>(resolved).and(tickets::resolved_at.le(before)))
            .order(tickets::resolved_at)
            .limit(most)
            .select(Ticket::as_select())
            .load(c)
            .await
    })?)
}
