//! The use cases of metrics.

pub mod reports;
