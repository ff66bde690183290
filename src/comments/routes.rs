//! The endpoints of comments.

use std::collections::HashMap;

use actix_web::{delete, get, patch, post};

use super::policy::{Sight, may_write};
use super::store::CommentRow;
use super::wire::{CommentBody, CommentPatch, NewComment};
use super::{service, store};
use crate::auth::policy::{Administer, Allowed, ReadComments, WriteComments};
use crate::db::{Conn, Root};
use crate::files;
use crate::files::domain::FileRow;
use crate::http::query::PageQuery;
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
/// Oldest first. Internal comments are there only for those who may see them.
#[utoipa::path(
    operation_id = "list_comments", tag = "comments", security(("bearer" = ["comments:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), PageQuery),
    responses((status = 200, description = "A page of comments.", body = Page<CommentBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/comments")]
async fn list_comments(who: Allowed<ReadComments>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let query: PageQuery = call.query()?;
    let after: Option<CommentId> = query.cursor.as_ref().map(|cursor| cursor.open("comments")).transpose()?;
    let (rows, mut files) = call
        .db()
        .list(async move |conn: &mut Conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            let rows = store::list(conn, &ticket, Sight::of(who.who()), after, query.limit).await?;
            let files = files_of(conn, rows.iter()).await?;
            Ok((rows, files))
        })
        .await?;
    let body = |row| CommentBody::from(row).with_files(&mut files);
    Page::reply(&call, query.limit, "comments", rows, |row| row.comment.id, body)
}

/// Add a comment.
///
/// An agent's public comment starts the work on a new ticket and is its first reply; the requester's public comment
/// brings a ticket back that waits for them or is resolved. Internal comments change nothing that a requester can see.
#[utoipa::path(
    operation_id = "create_comment", tag = "comments", security(("bearer" = ["comments:write"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711")),
    request_body = NewComment, extensions(("x-problems" = json!(["ticket_closed"]))),
    responses((status = 201, description = "The comment. Without `comments:read`: no body.", body = CommentBody,
        headers(("ETag" = String, description = "The comment's version."), ("Location" = String, description = "Where the comment is."))))
)]
#[post("/v1/tickets/{id}/comments")]
async fn create_comment(who: Allowed<WriteComments>, call: Call) -> Answer {
    call.no_query()?;
    let which: TicketRef = call.path("id")?;
    let new: NewComment = call.body().await?;
    let (reach, act) = (who.reach(), who.act(&call));
    let ticket = call.db().read(async |conn| tickets::store::find(conn, &reach, which).await).await?;
    may_write(who.who(), new.visibility)?;
    call.create(who.who(), Root::Ticket(ticket.number), async move |tx| {
        let row = service::add(tx, &act.in_turn(), &reach, which, new.clone()).await?;
        let mut files = if new.file_ids.0.is_empty() { HashMap::new() } else { files_of(tx, [&row]).await? };
        let comment = CommentBody::from(row).with_files(&mut files);
        let place = format!("/v1/tickets/{}/comments/{}", comment.ticket_id, comment.id);
        Ok((comment, place))
    })
    .await
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
            let mut files = files_of(conn, [&row]).await?;
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
        let mut files = files_of(tx, [&row]).await?;
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

async fn files_of(
    conn: &mut Conn,
    rows: impl IntoIterator<Item = &CommentRow>,
) -> Result<HashMap<CommentId, Vec<FileRow>>, Problem> {
    files::store::of_comments(conn, rows.into_iter().map(|row| row.comment.id).collect()).await
}

fn place(call: &Call) -> Result<(TicketRef, CommentId), Problem> {
    Ok((call.path("id")?, call.path("comment_id")?))
}
