//! Black-box tests: a real server on port 0, a database of its own for each test, spoken to over HTTP. Everything that
//! touches storage runs on both engines from one body.

mod support;

mod auth;
mod comments;
mod conventions;
mod issuers;
mod tickets;
