//! The use cases of calendars.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::clocks::configuration_changed;
use crate::auth::policy::Act;
use crate::db::Conn;
use crate::http::call::IfMatch;
use crate::kernel::rows::{Limit, Rows};
use crate::kernel::{CalendarId, Code, Instant, Problem};
use crate::sla::domain::calendars::{CalendarChange, CalendarVersion, KeptCalendar, NewCalendar};
use crate::sla::store::calendars as store;

/// At most one page and one of the calendars after `after`.
pub async fn list_calendars(
    conn: &mut Conn,
    after: Option<CalendarId>,
    limit: Limit,
) -> Result<Rows<KeptCalendar>, Problem> {
    let fetch = async |after, count| store::list(conn, after, count).await;
    Rows::gathered(limit, after, fetch, |calendar| calendar.id, |calendar| calendar.definition.names_b()).await
}

/// The calendar `id`.
///
/// # Errors
/// `not_found`.
pub async fn read_calendar(conn: &mut Conn, id: CalendarId) -> Result<KeptCalendar, Problem> {
    store::find(conn, id).await
}

/// At most one page and one of the versions of the calendar `id` after the version `after`.
///
/// # Errors
/// `not_found`.
pub async fn list_calendar_versions(
    conn: &mut Conn,
    id: CalendarId,
    after: Option<i64>,
    limit: Limit,
) -> Result<Rows<CalendarVersion>, Problem> {
    store::find(conn, id).await?;
    let fetch = async |after, count| store::versions(conn, id, after, count).await;
    Rows::gathered(limit, after, fetch, |version| version.version, |version| version.definition.names_b()).await
}

/// Makes a calendar. No other write may be at work.
///
/// # Errors
/// `conflict` when another calendar has the name.
pub async fn create_calendar(tx: &mut Conn, new: NewCalendar, act: &Act) -> Result<KeptCalendar, Problem> {
    let calendar = new.into_calendar(act.id(), act.now);
    if calendar.is_default {
        step_down(tx, act.now).await?;
    }
    store::insert(tx, &calendar).await?;
    configuration_changed(tx, act.now, &act.clock).await?;
    Ok(calendar)
}

/// Changes a calendar. No other write may be at work.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` when another calendar has the name.
pub async fn change_calendar(
    tx: &mut Conn,
    id: CalendarId,
    change: CalendarChange,
    condition: &IfMatch,
    act: &Act,
) -> Result<KeptCalendar, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    let after = before.changed(change, act.now);
    replace(tx, before, after, act).await
}

/// Adds holidays to a calendar; those that it has keep their names. No other write may be at work.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `validation_failed` when there would be too many.
pub async fn import_holidays(
    tx: &mut Conn,
    id: CalendarId,
    further: BTreeMap<Date, String>,
    condition: &IfMatch,
    act: &Act,
) -> Result<KeptCalendar, Problem> {
    let before = store::find(tx, id).await?;
    condition.check(before.version)?;
    let after = before.with_holidays(further, act.now)?;
    replace(tx, before, after, act).await
}

/// Removes a calendar that no policy names; without a default, business time is all time. No other write may be at
/// work.
///
/// # Errors
/// `not_found`, `version_mismatch`, or `conflict` while a policy names it.
pub async fn delete_calendar(tx: &mut Conn, id: CalendarId, condition: &IfMatch, act: &Act) -> Result<(), Problem> {
    condition.check(store::find(tx, id).await?.version)?;
    if store::is_used(tx, id).await? {
        let detail = "An SLA policy names this calendar. Give it another one first.";
        return Err(Problem::new(Code::Conflict, detail));
    }
    store::mark_deleted(tx, id, act.now).await?;
    configuration_changed(tx, act.now, &act.clock).await
}

/// Stores `after`, if that is anything new.
async fn replace(
    tx: &mut Conn,
    before: KeptCalendar,
    after: Option<KeptCalendar>,
    act: &Act,
) -> Result<KeptCalendar, Problem> {
    let Some(after) = after else { return Ok(before) };
    if after.is_default && !before.is_default {
        step_down(tx, act.now).await?;
    }
    store::update(tx, &after).await?;
    configuration_changed(tx, act.now, &act.clock).await?;
    Ok(after)
}

/// Makes room for another default.
async fn step_down(tx: &mut Conn, now: Instant) -> Result<(), Problem> {
    let change = CalendarChange { is_default: Some(false), ..CalendarChange::default() };
    match store::find_default(tx).await?.and_then(|former| former.changed(change, now)) {
        Some(former) => store::update(tx, &former).await,
        None => Ok(()),
    }
}
