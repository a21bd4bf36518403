//! What a host says when it is asked what it serves (`lvg.ctl.serving.<t>.hosts`), as JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::{HostId, Labels, Queue, Tenant};

/// The version of the form that this code writes.
pub const SERVING_VERSION: u32 = 1;

/// What a host serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Serving {
    /// The version of this form.
    pub v: u32,
    /// The host.
    pub host: HostId,
    /// Its labels.
    pub labels: Labels,
    /// The slots that each of its queues has.
    pub queues: BTreeMap<Queue, u64>,
}

impl Serving {
    /// The body of the answer.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads an answer.
    ///
    /// # Errors
    /// Anything that is not an answer of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("answer of a host", SERVING_VERSION, body)
    }
}

/// `lvg.ctl.serving.<t>.hosts`: to hosts: say what you serve.
#[must_use]
pub fn subject(tenant: &Tenant) -> String {
    format!("lvg.ctl.serving.{tenant}.hosts")
}

/// Whether a word to hosts asks that.
#[must_use]
pub fn is_asked(word: &str) -> bool {
    word.starts_with("lvg.ctl.serving.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_golden_form() {
        let serving = Serving {
            v: 1,
            host: "h1".parse().unwrap(),
            labels: [("gpu".to_owned(), "yes".to_owned())].into(),
            queues: [("images".parse().unwrap(), 6)].into(),
        };
        assert_eq!(serving.encode(), r#"{"v":1,"host":"h1","labels":{"gpu":"yes"},"queues":{"images":6}}"#);
        assert_eq!(Serving::decode(&serving.encode()), Ok(serving));
        assert!(is_asked(&subject(&Tenant::default_tenant())));
    }
}
