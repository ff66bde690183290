//! Where the bytes of files lie: in a folder, or in a bucket. Each lies under a key of its own, which tells nothing of
//! it, and is there whole or not at all.

use std::io;
use std::time::SystemTime;

use super::bucket::Bucket;
use super::draft::{BytesRead, Draft, StoredBytes, WrittenDraft};
use super::local::LocalFolder;

/// Where the bytes of files lie.
#[derive(Debug, Clone)]
pub enum ByteStore {
    /// In a folder.
    Local(LocalFolder),
    /// In a bucket.
    Bucket(Bucket),
}

impl ByteStore {
    /// A new file.
    ///
    /// # Errors
    /// When there is no place to write it to.
    pub async fn draft(&self) -> io::Result<Draft> {
        match self {
            Self::Local(folder) => folder.draft().await,
            Self::Bucket(bucket) => bucket.draft().await,
        }
    }

    /// Keeps what was written under `key`: when this gives `Ok`, it is on disk.
    ///
    /// # Errors
    /// When it is not, or nobody knows.
    pub async fn keep(&self, key: &str, draft: WrittenDraft) -> io::Result<()> {
        match self {
            Self::Local(folder) => folder.keep(key, draft).await,
            Self::Bucket(bucket) => bucket.keep(key, draft).await,
        }
    }

    /// So many bytes under `key`, from `first` on.
    ///
    /// # Errors
    /// When there is nothing under it, or it cannot be read.
    pub async fn get(&self, key: &str, first: u64, count: u64) -> io::Result<BytesRead> {
        match self {
            Self::Local(folder) => folder.get(key, first, count).await,
            Self::Bucket(bucket) => bucket.get(key, first, count).await,
        }
    }

    /// Removes what is under `key`, if anything is.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn delete(&self, key: &str) -> io::Result<()> {
        match self {
            Self::Local(folder) => folder.delete(key).await,
            Self::Bucket(bucket) => bucket.delete(key).await,
        }
    }

    /// How many bytes are under `key`; nothing when there is no such key.
    ///
    /// # Errors
    /// When nobody knows.
    pub async fn size_b(&self, key: &str) -> io::Result<Option<u64>> {
        match self {
            Self::Local(folder) => folder.size_b(key).await,
            Self::Bucket(bucket) => bucket.size_b(key).await,
        }
    }

    /// All that lies in one [`shard`].
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn list(&self, shard: &str) -> io::Result<Vec<StoredBytes>> {
        match self {
            Self::Local(folder) => folder.list(shard).await,
            Self::Bucket(bucket) => bucket.list(shard).await,
        }
    }

    /// Removes what somebody has begun to write before `before` and never ended.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn sweep_drafts(&self, before: SystemTime) -> io::Result<usize> {
        match self {
            Self::Local(folder) => folder.sweep_drafts(before).await,
            // They have no names.
            Self::Bucket(_) => Ok(0),
        }
    }
}
