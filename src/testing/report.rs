//! What a test asks of a run that has ended.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::{Answer, Failed, Failure};
use crate::local;
use crate::model::{Datum, StepId, Timestamp};
use crate::workflow::journal::Ending;
use crate::workflow::run::{Change, StepState};

/// A call of a task, and what it was answered with.
#[derive(Clone, Debug, PartialEq)]
pub struct Called {
    /// The task, `module/task`.
    pub task: String,
    /// Its input.
    pub input: Value,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The step, by its path.
    pub step: StepId,
    /// When, by the run's clock.
    pub now: Timestamp,
    /// The answer.
    pub answer: Result<Answer, Failed>,
}

/// A flow under test that has ended.
#[derive(Clone, Debug)]
pub struct Report {
    run: local::Report,
    calls: Vec<Called>,
}

impl Report {
    pub(super) const fn new(run: local::Report, calls: Vec<Called>) -> Self {
        Self { run, calls }
    }

    /// The output of a run that succeeded.
    ///
    /// # Panics
    /// If it did not.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "that is how a test fails")]
    pub fn output(&self) -> Value {
        match &self.run.end.result {
            Ending::Succeeded(output) => json(output),
            Ending::Failed(failure) => panic!("the run failed{}: {failure}", place(failure)),
            Ending::Cancelled => panic!("the run was cancelled"),
        }
    }

    /// What a run that failed failed with.
    ///
    /// # Panics
    /// If it did not fail.
    #[must_use]
    #[track_caller]
    #[expect(clippy::panic, reason = "that is how a test fails")]
    pub fn failure(&self) -> &Failure {
        match &self.run.end.result {
            Ending::Failed(failure) => failure,
            Ending::Succeeded(output) => panic!("the run succeeded, with {}", json(output)),
            Ending::Cancelled => panic!("the run was cancelled"),
        }
    }

    /// Whether it ended because somebody cancelled it.
    #[must_use]
    pub const fn is_cancelled(&self) -> bool {
        matches!(self.run.end.result, Ending::Cancelled)
    }

    /// What compensations failed with.
    #[must_use]
    pub fn compensation_failures(&self) -> &[Failure] {
        &self.run.end.compensation_failures
    }

    /// All calls of tasks, in their order.
    #[must_use]
    pub fn log(&self) -> &[Called] {
        &self.calls
    }

    /// The calls of a task, in their order.
    #[must_use]
    pub fn calls(&self, task: &str) -> Vec<&Called> {
        self.calls.iter().filter(|call| call.task == task).collect()
    }

    /// The inputs of a task's calls, in their order.
    #[must_use]
    pub fn inputs(&self, task: &str) -> Vec<Value> {
        self.calls(task).into_iter().map(|call| call.input.clone()).collect()
    }

    /// The steps of the document that never began, by their names, or their tasks or kinds where they have none.
    #[must_use]
    pub fn skipped(&self) -> Vec<String> {
        let own = self.run.runs.get(&self.run.run);
        own.into_iter().flat_map(|history| history.skipped.iter().map(|step| step.label.clone())).collect()
    }

    /// The steps that began and were cancelled, by their names, or their tasks or kinds where they have none.
    #[must_use]
    pub fn cancelled(&self) -> Vec<String> {
        let last = self.last_changes();
        let cancelled = last.into_iter().filter(|change| change.state == StepState::Cancelled);
        cancelled.map(|change| change.label.clone()).collect()
    }

    /// The output of the step of that name, where it succeeded; the last one where it ran more than once.
    #[must_use]
    pub fn step(&self, name: &str) -> Option<Value> {
        let of_that_name = self.changes().filter(|change| change.label == name);
        let outputs = of_that_name.filter_map(|change| {
            let StepState::Succeeded(output) = &change.state else { return None };
            Some(json(output))
        });
        outputs.last()
    }

    /// How long it took, by the run's clock.
    #[must_use]
    pub const fn took(&self) -> Duration {
        self.run.took
    }

    /// Everything else: journals and changes, of the run and its child runs.
    #[must_use]
    pub const fn details(&self) -> &local::Report {
        &self.run
    }

    fn changes(&self) -> impl Iterator<Item = &Change> {
        self.run.runs.values().flat_map(|history| &history.changes)
    }

    fn last_changes(&self) -> Vec<&Change> {
        let mut last = BTreeMap::new();
        for (run, history) in &self.run.runs {
            for change in &history.changes {
                last.insert((run, &change.step), change);
            }
        }
        last.into_values().collect()
    }
}

fn json(datum: &Datum) -> Value {
    datum.to_json().unwrap_or_default()
}

fn place(failure: &Failure) -> String {
    failure.step.as_ref().map(|step| format!(" at step {step}")).unwrap_or_default()
}
