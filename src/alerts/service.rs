//! The use cases of alerts.

mod intake;
pub mod sources;

pub use intake::{ReceivedAlert, forget_alerts, receive};
