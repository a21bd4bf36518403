//! Values of runs above the inline limit: each run has its own, which live as long as it does.

use bytes::Bytes;

use super::values::{self, Missing, Shelf, VALUE_BYTES_MAX};
use crate::broker::{Broker, Error};
use crate::model::datum::Elsewhere;
use crate::model::outcome::VALUE_INLINE_MAX;
use crate::model::{Datum, Digest, RunId, Tenant, Value};
use crate::protocol::stream::Bucket;
use crate::workflow::Event;
use crate::workflow::wire::{self, RECORD_VALUES_BYTES_MAX};

/// Stores bytes among the values of a run.
///
/// # Errors
/// What the object store fails with.
pub async fn put(broker: &Broker, tenant: &Tenant, run: &RunId, bytes: &Bytes) -> Result<Datum, Error> {
    let (digest, size) = values::store(broker, Shelf::of_run(tenant, run), bytes).await?;
    Ok(Datum::stored(digest, size))
}

/// The bytes of a part of a run's value.
///
/// # Errors
/// A value that is gone or too large, and what the broker fails with.
pub async fn get(broker: &Broker, tenant: &Tenant, run: &RunId, part: &Elsewhere) -> Result<Bytes, Missing> {
    let value = Value::Stored { digest: part.digest, size: part.size };
    values::get(broker, Shelf::of_run(tenant, run), &value).await
}

/// The text of a value with every part of it.
///
/// # Errors
/// As [`get`].
pub async fn whole(broker: &Broker, tenant: &Tenant, run: &RunId, value: &Datum) -> Result<Bytes, Missing> {
    if value.size() > VALUE_BYTES_MAX {
        return Err(Missing::TooLarge(value.size()));
    }
    let mut parts: Vec<(Digest, Bytes)> = Vec::new();
    for part in value.elsewhere() {
        if parts.iter().all(|(digest, _)| *digest != part.digest) {
            parts.push((part.digest, get(broker, tenant, run, part).await?));
        }
    }
    let part = |wanted: &Digest| parts.iter().find(|(digest, _)| digest == wanted).map(|(_, bytes)| bytes);
    let whole = value.whole(part).map_err(|part| Missing::Gone { digest: part.digest, size: part.size })?;
    Ok(whole.text().clone())
}

/// The same value for another run: what stands elsewhere is copied to where that run's values are.
///
/// # Errors
/// As [`get`].
pub async fn carry(
    broker: &Broker,
    tenant: &Tenant,
    (from, to): (&RunId, &RunId),
    value: &Datum,
) -> Result<(), Missing> {
    for part in value.elsewhere() {
        if !values::is_there(broker, Shelf::of_run(tenant, to), &part.digest, part.size).await? {
            let bytes = get(broker, tenant, from, part).await?;
            put(broker, tenant, to, &bytes).await?;
        }
    }
    Ok(())
}

/// Moves values of an event elsewhere, the largest first, until its record is small enough; and whatever is above the inline
/// limit, as everywhere.
///
/// # Errors
/// As [`get`].
pub async fn slim(broker: &Broker, tenant: &Tenant, run: &RunId, event: &mut Event) -> Result<(), Missing> {
    let mut values = wire::values_mut(event);
    values.sort_by_key(|value| std::cmp::Reverse(inline_bytes(value)));
    let mut total: usize = values.iter().map(|value| inline_bytes(value)).sum();
    for value in values {
        let bytes = inline_bytes(value);
        if value.is_stored() || (bytes <= VALUE_INLINE_MAX && total <= RECORD_VALUES_BYTES_MAX) {
            break;
        }
        let text = whole(broker, tenant, run, value).await?;
        *value = put(broker, tenant, run, &text).await?;
        total = total.saturating_sub(bytes);
    }
    Ok(())
}

/// The bytes that a value takes in a record: its text, and about a hundred for each reference.
fn inline_bytes(value: &Datum) -> usize {
    /// `{"at":123456,"digest":"sha256:<64>","size":123456},`
    const REFERENCE_BYTES: usize = 120;
    value.text().len().saturating_add(value.elsewhere().len().saturating_mul(REFERENCE_BYTES))
}

/// Removes values of a run that has been purged.
///
/// # Errors
/// What the object store fails with.
pub async fn forget(
    broker: &Broker,
    tenant: &Tenant,
    run: &RunId,
    digests: impl IntoIterator<Item = Digest>,
) -> Result<(), Error> {
    for digest in digests {
        broker.objects.remove(Bucket::RunValues, &Shelf::of_run(tenant, run).name(&digest)).await?;
    }
    Ok(())
}

/// The run to which an object among the values of runs belongs; `None` for what no program of ours stored.
#[must_use]
pub fn owner(name: &str) -> Option<(Tenant, RunId)> {
    let mut parts = name.split('/');
    let owner = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    (parts.next().is_some() && parts.next().is_none()).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::memory::Memory;

    const RUN: &str = "01jd0000000000000000000007";

    fn text(size: usize) -> Bytes {
        format!("\"{}\"", "x".repeat(size)).into()
    }

    fn signal(payload: &Bytes) -> Event {
        Event::Signal { name: "s".parse().unwrap(), payload: Datum::parse(payload).unwrap() }
    }

    fn payload(event: &mut Event) -> Datum {
        wire::values_mut(event).remove(0).clone()
    }

    #[tokio::test]
    async fn what_is_large_is_moved_elsewhere_and_comes_back() {
        let (broker, tenant, run) = (Memory::new().broker(), Tenant::default_tenant(), RUN.parse().unwrap());
        for (size, stored) in
            [(10, false), (VALUE_INLINE_MAX - 2, false), (VALUE_INLINE_MAX - 1, true), (3 << 20, true)]
        {
            let mut event = signal(&text(size));
            slim(&broker, &tenant, &run, &mut event).await.unwrap();
            let value = payload(&mut event);
            assert_eq!(value.is_stored(), stored, "{size}");
            assert_eq!(whole(&broker, &tenant, &run, &value).await.unwrap(), text(size));
        }
    }

    #[tokio::test]
    async fn a_composed_value_with_too_many_references_is_stored_whole() {
        let (broker, tenant, run) = (Memory::new().broker(), Tenant::default_tenant(), RUN.parse().unwrap());
        let one = put(&broker, &tenant, &run, &text(5)).await.unwrap();
        let many = Datum::array(std::iter::repeat_n(&one, 2_000));
        let mut event = Event::Signal { name: "s".parse().unwrap(), payload: many };
        slim(&broker, &tenant, &run, &mut event).await.unwrap();
        let value = payload(&mut event);
        assert!(value.is_stored());
        let whole = whole(&broker, &tenant, &run, &value).await.unwrap();
        assert!(whole.starts_with(br#"["xxxxx","xxxxx","#), "{whole:?}");
    }

    #[test]
    fn an_object_names_its_run() {
        let run: RunId = RUN.parse().unwrap();
        let name = Shelf::of_run(&Tenant::default_tenant(), &run).name(&Digest::of(b""));
        assert_eq!(owner(&name), Some((Tenant::default_tenant(), run)));
        for stranger in ["", "default", &format!("default/{RUN}"), "default/x/y", &format!("{name}/z")] {
            assert_eq!(owner(stranger), None, "{stranger}");
        }
    }

    #[tokio::test]
    async fn a_value_is_a_runs_own_until_it_is_carried_over() {
        let (broker, tenant, run): (_, _, RunId) =
            (Memory::new().broker(), Tenant::default_tenant(), RUN.parse().unwrap());
        let other: RunId = RUN.replace('7', "8").parse().unwrap();
        let value = put(&broker, &tenant, &run, &text(5)).await.unwrap();
        assert!(matches!(whole(&broker, &tenant, &other, &value).await, Err(Missing::Gone { .. })));
        carry(&broker, &tenant, (&run, &other), &value).await.unwrap();
        forget(&broker, &tenant, &run, value.elsewhere().iter().map(|part| part.digest)).await.unwrap();
        assert_eq!(whole(&broker, &tenant, &other, &value).await.unwrap(), text(5));
        assert!(matches!(whole(&broker, &tenant, &run, &value).await, Err(Missing::Gone { .. })));
    }
}
