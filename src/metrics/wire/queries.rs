//! What reports are asked for.

use deserr::Deserr;
use jiff::tz::TimeZone;
use utoipa::IntoParams;

use crate::http::query::{Csv, query_part};
use crate::kernel::fault::{self, Faults};
use crate::kernel::{FieldError, Instant};
use crate::metrics::domain::window::{Interval, Window};
use crate::sla::domain::calendar;
use crate::tally::domain::facts::GroupBy;

/// Which window of time, and by what tickets are grouped.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WindowQuery {
    /// The beginning of the window; 30 days before its end unless said.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub from: Option<Instant>,
    /// The end of the window: the first instant that is not in it any more. Now unless said.
    #[deserr(default)]
    #[param(value_type = Option<String>, format = DateTime)]
    pub to: Option<Instant>,
    /// By what it is grouped: by one thing or two different ones, separated by a comma. Tickets are in the groups that
    /// they were in when something happened to them.
    #[deserr(default)]
    #[param(value_type = Option<Vec<GroupBy>>, min_items = 1, max_items = 2, style = Form, explode = false, example = json!(["team", "priority"]))]
    pub group_by: Option<Csv<GroupBy>>,
}

/// By what it is grouped.
///
/// # Errors
/// The fault that it is by more than two things, or twice by the same.
fn groups(group_by: Option<&Csv<GroupBy>>) -> Result<Vec<GroupBy>, FieldError> {
    match group_by.map_or(&[][..], |by| by.0.as_slice()) {
        [one, other] if one == other => {
            Err(FieldError::new("group_by", "invalid", "must not name the same thing twice"))
        }
        by @ ([] | [_] | [_, _]) => Ok(by.to_vec()),
        _ => Err(FieldError::new("group_by", "too_many", "must name at most two things").with("max", 2)),
    }
}

impl WindowQuery {
    /// By what it is grouped.
    ///
    /// # Errors
    /// As those of [`groups`].
    pub fn groups(&self) -> Result<Vec<GroupBy>, FieldError> {
        groups(self.group_by.as_ref())
    }

    /// The window that is meant at `now`.
    ///
    /// # Errors
    /// The fault that it ends before it begins.
    pub fn window(&self, now: Instant) -> Result<Window, FieldError> {
        Window::new(self.from, self.to, now)
    }
}

/// A time zone by its name in IANA's database; UTC unless said.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

impl Zone {
    /// Its name.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl std::str::FromStr for Zone {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        calendar::zone(text).map(Self).ok_or("must be a time zone of the IANA database such as Europe/Oslo")
    }
}

fault::deserr_from_str!(Zone);

/// Into which steps a window is cut.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StepsQuery {
    /// How long a step is, by local time.
    #[param(value_type = Interval, inline)]
    pub interval: Interval,
    /// Whose local time: a name of the IANA time zone database.
    #[deserr(default)]
    #[param(value_type = Option<String>, default = "UTC", example = "Europe/Oslo")]
    pub time_zone: Zone,
}

impl StepsQuery {
    /// The edges of the steps of `window`.
    ///
    /// # Errors
    /// The fault that there are too many.
    pub fn edges(&self, window: Window) -> Result<Vec<Instant>, FieldError> {
        window.edges(self.interval, &self.time_zone.0)
    }
}

/// How long ahead one looks, in seconds: an hour unless told, at most a leap year.
#[derive(Debug, Clone, Copy)]
pub struct Ahead(i64);

impl Ahead {
    /// In seconds.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl Default for Ahead {
    fn default() -> Self {
        Self(3_600)
    }
}

impl std::str::FromStr for Ahead {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(s @ 0..=31_622_400) => Ok(Self(s)),
            _ => {
                let fault = FieldError::from("must be a whole number of seconds from 0 to 31622400");
                Err(fault.with("min", 0).with("max", 31_622_400))
            }
        }
    }
}

fault::deserr_from_str!(Ahead);

/// How far ahead one looks, and by what tickets are grouped.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct BacklogQuery {
    /// How many seconds ahead promises are due soon.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 0, maximum = 31622400, default = 3600)]
    pub due_within_s: Ahead,
    /// By what tickets are grouped: by one thing or two different ones, separated by a comma. Not by `worker`.
    #[deserr(default)]
    #[param(value_type = Option<Vec<GroupBy>>, min_items = 1, max_items = 2, style = Form, explode = false, example = json!(["team"]))]
    pub group_by: Option<Csv<GroupBy>>,
}

impl BacklogQuery {
    /// By what tickets are grouped.
    ///
    /// # Errors
    /// As those of [`groups`], and that nobody has worked on what is still to do.
    pub fn groups(&self) -> Result<Vec<GroupBy>, FieldError> {
        let by = groups(self.group_by.as_ref())?;
        if by.contains(&GroupBy::Worker) {
            return Err(FieldError::new("group_by", "invalid", "must not be `worker`: that groups work, not tickets"));
        }
        Ok(by)
    }
}

query_part!(WindowQuery);
query_part!(StepsQuery);
query_part!(BacklogQuery);
