//! Queries for what is promised and measured.

pub mod book;
pub mod clocks;
pub mod policies;
