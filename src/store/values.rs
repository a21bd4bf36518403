//! Values above the inline limit: stored once in the object store, under their digest, without the task noticing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncReadExt as _;

use crate::broker::patience::Patience;
use crate::broker::{Broker, Error};
pub use crate::model::outcome::VALUE_BYTES_MAX;
use crate::model::outcome::VALUE_INLINE_MAX;
use crate::model::{Datum, Digest, Failure, Kind, RunId, Tenant, Value};
use crate::protocol::stream::{Bucket, DEAD_AGE_MAX, RESULT_TTL};

/// Parts of one input that are loaded at a time: enough to hide the broker's distance.
const PARTS_AT_ONCE: usize = 8;

/// Where the values of a task are kept.
#[derive(Clone, Copy, Debug)]
pub struct Shelf<'a> {
    tenant: &'a Tenant,
    run: Option<&'a RunId>,
    bucket: Bucket,
}

/// Where the values of single tasks are kept, for two days.
impl<'a> From<&'a Tenant> for Shelf<'a> {
    fn from(tenant: &'a Tenant) -> Self {
        Self { tenant, run: None, bucket: Bucket::Values }
    }
}

impl<'a> Shelf<'a> {
    /// Where the values of a run are kept, for as long as the run.
    #[must_use]
    pub const fn of_run(tenant: &'a Tenant, run: &'a RunId) -> Self {
        Self { tenant, run: Some(run), bucket: Bucket::RunValues }
    }

    /// Where inputs are kept for as long as a dead letter: those of letters, and of tasks that wait for days.
    const fn long(tenant: &'a Tenant) -> Self {
        Self { tenant, run: None, bucket: Bucket::LongValues }
    }

    /// What the object of a value is called.
    pub(super) fn name(self, digest: &Digest) -> String {
        let Self { tenant, run, .. } = self;
        match run {
            Some(run) => format!("{tenant}/{run}/{}", digest.hex()),
            None => format!("{tenant}/{}", digest.hex()),
        }
    }

    /// How long ago an object may have been stored that a new reference to it can rely on. One that expires does so at twice a
    /// result's age: one that is younger than a result outlives every result that will refer to it.
    const fn reliable_for(self) -> Option<std::time::Duration> {
        match (self.run, self.bucket) {
            (Some(_), _) => None,
            (None, Bucket::LongValues) => Some(RESULT_TTL.saturating_mul(2)),
            (None, _) => Some(RESULT_TTL),
        }
    }
}

/// How long a task may wait whose input is above the inline limit: as long as a dead letter.
pub const LARGE_WAIT_MAX: Duration = DEAD_AGE_MAX;

/// Keeps a copy of an input for as long as a dead letter, whoever refers to it. One that is gone stays gone.
///
/// # Errors
/// What the object store fails with.
pub async fn keep_long(broker: &Broker, tenant: &Tenant, value: &Value) -> Result<(), Error> {
    let Value::Stored { digest, size } = value else { return Ok(()) };
    let shelf = Shelf::long(tenant);
    if is_there(broker, shelf, digest, *size).await? {
        return Ok(());
    }
    match get(broker, tenant, value).await {
        Ok(bytes) => store(broker, shelf, &bytes).await.map(drop),
        Err(Missing::Broker(error)) => Err(error),
        Err(Missing::Gone { .. } | Missing::TooLarge(_)) => Ok(()),
    }
}

/// The value of `bytes`, which are stored if they are many.
///
/// # Errors
/// What the object store fails with.
pub async fn put(broker: &Broker, shelf: impl Into<Shelf<'_>>, bytes: Bytes) -> Result<Value, Error> {
    if bytes.len() <= VALUE_INLINE_MAX {
        return Ok(Value::Inline(bytes));
    }
    let (digest, size) = store(broker, shelf.into(), &bytes).await?;
    Ok(Value::Stored { digest, size })
}

/// Stores bytes, however few, unless they are there.
pub(super) async fn store(broker: &Broker, shelf: Shelf<'_>, bytes: &Bytes) -> Result<(Digest, u64), Error> {
    let (digest, size) = (Digest::of(bytes), bytes.len() as u64);
    if !is_there(broker, shelf, &digest, size).await? {
        broker.objects.put(shelf.bucket, &shelf.name(&digest), &mut bytes.as_ref()).await?;
    }
    Ok((digest, size))
}

/// Whether a value is there, and will be for as long as a new reference to it.
pub(super) async fn is_there(broker: &Broker, shelf: Shelf<'_>, digest: &Digest, size: u64) -> Result<bool, Error> {
    let known = broker.objects.info(shelf.bucket, &shelf.name(digest)).await?;
    let young = |time| shelf.reliable_for().is_none_or(|age| broker.clock.now().since(time) < age);
    Ok(known.is_some_and(|info| info.size == size && young(info.time)))
}

/// The same for a value that must not be lost: tried for as long as it takes.
pub(crate) async fn keep(broker: &Broker, shelf: impl Into<Shelf<'_>>, bytes: Bytes) -> Value {
    let shelf = shelf.into();
    loop {
        let stored = Patience::default().insist("store an output", || put(broker, shelf, bytes.clone())).await;
        if let Ok(value) = stored {
            return value;
        }
    }
}

/// Why a value could not be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Missing {
    /// It is not in the object store, or its bytes are not those of its digest.
    #[error(
        "the value {digest} of {size} bytes is not in the object store (values are kept for two days, inputs of dead letters and of tasks that wait for two weeks, those of a run as long as the run)"
    )]
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
pub async fn get(broker: &Broker, shelf: impl Into<Shelf<'_>>, value: &Value) -> Result<Bytes, Missing> {
    let shelf = shelf.into();
    let (digest, size) = match value {
        Value::Inline(bytes) => return Ok(bytes.clone()),
        Value::Stored { digest, size } => (*digest, *size),
    };
    if size > VALUE_BYTES_MAX {
        return Err(Missing::TooLarge(size));
    }
    let mut found = broker.objects.open(shelf.bucket, &shelf.name(&digest)).await?;
    if found.is_none() && shelf.bucket == Bucket::Values {
        let long = Shelf::long(shelf.tenant);
        found = broker.objects.open(long.bucket, &long.name(&digest)).await?;
    }
    let Some(reader) = found else { return Err(Missing::Gone { digest, size }) };
    let mut bytes = Vec::new();
    let read = reader.take(size.saturating_add(1)).read_to_end(&mut bytes).await;
    read.map_err(|error| Error::Unavailable(error.to_string()))?;
    if Digest::of(&bytes) == digest { Ok(bytes.into()) } else { Err(Missing::Gone { digest, size }) }
}

/// The input of a task that is about to run: a broker that is away is waited for.
pub(crate) async fn fetch(broker: &Broker, shelf: Shelf<'_>, value: &Value) -> Result<Bytes, Failure> {
    let mut patience = Patience::default();
    loop {
        match get(broker, shelf, value).await {
            Ok(bytes) => return Ok(bytes),
            Err(Missing::Broker(error)) if error.is_transient() => patience.wait().await,
            Err(missing) => return Err(Failure::new(Kind::BadInput, missing.to_string())),
        }
    }
}

/// The whole of an input of which parts stand elsewhere. A part that stands in many places is loaded once.
pub(crate) async fn put_together(broker: &Broker, shelf: Shelf<'_>, input: &Datum) -> Result<Bytes, Failure> {
    let missing = |missing: Missing| Failure::new(Kind::BadInput, missing.to_string());
    if input.size() > VALUE_BYTES_MAX {
        return Err(missing(Missing::TooLarge(input.size())));
    }
    let parts: BTreeSet<_> = input.elsewhere().iter().map(|part| (part.digest, part.size)).collect();
    let load = |(digest, size)| async move {
        Ok::<_, Failure>((digest, fetch(broker, shelf, &Value::Stored { digest, size }).await?))
    };
    let loads = futures::stream::iter(parts.into_iter().map(load)).buffer_unordered(PARTS_AT_ONCE);
    let loaded: BTreeMap<Digest, Bytes> = loads.try_collect().await?;
    let whole = input.whole(|digest| loaded.get(digest));
    let gone = |part: crate::model::datum::Elsewhere| Missing::Gone { digest: part.digest, size: part.size };
    whole.map(|whole| whole.text().clone()).map_err(|part| missing(gone(part)))
}

#[cfg(test)]
mod tests {
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
        let name = Shelf::from(&tenant).name(&digest(&value));
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
            broker
                .objects
                .info(Bucket::Values, &Shelf::from(&tenant).name(&digest(&value)))
                .await
                .unwrap()
                .unwrap()
                .time
        };
        let first = stored_at().await;
        tokio::time::advance(RESULT_TTL - Duration::from_millis(1)).await;
        assert_eq!(stored_at().await, first, "a young object is not stored again");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(stored_at().await, first.after(RESULT_TTL), "an old one is");
    }

    #[tokio::test(start_paused = true)]
    async fn values_of_a_run_are_its_own_and_do_not_age() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let [run, other] = ["01jd0000000000000000000000", "01jd0000000000000000000001"].map(|id| id.parse().unwrap());
        let shelf = Shelf::of_run(&tenant, &run);
        let bytes = many(VALUE_INLINE_MAX + 1);
        let value = put(&broker, shelf, bytes.clone()).await.unwrap();
        let name = format!("default/{run}/{}", digest(&value).hex());
        let first = broker.objects.info(Bucket::RunValues, &name).await.unwrap().unwrap();
        tokio::time::advance(RESULT_TTL * 100).await;
        put(&broker, shelf, bytes.clone()).await.unwrap();
        assert_eq!(broker.objects.info(Bucket::RunValues, &name).await.unwrap(), Some(first), "it is not stored again");
        assert_eq!(get(&broker, shelf, &value).await.unwrap(), bytes);
        for elsewhere in [Shelf::from(&tenant), Shelf::of_run(&tenant, &other)] {
            assert!(matches!(get(&broker, elsewhere, &value).await, Err(Missing::Gone { .. })));
        }
    }

    #[tokio::test]
    async fn an_input_is_put_together_within_the_bound_of_values() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let run = "01jd0000000000000000000000".parse().unwrap();
        let shelf = Shelf::of_run(&tenant, &run);
        let long = format!("\"{}\"", "x".repeat(VALUE_INLINE_MAX));
        let part = Datum::of_value(&put(&broker, shelf, long.clone().into()).await.unwrap()).unwrap();
        let input = Datum::array([&part, &Datum::null(), &part]);
        assert_eq!(put_together(&broker, shelf, &input).await.unwrap(), format!("[{long},null,{long}]"));
        let gone = Datum::array([&part, &Datum::stored(Digest::of(b"gone"), 4)]);
        let failure = put_together(&broker, shelf, &gone).await.unwrap_err();
        assert!(failure.kind == Kind::BadInput && failure.message.contains("is not in the object store"), "{failure}");
        let huge = Datum::array([&part, &Datum::stored(Digest::of(b"huge"), VALUE_BYTES_MAX)]);
        let failure = put_together(&broker, shelf, &huge).await.unwrap_err();
        assert!(failure.kind == Kind::BadInput && failure.message.contains("more than the"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_input_is_kept_for_as_long_as_a_letter_and_read_from_either_shelf() {
        let (broker, tenant) = (Memory::new().broker(), Tenant::default_tenant());
        let value = put(&broker, &tenant, many(200_000)).await.unwrap();
        let other = put(&broker, &tenant, many(300_000)).await.unwrap();
        keep_long(&broker, &tenant, &value).await.unwrap();
        keep_long(&broker, &tenant, &Value::Inline(Bytes::new())).await.unwrap();
        tokio::time::advance(RESULT_TTL * 3).await;
        keep_long(&broker, &tenant, &other).await.unwrap();
        assert!(matches!(get(&broker, &tenant, &other).await, Err(Missing::Gone { .. })), "it was gone before");
        assert_eq!(get(&broker, &tenant, &value).await.unwrap(), many(200_000));
        tokio::time::advance(LARGE_WAIT_MAX).await;
        assert_eq!(get(&broker, &tenant, &value).await.unwrap(), many(200_000));
        // What is old is kept anew, from the copy itself.
        keep_long(&broker, &tenant, &value).await.unwrap();
        tokio::time::advance(LARGE_WAIT_MAX + RESULT_TTL).await;
        assert_eq!(get(&broker, &tenant, &value).await.unwrap(), many(200_000));
        tokio::time::advance(RESULT_TTL * 4).await;
        assert!(get(&broker, &tenant, &value).await.is_err());
    }
}
