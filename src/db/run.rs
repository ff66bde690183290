//! What runs a query on whichever engine a connection is of: with the words of diesel, and awaited on both.

use diesel::SqliteConnection;
use diesel::backend::Backend;
use diesel::dsl::Limit;
use diesel::query_dsl::LoadQuery;
use diesel::query_dsl::methods::{ExecuteDsl, LimitDsl};
use diesel::result::QueryResult;
use diesel_async::{AsyncPgConnection, methods};
use futures_util::future::ready;

use super::slow::timed;

/// A connection that queries run on.
pub trait Runs {
    /// What it speaks.
    type Backend: Backend;
}

impl Runs for SqliteConnection {
    type Backend = diesel::sqlite::Sqlite;
}

impl Runs for &AsyncPgConnection {
    type Backend = diesel::pg::Pg;
}

/// A query that gives rows on a connection.
pub trait Gives<'query, C, U>: Sized {
    /// All rows.
    fn all(self, conn: &mut C) -> impl Future<Output = QueryResult<Vec<U>>> + Send;
    /// The first row.
    fn one(self, conn: &mut C) -> impl Future<Output = QueryResult<U>> + Send;
}

// SQLite is asked in place: its calls are short, and handing them to another thread costs more than they do.
impl<'query, Q, U> Gives<'query, SqliteConnection, U> for Q
where
    Q: LoadQuery<'query, SqliteConnection, U>,
    U: Send,
{
    fn all(self, conn: &mut SqliteConnection) -> impl Future<Output = QueryResult<Vec<U>>> + Send {
        ready(diesel::RunQueryDsl::load(self, conn))
    }

    fn one(self, conn: &mut SqliteConnection) -> impl Future<Output = QueryResult<U>> + Send {
        ready(diesel::RunQueryDsl::get_result(self, conn))
    }
}

impl<'query, 'a, Q, U> Gives<'query, &'a AsyncPgConnection, U> for Q
where
    Q: methods::LoadQuery<'query, &'a AsyncPgConnection, U> + Send + 'query,
    U: Send + 'a,
{
    fn all(self, conn: &mut &'a AsyncPgConnection) -> impl Future<Output = QueryResult<Vec<U>>> + Send {
        timed(diesel_async::RunQueryDsl::load(self, conn))
    }

    fn one(self, conn: &mut &'a AsyncPgConnection) -> impl Future<Output = QueryResult<U>> + Send {
        timed(diesel_async::RunQueryDsl::get_result(self, conn))
    }
}

/// A statement that changes rows on a connection.
pub trait Changes<C>: Sized {
    /// Gives how many rows it has changed.
    fn run(self, conn: &mut C) -> impl Future<Output = QueryResult<usize>> + Send;
}

impl<Q: ExecuteDsl<SqliteConnection>> Changes<SqliteConnection> for Q {
    fn run(self, conn: &mut SqliteConnection) -> impl Future<Output = QueryResult<usize>> + Send {
        ready(ExecuteDsl::execute(self, conn))
    }
}

impl<'a, Q: methods::ExecuteDsl<&'a AsyncPgConnection>> Changes<&'a AsyncPgConnection> for Q {
    fn run(self, conn: &mut &'a AsyncPgConnection) -> impl Future<Output = QueryResult<usize>> + Send {
        timed(methods::ExecuteDsl::execute(self, conn))
    }
}

/// The calls of diesel's trait of this name, as far as they are used here.
pub trait RunQueryDsl: Sized {
    /// All rows.
    fn load<'query, C, U>(self, conn: &mut C) -> impl Future<Output = QueryResult<Vec<U>>> + Send
    where
        Self: Gives<'query, C, U>,
    {
        self.all(conn)
    }

    /// All rows, of a statement that changes them.
    fn get_results<'query, C, U>(self, conn: &mut C) -> impl Future<Output = QueryResult<Vec<U>>> + Send
    where
        Self: Gives<'query, C, U>,
    {
        self.all(conn)
    }

    /// The one row, of which there may be more in vain.
    fn get_result<'query, C, U>(self, conn: &mut C) -> impl Future<Output = QueryResult<U>> + Send
    where
        Self: Gives<'query, C, U>,
    {
        self.one(conn)
    }

    /// The first row.
    fn first<'query, C, U>(self, conn: &mut C) -> impl Future<Output = QueryResult<U>> + Send
    where
        Self: LimitDsl,
        Limit<Self>: Gives<'query, C, U>,
    {
        self.limit(1).one(conn)
    }

    /// Gives how many rows were changed.
    fn execute<C>(self, conn: &mut C) -> impl Future<Output = QueryResult<usize>> + Send
    where
        Self: Changes<C>,
    {
        self.run(conn)
    }
}

impl<T> RunQueryDsl for T {}
