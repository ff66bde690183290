use super::super::facts::Fact;
use super::super::facts::tests::any_fact;
use super::*;
use proptest::prelude::*;

const YEAR_US: i64 = 366 * DAY_US;

fn at(text: &str) -> Instant {
    text.parse().expect("an instant")
}

/// Instants of three years, some of them where something begins.
fn any_instant() -> impl Strategy<Value = Instant> {
    let edge = (prop::sample::select(Level::ALL), 0..3 * YEAR_US, -1i64..2);
    prop_oneof![
        (0..3 * YEAR_US).prop_map(Instant::from_micros),
        edge.prop_map(|(level, us, off)| {
            let start = start_of(level.floor(Instant::from_micros(us)));
            Instant::from_micros((start.micros() + off).max(0))
        }),
    ]
}

/// Marks as building may leave them: months and years in step, or behind.
fn any_marks() -> impl Strategy<Value = Marks> {
    (any_instant(), any_instant(), any_instant(), 0u8..3).prop_map(|(a, b, c, in_step)| {
        let mut instants = [a, b, c];
        instants.sort_unstable();
        let [year, month, day] = instants;
        let month = if in_step > 0 { day } else { month };
        Marks { day, month, year: if in_step > 1 { day } else { year }, last_row: 0, is_stale: false }
    })
}

fn covers(pieces: &[(i64, Piece)], marks: &Marks, at: Instant) -> i64 {
    let within = |piece: &Piece| match piece {
        Piece::Cell(level, day) => {
            let span = start_of(*day)..start_of(level.next(*day));
            span.contains(&at) && at < marks.until(*level)
        }
        Piece::Stretch(from, to) => (*from..*to).contains(&at) && at < marks.day,
    };
    pieces.iter().filter(|(_, piece)| within(piece)).map(|(sign, _)| sign).sum()
}

proptest! {
    #[test]
    fn every_instant_is_covered_once(from in any_instant(), to in any_instant(), marks in any_marks(), probes in prop::collection::vec(any_instant(), 30)) {
        let pieces = cover(from, to, &marks);
        for probe in probes.into_iter().chain([from, to, marks.day, marks.month, marks.year]).filter(|probe| *probe < marks.day) {
            let expected = i64::from(from <= probe && probe < to);
            prop_assert_eq!(covers(&pieces, &marks, probe), expected, "{} of {}..{}: {:?} at {:?}", probe, from, to, pieces, marks);
        }
    }

    #[test]
    fn windows_are_made_of_few_pieces(from in any_instant(), to in any_instant(), built in any_instant()) {
        let marks = Marks { day: built, month: built, year: built, last_row: 0, is_stale: false };
        let pieces = cover(from, to, &marks);
        prop_assert!(pieces.len() <= 60, "{:?}", pieces);
        let looked_at: i64 = pieces.iter().map(|(_, piece)| if let Piece::Stretch(from, to) = piece { to.micros() - from.micros() } else { 0 }).sum();
        // Half a day at each end, or as much more as one or two cells of a day weigh.
        prop_assert!(looked_at <= DAY_US + 2 * CELL_EFFORT_US, "{:?}", pieces);
    }
}

#[test]
fn the_cheaper_pieces_are_chosen() {
    let us = Instant::from_micros;
    let built_to = |at: Instant| Marks { day: at, month: at, year: at, last_row: 0, is_stale: false };
    // A cell weighs more than the two microseconds that it would spare.
    let (from, to) = (us(30_108_735_333_493), us(30_195_135_333_495));
    assert_eq!(cover(from, to, &built_to(us(2 * YEAR_US))), [(1, Piece::Stretch(from, to))]);
    // To take away the rest of a month of which nothing is built yet costs nothing.
    let (from, to) = (us(5_745_600_000_001), us(67_089_600_000_001));
    let pieces = cover(from, to, &built_to(us(67_089_600_000_002)));
    assert!(pieces.len() <= 20, "{pieces:?}");
}

#[test]
fn a_window_until_now_has_no_end_to_look_at() {
    let now = at("2026-11-24T12:34:56Z");
    let marks = Marks { day: now, month: now, year: now, last_row: 0, is_stale: false };
    let pieces = cover(at("2025-11-24T12:34:56Z"), now, &marks);
    assert_eq!(pieces[0], (1, Piece::Cell(Level::Year, day_of(at("2026-01-01T00:00:00Z")))));
    assert_eq!(pieces.len(), 1 + 1 + 6 + 1, "{pieces:?}");
    let day = cover(at("2026-07-02T00:00:00Z"), at("2026-07-03T00:00:00Z"), &marks);
    assert_eq!(day, [(1, Piece::Cell(Level::Day, day_of(at("2026-07-02T00:00:00Z"))))]);
    let month = cover(at("2026-07-01T00:00:00Z"), at("2026-08-01T00:00:00Z"), &marks);
    assert_eq!(month, [(1, Piece::Cell(Level::Month, day_of(at("2026-07-01T00:00:00Z"))))]);
    let oslo = cover(at("2026-07-01T22:00:00Z"), at("2026-07-02T22:00:00Z"), &marks);
    assert_eq!(oslo.iter().map(|(sign, _)| *sign).collect::<Vec<_>>(), [1, 1, -1]);
}

#[test]
fn long_cells_begin_where_the_calendar_does() {
    for (level, instant, floor, next) in [
        (Level::Day, "2026-02-28T23:59:59.999999Z", "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"),
        (Level::Month, "2024-02-29T12:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        (Level::Year, "2024-12-31T23:59:59Z", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"),
        (Level::Year, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "1971-01-01T00:00:00Z"),
    ] {
        let start = level.floor(at(instant));
        assert_eq!((start_of(start), start_of(level.next(start))), (at(floor), at(next)));
    }
}

/// Cells as a database keeps them.
#[derive(Default)]
struct Kept {
    cells: BTreeMap<(Axis, Level, i64, Key), Packed>,
    rows: Rows,
}

impl Kept {
    fn add(&mut self, facts: &Facts, marks: &mut Marks) {
        for level in Level::ALL.iter().copied() {
            for ((axis, day, key), heap) in sort_into_cells(facts, level, marks) {
                let place = (axis, level, day, key);
                let mut cell =
                    self.cells.get(&place).map_or_else(Cell::default, |packed| Cell::unpack(packed).expect("its own"));
                let plan = cell.plan(heap);
                let moves = cell.edit(plan, &self.rows, level, &mut marks.last_row).expect("not broken");
                self.rows.extend(moves.put);
                moves.gone.iter().for_each(|row| drop(self.rows.remove(row)));
                match cell.pack().expect("not broken") {
                    Some(packed) => drop(self.cells.insert(place, packed)),
                    None => drop(self.cells.remove(&place)),
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Facts come and go, before and after they are built; whatever is asked comes to what a plain list of them says.
    #[test]
    fn cells_come_to_what_a_plain_list_does(
        batches in prop::collection::vec((prop::collection::vec(any_fact(3 * YEAR_US), 0..60), any::<prop::sample::Index>(), any::<bool>()), 1..8),
        windows in prop::collection::vec((any_instant(), any_instant()), 1..6),
    ) {
        let (mut kept, mut truth) = (Kept::default(), Facts::default());
        let mut marks = Marks { day: Instant::EPOCH, month: Instant::EPOCH, year: Instant::EPOCH, last_row: 0, is_stale: false };
        for (facts, gone, fold_first) in batches {
            // A change takes one fact away and adds others.
            let old: Vec<Fact> = truth.iter().map(|(fact, _)| *fact).collect();
            let gone = if old.is_empty() { None } else { Some(*gone.get(&old)) };
            let change = Facts::changed(gone, facts);
            truth.merge(change.clone());
            truth = truth.settled();
            let until = Instant::from_micros(marks.day.micros() + YEAR_US / 3);
            let build = |kept: &mut Kept, marks: &mut Marks, unfolded: Facts| {
                let from = marks.day;
                let due = |fact: &Fact| from <= fact.at && fact.at < until;
                let mut built = truth.clone().only(due);
                unfolded.only(due).iter().for_each(|(fact, n)| built.add(*fact, -n));
                Level::ALL.iter().for_each(|level| marks.set(*level, until));
                kept.add(&built.settled(), marks);
            };
            if fold_first {
                kept.add(&change, &mut marks);
                build(&mut kept, &mut marks, Facts::default());
            } else {
                build(&mut kept, &mut marks, change.clone());
                kept.add(&change, &mut marks);
            }
        }
        for (from, to) in windows {
            let inside = truth.clone().only(|fact| from <= fact.at && fact.at < to && fact.at < marks.day);
            for axis in Axis::ALL {
                let mut plain: BTreeMap<Key, Heap> = BTreeMap::new();
                inside.iter().for_each(|(fact, n)| plain.entry(axis.key(&fact.keys)).or_default().add(&fact.what, n));
                let mut mixes: BTreeMap<Key, (Mix, Heap)> = BTreeMap::new();
                for (sign, piece) in cover(from, to, &marks) {
                    match piece {
                        Piece::Cell(level, day) => {
                            for ((_, _, _, key), packed) in kept.cells.iter().filter(|((a, l, d, _), _)| (a, *l, *d) == (axis, level, day)) {
                                mixes.entry(key.clone()).or_default().0.add(&Cell::unpack(packed).expect("its own"), sign);
                            }
                        }
                        Piece::Stretch(from, to) => {
                            for (fact, n) in truth.iter().filter(|(fact, _)| from <= fact.at && fact.at < to) {
                                mixes.entry(axis.key(&fact.keys)).or_default().1.add(&fact.what, sign * n);
                            }
                        }
                    }
                }
                let told = mixes.into_iter().map(|(key, (mut mix, heap))| {
                    mix.pour(heap);
                    (key, mix.ordered().told(&kept.rows).expect("not broken"))
                });
                let told: BTreeMap<Key, Figures> = told.filter(|(_, figures)| *figures != Figures::default()).collect();
                let plain = plain.into_iter().map(|(key, heap)| (key, heap.told()));
                let plain: BTreeMap<Key, Figures> = plain.filter(|(_, figures)| *figures != Figures::default()).collect();
                prop_assert_eq!(told, plain);
            }
        }
        // What a cell says by itself is the same.
        for packed in kept.cells.values() {
            let (figures, told) = Figures::unpack(&packed.figures).expect("its own");
            let mut mix = Mix::default();
            mix.add(&Cell::unpack(packed).expect("its own"), 1);
            prop_assert!(told);
            prop_assert_eq!(mix.ordered().told(&kept.rows), Ok(figures));
        }
        // Taking everything away leaves nothing.
        let mut less = Facts::default();
        truth.iter().for_each(|(fact, n)| less.add(*fact, -n));
        kept.add(&less, &mut marks);
        prop_assert!(kept.cells.is_empty() && kept.rows.is_empty());
    }
}
