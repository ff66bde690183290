//! Queries for what is promised and measured.

pub mod book;
pub mod calendars;
pub mod clocks;
pub mod past;
pub mod policies;
