//! The pages of lists.

use serde::Serialize;
use utoipa::ToSchema;

use super::call::Call;
use super::cursor::Cursor;
use super::reply::{Answer, Reply};
use crate::kernel::Problem;
use crate::kernel::rows::{Limit, MOST_B, Rows};

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
    /// A page of `rows`. It ends with the item before the one with which it would have more than [`MOST_B`] bytes, or
    /// be longer than `limit`. `list` names the list and its order; `key` tells the place of an item in it.
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
