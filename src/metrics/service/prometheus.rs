//! Gathering what an answer is made of.

use crate::db::{Db, Load};
use crate::kernel::Problem;
use crate::metrics::domain::series::{NAMED_TEAMS, Teams, needed};
use crate::tally::store::Totals;
use crate::{people, tally};

/// What the database and its connections say at one moment.
#[derive(Debug)]
pub struct Figures {
    /// The numbers that are kept as tickets change.
    pub totals: Totals,
    /// The teams that they are about.
    pub teams: Teams,
    /// How busy the connections are.
    pub load: Load,
    /// Which engine it is.
    pub engine: &'static str,
}

/// The figures as they are now. However many tickets there are, it reads as much.
///
/// # Errors
/// When the database is away.
pub async fn figures(db: &Db) -> Result<Figures, Problem> {
    let load = db.load();
    let (totals, teams) = db
        .read(async |conn| {
            // The teams after the numbers: a team that is counted is there already.
            let totals = tally::store::totals(conn, &needed()).await?;
            let most = i64::try_from(NAMED_TEAMS).unwrap_or(i64::MAX) + 1;
            let teams = people::store::teams::list(conn, None, most).await?;
            Ok((totals, teams))
        })
        .await?;
    let teams = Teams::new(teams.into_iter().map(|team| (team.id, team.name)));
    Ok(Figures { totals, teams, load, engine: db.engine() })
}
