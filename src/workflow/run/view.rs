//! What people are shown of a run: what became of each step, and what each one waits for.

use crate::model::{Datum, Failure, RunId, SignalName, StepId, Timestamp};
use crate::workflow::flow::TaskOptions;
use crate::workflow::journal::Question;
use crate::workflow::plan::{PlanKind, PlanNode};

use super::frame::{Frame, Key, Owner, TaskPhase, Work};
use super::{Run, RunState, Stage};

/// Something that became of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The step.
    pub step: StepId,
    /// Its name, or its task, or its kind.
    pub label: String,
    /// What it is, as its document says: `task`, `chain` and so on.
    pub kind: &'static str,
    /// What became of it.
    pub state: StepState,
    /// The attempt, of a task.
    pub attempt: Option<u32>,
    /// When.
    pub time: Timestamp,
    /// What it waits for, where it has begun and not ended when its record is folded.
    pub waits: Option<Waiting>,
}

/// What a step is at.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// It waits for its `delay`.
    Scheduled,
    /// An attempt is queued, or runs.
    Queued,
    /// It began.
    Running,
    /// An attempt failed, and the next one is due then.
    Retrying {
        /// When.
        due: Timestamp,
        /// What the attempt failed with.
        failure: Failure,
    },
    /// It failed, and its handler runs.
    Catching(Failure),
    /// It handed back a flow, which takes its place.
    Replaced,
    /// It had succeeded before the run was retried.
    Recalled,
    /// It ended with this output.
    Succeeded(Datum),
    /// It failed.
    Failed(Failure),
    /// It was cancelled.
    Cancelled,
}

impl StepState {
    pub(super) fn of(result: &Result<Datum, Failure>) -> Self {
        match result {
            Ok(output) => Self::Succeeded(output.clone()),
            Err(failure) => Self::Failed(failure.clone()),
        }
    }

    /// Whether nothing follows it.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded(_) | Self::Failed(_) | Self::Cancelled)
    }
}

/// What a step that has not ended waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Waiting {
    /// A time: of a delay, a back-off, a sleep or the next iteration of a poll.
    Until(Timestamp),
    /// A host that takes it up, or the one that runs it.
    Host {
        /// The attempt.
        attempt: u32,
    },
    /// The run is paused.
    Paused,
    /// A signal.
    Signal(SignalName),
    /// A child run.
    Run(RunId),
    /// The coordinator: a decision, a value, the version of a module.
    Coordinator(&'static str),
    /// So many of its members.
    Members {
        /// How many there are.
        of: usize,
        /// How many have ended.
        ended: usize,
        /// How many are under way.
        in_flight: usize,
    },
    /// The step below it.
    Below,
    /// The outcome of an attempt that was cancelled, in order to undo it.
    Outcome {
        /// The attempt.
        attempt: u32,
    },
}

/// A step that never began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The step.
    pub step: StepId,
    /// Its name, or its task, or its kind.
    pub label: String,
    /// What it is.
    pub kind: &'static str,
}

impl Run {
    /// The changes since the last time, where [`Self::watch`] asked for them.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut changes = self.changes.as_mut().map(std::mem::take).unwrap_or_default();
        for change in changes.iter_mut().filter(|change| change.state == StepState::Running) {
            let frame = self.by_step.get(&change.step).and_then(|key| self.frames.get(key));
            change.waits = frame.map(|frame| self.waits_for(frame));
        }
        changes
    }

    /// The state of the run.
    #[must_use]
    pub fn state(&self) -> RunState {
        use crate::workflow::journal::Ending;
        match (self.stage, &self.finish.ending) {
            (Stage::Succeeded, _) => RunState::Succeeded,
            (Stage::Ended, Some(Ending::Cancelled)) => RunState::Cancelled,
            (Stage::Ended, _) => RunState::Failed,
            _ if self.paused => RunState::Paused,
            (Stage::Finishing | Stage::Finished, Some(Ending::Failed(_) | Ending::Cancelled)) => RunState::Compensating,
            (Stage::Fresh | Stage::Running | Stage::Finishing | Stage::Finished, _) => RunState::Running,
        }
    }

    /// How the run ended, or is about to.
    #[must_use]
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub fn end(&self) -> Option<crate::workflow::journal::End> {
        match self.end_effect()? {
            super::Effect::End { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Every step that has begun and has not ended, with what it waits for, in the order of their beginnings.
    #[must_use]
    pub fn waiting(&self) -> Vec<(StepId, String, Waiting)> {
        self.frames.values().map(|frame| (frame.id.clone(), label(frame), self.waits_for(frame))).collect()
    }

    /// The attempts that are queued or run, with the options of their tasks.
    pub fn out(&self) -> impl Iterator<Item = (&StepId, u32, &TaskOptions)> {
        self.frames.values().filter_map(|frame| match (&frame.work, &frame.plan.node(frame.node)?.kind) {
            (Work::Task(work), PlanKind::Task(task)) if work.phase == TaskPhase::Out => {
                Some((&frame.id, work.attempt, &task.options))
            }
            _ => None,
        })
    }

    fn waits_for(&self, frame: &Frame) -> Waiting {
        match &frame.work {
            Work::Task(work) => match work.phase {
                TaskPhase::Delayed { due } | TaskPhase::Backoff { due } => Waiting::Until(due),
                TaskPhase::Held => Waiting::Paused,
                TaskPhase::Out => Waiting::Host { attempt: work.attempt },
            },
            Work::New => Waiting::Coordinator("its beginning"),
            Work::Deciding { question, .. } => Waiting::Coordinator(match question {
                Question::Input => "its input",
                Question::Branch => "the choice of a branch",
                Question::Items => "the items",
                Question::Again(_) => "the condition of the next iteration",
                Question::Enough(_) => "the condition that ends the poll",
                Question::Duration => "the duration",
                Question::Value => "the value",
                Question::Pins => "the versions of what it calls",
            }),
            Work::Opening { .. } => Waiting::Coordinator("the array that it maps over"),
            Work::Pinning { .. } => Waiting::Coordinator("the versions of what it calls"),
            Work::Join(join) => Waiting::Members { of: join.count(), ended: join.ended(), in_flight: join.in_flight },
            Work::Pausing { due, .. } | Work::Sleep { due } => Waiting::Until(*due),
            Work::Wait => match frame.plan.node(frame.node) {
                Some(PlanNode { kind: PlanKind::Wait(signal), .. }) => Waiting::Signal(signal.clone()),
                _ => Waiting::Below,
            },
            Work::Run { run } => Waiting::Run(run.clone()),
            Work::Draining { attempt, .. } => Waiting::Outcome { attempt: *attempt },
            Work::Child | Work::Chain { .. } | Work::Loop { .. } | Work::Poll { .. } | Work::Catching => Waiting::Below,
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn changed(&mut self, key: Key, state: StepState) {
        let Some(changes) = &mut self.changes else { return };
        let Some(frame) = self.frames.get(&key) else { return };
        let attempt = match &frame.work {
            Work::Task(work) => Some(work.attempt),
            _ => None,
        };
        changes.push(Change {
            step: frame.id.clone(),
            label: label(frame),
            kind: frame.plan.node(frame.node).map_or("", kind),
            state,
            attempt,
            time: self.time,
            waits: None,
        });
    }

    /// The steps that never began, where `begun` says which did: children of what began, as far as the document says what they
    /// are. Of a run that is over they never will: they were skipped.
    #[must_use]
    pub fn skipped(&self, begun: &dyn Fn(&StepId) -> bool) -> Vec<Skipped> {
        let (mut skipped, mut looked_at) = (Vec::new(), vec![(StepId::root(), 0)]);
        while let Some((step, index)) = looked_at.pop() {
            let Some(node) = self.plan.node(index) else { continue };
            if !begun(&step) {
                skipped.push(Skipped { step: step.clone(), label: node_label(node), kind: kind(node) });
            }
            match &node.kind {
                PlanKind::Chain(nodes) | PlanKind::Group { members: nodes, .. } => {
                    looked_at.extend(nodes.iter().enumerate().map(|(place, node)| (step.child(place), *node)));
                }
                PlanKind::Choose { branches, otherwise } => {
                    let nodes = branches.iter().map(|(_, node)| *node).chain(*otherwise).enumerate();
                    looked_at.extend(nodes.map(|(place, node)| (step.child(place), node)));
                }
                PlanKind::Map { body, .. } | PlanKind::Loop { body, .. } | PlanKind::Poll { body, .. } => {
                    let items = (0..).map(|place| step.item(place)).take_while(|item| begun(item));
                    looked_at.extend(items.map(|item| (item, *body)));
                }
                PlanKind::Task(_)
                | PlanKind::Sleep(_)
                | PlanKind::Wait(_)
                | PlanKind::Value(_)
                | PlanKind::Flow { .. } => {}
            }
        }
        skipped.sort_by(|a, b| a.step.cmp(&b.step));
        skipped
    }

    /// The steps that are observers, compensations or awaited after their cancel: beside the main path.
    #[must_use]
    pub fn beside(&self) -> Vec<StepId> {
        let beside = self.frames.values().filter(|frame| matches!(frame.owner, Owner::Nobody | Owner::Undo));
        beside.map(|frame| frame.id.clone()).collect()
    }
}

fn label(frame: &Frame) -> String {
    frame.plan.node(frame.node).map(node_label).unwrap_or_default()
}

fn node_label(node: &PlanNode) -> String {
    match (&node.name, &node.kind) {
        (Some(name), _) => name.to_string(),
        (None, PlanKind::Task(task)) => task.call.task.to_string(),
        (None, PlanKind::Wait(signal)) => format!("wait {signal}"),
        (None, PlanKind::Flow { name, .. }) => format!("flow {name}"),
        (None, _) => kind(node).to_owned(),
    }
}

fn kind(node: &PlanNode) -> &'static str {
    use crate::workflow::plan::MapForm;
    match &node.kind {
        PlanKind::Task(_) => "task",
        PlanKind::Chain(_) => "chain",
        PlanKind::Group { .. } => "group",
        PlanKind::Map { form: MapForm::Each, .. } => "map",
        PlanKind::Map { form: MapForm::Star, .. } => "starmap",
        PlanKind::Map { form: MapForm::Chunks(_), .. } => "chunks",
        PlanKind::Choose { .. } => "choose",
        PlanKind::Loop { .. } => "loop",
        PlanKind::Poll { .. } => "poll",
        PlanKind::Sleep(_) => "sleep",
        PlanKind::Wait(_) => "wait",
        PlanKind::Value(_) => "value",
        PlanKind::Flow { .. } => "flow",
    }
}
