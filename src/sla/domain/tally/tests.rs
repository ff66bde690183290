//! Whatever happens to a ticket: what was counted on the way comes to what its clocks say, at every moment.

use proptest::prelude::*;

use super::*;
use crate::kernel::Instant;
use crate::sla::domain::clock::tests::{Story, any_story, cases, told};
use crate::tally::domain::{Label, SUM};

/// What somebody counts who looks at all tickets.
fn recount(tickets: &[Times], now: Instant) -> Board {
    let mut board = Board::of(&Sums::default(), &BTreeMap::new());
    for times in tickets {
        for clock in times.clocks.iter().map(|clock| clock.clone().at(now)) {
            let state = clock.state();
            if state == ClockState::Breached {
                *board.breached.entry((clock.target, clock.pledge.priority)).or_default() += 1;
            }
            if times.timeline.end(clock.target).is_none() {
                *board.clocks.entry((clock.target, state)).or_default() += 1;
            }
        }
    }
    board
}

/// What the service reads beside the tallies: what time has broken, which is not written down.
fn lapsed(tickets: &[Times], now: Instant) -> BTreeMap<(Target, Priority), i64> {
    let mut counts = BTreeMap::new();
    for clock in tickets.iter().flat_map(|times| &times.clocks) {
        if clock.state() == ClockState::Running && clock.breach_at().is_some_and(|at| at <= now) {
            *counts.entry((clock.target, clock.pledge.priority)).or_default() += 1;
        }
    }
    counts
}

/// Moments from `from` to `to` at which something may be seen to change: both, and the moments around the ends of
/// clocks.
fn moments(times: &Times, from: Instant, to: Instant) -> Vec<Instant> {
    let ends = times.clocks.iter().filter_map(SlaClock::breach_at);
    let around = |at: Instant| [at.micros() - 1, at.micros(), at.micros() + 1].map(Instant::from_micros);
    let mut all: Vec<Instant> = ends.flat_map(around).filter(|at| from <= *at && *at <= to).collect();
    all.extend([from, to]);
    all.sort();
    all
}

fn check(story: &Story) -> Result<(), TestCaseError> {
    let (written, looks) = told(story);
    let mut sums = Sums::default();
    let mut highest = BTreeMap::new();
    let mut before: Option<&Times> = None;
    let (mut met, mut solved) = (0, 0);
    for (nth, (times, priority, from)) in written.iter().enumerate() {
        let counted = clocks(before, times, *priority);
        for (counter, n) in counted.iter() {
            prop_assert!(
                n > 0 || counter.series != Series::ClocksBreached.as_str(),
                "what was broken stays broken: {counter:?} {n}"
            );
            prop_assert!(n > 0 || counter.series.starts_with("clocks"), "durations only come: {counter:?} {n}");
        }
        sums.merge(counted);
        let is_met = |times: &Times, target| times.clocks.iter().any(|c| c.target == target && c.met_at().is_some());
        let newly =
            |target: &&Target| is_met(times, **target) && !before.is_some_and(|before| is_met(before, **target));
        met += i64::try_from(Target::ALL.iter().filter(newly).count()).expect("few");
        if resolutions(times) > before.map_or(0, resolutions) {
            solved += 1;
        }
        let to = written.get(nth + 1).map_or(looks, |(_, _, next)| *next);
        for now in moments(times, *from, to) {
            let tickets = std::slice::from_ref(times);
            let board = Board::of(&sums, &lapsed(tickets, now));
            prop_assert_eq!(&board, &recount(tickets, now));
            for (key, n) in board.breached {
                let was = highest.insert(key, n).unwrap_or(0);
                prop_assert!(was <= n, "what was broken stays broken");
            }
        }
        before = Some(times);
    }
    let kept = sums.iter().filter(|(counter, _)| counter.series == Series::ClocksMet.as_str()).map(|(_, n)| n);
    prop_assert_eq!(kept.sum::<i64>(), met);
    let (times, ..) = &written[written.len() - 1];
    for hours in ["calendar", "business"] {
        let count = |series: Series| {
            prop_assert_eq!(series.labels().last(), Some(&Label::Le));
            let of =
                sums.iter().filter(|(counter, _)| counter.series == series.as_str() && counter.values()[1] == hours);
            Ok(of.filter(|(counter, _)| counter.values()[2] != SUM).map(|(_, n)| n).sum::<i64>())
        };
        prop_assert_eq!(count(Series::Response)?, i64::from(times.timeline.started_at().is_some()));
        prop_assert_eq!(count(Series::Service)?, solved);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn what_is_counted_on_the_way_is_what_the_clocks_say(story in any_story()) {
        check(&story)?;
    }
}
