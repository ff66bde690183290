//! Windows of time and the steps that they are cut into. Pure.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::kernel::words::words;
use crate::kernel::{FieldError, Instant};

/// How long a window is whose beginning is not said, in seconds: 30 days.
const USUAL_S: i64 = 30 * 86_400;
/// How many steps a window may be cut into.
pub const MOST_STEPS: usize = 2_000;

const HOUR_US: i64 = 3_600_000_000;

words! {
    /// How long a step is, by local time.
    pub enum Interval {
        /// From one full hour to the next. An hour that the clocks repeat is two.
        Hour = "hour",
        /// From midnight to midnight, however many hours that are.
        Day = "day",
        /// From Monday to Monday (ISO 8601).
        Week = "week",
        /// From the first of a month to that of the next.
        Month = "month",
    }
}

/// A stretch of time: from an instant on, and until just before another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first instant in it.
    pub from: Instant,
    /// The first instant that is not in it any more.
    pub to: Instant,
}

impl Window {
    /// The window that is meant: until now unless said, and of 30 days unless said.
    ///
    /// # Errors
    /// The fault that it ends before it begins.
    pub fn new(from: Option<Instant>, to: Option<Instant>, now: Instant) -> Result<Self, FieldError> {
        let to = to.unwrap_or(now);
        let from = from.unwrap_or_else(|| to.plus_s(-USUAL_S));
        if from < to {
            return Ok(Self { from, to });
        }
        Err(FieldError::new("from", "invalid", "must be before `to`, which is now unless said"))
    }

    /// Where it is cut into steps by the clocks of `zone`: the beginning of each step, and the end of the last one. The
    /// first and the last step may be shorter than others.
    ///
    /// # Errors
    /// The fault that there are too many of them.
    pub fn edges(self, interval: Interval, zone: &TimeZone) -> Result<Vec<Instant>, FieldError> {
        let mut edges = vec![self.from];
        let mut cut = |at: Instant| {
            // A local day that does not exist begins when the next one does.
            if self.from < at && at < self.to && edges.last().is_some_and(|last| *last < at) {
                edges.push(at);
            }
            at < self.to && edges.len() <= MOST_STEPS
        };
        match interval {
            Interval::Hour => {
                let mut at = self.from;
                loop {
                    at = next_hour(at, zone);
                    if !cut(at) {
                        break;
                    }
                }
            }
            Interval::Day | Interval::Week | Interval::Month => {
                let mut date = first_date(self.from, interval, zone);
                while let Some(next) = date.and_then(|date| next_date(date, interval)) {
                    if !cut(beginning(next, zone)) {
                        break;
                    }
                    date = Some(next);
                }
            }
        }
        if edges.len() > MOST_STEPS {
            let detail =
                format!("cuts this window into more than {MOST_STEPS} steps: ask for a longer one, or for less time");
            return Err(FieldError::new("interval", "too_many", detail).with("max", MOST_STEPS));
        }
        edges.push(self.to);
        Ok(edges)
    }
}

/// The end of the local hour that `at` is in: the next full hour, or the instant before it at which the clocks are set.
fn next_hour(at: Instant, zone: &TimeZone) -> Instant {
    let Ok(instant) = Timestamp::from_microsecond(at.micros()) else { return Instant::NEVER };
    let offset_s = zone.to_offset(instant).seconds();
    let offset_us = i64::from(offset_s) * 1_000_000;
    let full = (at.micros() + offset_us).div_euclid(HOUR_US) * HOUR_US + HOUR_US - offset_us;
    let mut changes = zone.following(instant).take_while(|change| change.timestamp().as_microsecond() < full);
    let set = changes.find(|change| change.offset().seconds() != offset_s);
    set.map_or(Instant::from_micros(full), |change| Instant::from(change.timestamp()))
}

/// The date on which the step begins that `at` is in.
fn first_date(at: Instant, interval: Interval, zone: &TimeZone) -> Option<Date> {
    let instant = Timestamp::from_microsecond(at.micros()).ok()?;
    let date = zone.to_offset(instant).to_datetime(instant).date();
    match interval {
        Interval::Hour | Interval::Day => Some(date),
        Interval::Week => date.checked_sub(i32::from(date.weekday().to_monday_zero_offset()).days()).ok(),
        Interval::Month => Some(date.first_of_month()),
    }
}

/// The date on which the next step begins.
fn next_date(date: Date, interval: Interval) -> Option<Date> {
    let step = match interval {
        Interval::Hour | Interval::Day => 1.day(),
        Interval::Week => 1.week(),
        Interval::Month => 1.month(),
    };
    date.checked_add(step).ok()
}

/// The first instant of a local date; of the first one after it that exists, if it does not.
fn beginning(date: Date, zone: &TimeZone) -> Instant {
    let midnight = zone.to_ambiguous_timestamp(date.at(0, 0, 0, 0));
    let skipped = midnight.is_ambiguous() && matches!(midnight.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
    let Ok(at) = midnight.compatible() else { return Instant::NEVER };
    if skipped {
        // The clocks were set over midnight, at this instant or shortly before.
        let just_after = at.checked_add(1.nanosecond()).unwrap_or(at);
        return zone.preceding(just_after).next().map_or(at.into(), |change| change.timestamp().into());
    }
    at.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sla::domain::calendar::zone;
    use proptest::prelude::*;

    fn at(text: &str) -> Instant {
        text.parse().expect("an instant")
    }

    fn edges(from: &str, to: &str, interval: Interval, name: &str) -> Vec<String> {
        let window = Window::new(Some(at(from)), Some(at(to)), Instant::EPOCH).expect("a window");
        let edges = window.edges(interval, &zone(name).expect("a zone")).expect("not too many");
        edges.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn days_begin_when_the_date_does() {
        let days = |from, to, name| edges(from, to, Interval::Day, name);
        // A day of 23 hours, and one of 25.
        assert_eq!(
            days("2026-03-28T12:00:00.000000Z", "2026-03-30T12:00:00.000000Z", "Europe/Oslo"),
            [
                "2026-03-28T12:00:00.000000Z",
                "2026-03-28T23:00:00.000000Z",
                "2026-03-29T22:00:00.000000Z",
                "2026-03-30T12:00:00.000000Z"
            ]
        );
        assert_eq!(
            days("2026-10-24T22:00:00.000000Z", "2026-10-26T23:00:00.000000Z", "Europe/Oslo"),
            ["2026-10-24T22:00:00.000000Z", "2026-10-25T23:00:00.000000Z", "2026-10-26T23:00:00.000000Z"]
        );
        // There was no 30 December.
        assert_eq!(
            days("2011-12-28T10:00:00.000000Z", "2012-01-01T10:00:00.000000Z", "Pacific/Apia"),
            [
                "2011-12-28T10:00:00.000000Z",
                "2011-12-29T10:00:00.000000Z",
                "2011-12-30T10:00:00.000000Z",
                "2011-12-31T10:00:00.000000Z",
                "2012-01-01T10:00:00.000000Z"
            ]
        );
        // Midnight is skipped: at midnight, and half an hour before it.
        assert_eq!(
            days("2018-11-03T12:00:00.000000Z", "2018-11-04T12:00:00.000000Z", "America/Sao_Paulo"),
            ["2018-11-03T12:00:00.000000Z", "2018-11-04T03:00:00.000000Z", "2018-11-04T12:00:00.000000Z"]
        );
        let toronto = Window {
            from: Instant::from_micros(-1_601_800_000_000_000),
            to: Instant::from_micros(-1_601_700_000_000_000),
        };
        let toronto = toronto.edges(Interval::Day, &zone("America/Toronto").expect("a zone")).expect("few");
        assert_eq!(toronto[1].to_string(), "1919-03-31T04:30:00.000000Z");
    }

    #[test]
    fn hours_are_those_of_the_local_clock() {
        let hours = |from, to, name| edges(from, to, Interval::Hour, name);
        // The hour from two to three is there twice.
        assert_eq!(
            hours("2026-10-24T23:30:00.000000Z", "2026-10-25T02:30:00.000000Z", "Europe/Oslo"),
            [
                "2026-10-24T23:30:00.000000Z",
                "2026-10-25T00:00:00.000000Z",
                "2026-10-25T01:00:00.000000Z",
                "2026-10-25T02:00:00.000000Z",
                "2026-10-25T02:30:00.000000Z"
            ]
        );
        assert_eq!(
            hours("2026-03-01T00:00:00.000000Z", "2026-03-01T02:00:00.000000Z", "Asia/Kathmandu"),
            [
                "2026-03-01T00:00:00.000000Z",
                "2026-03-01T00:15:00.000000Z",
                "2026-03-01T01:15:00.000000Z",
                "2026-03-01T02:00:00.000000Z"
            ]
        );
        // At two o'clock it is half past one again: half an hour is there twice.
        assert_eq!(
            hours("2026-04-04T14:00:00.000000Z", "2026-04-04T16:30:00.000000Z", "Australia/Lord_Howe"),
            [
                "2026-04-04T14:00:00.000000Z",
                "2026-04-04T15:00:00.000000Z",
                "2026-04-04T15:30:00.000000Z",
                "2026-04-04T16:30:00.000000Z"
            ]
        );
        // At two o'clock it is half past two already.
        assert_eq!(
            hours("2026-10-03T14:30:00.000000Z", "2026-10-03T17:00:00.000000Z", "Australia/Lord_Howe"),
            [
                "2026-10-03T14:30:00.000000Z",
                "2026-10-03T15:30:00.000000Z",
                "2026-10-03T16:00:00.000000Z",
                "2026-10-03T17:00:00.000000Z"
            ]
        );
    }

    #[test]
    fn weeks_begin_on_monday_and_months_on_the_first() {
        assert_eq!(
            edges("2026-03-04T00:00:00.000000Z", "2026-03-17T00:00:00.000000Z", Interval::Week, "UTC"),
            [
                "2026-03-04T00:00:00.000000Z",
                "2026-03-09T00:00:00.000000Z",
                "2026-03-16T00:00:00.000000Z",
                "2026-03-17T00:00:00.000000Z"
            ]
        );
        assert_eq!(
            edges("2026-01-31T23:30:00.000000Z", "2026-04-01T00:00:00.000000Z", Interval::Month, "Europe/Oslo"),
            [
                "2026-01-31T23:30:00.000000Z",
                "2026-02-28T23:00:00.000000Z",
                "2026-03-31T22:00:00.000000Z",
                "2026-04-01T00:00:00.000000Z"
            ]
        );
    }

    #[test]
    fn there_is_an_end_to_it() {
        let whole = Window { from: Instant::EPOCH, to: Instant::NEVER };
        for interval in Interval::ALL {
            assert!(whole.edges(*interval, &TimeZone::UTC).is_err(), "{interval}");
        }
        let last = Window { from: at("9999-12-29T00:00:00.000000Z"), to: Instant::NEVER };
        for interval in Interval::ALL {
            assert!(last.edges(*interval, &zone("Pacific/Kiritimati").expect("a zone")).is_ok(), "{interval}");
        }
        let hours = |n: i64| Window { from: Instant::EPOCH, to: Instant::EPOCH.plus_s(n * 3600) };
        assert_eq!(hours(2_000).edges(Interval::Hour, &TimeZone::UTC).map(|edges| edges.len()), Ok(2_001));
        assert!(hours(2_001).edges(Interval::Hour, &TimeZone::UTC).is_err());
    }

    proptest! {
        #[test]
        fn steps_cover_the_window_and_are_what_local_clocks_say(
            from in 0i64..2_000_000_000,
            length in 1i64..4_000_000,
            interval in prop::sample::select(Interval::ALL),
            name in prop::sample::select(&["UTC", "Europe/Oslo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia", "America/St_Johns", "Africa/Monrovia"][..]),
        ) {
            let zone = zone(name).expect("a zone");
            let window = Window { from: Instant::EPOCH.plus_s(from), to: Instant::EPOCH.plus_s(from + length) };
            let edges = window.edges(interval, &zone).expect("not too many");
            prop_assert_eq!((edges[0], edges[edges.len() - 1]), (window.from, window.to));
            prop_assert!(edges.windows(2).all(|pair| pair[0] < pair[1]));
            // What a local clock shows of the step, second before and second after: the same within, another one over
            // an edge.
            let label = |at: Instant| {
                let local = zone.to_datetime(Timestamp::from_microsecond(at.micros()).expect("an instant"));
                match interval {
                    Interval::Hour => local.strftime("%F %H").to_string(),
                    Interval::Day => local.strftime("%F").to_string(),
                    Interval::Week => local.strftime("%G %V").to_string(),
                    Interval::Month => local.strftime("%Y %m").to_string(),
                }
            };
            let offset = |at: Instant| zone.to_offset(Timestamp::from_microsecond(at.micros()).expect("an instant"));
            let just_before = |at: Instant| Instant::from_micros(at.micros() - 1);
            // A window may begin or end in what is left of a date after the clocks were set back over midnight.
            for pair in edges.windows(2).skip(usize::from(interval != Interval::Hour)) {
                let last = just_before(pair[1]);
                let set_back = interval != Interval::Hour && pair[1] == window.to && offset(last) < offset(pair[0]);
                let again = set_back && label(last) < label(pair[0]);
                prop_assert!(again || label(pair[0]) == label(last), "{}..{}", pair[0], pair[1]);
            }
            for edge in &edges[1..edges.len() - 1] {
                let set = offset(just_before(*edge)) != offset(*edge);
                prop_assert!(set || label(just_before(*edge)) != label(*edge), "{}", edge);
            }
        }
    }
}
