//! The configuration that holds now, and calendars of any version. Both are kept: the one for as long as it holds, the
//! others because a version never changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use diesel::prelude::*;
use uuid::Uuid;

use crate::db::schema::{calendar_versions, calendars, configuration, sla_policies};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::{Guid, Json, guid};
use crate::kernel::{CalendarId, PolicyId, Problem};
use crate::sla::domain::calendar::{Calendar, Definition};
use crate::sla::domain::policy::{Almanac, Book, Policy, VersionOf};

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

#[derive(Default)]
struct Shelf {
    book: Mutex<Option<(Generation, Arc<Book>)>>,
    calendars: Mutex<BTreeMap<VersionOf<CalendarId>, Arc<Calendar>>>,
}

/// What holds now, for a write: no change of the configuration comes between.
///
/// # Errors
/// When the database is away.
pub async fn current(tx: &mut Conn) -> Result<Arc<Book>, Problem> {
    let shelf = tx.kept::<Shelf>();
    let generation: Generation =
        on_each!(tx, |c| configuration::table.find(1).select(configuration::generation).first(c).await)?;
    let kept = shelf.book.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match kept {
        Some((of, book)) if of == generation => Ok(book),
        _ => {
            let book = Arc::new(load(tx).await?);
            *shelf.book.lock().unwrap_or_else(PoisonError::into_inner) = Some((generation, book.clone()));
            Ok(book)
        }
    }
}

/// Names the configuration anew, after a change of it.
///
/// # Errors
/// When the database is away.
pub async fn renew(tx: &mut Conn, generation: Generation) -> Result<(), Problem> {
    let change = configuration::generation.eq(generation);
    on_each!(tx, |c| diesel::update(configuration::table.find(1)).set(change).execute(c).await)?;
    Ok(())
}

async fn load(tx: &mut Conn) -> Result<Book, Problem> {
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
    let mut book = Book::default();
    for (id, version, definition) in policies {
        let definition = serde_json::from_value(definition.0).map_err(Problem::internal)?;
        book.policies.push(Policy { of: VersionOf { id, version }, definition });
    }
    for (id, version, is_default, definition) in rows {
        book.calendars.insert(id, version);
        book.almanac.0.insert(VersionOf { id, version }, read(definition)?);
        if is_default {
            book.default_calendar = Some(id);
        }
    }
    Ok(book)
}

/// The calendars of these versions.
///
/// # Errors
/// When the database is away.
pub async fn almanac(
    conn: &mut Conn,
    wanted: impl IntoIterator<Item = VersionOf<CalendarId>>,
) -> Result<Almanac, Problem> {
    let wanted: BTreeSet<_> = wanted.into_iter().collect();
    if wanted.is_empty() {
        return Ok(Almanac::default());
    }
    let shelf = conn.kept::<Shelf>();
    let mut found = BTreeMap::new();
    for of in wanted {
        let kept = shelf.calendars.lock().unwrap_or_else(PoisonError::into_inner).get(&of).cloned();
        let calendar = match kept {
            Some(calendar) => calendar,
            None => {
                let row = calendar_versions::table.find((of.id, of.version)).select(calendar_versions::definition);
                let calendar = read(on_each!(conn, |c| row.first(c).await)?)?;
                let mut kept = shelf.calendars.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() >= MOST_KEPT {
                    kept.clear();
                }
                kept.insert(of, calendar.clone());
                calendar
            }
        };
        found.insert(of, calendar);
    }
    Ok(Almanac(found))
}

fn read(definition: Json) -> Result<Arc<Calendar>, Problem> {
    let definition: Definition = serde_json::from_value(definition.0).map_err(Problem::internal)?;
    let calendar = Calendar::new(&definition);
    calendar.map(Arc::new).map_err(|_| Problem::internal("a stored calendar makes no sense"))
}
