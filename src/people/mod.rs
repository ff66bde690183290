//! Who is at the counter: people, the teams that agents work in, and service accounts.

pub mod domain;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;

pub use routes::routes;
