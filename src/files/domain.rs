//! What a file is, what it may be called, and as what it is shown. Pure.

pub mod head;
pub mod range;
pub mod sniff;

use crate::audit::domain::Visibility;
use crate::kernel::words::words;
use crate::kernel::{CommentId, FileId, FileState, Instant, PrincipalId, Problem, TicketId};

/// How many bytes a file has at most unless told.
pub const LARGEST_B: u64 = 25 << 20;

/// How many bytes a requester may send in a day.
pub const MOST_B_A_DAY: i64 = 1 << 30;

/// How long whoever has sent a file may delete it again, in seconds.
pub const DELETABLE_FOR_S: i64 = 15 * 60;

/// How long a file is kept that is attached to nothing, in seconds, and bytes that no row knows of.
pub const KEPT_UNATTACHED_S: i64 = 24 * 3600;

/// How long a link is good at most, in seconds.
pub const LONGEST_LINK_S: i64 = 3600;

words! {
    /// How a file came here.
    pub enum FileOrigin {
        /// By `POST /v1/files`.
        Upload = "upload",
    }
}

/// A file.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The id.
    pub id: FileId,
    /// Who has sent it.
    pub uploaded_by_id: PrincipalId,
    /// The ticket that it is attached to, or to a comment on which.
    pub ticket_number: Option<i64>,
    /// The comment that it is attached to.
    pub comment_id: Option<CommentId>,
    /// What it is called.
    pub name: String,
    /// What its sender says that it is.
    pub media_type: String,
    /// As what it is shown, if it is of the few kinds that are.
    pub inline_type: Option<String>,
    /// How many bytes it has.
    pub size_b: i64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// Where they are, unless they are gone.
    pub store_key: Option<String>,
    /// How far one can trust it.
    pub state: FileState,
    /// How it came here.
    pub origin: FileOrigin,
    /// When.
    pub created_at: Instant,
    /// When it was attached to something.
    pub attached_at: Option<Instant>,
    /// Grows by one with each change.
    pub version: i64,
}

/// A file with what it is attached to.
#[derive(Debug, Clone)]
pub struct FileRow {
    /// The file.
    pub file: File,
    /// The ticket's id.
    pub ticket_id: Option<TicketId>,
    /// Who has the problem that the ticket is about.
    pub requester_id: Option<PrincipalId>,
    /// Who may see the comment.
    pub visibility: Option<Visibility>,
}

impl FileRow {
    /// Who may see that there is this file, of those who see the ticket.
    pub fn visibility(&self) -> Visibility {
        self.visibility.unwrap_or(Visibility::Public)
    }
}

/// What a link is good for: the bytes of one file until an instant, and whether to be shown in a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkGrant {
    /// The file.
    pub file: FileId,
    /// Until when.
    pub until: Instant,
    /// Whether it is to be shown where it can be.
    pub inline: bool,
}

impl LinkGrant {
    /// What is signed of it.
    pub fn to_bytes(self) -> Vec<u8> {
        [&self.file.0.as_bytes()[..], &self.until.micros().to_be_bytes(), &[u8::from(self.inline)]].concat()
    }

    /// What was signed.
    ///
    /// # Errors
    /// `not_found` when it was no grant.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Problem> {
        let parts = bytes.split_first_chunk::<16>().and_then(|(id, rest)| Some((id, rest.split_first_chunk::<8>()?)));
        match parts {
            Some((id, (until, &[inline @ (0 | 1)]))) => Ok(Self {
                file: FileId(uuid::Uuid::from_bytes(*id)),
                until: Instant::from_micros(i64::from_be_bytes(*until)),
                inline: inline == 1,
            }),
            _ => Err(Problem::not_found()),
        }
    }
}

/// `bytes` in hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_grant_is_what_was_signed(id: u128, micros in 0..i64::MAX, inline: bool) {
            let grant = LinkGrant { file: FileId(uuid::Uuid::from_u128(id)), until: Instant::from_micros(micros), inline };
            prop_assert_eq!(LinkGrant::from_bytes(&grant.to_bytes()).ok(), Some(grant));
        }

        #[test]
        fn other_bytes_are_no_grant(bytes: Vec<u8>) {
            if let Ok(grant) = LinkGrant::from_bytes(&bytes) {
                prop_assert_eq!(grant.to_bytes(), bytes);
            }
        }
    }
}
