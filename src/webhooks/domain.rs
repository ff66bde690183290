//! Webhooks and deliveries: where they may lead, what is sent, and when. Pure.

pub mod egress;
pub mod message;
pub mod schedule;
pub mod webhook;

pub use egress::{Egress, WebhookTarget};
pub use webhook::{
    LogPoint, MOST_WEBHOOKS, NewWebhook, Replay, Replayed, ReplayedDeliveries, Webhook, WebhookChange,
    WebhookDeliveryError, WebhookDeliveryState, WebhookDisabledReason, WebhookFilter, WebhookState, WebhookSwitch,
};
