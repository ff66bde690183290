//! Which files a caller may see, and which they may delete.

use super::domain::{DELETABLE_FOR_S, File, FileRow};
use crate::audit::domain::Visibility;
use crate::auth::domain::Principal;
use crate::auth::policy::{Administer, Allowed, DeleteFiles, ReadComments, ReadFiles, ReadTickets, SendFiles};
use crate::kernel::{Code, FileState, Instant, PrincipalId, Problem};

/// The files that a caller may know of: those of what they may read, and what they have sent themselves as long as it
/// is attached to nothing. Queries for files take one.
#[derive(Debug, Clone, Copy)]
pub struct FileSight {
    own: PrincipalId,
    only_of: Option<PrincipalId>,
    on_tickets: bool,
    on_comments: bool,
    internal_too: bool,
}

impl FileSight {
    /// What the caller may see.
    pub fn of(who: &Allowed<ReadFiles>) -> Self {
        Self::seen_by(who.who())
    }

    /// Of what they may delete: an admin deletes what they may not read, too, as they redact it, but nothing that
    /// somebody else has not attached yet.
    pub fn to_delete(who: &Allowed<DeleteFiles>) -> Self {
        let seen = Self::seen_by(who.who());
        if who.who().may::<Administer>() {
            return Self { only_of: None, on_tickets: true, on_comments: true, internal_too: true, ..seen };
        }
        seen
    }

    fn seen_by(who: &Principal) -> Self {
        Self {
            own: who.id,
            only_of: who.is_requester().then_some(who.id),
            on_tickets: who.may::<ReadTickets>(),
            on_comments: who.may::<ReadComments>(),
            internal_too: who.sees_internal(),
        }
    }

    /// Whether it is within.
    pub fn sees(&self, row: &FileRow) -> bool {
        let FileRow { file, requester_id, .. } = row;
        if file.ticket_number.is_none() {
            return file.uploaded_by_id == self.own;
        }
        let is_reached = self.only_of.is_none_or(|own| *requester_id == Some(own));
        let is_read = if file.comment_id.is_some() { self.on_comments } else { self.on_tickets };
        is_reached && is_read && (self.internal_too || row.visibility() == Visibility::Public)
    }

    pub(super) fn on_tickets(&self) -> bool {
        self.on_tickets
    }

    pub(super) fn on_comments(&self) -> bool {
        self.on_comments
    }

    pub(super) fn internal_too(&self) -> bool {
        self.internal_too
    }
}

/// Whoever has sent it may delete it for a while; gives whether an admin does, who always may.
///
/// # Errors
/// `forbidden`.
pub fn may_delete(who: &Principal, file: &File, now: Instant) -> Result<bool, Problem> {
    if who.may::<Administer>() {
        return Ok(true);
    }
    let is_fresh = now <= file.created_at.plus_s(DELETABLE_FOR_S);
    if file.uploaded_by_id == who.id && is_fresh && who.may::<SendFiles>() {
        return Ok(false);
    }
    let minutes = DELETABLE_FOR_S / 60;
    let detail = format!("Only an admin deletes a file, and for {minutes} minutes whoever has sent it.");
    Err(Problem::new(Code::Forbidden, detail))
}

/// Whether the bytes of `file` may be got: by staff also when nothing has scanned them, where anything scans at all.
///
/// # Errors
/// `file_infected` or `file_not_scanned`.
pub fn may_get(file: &File, is_staff: bool, scans: bool) -> Result<(), Problem> {
    match file.state {
        FileState::Infected | FileState::Erasing => {
            Err(Problem::new(Code::FileInfected, "A scanner has found something in this file. Its bytes are gone."))
        }
        FileState::Unscanned if scans && !is_staff => {
            let detail = "The file is given out when it has been scanned. Try again in a moment.";
            Err(Problem::new(Code::FileNotScanned, detail))
        }
        FileState::Unscanned | FileState::Clean => Ok(()),
    }
}
