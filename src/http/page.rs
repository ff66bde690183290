//! Lists: a limit, an opaque keyset cursor, and the next page's address.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use deserr::{Deserr, IntoValue, Value, ValuePointerRef};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use utoipa::ToSchema;

use super::{Answer, Call, Reply};
use crate::kernel::fault::{self, Faults};
use crate::kernel::{Code, Problem};

/// How many bytes of JSON a page has at most, unless a single item has more.
pub const MOST_B: usize = 1 << 20;

/// How many rows' large texts are fetched at a time.
const AT_ONCE: usize = 4;

/// How many rows are fetched at a time that may be large themselves.
const FEW: i64 = 4;

/// How many items a page has: 1 to 200, 50 unless told.
#[derive(Debug, Clone, Copy)]
pub struct Limit(i64);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// The number of rows to ask for: one more than the page holds, which tells whether there is a next one.
    pub fn and_one(self) -> i64 {
        self.0 + 1
    }
}

impl Deserr<Faults> for Limit {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match fault::string(value, location)?.parse() {
            Ok(limit @ 1..=200) => Ok(Self(limit)),
            _ => Err(Faults::at(location, "invalid", "must be a whole number from 1 to 200")),
        }
    }
}

/// Where a page ends: opaque to clients, bound to the list and order that made it.
#[derive(Debug, Clone)]
pub struct Cursor(String);

crate::kernel::fault::deserr_from_str!(Cursor);

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
    /// The cursor behind an item with `key` in `list`.
    fn seal<K: Serialize>(list: &str, key: K) -> Result<String, Problem> {
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
            _ => Err(Self::of_another_list()),
        }
    }

    /// What whoever gives a cursor hears that leads nowhere in this list.
    pub fn of_another_list() -> Problem {
        Problem::new(
            Code::InvalidCursor,
            "Use the `next_cursor` of this list in this order, or start again without one.",
        )
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

/// The rows of a page, as far as they were fetched.
#[derive(Debug)]
pub struct Rows<R> {
    rows: Vec<R>,
    /// Whether more follow, though these are not more than the page holds.
    more: bool,
    /// What was looked at last, and is not on the page: the next page goes on behind it.
    reached: Option<R>,
}

impl<R> From<Vec<R>> for Rows<R> {
    /// Of these there is one more than the page holds if there is a next page.
    fn from(rows: Vec<R>) -> Self {
        Self { rows, more: false, reached: None }
    }
}

impl<R> Rows<R> {
    /// The rows themselves.
    pub fn iter(&self) -> std::slice::Iter<'_, R> {
        self.rows.iter()
    }

    /// The same, with more behind `reached`, up to which all were looked for and these were found. It is itself not one of them.
    pub fn up_to(self, reached: Option<R>) -> Self {
        Self { reached, ..self }
    }

    /// `rows` with their large texts, which `fetch` fills in: a few rows at a time, in their order, until the page is full.
    /// Those behind are left out. Each row comes with whether it lacks any; `size_b` tells about how much JSON it will be at
    /// least.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub async fn filled(
        mut rows: Vec<(R, bool)>,
        mut fetch: impl AsyncFnMut(&mut [(R, bool)]) -> Result<(), Problem>,
        size_b: impl Fn(&R) -> usize,
    ) -> Result<Self, Problem> {
        let (mut filled, mut bytes) = (0, 0);
        while filled < rows.len() && bytes <= MOST_B {
            let rest = &rows[filled..];
            let lacking = rest.iter().enumerate().filter(|(_, (_, lacks))| *lacks).map(|(place, _)| place);
            let next = lacking.take(AT_ONCE).last().map_or(rest.len(), |place| place + 1);
            let next = &mut rows[filled..filled + next];
            if next.iter().any(|(_, lacks)| *lacks) {
                fetch(next).await?;
            }
            bytes += next.iter().map(|(row, _)| size_b(row)).sum::<usize>();
            filled += next.len();
        }
        let more = filled < rows.len();
        rows.truncate(filled);
        Ok(Self { rows: rows.into_iter().map(|(row, _)| row).collect(), more, reached: None })
    }
}

impl<R> Rows<R> {
    /// Rows that `fetch` reads a few at a time, each time behind the `key` of the last one, until the page is full: where a row
    /// may be large and nothing of it can be left out. `size_b` tells about how much JSON it will be at least.
    ///
    /// # Errors
    /// Those of `fetch`.
    pub async fn gathered<K>(
        limit: Limit,
        mut after: Option<K>,
        mut fetch: impl AsyncFnMut(Option<K>, i64) -> Result<Vec<R>, Problem>,
        key: impl Fn(&R) -> K,
        size_b: impl Fn(&R) -> usize,
    ) -> Result<Self, Problem> {
        let (mut rows, mut bytes, mut left) = (Vec::new(), 0, limit.and_one());
        while left > 0 && bytes <= MOST_B {
            let some = fetch(after.take(), left.min(FEW)).await?;
            let count = i64::try_from(some.len()).unwrap_or(i64::MAX);
            if count < left.min(FEW) {
                rows.extend(some);
                return Ok(Self { rows, more: false, reached: None });
            }
            bytes += some.iter().map(&size_b).sum::<usize>();
            after = some.last().map(&key);
            left -= count;
            rows.extend(some);
        }
        Ok(Self { rows, more: left > 0, reached: None })
    }
}

/// How many bytes `text` has as JSON.
pub fn json_b(text: &str) -> usize {
    let each = |byte| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    };
    text.bytes().map(each).sum()
}

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Give it as `cursor` to get the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

impl<T: Serialize> Page<T> {
    /// A page of `rows`. It ends with the item before the one with which it would have more than [`MOST_B`] bytes, or be longer
    /// than `limit`. `list` names the list and its order; `key` tells the place of an item in it.
    ///
    /// # Errors
    /// When an item cannot be written as JSON.
    pub fn reply<R, K: Serialize>(
        call: &Call,
        limit: Limit,
        list: &str,
        rows: impl Into<Rows<R>>,
        key: impl Fn(&R) -> K,
        mut item: impl FnMut(R) -> T,
    ) -> Answer {
        let Rows { rows, mut more, reached } = rows.into();
        let size = usize::try_from(limit.0).unwrap_or(usize::MAX);
        more |= rows.len() > size;
        // The very JSON of a page, written item by item.
        let mut body = br#"{"items":["#.to_vec();
        let mut last = None;
        for row in rows.into_iter().take(size) {
            let (place, end) = (key(&row), body.len());
            if last.is_some() {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, &item(row)).map_err(Problem::internal)?;
            if last.is_some() && body.len() > MOST_B {
                body.truncate(end);
                more = true;
                break;
            }
            last = Some(place);
        }
        let next = if more { last } else { reached.as_ref().map(&key) };
        let next_cursor = next.map(|place| Cursor::seal(list, place)).transpose()?;
        body.extend_from_slice(br#"],"next_cursor":"#);
        serde_json::to_writer(&mut body, &next_cursor).map_err(Problem::internal)?;
        body.push(b'}');
        let reply = Reply::written(body)?;
        Ok(match next_cursor {
            Some(cursor) => reply.header("link", format!("<{}>; rel=\"next\"", call.next_target(&cursor))),
            None => reply,
        })
    }
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
