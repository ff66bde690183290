//! PostgreSQL: a cluster of our own with the settings of a careful production, and the database that is filled.

use std::io::Cursor;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, CopyInSink, NoTls};

use super::procs::{Running, fail, find, free_port, output};
use super::seed::{Sink, is_large};
use super::world::{Batch, LARGE, Table, Value};

/// The user of the cluster.
const USER: &str = "skranke";

/// How a cluster runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every answered write is on disk.
    Durable,
    /// While it is filled: a crash would lose it all, and it would be filled again.
    Filling,
}

/// A private cluster.
pub struct Cluster {
    bin: PathBuf,
    home: PathBuf,
    /// Who runs it, if we are root: PostgreSQL refuses to.
    owner: Option<(u32, u32)>,
    port: u16,
    mode: Mode,
    running: Option<Running>,
    runtime: Arc<Runtime>,
}

impl Cluster {
    /// The cluster in `home`, made if it is not there, not started yet.
    pub fn new(home: &Path, runtime: Arc<Runtime>) -> Self {
        let bin = programs();
        let root = output(Command::new("id").arg("-u")).trim() == "0";
        let owner = root.then(|| {
            let id = |flag: &str| output(Command::new("id").args([flag, "postgres"])).trim().parse().expect("a number");
            (id("-u"), id("-g"))
        });
        let cluster =
            Self { bin, home: home.to_owned(), owner, port: free_port(), mode: Mode::Durable, running: None, runtime };
        if !cluster.data().join("PG_VERSION").exists() {
            cluster.make();
        }
        cluster
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// Where the statements are logged.
    pub fn log(&self) -> PathBuf {
        self.data().join("log/postgres.json")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command.current_dir("/").stdin(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    fn make(&self) {
        std::fs::create_dir_all(&self.home).expect("a folder");
        if let Some((user, group)) = self.owner {
            std::os::unix::fs::chown(&self.home, Some(user), Some(group)).expect("a folder of postgres");
        }
        let mut initdb = self.command("initdb");
        initdb.arg("--pgdata").arg(self.data()).args(["--username", USER, "--auth=trust", "--encoding=UTF8"]);
        output(initdb.args(["--locale=C.UTF-8", "--no-sync"]));
        let settings: String = settings().iter().map(|(name, value)| format!("{name} = '{value}'\n")).collect();
        let file = self.data().join("postgresql.conf");
        let text = std::fs::read_to_string(&file).expect("the settings");
        std::fs::write(&file, text + &settings).expect("the settings");
    }

    /// The processor time that its processes have taken so far, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.running.as_ref().map_or(0.0, Running::cpu_us)
    }

    /// Runs the cluster in this mode.
    pub fn run(&mut self, mode: Mode) {
        if self.running.is_some() && self.mode == mode {
            return;
        }
        self.stop();
        // Somebody else may have been killed and have left it running.
        let mut stop = self.command("pg_ctl");
        let _ = stop.arg("stop").arg("--silent").arg("--mode=fast").arg("--pgdata").arg(self.data()).output();
        let _ = std::fs::remove_file(self.log());
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        if mode == Mode::Filling {
            for setting in [
                "fsync=off",
                "synchronous_commit=off",
                "full_page_writes=off",
                "wal_level=minimal",
                "max_wal_senders=0",
                "max_wal_size=2GB",
                "maintenance_work_mem=1GB",
                "autovacuum=off",
                "max_parallel_maintenance_workers=1",
            ] {
                command.args(["-c", setting]);
            }
        }
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = Running::start(&mut command, "INT");
        let deadline = Instant::now() + Duration::from_secs(120);
        while self.try_client("postgres").is_none() {
            if running.has_ended() || Instant::now() > deadline {
                fail(&format!("PostgreSQL did not start; see {}", self.log().display()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        self.running = Some(running);
        self.mode = mode;
    }

    /// Stops it, with all that it has on disk.
    pub fn stop(&mut self) {
        if self.running.take().is_some() && self.mode == Mode::Filling {
            // What was written without care is on disk before anybody relies on it.
            output(&mut Command::new("sync"));
        }
    }

    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// A command of `pgbench` on `database`.
    pub fn pgbench(&self, database: &str) -> Command {
        let mut command = Command::new(self.bin.join("pgbench"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", USER]).arg(database);
        command
    }

    fn try_client(&self, database: &str) -> Option<Client> {
        self.runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(database), NoTls).await.ok()?;
            tokio::spawn(connection);
            Some(client)
        })
    }

    pub fn client(&self, database: &str) -> Client {
        self.try_client(database).unwrap_or_else(|| fail("PostgreSQL is away"))
    }

    /// Runs statements.
    pub fn execute(&self, database: &str, sql: &str) {
        let client = self.client(database);
        self.runtime.block_on(client.batch_execute(sql)).unwrap_or_else(|e| fail(&format!("{sql}: {e:?}")));
    }

    /// One number.
    pub fn number(&self, database: &str, sql: &str) -> i64 {
        let client = self.client(database);
        self.runtime.block_on(client.query_one(sql, &[])).unwrap_or_else(|e| fail(&format!("{sql}: {e:?}"))).get(0)
    }

    pub fn drop_database(&self, database: &str) {
        self.execute("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
    }

    pub fn version(&self) -> String {
        output(Command::new(self.bin.join("postgres")).arg("--version"))
            .trim()
            .replace("postgres (PostgreSQL)", "PostgreSQL")
    }

    /// Where filling this database goes.
    pub fn filler(&self, database: &str) -> Filler {
        let clients = LARGE.iter().map(|_| {
            let client = self.client(database);
            // Foreign keys are not asked; the rows are right by themselves.
            let set = client.batch_execute("SET session_replication_role = replica");
            self.runtime.block_on(set).expect("a superuser");
            client
        });
        Filler { clients: clients.collect(), streams: Vec::new(), runtime: self.runtime.clone() }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The settings that differ from those of `initdb`, as the report shows them.
pub fn settings() -> Vec<(&'static str, String)> {
    let all_mib = super::report::ram_kib() / 1024;
    vec![
        ("listen_addresses", "127.0.0.1".into()),
        ("unix_socket_directories", String::new()),
        ("max_connections", "200".into()),
        ("shared_buffers", format!("{}MB", all_mib / 4)),
        ("effective_cache_size", format!("{}MB", all_mib * 3 / 4)),
        ("maintenance_work_mem", "512MB".into()),
        ("fsync", "on".into()),
        ("synchronous_commit", "on".into()),
        ("full_page_writes", "on".into()),
        ("wal_level", "replica".into()),
        ("max_wal_size", "8GB".into()),
        ("checkpoint_timeout", "15min".into()),
        ("checkpoint_completion_target", "0.9".into()),
        ("random_page_cost", "1.1".into()),
        ("timezone", "UTC".into()),
        ("logging_collector", "on".into()),
        ("log_destination", "jsonlog".into()),
        ("log_filename", "postgres.log".into()),
        ("log_rotation_size", "0".into()),
    ]
}

/// The folder of the newest PostgreSQL.
fn programs() -> PathBuf {
    let mut all: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_string_lossy().parse().ok()?, entry.path().join("bin"))))
        .collect();
    all.sort();
    let newest = all.pop().map(|(_, bin)| bin).filter(|bin| bin.join("initdb").exists());
    let on_path = || Some(find("initdb", &[])?.canonicalize().ok()?.parent()?.to_owned());
    newest.or_else(on_path).unwrap_or_else(|| {
        fail("PostgreSQL 15 or newer is missing (Debian: postgresql), or leave it out with --engine sqlite")
    })
}

type Stream = Pin<Box<CopyInSink<Cursor<Vec<u8>>>>>;

/// A database that is being filled: a COPY for each large table, side by side.
pub struct Filler {
    clients: Vec<Client>,
    streams: Vec<Stream>,
    runtime: Arc<Runtime>,
}

impl Filler {
    fn batch(&self, sql: &str) {
        self.runtime.block_on(self.clients[0].batch_execute(sql)).unwrap_or_else(|e| fail(&format!("{sql}: {e:?}")));
    }

    async fn end(mut stream: Stream, table: &Table) {
        stream.send(Cursor::new(TRAILER.to_vec())).await.unwrap_or_else(|e| fail(&format!("{}: {e:?}", table.name)));
        stream.as_mut().finish().await.unwrap_or_else(|e| fail(&format!("{}: {e:?}", table.name)));
    }

    async fn copy(client: &Client, table: &Table) -> Stream {
        let columns: Vec<String> = table.columns.iter().map(|column| format!("\"{column}\"")).collect();
        let sql = format!("COPY {} ({}) FROM STDIN (FORMAT binary)", table.name, columns.join(", "));
        let mut stream: Stream =
            Box::pin(client.copy_in(&sql).await.unwrap_or_else(|e| fail(&format!("{sql}: {e:?}"))));
        stream.send(Cursor::new(HEADER.to_vec())).await.unwrap_or_else(|e| fail(&format!("{sql}: {e:?}")));
        stream
    }

    /// Counts what there is, so that what is derived of it is read by its indexes.
    pub fn analyze(&self) {
        self.batch("ANALYZE");
    }

    /// Takes off the indexes of a table that is filled otherwise, but for those of constraints; gives their
    /// definitions.
    pub fn drop_indexes_of(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        // Foreign keys hang on those of constraints.
        let query = "SELECT c.relname::text, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE c.relnamespace = 'public'::regnamespace
            AND NOT EXISTS (SELECT 1 FROM pg_constraint k WHERE k.conindid = i.indexrelid)";
        let rows = self.runtime.block_on(self.clients[0].query(query, &[])).expect("the schema");
        let meant = rows.iter().filter(|row| is_meant(row.get(0)));
        let dropped: Vec<(String, String)> = meant.map(|row| (row.get(1), row.get(2))).collect();
        for (name, _) in &dropped {
            self.batch(&format!("DROP INDEX {name}"));
        }
        dropped.into_iter().map(|(_, definition)| definition).collect()
    }
}

impl Sink for Filler {
    type Load = Vec<Vec<u8>>;

    fn pack(batch: Batch) -> Self::Load {
        LARGE.iter().zip(&batch.rows).map(|(table, rows)| lines(table, rows)).collect()
    }

    fn basics(&mut self, table: Table, rows: &[Value]) {
        self.runtime.block_on(async {
            let mut stream = Self::copy(&self.clients[0], &table).await;
            let sent = stream.send(Cursor::new(lines(&table, rows))).await;
            sent.unwrap_or_else(|e| fail(&format!("{}: {e:?}", table.name)));
            Self::end(stream, &table).await;
        });
    }

    fn drop_indexes(&mut self) -> Vec<String> {
        let dropped = self.drop_indexes_of(is_large);
        self.runtime.block_on(async {
            for (client, table) in self.clients.iter().zip(&LARGE) {
                self.streams.push(Self::copy(client, table).await);
            }
        });
        dropped
    }

    fn write(&mut self, load: Self::Load) {
        let sends = self.streams.iter_mut().zip(load).map(|(stream, lines)| stream.send(Cursor::new(lines)));
        self.runtime.block_on(async {
            for (sent, table) in futures::future::join_all(sends).await.into_iter().zip(&LARGE) {
                sent.unwrap_or_else(|e| fail(&format!("{}: {e:?}", table.name)));
            }
        });
    }

    fn finish(&mut self) {
        for (stream, table) in std::mem::take(&mut self.streams).into_iter().zip(&LARGE) {
            self.runtime.block_on(Self::end(stream, table));
        }
        self.batch("SELECT setval(pg_get_serial_sequence('tickets', 'number'), (SELECT max(number) FROM tickets))");
    }

    fn make_index(&mut self, definition: &str) {
        self.batch(definition);
    }

    fn settle(&mut self) {
        self.batch("VACUUM (FREEZE, ANALYZE)");
        self.batch("CHECKPOINT");
    }
}

/// Rows as COPY's binary format has them.
fn lines(table: &Table, rows: &[Value]) -> Vec<u8> {
    /// 2000-01-01, from which PostgreSQL counts.
    const ZERO_US: i64 = 946_684_800_000_000;
    let width = (table.columns.len() as i16).to_be_bytes();
    let mut bytes = Vec::with_capacity(rows.len() * 24);
    for row in rows.chunks(table.columns.len()) {
        bytes.extend_from_slice(&width);
        for value in row {
            let mut field = |parts: &[&[u8]]| {
                let length: usize = parts.iter().map(|part| part.len()).sum();
                bytes.extend_from_slice(&(length as i32).to_be_bytes());
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
            };
            match value {
                Value::Null => bytes.extend_from_slice(&(-1_i32).to_be_bytes()),
                Value::Bool(is) => field(&[&[u8::from(*is)]]),
                Value::Int(n) => field(&[&n.to_be_bytes()]),
                Value::Small(n) => field(&[&n.to_be_bytes()]),
                Value::Time(us) => field(&[&(us - ZERO_US).to_be_bytes()]),
                Value::Uuid(id) => field(&[id.as_bytes()]),
                Value::Word(word) => field(&[word.as_bytes()]),
                Value::Text(text) => field(&[text.as_bytes()]),
                // The version of the format goes before it.
                Value::Json(text) => field(&[&[1], text.as_bytes()]),
            }
        }
    }
    bytes
}

/// What stands before all rows: the signature, no flags, no extension.
const HEADER: [u8; 19] = *b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind them.
const TRAILER: [u8; 2] = (-1_i16).to_be_bytes();
