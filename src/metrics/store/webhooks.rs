//! Numbers of webhooks. Each is read from an index, and costs no more the more deliveries there were.

use diesel::prelude::*;
use diesel::sql_types::Text;

use crate::db::raw::raw;
use crate::db::schema::{changes, webhook_deliveries, webhooks};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{Instant, Problem, WebhookId};

/// The states of webhooks, and of those deliveries that somebody may have to see to.
pub const STATES: [&str; 3] = ["active", "paused", "disabled"];
/// The states of deliveries that are counted.
pub const DELIVERY_STATES: [&str; 2] = ["dead", "pending"];

/// How webhooks are at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookFigures {
    /// How many there are in each of [`STATES`].
    pub webhooks: Vec<(&'static str, i64)>,
    /// How many deliveries there are in each of [`DELIVERY_STATES`], as far as they are counted.
    pub deliveries: Vec<(&'static str, i64)>,
    /// Since when the first change waits that an active webhook has to tell.
    pub waiting_since: Option<Instant>,
}

/// The figures; of deliveries in one state at most `most` are counted.
pub async fn figures(conn: &mut Conn, head: i64, most: i64) -> Result<WebhookFigures, Problem> {
    let there = webhooks::table.filter(webhooks::deleted_at.is_null());
    let there = there.select((webhooks::id, webhooks::state, webhooks::position));
    let all: Vec<(WebhookId, String, i64)> = on_each!(conn, |c| there.load(c).await)?;
    let mut first_waiting = None::<i64>;
    for (id, _, position) in all.iter().filter(|(_, state, _)| state == "active") {
        let first = webhook_deliveries::table
            .filter(webhook_deliveries::webhook_id.eq(id).and(webhook_deliveries::state.eq("pending")))
            .order(webhook_deliveries::position)
            .select(webhook_deliveries::position);
        let first: Option<i64> = on_each!(conn, |c| first.first(c).await.optional())?;
        let first = first.or((*position < head).then_some(position + 1));
        first_waiting = [first_waiting, first].into_iter().flatten().min();
    }
    let mut waiting_since = None;
    if let Some(first) = first_waiting {
        let given = changes::table.find(first).select(changes::at);
        waiting_since = on_each!(conn, |c| given.first(c).await.optional())?;
    }
    let mut deliveries = Vec::new();
    for state in DELIVERY_STATES {
        let some = webhook_deliveries::table
            .filter(webhook_deliveries::state.eq(state))
            .limit(most)
            .select(raw::<Text>("'x'"));
        let some: Vec<String> = on_each!(conn, |c| some.load(c).await)?;
        deliveries.push((state, i64::try_from(some.len()).unwrap_or(i64::MAX)));
    }
    let count = |wanted: &str| all.iter().filter(|(_, state, _)| state == wanted).count();
    let webhooks = STATES.iter().map(|state| (*state, i64::try_from(count(state)).unwrap_or(i64::MAX))).collect();
    Ok(WebhookFigures { webhooks, deliveries, waiting_since })
}
