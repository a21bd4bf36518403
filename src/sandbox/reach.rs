//! What a guest asks of its grants: checked, bounded, paid for, and never waited for too long.
//!
//! **Invariant:** nothing is asked of [`Resources`] that is not granted, or whose names and sizes are beyond their bounds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::mask::Mask;
use super::resources::{Entry, Reach, ResourceError, ResourceResult};
use crate::model::grants::{
    Access, BLOB_BYTES_MAX, BLOB_READ_BYTES_MAX, Granted, KEY_BYTES_MAX, KEYS_MAX, KV_VALUE_BYTES_MAX, is_key,
};
use crate::model::{BucketName, SecretName};

/// How long a guest waits for one answer: a broker that is well takes milliseconds, and one that fails over some seconds.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(15);

/// What asking costs, as the work of a broker and a disk is worth: a budget of fuel bounds how often a guest asks.
const ASK_FUEL: u64 = 1_000_000;

/// What a byte costs that goes either way, and one that is skipped to get at it.
const BYTE_FUEL: u64 = 4;

/// Why a guest does not get what it asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NotGranted,
    NotFound,
    TooLarge,
    Conflict,
    Unavailable(String),
}

impl From<ResourceError> for Refusal {
    fn from(error: ResourceError) -> Self {
        match error {
            ResourceError::Conflict => Self::Conflict,
            ResourceError::TooLarge => Self::TooLarge,
            ResourceError::Unavailable(reason) => Self::Unavailable(reason),
        }
    }
}

/// The grants of one guest, with what it owes for their use.
#[derive(Debug)]
pub(super) struct Asking {
    reach: Reach,
    mask: Mask,
    owed: u64,
    /// Whether the host's log knows of a secret that this guest did not get: it is told once.
    complained: bool,
}

impl Asking {
    pub(super) const fn new(reach: Reach, mask: Mask) -> Self {
        Self { reach, mask, owed: 0, complained: false }
    }

    pub(super) fn granted(&self) -> &Granted {
        &self.reach.granted
    }

    pub(super) const fn mask(&self) -> &Mask {
        &self.mask
    }

    /// The fuel that is to be paid now.
    pub(super) const fn take_owed(&mut self) -> u64 {
        std::mem::replace(&mut self.owed, 0)
    }

    const fn owe(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_add(ASK_FUEL).saturating_add(bytes.saturating_mul(BYTE_FUEL));
    }

    const fn owe_bytes(&mut self, bytes: u64) {
        self.owed = self.owed.saturating_add(bytes.saturating_mul(BYTE_FUEL));
    }

    fn kv(&mut self, bucket: &str, key: &str, write: bool) -> Result<BucketName, Refusal> {
        self.owe(key.len() as u64);
        let bucket = within(&self.reach.granted.kv, bucket, write)?;
        checked_key(key).map(|()| bucket)
    }

    fn blob(&mut self, bucket: &str, name: &str, write: bool) -> Result<BucketName, Refusal> {
        self.owe(name.len() as u64);
        let bucket = within(&self.reach.granted.blob, bucket, write)?;
        checked_key(name).map(|()| bucket)
    }

    /// Whether a bucket of keys may be opened at all.
    pub(super) fn may_open(&self, bucket: &str) -> bool {
        within(&self.reach.granted.kv, bucket, false).is_ok()
    }

    pub(super) async fn kv_get(&mut self, bucket: &str, key: &str) -> Result<Option<Entry>, Refusal> {
        let bucket = self.kv(bucket, key, false)?;
        let resources = Arc::clone(&self.reach.resources);
        let entry = in_time(resources.kv_get(&bucket, key)).await?;
        self.owe_bytes(entry.as_ref().map_or(0, |entry| entry.value.len() as u64));
        Ok(entry)
    }

    pub(super) async fn kv_set(
        &mut self,
        bucket: &str,
        key: &str,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, Refusal> {
        let bucket = self.kv(bucket, key, true)?;
        if value.len() > KV_VALUE_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        self.owe_bytes(value.len() as u64);
        let resources = Arc::clone(&self.reach.resources);
        Ok(in_time(resources.kv_set(&bucket, key, value.into(), expected)).await?)
    }

    pub(super) async fn kv_delete(&mut self, bucket: &str, key: &str) -> Result<(), Refusal> {
        let bucket = self.kv(bucket, key, true)?;
        let resources = Arc::clone(&self.reach.resources);
        Ok(in_time(resources.kv_delete(&bucket, key)).await?)
    }

    pub(super) async fn kv_keys(&mut self, bucket: &str, prefix: &str, limit: u32) -> Result<Vec<String>, Refusal> {
        self.owe(prefix.len() as u64);
        let bucket = within(&self.reach.granted.kv, bucket, false)?;
        if prefix.len() > KEY_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(KEYS_MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let resources = Arc::clone(&self.reach.resources);
        let keys = in_time(resources.kv_keys(&bucket, prefix, limit)).await?;
        self.owe_bytes(keys.iter().map(|key| key.len() as u64).sum());
        Ok(keys)
    }

    pub(super) async fn blob_read(
        &mut self,
        bucket: &str,
        name: &str,
        offset: u64,
        len: u32,
    ) -> Result<Bytes, Refusal> {
        let bucket = self.blob(bucket, name, false)?;
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > BLOB_READ_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        // What stands before is read as well.
        self.owe_bytes(offset.min(BLOB_BYTES_MAX as u64));
        let resources = Arc::clone(&self.reach.resources);
        let bytes = in_time(resources.blob_read(&bucket, name, offset, len)).await?.ok_or(Refusal::NotFound)?;
        self.owe_bytes(bytes.len() as u64);
        Ok(bytes)
    }

    pub(super) async fn blob_size(&mut self, bucket: &str, name: &str) -> Result<u64, Refusal> {
        let bucket = self.blob(bucket, name, false)?;
        let resources = Arc::clone(&self.reach.resources);
        in_time(resources.blob_size(&bucket, name)).await?.ok_or(Refusal::NotFound)
    }

    pub(super) async fn blob_write(&mut self, bucket: &str, name: &str, data: Vec<u8>) -> Result<(), Refusal> {
        let bucket = self.blob(bucket, name, true)?;
        if data.len() > BLOB_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        self.owe_bytes(data.len() as u64);
        let resources = Arc::clone(&self.reach.resources);
        Ok(in_time(resources.blob_write(&bucket, name, data.into())).await?)
    }

    /// A secret's value, which from now on is kept out of what the guest says. The contract knows no failure here: what is not
    /// granted, is not there or cannot be had is none, and the log of the host says which.
    pub(super) async fn secret(&mut self, name: &str) -> Option<String> {
        self.owe(0);
        let name: SecretName = name.parse().ok()?;
        if !self.reach.granted.secrets.contains(&name) {
            return None;
        }
        let resources = Arc::clone(&self.reach.resources);
        match in_time(resources.secret(&name)).await {
            Ok(value) => {
                let value = value?;
                self.mask.learn(&name, &value);
                Some(value)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!(secret = %name, %error, "a guest did not get a secret");
                }
                None
            }
        }
    }
}

/// The bucket of this name, if it is granted so.
fn within(
    granted: &std::collections::BTreeMap<BucketName, Access>,
    bucket: &str,
    write: bool,
) -> Result<BucketName, Refusal> {
    let bucket: BucketName = bucket.parse().map_err(|_| Refusal::NotGranted)?;
    match granted.get(&bucket) {
        Some(access) if access.may_write() || !write => Ok(bucket),
        Some(_) | None => Err(Refusal::NotGranted),
    }
}

fn checked_key(key: &str) -> Result<(), Refusal> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Refusal::TooLarge);
    }
    if is_key(key) {
        Ok(())
    } else {
        Err(Refusal::Unavailable("a key is not empty and holds no control characters".to_owned()))
    }
}

async fn in_time<T>(answer: impl Future<Output = ResourceResult<T>>) -> ResourceResult<T> {
    match tokio::time::timeout(ANSWER_TIME_MAX, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(ResourceError::Unavailable(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()))),
    }
}

/// A revision as the contract has it: exact up to 2^53, which no bucket will see.
#[expect(clippy::cast_precision_loss, reason = "a stream would have to take a million writes a second for 285 years")]
pub(super) const fn revision_out(revision: u64) -> f64 {
    revision as f64
}

/// A whole number of the contract's; `None` for what is none.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is checked to be a whole number in range"
)]
pub(super) fn whole(number: f64) -> Option<u64> {
    const MOST: f64 = 9_007_199_254_740_992.0;
    ((0.0..=MOST).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_told_from_others() {
        for (number, expected) in [
            (0.0, Some(0)),
            (1.0, Some(1)),
            (9_007_199_254_740_992.0, Some(1 << 53)),
            (0.5, None),
            (-1.0, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
            (1e300, None),
        ] {
            assert_eq!(whole(number), expected, "{number}");
        }
    }

    #[test]
    fn keys_are_texts_of_bounded_length() {
        for good in ["a", "a.b", "*", ">", "user/1", "ä", &"k".repeat(KEY_BYTES_MAX)] {
            assert_eq!(checked_key(good), Ok(()), "{good}");
        }
        assert_eq!(checked_key(&"k".repeat(KEY_BYTES_MAX + 1)), Err(Refusal::TooLarge));
        for bad in ["", "a\nb", "\0", "\u{1b}[2J"] {
            assert!(matches!(checked_key(bad), Err(Refusal::Unavailable(_))), "{bad:?}");
        }
    }
}
