//! Figures as clients see them. What each means stands here, beside it.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::kernel::{Currency, Instant, Money, PrincipalId, Target};
use crate::metrics::domain::figures::{costs, mean_s, rate};
use crate::tally::domain::cells::{Counts, DurationKind, Figures};
use crate::tally::domain::facts::{Took, What};
use crate::tally::domain::sketch::{Sketch, Spread};

/// What happened to tickets in a window of time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Figures)]
pub struct FiguresBody {
    /// How many tickets.
    pub tickets: TicketFigures,
    /// `tickets.reopened / tickets.resolved`, rounded to six digits; null when none was resolved. More than 1 when
    /// tickets came back in the window that were resolved before it.
    #[schema(required, minimum = 0.0)]
    pub reopen_rate: Option<f64>,
    /// `tickets.first_contact / tickets.resolved_by.people`, rounded to six digits; null when there were none.
    #[schema(required, minimum = 0.0, maximum = 1.0)]
    pub first_contact_rate: Option<f64>,
    /// How long it took.
    pub durations: DurationFigures,
    /// How often promises of SLA policies were kept.
    pub sla: SlaFigures,
    /// Work, and what it cost.
    pub cost: CostFigures,
}

/// Numbers of tickets.
#[derive(Debug, Serialize, ToSchema)]
pub struct TicketFigures {
    /// Tickets that were opened in the window, by `created_at`.
    #[schema(minimum = 0)]
    pub created: i64,
    /// Times that a ticket was resolved in the window: one that came back and was resolved again counts again.
    #[schema(minimum = 0)]
    pub resolved: i64,
    /// Times that a resolved ticket came back in the window.
    #[schema(minimum = 0)]
    pub reopened: i64,
    /// Of the times that a ticket was resolved by people, those of tickets that had never come back until then and had
    /// at most one public comment by an agent other than the requester.
    #[schema(minimum = 0)]
    pub first_contact: i64,
    /// Of the times that a ticket was resolved, by whom.
    pub resolved_by: ResolvedByFigures,
}

/// By whom tickets were resolved.
#[derive(Debug, Serialize, ToSchema)]
pub struct ResolvedByFigures {
    /// By the end of their alert, before anybody had worked on them. They have no part in `durations`, nor in
    /// `first_contact`: nobody was quick.
    #[schema(minimum = 0)]
    pub alert: i64,
    /// All others.
    #[schema(minimum = 0)]
    pub people: i64,
}

/// How long things took.
#[derive(Debug, Serialize, ToSchema)]
pub struct DurationFigures {
    /// From the report until somebody began to work on it: of tickets on which work began in the window.
    pub response: SpreadByHours,
    /// From the report until an agent first answered in public: of tickets first answered in the window.
    pub first_reply: SpreadByHours,
    /// The time in `open`, without all waiting and all time resolved: each time that a ticket was resolved in the
    /// window, until then.
    pub service: SpreadByHours,
    /// From the report to the resolution, minus nothing: each time that a ticket was resolved in the window.
    pub resolution: SpreadByHours,
}

/// A duration in both kinds of seconds.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpreadByHours {
    /// All seconds.
    pub calendar: SpreadBody,
    /// Those in working hours, as they were measured when the duration ended.
    pub business: SpreadBody,
}

/// How a duration is spread. All but `count` are null when there is none.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Spread)]
pub struct SpreadBody {
    /// How many such durations there are.
    #[schema(minimum = 0)]
    pub count: i64,
    /// The mean, in seconds, rounded to a thousandth; exact.
    #[schema(required, minimum = 0.0)]
    pub mean_s: Option<f64>,
    /// The median, in seconds: half of them took no longer. By nearest rank and within 1 % of it, as are the other
    /// percentiles and the longest; below 128 seconds exact.
    #[schema(required, minimum = 0)]
    pub p50_s: Option<i64>,
    /// 90 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p90_s: Option<i64>,
    /// 95 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p95_s: Option<i64>,
    /// 99 percent took no longer, in seconds.
    #[schema(required, minimum = 0)]
    pub p99_s: Option<i64>,
    /// The longest, in seconds, within 1 %.
    #[schema(required, minimum = 0)]
    pub max_s: Option<i64>,
}

/// How often promises were kept, by target.
#[derive(Debug, Serialize, ToSchema)]
pub struct SlaFigures {
    /// That somebody begins to work on it in time.
    pub response: AttainmentBody,
    /// That an agent first answers in public in time.
    pub first_reply: AttainmentBody,
    /// That it is solved in time.
    pub service: AttainmentBody,
}

/// How often a promise was kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Attainment)]
pub struct AttainmentBody {
    /// Times that a clock ended in time in the window: that of a ticket which came back may end again.
    #[schema(minimum = 0)]
    pub met: i64,
    /// Clocks that became breached in the window, until now: at the instant after they were due, also if nothing was
    /// written then.
    #[schema(minimum = 0)]
    pub breached: i64,
    /// `met / (met + breached)`, rounded to six digits; null when there was neither.
    #[schema(required, minimum = 0.0, maximum = 1.0)]
    pub attainment: Option<f64>,
}

/// Work, and what it cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostFigures {
    /// The work of all time entries with a `worked_at` in the window, in seconds.
    #[schema(minimum = 0)]
    pub work_s: i64,
    /// As much of it as has no hourly rate, and so no part in `costs`, in seconds.
    #[schema(minimum = 0)]
    pub unrated_work_s: i64,
    /// What the rest of it cost, by currency, in the order of their letters.
    pub costs: Vec<CostFigure>,
}

/// What work cost, in one currency.
#[derive(Debug, Serialize, ToSchema)]
pub struct CostFigure {
    /// The currency.
    pub currency: Currency,
    /// What the work in the window cost, in minor units.
    #[schema(minimum = 0)]
    pub total_minor: i64,
    /// `total_minor / tickets.resolved`, rounded half up to a minor unit; null when none was resolved.
    #[schema(required, minimum = 0)]
    pub per_resolved_ticket_minor: Option<i64>,
}

impl From<Spread> for SpreadBody {
    fn from(spread: Spread) -> Self {
        let percentile = |place: usize| (spread.count > 0).then(|| spread.percentiles_s[place]);
        Self {
            count: spread.count,
            mean_s: mean_s(&spread),
            p50_s: percentile(0),
            p90_s: percentile(1),
            p95_s: percentile(2),
            p99_s: percentile(3),
            max_s: percentile(4),
        }
    }
}

impl From<[&Sketch; 2]> for SpreadByHours {
    fn from([calendar, business]: [&Sketch; 2]) -> Self {
        Self { calendar: calendar.spread().into(), business: business.spread().into() }
    }
}

impl AttainmentBody {
    fn of(counts: &Counts, target: Target) -> Self {
        let (met, breached) = (counts.met[target as usize], counts.breached[target as usize]);
        Self { met, breached, attainment: rate(met, met + breached) }
    }
}

impl From<&Figures> for FiguresBody {
    fn from(figures: &Figures) -> Self {
        let counts = &figures.counts;
        let costs = costs(counts).map(|(currency, total_minor, per_resolved_ticket_minor)| CostFigure {
            currency,
            total_minor,
            per_resolved_ticket_minor,
        });
        let Counts { created, resolved, reopened, first_contact, by_alert, .. } = *counts;
        let resolved_by = ResolvedByFigures { alert: by_alert, people: resolved - by_alert };
        Self {
            reopen_rate: rate(reopened, resolved),
            first_contact_rate: rate(first_contact, resolved_by.people),
            tickets: TicketFigures { created, resolved, reopened, first_contact, resolved_by },
            durations: DurationFigures {
                response: figures.durations(DurationKind::Response).into(),
                first_reply: figures.durations(DurationKind::FirstReply).into(),
                service: figures.durations(DurationKind::Service).into(),
                resolution: figures.durations(DurationKind::Resolution).into(),
            },
            sla: SlaFigures {
                response: AttainmentBody::of(counts, Target::Response),
                first_reply: AttainmentBody::of(counts, Target::FirstReply),
                service: AttainmentBody::of(counts, Target::Service),
            },
            cost: CostFigures { work_s: counts.work_s, unrated_work_s: counts.unrated_work_s, costs: costs.collect() },
        }
    }
}

/// A Monday in Oslo.
pub fn example_day() -> [Instant; 2] {
    [1_772_406_000, 1_772_492_400].map(|s| Instant::EPOCH.plus_s(s))
}

/// Some figures, in examples.
pub fn example_figures() -> FiguresBody {
    let took = |calendar_s, business_s| Took::of(Some(calendar_s), Some(business_s));
    let cost = "EUR".parse().ok().map(|currency| Money { amount_minor: 3_750, currency });
    let mut figures = Figures::default();
    for what in [
        What::Created,
        What::Created,
        What::Started(took(210, 210)),
        What::Replied(took(600, 600)),
        What::Resolved { is_first_contact: true, service: took(5_400, 3_600), resolution: took(9_000, 3_810) },
        What::Met(Target::Response),
        What::Breached(Target::Service),
        What::Worked { worker: PrincipalId(Uuid::nil()), work_s: 1_500, cost },
    ] {
        figures.add(&what, 1);
    }
    (&figures).into()
}
