//! What was said last on the tickets of a page, and how much.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::audit::domain::Visibility;
use crate::auth::domain::Role;
use crate::db::raw::{one_of, raw};
use crate::db::schema::{comments, principals, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::sql::Guid;
use crate::kernel::{CommentId, Instant, PrincipalId, Problem, TicketId};
use crate::tickets::domain::highlight::LOOKED_THROUGH;

/// Up to how many comments on a ticket are counted.
pub const MOST_COUNTED: i64 = 1_000;

/// What stands for nothing at the beginning of a comment.
const BLANKS: &str = " \t\n\r";

/// How many characters of a comment are read, of which an excerpt is made.
const READ_OF_IT: u16 = 400;

/// What was said on a ticket, as far as somebody may see it.
#[derive(Debug, Clone, Default)]
pub struct Talk {
    /// How many comments there are, up to [`MOST_COUNTED`].
    pub count: i64,
    /// The last one.
    pub last: Option<LastComment>,
}

/// The last comment on a ticket.
#[derive(Debug, Clone, Queryable)]
pub struct LastComment {
    id: CommentId,
    /// When it was written.
    pub at: Instant,
    /// Who wrote it, by id.
    pub author_id: PrincipalId,
    /// Who wrote it, by name.
    pub author: String,
    /// Their role; nothing of a service account.
    pub role: Option<Role>,
    /// How it begins; empty once redacted.
    pub beginning: String,
}

/// How many of the last comments on a ticket are looked through for what somebody searches.
pub const MOST_LOOKED_THROUGH: i64 = 20;

/// The last comments on `ticket`, the newest first, and how they begin.
pub async fn last_texts(
    conn: &mut Conn,
    ticket: TicketId,
    internal_too: bool,
) -> Result<Vec<(CommentId, String)>, Problem> {
    let beginning = raw::<Text>(format!("substr(comments.body, 1, {LOOKED_THROUGH})"));
    let texts: Vec<(CommentId, String)> = on_each!(conn, |c| {
        let mut query = boxed(c, comments::table.filter(comments::ticket_id.eq(ticket)));
        if !internal_too {
            query = query.filter(comments::visibility.eq(Visibility::Public));
        }
        query.order(comments::id.desc()).limit(MOST_LOOKED_THROUGH).select((comments::id, beginning)).load(c).await
    })?;
    Ok(texts)
}

/// What was said on the tickets with these numbers, by their numbers: two statements, however many there are.
pub async fn talk(conn: &mut Conn, numbers: &[i64], internal_too: bool) -> Result<HashMap<i64, Talk>, Problem> {
    let seen = if internal_too { String::new() } else { format!(" AND c.visibility = '{}'", Visibility::Public) };
    let own = format!("comments AS c WHERE c.ticket_id = tickets.id{seen}");
    let count = format!("(SELECT count(*) FROM (SELECT 1 FROM {own} LIMIT {MOST_COUNTED}) AS seen)");
    let last = format!("(SELECT c.id FROM {own} ORDER BY c.id DESC LIMIT 1)");
    let these = tickets::table.filter(one_of("tickets.number", numbers));
    let these = these.select((tickets::number, raw::<BigInt>(count), raw::<Nullable<Guid>>(last)));
    let counted: Vec<(i64, i64, Option<CommentId>)> = on_each!(conn, |c| these.load(c).await)?;
    let ids: Vec<CommentId> = counted.iter().filter_map(|(_, _, last)| *last).collect();
    if ids.is_empty() {
        return Ok(counted.into_iter().map(|(number, count, _)| (number, Talk { count, last: None })).collect());
    }
    // Behind what is blank.
    let beginning = raw::<Text>(format!("substr(ltrim(comments.body, '{BLANKS}'), 1, {READ_OF_IT})"));
    let columns =
        (comments::id, comments::created_at, comments::author_id, principals::name, principals::role, beginning);
    let lasts = comments::table.inner_join(principals::table).filter(comments::id.eq_any(ids)).select(columns);
    let lasts: Vec<LastComment> = on_each!(conn, |c| lasts.load(c).await)?;
    let mut lasts: HashMap<CommentId, LastComment> = lasts.into_iter().map(|last| (last.id, last)).collect();
    let talk = |(number, count, last): (i64, i64, Option<CommentId>)| {
        (number, Talk { count, last: last.and_then(|id| lasts.remove(&id)) })
    };
    Ok(counted.into_iter().map(talk).collect())
}
