//! The pages of lists.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::cursor::{Cursor, Limit};
use super::reply::{Answer, Reply};
use crate::kernel::Problem;

/// How many bytes of JSON a page has at most, unless a single item has more.
pub const MOST_B: usize = 1 << 20;

/// How many rows' large texts are fetched at a time.
const AT_ONCE: usize = 4;

/// How many rows are fetched at a time that may be large themselves.
const FEW: i64 = 4;

/// The rows of a page, as far as they were fetched.
#[derive(Debug)]
pub struct Rows<R> {
    rows: Vec<R>,
    /// Whether more follow, though these are not more than the page holds.
    more: bool,
    /// What was looked at last when it was given up to look for more: the next page goes on behind it.
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

    /// The same, with more behind `reached`, up to which all were looked for and these were found.
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
        let size = limit.size();
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
