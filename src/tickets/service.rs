//! The use cases of tickets: one function each, run within one transaction.

mod derived;
mod recount;

use std::sync::atomic::{AtomicBool, Ordering};

pub use derived::{DerivedFaults, correct, look_at_rows};
pub use recount::{Comparison, compare, recount};

use super::domain::search::Document;
use super::domain::{Channel, Priority, REDACTED, Status, Ticket, TicketType, Walker};
use super::policy::Reach;
use super::store::search::{Place, Waiting};
use super::store::{self, Person, TicketCriteria, TicketRow};
use super::wire::{ListOptions, NewTicket, Sort, TicketBody, TicketPatch, TicketRef};
use crate::audit::domain::{Event, EventKind, Visibility};
use crate::auth::domain::{Principal, Role};
use crate::auth::policy::Act;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::Rows;
use crate::http::call::IfMatch;
use crate::http::idempotency::{Answers, Said};
use crate::kernel::fields::{Fields, LARGEST_B};
use crate::kernel::{Clock, Code, CommentId, FieldError, Instant, Patch, PrincipalId, Problem, TeamId};
use crate::sla::domain::policy::CalendarSet;
use crate::sla::service::ClockChange;
use crate::sla::wire::explain::{SlaTicket, TicketSlaBody};
use crate::{people, sla, tally};

/// How many pages of the index of words one transaction writes anew.
const WORDS_AT_ONCE: u16 = 64;

/// The place of what is done with the index of words when all are in it.
const BEHIND_ALL: i64 = i64::MAX;

/// How many tickets one transaction closes.
const CLOSE_AT_ONCE: i64 = 200;

/// The ticket `which` as it is at `now`.
///
/// # Errors
/// `not_found`.
pub async fn read(conn: &mut Conn, reach: &Reach, which: TicketRef, now: Instant) -> Result<TicketBody, Problem> {
    let row = store::find_named(conn, reach, which).await?;
    let almanac = sla::store::configuration::almanac(conn, row.times.calendars()).await?;
    Ok(TicketBody::of(row, &almanac, now))
}

/// Why the clocks of the ticket `which` stand as they do at `now`.
///
/// # Errors
/// `not_found`.
pub async fn explain(conn: &mut Conn, reach: &Reach, which: TicketRef, now: Instant) -> Result<TicketSlaBody, Problem> {
    let row = store::find_named(conn, reach, which).await?;
    let ticket = SlaTicket { id: row.ticket.id, number: row.ticket.number };
    sla::service::explain(conn, ticket, &row.times, now).await
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

/// A page of tickets, and the calendars of their clocks.
///
/// # Errors
/// When the database is away.
pub async fn list(
    conn: &mut Conn,
    criteria: &TicketCriteria,
    options: &ListOptions,
    after: Option<(i64, i64)>,
) -> Result<(Rows<TicketRow>, CalendarSet), Problem> {
    let sort = options.sort.unwrap_or(Sort::CreatedDesc);
    let wanted = usize::try_from(options.limit.and_one()).unwrap_or(usize::MAX);
    let rows = store::list(conn, criteria, sort, wanted, after).await?;
    let almanac = sla::store::configuration::almanac(conn, rows.iter().flat_map(|row| row.times.calendars())).await?;
    Ok((rows, almanac))
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
    if new.reported_at.is_some_and(|at| at > now) {
        faults.push(FieldError::new("/reported_at", "invalid", "must not be in the future"));
    }
    let team = noted(check_team(tx, new.team_id).await?, &mut faults);
    let assignee = noted(check_assignee(tx, new.assignee_id).await?, &mut faults);
    let requester = noted(check_requester(tx, new.requester_id).await?, &mut faults);
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

    let (requester_id, requester) = match (new.requester_id, new.requester) {
        (Some(id), _) => (Some(id), requester),
        (None, Some(person)) => {
            let (email, name) = (&person.email, person.name.as_str());
            let id = people::service::find_or_create_requester(tx, email, name, now, &act.clock).await?;
            (Some(id), store::person(tx, id).await?.map(|person| person.name))
        }
        // A person who says nothing reports for themself.
        (None, None) => who.role().map(|_| (who.id, who.name.clone())).unzip(),
    };
    let mut ticket = Ticket {
        id: act.id(),
        number: 0,
        subject: new.subject.into_inner(),
        description: new.description.map(|text| text.into_inner()).unwrap_or_default(),
        status: Status::New,
        priority: new.priority.unwrap_or(Priority::Normal),
        kind: new.kind.unwrap_or(TicketType::Incident),
        channel: new.channel.unwrap_or(Channel::Api),
        team_id: new.team_id,
        assignee_id: new.assignee_id,
        requester_id,
        created_by_id: who.id,
        external_id,
        follow_up_of,
        tags: new.tags.unwrap_or_default().0,
        custom_fields: new.custom_fields.unwrap_or_default().without_nulls(),
        created_at: now,
        updated_at: now,
        reported_at: new.reported_at.unwrap_or(now),
        started_at: None,
        first_replied_at: None,
        resolved_at: None,
        closed_at: None,
        reopen_count: 0,
        agent_comments: 0,
        version: 1,
    };
    let book = sla::store::configuration::current(tx).await?;
    ticket.number = store::insert(tx, &ticket, book.edit).await?;
    let followed = sla::service::open(tx, &book, &ticket.facts(), now).await?;
    let times = followed.times.clone();
    record(tx, None, &ticket, Some(followed), Some(who.id), &act.clock).await?;
    keep(tx, vec![(Place { ticket: ticket.number, ordinal: 0 }, words)]).await?;
    let almanac = sla::store::configuration::almanac(tx, times.calendars()).await?;
    let created_by = who.name.clone();
    Ok(TicketBody::of(TicketRow { ticket, team, requester, assignee, created_by, times, relevance: 0 }, &almanac, now))
}

/// Changes a ticket as `patch` says.
///
/// # Errors
/// `not_found`, `version_mismatch`, `ticket_closed`, `illegal_transition`, `forbidden` for a step that is not the caller's to
/// take, `conflict` after too many changes of status, `duplicate_external_id`, or `validation_failed`.
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

    let TicketPatch {
        subject,
        description,
        status,
        priority,
        kind,
        channel,
        team_id,
        assignee_id,
        requester_id,
        tags,
        custom_fields,
        external_id,
    } = patch;
    let mut after = before.clone();
    after.subject = subject.0.map_or(after.subject, |line| line.into_inner());
    after.description = description.0.map_or(after.description, |text| text.into_inner());
    after.priority = priority.0.unwrap_or(after.priority);
    after.kind = kind.0.unwrap_or(after.kind);
    after.channel = channel.0.unwrap_or(after.channel);
    after.team_id = team_id.or(after.team_id);
    after.assignee_id = assignee_id.or(after.assignee_id);
    after.requester_id = requester_id.or(after.requester_id);
    after.external_id = match external_id {
        Patch::Absent => after.external_id,
        Patch::Null => None,
        Patch::Value(line) => Some(line.into_inner()),
    };
    after.tags = match tags {
        Patch::Absent => after.tags,
        Patch::Null => Vec::new(),
        Patch::Value(tags) => tags.0,
    };
    after.custom_fields = match custom_fields {
        Patch::Absent => after.custom_fields,
        Patch::Null => Fields::default(),
        Patch::Value(patch) => after.custom_fields.merged(&patch),
    };
    if let Some(to) = status.0 {
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
        faults.push(FieldError::new("/custom_fields", "too_long", detail));
    }
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    if after.external_id != before.external_id {
        require_free(tx, act.who.id, before.created_by_id, after.external_id.as_deref(), Some(before.number)).await?;
    }
    save(tx, &before, after, Some(act.who.id), act.now, &act.clock).await?;
    read(tx, reach, TicketRef::Number(before.number), act.now).await
}

/// Takes much of what people have written out of the trail of a ticket that is to be [redacted](redact), a piece at a time, so
/// that nobody waits behind all of it. Little is left then. What ends in the middle is gone on with when it is sent again.
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

/// Removes all that people have written in a ticket, its comments and the notes of work on it, for good and from the audit
/// trail and the kept answers, too; also of a closed one. Its tags and times stay, and so does every number. A second time changes nothing.
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
    let mut after = before.redacted();
    store::redact_around(tx, &after, act.now).await?;
    crate::audit::store::scrub_ticket(tx, after.id).await?;
    if after != before {
        touch(&mut after, act.now);
        store::update(tx, &before, &after).await?;
        let event = Event {
            ticket_id: after.id,
            at: after.updated_at,
            actor: Some(act.who.id),
            kind: EventKind::TicketRedacted,
            visibility: Visibility::Public,
            comment_id: None,
            changes: vec![],
        };
        crate::audit::store::add(tx, event, &act.clock).await?;
    }
    index(tx, &after).await?;
    forget_comments(tx, &after).await?;
    answers.amend(tx, after.id, |said| without_texts(said, act.now)).await?;
    erase_words(tx).await
}

/// What an answer said of a ticket, of a comment or of work on it, without its texts, which were redacted at `now`.
fn without_texts(said: &mut Said, now: Instant) {
    for (field, value) in said.iter_mut() {
        match field.as_str() {
            "subject" => *value = REDACTED.into(),
            "description" | "body" => *value = "".into(),
            "custom_fields" => *value = serde_json::json!({}),
            "external_id" | "note" => *value = serde_json::Value::Null,
            // Of a comment.
            "redacted_at" if value.is_null() => *value = serde_json::json!(now),
            _ => {}
        }
    }
}

/// Stores `after` over `before` with its event, if anything differs; a change grows the version.
///
/// # Errors
/// When the database is away.
pub async fn save(
    tx: &mut Conn,
    before: &Ticket,
    mut after: Ticket,
    actor: Option<PrincipalId>,
    now: Instant,
    clock: &Clock,
) -> Result<(), Problem> {
    if after == *before {
        return Ok(());
    }
    touch(&mut after, now);
    write(tx, before, &after, actor, clock).await
}

/// As [`save`], for what everybody sees but no field of the ticket tells: a public comment. A ticket that has changed its
/// status too often stays where it is: nobody's words are lost for that.
///
/// # Errors
/// When the database is away.
pub async fn save_commented(tx: &mut Conn, before: &Ticket, mut after: Ticket, act: &Act) -> Result<(), Problem> {
    if before.status != after.status
        && !sla::store::clocks::find(tx, &before.facts()).await?.timeline.takes(after.status)
    {
        after = before.clone();
    }
    touch(&mut after, act.now);
    write(tx, before, &after, Some(act.who.id), &act.clock).await
}

/// The ticket, its clocks and its trail: always together.
async fn write(
    tx: &mut Conn,
    before: &Ticket,
    after: &Ticket,
    actor: Option<PrincipalId>,
    clock: &Clock,
) -> Result<(), Problem> {
    store::update(tx, before, after).await?;
    let (was, is) = (before.facts(), after.facts());
    let followed = sla::service::follow(tx, &was, &is, after.agent_comments, after.updated_at).await?;
    record(tx, Some(before), after, followed, actor, clock).await?;
    let searched = |ticket: &Ticket| (ticket.subject.clone(), ticket.tags.clone(), ticket.description.clone());
    if searched(before) == searched(after) { Ok(()) } else { index(tx, after).await }
}

/// Makes `ticket` found by what it says now, and by nothing else but its comments.
///
/// # Errors
/// When the database is away.
async fn index(tx: &mut Conn, ticket: &Ticket) -> Result<(), Problem> {
    keep(tx, vec![(Place { ticket: ticket.number, ordinal: 0 }, document(ticket))]).await
}

/// Makes `ticket` found by what this comment on it says now, and no longer by what it said before.
///
/// # Errors
/// When the database is away.
pub async fn index_comment(
    tx: &mut Conn,
    ticket: &Ticket,
    comment: CommentId,
    visibility: Visibility,
    body: &str,
) -> Result<(), Problem> {
    let document = Document::of_comment(visibility == Visibility::Internal, body);
    match store::search::ordinal(tx, comment).await? {
        Some(ordinal) => keep(tx, vec![(Place { ticket: ticket.number, ordinal }, document)]).await,
        None => store::search::put_comment(tx, ticket.number, comment, document).await,
    }
}

/// Lets `ticket` be found by no comment that is on it now, when their texts are gone. Behind what others of the same commit index
/// of these, and before they index newer ones.
async fn forget_comments(tx: &mut Conn, ticket: &Ticket) -> Result<(), Problem> {
    let id = ticket.id;
    let last = Place { ticket: ticket.number, ordinal: store::search::last_ordinal(tx, id).await? };
    if last.ordinal == 0 {
        return Ok(());
    }
    tx.at_last(
        last.rowid(),
        Box::new(move |tx| Box::pin(async move { store::search::empty_comments(tx, id, last).await })),
    )
    .await
}

/// Lets words go from the files, too, that were indexed and are no longer: at once from a small index, and from a large one
/// by and by, as [`tidy_words`] goes on.
///
/// # Errors
/// When the database is away.
pub async fn erase_words(tx: &mut Conn) -> Result<(), Problem> {
    tx.erase();
    tx.kept::<Tidying>().0.store(true, Ordering::Relaxed);
    tx.at_last(BEHIND_ALL, Box::new(|tx| Box::pin(async move { store::search::begin_merge(tx, WORDS_AT_ONCE).await })))
        .await
}

/// Goes on with what [`erase_words`] has begun, a little in one transaction; gives whether there is more to do. Who writes waits
/// while the log is emptied, which is done once, behind the last of it.
///
/// # Errors
/// When the database is away.
pub async fn tidy_words(db: &Db) -> Result<bool, Problem> {
    db.write(Roots::none(), async move |tx| {
        let more = store::search::go_on_merging(tx, WORDS_AT_ONCE).await?;
        let had_more = tx.kept::<Tidying>().0.swap(more, Ordering::Relaxed);
        if had_more && !more {
            tx.erase();
        }
        Ok(more)
    })
    .await
}

/// Whether words were erased, or there was more to do, when they were last tidied: whoever writes merges some of the index, too, and
/// may have come to the end of it since. If the process ends meanwhile, the log is emptied when it begins anew.
#[derive(Default)]
struct Tidying(AtomicBool);

/// Together with what others index, by ascending place: whenever one is not above the one before, SQLite's index writes what it
/// has gathered, and all that is written must be merged with the rest some day.
async fn keep(tx: &mut Conn, mut documents: Vec<(Place, Document)>) -> Result<(), Problem> {
    documents.sort_by_key(|(place, _)| *place);
    let Some((place, _)) = documents.first() else { return Ok(()) };
    tx.at_last(place.rowid(), Box::new(move |tx| Box::pin(async move { store::search::put(tx, documents).await })))
        .await?;
    tx.at_last(BEHIND_ALL, Box::new(|tx| Box::pin(async move { store::search::merge_some(tx).await }))).await
}

fn document(ticket: &Ticket) -> Document {
    Document::of_ticket(&ticket.subject, &ticket.tags, &ticket.description)
}

/// Lets the tickets up to the number `until` be indexed by [`index_waiting`], with their comments: for those that were stored by
/// other means.
///
/// # Errors
/// When the database is away.
pub async fn index_later(tx: &mut Conn, until: i64) -> Result<(), Problem> {
    while let Some(waiting) = store::search::waiting(tx).await? {
        if waiting.until > until && waiting.from <= 1 {
            return Ok(());
        }
        if waiting.until > until {
            break;
        }
        store::search::set_waiting(tx, waiting, None).await?;
    }
    let all = Waiting { until, from: 1, next_comment: 0 };
    store::search::set_waiting(tx, all, Some(all)).await
}

/// Lets all tickets be indexed by [`index_waiting`].
///
/// # Errors
/// When the database is away.
pub async fn index_all_later(tx: &mut Conn) -> Result<(), Problem> {
    let last = store::last_number(tx).await?;
    index_later(tx, last).await
}

/// Lets all tickets be indexed by [`index_waiting`] as if none ever was, where the index cannot be read: until they are, searches do not
/// find them. Gives whether that was so.
///
/// # Errors
/// When the database is away.
pub async fn index_anew_if_broken(db: &Db) -> Result<bool, Problem> {
    if db.look(async |conn| store::search::is_whole(conn).await).await? {
        return Ok(false);
    }
    let begin = async |tx: &mut Conn| {
        store::search::empty(tx).await?;
        index_all_later(tx).await
    };
    db.write(Roots::none(), begin).await.map(|()| true)
}

/// Up to which number tickets wait to be indexed, if any does.
///
/// # Errors
/// When the database is away.
pub async fn waiting_for_index(conn: &mut Conn) -> Result<Option<i64>, Problem> {
    Ok(store::search::waiting(conn).await?.map(|waiting| waiting.until))
}

/// Indexes at most `at_once` of the tickets and comments that wait for it, the newest tickets first, in one transaction; gives their
/// number, and 0 when none waits any more. Several instances may do so at the same time.
///
/// # Errors
/// When the database is away.
pub async fn index_waiting(db: &Db, at_once: u16) -> Result<usize, Problem> {
    db.write(Roots::none(), async move |tx| {
        let mut done = 0;
        while let Some(waiting) = store::search::waiting(tx).await? {
            let (more, left) = index_some(tx, waiting, at_once).await?;
            store::search::set_waiting(tx, waiting, left).await?;
            done += more;
            if done > 0 {
                break;
            }
        }
        Ok(done)
    })
    .await
}

/// Indexes at most `at_once` of the tickets and comments that wait; gives their number, and what is left.
async fn index_some(tx: &mut Conn, waiting: Waiting, at_once: u16) -> Result<(usize, Option<Waiting>), Problem> {
    let tickets = store::search::newest(tx, &waiting, at_once).await?;
    let commented = store::search::commented(tx, tickets.iter().map(|ticket| ticket.id).collect()).await?;
    let (mut documents, mut room) = (Vec::new(), usize::from(at_once));
    let mut left = None;
    for ticket in &tickets {
        let mut next_comment = if ticket.number == waiting.until { waiting.next_comment } else { 0 };
        if room > 0 && next_comment == 0 {
            documents.push((Place { ticket: ticket.number, ordinal: 0 }, document(ticket)));
            (room, next_comment) = (room - 1, 1);
        }
        if room > 0 && commented.contains(&ticket.id) {
            room -= store::search::number_comments(tx, ticket.id, room).await?;
            let comments = store::search::texts(tx, ticket.id, next_comment, room).await?;
            room -= comments.len();
            for (ordinal, internal, body) in comments {
                documents.push((Place { ticket: ticket.number, ordinal }, Document::of_comment(internal, &body)));
                next_comment = ordinal + 1;
            }
        }
        if room == 0 {
            // It may have more comments.
            left = Some(Waiting { until: ticket.number, next_comment, ..waiting });
            break;
        }
    }
    keep(tx, documents).await?;
    let done = usize::from(at_once) - room;
    let all_met = tickets.len() < usize::from(at_once);
    let below = tickets.last().filter(|_| left.is_none() && !all_met).map(|ticket| ticket.number - 1);
    if let Some(until) = below.filter(|until| *until >= waiting.from) {
        left = Some(Waiting { until, next_comment: 0, ..waiting });
    }
    Ok((done, left))
}

fn touch(ticket: &mut Ticket, now: Instant) {
    // Never back, also when an instance's clock is.
    ticket.updated_at = ticket.updated_at.max(now);
    ticket.version += 1;
}

/// What a change counts, if its clocks have followed it, and its event.
async fn record(
    tx: &mut Conn,
    before: Option<&Ticket>,
    after: &Ticket,
    followed: Option<ClockChange>,
    actor: Option<PrincipalId>,
    clock: &Clock,
) -> Result<(), Problem> {
    let (mut counted, happened) =
        followed.map_or_else(Default::default, |ClockChange { counted, happened, .. }| (counted, happened));
    counted.merge(super::tally::counts(before, after));
    tally::store::add(tx, clock.id(after.updated_at), &counted, &happened).await?;
    let changes = after.changes_since(before);
    if changes.is_empty() {
        return Ok(());
    }
    let kind = if before.is_some() { EventKind::TicketUpdated } else { EventKind::TicketCreated };
    let event = Event {
        ticket_id: after.id,
        at: after.updated_at,
        actor,
        kind,
        visibility: Visibility::Public,
        comment_id: None,
        changes,
    };
    crate::audit::store::add(tx, event, clock).await
}

/// Closes the tickets that have been resolved for `after_s` seconds; several instances may do so at once. Returns how
/// many this one closed.
///
/// # Errors
/// When the database is away.
pub async fn close_resolved(db: &Db, after_s: i64, now: Instant, clock: &Clock) -> Result<usize, Problem> {
    let mut closed = 0;
    loop {
        let clock = clock.clone();
        let batch = db
            .write(Roots::none(), async move |tx| {
                let due = store::resolved_until(tx, now.plus_s(-after_s), CLOSE_AT_ONCE).await?;
                for before in &due {
                    let mut after = before.clone();
                    after.step(Status::Closed, Walker::Desk, now)?;
                    save(tx, before, after, None, now, &clock).await?;
                }
                Ok(due.len())
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
        Some((id, number)) if Some(number) != except => {
            let detail = format!("This account has used it for ticket {number}.");
            let existing = serde_json::json!({ "id": id, "number": number });
            let problem = Problem::new(Code::DuplicateExternalId, "It is the external id of another ticket.");
            let problem = problem.telling_readers(detail, "existing", existing);
            // Which one it is, is no news to whoever has made it.
            Err(if who == creator { problem.for_reader() } else { problem })
        }
        _ => Ok(()),
    }
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
        Some(Person { name, role: Role::Agent | Role::Admin, active: true }) => Ok(Some(name)),
        Some(_) => Err(FieldError::new("/assignee_id", "invalid", "must be an active agent or admin")),
    })
}

async fn check_requester(tx: &mut Conn, id: Option<PrincipalId>) -> Result<Checked, Problem> {
    let Some(id) = id else { return Ok(Ok(None)) };
    Ok(match store::person(tx, id).await? {
        None => Err(FieldError::new("/requester_id", "not_found", "there is no such person")),
        Some(Person { name, active: true, .. }) => Ok(Some(name)),
        Some(_) => Err(FieldError::new("/requester_id", "invalid", "must be an active person")),
    })
}
