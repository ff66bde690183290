//! Statements that are prepared once, which diesel would prepare anew each time.

use diesel::SqliteConnection;
use diesel::backend::Backend;
use diesel::connection::LoadConnection;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Integer;
use diesel::sqlite::Sqlite;

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

/// A statement that gives nothing back, taken for a query.
struct Quiet<Q>(Q);

impl<Q> Query for Quiet<Q> {
    type SqlType = Integer;
}

impl<Q: QueryId> QueryId for Quiet<Q> {
    type QueryId = Quiet<Q::QueryId>;
    const HAS_STATIC_QUERY_ID: bool = Q::HAS_STATIC_QUERY_ID;
}

impl<Q: QueryFragment<Sqlite>> QueryFragment<Sqlite> for Quiet<Q> {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, backend: &Sqlite) -> QueryResult<bool> {
        self.0.is_safe_to_cache_prepared(backend)
    }
}

/// Runs a statement that gives nothing back on SQLite. Diesel's `execute` looks at it through a reference, through
/// which it does not see that a [`steady`] one is to be kept, and would prepare it each time.
///
/// # Errors
/// What the database says.
pub fn run_quietly<Q: QueryFragment<Sqlite> + QueryId>(statement: Q, sqlite: &mut SqliteConnection) -> QueryResult<()> {
    LoadConnection::load(sqlite, Quiet(statement))?.try_for_each(|row| row.map(drop))
}

/// A statement without parameters.
struct PlainStatement(&'static str);

impl QueryId for PlainStatement {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Sqlite> for PlainStatement {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

/// Runs a statement that takes no parameters and gives nothing back on SQLite, prepared once.
///
/// # Errors
/// What the database says.
pub fn run_words(sql: &'static str, sqlite: &mut SqliteConnection) -> QueryResult<()> {
    run_quietly(PlainStatement(sql), sqlite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::connection::{Instrumentation, InstrumentationEvent, SimpleConnection};
    use diesel::prelude::*;
    use std::sync::{Arc, Mutex};

    diesel::table! {
        things (id) {
            id -> Integer,
            size -> Integer,
        }
    }

    /// Takes down what is prepared to be kept.
    struct Listening(Arc<Mutex<Vec<String>>>);

    impl Instrumentation for Listening {
        fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
            if let InstrumentationEvent::CacheQuery { sql, .. } = event {
                self.0.lock().expect("no panic").push(sql.to_owned());
            }
        }
    }

    #[test]
    fn a_steady_update_is_prepared_once_on_sqlite_and_another_is_not_kept() {
        let mut sqlite = SqliteConnection::establish(":memory:").expect("a database");
        sqlite.batch_execute("CREATE TABLE things (id INTEGER PRIMARY KEY, size INTEGER NOT NULL)").expect("a table");
        let kept = Arc::<Mutex<Vec<String>>>::default();
        sqlite.set_instrumentation(Listening(kept.clone()));
        for id in 1..=3 {
            run_quietly(
                diesel::insert_into(things::table).values((things::id.eq(id), things::size.eq(id))),
                &mut sqlite,
            )
            .expect("a row");
        }
        for (id, size) in [(1, 10), (2, 20)] {
            let update = diesel::update(things::table.find(id)).set(things::size.eq(size));
            run_quietly(steady(update), &mut sqlite).expect("a change");
        }
        run_quietly(diesel::update(things::table.find(3)).set(things::size.eq(30)), &mut sqlite).expect("a change");
        for _ in 0..2 {
            run_words("SAVEPOINT one", &mut sqlite).expect("a savepoint");
            run_words("RELEASE one", &mut sqlite).expect("its end");
        }
        let kept = kept.lock().expect("no panic").clone();
        let begins: Vec<_> = kept.iter().filter_map(|sql| sql.split(' ').next()).collect();
        assert_eq!(begins, ["INSERT", "UPDATE", "SAVEPOINT", "RELEASE"]);
        let sizes: Vec<i32> = things::table.order(things::id).select(things::size).load(&mut sqlite).expect("rows");
        assert_eq!(sizes, [10, 20, 30]);
    }
}
