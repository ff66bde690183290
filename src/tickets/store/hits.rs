//! What a search finds in the index of words: FTS5 on SQLite, a `tsvector` with a GIN index on PostgreSQL. Which
//! tickets have a term is asked term by term, as the [`dialect`](super::dialect) of each engine goes, and put together
//! here, the same way on both.

use std::collections::HashMap;

use diesel::prelude::*;

use super::dialect::hits::{Effort, FIND_PLACE, MEET, Sought, SoughtTerms, at_most, count, those_with};
use crate::db::schema::words_marks;
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::Problem;
use crate::tickets::domain::search::{Part, Query, Term};

/// The format of the index: how documents are numbered and their words are written and placed. Whoever changes it
/// counts on, writes it into `words_marks` by a migration, and sees there to what instances of the version before write
/// meanwhile: those are not ready any more.
const FORMAT: i32 = 2;

/// The tickets that a search finds: those that have all of some terms and none of others, each in whatever part.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    query: Query,
    /// What is looked into.
    upto: Part,
    terms: SoughtTerms,
}

impl Hits {
    /// What `query` finds in the parts up to `upto`; nothing if it asks for nothing.
    pub fn of(query: Query, upto: Part) -> Option<Self> {
        let sought = |terms: &[Term]| terms.iter().map(|term| Sought::of(term, upto)).collect();
        let terms = SoughtTerms { with: sought(&query.with), without: sought(&query.without) };
        (!query.is_empty()).then_some(Self { query, upto, terms })
    }

    /// What is looked for.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// The same as a condition on `tickets`, which looks into all of the index.
    pub(crate) fn condition(&self) -> SoughtTerms {
        self.terms.clone()
    }

    /// All of them in ascending order, if a word of one of the terms is in no more than `most` documents.
    pub(super) async fn all(
        &self,
        conn: &mut Conn,
        most: i64,
        effort: &mut Effort,
    ) -> Result<Option<Vec<i64>>, Problem> {
        for (nth, sought) in self.terms.with.iter().enumerate() {
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

    /// What it costs to find all of them, if a word of one of the terms is in `most` documents, each on a ticket far
    /// from the others.
    pub(super) fn cost_of_all(&self, most: i64) -> i64 {
        let parts: i64 = self.terms.with.iter().map(|sought| count(sought.parts())).sum();
        let known = i64::from(self.terms.with.iter().all(|sought| sought.words.is_empty()));
        let looked_for = count(&self.terms.with) + count(&self.terms.without) - known;
        most.saturating_mul(parts + looked_for * FIND_PLACE + MEET)
    }

    /// Which of these tickets it finds, in the same order; all of them are `known` to have one of the terms.
    pub(super) async fn among(
        &self,
        conn: &mut Conn,
        mut numbers: Vec<i64>,
        known: Option<usize>,
        effort: &mut Effort,
    ) -> Result<Vec<i64>, Problem> {
        for (nth, sought) in self.terms.with.iter().enumerate() {
            if known != Some(nth) {
                let have = those_with(conn, sought, &numbers, effort).await?;
                numbers.retain(|number| have.contains(number));
            }
        }
        for sought in &self.terms.without {
            let have = those_with(conn, sought, &numbers, effort).await?;
            numbers.retain(|number| !have.contains(number));
        }
        Ok(numbers)
    }

    /// How good each of these hits is: 3 if all terms are in its subject, 2 in what it said from the beginning, and 1
    /// otherwise.
    pub(super) async fn tiers(
        &self,
        conn: &mut Conn,
        hits: &[i64],
        effort: &mut Effort,
    ) -> Result<Vec<(i64, i64)>, Problem> {
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

/// Whether the index can be read. Whoever reads it asks this first, in the same transaction.
///
/// # Errors
/// `unavailable` when it is in a format that only a newer version can read.
pub async fn readable(conn: &mut Conn) -> Result<(), Problem> {
    let format = words_marks::table.find(1).select(words_marks::format);
    let format: i32 = on_each!(conn, |c| format.first(c).await)?;
    if format > FORMAT {
        return Err(Problem::unavailable("the search index in the database is of a newer version: run that one"));
    }
    Ok(())
}
