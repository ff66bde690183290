//! Whole numbers within bounds, checked once where they enter.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fault::Faults;

/// A whole number from `LEAST` to `MOST`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole<const LEAST: i64, const MOST: i64>(i64);

impl<const LEAST: i64, const MOST: i64> Whole<LEAST, MOST> {
    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl<const LEAST: i64, const MOST: i64> Deserr<Faults> for Whole<LEAST, MOST> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        let number = match value {
            Value::Integer(number) => i64::try_from(number).ok(),
            Value::NegativeInteger(number) => Some(number),
            other => Some(i64::deserialize_from_value(other, location)?),
        };
        let within = number.filter(|number| (LEAST..=MOST).contains(number)).map(Self);
        let fault = || Faults::at(location, "invalid", format!("must be a whole number from {LEAST} to {MOST}"));
        within.ok_or_else(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    type Small = Whole<-3, 7>;

    fn read(value: Json) -> Result<i64, &'static str> {
        deserr::deserialize::<Small, _, Faults>(value).map(Small::get).map_err(|faults| faults.0[0].code)
    }

    proptest! {
        #[test]
        fn just_the_numbers_within_are_read(number in prop_oneof![-9i64..13, any::<i64>()]) {
            let expected = if (-3..=7).contains(&number) { Ok(number) } else { Err("invalid") };
            prop_assert_eq!(read(json!(number)), expected);
        }
    }

    #[test]
    fn nothing_else_is_a_number() {
        assert_eq!(read(json!(u64::MAX)), Err("invalid"));
        for other in [json!(1.0), json!("1"), json!(null), json!([1]), json!({}), json!(true)] {
            assert_eq!(read(other.clone()), Err("wrong_type"), "{other}");
        }
    }
}
