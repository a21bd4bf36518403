//! Key-value buckets of the tenant, granted by name.
//!
//! ```no_run
//! use lovage_guest::{Failure, kv};
//!
//! fn count(key: &str) -> Result<u64, Failure> {
//!     let entry = kv::get("counters", key)?;
//!     let (count, revision) = match entry {
//!         Some(entry) => (str::from_utf8(&entry.value)?.parse::<u64>()? + 1, entry.revision),
//!         None => (1, kv::Revision::NONE),
//!     };
//!     kv::compare_and_set("counters", key, count.to_string().as_bytes(), revision)?;
//!     Ok(count)
//! }
//! ```

use std::fmt;

use crate::wire;

/// A value and the revision it was written with.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// What was set.
    pub value: Vec<u8>,
    /// Which write it was.
    pub revision: Revision,
}

/// Which write of a bucket an entry stems from; later writes have greater ones.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Revision(pub(crate) f64);

impl Revision {
    /// The revision of a key that has no entry.
    pub const NONE: Self = Self(0.0);
}

/// Why a bucket did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The module has no grant for this bucket; its tenant may give one.
    NotGranted,
    /// The key or value is above the bucket's limits.
    TooLarge,
    /// Another write came first: read the entry again.
    Conflict,
    /// The bucket is away or the platform refused; another attempt may help.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the bucket is not granted to this module"),
            Self::TooLarge => f.write_str("the key or value is too large for the bucket"),
            Self::Conflict => f.write_str("another write to the key came first"),
            Self::Unavailable(reason) => write!(f, "the bucket is unavailable: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Reads the entry of a key, if there is one.
pub fn get(bucket: &str, key: &str) -> Result<Option<Entry>, Error> {
    wire::kv_get(bucket, key)
}

/// Sets the value of a key, whatever it was.
pub fn set(bucket: &str, key: &str, value: &[u8]) -> Result<Revision, Error> {
    wire::kv_set(bucket, key, value)
}

/// Sets the value of a key that still has that revision ([`Revision::NONE`]: that has no entry),
/// else [`Error::Conflict`].
pub fn compare_and_set(bucket: &str, key: &str, value: &[u8], revision: Revision) -> Result<Revision, Error> {
    wire::kv_compare_and_set(bucket, key, value, revision)
}

/// Removes the entry of a key, if there is one.
pub fn delete(bucket: &str, key: &str) -> Result<(), Error> {
    wire::kv_delete(bucket, key)
}

/// Lists at most `limit` keys that begin with `prefix`.
pub fn keys(bucket: &str, prefix: &str, limit: u32) -> Result<Vec<String>, Error> {
    wire::kv_keys(bucket, prefix, limit)
}
