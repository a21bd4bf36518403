//! The interfaces of `lovage:task` that are granted by name, as a guest calls them.

use super::guest::Guest;
use super::reach::{Refusal, revision_out, whole};
use super::task::bindings::lovage::task::{blob, kv, secrets};

impl From<Refusal> for kv::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotGranted => Self::NotGranted,
            Refusal::TooLarge => Self::TooLarge,
            Refusal::Conflict => Self::Conflict,
            Refusal::NotFound => Self::Unavailable("it is not there".to_owned()),
            Refusal::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl From<Refusal> for blob::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotGranted => Self::NotGranted,
            Refusal::TooLarge => Self::TooLarge,
            Refusal::NotFound => Self::NotFound,
            Refusal::Conflict => Self::Unavailable("another write came first".to_owned()),
            Refusal::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

impl kv::Host for Guest {
    async fn get(&mut self, bucket: String, key: String) -> wasmtime::Result<Result<Option<kv::Entry>, kv::Error>> {
        let entry = self.asking.kv_get(&bucket, &key).await;
        let entry = entry.map(|entry| {
            entry.map(|entry| kv::Entry { value: entry.value.into(), revision: revision_out(entry.revision) })
        });
        Ok(entry.map_err(Into::into))
    }

    async fn set(&mut self, bucket: String, key: String, value: Vec<u8>) -> wasmtime::Result<Result<f64, kv::Error>> {
        let set = self.asking.kv_set(&bucket, &key, value, None).await;
        Ok(set.map(revision_out).map_err(Into::into))
    }

    async fn compare_and_set(
        &mut self,
        bucket: String,
        key: String,
        value: Vec<u8>,
        revision: f64,
    ) -> wasmtime::Result<Result<f64, kv::Error>> {
        // A number that is no revision was never one: as if another write had come first. Whether it is granted is said before.
        let expected = whole(revision).unwrap_or(u64::MAX);
        let set = self.asking.kv_set(&bucket, &key, value, Some(expected)).await;
        Ok(set.map(revision_out).map_err(Into::into))
    }

    async fn delete(&mut self, bucket: String, key: String) -> wasmtime::Result<Result<(), kv::Error>> {
        Ok(self.asking.kv_delete(&bucket, &key).await.map_err(Into::into))
    }

    async fn keys(
        &mut self,
        bucket: String,
        prefix: String,
        limit: u32,
    ) -> wasmtime::Result<Result<Vec<String>, kv::Error>> {
        Ok(self.asking.kv_keys(&bucket, &prefix, limit).await.map_err(Into::into))
    }
}

impl blob::Host for Guest {
    async fn read(
        &mut self,
        bucket: String,
        name: String,
        offset: f64,
        len: u32,
    ) -> wasmtime::Result<Result<Vec<u8>, blob::Error>> {
        // Beyond every object's end there is nothing.
        let offset = whole(offset).unwrap_or(u64::MAX);
        Ok(self.asking.blob_read(&bucket, &name, offset, len).await.map(Into::into).map_err(Into::into))
    }

    async fn size(&mut self, bucket: String, name: String) -> wasmtime::Result<Result<f64, blob::Error>> {
        Ok(self.asking.blob_size(&bucket, &name).await.map(revision_out).map_err(Into::into))
    }

    async fn write(
        &mut self,
        bucket: String,
        name: String,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<(), blob::Error>> {
        Ok(self.asking.blob_write(&bucket, &name, data).await.map_err(Into::into))
    }
}

impl secrets::Host for Guest {
    async fn get(&mut self, name: String) -> wasmtime::Result<Option<String>> {
        Ok(self.asking.secret(&name).await)
    }
}
