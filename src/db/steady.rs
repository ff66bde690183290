//! Statements that are prepared once, which diesel would prepare anew each time.

use diesel::backend::Backend;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;

/// A statement that is prepared once for each of its texts and then kept, such as an UPDATE: diesel keeps none of them,
/// since their texts may be many. Those here are few: a text says which columns are written, never a value.
#[derive(Debug, Clone)]
pub struct Steady<Q>(Q);

/// Keeps the prepared `statement`, of which there must be few texts.
pub fn steady<Q>(statement: Q) -> Steady<Q> {
    Steady(statement)
}

impl<Q: Query> Query for Steady<Q> {
    type SqlType = Q::SqlType;
}

impl<Q> diesel::RunQueryDsl<diesel::SqliteConnection> for Steady<Q> {}

// It is known by its text alone.
impl<Q> QueryId for Steady<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<Q: QueryFragment<DB>, DB: Backend> QueryFragment<DB> for Steady<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}
