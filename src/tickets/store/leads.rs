//! Which ranges of indexes lead to the tickets that are meant.

use super::TicketCriteria;
use crate::kernel::{PrincipalId, TeamId};
use crate::tickets::domain::{Channel, Priority, Status, TicketType};
use crate::tickets::wire::{SlaFilter, Sort};

/// The most ranges that one list is merged from.
const RANGES: usize = 60;

/// By what a list is ordered, before the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// When it was created.
    Created,
    /// When it was changed last.
    Updated,
    /// How urgent it is.
    Priority,
    /// When something is due.
    Due,
}

impl Order {
    /// The order of a sort, and whether it goes down.
    pub fn of(sort: Sort) -> (Self, bool) {
        match sort {
            Sort::Created => (Self::Created, false),
            Sort::CreatedDesc => (Self::Created, true),
            Sort::Updated => (Self::Updated, false),
            Sort::UpdatedDesc => (Self::Updated, true),
            Sort::Priority => (Self::Priority, false),
            Sort::PriorityDesc => (Self::Priority, true),
            Sort::Due => (Self::Due, false),
            Sort::DueDesc => (Self::Due, true),
            // By relevance there is a list only of what was searched for.
            Sort::Relevance => (Self::Created, true),
        }
    }
}

/// What the tickets of one range of an index have in common.
#[derive(Debug, Clone, Default)]
pub struct Traits {
    pub status: Option<Status>,
    pub priority: Option<Priority>,
    pub kind: Option<TicketType>,
    pub channel: Option<Channel>,
    pub team: Option<Option<TeamId>>,
    pub assignee: Option<Option<PrincipalId>>,
    pub requester: Option<Option<PrincipalId>>,
    pub external_id: Option<String>,
}

/// Where to look for tickets.
#[derive(Debug, Clone)]
pub enum Lead {
    /// In a range of an index for each of these.
    Tickets(Vec<Traits>),
    /// Among those that have one of these tags, in the order of their creation.
    Tagged(Vec<String>),
    /// Among those whose clocks have an end, in the order of their creation: those that are breached.
    Breached,
    /// Among all, in the order of what is due.
    Due,
    /// Among these alone.
    Few(Vec<i64>),
}

impl Lead {
    /// How many times a ticket may be met: it has as many of the tags.
    pub fn times(&self) -> usize {
        match self {
            Lead::Tagged(tags) => tags.len(),
            _ => 1,
        }
    }
}

/// A way to all tickets that are meant.
#[derive(Debug, Clone)]
pub struct Way {
    pub lead: Lead,
    /// What is left to check of each ticket that is met.
    pub rest: TicketCriteria,
    /// About which part of all tickets are met: a guess, made without looking. A bad one costs time, never truth.
    share: f64,
}

impl Way {
    /// By looking at each of these.
    pub fn among(numbers: Vec<i64>, sieve: &TicketCriteria) -> Self {
        Self { lead: Lead::Few(numbers), rest: sieve.clone(), share: 0.0 }
    }
}

/// The way along the order of the list itself.
pub fn along(sieve: &TicketCriteria, order: Order) -> Way {
    let all = Way { lead: Lead::Tickets(vec![Traits::default()]), rest: sieve.clone(), share: 1.0 };
    let mut way = match order {
        Order::Created => ways(sieve).into_iter().min_by(|a, b| a.share.total_cmp(&b.share)).unwrap_or(all),
        Order::Due => Way { lead: Lead::Due, ..all },
        Order::Updated => by_any_status(sieve, &[Traits::default()]),
        Order::Priority => match &sieve.priority {
            None => by_any_status(sieve, &[Traits::default()]),
            Some(any) => {
                let ranks = any.iter().map(|priority| Traits { priority: Some(*priority), ..Traits::default() });
                let mut way = by_any_status(sieve, &ranks.collect::<Vec<_>>());
                way.rest.priority = None;
                way
            }
        },
    };
    match order {
        Order::Created => (way.rest.created_after, way.rest.created_before) = (None, None),
        Order::Updated => (way.rest.updated_after, way.rest.updated_before) = (None, None),
        Order::Priority | Order::Due => {}
    }
    way
}

/// Ways that may turn out to be short, the likeliest first; for a list in another order than theirs.
pub fn shortcuts(sieve: &TicketCriteria, order: Order) -> Vec<(Lead, Order)> {
    let mut ways = ways(sieve);
    ways.retain(|way| way.share <= 0.5);
    ways.sort_by(|a, b| a.share.total_cmp(&b.share));
    // The first of them is gone along anyway.
    let gone = usize::from(order == Order::Created && !ways.is_empty());
    let mut leads: Vec<_> = ways.into_iter().skip(gone).take(3).map(|way| (way.lead, Order::Created)).collect();
    if order != Order::Created && (sieve.created_after.is_some() || sieve.created_before.is_some()) {
        leads.push((Lead::Tickets(vec![Traits::default()]), Order::Created));
    }
    if order != Order::Updated && (sieve.updated_after.is_some() || sieve.updated_before.is_some()) {
        leads.push((by_any_status(sieve, &[Traits::default()]).lead, Order::Updated));
    }
    leads
}

/// All ways that lead in the order of creation and by something that is asked for.
fn ways(sieve: &TicketCriteria) -> Vec<Way> {
    let mut ways = Vec::new();
    // By each of these values, of which each is had by about this part of all tickets.
    macro_rules! way {
        ($filter:ident, $each:expr, $trait:ident, $values:expr) => {{
            let traits: Vec<_> = $values.map(|value| Traits { $trait: Some(value), ..Traits::default() }).collect();
            let share = $each * count(traits.len());
            let rest = TicketCriteria { $filter: None, ..sieve.clone() };
            Way { lead: Lead::Tickets(traits), rest, share }
        }};
    }
    // And by status, as the index goes on.
    macro_rules! way_by_status {
        ($filter:ident, $each:expr, $trait:ident, $values:expr) => {{
            let of = way!($filter, $each, $trait, $values);
            let Lead::Tickets(traits) = &of.lead else { unreachable!("it was made so") };
            let way = by_status(&of.rest, traits);
            Way { share: way.share * of.share, ..way }
        }};
    }
    if let Some(id) = &sieve.external_id {
        ways.push(way!(external_id, 1e-6, external_id, std::iter::once(id.clone())));
    }
    if let Some(own) = sieve.only_of {
        ways.push(way_by_status!(only_of, 1e-4, requester, std::iter::once(Some(own))));
    }
    if let Some((ids, nobody)) = &sieve.requester {
        ways.push(way_by_status!(requester, 1e-4, requester, choices(ids, *nobody)));
    }
    if let Some((ids, nobody)) = &sieve.assignee {
        let each = if *nobody { 0.05 } else { 2e-3 };
        ways.push(way_by_status!(assignee, each, assignee, choices(ids, *nobody)));
    }
    if let (Some((ids, false)), Some((people, true))) = (&sieve.team, &sieve.assignee)
        && people.is_empty()
    {
        // Both at once, by an index of its own; of a team or of nobody alone, most would be met in vain.
        let waits = |id: &TeamId| Traits { team: Some(Some(*id)), assignee: Some(None), ..Traits::default() };
        let rest = TicketCriteria { team: None, assignee: None, ..sieve.clone() };
        let way = by_status(&rest, &ids.iter().map(waits).collect::<Vec<_>>());
        ways.push(Way { share: way.share * 0.05 * 0.05 * count(ids.len()), ..way });
    }
    if let Some((ids, nobody)) = &sieve.team {
        ways.push(way_by_status!(team, 0.05, team, choices(ids, *nobody)));
    }
    if let Some(any) = &sieve.priority {
        ways.push(way_by_status!(priority, 0.2, priority, any.iter().copied()));
    }
    if let Some(any) = &sieve.channel {
        ways.push(way_by_status!(channel, 0.15, channel, any.iter().copied()));
    }
    if let Some(any) = &sieve.kind {
        ways.push(way_by_status!(kind, 0.3, kind, any.iter().copied()));
    }
    if sieve.status.is_some() {
        ways.push(by_status(sieve, &[Traits::default()]));
    }
    if let Some(tags) = &sieve.tag {
        let rest = TicketCriteria { tag: None, ..sieve.clone() };
        ways.push(Way { lead: Lead::Tagged(tags.clone()), rest, share: 0.01 * count(tags.len()) });
    }
    if sieve.sla == Some(SlaFilter::Breached) {
        ways.push(Way { lead: Lead::Breached, rest: TicketCriteria { sla: None, ..sieve.clone() }, share: 0.02 });
    }
    ways.retain(|way| !matches!(&way.lead, Lead::Tickets(traits) if traits.len() > RANGES));
    ways
}

/// A way by each of these traits and each status that is asked for, or every one.
fn by_status(sieve: &TicketCriteria, traits: &[Traits]) -> Way {
    let statuses = sieve.status.as_deref().unwrap_or(Status::ALL);
    let each =
        |of: &Traits| statuses.iter().map(|status| Traits { status: Some(*status), ..of.clone() }).collect::<Vec<_>>();
    let share = |status: &Status| match status {
        Status::New | Status::Open | Status::WaitingRequester | Status::WaitingThirdParty => 0.03,
        Status::Resolved => 0.08,
        Status::Closed => 0.8,
    };
    Way {
        lead: Lead::Tickets(traits.iter().flat_map(each).collect()),
        rest: TicketCriteria { status: None, ..sieve.clone() },
        share: statuses.iter().map(share).sum(),
    }
}

/// A way by each of these traits, and by status where one is asked for: where an index without it leads there as well.
fn by_any_status(sieve: &TicketCriteria, traits: &[Traits]) -> Way {
    match sieve.status {
        Some(_) => by_status(sieve, traits),
        None => Way { lead: Lead::Tickets(traits.to_vec()), rest: sieve.clone(), share: 1.0 },
    }
}

/// The ids, and nobody.
fn choices<Id: Copy>(ids: &[Id], nobody: bool) -> impl Iterator<Item = Option<Id>> {
    ids.iter().copied().map(Some).chain(nobody.then_some(None))
}

fn count(values: usize) -> f64 {
    u32::try_from(values).map_or(f64::INFINITY, f64::from)
}
