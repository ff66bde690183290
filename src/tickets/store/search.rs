//! The index of words: FTS5 on SQLite, a `tsvector` with a GIN index on PostgreSQL. A ticket is a document in it, and each comment
//! another one. Which tickets have a term is asked term by term, and put together here, the same way on both; what differs
//! between the engines is how the first tickets with a term are found, and which of some tickets have it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant as Stopwatch};

use diesel::expression::{AsExpression, ValidGrouping};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::serialize::{self, IsNull, Output, ToSql};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use super::leads::Order;
use super::list::{Walk, place_of, round, rows, which};
use super::{TicketCriteria, TicketRow};
use crate::audit::domain::Visibility;
use crate::db::raw::raw;
use crate::db::schema::{comments, ticket_lexemes, ticket_words, tickets, words_backlog, words_marks};
use crate::db::{Conn, EngineConn, RunQueryDsl, fault, on_each, send, steady};
use crate::kernel::sql::Lexemes;
use crate::kernel::{CommentId, Problem, TicketId};
use crate::tickets::domain::Ticket;
use crate::tickets::domain::search::{Document, Part, Query, Term};
use crate::tickets::wire::{ListOptions, Sort};

/// The format of the index: how documents are numbered and their words are written and placed. Whoever changes it counts on, writes it into
/// `words_marks` by a migration, and sees there to what instances of the version before write meanwhile: those are not ready any more.
const FORMAT: i32 = 1;

/// How many bits of the number of a document on SQLite are the number of a comment.
const ORDINAL_BITS: u32 = 24;

/// The largest number of a comment that has a document of its own.
const MOST_ORDINALS: i64 = (1 << ORDINAL_BITS) - 1;

/// So many bits of a ticket's number tell its place on a shelf. A step of a merge may write all documents of one shelf that have a
/// word, for which whoever writes waits.
const SHELF_BITS: u32 = 15;

/// What stands for the shelf in a search on SQLite. No word has it.
const SHELF: &str = "~";

/// How many pages of SQLite's index, of 4 KiB, a transaction that puts something into it merges at most: some, and more for each
/// document, which is written once more for each size of parts, at a tenth to a third of a page. There is no more to merge than
/// that on average, so that parts of one size are seldom more than four.
const MERGED_PAGES: i32 = 8;
const MERGED_PAGES_EACH: i32 = 3;
const MOST_MERGED_PAGES: i32 = 256;

/// So many pages are merged at once, and for so long a transaction goes on with it: who writes waits for it. On a busy machine what is left then
/// goes with the next one.
const MERGED_AT_ONCE: i32 = 64;
const MERGING_FOR: Duration = Duration::from_millis(8);

/// Up to how many tickets with one of the words are ranked: it needs all of them. Of more, the newest come first.
const MOST_RANKED: i64 = 10_000;

/// How many documents with a word are looked at first, to see whether they are all, and how many tickets are then gone through in
/// their order, unless a page has more. Each time that was not enough, it is this many times as many, or as many as seem to be missing.
const FIRST_HITS: i64 = 250;
const FIRST_TICKETS: usize = 26;
const GROWTH: usize = 4;

/// PostgreSQL may go through all that it has of a frequent word, however few are asked for: all hits are looked for when a page seems to
/// need more tickets than these.
const SOON: i64 = 4_000;

/// How many documents are read at once behind a ticket that is looked for in SQLite's index. A beginning is put together for a whole
/// shelf before the first of them is read; with a phrase, many others may be passed from one to the next.
const READ_AHEAD: i64 = 64;
const READ_AHEAD_OF_BEGINNINGS: i64 = 2_048;
const READ_AHEAD_OF_PHRASES: i64 = 4;

/// What a page may cost, in documents that are read from the index: some 0.1 to 0.2 µs each. What has cost more ends where it is, with
/// a cursor.
const EFFORT: i64 = 1_000_000;

/// What else costs as much as to read so many documents: to find a place in SQLite's index; to put a beginning together, for a shelf on
/// which it is frequent; to meet a ticket on a walk; to look at its words on PostgreSQL.
const FIND_PLACE: i64 = 200;
const BEGINNING: i64 = 8_000;
const MEET: i64 = 10;
const LOOK_AT: i64 = 50;

/// By how many words of a phrase, the longest, it is tried whether they are rare.
const WORDS_TRIED: usize = 8;

/// How many tickets with a rank are looked at once for what else is asked.
const RANKED_AT_ONCE: usize = 500;

/// The relevance of hits that are too many to be ranked.
const UNRANKED: i64 = 0;

/// Where a document stands: at the number of a ticket, and that of a comment on it, or 0 for the ticket itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The ticket's number.
    pub ticket: i64,
    /// The comment's.
    pub ordinal: i64,
}

impl Place {
    /// The document's number on SQLite.
    pub fn rowid(self) -> i64 {
        (self.ticket << ORDINAL_BITS) | self.ordinal.clamp(0, MOST_ORDINALS)
    }
}

/// The shelf of a ticket on SQLite, as it stands before each of its words.
fn shelf(ticket: i64) -> String {
    format!("{:05x}", shelf_of(ticket) & 0xf_ffff)
}

const fn shelf_of(ticket: i64) -> i64 {
    ticket >> SHELF_BITS
}

/// What is left of what a page may cost; less than nothing when it has cost more.
#[derive(Debug)]
struct Effort(i64);

impl Effort {
    fn spend(&mut self, documents: i64) {
        self.0 = self.0.saturating_sub(documents);
    }
}

/// A term that is looked for in the parts up to some part, in the language of each engine. Words have letters and digits alone, so
/// that nothing in quotes needs to be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sought {
    /// With [`SHELF`] before each word.
    fts: String,
    tsquery: Matching,
    /// Of a phrase, the words that may be rare, each by itself. Nobody knows how far away the next place is where all of them follow each
    /// other; how frequent a word is, is soon known.
    words: Vec<Sought>,
    prefix: bool,
}

impl Sought {
    fn of(term: &Term, deep: Part) -> Self {
        let mut words: Vec<Term> = Vec::new();
        for (nth, word) in term.words.iter().enumerate().filter(|_| term.words.len() > 1) {
            let word = Term { words: vec![word.clone()], prefix: term.prefix && nth + 1 == term.words.len() };
            if !words.contains(&word) {
                words.push(word);
            }
        }
        words.sort_by_key(|word| std::cmp::Reverse(word.words[0].len()));
        Self {
            words: words.iter().take(WORDS_TRIED).map(|word| Self::of(word, deep)).collect(),
            ..Self::whole(term, deep)
        }
    }

    fn whole(term: &Term, deep: Part) -> Self {
        let columns = match deep {
            Part::Subject => "{subject} : ",
            Part::Body => "{subject body} : ",
            Part::Comments => "{subject body comments} : ",
            Part::Internal => "",
        };
        let words: Vec<_> = term.words.iter().map(|word| format!("{SHELF}{word}")).collect();
        let fts = format!("{columns}\"{}\"{}", words.join(" "), if term.prefix { " *" } else { "" });
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
        let tsquery = term.words.iter().enumerate().map(word).collect::<Vec<_>>().join(" <-> ");
        Self { fts, tsquery: Matching(tsquery), words: Vec::new(), prefix: term.prefix }
    }

    /// What to try whether it is rare.
    fn parts(&self) -> &[Self] {
        if self.words.is_empty() { std::slice::from_ref(self) } else { &self.words }
    }

    /// What SQLite is asked on these shelves.
    fn on(&self, shelves: impl Iterator<Item = i64>) -> String {
        shelves.map(|n| self.fts.replace(SHELF, &shelf(n << SHELF_BITS))).collect::<Vec<_>>().join(" OR ")
    }
}

/// The tickets that a search finds: those that have all of some terms and none of others, each in whatever part. For reports it
/// is a condition on `tickets`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    query: Query,
    /// What is looked into.
    upto: Part,
    with: Vec<Sought>,
    without: Vec<Sought>,
}

impl Hits {
    /// What `query` finds in the parts up to `upto`; nothing if it asks for nothing.
    pub(super) fn of(query: Query, upto: Part) -> Option<Self> {
        let sought = |terms: &[Term]| terms.iter().map(|term| Sought::of(term, upto)).collect();
        let (with, without) = (sought(&query.with), sought(&query.without));
        (!query.is_empty()).then_some(Self { query, upto, with, without })
    }

    /// All of them in ascending order, if a word of one of the terms is in no more than `most` documents.
    async fn all(&self, conn: &mut Conn, most: i64, effort: &mut Effort) -> Result<Option<Vec<i64>>, Problem> {
        for (nth, sought) in self.with.iter().enumerate() {
            for part in sought.parts() {
                if let Some(numbers) = at_most(conn, part, most, effort).await? {
                    // Who has a word of a phrase, may not have the phrase.
                    let known = sought.words.is_empty().then_some(nth);
                    return self.among(conn, numbers, known, effort).await.map(Some);
                }
            }
        }
        Ok(None)
    }

    /// What it costs to find all of them, if a word of one of the terms is in `most` documents, each on a ticket far from the others.
    fn cost_of_all(&self, most: i64) -> i64 {
        let parts: i64 = self.with.iter().map(|sought| count(sought.parts())).sum();
        let known = i64::from(self.with.iter().all(|sought| sought.words.is_empty()));
        let looked_for = count(&self.with) + count(&self.without) - known;
        most.saturating_mul(parts + looked_for * FIND_PLACE + MEET)
    }

    /// Which of these tickets it finds, in the same order; all of them are `known` to have one of the terms.
    async fn among(
        &self,
        conn: &mut Conn,
        mut numbers: Vec<i64>,
        known: Option<usize>,
        effort: &mut Effort,
    ) -> Result<Vec<i64>, Problem> {
        for (nth, sought) in self.with.iter().enumerate() {
            if known != Some(nth) {
                let have = those_with(conn, sought, &numbers, effort).await?;
                numbers.retain(|number| have.contains(number));
            }
        }
        for sought in &self.without {
            let have = those_with(conn, sought, &numbers, effort).await?;
            numbers.retain(|number| !have.contains(number));
        }
        Ok(numbers)
    }

    /// How good each of these hits is: 3 if all terms are in its subject, 2 in what it said from the beginning, and 1 otherwise.
    async fn tiers(&self, conn: &mut Conn, hits: &[i64], effort: &mut Effort) -> Result<Vec<(i64, i64)>, Problem> {
        let mut tiers: HashMap<i64, i64> = hits.iter().map(|number| (*number, 1)).collect();
        for (tier, deep) in [(2, Part::Body), (3, Part::Subject)] {
            let mut numbers: Vec<i64> = hits.iter().copied().filter(|number| tiers[number] == tier - 1).collect();
            if deep < self.upto {
                for term in &self.query.with {
                    let have = those_with(conn, &Sought::whole(term, deep), &numbers, effort).await?;
                    numbers.retain(|number| have.contains(number));
                }
            }
            tiers.extend(numbers.into_iter().map(|number| (number, tier)));
        }
        Ok(hits.iter().map(|number| (tiers[number], *number)).collect())
    }
}

/// The tickets that have a word, in ascending order, if it is in no more than `most` documents.
async fn at_most(
    conn: &mut Conn,
    sought: &Sought,
    most: i64,
    effort: &mut Effort,
) -> Result<Option<Vec<i64>>, Problem> {
    let limit = most.saturating_add(1);
    let mut numbers = BTreeSet::new();
    let mut read = 0;
    match &mut conn.line {
        EngineConn::Postgres(channel) => {
            let some = ticket_lexemes::table.filter(sought.tsquery.clone()).select(ticket_lexemes::ticket_number);
            let some: Vec<i64> = some.limit(limit).load(&mut channel.backend().session()).await?;
            read += count(&some);
            numbers.extend(some);
        }
        EngineConn::Sqlite(c) => {
            let newest: Option<i64> =
                tickets::table.select(tickets::number).order(tickets::number.desc()).first(c).await.optional()?;
            // From the newest shelf on, on more of them each time: a word of every ticket is met on the first.
            let (mut below, mut at_once) = (shelf_of(newest.unwrap_or(0)) + 1, 1);
            while below > 0 && read < limit {
                let from = (below - at_once).max(0);
                let some = documents(c, sought.on(from..below), (0, i64::MAX), limit - read).await?;
                read += count(&some);
                numbers.extend(some);
                (below, at_once) = (from, at_once * 4);
            }
        }
    }
    effort.spend(FIND_PLACE + read);
    Ok((read < limit).then(|| numbers.into_iter().collect()))
}

/// Which of these tickets have a term.
async fn those_with(
    conn: &mut Conn,
    sought: &Sought,
    among: &[i64],
    effort: &mut Effort,
) -> Result<HashSet<i64>, Problem> {
    let mut have = HashSet::new();
    if among.is_empty() {
        return Ok(have);
    }
    match &mut conn.line {
        EngineConn::Postgres(channel) => {
            let these = Having { numbers: among.to_vec(), tsquery: sought.tsquery.0.clone() };
            let these: Vec<i64> = these.load(&mut channel.backend().session()).await?;
            effort.spend(count(among).saturating_mul(LOOK_AT));
            have.extend(these);
        }
        EngineConn::Sqlite(c) => {
            let mut among = among.to_vec();
            among.sort_unstable();
            let mut ahead = match (sought.prefix, sought.words.is_empty()) {
                (true, _) => READ_AHEAD_OF_BEGINNINGS,
                (false, true) => READ_AHEAD,
                (false, false) => READ_AHEAD_OF_PHRASES,
            };
            for shelved in among.chunk_by(|a, b| shelf_of(*a) == shelf_of(*b)) {
                let shelf = shelf_of(shelved[0]);
                let (fts, last) = (sought.on(shelf..=shelf), shelved[shelved.len() - 1]);
                let mut left = shelved;
                while let Some(next) = left.first() {
                    let places = (Place { ticket: *next, ordinal: 0 }, Place { ticket: last, ordinal: MOST_ORDINALS });
                    let some = documents(c, fts.clone(), (places.0.rowid(), places.1.rowid()), ahead).await?;
                    let reached = if count(&some) < ahead { None } else { some.last().copied() };
                    // FTS5 goes on to the next place with the phrase, behind the last ticket, too.
                    let passed = reached.unwrap_or(((shelf + 1) << SHELF_BITS) - 1) - next + 1;
                    let together = if sought.prefix { BEGINNING } else { 0 };
                    effort.spend(FIND_PLACE + together + if sought.words.is_empty() { count(&some) } else { passed });
                    if ahead < READ_AHEAD {
                        // As many as are met while as much is passed as it costs to find the place of the next.
                        ahead = (2 * FIND_PLACE * count(&some) / passed).clamp(READ_AHEAD_OF_PHRASES, READ_AHEAD - 1);
                    }
                    have.extend(some);
                    left = reached.map_or(&[], |reached| &left[left.partition_point(|number| *number <= reached)..]);
                }
            }
        }
    }
    Ok(have)
}

/// The tickets of the first documents with numbers between two, by ascending number: one ticket may come several times.
async fn documents(
    c: &mut diesel::SqliteConnection,
    fts: String,
    (from, to): (i64, i64),
    most: i64,
) -> QueryResult<Vec<i64>> {
    let found = raw::<Bool>("ticket_words MATCH ").bind(fts);
    let found = ticket_words::table.filter(found).filter(ticket_words::rowid.ge(from).and(ticket_words::rowid.le(to)));
    let found: Vec<i64> = found.order(ticket_words::rowid).limit(most).select(ticket_words::rowid).load(c).await?;
    Ok(found.into_iter().map(|rowid| rowid >> ORDINAL_BITS).collect())
}

fn count<T>(of: &[T]) -> i64 {
    i64::try_from(of.len()).unwrap_or(i64::MAX)
}

/// Which of some tickets have a term, on PostgreSQL: each is looked up by its number. The function behind the operator `@@` is no
/// way into the index of words, which would be read for all tickets.
struct Having {
    numbers: Vec<i64>,
    tsquery: String,
}

impl diesel::query_builder::Query for Having {
    type SqlType = BigInt;
}
impl QueryId for Having {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Pg> for Having {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("SELECT these.number FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.numbers)?;
        out.push_sql(
            ") AS these (number), LATERAL (SELECT 1 FROM ticket_lexemes WHERE ticket_lexemes.ticket_number = these.number \
             AND ts_match_vq(ticket_lexemes.words, CAST(",
        );
        out.push_bind_param::<Text, _>(&self.tsquery)?;
        out.push_sql(" AS tsquery)) LIMIT 1) AS one");
        Ok(())
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
        // Each is found once, on all shelves.
        let with = self.with.iter().map(|sought| ("tickets.number IN", sought));
        let without = self.without.iter().map(|sought| ("+tickets.number NOT IN", sought));
        for (nth, (relation, sought)) in with.chain(without).enumerate() {
            out.push_sql(if nth == 0 { "" } else { " AND " });
            out.push_sql(relation);
            out.push_sql(&format!(
                " (SELECT ticket_words.rowid >> {ORDINAL_BITS} FROM ticket_words WHERE ticket_words MATCH (\
                 WITH RECURSIVE shelves (n) AS (SELECT coalesce(max(number), 0) >> {SHELF_BITS} FROM tickets \
                 UNION ALL SELECT n - 1 FROM shelves WHERE n > 0) \
                 SELECT group_concat(replace("
            ));
            out.push_bind_param::<Text, _>(&sought.fts)?;
            out.push_sql(&format!(", '{SHELF}', printf('%05x', n & 0xfffff)), ' OR ') FROM shelves))"));
        }
        Ok(())
    }
}

impl QueryFragment<Pg> for Hits {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for (nth, sought) in self.with.iter().enumerate() {
            out.push_sql(if nth == 0 { "" } else { " AND " });
            out.push_sql("tickets.number IN (SELECT ticket_lexemes.ticket_number FROM ticket_lexemes WHERE ");
            sought.tsquery.walk_ast(out.reborrow())?;
            out.push_sql(")");
        }
        for (nth, sought) in self.without.iter().enumerate() {
            out.push_sql(if nth == 0 && self.with.is_empty() { "" } else { " AND " });
            out.push_sql(
                "NOT EXISTS (SELECT 1 FROM ticket_lexemes WHERE ticket_lexemes.ticket_number = tickets.number AND ",
            );
            sought.tsquery.walk_ast(out.reborrow())?;
            out.push_sql(")");
        }
        Ok(())
    }
}

/// What a `tsquery` finds on PostgreSQL: a condition on `ticket_lexemes`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Matching(String);

impl Expression for Matching {
    type SqlType = Bool;
}
impl AppearsOnTable<ticket_lexemes::table> for Matching {}
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
        out.push_sql("ticket_lexemes.words @@ CAST(");
        out.push_bind_param::<Text, _>(&self.0)?;
        out.push_sql(" AS tsquery)");
        Ok(())
    }
}

/// Whether the index can be read. Whoever reads it asks this first, in the same transaction.
///
/// # Errors
/// `unavailable` when it is in a format that only a newer version can read, or when the database is away.
pub async fn readable(conn: &mut Conn) -> Result<(), Problem> {
    let format = words_marks::table.find(1).select(words_marks::format);
    let format: i32 = on_each!(conn, |c| format.first(c).await)?;
    if format > FORMAT {
        return Err(Problem::unavailable("the search index in the database is of a newer version: run that one"));
    }
    Ok(())
}

/// Rows of a page, each with whether its texts are still to be read.
type Found = Vec<(TicketRow, bool)>;

/// A page of the tickets that `hits` finds and `sieve` lets through, from behind the key `after`; and the ticket at which it was given up to
/// look for more, if the next page goes on there.
///
/// # Errors
/// When the database is away.
pub(super) async fn list(
    conn: &mut Conn,
    hits: &Hits,
    sieve: &TicketCriteria,
    options: &ListOptions,
    after: Option<(i64, i64)>,
) -> Result<(Found, Option<TicketRow>), Problem> {
    readable(conn).await?;
    let sort = options.sort.unwrap_or(Sort::CreatedDesc);
    let wanted = usize::try_from(options.limit.and_one()).unwrap_or(usize::MAX);
    let effort = &mut Effort(EFFORT);
    if sort != Sort::Relevance {
        let page = page(conn, hits, sieve, sort, after, wanted, effort).await?;
        return page.rows(conn).await;
    }
    // What the first page has decided, holds for all: of what has become more since, all is found. It is looked for by the rarest word.
    let is_ranked = after.map(|(tier, _)| tier > UNRANKED);
    let (mut all, mut most) = (None, FIRST_HITS);
    while is_ranked != Some(false) && all.is_none() && (is_ranked.is_some() || most <= MOST_RANKED) {
        all = hits.all(conn, most, effort).await?;
        most = if most < MOST_RANKED { MOST_RANKED } else { most.saturating_mul(4) };
    }
    let Some(all) = all else {
        let after = match after {
            Some((_, number)) => place_of(conn, Order::of(sort).0, number).await?,
            None => None,
        };
        let page = page(conn, hits, sieve, sort, after, wanted, effort).await?;
        return page.rows(conn).await;
    };
    // The best first, and of equals the newest.
    let mut ranked = hits.tiers(conn, &all, effort).await?;
    ranked.retain(|place| after.is_none_or(|after| *place < after));
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = Vec::new();
    for some in ranked.chunks(RANKED_AT_ONCE) {
        let numbers: Vec<i64> = some.iter().map(|(_, number)| *number).collect();
        let pass = which(conn, sieve, &numbers).await?;
        found.extend(some.iter().filter(|(_, number)| pass.contains(number)));
        if found.len() >= wanted {
            break;
        }
    }
    found.truncate(wanted);
    let numbers: Vec<i64> = found.iter().map(|(_, number)| *number).collect();
    let tiers: HashMap<i64, i64> = found.into_iter().map(|(tier, number)| (number, tier)).collect();
    let rows = rows(conn, &numbers).await?.into_iter();
    let ranked = rows.map(|(row, lacks)| (TicketRow { relevance: tiers[&row.ticket.number], ..row }, lacks));
    Ok((ranked.collect(), None))
}

/// The numbers of what is on a page, in their order.
struct Numbers {
    found: Vec<i64>,
    /// The ticket at which it was given up to look for more.
    reached: Option<i64>,
}

impl Numbers {
    async fn rows(self, conn: &mut Conn) -> Result<(Found, Option<TicketRow>), Problem> {
        let found = rows(conn, &self.found).await?;
        let reached = match self.reached {
            Some(number) => rows(conn, &[number]).await?.pop().map(|(row, _)| row),
            None => None,
        };
        Ok((found, reached))
    }
}

/// The numbers of the first tickets behind `after`, in their order. Two ways lead to them: by all hits, if these are few, and from
/// ticket to ticket, if many are hits. Nobody knows beforehand which is the shorter, so both are gone in turn, each time further, until
/// the page is full or has cost enough: what is rare among many is found by going on with the cursor.
async fn page(
    conn: &mut Conn,
    hits: &Hits,
    sieve: &TicketCriteria,
    sort: Sort,
    after: Option<(i64, i64)>,
    wanted: usize,
    effort: &mut Effort,
) -> Result<Numbers, Problem> {
    let first = round(FIRST_TICKETS.max(wanted));
    let (mut most, mut at_once) = (FIRST_HITS, first);
    let mut walk: Option<Walk> = None;
    let mut found = Vec::new();
    let (mut met, mut spent) = (0, 0);
    let mut missing = 0;
    loop {
        let may_be_short = match conn.line {
            EngineConn::Sqlite(_) => true,
            EngineConn::Postgres(_) => missing > SOON,
        };
        if may_be_short {
            if (most == FIRST_HITS || hits.cost_of_all(most) <= effort.0)
                && let Some(all) = hits.all(conn, most, effort).await?
            {
                let mut found = Walk::among(all, sieve, sort, after).next(conn, wanted).await?;
                found.truncate(wanted);
                return Ok(Numbers { found, reached: None });
            }
            most = most.saturating_mul(4);
        }
        let walk = match &mut walk {
            Some(walk) => walk,
            None => walk.insert(Walk::open(conn, sieve, sort, after).await?),
        };
        let before = effort.0;
        let some = walk.next(conn, at_once).await?;
        let last = some.last().copied();
        met += count(&some);
        effort.spend(count(&some).saturating_mul(MEET));
        found.extend(hits.among(conn, some, None, effort).await?);
        spent += before - effort.0;
        if found.len() >= wanted || walk.has_ended() || effort.0 <= 0 {
            let reached = last.filter(|_| found.len() < wanted && !walk.has_ended());
            found.truncate(wanted);
            return Ok(Numbers { found, reached });
        }
        // As many as seem to be missing, if there is enough left for them: the next ones will be as those were. They come in few sizes,
        // so that there are few statements.
        let affordable = effort.0.saturating_mul(met) / spent.max(1);
        let lacks = i64::try_from(wanted).unwrap_or(i64::MAX) - count(&found);
        missing = met.saturating_mul(lacks) / count(&found).max(1);
        let largest = at_once.saturating_mul(GROWTH);
        at_once = first;
        while at_once < largest && i64::try_from(at_once).is_ok_and(|size| size < missing && size * 2 <= affordable) {
            at_once *= 2;
        }
    }
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
///
/// # Errors
/// When the database is away.
pub async fn ordinal(tx: &mut Conn, comment: CommentId) -> Result<Option<i64>, Problem> {
    let EngineConn::Sqlite(c) = &mut tx.line else { return Ok(None) };
    let query = comments::table.filter(comments::id.eq(comment)).select(comments::number);
    Ok(query.first(c).await?)
}

/// The largest number of a comment on `ticket`; 0 when none has one.
///
/// # Errors
/// When the database is away.
pub async fn last_ordinal(tx: &mut Conn, ticket: TicketId) -> Result<i64, Problem> {
    let query = comments::table.filter(comments::ticket_id.eq(ticket)).order(comments::number.desc());
    let query = query.filter(comments::number.is_not_null()).select(comments::number);
    let last: Option<Option<i64>> = on_each!(tx, |c| query.first(c).await.optional())?;
    Ok(last.flatten().unwrap_or(0))
}

/// Lets the comments with numbers up to `last`'s be found by nothing more. On PostgreSQL they stay, without words, so that who
/// puts one into the index at the same time is told so.
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

/// Merges parts of SQLite's index, as much as goes with the documents that were put into it since this was last done: each is
/// written once more for every size of parts there is, and each transaction does its share of that. It costs nothing when there is
/// nothing to merge, or nothing was put into it.
///
/// # Errors
/// When the database is away.
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
///
/// # Errors
/// When the database is away.
pub async fn begin_merge(tx: &mut Conn, pages: u16) -> Result<(), Problem> {
    match tx.line {
        // Less than nothing: all of it, not only where there is much to be gained.
        EngineConn::Sqlite(_) => Ok(tx.batch(&merge(-i32::from(pages))).await?),
        EngineConn::Postgres(_) => Ok(()),
    }
}

/// Goes on with it; gives whether there was something to do.
///
/// # Errors
/// When the database is away.
pub async fn go_on_merging(tx: &mut Conn, pages: u16) -> Result<bool, Problem> {
    let EngineConn::Sqlite(_) = tx.line else { return Ok(false) };
    let before = changes_so_far(tx).await?;
    tx.batch(&merge(i32::from(pages))).await?;
    // The command itself is one.
    Ok(changes_so_far(tx).await? - before > 1)
}

/// Whether SQLite's index can be read whole, which is all derived. PostgreSQL's is a table as others are.
///
/// # Errors
/// When the database is away.
pub async fn is_whole(conn: &mut Conn) -> Result<bool, Problem> {
    let EngineConn::Sqlite(sqlite) = &mut conn.line else { return Ok(true) };
    let all = diesel::dsl::sql::<Bool>(
        "SELECT count(*) = 0 FROM pragma_integrity_check('ticket_words') WHERE integrity_check <> 'ok'",
    );
    // What cannot even be looked at is not whole.
    Ok(diesel::RunQueryDsl::get_result(all, sqlite).unwrap_or(false))
}

/// Takes all words out of SQLite's index, without reading it.
///
/// # Errors
/// When the database is away.
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

/// Two who numbered comments on one ticket raced: the next attempt takes the next number.
pub fn number_taken(error: diesel::result::Error) -> Problem {
    if fault::is_duplicate(&error, "comments_number_key", "comments.ticket_id, comments.number") {
        return Problem::transient(error);
    }
    error.into()
}

/// Numbers at most `most` comments on `ticket` that have none, since they are of a version before; gives how many.
///
/// # Errors
/// When the database is away.
pub async fn number_comments(tx: &mut Conn, ticket: TicketId, most: usize) -> Result<usize, Problem> {
    let without = comments::table.filter(comments::ticket_id.eq(ticket).and(comments::number.is_null()));
    let without = without.order(comments::id).limit(i64::try_from(most).unwrap_or(i64::MAX)).select(comments::id);
    let without: Vec<CommentId> = on_each!(tx, |c| without.load(c).await)?;
    if without.is_empty() {
        return Ok(0);
    }
    let last = last_ordinal(tx, ticket).await?;
    for (id, number) in without.iter().zip(last + 1..) {
        let numbered = diesel::update(comments::table.find(*id)).set(comments::number.eq(Some(number)));
        send!(tx, steady(numbered), number_taken)?;
    }
    Ok(without.len())
}

/// At most `most` comments on `ticket` with numbers from `from` on, by their numbers: whether they are internal, and their texts.
///
/// # Errors
/// When the database is away.
pub async fn texts(
    conn: &mut Conn,
    ticket: TicketId,
    from: i64,
    most: usize,
) -> Result<Vec<(i64, bool, String)>, Problem> {
    let these = comments::table.filter(comments::ticket_id.eq(ticket).and(comments::number.ge(from.max(1))));
    let these = these.order(comments::number).limit(i64::try_from(most).unwrap_or(i64::MAX));
    let these = these.select((comments::number.assume_not_null(), comments::visibility, comments::body));
    let rows: Vec<(i64, Visibility, String)> = on_each!(conn, |c| these.load(c).await)?;
    Ok(rows.into_iter().map(|(number, sight, body)| (number, sight == Visibility::Internal, body)).collect())
}

/// Which of these tickets have comments.
///
/// # Errors
/// When the database is away.
pub async fn commented(conn: &mut Conn, among: Vec<TicketId>) -> Result<Vec<TicketId>, Problem> {
    let query = comments::table.filter(comments::ticket_id.eq_any(among)).select(comments::ticket_id).distinct();
    Ok(on_each!(conn, |c| query.load(c).await)?)
}

/// Tickets that wait to be indexed, from the one with the largest number on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct Waiting {
    /// The largest number.
    pub until: i64,
    /// The smallest.
    pub from: i64,
    /// From which number on the comments of the first of them wait; with 0, the ticket itself, too.
    pub next_comment: i64,
}

/// The newest tickets that wait to be indexed.
///
/// # Errors
/// As [`readable`].
pub async fn waiting(conn: &mut Conn) -> Result<Option<Waiting>, Problem> {
    readable(conn).await?;
    let newest = words_backlog::table.order(words_backlog::until_number.desc());
    Ok(on_each!(conn, |c| newest.first(c).await.optional())?)
}

/// Lets `left` wait in place of all that begins where `done` or `left` does.
///
/// # Errors
/// A transient problem when another instance does so right now.
pub async fn set_waiting(tx: &mut Conn, done: Waiting, left: Option<Waiting>) -> Result<(), Problem> {
    remove_waiting(tx, done.until).await?;
    let Some(mut left) = left else { return Ok(()) };
    let there = words_backlog::table.filter(words_backlog::until_number.eq(left.until));
    let there: Option<Waiting> = on_each!(tx, |c| there.first(c).await.optional())?;
    if let Some(there) = there {
        left.from = left.from.min(there.from);
        left.next_comment = left.next_comment.min(there.next_comment);
        remove_waiting(tx, left.until).await?;
    }
    let row = (
        words_backlog::until_number.eq(left.until),
        words_backlog::from_number.eq(left.from),
        words_backlog::next_comment.eq(left.next_comment),
    );
    on_each!(tx, |c| diesel::insert_into(words_backlog::table).values(row).execute(c).await)?;
    Ok(())
}

async fn remove_waiting(tx: &mut Conn, until: i64) -> Result<(), Problem> {
    let row = words_backlog::table.filter(words_backlog::until_number.eq(until));
    on_each!(tx, |c| diesel::delete(row).execute(c).await)?;
    Ok(())
}

/// At most `most` of the tickets that wait, the newest first.
///
/// # Errors
/// When the database is away.
pub async fn newest(conn: &mut Conn, waiting: &Waiting, most: u16) -> Result<Vec<Ticket>, Problem> {
    let these = tickets::table.filter(tickets::number.between(waiting.from, waiting.until));
    let these = these.order(tickets::number.desc()).limit(most.into());
    Ok(on_each!(conn, |c| these.select(Ticket::as_select()).load(c).await)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_plans_a_search_for_its_own_words() {
        let hits = Hits::of("word".parse().expect("a query"), Part::Internal).expect("asks for something");
        let is_kept = |condition: &dyn QueryFragment<Pg>| condition.is_safe_to_cache_prepared(&Pg).expect("renders");
        assert!(!is_kept(&hits) && !is_kept(&hits.with[0].tsquery));
        // Where each ticket is looked up by its number, one plan is good for all words.
        assert!(is_kept(&Having { numbers: vec![1], tsquery: "word".into() }));
    }

    #[test]
    fn documents_of_a_ticket_are_a_range() {
        let place = |ticket, ordinal| Place { ticket, ordinal }.rowid();
        assert!(place(1, i64::MAX) < place(2, 0) && place(2, 0) < place(2, 1));
        assert_eq!(place(7, 9) >> ORDINAL_BITS, 7);
        assert_eq!([shelf(0), shelf((1 << SHELF_BITS) - 1), shelf(1 << SHELF_BITS)], ["00000", "00000", "00001"]);
    }
}
