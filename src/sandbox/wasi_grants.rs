//! `wasi:config` and `wasi:keyvalue`, for components whose toolchains speak them: the same grants by other words.

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::WasiView as _;

use super::guest::Guest;
use super::reach::Refusal;
use crate::model::grants::KEYS_MAX;
use bindings::wasi::config::store as config;
use bindings::wasi::keyvalue::{atomics, batch, store};

/// Generated from the interfaces of WASI.
mod bindings {
    wasmtime::component::bindgen!({
        path: "src/sandbox/wit",
        world: "grants",
        imports: { "wasi:keyvalue": async | trappable, default: trappable },
        with: { "wasi:keyvalue/store.bucket": super::Bucket },
    });
}

/// How often an increment is tried again when others write the key at the same time.
const TRIES_MAX: u32 = 32;

/// Keys in one call of `batch`.
const BATCH_MAX: usize = 1_000;

/// Bytes of values in one answer: the host holds them beside the guest's own memory.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// A bucket that a guest has opened. What it may do there is looked up at every use.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Bucket {
    name: String,
}

/// Adds the interfaces to a linker.
pub(super) fn link(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    config::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    store::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    atomics::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
    batch::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)
}

impl From<Refusal> for store::Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotGranted => Self::AccessDenied,
            Refusal::TooLarge => Self::Other("the key or value is too large".to_owned()),
            Refusal::Conflict => Self::Other("another write came first".to_owned()),
            Refusal::NotFound => Self::Other("it is not there".to_owned()),
            Refusal::Unavailable(reason) => Self::Other(reason),
        }
    }
}

impl config::Host for Guest {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, config::Error>> {
        let found = self.asking.granted().config.iter().find(|(known, _)| known.as_str() == key);
        Ok(Ok(found.map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, config::Error>> {
        let config = &self.asking.granted().config;
        Ok(Ok(config.iter().map(|(key, value)| (key.as_str().to_owned(), value.clone())).collect()))
    }
}

impl Guest {
    fn bucket(&mut self, bucket: &Resource<Bucket>) -> wasmtime::Result<String> {
        Ok(self.ctx().table.get(bucket)?.name.clone())
    }

    /// Adds to a number that is kept as digits; a key without a value counts as 0.
    async fn incremented(&mut self, bucket: &str, key: &str, delta: u64) -> Result<u64, store::Error> {
        for _ in 0..TRIES_MAX {
            let entry = self.asking.kv_get(bucket, key).await?;
            let (old, revision) = match &entry {
                Some(entry) => {
                    let number = std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse::<u64>().ok());
                    (number.ok_or_else(|| store::Error::Other("the value is no number".to_owned()))?, entry.revision)
                }
                None => (0, 0),
            };
            let new =
                old.checked_add(delta).ok_or_else(|| store::Error::Other("the number is too large".to_owned()))?;
            match self.asking.kv_set(bucket, key, new.to_string().into_bytes(), Some(revision)).await {
                Ok(_) => return Ok(new),
                Err(Refusal::Conflict) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Err(Refusal::Conflict.into())
    }
}

impl store::Host for Guest {
    async fn open(&mut self, identifier: String) -> wasmtime::Result<Result<Resource<Bucket>, store::Error>> {
        if !self.asking.may_open(&identifier) {
            return Ok(Err(store::Error::AccessDenied));
        }
        Ok(Ok(self.ctx().table.push(Bucket { name: identifier })?))
    }
}

impl store::HostBucket for Guest {
    async fn get(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> wasmtime::Result<Result<Option<Vec<u8>>, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        let entry = self.asking.kv_get(&bucket, &key).await;
        Ok(entry.map(|entry| entry.map(|entry| entry.value.into())).map_err(Into::into))
    }

    async fn set(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        value: Vec<u8>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        Ok(self.asking.kv_set(&bucket, &key, value, None).await.map(drop).map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        Ok(self.asking.kv_delete(&bucket, &key).await.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> wasmtime::Result<Result<bool, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        Ok(self.asking.kv_get(&bucket, &key).await.map(|entry| entry.is_some()).map_err(Into::into))
    }

    /// All keys are in one answer, up to its bound: a cursor is only ever asked for after the end.
    async fn list_keys(
        &mut self,
        bucket: Resource<Bucket>,
        cursor: Option<u64>,
    ) -> wasmtime::Result<Result<store::KeyResponse, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        if cursor.is_some() {
            return Ok(Ok(store::KeyResponse { keys: Vec::new(), cursor: None }));
        }
        let most = u32::try_from(KEYS_MAX).unwrap_or(u32::MAX);
        let keys = self.asking.kv_keys(&bucket, "", most).await;
        Ok(keys.map(|keys| store::KeyResponse { keys, cursor: None }).map_err(Into::into))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.ctx().table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for Guest {
    async fn increment(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
        delta: u64,
    ) -> wasmtime::Result<Result<u64, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        Ok(self.incremented(&bucket, &key, delta).await)
    }
}

/// One after the other: the interface promises nothing of all at once.
impl batch::Host for Guest {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<Vec<Option<(String, Vec<u8>)>>, store::Error>> {
        let bucket = self.bucket(&bucket)?;
        if keys.len() > BATCH_MAX {
            return Ok(Err(Refusal::TooLarge.into()));
        }
        let (mut found, mut bytes) = (Vec::with_capacity(keys.len()), 0_usize);
        for key in keys {
            match self.asking.kv_get(&bucket, &key).await {
                Ok(entry) => {
                    bytes = bytes.saturating_add(entry.as_ref().map_or(0, |entry| entry.value.len()));
                    if bytes > BATCH_BYTES_MAX {
                        return Ok(Err(Refusal::TooLarge.into()));
                    }
                    found.push(entry.map(|entry| (key, entry.value.into())));
                }
                Err(refusal) => return Ok(Err(refusal.into())),
            }
        }
        Ok(Ok(found))
    }

    async fn set_many(
        &mut self,
        bucket: Resource<Bucket>,
        key_values: Vec<(String, Vec<u8>)>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        if key_values.len() > BATCH_MAX {
            return Ok(Err(Refusal::TooLarge.into()));
        }
        for (key, value) in key_values {
            if let Err(refusal) = self.asking.kv_set(&bucket, &key, value, None).await {
                return Ok(Err(refusal.into()));
            }
        }
        Ok(Ok(()))
    }

    async fn delete_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> wasmtime::Result<Result<(), store::Error>> {
        let bucket = self.bucket(&bucket)?;
        if keys.len() > BATCH_MAX {
            return Ok(Err(Refusal::TooLarge.into()));
        }
        for key in keys {
            if let Err(refusal) = self.asking.kv_delete(&bucket, &key).await {
                return Ok(Err(refusal.into()));
            }
        }
        Ok(Ok(()))
    }
}
