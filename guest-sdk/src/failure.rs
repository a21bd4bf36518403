//! Why an attempt failed, and whether another one may help.
//!
//! **Invariant:** it is data for the platform, so it is no `std::error::Error` itself: that lets
//! every error turn into one.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::{blob, kv};

/// How many causes of an error are told; a longer chain is most likely a circle.
const CAUSES_MAX: usize = 16;

/// Why an attempt failed.
///
/// ```
/// use std::time::Duration;
/// use lovage_guest::Failure;
///
/// let busy = Failure::retryable("the printer is busy").after(Duration::from_secs(30));
/// let wrong = Failure::permanent("no such paper").detail("A9");
/// # assert!(busy.is_retryable() && !wrong.is_retryable());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    message: String,
    detail: Option<String>,
    retry: Retry,
}

/// Whether another attempt may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    AsPolicySays,
    After(Duration),
}

impl Failure {
    /// A failure that another attempt may not have, such as a service that is away.
    pub fn retryable(message: impl Display) -> Self {
        Self { message: message.to_string(), detail: None, retry: Retry::AsPolicySays }
    }

    /// A failure that this input will always have: it is never tried again.
    pub fn permanent(message: impl Display) -> Self {
        Self { message: message.to_string(), detail: None, retry: Retry::Never }
    }

    /// Asks that the next attempt waits at least this long. A permanent failure stays permanent.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        if self.is_retryable() {
            self.retry = Retry::After(delay);
        }
        self
    }

    /// Adds a value for whoever handles the failure, kept as JSON. One that cannot be written as
    /// JSON is left out.
    #[must_use]
    pub fn detail(mut self, detail: impl Serialize) -> Self {
        self.detail = serde_json::to_string(&detail).ok();
        self
    }

    /// What went wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether another attempt may be made.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.retry, Retry::Never)
    }

    /// The parts, as the wire needs them.
    #[cfg_attr(not(target_arch = "wasm32"), expect(dead_code, reason = "only a component has a wire"))]
    pub(crate) fn into_parts(self) -> (String, Option<String>, Retry) {
        (self.message, self.detail, self.retry)
    }
}

/// Any error becomes a retryable failure with its causes in the message, `outer: inner: innermost`; what is not granted, or too
/// large, a permanent one.
impl<E: Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let is_permanent = is_permanent(&error);
        let mut message = error.to_string();
        let mut cause = error.source();
        for _ in 0..CAUSES_MAX {
            let Some(inner) = cause else { break };
            // Writing to a string cannot fail.
            _ = write!(message, ": {inner}");
            cause = inner.source();
        }
        if is_permanent { Self::permanent(message) } else { Self::retryable(message) }
    }
}

/// Whether another attempt would hear the same of its host.
fn is_permanent(error: &(dyn Error + 'static)) -> bool {
    let kv = error.downcast_ref::<kv::Error>();
    let blob = error.downcast_ref::<blob::Error>();
    matches!(kv, Some(kv::Error::NotGranted | kv::Error::TooLarge))
        || matches!(blob, Some(blob::Error::NotGranted | blob::Error::TooLarge))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Outer(std::num::ParseIntError);

    impl Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("no number")
        }
    }

    impl Error for Outer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    fn parse(text: &str) -> Result<u8, Failure> {
        Ok(text.parse::<u8>().map_err(Outer)?)
    }

    #[test]
    fn an_error_is_retryable_and_tells_its_causes() {
        assert_eq!(parse("7"), Ok(7));
        let failure = parse("x").unwrap_err();
        assert!(failure.is_retryable());
        assert_eq!(failure.message(), "no number: invalid digit found in string");
    }

    #[test]
    fn what_is_not_granted_is_not_asked_for_again() {
        let failure = |error: kv::Error| Failure::from(error);
        assert!(!failure(kv::Error::NotGranted).is_retryable() && !failure(kv::Error::TooLarge).is_retryable());
        assert!(
            failure(kv::Error::Conflict).is_retryable() && failure(kv::Error::Unavailable("x".into())).is_retryable()
        );
        assert!(!Failure::from(blob::Error::NotGranted).is_retryable());
        assert!(Failure::from(blob::Error::NotFound).is_retryable());
    }

    #[test]
    fn a_delay_does_not_make_a_permanent_failure_retryable() {
        let delay = Duration::from_millis(1500);
        assert_eq!(Failure::retryable("x").after(delay).retry, Retry::After(delay));
        assert_eq!(Failure::permanent("x").after(delay).retry, Retry::Never);
    }

    #[test]
    fn detail_is_json() {
        let failure = Failure::permanent("x").detail(("page", 3));
        assert_eq!(failure.detail.as_deref(), Some(r#"["page",3]"#));
    }

    #[test]
    fn an_error_of_the_input_can_be_made_permanent() {
        let failure = "x".parse::<u8>().map_err(Failure::permanent).unwrap_err();
        assert!(!failure.is_retryable());
        assert_eq!(failure.message(), "invalid digit found in string");
    }
}
