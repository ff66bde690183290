//! Sending. For each webhook one instance at a time sends, by a lease, and up to four at once; what it sends it writes
//! at that moment. Each step with the database records what has come back and takes what is due next: one transaction,
//! in which nothing is waited for. What was sent and not recorded, since an instance was killed, is sent again.

use std::cell::{Cell, RefCell};
use std::collections::{HashSet, VecDeque};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as Stopwatch};

use futures_util::StreamExt;
use futures_util::future::{Either, LocalBoxFuture, join_all, select};
use futures_util::stream::FuturesUnordered;

use super::courier::{Attempted, Courier, Message};
use super::hand_out::{disable, eyes};
use crate::audit::domain::EventKind;
use crate::auth::service::standing;
use crate::changes::policy::Sightline;
use crate::changes::store::{ChangeCriteria, page};
use crate::changes::wire::ChangeItem;
use crate::db::lease::Holder;
use crate::db::{Conn, Db, Roots};
use crate::http::Sealer;
use crate::kernel::{Clock, Instant, Problem, WebhookId};
use crate::tickets;
use crate::tickets::policy::ReachesTickets;
use crate::webhooks::domain::message::{self, SigningSecret};
use crate::webhooks::domain::schedule::{DOWN_AFTER, GIVEN_UP_AFTER_S, UNREADABLE_AFTER_S, next_attempt, rests_until};
use crate::webhooks::domain::{WebhookDeliveryError, WebhookDeliveryState, WebhookDisabledReason, WebhookState};
use crate::webhooks::store::deliveries::{self, AttemptRecord, DueDelivery, Sending};
use crate::webhooks::store::{self, SealedSecrets};

/// How many are sent to one receiver at a time.
const AT_ONCE: usize = 4;

/// How many are taken at a time.
const TAKEN_AT_ONCE: usize = 16;

/// How many that have come back are recorded at the latest.
const RECORDED_AT_ONCE: usize = 8;

/// How long a lease lasts, in seconds.
const LEASE_S: i64 = 60;

/// How old a lease becomes before it is renewed. What is begun by then ends before the lease does.
const RENEWED_AFTER: Duration = Duration::from_secs(10);

/// After how long nothing more is begun on a lease that was not renewed.
const BEGUN_WITHIN: Duration = Duration::from_secs(30);

/// After how long another instance may have its turn.
const LONGEST_TURN: Duration = Duration::from_secs(10);

/// The pause between two looks whether all has come back.
const LOOKED_AFTER: Duration = Duration::from_millis(10);

/// The pause between two that are sent to a receiver which was down.
const GENTLE_PAUSE: Duration = Duration::from_millis(20);

/// Sends for all webhooks, on the thread that it lives on.
#[derive(Clone)]
pub struct Sender {
    db: Db,
    clock: Clock,
    courier: Rc<Courier>,
    sealer: Arc<Sealer>,
    me: Holder,
    busy: Rc<RefCell<HashSet<WebhookId>>>,
    /// Whether nothing more is begun.
    is_over: Rc<Cell<bool>>,
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("me", &self.me).finish_non_exhaustive()
    }
}

/// A webhook that somebody here sends for.
#[derive(Debug)]
pub struct Busy {
    id: WebhookId,
    all: Rc<RefCell<HashSet<WebhookId>>>,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.all.borrow_mut().remove(&self.id);
    }
}

/// To whom it is sent.
#[derive(Debug)]
struct Addressee {
    sending: Sending,
    /// None, if they cannot be read.
    secrets: Option<Vec<SigningSecret>>,
}

/// What has come back.
#[derive(Debug, Clone, Copy)]
struct DeliveryOutcome {
    due: DueDelivery,
    at: Instant,
    came_of: CameOf,
}

#[derive(Debug, Clone, Copy)]
enum CameOf {
    Attempt(Attempted),
    /// It may not be told any more, and nothing was sent.
    Withheld,
    /// Nobody is there any more in whose name it could be told.
    Unseen,
    /// It could not be read, and nothing was sent: it is due as before.
    Unread,
}

/// What a step has come to.
struct SendStep {
    addressee: Addressee,
    due: Vec<DueDelivery>,
    /// Whether the receiver was down and has taken something.
    is_back: bool,
}

impl Sender {
    /// Sends by `courier` what `sealer` opens the secrets for; `me` names this instance to others.
    pub fn new(db: Db, clock: Clock, courier: Courier, sealer: Arc<Sealer>, me: Holder) -> Self {
        Self { db, clock, courier: Rc::new(courier), sealer, me, busy: Rc::default(), is_over: Rc::default() }
    }

    /// The webhooks that have something to send and that nobody sends for, here or elsewhere. Whoever takes them sends
    /// for them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn take_work(&self) -> Result<Vec<Busy>, Problem> {
        let (now, others) = (self.clock.now(), self.db.is_shared().then_some(self.me));
        let all = self.db.read(async |conn| deliveries::with_work(conn, others, now).await).await?;
        let mut busy = self.busy.borrow_mut();
        let free = all.into_iter().filter(|id| busy.insert(*id)).collect::<Vec<_>>();
        Ok(free.into_iter().map(|id| Busy { id, all: self.busy.clone() }).collect())
    }

    /// From now on nothing more is begun.
    pub fn end(&self) {
        self.is_over.set(true);
    }

    /// Waits until what was begun has come back and is recorded.
    pub async fn has_ended(&self) {
        while !self.busy.borrow().is_empty() {
            tokio::time::sleep(LOOKED_AFTER).await;
        }
    }

    /// Sends all that is due now, for all webhooks.
    ///
    /// # Errors
    /// When the database is away: what was sent meanwhile may be sent again.
    pub async fn send_all(&self) -> Result<(), Problem> {
        loop {
            let work = self.take_work().await?;
            if work.is_empty() {
                return Ok(());
            }
            for outcome in join_all(work.into_iter().map(|busy| self.send_for(busy))).await {
                outcome?;
            }
        }
    }

    /// Sends what is due for one webhook, until nothing is or others may have their turn.
    ///
    /// # Errors
    /// When the database is away: what was sent meanwhile may be sent again.
    pub async fn send_for(&self, busy: Busy) -> Result<(), Problem> {
        let (id, began) = (busy.id, Stopwatch::now());
        let mut flying = FuturesUnordered::<LocalBoxFuture<'_, DeliveryOutcome>>::new();
        let (mut held, mut in_flight) = (VecDeque::<DueDelivery>::new(), Vec::<DueDelivery>::new());
        let (mut back, mut addressee) = (Vec::<DeliveryOutcome>::new(), None::<Rc<Addressee>>);
        let (mut leased, mut is_gentle, mut is_ending) = (None::<Stopwatch>, false, false);
        loop {
            if self.is_over.get() {
                held.clear();
                is_ending = true;
            }
            // What may be begun is, in its order; of one ticket one at a time.
            while let (Some(to), false) = (&addressee, in_flight.len() >= AT_ONCE) {
                let is_fresh = leased.is_some_and(|leased| leased.elapsed() < BEGUN_WITHIN);
                let is_free = |due: &DueDelivery| !in_flight.iter().any(|other| is_of_one_ticket(due, other));
                let next = held.iter().position(is_free).filter(|_| is_fresh);
                let Some(due) = next.and_then(|nth| held.remove(nth)) else { break };
                if is_gentle {
                    tokio::time::sleep(GENTLE_PAUSE).await;
                }
                in_flight.push(due);
                flying.push(Box::pin(self.deliver(id, to.clone(), due)));
            }
            let lands =
                |outcome: DeliveryOutcome, in_flight: &mut Vec<DueDelivery>, back: &mut Vec<DeliveryOutcome>| {
                    in_flight.retain(|due| due.position != outcome.due.position);
                    back.push(outcome);
                };
            let is_idle = flying.is_empty();
            let has_some = held.iter().any(|due| !in_flight.iter().any(|other| is_of_one_ticket(due, other)));
            if !is_idle && back.len() < RECORDED_AT_ONCE && (has_some || back.is_empty() || is_ending) {
                if let Some(outcome) = flying.next().await {
                    lands(outcome, &mut in_flight, &mut back);
                }
                continue;
            }
            if is_ending && is_idle && back.is_empty() {
                return self.release(id).await;
            }
            if back.iter().any(|outcome| matches!(outcome.came_of, CameOf::Unread)) {
                // The next turn tries it again, a moment later.
                held.clear();
                is_ending = true;
            }
            let taken: Vec<i64> = held.iter().chain(&in_flight).map(|due| due.position).collect();
            let room = if is_ending { 0 } else { TAKEN_AT_ONCE.saturating_sub(taken.len()) };
            let renews = leased.is_none_or(|leased| leased.elapsed() >= RENEWED_AFTER);
            let (outcomes, stepped) = (std::mem::take(&mut back), Stopwatch::now());
            let mut step = pin!(self.step(id, outcomes, taken, room, renews));
            let step = loop {
                if flying.is_empty() {
                    break step.await?;
                }
                match select(step.as_mut(), flying.next()).await {
                    Either::Left((step, _)) => break step?,
                    Either::Right((Some(outcome), _)) => lands(outcome, &mut in_flight, &mut back),
                    Either::Right((None, _)) => {}
                }
            };
            let Some(SendStep { addressee: now_to, due, is_back }) = step else {
                // Somebody else sends for it, or nobody is to.
                held.clear();
                (is_ending, addressee) = (true, None);
                if flying.is_empty() && back.is_empty() {
                    return self.release(id).await;
                }
                continue;
            };
            if renews {
                leased = Some(stepped);
            }
            is_gentle |= is_back;
            if now_to.sending.failures >= DOWN_AFTER {
                // What was taken before it was down waits like all else.
                held.clear();
            }
            let has_nothing = due.is_empty() && held.is_empty();
            held.extend(due);
            addressee = Some(Rc::new(now_to));
            let is_long = !is_gentle && self.db.is_shared() && began.elapsed() >= LONGEST_TURN;
            if is_long || has_nothing && flying.is_empty() && back.is_empty() {
                held.clear();
                is_ending = true;
            }
        }
    }

    /// Lets others send for the webhook `id`.
    async fn release(&self, id: WebhookId) -> Result<(), Problem> {
        let me = self.me;
        let release = async move |tx: &mut Conn| match deliveries::sending(tx, id).await? {
            Some(sending) if sending.leased_by == Some(me) => deliveries::lease(tx, id, None).await,
            _ => Ok(()),
        };
        self.db.write(Roots::none(), release).await
    }

    /// Sends one, as it may be told now.
    async fn deliver(&self, id: WebhookId, to: Rc<Addressee>, due: DueDelivery) -> DeliveryOutcome {
        let came_of = self.deliver_now(&to, due).await.unwrap_or_else(|problem| {
            tracing::warn!(webhook.id = %id, position = due.position, cause = %problem, "a delivery could not be read");
            CameOf::Unread
        });
        DeliveryOutcome { due, at: self.clock.now(), came_of }
    }

    async fn deliver_now(&self, to: &Addressee, due: DueDelivery) -> Result<CameOf, Problem> {
        let Some(secrets) = &to.secrets else {
            return Ok(CameOf::Attempt(Attempted::failed(WebhookDeliveryError::SecretUnreadable)));
        };
        let (now, principal, with_ticket) = (self.clock.now(), to.sending.principal_id, to.sending.include_ticket);
        let read = async move |conn: &mut Conn| {
            let Some(who) = eyes(standing(conn, principal).await?) else { return Ok(Err(CameOf::Unseen)) };
            let (sightline, criteria) = (Sightline::of(&who), ChangeCriteria::default());
            let rows = page(conn, &sightline, &criteria, (due.position - 1, due.position), 1).await?;
            let Some(row) = rows.into_vec().pop() else { return Ok(Err(CameOf::Withheld)) };
            let (kind, at, number) = (row.event.kind, row.event.at, row.ticket.map(|ticket| ticket.number));
            let mut snapshot = None;
            if let Some(number) = number.filter(|_| with_ticket) {
                snapshot = tickets::service::snapshots(conn, &who.reach(), vec![number], now).await?.remove(&number);
            }
            Ok(Ok((kind, at, ChangeItem::of(row, sightline.form(), snapshot))))
        };
        let (kind, at, item): (EventKind, Instant, ChangeItem) = match self.db.list(read).await? {
            Ok(found) => found,
            Err(came_of) => return Ok(came_of),
        };
        let data = serde_json::to_value(&item).map_err(Problem::internal)?;
        let body = message::body(kind.as_str(), at, data);
        let message = Message { id: due.event_id, kind: kind.to_string(), at, body };
        Ok(CameOf::Attempt(self.courier.send(&to.sending.url, secrets, message, now).await))
    }

    /// Records `outcomes` and takes what is due, as much as there is `room` for and is not `taken`. Nothing, if
    /// somebody else sends for the webhook, or it is not active.
    async fn step(
        &self,
        id: WebhookId,
        outcomes: Vec<DeliveryOutcome>,
        taken: Vec<i64>,
        room: usize,
        renews: bool,
    ) -> Result<Option<SendStep>, Problem> {
        let (now, me, is_shared, sealer) = (self.clock.now(), self.me, self.db.is_shared(), self.sealer.clone());
        let clock = self.clock.clone();
        let work = async move |tx: &mut Conn| {
            let Some(mut sending) = deliveries::sending(tx, id).await? else { return Ok((None, None)) };
            let was_down = sending.failures >= DOWN_AFTER;
            let stopped = settle(tx, id, &mut sending, &outcomes, &clock).await?;
            let is_back = was_down && sending.failures == 0;
            let is_others = sending.leased_by != Some(me) && sending.leased_until.is_some_and(|until| until > now);
            let is_told = sending.state == WebhookState::Active && sending.deleted_at.is_none() && stopped.is_none();
            if !is_told || is_shared && is_others {
                return Ok((None, stopped));
            }
            if renews {
                deliveries::lease(tx, id, Some((me, now.plus_s(LEASE_S)))).await?;
            }
            let mut secrets = None;
            if let Some(opened) = open_secrets(id, &sending.secrets, &sealer, now)? {
                if let Some(sealed_anew) = opened.sealed_anew {
                    store::set_secrets(tx, id, &sealed_anew).await?;
                }
                secrets = Some(opened.secrets);
            }
            // A receiver that is down is probed by one at a time.
            let room = match sending.failures >= DOWN_AFTER {
                true if sending.rests_until.is_some_and(|until| until > now) || !taken.is_empty() => 0,
                true => room.min(1),
                false => room,
            };
            let mut due = Vec::new();
            if room > 0 {
                let most = i64::try_from(room + taken.len()).unwrap_or(i64::MAX);
                due = deliveries::due(tx, id, now, most).await?;
                due.retain(|one| !taken.contains(&one.position));
                due.truncate(room);
            }
            Ok((Some((sending, secrets, due, is_back)), None))
        };
        let (step, stopped) = self.db.write(Roots::none(), work).await?;
        if let Some(reason) = stopped {
            tracing::warn!(webhook.id = %id, %reason, "a webhook was disabled");
        }
        Ok(step.map(|(sending, secrets, due, is_back)| SendStep {
            addressee: Addressee { sending, secrets },
            due,
            is_back,
        }))
    }
}

/// Whether two deliveries are of the same ticket, so that one waits for the other.
fn is_of_one_ticket(one: &DueDelivery, other: &DueDelivery) -> bool {
    one.ticket_number.is_some() && one.ticket_number == other.ticket_number
}

/// Records what has come back, and what it tells of the receiver. Gives why the webhook was stopped, if it was.
async fn settle(
    tx: &mut Conn,
    id: WebhookId,
    sending: &mut Sending,
    outcomes: &[DeliveryOutcome],
    clock: &Clock,
) -> Result<Option<WebhookDisabledReason>, Problem> {
    let before = sending.clone();
    let mut stops = None;
    for DeliveryOutcome { due, at, came_of } in outcomes.iter().copied() {
        let attempted = match came_of {
            CameOf::Attempt(attempted) => attempted,
            CameOf::Withheld => {
                deliveries::drop_one(tx, id, due.position).await?;
                continue;
            }
            CameOf::Unread => continue,
            CameOf::Unseen => {
                stops = Some(WebhookDisabledReason::PrincipalRevoked);
                continue;
            }
        };
        let Attempted { status, error, duration_ms, asked_for_s } = attempted;
        let (state, due_at) = match error {
            None => (WebhookDeliveryState::Delivered, None),
            Some(_) => match next_attempt(id, due.position, due.attempts + 1, at, asked_for_s) {
                Some(next) => (WebhookDeliveryState::Pending, Some(next)),
                None => (WebhookDeliveryState::Dead, None),
            },
        };
        deliveries::record(tx, id, AttemptRecord { due, state, due_at, at, status, error, duration_ms }).await?;
        let Some(error) = error else {
            (sending.failures, sending.failing_since, sending.rests_until) = (0, None, None);
            continue;
        };
        let since = *sending.failing_since.get_or_insert(at);
        // What was on its way when the receiver was found to be down was no probe.
        let is_late = sending.failures >= DOWN_AFTER && sending.rests_until.is_some_and(|until| at < until);
        if !is_late {
            sending.failures = sending.failures.saturating_add(1);
            sending.rests_until = rests_until(sending.failures, at);
        }
        let patience_s =
            if error == WebhookDeliveryError::SecretUnreadable { UNREADABLE_AFTER_S } else { GIVEN_UP_AFTER_S };
        if error == WebhookDeliveryError::Gone {
            stops = Some(WebhookDisabledReason::Gone);
        } else if since.plus_s(patience_s) <= at {
            let is_unreadable = error == WebhookDeliveryError::SecretUnreadable;
            stops = Some(if is_unreadable {
                WebhookDisabledReason::SecretUnreadable
            } else {
                WebhookDisabledReason::Failing
            });
        }
    }
    if *sending != before {
        deliveries::note_failures(tx, id, sending).await?;
    }
    match (stops, outcomes.last()) {
        (Some(why), Some(last)) => Ok(disable(tx, id, why, last.at, clock).await?.then_some(why)),
        _ => Ok(None),
    }
}

/// Secrets that were opened.
pub(super) struct OpenedSecrets {
    /// Those that sign now, the current one first.
    pub secrets: Vec<SigningSecret>,
    /// As they are to be stored, where an older key has sealed them.
    pub sealed_anew: Option<SealedSecrets>,
}

/// Opens the secrets of the webhook `id` that sign at `now`. Nothing, if no key opens them.
pub(super) fn open_secrets(
    id: WebhookId,
    sealed: &SealedSecrets,
    sealer: &Sealer,
    now: Instant,
) -> Result<Option<OpenedSecrets>, Problem> {
    let name = id.to_string();
    let Some((secret, mut is_new)) = sealer.open_secret(&name, &sealed.secret) else { return Ok(None) };
    let mut all = vec![secret];
    let previous = sealed.previous_secret.as_ref().filter(|_| sealed.previous_until.is_some_and(|until| until > now));
    if let Some((previous, is_new_too)) = previous.and_then(|sealed| sealer.open_secret(&name, sealed)) {
        all.push(previous);
        is_new &= is_new_too;
    }
    let mut sealed_anew = None;
    if !is_new {
        let mut again =
            all.iter().map(|secret| sealer.seal_secret(&name, secret)).collect::<Result<VecDeque<_>, _>>()?;
        let secret = again.pop_front().unwrap_or_default();
        let previous_secret = again.pop_front();
        let previous_until = sealed.previous_until.filter(|_| previous_secret.is_some());
        sealed_anew = Some(SealedSecrets { secret, previous_secret, previous_until });
    }
    let secrets = all.iter().map(|secret| SigningSecret::parse(secret)).collect::<Result<_, _>>()?;
    Ok(Some(OpenedSecrets { secrets, sealed_anew }))
}
