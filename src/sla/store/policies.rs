//! Queries of policies and their versions.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Bool, Integer};
use uuid::Uuid;

use crate::db::fault::is_duplicate;
use crate::db::schema::{calendar_versions, calendars, sla_policies, sla_policy_versions, teams};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::sql::{Guid, Json};
use crate::kernel::{CalendarId, Code, Instant, PolicyId, Problem, TeamId};
use crate::sla::domain::calendar::Definition;
use crate::sla::domain::policies::{KeptPolicy, PolicyVersion};
use crate::sla::domain::policy::{PolicyDefinition, VersionOf};

#[derive(Queryable, Selectable)]
#[diesel(table_name = sla_policies)]
struct PolicyRow {
    id: PolicyId,
    definition: Json,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl TryFrom<PolicyRow> for KeptPolicy {
    type Error = Problem;

    fn try_from(row: PolicyRow) -> Result<Self, Problem> {
        let PolicyRow { id, definition, created_at, updated_at, version } = row;
        Ok(Self { id, definition: read(definition)?, created_at, updated_at, version })
    }
}

fn read(definition: Json) -> Result<PolicyDefinition, Problem> {
    serde_json::from_value(definition.0).map_err(Problem::internal)
}

fn written(definition: &PolicyDefinition) -> Result<Json, Problem> {
    serde_json::to_value(definition).map(Json).map_err(Problem::internal)
}

/// The policy `id`.
///
/// # Errors
/// `not_found`.
pub async fn find(conn: &mut Conn, id: PolicyId) -> Result<KeptPolicy, Problem> {
    let query = sla_policies::table.find(id).filter(sla_policies::deleted_at.is_null());
    let row = on_each!(conn, |c| query.select(PolicyRow::as_select()).first(c).await).optional()?;
    row.ok_or_else(Problem::not_found)?.try_into()
}

/// At most `count` policies from behind the key `after` on, in their order.
pub async fn list(conn: &mut Conn, after: Option<(i32, PolicyId)>, count: i64) -> Result<Vec<KeptPolicy>, Problem> {
    let (position, id) = after.unwrap_or((0, PolicyId(Uuid::nil())));
    let rows: Vec<PolicyRow> = on_each!(conn, |c| {
        let behind =
            sql::<Bool>("(position, id) > (").bind::<Integer, _>(position).sql(", ").bind::<Guid, _>(id).sql(")");
        sla_policies::table
            .filter(sla_policies::deleted_at.is_null())
            .filter(behind)
            .order((sla_policies::position, sla_policies::id))
            .limit(count)
            .select(PolicyRow::as_select())
            .load(c)
            .await
    })?;
    rows.into_iter().map(KeptPolicy::try_from).collect()
}

/// How many policies there are, and the last position that one has.
pub async fn count_and_last(tx: &mut Conn) -> Result<(i64, i32), Problem> {
    let there = sla_policies::table.filter(sla_policies::deleted_at.is_null());
    let count: i64 = on_each!(tx, |c| there.count().get_result(c).await)?;
    let last: Option<i32> = on_each!(tx, |c| there.select(max(sla_policies::position)).first(c).await)?;
    Ok((count, last.unwrap_or(0)))
}

/// Adds `policy` and its first version.
///
/// # Errors
/// `conflict` when another policy has the name.
pub async fn insert(tx: &mut Conn, policy: &KeptPolicy) -> Result<(), Problem> {
    let row = (
        sla_policies::id.eq(policy.id),
        sla_policies::name.eq(&policy.definition.name),
        sla_policies::position.eq(policy.definition.position),
        sla_policies::calendar_id.eq(policy.definition.calendar_id),
        sla_policies::definition.eq(written(&policy.definition)?),
        sla_policies::created_at.eq(policy.created_at),
        sla_policies::updated_at.eq(policy.updated_at),
        sla_policies::version.eq(policy.version),
    );
    let done = on_each!(tx, |c| diesel::insert_into(sla_policies::table).values(row).execute(c).await);
    done.map(drop).map_err(taken)?;
    keep(tx, policy).await
}

/// Stores all that can change of `policy`, and its new version.
///
/// # Errors
/// `conflict` when another policy has the name.
pub async fn update(tx: &mut Conn, policy: &KeptPolicy) -> Result<(), Problem> {
    let change = (
        sla_policies::name.eq(&policy.definition.name),
        sla_policies::position.eq(policy.definition.position),
        sla_policies::calendar_id.eq(policy.definition.calendar_id),
        sla_policies::definition.eq(written(&policy.definition)?),
        sla_policies::updated_at.eq(policy.updated_at),
        sla_policies::version.eq(policy.version),
    );
    let done = on_each!(tx, |c| diesel::update(sla_policies::table.find(policy.id)).set(change).execute(c).await);
    done.map(drop).map_err(taken)?;
    keep(tx, policy).await
}

async fn keep(tx: &mut Conn, policy: &KeptPolicy) -> Result<(), Problem> {
    let row = (
        sla_policy_versions::policy_id.eq(policy.id),
        sla_policy_versions::version.eq(policy.version),
        sla_policy_versions::definition.eq(written(&policy.definition)?),
        sla_policy_versions::created_at.eq(policy.updated_at),
    );
    on_each!(tx, |c| diesel::insert_into(sla_policy_versions::table).values(row).execute(c).await)?;
    Ok(())
}

fn taken(error: Error) -> Problem {
    if is_duplicate(&error, "sla_policies_name_key", "sla_policies.name") {
        Problem::new(Code::Conflict, "An SLA policy with this name exists already.")
    } else {
        error.into()
    }
}

/// Removes the policy `id` from sight; its versions stay, for the clocks that they judged.
pub async fn mark_deleted(tx: &mut Conn, id: PolicyId, now: Instant) -> Result<(), Problem> {
    let change = (sla_policies::deleted_at.eq(now), sla_policies::updated_at.eq(now));
    on_each!(tx, |c| diesel::update(sla_policies::table.find(id)).set(change).execute(c).await)?;
    Ok(())
}

/// At most `count` versions of the policy `id` after the version `after`, the oldest first; also when it was removed.
///
/// # Errors
/// `not_found` when there never was such a policy.
pub async fn versions(
    conn: &mut Conn,
    id: PolicyId,
    after: Option<i64>,
    count: i64,
) -> Result<Vec<PolicyVersion>, Problem> {
    let query = sla_policy_versions::table
        .filter(sla_policy_versions::policy_id.eq(id))
        .filter(sla_policy_versions::version.gt(after.unwrap_or(0)))
        .order(sla_policy_versions::version)
        .limit(count)
        .select((sla_policy_versions::version, sla_policy_versions::created_at, sla_policy_versions::definition));
    let rows: Vec<(i64, Instant, Json)> = on_each!(conn, |c| query.load(c).await)?;
    // Every policy has a first version, which is never removed.
    if rows.is_empty() && after.is_none() {
        return Err(Problem::not_found());
    }
    let version =
        |(version, created_at, definition)| Ok(PolicyVersion { version, created_at, definition: read(definition)? });
    rows.into_iter().map(version).collect()
}

/// Those of these teams that there are.
pub async fn teams_among(conn: &mut Conn, ids: &[TeamId]) -> Result<BTreeSet<TeamId>, Problem> {
    let query = teams::table.filter(teams::id.eq_any(ids)).select(teams::id);
    let found: Vec<TeamId> = on_each!(conn, |c| query.load(c).await)?;
    Ok(found.into_iter().collect())
}

/// What the calendar `id` is made of now; nothing when there is none.
pub async fn calendar(conn: &mut Conn, id: CalendarId) -> Result<Option<Definition>, Problem> {
    let query = calendars::table.find(id).filter(calendars::deleted_at.is_null()).select(calendars::definition);
    let found: Option<Json> = on_each!(conn, |c| query.first(c).await).optional()?;
    found.map(|definition| serde_json::from_value(definition.0).map_err(Problem::internal)).transpose()
}

/// Name and version of the policy `id` as it is now, or was when it was removed.
pub async fn name_now(conn: &mut Conn, id: PolicyId) -> Result<(String, i64), Problem> {
    let query = sla_policies::table.find(id).select((sla_policies::name, sla_policies::version));
    Ok(on_each!(conn, |c| query.first(c).await)?)
}

/// What these versions of policies are called.
pub async fn names(
    conn: &mut Conn,
    wanted: &BTreeSet<VersionOf<PolicyId>>,
) -> Result<BTreeMap<VersionOf<PolicyId>, String>, Problem> {
    let mut names = BTreeMap::new();
    for of in wanted {
        let query = sla_policy_versions::table.find((of.id, of.version)).select(sla_policy_versions::definition);
        names.insert(*of, read(on_each!(conn, |c| query.first(c).await)?)?.name);
    }
    Ok(names)
}

/// What these versions of calendars are called now, and the names of their zones then.
pub async fn calendar_names(
    conn: &mut Conn,
    wanted: &BTreeSet<VersionOf<CalendarId>>,
) -> Result<BTreeMap<VersionOf<CalendarId>, (String, String)>, Problem> {
    let mut names = BTreeMap::new();
    for of in wanted {
        let query = calendar_versions::table.find((of.id, of.version)).select(calendar_versions::definition);
        let definition: Json = on_each!(conn, |c| query.first(c).await)?;
        let definition: Definition = serde_json::from_value(definition.0).map_err(Problem::internal)?;
        let query = calendars::table.find(of.id).select(calendars::name);
        names.insert(*of, (on_each!(conn, |c| query.first(c).await)?, definition.time_zone));
    }
    Ok(names)
}
