//! Queries of calendars and their versions.

use diesel::prelude::*;
use diesel::result::Error;

use crate::db::fault::is_duplicate;
use crate::db::schema::{calendar_versions, calendars, sla_policies};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::Json;
use crate::kernel::{CalendarId, Code, Instant, Problem};
use crate::sla::domain::calendar::Definition;
use crate::sla::domain::calendars::{CalendarVersion, KeptCalendar};

#[derive(Queryable, Selectable)]
#[diesel(table_name = calendars)]
struct CalendarRow {
    id: CalendarId,
    name: String,
    is_default: bool,
    definition: Json,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl TryFrom<CalendarRow> for KeptCalendar {
    type Error = Problem;

    fn try_from(row: CalendarRow) -> Result<Self, Problem> {
        let CalendarRow { id, name, is_default, definition, created_at, updated_at, version } = row;
        Ok(Self { id, name, is_default, definition: read(definition)?, created_at, updated_at, version })
    }
}

fn read(definition: Json) -> Result<Definition, Problem> {
    serde_json::from_value(definition.0).map_err(Problem::internal)
}

fn written(definition: &Definition) -> Result<Json, Problem> {
    serde_json::to_value(definition).map(Json).map_err(Problem::internal)
}

/// The calendar `id`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: CalendarId) -> Result<KeptCalendar, Problem> {
    let query = calendars::table.find(id).filter(calendars::deleted_at.is_null());
    let row = on_each!(conn, |c| query.select(CalendarRow::as_select()).first(c).await).optional()?;
    row.ok_or_else(Problem::not_found)?.try_into()
}

/// The default, if there is one.
pub async fn find_default(conn: &mut Conn) -> Result<Option<KeptCalendar>, Problem> {
    let query = calendars::table.filter(calendars::is_default);
    let row = on_each!(conn, |c| query.select(CalendarRow::as_select()).first(c).await).optional()?;
    row.map(KeptCalendar::try_from).transpose()
}

/// At most `count` calendars that were made after `after`, the oldest first.
pub async fn list(conn: &mut Conn, after: Option<CalendarId>, count: i64) -> Result<Vec<KeptCalendar>, Problem> {
    let first = after.unwrap_or(CalendarId(uuid::Uuid::nil()));
    let query = calendars::table
        .filter(calendars::id.gt(first))
        .filter(calendars::deleted_at.is_null())
        .order(calendars::id)
        .limit(count);
    let rows: Vec<CalendarRow> = on_each!(conn, |c| query.select(CalendarRow::as_select()).load(c).await)?;
    rows.into_iter().map(KeptCalendar::try_from).collect()
}

/// Adds `calendar` and its first version.
///
/// # Errors
/// `conflict` when another calendar has the name.
pub async fn insert(tx: &mut Conn, calendar: &KeptCalendar) -> Result<(), Problem> {
    let row = (
        calendars::id.eq(calendar.id),
        calendars::name.eq(&calendar.name),
        calendars::is_default.eq(calendar.is_default),
        calendars::definition.eq(written(&calendar.definition)?),
        calendars::created_at.eq(calendar.created_at),
        calendars::updated_at.eq(calendar.updated_at),
        calendars::version.eq(calendar.version),
    );
    let done = on_each!(tx, |c| diesel::insert_into(calendars::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)?;
    keep(tx, calendar).await
}

/// Stores all that can change of `calendar`, and its new version.
///
/// # Errors
/// `conflict` when another calendar has the name.
pub async fn update(tx: &mut Conn, calendar: &KeptCalendar) -> Result<(), Problem> {
    let change = (
        calendars::name.eq(&calendar.name),
        calendars::is_default.eq(calendar.is_default),
        calendars::definition.eq(written(&calendar.definition)?),
        calendars::updated_at.eq(calendar.updated_at),
        calendars::version.eq(calendar.version),
    );
    let done = on_each!(tx, |c| diesel::update(calendars::table.find(calendar.id)).set(change).execute(c).await);
    done.map(drop).map_err(taken)?;
    keep(tx, calendar).await
}

async fn keep(tx: &mut Conn, calendar: &KeptCalendar) -> Result<(), Problem> {
    let row = (
        calendar_versions::calendar_id.eq(calendar.id),
        calendar_versions::version.eq(calendar.version),
        calendar_versions::definition.eq(written(&calendar.definition)?),
        calendar_versions::created_at.eq(calendar.updated_at),
    );
    on_each!(tx, |c| diesel::insert_into(calendar_versions::table).values(row).execute(c).await)?;
    Ok(())
}

fn taken(error: Error) -> Problem {
    if is_duplicate(&error, "calendars_name_key", "calendars.name") {
        Problem::new(Code::Conflict, "A calendar with this name exists already.")
    } else {
        error.into()
    }
}

/// Removes the calendar `id` from sight; its versions stay, for the clocks that they judged.
pub async fn mark_deleted(tx: &mut Conn, id: CalendarId, now: Instant) -> Result<(), Problem> {
    let change = (calendars::deleted_at.eq(now), calendars::updated_at.eq(now), calendars::is_default.eq(false));
    on_each!(tx, |c| diesel::update(calendars::table.find(id)).set(change).execute(c).await)?;
    Ok(())
}

/// Whether an SLA policy names the calendar `id`.
pub async fn is_used(conn: &mut Conn, id: CalendarId) -> Result<bool, Problem> {
    let users = sla_policies::table.filter(sla_policies::calendar_id.eq(id)).filter(sla_policies::deleted_at.is_null());
    let count: i64 = on_each!(conn, |c| users.count().get_result(c).await)?;
    Ok(count > 0)
}

/// At most `count` versions of the calendar `id` after the version `after`, the oldest first.
pub async fn versions(
    conn: &mut Conn,
    id: CalendarId,
    after: Option<i64>,
    count: i64,
) -> Result<Vec<CalendarVersion>, Problem> {
    let query = calendar_versions::table
        .filter(calendar_versions::calendar_id.eq(id))
        .filter(calendar_versions::version.gt(after.unwrap_or(0)))
        .order(calendar_versions::version)
        .limit(count)
        .select((calendar_versions::version, calendar_versions::created_at, calendar_versions::definition));
    let rows: Vec<(i64, Instant, Json)> = on_each!(conn, |c| query.load(c).await)?;
    let version =
        |(version, created_at, definition)| Ok(CalendarVersion { version, created_at, definition: read(definition)? });
    rows.into_iter().map(version).collect()
}
