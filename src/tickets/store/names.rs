//! What the ids in a trail stand for.

use diesel::prelude::*;

use crate::audit::wire::{EventNames, NamedIds};
use crate::db::schema::{principals, teams, tickets};
use crate::db::{Conn, RunQueryDsl, on_each};
use crate::kernel::{PrincipalId, Problem, TeamId, TicketId};
use crate::tickets::policy::reach::Reach;

/// The names of `ids`, as far as they are within `reach`: a statement for each kind of which there is any.
pub async fn names(conn: &mut Conn, reach: &Reach, ids: NamedIds) -> Result<EventNames, Problem> {
    let mut names = EventNames { shown: reach.names(), ..EventNames::default() };
    if !ids.principals.is_empty() {
        let these = principals::table.filter(principals::id.eq_any(ids.principals));
        let these = these.select((principals::id, principals::name));
        let found: Vec<(PrincipalId, String)> = on_each!(conn, |c| these.load(c).await)?;
        names.principals.extend(found);
    }
    if !ids.teams.is_empty() {
        let these = teams::table.filter(teams::id.eq_any(ids.teams)).select((teams::id, teams::name));
        let found: Vec<(TeamId, String)> = on_each!(conn, |c| these.load(c).await)?;
        names.teams.extend(found);
    }
    if !ids.tickets.is_empty() {
        let these = tickets::table.filter(tickets::id.eq_any(ids.tickets));
        let these = these.select((tickets::id, tickets::number, tickets::subject, tickets::requester_id));
        let found: Vec<(TicketId, i64, String, Option<PrincipalId>)> = on_each!(conn, |c| these.load(c).await)?;
        let seen = |requester: Option<PrincipalId>| reach.only_of().is_none_or(|own| requester == Some(own));
        let found = found.into_iter().filter(|(.., requester)| seen(*requester));
        names.tickets.extend(found.map(|(id, number, subject, _)| (id, (number, subject))));
    }
    Ok(names)
}
