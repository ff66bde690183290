//! The pure rules of time: working hours, promises, clocks.

pub mod calendar;
pub mod calendars;
pub mod change;
pub mod clock;
pub mod explain;
pub mod icalendar;
pub mod notice;
pub mod policies;
pub mod policy;
pub mod preview;
pub mod tally;
