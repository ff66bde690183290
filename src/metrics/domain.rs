//! What is counted and how. Pure.

pub mod backlog;
pub mod figures;
pub mod series;
pub mod window;
