//! The use cases of metrics.

pub mod ask;
pub mod backlog;
mod figures;
pub mod groups;
pub mod prometheus;
pub mod reports;
