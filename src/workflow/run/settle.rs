//! How steps end: their observers, their handler, their compensation, and who is told.

use crate::model::step::Handler;
use crate::model::{Datum, Failure};
use crate::workflow::plan::{PlanKind, PlanNode};
use crate::workflow::timer::Purpose;

use super::begin::New;
use super::finish::Undo;
use super::frame::{Frame, Key, Owner, Received, Work};
use super::scope::Seen;
use super::view::StepState;
use super::{Effect, Job, Run};

impl Run {
    /// What a frame runs has ended.
    pub(super) fn settle(&mut self, key: Key, result: Result<Datum, Failure>) {
        let Some(frame) = self.frames.get(&key) else { return };
        let Some(node) = frame.plan.node(frame.node).cloned() else { return };
        if matches!(frame.work, Work::Catching) {
            return self.leave(key, &node, result);
        }
        self.stop_timeout(key);
        match result {
            Ok(output) => {
                self.remember_undo(key, &node, &output);
                if let Some(observer) = node.on_success {
                    self.observe(key, observer, Handler::OnSuccess, output.clone(), None);
                }
                self.leave(key, &node, Ok(output));
            }
            Err(mut failure) => {
                self.note(key, &node, &mut failure);
                let told = self.told_of(key, &failure);
                if let Some(observer) = node.on_failure {
                    self.observe(key, observer, Handler::OnFailure, told.clone(), Some(&failure));
                }
                match node.catch {
                    Some(catch) => self.begin_catch(key, catch, told, &failure),
                    None => self.leave(key, &node, Err(failure)),
                }
            }
        }
    }

    /// The step and task that failed are named where the failure began.
    fn note(&self, key: Key, node: &PlanNode, failure: &mut Failure) {
        let Some(frame) = self.frames.get(&key) else { return };
        if failure.step.is_none() {
            failure.step = Some(frame.id.clone());
            if let PlanKind::Task(task) = &node.kind {
                failure.task = Some(task.call.task.clone());
            }
        }
    }

    /// What handlers of a failure receive.
    fn told_of(&self, key: Key, failure: &Failure) -> Datum {
        let input = self.frames.get(&key).map_or_else(Datum::null, |frame| frame.received.or_null());
        Datum::object([("error", &error(failure)), ("input", &input)])
    }

    fn begin_catch(&mut self, key: Key, catch: usize, told: Datum, failure: &Failure) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        frame.work = Work::Catching;
        let new = New {
            id: frame.id.handler(Handler::Catch),
            plan: std::sync::Arc::clone(&frame.plan),
            node: catch,
            owner: Owner::Frame { key, place: 0 },
            received: Received::of(told),
            scope: self.scopes.open(Some(frame.scope), Seen::Error(error(failure))),
            depth: frame.depth.saturating_add(1),
            shielded: frame.shielded,
        };
        self.spawn(new);
        self.changed(key, StepState::Catching(failure.clone()));
    }

    fn observe(&mut self, key: Key, node: usize, handler: Handler, told: Datum, failure: Option<&Failure>) {
        let Some(frame) = self.frames.get(&key) else { return };
        let seen = failure.map_or(Seen::Names, |failure| Seen::Error(error(failure)));
        let new = New {
            id: frame.id.handler(handler),
            plan: std::sync::Arc::clone(&frame.plan),
            node,
            owner: Owner::Nobody,
            received: Received::of(told),
            scope: self.scopes.open(Some(frame.scope), seen),
            depth: frame.depth.saturating_add(1),
            shielded: frame.shielded,
        };
        self.spawn(new);
    }

    /// A compensation is remembered when its node succeeds by itself, not where its handler took its place.
    pub(super) fn remember_undo(&mut self, key: Key, node: &PlanNode, output: &Datum) {
        let (Some(frame), Some(undo)) = (self.frames.get(&key), node.compensate) else { return };
        self.scopes.retain(frame.scope);
        self.undo.push(Undo {
            step: frame.id.clone(),
            plan: std::sync::Arc::clone(&frame.plan),
            node: undo,
            scope: frame.scope,
            depth: frame.depth,
            told: Datum::object([("input", &frame.received.or_null()), ("output", output)]),
        });
    }

    fn stop_timeout(&mut self, key: Key) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        if frame.timeout.take().is_some() {
            let step = frame.id.clone();
            self.emitted.push(Effect::StopTimer(self.timer(&step, Purpose::Timeout)));
        }
    }

    /// A frame is over: its name is given, it goes, and its owner is told.
    fn leave(&mut self, key: Key, node: &PlanNode, result: Result<Datum, Failure>) {
        self.changed(key, StepState::of(&result));
        let Some(frame) = self.frames.get(&key) else { return };
        if let (Ok(output), Some(name)) = (&result, &node.name) {
            self.scopes.publish(frame.scope, name.clone(), output.clone());
        }
        if let (Ok(output), Some(memory)) = (&result, &mut self.memory) {
            memory.succeeded(&frame.id, output);
        }
        let owner = frame.owner;
        self.cancel_below(key);
        drop(self.remove(key));
        match owner {
            Owner::Run => self.root_ended(result),
            Owner::Undo => self.undone(result),
            Owner::Nobody => {}
            Owner::Frame { key, place } => self.child_ended(key, place, result),
        }
    }

    /// Takes a frame away.
    pub(super) fn remove(&mut self, key: Key) -> Option<Frame> {
        let frame = self.frames.remove(&key)?;
        if self.by_step.get(&frame.id) == Some(&key) {
            self.by_step.remove(&frame.id);
        }
        if let Owner::Frame { key: owner, .. } = frame.owner
            && let Some(owner) = self.frames.get_mut(&owner)
        {
            owner.children.remove(&key);
        }
        self.forget(key);
        self.scopes.release(frame.scope);
        Some(frame)
    }

    fn child_ended(&mut self, key: Key, place: usize, result: Result<Datum, Failure>) {
        let Some(frame) = self.frames.get(&key) else { return };
        match (&frame.work, result) {
            (Work::Join(_), result) => self.member_ended(key, place, result),
            (Work::Chain { at }, Ok(output)) if *at == place => self.chain_on(key, place, output),
            (Work::Loop { iteration }, Ok(output)) => {
                let next = iteration.saturating_add(1);
                self.ask_about(key, super::Question::Again(next), output);
            }
            (Work::Poll { iteration }, Ok(output)) => {
                let iteration = *iteration;
                self.ask_about(key, super::Question::Enough(iteration), output);
            }
            // A chain, a branch, a replacement, a handler: the child's end is the frame's own.
            (_, result) => self.agenda.push_back(Job::Settle(key, result)),
        }
    }

    fn chain_on(&mut self, key: Key, place: usize, output: Datum) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        let Some(PlanNode { kind: PlanKind::Chain(nodes), .. }) = frame.plan.node(frame.node) else { return };
        let next = place.saturating_add(1);
        match nodes.get(next).copied() {
            Some(node) => {
                frame.work = Work::Chain { at: next };
                self.spawn_child(key, node, next, Received::of(output));
            }
            None => self.agenda.push_back(Job::Settle(key, Ok(output))),
        }
    }
}

/// A failure as expressions and handlers see it.
fn error(failure: &Failure) -> Datum {
    serde_json::to_value(failure).map_or_else(|_| Datum::null(), |json| Datum::of_json(&json))
}
