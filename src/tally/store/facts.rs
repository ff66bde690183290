//! Queries of what happened to tickets.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::raw;
use crate::db::schema::facts;
use crate::db::{Conn, RunQueryDsl, on_each, send};
use crate::kernel::sql::Json;
use crate::kernel::{
    Channel, Currency, Instant, Money, PolicyId, PrincipalId, Priority, Problem, Target, TeamId, TicketType,
};
use crate::tally::domain::facts::{Fact, FactKind, TicketGroups, Took, What};

/// A fact, as it is stored.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = facts, treat_none_as_default_value = false)]
pub struct FactRow {
    at: Instant,
    ticket_number: i64,
    kind: FactKind,
    n: i32,
    priority: Priority,
    ticket_type: TicketType,
    channel: Channel,
    team_id: Option<TeamId>,
    policy_id: Option<PolicyId>,
    assignee_id: Option<PrincipalId>,
    tags: Json<Vec<String>>,
    target: Option<Target>,
    calendar_s: Option<i64>,
    business_s: Option<i64>,
    resolution_s: Option<i64>,
    resolution_business_s: Option<i64>,
    is_first_contact: bool,
    is_by_alert: bool,
    worker_id: Option<PrincipalId>,
    work_s: Option<i64>,
    cost_minor: Option<i64>,
    cost_currency: Option<Currency>,
}

impl FactRow {
    fn of(fact: &Fact) -> Self {
        let TicketGroups { priority, kind: ticket_type, channel, team, policy, assignee, tags } = fact.groups.clone();
        let (kind, target, took, resolution, work) = match fact.what {
            What::Created => (FactKind::Created, None, None, None, None),
            What::Entered => (FactKind::Entered, None, None, None, None),
            What::Left => (FactKind::Left, None, None, None, None),
            What::Started(response) => (FactKind::Started, None, response, None, None),
            What::Replied(first_reply) => (FactKind::Replied, None, first_reply, None, None),
            What::Resolved { service, resolution, .. } | What::ResolvedByAlert { service, resolution } => {
                (FactKind::Resolved, None, service, resolution, None)
            }
            What::Reopened => (FactKind::Reopened, None, None, None, None),
            What::Met(target) => (FactKind::Met, Some(target), None, None, None),
            What::Breached(target) => (FactKind::Breached, Some(target), None, None, None),
            What::Worked { worker, work_s, cost } => (FactKind::Worked, None, None, None, Some((worker, work_s, cost))),
        };
        let cost = work.and_then(|(_, _, cost)| cost);
        Self {
            at: fact.at(),
            ticket_number: fact.ticket,
            kind,
            n: fact.n.into(),
            priority,
            ticket_type,
            channel,
            team_id: team,
            policy_id: policy,
            assignee_id: assignee,
            tags: Json(tags),
            target,
            calendar_s: took.map(|took| took.calendar_s),
            business_s: took.map(|took| took.business_s),
            resolution_s: resolution.map(|took| took.calendar_s),
            resolution_business_s: resolution.map(|took| took.business_s),
            is_first_contact: matches!(fact.what, What::Resolved { is_first_contact: true, .. }),
            is_by_alert: matches!(fact.what, What::ResolvedByAlert { .. }),
            worker_id: work.map(|(worker, ..)| worker),
            work_s: work.map(|(_, work_s, _)| work_s),
            cost_minor: cost.map(|cost| cost.amount_minor),
            cost_currency: cost.map(|cost| cost.currency),
        }
    }

    /// What it tells.
    ///
    /// # Errors
    /// When it lacks what its kind must have.
    pub fn fact(self) -> Result<Fact, Problem> {
        let lacks = || {
            Problem::internal(format!("a fact of kind {} about ticket {} is not whole", self.kind, self.ticket_number))
        };
        let took = Took::of(self.calendar_s, self.business_s);
        let what = match self.kind {
            FactKind::Created => What::Created,
            FactKind::Entered => What::Entered,
            FactKind::Left => What::Left,
            FactKind::Started => What::Started(took),
            FactKind::Replied => What::Replied(took),
            FactKind::Resolved => {
                let (service, resolution) = (took, Took::of(self.resolution_s, self.resolution_business_s));
                match self.is_by_alert {
                    true => What::ResolvedByAlert { service, resolution },
                    false => What::Resolved { is_first_contact: self.is_first_contact, service, resolution },
                }
            }
            FactKind::Reopened => What::Reopened,
            FactKind::Met => What::Met(self.target.ok_or_else(lacks)?),
            FactKind::Breached => What::Breached(self.target.ok_or_else(lacks)?),
            FactKind::Worked => What::Worked {
                worker: self.worker_id.ok_or_else(lacks)?,
                work_s: self.work_s.ok_or_else(lacks)?,
                cost: Money::from_stored(self.cost_minor, self.cost_currency),
            },
        };
        let groups = TicketGroups {
            priority: self.priority,
            kind: self.ticket_type,
            channel: self.channel,
            team: self.team_id,
            policy: self.policy_id,
            assignee: self.assignee_id,
            tags: self.tags.0,
        };
        let fact = Fact::new(self.at, self.ticket_number, groups, what);
        Ok(if self.n < 0 { fact.taken_away() } else { fact })
    }
}

/// Stores facts, of which the first gets the number behind `last`.
pub async fn insert(tx: &mut Conn, last: i64, new: &[Fact]) -> Result<(), Problem> {
    for (id, fact) in (last + 1..).zip(new) {
        send!(tx, diesel::insert_into(facts::table).values((facts::id.eq(id), FactRow::of(fact))))?;
    }
    Ok(())
}

/// At most `count` facts behind the one of number `after`, each with its number.
pub async fn after(conn: &mut Conn, after: i64, count: i64) -> Result<Vec<(i64, Fact)>, Problem> {
    let rows: Vec<(i64, FactRow)> = on_each!(conn, |c| {
        facts::table
            .filter(facts::id.gt(after))
            .order(facts::id)
            .limit(count)
            .select((facts::id, FactRow::as_select()))
            .load(c)
            .await
    })?;
    rows.into_iter().map(|(id, row)| Ok((id, row.fact()?))).collect()
}

/// How many facts are read at once.
const AT_ONCE: i64 = 2_000;

/// Tells `each` the facts from `from` on and before `to`, each with its number.
pub async fn between(
    conn: &mut Conn,
    from: Instant,
    to: Instant,
    mut each: impl FnMut(i64, Fact) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let mut behind = (from, 0);
    loop {
        let rows: Vec<(i64, FactRow)> = on_each!(conn, |c| {
            let next = raw::<Bool>("(at, id) > (").bind(behind.0).sql(", ").bind(behind.1).sql(")");
            facts::table
                .filter(next.and(facts::at.lt(to)))
                .order((facts::at, facts::id))
                .limit(AT_ONCE)
                .select((facts::id, FactRow::as_select()))
                .load(c)
                .await
        })?;
        let read = i64::try_from(rows.len()).unwrap_or(0);
        for (id, row) in rows {
            behind = (row.at, id);
            each(id, row.fact()?)?;
        }
        if read < AT_ONCE {
            return Ok(());
        }
    }
}

/// Facts, as a change hands them over.
///
/// # Errors
/// When they cannot be written, which would be our fault.
pub(super) fn pack(facts: &[Fact]) -> Result<Vec<u8>, Problem> {
    postcard::to_allocvec(facts).map_err(Problem::internal)
}

/// As [`pack`] wrote them.
///
/// # Errors
/// When it did not.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<Fact>, Problem> {
    postcard::from_bytes(bytes).map_err(Problem::internal)
}
