//! Skranke: a headless helpdesk. One place where problems are reported, registered, handled and solved, spoken to
//! over a JSON HTTP API.
//!
//! The rooms import only leftwards:
//! `kernel → db → http → audit → auth → people → tally → sla → tickets → files → comments → time_entries → overview →
//! alerts → bulk → imports → metrics → changes → exports → webhooks → app`.

// The examples of large bodies are long `json!` expressions.
#![recursion_limit = "256"]

pub mod alerts;
pub mod app;
pub mod audit;
pub mod auth;
pub mod bulk;
pub mod changes;
pub mod comments;
pub mod db;
pub mod exports;
pub mod files;
pub mod http;
pub mod imports;
pub mod kernel;
pub mod metrics;
pub mod overview;
pub mod people;
pub mod sla;
pub mod tally;
pub mod tickets;
pub mod time_entries;
pub mod webhooks;
