//! What is kept of tickets, held against what they tell, and put right.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::db::{Conn, Db, Roots};
use crate::kernel::{Problem, Status};
use crate::sla::domain::clock::Times;
use crate::sla::domain::tally as sla;
use crate::tally;
use crate::tally::domain::{Counter, Label, SUM, Series, Sums, is_known};
use crate::tickets::domain::{Ticket, change};
use crate::tickets::store;

/// How many tickets, and how many kept counters, are read at once.
const AT_ONCE: i64 = 2_000;

/// How many counters one transaction puts right.
const GROW_AT_ONCE: usize = 200;

/// The pause between two of these transactions, in which others write.
const BREATH: Duration = Duration::from_millis(10);

/// Those that count what has happened. Tickets tell of it as far as they still do: everything for the priority and team
/// of now, and of several resolutions how much work the last one took. So what is kept stays, unless it cannot be.
const HISTORY: [Series; 6] =
    [Series::Created, Series::Resolved, Series::Reopened, Series::Response, Series::Service, Series::ClocksMet];

/// What was found.
#[derive(Debug)]
pub struct Comparison {
    /// How many tickets there are.
    pub tickets: usize,
    /// What is wrong, by names of series.
    pub wrong: Vec<String>,
    /// What has to be added to what is kept, so that it is right.
    lacks: Sums,
    /// How often numbers were put right before.
    recounts: i64,
}

/// Holds what is kept against all tickets, as they are at one instant. `told` hears the number of the ticket that was
/// read last. All of it belongs into one snapshot, which may be a long one: it keeps nobody waiting.
pub async fn compare(conn: &mut Conn, told: &dyn Fn(i64)) -> Result<Comparison, Problem> {
    let recounts = tally::store::recounts(conn).await?;
    let (mut lacks, mut happened, mut most) = (Sums::default(), History::default(), BTreeMap::new());
    let (mut tickets, mut last) = (0, 0);
    loop {
        let batch = store::after(conn, last, AT_ONCE).await?;
        let read = batch.len();
        let mut counted = Sums::default();
        for (ticket, times) in batch {
            last = ticket.number;
            counted.merge(counts(&ticket, &times));
            limits(&times, &mut most);
        }
        happened.told.merge(take_history(&mut counted));
        lacks.merge(known(counted));
        tickets += read;
        told(last);
        if i64::try_from(read).unwrap_or(0) < AT_ONCE {
            break;
        }
    }
    let mut kept = tally::store::CounterReader::default();
    while let Some(mut some) = kept.next(conn, AT_ONCE).await? {
        happened.kept.merge(take_history(&mut some));
        lacks.take(known(some));
    }
    let mut wrong: Vec<String> = lacks.iter().map(|(counter, _)| counter.series.clone()).collect();
    for series in HISTORY {
        if !happened.is_possible(series, &most) {
            wrong.push(series.to_string());
            let of_series = |counter: &Counter| counter.series == series.as_str();
            lacks.merge(happened.told.extract(of_series));
            lacks.take(happened.kept.extract(of_series));
        }
    }
    wrong.sort();
    wrong.dedup();
    Ok(Comparison { tickets, wrong, lacks, recounts })
}

/// Puts right what is kept of tickets, also for whoever has filled the tables by other means than this service, and
/// while others write: what they change meanwhile counts besides. Gives the number of tickets. What ends in the middle
/// is begun again.
///
/// # Errors
/// `conflict` when somebody else does so at the same time.
pub async fn recount(db: &Db, told: &dyn Fn(i64)) -> Result<usize, Problem> {
    let found = db.look(async |conn| compare(conn, told).await).await?;
    let (mut lacks, mut recounts) = (found.lacks, found.recounts);
    // Half of what has happened would not be seen to be wrong the next time: they are few counters.
    let happened = take_history(&mut lacks);
    let counters: Vec<(Counter, i64)> = lacks.iter().map(|(counter, n)| (counter.clone(), n)).collect();
    let parts = counters.chunks(GROW_AT_ONCE).map(|some| {
        let mut sums = Sums::default();
        some.iter().cloned().for_each(|(counter, n)| sums.add(counter, n));
        sums
    });
    for sums in std::iter::once(happened).chain(parts) {
        recounts = db
            .write(Roots::none(), async move |tx| {
                let next = tally::store::next_recount(tx, recounts).await?;
                tally::store::grow_all(tx, &sums).await?;
                Ok(next)
            })
            .await?;
        tokio::time::sleep(BREATH).await;
    }
    Ok(found.tickets)
}

/// What is spread of it, without what only a newer version knows.
fn known(counted: Sums) -> Sums {
    counted.spread().extract(|counter| is_known(&counter.series))
}

/// What a ticket counts, as it stands.
fn counts(ticket: &Ticket, times: &Times) -> Sums {
    let mut counted = sla::counts(None, (&ticket.state(), times));
    counted.merge(change::counts(None, ticket));
    // Each reopening tells of a resolution before it.
    let of_now = Counter::of(Series::Resolved, &[ticket.priority.as_str(), &change::team(ticket)]);
    counted.add(of_now, ticket.reopen_count.into());
    counted
}

/// How often a ticket can have had each of its clocks kept, by target, and work measured, which is under no target:
/// each time that it was resolved.
fn limits(times: &Times, most: &mut BTreeMap<Option<String>, i64>) {
    let resolved = times.timeline.spans.iter().filter(|(status, _)| *status == Status::Resolved).count();
    let resolved = i64::try_from(resolved).unwrap_or(i64::MAX);
    *most.entry(None).or_default() += resolved;
    for clock in &times.clocks {
        *most.entry(Some(clock.target.to_string())).or_default() += resolved.max(1);
    }
}

fn take_history(sums: &mut Sums) -> Sums {
    sums.extract(|counter| HISTORY.iter().any(|series| series.as_str() == counter.series))
}

/// What has happened: as tickets tell it, and as it is kept.
#[derive(Debug, Default)]
struct History {
    told: Sums,
    kept: Sums,
}

impl History {
    /// Whether what is kept of `series` can have come of what tickets tell.
    fn is_possible(&self, series: Series, most: &BTreeMap<Option<String>, i64>) -> bool {
        let (told, kept) = (by(&self.told, series), by(&self.kept, series));
        let of = |sums: &BTreeMap<Vec<String>, i64>, key: &Vec<String>| sums.get(key).copied().unwrap_or(0);
        told.keys().chain(kept.keys()).all(|key| {
            let (told, kept) = (of(&told, key), of(&kept, key));
            let most = match series {
                Series::ClocksMet => most.get(&key.first().cloned()).copied().unwrap_or(0),
                Series::Service => most.get(&None).copied().unwrap_or(0),
                _ => told,
            };
            (told..=most.max(told)).contains(&kept)
        })
    }
}

/// What `series` comes to by those labels that never change, and of durations only how many there are.
fn by(sums: &Sums, series: Series) -> BTreeMap<Vec<String>, i64> {
    let mut all = BTreeMap::new();
    for (counter, n) in sums.iter().filter(|(counter, _)| counter.series == series.as_str()) {
        let values = counter.values();
        if values.last().is_some_and(|last| last == SUM) {
            continue;
        }
        let labels = series.labels().iter().zip(values);
        let lasting = labels.filter(|(label, _)| matches!(label, Label::Target | Label::Hours));
        *all.entry(lasting.map(|(_, value)| value).collect()).or_default() += n;
    }
    all
}
