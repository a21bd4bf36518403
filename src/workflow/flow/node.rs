//! The nodes of a flow as they were written and checked.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::limits::FuelWish;
use crate::model::{FlowName, Policy, Queue, SignalName, StepName, TaskRef, Version};
use crate::workflow::expression::{Expression, Template};

/// A flow with its name and the schema of its input.
#[derive(Clone, Debug)]
pub struct Document {
    /// What it calls itself.
    pub name: Option<FlowName>,
    /// A JSON Schema, checked when a run starts.
    pub input: Option<serde_json::Value>,
    /// The root.
    pub flow: Node,
}

/// A node: its kind and what every kind may have.
#[derive(Clone, Debug)]
pub struct Node {
    /// Where it stands in the document: a JSON pointer.
    pub place: String,
    /// What it does.
    pub kind: Kind,
    /// Its name within its scope.
    pub name: Option<StepName>,
    /// Takes the place of the received value.
    pub input: Option<Template>,
    /// What a failing member means; group, map, starmap, chunks.
    pub on_error: Option<OnError>,
    /// How many members must succeed; group, map.
    pub need: Option<u32>,
    /// Members in flight at most; map, starmap, chunks.
    pub concurrency: Option<u32>,
    /// Runs when the node fails, in its place.
    pub catch: Option<Box<Self>>,
    /// Undoes the node when the run fails later.
    pub compensate: Option<Box<Self>>,
    /// Is told of the node's success.
    pub on_success: Option<Box<Self>>,
    /// Is told of the node's failure.
    pub on_failure: Option<Box<Self>>,
    /// The wall-clock bound of the node. Of a `wait` and a `poll` too.
    pub timeout: Option<Duration>,
    /// Options of the task, or of every task inside.
    pub options: TaskOptions,
}

/// What a node does.
#[derive(Clone, Debug)]
pub enum Kind {
    /// Calls a task.
    Task(Box<TaskCall>),
    /// One after the other.
    Chain(Vec<Node>),
    /// All at once.
    Group(Vec<Node>),
    /// All at once, then the body.
    Chord {
        /// The members.
        header: Vec<Node>,
        /// What receives their outputs.
        body: Box<Node>,
    },
    /// Once for each item.
    Map {
        /// What is run for each.
        body: Box<Node>,
        /// The items; the received value where it is absent.
        over: Option<Template>,
    },
    /// Once for each item, an array of positional arguments.
    Starmap {
        /// What is run for each.
        body: Box<Node>,
        /// The items; the received value where it is absent.
        over: Option<Template>,
    },
    /// Once for each so many items.
    Chunks {
        /// What is run for each chunk.
        body: Box<Node>,
        /// Items of a chunk.
        size: u32,
        /// The items; the received value where it is absent.
        over: Option<Template>,
    },
    /// The first branch that holds.
    Choose {
        /// The branches in order.
        branches: Vec<Branch>,
        /// Where none holds.
        otherwise: Option<Box<Node>>,
    },
    /// While it holds.
    Loop {
        /// What is run each time.
        body: Box<Node>,
        /// Asked before each iteration.
        condition: Expression,
        /// Iterations at most.
        max: u32,
    },
    /// Again and again until it holds.
    Poll {
        /// What is run each time.
        body: Box<Node>,
        /// The wait between two.
        every: Duration,
        /// Asked of each output.
        until: Expression,
    },
    /// Waits for a time.
    Sleep(SleepFor),
    /// Waits for a signal.
    Wait(SignalName),
    /// A value that the coordinator computes.
    Value(Template),
    /// A child run of a stored flow.
    Flow {
        /// Its name.
        name: FlowName,
        /// Its version; the latest when the run starts.
        version: Option<Version>,
    },
}

/// A branch of a `choose`.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Asked in order.
    pub when: Expression,
    /// Taken where it holds.
    pub then: Node,
}

/// How long a `sleep` is.
#[derive(Clone, Debug)]
pub enum SleepFor {
    /// So long.
    Fixed(Duration),
    /// What the template yields, a duration as people write it.
    Template(Template),
}

/// What a failing member of a group or map means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The first failure fails the node; the others are cancelled.
    #[default]
    Stop,
    /// All end, then the node fails with the first failure in declaration order.
    Finish,
    /// Never fails: a failed member's place holds its failure.
    Collect,
}

/// The call of a task: what only a `task` node may have.
#[derive(Clone, Debug)]
pub struct TaskCall {
    /// What to call.
    pub task: TaskRef,
    /// Positional arguments behind the received value.
    pub args: Option<Vec<Template>>,
    /// How long it waits before it is queued.
    pub delay: Option<Duration>,
    /// Calls with the same key share a limit.
    pub limit_key: Option<Template>,
    /// The same for every attempt and delivery.
    pub idempotency_key: Option<Template>,
}

/// Options of a task; on a composite, defaults for every task inside. Nearest wins, field by field; labels are merged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskOptions {
    /// The queue that it waits in.
    pub queue: Option<Queue>,
    /// 0 to 9, 9 first.
    pub priority: Option<u8>,
    /// Its budget of instructions.
    pub fuel: Option<FuelWish>,
    /// Bytes of linear memory.
    pub memory_bytes: Option<u64>,
    /// How long after it was dispatched it may still begin.
    pub expires: Option<Duration>,
    /// For people and searches.
    pub labels: BTreeMap<String, String>,
    /// What a host's labels must match.
    pub requires: BTreeMap<String, String>,
    /// When and how often it is tried again.
    pub retry: Option<Policy>,
    /// The wall-clock bound of one attempt.
    pub attempt_timeout: Option<Duration>,
}
