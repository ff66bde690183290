//! Tickets as clients write and see them.

pub mod counts;
mod filter;
pub mod highlight;
pub mod summary;
pub mod tags;
pub mod views;

use std::collections::HashMap;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::ToSchema;

use self::highlight::HighlightBody;
use super::domain::Ticket;
pub use super::domain::listing::{Sort, SortOrder};
pub use super::domain::reference::TicketRef;
use super::policy::Reach;
use super::store::TicketRow;
use super::store::talk::Talk;
use crate::audit::wire::{Named, NamedPrincipal, NamedTeam};
use crate::auth::domain::Principal;
use crate::auth::policy::ReadTickets;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::fields::Fields;
use crate::kernel::requesters::{AgentNames, NamesShown};
use crate::kernel::text::{Email, Line, Prose};
use crate::kernel::vocabulary::*;
use crate::kernel::{FileId, Instant, Patch, Set, TeamId, TicketId};
use crate::sla::domain::policy::CalendarSet;
use crate::sla::wire::clocks::{ClockBody, DurationsBody, NextDueBody};
pub use filter::{Asker, ListOptions, MOST_NAMED, PersonChoice, PersonRef, TagName, TeamChoice, TicketFilter};

/// How many tags a ticket may have.
pub const MOST_TAGS: usize = 20;

/// The schema of a [`TicketRef`] that may be null.
fn ticket_ref() -> utoipa::openapi::schema::Object {
    use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer, Type::Null]))
        .description(Some("The ticket that this one follows up, by id or number."))
        .pattern(Some("^([0-9]{1,18}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"))
        .minimum(Some(0))
        .build()
}

fn assignee_ref() -> utoipa::openapi::schema::Object {
    filter::person_ref(
        "Who works on it: an active agent or admin, by id, or `me`; null for nobody. Not for requesters.",
    )
}

fn requester_ref() -> utoipa::openapi::schema::Object {
    filter::person_ref(
        "Who has the problem, by id, or `me`. Of a new ticket the caller, if it is a person, unless said otherwise; one that a \
         service account opens without a requester has none. Another person than oneself is not for requesters.",
    )
}

/// A person by email address, who is made when unknown.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct RequesterByEmail {
    /// The email address that tells people apart.
    #[schema(value_type = String, format = "email", max_length = 254)]
    pub email: Email,
    /// The name; used only when the person is made.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Line<200>,
}

/// Labels, each once, in the order given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tags(pub Vec<String>);

impl Deserr<Faults> for Tags {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let given = Vec::<Tag>::deserialize_from_value(value, location)?;
        let mut tags: Vec<String> = Vec::with_capacity(given.len().min(MOST_TAGS));
        for Tag(tag) in given {
            if !tags.contains(&tag) {
                tags.push(tag);
            }
            if tags.len() > MOST_TAGS {
                let fault = Faults::at(location, "too_many", format!("must have at most {MOST_TAGS} tags"));
                return Err(fault.with("max", MOST_TAGS));
            }
        }
        Ok(Self(tags))
    }
}

struct Tag(String);

impl Deserr<Faults> for Tag {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let tag = Line::<64>::deserialize_from_value(value, location)?.into_inner();
        // The list's filter separates tags by commas, and means all others by a leading `!`.
        if tag.contains(',') || tag.starts_with('!') {
            return Err(Faults::at(
                location,
                "invalid",
                "must not contain a comma, nor begin with an exclamation mark",
            ));
        }
        Ok(Self(tag))
    }
}

/// How many files are attached at once.
pub const MOST_FILES_AT_ONCE: usize = 20;

/// Files to be attached, each once, in the order given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FileIds(pub Vec<FileId>);

impl Deserr<Faults> for FileIds {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let given = Vec::<FileId>::deserialize_from_value(value, location)?;
        if given.len() > MOST_FILES_AT_ONCE {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_FILES_AT_ONCE} files"));
            return Err(fault.with("max", MOST_FILES_AT_ONCE));
        }
        let is_twice = |nth: usize| given[..nth].contains(&given[nth]);
        match (0..given.len()).find(|nth| is_twice(*nth)) {
            Some(nth) => Err(Faults::at(location.push_index(nth), "invalid", "is there twice")),
            None => Ok(Self(given)),
        }
    }
}

/// A ticket to be opened.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({
    "subject": "The printer on the second floor is on fire",
    "description": "Smoke since 9:10. I have pulled the plug.",
    "priority": "urgent",
    "channel": "phone",
    "requester": { "email": "ada@example.org", "name": "Ada Lovelace" },
    "tags": ["printer"],
    "custom_fields": { "floor": 2 },
    "external_id": "alert-4711",
}))]
pub struct NewTicket {
    /// One line that says what it is about.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    pub subject: Line<255>,
    /// All there is to say: at most 64 KiB of UTF-8; empty unless said.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 65536, nullable = false)]
    pub description: Option<Prose<0, 65536>>,
    /// How urgent it is; `normal` unless said.
    #[deserr(default)]
    #[schema(value_type = Option<Priority>, nullable = false)]
    pub priority: Option<Priority>,
    /// What kind of thing it is; `incident` unless said.
    #[deserr(default, rename = "type")]
    #[schema(rename = "type", value_type = Option<TicketType>, nullable = false)]
    pub kind: Option<TicketType>,
    /// How it was reported; `api` unless said.
    #[deserr(default)]
    #[schema(value_type = Option<Channel>, nullable = false)]
    pub channel: Option<Channel>,
    /// The queue that it goes into. Not for requesters.
    #[deserr(default)]
    pub team_id: Option<TeamId>,
    /// Who works on it.
    #[deserr(default)]
    #[schema(schema_with = assignee_ref)]
    pub assignee_id: Option<PersonRef>,
    /// Who has the problem.
    #[deserr(default)]
    #[schema(schema_with = requester_ref)]
    pub requester_id: Option<PersonRef>,
    /// Who has the problem, by email address: found, or made. Instead of `requester_id`.
    #[deserr(default)]
    pub requester: Option<RequesterByEmail>,
    /// Labels: at most 20, each of 1–64 characters without a comma and without `!` at the beginning.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 20, nullable = false)]
    pub tags: Option<Tags>,
    /// Free fields: an object of at most 16 KiB of JSON, whose whole numbers have at most 64 bits.
    #[deserr(default)]
    #[schema(value_type = Option<Object>, nullable = false)]
    pub custom_fields: Option<Fields>,
    /// The name that the caller's system has for it; unique among the tickets of one account that are not closed.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub external_id: Option<Line<255>>,
    /// When it was reported, if that was earlier than now. Up to 60 s in the future are now: clocks differ. Not for
    /// requesters.
    #[deserr(default)]
    pub reported_at: Option<Instant>,
    /// The ticket that this one follows up, by id or number.
    #[deserr(default)]
    #[schema(schema_with = ticket_ref)]
    pub follow_up_of: Option<TicketRef>,
    /// Files that the caller has sent and attached to nothing yet: at most 20.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<FileId>>, max_items = 20, nullable = false)]
    pub file_ids: FileIds,
}

/// A JSON merge patch (RFC 7396) of a ticket: what is not mentioned stays, null empties.
#[derive(Debug, Clone, Default, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "status": "resolved", "assignee_id": null, "custom_fields": { "floor": 3 } }))]
pub struct TicketPatch {
    /// One line that says what it is about.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, nullable = false)]
    pub subject: Set<Line<255>>,
    /// All there is to say: at most 64 KiB of UTF-8.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 65536, nullable = false)]
    pub description: Set<Prose<0, 65536>>,
    /// The next step of its life. Requesters may set `resolved` and, to reopen, `open`.
    #[deserr(default)]
    #[schema(value_type = Option<Status>, nullable = false)]
    pub status: Set<Status>,
    /// How urgent it is. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<Priority>, nullable = false)]
    pub priority: Set<Priority>,
    /// What kind of thing it is. Not for requesters.
    #[deserr(default, rename = "type")]
    #[schema(rename = "type", value_type = Option<TicketType>, nullable = false)]
    pub kind: Set<TicketType>,
    /// How it was reported. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<Channel>, nullable = false)]
    pub channel: Set<Channel>,
    /// The queue that it is in. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<TeamId>)]
    pub team_id: Patch<TeamId>,
    /// Who works on it. Does not start the work.
    #[deserr(default)]
    #[schema(schema_with = assignee_ref, required = false)]
    pub assignee_id: Patch<PersonRef>,
    /// Who has the problem.
    #[deserr(default)]
    #[schema(schema_with = requester_ref, required = false)]
    pub requester_id: Patch<PersonRef>,
    /// All labels; null for none. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 20)]
    pub tags: Patch<Tags>,
    /// Free fields, merged deeply; null empties them all.
    #[deserr(default)]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Patch<Fields>,
    /// The name that the creator's system has for it. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub external_id: Patch<Line<255>>,
}

/// A ticket.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Ticket, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab",
    "number": 4711,
    "subject": "The printer on the second floor is on fire",
    "description": "Smoke since 9:10. I have pulled the plug.",
    "status": "open",
    "priority": "urgent",
    "type": "incident",
    "channel": "phone",
    "requester": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000a", "name": "Ada Lovelace" },
    "assignee": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "team": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000c", "name": "Facilities" },
    "created_by": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "external_id": null,
    "follow_up_of": null,
    "tags": ["printer"],
    "custom_fields": { "floor": 2 },
    "created_at": "2026-03-02T09:12:00.000000Z",
    "updated_at": "2026-03-02T09:13:30.000000Z",
    "activity_at": "2026-03-02T09:14:10.000000Z",
    "reported_at": "2026-03-02T09:10:00.000000Z",
    "started_at": "2026-03-02T09:13:30.000000Z",
    "first_replied_at": null,
    "resolved_at": null,
    "closed_at": null,
    "reopen_count": 0,
    "closes_at": null,
    "allowed_statuses": ["waiting_requester", "waiting_third_party", "resolved"],
    "durations": {
        "response": { "calendar_s": 210, "business_s": 210 }, "first_reply": null, "service": null, "resolution": null,
        "in_status_s": {
            "new": 210, "open": 390, "waiting_requester": 0, "waiting_third_party": 0, "resolved": 0, "closed": 0
        },
    },
    "clocks": [{
        "target": "response", "state": "met", "hours": "business", "target_s": 900, "due_at": null, "elapsed_s": 210,
        "remaining_s": 690, "ended_at": "2026-03-02T09:13:30.000000Z", "met_at": "2026-03-02T09:13:30.000000Z",
        "breached_at": null,
        "policy_id": "019a2f4e-7c1b-7d3e-8f00-00000000000d", "policy_version": 3,
        "calendar_id": "019a2f4e-7c1b-7d3e-8f00-00000000000e", "calendar_version": 1,
    }],
    "next_due": null,
    "version": 2,
}))]
pub struct TicketBody {
    /// The id.
    pub id: TicketId,
    /// The number for humans; only grows, gaps are allowed.
    #[schema(minimum = 1)]
    pub number: i64,
    /// One line that says what it is about.
    pub subject: String,
    /// All there is to say.
    pub description: String,
    /// Where it stands in its life.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    #[serde(rename = "type")]
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// Who has the problem.
    #[schema(required)]
    pub requester: Option<NamedPrincipal>,
    /// Who works on it.
    #[schema(required)]
    pub assignee: Option<NamedPrincipal>,
    /// Whose queue it is in.
    #[schema(required)]
    pub team: Option<NamedTeam>,
    /// Who typed it in: a person or a service account.
    pub created_by: NamedPrincipal,
    /// The name that its creator's system has for it.
    #[schema(required)]
    pub external_id: Option<String>,
    /// The ticket that it follows up.
    #[schema(required)]
    pub follow_up_of: Option<TicketId>,
    /// Labels.
    pub tags: Vec<String>,
    /// Free fields.
    #[schema(value_type = Object)]
    pub custom_fields: serde_json::Value,
    /// When it was typed in.
    pub created_at: Instant,
    /// When anything that every reader of the ticket may see changed last.
    pub updated_at: Instant,
    /// When anything happened to it last, also what is internal: comments and work. Null for those who do not see that.
    /// Neither this nor `updated_at` is a way to learn of all changes: `GET /v1/changes` is.
    #[schema(required)]
    pub activity_at: Option<Instant>,
    /// When it was reported: the zero of all its clocks.
    pub reported_at: Instant,
    /// When somebody began to work on it. Never moves once set.
    #[schema(required)]
    pub started_at: Option<Instant>,
    /// When an agent other than the requester first answered in public.
    #[schema(required)]
    pub first_replied_at: Option<Instant>,
    /// When it was solved last; null again while reopened.
    #[schema(required)]
    pub resolved_at: Option<Instant>,
    /// When it was closed.
    #[schema(required)]
    pub closed_at: Option<Instant>,
    /// How often it came back after it was solved.
    #[schema(minimum = 0)]
    pub reopen_count: i32,
    /// When a resolved ticket will be closed by itself if nothing happens before; null for others.
    #[schema(required)]
    pub closes_at: Option<Instant>,
    /// The statuses that the caller may give it next; none for a token that changes no tickets.
    pub allowed_statuses: Vec<Status>,
    /// How long things took.
    pub durations: DurationsBody,
    /// What is promised by the SLA policy that the ticket has, and how it stands now; at most one for each target.
    #[schema(max_items = 3)]
    pub clocks: Vec<ClockBody>,
    /// What is due next of it, or most overdue; null when nothing that goes on has a due instant, and once it is
    /// closed.
    #[schema(required)]
    pub next_due: Option<NextDueBody>,
    /// Grows by one with each change; its `ETag` begins with it.
    #[schema(minimum = 1)]
    pub version: i64,
    /// Where `q` was found, with `highlight=true` alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub highlights: Option<Vec<HighlightBody>>,
    /// How many clocks are breached: of one version of a ticket, there are only ever more.
    #[serde(skip)]
    lapsed: usize,
    /// How people are named in it.
    #[serde(skip)]
    shown: NamesShown,
}

impl TicketBody {
    /// A ticket as it is seen by a caller with this reach.
    pub fn of(row: TicketRow, context: &TicketContext, reach: &Reach) -> Self {
        let highlights = context.highlights_of(&row);
        let TicketRow { ticket, team, requester, assignee, created_by, times, relevance: _ } = row;
        let now = context.now;
        let shown = |named: NamedPrincipal| named.shown(reach.names());
        let clock = |clock| ClockBody::of(clock, &times.timeline, &context.calendar_set, now);
        let clocks: Vec<_> = times.clocks.iter().map(clock).collect();
        let next_due = NextDueBody::of(&clocks).filter(|_| ticket.status != Status::Closed);
        let lapsed = clocks.iter().filter(|clock| clock.state == ClockState::Breached).count();
        let activity_at = reach.sees_internal().then(|| ticket.activity_at());
        let closes_at = context.closes_at(&ticket);
        Self {
            id: ticket.id,
            number: ticket.number,
            subject: ticket.subject,
            description: ticket.description,
            status: ticket.status,
            priority: ticket.priority,
            kind: ticket.kind,
            channel: ticket.channel,
            requester: Named::of(ticket.requester_id, requester).map(shown),
            assignee: Named::of(ticket.assignee_id, assignee).map(shown),
            team: Named::of(ticket.team_id, team),
            created_by: shown(Named { id: ticket.created_by_id, name: created_by }),
            external_id: ticket.external_id,
            follow_up_of: ticket.follow_up_of,
            tags: ticket.tags,
            custom_fields: ticket.custom_fields.to_json(),
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
            activity_at,
            reported_at: ticket.reported_at,
            started_at: ticket.started_at,
            first_replied_at: ticket.first_replied_at,
            resolved_at: ticket.resolved_at,
            closed_at: ticket.closed_at,
            reopen_count: ticket.reopen_count,
            closes_at,
            allowed_statuses: reach.walker().map_or_else(Vec::new, |walker| walker.next(ticket.status)),
            durations: DurationsBody::of(&times, now),
            clocks,
            next_due,
            version: ticket.version,
            highlights,
            lapsed,
            shown: reach.names(),
        }
    }
}

/// What a ticket is shown by besides its row.
#[derive(Debug, Clone)]
pub struct TicketContext {
    /// The calendars of its clocks.
    pub calendar_set: CalendarSet,
    /// How long a ticket stays resolved before it is closed, in seconds.
    pub closes_after_s: i64,
    /// When it is shown.
    pub now: Instant,
    /// What was said on it, by its number, where a summary is shown.
    pub talk: HashMap<i64, Talk>,
    /// Where a search was found, by the numbers of tickets, if that is to be told.
    pub highlights: Option<HashMap<i64, Vec<HighlightBody>>>,
}

impl TicketContext {
    fn highlights_of(&self, row: &TicketRow) -> Option<Vec<HighlightBody>> {
        let all = self.highlights.as_ref()?;
        Some(all.get(&row.ticket.number).cloned().unwrap_or_default())
    }

    fn closes_at(&self, ticket: &Ticket) -> Option<Instant> {
        let resolved_at = ticket.resolved_at.filter(|_| ticket.status == Status::Resolved);
        resolved_at.map(|at| at.plus_s(self.closes_after_s))
    }
}

impl Resource for TicketBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    /// A clock that lapses changes what is read, though nothing was written, and so does what is internal, for those
    /// who see it, and how people are named. The seconds that pass do not.
    fn moved(&self) -> Option<String> {
        let moved = match self.activity_at.filter(|at| *at > self.updated_at) {
            Some(at) => Some(format!("{}.{}", self.lapsed, at.micros())),
            None => (self.lapsed > 0).then(|| self.lapsed.to_string()),
        };
        match self.shown.style() {
            AgentNames::Full => moved,
            style => Some(format!("{}.{style}", moved.unwrap_or_default())),
        }
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadTickets>()
    }
}

impl ListItem for TicketBody {
    /// Its version, and what of it can become another without one: clocks and names. Not the seconds that pass.
    fn state(&self) -> Option<String> {
        let name = |named: &Option<NamedPrincipal>| named.as_ref().map(|named| named.name.clone());
        let names = (name(&self.requester), name(&self.assignee), &self.created_by.name);
        let clocks: Vec<_> =
            self.clocks.iter().map(|clock| (clock.state, clock.due_at, clock.policy_version)).collect();
        let team = self.team.as_ref().map(|team| &team.name);
        Some(format!("{} {} {:?} {names:?} {team:?} {clocks:?}", self.number, self.version, self.moved()))
    }
}
