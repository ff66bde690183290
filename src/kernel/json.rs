//! JSON as it comes in (I-JSON, RFC 7493): no object with two members of one name, and no whole number that would
//! become another one.

use deserr::ValuePointerRef;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};

use super::fault::{Faults, pointer};
use super::field_error::FieldError;

/// A whole number with fewer digits has at most 64 bits.
const MANY_DIGITS: usize = 19;

/// How many bytes of a name are told.
const LONGEST_NAME_B: usize = 64;

/// JSON in which no object has two members of one name: of two readers one might believe the first of them, and the
/// other the second.
pub struct Unique(pub Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON without two members of one name")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            match fields.entry(name) {
                Entry::Vacant(place) => {
                    let Unique(value) = map.next_value()?;
                    place.insert(value);
                }
                Entry::Occupied(first) => {
                    return Err(Error::custom(format!("two members are called {}", short(first.key()))));
                }
            }
        }
        Ok(Value::Object(fields))
    }
}

/// The beginning of a name, as JSON.
fn short(name: &str) -> String {
    let end = (0..=LONGEST_NAME_B.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or_default();
    let more = if end < name.len() { "…" } else { "" };
    Value::from(format!("{}{more}", &name[..end])).to_string()
}

/// Finds the whole numbers in `json` that have more than 64 bits: they would be stored as others. What it costs is next
/// to nothing where no number is long.
pub fn find_large_wholes(json: &[u8], faults: &mut Faults) {
    // So many digits in a row have one at each so many-th place.
    let mut places = json.iter().enumerate().skip(MANY_DIGITS - 1).step_by(MANY_DIGITS);
    if places.any(|(at, byte)| byte.is_ascii_digit() && has_many_digits_around(json, at)) {
        Walk { json, at: 0 }.value(ValuePointerRef::Origin, faults);
    }
}

fn has_many_digits_around(json: &[u8], at: usize) -> bool {
    let (before, after) = json.split_at(at);
    let is_digit = |byte: &&u8| byte.is_ascii_digit();
    before.iter().rev().take_while(is_digit).count() + after.iter().take_while(is_digit).count() >= MANY_DIGITS
}

/// Goes through JSON that is known to be right.
struct Walk<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Walk<'a> {
    /// The next byte that means something.
    fn peek(&mut self) -> Option<u8> {
        let rest = self.json.get(self.at..)?;
        self.at += rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.json.get(self.at).copied()
    }

    /// Takes `byte`, if it is the next.
    fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, place: ValuePointerRef<'_>, faults: &mut Faults) {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                while !self.takes(b'}') && self.peek().is_some() {
                    let name: String = serde_json::from_slice(self.text()).unwrap_or_default();
                    self.takes(b':');
                    self.value(place.push_key(&name), faults);
                    self.takes(b',');
                }
            }
            Some(b'[') => {
                self.at += 1;
                let mut index = 0;
                while !self.takes(b']') && self.peek().is_some() {
                    self.value(place.push_index(index), faults);
                    self.takes(b',');
                    index += 1;
                }
            }
            Some(b'"') => drop(self.text()),
            _ => {
                const DETAIL: &str = "is a whole number of more than 64 bits; send it as a string";
                let word = self.word();
                if is_large_whole(word) {
                    faults.add(|| FieldError::new(pointer(place), "invalid", DETAIL));
                }
            }
        }
    }

    /// A string, with its quotes.
    fn text(&mut self) -> &'a [u8] {
        self.peek();
        let from = self.at;
        self.at += 1;
        while let Some(byte) = self.json.get(self.at) {
            self.at += match byte {
                b'"' => break,
                b'\\' => 2,
                _ => 1,
            };
        }
        self.at += 1;
        self.json.get(from..self.at).unwrap_or_default()
    }

    /// A number, or another word.
    fn word(&mut self) -> &'a [u8] {
        let rest = self.json.get(self.at..).unwrap_or_default();
        let is_part = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
        // At least one byte, or there would be no end.
        let length = rest.iter().take_while(is_part).count().max(1).min(rest.len());
        self.at += length;
        &rest[..length]
    }
}

/// Whether a word is a whole number, written without a fraction and an exponent, that has more than 64 bits.
fn is_large_whole(word: &[u8]) -> bool {
    let Ok(word) = std::str::from_utf8(word) else { return false };
    let digits = word.strip_prefix('-').unwrap_or(word);
    let is_whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_whole && word.parse::<i64>().is_err() && word.parse::<u64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn large(json: &str) -> Vec<String> {
        let mut faults = Faults::default();
        find_large_wholes(json.as_bytes(), &mut faults);
        faults.told().iter().map(|fault| fault.pointer.clone()).collect()
    }

    #[test]
    fn whole_numbers_of_more_than_64_bits_are_found_where_they_stand() {
        let json = r#" { "a/b" : [1, -9223372036854775809, {"~\"\u0041": 18446744073709551616}], "text": "18446744073709551616",
            "in": [18446744073709551615, -9223372036854775808, 18446744073709551616.0, 1e30, 0.18446744073709551616, []],
            "123456789012345678901234567890": {}, "last":123456789012345678901234567890}"#;
        serde_json::from_str::<Value>(json).expect("JSON");
        assert_eq!(large(json), ["/a~1b/1", "/a~1b/2/~0\"A", "/last"]);
        assert_eq!(large("18446744073709551616"), [""]);
        assert!(large("{\"a\":1234567890}").is_empty());
    }

    #[test]
    fn the_member_that_comes_twice_is_named() {
        let refused = |json: &str| serde_json::from_str::<Unique>(json).map(|_| ()).expect_err("twice").to_string();
        assert_eq!(refused("{\"a\": 1,\n \"a\": 2}"), "two members are called \"a\" at line 2 column 4");
        assert!(
            refused("[{\"b\": {\"\\u0061\\\"\": 1, \"a\\\"\": null}}]").starts_with("two members are called \"a\\\"\"")
        );
        let long = format!("{{\"{0}\": 1, \"{0}\": 1}}", "é".repeat(1_000));
        assert!(refused(&long).len() < 200);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(|float| json!(float)),
            "\\PC{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 40, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-c\"~/]{0,2}", inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// What is right is read as by any reader, and nothing in it is too large; one number that is, is found among
        /// all.
        #[test]
        fn what_is_right_stays_so(value in any_json(), pretty in any::<bool>()) {
            let write = |value: &Value| if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
            let json = write(&value).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let Unique(read) = serde_json::from_str(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert_eq!(&read, &serde_json::from_str::<Value>(&json).map_err(|e| TestCaseError::fail(e.to_string()))?);
            let around = format!("[{json}, 18446744073709551616, {json}]");
            prop_assert_eq!(large(&around), ["/1"]);
        }
    }
}
