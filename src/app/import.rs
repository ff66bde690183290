//! Importing from a file, beside a server that is at work.
#![expect(clippy::print_stderr, reason = "what a command says goes to its terminal")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};

use crate::auth::domain::{Scope, Scopes};
use crate::auth::policy::{Act, Administer, Allowed};
use crate::auth::service::standing;
use crate::db::{Db, Roots};
use crate::imports::domain::ImportOutcome;
use crate::imports::service::{AT_ONCE, ImportPlan, import};
use crate::imports::wire::{LONGEST_LINE_B, read};
use crate::kernel::text::Line;
use crate::kernel::{Clock, Code, Problem};
use crate::people;
use crate::tickets::policy::ReachesTickets;

/// In whose name what nobody else has done is imported.
const ACCOUNT: &str = "import";

/// How many lines that were not taken are told one by one, and how many that were mended.
const MOST_TOLD: u64 = 100;

/// What an import has come to.
#[derive(Debug, Default)]
pub struct ImportTally {
    /// How many lines this became of.
    pub taken: BTreeMap<ImportOutcome, u64>,
    /// How many were not taken.
    pub failed: u64,
    /// How many of those that were taken had to be mended.
    pub mended: u64,
}

/// Imports all lines of `file`, or of standard input if it is `-`. Each that is not taken, or was mended, is told as
/// it is met. What ends in the middle is simply run again.
///
/// # Errors
/// When it cannot be read to its end, or the database is away.
pub async fn run(db: &Db, file: &Path, plan: &ImportPlan) -> Result<ImportTally, Problem> {
    let unreadable =
        |error: std::io::Error| Problem::new(Code::Unavailable, format!("cannot read {}: {error}", file.display()));
    let (source, size_b): (Box<dyn std::io::Read>, Option<u64>) = if file == Path::new("-") {
        (Box::new(std::io::stdin()), None)
    } else {
        let file = std::fs::File::open(file).map_err(unreadable)?;
        let size_b = file.metadata().map_err(unreadable)?.len();
        (Box::new(file), Some(size_b))
    };
    let progress = progress(size_b);
    let (clock, reach) = (Clock::system(), caller(db).await?);
    let (who, reach) = (reach.who().clone(), reach.reach());
    let mut lines = BufReader::new(progress.wrap_read(source));
    let (mut told, mut number, mut some, mut line) = (ImportTally::default(), 0_u64, Vec::new(), Vec::new());
    loop {
        line.clear();
        let is_last = lines.read_until(b'\n', &mut line).map_err(unreadable)? == 0;
        if !is_last {
            number += 1;
            let text = line.trim_ascii();
            match text {
                [] => {}
                text if text.len() > LONGEST_LINE_B => {
                    told.fail(number, &Problem::field("", "too_long", "is too long"), &progress);
                }
                text => match read(text) {
                    Ok(line) => some.push((number, line)),
                    Err(problem) => told.fail(number, &problem, &progress),
                },
            }
        }
        if some.len() >= AT_ONCE || (is_last && !some.is_empty()) {
            let (numbers, lines): (Vec<_>, Vec<_>) = std::mem::take(&mut some).into_iter().unzip();
            let act = Act { who: who.clone(), now: clock.now(), clock: clock.clone() };
            let all = import(&db.anew(), &act, reach, plan, lines).await?;
            for (number, imported) in numbers.into_iter().zip(all) {
                match imported {
                    Ok(imported) => {
                        *told.taken.entry(imported.outcome).or_default() += 1;
                        told.mend(number, &imported.mended, &progress);
                    }
                    Err(problem) => told.fail(number, &problem, &progress),
                }
            }
            progress.set_message(format!("{number} lines"));
        }
        if is_last {
            progress.finish_and_clear();
            return Ok(told);
        }
    }
}

impl ImportTally {
    fn mend(&mut self, number: u64, mended: &[String], progress: &ProgressBar) {
        if mended.is_empty() {
            return;
        }
        self.mended += 1;
        if self.mended <= MOST_TOLD {
            progress.suspend(|| eprintln!("line {number} was mended: {}", mended.join("; ")));
        }
    }

    fn fail(&mut self, number: u64, problem: &Problem, progress: &ProgressBar) {
        self.failed += 1;
        if self.failed <= MOST_TOLD {
            let faults: Vec<_> = problem.errors().iter().map(|fault| format!("{} {fault}", fault.pointer)).collect();
            let why = if faults.is_empty() { problem.detail().to_owned() } else { faults.join("; ") };
            progress.suspend(|| eprintln!("line {number}: {why}"));
        }
    }
}

/// Shows how far it is, to somebody who looks.
fn progress(size_b: Option<u64>) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = size_b.map_or_else(ProgressBar::no_length, ProgressBar::new);
    let style = ProgressStyle::with_template("{bar:30} {bytes}/{total_bytes}, {msg}, {eta} left");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The account in whose name it is done.
async fn caller(db: &Db) -> Result<Allowed<Administer>, Problem> {
    let name = Line::parse(ACCOUNT.to_owned()).map_err(|fault| Problem::invalid(vec![fault]))?;
    let scopes: Scopes = [Scope::Admin, Scope::TicketsRead, Scope::TicketsWrite].into_iter().collect();
    let clock = Clock::system();
    let id = db
        .write(Roots::none(), async move |tx| {
            people::service::find_or_create_account(tx, &name, scopes, clock.now(), &clock).await
        })
        .await?;
    let who = db.read(async move |conn| standing(conn, id).await).await?;
    who.ok_or_else(Problem::not_found)?.try_into()
}
