//! Queries of the feed.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::policy::Sightline;
use crate::audit::domain::EventKind;
use crate::audit::store::{EventRow, fill_changes, texts_b};
use crate::db::raw::{json_length, one_of, raw, small};
use crate::db::schema::{changes, events, principals, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::rows::Rows;
use crate::kernel::sql::JsonDocument;
use crate::kernel::{Problem, TeamId, TicketId};
use crate::tickets::domain::reference::TicketRef;

/// Which changes are asked for, of those that there may be.
#[derive(Debug, Clone, Default)]
pub struct ChangeCriteria {
    /// Of what kinds.
    pub kinds: Option<Vec<EventKind>>,
    /// Of which ticket.
    pub ticket: Option<TicketRef>,
    /// Of tickets that are in one of these teams now, or in none.
    pub teams: Option<(Vec<TeamId>, bool)>,
}

/// A change as it is read.
#[derive(Debug, Queryable)]
pub struct ChangeRow {
    /// Where it stands in the log.
    pub position: i64,
    /// What happened.
    pub event: EventRow,
    /// The ticket's version right after it.
    pub ticket_version: Option<i64>,
    /// The ticket.
    pub ticket: ChangedTicket,
}

/// The ticket that a change is about, as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct ChangedTicket {
    /// Its id.
    pub id: TicketId,
    /// Its number.
    pub number: i64,
    /// Its version.
    pub version: i64,
}

/// The first changes behind the position `after`, and up to `until`, that `criteria` ask for and that may be seen along
/// `sightline`: at most one more than `most`.
pub async fn page(
    conn: &mut Conn,
    sightline: &Sightline,
    criteria: &ChangeCriteria,
    (after, until): (i64, i64),
    most: usize,
) -> Result<Rows<ChangeRow>, Problem> {
    let length = json_length(conn, "events.changes");
    let kinds = sightline.kinds(criteria.kinds.as_deref()).into_iter().map(|kind| kind.to_string()).collect::<Vec<_>>();
    let most = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let rows: Vec<(ChangeRow, bool)> = on_each!(conn, |c| {
        let (changed, lacks) = small(&length, "events.changes", "[]");
        let all = changes::table
            .inner_join(events::table.left_join(principals::table))
            .inner_join(tickets::table.on(tickets::id.eq(events::ticket_id)))
            .filter(changes::position.gt(after).and(changes::position.le(until)))
            .filter(one_of("events.kind", &kinds))
            .select((
                (
                    changes::position,
                    (
                        events::id,
                        events::at,
                        events::actor_id,
                        principals::name.nullable(),
                        events::kind,
                        events::visibility,
                        events::comment_id,
                        raw::<JsonDocument>(changed),
                        events::sla,
                    ),
                    events::ticket_version,
                    (tickets::id, tickets::number, tickets::version),
                ),
                raw::<Bool>(lacks),
            ));
        let mut query = boxed(c, all);
        if let Some(visibility) = sightline.visibility() {
            query = query.filter(events::visibility.eq(visibility));
        }
        if let Some(requester) = sightline.only_of() {
            query = query.filter(tickets::requester_id.eq(requester));
        }
        match criteria.ticket {
            Some(TicketRef::Id(id)) => query = query.filter(tickets::id.eq(id)),
            Some(TicketRef::Number(number)) => query = query.filter(tickets::number.eq(number)),
            None => {}
        }
        if let Some((teams, none)) = &criteria.teams {
            let in_one = tickets::team_id.eq_any(teams.clone()).assume_not_null();
            query = match none {
                true => query.filter(in_one.or(tickets::team_id.is_null())),
                false => query.filter(in_one),
            };
        }
        query.order(changes::position).limit(most).load(c).await
    })?;
    let fill = async |rows: &mut [(ChangeRow, bool)]| {
        fill_changes(conn, rows.iter_mut().filter(|(_, lacks)| *lacks).map(|(row, _)| &mut row.event).collect()).await
    };
    Rows::filled(rows, fill, |row| texts_b(&row.event.changes.0)).await
}
