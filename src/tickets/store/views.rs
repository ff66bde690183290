//! Queries of saved views.

use std::collections::BTreeMap;

use diesel::prelude::*;
use uuid::Uuid;

use crate::db::schema::{principals, ticket_views};
use crate::db::{Conn, RunQueryDsl, on_each};
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

/// A page of the views within `sight`, the oldest first, behind `after`: one's own and those that are shared, each
/// along an index of its own.
pub async fn list(
    conn: &mut Conn,
    sight: &ViewSight,
    after: Option<ViewId>,
    limit: Limit,
) -> Result<Vec<ViewRow>, Problem> {
    let first = after.unwrap_or(ViewId(Uuid::nil()));
    let behind = ticket_views::id.gt(first);
    macro_rules! page_of {
        ($which:expr) => {
            on_each!(conn, |c| {
                let page = ticket_views::table.inner_join(principals::table).filter($which).filter(behind);
                let page = page.order(ticket_views::id).limit(limit.and_one());
                page.select((StoredView::as_select(), principals::name)).load(c).await
            })?
        };
    }
    let own: Vec<(StoredView, String)> = page_of!(ticket_views::owner_id.eq(sight.me()));
    let shared: Vec<(StoredView, String)> = match sight.teams() {
        Some([]) => Vec::new(),
        Some(teams) => page_of!(ticket_views::team_id.eq_any(teams.to_vec())),
        None => page_of!(ticket_views::team_id.is_not_null()),
    };
    let all = own.into_iter().chain(shared).map(ViewRow::from).map(|row| (row.view.id, row));
    let page: BTreeMap<ViewId, ViewRow> = all.collect();
    let most = usize::try_from(limit.and_one()).unwrap_or(usize::MAX);
    Ok(page.into_values().take(most).collect())
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
