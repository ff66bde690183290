//! The use cases of webhooks: setting them up, handing out what happens, and sending it.

mod configuration;
pub mod courier;
mod hand_out;
mod send;
mod watch;

pub use configuration::{
    change_webhook, create_webhook, delete_webhook, list_webhooks, read_webhook, rotate_webhook_secret,
};
pub use hand_out::forget_deliveries;
pub use hand_out::{DeliveriesQueued, hand_out};
pub use send::{Busy, Sender};
pub use watch::{REPLAYED_AT_ONCE, list_deliveries, replay_deliveries, try_webhook};
