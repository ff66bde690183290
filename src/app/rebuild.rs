//! Making anew what is kept of tickets: the rows of their tags and clocks, the numbers, the cells of reports and the
//! index of words. While the service is at work, or while it is not.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::db::{Conn, Db, Roots};
use crate::kernel::words::words;
use crate::kernel::{Clock, Problem};
use crate::{tally, tickets};

/// How many facts one transaction builds into cells.
const BUILD_AT_ONCE: u16 = 2_000;

/// How many tickets one transaction indexes.
const INDEX_AT_ONCE: u16 = 50;

/// The shortest pause between two transactions, in which others write.
const BREATH: Duration = Duration::from_millis(10);

/// How often one is told of progress where nobody sees a bar.
const TOLD_EVERY: Duration = Duration::from_secs(10);

words! {
    /// What is made anew, in this order.
    pub enum Stage {
        /// The rows that lists find tickets by. It is never written down: what is cut short here is begun anew, and
        /// changes nothing that is right.
        Rows = "rows",
        /// The tallies that `/metrics` and the backlog tell.
        Numbers = "numbers",
        /// The cells that reports are made of.
        Cells = "cells",
        /// The index of words.
        Words = "words",
    }
}

impl Stage {
    const fn title(self) -> &'static str {
        match self {
            Self::Rows => "Looking at tickets",
            Self::Numbers => "Counting tickets",
            Self::Cells => "Adding up for reports",
            Self::Words => "Indexing words",
        }
    }
}

/// Makes everything anew, or goes on where that was cut short. Others may write meanwhile: each transaction is short,
/// and as long a pause follows.
///
/// # Errors
/// `conflict` when somebody else puts the numbers right at the same time.
pub async fn run(db: &Db, clock: &Clock) -> Result<(), Problem> {
    let begun = db.read(async |conn| tally::store::stage(conn).await).await?;
    // What only a newer version knows is begun anew.
    let mut stage = begun.and_then(|stage| stage.parse().ok());
    if let Some(stage) = stage {
        say(&format!("Going on where it was cut short: {stage}."));
    }
    if stage.is_none() {
        rows(db, clock).await?;
    }
    if matches!(stage, None | Some(Stage::Rows | Stage::Numbers)) {
        enter(db, Some(Stage::Numbers), async |_| Ok(())).await?;
        numbers(db).await?;
        enter(db, Some(Stage::Cells), async |tx| tally::service::begin_anew(tx).await).await?;
        stage = Some(Stage::Cells);
    }
    if stage == Some(Stage::Cells) {
        cells(db).await?;
        enter(db, Some(Stage::Words), async |tx| tickets::service::index_all_later(tx).await).await?;
    }
    if tickets::service::index_anew_if_broken(db).await? {
        say(
            "The index of words could not be read: it is made from nothing, and searches find little until that is done.",
        );
    }
    index(db).await?;
    enter(db, None, async |_| Ok(())).await
}

/// Writes down that `stage` has come, together with what begins it.
async fn enter(
    db: &Db,
    stage: Option<Stage>,
    begin: impl AsyncFn(&mut Conn) -> Result<(), Problem> + Send + 'static,
) -> Result<(), Problem> {
    db.write(Roots::none(), async move |tx| {
        begin(tx).await?;
        tally::store::set_stage(tx, stage.map(Stage::as_str)).await
    })
    .await
}

async fn rows(db: &Db, clock: &Clock) -> Result<(), Problem> {
    let last = db.read(async |conn| tickets::store::last_number(conn).await).await?;
    let progress = StageProgress::of(Stage::Rows, last);
    let (mut after, mut tickets, mut tags, mut clocks) = (0, 0, 0, 0);
    loop {
        let found = db.look(async |conn| tickets::service::look_at_rows(conn, after, clock.now()).await).await?;
        if found.tickets == 0 {
            break;
        }
        tickets::service::correct(db, &found, clock, breathe).await?;
        after = found.last;
        tickets += found.tickets;
        tags += found.tags.len();
        clocks += found.clocks.len();
        progress.at(after);
    }
    progress.done(&format!("{tickets} tickets, of which {tags} had wrong tags and {clocks} wrong clocks"));
    Ok(())
}

async fn numbers(db: &Db) -> Result<(), Problem> {
    let last = db.read(async |conn| tickets::store::last_number(conn).await).await?;
    let progress = StageProgress::of(Stage::Numbers, last);
    let tickets = tickets::service::recount(db, &|number| progress.at(number)).await?;
    progress.done(&format!("{tickets} tickets"));
    Ok(())
}

async fn cells(db: &Db) -> Result<(), Problem> {
    let (_, facts) = tally::service::progress(db).await?;
    let progress = StageProgress::of(Stage::Cells, facts);
    loop {
        let began = Instant::now();
        let has_more = tally::service::build_some(db, BUILD_AT_ONCE).await?;
        progress.at(tally::service::progress(db).await?.0);
        if !has_more {
            break;
        }
        breathe(began).await;
    }
    progress.done(&format!("{facts} facts"));
    Ok(())
}

async fn index(db: &Db) -> Result<(), Problem> {
    let waiting = async || db.read(async |conn| tickets::service::waiting_for_index(conn).await).await;
    let all = waiting().await?.unwrap_or(0);
    let progress = StageProgress::of(Stage::Words, all);
    // Also what the service itself indexes meanwhile.
    while let Some(left) = waiting().await? {
        progress.at(all - left);
        let began = Instant::now();
        tickets::service::index_waiting(db, INDEX_AT_ONCE).await?;
        breathe(began).await;
    }
    progress.done("all tickets can be searched");
    Ok(())
}

/// Lets others write for as long as they have waited.
async fn breathe(began: Instant) {
    tokio::time::sleep(began.elapsed().max(BREATH)).await;
}

/// To whoever runs it; standard output is for what comes of it.
#[expect(clippy::print_stderr, reason = "it is a command that tells how far it is")]
fn say(line: &str) {
    eprintln!("{line}");
}

/// How far a stage has come: a bar where somebody sees it, and else a line from time to time.
struct StageProgress {
    stage: Stage,
    total: i64,
    bar: Option<ProgressBar>,
    told_at: Cell<Instant>,
}

impl StageProgress {
    /// At 0 of `total`.
    fn of(stage: Stage, total: i64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg:<22} {wide_bar} {percent:>3} %  {eta:>4} left");
            let bar = ProgressBar::new(total.unsigned_abs()).with_message(stage.title());
            if let Ok(style) = style { bar.with_style(style) } else { bar }
        });
        if bar.is_none() {
            say(&format!("{}.", stage.title()));
        }
        Self { stage, total, bar, told_at: Cell::new(Instant::now()) }
    }

    fn at(&self, n: i64) {
        let n = n.clamp(0, self.total);
        if let Some(bar) = &self.bar {
            bar.set_position(n.unsigned_abs());
        } else if self.told_at.get().elapsed() >= TOLD_EVERY {
            self.told_at.set(Instant::now());
            say(&format!("{}: {} %.", self.stage.title(), n.saturating_mul(100) / self.total.max(1)));
        }
    }

    fn done(self, outcome: &str) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&format!("{}: {outcome}.", self.stage.title()));
    }
}
