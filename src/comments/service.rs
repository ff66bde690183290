//! The use cases of comments: one function each, run within one transaction.

use serde_json::json;

use super::policy::Sight;
use super::store::{self, Comment, CommentRow};
use super::wire::{CommentPatch, NewComment};
use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::policy::Act;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::{Code, CommentId, Instant, Problem};
use crate::tickets;
use crate::tickets::domain::Ticket;
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;

/// Adds a comment. A public one is a change of the ticket that everybody sees; of an internal one only staff learn when
/// it was.
///
/// # Errors
/// `not_found` or `ticket_closed`.
pub async fn add(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    new: NewComment,
) -> Result<CommentRow, Problem> {
    let ticket = tickets::store::find(tx, reach, which).await?;
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
    match comment.visibility {
        Visibility::Public => tickets::service::hear(tx, act, ticket).await?,
        Visibility::Internal => tickets::service::touch(tx, act, ticket, comment.visibility).await?,
    }
    Ok(CommentRow { comment, author: act.who.name.clone() })
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
    let CommentRow { comment, author } = store::find(tx, &ticket, Sight::of(&act.who), place.1).await?;
    condition.check(comment.version)?;
    if comment.author_id != act.who.id {
        return Err(Problem::new(Code::Forbidden, "Only its author may edit a comment."));
    }
    ticket.require_not_closed()?;
    if comment.redacted_at.is_some() {
        return Err(Problem::new(Code::Conflict, "A redacted comment stays empty. Add a new one."));
    }
    let body = patch.body.into_inner();
    let Some(change) = Change::of("body", json!(comment.body), json!(body)) else {
        return Ok(CommentRow { comment, author });
    };
    let edited = Comment { body, edited_at: Some(act.now), version: comment.version + 1, ..comment };
    if act.who.is_requester() {
        crate::audit::store::require_room_for_requester(tx, ticket.id).await?;
    }
    store::update(tx, &edited).await?;
    record(tx, act, &ticket, &edited, EventKind::CommentEdited, vec![change]).await?;
    index(tx, &ticket, &edited).await?;
    tickets::service::touch(tx, act, ticket, edited.visibility).await?;
    Ok(CommentRow { comment: edited, author })
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
