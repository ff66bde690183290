//! The limits: the same statements without Skranke around them. Their texts are taken from the running product, so that
//! they are always those that it sends.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::types::Value as Cell;

use super::chance::Rng;
use super::load::{Client, Line};
use super::postgres::Cluster;
use super::procs::{Server, Settings, all_output, fail, own_cpu_us};

/// The environment variable that names the file for what a server sends to SQLite.
pub const RECORD: &str = "SIZE_RECORD";

/// Runs Skranke's own command line in this process, writing down every statement.
pub fn recorded(file: &str) -> std::process::ExitCode {
    use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
    use std::io::Write;
    static FILE: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    FILE.get_or_init(|| PathBuf::from(file));
    set_default_instrumentation(|| -> Option<Box<dyn Instrumentation>> {
        Some(Box::new(|event: InstrumentationEvent<'_>| {
            if let InstrumentationEvent::StartQuery { query, .. } = event {
                let line = serde_json::json!(query.to_string()).to_string() + "\n";
                let file = std::fs::OpenOptions::new().append(true).create(true).open(FILE.get().expect("set"));
                file.and_then(|mut file| file.write_all(line.as_bytes())).expect("the record is written");
            }
        }))
    })
    .expect("nobody else listens");
    skranke::app::cli::run()
}

/// One statement with its parameters as they were once.
type Sent<C> = (String, Vec<C>);

/// A parameter when a statement is sent again.
#[derive(Debug, Clone, PartialEq)]
enum Param<C> {
    /// Always the same.
    Fixed(C),
    /// A new id in each round; those of one number are the same.
    Fresh(usize),
    /// The present moment.
    Now,
    /// The `Idempotency-Key`, with what stands before and behind it.
    Keyed(String, String),
    /// The number of the ticket that the round has made.
    Made,
    /// The number of any ticket.
    Any,
}

/// What one request sends, to be sent again and again.
#[derive(Debug, Clone)]
pub struct Script<C>(Vec<(String, Vec<Param<C>>)>);

/// What two values of one parameter tell about it.
enum Difference {
    Id(String),
    Moment,
    Number,
    Other,
}

/// Two records of the same request, made into a script. `key` is the `Idempotency-Key` of the first.
fn script<C: Clone + PartialEq>(
    first: Vec<Sent<C>>,
    second: Vec<Sent<C>>,
    key: &str,
    text: impl Fn(&C) -> Option<String>,
    differ: impl Fn(&C) -> Difference,
) -> Script<C> {
    let mut ids = BTreeMap::new();
    let mut made = false;
    let statements = first.into_iter().zip(second).map(|((sql, params), (_, others))| {
        let params = params.into_iter().zip(others).map(|(value, other)| {
            if value == other {
                return Param::Fixed(value);
            }
            if let Some((before, behind)) =
                text(&value).as_deref().and_then(|text| text.split_once(key)).filter(|_| !key.is_empty())
            {
                // An answer that was stored names the key too; nobody looks into it.
                if before.len() + behind.len() < 100 {
                    return Param::Keyed(before.to_owned(), behind.to_owned());
                }
            }
            match differ(&value) {
                Difference::Id(id) => {
                    let next = ids.len();
                    Param::Fresh(*ids.entry(id).or_insert(next))
                }
                Difference::Moment => Param::Now,
                Difference::Number if made => Param::Made,
                Difference::Number => Param::Any,
                Difference::Other => Param::Fixed(value),
            }
        });
        let params = params.collect();
        made |= returns_number(&sql);
        (sql, params)
    });
    Script(statements.collect())
}

/// Whether a statement gives the number of the ticket that it makes.
fn returns_number(sql: &str) -> bool {
    sql.split_once("RETURNING").is_some_and(|(_, columns)| columns.contains("number"))
}

/// The texts of a script, for whoever wants to see what was measured.
impl<C> Script<C> {
    pub fn texts(&self) -> Vec<String> {
        self.0.iter().map(|(sql, _)| sql.clone()).collect()
    }
}

/// Sends a request until two of its records in a row have the same statements: others may be at work in between.
fn twice<C>(
    lines: [&Line; 2],
    mut record: impl FnMut(&Line, &str) -> Vec<Sent<C>>,
) -> (Vec<Sent<C>>, Vec<Sent<C>>, String) {
    let texts = |sent: &[Sent<C>]| sent.iter().map(|(sql, _)| sql.clone()).collect::<Vec<_>>();
    let stamp = skranke::kernel::Clock::system().now().micros();
    // The first times connect, prepare, and read what is kept.
    for nth in 0..4 {
        record(lines[nth % 2], &format!("warm-{stamp}-{nth}"));
    }
    let mut last = (Vec::new(), Vec::new());
    for nth in 0..200 {
        let key = format!("limit-{stamp}-{nth:03}");
        let first = record(lines[0], &key);
        let second = record(lines[1], &format!("limit-{stamp}-{nth:03}-too"));
        if !first.is_empty() && texts(&first) == texts(&second) {
            return (first, second, key);
        }
        last = (texts(&first), texts(&second));
    }
    let (first, second) = last;
    let apart = first.iter().zip(&second).take_while(|(one, other)| one == other).count();
    fail(&format!(
        "no two records of a request have the same statements; the last are of {} and {}, and part at {:?} and {:?}",
        first.len(),
        second.len(),
        first.get(apart),
        second.get(apart),
    ))
}

/// What has come to a file since `from`, once nothing more comes; `from` moves on.
fn news(file: &Path, from: &mut u64) -> String {
    let mut text = String::new();
    let mut read = |text: &mut String| {
        let Ok(mut file) = std::fs::File::open(file) else { return 0 };
        file.seek(SeekFrom::Start(*from)).expect("a file");
        let got = file.read_to_string(text).expect("text");
        *from += got as u64;
        got
    };
    std::thread::sleep(Duration::from_millis(60));
    while read(&mut text) > 0 {
        std::thread::sleep(Duration::from_millis(60));
    }
    text
}

// ---------------------------------------------------------------------------------------------------------------------
// SQLite.

/// What a server of this process's kind sends to SQLite for these pairs of requests, and how it sets its connections
/// up.
pub fn capture_sqlite(
    settings: &Settings,
    folder: &Path,
    client: &Client,
    requests: &[(&'static str, [Line; 2])],
) -> (BTreeMap<&'static str, Script<Cell>>, Vec<String>) {
    let file = folder.join("statements.jsonl");
    let _ = std::fs::remove_file(&file);
    let mut settings = settings.clone();
    settings.program = std::env::current_exe().expect("a program");
    settings.environment.push((RECORD.into(), file.to_string_lossy().into_owned()));
    // Who listens for slow statements would stand in the recorder's place.
    settings.environment.push(("SKRANKE_SLOW_QUERY_MS".into(), "0".into()));
    let server = Server::start(&settings);
    let mut place = 0;
    let sent = |text: &str| -> Vec<String> {
        text.lines().map(|line| serde_json::from_str(line).expect("a statement")).collect()
    };
    let mut pragmas: Vec<String> = Vec::new();
    let mut scripts = BTreeMap::new();
    for (name, [one, other]) in requests {
        let (first, second, key) = twice([one, other], |line, key| {
            client.expect(&server.url(), line, key);
            let mut all = Vec::new();
            for statement in sent(&news(&file, &mut place)) {
                // What goes on beside requests: a lock that is held for readers, and the log that is brought into the
                // file or emptied, for which the writer waits less, and then as before.
                let waits_less = statement.starts_with("PRAGMA busy_timeout") && !statement.contains(';');
                if waits_less
                    || ["BEGIN; SELECT", "ROLLBACK", "PRAGMA wal_checkpoint"]
                        .iter()
                        .any(|word| statement.starts_with(word))
                {
                    continue;
                }
                if statement.trim_start().starts_with("PRAGMA") {
                    if !statement.contains("query_only") && !pragmas.contains(&statement) {
                        pragmas.push(statement);
                    }
                } else if !["SAVEPOINT", "RELEASE"].iter().any(|word| statement.starts_with(word)) {
                    all.push(match statement.rsplit_once(" -- binds: ") {
                        Some((sql, binds)) => (sql.to_owned(), cells(binds)),
                        None => (statement, Vec::new()),
                    });
                }
            }
            all
        });
        let text = |cell: &Cell| if let Cell::Text(text) = cell { Some(text.clone()) } else { None };
        let differ = |cell: &Cell| match cell {
            Cell::Blob(bytes) if bytes.len() == 16 => Difference::Id(format!("{bytes:?}")),
            Cell::Integer(n) if *n > 1_000_000_000_000_000 => Difference::Moment,
            Cell::Integer(_) => Difference::Number,
            _ => Difference::Other,
        };
        scripts.insert(*name, script(first, second, &key, text, differ));
    }
    (scripts, pragmas)
}

/// What diesel shows of SQLite's parameters, which is what Rust's `Debug` makes of the types that are bound:
/// `[TicketId(0198…), "a", Open, Some(Instant(5)), Json(Array [Number(1)])]`.
fn cells(shown: &str) -> Vec<Cell> {
    let mut reader = Reader(shown.chars().peekable());
    match reader.value() {
        Shown::List(values) => values.into_iter().map(Shown::cell).collect(),
        _ => fail(&format!("no parameters: {shown}")),
    }
}

/// A value as `Debug` shows it.
#[derive(Debug)]
enum Shown {
    Text(String),
    /// A number, an id, or the name of a variant.
    Word(String),
    List(Vec<Shown>),
    Object(Vec<(Shown, Shown)>),
    /// A value in a type that is named.
    Within(String, Vec<Shown>),
}

impl Shown {
    /// As it is bound.
    fn cell(self) -> Cell {
        match self {
            Shown::Text(text) => Cell::Text(text),
            Shown::Word(word) => match (word.as_str(), word.parse::<i64>(), word.parse::<f64>()) {
                ("None", ..) => Cell::Null,
                ("true" | "false", ..) => Cell::Integer(i64::from(word == "true")),
                (_, Ok(n), _) => Cell::Integer(n),
                (_, _, Ok(n)) => Cell::Real(n),
                _ => match uuid::Uuid::try_parse(&word) {
                    Ok(id) => Cell::Blob(id.as_bytes().to_vec()),
                    Err(_) => Cell::Text(snake(&word)),
                },
            },
            Shown::List(bytes) => {
                let byte = |value: Shown| if let Shown::Word(n) = value { n.parse().ok() } else { None };
                Cell::Blob(bytes.into_iter().map(|value| byte(value).expect("a byte")).collect())
            }
            Shown::Within(name, mut values) if values.len() == 1 => match name.as_str() {
                "Json" => Cell::Text(values.remove(0).json().to_string()),
                // `Some`, an id, an instant.
                _ => values.remove(0).cell(),
            },
            other => fail(&format!("a parameter of no kind: {other:?}")),
        }
    }

    /// As it stands in JSON.
    fn json(self) -> serde_json::Value {
        match self {
            Shown::Text(text) => text.into(),
            Shown::Word(word) => match word.as_str() {
                "None" | "Null" => serde_json::Value::Null,
                other => serde_json::from_str(other).unwrap_or_else(|_| match uuid::Uuid::try_parse(other) {
                    Ok(id) => id.to_string().into(),
                    Err(_) => snake(other).into(),
                }),
            },
            Shown::List(values) => values.into_iter().map(Shown::json).collect(),
            Shown::Object(fields) => fields
                .into_iter()
                .map(|(name, value)| match name {
                    Shown::Text(name) | Shown::Word(name) => (name, value.json()),
                    other => fail(&format!("no name: {other:?}")),
                })
                .collect(),
            Shown::Within(_, mut values) if values.len() == 1 => values.remove(0).json(),
            Shown::Within(_, values) => values.into_iter().map(Shown::json).collect(),
        }
    }
}

/// `WaitingRequester` as `waiting_requester`: words of closed vocabularies.
fn snake(word: &str) -> String {
    let mut plain = String::new();
    for (place, c) in word.char_indices() {
        if c.is_uppercase() && place > 0 {
            plain.push('_');
        }
        plain.extend(c.to_lowercase());
    }
    plain
}

/// Reads what `Debug` has written.
struct Reader<'a>(std::iter::Peekable<std::str::Chars<'a>>);

impl Reader<'_> {
    fn value(&mut self) -> Shown {
        match self.0.peek() {
            Some('"') => Shown::Text(self.text()),
            Some('[' | '(') => Shown::List(self.list()),
            Some('{') => Shown::Object(self.fields()),
            _ => {
                let mut word = String::new();
                while let Some(c) = self.0.next_if(|c| !",()[]{}\" :".contains(*c)) {
                    word.push(c);
                }
                match self.0.peek() {
                    Some('(') => Shown::Within(word, self.list()),
                    // `Array [` and `Object {` of JSON; behind a comma or a colon there is a blank too.
                    Some(' ') if ["Array", "Object"].contains(&word.as_str()) => {
                        self.0.next();
                        self.value()
                    }
                    _ => Shown::Word(word),
                }
            }
        }
    }

    /// Values between brackets, the first of which comes next.
    fn list(&mut self) -> Vec<Shown> {
        self.0.next();
        let mut values = Vec::new();
        loop {
            while self.0.next_if(|c| ", ".contains(*c)).is_some() {}
            if self.0.next_if(|c| ")]".contains(*c)).is_some() {
                return values;
            }
            values.push(self.value());
        }
    }

    /// Names and values between braces, the first of which comes next.
    fn fields(&mut self) -> Vec<(Shown, Shown)> {
        self.0.next();
        let mut fields = Vec::new();
        loop {
            while self.0.next_if(|c| ", ".contains(*c)).is_some() {}
            if self.0.next_if(|c| *c == '}').is_some() {
                return fields;
            }
            let name = self.value();
            while self.0.next_if(|c| ": ".contains(*c)).is_some() {}
            fields.push((name, self.value()));
        }
    }

    /// A string without what `Debug` escapes.
    fn text(&mut self) -> String {
        self.0.next();
        let mut plain = String::new();
        while let Some(c) = self.0.next() {
            match c {
                '"' => return plain,
                '\\' => match self.0.next() {
                    Some('n') => plain.push('\n'),
                    Some('t') => plain.push('\t'),
                    Some('r') => plain.push('\r'),
                    Some('0') => plain.push('\0'),
                    Some('u') => {
                        let code: String = self.0.by_ref().skip(1).take_while(|c| *c != '}').collect();
                        plain.extend(u32::from_str_radix(&code, 16).ok().and_then(char::from_u32));
                    }
                    other => plain.extend(other),
                },
                _ => plain.push(c),
            }
        }
        fail("a text without an end")
    }
}

/// What a bare loop came to.
#[derive(Debug, Clone, Copy)]
pub struct Loop {
    /// Rounds a second.
    pub rate: f64,
    /// The processor time of one.
    pub cpu_us: f64,
}

/// Sends a script as fast as SQLite takes it, from this many threads.
pub fn sqlite_rate(
    path: &Path,
    pragmas: &[String],
    script: &Script<Cell>,
    size: u64,
    threads: usize,
    seconds: u64,
) -> Loop {
    let began_us = own_cpu_us();
    let (rounds, all): (u64, u64) = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|nth| scope.spawn(move || sqlite_rounds(path, pragmas, script, size, nth as u64, seconds)))
            .collect();
        let counts = workers.into_iter().map(|worker| worker.join().expect("a worker"));
        counts.fold((0, 0), |(rounds, all), (some, some_of_all)| (rounds + some, all + some_of_all))
    });
    Loop { rate: rounds as f64 / seconds as f64, cpu_us: (own_cpu_us() - began_us) / all as f64 }
}

/// How many rounds there were once it was warm, and how many all in all.
fn sqlite_rounds(
    path: &Path,
    pragmas: &[String],
    script: &Script<Cell>,
    size: u64,
    nth: u64,
    seconds: u64,
) -> (u64, u64) {
    let conn = Connection::open(path).expect("the file opens");
    for pragma in pragmas {
        conn.execute_batch(pragma).expect("settings");
    }
    let now_us = || skranke::kernel::Clock::system().now().micros();
    let mut rng = Rng::of(now_us().unsigned_abs(), nth, 7);
    // Statements without parameters that give nothing are prepared too: BEGIN, COMMIT.
    let mut statements: Vec<_> =
        script.0.iter().map(|(sql, _)| conn.prepare(sql).unwrap_or_else(|e| fail(&format!("{sql}: {e}")))).collect();
    let warm = Instant::now() + Duration::from_millis(300);
    let mut deadline = warm + Duration::from_secs(seconds);
    let (mut rounds, mut all, mut warming) = (0, 0, true);
    while Instant::now() < deadline {
        if warming && Instant::now() >= warm {
            warming = false;
            rounds = 0;
            deadline = Instant::now() + Duration::from_secs(seconds);
        }
        let salt = rng.next();
        let any = (rng.next() % size) as i64 + 1;
        let us = now_us();
        let mut made = 0;
        for (statement, (sql, params)) in statements.iter_mut().zip(&script.0) {
            for (place, param) in params.iter().enumerate() {
                let value = match param {
                    Param::Fixed(cell) => cell.clone(),
                    Param::Fresh(which) => Cell::Blob(fresh(us, salt, *which)),
                    Param::Now => Cell::Integer(us),
                    Param::Keyed(before, behind) => Cell::Text(format!("{before}{salt:016x}{behind}")),
                    Param::Made => Cell::Integer(made),
                    Param::Any => Cell::Integer(any),
                };
                statement.raw_bind_parameter(place + 1, value).unwrap_or_else(|e| fail(&format!("{sql}: {e}")));
            }
            let width = statement.column_count();
            let mut rows = statement.raw_query();
            let number = returns_number(sql);
            while let Some(row) = rows.next().unwrap_or_else(|e| fail(&format!("{sql}: {e}"))) {
                for column in 0..width {
                    std::hint::black_box(row.get_ref(column).expect("a value"));
                }
                if number {
                    made = row.get(0).expect("a number");
                }
            }
        }
        rounds += 1;
        all += 1;
    }
    (rounds, all)
}

/// An id of this moment, in the order of time as UUIDv7 has it.
fn fresh(us: i64, salt: u64, which: usize) -> Vec<u8> {
    let mut bytes = (us / 1_000).to_be_bytes()[2..].to_vec();
    bytes.extend_from_slice(&(which as u16).to_be_bytes());
    bytes.extend_from_slice(&salt.to_be_bytes());
    bytes
}

// ---------------------------------------------------------------------------------------------------------------------
// PostgreSQL.

/// What a server sends to PostgreSQL for these pairs of requests.
pub fn capture_postgres(
    cluster: &Cluster,
    settings: &Settings,
    client: &Client,
    requests: &[(&'static str, [Line; 2])],
) -> BTreeMap<&'static str, Script<Option<String>>> {
    cluster.execute("postgres", "ALTER SYSTEM SET log_statement = 'all'");
    cluster.execute("postgres", "SELECT pg_reload_conf()");
    std::thread::sleep(Duration::from_millis(500));
    let server = Server::start(settings);
    let mut place = 0;
    let log = cluster.log();
    let mut scripts = BTreeMap::new();
    for (name, [one, other]) in requests {
        let (first, second, key) = twice([one, other], |line, key| {
            news(&log, &mut place);
            client.expect(&server.url(), line, key);
            news(&log, &mut place).lines().filter_map(statement).collect()
        });
        let uuid = |text: &str| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok();
        let moment = |text: &str| text.len() > 18 && text.as_bytes()[4] == b'-' && text.as_bytes()[10] == b' ';
        let differ = |value: &Option<String>| match value.as_deref() {
            Some(text) if uuid(text) => Difference::Id(text.to_owned()),
            Some(text) if moment(text) => Difference::Moment,
            Some(text) if text.parse::<i64>().is_ok() => Difference::Number,
            _ => Difference::Other,
        };
        scripts.insert(*name, script(first, second, &key, Option::clone, differ));
    }
    drop(server);
    cluster.execute("postgres", "ALTER SYSTEM RESET log_statement");
    cluster.execute("postgres", "SELECT pg_reload_conf()");
    scripts
}

/// A line of PostgreSQL's log, if it is a statement.
fn statement(line: &str) -> Option<Sent<Option<String>>> {
    let entry: serde_json::Value = serde_json::from_str(line).ok()?;
    let message = entry["message"].as_str()?;
    let sql = match message.split_once(": ")? {
        ("statement", sql) => sql,
        (execute, sql) if execute.starts_with("execute ") => sql,
        _ => return None,
    };
    let detail = entry["detail"].as_str().unwrap_or_default();
    Some((sql.to_owned(), parameters(detail)))
}

/// `parameters: $1 = 'it''s', $2 = NULL`.
fn parameters(detail: &str) -> Vec<Option<String>> {
    let part = regex::Regex::new(r"\$\d+ = (?:(NULL)|'((?:[^']|'')*)')").expect("an expression");
    let value = |found: regex::Captures<'_>| found.get(2).map(|text| text.as_str().replace("''", "'"));
    part.captures_iter(detail).map(value).collect()
}

/// How long pgbench warms up, in seconds.
const PGBENCH_WARM_S: u64 = 3;

/// A script as pgbench takes it, and the values of its variables.
fn pgbench_script(script: &Script<Option<String>>, size: u64) -> (String, Vec<String>) {
    let mut text = format!("\\set any random(1, {size})\n\\set salt random(1, 9000000000000000000)\n");
    let mut values = Vec::new();
    let place = regex::Regex::new(r"\$(\d+)").expect("an expression");
    for (nth, (sql, params)) in script.0.iter().enumerate() {
        let shown = place.replace_all(sql, |found: &regex::Captures<'_>| {
            let place: usize = found[1].parse().expect("a number");
            match params.get(place - 1) {
                Some(Param::Fixed(Some(_))) => format!(":s{nth}_{place}"),
                Some(Param::Fixed(None)) | None => "NULL".into(),
                Some(Param::Fresh(which)) => format!(
                    "(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint), 12, '0') || '{which:04x}' || lpad(to_hex(:salt::bigint), 16, '0'))::uuid"
                ),
                Some(Param::Now) => "now()".into(),
                Some(Param::Keyed(before, behind)) => format!("('{before}' || :salt::text || '{behind}')"),
                Some(Param::Made) => ":number".into(),
                Some(Param::Any) => ":any".into(),
            }
        });
        for (place, param) in params.iter().enumerate() {
            if let Param::Fixed(Some(value)) = param {
                values.push(format!("s{nth}_{}={value}", place + 1));
            }
        }
        let one_line = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        text += one_line.trim_end_matches(';');
        text += if returns_number(sql) { " \\gset\n" } else { ";\n" };
    }
    (text, values)
}

/// Where pgbench sends its scripts.
pub struct Pgbench<'a> {
    pub cluster: &'a Cluster,
    pub database: &'a str,
    pub folder: &'a Path,
    pub size: u64,
    pub seconds: u64,
}

/// Sends a script by pgbench from this many clients; gives transactions a second.
pub fn postgres_rate(to: &Pgbench<'_>, name: &str, script: &Script<Option<String>>, clients: usize) -> f64 {
    let Pgbench { cluster, database, folder, size, seconds } = *to;
    let (text, values) = pgbench_script(script, size);
    let file = folder.join(format!("{name}.pgbench"));
    std::fs::write(&file, text).expect("the script is written");
    let mut command = cluster.pgbench(database);
    // The first seconds are those of new connections, which read the catalogue and plan: the product has had its own.
    let all = seconds + PGBENCH_WARM_S;
    command.args(["-M", "prepared", "-n", "-c", &clients.to_string(), "-j", "1", "-T", &all.to_string(), "-P", "1"]);
    command.arg("-f").arg(&file);
    for value in values {
        command.arg("-D").arg(value);
    }
    let said = all_output(&mut command);
    // `progress: 2.0 s, 1234.5 tps, lat …`
    let each =
        said.lines().filter_map(|line| line.strip_prefix("progress: ")?.split(", ").nth(1)?.strip_suffix(" tps"));
    let rates: Vec<f64> = each.skip(PGBENCH_WARM_S as usize).filter_map(|rate| rate.parse().ok()).collect();
    let rate = rates.iter().sum::<f64>() / rates.len() as f64;
    if !rate.is_normal() {
        fail(&format!("pgbench said: {said}"));
    }
    rate
}
