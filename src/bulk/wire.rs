//! Several operations as clients send them, and what became of each.

use deserr::{Deserr, IntoValue, Map, Value, ValueKind, ValuePointerRef};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::comments::wire::NewComment;
use crate::http::Reply;
use crate::http::call::IfMatch;
use crate::http::problem::{ProblemBody, as_json};
use crate::kernel::Problem;
use crate::kernel::fault::{self, Faults};
use crate::tickets::wire::{NewTicket, TicketBody, TicketPatch, TicketRef};

/// How many operations a request has.
pub const MOST_OPERATIONS: usize = 200;

/// How large such a request is, in bytes.
pub const MOST_BODY_B: usize = 4 << 20;

/// What is read each for itself: what is wrong with one is no fault of the others.
#[derive(Debug)]
pub struct Each<T>(pub Result<T, Faults>);

impl<T: Deserr<Faults>> Deserr<Faults> for Each<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        Ok(Self(T::deserialize_from_value(value, location)))
    }
}

/// Several operations.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "atomic": false, "operations": [
    { "create": { "subject": "The printer on the second floor is on fire" } },
    { "update": { "id": 4711, "if_match": "\"3\"", "patch": { "status": "closed" }, "comment": { "visibility": "public", "body": "Done." } } },
    { "redact": { "id": 4712 } },
] }))]
pub struct BulkRequest {
    /// All or none: with the first that fails nothing is done. Else each is done for itself.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, default = false, nullable = false)]
    pub atomic: bool,
    /// The operations, at most 200. Those on one ticket are done in their order.
    #[schema(value_type = Vec<BulkOperation>, min_items = 1, max_items = 200)]
    pub operations: Operations,
}

/// At least one operation, and not too many.
#[derive(Debug)]
pub struct Operations(pub Vec<Each<BulkOperation>>);

impl Deserr<Faults> for Operations {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let all = Vec::<Each<BulkOperation>>::deserialize_from_value(value, location)?;
        match all.len() {
            0 => Err(Faults::at(location, "too_short", "must have at least one operation").with("min", 1)),
            1..=MOST_OPERATIONS => Ok(Self(all)),
            _ => {
                let fault = Faults::at(location, "too_many", format!("must have at most {MOST_OPERATIONS} operations"));
                Err(fault.with("max", MOST_OPERATIONS))
            }
        }
    }
}

/// One operation, as one member that names it.
#[derive(Debug, Clone, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkOperation {
    /// As `POST /v1/tickets`.
    #[schema(title = "create")]
    Create(Box<NewTicket>),
    /// As `PATCH /v1/tickets/{id}`, maybe with a comment before it.
    #[schema(title = "update")]
    Update(Box<BulkUpdate>),
    /// As `DELETE /v1/tickets/{id}`.
    #[schema(title = "redact")]
    Redact(BulkRedact),
}

impl Deserr<Faults> for BulkOperation {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        const EXPECTED: &str = "must have one member: create, update or redact";
        let mut members = fault::members(value, location)?.into_iter();
        let (Some((name, value)), None) = (members.next(), members.next()) else {
            return Err(Faults::at(location, "invalid", EXPECTED));
        };
        let (place, value) = (location.push_key(&name), value.into_value());
        match name.as_str() {
            "create" => Deserr::deserialize_from_value(value, place).map(Box::new).map(Self::Create),
            "update" => Deserr::deserialize_from_value(value, place).map(Box::new).map(Self::Update),
            "redact" => Deserr::deserialize_from_value(value, place).map(Self::Redact),
            _ => Err(Faults::at(place, "unknown_field", EXPECTED).with("known", vec!["create", "update", "redact"])),
        }
    }
}

/// A change of a ticket.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct BulkUpdate {
    /// The ticket, by id or number.
    #[schema(schema_with = ticket_ref)]
    pub id: TicketRef,
    /// The ticket's `ETag`, or its version: it is changed only as it is there.
    #[deserr(default)]
    pub if_match: Option<BulkTag>,
    /// What is changed. `closed` is one step from wherever the ticket stands: it is resolved on its way.
    #[deserr(default)]
    #[schema(value_type = Option<TicketPatch>, nullable = false)]
    pub patch: TicketPatch,
    /// A comment that is added before.
    #[deserr(default)]
    #[schema(nullable = false)]
    pub comment: Option<NewComment>,
}

/// A ticket to be redacted.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct BulkRedact {
    /// The ticket, by id or number.
    #[schema(schema_with = ticket_ref)]
    pub id: TicketRef,
    /// The ticket's `ETag`, or its version: it is redacted only as it is there.
    #[deserr(default)]
    pub if_match: Option<BulkTag>,
}

fn ticket_ref() -> utoipa::openapi::schema::Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Integer]))
        .description(Some("The ticket, by id or number."))
        .pattern(Some("^([0-9]{1,18}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"))
        .minimum(Some(0))
        .build()
}

/// An entity tag with its quotes, or the version that it is of.
#[derive(Debug, Clone)]
pub struct BulkTag(IfMatch);

impl BulkTag {
    /// The condition that it makes.
    pub fn condition(tag: Option<Self>) -> IfMatch {
        tag.map_or_else(IfMatch::any, |tag| tag.0)
    }
}

impl Deserr<Faults> for BulkTag {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let invalid = || Faults::at(location, "invalid", "must be the ticket's ETag with its quotes, such as \"3\"");
        if value.kind() == ValueKind::String {
            return IfMatch::parse(&fault::string(value, location)?).map(Self).ok_or_else(invalid);
        }
        let version = <i64 as Deserr<Faults>>::deserialize_from_value(value, location)?;
        Ok(Self(IfMatch::of_version(version)))
    }
}

impl PartialSchema for BulkTag {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Integer])).minimum(Some(0)).into()
    }
}
impl ToSchema for BulkTag {}

/// What became of an operation.
#[derive(Debug, Serialize, ToSchema)]
pub struct BulkResult {
    /// The status that it would have been answered with alone: 201, 200 or 204, or that of its problem.
    #[schema(minimum = 200, maximum = 599)]
    pub status: u16,
    /// Where the ticket is that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub location: Option<String>,
    /// The ticket's `ETag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub etag: Option<String>,
    /// Whether it was done by an earlier request with the same `Idempotency-Key`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schema(required = false)]
    pub replayed: bool,
    /// The ticket as it is then, for those who read tickets, as far as the answer has room: left out behind 1 MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<TicketBody>, nullable = false)]
    pub ticket: Option<Box<RawValue>>,
    /// Why it was not done. Places in it begin with `/operations/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<ProblemBody<'static>>, nullable = false)]
    pub problem: Option<serde_json::Map<String, serde_json::Value>>,
}

impl BulkResult {
    /// What `outcome` tells, with the ticket if it has no more than `room_b` bytes, in the answer to `request_id`.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn of(outcome: &Result<Reply, Problem>, room_b: &mut usize, request_id: &str) -> Result<Self, Problem> {
        match outcome {
            Ok(reply) => {
                let (status, body) = (reply.status(), reply.body());
                let fits = !body.is_empty() && body.len() <= *room_b;
                if fits {
                    *room_b -= body.len();
                }
                let ticket = fits.then(|| RawValue::from_string(body.to_owned())).transpose();
                let header = |name| reply.header_value(name).map(str::to_owned);
                Ok(Self {
                    status,
                    location: header("location"),
                    etag: header("etag"),
                    replayed: header("idempotent-replayed").is_some(),
                    ticket: ticket.map_err(Problem::internal)?,
                    problem: None,
                })
            }
            Err(problem) => Ok(Self {
                status: problem.code().status(),
                location: None,
                etag: None,
                replayed: false,
                ticket: None,
                problem: Some(as_json(problem, request_id)?),
            }),
        }
    }
}

/// What became of each operation, in their order.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({ "items": [
    { "status": 201, "location": "/v1/tickets/019a2f4e-7c1b-7d3e-8f00-1234567890ab", "etag": "\"1\"" },
    { "status": 204 },
] }))]
pub struct BulkResults {
    /// One for each.
    pub items: Vec<BulkResult>,
}
