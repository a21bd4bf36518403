//! The record of a flow's version on `lvg.<t>.flow.<name>.<version>`, as JSON. Its document is in the object store.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::{Digest, FlowName, Timestamp, Version};

/// The version of the form that this code writes.
pub const RECORD_VERSION: u32 = 1;

/// A version of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowRecord {
    /// The version of this form.
    pub v: u32,
    /// The name under which it is run.
    pub name: FlowName,
    /// Its version, which never changes its meaning.
    pub version: Version,
    /// The digest of its document in its normal form.
    pub digest: Digest,
    /// The bytes of that.
    pub size: u64,
    /// When it was stored.
    pub pushed_at: Timestamp,
}

impl FlowRecord {
    /// The body of a record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("flow record", RECORD_VERSION, body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_a_golden_form() {
        let record = FlowRecord {
            v: 1,
            name: "nightly".parse().unwrap(),
            version: "3".parse().unwrap(),
            digest: Digest::of(b"abc"),
            size: 3,
            pushed_at: Timestamp::from_millis(1),
        };
        let golden = r#"{"v":1,"name":"nightly","version":"3","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3,"pushed_at":1}"#;
        assert_eq!(record.encode(), golden);
        assert_eq!(FlowRecord::decode(&Bytes::from_static(golden.as_bytes())), Ok(record));
        let error = FlowRecord::decode(&Bytes::from_static(br#"{"v":2}"#)).unwrap_err();
        assert!(error.to_string().contains("update it"), "{error}");
    }
}
