//! Alerts: what monitoring tools and scripts tell of, again and again, becomes one open ticket for each problem, which
//! ends when that is over.

pub mod domain;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
