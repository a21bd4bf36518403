//! What a run asks for: computed from what is under way, so that it can be asked for again at any time.

use crate::model::datum::Elsewhere;
use crate::model::outcome::VALUE_BYTES_MAX;
use crate::model::{Datum, Failure, Kind, StepId, TaskRef};
use crate::workflow::effect::{Dispatch, Effect, StartChild};
use crate::workflow::expression::Template;
use crate::workflow::journal::{Decision, Parent, Question};
use crate::workflow::plan::{MapForm, PlanKind, PlanNode, PlannedTask};
use crate::workflow::timer::Purpose;

use super::decide::Whole;
use super::frame::{Frame, Key, Members, Received, TaskPhase, TaskWork, Work};
use super::{Run, Stage};

/// What of a frame asks for something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Aspect {
    /// Its `timeout`.
    Timeout,
    /// What it is at.
    Work,
}

/// What a task is called with.
struct Prepared {
    received: Received,
    input: Datum,
    idempotency_key: Option<String>,
    limit_key: Option<String>,
}

impl Run {
    /// All that the run waits for, as effects: after a replay, and again whenever something may have been lost.
    pub fn outstanding(&mut self) -> Vec<Effect> {
        match self.stage {
            Stage::Fresh => return Vec::new(),
            Stage::Succeeded | Stage::Ended => return self.close_effect().into_iter().collect(),
            Stage::Finished => self.emitted.extend(self.end_effect()),
            Stage::Running | Stage::Finishing => self.emitted.push(self.watchdog_timer()),
        }
        let cancelled = self.cancelled_children.iter().map(|run| Effect::CancelChild { run: run.clone() });
        self.emitted.extend(cancelled);
        self.all_fresh();
        self.take_effects()
    }

    pub(super) fn all_fresh(&mut self) {
        self.fresh = self.frames.keys().flat_map(|key| [(*key, Aspect::Timeout), (*key, Aspect::Work)]).collect();
    }

    pub(super) fn look_at(&mut self, key: Key) {
        self.fresh.insert((key, Aspect::Work));
    }

    pub(super) fn forget(&mut self, key: Key) {
        self.fresh.remove(&(key, Aspect::Timeout));
        self.fresh.remove(&(key, Aspect::Work));
    }

    /// What was asked for since the last time.
    pub(super) fn take_effects(&mut self) -> Vec<Effect> {
        let mut effects = std::mem::take(&mut self.emitted);
        for (key, aspect) in std::mem::take(&mut self.fresh) {
            self.prepare(key);
            match aspect {
                Aspect::Timeout => effects.extend(self.timeout_effect(key)),
                Aspect::Work => self.work_effects(key, &mut effects),
            }
        }
        effects
    }

    /// Values came: what waited for them goes on.
    pub(super) fn look_again(&mut self) -> Vec<Effect> {
        let keys: Vec<Key> = self.frames.keys().copied().collect();
        let mut still_blocked = false;
        for key in keys {
            if !self.may_be_blocked(key) {
                continue;
            }
            let blocked = !self.missing(key).is_empty();
            still_blocked |= blocked;
            if !blocked {
                self.unblock(key);
            }
        }
        self.work_off();
        self.advance();
        let effects = self.take_effects();
        if !still_blocked {
            self.loaded.clear();
        }
        effects
    }

    fn may_be_blocked(&self, key: Key) -> bool {
        self.frames.get(&key).is_some_and(|frame| match &frame.work {
            Work::Opening { .. } | Work::Deciding { .. } => true,
            Work::Task(work) => work.input.is_none() && work.phase == TaskPhase::Out,
            Work::Join(join) => join.ended() == join.count(),
            Work::New
            | Work::Child
            | Work::Chain { .. }
            | Work::Loop { .. }
            | Work::Poll { .. }
            | Work::Pausing { .. }
            | Work::Sleep { .. }
            | Work::Wait
            | Work::Run { .. }
            | Work::Pinning { .. }
            | Work::Catching
            | Work::Draining { .. } => false,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn unblock(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        match &frame.work {
            Work::Opening { items } => {
                let items = items.clone();
                if let Some(PlanNode { kind: PlanKind::Map { body, form, concurrency, rule, .. }, .. }) =
                    frame.plan.node(frame.node)
                {
                    let how = (*body, *form, *concurrency, *rule);
                    self.open_map(key, items, how);
                }
            }
            Work::Join(_) => self.join_done(key),
            _ => self.look_at(key),
        }
    }

    /// What a frame needs loaded before it can go on.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(super) fn missing(&self, key: Key) -> Vec<Elsewhere> {
        let Some(frame) = self.frames.get(&key) else { return Vec::new() };
        match &frame.work {
            Work::Opening { items } => self.whole(items).err().unwrap_or_default(),
            Work::Deciding { question, about } => self.decide(key, *question, about).err().unwrap_or_default(),
            Work::Task(work) if work.input.is_none() => self.prepared(frame).err().unwrap_or_default(),
            Work::Join(join) if join.ended() == join.count() => match &join.members {
                Members::Items { form: MapForm::Chunks(_), .. } => {
                    let stored = join.outputs.iter().flatten().filter(|output| output.is_stored());
                    stored.filter_map(|output| self.whole(output).err()).flatten().collect()
                }
                Members::Items { .. } | Members::Nodes(_) => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// Computes what a task is called with, where that is known.
    pub(super) fn prepare(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        if !matches!(&frame.work, Work::Task(work) if work.input.is_none()) {
            return;
        }
        let Ok(Ok(Prepared { received, input, idempotency_key, limit_key })) = self.prepared(frame) else { return };
        let Some(frame) = self.frames.get_mut(&key) else { return };
        frame.received = received;
        if let Work::Task(work) = &mut frame.work {
            work.input = Some(input);
            work.idempotency_key = idempotency_key;
            work.limit_key = limit_key;
        }
    }

    fn prepared(&self, frame: &Frame) -> Whole<Prepared> {
        let Some(PlanNode { kind: PlanKind::Task(task), input, .. }) = frame.plan.node(frame.node) else {
            return Ok(Err(Failure::new(Kind::BadFlow, "the step is no task")));
        };
        let about = frame.received.or_null();
        let mut received = frame.received.clone();
        if let Some(template) = input {
            match self.evaluate(frame, template, &about)? {
                Ok(value) => received = Received::of(value),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        let input = match self.called_with(frame, task, &received)? {
            Ok(input) => input,
            Err(failure) => return Ok(Err(failure)),
        };
        if input.size() > VALUE_BYTES_MAX {
            let message =
                format!("the input has {} bytes, more than the {VALUE_BYTES_MAX} that are allowed", input.size());
            return Ok(Err(Failure::new(Kind::Limit, message)));
        }
        let key = |template: &Option<Template>| -> Whole<Option<String>> {
            match template {
                Some(template) => Ok(self.text(frame, template, &about)?.map(Some)),
                None => Ok(Ok(None)),
            }
        };
        let (idempotency_key, limit_key) = match (key(&task.call.idempotency_key)?, key(&task.call.limit_key)?) {
            (Ok(idempotency_key), Ok(limit_key)) => (idempotency_key, limit_key),
            (Err(failure), _) | (_, Err(failure)) => return Ok(Err(failure)),
        };
        Ok(Ok(Prepared { received, input, idempotency_key, limit_key }))
    }

    /// What was received, and the arguments behind it.
    fn called_with(&self, frame: &Frame, task: &PlannedTask, received: &Received) -> Whole<Datum> {
        let Some(args) = &task.call.args else { return Ok(Ok(received.or_null())) };
        let mut all = match &received.value {
            Some(value) if received.spread => {
                let whole = if value.is_stored() { self.whole(value)? } else { Ok(value.clone()) };
                let items = whole.and_then(|whole| {
                    whole.items().map_err(|error| Failure::new(Kind::BadExpression, format!("an item: {error}")))
                });
                match items {
                    Ok(items) => items,
                    Err(failure) => return Ok(Err(failure)),
                }
            }
            value => value.iter().cloned().collect(),
        };
        let about = received.or_null();
        for template in args {
            match self.evaluate(frame, template, &about)? {
                Ok(value) => all.push(value),
                Err(failure) => return Ok(Err(failure)),
            }
        }
        Ok(Ok(Datum::array(&all)))
    }

    fn text(&self, frame: &Frame, template: &Template, about: &Datum) -> Whole<String> {
        Ok(self.evaluate(frame, template, about)?.map(|value| match value.to_json() {
            Some(serde_json::Value::String(text)) => text,
            _ => String::from_utf8_lossy(value.text()).into_owned(),
        }))
    }

    fn timeout_effect(&self, key: Key) -> Option<Effect> {
        let frame = self.frames.get(&key)?;
        let due = frame.timeout?;
        Some(Effect::StartTimer { timer: self.timer(&frame.id, Purpose::Timeout), due })
    }

    fn work_effects(&self, key: Key, effects: &mut Vec<Effect>) {
        let Some(frame) = self.frames.get(&key) else { return };
        let start = |purpose, due| Effect::StartTimer { timer: self.timer(&frame.id, purpose), due };
        let load = |missing: Vec<Elsewhere>| missing.into_iter().map(Effect::Load);
        match &frame.work {
            Work::Task(work) => self.task_effects(frame, work, effects),
            Work::Deciding { question, about } => match self.decide(key, *question, about) {
                Ok(decision) => effects.push(self.decided(&frame.id, *question, decision)),
                Err(missing) => effects.extend(load(missing)),
            },
            Work::Opening { .. } | Work::Join(_) => effects.extend(load(self.missing(key))),
            Work::Pausing { next, due } => effects.push(start(Purpose::Poll(*next), *due)),
            Work::Sleep { due } => effects.push(start(Purpose::Sleep, *due)),
            Work::Draining { attempt, due } => effects.push(start(Purpose::Drain(*attempt), *due)),
            Work::Run { run } => effects.extend(self.child_effect(frame, run.clone())),
            Work::Pinning { plan } => {
                let unpinned = self.unpinned(plan);
                effects.push(Effect::Pin {
                    step: frame.id.clone(),
                    tasks: unpinned.tasks,
                    flows: unpinned.flows,
                    generation: self.generation,
                });
            }
            Work::New
            | Work::Child
            | Work::Chain { .. }
            | Work::Loop { .. }
            | Work::Poll { .. }
            | Work::Wait
            | Work::Catching => {}
        }
    }

    fn decided(&self, step: &StepId, question: Question, decision: Decision) -> Effect {
        Effect::Decide { step: step.clone(), question, decision, generation: self.generation }
    }

    fn task_effects(&self, frame: &Frame, work: &TaskWork, effects: &mut Vec<Effect>) {
        let start = |purpose, due| Effect::StartTimer { timer: self.timer(&frame.id, purpose), due };
        match work.phase {
            TaskPhase::Held => {}
            TaskPhase::Delayed { due } => effects.push(start(Purpose::Delay(work.attempt), due)),
            TaskPhase::Backoff { due } => effects.push(start(Purpose::Backoff(work.attempt), due)),
            TaskPhase::Out => {
                match &work.input {
                    Some(input) => effects.extend(self.dispatch(frame, work, input.clone())),
                    None => match self.prepared(frame) {
                        Err(missing) => effects.extend(missing.into_iter().map(Effect::Load)),
                        Ok(Err(failure)) => {
                            effects.push(self.decided(&frame.id, Question::Input, Decision::Failed(failure)));
                        }
                        // It is stored by `prepare` before anything is asked for.
                        Ok(Ok(_)) => {}
                    },
                }
                if let Some(expires) = work.expires {
                    effects.push(start(Purpose::Expires(work.attempt), expires));
                }
            }
        }
    }

    fn dispatch(&self, frame: &Frame, work: &TaskWork, input: Datum) -> Option<Effect> {
        let PlanNode { kind: PlanKind::Task(task), .. } = frame.plan.node(frame.node)? else { return None };
        let named = &task.call.task;
        let pin = self.pins.module(&named.module, named.version.as_ref());
        let version = pin.map(|pin| pin.version.clone()).or_else(|| named.version.clone());
        Some(Effect::Dispatch(Box::new(Dispatch {
            step: frame.id.clone(),
            attempt: work.attempt,
            task: TaskRef { version, ..named.clone() },
            digest: pin.map(|pin| pin.digest),
            input,
            options: task.options.clone(),
            expires: work.expires,
            idempotency_key: work.idempotency_key.clone(),
            limit_key: work.limit_key.clone(),
            shielded: frame.shielded,
            generation: self.generation,
        })))
    }

    fn child_effect(&self, frame: &Frame, run: crate::model::RunId) -> Option<Effect> {
        let PlanNode { kind: PlanKind::Flow { name, version }, .. } = frame.plan.node(frame.node)? else { return None };
        let document = self.pins.flow(name, version.as_ref())?.clone();
        Some(Effect::StartChild(Box::new(StartChild {
            run,
            parent: Parent {
                run: self.start.run.clone(),
                step: frame.id.clone(),
                generation: self.generation,
                depth: frame.depth,
            },
            flow: name.clone(),
            document,
            input: frame.received.value.clone(),
        })))
    }
}
