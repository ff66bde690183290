//! Samples of whole numbers, kept exactly: how often each value is there. A large one is in parts, each a range of values,
//! so that a percentile is found by looking into few of them, and an edit writes few of them anew. Pure.

use std::collections::HashMap;

use super::packed::{Broken, Reader, Writer};

/// How many different values a part has, about.
pub const RUNS: usize = 512;

/// Of how many percent the values are told that are the least which so many percent do not exceed.
pub const PERCENTS: [i64; 5] = [50, 90, 95, 99, 100];

/// How often each value is there, in the order of the values, none 0 times.
pub type Runs = Vec<(i64, i64)>;

/// Parts that are in rows of their own, by the row.
pub type Rows = HashMap<i64, Vec<u8>>;

/// Values that are still to be put in order. Takes as much room as there are different ones, about.
#[derive(Debug, Clone, Default)]
pub struct Pile {
    runs: Runs,
    settled: usize,
}

impl Pile {
    /// Adds `n` times a value.
    pub fn add(&mut self, value: i64, n: i64) {
        self.runs.push((value, n));
        if self.runs.len() > 2 * self.settled + 4 * RUNS {
            settle(&mut self.runs);
            self.settled = self.runs.len();
        }
    }

    /// Adds `sign` times all of `runs`.
    pub fn merge(&mut self, runs: &[(i64, i64)], sign: i64) {
        runs.iter().for_each(|(value, n)| self.add(*value, sign * n));
    }

    /// Adds all of `other`.
    pub fn pour(&mut self, other: Self) {
        if self.runs.is_empty() {
            *self = other;
        } else {
            self.merge(&other.runs, 1);
        }
    }

    /// All that was added, unordered.
    pub fn loose(&self) -> &[(i64, i64)] {
        &self.runs
    }

    /// In order.
    pub fn settled(mut self) -> Runs {
        settle(&mut self.runs);
        self.runs
    }
}

fn settle(runs: &mut Runs) {
    // Much of it is in order already, which the stable sort makes use of.
    runs.sort_by_key(|(value, _)| *value);
    runs.dedup_by(|(value, n), (kept, sum)| {
        let same = value == kept;
        if same {
            *sum += *n;
        }
        same
    });
    runs.retain(|(_, n)| *n != 0);
}

fn pack(runs: &[(i64, i64)]) -> Vec<u8> {
    let mut writer = Writer::default();
    let mut last = runs.first().map_or(0, |(low, _)| *low);
    for (value, n) in runs {
        let step = value.wrapping_sub(last).cast_unsigned();
        writer.natural(step << 1 | u64::from(*n != 1));
        if *n != 1 {
            writer.whole(*n);
        }
        last = *value;
    }
    writer.0
}

/// Runs that are packed, one by one.
struct PackedRuns<'a> {
    reader: Reader<'a>,
    value: i64,
}

impl<'a> PackedRuns<'a> {
    /// Those that [`pack`] wrote, of which the first value is `low`.
    fn new(bytes: &'a [u8], low: i64) -> Self {
        Self { reader: Reader(bytes), value: low }
    }

    fn run(&mut self) -> Result<(i64, i64), Broken> {
        let step = self.reader.natural()?;
        self.value = self.value.wrapping_add((step >> 1).cast_signed());
        Ok((self.value, if step & 1 == 0 { 1 } else { self.reader.whole()? }))
    }
}

impl Iterator for PackedRuns<'_> {
    type Item = Result<(i64, i64), Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.reader.0.is_empty()).then(|| self.run())
    }
}

fn unpack(bytes: &[u8], low: i64) -> Result<Runs, Broken> {
    let mut runs = Vec::with_capacity(2 * RUNS);
    for run in PackedRuns::new(bytes, low) {
        runs.push(run?);
    }
    Ok(runs)
}

/// A range of the values of a sample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The least value.
    pub low: i64,
    /// The greatest.
    pub high: i64,
    /// How many values there are.
    pub count: i64,
    /// The row where they are, if not here.
    pub row: Option<i64>,
    /// The packed runs, if they are here or have just changed; of a single value there are none.
    runs: Option<Vec<u8>>,
}

impl Part {
    fn of(runs: &[(i64, i64)], row: Option<i64>) -> Option<Self> {
        let (low, high) = (runs.first()?.0, runs.last()?.0);
        let count = runs.iter().map(|(_, n)| n).sum();
        let packed = if low == high { Vec::new() } else { pack(runs) };
        Some(Self { low, high, count, row, runs: Some(packed) })
    }

    fn runs(&self, rows: &Rows) -> Result<Runs, Broken> {
        if self.low == self.high {
            return Ok(vec![(self.low, self.count)]);
        }
        unpack(self.bytes(rows)?, self.low)
    }

    fn bytes<'a>(&'a self, rows: &'a Rows) -> Result<&'a [u8], Broken> {
        match (&self.runs, self.row) {
            (Some(runs), _) => Ok(runs),
            (None, Some(row)) => rows.get(&row).map(Vec::as_slice).ok_or(Broken),
            (None, None) => Err(Broken),
        }
    }
}

/// How often each value is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    /// In the order of their values, which do not overlap.
    parts: Vec<Part>,
    /// What has been taken away before it was added.
    owed: Runs,
}

/// What becomes of rows when a sample is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moves {
    /// Rows that are new or have changed.
    pub put: Vec<(i64, Vec<u8>)>,
    /// Rows that are not needed any more.
    pub gone: Vec<i64>,
}

impl Sample {
    /// How many values there are.
    pub fn count(&self) -> i64 {
        self.parts.iter().map(|part| part.count).chain(self.owed.iter().map(|(_, n)| *n)).sum()
    }

    /// The rows of all parts that are not here.
    pub fn rows(&self) -> impl Iterator<Item = i64> {
        self.parts.iter().filter(|part| part.runs.is_none()).filter_map(|part| part.row)
    }

    /// Whether all of it is here.
    pub fn is_here(&self) -> bool {
        self.rows().next().is_none()
    }

    /// Adds `sign` times all values to a pile; `rows` has those of [`Sample::rows`].
    ///
    /// # Errors
    /// When a row is missing or broken.
    pub fn pour(&self, rows: &Rows, sign: i64, pile: &mut Pile) -> Result<(), Broken> {
        for part in &self.parts {
            pile.merge(&part.runs(rows)?, sign);
        }
        pile.merge(&self.owed, sign);
        Ok(())
    }

    /// The rows that are needed to make `changes`.
    pub fn touched(&self, changes: &[(i64, i64)]) -> Vec<i64> {
        let place = |value: i64| self.parts.partition_point(|part| part.low <= value).saturating_sub(1);
        let mut rows: Vec<i64> = changes
            .iter()
            .chain(&self.owed)
            .filter_map(|(value, _)| self.parts.get(place(*value)))
            .filter(|part| part.runs.is_none())
            .filter_map(|part| part.row)
            .collect();
        rows.sort_unstable();
        rows.dedup();
        rows
    }

    /// Adds `changes`, which are in order; `rows` has those of [`Sample::touched`]. A sample of more than `most` parts has
    /// them in rows: new ones are numbered on from `last_row`.
    ///
    /// # Errors
    /// When a row is missing or broken.
    pub fn edit(&mut self, changes: Runs, rows: &Rows, most: usize, last_row: &mut i64) -> Result<Moves, Broken> {
        let mut moves = Moves::default();
        let mut changes = changes;
        changes.append(&mut self.owed);
        settle(&mut changes);
        let mut changes = changes.as_slice();
        let old = std::mem::take(&mut self.parts);
        let ends: Vec<Option<i64>> = old.iter().skip(1).map(|next| Some(next.low)).chain([None]).collect();
        if old.is_empty() {
            self.append(changes.to_vec(), None);
        }
        for (part, end) in old.into_iter().zip(ends) {
            let here;
            (here, changes) =
                changes.split_at(changes.partition_point(|(value, _)| end.is_none_or(|end| *value < end)));
            if here.is_empty() {
                self.parts.push(part);
                continue;
            }
            let mut runs = part.runs(rows)?;
            runs.extend(here);
            settle(&mut runs);
            if !self.append(runs, part.row) {
                moves.gone.extend(part.row);
            }
        }
        let many = self.parts.len() > most;
        for part in &mut self.parts {
            let single = part.low == part.high;
            if single {
                moves.gone.extend(part.row.take());
            } else if many && part.row.is_none() {
                *last_row += 1;
                part.row = Some(*last_row);
            }
            if let Some(row) = part.row {
                moves.put.extend(part.runs.take().map(|runs| (row, runs)));
            }
        }
        Ok(moves)
    }

    /// Appends parts of these runs; the first one is in `row`. Says whether there is any.
    fn append(&mut self, mut runs: Runs, row: Option<i64>) -> bool {
        self.owed.extend(runs.iter().filter(|(_, n)| *n < 0));
        runs.retain(|(_, n)| *n > 0);
        let size = if runs.len() > 2 * RUNS { RUNS } else { 2 * RUNS };
        let rows = std::iter::once(row).chain(std::iter::repeat(None));
        self.parts.extend(runs.chunks(size).zip(rows).filter_map(|(runs, row)| Part::of(runs, row)));
        !runs.is_empty()
    }

    /// In few bytes.
    pub fn pack(&self, writer: &mut Writer) {
        writer.natural(self.parts.len() as u64);
        let mut last = 0;
        for Part { low, high, count, row, runs } in &self.parts {
            writer.whole(low.wrapping_sub(last));
            writer.natural(high.wrapping_sub(*low).cast_unsigned());
            writer.whole(*count);
            last = *high;
            match row {
                Some(row) => writer.natural(row.cast_unsigned() + 1),
                None => {
                    writer.natural(0);
                    writer.bytes(runs.as_deref().unwrap_or_default());
                }
            }
        }
        writer.bytes(&pack(&self.owed));
        writer.whole(self.owed.first().map_or(0, |(low, _)| *low));
    }

    /// As [`Sample::pack`] wrote it.
    ///
    /// # Errors
    /// When it did not.
    pub fn unpack(reader: &mut Reader<'_>) -> Result<Self, Broken> {
        let mut sample = Self::default();
        let mut last: i64 = 0;
        for _ in 0..reader.count()? {
            let low = last.wrapping_add(reader.whole()?);
            let high = low.wrapping_add(reader.natural()?.cast_signed());
            let count = reader.whole()?;
            last = high;
            let (row, runs) = match reader.natural()? {
                0 => (None, Some(reader.bytes()?.to_vec())),
                row => (Some(row.cast_signed() - 1), None),
            };
            sample.parts.push(Part { low, high, count, row, runs });
        }
        let owed = reader.bytes()?;
        sample.owed = unpack(owed, reader.whole()?)?;
        Ok(sample)
    }
}

/// Samples that are added and taken away, of which percentiles are asked.
#[derive(Debug, Default)]
pub struct Union {
    /// Of more than one value each, and how often they are added.
    parts: Vec<(i64, Part)>,
    rest: Pile,
}

impl Union {
    /// Adds `sign` times a sample.
    pub fn add(&mut self, sample: &Sample, sign: i64) {
        for part in &sample.parts {
            if part.low == part.high {
                self.rest.add(part.low, sign * part.count);
            } else {
                self.parts.push((sign, part.clone()));
            }
        }
        self.rest.merge(&sample.owed, sign);
    }

    /// Adds values.
    pub fn pour(&mut self, values: Pile) {
        self.rest.pour(values);
    }

    /// All that was added, ready to tell the percentiles.
    pub fn ordered(self) -> Ordered {
        Ordered::of(self.parts, self.rest.settled())
    }
}

/// A union that knows where its parts are in the order of all its values, without looking into them.
#[derive(Debug)]
pub struct Ordered {
    parts: Vec<(i64, Part)>,
    rest: Runs,
    /// What each [`RUNS`] of the rest, a stretch of values just like a part, come to.
    sums: Vec<i64>,
    /// For each value at which such a stretch begins or ends: how many values are at most as large, at the least and at the
    /// most.
    bounds: Vec<(i64, i64, i64)>,
    count: i64,
}

impl Ordered {
    fn of(parts: Vec<(i64, Part)>, rest: Runs) -> Self {
        let mut steps: Vec<(i64, i64, i64)> = Vec::with_capacity(2 * parts.len());
        // What is there is there at the latest at the highest value, and what is taken away at the lowest one.
        let mut stretch = |low: i64, high: i64, there: i64, taken: i64| {
            steps.push((low, taken, there));
            steps.push((high, there, taken));
        };
        let mut sums = Vec::new();
        for runs in rest.chunks(RUNS) {
            let there = runs.iter().map(|(_, n)| (*n).max(0)).sum();
            let taken = runs.iter().map(|(_, n)| (*n).min(0)).sum();
            stretch(runs[0].0, runs[runs.len() - 1].0, there, taken);
            sums.push(there + taken);
        }
        for (sign, part) in &parts {
            let n = sign * part.count;
            stretch(part.low, part.high, n.max(0), n.min(0));
        }
        // Runs that are in order already.
        steps.sort_by_key(|(value, ..)| *value);
        let (mut least, mut most) = (0, 0);
        let mut bounds: Vec<(i64, i64, i64)> = Vec::with_capacity(steps.len());
        for (value, late, early) in steps {
            least += late;
            most += early;
            match bounds.last_mut() {
                Some(last) if last.0 == value => (last.1, last.2) = (least, most),
                _ => bounds.push((value, least, most)),
            }
        }
        Self { parts, rest, sums, bounds, count: least }
    }

    /// The rows that are needed to tell the percentiles.
    pub fn rows(&self) -> Vec<i64> {
        if self.parts.iter().all(|(_, part)| part.runs.is_some()) {
            return Vec::new();
        }
        let brackets: Vec<_> = PERCENTS.iter().filter_map(|percent| self.bracket(self.rank(*percent))).collect();
        let asked = |part: &Part| brackets.iter().any(|(low, high)| part.low <= *high && *low <= part.high);
        let missing = self.parts.iter().filter(|(_, part)| part.runs.is_none() && asked(part));
        missing.filter_map(|(_, part)| part.row).collect()
    }

    /// The values of [`PERCENTS`] by nearest rank, if there is any value; `rows` has those of [`Ordered::rows`].
    ///
    /// # Errors
    /// When a row is missing or broken.
    pub fn percentiles(&self, rows: &Rows) -> Result<Option<[i64; 5]>, Broken> {
        if self.count <= 0 {
            return Ok(None);
        }
        let mut values = [0; 5];
        for (value, percent) in values.iter_mut().zip(PERCENTS) {
            *value = self.at(self.rank(percent), rows)?;
        }
        Ok(Some(values))
    }

    /// The value of this rank.
    fn at(&self, rank: i64, rows: &Rows) -> Result<i64, Broken> {
        let (low, high) = self.bracket(rank).ok_or(Broken)?;
        let mut below = 0;
        let mut within: Runs = Vec::new();
        let mut take = |value: i64, n: i64| {
            if value < low {
                below += n;
            } else {
                within.push((value, n));
            }
        };
        for (runs, sum) in self.rest.chunks(RUNS).zip(&self.sums) {
            if runs[runs.len() - 1].0 < low {
                take(runs[0].0, *sum);
            } else {
                runs.iter().take_while(|(value, _)| *value <= high).for_each(|(value, n)| take(*value, *n));
            }
        }
        for (sign, part) in &self.parts {
            if part.high < low {
                take(part.low, sign * part.count);
            } else if part.low <= high {
                for run in PackedRuns::new(part.bytes(rows)?, part.low) {
                    let (value, n) = run?;
                    if value > high {
                        break;
                    }
                    take(value, sign * n);
                }
            }
        }
        nth(within, rank - below).ok_or(Broken)
    }

    /// The least number of values that are so many percent.
    fn rank(&self, percent: i64) -> i64 {
        let exact = (i128::from(self.count) * i128::from(percent) + 99).div_euclid(100);
        i64::try_from(exact).unwrap_or(i64::MAX).max(1)
    }

    /// The least and the greatest value that may have this rank.
    fn bracket(&self, rank: i64) -> Option<(i64, i64)> {
        let too_few = self.bounds.iter().rposition(|(_, _, most)| *most < rank);
        let low = self.bounds.get(too_few.map_or(0, |place| place + 1))?.0;
        let high = self.bounds.iter().find(|(_, least, _)| *least >= rank)?.0;
        Some((low, high))
    }
}

/// The least value at which the sum of all up to it is at least `rank`: sorted are only those near it.
fn nth(mut runs: Runs, mut rank: i64) -> Option<i64> {
    const BINS: usize = 256;
    if runs.len() > BINS {
        let low = runs.iter().map(|(value, _)| *value).min()?;
        let high = runs.iter().map(|(value, _)| *value).max()?;
        let span = high.wrapping_sub(low).cast_unsigned();
        let shift = (u64::BITS - span.leading_zeros()).saturating_sub(BINS.ilog2());
        let bin = |value: i64| usize::from((value.wrapping_sub(low).cast_unsigned() >> shift).to_le_bytes()[0]);
        let mut sums = [0; BINS];
        runs.iter().for_each(|(value, n)| sums[bin(*value)] += n);
        // Sums only grow from value to value, so that the rank is reached in the first bin whose end has reached it.
        let mut below = 0;
        let chosen = sums.iter().position(|n| {
            let reached = below + n >= rank;
            below += if reached { 0 } else { *n };
            reached
        })?;
        runs.retain(|(value, _)| bin(*value) == chosen);
        rank -= below;
    }
    settle(&mut runs);
    let mut sum = 0;
    runs.into_iter().find_map(|(value, n)| {
        sum += n;
        (sum >= rank).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// Values of very different sizes, and many that are the same.
    fn any_value() -> impl Strategy<Value = i64> {
        prop_oneof![3 => Just(0i64), 3 => 0i64..50, 3 => 0i64..20_000, 2 => 0i64..4_000_000, 1 => -9i64..9]
    }

    fn list_of(values: &BTreeMap<i64, i64>) -> Vec<i64> {
        values
            .iter()
            .flat_map(|(value, n)| std::iter::repeat_n(*value, usize::try_from(*n).expect("not owed")))
            .collect()
    }

    fn naive(list: &[i64]) -> Option<[i64; 5]> {
        let nearest =
            |percent: i64| list[(list.len() * usize::try_from(percent).expect("small")).div_ceil(100).max(1) - 1];
        (!list.is_empty()).then(|| PERCENTS.map(nearest))
    }

    /// A sample with its rows, as a database would have them.
    #[derive(Default)]
    struct Kept {
        sample: Sample,
        rows: Rows,
        last_row: i64,
        truth: BTreeMap<i64, i64>,
    }

    impl Kept {
        fn edit(&mut self, changes: &[(i64, i64)], most: usize) {
            let mut pile = Pile::default();
            for (value, n) in changes {
                pile.add(*value, *n);
                *self.truth.entry(*value).or_default() += n;
            }
            self.truth.retain(|_, n| *n != 0);
            let changes = pile.settled();
            let touched = self.sample.touched(&changes);
            let read: Rows = touched.into_iter().map(|row| (row, self.rows[&row].clone())).collect();
            let moves = self.sample.edit(changes, &read, most, &mut self.last_row).expect("not broken");
            for row in moves.gone {
                self.rows.remove(&row);
            }
            self.rows.extend(moves.put);
            let mut writer = Writer::default();
            self.sample.pack(&mut writer);
            self.sample = Sample::unpack(&mut Reader(&writer.0)).expect("its own");
        }

        fn check(&self) -> Result<(), TestCaseError> {
            let rows: Vec<i64> = self.sample.rows().collect();
            prop_assert_eq!(rows.len(), self.rows.len(), "no row is left over");
            let mut pile = Pile::default();
            self.sample.pour(&self.rows, 1, &mut pile).expect("not broken");
            prop_assert_eq!(pile.settled(), self.truth.iter().map(|(v, n)| (*v, *n)).collect::<Runs>());
            prop_assert!(self.sample.parts.windows(2).all(|pair| pair[0].high < pair[1].low));
            prop_assert_eq!(self.sample.count(), self.truth.values().sum::<i64>());
            Ok(())
        }
    }

    fn any_edits() -> impl Strategy<Value = Vec<Vec<(i64, i64)>>> {
        prop::collection::vec(prop::collection::vec((any_value(), 1i64..4), 0..2_000), 1..4)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn edits_in_parts_come_to_the_plain_list(edits in any_edits(), most in 0usize..4, back in any::<prop::sample::Index>()) {
            let mut kept = Kept::default();
            for edit in &edits {
                kept.edit(edit, most);
                kept.check()?;
            }
            // Some are taken away again, one of them before it was added.
            let edit = back.get(&edits);
            let less: Vec<_> = edit.iter().map(|(value, n)| (*value, -n)).chain([(7_777_777, -1)]).collect();
            kept.edit(&less, most);
            kept.check()?;
            kept.edit(&[(7_777_777, 1)], most);
            kept.check()?;
            prop_assert!(kept.sample.owed.is_empty());
            let mut union = Union::default();
            union.add(&kept.sample, 1);
            prop_assert_eq!(union.ordered().percentiles(&kept.rows), Ok(naive(&list_of(&kept.truth))));
        }

        #[test]
        fn percentiles_of_a_union_are_those_of_the_plain_list(
            parts in prop::collection::vec((any_edits(), 0usize..3), 1..5),
            taken in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
            rest in prop_oneof![prop::collection::vec((any_value(), 1i64..3), 0..30), prop::collection::vec((any_value(), 1i64..3), 3_000)],
            less in prop::collection::vec(any::<prop::sample::Index>(), 0..2_000),
        ) {
            let mut union = Union::default();
            let mut truth: BTreeMap<i64, i64> = BTreeMap::new();
            let mut rows = Rows::new();
            let mut last_row = 0;
            let mut samples = Vec::new();
            for (edits, most) in &parts {
                let mut kept = Kept { last_row, ..Kept::default() };
                edits.iter().for_each(|edit| kept.edit(edit, *most));
                last_row = kept.last_row;
                rows.extend(kept.rows.clone());
                samples.push(kept);
            }
            // Each is added twice, and some are taken away once.
            for kept in samples.iter().chain(&samples) {
                union.add(&kept.sample, 1);
                kept.truth.iter().for_each(|(value, n)| *truth.entry(*value).or_default() += n);
            }
            let mut taken: Vec<_> = taken.iter().map(|index| index.index(samples.len())).collect();
            taken.sort_unstable();
            taken.dedup();
            for place in taken {
                union.add(&samples[place].sample, -1);
                samples[place].truth.iter().for_each(|(value, n)| *truth.entry(*value).or_default() -= n);
            }
            let mut pile = Pile::default();
            for (value, n) in rest {
                pile.add(value, n);
                *truth.entry(value).or_default() += n;
            }
            // Some values are taken away one by one, wherever they are.
            let there: Vec<i64> = truth.keys().copied().collect();
            for value in less.iter().filter(|_| !there.is_empty()).map(|index| there[index.index(there.len())]) {
                if truth[&value] > 0 {
                    pile.add(value, -1);
                    truth.entry(value).and_modify(|n| *n -= 1);
                }
            }
            union.pour(pile);
            let union = union.ordered();
            // Only the rows that it asks for.
            let asked: Rows = union.rows().into_iter().map(|row| (row, rows[&row].clone())).collect();
            prop_assert_eq!(union.percentiles(&asked), Ok(naive(&list_of(&truth))));
        }

        #[test]
        fn a_pile_takes_no_more_room_than_its_values(values in prop::collection::vec((0i64..40, -2i64..3), 0..9_000)) {
            let mut pile = Pile::default();
            let mut truth: BTreeMap<i64, i64> = BTreeMap::new();
            for (value, n) in values {
                pile.add(value, n);
                *truth.entry(value).or_default() += n;
                prop_assert!(pile.runs.len() <= 2 * 40 + 4 * RUNS);
            }
            truth.retain(|_, n| *n != 0);
            prop_assert_eq!(pile.settled(), truth.into_iter().collect::<Runs>());
        }

        #[test]
        fn what_is_no_sample_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Sample::unpack(&mut Reader(&bytes));
        }
    }
}
