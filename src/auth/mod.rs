//! Who calls, and may they: tokens, keys, roles, scopes and permissions.

pub mod credential;
pub mod domain;
pub mod keys;
pub mod password;
pub mod policy;
pub mod service;
pub mod store;
pub mod token;
