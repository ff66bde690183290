//! Where in a list a page begins: an opaque keyset cursor.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::kernel::{Problem, fault, rows};

/// Where a page ends: opaque to clients, bound to the list and order that made it.
#[derive(Debug, Clone)]
pub struct Cursor(String);

fault::deserr_from_str!(Cursor);

impl std::str::FromStr for Cursor {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[derive(Serialize, Deserialize)]
struct Sealed<K> {
    /// The list and its order.
    l: String,
    /// The key of the last item.
    k: K,
}

impl Cursor {
    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The cursor behind an item with `key` in `list`.
    pub(super) fn seal<K: Serialize>(list: &str, key: K) -> Result<String, Problem> {
        let sealed = serde_json::to_vec(&Sealed { l: list.to_owned(), k: key }).map_err(Problem::internal)?;
        Ok(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The key of the last item of the page before.
    ///
    /// # Errors
    /// `invalid_cursor` when it was not made by `list`.
    pub fn open<K: DeserializeOwned>(&self, list: &str) -> Result<K, Problem> {
        let json = URL_SAFE_NO_PAD.decode(&self.0).ok().filter(|json| !holds_nul(json));
        let sealed = json.and_then(|json| serde_json::from_slice::<Sealed<K>>(&json).ok());
        match sealed {
            Some(sealed) if sealed.l == list => Ok(sealed.k),
            _ => Err(rows::of_another_list()),
        }
    }
}

/// Whether a text in `json` has the character U+0000, which none of ours has and PostgreSQL does not take: an escape
/// that is not itself escaped.
fn holds_nul(json: &[u8]) -> bool {
    let mut rest = json;
    while let Some(at) = rest.iter().position(|b| *b == b'\\') {
        if rest[at + 1..].starts_with(b"u0000") {
            return true;
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_its_list_alone(list: String, name in "[^\0]*", number: i64) {
            let key = (Some(name), number);
            let cursor = Cursor(Cursor::seal(&list, &key).expect("JSON"));
            match cursor.open::<(Option<String>, i64)>(&list) {
                Ok(opened) => prop_assert_eq!(opened, key),
                Err(_) => prop_assert!(list.contains('\0')),
            }
            let other = format!("{list}!");
            prop_assert!(cursor.open::<(Option<String>, i64)>(&other).is_err());
        }

        #[test]
        fn nonsense_never_opens(text: String, bytes: Vec<u8>) {
            for text in [text, URL_SAFE_NO_PAD.encode(bytes)] {
                prop_assert!(Cursor(text).open::<serde_json::Value>("tickets").is_err());
            }
        }

        #[test]
        fn nul_is_found_wherever_it_is(text: String) {
            let json = serde_json::to_vec(&text).expect("JSON");
            prop_assert_eq!(holds_nul(&json), text.contains('\0'));
        }
    }

    #[test]
    fn an_escape_that_is_escaped_is_no_nul() {
        for (text, holds) in [("\0", true), ("\\u0000", false), ("\\\0", true), ("\\\\u0000", false), ("\\", false)] {
            assert_eq!(holds_nul(&serde_json::to_vec(text).expect("JSON")), holds, "{text:?}");
        }
        assert!(!holds_nul(b"\\"));
    }
}
