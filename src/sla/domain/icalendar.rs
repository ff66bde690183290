//! Holidays from an iCalendar file (RFC 5545). Pure.
//!
//! Lines are read by the crate `icalendar`; how they nest is followed here, since its own reader of files goes as deep
//! as a file tells it to.

use std::collections::BTreeMap;

use icalendar::parser::{Property, unfold};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::calendar::MOST_HOLIDAYS;
use super::calendars::HolidayName;
use crate::kernel::{FieldError, Instant};

/// How long an event may last, in days.
const LONGEST: i32 = 366;
/// For how many years back yearly events are taken, and for how many ahead.
const YEARS: (i16, i16) = (1, 10);
/// How many bad events are named before the rest of the file is left alone.
const MOST_FAULTS: usize = 100;

/// The all-day events of a file, one entry a day: the first name that a date has. Yearly events stand for their days
/// from one year before `now` to ten years after. What was cancelled is left out.
///
/// # Errors
/// Every event that is no such thing, as `/events/0` and so on in the order of the file; or that the text is no
/// iCalendar.
pub fn holidays(text: &str, now: Instant) -> Result<BTreeMap<Date, String>, Vec<FieldError>> {
    let around = YearSpan::around(now);
    let text = unfold(text.trim_start_matches('\u{feff}'));
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    for (nth, event) in events(&text)?.iter().enumerate() {
        let place = format!("/events/{nth}");
        match event.days(&around) {
            Ok(days) => {
                for day in days {
                    found.entry(day).or_insert_with(|| event.name());
                }
            }
            Err(detail) => faults.push(FieldError::new(place, "invalid", detail)),
        }
        if found.len() > MOST_HOLIDAYS {
            let detail = format!("must not have more than {MOST_HOLIDAYS} days");
            return Err(vec![FieldError::new("/events", "too_many", detail).with("max", MOST_HOLIDAYS)]);
        }
        if faults.len() == MOST_FAULTS {
            break;
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// Which days of yearly events are taken, both ends included.
struct YearSpan {
    first: Date,
    last: Date,
}

impl YearSpan {
    fn around(now: Instant) -> Self {
        let today = Timestamp::from_microsecond(now.micros()).map(|t| TimeZone::UTC.to_datetime(t).date());
        let today = today.unwrap_or(Date::MAX);
        let (back, ahead) = YEARS;
        Self { first: today.saturating_sub(back.years()), last: today.saturating_add(ahead.years()) }
    }
}

/// An event: its properties, but not those of what is in it.
#[derive(Default)]
struct CalendarEvent<'a>(Vec<Property<'a>>);

/// The events of a file, whose lines are not folded any more.
fn events(text: &str) -> Result<Vec<CalendarEvent<'_>>, Vec<FieldError>> {
    let bad =
        |detail: &str| vec![FieldError::new("", "invalid", format!("must be an iCalendar file (RFC 5545): {detail}"))];
    let mut open: Vec<String> = Vec::new();
    let mut events: Vec<CalendarEvent<'_>> = Vec::new();
    let mut any = false;
    for line in text.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or_else(|| bad("a line has no colon"))?;
        let value = value.trim().to_ascii_uppercase();
        if name.eq_ignore_ascii_case("BEGIN") {
            if open.is_empty() && value != "VCALENDAR" {
                return Err(bad("it begins with BEGIN:VCALENDAR"));
            }
            any = true;
            open.push(value);
            if is_event(&open) {
                events.push(CalendarEvent::default());
            }
        } else if name.eq_ignore_ascii_case("END") {
            if open.pop() != Some(value) {
                return Err(bad("an END does not fit its BEGIN"));
            }
        } else if open.is_empty() {
            return Err(bad("it begins with BEGIN:VCALENDAR"));
        } else if is_event(&open) {
            let property = Property::try_from(line).map_err(|_| bad("a line of an event cannot be read"))?;
            events.last_mut().into_iter().for_each(|event| event.0.push(property.clone()));
        }
    }
    match (any, open.is_empty()) {
        (true, true) => Ok(events),
        (true, false) => Err(bad("it is cut off")),
        (false, _) => Err(bad("it begins with BEGIN:VCALENDAR")),
    }
}

fn is_event(open: &[String]) -> bool {
    open.len() == 2 && open[1] == "VEVENT"
}

impl CalendarEvent<'_> {
    /// The values of all properties of this name.
    fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e str> {
        self.0.iter().filter(move |p| p.name.as_str().eq_ignore_ascii_case(name)).map(|p| p.val.as_str().trim())
    }

    /// The value of the property of this name, which an event has at most once.
    fn one<'e>(&'e self, name: &'e str) -> Result<Option<&'e str>, String> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (value, None) => Ok(value),
            (_, Some(_)) => Err(format!("must have at most one {name}")),
        }
    }

    /// What the event is called, in one line.
    fn name(&self) -> String {
        let text = self.all("SUMMARY").next().unwrap_or_default();
        let words: Vec<_> =
            text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty()).collect();
        let line: String = words.join(" ").chars().take(100).collect();
        HolidayName::parse(line).map_or_else(|_| "Holiday".to_owned(), HolidayName::into_inner)
    }

    /// The days of this event, or why they cannot be told.
    fn days(&self, around: &YearSpan) -> Result<Vec<Date>, String> {
        if self.all("STATUS").any(|status| status.eq_ignore_ascii_case("CANCELLED")) {
            return Ok(Vec::new());
        }
        for name in ["RDATE", "EXDATE", "EXRULE", "RECURRENCE-ID"] {
            if self.all(name).next().is_some() {
                return Err(format!("must not have {name}: of what recurs only a yearly RRULE is taken"));
            }
        }
        let first = date("DTSTART", self.one("DTSTART")?.ok_or("must have DTSTART")?)?;
        let length = self.length(first)?;
        let starts = match self.one("RRULE")? {
            Some(rule) => Yearly::parse(rule)?.starts(first, around),
            None if first.year() < 1970 => return Err("must not be before 1970".into()),
            None => vec![first],
        };
        let days = starts.into_iter().flat_map(|start| (0..length).map(move |day| start.saturating_add(day.days())));
        Ok(days.collect())
    }

    /// How many days the event lasts.
    fn length(&self, first: Date) -> Result<i32, String> {
        let length = match (self.one("DTEND")?, self.one("DURATION")?) {
            (None, None) => 1,
            // The day after the last one; many programs write the same day for a single one.
            (Some(end), None) => (date("DTEND", end)? - first).get_days().max(i32::from(date("DTEND", end)? == first)),
            (None, Some(duration)) => whole_days(duration).ok_or("must have a DURATION in whole days, such as P1D")?,
            (Some(_), Some(_)) => return Err("must not have both DTEND and DURATION".into()),
        };
        match length {
            1..=LONGEST => Ok(length),
            ..1 => Err("must not end before it begins".into()),
            _ => Err(format!("must not last longer than {LONGEST} days")),
        }
    }
}

/// A rule that gives the same day every year, or every few years.
struct Yearly {
    interval: i16,
    count: usize,
    until: Date,
}

impl Yearly {
    fn parse(rule: &str) -> Result<Self, String> {
        let refuse =
            || format!("must recur by FREQ=YEARLY with INTERVAL, COUNT or UNTIL alone, not by {}", shown(rule));
        let mut parts = BTreeMap::new();
        for part in rule.split(';').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').ok_or_else(refuse)?;
            if parts.insert(name.to_ascii_uppercase(), value).is_some() {
                return Err(refuse());
            }
        }
        if !parts.remove("FREQ").is_some_and(|freq| freq.eq_ignore_ascii_case("YEARLY")) {
            return Err(refuse());
        }
        let interval = parts.remove("INTERVAL").map_or(Some(1), |text| text.parse().ok()).filter(|n| *n > 0);
        let (count, until) = (parts.remove("COUNT"), parts.remove("UNTIL"));
        if !parts.is_empty() || (count.is_some() && until.is_some()) {
            return Err(refuse());
        }
        Ok(Self {
            interval: interval.ok_or_else(refuse)?,
            count: match count {
                Some(text) => text.parse().ok().filter(|n| *n > 0).ok_or_else(refuse)?,
                None => usize::MAX,
            },
            // Of an UNTIL with a time of day, the date tells enough.
            until: match until {
                Some(text) => date("UNTIL", text.split('T').next().unwrap_or_default())?,
                None => Date::MAX,
            },
        })
    }

    /// The first days of all occurrences around now. A 29 February comes in leap years only, and only then counts.
    fn starts(&self, first: Date, around: &YearSpan) -> Vec<Date> {
        let years = (0..).map_while(|nth: i16| first.year().checked_add(self.interval.checked_mul(nth)?));
        years
            .take_while(|year| *year <= around.last.year())
            .filter_map(|year| Date::new(year, first.month(), first.day()).ok())
            .take(self.count)
            .filter(|date| *date <= self.until && (around.first..=around.last).contains(date))
            .collect()
    }
}

/// `YYYYMMDD`.
fn date(name: &str, text: &str) -> Result<Date, String> {
    if text.contains('T') {
        return Err(format!("must be an all-day event, but {name} has a time of day: {}", shown(text)));
    }
    let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
    let number = |range| text.get(range).and_then(|part: &str| part.parse::<i16>().ok());
    let parts = if digits { (number(0..4), number(4..6), number(6..8)) } else { (None, None, None) };
    match parts {
        (Some(year), Some(month), Some(day)) => {
            let (month, day) = (i8::try_from(month).unwrap_or(0), i8::try_from(day).unwrap_or(0));
            Date::new(year, month, day).map_err(|_| format!("has a {name} that is no date: {}", shown(text)))
        }
        _ => Err(format!("has a {name} that is no date: {}", shown(text))),
    }
}

/// `P3D` or `P2W`.
fn whole_days(text: &str) -> Option<i32> {
    let text = text.strip_prefix('+').unwrap_or(text).strip_prefix('P')?;
    let (number, factor) = match (text.strip_suffix('D'), text.strip_suffix('W')) {
        (Some(days), _) => (days, 1),
        (_, Some(weeks)) => (weeks, 7),
        _ => return None,
    };
    let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| number.parse::<i32>().ok()?.checked_mul(factor)).flatten()
}

/// As much of a value as belongs into a sentence.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}

#[cfg(test)]
mod tests;
