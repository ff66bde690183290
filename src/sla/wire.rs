//! Clocks, policies and calendars as clients see them.

pub mod clocks;
pub mod explain;
pub mod policies;
