//! What tickets and comments are found by: kept with each change, erased with what is redacted, and made anew for those
//! that were stored by other means.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::audit::domain::Visibility;
use crate::db::{Conn, Db, Roots};
use crate::kernel::{CommentId, PrincipalId, Problem};
use crate::tickets::domain::Ticket;
use crate::tickets::domain::search::{Document, TicketLabels};
use crate::tickets::store;
use crate::tickets::store::search::{Place, Waiting};

/// How many pages of the index of words one transaction writes anew.
const WORDS_AT_ONCE: u16 = 64;

/// How many times as many numbers a range has at most as tickets in it that wait.
const SPARSE: usize = 4;

/// The place of what is done with the index of words when all are in it.
const BEHIND_ALL: i64 = i64::MAX;

/// Makes the new `ticket` found by `words`, which are all that it says, and by what it goes by.
pub async fn add_ticket(tx: &mut Conn, ticket: &Ticket, words: Document) -> Result<(), Problem> {
    let requester = requesters(tx, [ticket]).await?.pop().flatten();
    keep(tx, vec![(Place { ticket: ticket.number, ordinal: 0 }, labelled(ticket, requester, words))]).await
}

/// Makes `ticket` found by what it says now, and by nothing else but its comments.
pub async fn index(tx: &mut Conn, ticket: &Ticket) -> Result<(), Problem> {
    add_ticket(tx, ticket, document(ticket)).await
}

/// Who has the problems that these tickets are about, by name and address, in the order of the tickets.
async fn requesters<'a>(
    tx: &mut Conn,
    tickets: impl IntoIterator<Item = &'a Ticket>,
) -> Result<Vec<Option<(String, Option<String>)>>, Problem> {
    let ids: Vec<Option<PrincipalId>> = tickets.into_iter().map(|ticket| ticket.requester_id).collect();
    let some: BTreeSet<PrincipalId> = ids.iter().copied().flatten().collect();
    let named = match some.is_empty() {
        true => HashMap::new(),
        false => store::search::requesters(tx, some.into_iter().collect()).await?,
    };
    Ok(ids.into_iter().map(|id| named.get(&id?).cloned()).collect())
}

fn labelled(ticket: &Ticket, requester: Option<(String, Option<String>)>, words: Document) -> Document {
    let external_id = ticket.external_id.as_deref();
    words.labelled(&TicketLabels { number: ticket.number, external_id, requester })
}

/// Makes `ticket` found by what this comment on it says now, and no longer by what it said before.
pub async fn index_comment(
    tx: &mut Conn,
    ticket: &Ticket,
    comment: CommentId,
    visibility: Visibility,
    body: &str,
) -> Result<(), Problem> {
    let document = Document::of_comment(visibility == Visibility::Internal, body);
    match store::search::ordinal(tx, comment).await? {
        Some(ordinal) => keep(tx, vec![(Place { ticket: ticket.number, ordinal }, document)]).await,
        None => store::search::put_comment(tx, ticket.number, comment, document).await,
    }
}

/// Lets `ticket` be found by no comment that is on it now, when their texts are gone. Behind what others of the same
/// commit index of these, and before they index newer ones.
pub async fn forget_comments(tx: &mut Conn, ticket: &Ticket) -> Result<(), Problem> {
    let id = ticket.id;
    let last = Place { ticket: ticket.number, ordinal: store::search::last_ordinal(tx, id).await? };
    if last.ordinal == 0 {
        return Ok(());
    }
    tx.at_last(
        last.rowid(),
        Box::new(move |tx| Box::pin(async move { store::search::empty_comments(tx, id, last).await })),
    )
    .await
}

/// Lets words go from the files, too, that were indexed and are no longer: at once from a small index, and from a large
/// one by and by, as [`tidy_words`] goes on.
pub async fn erase_words(tx: &mut Conn) -> Result<(), Problem> {
    tx.erase();
    tx.kept::<Tidying>().0.store(true, Ordering::Relaxed);
    tx.at_last(BEHIND_ALL, Box::new(|tx| Box::pin(async move { store::search::begin_merge(tx, WORDS_AT_ONCE).await })))
        .await
}

/// Goes on with what [`erase_words`] has begun, a little in one transaction; gives whether there is more to do. Who
/// writes waits while the log is emptied, which is done once, behind the last of it.
pub async fn tidy_words(db: &Db) -> Result<bool, Problem> {
    db.write(Roots::none(), async move |tx| {
        let more = store::search::go_on_merging(tx, WORDS_AT_ONCE).await?;
        let had_more = tx.kept::<Tidying>().0.swap(more, Ordering::Relaxed);
        if had_more && !more {
            tx.erase();
        }
        Ok(more)
    })
    .await
}

/// Whether words were erased, or there was more to do, when they were last tidied: whoever writes merges some of the
/// index, too, and may have come to the end of it since. If the process ends meanwhile, the log is emptied when it
/// begins anew.
#[derive(Default)]
struct Tidying(AtomicBool);

/// Together with what others index, by ascending place: whenever one is not above the one before, SQLite's index writes
/// what it has gathered, and all that is written must be merged with the rest some day.
async fn keep(tx: &mut Conn, mut documents: Vec<(Place, Document)>) -> Result<(), Problem> {
    documents.sort_by_key(|(place, _)| *place);
    let Some((place, _)) = documents.first() else { return Ok(()) };
    tx.at_last(place.rowid(), Box::new(move |tx| Box::pin(async move { store::search::put(tx, documents).await })))
        .await?;
    tx.at_last(BEHIND_ALL, Box::new(|tx| Box::pin(async move { store::search::merge_some(tx).await }))).await
}

fn document(ticket: &Ticket) -> Document {
    Document::of_ticket(&ticket.subject, &ticket.tags, &ticket.description)
}

/// Lets the tickets with these numbers be indexed by [`index_waiting`], with their comments: for those that were just
/// stored many at a time.
pub async fn index_these_later(tx: &mut Conn, numbers: &[i64]) -> Result<(), Problem> {
    let (Some(from), Some(until)) = (numbers.iter().min(), numbers.iter().max()) else { return Ok(()) };
    let span = usize::try_from(until - from).unwrap_or(usize::MAX);
    let ranges = match span <= numbers.len().saturating_mul(SPARSE) {
        true => vec![(*from, *until)],
        // What lies far apart is not met on the way.
        false => numbers.iter().map(|number| (*number, *number)).collect(),
    };
    for (from, until) in ranges {
        let waiting = Waiting { until, from, next_comment: 0 };
        store::search::set_waiting(tx, waiting, Some(waiting)).await?;
    }
    Ok(())
}

/// Lets the tickets up to the number `until` be indexed by [`index_waiting`], with their comments: for those that were
/// stored by other means.
pub async fn index_later(tx: &mut Conn, until: i64) -> Result<(), Problem> {
    while let Some(waiting) = store::search::waiting(tx).await? {
        if waiting.until > until && waiting.from <= 1 {
            return Ok(());
        }
        if waiting.until > until {
            break;
        }
        store::search::set_waiting(tx, waiting, None).await?;
    }
    let all = Waiting { until, from: 1, next_comment: 0 };
    store::search::set_waiting(tx, all, Some(all)).await
}

/// Lets all tickets be indexed by [`index_waiting`].
pub async fn index_all_later(tx: &mut Conn) -> Result<(), Problem> {
    let last = store::last_number(tx).await?;
    index_later(tx, last).await
}

/// Lets all tickets be indexed by [`index_waiting`] as if none ever was, where the index cannot be read: until they
/// are, searches do not find them. Gives whether that was so.
pub async fn index_anew_if_broken(db: &Db) -> Result<bool, Problem> {
    if db.look(async |conn| store::search::is_whole(conn).await).await? {
        return Ok(false);
    }
    let begin = async |tx: &mut Conn| {
        store::search::empty(tx).await?;
        index_all_later(tx).await
    };
    db.write(Roots::none(), begin).await.map(|()| true)
}

/// Up to which number tickets wait to be indexed, if any does.
pub async fn waiting_for_index(conn: &mut Conn) -> Result<Option<i64>, Problem> {
    Ok(store::search::waiting(conn).await?.map(|waiting| waiting.until))
}

/// Indexes at most `at_once` of the tickets and comments that wait for it, the newest tickets first, in one
/// transaction; gives their number, and 0 when none waits any more. Several instances may do so at the same time.
pub async fn index_waiting(db: &Db, at_once: u16) -> Result<usize, Problem> {
    db.write(Roots::none(), async move |tx| {
        let mut done = 0;
        while let Some(waiting) = store::search::waiting(tx).await? {
            let (more, left) = index_some(tx, waiting, at_once).await?;
            store::search::set_waiting(tx, waiting, left).await?;
            done += more;
            if done > 0 {
                break;
            }
        }
        Ok(done)
    })
    .await
}

/// Indexes at most `at_once` of the tickets and comments that wait; gives their number, and what is left.
async fn index_some(tx: &mut Conn, waiting: Waiting, at_once: u16) -> Result<(usize, Option<Waiting>), Problem> {
    let tickets = store::search::newest(tx, &waiting, at_once).await?;
    let commented = store::search::commented(tx, tickets.iter().map(|ticket| ticket.id).collect()).await?;
    let (mut documents, mut room) = (Vec::new(), usize::from(at_once));
    let mut left = None;
    let requesters = requesters(tx, &tickets).await?;
    for (ticket, requester) in tickets.iter().zip(requesters) {
        let mut next_comment = if ticket.number == waiting.until { waiting.next_comment } else { 0 };
        if room > 0 && next_comment == 0 {
            let words = labelled(ticket, requester, document(ticket));
            documents.push((Place { ticket: ticket.number, ordinal: 0 }, words));
            (room, next_comment) = (room - 1, 1);
        }
        if room > 0 && commented.contains(&ticket.id) {
            room -= store::search::number_comments(tx, ticket.id, room).await?;
            let comments = store::search::texts(tx, ticket.id, next_comment, room).await?;
            room -= comments.len();
            for (ordinal, internal, body) in comments {
                documents.push((Place { ticket: ticket.number, ordinal }, Document::of_comment(internal, &body)));
                next_comment = ordinal + 1;
            }
        }
        if room == 0 {
            // It may have more comments.
            left = Some(Waiting { until: ticket.number, next_comment, ..waiting });
            break;
        }
    }
    keep(tx, documents).await?;
    let done = usize::from(at_once) - room;
    let all_met = tickets.len() < usize::from(at_once);
    let below = tickets.last().filter(|_| left.is_none() && !all_met).map(|ticket| ticket.number - 1);
    if let Some(until) = below.filter(|until| *until >= waiting.from) {
        left = Some(Waiting { until, next_comment: 0, ..waiting });
    }
    Ok((done, left))
}
