//! What a page of a frontend shows of a ticket in one answer: with its comments, its trail, the work on it and its
//! promises, or all of that in one timeline.

pub mod routes;
pub mod service;
pub mod wire;
