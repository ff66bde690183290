//! Imports: the past of a desk that was elsewhere, lived again by the same rules, so that every number is what it would
//! have been.

pub mod domain;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
