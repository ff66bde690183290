//! Gathering what an answer is made of.

use crate::alerts::store::counts::{self, AlertCounts};
use crate::audit::store::log;
use crate::db::{Db, Load};
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::series::{NAMED_TEAMS, Teams, needed};
use crate::metrics::store::webhooks::{self, WebhookFigures};
use crate::sla::service::Near;
use crate::tally::store::Totals;
use crate::{people, sla, tally};

/// So many changes that wait for a position are counted at most.
const UNSEQUENCED: i64 = 10_000;

/// So many deliveries of webhooks that wait, or were given up, are counted at most.
const DELIVERIES: i64 = 10_000;

/// What the database and its connections say at one moment.
#[derive(Debug)]
pub struct Scrape {
    /// The numbers that are kept as tickets change.
    pub totals: Totals,
    /// The clocks that tell what the numbers of clocks are at this moment.
    pub near: Near,
    /// How many tickets have not followed the last edit of policies or calendars.
    pub pending_tickets: i64,
    /// The last position of the change log.
    pub changes_head: i64,
    /// How many changes have no position yet, at most [`UNSEQUENCED`].
    pub unsequenced: i64,
    /// How many follow changes on this instance right now.
    pub streams: usize,
    /// How many alerts stand how, and what came of what sources sent.
    pub alerts: Vec<AlertCounts>,
    /// How webhooks are.
    pub webhooks: WebhookFigures,
    /// The teams that they are about.
    pub teams: Teams,
    /// How busy the connections are.
    pub load: Load,
    /// Which engine it is.
    pub engine: &'static str,
}

/// The figures as they are at `now`, in one snapshot; `streams` are open. However many tickets there are, it reads as
/// much.
pub async fn figures(db: &Db, streams: usize, now: Instant) -> Result<Scrape, Problem> {
    let load = db.load();
    let (totals, near, pending_tickets, (changes_head, unsequenced), (alerts, webhooks), teams) = db
        .snapshot(async move |conn| {
            let totals = tally::store::totals(conn, &needed()).await?;
            let near = sla::service::near(conn, now).await?;
            let pending_tickets = sla::service::pending_tickets(conn).await?;
            let log = (log::head(conn).await?, log::unsequenced(conn, UNSEQUENCED).await?);
            let told = (counts::all(conn).await?, webhooks::figures(conn, log.0, DELIVERIES).await?);
            let most = i64::try_from(NAMED_TEAMS).unwrap_or(i64::MAX) + 1;
            let teams = people::store::teams::list(conn, None, most).await?;
            Ok((totals, near, pending_tickets, log, told, teams))
        })
        .await?;
    let teams = Teams::new(teams.into_iter().map(|team| (team.id, team.name)));
    let engine = db.engine();
    Ok(Scrape {
        totals,
        near,
        pending_tickets,
        changes_head,
        unsequenced,
        streams,
        alerts,
        webhooks,
        teams,
        load,
        engine,
    })
}
