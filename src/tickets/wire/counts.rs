//! How many tickets there are, as clients ask for it and see it.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};
use serde::Serialize;
use utoipa::ToSchema;

use super::views::FilterWords;
use crate::kernel::ViewId;
use crate::kernel::fault::{self, Faults};

/// Up to how many a count is exact.
pub const MOST_COUNTED: usize = 1_000;

/// How many counts are asked for at once.
pub const MOST_FILTERS: usize = 20;

/// How long the name of a count may be, in characters.
const LONGEST_NAME: usize = 64;

/// A list whose length is asked for: a view, filters, or filters beside those of a view.
#[derive(Debug)]
pub struct CountedList {
    /// The view.
    pub view_id: Option<ViewId>,
    /// The filters, which stand in place of those of the view.
    pub words: FilterWords,
}

impl CountedList {
    fn read<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let mut words = FilterWords::read(value, location)?;
        let view_id = words.0.remove("view_id");
        let view_id = view_id.map(|id| fault::parsed(&id, location.push_key("view_id"))).transpose()?;
        Ok(Self { view_id, words: words.checked(location)? })
    }
}

/// Lists by the names that the caller gives them.
#[derive(Debug)]
pub struct NamedFilters(pub BTreeMap<String, CountedList>);

impl Deserr<Faults> for NamedFilters {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let (mut filters, mut faults) = (BTreeMap::new(), Faults::default());
        for (name, filter) in fault::members(value, location)?.into_iter() {
            match CountedList::read(filter.into_value(), location.push_key(&name)) {
                Ok(filter) => drop(filters.insert(name, filter)),
                Err(more) => faults.append(more),
            }
        }
        if !faults.is_empty() {
            return Err(faults.sorted());
        }
        if filters.len() > MOST_FILTERS {
            let fault = Faults::at(location, "too_many", format!("must have at most {MOST_FILTERS} filters"));
            return Err(fault.with("max", MOST_FILTERS));
        }
        if filters.keys().any(|name| name.is_empty() || name.chars().count() > LONGEST_NAME) {
            let detail = format!("must have names of 1 to {LONGEST_NAME} characters");
            return Err(Faults::at(location, "invalid", detail).with("min", 1).with("max", LONGEST_NAME));
        }
        Ok(Self(filters))
    }
}

/// Of which lists the lengths are asked for.
#[derive(Debug, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "filters": {
    "mine": { "assignee_id": "me", "status": "unsolved" },
    "unassigned": { "team_id": "mine", "assignee_id": "none", "status": "new,open" },
} }))]
pub struct CountRequest {
    /// Up to 20 filters, each under a name of 1 to 64 characters that its count will have: an object of the parameters
    /// of the list of tickets, each with its value as in a query; `view_id` for those of a saved view, which stand back
    /// behind others that are named beside it.
    #[schema(value_type = BTreeMap<String, BTreeMap<String, String>>)]
    pub filters: NamedFilters,
}

/// How many tickets there are of each list.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = Counts, example = json!({ "counts": {
    "mine": { "count": 12, "exact": true }, "unassigned": { "count": 1000, "exact": false },
} }))]
pub struct CountsBody {
    /// By the names of the filters.
    counts: BTreeMap<String, CountBody>,
}

impl CountsBody {
    /// Adds the count of the filter called `name`.
    pub fn add(&mut self, name: &str, count: CountBody) {
        self.counts.insert(name.to_owned(), count);
    }
}

/// How many tickets there are.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Count)]
pub struct CountBody {
    /// So many, or so many at least.
    #[schema(minimum = 0, maximum = 1000)]
    count: usize,
    /// Whether there are no more.
    exact: bool,
}

impl From<(usize, bool)> for CountBody {
    fn from((count, exact): (usize, bool)) -> Self {
        Self { count, exact }
    }
}
