//! Webhooks: what happens is told to an address as it happens, signed, again and again until it is taken; and only what
//! the one may see in whose name it is told.

pub mod domain;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
