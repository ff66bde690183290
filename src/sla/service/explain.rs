//! The use case of explaining a ticket's clocks.

use std::collections::BTreeSet;

use crate::db::Conn;
use crate::kernel::{Instant, Problem, Status};
use crate::sla::domain::clock::Times;
use crate::sla::domain::explain::explain as tell;
use crate::sla::store::{configuration, policies as store};
use crate::sla::wire::clocks::ClockBody;
use crate::sla::wire::explain::{ExplainedClockBody, SlaTicket, TicketPolicy, TicketSlaBody};

/// Explains the times of `ticket` at `now`.
pub async fn explain(
    conn: &mut Conn,
    ticket: SlaTicket,
    times: &Times,
    now: Instant,
) -> Result<TicketSlaBody, Problem> {
    let calendar_set = configuration::calendar_set(conn, times.calendars()).await?;
    let by: BTreeSet<_> = times.clocks.iter().map(|clock| clock.pledge.policy).collect();
    let policies = store::names(conn, &by).await?;
    let calendars = store::calendar_names(conn, &times.calendars().collect()).await?;
    let policy = match times.policy_id {
        Some(id) => {
            let (name, version) = store::name_now(conn, id).await?;
            Some(TicketPolicy { id, name: Some(name), version })
        }
        None => None,
    };
    let clocks = times.clocks.iter().map(|clock| {
        let clock = clock.clone().at(now);
        let of = clock.pledge.calendar;
        let calendar = of.and_then(|of| Some((of.version, calendars.get(&of)?)));
        let named = calendar.map(|(version, (name, _))| (version, name.as_str()));
        let told = tell(&clock, &calendar_set.measure(&clock.pledge), named, &times.timeline, now);
        ExplainedClockBody {
            clock: ClockBody::of(&clock, &times.timeline, &calendar_set, now),
            policy_name: policies.get(&clock.pledge.policy).cloned(),
            calendar_name: calendar.map(|(_, (name, _))| name.clone()),
            time_zone: calendar.map(|(_, (_, zone))| zone.clone()),
            why: told.why,
            segments: told.segments.into_iter().map(Into::into).collect(),
        }
    });
    let clocks = clocks.collect();
    let closed = times.timeline.spans.last().is_some_and(|(status, _)| *status == Status::Closed);
    let why = match (&policy, closed) {
        (Some(_), false) => "By position, it is the first policy whose condition holds for the ticket as it is now.",
        (None, false) => "No policy's condition holds for the ticket as it is now.",
        (Some(_), true) => "The ticket is closed. It keeps the policy that it had.",
        (None, true) => "The ticket is closed. It had no policy.",
    };
    Ok(TicketSlaBody { ticket, now, policy, why: why.into(), clocks })
}
