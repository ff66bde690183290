//! Numbers as clients see them.

pub mod prometheus;
pub mod reports;
