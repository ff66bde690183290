//! Files in a bucket of a store that speaks S3. What comes is gathered on disk first, since only of what is whole it is
//! known whether it is what it should be.

use std::fmt;
use std::io::{self, Read, Seek};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::client::SpawnedReqwestConnector;
use object_store::path::Path;
use object_store::{
    ClientOptions, GetOptions, GetRange, MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
};
use tokio::sync::Semaphore;

use super::draft::{BytesRead, Draft, StoredBytes, WrittenDraft, blocking};
use crate::kernel::secret::Secret;

/// How many bytes are sent at a time: larger files go in parts.
const PART_B: u64 = 8 << 20;

/// How many files are sent on at once, each with one part in memory.
const SENT_AT_ONCE: usize = 4;

/// How often, and for how long, is tried again what the store does not do.
const RETRIES: usize = 3;
const RETRIED_FOR: Duration = Duration::from_secs(20);

/// How long the store may say nothing.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which bucket, and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPlan {
    /// Its name.
    pub bucket: String,
    /// What all keys begin with; maybe nothing.
    pub prefix: String,
    /// Where the store is, if that is not Amazon.
    pub endpoint: Option<String>,
    /// In which region.
    pub region: String,
    /// Who asks, and the secret; without them, what the machine is given by its surroundings.
    pub key: Option<(String, Secret<String>)>,
}

/// A bucket of files.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<AmazonS3>,
    prefix: String,
    sending: Arc<Semaphore>,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl Bucket {
    /// The bucket of `plan`. Must be called within a tokio runtime that lives as long as it is used.
    ///
    /// # Errors
    /// When it cannot be spoken to in this way.
    pub fn open(plan: &BucketPlan) -> io::Result<Self> {
        let client =
            ClientOptions::new().with_connect_timeout(PATIENCE).with_read_timeout(PATIENCE).with_timeout_disabled();
        let retry = RetryConfig { max_retries: RETRIES, retry_timeout: RETRIED_FOR, ..RetryConfig::default() };
        let is_plain = plan.endpoint.as_ref().is_some_and(|endpoint| endpoint.starts_with("http://"));
        let mut builder = match plan.key {
            Some(_) => AmazonS3Builder::new(),
            None => AmazonS3Builder::from_env(),
        }
        .with_bucket_name(&plan.bucket)
        .with_region(&plan.region)
        .with_client_options(client.with_allow_http(is_plain))
        .with_retry(retry)
        // A connection is driven by the thread that has opened it.
        .with_http_connector(SpawnedReqwestConnector::new(tokio::runtime::Handle::current()));
        if let Some(endpoint) = &plan.endpoint {
            builder = builder.with_endpoint(endpoint);
        }
        if let Some((id, secret)) = &plan.key {
            builder = builder.with_access_key_id(id).with_secret_access_key(secret.reveal());
        }
        Ok(Self {
            store: Arc::new(builder.build()?),
            prefix: plan.prefix.clone(),
            sending: Arc::new(Semaphore::new(SENT_AT_ONCE)),
        })
    }

    fn place(&self, key: &str) -> Path {
        Path::from(format!("{}/{key}", self.prefix))
    }

    /// Without a name, so that it is gone whatever becomes of this process.
    pub(super) async fn draft(&self) -> io::Result<Draft> {
        blocking(|| {
            let draft = Draft::in_folder(&std::env::temp_dir())?;
            std::fs::remove_file(draft.file.path())?;
            Ok(draft)
        })
        .await
    }

    pub(super) async fn keep(&self, key: &str, draft: WrittenDraft) -> io::Result<()> {
        let _turn = self.sending.acquire().await.map_err(io::Error::other)?;
        let (place, size_b) = (self.place(key), draft.size_b);
        let rest = UnsentRest { file: draft.file, is_begun: false };
        if size_b <= PART_B {
            let (whole, _) = rest.next().await?;
            self.store.put(&place, whole).await?;
            return Ok(());
        }
        let mut upload = self.store.put_multipart(&place).await?;
        let sent = send_parts(upload.as_mut(), rest, size_b).await;
        if sent.is_err() {
            // What cannot be taken back either is left to the rules of the bucket.
            let _ = upload.abort().await;
        }
        sent
    }

    pub(super) async fn get(&self, key: &str, first: u64, count: u64) -> io::Result<BytesRead> {
        if count == 0 {
            return Ok(Box::pin(futures_util::stream::empty()));
        }
        let range = GetRange::Bounded(first..first.saturating_add(count));
        let options = GetOptions::new().with_range(Some(range));
        let got = self.store.get_opts(&self.place(key), options).await?;
        Ok(Box::pin(got.into_stream().map_err(io::Error::from)))
    }

    pub(super) async fn delete(&self, key: &str) -> io::Result<()> {
        match self.store.delete(&self.place(key)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            other => Ok(other?),
        }
    }

    pub(super) async fn size_b(&self, key: &str) -> io::Result<Option<u64>> {
        match self.store.head(&self.place(key)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn list(&self, shard: &str) -> io::Result<Vec<StoredBytes>> {
        let folder = self.place(shard);
        let mut found = self.store.list(Some(&folder));
        let mut all = Vec::new();
        while let Some(one) = found.next().await {
            let one = one?;
            if let Some(name) = one.location.filename() {
                let key = format!("{shard}/{name}");
                all.push(StoredBytes { key, size_b: one.size, since: one.last_modified.into() });
            }
        }
        Ok(all)
    }
}

async fn send_parts(upload: &mut dyn MultipartUpload, mut rest: UnsentRest, size_b: u64) -> io::Result<()> {
    let mut left_b = size_b;
    while left_b > 0 {
        let (part, more) = rest.next().await?;
        if part.content_length() == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left_b = left_b.saturating_sub(part.content_length() as u64);
        rest = more;
        upload.put_part(part).await?;
    }
    upload.complete().await?;
    Ok(())
}

/// What is left to be sent of a file.
struct UnsentRest {
    file: tempfile::NamedTempFile,
    is_begun: bool,
}

impl UnsentRest {
    /// The next part, and what follows.
    async fn next(mut self) -> io::Result<(PutPayload, Self)> {
        blocking(move || {
            if !self.is_begun {
                self.file.as_file_mut().rewind()?;
                self.is_begun = true;
            }
            let mut part = Vec::new();
            self.file.as_file_mut().take(PART_B).read_to_end(&mut part)?;
            Ok((PutPayload::from(part), self))
        })
        .await
    }
}
