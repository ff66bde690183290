//! Queries of what the jobs do: which webhook is at which place of the change log, what is to be sent, and what became
//! of it.

use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Text};
use diesel::upsert::excluded;

use crate::db::lease::Holder;
use crate::db::raw::{Raw, one_of, raw};
use crate::db::schema::{changes, events, tickets, webhook_deliveries as deliveries, webhooks};
use crate::db::{Conn, RunQueryDsl, boxed, load_free, on_each, send, steady};
use crate::kernel::rows::Limit;
use crate::kernel::sql::{Guid, Moment};
use crate::kernel::{EventId, Instant, PrincipalId, Problem, WebhookId};
use crate::webhooks::domain::schedule::{DEAD_KEPT_S, DELIVERED_KEPT_S};
use crate::webhooks::domain::{WebhookDeliveryError, WebhookDeliveryState, WebhookDisabledReason, WebhookState};
use crate::webhooks::store::SealedSecrets;

/// That a delivery waits, in the words of the index of those that do.
fn is_pending() -> Raw<Bool> {
    raw("webhook_deliveries.state = 'pending'")
}

/// The active webhooks that the change log has gone on from: there is something behind their position.
pub async fn behind(conn: &mut Conn) -> Result<Vec<WebhookId>, Problem> {
    let some = webhooks::table
        .filter(webhooks::deleted_at.is_null().and(webhooks::state.eq(WebhookState::Active)))
        .filter(exists(changes::table.filter(changes::position.gt(webhooks::position))))
        .select(webhooks::id);
    Ok(on_each!(conn, |c| some.load(c).await)?)
}

/// Where the webhook `id` stands, for whoever hands out to it. Nothing if it is not active, or somebody else does so.
pub async fn place_to_hand_out(tx: &mut Conn, id: WebhookId) -> Result<Option<i64>, Problem> {
    let one = webhooks::table
        .filter(webhooks::id.eq(id))
        .filter(webhooks::deleted_at.is_null().and(webhooks::state.eq(WebhookState::Active)))
        .select(webhooks::position);
    let found: Vec<i64> = load_free!(tx, one)?;
    Ok(found.into_iter().next())
}

/// Moves the webhook `id` to `position`.
pub async fn move_to(tx: &mut Conn, id: WebhookId, position: i64) -> Result<(), Problem> {
    let this = diesel::update(webhooks::table.find(id)).set(webhooks::position.eq(position));
    on_each!(tx, |c| steady(this).execute(c).await)?;
    Ok(())
}

/// Queues what stands at these positions of the change log for the webhook `id`, also what was settled before. It is
/// due `at` that instant; unless said, when each got its place: what is earlier is sent earlier.
pub async fn queue(tx: &mut Conn, id: WebhookId, positions: &[i64], at: Option<Instant>) -> Result<(), Problem> {
    let due_at = || at.map_or_else(|| raw::<Moment>("changes.at"), |at| raw("").bind(at));
    let insert = changes::table
        .inner_join(events::table)
        .left_join(tickets::table.on(tickets::id.nullable().eq(events::ticket_id)))
        .filter(one_of("changes.position", positions))
        .select((
            raw::<Guid>("").bind(id),
            changes::position,
            changes::event_id,
            tickets::number.nullable(),
            raw::<Text>("'pending'"),
            raw::<Integer>("0"),
            due_at(),
        ))
        .insert_into(deliveries::table)
        .into_columns((
            deliveries::webhook_id,
            deliveries::position,
            deliveries::event_id,
            deliveries::ticket_number,
            deliveries::state,
            deliveries::attempts,
            deliveries::due_at,
        ))
        .on_conflict((deliveries::webhook_id, deliveries::position))
        .do_update()
        .set((
            deliveries::state.eq(excluded(deliveries::state)),
            deliveries::attempts.eq(excluded(deliveries::attempts)),
            deliveries::due_at.eq(excluded(deliveries::due_at)),
            deliveries::settled_at.eq(None::<Instant>),
        ));
    on_each!(tx, |c| insert.execute(c).await)?;
    Ok(())
}

/// The webhooks that have something to send at `now`, and that no other instance is at.
pub async fn with_work(conn: &mut Conn, me: Option<Holder>, now: Instant) -> Result<Vec<WebhookId>, Problem> {
    let due = deliveries::table
        .filter(deliveries::webhook_id.eq(webhooks::id))
        .filter(is_pending())
        .filter(deliveries::due_at.le(now));
    let is_free = webhooks::leased_until.is_null().or(webhooks::leased_until.le(now));
    let all = webhooks::table
        .filter(webhooks::deleted_at.is_null().and(webhooks::state.eq(WebhookState::Active)))
        .filter(webhooks::rests_until.is_null().or(webhooks::rests_until.le(now)))
        .filter(exists(due))
        .select(webhooks::id);
    let found: Vec<WebhookId> = match me {
        Some(me) => {
            let some = all.filter(is_free.or(webhooks::leased_by.eq(me)));
            on_each!(conn, |c| some.load(c).await)?
        }
        // Nobody else can be at it.
        None => on_each!(conn, |c| all.load(c).await)?,
    };
    Ok(found)
}

/// A webhook as those see it who send for it.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable)]
#[diesel(table_name = webhooks)]
pub struct Sending {
    /// In whose name it tells.
    pub principal_id: PrincipalId,
    /// Where it leads.
    pub url: String,
    /// Whether each change comes with its ticket.
    pub include_ticket: bool,
    /// Whether it tells.
    pub state: WebhookState,
    /// Its secrets.
    #[diesel(embed)]
    pub secrets: SealedSecrets,
    /// How many attempts have failed in a row.
    pub failures: i32,
    /// Since when.
    pub failing_since: Option<Instant>,
    /// Until when none is made.
    pub rests_until: Option<Instant>,
    /// Who sends for it.
    pub leased_by: Option<Holder>,
    /// Until when they alone do.
    pub leased_until: Option<Instant>,
    /// When it was removed.
    pub deleted_at: Option<Instant>,
}

/// The webhook `id` as it is now, if it is there.
pub async fn sending(conn: &mut Conn, id: WebhookId) -> Result<Option<Sending>, Problem> {
    let one = webhooks::table.find(id);
    Ok(on_each!(conn, |c| one.select(Sending::as_select()).first(c).await).optional()?)
}

/// Lets `me` send for the webhook `id` until `end`, or nobody.
pub async fn lease(tx: &mut Conn, id: WebhookId, lease: Option<(Holder, Instant)>) -> Result<(), Problem> {
    let (holder, until) = lease.unzip();
    let this = diesel::update(webhooks::table.find(id));
    let this = this.set((webhooks::leased_by.eq(holder), webhooks::leased_until.eq(until)));
    on_each!(tx, |c| steady(this).execute(c).await)?;
    Ok(())
}

/// Ends all that `me` has leased, so that others need not wait for the end of it.
pub async fn give_up(tx: &mut Conn, me: Holder) -> Result<(), Problem> {
    let mine = diesel::update(webhooks::table.filter(webhooks::leased_by.eq(me)));
    let none = (webhooks::leased_by.eq(None::<Holder>), webhooks::leased_until.eq(None::<Instant>));
    on_each!(tx, |c| mine.set(none).execute(c).await)?;
    Ok(())
}

/// Notes how often the receiver of the webhook `id` has failed in a row.
pub async fn note_failures(tx: &mut Conn, id: WebhookId, sending: &Sending) -> Result<(), Problem> {
    let change = (
        webhooks::failures.eq(sending.failures),
        webhooks::failing_since.eq(sending.failing_since),
        webhooks::rests_until.eq(sending.rests_until),
    );
    on_each!(tx, |c| steady(diesel::update(webhooks::table.find(id)).set(change)).execute(c).await)?;
    Ok(())
}

/// Stops the webhook `id`, if it is active; gives whether it was.
pub async fn disable(tx: &mut Conn, id: WebhookId, why: WebhookDisabledReason, now: Instant) -> Result<bool, Problem> {
    let one = webhooks::table
        .filter(webhooks::id.eq(id))
        .filter(webhooks::deleted_at.is_null().and(webhooks::state.eq(WebhookState::Active)));
    let change = (
        webhooks::state.eq(WebhookState::Disabled),
        webhooks::disabled_reason.eq(why),
        webhooks::updated_at.eq(now),
        webhooks::version.eq(webhooks::version + 1),
    );
    Ok(on_each!(tx, |c| diesel::update(one).set(change).execute(c).await)? > 0)
}

/// A delivery that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct DueDelivery {
    /// Its place in the change log.
    pub position: i64,
    /// The event.
    pub event_id: EventId,
    /// The number of the ticket that it is about.
    pub ticket_number: Option<i64>,
    /// How often it was tried.
    pub attempts: i32,
}

/// The first `most` deliveries of the webhook `id` that are due at `now`.
pub async fn due(conn: &mut Conn, id: WebhookId, now: Instant, most: i64) -> Result<Vec<DueDelivery>, Problem> {
    let some = deliveries::table
        .filter(deliveries::webhook_id.eq(id))
        .filter(is_pending())
        .filter(deliveries::due_at.le(now))
        .order((deliveries::due_at, deliveries::position))
        .limit(most)
        .select((deliveries::position, deliveries::event_id, deliveries::ticket_number, deliveries::attempts));
    Ok(on_each!(conn, |c| some.load(c).await)?)
}

/// What an attempt has made of a delivery.
#[derive(Debug, Clone, Copy)]
pub struct AttemptRecord {
    /// The delivery.
    pub due: DueDelivery,
    /// What it is now.
    pub state: WebhookDeliveryState,
    /// When it is tried again, if it is.
    pub due_at: Option<Instant>,
    /// When it was tried.
    pub at: Instant,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it has failed.
    pub error: Option<WebhookDeliveryError>,
    /// How long it took.
    pub duration_ms: i64,
}

/// Records an attempt of the webhook `id`, unless another one was recorded since it was due.
pub async fn record(tx: &mut Conn, id: WebhookId, attempt: AttemptRecord) -> Result<(), Problem> {
    let AttemptRecord { due, state, due_at, at, status, error, duration_ms } = attempt;
    let this = deliveries::table
        .filter(deliveries::webhook_id.eq(id).and(deliveries::position.eq(due.position)))
        .filter(is_pending())
        .filter(deliveries::attempts.eq(due.attempts));
    let change = (
        deliveries::state.eq(state),
        deliveries::attempts.eq(due.attempts + 1),
        deliveries::due_at.eq(due_at.unwrap_or(at)),
        deliveries::last_at.eq(at),
        deliveries::last_status.eq(status.map(i32::from)),
        deliveries::last_error.eq(error),
        deliveries::last_duration_ms.eq(duration_ms),
        deliveries::settled_at.eq(due_at.is_none().then_some(at)),
    );
    send!(tx, steady(diesel::update(this).set(change)))
}

/// Forgets a delivery that is not to be sent after all.
pub async fn drop_one(tx: &mut Conn, id: WebhookId, position: i64) -> Result<(), Problem> {
    let this = deliveries::table.find((id, position));
    on_each!(tx, |c| diesel::delete(this).execute(c).await)?;
    Ok(())
}

/// A delivery as it is read.
#[derive(Debug, Clone, Queryable)]
pub struct DeliveryRow {
    /// Its place in the change log.
    pub position: i64,
    /// The event.
    pub event_id: EventId,
    /// What became of it.
    pub state: WebhookDeliveryState,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried, if it still is.
    pub due_at: Instant,
    /// When it was tried last.
    pub last_at: Option<Instant>,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Why the last attempt has failed.
    pub last_error: Option<WebhookDeliveryError>,
    /// How long the last attempt took, in milliseconds.
    pub last_duration_ms: Option<i64>,
    /// When it was taken or given up.
    pub settled_at: Option<Instant>,
}

/// A page of the deliveries of the webhook `id` before the position `before`, the last ones first.
pub async fn list(
    conn: &mut Conn,
    id: WebhookId,
    state: Option<WebhookDeliveryState>,
    before: Option<i64>,
    limit: Limit,
) -> Result<Vec<DeliveryRow>, Problem> {
    let all = deliveries::table
        .filter(deliveries::webhook_id.eq(id).and(deliveries::position.lt(before.unwrap_or(i64::MAX))))
        .order(deliveries::position.desc())
        .limit(limit.and_one())
        .select((
            deliveries::position,
            deliveries::event_id,
            deliveries::state,
            deliveries::attempts,
            deliveries::due_at,
            deliveries::last_at,
            deliveries::last_status,
            deliveries::last_error,
            deliveries::last_duration_ms,
            deliveries::settled_at,
        ));
    let rows = on_each!(conn, |c| {
        match state {
            Some(state) => boxed(c, all.filter(deliveries::state.eq(state))).load(c).await,
            None => boxed(c, all).load(c).await,
        }
    });
    Ok(rows?)
}

/// The positions of the first `most` dead deliveries of the webhook `id` from behind `after` on and up to `until`.
pub async fn dead(conn: &mut Conn, id: WebhookId, (after, until): (i64, i64), most: i64) -> Result<Vec<i64>, Problem> {
    let some = deliveries::table
        .filter(deliveries::webhook_id.eq(id).and(deliveries::state.eq(WebhookDeliveryState::Dead)))
        .filter(deliveries::position.gt(after).and(deliveries::position.le(until)))
        .order(deliveries::position)
        .limit(most)
        .select(deliveries::position);
    Ok(on_each!(conn, |c| some.load(c).await)?)
}

/// Which of these positions wait to be sent by the webhook `id`.
pub async fn waiting(conn: &mut Conn, id: WebhookId, positions: &[i64]) -> Result<Vec<i64>, Problem> {
    let some = deliveries::table
        .filter(deliveries::webhook_id.eq(id))
        .filter(one_of("webhook_deliveries.position", positions))
        .filter(is_pending())
        .select(deliveries::position);
    Ok(on_each!(conn, |c| some.load(c).await)?)
}

/// The position up to which was handed out to the webhook `id`.
pub async fn position(conn: &mut Conn, id: WebhookId) -> Result<i64, Problem> {
    let one = webhooks::table.find(id).select(webhooks::position);
    Ok(on_each!(conn, |c| one.first(c).await)?)
}

/// Forgets at most `most` deliveries that are remembered no longer at `now`, and `most` of webhooks that were removed,
/// and those webhooks that have none left. Gives how many.
pub async fn forget(tx: &mut Conn, now: Instant, most: i64) -> Result<usize, Problem> {
    let mut count = 0;
    for (state, kept_s) in
        [(WebhookDeliveryState::Delivered, DELIVERED_KEPT_S), (WebhookDeliveryState::Dead, DEAD_KEPT_S)]
    {
        let old = deliveries::table
            .filter(deliveries::state.eq(state).and(deliveries::settled_at.le(now.plus_s(-kept_s))))
            .order(deliveries::settled_at)
            .limit(most)
            .select((deliveries::webhook_id, deliveries::position));
        let old: Vec<(WebhookId, i64)> = on_each!(tx, |c| old.load(c).await)?;
        count += old.len();
        remove(tx, old).await?;
    }
    let gone = webhooks::table.filter(webhooks::deleted_at.is_not_null()).select(webhooks::id).limit(1);
    let gone: Option<WebhookId> = on_each!(tx, |c| gone.load(c).await)?.pop();
    if let Some(id) = gone {
        let left = deliveries::table.filter(deliveries::webhook_id.eq(id)).limit(most);
        let left = left.select((deliveries::webhook_id, deliveries::position));
        let left: Vec<(WebhookId, i64)> = on_each!(tx, |c| left.load(c).await)?;
        count += left.len().max(1);
        if left.is_empty() {
            on_each!(tx, |c| diesel::delete(webhooks::table.find(id)).execute(c).await)?;
        }
        remove(tx, left).await?;
    }
    Ok(count)
}

async fn remove(tx: &mut Conn, these: Vec<(WebhookId, i64)>) -> Result<(), Problem> {
    for (webhook, position) in these {
        send!(tx, diesel::delete(deliveries::table.find((webhook, position))))?;
    }
    Ok(())
}
