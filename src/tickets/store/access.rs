//! By which ranges of indexes a list goes to its tickets.

use diesel::sql_types::Bool;

use super::criteria::{Choice, TicketCriteria, breached_after};
use crate::db::raw::{Raw, RawValue, raw};
use crate::kernel::Instant;
use crate::tickets::domain::listing::{SlaFilter, Sort};
use crate::tickets::domain::{Priority, Status};

/// The most ranges that one list is merged from.
const MOST_RANGES: usize = 60;

/// By what a list is ordered, before the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// When it was created.
    Created,
    /// When it was changed last.
    Updated,
    /// When anything happened to it last.
    Activity,
    /// How urgent it is.
    Priority,
    /// When something is due.
    Due,
}

impl Order {
    /// The order of a sort, and whether it goes down.
    pub fn of(sort: Sort) -> (Self, bool) {
        match sort {
            Sort::Created => (Self::Created, false),
            Sort::CreatedDesc => (Self::Created, true),
            Sort::Updated => (Self::Updated, false),
            Sort::UpdatedDesc => (Self::Updated, true),
            Sort::Activity => (Self::Activity, false),
            Sort::ActivityDesc => (Self::Activity, true),
            Sort::Priority => (Self::Priority, false),
            Sort::PriorityDesc => (Self::Priority, true),
            Sort::Due => (Self::Due, false),
            Sort::DueDesc => (Self::Due, true),
            // By relevance there is a list only of what was searched for.
            Sort::Relevance => (Self::Created, true),
        }
    }
}

/// From where on a list is read.
#[derive(Debug, Clone, Copy)]
pub struct Keyset {
    /// The order of the list.
    pub order: Order,
    /// Whether it goes down.
    pub descending: bool,
    /// The value and the number of the ticket that it begins behind.
    pub after: Option<(i64, i64)>,
}

/// What holds of columns: that they are so related to values, or null where there are none.
#[derive(Debug, Clone)]
struct ColumnTest {
    columns: Vec<&'static str>,
    relation: &'static str,
    values: Vec<RawValue>,
}

impl ColumnTest {
    fn new(column: &'static str, relation: &'static str, value: impl Into<RawValue>) -> Self {
        Self { columns: vec![column], relation, values: vec![value.into()] }
    }

    fn null(column: &'static str) -> Self {
        Self { columns: vec![column], relation: "IS NULL", values: Vec::new() }
    }
}

/// A range of an index: rows in the order of a value and of the number of the ticket.
#[derive(Debug, Clone)]
pub struct Range {
    /// The table: `tickets`, or one that has a `ticket_number`.
    pub table: &'static str,
    value: &'static str,
    holds: Vec<ColumnTest>,
}

impl Range {
    fn new(table: &'static str, value: &'static str, holds: Vec<ColumnTest>) -> Self {
        Self { table, value, holds }
    }

    /// The column of the number of the ticket.
    pub fn number(&self) -> &'static str {
        if self.table == "tickets" { "number" } else { "ticket_number" }
    }

    /// The column of this name, or nothing, that is null in all of the range and that the index has before the value.
    pub fn leading_null(&self) -> Option<&'static str> {
        self.holds.first().filter(|first| first.values.is_empty()).and_then(|first| first.columns.first().copied())
    }

    /// What to select: the number and the value. The table is called `name`.
    pub fn columns(&self, name: &str) -> String {
        format!("{name}.{} AS number, {name}.{} AS value", self.number(), self.value)
    }

    /// Which rows are in it. The table is called `name`.
    pub fn condition(&self, name: &str) -> Raw<Bool> {
        self.holds.iter().fold(raw("TRUE"), |all, ColumnTest { columns, relation, values }| {
            let columns: Vec<_> = columns.iter().map(|column| format!("{name}.{column}")).collect();
            let mut all = all.sql(format!(" AND ({}) {}", columns.join(", "), relation.replace("{}", name)));
            for (nth, value) in values.iter().enumerate() {
                all = all.sql(if nth == 0 { " (" } else { ", " }).bind(value.clone());
            }
            all.sql(if values.is_empty() { "" } else { ")" })
        })
    }

    /// What of it is behind a keyset, in parts. Many tickets have the same priority, and nothing due: SQLite goes
    /// through all of them for a pair of value and number, which takes 30 ms among a million tickets, and none for each
    /// by itself.
    fn behind(&self, keyset: Keyset, of_sqlite: bool) -> Vec<Self> {
        let Some((value, number)) = keyset.after else { return vec![self.clone()] };
        let value = match keyset.order {
            Order::Priority => RawValue::from(i32::try_from(value).unwrap_or(0)),
            Order::Created | Order::Updated | Order::Activity | Order::Due => Instant::from_micros(value).into(),
        };
        let relation = if keyset.descending { "<" } else { ">" };
        let with = |more: Vec<ColumnTest>| Self { holds: [&self.holds[..], &more].concat(), ..self.clone() };
        if of_sqlite && matches!(keyset.order, Order::Priority | Order::Due) {
            let tied = ColumnTest::new(self.value, "=", value.clone());
            let beyond = ColumnTest::new(self.value, relation, value);
            return vec![with(vec![tied, ColumnTest::new(self.number(), relation, number)]), with(vec![beyond])];
        }
        vec![with(vec![ColumnTest {
            columns: vec![self.value, self.number()],
            relation,
            values: vec![value, number.into()],
        }])]
    }
}

/// A way to all tickets that are meant.
#[derive(Debug, Clone)]
pub struct AccessPath {
    ranges: Vec<Range>,
    /// What is left to check of each ticket that is met.
    pub rest: TicketCriteria,
}

impl AccessPath {
    /// The ranges, as far as they are behind a keyset.
    pub fn behind(&self, keyset: Keyset, of_sqlite: bool) -> Vec<Range> {
        self.ranges.iter().flat_map(|range| range.behind(keyset, of_sqlite)).collect()
    }

    /// Whether a ticket may be met in several of the ranges: it has as many of the tags.
    pub fn overlaps(&self) -> bool {
        self.ranges.len() > 1 && self.ranges.iter().any(|range| range.table == "ticket_tags")
    }

    /// By each of these and each status that is asked for, or every one, as indexes go on, in the order of the
    /// creation.
    fn by_status(each: Vec<Vec<ColumnTest>>, rest: TicketCriteria) -> Self {
        let mut path = Self::by_any_status(each, "created_at", rest, Status::ALL);
        path.rest.status = None;
        path
    }

    /// By each of these, and by status where one is asked for; where none is, by each of `otherwise`.
    fn by_any_status(
        each: Vec<Vec<ColumnTest>>,
        value: &'static str,
        rest: TicketCriteria,
        otherwise: &[Status],
    ) -> Self {
        let statuses = words("status", rest.status.as_deref().unwrap_or(otherwise), Status::as_str);
        let statuses = if statuses.is_empty() { vec![Vec::new()] } else { statuses };
        let all = each.iter().flat_map(|one| statuses.iter().map(|status| [&one[..], status].concat()));
        let ranges = all.map(|holds| Range::new("tickets", value, holds)).collect();
        Self { ranges, rest: TicketCriteria { status: None, ..rest } }
    }

    /// The same within the bounds of the creation. Nothing happened to a ticket before it was created, but for its
    /// report.
    fn within_creation(mut self, criteria: &TicketCriteria) -> Self {
        let TicketCriteria { created_before, updated_before, activity_before, .. } = *criteria;
        let ended_before = [criteria.resolved_before, criteria.closed_before];
        let before = [created_before, updated_before, activity_before].into_iter().chain(ended_before).flatten().min();
        // It may have been created at the very instant of its report.
        let reported_after = criteria.reported_after.map(|at| Instant::from_micros(at.micros() - 1));
        let after = criteria.created_after.max(reported_after);
        self.bound("created_at", after, before);
        Self { rest: TicketCriteria { created_after: None, created_before: None, ..self.rest }, ..self }
    }

    /// The same within the bounds of the last change.
    fn within_change(mut self, criteria: &TicketCriteria) -> Self {
        let before = [criteria.updated_before, criteria.activity_before].into_iter().flatten().min();
        self.bound("updated_at", criteria.updated_after.max(criteria.created_after), before);
        Self { rest: TicketCriteria { updated_after: None, updated_before: None, ..self.rest }, ..self }
    }

    /// The same within the bounds of what happened last.
    fn within_activity(mut self, criteria: &TicketCriteria) -> Self {
        let after = criteria.activity_after.max(criteria.updated_after).max(criteria.created_after);
        self.bound("activity_at", after, criteria.activity_before);
        Self { rest: TicketCriteria { activity_after: None, activity_before: None, ..self.rest }, ..self }
    }

    fn bound(&mut self, column: &'static str, after: Option<Instant>, before: Option<Instant>) {
        for range in &mut self.ranges {
            range.holds.extend(after.map(|at| ColumnTest::new(column, ">", at)));
            range.holds.extend(before.map(|at| ColumnTest::new(column, "<", at)));
        }
    }
}

/// The path along the order of a list.
pub fn along(criteria: &TicketCriteria, order: Order) -> AccessPath {
    let all = || vec![Vec::new()];
    match order {
        Order::Created => {
            let all = || {
                let each = criteria.reported_before.map_or_else(all, by_report);
                AccessPath::by_any_status(each, "created_at", criteria.clone(), &[]).within_creation(criteria)
            };
            by_creation(criteria).into_iter().next().unwrap_or_else(all)
        }
        Order::Updated => AccessPath::by_any_status(all(), "updated_at", criteria.clone(), &[]).within_change(criteria),
        Order::Activity => {
            AccessPath::by_any_status(all(), "activity_at", criteria.clone(), &[]).within_activity(criteria)
        }
        Order::Priority => {
            let rank = |priority: &Priority| vec![ColumnTest::new("priority_rank", "=", priority.rank())];
            let ranks = criteria.priority.as_ref().map_or_else(all, |any| any.iter().map(rank).collect());
            let rest = TicketCriteria { priority: None, ..criteria.clone() };
            AccessPath::by_any_status(ranks, "priority_rank", rest, &[])
        }
        Order::Due => {
            AccessPath { ranges: vec![Range::new("ticket_clocks", "due_at", Vec::new())], rest: criteria.clone() }
        }
    }
}

/// What was reported before an instant: what was created before it, and what was created later and is dated back.
fn by_report(before: Instant) -> Vec<Vec<ColumnTest>> {
    let dated_back = ColumnTest { columns: vec!["reported_at"], relation: "< {}.created_at", values: Vec::new() };
    vec![
        vec![ColumnTest::new("created_at", "<", before)],
        vec![ColumnTest::new("created_at", ">=", before), dated_back],
    ]
}

/// Other paths that may turn out to be short, whatever the order of the list is.
pub fn shortcuts(criteria: &TicketCriteria, order: Order) -> Vec<AccessPath> {
    let mut paths = by_creation(criteria);
    if order == Order::Created && !paths.is_empty() {
        // It is the path along the order.
        paths.remove(0);
    }
    if let Some(SlaFilter::DueWithin(s)) = criteria.sla {
        let until = breached_after(criteria.now.plus_s(s));
        let due = |column| {
            let after = ColumnTest::new(column, ">", criteria.now);
            Range::new("ticket_clocks", column, vec![after, ColumnTest::new(column, "<=", until)])
        };
        let ranges = ["response_breach_at", "first_reply_breach_at", "service_breach_at"].map(due).to_vec();
        paths.insert(0, AccessPath { ranges, rest: criteria.clone() });
    }
    let ends = [
        ("resolved_at", criteria.resolved_after, criteria.resolved_before),
        ("closed_at", criteria.closed_after, criteria.closed_before),
    ];
    for (column, after, before) in ends.into_iter().filter(|(_, after, before)| after.is_some() || before.is_some()) {
        let mut path = AccessPath { ranges: vec![Range::new("tickets", column, Vec::new())], rest: criteria.clone() };
        path.bound(column, after, before);
        paths.push(path);
    }
    let all = |value| AccessPath::by_any_status(vec![Vec::new()], value, criteria.clone(), &[]);
    if order != Order::Created && (criteria.created_after.is_some() || criteria.created_before.is_some()) {
        paths.push(all("created_at").within_creation(criteria));
    }
    if order != Order::Updated && (criteria.updated_after.is_some() || criteria.updated_before.is_some()) {
        paths.push(all("updated_at").within_change(criteria));
    }
    if order != Order::Activity && (criteria.activity_after.is_some() || criteria.activity_before.is_some()) {
        paths.push(all("activity_at").within_activity(criteria));
    }
    paths
}

/// The paths in the order of creation by something that is asked for; first those by what few tickets have in common.
fn by_creation(criteria: &TicketCriteria) -> Vec<AccessPath> {
    let path = |each: Vec<Vec<ColumnTest>>, met: fn(&mut TicketCriteria)| {
        let mut rest = criteria.clone();
        met(&mut rest);
        AccessPath::by_status(each, rest)
    };
    let mut paths = Vec::new();
    if let Some(id) = &criteria.external_id {
        let holds = vec![ColumnTest::new("external_id", "=", id.clone())];
        let rest = TicketCriteria { external_id: None, ..criteria.clone() };
        paths.push(AccessPath { ranges: vec![Range::new("tickets", "created_at", holds)], rest });
    }
    if let Some(own) = criteria.only_of {
        paths.push(path(vec![vec![ColumnTest::new("requester_id", "=", own)]], |rest| rest.only_of = None));
    }
    if let Some(people) = criteria.requester.as_ref().and_then(Choice::plain) {
        paths.push(path(choices("requester_id", people), |rest| rest.requester = None));
    }
    let team = criteria.team.as_ref().and_then(Choice::plain);
    let assignee = criteria.assignee.as_ref().and_then(Choice::plain);
    if let (Some(teams), Some(people)) = (team, assignee)
        && !teams.or_nothing
        && people.or_nothing
        && people.any.is_empty()
    {
        // Both at once, by an index of its own; of a team or of nobody alone, most would be met in vain.
        let unassigned = |team| vec![ColumnTest::new("team_id", "=", team), ColumnTest::null("assignee_id")];
        let each = teams.any.iter().copied().map(unassigned).collect();
        paths.push(path(each, |rest| (rest.team, rest.assignee) = (None, None)));
    }
    if let Some(people) = assignee {
        paths.push(path(choices("assignee_id", people), |rest| rest.assignee = None));
    }
    let of_people = paths.len();
    if let Some(teams) = team {
        paths.push(path(choices("team_id", teams), |rest| rest.team = None));
    }
    if let Some(any) = &criteria.priority {
        paths.push(path(words("priority", any, Priority::as_str), |rest| rest.priority = None));
    }
    if let Some(any) = &criteria.channel {
        paths.push(path(words("channel", any, |channel| channel.as_str()), |rest| rest.channel = None));
    }
    if let Some(any) = &criteria.kind {
        paths.push(path(words("type", any, |kind| kind.as_str()), |rest| rest.kind = None));
    }
    if criteria.status.is_some() && paths.is_empty() {
        paths.push(path(vec![Vec::new()], |_| {}));
    }
    let mut labels = Vec::new();
    if let Some(tags) = criteria.tag.as_ref().and_then(Choice::plain) {
        let tagged =
            |tag: &String| Range::new("ticket_tags", "created_at", vec![ColumnTest::new("tag", "=", tag.clone())]);
        let rest = TicketCriteria { tag: None, ..criteria.clone() };
        labels.push(AccessPath { ranges: tags.any.iter().map(tagged).collect(), rest });
    }
    if let Some(policies) = criteria.policy.as_ref().and_then(Choice::plain) {
        let each = choices("policy_id", policies).into_iter();
        let ranges = each.map(|holds| Range::new("ticket_clocks", "created_at", holds)).collect();
        labels.push(AccessPath { ranges, rest: TicketCriteria { policy: None, ..criteria.clone() } });
    }
    if criteria.sla == Some(SlaFilter::Breached) {
        let breached = vec![ColumnTest::new("breach_at", "<=", criteria.now)];
        let ranges = vec![Range::new("ticket_clocks", "created_at", breached)];
        labels.push(AccessPath { ranges, rest: TicketCriteria { sla: None, ..criteria.clone() } });
    }
    // All tickets end as closed, so that few are otherwise.
    let are_unclosed = criteria.status.as_ref().is_some_and(|any| !any.contains(&Status::Closed));
    let place = if are_unclosed { paths.len() } else { of_people };
    paths.splice(place..place, labels);
    paths.retain(|path| (1..=MOST_RANGES).contains(&path.ranges.len()));
    paths.into_iter().map(|path| path.within_creation(criteria)).collect()
}

/// That a column is each of these.
fn words<T: Copy>(column: &'static str, any: &[T], text: fn(T) -> &'static str) -> Vec<Vec<ColumnTest>> {
    any.iter().map(|word| vec![ColumnTest::new(column, "=", text(*word).to_owned())]).collect()
}

/// That a column is each of these ids, and null.
fn choices<Id: Copy + Into<RawValue>>(column: &'static str, choice: &Choice<Id>) -> Vec<Vec<ColumnTest>> {
    let ids = choice.any.iter().map(|id| ColumnTest::new(column, "=", *id));
    ids.chain(choice.or_nothing.then(|| ColumnTest::null(column))).map(|one| vec![one]).collect()
}
