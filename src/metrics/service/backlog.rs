//! What there is to do. Without filters, and by at most one thing, it is told from counters and the few tickets that those cannot tell of.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Ask, GroupFilter};
use super::groups::{Group, Groups, arrange};
use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::backlog::{AGES_S, Backlog, Moment};
use crate::metrics::domain::figures::{GroupBy, GroupKey, Key, MOST_GROUPS, combined, keep_largest};
use crate::metrics::store::backlog as store;
use crate::tally::domain::backlog::{Stand, labels, quarter_of, start_of};
use crate::tally::domain::facts::{Axis, TicketGroups};
use crate::tally::store::backlog::Ledger;
use crate::tickets::store::TicketCriteria;

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
/// When the database is away.
pub async fn backlog(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    by: &[GroupBy],
    due_within_s: i64,
) -> Result<ToDo, Problem> {
    let moment = Moment::new(criteria.now, due_within_s);
    let found = match by {
        [] if criteria.is_open() => counted(conn, moment, None).await?,
        [one] if criteria.is_open() => counted(conn, moment, Some(*one)).await?,
        _ => read(conn, criteria, by, moment).await?,
    };
    let Found { total, mut by_team, groups, groups_left_out } = found;
    let teams_left_out = keep_largest(&mut by_team, MOST_GROUPS, |open| *open);
    let by_team = arrange(conn, &[GroupBy::Team], by_team, teams_left_out, |_| 0).await?;
    let by_team = by_team.unwrap_or(Groups { items: Vec::<Group<i64>>::new(), truncated: false });
    let groups = arrange(conn, by, groups, groups_left_out, |_| Backlog::default()).await?;
    Ok(ToDo { total, by_team, groups })
}

/// How many tickets are not solved: of those that are meant, and of each group; nothing of groups of those who work.
///
/// # Errors
/// When the database is away.
pub async fn unsolved(conn: &mut Conn, ask: &Ask) -> Result<(i64, Option<BTreeMap<GroupKey, i64>>), Problem> {
    let (then, now) = GroupFilter::split(&ask.criteria);
    let is_by_work = ask.groups.contains(&GroupBy::Worker);
    let by = if is_by_work { &[][..] } else { &ask.groups };
    let (mut total, mut groups): (i64, BTreeMap<GroupKey, i64>) = (0, BTreeMap::new());
    let simple = then.axis().filter(|(axis, _)| {
        now.is_open()
            && by.iter().all(|by| *axis == Axis::All || (by.axis() == *axis && *axis != Axis::Tag))
            && by.len() < 2
    });
    if let Some((axis, keys)) = simple {
        let axes: BTreeSet<Axis> = std::iter::once(axis).chain(by.iter().map(|by| by.axis())).collect();
        let ledger = Ledger::open(conn, axes).await?;
        let meant =
            |group: &GroupKey| keys.as_ref().is_none_or(|keys| group.iter().all(|key| keys.contains(&key.to_string())));
        let of_axis = standing(conn, &ledger, axis).await?;
        total = of_axis.iter().filter(|(group, _)| meant(group)).map(|(_, backlog)| backlog.open).sum();
        if let [by] = by {
            let of_axis = if by.axis() == axis { of_axis } else { standing(conn, &ledger, by.axis()).await? };
            let of_axis = of_axis.into_iter().filter(|(group, _)| axis == Axis::All || meant(group));
            groups = of_axis.map(|(group, backlog)| (group, backlog.open)).collect();
        }
    } else {
        store::each_unsolved(conn, &ask.criteria, 0, |_, groups_of| {
            total += 1;
            for group in combined(by, |axis| axis.keys(groups_of)) {
                *groups.entry(group).or_default() += 1;
            }
        })
        .await?;
    }
    Ok((total, (!is_by_work).then_some(groups)))
}

/// What there is to do, not yet in order.
struct Found {
    total: Backlog,
    by_team: BTreeMap<GroupKey, i64>,
    groups: BTreeMap<GroupKey, Backlog>,
    groups_left_out: bool,
}

/// Reads all tickets that meet the criteria.
async fn read(conn: &mut Conn, criteria: &TicketCriteria, by: &[GroupBy], moment: Moment) -> Result<Found, Problem> {
    criteria.readable(conn).await?;
    let mut total = Backlog::default();
    let mut by_team: BTreeMap<GroupKey, i64> = BTreeMap::new();
    let mut groups: BTreeMap<GroupKey, Backlog> = BTreeMap::new();
    let due_within_s = (moment.until.micros() - moment.now.micros()) / 1_000_000;
    store::each_unsolved(conn, criteria, due_within_s, |ticket, groups_of| {
        total.add(&ticket, moment.now);
        for team in combined(&[GroupBy::Team], |axis| axis.keys(groups_of)) {
            *by_team.entry(team).or_default() += 1;
        }
        for group in combined(by, |axis| axis.keys(groups_of)) {
            groups.entry(group).or_default().add(&ticket, moment.now);
        }
    })
    .await?;
    let groups_left_out = keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
    Ok(Found { total, by_team, groups, groups_left_out })
}

/// Reads counters, and the tickets that those cannot tell of.
async fn counted(conn: &mut Conn, moment: Moment, by: Option<GroupBy>) -> Result<Found, Problem> {
    let axis = by.map_or(Axis::All, GroupBy::axis);
    let axes: BTreeSet<Axis> = [Axis::All, Axis::Team, axis].into();
    let ledger = Ledger::open(conn, axes).await?;
    let teams = standing(conn, &ledger, Axis::Team).await?;
    let by_team = teams.into_iter().map(|(team, backlog)| (team, backlog.open)).collect();
    let due = store::due_until(conn, moment.until).await?;
    let of_axis = async |conn: &mut Conn, axis| {
        let mut groups = standing(conn, &ledger, axis).await?;
        let left_out = keep_largest(&mut groups, MOST_GROUPS, |backlog| backlog.open);
        let mut along = Along { conn, ledger: &ledger, moment, axis, groups: &mut groups };
        along.ages().await?;
        along.oldest().await?;
        for (due, groups_of) in &due {
            for key in axis.keys(groups_of) {
                if let Some(backlog) = groups.get_mut(&vec![key]) {
                    backlog.look(due, moment);
                }
            }
        }
        Ok::<_, Problem>((groups, left_out))
    };
    let (all, _) = of_axis(conn, Axis::All).await?;
    let (groups, groups_left_out) = match by {
        Some(_) => of_axis(conn, axis).await?,
        None => (BTreeMap::new(), false),
    };
    let total = all.into_values().next().unwrap_or_default();
    Ok(Found { total, by_team, groups, groups_left_out })
}

/// The tickets along `axis`, by what is written down of them.
async fn standing(conn: &mut Conn, ledger: &Ledger, axis: Axis) -> Result<BTreeMap<GroupKey, Backlog>, Problem> {
    let mut groups: BTreeMap<GroupKey, Backlog> = BTreeMap::new();
    for (counter, n) in ledger.stands(conn, axis).await?.iter() {
        let stand: Stand = serde_json::from_str(&counter.labels).map_err(Problem::internal)?;
        let key = axis.parse(stand.0.clone().unwrap_or_default()).map_err(Problem::internal)?;
        groups.entry(vec![key]).or_default().stand(&stand, n);
    }
    groups.retain(|_, backlog| backlog.open > 0);
    Ok(groups)
}

/// Groups along an axis, and what they are told from.
struct Along<'a> {
    conn: &'a mut Conn,
    ledger: &'a Ledger,
    moment: Moment,
    axis: Axis,
    groups: &'a mut BTreeMap<GroupKey, Backlog>,
}

impl Along<'_> {
    async fn ages(&mut self) -> Result<(), Problem> {
        let keys: Vec<Key> = self.groups.keys().flatten().cloned().collect();
        let labels: Vec<String> = keys.iter().map(labels).collect();
        let mut younger = vec![[0; AGES_S.len() - 1]; keys.len()];
        let mut whole = vec![0; keys.len()];
        let mut before = i64::MAX;
        for (nth, at) in self.moment.ages().enumerate() {
            let quarter = quarter_of(at);
            let some = self.ledger.reported(self.conn, self.axis, &labels, (quarter, before)).await?;
            let rest = self.reported_in(quarter, |reported_at| reported_at > at).await?;
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

    async fn oldest(&mut self) -> Result<(), Problem> {
        let mut in_quarter: BTreeMap<i64, BTreeMap<Key, (i64, Instant)>> = BTreeMap::new();
        let keys: Vec<Key> = self.groups.keys().flatten().cloned().collect();
        for key in keys {
            let Some(quarter) = self.ledger.first(self.conn, self.axis, &key).await? else { continue };
            if let Entry::Vacant(free) = in_quarter.entry(quarter) {
                free.insert(self.reported_in(quarter, |_| true).await?);
            }
            let oldest = in_quarter.get(&quarter).and_then(|found| found.get(&key)).map(|(_, oldest)| *oldest);
            if let Some(backlog) = self.groups.get_mut(&vec![key]) {
                backlog.oldest_reported_at = oldest;
            }
        }
        Ok(())
    }

    /// How many tickets were reported in a quarter of an hour at an instant that is `meant`, and the first of those instants, by group.
    async fn reported_in(
        &mut self,
        quarter: i64,
        meant: impl Fn(Instant) -> bool,
    ) -> Result<BTreeMap<Key, (i64, Instant)>, Problem> {
        let mut found: BTreeMap<Key, (i64, Instant)> = BTreeMap::new();
        let tickets: Vec<(Instant, TicketGroups)> =
            store::reported_between(self.conn, start_of(quarter), start_of(quarter + 1)).await?;
        for (at, groups) in tickets.into_iter().filter(|(at, _)| meant(*at)) {
            for key in self.axis.keys(&groups) {
                let (n, first) = found.entry(key).or_insert((0, at));
                *n += 1;
                *first = at.min(*first);
            }
        }
        Ok(found)
    }
}
