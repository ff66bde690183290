//! The use cases of files: sending, getting, linking and deleting one, and what the service does to them by itself.

pub mod cabinet;
pub mod clamd;
pub mod erase;
pub mod probe;
pub mod scan;

use serde_json::{Value, json};

use self::cabinet::NewFile;
use super::domain::{File, FileOrigin, FileRow, LinkGrant, MOST_B_A_DAY};
use super::policy::{FileSight, may_delete};
use super::store;
use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::domain::Principal;
use crate::auth::policy::Act;
use crate::db::signal::FilesWaiting;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::call::IfMatch;
use crate::http::idempotency::Answers;
use crate::http::{Call, Sealer};
use crate::kernel::{Code, FileId, FileState, Instant, Problem};
use crate::tickets;
use crate::tickets::domain::Ticket;
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;

/// A day, in seconds.
const DAY_S: i64 = 24 * 3600;

/// Passes if `who` may send so many bytes more today.
///
/// # Errors
/// `rate_limited` for a requester who has sent enough.
pub async fn require_room(conn: &mut Conn, who: &Principal, size_b: u64, now: Instant) -> Result<(), Problem> {
    if !who.is_requester() {
        return Ok(());
    }
    let sent_b = store::sent_b(conn, who.id, now.plus_s(-DAY_S)).await?;
    let size_b = i64::try_from(size_b).unwrap_or(i64::MAX);
    if sent_b.saturating_add(size_b) <= MOST_B_A_DAY {
        return Ok(());
    }
    let detail = format!("You may send {} MiB of files in 24 hours. Try again later.", MOST_B_A_DAY >> 20);
    Err(Problem::rate_limited(detail, DAY_S.unsigned_abs() / 24))
}

/// Adds a file whose bytes are stored; nobody but its sender sees it until it is attached to something.
///
/// # Errors
/// As those of [`require_room`].
pub async fn add(tx: &mut Conn, act: &Act, new: &NewFile) -> Result<FileRow, Problem> {
    require_room(tx, &act.who, new.written.size_b, act.now).await?;
    let file = File {
        id: act.id(),
        uploaded_by_id: act.who.id,
        ticket_number: None,
        comment_id: None,
        name: new.head.name.clone(),
        media_type: new.head.media_type.clone(),
        inline_type: new.written.inline_type.map(str::to_owned),
        size_b: i64::try_from(new.written.size_b).map_err(Problem::internal)?,
        sha256: new.written.sha256.clone(),
        store_key: Some(new.key.clone()),
        state: FileState::Unscanned,
        origin: FileOrigin::Upload,
        created_at: act.now,
        attached_at: None,
        version: 1,
    };
    store::insert(tx, &file).await?;
    let waiting = tx.kept_by_name::<FilesWaiting>();
    tx.after_commit(move || waiting.0.give());
    Ok(FileRow { file, ticket_id: None, requester_id: None, visibility: None })
}

/// What a link to `file` grants, signed.
///
/// # Errors
/// When there is no key.
pub fn sign(sealer: &Sealer, file: FileId, until: Instant, inline: bool) -> Result<String, Problem> {
    sealer.sign_link(&LinkGrant { file, until, inline }.to_bytes())
}

/// The file that a link is good for, and whether to show it.
///
/// # Errors
/// `not_found` for what is no link of ours or leads to nothing any more, and `link_expired`.
pub async fn follow(call: &Call, link: &str) -> Result<(FileRow, bool), Problem> {
    let grant = call.sealer().open_link(link).ok_or_else(Problem::not_found)?;
    let grant = LinkGrant::from_bytes(&grant)?;
    if grant.until < call.now() {
        return Err(Problem::new(Code::LinkExpired, "Ask for another link: POST /v1/files/{id}/link."));
    }
    let row = call.db().read(async |conn| store::find_any(conn, grant.file).await).await?;
    Ok((row.ok_or_else(Problem::not_found)?, grant.inline))
}

/// What is named by whoever deletes the file `id`.
///
/// # Errors
/// `not_found`.
pub async fn roots(db: &Db, sight: &FileSight, id: FileId) -> Result<(Roots, Option<i64>), Problem> {
    let row = db.read(async |conn| store::find(conn, sight, id).await).await?;
    let number = row.file.ticket_number;
    Ok((number.map(Root::Ticket).into_iter().collect(), number))
}

/// Deletes a file, which is attached to the ticket `number` if to any: from now on nobody sees it, and its bytes go
/// next. Also on a closed ticket, if an admin does.
///
/// # Errors
/// `not_found`, `version_mismatch`, `forbidden` for somebody else's and for an old one, `ticket_closed`, or `conflict`
/// when it was just attached to something.
pub async fn delete(
    tx: &mut Conn,
    act: &Act,
    (sight, reach): (&FileSight, &Reach),
    (id, number): (FileId, Option<i64>),
    condition: &IfMatch,
    answers: &Answers,
) -> Result<(), Problem> {
    let row = store::find(tx, sight, id).await?;
    condition.check(row.file.version)?;
    let is_admin = may_delete(&act.who, &row.file, act.now)?;
    if row.file.ticket_number != number {
        return Err(Problem::new(Code::Conflict, "The file was just attached to something. Try again."));
    }
    store::mark(tx, id).await?;
    answers.amend(tx, id, tickets::service::without_file_name).await?;
    let waiting = tx.kept_by_name::<FilesWaiting>();
    tx.after_commit(move || waiting.0.give());
    let Some(number) = number else { return Ok(()) };
    let ticket = tickets::store::find(tx, reach, TicketRef::Number(number)).await?;
    if !is_admin {
        ticket.require_not_closed()?;
    }
    record(tx, act, &ticket, &row, EventKind::FileDeleted).await?;
    if let Some(comment) = row.file.comment_id {
        store::move_comment(tx, comment).await?;
    }
    tickets::service::touch(tx, act, ticket, row.visibility()).await
}

async fn record(tx: &mut Conn, act: &Act, ticket: &Ticket, row: &FileRow, kind: EventKind) -> Result<(), Problem> {
    let visibility = row.visibility();
    // What everybody may see makes the ticket another version.
    let version = ticket.version + i64::from(visibility == Visibility::Public);
    let event = Event {
        about: EventSubject::Ticket(ticket.id, version),
        at: act.now,
        actor: Some(act.who.id),
        kind,
        visibility,
        comment_id: row.file.comment_id,
        changes: Change::of("file_ids", json!([row.file.id]), Value::Null).into_iter().collect(),
    };
    crate::audit::store::add(tx, event, &act.clock).await
}
