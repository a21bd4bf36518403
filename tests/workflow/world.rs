//! A world for runs: journals, queues, timers and time, all in memory, moved by a seeded choice of what happens next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use lovage::model::{Datum, Digest, Failure, Kind, RunId, StepId, Timestamp};
use lovage::workflow::effect::{Dispatch, Effect};
use lovage::workflow::flow::Document;
use lovage::workflow::journal::{CORE_VERSION, Decision, End, Event, Outcome, Pin, Pins, Record, RunLimits, Start};
use lovage::workflow::run::{Run, Stop};
use lovage::workflow::timer::TimerId;
use serde_json::Value;

use crate::tasks::{self, Called};

/// Something that can happen next.
#[derive(Clone, Debug)]
enum Pending {
    Effect(RunId, Box<Effect>),
    /// A task in its queue.
    Task(RunId, Box<Dispatch>),
    /// The doorbell of a record.
    Record(RunId),
}

/// A run in the world.
pub(crate) struct Life {
    pub(crate) journal: Vec<Record>,
    names: BTreeSet<String>,
    run: Option<Run>,
    folded: usize,
}

/// Everything that is.
pub(crate) struct World {
    pub(crate) lives: BTreeMap<RunId, Life>,
    pending: Vec<Pending>,
    timers: BTreeMap<(RunId, TimerId), Timestamp>,
    pub(crate) now: i64,
    sequence: u64,
    random: u64,
    /// How often each step's task was called.
    pub(crate) calls: BTreeMap<(RunId, StepId), u32>,
    /// The order of calls, by task and input.
    pub(crate) log: Vec<String>,
    /// The calls whose outcome was the first of its attempt.
    pub(crate) effective: Vec<String>,
    /// Whether `canvas/mended` succeeds.
    pub(crate) mended: bool,
    /// Outputs above this stand elsewhere.
    pub(crate) inline_max: usize,
    stored: BTreeMap<Digest, Bytes>,
    faults: u32,
    /// A fault of this kind happens before this step.
    pub(crate) fault_at: Option<(u64, usize)>,
    pub(crate) steps: u64,
}

pub(crate) fn root_id() -> RunId {
    RunId::derived(&["test"])
}

impl World {
    /// A world whose choices follow `seed`; 0 takes what is oldest, and has no faults.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            lives: BTreeMap::new(),
            pending: Vec::new(),
            timers: BTreeMap::new(),
            now: 1_000_000,
            sequence: 0,
            random: seed,
            calls: BTreeMap::new(),
            log: Vec::new(),
            effective: Vec::new(),
            mended: false,
            inline_max: usize::MAX,
            stored: BTreeMap::new(),
            faults: 0,
            fault_at: None,
            steps: 0,
        }
    }

    /// So many crashes, repetitions and losses at random places.
    pub(crate) fn with_faults(mut self, faults: u32) -> Self {
        self.faults = faults;
        self
    }

    fn roll(&mut self, below: usize) -> usize {
        if self.random == 0 || below < 2 {
            return 0;
        }
        // xorshift64*, by Vigna: good enough to choose an order, and the same everywhere.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let wide = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(wide).unwrap() % below
    }

    pub(crate) fn start(&mut self, document: &Value, input: Option<&Value>, flows: &[(&str, Value)]) -> RunId {
        self.start_with(document, input, flows, RunLimits::default())
    }

    pub(crate) fn start_with(
        &mut self,
        document: &Value,
        input: Option<&Value>,
        flows: &[(&str, Value)],
        limits: RunLimits,
    ) -> RunId {
        let parsed = Document::from_json(document).unwrap_or_else(|problems| panic!("{document}: {problems:?}"));
        let mut pins = Pins::default();
        let pin = || Pin { version: "1".parse().unwrap(), digest: Digest::of(b"canvas") };
        pins.modules.insert("canvas".to_owned(), pin());
        for (name, document) in flows {
            let document = Datum::of_json(document);
            let flow = lovage::workflow::journal::PinnedFlow { pin: pin(), document };
            pins.flows.insert((*name).to_owned(), flow);
        }
        let run = root_id();
        let start = Start {
            core_version: CORE_VERSION,
            run: run.clone(),
            flow: parsed.name.clone(),
            pin: None,
            document: Datum::of_json(document),
            input: input.map(Datum::of_json),
            pins,
            labels: BTreeMap::new(),
            parent: None,
            limits,
        };
        self.begin(start);
        run
    }

    pub(crate) fn begin(&mut self, start: Start) {
        let run = start.run.clone();
        let life = Life { journal: Vec::new(), names: BTreeSet::new(), run: None, folded: 0 };
        self.lives.entry(run.clone()).or_insert(life);
        self.record(&run, "start", Event::Start(Arc::new(start)));
    }

    /// Writes a record once under its name.
    pub(crate) fn record(&mut self, run: &RunId, name: &str, event: Event) -> bool {
        let Some(life) = self.lives.get_mut(run) else { return false };
        if !life.names.insert(name.to_owned()) {
            return false;
        }
        self.sequence += 1;
        let record = Record { sequence: self.sequence, time: Timestamp::from_millis(self.now), bytes: 100, event };
        life.journal.push(record);
        self.pending.push(Pending::Record(run.clone()));
        true
    }

    /// Lets things happen until nothing more does.
    pub(crate) fn play(&mut self) {
        for _ in 0..2_000_000 {
            self.steps += 1;
            if self.pending.is_empty() && !self.next_timer() {
                return;
            }
            if self.pending.is_empty() {
                continue;
            }
            let at = self.roll(self.pending.len());
            if self.faults > 0 && self.roll(40) == 7 {
                self.faults -= 1;
                let kind = self.roll(3);
                self.fault(kind, at);
                continue;
            }
            if let Some((_, kind)) = self.fault_at.filter(|(step, _)| *step == self.steps) {
                self.fault(kind, at);
                continue;
            }
            let next = self.pending.remove(at);
            self.happen(next);
        }
        panic!("it never ends");
    }

    /// Something goes wrong.
    fn fault(&mut self, kind: usize, at: usize) {
        match kind {
            // The coordinator dies: what it had in mind is gone, what is stored stays.
            0 => self.crash(),
            // A message comes twice.
            1 => {
                let again = self.pending[at].clone();
                self.pending.push(again);
            }
            // A host dies with its task: the lease runs out and the task is handed out again.
            _ => {
                if let Pending::Task(run, task) = self.pending[at].clone() {
                    *self.calls.entry((run, task.step)).or_default() += 1;
                } else {
                    self.crash();
                }
            }
        }
    }

    pub(crate) fn crash(&mut self) {
        self.pending.retain(|pending| matches!(pending, Pending::Task(..)));
        for (run, life) in &mut self.lives {
            life.run = None;
            life.folded = 0;
            self.pending.push(Pending::Record(run.clone()));
        }
    }

    /// The earliest timer fires.
    fn next_timer(&mut self) -> bool {
        let quiet = |run: &RunId| self.lives.get(run).is_some_and(|life| life.over());
        let timers = self.timers.iter().filter(|((run, _), _)| !quiet(run));
        let Some((key, due)) = timers.min_by_key(|(_, due)| **due).map(|(key, due)| (key.clone(), *due)) else {
            return false;
        };
        if matches!(key.1.purpose, lovage::workflow::timer::Purpose::Watchdog(number) if number > 3) {
            return false;
        }
        self.timers.remove(&key);
        self.now = self.now.max(due.as_millis());
        let (run, timer) = key;
        self.record(&run, &format!("timer.{timer}"), Event::Timer(timer.clone()))
    }

    fn happen(&mut self, next: Pending) {
        match next {
            Pending::Record(run) => self.fold(&run),
            Pending::Task(run, task) => self.work(&run, &task),
            Pending::Effect(run, effect) => self.perform(&run, *effect),
        }
        self.now += 1;
    }

    fn fold(&mut self, id: &RunId) {
        let Some(life) = self.lives.get_mut(id) else { return };
        let mut effects = Vec::new();
        if life.run.is_none() {
            let Some(Event::Start(start)) = life.journal.first().map(|record| record.event.clone()) else { return };
            let retried = life.journal.iter().any(|record| record.event == Event::Retry);
            let mut run = if retried { Run::remembering(&start) } else { Run::new(&start) }.unwrap();
            for record in &life.journal {
                replay(&mut run, record, &self.stored);
            }
            effects.extend(run.outstanding());
            life.run = Some(run);
        } else {
            let run = life.run.as_mut().unwrap();
            while let Some(record) = life.journal.get(life.folded) {
                match run.apply(record) {
                    Ok(more) => effects.extend(more),
                    Err(Stop::Needs(parts)) => {
                        for part in parts {
                            effects.extend(run.provide(part.digest, &self.stored[&part.digest]));
                        }
                        continue;
                    }
                    Err(Stop::Replay) => {
                        life.run = None;
                        life.folded = 0;
                        self.pending.push(Pending::Record(id.clone()));
                        return;
                    }
                    Err(stop) => panic!("{stop}"),
                }
                life.folded += 1;
            }
        }
        life.folded = life.journal.len();
        let run = life.run.as_ref().unwrap();
        // All of a thousand members after each record would be a million looks.
        if run.waiting().len() < 100 || self.sequence.is_multiple_of(100) {
            run.check_all().unwrap_or_else(|broken| panic!("{broken}: {}", life.text()));
        }
        self.pending.extend(effects.into_iter().map(|effect| Pending::Effect(id.clone(), Box::new(effect))));
    }

    fn work(&mut self, run: &RunId, task: &Dispatch) {
        let name = format!("step.{}.{}", task.step, task.attempt);
        if self.lives.get(run).is_none_or(|life| life.names.contains(&name)) {
            return;
        }
        *self.calls.entry((run.clone(), task.step.clone())).or_default() += 1;
        let whole = task.input.whole(|digest| self.stored.get(digest)).expect("all values are stored");
        let input = whole.to_json().unwrap();
        let text = format!("{}({input})", task.task.task);
        self.log.push(text.clone());
        self.effective.push(text);
        let outcome = match tasks::call(self.mended, task.task.task.as_str(), &input, task.attempt) {
            Called::Output(output) => Outcome::Succeeded(self.keep(&output)),
            Called::Failed(failure) => Outcome::Failed(failure),
            Called::Flow(document) => Outcome::Replaced(Datum::of_json(&document)),
        };
        let event = Event::Outcome { step: task.step.clone(), attempt: task.attempt, outcome };
        self.record(run, &name, event);
    }

    fn keep(&mut self, output: &Value) -> Datum {
        let datum = Datum::of_json(output);
        if datum.text().len() <= self.inline_max {
            return datum;
        }
        let digest = Digest::of(datum.text());
        self.stored.insert(digest, datum.text().clone());
        Datum::stored(digest, datum.size())
    }

    fn perform(&mut self, run: &RunId, effect: Effect) {
        match effect {
            Effect::Dispatch(task) => {
                let there = |pending: &Pending| {
                    matches!(pending, Pending::Task(of, other)
                        if of == run && other.step == task.step && other.attempt == task.attempt)
                };
                if !self.pending.iter().any(there) {
                    self.pending.push(Pending::Task(run.clone(), task));
                }
            }
            Effect::StartTimer { timer, due } => {
                let fired = format!("timer.{timer}");
                if self.lives.get(run).is_some_and(|life| !life.names.contains(&fired)) {
                    self.timers.insert((run.clone(), timer), due);
                }
            }
            Effect::StopTimer(timer) => drop(self.timers.remove(&(run.clone(), timer))),
            Effect::Interrupt { step, attempt } => self.pending.retain(|pending| {
                !matches!(pending, Pending::Task(of, task) if of == run && task.step == step && task.attempt == attempt)
            }),
            Effect::Expire { step, attempt } => {
                let failure = Failure::new(Kind::Expired, "no host took it up in time");
                let event = Event::Outcome { step: step.clone(), attempt, outcome: Outcome::Failed(failure) };
                self.record(run, &format!("step.{step}.{attempt}"), event);
            }
            Effect::Decide { step, question, decision, generation } => {
                let name = format!("decided.{step}.{question:?}.{generation}");
                self.record(run, &name, Event::Decided { step, question, decision, generation });
            }
            Effect::Pin { step, generation, tasks, .. } => {
                let unknown = tasks.iter().find(|task| task.module.as_str() != "extra");
                let decision = match unknown {
                    Some(task) => Decision::Failed(Failure::new(Kind::BadFlow, format!("unknown task {task}"))),
                    None => {
                        let pin = Pin { version: "2".parse().unwrap(), digest: Digest::of(b"extra") };
                        Decision::Pins(Box::new(Pins { modules: [("extra".to_owned(), pin)].into(), ..Pins::default() }))
                    }
                };
                let question = lovage::workflow::journal::Question::Pins;
                let event = Event::Decided { step: step.clone(), question, decision, generation };
                self.record(run, &format!("decided.{step}.Pins.{generation}"), event);
            }
            Effect::Load(part) => {
                let Some(live) = self.lives.get_mut(run).and_then(|life| life.run.as_mut()) else { return };
                let effects = match self.stored.get(&part.digest) {
                    Some(bytes) => live.provide(part.digest, bytes),
                    None => live.cannot_provide(part.digest),
                };
                self.pending.extend(effects.into_iter().map(|effect| Pending::Effect(run.clone(), Box::new(effect))));
            }
            Effect::StartChild(child) => self.begin(Start {
                core_version: CORE_VERSION,
                run: child.run.clone(),
                flow: Some(child.flow.clone()),
                pin: Some(child.document.pin.clone()),
                document: child.document.document.clone(),
                input: child.input.clone(),
                pins: self.pins(run),
                labels: BTreeMap::new(),
                parent: Some(child.parent),
                limits: RunLimits::default(),
            }),
            Effect::CancelChild { run } => {
                self.record(&run, "cancel.0", Event::Cancel { generation: 0 });
            }
            Effect::End { generation, end } => {
                self.record(run, &format!("end.{generation}"), Event::End { generation, end });
            }
            Effect::Close { parent, end } => self.close(parent, end),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn pins(&self, run: &RunId) -> Pins {
        match &self.lives[run].journal[0].event {
            Event::Start(start) => start.pins.clone(),
            _ => Pins::default(),
        }
    }

    fn close(&mut self, parent: Option<lovage::workflow::journal::Parent>, end: End) {
        use lovage::workflow::journal::Ending;
        let Some(parent) = parent else { return };
        let end = match end.result {
            Ending::Succeeded(output) => Ok(output),
            Ending::Failed(failure) => Err(failure),
            Ending::Cancelled => Err(Failure::new(Kind::Cancelled, "the child run was cancelled")),
        };
        let name = format!("child.{}.{}", parent.step, parent.generation);
        let event = Event::Child { step: parent.step, generation: parent.generation, end };
        self.record(&parent.run, &name, event);
    }

    /// An end with its output in one piece.
    pub(crate) fn whole(&self, mut end: End) -> End {
        if let lovage::workflow::journal::Ending::Succeeded(output) = &mut end.result {
            *output = output.whole(|digest| self.stored.get(digest)).expect("all values are stored");
        }
        end
    }

    /// The values that stand elsewhere.
    pub(crate) const fn stored(&self) -> &BTreeMap<Digest, Bytes> {
        &self.stored
    }

    /// How many attempts of calls of this text have an outcome.
    pub(crate) fn outcomes(&self, call: &str) -> usize {
        self.effective.iter().filter(|text| *text == call).count()
    }

    /// The numbers of a step's attempts that have an outcome.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(crate) fn attempts(&self, step: &str) -> Vec<u32> {
        let numbers = self.lives[&root_id()].journal.iter().filter_map(|record| match &record.event {
            Event::Outcome { step: of, attempt, .. } if of.as_str() == step => Some(*attempt),
            _ => None,
        });
        numbers.collect()
    }

    /// Whether a task waits in its queue.
    pub(crate) fn has_task(&self) -> bool {
        self.pending.iter().any(|pending| matches!(pending, Pending::Task(..)))
    }

    /// All queued tasks are lost.
    pub(crate) fn lose_tasks(&mut self) {
        self.pending.retain(|pending| !matches!(pending, Pending::Task(..)));
    }

    pub(crate) fn run_if_any(&self) -> Option<&Run> {
        self.lives.get(&root_id())?.run.as_ref()
    }

    pub(crate) fn run(&self) -> &Run {
        self.lives[&root_id()].run.as_ref().expect("the run is in memory")
    }

    pub(crate) fn end(&self) -> Option<End> {
        self.lives[&root_id()].end()
    }

    /// Lets things happen for so many steps at most, or until `stop` holds.
    pub(crate) fn play_until(&mut self, stop: impl Fn(&Self) -> bool) -> bool {
        for _ in 0..100_000 {
            if stop(self) {
                return true;
            }
            if self.pending.is_empty() && !self.next_timer() {
                return false;
            }
            if !self.pending.is_empty() {
                let at = self.roll(self.pending.len());
                let next = self.pending.remove(at);
                self.happen(next);
            }
        }
        false
    }
}

/// Folds a record of a replay, with what must be loaded.
pub(crate) fn replay(run: &mut Run, record: &Record, stored: &BTreeMap<Digest, Bytes>) {
    loop {
        match run.replay(record) {
            Ok(()) => return,
            Err(Stop::Needs(parts)) => {
                for part in parts {
                    drop(run.provide(part.digest, &stored[&part.digest]));
                }
            }
            Err(stop) => panic!("{stop}"),
        }
    }
}

impl Life {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    pub(crate) fn end(&self) -> Option<End> {
        self.journal.iter().rev().find_map(|record| match &record.event {
            Event::End { end, .. } => Some(end.clone()),
            _ => None,
        })
    }

    fn over(&self) -> bool {
        self.run.as_ref().is_some_and(Run::is_over)
    }

    pub(crate) fn text(&self) -> String {
        let lines = self.journal.iter().map(|record| format!("{:4} {:?}", record.sequence, record.event));
        lines.collect::<Vec<_>>().join("\n")
    }
}
