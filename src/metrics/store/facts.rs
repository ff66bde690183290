//! What happened in a window: small rows, found by the index of the instant that they are about.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};
use diesel_async::RunQueryDsl;

use crate::db::schema::{principals, sla_policies, teams, ticket_clocks, tickets, time_entries};
use crate::db::{Conn, boxed, on_each};
use crate::kernel::sql::Guid;
use crate::kernel::{AnyId, Currency, Instant, Money, Problem};
use crate::metrics::domain::figures::{Fact, GroupBy, Key, Sheet, Took};
use crate::metrics::domain::window::Window;
use crate::sla::domain::policy::Target;
use crate::tickets::store::{Sieve, narrow};

/// What a ticket is grouped by: an id, or a word, or neither.
pub(super) type KeyRow = (Option<AnyId>, Option<String>);

/// The columns with the group of a ticket.
pub(super) fn columns(group: Option<GroupBy>) -> (&'static str, &'static str) {
    const NO_ID: &str = "CAST(NULL AS uuid)";
    const NO_WORD: &str = "CAST(NULL AS text)";
    match group {
        Some(GroupBy::Team) => ("tickets.team_id", NO_WORD),
        Some(GroupBy::Assignee) => ("tickets.assignee_id", NO_WORD),
        Some(GroupBy::Policy) => ("ticket_clocks.policy_id", NO_WORD),
        Some(GroupBy::Priority) => (NO_ID, "tickets.priority"),
        Some(GroupBy::Type) => (NO_ID, "tickets.type"),
        Some(GroupBy::Channel) => (NO_ID, "tickets.channel"),
        // A list, as JSON.
        Some(GroupBy::Tag) => (NO_ID, "CAST(tickets.tags AS text)"),
        None => (NO_ID, NO_WORD),
    }
}

/// The groups that a ticket is in.
pub(super) fn keys(group: Option<GroupBy>, (id, word): KeyRow) -> Result<Vec<Key>, Problem> {
    Ok(match (group, id, word) {
        (None, ..) => Vec::new(),
        (Some(GroupBy::Tag), _, Some(list)) => {
            let tags: Vec<String> = serde_json::from_str(&list).map_err(Problem::internal)?;
            if tags.is_empty() { vec![Key::None] } else { tags.into_iter().map(Key::Word).collect() }
        }
        (_, Some(id), _) => vec![Key::Id(id)],
        (_, None, Some(word)) => vec![Key::Word(word)],
        (_, None, None) => vec![Key::None],
    })
}

/// Which facts are meant: of these tickets, in this window, by group.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Which tickets.
    pub sieve: Sieve,
    /// When it happened.
    pub window: Window,
    /// By what the tickets are grouped.
    pub group: Option<GroupBy>,
}

/// Of each ticket that is meant and whose `$at` lies in the window: that instant, its groups, and `$values`.
macro_rules! facts {
    ($conn:expr, $ask:expr, $at:expr, $values:expr, $from:expr) => {{
        let (Window { from, to }, (id, word)) = ($ask.window, columns($ask.group));
        let key = (sql::<Nullable<Guid>>(id), sql::<Nullable<Text>>(word));
        let facts = $from.filter($at.ge(from)).filter($at.lt(to)).select(($at.nullable(), key, $values));
        narrow!(boxed($conn, facts), $ask.sieve)
    }};
}

/// Loads [`facts!`].
macro_rules! happened {
    ($conn:ident, $ask:ident, $at:expr, $values:expr) => {
        happened!($conn, $ask, $at, $values, tickets::table.inner_join(ticket_clocks::table))
    };
    ($conn:ident, $ask:ident, $at:expr, $values:expr, $from:expr) => {
        on_each!($conn, |c| facts!(c, $ask, $at, $values, $from).load(c).await)
    };
}

/// Puts all facts that are meant onto `sheet`: a read by index for each kind.
///
/// # Errors
/// When the database is away.
pub async fn gather(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    created(conn, ask, sheet).await?;
    started(conn, ask, sheet).await?;
    replied(conn, ask, sheet).await?;
    resolved(conn, ask, sheet).await?;
    promised(conn, ask, sheet).await?;
    worked(conn, ask, sheet).await
}

async fn created(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    let rows: Vec<(Option<Instant>, KeyRow, i64)> = happened!(conn, ask, tickets::created_at, tickets::number)?;
    put(ask, sheet, rows, |_| Fact::Created)
}

async fn started(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    type Row = (Option<Instant>, KeyRow, (Instant, Option<Instant>, Option<i64>));
    let rows: Vec<Row> = happened!(
        conn,
        ask,
        tickets::started_at,
        (tickets::reported_at, tickets::started_at, ticket_clocks::response_business_s)
    )?;
    put(ask, sheet, rows, |(reported_at, at, business_s)| Fact::Started(Took::of(since(reported_at, at), business_s)))
}

async fn replied(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    type Row = (Option<Instant>, KeyRow, (Instant, Option<Instant>, Option<i64>));
    let rows: Vec<Row> = happened!(
        conn,
        ask,
        tickets::first_replied_at,
        (tickets::reported_at, tickets::first_replied_at, ticket_clocks::first_reply_business_s)
    )?;
    put(ask, sheet, rows, |(reported_at, at, business_s)| Fact::Replied(Took::of(since(reported_at, at), business_s)))
}

async fn resolved(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    type Seconds = (Option<i64>, Option<i64>);
    type Row = (Option<Instant>, KeyRow, (i32, i32, Seconds, Seconds));
    let rows: Vec<Row> = happened!(
        conn,
        ask,
        ticket_clocks::last_resolved_at,
        (
            tickets::reopen_count,
            tickets::agent_comments,
            (ticket_clocks::service_s, ticket_clocks::service_business_s),
            (ticket_clocks::resolution_s, ticket_clocks::resolution_business_s)
        )
    )?;
    put(ask, sheet, rows, |(reopen_count, agent_comments, service, resolution)| Fact::Resolved {
        reopened: reopen_count > 0,
        first_contact: reopen_count == 0 && agent_comments <= 1,
        service: Took::of(service.0, service.1),
        resolution: Took::of(resolution.0, resolution.1),
    })
}

/// Promises that were kept, and those that were broken until now: whether or not anything was written then.
async fn promised(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    let just_after_now = Instant::from_micros(ask.sieve.now.micros() + 1);
    let until_now = Window { to: ask.window.to.min(just_after_now), ..ask.window };
    let broken = &Ask { window: until_now, ..ask.clone() };
    macro_rules! promised {
        ($ask:ident, $at:expr, $fact:expr) => {
            let rows: Vec<(Option<Instant>, KeyRow, i64)> = happened!(conn, $ask, $at, tickets::number)?;
            put($ask, sheet, rows, |_| $fact)?;
        };
    }
    promised!(ask, ticket_clocks::response_met_at, Fact::Met(Target::Response));
    promised!(ask, ticket_clocks::first_reply_met_at, Fact::Met(Target::FirstReply));
    promised!(ask, ticket_clocks::service_met_at, Fact::Met(Target::Service));
    promised!(broken, ticket_clocks::response_breach_at, Fact::Breached(Target::Response));
    promised!(broken, ticket_clocks::first_reply_breach_at, Fact::Breached(Target::FirstReply));
    promised!(broken, ticket_clocks::service_breach_at, Fact::Breached(Target::Service));
    Ok(())
}

async fn worked(conn: &mut Conn, ask: &Ask, sheet: &mut Sheet) -> Result<(), Problem> {
    type Row = (Option<Instant>, KeyRow, (i32, Option<i64>, Option<Currency>));
    let rows: Vec<Row> = happened!(
        conn,
        ask,
        time_entries::worked_at,
        (time_entries::work_s, time_entries::cost_minor, time_entries::cost_currency),
        time_entries::table.inner_join(tickets::table.inner_join(ticket_clocks::table))
    )?;
    put(ask, sheet, rows, |(work_s, minor, currency)| Fact::Worked {
        work_s: work_s.into(),
        cost: Money::from_stored(minor, currency),
    })
}

fn put<T>(
    ask: &Ask,
    sheet: &mut Sheet,
    rows: Vec<(Option<Instant>, KeyRow, T)>,
    fact: impl Fn(T) -> Fact,
) -> Result<(), Problem> {
    for (at, key, values) in rows {
        // It lies in the window, so it is there.
        if let Some(at) = at {
            sheet.add(at, &keys(ask.group, key)?, &fact(values));
        }
    }
    Ok(())
}

/// The whole seconds from `from` to `to`.
fn since(from: Instant, to: Option<Instant>) -> Option<i64> {
    to.map(|to| (to.micros() - from.micros()) / 1_000_000)
}

/// The names of what groups of this kind stand for, as they are now.
///
/// # Errors
/// When the database is away.
pub async fn names(conn: &mut Conn, group: GroupBy, ids: Vec<AnyId>) -> Result<Vec<(AnyId, String)>, Problem> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    macro_rules! named {
        ($table:ident) => {
            on_each!(conn, |c| {
                $table::table.filter($table::id.eq_any(ids)).select(($table::id, $table::name)).load(c).await
            })?
        };
    }
    Ok(match group {
        GroupBy::Team => named!(teams),
        GroupBy::Assignee => named!(principals),
        GroupBy::Policy => named!(sla_policies),
        GroupBy::Priority | GroupBy::Type | GroupBy::Channel | GroupBy::Tag => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::Connection;
    use diesel::connection::SimpleConnection;
    use diesel::sqlite::Sqlite;

    use crate::db::SqliteAsync;

    /// SQLite's plan for a query, a line for each step.
    #[derive(QueryableByName)]
    struct Step {
        #[diesel(sql_type = Text)]
        detail: String,
    }

    /// However many tickets there are, a report about a short window reads a range of an index for each kind of fact.
    #[tokio::test]
    async fn each_kind_of_fact_is_found_by_an_index_of_its_instant() {
        let mut plain = SqliteConnection::establish(":memory:").expect("a database");
        for up in ["0001_counter", "0002_clocks", "0003_time_entries", "0004_tallies", "0008_lists"] {
            let path = format!("{}/migrations/sqlite/{up}/up.sql", env!("CARGO_MANIFEST_DIR"));
            plain.batch_execute(&std::fs::read_to_string(path).expect("a migration")).expect("a schema");
        }
        let c = &mut SqliteAsync::new(plain);
        let ask = Ask {
            sieve: Sieve::open(Instant::EPOCH),
            window: Window { from: Instant::EPOCH, to: Instant::NEVER },
            group: Some(GroupBy::Team),
        };
        macro_rules! plan {
            ($at:expr, $index:literal) => {
                plan!($at, $index, tickets::table.inner_join(ticket_clocks::table))
            };
            ($at:expr, $index:literal, $from:expr) => {
                let query = facts!(c, ask, $at, tickets::number, $from);
                let text = diesel::debug_query::<Sqlite, _>(&query).to_string();
                let text = text.split(" -- binds").next().unwrap_or_default();
                let plan: Vec<Step> =
                    diesel::sql_query(format!("EXPLAIN QUERY PLAN {text}")).load(c).await.expect("a plan");
                let first = &plan[0].detail;
                let wanted = concat!("INDEX ", $index, " (");
                assert!(first.contains("SEARCH") && first.contains(wanted), "{first}");
                assert!(plan.iter().all(|step| step.detail.starts_with("SEARCH")));
            };
        }
        plan!(tickets::created_at, "tickets_by_created");
        plan!(tickets::started_at, "tickets_by_started");
        plan!(tickets::first_replied_at, "tickets_by_first_reply");
        plan!(ticket_clocks::last_resolved_at, "ticket_clocks_by_resolved");
        plan!(ticket_clocks::response_met_at, "ticket_clocks_by_response_met");
        plan!(ticket_clocks::first_reply_met_at, "ticket_clocks_by_first_reply_met");
        plan!(ticket_clocks::service_met_at, "ticket_clocks_by_service_met");
        plan!(ticket_clocks::response_breach_at, "ticket_clocks_by_response_breach");
        plan!(ticket_clocks::first_reply_breach_at, "ticket_clocks_by_first_reply_breach");
        plan!(ticket_clocks::service_breach_at, "ticket_clocks_by_service_breach");
        let work = time_entries::table.inner_join(tickets::table.inner_join(ticket_clocks::table));
        plan!(time_entries::worked_at, "time_entries_by_time", work);
    }
}
