//! Several writes of tickets in one request: each for itself, or all or none.

pub mod policy;
pub mod routes;
pub mod service;
pub mod wire;
