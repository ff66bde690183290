//! Files are scanned by themselves: what a scanner has passed is given out to everybody, and the bytes of one in which
//! it has found something go. While the scanner is away, what is not scanned stays so.

use serde_json::{Value, json};

use super::cabinet::Cabinet;
use super::clamd::{Clamd, ScanVerdict};
use crate::audit::domain::{Change, Event, EventKind, EventSubject};
use crate::db::signal::FilesWaiting;
use crate::db::{Conn, Db, Root, Roots};
use crate::files::domain::{File, FileRow};
use crate::files::store;
use crate::kernel::{Clock, FileId, FileState, Problem};

/// How many files are scanned in one run.
const AT_ONCE: i64 = 16;

/// When a file is tried again that the scanner does not take, in seconds.
const TRIED_AGAIN_S: i64 = 3600;

/// Scans some files that wait for it; gives whether there may be more.
///
/// # Errors
/// When the scanner, the database or the store of files is away.
pub async fn scan_some(db: &Db, cabinet: &Cabinet, clamd: &Clamd, clock: &Clock) -> Result<bool, Problem> {
    let waiting = db.read(async |conn| store::waiting_for_scan(conn, clock.now(), AT_ONCE).await).await?;
    let has_more = i64::try_from(waiting.len()).is_ok_and(|count| count == AT_ONCE);
    for file in waiting {
        match verdict(cabinet, clamd, &file).await? {
            ScanVerdict::Clean => judge(db, &file, FileState::Clean, clock).await?,
            ScanVerdict::Infected(what) => {
                tracing::warn!(file = %file.id, what, "a scanner has found something in a file");
                judge(db, &file, FileState::Infected, clock).await?;
            }
            ScanVerdict::Refused(why) => {
                tracing::warn!(file = %file.id, why, "a file could not be scanned and stays so");
                let (id, at) = (file.id, clock.now().plus_s(TRIED_AGAIN_S));
                db.write(Roots::none(), async move |tx| store::put_scan_off(tx, id, at).await).await?;
            }
        }
    }
    Ok(has_more)
}

async fn verdict(cabinet: &Cabinet, clamd: &Clamd, file: &File) -> Result<ScanVerdict, Problem> {
    let size_b = u64::try_from(file.size_b).map_err(Problem::internal)?;
    let Some(key) = &file.store_key else { return Ok(ScanVerdict::Refused("its bytes are gone".into())) };
    match cabinet.bytes.get(key, 0, size_b).await {
        Ok(bytes) => clamd.scan(bytes).await.map_err(Problem::unavailable),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Ok(ScanVerdict::Refused("its bytes are not where this instance looks for them".into()))
        }
        Err(error) => Err(Problem::unavailable(error)),
    }
}

/// Writes down what came of scanning `file`, and tells of what was found where it is attached.
async fn judge(db: &Db, file: &File, state: FileState, clock: &Clock) -> Result<(), Problem> {
    let roots: Roots = file.ticket_number.map(Root::Ticket).into_iter().collect();
    let (id, clock) = (file.id, clock.clone());
    db.write(roots, async move |tx| judge_one(tx, id, state, &clock).await).await
}

async fn judge_one(tx: &mut Conn, id: FileId, state: FileState, clock: &Clock) -> Result<(), Problem> {
    // Whatever has become of it meanwhile.
    let Some(row) = store::find_any(tx, id).await?.filter(|row| row.file.state == FileState::Unscanned) else {
        return Ok(());
    };
    store::judge(tx, id, state).await?;
    if state != FileState::Infected {
        return Ok(());
    }
    let waiting = tx.kept_by_name::<FilesWaiting>();
    tx.after_commit(move || waiting.0.give());
    match row.file.ticket_number {
        Some(number) => tell(tx, number, &row, clock).await,
        None => Ok(()),
    }
}

async fn tell(tx: &mut Conn, number: i64, row: &FileRow, clock: &Clock) -> Result<(), Problem> {
    let (id, version) = store::version_of_ticket(tx, number).await?;
    let event = Event {
        about: EventSubject::Ticket(id, version),
        at: clock.now(),
        actor: None,
        kind: EventKind::FileInfected,
        visibility: row.visibility(),
        comment_id: row.file.comment_id,
        changes: Change::of("file_ids", json!([row.file.id]), Value::Null).into_iter().collect(),
    };
    crate::audit::store::add(tx, event, clock).await
}
