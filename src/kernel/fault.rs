//! Reading bodies and queries so that every bad field is reported at once, each with its place.

use std::ops::ControlFlow;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef};

use super::problem::FieldError;

/// The faults found so far while a body or a query is read.
#[derive(Debug, Default)]
pub struct Faults(pub Vec<FieldError>);

impl Faults {
    /// A single fault at `location`.
    pub fn at(location: ValuePointerRef<'_>, code: &'static str, detail: impl Into<String>) -> Self {
        Self(vec![FieldError::new(pointer(location), code, detail)])
    }
}

impl MergeWithError<Faults> for Faults {
    fn merge(all: Option<Self>, other: Faults, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.0.extend(other.0);
        ControlFlow::Continue(all)
    }
}

impl DeserializeError for Faults {
    fn error<V: IntoValue>(
        all: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let fault = match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                let wanted = accepted.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(" or ");
                let detail = format!("must be {wanted}, not {}", kind_name(actual.kind()));
                Self::at(location, "wrong_type", detail)
            }
            ErrorKind::MissingField { field } => Self::at(location.push_key(field), "required", "is required"),
            ErrorKind::UnknownKey { key, accepted } => {
                let detail = format!("is not known here; known are: {}", accepted.join(", "));
                Self::at(location.push_key(key), "unknown_field", detail)
            }
            ErrorKind::UnknownValue { accepted, .. } => {
                Self::at(location, "invalid", format!("must be one of: {}", accepted.join(", ")))
            }
            ErrorKind::BadSequenceLen { expected, .. } => {
                Self::at(location, "invalid", format!("must have {expected} items"))
            }
            ErrorKind::Unexpected { msg } => Self::at(location, "invalid", msg),
        };
        Self::merge(all, fault, location)
    }
}

/// The JSON pointer (RFC 6901) of a place.
pub fn pointer(location: ValuePointerRef<'_>) -> String {
    match location {
        ValuePointerRef::Origin => String::new(),
        ValuePointerRef::Key { key, prev } => {
            format!("{}/{}", pointer(*prev), key.replace('~', "~0").replace('/', "~1"))
        }
        ValuePointerRef::Index { index, prev } => format!("{}/{index}", pointer(*prev)),
    }
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "a boolean",
        ValueKind::Integer => "an integer",
        ValueKind::NegativeInteger => "a negative integer",
        ValueKind::Float => "a fractional number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "an array",
        ValueKind::Map => "an object",
    }
}

/// The string in `value`.
///
/// # Errors
/// The fault that it is none.
pub fn string<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<String, Faults> {
    match value {
        Value::String(text) => Ok(text),
        other => {
            let kind = ErrorKind::IncorrectValueKind::<V> { actual: other, accepted: &[ValueKind::String] };
            Err(deserr::take_cf_content(Faults::error(None, kind, location)))
        }
    }
}

/// Lets a type that is written as a string be read by its `FromStr`.
macro_rules! deserr_from_str {
    ($name:ty) => {
        impl deserr::Deserr<$crate::kernel::fault::Faults> for $name {
            fn deserialize_from_value<V: deserr::IntoValue>(
                value: deserr::Value<V>,
                location: deserr::ValuePointerRef<'_>,
            ) -> Result<Self, $crate::kernel::fault::Faults> {
                $crate::kernel::fault::string(value, location)?
                    .parse()
                    .map_err(|detail: &'static str| $crate::kernel::fault::Faults::at(location, "invalid", detail))
            }
        }
    };
}
pub(crate) use deserr_from_str;
