//! What there is to do. Without filters it is told from the tallies, at a cost that does not grow with the tickets.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::reports::{Group, Groups, arrange};
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::backlog::{Moment, axis, key, place};
use crate::metrics::domain::figures::{AGES_S, Backlog, GroupBy, Key, MOST_GROUPS, keep_largest};
use crate::metrics::store::backlog as store;
use crate::tally::domain::backlog::{self as tally, Axis, Part, StandCell, quarter_of, start_of};
use crate::tally::store::backlog::Ledger;
use crate::tickets::store::TicketCriteria;

/// What there is to do at the instant of a sieve.
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
/// When the database is away.
pub async fn backlog(
    conn: &mut Conn,
    sieve: &TicketCriteria,
    group: Option<GroupBy>,
    due_within_s: i64,
) -> Result<ToDo, Problem> {
    let found = if sieve.is_open() {
        counted(conn, Moment::new(sieve.now, due_within_s), group).await?
    } else {
        read(conn, sieve, group, due_within_s).await?
    };
    let Found { total, mut by_team, groups, groups_left_out } = found;
    let teams_left_out = keep_largest(&mut by_team, MOST_GROUPS, |open| *open);
    let by_team = arrange(conn, Some(GroupBy::Team), by_team, teams_left_out).await?;
    let by_team = by_team.unwrap_or(Groups { items: Vec::<Group<i64>>::new(), truncated: false });
    Ok(ToDo { total, by_team, groups: arrange(conn, group, groups, groups_left_out).await? })
}

/// What there is to do, not yet in order.
struct Found {
    total: Backlog,
    by_team: BTreeMap<Key, i64>,
    groups: BTreeMap<Key, Backlog>,
    groups_left_out: bool,
}

/// Reads all tickets that the sieve lets through.
async fn read(
    conn: &mut Conn,
    sieve: &TicketCriteria,
    group: Option<GroupBy>,
    due_within_s: i64,
) -> Result<Found, Problem> {
    sieve.readable(conn).await?;
    let mut total = Backlog::default();
    let mut by_team: BTreeMap<Key, i64> = BTreeMap::new();
    let mut groups: BTreeMap<Key, Backlog> = BTreeMap::new();
    store::each_waiting(conn, sieve, group, due_within_s, |row| {
        total.add(&row.ticket, sieve.now);
        *by_team.entry(row.team).or_default() += 1;
        for key in row.keys {
            groups.entry(key).or_default().add(&row.ticket, sieve.now);
        }
    })
    .await?;
    let groups_left_out = keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
    Ok(Found { total, by_team, groups, groups_left_out })
}

/// Reads the tallies, and the tickets of a few quarters of an hour.
async fn counted(conn: &mut Conn, moment: Moment, group: Option<GroupBy>) -> Result<Found, Problem> {
    let axes: BTreeSet<Axis> = [Axis::All, Axis::Team, axis(group)].into();
    let ledger = Ledger::open(conn, &axes.into_iter().collect::<Vec<_>>()).await?;
    let teams = standing(conn, &ledger, Axis::Team).await?;
    let by_team = teams.into_iter().map(|(key, backlog)| (key, backlog.open)).collect();
    let (all, _) = along(conn, &ledger, moment, None).await?;
    let (groups, groups_left_out) = match group {
        Some(_) => along(conn, &ledger, moment, group).await?,
        None => (BTreeMap::new(), false),
    };
    let total = all.into_values().next().unwrap_or_default();
    Ok(Found { total, by_team, groups, groups_left_out })
}

/// The tickets along `axis`, by what does not depend on when one asks.
async fn standing(conn: &mut Conn, ledger: &Ledger, axis: Axis) -> Result<BTreeMap<Key, Backlog>, Problem> {
    let mut groups: BTreeMap<Key, Backlog> = BTreeMap::new();
    for (cell, n) in ledger.cells(conn, (axis, Part::Stand), (-1, 1)).await?.iter() {
        let labels: StandCell = serde_json::from_str(&cell.labels).map_err(Problem::internal)?;
        if let Some(key) = key(axis, labels.0.clone()) {
            groups.entry(key).or_default().stand(&labels, n);
        }
    }
    groups.retain(|_, backlog| backlog.open > 0);
    Ok(groups)
}

/// The largest groups, or the one of all tickets; and whether any had to go.
async fn along(
    conn: &mut Conn,
    ledger: &Ledger,
    moment: Moment,
    group: Option<GroupBy>,
) -> Result<(BTreeMap<Key, Backlog>, bool), Problem> {
    let mut groups = standing(conn, ledger, axis(group)).await?;
    let left_out = keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
    if !groups.is_empty() {
        let mut along = Along { conn, ledger, moment, group, groups: &mut groups };
        along.ages().await?;
        along.oldest().await?;
        along.promises().await?;
        along.near().await?;
    }
    Ok((groups, left_out))
}

/// Groups, and what they are told from.
struct Along<'a> {
    conn: &'a mut Conn,
    ledger: &'a Ledger,
    moment: Moment,
    group: Option<GroupBy>,
    groups: &'a mut BTreeMap<Key, Backlog>,
}

impl Along<'_> {
    /// The labels of each group.
    fn labels(&self) -> Vec<String> {
        self.groups.keys().map(|key| tally::place(place(key).as_deref())).collect()
    }

    /// What the cells of `part` with these labels come to, in their order.
    async fn between(&mut self, part: Part, labels: &[String], quarters: (i64, i64)) -> Result<Vec<i64>, Problem> {
        let mut sums = self.ledger.between(self.conn, (axis(self.group), part), labels, quarters).await?;
        Ok(labels.iter().map(|labels| sums.remove(labels).unwrap_or(0)).collect())
    }

    async fn ages(&mut self) -> Result<(), Problem> {
        let labels = self.labels();
        let mut younger = vec![[0; AGES_S.len() - 1]; labels.len()];
        let mut whole = vec![0; labels.len()];
        let mut before = i64::MAX;
        for (nth, at) in self.moment.ages().enumerate() {
            let quarter = quarter_of(at);
            let some = self.between(Part::Reported, &labels, (quarter, before)).await?;
            let rest = store::reported_between(self.conn, self.group, at, start_of(quarter + 1)).await?;
            for (place, key) in self.groups.keys().enumerate() {
                whole[place] += some[place];
                younger[place][nth] = whole[place] + rest.get(key).copied().unwrap_or(0);
            }
            before = quarter + 1;
        }
        for (backlog, younger) in self.groups.values_mut().zip(younger) {
            backlog.age(younger);
        }
        Ok(())
    }

    async fn oldest(&mut self) -> Result<(), Problem> {
        if self.group.is_none() {
            let oldest = store::oldest(self.conn).await?;
            self.groups.values_mut().for_each(|backlog| backlog.oldest_reported_at = oldest);
            return Ok(());
        }
        let mut of_quarter: BTreeMap<i64, BTreeMap<Key, Instant>> = BTreeMap::new();
        for (key, backlog) in self.groups.iter_mut() {
            let first = self.ledger.first(self.conn, axis(self.group), place(key).as_deref()).await?;
            let Some(quarter) = first else { continue };
            let oldest = match of_quarter.entry(quarter) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => {
                    let span = (start_of(quarter), start_of(quarter + 1));
                    free.insert(store::oldest_between(self.conn, self.group, span.0, span.1).await?)
                }
            };
            backlog.oldest_reported_at = oldest.get(key).copied();
        }
        Ok(())
    }

    /// The promises of all quarters that are over, or that are whole before what is due soon ends.
    async fn promises(&mut self) -> Result<(), Problem> {
        let (this, last) = self.moment.partly();
        let labels = self.labels();
        let late = self.between(Part::Late, &labels, (i64::MIN, this)).await?;
        let soon = self.between(Part::Late, &labels, (this, last)).await?;
        for (backlog, (late, soon)) in self.groups.values_mut().zip(late.into_iter().zip(soon)) {
            backlog.breached += late;
            backlog.due_within += soon;
        }
        for target in 0..3 {
            let labels: Vec<_> = self.groups.keys().map(|key| tally::place_of(place(key).as_deref(), target)).collect();
            let broken = self.between(Part::Breach, &labels, (i64::MIN, this)).await?;
            for (backlog, broken) in self.groups.values_mut().zip(broken) {
                backlog.broken(target, broken);
            }
        }
        let axis = axis(self.group);
        for (place, n) in self.ledger.next(self.conn, axis, this, last).await? {
            if let Some(backlog) = key(axis, place).and_then(|key| self.groups.get_mut(&key)) {
                backlog.due_within += n;
            }
        }
        Ok(())
    }

    /// The promises of this quarter, and of the one in which what is due soon ends.
    async fn near(&mut self) -> Result<(), Problem> {
        let (this, last) = self.moment.partly();
        let mut found = BTreeMap::new();
        let just_before = |at: Instant| Instant::from_micros(at.micros() - 1);
        let whole = (start_of(this), just_before(start_of(this + 1)));
        store::broken_between(self.conn, self.group, whole.0, whole.1, &mut found).await?;
        if last != this {
            store::broken_between(self.conn, self.group, start_of(last), self.moment.until, &mut found).await?;
        }
        for (due, keys) in found.values() {
            for key in keys {
                if let Some(backlog) = self.groups.get_mut(key) {
                    backlog.look(due, self.moment);
                }
            }
        }
        Ok(())
    }
}
