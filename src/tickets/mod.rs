//! Tickets: what was reported, where it stands in its life, and who works on it.

pub mod domain;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
