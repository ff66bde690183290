//! What is asked for, and which facts are meant by it: by what their ticket was when they happened, and by what it is
//! now. Pure.

use crate::metrics::domain::window::Window;
use crate::tally::domain::facts::{Axis, GroupBy, TicketGroups};
use crate::tickets::store::{Choice, TicketCriteria};

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which tickets.
    pub criteria: TicketCriteria,
    /// When it happened.
    pub window: Window,
    /// By what it is grouped.
    pub groups: Vec<GroupBy>,
}

fn any<T: PartialEq>(any: Option<&Vec<T>>, value: &T) -> bool {
    any.is_none_or(|any| any.contains(value))
}

fn texts<T: ToString>(words: &[T]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// As they are stored; of none, it is nothing.
fn texts_or_none<T: ToString>(choice: &Choice<T>) -> Vec<String> {
    texts(&choice.any).into_iter().chain(choice.or_nothing.then(String::new)).collect()
}

/// An axis, and some keys on it, or all.
pub type AxisKeys = (Axis, Option<Vec<String>>);

/// Those of these criteria that ask of tickets as they are now; all others ask of them as they were when something
/// happened.
pub fn of_now(criteria: &TicketCriteria) -> TicketCriteria {
    let (priority, kind, channel, team, assignee, tag) = (None, None, None, None, None, None);
    TicketCriteria { priority, kind, channel, team, assignee, tag, ..criteria.clone() }
}

/// Whether something counts that happened to a ticket in these groups.
pub fn passes(criteria: &TicketCriteria, groups: &TicketGroups) -> bool {
    any(criteria.priority.as_ref(), &groups.priority)
        && any(criteria.kind.as_ref(), &groups.kind)
        && any(criteria.channel.as_ref(), &groups.channel)
        && criteria.team.as_ref().is_none_or(|choice| choice.is_met_by(groups.team.as_ref()))
        && criteria.assignee.as_ref().is_none_or(|choice| choice.is_met_by(groups.assignee.as_ref()))
        && criteria.tag.as_ref().is_none_or(|choice| choice.is_met_by_any(&groups.tags))
}

/// The one axis by which criteria let pass what happened, and the keys on it that they let pass, of which no ticket has
/// two; that of all tickets if they let all pass; nothing if they are not so simple.
pub fn simple(criteria: &TicketCriteria) -> Option<AxisKeys> {
    let TicketCriteria { team, assignee, tag, .. } = criteria;
    let negates = [
        team.as_ref().is_some_and(|choice| choice.is_negated),
        assignee.as_ref().is_some_and(|choice| choice.is_negated),
        tag.as_ref().is_some_and(|choice| choice.is_negated),
    ];
    if negates.contains(&true) {
        return None;
    }
    let given = [
        criteria.priority.as_ref().map(|any| (GroupBy::Priority, texts(any))),
        criteria.kind.as_ref().map(|any| (GroupBy::Type, texts(any))),
        criteria.channel.as_ref().map(|any| (GroupBy::Channel, texts(any))),
        team.as_ref().map(|choice| (GroupBy::Team, texts_or_none(choice))),
        assignee.as_ref().map(|choice| (GroupBy::Assignee, texts_or_none(choice))),
        tag.as_ref().map(|choice| (GroupBy::Tag, choice.any.clone())),
    ];
    let mut given = given.into_iter().flatten();
    let Some((axis, mut keys)) = given.next() else { return Some((None, None)) };
    keys.sort_unstable();
    keys.dedup();
    let is_simple = given.next().is_none() && (axis != GroupBy::Tag || keys.len() == 1);
    is_simple.then_some((Some(axis), Some(keys)))
}
