//! Looking at what is sent, trying it out, and sending it again.

use super::courier::{Attempted, Courier, Message};
use super::hand_out::{DeliveriesQueued, MeantChanges, eyes, told};
use super::send::open_secrets;
use crate::audit::store::log;
use crate::auth::policy::Act;
use crate::auth::service::standing;
use crate::db::{Conn, Db, Root};
use crate::http::Sealer;
use crate::kernel::rows::Limit;
use crate::kernel::{Code, Instant, Problem, WebhookId};
use crate::webhooks::domain::{
    LogPoint, Replay, Replayed, ReplayedDeliveries, WebhookDeliveryError, WebhookDeliveryState, message,
};
use crate::webhooks::store;
use crate::webhooks::store::deliveries::{self, DeliveryRow};

/// The type of a message that tries a webhook.
const TEST: &str = "webhook.test";

/// How many positions one call goes through, or how many dead deliveries it finds.
pub const REPLAYED_AT_ONCE: i64 = 1_000;

/// At most one page and one of the deliveries of the webhook `id` before the position `before`, the last ones first.
///
/// # Errors
/// `not_found`.
pub async fn list_deliveries(
    conn: &mut Conn,
    id: WebhookId,
    state: Option<WebhookDeliveryState>,
    before: Option<i64>,
    limit: Limit,
) -> Result<Vec<DeliveryRow>, Problem> {
    store::find(conn, id).await?;
    deliveries::list(conn, id, state, before, limit).await
}

/// Sends a message to the receiver of the webhook `id` that tells of nothing. No transaction is open meanwhile.
///
/// # Errors
/// `not_found`.
pub async fn try_webhook(
    db: &Db,
    id: WebhookId,
    act: &Act,
    courier: &Courier,
    sealer: &Sealer,
) -> Result<Attempted, Problem> {
    let (webhook, secrets) =
        db.read(async |conn| Ok((store::find(conn, id).await?.webhook, store::secrets(conn, id).await?))).await?;
    let Some(opened) = open_secrets(id, &secrets, sealer, act.now)? else {
        return Ok(Attempted::failed(WebhookDeliveryError::SecretUnreadable));
    };
    let data = serde_json::json!({ "webhook": { "id": id, "name": webhook.name } });
    let body = message::body(TEST, act.now, data);
    let message = Message { id: act.id(), kind: TEST.to_owned(), at: act.now, body };
    Ok(courier.send(&webhook.url, &opened.secrets, message, act.now).await)
}

/// Queues again what was sent or given up, or what has happened before the webhook was made. What waits to be sent is
/// left alone.
///
/// # Errors
/// `not_found`; `conflict` when nobody is there any more in whose name it could be told.
pub async fn replay_deliveries(db: &Db, id: WebhookId, replay: Replay, now: Instant) -> Result<Replayed, Problem> {
    let work = async move |tx: &mut Conn| {
        let webhook = store::find(tx, id).await?.webhook;
        let after = match replay.from {
            LogPoint::Position(position) => position - 1,
            LogPoint::At(instant) => log::before(tx, instant).await?,
        };
        // What is behind it is handed out anyway.
        let last = deliveries::position(tx, id).await?;
        let until = match replay.to {
            Some(LogPoint::Position(position)) => position.min(last),
            Some(LogPoint::At(instant)) => log::before(tx, instant).await?.min(last),
            None => last,
        };
        if until <= after {
            return Ok(Replayed { queued: 0, next_from: None });
        }
        let (positions, reached) = match replay.only {
            ReplayedDeliveries::Dead => {
                at_most(deliveries::dead(tx, id, (after, until), REPLAYED_AT_ONCE + 1).await?, until)
            }
            ReplayedDeliveries::All => {
                let Some(who) = eyes(standing(tx, webhook.principal_id).await?) else {
                    let detail = "The principal of the webhook is not active any more, or may not read tickets.";
                    return Err(Problem::new(Code::Conflict, detail));
                };
                let until = until.min(after + REPLAYED_AT_ONCE);
                let MeantChanges { mut positions, reached } = told(tx, &who, &webhook, (after, until)).await?;
                let waiting = deliveries::waiting(tx, id, &positions).await?;
                positions.retain(|position| !waiting.contains(position));
                (positions, reached.unwrap_or(until))
            }
        };
        deliveries::queue(tx, id, &positions, Some(now)).await?;
        Ok(Replayed { queued: positions.len(), next_from: (reached < until).then_some(reached + 1) })
    };
    let replayed = db.write(Root::Webhooks, work).await?;
    DeliveriesQueued::of(db).0.give();
    Ok(replayed)
}

/// As many of these as one call queues, and up to where that is all.
fn at_most(mut all: Vec<i64>, until: i64) -> (Vec<i64>, i64) {
    let most = usize::try_from(REPLAYED_AT_ONCE).unwrap_or(usize::MAX);
    if all.len() <= most {
        return (all, until);
    }
    all.truncate(most);
    let reached = all.last().copied().unwrap_or(until);
    (all, reached)
}
