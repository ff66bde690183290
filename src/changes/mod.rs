//! The feed: the change log as a caller may read it.

pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
