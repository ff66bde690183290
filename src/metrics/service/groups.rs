//! Groups in an answer: their order, and what they are called.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::db::Conn;
use crate::kernel::{Channel, Priority, Problem, TicketType};
use crate::metrics::domain::figures::{GroupBy, GroupKey, Key};
use crate::metrics::store::facts;

/// A group: its keys, each with what its id stands for, if it has one; none of them when nothing was asked to be grouped.
#[derive(Debug)]
pub struct Group<T> {
    /// Which.
    pub keys: Vec<(Key, Option<String>)>,
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

/// Groups in their order, with their names: by name, the words of a vocabulary in its order, and last the tickets without. By one thing, all
/// words of its vocabulary are there, those of which there is nothing with what `nothing` tells of them.
///
/// # Errors
/// When the database is away.
pub async fn arrange<T>(
    conn: &mut Conn,
    by: &[GroupBy],
    mut groups: BTreeMap<GroupKey, T>,
    truncated: bool,
    nothing: impl Fn(&GroupKey) -> T,
) -> Result<Option<Groups<T>>, Problem> {
    if by.is_empty() {
        return Ok(None);
    }
    if let [only] = by {
        for word in vocabulary(*only) {
            let group = vec![Key::Word(word.to_owned())];
            groups.entry(group).or_insert_with_key(&nothing);
        }
    }
    let mut names = Vec::new();
    for (place, by) in by.iter().enumerate() {
        let ids =
            groups.keys().filter_map(|group| if let Some(Key::Id(id)) = group.get(place) { Some(*id) } else { None });
        let ids: Vec<_> = ids.collect::<HashSet<_>>().into_iter().collect();
        names.push(facts::names(conn, *by, ids).await?.into_iter().collect::<HashMap<_, _>>());
    }
    let mut items: Vec<_> = groups
        .into_iter()
        .map(|(group, about)| {
            let keys: Vec<_> = group
                .into_iter()
                .zip(&names)
                .map(|(key, names)| {
                    let name =
                        if let Key::Id(id) = &key { Some(names.get(id).cloned().unwrap_or_default()) } else { None };
                    (key, name)
                })
                .collect();
            let order: Vec<_> = keys.iter().zip(by).map(|((key, name), by)| order(*by, key, name.as_deref())).collect();
            (order, Group { keys, about })
        })
        .collect();
    items.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Some(Groups { items: items.into_iter().map(|(_, group)| group).collect(), truncated }))
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

/// What a key comes by in the order of groups: those without come last, and before them those whose name nobody knows any more.
fn order(by: GroupBy, key: &Key, name: Option<&str>) -> (usize, String, Key) {
    let place = match key {
        Key::None => usize::MAX,
        Key::Word(word) => vocabulary(by).iter().position(|known| known == word).unwrap_or(0),
        Key::Id(_) => usize::from(name.is_none_or(str::is_empty)),
    };
    (place, name.unwrap_or_default().to_owned(), key.clone())
}
