//! Queries of the audit trail.

use std::collections::HashMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use serde_json::json;

use super::domain::{Change, Event, EventKind, Visibility};
use crate::db::raw::{raw, small};
use crate::db::schema::{events, principals};
use crate::db::{Conn, Line, RunQueryDsl, boxed, on_each, post};
use crate::http::{Cursor, Limit, Rows, page};
use crate::kernel::sql::{Document, Json};
use crate::kernel::{Clock, CommentId, EventId, Instant, PrincipalId, Problem, TicketId};

#[derive(Insertable)]
#[diesel(table_name = events, treat_none_as_default_value = false)]
struct NewRow {
    id: EventId,
    ticket_id: TicketId,
    at: Instant,
    actor_id: Option<PrincipalId>,
    kind: EventKind,
    visibility: Visibility,
    comment_id: Option<CommentId>,
    changes: Json,
}

/// An event as it is read, with the name of who did it.
#[derive(Debug, Queryable)]
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
}

/// Adds `event` to the trail, behind all that is in it.
///
/// # Errors
/// When the database is away.
pub async fn add(tx: &mut Conn, event: Event, clock: &Clock) -> Result<(), Problem> {
    let row = NewRow {
        id: clock.id(event.at),
        ticket_id: event.ticket_id,
        at: event.at,
        actor_id: event.actor,
        kind: event.kind,
        visibility: event.visibility,
        comment_id: event.comment_id,
        changes: Json(changes_json(&event.changes)),
    };
    // Whoever is at work on the ticket is alone with it, or loses against whoever changes it at the same time.
    let next = raw::<BigInt>("(SELECT coalesce(max(e.number), 0) + 1 FROM events e WHERE e.ticket_id = ")
        .bind(event.ticket_id)
        .sql(")");
    post!(tx, diesel::insert_into(events::table).values((row, events::number.eq(next))))
}

/// A page of the trail of `ticket`, oldest first, from behind the event `after` on. The caller has proved access to the
/// ticket. Numbers stay here: they count internal events, too.
///
/// # Errors
/// `invalid_cursor` when `after` is no event of this ticket, or when the database is away.
pub async fn list(
    conn: &mut Conn,
    ticket: TicketId,
    internal_too: bool,
    after: Option<EventId>,
    limit: Limit,
) -> Result<Rows<EventRow>, Problem> {
    let after = match after {
        Some(id) => Some(place(conn, ticket, id).await?.ok_or_else(Cursor::of_another_list)?),
        None => None,
    };
    let length = match conn.line {
        Line::Sqlite(_) => "octet_length(events.changes)",
        Line::Postgres(_) => "octet_length(CAST(events.changes AS text))",
    };
    let rows: Vec<(EventRow, bool)> = on_each!(conn, |c| {
        let (changes, lacks) = small(length, "events.changes", "[]");
        let mut query = boxed(
            c,
            events::table.left_join(principals::table).filter(events::ticket_id.eq(ticket)).select((
                (
                    events::id,
                    events::at,
                    events::actor_id,
                    principals::name.nullable(),
                    events::kind,
                    events::visibility,
                    events::comment_id,
                    raw::<Document>(changes),
                ),
                raw::<Bool>(lacks),
            )),
        );
        if !internal_too {
            query = query.filter(events::visibility.eq(Visibility::Public));
        }
        if let Some((number, id)) = after {
            let behind = raw::<Bool>("(events.number, events.id) > (").bind(number).sql(", ").bind(id).sql(")");
            query = query.filter(behind);
        }
        query.order((events::number.asc(), events::id.asc())).limit(limit.and_one()).load(c).await
    })?;
    let fill = async |rows: &mut [(EventRow, bool)]| {
        let ids: Vec<_> = rows.iter().filter(|(_, lacks)| *lacks).map(|(row, _)| row.id).collect();
        let changes = events::table.filter(events::id.eq_any(ids)).select((events::id, events::changes));
        let changes: Vec<(EventId, Json)> = on_each!(conn, |c| changes.load(c).await)?;
        let mut changes: HashMap<_, _> = changes.into_iter().collect();
        for (row, _) in rows.iter_mut() {
            if let Some(changes) = changes.remove(&row.id) {
                row.changes = changes;
            }
        }
        Ok(())
    };
    Rows::filled(rows, fill, |row| texts_b(&row.changes.0)).await
}

/// How many bytes the texts in `value` have as JSON.
fn texts_b(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => page::json_b(text),
        serde_json::Value::Array(items) => items.iter().map(texts_b).sum(),
        serde_json::Value::Object(fields) => fields.values().map(texts_b).sum(),
        _ => 0,
    }
}

/// The place of an event in the trail of `ticket`, if it is one of it. Those from before there were numbers have 0, and are in
/// the order of their ids.
async fn place(conn: &mut Conn, ticket: TicketId, id: EventId) -> Result<Option<(i64, EventId)>, Problem> {
    let own = events::table.filter(events::id.eq(id).and(events::ticket_id.eq(ticket)));
    let found = on_each!(conn, |c| own.select((events::number, events::id)).first(c).await);
    Ok(found.optional()?)
}

/// Takes the text of `comment` out of the trail: the one change that the trail knows, for redaction.
///
/// # Errors
/// When the database is away.
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

/// The fields whose values are what somebody has written.
const TEXTS: [&str; 6] = ["subject", "description", "custom_fields", "external_id", "body", "note"];

/// Takes all that people have written out of the trail of `ticket`: that a text was changed stays, and when and by whom.
///
/// # Errors
/// When the database is away.
pub async fn scrub_ticket(tx: &mut Conn, ticket: TicketId) -> Result<(), Problem> {
    let all: Vec<(EventId, Json)> = on_each!(tx, |c| {
        let own = events::table.filter(events::ticket_id.eq(ticket));
        own.order((events::number, events::id)).select((events::id, events::changes)).load(c).await
    })?;
    for (id, Json(mut changes)) in all {
        let mut has_texts = false;
        for change in changes.as_array_mut().into_iter().flatten() {
            if TEXTS.iter().any(|field| change["field"] == *field) {
                has_texts = true;
                (change["before"], change["after"]) = (json!(null), json!(null));
            }
        }
        if has_texts {
            let own = events::table.find(id);
            let changes = Json(changes);
            on_each!(tx, |c| diesel::update(own).set(events::changes.eq(&changes)).execute(c).await)?;
        }
    }
    Ok(())
}

fn changes_json(changes: &[Change]) -> serde_json::Value {
    changes.iter().map(|c| json!({ "field": c.field, "before": c.before, "after": c.after })).collect()
}
