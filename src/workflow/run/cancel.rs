//! How steps are cancelled: what they run is interrupted, what must be undone is awaited.

use std::time::Duration;

use crate::model::limits::ATTEMPT_TIMEOUT_DEFAULT;
use crate::model::{Datum, Failure, Kind};
use crate::workflow::journal::Ending;
use crate::workflow::plan::{PlanKind, PlanNode};
use crate::workflow::timer::Purpose;

use super::frame::{Frame, Key, Owner, TaskPhase, TaskWork, Work};
use super::view::StepState;
use super::{Effect, Run, Stage};

/// How long after an attempt's deadline its outcome may still come: the longest lease, and room for a slow host.
const DRAIN_GRACE: Duration = Duration::from_secs(30);

impl Run {
    /// Someone cancelled the run.
    pub(super) fn cancel_run(&mut self) {
        self.paused = false;
        self.cancel_all();
        if self.stage == Stage::Running {
            self.end_root(Ending::Cancelled);
        }
        self.release_held();
    }

    /// The run breaks one of its limits.
    pub(super) fn fail_run(&mut self, message: &str) {
        self.cancel_all();
        self.end_root(Ending::Failed(Failure::new(Kind::Limit, message)));
    }

    fn cancel_all(&mut self) {
        let doomed: Vec<Key> = self
            .frames
            .iter()
            .filter(|(_, frame)| !frame.shielded && !matches!(frame.owner, Owner::Frame { .. }))
            .filter(|(_, frame)| !matches!(frame.work, Work::Draining { .. }))
            .map(|(key, _)| *key)
            .collect();
        for key in doomed {
            self.cancel(key);
        }
    }

    /// Cancels what runs below a frame; the frame itself goes on.
    pub(super) fn cancel_below(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let mut doomed: Vec<Key> = frame.children.iter().copied().collect();
        while let Some(key) = doomed.pop() {
            let Some(frame) = self.frames.get(&key) else { continue };
            doomed.extend(frame.children.iter().copied());
            self.cancel_one(key);
        }
    }

    /// Cancels a frame and all below it.
    fn cancel(&mut self, key: Key) {
        self.cancel_below(key);
        self.cancel_one(key);
    }

    /// Cancels what a frame itself does, and all below it; the frame goes on, to fail.
    pub(super) fn cancel_work(&mut self, key: Key) {
        self.cancel_below(key);
        let Some(frame) = self.frames.get(&key) else { return };
        if let Work::Task(work) = &frame.work
            && work.phase == TaskPhase::Out
            && has_compensation(frame)
        {
            // The node fails now; what its task did becomes known later, in a frame of its own.
            let (attempt, mut draining) = (work.attempt, frame.clone());
            draining.owner = Owner::Nobody;
            draining.timeout = None;
            let due = self.drain_due(frame);
            draining.work = Work::Draining { attempt, due };
            self.scopes.retain(draining.scope);
            let (id, drain_key) = (draining.id.clone(), self.next_key);
            self.next_key = self.next_key.saturating_add(1);
            self.frames.insert(drain_key, draining);
            self.by_step.insert(id, drain_key);
            self.look_at(drain_key);
            return;
        }
        self.stop_work(key);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn cancel_one(&mut self, key: Key) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        if let Some(_due) = frame.timeout.take() {
            let step = frame.id.clone();
            self.emitted.push(Effect::StopTimer(self.timer(&step, Purpose::Timeout)));
        }
        let Some(frame) = self.frames.get(&key) else { return };
        match &frame.work {
            Work::Task(work) if work.phase == TaskPhase::Out && has_compensation(frame) && !frame.shielded => {
                let (attempt, due) = (work.attempt, self.drain_due(frame));
                self.detach(key);
                self.set_work(key, Work::Draining { attempt, due });
                self.look_at(key);
            }
            _ => {
                self.stop_work(key);
                self.changed(key, StepState::Cancelled);
                drop(self.remove(key));
            }
        }
    }

    /// A frame that its owner does not wait for any more.
    fn detach(&mut self, key: Key) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        if let Owner::Frame { key: owner, .. } = std::mem::replace(&mut frame.owner, Owner::Nobody)
            && let Some(owner) = self.frames.get_mut(&owner)
        {
            owner.children.remove(&key);
        }
    }

    fn drain_due(&self, frame: &Frame) -> crate::model::Timestamp {
        let timeout = match frame.plan.node(frame.node) {
            Some(PlanNode { kind: PlanKind::Task(task), .. }) => task.options.attempt_timeout,
            _ => None,
        };
        self.time.after(timeout.unwrap_or(ATTEMPT_TIMEOUT_DEFAULT)).after(DRAIN_GRACE)
    }

    /// Ends what a frame has out in the world.
    fn stop_work(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let step = frame.id.clone();
        let stop = |purpose| Effect::StopTimer(self.timer(&step, purpose));
        let effect = match &frame.work {
            Work::Task(work) => match (&**work, work.phase) {
                (TaskWork { attempt, .. }, TaskPhase::Out) => {
                    Some(Effect::Interrupt { step: step.clone(), attempt: *attempt })
                }
                (TaskWork { attempt, .. }, TaskPhase::Delayed { .. }) => Some(stop(Purpose::Delay(*attempt))),
                (TaskWork { attempt, .. }, TaskPhase::Backoff { .. }) => Some(stop(Purpose::Backoff(*attempt))),
                (_, TaskPhase::Held) => None,
            },
            Work::Sleep { .. } => Some(stop(Purpose::Sleep)),
            Work::Pausing { next, .. } => Some(stop(Purpose::Poll(*next))),
            Work::Run { run } => {
                self.cancelled_children.insert(run.clone());
                Some(Effect::CancelChild { run: run.clone() })
            }
            Work::New
            | Work::Deciding { .. }
            | Work::Child
            | Work::Chain { .. }
            | Work::Opening { .. }
            | Work::Join(_)
            | Work::Loop { .. }
            | Work::Poll { .. }
            | Work::Wait
            | Work::Pinning { .. }
            | Work::Catching
            | Work::Draining { .. } => None,
        };
        self.emitted.extend(effect);
    }

    /// The outcome of a cancelled step that must be undone if it succeeded is known, or not awaited any longer.
    pub(super) fn drained(&mut self, key: Key, output: Option<Datum>) {
        let Some(frame) = self.frames.get(&key) else { return };
        let Some(node) = frame.plan.node(frame.node).cloned() else { return };
        if let Work::Draining { attempt, .. } = frame.work
            && output.is_some()
        {
            let step = frame.id.clone();
            self.emitted.push(Effect::StopTimer(self.timer(&step, Purpose::Drain(attempt))));
        }
        if let Some(output) = output {
            self.remember_undo(key, &node, &output);
        }
        self.changed(key, StepState::Cancelled);
        drop(self.remove(key));
    }
}

fn has_compensation(frame: &Frame) -> bool {
    frame.plan.node(frame.node).is_some_and(|node| node.compensate.is_some())
}
