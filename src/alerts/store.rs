//! Queries of alerts.

pub mod counts;
pub mod sources;

use std::collections::BTreeMap;

use self::counts::AlertTally;
use super::domain::{Alert, AlertState};
use crate::db::raw::{one_of, raw};
use crate::db::schema::{alert_sources, alerts, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send, steady};
use crate::kernel::rows::{Limit, Rows, json_b};
use crate::kernel::sql::Json;
use crate::kernel::{AlertId, AlertSourceId, Instant, Problem, TicketId};
use diesel::prelude::*;
use diesel::sql_types::Bool;

/// An alert, as it is stored.
#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = alerts, primary_key(source_id, dedupe_key), treat_none_as_null = true, treat_none_as_default_value = false)]
struct StoredAlert {
    id: AlertId,
    source_id: AlertSourceId,
    dedupe_key: String,
    ticket_number: Option<i64>,
    state: AlertState,
    starts_at: Instant,
    ends_at: Option<Instant>,
    last_seen_at: Instant,
    times: i64,
    severity: Option<String>,
    summary: String,
    labels: Json<BTreeMap<String, String>>,
    annotations: Json<BTreeMap<String, String>>,
    links: Json<Vec<String>>,
    firing_count: i64,
    truncated: bool,
    truncated_alerts: i64,
    redacted: bool,
    own_to: Option<i64>,
}

impl From<StoredAlert> for Alert {
    fn from(row: StoredAlert) -> Self {
        Self {
            id: row.id,
            source_id: row.source_id,
            dedupe_key: row.dedupe_key,
            ticket_number: row.ticket_number,
            state: row.state,
            starts_at: row.starts_at,
            ends_at: row.ends_at,
            last_seen_at: row.last_seen_at,
            times: row.times,
            severity: row.severity,
            summary: row.summary,
            labels: row.labels.0,
            annotations: row.annotations.0,
            links: row.links.0,
            firing_count: row.firing_count,
            truncated: row.truncated,
            truncated_alerts: row.truncated_alerts,
            redacted: row.redacted,
            own_to: row.own_to,
        }
    }
}

impl From<Alert> for StoredAlert {
    fn from(alert: Alert) -> Self {
        Self {
            id: alert.id,
            source_id: alert.source_id,
            dedupe_key: alert.dedupe_key,
            ticket_number: alert.ticket_number,
            state: alert.state,
            starts_at: alert.starts_at,
            ends_at: alert.ends_at,
            last_seen_at: alert.last_seen_at,
            times: alert.times,
            severity: alert.severity,
            summary: alert.summary,
            labels: Json(alert.labels),
            annotations: Json(alert.annotations),
            links: Json(alert.links),
            firing_count: alert.firing_count,
            truncated: alert.truncated,
            truncated_alerts: alert.truncated_alerts,
            redacted: alert.redacted,
            own_to: alert.own_to,
        }
    }
}

/// The alerts of `source` with these keys, by their keys.
pub async fn by_keys(
    conn: &mut Conn,
    source: AlertSourceId,
    keys: &[String],
) -> Result<BTreeMap<String, Alert>, Problem> {
    let these = alerts::table.filter(alerts::source_id.eq(source).and(one_of("alerts.dedupe_key", keys)));
    let rows: Vec<StoredAlert> = on_each!(conn, |c| these.select(StoredAlert::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(Alert::from).map(|alert| (alert.dedupe_key.clone(), alert)).collect())
}

/// Adds `alert`.
pub async fn insert(tx: &mut Conn, alert: Alert) -> Result<(), Problem> {
    send!(tx, diesel::insert_into(alerts::table).values(StoredAlert::from(alert)))
}

/// Stores all of `alert`.
pub async fn update(tx: &mut Conn, alert: Alert) -> Result<(), Problem> {
    let row = alerts::table.find((alert.source_id, alert.dedupe_key.clone()));
    send!(tx, steady(diesel::update(row).set(StoredAlert::from(alert))))
}

/// Writes down that the alerts of `source` with these keys were told once more, of which nothing else is another.
pub async fn seen_again(tx: &mut Conn, source: AlertSourceId, keys: &[String], now: Instant) -> Result<(), Problem> {
    if keys.is_empty() {
        return Ok(());
    }
    let these = alerts::table.filter(alerts::source_id.eq(source).and(one_of("alerts.dedupe_key", keys)));
    let seen = (alerts::times.eq(alerts::times + 1), alerts::last_seen_at.eq(now));
    on_each!(tx, |c| diesel::update(these).set(seen).execute(c).await)?;
    Ok(())
}

/// Whether another alert than this one of the ticket `number` fires.
pub async fn fires_another(tx: &mut Conn, number: i64, than: AlertId) -> Result<bool, Problem> {
    let others = alerts::table.filter(alerts::ticket_number.eq(number).and(alerts::id.ne(than)));
    let others = others.filter(alerts::state.eq(AlertState::Firing)).select(alerts::id).limit(1);
    let other: Option<AlertId> = on_each!(tx, |c| others.first(c).await.optional())?;
    Ok(other.is_some())
}

/// An alert as it is read, with the name of its source and the id of its ticket.
#[derive(Debug, Clone)]
pub struct AlertRow {
    /// The alert.
    pub alert: Alert,
    /// The name of its source.
    pub source: String,
    /// The id of its ticket.
    pub ticket: Option<TicketId>,
}

/// Which alerts are listed.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlertCriteria {
    /// Those that stand so.
    pub state: Option<AlertState>,
    /// Those of this source.
    pub source: Option<AlertSourceId>,
    /// Those of the ticket with this number.
    pub ticket: Option<i64>,
}

/// A page of the alerts that `criteria` ask for, those that were first told of last, first; behind `after`.
pub async fn list(
    conn: &mut Conn,
    criteria: AlertCriteria,
    after: Option<AlertId>,
    limit: Limit,
) -> Result<Rows<AlertRow>, Problem> {
    let fetch = async |after: Option<AlertId>, count: i64| {
        let rows: Vec<(StoredAlert, String, Option<TicketId>)> = on_each!(conn, |c| {
            let all = alerts::table.inner_join(alert_sources::table).left_join(tickets::table);
            let all = all.select((StoredAlert::as_select(), alert_sources::name, tickets::id.nullable()));
            // One that was removed has none any more.
            let mut query = boxed(c, all.filter(alert_sources::deleted_at.is_null()));
            if let Some(state) = criteria.state {
                query = query.filter(alerts::state.eq(state));
            }
            if let Some(source) = criteria.source {
                query = query.filter(alerts::source_id.eq(source));
            }
            if let Some(number) = criteria.ticket {
                query = query.filter(alerts::ticket_number.eq(number));
            }
            if let Some(after) = after {
                query = query.filter(alerts::id.lt(after));
            }
            query.order(alerts::id.desc()).limit(count).load(c).await
        })?;
        let row = |(stored, source, ticket): (StoredAlert, _, _)| AlertRow { alert: stored.into(), source, ticket };
        Ok(rows.into_iter().map(row).collect())
    };
    let size_b = |row: &AlertRow| {
        let words = |all: &BTreeMap<String, String>| all.iter().map(|(a, b)| json_b(a) + json_b(b)).sum::<usize>();
        words(&row.alert.labels) + words(&row.alert.annotations)
    };
    Rows::gathered(limit, after, fetch, |row| row.alert.id, size_b).await
}

/// Forgets at most `most` alerts: of sources that were removed, those that are over and led to no ticket for
/// `unknown_before`, and all that are over since `before`. Gives how many there were.
pub async fn forget(tx: &mut Conn, before: Instant, unknown_before: Instant, most: i64) -> Result<usize, Problem> {
    let key = "source_id, dedupe_key";
    let some = |which: &str| raw::<Bool>(format!("({key}) IN (SELECT {key} FROM alerts WHERE {which} LIMIT {most})"));
    let of_removed = some("source_id IN (SELECT id FROM alert_sources WHERE deleted_at IS NOT NULL)");
    let mut gone = on_each!(tx, |c| diesel::delete(alerts::table.filter(of_removed)).execute(c).await)?;
    let mut tallies: BTreeMap<AlertSourceId, AlertTally> = BTreeMap::new();
    for (which, before) in [("ticket_number IS NULL AND ", unknown_before), ("", before)] {
        let over = raw::<Bool>(format!(
            "({key}) IN (SELECT {key} FROM alerts WHERE {which}state = 'resolved' AND last_seen_at < "
        ))
        .bind(before)
        .sql(format!(" ORDER BY last_seen_at LIMIT {most})"));
        let over = diesel::delete(alerts::table.filter(over)).returning(alerts::source_id);
        let sources: Vec<AlertSourceId> = on_each!(tx, |c| over.get_results(c).await)?;
        gone += sources.len();
        for source in sources {
            *tallies.entry(source).or_default().standing.entry(AlertState::Resolved).or_default() -= 1;
        }
    }
    for (source, tally) in tallies {
        counts::add(tx, source, &tally).await?;
    }
    Ok(gone)
}
