//! Calendars as they are kept: with a name, changed by admins, each version for good. Pure.

use std::collections::BTreeMap;
use std::str::FromStr;

use jiff::civil::Date;

use super::calendar::{self, Definition, MOST_HOLIDAYS, Shift, Weekday, ZONE_EXPECTED};
use crate::kernel::text::Line;
use crate::kernel::{CalendarId, FieldError, Instant, Patch, Problem};

/// What a calendar is called.
pub type CalendarName = Line<100>;

/// What a holiday is called.
pub type HolidayName = Line<100>;

/// The name of a time zone that is in the database, as IANA spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneName(String);

impl FromStr for ZoneName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let zone = calendar::zone(text).ok_or(ZONE_EXPECTED)?;
        zone.iana_name().map(|name| Self(name.to_owned())).ok_or(ZONE_EXPECTED)
    }
}

impl ZoneName {
    /// The name.
    pub fn into_inner(self) -> String {
        self.0
    }
}

/// A date, from 1970 on, in the one form that is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Day(pub Date);

impl FromStr for Day {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "must be a date such as 2026-12-25, from 1970 on";
        // jiff also takes other forms of ISO 8601.
        match text.parse::<Date>() {
            Ok(date) if text.len() == 10 && date.to_string() == text && date.year() >= 1970 => Ok(Self(date)),
            _ => Err(EXPECTED),
        }
    }
}

/// A calendar.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptCalendar {
    /// Its id.
    pub id: CalendarId,
    /// Its name, which no other calendar has.
    pub name: String,
    /// Whether business time is measured by it where nothing else is said.
    pub is_default: bool,
    /// What it is made of.
    pub definition: Definition,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// What a calendar was made of for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct CalendarVersion {
    /// Which version.
    pub version: i64,
    /// Since when it held.
    pub created_at: Instant,
    /// What the calendar was made of.
    pub definition: Definition,
}

/// A calendar to be made.
#[derive(Debug, Clone)]
pub struct NewCalendar {
    /// Its name.
    pub name: CalendarName,
    /// What it is made of.
    pub definition: Definition,
    /// Whether it becomes the default.
    pub is_default: bool,
}

/// What is to be changed of a calendar; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct CalendarChange {
    /// Another name.
    pub name: Option<CalendarName>,
    /// Another zone.
    pub time_zone: Option<ZoneName>,
    /// Other shifts, of the whole week.
    pub working_hours: Option<BTreeMap<Weekday, Vec<Shift>>>,
    /// Other holidays, all of them, or none.
    pub holidays: Patch<BTreeMap<Date, String>>,
    /// Whether it is the default.
    pub is_default: Option<bool>,
}

impl NewCalendar {
    /// The calendar, at version 1.
    pub fn into_calendar(self, id: CalendarId, now: Instant) -> KeptCalendar {
        let Self { name, definition, is_default } = self;
        let name = name.into_inner();
        KeptCalendar { id, name, is_default, definition, created_at: now, updated_at: now, version: 1 }
    }
}

impl KeptCalendar {
    /// The calendar after `change`, or nothing when that changes nothing.
    pub fn changed(&self, change: CalendarChange, now: Instant) -> Option<Self> {
        let CalendarChange { name, time_zone, working_hours, holidays, is_default } = change;
        let before = &self.definition;
        let definition = Definition {
            time_zone: time_zone.map_or_else(|| before.time_zone.clone(), ZoneName::into_inner),
            working_hours: working_hours.unwrap_or_else(|| before.working_hours.clone()),
            holidays: match holidays {
                Patch::Absent => before.holidays.clone(),
                Patch::Null => BTreeMap::new(),
                Patch::Value(holidays) => holidays,
            },
        };
        let next = Self {
            name: name.map_or_else(|| self.name.clone(), CalendarName::into_inner),
            is_default: is_default.unwrap_or(self.is_default),
            definition,
            ..self.clone()
        };
        (next != *self).then(|| Self { updated_at: now, version: self.version + 1, ..next })
    }

    /// The calendar with further holidays, or nothing when it has all of them. A date that is a holiday keeps its name.
    ///
    /// # Errors
    /// `validation_failed` when that would be too many.
    pub fn with_holidays(&self, further: BTreeMap<Date, String>, now: Instant) -> Result<Option<Self>, Problem> {
        let mut holidays = further;
        holidays.extend(self.definition.holidays.clone());
        if holidays.len() > MOST_HOLIDAYS {
            let detail =
                format!("would make {} holidays of this calendar; at most {MOST_HOLIDAYS} fit", holidays.len());
            return Err(Problem::invalid(vec![
                FieldError::new("/events", "too_many", detail).with("max", MOST_HOLIDAYS),
            ]));
        }
        Ok(self.changed(CalendarChange { holidays: Patch::Value(holidays), ..CalendarChange::default() }, now))
    }
}
