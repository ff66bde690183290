//! What runs a query on whichever engine a connection is of: with the words of diesel, and awaited on both.

use diesel::SqliteConnection;
use diesel::backend::Backend;
use diesel::deserialize::FromSqlRow;
use diesel::dsl::Limit;
use diesel::expression::QueryMetadata;
use diesel::pg::Pg;
use diesel::query_builder::{AsQuery, QueryFragment, QueryId};
use diesel::query_dsl::methods::{ExecuteDsl, LimitDsl};
use diesel::query_dsl::{CompatibleType, LoadQuery};
use diesel::result::{Error, QueryResult};
use futures_util::future::ready;

use super::session::Session;
use super::slow::timed;

/// A connection that queries run on.
pub trait Runs {
    /// What it speaks.
    type Backend: Backend;
}

impl Runs for SqliteConnection {
    type Backend = diesel::sqlite::Sqlite;
}

impl Runs for &Session {
    type Backend = Pg;
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

// What is asked is written down before the future is made, which then is the same for all queries that give the same
// rows.
impl<'query, 'a, Q, U, ST> Gives<'query, &'a Session, U> for Q
where
    Q: AsQuery + 'query,
    Q::Query: QueryFragment<Pg> + QueryId + 'query,
    Q::SqlType: CompatibleType<U, Pg, SqlType = ST>,
    U: FromSqlRow<ST, Pg> + Send,
    Pg: QueryMetadata<Q::SqlType>,
{
    fn all(self, conn: &mut &'a Session) -> impl Future<Output = QueryResult<Vec<U>>> + Send {
        let (session, asked) = (*conn, conn.ask(&self.as_query()));
        timed(async move { session.rows(session.ready(asked?).await?, usize::MAX).await })
    }

    fn one(self, conn: &mut &'a Session) -> impl Future<Output = QueryResult<U>> + Send {
        let (session, asked) = (*conn, conn.ask(&self.as_query()));
        timed(async move { session.rows(session.ready(asked?).await?, 1).await?.pop().ok_or(Error::NotFound) })
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

impl<'a, Q: QueryFragment<Pg> + QueryId> Changes<&'a Session> for Q {
    fn run(self, conn: &mut &'a Session) -> impl Future<Output = QueryResult<usize>> + Send {
        let (session, asked) = (*conn, conn.ask(&self));
        timed(async move { session.execute(session.ready(asked?).await?).await })
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
