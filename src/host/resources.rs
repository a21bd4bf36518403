//! What stands behind the grants of a tenant's guests: the broker, under the tenant's own subjects.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::broker::{self, Broker};
use crate::model::{BucketName, SecretName, Tenant};
use crate::sandbox::{Entry, ResourceError, ResourceResult, Resources};
use crate::store::blobs::Blobs;
use crate::store::kv::Kv;
use crate::store::secrets::{self, SealingKey};

/// The resources of one tenant.
struct OfTenant {
    broker: Broker,
    tenant: Tenant,
    key: Option<SealingKey>,
}

/// The buckets and secrets of a tenant; secrets only where a host has the key to open them.
#[must_use]
pub fn resources(broker: Broker, tenant: Tenant, key: Option<SealingKey>) -> Arc<dyn Resources> {
    Arc::new(OfTenant { broker, tenant, key })
}

impl fmt::Debug for OfTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfTenant").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl OfTenant {
    fn kv<'a>(&'a self, bucket: &'a BucketName) -> Kv<'a> {
        Kv { broker: &self.broker, tenant: &self.tenant, bucket }
    }

    fn blobs<'a>(&'a self, bucket: &'a BucketName) -> Blobs<'a> {
        Blobs { broker: &self.broker, tenant: &self.tenant, bucket }
    }
}

/// What a guest learns of a broker's failure: nothing of subjects or addresses.
fn told(error: broker::Error) -> ResourceError {
    match error {
        broker::Error::Conflict { .. } | broker::Error::Occupied { .. } => ResourceError::Conflict,
        broker::Error::TooLarge { .. } => ResourceError::TooLarge,
        broker::Error::Full { .. } => ResourceError::Unavailable("the platform's store is full".to_owned()),
        error @ (broker::Error::NotFound(_)
        | broker::Error::Unavailable(_)
        | broker::Error::Denied(_)
        | broker::Error::Unsuitable(_)
        | broker::Error::Other(_)) => {
            // A guest may ask as often as its fuel lasts.
            tracing::debug!(%error, "failed to do what a guest asked for");
            ResourceError::Unavailable("the platform's store does not answer as it should".to_owned())
        }
    }
}

#[async_trait]
impl Resources for OfTenant {
    async fn kv_get(&self, bucket: &BucketName, key: &str) -> ResourceResult<Option<Entry>> {
        let entry = self.kv(bucket).get(key).await.map_err(told)?;
        Ok(entry.map(|entry| Entry { value: entry.value, revision: entry.revision }))
    }

    async fn kv_set(&self, bucket: &BucketName, key: &str, value: Bytes, expected: Option<u64>) -> ResourceResult<u64> {
        self.kv(bucket).set(key, value, expected).await.map_err(told)
    }

    async fn kv_delete(&self, bucket: &BucketName, key: &str) -> ResourceResult<()> {
        self.kv(bucket).delete(key).await.map(drop).map_err(told)
    }

    async fn kv_keys(&self, bucket: &BucketName, prefix: &str, limit: usize) -> ResourceResult<Vec<String>> {
        self.kv(bucket).keys(prefix, limit).await.map_err(told)
    }

    async fn blob_read(
        &self,
        bucket: &BucketName,
        name: &str,
        offset: u64,
        len: usize,
    ) -> ResourceResult<Option<Bytes>> {
        self.blobs(bucket).read(name, offset, len).await.map_err(told)
    }

    async fn blob_size(&self, bucket: &BucketName, name: &str) -> ResourceResult<Option<u64>> {
        Ok(self.blobs(bucket).info(name).await.map_err(told)?.map(|info| info.size))
    }

    async fn blob_write(&self, bucket: &BucketName, name: &str, data: Bytes) -> ResourceResult<()> {
        self.blobs(bucket).write(name, &mut data.as_ref()).await.map(drop).map_err(told)
    }

    async fn secret(&self, name: &SecretName) -> ResourceResult<Option<String>> {
        let Some(key) = &self.key else {
            return Err(ResourceError::Unavailable("this host has no key for secrets (--secrets-key)".to_owned()));
        };
        let opened = secrets::open(&self.broker, key, &self.tenant, name).await;
        opened.map_err(|error| ResourceError::Unavailable(error.to_string()))
    }
}
