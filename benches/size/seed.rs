//! Filling a database: the made-up helpdesk in, as fast as it goes, by the same path for both engines.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use skranke::db::Db;
use skranke::kernel::Clock;
use skranke::tally::store::cells::{self, Marks};
use skranke::{tally, tickets};

use super::report::Seeding;
use super::world::{Batch, LARGE, Parameters, Table, Value, World};

/// How many tickets are made at once.
const AT_ONCE: u64 = 500;
/// How many batches may wait to be written.
const WAITING: usize = 4;

/// How many rows of each kind are derived in one transaction.
const BUILT_AT_ONCE: u16 = 20_000;
const INDEXED_AT_ONCE: u16 = 10_000;

/// Where rows go.
pub trait Sink {
    /// Rows as this engine takes them; made by the threads that make the rows.
    type Load: Send + 'static;

    /// Makes rows of [`LARGE`] ready.
    fn pack(batch: Batch) -> Self::Load;
    /// Rows of the tables that do not grow.
    fn basics(&mut self, table: Table, rows: &[Value]);
    /// Takes off the indexes of [`LARGE`] that are not needed meanwhile; gives their definitions.
    fn drop_indexes(&mut self) -> Vec<String>;
    /// Writes rows of [`LARGE`].
    fn write(&mut self, load: Self::Load);
    /// The last rows have been written.
    fn finish(&mut self);
    /// Makes an index.
    fn make_index(&mut self, definition: &str);
    /// Makes the database what it is when a server has been running on it for long.
    fn settle(&mut self);
}

/// What a database was made of, beside it.
#[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Stamp {
    /// What the helpdesk was made of.
    pub parameters: Parameters,
    /// The migrations of the binary.
    pub migrations: Vec<String>,
    /// What seeding took.
    pub seeding: Seeding,
}

impl Stamp {
    /// The stamp in this file, if the database can be used again: same size and seed, same migrations.
    pub fn usable(path: &PathBuf, size: u64, seed: u64) -> Option<Self> {
        let stamp: Stamp = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
        let Parameters { size: there, seed: of, edition, until_us: _ } = stamp.parameters;
        let same = (there, of, edition) == (size, seed, super::world::EDITION);
        (same && stamp.migrations == migrations()).then_some(stamp)
    }
}

/// The names of the migrations of this source tree.
pub fn migrations() -> Vec<String> {
    let mut all = Vec::new();
    for engine in ["sqlite", "postgres"] {
        let folder = format!("{}/migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
        for entry in std::fs::read_dir(folder).expect("migrations").flatten() {
            all.push(format!("{engine}/{}", entry.file_name().to_string_lossy()));
        }
    }
    all.sort();
    all
}

/// The end of the made-up time: the last full hour.
pub fn until_us() -> i64 {
    let now = Clock::system().now().micros();
    now - now.rem_euclid(super::world::HOUR_US)
}

fn bar(length: u64, what: &str) -> ProgressBar {
    let style = "{msg:28} {wide_bar} {human_pos}/{human_len} {per_sec} {eta}";
    let bar = ProgressBar::new(length).with_message(what.to_owned());
    bar.set_style(ProgressStyle::with_template(style).expect("a template"));
    bar
}

/// Fills an empty database with the schema in it; gives what it took but for [`derive`].
pub fn fill<S: Sink>(world: &Arc<World>, sink: &mut S, engine: &str) -> Seeding {
    let began = Instant::now();
    for (table, rows) in world.basics() {
        sink.basics(table, &rows);
    }
    let indexes = sink.drop_indexes();
    let makers = std::thread::available_parallelism().map_or(2, usize::from) as u64;
    let size = world.parameters.size;
    let progress = bar(size, &format!("{engine}: tickets"));
    let mut queues = Vec::new();
    for maker in 0..makers {
        let (queue, ready) = mpsc::sync_channel(WAITING);
        let world = world.clone();
        std::thread::spawn(move || {
            let mut from = maker * AT_ONCE;
            while from < size {
                let batch = world.batch(from..(from + AT_ONCE).min(size));
                if queue.send((batch.tickets, S::pack(batch))).is_err() {
                    return;
                }
                from += makers * AT_ONCE;
            }
        });
        queues.push(ready);
    }
    // In turn, so that rows come in the order of their numbers.
    for queue in queues.iter().cycle() {
        let Ok((tickets, load)) = queue.recv() else { break };
        sink.write(load);
        progress.inc(tickets);
    }
    assert_eq!(progress.position(), size, "a thread that makes tickets has failed");
    sink.finish();
    progress.finish();
    let rows_s = began.elapsed().as_secs_f64();
    println!("{engine}: {size} tickets in {rows_s:.0} s, {:.0} tickets/s", size as f64 / rows_s);

    let progress = bar(indexes.len() as u64, &format!("{engine}: indexes"));
    for definition in &indexes {
        sink.make_index(definition);
        progress.inc(1);
    }
    progress.finish();
    Seeding {
        tickets_per_s: size as f64 / rows_s,
        rows_s,
        indexes_s: began.elapsed().as_secs_f64() - rows_s,
        derive_s: 0.0,
        bytes: 0,
    }
}

/// Makes what Skranke derives from tickets, comments and events: the tallies, the cells of reports and, if they are
/// wanted, the words to search for. Gives the seconds that it took.
pub async fn derive(db: &Db, engine: &str, size: u64, with_words: bool) -> f64 {
    let began = Instant::now();
    let parts = bar(2, &format!("{engine}: tallies, reports"));
    tickets::service::recount(db, &|_| {}).await.expect("the tallies");
    parts.inc(1);
    let last_fact = i64::try_from(size).expect("a number") * super::world::FACTS;
    db.write(skranke::db::Roots::none(), async move |tx| {
        let marks = Marks { last_fact, ..cells::hold(tx).await? };
        cells::keep(tx, &marks).await
    })
    .await
    .expect("a mark");
    while tally::service::build_some(db, BUILT_AT_ONCE).await.expect("cells") {}
    parts.inc(1);
    parts.finish();
    if !with_words {
        return began.elapsed().as_secs_f64();
    }

    let words = bar(size, &format!("{engine}: words"));
    let last = size.try_into().expect("a number");
    db.write(skranke::db::Roots::none(), async move |tx| tickets::service::index_later(tx, last).await)
        .await
        .expect("a note");
    loop {
        match tickets::service::index_waiting(db, INDEXED_AT_ONCE).await.expect("words") {
            0 => break,
            indexed => words.inc(indexed as u64),
        }
    }
    words.finish();
    began.elapsed().as_secs_f64()
}

/// Whether a table is one of those that grow.
pub fn is_large(name: &str) -> bool {
    LARGE.iter().any(|table| table.name == name)
}
