//! Which tickets are meant.

use super::hits::{self, Hits};
use crate::db::Conn;
use crate::kernel::vocabulary::*;
use crate::kernel::{Instant, PrincipalId, Problem, TeamId};
use crate::tickets::domain::listing::SlaFilter;

/// Which tickets are meant: those within a reach that pass every filter at an instant.
#[derive(Debug, Clone, PartialEq, Default)]
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
    pub(crate) activity_after: Option<Instant>,
    pub(crate) activity_before: Option<Instant>,
    pub(crate) sla: Option<SlaFilter>,
    pub(crate) q: Option<Hits>,
    pub(crate) now: Instant,
}

impl TicketCriteria {
    /// All tickets.
    pub fn all(now: Instant) -> Self {
        Self { now, ..Self::default() }
    }

    /// Whether what it asks for can be looked for; a list of tickets asks this by itself.
    ///
    /// # Errors
    /// `unavailable` when the search index is in a format that only a newer version can read.
    pub async fn readable(&self, conn: &mut Conn) -> Result<(), Problem> {
        if self.q.is_some() { hits::readable(conn).await } else { Ok(()) }
    }

    /// Whether all tickets meet it.
    pub fn is_open(&self) -> bool {
        *self == Self::all(self.now)
    }
}

/// The tickets of a boxed query that meet a [`TicketCriteria`]. The query is about `tickets` and `ticket_clocks`.
macro_rules! narrow {
    ($query:expr, $criteria:expr) => {{
        use diesel::prelude::*;
        use $crate::db::schema::{ticket_clocks, ticket_tags, tickets};
        use $crate::tickets::domain::listing::SlaFilter;
        let mut query = $query;
        let criteria = $criteria.clone();
        let now = criteria.now;
        if let Some(own) = criteria.only_of {
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
        any!(criteria.status, tickets::status);
        any!(criteria.priority, tickets::priority);
        any!(criteria.kind, tickets::kind);
        any!(criteria.channel, tickets::channel);
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
        any_or_none!(criteria.team, tickets::team_id);
        any_or_none!(criteria.assignee, tickets::assignee_id);
        any_or_none!(criteria.requester, tickets::requester_id);
        if let Some(any) = criteria.tag {
            let own = ticket_tags::table.filter(ticket_tags::ticket_number.eq(tickets::number));
            query = query.filter(diesel::dsl::exists(own.filter(ticket_tags::tag.eq_any(any))));
        }
        if let Some(id) = criteria.external_id {
            query = query.filter(tickets::external_id.eq(id));
        }
        if let Some(at) = criteria.created_after {
            query = query.filter(tickets::created_at.gt(at));
        }
        if let Some(at) = criteria.created_before {
            query = query.filter(tickets::created_at.lt(at));
        }
        if let Some(at) = criteria.updated_after {
            query = query.filter(tickets::updated_at.gt(at));
        }
        if let Some(at) = criteria.updated_before {
            query = query.filter(tickets::updated_at.lt(at));
        }
        if let Some(at) = criteria.activity_after {
            query = query.filter(tickets::activity_at.gt(at));
        }
        if let Some(at) = criteria.activity_before {
            query = query.filter(tickets::activity_at.lt(at));
        }
        if let Some(hits) = criteria.q {
            query = query.filter(hits.condition());
        }
        match criteria.sla {
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
                // Of a closed ticket nothing can be done about it any more.
                query = query.filter(tickets::status.ne($crate::kernel::Status::Closed));
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
