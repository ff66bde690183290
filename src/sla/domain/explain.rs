//! Why a clock stands as it does: where the time went, in sentences for people. Pure.

use super::clock::{Progress, SlaClock, Timeline};
use super::policy::{Measure, Target};
use crate::kernel::{Instant, Status};

/// A stretch of a ticket's life in one status, as one clock sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// When it begins.
    pub from: Instant,
    /// When it ends; nothing while it still goes on.
    pub to: Option<Instant>,
    /// Where the ticket stood.
    pub status: Status,
    /// Whether its time counts; of business hours, the working time in it.
    pub counts: bool,
    /// What it adds to the clock, in seconds.
    pub elapsed_s: i64,
    /// Why it counts or does not.
    pub why: String,
}

/// A clock as it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// How it came to stand as it does.
    pub why: String,
    /// The ticket's life from the report until the clock's end, or until now, without gaps.
    pub segments: Vec<Segment>,
}

/// Explains `clock`, which is as it is at `now`. `calendar` is what measures its business hours: a version and a name.
pub fn explain(
    clock: &SlaClock,
    measure: &Measure,
    calendar: Option<(i64, &str)>,
    timeline: &Timeline,
    now: Instant,
) -> Explained {
    let end = timeline.end(clock.target);
    let mut segments = Vec::new();
    let mut counted_us = 0;
    for (status, (from, to)) in timeline.stretches() {
        let to = match (to, end) {
            (Some(to), Some(end)) => Some(to.min(end)),
            (to, end) => to.or(end),
        };
        if to.is_some_and(|to| to <= from) {
            continue;
        }
        let counts = clock.target != Target::Service || status == Status::Open;
        let mut from = from;
        if let Some(zero) = timeline.promised_from.filter(|zero| *zero > from) {
            // Nothing was promised then.
            let end = to.map_or(zero, |to| to.min(zero));
            let why = "Does not count: it was before the import.".to_owned();
            segments.push(Segment { from, to: Some(end), status, counts: false, elapsed_s: 0, why });
            if to == Some(end) {
                continue;
            }
            from = end;
        }
        let before_s = counted_us / 1_000_000;
        if counts {
            counted_us += measure.elapsed_us(from, to.unwrap_or(now));
        }
        let elapsed_s = counted_us / 1_000_000 - before_s;
        let why = segment_why(clock.target, status, counts, calendar);
        segments.push(Segment { from, to, status, counts, elapsed_s, why });
    }
    let elapsed_s = clock.elapsed_us(measure, now) / 1_000_000;
    Explained { why: clock_why(clock, timeline, end, elapsed_s), segments }
}

fn segment_why(target: Target, status: Status, counts: bool, calendar: Option<(i64, &str)>) -> String {
    let verdict = match (counts, calendar) {
        (false, _) => "Does not count".to_owned(),
        (true, None) => "Counts".to_owned(),
        (true, Some((version, name))) => format!("Working hours count, by version {version} of the calendar “{name}”"),
    };
    let reason = match (target, status) {
        (Target::Response, _) | (Target::Service, Status::New) => "nobody had begun to work on it",
        (Target::FirstReply, _) => "no agent had answered in public",
        (Target::Service, Status::Open) => "it was being worked on",
        (Target::Service, Status::WaitingRequester) => "it waited for the requester",
        (Target::Service, Status::WaitingThirdParty) => "it waited for somebody else",
        (Target::Service, Status::Resolved | Status::Closed) => "it was solved",
    };
    format!("{verdict}: {reason}.")
}

fn clock_why(clock: &SlaClock, timeline: &Timeline, end: Option<Instant>, elapsed_s: i64) -> String {
    let target_s = clock.pledge.target_s;
    match clock.progress {
        Progress::Running { due_at: Some(due_at) } => {
            format!("Running: {elapsed_s} of {target_s} s have counted, and the rest is over at {due_at}.")
        }
        Progress::Running { due_at: None } => {
            format!(
                "Running: {elapsed_s} of {target_s} s have counted; the calendar does not bring up the rest within ten years."
            )
        }
        Progress::Paused if timeline.started_at().is_none() => {
            format!("Paused: nobody has begun to work on it, so none of {target_s} s has counted.")
        }
        Progress::Paused => {
            format!("Paused: {elapsed_s} of {target_s} s have counted; time counts while the ticket is open.")
        }
        Progress::Met { at } => format!("Met at {at}: {elapsed_s} of {target_s} s had counted."),
        Progress::Breached { due_at, at } => {
            // Otherwise something changed that made the promise stricter than what had passed.
            let by_itself = at.micros() <= due_at.micros() + 1;
            let since = if by_itself {
                format!("Breached: it was due at {due_at}")
            } else {
                format!("Breached at {at} by what changed then: by that it was due at {due_at} already")
            };
            match end {
                Some(end) => format!("{since}, and ended at {end}, when {elapsed_s} of {target_s} s had counted."),
                None => format!("{since}, and has not ended; {elapsed_s} of {target_s} s have counted."),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{PolicyId, Priority};
    use crate::sla::domain::calendar::{Calendar, Definition, Weekday};
    use crate::sla::domain::policy::{Hours, Pledge, VersionOf};
    use proptest::prelude::*;
    use std::sync::Arc;

    fn pledge(target_s: i64) -> Pledge {
        let policy = VersionOf { id: PolicyId(uuid::Uuid::nil()), version: 1 };
        Pledge {
            policy,
            priority: Priority::Normal,
            target_s,
            hours: Hours::Calendar,
            calendar: None,
            notify_before_s: None,
        }
    }

    fn at(s: i64) -> Instant {
        Instant::EPOCH.plus_s(s)
    }

    fn timeline(spans: &[(Status, Instant)], first_replied_at: Option<Instant>) -> Timeline {
        Timeline { reported_at: spans[0].1, spans: spans.to_vec(), first_replied_at, promised_from: None }
    }

    fn told(target: Target, target_s: i64, timeline: &Timeline, now: Instant) -> Explained {
        let measure = Measure::AllTime;
        let clock = SlaClock::judge(target, pledge(target_s), &measure, timeline).at(now);
        explain(&clock, &measure, None, timeline, now)
    }

    #[test]
    fn service_counts_what_is_open_and_says_why() {
        use Status::{New, Open, Resolved, WaitingRequester};
        let spans = [(New, at(0)), (Open, at(60)), (WaitingRequester, at(100)), (Open, at(160)), (Resolved, at(200))];
        let told = told(Target::Service, 100, &timeline(&spans, None), at(999));
        let rows: Vec<_> =
            told.segments.iter().map(|s| (s.from, s.to, s.counts, s.elapsed_s, s.why.as_str())).collect();
        assert_eq!(
            rows,
            [
                (at(0), Some(at(60)), false, 0, "Does not count: nobody had begun to work on it."),
                (at(60), Some(at(100)), true, 40, "Counts: it was being worked on."),
                (at(100), Some(at(160)), false, 0, "Does not count: it waited for the requester."),
                (at(160), Some(at(200)), true, 40, "Counts: it was being worked on."),
            ]
        );
        assert_eq!(told.why, "Met at 1970-01-01T00:03:20.000000Z: 80 of 100 s had counted.");
    }

    #[test]
    fn every_state_has_its_sentence() {
        use Status::{New, Open, Resolved};
        let fresh = timeline(&[(New, at(0))], None);
        let solved = timeline(&[(New, at(0)), (Open, at(10)), (Resolved, at(80))], Some(at(10)));
        for (target, target_s, timeline, now, why) in [
            (
                Target::Response,
                60,
                &fresh,
                45,
                "Running: 45 of 60 s have counted, and the rest is over at 1970-01-01T00:01:00.000000Z.",
            ),
            (
                Target::Response,
                60,
                &fresh,
                61,
                "Breached: it was due at 1970-01-01T00:01:00.000000Z, and has not ended; 61 of 60 s have counted.",
            ),
            (Target::Service, 60, &fresh, 61, "Paused: nobody has begun to work on it, so none of 60 s has counted."),
            (Target::Response, 10, &solved, 99, "Met at 1970-01-01T00:00:10.000000Z: 10 of 10 s had counted."),
            (
                Target::Service,
                60,
                &solved,
                99,
                "Breached: it was due at 1970-01-01T00:01:10.000000Z, and ended at 1970-01-01T00:01:20.000000Z, when 70 of 60 s had counted.",
            ),
        ] {
            assert_eq!(told(target, target_s, timeline, at(now)).why, why);
        }
        let mut late = SlaClock::judge(Target::Response, pledge(60), &Measure::AllTime, &fresh).at(at(100));
        late.progress = Progress::Breached { due_at: at(60), at: at(90) };
        assert_eq!(
            explain(&late, &Measure::AllTime, None, &fresh, at(100)).why,
            "Breached at 1970-01-01T00:01:30.000000Z by what changed then: by that it was due at 1970-01-01T00:01:00.000000Z already, and has not ended; \
             100 of 60 s have counted."
        );
    }

    #[test]
    fn business_hours_name_their_calendar() {
        let nine_to_five = [crate::sla::domain::calendar::Shift {
            from: "00:00".parse().expect("a time"),
            to: "00:01".parse().expect("a time"),
        }];
        let working_hours = Weekday::ALL.iter().map(|day| (*day, nine_to_five.to_vec())).collect();
        let definition = Definition { time_zone: "UTC".into(), working_hours, ..Definition::default() };
        let measure = Measure::Working(Arc::new(Calendar::new(&definition).expect("a calendar")));
        let timeline = timeline(&[(Status::New, at(30))], None);
        let clock = SlaClock::judge(Target::FirstReply, pledge(60), &measure, &timeline);
        let told = explain(&clock, &measure, Some((2, "Office")), &timeline, at(3600));
        assert_eq!(told.segments[0].elapsed_s, 30);
        let why = "Working hours count, by version 2 of the calendar “Office”: no agent had answered in public.";
        assert_eq!(told.segments[0].why, why);
    }

    proptest! {
        #[test]
        fn segments_have_no_gaps_and_add_up(
            steps in prop::collection::vec((0i64..5_000_000, 0usize..3), 0..8),
            replied in prop::option::of(0i64..20_000_000), rest in 0i64..5_000_000,
        ) {
            let mut spans = vec![(Status::New, Instant::EPOCH)];
            let mut now = 0;
            for (us, choice) in steps {
                now += us;
                let legal = spans.last().map_or(&[][..], |(status, _)| status.next());
                if !legal.is_empty() {
                    spans.push((legal[choice % legal.len()], Instant::from_micros(now)));
                }
            }
            now += rest;
            let timeline = timeline(&spans, replied.map(|us| Instant::from_micros(us.min(now))));
            let now = Instant::from_micros(now);
            for target in Target::ALL {
                let clock = SlaClock::judge(*target, pledge(5), &Measure::AllTime, &timeline).at(now);
                let told = explain(&clock, &Measure::AllTime, None, &timeline, now);
                let sum: i64 = told.segments.iter().map(|s| s.elapsed_s).sum();
                prop_assert_eq!(sum, clock.elapsed_us(&Measure::AllTime, now) / 1_000_000);
                prop_assert!(told.segments.windows(2).all(|pair| pair[0].to == Some(pair[1].from)));
                if let Some(first) = told.segments.first() {
                    prop_assert_eq!(first.from, timeline.reported_at);
                }
                if let Some(last) = told.segments.last() {
                    prop_assert_eq!(last.to, timeline.end(*target));
                }
            }
        }
    }
}
