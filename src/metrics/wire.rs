//! Numbers as clients ask for them and see them.

pub mod backlog;
pub mod figures;
pub mod groups;
pub mod prometheus;
pub mod queries;
pub mod summary;
pub mod timeseries;
