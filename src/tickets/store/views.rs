//! Queries of saved views.

use std::collections::BTreeMap;

use diesel::prelude::*;

use crate::db::schema::{principals, ticket_views};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::rows::Limit;
use crate::kernel::sql::Json;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId, ViewId};
use crate::tickets::domain::view::{View, ViewRow};
use crate::tickets::policy::views::ViewSight;

#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = ticket_views)]
struct StoredView {
    id: ViewId,
    owner_id: PrincipalId,
    team_id: Option<TeamId>,
    name: String,
    filter: Json<BTreeMap<String, String>>,
    sort: String,
    created_at: Instant,
    updated_at: Instant,
    version: i64,
}

impl From<View> for StoredView {
    fn from(view: View) -> Self {
        let View { id, owner_id, team_id, name, filter, sort, created_at, updated_at, version } = view;
        Self { id, owner_id, team_id, name, filter: Json(filter), sort, created_at, updated_at, version }
    }
}

impl From<(StoredView, String)> for ViewRow {
    fn from((row, owner): (StoredView, String)) -> Self {
        let StoredView { id, owner_id, team_id, name, filter, sort, created_at, updated_at, version } = row;
        let view = View { id, owner_id, team_id, name, filter: filter.0, sort, created_at, updated_at, version };
        Self { view, owner }
    }
}

/// The view `id`, if it is within `sight`.
///
/// # Errors
/// `not_found`, the same for one that there is not and for one out of sight.
pub async fn find(conn: &mut Conn, sight: &ViewSight, id: ViewId) -> Result<ViewRow, Problem> {
    let row: Option<(StoredView, String)> = on_each!(conn, |c| {
        let all = ticket_views::table.inner_join(principals::table).filter(ticket_views::id.eq(id));
        all.select((StoredView::as_select(), principals::name)).first(c).await.optional()
    })?;
    row.map(ViewRow::from).filter(|row| sight.sees(&row.view)).ok_or_else(Problem::not_found)
}

/// A page of the views within `sight`, the oldest first, behind `after`.
pub async fn list(
    conn: &mut Conn,
    sight: &ViewSight,
    after: Option<ViewId>,
    limit: Limit,
) -> Result<Vec<ViewRow>, Problem> {
    let rows: Vec<(StoredView, String)> = on_each!(conn, |c| {
        let all = ticket_views::table.inner_join(principals::table).select((StoredView::as_select(), principals::name));
        let mut query = boxed(c, all);
        let own = ticket_views::owner_id.eq(sight.me());
        query = match sight.teams() {
            Some(teams) => query.filter(own.or(ticket_views::team_id.eq_any(teams.to_vec()).assume_not_null())),
            None => query.filter(own.or(ticket_views::team_id.is_not_null())),
        };
        if let Some(after) = after {
            query = query.filter(ticket_views::id.gt(after));
        }
        query.order(ticket_views::id).limit(limit.and_one()).load(c).await
    })?;
    Ok(rows.into_iter().map(ViewRow::from).collect())
}

/// How many views `owner` has.
pub async fn count_of(tx: &mut Conn, owner: PrincipalId) -> Result<i64, Problem> {
    let own = ticket_views::table.filter(ticket_views::owner_id.eq(owner));
    Ok(on_each!(tx, |c| own.count().get_result(c).await)?)
}

/// Adds `view`.
pub async fn insert(tx: &mut Conn, view: View) -> Result<(), Problem> {
    let row = StoredView::from(view);
    on_each!(tx, |c| diesel::insert_into(ticket_views::table).values(row).execute(c).await)?;
    Ok(())
}

/// Stores all that can change of `view`.
pub async fn update(tx: &mut Conn, view: View) -> Result<(), Problem> {
    let change = (
        ticket_views::team_id.eq(view.team_id),
        ticket_views::name.eq(view.name),
        ticket_views::filter.eq(Json(view.filter)),
        ticket_views::sort.eq(view.sort),
        ticket_views::updated_at.eq(view.updated_at),
        ticket_views::version.eq(view.version),
    );
    on_each!(tx, |c| diesel::update(ticket_views::table.find(view.id)).set(change).execute(c).await)?;
    Ok(())
}

/// Removes the view `id`.
pub async fn delete(tx: &mut Conn, id: ViewId) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::delete(ticket_views::table.find(id)).execute(c).await)?;
    Ok(())
}
