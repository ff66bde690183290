//! Lists of tickets under a name.

use std::collections::BTreeMap;

use crate::kernel::{Instant, PrincipalId, TeamId, ViewId};

/// How many views somebody may have.
pub const MOST_VIEWS: i64 = 100;

/// A list of tickets under a name: somebody's own, or shared with a team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The id.
    pub id: ViewId,
    /// Whose it is.
    pub owner_id: PrincipalId,
    /// The team that it is shared with.
    pub team_id: Option<TeamId>,
    /// What it is called.
    pub name: String,
    /// The parameters of the list of tickets, each as in a query.
    pub filter: BTreeMap<String, String>,
    /// The order, as in a query.
    pub sort: String,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

impl View {
    /// All that it says of a list, each as in a query.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        let mut all = self.filter.clone();
        all.insert("sort".to_owned(), self.sort.clone());
        all
    }
}

/// A view with the name of whose it is.
#[derive(Debug, Clone)]
pub struct ViewRow {
    /// The view.
    pub view: View,
    /// What its owner is called.
    pub owner: String,
}
