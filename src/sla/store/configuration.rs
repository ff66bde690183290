//! The configuration that holds now, that of edits which not all tickets have followed, and calendars of any version.
//! All are kept: the one for as long as it holds, the others because they never change. A transaction that changes any
//! of it keeps what it reads to itself (`db.write_alone`): it may never be committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::schema::{calendar_versions, calendars, configuration, configuration_edits, sla_policies};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::{Guid, Json, guid};
use crate::kernel::{CalendarId, Instant, PolicyId, Problem};
use crate::sla::domain::calendar::{Calendar, Definition};
use crate::sla::domain::policy::{CalendarSet, Policy, SlaConfiguration, VersionOf};

/// How many calendars are kept in memory.
const MOST_KEPT: usize = 256;

/// Names one state of the configuration; never the same for two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::expression::AsExpression, diesel::deserialize::FromSqlRow)]
#[diesel(sql_type = Guid)]
pub struct Generation(pub Uuid);

guid!(Generation);

impl From<Uuid> for Generation {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

/// How many edits may wait for tickets to follow them: further ones are refused until some have.
pub const MOST_EDITS: i64 = 100;

/// How many edits are read at once, and kept in memory.
pub const EDITS_AT_ONCE: usize = 10;

#[derive(Default)]
struct ConfigurationCache {
    configuration: Mutex<Option<(Generation, Arc<SlaConfiguration>)>>,
    calendars: Mutex<BTreeMap<VersionOf<CalendarId>, Arc<Calendar>>>,
}

/// What held from edits on, by the generation that each has made.
#[derive(Default)]
struct Past(Mutex<BTreeMap<Uuid, Arc<SlaConfiguration>>>);

/// An edit of policies or calendars.
#[derive(Debug, Clone)]
pub struct Edit {
    /// Its number: each is one more than the last.
    pub number: i64,
    /// From when on it holds.
    pub at: Instant,
    /// All that holds from then on, until the next.
    pub configuration: Arc<SlaConfiguration>,
}

/// A configuration as an edit is stored with it.
#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    policies: Vec<Policy>,
    calendars: Vec<VersionOf<CalendarId>>,
    default_calendar: Option<CalendarId>,
}

/// What holds now, for a write: no change of the configuration comes between.
pub async fn current(tx: &mut Conn) -> Result<Arc<SlaConfiguration>, Problem> {
    let cache = tx.kept::<ConfigurationCache>();
    let row = configuration::table.find(1).select((configuration::generation, configuration::edit));
    let (generation, edit): (Generation, i64) = on_each!(tx, |c| row.first(c).await)?;
    let kept = cache.configuration.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match kept {
        Some((of, configuration)) if of == generation => Ok(configuration),
        _ => {
            let configuration = Arc::new(load(tx, edit).await?);
            *cache.configuration.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((generation, configuration.clone()));
            Ok(configuration)
        }
    }
}

/// Names the configuration anew after a change of it at `now`, and writes down what holds from then on.
///
/// # Errors
/// `unavailable` while too many edits wait for tickets to follow them.
pub async fn renew(tx: &mut Conn, generation: Generation, now: Instant) -> Result<(), Problem> {
    if count_edits(tx).await? >= MOST_EDITS {
        let detail = format!(
            "Tickets still follow {MOST_EDITS} earlier edits of policies and calendars. Nothing was changed. Try again in a moment."
        );
        return Err(Problem::unavailable("too many edits wait").saying(detail));
    }
    let row = configuration::table.find(1);
    let last: i64 = on_each!(tx, |c| row.select(configuration::edit).first(c).await)?;
    let change = (configuration::generation.eq(generation), configuration::edit.eq(last + 1));
    on_each!(tx, |c| diesel::update(row).set(change).execute(c).await)?;
    let SlaConfiguration { edit, policies, calendars, default_calendar, .. } = current(tx).await?.as_ref().clone();
    let calendars = calendars.into_iter().map(|(id, version)| VersionOf { id, version }).collect();
    let row = (
        configuration_edits::number.eq(edit),
        configuration_edits::generation.eq(generation),
        configuration_edits::edited_at.eq(now),
        configuration_edits::contents.eq(Json(Contents { policies, calendars, default_calendar })),
    );
    on_each!(tx, |c| diesel::insert_into(configuration_edits::table).values(row).execute(c).await)?;
    Ok(())
}

/// How many edits wait for tickets to follow them.
pub async fn count_edits(conn: &mut Conn) -> Result<i64, Problem> {
    Ok(on_each!(conn, |c| configuration_edits::table.count().get_result(c).await)?)
}

/// The edits after the one of this `number`, in their order: at most [`EDITS_AT_ONCE`].
pub async fn edits_after(tx: &mut Conn, number: i64) -> Result<Vec<Edit>, Problem> {
    let query = configuration_edits::table
        .filter(configuration_edits::number.gt(number))
        .order(configuration_edits::number)
        .limit(i64::try_from(EDITS_AT_ONCE).unwrap_or(i64::MAX))
        .select((configuration_edits::number, configuration_edits::generation, configuration_edits::edited_at));
    let rows: Vec<(i64, Generation, Instant)> = on_each!(tx, |c| query.load(c).await)?;
    let cache = tx.kept_by_name::<Past>();
    let mut configurations = cache.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let unknown = rows.iter().filter(|(_, generation, _)| !configurations.contains_key(&generation.0));
    let unknown: Vec<i64> = unknown.map(|(number, ..)| *number).collect();
    if !unknown.is_empty() {
        // Never more than are read at once.
        configurations.retain(|kept, _| rows.iter().any(|(_, generation, _)| generation.0 == *kept));
        configurations.extend(past(tx, unknown).await?);
        *cache.0.lock().unwrap_or_else(PoisonError::into_inner) = configurations.clone();
    }
    let edit = |(number, generation, at): (i64, Generation, Instant)| {
        let configuration =
            configurations.get(&generation.0).cloned().ok_or_else(|| Problem::internal("an edit has no contents"))?;
        Ok(Edit { number, at, configuration })
    };
    rows.into_iter().map(edit).collect()
}

/// Forgets the edits up to the one of this `number`: all tickets have followed them.
pub async fn forget_edits(tx: &mut Conn, number: i64) -> Result<(), Problem> {
    let followed = configuration_edits::table.filter(configuration_edits::number.le(number));
    on_each!(tx, |c| diesel::delete(followed).execute(c).await)?;
    Ok(())
}

/// What held from these edits on.
async fn past(tx: &mut Conn, edits: Vec<i64>) -> Result<Vec<(Uuid, Arc<SlaConfiguration>)>, Problem> {
    let query = configuration_edits::table.filter(configuration_edits::number.eq_any(edits)).select((
        configuration_edits::number,
        configuration_edits::generation,
        configuration_edits::contents,
    ));
    let rows: Vec<(i64, Generation, Json<Contents>)> = on_each!(tx, |c| query.load(c).await)?;
    let mut configurations = Vec::with_capacity(rows.len());
    for (edit, generation, contents) in rows {
        let Contents { policies, calendars, default_calendar } = contents.0;
        let calendar_set = calendar_set(tx, calendars.iter().copied()).await?;
        let calendars = calendars.into_iter().map(|of| (of.id, of.version)).collect();
        configurations.push((
            generation.0,
            Arc::new(SlaConfiguration { edit, policies, calendars, default_calendar, calendar_set }),
        ));
    }
    Ok(configurations)
}

async fn load(tx: &mut Conn, edit: i64) -> Result<SlaConfiguration, Problem> {
    let policies: Vec<(PolicyId, i64, Json)> = on_each!(tx, |c| {
        sla_policies::table
            .filter(sla_policies::deleted_at.is_null())
            .order((sla_policies::position, sla_policies::id))
            .select((sla_policies::id, sla_policies::version, sla_policies::definition))
            .load(c)
            .await
    })?;
    let rows: Vec<(CalendarId, i64, bool, Json)> = on_each!(tx, |c| {
        calendars::table
            .filter(calendars::deleted_at.is_null())
            .select((calendars::id, calendars::version, calendars::is_default, calendars::definition))
            .load(c)
            .await
    })?;
    let mut configuration = SlaConfiguration { edit, ..SlaConfiguration::default() };
    for (id, version, definition) in policies {
        let definition = serde_json::from_value(definition.0).map_err(Problem::internal)?;
        configuration.policies.push(Policy { of: VersionOf { id, version }, definition });
    }
    for (id, version, is_default, definition) in rows {
        let (of, calendar) = (VersionOf { id, version }, read(definition)?);
        // Most calendars are the same before and after an edit.
        keep(tx, of, &calendar);
        configuration.calendars.insert(id, version);
        configuration.calendar_set.0.insert(of, calendar);
        if is_default {
            configuration.default_calendar = Some(id);
        }
    }
    Ok(configuration)
}

/// The calendars of these versions.
pub async fn calendar_set(
    conn: &mut Conn,
    wanted: impl IntoIterator<Item = VersionOf<CalendarId>>,
) -> Result<CalendarSet, Problem> {
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    if wanted.is_empty() {
        return Ok(CalendarSet::default());
    }
    let cache = conn.kept::<ConfigurationCache>();
    let mut found = BTreeMap::new();
    for of in wanted {
        let kept = cache.calendars.lock().unwrap_or_else(PoisonError::into_inner).get(&of).cloned();
        let calendar = match kept {
            Some(calendar) => calendar,
            None => {
                let row = calendar_versions::table.find((of.id, of.version)).select(calendar_versions::definition);
                let calendar = read(on_each!(conn, |c| row.first(c).await)?)?;
                keep(conn, of, &calendar);
                calendar
            }
        };
        found.insert(of, calendar);
    }
    Ok(CalendarSet(found))
}

fn keep(conn: &Conn, of: VersionOf<CalendarId>, calendar: &Arc<Calendar>) {
    let cache = conn.kept::<ConfigurationCache>();
    let mut kept = cache.calendars.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(of, calendar.clone());
}

fn read(definition: Json) -> Result<Arc<Calendar>, Problem> {
    let definition: Definition = serde_json::from_value(definition.0).map_err(Problem::internal)?;
    let calendar = Calendar::new(&definition);
    calendar.map(Arc::new).map_err(|_| Problem::internal("a stored calendar makes no sense"))
}
