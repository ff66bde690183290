//! Comments as clients write and see them.

use std::collections::HashMap;

use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::domain::CommentOrder;
use super::store::CommentRow;
use crate::audit::domain::Visibility;
use crate::auth::domain::Principal;
use crate::auth::policy::{ReadComments, ReadTickets};
use crate::files::domain::FileRow;
use crate::files::wire::FileBody;
use crate::http::{Cursor, ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::rows::Limit;
use crate::kernel::text::Prose;
use crate::kernel::{CommentId, FileId, FileState, Instant, TicketId};
use crate::tickets::wire::summary::AuthorBody;
use crate::tickets::wire::{FileIds, TicketBody, TicketPatch};

/// A comment to be added.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({
    "body": "Somebody is on the way.", "visibility": "public", "ticket": { "status": "waiting_third_party" },
}))]
pub struct NewComment {
    /// The text: at most 64 KiB of UTF-8, in CommonMark without HTML. Blank only if there are files.
    #[schema(value_type = String, max_length = 65536)]
    pub body: Prose<0, 65536>,
    /// Who may see it. There is no default, so that nothing is published by mistake.
    pub visibility: Visibility,
    /// What is changed of the ticket with it, in the same transaction, after the comment has done what a comment does.
    /// It needs what changing a ticket needs: the scope `tickets:write`, and fields that the caller may set.
    #[deserr(default)]
    #[schema(nullable = false)]
    pub ticket: Option<TicketPatch>,
    /// Files that the caller has sent and attached to nothing yet: at most 20. They are seen by whoever sees the
    /// comment.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<FileId>>, max_items = 20, nullable = false)]
    pub file_ids: FileIds,
}

/// A new text for one's own comment.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "body": "Somebody is on the way, with a new printer." }))]
pub struct CommentPatch {
    /// The text: at most 64 KiB of UTF-8, in CommonMark without HTML.
    #[schema(value_type = String, min_length = 1, max_length = 65536)]
    pub body: Prose<1, 65536>,
}

/// A comment.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Comment, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000d",
    "ticket_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    "author": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper", "kind": "agent" },
    "visibility": "public",
    "body": "Somebody is on the way.",
    "files": [],
    "created_at": "2026-03-02T09:13:30.000000Z",
    "edited_at": null,
    "redacted_at": null,
    "version": 1,
}))]
pub struct CommentBody {
    /// The comment's id; later comments have larger ids.
    pub id: CommentId,
    /// The ticket's id.
    pub ticket_id: TicketId,
    /// Who wrote it: a person or a service account.
    pub author: AuthorBody,
    /// Who may see it.
    pub visibility: Visibility,
    /// The text, in CommonMark without HTML: show it with a renderer that escapes HTML and lets through no links but
    /// those of `http`, `https` and `mailto`, or as plain text. Empty once redacted.
    pub body: String,
    /// Its files.
    pub files: Vec<FileBody>,
    /// When it was written.
    pub created_at: Instant,
    /// When its author last edited it.
    #[schema(required)]
    pub edited_at: Option<Instant>,
    /// When an admin removed its text for good.
    #[schema(required)]
    pub redacted_at: Option<Instant>,
    /// Grows by one with each change; its `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<CommentRow> for CommentBody {
    fn from(CommentRow { comment, author, kind }: CommentRow) -> Self {
        Self {
            id: comment.id,
            ticket_id: comment.ticket_id,
            author: AuthorBody { id: comment.author_id, name: author, kind },
            visibility: comment.visibility,
            body: comment.body,
            files: Vec::new(),
            created_at: comment.created_at,
            edited_at: comment.edited_at,
            redacted_at: comment.redacted_at,
            version: comment.version,
        }
    }
}

impl CommentBody {
    /// Where it is.
    pub fn place(&self) -> String {
        format!("/v1/tickets/{}/comments/{}", self.ticket_id, self.id)
    }

    /// The same with its files, which are among `files`.
    #[must_use]
    pub fn with_files(self, files: &mut HashMap<CommentId, Vec<FileRow>>) -> Self {
        let own = files.remove(&self.id).unwrap_or_default();
        Self { files: own.into_iter().map(FileBody::from).collect(), ..self }
    }
}

impl Resource for CommentBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    /// Each of its files is scanned once.
    fn moved(&self) -> Option<String> {
        let scanned = self.files.iter().filter(|file| file.state != FileState::Unscanned).count();
        (scanned > 0).then(|| scanned.to_string())
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadComments>()
    }

    fn is_seen_by(&self, reader: &Principal) -> bool {
        Self::is_open_to(reader) && (self.visibility == Visibility::Public || reader.sees_internal())
    }
}

impl ListItem for CommentBody {}

/// A comment that came with a change of its ticket, and the ticket as it is with both.
#[derive(Debug, Serialize, ToSchema)]
pub struct CommentWithTicket {
    /// The comment.
    pub comment: CommentBody,
    /// The ticket, whose version the `ETag` is of.
    pub ticket: TicketBody,
}

/// What the addition of a comment is answered with, as the document has it.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = AddedComment, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000d",
    "ticket_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    "author": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper", "kind": "agent" },
    "visibility": "public",
    "body": "Somebody is on the way.",
    "created_at": "2026-03-02T09:13:30.000000Z",
    "edited_at": null,
    "redacted_at": null,
    "version": 1,
}))]
pub enum AddedCommentBody {
    /// The comment.
    #[schema(title = "comment")]
    Comment(CommentBody),
    /// With `ticket`: both.
    #[schema(title = "comment and ticket")]
    WithTicket(Box<CommentWithTicket>),
}

impl Resource for CommentWithTicket {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.ticket.version()
    }

    fn moved(&self) -> Option<String> {
        self.ticket.moved()
    }

    fn is_open_to(reader: &Principal) -> bool {
        CommentBody::is_open_to(reader) && reader.may::<ReadTickets>()
    }

    fn is_seen_by(&self, reader: &Principal) -> bool {
        self.comment.is_seen_by(reader) && self.ticket.is_seen_by(reader)
    }
}

/// Which comments of a ticket a list has.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CommentQuery {
    /// The order; oldest first unless said.
    #[deserr(default)]
    #[param(value_type = Option<CommentOrder>, inline, default = "created_at")]
    pub sort: CommentOrder,
    /// Only comments that were written after the one with this id, whatever the order.
    #[deserr(default)]
    #[param(value_type = Option<CommentId>)]
    pub after: Option<CommentId>,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}
