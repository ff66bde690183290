//! Queries for comments. A comment is found only on a ticket that was found, and only within a [`Sight`].

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::domain::CommentOrder;
use super::policy::sight::Sight;
use crate::audit::domain::Visibility;
use crate::auth::domain::Role;
use crate::db::raw::{raw, small};
use crate::db::schema::{comments, principals};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send, steady};
use crate::kernel::rows::{Limit, Rows, json_b};
use crate::kernel::{CommentId, FieldError, Instant, PrincipalId, Problem, TicketId};
use crate::tickets::domain::Ticket;
use crate::tickets::domain::author::AuthorKind;
use crate::tickets::store::search::number_taken;

/// The number of the next comment on the ticket that follows. Whoever is at work on a ticket is alone with it, or loses
/// against whoever changes it at the same time.
const NEXT: &str = "SELECT coalesce(max(c.number), 0) + 1 FROM comments c WHERE c.ticket_id = ";

/// A comment as it is stored.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = comments, treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct Comment {
    /// The id.
    pub id: CommentId,
    /// The ticket that it is on.
    pub ticket_id: TicketId,
    /// Who wrote it.
    pub author_id: PrincipalId,
    /// Who may see it.
    pub visibility: Visibility,
    /// The text; empty once redacted.
    pub body: String,
    /// When it was written.
    pub created_at: Instant,
    /// When its author last edited it.
    pub edited_at: Option<Instant>,
    /// When its text was removed.
    pub redacted_at: Option<Instant>,
    /// Grows by one with each change.
    pub version: i64,
}

/// A comment with its author's name.
#[derive(Debug)]
pub struct CommentRow {
    /// The comment.
    pub comment: Comment,
    /// The author's name.
    pub author: String,
    /// What the author is on the ticket.
    pub kind: AuthorKind,
}

type Authored = (Comment, String, Option<Role>);

impl CommentRow {
    fn of(ticket: &Ticket, sight: Sight, (comment, author, role): Authored) -> Self {
        let kind = AuthorKind::on(ticket, comment.author_id, role);
        Self { author: sight.names().name(comment.author_id, author), comment, kind }
    }
}

/// Which comments of a ticket are listed, and how many.
#[derive(Debug, Clone, Copy, Default)]
pub struct CommentPage {
    /// In which order.
    pub order: CommentOrder,
    /// Only those that were written after this one.
    pub after: Option<CommentId>,
    /// Only those behind this one in the order.
    pub behind: Option<CommentId>,
    /// How many.
    pub limit: Limit,
}

/// The comments on `$ticket`, each with its author's name and role, and without a text that is large;
/// with whether this is so.
macro_rules! listed {
    ($ticket:expr) => {{
        let (body, lacks) = small("octet_length(comments.body)", "comments.body", "");
        let comment = (
            comments::id,
            comments::ticket_id,
            comments::author_id,
            comments::visibility,
            raw::<Text>(body),
            comments::created_at,
            comments::edited_at,
            comments::redacted_at,
            comments::version,
        );
        comments::table
            .inner_join(principals::table)
            .filter(comments::ticket_id.eq($ticket.id))
            .select(((comment, principals::name, principals::role), raw::<Bool>(lacks)))
    }};
}

/// The comment `id` on `ticket`.
///
/// # Errors
/// `not_found`, the same for a comment that does not exist and for one out of sight.
pub async fn find(conn: &mut Conn, ticket: &Ticket, sight: Sight, id: CommentId) -> Result<CommentRow, Problem> {
    let row: Option<Authored> = on_each!(conn, |c| {
        comments::table
            .inner_join(principals::table)
            .filter(comments::id.eq(id).and(comments::ticket_id.eq(ticket.id)))
            .select((Comment::as_select(), principals::name, principals::role))
            .first(c)
            .await
            .optional()
    })?;
    row.map(|row| CommentRow::of(ticket, sight, row))
        .filter(|row| sight.internal_too() || row.comment.visibility == Visibility::Public)
        .ok_or_else(Problem::not_found)
}

/// A page of the comments on `ticket`.
///
/// # Errors
/// `invalid_query` when there is no such comment as they are to come after.
pub async fn list(
    conn: &mut Conn,
    ticket: &Ticket,
    sight: Sight,
    page: CommentPage,
) -> Result<Rows<CommentRow>, Problem> {
    if let Some(after) = page.after {
        find(conn, ticket, sight, after).await.map_err(no_such_comment)?;
    }
    let rows: Vec<(Authored, bool)> = on_each!(conn, |c| {
        let mut query = boxed(c, listed!(ticket));
        if !sight.internal_too() {
            query = query.filter(comments::visibility.eq(Visibility::Public));
        }
        if let Some(after) = page.after {
            query = query.filter(comments::id.gt(after));
        }
        query = match page.order {
            CommentOrder::Created => query.order(comments::id.asc()),
            CommentOrder::CreatedDesc => query.order(comments::id.desc()),
        };
        query = match (page.order, page.behind) {
            (_, None) => query,
            (CommentOrder::Created, Some(behind)) => query.filter(comments::id.gt(behind)),
            (CommentOrder::CreatedDesc, Some(behind)) => query.filter(comments::id.lt(behind)),
        };
        query.limit(page.limit.and_one()).load(c).await
    })?;
    with_bodies(conn, ticket, sight, rows).await
}

/// The comments on `ticket` with these ids, in their order, as far as a page has room for their texts.
pub async fn by_ids(
    conn: &mut Conn,
    ticket: &Ticket,
    sight: Sight,
    ids: &[CommentId],
) -> Result<Rows<CommentRow>, Problem> {
    let mut rows: Vec<(Authored, bool)> = on_each!(conn, |c| {
        let mut query = boxed(c, listed!(ticket)).filter(comments::id.eq_any(ids));
        if !sight.internal_too() {
            query = query.filter(comments::visibility.eq(Visibility::Public));
        }
        query.load(c).await
    })?;
    let places: HashMap<CommentId, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    rows.sort_by_key(|((comment, ..), _)| places.get(&comment.id).copied());
    with_bodies(conn, ticket, sight, rows).await
}

/// Fills in the texts that were not read with `rows`, as far as a page has room for them.
async fn with_bodies(
    conn: &mut Conn,
    ticket: &Ticket,
    sight: Sight,
    rows: Vec<(Authored, bool)>,
) -> Result<Rows<CommentRow>, Problem> {
    let rows = rows.into_iter().map(|(row, lacks)| (CommentRow::of(ticket, sight, row), lacks)).collect();
    let fill = async |rows: &mut [(CommentRow, bool)]| {
        let ids: Vec<_> = rows.iter().filter(|(_, lacks)| *lacks).map(|(row, _)| row.comment.id).collect();
        let bodies = comments::table.filter(comments::id.eq_any(ids)).select((comments::id, comments::body));
        let bodies: Vec<(CommentId, String)> = on_each!(conn, |c| bodies.load(c).await)?;
        let mut bodies: HashMap<_, _> = bodies.into_iter().collect();
        for (row, _) in rows.iter_mut() {
            if let Some(body) = bodies.remove(&row.comment.id) {
                row.comment.body = body;
            }
        }
        Ok(())
    };
    Rows::filled(rows, fill, |row| json_b(&row.comment.body)).await
}

fn no_such_comment(problem: Problem) -> Problem {
    let fault = || FieldError::new("after", "not_found", "is no comment on this ticket");
    problem.unless_found(|| Problem::invalid_query(vec![fault()]))
}

/// Stores a new comment.
pub async fn insert(tx: &mut Conn, comment: &Comment) -> Result<(), Problem> {
    let number = raw::<Nullable<BigInt>>(format!("({NEXT}")).bind(comment.ticket_id).sql(")");
    send!(tx, diesel::insert_into(comments::table).values((comment.clone(), comments::number.eq(number))), number_taken)
}

/// Stores a comment of the past of a ticket, which is its comment `number`.
pub async fn insert_past(tx: &mut Conn, comment: &Comment, number: i64) -> Result<(), Problem> {
    send!(tx, diesel::insert_into(comments::table).values((comment.clone(), comments::number.eq(number))), number_taken)
}

/// How many comments `ticket` has, as they are numbered.
pub async fn last_number(tx: &mut Conn, ticket: TicketId) -> Result<i64, Problem> {
    let own = comments::table.filter(comments::ticket_id.eq(ticket)).order(comments::number.desc());
    let last: Option<Option<i64>> = on_each!(tx, |c| own.select(comments::number).first(c).await.optional())?;
    Ok(last.flatten().unwrap_or(0))
}

/// Stores a changed comment.
pub async fn update(tx: &mut Conn, comment: &Comment) -> Result<(), Problem> {
    // One of a version before may have none yet.
    let number =
        raw::<Nullable<BigInt>>(format!("coalesce(comments.number, ({NEXT}")).bind(comment.ticket_id).sql("))");
    let changed = (comment.clone(), comments::number.eq(number));
    send!(tx, steady(diesel::update(comments::table.find(comment.id)).set(changed)), number_taken)
}
