//! Who calls, and may they: tokens, keys, roles, scopes and permissions.

pub mod credential;
pub mod domain;
pub mod grants;
pub mod issuers;
pub mod jwks;
pub mod keys;
pub mod mapping;
pub mod password;
pub mod policy;
pub mod routes;
pub mod service;
pub mod store;
pub mod token;
pub mod wire;
