//! Cells: what the facts of a day, a month or a year come to, and which of them a window of time is made of. Pure.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::facts::{Facts, Keys, Took, What};
use super::packed::{Broken, Reader, Writer};
use super::samples::{Moves, Ordered, PERCENTS, Pile, Rows, Runs, Sample, Union};
use crate::kernel::words::words;
use crate::kernel::{AnyId, Currency, Instant, PolicyId, Target, TeamId};

const DAY_US: i64 = 86_400_000_000;

/// Reading a cell takes about as long as looking at the facts of this stretch.
const CELL_EFFORT_US: i64 = DAY_US / 24;

words! {
    /// By what tickets are told apart.
    pub enum Axis {
        /// By nothing.
        All = "all",
        /// How urgent they are.
        Priority = "priority",
        /// The queue that they are in.
        Team = "team",
        /// What kind of thing they are.
        Type = "type",
        /// How they were reported.
        Channel = "channel",
        /// The SLA policy that they have.
        Policy = "policy",
    }
}

words! {
    /// How long a cell is.
    pub enum Level {
        /// A day of UTC.
        Day = "day",
        /// A calendar month of UTC.
        Month = "month",
        /// A calendar year of UTC.
        Year = "year",
    }
}

/// Which group a ticket is in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// That of something with an id.
    Id(AnyId),
    /// That of a word: one of a closed vocabulary, or a tag.
    Word(String),
    /// That of tickets without.
    None,
}

impl Axis {
    /// The group of a ticket.
    pub fn key(self, keys: &Keys) -> Key {
        match self {
            Axis::All => Key::None,
            Axis::Priority => Key::Word(keys.priority.to_string()),
            Axis::Team => keys.team.map_or(Key::None, |TeamId(id)| Key::Id(AnyId(id))),
            Axis::Type => Key::Word(keys.kind.to_string()),
            Axis::Channel => Key::Word(keys.channel.to_string()),
            Axis::Policy => keys.policy.map_or(Key::None, |PolicyId(id)| Key::Id(AnyId(id))),
        }
    }

    /// The key that is written so.
    ///
    /// # Errors
    /// When it is no id where one is meant.
    pub fn parse(self, text: String) -> Result<Key, Broken> {
        Ok(match self {
            _ if text.is_empty() => Key::None,
            Axis::Team | Axis::Policy => Key::Id(text.parse().map_err(|_| Broken)?),
            Axis::All | Axis::Priority | Axis::Type | Axis::Channel => Key::Word(text),
        })
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Id(id) => id.fmt(f),
            Key::Word(word) => f.write_str(word),
            Key::None => Ok(()),
        }
    }
}

/// The day that an instant is in: days since 1970.
pub fn day_of(at: Instant) -> i64 {
    at.micros().div_euclid(DAY_US)
}

/// When a day begins.
pub fn start_of(day: i64) -> Instant {
    Instant::from_micros(day.saturating_mul(DAY_US))
}

fn date(day: i64) -> Date {
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().try_days(day).unwrap_or_default()).unwrap_or(Date::MAX)
}

fn day(date: Date) -> i64 {
    date.since(jiff::civil::date(1970, 1, 1)).map_or(0, |span| span.get_days().into())
}

impl Level {
    /// The next shorter one.
    pub fn shorter(self) -> Option<Self> {
        match self {
            Level::Day => None,
            Level::Month => Some(Level::Day),
            Level::Year => Some(Level::Month),
        }
    }

    /// The day on which the cell begins that `at` is in.
    pub fn floor(self, at: Instant) -> i64 {
        let date = |change: fn(Date) -> Date| day(change(date(day_of(at))));
        match self {
            Level::Day => day_of(at),
            Level::Month => date(Date::first_of_month),
            Level::Year => date(Date::first_of_year),
        }
    }

    /// The day on which the cell after that of `start` begins.
    pub fn next(self, start: i64) -> i64 {
        let date = |change: fn(Date) -> Date| day(change(date(start))) + 1;
        match self {
            Level::Day => start + 1,
            Level::Month => date(Date::last_of_month),
            Level::Year => date(Date::last_of_year),
        }
    }

    /// The first day on which a cell begins, at `at` or later.
    fn ceil(self, at: Instant) -> i64 {
        let floor = self.floor(at);
        if start_of(floor) == at { floor } else { self.next(floor) }
    }

    /// The day nearest to `at` on which a cell begins.
    fn nearest(self, at: Instant) -> i64 {
        let (before, after) = (self.floor(at), self.ceil(at));
        let late = at.micros() - start_of(before).micros() > start_of(after).micros() - at.micros();
        if late { after } else { before }
    }

    /// How many parts a sample has at most before they are in rows of their own. Those of days are few and read whole.
    fn most_parts(self) -> usize {
        match self {
            Level::Day => 64,
            Level::Month | Level::Year => 2,
        }
    }
}

/// How far cells are built: they hold all facts before these instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Days, and the facts one by one.
    pub day: Instant,
    /// Months: not after [`Marks::day`].
    pub month: Instant,
    /// Years: not after [`Marks::month`].
    pub year: Instant,
    /// The last row of a part.
    pub last_row: i64,
    /// Whether what is there is to go before any is built.
    pub is_stale: bool,
}

impl Marks {
    /// How far cells of this length are built.
    pub fn until(&self, level: Level) -> Instant {
        match level {
            Level::Day => self.day,
            Level::Month => self.month,
            Level::Year => self.year,
        }
    }

    /// Cells of this length are built as far as `at`.
    pub fn set(&mut self, level: Level, at: Instant) {
        match level {
            Level::Day => self.day = at,
            Level::Month => self.month = at,
            Level::Year => self.year = at,
        }
    }

    /// The first day of which no cell of this length is as good as those of days.
    fn end(&self, level: Level) -> i64 {
        let until = self.until(level);
        if until == self.day { level.ceil(until) } else { level.floor(until) }
    }
}

/// What a window is made of: cells, and stretches whose facts are looked at one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// The cell that begins on this day.
    Cell(Level, i64),
    /// From an instant on, and until just before another one.
    Stretch(Instant, Instant),
}

/// The pieces that come to all facts from `from` on and before `to`, as far as they are built: each is added or, at -1,
/// taken away.
pub fn cover(from: Instant, to: Instant, marks: &Marks) -> Vec<(i64, Piece)> {
    // What is built ends at an instant, and nothing is in a cell behind it.
    let end = if to < marks.day { to } else { start_of(Level::Year.ceil(marks.day)) };
    fit(from.max(Instant::EPOCH), end, Some(Level::Year), marks)
}

fn fit(from: Instant, to: Instant, level: Option<Level>, marks: &Marks) -> Vec<(i64, Piece)> {
    let built_to = to.min(marks.day);
    if from >= built_to {
        return Vec::new();
    }
    let Some(level) = level else { return vec![(1, Piece::Stretch(from, built_to))] };
    let first = level.nearest(from);
    let behind = level.nearest(to).min(marks.end(level));
    if first >= behind {
        return fit(from, to, level.shorter(), marks);
    }
    let mut pieces = Vec::new();
    let mut start = first;
    while start < behind {
        pieces.push((1, Piece::Cell(level, start)));
        start = level.next(start);
    }
    let cells = pieces.len();
    let mut edge = |from: Instant, to: Instant, sign: i64| {
        let (from, to, sign) = if from <= to { (from, to, sign) } else { (to, from, -sign) };
        pieces.extend(fit(from, to, level.shorter(), marks).into_iter().map(|(one, piece)| (sign * one, piece)));
    };
    edge(from, start_of(first), 1);
    edge(start_of(behind), to, 1);
    if cells > 2 {
        return pieces;
    }
    // Near the middle of a long cell, short ones come to the same with less.
    let short = fit(from, to, level.shorter(), marks);
    if effort(&short) < effort(&pieces) { short } else { pieces }
}

/// About how long it takes to read pieces.
fn effort(pieces: &[(i64, Piece)]) -> i64 {
    let one = |piece: &Piece| match piece {
        Piece::Cell(..) => CELL_EFFORT_US,
        Piece::Stretch(from, to) => to.micros() - from.micros(),
    };
    pieces.iter().map(|(_, piece)| one(piece)).sum()
}

/// How many durations there are: four, each in calendar and in business hours.
pub const SAMPLES: usize = 8;

/// A duration that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// From the report to the beginning of work.
    Response,
    /// From the report to the first answer.
    FirstReply,
    /// The time in `open`.
    Service,
    /// From the report to the solution.
    Resolution,
}

/// What can be counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tickets that were opened.
    pub created: i64,
    /// Tickets that were solved.
    pub resolved: i64,
    /// Those of them that have come back.
    pub reopened: i64,
    /// Those of them that were solved at first contact.
    pub first_contact: i64,
    /// Promises that were kept, by target.
    pub met: [i64; 3],
    /// Promises that were broken, by target.
    pub breached: [i64; 3],
    /// Work, in seconds.
    pub work_s: i64,
    /// As much of it as has no rate, in seconds.
    pub unrated_work_s: i64,
    /// What the rest of it cost, in minor units.
    pub costs: BTreeMap<Currency, Cost>,
}

/// Money that work cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// In minor units.
    pub minor: i128,
    /// How many time entries it is from: a currency without any is not there.
    pub entries: i64,
}

impl Counts {
    /// Adds `n` times a fact.
    pub fn add(&mut self, what: &What, n: i64) {
        match what {
            What::Created => self.created += n,
            What::Resolved { reopened, first_contact, .. } => {
                self.resolved += n;
                self.reopened += n * i64::from(*reopened);
                self.first_contact += n * i64::from(*first_contact);
            }
            What::Started(_) | What::Replied(_) => {}
            What::Met(target) => self.met[*target as usize] += n,
            What::Breached(target) => self.breached[*target as usize] += n,
            What::Worked { work_s, cost } => {
                self.work_s += n * work_s;
                match cost {
                    None => self.unrated_work_s += n * work_s,
                    Some(cost) => {
                        let more = Cost { minor: i128::from(n) * i128::from(cost.amount_minor), entries: n };
                        self.grow(cost.currency, more);
                    }
                }
            }
        }
    }

    fn grow(&mut self, currency: Currency, more: Cost) {
        let cost = self.costs.entry(currency).or_default();
        cost.minor += more.minor;
        cost.entries += more.entries;
        if *cost == Cost::default() {
            self.costs.remove(&currency);
        }
    }

    /// Adds `sign` times all of `other`.
    pub fn merge(&mut self, other: &Self, sign: i64) {
        // Taken apart whole, so that a new count does not compile until it is merged.
        let Self { created, resolved, reopened, first_contact, met, breached, work_s, unrated_work_s, costs } = other;
        self.created += sign * created;
        self.resolved += sign * resolved;
        self.reopened += sign * reopened;
        self.first_contact += sign * first_contact;
        for target in Target::ALL.iter().map(|target| *target as usize) {
            self.met[target] += sign * met[target];
            self.breached[target] += sign * breached[target];
        }
        self.work_s += sign * work_s;
        self.unrated_work_s += sign * unrated_work_s;
        for (currency, Cost { minor, entries }) in costs {
            self.grow(*currency, Cost { minor: i128::from(sign) * minor, entries: sign * entries });
        }
    }

    fn pack(&self, writer: &mut Writer) {
        let Self { created, resolved, reopened, first_contact, met, breached, work_s, unrated_work_s, costs } = self;
        for n in
            [created, resolved, reopened, first_contact, work_s, unrated_work_s].into_iter().chain(met).chain(breached)
        {
            writer.whole(*n);
        }
        writer.natural(costs.len() as u64);
        for (currency, Cost { minor, entries }) in costs {
            writer.bytes(currency.as_str().as_bytes());
            writer.long(*minor);
            writer.whole(*entries);
        }
    }

    fn unpack(reader: &mut Reader<'_>) -> Result<Self, Broken> {
        let mut counts = Self::default();
        let Self { created, resolved, reopened, first_contact, met, breached, work_s, unrated_work_s, .. } =
            &mut counts;
        for n in
            [created, resolved, reopened, first_contact, work_s, unrated_work_s].into_iter().chain(met).chain(breached)
        {
            *n = reader.whole()?;
        }
        for _ in 0..reader.count()? {
            let letters = std::str::from_utf8(reader.bytes()?).map_err(|_| Broken)?;
            let currency = letters.parse().map_err(|_| Broken)?;
            counts.costs.insert(currency, Cost { minor: reader.long()?, entries: reader.whole()? });
        }
        Ok(counts)
    }
}

/// The durations of a fact, with the places of their samples.
fn durations(what: &What) -> impl Iterator<Item = (usize, i64)> {
    let [one, two] = match what {
        What::Started(took) => [(Measure::Response, *took), (Measure::Response, None)],
        What::Replied(took) => [(Measure::FirstReply, *took), (Measure::FirstReply, None)],
        What::Resolved { service, resolution, .. } => {
            [(Measure::Service, *service), (Measure::Resolution, *resolution)]
        }
        What::Created | What::Met(_) | What::Breached(_) | What::Worked { .. } => [(Measure::Service, None); 2],
    };
    [one, two]
        .into_iter()
        .filter_map(|(measure, took)| Some((measure as usize * 2, took?)))
        .flat_map(|(place, Took { calendar_s, business_s })| [(place, calendar_s), (place + 1, business_s)])
}

/// What facts come to, of which percentiles are still to be told.
#[derive(Debug, Clone, Default)]
pub struct Heap {
    /// What can be counted.
    pub counts: Counts,
    sums: [i128; SAMPLES],
    samples: [Pile; SAMPLES],
}

impl Heap {
    /// Adds `n` times a fact.
    pub fn add(&mut self, what: &What, n: i64) {
        self.counts.add(what, n);
        for (place, value) in durations(what) {
            self.sums[place] += i128::from(n) * i128::from(value);
            self.samples[place].add(value, n);
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: Self) {
        self.counts.merge(&other.counts, 1);
        for (place, pile) in other.samples.into_iter().enumerate() {
            self.sums[place] += other.sums[place];
            self.samples[place].pour(pile);
        }
    }

    /// Adds all of a cell; `rows` has those of [`Cell::rows`].
    ///
    /// # Errors
    /// When a row is missing or broken.
    pub fn pour(&mut self, cell: &Cell, rows: &Rows) -> Result<(), Broken> {
        self.counts.merge(&cell.counts, 1);
        for place in 0..SAMPLES {
            self.sums[place] += cell.sums[place];
            cell.samples[place].pour(rows, 1, &mut self.samples[place])?;
        }
        Ok(())
    }
}

/// What a sample says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spread {
    /// How many values there are.
    pub count: i64,
    /// What they come to.
    pub sum: i128,
    /// The least value that half of the values do not exceed, and so on, as [`PERCENTS`] has them; 0 if there is none.
    pub percentiles: [i64; PERCENTS.len()],
}

/// What facts come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What can be counted.
    pub counts: Counts,
    /// The durations: of each [`Measure`] that of all hours and that of business hours.
    pub spreads: [Spread; SAMPLES],
}

impl Figures {
    /// The spread of a duration in calendar hours, and in business hours.
    pub fn of(&self, measure: Measure) -> [Spread; 2] {
        let place = measure as usize * 2;
        [self.spreads[place], self.spreads[place + 1]]
    }

    /// In few bytes; without the percentiles if they are not `told`.
    fn pack(&self, told: bool) -> Vec<u8> {
        let mut writer = Writer::default();
        self.counts.pack(&mut writer);
        writer.byte(u8::from(told));
        for Spread { count, sum, percentiles } in &self.spreads {
            writer.whole(*count);
            writer.long(*sum);
            if told && *count != 0 {
                percentiles.iter().for_each(|value| writer.whole(*value));
            }
        }
        writer.0
    }

    /// As a cell keeps them, and whether the percentiles are told.
    ///
    /// # Errors
    /// When it does not.
    pub fn unpack(bytes: &[u8]) -> Result<(Self, bool), Broken> {
        let mut reader = Reader(bytes);
        let mut figures = Self { counts: Counts::unpack(&mut reader)?, ..Self::default() };
        let told = reader.byte()? != 0;
        for Spread { count, sum, percentiles } in &mut figures.spreads {
            *count = reader.whole()?;
            *sum = reader.long()?;
            if told && *count != 0 {
                for value in percentiles {
                    *value = reader.whole()?;
                }
            }
        }
        Ok((figures, told))
    }
}

/// Cells and facts that are added and taken away, and what they come to.
#[derive(Debug, Default)]
pub struct Mix {
    /// What can be counted.
    counts: Counts,
    sums: [i128; SAMPLES],
    counted: [i64; SAMPLES],
    unions: [Union; SAMPLES],
}

impl Mix {
    /// Adds `sign` times a cell.
    pub fn add(&mut self, cell: &Cell, sign: i64) {
        self.counts.merge(&cell.counts, sign);
        for (place, sample) in cell.samples.iter().enumerate() {
            self.sums[place] += i128::from(sign) * cell.sums[place];
            self.counted[place] += sign * sample.count();
            self.unions[place].add(sample, sign);
        }
    }

    /// Adds facts.
    pub fn pour(&mut self, heap: Heap) {
        self.counts.merge(&heap.counts, 1);
        for (place, pile) in heap.samples.into_iter().enumerate() {
            self.sums[place] += heap.sums[place];
            self.counted[place] += pile.loose().iter().map(|(_, n)| n).sum::<i64>();
            self.unions[place].pour(pile);
        }
    }

    /// All of it, ready to be told.
    pub fn ordered(self) -> OrderedMix {
        let Self { counts, sums, counted, unions } = self;
        OrderedMix { counts, sums, counted, unions: unions.map(Union::ordered) }
    }
}

/// A mix in order.
#[derive(Debug)]
pub struct OrderedMix {
    counts: Counts,
    sums: [i128; SAMPLES],
    counted: [i64; SAMPLES],
    unions: [Ordered; SAMPLES],
}

impl OrderedMix {
    /// The rows that are needed to tell all of it.
    pub fn rows(&self) -> Vec<i64> {
        let mut rows: Vec<i64> = self.unions.iter().flat_map(Ordered::rows).collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// What all of it comes to; `rows` has those of [`OrderedMix::rows`].
    ///
    /// # Errors
    /// When a row is missing or broken.
    pub fn told(self, rows: &Rows) -> Result<Figures, Broken> {
        let mut figures = Figures { counts: self.counts, ..Figures::default() };
        for (place, spread) in figures.spreads.iter_mut().enumerate() {
            let percentiles = self.unions[place].percentiles(rows)?.unwrap_or_default();
            *spread = Spread { count: self.counted[place], sum: self.sums[place], percentiles };
        }
        Ok(figures)
    }
}

impl Heap {
    /// What all of it comes to.
    pub fn told(self) -> Figures {
        let mut mix = Mix::default();
        mix.pour(self);
        // There is no row that it could lack.
        mix.ordered().told(&Rows::new()).unwrap_or_default()
    }
}

/// What the facts of a stretch of time about the tickets of a group come to, with all durations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    counts: Counts,
    sums: [i128; SAMPLES],
    samples: [Sample; SAMPLES],
}

/// A cell as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// What it comes to.
    pub figures: Vec<u8>,
    /// The durations.
    pub samples: Vec<u8>,
}

impl Cell {
    /// As it is stored.
    ///
    /// # Errors
    /// When it was not written here.
    pub fn unpack(packed: &Packed) -> Result<Self, Broken> {
        let (Figures { counts, spreads }, _) = Figures::unpack(&packed.figures)?;
        let mut cell = Self { counts, ..Self::default() };
        let mut reader = Reader(&packed.samples);
        for (place, spread) in spreads.iter().enumerate() {
            cell.sums[place] = spread.sum;
            cell.samples[place] = Sample::unpack(&mut reader)?;
        }
        Ok(cell)
    }

    /// The rows of all parts that are not here.
    pub fn rows(&self) -> Vec<i64> {
        self.samples.iter().flat_map(Sample::rows).collect()
    }

    /// How to add all of `change`.
    pub fn plan(&self, change: Heap) -> Plan {
        let changes = change.samples.map(Pile::settled);
        let rows = self.samples.iter().zip(&changes).flat_map(|(sample, changes)| sample.touched(changes)).collect();
        Plan { counts: change.counts, sums: change.sums, changes, rows }
    }

    /// Makes a planned change, as a cell of this length; `rows` has those of the plan.
    ///
    /// # Errors
    /// When something stored is missing or broken.
    pub fn edit(&mut self, plan: Plan, rows: &Rows, level: Level, last_row: &mut i64) -> Result<Moves, Broken> {
        self.counts.merge(&plan.counts, 1);
        let mut moves = Moves::default();
        for (place, changes) in plan.changes.into_iter().enumerate() {
            self.sums[place] += plan.sums[place];
            let Moves { put, gone } = self.samples[place].edit(changes, rows, level.most_parts(), last_row)?;
            moves.put.extend(put);
            moves.gone.extend(gone);
        }
        Ok(moves)
    }

    /// As it is to be stored, or nothing if nothing is in it.
    ///
    /// # Errors
    /// When something in it is broken.
    pub fn pack(&self) -> Result<Option<Packed>, Broken> {
        if *self == Self::default() {
            return Ok(None);
        }
        let mut writer = Writer::default();
        self.samples.iter().for_each(|sample| sample.pack(&mut writer));
        // What is all here is told once and for all.
        let told = self.samples.iter().all(Sample::is_here);
        let figures = if told {
            let mut mix = Mix::default();
            mix.add(self, 1);
            mix.ordered().told(&Rows::new())?
        } else {
            let mut figures = Figures { counts: self.counts.clone(), ..Figures::default() };
            for (place, spread) in figures.spreads.iter_mut().enumerate() {
                *spread = Spread { count: self.samples[place].count(), sum: self.sums[place], ..Spread::default() };
            }
            figures
        };
        Ok(Some(Packed { figures: figures.pack(told), samples: writer.0 }))
    }
}

/// A change of a cell.
#[derive(Debug)]
pub struct Plan {
    counts: Counts,
    sums: [i128; SAMPLES],
    changes: [Runs; SAMPLES],
    /// The rows that it touches.
    pub rows: Vec<i64>,
}

/// What facts come to in each cell of a length that is built so far.
pub fn sort_into_cells(facts: &Facts, level: Level, marks: &Marks) -> BTreeMap<(Axis, i64, Key), Heap> {
    let until = marks.until(level);
    let mut by_day: BTreeMap<(i64, Keys), Heap> = BTreeMap::new();
    for (fact, n) in facts.iter().filter(|(fact, _)| fact.at < until) {
        by_day.entry((day_of(fact.at), fact.keys)).or_default().add(&fact.what, n);
    }
    let mut cells: BTreeMap<(Axis, i64, Key), Heap> = BTreeMap::new();
    for ((day, keys), heap) in by_day {
        let start = level.floor(start_of(day));
        for axis in Axis::ALL {
            cells.entry((*axis, start, axis.key(&keys))).or_default().merge(heap.clone());
        }
    }
    cells
}

#[cfg(test)]
mod tests;
