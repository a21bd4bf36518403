//! Objects of tenants' buckets, in one bucket of the broker: each is named by tenant, bucket and name, and neither of the first two
//! can hold the slash between them.

use std::io;

use bytes::Bytes;
use futures::TryStreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::broker::{Broker, Error, ObjectInfo};
use crate::model::{BucketName, Tenant};
use crate::protocol::stream::Bucket;

/// Objects that are looked at for one listing.
const LISTED_MAX: usize = 100_000;

/// A bucket of a tenant's.
#[derive(Clone, Copy)]
pub struct Blobs<'a> {
    /// Where it is kept.
    pub broker: &'a Broker,
    /// Whose it is.
    pub tenant: &'a Tenant,
    /// Its name.
    pub bucket: &'a BucketName,
}

impl Blobs<'_> {
    fn object(self, name: &str) -> String {
        format!("{}/{}/{name}", self.tenant, self.bucket)
    }

    /// What is known of an object.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn info(self, name: &str) -> Result<Option<ObjectInfo>, Error> {
        self.broker.objects.info(Bucket::Blobs, &self.object(name)).await
    }

    /// A reader of an object.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn open(self, name: &str) -> Result<Option<Box<dyn AsyncRead + Send + Unpin>>, Error> {
        self.broker.objects.open(Bucket::Blobs, &self.object(name)).await
    }

    /// At most `len` bytes from `offset` on; fewer at the object's end. What stands before is read and left.
    ///
    /// # Errors
    /// What the broker fails with, and an object that is replaced meanwhile.
    pub async fn read(self, name: &str, offset: u64, len: usize) -> Result<Option<Bytes>, Error> {
        let Some(info) = self.info(name).await? else { return Ok(None) };
        if offset >= info.size || len == 0 {
            return Ok(Some(Bytes::new()));
        }
        let Some(mut reader) = self.open(name).await? else { return Ok(None) };
        let broken = |error: io::Error| Error::Unavailable(error.to_string());
        let skipped = tokio::io::copy(&mut (&mut reader).take(offset), &mut tokio::io::sink()).await;
        skipped.map_err(broken)?;
        let mut bytes = Vec::new();
        reader.take(len as u64).read_to_end(&mut bytes).await.map_err(broken)?;
        Ok(Some(bytes.into()))
    }

    /// Stores all that `reader` yields, in place of what was there.
    ///
    /// # Errors
    /// What the broker fails with, and a reader that fails.
    pub async fn write(self, name: &str, reader: &mut (dyn AsyncRead + Send + Unpin)) -> Result<ObjectInfo, Error> {
        self.broker.objects.put(Bucket::Blobs, &self.object(name), reader).await
    }

    /// Removes an object, and says whether there was one.
    ///
    /// # Errors
    /// What the broker fails with.
    pub async fn remove(self, name: &str) -> Result<bool, Error> {
        let there = self.info(name).await?.is_some();
        self.broker.objects.remove(Bucket::Blobs, &self.object(name)).await?;
        Ok(there)
    }

    /// The objects of the bucket that begin with `prefix`, by name.
    ///
    /// # Errors
    /// What the broker fails with, and an installation with more objects than can be looked at.
    pub async fn list(self, prefix: &str) -> Result<Vec<(String, ObjectInfo)>, Error> {
        let mut objects = self.broker.objects.list(Bucket::Blobs).await?;
        let (own, mut found, mut count) = (self.object(""), Vec::new(), 0_usize);
        while let Some((name, info)) = objects.try_next().await? {
            count = count.saturating_add(1);
            if count > LISTED_MAX {
                return Err(Error::Other(format!("there are more than {LISTED_MAX} objects: too many to list")));
            }
            if let Some(name) = name.strip_prefix(&own).filter(|name| name.starts_with(prefix)) {
                found.push((name.to_owned(), info));
            }
        }
        found.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }
}
