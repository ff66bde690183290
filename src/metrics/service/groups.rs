//! Groups in an answer: their order, and what they are called.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::db::Conn;
use crate::kernel::{AnyId, Channel, Priority, Problem, TicketType};
use crate::metrics::domain::figures::GroupKey;
use crate::metrics::store::facts;
use crate::tally::domain::facts::{AxisKey, GroupBy};

/// A group: its keys, each with the name of what its id stands for, if that is still there; none of them when nothing
/// was asked to be grouped.
#[derive(Debug)]
pub struct Group<T> {
    /// Which.
    pub keys: Vec<(AxisKey, Option<String>)>,
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

/// Groups in their order, with their names: by name, the words of a vocabulary in its order, and last the tickets
/// without. By one thing, all words of its vocabulary are there.
pub async fn arrange<T: Default>(
    conn: &mut Conn,
    by: &[GroupBy],
    mut groups: BTreeMap<GroupKey, T>,
    truncated: bool,
) -> Result<Groups<T>, Problem> {
    if let [only] = by {
        for word in vocabulary(*only) {
            groups.entry(vec![AxisKey::Word(word.to_owned())]).or_default();
        }
    }
    let mut names: Vec<HashMap<AnyId, String>> = Vec::new();
    for (place, by) in by.iter().enumerate() {
        let id = |group: &GroupKey| if let Some(AxisKey::Id(id)) = group.get(place) { Some(*id) } else { None };
        let ids: HashSet<AnyId> = groups.keys().filter_map(id).collect();
        names.push(facts::names(conn, *by, ids.into_iter().collect()).await?.into_iter().collect());
    }
    let with_name = |(key, names): (AxisKey, &HashMap<AnyId, String>)| {
        let name = if let AxisKey::Id(id) = &key { names.get(id).cloned() } else { None };
        (key, name)
    };
    let mut items: Vec<_> = groups
        .into_iter()
        .map(|(group, about)| {
            let keys: Vec<_> = group.into_iter().zip(&names).map(with_name).collect();
            let order: Vec<_> = keys.iter().zip(by).map(|((key, name), by)| order(*by, key, name.as_deref())).collect();
            (order, Group { keys, about })
        })
        .collect();
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Groups { items: items.into_iter().map(|(_, group)| group).collect(), truncated })
}

/// The words of a closed vocabulary; none if there may be any.
pub fn vocabulary(by: GroupBy) -> Vec<&'static str> {
    match by {
        GroupBy::Priority => Priority::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Type => TicketType::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Channel => Channel::ALL.iter().map(|word| word.as_str()).collect(),
        GroupBy::Team | GroupBy::Assignee | GroupBy::Tag | GroupBy::Policy | GroupBy::Worker => Vec::new(),
    }
}

/// What a key comes by in the order of groups: those without come last, and before them those whose name nobody knows
/// any more.
fn order(by: GroupBy, key: &AxisKey, name: Option<&str>) -> (usize, String, AxisKey) {
    let place = match key {
        AxisKey::None => usize::MAX,
        AxisKey::Word(word) => vocabulary(by).iter().position(|known| known == word).unwrap_or(0),
        AxisKey::Id(_) => usize::from(name.is_none()),
    };
    (place, name.unwrap_or_default().to_owned(), key.clone())
}
