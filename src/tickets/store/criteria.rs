//! Which tickets are meant.

use diesel::backend::Backend;
use diesel::dsl::{exists, not};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable};
use diesel::sqlite::Sqlite;

use super::hits::{self, Hits};
use super::pieces::Pieces;
use crate::db::raw::raw;
use crate::db::schema::{ticket_clocks, ticket_tags, tickets};
use crate::db::{Conn, Runs};
use crate::kernel::sql::Moment;
use crate::kernel::vocabulary::*;
use crate::kernel::{Instant, PolicyId, PrincipalId, Problem, TeamId};
use crate::tickets::domain::listing::SlaFilter;

/// Which of some things a ticket has: one of these, or none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice<T> {
    /// These.
    pub(crate) any: Vec<T>,
    /// Whether to have nothing is one of the choices.
    pub(crate) or_nothing: bool,
    /// Whether all else is meant.
    pub(crate) is_negated: bool,
}

impl<T: PartialEq> Choice<T> {
    /// Whether a ticket that has `value`, or nothing, is meant.
    pub fn is_met_by(&self, value: Option<&T>) -> bool {
        let is_among = value.map_or(self.or_nothing, |value| self.any.contains(value));
        is_among != self.is_negated
    }

    /// Whether a ticket that has these is meant.
    pub fn is_met_by_any(&self, values: &[T]) -> bool {
        values.iter().any(|value| self.any.contains(value)) != self.is_negated
    }

    /// The same, unless all else is meant.
    pub fn plain(&self) -> Option<&Self> {
        (!self.is_negated).then_some(self)
    }

    fn finds_nothing(&self) -> bool {
        self.any.is_empty() && !self.or_nothing && !self.is_negated
    }
}

/// Which tickets are meant: those within a reach that pass every filter at an instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TicketCriteria {
    pub(crate) only_of: Option<PrincipalId>,
    pub(crate) status: Option<Vec<Status>>,
    pub(crate) priority: Option<Vec<Priority>>,
    pub(crate) kind: Option<Vec<TicketType>>,
    pub(crate) channel: Option<Vec<Channel>>,
    pub(crate) team: Option<Choice<TeamId>>,
    pub(crate) assignee: Option<Choice<PrincipalId>>,
    pub(crate) requester: Option<Choice<PrincipalId>>,
    pub(crate) policy: Option<Choice<PolicyId>>,
    pub(crate) tag: Option<Choice<String>>,
    pub(crate) external_id: Option<String>,
    pub(crate) created_after: Option<Instant>,
    pub(crate) created_before: Option<Instant>,
    pub(crate) updated_after: Option<Instant>,
    pub(crate) updated_before: Option<Instant>,
    pub(crate) activity_after: Option<Instant>,
    pub(crate) activity_before: Option<Instant>,
    pub(crate) reported_after: Option<Instant>,
    pub(crate) reported_before: Option<Instant>,
    pub(crate) resolved_after: Option<Instant>,
    pub(crate) resolved_before: Option<Instant>,
    pub(crate) closed_after: Option<Instant>,
    pub(crate) closed_before: Option<Instant>,
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

    /// Whether no ticket can meet it.
    pub fn finds_nothing(&self) -> bool {
        self.team.as_ref().is_some_and(Choice::finds_nothing)
            || self.assignee.as_ref().is_some_and(Choice::finds_nothing)
            || self.requester.as_ref().is_some_and(Choice::finds_nothing)
            || self.status.as_ref().is_some_and(Vec::is_empty)
            || self.priority.as_ref().is_some_and(Vec::is_empty)
            || self.kind.as_ref().is_some_and(Vec::is_empty)
            || self.channel.as_ref().is_some_and(Vec::is_empty)
    }

    /// Whether all tickets meet it.
    pub fn is_open(&self) -> bool {
        *self == Self::all(self.now)
    }
}

/// That a ticket meets `criteria`, as the engine of this connection is told it. The query is about `tickets` and
/// `ticket_clocks`.
pub(crate) fn meets<C: Runs>(_conn: &C, criteria: &TicketCriteria) -> Pieces<C::Backend, Bool>
where
    C::Backend: Meets,
{
    C::Backend::meets(criteria)
}

/// An engine that can be told what tickets are to be like.
pub(crate) trait Meets: Backend {
    /// See [`meets`].
    fn meets(criteria: &TicketCriteria) -> Pieces<Self, Bool>;
}

macro_rules! meets {
    ($backend:ty) => {
        impl Meets for $backend {
            fn meets(criteria: &TicketCriteria) -> Pieces<Self, Bool> {
                let (criteria, now) = (criteria.clone(), criteria.now);
                let mut all = Pieces::<Self, Bool>::new("TRUE");
                macro_rules! and {
                    ($condition:expr) => {{
                        all.text(" AND ");
                        all.push($condition);
                    }};
                }
                if let Some(own) = criteria.only_of {
                    and!(tickets::requester_id.eq(own));
                }
                // A single value is compared as such: the indexes go on in order behind it.
                macro_rules! any {
                    ($filter:expr, $column:expr) => {
                        match $filter.as_deref() {
                            Some([one]) => and!($column.eq(*one)),
                            Some(any) => and!($column.eq_any(any.to_vec())),
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
                        if let Some(Choice { any: ids, or_nothing, is_negated }) = $filter {
                            match (or_nothing, is_negated) {
                                (false, false) => and!($column.eq_any(ids)),
                                (true, false) if ids.is_empty() => and!($column.is_null()),
                                (true, false) => and!($column.is_null().or($column.eq_any(ids).assume_not_null())),
                                (false, true) => and!($column.is_null().or($column.ne_all(ids).assume_not_null())),
                                (true, true) if ids.is_empty() => and!($column.is_not_null()),
                                (true, true) => and!($column.ne_all(ids)),
                            }
                        }
                    };
                }
                any_or_none!(criteria.team, tickets::team_id);
                any_or_none!(criteria.assignee, tickets::assignee_id);
                any_or_none!(criteria.requester, tickets::requester_id);
                any_or_none!(criteria.policy, ticket_clocks::policy_id);
                if let Some(Choice { any, is_negated, .. }) = criteria.tag {
                    let own = ticket_tags::table.filter(ticket_tags::ticket_number.eq(tickets::number));
                    let has_any = exists(own.filter(ticket_tags::tag.eq_any(any)));
                    if is_negated { and!(not(has_any)) } else { and!(has_any) }
                }
                if let Some(id) = criteria.external_id {
                    and!(tickets::external_id.eq(id));
                }
                macro_rules! between {
                    ($column:expr, $after:expr, $before:expr) => {
                        if let Some(at) = $after {
                            and!($column.gt(at));
                        }
                        if let Some(at) = $before {
                            and!($column.lt(at));
                        }
                    };
                }
                between!(tickets::created_at, criteria.created_after, criteria.created_before);
                between!(tickets::updated_at, criteria.updated_after, criteria.updated_before);
                between!(tickets::activity_at, criteria.activity_after, criteria.activity_before);
                between!(tickets::reported_at, criteria.reported_after, criteria.reported_before);
                // Not by their indexes, which shortcuts go by: PostgreSQL believes any window to be narrow, and would
                // sort it.
                let resolved_at = || raw::<Nullable<Moment>>("coalesce(tickets.resolved_at, tickets.resolved_at)");
                let closed_at = || raw::<Nullable<Moment>>("coalesce(tickets.closed_at, tickets.closed_at)");
                between!(resolved_at(), criteria.resolved_after, criteria.resolved_before);
                between!(closed_at(), criteria.closed_after, criteria.closed_before);
                if let Some(hits) = criteria.q {
                    and!(hits.condition());
                }
                match criteria.sla {
                    Some(SlaFilter::Breached) => and!(ticket_clocks::breach_at.le(now)),
                    Some(SlaFilter::DueWithin(s)) => {
                        let until = breached_after(now.plus_s(s));
                        macro_rules! due {
                            ($breach_at:expr) => {
                                $breach_at.gt(now).and($breach_at.le(until))
                            };
                        }
                        and!(
                            due!(ticket_clocks::response_breach_at)
                                .or(due!(ticket_clocks::first_reply_breach_at))
                                .or(due!(ticket_clocks::service_breach_at))
                        );
                        // Of a closed ticket nothing can be done about it any more.
                        and!(tickets::status.ne(Status::Closed));
                    }
                    None => {}
                }
                all
            }
        }
    };
}
meets!(Sqlite);
meets!(Pg);

/// When a clock is breached that is due at `due_at`: the microsecond after.
pub(crate) fn breached_after(due_at: Instant) -> Instant {
    Instant::from_micros(due_at.micros() + 1)
}
