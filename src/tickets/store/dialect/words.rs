//! How the index of words is written on each engine: FTS5 on SQLite, rows with a `tsvector` and a GIN index on
//! PostgreSQL.

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use diesel::expression::AsExpression;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{BigInt, Bool};

use super::hits::{Place, shelf};
use crate::db::raw::raw;
use crate::db::schema::{comments, ticket_lexemes, ticket_words};
use crate::db::{Conn, EngineConn, RunQueryDsl, steady};
use crate::kernel::sql::Lexemes;
use crate::kernel::{CommentId, Problem, TicketId};
use crate::tickets::domain::search::{Document, Part};

/// How many pages of SQLite's index, of 4 KiB, a transaction that puts something into it merges at most: some, and more
/// for each document, which is written once more for each size of parts, at a tenth to a third of a page. There is no
/// more to merge than that on average, so that parts of one size are seldom more than four.
const MERGED_PAGES: i32 = 8;
const MERGED_PAGES_EACH: i32 = 3;
const MOST_MERGED_PAGES: i32 = 256;

/// So many pages are merged at once, and for so long a transaction goes on with it: who writes waits for it. On a busy
/// machine what is left then goes with the next one.
const MERGED_AT_ONCE: i32 = 64;
const MERGING_FOR: Duration = Duration::from_millis(8);

/// A document as PostgreSQL's binary `tsvector`.
#[derive(Debug, AsExpression)]
#[diesel(sql_type = Lexemes)]
struct Words(Document);

impl ToSql<Lexemes, Pg> for Words {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let words = self.0.places();
        out.write_all(&u32::try_from(words.len())?.to_be_bytes())?;
        for (word, places) in words {
            out.write_all(word.as_bytes())?;
            out.write_all(&[0])?;
            out.write_all(&u16::try_from(places.len())?.to_be_bytes())?;
            for (part, place) in places {
                let weight: u16 = match part {
                    Part::Subject => 3,
                    Part::Body => 2,
                    Part::Comments => 1,
                    Part::Internal => 0,
                };
                out.write_all(&(weight << 14 | place).to_be_bytes())?;
            }
        }
        Ok(IsNull::No)
    }
}

/// Puts a row, or rows, into PostgreSQL's index.
macro_rules! put {
    ($rows:expr) => {
        diesel::insert_into(ticket_lexemes::table)
            .values($rows)
            .on_conflict((ticket_lexemes::ticket_number, ticket_lexemes::ordinal))
            .do_update()
            .set(ticket_lexemes::words.eq(diesel::upsert::excluded(ticket_lexemes::words)))
    };
}

/// How many documents were put into SQLite's index since parts of it were last merged.
#[derive(Default)]
struct Unmerged(AtomicI32);

/// Puts documents into the index, in place of those that were there.
///
/// # Errors
/// A transient problem when another request does so right now.
pub async fn put(tx: &mut Conn, documents: Vec<(Place, Document)>) -> Result<(), Problem> {
    match &mut tx.line {
        EngineConn::Postgres(channel) => {
            let mut rows: Vec<_> = documents
                .into_iter()
                .map(|(place, document)| {
                    (
                        ticket_lexemes::ticket_number.eq(place.ticket),
                        ticket_lexemes::ordinal.eq(place.ordinal),
                        ticket_lexemes::words.eq(Words(document)),
                    )
                })
                .collect();
            // Those of a request, one by one; many at once are many texts, each of them prepared for itself.
            match rows.len() {
                1 => channel.post(steady(put!(rows.remove(0))), Problem::from).await?,
                _ => drop(put!(rows).execute(&mut channel.backend().session()).await?),
            }
        }
        EngineConn::Sqlite(c) => {
            for (place, document) in &documents {
                let shelf = shelf(place.ticket);
                let words = |part| {
                    let words = document.part(part).split_ascii_whitespace().map(|word| format!("{shelf}{word}"));
                    words.collect::<Vec<_>>().join(" ")
                };
                let row = (
                    ticket_words::rowid.eq(place.rowid()),
                    ticket_words::subject.eq(words(Part::Subject)),
                    ticket_words::body.eq(words(Part::Body)),
                    ticket_words::comments.eq(words(Part::Comments)),
                    ticket_words::internal.eq(words(Part::Internal)),
                );
                diesel::replace_into(ticket_words::table).values(row).execute(c).await?;
            }
            let count = i32::try_from(documents.len()).unwrap_or(i32::MAX);
            tx.kept::<Unmerged>().0.fetch_add(count, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Puts the document of a comment on the ticket `number` into PostgreSQL's index: where it stands is known there.
///
/// # Errors
/// A transient problem when another request does so right now.
pub async fn put_comment(tx: &mut Conn, number: i64, comment: CommentId, document: Document) -> Result<(), Problem> {
    let EngineConn::Postgres(channel) = &mut tx.line else { return Ok(()) };
    let ordinal = raw::<BigInt>("(SELECT comments.number FROM comments WHERE comments.id = ").bind(comment).sql(")");
    let row = (
        ticket_lexemes::ticket_number.eq(number),
        ticket_lexemes::ordinal.eq(ordinal),
        ticket_lexemes::words.eq(Words(document)),
    );
    channel.post(steady(put!(row)), Problem::from).await
}

/// The number of a comment on its ticket, on SQLite; see [`put_comment`] for PostgreSQL, which is not asked.
pub async fn ordinal(tx: &mut Conn, comment: CommentId) -> Result<Option<i64>, Problem> {
    let EngineConn::Sqlite(c) = &mut tx.line else { return Ok(None) };
    let query = comments::table.filter(comments::id.eq(comment)).select(comments::number);
    Ok(query.first(c).await?)
}

/// Lets the comments with numbers up to `last`'s be found by nothing more. On PostgreSQL they stay, without words, so
/// that who puts one into the index at the same time is told so.
///
/// # Errors
/// A transient problem when another request does so right now.
pub async fn empty_comments(tx: &mut Conn, ticket: TicketId, last: Place) -> Result<(), Problem> {
    match &mut tx.line {
        EngineConn::Postgres(channel) => {
            let numbered = comments::table
                .filter(comments::ticket_id.eq(ticket).and(comments::number.between(1, last.ordinal)))
                .select((
                    raw::<BigInt>("CAST(").bind(last.ticket).sql(" AS bigint)"),
                    comments::number.assume_not_null(),
                    raw::<Lexemes>("CAST('' AS tsvector)"),
                ));
            let emptied = diesel::insert_into(ticket_lexemes::table).values(numbered).into_columns((
                ticket_lexemes::ticket_number,
                ticket_lexemes::ordinal,
                ticket_lexemes::words,
            ));
            let emptied = emptied
                .on_conflict((ticket_lexemes::ticket_number, ticket_lexemes::ordinal))
                .do_update()
                .set(ticket_lexemes::words.eq(diesel::upsert::excluded(ticket_lexemes::words)));
            emptied.execute(&mut channel.backend().session()).await?;
        }
        EngineConn::Sqlite(c) => {
            let first = Place { ordinal: 1, ..last };
            let these = ticket_words::rowid.between(first.rowid(), last.rowid());
            diesel::delete(ticket_words::table.filter(these)).execute(c).await?;
        }
    }
    Ok(())
}

/// Merges parts of SQLite's index, as much as goes with the documents that were put into it since this was last done:
/// each is written once more for every size of parts there is, and each transaction does its share of that. It costs
/// nothing when there is nothing to merge, or nothing was put into it.
pub async fn merge_some(tx: &mut Conn) -> Result<(), Problem> {
    match tx.kept::<Unmerged>().0.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        documents => {
            let begun = Stopwatch::now();
            let pages = MERGED_PAGES.saturating_add(documents.saturating_mul(MERGED_PAGES_EACH));
            let mut left = pages.min(MOST_MERGED_PAGES);
            while left > 0 && begun.elapsed() < MERGING_FOR {
                let some = left.min(MERGED_AT_ONCE);
                tx.batch(&merge(some)).await?;
                left -= some;
            }
            tx.kept::<Unmerged>().0.fetch_add(left / MERGED_PAGES_EACH, Ordering::Relaxed);
            Ok(())
        }
    }
}

/// Begins to write SQLite's index anew, without the words of what is deleted, and writes up to so many `pages` of it.
/// PostgreSQL's rows have no such words; the index over them is cleaned by vacuuming.
pub async fn begin_merge(tx: &mut Conn, pages: u16) -> Result<(), Problem> {
    match tx.line {
        // Less than nothing: all of it, not only where there is much to be gained.
        EngineConn::Sqlite(_) => Ok(tx.batch(&merge(-i32::from(pages))).await?),
        EngineConn::Postgres(_) => Ok(()),
    }
}

/// Goes on with it; gives whether there was something to do.
pub async fn go_on_merging(tx: &mut Conn, pages: u16) -> Result<bool, Problem> {
    let EngineConn::Sqlite(_) = tx.line else { return Ok(false) };
    let before = changes_so_far(tx).await?;
    tx.batch(&merge(i32::from(pages))).await?;
    // The command itself is one.
    Ok(changes_so_far(tx).await? - before > 1)
}

/// Whether SQLite's index can be read whole, which is all derived. PostgreSQL's is a table as others are.
pub async fn is_whole(conn: &mut Conn) -> Result<bool, Problem> {
    let EngineConn::Sqlite(sqlite) = &mut conn.line else { return Ok(true) };
    let all = diesel::dsl::sql::<Bool>(
        "SELECT count(*) = 0 FROM pragma_integrity_check('ticket_words') WHERE integrity_check <> 'ok'",
    );
    // What cannot even be looked at is not whole.
    Ok(diesel::RunQueryDsl::get_result(all, sqlite).unwrap_or(false))
}

/// Takes all words out of SQLite's index, without reading it.
pub async fn empty(tx: &mut Conn) -> Result<(), Problem> {
    match tx.line {
        EngineConn::Sqlite(_) => Ok(tx.batch("INSERT INTO ticket_words (ticket_words) VALUES ('delete-all')").await?),
        EngineConn::Postgres(_) => Ok(()),
    }
}

fn merge(pages: i32) -> String {
    format!("INSERT INTO ticket_words (ticket_words, rank) VALUES ('merge', {pages})")
}

async fn changes_so_far(tx: &mut Conn) -> Result<i64, Problem> {
    let EngineConn::Sqlite(c) = &mut tx.line else { return Ok(0) };
    Ok(diesel::select(raw::<BigInt>("total_changes()")).get_result(c).await?)
}
