//! What stands behind a guest's grants, as a port: a sandbox knows no broker, its host does.
//!
//! **Invariant:** who implements it gets names that are granted and sizes that are within their bounds; it decides where things
//! are kept, so that one tenant never reaches another's.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::grants::Granted;
use crate::model::{BucketName, SecretName};

/// A value and which write of its bucket it stems from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was set.
    pub value: Bytes,
    /// Later writes have greater ones.
    pub revision: u64,
}

/// Why a resource did not do as it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResourceError {
    /// Another write came first: the guest reads again.
    #[error("write: another write came first")]
    Conflict,
    /// More than is kept under one name.
    #[error("write: it is too large")]
    TooLarge,
    /// It is away, or something in it is broken; another attempt may fare better.
    #[error("reach it: {0}")]
    Unavailable(String),
}

/// The result of asking a resource.
pub type ResourceResult<T> = Result<T, ResourceError>;

/// What a guest of one tenant may reach.
#[async_trait]
pub trait Resources: fmt::Debug + Send + Sync {
    /// The entry of a key.
    async fn kv_get(&self, bucket: &BucketName, key: &str) -> ResourceResult<Option<Entry>>;

    /// Sets the value of a key and returns its revision; with `expected`, only where the entry still has that revision (0: where
    /// there is none).
    async fn kv_set(&self, bucket: &BucketName, key: &str, value: Bytes, expected: Option<u64>) -> ResourceResult<u64>;

    /// Removes the entry of a key; it is no error if there is none.
    async fn kv_delete(&self, bucket: &BucketName, key: &str) -> ResourceResult<()>;

    /// At most `limit` keys that begin with `prefix`, in the order of their last writes.
    async fn kv_keys(&self, bucket: &BucketName, prefix: &str, limit: usize) -> ResourceResult<Vec<String>>;

    /// At most `len` bytes of an object from `offset` on; `None` if there is no such object.
    async fn blob_read(
        &self,
        bucket: &BucketName,
        name: &str,
        offset: u64,
        len: usize,
    ) -> ResourceResult<Option<Bytes>>;

    /// The size of an object; `None` if there is no such object.
    async fn blob_size(&self, bucket: &BucketName, name: &str) -> ResourceResult<Option<u64>>;

    /// Writes an object, in place of one of the same name.
    async fn blob_write(&self, bucket: &BucketName, name: &str, data: Bytes) -> ResourceResult<()>;

    /// The value of a secret; `None` if there is none.
    async fn secret(&self, name: &SecretName) -> ResourceResult<Option<String>>;
}

/// What one guest may reach, and what stands behind it.
#[derive(Clone, Debug)]
pub struct Reach {
    /// What its tenant granted and its host allows.
    pub granted: Arc<Granted>,
    /// Where it is kept.
    pub resources: Arc<dyn Resources>,
}

/// Nothing at all.
impl Default for Reach {
    fn default() -> Self {
        Self { granted: Arc::default(), resources: Arc::new(Nothing) }
    }
}

/// Nothing to reach: for modules that are only looked at.
#[derive(Clone, Copy, Debug)]
pub struct Nothing;

fn nothing<T>() -> ResourceResult<T> {
    Err(ResourceError::Unavailable("there is nothing to reach here".to_owned()))
}

#[async_trait]
impl Resources for Nothing {
    async fn kv_get(&self, _: &BucketName, _: &str) -> ResourceResult<Option<Entry>> {
        nothing()
    }

    async fn kv_set(&self, _: &BucketName, _: &str, _: Bytes, _: Option<u64>) -> ResourceResult<u64> {
        nothing()
    }

    async fn kv_delete(&self, _: &BucketName, _: &str) -> ResourceResult<()> {
        nothing()
    }

    async fn kv_keys(&self, _: &BucketName, _: &str, _: usize) -> ResourceResult<Vec<String>> {
        nothing()
    }

    async fn blob_read(&self, _: &BucketName, _: &str, _: u64, _: usize) -> ResourceResult<Option<Bytes>> {
        nothing()
    }

    async fn blob_size(&self, _: &BucketName, _: &str) -> ResourceResult<Option<u64>> {
        nothing()
    }

    async fn blob_write(&self, _: &BucketName, _: &str, _: Bytes) -> ResourceResult<()> {
        nothing()
    }

    async fn secret(&self, _: &SecretName) -> ResourceResult<Option<String>> {
        nothing()
    }
}
