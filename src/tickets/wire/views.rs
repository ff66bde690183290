//! Saved views as clients write and see them.

use std::collections::BTreeMap;

use deserr::{Deserr, IntoValue, Map, Value, ValuePointerRef};
use serde::Serialize;
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::{SortOrder, TicketFilter};
use crate::audit::wire::{Named, NamedPrincipal};
use crate::auth::domain::Principal;
use crate::auth::policy::ReadTickets;
use crate::http::{ListItem, Resource};
use crate::kernel::fault::{self, Faults};
use crate::kernel::text::Line;
use crate::kernel::{Instant, Patch, Set, TeamId, ViewId};
use crate::tickets::domain::view::{View, ViewRow};

/// How many bytes the parameters of a view may have, all in all.
pub const LARGEST_FILTER_B: usize = 8 << 10;

/// Parameters of the list of tickets, each with its value as in a query.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FilterWords(pub BTreeMap<String, String>);

impl FilterWords {
    /// What they mean.
    ///
    /// # Errors
    /// What is wrong with them, each at its name.
    pub fn filter(&self) -> Result<TicketFilter, Faults> {
        let fields = self.0.iter().map(|(name, value)| (name.clone(), Json::String(value.clone()))).collect();
        deserr::deserialize(Json::Object(fields))
    }

    /// The members of an object, all of which must be strings.
    pub(super) fn read<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let (mut words, mut faults) = (BTreeMap::new(), Faults::default());
        for (name, value) in fault::members(value, location)?.into_iter() {
            match fault::string(value.into_value(), location.push_key(&name)) {
                Ok(text) => drop(words.insert(name, text)),
                Err(more) => faults.append(more),
            }
        }
        if faults.is_empty() { Ok(Self(words)) } else { Err(faults.sorted()) }
    }

    /// The same with those of `others` that are not among them.
    #[must_use]
    pub fn over(self, others: BTreeMap<String, String>) -> Self {
        let mut all = others;
        all.extend(self.0);
        Self(all)
    }

    /// Passes if they mean something.
    pub(super) fn checked(self, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let place = fault::pointer(location);
        self.filter().map_err(|faults| faults.placed(|inner| format!("{place}{inner}")).sorted())?;
        Ok(self)
    }
}

impl Deserr<Faults> for FilterWords {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let words = Self::read(value, location)?;
        if words.0.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() > LARGEST_FILTER_B {
            let fault = Faults::at(location, "too_long", format!("must have at most {LARGEST_FILTER_B} bytes"));
            return Err(fault.with("max", LARGEST_FILTER_B).with("unit", "bytes"));
        }
        words.checked(location)
    }
}

/// A view to be saved.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({
    "name": "My unsolved", "filter": { "assignee_id": "me", "status": "unsolved" }, "sort": "-priority,due_at", "team_id": null,
}))]
pub struct NewView {
    /// What it is called.
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    pub name: Line<100>,
    /// The filters of the list of tickets, each with its value as in a query: at most 8 KiB. `me` and `mine` mean
    /// whoever looks.
    #[schema(value_type = BTreeMap<String, String>)]
    pub filter: FilterWords,
    /// The order, as in the list of tickets; newest first unless said.
    #[deserr(default)]
    #[schema(value_type = Option<SortOrder>, nullable = false)]
    pub sort: SortOrder,
    /// The team that it is shared with: one that the caller is in. Null for nobody. Not for requesters.
    #[deserr(default)]
    pub team_id: Option<TeamId>,
}

/// A JSON merge patch (RFC 7396) of a view: what is not mentioned stays. `filter` is replaced as a whole.
#[derive(Debug, Clone, Deserr, ToSchema)]
#[deserr(error = Faults, deny_unknown_fields)]
#[schema(example = json!({ "filter": { "status": "new" } }))]
pub struct ViewPatch {
    /// What it is called.
    #[deserr(default)]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100, nullable = false)]
    pub name: Set<Line<100>>,
    /// The filters of the list of tickets, all of them, each with its value as in a query.
    #[deserr(default)]
    #[schema(value_type = Option<BTreeMap<String, String>>, nullable = false)]
    pub filter: Set<FilterWords>,
    /// The order, as in the list of tickets.
    #[deserr(default)]
    #[schema(value_type = Option<SortOrder>, nullable = false)]
    pub sort: Set<SortOrder>,
    /// The team that it is shared with; null for nobody. Not for requesters.
    #[deserr(default)]
    #[schema(value_type = Option<TeamId>)]
    pub team_id: Patch<TeamId>,
}

/// A list of tickets under a name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = View, example = json!({
    "id": "019a2f4e-7c1b-7d3e-8f00-000000000010",
    "name": "My unsolved",
    "filter": { "assignee_id": "me", "status": "unsolved" },
    "sort": "-priority,due_at",
    "team_id": null,
    "owner": { "id": "019a2f4e-7c1b-7d3e-8f00-00000000000b", "name": "Grace Hopper" },
    "created_at": "2026-03-02T09:12:00.000000Z",
    "updated_at": "2026-03-02T09:12:00.000000Z",
    "version": 1,
}))]
pub struct ViewBody {
    /// The id, for `view_id` of the list of tickets.
    pub id: ViewId,
    /// What it is called.
    pub name: String,
    /// The filters of the list of tickets, each with its value as in a query.
    pub filter: BTreeMap<String, String>,
    /// The order.
    pub sort: String,
    /// The team that it is shared with.
    #[schema(required)]
    pub team_id: Option<TeamId>,
    /// Whose it is.
    pub owner: NamedPrincipal,
    /// When it was made.
    pub created_at: Instant,
    /// When it was last changed.
    pub updated_at: Instant,
    /// Grows by one with each change; the `ETag`.
    #[schema(minimum = 1)]
    pub version: i64,
}

impl From<ViewRow> for ViewBody {
    fn from(ViewRow { view, owner }: ViewRow) -> Self {
        let View { id, owner_id, team_id, name, filter, sort, created_at, updated_at, version } = view;
        Self {
            id,
            name,
            filter,
            sort,
            team_id,
            owner: Named { id: owner_id, name: owner },
            created_at,
            updated_at,
            version,
        }
    }
}

impl Resource for ViewBody {
    type Reader = Principal;

    fn version(&self) -> i64 {
        self.version
    }

    fn is_open_to(reader: &Principal) -> bool {
        reader.may::<ReadTickets>()
    }
}

impl ListItem for ViewBody {}
