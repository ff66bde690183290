//! Pieces of SQL that diesel has no words for. Unlike those of `diesel::dsl::sql`, statements with them are prepared
//! once and kept, so their texts must be few: no value ever stands in one.

use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::expression::AsExpression;
use diesel::expression::TypedExpressionType;
use diesel::expression::{AppearsOnTable, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::ToSql;
use diesel::sql_types::{Array, BigInt, Bool, HasSqlType, Integer, Text};
use diesel::sqlite::Sqlite;

use super::{Conn, EngineConn};
use crate::kernel::sql::{Guid, Moment, guid};
use crate::kernel::{CommentId, EventId, Instant, PolicyId, PrincipalId, TeamId, TicketId, WebhookId};

/// How many bytes a text has at most that comes with each row of a list.
const SMALL_B: usize = 2 << 10;

/// A value in a piece.
#[derive(Debug, Clone)]
pub enum RawValue {
    /// An instant.
    Moment(Instant),
    /// A number of 64 bits.
    BigInt(i64),
    /// A number of 32 bits.
    Integer(i32),
    /// A text.
    Text(String),
    /// An id.
    Guid(AnyId),
}

/// An id, of whatever it is.
#[derive(Debug, Clone, Copy, AsExpression, FromSqlRow)]
#[diesel(sql_type = Guid)]
pub struct AnyId(uuid::Uuid);
guid!(AnyId);

macro_rules! values {
    ($($type:ty => $variant:ident),*) => {$(
        impl From<$type> for RawValue {
            fn from(value: $type) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}
values!(Instant => Moment, i64 => BigInt, i32 => Integer, String => Text);

macro_rules! ids {
    ($($type:ty),*) => {$(
        impl From<$type> for RawValue {
            fn from(id: $type) -> Self {
                Self::Guid(AnyId(id.0))
            }
        }
    )*};
}
ids!(TicketId, CommentId, EventId, TeamId, PrincipalId, WebhookId, PolicyId);

#[derive(Debug, Clone)]
enum RawPart {
    Sql(String),
    RawValue(RawValue),
}

/// A piece of SQL of the type `ST`.
#[derive(Debug, Clone)]
pub struct Raw<ST> {
    parts: Vec<RawPart>,
    sql_type: PhantomData<ST>,
}

/// A piece of SQL that begins with `sql`.
pub fn raw<ST>(sql: impl Into<String>) -> Raw<ST> {
    Raw { parts: vec![RawPart::Sql(sql.into())], sql_type: PhantomData }
}

/// The SQL of `column` where its `length` is small, and else of `empty` in its place; and that of whether this is so.
/// With a list, the texts that may be large are not read before it is known how many of them a page has room for.
pub fn small(length: &str, column: &str, empty: &str) -> (String, String) {
    let text = format!("CASE WHEN {length} <= {SMALL_B} THEN {column} ELSE '{empty}' END");
    (text, format!("{length} > {SMALL_B}"))
}

/// The SQL of how many bytes the JSON in `column` has.
pub fn json_length(conn: &Conn, column: &str) -> String {
    match conn.line {
        EngineConn::Sqlite(_) => format!("octet_length({column})"),
        EngineConn::Postgres(_) => format!("octet_length(CAST({column} AS text))"),
    }
}

impl<ST> Raw<ST> {
    /// Goes on with a value.
    #[must_use]
    pub fn bind(mut self, value: impl Into<RawValue>) -> Self {
        self.parts.push(RawPart::RawValue(value.into()));
        self
    }

    /// Goes on with a text.
    #[must_use]
    pub fn sql(mut self, sql: impl Into<String>) -> Self {
        self.parts.push(RawPart::Sql(sql.into()));
        self
    }
}

impl<ST: TypedExpressionType> Expression for Raw<ST> {
    type SqlType = ST;
}
impl<ST: TypedExpressionType, QS> AppearsOnTable<QS> for Raw<ST> {}
impl<ST: TypedExpressionType, QS> SelectableExpression<QS> for Raw<ST> {}
impl<ST, GB> ValidGrouping<GB> for Raw<ST> {
    type IsAggregate = is_aggregate::Never;
}
impl<ST> QueryId for Raw<ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST, DB> QueryFragment<DB> for Raw<ST>
where
    DB: Backend + HasSqlType<Moment> + HasSqlType<BigInt> + HasSqlType<Integer> + HasSqlType<Text> + HasSqlType<Guid>,
    Instant: ToSql<Moment, DB>,
    i64: ToSql<BigInt, DB>,
    i32: ToSql<Integer, DB>,
    String: ToSql<Text, DB>,
    AnyId: ToSql<Guid, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        for part in &self.parts {
            match part {
                RawPart::Sql(sql) => out.push_sql(sql),
                RawPart::RawValue(RawValue::Moment(at)) => out.push_bind_param::<Moment, _>(at)?,
                RawPart::RawValue(RawValue::BigInt(n)) => out.push_bind_param::<BigInt, _>(n)?,
                RawPart::RawValue(RawValue::Integer(n)) => out.push_bind_param::<Integer, _>(n)?,
                RawPart::RawValue(RawValue::Text(text)) => out.push_bind_param::<Text, _>(text)?,
                RawPart::RawValue(RawValue::Guid(id)) => out.push_bind_param::<Guid, _>(id)?,
            }
        }
        Ok(())
    }
}

/// Whether a column has one of some values. They are a single parameter, an array on PostgreSQL and JSON on SQLite, so
/// that the statement is the same however many there are.
#[derive(Debug, Clone)]
pub struct OneOf<T> {
    column: &'static str,
    values: Vec<T>,
    json: String,
}

/// Whether `column` has one of these numbers or texts.
pub fn one_of<T: Clone + serde::Serialize>(column: &'static str, values: &[T]) -> OneOf<T> {
    OneOf { column, values: values.to_vec(), json: serde_json::json!(values).to_string() }
}

impl<T> Expression for OneOf<T> {
    type SqlType = Bool;
}
impl<T, QS> AppearsOnTable<QS> for OneOf<T> {}
impl<T, GB> ValidGrouping<GB> for OneOf<T> {
    type IsAggregate = is_aggregate::Never;
}
impl<T> QueryId for OneOf<T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<T> QueryFragment<Sqlite> for OneOf<T> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.column);
        out.push_sql(" IN (SELECT value FROM json_each(");
        out.push_bind_param::<Text, _>(&self.json)?;
        out.push_sql("))");
        Ok(())
    }
}

macro_rules! one_of {
    ($($type:ty => $sql_type:ty),*) => {$(
        impl QueryFragment<Pg> for OneOf<$type> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql(self.column);
                out.push_sql(" = ANY (");
                out.push_bind_param::<Array<$sql_type>, _>(&self.values)?;
                out.push_sql(")");
                Ok(())
            }
        }
    )*};
}
one_of!(i64 => BigInt, String => Text);
