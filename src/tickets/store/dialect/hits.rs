//! How the index of words is asked on each engine: which tickets have a term.

use std::collections::{BTreeSet, HashSet};

use diesel::expression::ValidGrouping;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Bool, Text};
use diesel::sqlite::Sqlite;

use crate::db::raw::raw;
use crate::db::schema::{ticket_lexemes, ticket_words, tickets};
use crate::db::{Conn, EngineConn, RunQueryDsl};
use crate::kernel::Problem;
use crate::tickets::domain::search::{Part, Term};

/// How many bits of the number of a document on SQLite are the number of a comment.
pub const ORDINAL_BITS: u32 = 24;

/// The largest number of a comment that has a document of its own.
pub const MOST_ORDINALS: i64 = (1 << ORDINAL_BITS) - 1;

/// So many bits of a ticket's number tell its place on a shelf. A step of a merge may write all documents of one shelf
/// that have a word, for which whoever writes waits.
const SHELF_BITS: u32 = 15;

/// What stands for the shelf in a search on SQLite. No word has it.
const SHELF: &str = "~";

/// How many documents are read at once behind a ticket that is looked for in SQLite's index. A beginning is put
/// together for a whole shelf before the first of them is read; with a phrase, many others may be passed from one to
/// the next.
const READ_AHEAD: i64 = 64;
const READ_AHEAD_OF_BEGINNINGS: i64 = 2_048;
const READ_AHEAD_OF_PHRASES: i64 = 4;

/// What else costs as much as to read so many documents: to find a place in SQLite's index; to put a beginning
/// together, for a shelf on which it is frequent; to meet a ticket on a walk; to look at its words on PostgreSQL.
pub const FIND_PLACE: i64 = 200;
const BEGINNING: i64 = 8_000;
pub const MEET: i64 = 10;
const LOOK_AT: i64 = 50;

/// By how many words of a phrase, the longest, it is tried whether they are rare.
const WORDS_TRIED: usize = 8;

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
pub fn shelf(ticket: i64) -> String {
    format!("{:05x}", shelf_of(ticket) & 0xf_ffff)
}

const fn shelf_of(ticket: i64) -> i64 {
    ticket >> SHELF_BITS
}

/// What is left of what a page may cost; less than nothing when it has cost more.
#[derive(Debug)]
pub struct Effort(pub i64);

impl Effort {
    pub fn spend(&mut self, documents: i64) {
        self.0 = self.0.saturating_sub(documents);
    }
}

pub fn count<T>(of: &[T]) -> i64 {
    i64::try_from(of.len()).unwrap_or(i64::MAX)
}

/// A term that is looked for in the parts up to some part, in the language of each engine. Words have letters and
/// digits alone, so that nothing in quotes needs to be escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// With [`SHELF`] before each word.
    fts: String,
    tsquery: Matching,
    /// Of a phrase, the words that may be rare, each by itself. Nobody knows how far away the next place is where all
    /// of them follow each other; how frequent a word is, is soon known.
    pub words: Vec<Sought>,
    prefix: bool,
}

impl Sought {
    pub fn of(term: &Term, deep: Part) -> Self {
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

    pub fn whole(term: &Term, deep: Part) -> Self {
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
    pub fn parts(&self) -> &[Self] {
        if self.words.is_empty() { std::slice::from_ref(self) } else { &self.words }
    }

    /// What SQLite is asked on these shelves.
    fn on(&self, shelves: impl Iterator<Item = i64>) -> String {
        shelves.map(|n| self.fts.replace(SHELF, &shelf(n << SHELF_BITS))).collect::<Vec<_>>().join(" OR ")
    }
}

/// The tickets that have a word, in ascending order, if it is in no more than `most` documents.
pub async fn at_most(
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
pub async fn those_with(
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

/// Which of some tickets have a term, on PostgreSQL: each is looked up by its number. The function behind the operator
/// `@@` is no way into the index of words, which would be read for all tickets.
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
            ") AS these (number), LATERAL (SELECT 1 FROM ticket_lexemes \
             WHERE ticket_lexemes.ticket_number = these.number AND ts_match_vq(ticket_lexemes.words, CAST(",
        );
        out.push_bind_param::<Text, _>(&self.tsquery)?;
        out.push_sql(" AS tsquery)) LIMIT 1) AS one");
        Ok(())
    }
}

/// The terms that tickets must have, and those that they must not: a condition on `tickets`.
#[derive(Debug, Clone, PartialEq)]
pub struct SoughtTerms {
    /// All of them.
    pub with: Vec<Sought>,
    /// None of them.
    pub without: Vec<Sought>,
}

impl Expression for SoughtTerms {
    type SqlType = Bool;
}
impl<Tables> AppearsOnTable<Tables> for SoughtTerms {}
impl<Tables> SelectableExpression<Tables> for SoughtTerms {}
impl ValidGrouping<()> for SoughtTerms {
    type IsAggregate = diesel::expression::is_aggregate::No;
}
impl QueryId for SoughtTerms {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Sqlite> for SoughtTerms {
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

impl QueryFragment<Pg> for SoughtTerms {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn postgres_plans_a_search_for_its_own_words() {
        let word = Term { words: vec!["word".into()], prefix: false };
        let hits = SoughtTerms { with: vec![Sought::of(&word, Part::Internal)], without: Vec::new() };
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
