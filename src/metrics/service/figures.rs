//! Adding up what happened in the steps of a window. Where cells are kept for what is asked, they are read, and from rows
//! only what is not built yet; otherwise all of it is read from rows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use crate::db::Conn;
use crate::kernel::{Instant, Problem};
use crate::metrics::domain::figures::{Key, Report, Sheet, Steps};
use crate::metrics::domain::window::Window;
use crate::metrics::store::facts::{self, Ask};
use crate::tally::domain::cells::{Axis, Cell, Figures, Heap, Level, Marks, Mix, Piece, cover};
use crate::tally::domain::facts::{Keys, What, look};
use crate::tally::store::cells as store;
use crate::tickets::store::TicketCriteria;

/// How many steps are put together of cells at once: so much is in memory.
const AT_ONCE: usize = 8;

/// Which cells an answer is made of.
#[derive(Debug)]
struct Plan {
    /// Of all tickets that are meant.
    total: Axis,
    /// The groups on that axis that are meant, if not all.
    keys: Option<Vec<String>>,
    /// Of their groups.
    groups: Option<Axis>,
}

impl Plan {
    /// The cells for what is asked, if it is of tickets that a single axis tells apart.
    fn of(ask: &Ask) -> Option<Self> {
        let groups = match ask.group {
            None => None,
            Some(group) => Some(group.axis()?),
        };
        let (total, keys) = match axis(&ask.sieve)? {
            None => (Axis::All, None),
            Some((axis, keys)) if groups.is_none_or(|groups| groups == axis) => (axis, Some(keys)),
            Some(_) => return None,
        };
        Some(Self { total, keys, groups })
    }

    /// The groups of a ticket with these keys, if it is meant.
    fn groups(&self, keys: &Keys) -> Option<Vec<Key>> {
        let meant = self.keys.as_ref().is_none_or(|meant| meant.contains(&self.total.key(keys).to_string()));
        meant.then(|| self.groups.iter().map(|axis| axis.key(keys)).collect())
    }
}

/// The axis by which tickets pass, and its groups that do; nothing inside if all tickets pass, and nothing at all if it
/// is not so simple.
fn axis(sieve: &TicketCriteria) -> Option<Option<(Axis, Vec<String>)>> {
    fn texts<T: ToString>(words: &[T]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }
    // Taken apart whole, so that a new filter does not compile until it is looked at here.
    let TicketCriteria {
        only_of: None,
        status: None,
        priority,
        kind,
        channel,
        team,
        assignee: None,
        requester: None,
        tag: None,
        external_id: None,
        created_after: None,
        created_before: None,
        updated_after: None,
        updated_before: None,
        sla: None,
        q: None,
        now: _,
    } = sieve
    else {
        return None;
    };
    let team = team.as_ref().map(|(ids, none)| {
        let mut keys = texts(ids);
        keys.extend(none.then(String::new));
        (Axis::Team, keys)
    });
    let mut given = [
        priority.as_ref().map(|any| (Axis::Priority, texts(any))),
        kind.as_ref().map(|any| (Axis::Type, texts(any))),
        channel.as_ref().map(|any| (Axis::Channel, texts(any))),
        team,
    ]
    .into_iter()
    .flatten();
    let first = given.next();
    if given.next().is_some() { None } else { Some(first) }
}

/// The figures of each step between `edges`: of all tickets that are meant, and of their groups.
///
/// # Errors
/// When the database is away.
pub async fn report(conn: &mut Conn, ask: &Ask, edges: &[Instant]) -> Result<Report, Problem> {
    ask.sieve.readable(conn).await?;
    let mut sheet = Sheet::new(edges.to_vec());
    let Some(plan) = Plan::of(ask) else {
        facts::gather(conn, ask, &mut |fact, keys| sheet.add(fact.at, keys, &fact.what, 1)).await?;
        return Ok(sheet.told());
    };
    let marks = store::marks(conn).await?;
    let built = marks.day;
    if ask.window.to > built {
        let window = Window { from: ask.window.from.max(built), to: ask.window.to };
        let rows = Ask { window, ..ask.clone() };
        facts::gather(conn, &rows, &mut |fact, keys| sheet.add(fact.at, keys, &fact.what, 1)).await?;
    }
    if ask.window.from >= built {
        return Ok(sheet.told());
    }
    for (fact, n) in store::unfolded(conn).await?.only(|fact| fact.at < built).iter() {
        if let Some(groups) = plan.groups(&fact.keys) {
            sheet.add(fact.at, &groups, &fact.what, n);
        }
    }
    of_cells(conn, &plan, &marks, edges, sheet).await
}

/// The pieces of a step.
type Pieces = Vec<(i64, Piece)>;

/// The figures of all steps: what is on `sheet` already, and what cells and their log have.
async fn of_cells(
    conn: &mut Conn,
    plan: &Plan,
    marks: &Marks,
    edges: &[Instant],
    mut sheet: Sheet,
) -> Result<Report, Problem> {
    let mut steps: Vec<(usize, Pieces)> = Vec::new();
    for (step, edge) in edges.windows(2).enumerate() {
        let pieces = cover(edge[0], edge[1], marks);
        for (sign, piece) in &pieces {
            let Piece::Stretch(from, to) = piece else { continue };
            let slices = store::slices(conn, *from, *to).await?;
            for (groups, heap) in heaps(plan, &slices, *from..*to, *sign)? {
                sheet.merge(step, &groups, &heap);
            }
        }
        steps.push((step, pieces));
    }
    let mut report = Report::default();
    // A step that is a cell and nothing else is told by that cell.
    let (lone, mixed): (Vec<_>, Vec<_>) =
        steps.into_iter().partition(|(step, pieces)| pieces.len() == 1 && !sheet.total.contains_key(step));
    let mut parts: Vec<(Option<Axis>, Axis)> = vec![(None, plan.total)];
    parts.extend(plan.groups.map(|axis| (Some(axis), axis)));
    for (group, axis) in parts {
        let keys = plan.keys.as_deref();
        let one_by_one = group.is_some();
        let mut mixed = mixed.clone();
        // Of several groups that are meant there is no cell of all of them together.
        if !one_by_one && keys.is_some_and(|keys| keys.len() != 1) {
            mixed.extend(lone.iter().cloned());
        } else {
            let untold = tell(conn, axis, keys, &lone, one_by_one, &mut report).await?;
            mixed.extend(untold);
        }
        for some in mixed.chunks(AT_ONCE) {
            mix(conn, axis, keys, some, one_by_one, &mut sheet, &mut report).await?;
        }
    }
    sheet.tell(&mut report);
    Ok(report)
}

/// What `sign` times the facts of a stretch of time come to, by the groups of their tickets.
fn heaps(
    plan: &Plan,
    slices: &[Vec<u8>],
    stretch: Range<Instant>,
    sign: i64,
) -> Result<HashMap<Vec<Key>, Heap>, Problem> {
    let mut places: HashMap<Vec<Key>, usize> = HashMap::new();
    // There are many keys, in each slice the same ones again.
    let mut known: HashMap<Keys, Option<usize>> = HashMap::new();
    let mut heaps: Vec<Heap> = Vec::new();
    for slice in slices {
        let mut found = |keys: &Keys| {
            let next = places.len();
            plan.groups(keys).map(|groups| *places.entry(groups).or_insert(next))
        };
        let place = |keys: &Keys| *known.entry(*keys).or_insert_with(|| found(keys));
        let add = |place: &usize, at, what: &What, n| {
            if stretch.contains(&at) {
                if heaps.len() <= *place {
                    heaps.resize_with(place + 1, Heap::default);
                }
                heaps[*place].add(what, sign * n);
            }
        };
        look(slice, place, add).map_err(Problem::internal)?;
    }
    let mut heap = |place: usize| heaps.get_mut(place).map(std::mem::take);
    Ok(places.into_iter().filter_map(|(groups, place)| Some((groups, heap(place)?))).collect())
}

/// The days of cells by their length, each with the steps that it is in.
fn days(steps: &[(usize, Pieces)]) -> BTreeMap<Level, BTreeMap<i64, Vec<(usize, i64)>>> {
    let mut days: BTreeMap<Level, BTreeMap<i64, Vec<(usize, i64)>>> = BTreeMap::new();
    for (step, pieces) in steps {
        for (sign, piece) in pieces {
            if let Piece::Cell(level, day) = piece {
                days.entry(*level).or_default().entry(*day).or_default().push((*step, *sign));
            }
        }
    }
    days
}

/// The steps of a group of tickets, or of all of them together.
fn steps_of(report: &mut Report, key: Option<Key>) -> &mut Steps {
    match key {
        Some(key) => report.groups.entry(key).or_default(),
        None => &mut report.total,
    }
}

/// Tells steps that are a single cell. Gives those of which a cell does not tell everything by itself.
async fn tell(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    steps: &[(usize, Pieces)],
    one_by_one: bool,
    report: &mut Report,
) -> Result<Vec<(usize, Pieces)>, Problem> {
    let mut untold = Vec::new();
    for (level, places) in days(steps) {
        let asked: Vec<i64> = places.keys().copied().collect();
        for (day, key, packed) in store::figures(conn, axis, keys, level, &asked).await? {
            let (figures, told) = Figures::unpack(&packed).map_err(Problem::internal)?;
            for (step, _) in places.get(&day).into_iter().flatten() {
                if told {
                    steps_of(report, one_by_one.then(|| key.clone())).insert(*step, figures.clone());
                } else {
                    untold.push(*step);
                }
            }
        }
    }
    Ok(steps.iter().filter(|(step, _)| untold.contains(step)).cloned().collect())
}

/// Puts steps together of cells and of what is on `sheet`.
async fn mix(
    conn: &mut Conn,
    axis: Axis,
    keys: Option<&[String]>,
    steps: &[(usize, Pieces)],
    one_by_one: bool,
    sheet: &mut Sheet,
    report: &mut Report,
) -> Result<(), Problem> {
    let mut mixes: HashMap<(Option<Key>, usize), Mix> = HashMap::new();
    for (level, places) in days(steps) {
        let asked: Vec<i64> = places.keys().copied().collect();
        for (day, key, packed) in store::whole(conn, axis, keys, level, &asked).await? {
            let cell = Cell::unpack(&packed).map_err(Problem::internal)?;
            for (step, sign) in places.get(&day).into_iter().flatten() {
                mixes.entry((one_by_one.then(|| key.clone()), *step)).or_default().add(&cell, *sign);
            }
        }
    }
    for ((key, step), mut mix) in mixes {
        if let Some(heap) = sheet.take(key.as_ref(), step) {
            mix.pour(heap);
        }
        let mix = mix.ordered();
        let rows = store::parts(conn, &mix.rows()).await?;
        steps_of(report, key).insert(step, mix.told(&rows).map_err(Problem::internal)?);
    }
    Ok(())
}
