//! The three states of a field in a JSON merge patch (RFC 7396).

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fault::Faults;

/// A patched field: not mentioned, set to null, or set to a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Patch<T> {
    /// Not mentioned: stays as it is.
    #[default]
    Absent,
    /// `null`: is emptied.
    Null,
    /// Is replaced.
    Value(T),
}

impl<T> Patch<T> {
    /// What the field is after the patch, where null empties it.
    pub fn or(self, old: Option<T>) -> Option<T> {
        match self {
            Patch::Absent => old,
            Patch::Null => None,
            Patch::Value(new) => Some(new),
        }
    }

    /// The same with what `to` makes of the value.
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Patch::Absent => Patch::Absent,
            Patch::Null => Patch::Null,
            Patch::Value(value) => Patch::Value(to(value)),
        }
    }

    /// What the field is to be, if it is not to be emptied.
    pub fn value(&self) -> Option<&T> {
        match self {
            Patch::Absent | Patch::Null => None,
            Patch::Value(value) => Some(value),
        }
    }

    /// Whether the field is mentioned at all.
    pub fn is_present(&self) -> bool {
        !matches!(self, Patch::Absent)
    }
}

impl<T: Deserr<Faults>> Deserr<Faults> for Patch<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match value {
            Value::Null => Ok(Patch::Null),
            value => T::deserialize_from_value(value, location).map(Patch::Value),
        }
    }
}

/// A patched field that cannot be emptied: not mentioned, or set to a value; null is a wrong type.
#[derive(Debug, Clone, PartialEq)]
pub struct Set<T>(pub Option<T>);

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T: Deserr<Faults>> Deserr<Faults> for Set<T> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        T::deserialize_from_value(value, location).map(|value| Self(Some(value)))
    }
}
