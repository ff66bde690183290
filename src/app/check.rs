//! Whether all is as it should be, looked at without changing anything.

use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};

use super::config::{Config, FilePlan};
use crate::audit::store::log;
use crate::db::{self, Conn, DatabaseUrl, RunQueryDsl, migrate, on_each};
use crate::files::service::probe::{self, FileFaults};
use crate::files::store::draft;
use crate::http::Sealer;
use crate::kernel::{Clock, Code, Problem, WebhookId};
use crate::tally;
use crate::tally::domain::Series;
use crate::tally::domain::facts::axis_name;
use crate::tally::store::cells;
use crate::{tickets, webhooks};

/// What was looked at, and what was found: how it is, or what is wrong and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// How it is.
    pub outcome: Result<String, String>,
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Ok(text) | Err(text)) = &self.outcome;
        let word = if self.outcome.is_ok() { "ok" } else { "failed" };
        write!(f, "{word:<8}{}: {}", self.what, text.replace('\n', " "))
    }
}

const RESTORE: &str = "stop the service and restore a backup";

const REBUILD: &str = "run `skranke rebuild`, also while the service is at work, and please report it";

const REPORT: &str = "this is a fault of the service: please report it";

/// The oldest PostgreSQL that will do.
const LEAST_POSTGRES: i64 = 15;

/// What every ticket has, as statements that count those which do not.
const TICKETS: [(&str, &str); 3] = [
    (
        "tickets whose trail does not begin with their opening",
        "SELECT count(*) AS n FROM tickets t
         WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.ticket_id = t.id AND e.kind = 'ticket.created')",
    ),
    (
        "tickets whose status and times contradict each other",
        "SELECT count(*) AS n FROM tickets WHERE (status = 'new') <> (started_at IS NULL)
         OR (status IN ('resolved', 'closed')) <> (resolved_at IS NOT NULL) OR (status = 'closed') <> (closed_at IS NOT NULL)",
    ),
    (
        "comments whose trail does not tell of them",
        "SELECT count(*) AS n FROM comments c
         WHERE NOT EXISTS (SELECT 1 FROM events e WHERE e.comment_id = c.id AND e.kind = 'comment.added')",
    ),
];

/// What there is none of in a change log, as statements that count it.
const LOG: [(&str, &str); 3] = [
    ("positions that are missing", "SELECT coalesce(max(position), 0) - count(*) AS n FROM changes"),
    (
        "positions without an event",
        "SELECT count(*) AS n FROM (SELECT event_id FROM changes EXCEPT SELECT id FROM events) AS lost",
    ),
    (
        "events with several positions",
        "SELECT count(*) AS n FROM (SELECT event_id FROM changes GROUP BY event_id HAVING count(*) > 1) AS doubled",
    ),
];

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    n: i64,
}

#[derive(QueryableByName)]
struct TextRow {
    #[diesel(sql_type = Text)]
    word: String,
}

/// Looks at everything, and with `deep` also at every ticket and at the numbers that are kept of them. What is not
/// there is not made.
pub async fn check(config: &Config, deep: bool) -> Vec<Finding> {
    let mut settings = format!("{} are set or have their defaults", super::config::SETTINGS.len());
    for unknown in &config.unknown {
        settings.push_str(&format!("; ignored: {unknown}"));
    }
    let mut found =
        vec![Finding { what: "settings", outcome: Ok(settings) }, Finding { what: "keys", outcome: keys(config) }];
    let mut found_good = |what, outcome: Result<String, String>| {
        let good = outcome.is_ok();
        found.push(Finding { what, outcome });
        good
    };
    // What cannot be read has nothing further to tell.
    if found_good("database", database(config).await) && found_good("schema", schema(config).await) {
        found_good("webhooks", webhooks_can_sign(config).await);
        found_good("files", files_can_lie(config).await);
        let whole = found_good("integrity", integrity(config).await);
        if deep && whole {
            found_good("tickets", look(config, tickets_are_whole).await);
            found_good("changes", look(config, log_is_whole).await);
            found_good("bytes of files", files_have_bytes(config).await);
            found_good("tags and clocks", look(config, rows_are_right).await);
            found_good("numbers", look(config, numbers_are_right).await);
        }
    }
    found
}

fn keys(config: &Config) -> Result<String, String> {
    if let Some(path) = config.key_beside_database() {
        if !path.exists() {
            return Err(format!(
                "there is no {}: put the one from the backup there, or let the next start make a new one, \
                 which no earlier access token is good for",
                path.display()
            ));
        }
        is_private(&path)?;
    }
    let keys = config.keys_there()?;
    let kids = keys.all().iter().map(|key| key.kid.as_str()).collect::<Vec<_>>();
    Ok(format!("tokens are signed with {}", kids.join(", and still accepted of ")))
}

/// What others on the machine may do with a file of ours: nothing.
fn is_private(path: &Path) -> Result<(), String> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_err(|e| format!("{}: {e}", path.display()))?.permissions().mode();
        if mode & 0o007 != 0 {
            return Err(format!("everybody on this machine may read {0}: run `chmod 600 {0}`", path.display()));
        }
    }
    Ok(())
}

/// What `work` finds, in one transaction that cannot write.
async fn look(
    config: &Config,
    work: impl AsyncFn(&mut Conn) -> Result<Result<String, String>, Problem>,
) -> Result<String, String> {
    let found = db::look(&config.database, work).await;
    found.unwrap_or_else(|problem| {
        Err(problem.cause().map_or_else(|| problem.detail().to_owned(), |cause| with_sources(cause)))
    })
}

/// An error with what is behind it.
fn with_sources(error: &dyn std::error::Error) -> String {
    let behind = std::iter::successors(error.source(), |error| error.source());
    behind.fold(error.to_string(), |text, source| {
        let source = source.to_string();
        if text.contains(&source) { text } else { format!("{text}: {source}") }
    })
}

async fn count(conn: &mut Conn, sql: &str) -> Result<i64, Problem> {
    let counted: Count = on_each!(conn, |c| diesel::sql_query(sql).get_result(c).await)?;
    Ok(counted.n)
}

async fn words(conn: &mut Conn, sql: &str) -> Result<Vec<String>, Problem> {
    let words: Vec<TextRow> = on_each!(conn, |c| diesel::sql_query(sql).load(c).await)?;
    Ok(words.into_iter().map(|row| row.word).collect())
}

/// The first few of `words`, and how many there are more.
fn few(words: &[String]) -> String {
    const FEW: usize = 3;
    let first = words.iter().take(FEW).cloned().collect::<Vec<_>>().join("; ");
    if words.len() > FEW { format!("{first}; and {} more", words.len() - FEW) } else { first }
}

async fn database(config: &Config) -> Result<String, String> {
    if let DatabaseUrl::Sqlite(path) = &config.database {
        if !path.is_file() {
            return Err(format!(
                "there is no {}: DATABASE_URL should name the file, or the next start makes a new one",
                path.display()
            ));
        }
        is_private(path)?;
        let version = look(config, async |conn| {
            let version =
                words(conn, "SELECT sqlite_version() AS word FROM (SELECT count(*) FROM sqlite_schema)").await?;
            Ok(Ok(version.concat()))
        });
        return Ok(format!("{}, read by SQLite {}", path.display(), version.await?));
    }
    look(config, async |conn| {
        let number = count(conn, "SELECT current_setting('server_version_num')::bigint AS n").await?;
        let version = words(conn, "SELECT current_setting('server_version') AS word").await?.concat();
        Ok(if number / 10_000 < LEAST_POSTGRES {
            Err(format!("PostgreSQL {version} is too old: move to {LEAST_POSTGRES} or newer"))
        } else {
            Ok(format!("PostgreSQL {version}"))
        })
    })
    .await
}

async fn schema(config: &Config) -> Result<String, String> {
    let there = match config.database {
        DatabaseUrl::Sqlite(_) => "SELECT count(*) AS n FROM sqlite_schema WHERE name = '__diesel_schema_migrations'",
        DatabaseUrl::Postgres(_) => "SELECT count(to_regclass('__diesel_schema_migrations')) AS n",
    };
    look(config, async |conn| {
        if count(conn, there).await? == 0 {
            return Ok(Err("it was never migrated: run `skranke migrate`".into()));
        }
        let state = migrate::state(conn).await?;
        Ok(if !state.unknown.is_empty() {
            Err(format!("{} is of a newer version: run that one", few(&state.unknown)))
        } else if !state.missing.is_empty() {
            Err(format!("{} is missing: run `skranke migrate`", few(&state.missing)))
        } else {
            Ok(format!("{} migrations, up to {}", state.done.len(), state.done.last().map_or("none", String::as_str)))
        })
    })
    .await
}

/// Whether the secrets of webhooks can be read by the keys that there are.
async fn webhooks_can_sign(config: &Config) -> Result<String, String> {
    let keys = config.keys_there()?;
    let sealer = Sealer::new(keys.all().iter().map(|key| key.seed())).map_err(|problem| problem.to_string())?;
    look(config, async |conn| {
        let all = webhooks::store::sealed(conn).await?;
        let is_lost = |id: &WebhookId, sealed: &str| sealer.open_secret(&id.to_string(), sealed).is_none();
        let lost: Vec<_> = all.iter().filter(|(id, _, sealed)| is_lost(id, sealed)).map(|of| of.1.clone()).collect();
        Ok(if lost.is_empty() {
            Ok(format!("the secrets of all {} can be read", all.len()))
        } else {
            let mend = "put the signing key back that was there, or give them others by POST /v1/webhooks/{id}/secret";
            Err(format!("the secrets of {} cannot be read: {mend}", few(&lost)))
        })
    })
    .await
}

/// Whether there is a place for files, and all instances have the same.
async fn files_can_lie(config: &Config) -> Result<String, String> {
    let cabinet = config.cabinet()?;
    let FilePlan::Folder(folder) = &config.files else {
        let listed = cabinet.bytes.list(&draft::shard(0)).await;
        return listed.map(|_| format!("they lie in {}", config.files)).map_err(|error| with_sources(&error));
    };
    if folder.exists() {
        is_private(folder)?;
    }
    let now = Clock::system().now();
    look(config, async |conn| {
        let (strangers, there) = probe::strangers(conn, &cabinet.bytes, now).await?;
        let few = strangers.len();
        Ok(match (few, folder.is_dir()) {
            (0, true) => Ok(format!("they lie in {}", config.files)),
            (0, false) => Ok(format!("they will lie in {}, which is made with the first", config.files)),
            _ => Err(format!(
                "{few} of {there} instances that are at work have another folder than {}: \
                 let SKRANKE_FILES name one that all share",
                folder.display()
            )),
        })
    })
    .await
}

/// Files, held against the bytes that they should have.
async fn files_have_bytes(config: &Config) -> Result<String, String> {
    let cabinet = config.cabinet()?;
    look(config, async |conn| {
        let FileFaults { files, missing, orphans } = probe::compare(conn, &cabinet.bytes).await?;
        let lost: Vec<_> = missing.iter().map(ToString::to_string).collect();
        Ok(if lost.is_empty() {
            let note = if orphans > 0 {
                format!("; bytes that no file has, swept after a day: {orphans}")
            } else {
                String::new()
            };
            Ok(format!("all {files} have theirs{note}"))
        } else {
            Err(format!("the bytes of {} are missing: restore them from a backup, or delete the files", few(&lost)))
        })
    })
    .await
}

/// What the engine itself knows of its files.
async fn integrity(config: &Config) -> Result<String, String> {
    match config.database {
        DatabaseUrl::Sqlite(_) => {
            look(config, async |conn| {
                let faults = words(conn, "SELECT integrity_check AS word FROM pragma_integrity_check").await?;
                if faults != ["ok"] && faults.iter().all(|fault| fault.contains("ticket_words")) {
                    return Ok(Err(format!(
                        "{}: run skranke rebuild, which makes the index of words anew",
                        few(&faults)
                    )));
                }
                if faults != ["ok"] {
                    return Ok(Err(format!("{}: {RESTORE}", few(&faults))));
                }
                let lost = "SELECT \"table\" || ' lacks a row of ' || parent AS word FROM pragma_foreign_key_check";
                let lost = words(conn, lost).await?;
                Ok(if lost.is_empty() {
                    Ok("integrity_check and foreign_key_check find nothing".into())
                } else {
                    Err(format!("{}: {RESTORE}", few(&lost)))
                })
            })
            .await
        }
        DatabaseUrl::Postgres(_) => {
            look(config, async |conn| {
                const UNFIT: &str = "
                    SELECT 'the index ' || i.indexrelid::regclass || ' is not valid: run REINDEX' AS word
                    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
                    WHERE c.relnamespace = current_schema()::regnamespace AND NOT (i.indisvalid AND i.indisready)
                    UNION ALL
                    SELECT 'the constraint ' || conname || ' is not validated: run ALTER TABLE … VALIDATE CONSTRAINT'
                    FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND NOT convalidated";
                let unfit = words(conn, UNFIT).await?;
                Ok(if unfit.is_empty() { Ok("all indexes and constraints are valid".into()) } else { Err(few(&unfit)) })
            })
            .await
        }
    }
}

async fn tickets_are_whole(conn: &mut Conn) -> Result<Result<String, String>, Problem> {
    let mut faults = Vec::new();
    for (what, sql) in TICKETS {
        match count(conn, sql).await? {
            0 => {}
            n => faults.push(format!("{what}: {n}")),
        }
    }
    let all = count(conn, "SELECT count(*) AS n FROM tickets").await?;
    Ok(if faults.is_empty() {
        Ok(format!("all {all} have their trail"))
    } else {
        Err(format!("{}: {REPORT}", faults.join("; ")))
    })
}

/// The change log: positions from 1 on without a gap, each of an event, and each event once.
async fn log_is_whole(conn: &mut Conn) -> Result<Result<String, String>, Problem> {
    let without = format!("SELECT count(*) AS n FROM ({}) AS lost", log::without_place(conn));
    let mut faults = Vec::new();
    for (what, sql) in LOG.into_iter().chain([("events without a position", without.as_str())]) {
        match count(conn, sql).await? {
            0 => {}
            n => faults.push(format!("{what}: {n}")),
        }
    }
    let head = log::head(conn).await?;
    Ok(if faults.is_empty() {
        Ok(format!("positions are 1 to {head} without a gap, and each event has one"))
    } else {
        Err(format!("{}: {REPORT}", faults.join("; ")))
    })
}

/// The rows that follow from tickets, held against these.
async fn rows_are_right(conn: &mut Conn) -> Result<Result<String, String>, Problem> {
    let (now, mut tickets) = (Clock::system().now(), 0);
    let (mut last, mut tags, mut clocks) = (0, Numbers::default(), Numbers::default());
    loop {
        let found = tickets::service::look_at_rows(conn, last, now).await?;
        if found.tickets == 0 {
            break;
        }
        tickets += found.tickets;
        last = found.last;
        tags.add(&found.tags);
        clocks.add(&found.clocks);
    }
    let faults: Vec<_> = [("tags", tags), ("clocks", clocks)].iter().filter_map(|(what, of)| of.told(what)).collect();
    Ok(if faults.is_empty() {
        Ok(format!("those of all {tickets} tickets are what the tickets tell"))
    } else {
        Err(format!("wrong are {}: {REBUILD}", faults.join(" and ")))
    })
}

/// Some tickets, of which the first few are told.
#[derive(Default)]
struct Numbers {
    count: usize,
    first: Vec<i64>,
}

impl Numbers {
    fn add(&mut self, more: &[i64]) {
        self.count += more.len();
        self.first.extend(more);
        self.first.truncate(5);
    }

    fn told(&self, what: &str) -> Option<String> {
        let first = self.first.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
        let more = if self.count > self.first.len() { ", …" } else { "" };
        let tickets = if self.count == 1 { "ticket" } else { "tickets" };
        (self.count > 0).then(|| format!("the {what} of {} {tickets} ({first}{more})", self.count))
    }
}

/// The numbers that are kept of tickets as they change, held against a count of the tickets.
async fn numbers_are_right(conn: &mut Conn) -> Result<Result<String, String>, Problem> {
    cells::marks(conn).await?;
    tickets::store::search::readable(conn).await?;
    let found = tickets::service::compare(conn, &|_| {}).await?;
    let mut faults: Vec<_> = found.wrong.iter().map(|series| name_of(series)).collect();
    match tally::service::wrong_cells(conn).await {
        Ok(wrong) => faults
            .extend(wrong.iter().map(|(axis, level)| format!("those of reports by {} and {level}", axis_name(*axis)))),
        Err(problem) if problem.code() == Code::Internal => {
            faults.push("those of reports, which cannot be read".into())
        }
        Err(problem) => return Err(problem),
    }
    faults.dedup();
    Ok(if faults.is_empty() {
        Ok(format!("what is kept of all {} tickets is what counting them comes to", found.tickets))
    } else {
        Err(format!("wrong are {}: {REBUILD}", faults.join(" and ")))
    })
}

/// What a series is about.
fn name_of(series: &str) -> String {
    match series.parse() {
        Ok(Series::Tickets) => "tickets by status, priority and team".to_owned(),
        Ok(series) => format!("the count of {series}"),
        Err(_) => "the backlog".to_owned(),
    }
}
