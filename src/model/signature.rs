//! A task with its input and options, not yet submitted.

use std::collections::BTreeMap;
use std::time::Duration;

use super::debounce::Debounce;
use super::limit::Limit;
use super::limits::Wish;
use super::once::KEY_LEN_MAX;
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
    /// When it must have ended, its waiting and all its attempts included: past that it fails with `timeout`. Steps have the
    /// timers of their run instead.
    pub timeout_at: Option<Timestamp>,
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

/// How long a task is wanted, where that is counted from a submit to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How long it may wait for a host.
    pub expires: Option<Duration>,
    /// How long it may take in all, from when it is due.
    pub timeout: Option<Duration>,
}

impl Wanted {
    /// Writes it into the options of a task that is submitted at `now`, and due then or at `due`.
    pub fn stamp(self, options: &mut Options, now: Timestamp, due: Option<Timestamp>) {
        options.expires = self.expires.map(|expires| now.after(expires));
        options.timeout_at = self.timeout.map(|timeout| due.unwrap_or(now).after(timeout));
    }
}

impl Signature {
    /// A call of `task` with `input` and default options.
    #[must_use]
    pub fn new(task: TaskRef, input: impl Into<bytes::Bytes>) -> Self {
        Self { task, input: Value::Inline(input.into()), options: Options::default() }
    }
}

impl Options {
    /// Whether a host can read them: what it cannot read ends the task.
    ///
    /// # Errors
    /// What there is too much of, and a label that is none.
    pub fn check(&self) -> Result<(), InvalidOptions> {
        for labels in [&self.labels, &self.requires] {
            if labels.len() > LABELS_MAX {
                return Err(InvalidOptions::Labels(labels.len()));
            }
            for (key, value) in labels {
                let (read, _) = parse_label(&format!("{key}={value}"))?;
                if read != *key {
                    return Err(InvalidLabel(key.chars().take(80).collect()).into());
                }
                unpadded(&format!("{key}={value}"))?;
            }
        }
        let singleton = self.singleton.as_ref().map(|singleton| &singleton.key);
        let debounce = self.debounce.as_ref().and_then(|debounce| debounce.key.as_ref());
        for key in [self.limit_key.as_ref(), singleton, debounce].into_iter().flatten() {
            unpadded(key)?;
        }
        match &self.idempotency_key {
            Some(key) if !(1..=KEY_LEN_MAX).contains(&key.len()) => Err(InvalidOptions::Key(key.len())),
            Some(key) => unpadded(key),
            None => Ok(()),
        }
    }
}

/// What travels in a header arrives without the white space around it, as another text.
fn unpadded(text: &str) -> Result<(), InvalidOptions> {
    if text.trim() == text { Ok(()) } else { Err(InvalidOptions::Padded(text.chars().take(80).collect())) }
}

/// Options that no host could read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// There are too many labels of one kind.
    #[error("a task takes up to {LABELS_MAX} labels, not {0}")]
    Labels(usize),
    /// A label is none.
    #[error(transparent)]
    Label(#[from] InvalidLabel),
    /// The idempotency key has no or too many bytes.
    #[error("an idempotency key takes 1 to {KEY_LEN_MAX} bytes, not {0}")]
    Key(usize),
    /// A label or key has white space around it.
    #[error("invalid {0:?}: white space around a label or a key is not kept")]
    Padded(String),
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
    fn options_that_no_host_could_read_are_told() {
        let labels = |count: usize| (0..count).map(|n| (format!("k{n}"), "v".to_owned())).collect::<Labels>();
        let one = |key: &str, value: &str| Labels::from([(key.to_owned(), value.to_owned())]);
        let key = |length: usize| Options { idempotency_key: Some("k".repeat(length)), ..Options::default() };
        let of = |labels: Labels, requires: Labels| Options { labels, requires, ..Options::default() };
        for good in
            [Options::default(), of(labels(16), labels(16)), key(KEY_LEN_MAX), of(one("a", "b=c"), one("a", ""))]
        {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        for (bad, words) in [
            (of(labels(17), Labels::new()), "up to 16 labels, not 17"),
            (of(Labels::new(), labels(17)), "up to 16 labels, not 17"),
            (of(one("a=b", "c"), Labels::new()), "invalid label"),
            (of(Labels::new(), one("a", "b,c")), "invalid label"),
            (of(one("", "b"), Labels::new()), "invalid label"),
            (of(one("a", "b "), Labels::new()), "white space around"),
            (Options { idempotency_key: Some(" k".to_owned()), ..Options::default() }, "white space around"),
            (Options { limit_key: Some("k\t".to_owned()), ..Options::default() }, "white space around"),
            (key(0), "1 to 256 bytes, not 0"),
            (key(KEY_LEN_MAX + 1), "1 to 256 bytes, not 257"),
        ] {
            let told = bad.check().unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn labels_are_key_and_value() {
        assert_eq!(parse_label("region=eu=1").unwrap(), ("region".into(), "eu=1".into()));
        for bad in ["", "region", "=eu", "a=b,c", "a=\n", &format!("a={}", "x".repeat(128))] {
            assert!(parse_label(bad).is_err(), "{bad}");
        }
    }
}
