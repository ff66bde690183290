//! The index of words: FTS5 on SQLite, a `tsvector` with a GIN index on PostgreSQL. A ticket is a document in it, and
//! each comment another one. What is found in it is told by [`hits`](super::hits), how it is written and asked on each
//! engine by the [`dialect`](super::dialect).

use std::collections::HashMap;

use diesel::prelude::*;

pub use super::dialect::hits::Place;
pub use super::dialect::words::{
    begin_merge, empty, empty_comments, go_on_merging, is_whole, merge_some, ordinal, put, put_comment,
};
pub use super::hits::readable;
use crate::audit::domain::Visibility;
use crate::db::schema::{comments, principals, tickets, words_backlog};
use crate::db::{Conn, RunQueryDsl, fault, on_each, send, steady};
use crate::kernel::{CommentId, PrincipalId, Problem, TicketId};
use crate::tickets::domain::Ticket;

/// The largest number of a comment on `ticket`; 0 when none has one.
pub async fn last_ordinal(tx: &mut Conn, ticket: TicketId) -> Result<i64, Problem> {
    let query = comments::table.filter(comments::ticket_id.eq(ticket)).order(comments::number.desc());
    let query = query.filter(comments::number.is_not_null()).select(comments::number);
    let last: Option<Option<i64>> = on_each!(tx, |c| query.first(c).await.optional())?;
    Ok(last.flatten().unwrap_or(0))
}

/// Two who numbered comments on one ticket raced: the next attempt takes the next number.
pub fn number_taken(error: diesel::result::Error) -> Problem {
    if fault::is_duplicate(&error, "comments_number_key", "comments.ticket_id, comments.number") {
        return Problem::transient(error);
    }
    error.into()
}

/// Numbers at most `most` comments on `ticket` that have none, since they are of a version before; gives how many.
pub async fn number_comments(tx: &mut Conn, ticket: TicketId, most: usize) -> Result<usize, Problem> {
    let without = comments::table.filter(comments::ticket_id.eq(ticket).and(comments::number.is_null()));
    let without = without.order(comments::id).limit(i64::try_from(most).unwrap_or(i64::MAX)).select(comments::id);
    let without: Vec<CommentId> = on_each!(tx, |c| without.load(c).await)?;
    if without.is_empty() {
        return Ok(0);
    }
    let last = last_ordinal(tx, ticket).await?;
    for (id, number) in without.iter().zip(last + 1..) {
        let numbered = diesel::update(comments::table.find(*id)).set(comments::number.eq(Some(number)));
        send!(tx, steady(numbered), number_taken)?;
    }
    Ok(without.len())
}

/// At most `most` comments on `ticket` with numbers from `from` on, by their numbers: whether they are internal, and
/// their texts.
pub async fn texts(
    conn: &mut Conn,
    ticket: TicketId,
    from: i64,
    most: usize,
) -> Result<Vec<(i64, bool, String)>, Problem> {
    let these = comments::table.filter(comments::ticket_id.eq(ticket).and(comments::number.ge(from.max(1))));
    let these = these.order(comments::number).limit(i64::try_from(most).unwrap_or(i64::MAX));
    let these = these.select((comments::number.assume_not_null(), comments::visibility, comments::body));
    let rows: Vec<(i64, Visibility, String)> = on_each!(conn, |c| these.load(c).await)?;
    Ok(rows.into_iter().map(|(number, sight, body)| (number, sight == Visibility::Internal, body)).collect())
}

/// Which of these tickets have comments.
pub async fn commented(conn: &mut Conn, among: Vec<TicketId>) -> Result<Vec<TicketId>, Problem> {
    let query = comments::table.filter(comments::ticket_id.eq_any(among)).select(comments::ticket_id).distinct();
    Ok(on_each!(conn, |c| query.load(c).await)?)
}

/// What these people are called, and their addresses.
pub async fn requesters(
    conn: &mut Conn,
    ids: Vec<PrincipalId>,
) -> Result<HashMap<PrincipalId, (String, Option<String>)>, Problem> {
    let these = principals::table.filter(principals::id.eq_any(ids));
    let these = these.select((principals::id, principals::name, principals::email));
    let rows: Vec<(PrincipalId, String, Option<String>)> = on_each!(conn, |c| these.load(c).await)?;
    Ok(rows.into_iter().map(|(id, name, email)| (id, (name, email))).collect())
}

/// Tickets that wait to be indexed, from the one with the largest number on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct Waiting {
    /// The largest number.
    pub until: i64,
    /// The smallest.
    pub from: i64,
    /// From which number on the comments of the first of them wait; with 0, the ticket itself, too.
    pub next_comment: i64,
}

/// The newest tickets that wait to be indexed.
///
/// # Errors
/// As [`readable`].
pub async fn waiting(conn: &mut Conn) -> Result<Option<Waiting>, Problem> {
    readable(conn).await?;
    let newest = words_backlog::table.order(words_backlog::until_number.desc());
    Ok(on_each!(conn, |c| newest.first(c).await.optional())?)
}

/// Lets `left` wait in place of all that begins where `done` or `left` does.
///
/// # Errors
/// A transient problem when another instance does so right now.
pub async fn set_waiting(tx: &mut Conn, done: Waiting, left: Option<Waiting>) -> Result<(), Problem> {
    remove_waiting(tx, done.until).await?;
    let Some(mut left) = left else { return Ok(()) };
    let there = words_backlog::table.filter(words_backlog::until_number.eq(left.until));
    let there: Option<Waiting> = on_each!(tx, |c| there.first(c).await.optional())?;
    if let Some(there) = there {
        left.from = left.from.min(there.from);
        left.next_comment = left.next_comment.min(there.next_comment);
        remove_waiting(tx, left.until).await?;
    }
    let row = (
        words_backlog::until_number.eq(left.until),
        words_backlog::from_number.eq(left.from),
        words_backlog::next_comment.eq(left.next_comment),
    );
    on_each!(tx, |c| diesel::insert_into(words_backlog::table).values(row).execute(c).await)?;
    Ok(())
}

async fn remove_waiting(tx: &mut Conn, until: i64) -> Result<(), Problem> {
    let row = words_backlog::table.filter(words_backlog::until_number.eq(until));
    on_each!(tx, |c| diesel::delete(row).execute(c).await)?;
    Ok(())
}

/// At most `most` of the tickets that wait, the newest first.
pub async fn newest(conn: &mut Conn, waiting: &Waiting, most: u16) -> Result<Vec<Ticket>, Problem> {
    let these = tickets::table.filter(tickets::number.between(waiting.from, waiting.until));
    let these = these.order(tickets::number.desc()).limit(most.into());
    Ok(on_each!(conn, |c| these.select(Ticket::as_select()).load(c).await)?)
}
