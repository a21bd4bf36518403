//! Names and ids: each kind is a type of its own, checked when it is made.
//!
//! A name is a token of a subject, so it holds neither dots nor wildcards nor spaces.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name: a subject of five names stays under 400 bytes, far below what a server accepts.
pub const NAME_LEN_MAX: usize = 64;

/// The partitions of runs, one character each: the last one of a run's id.
pub const PARTITIONS: &str = "0123456789abcdefghjkmnpqrstvwxyz";

/// The second token of subjects that belong to no tenant: words to hosts, and what coordinators agree on.
pub const CONTROL: &str = "ctl";

/// The longest version: enough for a git hash prefix or a semantic version.
pub const VERSION_LEN_MAX: usize = 32;

/// ` (there is a, b)`: what is told to whoever named something that is not there; nothing where there is nothing.
#[must_use]
pub fn among(known: &[String]) -> String {
    if known.is_empty() { String::new() } else { format!(" (there is {})", known.join(", ")) }
}

/// A text that is not a name of the kind it was given for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: {rule}")]
pub struct Invalid {
    /// The kind of name that was asked for, as in "queue".
    pub what: &'static str,
    /// What was given, cut to 80 characters.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl Invalid {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

const NAME_RULE: &str = "it takes 1 to 64 characters of a-z, 0-9, '_' and '-'";
const TENANT_RULE: &str = "it takes 1 to 64 characters of a-z, 0-9, '_' and '-', and is not ctl";
const TASK_RULE: &str = "it takes 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'";
const VERSION_RULE: &str = "it takes 1 to 32 characters of a-z, 0-9, '.', '_' and '-'";

fn is_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

fn is_tenant(text: &str) -> bool {
    is_name(text) && text != CONTROL
}

fn is_task(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn is_version(text: &str) -> bool {
    (1..=VERSION_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

const CONFIG_RULE: &str =
    "it takes 1 to 64 characters of a-z, A-Z, 0-9 and '_', the first no digit, and is not LOVAGE_ and more";

/// A name that an environment variable may have, beside those of the platform's own.
fn is_config_key(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && !text.starts_with("LOVAGE_")
}

const STEP_NAME_RULE: &str = "it takes 1 to 64 characters of a-z, 0-9 and '_', the first no digit";
const RUN_RULE: &str = "it takes the 26 characters of a ULID, in lower case";
const SIGNAL_RULE: &str = "it takes 1 to 64 characters of a-z, A-Z, 0-9, '_' and '-'";

fn is_step_name(text: &str) -> bool {
    (1..=NAME_LEN_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// Crockford's base 32, in lower case.
fn is_run(text: &str) -> bool {
    text.len() == 26 && text.bytes().all(|b| PARTITIONS.contains(b as char))
}

/// A checked text: cheap to clone, ordered, shown as it is.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:path, $rule:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, which satisfies this type's rule.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Invalid;

            fn from_str(text: &str) -> Result<Self, Invalid> {
                if $check(text) { Ok(Self(text.into())) } else { Err(Invalid::new($what, text, $rule)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;

            fn try_from(text: String) -> Result<Self, Invalid> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// An isolation unit: the second token of every subject.
    Tenant,
    "tenant",
    is_tenant,
    TENANT_RULE
);
checked_text!(
    /// A named stream of tasks in a tenant.
    Queue,
    "queue",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name under which a tenant uploads versions of a module.
    ModuleName,
    "module name",
    is_name,
    NAME_RULE
);
checked_text!(
    /// A callable of a module. Upper case is allowed, since exports of components are named by their authors.
    TaskName,
    "task name",
    is_task,
    TASK_RULE
);
checked_text!(
    /// An immutable version of a module: an integer that the platform gave, or a text that its author chose.
    Version,
    "version",
    is_version,
    VERSION_RULE
);
checked_text!(
    /// One submitted call of a task. Ours are ULIDs in lower case; any name is accepted from other clients.
    TaskId,
    "task id",
    is_name,
    NAME_RULE
);
checked_text!(
    /// One host process, for as long as it lives.
    HostId,
    "host id",
    is_name,
    NAME_RULE
);

checked_text!(
    /// One coordinator process, for as long as it lives.
    CoordinatorId,
    "coordinator id",
    is_name,
    NAME_RULE
);

checked_text!(
    /// The name under which a tenant stores versions of a flow.
    FlowName,
    "flow name",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name under which a tenant keeps a schedule.
    ScheduleName,
    "schedule name",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name under which a tenant keeps a webhook.
    WebhookName,
    "webhook name",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name of a step within its scope: `steps.<name>` in expressions.
    StepName,
    "step name",
    is_step_name,
    STEP_NAME_RULE
);
checked_text!(
    /// The name of a signal that a run waits for.
    SignalName,
    "signal name",
    is_task,
    SIGNAL_RULE
);
checked_text!(
    /// One signal that was sent to a run. Ours are ULIDs in lower case; whoever sends one chooses its id, so that sending it
    /// twice is sending it once.
    SignalId,
    "signal id",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name of a bucket in its tenant, of keys and values or of objects.
    BucketName,
    "bucket",
    is_name,
    NAME_RULE
);
checked_text!(
    /// The name under which a tenant keeps a secret.
    SecretName,
    "secret name",
    is_task,
    TASK_RULE
);
checked_text!(
    /// The key of a setting of a module, which a command finds in its environment.
    ConfigKey,
    "config key",
    is_config_key,
    CONFIG_RULE
);
checked_text!(
    /// What tells the timers, and the decisions, of one step apart.
    Word,
    "word",
    is_name,
    NAME_RULE
);
checked_text!(
    /// One execution of a flow: a ULID in lower case.
    RunId,
    "run id",
    is_run,
    RUN_RULE
);

impl RunId {
    /// The id that follows from these texts, always the same: 130 bits of their sha256.
    #[must_use]
    pub fn derived(parts: &[&str]) -> Self {
        use sha2::{Digest as _, Sha256};
        let mut hash = Sha256::new();
        for part in parts {
            // The length keeps ("ab", "c") apart from ("a", "bc").
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let symbols: Vec<char> = PARTITIONS.chars().collect();
        let symbol = |byte: &u8| symbols.get(usize::from(byte % 32)).copied().unwrap_or('0');
        Self(hash.finalize().iter().take(26).map(symbol).collect::<String>().into())
    }

    /// The partition of the run: the last character of its id.
    #[must_use]
    pub fn partition(&self) -> char {
        self.0.chars().next_back().unwrap_or('0')
    }
}

impl Tenant {
    /// The tenant of an installation without tenants.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".into())
    }
}

impl Queue {
    /// The queue of tasks that name none.
    #[must_use]
    pub fn default_queue() -> Self {
        Self("default".into())
    }
}

impl TaskName {
    /// The task of a command module that lists none.
    #[must_use]
    pub fn run() -> Self {
        Self("run".into())
    }
}

impl Version {
    /// The version that follows: one more than the largest integer among those given, from 1.
    #[must_use]
    pub fn next_after<'a>(taken: impl IntoIterator<Item = &'a Self>) -> Self {
        // Of integers that people chose, those count that a version can follow.
        let integers = taken.into_iter().map(Self::as_str).filter(|text| text.len() < VERSION_LEN_MAX);
        let largest = integers.filter_map(|text| text.parse::<u128>().ok()).max().unwrap_or(0);
        Self(largest.saturating_add(1).to_string().into())
    }
}

/// What a caller names: `module/task` or `module@version/task`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TaskRef {
    /// The module that offers the task.
    pub module: ModuleName,
    /// The version to run; `None` is the latest one when the attempt begins.
    pub version: Option<Version>,
    /// The task in the module.
    pub task: TaskName,
}

impl FromStr for TaskRef {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let Some((module, task)) = text.split_once('/') else {
            return Err(Invalid::new("task", text, "it takes the form module/task or module@version/task"));
        };
        let (module, version) = match module.split_once('@') {
            Some((module, version)) => (module, Some(version.parse()?)),
            None => (module, None),
        };
        Ok(Self { module: module.parse()?, version, task: task.parse()? })
    }
}

impl TryFrom<String> for TaskRef {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<TaskRef> for String {
    fn from(task: TaskRef) -> Self {
        task.to_string()
    }
}

impl fmt::Display for TaskRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}/{}", self.module, self.task),
            None => write!(f, "{}/{}", self.module, self.task),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_of_a_subject() {
        for good in ["a", "default", "a-b_c9", &"x".repeat(64)] {
            assert!(good.parse::<Queue>().is_ok(), "{good}");
        }
        for bad in ["", "A", "a.b", "a b", "*", ">", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Queue>().is_err(), "{bad}");
        }
    }

    #[test]
    fn no_tenant_is_named_as_what_belongs_to_none() {
        assert!(CONTROL.parse::<Queue>().is_ok());
        let error = CONTROL.parse::<Tenant>().unwrap_err();
        assert!(error.to_string().ends_with("and is not ctl"), "{error}");
    }

    #[test]
    fn an_invalid_name_says_what_and_why() {
        let error = "a.b".parse::<Queue>().unwrap_err();
        assert_eq!(error.to_string(), "invalid queue \"a.b\": it takes 1 to 64 characters of a-z, 0-9, '_' and '-'");
    }

    #[test]
    fn task_refs_read_and_show_the_same() {
        for text in ["m/t", "m@1/t", "thumbs@2024.1-rc/resize"] {
            assert_eq!(text.parse::<TaskRef>().unwrap().to_string(), text);
        }
        for bad in ["m", "/t", "m/", "m@/t", "m@A/t", "m/a/b", "M/t"] {
            assert!(bad.parse::<TaskRef>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_id_is_derived_from_its_parts() {
        let id = RunId::derived(&["a", "bc"]);
        assert_eq!(id.as_str().parse::<RunId>().unwrap(), id);
        assert_eq!(id, RunId::derived(&["a", "bc"]));
        assert_ne!(id, RunId::derived(&["ab", "c"]));
        assert!("01ARZ3NDEKTSV4RRFFQ69G5FAV".parse::<RunId>().is_err(), "upper case");
    }

    #[test]
    fn the_next_version_is_one_more_than_the_largest_integer() {
        let versions: Vec<Version> = ["1", "beta", "12", "3"].iter().map(|v| v.parse().unwrap()).collect();
        assert_eq!(Version::next_after(&versions).as_str(), "13");
        assert_eq!(Version::next_after([]).as_str(), "1");
    }
}
