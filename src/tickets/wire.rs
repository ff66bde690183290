//! Tickets as clients write and see them.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::domain::search::Query;
use super::domain::{Channel, Priority, Status, TicketType};
use super::store::TicketRow;
use crate::audit::wire::{Named, NamedPrincipal, NamedTeam};
use crate::auth::domain::Principal;
use crate::auth::policy::ReadTickets;
use crate::http::Cursor;
use crate::http::Resource;
use crate::http::query::{Csv, query_part};
use crate::kernel::fault::{self, Faults};
use crate::kernel::fields::Fields;
use crate::kernel::rows::Limit;
use crate::kernel::text::{Email, Line, Prose};
use crate::kernel::whole::Whole;
use crate::kernel::words::words;
use crate::kernel::{ClockState, Instant, Patch, PrincipalId, Set, TeamId, TicketId};
use crate::sla::domain::policy::CalendarSet;
use crate::sla::wire::clocks::{ClockBody, DurationsBody};

/// How many tags a ticket may have.
pub const MOST_TAGS: usize = 20;

/// A ticket by its id or its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TicketRef {
    /// The UUID.
    Id(TicketId),
    /// The number for humans.
    Number(i64),
}

impl std::str::FromStr for TicketRef {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a ticket's id or number";
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|_| EXPECTED);
        }
        text.parse().map(Self::Id).map_err(|_| EXPECTED)
    }
}

impl Deserr<Faults> for TicketRef {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match value {
            Value::Integer(number) => Ok(Self::Number(i64::try_from(number).unwrap_or(i64::MAX))),
            Value::Float(_) => {
                Whole::<0, { i64::MAX }>::deserialize_from_value(value, location).map(|n| Self::Number(n.get()))
            }
            value => {
                fault::string(value, location)?.parse().map_err(|detail: &str| Faults::at(location, "invalid", detail))
            }
        }
    }
}

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
                return Err(Faults::at(location, "too_many", format!("must have at most {MOST_TAGS} tags")));
            }
        }
        Ok(Self(tags))
    }
}

struct Tag(String);

impl Deserr<Faults> for Tag {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let tag = Line::<64>::deserialize_from_value(value, location)?.into_inner();
        if tag.contains(',') {
            // The list's filter separates tags by commas.
            return Err(Faults::at(location, "invalid", "must not contain a comma"));
        }
        Ok(Self(tag))
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
    /// Who works on it: an active agent or admin. Not for requesters.
    #[deserr(default)]
    pub assignee_id: Option<PrincipalId>,
    /// Who has the problem, by id. The caller, if it is a person, unless said otherwise; a ticket that a service account
    /// opens without a requester has none.
    #[deserr(default)]
    pub requester_id: Option<PrincipalId>,
    /// Who has the problem, by email address: found, or made. Instead of `requester_id`.
    #[deserr(default)]
    pub requester: Option<RequesterByEmail>,
    /// Labels: at most 20, each of 1–64 characters without a comma.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 20, nullable = false)]
    pub tags: Option<Tags>,
    /// Free fields: an object of at most 16 KiB of JSON, whose whole numbers have at most 64 bits.
    #[deserr(default)]
    #[schema(value_type = Option<Object>, nullable = false)]
    pub custom_fields: Option<Fields>,
    /// The name that the caller's system has for it; unique among the tickets of one account.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub external_id: Option<Line<255>>,
    /// When it was reported, if that was earlier than now. Not for requesters.
    #[deserr(default)]
    pub reported_at: Option<Instant>,
    /// The ticket that this one follows up, by id or number.
    #[deserr(default)]
    #[schema(schema_with = ticket_ref)]
    pub follow_up_of: Option<TicketRef>,
}

/// A JSON merge patch (RFC 7396) of a ticket: what is not mentioned stays, null empties.
#[derive(Debug, Clone, Deserr, ToSchema)]
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
    /// Who works on it: an active agent or admin. Does not start the work. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<PrincipalId>)]
    pub assignee_id: Patch<PrincipalId>,
    /// Who has the problem. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<PrincipalId>)]
    pub requester_id: Patch<PrincipalId>,
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
#[derive(Debug, Serialize, ToSchema)]
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
    "created_at": "2026-03-02T09:12:00Z",
    "updated_at": "2026-03-02T09:13:30Z",
    "reported_at": "2026-03-02T09:10:00Z",
    "started_at": "2026-03-02T09:13:30Z",
    "first_replied_at": null,
    "resolved_at": null,
    "closed_at": null,
    "reopen_count": 0,
    "durations": {
        "response": { "calendar_s": 210, "business_s": 210 }, "first_reply": null, "service": null, "resolution": null,
        "in_status_s": {
            "new": 210, "open": 390, "waiting_requester": 0, "waiting_third_party": 0, "resolved": 0, "closed": 0
        },
    },
    "clocks": [{
        "target": "response", "state": "met", "hours": "business", "target_s": 900, "due_at": null, "elapsed_s": 210,
        "remaining_s": 690, "met_at": "2026-03-02T09:13:30Z", "breached_at": null,
        "policy_id": "019a2f4e-7c1b-7d3e-8f00-00000000000d", "policy_version": 3,
        "calendar_id": "019a2f4e-7c1b-7d3e-8f00-00000000000e", "calendar_version": 1,
    }],
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
    /// How long things took.
    pub durations: DurationsBody,
    /// What is promised by the SLA policy that the ticket has, and how it stands now; at most one for each target.
    #[schema(max_items = 3)]
    pub clocks: Vec<ClockBody>,
    /// Grows by one with each change; its `ETag` begins with it.
    #[schema(minimum = 1)]
    pub version: i64,
    /// How many clocks are breached: of one version of a ticket, there are only ever more.
    #[serde(skip)]
    lapsed: usize,
}

impl TicketBody {
    /// A ticket at `now`; `calendar_set` has the calendars of its clocks.
    pub fn of(row: TicketRow, calendar_set: &CalendarSet, now: Instant) -> Self {
        let TicketRow { ticket, team, requester, assignee, created_by, times, relevance: _ } = row;
        let clocks: Vec<_> = times.clocks.iter().map(|clock| ClockBody::of(clock, calendar_set, now)).collect();
        let lapsed = clocks.iter().filter(|clock| clock.state == ClockState::Breached).count();
        Self {
            id: ticket.id,
            number: ticket.number,
            subject: ticket.subject,
            description: ticket.description,
            status: ticket.status,
            priority: ticket.priority,
            kind: ticket.kind,
            channel: ticket.channel,
            requester: Named::of(ticket.requester_id, requester),
            assignee: Named::of(ticket.assignee_id, assignee),
            team: Named::of(ticket.team_id, team),
            created_by: Named { id: ticket.created_by_id, name: created_by },
            external_id: ticket.external_id,
            follow_up_of: ticket.follow_up_of,
            tags: ticket.tags,
            custom_fields: ticket.custom_fields.to_json(),
            created_at: ticket.created_at,
            updated_at: ticket.updated_at,
            reported_at: ticket.reported_at,
            started_at: ticket.started_at,
            first_replied_at: ticket.first_replied_at,
            resolved_at: ticket.resolved_at,
            closed_at: ticket.closed_at,
            reopen_count: ticket.reopen_count,
            durations: DurationsBody::of(&times, now),
            clocks,
            version: ticket.version,
            lapsed,
        }
    }
}

impl Resource for TicketBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    /// A clock that lapses changes what is read, though nothing was written. The seconds that pass do not.
    fn lapsed(&self) -> usize {
        self.lapsed
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadTickets>()
    }
}

words! {
    /// The order of a list of tickets; `-` for descending.
    pub enum Sort {
        /// Oldest first.
        Created = "created_at",
        /// Newest first.
        CreatedDesc = "-created_at",
        /// Longest untouched first.
        Updated = "updated_at",
        /// Last touched first.
        UpdatedDesc = "-updated_at",
        /// Least urgent first.
        Priority = "priority",
        /// Most urgent first.
        PriorityDesc = "-priority",
        /// What is due first, or was, comes first; tickets with nothing due come last.
        Due = "due_at",
        /// The reverse.
        DueDesc = "-due_at",
        /// Of what `q` finds: where it is in the subject alone first, then where in tags and description too, then where in
        /// comments too; of equals the newest first. Where each word is in more than 10,000 of them, simply the newest first.
        Relevance = "relevance",
    }
}

fault::deserr_from_str!(Query);

/// A tag to filter by.
#[derive(Debug, Clone, PartialEq)]
pub struct TagName(pub String);

impl std::str::FromStr for TagName {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() { Err("must not be empty") } else { Ok(Self(text.to_owned())) }
    }
}

fault::deserr_from_str!(TagName);

impl PartialSchema for TagName {
    fn schema() -> RefOr<Schema> {
        // Commas separate tags from each other.
        ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).pattern(Some("^[^,]+$")).into()
    }
}
impl ToSchema for TagName {}

/// How long ahead `due_within` can look, in seconds: a year.
const LONGEST_AHEAD_S: i64 = 366 * 86_400;

/// Clocks to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlaFilter {
    /// At least one clock is breached.
    Breached,
    /// At least one clock runs and is due within so many seconds.
    DueWithin(i64),
}

impl std::str::FromStr for SlaFilter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be `breached` or `due_within:SECONDS`, such as due_within:3600, up to 31622400";
        match text.split_once(':') {
            None if text == "breached" => Ok(Self::Breached),
            Some(("due_within", s)) if s.bytes().all(|b| b.is_ascii_digit()) => match s.parse() {
                Ok(s @ 0..=LONGEST_AHEAD_S) => Ok(Self::DueWithin(s)),
                _ => Err(EXPECTED),
            },
            _ => Err(EXPECTED),
        }
    }
}

fault::deserr_from_str!(SlaFilter);

/// A queue to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TeamChoice {
    /// Tickets in no queue.
    NoTeam,
    /// This one.
    Team(TeamId),
}

impl TeamChoice {
    /// The team, if one is meant.
    pub fn id(self) -> Option<TeamId> {
        match self {
            Self::NoTeam => None,
            Self::Team(id) => Some(id),
        }
    }
}

impl std::str::FromStr for TeamChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "none" => Ok(Self::NoTeam),
            id => id.parse().map(Self::Team).map_err(|_| "must be a team's id or `none`"),
        }
    }
}

/// A person to filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PersonChoice {
    /// The caller.
    Me,
    /// Nobody.
    Nobody,
    /// This one.
    Person(PrincipalId),
}

impl PersonChoice {
    /// The person, if one is meant; `me` is the caller.
    pub fn id(self, me: PrincipalId) -> Option<PrincipalId> {
        match self {
            Self::Me => Some(me),
            Self::Nobody => None,
            Self::Person(id) => Some(id),
        }
    }
}

impl std::str::FromStr for PersonChoice {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "me" => Ok(Self::Me),
            "none" => Ok(Self::Nobody),
            id => id.parse().map(Self::Person).map_err(|_| "must be an id, `me` or `none`"),
        }
    }
}

/// An id, or one of these words, which are separated by `|`.
fn id_or(words: &str) -> RefOr<Schema> {
    const ID: &str = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}";
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(format!("^({words}|{ID})$"))).into()
}

impl PartialSchema for TeamChoice {
    fn schema() -> RefOr<Schema> {
        id_or("none")
    }
}
impl ToSchema for TeamChoice {}

impl PartialSchema for PersonChoice {
    fn schema() -> RefOr<Schema> {
        id_or("me|none")
    }
}
impl ToSchema for PersonChoice {}

/// Which tickets are meant: all filters must hold.
#[derive(Debug, Clone, Default, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TicketFilter {
    /// One or more statuses, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Status>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["new", "open"]))]
    pub status: Option<Csv<Status>>,
    /// One or more priorities, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Priority>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["high", "urgent"]))]
    pub priority: Option<Csv<Priority>>,
    /// One or more types, separated by commas.
    #[deserr(default, rename = "type")]
    #[param(rename = "type", value_type = Option<Vec<TicketType>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["incident"]))]
    pub kind: Option<Csv<TicketType>>,
    /// One or more channels, separated by commas.
    #[deserr(default)]
    #[param(value_type = Option<Vec<Channel>>, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["email", "phone"]))]
    pub channel: Option<Csv<Channel>>,
    /// One or more teams, separated by commas; `none` for tickets in no queue.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TeamChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false)]
    pub team_id: Option<Csv<TeamChoice>>,
    /// One or more assignees, separated by commas; `me`, and `none` for tickets that nobody has.
    #[deserr(default)]
    #[param(value_type = Option<Vec<PersonChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["me"]))]
    pub assignee_id: Option<Csv<PersonChoice>>,
    /// One or more requesters, separated by commas; `me`, and `none` for tickets without one.
    #[deserr(default)]
    #[param(value_type = Option<Vec<PersonChoice>>, inline, min_items = 1, max_items = 100, style = Form, explode = false)]
    pub requester_id: Option<Csv<PersonChoice>>,
    /// One or more tags, separated by commas: tickets that have any of them.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TagName>>, inline, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["printer"]))]
    pub tag: Option<Csv<TagName>>,
    /// The name that the creator's system has for it.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "alert-4711")]
    pub external_id: Option<TagName>,
    /// Only tickets created after this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub created_after: Option<Instant>,
    /// Only tickets created before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub created_before: Option<Instant>,
    /// Only tickets updated after this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub updated_after: Option<Instant>,
    /// Only tickets updated before this instant.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub updated_before: Option<Instant>,
    /// `breached`: a clock is past its due instant, or was when it ended. `due_within:SECONDS`: a clock runs and is due
    /// within so many seconds, at most 31622400 (a year).
    #[deserr(default)]
    #[param(value_type = Option<String>, pattern = "^(breached|due_within:[0-9]{1,8})$", example = "due_within:3600")]
    pub sla: Option<SlaFilter>,
    /// Full-text search in subject, tags, description, and the comments that the caller may see; it needs `tickets:read`, and
    /// looks into comments with `comments:read`. At most 500 characters. Each word must be there, anywhere in the ticket; a
    /// `"phrase in quotes"` as it stands; `print*` finds all words that begin so (two characters at least); `-word` and
    /// `-"a phrase"` must not be there. Words that are written together (`foo-bar`) are a phrase. Case and diacritics make
    /// no difference. All else is ignored; a search without any word finds every ticket. Searched are the first 6,000 words
    /// of tags and description, and the first 2,000 words of each comment; of each word the first 64 characters.
    #[deserr(default)]
    #[param(value_type = Option<String>, max_length = 500, example = "printer \"on fire\" -paper")]
    pub q: Option<Query>,
}

/// The order of a list of tickets, and which page of it.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListOptions {
    /// The order; newest first unless said. `relevance` needs `q`.
    #[deserr(default)]
    #[param(value_type = Option<Sort>, inline)]
    pub sort: Option<Sort>,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

query_part!(TicketFilter);
query_part!(ListOptions);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_a_filter_or_none(text in "(\\PC{0,20}|(breached|due_within)?:?[-+]?[0-9]{0,20}|(me|none|[0-9a-f-]{32,36})(,(me|none))?)") {
            if let Ok(SlaFilter::DueWithin(s)) = text.parse() {
                prop_assert!((0..=LONGEST_AHEAD_S).contains(&s) && text.starts_with("due_within:"));
            }
            if let Ok(TicketRef::Number(number)) = text.parse() {
                let written = number.to_string();
                prop_assert_eq!(text.trim_start_matches('0'), written.trim_start_matches('0'));
            }
            let _ = (text.parse::<TeamChoice>(), text.parse::<PersonChoice>(), text.parse::<TagName>());
        }
    }
}
