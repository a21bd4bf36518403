//! What hosts say of themselves: a record on `lvg.ctl.host.<id>` that is renewed each second and ends by itself, and answers to
//! words on `lvg.ctl.tell.<id>.<word>`. All of these subjects are the operator's: no tenant's account has them.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Rejection, versioned};
use crate::model::{HostId, ModuleName, Queue, TaskRef, Tenant, Timestamp, Version};

/// The version of the forms that this code writes.
pub const VERSION: u32 = 1;

/// The pause between two heartbeats.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How long a heartbeat counts: three may be lost, and a host that was killed is gone from lists within five seconds.
pub const BEAT_TTL: Duration = Duration::from_secs(4);

/// How often somebody who looks at events says so. Hosts say which tasks begin for [`WATCHED_BEATS`] heartbeats after that.
pub const WATCH_EVERY: Duration = Duration::from_secs(3);

/// For how many of its own heartbeats a host that was told that somebody looks believes it.
pub const WATCHED_BEATS: u32 = 8;

/// Tasks that a host names when it is asked what runs: with the longest names they fill half of a message.
pub const TASKS_SHOWN_MAX: usize = 500;

/// A host at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRecord {
    /// The version of this form.
    pub v: u32,
    /// The host.
    pub id: HostId,
    /// Whose tasks it runs.
    pub tenant: Tenant,
    /// The machine that it runs on, as that calls itself.
    pub name: String,
    /// What its operator says of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The queues that it serves, and how many parts of the slots each has.
    pub queues: BTreeMap<Queue, u32>,
    /// Whether it takes tasks.
    pub state: HostState,
    /// Tasks that it can run at a time.
    pub slots: u64,
    /// Guests that run.
    pub running: u64,
    /// Tasks that it has taken and whose guest does not run yet: they wait for a module, an input or a slot.
    pub reserved: u64,
    /// Of the program.
    pub version: String,
    /// When it began.
    pub started: Timestamp,
    /// Bytes of memory of its process, which it may share with other hosts.
    pub memory_bytes: u64,
}

/// Whether a host takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostState {
    /// It does.
    Serving,
    /// It takes no more, and leaves when what runs has ended or its deadline has passed.
    Draining,
}

impl HostState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}

/// What a host answers to `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostDetail {
    /// What its heartbeat says, now.
    pub host: HostRecord,
    /// What it has in hand, the longest first.
    pub tasks: Vec<HostTask>,
    /// Tasks beyond the first [`TASKS_SHOWN_MAX`].
    #[serde(default)]
    pub tasks_left_out: u64,
    /// Modules that it fetches and compiles, with tasks that wait for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loading: Vec<HostLoading>,
    /// What it has done since it began, by queue.
    pub done: BTreeMap<Queue, Done>,
    /// What it can do.
    pub capacity: Capacity,
}

/// A task that a host has in hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostTask {
    /// Its id, or that of a step's attempt.
    pub id: String,
    /// What is called.
    pub task: TaskRef,
    /// Whose it is.
    pub tenant: Tenant,
    /// The queue that it came from.
    pub queue: Queue,
    /// From 1.
    pub attempt: u32,
    /// When the host began with it.
    pub since: Timestamp,
    /// Whether its guest runs.
    pub running: bool,
    /// Bytes of linear memory that its guest holds.
    pub memory_bytes: u64,
}

/// A module that a host fetches and compiles, which it does once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostLoading {
    /// The module.
    pub module: ModuleName,
    /// Its version.
    pub version: Version,
    /// Bytes of its Wasm.
    pub size: u64,
    /// When the first task came that waits for it.
    pub since: Timestamp,
    /// Tasks that wait for it.
    pub tasks: u64,
}

/// What became of the attempts of a queue on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// Attempts that ended.
    pub attempts: u64,
    /// Those that failed, cancelled ones among them.
    pub failed: u64,
    /// Time in the sandbox, all together.
    pub busy_us: u64,
    /// Units of fuel.
    pub fuel: u64,
    /// The last failure, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last_failure: String,
}

/// What a host can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capacity {
    /// Slots that are free now.
    pub slots_free: u64,
    /// Cores that the process may use.
    pub cores: u64,
    /// The most memory of one task, in bytes.
    pub task_memory_bytes_max: u64,
    /// The longest attempt, in milliseconds.
    pub attempt_timeout_ms_max: u64,
    /// Modules that are loaded.
    pub hot_modules: u64,
    /// Bytes of their machine code.
    pub hot_bytes: u64,
}

/// The word `drain`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// How long running tasks may go on, in milliseconds; the host's own choice where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl HostRecord {
    /// Reads a heartbeat.
    ///
    /// # Errors
    /// Anything that is not a record of a version that this code knows.
    pub fn decode(body: &Bytes) -> Result<Self, Rejection> {
        versioned::read("record of a host", VERSION, body)
    }
}

/// What a host says of itself when it changes, on `lvg.<t>.ev.host.<id>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNews {
    /// When, by its clock.
    pub at: Timestamp,
    /// What.
    pub what: NewsKind,
    /// Its machine.
    pub name: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// What changed of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewsKind {
    /// It takes tasks from now on.
    Joined,
    /// It takes no more.
    Draining,
    /// It is gone, and nothing of it runs any more.
    Left,
}

impl NewsKind {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Joined => "joined",
            Self::Draining => "draining",
            Self::Left => "left",
        }
    }
}

impl HostNews {
    /// `lvg.<t>.ev.host.<id>`
    #[must_use]
    pub fn subject(tenant: &Tenant, id: &HostId) -> String {
        format!("lvg.{tenant}.ev.host.{id}")
    }
}

/// A form as JSON.
#[must_use]
pub fn encode(form: &impl Serialize) -> Bytes {
    serde_json::to_vec(form).unwrap_or_default().into()
}

/// Reads a form that has no version of its own; an empty body is an empty form.
///
/// # Errors
/// What is not of the form.
pub fn decode<T: DeserializeOwned>(body: &Bytes) -> Result<T, Rejection> {
    let body: &[u8] = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Rejection::new("word to a host", error))
}

/// `lvg.ctl.host.*`: the heartbeats of all hosts.
pub const HEARTBEATS: &str = "lvg.ctl.host.*";

/// `lvg.ctl.host.<id>`: the heartbeat of a host.
#[must_use]
pub fn heartbeat(id: &HostId) -> String {
    format!("lvg.ctl.host.{id}")
}

/// `lvg.ctl.tell.<id>.*`: all words to one host.
#[must_use]
pub fn words(id: &HostId) -> String {
    format!("lvg.ctl.tell.{id}.*")
}

/// `lvg.ctl.tell.<id>.<word>`: a word to one host, which answers.
#[must_use]
pub fn tell(id: &HostId, word: Word) -> String {
    format!("lvg.ctl.tell.{id}.{}", word.as_str())
}

/// A word to one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Say what you do: answered by a [`HostDetail`].
    Inspect,
    /// Take no more, finish, hand back what runs past the deadline, and leave: a [`Drain`], answered by a [`HostRecord`].
    Drain,
}

impl Word {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Inspect => "inspect",
            Self::Drain => "drain",
        }
    }

    /// Reads the subject of a word to a host.
    #[must_use]
    pub fn read(subject: &str) -> Option<Self> {
        let (_, word) = subject.strip_prefix("lvg.ctl.tell.")?.split_once('.')?;
        [Self::Inspect, Self::Drain].into_iter().find(|known| known.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> HostRecord {
        HostRecord {
            v: VERSION,
            id: "h1".parse().unwrap(),
            tenant: Tenant::default_tenant(),
            name: "box".to_owned(),
            labels: BTreeMap::from([("gpu".to_owned(), "no".to_owned())]),
            queues: BTreeMap::from([(Queue::default_queue(), 1)]),
            state: HostState::Serving,
            slots: 8,
            running: 2,
            reserved: 1,
            version: "0.1.0".to_owned(),
            started: Timestamp::from_millis(7),
            memory_bytes: 9,
        }
    }

    #[test]
    fn a_heartbeat_has_a_golden_form() {
        let text = r#"{"v":1,"id":"h1","tenant":"default","name":"box","labels":{"gpu":"no"},"queues":{"default":1},"state":"serving","slots":8,"running":2,"reserved":1,"version":"0.1.0","started":7,"memory_bytes":9}"#;
        assert_eq!(encode(&record()), text);
        assert_eq!(HostRecord::decode(&Bytes::from_static(text.as_bytes())), Ok(record()));
        let newer = Bytes::from(text.replace("\"v\":1", "\"v\":2"));
        assert!(HostRecord::decode(&newer).unwrap_err().to_string().contains("update it"));
        assert!(HostRecord::decode(&Bytes::new()).is_err());
    }

    #[test]
    fn words_to_one_host_read_back() {
        let id: HostId = "h1".parse().unwrap();
        for word in [Word::Inspect, Word::Drain] {
            assert_eq!(Word::read(&tell(&id, word)), Some(word));
        }
        for bad in ["lvg.ctl.tell.h1", "lvg.ctl.tell.h1.burn", "lvg.ctl.tell.h1.drain.x", "lvg.ctl.host.h1"] {
            assert_eq!(Word::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_drain_without_a_body_leaves_the_deadline_to_the_host() {
        assert_eq!(decode::<Drain>(&Bytes::new()), Ok(Drain::default()));
        assert_eq!(decode(&Bytes::from_static(b"{\"deadline_ms\":5}")), Ok(Drain { deadline_ms: Some(5) }));
        assert!(decode::<Drain>(&Bytes::from_static(b"{\"deadline_ms\":-5}")).is_err());
        assert!(decode::<Drain>(&Bytes::from_static(b"soon")).is_err());
    }
}
