//! `lovage exec FLOW.yaml`: a whole flow in this process, on the core itself.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::Exec;
use crate::broker::{Clock as _, SystemClock};
use crate::cli::module::{Examined, examine_in};
use crate::cli::run::not_undone;
use crate::cli::sandbox::cores;
use crate::cli::{Fault, flow, input, output, sandbox, signals, tree};
use crate::exec::{Guest, Guests};
use crate::local::{self, Call, Clock, Refusal, Report, Setup, Word};
use crate::model::name::among;
use crate::model::{Datum, Failure, FlowName, Kind, ModuleName, RunId, Version};
use crate::protocol::note::printable;
use crate::sandbox::{Note, Sandbox};
use crate::workflow::flow::{Called, Document, Use, located, uses};
use crate::workflow::journal::{Ending, Pins};
use crate::workflow::run::{Change, StepState, Waiting};

impl Exec {
    pub(super) async fn run_flow(self) -> Result<(), Fault> {
        let (document, yaml) = document(&self.file)?;
        let setup = self.setup(document)?;
        let sandbox = sandbox::open(setup.concurrency, &self.cache)?;
        let guests = Guests::new(sandbox.clone(), self.guests(&sandbox).await?).reaching(sandbox::empty_resources());
        let quiet = self.quiet;
        let guests = guests.heard_by(move |call, note| {
            if !quiet {
                hear(call, note);
            }
        });
        if let Err(refusals) = local::check(&setup, &guests) {
            return Err(refused(&refusals, Some((&setup.document, yaml.as_deref()))));
        }
        note_unawaited(&setup);
        let (root, fast) = (setup.run.clone(), setup.clock == Clock::Fast);
        let mut view = move |run: &RunId, change: &Change| {
            if !quiet && let Some(line) = line(&root, run, change) {
                eprintln!("{line}");
            }
        };
        let (say, words) = tokio::sync::mpsc::channel(1);
        let stop = tokio_util::sync::CancellationToken::new();
        let cancel = async {
            stop.cancelled().await;
            // A run that has just ended hears nothing any more.
            drop(say.send(Word::Cancel).await);
            std::future::pending().await
        };
        let report = tokio::select! {
            report = local::run(setup, &guests, &mut view, Some(words)) => report,
            asked = signals::stop_when_asked(stop.clone()) => return asked,
            () = cancel => return Ok(()),
        };
        ended(&report.map_err(|error| unfinished(error, fast))?)
    }

    fn setup(&self, document: Document) -> Result<Setup, Fault> {
        let now = SystemClock.now();
        let flows: Result<BTreeMap<FlowName, Document>, Fault> =
            self.flows.iter().map(|(name, file)| Ok((name.clone(), self::document(file)?.0))).collect();
        let given = self.input.as_deref().map(|text| input::read(Some(text))).transpose()?;
        let given = given.map(|bytes| Datum::parse(&bytes)).transpose();
        let words = self.signals.iter().cloned().map(|(name, payload)| (Duration::ZERO, Word::Signal(name, payload)));
        Ok(Setup {
            run: RunId::derived(&["exec", &now.as_millis().to_string(), &std::process::id().to_string()]),
            input: given.map_err(|error| Fault::usage(format!("the input: {error}")))?,
            flows: flows?,
            words: words.collect(),
            clock: if self.fast_time { Clock::Fast } else { Clock::Real },
            concurrency: self.concurrency.map_or_else(cores, usize::from),
            ..Setup::new(document, now)
        })
    }

    /// The modules, compiled and asked for their tasks.
    async fn guests(&self, sandbox: &Sandbox) -> Result<BTreeMap<ModuleName, Guest>, Fault> {
        let mut guests = BTreeMap::new();
        for (name, file) in &self.modules {
            let Examined { upload, module, .. } =
                examine_in(sandbox, name.clone(), None, file, self.manifest(name)?).await?;
            let guest = Guest {
                version: Version::next_after([]),
                digest: *module.digest(),
                code: module,
                tasks: upload.tasks,
                manifest: Arc::new(upload.manifest),
            };
            if guests.insert(name.clone(), guest).is_some() {
                return Err(Fault::usage(format!("--module {name} is given twice")));
            }
        }
        if let Some((name, _)) = self.manifests.iter().find(|(name, _)| !guests.contains_key(name)) {
            return Err(Fault::usage(format!("--manifest names the module {name}, which --module does not")));
        }
        if let Some((name, _)) = self.scripts.iter().find(|(name, _)| !guests.contains_key(name)) {
            return Err(Fault::usage(format!("--script names the module {name}, which --module does not")));
        }
        Ok(guests)
    }
}

/// Reads a flow, with its text where that is YAML; all that is wrong with it is printed.
fn document(file: &Path) -> Result<(Document, Option<String>), Fault> {
    let path = file.to_str().ok_or_else(|| Fault::usage(format!("{}: the path is not UTF-8", file.display())))?;
    flow::read_text(path)
}

/// Says which signals no document waits for: a flow that a task hands back may.
fn note_unawaited(setup: &Setup) {
    for refusal in local::unawaited(setup) {
        if let Refusal::Signal { name, known } = refusal {
            let there = among(&known);
            eprintln!("no document waits for the signal {name}{there}: it is kept for a flow that a task hands back");
        }
    }
}

/// One line for each; the last is the fault.
fn several(messages: impl Iterator<Item = String>, none: &str) -> Fault {
    let mut messages: Vec<String> = messages.collect();
    let last = messages.pop().unwrap_or_else(|| none.to_owned());
    for message in messages {
        eprintln!("error: {}", printable(&message));
    }
    Fault::usage(last)
}

/// Why nothing was run; what the flow itself calls is told with its places.
fn refused(refusals: &[Refusal], flow: Option<(&Document, Option<&str>)>) -> Fault {
    let mut hints: Vec<String> = refusals
        .iter()
        .filter_map(|refusal| match refusal {
            Refusal::Task { task, why } if why.starts_with("there is no module") => {
                Some(format!("--module {}=FILE.wasm", task.module))
            }
            Refusal::Flow { name } => Some(format!("--flow {name}=FILE.yaml")),
            Refusal::Task { .. } | Refusal::Input { .. } | Refusal::Signal { .. } => None,
        })
        .collect();
    hints.sort();
    hints.dedup();
    let fault = several(placed(refusals, flow).into_iter(), "the flow can run");
    if hints.is_empty() { fault } else { fault.hint(format!("give {}", hints.join(" "))) }
}

/// What is refused, a line each, with the places of the nodes that call it.
fn placed(refusals: &[Refusal], flow: Option<(&Document, Option<&str>)>) -> Vec<String> {
    let Some((document, yaml)) = flow else { return refusals.iter().map(ToString::to_string).collect() };
    let uses = uses(document);
    let (mut spots, mut others) = (Vec::new(), Vec::new());
    for refusal in refusals {
        let calls = |used: &&Use| match (&used.called, refusal) {
            (Called::Task(called), Refusal::Task { task, .. }) => called == task,
            (Called::Flow(called, version), Refusal::Flow { name }) => {
                Pins::key(called.as_str(), version.as_ref()) == *name
            }
            _ => false,
        };
        let field = if matches!(refusal, Refusal::Task { .. }) { "task" } else { "flow" };
        let before = spots.len();
        spots.extend(uses.iter().filter(calls).map(|used| (used.place.clone(), field, refusal.to_string())));
        if spots.len() == before {
            others.push(refusal.to_string());
        }
    }
    located(spots, yaml).iter().map(ToString::to_string).chain(others).collect()
}

/// The fault of a run that has no end.
fn unfinished(error: local::Error, fast: bool) -> Fault {
    match error {
        local::Error::Refused(refusals) => refused(&refusals, None),
        local::Error::Stuck(ref pending) => {
            let signals = pending.iter().filter_map(|(_, _, _, waiting)| {
                let Waiting::Signal(name) = waiting else { return None };
                Some(format!("--signal {name}=JSON"))
            });
            let signals: std::collections::BTreeSet<String> = signals.collect();
            let fault = Fault::usage(error.to_string());
            if signals.is_empty() || !fast {
                return fault;
            }
            let all: Vec<String> = signals.into_iter().collect();
            fault.hint(format!("send it before the start: {}", all.join(" ")))
        }
        local::Error::Stopped(_) => Fault::platform(error.to_string()),
    }
}

fn ended(report: &Report) -> Result<(), Fault> {
    for failure in &report.end.compensation_failures {
        not_undone(failure, label(report, failure).as_deref());
    }
    match &report.end.result {
        Ending::Succeeded(value) => output::value(value.text()),
        Ending::Failed(failure) => {
            Err(Fault::failed(failure).at(tree::place(failure, label(report, failure).as_deref())))
        }
        Ending::Cancelled => Err(Fault::failed(&Failure::new(Kind::Cancelled, "the run was cancelled"))),
    }
}

/// What the step is called that failed so; it may be one of a child run.
fn label(report: &Report, failure: &Failure) -> Option<String> {
    let failed = |change: &&Change| {
        failure.step.as_ref() == Some(&change.step)
            && matches!(&change.state, StepState::Failed(other) | StepState::Catching(other) if other == failure)
    };
    let mut changes = report.runs.values().flat_map(|history| &history.changes);
    changes.find(failed).map(|change| change.label.clone())
}

/// The line of a step that has ended, or is tried again; those of child runs begin with their run.
fn line(root: &RunId, run: &RunId, change: &Change) -> Option<String> {
    let line = if change.state == StepState::Queued { None } else { tree::plain(change) };
    line.map(|line| if run == root { line } else { format!("{run} {line}") })
}

fn hear(call: &Call, note: Note) {
    let who = format!("{} {}", call.step, call.task);
    match note {
        Note::Log { level, message, .. } => eprintln!("{who} {}: {}", level.as_str(), printable(&message)),
        Note::Progress { done, total, note } => {
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            eprintln!("{who} progress {done}{of} {}", printable(&note.unwrap_or_default()));
        }
    }
}
