//! Webhooks as they are set up, and the words that tell how they and their deliveries are.

use crate::audit::domain::EventKind;
use crate::kernel::text::Line;
use crate::kernel::words::words;
use crate::kernel::{Instant, Patch, PrincipalId, WebhookId};
use crate::sla::domain::policies::ConditionChange;
use crate::sla::domain::policy::Condition;

/// How many webhooks there may be.
pub const MOST_WEBHOOKS: i64 = 100;

words! {
    /// Whether a webhook tells what happens.
    pub enum WebhookState {
        /// It does.
        Active = "active",
        /// Somebody has paused it.
        Paused = "paused",
        /// The service has stopped it, and `disabled_reason` says why.
        Disabled = "disabled",
    }
}

words! {
    /// To what somebody can switch a webhook.
    pub enum WebhookSwitch {
        /// It tells what happens, also what has happened since it stopped.
        Active = "active",
        /// It does not, until it is active again.
        Paused = "paused",
    }
}

words! {
    /// Why the service has stopped a webhook.
    pub enum WebhookDisabledReason {
        /// Nothing has arrived for five days.
        Failing = "failing",
        /// The receiver has said that it is gone for good, by 410.
        Gone = "gone",
        /// The one in whose name it tells is not active any more, or may not read tickets.
        PrincipalRevoked = "principal_revoked",
        /// Its secret cannot be read by the keys that the service has.
        SecretUnreadable = "secret_unreadable",
    }
}

words! {
    /// What became of a delivery.
    pub enum WebhookDeliveryState {
        /// It has not arrived yet.
        Pending = "pending",
        /// It has arrived.
        Delivered = "delivered",
        /// It was given up after the last attempt.
        Dead = "dead",
    }
}

words! {
    /// Why an attempt has failed.
    pub enum WebhookDeliveryError {
        /// The name of the host leads nowhere.
        Dns = "dns",
        /// The host has an address that webhooks may not lead to.
        AddressRefused = "address_refused",
        /// No connection was made.
        Connect = "connect",
        /// TLS failed: the certificate is not good for the host, say.
        Tls = "tls",
        /// There was no answer in time.
        Timeout = "timeout",
        /// The connection ended before there was an answer.
        Broken = "broken",
        /// The answer was a redirect, which is not followed.
        Redirect = "redirect",
        /// The answer was 410.
        Gone = "gone",
        /// The answer had another status than 2xx.
        Status = "status",
        /// The secret cannot be read by the keys that the service has.
        SecretUnreadable = "secret_unreadable",
    }
}

/// A webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// Its name, which no other one has.
    pub name: String,
    /// In whose name it tells: what they may see, and nothing else.
    pub principal_id: PrincipalId,
    /// Where it leads.
    pub url: String,
    /// What it tells of.
    pub filter: WebhookFilter,
    /// Whether each change comes with its ticket.
    pub include_ticket: bool,
    /// Whether it tells what was imported, too.
    pub include_imported: bool,
    /// Whether it tells.
    pub state: WebhookState,
    /// Why the service has stopped it.
    pub disabled_reason: Option<WebhookDisabledReason>,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change.
    pub version: i64,
}

/// What a webhook tells of.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WebhookFilter {
    /// Changes of these types; of all, if nothing is said.
    pub types: Option<Vec<EventKind>>,
    /// Of tickets like these.
    pub condition: Condition,
}

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Its name.
    pub name: Line<200>,
    /// In whose name it tells; of whoever makes it, if nothing is said.
    pub principal_id: Option<PrincipalId>,
    /// Where it leads.
    pub url: String,
    /// What it tells of.
    pub types: Vec<EventKind>,
    /// Of which tickets.
    pub condition: Patch<ConditionChange>,
    /// Whether each change comes with its ticket.
    pub include_ticket: bool,
    /// Whether it tells what was imported, too.
    pub include_imported: bool,
    /// Whether it begins at once.
    pub state: WebhookSwitch,
}

/// What is to be changed of a webhook; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// Another name.
    pub name: Option<Line<200>>,
    /// Somebody else in whose name it tells.
    pub principal_id: Option<PrincipalId>,
    /// Another place.
    pub url: Option<String>,
    /// Other types of changes; all, if emptied.
    pub types: Patch<Vec<EventKind>>,
    /// Other tickets; all, if emptied.
    pub condition: Patch<ConditionChange>,
    /// Whether each change comes with its ticket.
    pub include_ticket: Option<bool>,
    /// Whether it tells what was imported, too.
    pub include_imported: Option<bool>,
    /// Whether it tells.
    pub state: Option<WebhookSwitch>,
}

words! {
    /// What of the past is sent again.
    pub enum ReplayedDeliveries {
        /// What was given up.
        Dead = "dead",
        /// All of it.
        All = "all",
    }
}

/// A point in the change log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPoint {
    /// A position.
    Position(i64),
    /// The first position that was given at this instant or later.
    At(Instant),
}

/// What is to be sent again.
#[derive(Debug, Clone, Copy)]
pub struct Replay {
    /// From here on.
    pub from: LogPoint,
    /// Up to here, with the position itself, but without what came at the instant.
    pub to: Option<LogPoint>,
    /// What of it.
    pub only: ReplayedDeliveries,
}

/// What is sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// How many are queued.
    pub queued: usize,
    /// Where to go on, if there is more.
    pub next_from: Option<i64>,
}

/// No type at all means all of them.
fn all_if_empty(types: Vec<EventKind>) -> Option<Vec<EventKind>> {
    (!types.is_empty()).then_some(types)
}

impl From<WebhookSwitch> for WebhookState {
    fn from(switch: WebhookSwitch) -> Self {
        match switch {
            WebhookSwitch::Active => Self::Active,
            WebhookSwitch::Paused => Self::Paused,
        }
    }
}

impl NewWebhook {
    /// The webhook, at version 1, in the name of `principal`.
    pub fn into_webhook(self, id: WebhookId, principal: PrincipalId, now: Instant) -> Webhook {
        let Self { name, principal_id: _, url, types, condition, include_ticket, include_imported, state } = self;
        Webhook {
            id,
            name: name.into_inner(),
            principal_id: principal,
            url,
            filter: WebhookFilter { types: all_if_empty(types), condition: Condition::default().changed(condition) },
            include_ticket,
            include_imported,
            state: state.into(),
            disabled_reason: None,
            created_at: now,
            updated_at: now,
            version: 1,
        }
    }
}

impl Webhook {
    /// The webhook after `change` at `now`; nothing when that changes nothing.
    pub fn changed(&self, change: WebhookChange, now: Instant) -> Option<Self> {
        let WebhookChange { name, principal_id, url, types, condition, include_ticket, include_imported, state } =
            change;
        let next = Self {
            name: name.map_or_else(|| self.name.clone(), Line::into_inner),
            principal_id: principal_id.unwrap_or(self.principal_id),
            url: url.unwrap_or_else(|| self.url.clone()),
            filter: WebhookFilter {
                types: match types {
                    Patch::Absent => self.filter.types.clone(),
                    Patch::Null => None,
                    Patch::Value(types) => all_if_empty(types),
                },
                condition: self.filter.condition.clone().changed(condition),
            },
            include_ticket: include_ticket.unwrap_or(self.include_ticket),
            include_imported: include_imported.unwrap_or(self.include_imported),
            state: state.map_or(self.state, WebhookState::from),
            disabled_reason: if state.is_some() { None } else { self.disabled_reason },
            ..self.clone()
        };
        (next != *self).then(|| next.at_next_version(now))
    }

    /// The webhook with another secret.
    #[must_use]
    pub fn with_new_secret(&self, now: Instant) -> Self {
        self.clone().at_next_version(now)
    }

    fn at_next_version(self, now: Instant) -> Self {
        // Never back, also when an instance's clock is.
        Self { updated_at: self.updated_at.max(now), version: self.version + 1, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_switches_a_webhook_that_was_stopped_forgets_why() {
        let name = Line::parse("Hook".to_owned()).expect("a name");
        let new = NewWebhook {
            name,
            principal_id: None,
            url: "https://example.org/".into(),
            types: vec![],
            condition: Patch::Absent,
            include_ticket: false,
            include_imported: false,
            state: WebhookSwitch::Active,
        };
        let nil = uuid::Uuid::nil();
        let active = new.into_webhook(nil.into(), nil.into(), Instant::EPOCH);
        assert_eq!(active.filter, WebhookFilter::default());
        let stopped = Webhook {
            state: WebhookState::Disabled,
            disabled_reason: Some(WebhookDisabledReason::Gone),
            ..active.clone()
        };
        let switched = |state| stopped.changed(WebhookChange { state, ..WebhookChange::default() }, Instant::EPOCH);
        assert_eq!(switched(None), None);
        for (switch, state) in
            [(WebhookSwitch::Active, WebhookState::Active), (WebhookSwitch::Paused, WebhookState::Paused)]
        {
            let after = switched(Some(switch)).expect("a change");
            assert_eq!((after.state, after.disabled_reason, after.version), (state, None, 2));
        }
        let only = WebhookChange { types: Patch::Value(vec![EventKind::TicketCreated]), ..WebhookChange::default() };
        let some = active.changed(only, Instant::EPOCH).expect("a change");
        assert_eq!(some.filter.types, Some(vec![EventKind::TicketCreated]));
        for none in [Patch::Null, Patch::Value(vec![])] {
            let all = some.changed(WebhookChange { types: none, ..WebhookChange::default() }, Instant::EPOCH);
            assert_eq!(all.expect("a change").filter.types, None);
        }
        assert_eq!(
            active.changed(WebhookChange { types: Patch::Null, ..WebhookChange::default() }, Instant::EPOCH),
            None
        );
    }
}
