//! The index of the words by which people are found: by their role, so that the few who work here are found among the
//! many who do not.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::auth::domain::Role;
use crate::db::raw::raw;
use crate::db::schema::{person_words, person_words_backlog};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::{PrincipalId, Problem};
use crate::people::domain::{Person, PersonSearch, WordPlace};

/// How many entries are looked at to tell which beginning is rare.
const COUNTED: usize = 200;

/// Behind all words that begin alike: no letter is behind it.
const BEHIND_ALL: char = char::MAX;

/// Lets `person` be found by what they are called now, and by nothing else. Of whoever was anonymised nothing is left.
pub async fn put(tx: &mut Conn, person: &Person) -> Result<(), Problem> {
    let Person { id, role, name, email, anonymised_at, .. } = person;
    match anonymised_at {
        None => crate::auth::store::put_words(tx, *id, Some(*role), name, email.as_deref()).await,
        Some(_) => crate::auth::store::forget_words(tx, *id).await,
    }
}

/// At most `most` entries of people in `roles` whose word begins with `beginning`, behind `after`, by their words.
pub async fn behind(
    conn: &mut Conn,
    roles: &[Role],
    (nth, beginning): (usize, &str),
    after: Option<&WordPlace>,
    most: usize,
) -> Result<Vec<WordPlace>, Problem> {
    let mut all = Vec::new();
    for role in roles {
        let rows: Vec<(String, PrincipalId)> = on_each!(conn, |c| {
            let end = format!("{beginning}{BEHIND_ALL}");
            let mut query = boxed(c, person_words::table.select((person_words::word, person_words::principal_id)));
            query = query.filter(person_words::role.eq(role)).filter(person_words::word.lt(end));
            query = match after {
                None => query.filter(person_words::word.ge(beginning)),
                Some(WordPlace { word, id, .. }) => {
                    let place = raw::<Bool>("(person_words.word, person_words.principal_id) > (");
                    query.filter(place.bind(word.clone()).sql(", ").bind(*id).sql(")"))
                }
            };
            let limit = i64::try_from(most).unwrap_or(i64::MAX);
            query.order((person_words::word, person_words::principal_id)).limit(limit).load(c).await
        })?;
        all.extend(rows.into_iter().map(|(word, id)| WordPlace { beginning: nth, word, id }));
    }
    all.sort();
    all.truncate(most);
    Ok(all)
}

/// Which beginning of `search` the fewest people in `roles` have, or the longest of those that many have.
pub async fn rarest(conn: &mut Conn, roles: &[Role], search: &PersonSearch) -> Result<usize, Problem> {
    let mut rarest = (usize::MAX, 0, 0);
    for (nth, beginning) in search.beginnings().iter().enumerate().filter(|_| search.beginnings().len() > 1) {
        let count = behind(conn, roles, (nth, beginning), None, COUNTED).await?.len();
        rarest = rarest.min((count, usize::MAX - beginning.len(), nth));
    }
    Ok(rarest.2)
}

/// Behind whom people wait to be found, if any does.
pub async fn waiting(conn: &mut Conn) -> Result<Option<PrincipalId>, Problem> {
    let behind = person_words_backlog::table.select(person_words_backlog::behind_id);
    Ok(on_each!(conn, |c| behind.first(c).await.optional())?)
}

/// Lets those behind `behind` wait; nobody, if there is none.
pub async fn set_waiting(tx: &mut Conn, behind: Option<PrincipalId>) -> Result<(), Problem> {
    match behind {
        Some(id) => {
            let moved = diesel::update(person_words_backlog::table).set(person_words_backlog::behind_id.eq(id));
            on_each!(tx, |c| moved.execute(c).await)?;
        }
        None => {
            on_each!(tx, |c| diesel::delete(person_words_backlog::table).execute(c).await)?;
        }
    }
    Ok(())
}
