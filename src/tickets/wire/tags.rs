//! The tags that there are, as clients ask for them and see them.

use deserr::Deserr;
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::TagName;
use crate::http::{Cursor, ListItem};
use crate::kernel::fault::Faults;
use crate::kernel::rows::Limit;

/// Which tags a list has.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TagQuery {
    /// Only tags that begin with this, as it is written.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, example = "prin")]
    pub q: Option<TagName>,
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}

/// A tag that tickets have.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tag, example = json!({ "name": "printer" }))]
pub struct TagBody {
    /// The tag.
    pub name: String,
}

impl ListItem for TagBody {}
