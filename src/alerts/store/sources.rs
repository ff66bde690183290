//! Queries of sources of alerts.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::result::Error;
use uuid::Uuid;

use super::counts;
use crate::alerts::domain::{AlertGrouping, AlertSource, AlertSourceRef, OnResolve};
use crate::alerts::policy::AlertSender;
use crate::db::fault::is_duplicate;
use crate::db::schema::{alert_sources, principals, teams};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::rows::Limit;
use crate::kernel::sql::Json;
use crate::kernel::{AlertSourceId, Code, Instant, PrincipalId, Priority, Problem, TeamId, TicketType};

diesel::alias! {
    const SENDERS: Alias<Senders> = principals as senders;
    const REQUESTERS: Alias<SourceRequesters> = principals as source_requesters;
}

#[derive(Debug, Clone, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = alert_sources, treat_none_as_null = true, treat_none_as_default_value = false)]
struct StoredSource {
    id: AlertSourceId,
    name: String,
    principal_id: Option<PrincipalId>,
    team_id: Option<TeamId>,
    team_label: String,
    ticket_type: TicketType,
    priorities: Json<BTreeMap<String, Priority>>,
    priority_default: Priority,
    group_by: AlertGrouping,
    subject_template: Option<String>,
    requester_id: Option<PrincipalId>,
    on_resolve: OnResolve,
    reopen_within_s: i64,
    backdate_max_s: i64,
    enabled: bool,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<StoredSource> for AlertSource {
    fn from(row: StoredSource) -> Self {
        Self {
            id: row.id,
            name: row.name,
            principal_id: row.principal_id,
            team_id: row.team_id,
            team_label: row.team_label,
            ticket_type: row.ticket_type,
            priorities: row.priorities.0,
            priority_default: row.priority_default,
            group_by: row.group_by,
            subject_template: row.subject_template,
            requester_id: row.requester_id,
            on_resolve: row.on_resolve,
            reopen_within_s: row.reopen_within_s,
            backdate_max_s: row.backdate_max_s,
            enabled: row.enabled,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

impl From<AlertSource> for StoredSource {
    fn from(source: AlertSource) -> Self {
        Self {
            id: source.id,
            name: source.name,
            principal_id: source.principal_id,
            team_id: source.team_id,
            team_label: source.team_label,
            ticket_type: source.ticket_type,
            priorities: Json(source.priorities),
            priority_default: source.priority_default,
            group_by: source.group_by,
            subject_template: source.subject_template,
            requester_id: source.requester_id,
            on_resolve: source.on_resolve,
            reopen_within_s: source.reopen_within_s,
            backdate_max_s: source.backdate_max_s,
            enabled: source.enabled,
            created_at: source.created_at,
            updated_at: source.updated_at,
            version: source.version,
        }
    }
}

/// A source as it is read, with the names that its ids stand for.
#[derive(Debug, Clone)]
pub struct AlertSourceRow {
    /// The source.
    pub source: AlertSource,
    /// The name of whoever alone may send.
    pub principal: Option<String>,
    /// The name of the team.
    pub team: Option<String>,
    /// The name of whoever has the problems.
    pub requester: Option<String>,
}

type SourceAndNames = (StoredSource, Option<String>, Option<String>, Option<String>);

impl From<SourceAndNames> for AlertSourceRow {
    fn from((stored, principal, team, requester): SourceAndNames) -> Self {
        Self { source: stored.into(), principal, team, requester }
    }
}

/// The sources that are there, with the names that their ids stand for.
macro_rules! with_names {
    () => {
        alert_sources::table
            .left_join(teams::table.on(alert_sources::team_id.eq(teams::id.nullable())))
            .left_join(SENDERS.on(alert_sources::principal_id.eq(SENDERS.field(principals::id).nullable())))
            .left_join(REQUESTERS.on(alert_sources::requester_id.eq(REQUESTERS.field(principals::id).nullable())))
            .filter(alert_sources::deleted_at.is_null())
            .select((
                StoredSource::as_select(),
                SENDERS.field(principals::name).nullable(),
                teams::name.nullable(),
                REQUESTERS.field(principals::name).nullable(),
            ))
    };
}

/// The source `id`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: AlertSourceId) -> Result<AlertSourceRow, Problem> {
    let row: Option<SourceAndNames> =
        on_each!(conn, |c| with_names!().filter(alert_sources::id.eq(id)).first(c).await.optional())?;
    row.map(AlertSourceRow::from).ok_or_else(Problem::not_found)
}

/// The source `which`, to be sent to.
///
/// # Errors
/// `not_found`, also for one that is not the sender's.
pub async fn sent_to(
    conn: &mut Conn,
    sender: &AlertSender<'_>,
    which: &AlertSourceRef,
) -> Result<AlertSource, Problem> {
    sender.own(by_ref(conn, which).await?.ok_or_else(Problem::not_found)?)
}

/// The source `which`, if there is one.
pub async fn by_ref(conn: &mut Conn, which: &AlertSourceRef) -> Result<Option<AlertSource>, Problem> {
    let row: Option<StoredSource> = on_each!(conn, |c| {
        let there = alert_sources::table.filter(alert_sources::deleted_at.is_null());
        let query = boxed(c, there.select(StoredSource::as_select()));
        match which {
            AlertSourceRef::Id(id) => query.filter(alert_sources::id.eq(*id)),
            AlertSourceRef::Name(name) => query.filter(alert_sources::name.eq(name.clone())),
        }
        .first(c)
        .await
        .optional()
    })?;
    Ok(row.map(AlertSource::from))
}

/// A page of the sources, the oldest first, behind `after`.
pub async fn list(conn: &mut Conn, after: Option<AlertSourceId>, limit: Limit) -> Result<Vec<AlertSourceRow>, Problem> {
    let first = after.unwrap_or(AlertSourceId(Uuid::nil()));
    let rows: Vec<SourceAndNames> = on_each!(conn, |c| {
        let page = with_names!().filter(alert_sources::id.gt(first)).order(alert_sources::id);
        page.limit(limit.and_one()).load(c).await
    })?;
    Ok(rows.into_iter().map(AlertSourceRow::from).collect())
}

/// How many sources there are.
pub async fn count(tx: &mut Conn) -> Result<i64, Problem> {
    let there = alert_sources::table.filter(alert_sources::deleted_at.is_null());
    Ok(on_each!(tx, |c| there.count().get_result(c).await)?)
}

/// Adds `source`.
///
/// # Errors
/// `conflict` when another source has the name.
pub async fn insert(tx: &mut Conn, source: AlertSource) -> Result<(), Problem> {
    let (row, id) = (StoredSource::from(source.clone()), source.id);
    on_each!(tx, |c| diesel::insert_into(alert_sources::table).values(row).execute(c).await).map_err(taken)?;
    counts::insert(tx, id).await
}

/// Stores all that can change of `source`.
///
/// # Errors
/// `conflict` when another source has the name.
pub async fn update(tx: &mut Conn, source: AlertSource) -> Result<(), Problem> {
    let (row, id) = (StoredSource::from(source.clone()), source.id);
    on_each!(tx, |c| diesel::update(alert_sources::table.find(id)).set(row).execute(c).await).map(drop).map_err(taken)
}

/// Removes the source `id` from sight.
pub async fn mark_deleted(tx: &mut Conn, id: AlertSourceId, now: Instant) -> Result<(), Problem> {
    let gone = alert_sources::deleted_at.eq(now);
    on_each!(tx, |c| diesel::update(alert_sources::table.find(id)).set(gone).execute(c).await)?;
    Ok(())
}

fn taken(error: Error) -> Problem {
    if is_duplicate(&error, "alert_sources_name_key", "alert_sources.name") {
        Problem::new(Code::Conflict, "A source of alerts with this name exists already.")
    } else {
        error.into()
    }
}
