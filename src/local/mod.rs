//! Whole runs in one process, without a broker: the core itself, its journal in memory, and an executor for the tasks.
//!
//! | this module owns | its caller owns |
//! |---|---|
//! | journals, timers, queues, the clock, the order in which records come | the tasks: an [`Executor`], and what it may call |
//!
//! Reading order: [`Setup`] says what is run, `check` looks at it, `driver` runs it on an `agenda` of what is due, `perform` does
//! what the core asks for.
//!
//! On [`Clock::Real`] a sleep takes its time. On [`Clock::Fast`] nothing waits: when no task is under way, the time of the next
//! timer has come. Sleeps, polls, delays, back-offs and timeouts then pass at once, in the same order as they would.
//!
//! **Invariant:** what follows from a record is decided by the core alone; nothing here knows what a chain is.
//! **Invariant:** nothing is spawned: a run that is dropped stops its tasks.

mod agenda;
mod check;
mod driver;
mod perform;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::lifecycle::Usage;
use crate::model::{Datum, FlowName, Outcome, RunId, SignalName, StepId, TaskRef, Timestamp};
use crate::workflow::Record;
use crate::workflow::flow::{Document, TaskOptions};
use crate::workflow::journal::{End, Parent, Pin, RunLimits};
use crate::workflow::run::{Change, Skipped, Stop, Waiting};

pub use check::{Refusal, check, unawaited};
pub use driver::run;

/// Tasks under way at a time where nobody says: what a small machine runs side by side.
pub const CONCURRENCY_DEFAULT: usize = 8;

/// What runs tasks: the sandbox, or the closures of a test.
#[async_trait]
pub trait Executor: Send + Sync {
    /// The version of the module that a task is called in, or why it cannot be called.
    fn find(&self, task: &TaskRef) -> Result<Pin, String>;

    /// Whether a task may hand back a flow, which may wait for signals that no document tells of.
    fn may_replace(&self, _task: &TaskRef) -> bool {
        true
    }

    /// Runs an attempt. Its output must be JSON; it ends soon after its [`Call::cancel`].
    async fn execute(&self, call: Call) -> Ran;
}

/// An attempt of a step's task.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is called.
    pub task: TaskRef,
    /// With what: JSON.
    pub input: Bytes,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepId,
    /// The same for every attempt.
    pub idempotency_key: String,
    /// Queue, limits and the like.
    pub options: TaskOptions,
    /// The run's time.
    pub now: Timestamp,
    /// Somebody does not want it any more.
    pub cancel: CancellationToken,
}

/// What an attempt ended with.
#[derive(Clone, Debug)]
pub struct Ran {
    /// Its outcome.
    pub outcome: Outcome,
    /// What it took.
    pub usage: Usage,
    /// How long it takes on the fast clock, which passes no time by itself.
    pub takes: Duration,
}

impl From<Outcome> for Ran {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, usage: Usage::default(), takes: Duration::ZERO }
    }
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// As on the wall.
    Real,
    /// From one timer to the next, whenever no task is under way.
    Fast,
}

/// A run that is to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its id.
    pub run: RunId,
    /// Its flow.
    pub document: Document,
    /// What the root receives; `None` is a run without input.
    pub input: Option<Datum>,
    /// The stored flows that it, and they, may start as child runs.
    pub flows: BTreeMap<FlowName, Document>,
    /// Words to it and its child runs, each after so long.
    pub words: Vec<(Duration, Word)>,
    /// How time passes.
    pub clock: Clock,
    /// When it begins.
    pub begins: Timestamp,
    /// Tasks under way at a time.
    pub concurrency: usize,
    /// Its bounds.
    pub limits: RunLimits,
}

impl Setup {
    /// A run of a flow without input, on the fast clock, that begins at `begins`.
    #[must_use]
    pub fn new(document: Document, begins: Timestamp) -> Self {
        Self {
            run: RunId::derived(&["local", &begins.as_millis().to_string()]),
            document,
            input: None,
            flows: BTreeMap::new(),
            words: Vec::new(),
            clock: Clock::Fast,
            begins,
            concurrency: CONCURRENCY_DEFAULT,
            limits: RunLimits::default(),
        }
    }
}

/// Something that somebody tells a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// A signal: every run of the setup gets it that waits for one of this name, child runs too, now or later.
    Signal(SignalName, Datum),
    /// It is to be cancelled.
    Cancel,
}

/// Words to a run while it goes on.
pub type Words = mpsc::Receiver<Word>;

/// What is told of steps while a run goes on.
pub type View<'a> = dyn FnMut(&RunId, &Change) + Send + 'a;

/// A run that has ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// How.
    pub end: End,
    /// Which of the runs it is.
    pub run: RunId,
    /// The run and the child runs below it.
    pub runs: BTreeMap<RunId, History>,
    /// How long it took, by its clock.
    pub took: Duration,
}

/// What happened to one run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The step that it is, of a child run.
    pub parent: Option<Parent>,
    /// Its records.
    pub journal: Vec<Record>,
    /// What became of each step, in this order.
    pub changes: Vec<Change>,
    /// Steps that never began.
    pub skipped: Vec<Skipped>,
}

/// A step that has not ended, and what it waits for.
pub type Pending = (RunId, StepId, String, Waiting);

/// Why a run has no end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It may not begin; nothing was run.
    #[error("{}", listed(.0))]
    Refused(Vec<Refusal>),
    /// On the fast clock nothing will happen any more.
    #[error("the run never ends: {}", Stuck(.0))]
    Stuck(Vec<Pending>),
    /// The core cannot go on.
    #[error("the run cannot go on: {0}")]
    Stopped(#[from] Stop),
}

fn listed(refusals: &[Refusal]) -> String {
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// What steps wait for, as people read it.
struct Stuck<'a>(&'a [Pending]);

impl fmt::Display for Stuck<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.0.iter().filter_map(|(_, step, label, waiting)| match waiting {
            Waiting::Signal(name) => Some(format!("step {step} waits for the signal {name}, which nobody sends")),
            Waiting::Paused => Some(format!("step {step} ({label}) is paused")),
            Waiting::Members { .. } | Waiting::Below | Waiting::Run(_) => None,
            Waiting::Until(_) | Waiting::Host { .. } | Waiting::Coordinator(_) | Waiting::Outcome { .. } => {
                Some(format!("step {step} ({label}) waits for {waiting:?}"))
            }
        });
        let reasons: Vec<String> = reasons.collect();
        if reasons.is_empty() { f.write_str("nothing is under way") } else { f.write_str(&reasons.join("; ")) }
    }
}
