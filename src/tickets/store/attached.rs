//! Queries for the files of tickets and comments: that they are attached, and that they go with their texts.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::audit::domain::Visibility;
use crate::db::raw::raw;
use crate::db::schema::files;
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{CommentId, FileId, FileState, Instant, PrincipalId, Problem};

/// To what files are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePlace {
    /// The ticket.
    pub ticket_number: i64,
    /// A comment on it.
    pub comment_id: Option<CommentId>,
}

/// Those of `ids` that `who` has sent, are attached to nothing, and may still be had.
pub async fn free(tx: &mut Conn, who: PrincipalId, ids: &[FileId]) -> Result<Vec<FileId>, Problem> {
    let own = files::table.filter(files::id.eq_any(ids).and(files::uploaded_by_id.eq(who)));
    let free = own.filter(files::ticket_number.is_null()).filter(files::state.eq_any(LIVE)).select(files::id);
    Ok(on_each!(tx, |c| free.load(c).await)?)
}

/// The states of files that may be attached.
const LIVE: [FileState; 2] = [FileState::Unscanned, FileState::Clean];

/// How many files there are on internal comments of the ticket, or on the ticket itself and its other comments.
pub async fn count(tx: &mut Conn, ticket_number: i64, visibility: Visibility) -> Result<i64, Problem> {
    let of = "coalesce((SELECT c.visibility FROM comments c WHERE c.id = files.comment_id), 'public') = ";
    let is_so = raw::<Bool>(of).bind(visibility.as_str().to_owned());
    let own = files::table.filter(files::ticket_number.eq(ticket_number)).filter(files::state.ne(FileState::Erasing));
    Ok(on_each!(tx, |c| own.filter(is_so).count().get_result(c).await)?)
}

/// Attaches `ids`, which are free; gives how many still were.
pub async fn attach(tx: &mut Conn, ids: &[FileId], to: FilePlace, now: Instant) -> Result<usize, Problem> {
    let free = files::ticket_number.is_null().and(files::state.eq_any(LIVE));
    let these = diesel::update(files::table.filter(files::id.eq_any(ids)).filter(free));
    let attached = (
        files::ticket_number.eq(to.ticket_number),
        files::comment_id.eq(to.comment_id),
        files::attached_at.eq(now),
        files::version.eq(files::version + 1),
    );
    Ok(on_each!(tx, |c| these.set(attached).execute(c).await)?)
}

/// Lets go of all files of a comment, or of a ticket and all of its comments: nobody sees them any more, what they are
/// called is gone, and their bytes go next. Gives their ids.
pub async fn mark(tx: &mut Conn, ticket_number: i64, comment_id: Option<CommentId>) -> Result<Vec<FileId>, Problem> {
    let all = files::table.filter(files::ticket_number.eq(ticket_number)).filter(files::state.ne(FileState::Erasing));
    let all = all.select((files::id, files::comment_id));
    let all: Vec<(FileId, Option<CommentId>)> = on_each!(tx, |c| all.load(c).await)?;
    let meant = all.into_iter().filter(|(_, of)| comment_id.is_none() || *of == comment_id);
    let ids: Vec<FileId> = meant.map(|(id, _)| id).collect();
    if !ids.is_empty() {
        let these = diesel::update(files::table.filter(files::id.eq_any(ids.clone())));
        let marked = (files::state.eq(FileState::Erasing), files::name.eq(""), files::version.eq(files::version + 1));
        on_each!(tx, |c| these.set(marked).execute(c).await)?;
    }
    Ok(ids)
}
