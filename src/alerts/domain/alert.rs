//! An alert: something that a source tells of, by a key of its own.

use std::collections::BTreeMap;

use crate::kernel::words::words;
use crate::kernel::{AlertId, AlertSourceId, Instant};

words! {
    /// How an alert stands.
    pub enum AlertState {
        /// What it tells of goes on.
        Firing = "firing",
        /// It is over.
        Resolved = "resolved",
    }
}

words! {
    /// What became of something that a source has told.
    pub enum AlertOutcome {
        /// A ticket was opened.
        Created = "created",
        /// The alert tells something else than before, or fires again while its ticket goes on.
        Updated = "updated",
        /// Its ticket is back.
        Reopened = "reopened",
        /// The alert is over.
        Resolved = "resolved",
        /// It was known already.
        Unchanged = "unchanged",
        /// It came too late, was of nothing that is known, or said nothing that makes sense.
        Ignored = "ignored",
    }
}

/// An alert, as it was told last.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// The id.
    pub id: AlertId,
    /// Who tells of it.
    pub source_id: AlertSourceId,
    /// By what its source knows it.
    pub dedupe_key: String,
    /// The number of its ticket.
    pub ticket_number: Option<i64>,
    /// How it stands.
    pub state: AlertState,
    /// When it began, this time.
    pub starts_at: Instant,
    /// When it ended; nothing while it fires.
    pub ends_at: Option<Instant>,
    /// When it was last told of.
    pub last_seen_at: Instant,
    /// How often.
    pub times: i64,
    /// How bad it is, in the words of its source.
    pub severity: Option<String>,
    /// One line that says what it is.
    pub summary: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What else it says.
    pub annotations: BTreeMap<String, String>,
    /// Where to look.
    pub links: Vec<String>,
    /// How many alerts of a group fire.
    pub firing_count: i64,
    /// Whether something of it was too long, and cut.
    pub truncated: bool,
    /// How many alerts its sender has left out.
    pub truncated_alerts: i64,
    /// Whether what it says was redacted with its ticket: it is not stored again.
    pub redacted: bool,
    /// Up to which entry of its ticket's trail all of it is the sender's own; nothing once somebody else has acted.
    pub own_to: Option<i64>,
}
