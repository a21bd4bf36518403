//! What is to be done because of what happened. Every effect may be repeated: its identity is in it.

use crate::model::datum::Elsewhere;
use crate::model::{Datum, Digest, FlowName, RunId, StepId, TaskRef, Timestamp, Version};

use super::flow::TaskOptions;
use super::journal::{Decision, End, Parent, PinnedFlow, Question};
use super::timer::TimerId;

/// Something that the driver does.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Queue an attempt of a task. Identity: run, step and attempt.
    Dispatch(Box<Dispatch>),
    /// Store a schedule whose target is the timer's record. A timer that is there already is replaced.
    StartTimer {
        /// Which.
        timer: TimerId,
        /// When it is due; in the past is at once.
        due: Timestamp,
    },
    /// Remove a timer's schedule. What fires nevertheless changes nothing.
    StopTimer(TimerId),
    /// Remove a step's attempt from its queue, and interrupt it where it runs. Its outcome changes nothing any more.
    Interrupt {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
    },
    /// The time in which an attempt could be taken up is over: if no host runs it, remove it from its queue and commit its
    /// outcome as failed with `expired`.
    Expire {
        /// The step.
        step: StepId,
        /// The attempt.
        attempt: u32,
    },
    /// Write down what was decided.
    Decide {
        /// The step.
        step: StepId,
        /// What was asked.
        question: Question,
        /// The answer.
        decision: Decision,
        /// The run's retries before it.
        generation: u32,
    },
    /// Find the versions of what a replacement calls, and write them down as the decision on [`Question::Pins`].
    Pin {
        /// The replaced step.
        step: StepId,
        /// The tasks.
        tasks: Vec<TaskRef>,
        /// The stored flows.
        flows: Vec<(FlowName, Option<Version>)>,
        /// The run's retries before it.
        generation: u32,
    },
    /// Load what stands elsewhere and [provide](super::Run::provide) it.
    Load(Elsewhere),
    /// Write the start record of a child run. Identity: its run id, which is derived.
    StartChild(Box<StartChild>),
    /// Write the cancel record of a child run.
    CancelChild {
        /// The child.
        run: RunId,
    },
    /// Write the end record.
    End {
        /// The run's retries before it.
        generation: u32,
        /// How it ended.
        end: End,
    },
    /// The end is written: tell the parent, update the index, remove what is left of timers and queued tasks.
    Close {
        /// Whose step the run is.
        parent: Option<Parent>,
        /// How it ended.
        end: End,
    },
}

/// An attempt of a task.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatch {
    /// The step.
    pub step: StepId,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// What to call, with the version that the run pinned.
    pub task: TaskRef,
    /// The digest that the run pinned.
    pub digest: Option<Digest>,
    /// What to call it with.
    pub input: Datum,
    /// Queue, limits and the like.
    pub options: TaskOptions,
    /// A delivery after it does not run.
    pub expires: Option<Timestamp>,
    /// The same for every attempt; `<run>/<step>` where there is none.
    pub idempotency_key: Option<String>,
    /// The key of the limit that its task declares, in place of the declared one.
    pub limit_key: Option<String>,
    /// A compensation: immune to the run's cancel.
    pub shielded: bool,
    /// The run's retries before it.
    pub generation: u32,
}

/// A child run.
#[derive(Clone, Debug, PartialEq)]
pub struct StartChild {
    /// Its id, derived from the parent's, the step's and the generation.
    pub run: RunId,
    /// Whose step it is.
    pub parent: Parent,
    /// Its flow.
    pub flow: FlowName,
    /// The document and its pin.
    pub document: PinnedFlow,
    /// What it receives.
    pub input: Option<Datum>,
}
