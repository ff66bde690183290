//! The whole service: settings, wiring, the command line, the document, and what runs by itself.

pub mod backup;
pub mod check;
pub mod cli;
pub mod config;
pub mod docs;
pub mod document;
pub mod endpoints;
pub mod fixed_text;
pub mod generate;
pub mod health;
pub mod import;
pub mod janitor;
pub mod jobs;
pub mod postman;
pub mod rebuild;
pub mod server;
