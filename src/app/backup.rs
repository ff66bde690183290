//! A copy of the database while it is in use.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::config::Config;
use crate::db::{self, DatabaseUrl};

/// Why there is no copy.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This database is copied by another program: how.
    Elsewhere(String),
    /// A sentence that says what went wrong.
    Failed(String),
}

/// What was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Written {
    /// How large the copy is, in bytes.
    pub size_b: u64,
    /// Where the copy of the signing key lies, if it was asked for.
    pub key: Option<PathBuf>,
}

/// Copies the SQLite database of `config` to `file`, which must not be there: everything that was answered before this
/// began, and nothing by halves. It appears whole, on disk and with mode 0600, or not at all. The server may be at
/// work.
///
/// With `with_key` the key beside the database is copied beside `file` first, under the name where a server on the copy
/// looks for it.
///
/// # Errors
/// When this is PostgreSQL, something is there already, or the disk does not do it.
pub fn write(config: &Config, file: &Path, with_key: bool) -> Result<Written, Refusal> {
    let DatabaseUrl::Sqlite(source) = &config.database else { return Err(Refusal::Elsewhere(pg_dump(file))) };
    let failed = |sentence: String| Err(Refusal::Failed(sentence));
    if !source.is_file() {
        return failed(format!("there is no database at {}; DATABASE_URL names it", source.display()));
    }
    let key = match (with_key, config.key_beside_database()) {
        (true, Some(path)) => Some((path, file.with_extension("key"))),
        (true, None) => return failed("the signing key comes from a setting, and is kept where that is kept".into()),
        (false, _) => None,
    };
    if key.as_ref().is_some_and(|(_, copy)| copy == file) {
        return failed("FILE should not end in .key, which is where the copy of the key goes".into());
    }
    for path in [file].into_iter().chain(key.as_ref().map(|(_, copy)| copy.as_path())) {
        // A link that leads nowhere is there, too.
        if path.symlink_metadata().is_ok() {
            return failed(format!("{} is there already, and is not overwritten", path.display()));
        }
    }
    if let Some((path, copy)) = &key {
        let pem = std::fs::read(path).map_err(|e| Refusal::Failed(format!("{}: {e}", path.display())))?;
        appear(copy, |draft| draft.write_all(&pem).map_err(|e| e.to_string()))?;
    }
    let copied = appear(file, |draft| db::copy_sqlite(source, draft.path()).map_err(|problem| said(&problem)));
    match (copied, key) {
        (Ok(()), key) => {
            let size_b = std::fs::metadata(file).map_or(0, |of| of.len());
            Ok(Written { size_b, key: key.map(|(_, copy)| copy) })
        }
        (Err(refusal), key) => {
            // A key without its database is of no use, and it was made here.
            key.map(|(_, copy)| std::fs::remove_file(copy));
            Err(refusal)
        }
    }
}

/// Makes `file` whole or not at all: filled under another name beside it, with mode 0600, brought to disk, and named
/// then.
fn appear(file: &Path, fill: impl FnOnce(&mut NamedTempFile) -> Result<(), String>) -> Result<(), Refusal> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |what: String| Refusal::Failed(format!("cannot write {}: {what}", file.display()));
    let say = |error: std::io::Error| failed(error.to_string());
    let mut draft = tempfile::Builder::new().prefix(".skranke-").suffix(".part").tempfile_in(folder).map_err(say)?;
    fill(&mut draft).map_err(failed)?;
    draft.as_file().sync_all().map_err(say)?;
    draft.persist_noclobber(file).map_err(|error| say(error.error))?;
    // The name is on disk when its folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(say)
}

fn pg_dump(file: &Path) -> String {
    let file = file.to_string_lossy().replace('\'', r"'\''");
    format!(
        "PostgreSQL is backed up by its own program: \
         pg_dump --format=custom --file='{file}' --dbname=\"$DATABASE_URL\"; the signing key is not in it"
    )
}

/// The problem with its cause, which names the database's reason.
fn said(problem: &crate::kernel::Problem) -> String {
    problem.cause().map_or_else(|| problem.detail().to_owned(), ToString::to_string)
}
