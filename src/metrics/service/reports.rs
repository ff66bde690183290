//! Reports about tickets: one function each, run on one snapshot.

use std::collections::BTreeMap;

use crate::db::Conn;
use crate::kernel::{Channel, Instant, Priority, Problem, TicketType};
use crate::metrics::domain::figures::{Figures, GroupBy, Key, MOST_GROUPS, MOST_POINTS, Sheet, Steps};
use crate::metrics::store::facts::{self, Ask};

/// A group with its name, if it has an id.
#[derive(Debug)]
pub struct Group<T> {
    /// Which.
    pub key: Key,
    /// What its id stands for.
    pub name: Option<String>,
    /// What there is to say about it.
    pub about: T,
}

/// The groups of a report, in their order.
#[derive(Debug)]
pub struct Groups<T> {
    /// The groups.
    pub items: Vec<Group<T>>,
    /// Whether there are more than an answer holds, and only the largest are here.
    pub truncated: bool,
}

/// The figures of a window: of all tickets that are meant, and of their groups.
///
/// # Errors
/// When the database is away.
pub async fn summary(conn: &mut Conn, ask: &Ask) -> Result<(Figures, Option<Groups<Figures>>), Problem> {
    let mut sheet = Sheet::new(vec![ask.window.from, ask.window.to]);
    facts::gather(conn, ask, &mut sheet).await?;
    let truncated = sheet.keep_largest(MOST_GROUPS);
    // There is one step.
    let only = |steps: Steps| steps.into_values().next().unwrap_or_default();
    let groups = sheet.groups.into_iter().map(|(key, steps)| (key, only(steps))).collect();
    Ok((only(sheet.total), arrange(conn, ask.group, groups, truncated).await?))
}

/// The figures of each step between `edges`: of all tickets that are meant, or of their groups.
///
/// # Errors
/// When the database is away.
pub async fn timeseries(conn: &mut Conn, ask: &Ask, edges: &[Instant]) -> Result<Groups<Steps>, Problem> {
    let mut sheet = Sheet::new(edges.to_vec());
    facts::gather(conn, ask, &mut sheet).await?;
    let steps = edges.len().saturating_sub(1).max(1);
    let truncated = sheet.keep_largest(MOST_GROUPS.min(MOST_POINTS / steps));
    let all = Group { key: Key::None, name: None, about: sheet.total };
    let groups = arrange(conn, ask.group, sheet.groups, truncated).await?;
    Ok(groups.unwrap_or(Groups { items: vec![all], truncated: false }))
}

/// Groups in their order, with their names: by name, the words of a vocabulary in its order and all of them, and last the
/// tickets without.
pub(super) async fn arrange<T: Default>(
    conn: &mut Conn,
    group: Option<GroupBy>,
    mut groups: BTreeMap<Key, T>,
    truncated: bool,
) -> Result<Option<Groups<T>>, Problem> {
    let Some(group) = group else { return Ok(None) };
    let vocabulary: Vec<&str> = match group {
        GroupBy::Priority => Priority::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Type => TicketType::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Channel => Channel::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Team | GroupBy::Assignee | GroupBy::Tag | GroupBy::Policy => Vec::new(),
    };
    let mut items = Vec::new();
    for word in vocabulary {
        let key = Key::Word(word.to_owned());
        let about = groups.remove(&key).unwrap_or_default();
        items.push(Group { key, name: None, about });
    }
    let ids = groups.keys().filter_map(|key| if let Key::Id(id) = key { Some(*id) } else { None }).collect();
    let mut names: Vec<_> = facts::names(conn, group, ids).await?;
    names.sort_unstable_by(|(id, name), (other_id, other)| (name, id).cmp(&(other, other_id)));
    for (id, name) in names {
        if let Some(about) = groups.remove(&Key::Id(id)) {
            items.push(Group { key: Key::Id(id), name: Some(name), about });
        }
    }
    items.extend(groups.into_iter().map(|(key, about)| Group { key, name: None, about }));
    Ok(Some(Groups { items, truncated }))
}
