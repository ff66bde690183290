//! Black-box tests: a real server on port 0, a database of its own for each test, spoken to over HTTP. Everything that
//! touches storage runs on both engines from one body.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod answers;
mod auth;
mod backlog;
mod calendars;
mod changes;
mod clocks;
mod comments;
mod conventions;
mod crash;
mod disk;
mod document;
mod edits;
mod erasure;
mod faults;
mod hosts;
mod hot;
mod house;
mod issuers;
mod janitor;
mod jobs;
mod lanes;
mod languages;
mod ledger;
mod limits;
mod matrix;
mod metrics;
mod modules;
mod notices;
mod odd;
mod operation;
mod overload;
mod people;
mod plans;
mod policies;
mod prometheus;
mod rebuild;
mod reference;
mod release;
mod replay;
mod replica;
mod search;
mod skew;
mod start;
mod streams;
mod tickets;
mod time_entries;
mod traces;
mod trails;
mod upgrade;
mod webhooks;
mod wire;
