//! Exports as clients ask for them and see them.

use std::borrow::Cow;

use csv::{Terminator, WriterBuilder};
use deserr::Deserr;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::audit::wire::EventBody;
use crate::comments::wire::CommentBody;
use crate::http::Csv;
use crate::http::query::query_part;
use crate::http::table::guarded;
use crate::kernel::fault::Faults;
use crate::kernel::words::words;
use crate::kernel::{FieldError, Problem};
use crate::sla::wire::explain::TicketSlaBody;
use crate::tickets::wire::{TicketBody, TicketRef};
use crate::time_entries::wire::TimeEntryBody;

words! {
    /// What comes with each ticket.
    pub enum ExportPart {
        /// Its comments, as far as the caller may see them.
        Comments = "comments",
        /// The work on it, for those who may see that.
        TimeEntries = "time_entries",
        /// Its audit trail.
        Events = "events",
        /// Why its clocks stand as they do.
        Sla = "sla",
    }
}

words! {
    /// In which form an export comes.
    pub enum ExportForm {
        /// Lines of JSON.
        Lines = "application/x-ndjson",
        /// A table.
        Table = "text/csv",
    }
}

/// What an export has, and from where on.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportOptions {
    /// What comes with each ticket, separated by commas; whole, however much it is. Not in a table.
    #[deserr(default)]
    #[param(value_type = Option<Vec<ExportPart>>, inline, min_items = 1, max_items = 4, style = Form, explode = false, example = json!(["comments"]))]
    pub include: Option<Csv<ExportPart>>,
    /// Only tickets with larger numbers: to go on where an export was cut short.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 0, example = "4711")]
    pub after: Option<TicketNumber>,
}

query_part!(ExportOptions);

/// The number of a ticket.
#[derive(Debug, Clone, Copy)]
pub struct TicketNumber(pub i64);

impl std::str::FromStr for TicketNumber {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(TicketRef::Number(number)) => Ok(Self(number)),
            _ => Err("must be the number of a ticket".into()),
        }
    }
}

crate::kernel::fault::deserr_from_str!(TicketNumber);

/// The first line: from where on the feed tells what has happened since.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the document")]
pub struct ExportBegin {
    /// Give it as `cursor` to `GET /v1/changes`.
    pub cursor: String,
}

/// A line for each ticket: the ticket, with what was asked for beside its own fields.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the document")]
pub struct ExportedTicket {
    /// The ticket.
    #[serde(flatten)]
    ticket: TicketBody,
    /// All of its comments.
    #[schema(required = false)]
    comments: Vec<CommentBody>,
    /// All work on it.
    #[schema(required = false)]
    time_entries: Vec<TimeEntryBody>,
    /// All of its audit trail.
    #[schema(required = false)]
    events: Vec<EventBody>,
    /// Why its clocks stand as they do.
    #[schema(required = false)]
    sla: TicketSlaBody,
}

/// The last line: an export without it is not whole.
#[derive(ToSchema)]
#[allow(dead_code, reason = "for the document")]
pub struct ExportEnd {
    /// True.
    pub end: bool,
    /// How many tickets there were.
    #[schema(minimum = 0)]
    pub tickets: i64,
}

/// A line of an export, as the document has it.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = ExportLine, example = json!({ "end": true, "tickets": 4711 }))]
#[allow(dead_code, clippy::large_enum_variant, reason = "for the document")]
pub enum ExportLine {
    /// The first.
    #[schema(title = "first line")]
    Begin(ExportBegin),
    /// A ticket.
    #[schema(title = "ticket")]
    Ticket(ExportedTicket),
    /// The last.
    #[schema(title = "last line")]
    End(ExportEnd),
}

/// The columns of a table: the paths of a ticket's JSON. Clocks are called by their targets.
const COLUMNS: &[&str] = &[
    "number",
    "id",
    "subject",
    "description",
    "status",
    "priority",
    "type",
    "channel",
    "requester.id",
    "requester.name",
    "assignee.id",
    "assignee.name",
    "team.id",
    "team.name",
    "created_by.id",
    "created_by.name",
    "external_id",
    "follow_up_of",
    "tags",
    "custom_fields",
    "created_at",
    "updated_at",
    "activity_at",
    "reported_at",
    "started_at",
    "first_replied_at",
    "resolved_at",
    "closed_at",
    "reopen_count",
    "durations.response.calendar_s",
    "durations.response.business_s",
    "durations.first_reply.calendar_s",
    "durations.first_reply.business_s",
    "durations.service.calendar_s",
    "durations.service.business_s",
    "durations.resolution.calendar_s",
    "durations.resolution.business_s",
    "clocks.response.state",
    "clocks.response.target_s",
    "clocks.response.due_at",
    "clocks.first_reply.state",
    "clocks.first_reply.target_s",
    "clocks.first_reply.due_at",
    "clocks.service.state",
    "clocks.service.target_s",
    "clocks.service.due_at",
    "version",
];

/// The header of a table.
///
/// # Errors
/// When it cannot be written, which would be our fault.
pub fn header() -> Result<Vec<u8>, Problem> {
    row(COLUMNS.iter().map(|column| Cow::Borrowed(*column)))
}

/// A ticket as a row of a table.
///
/// # Errors
/// As those of [`header`].
pub fn ticket_row(ticket: &TicketBody) -> Result<Vec<u8>, Problem> {
    let json = serde_json::to_value(ticket).map_err(Problem::internal)?;
    row(COLUMNS.iter().map(|column| cell(&json, column)))
}

fn cell<'a>(ticket: &'a Value, column: &str) -> Cow<'a, str> {
    let mut value = ticket;
    for part in column.split('.') {
        value = match value {
            Value::Array(clocks) => clocks.iter().find(|clock| clock["target"] == part).unwrap_or(&Value::Null),
            other => other.get(part).unwrap_or(&Value::Null),
        };
    }
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => guarded(text),
        // A tag has no comma.
        Value::Array(tags) => {
            let tags: Vec<_> = tags.iter().filter_map(Value::as_str).collect();
            Cow::Owned(guarded(&tags.join(",")).into_owned())
        }
        Value::Object(fields) if fields.is_empty() => Cow::Borrowed(""),
        other => Cow::Owned(other.to_string()),
    }
}

fn row<'a>(cells: impl Iterator<Item = Cow<'a, str>>) -> Result<Vec<u8>, Problem> {
    let mut writer = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    let cells: Vec<Cow<'a, str>> = cells.collect();
    writer.write_record(cells.iter().map(|cell| cell.as_bytes())).map_err(Problem::internal)?;
    writer.into_inner().map_err(|error| Problem::internal(error.to_string()))
}
