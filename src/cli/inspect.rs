//! `lovage module inspect`: all that matters of a file before it is uploaded.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::module::{Added, Examined, contract_name, examine_in, print_tasks};
use super::{Fault, input, output, sandbox as own};
use crate::broker::{Clock as _, SystemClock};
use crate::model::grants::Grants;
use crate::model::{Digest, Failure, Granted, Limits, Metering, Outcome, TaskName, Tenant};
use crate::protocol::note::printable;
use crate::sandbox::{Attempt, Cancel, Compilation, Invocation, Note, Reach, Report, Sandbox};

/// `lovage module inspect`.
#[derive(Args)]
pub(super) struct InspectArgs {
    /// The Wasm file.
    file: PathBuf,

    /// Run it once with this input, and show what that takes: JSON, - for stdin, or @FILE.
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,

    /// The task that is run; the module's only one where it is not given.
    #[arg(long, requires = "input")]
    task: Option<TaskName>,

    #[command(flatten)]
    added: Added,

    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// What is granted by name, and the imports that it is for. A module may import what it is not granted: its calls are refused.
const GRANTS: [(&str, &str); 6] = [
    ("kv", "lovage:task/kv"),
    ("kv", "wasi:keyvalue/"),
    ("blob", "lovage:task/blob"),
    ("secret", "lovage:task/secrets"),
    ("config", "wasi:config/"),
    ("http", "wasi:http/"),
];

/// Grants without which calls of these imports work, too, and give less: a clock of milliseconds, and numbers that are derived from
/// the task.
const REFINEMENTS: [(&str, &str); 4] = [
    ("clock", "wasi:clocks/"),
    ("clock", "wasi_snapshot_preview1.clock_time_get"),
    ("random", "wasi:random/"),
    ("random", "wasi_snapshot_preview1.random_get"),
];

/// The grants that a module with these imports may need.
fn grants(imports: &[String]) -> Vec<&'static str> {
    of_imports(imports, &GRANTS)
}

fn of_imports(imports: &[String], table: &[(&'static str, &str)]) -> Vec<&'static str> {
    let has = |prefix: &str| imports.iter().any(|import| import.starts_with(prefix));
    let mut grants: Vec<&str> = table.iter().filter(|(_, prefix)| has(prefix)).map(|(grant, _)| *grant).collect();
    grants.dedup();
    grants
}

/// The kinds of grants that a module's imports are for, and of which it has none.
pub(super) fn ungranted(imports: &[String], granted: &Grants) -> Vec<&'static str> {
    let has = |kind: &str| granted.iter().any(|grant| grant.kind() == kind);
    grants(imports).into_iter().filter(|kind| !has(kind)).collect()
}

/// What a push, and whoever looks at a module, is told of one that few hosts may run.
pub(super) const EXCEPTIONS: &str =
    "uses exceptions of Wasm, which a host runs where its operator allows it (exceptions = true)";

/// Log lines of the run that are kept until it has ended.
const NOTES_MAX: usize = 1_000;

impl InspectArgs {
    pub(super) async fn run(self) -> Result<(), Fault> {
        let input = self.input.as_deref().map(|text| input::read(Some(text))).transpose()?;
        let manifest = self.added.manifest()?;
        // A cache of its own, so that it is compiled whatever was compiled before: that is what is measured.
        let cache =
            tempfile::tempdir().map_err(|error| Fault::platform(format!("failed to make a folder: {error}")))?;
        let sandbox = own::open(1, &own::Cache::from(cache.path().to_owned()))?;
        let examined = examine_in(&sandbox, "inspected".parse()?, None, &self.file, manifest).await?;
        let run = match input {
            Some(input) => Some(self.run_once(&sandbox, &examined, input).await?),
            None => None,
        };
        if self.json { print_json(&examined, run.as_ref()) } else { print_text(&examined, run.as_ref()) }
    }

    /// Calls one of the tasks, under the limits of its manifest, and shows its log.
    async fn run_once(&self, sandbox: &Sandbox, examined: &Examined, input: bytes::Bytes) -> Result<Report, Fault> {
        let tasks = &examined.upload.tasks;
        let known = || tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
        let task = match (&self.task, tasks.as_slice()) {
            (Some(task), tasks) if tasks.iter().any(|known| known.name == *task) => task.clone(),
            (Some(task), _) => {
                return Err(Fault::usage(format!("the module has no task {task} (there is {})", known())));
            }
            (None, [only]) => only.name.clone(),
            (None, _) => return Err(Fault::usage(format!("choose a task with --task: {}", known()))),
        };
        let (notes, mut heard) = mpsc::channel(NOTES_MAX);
        let attempt = Attempt {
            task_id: "inspect".to_owned(),
            task,
            tenant: Tenant::default_tenant(),
            attempt: 1,
            idempotency_key: "inspect".to_owned(),
            run_id: None,
            step: None,
            labels: Vec::new(),
        };
        let invocation = Invocation {
            attempt,
            input,
            limits: Limits::default().with(&examined.upload.manifest.limits),
            manifest: Arc::new(examined.upload.manifest.clone()),
            reach: Reach {
                granted: Arc::new(Granted::all_of(&examined.upload.manifest.grants)),
                resources: own::empty_resources(),
            },
            now: SystemClock.now(),
            notes,
            cancel: Cancel::default(),
        };
        let report = sandbox.invoke(Arc::clone(&examined.module), invocation).await;
        while let Ok(note) = heard.try_recv() {
            if let Note::Log { level, message, .. } = note {
                eprintln!("{:5} {}", level.as_str(), printable(&message));
            }
        }
        Ok(report)
    }
}

fn print_json(examined: &Examined, run: Option<&Report>) -> Result<(), Fault> {
    let Examined { upload, imports, functions, memory_min_bytes, module } = examined;
    let mut found = json!({
        "contract": upload.contract, "tasks": upload.tasks, "imports": imports, "grants": grants(imports),
        "refinements": of_imports(imports, &REFINEMENTS), "exceptions": upload.manifest.exceptions,
        "size": upload.bytes.len(), "functions": functions, "memory_min_bytes": memory_min_bytes,
        "metering": upload.manifest.metering, "digest": Digest::of(&upload.bytes), "source_digest": upload.source_digest,
    });
    if let (Some(object), Some(compilation)) = (found.as_object_mut(), module.compilation()) {
        object.insert("compilation".to_owned(), json!(compilation));
    }
    if let (Some(object), Some(run)) = (found.as_object_mut(), run) {
        object.insert("run".to_owned(), run_as_json(run, upload.manifest.metering));
    }
    output::json(&found)
}

fn run_as_json(run: &Report, metering: Metering) -> Value {
    // None is counted, which is not the same as none used.
    let fuel_used = metering.is_fuel().then_some(run.fuel_used);
    let failure: Option<&Failure> = if let Outcome::Failed(failure) = &run.outcome { Some(failure) } else { None };
    json!({
        "fuel_used": fuel_used, "memory_peak_bytes": run.memory_peak_bytes,
        "duration_us": u64::try_from(run.duration.as_micros()).unwrap_or(u64::MAX), "failure": failure,
    })
}

fn print_text(examined: &Examined, run: Option<&Report>) -> Result<(), Fault> {
    let Examined { upload, imports, functions, memory_min_bytes, module } = examined;
    let list = |names: &[&str]| if names.is_empty() { "none".to_owned() } else { names.join("\n           ") };
    output::line(&format!("contract   {}", contract_name(upload.contract)))?;
    output::line(&format!("size       {}, {functions} functions", output::size(upload.bytes.len() as u64)))?;
    output::line(&format!("digest     {}", Digest::of(&upload.bytes)))?;
    output::line(&format!("memory     {} at the start", output::size(*memory_min_bytes)))?;
    if let Some(compilation) = module.compilation() {
        output::line(&format!("compiled   {}", compiled(&compilation)))?;
    }
    if let Some(run) = run {
        output::line(&format!("run        {}", ran(run, upload.manifest.metering)))?;
    }
    output::line(&format!("imports    {}", list(&imports.iter().map(String::as_str).collect::<Vec<_>>())))?;
    output::line(&format!("grants     {}", list(&grants(imports))))?;
    let refinements = of_imports(imports, &REFINEMENTS);
    if !refinements.is_empty() {
        output::line(&format!("           not needed, and better with: {}", refinements.join(", ")))?;
    }
    if upload.manifest.exceptions {
        output::line(&format!("engine     {EXCEPTIONS}"))?;
    }
    print_tasks(&upload.tasks)
}

/// What a compilation took, for people.
pub(super) fn compiled(compilation: &Compilation) -> String {
    let Compilation { duration_ms, memory_peak_bytes, artifact_bytes, .. } = compilation;
    let memory = memory_peak_bytes.map(|bytes| format!(", {} of memory", output::size(bytes))).unwrap_or_default();
    format!("in {duration_ms} ms{memory}, to {} of machine code", output::size(*artifact_bytes))
}

fn ran(run: &Report, metering: Metering) -> String {
    let how = match &run.outcome {
        Outcome::Output(output) => format!("returned {}", output::size(output.len() as u64)),
        Outcome::Replace(_) => "returned a flow".to_owned(),
        Outcome::Failed(failure) => format!("failed: {}", printable(&failure.to_string())),
    };
    let millis = run.duration.as_secs_f64() * 1_000.0;
    let fuel = if metering.is_fuel() { format!("{} fuel, ", run.fuel_used) } else { String::new() };
    format!("{how}; {fuel}{} of memory, {millis:.1} ms", output::size(run.memory_peak_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_imported_and_not_granted_is_named() {
        let imports = ["lovage:task/kv@0.1.0".to_owned(), "wasi:http/types@0.2.0".to_owned()];
        let granted = Grants::default().with("kv=a:r".parse().unwrap());
        assert_eq!(ungranted(&imports, &granted), ["http"]);
        assert_eq!(ungranted(&imports, &Grants::default()), ["kv", "http"]);
    }

    #[test]
    fn clocks_and_random_numbers_are_there_without_a_grant() {
        let imports = ["wasi_snapshot_preview1.clock_time_get", "wasi_snapshot_preview1.random_get", "wasi:clocks/x"];
        let imports = imports.map(str::to_owned);
        assert_eq!(grants(&imports), Vec::<&str>::new());
        assert_eq!(of_imports(&imports, &REFINEMENTS), ["clock", "random"]);
    }

    #[test]
    fn grants_follow_from_imports() {
        let of = |imports: &[&str]| grants(&imports.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["wasi_snapshot_preview1.fd_write", "lovage:task/host@0.1.0"]), Vec::<&str>::new());
        assert_eq!(of(&["lovage:task/secrets@0.1.0", "lovage:task/kv@0.1.0"]), ["kv", "secret"]);
        assert_eq!(
            of(&["wasi:keyvalue/store@0.2.0-draft", "lovage:task/kv@0.1.0", "wasi:config/store@0.2.0-rc.1"]),
            ["kv", "config"]
        );
    }
}
