//! Tests of your own flows: the real core, tasks that are closures, and a clock on which nothing waits.
//!
//! ```
//! use lovage::testing::{Failed, Flow};
//! use serde_json::json;
//!
//! let report = Flow::new(
//!     "chain:
//!      - {task: shop/charge, compensate: {task: shop/refund}}
//!      - wait: approved
//!      - {task: shop/ship, retry: 2}",
//! )
//! .input(json!({"card": 4242}))
//! .task("shop/charge", |call| Ok(json!({"paid": call.input["card"]})))
//! .task("shop/refund", |_| Ok(json!(null)))
//! .task("shop/ship", |call| Err::<serde_json::Value, _>(Failed::retryable(format!("no van, try {}", call.attempt))))
//! .signal("approved", json!(true))
//! .run();
//!
//! assert_eq!(report.failure().message, "no van, try 2");
//! assert_eq!(report.calls("shop/ship").len(), 2);
//! assert_eq!(report.inputs("shop/refund"), [json!({"input": {"card": 4242}, "output": {"paid": 4242}})]);
//! ```
//!
//! What a flow does here it does on a platform: it is the same code that decides. What a task does is yours to say: it sees its
//! input and the number of its attempt, may fail, may hand back a flow, and may [take time](Call::takes), which passes at once.
//! A flow that cannot end fails the test, and says what it waits for.
//!
//! **Invariant:** nothing here waits, reads a clock or draws a number: a test ends the same way each time.

mod report;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use serde_json::Value;

use crate::local::{self, Executor, Ran, Refusal, Setup, Word};
use crate::model::{Datum, Digest, FlowName, Outcome, RunId, SignalName, StepId, TaskRef, Timestamp, Version};
use crate::workflow::flow::{Document, build};
use crate::workflow::journal::Pin;
use crate::workflow::run::Waiting;

pub use crate::model::{Failure, Kind};
pub use report::{Called, Report};

/// When runs begin, unless the test says another time: 2026-01-01T00:00:00Z.
pub const BEGINS: Timestamp = Timestamp::from_millis(1_767_225_600_000);

/// Tasks at a time, unless the test says another number: as with many hosts.
const CONCURRENCY_DEFAULT: usize = 1_000;

/// A flow under test.
#[derive(Clone)]
#[must_use = "it is run by `run`"]
pub struct Flow {
    document: Result<Document, Error>,
    input: Option<Value>,
    tasks: BTreeMap<String, Arc<Task>>,
    flows: Vec<(String, Result<Document, Error>)>,
    signals: Vec<(Duration, String, Value)>,
    cancel_after: Option<Duration>,
    begins: Timestamp,
    concurrency: usize,
}

type Task = dyn Fn(&Call) -> Result<Answer, Failed> + Send + Sync;

/// What a task is called with.
#[derive(Debug)]
pub struct Call {
    /// Its input.
    pub input: Value,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The step, by its path.
    pub step: StepId,
    /// The run: the one under test, or a child run of it.
    pub run: RunId,
    /// The same for every attempt.
    pub idempotency_key: String,
    /// The run's time.
    pub now: Timestamp,
    takes: Cell<Duration>,
}

impl Call {
    /// Lets the attempt take so long by the run's clock: timeouts and other steps may come before its end.
    pub fn takes(&self, length: Duration) {
        self.takes.set(length);
    }
}

/// What a task fails with: the words of the guests' SDK, and any other kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed(Box<Failure>);

impl Failed {
    /// A failure that another attempt may not have: kind `returned`.
    pub fn retryable(message: impl Into<String>) -> Self {
        Self::new(Kind::Returned, message)
    }

    /// A failure that this input will always have: kind `refused`.
    pub fn permanent(message: impl Into<String>) -> Self {
        Self::new(Kind::Refused, message)
    }

    /// A failure of any kind.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Failure::new(kind, message)))
    }

    /// Asks that the next attempt waits so long.
    #[must_use]
    pub fn after(self, delay: Duration) -> Self {
        Self(Box::new(self.0.after(delay)))
    }

    /// Adds a value for whoever handles the failure.
    #[must_use]
    pub fn detail(self, detail: Value) -> Self {
        Self(Box::new(self.0.with_detail(detail)))
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        Self(Box::new(failure))
    }
}

/// What a task ends well with.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// An output.
    Output(Value),
    /// A flow that takes its place, as a document.
    Flow(Value),
}

impl From<Value> for Answer {
    fn from(output: Value) -> Self {
        Self::Output(output)
    }
}

impl From<build::Flow> for Answer {
    fn from(flow: build::Flow) -> Self {
        Self::Flow(flow.document())
    }
}

/// A flow as a test gives it: YAML or JSON text, a JSON value, a document, or what [`build`] makes.
#[derive(Clone, Debug)]
pub struct Source(Result<Document, Error>);

impl From<&str> for Source {
    fn from(text: &str) -> Self {
        Self(Document::parse(text.as_bytes()).map_err(|problems| Error::problems(&problems)))
    }
}

impl From<Value> for Source {
    fn from(json: Value) -> Self {
        Self(Document::from_json(&json).map_err(|problems| Error::problems(&problems)))
    }
}

impl From<build::Flow> for Source {
    fn from(flow: build::Flow) -> Self {
        flow.document().into()
    }
}

impl From<Document> for Source {
    fn from(document: Document) -> Self {
        Self(Ok(document))
    }
}

/// Why a flow under test has no end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The document is none; all that is wrong with it.
    #[error("the flow is none:\n  {0}")]
    Document(String),
    /// A name in the test that is none.
    #[error("{0}")]
    Name(String),
    /// It may not begin: tasks or flows are missing.
    #[error("the flow may not begin:\n  {0}")]
    Refused(String),
    /// It waits for what never comes.
    #[error("{0}")]
    Stuck(String),
    /// The core cannot go on.
    #[error("{0}")]
    Stopped(String),
}

impl Error {
    fn problems(problems: &[crate::workflow::flow::Problem]) -> Self {
        Self::Document(lines(problems))
    }
}

fn lines(all: &[impl ToString]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

impl Flow {
    /// A flow: YAML or JSON text, a JSON value, a document, or what [`build`] makes.
    pub fn new(flow: impl Into<Source>) -> Self {
        Self {
            document: flow.into().0,
            input: None,
            tasks: BTreeMap::new(),
            flows: Vec::new(),
            signals: Vec::new(),
            cancel_after: None,
            begins: BEGINS,
            concurrency: CONCURRENCY_DEFAULT,
        }
    }

    /// What the run is started with; nothing where it is not given.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
        self
    }

    /// What stands for a task, named as `module/task` (whatever version the flow asks for).
    pub fn task<A: Into<Answer>>(
        mut self,
        task: &str,
        answer: impl Fn(&Call) -> Result<A, Failed> + Send + Sync + 'static,
    ) -> Self {
        self.tasks.insert(task.to_owned(), Arc::new(move |call| answer(call).map(Into::into)));
        self
    }

    /// A stored flow that the flow starts as a child run.
    pub fn flow(mut self, name: &str, flow: impl Into<Source>) -> Self {
        self.flows.push((name.to_owned(), flow.into().0));
        self
    }

    /// A signal that comes before the flow begins to wait for it.
    pub fn signal(self, name: &str, payload: Value) -> Self {
        self.signal_after(Duration::ZERO, name, payload)
    }

    /// A signal that comes so long after the beginning.
    pub fn signal_after(mut self, after: Duration, name: &str, payload: Value) -> Self {
        self.signals.push((after, name.to_owned(), payload));
        self
    }

    /// Cancels the run so long after its beginning.
    pub fn cancel_after(mut self, after: Duration) -> Self {
        self.cancel_after = Some(after);
        self
    }

    /// When the run begins; [`BEGINS`] where it is not given.
    pub fn begins(mut self, at: Timestamp) -> Self {
        self.begins = at;
        self
    }

    /// How many tasks are under way at a time; those behind them wait as in a full queue.
    pub fn concurrency(mut self, tasks: usize) -> Self {
        self.concurrency = tasks;
        self
    }

    /// Runs the flow to its end.
    ///
    /// # Panics
    /// If it has no end; the message says why.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "that is how a test fails")]
    pub fn run(self) -> Report {
        self.try_run().unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs the flow to its end.
    ///
    /// # Errors
    /// [`Error`], where it has none.
    pub fn try_run(self) -> Result<Report, Error> {
        let closures = Closures { tasks: self.tasks.clone(), calls: Mutex::default() };
        let setup = self.setup()?;
        let mut view = |_: &RunId, _: &crate::workflow::run::Change| {};
        // On the fast clock nothing is waited for but tasks, and closures end when they return.
        let report = local::run(setup, &closures, &mut view, None)
            .now_or_never()
            .ok_or_else(|| Error::Stopped("the run waits for the world outside".to_owned()))?;
        let report = report.map_err(explained)?;
        Ok(Report::new(report, closures.calls.into_inner().unwrap_or_else(PoisonError::into_inner)))
    }

    fn setup(self) -> Result<Setup, Error> {
        fn named<N: std::str::FromStr>(text: &str) -> Result<N, Error>
        where
            N::Err: fmt::Display,
        {
            text.parse().map_err(|error: N::Err| Error::Name(error.to_string()))
        }
        let mut flows = BTreeMap::new();
        for (name, document) in self.flows {
            flows.insert(named::<FlowName>(&name)?, document?);
        }
        for task in self.tasks.keys() {
            named::<TaskRef>(task)?;
        }
        let mut words = Vec::new();
        for (after, name, payload) in &self.signals {
            words.push((*after, Word::Signal(named::<SignalName>(name)?, Datum::of_json(payload))));
        }
        words.extend(self.cancel_after.map(|after| (after, Word::Cancel)));
        Ok(Setup {
            input: self.input.as_ref().map(Datum::of_json),
            flows,
            words,
            concurrency: self.concurrency,
            ..Setup::new(self.document?, self.begins)
        })
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("document", &self.document).field("input", &self.input).finish_non_exhaustive()
    }
}

/// Says what a test can do about it.
fn explained(error: local::Error) -> Error {
    match error {
        local::Error::Refused(refusals) => {
            let told = refusals.iter().map(|refusal| match refusal {
                Refusal::Task { task, .. } => {
                    format!("it calls {task}: add .task(\"{}/{}\", |call| ...)", task.module, task.task)
                }
                Refusal::Flow { name } => format!("it starts the flow {name}: add .flow(\"{name}\", ...)"),
                Refusal::Input { .. } | Refusal::Signal { .. } => refusal.to_string(),
            });
            Error::Refused(lines(&told.collect::<Vec<_>>()))
        }
        local::Error::Stuck(ref pending) => {
            let signal = pending.iter().find_map(|(_, _, _, waiting)| {
                let Waiting::Signal(name) = waiting else { return None };
                Some(format!(": add .signal(\"{name}\", ...)"))
            });
            Error::Stuck(format!("{error}{}", signal.unwrap_or_default()))
        }
        local::Error::Stopped(stop) => Error::Stopped(stop.to_string()),
    }
}

/// Closures in place of modules.
struct Closures {
    tasks: BTreeMap<String, Arc<Task>>,
    calls: Mutex<Vec<Called>>,
}

impl Closures {
    fn of(&self, task: &TaskRef) -> Option<&Arc<Task>> {
        let exact = self.tasks.get(&task.to_string());
        exact.or_else(|| self.tasks.get(&format!("{}/{}", task.module, task.task)))
    }
}

#[async_trait]
impl Executor for Closures {
    fn find(&self, task: &TaskRef) -> Result<Pin, String> {
        self.of(task).ok_or_else(|| "nothing stands for it".to_owned())?;
        let version = task.version.clone().unwrap_or_else(|| Version::next_after([]));
        Ok(Pin { version, digest: Digest::of(task.module.as_str().as_bytes()) })
    }

    async fn execute(&self, call: local::Call) -> Ran {
        let Some(task) = self.of(&call.task) else {
            let why = format!(
                "nothing stands for {}: add .task(\"{}/{}\", ...)",
                call.task, call.task.module, call.task.task
            );
            return Outcome::Failed(Failure::new(Kind::TaskMissing, why)).into();
        };
        let seen = Call {
            input: serde_json::from_slice(&call.input).unwrap_or_default(),
            attempt: call.attempt,
            step: call.step,
            run: call.run,
            idempotency_key: call.idempotency_key,
            now: call.now,
            takes: Cell::default(),
        };
        let answer = task(&seen);
        let outcome = match &answer {
            Ok(Answer::Output(output)) => Outcome::Output(output.to_string().into()),
            Ok(Answer::Flow(flow)) => Outcome::Replace(flow.to_string()),
            Err(failed) => Outcome::Failed((*failed.0).clone()),
        };
        let takes = seen.takes.get();
        let called = Called {
            task: format!("{}/{}", call.task.module, call.task.task),
            input: seen.input,
            attempt: seen.attempt,
            step: seen.step,
            now: seen.now,
            answer,
        };
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(called);
        Ran { takes, ..Ran::from(outcome) }
    }
}
