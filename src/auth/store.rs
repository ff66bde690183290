//! What authentication reads and writes: principals and refresh tokens.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;

use super::domain::Role;
use crate::db::schema::principals;
use crate::db::{Conn, on_each};
use crate::kernel::{PrincipalId, Problem};

/// As much of a principal as a request needs.
#[derive(Debug, Queryable, Selectable)]
#[diesel(table_name = principals)]
pub struct KnownRow {
    /// Its id.
    pub id: PrincipalId,
    /// Its name.
    pub name: String,
    /// Its email address.
    pub email: Option<String>,
    /// The role of a person, nothing for a service account.
    pub role: Option<Role>,
    /// The scopes of a service account.
    pub scopes: Option<String>,
    /// Whether it may act.
    pub active: bool,
}

/// The principal `id`.
///
/// # Errors
/// When the database is away.
pub async fn by_id(conn: &mut Conn, id: PrincipalId) -> Result<Option<KnownRow>, Problem> {
    let row = on_each!(conn, |c| principals::table.find(id).select(KnownRow::as_select()).first(c).await);
    Ok(row.optional()?)
}
