//! Queries for what is counted.

pub mod backlog;
pub mod facts;
pub mod webhooks;
