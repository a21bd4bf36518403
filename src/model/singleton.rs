//! Singletons: at most one call of a task, or of those with the same key, is under way.
//!
//! It is decided when a task is submitted: the first one has the singleton until it has ended, and a second submit is that one, or
//! takes its place.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long a task has its singleton at most, counted from when it is due: a record of one that nobody asks for again is kept so
/// long.
pub const HELD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a submit does while another task has the singleton.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Nothing is submitted: the submit yields the task that is under way.
    #[default]
    Skip,
    /// The task that is under way is cancelled, and the new one takes its place.
    Cancel,
}

/// A text that is no mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid mode {0:?} of a singleton: it takes skip or cancel")]
pub struct InvalidMode(String);

impl Mode {
    /// The word on the wire and in manifests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Mode {
    type Err = InvalidMode;

    fn from_str(text: &str) -> Result<Self, InvalidMode> {
        let known = [Self::Skip, Self::Cancel].into_iter().find(|mode| mode.as_str() == text);
        known.ok_or_else(|| InvalidMode(text.chars().take(40).collect()))
    }
}

/// The singleton that a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Singleton {
    /// Calls of the task with the same key are one at a time.
    pub key: String,
    /// What happens while one is under way.
    pub mode: Mode,
}

/// The singleton that a module declares for a task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declared {
    /// A template over the input: only calls with the same key are one at a time. Without one, all calls are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What happens while one is under way.
    pub mode: Mode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_words() {
        for mode in [Mode::Skip, Mode::Cancel] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
            assert_eq!(serde_json::to_string(&mode).unwrap(), format!("{:?}", mode.as_str()));
        }
        let error = "queue".parse::<Mode>().unwrap_err().to_string();
        assert!(error.contains("it takes skip or cancel"), "{error}");
    }
}
