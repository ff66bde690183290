//! Query parameters that many lists have.

use std::str::FromStr;

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde_json::{Map, Value as Json};
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::cursor::Cursor;
use crate::kernel::FieldError;
use crate::kernel::fault::{self, Faults};
use crate::kernel::rows::Limit;

/// Some of the parameters of a query: what several operations have in common, say.
pub trait QueryPart: Deserr<Faults> {
    /// The names of the parameters.
    fn names() -> &'static [String];
}

/// The names of the parameters of `T`, as the document has them.
pub fn names<T: IntoParams>() -> Vec<String> {
    T::into_params(|| None).into_iter().map(|parameter| parameter.name).collect()
}

/// Makes a type that derives `Deserr` and `IntoParams` a [`QueryPart`] of queries.
macro_rules! query_part {
    ($name:ty) => {
        impl $crate::http::query::QueryPart for $name {
            fn names() -> &'static [String] {
                static NAMES: std::sync::LazyLock<Vec<String>> =
                    std::sync::LazyLock::new($crate::http::query::names::<$name>);
                &NAMES
            }
        }
    };
}
pub(crate) use query_part;

/// Several [`QueryPart`]s that make up a whole query.
pub trait Parts: Sized {
    /// Reads them all; what is not known to any of them is a fault, and all faults are told at once.
    ///
    /// # Errors
    /// The faults, in the order of their places.
    fn read(fields: Map<String, Json>) -> Result<Self, Faults>;
}

macro_rules! parts {
    ($($part:ident),+) => {
        impl<$($part: QueryPart),+> Parts for ($($part,)+) {
            #[expect(non_snake_case, reason = "a value has the name of its type")]
            fn read(mut fields: Map<String, Json>) -> Result<Self, Faults> {
                let mut faults = Faults::default();
                $(
                    let own = $part::names().iter().filter_map(|name| fields.remove_entry(name)).collect();
                    let $part = match deserr::deserialize::<$part, _, Faults>(Json::Object(own)) {
                        Ok(part) => Some(part),
                        Err(more) => {
                            faults.append(more);
                            None
                        }
                    };
                )+
                let known: Vec<&str> = [$($part::names()),+].into_iter().flatten().map(String::as_str).collect();
                for name in fields.keys() {
                    let detail = || format!("is not known here; known are: {}", known.join(", "));
                    faults.add(|| FieldError::new(name, "unknown_field", detail()).with("known", known.clone()));
                }
                let faults = faults.placed(|place| place.trim_start_matches('/').to_owned()).sorted();
                match ($($part,)+) {
                    ($(Some($part),)+) if faults.is_empty() => Ok(($($part,)+)),
                    _ => Err(faults),
                }
            }
        }
    };
}
parts!(A, B);
parts!(A, B, C);
parts!(A, B, C, D);

/// How many values a parameter takes that takes several.
pub const MOST_VALUES: usize = 100;

/// One or more values, separated by commas: any of them will do. In the document it is an array with `style = Form,
/// explode = false`.
#[derive(Debug, Clone, PartialEq)]
pub struct Csv<T, const MOST: usize = MOST_VALUES>(pub Vec<T>);

impl<T: FromStr<Err: Into<FieldError>>, const MOST: usize> Deserr<Faults> for Csv<T, MOST> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let text = fault::string(value, location)?;
        if text.split(',').count() > MOST {
            return Err(Faults::at(location, "too_many", format!("must have at most {MOST} values")).with("max", MOST));
        }
        text.split(',').map(|value| fault::parsed(value, location)).collect::<Result<_, _>>().map(Self)
    }
}

/// One or more values, separated by commas: any of them will do, or, with a leading `!` at each, all others.
#[derive(Debug, Clone, PartialEq)]
pub struct Selection<T> {
    /// The values.
    pub values: Vec<T>,
    /// Whether all others are meant.
    pub is_negated: bool,
}

impl<T: PartialSchema> PartialSchema for Selection<T> {
    /// Several of what `T` takes, each with a leading `!` or without.
    fn schema() -> RefOr<Schema> {
        let mut one = T::schema();
        if let RefOr::T(Schema::Object(one)) = &mut one {
            if let Some(words) = &mut one.enum_values {
                let negated: Vec<_> =
                    words.iter().filter_map(|word| Some(format!("!{}", word.as_str()?).into())).collect();
                words.extend(negated);
            }
            one.pattern = one.pattern.take().map(|pattern| pattern.replacen("^(", "^!?(", 1));
        }
        ArrayBuilder::new().items(one).min_items(Some(1)).max_items(Some(MOST_VALUES)).into()
    }
}
impl<T: PartialSchema> ToSchema for Selection<T> {}

impl<T: FromStr<Err: Into<FieldError>>> Deserr<Faults> for Selection<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let text = fault::string(value, location)?;
        let negated = text.split(',').filter(|value| value.starts_with('!')).count();
        let is_negated = negated > 0;
        if is_negated && negated < text.split(',').count() {
            return Err(Faults::at(location, "invalid", "must have a leading ! at all of its values, or at none"));
        }
        let plain = text.split(',').map(|value| value.strip_prefix('!').unwrap_or(value)).collect::<Vec<_>>().join(",");
        let Csv::<T>(values) = Csv::deserialize_from_value(Value::<serde_json::Value>::String(plain), location)?;
        Ok(Self { values, is_negated })
    }
}

/// `true` or `false`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flag(pub bool);

impl FromStr for Flag {
    type Err = FieldError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = |_| FieldError::from("must be true or false").with("values", vec!["true", "false"]);
        text.parse().map(Self).map_err(fault)
    }
}

fault::deserr_from_str!(Flag);

/// The parameters of a list that has no filters.
#[derive(Debug, Clone, Deserr, IntoParams)]
#[deserr(error = Faults, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many items a page has at most; it ends sooner where it would have more than 1 MiB of JSON.
    #[deserr(default)]
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200, default = 50)]
    pub limit: Limit,
    /// The `next_cursor` of the page before.
    #[deserr(default)]
    #[param(value_type = Option<String>, min_length = 1, pattern = "^[A-Za-z0-9_-]+$")]
    pub cursor: Option<Cursor>,
}
