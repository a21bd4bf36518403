//! Singletons on the wire: what a caller asks for in headers, and who has a singleton, on `lvg.<t>.single.<token>`.
//!
//! Nobody gives a singleton back: whoever wants it looks whether its holder has ended.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::subject::Priority;
use super::{Headers, Rejection, versioned};
use crate::model::call_key::{KEY_LEN_MAX, token};
use crate::model::singleton::Singleton;
use crate::model::{Queue, TaskId, Tenant, Timestamp};

/// The key of the singleton that a call is under. A client sees to it, no host.
pub const SINGLETON: &str = "Lovage-Singleton";

/// `skip` or `cancel`: what a submit does while another task has the singleton; skip where it is absent.
pub const SINGLETON_MODE: &str = "Lovage-Singleton-Mode";

/// The version of the record that this code writes.
pub const HOLDER_VERSION: u32 = 1;

/// Who has a singleton.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The version of this form.
    pub v: u32,
    /// What is held: `m/t key acme`.
    pub name: String,
    /// The task that has it.
    pub id: TaskId,
    /// Since when.
    pub since: Timestamp,
    /// The queue of the task. Whoever submits it in place of one who died puts it there too: the same task is never in two queues.
    pub queue: Queue,
    /// Its priority there.
    pub priority: u8,
}

impl Holder {
    /// The body of the record.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        serde_json::to_vec(self).unwrap_or_default().into()
    }

    /// Reads a record.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        let holder: Self = versioned::read("holder of a singleton", HOLDER_VERSION, body)?;
        match Priority::new(holder.priority) {
            Some(_) => Ok(holder),
            None => Err(Rejection::new("priority", "it takes a number from 0 to 9")),
        }
    }

    /// The priority of the task.
    #[must_use]
    pub fn priority(&self) -> Priority {
        Priority::new(self.priority).unwrap_or(super::subject::PRIORITY_DEFAULT)
    }
}

/// `lvg.<t>.single.<token>`: who has the singleton of this name.
#[must_use]
pub fn subject(tenant: &Tenant, name: &str) -> String {
    format!("lvg.{tenant}.single.{}", token(name))
}

/// Sets what a caller asks for.
pub fn encode(singleton: Option<&Singleton>, headers: &mut Headers) {
    let Some(Singleton { key, mode }) = singleton else { return };
    headers.set(SINGLETON, key);
    if *mode != crate::model::singleton::Mode::Skip {
        headers.set(SINGLETON_MODE, mode.as_str());
    }
}

/// What a caller asked for.
///
/// # Errors
/// A key out of its bounds, and a mode that is none.
pub fn decode(headers: &Headers) -> Result<Option<Singleton>, Rejection> {
    let Some(key) = headers.value(SINGLETON) else { return Ok(None) };
    if key.is_empty() || key.len() > KEY_LEN_MAX {
        return Err(Rejection::new(SINGLETON, "it takes 1 to 256 bytes"));
    }
    let mode = super::task::parsed(headers, SINGLETON_MODE)?.unwrap_or_default();
    Ok(Some(Singleton { key: key.to_owned(), mode }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::singleton::Mode;

    #[test]
    fn a_holder_has_a_golden_form() {
        let holder = Holder {
            v: 1,
            name: "m/t key acme".into(),
            id: "t".parse().unwrap(),
            since: Timestamp::from_millis(5),
            queue: "images".parse().unwrap(),
            priority: 9,
        };
        let golden = r#"{"v":1,"name":"m/t key acme","id":"t","since":5,"queue":"images","priority":9}"#;
        assert_eq!(holder.encode(), golden);
        assert_eq!(Holder::decode(&golden.into()), Ok(holder));
        for (bad, words) in [(golden.replace(":9}", ":10}"), "0 to 9"), (r#"{"v":9}"#.to_owned(), "update it")] {
            let error = Holder::decode(&bad.into()).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn what_a_caller_asks_for_is_in_headers() {
        let of = |mode| Singleton { key: "acme".into(), mode };
        for (singleton, count) in [(None, 0), (Some(of(Mode::Skip)), 1), (Some(of(Mode::Cancel)), 2)] {
            let mut headers = Headers::new();
            encode(singleton.as_ref(), &mut headers);
            assert_eq!(headers.iter().count(), count);
            assert_eq!(decode(&headers), Ok(singleton));
        }
        let long = "x".repeat(KEY_LEN_MAX + 1);
        for (key, mode, words) in
            [("", "skip", "1 to 256"), (&long, "skip", "1 to 256"), ("k", "last", "skip or cancel")]
        {
            let headers = Headers::new().with(SINGLETON, key).with(SINGLETON_MODE, mode);
            assert!(decode(&headers).unwrap_err().to_string().contains(words), "{key} {mode}");
        }
    }
}
