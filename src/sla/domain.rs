//! The pure rules of time: working hours, promises, clocks.

pub mod calendar;
pub mod calendars;
pub mod clock;
pub mod icalendar;
pub mod policy;
