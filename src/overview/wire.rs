//! A ticket with what is about it, as clients ask for it and see it.

use deserr::Deserr;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use crate::audit::wire::EventBody;
use crate::auth::domain::Principal;
use crate::comments::wire::CommentBody;
use crate::files::wire::FileBody;
use crate::http::query::Csv;
use crate::http::{ListItem, Page, Resource};
use crate::kernel::Instant;
use crate::kernel::fault::Faults;
use crate::kernel::words::words;
use crate::people::wire::UserBody;
use crate::sla::wire::explain::TicketSlaBody;
use crate::tickets::wire::TicketBody;
use crate::time_entries::wire::{TicketCostBody, TimeEntryBody};

words! {
    /// What can come with a ticket.
    pub enum TicketPart {
        /// All of the requester, in place of id and name.
        Requester = "requester",
        /// The comments, newest first.
        Comments = "comments",
        /// The trail, what happened last first.
        Events = "events",
        /// The files of it and of its comments.
        Files = "files",
        /// The work on it.
        TimeEntries = "time_entries",
        /// What it has cost.
        Cost = "cost",
        /// Why its clocks stand as they do.
        Sla = "sla",
    }
}

/// What comes with a ticket.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct IncludeQuery {
    /// What comes with the ticket, separated by commas: the first page of each list, of 50 items and 256 KiB at most.
    #[deserr(default)]
    #[param(value_type = Option<Vec<TicketPart>>, inline, min_items = 1, max_items = 100, style = Form, explode = false, example = json!(["requester", "comments"]))]
    pub include: Option<Csv<TicketPart>>,
}

/// What comes with a ticket: each part if it was asked for and the caller may see it.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = TicketParts)]
pub struct TicketPartsBody {
    /// With `include=requester`: all of the person who has the problem, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub requester: Option<UserBody>,
    /// With `include=comments`: the newest comments. `next_cursor` goes on in the list of comments with
    /// `sort=-created_at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub comments: Option<Page<CommentBody>>,
    /// With `include=events`: what happened last. `next_cursor` goes on in the audit trail with `sort=-at`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub events: Option<Page<EventBody>>,
    /// With `include=files`: those of the ticket itself and of its comments, in the order in which they were sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub files: Option<Page<FileBody>>,
    /// With `include=time_entries`: the work, in the order in which it was entered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub time_entries: Option<Page<TimeEntryBody>>,
    /// With `include=cost`: what it has cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub cost: Option<TicketCostBody>,
    /// With `include=sla`: why its clocks stand as they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub sla: Option<TicketSlaBody>,
}

/// A ticket with what is about it.
#[derive(Debug, ToSchema)]
#[schema(as = TicketWithParts, example = json!({
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
    "comments": { "items": [], "next_cursor": null },
}))]
pub struct TicketWithBody {
    /// The ticket.
    #[schema(inline = false)]
    #[serde(flatten)]
    pub ticket: TicketBody,
    /// What is about it, beside its own fields.
    #[serde(flatten)]
    pub parts: TicketPartsBody,
}

impl Serialize for TicketWithBody {
    /// The fields of the ticket, and those of the parts beside them or in their place.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = |value: Result<Value, serde_json::Error>| match value.map_err(S::Error::custom)? {
            Value::Object(fields) => Ok::<Map<String, Value>, S::Error>(fields),
            other => Err(S::Error::custom(format!("{other} has no fields"))),
        };
        let mut all = fields(serde_json::to_value(&self.ticket))?;
        all.extend(fields(serde_json::to_value(&self.parts))?);
        let mut map = serializer.serialize_map(Some(all.len()))?;
        for (name, value) in &all {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Resource for TicketWithBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.ticket.version()
    }

    /// That of the ticket, and of what is about it: the parts of it in which nothing passes by itself, and that can
    /// become others without the ticket.
    fn moved(&self) -> Option<String> {
        use std::hash::{DefaultHasher, Hash, Hasher};
        let TicketPartsBody { requester, comments, events, files, time_entries, cost, sla: _ } = &self.parts;
        let text = serde_json::to_string(&(requester, comments, events, files, time_entries, cost)).unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let own = self.ticket.moved().unwrap_or_else(|| "0".to_owned());
        Some(format!("{own}.{}", hasher.finish()))
    }

    fn is_open_to(reader: &Principal) -> bool {
        TicketBody::is_open_to(reader)
    }
}

words! {
    /// What an item of a timeline is.
    pub enum TimelineKind {
        /// A comment, where it was added.
        Comment = "comment",
        /// Something else that happened.
        Event = "event",
    }
}

/// Something that happened to a ticket, as a page shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineItem, example = json!({
    "kind": "event", "at": "2026-03-02T09:13:30.000000Z", "comment": null,
    "event": {
        "id": "019a2f4e-7c1b-7d3e-8f00-000000000002", "at": "2026-03-02T09:13:30.000000Z", "type": "ticket.updated",
        "visibility": "public", "actor": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
        "comment_id": null, "sla": null, "changes": [{
            "field": "team_id", "before": null, "after": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000c", "name": "Facilities" },
        }],
    },
}))]
pub struct TimelineItemBody {
    /// Which of the two it is.
    pub kind: TimelineKind,
    /// When it happened.
    pub at: Instant,
    /// The comment, as it is now.
    #[schema(required)]
    pub comment: Option<CommentBody>,
    /// What happened.
    #[schema(required)]
    pub event: Option<EventBody>,
}

impl TimelineItemBody {
    /// A comment.
    pub fn comment(comment: CommentBody) -> Self {
        Self { kind: TimelineKind::Comment, at: comment.created_at, comment: Some(comment), event: None }
    }

    /// Something else.
    pub fn event(event: EventBody) -> Self {
        Self { kind: TimelineKind::Event, at: event.at, comment: None, event: Some(event) }
    }
}

impl ListItem for TimelineItemBody {}
