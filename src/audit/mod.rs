//! The audit trail of tickets: what changed, who did it, when, before and after. Written in the transaction of the
//! change, and with it the change log: one ordered list of all that happened.

pub mod domain;
pub mod service;
pub mod store;
pub mod wire;
