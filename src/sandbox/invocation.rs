//! What goes into one invocation and what comes out of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::resources::Reach;
use crate::model::module::Manifest;
use crate::model::{Level, Limits, Outcome, TaskName, Tenant, Timestamp};

/// One call into a fresh instance of a module.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// What the guest may know of the task it runs.
    pub attempt: Attempt,
    /// The task's input as it was submitted.
    pub input: Bytes,
    /// What it may take; its deadline counts from the call into the guest.
    pub limits: Limits,
    /// What the upload added to the module.
    pub manifest: Arc<Manifest>,
    /// What it may reach beyond its input.
    pub reach: Reach,
    /// The time at hand-over. The guest's clock and the times of its notes go on from here: the sandbox reads no wall clock.
    pub now: Timestamp,
    /// Where log lines and progress go. It is never waited for: what does not fit is dropped and counted.
    pub notes: mpsc::Sender<Note>,
    /// Stops the guest.
    pub cancel: Cancel,
}

/// What is being run: the same words as `attempt-info` of the guest's contract.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The id of the submitted call; `<run>/<step>` for a step.
    pub task_id: String,
    /// The task within its module.
    pub task: TaskName,
    /// Whose it is.
    pub tenant: Tenant,
    /// From 1.
    pub attempt: u32,
    /// The same for every attempt and delivery of this task.
    pub idempotency_key: String,
    /// The run that this is a step of.
    pub run_id: Option<String>,
    /// The step of that run.
    pub step: Option<String>,
    /// Labels of the task.
    pub labels: Vec<(String, String)>,
}

impl Attempt {
    /// What a module may know while it describes itself: nothing of any tenant.
    pub(super) fn describing() -> Self {
        Self {
            task_id: "describe".to_owned(),
            task: TaskName::run(),
            tenant: Tenant::default_tenant(),
            attempt: 1,
            idempotency_key: String::new(),
            run_id: None,
            step: None,
            labels: Vec::new(),
        }
    }
}

/// Something that a guest said while it ran.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// A log line.
    Log {
        /// How grave it is.
        level: Level,
        /// The line, without its end.
        message: String,
        /// When it was written.
        at: Timestamp,
    },
    /// How far the task is.
    Progress {
        /// What is done, in the task's own unit.
        done: f64,
        /// What there is to do in all.
        total: Option<f64>,
        /// A word for people.
        note: Option<String>,
    },
}

/// A handle that stops an invocation, and says how far it is. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    token: CancellationToken,
    seen: Arc<Seen>,
}

/// What is seen of an invocation while it goes on.
#[derive(Debug, Default)]
struct Seen {
    /// The guest asks whether it is cancelled.
    watched: AtomicBool,
    /// It has left the wait for a slot.
    begun: AtomicBool,
    /// Bytes of linear memory that it holds.
    memory_bytes: AtomicU64,
}

impl Cancel {
    /// Stops the guest: at once, or within the grace if it has asked whether it is cancelled.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Whether someone has cancelled.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Returns when someone has cancelled.
    pub async fn cancelled(&self) {
        self.token.cancelled().await;
    }

    /// Whether the guest runs, or has run: until then it waits for its module, its input or a slot.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.seen.begun.load(Ordering::Relaxed)
    }

    /// Bytes of linear memory that the guest holds now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.seen.memory_bytes.load(Ordering::Relaxed)
    }

    /// The guest asks: from now on it is given time to end by itself.
    pub(super) fn ask(&self) -> bool {
        self.seen.watched.store(true, Ordering::Relaxed);
        self.is_cancelled()
    }

    pub(super) fn is_watched(&self) -> bool {
        self.seen.watched.load(Ordering::Relaxed)
    }

    pub(super) fn begin(&self) {
        self.seen.begun.store(true, Ordering::Relaxed);
    }

    pub(super) fn hold(&self, memory_bytes: u64) {
        self.seen.memory_bytes.store(memory_bytes, Ordering::Relaxed);
    }

    pub(super) const fn token(&self) -> &CancellationToken {
        &self.token
    }
}

/// What one invocation ended with and what it took.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The task's outcome.
    pub outcome: Outcome,
    /// Units of fuel. Exact for a normal end and for `out_of_fuel`; else rounded up by at most 100,000 units, since
    /// the engine loses what a guest used since it last gave way. None at all where the module is metered by its deadline.
    pub fuel_used: u64,
    /// The most bytes of linear memory that it held.
    pub memory_peak_bytes: u64,
    /// From the making of the instance until it is gone; waiting for a slot does not count.
    pub duration: Duration,
    /// How much of it the invocation had its thread: the rest it waited, for the host or for its turn.
    pub busy: Duration,
    /// Notes that nobody took in time.
    pub notes_dropped: u64,
}
