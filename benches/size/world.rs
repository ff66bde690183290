//! The helpdesk that is measured: made up, but with the skew of real ones, and the same for the same parameters. Clocks
//! and figures are worked out by Skranke's own rules.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use skranke::audit::domain::Change;
use skranke::kernel::fields::Fields;
use skranke::kernel::{
    CalendarId, Channel, ClockState, Instant, PolicyId, PrincipalId, Priority, Status, TeamId, TicketId, TicketType,
};
use skranke::sla::domain::calendar::{Calendar, Definition};
use skranke::sla::domain::change::happened;
use skranke::sla::domain::clock::{Occasion, SlaClock, TicketState, Times};
use skranke::sla::domain::policy::{
    Condition, Hours, Policy, PolicyDefinition, Rule, SlaConfiguration, Target, VersionOf,
};
use skranke::tally::domain::facts::{Fact, What};
use skranke::tickets::domain::{Ticket, Walker};
use uuid::Uuid;

use super::chance::{Rng, Vocabulary, Zipf, terms};

/// How many of what there are besides tickets.
pub const TEAMS: usize = 20;
pub const AGENTS: usize = 500;
pub const REQUESTERS: usize = 50_000;
pub const TAGS: usize = 200;
/// How far back the oldest ticket lies: 104 weeks, which is near enough to 24 months.
pub const SPAN_US: i64 = WEEKS as i64 * WEEK_US;
const WEEKS: usize = 104;
const WEEK_US: i64 = 168 * HOUR_US;
pub const HOUR_US: i64 = 3_600_000_000;
pub const DAY_US: i64 = 24 * HOUR_US;
/// How many tickets contain each of the rare terms.
const RARE: u64 = 50;
/// More tickets than this have no comments, and only the event of their creation.
const DETAILED: u64 = 1_000_000;

/// What sets one made-up helpdesk apart from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Parameters {
    /// How many tickets.
    pub size: u64,
    /// Where chance begins.
    pub seed: u64,
    /// The instant of the newest ticket, in microseconds since 1970.
    pub until_us: i64,
    /// Grows when the same parameters come to something else.
    pub edition: u32,
}

/// The present edition.
pub const EDITION: u32 = 2;
/// How many numbers of facts are left to each ticket.
pub const FACTS: i64 = 64;

/// One value of a row.
#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// A number of 32 bits, which PostgreSQL tells apart.
    Small(i32),
    Word(&'static str),
    Text(String),
    Uuid(Uuid),
    /// Microseconds since 1970.
    Time(i64),
    Json(String),
}

/// In the place of an event's number until its ticket's trail is whole.
const UNNUMBERED: Value = Value::Int(0);

/// Numbers the events of one ticket by when they were: of the nine values of each, by the third.
fn number(trail: &mut [Value]) {
    const WIDTH: usize = 9;
    let at = |event: &[Value]| if let Value::Time(us) = event[2] { us } else { 0 };
    let times: Vec<i64> = trail.chunks(WIDTH).map(at).collect();
    for (nth, event) in trail.chunks_mut(WIDTH).enumerate() {
        let before = times.iter().enumerate().filter(|(other, us)| (**us, *other) < (times[nth], nth)).count();
        event[WIDTH - 1] = Value::Int(before as i64 + 1);
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Value::Null, Into::into)
    }
}

impl From<Instant> for Value {
    fn from(at: Instant) -> Self {
        Value::Time(at.micros())
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Value::Word(word)
    }
}

impl From<Uuid> for Value {
    fn from(id: Uuid) -> Self {
        Value::Uuid(id)
    }
}

/// A table and the columns that are filled.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub name: &'static str,
    pub columns: &'static [&'static str],
}

/// The tables that grow with the number of tickets.
pub const LARGE: [Table; 6] = [
    Table {
        name: "tickets",
        columns: &[
            "number",
            "id",
            "subject",
            "description",
            "status",
            "priority",
            "type",
            "channel",
            "team_id",
            "assignee_id",
            "requester_id",
            "created_by_id",
            "external_id",
            "tags",
            "custom_fields",
            "created_at",
            "updated_at",
            "reported_at",
            "started_at",
            "first_replied_at",
            "resolved_at",
            "closed_at",
            "reopen_count",
            "agent_comments",
            "version",
        ],
    },
    Table { name: "ticket_tags", columns: &["tag", "created_at", "ticket_number"] },
    Table {
        name: "ticket_clocks",
        columns: &[
            "ticket_number",
            "created_at",
            "policy_id",
            "timeline",
            "clocks",
            "due_at",
            "breach_at",
            "last_resolved_at",
            "response_business_s",
            "first_reply_business_s",
            "service_s",
            "service_business_s",
            "resolution_s",
            "resolution_business_s",
            "response_breach_at",
            "first_reply_breach_at",
            "service_breach_at",
        ],
    },
    Table {
        name: "facts",
        columns: &[
            "id",
            "at",
            "ticket_number",
            "kind",
            "n",
            "priority",
            "type",
            "channel",
            "team_id",
            "policy_id",
            "assignee_id",
            "tags",
            "target",
            "calendar_s",
            "business_s",
            "resolution_s",
            "resolution_business_s",
            "is_first_contact",
        ],
    },
    Table {
        name: "comments",
        columns: &["id", "ticket_id", "author_id", "visibility", "body", "created_at", "version"],
    },
    Table {
        name: "events",
        columns: &["id", "ticket_id", "at", "actor_id", "kind", "visibility", "comment_id", "changes", "number"],
    },
];

/// A run of tickets with all that hangs on them: for each of [`LARGE`] its rows, one value after the other.
pub struct Batch {
    pub tickets: u64,
    pub rows: [Vec<Value>; 6],
}

/// A ticket and how it went.
pub struct Case {
    pub ticket: Ticket,
    pub times: Times,
    facts: Vec<Fact>,
    initial: Ticket,
    steps: Vec<(Status, i64)>,
}

/// The helpdesk.
pub struct World {
    pub parameters: Parameters,
    pub configuration: SlaConfiguration,
    pub teams: Vec<TeamId>,
    pub agents: Vec<PrincipalId>,
    pub requesters: Vec<PrincipalId>,
    pub monitor: PrincipalId,
    calendar: Definition,
    vocabulary: Vocabulary,
    team_zipf: Zipf,
    tag_zipf: Zipf,
    /// The share of a week's tickets that have come by the end of each of its hours, from the first instant on.
    week: Vec<f64>,
}

/// The tag of this rank.
pub fn tag(rank: usize) -> String {
    format!("tag-{:03}", rank + 1)
}

/// The id of the `nth` of a kind, made at this instant (UUIDv7).
fn id(seed: u64, kind: u64, nth: u64, at_us: i64) -> Uuid {
    let mut rng = Rng::of(seed, kind, nth);
    let mut bytes = [0; 10];
    bytes[..8].copy_from_slice(&rng.next().to_be_bytes());
    bytes[8..].copy_from_slice(&rng.next().to_be_bytes()[..2]);
    uuid::Builder::from_unix_timestamp_millis(at_us.max(0).unsigned_abs() / 1_000, &bytes).into_uuid()
}

impl World {
    pub fn new(parameters: Parameters) -> Self {
        let Parameters { seed, until_us, .. } = parameters;
        let from_us = until_us - SPAN_US;
        let some = |kind, count: usize| -> Vec<Uuid> {
            (0..count as u64).map(|nth| id(seed, kind, nth, from_us - DAY_US)).collect()
        };
        let teams: Vec<TeamId> = some(1, TEAMS).into_iter().map(TeamId).collect();
        let shift = json!([{ "from": "08:00", "to": "16:00" }]);
        let calendar: Definition = serde_json::from_value(json!({
            "time_zone": "Europe/Oslo",
            "working_hours": { "monday": shift, "tuesday": shift, "wednesday": shift, "thursday": shift, "friday": shift },
            "holidays": { "2026-12-25": "Christmas Day", "2026-01-01": "New Year's Day", "2026-05-17": "Constitution Day" },
        }))
        .expect("a calendar");
        let configuration = configuration(&calendar, &teams, [4, 5].map(|kind| id(seed, kind, 0, from_us - DAY_US)));
        // Most people work by day, from Monday to Friday.
        let weight = |hour: i64| {
            let (day, hour) = ((hour / 24 + 3) % 7, hour % 24);
            match (day, hour) {
                (0..=4, 7..=15) => 6.0,
                (0..=4, 16..=21) => 2.0,
                _ => 0.5,
            }
        };
        let first = from_us / HOUR_US;
        let sum: f64 = (0..168).map(|hour| weight(first + hour)).sum();
        let mut come = 0.0;
        let week = (0..168).map(|hour| {
            come += weight(first + hour) / sum;
            come
        });
        let week = week.collect();
        Self {
            parameters,
            configuration,
            teams,
            agents: some(2, AGENTS).into_iter().map(PrincipalId).collect(),
            requesters: some(3, REQUESTERS).into_iter().map(PrincipalId).collect(),
            monitor: PrincipalId(id(seed, 6, 0, from_us - DAY_US)),
            calendar,
            vocabulary: Vocabulary::new(),
            team_zipf: Zipf::new(TEAMS),
            tag_zipf: Zipf::new(TAGS),
            week,
        }
    }

    /// Whether tickets have comments and more events than that of their creation.
    pub fn detailed(&self) -> bool {
        self.parameters.size <= DETAILED
    }

    /// When the `nth` ticket was created; later ones not earlier.
    pub fn created_us(&self, nth: u64) -> i64 {
        let Parameters { size, seed, until_us, .. } = self.parameters;
        let place = (nth as f64 + Rng::of(seed, 10, nth).unit()) / size as f64 * WEEKS as f64;
        let week = (place as usize).min(WEEKS - 1);
        let share = (place - week as f64).clamp(0.0, 1.0);
        let hour = self.week.partition_point(|come| *come < share).min(167);
        let before = if hour == 0 { 0.0 } else { self.week[hour - 1] };
        let within = (share - before) / (self.week[hour] - before);
        let into_week = ((hour as f64 + within) * HOUR_US as f64) as i64;
        (until_us - SPAN_US + week as i64 * WEEK_US + into_week).min(until_us)
    }

    /// The id of the `nth` ticket; its number is one more.
    pub fn ticket_id(&self, nth: u64) -> TicketId {
        TicketId(id(self.parameters.seed, 11, nth, self.created_us(nth)))
    }

    /// Whether the `nth` ticket is one of the few that have a term, of which there are three.
    fn has_rare(&self, nth: u64, which: u64) -> bool {
        let every = (self.parameters.size / RARE).max(1);
        nth % every == every / 4 * (which + 1)
    }

    /// The `nth` ticket and how it went until the last instant.
    #[allow(clippy::too_many_lines, reason = "one life from the beginning to the end")]
    pub fn case(&self, nth: u64) -> Case {
        let Parameters { size, seed, until_us, .. } = self.parameters;
        let mut rng = Rng::of(seed, 12, nth);
        let rng = &mut rng;
        let created_us = self.created_us(nth);
        let age_rank = nth as f64 / size as f64;

        let priority = rng.pick(&[
            (Priority::Normal, 60.0),
            (Priority::Low, 25.0),
            (Priority::High, 10.0),
            (Priority::Urgent, 5.0),
        ]);
        let kind = rng.pick(&[
            (TicketType::Incident, 50.0),
            (TicketType::ServiceRequest, 30.0),
            (TicketType::Question, 15.0),
            (TicketType::Problem, 5.0),
        ]);
        let channel = rng.pick(&[
            (Channel::Email, 40.0),
            (Channel::Web, 25.0),
            (Channel::Phone, 15.0),
            (Channel::Chat, 8.0),
            (Channel::Api, 6.0),
            (Channel::Monitoring, 4.0),
            (Channel::Counter, 2.0),
        ]);
        let team = (!rng.likely(0.03)).then(|| self.team_zipf.pick(rng));
        let requester = self.requesters[(rng.unit().powi(2) * REQUESTERS as f64) as usize % REQUESTERS];
        let agent = team.unwrap_or(0) * (AGENTS / TEAMS) + rng.below(AGENTS / TEAMS);
        let assigned = rng.likely(0.97);
        let by_agent = rng.likely(0.3);
        let by_monitor = channel == Channel::Monitoring;
        let mut tags = Vec::new();
        for _ in 0..rng.pick(&[(0, 20.0), (1, 30.0), (2, 25.0), (3, 15.0), (4, 10.0)]) {
            let tag = tag(self.tag_zipf.pick(rng));
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        let subject_words = rng.between(4, 8);
        let subject = self.vocabulary.text(rng, subject_words);
        let words = if self.detailed() { rng.between(12, 40) } else { rng.between(8, 16) };
        let mut description = self.vocabulary.text(rng, words);
        for (which, term) in [terms::RARE, terms::RARE_TOO].into_iter().enumerate() {
            if self.has_rare(nth, which as u64) {
                description = format!("{description} {term}");
            }
        }
        if self.has_rare(nth, 2) {
            description = format!("{description} {} {}", terms::PHRASE.0, terms::PHRASE.1);
        }
        description = format!("{description} {}", terms::EVERYWHERE);
        let custom_fields = if rng.likely(0.3) {
            json!({ "floor": rng.between(0, 9), "asset": format!("A-{:05}", rng.below(90_000)) })
        } else {
            json!({})
        };
        let reported_us =
            if rng.likely(0.03) { created_us - rng.between(60, 3_600) as i64 * 1_000_000 } else { created_us };
        let at = Instant::from_micros;
        let initial = Ticket {
            id: self.ticket_id(nth),
            number: nth as i64 + 1,
            subject,
            description,
            status: Status::New,
            priority,
            kind,
            channel,
            team_id: team.map(|team| self.teams[team]),
            assignee_id: None,
            requester_id: (!by_monitor).then_some(requester),
            created_by_id: match (by_monitor, by_agent) {
                (true, _) => self.monitor,
                (false, true) => self.agents[agent],
                (false, false) => requester,
            },
            external_id: by_monitor.then(|| format!("alert-{nth}")),
            follow_up_of: None,
            tags,
            custom_fields: Fields::from_stored(custom_fields),
            created_at: at(created_us),
            updated_at: at(created_us),
            reported_at: at(reported_us),
            started_at: None,
            first_replied_at: None,
            resolved_at: None,
            closed_at: None,
            reopen_count: 0,
            agent_comments: 0,
            version: 1,
            internal_at: None,
        };

        // Most of what is not solved is young.
        let unsolved = rng.likely(if age_rank > 0.9 { 0.6 } else { 0.022 });
        let mut steps = lifetime(rng, priority, created_us, unsolved);
        steps.retain(|(_, at_us)| *at_us <= until_us);
        let started_us = steps.first().map(|(_, at_us)| *at_us);
        let replied_us = started_us
            .map(|us| us + rng.lognormal_us(600.0, 1.0))
            .filter(|us| *us <= until_us && (*us < steps.last().map_or(0, |(_, at_us)| *at_us) || unsolved));
        let replied_us = replied_us.filter(|_| rng.likely(0.85));

        let mut ticket = initial.clone();
        if assigned && (started_us.is_some() || rng.likely(0.3)) {
            ticket.assignee_id = Some(self.agents[agent]);
        }
        for (status, at_us) in &steps {
            ticket.step(*status, Walker::Desk, at(*at_us)).expect("a legal step");
            ticket.updated_at = at(*at_us);
            ticket.version += 1;
        }
        if let Some(us) = replied_us {
            ticket.first_replied_at = Some(at(us));
            ticket.updated_at = ticket.updated_at.max(at(us));
            ticket.agent_comments = 1;
            ticket.version += 1;
        }
        let (times, facts) = self.times(&ticket, &steps, replied_us);
        Case { ticket, times, facts, initial, steps }
    }

    /// The clocks as they stand after all that happened, and what figures tell of that.
    fn times(&self, ticket: &Ticket, steps: &[(Status, i64)], replied_us: Option<i64>) -> (Times, Vec<Fact>) {
        let mut card = TicketState { status: Status::New, first_replied_at: None, ..ticket.state() };
        let traits = card.traits.clone();
        let mut times = Times::new(ticket.reported_at);
        times.judge(
            &traits,
            &self.configuration,
            &self.configuration.calendar_set,
            Occasion::Ticket,
            ticket.created_at,
        );
        let mut facts = happened(None, (&card, &times), 0, ticket.created_at);
        let mut all: Vec<(i64, Option<Status>)> = steps.iter().map(|(status, us)| (*us, Some(*status))).collect();
        if let Some(us) = replied_us {
            let place = all.partition_point(|(at_us, _)| *at_us <= us);
            all.insert(place, (us, None));
        }
        for (us, status) in all {
            let now = Instant::from_micros(us);
            let (was, was_times) = (card.clone(), times.clone());
            match status {
                Some(status) => {
                    card.status = status;
                    times.step(status, now);
                }
                None => {
                    card.first_replied_at = Some(now);
                    times.timeline.first_replied_at = Some(now);
                }
            }
            // Closing decides nothing.
            if status != Some(Status::Closed) {
                times.judge(&traits, &self.configuration, &self.configuration.calendar_set, Occasion::Step, now);
            }
            facts.extend(happened(Some((&was, &was_times)), (&card, &times), 1, now));
        }
        let (now, was) = (Instant::from_micros(self.parameters.until_us), times.clone());
        times.clocks = times.clocks.into_iter().map(|clock| clock.at(now)).collect();
        facts.extend(happened(Some((&card, &was)), (&card, &times), 1, now));
        (times, facts)
    }

    /// The tickets of this range, as rows.
    pub fn batch(&self, range: std::ops::Range<u64>) -> Batch {
        let tickets = range.end - range.start;
        let mut batch = Batch { tickets, rows: Default::default() };
        for (rows, table) in batch.rows.iter_mut().zip(LARGE) {
            rows.reserve(tickets as usize * table.columns.len());
        }
        for nth in range {
            let case = self.case(nth);
            self.ticket_rows(nth, case, &mut batch);
        }
        batch
    }

    fn ticket_rows(&self, nth: u64, case: Case, batch: &mut Batch) {
        let Case { mut ticket, times, facts, initial, steps } = case;
        let [tickets, tags, clocks, told, comments, events] = &mut batch.rows;
        let trail = events.len();
        if self.detailed() {
            self.talk(nth, &mut ticket, comments, events);
            self.trail(nth, &ticket, &steps, events);
        }
        let mut changes = String::with_capacity(1_024);
        for change in initial.changes_since(None) {
            let Change { field, before, after } = change;
            let comma = if changes.is_empty() { '[' } else { ',' };
            write!(changes, r#"{comma}{{"after":{after},"before":{before},"field":"{field}"}}"#).expect("memory");
        }
        changes.push(']');
        events.extend([
            id(self.parameters.seed, 20, nth, initial.created_at.micros()).into(),
            ticket.id.0.into(),
            initial.created_at.into(),
            initial.created_by_id.0.into(),
            "ticket.created".into(),
            "public".into(),
            Value::Null,
            Value::Json(changes),
            UNNUMBERED,
        ]);
        number(&mut events[trail..]);
        tags.extend(
            ticket
                .tags
                .iter()
                .flat_map(|tag| [Value::Text(tag.clone()), ticket.created_at.into(), ticket.number.into()]),
        );
        clocks.extend(clock_row(&ticket, &times));
        let numbers = (ticket.number - 1) * FACTS + 1..ticket.number * FACTS + 1;
        told.extend(facts.iter().zip(numbers).flat_map(|(fact, number)| fact_row(fact, number)));
        let Ticket {
            id,
            number,
            subject,
            description,
            status,
            priority,
            kind,
            channel,
            team_id,
            assignee_id,
            requester_id,
            created_by_id,
            external_id,
            follow_up_of: _,
            tags,
            custom_fields,
            created_at,
            updated_at,
            reported_at,
            started_at,
            first_replied_at,
            resolved_at,
            closed_at,
            reopen_count,
            agent_comments,
            version,
            internal_at: _,
        } = ticket;
        tickets.extend([
            number.into(),
            id.0.into(),
            Value::Text(subject),
            Value::Text(description),
            status.as_str().into(),
            priority.as_str().into(),
            kind.as_str().into(),
            channel.as_str().into(),
            team_id.map(|id| id.0).into(),
            assignee_id.map(|id| id.0).into(),
            requester_id.map(|id| id.0).into(),
            created_by_id.0.into(),
            external_id.map_or(Value::Null, Value::Text),
            Value::Json(serde_json::to_string(&tags).expect("JSON")),
            Value::Json(custom_fields.to_json().to_string()),
            created_at.into(),
            updated_at.into(),
            reported_at.into(),
            started_at.into(),
            first_replied_at.into(),
            resolved_at.into(),
            closed_at.into(),
            Value::Small(reopen_count),
            Value::Small(agent_comments),
            version.into(),
        ]);
    }

    /// Three comments: the first answer if there was one, the requester's word, and a note that is internal.
    fn talk(&self, nth: u64, ticket: &mut Ticket, comments: &mut Vec<Value>, events: &mut Vec<Value>) {
        let seed = self.parameters.seed;
        let mut rng = Rng::of(seed, 13, nth);
        let agent = ticket.assignee_id.unwrap_or(self.agents[nth as usize % AGENTS]);
        let requester = ticket.requester_id.unwrap_or(self.monitor);
        let latest_us = self.parameters.until_us.min(ticket.closed_at.map_or(i64::MAX, Instant::micros));
        let mut at_us = ticket.first_replied_at.unwrap_or(ticket.created_at).micros();
        for which in 0..3 {
            let (author, visibility) = match (which, ticket.first_replied_at) {
                (0, Some(_)) => (agent, "public"),
                (1, _) => (requester, "public"),
                _ => (agent, "internal"),
            };
            if which > 0 || ticket.first_replied_at.is_none() {
                at_us = (at_us + rng.lognormal_us(3_600.0, 1.0)).min(latest_us);
            }
            if which == 1 {
                ticket.updated_at = ticket.updated_at.max(Instant::from_micros(at_us));
                ticket.version += 1;
            }
            let comment = id(seed, 14 + which, nth, at_us);
            let words = rng.between(6, 24);
            let body = self.vocabulary.text(&mut rng, words);
            comments.extend([
                comment.into(),
                ticket.id.0.into(),
                author.0.into(),
                visibility.into(),
                Value::Text(body),
                Value::Time(at_us),
                Value::Int(1),
            ]);
            events.extend([
                id(seed, 24 + which, nth, at_us).into(),
                ticket.id.0.into(),
                Value::Time(at_us),
                author.0.into(),
                "comment.added".into(),
                visibility.into(),
                comment.into(),
                Value::Json("[]".into()),
                UNNUMBERED,
            ]);
        }
    }

    /// An event for each time that it was solved.
    fn trail(&self, nth: u64, ticket: &Ticket, steps: &[(Status, i64)], events: &mut Vec<Value>) {
        for (step, (status, at_us)) in steps.iter().enumerate().filter(|(_, (status, _))| *status == Status::Resolved) {
            let changes = format!(r#"[{{"after":"{status}","before":"open","field":"status"}}]"#);
            events.extend([
                id(self.parameters.seed, 30 + step as u64, nth, *at_us).into(),
                ticket.id.0.into(),
                Value::Time(*at_us),
                ticket.assignee_id.map(|id| id.0).into(),
                "ticket.updated".into(),
                "public".into(),
                Value::Null,
                Value::Json(changes),
                UNNUMBERED,
            ]);
        }
    }

    /// The rows of the tables that do not grow, in an order that foreign keys allow.
    pub fn basics(&self) -> Vec<(Table, Vec<Value>)> {
        let since = Value::Time(self.parameters.until_us - SPAN_US - DAY_US);
        let table = |name, columns| Table { name, columns };
        let mut principals = Vec::new();
        let mut person = |id: PrincipalId, role: &'static str, name: String, email: String| {
            principals.extend([
                id.0.into(),
                "person".into(),
                Value::Text(name),
                Value::Text(email),
                role.into(),
                Value::Null,
                Value::Null,
                Value::Bool(true),
                since.clone(),
                since.clone(),
                Value::Int(1),
            ]);
        };
        for (nth, id) in self.agents.iter().enumerate() {
            person(*id, "agent", format!("Agent {nth}"), format!("agent.{nth}@example.org"));
        }
        for (nth, id) in self.requesters.iter().enumerate() {
            person(*id, "requester", format!("Requester {nth}"), format!("requester.{nth}@example.org"));
        }
        principals.extend([
            self.monitor.0.into(),
            "service_account".into(),
            "Monitor".into(),
            Value::Null,
            Value::Null,
            "tickets:write".into(),
            "no secret fits".into(),
            Value::Bool(true),
            since.clone(),
            since.clone(),
            Value::Int(1),
        ]);
        let teams = self.teams.iter().enumerate().flat_map(|(nth, id)| {
            let name = Value::Text(format!("Team {nth:02}"));
            [id.0.into(), name, "".into(), since.clone(), since.clone(), Value::Int(1)]
        });
        let members = self
            .agents
            .iter()
            .enumerate()
            .flat_map(|(nth, id)| [self.teams[nth / (AGENTS / TEAMS)].0.into(), id.0.into(), since.clone()]);
        let json = |value: serde_json::Value| Value::Json(value.to_string());
        let (calendar, definition) = (self.configuration.default_calendar.expect("one").0, json!(self.calendar));
        let mut policies = Vec::new();
        let mut versions = Vec::new();
        for Policy { of, definition } in &self.configuration.policies {
            let written = json(json!(definition));
            policies.extend([
                of.id.0.into(),
                Value::Text(definition.name.clone()),
                Value::Small(definition.position),
                definition.calendar_id.map(|id| id.0).into(),
                written.clone(),
                since.clone(),
                since.clone(),
                Value::Int(1),
            ]);
            versions.extend([of.id.0.into(), Value::Int(1), written, since.clone()]);
        }
        vec![
            (
                table(
                    "principals",
                    &[
                        "id",
                        "kind",
                        "name",
                        "email",
                        "role",
                        "scopes",
                        "secret_hash",
                        "active",
                        "created_at",
                        "updated_at",
                        "version",
                    ],
                ),
                principals,
            ),
            (table("teams", &["id", "name", "description", "created_at", "updated_at", "version"]), teams.collect()),
            (table("team_members", &["team_id", "principal_id", "created_at"]), members.collect()),
            (
                table("calendars", &["id", "name", "is_default", "definition", "created_at", "updated_at", "version"]),
                vec![
                    calendar.into(),
                    "Office hours".into(),
                    Value::Bool(true),
                    json(definition.clone()),
                    since.clone(),
                    since.clone(),
                    Value::Int(1),
                ],
            ),
            (
                table("calendar_versions", &["calendar_id", "version", "definition", "created_at"]),
                vec![calendar.into(), Value::Int(1), json(definition), since.clone()],
            ),
            (
                table(
                    "sla_policies",
                    &["id", "name", "position", "calendar_id", "definition", "created_at", "updated_at", "version"],
                ),
                policies,
            ),
            (table("sla_policy_versions", &["policy_id", "version", "definition", "created_at"]), versions),
        ]
    }

    /// Numbers and ids of about `count` tickets that take comments, the newest first.
    pub fn unclosed(&self, count: usize) -> Vec<i64> {
        let cases = (0..self.parameters.size).rev().map(|nth| self.case(nth).ticket);
        let open = cases.filter(|ticket| matches!(ticket.status, Status::Open | Status::WaitingRequester));
        open.take(count).map(|ticket| ticket.number).collect()
    }

    /// A text that somebody might write.
    pub fn text(&self, rng: &mut Rng, words: usize) -> String {
        self.vocabulary.text(rng, words)
    }
}

/// Two policies: one for what presses, by the clock on the wall, and one for the four largest teams, by office hours.
fn configuration(calendar: &Definition, teams: &[TeamId], [calendar_id, policy_id]: [Uuid; 2]) -> SlaConfiguration {
    let calendar_id = CalendarId(calendar_id);
    let rule = |target, priority, hours_h: i64, hours| Rule {
        target,
        priority,
        target_s: hours_h * 3_600,
        hours,
        notify_before_s: None,
    };
    let pressing = PolicyDefinition {
        name: "Pressing".into(),
        position: 1,
        condition: Condition { priorities: vec![Priority::High, Priority::Urgent], ..Condition::default() },
        calendar_id: None,
        targets: vec![
            rule(Target::Response, Some(Priority::Urgent), 3, Hours::Calendar),
            rule(Target::Response, None, 12, Hours::Calendar),
            rule(Target::FirstReply, None, 24, Hours::Calendar),
            rule(Target::Service, None, 48, Hours::Calendar),
        ],
    };
    let usual = PolicyDefinition {
        name: "Usual".into(),
        position: 2,
        condition: Condition { team_ids: teams[..4].to_vec(), ..Condition::default() },
        calendar_id: Some(calendar_id),
        targets: vec![
            rule(Target::Response, Some(Priority::Normal), 16, Hours::Business),
            rule(Target::Response, None, 40, Hours::Business),
            rule(Target::Service, None, 60, Hours::Business),
        ],
    };
    let (first, second) = (policy_id, Uuid::from_u128(policy_id.as_u128() + 1));
    let policy = |id, definition| Policy { of: VersionOf { id: PolicyId(id), version: 1 }, definition };
    let mut configuration = SlaConfiguration {
        policies: vec![policy(first, pressing), policy(second, usual)],
        calendars: BTreeMap::from([(calendar_id, 1)]),
        default_calendar: Some(calendar_id),
        ..SlaConfiguration::default()
    };
    let made = Calendar::new(calendar).expect("a calendar that makes sense");
    configuration.calendar_set.0.insert(VersionOf { id: calendar_id, version: 1 }, Arc::new(made));
    configuration
}

/// The steps of a ticket after its creation, with their instants, in order.
fn lifetime(rng: &mut Rng, priority: Priority, created_us: i64, unsolved: bool) -> Vec<(Status, i64)> {
    let (response_s, service_s) = match priority {
        Priority::Urgent => (900.0, 7_200.0),
        Priority::High => (3_600.0, 14_400.0),
        Priority::Normal => (14_400.0, 21_600.0),
        Priority::Low => (43_200.0, 28_800.0),
    };
    let mut at_us = created_us + rng.lognormal_us(response_s, 1.2);
    let mut steps = vec![(Status::Open, at_us)];
    let last = unsolved.then(|| {
        rng.pick(&[
            (Status::New, 25.0),
            (Status::Open, 45.0),
            (Status::WaitingRequester, 22.0),
            (Status::WaitingThirdParty, 8.0),
        ])
    });
    if last == Some(Status::New) {
        return Vec::new();
    }
    let waits = rng.pick(&[(0, 60.0), (1, 30.0), (2, 10.0)]);
    for _ in 0..waits {
        at_us += rng.lognormal_us(service_s / f64::from(waits + 1), 1.0);
        let status = if rng.likely(0.75) { Status::WaitingRequester } else { Status::WaitingThirdParty };
        steps.push((status, at_us));
        at_us += rng.lognormal_us(64_800.0, 1.0);
        steps.push((Status::Open, at_us));
    }
    at_us += rng.lognormal_us(service_s / f64::from(waits + 1), 1.0);
    match last {
        Some(Status::Open) => return steps,
        Some(status) => {
            steps.push((status, at_us));
            return steps;
        }
        None => steps.push((Status::Resolved, at_us)),
    }
    if rng.likely(0.03) {
        at_us += rng.lognormal_us(86_400.0, 1.0);
        steps.push((Status::Open, at_us));
        at_us += rng.lognormal_us(service_s, 1.0);
        steps.push((Status::Resolved, at_us));
    }
    steps.push((Status::Closed, at_us + rng.between(20 * 86_400, 80 * 86_400) as i64 * 1_000_000));
    steps
}

/// The row that Skranke stores for these times.
fn fact_row(fact: &Fact, number: i64) -> [Value; 18] {
    let groups = &fact.groups;
    let (kind, target, took, resolution, is_first_contact) = match fact.what {
        What::Created => ("created", None, None, None, false),
        What::Started(took) => ("started", None, took, None, false),
        What::Replied(took) => ("replied", None, took, None, false),
        What::Resolved { is_first_contact, service, resolution } => {
            ("resolved", None, service, resolution, is_first_contact)
        }
        What::Reopened => ("reopened", None, None, None, false),
        What::Met(target) => ("met", Some(target), None, None, false),
        What::Breached(target) => ("breached", Some(target), None, None, false),
        What::ResolvedByAlert { .. } | What::Entered | What::Left | What::Worked { .. } => {
            unreachable!("nobody moves or works here, and nothing alerts")
        }
    };
    let s = |s: Option<i64>| s.map_or(Value::Null, Value::Int);
    [
        Value::Int(number),
        fact.at().into(),
        fact.ticket.into(),
        kind.into(),
        Value::Small(fact.n.into()),
        groups.priority.as_str().into(),
        groups.kind.as_str().into(),
        groups.channel.as_str().into(),
        groups.team.map(|id| id.0).into(),
        groups.policy.map(|id| id.0).into(),
        groups.assignee.map(|id| id.0).into(),
        Value::Json(serde_json::to_string(&groups.tags).expect("JSON")),
        target.map_or(Value::Null, |target| target.as_str().into()),
        s(took.map(|took| took.calendar_s)),
        s(took.map(|took| took.business_s)),
        s(resolution.map(|took| took.calendar_s)),
        s(resolution.map(|took| took.business_s)),
        Value::Bool(is_first_contact),
    ]
}

fn clock_row(ticket: &Ticket, times: &Times) -> [Value; 17] {
    let Times { policy_id, timeline, clocks, measured } = times;
    let spans: Vec<_> = timeline.spans.iter().map(|(status, from)| (status, from.micros())).collect();
    let json = |written: serde_json::Result<String>| Value::Json(written.expect("JSON"));
    let running = |clock: &&SlaClock, target| clock.target == target && clock.state() == ClockState::Running;
    let breach_at = |target| clocks.iter().find(|clock| running(clock, target)).and_then(SlaClock::breach_at).into();
    [
        ticket.number.into(),
        ticket.created_at.into(),
        policy_id.map(|id| id.0).into(),
        json(serde_json::to_string(&spans)),
        json(serde_json::to_string(clocks)),
        times.due_at().unwrap_or(Instant::NEVER).into(),
        clocks.iter().filter_map(SlaClock::breach_at).min().into(),
        measured.last_resolved_at.into(),
        measured.response_business_s.into(),
        measured.first_reply_business_s.into(),
        measured.service_s.into(),
        measured.service_business_s.into(),
        measured.resolution_s.into(),
        measured.resolution_business_s.into(),
        breach_at(Target::Response),
        breach_at(Target::FirstReply),
        breach_at(Target::Service),
    ]
}
