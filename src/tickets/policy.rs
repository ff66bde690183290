//! Which tickets a caller may reach, and which fields they may write.

pub mod reach;
pub mod views;

use crate::auth::domain::Principal;
use crate::kernel::requesters::RequesterField;
use crate::kernel::{Code, FieldError, Problem};

use super::domain::Status;
use super::wire::{NewTicket, TicketPatch};
pub use reach::{Reach, ReachesTickets};

/// Requesters report for themselves, and leave the sorting to those behind the counter, but for what the service lets
/// them set.
///
/// # Errors
/// `forbidden`, naming the fields.
pub fn may_open(who: &Principal, new: &NewTicket) -> Result<(), Problem> {
    if !who.is_requester() {
        return Ok(());
    }
    let somebody_else = new.requester.is_some() || new.requester_id.is_some_and(|person| person.id(who.id) != who.id);
    let is_closed = |field| !who.rules.may_set.contains(&field);
    refuse(&[
        ("requester", somebody_else),
        ("priority", new.priority.is_some() && is_closed(RequesterField::Priority)),
        ("type", new.kind.is_some() && is_closed(RequesterField::Type)),
        ("channel", new.channel.is_some() && is_closed(RequesterField::Channel)),
        ("team_id", new.team_id.is_some() && is_closed(RequesterField::Team)),
        ("tags", new.tags.is_some() && is_closed(RequesterField::Tags)),
        ("assignee_id", new.assignee_id.is_some()),
        ("reported_at", new.reported_at.is_some()),
    ])
}

/// Requesters may mend what they wrote, say that it is solved, close it, and reopen it; which steps those are, the
/// ticket knows.
///
/// # Errors
/// `forbidden`, naming the fields.
pub fn may_change(who: &Principal, patch: &TicketPatch) -> Result<(), Problem> {
    if !who.is_requester() {
        return Ok(());
    }
    let TicketPatch {
        subject: _,
        description: _,
        custom_fields: _,
        status,
        priority,
        kind,
        channel,
        team_id,
        assignee_id,
        requester_id,
        tags,
        external_id,
    } = patch;
    let is_closed = |field| !who.rules.may_set.contains(&field);
    refuse(&[
        ("status", !matches!(status.0, None | Some(Status::Open | Status::Resolved | Status::Closed))),
        ("priority", priority.0.is_some() && is_closed(RequesterField::Priority)),
        ("type", kind.0.is_some() && is_closed(RequesterField::Type)),
        ("channel", channel.0.is_some() && is_closed(RequesterField::Channel)),
        ("team_id", team_id.is_present() && is_closed(RequesterField::Team)),
        ("assignee_id", assignee_id.is_present()),
        ("requester_id", requester_id.is_present()),
        ("tags", tags.is_present() && is_closed(RequesterField::Tags)),
        ("external_id", external_id.is_present()),
    ])
}

fn refuse(fields: &[(&str, bool)]) -> Result<(), Problem> {
    let refused: Vec<_> = fields.iter().filter(|(_, used)| *used).map(|(name, _)| *name).collect();
    if refused.is_empty() {
        return Ok(());
    }
    let faults = refused.iter().map(|field| FieldError::new(format!("/{field}"), "forbidden", "is not for requesters"));
    let problem = Problem::new(Code::Forbidden, format!("A requester may not set: {}.", refused.join(", ")));
    Err(problem.with_errors(faults.collect::<Vec<_>>()))
}
