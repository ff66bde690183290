//! Where alerts come from, and what is to become of them.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::kernel::text::Line;
use crate::kernel::words::words;
use crate::kernel::{AlertSourceId, FieldError, Instant, Patch, PrincipalId, Priority, TeamId, TicketType};

/// How many sources there may be.
pub const MOST_SOURCES: i64 = 100;

/// How many severities have a priority.
pub const MOST_PRIORITIES: usize = 50;

words! {
    /// What one ticket is about.
    #[derive(Default)]
    pub enum AlertGrouping {
        /// Each alert has its own.
        #[default]
        Alert = "alert",
        /// A group of alerts has one.
        Group = "group",
    }
}

words! {
    /// What the end of an alert does to its ticket.
    #[derive(Default)]
    pub enum OnResolve {
        /// Resolves it if nobody but the sender has acted on it; else an internal comment says so.
        #[default]
        ResolveUntouched = "resolve_untouched",
        /// Resolves it.
        Resolve = "resolve",
        /// An internal comment says so.
        Note = "note",
    }
}

/// A source of alerts.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSource {
    /// The id.
    pub id: AlertSourceId,
    /// The name, which no other one has.
    pub name: String,
    /// Who alone may send; anybody who may send alerts, if nobody is named.
    pub principal_id: Option<PrincipalId>,
    /// The team whose queue its tickets go into, unless a label says otherwise.
    pub team_id: Option<TeamId>,
    /// The label that names the team.
    pub team_label: String,
    /// The type of its tickets.
    pub ticket_type: TicketType,
    /// The priority of each severity.
    pub priorities: BTreeMap<String, Priority>,
    /// That of all others.
    pub priority_default: Priority,
    /// What one ticket is about.
    pub group_by: AlertGrouping,
    /// What the subject is made of.
    pub subject_template: Option<String>,
    /// Who has the problems.
    pub requester_id: Option<PrincipalId>,
    /// What the end of an alert does.
    pub on_resolve: OnResolve,
    /// How long after a ticket was resolved the same alert brings it back, in seconds.
    pub reopen_within_s: i64,
    /// How far back a ticket's report may lie, in seconds.
    pub backdate_max_s: i64,
    /// Whether it is listened to.
    pub enabled: bool,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// A source to be made.
#[derive(Debug, Clone)]
pub struct NewAlertSource {
    /// The name.
    pub name: Line<200>,
    /// All else, as changes of what holds unless said.
    pub rest: AlertSourceChange,
}

/// What is to be changed of a source; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct AlertSourceChange {
    /// Another name.
    pub name: Option<Line<200>>,
    /// Who may send.
    pub principal_id: Patch<PrincipalId>,
    /// Another team.
    pub team_id: Patch<TeamId>,
    /// The same, by its name.
    pub team: Patch<Line<200>>,
    /// Another label.
    pub team_label: Option<Line<200>>,
    /// Another type.
    pub ticket_type: Option<TicketType>,
    /// Other priorities.
    pub priorities: Option<BTreeMap<String, Priority>>,
    /// Another priority of all others.
    pub priority_default: Option<Priority>,
    /// What one ticket is about.
    pub group_by: Option<AlertGrouping>,
    /// Another template.
    pub subject_template: Patch<Line<500>>,
    /// Somebody else who has the problems.
    pub requester_id: Patch<PrincipalId>,
    /// What the end does.
    pub on_resolve: Option<OnResolve>,
    /// Within which time a ticket comes back.
    pub reopen_within_s: Option<i64>,
    /// How far back a report may lie.
    pub backdate_max_s: Option<i64>,
    /// Whether it is listened to.
    pub enabled: Option<bool>,
}

/// The severities that have a priority unless said.
fn usual_priorities() -> BTreeMap<String, Priority> {
    use Priority::{High, Low, Normal, Urgent};
    let usual =
        [("critical", Urgent), ("error", High), ("high", High), ("warning", Normal), ("info", Low), ("low", Low)];
    usual.into_iter().map(|(severity, priority)| (severity.to_owned(), priority)).collect()
}

impl NewAlertSource {
    /// The source, at version 1.
    pub fn into_source(self, id: AlertSourceId, now: Instant) -> AlertSource {
        let plain = AlertSource {
            id,
            name: self.name.into_inner(),
            principal_id: None,
            team_id: None,
            team_label: "team".into(),
            ticket_type: TicketType::Incident,
            priorities: usual_priorities(),
            priority_default: Priority::Normal,
            group_by: AlertGrouping::Alert,
            subject_template: None,
            requester_id: None,
            on_resolve: OnResolve::ResolveUntouched,
            reopen_within_s: 86_400,
            backdate_max_s: 604_800,
            enabled: true,
            created_at: now,
            updated_at: now,
            version: 1,
        };
        plain.with(self.rest)
    }
}

impl AlertSource {
    /// The source after `change` at `now`; nothing when that changes nothing.
    pub fn changed(&self, change: AlertSourceChange, now: Instant) -> Option<Self> {
        let next = self.clone().with(change);
        // Never back, also when an instance's clock is.
        (next != *self).then(|| Self { updated_at: self.updated_at.max(now), version: self.version + 1, ..next })
    }

    fn with(self, change: AlertSourceChange) -> Self {
        Self {
            name: change.name.map_or(self.name, Line::into_inner),
            principal_id: change.principal_id.or(self.principal_id),
            team_id: change.team_id.or(self.team_id),
            team_label: change.team_label.map_or(self.team_label, Line::into_inner),
            ticket_type: change.ticket_type.unwrap_or(self.ticket_type),
            priorities: change.priorities.unwrap_or(self.priorities),
            priority_default: change.priority_default.unwrap_or(self.priority_default),
            group_by: change.group_by.unwrap_or(self.group_by),
            subject_template: change.subject_template.map(Line::into_inner).or(self.subject_template),
            requester_id: change.requester_id.or(self.requester_id),
            on_resolve: change.on_resolve.unwrap_or(self.on_resolve),
            reopen_within_s: change.reopen_within_s.unwrap_or(self.reopen_within_s),
            backdate_max_s: change.backdate_max_s.unwrap_or(self.backdate_max_s),
            enabled: change.enabled.unwrap_or(self.enabled),
            ..self
        }
    }

    /// The priority of a severity.
    pub fn priority(&self, severity: Option<&str>) -> Priority {
        let of = |severity: &str| {
            let exact = self.priorities.get(severity).copied();
            exact.or_else(|| self.priorities.get(&severity.to_lowercase()).copied())
        };
        severity.and_then(of).unwrap_or(self.priority_default)
    }
}

/// A source by its id or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertSourceRef {
    /// The UUID.
    Id(AlertSourceId),
    /// The name.
    Name(String),
}

impl FromStr for AlertSourceRef {
    type Err = FieldError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err::<_, FieldError>(_) => Line::<200>::parse(text.to_owned()).map(|name| Self::Name(name.into_inner())),
        }
    }
}

crate::kernel::fault::deserr_from_str!(AlertSourceRef);
