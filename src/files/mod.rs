//! Files: what people attach to tickets and comments. What is known of each is a row; its bytes lie in a folder or in a
//! bucket.

pub mod domain;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod wire;
