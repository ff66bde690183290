//! Reading bodies and queries so that every bad field is reported at once, each with its place.

use std::ops::ControlFlow;
use std::str::FromStr;

use deserr::{DeserializeError, ErrorKind, IntoValue, MergeWithError, Value, ValueKind, ValuePointerRef};

use super::field_error::FieldError;

/// How many faults are told, each with its place; of more it is told how many there are.
pub const MOST_TOLD: usize = 50;

/// The faults found so far while a body or a query is read: however many there are, no more than [`MOST_TOLD`] are
/// kept.
#[derive(Debug, Default)]
pub struct Faults {
    told: Vec<FieldError>,
    more: usize,
}

impl Faults {
    /// A single fault at `location`.
    pub fn at(location: ValuePointerRef<'_>, code: &'static str, detail: impl Into<String>) -> Self {
        Self::from(vec![at(location, code, detail)])
    }

    /// A single fault of the value at `location`.
    pub fn of_value(location: ValuePointerRef<'_>, fault: FieldError) -> Self {
        Self::from(vec![fault.at(pointer(location))])
    }

    /// Each with a number or a word of its `detail`.
    #[must_use]
    pub fn with(mut self, param: &str, value: impl Into<serde_json::Value>) -> Self {
        let value = value.into();
        self.told = self.told.into_iter().map(|fault| fault.with(param, value.clone())).collect();
        self
    }

    /// Adds one, which is only made if it will be told.
    pub fn add(&mut self, fault: impl FnOnce() -> FieldError) {
        if self.told.len() < MOST_TOLD {
            self.told.push(fault().short());
        } else {
            self.more += 1;
        }
    }

    /// Adds all of `others`.
    pub fn append(&mut self, others: Self) {
        for fault in others.told {
            self.add(|| fault);
        }
        self.more += others.more;
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Those that are told.
    pub fn told(&self) -> &[FieldError] {
        &self.told
    }

    /// How many there are besides.
    pub fn more(&self) -> usize {
        self.more
    }

    /// Without those at places where `others` are told.
    #[must_use]
    pub fn elsewhere_than(mut self, others: &Self) -> Self {
        self.told.retain(|fault| !others.told.iter().any(|other| other.pointer == fault.pointer));
        self
    }

    /// The same with other places.
    #[must_use]
    pub fn placed(mut self, place: impl Fn(&str) -> String) -> Self {
        for fault in &mut self.told {
            fault.pointer = place(&fault.pointer);
        }
        self
    }

    /// In the order of their places.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.told.sort_by(|a, b| a.pointer.cmp(&b.pointer));
        self
    }
}

impl From<Vec<FieldError>> for Faults {
    fn from(faults: Vec<FieldError>) -> Self {
        let mut all = Self::default();
        for fault in faults {
            all.add(|| fault);
        }
        all
    }
}

impl MergeWithError<Faults> for Faults {
    fn merge(all: Option<Self>, other: Faults, _: ValuePointerRef<'_>) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.append(other);
        ControlFlow::Continue(all)
    }
}

fn at(location: ValuePointerRef<'_>, code: &'static str, detail: impl Into<String>) -> FieldError {
    FieldError::new(pointer(location), code, detail)
}

impl DeserializeError for Faults {
    fn error<V: IntoValue>(
        all: Option<Self>,
        error: ErrorKind<'_, V>,
        location: ValuePointerRef<'_>,
    ) -> ControlFlow<Self, Self> {
        let mut all = all.unwrap_or_default();
        all.add(|| match error {
            ErrorKind::IncorrectValueKind { actual, accepted } => {
                let wanted = accepted.iter().map(|kind| kind_name(*kind)).collect::<Vec<_>>().join(" or ");
                let detail = format!("must be {wanted}, not {}", kind_name(actual.kind()));
                let expected: Vec<_> = accepted.iter().map(|kind| kind_word(*kind)).collect();
                at(location, "wrong_type", detail).with("expected", expected).with("actual", kind_word(actual.kind()))
            }
            ErrorKind::MissingField { field } => at(location.push_key(field), "required", "is required"),
            ErrorKind::UnknownKey { key, accepted } => {
                let detail = format!("is not known here; known are: {}", accepted.join(", "));
                at(location.push_key(key), "unknown_field", detail).with("known", accepted)
            }
            ErrorKind::UnknownValue { accepted, .. } => {
                at(location, "invalid", format!("must be one of: {}", accepted.join(", "))).with("values", accepted)
            }
            ErrorKind::BadSequenceLen { expected, .. } => {
                at(location, "invalid", format!("must have {expected} items"))
            }
            ErrorKind::Unexpected { msg } => at(location, "invalid", msg),
        });
        ControlFlow::Continue(all)
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

/// The word of JSON Schema for it.
fn kind_word(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "boolean",
        ValueKind::Integer | ValueKind::NegativeInteger => "integer",
        ValueKind::Float => "number",
        ValueKind::String => "string",
        ValueKind::Sequence => "array",
        ValueKind::Map => "object",
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

/// The members of the object in `value`. To be read by oneself: deserr leaves out of a map what is wrong in it.
///
/// # Errors
/// The fault that it is none.
pub fn members<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<V::Map, Faults> {
    match value {
        Value::Map(members) => Ok(members),
        other => {
            let kind = ErrorKind::IncorrectValueKind::<V> { actual: other, accepted: &[ValueKind::Map] };
            Err(deserr::take_cf_content(Faults::error(None, kind, location)))
        }
    }
}

/// What `text`, which stands at `location`, says.
///
/// # Errors
/// What is wrong with it.
pub fn parsed<T: FromStr<Err: Into<FieldError>>>(text: &str, location: ValuePointerRef<'_>) -> Result<T, Faults> {
    text.parse().map_err(|fault: T::Err| Faults::of_value(location, fault.into()))
}

/// Lets a type that is written as a string be read by its `FromStr`.
macro_rules! deserr_from_str {
    ($name:ty) => {
        impl deserr::Deserr<$crate::kernel::fault::Faults> for $name {
            fn deserialize_from_value<V: deserr::IntoValue>(
                value: deserr::Value<V>,
                location: deserr::ValuePointerRef<'_>,
            ) -> Result<Self, $crate::kernel::fault::Faults> {
                $crate::kernel::fault::parsed(&$crate::kernel::fault::string(value, location)?, location)
            }
        }
    };
}
pub(crate) use deserr_from_str;
