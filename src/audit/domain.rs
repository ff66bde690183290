//! Events and the changes in them. Pure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kernel::words::words;
use crate::kernel::{AnyId, CommentId, Instant, PolicyId, PrincipalId, Target, TicketId, WebhookId};

words! {
    /// Who may see a comment, and the events about it.
    pub enum Visibility {
        /// Everybody who may see what it is about.
        Public = "public",
        /// Agents, admins, and service accounts with the scope `internal:read`.
        Internal = "internal",
    }
}

words! {
    /// What happened.
    pub enum EventKind {
        /// The ticket was opened; the changes hold its first values.
        TicketCreated = "ticket.created",
        /// Fields of the ticket changed.
        TicketUpdated = "ticket.updated",
        /// The ticket's texts, those of its comments and notes of work among them, were removed for good by an admin.
        TicketRedacted = "ticket.redacted",
        /// A comment was added.
        CommentAdded = "comment.added",
        /// A comment's text was edited by its author.
        CommentEdited = "comment.edited",
        /// A comment's text was removed for good by an admin.
        CommentRedacted = "comment.redacted",
        /// Work was added; the changes hold its values.
        TimeEntryAdded = "time_entry.added",
        /// Work was taken off again; the changes hold what it was.
        TimeEntryDeleted = "time_entry.deleted",
        /// Files were attached to the ticket or to a comment on it; the changes hold their ids.
        FileAttached = "file.attached",
        /// A file was deleted; the changes hold its id.
        FileDeleted = "file.deleted",
        /// A scanner has found something in a file, whose bytes are gone; the changes hold its id.
        FileInfected = "file.infected",
        /// An alert began to fire; the changes name it.
        AlertFired = "alert.fired",
        /// An alert fires with another severity, or says something else.
        AlertUpdated = "alert.updated",
        /// An alert has ended.
        AlertResolved = "alert.resolved",
        /// Something that is promised will soon be due.
        SlaDueSoon = "sla.due_soon",
        /// Something that was promised is broken.
        SlaBreached = "sla.breached",
        /// A person was made, or has come with the first token of an outside issuer.
        UserCreated = "user.created",
        /// Something of a person changed; the changes name the fields, and tell only role and whether active.
        UserUpdated = "user.updated",
        /// All that tells who a person was is removed for good.
        UserAnonymised = "user.anonymised",
        /// The service has stopped a webhook; the changes say why.
        WebhookDisabled = "webhook.disabled",
    }
}

words! {
    /// The order of a trail; `-` for descending.
    #[derive(Default)]
    pub enum TrailOrder {
        /// What happened first, first.
        #[default]
        At = "at",
        /// What happened last, first.
        AtDesc = "-at",
    }
}

words! {
    /// What an event is about that is about no ticket.
    pub enum SubjectKind {
        /// A person.
        User = "user",
        /// A webhook.
        Webhook = "webhook",
    }
}

words! {
    /// How what happened came to be known here.
    pub enum EventOrigin {
        /// It happened here.
        Live = "live",
        /// It happened elsewhere, before, and was imported.
        Import = "import",
    }
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSubject {
    /// A ticket, and its version right after the event.
    Ticket(TicketId, i64),
    /// Something else.
    Other(SubjectKind, AnyId),
}

impl From<WebhookId> for EventSubject {
    fn from(id: WebhookId) -> Self {
        Self::Other(SubjectKind::Webhook, AnyId(id.0))
    }
}

impl From<PrincipalId> for EventSubject {
    fn from(id: PrincipalId) -> Self {
        Self::Other(SubjectKind::User, AnyId(id.0))
    }
}

/// One field, before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The field's name in the API.
    pub field: &'static str,
    /// Its value before; null when there was none.
    pub before: Value,
    /// Its value after; null when it was emptied.
    pub after: Value,
}

impl Change {
    /// That `field` changed, and nothing of what it was and is: it is read where it stands, and erased there alone.
    pub fn unsaid(field: &'static str) -> Self {
        Self { field, before: Value::Null, after: Value::Null }
    }

    /// The change of `field`, or nothing when it stayed the same.
    pub fn of(field: &'static str, before: Value, after: Value) -> Option<Self> {
        (before != after).then_some(Self { field, before, after })
    }
}

/// The promise that a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticedPromise {
    /// What is promised.
    pub target: Target,
    /// When it is, or was, due.
    pub due_at: Instant,
    /// How long it may take, in seconds that count.
    pub target_s: i64,
    /// The policy that promises.
    pub policy_id: PolicyId,
}

/// How many bytes the edits of a ticket may have in its trail, as they are stored. What follows is refused.
pub const MOST_EDITED_B: i64 = 16 << 20;

/// How many of them there may be before requesters edit no more: what they alone do to a ticket leaves room for those
/// who work on it.
pub const MOST_EDITED_BY_REQUESTERS_B: i64 = MOST_EDITED_B / 2;

/// As how many bytes an edit counts besides its changes.
const EVENT_B: usize = 1 << 10;

/// What becomes of a ticket as it goes through its life: of this there is a bound already, or there is it once.
const OF_ITS_LIFE: [&str; 6] = ["status", "started_at", "first_replied_at", "resolved_at", "closed_at", "reopen_count"];

/// What follows from other changes of the same event, or from a comment.
pub const DERIVED: [&str; 5] = ["started_at", "first_replied_at", "resolved_at", "closed_at", "reopen_count"];

/// Something that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// What it is about.
    pub about: EventSubject,
    /// When.
    pub at: Instant,
    /// Who did it; nobody when the service did it by itself.
    pub actor: Option<PrincipalId>,
    /// What.
    pub kind: EventKind,
    /// Who may see it.
    pub visibility: Visibility,
    /// The comment that it is about.
    pub comment_id: Option<CommentId>,
    /// Every field that changed.
    pub changes: Vec<Change>,
}

impl Event {
    /// As how many bytes of edits it counts, if it is an edit; its changes have `changes_b` as JSON. Comments, changes
    /// of status and redactions never are: they find room in every trail.
    pub fn edit_b(&self, changes_b: usize) -> Option<i64> {
        let is_edit = match self.kind {
            EventKind::TicketUpdated => self.changes.iter().any(|change| !OF_ITS_LIFE.contains(&change.field)),
            EventKind::CommentEdited | EventKind::TimeEntryAdded | EventKind::TimeEntryDeleted => true,
            EventKind::TicketCreated
            | EventKind::TicketRedacted
            | EventKind::CommentAdded
            | EventKind::CommentRedacted
            | EventKind::FileAttached
            | EventKind::FileDeleted
            | EventKind::FileInfected
            | EventKind::UserCreated
            | EventKind::UserUpdated
            | EventKind::UserAnonymised
            | EventKind::WebhookDisabled
            | EventKind::AlertFired
            | EventKind::AlertUpdated
            | EventKind::AlertResolved
            | EventKind::SlaDueSoon
            | EventKind::SlaBreached => false,
        };
        is_edit.then(|| i64::try_from(EVENT_B + changes_b).unwrap_or(i64::MAX))
    }
}
