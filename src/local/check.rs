//! What is looked at before anything runs: that all which a flow calls is there, and that its input fits.

use std::collections::{BTreeMap, BTreeSet};

use super::{Executor, Setup, Word};
use crate::model::name::among;
use crate::model::{Datum, Digest, FlowName, SignalName, TaskRef, Version};
use crate::workflow::flow::{Document, fits, flows, signals, tasks};
use crate::workflow::journal::{Pin, PinnedFlow, Pins};

/// Why a run may not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A task that cannot be called.
    #[error("the flow calls {task}, but {why}")]
    Task {
        /// The task.
        task: TaskRef,
        /// Why.
        why: String,
    },
    /// A stored flow that is not there.
    #[error("the flow starts the flow {name}, which is not there")]
    Flow {
        /// Its name.
        name: String,
    },
    /// A signal that nothing waits for.
    #[error("nothing in the flow, or in a flow that it starts, waits for the signal {name}{}", among(.known))]
    Signal {
        /// Its name.
        name: SignalName,
        /// Those that something waits for.
        known: Vec<String>,
    },
    /// An input that the flow does not take.
    #[error("the input does not fit the flow: {why}")]
    Input {
        /// Why.
        why: String,
    },
}

/// Finds everything that a run may call: its own tasks, and those of the flows that it may start.
///
/// # Errors
/// All that is missing.
pub fn check(setup: &Setup, executor: &dyn Executor) -> Result<Pins, Vec<Refusal>> {
    let mut found = Found { flows: &setup.flows, executor, pins: Pins::default(), refusals: Vec::new() };
    found.document(&setup.document);
    found.input(setup);
    found.signals(setup);
    if found.refusals.is_empty() { Ok(found.pins) } else { Err(found.refusals) }
}

/// Finds what a replacement calls.
pub(super) fn pins(
    stored: &BTreeMap<FlowName, Document>,
    executor: &dyn Executor,
    called: (&[TaskRef], &[(FlowName, Option<Version>)]),
) -> Result<Pins, Vec<Refusal>> {
    let mut found = Found { flows: stored, executor, pins: Pins::default(), refusals: Vec::new() };
    found.all(called.0.iter().cloned(), called.1.iter().cloned());
    if found.refusals.is_empty() { Ok(found.pins) } else { Err(found.refusals) }
}

struct Found<'a> {
    flows: &'a BTreeMap<FlowName, Document>,
    executor: &'a dyn Executor,
    pins: Pins,
    refusals: Vec<Refusal>,
}

impl Found<'_> {
    fn document(&mut self, document: &Document) {
        self.all(tasks(document), flows(document));
    }

    fn input(&mut self, setup: &Setup) {
        let Some(schema) = &setup.document.input else { return };
        let input = setup.input.as_ref().and_then(Datum::to_json).unwrap_or_default();
        if let Err(why) = fits(schema, &input) {
            self.refusals.push(Refusal::Input { why });
        }
    }

    /// Looks whether something waits for each signal that is to be sent. Where a task may hand back a flow that is not known.
    fn signals(&mut self, setup: &Setup) {
        if documents(setup).flat_map(tasks).all(|task| !self.executor.may_replace(&task)) {
            self.refusals.extend(unawaited(setup));
        }
    }

    /// Flows may start each other, and themselves: each is looked at once.
    fn all(
        &mut self,
        called: impl IntoIterator<Item = TaskRef>,
        started: impl IntoIterator<Item = (FlowName, Option<Version>)>,
    ) {
        called.into_iter().for_each(|task| self.task(task));
        let mut seen = BTreeSet::new();
        let mut open: Vec<(FlowName, Option<Version>)> = started.into_iter().collect();
        while let Some((name, version)) = open.pop() {
            if !seen.insert((name.clone(), version.clone())) {
                continue;
            }
            let Some(document) = self.flows.get(&name) else {
                self.refusals.push(Refusal::Flow { name: Pins::key(name.as_str(), version.as_ref()) });
                continue;
            };
            tasks(document).into_iter().for_each(|task| self.task(task));
            open.extend(flows(document));
            let key = Pins::key(name.as_str(), version.as_ref());
            self.pins.flows.insert(key, pinned(document, version));
        }
    }

    fn task(&mut self, task: TaskRef) {
        match self.executor.find(&task) {
            Ok(pin) => drop(self.pins.modules.insert(Pins::key(task.module.as_str(), task.version.as_ref()), pin)),
            Err(why) => self.refusals.push(Refusal::Task { task, why }),
        }
    }
}

fn documents(setup: &Setup) -> impl Iterator<Item = &Document> {
    std::iter::once(&setup.document).chain(setup.flows.values())
}

/// The signals that are to be sent and that no document waits for. A flow that a task hands back may.
#[must_use]
pub fn unawaited(setup: &Setup) -> Vec<Refusal> {
    let known: BTreeSet<SignalName> = documents(setup).flat_map(signals).collect();
    let refusal = |name: &SignalName| Refusal::Signal {
        name: name.clone(),
        known: known.iter().map(ToString::to_string).collect(),
    };
    let sent = setup.words.iter().filter_map(|(_, word)| match word {
        Word::Signal(name, _) => Some(name),
        Word::Cancel => None,
    });
    sent.filter(|name| !known.contains(*name)).map(refusal).collect()
}

/// A flow that was given has no version but the one that is asked for.
fn pinned(document: &Document, version: Option<Version>) -> PinnedFlow {
    let document = Datum::of_json(&document.to_json());
    let version = version.unwrap_or_else(|| Version::next_after([]));
    PinnedFlow { pin: Pin { version, digest: Digest::of(document.text()) }, document }
}
