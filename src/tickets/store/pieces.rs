//! Conditions and queries that are put together of pieces whose types nobody else has to know.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, ValidGrouping, is_aggregate};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Bool;

use crate::db::raw::{Raw, raw};

/// Pieces of a condition, or of a query for rows of `ST`, one behind the other.
pub struct Pieces<DB, ST>(Vec<Box<dyn QueryFragment<DB> + Send>>, PhantomData<ST>);

impl<DB: Backend, ST> Pieces<DB, ST>
where
    Raw<Bool>: QueryFragment<DB>,
{
    /// Begins with a text.
    pub fn new(sql: impl Into<String>) -> Self {
        Self(vec![Box::new(raw::<Bool>(sql))], PhantomData)
    }

    /// Goes on with a text.
    pub fn text(&mut self, sql: impl Into<String>) {
        self.push(raw::<Bool>(sql));
    }

    /// Goes on with something else.
    pub fn push(&mut self, piece: impl QueryFragment<DB> + Send + 'static) {
        self.0.push(Box::new(piece));
    }
}

impl<DB, ST> Query for Pieces<DB, ST> {
    type SqlType = ST;
}
impl<DB, ST> Expression for Pieces<DB, ST> {
    type SqlType = Bool;
}
impl<DB, ST, QS> AppearsOnTable<QS> for Pieces<DB, ST> {}
impl<DB, ST, GB> ValidGrouping<GB> for Pieces<DB, ST> {
    type IsAggregate = is_aggregate::Never;
}
impl<DB, ST> diesel::RunQueryDsl<diesel::SqliteConnection> for Pieces<DB, ST> {}
impl<DB, ST> QueryId for Pieces<DB, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
impl<DB: Backend, ST> QueryFragment<DB> for Pieces<DB, ST> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.iter().try_for_each(|piece| piece.walk_ast(out.reborrow()))
    }
}
