//! The explanation of a ticket's clocks as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use super::clocks::ClockBody;
use crate::kernel::{Instant, PolicyId, Status, TicketId};
use crate::sla::domain::explain::Segment;

/// The ticket that is explained.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SlaTicket {
    /// Its id.
    pub id: TicketId,
    /// Its number.
    #[schema(minimum = 1)]
    pub number: i64,
}

/// The policy that a ticket has now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct TicketPolicy {
    /// Its id.
    pub id: PolicyId,
    /// What it is called now; null for requesters where that is hidden.
    #[schema(required)]
    pub name: Option<String>,
    /// Which version of it there is now; clocks that have ended may have been judged by an earlier one.
    #[schema(minimum = 1)]
    pub version: i64,
}

/// A stretch of the ticket's life in one status, as a clock sees it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ClockSegment)]
pub struct SegmentBody {
    /// When it begins.
    pub from: Instant,
    /// When it ends; null while it still goes on.
    #[schema(required)]
    pub to: Option<Instant>,
    /// Where the ticket stood.
    pub status: Status,
    /// Whether its time counts; of business hours, the working time in it.
    pub counts: bool,
    /// What it adds to the clock's `elapsed_s`, of which all segments are the sum.
    #[schema(minimum = 0)]
    pub elapsed_s: i64,
    /// Why it counts or does not.
    pub why: String,
}

impl From<Segment> for SegmentBody {
    fn from(segment: Segment) -> Self {
        let Segment { from, to, status, counts, elapsed_s, why } = segment;
        Self { from, to, status, counts, elapsed_s, why }
    }
}

/// A clock, what judges it, and where its time went.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = ExplainedClock)]
pub struct ExplainedClockBody {
    /// The clock as the ticket shows it.
    #[serde(flatten)]
    pub clock: ClockBody,
    /// What the policy was called in the version that judges this clock; null for requesters where that is hidden.
    #[schema(required)]
    pub policy_name: Option<String>,
    /// What the calendar of its business hours is called; null for calendar hours.
    #[schema(required)]
    pub calendar_name: Option<String>,
    /// The zone of that calendar, in the version that judges this clock.
    #[schema(required, examples("Europe/Oslo"))]
    pub time_zone: Option<String>,
    /// How the clock came to stand as it does.
    pub why: String,
    /// The ticket's life from the report until the clock's end, or until now, without gaps.
    pub segments: Vec<SegmentBody>,
}

/// Why the clocks of a ticket stand as they do.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = TicketSla, example = json!({
    "ticket": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "number": 4711 },
    "now": "2026-03-02T10:00:00.000000Z",
    "policy": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000d", "name": "Urgent incidents", "version": 3 },
    "why": "By position, it is the first policy whose condition holds for the ticket as it is now.",
    "clocks": [{
        "target": "service", "state": "paused", "hours": "business", "target_s": 14400, "due_at": null, "elapsed_s": 600,
        "remaining_s": 13800, "met_at": null, "breached_at": null,
        "policy_id": "019a2f4e-7c1b-7d3e-8f00-00000000000d", "policy_version": 3,
        "calendar_id": "019a2f4e-7c1b-7d3e-8f00-00000000000e", "calendar_version": 1,
        "policy_name": "Urgent incidents", "calendar_name": "Office in Oslo", "time_zone": "Europe/Oslo",
        "why": "Paused: 600 of 14400 s have counted; time counts while the ticket is open.",
        "segments": [
            { "from": "2026-03-02T09:10:00.000000Z", "to": "2026-03-02T09:13:30.000000Z", "status": "new", "counts": false, "elapsed_s": 0,
              "why": "Does not count: nobody had begun to work on it." },
            { "from": "2026-03-02T09:13:30.000000Z", "to": "2026-03-02T09:23:30.000000Z", "status": "open", "counts": true, "elapsed_s": 600,
              "why": "Working hours count, by version 1 of the calendar “Office in Oslo”: it was being worked on." },
            { "from": "2026-03-02T09:23:30.000000Z", "to": null, "status": "waiting_requester", "counts": false, "elapsed_s": 0,
              "why": "Does not count: it waited for the requester." },
        ],
    }],
}))]
pub struct TicketSlaBody {
    /// The ticket.
    pub ticket: SlaTicket,
    /// The instant that all of this is about.
    pub now: Instant,
    /// The policy that the ticket has now.
    #[schema(required)]
    pub policy: Option<TicketPolicy>,
    /// Why it has this policy.
    pub why: String,
    /// Its clocks.
    #[schema(max_items = 3)]
    pub clocks: Vec<ExplainedClockBody>,
}

impl TicketSlaBody {
    /// The same without what policies are called.
    #[must_use]
    pub fn without_policy_names(mut self) -> Self {
        for name in self.policy.iter_mut().map(|policy| &mut policy.name) {
            *name = None;
        }
        for clock in &mut self.clocks {
            clock.policy_name = None;
        }
        self
    }
}
