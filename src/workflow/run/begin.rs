//! How steps begin.

use std::sync::Arc;

use crate::model::{Datum, Failure, Kind, RunId, StepId};
use crate::workflow::flow::SleepFor;
use crate::workflow::journal::Question;
use crate::workflow::plan::{JoinRule, MapForm, NodeIndex, Plan, PlanKind, PlanNode, PlannedTask};
use crate::workflow::timer::Purpose;

use super::effects::Aspect;
use super::frame::{Frame, Join, Key, Members, Owner, Received, TaskPhase, TaskWork, Work};
use super::scope::{ScopeKey, Seen};
use super::view::StepState;
use super::{Job, Run, Stage, WATCHDOG_FIRST};

/// What a frame needs to be made.
pub(super) struct New {
    pub(super) id: StepId,
    pub(super) plan: Arc<Plan>,
    pub(super) node: NodeIndex,
    pub(super) owner: Owner,
    pub(super) received: Received,
    /// A reference to it is taken over.
    pub(super) scope: ScopeKey,
    pub(super) depth: u32,
    pub(super) shielded: bool,
}

impl Run {
    pub(super) fn begin_run(&mut self) {
        self.started = self.time;
        self.watchdog = (1, self.time.after(WATCHDOG_FIRST));
        self.emitted.push(self.watchdog_timer());
        self.begin_root();
    }

    pub(super) fn begin_root(&mut self) {
        self.stage = Stage::Running;
        let scope = self.scopes.open(None, Seen::Names);
        let depth = self.start.parent.as_ref().map_or(0, |parent| parent.depth.saturating_add(1));
        self.spawn(New {
            id: StepId::root(),
            plan: Arc::clone(&self.plan),
            node: 0,
            owner: Owner::Run,
            received: Received { value: self.start.input.clone(), spread: false },
            scope,
            depth,
            shielded: false,
        });
    }

    /// Makes a frame and puts its beginning on the agenda.
    pub(super) fn spawn(&mut self, new: New) -> Key {
        let key = self.next_key;
        self.next_key = self.next_key.saturating_add(1);
        let New { id, plan, node, owner, received, scope, depth, shielded } = new;
        self.by_step.insert(id.clone(), key);
        if let Owner::Frame { key: owner, .. } = owner
            && let Some(owner) = self.frames.get_mut(&owner)
        {
            owner.children.insert(key);
        }
        let children = std::collections::BTreeSet::new();
        let frame =
            Frame { id, plan, node, owner, children, received, scope, depth, shielded, timeout: None, work: Work::New };
        self.frames.insert(key, frame);
        self.agenda.push_back(Job::Begin(key));
        key
    }

    /// Makes a child of a frame, in the frame's own scope.
    pub(super) fn spawn_child(&mut self, key: Key, node: NodeIndex, place: usize, received: Received) {
        let Some(frame) = self.frames.get(&key) else { return };
        self.scopes.retain(frame.scope);
        let new = New {
            id: frame.id.child(place),
            plan: Arc::clone(&frame.plan),
            node,
            owner: Owner::Frame { key, place },
            received,
            scope: frame.scope,
            depth: frame.depth.saturating_add(1),
            shielded: frame.shielded,
        };
        self.spawn(new);
    }

    /// Makes an item or iteration of a frame, in a scope of its own.
    pub(super) fn spawn_item(&mut self, key: Key, node: NodeIndex, place: usize, received: Received, seen: Seen) {
        let Some(frame) = self.frames.get(&key) else { return };
        let scope = self.scopes.open(Some(frame.scope), seen);
        let new = New {
            id: frame.id.item(place),
            plan: Arc::clone(&frame.plan),
            node,
            owner: Owner::Frame { key, place },
            received,
            scope,
            depth: frame.depth.saturating_add(1),
            shielded: frame.shielded,
        };
        self.spawn(new);
    }

    pub(super) fn begin(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let (id, depth) = (frame.id.clone(), frame.depth);
        let Some(node) = frame.plan.node(frame.node).cloned() else { return };
        if let Some(output) = self.memory.as_ref().and_then(|memory| memory.output(&id)) {
            return self.recall(key, &node, output);
        }
        self.changed(key, StepState::Running);
        self.steps = self.steps.saturating_add(1);
        let limits = &self.start.limits;
        if depth >= limits.depth_max {
            return self.fail(key, Kind::Limit, format!("steps are nested more than {} deep", limits.depth_max));
        }
        if self.steps > limits.steps_max {
            return self.fail(key, Kind::Limit, format!("the run has more than {} steps", limits.steps_max));
        }
        if let Some(length) = node.timeout {
            let due = self.time.after(length);
            if let Some(frame) = self.frames.get_mut(&key) {
                frame.timeout = Some(due);
            }
            self.fresh.insert((key, Aspect::Timeout));
        }
        match &node.input {
            // A task's input steers nothing: it is computed when it is needed, and not recorded.
            Some(_) if !matches!(node.kind, PlanKind::Task(_)) => self.ask(key, Question::Input),
            Some(_) | None => self.enter(key),
        }
    }

    /// Waits for a decision about what the frame received.
    pub(super) fn ask(&mut self, key: Key, question: Question) {
        let about = self.frames.get(&key).map_or_else(Datum::null, |frame| frame.received.or_null());
        self.ask_about(key, question, about);
    }

    pub(super) fn ask_about(&mut self, key: Key, question: Question, about: Datum) {
        self.set_work(key, Work::Deciding { question, about });
        self.look_at(key);
        self.decide_at_once(key);
    }

    pub(super) fn set_work(&mut self, key: Key, work: Work) {
        if let Some(frame) = self.frames.get_mut(&key) {
            frame.work = work;
        }
    }

    pub(super) fn fail(&mut self, key: Key, kind: Kind, message: String) {
        self.agenda.push_back(Job::Settle(key, Err(Failure::new(kind, message))));
    }

    /// Begins what the node does, once it is known what it receives.
    pub(super) fn enter(&mut self, key: Key) {
        let Some(frame) = self.frames.get(&key) else { return };
        let Some(PlanNode { kind, .. }) = frame.plan.node(frame.node).cloned() else { return };
        let (id, received) = (frame.id.clone(), frame.received.clone());
        match kind {
            PlanKind::Task(task) => self.enter_task(key, &id, &task),
            PlanKind::Chain(nodes) => match nodes.first() {
                Some(first) => {
                    self.set_work(key, Work::Chain { at: 0 });
                    self.spawn_child(key, *first, 0, received);
                }
                None => self.agenda.push_back(Job::Settle(key, Ok(received.or_null()))),
            },
            PlanKind::Group { members, rule } => {
                let all = members.len();
                self.enter_join(key, Join::new(Members::Nodes(members), rule, all));
            }
            PlanKind::Map { over: None, body, form, concurrency, rule } => {
                self.open_map(key, received.or_null(), (body, form, concurrency, rule));
            }
            PlanKind::Map { over: Some(_), .. } => self.ask(key, Question::Items),
            PlanKind::Choose { .. } => self.ask(key, Question::Branch),
            PlanKind::Loop { .. } => self.ask(key, Question::Again(0)),
            PlanKind::Poll { body, .. } => {
                self.set_work(key, Work::Poll { iteration: 0 });
                self.spawn_item(key, body, 0, received, Seen::Index(0));
            }
            PlanKind::Sleep(SleepFor::Fixed(length)) => self.sleep(key, length),
            PlanKind::Sleep(SleepFor::Template(_)) => self.ask(key, Question::Duration),
            PlanKind::Wait(signal) => self.enter_wait(key, signal),
            PlanKind::Value(_) => self.ask(key, Question::Value),
            PlanKind::Flow { name, version } => {
                if self.pins.flow(&name, version.as_ref()).is_none() {
                    return self.fail(key, Kind::BadFlow, format!("no stored flow is called {name}"));
                }
                let (parent, generation) = (&self.start.run, self.generation.to_string());
                let run = RunId::derived(&["child", parent.as_str(), id.as_str(), &generation]);
                self.set_work(key, Work::Run { run });
                self.look_at(key);
            }
        }
    }

    pub(super) fn sleep(&mut self, key: Key, length: std::time::Duration) {
        let due = self.time.after(length);
        self.set_work(key, Work::Sleep { due });
        self.look_at(key);
    }

    fn enter_task(&mut self, key: Key, id: &StepId, task: &PlannedTask) {
        let before = self.memory.as_ref().map_or(0, |memory| memory.attempts(id));
        let attempt = before.saturating_add(1);
        let phase = match task.call.delay {
            Some(delay) => TaskPhase::Delayed { due: self.time.after(delay) },
            None => TaskPhase::Held,
        };
        let delayed = matches!(phase, TaskPhase::Delayed { .. });
        let work =
            TaskWork { attempt, before, phase, input: None, idempotency_key: None, limit_key: None, expires: None };
        self.set_work(key, Work::Task(Box::new(work)));
        if delayed {
            self.look_at(key);
            self.changed(key, StepState::Scheduled);
        } else {
            self.ready(key);
        }
    }

    /// The attempt of a task may be queued.
    pub(super) fn ready(&mut self, key: Key) {
        let (paused, time) = (self.paused, self.time);
        let Some(frame) = self.frames.get_mut(&key) else { return };
        let Some(PlanNode { kind: PlanKind::Task(task), .. }) = frame.plan.node(frame.node) else { return };
        let expires_after = task.options.expires;
        let shielded = frame.shielded;
        let Work::Task(work) = &mut frame.work else { return };
        if paused && !shielded {
            work.phase = TaskPhase::Held;
            return;
        }
        if let Some(length) = expires_after {
            let expires = *work.expires.get_or_insert(time.after(length));
            if expires <= time {
                return self.fail(key, Kind::Expired, "no host took it up in time".to_owned());
            }
        }
        work.phase = TaskPhase::Out;
        let (id, attempt) = (frame.id.clone(), work.attempt);
        if let Some(memory) = &mut self.memory {
            memory.attempted(&id, attempt);
        }
        self.look_at(key);
        self.changed(key, StepState::Queued);
    }

    /// What a pause held back goes on.
    pub(super) fn release_held(&mut self) {
        let is_held = |frame: &Frame| matches!(&frame.work, Work::Task(work) if work.phase == TaskPhase::Held);
        let held: Vec<Key> = self.frames.iter().filter(|(_, frame)| is_held(frame)).map(|(key, _)| *key).collect();
        for key in held {
            self.ready(key);
        }
    }

    fn enter_wait(&mut self, key: Key, signal: crate::model::SignalName) {
        self.set_work(key, Work::Wait);
        match self.kept_signals.get_mut(&signal).and_then(std::collections::VecDeque::pop_front) {
            Some(payload) => self.agenda.push_back(Job::Settle(key, Ok(payload))),
            None => self.waiting.entry(signal).or_default().push_back(key),
        }
    }

    /// Takes the array that a map runs over; where it stands elsewhere it is waited for.
    pub(super) fn open_map(
        &mut self,
        key: Key,
        items: Datum,
        (body, form, concurrency, rule): (NodeIndex, MapForm, usize, JoinRule),
    ) {
        let whole = if items.is_stored() { self.whole(&items) } else { Ok(Ok(items.clone())) };
        let items = match whole {
            Err(_) => {
                self.set_work(key, Work::Opening { items });
                self.look_at(key);
                return;
            }
            Ok(Err(failure)) => return self.agenda.push_back(Job::Settle(key, Err(failure))),
            Ok(Ok(items)) => items,
        };
        let items = match items.items() {
            Ok(items) => items,
            Err(error) => {
                return self.fail(key, Kind::BadExpression, format!("the array that is mapped over: {error}"));
            }
        };
        let items = match form {
            MapForm::Each => items,
            MapForm::Star => {
                let wrong = items.iter().position(|item| !item.is_stored() && !item.text().starts_with(b"["));
                if let Some(at) = wrong {
                    return self.fail(key, Kind::BadExpression, format!("item {at} of a starmap is no array"));
                }
                items
            }
            MapForm::Chunks(size) => items.chunks(size.max(1)).map(Datum::array).collect(),
        };
        self.enter_join(key, Join::new(Members::Items { body, items, form }, rule, concurrency));
    }

    /// Tells who waits for a signal, or keeps it.
    pub(super) fn take_signal(&mut self, name: &crate::model::SignalName, payload: &Datum) {
        self.signals = self.signals.saturating_add(1);
        if self.signals > self.start.limits.signals_max {
            return;
        }
        while let Some(key) = self.waiting.get_mut(name).and_then(std::collections::VecDeque::pop_front) {
            // One that was cancelled, or timed out, is not waiting any more.
            if self.frames.get(&key).is_some_and(|frame| matches!(frame.work, Work::Wait)) {
                return self.agenda.push_back(Job::Settle(key, Ok(payload.clone())));
            }
        }
        self.kept_signals.entry(name.clone()).or_default().push_back(payload.clone());
    }

    pub(super) fn watchdog_timer(&self) -> super::Effect {
        let (number, due) = self.watchdog;
        super::Effect::StartTimer { timer: self.timer(&StepId::root(), Purpose::Watchdog(number)), due }
    }
}
