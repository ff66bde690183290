//! Time entries: seconds of work on a ticket, with the hourly rate that held then, and what all of it cost.

pub mod domain;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
