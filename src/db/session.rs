//! One session of a PostgreSQL server, as diesel's queries are asked on it: many may be sent before the first is
//! answered, statements are kept prepared, and an error keeps its SQLSTATE.

use std::any::TypeId;
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::ops::Range;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use diesel::connection::{Instrumentation, InstrumentationEvent, StrQueryHelper, get_default_instrumentation};
use diesel::deserialize::FromSqlRow;
use diesel::pg::{
    FailedToLookupTypeError, Pg, PgMetadataCacheKey, PgMetadataLookup, PgQueryBuilder, PgTypeMetadata, PgValue,
};
use diesel::query_builder::bind_collector::RawBytesBindCollector;
use diesel::query_builder::{QueryBuilder, QueryFragment, QueryId};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::row::{Field, PartialRow, Row, RowIndex, RowSealed};
use futures_util::TryStreamExt;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type};
use tokio_postgres::{Client, RowStream, Statement};

use super::fault;

/// How many statements a session keeps prepared at most: more than all that are sent without lists and reports. Each
/// takes about 7 KiB here and 50 to 200 KiB at the server.
const MOST_KEPT: usize = 192;

/// A session. What is sent on it is carried out in the order in which it is sent.
pub struct Session(Arc<SessionState>);

struct SessionState {
    client: Client,
    kept: Mutex<StatementCache>,
    /// Whoever prepares a statement: what several need at once is prepared once.
    preparing: tokio::sync::Mutex<()>,
    listener: Option<Mutex<Box<dyn Instrumentation>>>,
}

/// How a statement is known that is kept: by its type, if that says all of its text, and otherwise by its text and the
/// types of its values.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum StatementKey {
    Type(TypeId),
    Text(String, Vec<u32>),
}

struct PreparedStatement {
    text: String,
    statement: Statement,
}

/// What is kept prepared, and which use of any of it was its last.
#[derive(Default)]
struct StatementCache {
    statements: HashMap<StatementKey, (Arc<PreparedStatement>, u64)>,
    uses: u64,
}

impl StatementCache {
    fn get(&mut self, key: &StatementKey) -> Option<Arc<PreparedStatement>> {
        self.uses += 1;
        let (prepared, last_use) = self.statements.get_mut(key)?;
        *last_use = self.uses;
        Some(prepared.clone())
    }

    /// Makes room for one more: what has gone unused for longest is let go here and at the server.
    fn make_room(&mut self) {
        if self.statements.len() < MOST_KEPT {
            return;
        }
        let oldest = self.statements.iter().min_by_key(|(_, (_, last_use))| *last_use).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.statements.remove(&key);
        }
    }

    fn put(&mut self, key: StatementKey, prepared: Arc<PreparedStatement>) {
        self.uses += 1;
        self.statements.insert(key, (prepared, self.uses));
    }
}

/// A statement with its values.
pub struct Asked {
    text: Result<Text, (StatementKey, String)>,
    types: Vec<PgTypeMetadata>,
    values: Vec<BoundValue>,
}

/// A statement that is sent as soon as the future is polled that sends it.
pub struct Ready {
    text: Text,
    types: Vec<PgTypeMetadata>,
    values: Vec<BoundValue>,
}

/// What is sent.
enum Text {
    /// One that is prepared.
    StatementCache(Arc<PreparedStatement>),
    /// One of which there may be many. It is prepared and carried out in one.
    Once(String),
}

impl Text {
    fn as_str(&self) -> &str {
        match self {
            Self::StatementCache(prepared) => &prepared.text,
            Self::Once(text) => text,
        }
    }
}

impl Session {
    /// A session of `client`. Who listens hears of all that is asked on it.
    pub fn new(client: Client, listener: Option<Box<dyn Instrumentation>>) -> Self {
        let listener = listener.or_else(get_default_instrumentation).map(Mutex::new);
        Self(Arc::new(SessionState {
            client,
            kept: Mutex::default(),
            preparing: tokio::sync::Mutex::default(),
            listener,
        }))
    }

    /// What `query` asks.
    ///
    /// # Errors
    /// When its text or values cannot be written down.
    pub fn ask<Q: QueryFragment<Pg> + QueryId>(&self, query: &Q) -> QueryResult<Asked> {
        self.tell(InstrumentationEvent::start_query(&diesel::debug_query::<Pg, _>(query)));
        self.write_down(query, Q::query_id())
    }

    // Compiled once for all queries.
    fn write_down(&self, query: &dyn QueryFragment<Pg>, id: Option<TypeId>) -> QueryResult<Asked> {
        let mut collected = RawBytesBindCollector::<Pg>::new();
        query.collect_binds(&mut collected, &mut BuiltIn, &Pg)?;
        let RawBytesBindCollector { metadata: types, binds, .. } = collected;
        let text = || {
            let mut text = PgQueryBuilder::default();
            query.to_sql(&mut text, &Pg).map(|()| text.finish())
        };
        let text = if !query.is_safe_to_cache_prepared(&Pg)? {
            Ok(Text::Once(text()?))
        } else if let Some(id) = id {
            let key = StatementKey::Type(id);
            match self.0.kept().get(&key) {
                Some(prepared) => Ok(Text::StatementCache(prepared)),
                None => Err((key, text()?)),
            }
        } else {
            let text = text()?;
            let key = StatementKey::Text(text.clone(), types.iter().map(oid).collect::<QueryResult<_>>()?);
            let kept = self.0.kept().get(&key);
            kept.map(Text::StatementCache).ok_or((key, text))
        };
        Ok(Asked { text, types, values: binds.into_iter().map(BoundValue).collect() })
    }

    /// The same, prepared if it is to be kept, which takes an answer.
    ///
    /// # Errors
    /// What the server says of the statement.
    pub async fn ready(&self, asked: Asked) -> QueryResult<Ready> {
        let Asked { text, types, values } = asked;
        let text = match text {
            Ok(text) => text,
            Err((key, text)) => {
                let of_values = types.iter().map(type_of).collect::<QueryResult<Vec<_>>>()?;
                let inner = self.0.clone();
                // Whoever asks may go away. What the server has prepared by then must be known here, to be let go of
                // some time.
                let preparing = tokio::spawn(async move { inner.prepare(key, text, &of_values).await });
                Text::StatementCache(preparing.await.unwrap_or_else(|e| {
                    Err(Error::DatabaseError(DatabaseErrorKind::ClosedConnection, Box::new(e.to_string())))
                })?)
            }
        };
        Ok(Ready { text, types, values })
    }

    /// Sends a statement; gives how many rows it has changed.
    ///
    /// # Errors
    /// What the server says.
    pub async fn execute(&self, Ready { text, types, values }: Ready) -> QueryResult<usize> {
        let client = &self.0.client;
        let changed = match &text {
            Text::StatementCache(prepared) => client.execute_raw(&prepared.statement, values).await,
            Text::Once(text) => {
                let types = types.iter().map(type_of).collect::<QueryResult<Vec<_>>>()?;
                let values = values.iter().map(|value| value as &(dyn ToSql + Sync)).zip(types).collect::<Vec<_>>();
                client.execute_typed(text, &values).await
            }
        };
        let changed = changed.map_err(fault::of_postgres);
        self.heard(text.as_str(), changed.as_ref().err());
        changed.map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// Sends a query; gives all its rows, or the first `most`.
    ///
    /// # Errors
    /// What the server says, and that a row is not as expected.
    pub async fn rows<U, ST>(&self, Ready { text, types, values }: Ready, most: usize) -> QueryResult<Vec<U>>
    where
        U: FromSqlRow<ST, Pg>,
    {
        let client = &self.0.client;
        let answer = match &text {
            Text::StatementCache(prepared) => client.query_raw(&prepared.statement, values).await,
            Text::Once(text) => {
                let types = types.iter().map(type_of).collect::<QueryResult<Vec<_>>>()?;
                client.query_typed_raw(text, values.into_iter().zip(types)).await
            }
        };
        let rows = match answer {
            Ok(rows) => read(rows, most).await,
            Err(error) => Err(fault::of_postgres(error)),
        };
        self.heard(text.as_str(), rows.as_ref().err());
        rows
    }

    /// Runs statements that take no values and give no rows.
    ///
    /// # Errors
    /// What the server says.
    pub async fn batch(&self, sql: &str) -> QueryResult<()> {
        self.tell(InstrumentationEvent::start_query(&StrQueryHelper::new(sql)));
        let outcome = self.0.client.batch_execute(sql).await.map_err(fault::of_postgres);
        self.heard(sql, outcome.as_ref().err());
        outcome
    }

    fn tell(&self, event: InstrumentationEvent<'_>) {
        self.0.tell(event);
    }

    fn heard(&self, text: &str, error: Option<&Error>) {
        self.tell(InstrumentationEvent::finish_query(&StrQueryHelper::new(text), error));
    }
}

impl SessionState {
    fn tell(&self, event: InstrumentationEvent<'_>) {
        if let Some(listener) = &self.listener {
            listener.lock().unwrap_or_else(PoisonError::into_inner).on_connection_event(event);
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, StatementCache> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn prepare(&self, key: StatementKey, text: String, types: &[Type]) -> QueryResult<Arc<PreparedStatement>> {
        let turn = self.preparing.lock().await;
        // Somebody else has needed it, too.
        if let Some(prepared) = self.kept().get(&key) {
            return Ok(prepared);
        }
        self.tell(InstrumentationEvent::cache_query(&text));
        self.kept().make_room();
        let prepared = self.client.prepare_typed(&text, types).await.map_err(fault::of_postgres);
        if let Err(error) = &prepared {
            self.tell(InstrumentationEvent::finish_query(&StrQueryHelper::new(&text), Some(error)));
        }
        let prepared = Arc::new(PreparedStatement { statement: prepared?, text });
        self.kept().put(key, prepared.clone());
        drop(turn);
        Ok(prepared)
    }
}

async fn read<U: FromSqlRow<ST, Pg>, ST>(rows: RowStream, most: usize) -> QueryResult<Vec<U>> {
    let mut rows = pin!(rows);
    let (mut read, mut oids) = (Vec::new(), Vec::new());
    while read.len() < most
        && let Some(row) = rows.try_next().await.map_err(fault::of_postgres)?
    {
        if oids.is_empty() {
            oids.extend(row.columns().iter().filter_map(|column| NonZeroU32::new(column.type_().oid())));
        }
        let row = AnsweredRow { row: &row, oids: &oids };
        read.push(U::build_from_row(&row).map_err(Error::DeserializationError)?);
    }
    Ok(read)
}

fn oid(of: &PgTypeMetadata) -> QueryResult<u32> {
    of.oid().map_err(|e| Error::SerializationError(Box::new(e)))
}

fn type_of(of: &PgTypeMetadata) -> QueryResult<Type> {
    let oid = oid(of)?;
    Type::from_oid(oid).ok_or_else(|| Error::SerializationError(format!("{oid} is no built-in type").into()))
}

/// All types of the schema are PostgreSQL's own, which have the same number everywhere: none is asked for by name.
struct BuiltIn;

impl PgMetadataLookup for BuiltIn {
    fn lookup_type(&mut self, name: &str, schema: Option<&str>) -> PgTypeMetadata {
        let key = PgMetadataCacheKey::new(schema.map(|schema| schema.to_owned().into()), name.to_owned().into());
        PgTypeMetadata::from_result(Err(FailedToLookupTypeError::new(key)))
    }
}

/// A value as diesel has written it down.
#[derive(Debug)]
struct BoundValue(Option<Vec<u8>>);

impl ToSql for BoundValue {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        let Some(bytes) = &self.0 else { return Ok(IsNull::Yes) };
        out.extend_from_slice(bytes);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A row as diesel reads it.
struct AnsweredRow<'a> {
    row: &'a tokio_postgres::Row,
    /// The types of its columns.
    oids: &'a [NonZeroU32],
}

impl RowSealed for AnsweredRow<'_> {}

impl<'a> Row<'a, Pg> for AnsweredRow<'_> {
    type InnerPartialRow = Self;
    type Field<'f>
        = AnsweredField<'f>
    where
        'a: 'f,
        Self: 'f;

    fn field_count(&self) -> usize {
        self.row.len()
    }

    fn get<'b, I>(&'b self, index: I) -> Option<AnsweredField<'b>>
    where
        'a: 'b,
        Self: RowIndex<I>,
    {
        let index = self.idx(index)?;
        Some(AnsweredField { row: self.row, index, oid: self.oids.get(index)? })
    }

    fn partial_row(&self, range: Range<usize>) -> PartialRow<'_, Self> {
        PartialRow::new(self, range)
    }
}

impl RowIndex<usize> for AnsweredRow<'_> {
    fn idx(&self, index: usize) -> Option<usize> {
        (index < self.row.len()).then_some(index)
    }
}

impl<'n> RowIndex<&'n str> for AnsweredRow<'_> {
    fn idx(&self, name: &'n str) -> Option<usize> {
        self.row.columns().iter().position(|column| column.name() == name)
    }
}

/// One value of a row.
struct AnsweredField<'a> {
    row: &'a tokio_postgres::Row,
    index: usize,
    oid: &'a NonZeroU32,
}

impl<'a> Field<'a, Pg> for AnsweredField<'a> {
    fn field_name(&self) -> Option<&str> {
        self.row.columns().get(self.index).map(tokio_postgres::Column::name)
    }

    fn value(&self) -> Option<PgValue<'_>> {
        let Bytes(bytes) = self.row.get(self.index);
        bytes.map(|bytes| PgValue::new(bytes, self.oid))
    }
}

/// A value as the server has sent it.
struct Bytes<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Bytes<'a> {
    fn from_sql(_: &Type, bytes: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(Some(bytes)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::steady;
    use diesel::connection::Instrumentation;
    use diesel::prelude::*;
    use diesel::sql_types::{BigInt, Bool, Nullable, Text as Words};

    #[derive(Debug, QueryableByName)]
    struct OneWord {
        #[diesel(sql_type = Nullable<Words>)]
        word: Option<String>,
    }

    /// A session on the server that `tests/run.sh` starts, and what has been prepared on it.
    async fn session() -> (Session, Arc<Mutex<Vec<String>>>) {
        let url =
            std::env::var("SKRANKE_TEST_POSTGRES").expect("run the tests by tests/run.sh, which starts PostgreSQL");
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("a server");
        tokio::spawn(connection);
        let heard = Arc::<Mutex<Vec<String>>>::default();
        let ear = heard.clone();
        let listener: Box<dyn Instrumentation> = Box::new(move |event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::CacheQuery { sql, .. } = event {
                ear.lock().expect("no panic").push(sql.to_owned());
            }
        });
        (Session::new(client, Some(listener)), heard)
    }

    async fn words<Q: QueryFragment<Pg> + QueryId>(session: &Session, query: Q) -> QueryResult<Vec<Option<String>>> {
        let ready = session.ready(session.ask(&query)?).await?;
        let rows: Vec<OneWord> = session.rows::<_, diesel::sql_types::Untyped>(ready, usize::MAX).await?;
        Ok(rows.into_iter().map(|row| row.word).collect())
    }

    /// The texts that the server keeps prepared.
    async fn kept(session: &Session) -> Vec<String> {
        let query = diesel::sql_query("SELECT statement AS word FROM pg_prepared_statements");
        words(session, query).await.expect("an answer").into_iter().flatten().collect()
    }

    #[tokio::test]
    async fn what_is_asked_often_stays_prepared_beside_many_others_and_few_are_kept() {
        let (session, prepared) = session().await;
        let text = |kind: &str, nth: usize| format!("SELECT '{kind} {nth}' AS word");
        let ask = async |text: String| {
            let answer = words(&session, steady(diesel::sql_query(&text))).await.expect("an answer");
            assert_eq!(answer.len(), 1);
        };
        let hot: Vec<_> = (0..8).map(|nth| text("hot", nth)).collect();
        for nth in 0..2_000 {
            if nth % 100 == 0 {
                for hot in &hot {
                    ask(hot.clone()).await;
                }
                let kept = kept(&session).await;
                assert!(hot.iter().all(|hot| kept.contains(hot)) && kept.len() <= MOST_KEPT, "{kept:?}");
            }
            ask(text("list", nth)).await;
        }
        assert_eq!(kept(&session).await.len(), MOST_KEPT);
        let prepared = prepared.lock().expect("no panic");
        assert_eq!(prepared.iter().filter(|text| text.contains("hot")).count(), hot.len());
    }

    #[tokio::test]
    async fn what_several_need_at_once_is_prepared_once_and_whoever_goes_away_leaves_nothing_unknown() {
        let (session, prepared) = session().await;
        let query = || steady(diesel::sql_query("SELECT 'once' AS word"));
        let gone = words(&session, query());
        assert!(futures_util::FutureExt::now_or_never(gone).is_none());
        let answers = futures_util::future::join_all((0..20).map(|_| words(&session, query()))).await;
        assert!(answers.into_iter().all(|answer| answer.is_ok_and(|words| words == [Some("once".to_owned())])));
        assert_eq!(kept(&session).await, ["SELECT 'once' AS word"]);
        assert_eq!(prepared.lock().expect("no panic").len(), 1);
    }

    #[tokio::test]
    async fn values_go_there_and_back_whether_or_not_a_statement_is_kept() {
        let (session, prepared) = session().await;
        let query = || {
            let text = "SELECT CASE WHEN $1 THEN $2 || $3::text END AS word";
            diesel::sql_query(text).bind::<Bool, _>(true).bind::<Nullable<Words>, _>(Some("ü")).bind::<BigInt, _>(7)
        };
        for _ in 0..2 {
            assert_eq!(words(&session, query()).await.expect("an answer"), [Some("ü7".to_owned())]);
            assert_eq!(words(&session, steady(query())).await.expect("an answer"), [Some("ü7".to_owned())]);
        }
        let nothing = diesel::sql_query("SELECT $1 AS word").bind::<Nullable<Words>, _>(None::<String>);
        assert_eq!(words(&session, nothing).await.expect("an answer"), [None]);
        assert_eq!(prepared.lock().expect("no panic").len(), 1);
        // The same text for values of other types is another statement.
        let (text, number) = ("SELECT pg_typeof($1)::text AS word", diesel::sql_query);
        let of_text = steady(number(text).bind::<Words, _>("1"));
        assert_eq!(words(&session, of_text).await.expect("an answer"), [Some("text".to_owned())]);
        let of_number = steady(number(text).bind::<BigInt, _>(1));
        assert_eq!(words(&session, of_number).await.expect("an answer"), [Some("bigint".to_owned())]);
        // An error is that of its own statement alone.
        assert!(words(&session, diesel::sql_query("SELECT 1 / 0")).await.is_err());
        assert!(words(&session, steady(diesel::sql_query("SELECT nonsense"))).await.is_err());
        assert_eq!(kept(&session).await.len(), 3);
    }
}
