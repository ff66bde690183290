//! Rows of times that are missing, or tell something else than what they follow from.

use crate::audit::store::statuses;
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::sla::domain::clock::Times;
use crate::sla::store::clocks::{self, TicketClocks};
use crate::sla::store::configuration;

/// The times that should be stored of a ticket at `now`, if its row is missing or tells others. What is missing is told
/// anew from the trail, by the policies that hold now.
pub async fn correction(conn: &mut Conn, ticket: &TicketClocks, now: Instant) -> Result<Option<Times>, Problem> {
    let configuration = configuration::current(conn).await?;
    let times = match ticket.times() {
        Some(times) => {
            let calendar_set = configuration::calendar_set(conn, times.calendars()).await?;
            times.corrected(&ticket.state, &configuration, &calendar_set, ticket.followed >= configuration.edit, now)
        }
        None => {
            let mut steps = statuses(conn, ticket.id).await?;
            // The opening, which is no step.
            steps.retain(|(status, _)| *status != crate::kernel::Status::New);
            Times::retold(&ticket.state, ticket.created_at, &steps, &configuration)
        }
    };
    Ok((!ticket.tells(&times)).then_some(times))
}

/// Stores `right` as the times of a ticket, which has followed all edits then if its clocks are others than before.
pub async fn correct(tx: &mut Conn, ticket: &TicketClocks, right: &Times, now: Instant) -> Result<(), Problem> {
    let number = ticket.state.number;
    clocks::replace(tx, number, right, ticket.created_at).await?;
    if ticket.times().as_ref() == Some(right) {
        return Ok(());
    }
    let edit = match ticket.times() {
        Some(_) => ticket.followed,
        None => configuration::current(tx).await?.edit,
    };
    clocks::have_followed(tx, vec![number], Vec::new(), edit, now).await
}
