//! Values above the inline limit: stored once in the object store, under their digest, without the task noticing.

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use crate::broker::patience::Patience;
use crate::broker::{Broker, Error};
pub use crate::model::outcome::VALUE_BYTES_MAX;
use crate::model::outcome::VALUE_INLINE_MAX;
use crate::model::{Digest, Failure, Kind, Tenant, Value};
use crate::protocol::stream::{Bucket, RESULT_TTL};

fn name(tenant: &Tenant, digest: &Digest) -> String {
    format!("{tenant}/{}", digest.hex())
}

/// The value of `bytes`, which are stored if they are many.
///
/// # Errors
/// What the object store fails with.
pub async fn put(broker: &Broker, tenant: &Tenant, bytes: Bytes) -> Result<Value, Error> {
    if bytes.len() <= VALUE_INLINE_MAX {
        return Ok(Value::Inline(bytes));
    }
    let digest = Digest::of(&bytes);
    let name = name(tenant, &digest);
    let size = bytes.len() as u64;
    // An object expires at twice a result's age: one that is young enough outlives every result that will refer to it.
    let known = broker.objects.info(Bucket::Values, &name).await?;
    let fresh = known.is_some_and(|info| info.size == size && broker.clock.now().since(info.time) < RESULT_TTL);
    if !fresh {
        broker.objects.put(Bucket::Values, &name, &mut bytes.as_ref()).await?;
    }
    Ok(Value::Stored { digest, size })
}

/// The same for a value that must not be lost: tried for as long as it takes.
pub(crate) async fn keep(broker: &Broker, tenant: &Tenant, bytes: Bytes) -> Value {
    loop {
        let stored = Patience::default().insist("store an output", || put(broker, tenant, bytes.clone())).await;
        if let Ok(value) = stored {
            return value;
        }
    }
}

/// Why a value could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Missing {
    /// It is not in the object store, or its bytes are not those of its digest.
    #[error("the value {digest} of {size} bytes is not in the object store (values are kept for two days)")]
    Gone {
        /// What was referred to.
        digest: Digest,
        /// Its size by the reference.
        size: u64,
    },
    /// It is larger than values may be.
    #[error("the value has {0} bytes, more than the {VALUE_BYTES_MAX} that are allowed")]
    TooLarge(u64),
    /// The broker failed.
    #[error(transparent)]
    Broker(#[from] Error),
}

/// The bytes of a value.
///
/// # Errors
/// A value that is gone or too large, and what the broker fails with.
pub async fn get(broker: &Broker, tenant: &Tenant, value: &Value) -> Result<Bytes, Missing> {
    let (digest, size) = match value {
        Value::Inline(bytes) => return Ok(bytes.clone()),
        Value::Stored { digest, size } => (*digest, *size),
    };
    if size > VALUE_BYTES_MAX {
        return Err(Missing::TooLarge(size));
    }
    let Some(reader) = broker.objects.open(Bucket::Values, &name(tenant, &digest)).await? else {
        return Err(Missing::Gone { digest, size });
    };
    let mut bytes = Vec::new();
    let read = reader.take(size.saturating_add(1)).read_to_end(&mut bytes).await;
    read.map_err(|error| Error::Unavailable(error.to_string()))?;
    if Digest::of(&bytes) == digest { Ok(bytes.into()) } else { Err(Missing::Gone { digest, size }) }
}

/// The input of a task that is about to run: a broker that is away is waited for.
pub(crate) async fn fetch(broker: &Broker, tenant: &Tenant, value: &Value) -> Result<Bytes, Failure> {
    let mut patience = Patience::default();
    loop {
        match get(broker, tenant, value).await {
            Ok(bytes) => return Ok(bytes),
            Err(Missing::Broker(error)) if error.is_transient() => patience.wait().await,
            Err(missing) => return Err(Failure::new(Kind::BadInput, missing.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::broker::memory::Memory;

    fn many(size: usize) -> Bytes {
        (0..size).map(|at| u8::try_from(at % 251).unwrap_or(0)).collect()
    }

    fn digest(value: &Value) -> Digest {
        let Value::Stored { digest, .. } = value else { panic!("{value:?} is not stored") };
        *digest
    }

    #[tokio::test]
    async fn values_around_the_inline_limit_come_back() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        for size in [0, 1, VALUE_INLINE_MAX - 1, VALUE_INLINE_MAX, VALUE_INLINE_MAX + 1, 3 << 20] {
            let bytes = many(size);
            let value = put(&broker, &tenant, bytes.clone()).await.unwrap();
            assert_eq!(matches!(value, Value::Inline(_)), size <= VALUE_INLINE_MAX, "{size}");
            assert_eq!(get(&broker, &tenant, &value).await.unwrap(), bytes, "{size}");
        }
    }

    #[tokio::test]
    async fn a_changed_a_longer_and_a_missing_object_are_gone() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let bytes = many(VALUE_INLINE_MAX + 1);
        let value = put(&broker, &tenant, bytes.clone()).await.unwrap();
        let name = name(&tenant, &digest(&value));
        let mut changed = bytes.to_vec();
        *changed.last_mut().unwrap() ^= 1;
        let longer = [bytes.as_ref(), b"x"].concat();
        for other in [&changed[..], &longer, &bytes[1..]] {
            broker.objects.put(Bucket::Values, &name, &mut &*other).await.unwrap();
            assert!(matches!(get(&broker, &tenant, &value).await, Err(Missing::Gone { .. })), "{} bytes", other.len());
        }
        let stranger = "stranger".parse().unwrap();
        assert!(
            matches!(get(&broker, &stranger, &value).await, Err(Missing::Gone { .. })),
            "values are a tenant's own"
        );
        let huge = Value::Stored { digest: digest(&value), size: VALUE_BYTES_MAX + 1 };
        assert!(matches!(get(&broker, &tenant, &huge).await, Err(Missing::TooLarge(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_is_stored_again_before_it_would_expire_under_a_result() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let bytes = many(VALUE_INLINE_MAX + 1);
        let stored_at = async || {
            let value = put(&broker, &tenant, bytes.clone()).await.unwrap();
            broker.objects.info(Bucket::Values, &name(&tenant, &digest(&value))).await.unwrap().unwrap().time
        };
        let first = stored_at().await;
        tokio::time::advance(RESULT_TTL - Duration::from_millis(1)).await;
        assert_eq!(stored_at().await, first, "a young object is not stored again");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(stored_at().await, first.after(RESULT_TTL), "an old one is");
    }
}
