//! Queries for what is promised and measured.

pub mod calendars;
pub mod clocks;
pub mod configuration;
pub mod notices;
pub mod policies;
pub mod watch;
