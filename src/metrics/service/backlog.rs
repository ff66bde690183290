//! What there is to do. Without filters, and by at most one thing, it is told from counters and the few tickets that
//! those cannot tell of.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::slice;

use super::ask::{Ask, of_now, simple};
use super::groups::{Groups, arrange};
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::backlog::{AGES_S, AsOf, Backlog, Due};
use crate::metrics::domain::figures::{GroupKey, MOST_GROUPS, bounded, combined, keep_largest};
use crate::metrics::store::backlog as store;
use crate::tally::domain::backlog::{Stand, labels, quarter_of, start_of};
use crate::tally::domain::facts::{Axis, AxisKey, GroupBy, TicketGroups, keys, parse_key};
use crate::tally::store::backlog::Ledger;
use crate::tickets::store::TicketCriteria;

/// All the time in which tickets can have been reported.
const EVER: (Instant, Instant) = (Instant::EPOCH, Instant::NEVER);

/// What there is to do at the instant of criteria.
#[derive(Debug)]
pub struct ToDo {
    /// All of it.
    pub total: Backlog,
    /// How many tickets there are, by team.
    pub by_team: Groups<i64>,
    /// By group.
    pub groups: Option<Groups<Backlog>>,
}

/// What there is to do, and what of it is due within `due_within_s` seconds.
///
/// # Errors
/// `invalid_query` when there are too many groups.
pub async fn backlog(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    by: &[GroupBy],
    due_within_s: i64,
) -> Result<ToDo, Problem> {
    let as_of = AsOf::new(criteria.now, due_within_s);
    let BacklogSums { total, mut by_team, mut groups, mut truncated } = match by {
        [] if criteria.is_open() => count(conn, criteria, as_of, None).await?,
        [one] if criteria.is_open() => count(conn, criteria, as_of, Some(*one)).await?,
        _ => read(conn, criteria, by, as_of).await?,
    };
    truncated |= keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
    let groups = arrange(conn, by, groups, truncated).await?;
    let groups = (!by.is_empty()).then_some(groups);
    let truncated = keep_largest(&mut by_team, MOST_GROUPS, |open| *open);
    let by_team = arrange(conn, &[GroupBy::Team], by_team, truncated).await?;
    Ok(ToDo { total, by_team, groups })
}

/// How many tickets are not solved: of those that are meant, and of each of the groups in `only`; nothing of groups of
/// those who work.
///
/// # Errors
/// `invalid_query` when there are too many groups.
pub async fn unsolved(
    conn: &mut Conn,
    ask: &Ask,
    only: Option<&BTreeSet<GroupKey>>,
) -> Result<(i64, Option<BTreeMap<GroupKey, i64>>), Problem> {
    let is_by_work = ask.groups.contains(&GroupBy::Worker);
    let by = if is_by_work { &[][..] } else { &ask.groups };
    let is_told = |group: &GroupKey| only.is_none_or(|only| only.contains(group));
    let (mut total, mut groups): (i64, BTreeMap<GroupKey, i64>) = (0, BTreeMap::new());
    let simple = simple(&ask.criteria).filter(|(axis, _)| {
        let of_axis = |by: &GroupBy| axis.is_none() || (*axis == Some(*by) && *by != GroupBy::Tag);
        of_now(&ask.criteria).is_open() && by.len() < 2 && by.iter().all(of_axis)
    });
    if let Some((axis, meant)) = simple {
        let axes: BTreeSet<Axis> = std::iter::once(axis).chain(by.iter().copied().map(Some)).collect();
        let ledger = Ledger::open(conn, axes.clone()).await?;
        for of in axes {
            let each = |stand: &Stand, n| {
                let key = key_of(of, stand)?;
                if meant.as_ref().is_some_and(|meant| !meant.contains(&key.to_string())) {
                    return Ok(());
                }
                total += if of == axis { n } else { 0 };
                let group = vec![key];
                if of.is_some() && of.as_ref() == by.first() && is_told(&group) {
                    *groups.entry(group).or_default() += n;
                }
                Ok(())
            };
            ledger.each_stand(conn, of, each).await?;
        }
    } else {
        store::each_unsolved(conn, &ask.criteria, EVER, |ticket, _| {
            total += 1;
            for group in combined(by, |axis| keys(axis, &ticket.groups)).into_iter().filter(is_told) {
                *groups.entry(group).or_default() += 1;
            }
            bounded(&groups).map(ControlFlow::Continue)
        })
        .await?;
    }
    Ok((total, (!is_by_work).then_some(groups)))
}

/// What there is to do, not yet in order.
#[derive(Default)]
struct BacklogSums {
    total: Backlog,
    by_team: BTreeMap<GroupKey, i64>,
    groups: BTreeMap<GroupKey, Backlog>,
    /// Whether only the largest groups are there.
    truncated: bool,
}

/// Reads all tickets that meet the criteria.
async fn read(conn: &mut Conn, criteria: &TicketCriteria, by: &[GroupBy], as_of: AsOf) -> Result<BacklogSums, Problem> {
    criteria.readable(conn).await?;
    let mut found = BacklogSums::default();
    store::each_unsolved(conn, criteria, EVER, |ticket, due_at| {
        let is_due = due_at.is_some_and(|at| at < as_of.until);
        found.total.add(ticket, is_due, as_of.now);
        for team in combined(&[GroupBy::Team], |axis| keys(axis, &ticket.groups)) {
            *found.by_team.entry(team).or_default() += 1;
        }
        for group in combined(by, |axis| keys(axis, &ticket.groups)) {
            found.groups.entry(group).or_default().add(ticket, is_due, as_of.now);
        }
        bounded(&found.groups).map(ControlFlow::Continue)
    })
    .await?;
    Ok(found)
}

/// Reads counters, and the tickets that those cannot tell of; the criteria let all tickets through.
async fn count(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    as_of: AsOf,
    by: Option<GroupBy>,
) -> Result<BacklogSums, Problem> {
    let ledger = Ledger::open(conn, [None, Some(GroupBy::Team), by].into()).await?;
    let teams = standing(conn, &ledger, Some(GroupBy::Team)).await?;
    let by_team = teams.into_iter().map(|(team, backlog)| (team, backlog.open)).collect();
    let (mut along, mut truncated) = (Vec::new(), false);
    for axis in std::iter::once(None).chain(by.map(Some)) {
        let mut groups = standing(conn, &ledger, axis).await?;
        truncated |= keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
        let mut one = Along { criteria, ledger: &ledger, as_of, axis, groups };
        one.ages(conn).await?;
        one.oldest(conn).await?;
        along.push(one);
    }
    store::each_due(conn, as_of.until, |due, groups_of| along.iter_mut().for_each(|one| one.look(due, groups_of)))
        .await?;
    let mut along = along.into_iter().map(|one| one.groups);
    let total = along.next().into_iter().flat_map(BTreeMap::into_values).next().unwrap_or_default();
    Ok(BacklogSums { total, by_team, groups: along.next().unwrap_or_default(), truncated })
}

fn key_of(axis: Axis, stand: &Stand) -> Result<AxisKey, Problem> {
    parse_key(axis, stand.0.clone().unwrap_or_default()).map_err(Problem::internal)
}

/// The tickets along `axis`, by what is written down of them.
async fn standing(conn: &mut Conn, ledger: &Ledger, axis: Axis) -> Result<BTreeMap<GroupKey, Backlog>, Problem> {
    let mut groups: BTreeMap<GroupKey, Backlog> = BTreeMap::new();
    let each = |stand: &Stand, n| {
        groups.entry(vec![key_of(axis, stand)?]).or_default().stand(stand, n);
        bounded(&groups)
    };
    ledger.each_stand(conn, axis, each).await?;
    groups.retain(|_, backlog| backlog.open > 0);
    Ok(groups)
}

/// Groups along an axis, and what they are told from.
struct Along<'a> {
    criteria: &'a TicketCriteria,
    ledger: &'a Ledger,
    as_of: AsOf,
    axis: Axis,
    groups: BTreeMap<GroupKey, Backlog>,
}

impl Along<'_> {
    fn keys(&self) -> Vec<AxisKey> {
        self.groups.keys().flatten().cloned().collect()
    }

    async fn ages(&mut self, conn: &mut Conn) -> Result<(), Problem> {
        let keys = self.keys();
        let labels: Vec<String> = keys.iter().map(labels).collect();
        let mut younger = vec![[0; AGES_S.len() - 1]; keys.len()];
        let mut whole = vec![0; keys.len()];
        let mut before = i64::MAX;
        for (nth, at) in self.as_of.ages().enumerate() {
            let quarter = quarter_of(at);
            let some = self.ledger.reported(conn, self.axis, &labels, (quarter, before)).await?;
            let younger_than = Instant::from_micros(at.micros() + 1);
            let rest = self.reported_in(conn, (younger_than, start_of(quarter + 1)), None).await?;
            for (place, (key, labels)) in keys.iter().zip(&labels).enumerate() {
                whole[place] += some.get(labels).copied().unwrap_or(0);
                younger[place][nth] = whole[place] + rest.get(key).map_or(0, |(n, _)| *n);
            }
            before = quarter + 1;
        }
        for (backlog, younger) in self.groups.values_mut().zip(younger) {
            backlog.age(younger);
        }
        Ok(())
    }

    async fn oldest(&mut self, conn: &mut Conn) -> Result<(), Problem> {
        let mut first_in: BTreeMap<i64, BTreeSet<AxisKey>> = BTreeMap::new();
        for key in self.keys() {
            if let Some(quarter) = self.ledger.first(conn, self.axis, &key).await? {
                first_in.entry(quarter).or_default().insert(key);
            }
        }
        for (quarter, keys) in first_in {
            // They come in the order of their report: the first of each is the oldest. Of a desk that was just filled
            // all are of one quarter.
            let found = self.reported_in(conn, (start_of(quarter), start_of(quarter + 1)), Some(&keys)).await?;
            for key in keys {
                let oldest = found.get(&key).map(|(_, oldest)| *oldest);
                self.groups.entry(vec![key]).and_modify(|backlog| backlog.oldest_reported_at = oldest);
            }
        }
        Ok(())
    }

    /// How many tickets were reported in a window of time, and the first of those instants, by group. Of `first_of`
    /// alone only the first matters: once each of them was met, no more are looked for.
    async fn reported_in(
        &self,
        conn: &mut Conn,
        window: (Instant, Instant),
        first_of: Option<&BTreeSet<AxisKey>>,
    ) -> Result<BTreeMap<AxisKey, (i64, Instant)>, Problem> {
        let mut found: BTreeMap<AxisKey, (i64, Instant)> = BTreeMap::new();
        store::each_unsolved(conn, self.criteria, window, |ticket, _| {
            let at = Instant::from_micros(ticket.reported_us);
            let is_told = |key: &AxisKey| match first_of {
                Some(wanted) => wanted.contains(key),
                None => self.groups.contains_key(slice::from_ref(key)),
            };
            for key in keys(self.axis, &ticket.groups).into_iter().filter(is_told) {
                let (n, first) = found.entry(key).or_insert((0, at));
                *n += 1;
                *first = at.min(*first);
            }
            let is_enough = first_of.is_some_and(|wanted| found.len() >= wanted.len());
            Ok(if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
        .await?;
        Ok(found)
    }

    /// Takes what is not written down of a ticket that is in these groups.
    fn look(&mut self, due: &Due, groups_of: &TicketGroups) {
        for key in keys(self.axis, groups_of) {
            if let Some(backlog) = self.groups.get_mut(slice::from_ref(&key)) {
                backlog.look(due, self.as_of);
            }
        }
    }
}
