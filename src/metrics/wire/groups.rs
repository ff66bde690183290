//! Groups as clients see them, and the rows of tables that are about groups.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::audit::wire::Named;
use crate::http::TableWriter;
use crate::kernel::{AnyId, Channel, Priority, Problem, TicketType};
use crate::tally::domain::facts::{AxisKey, GroupBy};

/// Whatever has an id and a name.
pub type NamedThing = Named<AnyId>;

/// Which group: one member for each thing that is grouped by, null for what has none of it. A team that was removed has
/// its id for a name.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = GroupKey)]
pub struct KeyBody {
    /// The team.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<Option<NamedThing>>,
    /// The priority.
    #[schema(value_type = Priority, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    priority: Option<String>,
    /// The type.
    #[schema(value_type = TicketType, required = false)]
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<String>,
    /// The channel.
    #[schema(value_type = Channel, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// The assignee.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    assignee: Option<Option<NamedThing>>,
    /// The tag.
    #[schema(value_type = Option<String>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<Option<String>>,
    /// The SLA policy.
    #[schema(value_type = Option<NamedThing>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Option<NamedThing>>,
    /// Who worked.
    #[schema(value_type = NamedThing, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    worker: Option<NamedThing>,
}

impl KeyBody {
    /// The group of these keys, each with the name of what its id stands for. What was removed has its id for a name.
    pub fn of(by: &[GroupBy], keys: Vec<(AxisKey, Option<String>)>) -> Self {
        let mut body = Self::default();
        for (by, (key, name)) in by.iter().zip(keys) {
            let (thing, word) = match key {
                AxisKey::Id(id) => (Some(Named { id, name: name.unwrap_or_else(|| id.to_string()) }), None),
                AxisKey::Word(word) => (None, Some(word)),
                AxisKey::None => (None, None),
            };
            match by {
                GroupBy::Team => body.team = Some(thing),
                GroupBy::Priority => body.priority = word,
                GroupBy::Type => body.kind = word,
                GroupBy::Channel => body.channel = word,
                GroupBy::Assignee => body.assignee = Some(thing),
                GroupBy::Tag => body.tag = Some(word),
                GroupBy::Policy => body.policy = Some(thing),
                GroupBy::Worker => body.worker = thing,
            }
        }
        body
    }
}

/// By what it is grouped, as it is answered.
pub fn by(groups: &[GroupBy]) -> Option<Vec<GroupBy>> {
    (!groups.is_empty()).then(|| groups.to_vec())
}

/// A row of a table: a group, and what there is to say about it.
#[derive(Debug, Serialize)]
pub struct TableRow<K, T> {
    /// Which group.
    pub key: K,
    /// The other columns.
    #[serde(flatten)]
    pub about: T,
}

/// The key of no group, which names the columns of keys.
pub fn no_key(by: Option<&Vec<GroupBy>>) -> BTreeMap<&'static str, ()> {
    by.into_iter().flatten().map(|by| (by.as_str(), ())).collect()
}

/// Adds each group to `table`, or the total if nothing was grouped.
///
/// # Errors
/// As those of [`TableWriter::add`].
pub fn add_groups<'a, T: Serialize>(
    table: &mut TableWriter,
    by: Option<&Vec<GroupBy>>,
    total: T,
    groups: Option<impl Iterator<Item = (&'a KeyBody, T)>>,
) -> Result<(), Problem> {
    let total = TableRow { key: no_key(by), about: total };
    let Some(mut groups) = groups else { return table.add(&total) };
    table.add_columns(&total)?;
    groups.try_for_each(|(key, about)| table.add(&TableRow { key, about }))
}

/// The group of a team, in examples.
pub fn example_team() -> KeyBody {
    let id = AnyId(Uuid::from_u128(0x019a_2f4e_7c1b_7d3e_8f00_0000_0000_000c));
    KeyBody::of(&[GroupBy::Team], vec![(AxisKey::Id(id), Some("Facilities".to_owned()))])
}
