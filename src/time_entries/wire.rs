//! Time entries as clients write and see them.

use deserr::Deserr;
use serde::Serialize;
use utoipa::ToSchema;

use super::domain::{MOST_WORK_S, RateOf, Total};
use super::store::TimeEntryRow;
use crate::audit::wire::{Named, NamedPrincipal};
use crate::auth::domain::Principal;
use crate::auth::policy::ReadWork;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::Faults;
use crate::kernel::text::Prose;
use crate::kernel::whole::Whole;
use crate::kernel::{Instant, Money, PrincipalId, TimeEntryId};

/// Work to be entered.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "work_s": 1500, "worked_at": "2026-03-02T09:40:00.000000Z", "note": "Put the fire out." }))]
pub struct NewTimeEntry {
    /// How long it took, in seconds: at most a week.
    #[schema(value_type = i64, minimum = 1, maximum = 604800)]
    pub work_s: Whole<1, MOST_WORK_S>,
    /// Whose work it is: an active agent or admin. The caller unless said; a service account has to say.
    #[deserr(default)]
    pub agent_id: Option<PrincipalId>,
    /// When the work was done; now unless said, and never in the future: up to 60 s, by which clocks differ, are now.
    #[deserr(default)]
    pub worked_at: Option<Instant>,
    /// What was done, for those behind the counter alone: at most 4000 bytes of UTF-8.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 4000)]
    pub note: Option<Prose<1, 4000>>,
}

/// Work on a ticket.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimeEntry, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000000e",
    "agent": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "created_by": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "work_s": 1500,
    "hourly_rate": { "amount_minor": 9000, "currency": "EUR" },
    "rate_of": "agent",
    "cost": { "amount_minor": 3750, "currency": "EUR" },
    "note": "Put the fire out.",
    "worked_at": "2026-03-02T09:40:00.000000Z",
    "created_at": "2026-03-02T09:41:00.000000Z",
    "version": 1,
}))]
pub struct TimeEntryBody {
    /// The entry's id; later entries have larger ids.
    pub id: TimeEntryId,
    /// Whose work it is.
    pub agent: NamedPrincipal,
    /// Who entered it: a person or a service account.
    pub created_by: NamedPrincipal,
    /// How long it took, in seconds.
    #[schema(minimum = 1)]
    pub work_s: i64,
    /// What an hour cost when the work was entered; null when nobody had said. Later changes of rates do not change it.
    #[schema(required)]
    pub hourly_rate: Option<Money>,
    /// Whose hourly rate it was: the agent's own, else that of the team that the ticket was in, else that of the
    /// service.
    #[schema(required)]
    pub rate_of: Option<RateOf>,
    /// What the work cost, rounded half up to a minor unit; null without a rate.
    #[schema(required)]
    pub cost: Option<Money>,
    /// What was done.
    #[schema(required)]
    pub note: Option<String>,
    /// When the work was done.
    pub worked_at: Instant,
    /// When it was entered.
    pub created_at: Instant,
    /// Always 1, since entries are added and removed, never changed; the `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<TimeEntryRow> for TimeEntryBody {
    fn from(TimeEntryRow { entry, agent, created_by }: TimeEntryRow) -> Self {
        Self {
            id: entry.id,
            agent: Named { id: entry.agent_id, name: agent },
            created_by: Named { id: entry.created_by_id, name: created_by },
            work_s: entry.work_s,
            hourly_rate: entry.price.map(|price| price.hourly_rate),
            rate_of: entry.price.map(|price| price.rate_of),
            cost: entry.price.map(|price| price.cost),
            note: entry.note,
            worked_at: entry.worked_at,
            created_at: entry.created_at,
            version: entry.version,
        }
    }
}

impl Resource for TimeEntryBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadWork>()
    }
}

/// What all work on a ticket comes to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TicketCost, example = json!({
    "work_s": 5100, "unrated_work_s": 0, "costs": [{ "amount_minor": 12750, "currency": "EUR" }],
}))]
pub struct TicketCostBody {
    /// All of the work, in seconds.
    #[schema(minimum = 0)]
    pub work_s: i64,
    /// As much of it as has no hourly rate, and so no part in `costs`, in seconds.
    #[schema(minimum = 0)]
    pub unrated_work_s: i64,
    /// What the rest of it cost: the sum of each currency, in the order of their letters.
    pub costs: Vec<Money>,
}

impl From<Total> for TicketCostBody {
    fn from(total: Total) -> Self {
        let Total { work_s, unrated_work_s, costs } = total;
        let costs = costs.into_iter().map(|(currency, amount_minor)| Money { amount_minor, currency }).collect();
        Self { work_s, unrated_work_s, costs }
    }
}

impl ListItem for TimeEntryBody {}
