//! The index of words: FTS5 on SQLite, a `tsvector` with a GIN index on PostgreSQL. Both are given the same words and are
//! asked the same; what differs between them stands here.

use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};

use diesel::expression::{AsExpression, ValidGrouping};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Text};
use diesel::sqlite::Sqlite;

use super::{
    ASSIGNEES, CREATORS, Listed, REQUESTERS, Sieve, Stored, TicketRow, clocks, from_list, listed, narrow, with_names,
};
use crate::audit::domain::Visibility;
use crate::db::raw::{raw, small};
use crate::db::schema::{
    comments, principals, search_backlog, teams, ticket_clocks, ticket_search, ticket_words, tickets,
};
use crate::db::{Conn, Line, RunQueryDsl, boxed, on_each, steady};
use crate::kernel::sql::{self, Lexemes};
use crate::kernel::{Instant, Problem, TicketId};
use crate::tickets::domain::Ticket;
use crate::tickets::domain::search::{Document, Part, Query, Term};
use crate::tickets::wire::{ListOptions, Sort};

/// How many of the newest public and internal comments of a ticket are searched each, so that one more costs no more in a long thread.
const MOST_COMMENTS: i64 = 500;

/// How many characters of a comment are read to be indexed.
const COMMENT_CHARS: i32 = 16_384;

/// How many pages of SQLite's index, of 4 KiB, a transaction that puts something into it merges at most, and one more for each
/// document: that takes a tenth to a third of a page, which is written once more for each of up to nine sizes of parts.
/// Where this is too little for a while, parts of one size become more than four, and the sizes fewer.
const MERGED_PAGES: i32 = 8;

/// Up to how many hits are ranked: it needs all of them. Of more, the newest come first.
const MOST_RANKED: i64 = 10_000;

/// Up to how many hits are fetched and sorted, on SQLite and on PostgreSQL. Of more, a page is found sooner by going through
/// the tickets in their order.
const MOST_SORTED: (i64, i64) = (10_000, 2_000);

/// Among how many tickets for each hit the next hits may be for these to be looked up one by one in SQLite's index. That takes
/// some 100 µs each; to list all hits takes 0.3 µs each.
const NEAR: i64 = 3;

/// How the engines go about it: SQLite cannot know how many tickets have a word, and PostgreSQL knows that of common words
/// alone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// As the engine sees fit.
    Any,
    /// All hits first.
    FromHits,
    /// All hits first, on PostgreSQL: these are their numbers.
    Among(Vec<i64>),
    /// From ticket to ticket, each looked up in the index.
    EachTicket,
    /// From ticket to ticket, by a list of all hits.
    ByList,
}

/// The relevance of hits that are too many to be ranked.
const UNRANKED: i64 = 0;

/// The tickets that a search finds: a condition on `tickets`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    query: Query,
    /// What is looked into.
    upto: Part,
    fts: String,
    tsquery: Matching,
    way: Way,
}

impl Hits {
    /// What `query` finds in the parts up to `upto`; nothing if it asks for nothing.
    pub(super) fn of(query: Query, upto: Part) -> Option<Self> {
        (!query.is_empty()).then(|| Self::within(query, upto, None, upto))
    }

    /// What `query` finds in the parts up to `deep`, and did not yet find in those up to `above`. What it excludes, it
    /// excludes by all parts up to `upto`.
    fn within(query: Query, deep: Part, above: Option<Part>, upto: Part) -> Self {
        let fts = render(&query, deep, above, upto, &Fts);
        let tsquery = Matching(render(&query, deep, above, upto, &Tsquery));
        Self { query, upto, fts, tsquery, way: Way::Any }
    }

    /// Whether there is nothing that a ticket must have.
    fn is_all_but(&self) -> bool {
        self.query.with.is_empty()
    }

    /// The hits by relevance, the best first: with how good they are.
    fn tiers(&self) -> Vec<(i64, Self)> {
        let tier = |deep, above| Self::within(self.query.clone(), deep, above, self.upto);
        let mut tiers = vec![(3, tier(Part::Subject, None)), (2, tier(Part::Body, Some(Part::Subject)))];
        if self.upto > Part::Body {
            tiers.push((1, tier(self.upto, Some(Part::Body))));
        }
        tiers
    }
}

/// A language of queries.
trait Language {
    fn term(&self, term: &Term, deep: Part) -> String;
    fn all(&self, of: &[String]) -> String;
    fn any(&self, of: &[String]) -> String;
    fn but(&self, this: String, not: String) -> String;
}

fn render(query: &Query, deep: Part, above: Option<Part>, upto: Part, by: &impl Language) -> String {
    let terms = |terms: &[Term], deep| terms.iter().map(|term| by.term(term, deep)).collect::<Vec<_>>();
    let mut not = terms(&query.without, upto);
    if query.with.is_empty() {
        return by.any(&not);
    }
    not.extend(above.map(|above| by.all(&terms(&query.with, above))));
    let with = by.all(&terms(&query.with, deep));
    if not.is_empty() { with } else { by.but(with, by.any(&not)) }
}

/// Words have letters and digits alone, so that nothing in quotes needs to be escaped.
struct Fts;

impl Language for Fts {
    fn term(&self, term: &Term, deep: Part) -> String {
        let columns = match deep {
            Part::Subject => "subject",
            Part::Body => "subject body",
            Part::Comments => "subject body comments",
            Part::Internal => "subject body comments internal",
        };
        format!("{{{columns}}} : \"{}\"{}", term.words.join(" "), if term.prefix { " *" } else { "" })
    }
    fn all(&self, of: &[String]) -> String {
        format!("({})", of.join(" AND "))
    }
    fn any(&self, of: &[String]) -> String {
        format!("({})", of.join(" OR "))
    }
    fn but(&self, this: String, not: String) -> String {
        format!("{this} NOT {not}")
    }
}

struct Tsquery;

impl Language for Tsquery {
    fn term(&self, term: &Term, deep: Part) -> String {
        let weights = match deep {
            Part::Subject => "A",
            Part::Body => "AB",
            Part::Comments => "ABC",
            // All: then the index need not ask the row.
            Part::Internal => "",
        };
        let last = term.words.len() - 1;
        let word = |(i, word): (usize, &String)| {
            let star = if term.prefix && i == last { "*" } else { "" };
            let colon = if star.is_empty() && weights.is_empty() { "" } else { ":" };
            format!("'{word}'{colon}{star}{weights}")
        };
        format!("({})", term.words.iter().enumerate().map(word).collect::<Vec<_>>().join(" <-> "))
    }
    fn all(&self, of: &[String]) -> String {
        format!("({})", of.join(" & "))
    }
    fn any(&self, of: &[String]) -> String {
        format!("({})", of.join(" | "))
    }
    fn but(&self, this: String, not: String) -> String {
        format!("{this} & !{not}")
    }
}

impl Expression for Hits {
    type SqlType = Bool;
}
impl<Tables> AppearsOnTable<Tables> for Hits {}
impl<Tables> SelectableExpression<Tables> for Hits {}
impl ValidGrouping<()> for Hits {
    type IsAggregate = diesel::expression::is_aggregate::No;
}
impl QueryId for Hits {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Sqlite> for Hits {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        const THIS_ONE: &str = " AND ticket_words.rowid = tickets.number)";
        let (before, after) = match self.way {
            // What is excluded is found once: words with a beginning would be gathered anew for each ticket.
            _ if self.is_all_but() => ("+tickets.number NOT IN (SELECT ticket_words.rowid", ")"),
            Way::Any | Way::FromHits | Way::Among(_) => ("tickets.number IN (SELECT ticket_words.rowid", ")"),
            // A value of its own, which is not made a join of that begins with the hits.
            Way::EachTicket => ("0 < (SELECT count(*)", THIS_ONE),
            Way::ByList => ("+tickets.number IN (SELECT ticket_words.rowid", ")"),
        };
        out.push_sql(before);
        out.push_sql(" FROM ticket_words WHERE ticket_words MATCH ");
        out.push_bind_param::<Text, _>(&self.fts)?;
        out.push_sql(after);
        Ok(())
    }
}

impl QueryFragment<Pg> for Hits {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        if let Way::Among(numbers) = &self.way {
            out.push_sql("tickets.number = ANY(");
            out.push_bind_param::<Array<BigInt>, _>(numbers)?;
            out.push_sql(")");
            return Ok(());
        }
        out.push_sql(if self.is_all_but() {
            "NOT EXISTS (SELECT 1 FROM ticket_search WHERE ticket_search.ticket_number = tickets.number AND "
        } else {
            "tickets.number IN (SELECT ticket_search.ticket_number FROM ticket_search WHERE "
        });
        self.tsquery.walk_ast(out.reborrow())?;
        out.push_sql(")");
        Ok(())
    }
}

/// What a `tsquery` finds on PostgreSQL: a condition on `ticket_search`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Matching(String);

impl Expression for Matching {
    type SqlType = Bool;
}
impl AppearsOnTable<ticket_search::table> for Matching {}
impl ValidGrouping<()> for Matching {
    type IsAggregate = diesel::expression::is_aggregate::No;
}
impl QueryId for Matching {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Matching {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // Never a plan that was made for other words: how rare they are decides.
        out.unsafe_to_cache_prepared();
        out.push_sql("ticket_search.words @@ CAST(");
        out.push_bind_param::<Text, _>(&self.0)?;
        out.push_sql(" AS tsquery)");
        Ok(())
    }
}

/// A page of the tickets that `sieve` lets through, from behind the key `after`. Each comes with whether its texts are still to
/// be read.
///
/// # Errors
/// When the database is away.
pub(super) async fn list(
    conn: &mut Conn,
    sieve: &Sieve,
    options: &ListOptions,
    after: Option<(i64, i64)>,
) -> Result<Vec<(TicketRow, bool)>, Problem> {
    let ListOptions { sort, limit, cursor: _ } = options;
    let sort = sort.unwrap_or(Sort::CreatedDesc);
    if sort != Sort::Relevance {
        return page(conn, sieve.clone(), sort, after, limit.and_one()).await;
    }
    let ranked = match (&sieve.q, after) {
        (None, _) => None,
        (Some(hits), Some((last, _))) => (last > UNRANKED).then_some(hits),
        (Some(hits), None) => (!are_more_than(conn, hits, MOST_RANKED).await?).then_some(hits),
    };
    let Some(hits) = ranked else {
        let rows = page(conn, sieve.clone(), sort, after, limit.and_one()).await?;
        return Ok(rows.into_iter().map(|(row, lacks)| (TicketRow { relevance: UNRANKED, ..row }, lacks)).collect());
    };
    // The best first, and of equals the newest.
    let mut rows = Vec::new();
    for (tier, hits) in hits.tiers() {
        let after = match after {
            Some((last, _)) if last < tier => continue,
            Some((last, number)) if last == tier => Some((tier, number)),
            _ => None,
        };
        let missing = limit.and_one() - i64::try_from(rows.len()).unwrap_or(i64::MAX);
        if missing <= 0 {
            break;
        }
        let more = page(conn, Sieve { q: Some(hits), ..sieve.clone() }, sort, after, missing).await?;
        rows.extend(more.into_iter().map(|(row, lacks)| (TicketRow { relevance: tier, ..row }, lacks)));
    }
    Ok(rows)
}

/// At most `most` tickets that `sieve` lets through, in their order; those of one relevance by their number. Finds their
/// numbers first, so that only rows of the page are fetched whole.
async fn page(
    conn: &mut Conn,
    mut sieve: Sieve,
    sort: Sort,
    after: Option<(i64, i64)>,
    most: i64,
) -> Result<Vec<(TicketRow, bool)>, Problem> {
    choose_way(conn, &mut sieve, sort, after, most).await?;
    let (column, number) = match sort {
        Sort::Created | Sort::CreatedDesc => ("tickets.created_at", "tickets.number"),
        Sort::Updated | Sort::UpdatedDesc => ("tickets.updated_at", "tickets.number"),
        Sort::Priority | Sort::PriorityDesc => ("tickets.priority_rank", "tickets.number"),
        Sort::Due | Sort::DueDesc => ("ticket_clocks.due_at", "ticket_clocks.ticket_number"),
        Sort::Relevance => ("tickets.number", "tickets.number"),
    };
    let (relation, direction) = match sort {
        Sort::Created | Sort::Updated | Sort::Priority | Sort::Due => (">", "ASC"),
        Sort::CreatedDesc | Sort::UpdatedDesc | Sort::PriorityDesc | Sort::DueDesc | Sort::Relevance => ("<", "DESC"),
    };
    let order = match sort {
        Sort::Relevance => format!("{number} {direction}"),
        _ => format!("{column} {direction}, {number} {direction}"),
    };
    let (stored, lacks) = listed!(conn);
    let rows: Vec<Listed> = on_each!(conn, |c| {
        let found = tickets::table.inner_join(ticket_clocks::table).select(tickets::number);
        let mut found = narrow!(boxed(c, found), sieve);
        if let Some((value, last)) = after {
            let place = raw::<Bool>(format!("({column}, {number}) {relation} ("));
            macro_rules! behind {
                ($type:ty, $value:expr) => {
                    found.filter(place.bind($value).sql(", ").bind(last).sql(")"))
                };
            }
            found = match sort {
                Sort::Relevance => found.filter(tickets::number.lt(last)),
                Sort::Priority | Sort::PriorityDesc => behind!(Integer, i32::try_from(value).unwrap_or(0)),
                _ => behind!(Moment, Instant::from_micros(value)),
            };
        }
        let found = found.order(raw::<Integer>(order.as_str())).limit(most);
        let whole = with_names!(stored, lacks).filter(tickets::number.eq_any(found));
        whole.order(raw::<Integer>(order.as_str())).load(c).await
    })?;
    rows.into_iter().map(from_list).collect()
}

/// Decides by the number of hits, and by how near the next of them are.
async fn choose_way(
    conn: &mut Conn,
    sieve: &mut Sieve,
    sort: Sort,
    after: Option<(i64, i64)>,
    most: i64,
) -> Result<(), Problem> {
    let is_bare = is_bare(sieve);
    let Some(hits) = sieve.q.as_mut().filter(|hits| !hits.is_all_but()) else { return Ok(()) };
    if let Line::Postgres(channel) = &mut conn.line {
        // Read once, with the new words that wait beside the index. Of common words PostgreSQL knows how common they are.
        let some = ticket_search::table
            .filter(hits.tsquery.clone())
            .select(ticket_search::ticket_number)
            .limit(MOST_SORTED.1 + 1);
        let some: Vec<i64> = some.load(&mut channel.backend().session()).await?;
        let few = i64::try_from(some.len()).is_ok_and(|few| few <= MOST_SORTED.1);
        hits.way = if few { Way::Among(some) } else { Way::Any };
        return Ok(());
    }
    let begins = hits.query.with.iter().chain(&hits.query.without).any(|term| term.prefix);
    hits.way = if !are_more_than(conn, hits, MOST_SORTED.0).await? {
        Way::FromHits
    } else if begins {
        // All words with a beginning are gathered each time they are asked for.
        Way::ByList
    } else if sieve.only_of.is_some() || (is_bare && are_near(conn, hits, sort, after, most).await?) {
        // A requester's own tickets are few.
        Way::EachTicket
    } else {
        Way::ByList
    };
    Ok(())
}

/// Whether nothing but a search decides.
fn is_bare(sieve: &Sieve) -> bool {
    // Taken apart whole, so that a new filter does not compile until it is thought of.
    matches!(
        sieve,
        Sieve {
            only_of: None,
            status: None,
            priority: None,
            kind: None,
            channel: None,
            team: None,
            assignee: None,
            requester: None,
            tag: None,
            external_id: None,
            created_after: None,
            created_before: None,
            updated_after: None,
            updated_before: None,
            sla: None,
            q: _,
            now: _,
        }
    )
}

/// Whether the next `most` hits are among few tickets, going by their numbers, on SQLite. Tickets are numbered about as they
/// are created.
async fn are_near(
    conn: &mut Conn,
    hits: &Hits,
    sort: Sort,
    after: Option<(i64, i64)>,
    most: i64,
) -> Result<bool, Problem> {
    let Line::Sqlite(c) = &mut conn.line else { return Ok(false) };
    let found = raw::<Bool>("ticket_words MATCH ").bind(hits.fts.clone());
    let found = ticket_words::table.filter(found).select(ticket_words::rowid).limit(1).offset(most - 1);
    let last = after.map(|(_, number)| number);
    let (first, far): (_, Option<i64>) = match sort {
        Sort::CreatedDesc | Sort::Relevance => {
            let newest = tickets::table.select(tickets::number).order(tickets::number.desc());
            let first = if last.is_some() { last } else { newest.first(c).await.optional()? };
            let before = found.filter(ticket_words::rowid.lt(first.unwrap_or(0))).order(ticket_words::rowid.desc());
            (first, before.first(c).await.optional()?)
        }
        Sort::Created => {
            let first = last.unwrap_or(0);
            let behind = found.filter(ticket_words::rowid.gt(first)).order(ticket_words::rowid.asc());
            (Some(first), behind.first(c).await.optional()?)
        }
        _ => return Ok(false),
    };
    Ok(first.zip(far).is_some_and(|(first, far)| (first - far).abs() <= NEAR * most))
}

/// Whether there are more hits than `most`, whatever else is asked for.
async fn are_more_than(conn: &mut Conn, hits: &Hits, most: i64) -> Result<bool, Problem> {
    if hits.is_all_but() {
        return Ok(true);
    }
    let one_more: Option<i64> = match &mut conn.line {
        Line::Postgres(channel) => {
            let numbers = ticket_search::table.filter(hits.tsquery.clone()).select(ticket_search::ticket_number);
            numbers.limit(1).offset(most).first(&mut channel.backend().session()).await.optional()?
        }
        Line::Sqlite(c) => {
            let found = raw::<Bool>("ticket_words MATCH ").bind(hits.fts.clone());
            let numbers = ticket_words::table.filter(found).select(ticket_words::rowid);
            numbers.limit(1).offset(most).first(c).await.optional()?
        }
    };
    Ok(one_more.is_some())
}

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

/// How many documents were put into SQLite's index since parts of it were last merged.
#[derive(Default)]
struct Unmerged(AtomicI32);

/// Puts documents into the index by the numbers of their tickets, in place of those that were there.
///
/// # Errors
/// A transient problem when another request does so right now.
pub async fn put(tx: &mut Conn, documents: Vec<(i64, Document)>) -> Result<(), Problem> {
    match &mut tx.line {
        Line::Postgres(channel) => {
            let mut rows: Vec<_> = documents
                .into_iter()
                .map(|(number, document)| {
                    (ticket_search::ticket_number.eq(number), ticket_search::words.eq(Words(document)))
                })
                .collect();
            macro_rules! put {
                ($rows:expr) => {
                    diesel::insert_into(ticket_search::table)
                        .values($rows)
                        .on_conflict(ticket_search::ticket_number)
                        .do_update()
                        .set(ticket_search::words.eq(diesel::upsert::excluded(ticket_search::words)))
                };
            }
            // Those of a request, one by one; many at once are many texts, each of them prepared for itself.
            match rows.len() {
                1 => channel.post(steady(put!(rows.remove(0))), Problem::from).await?,
                _ => drop(put!(rows).execute(&mut channel.backend().session()).await?),
            }
        }
        Line::Sqlite(c) => {
            for (number, document) in &documents {
                let row = (
                    ticket_words::rowid.eq(number),
                    ticket_words::subject.eq(document.part(Part::Subject)),
                    ticket_words::body.eq(document.part(Part::Body)),
                    ticket_words::comments.eq(document.part(Part::Comments)),
                    ticket_words::internal.eq(document.part(Part::Internal)),
                );
                diesel::replace_into(ticket_words::table).values(row).execute(c).await?;
            }
            let count = i32::try_from(documents.len()).unwrap_or(i32::MAX);
            tx.kept::<Unmerged>().0.fetch_add(count, Ordering::Relaxed);
        }
    }
    Ok(())
}

/// Merges parts of SQLite's index, as much as goes with the documents that were put into it since this was last done: each is
/// written once more for every size of parts there is, and each transaction does its share of that. It costs nothing when there is
/// nothing to merge, or nothing was put into it.
///
/// # Errors
/// When the database is away.
pub async fn merge_some(tx: &mut Conn) -> Result<(), Problem> {
    match tx.kept::<Unmerged>().0.swap(0, Ordering::Relaxed) {
        0 => Ok(()),
        documents => Ok(tx.batch(&merge(MERGED_PAGES.saturating_add(documents))).await?),
    }
}

/// Begins to write SQLite's index anew, without the words of what is deleted, and writes up to so many `pages` of it.
/// PostgreSQL's rows have no such words; the index over them is cleaned by vacuuming.
///
/// # Errors
/// When the database is away.
pub async fn begin_merge(tx: &mut Conn, pages: u16) -> Result<(), Problem> {
    match tx.line {
        // Less than nothing: all of it, not only where there is much to be gained.
        Line::Sqlite(_) => Ok(tx.batch(&merge(-i32::from(pages))).await?),
        Line::Postgres(_) => Ok(()),
    }
}

/// Goes on with it; gives whether there was something to do.
///
/// # Errors
/// When the database is away.
pub async fn go_on_merging(tx: &mut Conn, pages: u16) -> Result<bool, Problem> {
    let Line::Sqlite(_) = tx.line else { return Ok(false) };
    let before = changes_so_far(tx).await?;
    tx.batch(&merge(i32::from(pages))).await?;
    // The command itself is one.
    Ok(changes_so_far(tx).await? - before > 1)
}

fn merge(pages: i32) -> String {
    format!("INSERT INTO ticket_words (ticket_words, rank) VALUES ('merge', {pages})")
}

async fn changes_so_far(tx: &mut Conn) -> Result<i64, Problem> {
    let Line::Sqlite(c) = &mut tx.line else { return Ok(0) };
    Ok(diesel::select(raw::<BigInt>("total_changes()")).get_result(c).await?)
}

diesel::define_sql_function! {
    /// The first characters of a text.
    fn substr(text: Text, from: Integer, count: Integer) -> Text;
}

/// The newest comments on `ticket`, the newest first: whether they are internal, and their texts, as far as they are
/// searched. Of public and of internal ones as many as there is room for, so that none takes the place of one of the
/// others, which would tell of it.
///
/// # Errors
/// When the database is away.
pub async fn texts(conn: &mut Conn, ticket: TicketId) -> Result<Vec<(bool, String)>, Problem> {
    let newest = newest_texts(conn, ticket, None).await?;
    if i64::try_from(newest.len()).unwrap_or(i64::MAX) < MOST_COMMENTS {
        return Ok(newest);
    }
    let mut each = Vec::new();
    for visibility in Visibility::ALL {
        each.extend(newest_texts(conn, ticket, Some(*visibility)).await?);
    }
    Ok(each)
}

async fn newest_texts(
    conn: &mut Conn,
    ticket: TicketId,
    visibility: Option<Visibility>,
) -> Result<Vec<(bool, String)>, Problem> {
    let rows: Vec<(Visibility, String)> = on_each!(conn, |c| {
        let mut newest = boxed(
            c,
            comments::table
                .filter(comments::ticket_id.eq(ticket))
                .order(comments::id.desc())
                .limit(MOST_COMMENTS)
                .select((comments::visibility, substr(comments::body, 1, COMMENT_CHARS))),
        );
        if let Some(visibility) = visibility {
            newest = newest.filter(comments::visibility.eq(visibility));
        }
        newest.load(c).await
    })?;
    Ok(rows.into_iter().map(|(visibility, body)| (visibility == Visibility::Internal, body)).collect())
}

/// Which of these tickets have comments.
///
/// # Errors
/// When the database is away.
pub async fn commented(conn: &mut Conn, among: Vec<TicketId>) -> Result<Vec<TicketId>, Problem> {
    let query = comments::table.filter(comments::ticket_id.eq_any(among)).select(comments::ticket_id).distinct();
    Ok(on_each!(conn, |c| query.load(c).await)?)
}

/// Until which number tickets wait to be indexed; nothing when none does.
///
/// # Errors
/// When the database is away.
pub async fn backlog(conn: &mut Conn) -> Result<Option<i64>, Problem> {
    let query = search_backlog::table.select(search_backlog::until_number);
    Ok(on_each!(conn, |c| query.first(c).await.optional())?)
}

/// Changes until which number tickets wait to be indexed.
///
/// # Errors
/// A transient problem when another instance does so right now.
pub async fn set_backlog(tx: &mut Conn, until: Option<i64>) -> Result<(), Problem> {
    on_each!(tx, |c| diesel::delete(search_backlog::table).execute(c).await)?;
    if let Some(until) = until {
        let row = search_backlog::until_number.eq(until);
        on_each!(tx, |c| diesel::insert_into(search_backlog::table).values(row).execute(c).await)?;
    }
    Ok(())
}

/// At most `most` tickets with numbers of at most `until`, the newest first.
///
/// # Errors
/// When the database is away.
pub async fn up_to(conn: &mut Conn, until: i64, most: i64) -> Result<Vec<Ticket>, Problem> {
    let query = tickets::table.filter(tickets::number.le(until)).order(tickets::number.desc()).limit(most);
    let rows: Vec<Stored> = on_each!(conn, |c| query.select(Stored::as_select()).load(c).await)?;
    Ok(rows.into_iter().map(Ticket::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_plans_a_search_for_its_own_words() {
        let hits = Hits::of("word".parse().expect("a query"), Part::Internal).expect("asks for something");
        let is_kept = |condition: &dyn QueryFragment<Pg>| condition.is_safe_to_cache_prepared(&Pg).expect("renders");
        assert!(!is_kept(&hits) && !is_kept(&hits.tsquery));
        assert!(is_kept(&Hits { way: Way::Among(vec![1]), ..hits }));
    }
}
