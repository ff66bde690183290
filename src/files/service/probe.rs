//! Whether all is where it should be: files with their bytes, and instances that share one folder.

use uuid::Uuid;

use super::cabinet::Cabinet;
use crate::db::{Conn, Db, Roots};
use crate::files::store;
use crate::files::store::bytes::ByteStore;
use crate::files::store::draft::{self, SHARDS};
use crate::kernel::{FileId, Instant, Problem};

/// How many files are looked at at once.
const AT_ONCE: i64 = 500;

/// For how long an instance is taken to be there that has written its probe, in seconds.
pub const PROBED_FOR_S: i64 = 600;

/// What is not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileFaults {
    /// How many files there are that should have bytes.
    pub files: usize,
    /// Those whose bytes are not there, or not all of them.
    pub missing: Vec<FileId>,
    /// How many bytes lie there that no file has, by their keys.
    pub orphans: usize,
}

/// Holds all files against their bytes, and these against the files.
///
/// # Errors
/// When the database or the store of files cannot be read.
pub async fn compare(conn: &mut Conn, bytes: &ByteStore) -> Result<FileFaults, Problem> {
    let mut faults = FileFaults::default();
    let mut after = None;
    loop {
        let some = store::with_bytes(conn, after, AT_ONCE).await?;
        let Some(last) = some.last() else { break };
        after = Some(last.id);
        for file in &some {
            let size_b = bytes.size_b(&file.store_key).await.map_err(Problem::unavailable)?;
            if size_b.and_then(|size_b| i64::try_from(size_b).ok()) != Some(file.size_b) {
                faults.missing.push(file.id);
            }
        }
        faults.files += some.len();
    }
    for shard in 0..SHARDS {
        let all = bytes.list(&draft::shard(shard)).await.map_err(Problem::unavailable)?;
        let keys: Vec<String> = all.into_iter().map(|bytes| bytes.key).collect();
        for keys in keys.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
            let known = store::known_keys(conn, keys).await?;
            faults.orphans += keys.iter().filter(|key| !known.contains(key)).count();
        }
    }
    Ok(faults)
}

/// Leaves a sign of the instance `me` in its folder of files, and says in the database that it has.
///
/// # Errors
/// When the database or the folder is away.
pub async fn leave(db: &Db, cabinet: &Cabinet, me: Uuid, now: Instant) -> Result<(), Problem> {
    let ByteStore::Local(folder) = &cabinet.bytes else { return Ok(()) };
    folder.leave_probe(me).await.map_err(Problem::unavailable)?;
    let gone = db
        .write(Roots::none(), async move |tx| store::note_probe(tx, me, now, now.plus_s(-PROBED_FOR_S)).await)
        .await?;
    for instance in gone {
        folder.remove_probe(instance).await.map_err(Problem::unavailable)?;
    }
    Ok(())
}

/// The instances that are there and have another folder than this one; and how many there are.
///
/// # Errors
/// When the database or the folder cannot be read.
pub async fn strangers(conn: &mut Conn, bytes: &ByteStore, now: Instant) -> Result<(Vec<Uuid>, usize), Problem> {
    // A bucket is the same for all.
    let ByteStore::Local(folder) = bytes else { return Ok((Vec::new(), 0)) };
    let there = store::probes(conn, now.plus_s(-PROBED_FOR_S)).await?;
    let mut strangers = Vec::new();
    for instance in &there {
        if !folder.has_probe(*instance).await.map_err(Problem::unavailable)? {
            strangers.push(*instance);
        }
    }
    Ok((strangers, there.len()))
}
