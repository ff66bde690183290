//! Bytes on their way into a store: written to a file of nobody's, and counted and hashed meanwhile.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::SystemTime;

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use futures_util::Stream;
use tempfile::NamedTempFile;
use uuid::Uuid;

use crate::files::domain::sniff::LOOKED_AT_B;

/// Bytes as they are read.
pub type BytesRead = Pin<Box<dyn Stream<Item = io::Result<Bytes>>>>;

/// Bytes that lie there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBytes {
    /// Under which key.
    pub key: String,
    /// How many.
    pub size_b: u64,
    /// Since when.
    pub since: SystemTime,
}

/// How many parts there are of which one is listed at a time: a key begins with the number of its part.
pub const SHARDS: u16 = 256;

/// A new key.
pub fn key(id: Uuid) -> String {
    format!("{:02x}/{id}", id.as_bytes()[15])
}

/// What the keys of a part begin with.
pub fn shard(nth: u16) -> String {
    format!("{:02x}", nth % SHARDS)
}

/// A file that is being written. It is gone when this is dropped.
pub struct Draft {
    pub(super) file: NamedTempFile,
    digest: Context,
    size_b: u64,
    head: Vec<u8>,
}

/// What has been written.
pub struct WrittenDraft {
    pub(super) file: NamedTempFile,
    /// How many bytes.
    pub size_b: u64,
    /// Their SHA-256.
    pub sha256: Vec<u8>,
    /// The first of them.
    pub head: Vec<u8>,
}

impl Draft {
    pub(super) fn in_folder(folder: &Path) -> io::Result<Self> {
        let file = tempfile::Builder::new().suffix(".part").tempfile_in(folder)?;
        Ok(Self { file, digest: Context::new(&SHA256), size_b: 0, head: Vec::new() })
    }

    /// With `bytes` at its end.
    ///
    /// # Errors
    /// When the disk does not take them.
    pub async fn write(mut self, bytes: Vec<u8>) -> io::Result<Self> {
        blocking(move || {
            io::Write::write_all(&mut self.file, &bytes)?;
            self.digest.update(&bytes);
            self.size_b += bytes.len() as u64;
            let room = LOOKED_AT_B - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
            Ok(self)
        })
        .await
    }

    /// Done: nothing follows.
    pub fn finish(self) -> WrittenDraft {
        let Self { file, digest, size_b, head } = self;
        WrittenDraft { file, size_b, sha256: digest.finish().as_ref().to_vec(), head }
    }
}

/// What comes of `work`, which waits for a disk, on a thread for that.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}
