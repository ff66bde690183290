//! The use cases of metrics.

pub mod backlog;
pub mod prometheus;
pub mod reports;
