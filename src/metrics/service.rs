//! The use cases of metrics.

pub mod prometheus;
pub mod reports;
