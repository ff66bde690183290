//! Taking in what sources tell. All of a source is done one after the other, on all instances, so that two who tell the
//! same at once are one: there is no search, and no race.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::alerts::domain::{
    Alert, AlertOutcome, AlertSignal, AlertSource, AlertState, AlertVerdict, Fate, OnResolve, judge,
};
use crate::alerts::store::{self, counts, counts::AlertTally};
use crate::audit::domain::{Change, Event, EventKind, EventSubject, Visibility};
use crate::auth::policy::Act;
use crate::comments::wire::NewComment;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::call::IfMatch;
use crate::kernel::text::Prose;
use crate::kernel::{Channel, Code, Instant, Problem, Set, Status, TeamId, TicketId};
use crate::tickets::domain::Ticket;
use crate::tickets::policy::Reach;
use crate::tickets::wire::{FileIds, NewTicket, PersonRef, TicketPatch, TicketRef};
use crate::{audit, comments, people, tickets};

/// How many alerts share a transaction.
const AT_ONCE: usize = 100;

/// How long alerts that are over are remembered, in seconds: 90 days.
const REMEMBERED_S: i64 = 90 * 86_400;

/// How long those are of which no ticket was opened: a day.
const UNKNOWN_REMEMBERED_S: i64 = 86_400;

/// What became of a signal.
#[derive(Debug)]
pub struct ReceivedAlert {
    /// What.
    pub outcome: AlertOutcome,
    /// The ticket that it is about.
    pub ticket: Option<(TicketId, i64)>,
    /// Why nothing came of it, if that is its own fault.
    pub problem: Option<Problem>,
}

impl ReceivedAlert {
    /// That nothing came of it.
    pub fn ignored(problem: Option<Problem>) -> Self {
        Self { outcome: AlertOutcome::Ignored, ticket: None, problem }
    }
}

/// Takes in what `source` tells by `act`: each signal as a whole or not at all, in the order of their keys. Gives what
/// became of each, in the order in which they came.
///
/// # Errors
/// `unavailable` when the database is away or too many wait: what was taken in until then will be known when it is told
/// again.
pub async fn receive(
    db: &Db,
    act: &Act,
    reach: Reach,
    source: &AlertSource,
    signals: Vec<AlertSignal>,
) -> Result<Vec<ReceivedAlert>, Problem> {
    let mut all: Vec<Option<ReceivedAlert>> = signals.iter().map(|_| None).collect();
    let mut in_order: Vec<(usize, AlertSignal)> = signals.into_iter().enumerate().collect();
    in_order.sort_by(|(_, one), (_, other)| one.dedupe_key.cmp(&other.dedupe_key));
    for some in in_order.chunks(AT_ONCE) {
        match receive_some(db, act, reach, source, some).await {
            Ok(received) => {
                for ((place, _), one) in some.iter().zip(received) {
                    all[*place] = Some(one);
                }
            }
            Err(problem) if problem.code().status() >= 500 => return Err(problem),
            // One of them cannot be taken in, whatever comes: the others can.
            Err(_) => {
                for one in some {
                    let received = match receive_some(db, act, reach, source, std::slice::from_ref(one)).await {
                        Ok(mut received) => received.pop(),
                        Err(problem) if problem.code().status() >= 500 => return Err(problem),
                        Err(problem) => Some(ReceivedAlert::ignored(Some(problem))),
                    };
                    all[one.0] = received;
                }
            }
        }
    }
    Ok(all.into_iter().map(|one| one.unwrap_or_else(|| ReceivedAlert::ignored(None))).collect())
}

/// Takes in some signals in one transaction.
async fn receive_some(
    db: &Db,
    act: &Act,
    reach: Reach,
    source: &AlertSource,
    some: &[(usize, AlertSignal)],
) -> Result<Vec<ReceivedAlert>, Problem> {
    let keys: Vec<String> = some.iter().map(|(_, signal)| signal.dedupe_key.clone()).collect();
    let (id, of) = (source.id, keys.clone());
    let known = db.read(async move |conn| store::by_keys(conn, id, &of).await).await?;
    // Who changes a ticket meanwhile is waited for; one that an alert gets since is met by starting again.
    let tickets = known.values().filter_map(|alert| alert.ticket_number).map(Root::Ticket);
    let roots: Roots = tickets.chain([Root::AlertSource(id)]).collect();
    let (act, source) = (act.clone(), source.clone());
    let signals: Vec<AlertSignal> = some.iter().map(|(_, signal)| signal.clone().timely(act.now)).collect();
    db.write(roots, async move |tx| {
        let act = act.in_turn();
        let mut intake = Intake {
            known: store::by_keys(tx, id, &keys).await?,
            repeated: Vec::new(),
            tally: AlertTally::default(),
            teams: BTreeMap::new(),
            act: &act,
            reach: &reach,
            source: &source,
        };
        let mut all = Vec::with_capacity(signals.len());
        for signal in &signals {
            let received = intake.take(tx, signal).await?;
            intake.tally.received(received.outcome);
            all.push(received);
        }
        store::seen_again(tx, id, &intake.repeated, act.now).await?;
        counts::add(tx, id, &intake.tally).await?;
        Ok(all)
    })
    .await
}

/// What one transaction knows and gathers.
struct Intake<'a> {
    known: BTreeMap<String, Alert>,
    /// The keys of those that were told once more, and nothing else.
    repeated: Vec<String>,
    tally: AlertTally,
    teams: BTreeMap<String, Option<TeamId>>,
    act: &'a Act,
    reach: &'a Reach,
    source: &'a AlertSource,
}

impl Intake<'_> {
    async fn take(&mut self, tx: &mut Conn, signal: &AlertSignal) -> Result<ReceivedAlert, Problem> {
        let known = self.known.get(&signal.dedupe_key).cloned();
        let ticket = match known.as_ref().and_then(|alert| alert.ticket_number) {
            Some(number) => Some(tickets::store::find(tx, self.reach, TicketRef::Number(number)).await?),
            None => None,
        };
        // What was redacted is told by nobody again.
        let redacted = known.as_ref().filter(|alert| alert.redacted).map(|_| signal.redacted());
        let told = signal;
        let signal = redacted.as_ref().unwrap_or(signal);
        let fate = |ticket: &Ticket| Fate { id: ticket.id, status: ticket.status, resolved_at: ticket.resolved_at };
        let verdict =
            judge(known.as_ref(), ticket.as_ref().map(fate), signal, self.source.reopen_within_s, self.act.now);
        let outcome = match (verdict, known, ticket) {
            (AlertVerdict::Open(follow_up_of), known, _) => return self.open(tx, told, known, follow_up_of).await,
            (AlertVerdict::Remember, known, ticket) => {
                self.keep(tx, signal, known, ticket.as_ref().map(|ticket| ticket.number)).await?;
                return Ok(ReceivedAlert { outcome: AlertOutcome::Ignored, ticket: named(ticket), problem: None });
            }
            (AlertVerdict::Ignore, _, ticket) => {
                return Ok(ReceivedAlert { outcome: AlertOutcome::Ignored, ticket: named(ticket), problem: None });
            }
            (AlertVerdict::Repeat, Some(known), ticket) => {
                // One that was told before in this very transaction is written already.
                self.repeated.push(known.dedupe_key);
                return Ok(ReceivedAlert { outcome: AlertOutcome::Unchanged, ticket: named(ticket), problem: None });
            }
            (AlertVerdict::Note, Some(known), Some(ticket)) => {
                self.fires_on(tx, EventKind::AlertUpdated, signal, known, ticket).await?
            }
            (AlertVerdict::FireAgain, Some(known), Some(ticket)) => {
                self.fires_on(tx, EventKind::AlertFired, signal, known, ticket).await?
            }
            (AlertVerdict::Reopen, Some(known), Some(ticket)) => return self.reopen(tx, signal, known, ticket).await,
            (AlertVerdict::End, Some(known), ticket) => self.end(tx, signal, known, ticket).await?,
            // There is no ticket to note it on.
            (
                AlertVerdict::Note
                | AlertVerdict::FireAgain
                | AlertVerdict::Reopen
                | AlertVerdict::Repeat
                | AlertVerdict::End,
                known,
                _,
            ) => {
                self.keep(tx, signal, known, None).await?;
                (AlertOutcome::Updated, None)
            }
        };
        let (outcome, ticket) = outcome;
        Ok(ReceivedAlert { outcome, ticket, problem: None })
    }

    /// Stores the alert as it is told, with its ticket.
    async fn keep(
        &mut self,
        tx: &mut Conn,
        signal: &AlertSignal,
        known: Option<Alert>,
        ticket_number: Option<i64>,
    ) -> Result<Alert, Problem> {
        let (now, was) = (self.act.now, known.as_ref().map(|known| known.state));
        let same_ticket = known.as_ref().filter(|known| known.ticket_number == ticket_number);
        let starts_at = signal.starts_at.unwrap_or_else(|| match (&known, signal.state) {
            (Some(known), AlertState::Resolved) => known.starts_at,
            (Some(known), AlertState::Firing) if known.state == AlertState::Firing => known.starts_at,
            _ => now,
        });
        let starts_at = known.as_ref().map_or(starts_at, |known| known.starts_at.max(starts_at));
        let ended = || signal.ends_at.filter(|at| *at <= now).unwrap_or(now);
        let alert = Alert {
            id: known.as_ref().map_or_else(|| self.act.id(), |known| known.id),
            source_id: self.source.id,
            dedupe_key: signal.dedupe_key.clone(),
            ticket_number,
            state: signal.state,
            starts_at,
            ends_at: (signal.state == AlertState::Resolved).then(ended),
            last_seen_at: now,
            times: known.as_ref().map_or(1, |known| known.times + 1),
            severity: signal.severity.clone(),
            summary: signal.summary.clone(),
            labels: signal.labels.clone(),
            annotations: signal.annotations.clone(),
            links: signal.links.clone(),
            firing_count: signal.firing_count,
            truncated: signal.truncated,
            truncated_alerts: signal.truncated_alerts,
            redacted: same_ticket.is_some_and(|known| known.redacted),
            own_to: same_ticket.map_or(Some(0), |known| known.own_to),
        };
        match known {
            Some(_) => store::update(tx, alert.clone()).await?,
            None => store::insert(tx, alert.clone()).await?,
        }
        self.tally.stands(was, alert.state);
        self.known.insert(alert.dedupe_key.clone(), alert.clone());
        Ok(alert)
    }

    async fn open(
        &mut self,
        tx: &mut Conn,
        signal: &AlertSignal,
        known: Option<Alert>,
        follow_up_of: Option<TicketId>,
    ) -> Result<ReceivedAlert, Problem> {
        let new = NewTicket {
            subject: signal.subject(self.source.subject_template.as_deref()),
            description: Prose::parse(signal.ticket_description()).ok(),
            priority: Some(self.source.priority(signal.severity.as_deref())),
            kind: Some(self.source.ticket_type),
            channel: Some(Channel::Monitoring),
            team_id: self.team(tx, signal).await?,
            assignee_id: None,
            requester_id: self.requester(tx).await?,
            requester: None,
            tags: None,
            custom_fields: None,
            external_id: None,
            reported_at: Some(self.reported_at(signal, known.as_ref())),
            follow_up_of: follow_up_of.map(TicketRef::Id),
            file_ids: FileIds::default(),
        };
        let words = tickets::service::words(&new);
        let made = tickets::service::open(tx, self.act, self.reach, new, words).await?;
        let alert = self.keep(tx, signal, known, Some(made.number)).await?;
        self.tell(tx, EventKind::AlertFired, (made.id, made.version), &alert, None).await?;
        self.touched(tx, made.number).await?;
        Ok(ReceivedAlert { outcome: AlertOutcome::Created, ticket: Some((made.id, made.number)), problem: None })
    }

    /// When what a ticket is about began, as far back as that may lie, and not before it was over the last time.
    fn reported_at(&self, signal: &AlertSignal, known: Option<&Alert>) -> Instant {
        let now = self.act.now;
        let earliest = now.plus_s(-self.source.backdate_max_s);
        let earliest = known.and_then(|known| known.ends_at).map_or(earliest, |over| over.max(earliest));
        signal.began_at.unwrap_or(now).max(earliest).min(now)
    }

    /// The team that a label names, if there is one of that name; else that of the source.
    async fn team(&mut self, tx: &mut Conn, signal: &AlertSignal) -> Result<Option<TeamId>, Problem> {
        let Some(name) = signal.labels.get(&self.source.team_label) else { return Ok(self.source.team_id) };
        let team = match self.teams.get(name) {
            Some(team) => *team,
            None => {
                let team = people::store::teams::by_name(tx, name).await?;
                self.teams.insert(name.clone(), team);
                team
            }
        };
        Ok(team.or(self.source.team_id))
    }

    /// Who has the problem, if they are still there.
    async fn requester(&self, tx: &mut Conn) -> Result<Option<PersonRef>, Problem> {
        let Some(id) = self.source.requester_id else { return Ok(None) };
        let person = tickets::store::person(tx, id).await?;
        Ok(person.filter(|person| person.active).map(|_| PersonRef::Id(id)))
    }

    /// What fires is told of once more: that it says something else, or that it fires again.
    async fn fires_on(
        &mut self,
        tx: &mut Conn,
        kind: EventKind,
        signal: &AlertSignal,
        known: Alert,
        ticket: Ticket,
    ) -> Result<(AlertOutcome, Option<(TicketId, i64)>), Problem> {
        let ticket = self.raise(tx, signal, ticket).await?;
        let alert = self.keep(tx, signal, Some(known.clone()), Some(ticket.number)).await?;
        self.tell(tx, kind, (ticket.id, ticket.version), &alert, Some(&known)).await?;
        self.touched(tx, ticket.number).await?;
        Ok((AlertOutcome::Updated, Some((ticket.id, ticket.number))))
    }

    /// A severity that is higher than before raises the priority of a ticket on which there is something to do.
    async fn raise(&self, tx: &mut Conn, signal: &AlertSignal, ticket: Ticket) -> Result<Ticket, Problem> {
        let priority = self.source.priority(signal.severity.as_deref());
        if !ticket.status.is_unsolved() || priority.rank() <= ticket.priority.rank() {
            return Ok(ticket);
        }
        self.patch(tx, &ticket, TicketPatch { priority: Set(Some(priority)), ..TicketPatch::default() }).await
    }

    async fn reopen(
        &mut self,
        tx: &mut Conn,
        signal: &AlertSignal,
        known: Alert,
        ticket: Ticket,
    ) -> Result<ReceivedAlert, Problem> {
        let open = TicketPatch { status: Set(Some(Status::Open)), ..TicketPatch::default() };
        let ticket = match self.patch(tx, &ticket, open).await {
            Ok(ticket) => ticket,
            // It has come back too often to do so once more.
            Err(problem) if problem.code() == Code::Conflict => {
                return self.open(tx, signal, Some(known), Some(ticket.id)).await;
            }
            Err(problem) => return Err(problem),
        };
        let (_, place) = self.fires_on(tx, EventKind::AlertFired, signal, known, ticket).await?;
        Ok(ReceivedAlert { outcome: AlertOutcome::Reopened, ticket: place, problem: None })
    }

    async fn end(
        &mut self,
        tx: &mut Conn,
        signal: &AlertSignal,
        known: Alert,
        ticket: Option<Ticket>,
    ) -> Result<(AlertOutcome, Option<(TicketId, i64)>), Problem> {
        let mut alert = self.keep(tx, signal, Some(known.clone()), known.ticket_number).await?;
        let Some(ticket) = ticket else { return Ok((AlertOutcome::Resolved, None)) };
        let place = Some((ticket.id, ticket.number));
        self.tell(tx, EventKind::AlertResolved, (ticket.id, ticket.version), &alert, Some(&known)).await?;
        if !ticket.status.is_unsolved() || store::fires_another(tx, ticket.number, alert.id).await? {
            self.touched(tx, ticket.number).await?;
            return Ok((AlertOutcome::Resolved, place));
        }
        let own = [self.act.who.id, ticket.created_by_id];
        if self.source.on_resolve == OnResolve::ResolveUntouched {
            let own_to = match alert.own_to {
                Some(number) => audit::store::is_own_up_to(tx, ticket.id, &own, number).await?,
                None => None,
            };
            if own_to != alert.own_to {
                alert.own_to = own_to;
                store::update(tx, alert.clone()).await?;
                self.known.insert(alert.dedupe_key.clone(), alert.clone());
            }
        }
        match (self.source.on_resolve, alert.own_to) {
            (OnResolve::ResolveUntouched, Some(_)) => tickets::service::resolve_by_alert(tx, self.act, ticket).await?,
            (OnResolve::Resolve, _) => {
                let resolved = TicketPatch { status: Set(Some(Status::Resolved)), ..TicketPatch::default() };
                self.patch(tx, &ticket, resolved).await?;
            }
            (OnResolve::ResolveUntouched | OnResolve::Note, _) => self.comment(tx, &ticket, &alert).await?,
        }
        Ok((AlertOutcome::Resolved, place))
    }

    /// An internal comment that says that the alert is over.
    async fn comment(&self, tx: &mut Conn, ticket: &Ticket, alert: &Alert) -> Result<(), Problem> {
        let since = alert.ends_at.unwrap_or(self.act.now);
        let body = Prose::parse(format!("The alert is over since {since}."))
            .map_err(|fault| Problem::internal(fault.to_string()))?;
        let new = NewComment { body, visibility: Visibility::Internal, ticket: None, file_ids: FileIds::default() };
        let which = TicketRef::Number(ticket.number);
        comments::service::add(tx, self.act, self.reach, which, &IfMatch::any(), new).await.map(drop)
    }

    async fn patch(&self, tx: &mut Conn, ticket: &Ticket, patch: TicketPatch) -> Result<Ticket, Problem> {
        let which = TicketRef::Number(ticket.number);
        tickets::service::change(tx, self.act, self.reach, which, &IfMatch::any(), patch).await?;
        tickets::store::find(tx, self.reach, which).await
    }

    /// Tells it in the trail of the ticket, which is at `version`.
    async fn tell(
        &self,
        tx: &mut Conn,
        kind: EventKind,
        (ticket, version): (TicketId, i64),
        alert: &Alert,
        before: Option<&Alert>,
    ) -> Result<(), Problem> {
        let of =
            |field, value: &dyn Fn(&Alert) -> Value| Change::of(field, before.map_or(Value::Null, value), value(alert));
        // By its key it is found again, also where nothing else is another.
        let key = Change { field: "dedupe_key", before: Value::Null, after: json!(alert.dedupe_key) };
        let changes = [
            Some(key),
            of("state", &|alert| json!(alert.state)),
            of("starts_at", &|alert| json!(alert.starts_at)),
            of("ends_at", &|alert| json!(alert.ends_at)),
            // Words of their own may say anything, and what the trail has stays.
            of("severity", &|alert| {
                json!(alert.severity.as_ref().filter(|word| self.source.priorities.contains_key(*word)))
            }),
            of("firing_count", &|alert| json!(alert.firing_count)),
        ];
        let event = Event {
            about: EventSubject::Ticket(ticket, version),
            at: self.act.now,
            actor: Some(self.act.who.id),
            kind,
            visibility: Visibility::Internal,
            comment_id: None,
            changes: changes.into_iter().flatten().collect(),
        };
        audit::store::add(tx, event, &self.act.clock).await
    }

    /// Staff are told that something has happened to the ticket.
    async fn touched(&self, tx: &mut Conn, number: i64) -> Result<(), Problem> {
        let ticket = tickets::store::find(tx, self.reach, TicketRef::Number(number)).await?;
        tickets::service::touch(tx, self.act, ticket, Visibility::Internal).await
    }
}

fn named(ticket: Option<Ticket>) -> Option<(TicketId, i64)> {
    ticket.map(|ticket| (ticket.id, ticket.number))
}

/// Forgets at most about `most` alerts that are over since long, or whose source was removed, in one transaction; gives
/// how many there were.
pub async fn forget_alerts(db: &Db, now: Instant, most: i64) -> Result<usize, Problem> {
    let (before, unknown_before) = (now.plus_s(-REMEMBERED_S), now.plus_s(-UNKNOWN_REMEMBERED_S));
    db.write(Roots::none(), async move |tx| store::forget(tx, before, unknown_before, most).await).await
}
