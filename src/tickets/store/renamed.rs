//! Queries of people who have another name or address, and of the tickets that show it. A trigger writes down who has.

use diesel::prelude::*;
use diesel::sql_types::Bool;

use crate::db::raw::{one_of, raw};
use crate::db::schema::{principals, renamed_people, tickets};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::{Instant, PrincipalId, Problem, Status};
use crate::tickets::domain::Ticket;

/// Somebody who has another name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct RenamedPerson {
    id: PrincipalId,
    /// Since when.
    at: Instant,
}

/// How far the tickets of a renamed person were gone through: those that they are the requester of, then those that
/// they work on, each in the order of an index.
#[derive(Debug, Clone, Copy)]
pub struct RenamedWalk {
    /// Whose tickets.
    pub who: RenamedPerson,
    works_on_them: bool,
    last: Option<PassedTicket>,
}

/// A ticket that was gone through: its place in the index. One that takes another place meanwhile has a later change
/// to tell of.
#[derive(Debug, Clone, Copy, Queryable)]
pub struct PassedTicket {
    status: Status,
    created_at: Instant,
    number: i64,
    activity_at: Instant,
}

impl RenamedWalk {
    /// From the beginning on.
    pub fn of(who: RenamedPerson) -> Self {
        Self { who, works_on_them: false, last: None }
    }

    /// How to go on after `passed`; nowhere when all of both kinds were gone through.
    #[must_use]
    pub fn behind(self, passed: &[PassedTicket]) -> Option<Self> {
        match passed.last() {
            Some(last) => Some(Self { last: Some(*last), ..self }),
            None => (!self.works_on_them).then_some(Self { works_on_them: true, last: None, ..self }),
        }
    }

    /// The numbers of those that are found by the name: they may have told of it already by something else that
    /// happened to them since.
    pub fn reworded(&self, passed: &[PassedTicket]) -> Vec<i64> {
        if self.works_on_them { Vec::new() } else { passed.iter().map(|ticket| ticket.number).collect() }
    }

    /// The numbers of those that do not tell of the new name yet.
    pub fn untold(&self, passed: &[PassedTicket]) -> Vec<i64> {
        passed.iter().filter(|ticket| ticket.activity_at < self.who.at).map(|ticket| ticket.number).collect()
    }
}

/// Who has waited longest for their tickets to tell that.
pub async fn first(conn: &mut Conn) -> Result<Option<RenamedPerson>, Problem> {
    let first = renamed_people::table.order(renamed_people::renamed_at).limit(1);
    let first = first.select((renamed_people::principal_id, renamed_people::renamed_at));
    Ok(on_each!(conn, |c| first.first(c).await).optional()?)
}

/// The next tickets of a walk, at most `most`.
pub async fn next(conn: &mut Conn, walk: &RenamedWalk, most: i64) -> Result<Vec<PassedTicket>, Problem> {
    let next: Vec<PassedTicket> = on_each!(conn, |c| {
        let columns = (tickets::status, tickets::created_at, tickets::number, tickets::activity_at);
        let mut query = boxed(c, tickets::table.select(columns));
        query = match walk.works_on_them {
            false => query.filter(tickets::requester_id.eq(walk.who.id)),
            true => query.filter(tickets::assignee_id.eq(walk.who.id)),
        };
        if let Some(last) = walk.last {
            let place = raw::<Bool>("(tickets.status, tickets.created_at, tickets.number) > (");
            let place = place.bind(last.status.as_str().to_owned()).sql(", ").bind(last.created_at);
            query = query.filter(place.sql(", ").bind(last.number).sql(")"));
        }
        query.order((tickets::status, tickets::created_at, tickets::number)).limit(most).load(c).await
    })?;
    Ok(next)
}

/// Writes down that something happened to these tickets when `who` got another name.
pub async fn move_activity(tx: &mut Conn, who: RenamedPerson, numbers: &[i64]) -> Result<(), Problem> {
    let these = tickets::table.filter(one_of("tickets.number", numbers)).filter(tickets::activity_at.lt(who.at));
    let change = diesel::update(these).set(tickets::internal_at.eq(who.at));
    on_each!(tx, |c| change.execute(c).await)?;
    Ok(())
}

/// The tickets of these numbers.
pub async fn tickets(tx: &mut Conn, numbers: &[i64]) -> Result<Vec<Ticket>, Problem> {
    let these = tickets::table.filter(one_of("tickets.number", numbers)).order(tickets::number);
    Ok(on_each!(tx, |c| these.select(Ticket::as_select()).load(c).await)?)
}

/// Forgets that `who` waits, unless they got yet another name meanwhile; gives whether nobody is to find what they were
/// called, since they were anonymised.
pub async fn is_done(tx: &mut Conn, who: RenamedPerson) -> Result<bool, Problem> {
    let this = renamed_people::table.find(who.id).filter(renamed_people::renamed_at.eq(who.at));
    on_each!(tx, |c| diesel::delete(this).execute(c).await)?;
    let anonymised = principals::table.find(who.id).filter(principals::anonymised_at.is_not_null());
    let anonymised: i64 = on_each!(tx, |c| anonymised.count().get_result(c).await)?;
    Ok(anonymised > 0)
}
