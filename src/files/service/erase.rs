//! What the service does to files by itself: those that nobody has attached go, those that are marked lose their bytes
//! and then their row, and bytes that no row knows of are swept.

use std::time::{Duration, SystemTime};

use super::cabinet::Cabinet;
use crate::db::{Db, Roots};
use crate::files::domain::KEPT_UNATTACHED_S;
use crate::files::store;
use crate::files::store::draft;
use crate::kernel::{Instant, Problem};

/// How many files one transaction marks or forgets.
const AT_ONCE: i64 = 100;

/// How many keys are looked up at once.
const KEYS_AT_ONCE: usize = 500;

/// Marks some files that have been attached to nothing for too long; gives how many.
///
/// # Errors
/// When the database is away.
pub async fn mark_unattached(db: &Db, now: Instant) -> Result<usize, Problem> {
    let before = now.plus_s(-KEPT_UNATTACHED_S);
    db.write(Roots::none(), async move |tx| store::mark_unattached(tx, before, AT_ONCE).await).await
}

/// Removes the bytes of some files that are marked or infected, and then the rows of those that are marked; gives
/// whether there may be more.
///
/// # Errors
/// When the database or the store of files is away.
pub async fn erase_some(db: &Db, cabinet: &Cabinet) -> Result<bool, Problem> {
    let doomed = db.read(async |conn| store::doomed(conn, AT_ONCE).await).await?;
    if doomed.is_empty() {
        return Ok(false);
    }
    for key in doomed.iter().filter_map(|file| file.store_key.as_deref()) {
        cabinet.bytes.delete(key).await.map_err(Problem::unavailable)?;
    }
    let ids: Vec<_> = doomed.iter().map(|file| file.id).collect();
    db.write(Roots::none(), async move |tx| store::forget(tx, &ids).await).await?;
    Ok(i64::try_from(doomed.len()).is_ok_and(|count| count == AT_ONCE))
}

/// Removes what lies in one part of the store and no row knows of, if it has lain there for long, and what was never
/// written to its end; gives how much.
///
/// # Errors
/// When the database or the store of files is away.
pub async fn sweep(db: &Db, cabinet: &Cabinet, shard: u16, now: Instant) -> Result<usize, Problem> {
    let before = instant(now.plus_s(-KEPT_UNATTACHED_S));
    let mut swept = cabinet.bytes.sweep_drafts(before).await.map_err(Problem::unavailable)?;
    let all = cabinet.bytes.list(&draft::shard(shard)).await.map_err(Problem::unavailable)?;
    let old: Vec<String> = all.into_iter().filter(|bytes| bytes.since < before).map(|bytes| bytes.key).collect();
    for keys in old.chunks(KEYS_AT_ONCE) {
        let known = db.read(async |conn| store::known_keys(conn, keys).await).await?;
        for key in keys.iter().filter(|key| !known.contains(key)) {
            cabinet.bytes.delete(key).await.map_err(Problem::unavailable)?;
            swept += 1;
        }
    }
    Ok(swept)
}

fn instant(at: Instant) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.micros()).unwrap_or(0))
}
