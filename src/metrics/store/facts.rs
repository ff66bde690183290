//! What happened in a window: small rows, found by the index of the instant that they are about.

use diesel::prelude::*;
use diesel::sql_types::{Nullable, Text};

use crate::db::raw::raw;
use crate::db::schema::{principals, sla_policies, teams, ticket_clocks, tickets, time_entries};
use crate::db::{Conn, RunQueryDsl, boxed, on_each};
use crate::kernel::sql::Guid;
use crate::kernel::{AnyId, Channel, Currency, Instant, Money, PolicyId, Priority, Problem, TeamId, TicketType};
use crate::metrics::domain::figures::{GroupBy, Key};
use crate::metrics::domain::window::Window;
use crate::sla::domain::policy::Target;
use crate::tally::domain::facts::{Fact, Keys, Took, What};
use crate::tickets::store::{TicketCriteria, narrow};

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
    pub sieve: TicketCriteria,
    /// When it happened.
    pub window: Window,
    /// By what the tickets are grouped.
    pub group: Option<GroupBy>,
}

/// The axes of a ticket.
type AxesRow = ((Priority, TicketType, Channel), (Option<TeamId>, Option<PolicyId>));

/// Of each ticket that is meant and whose `$at` lies in the window: that instant, its axes, its groups, and `$values`.
macro_rules! facts {
    ($conn:expr, $ask:expr, $at:expr, $values:expr, $from:expr) => {{
        let (Window { from, to }, (id, word)) = ($ask.window, columns($ask.group));
        let key = (raw::<Nullable<Guid>>(id), raw::<Nullable<Text>>(word));
        let axes = ((tickets::priority, tickets::kind, tickets::channel), (tickets::team_id, ticket_clocks::policy_id));
        let facts = $from.filter($at.ge(from)).filter($at.lt(to)).select(($at.nullable(), axes, key, $values));
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

/// A fact, and the groups of its ticket.
pub type Told = (Fact, Vec<Key>);

/// How much time is read at once, in days, where much happens; and how many facts are much.
const MOST_DAYS: i64 = 8;
const MANY: usize = 20_000;

/// Tells `put` all facts that are meant: a read by index for each kind, of some days at a time, so that it takes no more
/// room in a long window than in a short one.
///
/// # Errors
/// When the database is away.
pub async fn gather(conn: &mut Conn, ask: &Ask, put: &mut impl FnMut(Fact, &[Key])) -> Result<(), Problem> {
    let (mut from, to) = (ask.window.from, ask.window.to);
    let mut stride_s = 86_400;
    while from < to {
        let window = Window { from, to: from.plus_s(stride_s).min(to) };
        let some = at_once(conn, &Ask { window, ..ask.clone() }).await?;
        from = window.to;
        if some.is_empty() && from < to {
            from = first(conn, from).await?.unwrap_or(to).max(from);
        }
        stride_s = if some.len() > MANY { stride_s / 2 } else { 2 * stride_s }.clamp(600, MOST_DAYS * 86_400);
        some.iter().for_each(|(fact, keys)| put(*fact, keys));
    }
    Ok(())
}

/// When something happens first, or will be breached, at `from` or later.
///
/// # Errors
/// When the database is away.
pub async fn first(conn: &mut Conn, from: Instant) -> Result<Option<Instant>, Problem> {
    let mut first: Option<Instant> = None;
    macro_rules! first {
        ($($table:ident: $($at:ident)+;)+) => {$($({
            let at = $table::$at;
            let query = $table::table.filter(at.ge(from)).order(at).select(at.nullable());
            let found: Option<Option<Instant>> = on_each!(conn, |c| query.first(c).await.optional())?;
            first = [first, found.flatten()].into_iter().flatten().min();
        })+)+};
    }
    first! {
        tickets: created_at started_at first_replied_at;
        ticket_clocks: last_resolved_at response_met_at first_reply_met_at service_met_at
            response_breach_at first_reply_breach_at service_breach_at;
        time_entries: worked_at;
    }
    Ok(first)
}

/// All facts that are meant.
///
/// # Errors
/// When the database is away.
pub async fn at_once(conn: &mut Conn, ask: &Ask) -> Result<Vec<Told>, Problem> {
    let mut told = Vec::new();
    created(conn, ask, &mut told).await?;
    started(conn, ask, &mut told).await?;
    replied(conn, ask, &mut told).await?;
    resolved(conn, ask, &mut told).await?;
    promised(conn, ask, &mut told).await?;
    worked(conn, ask, &mut told).await?;
    Ok(told)
}

/// A row of a fact with these values.
type Row<T> = (Option<Instant>, AxesRow, KeyRow, T);

async fn created(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    let rows: Vec<Row<i64>> = happened!(conn, ask, tickets::created_at, tickets::number)?;
    put(ask, told, rows, |_, _| What::Created)
}

async fn started(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    let values = (tickets::reported_at, ticket_clocks::response_business_s);
    let rows: Vec<Row<(Instant, Option<i64>)>> = happened!(conn, ask, tickets::started_at, values)?;
    put(ask, told, rows, |at, (reported_at, business_s)| What::Started(Took::between(reported_at, at, business_s)))
}

async fn replied(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    let values = (tickets::reported_at, ticket_clocks::first_reply_business_s);
    let rows: Vec<Row<(Instant, Option<i64>)>> = happened!(conn, ask, tickets::first_replied_at, values)?;
    put(ask, told, rows, |at, (reported_at, business_s)| What::Replied(Took::between(reported_at, at, business_s)))
}

async fn resolved(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    type Seconds = (Option<i64>, Option<i64>);
    let values = (
        (tickets::reopen_count, tickets::agent_comments),
        (ticket_clocks::service_s, ticket_clocks::service_business_s),
        (ticket_clocks::resolution_s, ticket_clocks::resolution_business_s),
    );
    type Values = ((i32, i32), Seconds, Seconds);
    let rows: Vec<Row<Values>> = happened!(conn, ask, ticket_clocks::last_resolved_at, values)?;
    put(ask, told, rows, |_, (counts, service, resolution)| What::resolved(counts, service, resolution))
}

/// Promises that were kept, and those that were broken until now: whether or not anything was written then.
async fn promised(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    let just_after_now = Instant::from_micros(ask.sieve.now.micros() + 1);
    let until_now = Window { to: ask.window.to.min(just_after_now), ..ask.window };
    let broken = &Ask { window: until_now, ..ask.clone() };
    macro_rules! promised {
        ($ask:ident, $at:expr, $what:expr) => {
            let rows: Vec<Row<i64>> = happened!(conn, $ask, $at, tickets::number)?;
            put($ask, told, rows, |_, _| $what)?;
        };
    }
    promised!(ask, ticket_clocks::response_met_at, What::Met(Target::Response));
    promised!(ask, ticket_clocks::first_reply_met_at, What::Met(Target::FirstReply));
    promised!(ask, ticket_clocks::service_met_at, What::Met(Target::Service));
    promised!(broken, ticket_clocks::response_breach_at, What::Breached(Target::Response));
    promised!(broken, ticket_clocks::first_reply_breach_at, What::Breached(Target::FirstReply));
    promised!(broken, ticket_clocks::service_breach_at, What::Breached(Target::Service));
    Ok(())
}

async fn worked(conn: &mut Conn, ask: &Ask, told: &mut Vec<Told>) -> Result<(), Problem> {
    type Values = (i32, Option<i64>, Option<Currency>);
    let rows: Vec<Row<Values>> = happened!(
        conn,
        ask,
        time_entries::worked_at,
        (time_entries::work_s, time_entries::cost_minor, time_entries::cost_currency),
        time_entries::table.inner_join(tickets::table.inner_join(ticket_clocks::table))
    )?;
    put(ask, told, rows, |_, (work_s, minor, currency)| What::Worked {
        work_s: work_s.into(),
        cost: Money::from_stored(minor, currency),
    })
}

fn put<T>(
    ask: &Ask,
    told: &mut Vec<Told>,
    rows: Vec<Row<T>>,
    what: impl Fn(Instant, T) -> What,
) -> Result<(), Problem> {
    for (at, ((priority, kind, channel), (team, policy)), key, values) in rows {
        // It lies in the window, so it is there.
        if let Some(at) = at {
            let fact = Fact { at, keys: Keys { priority, kind, channel, team, policy }, what: what(at, values) };
            told.push((fact, keys(ask.group, key)?));
        }
    }
    Ok(())
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
        let c = &mut plain;
        let ask = Ask {
            sieve: TicketCriteria::open(Instant::EPOCH),
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
