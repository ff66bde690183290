//! Calendars of working hours. Pure; the zone database is in the binary, the same on every machine.
//!
//! One sentence defines it all: an instant is working time when its local date is no holiday and its local wall-clock
//! time lies in a shift. An hour that the clocks skip does not exist, one that they repeat counts twice. A shift that
//! runs into the next day is judged minute by minute too: a holiday takes what lies on its own date, and nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

use crate::kernel::words::words;
use crate::kernel::{FieldError, Instant};

/// How far ahead the end of a promise is searched: ten years, in microseconds. A calendar that has not brought up
/// enough working time by then has none for this purpose.
pub const HORIZON_US: i64 = 3_660 * DAY_US;
/// How many holidays a calendar may have.
pub const MOST_HOLIDAYS: usize = 1_000;
/// How many shifts a weekday may have.
pub const MOST_SHIFTS: usize = 12;

/// What a time zone has to be.
pub const ZONE_EXPECTED: &str = "must be a time zone of the IANA database such as Europe/Oslo";

const DAY_US: i64 = 86_400_000_000;
const MINUTE_US: i64 = 60_000_000;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

words! {
    /// A day of the week (ISO 8601 begins with Monday).
    pub enum Weekday {
        /// Monday.
        Monday = "monday",
        /// Tuesday.
        Tuesday = "tuesday",
        /// Wednesday.
        Wednesday = "wednesday",
        /// Thursday.
        Thursday = "thursday",
        /// Friday.
        Friday = "friday",
        /// Saturday.
        Saturday = "saturday",
        /// Sunday.
        Sunday = "sunday",
    }
}

/// A wall-clock time of day, in whole minutes, from 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    /// Minutes since midnight, 0 to 1440.
    pub fn minutes(self) -> i64 {
        self.0.into()
    }
}

impl std::fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl std::str::FromStr for TimeOfDay {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a time of day such as 08:30, from 00:00 to 24:00";
        let digits = |part: &str| {
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse::<u16>().ok()).flatten()
        };
        let (hour, minute) = text.split_once(':').ok_or(EXPECTED)?;
        match (digits(hour), digits(minute)) {
            (Some(hour @ 0..=23), Some(minute @ 0..=59)) => Ok(Self(hour * 60 + minute)),
            (Some(24), Some(0)) => Ok(Self(1440)),
            _ => Err(EXPECTED),
        }
    }
}

impl TryFrom<String> for TimeOfDay {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TimeOfDay> for String {
    fn from(time: TimeOfDay) -> Self {
        time.to_string()
    }
}

/// A stretch of working time of a weekday. One that ends earlier than it begins runs into the next day. One that ends
/// when it begins is refused, since nobody can tell whether it means no time or a day: a whole day is 00:00 to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shift {
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends; this minute is not in it any more.
    pub to: TimeOfDay,
}

/// What a calendar is made of, as it is written and stored.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Definition {
    /// IANA's name of the zone.
    pub time_zone: String,
    /// The shifts of each weekday; none where a day is missing.
    pub working_hours: BTreeMap<Weekday, Vec<Shift>>,
    /// Local dates without working time, and what they are called.
    pub holidays: BTreeMap<Date, String>,
}

impl Definition {
    /// How many bytes the names of its holidays have: most of what it has altogether, if it is large.
    pub fn names_b(&self) -> usize {
        self.holidays.values().map(String::len).sum()
    }
}

/// A calendar, ready to measure with.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    /// For each weekday from Monday, the working time of that very date: in order, disjoint, in microseconds of the
    /// day.
    days: [Vec<(i64, i64)>; 7],
    /// Days since 1970.
    holidays: BTreeSet<i64>,
}

/// The zone of this name in IANA's database, as it is in the binary.
pub fn zone(name: &str) -> Option<TimeZone> {
    ZONES.get(name).ok().filter(|zone| zone.iana_name().is_some() && !zone.is_unknown())
}

impl Definition {
    /// The working time of a week without holidays, in seconds.
    pub fn weekly_s(&self) -> i64 {
        let length = |shift: &Shift| match shift.to.minutes() - shift.from.minutes() {
            minutes @ 1.. => minutes,
            minutes => minutes + 1440,
        };
        self.working_hours.values().flatten().map(|shift| length(shift) * 60).sum()
    }
}

/// The working time of each weekday from Monday on, as [`Calendar`] keeps it.
///
/// # Errors
/// Every shift and every weekday that makes no sense, by its place within `working_hours`.
pub fn check_hours(working_hours: &BTreeMap<Weekday, Vec<Shift>>) -> Result<[Vec<(i64, i64)>; 7], Vec<FieldError>> {
    let mut faults = Vec::new();
    let mut days: [Vec<(i64, i64)>; 7] = Default::default();
    for (weekday, shifts) in working_hours {
        if shifts.len() > MOST_SHIFTS {
            let detail = format!("must have at most {MOST_SHIFTS} shifts");
            faults.push(FieldError::new(format!("/{weekday}"), "too_many", detail).with("max", MOST_SHIFTS));
            continue;
        }
        let day = *weekday as usize;
        for (nth, shift) in shifts.iter().enumerate() {
            let (from, to) = (shift.from.minutes() * MINUTE_US, shift.to.minutes() * MINUTE_US);
            if from == DAY_US {
                faults.push(FieldError::new(format!("/{weekday}/{nth}/from"), "invalid", "must be before 24:00"));
            } else if from == to {
                let detail = "must not be the same as from; a whole day is 00:00 to 24:00";
                faults.push(FieldError::new(format!("/{weekday}/{nth}/to"), "invalid", detail));
            } else if from < to {
                days[day].push((from, to));
            } else {
                days[day].push((from, DAY_US));
                if to > 0 {
                    days[(day + 1) % 7].push((0, to));
                }
            }
        }
    }
    if working_hours.values().all(Vec::is_empty) {
        faults.push(FieldError::new("", "invalid", "has no working time: give at least one shift on one weekday"));
    }
    for (day, weekday) in days.iter_mut().zip(Weekday::ALL) {
        day.sort_unstable();
        if day.windows(2).any(|pair| pair[0].1 > pair[1].0) {
            let detail = "has shifts that overlap on this day, or with one that runs in from the day before";
            faults.push(FieldError::new(format!("/{weekday}"), "invalid", detail));
        }
    }
    if faults.is_empty() { Ok(days) } else { Err(faults) }
}

impl Calendar {
    /// The calendar that `definition` describes.
    ///
    /// # Errors
    /// Every field that makes no sense: an unknown zone, shifts that overlap, no working time at all, too many of them.
    pub fn new(definition: &Definition) -> Result<Self, Vec<FieldError>> {
        let Definition { time_zone, working_hours, holidays } = definition;
        let mut faults = Vec::new();
        let zone = zone(time_zone);
        if zone.is_none() {
            faults.push(FieldError::new("/time_zone", "invalid", ZONE_EXPECTED));
        }
        if holidays.len() > MOST_HOLIDAYS {
            let detail = format!("must have at most {MOST_HOLIDAYS} dates");
            faults.push(FieldError::new("/holidays", "too_many", detail).with("max", MOST_HOLIDAYS));
        }
        let days = check_hours(working_hours).unwrap_or_else(|inner| {
            let place = |f: FieldError| FieldError { pointer: format!("/working_hours{}", f.pointer), ..f };
            faults.extend(inner.into_iter().map(place));
            Default::default()
        });
        match zone {
            Some(zone) if faults.is_empty() => {
                Ok(Self { zone, days, holidays: holidays.keys().map(|date| days_since_1970(*date)).collect() })
            }
            _ => Err(faults),
        }
    }

    /// The working time from `from` to `to`, in microseconds; none when they are the wrong way round.
    pub fn working_us(&self, from: Instant, to: Instant) -> i64 {
        let mut sum = 0;
        let all: ControlFlow<()> = self.each_stretch(from.micros(), to.micros(), |from, to| {
            sum += to - from;
            ControlFlow::Continue(())
        });
        debug_assert!(all.is_continue());
        sum
    }

    /// The first instant at which `work_us` microseconds of working time have passed since `from`; nothing when that is
    /// not within [`HORIZON_US`].
    pub fn after_working(&self, from: Instant, work_us: i64) -> Option<Instant> {
        if work_us <= 0 {
            return Some(from);
        }
        let mut left = work_us;
        let found = self.each_stretch(from.micros(), from.micros().saturating_add(HORIZON_US), |from, to| {
            if left <= to - from {
                return ControlFlow::Break(from + left);
            }
            left -= to - from;
            ControlFlow::Continue(())
        });
        found.break_value().map(Instant::from_micros)
    }

    /// Visits the working time between two instants, in microseconds since 1970, in order.
    fn each_stretch<T>(
        &self,
        from: i64,
        until: i64,
        mut visit: impl FnMut(i64, i64) -> ControlFlow<T>,
    ) -> ControlFlow<T> {
        // jiff tells no offset outside of its years.
        let mut at = from.max(Timestamp::MIN.as_microsecond());
        let until = until.min(Timestamp::MAX.as_microsecond());
        while at < until {
            // Between two changes of the offset, local time runs evenly.
            let (offset, end) = self.offset_until(at);
            let end = end.min(until);
            let mut day = (at + offset).div_euclid(DAY_US);
            while day * DAY_US - offset < end {
                let shifts = if self.holidays.contains(&day) { &[] } else { self.days[weekday(day)].as_slice() };
                for (begins, ends) in shifts {
                    let begins = (day * DAY_US + begins - offset).max(at);
                    let ends = (day * DAY_US + ends - offset).min(end);
                    if begins < ends {
                        visit(begins, ends)?;
                    }
                }
                day += 1;
            }
            at = end;
        }
        ControlFlow::Continue(())
    }

    /// The offset from UTC at an instant, and how long it stays; both in microseconds.
    fn offset_until(&self, at: i64) -> (i64, i64) {
        let Ok(instant) = Timestamp::from_microsecond(at) else { return (0, i64::MAX) };
        let offset = i64::from(self.zone.to_offset(instant).seconds()) * 1_000_000;
        let end = self.zone.following(instant).next().map_or(i64::MAX, |change| change.timestamp().as_microsecond());
        (offset, end)
    }
}

/// The place in the week of a day since 1970, which began on a Thursday; Monday is 0.
fn weekday(day: i64) -> usize {
    usize::try_from((day + 3).rem_euclid(7)).unwrap_or(0)
}

fn days_since_1970(date: Date) -> i64 {
    let since = date.duration_since(Date::constant(1970, 1, 1));
    since.as_hours().div_euclid(24)
}

#[cfg(test)]
mod tests;
