//! Lines of an import as they are sent, and what became of each.

use deserr::{Deserr, IntoValue, Map, Value, ValueKind, ValuePointerRef};
use serde::Serialize;
use serde_json::value::Value as Json;
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::domain::{ImportOutcome, Judge};
use crate::audit::domain::Visibility;
use crate::auth::domain::Role;
use crate::http::problem::{ProblemBody, as_json};
use crate::kernel::fault::{self, Faults};
use crate::kernel::fields::Fields;
use crate::kernel::json::Unique;
use crate::kernel::text::{Email, Line, Prose};
use crate::kernel::whole::Whole;
use crate::kernel::words::words;
use crate::kernel::{
    AnyId, Channel, Code, FieldError, Instant, Patch, PrincipalId, Priority, Problem, Status, TicketId, TicketType,
};
use crate::people::domain::Name;
use crate::tickets::wire::Tags;
use crate::time_entries::domain::MOST_WORK_S;

/// How large a request is, in bytes.
pub const MOST_BODY_B: u64 = 64 << 20;

/// How long a line is, in bytes.
pub const LONGEST_LINE_B: usize = 4 << 20;

/// How many entries the past of a ticket has.
pub const MOST_ENTRIES: usize = 5_000;

/// What is imported, and how.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportQuery {
    /// Where it comes from: external ids of one source are never those of another.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, max_length = 100, default = "import", example = "zendesk")]
    pub source: ImportSource,
    /// By which promises the past is judged. `none`: by none, since there were none; what is still open is judged from
    /// what happens to it first, by the policies of then, and counts from the import on. `current`: by the policies
    /// that hold now, as if they always had.
    #[deserr(default)]
    #[param(value_type = Option<Judge>, inline, default = "none")]
    pub judge: Judge,
}

/// The name of where an import comes from.
#[derive(Debug, Clone)]
pub struct ImportSource(pub String);

impl Default for ImportSource {
    fn default() -> Self {
        Self("import".into())
    }
}

impl std::str::FromStr for ImportSource {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Line::<100>::parse(text.to_owned()).map(|line| Self(line.into_inner()))
    }
}

fault::deserr_from_str!(ImportSource);

/// A person, as they are known elsewhere.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ImportPerson {
    /// The email address that tells people apart.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    pub email: Option<Email>,
    /// What the person is called there, if the address does not tell them apart.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub external_id: Option<Line<255>>,
    /// The name.
    #[schema(value_type = String, min_length = 1, max_length = 200)]
    pub name: Name,
    /// What the person was at the counter; a requester unless said.
    #[deserr(default)]
    pub role: Option<Role>,
    /// Whether they still belong there; true unless said.
    #[deserr(default)]
    pub active: Option<bool>,
}

/// A person in the past of a ticket. One who is not known becomes a requester.
#[derive(Debug, Clone, PartialEq, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ImportPersonRef {
    /// The email address.
    #[deserr(default)]
    #[schema(value_type = Option<String>, format = "email", max_length = 254)]
    pub email: Option<Email>,
    /// What the person is called there.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255)]
    pub external_id: Option<Line<255>>,
    /// The name, if the person is made.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub name: Option<Line<200>>,
}

/// What tells people of a source apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PersonKey {
    /// The email address.
    pub email: Option<String>,
    /// What the person is called there.
    pub external_id: Option<String>,
}

impl PersonKey {
    /// Of whoever has these.
    pub fn of(email: Option<&Email>, external_id: Option<&Line<255>>) -> Self {
        Self {
            email: email.map(|email| email.as_str().to_owned()),
            external_id: external_id.map(|id| id.as_str().to_owned()),
        }
    }
}

/// A comment of the past.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ImportComment {
    /// Who may see it.
    pub visibility: Visibility,
    /// The text: at most 64 KiB of UTF-8.
    #[schema(value_type = String, min_length = 1, max_length = 65536)]
    pub body: Prose<1, 65536>,
}

/// Where a ticket stood: one of our words, or of those that others have for the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PastStatus(pub Status);

/// What others call a status.
const OTHER_WORDS: &[(&str, Status)] = &[
    ("pending", Status::WaitingRequester),
    ("pending reminder", Status::WaitingRequester),
    ("hold", Status::WaitingThirdParty),
    ("on-hold", Status::WaitingThirdParty),
    ("on hold", Status::WaitingThirdParty),
    ("stalled", Status::WaitingThirdParty),
    ("solved", Status::Resolved),
    ("pending close", Status::Resolved),
    ("merged", Status::Closed),
    ("deleted", Status::Closed),
    ("rejected", Status::Closed),
];

impl std::str::FromStr for PastStatus {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = text.trim().to_lowercase();
        let other = OTHER_WORDS.iter().find(|(other, _)| *other == word).map(|(_, status)| *status);
        match other {
            Some(status) => Ok(Self(status)),
            None => word.parse().map(Self).map_err(|_: FieldError| {
                let all = Status::ALL.iter().map(|status| status.as_str());
                FieldError::not_one_of(all.chain(OTHER_WORDS.iter().map(|(other, _)| *other)))
            }),
        }
    }
}

fault::deserr_from_str!(PastStatus);

impl PartialSchema for PastStatus {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let words = Status::ALL.iter().map(|status| status.as_str());
        utoipa::openapi::schema::ObjectBuilder::new()
            .schema_type(utoipa::openapi::schema::Type::String)
            .enum_values(Some(words.chain(OTHER_WORDS.iter().map(|(other, _)| *other))))
            .build()
            .into()
    }
}
impl ToSchema for PastStatus {}

/// Something that happened to a ticket.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ImportEntry {
    /// When.
    pub at: Instant,
    /// Who did it; nobody unless said.
    #[deserr(default)]
    pub actor: Option<ImportPersonRef>,
    /// What was said, before all else of the entry. It does what a comment does; where the entry tells the status, it
    /// brings about none by itself.
    #[deserr(default)]
    #[schema(nullable = false)]
    pub comment: Option<ImportComment>,
    /// Where the ticket stands then.
    #[deserr(default)]
    #[schema(nullable = false)]
    pub status: Option<PastStatus>,
    /// Another subject.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 255, nullable = false)]
    pub subject: Option<Line<255>>,
    /// Another description.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 65536, nullable = false)]
    pub description: Option<Prose<0, 65536>>,
    /// Another priority.
    #[deserr(default)]
    #[schema(value_type = Option<Priority>, nullable = false)]
    pub priority: Option<Priority>,
    /// Another type.
    #[deserr(default, rename = "type")]
    #[schema(rename = "type", value_type = Option<TicketType>, nullable = false)]
    pub kind: Option<TicketType>,
    /// Another channel.
    #[deserr(default)]
    #[schema(value_type = Option<Channel>, nullable = false)]
    pub channel: Option<Channel>,
    /// Another team, by name.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub team: Patch<Line<200>>,
    /// Another assignee: an agent or admin.
    #[deserr(default)]
    #[schema(value_type = Option<ImportPersonRef>)]
    pub assignee: Patch<ImportPersonRef>,
    /// Another requester.
    #[deserr(default)]
    #[schema(value_type = Option<ImportPersonRef>)]
    pub requester: Patch<ImportPersonRef>,
    /// All labels.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 20, nullable = false)]
    pub tags: Option<Tags>,
    /// Free fields, merged deeply; null empties them all.
    #[deserr(default)]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Patch<Fields>,
    /// How long the actor, an agent, has worked on it, in seconds.
    #[deserr(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 604800, nullable = false)]
    pub work_s: Option<Whole<1, MOST_WORK_S>>,
    /// What was done in that time.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4000)]
    pub note: Option<Prose<1, 4000>>,
}

/// A ticket as it was when it was opened, with its past.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ImportTicket {
    /// What the ticket is called there: the same again changes nothing.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    pub external_id: Line<255>,
    /// Its number there, which it keeps if that is free.
    #[deserr(default)]
    #[schema(value_type = Option<i64>, minimum = 1, maximum = 1000000000)]
    pub number: Option<Whole<1, 1_000_000_000>>,
    /// One line that says what it is about.
    #[schema(value_type = String, min_length = 1, max_length = 255)]
    pub subject: Line<255>,
    /// All there is to say.
    #[deserr(default)]
    #[schema(value_type = Option<String>, max_length = 65536)]
    pub description: Option<Prose<0, 65536>>,
    /// Who has the problem.
    #[deserr(default)]
    pub requester: Option<ImportPersonRef>,
    /// When it was reported: the zero of all its clocks.
    pub reported_at: Instant,
    /// When it was typed in; when it was reported unless said.
    #[deserr(default)]
    pub created_at: Option<Instant>,
    /// Who typed it in; unless said whoever acted first, or else whoever imports.
    #[deserr(default)]
    pub created_by: Option<ImportPersonRef>,
    /// How it was reported.
    #[deserr(default)]
    pub channel: Option<Channel>,
    /// What kind of thing it is.
    #[deserr(default, rename = "type")]
    #[schema(rename = "type")]
    pub kind: Option<TicketType>,
    /// How urgent it is.
    #[deserr(default)]
    pub priority: Option<Priority>,
    /// The queue that it goes into, by name.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 200)]
    pub team: Option<Line<200>>,
    /// Who works on it: an agent or admin.
    #[deserr(default)]
    pub assignee: Option<ImportPersonRef>,
    /// Labels.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<String>>, max_items = 20)]
    pub tags: Option<Tags>,
    /// Free fields.
    #[deserr(default)]
    #[schema(value_type = Option<Object>)]
    pub custom_fields: Option<Fields>,
    /// What happened since, at most 5,000 entries.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<ImportEntry>>, max_items = 5000, nullable = false)]
    pub timeline: ImportTimeline,
}

/// What happened to a ticket.
#[derive(Debug, Clone, Default)]
pub struct ImportTimeline(pub Vec<ImportEntry>);

impl Deserr<Faults> for ImportTimeline {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let entries = Vec::<ImportEntry>::deserialize_from_value(value, location)?;
        if entries.len() > MOST_ENTRIES {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_ENTRIES} entries"));
            return Err(fault.with("max", MOST_ENTRIES));
        }
        Ok(Self(entries))
    }
}

/// A line: one member that tells what it is.
#[derive(Debug, Clone, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(example = json!({ "ticket": {
    "external_id": "zendesk-4711", "number": 4711, "subject": "The printer on the second floor is on fire", "requester": { "email": "ada@example.org" },
    "reported_at": "2021-03-02T08:12:00Z", "channel": "email", "timeline": [
        { "at": "2021-03-02T08:20:00Z", "actor": { "email": "grace@example.org" }, "comment": { "visibility": "public", "body": "Somebody is on the way." } },
        { "at": "2021-03-02T10:00:00Z", "actor": { "email": "grace@example.org" }, "status": "resolved" },
    ],
} }))]
pub enum ImportLine {
    /// Somebody.
    #[schema(title = "person")]
    Person(ImportPerson),
    /// A ticket with its past.
    #[schema(title = "ticket")]
    Ticket(Box<ImportTicket>),
}

impl Deserr<Faults> for ImportLine {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        const EXPECTED: &str = "must have one member: person or ticket";
        if value.kind() != ValueKind::Map {
            return Err(Faults::at(location, "wrong_type", EXPECTED));
        }
        let mut members = fault::members(value, location)?.into_iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err(Faults::at(location, "invalid", EXPECTED));
        };
        let place = location.push_key(&name);
        match name.as_str() {
            "person" => Deserr::deserialize_from_value(value.into_value(), place).map(Self::Person),
            "ticket" => Deserr::deserialize_from_value(value.into_value(), place).map(Box::new).map(Self::Ticket),
            "organisation" => Err(Faults::at(place, "unknown_field", "there are no organisations here")),
            _ => Err(Faults::at(place, "unknown_field", EXPECTED).with("known", vec!["person", "ticket"])),
        }
    }
}

/// A line, read: what it says, and of a ticket its head and its entries as they were written.
#[derive(Debug, Clone)]
pub struct ReadLine {
    /// What it says.
    pub line: ImportLine,
    /// What was written of a ticket, without its timeline.
    pub head: Json,
    /// The entries of its timeline, as they were written.
    pub entries: Vec<Json>,
}

/// Reads a line.
///
/// # Errors
/// `malformed_json` or `validation_failed`.
pub fn read(line: &[u8]) -> Result<ReadLine, Problem> {
    let malformed = |error: serde_json::Error| Problem::new(Code::MalformedJson, format!("{error}."));
    let Unique(mut written) = serde_json::from_slice(line).map_err(malformed)?;
    if line.windows(6).any(|some| some == b"\\u0000") && holds_nul(&written) {
        return Err(Problem::field("", "invalid", "must not contain the character U+0000"));
    }
    let line = deserr::deserialize::<ImportLine, _, Faults>(written.clone()).map_err(Problem::invalid)?;
    let mut head = written.get_mut("ticket").map(Json::take).unwrap_or_default();
    let entries = head.as_object_mut().and_then(|head| head.remove("timeline"));
    let entries = if let Some(Json::Array(entries)) = entries { entries } else { Vec::new() };
    Ok(ReadLine { line, head, entries })
}

fn holds_nul(value: &Json) -> bool {
    match value {
        Json::String(text) => text.contains('\0'),
        Json::Array(items) => items.iter().any(holds_nul),
        Json::Object(fields) => fields.iter().any(|(name, value)| name.contains('\0') || holds_nul(value)),
        _ => false,
    }
}

words! {
    /// What can be imported.
    pub enum ImportedKind {
        /// Somebody.
        Person = "person",
        /// A ticket with its past.
        Ticket = "ticket",
    }
}

/// What became of a line.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ImportResult, example = json!({
    "line": 1, "ok": true, "kind": "ticket", "result": "created", "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "number": 4711, "external_id": "zendesk-4711",
}))]
pub struct ImportResultBody {
    /// The number of the line, from 1.
    #[schema(minimum = 1)]
    pub line: u64,
    /// Whether it was taken.
    pub ok: bool,
    /// What it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub kind: Option<ImportedKind>,
    /// What became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub result: Option<ImportOutcome>,
    /// The id that it has here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "uuid", nullable = false)]
    pub id: Option<AnyId>,
    /// The number of a ticket: its own, if that was free.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    pub number: Option<i64>,
    /// What it is called there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub external_id: Option<String>,
    /// What was mended of its past.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub mended: Vec<String>,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemBody<'static>>, nullable = false)]
    pub problem: Option<serde_json::Map<String, Json>>,
}

/// What was taken.
#[derive(Debug, Clone)]
pub struct Imported {
    /// What became of it.
    pub outcome: ImportOutcome,
    /// What it is here.
    pub what: ImportedAs,
    /// What it is called there.
    pub external_id: Option<String>,
    /// What was mended.
    pub mended: Vec<String>,
}

/// What a line is here.
#[derive(Debug, Clone, Copy)]
pub enum ImportedAs {
    /// Somebody.
    Person(PrincipalId),
    /// A ticket.
    Ticket(TicketId, i64),
}

impl ImportResultBody {
    /// What became of the `nth` line, in the answer to the request `request_id`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(line: u64, imported: Result<Imported, Problem>, request_id: &str) -> Result<Self, Problem> {
        let nothing = Self {
            line,
            ok: false,
            kind: None,
            result: None,
            id: None,
            number: None,
            external_id: None,
            mended: Vec::new(),
            problem: None,
        };
        Ok(match imported {
            Ok(Imported { outcome, what, external_id, mended }) => {
                let (kind, id, number) = match what {
                    ImportedAs::Person(id) => (ImportedKind::Person, AnyId(id.0), None),
                    ImportedAs::Ticket(id, number) => (ImportedKind::Ticket, AnyId(id.0), Some(number)),
                };
                let (kind, result, id) = (Some(kind), Some(outcome), Some(id));
                Self { ok: true, kind, result, id, number, external_id, mended, ..nothing }
            }
            Err(problem) => Self { problem: Some(as_json(&problem, request_id)?), ..nothing },
        })
    }
}
