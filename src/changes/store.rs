//! Queries of the feed.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::policy::Sightline;
use crate::audit::domain::{EventKind, EventOrigin, SubjectKind};
use crate::audit::store::{EventRow, event_columns, fill_changes, texts_b};
use crate::db::raw::{json_length, one_of, raw, small};
use crate::db::schema::{changes, events, principals, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::rows::Rows;
use crate::kernel::{AnyId, PrincipalId, Problem, TeamId, TicketId};
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

impl ChangeRow {
    /// Whether it is asked for, and may be seen: what [`page`] asks of the database, for a change that is read already.
    pub fn is_for(&self, sightline: &Sightline, criteria: &ChangeCriteria) -> bool {
        let (kind, ticket) = (self.event.kind, self.ticket.as_ref());
        let is_of_ticket = match criteria.ticket {
            Some(TicketRef::Id(id)) => ticket.is_some_and(|ticket| ticket.id == id),
            Some(TicketRef::Number(number)) => ticket.is_some_and(|ticket| ticket.number == number),
            None => true,
        };
        let is_of_team = criteria.teams.as_ref().is_none_or(|(teams, none)| {
            ticket.is_some_and(|ticket| ticket.team_id.map_or(*none, |team| teams.contains(&team)))
        });
        let is_own = |own| ticket.is_some_and(|ticket| ticket.requester_id == Some(own));
        sightline.has(kind)
            && sightline.visibility().is_none_or(|only| self.event.visibility == only)
            && sightline.only_of().is_none_or(is_own)
            && criteria.kinds.as_ref().is_none_or(|kinds| kinds.contains(&kind))
            && is_of_ticket
            && is_of_team
    }
}

/// A change as it is read.
#[derive(Debug, Clone, Queryable)]
pub struct ChangeRow {
    /// Where it stands in the log.
    pub position: i64,
    /// What happened.
    pub event: EventRow,
    /// The ticket's version right after it.
    pub ticket_version: Option<i64>,
    /// Whether it happened here.
    pub origin: EventOrigin,
    /// What it is about, if it is about no ticket.
    pub subject: (Option<SubjectKind>, Option<AnyId>),
    /// The ticket, if it is about one.
    pub ticket: Option<ChangedTicket>,
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
    /// Who has the problem.
    pub requester_id: Option<PrincipalId>,
    /// Whose queue it is in.
    pub team_id: Option<TeamId>,
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
            .left_join(tickets::table.on(tickets::id.nullable().eq(events::ticket_id)))
            .filter(changes::position.gt(after).and(changes::position.le(until)))
            .filter(one_of("events.kind", &kinds))
            .select((
                (
                    changes::position,
                    event_columns!(changed),
                    events::ticket_version,
                    events::origin,
                    (events::subject_kind, events::subject_id),
                    (tickets::id, tickets::number, tickets::version, tickets::requester_id, tickets::team_id)
                        .nullable(),
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
                true => query.filter(events::ticket_id.is_not_null().and(in_one.or(tickets::team_id.is_null()))),
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
