//! SQLite: the file that is filled.

use std::path::{Path, PathBuf};

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement, ToSql};

use super::seed::{Sink, is_large};
use super::world::{Batch, LARGE, Table, Value};

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Value::Null => ValueRef::Null,
            Value::Bool(is) => ValueRef::Integer((*is).into()),
            Value::Int(n) | Value::Time(n) => ValueRef::Integer(*n),
            Value::Small(n) => ValueRef::Integer((*n).into()),
            Value::Word(word) => ValueRef::Text(word.as_bytes()),
            Value::Text(text) | Value::Json(text) => ValueRef::Text(text.as_bytes()),
            Value::Uuid(id) => ValueRef::Blob(id.as_bytes()),
        }))
    }
}

/// A file that is being filled, without any care for what a crash would do to it.
pub struct File(Connection);

impl File {
    /// Opens a file that has the schema.
    pub fn open(path: &Path) -> Self {
        // Sorting for an index takes more room than /tmp may have.
        let folder = path.parent().expect("a folder").to_string_lossy().into_owned();
        let conn = Connection::open(path).expect("the file opens");
        alone(&conn, "PRAGMA journal_mode = OFF");
        conn.execute_batch(&format!(
            "PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF; PRAGMA locking_mode = EXCLUSIVE;
             PRAGMA cache_size = -524288; PRAGMA threads = 2; PRAGMA temp_store_directory = '{folder}'; BEGIN"
        ))
        .expect("settings");
        conn.set_prepared_statement_cache_capacity(32);
        Self(conn)
    }
}

/// Runs a statement that nobody else may have the file open for; who has just dropped it still closes it.
fn alone(conn: &Connection, sql: &str) {
    for _ in 0..100 {
        if conn.execute_batch(sql).is_ok() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    super::procs::fail(&format!("{sql}: somebody has the file open"));
}

fn insert(table: &Table) -> String {
    let places = vec!["?"; table.columns.len()].join(", ");
    format!("INSERT INTO {} ({}) VALUES ({places})", table.name, table.columns.join(", "))
}

impl Sink for File {
    type Load = [Vec<Value>; 6];

    fn pack(batch: Batch) -> Self::Load {
        batch.rows
    }

    fn basics(&mut self, table: Table, rows: &[Value]) {
        let mut statement = self.0.prepare_cached(&insert(&table)).expect(table.name);
        write(&mut statement, table.columns.len(), rows);
    }

    fn drop_indexes(&mut self) -> Vec<String> {
        let query = "SELECT tbl_name, name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
        let mut statement = self.0.prepare(query).expect("the schema");
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).expect("the schema");
        let all: Vec<(String, String, String)> = rows.map(|row| row.expect("an index")).collect();
        drop(statement);
        let large = all.into_iter().filter(|(table, ..)| is_large(table));
        large
            .map(|(_, name, sql)| {
                self.0.execute_batch(&format!("DROP INDEX {name}")).expect("the index goes");
                sql
            })
            .collect()
    }

    fn write(&mut self, load: Self::Load) {
        for (table, rows) in LARGE.iter().zip(load) {
            let mut statement = self.0.prepare_cached(&insert(table)).expect(table.name);
            write(&mut statement, table.columns.len(), &rows);
        }
    }

    fn finish(&mut self) {
        self.0.execute_batch("COMMIT").expect("written");
    }

    fn make_index(&mut self, definition: &str) {
        self.0.execute_batch(definition).expect(definition);
    }

    fn settle(&mut self) {
        // Back to what the server sets; it never runs ANALYZE, so neither is it run here.
        self.0.execute_batch("PRAGMA locking_mode = NORMAL; PRAGMA synchronous = FULL").expect("settings");
        // The first read gives up the exclusive lock.
        let _: i64 = self.0.query_row("SELECT count(*) FROM teams", [], |row| row.get(0)).expect("a read");
        self.0.execute_batch("PRAGMA journal_mode = WAL").expect("settings");
    }
}

fn write(statement: &mut Statement<'_>, width: usize, rows: &[Value]) {
    for row in rows.chunks(width) {
        statement.execute(rusqlite::params_from_iter(row)).expect("the row fits");
    }
}

/// Removes a file with all that SQLite and Skranke put beside it.
pub fn remove(path: &Path) {
    for extension in ["db", "db-wal", "db-shm", "key", "lock", "json"] {
        let file: PathBuf = path.with_extension(extension);
        if file.exists() {
            std::fs::remove_file(&file).expect("a file goes");
        }
    }
}

/// Brings what stands in the log beside the file into it.
pub fn checkpoint(path: &Path) {
    let conn = Connection::open(path).expect("the file opens");
    alone(&conn, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/// The bytes that the database has on disk.
pub fn bytes(path: &Path) -> u64 {
    ["db", "db-wal"].iter().filter_map(|e| std::fs::metadata(path.with_extension(e)).ok()).map(|m| m.len()).sum()
}

/// The version of the library.
pub fn version() -> String {
    format!("SQLite {}", rusqlite::version())
}
