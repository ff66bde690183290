//! What there is to do as clients see it.

use serde::Serialize;
use utoipa::ToSchema;

use super::figures::example_day;
use super::groups::{KeyBody, add_groups, by, example_team};
use super::queries::BacklogQuery;
use crate::http::{Table, TableWriter};
use crate::kernel::{ClockState, Instant, Priority, Problem, Status, Target};
use crate::metrics::domain::backlog::{AGES_S, Backlog, ClockStates};
use crate::metrics::service::backlog::ToDo;
use crate::metrics::service::groups::Group;
use crate::tally::domain::facts::GroupBy;

/// What there is to do, now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MetricsBacklog, example = json!(BacklogBody::example()))]
pub struct BacklogBody {
    /// The instant that all of it is about.
    pub now: Instant,
    /// How many seconds ahead promises are due soon.
    #[schema(minimum = 0)]
    pub due_within_s: i64,
    /// All tickets that the filters let through, each counted once.
    pub total: BacklogTotal,
    /// By what it is grouped; null when that was not asked.
    #[schema(required, max_items = 2)]
    pub group_by: Option<Vec<GroupBy>>,
    /// Each group, in the order of their names; null when nothing was asked to be grouped.
    #[schema(required, max_items = 1000)]
    pub groups: Option<Vec<BacklogGroup>>,
    /// Whether there are more groups or teams than these: only the largest are here then.
    pub truncated: bool,
    /// How many tickets the last edit of SLA policies or calendars has not reached yet: until it does, figures tell
    /// what held for them before. 100,000 may be more.
    #[schema(minimum = 0, maximum = 100_000)]
    pub pending_tickets: i64,
}

/// What there is to do, altogether.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogTotal {
    /// The figures.
    #[serde(flatten)]
    pub figures: BacklogFigures,
    /// How many of the tickets are in the queue of each team, in the order of their names; last those in none.
    #[schema(max_items = 1000)]
    pub by_team: Vec<TeamBacklog>,
}

/// How many tickets a team has to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct TeamBacklog {
    /// Which team; null in it for tickets in no queue.
    pub key: KeyBody,
    /// Tickets that are neither resolved nor closed.
    #[schema(minimum = 0)]
    pub open: i64,
}

/// What there is to do, of a group.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogGroup {
    /// Which group.
    pub key: KeyBody,
    /// Its figures.
    #[serde(flatten)]
    pub figures: BacklogFigures,
}

/// What there is to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogFigures {
    /// Tickets that are neither resolved nor closed. All others are some of them.
    #[schema(minimum = 0)]
    pub open: i64,
    /// By where they stand.
    pub by_status: OpenByStatus,
    /// By how urgent they are.
    pub by_priority: OpenByPriority,
    /// By the time since they were reported: the youngest first.
    #[schema(min_items = 7, max_items = 7)]
    pub by_age: Vec<AgeBody>,
    /// When the oldest was reported; null when there is none.
    #[schema(required)]
    pub oldest_reported_at: Option<Instant>,
    /// Those that nobody has.
    #[schema(minimum = 0)]
    pub unassigned: i64,
    /// The promises about them.
    pub sla: BacklogSla,
}

/// Tickets by where they stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenByStatus {
    /// Nobody has begun to work on them.
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
}

/// Tickets by how urgent they are.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenByPriority {
    /// Can wait.
    #[schema(minimum = 0)]
    pub low: i64,
    /// The usual.
    #[schema(minimum = 0)]
    pub normal: i64,
    /// Before the usual.
    #[schema(minimum = 0)]
    pub high: i64,
    /// At once.
    #[schema(minimum = 0)]
    pub urgent: i64,
}

/// Tickets of an age.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Age)]
pub struct AgeBody {
    /// The least age, in seconds since the report.
    #[schema(minimum = 0)]
    pub from_s: i64,
    /// The least age that is too old, in seconds; null for no bound.
    #[schema(required, minimum = 0)]
    pub to_s: Option<i64>,
    /// How many tickets.
    #[schema(minimum = 0)]
    pub tickets: i64,
}

/// How the promises about tickets stand.
#[derive(Debug, Serialize, ToSchema)]
pub struct BacklogSla {
    /// Tickets with at least one clock that is breached.
    #[schema(minimum = 0)]
    pub breached: i64,
    /// Tickets with at least one clock that runs and is due within `due_within_s` seconds.
    #[schema(minimum = 0)]
    pub due_within: i64,
    /// Clocks that promise a response.
    pub response: StatesBody,
    /// Clocks that promise a first reply.
    pub first_reply: StatesBody,
    /// Clocks that promise a solution.
    pub service: StatesBody,
}

/// How many clocks are in each state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ClockStates)]
pub struct StatesBody {
    /// Time counts.
    #[schema(minimum = 0)]
    pub running: i64,
    /// Time does not count now.
    #[schema(minimum = 0)]
    pub paused: i64,
    /// Ended in time.
    #[schema(minimum = 0)]
    pub met: i64,
    /// Did not, for good.
    #[schema(minimum = 0)]
    pub breached: i64,
}

impl From<&ClockStates> for StatesBody {
    fn from(states: &ClockStates) -> Self {
        let count = |state: ClockState| states.get(&state).copied().unwrap_or(0);
        Self {
            running: count(ClockState::Running),
            paused: count(ClockState::Paused),
            met: count(ClockState::Met),
            breached: count(ClockState::Breached),
        }
    }
}

impl From<&Backlog> for BacklogFigures {
    fn from(backlog: &Backlog) -> Self {
        let status = |status: Status| backlog.by_status.get(&status).copied().unwrap_or(0);
        let priority = |priority: Priority| backlog.by_priority.get(&priority).copied().unwrap_or(0);
        let ends = AGES_S.iter().skip(1).map(|to_s| Some(*to_s)).chain([None]);
        let ages = AGES_S.iter().zip(ends).zip(backlog.by_age);
        let clocks = |target: Target| StatesBody::from(&backlog.clocks[target as usize]);
        Self {
            open: backlog.open,
            by_status: OpenByStatus {
                new: status(Status::New),
                open: status(Status::Open),
                waiting_requester: status(Status::WaitingRequester),
                waiting_third_party: status(Status::WaitingThirdParty),
            },
            by_priority: OpenByPriority {
                low: priority(Priority::Low),
                normal: priority(Priority::Normal),
                high: priority(Priority::High),
                urgent: priority(Priority::Urgent),
            },
            by_age: ages.map(|((from_s, to_s), tickets)| AgeBody { from_s: *from_s, to_s, tickets }).collect(),
            oldest_reported_at: backlog.oldest_reported_at,
            unassigned: backlog.unassigned,
            sla: BacklogSla {
                breached: backlog.breached,
                due_within: backlog.due_within,
                response: clocks(Target::Response),
                first_reply: clocks(Target::FirstReply),
                service: clocks(Target::Service),
            },
        }
    }
}

impl BacklogBody {
    /// What there is to do at `now`.
    pub fn of(now: Instant, query: &BacklogQuery, groups_by: &[GroupBy], to_do: ToDo, pending_tickets: i64) -> Self {
        let ToDo { total, by_team, groups } = to_do;
        let truncated = by_team.truncated || groups.as_ref().is_some_and(|groups| groups.truncated);
        let team =
            |Group { keys, about }: Group<i64>| TeamBacklog { key: KeyBody::of(&[GroupBy::Team], keys), open: about };
        let group = |Group { keys, about }: Group<Backlog>| BacklogGroup {
            key: KeyBody::of(groups_by, keys),
            figures: (&about).into(),
        };
        let by_team = by_team.items.into_iter().map(team).collect();
        Self {
            now,
            due_within_s: query.due_within_s.get(),
            total: BacklogTotal { figures: (&total).into(), by_team },
            group_by: by(groups_by),
            groups: groups.map(|groups| groups.items.into_iter().map(group).collect()),
            truncated,
            pending_tickets,
        }
    }

    fn example() -> Self {
        let now = example_day()[1];
        let oldest_reported_at = Some(now.plus_s(-7_200));
        let by_age = [0, 1, 0, 0, 0, 0, 0];
        let mut backlog = Backlog { by_age, oldest_reported_at, due_within: 1, ..Backlog::default() };
        let stand = (None, Status::Open, Priority::High, 1, Some(ClockState::Met), None, Some(ClockState::Running));
        backlog.stand(&stand, 1);
        let by_team = vec![TeamBacklog { key: example_team(), open: 1 }];
        let total = BacklogTotal { figures: (&backlog).into(), by_team };
        Self { now, due_within_s: 3_600, total, group_by: None, groups: None, truncated: false, pending_tickets: 0 }
    }
}

/// A row of the table, but for its group.
#[derive(Debug, Serialize)]
struct NowColumns<'a> {
    now: Instant,
    #[serde(flatten)]
    figures: &'a BacklogFigures,
}

impl Table for BacklogBody {
    fn write(&self, table: &mut TableWriter) -> Result<(), Problem> {
        let columns = |figures| NowColumns { now: self.now, figures };
        let groups =
            self.groups.as_ref().map(|groups| groups.iter().map(|group| (&group.key, columns(&group.figures))));
        add_groups(table, self.group_by.as_ref(), columns(&self.total.figures), groups)
    }
}
