//! The endpoints of files.

use actix_web::http::header;
use actix_web::{delete, get, post, web};

use super::domain::head::{UNKNOWN_TYPE, content_digest, disposition};
use super::domain::range::{FilePart, part};
use super::domain::{File, hex};
use super::policy::{FileSight, may_get};
use super::service::cabinet::{Cabinet, FileHead};
use super::wire::{FileBody, FileBytes, FileLinkBody, NewFileLink};
use super::{service, store};
use crate::auth::policy::{Allowed, DeleteFiles, ReadFiles, SendFiles};
use crate::db::{Conn, Root};
use crate::http::content::Content;
use crate::http::query::PageQuery;
use crate::http::{Answer, Call, Endpoints, Page, Reply};
use crate::kernel::{Code, FileId, Problem};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::tickets::wire::TicketRef;

/// What a cursor of the list is bound to.
pub const LIST: &str = "files";

/// Registers the endpoints of this room.
pub fn routes(config: &mut impl Endpoints) {
    config
        .service(create_file)
        .service(get_file)
        .service(get_file_content)
        .service(create_file_link)
        .service(get_linked_file)
        .service(delete_file)
        .service(list_ticket_files);
}

/// Send a file.
///
/// The body is the file itself, and nothing around it. It is attached by giving its id in `file_ids` to a new comment
/// or a new ticket; until then nobody but its sender sees it, and after 24 hours it is gone. `Content-Digest`
/// (RFC 9530) is checked if it is sent. With an `Idempotency-Key`, the same file again is told by its digest, name and
/// type. It may take as long as at least 10 KiB come in a second.
#[utoipa::path(
    operation_id = "create_file", tag = "files", security(("bearer" = ["comments:write"]), ("bearer" = ["tickets:write"])),
    params(
        ("Content-Disposition" = String, Header, description = "What it is called (RFC 6266), percent-encoded: one line of at most 255 characters without a path.",
            example = "attachment; filename*=UTF-8''Screenshot%201.png"),
        ("Content-Digest" = Option<String>, Header, description = "Its SHA-256, to be checked.",
            example = "sha-256=:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=:")),
    request_body(content = inline(FileBytes), content_type = "application/octet-stream", description = "The bytes of the file, as whatever type it is."),
    extensions(("x-problems" = json!(["content_mismatch"]))),
    responses((status = 201, description = "The file. Without `comments:read` and `tickets:read`: no body.", body = FileBody,
        headers(("ETag" = String, description = "The file's version."), ("Location" = String, description = "Where the file is."))))
)]
#[post("/v1/files")]
async fn create_file(who: Allowed<SendFiles>, call: Call, cabinet: web::Data<Cabinet>) -> Answer {
    call.no_query()?;
    let head = FileHead::of(call.headers())?;
    let (_seat, announced_b) = (cabinet.seat(who.who().id)?, call.announced_b().unwrap_or(0));
    call.db().read(async |conn| service::require_room(conn, who.who(), announced_b, call.now()).await).await?;
    let new = cabinet.receive(&call, head).await?;
    call.stand_for_body(new.fingerprint());
    let (act, adding) = (who.act(&call), new.clone());
    let add = async move |tx: &mut Conn| {
        let file = FileBody::from(service::add(tx, &act.in_turn(), &adding).await?);
        adding.has_row();
        let place = format!("/v1/files/{}", file.id);
        Ok((file, place))
    };
    let answer = call.create(who.who(), Root::Principal(who.who().id), add).await;
    cabinet.settle(&new).await;
    answer
}

/// Read what is known of a file.
///
/// Seen by whoever sees what it is attached to; as long as that is nothing, by its sender alone.
#[utoipa::path(
    operation_id = "get_file", tag = "files", security(("bearer" = ["comments:read"]), ("bearer" = ["tickets:read"])),
    params(("id" = FileId, Path, description = "The file's id.")),
    responses((status = 200, description = "The file.", body = FileBody, headers(("ETag" = String, description = "The file's version."))))
)]
#[get("/v1/files/{id}")]
async fn get_file(who: Allowed<ReadFiles>, call: Call) -> Answer {
    call.no_query()?;
    let id: FileId = call.path("id")?;
    let row = call.db().read(async |conn| store::find(conn, &FileSight::of(&who), id).await).await?;
    Reply::resource(who.who(), &FileBody::from(row))
}

/// Get the bytes of a file.
///
/// As an attachment, which browsers save and never run, whatever the file says that it is. `Range` asks for a part of
/// it. To show one in a page, make a link. Where files are scanned, staff get one that is not scanned yet with
/// `Skranke-File-State: unscanned`, and requesters are told to wait.
#[utoipa::path(
    operation_id = "get_file_content", tag = "files", security(("bearer" = ["comments:read"]), ("bearer" = ["tickets:read"])),
    params(("id" = FileId, Path, description = "The file's id."),
        ("Range" = Option<String>, Header, description = "One part of it (RFC 9110, 14.2).", example = "bytes=0-1023")),
    extensions(("x-problems" = json!(["file_not_scanned", "file_infected", "range_not_satisfiable"]))),
    responses(
        (status = 200, description = "The file.", body = inline(FileBytes), content_type = "application/octet-stream", headers(
            ("ETag" = String, description = "Its SHA-256."),
            ("Content-Digest" = String, description = "Its SHA-256 (RFC 9530)."),
            ("Skranke-File-State" = String, description = "How far one can trust it."))),
        (status = 206, description = "The part of it that was asked for.", body = inline(FileBytes), content_type = "application/octet-stream", headers(
            ("Content-Range" = String, description = "Which part it is."))))
)]
#[get("/v1/files/{id}/content")]
async fn get_file_content(
    who: Allowed<ReadFiles>,
    call: Call,
    cabinet: web::Data<Cabinet>,
) -> Result<Content, Problem> {
    call.no_query()?;
    let id: FileId = call.path("id")?;
    let row = call.db().read(async |conn| store::find(conn, &FileSight::of(&who), id).await).await?;
    may_get(&row.file, !who.who().is_requester(), cabinet.scans())?;
    content(&call, &cabinet, &row.file, false).await
}

/// Make a link to the bytes of a file.
///
/// Whoever has it gets the file without a token until it expires, for an `<img>` in a page, say. Nothing is stored, and
/// it cannot be taken back; deleting the file ends it.
#[utoipa::path(
    operation_id = "create_file_link", tag = "files", security(("bearer" = ["comments:read"]), ("bearer" = ["tickets:read"])),
    params(("id" = FileId, Path, description = "The file's id.")), request_body = NewFileLink,
    extensions(("x-problems" = json!(["file_not_scanned", "file_infected"]))),
    responses((status = 200, description = "The link.", body = FileLinkBody))
)]
#[post("/v1/files/{id}/link")]
async fn create_file_link(who: Allowed<ReadFiles>, call: Call, cabinet: web::Data<Cabinet>) -> Answer {
    call.no_query()?;
    let id: FileId = call.path("id")?;
    let new: NewFileLink = call.body().await?;
    let row = call.db().read(async |conn| store::find(conn, &FileSight::of(&who), id).await).await?;
    may_get(&row.file, false, cabinet.scans())?;
    let expires_at = new.until(call.now());
    let link = service::sign(call.sealer(), id, expires_at, new.inline.unwrap_or(false))?;
    Reply::ok(&FileLinkBody { url: format!("/file-links/{link}"), expires_at })
}

/// Get the bytes of a file by a link.
///
/// Without a token. Images (PNG, JPEG, GIF, WebP, AVIF) and plain text are shown if the link was made for that; all
/// else is saved. Nothing of it is ever run.
#[utoipa::path(
    operation_id = "get_linked_file", tag = "files",
    params(("link" = String, Path, description = "What the link has behind `/file-links/`.", example = "AZovTnwbfT6PAAAAAAAAD_-t3Zl7"),
        ("Range" = Option<String>, Header, description = "One part of it (RFC 9110, 14.2).", example = "bytes=0-1023")),
    extensions(("x-problems" = json!(["invalid_query", "unavailable", "link_expired", "file_not_scanned", "file_infected", "range_not_satisfiable"]))),
    responses(
        (status = 200, description = "The file.", body = inline(FileBytes), content_type = "application/octet-stream",
            headers(("ETag" = String, description = "Its SHA-256."))),
        (status = 206, description = "The part of it that was asked for.", body = inline(FileBytes), content_type = "application/octet-stream", headers(
            ("Content-Range" = String, description = "Which part it is."))))
)]
#[get("/file-links/{link}")]
async fn get_linked_file(call: Call, cabinet: web::Data<Cabinet>) -> Result<Content, Problem> {
    call.no_query()?;
    let link: String = call.path("link")?;
    let (row, inline) = service::follow(&call, &link).await?;
    may_get(&row.file, false, cabinet.scans())?;
    content(&call, &cabinet, &row.file, inline).await
}

/// Delete a file.
///
/// For whoever has sent it, within 15 minutes, and for admins always, also on a closed ticket. It is gone at once for
/// everybody, and its bytes a moment later.
#[utoipa::path(
    operation_id = "delete_file", tag = "files", security(("bearer" = [])),
    params(("id" = FileId, Path, description = "The file's id.")),
    extensions(("x-problems" = json!(["ticket_closed", "conflict", "forbidden"]))),
    responses((status = 204, description = "The file is gone."))
)]
#[delete("/v1/files/{id}")]
async fn delete_file(who: Allowed<DeleteFiles>, call: Call) -> Answer {
    call.no_query()?;
    let (id, condition): (FileId, _) = (call.path("id")?, call.precondition()?);
    let (sight, reach, act, answers) = (FileSight::to_delete(&who), who.reach(), who.act(&call), call.answers());
    let (roots, ticket) = service::roots(&call.db(), &sight, id).await?;
    let delete = async move |tx: &mut Conn| {
        service::delete(tx, &act.in_turn(), (&sight, &reach), (id, ticket), &condition, &answers).await
    };
    call.db().write(roots, delete).await?;
    Ok(Reply::no_content())
}

/// List a ticket's files.
///
/// Those of the ticket itself and of its comments, in the order in which they were sent, as far as the caller may see
/// what they are attached to.
#[utoipa::path(
    operation_id = "list_ticket_files", tag = "files", security(("bearer" = ["comments:read"]), ("bearer" = ["tickets:read"])),
    params(("id" = String, Path, description = "The ticket's id or number.", example = "4711"), PageQuery),
    responses((status = 200, description = "A page of files.", body = Page<FileBody>,
        headers(("Link" = String, description = "`rel=\"next\"`: the address of the next page."))))
)]
#[get("/v1/tickets/{id}/files")]
async fn list_ticket_files(who: Allowed<ReadFiles>, call: Call) -> Answer {
    let which: TicketRef = call.path("id")?;
    let query: PageQuery = call.query()?;
    let after: Option<FileId> = query.cursor.as_ref().map(|cursor| cursor.open(LIST)).transpose()?;
    let rows = call
        .db()
        .list(async move |conn: &mut Conn| {
            let ticket = tickets::store::find(conn, &who.reach(), which).await?;
            store::of_ticket(conn, ticket.number, &FileSight::of(&who), after, query.limit).await
        })
        .await?;
    Page::reply(&call, query.limit, LIST, rows, |row| row.file.id, FileBody::from)
}

/// The bytes of `file`, or the part of them that `call` asks for: as what they are by themselves, and in no way that a
/// browser could run.
async fn content(call: &Call, cabinet: &Cabinet, file: &File, inline: bool) -> Result<Content, Problem> {
    let tag = format!("\"{}\"", hex(&file.sha256));
    let size_b = u64::try_from(file.size_b).map_err(Problem::internal)?;
    let key = file.store_key.as_deref().ok_or_else(Problem::not_found)?;
    let shown = file.inline_type.as_deref();
    let kind = if inline && shown.is_some() { "inline" } else { "attachment" };
    let answer = if call.has(&tag) {
        Content::same()
    } else {
        match part(asked_part(call, &tag), size_b) {
            FilePart::Whole => Content::whole(size_b, cabinet.get(key, 0, size_b).await?)
                .header("content-digest", content_digest(&file.sha256)),
            FilePart::From(first, count) => Content::part(count, cabinet.get(key, first, count).await?)
                .header("content-range", format!("bytes {first}-{}/{size_b}", first + count - 1)),
            FilePart::Beyond => {
                let detail = format!("The file has {size_b} bytes.");
                return Err(Problem::new(Code::RangeNotSatisfiable, detail).with("size_b", size_b));
            }
        }
        .header("content-type", shown.unwrap_or(UNKNOWN_TYPE).to_owned())
        .header("content-disposition", disposition(kind, &file.name))
        .header("accept-ranges", "bytes".to_owned())
    };
    Ok(answer
        .header("etag", tag)
        .header("cache-control", "private, no-cache".to_owned())
        .header("content-security-policy", "default-src 'none'; sandbox".to_owned())
        .header("cross-origin-resource-policy", "same-site".to_owned())
        .header("skranke-file-state", file.state.to_string()))
}

/// The `Range` of `call`, unless it is for another content (`If-Range`).
fn asked_part<'a>(call: &'a Call, tag: &str) -> Option<&'a str> {
    let same = call.headers().get(header::IF_RANGE).is_none_or(|given| given == tag);
    let range = call.headers().get(header::RANGE).filter(|_| same);
    range.and_then(|range| range.to_str().ok())
}
