//! What is known of an idempotency key: which task was submitted under it, on `lvg.<t>.once.<token>`, and how that ended, on
//! `lvg.<t>.kept.<id>`. Both are gone when the key's window ends.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::{Digest, Signature, TaskId, Tenant, Timestamp, Value, once};

/// The version of the form that this code writes.
pub const CLAIM_VERSION: u32 = 1;

/// Who has a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The version of this form.
    pub v: u32,
    /// The key.
    pub key: String,
    /// The task that was submitted under it.
    pub id: TaskId,
    /// The digest of what was called with which input.
    pub call: Digest,
    /// When the window ends.
    pub until: Timestamp,
}

impl Claim {
    /// The body of the message.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a claim.
    ///
    /// # Errors
    /// Anything that is not a claim of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("claim of an idempotency key", CLAIM_VERSION, body)
    }
}

/// The digest of what is called with which input. The version is left out: a retry after a deploy is the same call.
#[must_use]
pub fn call(signature: &Signature) -> Digest {
    let input = match &signature.input {
        Value::Inline(bytes) => Digest::of(bytes),
        Value::Stored { digest, .. } => *digest,
    };
    Digest::of(format!("{}/{}\n{input}", signature.task.module, signature.task.task).as_bytes())
}

/// `lvg.<t>.once.<token>`: the claim of a key.
#[must_use]
pub fn subject(tenant: &Tenant, key: &str) -> String {
    format!("lvg.{tenant}.once.{}", once::token(key))
}

/// `lvg.<t>.kept.<id>`: the outcome of a task that was submitted under a key, in the form of its record.
#[must_use]
pub fn kept(tenant: &Tenant, id: &TaskId) -> String {
    format!("lvg.{tenant}.kept.{id}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_a_golden_form() {
        let until = Timestamp::from_millis(5);
        let claim = Claim { v: 1, key: "k 1".into(), id: "t".parse().unwrap(), call: Digest::of(b"abc"), until };
        let digest = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let golden = format!(r#"{{"v":1,"key":"k 1","id":"t","call":"{digest}","until":5}}"#);
        assert_eq!(claim.encode(), golden);
        assert_eq!(Claim::decode(&golden.into()), Ok(claim));
        assert!(Claim::decode(&Bytes::from_static(br#"{"v":9}"#)).unwrap_err().to_string().contains("update it"));
    }

    #[test]
    fn a_call_is_its_task_and_input_whatever_the_version() {
        let of = |task: &str, input: &'static str| call(&Signature::new(task.parse().unwrap(), input));
        assert_eq!(of("m/t", "1"), of("m@2/t", "1"));
        assert_ne!(of("m/t", "1"), of("m/t", "2"));
        assert_ne!(of("m/t", "1"), of("m/u", "1"));
        let mut stored = Signature::new("m/t".parse().unwrap(), "");
        stored.input = Value::Stored { digest: Digest::of(b"1"), size: 1 };
        assert_eq!(call(&stored), of("m/t", "1"), "a value is the same wherever it stands");
    }
}
