//! The feed as clients ask for it and see it.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::store::{ChangeCriteria, ChangeRow, ChangedTicket};
use crate::audit::domain::{EventKind, EventOrigin, SubjectKind, Visibility};
use crate::audit::wire::{ChangeBody, EventBody, NamedPrincipal, NoticeBody};
use crate::http::Cursor;
use crate::http::query::{Csv, query_part};
use crate::kernel::fault::{self, Faults};
use crate::kernel::requesters::NamesShown;
use crate::kernel::words::words;
use crate::kernel::{AnyId, CommentId, EventId, FieldError, Instant, Problem, TicketId};
use crate::tickets::wire::{TeamChoice, TicketBody, TicketRef};

words! {
    /// Where one begins to read without a cursor.
    pub enum Beginning {
        /// With what happens from now on.
        Now = "now",
        /// With the first change that there is.
        Start = "start",
    }
}

words! {
    /// What comes with each change.
    pub enum Included {
        /// The ticket as it is now.
        Ticket = "ticket",
    }
}

/// A whole number in a query.
#[derive(Debug, Clone, Copy)]
pub struct Bounded<const LEAST: u16, const MOST: u16, const UNLESS_SAID: u16>(pub u16);

impl<const LEAST: u16, const MOST: u16, const UNLESS_SAID: u16> Default for Bounded<LEAST, MOST, UNLESS_SAID> {
    fn default() -> Self {
        Self(UNLESS_SAID)
    }
}

impl<const LEAST: u16, const MOST: u16, const UNLESS_SAID: u16> Deserr<Faults> for Bounded<LEAST, MOST, UNLESS_SAID> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match fault::string(value, location)?.parse() {
            Ok(number) if (LEAST..=MOST).contains(&number) => Ok(Self(number)),
            _ => {
                let detail = format!("must be a whole number from {LEAST} to {MOST}");
                Err(Faults::at(location, "invalid", detail).with("min", LEAST).with("max", MOST))
            }
        }
    }
}

/// From where on.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StartQuery {
    /// The `next_cursor` of an answer before, or the `id` of an event of a stream, to go on behind it. It never
    /// expires. It is good for whoever got it, with the same `types`, `ticket_id` and `team_id`.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
    /// Where to begin without a cursor: with what happens from `now` on, or at the `start` of the log.
    #[deserr(default)]
    #[param(value_type = Option<Beginning>, inline, default = "now")]
    pub from: Option<Beginning>,
    /// Begin with what came into the log at this instant or later, instead.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Instant>,
}

/// Which changes, whatever they are about.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct KindQuery {
    /// One or more types of events, separated by commas; all unless said.
    #[deserr(default)]
    #[param(value_type = Option<Vec<EventKind>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["ticket.created", "ticket.updated"]))]
    pub types: Option<Csv<EventKind>>,
    /// `ticket`: each change comes with its ticket as it is now.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Included>>, inline, min_items = 1, max_items = 1, style = Form, explode = false)]
    pub include: Option<Csv<Included>>,
}

/// Changes of which tickets.
#[derive(Debug, Clone, Default, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangedTicketQuery {
    /// One ticket, by its id or number. One that may not be seen, or does not exist, has no changes.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "4711")]
    pub ticket_id: Option<TicketRef>,
    /// Tickets that are in one of these teams now, separated by commas; `none` for those in no queue.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TeamChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false)]
    pub team_id: Option<Csv<TeamChoice>>,
}

/// How many changes come at once, and when.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PollQuery {
    /// How many items an answer has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 1000, default = 50)]
    pub limit: Bounded<1, 1_000, 50>,
    /// For how many seconds the answer waits for something to happen when there is nothing yet.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 0, maximum = 30, default = 0)]
    pub wait_s: Bounded<0, 30, 0>,
}

query_part!(StartQuery);
query_part!(KindQuery);
query_part!(ChangedTicketQuery);
query_part!(PollQuery);

impl StartQuery {
    /// Passes if it says in one way at most where to begin.
    ///
    /// # Errors
    /// `invalid_query`.
    pub fn require_one_beginning(&self) -> Result<(), Problem> {
        let fault = |field, detail| Err(Problem::invalid_query(vec![FieldError::new(field, "invalid", detail)]));
        match (&self.cursor, self.from, self.since) {
            (Some(_), Some(_), _) => fault("from", "does not go with `cursor`, which says where to begin"),
            (Some(_), _, Some(_)) => fault("since", "does not go with `cursor`, which says where to begin"),
            (None, Some(_), Some(_)) => fault("since", "does not go with `from`"),
            _ => Ok(()),
        }
    }
}

impl KindQuery {
    /// Whether each change comes with its ticket.
    pub fn includes_ticket(&self) -> bool {
        self.include.as_ref().is_some_and(|included| included.0.contains(&Included::Ticket))
    }

    /// What is asked for, of the tickets that `tickets` asks for.
    pub fn criteria(&self, tickets: &ChangedTicketQuery) -> ChangeCriteria {
        let teams = tickets.team_id.as_ref().map(|teams| &teams.0);
        ChangeCriteria {
            kinds: self.types.as_ref().map(|types| types.0.clone()),
            ticket: tickets.ticket_id,
            teams: teams.map(|teams| {
                let none = teams.contains(&TeamChoice::NoTeam);
                (teams.iter().filter_map(|team| team.id()).collect(), none)
            }),
        }
    }
}

/// The ticket that a change is about.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedTicket)]
pub struct ChangedTicketBody {
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: TicketId,
    /// Its number.
    #[schema(examples(4711))]
    pub number: i64,
    /// Its version right after the change.
    #[schema(examples(3))]
    pub version: i64,
}

/// What a change is about that is about no ticket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangeSubject)]
pub struct ChangeSubjectBody {
    /// What it is. There will be more kinds.
    pub kind: SubjectKind,
    /// Its id.
    #[schema(value_type = String, format = "uuid")]
    pub id: AnyId,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangeItem, example = json!({
    "position": 4711, "id": "019a2f4e-7c1b-7d3e-8f00-000000000001", "type": "ticket.updated", "at": "2026-03-02T09:12:00.000000Z",
    "visibility": "public", "origin": "live", "actor": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "name": "Ada Lovelace" },
    "ticket": { "id": "019a2f4e-7c1b-7d3e-8f00-000000000002", "number": 4711, "version": 3 }, "subject": null, "comment_id": null,
    "changes": [{ "field": "status", "before": "new", "after": "open" }], "sla": null, "snapshot": null,
}))]
pub struct ChangeItem {
    /// Its place in the log, in which there is no gap: whoever may read everything, and asks without a filter, finds
    /// each position one more than the last. Null for requesters.
    #[schema(required)]
    pub position: Option<i64>,
    /// The event's id.
    #[schema(value_type = String, format = "uuid")]
    pub id: EventId,
    /// What happened. There will be more of them: pass over those that you do not know.
    #[serde(rename = "type")]
    pub kind: EventKind,
    /// When it happened.
    pub at: Instant,
    /// Who may see it.
    pub visibility: Visibility,
    /// How it came to be known here: `live`, when it happened here. There will be more.
    pub origin: EventOrigin,
    /// Who did it; null when the service did it by itself.
    #[schema(required)]
    pub actor: Option<NamedPrincipal>,
    /// The ticket that it is about; null when it is about something else.
    #[schema(required)]
    pub ticket: Option<ChangedTicketBody>,
    /// What it is about when it is about no ticket.
    #[schema(required)]
    pub subject: Option<ChangeSubjectBody>,
    /// The comment that it is about.
    #[schema(required)]
    pub comment_id: Option<CommentId>,
    /// Every field that changed.
    pub changes: Vec<ChangeBody>,
    /// The promise that `sla.due_soon` and `sla.breached` are about; null for others.
    #[schema(required)]
    pub sla: Option<NoticeBody>,
    /// With `include=ticket`, the ticket as it is now, with its own version.
    #[schema(required)]
    pub snapshot: Option<TicketBody>,
}

impl ChangeItem {
    /// A change as it is told, with its position or without, and with people named so.
    pub fn of(row: ChangeRow, (has_position, names): (bool, NamesShown), snapshot: Option<TicketBody>) -> Self {
        let ChangeRow { position, event, ticket_version, origin, subject, ticket } = row;
        let EventBody { id, at, kind, visibility, actor, comment_id, changes, sla } = event.into();
        let actor = actor.map(|actor| actor.shown(names));
        // Of an event of an older version its own is not known.
        let ticket = ticket.map(|ChangedTicket { id, number, version, .. }| ChangedTicketBody {
            id,
            number,
            version: ticket_version.unwrap_or(version),
        });
        let subject = subject.0.zip(subject.1).map(|(kind, id)| ChangeSubjectBody { kind, id });
        let position = has_position.then_some(position);
        Self { position, id, kind, at, visibility, origin, actor, ticket, subject, comment_id, changes, sla, snapshot }
    }
}

/// Some changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Changes, example = json!({ "items": [{
    "position": 4711, "id": "019a2f4e-7c1b-7d3e-8f00-000000000001", "type": "ticket.updated", "at": "2026-03-02T09:12:00.000000Z",
    "visibility": "public", "origin": "live", "actor": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "name": "Ada Lovelace" },
    "ticket": { "id": "019a2f4e-7c1b-7d3e-8f00-000000000002", "number": 4711, "version": 3 }, "subject": null, "comment_id": null,
    "changes": [{ "field": "status", "before": "new", "after": "open" }], "sla": null, "snapshot": null,
}], "next_cursor": "zSEq0xpJ8pBJOoniMnep9llQ5aHXUxxlJGE3nzt7mQ6S7bIM7QXtKWBdmm0" }))]
pub struct ChangeList {
    /// The changes, in the order of the log.
    pub items: Vec<ChangeItem>,
    /// Give it as `cursor` to go on. It is there also when nothing has happened, and another one each time.
    pub next_cursor: String,
}
