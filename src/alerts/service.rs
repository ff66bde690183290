//! The use cases of alerts.

mod intake;
pub mod sources;

pub use intake::{Received, forget_alerts, receive};
