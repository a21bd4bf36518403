//! What an attempt ends with: an output, a flow that takes the task's place, or a failure of a named kind.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::Digest;

/// The longest message of a failure, in bytes; longer ones are cut.
pub const MESSAGE_LEN_MAX: usize = 4096;

/// Bytes that travel in a message, or a reference to bytes in the object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// At most [`VALUE_INLINE_MAX`] bytes.
    Inline(Bytes),
    /// More than that: stored once under its digest.
    Stored {
        /// The digest of the bytes, which is also their name.
        digest: Digest,
        /// How many bytes.
        size: u64,
    },
}

/// Above this a value goes to the object store: a stream of small messages stays fast, and 1 MiB is the server's own limit.
pub const VALUE_INLINE_MAX: usize = 128 << 10;

/// The largest value: what a guest may return by default, and its input.
pub const VALUE_BYTES_MAX: u64 = 64 << 20;

/// What one attempt ended with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The task returned; JSON unless the task's description names another media type.
    Output(Bytes),
    /// The task handed back a flow document (JSON) that takes its place.
    Replace(String),
    /// The attempt failed.
    Failed(Failure),
}

/// Why an attempt or a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code.
    pub kind: Kind,
    /// One sentence for people.
    pub message: String,
    /// The task that failed; only in a run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub task: Option<super::TaskRef>,
    /// The step that failed; only in a run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<super::StepId>,
    /// The attempt that failed so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub attempt: Option<u32>,
    /// More, as JSON: the trap's code, the guest's own detail.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<serde_json::Value>,
    /// How long the guest asked to wait before the next attempt, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

impl Failure {
    /// A failure of `kind` with a message of at most [`MESSAGE_LEN_MAX`] bytes.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MESSAGE_LEN_MAX {
            let cut = (0..=MESSAGE_LEN_MAX).rev().find(|&at| message.is_char_boundary(at)).unwrap_or(0);
            message.truncate(cut);
            message.push('…');
        }
        Self { kind, message, task: None, step: None, attempt: None, detail: None, retry_after_ms: None }
    }

    /// The same with more detail.
    #[must_use]
    pub fn with_detail(mut self, detail: serde_json::Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// The same, with the wait that the guest asked for.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.retry_after_ms = Some(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $retry:ident;)*) => {
        /// The kind of a failure: a stable code. The docs have a section *cause / what to do* for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
        }

        impl Kind {
            /// Every kind, in the order of the docs.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The stable code, as in `out_of_fuel`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Whether the next attempt may fare better: the class that a policy without a list of its own retries.
            #[must_use]
            pub const fn retry_class(self) -> RetryClass {
                match self { $(Self::$variant => RetryClass::$retry,)* }
            }
        }
    };
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryClass {
    /// The world may have changed: retried by the task's policy.
    Retry,
    /// The same input under the same limits fails the same way: never retried by default.
    Never,
}

kinds! {
    /// The task's own error: a retryable failure of the SDK, or an exit code other than 0 and 65. From the sandbox.
    Returned = "returned", Retry;
    /// The task refused its input for good: a permanent failure of the SDK, or exit code 65. From the sandbox.
    Refused = "refused", Never;
    /// The guest trapped; its code is in `detail`. From the sandbox.
    Trap = "trap", Retry;
    /// The budget of instructions ran out. From the sandbox.
    OutOfFuel = "out_of_fuel", Never;
    /// The guest asked for more memory or table than it may have, and then failed. From the sandbox.
    MemoryLimit = "memory_limit", Never;
    /// The output grew past its limit. From the sandbox.
    OutputLimit = "output_limit", Never;
    /// The attempt ran past its wall-clock bound. From the sandbox.
    Deadline = "deadline", Retry;
    /// Hosts were lost too often while they ran this task. From the host that takes it up last.
    HostLost = "host_lost", Never;
    /// The module, or this version of it, is not there. From the host.
    ModuleMissing = "module_missing", Retry;
    /// The module is no Wasm that the platform runs. From the host.
    ModuleInvalid = "module_invalid", Never;
    /// The module has no task of this name. From the host.
    TaskMissing = "task_missing", Never;
    /// The message or the input cannot be read as the task needs it. From the host or the sandbox.
    BadInput = "bad_input", Never;
    /// The guest used what it has no grant for. From the sandbox.
    NotGranted = "not_granted", Never;
    /// Someone cancelled the task. From the cancel's record.
    Cancelled = "cancelled", Never;
    /// The task was taken up after the time until which it was wanted. From the host.
    Expired = "expired", Never;
    /// A flow was handed back where none can run, or one that is not valid. From the host or the coordinator.
    BadFlow = "bad_flow", Never;
    /// A node of a flow took longer than its `timeout`, or a task than its own. From the coordinator or the host.
    Timeout = "timeout", Never;
    /// A loop went on past its `max`. From the coordinator.
    LoopLimit = "loop_limit", Never;
    /// An expression or template could not be evaluated. From the coordinator.
    BadExpression = "bad_expression", Never;
    /// A run grew past one of its limits. From the coordinator.
    Limit = "limit", Never;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A text that names no kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind of failure {0:?}")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.iter().copied().find(|kind| kind.code() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_stable_and_read_back() {
        let codes: Vec<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(
            codes.join(" "),
            "returned refused trap out_of_fuel memory_limit output_limit deadline host_lost module_missing \
             module_invalid task_missing bad_input not_granted cancelled expired bad_flow \
             timeout loop_limit bad_expression limit"
        );
        for kind in Kind::ALL {
            assert_eq!(kind.code().parse::<Kind>().unwrap(), *kind);
            assert_eq!(serde_json::to_string(kind).unwrap(), format!("\"{}\"", kind.code()));
        }
    }

    #[test]
    fn deterministic_failures_are_never_retried() {
        let retried: Vec<Kind> =
            Kind::ALL.iter().copied().filter(|kind| kind.retry_class() == RetryClass::Retry).collect();
        assert_eq!(retried, [Kind::Returned, Kind::Trap, Kind::Deadline, Kind::ModuleMissing]);
    }

    #[test]
    fn messages_are_bounded() {
        let failure = Failure::new(Kind::Returned, "ä".repeat(MESSAGE_LEN_MAX));
        assert!(failure.message.len() <= MESSAGE_LEN_MAX + '…'.len_utf8());
    }

    #[test]
    fn a_failure_has_a_stable_form() {
        let failure = Failure::new(Kind::Trap, "unreachable").with_detail(serde_json::json!({"code": "unreachable"}));
        let text = serde_json::to_string(&failure).unwrap();
        assert_eq!(text, r#"{"kind":"trap","message":"unreachable","detail":{"code":"unreachable"}}"#);
        assert_eq!(serde_json::from_str::<Failure>(&text).unwrap(), failure);
    }
}
