//! Queries for what is counted.

pub mod facts;
