//! The use cases of tickets: one function each, run within one transaction.

mod attached;
mod change;
mod derived;
mod recount;
mod renamed;
pub mod views;
mod words;

pub use attached::{MOST_FILES, attach as attach_files, erase as erase_files, without_name as without_file_name};
pub use derived::{DerivedFaults, correct, look_at_rows};
pub use recount::{Comparison, compare, recount};
pub use renamed::{RenamedWalk, move_activity_of_renamed};
pub use words::{
    erase_words, index_all_later, index_anew_if_broken, index_comment, index_later, index_these_later, index_waiting,
    tidy_words, waiting_for_index,
};

use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

use super::domain::change::TicketChange;
use super::domain::highlight::Highlighter;
use super::domain::listing::ListView;
use super::domain::search::{Document, Query};
use super::domain::{REDACTED, Speaker, Status, Ticket, Walker};
use super::policy::Reach;
use super::store::{self, Hits, ListPlace, ListScope, TicketCriteria, TicketPerson, TicketRow};
use super::wire::highlight::{HighlightBody, HighlightField};
use super::wire::{Asker, ListOptions, NewTicket, TicketBody, TicketContext, TicketPatch, TicketRef};
use crate::audit::domain::Visibility;
use crate::audit::store::EventRow;
use crate::audit::wire::{EventNames, NamedIds};
use crate::auth::domain::{Principal, Role};
use crate::auth::policy::Act;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::call::IfMatch;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::fields::{Fields, LARGEST_B};
use crate::kernel::rows::Rows;
use crate::kernel::{Clock, Code, CommentId, FieldError, Instant, Patch, PrincipalId, Problem, TeamId};
use crate::sla::domain::change::TooManySteps;
use crate::sla::wire::explain::{SlaTicket, TicketSlaBody};
use crate::tally::domain::facts::Fact;
use crate::{auth, people, sla};

/// How many tickets one transaction closes.
const CLOSE_AT_ONCE: i64 = 200;

/// The ticket `which` as it is at `now`.
///
/// # Errors
/// `not_found`.
pub async fn read(conn: &mut Conn, reach: &Reach, which: TicketRef, now: Instant) -> Result<TicketBody, Problem> {
    let row = store::find_named(conn, reach, which).await?;
    let context = context(conn, [&row], now).await?;
    Ok(TicketBody::of(row, &context, reach))
}

/// How long tickets of this database stay resolved before they are closed, in seconds.
#[derive(Debug, Default)]
pub struct ClosesAfter(OnceLock<i64>);

impl ClosesAfter {
    /// Sets it, once, when the service starts.
    pub fn set(&self, closes_after_s: i64) {
        self.0.get_or_init(|| closes_after_s);
    }
}

/// A week, unless it is [set](ClosesAfter::set).
const CLOSES_AFTER_S: i64 = 604_800;

/// What these tickets are shown by at `now`.
pub async fn context(
    conn: &mut Conn,
    rows: impl IntoIterator<Item = &TicketRow>,
    now: Instant,
) -> Result<TicketContext, Problem> {
    let calendars = rows.into_iter().flat_map(|row| row.times.calendars());
    let calendar_set = sla::store::configuration::calendar_set(conn, calendars).await?;
    let closes_after_s = conn.kept_by_name::<ClosesAfter>().0.get().copied().unwrap_or(CLOSES_AFTER_S);
    Ok(TicketContext { calendar_set, closes_after_s, now, talk: HashMap::new(), highlights: None })
}

/// Why the clocks of the ticket `which` stand as they do at `now`.
///
/// # Errors
/// `not_found`.
pub async fn explain(conn: &mut Conn, reach: &Reach, which: TicketRef, now: Instant) -> Result<TicketSlaBody, Problem> {
    let row = store::find_named(conn, reach, which).await?;
    let ticket = SlaTicket { id: row.ticket.id, number: row.ticket.number };
    let told = sla::service::explain(conn, ticket, &row.times, now).await?;
    Ok(if reach.hides_policies() { told.without_policy_names() } else { told })
}

/// What the ids in the changes of these events stand for, as far as a caller with this reach may know.
pub async fn names(conn: &mut Conn, reach: &Reach, rows: &Rows<EventRow>) -> Result<EventNames, Problem> {
    store::names(conn, reach, NamedIds::of(rows.iter())).await
}

/// What is named by whoever changes the ticket `which`, its comments or the work on it.
///
/// # Errors
/// `not_found`.
pub async fn root(db: &Db, reach: &Reach, which: TicketRef) -> Result<Root, Problem> {
    match which {
        TicketRef::Number(number) => Ok(Root::Ticket(number)),
        TicketRef::Id(_) => {
            db.read(async |conn| store::find(conn, reach, which).await).await.map(|ticket| Root::Ticket(ticket.number))
        }
    }
}

/// What is named by `who` opens a ticket: what must not come to be twice.
pub fn roots(who: &Principal, new: &NewTicket) -> Roots {
    let external_id = new.external_id.as_ref().map(|id| Root::ExternalId(who.id, id.as_str().to_owned()));
    let requester = new.requester.as_ref().map(|person| Root::Address(person.email.as_str().to_owned()));
    external_id.into_iter().chain(requester).collect()
}

/// What is named by whoever changes `ticket` as `patch` says.
pub fn roots_of_change(ticket: &Ticket, patch: &TicketPatch) -> Roots {
    let external_id = match &patch.external_id {
        Patch::Value(id) => Some(Root::ExternalId(ticket.created_by_id, id.as_str().to_owned())),
        Patch::Absent | Patch::Null => None,
    };
    external_id.into_iter().chain([Root::Ticket(ticket.number)]).collect()
}

/// Those of the tickets with these `numbers` that the caller may see, as they are now, by their numbers: the first
/// ones, as far as a page has room for their texts.
pub async fn snapshots(
    conn: &mut Conn,
    reach: &Reach,
    mut numbers: Vec<i64>,
    now: Instant,
) -> Result<HashMap<i64, TicketBody>, Problem> {
    let mut seen = HashSet::new();
    numbers.retain(|number| seen.insert(*number));
    let mut rows = store::by_numbers(conn, &numbers).await?.into_vec();
    rows.retain(|row| reach.only_of().is_none_or(|requester| row.ticket.requester_id == Some(requester)));
    let context = context(conn, &rows, now).await?;
    Ok(rows.into_iter().map(|row| (row.ticket.number, TicketBody::of(row, &context, reach))).collect())
}

/// The number of the ticket `which`, if it is within `reach`.
///
/// # Errors
/// `not_found`.
pub async fn number(conn: &mut Conn, reach: &Reach, which: TicketRef) -> Result<i64, Problem> {
    Ok(store::find(conn, reach, which).await?.number)
}

/// Whoever asks, as far as `filter` speaks of them.
///
/// # Errors
/// When the database is away.
pub async fn asker(db: &Db, id: PrincipalId, asks_for_teams: bool) -> Result<Asker, Problem> {
    let teams = match asks_for_teams {
        true => db.read(async move |conn| auth::store::teams_of(conn, id).await).await?,
        false => Vec::new(),
    };
    Ok(Asker { id, teams: teams.into_iter().map(|(team, _)| team).collect() })
}

/// A page of tickets, and what they are shown by to a caller with this reach.
pub async fn list(
    conn: &mut Conn,
    reach: &Reach,
    criteria: &TicketCriteria,
    options: &ListOptions,
    after: Option<ListPlace>,
) -> Result<(Rows<TicketRow>, TicketContext), Problem> {
    let wanted = usize::try_from(options.limit.and_one()).unwrap_or(usize::MAX);
    let among = match &options.ids {
        Some(refs) => Some(store::numbers_of(conn, &refs.0).await?),
        None => None,
    };
    let is_summary = options.view == ListView::Summary;
    // To tell where something is takes all of the texts.
    let sought = criteria.q.as_ref().filter(|_| options.highlight.is_some_and(|flag| flag.0)).map(Hits::query);
    let is_brief = is_summary && sought.is_none();
    let rows = store::list(conn, criteria, &ListScope { among, is_brief }, options.sort, wanted, after).await?;
    let mut context = context(conn, rows.iter(), criteria.now).await?;
    if let Some(query) = sought {
        context.highlights = Some(highlights(conn, reach, &rows, query).await?);
    }
    if is_summary && reach.reads_comments() {
        let numbers: Vec<i64> = rows.iter().map(|row| row.ticket.number).collect();
        context.talk = store::talk::talk(conn, &numbers, reach.sees_internal()).await?;
    }
    Ok((rows, context))
}

/// Where on these tickets `query` was found, by their numbers: on the ticket itself, and, unless it has all that was
/// looked for, in the newest comment that has some of it.
async fn highlights(
    conn: &mut Conn,
    reach: &Reach,
    rows: &Rows<TicketRow>,
    query: &Query,
) -> Result<HashMap<i64, Vec<HighlightBody>>, Problem> {
    let (mut all, mut highlighter) = (HashMap::new(), Highlighter::of(query));
    for row in rows.iter() {
        let ticket = &row.ticket;
        let (mut found, says_all) = HighlightBody::of_ticket(row, &mut highlighter);
        if reach.reads_comments() && !says_all {
            let texts = store::talk::last_texts(conn, ticket.id, reach.sees_internal()).await?;
            let comment = |(id, text): &(CommentId, String)| {
                let found = highlighter.highlight(text)?;
                Some(HighlightBody::of(HighlightField::Comment, Some(*id), found))
            };
            found.extend(texts.iter().find_map(comment));
        }
        all.insert(ticket.number, found);
    }
    Ok(all)
}

/// What a new ticket will be found by. Telling takes a while, in which no transaction need be open.
pub fn words(new: &NewTicket) -> Document {
    let tags = new.tags.as_ref().map(|tags| tags.0.as_slice()).unwrap_or_default();
    let description = new.description.as_ref().map(|text| text.as_str()).unwrap_or_default();
    Document::of_ticket(new.subject.as_str(), tags, description)
}

/// Opens a ticket, which will be found by `words`.
///
/// # Errors
/// `duplicate_external_id`, or `validation_failed` for references that lead nowhere.
pub async fn open(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    new: NewTicket,
    words: Document,
) -> Result<TicketBody, Problem> {
    let (who, now) = (&act.who, act.now);
    let external_id = new.external_id.map(|line| line.into_inner());
    require_free(tx, who.id, who.id, external_id.as_deref(), None).await?;

    let mut faults = Vec::new();
    if new.requester.is_some() && new.requester_id.is_some() {
        faults.push(FieldError::new("/requester", "invalid", "cannot be given together with requester_id"));
    }
    let reported_at = noted_instant(new.reported_at, "/reported_at", now, &mut faults);
    let assignee_id = new.assignee_id.map(|person| person.id(who.id));
    let requester_id = new.requester_id.map(|person| person.id(who.id));
    let team = noted(check_team(tx, new.team_id).await?, &mut faults);
    let assignee = noted(check_assignee(tx, assignee_id).await?, &mut faults);
    let requester = noted(check_requester(tx, requester_id).await?, &mut faults);
    let follow_up_of = match new.follow_up_of {
        None => None,
        Some(which) => match store::find(tx, reach, which).await {
            Ok(ticket) => Some(ticket.id),
            Err(problem) if problem.code() == Code::NotFound => {
                faults.push(FieldError::new("/follow_up_of", "not_found", "there is no such ticket"));
                None
            }
            Err(problem) => return Err(problem),
        },
    };
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }

    let (requester_id, requester) = match (requester_id, new.requester) {
        (Some(id), _) => (Some(id), requester),
        (None, Some(person)) => {
            let (email, name) = (&person.email, person.name.as_str());
            let id = people::service::find_or_create_requester(tx, email, name, act).await?;
            (Some(id), store::person(tx, id).await?.map(|person| person.name))
        }
        // A person who says nothing reports for themself.
        (None, None) => who.role().map(|_| (who.id, who.name.clone())).unzip(),
    };
    let opened = Ticket::new(act.id(), new.subject.into_inner(), who.id, now);
    let mut ticket = Ticket {
        description: new.description.map(|text| text.into_inner()).unwrap_or_default(),
        priority: new.priority.unwrap_or(opened.priority),
        kind: new.kind.unwrap_or(opened.kind),
        channel: new.channel.unwrap_or(opened.channel),
        team_id: new.team_id,
        assignee_id,
        requester_id,
        external_id,
        follow_up_of,
        tags: new.tags.unwrap_or_default().0,
        custom_fields: new.custom_fields.unwrap_or_default().without_nulls(),
        reported_at,
        ..opened
    };
    let configuration = sla::store::configuration::current(tx).await?;
    ticket.number = store::insert(tx, &ticket, configuration.edit).await?;
    let (clocks, facts) = sla::service::begin(&configuration, &ticket.state(), now);
    let times = clocks.after.clone();
    change::save(tx, &TicketChange::opened(ticket.clone(), clocks, facts, who.id), &act.clock).await?;
    attach_files(tx, act, (&ticket, ticket.version), None, &new.file_ids.0).await?;
    words::add_ticket(tx, &ticket, words).await?;
    let row = TicketRow { ticket, team, requester, assignee, created_by: who.name.clone(), times, relevance: 0 };
    let context = context(tx, [&row], now).await?;
    Ok(TicketBody::of(row, &context, reach))
}

/// Changes a ticket as `patch` says.
///
/// # Errors
/// `not_found`, `version_mismatch`, `ticket_closed`, `illegal_transition`, `forbidden` for a step that is not the
/// caller's to take, `conflict` after too many changes of status, `duplicate_external_id`, or `validation_failed`.
pub async fn change(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    condition: &IfMatch,
    patch: TicketPatch,
) -> Result<TicketBody, Problem> {
    let before = store::find(tx, reach, which).await?;
    condition.check(before.version)?;
    before.require_not_closed()?;
    let writes = patch.subject.0.is_some() || patch.description.0.is_some() || patch.custom_fields.is_present();
    if writes && act.who.is_requester() {
        crate::audit::store::require_room_for_requester(tx, before.id).await?;
    }

    let to = patch.status.0;
    let mut after = patched(before.clone(), patch, act.who.id);
    if let Some(to) = to {
        let walker = if act.who.is_requester() { Walker::Requester } else { Walker::Desk };
        after.step(to, walker, act.now)?;
    }

    let mut faults = Vec::new();
    if after.team_id != before.team_id {
        noted(check_team(tx, after.team_id).await?, &mut faults);
    }
    if after.assignee_id != before.assignee_id {
        noted(check_assignee(tx, after.assignee_id).await?, &mut faults);
    }
    if after.requester_id != before.requester_id {
        noted(check_requester(tx, after.requester_id).await?, &mut faults);
    }
    if !after.custom_fields.fit() {
        let detail = format!("must have at most {LARGEST_B} bytes of JSON after merging");
        let fault = FieldError::new("/custom_fields", "too_long", detail);
        faults.push(fault.with("max", LARGEST_B).with("unit", "bytes"));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    if after.external_id != before.external_id {
        require_free(tx, act.who.id, before.created_by_id, after.external_id.as_deref(), Some(before.number)).await?;
    }
    let number = before.number;
    if after != before {
        let change = change::changed(tx, before, after, Some(act.who.id), act.now).await??;
        change::save(tx, &change, &act.clock).await?;
    }
    read(tx, reach, TicketRef::Number(number), act.now).await
}

/// Resolves `before`, on which nobody has worked, since what it was opened for is over. Numbers leave that out of what
/// they tell of those who work.
///
/// # Errors
/// `illegal_transition`.
pub async fn resolve_by_alert(tx: &mut Conn, act: &Act, before: Ticket) -> Result<(), Problem> {
    let mut after = before.clone();
    after.step(Status::Resolved, Walker::Desk, act.now)?;
    let mut change = change::changed(tx, before, after, Some(act.who.id), act.now).await??;
    change.facts = change.facts.into_iter().map(Fact::by_alert).collect();
    change::save(tx, &change, &act.clock).await
}

/// The ticket as `patch` by `me` makes it, but for its status: that takes a step.
fn patched(mut ticket: Ticket, patch: TicketPatch, me: PrincipalId) -> Ticket {
    ticket.subject = patch.subject.0.map_or(ticket.subject, |line| line.into_inner());
    ticket.description = patch.description.0.map_or(ticket.description, |text| text.into_inner());
    ticket.priority = patch.priority.0.unwrap_or(ticket.priority);
    ticket.kind = patch.kind.0.unwrap_or(ticket.kind);
    ticket.channel = patch.channel.0.unwrap_or(ticket.channel);
    ticket.team_id = patch.team_id.or(ticket.team_id);
    ticket.assignee_id = patch.assignee_id.map(|person| person.id(me)).or(ticket.assignee_id);
    ticket.requester_id = patch.requester_id.map(|person| person.id(me)).or(ticket.requester_id);
    ticket.external_id = patch.external_id.map(|line| line.into_inner()).or(ticket.external_id);
    ticket.tags = patch.tags.map(|tags| tags.0).or(Some(ticket.tags)).unwrap_or_default();
    ticket.custom_fields = match patch.custom_fields {
        Patch::Absent => ticket.custom_fields,
        Patch::Null => Fields::default(),
        Patch::Value(patch) => ticket.custom_fields.merged(&patch),
    };
    ticket
}

/// Takes much of what people have written out of the trail of a ticket that is to be [redacted](redact), a piece at a
/// time, so that nobody waits behind all of it. Little is left then. What ends in the middle is gone on with when it is
/// sent again.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn redact_ahead(
    db: &Db,
    root: &Root,
    reach: Reach,
    which: TicketRef,
    condition: &IfMatch,
) -> Result<(), Problem> {
    let mut after = None;
    loop {
        let condition = condition.clone();
        let piece = async move |tx: &mut Conn| {
            let ticket = store::find(tx, &reach, which).await?;
            condition.check(ticket.version)?;
            crate::audit::store::scrub_piece(tx, ticket.id, after).await
        };
        after = db.write(root.clone(), piece).await?;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Removes all that people have written in a ticket, its comments and the notes of work on it, and its files, for good
/// and from the audit trail and the kept answers, too; also of a closed one. Its tags and times stay, and so does every
/// number. A second time changes nothing.
///
/// # Errors
/// `not_found` or `version_mismatch`.
pub async fn redact(
    tx: &mut Conn,
    act: &Act,
    reach: &Reach,
    which: TicketRef,
    condition: &IfMatch,
    answers: &Answers,
) -> Result<(), Problem> {
    let before = store::find(tx, reach, which).await?;
    condition.check(before.version)?;
    store::redact_around(tx, &before, act.now).await?;
    crate::audit::store::scrub_ticket(tx, before.id).await?;
    if before.redacted() != before {
        change::save(tx, &TicketChange::redacted(before.clone(), act.who.id, act.now), &act.clock).await?;
    }
    words::forget_comments(tx, &before).await?;
    erase_files(tx, &before, None, answers).await?;
    answers.amend(tx, before.id, |said| without_texts(said, act.now)).await?;
    words::erase_words(tx).await
}

/// What an answer said of a ticket, of a comment or of work on it, without its texts, which were redacted at `now`.
fn without_texts(said: &mut Said, now: Instant) {
    for (field, value) in said.iter_mut() {
        match field.as_str() {
            "subject" => *value = REDACTED.into(),
            "description" | "body" => *value = "".into(),
            "custom_fields" => *value = serde_json::json!({}),
            // Of a comment.
            "files" => *value = serde_json::json!([]),
            "external_id" | "note" => *value = serde_json::Value::Null,
            // Of a comment.
            "redacted_at" if value.is_null() => *value = serde_json::json!(now),
            _ => {}
        }
    }
}

/// What a public comment does to its ticket, which `patch` changes next. One that has changed its status too often
/// stays where it is: nobody's words are lost for that. A requester who says where the ticket is to stand says nothing
/// else about that by the comment.
pub async fn hear(tx: &mut Conn, act: &Act, ticket: Ticket, patch: Option<&TicketPatch>) -> Result<(), Problem> {
    let (by, now) = (Some(act.who.id), act.now);
    let says_status = patch.is_some_and(|patch| patch.status.0.is_some());
    let speaker = match speaker(&act.who, &ticket) {
        Speaker::Requester if says_status => Speaker::Other,
        speaker => speaker,
    };
    let mut heard = ticket.clone();
    heard.hear(speaker, now)?;
    let change = match change::changed(tx, ticket.clone(), heard, by, now).await? {
        Ok(change) => change,
        Err(TooManySteps) => change::changed(tx, ticket.clone(), ticket, by, now).await??,
    };
    change::save(tx, &change, &act.clock).await
}

/// What follows for `ticket` when something is added to it or becomes another: if everybody may see that, it is the
/// next version; else only staff are told when it was.
pub async fn touch(tx: &mut Conn, act: &Act, ticket: Ticket, visibility: Visibility) -> Result<(), Problem> {
    match visibility {
        Visibility::Public => change::save(tx, &TicketChange::touched(ticket, act.who.id, act.now), &act.clock).await,
        // Never back, also when an instance's clock is.
        Visibility::Internal => store::set_internal_at(tx, ticket.number, act.now.max(ticket.activity_at())).await,
    }
}

fn speaker(who: &Principal, ticket: &Ticket) -> Speaker {
    if ticket.requester_id == Some(who.id) {
        Speaker::Requester
    } else if who.is_staff() {
        Speaker::Agent
    } else {
        Speaker::Other
    }
}

/// Closes the tickets that have been resolved for `after_s` seconds; several instances may do so at once. Returns how
/// many this one closed.
pub async fn close_resolved(db: &Db, after_s: i64, now: Instant, clock: &Clock) -> Result<usize, Problem> {
    let mut closed = 0;
    loop {
        let clock = clock.clone();
        let batch = db
            .write(Roots::none(), async move |tx| {
                let due = store::resolved_until(tx, now.plus_s(-after_s), CLOSE_AT_ONCE).await?;
                let closed = due.len();
                for before in due {
                    let mut after = before.clone();
                    after.step(Status::Closed, Walker::Desk, now)?;
                    let change = change::changed(tx, before, after, None, now).await??;
                    change::save(tx, &change, &clock).await?;
                }
                Ok(closed)
            })
            .await?;
        closed += batch;
        if i64::try_from(batch).unwrap_or(0) < CLOSE_AT_ONCE {
            return Ok(closed);
        }
    }
}

async fn require_free(
    tx: &mut Conn,
    who: PrincipalId,
    creator: PrincipalId,
    external_id: Option<&str>,
    except: Option<i64>,
) -> Result<(), Problem> {
    let Some(external_id) = external_id else { return Ok(()) };
    match store::by_external_id(tx, creator, external_id).await? {
        Some((id, number, status)) if Some(number) != except => {
            let detail = format!("This account has used it for ticket {number}, which is {status}.");
            let existing = serde_json::json!({ "id": id, "number": number, "status": status });
            let problem = Problem::new(Code::DuplicateExternalId, "It is the external id of another ticket.");
            let problem = problem.telling_readers(detail, "existing", existing);
            // Which one it is, is no news to whoever has made it.
            Err(if who == creator { problem.for_reader() } else { problem })
        }
        _ => Ok(()),
    }
}

/// When something was that a client has told of, now unless it says: its clock may be a little fast.
fn noted_instant(told: Option<Instant>, place: &str, now: Instant, faults: &mut Vec<FieldError>) -> Instant {
    told.unwrap_or(now).by_senders_clock(now).unwrap_or_else(|fault| {
        faults.push(fault.at(place));
        now
    })
}

/// The name that a reference leads to, if it leads somewhere; what is wrong with it joins the faults.
type Checked = Result<Option<String>, FieldError>;

fn noted(checked: Checked, faults: &mut Vec<FieldError>) -> Option<String> {
    checked.unwrap_or_else(|fault| {
        faults.push(fault);
        None
    })
}

async fn check_team(tx: &mut Conn, id: Option<TeamId>) -> Result<Checked, Problem> {
    let Some(id) = id else { return Ok(Ok(None)) };
    let found = store::team_name(tx, id).await?;
    Ok(found.map(Some).ok_or_else(|| FieldError::new("/team_id", "not_found", "there is no such team")))
}

async fn check_assignee(tx: &mut Conn, id: Option<PrincipalId>) -> Result<Checked, Problem> {
    let Some(id) = id else { return Ok(Ok(None)) };
    Ok(match store::person(tx, id).await? {
        None => Err(FieldError::new("/assignee_id", "not_found", "there is no such person")),
        Some(TicketPerson { name, role: Role::Agent | Role::Admin, active: true }) => Ok(Some(name)),
        Some(_) => Err(FieldError::new("/assignee_id", "invalid", "must be an active agent or admin")),
    })
}

async fn check_requester(tx: &mut Conn, id: Option<PrincipalId>) -> Result<Checked, Problem> {
    let Some(id) = id else { return Ok(Ok(None)) };
    Ok(match store::person(tx, id).await? {
        None => Err(FieldError::new("/requester_id", "not_found", "there is no such person")),
        Some(TicketPerson { name, active: true, .. }) => Ok(Some(name)),
        Some(_) => Err(FieldError::new("/requester_id", "invalid", "must be an active person")),
    })
}
