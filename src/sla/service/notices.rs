//! What is told by itself of the promises about tickets. That one is broken, or due soon, is first written down, with
//! what makes it so or when its time comes; then it is told, by whoever comes first, while nobody else is at work on
//! the ticket.

use super::clocks::write_down_breaches;
use crate::audit;
use crate::audit::domain::{Event, EventKind, EventSubject, NoticedPromise, Visibility};
use crate::db::{Conn, Db, Root, Roots};
use crate::kernel::{Clock, Problem};
use crate::sla::domain::notice::NoticeKind;
use crate::sla::store::notices;
use crate::sla::store::watch::{self, NoticedTicket, NoticesDue};

/// Writes down what time has broken and what is due soon, of at most `most` tickets each, and tells at most `most`
/// notices, in three short transactions. Gives how many tickets there was something to do about. Of several instances
/// any may do it: each notice is told once.
///
/// # Errors
/// When the database is away: what is left is done the next time.
pub async fn tell_promises(db: &Db, clock: &Clock, most: u16) -> Result<usize, Problem> {
    let now = clock.now();
    let NoticesDue { has_lapsed, is_due_soon, has_waiting } =
        db.read(async move |conn| watch::due(conn, now).await).await?;
    let mut done = 0;
    if has_lapsed {
        done += write_down_breaches(db, clock, most).await?;
    }
    if is_due_soon {
        done += note_due_soon(db, clock, most).await?;
    }
    if has_waiting || done > 0 {
        done += tell(db, clock, most).await?;
    }
    Ok(done)
}

/// Writes down what is due soon. Nothing of a ticket changes by it that anybody sees.
async fn note_due_soon(db: &Db, clock: &Clock, most: u16) -> Result<usize, Problem> {
    let clock = clock.clone();
    db.write(Roots::none(), async move |tx| {
        if !watch::takes_turn(tx).await? {
            return Ok(0);
        }
        let now = clock.now();
        let tickets = watch::may_be_due_soon(tx, now, i64::from(most)).await?;
        for (number, times) in &tickets {
            notices::wait(tx, *number, times.due_soon(now)).await?;
            watch::look_again(tx, *number, times.notice_at(Some(now))).await?;
        }
        Ok(tickets.len())
    })
    .await
}

/// Tells some of what waits for it.
async fn tell(db: &Db, clock: &Clock, most: u16) -> Result<usize, Problem> {
    let numbers = db.read(async move |conn| notices::awaited(conn, i64::from(most)).await).await?;
    if numbers.is_empty() {
        return Ok(0);
    }
    let roots: Roots = numbers.iter().map(|number| Root::Ticket(*number)).collect();
    let clock = clock.clone();
    db.write(roots, async move |tx| {
        let tickets = watch::noticed(tx, &numbers).await?;
        for ticket in &tickets {
            tell_of(tx, ticket, &clock).await?;
        }
        Ok(tickets.iter().map(|ticket| ticket.waiting.len()).sum())
    })
    .await
}

/// Tells what waits for it of one ticket, as far as it is still so.
async fn tell_of(tx: &mut Conn, ticket: &NoticedTicket, clock: &Clock) -> Result<(), Problem> {
    let now = clock.now();
    for notice in &ticket.waiting {
        let may_change = notice.kind == NoticeKind::DueSoon && !ticket.has_followed;
        let Some(of) = ticket.times.noticed(notice, now).filter(|_| !may_change) else {
            notices::forget(tx, ticket.number, notice).await?;
            if may_change {
                // When it has followed the edit, somebody looks again.
                watch::look_again(tx, ticket.number, Some(now)).await?;
            }
            continue;
        };
        let promise = NoticedPromise {
            target: of.target,
            due_at: notice.due_at,
            target_s: of.pledge.target_s,
            policy_id: of.pledge.policy.id,
        };
        let event = Event {
            about: EventSubject::Ticket(ticket.id, ticket.version),
            at: now,
            actor: None,
            kind: match notice.kind {
                NoticeKind::DueSoon => EventKind::SlaDueSoon,
                NoticeKind::Breached => EventKind::SlaBreached,
            },
            visibility: Visibility::Internal,
            comment_id: None,
            changes: Vec::new(),
        };
        audit::store::add_notice(tx, event, promise, clock).await?;
        if ticket.times.is_closed() {
            notices::forget(tx, ticket.number, notice).await?;
        } else {
            notices::is_told(tx, ticket.number, notice, now).await?;
        }
    }
    Ok(())
}
