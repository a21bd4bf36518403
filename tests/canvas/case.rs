//! A pinned case: a flow, how it ends, and what else is seen of it.

use lovage::model::{Failure, Kind, StepId};
use lovage::workflow::journal::{Ending, Event, Outcome, Record};
use lovage::workflow::run::{Change, Run, StepState};
use serde_json::Value;

/// A row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// YAML.
    pub(crate) flow: String,
    pub(crate) input: Option<Value>,
    pub(crate) expected: Expected,
    pub(crate) checks: Vec<Check>,
    /// Needs time that passes: tasks that compute while a timer runs.
    pub(crate) real_time: bool,
    /// Tasks at a time.
    pub(crate) concurrency: usize,
    /// Cancelled as soon as a guest writes this line to the log.
    pub(crate) cancel_at: Option<&'static str>,
}

/// How a run ends.
pub(crate) enum Expected {
    Output(Value),
    Fails(Kind),
    Cancelled,
}

/// What else is seen of a run.
pub(crate) enum Check {
    /// So many attempts of this step ended.
    Attempts(&'static str, usize),
    /// So many attempts ended, of all steps whose path ends so.
    AttemptsOf(&'static str, usize),
    /// Guests wrote these lines, in this order.
    Log(&'static [&'static str]),
    /// The step was at each of these, in this order.
    Was(&'static str, &'static [&'static str]),
    /// These steps never began.
    Skipped(&'static [&'static str]),
    /// It took at least so many milliseconds.
    TookAtLeast(u128),
}

/// What was seen of a run.
pub(crate) struct Seen {
    pub(crate) ending: Ending,
    pub(crate) journal: Vec<Record>,
    /// What guests wrote, where the driver hears it.
    pub(crate) log: Option<Vec<String>>,
    pub(crate) took_ms: u128,
}

impl Case {
    pub(crate) fn new(name: &'static str, flow: impl Into<String>, expected: Expected) -> Self {
        Self {
            name,
            flow: flow.into(),
            input: None,
            expected,
            checks: Vec::new(),
            real_time: false,
            concurrency: 64,
            cancel_at: None,
        }
    }

    pub(crate) fn check(mut self, check: Check) -> Self {
        self.checks.push(check);
        self
    }

    /// Asserts what is expected of what was seen.
    pub(crate) fn assert(&self, seen: &Seen) {
        let name = self.name;
        match (&self.expected, &seen.ending) {
            (Expected::Output(value), Ending::Succeeded(output)) => {
                assert_eq!(output.to_json().as_ref(), Some(value), "{name}");
            }
            (Expected::Fails(kind), Ending::Failed(failure)) => assert_eq!(failure.kind, *kind, "{name}: {failure}"),
            (Expected::Cancelled, Ending::Cancelled) => {}
            (_, other) => panic!("{name}: {other:?}"),
        }
        let ended: Vec<&str> = seen.journal.iter().filter_map(ended).collect();
        for check in &self.checks {
            match check {
                Check::Attempts(step, count) => {
                    assert_eq!(
                        ended.iter().filter(|ended| *ended == step).count(),
                        *count,
                        "{name}: {step}: {ended:?}"
                    );
                }
                Check::AttemptsOf(suffix, count) => {
                    let all = ended.iter().filter(|ended| ended.ends_with(suffix)).count();
                    assert_eq!(all, *count, "{name}: {suffix}: {ended:?}");
                }
                Check::Log(lines) => {
                    assert!(seen.log.as_ref().is_none_or(|log| log == lines), "{name}: {:?}", seen.log)
                }
                Check::Was(step, states) => assert_eq!(seen.states(step), *states, "{name}: {step}"),
                Check::Skipped(steps) => assert_eq!(seen.skipped(), *steps, "{name}"),
                Check::TookAtLeast(ms) => assert!(seen.took_ms >= *ms, "{name}: {} ms", seen.took_ms),
            }
        }
    }
}

impl Seen {
    /// The run, folded from its journal alone, with what became of its steps.
    fn folded(&self) -> (Run, Vec<Change>) {
        let Some(Event::Start(start)) = self.journal.first().map(|record| &record.event) else { panic!("no start") };
        let mut run = Run::new(start).unwrap();
        run.watch();
        self.journal.iter().for_each(|record| run.replay(record).unwrap());
        let changes = run.take_changes();
        (run, changes)
    }

    fn states(&self, step: &str) -> Vec<&'static str> {
        let changes = self.folded().1;
        let own = changes.iter().filter(|change| change.step.as_str() == step);
        let word = |change: &Change| match change.state {
            StepState::Scheduled => "scheduled",
            StepState::Queued => "queued",
            StepState::Running => "running",
            StepState::Succeeded(_) => "succeeded",
            StepState::Failed(_) => "failed",
            StepState::Cancelled => "cancelled",
            StepState::Retrying { .. } => "retrying",
            StepState::Catching(_) | StepState::Replaced | StepState::Recalled => "other",
        };
        own.map(word).collect()
    }

    fn skipped(&self) -> Vec<String> {
        let (run, changes) = self.folded();
        let begun = |step: &StepId| changes.iter().any(|change| change.step == *step);
        run.skipped(&begun).into_iter().map(|step| step.step.to_string()).collect()
    }
}

/// The step whose attempt a record ends, where it ran: what expired or was interrupted did not.
fn ended(record: &Record) -> Option<&str> {
    let Event::Outcome { step, outcome, .. } = &record.event else { return None };
    let ran = !matches!(outcome, Outcome::Failed(Failure { kind: Kind::Expired | Kind::Cancelled, .. }));
    ran.then(|| step.as_str())
}
