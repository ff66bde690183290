//! The use cases of time entries: one function each, run within one transaction. None of them makes the ticket another
//! version, by which requesters would learn of what is not theirs to see.

use serde_json::Value;

use super::domain::{Price, TimeEntry};
use super::policy::may_delete;
use super::store::{self, TimeEntryRow};
use super::wire::NewTimeEntry;
use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::policy::Act;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::kernel::{Code, FieldError, Money, PrincipalId, Problem, TicketId, TimeEntryId};
use crate::people::domain::Person;
use crate::tally::domain::Sums;
use crate::tally::domain::facts::{Fact, TicketGroups, What};
use crate::tickets::domain::Ticket;
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;
use crate::{people, sla, tally, tickets};

/// Adds work to a ticket, at the rate that holds now: the agent's own, else that of the ticket's team, else
/// `default_rate`.
///
/// # Errors
/// `not_found`, `ticket_closed`, or `validation_failed` for work of nobody who works here and for work to come.
pub async fn add(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    (which, condition): (TicketRef, &IfMatch),
    default_rate: Option<Money>,
    new: NewTimeEntry,
) -> Result<(TicketId, TimeEntryRow), Problem> {
    let ticket = tickets::store::find(tx, reach, which).await?;
    condition.check(ticket.version)?;
    ticket.require_not_closed()?;
    let NewTimeEntry { work_s, agent_id, worked_at, note } = new;
    let mut faults = Vec::new();
    let worked_at = worked_at.unwrap_or(act.now).by_senders_clock(act.now);
    faults.extend(worked_at.as_ref().err().map(|fault| fault.clone().at("/worked_at")));
    let whose = agent_id.or(act.who.is_staff().then_some(act.who.id));
    let agent = match worker(tx, whose).await? {
        Ok(agent) if faults.is_empty() => agent,
        other => {
            faults.extend(other.err());
            return Err(Problem::invalid(faults));
        }
    };
    let team_rate = match ticket.team_id {
        Some(team) => people::store::teams::find(tx, team).await?.hourly_rate,
        None => None,
    };
    let entry = TimeEntry {
        id: act.id(),
        ticket_number: ticket.number,
        agent_id: agent.id,
        created_by_id: act.who.id,
        work_s: work_s.get(),
        price: Price::of(work_s.get(), agent.hourly_rate, team_rate, default_rate),
        note: note.map(|text| text.into_inner()),
        worked_at: worked_at.unwrap_or(act.now),
        created_at: act.now,
        version: 1,
    };
    let state = ticket.state();
    let groups = state.groups(sla::service::policy_of(tx, &state).await?);
    store::insert(tx, &entry, &groups).await?;
    count(tx, act, happened(&entry, groups)).await?;
    let added = |(field, value)| Change::of(field, Value::Null, value);
    record(tx, act, &ticket, EventKind::TimeEntryAdded, entry.audited().into_iter().filter_map(added).collect())
        .await?;
    let ticket_id = ticket.id;
    tickets::service::touch(tx, act, ticket, Visibility::Internal).await?;
    Ok((ticket_id, TimeEntryRow { entry, agent: agent.name, created_by: act.who.name.clone() }))
}

/// Takes work off a ticket again. The audit trail keeps what it was.
///
/// # Errors
/// `not_found`, `version_mismatch`, `forbidden` for somebody else's, `ticket_closed`, or `conflict` when the ticket's
/// trail is full.
pub async fn delete(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    place: (TicketRef, TimeEntryId),
    condition: &IfMatch,
) -> Result<(), Problem> {
    let ticket = tickets::store::find(tx, reach, place.0).await?;
    let TimeEntryRow { entry, .. } = store::find(tx, &ticket, place.1).await?;
    condition.check(entry.version)?;
    may_delete(&act.who, &entry)?;
    ticket.require_not_closed()?;
    let groups = store::delete(tx, entry.id).await?;
    count(tx, act, happened(&entry, groups).taken_away()).await?;
    let removed = |(field, value)| Change::of(field, value, Value::Null);
    record(tx, act, &ticket, EventKind::TimeEntryDeleted, entry.audited().into_iter().filter_map(removed).collect())
        .await?;
    tickets::service::touch(tx, act, ticket, Visibility::Internal).await
}

/// The person `id`, if they work here; the fault otherwise.
async fn worker(tx: &mut Conn, id: Option<PrincipalId>) -> Result<Result<Person, FieldError>, Problem> {
    let fault = |code, detail| Ok(Err(FieldError::new("/agent_id", code, detail)));
    let Some(id) = id else { return fault("required", "is required of a service account") };
    match people::store::users::find(tx, id).await {
        Ok(person) if person.is_active_staff() => Ok(Ok(person)),
        Ok(_) => fault("invalid", "must be an active agent or admin"),
        Err(problem) if problem.code() == Code::NotFound => fault("not_found", "there is no such person"),
        Err(problem) => Err(problem),
    }
}

/// The work of an entry on a ticket that was in these groups.
fn happened(entry: &TimeEntry, groups: TicketGroups) -> Fact {
    let cost = entry.price.map(|price| price.cost);
    Fact::new(
        entry.worked_at,
        entry.ticket_number,
        groups,
        What::Worked { worker: entry.agent_id, work_s: entry.work_s, cost },
    )
}

async fn count(tx: &mut Conn, act: &Act, fact: Fact) -> Result<(), Problem> {
    tally::store::add(tx, act.id(), &Sums::default(), &[fact]).await
}

async fn record(
    tx: &mut Conn,
    act: &Act,
    ticket: &Ticket,
    kind: EventKind,
    changes: Vec<Change>,
) -> Result<(), Problem> {
    let event = Event {
        about: EventSubject::Ticket(ticket.id, ticket.version),
        at: act.now,
        actor: Some(act.who.id),
        kind,
        visibility: Visibility::Internal,
        comment_id: None,
        changes,
    };
    crate::audit::store::add(tx, event, &act.clock).await
}
