//! The use cases of several operations. Each is the use case that there is for one.

use super::wire::{BulkOperation, BulkRedact, BulkTag, BulkUpdate};
use crate::auth::policy::Act;
use crate::comments::wire::NewComment;
use crate::db::{Conn, Db, Root, Roots};
use crate::http::call::IfMatch;
use crate::http::idempotency::Answers;
use crate::http::reply::met_by;
use crate::http::{Answer, Reply};
use crate::kernel::{Problem, Set, Status};
use crate::tickets::domain::search::Document;
use crate::tickets::policy::Reach;
use crate::tickets::wire::{TicketBody, TicketPatch, TicketRef};
use crate::{comments, tickets};

/// An operation that can be carried out: the number of the ticket is known, if it is about one, and what it will be
/// found by.
#[derive(Debug, Clone)]
pub struct PreparedOperation {
    operation: BulkOperation,
    number: Option<i64>,
    roots: Roots,
    words: Option<Document>,
}

impl PreparedOperation {
    /// The number of the ticket that it is about, if that is there already.
    pub fn number(&self) -> Option<i64> {
        self.number
    }

    /// What it changes.
    pub fn roots(&self) -> Roots {
        self.roots.clone()
    }
}

/// Makes an operation ready, before any transaction.
///
/// # Errors
/// `not_found`, at its place.
pub async fn prepare(
    db: &Db,
    act: &Act,
    reach: &Reach,
    operation: BulkOperation,
) -> Result<PreparedOperation, Problem> {
    let which = match &operation {
        BulkOperation::Create(new) => {
            let (roots, words) = (tickets::service::roots(&act.who, new), Some(tickets::service::words(new)));
            return Ok(PreparedOperation { operation, number: None, roots, words });
        }
        BulkOperation::Update(update) => update.id,
        BulkOperation::Redact(redact) => redact.id,
    };
    let ticket = db.read(async |conn| tickets::store::find(conn, reach, which).await).await?;
    let roots = match &operation {
        BulkOperation::Update(update) => tickets::service::roots_of_change(&ticket, &update.patch),
        _ => Root::Ticket(ticket.number).into(),
    };
    Ok(PreparedOperation { operation, number: Some(ticket.number), roots, words: None })
}

/// Carries out an operation within a transaction.
///
/// # Errors
/// Those of the operation alone.
pub async fn carry_out(tx: &mut Conn, act: &Act, reach: &Reach, ready: PreparedOperation, answers: &Answers) -> Answer {
    let done = match ready.operation {
        BulkOperation::Create(new) => {
            let words = ready.words.unwrap_or_else(|| tickets::service::words(&new));
            let made = tickets::service::open(tx, act, reach, *new, words).await;
            made.and_then(|made| {
                let place = format!("/v1/tickets/{}", made.id);
                Reply::made(&act.who, &made, place)
            })
        }
        BulkOperation::Update(update) => {
            let changed = change(tx, act, reach, *update).await;
            changed.and_then(|ticket| {
                let place = format!("/v1/tickets/{}", ticket.id);
                Reply::changed(&act.who, &ticket, place)
            })
        }
        BulkOperation::Redact(BulkRedact { id, if_match }) => {
            let condition = BulkTag::condition(if_match);
            let redacted = tickets::service::redact(tx, act, reach, id, &condition, answers).await;
            redacted.map(|()| Reply::no_content())
        }
    };
    done.map_err(|problem| met_by::<TicketBody>(&act.who, problem))
}

/// Adds the comment, and then makes the change.
async fn change(tx: &mut Conn, act: &Act, reach: &Reach, update: BulkUpdate) -> Result<TicketBody, Problem> {
    let BulkUpdate { id, if_match, mut patch, comment } = update;
    let condition = BulkTag::condition(if_match);
    let before = tickets::store::find(tx, reach, id).await?;
    condition.check(before.version)?;
    // What is to be closed is resolved on its way.
    let is_closing = patch.status.0 == Some(Status::Closed) && before.status.is_unsolved();
    if is_closing {
        patch.status = Set(Some(Status::Resolved));
    }
    match comment {
        Some(new) => {
            let with_ticket = NewComment { ticket: Some(patch), ..new };
            let added = comments::service::add(tx, act, reach, id, &IfMatch::any(), with_ticket).await;
            added.map_err(of_comment)?;
        }
        None => {
            let changed = tickets::service::change(tx, act, reach, id, &IfMatch::any(), patch).await;
            changed.map_err(|problem| problem.placed(|place| format!("/patch{place}"))).map(drop)?;
        }
    }
    if is_closing {
        let closed = TicketPatch { status: Set(Some(Status::Closed)), ..TicketPatch::default() };
        tickets::service::change(tx, act, reach, id, &IfMatch::any(), closed).await?;
    }
    tickets::service::read(tx, reach, TicketRef::Number(before.number), act.now).await
}

/// What is wrong with the comment is told at its place, and so is what is wrong with the change that comes with it.
fn of_comment(problem: Problem) -> Problem {
    problem.placed(|place| match place.strip_prefix("/ticket") {
        Some(rest) => format!("/patch{rest}"),
        None => format!("/comment{place}"),
    })
}
