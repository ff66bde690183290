//! A ticket and the rules of its life. Pure: the clock comes in as a value.

pub mod author;
pub mod change;
pub mod highlight;
pub mod listing;
pub mod reference;
pub mod search;
pub mod view;

use diesel::prelude::*;
use serde_json::{Value, json};

use crate::audit::domain::Change as FieldChange;
use crate::db::schema::tickets;
use crate::kernel::fields::Fields;
use crate::kernel::sql::Json;
pub use crate::kernel::vocabulary::*;
use crate::kernel::{Code, Instant, PrincipalId, Problem, TeamId, TicketId};
use crate::sla::domain::clock::TicketState;
use crate::sla::domain::policy::Traits;

/// The subject of a ticket whose texts were removed.
pub const REDACTED: &str = "Redacted";

/// A ticket, as it is stored: a field is a column, which is read, inserted and updated by its place here.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tickets, primary_key(number), treat_none_as_null = true, treat_none_as_default_value = false)]
pub struct Ticket {
    /// The number for humans; only grows. The database gives it.
    #[diesel(skip_insertion)]
    pub number: i64,
    /// The id.
    #[diesel(skip_update)]
    pub id: TicketId,
    /// One line that says what it is about.
    pub subject: String,
    /// All there is to say.
    pub description: String,
    /// Where it stands.
    pub status: Status,
    /// How urgent it is.
    pub priority: Priority,
    /// What kind of thing it is.
    pub kind: TicketType,
    /// How it was reported.
    pub channel: Channel,
    /// Whose queue it is in.
    pub team_id: Option<TeamId>,
    /// Who works on it.
    pub assignee_id: Option<PrincipalId>,
    /// Who has the problem.
    pub requester_id: Option<PrincipalId>,
    /// Who typed it in.
    #[diesel(skip_update)]
    pub created_by_id: PrincipalId,
    /// The name that its creator's system has for it.
    pub external_id: Option<String>,
    /// The ticket that it follows up.
    pub follow_up_of: Option<TicketId>,
    /// Labels, each once.
    #[diesel(serialize_as = Json<Vec<String>>, deserialize_as = Json<Vec<String>>)]
    pub tags: Vec<String>,
    /// Free fields.
    #[diesel(serialize_as = Json, deserialize_as = Json)]
    pub custom_fields: Fields,
    /// When it was typed in.
    #[diesel(skip_update)]
    pub created_at: Instant,
    /// When anything that everybody may see changed last.
    pub updated_at: Instant,
    /// The clock's zero.
    pub reported_at: Instant,
    /// When somebody began to work on it. Never moves once set.
    pub started_at: Option<Instant>,
    /// When an agent first answered in public.
    pub first_replied_at: Option<Instant>,
    /// When it was solved last; nothing while it is not.
    pub resolved_at: Option<Instant>,
    /// When it was closed.
    pub closed_at: Option<Instant>,
    /// How often it came back after it was solved.
    pub reopen_count: i32,
    /// How many public comments agents have written, but for those on tickets of their own.
    pub agent_comments: i32,
    /// Grows by one with each change that everybody may see.
    pub version: i64,
    /// When something happened last that only staff see.
    #[diesel(skip_insertion)]
    pub internal_at: Option<Instant>,
}

/// Who speaks in a comment, as far as the life-cycle cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaker {
    /// The person who has the problem, whatever else they are.
    Requester,
    /// An agent or admin who is not the requester.
    Agent,
    /// Anybody else: a service account, say.
    Other,
}

/// Who takes a step in a ticket's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walker {
    /// Somebody in front of the counter, with a ticket of their own.
    Requester,
    /// Whoever works on tickets: staff, an account that may, or time.
    Desk,
}

impl Walker {
    /// Whether such a step is theirs to take, if it is legal at all. A requester says that their problem is gone or is
    /// back, and answers what they were asked; beginning work, and saying what it waits for, is for those who do it.
    fn may(self, from: Status, to: Status) -> bool {
        use Status::{Closed, Open, Resolved, WaitingRequester};
        self == Self::Desk || matches!((from, to), (_, Resolved | Closed) | (WaitingRequester | Resolved, Open))
    }

    /// The legal steps that are theirs to take.
    pub fn next(self, from: Status) -> Vec<Status> {
        from.next().iter().copied().filter(|to| self.may(from, *to)).collect()
    }
}

impl Ticket {
    /// A new ticket, of which its subject alone is said. The database gives its number.
    pub fn new(id: TicketId, subject: String, created_by_id: PrincipalId, now: Instant) -> Self {
        Self {
            number: 0,
            id,
            subject,
            description: String::new(),
            status: Status::New,
            priority: Priority::Normal,
            kind: TicketType::Incident,
            channel: Channel::Api,
            team_id: None,
            assignee_id: None,
            requester_id: None,
            created_by_id,
            external_id: None,
            follow_up_of: None,
            tags: Vec::new(),
            custom_fields: Fields::default(),
            created_at: now,
            updated_at: now,
            reported_at: now,
            started_at: None,
            first_replied_at: None,
            resolved_at: None,
            closed_at: None,
            reopen_count: 0,
            agent_comments: 0,
            version: 1,
            internal_at: None,
        }
    }

    /// When anything happened to it last.
    pub fn activity_at(&self) -> Instant {
        self.internal_at.map_or(self.updated_at, |at| at.max(self.updated_at))
    }

    /// The same, changed at `now` as everybody sees: the next version.
    #[must_use]
    pub fn touched(self, now: Instant) -> Self {
        // Never back, also when an instance's clock is.
        Self { updated_at: self.updated_at.max(now), version: self.version + 1, ..self }
    }

    /// Passes unless the ticket is closed for good.
    ///
    /// # Errors
    /// `ticket_closed`.
    pub fn require_not_closed(&self) -> Result<(), Problem> {
        if self.status == Status::Closed {
            let detail = "A closed ticket takes no changes and no comments. Open a new one with `follow_up_of`.";
            return Err(Problem::new(Code::TicketClosed, detail));
        }
        Ok(())
    }

    /// Takes a step of its life at `now`. A step to where it stands already is none.
    ///
    /// # Errors
    /// `illegal_transition`; `forbidden` for one that is not this `walker`'s to take; for readers with the legal steps.
    pub fn step(&mut self, to: Status, walker: Walker, now: Instant) -> Result<(), Problem> {
        let from = self.status;
        if from == to {
            return Ok(());
        }
        // Never back, also when an instance's clock is.
        let now = now.max(self.updated_at);
        if !from.next().contains(&to) {
            let legal: Vec<_> = walker.next(from).into_iter().map(Status::as_str).collect();
            let detail = format!("A ticket that is {from} can become: {}.", legal.join(", "));
            let unseen = format!("As the ticket is, its status cannot become {to}.");
            return Err(Problem::new(Code::IllegalTransition, unseen).telling_readers(detail, "legal", legal));
        }
        if !walker.may(from, to) {
            let legal: Vec<_> = walker.next(from).into_iter().map(Status::as_str).collect();
            let unseen = format!("As the ticket is, its requester may not set status to {to}.");
            let detail = format!("{unseen} It is {from}, and they can make it: {}.", legal.join(", "));
            return Err(Problem::new(Code::Forbidden, unseen).telling_readers(detail, "legal", legal));
        }
        match to {
            Status::Open if from == Status::Resolved => {
                self.resolved_at = None;
                self.reopen_count += 1;
            }
            Status::Resolved => self.resolved_at = Some(now),
            Status::Closed => self.closed_at = Some(now),
            _ => {}
        }
        if from == Status::New {
            self.started_at = self.started_at.or(Some(now));
        }
        self.status = to;
        Ok(())
    }

    /// What a public comment does to the ticket: an agent's first one is the first reply and starts the work, the
    /// requester's one brings it back.
    ///
    /// # Errors
    /// None from a state in which comments are taken.
    pub fn hear(&mut self, speaker: Speaker, now: Instant) -> Result<(), Problem> {
        match (speaker, self.status) {
            (Speaker::Agent, status) => {
                self.agent_comments += 1;
                self.first_replied_at = self.first_replied_at.or(Some(now.max(self.updated_at)));
                if status == Status::New { self.step(Status::Open, Walker::Desk, now) } else { Ok(()) }
            }
            (Speaker::Requester, Status::WaitingRequester | Status::Resolved) => {
                self.step(Status::Open, Walker::Requester, now)
            }
            _ => Ok(()),
        }
    }

    /// The same without anything that somebody has written, but for its tags: those are categories, which numbers go
    /// by.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self {
            subject: REDACTED.into(),
            description: String::new(),
            custom_fields: Fields::default(),
            external_id: None,
            ..self.clone()
        }
    }

    /// What its clocks ask of it.
    pub fn state(&self) -> TicketState {
        TicketState {
            number: self.number,
            reported_at: self.reported_at,
            status: self.status,
            first_replied_at: self.first_replied_at,
            assignee_id: self.assignee_id,
            traits: Traits {
                team_id: self.team_id,
                priority: self.priority,
                kind: self.kind,
                channel: self.channel,
                tags: self.tags.clone(),
            },
        }
    }

    /// Every field that differs between `before` and this ticket, but for `updated_at` and `version`, which differ at
    /// each change. From nothing, every field that has a value.
    pub fn changes_since(&self, before: Option<&Ticket>) -> Vec<FieldChange> {
        let after = self.audited();
        let before = before.map(Ticket::audited);
        let fields = after.into_iter().enumerate();
        fields
            .filter_map(|(i, (field, after))| {
                let before = before.as_ref().map_or(Value::Null, |b| b[i].1.clone());
                FieldChange::of(field, before, after)
            })
            .collect()
    }

    fn audited(&self) -> Vec<(&'static str, Value)> {
        vec![
            ("subject", json!(self.subject)),
            ("description", json!(self.description)),
            ("status", json!(self.status)),
            ("priority", json!(self.priority)),
            ("type", json!(self.kind)),
            ("channel", json!(self.channel)),
            ("team_id", json!(self.team_id)),
            ("assignee_id", json!(self.assignee_id)),
            ("requester_id", json!(self.requester_id)),
            ("external_id", json!(self.external_id)),
            ("follow_up_of", json!(self.follow_up_of)),
            ("tags", json!(self.tags)),
            ("custom_fields", self.custom_fields.to_json()),
            ("reported_at", json!(self.reported_at)),
            ("started_at", json!(self.started_at)),
            ("first_replied_at", json!(self.first_replied_at)),
            ("resolved_at", json!(self.resolved_at)),
            ("closed_at", json!(self.closed_at)),
            ("reopen_count", json!(self.reopen_count)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn ticket() -> Ticket {
        let (id, nobody) = (TicketId(Uuid::nil()), PrincipalId(Uuid::nil()));
        Ticket { number: 1, ..Ticket::new(id, "s".into(), nobody, Instant::EPOCH) }
    }

    /// A new column does not pass until it is decided whether it is audited.
    #[test]
    fn every_column_is_audited_or_named_here() {
        let not_audited = [
            "number",
            "priority_rank",
            "id",
            "created_by_id",
            "created_at",
            "updated_at",
            "internal_at",
            "activity_at",
            "version",
            "followed_edit",
            // Told by the comments themselves.
            "agent_comments",
        ];
        let all = tickets::table.select(tickets::all_columns);
        let query = diesel::debug_query::<diesel::sqlite::Sqlite, _>(&all).to_string();
        let selected = query.split(" FROM ").next().expect("a list of columns");
        let columns = selected.split("`tickets`.`").skip(1).filter_map(|rest| rest.split('`').next());
        let mut expected: Vec<_> = columns.filter(|column| !not_audited.contains(column)).collect();
        let mut audited: Vec<_> = ticket().audited().into_iter().map(|(field, _)| field).collect();
        expected.sort_unstable();
        audited.sort_unstable();
        assert_eq!(audited, expected);
    }

    #[derive(Debug, Clone)]
    enum LifeStep {
        Step(Status, Walker),
        Hear(Speaker),
    }

    fn any_act() -> impl Strategy<Value = LifeStep> {
        prop_oneof![
            (prop::sample::select(Status::ALL), prop_oneof![Just(Walker::Requester), Just(Walker::Desk)])
                .prop_map(|(to, walker)| LifeStep::Step(to, walker)),
            prop_oneof![Just(Speaker::Requester), Just(Speaker::Agent), Just(Speaker::Other)].prop_map(LifeStep::Hear),
        ]
    }

    /// The table of the life-cycle, written out once more by hand.
    fn legal(from: Status, to: Status) -> bool {
        use Status::{Closed, New, Open, Resolved, WaitingRequester, WaitingThirdParty};
        matches!(
            (from, to),
            (New, Open | Resolved)
                | (Open | WaitingRequester | WaitingThirdParty, Resolved)
                | (Open, WaitingRequester | WaitingThirdParty)
                | (WaitingRequester, Open | WaitingThirdParty)
                | (WaitingThirdParty, Open | WaitingRequester)
                | (Resolved, Open | Closed)
        )
    }

    #[test]
    fn the_steps_are_those_of_the_table_and_a_refusal_changes_nothing() {
        for from in Status::ALL {
            for to in Status::ALL {
                let mut ticket = Ticket { status: *from, ..ticket() };
                let before = ticket.clone();
                match ticket.step(*to, Walker::Desk, Instant::from_micros(5)) {
                    Ok(()) => assert!(from == to || legal(*from, *to), "{from} to {to}"),
                    Err(problem) => {
                        assert!(from != to && !legal(*from, *to), "{from} to {to}");
                        assert_eq!(problem.code(), Code::IllegalTransition);
                        assert_eq!(ticket, before);
                    }
                }
            }
        }
    }

    #[test]
    fn a_requester_says_that_it_is_gone_or_back_and_begins_nothing() {
        use Status::{Closed, New, Open, Resolved, WaitingRequester, WaitingThirdParty};
        for from in Status::ALL {
            for to in Status::ALL.iter().filter(|to| legal(*from, **to)) {
                let mut ticket = Ticket { status: *from, ..ticket() };
                let before = ticket.clone();
                let outcome = ticket.step(*to, Walker::Requester, Instant::from_micros(5));
                let theirs = matches!(
                    (from, to),
                    (New | Open | WaitingRequester | WaitingThirdParty, Resolved)
                        | (WaitingRequester | Resolved, Open)
                        | (Resolved, Closed)
                );
                assert_eq!(outcome.is_ok(), theirs, "{from} to {to}");
                if let Err(problem) = outcome {
                    assert_eq!(problem.code(), Code::Forbidden);
                    assert_eq!(ticket, before);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn its_times_always_agree_with_its_status(acts in prop::collection::vec(any_act(), 0..40)) {
            let mut ticket = ticket();
            let mut reopened = 0;
            for (second, act) in acts.into_iter().enumerate() {
                let now = Instant::EPOCH.plus_s(i64::try_from(second).unwrap_or(0) + 1);
                let before = ticket.clone();
                let closed = ticket.status == Status::Closed;
                let by_desk = matches!(act, LifeStep::Step(_, Walker::Desk) | LifeStep::Hear(Speaker::Agent));
                let outcome = match act {
                    LifeStep::Step(to, walker) => ticket.step(to, walker, now),
                    // Comments are refused on closed tickets before they are heard.
                    LifeStep::Hear(_) if closed => Ok(()),
                    LifeStep::Hear(speaker) => ticket.hear(speaker, now),
                };
                if outcome.is_err() {
                    prop_assert_eq!(&ticket, &before);
                }
                reopened += i32::from(before.status == Status::Resolved && ticket.status == Status::Open);
                prop_assert_eq!(ticket.started_at.is_none(), ticket.status == Status::New);
                // Work is begun by those who do it, or was never needed.
                let begun = before.started_at.is_none() && ticket.started_at.is_some();
                prop_assert!(!begun || by_desk || ticket.status == Status::Resolved);
                let replied = before.first_replied_at.is_none() && ticket.first_replied_at.is_some();
                prop_assert!(!replied || by_desk);
                prop_assert!(before.started_at.is_none() || ticket.started_at == before.started_at);
                prop_assert!(before.first_replied_at.is_none() || ticket.first_replied_at == before.first_replied_at);
                prop_assert_eq!(ticket.resolved_at.is_some(), matches!(ticket.status, Status::Resolved | Status::Closed));
                prop_assert_eq!(ticket.closed_at.is_some(), ticket.status == Status::Closed);
                prop_assert_eq!(ticket.reopen_count, reopened);
                prop_assert!(ticket.status == before.status || legal(before.status, ticket.status));
                let changed: Vec<_> = ticket.changes_since(Some(&before)).iter().map(|c| c.field).collect();
                prop_assert_eq!(changed.contains(&"status"), ticket.status != before.status);
            }
        }
    }

    #[test]
    fn solving_a_new_ticket_starts_it_at_the_same_instant() {
        let mut ticket = ticket();
        let now = Instant::from_micros(7);
        ticket.step(Status::Resolved, Walker::Requester, now).expect("legal");
        assert_eq!((ticket.started_at, ticket.resolved_at), (Some(now), Some(now)));
    }
}
