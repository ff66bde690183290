//! Numbers about all of it: what is at the counter, what became of it, and how the service itself is.

pub mod domain;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
