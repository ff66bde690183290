//! The use cases of metrics.

pub mod backlog;
pub mod cells;
mod figures;
pub mod prometheus;
pub mod reports;
