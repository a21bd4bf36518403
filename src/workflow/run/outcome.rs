//! What hosts, timers and child runs report of steps under way.

use std::sync::Arc;

use crate::model::{Datum, Failure, Kind, StepId};
use crate::workflow::journal::{Decision, Event, Outcome, Pins, Question};
use crate::workflow::plan::{Plan, PlanKind, PlanNode};
use crate::workflow::timer::{Purpose, TimerId};

use super::begin::New;
use super::frame::{Key, Owner, Received, TaskPhase, Work};
use super::scope::Seen;
use super::view::StepState;
use super::{Effect, Job, Run, Stop, WATCHDOG_FIRST, WATCHDOG_MAX};

impl Run {
    /// A record about a step whose frame is not there because a value is not loaded must wait for the value.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn ready_for(&self, event: &Event) -> Result<(), Stop> {
        if matches!(event, Event::Retry) && self.memory.is_none() {
            return Err(Stop::Replay);
        }
        let step = match event {
            Event::Outcome { step, .. } | Event::Decided { step, .. } | Event::Child { step, .. } => step,
            Event::Timer(timer) => &timer.step,
            _ => return Ok(()),
        };
        let blocked = match self.by_step.get(step) {
            Some(key) => self.missing_before_outcome(*key, event),
            None => self.missing_above(step),
        };
        if blocked.is_empty() { Ok(()) } else { Err(Stop::Needs(blocked)) }
    }

    /// What a task's own handlers will be told of must be known before the task is over.
    fn missing_before_outcome(&self, key: Key, event: &Event) -> Vec<crate::model::datum::Elsewhere> {
        let is_task = self.frames.get(&key).is_some_and(|frame| matches!(frame.work, Work::Task(_)));
        if is_task && matches!(event, Event::Outcome { .. }) { self.missing(key) } else { Vec::new() }
    }

    /// What the nearest frame above a step waits for.
    fn missing_above(&self, step: &StepId) -> Vec<crate::model::datum::Elsewhere> {
        let text = step.as_str();
        let cuts = text.char_indices().rev().filter(|(_, c)| matches!(c, '-' | '_' | '~')).map(|(at, _)| at);
        for cut in cuts {
            let above = text.get(..cut).and_then(|above| above.parse::<StepId>().ok());
            if let Some(key) = above.and_then(|above| self.by_step.get(&above)) {
                return self.missing(*key);
            }
        }
        Vec::new()
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn take_outcome(&mut self, step: &StepId, attempt: u32, outcome: &Outcome) {
        let Some(&key) = self.by_step.get(step) else { return };
        self.prepare(key);
        let Some(frame) = self.frames.get(&key) else { return };
        match &frame.work {
            Work::Task(work) if work.attempt == attempt => match outcome {
                Outcome::Succeeded(output) => self.agenda.push_back(Job::Settle(key, Ok(output.clone()))),
                Outcome::Failed(failure) => self.attempt_failed(key, failure.clone()),
                Outcome::Replaced(document) => self.replace(key, document),
            },
            Work::Draining { attempt: awaited, .. } if *awaited == attempt => {
                let output = match outcome {
                    Outcome::Succeeded(output) => Some(output.clone()),
                    Outcome::Failed(_) | Outcome::Replaced(_) => None,
                };
                self.drained(key, output);
            }
            // A late word of an attempt that is not awaited any more.
            _ => {}
        }
    }

    /// Another attempt, or the end.
    fn attempt_failed(&mut self, key: Key, mut failure: Failure) {
        let time = self.time;
        let Some(frame) = self.frames.get_mut(&key) else { return };
        let Some(PlanNode { kind: PlanKind::Task(task), .. }) = frame.plan.node(frame.node) else { return };
        let policy = task.options.retry.clone().unwrap_or_default();
        let Work::Task(work) = &mut frame.work else { return };
        failure.attempt = Some(work.attempt);
        let counted = work.attempt.saturating_sub(work.before);
        match policy.wait_after(&failure, frame.id.as_str(), counted) {
            Some(wait) => {
                let due = time.after(wait);
                work.attempt = work.attempt.saturating_add(1);
                work.phase = TaskPhase::Backoff { due };
                self.look_at(key);
                self.changed(key, StepState::Retrying { due, failure });
            }
            None => self.agenda.push_back(Job::Settle(key, Err(failure))),
        }
    }

    /// A task handed back a flow, which takes its place.
    fn replace(&mut self, key: Key, document: &Datum) {
        let plan = match super::plan(document) {
            Ok(plan) => Arc::new(plan),
            Err(problem) => return self.fail(key, Kind::BadFlow, format!("the flow that was handed back: {problem}")),
        };
        if plan.node(0).is_some_and(|root| matches!(&root.kind, PlanKind::Chain(nodes) if nodes.is_empty())) {
            return self.fail(key, Kind::BadFlow, "the flow that was handed back is an empty chain".to_owned());
        }
        if self.unpinned(&plan).is_empty() {
            self.begin_replacement(key, plan);
        } else {
            self.set_work(key, Work::Pinning { plan });
            self.look_at(key);
        }
    }

    /// The tasks and flows of a plan that the run has no version of.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn unpinned(&self, plan: &Plan) -> Unpinned {
        let mut unpinned = Unpinned::default();
        for node in plan.nodes() {
            match &node.kind {
                PlanKind::Task(task) => {
                    let task = &task.call.task;
                    if self.pins.module(&task.module, task.version.as_ref()).is_none() {
                        unpinned.tasks.push(task.clone());
                    }
                }
                PlanKind::Flow { name, version } if self.pins.flow(name, version.as_ref()).is_none() => {
                    unpinned.flows.push((name.clone(), version.clone()));
                }
                _ => {}
            }
        }
        unpinned
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn take_pins(&mut self, key: Key, plan: Arc<Plan>, decision: &Decision) -> Result<(), Stop> {
        match decision {
            Decision::Pins(pins) => {
                let Pins { modules, flows } = (**pins).clone();
                // What the run pinned at its start stays as it is.
                for (name, pin) in modules {
                    self.pins.modules.entry(name).or_insert(pin);
                }
                for (name, flow) in flows {
                    self.pins.flows.entry(name).or_insert(flow);
                }
                self.begin_replacement(key, plan);
                Ok(())
            }
            Decision::Failed(failure) => {
                self.agenda.push_back(Job::Settle(key, Err(failure.clone())));
                Ok(())
            }
            other => Err(Stop::Broken(format!("decisions_fit: {other:?} is no answer to {:?}", Question::Pins))),
        }
    }

    fn begin_replacement(&mut self, key: Key, plan: Arc<Plan>) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        frame.work = Work::Child;
        let new = New {
            id: frame.id.replacement(),
            plan,
            node: 0,
            owner: Owner::Frame { key, place: 0 },
            received: Received { spread: false, ..frame.received.clone() },
            scope: self.scopes.open(Some(frame.scope), Seen::Names),
            depth: frame.depth.saturating_add(1),
            shielded: frame.shielded,
        };
        self.spawn(new);
        self.changed(key, StepState::Replaced);
    }

    pub(super) fn take_child(&mut self, step: &StepId, generation: u32, end: &Result<Datum, Failure>) {
        if generation != self.generation {
            return;
        }
        let Some(&key) = self.by_step.get(step) else { return };
        if self.frames.get(&key).is_some_and(|frame| matches!(frame.work, Work::Run { .. })) {
            self.agenda.push_back(Job::Settle(key, end.clone()));
        }
    }

    pub(super) fn take_timer(&mut self, timer: &TimerId) {
        if timer.generation != self.generation {
            return;
        }
        match timer.purpose {
            Purpose::Watchdog(number) => return self.watch_out(number),
            Purpose::Room(_) => return self.all_fresh(),
            Purpose::Delay(_)
            | Purpose::Backoff(_)
            | Purpose::Expires(_)
            | Purpose::Timeout
            | Purpose::Sleep
            | Purpose::Poll(_)
            | Purpose::Drain(_) => {}
        }
        let Some(&key) = self.by_step.get(&timer.step) else { return };
        let Some(frame) = self.frames.get(&key) else { return };
        match (timer.purpose, &frame.work) {
            (Purpose::Timeout, work)
                if frame.timeout.is_some() && !matches!(work, Work::Catching | Work::Draining { .. }) =>
            {
                self.timed_out(key);
            }
            (Purpose::Delay(attempt) | Purpose::Backoff(attempt), Work::Task(work))
                if work.attempt == attempt && work.phase.is_waiting() =>
            {
                self.ready(key);
            }
            (Purpose::Expires(attempt), Work::Task(work))
                if work.attempt == attempt && work.phase == TaskPhase::Out =>
            {
                let step = frame.id.clone();
                self.emitted.push(Effect::Expire { step, attempt });
            }
            (Purpose::Sleep, Work::Sleep { .. }) => {
                let received = frame.received.or_null();
                self.agenda.push_back(Job::Settle(key, Ok(received)));
            }
            (Purpose::Poll(next), Work::Pausing { next: awaited, .. }) if *awaited == next => {
                self.poll_again(key, next)
            }
            (Purpose::Drain(attempt), Work::Draining { attempt: awaited, .. }) if *awaited == attempt => {
                self.drained(key, None);
            }
            // It was stopped, or belongs to an attempt that is over.
            _ => {}
        }
    }

    fn timed_out(&mut self, key: Key) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        frame.timeout = None;
        let Some(node) = frame.plan.node(frame.node) else { return };
        let length = node.timeout.map(crate::model::time::format_duration).unwrap_or_default();
        let mut failure = Failure::new(Kind::Timeout, format!("it took longer than {length}"));
        failure.step = Some(frame.id.clone());
        self.cancel_work(key);
        self.agenda.push_back(Job::Settle(key, Err(failure)));
    }

    fn poll_again(&mut self, key: Key, next: u32) {
        let Some(frame) = self.frames.get_mut(&key) else { return };
        let Some(PlanNode { kind: PlanKind::Poll { body, .. }, .. }) = frame.plan.node(frame.node) else { return };
        let (body, received) = (*body, frame.received.clone());
        frame.work = Work::Poll { iteration: next };
        let place = usize::try_from(next).unwrap_or(usize::MAX);
        self.spawn_item(key, body, place, received, Seen::Index(place));
    }

    /// The watchdog asks for everything again, and looks again later.
    fn watch_out(&mut self, number: u32) {
        if number != self.watchdog.0 {
            return;
        }
        let doubled = WATCHDOG_FIRST.saturating_mul(2u32.saturating_pow(number.min(16)));
        self.watchdog = (number.saturating_add(1), self.time.after(doubled.min(WATCHDOG_MAX)));
        self.emitted.push(self.watchdog_timer());
        self.all_fresh();
    }
}

/// What a replacement calls and the run has no version of.
#[derive(Clone, Debug, Default)]
pub(super) struct Unpinned {
    pub(super) tasks: Vec<crate::model::TaskRef>,
    pub(super) flows: Vec<(crate::model::FlowName, Option<crate::model::Version>)>,
}

impl Unpinned {
    fn is_empty(&self) -> bool {
        self.tasks.is_empty() && self.flows.is_empty()
    }
}
