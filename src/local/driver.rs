//! Runs a setup to its end: one thing that is due after the other, tasks side by side.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::agenda::{Agenda, Due};
use super::{Call, Clock, Error, Executor, History, Ran, Report, Setup, View, Word, Words, check};
use crate::model::datum::Datum;
use crate::model::{Failure, Kind, Outcome, RunId, SignalName, StepAttempt, StepId, Timestamp};
use crate::workflow::effect::Dispatch;
use crate::workflow::flow::{self, Document};
use crate::workflow::journal::{self, CORE_VERSION, End, Event, Pins, Record, Start};
use crate::workflow::run::{Run, Stop};
use crate::workflow::wire::RecordName;

/// What a record takes in a journal beside its values.
const RECORD_BYTES: u64 = 128;

/// The place of a task in the queue: higher priorities first, then the older ones.
pub(super) type Place = (std::cmp::Reverse<u8>, u64);

/// Runs a setup to its end, or until nothing follows any more. `view` is told of each step; `words` are words to the run while
/// it goes on.
///
/// # Errors
/// [`Error`]
pub async fn run(
    setup: Setup,
    executor: &dyn Executor,
    view: &mut View<'_>,
    words: Option<Words>,
) -> Result<Report, Error> {
    let pins = check(&setup, executor).map_err(Error::Refused)?;
    let mut driver = Driver::new(setup, executor, view);
    driver.begin_root(pins)?;
    driver.play(words).await?;
    driver.report()
}

/// A run and its journal.
pub(super) struct Life {
    pub(super) run: Run,
    /// The signals that its document waits for, and the flows that took the places of its steps.
    waits_for: BTreeSet<SignalName>,
    pub(super) history: History,
    pub(super) names: BTreeSet<RecordName>,
}

/// Everything that goes on.
pub(super) struct Driver<'a> {
    pub(super) setup: Setup,
    pub(super) executor: &'a dyn Executor,
    view: &'a mut View<'a>,
    pub(super) lives: BTreeMap<RunId, Life>,
    pub(super) agenda: Agenda,
    /// What the core asked for and is not done yet.
    pub(super) effects: std::collections::VecDeque<(RunId, crate::workflow::Effect)>,
    /// Tasks that wait for a slot, in the order in which they get one.
    pub(super) queue: BTreeMap<Place, (RunId, Box<Dispatch>)>,
    /// Where each of them waits.
    pub(super) queued: BTreeMap<StepAttempt, Place>,
    pub(super) arrived: u64,
    working: FuturesUnordered<BoxFuture<'a, (StepAttempt, Ran)>>,
    /// The tasks that have a slot, and what stops them; on the fast clock also those that only take their time any more.
    pub(super) under_way: BTreeMap<StepAttempt, CancellationToken>,
    /// Those that only take their time, and where they stand in the agenda.
    pub(super) taking: BTreeMap<StepAttempt, (Timestamp, u64)>,
    /// The signals that were sent so far: a child run that begins later gets those that it waits for, too.
    sent: Vec<(SignalName, Datum)>,
    sequence: u64,
    began: Instant,
    now: Timestamp,
}

impl<'a> Driver<'a> {
    fn new(setup: Setup, executor: &'a dyn Executor, view: &'a mut View<'_>) -> Self {
        let now = setup.begins;
        Self {
            setup,
            executor,
            view,
            lives: BTreeMap::new(),
            agenda: Agenda::default(),
            effects: std::collections::VecDeque::new(),
            queue: BTreeMap::new(),
            queued: BTreeMap::new(),
            arrived: 0,
            working: FuturesUnordered::new(),
            under_way: BTreeMap::new(),
            taking: BTreeMap::new(),
            sent: Vec::new(),
            sequence: 0,
            began: Instant::now(),
            now,
        }
    }

    /// The run's time.
    pub(super) fn now(&mut self) -> Timestamp {
        if self.setup.clock == Clock::Real {
            self.now = self.now.max(self.setup.begins.after(self.began.elapsed()));
        }
        self.now
    }

    fn begin_root(&mut self, pins: Pins) -> Result<(), Error> {
        let Setup { run, document, input, limits, words, begins, .. } = &self.setup;
        let start = Start {
            core_version: CORE_VERSION,
            run: run.clone(),
            flow: document.name.clone(),
            pin: None,
            document: Datum::of_json(&document.to_json()),
            input: input.clone(),
            pins,
            labels: BTreeMap::new(),
            parent: None,
            limits: *limits,
        };
        for (after, word) in words {
            self.agenda.add(begins.after(*after), Due::Word(word.clone()));
        }
        self.begin(start)
    }

    /// Begins a run, once.
    pub(super) fn begin(&mut self, start: Start) -> Result<(), Error> {
        let id = start.run.clone();
        if self.lives.contains_key(&id) {
            return Ok(());
        }
        let start = Arc::new(start);
        let mut run = Run::new(&start)?;
        run.watch();
        let history = History { parent: start.parent.clone(), ..History::default() };
        let waits_for = signals(&start.document);
        self.lives.insert(id.clone(), Life { run, waits_for, history, names: BTreeSet::new() });
        self.record(&id, RecordName::Start, Event::Start(start))?;
        self.signal(&id)
    }

    /// Gives a run the signals that it waits for, each once.
    fn signal(&mut self, id: &RunId) -> Result<(), Error> {
        let Some(life) = self.lives.get(id) else { return Ok(()) };
        let sent = self.sent.iter().enumerate().filter(|(_, (name, _))| life.waits_for.contains(name));
        let sent: Vec<(usize, (SignalName, Datum))> = sent.map(|(number, signal)| (number, signal.clone())).collect();
        for (number, (name, payload)) in sent {
            let record = RunId::derived(&["signal", id.as_str(), &number.to_string()]);
            if let Ok(record) = record.as_str().parse() {
                self.record(id, RecordName::Signal(record), Event::Signal { name, payload })?;
            }
        }
        Ok(())
    }

    /// Writes a record, once under its name, and folds it.
    pub(super) fn record(&mut self, id: &RunId, name: RecordName, event: Event) -> Result<(), Error> {
        let time = self.now();
        let Some(life) = self.lives.get_mut(id) else { return Ok(()) };
        if !life.names.insert(name) {
            return Ok(());
        }
        self.sequence = self.sequence.saturating_add(1);
        let record = Record { sequence: self.sequence, time, bytes: bytes(&event), event };
        let effects = loop {
            match life.run.apply(&record) {
                Ok(effects) => break effects,
                // Nothing stands elsewhere here; what says so is a value that somebody made up.
                Err(Stop::Needs(parts)) => {
                    let effects = parts.into_iter().flat_map(|part| life.run.cannot_provide(part.digest));
                    let effects: Vec<_> = effects.map(|effect| (id.clone(), effect)).collect();
                    self.effects.extend(effects);
                }
                Err(stop) => return Err(stop.into()),
            }
        };
        self.effects.extend(effects.into_iter().map(|effect| (id.clone(), effect)));
        life.history.journal.push(record);
        for change in life.run.take_changes() {
            (self.view)(id, &change);
            life.history.changes.push(change);
        }
        Ok(())
    }

    async fn play(&mut self, mut words: Option<Words>) -> Result<(), Error> {
        loop {
            while let Some((run, effect)) = self.effects.pop_front() {
                self.perform(&run, effect)?;
            }
            if self.lives.values().all(|life| life.run.is_over()) {
                return Ok(());
            }
            self.fill();
            let next = self.agenda.next();
            if self.setup.clock == Clock::Fast && self.working.is_empty() {
                let Some((at, due)) = self.agenda.take() else { return Err(Error::Stuck(self.pending())) };
                self.now = self.now.max(at);
                self.happen(due)?;
                continue;
            }
            let real = self.setup.clock == Clock::Real;
            let due_at = next.map(|at| self.began + at.since(self.setup.begins)).filter(|_| real);
            tokio::select! {
                biased;
                word = hear(&mut words) => self.hear(word)?,
                Some((attempt, ran)) = self.working.next(), if !self.working.is_empty() => self.ended(attempt, ran)?,
                () = at(due_at), if due_at.is_some() => {
                    if let Some((_, due)) = self.agenda.take() {
                        self.happen(due)?;
                    }
                }
            }
        }
    }

    /// Gives slots to tasks that wait for one.
    fn fill(&mut self) {
        while self.under_way.len() < self.setup.concurrency.max(1) {
            let Some((_, (run, task))) = self.queue.pop_first() else { return };
            let attempt = StepAttempt { run, step: task.step.clone(), attempt: task.attempt };
            self.queued.remove(&attempt);
            self.start(attempt, *task);
        }
    }

    fn start(&mut self, attempt: StepAttempt, task: Dispatch) {
        let cancel = CancellationToken::new();
        self.under_way.insert(attempt.clone(), cancel.clone());
        let call = Call {
            input: task.input.text().clone(),
            idempotency_key: task.idempotency_key.unwrap_or_else(|| attempt.task_id()),
            task: task.task,
            attempt: attempt.attempt,
            run: attempt.run.clone(),
            step: attempt.step.clone(),
            options: task.options,
            now: self.now(),
            cancel,
        };
        let late = task.expires.is_some_and(|expires| expires < call.now);
        let executor = self.executor;
        self.working.push(Box::pin(async move {
            let ran = if late {
                Outcome::Failed(Failure::new(Kind::Expired, "it was not taken up in time")).into()
            } else {
                executor.execute(call).await
            };
            (attempt, ran)
        }));
    }

    /// An attempt has ended, or has only to take its time any more.
    fn ended(&mut self, attempt: StepAttempt, ran: Ran) -> Result<(), Error> {
        let outcome = match ran.outcome {
            Outcome::Output(output) => match Datum::parse(&output) {
                Ok(output) => journal::Outcome::Succeeded(output),
                Err(error) => failed(Kind::Returned, format!("the output: {error}")),
            },
            Outcome::Replace(flow) => match Datum::parse(&flow.into()) {
                Ok(flow) => journal::Outcome::Replaced(flow),
                Err(error) => failed(Kind::BadFlow, format!("the flow that was handed back: {error}")),
            },
            Outcome::Failed(failure) => journal::Outcome::Failed(failure),
        };
        if self.setup.clock == Clock::Fast && !ran.takes.is_zero() {
            let at = self.now().after(ran.takes);
            let place = self.agenda.add(at, Due::Outcome(Box::new((attempt.clone(), outcome))));
            self.taking.insert(attempt, place);
            return Ok(());
        }
        self.commit(attempt, outcome)
    }

    fn commit(&mut self, attempt: StepAttempt, outcome: journal::Outcome) -> Result<(), Error> {
        if self.under_way.remove(&attempt).is_some_and(|cancel| cancel.is_cancelled()) {
            // Nobody awaits it; who cancels does not learn what it would have been.
            return Ok(());
        }
        let StepAttempt { run, step, attempt } = attempt;
        let name = RecordName::Step { step: step.clone(), attempt };
        let more = match &outcome {
            journal::Outcome::Replaced(document) => signals(document),
            journal::Outcome::Succeeded(_) | journal::Outcome::Failed(_) => BTreeSet::new(),
        };
        self.record(&run, name, Event::Outcome { step, attempt, outcome })?;
        if more.is_empty() {
            return Ok(());
        }
        if let Some(life) = self.lives.get_mut(&run) {
            life.waits_for.extend(more);
        }
        self.signal(&run)
    }

    fn happen(&mut self, due: Due) -> Result<(), Error> {
        match due {
            Due::Timer(run, timer) => self.record(&run, RecordName::Timer(timer.clone()), Event::Timer(timer)),
            Due::Word(word) => self.hear(word),
            Due::Outcome(ended) => {
                let (attempt, outcome) = *ended;
                self.taking.remove(&attempt);
                self.commit(attempt, outcome)
            }
        }
    }

    fn hear(&mut self, word: Word) -> Result<(), Error> {
        match word {
            Word::Cancel => {
                let run = self.setup.run.clone();
                self.record(&run, RecordName::Cancel(0), Event::Cancel { generation: 0 })
            }
            Word::Signal(name, payload) => {
                self.sent.push((name, payload));
                let runs: Vec<RunId> = self.lives.keys().cloned().collect();
                runs.iter().try_for_each(|run| self.signal(run))
            }
        }
    }

    fn pending(&self) -> Vec<super::Pending> {
        let of = |(id, life): (&RunId, &Life)| -> Vec<super::Pending> {
            life.run.waiting().into_iter().map(|(step, label, waiting)| (id.clone(), step, label, waiting)).collect()
        };
        self.lives.iter().flat_map(of).collect()
    }

    fn report(mut self) -> Result<Report, Error> {
        let took = self.now().since(self.setup.begins);
        let run = self.setup.run.clone();
        let mut runs = BTreeMap::new();
        for (id, life) in self.lives {
            let begun: BTreeSet<&StepId> = life.history.changes.iter().map(|change| &change.step).collect();
            let skipped = life.run.skipped(&|step| begun.contains(step));
            runs.insert(id, History { skipped, ..life.history });
        }
        let end = runs.get(&run).and_then(|history| end(&history.journal));
        let end = end.ok_or_else(|| Error::Stopped(Stop::Broken("the run has no end record".to_owned())))?;
        Ok(Report { end, run, runs, took })
    }
}

/// The signals that a document waits for.
fn signals(document: &Datum) -> BTreeSet<SignalName> {
    Document::parse_json(document.text()).map(|document| flow::signals(&document)).unwrap_or_default()
}

fn failed(kind: Kind, message: String) -> journal::Outcome {
    journal::Outcome::Failed(Failure::new(kind, message))
}

fn end(journal: &[Record]) -> Option<End> {
    journal.iter().rev().find_map(|record| {
        let Event::End { end, .. } = &record.event else { return None };
        Some(end.clone())
    })
}

/// About what a record takes in a journal.
fn bytes(event: &Event) -> u64 {
    use journal::{Decision, Outcome};
    let value = match event {
        Event::Start(start) => start.document.size().saturating_add(start.input.as_ref().map_or(0, Datum::size)),
        Event::Outcome { outcome: Outcome::Succeeded(value) | Outcome::Replaced(value), .. }
        | Event::Decided { decision: Decision::Value(value), .. }
        | Event::Child { end: Ok(value), .. }
        | Event::Signal { payload: value, .. } => value.size(),
        Event::Outcome { .. }
        | Event::Decided { .. }
        | Event::Child { .. }
        | Event::Timer(_)
        | Event::Cancel { .. }
        | Event::Pause
        | Event::Resume
        | Event::Retry
        | Event::End { .. } => 0,
    };
    value.saturating_add(RECORD_BYTES)
}

/// The next word; never, where nobody is left who could say one.
async fn hear(words: &mut Option<Words>) -> Word {
    if let Some(open) = words {
        if let Some(word) = open.recv().await {
            return word;
        }
        *words = None;
    }
    std::future::pending().await
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
