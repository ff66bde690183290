//! Queries for files. One is found together with what it is attached to, by which it is judged who may see it.

pub mod bucket;
pub mod bytes;
pub mod draft;
pub mod local;

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use uuid::Uuid;

use super::domain::{File, FileOrigin, FileRow};
use super::policy::FileSight;
use crate::audit::domain::Visibility;
use crate::db::raw::raw;
use crate::db::schema::{comments, file_probes, files, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, load_free, on_each};
use crate::kernel::rows::Limit;
use crate::kernel::{AnyId, CommentId, FileId, FileState, Instant, PrincipalId, Problem, TicketId};

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = files, treat_none_as_default_value = false)]
struct StoredFile {
    id: FileId,
    uploaded_by_id: PrincipalId,
    ticket_number: Option<i64>,
    comment_id: Option<CommentId>,
    name: String,
    media_type: String,
    inline_type: Option<String>,
    size_b: i64,
    sha256: Vec<u8>,
    store_key: Option<String>,
    state: FileState,
    origin: FileOrigin,
    created_at: Instant,
    attached_at: Option<Instant>,
    version: i64,
}

impl From<StoredFile> for File {
    fn from(row: StoredFile) -> Self {
        Self {
            id: row.id,
            uploaded_by_id: row.uploaded_by_id,
            ticket_number: row.ticket_number,
            comment_id: row.comment_id,
            name: row.name,
            media_type: row.media_type,
            inline_type: row.inline_type,
            size_b: row.size_b,
            sha256: row.sha256,
            store_key: row.store_key,
            state: row.state,
            origin: row.origin,
            created_at: row.created_at,
            attached_at: row.attached_at,
            version: row.version,
        }
    }
}

type JoinedFile = (StoredFile, Option<TicketId>, Option<PrincipalId>, Option<Visibility>);

impl From<JoinedFile> for FileRow {
    fn from((stored, ticket_id, requester_id, visibility): JoinedFile) -> Self {
        Self { file: stored.into(), ticket_id, requester_id, visibility }
    }
}

/// Files with their places, but for those that are being erased.
macro_rules! with_places {
    () => {
        files::table
            .left_join(tickets::table.on(tickets::number.nullable().eq(files::ticket_number)))
            .left_join(comments::table.on(comments::id.nullable().eq(files::comment_id)))
            .filter(files::state.ne(FileState::Erasing))
            .select((
                StoredFile::as_select(),
                tickets::id.nullable(),
                tickets::requester_id.nullable(),
                comments::visibility.nullable(),
            ))
    };
}

/// The file `id`, if it is within `sight`.
///
/// # Errors
/// `not_found`, the same for one that there is not and for one out of sight.
pub async fn find(conn: &mut Conn, sight: &FileSight, id: FileId) -> Result<FileRow, Problem> {
    let row = find_any(conn, id).await?;
    row.filter(|row| sight.sees(row)).ok_or_else(Problem::not_found)
}

/// The file `id`, whoever may see it.
pub async fn find_any(conn: &mut Conn, id: FileId) -> Result<Option<FileRow>, Problem> {
    let row: Option<JoinedFile> =
        on_each!(conn, |c| with_places!().filter(files::id.eq(id)).first(c).await.optional())?;
    Ok(row.map(FileRow::from))
}

/// A page of the files of the ticket `number` and of its comments, as far as they are within `sight`, in the order in
/// which they were sent. The caller has proved access to the ticket.
pub async fn of_ticket(
    conn: &mut Conn,
    number: i64,
    sight: &FileSight,
    after: Option<FileId>,
    limit: Limit,
) -> Result<Vec<FileRow>, Problem> {
    let rows: Vec<JoinedFile> = on_each!(conn, |c| {
        let mut query = boxed(c, with_places!().filter(files::ticket_number.eq(number)));
        if !sight.on_tickets() {
            query = query.filter(files::comment_id.is_not_null());
        }
        if !sight.on_comments() {
            query = query.filter(files::comment_id.is_null());
        }
        if !sight.internal_too() {
            let is_public = comments::visibility.eq(Visibility::Public).assume_not_null();
            query = query.filter(files::comment_id.is_null().or(is_public));
        }
        if let Some(after) = after {
            query = query.filter(files::id.gt(after));
        }
        query.order(files::id.asc()).limit(limit.and_one()).load(c).await
    })?;
    Ok(rows.into_iter().map(FileRow::from).collect())
}

/// The files of these comments, which the caller may see, each comment's in the order in which they were sent.
pub async fn of_comments(
    conn: &mut Conn,
    comments: Vec<CommentId>,
) -> Result<HashMap<CommentId, Vec<FileRow>>, Problem> {
    if comments.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<JoinedFile> =
        on_each!(conn, |c| with_places!().filter(files::comment_id.eq_any(comments)).load(c).await)?;
    let mut rows: Vec<FileRow> = rows.into_iter().map(FileRow::from).collect();
    rows.sort_by_key(|row| row.file.id);
    let mut all: HashMap<_, Vec<FileRow>> = HashMap::new();
    for row in rows {
        if let Some(comment) = row.file.comment_id {
            all.entry(comment).or_default().push(row);
        }
    }
    Ok(all)
}

/// How many bytes `who` has sent since `since`.
pub async fn sent_b(conn: &mut Conn, who: PrincipalId, since: Instant) -> Result<i64, Problem> {
    let own = files::table.filter(files::uploaded_by_id.eq(who).and(files::created_at.gt(since)));
    // PostgreSQL adds BIGINTs up to a NUMERIC.
    let total = raw::<Nullable<BigInt>>("CAST(SUM(files.size_b) AS BIGINT)");
    let total: Option<i64> = on_each!(conn, |c| own.select(total).first(c).await)?;
    Ok(total.unwrap_or(0))
}

/// Stores a new file, to be scanned from `created_at` on.
pub async fn insert(tx: &mut Conn, file: &File) -> Result<(), Problem> {
    let file = file.clone();
    let scan_at = files::scan_at.eq(file.created_at);
    let row = StoredFile {
        id: file.id,
        uploaded_by_id: file.uploaded_by_id,
        ticket_number: file.ticket_number,
        comment_id: file.comment_id,
        name: file.name,
        media_type: file.media_type,
        inline_type: file.inline_type,
        size_b: file.size_b,
        sha256: file.sha256,
        store_key: file.store_key,
        state: file.state,
        origin: file.origin,
        created_at: file.created_at,
        attached_at: file.attached_at,
        version: file.version,
    };
    on_each!(tx, |c| diesel::insert_into(files::table).values((row, scan_at)).execute(c).await)?;
    Ok(())
}

/// Lets go of the file `id`: nobody sees it any more, what it is called is gone, and its bytes go next.
pub async fn mark(tx: &mut Conn, id: FileId) -> Result<(), Problem> {
    let this = diesel::update(files::table.find(id));
    let marked = (files::state.eq(FileState::Erasing), files::name.eq(""), files::version.eq(files::version + 1));
    on_each!(tx, |c| this.set(marked).execute(c).await)?;
    Ok(())
}

/// Makes the comment `id` another version, of whose files one is no more.
pub async fn move_comment(tx: &mut Conn, id: CommentId) -> Result<(), Problem> {
    let this = diesel::update(comments::table.find(id)).set(comments::version.eq(comments::version + 1));
    on_each!(tx, |c| this.execute(c).await)?;
    Ok(())
}

/// Marks at most `most` files that were sent before `before` and are attached to nothing; gives how many.
pub async fn mark_unattached(tx: &mut Conn, before: Instant, most: i64) -> Result<usize, Problem> {
    let old = files::table
        .filter(files::ticket_number.is_null().and(files::created_at.lt(before)))
        .filter(files::state.ne(FileState::Erasing))
        .order(files::created_at)
        .limit(most)
        .select(files::id);
    let ids: Vec<FileId> = load_free!(tx, old)?;
    let marked = (files::state.eq(FileState::Erasing), files::name.eq(""), files::version.eq(files::version + 1));
    let these = diesel::update(files::table.filter(files::id.eq_any(ids)));
    Ok(on_each!(tx, |c| these.set(marked).execute(c).await)?)
}

/// At most `most` files that are to be scanned now, those that wait longest first.
pub async fn waiting_for_scan(conn: &mut Conn, now: Instant, most: i64) -> Result<Vec<File>, Problem> {
    let rows: Vec<JoinedFile> = on_each!(conn, |c| {
        let waiting = with_places!().filter(files::state.eq(FileState::Unscanned)).filter(files::scan_at.le(now));
        waiting.order(files::scan_at.asc()).limit(most).load(c).await
    })?;
    Ok(rows.into_iter().map(|row| FileRow::from(row).file).collect())
}

/// The id of the ticket `number`, and the version that it has.
pub async fn version_of_ticket(tx: &mut Conn, number: i64) -> Result<(TicketId, i64), Problem> {
    let this = tickets::table.find(number).select((tickets::id, tickets::version));
    Ok(on_each!(tx, |c| this.first(c).await)?)
}

/// Puts off until `at` that the file `id` is scanned.
pub async fn put_scan_off(tx: &mut Conn, id: FileId, at: Instant) -> Result<(), Problem> {
    let this = diesel::update(files::table.find(id)).set(files::scan_at.eq(at));
    on_each!(tx, |c| this.execute(c).await)?;
    Ok(())
}

/// Writes down that the file `id`, which is not scanned yet, is in `state`, as a scanner has found.
pub async fn judge(tx: &mut Conn, id: FileId, state: FileState) -> Result<(), Problem> {
    let this = diesel::update(files::table.find(id));
    let judged = (files::state.eq(state), files::version.eq(files::version + 1));
    on_each!(tx, |c| this.set(judged).execute(c).await)?;
    Ok(())
}

/// A file whose bytes are to go.
#[derive(Debug, Clone, Queryable)]
pub struct DoomedFile {
    /// The file.
    pub id: FileId,
    /// Where its bytes are, if there are any left.
    pub store_key: Option<String>,
}

/// At most `most` files that are to be erased, and of infected ones those whose bytes are still there.
pub async fn doomed(conn: &mut Conn, most: i64) -> Result<Vec<DoomedFile>, Problem> {
    let marked = files::state.eq(FileState::Erasing);
    let infected = files::state.eq(FileState::Infected).and(files::store_key.is_not_null());
    let some = files::table.filter(marked.or(infected)).order(files::id).limit(most);
    Ok(on_each!(conn, |c| some.select((files::id, files::store_key)).load(c).await)?)
}

/// Removes those of `ids` that are marked, whose bytes are gone; of infected ones it stays that they were there.
pub async fn forget(tx: &mut Conn, ids: &[FileId]) -> Result<(), Problem> {
    let marked = files::table.filter(files::id.eq_any(ids)).filter(files::state.eq(FileState::Erasing));
    on_each!(tx, |c| diesel::delete(marked).execute(c).await)?;
    let infected = files::table.filter(files::id.eq_any(ids)).filter(files::state.eq(FileState::Infected));
    let without = files::store_key.eq(None::<String>);
    on_each!(tx, |c| diesel::update(infected).set(without).execute(c).await)?;
    tx.erase();
    Ok(())
}

/// Which of `keys` a row knows of.
pub async fn known_keys(conn: &mut Conn, keys: &[String]) -> Result<Vec<String>, Problem> {
    let known = files::table.filter(files::store_key.eq_any(keys)).select(files::store_key.assume_not_null());
    Ok(on_each!(conn, |c| known.load(c).await)?)
}

/// A file that should have bytes.
#[derive(Debug, Clone, Queryable)]
pub struct FileWithBytes {
    /// The file.
    pub id: FileId,
    /// Where they should be.
    pub store_key: String,
    /// How many.
    pub size_b: i64,
}

/// The next files that should have bytes, behind `after`, at most `most`.
pub async fn with_bytes(conn: &mut Conn, after: Option<FileId>, most: i64) -> Result<Vec<FileWithBytes>, Problem> {
    let first = after.unwrap_or(FileId(Uuid::nil()));
    let live = files::state.eq_any([FileState::Unscanned, FileState::Clean]).and(files::store_key.is_not_null());
    let some = files::table.filter(files::id.gt(first)).filter(live).order(files::id).limit(most);
    let some = some.select((files::id, files::store_key.assume_not_null(), files::size_b));
    Ok(on_each!(conn, |c| some.load(c).await)?)
}

/// Notes that `instance` has left a sign of itself at `now`, and forgets those that have left none since `since`; gives
/// these.
pub async fn note_probe(tx: &mut Conn, instance: Uuid, now: Instant, since: Instant) -> Result<Vec<Uuid>, Problem> {
    let old = file_probes::table.filter(file_probes::written_at.lt(since)).select(file_probes::instance_id);
    let gone: Vec<AnyId> = on_each!(tx, |c| old.load(c).await)?;
    for id in [AnyId(instance)].iter().chain(&gone) {
        on_each!(tx, |c| diesel::delete(file_probes::table.find(*id)).execute(c).await)?;
    }
    let row = (file_probes::instance_id.eq(AnyId(instance)), file_probes::written_at.eq(now));
    on_each!(tx, |c| diesel::insert_into(file_probes::table).values(row).execute(c).await)?;
    Ok(gone.into_iter().map(|id| id.0).collect())
}

/// The instances that have left a sign of themselves since `since`.
pub async fn probes(conn: &mut Conn, since: Instant) -> Result<Vec<Uuid>, Problem> {
    let there = file_probes::table.filter(file_probes::written_at.ge(since)).order(file_probes::instance_id);
    let there: Vec<AnyId> = on_each!(conn, |c| there.select(file_probes::instance_id).load(c).await)?;
    Ok(there.into_iter().map(|id| id.0).collect())
}
