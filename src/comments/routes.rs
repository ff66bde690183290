//! The endpoints of comments.

use actix_web::{delete, get, patch, post};

use super::policy::{Sight, may_add};
use super::store::CommentPage;
use super::wire::{AddedCommentBody, CommentBody, CommentPatch, CommentQuery, NewComment};
use super::{service, store};
use crate::auth::policy::{Administer, Allowed, ReadComments, WriteComments};
use crate::db::Conn;
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::kernel::{CommentId, Problem};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(list_comments)
        .service(create_comment)
        .service(get_comment)
        .service(update_comment)
        .service(redact_comment);
}

/// List a ticket's comments.
///
/// Internal comments are there only for those who may see them. To follow a ticket, ask for those `after` the last one
/// that you have; to show the latest, for `sort=-created_at`.
#[utoipa::path(
    operation_id = "list_comments", tag = "comments", security(("bearer" = ["comments:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), CommentQuery),
    responses((status = 200, description = "A page of comments.", body = Page<CommentBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/comments")]
async fn list_comments(who: Allowed<ReadComments>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let CommentQuery { sort: order, after, limit, cursor } = call.query()?;
    let list = format!("comments {order}");
    let behind: Option<CommentId> = cursor.as_ref().map(|cursor| cursor.open(&list)).transpose()?;
    let page = CommentPage { order, after, behind, limit };
    let read = async move |conn: &mut Conn| {
        let ticket = tickets::store::find(conn, &who.reach(), which).await?;
        let rows = store::list(conn, &ticket, Sight::of(who.who()), page).await?;
        let files = service::files_of(conn, rows.iter()).await?;
        Ok((rows, files))
    };
    let (rows, mut files) = call.db().list(read).await?;
    let body = |row| CommentBody::from(row).with_files(&mut files);
    Page::reply(&call, limit, &list, rows, |row| row.comment.id, body)
}

/// Add a comment.
///
/// An agent's public comment starts the work on a new ticket and is its first reply; the requester's public comment
/// brings a ticket back that waits for them or is resolved. Internal comments change nothing that a requester can see.
/// With `ticket`, the ticket is changed in the same write, and the answer has both: to reply and to resolve is one
/// request. Where that says a `status`, a requester's comment brings about none by itself. `If-Match` is about the
/// ticket: with its `ETag`, a reply to what has been answered meanwhile is refused.
#[utoipa::path(
    operation_id = "create_comment", tag = "comments", security(("bearer" = ["comments:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    request_body = NewComment, extensions(("x-problems" = json!([
        "ticket_closed", "version_mismatch", "illegal_transition", "conflict", "duplicate_external_id",
    ]))),
    responses((status = 201, description = "The comment; with `ticket`, the comment and the ticket. Without the right to \
        read them: no body.", body = AddedCommentBody,
        headers(("ETag" = String, description = "The comment's version; with `ticket`, that of the ticket."),
            ("Location" = String, description = "Where the comment is."))))
)]
#[post("/v1/tickets/{id}/comments")]
async fn create_comment(who: Allowed<WriteComments>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let condition = call.precondition()?;
    let new: NewComment = call.body().await?;
    let (reach, act) = (who.reach(), who.act(&call));
    let ticket = call.db().read(async |conn| tickets::store::find(conn, &reach, which).await).await?;
    may_add(&who, &new)?;
    let roots = service::roots(&ticket, &new);
    if new.ticket.is_some() {
        let add = async move |tx: &mut Conn| {
            let act = act.in_turn();
            let both = service::add_with_ticket(tx, &act, &reach, which, &condition, new.clone()).await?;
            let place = both.comment.place();
            Ok((both, place))
        };
        return call.create(who.who(), roots, add).await;
    }
    let add = async move |tx: &mut Conn| {
        let comment = service::add_with_files(tx, &act.in_turn(), &reach, which, &condition, new.clone()).await?;
        let place = comment.place();
        Ok((comment, place))
    };
    call.create(who.who(), roots, add).await
}

/// Read a comment.
#[utoipa::path(
    operation_id = "get_comment", tag = "comments", security(("bearer" = ["comments:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"),
        ("comment_id" = CommentId, Path, description = "The comment's id.")),
    responses((status = 200, description = "The comment.", body = CommentBody, headers(("ETag" = String, description = "The comment's version."))))
)]
#[get("/v1/tickets/{id}/comments/{comment_id}")]
async fn get_comment(who: Allowed<ReadComments>, call: Call) -> Answer {
    call.no_query()?;
    let (which, id) = place(&call)?;
    let comment = call
        .db()
        .read(async |conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            let row = store::find(conn, &ticket, Sight::of(who.who()), id).await?;
            let mut files = service::files_of(conn, [&row]).await?;
            Ok(CommentBody::from(row).with_files(&mut files))
        })
        .await?;
    Reply::resource(who.who(), &comment)
}

/// Edit one's own comment.
///
/// The audit trail keeps the text before and after.
#[utoipa::path(
    operation_id = "update_comment", tag = "comments", security(("bearer" = ["comments:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"),
        ("comment_id" = CommentId, Path, description = "The comment's id.")),
    request_body(content((CommentPatch = "application/merge-patch+json"), (CommentPatch = "application/json"))),
    extensions(("x-problems" = json!(["ticket_closed", "conflict"]))),
    responses(
        (status = 200, description = "The comment as it is now.", body = CommentBody, headers(("ETag" = String, description = "The comment's version."))),
        (status = 204, description = "Done, for a token without `comments:read`.", headers(
            ("ETag" = String, description = "The comment's version."), ("Location" = String, description = "Where the comment is."))))
)]
#[patch("/v1/tickets/{id}/comments/{comment_id}")]
async fn update_comment(who: Allowed<WriteComments>, call: Call) -> Answer {
    call.no_query()?;
    let place = place(&call)?;
    let condition = call.precondition()?;
    let patch: CommentPatch = call.patch().await?;
    let (reach, act) = (who.reach(), who.act(&call));
    let root = tickets::service::root(&call.db(), &reach, place.0).await?;
    let edit = async move |tx: &mut crate::db::Conn| {
        let row = service::edit(tx, &act.in_turn(), &reach, place, &condition, patch.clone()).await?;
        let mut files = service::files_of(tx, [&row]).await?;
        Ok(CommentBody::from(row).with_files(&mut files))
    };
    let comment = call.db().write(root, edit).await?;
    Reply::changed(who.who(), &comment, call.place())
}

/// Redact a comment.
///
/// Removes its text and its files for good, from the audit trail and from the index of words, too; the comment itself
/// stays, empty. Also on a closed ticket.
#[utoipa::path(
    operation_id = "redact_comment", tag = "comments", security(("bearer" = ["admin"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"),
        ("comment_id" = CommentId, Path, description = "The comment's id.")),
    responses((status = 204, description = "Its text is gone."))
)]
#[delete("/v1/tickets/{id}/comments/{comment_id}")]
async fn redact_comment(who: Allowed<Administer>, call: Call) -> Answer {
    call.no_query()?;
    let place = place(&call)?;
    let condition = call.precondition()?;
    let (reach, act, answers) = (who.reach(), who.act(&call), call.answers());
    let root = tickets::service::root(&call.db(), &reach, place.0).await?;
    let redact = async move |tx: &mut crate::db::Conn| {
        service::redact(tx, &act.in_turn(), &reach, place, &condition, &answers).await
    };
    call.db().lengthy().write(root, redact).await?;
    Ok(Reply::no_content())
}

fn place(call: &Call) -> Result<(TicketRef, CommentId), Problem> {
    Ok((call.path("id")?, call.path("comment_id")?))
}
