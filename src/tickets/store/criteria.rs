//! Which tickets are meant.

use super::search::{self, Hits};
use crate::db::Conn;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId};
use crate::tickets::domain::{Channel, Priority, Status, TicketType};
use crate::tickets::policy::Reach;
use crate::tickets::wire::{SlaFilter, TicketFilter};

/// Which tickets are meant: those within a reach that pass every filter at an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct TicketCriteria {
    pub(crate) only_of: Option<PrincipalId>,
    pub(crate) status: Option<Vec<Status>>,
    pub(crate) priority: Option<Vec<Priority>>,
    pub(crate) kind: Option<Vec<TicketType>>,
    pub(crate) channel: Option<Vec<Channel>>,
    pub(crate) team: Option<(Vec<TeamId>, bool)>,
    pub(crate) assignee: Option<(Vec<PrincipalId>, bool)>,
    pub(crate) requester: Option<(Vec<PrincipalId>, bool)>,
    pub(crate) tag: Option<Vec<String>>,
    pub(crate) external_id: Option<String>,
    pub(crate) created_after: Option<Instant>,
    pub(crate) created_before: Option<Instant>,
    pub(crate) updated_after: Option<Instant>,
    pub(crate) updated_before: Option<Instant>,
    pub(crate) sla: Option<SlaFilter>,
    pub(crate) q: Option<Hits>,
    pub(crate) now: Instant,
}

impl TicketCriteria {
    /// The tickets within `reach` that pass `filter` at `now`. `me` is the caller.
    ///
    /// # Errors
    /// `invalid_query` when a filter makes no sense; `insufficient_scope` for a search by a token that may not read what is
    /// searched.
    pub fn new(reach: &Reach, filter: &TicketFilter, me: PrincipalId, now: Instant) -> Result<Self, Problem> {
        // Taken apart whole, so that a new filter does not compile until it filters.
        let TicketFilter {
            status,
            priority,
            kind,
            channel,
            team_id,
            assignee_id,
            requester_id,
            tag,
            external_id,
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q,
        } = filter.clone();
        Ok(Self {
            only_of: reach.only_of(),
            status: status.map(|any| any.0),
            priority: priority.map(|any| any.0),
            kind: kind.map(|any| any.0),
            channel: channel.map(|any| any.0),
            team: team_id.map(|teams| split(teams.0.iter().map(|team| team.id()))),
            assignee: assignee_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            requester: requester_id.map(|people| split(people.0.iter().map(|person| person.id(me)))),
            tag: tag.map(|any| any.0.into_iter().map(|tag| tag.0).collect()),
            external_id: external_id.map(|id| id.0),
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q: match q {
                Some(query) => Hits::of(query, reach.searched()?),
                None => None,
            },
            now,
        })
    }

    /// Lets every ticket through.
    pub(crate) fn open(now: Instant) -> Self {
        Self {
            only_of: None,
            status: None,
            priority: None,
            kind: None,
            channel: None,
            team: None,
            assignee: None,
            requester: None,
            tag: None,
            external_id: None,
            created_after: None,
            created_before: None,
            updated_after: None,
            updated_before: None,
            sla: None,
            q: None,
            now,
        }
    }

    /// The same, with what its bounds mean for the creation: no ticket was changed before it was created.
    pub(crate) fn with_bounds_of_creation(&self) -> Self {
        let created_before = [self.created_before, self.updated_before].into_iter().flatten().min();
        Self { created_before, ..self.clone() }
    }

    /// The same, with what its bounds mean for the last change.
    pub(crate) fn with_bounds_of_change(&self) -> Self {
        Self { updated_after: self.updated_after.max(self.created_after), ..self.clone() }
    }

    /// Whether what it asks for can be looked for; a list of tickets asks this by itself.
    ///
    /// # Errors
    /// `unavailable` when the search index is in a format that only a newer version can read, or when the database is away.
    pub async fn readable(&self, conn: &mut Conn) -> Result<(), Problem> {
        if self.q.is_some() { search::readable(conn).await } else { Ok(()) }
    }

    /// Whether it lets every ticket through.
    pub fn is_open(&self) -> bool {
        *self == Self::open(self.now)
    }
}

/// The tickets of a boxed query that a [`TicketCriteria`] lets through. The query is about `tickets` and `ticket_clocks`.
macro_rules! narrow {
    ($query:expr, $sieve:expr) => {{
        use diesel::prelude::*;
        use $crate::db::schema::{ticket_clocks, ticket_tags, tickets};
        use $crate::tickets::wire::SlaFilter;
        let mut query = $query;
        // Taken apart whole, so that a new filter does not compile until it filters.
        let $crate::tickets::store::TicketCriteria {
            only_of,
            status,
            priority,
            kind,
            channel,
            team,
            assignee,
            requester,
            tag,
            external_id,
            created_after,
            created_before,
            updated_after,
            updated_before,
            sla,
            q,
            now,
        } = $sieve.clone();
        if let Some(own) = only_of {
            query = query.filter(tickets::requester_id.eq(own));
        }
        // A single value is compared as such: the indexes go on in order behind it.
        macro_rules! any {
            ($filter:expr, $column:expr) => {
                match $filter.as_deref() {
                    Some([one]) => query = query.filter($column.eq(*one)),
                    Some(any) => query = query.filter($column.eq_any(any.to_vec())),
                    None => {}
                }
            };
        }
        any!(status, tickets::status);
        any!(priority, tickets::priority);
        any!(kind, tickets::kind);
        any!(channel, tickets::channel);
        macro_rules! any_or_none {
            ($filter:expr, $column:expr) => {
                match $filter {
                    Some((ids, false)) => query = query.filter($column.eq_any(ids)),
                    Some((ids, true)) if ids.is_empty() => query = query.filter($column.is_null()),
                    Some((ids, true)) => {
                        query = query.filter($column.is_null().or($column.eq_any(ids).assume_not_null()))
                    }
                    None => {}
                }
            };
        }
        any_or_none!(team, tickets::team_id);
        any_or_none!(assignee, tickets::assignee_id);
        any_or_none!(requester, tickets::requester_id);
        if let Some(any) = tag {
            let own = ticket_tags::table.filter(ticket_tags::ticket_number.eq(tickets::number));
            query = query.filter(diesel::dsl::exists(own.filter(ticket_tags::tag.eq_any(any))));
        }
        if let Some(id) = external_id {
            query = query.filter(tickets::external_id.eq(id));
        }
        if let Some(at) = created_after {
            query = query.filter(tickets::created_at.gt(at));
        }
        if let Some(at) = created_before {
            query = query.filter(tickets::created_at.lt(at));
        }
        if let Some(at) = updated_after {
            query = query.filter(tickets::updated_at.gt(at));
        }
        if let Some(at) = updated_before {
            query = query.filter(tickets::updated_at.lt(at));
        }
        if let Some(hits) = q {
            query = query.filter(hits);
        }
        match sla {
            Some(SlaFilter::Breached) => query = query.filter(ticket_clocks::breach_at.le(now)),
            Some(SlaFilter::DueWithin(s)) => {
                let until = $crate::tickets::store::breached_after(now.plus_s(s));
                macro_rules! due {
                    ($breach_at:expr) => {
                        $breach_at.gt(now).and($breach_at.le(until))
                    };
                }
                query = query.filter(
                    due!(ticket_clocks::response_breach_at)
                        .or(due!(ticket_clocks::first_reply_breach_at))
                        .or(due!(ticket_clocks::service_breach_at)),
                );
            }
            None => {}
        }
        query
    }};
}
pub(crate) use narrow;

/// When a clock is breached that is due at `due_at`: the microsecond after.
pub(crate) fn breached_after(due_at: Instant) -> Instant {
    Instant::from_micros(due_at.micros() + 1)
}

/// The ids to look for, and whether `none` is one of the choices.
fn split<Id>(choices: impl Iterator<Item = Option<Id>>) -> (Vec<Id>, bool) {
    let (ids, nobody): (Vec<_>, Vec<_>) = choices.partition(Option::is_some);
    (ids.into_iter().flatten().collect(), !nobody.is_empty())
}
