//! Exports: everything that a caller may read, out in one go, and from where the feed goes on.

pub mod routes;
pub mod service;
pub mod wire;
