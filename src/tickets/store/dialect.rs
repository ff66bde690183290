//! What is said differently to each engine: the index of words in [`words`], what is asked of it in [`hits`].

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};

use crate::db::raw::{Raw, raw};
use crate::db::{Conn, EngineConn, RunQueryDsl, on_each};
use crate::kernel::Problem;

pub mod hits;
pub mod words;

/// Whether `conn` is a connection to SQLite.
pub fn is_sqlite(conn: &Conn) -> bool {
    matches!(conn.line, EngineConn::Sqlite(_))
}

/// That a ticket has one of these ids: a single parameter, so that the statement is the same however many there are.
pub fn has_id(conn: &Conn, ids: &[String]) -> Raw<Bool> {
    match conn.line {
        EngineConn::Sqlite(_) => {
            let ids = serde_json::json!(ids).to_string();
            raw("tickets.id IN (SELECT unhex(value, '-') FROM json_each(").bind(ids).sql("))")
        }
        EngineConn::Postgres(_) => {
            raw("tickets.id = ANY (CAST(").bind(format!("{{{}}}", ids.join(","))).sql(" AS uuid[]))")
        }
    }
}

#[derive(Debug, QueryableByName)]
struct OneNumber {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

/// So many numbers that no other ticket gets.
pub async fn next_numbers(tx: &mut Conn, count: usize) -> Result<Vec<i64>, Problem> {
    let query = match tx.line {
        // Nobody else writes before these numbers are used.
        EngineConn::Sqlite(_) => format!(
            "WITH RECURSIVE next (number) AS (SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'tickets'), 0) + 1 \
             UNION ALL SELECT number + 1 FROM next) SELECT number FROM next LIMIT {count}"
        ),
        EngineConn::Postgres(_) => format!(
            "SELECT nextval(pg_get_serial_sequence('tickets', 'number')) AS number FROM generate_series(1, {count})"
        ),
    };
    let rows: Vec<OneNumber> = on_each!(tx, |c| diesel::sql_query(query).load(c).await)?;
    Ok(rows.into_iter().map(|row| row.number).collect())
}

/// Whether the database gives no number up to `number` any more.
pub async fn is_passed(conn: &mut Conn, number: i64) -> Result<bool, Problem> {
    match conn.line {
        EngineConn::Sqlite(_) => Ok(false),
        EngineConn::Postgres(_) => {
            let last = "SELECT last_value AS number FROM tickets_number_seq";
            let rows: Vec<OneNumber> = on_each!(conn, |c| diesel::sql_query(last).load(c).await)?;
            Ok(rows.iter().any(|last| last.number >= number))
        }
    }
}

/// Lets the database give no number up to `number` any more.
pub async fn pass_numbers(tx: &mut Conn, number: i64) -> Result<(), Problem> {
    match tx.line {
        EngineConn::Sqlite(_) => {
            tx.batch(&format!(
                "INSERT INTO sqlite_sequence (name, seq) SELECT 'tickets', 0 WHERE NOT EXISTS \
                 (SELECT 1 FROM sqlite_sequence WHERE name = 'tickets'); \
                 UPDATE sqlite_sequence SET seq = max(seq, {number}) WHERE name = 'tickets'"
            ))
            .await?;
        }
        EngineConn::Postgres(_) => {
            let pass = format!(
                "SELECT setval(pg_get_serial_sequence('tickets', 'number'), \
                 greatest({number}, (SELECT last_value FROM tickets_number_seq))) AS number"
            );
            let _: Vec<OneNumber> = on_each!(tx, |c| diesel::sql_query(pass).load(c).await)?;
        }
    }
    Ok(())
}

/// Whether a page of a search first looks for all hits, which SQLite soon knows to be many.
pub fn tries_hits_first(conn: &Conn) -> bool {
    is_sqlite(conn)
}

/// That a ticket is resolved. It is no parameter, so that the index of those alone is known to have them. SQLite has no
/// statistics and would sooner take one by status and put all of them in order, if it did not believe that half of all
/// tickets are meant.
pub fn is_resolved(conn: &Conn) -> Raw<Bool> {
    raw(match conn.line {
        EngineConn::Sqlite(_) => "likelihood(tickets.status = 'resolved', 0.5)",
        EngineConn::Postgres(_) => "tickets.status = 'resolved'",
    })
}

/// The query for the numbers of at most `$limit` tickets on an [`AccessPath`] from a [`Keyset`] on.
macro_rules! page {
    ($c:ident, $path:expr, $keyset:expr, $limit:expr, $is_sqlite:expr) => {{
        let (path, keyset, limit, is_sqlite): (&AccessPath, Keyset, usize, bool) = ($path, $keyset, $limit, $is_sqlite);
        let to = if keyset.descending { "DESC" } else { "ASC" };
        let order = format!("2 {to}, 1 {to} LIMIT {limit}");
        let mut page = Pieces::<_, BigInt>::new("SELECT number FROM (");
        for (nth, range) in path.behind(keyset, is_sqlite).iter().enumerate() {
            page.text(match (nth, path.overlaps()) {
                (0, _) => "",
                (_, true) => " UNION ",
                (_, false) => " UNION ALL ",
            });
            // SQLite gives the order of the whole to each range.
            page.text(if is_sqlite { "" } else { "SELECT * FROM (" });
            let mut name = "path";
            if range.table == "tickets" && !is_sqlite {
                name = "tickets";
                let all = tickets::table.left_join(ticket_clocks::table);
                let all = all.filter(range.condition(name)).select(raw::<(BigInt, BigInt)>(range.columns(name)));
                page.push(all.filter(meets($c, &path.rest)));
            } else {
                page.text(format!("SELECT {} FROM {} AS path WHERE ", range.columns(name), range.table));
                page.push(range.condition(name));
                push_meets!($c, page, range.number(), path.rest);
            }
            if !is_sqlite {
                // It says its order as the index has it, beginning with what is null, to be recognised: otherwise
                // PostgreSQL sorts all that is null, 100,000 among a million tickets in 0.3 s.
                let null = range.leading_null().map_or(String::new(), |column| format!("{name}.{column} {to}, "));
                page.text(format!(" ORDER BY {null}{order}) AS range"));
            }
        }
        page.text(format!(" ORDER BY {order}) AS page"));
        page
    }};
}
pub(super) use page;
