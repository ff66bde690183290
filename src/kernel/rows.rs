//! The rows of a page: how many are asked for, and as many of them as it has room for.

use deserr::{Deserr, IntoValue, Value, ValuePointerRef};

use super::fault::{self, Faults};
use super::{Code, Problem};

/// How many items a page has: 1 to 200, 50 unless told.
#[derive(Debug, Clone, Copy)]
pub struct Limit(i64);

impl Default for Limit {
    fn default() -> Self {
        Self(50)
    }
}

impl Limit {
    /// As many as a page can have.
    pub const fn most() -> Self {
        Self(200)
    }

    /// How many items a page has at most.
    pub fn size(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }

    /// The number of rows to ask for: one more than the page holds, which tells whether there is a next one.
    pub fn and_one(self) -> i64 {
        self.0 + 1
    }
}

impl Deserr<Faults> for Limit {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, location: ValuePointerRef<'_>) -> Result<Self, Faults> {
        match fault::string(value, location)?.parse() {
            Ok(limit @ 1..=200) => Ok(Self(limit)),
            _ => Err(Faults::at(location, "invalid", "must be a whole number from 1 to 200")
                .with("min", 1)
                .with("max", 200)),
        }
    }
}

/// How many bytes of JSON a page has at most, unless a single item has more.
pub const MOST_B: usize = 1 << 20;

/// How many rows' large texts are fetched at a time.
const AT_ONCE: usize = 4;

/// How many rows are fetched at a time that may be large themselves.
const FEW: i64 = 4;

/// The rows of a page, as far as they were fetched.
#[derive(Debug)]
pub struct Rows<R> {
    pub(crate) rows: Vec<R>,
    /// Whether more follow, though these are not more than the page holds.
    pub(crate) more: bool,
    /// What was looked at last when it was given up to look for more: the next page goes on behind it.
    pub(crate) reached: Option<R>,
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

    /// Whether more follow than the first `most`.
    pub fn has_more(&self, most: usize) -> bool {
        self.more || self.rows.len() > most
    }

    /// The rows themselves.
    pub fn into_vec(self) -> Vec<R> {
        self.rows
    }

    /// The same, with more behind `reached`, up to which all were looked for and these were found.
    pub fn up_to(self, reached: Option<R>) -> Self {
        Self { reached, ..self }
    }

    /// `rows` with their large texts, which `fetch` fills in: a few rows at a time, in their order, until the page is
    /// full. Those behind are left out. Each row comes with whether it lacks any; `size_b` tells about how much JSON it
    /// will be at least.
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
    /// Rows that `fetch` reads a few at a time, each time behind the `key` of the last one, until the page is full:
    /// where a row may be large and nothing of it can be left out. `size_b` tells about how much JSON it will be at
    /// least.
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

/// What whoever gives a cursor hears that leads nowhere in this list.
pub fn of_another_list() -> Problem {
    Problem::new(Code::InvalidCursor, "Use the `next_cursor` of this list in this order, or start again without one.")
}
