//! What happens to a ticket, whoever acts: first all that it comes to is made out, then all that tells of it is stored.

use super::words;
use crate::audit::domain::EventKind;
use crate::db::Conn;
use crate::kernel::{Clock, Instant, PrincipalId, Problem};
use crate::sla::domain::change::TooManySteps;
use crate::tickets::domain::Ticket;
use crate::tickets::domain::change::TicketChange;
use crate::tickets::store;
use crate::{audit, sla, tally};

/// What it comes to that `before` is `after` from `now` on. Its version grows, also if none of its fields is another:
/// everybody sees that something was said.
///
/// # Errors
/// When the database is away. A step for which there is no room is [`TooManySteps`].
pub async fn changed(
    tx: &mut Conn,
    before: Ticket,
    after: Ticket,
    by: Option<PrincipalId>,
    now: Instant,
) -> Result<Result<TicketChange, TooManySteps>, Problem> {
    let after = after.touched(now);
    let at = after.updated_at;
    let followed = match sla::service::follow(tx, &before.state(), &after.state(), after.agent_comments, at).await? {
        Ok(followed) => followed,
        Err(too_many) => return Ok(Err(too_many)),
    };
    let (clocks, facts) = followed.map_or_else(Default::default, |(clocks, facts)| (Some(clocks), facts));
    let kind = EventKind::TicketUpdated;
    Ok(Ok(TicketChange { kind, before: Some(before), after, clocks, facts, by, at }))
}

/// Stores `change`: the ticket, its clocks, what that counts, its entry in the trail and what it is found by, all in
/// the transaction of the act. A new ticket is stored already, since its row gives its number.
///
/// # Errors
/// `conflict` for an edit for which the trail has no room.
pub async fn save(tx: &mut Conn, change: &TicketChange, clock: &Clock) -> Result<(), Problem> {
    let ticket = &change.after;
    if let Some(before) = &change.before {
        store::update(tx, before, ticket).await?;
    }
    if let Some(clocks) = &change.clocks {
        sla::store::clocks::save(tx, ticket.number, clocks, change.at).await?;
    }
    tally::store::add(tx, clock.id(change.at), &change.counts(), &change.facts).await?;
    if let Some(event) = change.event() {
        audit::store::add(tx, event, clock).await?;
    }
    if change.is_reworded() {
        words::index(tx, ticket).await?;
    }
    Ok(())
}
