//! The audit trail of tickets: what changed, who did it, when, before and after. Written in the transaction of the
//! change.

pub mod domain;
pub mod store;
pub mod wire;
