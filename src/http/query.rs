//! Query parameters that many lists have.

use std::str::FromStr;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use utoipa::IntoParams;

use super::{Cursor, Limit};
use crate::kernel::fault::{self, Faults};

/// One or more values, separated by commas: any of them will do.
#[derive(Debug, Clone, PartialEq)]
pub struct Csv<T>(pub Vec<T>);

impl<T: FromStr<Err = &'static str>> Deserr<Faults> for Csv<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let text = fault::string(value, location)?;
        let values: Result<Vec<T>, _> = text.split(',').map(str::parse).collect();
        match values {
            Ok(values) if values.len() <= 100 => Ok(Self(values)),
            Ok(_) => Err(Faults::at(location, "too_many", "must have at most 100 values")),
            Err(detail) => Err(Faults::at(location, "invalid", detail)),
        }
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromStr for Flag {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| "must be true or false")
    }
}

fault::deserr_from_str!(Flag);

/// The parameters of a list that has no filters.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items a page has.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>)]
    pub cursor: Option<Cursor>,
}
