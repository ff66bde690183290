//! The files of an open database.

use std::path::{Path, PathBuf};

use crate::kernel::Problem;

/// The files of a database, as the system knows them: what is deleted or replaced while it is open is no longer theirs.
pub(super) struct Files(Vec<(PathBuf, Option<Identity>)>);

/// The device and the number of a file on it.
type Identity = (u64, u64);

impl Files {
    /// As they are now.
    pub(super) fn of(path: &Path) -> Self {
        let beside = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let all = [path.to_owned(), beside("-wal"), beside("-shm")];
        Self(all.into_iter().map(|path| (path.clone(), identity(&path))).collect())
    }

    pub(super) fn are_there(&self) -> Result<(), Problem> {
        let lost = self.0.iter().find(|(path, known)| known.is_some() && identity(path) != *known);
        lost.map_or(Ok(()), |(path, _)| {
            let path = path.display();
            let cause = format!("{path} was deleted or replaced while the database is open");
            let detail = "A file of the database was deleted or replaced while it is open. Stop the service with SIGTERM, which keeps what \
                          it has written, and start it again.";
            Err(Problem::unavailable(cause).saying(detail))
        })
    }
}

#[cfg(unix)]
fn identity(path: &Path) -> Option<Identity> {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

#[cfg(not(unix))]
fn identity(_: &Path) -> Option<Identity> {
    None
}
