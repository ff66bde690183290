//! The use cases of showing a ticket with what is about it: one function each, within one snapshot.

use std::collections::HashMap;

use super::wire::{TicketPart, TicketPartsBody, TicketWithBody, TimelineItemBody};
use crate::audit::domain::{EventKind, TrailOrder};
use crate::audit::store::TrailPage;
use crate::audit::wire::EventBody;
use crate::auth::domain::Principal;
use crate::auth::policy::{Allowed, ReadComments, ReadFiles, ReadTickets, ReadWork};
use crate::comments::domain::CommentOrder;
use crate::comments::policy::Sight;
use crate::comments::store::CommentPage;
use crate::comments::wire::CommentBody;
use crate::db::Conn;
use crate::files::policy::FileSight;
use crate::files::wire::FileBody;
use crate::http::Page;
use crate::kernel::rows::{Limit, Rows};
use crate::kernel::{CommentId, EventId, Instant, PrincipalId, Problem};
use crate::people::policy::MaySee;
use crate::people::wire::UserBody;
use crate::tickets::policy::Reach;
use crate::tickets::wire::TicketRef;
use crate::time_entries::store::TimeEntryRow;
use crate::time_entries::wire::{TicketCostBody, TimeEntryBody};
use crate::{audit, comments, files, people, tickets, time_entries};

/// How many bytes of JSON a part has at most, unless a single item has more.
pub const MOST_OF_A_PART_B: usize = 256 << 10;

/// What somebody who may see tickets may see of what is about them.
#[derive(Debug, Clone)]
pub struct Looker {
    internal: bool,
    sight: Option<Sight>,
    files: Option<FileSight>,
    sees_work: bool,
    who: Principal,
}

impl Looker {
    /// What this caller may see.
    pub fn of(who: &Allowed<ReadTickets>) -> Self {
        Self {
            internal: who.who().sees_internal(),
            sight: who.and::<ReadComments>().is_ok().then(|| Sight::of(who.who())),
            files: who.and::<ReadFiles>().ok().map(|who| FileSight::of(&who)),
            sees_work: who.and::<ReadWork>().is_ok(),
            who: who.who().clone(),
        }
    }

    fn may_see(&self, person: PrincipalId) -> Option<MaySee> {
        MaySee::of(&self.who, person).ok()
    }
}

/// The ticket `which` with `parts` as far as they may be seen, at `now`.
///
/// # Errors
/// `not_found`.
pub async fn read(
    conn: &mut Conn,
    reach: &Reach,
    looker: &Looker,
    which: TicketRef,
    parts: &[TicketPart],
    now: Instant,
) -> Result<TicketWithBody, Problem> {
    let ticket = tickets::store::find(conn, reach, which).await?;
    let limit = Limit::default();
    let mut read = TicketPartsBody::default();
    if parts.contains(&TicketPart::Requester)
        && let Some(may) = ticket.requester_id.and_then(|requester| looker.may_see(requester))
    {
        read.requester = Some(UserBody::from(people::service::read_person(conn, may).await?));
    }
    if let (true, Some(sight)) = (parts.contains(&TicketPart::Comments), looker.sight) {
        let page = CommentPage { order: CommentOrder::CreatedDesc, limit, ..CommentPage::default() };
        let rows = comments::store::list(conn, &ticket, sight, page).await?;
        let mut attached = comments::service::files_of(conn, rows.iter()).await?;
        let (list, body) = (format!("comments {}", page.order), |row| CommentBody::from(row).with_files(&mut attached));
        let comments = Page::of(&list, limit, MOST_OF_A_PART_B, rows, |row| row.comment.id, body)?;
        read.comments = Some(comments);
    }
    if parts.contains(&TicketPart::Events) {
        let page = TrailPage { order: TrailOrder::AtDesc, behind: None, limit };
        let rows = audit::store::list(conn, ticket.id, looker.internal, page).await?;
        let names = tickets::service::names(conn, reach, &rows).await?;
        let (list, event) = (format!("events {}", page.order), |row| EventBody::named(row, &names));
        read.events = Some(Page::of(&list, limit, MOST_OF_A_PART_B, rows, |row| row.id, event)?);
    }
    if let (true, Some(sight)) = (parts.contains(&TicketPart::Files), looker.files) {
        let rows = files::store::of_ticket(conn, ticket.number, &sight, None, limit).await?;
        let list = files::routes::LIST;
        read.files = Some(Page::of(list, limit, MOST_OF_A_PART_B, rows, |row| row.file.id, FileBody::from)?);
    }
    if parts.contains(&TicketPart::TimeEntries) && looker.sees_work {
        let rows = time_entries::store::list(conn, &ticket, None, limit).await?;
        let list = time_entries::routes::LIST;
        let entries =
            Page::of(list, limit, MOST_OF_A_PART_B, rows, |row: &TimeEntryRow| row.entry.id, TimeEntryBody::from)?;
        read.time_entries = Some(entries);
    }
    if parts.contains(&TicketPart::Cost) && looker.sees_work {
        read.cost = Some(TicketCostBody::from(time_entries::store::total(conn, &ticket).await?));
    }
    if parts.contains(&TicketPart::Sla) {
        read.sla = Some(tickets::service::explain(conn, reach, which, now).await?);
    }
    Ok(TicketWithBody { ticket: tickets::service::read(conn, reach, which, now).await?, parts: read })
}

/// An item of a timeline, and its place in the trail.
pub struct TimelineRow {
    /// The event by which the page after it goes on.
    pub place: EventId,
    /// What is shown.
    pub item: TimelineItemBody,
}

/// A page of the timeline of the ticket `which`: of its trail, with each comment in place of its addition, as far as it
/// may be seen, and without what follows from other changes.
///
/// # Errors
/// `not_found`, or `invalid_cursor`.
pub async fn timeline(
    conn: &mut Conn,
    reach: &Reach,
    looker: &Looker,
    which: TicketRef,
    page: TrailPage,
) -> Result<Rows<TimelineRow>, Problem> {
    let ticket = tickets::store::find(conn, reach, which).await?;
    let events = audit::store::list(conn, ticket.id, looker.internal, page).await?;
    let names = tickets::service::names(conn, reach, &events).await?;
    let has_more = events.has_more(page.limit.size());
    let mut events = events.into_vec();
    events.truncate(page.limit.size());
    let added = events.iter().filter(|event| event.kind == EventKind::CommentAdded);
    let ids: Vec<CommentId> = added.filter_map(|event| event.comment_id).collect();
    let found = match looker.sight {
        Some(sight) => comments::store::by_ids(conn, &ticket, sight, &ids).await?,
        None => Vec::new().into(),
    };
    let is_cut = found.has_more(ids.len());
    let mut attached = comments::service::files_of(conn, found.iter()).await?;
    let found = found.into_vec().into_iter();
    let mut comments: HashMap<CommentId, CommentBody> =
        found.map(|row| (row.comment.id, CommentBody::from(row).with_files(&mut attached))).collect();
    let mut rows = Vec::new();
    let mut reached = None;
    for event in events {
        let (place, is_added) = (event.id, event.kind == EventKind::CommentAdded);
        let comment = event.comment_id.filter(|_| is_added).and_then(|id| comments.remove(&id));
        if is_added && comment.is_none() && is_cut {
            // There was no room for it: the next page begins with it.
            return Ok(Rows::from(rows).up_to(reached));
        }
        let event = EventBody::named(event, &names);
        reached = Some(TimelineRow { place, item: TimelineItemBody::event(event.clone()) });
        let item = match comment {
            Some(comment) => Some(TimelineItemBody::comment(comment)),
            None => event.without_derived().map(TimelineItemBody::event),
        };
        rows.extend(item.map(|item| TimelineRow { place, item }));
    }
    Ok(Rows::from(rows).up_to(reached.filter(|_| has_more)))
}
