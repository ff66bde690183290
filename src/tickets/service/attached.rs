//! What tickets and comments have to do with files: they are attached in the same transaction, and go with the texts.

use serde_json::{Value, json};

use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::policy::Act;
use crate::db::Conn;
use crate::db::signal::FilesWaiting;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::{CommentId, FieldError, FileId, Problem};
use crate::tickets::domain::Ticket;
use crate::tickets::store::attached::{self, FilePlace};

/// How many files a ticket has at most, with those of its public comments; and as many on internal ones, which take no
/// public one's place.
pub const MOST_FILES: i64 = 200;

/// Attaches files that the caller has sent to `ticket`, or to a comment on it, which some may see. `version` is the
/// ticket's right after.
///
/// # Errors
/// `validation_failed` for a file that is not there, somebody else's or attached already, and for too many.
pub async fn attach(
    tx: &mut Conn,
    act: &Act,
    (ticket, version): (&Ticket, i64),
    comment: Option<(CommentId, Visibility)>,
    ids: &[FileId],
) -> Result<(), Problem> {
    if ids.is_empty() {
        return Ok(());
    }
    let free = attached::free(tx, act.who.id, ids).await?;
    let missing = ids.iter().enumerate().filter(|(_, id)| !free.contains(id)).map(|(nth, _)| {
        let detail = "there is no such file that you have sent and not attached yet";
        FieldError::new(format!("/file_ids/{nth}"), "not_found", detail)
    });
    let missing: Vec<_> = missing.collect();
    if !missing.is_empty() {
        return Err(Problem::invalid(missing));
    }
    let (comment_id, visibility) = comment.unzip();
    let visibility = visibility.unwrap_or(Visibility::Public);
    let more = i64::try_from(ids.len()).unwrap_or(i64::MAX);
    if attached::count(tx, ticket.number, visibility).await?.saturating_add(more) > MOST_FILES {
        let detail = format!("a ticket has at most {MOST_FILES} files, with those of its comments");
        return Err(Problem::field("/file_ids", "too_many", detail));
    }
    let place = FilePlace { ticket_number: ticket.number, comment_id };
    if attached::attach(tx, ids, place, act.now).await? != ids.len() {
        return Err(Problem::transient("a file was attached or swept by somebody else at the same time"));
    }
    let event = Event {
        about: EventSubject::Ticket(ticket.id, version),
        at: act.now,
        actor: Some(act.who.id),
        kind: EventKind::FileAttached,
        visibility,
        comment_id,
        changes: Change::of("file_ids", Value::Null, json!(ids)).into_iter().collect(),
    };
    crate::audit::store::add(tx, event, &act.clock).await
}

/// Erases all files of a comment on `ticket`, or of the ticket and all of its comments, and what kept answers say of
/// how they were called.
pub async fn erase(
    tx: &mut Conn,
    ticket: &Ticket,
    comment: Option<CommentId>,
    answers: &Answers,
) -> Result<(), Problem> {
    let ids = attached::mark(tx, ticket.number, comment).await?;
    for id in &ids {
        answers.amend(tx, *id, without_name).await?;
    }
    if !ids.is_empty() {
        let waiting = tx.kept_by_name::<FilesWaiting>();
        tx.after_commit(move || waiting.0.give());
    }
    Ok(())
}

/// What an answer said of a file, without what it was called.
pub fn without_name(said: &mut Said) {
    if let Some(name) = said.get_mut("name") {
        *name = "".into();
    }
}
