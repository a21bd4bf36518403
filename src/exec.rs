//! The tasks of a [local](crate::local) run in the sandbox: what a host does with a delivery, without a broker.
//!
//! **Invariant:** what a guest may take and what its output becomes is what a host would make of it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::local::{Call, Executor, Ran};
use crate::model::lifecycle::Usage;
use crate::model::limits::Wish;
use crate::model::module::{Contract, Manifest};
use crate::model::{
    Digest, Failure, Granted, Kind, Limits, ModuleName, Outcome, TaskDescription, TaskRef, Tenant, Version,
};
use crate::sandbox::{self, Attempt, Cancel, Invocation, Note, Nothing, Reach, Report, Resources, Sandbox};
use crate::workflow::flow::TaskOptions;
use crate::workflow::journal::Pin;

/// Notes of one attempt that wait to be heard; a guest that says more loses some.
const NOTES_MAX: usize = 256;

/// Who hears what guests say.
pub type Listener = dyn Fn(&Call, Note) + Send + Sync;

/// A module that tasks can be called in.
#[derive(Clone, Debug)]
pub struct Guest {
    /// Its version.
    pub version: Version,
    /// The digest of its bytes.
    pub digest: Digest,
    /// What is called.
    pub code: Arc<sandbox::Module>,
    /// Its tasks.
    pub tasks: Vec<TaskDescription>,
    /// What its owner adds to it.
    pub manifest: Arc<Manifest>,
}

/// The modules of a run, and the sandbox that they run in.
pub struct Guests {
    sandbox: Sandbox,
    modules: BTreeMap<ModuleName, Guest>,
    resources: Arc<dyn Resources>,
    listener: Box<Listener>,
}

impl fmt::Debug for Guests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guests").field("modules", &self.modules).finish_non_exhaustive()
    }
}

impl Guests {
    /// These modules, in this sandbox.
    #[must_use]
    pub fn new(sandbox: Sandbox, modules: BTreeMap<ModuleName, Guest>) -> Self {
        Self { sandbox, modules, resources: Arc::new(Nothing), listener: Box::new(|_, _| {}) }
    }

    /// The same, telling `listener` what guests say while they run.
    #[must_use]
    pub fn heard_by(mut self, listener: impl Fn(&Call, Note) + Send + Sync + 'static) -> Self {
        self.listener = Box::new(listener);
        self
    }

    /// The same, with these resources behind the grants of all modules: nothing more is asked than a manifest grants.
    #[must_use]
    pub fn reaching(mut self, resources: Arc<dyn Resources>) -> Self {
        self.resources = resources;
        self
    }

    /// The module and its task.
    fn guest(&self, task: &TaskRef) -> Result<(&Guest, &TaskDescription), (Kind, String)> {
        let missing = |why: String| (Kind::ModuleMissing, why);
        let guest =
            self.modules.get(&task.module).ok_or_else(|| missing(format!("there is no module {}", task.module)))?;
        if let Some(version) = task.version.as_ref().filter(|version| **version != guest.version) {
            return Err(missing(format!("module {} is of version {}, not {version}", task.module, guest.version)));
        }
        let named = guest.tasks.iter().find(|known| known.name == task.task);
        let named = named.ok_or_else(|| {
            let known: Vec<&str> = guest.tasks.iter().map(|task| task.name.as_str()).collect();
            let why = format!("module {} has no task {} (there is {})", task.module, task.task, known.join(", "));
            (Kind::TaskMissing, why)
        })?;
        Ok((guest, named))
    }

    async fn invoke(&self, call: Call, guest: &Guest) -> Report {
        let (notes, mut heard) = mpsc::channel(NOTES_MAX);
        let cancel = Cancel::default();
        let granted = Arc::new(Granted::all_of(&guest.manifest.grants));
        let reach = Reach { granted, resources: Arc::clone(&self.resources) };
        let invocation = invocation(&call, guest, reach, notes, cancel.clone());
        let invoked = self.sandbox.invoke(Arc::clone(&guest.code), invocation);
        tokio::pin!(invoked);
        let report = loop {
            tokio::select! {
                biased;
                Some(note) = heard.recv() => (self.listener)(&call, note),
                report = &mut invoked => break report,
                () = call.cancel.cancelled(), if !cancel.is_cancelled() => cancel.cancel(),
            }
        };
        while let Ok(note) = heard.try_recv() {
            (self.listener)(&call, note);
        }
        report
    }
}

#[async_trait]
impl Executor for Guests {
    fn find(&self, task: &TaskRef) -> Result<Pin, String> {
        let (guest, _) = self.guest(task).map_err(|(_, why)| why)?;
        Ok(Pin { version: guest.version.clone(), digest: guest.digest })
    }

    fn may_replace(&self, task: &TaskRef) -> bool {
        let may = |guest: &Guest| guest.manifest.flows || guest.code.contract() == Contract::Task;
        self.modules.get(&task.module).is_none_or(may)
    }

    async fn execute(&self, call: Call) -> Ran {
        let (guest, task) = match self.guest(&call.task) {
            Ok(found) => found,
            Err((kind, why)) => return Outcome::Failed(Failure::new(kind, why)).into(),
        };
        let binary = task.media_type.as_deref().is_some_and(|media| !media.ends_with("json"));
        let attempt = call.attempt;
        let report = self.invoke(call, guest).await;
        let usage = Usage {
            attempt,
            delivery: 1,
            host: None,
            fuel: report.fuel_used,
            memory_bytes: report.memory_peak_bytes,
            duration_us: u64::try_from(report.duration.as_micros()).unwrap_or(u64::MAX),
            ..Usage::default()
        };
        let outcome = match report.outcome {
            Outcome::Output(output) => match sandbox::json(&output, binary) {
                Ok(output) => Outcome::Output(output),
                Err(error) => Outcome::Failed(Failure::new(Kind::OutputLimit, error.to_string())),
            },
            other @ (Outcome::Replace(_) | Outcome::Failed(_)) => other,
        };
        Ran { usage, ..Ran::from(outcome) }
    }
}

fn invocation(call: &Call, guest: &Guest, reach: Reach, notes: mpsc::Sender<Note>, cancel: Cancel) -> Invocation {
    Invocation {
        attempt: Attempt {
            task_id: format!("{}/{}", call.run, call.step),
            task: call.task.task.clone(),
            tenant: Tenant::default_tenant(),
            attempt: call.attempt,
            idempotency_key: call.idempotency_key.clone(),
            run_id: Some(call.run.to_string()),
            step: Some(call.step.to_string()),
            labels: call.options.labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        },
        input: call.input.clone(),
        limits: Limits::default().with(&guest.manifest.limits).with(&wish(&call.options)),
        manifest: Arc::clone(&guest.manifest),
        reach,
        now: call.now,
        notes,
        cancel,
    }
}

fn wish(options: &TaskOptions) -> Wish {
    let millis = |length: std::time::Duration| u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Wish {
        fuel: options.fuel,
        memory_bytes: options.memory_bytes,
        attempt_timeout_ms: options.attempt_timeout.map(millis),
        ..Wish::default()
    }
}
