//! The use cases of metrics.

pub mod cells;
mod figures;
pub mod prometheus;
pub mod reports;
