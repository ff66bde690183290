//! The use cases of comments: one function each, run within one transaction.

use std::collections::HashMap;

use serde_json::json;

use super::policy::{Sight, within_ticket};
use super::store::{self, Comment, CommentRow};
use super::wire::{CommentBody, CommentPatch, CommentWithTicket, NewComment};
use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::policy::Act;
use crate::db::{Conn, Root, Roots};
use crate::files;
use crate::files::domain::FileRow;
use crate::http::call::IfMatch;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::{Code, CommentId, Instant, Problem};
use crate::tickets;
use crate::tickets::domain::Ticket;
use crate::tickets::domain::author::AuthorKind;
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;

/// Adds a comment, and makes the change of the ticket that comes with it. A public comment is a change of the ticket
/// that everybody sees by itself; of an internal one only staff learn when it was.
///
/// # Errors
/// `not_found`, `version_mismatch` or `ticket_closed`; those of a change of the ticket, if one comes with it.
pub async fn add(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    condition: &IfMatch,
    new: NewComment,
) -> Result<CommentRow, Problem> {
    let ticket = tickets::store::find(tx, reach, which).await?;
    condition.check(ticket.version)?;
    ticket.require_not_closed()?;
    let comment = Comment {
        id: act.id(),
        ticket_id: ticket.id,
        author_id: act.who.id,
        visibility: new.visibility,
        body: new.body.into_inner(),
        created_at: act.now,
        edited_at: None,
        redacted_at: None,
        version: 1,
    };
    store::insert(tx, &comment).await?;
    record(tx, act, &ticket, &comment, EventKind::CommentAdded, vec![]).await?;
    let (place, version) = ((comment.id, comment.visibility), next_version(&ticket, &comment));
    tickets::service::attach_files(tx, act, (&ticket, version), Some(place), &new.file_ids.0).await?;
    index(tx, &ticket, &comment).await?;
    let kind = AuthorKind::on(&ticket, act.who.id, act.who.role());
    match comment.visibility {
        Visibility::Public => tickets::service::hear(tx, act, ticket, new.ticket.as_ref()).await?,
        Visibility::Internal => tickets::service::touch(tx, act, ticket, comment.visibility).await?,
    }
    let author = act.who.name.clone();
    let Some(patch) = new.ticket else { return Ok(CommentRow { comment, author, kind }) };
    tickets::service::change(tx, act, reach, which, &IfMatch::any(), patch).await.map_err(within_ticket)?;
    // It may have made them the requester.
    let ticket = tickets::store::find(tx, reach, which).await?;
    Ok(CommentRow { kind: AuthorKind::on(&ticket, act.who.id, act.who.role()), comment, author })
}

/// Adds a comment likewise, and gives it with its files.
///
/// # Errors
/// As those of [`add`].
pub async fn add_with_files(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    condition: &IfMatch,
    new: NewComment,
) -> Result<CommentBody, Problem> {
    let has_files = !new.file_ids.0.is_empty();
    let row = add(tx, act, reach, which, condition, new).await?;
    let mut files = if has_files { files_of(tx, [&row]).await? } else { HashMap::new() };
    Ok(CommentBody::from(row).with_files(&mut files))
}

/// Adds a comment likewise, and gives the ticket as it is then, too.
///
/// # Errors
/// As those of [`add`].
pub async fn add_with_ticket(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    condition: &IfMatch,
    new: NewComment,
) -> Result<CommentWithTicket, Problem> {
    let comment = add_with_files(tx, act, reach, which, condition, new).await?;
    let ticket = tickets::service::read(tx, reach, which, act.now).await?;
    Ok(CommentWithTicket { comment, ticket })
}

/// What is named by whoever adds `new` to `ticket`.
pub fn roots(ticket: &Ticket, new: &NewComment) -> Roots {
    match &new.ticket {
        Some(patch) => tickets::service::roots_of_change(ticket, patch),
        None => Root::Ticket(ticket.number).into(),
    }
}

/// Gives one's own comment a new text.
///
/// # Errors
/// `not_found`, `version_mismatch`, `forbidden` for somebody else's comment, `ticket_closed`, or `conflict` for a
/// redacted one.
pub async fn edit(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    place: (TicketRef, CommentId),
    condition: &IfMatch,
    patch: CommentPatch,
) -> Result<CommentRow, Problem> {
    let ticket = tickets::store::find(tx, reach, place.0).await?;
    let CommentRow { comment, author, kind } = store::find(tx, &ticket, Sight::of(&act.who), place.1).await?;
    condition.check(comment.version)?;
    if comment.author_id != act.who.id {
        let detail = "Only its author may edit a comment.";
        return Err(Problem::new(Code::Forbidden, detail).with("author_id", comment.author_id.to_string()));
    }
    ticket.require_not_closed()?;
    if comment.redacted_at.is_some() {
        return Err(Problem::new(Code::Conflict, "A redacted comment stays empty. Add a new one."));
    }
    let body = patch.body.into_inner();
    let Some(change) = Change::of("body", json!(comment.body), json!(body)) else {
        return Ok(CommentRow { comment, author, kind });
    };
    let edited = Comment { body, edited_at: Some(act.now), version: comment.version + 1, ..comment };
    if act.who.is_requester() {
        crate::audit::store::require_room_for_requester(tx, ticket.id).await?;
    }
    store::update(tx, &edited).await?;
    record(tx, act, &ticket, &edited, EventKind::CommentEdited, vec![change]).await?;
    index(tx, &ticket, &edited).await?;
    tickets::service::touch(tx, act, ticket, edited.visibility).await?;
    Ok(CommentRow { comment: edited, author, kind })
}

/// Removes a comment's text and files for good, from the audit trail and the kept answers, too; also on a closed
/// ticket. A second time changes nothing.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn redact(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    place: (TicketRef, CommentId),
    condition: &IfMatch,
    answers: &Answers,
) -> Result<(), Problem> {
    let ticket = tickets::store::find(tx, reach, place.0).await?;
    // An admin redacts what they may not read, too: the token's scope is that of administration.
    let CommentRow { comment, .. } = store::find(tx, &ticket, Sight::of_admins(), place.1).await?;
    condition.check(comment.version)?;
    if comment.redacted_at.is_some() {
        return Ok(());
    }
    let redacted = Comment { body: String::new(), redacted_at: Some(act.now), version: comment.version + 1, ..comment };
    store::update(tx, &redacted).await?;
    crate::audit::store::scrub(tx, redacted.id).await?;
    answers.amend(tx, redacted.id, |said| without_text(said, act.now)).await?;
    tickets::service::erase_files(tx, &ticket, Some(redacted.id), answers).await?;
    index(tx, &ticket, &redacted).await?;
    tickets::service::erase_words(tx).await?;
    record(tx, act, &ticket, &redacted, EventKind::CommentRedacted, vec![]).await?;
    tickets::service::touch(tx, act, ticket, redacted.visibility).await
}

/// What an answer said of a comment, without its text, which was redacted at `now`.
fn without_text(said: &mut Said, now: Instant) {
    for (field, value) in said.iter_mut() {
        match field.as_str() {
            "body" => *value = "".into(),
            "files" => *value = json!([]),
            "redacted_at" => *value = serde_json::json!(now),
            _ => {}
        }
    }
}

async fn index(tx: &mut Conn, ticket: &Ticket, comment: &Comment) -> Result<(), Problem> {
    tickets::service::index_comment(tx, ticket, comment.id, comment.visibility, &comment.body).await
}

/// What everybody may see makes the ticket another version.
fn next_version(ticket: &Ticket, comment: &Comment) -> i64 {
    ticket.version + i64::from(comment.visibility == Visibility::Public)
}

async fn record(
    tx: &mut Conn,
    act: &Act,
    ticket: &Ticket,
    comment: &Comment,
    kind: EventKind,
    changes: Vec<Change>,
) -> Result<(), Problem> {
    let event = Event {
        about: EventSubject::Ticket(ticket.id, next_version(ticket, comment)),
        at: act.now,
        actor: Some(act.who.id),
        kind,
        visibility: comment.visibility,
        comment_id: Some(comment.id),
        changes,
    };
    crate::audit::store::add(tx, event, &act.clock).await
}

/// The files of these comments, by the ids of the comments: one statement, and none when there are no comments.
pub async fn files_of(
    conn: &mut Conn,
    rows: impl IntoIterator<Item = &CommentRow>,
) -> Result<HashMap<CommentId, Vec<FileRow>>, Problem> {
    files::store::of_comments(conn, rows.into_iter().map(|row| row.comment.id).collect()).await
}
