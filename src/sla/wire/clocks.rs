//! The durations and clocks of a ticket as clients see them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::kernel::{CalendarId, Instant, PolicyId, Status};
use crate::sla::domain::clock::{ClockState, SlaClock, Timeline, Times};
use crate::sla::domain::policy::{CalendarSet, Hours, Target};

/// A duration, in calendar and in business seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Duration)]
pub struct DurationBody {
    /// All seconds.
    #[schema(minimum = 0, examples(5400))]
    pub calendar_s: i64,
    /// Those in working hours, by the calendar of the ticket's policy at the time, or else the default calendar.
    /// Without any calendar, all of them.
    #[schema(minimum = 0, examples(3600))]
    pub business_s: i64,
}

/// How long things took. A duration is null until both of its ends exist.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Durations)]
pub struct DurationsBody {
    /// From the report until somebody began to work on it.
    #[schema(required)]
    pub response: Option<DurationBody>,
    /// From the report until an agent first answered in public.
    #[schema(required)]
    pub first_reply: Option<DurationBody>,
    /// From the beginning of the work until it was solved, without all time spent waiting and without the time spent
    /// resolved before it was reopened: the time in `open`.
    #[schema(required)]
    pub service: Option<DurationBody>,
    /// From the report until it was solved, minus nothing.
    #[schema(required)]
    pub resolution: Option<DurationBody>,
    /// The seconds spent in each status until now; in `new` from the report on.
    pub in_status_s: InStatusBody,
}

/// The seconds spent in each status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = SecondsInStatus)]
pub struct InStatusBody {
    /// Reported; nobody had begun to work on it.
    #[schema(minimum = 0)]
    pub new: i64,
    /// Being worked on.
    #[schema(minimum = 0)]
    pub open: i64,
    /// Waiting for the requester.
    #[schema(minimum = 0)]
    pub waiting_requester: i64,
    /// Waiting for somebody else.
    #[schema(minimum = 0)]
    pub waiting_third_party: i64,
    /// Solved.
    #[schema(minimum = 0)]
    pub resolved: i64,
    /// Over. No seconds are counted any more once a ticket is closed; a first reply that never came is still promised.
    #[schema(minimum = 0, maximum = 0)]
    pub closed: i64,
}

impl DurationsBody {
    /// The durations of a ticket at `now`.
    pub fn of(times: &Times, now: Instant) -> Self {
        let Times { timeline, measured, .. } = times;
        let both = |calendar_s: Option<i64>, business_s: Option<i64>| {
            calendar_s.zip(business_s).map(|(calendar_s, business_s)| DurationBody { calendar_s, business_s })
        };
        let since_report = |to: Option<Instant>| to.map(|to| (to.micros() - timeline.reported_at.micros()) / 1_000_000);
        let solved = timeline.resolved_at();
        let while_solved = |value: Option<i64>| solved.and(value);
        let in_status = |status: Status| timeline.in_status_us(status, now) / 1_000_000;
        Self {
            response: both(since_report(timeline.started_at()), measured.response_business_s),
            first_reply: both(since_report(timeline.first_replied_at), measured.first_reply_business_s),
            service: both(while_solved(measured.service_s), measured.service_business_s),
            resolution: both(while_solved(measured.resolution_s), measured.resolution_business_s),
            in_status_s: InStatusBody {
                new: in_status(Status::New),
                open: in_status(Status::Open),
                waiting_requester: in_status(Status::WaitingRequester),
                waiting_third_party: in_status(Status::WaitingThirdParty),
                resolved: in_status(Status::Resolved),
                closed: 0,
            },
        }
    }
}

/// A promise of an SLA policy about a ticket, and how it stands now.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Clock)]
pub struct ClockBody {
    /// What is promised.
    pub target: Target,
    /// How it stands. A clock past its `due_at` is breached for good, also if it ends later.
    pub state: ClockState,
    /// Which time counts.
    pub hours: Hours,
    /// How long it may take, in seconds that count.
    #[schema(minimum = 1, examples(3600))]
    pub target_s: i64,
    /// When it will be, or was, too late; null while it is paused and once it was met.
    #[schema(required)]
    pub due_at: Option<Instant>,
    /// The seconds that have counted so far.
    #[schema(minimum = 0, examples(900))]
    pub elapsed_s: i64,
    /// What is left of the target, in seconds that count; negative by how much it is exceeded.
    #[schema(examples(2700))]
    pub remaining_s: i64,
    /// When it ended, in time or not; null while it goes on.
    #[schema(required)]
    pub ended_at: Option<Instant>,
    /// When it ended in time.
    #[schema(required)]
    pub met_at: Option<Instant>,
    /// Since when it is breached: the first instant after `due_at`, or that of the change which made the promise
    /// stricter than what had passed already.
    #[schema(required)]
    pub breached_at: Option<Instant>,
    /// The policy that promises.
    pub policy_id: PolicyId,
    /// The version of it that judges this clock.
    #[schema(minimum = 1)]
    pub policy_version: i64,
    /// The calendar of its business hours; null for calendar hours.
    #[schema(required)]
    pub calendar_id: Option<CalendarId>,
    /// The version of it that judges this clock.
    #[schema(required, minimum = 1)]
    pub calendar_version: Option<i64>,
}

impl ClockBody {
    /// A clock at `now` on a ticket with this timeline; `calendar_set` has its calendar.
    pub fn of(clock: &SlaClock, timeline: &Timeline, calendar_set: &CalendarSet, now: Instant) -> Self {
        let clock = clock.clone().at(now);
        let elapsed_s = clock.elapsed_us(&calendar_set.measure(&clock.pledge), now) / 1_000_000;
        let breached = clock.state() == ClockState::Breached;
        Self {
            target: clock.target,
            state: clock.state(),
            hours: clock.pledge.hours,
            target_s: clock.pledge.target_s,
            due_at: clock.due_at(),
            elapsed_s,
            remaining_s: clock.pledge.target_s - elapsed_s,
            ended_at: timeline.end(clock.target),
            met_at: clock.met_at(),
            breached_at: clock.breach_at().filter(|_| breached),
            policy_id: clock.pledge.policy.id,
            policy_version: clock.pledge.policy.version,
            calendar_id: clock.pledge.calendar.map(|of| of.id),
            calendar_version: clock.pledge.calendar.map(|of| of.version),
        }
    }
}

/// What is due next, or most overdue, of what is promised about a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = NextDue)]
pub struct NextDueBody {
    /// What is promised.
    pub target: Target,
    /// When it will be, or was, too late.
    pub due_at: Instant,
    /// `running`, or `breached` when it is too late and still has not ended.
    pub state: ClockState,
}

impl NextDueBody {
    /// The first of these clocks of an unclosed ticket to be due that has not ended; nothing when none has a due
    /// instant.
    pub fn of(clocks: &[ClockBody]) -> Option<Self> {
        let going_on = clocks.iter().filter(|clock| clock.ended_at.is_none());
        let due = going_on.filter_map(|clock| {
            let ClockBody { target, state, .. } = *clock;
            clock.due_at.map(|due_at| Self { target, due_at, state })
        });
        due.min_by_key(|next| next.due_at)
    }
}
