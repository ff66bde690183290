//! The tally: numbers that are kept as tickets change, so that reading them costs the same however many tickets there
//! are.
//!
//! A change adds what it counts as a row of its own, in its own transaction: nobody waits for anybody. The rows are
//! folded together from time to time. What is read is always both, in one snapshot, so that the fold may lag, but never
//! lies.

pub mod domain;
pub mod service;
pub mod store;
