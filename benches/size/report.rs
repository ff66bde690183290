//! What was measured: kept as JSON, one file for each engine and size, and written up as Markdown and charts.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use plotters::prelude::*;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::procs::output;

/// How much more the largest size may cost than the smallest.
const GROWTH_LIMIT: f64 = 1.5;

/// What filling a database took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seeding {
    pub tickets_per_s: f64,
    pub rows_s: f64,
    pub indexes_s: f64,
    pub derive_s: f64,
    pub bytes: u64,
}

/// One kind of request at one number of connections.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Measure {
    pub id: String,
    pub title: String,
    pub connections: usize,
    /// Requests a second.
    pub rate: f64,
    pub p50_us: f64,
    pub p99_us: f64,
    /// The processor time that a request takes, of the server and of PostgreSQL's processes; nothing where it was not
    /// measured.
    #[serde(default)]
    pub cpu_us: Option<f64>,
    /// How many runs these are medians of; 0 when single requests were timed one after the other.
    pub runs: usize,
    pub charted: bool,
}

/// The product beside its limit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Compared {
    pub id: String,
    pub title: String,
    /// What the limit is.
    pub limit: String,
    /// Medians: a second; where less is better, in microseconds.
    pub ours: f64,
    pub theirs: f64,
    pub ratio: f64,
    pub must: f64,
    pub stretch: f64,
    /// Whether less is better.
    pub at_most: bool,
    pub rounds: usize,
    /// What the limit sends.
    pub statements: Vec<String>,
}

impl Compared {
    fn verdict(&self) -> &'static str {
        let reached = |wanted: f64| if self.at_most { self.ratio <= wanted } else { self.ratio >= wanted };
        match (reached(self.must), reached(self.stretch)) {
            (_, true) => "met, stretch too",
            (true, false) => "met",
            (false, _) => "**not met**",
        }
    }
}

/// Memory and start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Process {
    /// Resident after the runs with 64 connections, in KiB.
    pub resident_kib: u64,
    /// The most that was resident.
    pub peak_kib: u64,
    /// From the start of the process to the first answer of `/health/ready`, median of ten.
    pub ready_ms: f64,
}

/// The machine, without its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub ram_gib: f64,
    pub disk: String,
    pub kernel: String,
    pub versions: Vec<String>,
    pub postgres: Vec<(String, String)>,
}

/// All about one engine at one size.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Results {
    pub engine: String,
    pub size: u64,
    pub date: String,
    pub command: String,
    pub quick: bool,
    pub machine: Machine,
    pub seeding: Seeding,
    pub measures: Vec<Measure>,
    pub compared: Vec<Compared>,
    pub process: Option<Process>,
}

/// Searches in a desk that was filled over HTTP, as `tests/load/search.sh` leaves them.
#[derive(Debug, Clone, Deserialize)]
struct Filled {
    engine: String,
    date: String,
    tickets: u64,
    /// Creates a second.
    per_s: f64,
    /// How many there were in the middle of the measurement while they came in.
    tickets_during: u64,
    during: Vec<Searched>,
    at_once: Vec<Searched>,
    later: Vec<Searched>,
    comments: Comments,
    merges: Option<Merges>,
}

/// A search by one connection.
#[derive(Debug, Clone, Deserialize)]
struct Searched {
    title: String,
    p50_ms: f64,
    p99_ms: f64,
    /// What the median must not be above.
    most_ms: f64,
}

/// The last comments on a ticket against the first.
#[derive(Debug, Clone, Deserialize)]
struct Comments {
    comments: u64,
    ratio: f64,
}

/// Statements that merged parts of SQLite's index of words, for which writers wait.
#[derive(Debug, Clone, Deserialize)]
struct Merges {
    above_20_ms: u64,
    longest_ms: f64,
}

/// The folder of these, in that of all results.
pub const FILLED: &str = "filled";

fn file(folder: &Path, engine: &str, size: u64) -> PathBuf {
    folder.join(format!("{engine}-{}.json", short(size)))
}

/// `100k`, `1m`, `10m`.
pub fn short(size: u64) -> String {
    match size {
        n if n % 1_000_000 == 0 => format!("{}m", n / 1_000_000),
        n if n % 1_000 == 0 => format!("{}k", n / 1_000),
        n => n.to_string(),
    }
}

impl Results {
    /// Writes these over what an earlier run has left: what was not measured now stays.
    pub fn keep(mut self, folder: &Path) {
        std::fs::create_dir_all(folder).expect("a folder");
        let file = file(folder, &self.engine, self.size);
        let old: Option<Results> = std::fs::read_to_string(&file).ok().and_then(|t| serde_json::from_str(&t).ok());
        if let Some(old) = old {
            let new: Vec<_> = self.measures.iter().map(|m| (m.id.clone(), m.connections)).collect();
            self.measures.extend(old.measures.into_iter().filter(|m| !new.contains(&(m.id.clone(), m.connections))));
            let new: Vec<_> = self.compared.iter().map(|c| c.id.clone()).collect();
            self.compared.extend(old.compared.into_iter().filter(|c| !new.contains(&c.id)));
            self.process = self.process.or(old.process);
        }
        std::fs::write(file, serde_json::to_string_pretty(&self).expect("JSON") + "\n").expect("results are written");
    }
}

/// The installed memory in KiB.
pub fn ram_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemTotal")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(4 << 20)
}

impl Machine {
    /// This machine, with the disk that `folder` is on.
    pub fn this(folder: &Path, versions: Vec<String>, postgres: Vec<(String, String)>) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
        let disk = output(Command::new("df").args(["--output=fstype,size", "-h"]).arg(folder));
        let disk = disk.lines().nth(1).unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(", ");
        Self {
            cpu: model.unwrap_or("unknown").trim().to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            ram_gib: ram_kib() as f64 / 1_048_576.0,
            disk,
            kernel: output(Command::new("uname").args(["-sr"])).trim().to_owned(),
            versions,
            postgres,
        }
    }
}

fn time(us: f64) -> String {
    match us {
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.1} ms", us / 1e3),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1e3),
        us => format!("{:.1} s", us / 1e6),
    }
}

/// What the JSON files of a folder hold.
fn read<T: DeserializeOwned>(folder: &Path) -> Vec<T> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = entries.filter(|file| file.extension().is_some_and(|e| e == "json"));
    files.map(|file| serde_json::from_str(&std::fs::read_to_string(file).expect("results")).expect("results")).collect()
}

/// Writes the report of all results in `folder` into it.
pub fn write(folder: &Path) {
    let mut all: Vec<Results> = read(folder);
    all.sort_by_key(|r| (r.engine != "sqlite", r.size));
    let mut text = String::from("# Benchmarks\n\n");
    text += "Written by `cargo bench --bench size`; the raw figures are in the JSON files beside this one.\n";
    text += "Load is closed-loop (wrk: a connection asks again when it has its answer), over loopback, on the same machine as\n";
    text += "server and database; wrk corrects its percentiles for coordinated omission. Ratios are of medians of interleaved runs.\n";
    text += &machines(&all);
    text += &targets(&all);
    for engine in ["sqlite", "postgres"] {
        let of: Vec<&Results> = all.iter().filter(|r| r.engine == engine).collect();
        if !of.is_empty() {
            text += &growth(engine, &of);
            chart(&folder.join(format!("{engine}.svg")), engine, &of);
        }
    }
    text += &filled(read(&folder.join(FILLED)));
    text += &seeding(&all);
    text += &processes(&all);
    text += &rates(&all);
    std::fs::create_dir_all(folder).expect("a folder");
    std::fs::write(folder.join("README.md"), text).expect("the report is written");
    println!("{}", folder.join("README.md").display());
}

fn name(engine: &str) -> &str {
    if engine == "sqlite" { "SQLite" } else { "PostgreSQL" }
}

fn machines(all: &[Results]) -> String {
    let mut text = String::from("\n## Machine\n\n");
    let mut lines: Vec<String> = Vec::new();
    for Machine { cpu, cores, ram_gib, disk, kernel, versions, postgres } in all.iter().map(|r| &r.machine) {
        lines.push(format!("{cpu}, {cores} cores, {ram_gib:.1} GiB RAM, disk {disk}, {kernel}"));
        lines.extend(versions.iter().cloned());
        let told = |name: &str| !name.starts_with("log") && !name.contains("socket") && !name.contains("listen");
        let settings = postgres.iter().filter(|(name, _)| told(name));
        let settings: Vec<String> = settings.map(|(name, value)| format!("`{name} = {value}`")).collect();
        if !settings.is_empty() {
            lines.push(format!("PostgreSQL's settings: {}", settings.join(", ")));
        }
    }
    let mut told: Vec<&String> = Vec::new();
    for line in &lines {
        if !told.contains(&line) {
            writeln!(text, "- {line}").expect("memory");
            told.push(line);
        }
    }
    text += "\n| engine | tickets | date | command |\n|---|---:|---|---|\n";
    for r in all {
        writeln!(text, "| {} | {} | {} | `{}` |", name(&r.engine), short(r.size), r.date, r.command).expect("memory");
    }
    text
}

fn targets(all: &[Results]) -> String {
    let mut text = String::from("\n## Against the limit\n\n");
    text += "| engine | tickets | what | limit | ours | limit's | ratio | must | stretch | |\n|---|---:|---|---|---:|---:|---:|---:|---:|---|\n";
    for r in all {
        for c in &r.compared {
            let sign = if c.at_most { "≤" } else { "≥" };
            let (ours, theirs) = if c.at_most {
                (time(c.ours), time(c.theirs))
            } else {
                (format!("{:.0}/s", c.ours), format!("{:.0}/s", c.theirs))
            };
            writeln!(
                text,
                "| {} | {} | {} | {} | {ours} | {theirs} | {:.2} | {sign} {} | {sign} {} | {} |",
                name(&r.engine),
                short(r.size),
                c.title,
                c.limit,
                c.ratio,
                c.must,
                c.stretch,
                c.verdict()
            )
            .expect("memory");
        }
    }
    text
}

/// The same request at all sizes: `(title, charted, by size)`.
fn by_request<'a>(of: &[&'a Results], connections: usize) -> Vec<(&'a str, bool, BTreeMap<u64, &'a Measure>)> {
    let mut order: Vec<(&str, &str, bool)> = Vec::new();
    for m in of.iter().flat_map(|r| &r.measures) {
        if m.connections == connections && !order.iter().any(|(id, ..)| *id == m.id) {
            order.push((&m.id, &m.title, m.charted));
        }
    }
    let row = |(id, title, charted): (&str, &'a str, bool)| {
        let found = of
            .iter()
            .filter_map(|r| Some((r.size, r.measures.iter().find(|m| m.id == id && m.connections == connections)?)));
        (title, charted, found.collect())
    };
    order.into_iter().map(row).collect()
}

fn growth(engine: &str, of: &[&Results]) -> String {
    let mut text = format!("\n## {}: cost against size\n\n![cost against size]({engine}.svg)\n\n", name(engine));
    writeln!(text, "One connection; median and p99 of a request. The factor is the largest size over the smallest: at most {GROWTH_LIMIT}.\n").expect("memory");
    text += "| request |";
    of.iter().for_each(|r| write!(text, " {} |", short(r.size)).expect("memory"));
    text += " factor, median | factor, p99 |\n|---|";
    text += &"---:|".repeat(of.len() + 2);
    text.push('\n');
    for (title, _, sizes) in by_request(of, 1) {
        write!(text, "| {title} |").expect("memory");
        for r in of {
            match sizes.get(&r.size) {
                Some(m) => write!(text, " {} / {} |", time(m.p50_us), time(m.p99_us)),
                None => write!(text, " – |"),
            }
            .expect("memory");
        }
        let ends = sizes.first_key_value().zip(sizes.last_key_value()).filter(|(a, b)| a.0 != b.0);
        for figure in [|m: &Measure| m.p50_us, |m: &Measure| m.p99_us] {
            match ends.map(|((_, first), (_, last))| figure(last) / figure(first)) {
                Some(factor) if factor > GROWTH_LIMIT => write!(text, " **{factor:.2}** |"),
                Some(factor) => write!(text, " {factor:.2} |"),
                None => write!(text, " – |"),
            }
            .expect("memory");
        }
        text.push('\n');
    }
    text
}

/// The searches in desks that were filled over HTTP, the smallest desk first.
fn filled(mut all: Vec<Filled>) -> String {
    all.sort_by_key(|f| (f.engine != "sqlite", f.tickets));
    let mut text = String::from("\n## Searches in a desk that was filled over HTTP\n\n");
    text += "By `tests/load/search.sh`: 64 connections create tickets, comment on them and change their status, and one connection searches\n";
    text += "meanwhile, right after it and a minute later: median / p99 in ms. All other tables are of tickets that were made up in the database.\n";
    for f in &all {
        let Filled { date, tickets, per_s, tickets_during, comments, .. } = f;
        let size = short(*tickets);
        writeln!(text, "\n### {}, {size} tickets over HTTP\n", name(&f.engine)).expect("memory");
        let Comments { comments, ratio } = comments;
        writeln!(
            text,
            "{date}, {per_s:.0} creates a second. The last 50 of {comments} comments on one ticket took {ratio:.2} times as long as the first."
        )
        .expect("memory");
        if let Some(Merges { above_20_ms, longest_ms }) = &f.merges {
            writeln!(
                text,
                "The longest statement that merged parts of the index took {longest_ms:.1} ms; {above_20_ms} took more than 20 ms."
            )
            .expect("memory");
        }
        let during = short(tickets_during / 1_000 * 1_000);
        writeln!(
            text,
            "\n| request | meanwhile, at {during} | right after | a minute later | must, median a minute later | |"
        )
        .expect("memory");
        text += "|---|---:|---:|---:|---:|---|\n";
        for later in &f.later {
            write!(text, "| {} |", later.title).expect("memory");
            for rows in [&f.during, &f.at_once, &f.later] {
                match rows.iter().find(|row| row.title == later.title) {
                    Some(Searched { p50_ms, p99_ms, .. }) => write!(text, " {p50_ms:.1} / {p99_ms:.1} |"),
                    None => write!(text, " – |"),
                }
                .expect("memory");
            }
            let verdict = if later.p50_ms <= later.most_ms { "met" } else { "**not met**" };
            writeln!(text, " ≤ {} | {verdict} |", later.most_ms).expect("memory");
        }
    }
    text
}

fn seeding(all: &[Results]) -> String {
    let mut text = String::from(
        "\n## Seeding\n\n| engine | tickets | tickets/s | rows | indexes | derived | on disk |\n|---|---:|---:|---:|---:|---:|---:|\n",
    );
    for r in all {
        let Seeding { tickets_per_s, rows_s, indexes_s, derive_s, bytes } = &r.seeding;
        let gib = *bytes as f64 / (1u64 << 30) as f64;
        writeln!(
            text,
            "| {} | {} | {tickets_per_s:.0} | {rows_s:.0} s | {indexes_s:.0} s | {derive_s:.1} s | {gib:.2} GiB |",
            name(&r.engine),
            short(r.size)
        )
        .expect("memory");
    }
    text
}

fn processes(all: &[Results]) -> String {
    let mut text = String::from(
        "\n## The server's process\n\n| engine | tickets | resident after 64 connections | at most | ready after |\n|---|---:|---:|---:|---:|\n",
    );
    for (r, p) in all.iter().filter_map(|r| Some((r, r.process.as_ref()?))) {
        let mib = |kib: u64| kib as f64 / 1024.0;
        writeln!(
            text,
            "| {} | {} | {:.1} MiB | {:.1} MiB | {:.0} ms |",
            name(&r.engine),
            short(r.size),
            mib(p.resident_kib),
            mib(p.peak_kib),
            p.ready_ms
        )
        .expect("memory");
    }
    text
}

fn rates(all: &[Results]) -> String {
    let mut text = String::from(
        "\n## Under load\n\nRequests a second, median, p99, and the processor time of a request: of the server and of PostgreSQL's processes.\n",
    );
    for r in all {
        write!(text, "\n### {}, {} tickets\n\n| request |", name(&r.engine), short(r.size)).expect("memory");
        let mut columns: Vec<usize> = r.measures.iter().map(|m| m.connections).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
            .iter()
            .for_each(|n| write!(text, " {n} connection{} |", if *n == 1 { "" } else { "s" }).expect("memory"));
        text += "\n|---|";
        text += &"---:|".repeat(columns.len());
        text.push('\n');
        let mut titles: Vec<&str> = Vec::new();
        for m in &r.measures {
            if !titles.contains(&m.title.as_str()) {
                titles.push(&m.title);
            }
        }
        for title in titles {
            write!(text, "| {title} |").expect("memory");
            for n in &columns {
                match r.measures.iter().find(|m| m.title == title && m.connections == *n) {
                    Some(m) => {
                        let cpu = m.cpu_us.map_or_else(|| "–".to_owned(), time);
                        write!(text, " {:.0}/s, {}, {}, {cpu} |", m.rate, time(m.p50_us), time(m.p99_us))
                    }
                    None => write!(text, " – |"),
                }
                .expect("memory");
            }
            text.push('\n');
        }
    }
    text
}

/// Median cost of the main requests against size, both on logarithmic axes.
fn chart(file: &Path, engine: &str, of: &[&Results]) {
    let lines: Vec<_> =
        by_request(of, 1).into_iter().filter(|(_, charted, sizes)| *charted && !sizes.is_empty()).collect();
    let costs = || lines.iter().flat_map(|(.., sizes)| sizes.values().map(|m| m.p50_us / 1e3));
    let (low, high) = (costs().fold(f64::MAX, f64::min), costs().fold(0.0, f64::max));
    let sizes = || of.iter().map(|r| r.size as f64);
    let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(0.0, f64::max));
    if lines.is_empty() {
        return;
    }
    let area = SVGBackend::new(file, (960, 560)).into_drawing_area();
    area.fill(&WHITE).expect("a chart");
    let (plot, legend) = area.split_horizontally(660);
    let mut chart = ChartBuilder::on(&plot)
        .caption(format!("{}: median cost of a request, one connection", name(engine)), ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(70)
        .build_cartesian_2d((least * 0.8..most * 1.25).log_scale(), (low * 0.6..high * 1.6).log_scale())
        .expect("a chart");
    chart
        .configure_mesh()
        .x_desc("tickets")
        .y_desc("milliseconds")
        .x_label_formatter(&|x| short(x.round() as u64))
        .y_label_formatter(&|y| if *y < 1.0 { format!("{y:.2}") } else { format!("{y:.0}") })
        .draw()
        .expect("a chart");
    for (nth, (title, _, sizes)) in lines.iter().enumerate() {
        let colour = HSLColor(nth as f64 / lines.len() as f64, 0.75, if nth % 2 == 0 { 0.4 } else { 0.55 });
        let points: Vec<(f64, f64)> = sizes.iter().map(|(size, m)| (*size as f64, m.p50_us / 1e3)).collect();
        chart.draw_series(LineSeries::new(points.clone(), colour.stroke_width(2))).expect("a chart");
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, colour.filled()))).expect("a chart");
        let y = 40 + 26 * nth as i32;
        legend.draw(&Rectangle::new([(8, y), (28, y + 4)], colour.filled())).expect("a chart");
        legend.draw(&Text::new(title.replace('`', ""), (36, y - 7), ("sans-serif", 14))).expect("a chart");
    }
    area.present().expect("a chart");
}
