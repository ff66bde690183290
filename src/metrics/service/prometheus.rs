//! Gathering what an answer is made of.

use crate::db::{Db, Load};
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::series::{NAMED_TEAMS, Teams, needed};
use crate::sla::service::Near;
use crate::tally::store::Totals;
use crate::{people, sla, tally};

/// What the database and its connections say at one moment.
#[derive(Debug)]
pub struct Scrape {
    /// The numbers that are kept as tickets change.
    pub totals: Totals,
    /// The clocks that tell what the numbers of clocks are at this moment.
    pub near: Near,
    /// How many tickets have not followed the last edit of policies or calendars.
    pub pending_tickets: i64,
    /// The teams that they are about.
    pub teams: Teams,
    /// How busy the connections are.
    pub load: Load,
    /// Which engine it is.
    pub engine: &'static str,
}

/// The figures as they are at `now`, in one snapshot. However many tickets there are, it reads as much.
pub async fn figures(db: &Db, now: Instant) -> Result<Scrape, Problem> {
    let load = db.load();
    let (totals, near, pending_tickets, teams) = db
        .snapshot(async move |conn| {
            let totals = tally::store::totals(conn, &needed()).await?;
            let near = sla::service::near(conn, now).await?;
            let pending_tickets = sla::service::pending_tickets(conn).await?;
            let most = i64::try_from(NAMED_TEAMS).unwrap_or(i64::MAX) + 1;
            let teams = people::store::teams::list(conn, None, most).await?;
            Ok((totals, near, pending_tickets, teams))
        })
        .await?;
    let teams = Teams::new(teams.into_iter().map(|team| (team.id, team.name)));
    Ok(Scrape { totals, near, pending_tickets, teams, load, engine: db.engine() })
}
