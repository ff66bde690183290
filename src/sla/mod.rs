//! What is promised and what is measured: calendars, SLA policies, and the clocks of each ticket.

pub mod domain;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;

pub use routes::routes;
