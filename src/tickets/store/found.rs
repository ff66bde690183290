//! A page of the tickets that a search finds.

use std::collections::{HashMap, HashSet};

use super::access::{Keyset, Order};
use super::criteria::TicketCriteria;
use super::dialect::hits::{Effort, MEET, count};
use super::dialect::tries_hits_first;
use super::hits::{Hits, readable};
use super::page::{ListWalk, keys, round};
use crate::db::Conn;
use crate::kernel::Problem;
use crate::tickets::domain::listing::Sort;

/// Up to how many tickets with one of the words are ranked: it needs all of them. Of more, the newest come first.
const MOST_RANKED: i64 = 10_000;

/// How many documents with a word are looked at first, to see whether they are all, and how many tickets are then gone
/// through in their order, unless a page has more. Each time that was not enough, it is this many times as many, or as
/// many as seem to be missing.
const FIRST_HITS: i64 = 250;
const FIRST_TICKETS: usize = 26;
const GROWTH: usize = 4;

/// PostgreSQL may go through all that it has of a frequent word, however few are asked for: all hits are looked for
/// when a page seems to need more tickets than these.
const SOON: i64 = 4_000;

/// What a page may cost, in documents that are read from the index: some 0.1 to 0.2 µs each. What has cost more ends
/// where it is, with a cursor.
const EFFORT: i64 = 1_000_000;

/// How many tickets with a rank are looked at once for what else is asked.
const RANKED_AT_ONCE: usize = 500;

/// The relevance of hits that are too many to be ranked.
const UNRANKED: i64 = 0;

/// What is on a page.
#[derive(Debug, Default)]
pub struct SearchPage {
    /// The numbers of its tickets, in their order.
    pub numbers: Vec<i64>,
    /// How well each of them answers, if that was told.
    pub relevance: HashMap<i64, i64>,
    /// The ticket at which it was given up to look for more, if the next page goes on there.
    pub reached: Option<i64>,
}

/// A page of the tickets that `hits` finds and that meet `criteria`, from behind the key `after`.
///
/// # Errors
/// As [`readable`].
pub async fn find(
    conn: &mut Conn,
    hits: &Hits,
    criteria: &TicketCriteria,
    sort: Sort,
    wanted: usize,
    after: Option<(i64, i64)>,
) -> Result<SearchPage, Problem> {
    readable(conn).await?;
    let (order, descending) = Order::of(sort);
    let effort = &mut Effort(EFFORT);
    if sort != Sort::Relevance {
        return page(conn, hits, criteria, Keyset { order, descending, after }, wanted, effort).await;
    }
    // What the first page has decided, holds for all: of what has become more since, all is found. It is looked for by
    // the rarest word.
    let is_ranked = after.map(|(tier, _)| tier > UNRANKED);
    let (mut all, mut most) = (None, FIRST_HITS);
    while is_ranked != Some(false) && all.is_none() && (is_ranked.is_some() || most <= MOST_RANKED) {
        all = hits.all(conn, most, effort).await?;
        most = if most < MOST_RANKED { MOST_RANKED } else { most.saturating_mul(4) };
    }
    let Some(all) = all else {
        let after = match after {
            Some((_, number)) => keys(conn, &TicketCriteria::all(criteria.now), order, &[number]).await?.pop(),
            None => None,
        };
        return page(conn, hits, criteria, Keyset { order, descending, after }, wanted, effort).await;
    };
    // The best first, and of equals the newest.
    let mut ranked = hits.tiers(conn, &all, effort).await?;
    ranked.retain(|place| after.is_none_or(|after| *place < after));
    ranked.sort_unstable_by(|a, b| b.cmp(a));
    let mut found = SearchPage::default();
    for some in ranked.chunks(RANKED_AT_ONCE) {
        let numbers: Vec<i64> = some.iter().map(|(_, number)| *number).collect();
        let keys = keys(conn, criteria, order, &numbers).await?;
        let pass: HashSet<i64> = keys.into_iter().map(|(_, number)| number).collect();
        for (tier, number) in some.iter().filter(|(_, number)| pass.contains(number)) {
            found.numbers.push(*number);
            found.relevance.insert(*number, *tier);
        }
        if found.numbers.len() >= wanted {
            break;
        }
    }
    found.numbers.truncate(wanted);
    Ok(found)
}

/// The numbers of the first tickets from `keyset` on, in their order. Two ways lead to them: by all hits, if these are
/// few, and from ticket to ticket, if many are hits. Nobody knows beforehand which is the shorter, so both are gone in
/// turn, each time further, until the page is full or has cost enough: what is rare among many is found by going on
/// with the cursor.
async fn page(
    conn: &mut Conn,
    hits: &Hits,
    criteria: &TicketCriteria,
    keyset: Keyset,
    wanted: usize,
    effort: &mut Effort,
) -> Result<SearchPage, Problem> {
    let first = round(FIRST_TICKETS.max(wanted));
    let (mut most, mut at_once) = (FIRST_HITS, first);
    let mut walk: Option<ListWalk> = None;
    let mut found = Vec::new();
    let (mut met, mut spent) = (0, 0);
    let mut missing = 0;
    loop {
        if tries_hits_first(conn) || missing > SOON {
            if (most == FIRST_HITS || hits.cost_of_all(most) <= effort.0)
                && let Some(all) = hits.all(conn, most, effort).await?
            {
                let mut numbers = ListWalk::among(all, criteria, keyset).next(conn, wanted).await?;
                numbers.truncate(wanted);
                return Ok(SearchPage { numbers, ..SearchPage::default() });
            }
            most = most.saturating_mul(4);
        }
        let walk = match &mut walk {
            Some(walk) => walk,
            None => walk.insert(ListWalk::open(conn, criteria, keyset).await?),
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
            return Ok(SearchPage { numbers: found, reached, ..SearchPage::default() });
        }
        // As many as seem to be missing, if there is enough left for them: the next ones will be as those were. They
        // come in few sizes, so that there are few statements.
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
