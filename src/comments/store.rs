//! Queries for comments. A comment is found only on a ticket that was found, and only within a [`Sight`].

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};

use super::policy::Sight;
use crate::audit::domain::Visibility;
use crate::db::raw::{raw, small};
use crate::db::schema::{comments, principals};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send, steady};
use crate::kernel::rows::{Limit, Rows, json_b};
use crate::kernel::{CommentId, Instant, PrincipalId, Problem, TicketId};
use crate::tickets::domain::Ticket;
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
#[derive(Debug, Queryable)]
pub struct CommentRow {
    /// The comment.
    pub comment: Comment,
    /// The author's name.
    pub author: String,
}

/// The comment `id` on `ticket`.
///
/// # Errors
/// `not_found`, the same for a comment that does not exist and for one out of sight.
pub async fn find(conn: &mut Conn, ticket: &Ticket, sight: Sight, id: CommentId) -> Result<CommentRow, Problem> {
    let row: Option<CommentRow> = on_each!(conn, |c| {
        comments::table
            .inner_join(principals::table)
            .filter(comments::id.eq(id).and(comments::ticket_id.eq(ticket.id)))
            .select((Comment::as_select(), principals::name))
            .first(c)
            .await
            .optional()
    })?;
    row.filter(|row| sight.internal_too() || row.comment.visibility == Visibility::Public)
        .ok_or_else(Problem::not_found)
}

/// A page of the comments on `ticket`, oldest first.
pub async fn list(
    conn: &mut Conn,
    ticket: &Ticket,
    sight: Sight,
    after: Option<CommentId>,
    limit: Limit,
) -> Result<Rows<CommentRow>, Problem> {
    let rows: Vec<(CommentRow, bool)> = on_each!(conn, |c| {
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
        let all = comments::table.inner_join(principals::table).filter(comments::ticket_id.eq(ticket.id));
        let mut query = boxed(c, all.select(((comment, principals::name), raw::<Bool>(lacks))));
        if !sight.internal_too() {
            query = query.filter(comments::visibility.eq(Visibility::Public));
        }
        if let Some(after) = after {
            query = query.filter(comments::id.gt(after));
        }
        query.order(comments::id.asc()).limit(limit.and_one()).load(c).await
    })?;
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

/// Stores a new comment.
pub async fn insert(tx: &mut Conn, comment: &Comment) -> Result<(), Problem> {
    let number = raw::<Nullable<BigInt>>(format!("({NEXT}")).bind(comment.ticket_id).sql(")");
    send!(tx, diesel::insert_into(comments::table).values((comment.clone(), comments::number.eq(number))), number_taken)
}

/// Stores a changed comment.
pub async fn update(tx: &mut Conn, comment: &Comment) -> Result<(), Problem> {
    // One of a version before may have none yet.
    let number =
        raw::<Nullable<BigInt>>(format!("coalesce(comments.number, ({NEXT}")).bind(comment.ticket_id).sql("))");
    let changed = (comment.clone(), comments::number.eq(number));
    send!(tx, steady(diesel::update(comments::table.find(comment.id)).set(changed)), number_taken)
}
