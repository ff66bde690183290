//! Files in a folder: written under another name, brought to disk, and named then.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use futures_util::stream::try_unfold;
use uuid::Uuid;

use super::draft::{BytesRead, Draft, StoredBytes, WrittenDraft, blocking};

/// Where what is not whole yet lies, within the folder, so that naming it moves nothing.
const DRAFTS: &str = "incoming";

/// Where instances leave signs of themselves, by which it shows whether they share the folder.
const PROBES: &str = "probes";

/// How many bytes are read at a time.
const PIECE_B: u64 = 64 << 10;

/// A folder of files.
#[derive(Debug, Clone)]
pub struct LocalFolder(PathBuf);

impl LocalFolder {
    /// The folder at `path`, which is made with the first file.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    fn place(&self, key: &str) -> PathBuf {
        self.0.join(key)
    }

    pub(super) async fn draft(&self) -> io::Result<Draft> {
        let folder = self.0.join(DRAFTS);
        blocking(move || {
            make_folder(&folder)?;
            Draft::in_folder(&folder)
        })
        .await
    }

    pub(super) async fn keep(&self, key: &str, draft: WrittenDraft) -> io::Result<()> {
        let place = self.place(key);
        blocking(move || {
            draft.file.as_file().sync_all()?;
            let Some(folder) = place.parent() else { return Err(ErrorKind::InvalidInput.into()) };
            make_folder(folder)?;
            draft.file.persist_noclobber(&place).map_err(|error| error.error)?;
            sync_folder(folder)
        })
        .await
    }

    pub(super) async fn get(&self, key: &str, first: u64, count: u64) -> io::Result<BytesRead> {
        let place = self.place(key);
        let file = blocking(move || {
            let mut file = File::open(place)?;
            file.seek(SeekFrom::Start(first))?;
            Ok(file)
        })
        .await?;
        Ok(Box::pin(try_unfold((file, count), |(file, left)| async move {
            if left == 0 {
                return Ok(None);
            }
            let (piece, file) = blocking(move || {
                let mut piece = Vec::new();
                (&file).take(left.min(PIECE_B)).read_to_end(&mut piece)?;
                Ok((piece, file))
            })
            .await?;
            if piece.is_empty() {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let left = left - piece.len() as u64;
            Ok(Some((Bytes::from(piece), (file, left))))
        })))
    }

    pub(super) async fn delete(&self, key: &str) -> io::Result<()> {
        let place = self.place(key);
        blocking(move || {
            match fs::remove_file(&place) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
            place.parent().map_or(Ok(()), sync_folder)
        })
        .await
    }

    pub(super) async fn size_b(&self, key: &str) -> io::Result<Option<u64>> {
        let place = self.place(key);
        blocking(move || match fs::metadata(place) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        })
        .await
    }

    /// Leaves a sign of an instance.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn leave_probe(&self, instance: Uuid) -> io::Result<()> {
        let folder = self.0.join(PROBES);
        blocking(move || {
            make_folder(&folder)?;
            fs::write(folder.join(instance.to_string()), b"")
        })
        .await
    }

    /// Whether an instance has left one.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub async fn has_probe(&self, instance: Uuid) -> io::Result<bool> {
        let place = self.0.join(PROBES).join(instance.to_string());
        blocking(move || place.try_exists()).await
    }

    /// Removes that of an instance that is no more.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove_probe(&self, instance: Uuid) -> io::Result<()> {
        let place = self.0.join(PROBES).join(instance.to_string());
        blocking(move || match fs::remove_file(place) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    pub(super) async fn list(&self, shard: &str) -> io::Result<Vec<StoredBytes>> {
        let (folder, shard) = (self.0.join(shard), shard.to_owned());
        blocking(move || {
            let named = entries(&folder)?.into_iter().filter_map(|(name, found)| {
                let key = format!("{shard}/{name}");
                Some(StoredBytes { key, size_b: found.len(), since: found.modified().ok()? })
            });
            Ok(named.collect())
        })
        .await
    }

    pub(super) async fn sweep_drafts(&self, before: SystemTime) -> io::Result<usize> {
        let folder = self.0.join(DRAFTS);
        blocking(move || {
            let all = entries(&folder)?.into_iter();
            let old = all.filter(|(_, found)| found.modified().is_ok_and(|at| at < before));
            let mut count = 0;
            for (name, _) in old {
                fs::remove_file(folder.join(name))?;
                count += 1;
            }
            Ok(count)
        })
        .await
    }
}

/// The files in `folder`, if there is one, by their names.
fn entries(folder: &Path) -> io::Result<Vec<(String, fs::Metadata)>> {
    let all = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for entry in all {
        let entry = entry?;
        // What has gone meanwhile is not there.
        if let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata())
            && metadata.is_file()
        {
            found.push((name, metadata));
        }
    }
    Ok(found)
}

/// Makes `folder` and those above it, for nobody else on the machine, and brings their names to disk.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let above = folder.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        make_folder(above)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(folder) {
        // By somebody else at the same time.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }?;
    sync_folder(above.unwrap_or(Path::new(".")))
}

/// The names in a folder are on disk when it is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
