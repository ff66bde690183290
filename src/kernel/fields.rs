//! Free fields: a JSON object that clients fill as they like.

use deserr::{Deserr, IntoValue, Value as Given, ValuePointerRef};
use serde_json::{Map, Number, Value};

use super::fault::Faults;
use super::sql::Json;

/// How large the fields of one thing may be, in bytes of JSON.
pub const LARGEST_B: usize = 16 * 1024;

/// How deep objects and arrays may lie in one another in them. A trail, which tells of them, lies some levels deeper,
/// and JSON is not read beyond 128.
pub const DEEPEST: usize = 64;

/// A JSON object in the one form that both databases give back: whole numbers are written as such.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a stored object.
    pub fn from_stored(value: Value) -> Self {
        match value {
            Value::Object(fields) => Self(fields),
            _ => Self::default(),
        }
    }

    /// The object.
    pub fn to_json(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// Merges `patch` in by RFC 7396: objects deeply, null removes.
    #[must_use]
    pub fn merged(mut self, patch: &Fields) -> Self {
        merge(&mut self.0, &patch.0);
        self
    }

    /// These fields without the members that are null, at any depth: what a merge patch on nothing makes of them.
    #[must_use]
    pub fn without_nulls(&self) -> Self {
        Self::default().merged(self)
    }

    /// Whether they are within [`LARGEST_B`].
    pub fn fit(&self) -> bool {
        serde_json::to_string(&self.0).is_ok_and(|text| text.len() <= LARGEST_B)
    }

    /// Whether they are within [`DEEPEST`].
    fn are_flat(&self) -> bool {
        self.0.values().all(|value| is_within(value, DEEPEST - 1))
    }
}

impl From<Fields> for Json {
    fn from(fields: Fields) -> Self {
        Json(Value::Object(fields.0))
    }
}

impl From<Json> for Fields {
    fn from(stored: Json) -> Self {
        Self::from_stored(stored.0)
    }
}

fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_within(item, levels - 1)),
        Value::Object(fields) => levels > 0 && fields.values().all(|field| is_within(field, levels - 1)),
        _ => true,
    }
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => drop(target.remove(name)),
            Value::Object(patch) => {
                let mut inner = match target.remove(name) {
                    Some(Value::Object(inner)) => inner,
                    _ => Map::new(),
                };
                merge(&mut inner, patch);
                target.insert(name.clone(), Value::Object(inner));
            }
            other => drop(target.insert(name.clone(), other.clone())),
        }
    }
}

/// `jsonb` keeps numbers by value: 1e16 comes back as 10000000000000000 and -0.0 as 0. Written so from the start, both
/// databases answer alike.
fn canonical(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let Some(float) = number.as_f64() else { return };
            // Whole numbers within 64 bits; beyond, both databases give them back as floats.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and within range")]
            if float.fract() == 0.0 {
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&float) {
                    *number = Number::from(float as i64);
                } else if (0.0..18_446_744_073_709_551_616.0).contains(&float) {
                    *number = Number::from(float as u64);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(canonical),
        Value::Object(fields) => fields.values_mut().for_each(canonical),
        _ => {}
    }
}

impl Deserr<Faults> for Fields {
    fn deserialize_from_value<V: IntoValue>(value: Given<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let kind = value.kind();
        match <Value as Deserr<Faults>>::deserialize_from_value(value, location)? {
            Value::Object(fields) => {
                let mut fields = Value::Object(fields);
                canonical(&mut fields);
                let fields = Self::from_stored(fields);
                match (fields.fit(), fields.are_flat()) {
                    (false, _) => Err(too_large(location)),
                    (_, false) => {
                        let detail = format!("objects and arrays must lie at most {DEEPEST} deep in one another");
                        Err(Faults::at(location, "invalid", detail).with("max", DEEPEST))
                    }
                    _ => Ok(fields),
                }
            }
            _ => Err(Faults::at(location, "wrong_type", format!("must be an object, not {kind}"))),
        }
    }
}

fn too_large(location: ValuePointerRef<'_>) -> Faults {
    let fault = Faults::at(location, "too_long", format!("must have at most {LARGEST_B} bytes of JSON"));
    fault.with("max", LARGEST_B).with("unit", "bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |f| Number::from_f64(f).map(Value::Number)),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4).prop_map(|m| Value::Object(m.into_iter().collect())),
            ]
        })
    }

    /// RFC 7396, section 2, as its pseudocode stands.
    fn rfc_7396(target: Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let mut target = match target {
            Value::Object(target) => target,
            _ => Map::new(),
        };
        for (name, value) in patch {
            if value.is_null() {
                target.remove(name);
            } else {
                let old = target.remove(name).unwrap_or(Value::Null);
                target.insert(name.clone(), rfc_7396(old, value));
            }
        }
        Value::Object(target)
    }

    proptest! {
        #[test]
        fn merges_as_rfc_7396_says(
            target in prop::collection::btree_map("[a-c]", any_json(), 0..4),
            patch in prop::collection::btree_map("[a-c]", any_json(), 0..4),
        ) {
            let target = Value::Object(target.into_iter().collect());
            let patch = Value::Object(patch.into_iter().collect());
            let merged = Fields::from_stored(target.clone()).merged(&Fields::from_stored(patch.clone()));
            prop_assert_eq!(merged.to_json(), rfc_7396(target, &patch));
        }

        #[test]
        fn canonical_numbers_survive_a_decimal_store(float in any::<f64>()) {
            let Some(number) = Number::from_f64(float) else { return Ok(()) };
            let mut value = Value::Number(number);
            canonical(&mut value);
            // A store that keeps decimals, as jsonb does, gives back digits without an exponent.
            let stored = if value.is_f64() { format!("{float}") } else { value.to_string() };
            let back: Value = serde_json::from_str(&stored).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(back.to_string(), value.to_string());
        }
    }

    #[test]
    fn nulls_vanish_and_wholes_are_whole() {
        let mut value = json!({ "a": 1e16, "b": -0.0, "c": 1.5, "d": 1e19 });
        canonical(&mut value);
        assert_eq!(value.to_string(), r#"{"a":10000000000000000,"b":0,"c":1.5,"d":10000000000000000000}"#);
        assert_eq!(
            Fields::from_stored(json!({ "a": { "b": null }, "c": null })).without_nulls().to_json(),
            json!({ "a": {} })
        );
    }
}
