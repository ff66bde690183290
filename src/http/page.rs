//! The pages of lists.

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::cursor::Cursor;
use super::reply::{Answer, Reply};
use crate::kernel::Problem;
use crate::kernel::rows::{Limit, MOST_B, Rows};

/// How many bytes of a hash an entity tag has.
const TAG_B: usize = 16;

/// An item of a list.
pub trait ListItem: Serialize {
    /// What tells whether it is another than it was, if that is less than all of it: what passes by itself is none.
    fn state(&self) -> Option<String> {
        None
    }
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

impl<T: ListItem> Page<T> {
    /// The first page of `rows`, to be part of another answer: it ends with the item before the one with which it would
    /// have more than `most_b` bytes, or be longer than `limit`. `list` and `key` as for [`reply`](Self::reply): that
    /// list goes on with the cursor.
    ///
    /// # Errors
    /// When an item cannot be written as JSON.
    pub fn of<R, K: Serialize>(
        list: &str,
        limit: Limit,
        most_b: usize,
        rows: impl Into<Rows<R>>,
        key: impl Fn(&R) -> K,
        mut item: impl FnMut(R) -> T,
    ) -> Result<Self, Problem> {
        let Rows { rows, mut more, .. } = rows.into();
        more |= rows.len() > limit.size();
        let (mut items, mut last, mut bytes) = (Vec::new(), None, 0);
        for row in rows.into_iter().take(limit.size()) {
            let (place, item) = (key(&row), item(row));
            bytes += serde_json::to_vec(&item).map_err(Problem::internal)?.len();
            if last.is_some() && bytes > most_b {
                more = true;
                break;
            }
            items.push(item);
            last = Some(place);
        }
        let next_cursor = last.filter(|_| more).map(|place| Cursor::seal(list, place)).transpose()?;
        Ok(Self { items, next_cursor })
    }

    /// A page of `rows`. It ends with the item before the one with which it would have more than [`MOST_B`] bytes, or
    /// be longer than `limit`. `list` names the list and its order; `key` tells the place of an item in it. Its entity
    /// tag is weak: two pages have the same if the state of all their items is the same, and they go on alike.
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
        let mut states = Context::new(&SHA256);
        for row in rows.into_iter().take(size) {
            let (place, end) = (key(&row), body.len());
            if last.is_some() {
                body.push(b',');
            }
            let item = item(row);
            serde_json::to_writer(&mut body, &item).map_err(Problem::internal)?;
            if last.is_some() && body.len() > MOST_B {
                body.truncate(end);
                more = true;
                break;
            }
            match item.state() {
                Some(state) => states.update(state.as_bytes()),
                None => states.update(&body[end..]),
            }
            states.update(b"\n");
            last = Some(place);
        }
        let next = if more { last } else { reached.as_ref().map(&key) };
        let next_cursor = next.map(|place| Cursor::seal(list, place)).transpose()?;
        body.extend_from_slice(br#"],"next_cursor":"#);
        serde_json::to_writer(&mut body, &next_cursor).map_err(Problem::internal)?;
        body.push(b'}');
        states.update(next_cursor.as_deref().unwrap_or_default().as_bytes());
        let tag = URL_SAFE_NO_PAD.encode(&states.finish().as_ref()[..TAG_B]);
        let reply = Reply::written(body)?.header("etag", format!("W/\"{tag}\""));
        Ok(match next_cursor {
            Some(cursor) => reply.header("link", format!("<{}>; rel=\"next\"", call.next_target(&cursor))),
            None => reply,
        })
    }
}
