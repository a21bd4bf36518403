//! The id of a step: its path from the root of the flow.
//!
//! `0` is the root. A child adds `-` and its position, an item or iteration adds `_` and its number, the n-th replacement adds
//! `~` and its number: `0-2_17-1` is the second child of item 17 of the root's third child. Nodes beside the main path add a
//! letter: `-c` catch, `-u` compensation (undo), `-s` and `-f` the observers of success and failure.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest id: 64 levels of up to a million members each stay below it, and a subject that holds it below the server's limit.
pub const STEP_LEN_MAX: usize = 1_024;

/// A step of a run. Cheap to clone; the same for every coordinator and every version.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(Arc<str>);

/// The handler that a step beside the main path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Handler {
    /// Runs when its node fails, and takes its place.
    Catch,
    /// Undoes what its node did.
    Compensate,
    /// Is told of its node's success.
    OnSuccess,
    /// Is told of its node's failure.
    OnFailure,
}

impl Handler {
    const fn letter(self) -> char {
        match self {
            Self::Catch => 'c',
            Self::Compensate => 'u',
            Self::OnSuccess => 's',
            Self::OnFailure => 'f',
        }
    }
}

impl StepId {
    /// The root of a flow.
    #[must_use]
    pub fn root() -> Self {
        Self("0".into())
    }

    /// The child at `position`.
    #[must_use]
    pub fn child(&self, position: usize) -> Self {
        Self(format!("{self}-{position}").into())
    }

    /// Item or iteration `index` of this step.
    #[must_use]
    pub fn item(&self, index: usize) -> Self {
        Self(format!("{self}_{index}").into())
    }

    /// A handler of this step.
    #[must_use]
    pub fn handler(&self, handler: Handler) -> Self {
        Self(format!("{self}-{}", handler.letter()).into())
    }

    /// The next replacement of this step: `~1` for a step of the document, one more for a replacement.
    #[must_use]
    pub fn replacement(&self) -> Self {
        let numbered = self.0.rsplit_once('~').and_then(|(place, n)| Some((place, n.parse::<u32>().ok()?)));
        Self(match numbered {
            Some((place, n)) => format!("{place}~{}", n.saturating_add(1)).into(),
            None => format!("{self}~1").into(),
        })
    }

    /// Whether this is a step below `other`, or `other` itself.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.strip_prefix(&*other.0).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text that is no step id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid step {0:?}: it takes a path such as 0-2_17-1, as runs show prints it")]
pub struct InvalidStep(pub String);

impl FromStr for StepId {
    type Err = InvalidStep;

    fn from_str(text: &str) -> Result<Self, InvalidStep> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'~');
        let good = text.starts_with('0') && text.len() <= STEP_LEN_MAX && text.bytes().all(plain);
        if good { Ok(Self(text.into())) } else { Err(InvalidStep(text.chars().take(80).collect())) }
    }
}

impl TryFrom<String> for StepId {
    type Error = InvalidStep;

    fn try_from(text: String) -> Result<Self, InvalidStep> {
        text.parse()
    }
}

impl From<StepId> for String {
    fn from(step: StepId) -> Self {
        step.0.as_ref().to_owned()
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_where_a_step_stands() {
        let step = StepId::root().child(2).item(17).child(1);
        assert_eq!(step.as_str(), "0-2_17-1");
        assert_eq!(step.handler(Handler::Catch).as_str(), "0-2_17-1-c");
        assert_eq!(step.as_str().parse(), Ok(step));
        for bad in ["", "1", "0.1", "0-A", "0 ", "0*", &"0".repeat(STEP_LEN_MAX + 1)] {
            assert!(bad.parse::<StepId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn replacements_are_counted_at_their_place() {
        let first = StepId::root().child(1).replacement();
        assert_eq!(first.as_str(), "0-1~1");
        assert_eq!(first.replacement().as_str(), "0-1~2");
        assert_eq!(first.child(0).replacement().as_str(), "0-1~1-0~1");
    }

    #[test]
    fn a_step_is_within_its_ancestors_and_nothing_else() {
        let step = StepId::root().child(1);
        assert!(step.child(2).is_within(&step) && step.item(2).is_within(&step) && step.is_within(&step));
        assert!(step.replacement().is_within(&step));
        assert!(!StepId::root().child(12).is_within(&step));
        assert!(!step.is_within(&step.child(2)));
    }
}
