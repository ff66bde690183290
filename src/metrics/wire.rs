//! Numbers as clients see them.

pub mod reports;
