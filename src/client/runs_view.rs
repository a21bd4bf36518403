//! A run as people see it: its records folded by the core, with what became of each step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;

use super::runs_places::Queued;
use super::{Client, Error};
use crate::model::{Datum, Digest, Queue, RunId, StepId, Timestamp};
use crate::store::run_values;
use crate::workflow::flow::TaskOptions;
use crate::workflow::journal::{End, Start};
use crate::workflow::run::{Change, RunState, Skipped, StepState, Stop, Waiting};
use crate::workflow::{Event, Record, Run, wire};

/// How long nothing must have happened before whoever watches is told once more: records come in bursts, of which a screen shows
/// only some, and what it shows last must be true for as long as nothing follows.
const QUIET_AFTER: Duration = Duration::from_millis(100);

/// A run, folded as far as its records were read.
pub struct RunView {
    run: Run,
    start: Arc<Start>,
    steps: BTreeMap<StepId, StepView>,
    order: Vec<StepId>,
    started: Timestamp,
    ended: Option<Timestamp>,
}

/// A step as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// The step.
    pub step: StepId,
    /// Its name, or its task, or its kind.
    pub label: String,
    /// What it is: `task`, `chain` and so on.
    pub kind: &'static str,
    /// What became of it last.
    pub state: StepState,
    /// Its attempt, of a task.
    pub attempt: Option<u32>,
    /// When it began.
    pub began: Timestamp,
    /// When that became of it.
    pub changed: Timestamp,
}

impl RunView {
    fn new(start: Arc<Start>, started: Timestamp) -> Result<Self, Error> {
        let mut run = Run::remembering(&start).map_err(|stop| Error::Refused(stop.to_string()))?;
        run.watch();
        Ok(Self { run, start, steps: BTreeMap::new(), order: Vec::new(), started, ended: None })
    }

    /// What the run is from its beginning.
    #[must_use]
    pub const fn start(&self) -> &Arc<Start> {
        &self.start
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> RunState {
        self.run.state()
    }

    /// How it ended; `None` while it has not.
    #[must_use]
    pub fn end(&self) -> Option<End> {
        self.run.is_over().then(|| self.run.end()).flatten()
    }

    /// When it was started, and when it ended.
    #[must_use]
    pub const fn times(&self) -> (Timestamp, Option<Timestamp>) {
        (self.started, self.ended)
    }

    /// All steps that have begun, in the order of their beginnings.
    pub fn steps(&self) -> impl Iterator<Item = &StepView> {
        self.order.iter().filter_map(|step| self.steps.get(step))
    }

    /// A step.
    #[must_use]
    pub fn step(&self, step: &StepId) -> Option<&StepView> {
        self.steps.get(step)
    }

    /// What each step that has not ended waits for.
    #[must_use]
    pub fn waiting(&self) -> BTreeMap<StepId, Waiting> {
        self.run.waiting().into_iter().map(|(step, _, waiting)| (step, waiting)).collect()
    }

    /// The attempts that are queued, or run.
    pub(super) fn queued(&self) -> Vec<Queued> {
        let queued = |(step, attempt, options): (&StepId, u32, &TaskOptions)| Queued {
            step: step.clone(),
            attempt,
            queue: options.queue.clone().unwrap_or_else(Queue::default_queue),
            requires: options.requires.clone(),
        };
        self.run.out().map(queued).collect()
    }

    /// The steps of a run that is over that never began.
    #[must_use]
    pub fn skipped(&self) -> Vec<Skipped> {
        if self.run.is_over() { self.run.skipped(&|step| self.steps.contains_key(step)) } else { Vec::new() }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other variants are none of this function's business")]
    fn note(&mut self, record: &Record) -> Vec<Change> {
        match &record.event {
            Event::End { .. } => self.ended = Some(record.time),
            Event::Retry => self.ended = None,
            _ => {}
        }
        let changes = self.run.take_changes();
        for change in &changes {
            let Change { step, label, kind, state, attempt, time, waits: _ } = change.clone();
            let began = match self.steps.get(&step) {
                Some(old) => old.began,
                None => {
                    self.order.push(step.clone());
                    time
                }
            };
            let attempt = attempt.or_else(|| self.steps.get(&step).and_then(|old| old.attempt));
            let view = StepView { step: step.clone(), label, kind, state, attempt, began, changed: time };
            self.steps.insert(step, view);
        }
        changes
    }
}

impl Client {
    /// A run as it is now.
    ///
    /// # Errors
    /// An unknown run, a record that cannot be read or folded, and what the broker fails with.
    pub async fn view_run(&self, run: &RunId) -> Result<RunView, Error> {
        self.fold(run, false, &mut |_, _| true).await
    }

    /// Follows a run to its end. `show` is told of each change, and once more without any when it has been quiet for 100 ms; it
    /// ends the watching by `false`.
    ///
    /// # Errors
    /// As [`view_run`](Self::view_run).
    pub async fn watch_run(
        &self,
        run: &RunId,
        show: &mut (dyn FnMut(&RunView, &[Change]) -> bool + Send),
    ) -> Result<RunView, Error> {
        self.fold(run, true, show).await
    }

    async fn fold(
        &self,
        run: &RunId,
        follow: bool,
        show: &mut (dyn FnMut(&RunView, &[Change]) -> bool + Send),
    ) -> Result<RunView, Error> {
        // A reading that follows would wait for the first record of a run that is not there.
        let generation = self.generation(run).await?;
        let mut records = self.run_records(run, follow).await?;
        let mut view: Option<RunView> = None;
        let mut told = true;
        loop {
            let quiet_after = if follow && !told { QUIET_AFTER } else { Duration::MAX };
            let record = match tokio::time::timeout(quiet_after, records.next()).await {
                Ok(Some(record)) => self.with_document(run, record?.record).await?,
                Ok(None) => break,
                Err(_quiet) => {
                    told = true;
                    if view.as_ref().is_some_and(|view| !show(view, &[])) {
                        break;
                    }
                    continue;
                }
            };
            told = false;
            let view = match (&mut view, &record.event) {
                (Some(view), _) => view,
                (none @ None, Event::Start(start)) => none.insert(RunView::new(Arc::clone(start), record.time)?),
                // What overtook the start of a child says nothing yet.
                (None, _) => continue,
            };
            self.apply(run, view, &record).await?;
            let changes = view.note(&record);
            // The end of a life that was followed by a retry is not the end.
            let ended = view.end().is_some() && view.run.generation() >= generation;
            if !show(view, &changes) || (follow && ended) {
                break;
            }
        }
        view.ok_or_else(|| Error::RunNotFound(run.clone()))
    }

    async fn apply(&self, id: &RunId, view: &mut RunView, record: &Record) -> Result<(), Error> {
        loop {
            match view.run.replay(record) {
                Ok(()) => return Ok(()),
                Err(Stop::Needs(parts)) => {
                    for part in parts {
                        let _effects = match run_values::get(&self.broker, &self.tenant, id, &part).await {
                            Ok(bytes) => view.run.provide(part.digest, &bytes),
                            Err(_) => view.run.cannot_provide(part.digest),
                        };
                    }
                }
                Err(stop) => return Err(Error::Refused(format!("the run cannot be read: {stop}"))),
            }
        }
    }

    /// The core reads documents as a whole.
    async fn with_document(&self, run: &RunId, mut record: Record) -> Result<Record, Error> {
        if let Some(document) = wire::document_mut(&mut record.event)
            && !document.elsewhere().is_empty()
        {
            *document = self.whole(run, document).await?;
        }
        Ok(record)
    }

    async fn whole(&self, run: &RunId, value: &Datum) -> Result<Datum, Error> {
        let text: Bytes = run_values::whole(&self.broker, &self.tenant, run, value).await?;
        Datum::parse(&text).map_err(|error| Error::Refused(format!("the value {}: {error}", Digest::of(&text))))
    }

    /// The bytes of a step's output or a run's input.
    ///
    /// # Errors
    /// A value that is gone, and what the broker fails with.
    pub async fn run_value(&self, run: &RunId, value: &Datum) -> Result<Bytes, Error> {
        Ok(run_values::whole(&self.broker, &self.tenant, run, value).await?)
    }
}
