//! What is asked for, and which facts are meant by it: by what their ticket was when they happened, and by what it is now. Pure.

use crate::kernel::{Channel, PrincipalId, Priority, TeamId, TicketType};
use crate::metrics::domain::figures::GroupBy;
use crate::metrics::domain::window::Window;
use crate::tally::domain::facts::{Axis, TicketGroups};
use crate::tickets::store::TicketCriteria;

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

/// What tickets were when something happened to them.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupFilter {
    priority: Option<Vec<Priority>>,
    kind: Option<Vec<TicketType>>,
    channel: Option<Vec<Channel>>,
    team: Option<(Vec<TeamId>, bool)>,
    assignee: Option<(Vec<PrincipalId>, bool)>,
    tag: Option<Vec<String>>,
}

fn any<T: PartialEq>(any: Option<&Vec<T>>, value: &T) -> bool {
    any.is_none_or(|any| any.contains(value))
}

fn any_or_none<T: PartialEq>(any: Option<&(Vec<T>, bool)>, value: Option<&T>) -> bool {
    any.is_none_or(|(any, none)| value.map_or(*none, |value| any.contains(value)))
}

fn texts<T: ToString>(words: &[T]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The keys of some ids, and of none.
fn keys<T: Copy>((ids, none): &(Vec<T>, bool), text: impl Fn(T) -> String) -> Vec<String> {
    ids.iter().map(|id| text(*id)).chain(none.then(String::new)).collect()
}

impl GroupFilter {
    /// What criteria ask of tickets as they were, and what they ask of tickets as they are now.
    pub fn split(criteria: &TicketCriteria) -> (Self, TicketCriteria) {
        let mut now = criteria.clone();
        let then = Self {
            priority: now.priority.take(),
            kind: now.kind.take(),
            channel: now.channel.take(),
            team: now.team.take(),
            assignee: now.assignee.take(),
            tag: now.tag.take(),
        };
        (then, now)
    }

    /// Whether a ticket passes that was in these groups.
    pub fn passes(&self, groups: &TicketGroups) -> bool {
        any(self.priority.as_ref(), &groups.priority)
            && any(self.kind.as_ref(), &groups.kind)
            && any(self.channel.as_ref(), &groups.channel)
            && any_or_none(self.team.as_ref(), groups.team.as_ref())
            && any_or_none(self.assignee.as_ref(), groups.assignee.as_ref())
            && self.tag.as_ref().is_none_or(|any| any.iter().any(|tag| groups.tags.contains(tag)))
    }

    /// The one axis by which it lets pass, and the keys on it that it lets pass, of which no ticket has two; [`Axis::All`] if it lets all pass; nothing
    /// if it is not so simple.
    pub fn axis(&self) -> Option<(Axis, Option<Vec<String>>)> {
        let given = [
            self.priority.as_ref().map(|any| (Axis::Priority, texts(any))),
            self.kind.as_ref().map(|any| (Axis::Type, texts(any))),
            self.channel.as_ref().map(|any| (Axis::Channel, texts(any))),
            self.team.as_ref().map(|any| (Axis::Team, keys(any, |id| id.to_string()))),
            self.assignee.as_ref().map(|any| (Axis::Assignee, keys(any, |id| id.to_string()))),
            self.tag.as_ref().map(|any| (Axis::Tag, any.clone())),
        ];
        let mut given = given.into_iter().flatten();
        let Some((axis, mut keys)) = given.next() else { return Some((Axis::All, None)) };
        keys.sort_unstable();
        keys.dedup();
        let is_simple = given.next().is_none() && (axis != Axis::Tag || keys.len() == 1);
        is_simple.then_some((axis, Some(keys)))
    }
}
