//! A task with its input and options, not yet submitted.

use std::collections::BTreeMap;

use super::debounce::Debounce;
use super::limit::Limit;
use super::limits::Wish;
use super::singleton::Singleton;
use super::{Labels, Policy, TaskRef, Timestamp, Value};

/// The most labels of one task.
pub const LABELS_MAX: usize = 16;

/// The longest label, key and value together, in bytes.
pub const LABEL_LEN_MAX: usize = 128;

/// A task with its input and options.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// What to call.
    pub task: TaskRef,
    /// What to call it with: JSON, unless the task wants other bytes.
    pub input: Value,
    /// How to call it.
    pub options: Options,
}

/// How a task is called; all of it has a default.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// When and how often it is tried again.
    pub retry: Policy,
    /// Limits other than the module's own.
    pub limits: Wish,
    /// A delivery after this time does not run: the task ends as `expired`.
    pub expires: Option<Timestamp>,
    /// The same for every attempt and delivery; the task's id where there is none.
    pub idempotency_key: Option<String>,
    /// The key of the limit that its task declares, in place of the declared one.
    pub limit_key: Option<String>,
    /// The limits across the fleet that it is under, but its queue's.
    pub fleet: Vec<Limit>,
    /// Whether it is to be the only one of its kind; in place of what its task declares.
    pub singleton: Option<Singleton>,
    /// Whether it may become one task with calls that follow; in place of what its task declares.
    pub debounce: Option<Debounce>,
    /// For people and searches.
    pub labels: BTreeMap<String, String>,
    /// Labels that a host must have to run it.
    pub requires: Labels,
}

impl Signature {
    /// A call of `task` with `input` and default options.
    #[must_use]
    pub fn new(task: TaskRef, input: impl Into<bytes::Bytes>) -> Self {
        Self { task, input: Value::Inline(input.into()), options: Options::default() }
    }
}

/// Reads `key=value`.
///
/// # Errors
/// A text without `=`, an empty key, a comma or a control character, or more than [`LABEL_LEN_MAX`] bytes.
pub fn parse_label(text: &str) -> Result<(String, String), InvalidLabel> {
    let invalid = || InvalidLabel(text.chars().take(80).collect());
    let (key, value) = text.split_once('=').ok_or_else(invalid)?;
    let plain = |part: &str| !part.chars().any(|c| c == ',' || c.is_control());
    if key.is_empty() || text.len() > LABEL_LEN_MAX || !plain(text) {
        Err(invalid())
    } else {
        Ok((key.to_owned(), value.to_owned()))
    }
}

/// A text that is not a label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid label {0:?}: it takes the form key=value, up to 128 bytes without commas")]
pub struct InvalidLabel(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_key_and_value() {
        assert_eq!(parse_label("region=eu=1").unwrap(), ("region".into(), "eu=1".into()));
        for bad in ["", "region", "=eu", "a=b,c", "a=\n", &format!("a={}", "x".repeat(128))] {
            assert!(parse_label(bad).is_err(), "{bad}");
        }
    }
}
