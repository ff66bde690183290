//! The clocks of a ticket. Pure: whether a promise is kept is a function of what happened, the promise, and the instant
//! at which one asks. Nothing has to run for it to be true.

use diesel::prelude::*;
use serde::{Deserialize, Serialize};

use super::policy::{CalendarSet, Measure, Pledge, SlaConfiguration, Target, Traits, VersionOf};
use crate::db::schema::tickets;
pub use crate::kernel::ClockState;
use crate::kernel::{CalendarId, Instant, PolicyId, PrincipalId, Status};
use crate::tally::domain::facts::TicketGroups;

/// What happened to a ticket, as far as time goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Timeline {
    /// The zero of all clocks.
    pub reported_at: Instant,
    /// Each status and since when it had it. The first is `new`, from the report on.
    pub spans: Vec<(Status, Instant)>,
    /// When an agent first answered in public.
    pub first_replied_at: Option<Instant>,
    /// From when on anything is promised, if that is not from the report on: of a ticket that was imported.
    pub promised_from: Option<Instant>,
}

/// How many changes of status the timeline of a ticket takes, but for those that end it.
pub const MOST_STEPS: usize = 1_000;

/// A stretch of time: until an instant, or still going on.
pub type Stretch = (Instant, Option<Instant>);

impl Timeline {
    /// Whether there is room for a step to `status`: for solving and closing there always is.
    pub fn takes(&self, status: Status) -> bool {
        self.spans.len() <= MOST_STEPS || matches!(status, Status::Resolved | Status::Closed)
    }

    /// Each status with its stretch, in order.
    pub fn stretches(&self) -> impl Iterator<Item = (Status, Stretch)> {
        let ends = self.spans.iter().skip(1).map(|(_, from)| Some(*from)).chain([None]);
        self.spans.iter().zip(ends).map(|((status, from), to)| (*status, (*from, to)))
    }

    /// When somebody began to work on it.
    pub fn started_at(&self) -> Option<Instant> {
        self.spans.iter().find(|(status, _)| *status != Status::New).map(|(_, from)| *from)
    }

    /// When it was solved last, if it still is.
    pub fn resolved_at(&self) -> Option<Instant> {
        match self.spans.last()? {
            (Status::Resolved | Status::Closed, _) => {
                self.spans.iter().rev().find(|(status, _)| *status == Status::Resolved).map(|(_, from)| *from)
            }
            _ => None,
        }
    }

    /// The microseconds that it has spent in `status` until `now`.
    pub fn in_status_us(&self, status: Status, now: Instant) -> i64 {
        let stretches = self.stretches().filter(|(which, _)| *which == status);
        stretches.map(|(_, (from, to))| Measure::AllTime.elapsed_us(from, to.unwrap_or(now))).sum()
    }

    /// When `target` was reached.
    pub fn end(&self, target: Target) -> Option<Instant> {
        match target {
            Target::Response => self.started_at(),
            Target::FirstReply => self.first_replied_at,
            Target::Service => self.resolved_at(),
        }
    }

    /// The time that counts for what is promised of `target`, in order.
    pub fn promised(&self, target: Target) -> Vec<Stretch> {
        let Some(zero) = self.promised_from else { return self.counted(target) };
        let ends_later = |(_, to): &Stretch| to.is_none_or(|to| to > zero);
        self.counted(target).into_iter().filter(ends_later).map(|(from, to)| (from.max(zero), to)).collect()
    }

    /// Whether `target` was reached before anything was promised.
    pub fn is_before_promises(&self, target: Target) -> bool {
        self.promised_from.is_some_and(|zero| self.end(target).is_some_and(|end| end <= zero))
    }

    /// The time that counts for `target`, in order.
    pub fn counted(&self, target: Target) -> Vec<Stretch> {
        match target {
            Target::Response | Target::FirstReply => vec![(self.reported_at, self.end(target))],
            Target::Service => {
                self.stretches().filter(|(s, _)| *s == Status::Open).map(|(_, stretch)| stretch).collect()
            }
        }
    }
}

/// How far a clock has come, as it was when it was written down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Progress {
    /// Time counts; there is no end of it when the calendar has too little working time.
    Running {
        /// When it will be too late.
        due_at: Option<Instant>,
    },
    /// Time does not count.
    Paused,
    /// It ended in time.
    Met {
        /// When.
        at: Instant,
    },
    /// It is too late, for good.
    Breached {
        /// When it should have ended.
        due_at: Instant,
        /// From which instant on it is breached: the first one after `due_at`, or the one of the change that made the
        /// promise stricter than what had passed.
        at: Instant,
    },
}

/// A promise about a ticket and how it stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlaClock {
    /// What is promised.
    pub target: Target,
    /// How long it may take, by which versions of what.
    #[serde(flatten)]
    pub pledge: Pledge,
    /// How far it has come.
    #[serde(flatten)]
    pub progress: Progress,
    /// What has counted in the stretches that are over, in microseconds.
    pub counted_us: i64,
    /// Since when time counts.
    pub counting_since: Option<Instant>,
}

/// The first instant after `due_at`: both databases keep microseconds.
fn just_after(due_at: Instant) -> Instant {
    Instant::from_micros(due_at.micros() + 1)
}

impl SlaClock {
    /// The clock of `pledge` on a ticket with this timeline, judged from its zero.
    pub fn judge(target: Target, pledge: Pledge, measure: &Measure, timeline: &Timeline) -> Self {
        let target_us = pledge.target_s.saturating_mul(1_000_000);
        let mut clock = Self { target, pledge, progress: Progress::Paused, counted_us: 0, counting_since: None };
        let mut breach = None;
        for (from, to) in timeline.promised(target) {
            let due_at = measure.after(from, target_us - clock.counted_us);
            clock.progress = Progress::Running { due_at };
            clock.counting_since = Some(from);
            if let Some(to) = to {
                clock.progress = Progress::Paused;
                clock.counting_since = None;
                clock.counted_us += measure.elapsed_us(from, to);
                breach = breach.or(due_at.filter(|due_at| *due_at < to));
            }
        }
        if let Some(at) = timeline.end(target) {
            clock.progress = Progress::Met { at };
        }
        if let Some(due_at) = breach {
            clock.progress = Progress::Breached { due_at, at: just_after(due_at) };
        }
        clock
    }

    /// This clock as it is at `now`: breached, if it ran past its end meanwhile.
    #[must_use]
    pub fn at(self, now: Instant) -> Self {
        match self.progress {
            Progress::Running { due_at: Some(due_at) } if due_at < now => {
                Self { progress: Progress::Breached { due_at, at: just_after(due_at) }, ..self }
            }
            _ => self,
        }
    }

    /// How it stands at the instant that it was taken to by [`at`](Self::at).
    pub fn state(&self) -> ClockState {
        match self.progress {
            Progress::Running { .. } => ClockState::Running,
            Progress::Paused => ClockState::Paused,
            Progress::Met { .. } => ClockState::Met,
            Progress::Breached { .. } => ClockState::Breached,
        }
    }

    /// When it is, or was, due; nothing while it is paused and once it was met.
    pub fn due_at(&self) -> Option<Instant> {
        match self.progress {
            Progress::Running { due_at } => due_at,
            Progress::Breached { due_at, .. } => Some(due_at),
            Progress::Paused | Progress::Met { .. } => None,
        }
    }

    /// From which instant on it is breached if nothing happens.
    pub fn breach_at(&self) -> Option<Instant> {
        match self.progress {
            Progress::Running { due_at } => due_at.map(just_after),
            Progress::Breached { at, .. } => Some(at),
            Progress::Paused | Progress::Met { .. } => None,
        }
    }

    /// When it was met.
    pub fn met_at(&self) -> Option<Instant> {
        if let Progress::Met { at } = self.progress { Some(at) } else { None }
    }

    /// What has counted until `now`, in microseconds.
    pub fn elapsed_us(&self, measure: &Measure, now: Instant) -> i64 {
        self.counted_us + self.counting_since.map_or(0, |since| measure.elapsed_us(since, now))
    }

    /// The same judgement with the time counted anew.
    fn recounted(mut self, measure: &Measure, timeline: &Timeline) -> Self {
        let fresh = Self::judge(self.target, self.pledge.clone(), measure, timeline);
        self.counted_us = fresh.counted_us;
        self.counting_since = fresh.counting_since;
        self
    }
}

/// What was measured when an end was reached, in seconds; of business hours, by the calendar that held then.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured {
    /// When it was solved last, also if it has come back since.
    pub last_resolved_at: Option<Instant>,
    /// From the report to the beginning of the work.
    pub response_business_s: Option<i64>,
    /// From the report to the first answer.
    pub first_reply_business_s: Option<i64>,
    /// In `open`, until it was solved last.
    pub service_s: Option<i64>,
    /// The same, of business hours.
    pub service_business_s: Option<i64>,
    /// From the report until it was solved last.
    pub resolution_s: Option<i64>,
    /// The same, of business hours.
    pub resolution_business_s: Option<i64>,
}

impl Measured {
    /// Measures what has come to its end since.
    fn follow(&mut self, timeline: &Timeline, business: &Measure) {
        let since_report = |measure: &Measure, to: Instant| measure.elapsed_us(timeline.reported_at, to) / 1_000_000;
        let at_work = |measure: &Measure, until: Instant| {
            let stretches = timeline.counted(Target::Service);
            stretches.iter().map(|(from, to)| measure.elapsed_us(*from, to.unwrap_or(until))).sum::<i64>() / 1_000_000
        };
        if self.response_business_s.is_none() {
            self.response_business_s = timeline.started_at().map(|to| since_report(business, to));
        }
        if self.first_reply_business_s.is_none() {
            self.first_reply_business_s = timeline.first_replied_at.map(|to| since_report(business, to));
        }
        if let Some(resolved_at) = timeline.resolved_at().filter(|at| self.last_resolved_at != Some(*at)) {
            self.last_resolved_at = Some(resolved_at);
            self.service_s = Some(at_work(&Measure::AllTime, resolved_at));
            self.service_business_s = Some(at_work(business, resolved_at));
            self.resolution_s = Some(since_report(&Measure::AllTime, resolved_at));
            self.resolution_business_s = Some(since_report(business, resolved_at));
        }
    }
}

impl Measured {
    /// The same, as the timeline tells it: what has not happened was not measured, and calendar time is what lies
    /// between. Of business hours only what was not measured is, since the calendar that held then may hold no more.
    fn corrected(&self, timeline: &Timeline, business: &Measure) -> Self {
        let mut solved = timeline.spans.iter().enumerate().rev();
        let solved = solved.find(|(_, (status, _))| *status == Status::Resolved).map(|(nth, _)| nth);
        let until_solved = solved.map(|nth| Timeline { spans: timeline.spans[..=nth].to_vec(), ..timeline.clone() });
        let mut fresh = Self::default();
        fresh.follow(until_solved.as_ref().unwrap_or(timeline), business);
        let kept = |fresh: Option<i64>, own: Option<i64>| fresh.map(|fresh| own.unwrap_or(fresh));
        // What was solved at another instant was measured until then.
        let is_same = self.last_resolved_at == fresh.last_resolved_at;
        let kept_if_same = |fresh, own| kept(fresh, own).filter(|_| is_same).or(fresh);
        let since_report = |to: Instant| business.elapsed_us(timeline.reported_at, to) / 1_000_000;
        Self {
            response_business_s: kept(timeline.started_at().map(since_report), self.response_business_s),
            first_reply_business_s: kept(timeline.first_replied_at.map(since_report), self.first_reply_business_s),
            service_business_s: kept_if_same(fresh.service_business_s, self.service_business_s),
            resolution_business_s: kept_if_same(fresh.resolution_business_s, self.resolution_business_s),
            ..fresh
        }
    }
}

/// What the rules, and whoever counts, ask of a ticket as it stands.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = tickets)]
pub struct TicketState {
    /// Which ticket.
    pub number: i64,
    /// The zero of its clocks.
    pub reported_at: Instant,
    /// Where it stands.
    pub status: Status,
    /// When an agent first answered in public.
    pub first_replied_at: Option<Instant>,
    /// Who works on it, which no rule asks, but whoever counts what there is to do.
    pub assignee_id: Option<PrincipalId>,
    /// What it is.
    #[diesel(embed)]
    pub traits: Traits,
}

impl TicketState {
    /// Whether nobody has to do anything about it any more.
    pub fn is_solved(&self) -> bool {
        matches!(self.status, Status::Resolved | Status::Closed)
    }

    /// The groups that the ticket is in, with this policy.
    pub fn groups(&self, policy: Option<PolicyId>) -> TicketGroups {
        let Traits { team_id, priority, kind, channel, tags } = self.traits.clone();
        TicketGroups { priority, kind, channel, team: team_id, policy, assignee: self.assignee_id, tags }
    }
}

/// Why the clocks of a ticket are judged anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The ticket is another one than before, or new: the promise that fits now holds from its zero.
    Ticket,
    /// The ticket took a step or was answered: what ended without a promise stays so.
    Step,
    /// Policies or calendars have changed: what has ended is not judged by what came later.
    Configuration,
}

/// The times of a ticket, measured and promised.
#[derive(Debug, Clone, PartialEq)]
pub struct Times {
    /// The policy that the ticket has now.
    pub policy_id: Option<PolicyId>,
    /// What happened.
    pub timeline: Timeline,
    /// What is promised: at most one clock for each target, in their order.
    pub clocks: Vec<SlaClock>,
    /// What was measured.
    pub measured: Measured,
}

impl Times {
    /// The times of a ticket that was reported and has been opened just now.
    pub fn new(reported_at: Instant) -> Self {
        let timeline = Timeline {
            reported_at,
            spans: vec![(Status::New, reported_at)],
            first_replied_at: None,
            promised_from: None,
        };
        Self { policy_id: None, timeline, clocks: Vec::new(), measured: Measured::default() }
    }

    /// Takes a step to `status`, if it is not there already.
    pub fn step(&mut self, status: Status, now: Instant) {
        if self.timeline.spans.last().is_none_or(|(last, _)| *last != status) {
            self.timeline.spans.push((status, now));
        }
    }

    /// What they are once `before` has become `after` at `now`. `calendar_set` has the calendars that the clocks name.
    pub fn become_of(
        &mut self,
        before: &TicketState,
        after: &TicketState,
        configuration: &SlaConfiguration,
        calendar_set: &CalendarSet,
        now: Instant,
    ) {
        self.step(after.status, now);
        self.timeline.first_replied_at = after.first_replied_at;
        let occasion = if before.traits == after.traits { Occasion::Step } else { Occasion::Ticket };
        self.judge(&after.traits, configuration, calendar_set, occasion, now);
    }

    /// Judges the clocks of a ticket like this at `now`. What was breached stays so, what was met stays so unless the
    /// ticket has come back, and all else is judged from the ticket's zero by what the configuration says now.
    /// `calendar_set` has the calendars that the clocks name.
    pub fn judge(
        &mut self,
        ticket: &Traits,
        configuration: &SlaConfiguration,
        calendar_set: &CalendarSet,
        occasion: Occasion,
        now: Instant,
    ) {
        let policy = configuration.select(ticket);
        let judged = Target::ALL.iter().filter_map(|target| {
            let old = self.clocks.iter().find(|clock| clock.target == *target).cloned().map(|clock| clock.at(now));
            let end = self.timeline.end(*target);
            match old {
                Some(clock) if clock.state() == ClockState::Breached => {
                    let measure = calendar_set.measure(&clock.pledge);
                    Some(clock.recounted(&measure, &self.timeline))
                }
                Some(clock) if clock.state() == ClockState::Met && end.is_some() => Some(clock),
                None if end.is_some() && occasion != Occasion::Ticket => None,
                None if self.timeline.is_before_promises(*target) => None,
                _ => {
                    let pledge = configuration.pledge(policy?, *target, ticket.priority)?;
                    let measure = configuration.calendar_set.measure(&pledge);
                    let mut clock = SlaClock::judge(*target, pledge, &measure, &self.timeline).at(now);
                    if let Progress::Breached { at, .. } = &mut clock.progress {
                        // It was not breached a moment ago, so no figure of the past may change.
                        *at = (*at).max(now);
                    }
                    Some(clock)
                }
            }
        });
        self.clocks = judged.collect();
        self.policy_id = policy.map(|policy| policy.of.id);
        self.measured.follow(&self.timeline, &configuration.business(policy));
    }

    /// The times of a ticket that has taken these steps, the last of them into where it stands, each judged at its
    /// instant by `configuration`: what was written down of it, had this configuration always held.
    pub fn retold(
        ticket: &TicketState,
        created_at: Instant,
        steps: &[(Status, Instant)],
        configuration: &SlaConfiguration,
    ) -> Self {
        let mut times = Self::new(ticket.reported_at);
        let mut happenings: Vec<(Instant, Option<Status>)> = steps.iter().map(|(to, at)| (*at, Some(*to))).collect();
        happenings.extend(ticket.first_replied_at.map(|at| (at, None)));
        happenings.sort_by_key(|(at, _)| *at);
        times.judge(&ticket.traits, configuration, &configuration.calendar_set, Occasion::Ticket, created_at);
        for (at, step) in happenings {
            match step {
                Some(status) => times.step(status, at),
                None => times.timeline.first_replied_at = Some(at),
            }
            times.judge(&ticket.traits, configuration, &configuration.calendar_set, Occasion::Step, at);
        }
        times
    }

    /// The same as they should be written down at `now`: measured as the timeline tells it, and if `ticket` has
    /// followed all edits of policies and calendars up to `configuration` and can still be judged by it, promised what
    /// that promises. `calendar_set` has the calendars that the clocks name.
    #[must_use]
    pub fn corrected(
        &self,
        ticket: &TicketState,
        configuration: &SlaConfiguration,
        calendar_set: &CalendarSet,
        has_followed: bool,
        now: Instant,
    ) -> Self {
        let mut right = self.clone();
        // One that was imported is judged from what happens to it first.
        let is_judged = self.timeline.promised_from.is_none() || self.policy_id.is_some() || !self.clocks.is_empty();
        if has_followed && is_judged && ticket.status != Status::Closed {
            right.judge(&ticket.traits, configuration, calendar_set, Occasion::Configuration, now);
            // A clock that has run past its end since is written down as one that runs.
            if right.policy_id == self.policy_id
                && self.clocks.iter().cloned().map(|c| c.at(now)).eq(right.clocks.iter().cloned())
            {
                right.clocks.clone_from(&self.clocks);
            }
        }
        let policy = configuration.policies.iter().find(|policy| Some(policy.of.id) == right.policy_id);
        right.measured = self.measured.corrected(&self.timeline, &configuration.business(policy));
        right
    }

    /// The calendars that are needed to tell how the clocks stand.
    pub fn calendars(&self) -> impl Iterator<Item = VersionOf<CalendarId>> {
        self.clocks.iter().filter_map(|clock| clock.pledge.calendar)
    }

    /// Whether the ticket is closed: nothing can be done about it any more, so nothing is told of it.
    pub fn is_closed(&self) -> bool {
        self.timeline.spans.last().is_some_and(|(status, _)| *status == Status::Closed)
    }

    /// The earliest due instant of the clocks that have not ended; nothing once the ticket is closed, since nothing can
    /// be done about it any more.
    pub fn due_at(&self) -> Option<Instant> {
        if self.is_closed() {
            return None;
        }
        let open = self.clocks.iter().filter(|clock| self.timeline.end(clock.target).is_none());
        open.filter_map(SlaClock::due_at).min()
    }
}

#[cfg(test)]
pub(crate) mod tests;
