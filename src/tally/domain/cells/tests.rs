use super::*;
use crate::tally::domain::facts::GroupBy;
use crate::tally::domain::facts::tests::any_fact;
use proptest::prelude::*;

const YEAR_US: i64 = 366 * 24 * HOUR_US;

fn sum<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Figures {
    let mut figures = Figures::default();
    facts.into_iter().for_each(|fact| figures.add(&fact.what, fact.n.into()));
    figures
}

proptest! {
    #[test]
    fn the_pieces_of_a_window_come_to_what_is_in_it(
        facts in prop::collection::vec(any_fact(3 * YEAR_US), 0..60),
        (from, to) in (-1i64..3 * YEAR_US, 0i64..3 * YEAR_US),
        grain in prop::sample::select(vec![1, HOUR_US, 24 * HOUR_US]),
        after_us in -2 * HOUR_US..2 * HOUR_US,
    ) {
        let now = Instant::from_micros(to + after_us);
        let (from, to) = (Instant::from_micros(from / grain * grain), Instant::from_micros(to / grain * grain));
        let mut cells = BTreeMap::new();
        facts.iter().for_each(|fact| sort_into_cells(fact, &mut cells));
        for axis in [None, Some(GroupBy::Tag), Some(GroupBy::Worker)] {
            let keys: std::collections::BTreeSet<_> = facts.iter().flat_map(|fact| keys_of(axis, fact)).collect();
            for key in keys {
                let of_key: Vec<_> = facts.iter().filter(|fact| keys_of(axis, fact).contains(&key)).collect();
                let within = |from: Instant, to: Instant| of_key.iter().copied().filter(move |fact| from <= fact.at() && fact.at() < to);
                let mut found = Figures::default();
                for (sign, piece) in cover(from, to, now) {
                    match piece {
                        Piece::Cell(level, start) => {
                            if let Some(cell) = cells.get(&(axis, level, start, key.to_string())) {
                                found.merge(cell, sign);
                            }
                        }
                        Piece::Edge(from, to) => found.merge(&sum(within(from, to)), sign),
                    }
                }
                prop_assert_eq!(found, sum(within(from, to)));
            }
        }
    }

    #[test]
    fn a_window_is_made_of_few_pieces(from in 0i64..60 * YEAR_US, length in 0i64..5 * YEAR_US) {
        let pieces = cover(Instant::from_micros(from), Instant::from_micros(from + length), Instant::NEVER);
        prop_assert!(pieces.len() <= 61 + 32 + 26, "{}", pieces.len());
        for (_, piece) in &pieces {
            if let Piece::Edge(from, to) = piece {
                prop_assert!(from < to && to.micros() - from.micros() <= HOUR_US / 2);
            }
        }
        let edges = pieces.iter().filter(|(_, piece)| matches!(piece, Piece::Edge(..))).count();
        prop_assert!(edges <= 2);
    }
}

#[test]
fn whole_hours_days_and_months_are_cells_and_nothing_else() {
    let at = |text: &str| text.parse::<Instant>().expect("an instant");
    let count = |from, to| cover(at(from), at(to), Instant::NEVER).len();
    assert_eq!(count("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), 12);
    assert_eq!(count("2026-02-01T00:00:00Z", "2026-02-04T00:00:00Z"), 3);
    assert_eq!(count("2026-02-01T05:00:00Z", "2026-02-01T06:00:00Z"), 1);
    assert_eq!(count("2026-02-01T05:10:00Z", "2026-02-01T05:10:00Z"), 0);
}

#[test]
fn of_the_hour_of_now_no_fact_is_read() {
    let at = |text: &str| text.parse::<Instant>().expect("an instant");
    let (from, now) = (at("2026-02-01T00:00:00Z"), at("2026-02-01T05:10:00Z"));
    for to in [now, now.plus_s(60)] {
        let pieces = cover(from, to, now);
        let read = pieces.iter().filter(|(_, piece)| matches!(piece, Piece::Edge(from, _) if *from < now));
        assert_eq!(read.count(), 0, "{pieces:?}");
    }
}
