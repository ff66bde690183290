//! Calendars as clients write and see them.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::domain::Principal;
use crate::auth::policy::ReadSla;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::{self, Faults, deserr_from_str};
use crate::kernel::{CalendarId, FieldError, Instant, Patch, Set};
use crate::sla::domain::calendar::{Definition, MOST_HOLIDAYS, Shift, TimeOfDay, Weekday, check_hours};
use crate::sla::domain::calendars::{
    CalendarChange, CalendarName, CalendarVersion, Day, HolidayName, KeptCalendar, NewCalendar, ZoneName,
};

deserr_from_str!(TimeOfDay);
deserr_from_str!(ZoneName);
deserr_from_str!(Day);

/// A shift, by the clocks of the calendar's zone.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct ShiftInput {
    /// When it begins.
    #[schema(value_type = String, pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$", example = "08:00")]
    pub from: TimeOfDay,
    /// When it ends, at most 24:00; earlier than `from` is on the next day.
    #[schema(value_type = String, pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$", example = "16:00")]
    pub to: TimeOfDay,
}

/// The shifts of each weekday: at most 12 a day, none that overlap, and at least one in the week. A day that is left
/// out is free.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct WorkingHoursInput {
    /// The shifts that begin on a Monday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub monday: Vec<ShiftInput>,
    /// The shifts that begin on a Tuesday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub tuesday: Vec<ShiftInput>,
    /// The shifts that begin on a Wednesday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub wednesday: Vec<ShiftInput>,
    /// The shifts that begin on a Thursday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub thursday: Vec<ShiftInput>,
    /// The shifts that begin on a Friday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub friday: Vec<ShiftInput>,
    /// The shifts that begin on a Saturday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub saturday: Vec<ShiftInput>,
    /// The shifts that begin on a Sunday.
    #[deserr(default)]
    #[schema(max_items = 12, required = false)]
    pub sunday: Vec<ShiftInput>,
}

/// Working hours that make sense.
#[derive(Debug)]
pub struct WeeklyHours(BTreeMap<Weekday, Vec<Shift>>);

impl Deserr<Faults> for WeeklyHours {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let input = WorkingHoursInput::deserialize_from_value(value, location)?;
        let WorkingHoursInput { monday, tuesday, wednesday, thursday, friday, saturday, sunday } = input;
        let days = Weekday::ALL.iter().zip([monday, tuesday, wednesday, thursday, friday, saturday, sunday]);
        let shifts = |day: Vec<ShiftInput>| day.into_iter().map(|ShiftInput { from, to }| Shift { from, to }).collect();
        let week: BTreeMap<Weekday, Vec<Shift>> =
            days.filter(|(_, shifts)| !shifts.is_empty()).map(|(day, all)| (*day, shifts(all))).collect();
        match check_hours(&week) {
            Ok(_) => Ok(Self(week)),
            Err(faults) => Err(within(location, faults)),
        }
    }
}

/// A day without working time.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
pub struct HolidayInput {
    /// The date, in the calendar's zone.
    #[schema(value_type = String, format = Date, example = "2026-12-25")]
    pub date: Day,
    /// What the day is called.
    #[schema(value_type = String, min_length = 1, max_length = 100, example = "Christmas Day")]
    pub name: HolidayName,
}

/// Holidays, each date once.
#[derive(Debug, Default, PartialEq)]
pub struct Holidays(BTreeMap<Date, String>);

impl Deserr<Faults> for Holidays {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let all = Vec::<HolidayInput>::deserialize_from_value(value, location)?;
        if all.len() > MOST_HOLIDAYS {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_HOLIDAYS} dates"));
            return Err(fault.with("max", MOST_HOLIDAYS));
        }
        let (mut holidays, mut faults) = (BTreeMap::new(), Vec::new());
        for (nth, HolidayInput { date, name }) in all.into_iter().enumerate() {
            if holidays.insert(date.0, name.into_inner()).is_some() {
                faults.push(FieldError::new(format!("/{nth}/date"), "invalid", "is there twice"));
            }
        }
        if faults.is_empty() { Ok(Self(holidays)) } else { Err(within(location, faults)) }
    }
}

/// Faults whose places are within what stands at `location`.
fn within(location: ValuePointerRef<'_>, faults: Vec<FieldError>) -> Faults {
    let place = fault::pointer(location);
    Faults::from(faults).placed(|within| format!("{place}{within}"))
}

/// A calendar to be made.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(as = NewCalendar, example = json!({
    "name": "Office in Oslo", "time_zone": "Europe/Oslo", "is_default": true,
    "working_hours": {
        "monday": [{ "from": "08:00", "to": "16:00" }], "tuesday": [{ "from": "08:00", "to": "16:00" }],
        "wednesday": [{ "from": "08:00", "to": "12:00" }, { "from": "13:00", "to": "17:00" }],
        "thursday": [{ "from": "08:00", "to": "16:00" }], "friday": [{ "from": "22:00", "to": "06:00" }],
    },
    "holidays": [{ "date": "2026-12-25", "name": "Christmas Day" }],
}))]
pub struct NewCalendarBody {
    /// What the calendar is called; no other calendar is called so.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    pub name: CalendarName,
    /// The zone whose clocks count, by its name in the IANA database.
    #[schema(value_type = String, example = "Europe/Oslo")]
    pub time_zone: ZoneName,
    /// The shifts of each weekday.
    #[schema(value_type = WorkingHoursInput)]
    pub working_hours: WeeklyHours,
    /// Days without working time, each date once.
    #[deserr(default)]
    #[schema(value_type = Vec<HolidayInput>, required = false, max_items = 1000)]
    pub holidays: Holidays,
    /// Whether business time is measured by this calendar where no SLA policy names another.
    #[deserr(default)]
    #[schema(required = false, default = false)]
    pub is_default: bool,
}

impl From<NewCalendarBody> for NewCalendar {
    fn from(body: NewCalendarBody) -> Self {
        let NewCalendarBody { name, time_zone, working_hours, holidays, is_default } = body;
        let definition =
            Definition { time_zone: time_zone.into_inner(), working_hours: working_hours.0, holidays: holidays.0 };
        Self { name, definition, is_default }
    }
}

/// A JSON merge patch (RFC 7396) of a calendar: what is not mentioned stays; working hours and holidays are replaced
/// whole.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "holidays": [{ "date": "2026-12-25", "name": "Christmas Day" }] }))]
pub struct CalendarPatch {
    /// What the calendar is called; no other calendar is called so.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, nullable = false)]
    pub name: Set<CalendarName>,
    /// The zone whose clocks count, by its name in the IANA database.
    #[deserr(default)]
    #[schema(value_type = Option<String>, nullable = false, example = "Europe/Oslo")]
    pub time_zone: Set<ZoneName>,
    /// The shifts of each weekday, of the whole week.
    #[deserr(default)]
    #[schema(value_type = WorkingHoursInput, required = false)]
    pub working_hours: Set<WeeklyHours>,
    /// Days without working time, all of them.
    #[deserr(default)]
    #[schema(value_type = Option<Vec<HolidayInput>>, max_items = 1000)]
    pub holidays: Patch<Holidays>,
    /// Whether business time is measured by this calendar where no SLA policy names another.
    #[deserr(default)]
    #[schema(value_type = Option<bool>, nullable = false)]
    pub is_default: Set<bool>,
}

impl From<CalendarPatch> for CalendarChange {
    fn from(patch: CalendarPatch) -> Self {
        let CalendarPatch { name, time_zone, working_hours, holidays, is_default } = patch;
        Self {
            name: name.0,
            time_zone: time_zone.0,
            working_hours: working_hours.0.map(|hours| hours.0),
            holidays: match holidays {
                Patch::Absent => Patch::Absent,
                Patch::Null => Patch::Null,
                Patch::Value(holidays) => Patch::Value(holidays.0),
            },
            is_default: is_default.0,
        }
    }
}

/// A shift, by the clocks of the calendar's zone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Shift)]
pub struct ShiftBody {
    /// When it begins.
    #[schema(value_type = String, example = "08:00")]
    pub from: TimeOfDay,
    /// When it ends; earlier than `from` is on the next day.
    #[schema(value_type = String, example = "16:00")]
    pub to: TimeOfDay,
}

/// The shifts of each weekday.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WorkingHours)]
pub struct WorkingHoursBody {
    /// The shifts that begin on a Monday.
    pub monday: Vec<ShiftBody>,
    /// The shifts that begin on a Tuesday.
    pub tuesday: Vec<ShiftBody>,
    /// The shifts that begin on a Wednesday.
    pub wednesday: Vec<ShiftBody>,
    /// The shifts that begin on a Thursday.
    pub thursday: Vec<ShiftBody>,
    /// The shifts that begin on a Friday.
    pub friday: Vec<ShiftBody>,
    /// The shifts that begin on a Saturday.
    pub saturday: Vec<ShiftBody>,
    /// The shifts that begin on a Sunday.
    pub sunday: Vec<ShiftBody>,
}

impl From<BTreeMap<Weekday, Vec<Shift>>> for WorkingHoursBody {
    fn from(mut week: BTreeMap<Weekday, Vec<Shift>>) -> Self {
        let mut day = |day| {
            let shifts = week.remove(&day).unwrap_or_default();
            shifts.into_iter().map(|Shift { from, to }| ShiftBody { from, to }).collect()
        };
        Self {
            monday: day(Weekday::Monday),
            tuesday: day(Weekday::Tuesday),
            wednesday: day(Weekday::Wednesday),
            thursday: day(Weekday::Thursday),
            friday: day(Weekday::Friday),
            saturday: day(Weekday::Saturday),
            sunday: day(Weekday::Sunday),
        }
    }
}

/// A day without working time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Holiday)]
pub struct HolidayBody {
    /// The date, in the calendar's zone.
    #[schema(value_type = String, format = Date, example = "2026-12-25")]
    pub date: Date,
    /// What the day is called.
    #[schema(example = "Christmas Day")]
    pub name: String,
}

fn holidays(holidays: BTreeMap<Date, String>) -> Vec<HolidayBody> {
    holidays.into_iter().map(|(date, name)| HolidayBody { date, name }).collect()
}

/// A calendar of working hours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Calendar, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-00000000cafe", "name": "Office in Oslo", "time_zone": "Europe/Oslo",
    "working_hours": {
        "monday": [{ "from": "08:00", "to": "16:00" }], "tuesday": [{ "from": "08:00", "to": "16:00" }],
        "wednesday": [{ "from": "08:00", "to": "12:00" }, { "from": "13:00", "to": "17:00" }],
        "thursday": [{ "from": "08:00", "to": "16:00" }], "friday": [{ "from": "22:00", "to": "06:00" }],
        "saturday": [], "sunday": [],
    },
    "holidays": [{ "date": "2026-12-25", "name": "Christmas Day" }], "is_default": true, "weekly_s": 144000,
    "created_at": "2026-03-01T09:30:00.000000Z", "updated_at": "2026-03-01T09:30:00.000000Z", "version": 1,
}))]
pub struct CalendarBody {
    /// The calendar's id.
    pub id: CalendarId,
    /// What the calendar is called.
    pub name: String,
    /// The zone whose clocks count, by its name in the IANA database.
    pub time_zone: String,
    /// The shifts of each weekday.
    pub working_hours: WorkingHoursBody,
    /// Days without working time, the earliest first.
    pub holidays: Vec<HolidayBody>,
    /// Whether business time is measured by this calendar where no SLA policy names another.
    pub is_default: bool,
    /// The working time of a week without holidays.
    pub weekly_s: i64,
    /// When the calendar was made.
    pub created_at: Instant,
    /// When the calendar was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    pub version: i64,
}

impl From<KeptCalendar> for CalendarBody {
    fn from(calendar: KeptCalendar) -> Self {
        let KeptCalendar { id, name, is_default, definition, created_at, updated_at, version } = calendar;
        let weekly_s = definition.weekly_s();
        Self {
            id,
            name,
            time_zone: definition.time_zone,
            working_hours: definition.working_hours.into(),
            holidays: holidays(definition.holidays),
            is_default,
            weekly_s,
            created_at,
            updated_at,
            version,
        }
    }
}

impl Resource for CalendarBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadSla>()
    }
}

/// What a calendar was made of for a while.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CalendarVersion, example = json!({
    "version": 1, "created_at": "2026-03-01T09:30:00.000000Z", "time_zone": "Europe/Oslo",
    "working_hours": {
        "monday": [{ "from": "08:00", "to": "16:00" }], "tuesday": [], "wednesday": [], "thursday": [], "friday": [],
        "saturday": [], "sunday": [],
    },
    "holidays": [], "weekly_s": 28800,
}))]
pub struct CalendarVersionBody {
    /// Which version of the calendar.
    pub version: i64,
    /// Since when it held.
    pub created_at: Instant,
    /// The zone whose clocks counted.
    pub time_zone: String,
    /// The shifts of each weekday.
    pub working_hours: WorkingHoursBody,
    /// Days without working time, the earliest first.
    pub holidays: Vec<HolidayBody>,
    /// The working time of a week without holidays.
    pub weekly_s: i64,
}

impl From<CalendarVersion> for CalendarVersionBody {
    fn from(version: CalendarVersion) -> Self {
        let CalendarVersion { version, created_at, definition } = version;
        let weekly_s = definition.weekly_s();
        Self {
            version,
            created_at,
            time_zone: definition.time_zone,
            working_hours: definition.working_hours.into(),
            holidays: holidays(definition.holidays),
            weekly_s,
        }
    }
}

impl ListItem for CalendarBody {}
impl ListItem for CalendarVersionBody {}
