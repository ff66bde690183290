//! The past of a ticket, lived again: each entry does what it would have done here, at its own instant. What the
//! life-cycle of here would refuse is mended by rule, and told. Pure.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::domain::Role;
use crate::comments::store::Comment;
use crate::kernel::fields::Fields;
use crate::kernel::words::words;
use crate::kernel::{
    Channel, Clock, Instant, Patch, PrincipalId, Priority, Problem, Status, TeamId, TicketType, TimeEntryId,
};
use crate::sla::domain::change::{ClockChange, TooManySteps, happened};
use crate::sla::domain::clock::{Occasion, Times};
use crate::sla::domain::policy::{CalendarSet, SlaConfiguration};
use crate::sla::domain::tally::counts;
use crate::tally::domain::Sums;
use crate::tally::domain::facts::{Fact, TicketGroups, What};
use crate::tickets::domain::change::TicketChange;
use crate::tickets::domain::{Speaker, Ticket, Walker};
use crate::time_entries::domain::TimeEntry;

words! {
    /// By which promises the past is judged.
    #[derive(Default)]
    pub enum Judge {
        /// By none: nobody had promised anything.
        #[default]
        None = "none",
        /// By the policies that hold now, as if they always had.
        Current = "current",
    }
}

words! {
    /// What became of a line.
    pub enum ImportOutcome {
        /// It was taken.
        Created = "created",
        /// More of a ticket's past was taken than there was.
        Continued = "continued",
        /// It was there already.
        Unchanged = "unchanged",
    }
}

/// What an entry changes.
#[derive(Debug, Clone, Default)]
pub struct PastChange {
    /// Where the ticket stands then.
    pub status: Option<Status>,
    /// Its subject.
    pub subject: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// Its priority.
    pub priority: Option<Priority>,
    /// Its type.
    pub kind: Option<TicketType>,
    /// Its channel.
    pub channel: Option<Channel>,
    /// Its team.
    pub team_id: Patch<TeamId>,
    /// Who works on it.
    pub assignee_id: Patch<PrincipalId>,
    /// Who has the problem.
    pub requester_id: Patch<PrincipalId>,
    /// Its labels.
    pub tags: Option<Vec<String>>,
    /// Its free fields, merged in.
    pub custom_fields: Patch<Fields>,
}

/// What happened at an instant.
#[derive(Debug, Clone)]
pub struct PastEntry {
    /// When.
    pub at: Instant,
    /// Who did it, if anybody is known to have.
    pub actor: Option<PrincipalId>,
    /// What was said.
    pub comment: Option<(Visibility, String)>,
    /// What changed.
    pub change: PastChange,
    /// How long somebody worked, in seconds, and on what.
    pub work: Option<(i64, Option<String>)>,
}

/// What is stored of a past.
#[derive(Debug, Default)]
pub struct Lived {
    /// Its trail.
    pub events: Vec<Event>,
    /// What it counts.
    pub sums: Sums,
    /// What happened, as far as figures go.
    pub facts: Vec<Fact>,
    /// What was said.
    pub comments: Vec<Comment>,
    /// The work, and the groups that the ticket was in then.
    pub work: Vec<(TimeEntry, TicketGroups)>,
    /// What was mended.
    pub mended: Vec<String>,
}

/// How many things that were mended are told of a ticket.
const MOST_MENDED: usize = 20;

impl Lived {
    fn mend(&mut self, what: impl FnOnce() -> String) {
        if self.mended.len() < MOST_MENDED {
            self.mended.push(what());
        }
    }
}

/// A ticket as its past is lived.
pub struct Life<'a> {
    /// The ticket, as far as it has come.
    pub ticket: Ticket,
    /// Its times.
    pub times: Times,
    /// What is stored of it.
    pub lived: Lived,
    configuration: &'a SlaConfiguration,
    calendars: &'a CalendarSet,
    roles: &'a HashMap<PrincipalId, Option<Role>>,
    clock: &'a Clock,
}

impl<'a> Life<'a> {
    /// A ticket that is opened, as it was then.
    pub fn begin(
        ticket: Ticket,
        (configuration, calendars): (&'a SlaConfiguration, &'a CalendarSet),
        roles: &'a HashMap<PrincipalId, Option<Role>>,
        clock: &'a Clock,
    ) -> Self {
        let (state, now) = (ticket.state(), ticket.created_at);
        let mut times = Times::new(ticket.reported_at);
        times.judge(&state.traits, configuration, calendars, Occasion::Ticket, now);
        let clocks = ClockChange {
            before: None,
            counts: counts(None, (&state, &times)),
            after: times.clone(),
            caught_up_with: None,
        };
        let facts = happened(None, (&state, &times), 0, now);
        let by = ticket.created_by_id;
        let mut life =
            Self { ticket: ticket.clone(), times, lived: Lived::default(), configuration, calendars, roles, clock };
        life.note(TicketChange::opened(ticket, clocks, facts, by));
        life
    }

    /// A ticket that was lived so far.
    pub fn go_on(
        ticket: Ticket,
        times: Times,
        (configuration, calendars): (&'a SlaConfiguration, &'a CalendarSet),
        roles: &'a HashMap<PrincipalId, Option<Role>>,
        clock: &'a Clock,
    ) -> Self {
        Self { ticket, times, lived: Lived::default(), configuration, calendars, roles, clock }
    }

    fn note(&mut self, change: TicketChange) {
        self.lived.sums.merge(change.counts());
        self.lived.facts.extend(change.facts.iter().cloned());
        self.lived.events.extend(change.event());
        self.ticket = change.after;
    }

    /// What the ticket is once it has become `after`, as everybody sees.
    fn become_of(&mut self, after: Ticket, by: Option<PrincipalId>, at: Instant) {
        let (before, after) = (self.ticket.clone(), after.touched(at));
        let (was, is, at) = (before.state(), after.state(), after.updated_at);
        let (mut clocks, mut facts) = (None, Vec::new());
        if was != is {
            let earlier = self.times.clone();
            self.times.become_of(&was, &is, self.configuration, self.calendars, at);
            facts = happened(Some((&was, &earlier)), (&is, &self.times), after.agent_comments, at);
            let counts = counts(Some((&was, &earlier)), (&is, &self.times));
            clocks =
                Some(ClockChange { before: Some(earlier), after: self.times.clone(), counts, caught_up_with: None });
        }
        let kind = EventKind::TicketUpdated;
        self.note(TicketChange { kind, before: Some(before), after, clocks, facts, by, at });
    }

    /// Lives one entry.
    ///
    /// # Errors
    /// `conflict` for more steps than a ticket takes, and what the life-cycle refuses and no rule mends.
    pub fn live(&mut self, entry: PastEntry) -> Result<(), Problem> {
        let PastEntry { at, actor, comment, mut change, work } = entry;
        // Never back: what was sorted is in order, and what was opened later is lived later.
        let opened = self.ticket.created_at;
        if at < opened {
            self.lived.mend(|| format!("what happened at {at}, before it was opened, is taken as then"));
        }
        let at = at.max(opened);
        if let Some((visibility, body)) = comment {
            self.say(at, actor, visibility, body, change.status);
        }
        let to = change.status.take();
        let mut after = changed(self.ticket.clone(), change);
        if let Some(to) = to {
            let path = self.path(after.status, to);
            for (nth, step) in path.iter().enumerate() {
                if !self.times.timeline.takes(*step) {
                    return Err(TooManySteps.into());
                }
                after.step(*step, Walker::Desk, at)?;
                // Each step is a change of its own.
                if nth + 1 < path.len() {
                    self.become_of(after, actor, at);
                    after = self.ticket.clone();
                }
            }
        }
        if after != self.ticket {
            self.become_of(after, actor, at);
        }
        if let Some((work_s, note)) = work {
            self.work(at, actor, work_s, note);
        }
        Ok(())
    }

    /// A comment, and what it does.
    fn say(
        &mut self,
        at: Instant,
        actor: Option<PrincipalId>,
        visibility: Visibility,
        body: String,
        says: Option<Status>,
    ) {
        let author = actor.unwrap_or(self.ticket.created_by_id);
        let comment = Comment {
            id: self.clock.id(at),
            ticket_id: self.ticket.id,
            author_id: author,
            visibility,
            body,
            created_at: at,
            edited_at: None,
            redacted_at: None,
            version: 1,
        };
        let is_public = visibility == Visibility::Public;
        self.lived.events.push(Event {
            about: EventSubject::Ticket(self.ticket.id, self.ticket.version + i64::from(is_public)),
            at,
            actor: Some(author),
            kind: EventKind::CommentAdded,
            visibility,
            comment_id: Some(comment.id),
            changes: Vec::new(),
        });
        self.lived.comments.push(comment);
        if !is_public {
            self.touch(at);
            return;
        }
        let mut heard = self.ticket.clone();
        if heard.status == Status::Closed {
            self.lived.mend(|| format!("a comment at {at}, after the ticket was closed, has changed nothing"));
            return self.become_of(heard, Some(author), at);
        }
        let stands = says == Some(heard.status);
        let speaker = self.speaker(author);
        match speaker {
            // Who says where the ticket stands says nothing else about that by a comment.
            Speaker::Requester if says.is_some() => {}
            Speaker::Agent if stands => {
                heard.agent_comments += 1;
                heard.first_replied_at = heard.first_replied_at.or(Some(at.max(heard.updated_at)));
            }
            speaker => {
                let before = heard.clone();
                // From a state in which comments are taken it fails at nothing; what has no room for a step stays.
                if heard.hear(speaker, at).is_err() || !self.times.timeline.takes(heard.status) {
                    heard = before;
                }
            }
        }
        self.become_of(heard, Some(author), at);
    }

    fn speaker(&self, author: PrincipalId) -> Speaker {
        if self.ticket.requester_id == Some(author) {
            return Speaker::Requester;
        }
        match self.roles.get(&author).copied().flatten() {
            Some(Role::Agent | Role::Admin) => Speaker::Agent,
            _ => Speaker::Other,
        }
    }

    fn work(&mut self, at: Instant, actor: Option<PrincipalId>, work_s: i64, note: Option<String>) {
        let Some(agent) = actor else {
            return self.lived.mend(|| format!("work at {at} of nobody is left out"));
        };
        let entry = TimeEntry {
            id: self.clock.id::<TimeEntryId>(at),
            ticket_number: self.ticket.number,
            agent_id: agent,
            created_by_id: agent,
            work_s,
            // What an hour cost then is not known.
            price: None,
            note,
            worked_at: at,
            created_at: at,
            version: 1,
        };
        let groups = self.ticket.state().groups(self.times.policy_id);
        let what = What::Worked { worker: agent, work_s, cost: None };
        self.lived.facts.push(Fact::new(at, self.ticket.number, groups.clone(), what));
        let added = |(field, value)| Change::of(field, Value::Null, value);
        self.lived.events.push(Event {
            about: EventSubject::Ticket(self.ticket.id, self.ticket.version),
            at,
            actor: Some(agent),
            kind: EventKind::TimeEntryAdded,
            visibility: Visibility::Internal,
            comment_id: None,
            changes: entry.audited().into_iter().filter_map(added).collect(),
        });
        self.lived.work.push((entry, groups));
        self.touch(at);
    }

    /// Something happened that only staff see.
    fn touch(&mut self, at: Instant) {
        self.ticket.internal_at = Some(at.max(self.ticket.activity_at()));
    }

    /// By which steps a ticket gets from one status to another.
    fn path(&mut self, from: Status, to: Status) -> Vec<Status> {
        use Status::{Closed, New, Open, Resolved, WaitingRequester, WaitingThirdParty};
        if from == to || from.next().contains(&to) {
            return if from == to { Vec::new() } else { vec![to] };
        }
        let path = match (from, to) {
            // What is closed again later was taken for resolved before this is lived.
            (Closed, _) | (Open, New) => Vec::new(),
            (_, New) => vec![Open],
            (New | Resolved, WaitingRequester | WaitingThirdParty) => vec![Open, to],
            (_, Closed) => vec![Resolved, Closed],
            _ => vec![Open],
        };
        let told = path.iter().map(|status| status.as_str()).collect::<Vec<_>>().join(", ");
        let told = if told.is_empty() { "nothing".to_owned() } else { told };
        self.lived.mend(|| format!("{from} → {to} is no step here: taken as {told}"));
        path
    }
}

fn changed(ticket: Ticket, change: PastChange) -> Ticket {
    Ticket {
        subject: change.subject.unwrap_or(ticket.subject),
        description: change.description.unwrap_or(ticket.description),
        priority: change.priority.unwrap_or(ticket.priority),
        kind: change.kind.unwrap_or(ticket.kind),
        channel: change.channel.unwrap_or(ticket.channel),
        team_id: change.team_id.or(ticket.team_id),
        assignee_id: change.assignee_id.or(ticket.assignee_id),
        requester_id: change.requester_id.or(ticket.requester_id),
        tags: change.tags.unwrap_or(ticket.tags),
        custom_fields: match change.custom_fields {
            Patch::Absent => ticket.custom_fields,
            Patch::Null => Fields::default(),
            Patch::Value(patch) => ticket.custom_fields.merged(&patch),
        },
        ..ticket
    }
}

/// Puts entries into the order of their instants, and takes each `closed` for `resolved` behind which the ticket goes
/// on. Gives what was mended.
pub fn put_right(entries: &mut [PastEntry]) -> Vec<String> {
    let mut mended = Vec::new();
    if !entries.is_sorted_by_key(|entry| entry.at) {
        entries.sort_by_key(|entry| entry.at);
        mended.push("entries were put into the order of their instants".to_owned());
    }
    let mut goes_on = false;
    for entry in entries.iter_mut().rev() {
        match entry.change.status {
            Some(Status::Closed) if goes_on => {
                entry.change.status = Some(Status::Resolved);
                if mended.len() < MOST_MENDED {
                    mended.push(format!("closed at {}, and gone on with later, is resolved", entry.at));
                }
            }
            Some(Status::Closed) | None => {}
            Some(_) => goes_on = true,
        }
    }
    mended
}

/// What stands for all that was said of a past up to an entry: the hash of what came before, and of it.
pub fn link(before: &str, entry: &Value) -> String {
    use aws_lc_rs::digest::{Context, SHA256};
    let mut context = Context::new(&SHA256);
    context.update(before.as_bytes());
    context.update(json!(entry).to_string().as_bytes());
    context.finish().as_ref().iter().fold(String::new(), |mut text, byte| {
        use std::fmt::Write as _;
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn entry(at_s: i64, status: Option<Status>) -> PastEntry {
        PastEntry {
            at: Instant::EPOCH.plus_s(at_s),
            actor: None,
            comment: None,
            change: PastChange { status, ..PastChange::default() },
            work: None,
        }
    }

    fn live(entries: Vec<PastEntry>) -> (Ticket, Times, Lived) {
        let (id, nobody) = (Uuid::nil().into(), PrincipalId(Uuid::nil()));
        let ticket = Ticket { number: 1, ..Ticket::new(id, "s".into(), nobody, Instant::EPOCH) };
        let (configuration, calendars, roles) = (SlaConfiguration::default(), CalendarSet::default(), HashMap::new());
        let clock = Clock::new(|| Instant::EPOCH);
        let mut life = Life::begin(ticket, (&configuration, &calendars), &roles, &clock);
        for entry in entries {
            life.live(entry).expect("a step");
        }
        (life.ticket, life.times, life.lived)
    }

    proptest! {
        /// Whatever happened elsewhere, it ends where it ended there, by legal steps alone, and is counted once.
        #[test]
        fn any_past_can_be_lived(steps in prop::collection::vec((0i64..1_000, prop::sample::select(Status::ALL)), 0..20)) {
            let mut entries: Vec<PastEntry> = steps.iter().map(|(at, status)| entry(*at, Some(*status))).collect();
            put_right(&mut entries);
            prop_assert!(entries.is_sorted_by_key(|entry| entry.at));
            let wanted = entries.last().and_then(|entry| entry.change.status);
            let (ticket, times, lived) = live(entries);
            match wanted {
                Some(Status::New) => prop_assert!(matches!(ticket.status, Status::New | Status::Open), "{}", ticket.status),
                Some(wanted) => prop_assert_eq!(ticket.status, wanted),
                None => prop_assert_eq!(ticket.status, Status::New),
            }
            for pair in times.timeline.spans.windows(2) {
                prop_assert!(pair[0].0.next().contains(&pair[1].0) && pair[0].1 <= pair[1].1, "{:?}", times.timeline.spans);
            }
            prop_assert_eq!(times.timeline.spans.last().map(|(status, _)| *status), Some(ticket.status));
            let resolved = lived.facts.iter().filter(|fact| matches!(fact.what, What::Resolved { .. })).count();
            prop_assert_eq!(resolved, times.timeline.spans.iter().filter(|(status, _)| *status == Status::Resolved).count());
            prop_assert_eq!(ticket.version, i64::try_from(lived.events.len()).expect("few"));
        }
    }

    #[test]
    fn what_is_no_step_is_mended_and_told() {
        let mut entries = vec![
            entry(9, Some(Status::Closed)),
            entry(5, Some(Status::Closed)),
            entry(7, Some(Status::WaitingRequester)),
        ];
        let mended = put_right(&mut entries);
        assert_eq!(mended.len(), 2, "{mended:?}");
        let (ticket, times, lived) = live(entries);
        let path: Vec<&str> = times.timeline.spans.iter().map(|(status, _)| status.as_str()).collect();
        assert_eq!(path, ["new", "resolved", "open", "waiting_requester", "resolved", "closed"]);
        assert_eq!((ticket.reopen_count, ticket.closed_at, lived.mended.len()), (1, Some(Instant::EPOCH.plus_s(9)), 2));
    }
}
