//! Alerts as clients write and see them.

pub mod intake;
pub mod sources;

use std::collections::BTreeMap;

use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::domain::{Alert, AlertSourceRef, AlertState};
use super::store::AlertRow;
use crate::audit::wire::Named;
use crate::http::{Cursor, ListItem};
use crate::kernel::fault::Faults;
use crate::kernel::rows::Limit;
use crate::kernel::{AlertId, AlertSourceId, Instant, TicketId};
use crate::tickets::wire::TicketRef;

/// The ticket of an alert.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = AlertTicket)]
pub struct AlertTicketBody {
    /// Its id.
    pub id: TicketId,
    /// Its number.
    #[schema(minimum = 1, examples(4711))]
    pub number: i64,
}

/// An alert, as it was told last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Alert, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-0000000000a1", "source": { "id": "019a2f4e-7c1b-7d3e-8f00-0000000000a0", "name": "prometheus-eu" },
    "dedupe_key": "c8b4b1ef92a1d2c3", "state": "firing", "starts_at": "2026-03-02T09:10:00.000000Z", "ends_at": null,
    "last_seen_at": "2026-03-02T09:14:00.000000Z", "times": 3, "severity": "critical", "summary": "Disk full on db-3",
    "labels": { "alertname": "DiskFull", "instance": "db-3", "severity": "critical" }, "annotations": { "summary": "Disk full on db-3" },
    "links": ["https://prometheus.example.org/graph?g0.expr=x"], "firing_count": 1, "truncated": false, "truncated_alerts": 0,
    "ticket": { "id": "019a2f4e-7c1b-7d3e-8f00-1234567890ab", "number": 4711 },
}))]
pub struct AlertBody {
    /// The id. Alerts that were first told of later have larger ones.
    pub id: AlertId,
    /// Who tells of it.
    pub source: Named<AlertSourceId>,
    /// By what its source knows it.
    pub dedupe_key: String,
    /// How it stands.
    pub state: AlertState,
    /// When it began, this time.
    pub starts_at: Instant,
    /// When it ended; null while it fires.
    #[schema(required)]
    pub ends_at: Option<Instant>,
    /// When it was last told of.
    pub last_seen_at: Instant,
    /// How often it was told of.
    #[schema(minimum = 1)]
    pub times: i64,
    /// How bad it is, in the words of its source.
    #[schema(required)]
    pub severity: Option<String>,
    /// One line that says what it is.
    pub summary: String,
    /// Its labels: the first 64 in the order of their names.
    pub labels: BTreeMap<String, String>,
    /// What else it says: likewise.
    pub annotations: BTreeMap<String, String>,
    /// Where to look.
    pub links: Vec<String>,
    /// How many alerts fire of a group that has one ticket; 1 of an alert that fires, 0 of one that is over.
    #[schema(minimum = 0)]
    pub firing_count: i64,
    /// Whether something of it was too long, or too much, and was cut.
    pub truncated: bool,
    /// How many alerts of the group its sender has left out.
    #[schema(minimum = 0)]
    pub truncated_alerts: i64,
    /// Its ticket; null of one that was never known to fire.
    #[schema(required)]
    pub ticket: Option<AlertTicketBody>,
}

impl From<AlertRow> for AlertBody {
    fn from(AlertRow { alert, source, ticket }: AlertRow) -> Self {
        let Alert {
            id,
            source_id,
            dedupe_key,
            ticket_number,
            state,
            starts_at,
            ends_at,
            last_seen_at,
            times,
            severity,
            summary,
            labels,
            annotations,
            links,
            firing_count,
            truncated,
            truncated_alerts,
            redacted: _,
            own_to: _,
        } = alert;
        Self {
            id,
            source: Named { id: source_id, name: source },
            dedupe_key,
            state,
            starts_at,
            ends_at,
            last_seen_at,
            times,
            severity,
            summary,
            labels,
            annotations,
            links,
            firing_count,
            truncated,
            truncated_alerts,
            ticket: ticket.zip(ticket_number).map(|(id, number)| AlertTicketBody { id, number }),
        }
    }
}

impl ListItem for AlertBody {}

/// Which alerts a list has.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AlertQuery {
    /// Only those that stand so.
    #[deserr(default)]
    #[param(value_type = Option<AlertState>, inline)]
    pub state: Option<AlertState>,
    /// Only those of this source, by its id or name.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "prometheus-eu")]
    pub source: Option<AlertSourceRef>,
    /// Only those of this ticket, by its id or number.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "4711")]
    pub ticket_id: Option<TicketRef>,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}
