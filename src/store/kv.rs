//! Keys and values of tenants: one message an entry, whose sequence is its revision.

use bytes::Bytes;
use futures::StreamExt as _;

use crate::broker::{Broker, Error, Publish, Start};
use crate::model::{BucketName, Tenant};
use crate::protocol::kv;

/// Entries that are looked at for one listing: the broker sends them with their values.
const LISTED_MAX: usize = 100_000;

/// A value and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was set.
    pub value: Bytes,
    /// Which write it was.
    pub revision: u64,
}

/// A bucket of a tenant's.
#[derive(Clone, Copy)]
pub struct Kv<'a> {
    /// Where it is kept.
    pub broker: &'a Broker,
    /// Whose it is.
    pub tenant: &'a Tenant,
    /// Its name.
    pub bucket: &'a BucketName,
}

impl Kv<'_> {
    /// The entry of a key.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn get(self, key: &str) -> Result<Option<Entry>, Error> {
        let message = self.broker.streams.last(&kv::subject(self.tenant, self.bucket, key)).await?;
        Ok(message.map(|message| Entry { value: message.payload, revision: message.sequence }))
    }

    /// Sets a value; with `expected`, only where the entry has that revision (0: where there is none).
    ///
    /// # Errors
    /// [`Error::Conflict`] where it has another one, and what the broker fails with.
    pub async fn set(self, key: &str, value: Bytes, expected: Option<u64>) -> Result<u64, Error> {
        let subject = kv::subject(self.tenant, self.bucket, key);
        let publish = Publish { subject, payload: value, expect: expected, ..Publish::default() };
        Ok(self.broker.streams.publish(publish).await?.sequence)
    }

    /// Removes an entry, and says whether there was one.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn delete(self, key: &str) -> Result<bool, Error> {
        Ok(self.broker.streams.purge(&kv::subject(self.tenant, self.bucket, key)).await? > 0)
    }

    /// At most `limit` keys that begin with `prefix`, in the order of their last writes.
    ///
    /// # Errors
    /// What the broker fails with, and a bucket with more entries than can be looked at.
    pub async fn keys(self, prefix: &str, limit: usize) -> Result<Vec<String>, Error> {
        let filter = kv::all(self.tenant, self.bucket);
        let mut entries = self.broker.streams.read(&filter, Start::LastPerSubject, false).await?.enumerate();
        let mut keys = Vec::new();
        while let Some((count, entry)) = entries.next().await {
            if keys.len() >= limit {
                break;
            }
            if count >= LISTED_MAX {
                return Err(Error::Other(format!("the bucket holds more than {LISTED_MAX} keys: too many to list")));
            }
            keys.extend(kv::read_key(&entry?.subject).filter(|key| key.starts_with(prefix)));
        }
        Ok(keys)
    }
}
