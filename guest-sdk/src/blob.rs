//! Large objects of the tenant, granted by the name of their bucket.

use std::fmt;

use crate::wire;

/// Why a bucket did not do as it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The module has no grant for this bucket; its tenant may give one.
    NotGranted,
    /// The bucket has no object of this name.
    NotFound,
    /// The object or the read is above the limits.
    TooLarge,
    /// The bucket is away or the platform refused; another attempt may help.
    Unavailable(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGranted => f.write_str("the bucket is not granted to this module"),
            Self::NotFound => f.write_str("the bucket has no such object"),
            Self::TooLarge => f.write_str("the object is too large"),
            Self::Unavailable(reason) => write!(f, "the bucket is unavailable: {reason}"),
        }
    }
}

impl std::error::Error for Error {}

/// Reads at most `len` bytes from `offset` on; fewer at the object's end.
pub fn read(bucket: &str, name: &str, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
    wire::blob_read(bucket, name, offset, len)
}

/// The size of an object in bytes.
pub fn size(bucket: &str, name: &str) -> Result<u64, Error> {
    wire::blob_size(bucket, name)
}

/// Writes an object, in place of one of the same name.
pub fn write(bucket: &str, name: &str, data: &[u8]) -> Result<(), Error> {
    wire::blob_write(bucket, name, data)
}
