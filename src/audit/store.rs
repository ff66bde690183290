//! Queries of the audit trail.

mod dialect;
pub mod log;

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use serde_json::json;

use super::domain::{
    Change, Event, EventKind, EventOrigin, EventSubject, MOST_EDITED_B, MOST_EDITED_BY_REQUESTERS_B, NoticedPromise,
    SubjectKind, TrailOrder, Visibility,
};
use crate::db::raw::{Raw, json_length, raw, small};
use crate::db::schema::{events, principals};
use crate::db::{Conn, RunQueryDsl, boxed, on_each, send};
use crate::kernel::rows::{Limit, Rows, json_b, of_another_list};
use crate::kernel::sql::Json;
use crate::kernel::{AnyId, Clock, Code, CommentId, EventId, Instant, PrincipalId, Problem, Status, TicketId};

#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
struct NewRow {
    id: EventId,
    ticket_id: Option<TicketId>,
    at: Instant,
    actor_id: Option<PrincipalId>,
    kind: EventKind,
    visibility: Visibility,
    comment_id: Option<CommentId>,
    changes: Json,
    ticket_version: Option<i64>,
    subject_kind: Option<SubjectKind>,
    subject_id: Option<AnyId>,
    sla: Option<Json<NoticedPromise>>,
}

/// An event as it is read, with the name of who did it.
#[derive(Debug, Clone, Queryable)]
pub struct EventRow {
    /// The event's id.
    pub id: EventId,
    /// When.
    pub at: Instant,
    /// Who, by id.
    pub actor_id: Option<PrincipalId>,
    /// Who, by name.
    pub actor_name: Option<String>,
    /// What.
    pub kind: EventKind,
    /// Who may see it.
    pub visibility: Visibility,
    /// The comment that it is about.
    pub comment_id: Option<CommentId>,
    /// `[{"field", "before", "after"}]`.
    pub changes: Json,
    /// The promise that it is about.
    pub sla: Option<Json<NoticedPromise>>,
}

/// The columns of an [`EventRow`], whose actor is joined; `$changes` is the SQL of its changes.
macro_rules! event_columns {
    ($changes:expr) => {{
        use $crate::db::schema::{events, principals};
        (
            events::id,
            events::at,
            events::actor_id,
            principals::name.nullable(),
            events::kind,
            events::visibility,
            events::comment_id,
            $crate::db::raw::raw::<$crate::kernel::sql::JsonDocument>($changes),
            events::sla,
        )
    }};
}
pub(crate) use event_columns;

/// Adds `event` to the change log, and to the trail of its ticket if it is about one, behind all that is in them.
///
/// # Errors
/// `conflict` for an edit of a ticket whose trail has no room for it.
pub async fn add(tx: &mut Conn, event: Event, clock: &Clock) -> Result<(), Problem> {
    insert(tx, event, None, clock).await
}

/// Adds `event` likewise, which is about `promise`.
pub async fn add_notice(tx: &mut Conn, event: Event, promise: NoticedPromise, clock: &Clock) -> Result<(), Problem> {
    insert(tx, event, Some(promise), clock).await
}

async fn insert(tx: &mut Conn, event: Event, sla: Option<NoticedPromise>, clock: &Clock) -> Result<(), Problem> {
    let changes = changes_json(&event.changes);
    let nothing = || raw("").bind(0_i64);
    let (ticket, subject, number, edited_b) = match event.about {
        EventSubject::Ticket(id, version) => {
            let edited_b = match event.edit_b(changes.to_string().len()) {
                Some(more_b) => {
                    let edited_b = edited_b(tx, id).await?.saturating_add(more_b);
                    require_room(edited_b, MOST_EDITED_B)?;
                    raw("").bind(edited_b)
                }
                // Its texts are gone, and so is their weight.
                None if event.kind == EventKind::TicketRedacted => nothing(),
                None => last_of("edited_b", id),
            };
            (Some((id, version)), None, last_of("number", id).sql(" + 1"), edited_b)
        }
        EventSubject::Other(kind, id) => (None, Some((kind, id)), nothing(), nothing()),
    };
    let row = NewRow {
        id: clock.id(event.at),
        ticket_id: ticket.map(|(id, _)| id),
        at: event.at,
        actor_id: event.actor,
        kind: event.kind,
        visibility: event.visibility,
        comment_id: event.comment_id,
        changes: Json(changes),
        ticket_version: ticket.map(|(_, version)| version),
        subject_kind: subject.map(|(kind, _)| kind),
        subject_id: subject.map(|(_, id)| id),
        sla: sla.map(Json),
    };
    let (id, at) = (row.id, row.at);
    send!(
        tx,
        diesel::insert_into(events::table).values((row, events::number.eq(number), events::edited_b.eq(edited_b)))
    )?;
    log::append(tx, id, at).await
}

/// Adds an event of the past of a ticket to its trail, as its entry `number`, behind `edited_b` bytes of edits, and to
/// the change log. Gives how many bytes of edits there are then.
pub async fn add_past(
    tx: &mut Conn,
    event: &Event,
    (number, edited_b): (i64, i64),
    clock: &Clock,
    now: Instant,
) -> Result<i64, Problem> {
    let EventSubject::Ticket(ticket_id, version) = event.about else {
        return Err(Problem::internal("only tickets have a past that is imported"));
    };
    let changes = changes_json(&event.changes);
    let edited_b = edited_b.saturating_add(event.edit_b(changes.to_string().len()).unwrap_or(0));
    let id: EventId = clock.id(event.at);
    let row = NewRow {
        id,
        ticket_id: Some(ticket_id),
        at: event.at,
        actor_id: event.actor,
        kind: event.kind,
        visibility: event.visibility,
        comment_id: event.comment_id,
        changes: Json(changes),
        ticket_version: Some(version),
        subject_kind: None,
        subject_id: None,
        sla: None,
    };
    let place = (events::number.eq(number), events::edited_b.eq(edited_b), events::origin.eq(EventOrigin::Import));
    send!(tx, diesel::insert_into(events::table).values((row, place)))?;
    log::append(tx, id, now).await?;
    Ok(edited_b)
}

/// The number of the last entry in the trail of `ticket`, and how many bytes of edits it has had.
pub async fn end_of_trail(tx: &mut Conn, ticket: TicketId) -> Result<(i64, i64), Problem> {
    let own = events::table.filter(events::ticket_id.eq(ticket));
    let last = own.order((events::number.desc(), events::id.desc())).select((events::number, events::edited_b));
    Ok(on_each!(tx, |c| last.first(c).await.optional())?.unwrap_or((0, 0)))
}

/// What the last event of `ticket` has as `column`, or 0. Whoever is at work on the ticket is alone with it, or loses
/// against whoever changes it at the same time.
fn last_of(column: &str, ticket: TicketId) -> Raw<BigInt> {
    let last = format!("coalesce((SELECT e.{column} FROM events e WHERE e.ticket_id = ");
    raw(last).bind(ticket).sql(" ORDER BY e.number DESC, e.id DESC LIMIT 1), 0)")
}

/// How many bytes of edits `ticket` has had.
async fn edited_b(tx: &mut Conn, ticket: TicketId) -> Result<i64, Problem> {
    let own = events::table.filter(events::ticket_id.eq(ticket));
    let last = own.order((events::number.desc(), events::id.desc())).select(events::edited_b);
    let edited_b = on_each!(tx, |c| last.first(c).await);
    Ok(edited_b.optional()?.unwrap_or(0))
}

/// Refuses an edit by the requester of `ticket` when its trail has as much as they may bring about.
///
/// # Errors
/// `conflict`.
pub async fn require_room_for_requester(tx: &mut Conn, ticket: TicketId) -> Result<(), Problem> {
    require_room(edited_b(tx, ticket).await?, MOST_EDITED_BY_REQUESTERS_B)
}

fn require_room(edited_b: i64, most_b: i64) -> Result<(), Problem> {
    if edited_b <= most_b {
        return Ok(());
    }
    let most = most_b >> 20;
    let detail = format!(
        "This ticket has been edited so often that its trail has {most} MiB of changes. It takes comments and changes of its \
         status, but no more edits: open another one that follows up on it."
    );
    Err(Problem::new(Code::Conflict, detail))
}

/// How many entries of a trail one look goes through.
const MOST_LOOKED_AT: i64 = 1_000;

/// Goes on to look for somebody else than `own` in the trail of `ticket`, behind its entry `number`: up to which entry
/// all of it is theirs, or the service's; nothing once somebody else has acted, or there is too much of it to tell.
pub async fn is_own_up_to(
    tx: &mut Conn,
    ticket: TicketId,
    own: &[PrincipalId],
    number: i64,
) -> Result<Option<i64>, Problem> {
    let behind = events::table.filter(events::ticket_id.eq(ticket).and(events::number.gt(number)));
    let behind = behind.order((events::number, events::id)).limit(MOST_LOOKED_AT);
    let entries: Vec<(i64, Option<PrincipalId>)> =
        on_each!(tx, |c| behind.select((events::number, events::actor_id)).load(c).await)?;
    let is_own = entries.iter().all(|(_, actor)| actor.is_none_or(|actor| own.contains(&actor)));
    let is_all = i64::try_from(entries.len()).unwrap_or(i64::MAX) < MOST_LOOKED_AT;
    Ok((is_own && is_all).then(|| entries.last().map_or(number, |(last, _)| *last)))
}

/// Which events of a trail are listed, and how many.
#[derive(Debug, Clone, Copy, Default)]
pub struct TrailPage {
    /// In which order.
    pub order: TrailOrder,
    /// Only those behind this one in the order.
    pub behind: Option<EventId>,
    /// How many.
    pub limit: Limit,
}

/// A page of the trail of `ticket`. The caller has proved access to the ticket. Numbers stay here: they count internal
/// events, too.
///
/// # Errors
/// `invalid_cursor` when the page is to be behind what is no event of this ticket.
pub async fn list(
    conn: &mut Conn,
    ticket: TicketId,
    internal_too: bool,
    page: TrailPage,
) -> Result<Rows<EventRow>, Problem> {
    let behind = match page.behind {
        Some(id) => Some(place(conn, ticket, id).await?.ok_or_else(of_another_list)?),
        None => None,
    };
    let length = json_length(conn, "events.changes");
    let rows: Vec<(EventRow, bool)> = on_each!(conn, |c| {
        let (changes, lacks) = small(&length, "events.changes", "[]");
        let mut query = boxed(
            c,
            events::table
                .left_join(principals::table)
                .filter(events::ticket_id.eq(ticket))
                .select((event_columns!(changes), raw::<Bool>(lacks))),
        );
        if !internal_too {
            query = query.filter(events::visibility.eq(Visibility::Public));
        }
        query = match page.order {
            TrailOrder::At => query.order((events::number.asc(), events::id.asc())),
            TrailOrder::AtDesc => query.order((events::number.desc(), events::id.desc())),
        };
        if let Some((number, id)) = behind {
            let relation = if page.order == TrailOrder::At { ">" } else { "<" };
            let place = raw::<Bool>(format!("(events.number, events.id) {relation} ("));
            query = query.filter(place.bind(number).sql(", ").bind(id).sql(")"));
        }
        query.limit(page.limit.and_one()).load(c).await
    })?;
    let fill = async |rows: &mut [(EventRow, bool)]| {
        fill_changes(conn, rows.iter_mut().filter(|(_, lacks)| *lacks).map(|(row, _)| row).collect()).await
    };
    Rows::filled(rows, fill, |row| texts_b(&row.changes.0)).await
}

/// Reads the changes of `rows`, which were too large to be read with them.
pub async fn fill_changes(conn: &mut Conn, rows: Vec<&mut EventRow>) -> Result<(), Problem> {
    let ids: Vec<_> = rows.iter().map(|row| row.id).collect();
    let changes = events::table.filter(events::id.eq_any(ids)).select((events::id, events::changes));
    let changes: Vec<(EventId, Json)> = on_each!(conn, |c| changes.load(c).await)?;
    let mut changes: HashMap<_, _> = changes.into_iter().collect();
    for row in rows {
        if let Some(changes) = changes.remove(&row.id) {
            row.changes = changes;
        }
    }
    Ok(())
}

/// Each status that the trail of `ticket` tells of, and since when it had it, in order.
pub async fn statuses(conn: &mut Conn, ticket: TicketId) -> Result<Vec<(Status, Instant)>, Problem> {
    let status = dialect::new_status(conn);
    let of_ticket = events::kind.eq_any([EventKind::TicketCreated, EventKind::TicketUpdated]);
    let query = events::table
        .filter(events::ticket_id.eq(ticket).and(of_ticket))
        .order((events::number.asc(), events::id.asc()))
        .select((status, events::at));
    let rows: Vec<(Option<Status>, Instant)> = on_each!(conn, |c| query.load(c).await)?;
    Ok(rows.into_iter().filter_map(|(status, at)| Some((status?, at))).collect())
}

/// How many bytes the texts in `value` have as JSON.
pub fn texts_b(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => json_b(text),
        serde_json::Value::Array(items) => items.iter().map(texts_b).sum(),
        serde_json::Value::Object(fields) => fields.values().map(texts_b).sum(),
        _ => 0,
    }
}

/// The place of an event in the trail of `ticket`, if it is one of it. Those from before there were numbers have 0, and
/// are in the order of their ids.
async fn place(conn: &mut Conn, ticket: TicketId, id: EventId) -> Result<Option<(i64, EventId)>, Problem> {
    let own = events::table.filter(events::id.eq(id).and(events::ticket_id.eq(ticket)));
    let found = on_each!(conn, |c| own.select((events::number, events::id)).first(c).await);
    Ok(found.optional()?)
}

/// Takes the text of `comment` out of the trail: the one change that the trail knows, for redaction.
pub async fn scrub(tx: &mut Conn, comment: CommentId) -> Result<(), Problem> {
    let emptied = Json(json!([{ "field": "body", "before": null, "after": null }]));
    on_each!(tx, |c| {
        diesel::update(events::table)
            .filter(events::comment_id.eq(comment).and(events::kind.eq(EventKind::CommentEdited)))
            .set(events::changes.eq(&emptied))
            .execute(c)
            .await
    })?;
    Ok(())
}

/// How many events are emptied in one piece.
const PIECE: i64 = 8;

/// How many bytes of changes an event has at least that is emptied in a piece.
const LARGE_B: usize = 4 << 10;

/// The place of an event in a trail.
pub type EventPlace = (i64, EventId);

/// Takes all that people have written out of the next few large events of the trail of `ticket`, from behind `after`
/// on. Gives where to go on, or nothing when no large one is left.
pub async fn scrub_piece(
    tx: &mut Conn,
    ticket: TicketId,
    after: Option<EventPlace>,
) -> Result<Option<EventPlace>, Problem> {
    let (number, id) = after.unwrap_or((-1, EventId(uuid::Uuid::nil())));
    let behind = raw::<Bool>("(events.number, events.id) > (").bind(number).sql(", ").bind(id).sql(")");
    let large = raw::<Bool>(format!("{} > {LARGE_B}", json_length(tx, "events.changes")));
    let own = events::table.filter(events::ticket_id.eq(ticket)).filter(behind).filter(large);
    let next = own.order((events::number, events::id)).select((events::number, events::id)).limit(PIECE);
    let next: Vec<EventPlace> = on_each!(tx, |c| next.load(c).await)?;
    let Some(last) = next.last().copied() else { return Ok(None) };
    let ids: Vec<_> = next.iter().map(|(_, id)| *id).collect();
    let (emptied, _) = dialect::without_texts(tx);
    let these = diesel::update(events::table.filter(events::id.eq_any(ids))).set(events::changes.eq(emptied));
    on_each!(tx, |c| these.execute(c).await)?;
    Ok(Some(last))
}

/// Takes all that people have written out of the trail of `ticket`: that a text was changed stays, and when and by
/// whom. One statement, so that none of it comes into the memory of the service. What may be much goes before it, by
/// [`scrub_piece`].
pub async fn scrub_ticket(tx: &mut Conn, ticket: TicketId) -> Result<(), Problem> {
    let (emptied, has_texts) = dialect::without_texts(tx);
    let own = events::table.filter(events::ticket_id.eq(ticket)).filter(has_texts);
    let all = diesel::update(own).set(events::changes.eq(emptied));
    on_each!(tx, |c| all.execute(c).await)?;
    Ok(())
}

fn changes_json(changes: &[Change]) -> serde_json::Value {
    changes.iter().map(|c| json!({ "field": c.field, "before": c.before, "after": c.after })).collect()
}
