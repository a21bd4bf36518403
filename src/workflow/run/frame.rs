//! What is under way in a run: one frame for each step that has begun and has not ended.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Datum, Failure, RunId, StepId, Timestamp};
use crate::workflow::journal::Question;
use crate::workflow::plan::{JoinRule, MapForm, NodeIndex, Plan};

use super::scope::ScopeKey;

/// The number of a frame, in the order of their beginnings.
pub(super) type Key = u64;

/// Who is told when a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The run: this is its root.
    Run,
    /// The frame that it is a child of.
    Frame {
        /// Which.
        key: Key,
        /// The child's position, item or iteration.
        place: usize,
    },
    /// Nobody: an observer, or a cancelled step whose outcome is awaited.
    Nobody,
    /// The run, which compensates.
    Undo,
}

/// What a node received.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Received {
    /// `None` where the run was started without input and nothing came before.
    pub(super) value: Option<Datum>,
    /// Whether it is an item of a starmap: an array of positional arguments.
    pub(super) spread: bool,
}

impl Received {
    pub(super) const fn of(value: Datum) -> Self {
        Self { value: Some(value), spread: false }
    }

    pub(super) fn or_null(&self) -> Datum {
        self.value.clone().unwrap_or_else(Datum::null)
    }
}

/// A step under way.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) id: StepId,
    pub(super) plan: Arc<Plan>,
    pub(super) node: NodeIndex,
    pub(super) owner: Owner,
    pub(super) children: BTreeSet<Key>,
    pub(super) received: Received,
    pub(super) scope: ScopeKey,
    /// Levels of nesting above it.
    pub(super) depth: u32,
    /// A compensation: immune to the run's cancel.
    pub(super) shielded: bool,
    /// When the node's `timeout` is over.
    pub(super) timeout: Option<Timestamp>,
    pub(super) work: Work,
}

/// What a frame is at.
#[derive(Clone, Debug)]
pub(super) enum Work {
    /// It has not begun.
    New,
    /// It waits for the record of a decision about this value.
    Deciding { question: Question, about: Datum },
    /// It runs a task.
    Task(Box<TaskWork>),
    /// It runs one child whose end is its own.
    Child,
    /// It runs the child at this position.
    Chain { at: usize },
    /// It waits for the array that it maps over.
    Opening { items: Datum },
    /// It runs members.
    Join(Box<Join>),
    /// It runs an iteration.
    Loop { iteration: u32 },
    /// It runs an iteration of a poll.
    Poll { iteration: u32 },
    /// It waits for the next iteration of a poll.
    Pausing { next: u32, due: Timestamp },
    /// It sleeps.
    Sleep { due: Timestamp },
    /// It waits for a signal.
    Wait,
    /// It runs a child run.
    Run { run: RunId },
    /// A replacement waits for the versions of what it calls.
    Pinning { plan: Arc<Plan> },
    /// It failed, and its handler runs.
    Catching,
    /// It was cancelled, but what it did must be known in order to be undone.
    Draining { attempt: u32, due: Timestamp },
}

/// A task under way.
#[derive(Clone, Debug)]
pub(super) struct TaskWork {
    /// The number of the attempt.
    pub(super) attempt: u32,
    /// Attempts of earlier generations: they do not count for the policy.
    pub(super) before: u32,
    /// What it waits for.
    pub(super) phase: TaskPhase,
    /// What it is called with, once it is known.
    pub(super) input: Option<Datum>,
    /// The idempotency key, once it is known.
    pub(super) idempotency_key: Option<String>,
    /// The limit key, once it is known.
    pub(super) limit_key: Option<String>,
    /// After this it may not begin any more.
    pub(super) expires: Option<Timestamp>,
}

/// What a task waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TaskPhase {
    /// Its `delay`.
    Delayed { due: Timestamp },
    /// The run is paused.
    Held,
    /// Its outcome: it is queued, or runs, or is about to be queued.
    Out,
    /// The time of the next attempt.
    Backoff { due: Timestamp },
}

impl TaskPhase {
    /// Whether a time must come first.
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self, Self::Delayed { .. } | Self::Backoff { .. })
    }
}

/// Members under way.
#[derive(Clone, Debug)]
pub(super) struct Join {
    pub(super) members: Members,
    pub(super) rule: JoinRule,
    /// Members in flight at most.
    pub(super) window: usize,
    /// The next member to begin.
    pub(super) next: usize,
    pub(super) in_flight: usize,
    /// What members ended with, by their position.
    pub(super) outputs: Vec<Option<Datum>>,
    pub(super) failures: BTreeMap<usize, Failure>,
    pub(super) succeeded: usize,
}

/// What the members of a join are.
#[derive(Clone, Debug)]
pub(super) enum Members {
    /// Nodes, each receiving the same.
    Nodes(Vec<NodeIndex>),
    /// One node, receiving one item after the other.
    Items { body: NodeIndex, items: Vec<Datum>, form: MapForm },
}

impl Join {
    pub(super) fn new(members: Members, rule: JoinRule, window: usize) -> Self {
        let count = match &members {
            Members::Nodes(nodes) => nodes.len(),
            Members::Items { items, .. } => items.len(),
        };
        Self {
            members,
            rule,
            window,
            next: 0,
            in_flight: 0,
            outputs: vec![None; count],
            failures: BTreeMap::new(),
            succeeded: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.outputs.len()
    }

    pub(super) fn ended(&self) -> usize {
        self.succeeded.saturating_add(self.failures.len())
    }
}
