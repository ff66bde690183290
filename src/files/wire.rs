//! Files as clients see them, and links to them.

use deserr::Deserr;
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use super::domain::{FileRow, LONGEST_LINK_S, hex};
use crate::auth::domain::Principal;
use crate::auth::policy::ReadFiles;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::whole::Whole;
use crate::kernel::{CommentId, FileId, FileState, Instant, TicketId};

/// For how long a link is good unless told, in seconds.
const LINK_S: i64 = 300;

/// A file.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = File, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000f",
    "name": "Screenshot.png",
    "media_type": "image/png",
    "inline_type": "image/png",
    "size_b": 48213,
    "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "state": "clean",
    "ticket_id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    "comment_id": "019a2f4e-7c1b-7d3e-8f00-00000000000d",
    "created_at": "2026-03-02T09:13:02.000000Z",
    "attached_at": "2026-03-02T09:13:30.000000Z",
    "version": 3,
}))]
pub struct FileBody {
    /// The file's id; later files have larger ids.
    pub id: FileId,
    /// What it is called: one line without a path.
    pub name: String,
    /// What its sender says that it is. It is not served as that.
    pub media_type: String,
    /// As what it is shown in a page, by its own bytes: an image, or plain text. Null for all else, which is saved.
    #[schema(required)]
    pub inline_type: Option<String>,
    /// How many bytes it has.
    #[schema(minimum = 0)]
    pub size_b: i64,
    /// Their SHA-256, in hexadecimal digits; the `ETag` of its content.
    pub sha256: String,
    /// How far one can trust it.
    pub state: FileState,
    /// The ticket that it is attached to, or to a comment on which; null as long as it is attached to nothing.
    #[schema(required)]
    pub ticket_id: Option<TicketId>,
    /// The comment that it is attached to.
    #[schema(required)]
    pub comment_id: Option<CommentId>,
    /// When it was sent.
    pub created_at: Instant,
    /// When it was attached.
    #[schema(required)]
    pub attached_at: Option<Instant>,
    /// Grows by one with each change; its `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<FileRow> for FileBody {
    fn from(FileRow { file, ticket_id, .. }: FileRow) -> Self {
        Self {
            id: file.id,
            name: file.name,
            media_type: file.media_type,
            inline_type: file.inline_type,
            size_b: file.size_b,
            sha256: hex(&file.sha256),
            state: file.state,
            ticket_id,
            comment_id: file.comment_id,
            created_at: file.created_at,
            attached_at: file.attached_at,
            version: file.version,
        }
    }
}

impl Resource for FileBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadFiles>()
    }
}

impl ListItem for FileBody {}

/// The bytes of a file, as they are.
#[derive(Debug, Clone, Copy)]
pub struct FileBytes;

impl PartialSchema for FileBytes {
    fn schema() -> RefOr<Schema> {
        let binary = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(binary)).build().into()
    }
}

impl ToSchema for FileBytes {}

/// What a link is to be good for.
#[derive(Debug, Clone, Copy, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "expires_in_s": 600, "inline": true }))]
pub struct NewFileLink {
    /// For how many seconds it is good; 300 unless said.
    #[deserr(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 3600, nullable = false)]
    pub expires_in_s: Option<Whole<1, LONGEST_LINK_S>>,
    /// Whether the file is to be shown in a page, if it is one that can be, and not saved; `false` unless said.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    pub inline: Option<bool>,
}

impl NewFileLink {
    /// Until when it is good that is made at `now`.
    pub fn until(&self, now: Instant) -> Instant {
        now.plus_s(self.expires_in_s.map_or(LINK_S, Whole::get))
    }
}

/// A link to the content of a file, for whoever has it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FileLink, example = json!({
    "url": "/file-links/AZovTnwbfT6PAAAAAAAAD_-t3Zl7", "expires_at": "2026-03-02T09:23:30.000000Z",
}))]
pub struct FileLinkBody {
    /// Where the content is, without a token: a path on this service.
    pub url: String,
    /// Until when.
    pub expires_at: Instant,
}
