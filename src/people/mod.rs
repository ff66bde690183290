//! stub until merge
pub mod service;
