//! What happened to a run: the records of its journal as the core reads them.
//!
//! **Invariant:** a record is written once, under a subject of its own, and never changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::timer::TimerId;
use crate::model::{Datum, Digest, Failure, FlowName, ModuleName, RunId, SignalName, StepId, Timestamp, Version};

/// The version of the core: raised when the same journal would lead to other effects.
pub const CORE_VERSION: u32 = 1;

/// An event with its place in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Its place in the stream.
    pub sequence: u64,
    /// When the broker stored it.
    pub time: Timestamp,
    /// Bytes that it takes in the journal.
    pub bytes: u64,
    /// What happened.
    pub event: Event,
}

/// Something that happened to a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The run was started; by a client, or by the coordinator of its parent.
    Start(Arc<Start>),
    /// An attempt of a step ended; by the host that ran it.
    Outcome {
        /// The step.
        step: StepId,
        /// The number of the attempt.
        attempt: u32,
        /// What it ended with.
        outcome: Outcome,
    },
    /// A timer is due; by the broker.
    Timer(TimerId),
    /// What an expression of a step decided; by the coordinator, before it is acted on.
    Decided {
        /// The step.
        step: StepId,
        /// What was asked.
        question: Question,
        /// The answer, which stands whatever a later version would say.
        decision: Decision,
        /// The run's retries before it.
        generation: u32,
    },
    /// A child run ended; by the child's coordinator.
    Child {
        /// The step that is the child.
        step: StepId,
        /// Which try of that step: 0, then the number of the run's retries before it.
        generation: u32,
        /// Its output or failure.
        end: Result<Datum, Failure>,
    },
    /// Someone sent a signal; by a client.
    Signal {
        /// What it is called.
        name: SignalName,
        /// What it carries.
        payload: Datum,
    },
    /// Someone cancelled the run; by a client, or by the coordinator of its parent.
    Cancel {
        /// The run's retries before it.
        generation: u32,
    },
    /// Someone paused the run; by a client. Its number is that of the pauses before it.
    Pause,
    /// Someone resumed the run; by a client.
    Resume,
    /// Someone retries the ended run from its failed steps; by a client.
    Retry,
    /// The run ended; by the coordinator.
    End {
        /// The run's retries before it.
        generation: u32,
        /// How.
        end: End,
    },
}

/// What an attempt of a step ended with.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It returned this.
    Succeeded(Datum),
    /// It failed.
    Failed(Failure),
    /// It handed back a flow that takes its place: a document, whole.
    Replaced(Datum),
}

/// The version of a module or flow that a run uses whatever is uploaded later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// The version.
    pub version: Version,
    /// The digest of its bytes.
    pub digest: Digest,
}

/// A stored flow that a run may start as a child.
#[derive(Clone, Debug, PartialEq)]
pub struct PinnedFlow {
    /// Its version and digest.
    pub pin: Pin,
    /// Its document, whole.
    pub document: Datum,
}

/// What a run may call: modules by `name` or `name@version` as the document names them, flows likewise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pins {
    /// Modules.
    pub modules: BTreeMap<String, Pin>,
    /// Stored flows.
    pub flows: BTreeMap<String, PinnedFlow>,
}

impl Pins {
    /// How a document names a module or flow.
    #[must_use]
    pub fn key(name: &str, version: Option<&Version>) -> String {
        version.map_or_else(|| name.to_owned(), |version| format!("{name}@{version}"))
    }

    /// The pin of a module.
    #[must_use]
    pub fn module(&self, name: &ModuleName, version: Option<&Version>) -> Option<&Pin> {
        self.modules.get(&Self::key(name.as_str(), version))
    }

    /// A stored flow.
    #[must_use]
    pub fn flow(&self, name: &FlowName, version: Option<&Version>) -> Option<&PinnedFlow> {
        self.flows.get(&Self::key(name.as_str(), version))
    }
}

/// Everything that a run is from its beginning, frozen.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// The version of the core that the run was started for.
    pub core_version: u32,
    /// The run.
    pub run: RunId,
    /// The name of its flow, for people and searches.
    pub flow: Option<FlowName>,
    /// The version and digest of the stored flow, where it is one.
    pub pin: Option<Pin>,
    /// The document, whole.
    pub document: Datum,
    /// What the root receives; `None` where the run was started without input.
    pub input: Option<Datum>,
    /// What it may call.
    pub pins: Pins,
    /// For people and searches.
    pub labels: BTreeMap<String, String>,
    /// The run and step that it is a child of.
    pub parent: Option<Parent>,
    /// Its bounds.
    pub limits: RunLimits,
}

/// The step that a run is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The parent.
    pub run: RunId,
    /// The step in it.
    pub step: StepId,
    /// The parent's retries before it.
    pub generation: u32,
    /// Parents above the parent.
    pub depth: u32,
}

/// Bounds of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunLimits {
    /// Levels of nesting, replacements and child runs included.
    pub depth_max: u32,
    /// Steps that are started.
    pub steps_max: u64,
    /// Signals that are taken.
    pub signals_max: u64,
    /// Bytes of all records.
    pub journal_bytes_max: u64,
    /// Bytes of a template's result.
    pub template_bytes_max: u64,
}

impl Default for RunLimits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            steps_max: 1_000_000,
            signals_max: 10_000,
            journal_bytes_max: 256 << 20,
            template_bytes_max: 16 << 20,
        }
    }
}

/// What is asked of an expression of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// What the node receives in place of the value before it.
    Input,
    /// Which branch is taken.
    Branch,
    /// Over which items it runs.
    Items,
    /// Whether iteration so-and-so (from 0) of a loop is run.
    Again(u32),
    /// Whether output so-and-so (from 0) ends a poll.
    Enough(u32),
    /// How long it sleeps.
    Duration,
    /// The value.
    Value,
    /// Which modules and flows a replacement calls.
    Pins,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// A value: an input, items, a value.
    Value(Datum),
    /// Yes or no.
    Holds(bool),
    /// The branch by its number; `None` where there is none to take.
    Branch(Option<usize>),
    /// A duration in milliseconds.
    Millis(u64),
    /// Modules and flows.
    Pins(Box<Pins>),
    /// It could not be decided.
    Failed(Failure),
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// How.
    pub result: Ending,
    /// What compensations failed with.
    pub compensation_failures: Vec<Failure>,
}

/// The three ways to end.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// With this output.
    Succeeded(Datum),
    /// With this failure, which names the step that failed first.
    Failed(Failure),
    /// Someone cancelled it.
    Cancelled,
}
