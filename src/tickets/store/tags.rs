//! Which tags there are, from one to the next: each is found by its place in the index, however many tickets have it.

use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Text};

use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::Problem;

/// The largest character: what begins with a text comes before the text with it.
const LAST: char = '\u{10FFFF}';

/// At most `most` tags that tickets have and that begin with `prefix`, from behind `after` on, in their order.
pub async fn list(conn: &mut Conn, prefix: &str, after: Option<&str>, most: i64) -> Result<Vec<String>, Problem> {
    let after = after.unwrap_or_default();
    // Nothing comes behind a tag before the tag with U+0001.
    let from = if after.is_empty() { prefix.to_owned() } else { format!("{after}\u{1}").max(prefix.to_owned()) };
    let next = NextTags { from, until: format!("{prefix}{LAST}"), most };
    Ok(on_each!(conn, |c| next.clone().load(c).await)?)
}

/// The statement: one step from each tag to the next.
#[derive(Debug, Clone)]
struct NextTags {
    from: String,
    until: String,
    most: i64,
}

impl Query for NextTags {
    type SqlType = Text;
}
impl QueryId for NextTags {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}
impl diesel::RunQueryDsl<diesel::SqliteConnection> for NextTags {}

impl<DB> QueryFragment<DB> for NextTags
where
    DB: diesel::backend::Backend + diesel::sql_types::HasSqlType<Text> + diesel::sql_types::HasSqlType<BigInt>,
    String: diesel::serialize::ToSql<Text, DB>,
    i64: diesel::serialize::ToSql<BigInt, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(
            "WITH RECURSIVE found (tag, nth) AS (\
             SELECT (SELECT min(t.tag) FROM ticket_tags AS t WHERE t.tag >= ",
        );
        out.push_bind_param::<Text, _>(&self.from)?;
        out.push_sql(" AND t.tag < ");
        out.push_bind_param::<Text, _>(&self.until)?;
        out.push_sql(
            "), CAST(1 AS bigint) UNION ALL \
             SELECT (SELECT min(t.tag) FROM ticket_tags AS t WHERE t.tag > found.tag AND t.tag < ",
        );
        out.push_bind_param::<Text, _>(&self.until)?;
        out.push_sql("), nth + 1 FROM found WHERE found.tag IS NOT NULL AND nth < ");
        out.push_bind_param::<BigInt, _>(&self.most)?;
        out.push_sql(") SELECT tag FROM found WHERE tag IS NOT NULL ORDER BY nth");
        Ok(())
    }
}
