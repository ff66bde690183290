//! Handing out: what has come into the change log is queued for each webhook whose principal may see it.

use serde_json::Value;

use crate::audit;
use crate::audit::domain::{Change, Event, EventKind, EventOrigin, Visibility};
use crate::audit::store::log;
use crate::auth::domain::Principal;
use crate::auth::policy::{Allowed, ReadTickets};
use crate::auth::service::standing;
use crate::changes::policy::Sightline;
use crate::changes::store::{ChangeCriteria, ChangeRow, page};
use crate::db::signal::Signal;
use crate::db::{Conn, Db, Roots};
use crate::kernel::{Clock, Instant, Problem, WebhookId};
use crate::sla::domain::policy::{Condition, Traits};
use crate::tickets;
use crate::webhooks::domain::{Webhook, WebhookDisabledReason};
use crate::webhooks::store;
use crate::webhooks::store::deliveries;

use std::collections::HashMap;
use std::sync::Arc;

/// How many positions one transaction goes through.
const AT_ONCE: i64 = 200;

/// Given when something was queued.
#[derive(Debug, Default)]
pub struct DeliveriesQueued(pub Signal);

impl DeliveriesQueued {
    /// That of this database.
    pub fn of(db: &Db) -> Arc<Self> {
        db.kept()
    }
}

/// Hands out some of what has come to each webhook, one after the other. Gives whether there may be more. Whoever else
/// hands out to one at the same time is left to it.
///
/// # Errors
/// When the database is away.
pub async fn hand_out(db: &Db, clock: &Clock) -> Result<bool, Problem> {
    let now = clock.now();
    let behind = db.read(async |conn| deliveries::behind(conn).await).await?;
    let mut has_more = false;
    for id in behind {
        let clock = clock.clone();
        let step = db.write(Roots::none(), async move |tx| hand_out_to(tx, id, now, &clock).await).await?;
        if step.queued > 0 {
            DeliveriesQueued::of(db).0.give();
        }
        if step.is_disabled {
            tracing::warn!(webhook.id = %id, reason = %WebhookDisabledReason::PrincipalRevoked, "a webhook was disabled");
        }
        has_more |= step.has_more;
    }
    Ok(has_more)
}

/// Forgets at most so many deliveries of each kind that are remembered no longer; gives how many.
///
/// # Errors
/// When the database is away.
pub async fn forget_deliveries(db: &Db, now: Instant, most: i64) -> Result<usize, Problem> {
    db.write(Roots::none(), async move |tx| deliveries::forget(tx, now, most).await).await
}

/// What handing out has come to.
#[derive(Debug, Clone, Copy, Default)]
struct HandOutStep {
    queued: usize,
    has_more: bool,
    is_disabled: bool,
}

async fn hand_out_to(tx: &mut Conn, id: WebhookId, now: Instant, clock: &Clock) -> Result<HandOutStep, Problem> {
    let Some(position) = deliveries::place_to_hand_out(tx, id).await? else {
        // Somebody else is at it, or it is not active any more, which the next look sees.
        return Ok(HandOutStep { has_more: true, ..HandOutStep::default() });
    };
    let webhook = store::find(tx, id).await?.webhook;
    let Some(who) = eyes(standing(tx, webhook.principal_id).await?) else {
        let is_disabled = disable(tx, id, WebhookDisabledReason::PrincipalRevoked, now, clock).await?;
        return Ok(HandOutStep { is_disabled, ..HandOutStep::default() });
    };
    let head = log::head(tx).await?;
    let until = head.min(position + AT_ONCE);
    let all = told(tx, &who, &webhook, (position, until)).await?;
    // Where the texts are so large that not all of it was read at once the rest comes next.
    let until = all.reached.unwrap_or(until);
    deliveries::queue(tx, id, &all.positions, None).await?;
    deliveries::move_to(tx, id, until.max(position)).await?;
    Ok(HandOutStep { queued: all.positions.len(), has_more: until < head, is_disabled: false })
}

/// Stops the webhook `id`, if it is active, and tells of it in the change log; gives whether it was.
pub(super) async fn disable(
    tx: &mut Conn,
    id: WebhookId,
    why: WebhookDisabledReason,
    at: Instant,
    clock: &Clock,
) -> Result<bool, Problem> {
    if !deliveries::disable(tx, id, why, at).await? {
        return Ok(false);
    }
    let event = Event {
        about: id.into(),
        at,
        actor: None,
        kind: EventKind::WebhookDisabled,
        visibility: Visibility::Public,
        comment_id: None,
        changes: Change::of("disabled_reason", Value::Null, why.as_str().into()).into_iter().collect(),
    };
    audit::store::add(tx, event, clock).await?;
    Ok(true)
}

/// The permission with which a principal's webhooks see, if they may see tickets.
pub(super) fn eyes(principal: Option<Principal>) -> Option<Allowed<ReadTickets>> {
    principal.and_then(|principal| principal.try_into().ok())
}

/// What a webhook is to tell of some positions.
pub(super) struct MeantChanges {
    /// Where it stands.
    pub positions: Vec<i64>,
    /// Up to where it is all, if that is not the end.
    pub reached: Option<i64>,
}

/// What `who` may see of the positions behind `after` and up to `until`, and `webhook` asks for.
pub(super) async fn told(
    conn: &mut Conn,
    who: &Allowed<ReadTickets>,
    webhook: &Webhook,
    (after, until): (i64, i64),
) -> Result<MeantChanges, Problem> {
    let filter = &webhook.filter;
    let criteria = ChangeCriteria { kinds: filter.types.clone(), ..ChangeCriteria::default() };
    let most = usize::try_from(until - after).unwrap_or(0);
    let rows = page(conn, &Sightline::of(who), &criteria, (after, until), most).await?;
    let has_more = rows.has_more(most);
    let rows: Vec<ChangeRow> = rows.into_vec();
    let reached = rows.last().map(|last| last.position).filter(|_| has_more);
    let number = |row: &ChangeRow| row.ticket.map(|ticket| ticket.number);
    let mut numbers: Vec<i64> = rows.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let traits: HashMap<i64, Traits> = tickets::store::traits_of(conn, &numbers).await?.into_iter().collect();
    // What is about no ticket is like none of those that a condition asks for.
    let is_meant = |row: &&ChangeRow| match number(row) {
        // What happened elsewhere, long before, is news to nobody, unless they say so.
        _ if row.origin == EventOrigin::Import && !webhook.include_imported => false,
        Some(number) => traits.get(&number).is_some_and(|ticket| filter.condition.holds(ticket)),
        None => filter.condition == Condition::default(),
    };
    Ok(MeantChanges { positions: rows.iter().filter(is_meant).map(|row| row.position).collect(), reached })
}
