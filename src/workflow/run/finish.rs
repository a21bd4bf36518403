//! How a run ends: its root's end, then what is awaited, then compensations in reverse order, then the end record.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::model::step::Handler;
use crate::model::{Datum, Failure, StepId};
use crate::workflow::journal::{End, Ending};
use crate::workflow::plan::{NodeIndex, Plan};

use super::begin::New;
use super::frame::{Owner, Received, Work};
use super::scope::ScopeKey;
use super::{Effect, Run, Stage};

/// What undoes a step that succeeded.
#[derive(Clone, Debug)]
pub(super) struct Undo {
    pub(super) step: StepId,
    pub(super) plan: Arc<Plan>,
    pub(super) node: NodeIndex,
    pub(super) scope: ScopeKey,
    pub(super) depth: u32,
    /// What it receives: the step's input and output.
    pub(super) told: Datum,
}

/// What is known of the end while the run finishes.
#[derive(Clone, Debug, Default)]
pub(super) struct Finish {
    pub(super) ending: Option<Ending>,
    /// The step that is being undone.
    pub(super) undoing: Option<StepId>,
    /// What compensations failed with.
    pub(super) failures: Vec<Failure>,
    /// Steps that were undone.
    pub(super) undone: Vec<StepId>,
}

impl Run {
    pub(super) fn root_ended(&mut self, result: Result<Datum, Failure>) {
        self.end_root(match result {
            Ok(output) => Ending::Succeeded(output),
            Err(failure) => Ending::Failed(failure),
        });
    }

    pub(super) fn end_root(&mut self, ending: Ending) {
        self.stage = Stage::Finishing;
        self.finish.ending = Some(ending);
        self.kept_signals.clear();
        self.waiting.clear();
    }

    /// Goes on to the end as far as nothing is awaited.
    pub(super) fn advance(&mut self) {
        let succeeded = matches!(self.finish.ending, Some(Ending::Succeeded(_)));
        while self.stage == Stage::Finishing && !succeeded && self.finish.undoing.is_none() && !self.is_draining() {
            let Some(undo) = self.undo.pop() else { break };
            self.undo_one(undo);
            self.work_off();
        }
        if self.stage != Stage::Finishing {
            return;
        }
        let done = self.frames.is_empty() && (succeeded || self.undo.is_empty());
        if done {
            self.stage = Stage::Finished;
            self.emitted.extend(self.end_effect());
        }
    }

    fn is_draining(&self) -> bool {
        self.frames.values().any(|frame| matches!(frame.work, Work::Draining { .. }))
    }

    fn undo_one(&mut self, undo: Undo) {
        let Undo { step, plan, node, scope, depth, told } = undo;
        self.finish.undoing = Some(step.clone());
        let new = New {
            id: step.handler(Handler::Compensate),
            plan,
            node,
            owner: Owner::Undo,
            received: Received::of(told),
            // The reference that the compensation held is the frame's now.
            scope,
            depth: depth.saturating_add(1),
            shielded: true,
        };
        self.spawn(new);
    }

    /// A compensation ended.
    pub(super) fn undone(&mut self, result: Result<Datum, Failure>) {
        if let Some(step) = self.finish.undoing.take() {
            self.finish.undone.push(step);
        }
        if let Err(failure) = result {
            self.finish.failures.push(failure);
        }
    }

    pub(super) fn end_effect(&self) -> Option<Effect> {
        let result = self.finish.ending.clone()?;
        let compensation_failures = self.finish.failures.clone();
        Some(Effect::End { generation: self.generation, end: End { result, compensation_failures } })
    }

    pub(super) fn close_effect(&self) -> Option<Effect> {
        let Some(Effect::End { end, .. }) = self.end_effect() else { return None };
        Some(Effect::Close { parent: self.start.parent.clone(), end })
    }

    /// The end record was folded.
    pub(super) fn take_end(&mut self, end: &End) {
        self.stage = match end.result {
            Ending::Succeeded(_) => Stage::Succeeded,
            Ending::Failed(_) | Ending::Cancelled => Stage::Ended,
        };
        // What the record says stands, whatever this core would have said.
        self.finish.ending = Some(end.result.clone());
        self.finish.failures.clone_from(&end.compensation_failures);
        self.cancelled_children.clear();
        let kept: VecDeque<Undo> = self.undo.drain(..).collect();
        for undo in kept {
            self.scopes.release(undo.scope);
        }
        self.emitted.extend(self.close_effect());
    }
}
