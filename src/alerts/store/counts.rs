//! How many alerts of each source stand how, and how often what came of what it sent: kept with each change, so that
//! whoever reads them counts nothing.

use std::collections::BTreeMap;

use diesel::prelude::*;

use crate::alerts::domain::{AlertOutcome, AlertState};
use crate::db::schema::{alert_counts, alert_sources};
use crate::db::{Conn, RunQueryDsl, on_each, send, steady};
use crate::kernel::{AlertSourceId, Problem};

/// What some signals have changed of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertTally {
    /// How many more stand so.
    pub standing: BTreeMap<AlertState, i64>,
    /// How often this came of a signal.
    pub received: BTreeMap<AlertOutcome, i64>,
}

impl AlertTally {
    /// Counts one that stood so, if it was there, and stands so.
    pub fn stands(&mut self, was: Option<AlertState>, is: AlertState) {
        if let Some(was) = was {
            *self.standing.entry(was).or_default() -= 1;
        }
        *self.standing.entry(is).or_default() += 1;
    }

    /// Counts what came of a signal.
    pub fn received(&mut self, outcome: AlertOutcome) {
        *self.received.entry(outcome).or_default() += 1;
    }
}

/// Begins to count for a new source.
pub async fn insert(tx: &mut Conn, source: AlertSourceId) -> Result<(), Problem> {
    use alert_counts as n;
    let nothing = (
        (n::source_id.eq(source), n::firing.eq(0_i64), n::resolved.eq(0_i64), n::received_created.eq(0_i64)),
        (n::received_updated.eq(0_i64), n::received_reopened.eq(0_i64), n::received_resolved.eq(0_i64)),
        (n::received_unchanged.eq(0_i64), n::received_ignored.eq(0_i64)),
    );
    on_each!(tx, |c| diesel::insert_into(n::table).values(nothing).execute(c).await)?;
    Ok(())
}

/// Adds `more` to what is counted of `source`.
pub async fn add(tx: &mut Conn, source: AlertSourceId, more: &AlertTally) -> Result<(), Problem> {
    use alert_counts as n;
    let stand = |state| more.standing.get(&state).copied().unwrap_or(0);
    let came = |outcome| more.received.get(&outcome).copied().unwrap_or(0);
    let grown = (
        n::firing.eq(n::firing + stand(AlertState::Firing)),
        n::resolved.eq(n::resolved + stand(AlertState::Resolved)),
        n::received_created.eq(n::received_created + came(AlertOutcome::Created)),
        n::received_updated.eq(n::received_updated + came(AlertOutcome::Updated)),
        n::received_reopened.eq(n::received_reopened + came(AlertOutcome::Reopened)),
        n::received_resolved.eq(n::received_resolved + came(AlertOutcome::Resolved)),
        n::received_unchanged.eq(n::received_unchanged + came(AlertOutcome::Unchanged)),
        n::received_ignored.eq(n::received_ignored + came(AlertOutcome::Ignored)),
    );
    send!(tx, steady(diesel::update(n::table.find(source)).set(grown)))
}

/// What is counted of a source.
#[derive(Debug, Clone)]
pub struct AlertCounts {
    /// The name of the source.
    pub source: String,
    /// How many alerts stand so.
    pub standing: Vec<(AlertState, i64)>,
    /// How often this came of a signal.
    pub received: Vec<(AlertOutcome, i64)>,
}

type CountRow = (String, (i64, i64), (i64, i64, i64, i64, i64, i64));

/// What is counted of each source, in the order of their names.
pub async fn all(conn: &mut Conn) -> Result<Vec<AlertCounts>, Problem> {
    use alert_counts as n;
    let there = n::table.inner_join(alert_sources::table).filter(alert_sources::deleted_at.is_null());
    let there = there.order(alert_sources::name).select((
        alert_sources::name,
        (n::firing, n::resolved),
        (
            n::received_created,
            n::received_updated,
            n::received_reopened,
            n::received_resolved,
            n::received_unchanged,
            n::received_ignored,
        ),
    ));
    let rows: Vec<CountRow> = on_each!(conn, |c| there.load(c).await)?;
    let of =
        |(source, (firing, resolved), (created, updated, reopened, ended, unchanged, ignored)): CountRow| AlertCounts {
            source,
            standing: vec![(AlertState::Firing, firing), (AlertState::Resolved, resolved)],
            received: vec![
                (AlertOutcome::Created, created),
                (AlertOutcome::Updated, updated),
                (AlertOutcome::Reopened, reopened),
                (AlertOutcome::Resolved, ended),
                (AlertOutcome::Unchanged, unchanged),
                (AlertOutcome::Ignored, ignored),
            ],
        };
    Ok(rows.into_iter().map(of).collect())
}
