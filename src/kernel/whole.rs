//! Whole numbers within bounds, checked once where they enter.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fault::Faults;

/// The largest number up to which f64 keeps every whole number: 2⁵³ (RFC 8259, 6).
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

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
            // An integer of JSON Schema is any number without a fraction, however it is written: 3.0 and 3e0 too.
            #[expect(clippy::cast_possible_truncation, reason = "a whole number that f64 keeps exactly fits into i64")]
            Value::Float(number) if number.fract() == 0.0 && number.abs() <= MOST_EXACT => Some(number as i64),
            other => Some(<i64 as Deserr<Faults>>::deserialize_from_value(other, location)?),
        };
        let within = number.filter(|number| (LEAST..=MOST).contains(number)).map(Self);
        let fault = || {
            let detail = format!("must be a whole number from {LEAST} to {MOST}");
            Faults::at(location, "invalid", detail).with("min", LEAST).with("max", MOST)
        };
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
        deserr::deserialize::<Small, _, Faults>(value).map(Small::get).map_err(|faults| faults.told()[0].code)
    }

    proptest! {
        #[test]
        fn just_the_numbers_within_are_read(number in prop_oneof![-9i64..13, any::<i64>()]) {
            let expected = if (-3..=7).contains(&number) { Ok(number) } else { Err("invalid") };
            prop_assert_eq!(read(json!(number)), expected);
        }
    }

    #[test]
    fn a_number_without_a_fraction_is_whole_however_it_is_written() {
        for (text, expected) in
            [("3.0", Ok(3)), ("0.3e1", Ok(3)), ("-2.0", Ok(-2)), ("-0.0", Ok(0)), ("8.0", Err("invalid"))]
        {
            assert_eq!(read(serde_json::from_str(text).expect("JSON")), expected, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_a_number() {
        assert_eq!(read(json!(u64::MAX)), Err("invalid"));
        for other in [json!(1.5), json!(1e300), json!("1"), json!(null), json!([1]), json!({}), json!(true)] {
            assert_eq!(read(other.clone()), Err("wrong_type"), "{other}");
        }
    }
}
